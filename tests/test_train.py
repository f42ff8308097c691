"`fit` does what its options say: who sees which pixels, what is averaged, clipped and kept"
import pytest
import torch
from runs import digits, small_model
from torch.optim.optimizer import register_optimizer_step_pre_hook

from convvae.loss import iwae_objective, objective
from convvae.running import start
from convvae.train import fit, run_epoch

def seen_by(model, images, **how):
    "What a model is shown while it is trained, and while it is measured: lists of (x, eps)"
    shown = dict(train=[], test=[])
    def note(module, args, kwargs):
        shown['train' if module.training else 'test'].append((args[0].clone(), kwargs['eps']))
    hook = model.register_forward_pre_hook(note, with_kwargs=True)
    history = fit(model, images, batch_size=32, device='cpu', **how)
    hook.remove()
    return shown, history

def pixels(shown): return torch.cat([x for x,_ in shown])

def rows(x):
    "Images as a set"
    return {im.numpy().tobytes() for im in x}

moves = [dict(flip=True), dict(crop=2), dict(flip=True, crop=2)]

@pytest.mark.parametrize('how', moves)
def test_flips_and_crops_are_for_training_images_alone(how):
    images = digits(96)
    shown,_ = seen_by(small_model(images), images, epochs=2, **how)
    held_out = images.test.float()/255
    assert torch.equal(pixels(shown['test']), torch.cat([held_out, held_out]))
    own = rows(images.train.float()/255)
    mirrored = rows(images.train.flip(3).float()/255)
    new = rows(pixels(shown['train']))
    assert len(new - own) > 40 and not new & rows(held_out)
    assert bool(new & (mirrored - own)) == ('flip' in how)

def test_without_them_images_are_as_they_are():
    images = digits(96)
    shown,_ = seen_by(small_model(images), images, epochs=1)
    assert rows(pixels(shown['train'])) == rows(images.train.float()/255)

def test_binarisation_is_new_in_each_epoch_and_the_same_for_test_images():
    images = digits(96)
    shown,_ = seen_by(small_model(images), images, epochs=2, binarize=True)
    for x in shown.values(): assert set(pixels(x).unique().tolist()) == {0., 1.}
    first,second = pixels(shown['test']).split(40)
    assert torch.equal(first, second)
    first,second = pixels(shown['train']).split(96)
    assert not rows(first) & rows(second)

def test_noise_is_new_in_each_epoch_and_the_same_for_test_images():
    images = digits(96)
    shown,_ = seen_by(small_model(images), images, epochs=2)
    noise = {part: [eps for _,eps in calls] for part,calls in shown.items()}
    first,second = torch.cat(noise['test']).split(40)
    assert torch.equal(first, second)
    assert len(torch.cat(noise['train']).unique(dim=0)) == 2*96

def test_seeds_differ():
    images = digits(96)
    def end(seed): return fit(small_model(images), images, 1, 32, seed=seed, device='cpu')
    a,b,c = ([row['train_elbo'] for row in end(seed)] for seed in (0, 0, 1))
    assert a == b != c

def test_k_and_pieces_cut_what_the_model_is_shown():
    images = digits(96)
    how = dict(epochs=1, objective=iwae_objective, k=3, pieces=4)
    shown,_ = seen_by(small_model(images), images, **how)
    assert {(len(x), *eps.shape) for x,eps in shown['train']} == {(8, 3, 8, 4)}

def test_gradients_are_clipped_as_asked():
    images,lengths = digits(96),[]
    def note(optimizer, *_):
        grads = [p.grad for group in optimizer.param_groups for p in group['params']]
        lengths.append(torch.stack([g.norm() for g in grads if g is not None]).norm().item())
    handle = register_optimizer_step_pre_hook(note)
    fit(small_model(images), images, 1, 32, clip=0.5, device='cpu')
    clipped,lengths[:] = [*lengths],[]
    fit(small_model(images), images, 1, 32, device='cpu')
    handle.remove()
    assert len(clipped) == 3 and all(abs(v - 0.5) < 1e-3 for v in clipped)
    assert all(v > 1 for v in lengths)

def test_what_is_kept_and_measured_is_the_average():
    "The weights at the end are the average of those after each step, and the test ELBO is theirs"
    images = digits(96)
    model,after = small_model(images),[]
    def note(module, *_):
        if module.training: after.append(module.decoder.bias.detach().double().clone())
    hook = model.register_forward_pre_hook(note)
    history = fit(model, images, 4, 32, ema=0.8, device='cpu')
    hook.remove()
    bare = small_model(images)
    fit(bare, images, 4, 32, device='cpu')
    last = bare.decoder.bias.detach().double()
    steps = [*after[1:], last]            # the weights after each of twelve steps
    wanted = steps[0]
    for n,now in enumerate(steps[1:], 1):
        stays = min(0.8, (1 + n)/(10 + n))
        wanted = stays*wanted + (1 - stays)*now
    assert (model.decoder.bias - wanted).abs().max() < 1e-5
    assert (last - wanted).abs().max() > 1e-4
    again = run_epoch(model, start.test_batches(model, images, 32, 1000, seed=0))
    assert again['elbo'] == pytest.approx(history[-1]['test_elbo'], abs=1e-3)

def test_patience_ends_it_and_keeps_the_best():
    "Test images that get worse: the ELBO of the model is that of its best epoch"
    images = digits(64)
    images.test = 255 - images.test
    model = small_model(images)
    history = fit(model, images, 40, 32, lr=2e-2, patience=3, device='cpu')
    elbos = [row['test_elbo'] for row in history]
    best = elbos.index(max(elbos))
    assert len(elbos) == best + 4 < 40
    again = run_epoch(model, start.test_batches(model, images, 32, 1000, seed=0))
    assert again['elbo'] == pytest.approx(max(elbos), abs=1e-3)

def test_beta_is_that_of_the_moment():
    "Noted by an objective of our own, over eight steps"
    images,given = digits(64),[]
    def noting(out, x, beta):
        given.append(beta)
        return objective(out, x, beta)
    fit(small_model(images), images, 4, 32, objective=noting, beta=lambda t: 2*t, device='cpu')
    assert given == pytest.approx([2*step/8 for step in range(8)])
    given.clear()
    fit(small_model(images), images, 1, 32, objective=noting, beta=0.25, device='cpu')
    assert given == [0.25, 0.25]

def test_the_elbo_of_the_history_is_the_elbo():
    "Whatever is minimised; averaged over images, also where the last batch is smaller"
    images = digits(70)
    def ten_times(out, x): return 10*objective(out, x)
    history = fit(small_model(images), images, 2, 32, objective=ten_times, device='cpu')
    for row in history:
        assert row['train_loss'] == pytest.approx(-10*row['train_elbo'], rel=1e-4)
        for part in ('train', 'test'):
            parts = row[f'{part}_rate'] + row[f'{part}_distortion']
            assert row[f'{part}_elbo'] == pytest.approx(-parts, rel=1e-6)
