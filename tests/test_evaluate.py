"What `evaluate` says, from numbers that are worked out beside it"
import math

import numpy as np
import pytest
import torch
from runs import digits, small_model
from torch.distributions import Independent, Normal, kl_divergence

from convvae.data import binarized
from convvae.evaluate import evaluate, measure, per_image, summary

def numbers(n=6, discrete=True, fits=True):
    "As `per_image` gives them, of n images"
    g = np.random.default_rng(0)
    named = {name: torch.from_numpy(g.normal(size=n)) for name in (
        'elbo', 'rate', 'distortion', 'iwae_bound', 'ess', 'mse', 'psnr', 'ssim')}
    mean = torch.tensor([[0.], [0.09], [0.11], [2.]]).double()*torch.tensor([1., -1]*(n//2))
    return named | dict(mean=mean.T, discrete=torch.full((n,), float(discrete)).double(),
                        fits=torch.full((n,), float(fits)).double())

def test_averages_and_standard_errors():
    given = numbers()
    m = summary(given, 7, (1, 4, 5))
    for name in ('elbo', 'rate', 'distortion', 'iwae_bound', 'ess', 'mse', 'psnr', 'ssim'):
        assert m[name] == pytest.approx(np.mean(given[name].numpy())), name
    for name,of in (('stderr', 'elbo'), ('iwae_stderr', 'iwae_bound')):
        assert m[name] == pytest.approx(np.std(given[of].numpy())/math.sqrt(6)), name
    assert (m['k'], m['images'], m['latent_dim'], m['quantity']) == (7, 6, 4, 'nats')

def test_latents_are_active_above_a_variance_of_a_hundredth():
    assert summary(numbers(), 1, (1, 4, 5))['active_units'] == 2

def test_bits_per_dimension():
    "Of a probability of shades, and of a density: a bin of 1/255 wide; of neither, none"
    of_shades = summary(numbers(), 1, (3, 4, 5))
    assert of_shades['bits_per_dim'] == pytest.approx(-of_shades['elbo']/60/math.log(2))
    of_density = summary(numbers(discrete=False), 1, (3, 4, 5))
    more = of_density['bits_per_dim'] - of_shades['bits_per_dim']
    assert more == pytest.approx(math.log2(255))
    cross = summary(numbers(fits=False), 1, (3, 4, 5))
    assert cross['quantity'] == 'cross-entropy' and 'bits_per_dim' not in cross

def test_measure_is_what_its_latents_say(monkeypatch):
    "In parts of three latents or all at once; every latent counts, and no more"
    images = digits(8)
    model,x = small_model(images).eval(),(images.test[:2] > 127).float()
    torch.manual_seed(3)
    q = model.encode(x)
    z = torch.cat([q.rsample((n,)) for n in (3, 3, 1)])
    torch.manual_seed(3)
    got = measure(model, x, 7, most=6)
    D = -model.decode(z).log_prob(x)
    prior = Independent(Normal(torch.zeros(4), torch.ones(4)), 1)
    R = kl_divergence(q, prior)
    log_w = prior.log_prob(z) - q.log_prob(z) - D
    w = log_w.double().softmax(0)
    assert torch.allclose(got['distortion'], D.mean(0), rtol=1e-5)
    assert torch.allclose(got['rate'], R, rtol=1e-5)
    assert torch.allclose(got['elbo'], -(R + D.mean(0)), rtol=1e-5)
    assert torch.allclose(got['iwae_bound'], log_w.logsumexp(0) - math.log(7), rtol=1e-5)
    assert torch.allclose(got['ess'].double(), 1/w.square().sum(0), rtol=1e-3)
    assert got['fits'].all()
    whole = measure(model, x, 7)
    assert whole['elbo'].shape == (2,) and (whole['ess'] <= 7.001).all()

def test_evaluate_looks_at_test_images_as_they_are_or_drawn():
    "Reconstructions are those of the posterior mean; binarised ones are the draw of the seed"
    images = digits(60)
    model = small_model(images).eval()
    x = images.test.float()/255
    recon = model.reconstruct(x)
    mse = (x - recon).square().flatten(1).mean(1).double()
    got = evaluate(model, images, k=2)
    assert got['mse'] == pytest.approx(mse.mean().item(), rel=1e-5) and got['images'] == 40
    assert got['psnr'] == pytest.approx((-10*mse.log10()).mean().item(), rel=1e-5)
    drawn = binarized(images.test, 5).float()/255
    mse = (drawn - model.reconstruct(drawn)).square().mean().item()
    assert evaluate(model, images, 2, True, seed=5)['mse'] == pytest.approx(mse, rel=1e-5)

def test_seeds_of_an_evaluation():
    images = digits(60)
    model = small_model(images).eval()
    a,b,c = (evaluate(model, images, 2, seed=seed)['elbo'] for seed in (0, 0, 1))
    assert a == b != c
    assert per_image(model, images.test, None, 1, 7)['mean'].shape == (40, 4)
