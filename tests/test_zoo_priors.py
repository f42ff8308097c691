"RealNVP: every latent is changed, by all others; its density is that of its own Jacobian"
import pytest
import torch
from torch.distributions import Normal

from convvae.model import ConvVAE
from convvae.zoo.priors import FlowPrior

def bent(latent_dim, steps=4):
    "A flow whose nets say something: fresh ones are the identity"
    torch.manual_seed(0)
    prior = FlowPrior(latent_dim, steps, 16).double()
    for p in prior.parameters(): torch.nn.init.normal_(p, std=0.4)
    return prior

def to_u(prior, z):
    "Where a latent goes: written out, from the parts"
    for step in prior.steps:
        s,t = step.scale_shift(z)
        z = z*s.exp() + t
    return z

@pytest.mark.parametrize('latent_dim', [2, 3, 4, 5])
def test_what_passes_in_one_step_is_changed_in_the_next(latent_dim):
    prior = bent(latent_dim, 8)
    masks = torch.stack([step.passes for step in prior.steps])
    assert set(masks.unique().tolist()) == {0., 1.}
    assert torch.equal(masks[:-1] + masks[1:], torch.ones(7, latent_dim))

@pytest.mark.parametrize('latent_dim', [2, 3, 4])
def test_every_latent_depends_on_every_other(latent_dim):
    prior = bent(latent_dim)
    z = torch.randn(latent_dim, dtype=torch.double)
    jacobian = torch.autograd.functional.jacobian(lambda z: to_u(prior, z), z)
    assert (jacobian.abs() > 1e-6).all(), jacobian

@pytest.mark.parametrize('latent_dim', [2, 3])
def test_density_by_the_jacobian(latent_dim):
    prior = bent(latent_dim)
    for z in torch.randn(5, latent_dim, dtype=torch.double):
        jacobian = torch.autograd.functional.jacobian(lambda z: to_u(prior, z), z)
        wanted = Normal(0., 1.).log_prob(to_u(prior, z)).sum() + jacobian.det().abs().log()
        assert abs(prior().log_prob(z) - wanted) < 1e-9
    assert jacobian.det().abs().log().abs() > 1e-2

def test_draws_are_undone_by_the_steps():
    "A draw is led back to the standard normal that it was drawn from, at the temperature asked for"
    prior = bent(3)
    for temperature in (1., 0.5):
        u = to_u(prior, prior(temperature).sample((4000,)))
        assert (u.mean(0).abs() < 5*temperature/4000**0.5).all()
        assert ((u.std(0)/temperature - 1).abs() < 5/(2*4000)**0.5).all()
    torch.manual_seed(1)
    z = prior().sample((10,))
    torch.manual_seed(1)
    assert torch.allclose(to_u(prior, z), prior.base().sample((10,)))

def test_pseudo_images_begin_as_many_different_ones():
    "Chosen by chance, with their shades"
    model = ConvVAE((1, 8, 8), 2, (4,), prior='vamp')
    shades = torch.linspace(0.05, 0.95, 300)
    model.prior.start_from(shades.view(-1, 1, 1, 1).expand(-1, 1, 8, 8))
    begun = model.prior.logits.sigmoid()[:, 0, 0, 0]
    assert (begun[:, None] - shades).abs().min(1).values.max() < 1e-5
    assert len(begun.unique()) > 60 and abs(begun.mean() - 0.5) < 5*0.26/10
