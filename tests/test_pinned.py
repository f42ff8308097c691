"""The shipped models give the numbers they gave when they were made

A crop on the wrong side, a permuted sub-pixel or a swapped padding would change them, and tests
with fresh weights do not see it. tests/data/pinned.npz holds 32 MNIST test images, binarised once,
and what each model makes of them; written by `python tests/test_pinned.py` where CONVVAE_DATA has
MNIST
"""
from pathlib import Path

import numpy as np
import pytest
import torch

from convvae.data import binarized, load_images
from convvae.loss import elbo, iwae_bound
from convvae.model import ConvVAE, pretrained
from convvae.randomness import generator

path = Path(__file__).parent/'data'/'pinned.npz'
names = 'mnist_2d', 'mnist_16'

@torch.no_grad()
def numbers(name, x):
    "ELBO and bound of each image in nats, its reconstruction as bytes, and eight draws"
    model = ConvVAE.from_pretrained(pretrained(name))
    out = model(x, k=8, eps=torch.randn(8, len(x), model.latent_dim, generator=generator('pinned')))
    def pixels(images): return (images*255).round().byte().numpy()
    z = torch.randn(8, model.latent_dim, generator=generator('drawn'))
    return dict(
        elbo=elbo(out, x).mean(0).numpy(),
        bound=iwae_bound(out, x).numpy(),
        recon=pixels(model.reconstruct(x[:8])),
        drawn=pixels(model.decode(z).mean),
    )

@pytest.mark.parametrize('name', names)
def test_pinned(name):
    held = np.load(path)
    x = torch.from_numpy(np.unpackbits(held['x']).reshape(32, 1, 28, 28)).float()
    for what, value in numbers(name, x).items():
        wanted = held[f'{name}_{what}']
        if value.dtype == np.uint8: # another processor may round a pixel the other way
            assert np.abs(value.astype(int) - wanted.astype(int)).max() <= 1, what
        else: np.testing.assert_allclose(value, wanted, atol=0.01, err_msg=what)

if __name__ == '__main__':
    bits = (binarized(load_images('mnist').test, 0)[:32] > 0).numpy()
    x = torch.from_numpy(bits).float()
    found = {f'{name}_{what}': v for name in names for what, v in numbers(name, x).items()}
    np.savez_compressed(path, x=np.packbits(bits), **found)
