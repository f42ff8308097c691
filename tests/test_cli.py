"The commands as a user runs them: exit status, what they say, what they leave behind"
import csv
import inspect
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from conftest import ROOT
from fastcore.docments import docments

from convvae import cli

bin = Path(sys.executable).parent
small = '--latent_dim 4 --channels 8,16'
no_way_out = 'http://127.0.0.1:9'
alone = {**os.environ, 'https_proxy': no_way_out, 'http_proxy': no_way_out}

def run(command, cwd, **env):
    "`train.py ...` or `evaluate.py ...` from the clone, or `convvae_sample ...`, in another folder"
    name,*args = command.split()
    start = [sys.executable, ROOT/name] if name.endswith('.py') else [bin/name]
    env = {**alone, 'XDG_CACHE_HOME': str(cwd/'cache'), **env}
    how = dict(cwd=cwd, capture_output=True, text=True, env=env, timeout=300)
    return subprocess.run([*start, *args], **how)

def good(command, cwd, **env):
    "Its output; it must succeed"
    r = run(command, cwd, **env)
    assert r.returncode == 0, r.stderr
    return r.stdout

def pictures(folder, n, mode='L', size=(32, 32), seed=0):
    "`n` random images in `folder`"
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for i in range(n):
        pixels = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).convert(mode).save(folder/f'{i}.png')

def epochs_of(run):
    "The epochs in a run's history"
    rows = csv.DictReader((run/'history.csv').read_text().splitlines())
    return [int(row['epoch']) for row in rows]

def test_either_spelling(tmp_path):
    good('convvae_train --latent-dim 3 --epochs 1 --channels 8 --batch-size 500 --out a', tmp_path)
    assert json.loads((tmp_path/'a'/'config.json').read_text())['latent_dim'] == 3

def test_the_commands_of_the_description(tmp_path):
    good(f'train.py --epochs 2 --batch_size 64 {small}', tmp_path)
    out = good('evaluate.py --num_samples 10 --k 2', tmp_path)
    latest = tmp_path/'runs'/'latest'
    files = {'model.safetensors', 'config.json', 'history.csv', 'samples.png',
             'reconstructions.png', 'metrics.json'}
    assert files <= {f.name for f in latest.iterdir()}
    assert latest.resolve().name.startswith('digits-')
    m = json.loads((latest/'metrics.json').read_text())
    assert m['elbo'] == pytest.approx(-(m['rate'] + m['distortion']), abs=1e-3)
    assert m['quantity'] == 'cross-entropy'
    for word in ('elbo', 'rate', 'distortion', 'samples.png'): assert word in out
    assert epochs_of(latest) == [1, 2]
    with Image.open(latest/'samples.png') as im: # ten samples in two full rows, and a title above
        assert im.height == (2*33 + 1)*2 + 35 and im.width >= (5*33 + 1)*2 + 14
    good('convvae_sample --num_samples 3 --seed 1 --files --out drawn', tmp_path)
    assert len(list((tmp_path/'drawn'/'samples').iterdir())) == 3

def test_a_run_is_kept_resumed_or_overwritten(tmp_path):
    command = f'convvae_train --epochs 1 --out mine {small}'
    good(command, tmp_path)
    weights = load_file(tmp_path/'mine'/'model.safetensors')
    refused = run(command, tmp_path)
    assert refused.returncode == 2 and 'holds a run already' in refused.stderr
    assert '1 epochs are done' in good(command + ' --resume', tmp_path)
    other = run(command.replace('--latent_dim 4', '--latent_dim 5') + ' --resume', tmp_path)
    assert other.returncode == 2 and 'latent_dim was 4, now 5' in other.stderr
    after = load_file(tmp_path/'mine'/'model.safetensors')
    assert all(torch.equal(weights[k], after[k]) for k in weights) # nothing of this has touched it
    good(command + ' --overwrite --seed 1', tmp_path)
    after = load_file(tmp_path/'mine'/'model.safetensors')
    assert any(not torch.equal(weights[k], v) for k,v in after.items())
    assert (tmp_path/'runs'/'latest').resolve() == (tmp_path/'mine').resolve()

