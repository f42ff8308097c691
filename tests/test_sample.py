"""Paths, traversals, directions and mixtures, by a model that says in which places it was asked

Its decoder shows the latents themselves, so that order, span and start are seen
"""
from types import SimpleNamespace

import pytest
import torch
from torch.distributions import Independent, Normal

from convvae.sample import (active_latents, attribute_direction, fit_mixture, interpolate,
                            labels_of, lerp, manifold, save_gif, slerp, traverse, walk)

class Glass(torch.nn.Module):
    "Encodes an image to its first latents, with a deviation of 2; decodes a latent to itself"
    latent_dim,n_classes = 3,None
    def __init__(self):
        super().__init__()
        self.p = torch.nn.Parameter(torch.zeros(1))
    def decode(self, z, y=None): return SimpleNamespace(mean=z, y=y)
    def encode(self, x, y=None):
        return Independent(Normal(x.flatten(1)[:, :3], torch.full((len(x), 3), 2.)), 1)
    def embed(self, x, y=None): return self.encode(x, y).mean
    def forward(self, x, y=None):
        std = torch.tensor((1., 0.1, 0.5)).expand(len(x), 3)
        return SimpleNamespace(q=Independent(Normal(torch.zeros(len(x), 3), std), 1),
                               prior=Independent(Normal(torch.zeros(3), torch.ones(3)), 1))

z = torch.tensor((0.3, -1.2, 2.))

def test_traversal_from_where_it_starts():
    "One latent takes the values from -span to span, whatever it was; the others stay as they were"
    x = traverse(Glass(), z, [2, 0], steps=5, span=2.).view(2, 5, 3)
    values = torch.tensor((-2., -1., 0., 1., 2.))
    for row,i in zip(x, (2, 0), strict=True):
        wanted = z.repeat(5, 1)
        wanted[:, i] = values
        assert torch.allclose(row, wanted)

def test_manifold_from_where_it_starts():
    "Quantiles in the middle of equal shares, to the right and upwards; the third latent stays"
    n = 4
    x = manifold(Glass(), n, (2, 0), z).view(n, n, 3)
    quantiles = Normal(0., 1.).icdf(torch.tensor((0.125, 0.375, 0.625, 0.875)))
    for row in range(n):
        for col in range(n):
            wanted = torch.stack((quantiles[n - 1 - row], z[1], quantiles[col]))
            assert torch.allclose(x[row, col], wanted, atol=1e-6)
    assert (manifold(Glass(), n, (2, 0)).view(n, n, 3)[..., 1] == 0).all()

def test_direction_leads_to_those_who_have_it():
    x = torch.zeros(6, 1, 2, 2)
    has = torch.tensor((1, 0, 1, 0, 0, 0)).bool()
    x[has] = torch.tensor([[1., 0], [0.5, 0.25]])
    x[~has] = torch.tensor([[0., 0], [1., 0]])
    assert torch.allclose(attribute_direction(Glass(), x, has), torch.tensor((1., 0., -0.5)))

def test_mixture_is_fitted_to_draws_and_not_to_means():
    "All means are the same: what varies are the draws, with a deviation of 2"
    x = torch.zeros(4000, 1, 2, 2)
    x[:, 0, 0, 0] = 0.7
    fitted = fit_mixture(Glass(), x, components=1)
    cov = fitted.component_distribution.covariance_matrix[0]
    assert (cov - 4*torch.eye(3)).abs().max() < 0.5
    assert torch.allclose(fitted.mean, torch.tensor((0.7, 0., 0.)), atol=0.2)
    assert not torch.equal(fitted.mean, fit_mixture(Glass(), x, 1, seed=1).mean)

def test_mixture_has_the_weights_of_its_parts():
    x = torch.zeros(2000, 1, 2, 2)
    x[:500, 0, 0, 0] = 100.
    fitted = fit_mixture(Glass(), x, components=2)
    assert sorted(fitted.mixture_distribution.probs.tolist()) == pytest.approx([0.25, 0.75], 0.01)
    share = (fitted.sample((4000,))[:, 0] > 50).double().mean()
    assert abs(share - 0.25) < 5*(0.25*0.75/4000)**0.5

def test_walk_goes_from_one_stop_to_the_next():
    stops = torch.tensor([[0., 0, 0], [3., 0, 0], [3., 6, 0]])
    way = walk(Glass(), stops, steps=4, path=lerp)
    wanted = [[0, 0, 0], [1, 0, 0], [2, 0, 0], [3, 0, 0], [3, 2, 0], [3, 4, 0], [3, 6, 0]]
    assert torch.allclose(way, torch.tensor(wanted).float())
    circle = walk(Glass(), torch.tensor([[2., 0, 0], [0, 2., 0]]), steps=3, path=slerp)
    assert torch.allclose(circle[1], torch.tensor((2**0.5, 2**0.5, 0.)), atol=1e-6)

def test_interpolation_begins_with_its_first_image():
    a,b = torch.zeros(1, 2, 2),torch.ones(1, 2, 2)
    way = interpolate(Glass(), a, b, steps=3, path=lerp)
    assert torch.equal(way, torch.tensor([[0., 0, 0], [0.5, 0.5, 0.5], [1., 1, 1]]))

def test_active_latents_come_first():
    order,rates = active_latents(Glass(), torch.zeros(5, 1, 2, 2))
    def kl(std): return (std**2 - 1)/2 - torch.tensor(std).log()
    assert order.tolist() == [1, 2, 0]
    assert torch.allclose(rates, torch.stack([kl(0.1), kl(0.5), kl(1.)]), atol=1e-6)

def test_labels_come_in_turn():
    assert labels_of(SimpleNamespace(n_classes=3), 7).tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert labels_of(SimpleNamespace(n_classes=3), 7, 2).tolist() == 2

@pytest.mark.parametrize('back, order', [(True, [0, 1, 2, 3, 2, 1]), (False, [0, 1, 2, 3])])
def test_film_has_each_frame_in_its_turn(tmp_path, back, order):
    from PIL import Image, ImageSequence
    shades = torch.tensor((0., 0.25, 0.5, 1.))
    path = save_gif(shades.view(4, 1, 1, 1).expand(-1, 1, 8, 8), tmp_path/'a.gif', 2., back)
    with Image.open(path) as film:
        frames = [f.convert('L').getpixel((4, 4)) for f in ImageSequence.Iterator(film)]
        assert film.info['duration'] == 500 and film.info['loop'] == 0
    assert frames == [int(255*shades[i].item()) for i in order]
