"What `diagnose` observes, beside what the model says; and which way a gap of overfitting goes"
from types import SimpleNamespace

import torch
from runs import digits, small_model

from convvae.data import binarized
from convvae.measures.diagnosis import observe, overfitted
from convvae.randomness import generator, seeded

def test_observations_are_those_of_the_model():
    images = digits(60)
    model = small_model(images).eval()
    with seeded(1): seen = observe(model, images.train, None, False, 20, 3)
    i = torch.randperm(60, generator=generator(3))[:20]
    assert torch.equal(seen.x, images.train[i].float()/255)
    q,prior = model.encode(seen.x),model.prior()
    assert torch.allclose(seen.mean, q.mean) and torch.allclose(seen.logvar, q.variance.log())
    assert seen.z.shape == (20, 4, 4)
    assert torch.allclose(seen.log_prior, prior.log_prob(seen.z), rtol=1e-5)
    assert torch.allclose(seen.recon, model.reconstruct(seen.x), atol=1e-6)
    D = -model.decode(seen.z.transpose(0, 1)).log_prob(seen.x).mean(0)
    assert torch.allclose(seen.elbo, -D - seen.rate, rtol=1e-4)

def test_black_and_white_is_looked_at_where_it_was_trained_on():
    images = digits(60)
    seen = observe(small_model(images).eval(), images.train, None, True, 20, 3)
    i = torch.randperm(60, generator=generator(3))[:20]
    assert torch.equal(seen.x, binarized(images.train[i], 3).float()/255)

def test_overfitting_is_a_better_elbo_on_training_images():
    low,high = (SimpleNamespace(elbo=torch.linspace(v - 1, v + 1, 100)) for v in (-120., -100.))
    found = overfitted(high, low)
    assert found.fault == 'Overfitting' and 'a gap of 20.0' in found.numbers
    assert overfitted(low, high) is None and overfitted(low, low) is None
