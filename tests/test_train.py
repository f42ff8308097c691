"What a notebook cannot show: killed processes, a full disk, several processes"
import csv
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from conftest import ROOT
from convvae.data import Images, load_digits_32
from convvae.loss import objective
from convvae.model import ConvVAE
from convvae.train import fit

pytestmark = pytest.mark.skipif(sys.platform != 'linux', reason='forks after torch has been used, and reads /proc')

bin = Path(sys.executable).parent
small = '--latent_dim 4 --channels 8,16 --device cpu'
one_thread = {**os.environ, 'OMP_NUM_THREADS': '1'}

def digits(n=160):
    "A few of them"
    images = load_digits_32()
    return Images('digits', images.train[:n], images.test[:40])

def train(out, images, epochs=12, **kwargs):
    "A run of five steps an epoch, always from the same weights"
    torch.manual_seed(0)
    model = ConvVAE(images.image_size, 4, (8, 16), prior='vamp')
    fit(model, images, epochs=epochs, batch_size=32, out=out, resume=True, device='cpu', ema=0.9, save_minutes=0, **kwargs)

def whole(path):
    "The rows of history.csv: epochs, and what was measured"
    with path.open() as f: return [{k: v for k,v in r.items() if k not in ('seconds', 'images_per_second')} for r in csv.DictReader(f)]

def apart(name, folder):
    "Run a function of this file in a process of its own, which may fork: in ours, other tests may have started threads of autograd"
    call = f'import pathlib, test_train; test_train.{name}(pathlib.Path({str(folder)!r}))'
    env = dict(one_thread, PYTHONPATH=str(ROOT))
    done = subprocess.run([sys.executable, '-c', call], cwd=Path(__file__).parent, env=env, capture_output=True, text=True)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr

def test_killed_again_and_again(tmp_path): apart('kill_again_and_again', tmp_path)

def test_full_disk(tmp_path): apart('full_disk', tmp_path)

def kill_again_and_again(tmp_path):
    "kill -9 at random moments, many of them while a checkpoint is written (one is written after every step), and then resumed"
    images,rng = digits(),random.Random(0)
    torch.set_num_threads(1)
    start = time.time()
    train(tmp_path/'whole', images, 40)
    span,kills,in_writing,rows = time.time() - start,0,0,[]
    for attempt in range(40):
        child = os.fork()
        if not child:
            try: train(tmp_path/'broken', images, 40)
            finally: os._exit(0)
        end = time.time() + rng.uniform(0.01, 0.06)*span
        if attempt % 2: # as soon after that as something is being written
            while time.time() < end: time.sleep(0.001)
            while not list(tmp_path.glob(f'broken/.{child}-*')) and os.waitpid(child, os.WNOHANG) == (0, 0) and time.time() < end + span: pass
        while time.time() < end: time.sleep(0.001)
        try: os.kill(child, signal.SIGKILL)
        except ProcessLookupError: break
        _,status = os.waitpid(child, 0)
        in_writing += bool([*tmp_path.glob(f'broken/.{child}-*'), *tmp_path.glob('broken/.saving-*')])
        if not os.WIFSIGNALED(status): break # it had come to its end
        kills += 1
        if (tmp_path/'broken'/'history.csv').exists():
            now = whole(tmp_path/'broken'/'history.csv')
            assert now[:len(rows)] == rows # rows that were there stay
            rows = now
        if len(rows) > 40*kills/30: span *= 0.7 # the machine has become faster: too few kills would fit in
    train(tmp_path/'broken', images, 40)
    print(f'{kills} kills, {in_writing} while something was written')
    assert kills >= 20 and in_writing >= 5
    assert not list((tmp_path/'broken').glob('.*')) # what the kills left half written is gone
    a,b = (load_file(tmp_path/run/'model.safetensors') for run in ('whole', 'broken'))
    assert a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
    assert whole(tmp_path/'broken'/'history.csv') == whole(tmp_path/'whole'/'history.csv')

