"Measures of disentanglement where factors are not equally frequent, and where latents mix them"
import numpy as np
import pytest
import torch
from scipy.stats import entropy

from convvae.measures.factors import dci, factor_vae_score, information, mig

def uneven(n=4000, seed=0):
    "(n,2) factors: one is 0 in nine rows of ten; one has four values of very different frequency"
    rng = np.random.default_rng(seed)
    return np.stack([rng.choice(2, n, p=(0.9, 0.1)),
                     rng.choice(4, n, p=(0.7, 0.2, 0.06, 0.04))], 1)

def test_information_of_a_copy_is_the_entropy():
    f = uneven()
    counts = [np.bincount(column) for column in f.T]
    info = information(f.astype(float), f)
    assert np.diag(info) == pytest.approx([entropy(c) for c in counts])

def test_mig_is_one_for_copies_of_factors_that_are_not_uniform():
    "The gap is divided by the factor's own entropy, not by that of a uniform one"
    f = uneven()
    assert mig(f.astype(float), f) > 0.99
    joint = entropy(np.bincount(f[:, 0])), entropy(np.bincount(f[:, 1]))
    noise = np.random.default_rng(1).normal(size=len(f))
    only_first = np.stack([f[:, 0] + 0., noise], 1)
    info = information(only_first, f)
    gaps = np.sort(info, 0)[-1] - np.sort(info, 0)[-2]
    assert mig(only_first, f) == pytest.approx(np.mean(gaps/joint)) and joint[0] < 0.4

def test_mig_is_nothing_for_two_copies_of_the_same():
    f = uneven()
    assert mig(f[:, [0, 0, 1, 1]].astype(float), f) == pytest.approx(0, abs=1e-9)
    assert mig(f[:, [0, 0, 1]].astype(float), f) == pytest.approx(0.5, abs=0.01)

def test_bins_are_as_many_as_asked_for():
    "Twenty of equal width: a latent with twenty even steps tells all of them apart"
    v = np.arange(2000) % 20
    f = np.stack([v, v//10], 1)
    codes = np.stack([v + 0., np.zeros(2000) + np.arange(2000) % 2], 1)
    assert information(codes, f)[0, 0] == pytest.approx(np.log(20))
    assert information(codes, f, bins=10)[0, 0] == pytest.approx(np.log(10))

def test_dci_weighs_latents_by_what_they_tell():
    "An idle latent is not disentangled, and does not count; test rows are not those learned from"
    f = uneven()
    noise = np.random.default_rng(1).normal(size=(len(f), 3))
    found = dci(np.concatenate([f + 0., 1e-6*noise], 1), f)
    assert found['disentanglement'] > 0.98 and found['completeness'] > 0.95
    assert found['informativeness'] == 1
    guess = dci(noise, np.random.default_rng(2).integers(0, 3, (len(f), 2)))
    assert abs(guess['informativeness'] - 1/3) < 0.05

def test_dci_completeness_is_over_latents():
    "A factor that two of four latents share is half complete: log 2 over log 4"
    rng = np.random.default_rng(0)
    a,b = rng.integers(0, 2, (2, 4000))
    f = np.stack([2*a + b, rng.integers(0, 2, 4000)], 1)
    codes = np.stack([a, b, f[:, 1], 0*a], 1) + 0.
    assert dci(codes, f)['completeness'] == pytest.approx((0.5 + 1)/2, abs=0.05)

class Drawn:
    "Factors as images of one row, for `factor_vae_score`"
    def __init__(self, factors): self.factors = factors
    def float(self): return self
    def __truediv__(self, _): return self

@pytest.mark.parametrize('scale', [(1, 1, 1), (100, 1, 0.2)])
def test_factor_vae_score_is_one_for_copies_on_any_scale(scale):
    sizes = [3, 6, 8]
    def embed(x): return x.factors.double()*torch.tensor(scale)
    assert factor_vae_score(embed, Drawn, sizes, votes=200) == 1

def test_factor_vae_score_of_mixtures_is_a_guess():
    "Every latent is the same sum, and an idle one does not vote"
    def embed(x):
        total = x.factors.double().sum(1, keepdim=True)
        return total.repeat(1, 3)*torch.tensor((1., 1., 1e-4))
    assert factor_vae_score(embed, Drawn, [4, 4, 4], votes=400) < 0.6