def test_killed_and_resumed_is_the_same(tmp_path):
    command = f'convvae_train --epochs 12 --batch_size 64 {small}'
    good(f'{command} --out whole', tmp_path)
    name,*args = f'{command} --out broken'.split()
    p = subprocess.Popen([bin/name, *args], cwd=tmp_path, stdout=subprocess.DEVNULL)
    while not (tmp_path/'broken'/'model.safetensors').exists():
        assert p.poll() is None
        time.sleep(0.01)
    p.send_signal(signal.SIGKILL)
    p.wait()
    good(f'{command} --out broken --resume', tmp_path)
    a,b = (load_file(tmp_path/run/'model.safetensors') for run in ('whole', 'broken'))
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert epochs_of(tmp_path/'broken') == list(range(1, 13))

def test_images_in_data(tmp_path):
    for seed,name in enumerate(('a b', 'ü')):
        pictures(tmp_path/'data'/name, 6, 'RGB', (20, 31), seed)
    out = good(f'train.py --data data --epochs 1 {small}', tmp_path)
    assert '3 x 20 x 31' in out
    good('evaluate.py --k 2 --num_samples 2', tmp_path)
    smaller = f'train.py --data data --epochs 1 --image_size 12,16 {small}'
    assert '3 x 12 x 16' in good(smaller, tmp_path)

def test_a_run_that_goes_on_needs_no_more_than_its_folder(tmp_path):
    pictures(tmp_path/'data'/'cat', 12)
    pictures(tmp_path/'data'/'dog', 12, seed=1)
    first = f'convvae_train --data data --conditional --epochs 2 {small} --out first'
    assert '2 classes: cat (12), dog (12)' in good(first, tmp_path)
    assert '2 epochs are done' in good('convvae_train --resume --out first', tmp_path)
    pictures(tmp_path/'new'/'dog', 6, 'RGB', (50, 40), seed=2)
    good('convvae_train --init first --data new --epochs 1 --lr 1e-3 --out second', tmp_path)
    config = json.loads((tmp_path/'second'/'config.json').read_text())
    assert config['trained_on']['classes'] == ['cat', 'dog'] # dog alone is still the second
    assert good('convvae_evaluate --run first --data new --k 2', tmp_path).count('images') >= 2
    metrics = json.loads((tmp_path/'first'/'metrics.json').read_text())
    assert metrics['images'] == 6 # all of them
    good('convvae_sample --run second --label dog --num_samples 2 --seed 1 --out by_name', tmp_path)
    good('convvae_sample --run second --label 1 --num_samples 2 --seed 1 --out by_number', tmp_path)
    a, b = (tmp_path/d/'samples.png' for d in ('by_name', 'by_number'))
    assert a.read_bytes() == b.read_bytes()

def test_what_was_understood_is_said_before_training(tmp_path):
    for place in ('train/good', 'test/good', 'test/hole'):
        pictures(tmp_path/'set'/place, 6, 'RGB', (40, 90))
    pictures(tmp_path/'set'/'ground_truth'/'hole', 6)
    (tmp_path/'set'/'read me.txt').touch()
    out = good(f'convvae_train --data set --epochs 1 {small}', tmp_path)
    said, _, _ = out.partition('parameters on')
    for words in ('6 images to train on, 12 to test', '18 PNG, of 40 x 90 pixels',
                  'cut to fit: 56%',
                  'to train on train (6), to test on test (12)', 'masks: ground_truth (6)',
                  'only in the test part: hole (6)', '1 .txt'):
        assert words in said, words

def test_eight_channels_from_start_to_end(tmp_path):
    rng = np.random.default_rng(0)
    np.savez(tmp_path/'a.npz', x=rng.integers(0, 256, (40, 8, 16, 16), dtype=np.uint8))
    good(f'convvae_train --data a.npz --epochs 1 {small}', tmp_path)
    good('convvae_evaluate --k 2 --num_samples 4', tmp_path)
    good('convvae_sample --num_samples 3 --files --gif', tmp_path)
    latest = tmp_path/'runs'/'latest'
    for name in ('samples.png', 'reconstructions.png', 'curves.png', 'samples.gif', 'report.html'):
        assert (latest/name).stat().st_size > 0

