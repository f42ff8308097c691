"What the chapters show on one example, over a grid of sizes and extremes"
import subprocess
import sys
from functools import partial

import pytest
import torch

from convvae.loss import (
    distortion,
    dreg_objective,
    elbo,
    iwae_bound,
    objective,
    rate,
    tc_objective,
)
from convvae.model import ConvVAE, blocks, likelihoods, priors
from convvae.running.start import start_from

sizes = [(1, 28, 28), (3, 33, 50), (2, 1, 1), (1, 1, 17), (5, 64, 2), (4, 7, 7)]

def gradients(model):
    "Those that there are"
    return [p.grad for p in model.parameters() if p.grad is not None]

@pytest.mark.parametrize('image_size', sizes)
@pytest.mark.parametrize('channels', [(4,), (4, 8), (4, 8, 8, 8)])
def test_any_size_any_depth(image_size, channels):
    model = ConvVAE(image_size, latent_dim=3, channels=channels)
    x = torch.rand(2, *image_size)
    out = model(x)
    assert out.p.mean.shape == x.shape == model.reconstruct(x).shape
    assert model.sample(2).shape == x.shape
    assert rate(out).shape == distortion(out, x).shape == elbo(out, x).shape == (2,)
    many = model(x, k=4)
    assert rate(many).shape == distortion(many, x).shape == (4, 2)
    assert iwae_bound(many, x).shape == (2,)

@pytest.mark.parametrize('block', blocks)
@pytest.mark.parametrize('norm', ['none', 'group'])
@pytest.mark.parametrize('image_size', sizes[:4])
def test_any_size_any_block(block, norm, image_size):
    model = ConvVAE(image_size, latent_dim=3, channels=(4, 12), block=block, norm=norm, n_classes=4)
    x,y = torch.rand(3, *image_size),torch.tensor([0, 3, 1])
    assert model(x, y=y, k=2).p.mean.shape == (2, *x.shape)
    assert model.reconstruct(x, y).shape == x.shape == model.sample(3, y=y).shape

@pytest.mark.parametrize('prior', priors)
@pytest.mark.parametrize('likelihood', likelihoods)
def test_any_likelihood_under_any_prior(likelihood, prior, tmp_path):
    "One number per image, finite losses and gradients, and the same model after saving"
    torch.manual_seed(0)
    x = (torch.rand(6, 2, 9, 11)*255).round()/255
    x[0],x[1] = 0,1
    model = ConvVAE((2, 9, 11), latent_dim=3, channels=(4, 8), likelihood=likelihood, prior=prior)
    start_from(model, x)
    for k,loss in [(None, objective), (4, dreg_objective), (None, partial(tc_objective, n=100)),
                   (None, partial(objective, free_bits=0.5))]:
        out = model(x, k=k)
        assert rate(out).shape == distortion(out, x).shape == elbo(out, x).shape == out.z.shape[:-1]
        model.zero_grad()
        value = loss(out, x)
        value.backward()
        assert value.isfinite() and all(g.isfinite().all() for g in gradients(model))
    model.eval().save_pretrained(tmp_path)
    again = ConvVAE.from_pretrained(tmp_path)
    assert torch.equal(again.sample(4, seed=0), model.sample(4, seed=0))
    with torch.no_grad():
        log_probs = [m.decode(out.z).log_prob(x) for m in (again, model)]
    assert torch.equal(*log_probs)

@pytest.mark.parametrize('likelihood', likelihoods)
def test_sure_decoders_stay_finite(likelihood):
    "Pixels of 0 and 1 under a decoder that is certain, rightly or wrongly"
    model = ConvVAE((1, 4, 4), latent_dim=2, channels=(4,), likelihood=likelihood)
    z = torch.randn(3, 2)
    x = torch.tensor([0., 0.5, 1.]).view(3, 1, 1, 1).expand(3, 1, 4, 4)
    for sure in (-60., -10., 10., 60.):
        with torch.no_grad(): model.decoder.bias.fill_(sure)
        loss = -model.decode(z).log_prob(x).mean()
        model.zero_grad()
        loss.backward()
        assert loss.isfinite() and all(g.isfinite().all() for g in gradients(model))
        assert 0 <= model.decode(z).mean.min() and model.decode(z).mean.max() <= 1

