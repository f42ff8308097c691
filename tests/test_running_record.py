"What a notebook cannot show of a run: killed processes, a full disk, a checkpoint that was changed"
import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from conftest import ROOT
from runs import bin, digits, one_thread, rows_of, small, small_model, train
from safetensors.torch import load_file

from convvae.data import Images
from convvae.loss import objective
from convvae.train import fit

pytestmark = pytest.mark.skipif(sys.platform != 'linux', reason='forks after torch has been used')

def apart(name, folder):
    "Run a function of this file in a process of its own, which may fork: ours may have threads"
    call = (f'import pathlib, test_running_record as tests; '
            f'tests.{name}(pathlib.Path({str(folder)!r}))')
    env = dict(one_thread, PYTHONPATH=f'{ROOT}:{Path(__file__).parent}')
    done = subprocess.run([sys.executable, '-c', call], env=env, capture_output=True, text=True)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr

def test_killed_again_and_again(tmp_path): apart('kill_again_and_again', tmp_path)

def test_full_disk(tmp_path): apart('full_disk', tmp_path)

def at_call(n, function, first=lambda *args: None):
    "The function, in whose n-th call the process kills itself, as `kill -9` would, after `first`"
    calls = 0
    def counted(*args, **kwargs):
        nonlocal calls
        calls += 1
        if calls == n:
            first(*args)
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **kwargs)
    return counted

def half(state, file):
    "Half of what torch would write"
    file.write(b'PK half of a checkpoint')
    file.flush()

ways = { # to die, each at a call that is counted
    'in a step': lambda n: dict(objective=at_call(n, objective)),
    'before a rename': lambda n: patch('os.replace', at_call(n, os.replace)),
    'after a rename': lambda n: patch('os.replace', at_call(n, os.replace, first=os.replace)),
    'in a checkpoint': lambda n: patch('torch.save', at_call(n, torch.save, first=half)),
}

def killed(out, images, way, n):
    "Train in a process that dies in this way; did it, before it came to its end?"
    child = os.fork()
    if not child:
        how = ways[way](n)
        if isinstance(how, dict): train(out, images, 40, **how)
        else:
            with how: train(out, images, 40)
        os._exit(0)
    _,status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)

def kill_again_and_again(tmp_path):
    "Killed in a step, or while something is written, as is a checkpoint after each; and resumed"
    images,rng = digits(),random.Random(0)
    torch.set_num_threads(1)
    train(tmp_path/'whole', images, 40)
    broken,rows,half_written,kills = tmp_path/'broken',[],0,0
    for attempt in range(32):
        way = [*ways][attempt%4]
        if not killed(broken, images, way, rng.randint(1, 8 if way == 'in a step' else 12)): break
        kills += 1
        half_written += bool([*broken.glob('.saving-*')])
        if (broken/'history.csv').exists():
            now = rows_of(broken/'history.csv')
            assert now[:len(rows)] == rows # rows that were there stay
            rows = now
    train(broken, images, 40)
    print(f'{kills} kills, {half_written} while something was written, at {len(rows)} of 40 epochs')
    assert kills == 32 and half_written >= 16 and len(rows) < 40
    assert not list(broken.glob('.*')) # what the kills left half written is gone
    a,b = (load_file(tmp_path/run/'model.safetensors') for run in ('whole', 'broken'))
    assert a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
    assert rows_of(broken/'history.csv') == rows_of(tmp_path/'whole'/'history.csv')

def full_disk(tmp_path):
    "A limit on the size of files, in the place of a full disk: the checkpoint before stays whole"
    child = os.fork()
    if not child:
        def limit(history):
            if len(history) == 3: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN) # then writing raises an OSError
        status = 1
        try: train(tmp_path/'run', digits(), report=limit)
        except OSError as e: status = 0 if 'make room and resume' in str(e) else 2
        finally: os._exit(status)
    assert os.WEXITSTATUS(os.waitpid(child, 0)[1]) == 0
    checkpoint = torch.load(tmp_path/'run'/'checkpoint.pt', weights_only=True)
    assert len(checkpoint['history']) == 3
    assert not list((tmp_path/'run').glob('.*'))
    train(tmp_path/'run', digits())
    assert len(rows_of(tmp_path/'run'/'history.csv')) == 12

def wait_for(path, process):
    "Until a process has written this file; it must not end before"
    while not path.exists():
        assert process.poll() is None
        time.sleep(0.01)

def test_ctrl_c(tmp_path):
    "Saves, says how to go on, and ends with the status of an interruption"
    command = [bin/'convvae_train', *f'--epochs 4000 --batch_size 64 --out run {small}'.split()]
    pipe = dict(stderr=subprocess.PIPE, text=True)
    p = subprocess.Popen(command, cwd=tmp_path, env=one_thread, **pipe)
    wait_for(tmp_path/'run'/'history.csv', p)
    p.send_signal(signal.SIGINT)
    _,stderr = p.communicate(timeout=60)
    assert p.returncode == 130 and '--resume' in stderr and 'Traceback' not in stderr
    assert torch.load(tmp_path/'run'/'checkpoint.pt', weights_only=True)['history']

def test_ctrl_c_in_the_last_step_of_an_epoch(tmp_path):
    "Is obeyed with a checkpoint, as in any other step; the resumed run ends with the same weights"
    steps = 0
    def pressed(out, x):
        nonlocal steps
        steps += 1
        if steps == 5: signal.raise_signal(signal.SIGINT)
        return objective(out, x)
    images = Images('digits', digits().train[:140], digits().test)
    how = dict(epochs=2, batch_size=32, device='cpu')
    whole,stopped = small_model(images),small_model(images)
    once = fit(whole, images, out=tmp_path/'whole', **how)
    with pytest.raises(KeyboardInterrupt):
        fit(stopped, images, out=tmp_path/'stopped', objective=pressed, **how)
    assert torch.load(tmp_path/'stopped'/'checkpoint.pt', weights_only=True)['step'] == 5
    twice = fit(stopped, images, out=tmp_path/'stopped', resume=True, **how)
    pairs = zip(stopped.state_dict().values(), whole.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a,b in pairs)
    assert [h['train_elbo'] for h in twice] == [h['train_elbo'] for h in once]
    assert twice[0]['images_per_second'] >= 0

def tampered(state, how):
    "A checkpoint that somebody has changed"
    if how == 'list': return [1, 2]
    if how == 'weights': state['model'] = {k: v[..., :1] for k,v in state['model'].items()}
    if how == 'optimizer': state['optimizer'] = 7
    if how == 'missing': del state['schedule']
    return state

@pytest.mark.parametrize('how', ['list', 'weights', 'optimizer', 'missing', 'truncated', 'code'])
def test_a_checkpoint_that_was_changed_is_refused(tmp_path, how):
    images,path = digits(),tmp_path/'run'/'checkpoint.pt'
    train(tmp_path/'run', images)
    class Evil:
        def __reduce__(self): return os.mkdir, (str(tmp_path/'evil'),)
    if how == 'truncated': path.write_bytes(path.read_bytes()[:-1000])
    elif how == 'code': torch.save({'plan': Evil()}, path)
    else: torch.save(tampered(torch.load(path, weights_only=True), how), path)
    with pytest.raises(ValueError, match='damaged|altered'): train(tmp_path/'run', images)
    assert not (tmp_path/'evil').exists()
