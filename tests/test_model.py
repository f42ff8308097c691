"What the chapters show on one example, over a grid of sizes and extremes"
import subprocess
import sys

import pytest
import torch

from convvae.loss import distortion, elbo, iwae_bound, objective, rate
from convvae.model import ConvVAE

@pytest.mark.parametrize('image_size', [(1, 28, 28), (3, 33, 50), (2, 1, 1), (1, 1, 17), (5, 64, 2), (4, 7, 7)])
@pytest.mark.parametrize('channels', [(4,), (4, 8), (4, 8, 8, 8)])
def test_any_size_any_depth(image_size, channels):
    model = ConvVAE(image_size, latent_dim=3, channels=channels)
    x = torch.rand(2, *image_size)
    out = model(x)
    assert out.p.mean.shape == x.shape == model.reconstruct(x).shape
    assert model.sample(2).shape == x.shape
    assert rate(out).shape == distortion(out, x).shape == elbo(out, x).shape == (2,)
    many = model(x, k=4)
    assert rate(many).shape == distortion(many, x).shape == (4, 2) and iwae_bound(many, x).shape == (2,)

def test_every_parameter_learns():
    model = ConvVAE((3, 19, 30), latent_dim=4, channels=(4, 8, 8))
    x = torch.rand(8, 3, 19, 30)
    objective(model(x), x).backward()
    silent = [n for n,p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not silent

@pytest.mark.parametrize('scale', [1e3, 1e6, 1e12])
def test_extreme_encoder_outputs_stay_finite(scale):
    model = ConvVAE((1, 8, 8), latent_dim=4, channels=(4,))
    with torch.no_grad(): model.encoder.head.bias[4:] = torch.tensor([-scale, scale, -scale, scale]) # logvar
    x = torch.rand(4, 1, 8, 8).round()
    loss = objective(model(x), x)
    loss.backward()
    assert loss.isfinite() and all(p.grad.isfinite().all() for p in model.parameters())

def test_the_same_model_in_another_process(tmp_path):
    model = ConvVAE((1, 9, 11), latent_dim=3, channels=(4, 8))
    model.save_pretrained(tmp_path)
    code = f'import torch; from convvae.model import ConvVAE; m = ConvVAE.from_pretrained({str(tmp_path)!r}); ' \
           'print(m.embed(torch.full((1, 1, 9, 11), 0.5)).double().tolist())'
    there = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout
    assert eval(there) == model.embed(torch.full((1, 1, 9, 11), 0.5)).double().tolist()

def test_grad_reaches_the_encoder_through_every_sample():
    model = ConvVAE((1, 8, 8), latent_dim=2, channels=(4,))
    x = torch.rand(3, 1, 8, 8)
    iwae_bound(model(x, k=5), x).sum().backward()
    assert model.encoder.head.weight.grad.abs().sum() > 0
