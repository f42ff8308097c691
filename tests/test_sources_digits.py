"The digits, beside those of scikit-learn: every shade, every label, and smooth between the pixels"
import torch
from sklearn.datasets import load_digits

from convvae.data import load_digits_32

def test_digits_are_those_of_scikit_learn():
    "Averaged over 4 x 4 pixels they are, but for overshoot at edges, the small ones again"
    images,small = load_digits_32(),load_digits()
    x = torch.cat([images.train, images.test])
    y = torch.cat([images.train_labels, images.test_labels])
    mean = torch.nn.functional.avg_pool2d(x.float(), 4)[:, 0]
    wanted = torch.from_numpy(small.images).float()*255/16
    assert len(x) == len(wanted) == 1797
    nearest = torch.cdist(mean.flatten(1), wanted.flatten(1)).argmin(1)
    assert len(nearest.unique()) > 1790 and torch.equal(y, torch.from_numpy(small.target)[nearest])
    assert (mean - wanted[nearest]).abs().mean() < 15 and abs(mean.mean() - wanted.mean()) < 2
    assert x.max() == 255 and x.min() == 0

def test_digits_are_smooth():
    "More shades than the 17 of the small ones, and no blocks of 4 x 4 equal pixels"
    x = load_digits_32().train[:200, 0].float()
    assert len(x.unique()) > 200
    steps = (x[:, :, 1:] - x[:, :, :-1]).abs().mean((0, 1))
    assert steps[3::4].mean() < 2*steps[1::4].mean()
