"The probe's neighbours vote, as many as are asked for"
import torch
from sklearn.neighbors import KNeighborsClassifier

from convvae.data import load_images
from convvae.evaluate import probe
from convvae.model import ConvVAE

def test_as_many_neighbours_vote_as_are_asked_for():
    images = load_images('digits', 16)
    torch.manual_seed(0)
    model = ConvVAE(images.image_size, 3, (8,)).eval()
    a,b = (model.embed(x.float()/255).numpy() for x in (images.train, images.test))
    scores = []
    for n in (1, 5, 25):
        judge = KNeighborsClassifier(n).fit(a, images.train_labels.numpy())
        scores.append(judge.score(b, images.test_labels.numpy()))
        assert abs(probe(model, images, n)['knn'] - scores[-1]) < 1e-6
    assert len({*scores}) == 3
