"The running variance of an optimal Gaussian: moved by training steps, by nothing else"
import pytest
import torch

from convvae.model import ConvVAE
from convvae.zoo.likelihoods import ContinuousBernoulli, OptimalGaussianLikelihood

def model():
    torch.manual_seed(0)
    return ConvVAE((1, 8, 8), 2, (4,), likelihood='optimal_gaussian')

def test_running_variance_is_a_slow_average_of_batches():
    "A twentieth of each batch's mean squared distance; worked out beside it"
    likelihood = OptimalGaussianLikelihood()
    wanted = 0.05
    for shift in (0.1, 0.2, 0.4, 0.3):
        x = torch.full((5, 1, 4, 4), 0.5)
        p = likelihood(torch.full((5, 1, 4, 4), 0.5 + shift).logit())
        likelihood.observe(p, x)
        wanted = 0.95*wanted + 0.05*shift**2
        assert likelihood.var.item() == pytest.approx(wanted, rel=1e-4)

def test_a_training_pass_moves_it_and_others_do_not():
    m,x = model(),torch.rand(6, 1, 8, 8)
    before = m.likelihood.var.item()
    out = m.train()(x)
    moved = m.likelihood.var.item()
    best = (x - out.p.mean).square().mean().item()
    assert moved == pytest.approx(0.95*before + 0.05*best, rel=1e-4)
    m.eval()(x)
    with torch.no_grad(): m.train()(x)
    m.decode(torch.zeros(1, 2))
    assert m.likelihood.var.item() == moved

@pytest.mark.parametrize('logit', [-8., -2., -0.3, 0.3, 2., 8.])
def test_draws_of_a_continuous_bernoulli_have_its_moments(logit):
    torch.manual_seed(0)
    p = ContinuousBernoulli(torch.tensor(logit))
    drawn = p.sample((20_000,)).double()
    assert abs(drawn.mean() - p.mean) < 5*(p.variance/len(drawn))**0.5
    assert abs(drawn.var()/p.variance - 1) < 0.1
