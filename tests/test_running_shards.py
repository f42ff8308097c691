"Several processes: the same steps as one, one that writes, one that is lost"
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT
from runs import bin, one_thread, rows_of, small
from test_running_record import wait_for

pytestmark = pytest.mark.skipif(sys.platform != 'linux', reason='reads /proc')

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
    if len(seen) == 52:
        json.dump(seen, open(f'{sys.argv[1]}.{os.environ.get("RANK", 0)}', 'w'))
        os._exit(0)
    return loss
fit(model, images, epochs=25, batch_size=64, objective=noting, device='cpu', binarize=True)
'''
torchrun = [bin/'torchrun', '--standalone', '--nproc_per_node', '2']

def run(*command, cwd):
    "Exit status, and what a command and its processes have said"
    how = dict(cwd=cwd, capture_output=True, text=True, timeout=240, env=one_thread)
    done = subprocess.run([str(c) for c in command], **how)
    return done.returncode, done.stdout + done.stderr

def test_two_processes_take_the_same_steps_as_one(tmp_path):
    "50 losses agree to a relative 1e-5; every image counts once, also in a batch of nine"
    (tmp_path/'steps.py').write_text(steps)
    assert run(sys.executable, 'steps.py', 'one', cwd=tmp_path)[0] == 0
    run(*torchrun, 'steps.py', 'two', cwd=tmp_path)
    one,first,second = (json.loads((tmp_path/f).read_text()) for f in ('one.0', 'two.0', 'two.1'))
    for (loss,n),(a,i),(b,j) in zip(one[:50], first[:50], second[:50], strict=True):
        assert n == i + j
        assert (a*i + b*j)/n == pytest.approx(loss, rel=1e-5)
    assert {n for _,n in one} == {64, 9}

def test_launchers(tmp_path):
    "torchrun and accelerate launch start two processes, of which one writes; any number resumes"
    command = f'--epochs 3 --batch_size 100 {small}'.split()
    assert run(sys.executable, ROOT/'train.py', *command, '--out', 'one', cwd=tmp_path)[0] == 0
    status,text = run(*torchrun, ROOT/'train.py', *command, cwd=tmp_path)
    assert status == 0, text
    assert text.count('epochs are done') == 1 and '2 processes' in text
    latest = (tmp_path/'runs'/'latest').resolve()
    assert json.loads((latest/'run.json').read_text())['machine']['processes'] == 2
    launch = [bin/'accelerate', *'launch --cpu --num_processes 2 --num_machines 1'.split(),
              *'--mixed_precision no --dynamo_backend no'.split(), ROOT/'train.py']
    status,text = run(*launch, *command, '--out', 'launched', cwd=tmp_path)
    assert status == 0, text
    rows = [rows_of(tmp_path/name/'history.csv') for name in ('one', latest, 'launched')]
    for other in rows[1:]:
        for a,b in zip(rows[0], other, strict=True):
            for k in ('train_elbo', 'test_elbo'):
                assert float(a[k]) == pytest.approx(float(b[k]), rel=1e-4)
    refused,text = run(*torchrun, ROOT/'train.py', *command, '--out', 'one', cwd=tmp_path)
    assert refused and 'holds a run already' in text

def test_a_lost_worker_ends_the_job_and_fewer_go_on(tmp_path):
    command = f'--epochs 400 --batch_size 100 --out run {small}'.split()
    job = [str(c) for c in [*torchrun, ROOT/'train.py', *command]]
    how = dict(cwd=tmp_path, env=one_thread, start_new_session=True)
    p = subprocess.Popen(job, stderr=subprocess.PIPE, text=True, **how)
    state = tmp_path/'run'/'history.csv'
    wait_for(state, p)
    children = Path(f'/proc/{p.pid}/task/{p.pid}/children').read_text().split()
    workers = [int(c) for c in children if b'train.py' in Path(f'/proc/{c}/cmdline').read_bytes()]
    os.kill(workers[1], signal.SIGKILL)
    _,stderr = p.communicate(timeout=120)
    assert p.returncode != 0 and 'Signal 9' in stderr
    before = rows_of(state)
    p = subprocess.Popen([bin/'convvae_train', *command, '--resume'], cwd=tmp_path, env=one_thread)
    while len(rows_of(state)) <= len(before):
        assert p.poll() is None
        time.sleep(0.01)
    p.send_signal(signal.SIGINT)
    p.wait(60)
    assert rows_of(state)[:len(before)] == before
