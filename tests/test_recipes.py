"recipes/mnist_record: slices that end and go on, and an estimate of log p(x) that is right"
import itertools
import json
import math
import runpy
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.distributions import Independent, MultivariateNormal, Normal

from conftest import ROOT
from convvae.data import binarized, load_images
from convvae.evaluate import measure
from convvae.loss import elbo, iwae_bound
from convvae.model import ConvVAE, VAEOut
from convvae.randomness import generator

recipe = ROOT/'recipes'/'mnist_record'
sys.path.insert(0, str(recipe))
import record  # noqa: E402

commands = {}
for command in ('train', 'evaluate', 'ablation'):
    commands |= runpy.run_path(str(recipe/f'{command}.py'))
train,evaluate,ablation = (commands[name] for name in ('train', 'evaluate', 'ablation'))

@pytest.fixture(scope='module')
def run(tmp_path_factory):
    "A tiny run, trained as a user would, without a break"
    out = tmp_path_factory.mktemp('record')/'whole'
    command = [sys.executable, recipe/'train.py', '--size', 'tiny', '--out', out]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f'done; next: python recipes/mnist_record/evaluate.py --run {out}' in done.stdout
    return out

def after(n):
    "The end of a slice, which has come when it is asked for the n-th time, however long that takes"
    asked = itertools.count(1)
    return lambda: next(asked) >= n

def test_time_is_up():
    now = 5.
    over = record.time_is_up(2, clock=lambda: now)
    assert not over()
    now = 5. + 119.9
    assert not over()
    now = 5. + 120.
    assert over()
    assert record.time_is_up(0)() and not record.time_is_up(60)()

def test_ctrl_c_is_not_the_end_of_a_slice(tmp_path):
    "It is saved, too, but whoever pressed it wants out"
    def pressed():
        signal.raise_signal(signal.SIGINT)
        return False
    size,images = record.sizes['tiny'],record.images_for('digits')
    with pytest.raises(KeyboardInterrupt):
        record.train_slice(size, images, tmp_path, pressed)
    assert record.progress_of(tmp_path)['steps'] == 1

def test_slices_of_training_are_one_training(run, tmp_path):
    "Six steps an epoch: cut within one, at its end, later; told to stop in the last, it is done"
    images = record.images_for('digits')
    def go(steps): return record.train_slice(record.sizes['tiny'], images, tmp_path, after(steps))
    def taken(run): return record.progress_of(run)['steps']
    for steps,so_far in ((1, 1), (5, 6), (8, 14)):
        assert not go(steps) and taken(tmp_path) == so_far
    assert go(4) and taken(tmp_path) == taken(run) == 18
    a,b = (load_file(f/'model.safetensors') for f in (run, tmp_path))
    assert all(torch.equal(a[name], b[name]) for name in a)

def test_again_and_wrong(run, capsys):
    "A run that is done says so again; a size that is none is named"
    train(size='tiny', out=str(run))
    assert ': done; next' in capsys.readouterr().out
    wanted = "unknown size 'huge': choose one of gpu, cpu, small, tiny"
    with pytest.raises(ValueError, match=wanted): train(size='huge')

def test_choices_never_see_the_test_images():
    whole,images = load_images('digits'),record.images_for('digits', 200)
    assert torch.equal(torch.cat([images.train, images.test]), whole.train)
    assert len(images.test) == 200
    with pytest.raises(ValueError, match='hold_out'): record.images_for('digits', len(whole.train))

def test_evaluation_in_slices(run, tmp_path, capsys):
    "Ended after each batch, it gives the numbers of one that was not"
    results = tmp_path/'results'
    options = dict(run=str(run), k=6, block=2, batch_size=10, images=30, device='cpu')
    def go(name, **more): evaluate(**options, name=name, results=str(results), **more)
    def row(name): return json.loads((results/f'{name}.json').read_text())
    def numbers(name):
        return {k: v for k,v in row(name).items() if k not in ('name', 'eval_seconds')}

    go('once')
    (run/'likelihood.npz').unlink()
    calls = 0
    while not (results/'often.json').exists():
        go('often', slice_minutes=0)
        calls += 1
    assert calls == 10                             # 9 batches, and the call that finds all done
    assert numbers('often') == numbers('once')
    once = row('once')
    assert [t['k'] for t in once['trace']] == [2, 6] and once['trace'][-1]['nats'] == once['nats']
    assert (once['measured_on'], once['k'], once['images']) == ('test images', 6, 30)
    assert (results/'often.png').read_bytes()[:4] == b'\x89PNG'
    assert '100.0%' in capsys.readouterr().out
    with pytest.raises(ValueError, match='overwrite'): go('other', seed=1)  # nothing is mixed
    go('more')
    assert row('more')['nats'] == once['nats']
    with pytest.raises(ValueError, match='block must be'): evaluate(**options | dict(block=0))

