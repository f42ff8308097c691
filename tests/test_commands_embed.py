"`convvae_embed` as a user runs it: the table and the page that it leaves, and what it refuses"
import csv
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from pictures import fill, own_cache  # noqa: F401
from runs import one_thread

from convvae.data import load_images
from convvae.model import ConvVAE
from convvae.train import fit

start = ('from convvae.command import command; from convvae.commands.embed import embed; '
         'command(embed)()')

def run(cwd, *options):
    how = dict(cwd=cwd, capture_output=True, text=True, timeout=300, env=one_thread)
    return subprocess.run([sys.executable, '-c', start, *options], **how)

@pytest.fixture
def folder(tmp_path):
    "A run on pictures in two classes, and pictures of somebody else"
    fill(tmp_path/'mine', 24, (16, 16), classes=2)
    images = load_images(tmp_path/'mine')
    torch.manual_seed(0)
    model = ConvVAE(images.image_size, 3, (8,))
    settings = dict(data=str(tmp_path/'mine'), seed=0)
    fit(model, images, epochs=1, out=tmp_path/'run', settings=settings, device='cpu')
    return tmp_path

def test_embed(folder):
    "A row for each file, of that file; the page beside it; the same again for the same seed"
    r = run(folder, '--run', 'run', '--out', 'latents.csv', '--device', 'cpu')
    assert r.returncode == 0, r.stderr
    assert '24 images, 3 latents' in r.stdout
    for name in ('latents.csv', 'atlas.html'):
        size = (folder/name).stat().st_size
        assert f'{name}: {size/1e6:.1f} MB' in r.stdout or f'{name}: {size/1e3:.1f} kB' in r.stdout
    rows = list(csv.DictReader((folder/'latents.csv').read_text().splitlines()))
    model = ConvVAE.from_pretrained(folder/'run')
    images = load_images(folder/'mine')
    assert len(rows) == 24 and sum(row['part'] == 'train' for row in rows) == len(images.train)
    for row in rows:
        assert row['file'].startswith(row['label'])
        pixels = np.asarray(Image.open(folder/'mine'/row['file']))
        x = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None]/255
        z = [float(row[f'z{i}']) for i in range(3)]
        torch.testing.assert_close(torch.tensor([z]), model.embed(x), atol=1e-5, rtol=0)
    again = run(folder, '--run', 'run', '--out', 'again.csv', '--device', 'cpu')
    assert again.returncode == 0, again.stderr
    assert (folder/'again.csv').read_bytes() == (folder/'latents.csv').read_bytes()

def test_other_images(folder):
    "Pictures that the run has not seen, in the other form; not all of them on the page"
    fill(folder/'new', 9, (16, 16))
    r = run(folder, '--run', 'run', '--data', 'new', '--out', 'new.npz', '--plane', 'tsne',
            '--most', '5', '--device', 'cpu')
    assert r.returncode == 0, r.stderr
    with np.load(folder/'new.npz') as table:
        assert sorted(table['file']) == [f'{i:04}.png' for i in range(9)]
        assert np.allclose(table['elbo'], -(table['rate'] + table['distortion']), atol=1e-9)
    page = (folder/'atlas.html').read_text()
    assert '"total": 9' in page and 't-SNE 1' in page

def test_refusals(folder):
    "One line, status 2, and nothing is left behind"
    before = sorted(p.name for p in folder.iterdir())
    for options, said in (
        (('--run', 'nowhere'), 'no run in nowhere'),
        (('--run', 'run', '--out', 'a.xlsx'), '.csv, .npz, .parquet'),
        (('--run', 'run', '--out', 'no/a.csv'), 'there is no folder'),
        (('--run', 'run', '--plane', 'umap'), "unknown plane 'umap'"),
        (('--run', 'run', '--data', 'nothing'), "'nothing'"),
    ):
        r = run(folder, *options)
        assert r.returncode == 2 and said in r.stderr and len(r.stderr.splitlines()) == 1, r.stderr
    assert sorted(p.name for p in folder.iterdir()) == before

def test_help_needs_no_torch(tmp_path):
    "What it can do is said at once"
    code = start.replace('command(embed)()', "import sys; assert 'torch' not in sys.modules; ")
    r = subprocess.run([sys.executable, '-c', code + "command(embed)(['--help'])"],
                       capture_output=True, text=True, cwd=tmp_path, env=one_thread)
    assert r.returncode == 0 and '--plane' in r.stdout and 'atlas.html' in r.stdout, r.stderr