def full_disk(tmp_path):
    "A limit on the size of files, in the place of a full disk: the checkpoint before stays whole, and the run can be resumed"
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
    assert len(torch.load(tmp_path/'run'/'checkpoint.pt', weights_only=True)['history']) == 3
    assert not list((tmp_path/'run').glob('.*'))
    train(tmp_path/'run', digits())
    assert len(whole(tmp_path/'run'/'history.csv')) == 12

def test_ctrl_c(tmp_path):
    "Saves, says how to go on, and ends with the status of an interruption"
    command = [bin/'convvae_train', *f'--epochs 4000 --batch_size 64 --out run {small}'.split()]
    p = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, env=one_thread)
    while not (tmp_path/'run'/'history.csv').exists(): time.sleep(0.01)
    p.send_signal(signal.SIGINT)
    _,said = p.communicate(timeout=60)
    assert p.returncode == 130 and '--resume' in said and 'Traceback' not in said
    assert torch.load(tmp_path/'run'/'checkpoint.pt', weights_only=True)['history']

def test_ctrl_c_in_the_last_step_of_an_epoch(tmp_path):
    "Is obeyed with a checkpoint as in any other step, and the resumed run ends with the same weights"
    def pressed(out, x):
        nonlocal steps
        steps += 1
        if steps == 5: signal.raise_signal(signal.SIGINT)
        return objective(out, x)
    steps,images,models = 0,Images('digits', digits().train[:140], digits().test),[]
    settings = dict(epochs=2, batch_size=32, device='cpu')
    for name in ('whole', 'stopped'):
        torch.manual_seed(0)
        models.append(ConvVAE(images.image_size, 4, (8, 16)))
        if name == 'whole': fit(models[-1], images, out=tmp_path/name, **settings)
    with pytest.raises(KeyboardInterrupt): fit(models[1], images, out=tmp_path/'stopped', objective=pressed, **settings)
    assert torch.load(tmp_path/'stopped'/'checkpoint.pt', weights_only=True)['step'] == 5
    history = fit(models[1], images, out=tmp_path/'stopped', resume=True, **settings)
    assert all(torch.equal(a, b) for a,b in zip(*(m.state_dict().values() for m in models), strict=True))
    assert [h['train_elbo'] for h in history] == [float(h['train_elbo']) for h in whole(tmp_path/'whole'/'history.csv')]
    assert history[0]['images_per_second'] >= 0

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
    if how == 'truncated': path.write_bytes(path.read_bytes()[:-1000])
    elif how == 'code':
        class Evil:
            def __reduce__(self): return os.mkdir, (str(tmp_path/'evil'),)
        torch.save({'plan': Evil()}, path)
    else: torch.save(tampered(torch.load(path, weights_only=True), how), path)
    with pytest.raises(ValueError, match='damaged|altered'): train(tmp_path/'run', images)
    assert not (tmp_path/'evil').exists()

steps = '''
import json, os, sys, torch
from dataclasses import replace
from convvae.data import load_digits_32
from convvae.loss import objective
from convvae.model import ConvVAE
from convvae.train import fit
torch.set_num_threads(1)
images = load_digits_32()
images = replace(images, train=images.train[:777], train_labels=images.train_labels[:777])
torch.manual_seed(0)
model = ConvVAE(images.image_size, 8, (16, 32, 64), n_classes=10)
seen = []
def noting(out, x):
    loss = objective(out, x)
    if torch.is_grad_enabled(): seen.append((loss.item(), len(x)))
    if len(seen) == 52: json.dump(seen, open(f'{sys.argv[1]}.{os.environ.get("RANK", 0)}', 'w')); os._exit(0)
    return loss
fit(model, images, epochs=25, batch_size=64, objective=noting, device='cpu', binarize=True)
'''

