"What the notebook of scores cannot show: the command in a process of its own, and light imports"
import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import roc_auc_score

from conftest import ROOT

from convvae.data import load_images
from convvae.measures.score import Scores, with_truth
from convvae.model import ConvVAE
from convvae.train import fit

command = ('from convvae.command import command; from convvae.commands.score import score; '
           'command(score)()')

def run(folder, *args):
    "`convvae_score` in `folder`"
    how = dict(cwd=folder, capture_output=True, text=True, timeout=120,
               env=dict(PYTHONPATH=str(ROOT), PATH='/usr/bin:/bin', HOME=str(folder),
                        XDG_CACHE_HOME=str(folder/'cache'), OMP_NUM_THREADS='1'))
    return subprocess.run([sys.executable, '-c', command, *args], **how)

def discs(n, seed, square=False):
    "Discs, or squares with a bright bar, of several sizes and places: uint8 (n,24,24)"
    rng = np.random.default_rng(seed)
    i,j = np.mgrid[:24, :24]
    images = []
    for _ in range(n):
        (a, b),r = rng.uniform(9, 15, 2),rng.uniform(4, 7)
        mask = np.maximum(abs(i - a), abs(j - b)) < r if square else (i - a)**2 + (j - b)**2 < r*r
        images.append(np.uint8(40 + 130*mask + rng.integers(0, 40, (24, 24))))
        if square:
            images[-1][int(a) - 2:int(a) + 2, 3:-3] = 255
    return images

def saved(folder, images):
    "Files, one for each"
    folder.mkdir(parents=True)
    for k,im in enumerate(images):
        Image.fromarray(im).save(folder/f'{k:03}.png')

@pytest.fixture(scope='module')
def home(tmp_path_factory):
    "A run on the discs of a folder, and three folders of new images"
    home = tmp_path_factory.mktemp('score')
    saved(home/'discs', discs(300, 0))
    saved(home/'more', discs(120, 1))
    saved(home/'new'/'good', discs(20, 2))
    saved(home/'new'/'square', discs(20, 3, square=True))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('XDG_CACHE_HOME', str(home/'cache'))
        images = load_images(home/'discs')
    torch.manual_seed(0)
    model = ConvVAE(images.image_size, 8, (16, 32))
    fit(model, images, epochs=30, out=home/'run', device='cpu', settings=dict(data=images.name))
    return home

def rows_of(path): return list(csv.DictReader(path.read_text().splitlines()))

def test_help_names_the_options(home):
    r = run(home, '--help')
    assert r.returncode == 0 and all(o in r.stdout for o in ('--good', '--data', '--alpha')), r

def test_folders_to_table(home):
    r = run(home, '--run', 'run', '--good', 'more', '--data', 'new', '--out', 'a.csv')
    assert r.returncode == 0, r.stderr
    assert '120 held-out good images' in r.stdout and 'nearest neighbour' in r.stdout, r.stdout
    rows = rows_of(home/'a.csv')
    assert [row['label'] for row in rows].count('square') == len(rows) - 20 == 20
    odd = {label: [row['odd'] for row in rows if row['label'] == label].count('1')
           for label in ('good', 'square')}
    assert odd['square'] >= 16 and odd['good'] <= 6, odd
    assert len(r.stdout.splitlines()) < 40
    with Image.open(home/'oddest.png') as picture:
        assert picture.width > 400
    assert not [*home.glob('.saving-*')]

def test_run_alone_is_enough(home):
    "The run's own held-out images: half of them calibrate, which is few, and it is said"
    r = run(home, '--run', 'run', '--alpha', '0.2')
    assert r.returncode == 0 and 'warning: a threshold from' in r.stdout, (r.stdout, r.stderr)
    assert (home/'run'/'scores.csv').is_file() and (home/'run'/'oddest.png').is_file()

def test_its_training_folder_as_good_is_its_held_out_part(home):
    few = run(home, '--run', 'run', '--good', 'discs', '--data', 'new', '--alpha', '0.2')
    n = len(load_test(home))
    assert few.returncode == 0 and f'from {n} held-out good images' in few.stdout, few.stdout

def load_test(home):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('XDG_CACHE_HOME', str(home/'cache'))
        return load_images(home/'discs').test

def test_a_copy_of_what_was_learned_does_not_calibrate(home):
    saved(home/'copy', discs(300, 0))
    r = run(home, '--run', 'run', '--good', 'copy', '--data', 'new')
    assert r.returncode == 2 and 'are training images of this model' in r.stderr, r
    r = run(home, '--run', 'run', '--good', 'more', '--data', 'copy', '--out', 'b.csv')
    assert r.returncode == 0 and 'their scores are too low' in r.stdout, r

@pytest.mark.parametrize('args, says', [
    (['--out', 'x.txt'], '--out takes a file that ends in .csv, got x.txt'),
    (['--alpha', '0.0001', '--good', 'more'], 'needs at least 9999 held-out good images, got 120'),
    (['--data', 'nowhere'], "'nowhere'"),
    (['--run', 'more'], 'no run in more'),
])
def test_mistakes_are_one_line(home, args, says):
    "A user's mistake: status 2, one line, and no file is touched"
    before = {p for p in Path(home).rglob('*.csv')}
    options = dict(zip(['--run', '--data'], ['run', 'new'], strict=True))
    options.update(zip(args[::2], args[1::2], strict=True))
    r = run(home, *[word for pair in options.items() for word in pair])
    assert r.returncode == 2 and says in r.stderr, r
    assert len(r.stderr.splitlines()) == 1 and 'Traceback' not in r.stderr
    assert {p for p in Path(home).rglob('*.csv')} == before

def test_the_layout_of_defect_sets(tmp_path, monkeypatch):
    "train/good and test/<kind>: the run alone is enough; half of test/good calibrates"
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path/'cache'))
    saved(tmp_path/'set'/'train'/'good', discs(60, 0))
    saved(tmp_path/'set'/'test'/'good', discs(60, 1))
    saved(tmp_path/'set'/'test'/'bar', discs(12, 2, square=True))
    images = load_images(tmp_path/'set')
    torch.manual_seed(0)
    model = ConvVAE(images.image_size, 4, (8, 16))
    fit(model, images, epochs=10, out=tmp_path/'run', device='cpu',
        settings=dict(data=images.name))
    r = run(tmp_path, '--run', 'run', '--alpha', '0.1')
    assert r.returncode == 0, r.stderr
    rows = rows_of(tmp_path/'run'/'scores.csv')
    assert sorted(row['label'] for row in rows) == ['bar']*12 + ['good']*30
    assert all(row['file'].startswith(f'test/{row["label"]}/') for row in rows), rows[0]
    assert 'from 30 held-out good images' in r.stdout and 'AUROC' in r.stdout, r.stdout
    assert 'a VAE' in r.stdout, r.stdout

def test_images_that_were_seen_do_not_count():
    "What the model learned from has scores that are too low: AUROCs are those of the others"
    rng = np.random.default_rng(0)
    z,grey,truth = rng.normal(size=(40, 3)),rng.normal(size=40),np.arange(40) % 2 == 1
    seen = np.arange(40) < 10
    scores = Scores(np.arange(40), z, dict(grey=grey), 2., 0.05, 100, 1., seen)
    scores = with_truth(scores, None, truth)
    for name,v in {'score': z.max(1), 'E alone': z[:, 0], 'K alone': z[:, 2], 'grey': grey}.items():
        assert scores.aurocs[name] == pytest.approx(roc_auc_score(truth[10:], v[10:])), name