def test_skip_bad(tmp_path):
    pictures(tmp_path/'data', 8)
    (tmp_path/'data'/'1.png').write_bytes(b'no picture')
    out = good(f'convvae_train --data data --skip_bad --epochs 1 {small}', tmp_path)
    assert '1 of 8 images' in out and '1.png' in out and 'warn(' not in out
    good('convvae_evaluate --k 2 --num_samples 2', tmp_path) # the run remembers

def write_mnist(root, n=150):
    "Files of the names and format that torchvision reads, with random images"
    raw = root/'MNIST'/'raw'
    raw.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for part in ('train', 't10k'):
        for name,magic,shape in (('images-idx3', 0x803, (n, 28, 28)), ('labels-idx1', 0x801, (n,))):
            data = rng.integers(0, 10 if 'labels' in name else 256, shape, dtype=np.uint8)
            head = np.array([magic, *shape], dtype='>i4')
            (raw/f'{part}-{name}-ubyte').write_bytes(head.tobytes() + data.tobytes())

def test_mnist_is_read_where_it_is_and_nothing_is_downloaded(tmp_path):
    write_mnist(tmp_path/'sets')
    here = dict(CONVVAE_DATA=str(tmp_path/'sets'))
    out = good(f'convvae_train --data mnist --epochs 1 --binarize {small}', tmp_path, **here)
    assert '150 images to train on' in out
    good('convvae_evaluate --k 1', tmp_path, **here)
    metrics = json.loads((tmp_path/'runs'/'latest'/'metrics.json').read_text())
    assert metrics['quantity'] == 'nats'
    elsewhere = dict(CONVVAE_DATA=str(tmp_path/'elsewhere'))
    missing = run('convvae_train --data mnist --epochs 1', tmp_path, **elsewhere)
    assert missing.returncode == 2 and len(missing.stderr.splitlines()) == 1
    assert 'digits, which needs no network' in missing.stderr

@pytest.fixture(scope='module')
def folders(tmp_path_factory):
    "A folder with a grey run in runs/latest and with images that give trouble"
    d = tmp_path_factory.mktemp('bad')
    good(f'convvae_train --epochs 1 {small}', d)
    (d/'empty').mkdir()
    pictures(d/'broken', 3)
    (d/'broken'/'1.png').write_bytes(b'no picture')
    pictures(d/'colour', 4, 'RGB')
    (d/'file').touch()
    return d

bad = {
    'convvae_train --data mnits': 'choose one of digits, sprites',
    'convvae_train --data empty': 'no images in',
    'convvae_train --data broken': '1 of 3 images cannot be read',
    'convvae_train --epochs -1': 'epochs must be a whole number of at least 1, got -1',
    'convvae_train --batch_size 0': 'batch_size must be a whole number of at least 1, got 0',
    'convvae_train --latent_dim 0': 'latent_dim must be a whole number of at least 1, got 0',
    'convvae_train --image_size 0': 'at least 1 pixel a side, got 0 x 0',
    'convvae_train --channels 8;16': 'comma-separated whole numbers',
    'convvae_train --lr 0': 'lr must be above 0',
    'convvae_train --device abacus': 'abacus',
    'convvae_train --epochs two': 'invalid int value',
    'convvae_train --epochs 1 --out file/run': 'file/run',
    'convvae_evaluate --run nowhere': 'no run in nowhere',
    'convvae_evaluate --data empty': 'no images in',
    'convvae_evaluate --k 0': 'k must be a whole number of at least 1',
    'convvae_evaluate --num_samples 0': 'num_samples must be a whole number of at least 1',
    'convvae_train --precision fp4': 'no or bf16',
    'convvae_train --log_with parchment': 'pip install it',
    'convvae_train --like nowhere': 'name one with --like',
    'convvae_train --conditional --data colour': 'has no labels',
    'convvae_train --data colour --value_range 9': '--value_range takes LOW,HIGH',
    'convvae_train --data colour --background blurple': 'a colour such as white, black',
    'convvae_train --init nowhere': 'no model in nowhere',
    'convvae_train --init runs/latest --latent_dim 5': '--latent_dim is 4 in runs/latest',
    'convvae_sample --label cat': 'is no class of this model',
    'convvae_sample --morph colour/0.png': 'two or more pictures, got 1',
    'convvae_sample --reconstruct nowhere.png': '1 of 1 files are not there',
    'convvae_embed --out table.txt': 'ends in .csv, .npz, .parquet',
    'convvae_score --alpha 7': '--alpha must be',
    'convvae_sample --num_samples 0': 'num_samples must be a whole number of at least 1',
    'convvae_sample --temperature -1': 'temperature must be at least 0',
}