def test_evaluation_is_told_when_to_end(run):
    "After so many batches, whatever the clock says; and all that was drawn is kept"
    def work(overwrite=False):
        settings = json.loads((run/'run.json').read_text())
        model = ConvVAE.from_pretrained(run)
        begun = commands['Evaluation'](run, model, settings, k=6, seed=0, block=2, batch_size=10)
        begun.choose(images=30, overwrite=overwrite)
        return begun

    first = work(overwrite=True)
    assert not first.go_on(after(4))               # a block for all three batches, another for one
    assert first.tally.k[:30].tolist() == [4]*10 + [2]*20
    second = work()
    assert second.tally.k[:30].tolist() == first.tally.k[:30].tolist()
    assert not second.go_on(after(5))              # the last batch of all was the fifth
    third = work()
    assert (third.tally.k[:30] == 6).all() and third.go_on(after(1))
    assert torch.equal(third.pixels, binarized(load_images('digits').test, 0)[:30])

class Linear(nn.Module):
    "x = A z + b + noise, z normal: log p(x) and the posterior are known"
    def __init__(self, wider=1., shift=0.):
        super().__init__()
        g = torch.Generator().manual_seed(0)
        self.A = nn.Parameter(torch.randn(16, 3, generator=g))
        self.b = torch.randn(16, generator=g)
        self.sd,self.latent_dim,self.wider,self.shift = 0.7,3,wider,shift

    def forward(self, x, k, eps):
        cov = torch.linalg.inv(torch.eye(3) + self.A.T@self.A/self.sd**2)
        mu = (x.flatten(1) - self.b)@self.A@cov/self.sd**2 + self.shift
        L = torch.linalg.cholesky(cov)*self.wider
        z = mu + eps@L.T
        p = Independent(Normal((z@self.A.T + self.b).unflatten(-1, (1, 4, 4)), self.sd), 3)
        prior = Independent(Normal(torch.zeros(3), torch.ones(3)), 1)
        return VAEOut(MultivariateNormal(mu, scale_tril=L), z, p, prior)

    @property
    def marginal(self):
        return MultivariateNormal(self.b, self.A@self.A.T + self.sd**2*torch.eye(16))

def random_pixels(high, *shape):
    "Bytes from 0 to high - 1, the same each time"
    g = torch.Generator().manual_seed(1)
    return torch.randint(high, shape, dtype=torch.uint8, generator=g)

def test_estimate_where_it_is_known():
    pixels = random_pixels(256, 7, 1, 4, 4)
    exact = Linear().marginal.log_prob((pixels.float()/255).flatten(1)).double().detach().numpy()
    tally = record.Tally(7)
    record.likelihood(Linear(), pixels, tally, k=4, block=2, batch_size=3)
    np.testing.assert_allclose(tally.log_px(7), exact, atol=1e-3)  # a posterior: equal weights
    np.testing.assert_allclose(tally.ess(7), 4, rtol=1e-4)
    tally,k = record.Tally(7),20_000
    record.likelihood(Linear(wider=1.3, shift=0.1), pixels, tally, k=k, block=5_000)
    error = (1/tally.ess(7) - 1/k)**0.5
    assert (abs(tally.log_px(7) - exact) < 6*error).all()
    assert (0.005 < error).all() and (error < 0.05).all()
    known = tally.summary(7)
    assert known['elbo'] < -known['nats']
    assert known['elbo'] == pytest.approx(-known['rate'] - known['distortion'])
    assert known['noise'] == pytest.approx((error**2).sum()**0.5/7)
    assert known['shortfall'] == pytest.approx((error**2).mean()/2)

