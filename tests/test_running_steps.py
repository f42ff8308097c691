"What a step does to weights: it is clipped, averaged, and noise is new each time"
import math

import pytest
import torch
from runs import digits

from convvae.data import Batches
from convvae.running.steps import Clock, Stepper, noise, one_cycle, pieces_of

def batches(seed=0): return Batches(torch.zeros(40, 1, 4, 4, dtype=torch.uint8), 20, seed=seed)

@pytest.mark.parametrize('k', [None, 3])
def test_noise_is_new_in_each_epoch_step_and_seed(k):
    drawn = [noise(batches(seed), epoch, step, 5, k)
             for seed in (0, 1) for epoch in (0, 1) for step in (0, 1)]
    for i,a in enumerate(drawn):
        for b in drawn[:i]: assert (a != b).all()
    assert torch.equal(noise(batches(1), 1, 1, 5, k), drawn[-1])
    rows = drawn[0].flatten(0, -2)
    assert len(rows.unique(dim=0)) == len(rows)

def test_noise_is_standard_normal():
    "Mean, variance, skewness and kurtosis of many, within five standard errors"
    z = torch.cat([noise(batches(), epoch, 0, 50) for epoch in range(100)]).flatten().double()
    for power,moment,variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs((z**power).mean() - moment) < 5*math.sqrt(variance/len(z)), power

def stepper(model, clip=1000., ema=0., lr=1e-2, steps=40):
    return Stepper(model, Clock(steps), lr, clip, ema)

def loss_of(model, size): return size*sum((p - 1).square().sum() for p in model.parameters())

def norms(clip, size, n=3):
    "The length of the gradient that Adam gets in each of n steps"
    model,seen = torch.nn.Linear(5, 3),[]
    step = stepper(model, clip)
    def note(*_):
        lengths = [p.grad.norm() for p in model.parameters()]
        seen.append(torch.stack(lengths).norm().item())
    step.optimizer.register_step_pre_hook(note)
    for _ in range(n):
        step(loss_of(model, size), True)
    return seen

def test_long_gradients_are_clipped_and_short_ones_are_not():
    assert all(abs(v - 0.5) < 1e-4 for v in norms(0.5, 100.))
    free = norms(1000., 0.01)
    assert all(0 < v < 0.5 for v in free) and len(set(free)) == 3

def test_gradients_do_not_pile_up():
    "A second step has the gradient of its own loss alone; pieces of one step add up"
    model = torch.nn.Linear(2, 1)
    step,seen = stepper(model),[]
    step.optimizer.register_step_pre_hook(lambda *_: seen.append(model.bias.grad.item()))
    for _ in range(2):
        step(3*model.bias.sum(), True)
    step(1*model.bias.sum(), False)
    step(2*model.bias.sum(), True)
    assert seen == [3., 3., 3.]

@pytest.mark.parametrize('decay', [0.9, 0.15])
def test_moving_average_is_that_of_the_weights(decay):
    "Worked out beside it; the first weights are the first average"
    torch.manual_seed(0)
    model = torch.nn.Linear(4, 2)
    step = stepper(model, ema=decay)
    wanted = None
    for n in range(30):
        step(loss_of(model, 1.), True)
        now = model.weight.detach().double().clone()
        share = min(decay, (1 + n)/(10 + n)) if n else 0  # of the average that stays
        wanted = now if wanted is None else share*wanted + (1 - share)*now
        close = (step.kept.weight.double() - wanted).abs().max()
        assert close < 1e-5, (n, close)
    assert (step.kept.weight - model.weight).abs().max() > 1e-4
    assert step.kept is step.average.module and stepper(model).kept is model

def test_learning_rate_goes_up_and_down():
    "Adam has the rate and the momentum of the moment; a tenth of the way up, as high as was asked"
    model = torch.nn.Linear(2, 1)
    step,rates = stepper(model, lr=0.03, steps=100),[]
    for _ in range(100):
        group = step.optimizer.param_groups[0]
        rates.append(group['lr'])
        assert (group['lr'], group['betas'][0]) == one_cycle(step.clock.share, 100, 0.03)
        step(loss_of(model, 1.), True)
    top = rates.index(max(rates))
    assert top == 9 and abs(max(rates) - 0.03) < 1e-9
    assert rates[:10] == sorted(rates[:10]) and rates[9:] == sorted(rates[9:], reverse=True)
    assert rates[0] == pytest.approx(0.03/25) and rates[-1] < 1e-5

@pytest.mark.parametrize('pieces', [2, 3, 20])
def test_pieces_make_up_the_whole(pieces):
    "Their images and their noise; weighed means of them are the mean of the batch"
    whole = [*pieces_of(Batches(digits(50).train, 20, shuffle=False), 2, None, 1)]
    parts = [*pieces_of(Batches(digits(50).train, 20, shuffle=False), 2, None, pieces)]
    for batch in whole:
        mine = []
        while not (mine and mine[-1].last):
            mine.append(parts.pop(0))
        assert torch.equal(torch.cat([p.x for p in mine]), batch.x)
        assert torch.equal(torch.cat([p.inputs['eps'] for p in mine]), batch.inputs['eps'])
        assert sum(p.weight*p.x.mean() for p in mine).item() == pytest.approx(batch.x.mean().item())
        assert sum(p.count for p in mine) == batch.count == len(batch.x)
    assert not parts