@pytest.mark.parametrize('command', bad)
def test_a_mistake_is_one_sentence_and_status_2(command, folders):
    before = (folders/'runs'/'latest').resolve()
    r = run(command, folders)
    assert r.returncode == 2, r.stdout + r.stderr
    assert bad[command] in r.stderr and 'Traceback' not in r.stderr
    # argparse shows the usage above its sentence
    assert len(r.stderr.strip().splitlines()) == 1 or 'usage:' in r.stderr
    assert (folders/'runs'/'latest').resolve() == before

@pytest.mark.parametrize('command', [cli.train, cli.evaluate, cli.sample, cli.embed,
                                     cli.score])
def test_help_explains_every_option(command, tmp_path):
    out = good(f'convvae_{command.__name__} --help', tmp_path)
    text = ' '.join(out.split()).replace('- ', '-')  # of a line that ends within a word
    for name in inspect.signature(command).parameters: assert f'--{name}' in text
    for name,d in docments(command, full=True, returns=False).items():
        help = d.docment if d.default in (None, False) else f'{d.docment} (default: {d.default})'
        wanted = ' '.join(help.split()).replace('- ', '-')
        assert len(help) > 15 and wanted in text, name

def said(main, line, capsys):
    "Exit status of a command that runs in this process, what it prints, and what it says is wrong"
    try: main(line.split())
    except SystemExit as e: status = e.code
    else: status = 0
    return status, *capsys.readouterr()

out_of_range = {
    'train --pieces 0': '--pieces must be a whole number of at least 1, got 0',
    'train --k -1': '--k must be a whole number of at least 1, got -1',
    'train --patience 0': '--patience must be',
    'train --ema nan': '--ema must be at least 0 and below 1, got nan',
    'train --ema 1': '--ema must be at least 0 and below 1, got 1.0',
    'train --beta nan': '--beta must be at least 0, got nan',
    'train --free_bits -1': '--free_bits must be at least 0',
    'train --lr inf': '--lr must be above 0 and finite, got inf',
    'train --warm_up 2': '--warm_up must be a share, from 0 to 1, got 2.0',
    'train --crop -1': '--crop must be a whole number of at least 0',
    'train --seed -1': '--seed must be a whole number from 0',
    'train --max_seconds nan': '--max_seconds must be above 0',
    'train --stem 0': '--stem must be',
    'train --batch_size 1000000000000000000000000': 'and at most 1,000,000,000, got',
    'train --latent_dim 1000000000': 'choose a smaller latent_dim',
    'train --channels 1000000000,1000000000': 'choose a smaller latent_dim',
    'train --num_samples 100001': 'and at most 100,000, got 100001',
    'evaluate --seed -1': '--seed must be',
    'sample --temperature nan': '--temperature must be at least 0, got nan',
    'sample --mixture -1': '--mixture must be',
    'embed --k 0': '--k must be',
    'embed --most 0': '--most must be',
    'score --num_oddest 0': '--num_oddest must be',
    'sample --out /proc/nowhere': 'cannot read or write /proc/nowhere (No such file or directory)',
}

@pytest.mark.parametrize('line', out_of_range)
def test_every_option_has_its_range(line, folders, monkeypatch, capsys):
    "Refused, and nothing of the run that would have been overwritten is touched"
    monkeypatch.chdir(folders)
    name,_,options = line.partition(' ')
    if name == 'train': options += ' --overwrite --out runs/latest'
    before = {p: p.read_bytes() for p in (folders/'runs'/'latest').iterdir()}
    status,_,error = said(getattr(cli, f'{name}_command'), options, capsys)
    assert status == 2 and out_of_range[line] in error and len(error.splitlines()) == 1, error
    assert {p: p.read_bytes() for p in (folders/'runs'/'latest').iterdir()} == before

