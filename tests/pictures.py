"Pictures for the tests of what reads them, and a cache of their own"
import io
import urllib.request

import numpy as np
import pytest
from PIL import Image

from conftest import ROOT

@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    "No test writes to the user's folder, or reaches the network"
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path/'root'))
    monkeypatch.setenv('CONVVAE_DATA', str(tmp_path/'root'))
    monkeypatch.setenv('PYTHONPATH', str(ROOT)) # for the programs that tests start
    for v in ('http_proxy', 'https_proxy'):
        monkeypatch.setenv(v, 'http://127.0.0.1:9')
    monkeypatch.setattr(urllib.request, '_opener', None) # it would keep these proxies

def noise(h, w, c=3, seed=0):
    "Smooth random pixels, uint8 (h,w,c) or (h,w)"
    a = np.random.default_rng(seed).integers(0, 256, (3, 3, c), dtype=np.uint8)
    a = np.asarray(Image.fromarray(a[:, :, :3] if c > 1 else a[:, :, 0]).resize((w, h)))
    return a if c != 4 else np.dstack([a, np.full((h, w), 128, np.uint8)])

def saved(im, form, **kwargs):
    "The bytes of an image file"
    f = io.BytesIO()
    im.save(f, form, **kwargs)
    return f.getvalue()

def fill(folder, n, size=(32, 32), classes=0):
    "`n` pictures in `folder`"
    for i in range(n):
        path = folder/(f'class{i%classes}' if classes else '')/f'{i:04}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise(*size, seed=i)).save(path)
    return folder

def sideways():
    "A photograph taken sideways, its left half green: the image, and its exif data"
    im = Image.new('RGB', (40, 20))
    im.paste((0, 255, 0), (0, 0, 20, 20))
    exif = Image.Exif()
    exif[0x0112] = 6
    return im, exif
