"Which pictures are written: each its own, of the pixels that the model was trained on"
import numpy as np
import pytest
import torch
from PIL import Image

import convvae.sample
from convvae.commands.pictures import label_of, named_pictures, write_pictures, write_samples
from convvae.data import Images
from convvae.model import ConvVAE
from pictures import own_cache  # noqa: F401

@pytest.mark.parametrize('binarize', [False, True])
def test_reconstructions_are_of_pixels_as_trained(tmp_path, monkeypatch, binarize):
    x = torch.full((30, 1, 8, 8), 100, dtype=torch.uint8)
    shown = []
    compare = convvae.sample.compare
    monkeypatch.setattr(convvae.sample, 'compare', lambda model, x, y: (
        shown.append(x), compare(model, x, y))[1])
    write_pictures(ConvVAE((1, 8, 8), 2, (4,)), Images('a', x, x), tmp_path, 4, binarize, 0)
    shades = {0., 1.} if binarize else {round(100/255, 6)}
    assert {round(v, 6) for v in shown[0].unique().tolist()} == shades and len(shown[0]) == 12
    assert {p.name for p in tmp_path.iterdir()} == {'samples.png', 'reconstructions.png'}

def test_each_file_holds_its_own_image(tmp_path):
    shades = torch.tensor((0., 0.2, 0.6, 1.))
    write_samples(shades.view(4, 1, 1, 1).expand(-1, 1, 5, 7), tmp_path, True, 'four')
    for i,shade in enumerate(shades):
        with Image.open(tmp_path/'samples'/f'{i:03}.png') as im:
            assert im.size == (7, 5) and abs(np.asarray(im)[2, 3] - 255*shade.item()) <= 1
    write_samples(torch.zeros(2, 1, 5, 7), tmp_path/'b', False, 'two')
    assert [p.name for p in (tmp_path/'b').iterdir()] == ['samples.png']

def test_labels_stay_with_their_pictures(tmp_path):
    "A folder for each class; --label is for all"
    for i,name in enumerate(('cat', 'dog', 'dog', 'cat', 'dog')):
        (tmp_path/name).mkdir(exist_ok=True)
        Image.new('L', (8, 8), 100 if name == 'cat' else 200).save(tmp_path/name/f'{i}.png')
    about = dict(classes=['cat', 'dog'])
    model = ConvVAE((1, 8, 8), 2, (4,), n_classes=2, trained_on=about)
    x,y = named_pictures(model, str(tmp_path), None)
    assert sorted(y.tolist()) == [0, 0, 1, 1, 1]
    assert torch.equal(x[:, 0, 0, 0] > 0.5, y == 1)
    _,y = named_pictures(model, str(tmp_path), 'dog')
    assert y.tolist() == [1]*5
    assert (label_of(model, 'dog'), label_of(model, '0'), label_of(model, None)) == (1, 0, None)
