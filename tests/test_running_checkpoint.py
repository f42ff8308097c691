"A run is not lost: it goes when the new one is good; what is damaged is refused; one at a time"
import json
import os
import random
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from runs import bin, digits, one_thread, rows_of, small, small_model, train
from safetensors.torch import load_file

from convvae.model import ConvVAE
from convvae.running.folders import alone
from convvae.saving import replacing
from convvae.train import fit

how = dict(batch_size=32, device='cpu')

def content(folder):
    "The files of a run, but for where another process waits or writes"
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.name[0] != '.'}

@pytest.fixture(scope='module')
def old(tmp_path_factory):
    "A run of one epoch, with what evaluation adds"
    out = tmp_path_factory.mktemp('old')/'run'
    fit(small_model(digits()), digits(), epochs=1, out=out, **how)
    for name in ('metrics.json', 'samples.png', 'report.html'): (out/name).write_text('old')
    return out

@pytest.fixture
def run(old, tmp_path):
    "A copy of it"
    return shutil.copytree(old, tmp_path/'run')

wrong = [dict(pieces=0), dict(k=-1), dict(beta=float('nan')), dict(ema=float('nan')), dict(ema=1.),
         dict(patience=0), dict(crop=-1), dict(lr=float('inf')), dict(clip=0.), dict(epochs=0),
         dict(batch_size=10**30), dict(seed=-1), dict(monitor=-1), dict(save_minutes=-1.),
         dict(max_seconds=float('nan')), dict(precision='fp4')]

@pytest.mark.parametrize('mistake', wrong, ids=lambda m: '-'.join(f'{k}={v}' for k,v in m.items()))
def test_a_mistake_overwrites_nothing(mistake, run):
    before = content(run)
    with pytest.raises(ValueError, match=f'{[*mistake][0]} must be'):
        options = dict(epochs=2, out=run, overwrite=True) | how | mistake
        fit(small_model(digits()), digits(), **options)
    assert content(run) == before

def fails(*args): raise RuntimeError('no memory for a step, say')

def nan(out, x): return out.z.sum()*float('nan')

@pytest.mark.parametrize('way', ['step', 'nan', 'disk', 'room'])
def test_a_failure_before_the_first_save_overwrites_nothing(way, run):
    before = content(run)
    full = patch('torch.save', side_effect=OSError(28, 'No space left on device'))
    room = patch('shutil.disk_usage', return_value=shutil.disk_usage('/')._replace(free=10))
    objective = dict(step=dict(objective=fails), nan=dict(objective=nan)).get(way, {})
    with pytest.raises((RuntimeError, OSError, FloatingPointError, ValueError)):
        with dict(disk=full, room=room).get(way, patch('time.time')):
            options = dict(epochs=1, out=run, overwrite=True) | how | objective
            fit(small_model(digits()), digits(), **options)
    assert content(run) == before
    assert [p.name for p in run.glob('.*')] == []

program = '''
import os, signal, sys
import torch
from pathlib import Path
from runs import digits, small_model
from convvae.train import fit
torch.set_num_threads(1)
def at_call(function):
    def counted(*args, **kwargs):
        global calls
        calls += 1
        if calls == n: os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **kwargs)
    return counted
for n in map(int, sys.argv[2:]):
    if os.fork() == 0:
        calls = 0
        os.replace,Path.rename,Path.unlink = map(at_call, (os.replace, Path.rename, Path.unlink))
        fit(small_model(digits()), digits(), epochs=2, out=f'{sys.argv[1]}/{n}', overwrite=True,
            batch_size=32, device='cpu', seed=1)
        os._exit(0)
    print(os.WIFSIGNALED(os.wait()[1]))
'''