def test_like_takes_settings_and_nothing_else(folders, tmp_path, monkeypatch, capsys):
    "Not where the other run lies, not its images, and no overwriting; types are the options'"
    monkeypatch.chdir(tmp_path)
    victim = shutil.copytree((folders/'runs'/'latest').resolve(), tmp_path/'victim')
    before = {p: p.read_bytes() for p in victim.iterdir()}
    settings = json.loads((victim/'run.json').read_text())
    (tmp_path/'other.json').write_text(json.dumps(settings | dict(out=str(victim), overwrite=True)))
    status,out,error = said(cli.train_command, '--like other.json --epochs 1', capsys)
    assert status == 0 and 'runs/digits-' in out, error
    assert {p: p.read_bytes() for p in victim.iterdir()} == before
    config = json.loads((tmp_path/'runs'/'latest'/'config.json').read_text())
    assert (config['latent_dim'], config['channels']) == (4, [8, 16])
    for wrong,why in ((dict(lr='fast'), 'lr is'), (dict(latent_dim=4.5), 'latent_dim is'),
                      (dict(binarize=1), 'binarize is'), (dict(channels=[8, 16]), 'channels is'),
                      (dict(ema=float('nan')), '--ema must be'),
                      (dict(pieces=0), '--pieces must be'),
                      (dict(data='faces'), 'name them with --data')):
        (tmp_path/'other.json').write_text(json.dumps(settings | wrong))
        status,_,error = said(cli.train_command, '--like other.json --out new', capsys)
        assert status == 2 and why in error and len(error.splitlines()) == 1, error
    assert not (tmp_path/'new').exists()

@pytest.mark.parametrize('text', ['[1]', '7', '{', '{"data": 7}', '{"seed": "x"}', '\x00'])
def test_an_edited_run_json_is_one_sentence(text, folders, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run = shutil.copytree((folders/'runs'/'latest').resolve(), tmp_path/'run')
    (run/'run.json').write_text(text)
    lines = dict(evaluate='--run run', train='--resume --out run', embed='--run run')
    for name,line in lines.items():
        status,_,error = said(getattr(cli, f'{name}_command'), line, capsys)
        assert status == 2 and 'run/run.json' in error and len(error.splitlines()) == 1, error

def test_an_image_that_was_moved_to_another_class(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path/'cache'))
    for seed,name in enumerate(('cat', 'dog')): pictures(tmp_path/'data'/name, 10, seed=seed)
    line = f'--data data --conditional --epochs 1 --out run {small}'
    assert said(cli.train_command, line, capsys)[0] == 0
    assert said(cli.train_command, '--resume --out run', capsys)[0] == 0
    (tmp_path/'data'/'cat'/'3.png').rename(tmp_path/'data'/'dog'/'33.png')
    status,_,error = said(cli.train_command, '--resume --out run', capsys)
    assert status == 2 and 'run was trained on other images' in error and '--init run' in error

def test_a_training_that_ran_away_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    status,out,_ = said(cli.train_command, f'--epochs 2 --lr 10 --out far {small}', capsys)
    assert status == 0 and 'warning: the training has run away: its distortion is' in out
    status,out,_ = said(cli.train_command, f'--epochs 2 --out near {small}', capsys)
    assert status == 0 and 'run away' not in out

def test_metrics_are_json(folders, tmp_path, monkeypatch):
    "Also where a number is none"
    from convvae import evaluate as measures
    run = shutil.copytree((folders/'runs'/'latest').resolve(), tmp_path/'run')
    real = measures.evaluate
    def with_nan(*args, **kwargs): return real(*args, **kwargs) | dict(psnr=float('inf'))
    monkeypatch.setattr(measures, 'evaluate', with_nan)
    monkeypatch.setattr('convvae.commands.report.write_report', lambda *args: 'no report')
    cli.evaluate(str(run), num_samples=2, k=1)
    def refuse(constant): raise AssertionError(f'{constant} is no JSON')
    metrics = json.loads((run/'metrics.json').read_text(), parse_constant=refuse)
    assert metrics['psnr'] is None and metrics['k'] == 1