@pytest.mark.parametrize('prior', priors)
def test_every_parameter_learns(prior):
    model = ConvVAE((3, 19, 30), latent_dim=4, channels=(4, 8, 8), prior=prior)
    x = torch.rand(8, 3, 19, 30)
    for step in getattr(model.prior, 'steps', []): # starts at zero, and holds up all before it
        torch.nn.init.normal_(step.net[-1].weight)
    objective(model(x), x).backward()
    silent = [n for n,p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not silent

@pytest.mark.parametrize('scale', [1e3, 1e6, 1e12])
def test_extreme_encoder_outputs_stay_finite(scale):
    model = ConvVAE((1, 8, 8), latent_dim=4, channels=(4,))
    with torch.no_grad(): # logvar
        model.encoder.head.bias[4:] = torch.tensor([-scale, scale, -scale, scale])
    x = torch.rand(4, 1, 8, 8).round()
    loss = objective(model(x), x)
    loss.backward()
    assert loss.isfinite() and all(p.grad.isfinite().all() for p in model.parameters())

def test_the_same_model_in_another_process(tmp_path):
    model = ConvVAE((1, 9, 11), latent_dim=3, channels=(4, 8))
    model.save_pretrained(tmp_path)
    code = f'''
import torch
from convvae.model import ConvVAE
model = ConvVAE.from_pretrained({str(tmp_path)!r})
print(model.embed(torch.full((1, 1, 9, 11), 0.5)).double().tolist())
'''
    program = [sys.executable, '-c', code]
    there = subprocess.run(program, capture_output=True, text=True, check=True).stdout
    assert eval(there) == model.embed(torch.full((1, 1, 9, 11), 0.5)).double().tolist()

def test_grad_reaches_the_encoder_through_every_sample():
    model = ConvVAE((1, 8, 8), latent_dim=2, channels=(4,))
    x = torch.rand(3, 1, 8, 8)
    iwae_bound(model(x, k=5), x).sum().backward()
    assert model.encoder.head.weight.grad.abs().sum() > 0

def kinds(module, kind): return [m for m in module.modules() if isinstance(m, kind)]

@pytest.mark.parametrize('stem', [2, 3, 4])
def test_stem_is_that_of_encoder_and_decoder(stem):
    "The first convolution strides by it; the last stage enlarges by it, and no other does"
    model = ConvVAE((1, 24, 24), 2, (4, 6, 8), stem=stem)
    strides = [conv.stride[0] for conv in kinds(model.encoder, torch.nn.Conv2d)]
    assert strides == [stem, 2, 2]
    h = torch.zeros(1, 8, *model.decoder.start[1:])
    sides = [h.shape[-1]]
    for up in model.decoder.stages:
        h = up(h)
        sides.append(h.shape[-1])
    grown = [b/a for a,b in zip(sides, sides[1:], strict=False)]
    assert grown == [2, 2, stem]

@pytest.mark.parametrize('block, norm, there', [
    ('plain', None, False), ('plain', 'group', True), ('plain', 'none', False),
    ('residual', None, True), ('residual', 'none', False)])
def test_norm_is_the_one_that_is_asked_for(block, norm, there):
    model = ConvVAE((1, 16, 16), 2, (8, 8), block, norm=norm)
    for part in (model.encoder, model.decoder):
        assert bool(kinds(part, torch.nn.GroupNorm)) == there

def test_what_enlarging_leaves_over_is_cut_off_below_and_at_the_right():
    "A decoder whose stages mark the first row and the first column keeps the marks"
    model = ConvVAE((1, 5, 7), 2, (4,), stem=4)
    class Marks(torch.nn.Module):
        def forward(self, h):
            out = torch.zeros(len(h), 1, 8, 8)
            out[..., 0, :] = out[..., :, 0] = 1
            return out
    model.decoder.stages[0] = Marks()
    x = model.decoder(torch.zeros(1, 2))[0, 0]
    assert x.shape == (5, 7) and (x[0] == 1).all() and (x[:, 0] == 1).all() and x.sum() == 11

def test_bias_is_added_to_each_pixel():
    model = ConvVAE((1, 6, 6), 2, (4,)).eval()
    z = torch.randn(3, 2)
    before = model.decoder(z)
    shift = torch.randn(1, 6, 6)
    model.decoder.bias.data += shift
    assert torch.allclose(model.decoder(z) - before, shift.expand(3, -1, -1, -1), atol=1e-5)