@pytest.mark.skipif(sys.platform != 'linux', reason='kills')
def test_a_kill_leaves_the_old_run_or_the_new_one(old, tmp_path):
    "Killed at any renaming: all files are old, or none is, and the new run goes on"
    before,seen,at = content(old),set(),(1, 2, 3, 5, 8, 12)
    for n in at: shutil.copytree(old, tmp_path/str(n))
    env = dict(one_thread, PYTHONPATH=os.pathsep.join(sys.path))
    command = [sys.executable, '-c', program, str(tmp_path), *map(str, at)]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.stdout.split() == ['True']*len(at), done.stderr
    for n in at:
        run = tmp_path/str(n)
        ConvVAE.from_pretrained(run)                     # whoever reads, finishes what is whole
        now = content(run)
        seen.add(now == before)
        if now != before:
            assert not {'metrics.json', 'samples.png', 'report.html'} & now.keys()
            assert all(now[name] != before[name] for name in now.keys() - {'config.json'})
            goes_on = dict(epochs=2, seed=1, out=run, resume=True)
            assert len(fit(small_model(digits()), digits(), **how, **goes_on)) == 2
    assert seen == {True, False}

def flipped(path, place, bit):
    "A file with one bit that is another"
    there = bytearray(path.read_bytes())
    there[place] ^= 1 << bit
    path.write_bytes(there)

def test_a_flipped_bit_reaches_no_model(run):
    "In 40 places of the checkpoint: refused, or of no consequence; the good model stays"
    rng,path = random.Random(0),run/'checkpoint.pt'
    good,model = path.read_bytes(),load_file(run/'model.safetensors')
    refused = 0
    for _ in range(40):
        path.write_bytes(good)
        flipped(path, rng.randrange(len(good)), rng.randrange(8))
        try: fit(small_model(digits()), digits(), epochs=1, out=run, resume=True, **how)
        except ValueError as e:
            assert 'is damaged' in str(e) and '--init' in str(e)
            refused += 1
        now = load_file(run/'model.safetensors')
        assert all(torch.equal(now[name], w) for name,w in model.items())
    assert refused >= 35

def test_a_damaged_model_comes_back_from_its_checkpoint(run):
    path = run/'model.safetensors'
    good = path.read_bytes()
    flipped(path, len(good) - 100, 3)
    with pytest.raises(ValueError, match='is damaged.* checksum.* --resume writes it anew'):
        ConvVAE.from_pretrained(run)
    fit(small_model(digits()), digits(), epochs=1, out=run, resume=True, **how)
    assert path.read_bytes() == good

edits = { # what somebody changes in a checkpoint
    'history': lambda state: state.update(history=7),
    'rows': lambda state: state.update(history=[1]),
    'step': lambda state: state.update(step='x'),
    'many steps': lambda state: state.update(step=10**6),
    'sums': lambda state: state.update(total=None),
    'best': lambda state: state.update(best=3),
    'clock': lambda state: state['schedule'].update(taken='many'),
    'eps': lambda state: state['optimizer']['param_groups'][0].update(eps='x'),
    'moments': lambda state: state['optimizer']['state'][0].update(exp_avg=torch.zeros(3)),
    'infinite moments': lambda state: state['optimizer']['state'][0]['exp_avg'].mul_(float('inf')),
    'infinite weights': lambda state: state['model']['decoder.bias'].mul_(float('inf')),
    'type': lambda state: state['model'].update({'decoder.bias': torch.zeros(1, 32, 32).int()}),
}

@pytest.mark.parametrize('edit', edits)
def test_a_checkpoint_of_other_types_is_refused(edit, run):
    path = run/'checkpoint.pt'
    state = torch.load(path, weights_only=True)
    edits[edit](state)
    torch.save(state, path)
    before = content(run)
    with pytest.raises(ValueError, match='damaged|altered') as e:
        fit(small_model(digits()), digits(), epochs=1, out=run, resume=True, **how)
    assert '--init' in str(e.value) and '\n' not in str(e.value)
    assert content(run) == before

def test_an_older_checkpoint_still_loads(run):
    "One without what later versions write"
    path = run/'checkpoint.pt'
    state = torch.load(path, weights_only=True)
    del state['about']
    torch.save(state, path)
    assert len(fit(small_model(digits()), digits(), epochs=1, out=run, resume=True, **how)) == 1

def labelled():
    images = digits()
    return replace(images, train_labels=torch.arange(160) % 3, test_labels=torch.arange(40) % 3)