def rough(**kwargs):
    "A small model with random weights in all its parts"
    torch.manual_seed(0)
    model = ConvVAE((1, 6, 6), latent_dim=2, channels=(8,), stem=2, **kwargs).eval()
    with torch.no_grad():
        for name,p in model.named_parameters():
            p.add_((0.03 if 'prior' in name else 0.2)*torch.randn_like(p))
    return model

def test_estimate_against_an_integral():
    "Two latents: log p(x) as a sum over a grid, under a flow as prior"
    model,side = rough(block='residual', prior='realnvp'),torch.linspace(-7, 7, 201)
    step = side[1] - side[0]
    pixels = 255*random_pixels(2, 5, 1, 6, 6)
    with torch.no_grad():
        z = torch.cartesian_prod(side, side)                       # (G,2)
        log_prior = model.prior().log_prob(z)                      # (G,)
        log_p = model.decode(z[:, None]).log_prob(pixels.float()/255) + log_prior[:, None]
    exact = (log_p.double().logsumexp(0) + 2*math.log(step)).numpy()
    assert abs(log_prior.double().exp().sum()*step**2 - 1) < 1e-3
    tally = record.Tally(5)
    record.likelihood(model, pixels, tally, k=20_000, block=4_000)
    assert (abs(tally.log_px(5) - exact) < 6*(1/tally.ess(5) - 1/20_000)**0.5 + 1e-3).all()
    assert tally.ess(5).min() > 200

def test_blocks_add_up():
    "Three blocks are one, for bound, ELBO and effective sample size, as the package has them"
    model,pixels = rough(prior='realnvp'),255*torch.randint(2, (5, 1, 6, 6), dtype=torch.uint8)
    x,tally = pixels.float()/255,record.Tally(5)
    record.likelihood(model, pixels, tally, k=10, block=4, batch_size=5, seed=3)
    assert (tally.k == 10).all()
    def noise(start, m): return torch.randn(m, 5, 2, generator=generator('importance', 3, 0, start))
    eps = torch.cat([noise(0, 4), noise(4, 4), noise(8, 2)])
    with torch.no_grad():
        out = model(x, k=10, eps=eps)
        np.testing.assert_allclose(tally.log_px(5), iwae_bound(out, x).numpy(), rtol=1e-5)
        np.testing.assert_allclose(tally.sum_log_w/10, elbo(out, x).mean(0).numpy(), rtol=1e-5)
        model.forward = lambda *args, **kwargs: out
        np.testing.assert_allclose(tally.ess(5), measure(model, x, 10)['ess'].numpy(), rtol=1e-4)

def test_ablation(tmp_path, capsys):
    "Rows that are there are not measured again, and none is compared with a base that is not there"
    options = dict(small, out=tmp_path/'runs', results=tmp_path)
    with pytest.raises(ValueError, match='compared with plain'): ablation(**options, only='realnvp')
    ablation(**options, only='plain')
    ablation(**options, only='plain,realnvp')
    path = tmp_path/'ablation.json'
    plain,flow = json.loads(path.read_text())
    assert flow['change'] == pytest.approx(flow['nats'] - plain['nats'])
    assert (flow['base'], flow['steps']) == ('plain', 18)
    written = path.stat().st_mtime_ns
    ablation(**options, only='plain,realnvp')
    assert path.stat().st_mtime_ns == written and 'done' in capsys.readouterr().out
    changed = options | dict(seconds=1.)
    with pytest.raises(ValueError, match='train_seconds None, now 1'):
        ablation(**changed, only='vamp')
    with pytest.raises(ValueError, match='unknown variant'): ablation(**options, only='magic')

small = dict(size='tiny', seconds=None, k=4, images=20, hold_out=100)

def test_ablation_in_slices(tmp_path):
    "It gives the rows of one that was not interrupted"
    def table(folder):
        rows = json.loads((folder/'ablation.json').read_text())
        return [{k: v for k,v in row.items() if k != 'seconds'} for row in rows]

    def go(folder, over):
        work = commands['Ablation'](**small, out=folder/'runs', results=folder)
        work.go_on(['plain', 'realnvp'], over)

    once,often = tmp_path/'once',tmp_path/'often'
    go(once, lambda: False)
    # asked before a variant and in each of its 18 steps: not begun, cut, not gone on with, done
    for n,rows in ((20, 1), (10, 1), (1, 1), (11, 2)):
        go(often, after(n))
        assert len(table(often)) == rows
    assert table(often) == table(once)