def processes(command, cwd):
    "`torchrun` with two processes, or another launcher; in an environment without a GPU's traces"
    r = subprocess.run([str(c) for c in command], cwd=cwd, capture_output=True, text=True, timeout=240, env=one_thread)
    return r.returncode, r.stdout + r.stderr

torchrun = [bin/'torchrun', '--standalone', '--nproc_per_node', '2']

def test_two_processes_take_the_same_steps_as_one(tmp_path):
    "Losses over the first 50 steps agree to a relative 1e-5, every image is seen once, also in the last batch of nine images"
    (tmp_path/'steps.py').write_text(steps)
    assert subprocess.run([sys.executable, 'steps.py', 'one'], cwd=tmp_path, env=one_thread).returncode == 0
    processes([*torchrun, 'steps.py', 'two'], tmp_path)
    one,first,second = (json.loads((tmp_path/f).read_text()) for f in ('one.0', 'two.0', 'two.1'))
    for (loss,n),(a,i),(b,j) in zip(one[:50], first[:50], second[:50], strict=True):
        assert n == i + j
        assert (a*i + b*j)/n == pytest.approx(loss, rel=1e-5)
    assert {n for _,n in one} == {64, 9}

def test_launchers(tmp_path):
    "torchrun and accelerate launch start two processes, of which one writes; any number of processes resumes"
    command = f'--epochs 3 --batch_size 100 {small}'.split()
    assert subprocess.run([sys.executable, ROOT/'train.py', *command, '--out', 'one'], cwd=tmp_path, env=one_thread).returncode == 0
    rc,said = processes([*torchrun, ROOT/'train.py', *command], tmp_path)
    assert rc == 0, said
    assert said.count('epochs are done') == 1 and '2 processes' in said
    run = (tmp_path/'runs'/'latest').resolve()
    assert json.loads((run/'run.json').read_text())['machine']['processes'] == 2
    launch = [bin/'accelerate', 'launch', '--cpu', '--num_processes', '2', '--num_machines', '1', '--mixed_precision', 'no',
              '--dynamo_backend', 'no', ROOT/'train.py']
    rc,said = processes([*launch, *command, '--out', 'launched'], tmp_path)
    assert rc == 0, said
    rows = [whole(tmp_path/name/'history.csv') for name in ('one', run, 'launched')]
    for other in rows[1:]:
        for a,b in zip(rows[0], other, strict=True):
            for k in ('train_elbo', 'test_elbo'): assert float(a[k]) == pytest.approx(float(b[k]), rel=1e-4)
    refused,said = processes([*torchrun, ROOT/'train.py', *command, '--out', 'one'], tmp_path)
    assert refused and 'holds a run already' in said

def test_a_lost_worker_ends_the_job_and_fewer_go_on(tmp_path):
    command = f'--epochs 400 --batch_size 100 --out run {small}'.split()
    p = subprocess.Popen([str(c) for c in [*torchrun, ROOT/'train.py', *command]], cwd=tmp_path, stderr=subprocess.PIPE, text=True,
                         env=one_thread, start_new_session=True)
    while not (tmp_path/'run'/'history.csv').exists(): time.sleep(0.05)
    children = Path(f'/proc/{p.pid}/task/{p.pid}/children').read_text().split()
    workers = [int(c) for c in children if b'train.py' in Path(f'/proc/{c}/cmdline').read_bytes()]
    os.kill(workers[1], signal.SIGKILL)
    _,said = p.communicate(timeout=120)
    assert p.returncode != 0 and 'Signal 9' in said
    state = tmp_path/'run'/'history.csv'
    before = whole(state)
    p = subprocess.Popen([bin/'convvae_train', *command, '--resume'], cwd=tmp_path, env=one_thread)
    while len(whole(state)) <= len(before): time.sleep(0.05)
    p.send_signal(signal.SIGINT)
    p.wait(60)
    assert whole(state)[:len(before)] == before