@pytest.mark.parametrize('change', ['image', 'label', 'order', 'test'])
def test_other_images_under_the_same_names_are_refused(change, tmp_path):
    images = labelled()
    options = dict(epochs=1, out=tmp_path/'run', **how)
    fit(small_model(images), images, **options)
    x,y = images.train.clone(),images.train_labels.clone()
    x[77, 0, 5, 5] ^= 1
    y[7] += 1
    others = dict(image=dict(train=x), label=dict(train_labels=y),
                  test=dict(test=images.test.flip(0)), order=dict(
                      train=images.train.flip(0), train_labels=images.train_labels.flip(0)))
    with pytest.raises(ValueError, match='was trained on other images.*--init'):
        fit(small_model(images), replace(images, **others[change]), resume=True, **options)
    assert fit(small_model(images), replace(images, name='elsewhere'), resume=True, **options)

def test_what_may_change_is_said(run, capsys):
    options = dict(epochs=1, out=run, resume=True, **how)
    fit(small_model(digits()), digits(), **options)
    assert 'other settings' not in capsys.readouterr().out
    fit(small_model(digits()), digits(), pieces=3, precision='bf16', **options)
    said = capsys.readouterr().out
    assert 'pieces was 1, now 3' in said and 'precision was no, now bf16' in said

@pytest.mark.parametrize('at', [3, 12])
def test_the_history_is_made_whole(at, tmp_path):
    "Where a kill came between the checkpoint and history.csv, in the middle and at the end"
    out = tmp_path/'run'
    class Killed(Exception): pass
    def stop(history):
        if len(history) == at: raise Killed
    with pytest.raises(Killed): train(out, digits(), report=stop)
    lines = (out/'history.csv').read_text().splitlines(True)
    (out/'history.csv').write_text(''.join(lines[:-1]))
    train(out, digits())
    assert [int(row['epoch']) for row in rows_of(out/'history.csv')] == [*range(1, 13)]

def test_one_process_at_a_time(tmp_path):
    "The second is told which one is first; when that has been killed, its lock is no obstacle"
    command = [bin/'convvae_train', *f'--epochs 4000 --batch_size 64 --out run {small}'.split()]
    p = subprocess.Popen(command, cwd=tmp_path, env=one_thread, stdout=subprocess.DEVNULL)
    while not (tmp_path/'run'/'model.safetensors').exists():
        assert p.poll() is None
        time.sleep(0.01)
    about = json.loads((tmp_path/'run'/'run.json').read_text())
    for more in (dict(resume=True), dict(overwrite=True, seed=5)):
        with pytest.raises(ValueError, match=f"run is in use, process {p.pid} on "):
            fit(small_model(digits()), digits(), out=tmp_path/'run', **how, **more)
    assert json.loads((tmp_path/'run'/'run.json').read_text()) == about
    p.kill()
    p.wait()
    with alone(tmp_path/'run'): assert (tmp_path/'run'/'.lock').exists()
    assert not (tmp_path/'run'/'.lock').exists()

def test_a_folder_that_is_gone(tmp_path):
    def removed(history):
        if len(history) == 2: shutil.rmtree(tmp_path/'run')
    with pytest.raises(OSError, match='deleted or moved during the training, before epoch 3: '):
        train(tmp_path/'run', digits(), report=removed)

def test_weights_that_are_not_finite_are_not_saved(run):
    "They come from the last step, whose loss was finite: an infinite step, here"
    before = content(run)
    def spoil(history): raise AssertionError('it was saved')
    step = torch.optim.Adam.step
    def infinite(self, *args):
        step(self, *args)
        with torch.no_grad(): self.param_groups[0]['params'][0].mul_(float('inf'))
    one = digits(32)
    options = dict(epochs=1, out=run, overwrite=True, monitor=0, report=spoil, **how)
    with patch('torch.optim.Adam.step', infinite):
        with pytest.raises(FloatingPointError, match='is not finite after 1 epochs, so it was not'):
            fit(small_model(one), one, **options)
    assert content(run) == before

def test_drafts_are_as_readable_as_other_files(tmp_path):
    before = os.umask(0o027)
    try:
        fit(small_model(digits()), digits(), epochs=1, out=tmp_path/'run', **how)
        with replacing(tmp_path/'run'/'a.txt') as draft: Path(draft).touch()
    finally: os.umask(before)
    assert {oct(p.stat().st_mode & 0o777) for p in (tmp_path/'run').iterdir()} == {'0o640'}
