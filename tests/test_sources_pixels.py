"Odd pictures, one at a time: each is read as it should be, or named"
import os
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from conftest import ROOT
from convvae.sources.folder import load_folder
from pictures import fill, noise, own_cache, saved, sideways  # noqa: F401

def palette():
    im = Image.new('P', (8, 8), 1)
    im.putpalette([0, 0, 0, 10, 200, 30])
    im.info['transparency'] = 0
    return im

def flat(value, dtype):
    return Image.fromarray(np.full((9, 9), value, dtype))

red, blue = (Image.new('RGB', (40, 30), colour) for colour in ((255, 0, 0), (0, 0, 255)))
large = Image.fromarray(noise(90, 90))
turned, exif = sideways()
black = Image.new('RGB', (40, 30), (0, 0, 0))
script = b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n(x) (w) file\n'

# What it holds, and the pixel in the middle of a 32 x 32 image of it; None: it cannot be read
odd = {
    'png named.jpg': (saved(red, 'PNG'), (255, 0, 0)),
    'text named.png': (b'this is no picture, whatever its name says\n'*9, None),
    'empty.png': (b'', None),
    'truncated.png': (saved(large, 'PNG')[:900], None),
    'truncated.jpg': (saved(large, 'JPEG')[:900], None),
    'animated.gif': (saved(red, 'GIF', save_all=True, append_images=[blue]), (255, 0, 0)),
    'animated.webp': (saved(red, 'WEBP', save_all=True, lossless=True, append_images=[blue]),
                      (255, 0, 0)),
    'sixteen bits.png': (saved(flat(32896, np.uint16), 'PNG'), (128,)*3),
    'sixteen bits.tif': (saved(flat(65535, np.uint16), 'TIFF'), (255,)*3),
    'floats.tif': (saved(flat(0.2, np.float32), 'TIFF'), (51,)*3),
    'cmyk.jpg': (saved(Image.new('CMYK', (30, 30), (0, 255, 255, 0)), 'JPEG'), (254, 0, 0)),
    'palette.png': (saved(palette(), 'PNG', transparency=0), (10, 200, 30)),
    'clear palette.gif': (saved(palette(), 'GIF', transparency=1), (255, 255, 255)),
    'half clear.png': (saved(Image.new('RGBA', (9, 9), (0, 0, 0, 128)), 'PNG'), (127,)*3),
    'one bit.png': (saved(Image.new('1', (9, 9), 1), 'PNG'), (255,)*3),
    '1x1.png': (saved(Image.new('RGB', (1, 1), (9, 8, 7)), 'PNG'), (9, 8, 7)),
    'long.png': (saved(Image.new('RGB', (20000, 2), (9, 8, 7)), 'PNG'), (9, 8, 7)),
    'ünïcode ☃.png': (saved(red, 'PNG'), (255, 0, 0)),
    "a 'quoted' \n name.png": (saved(red, 'PNG'), (255, 0, 0)),
    'BIG.PNG': (saved(red, 'PNG'), (255, 0, 0)),
    'damaged exif.jpg': (saved(black, 'JPEG', exif=exif.tobytes()[:-6]), (0, 0, 0)),
    'script.png': (script, None),
}

def folder_with(tmp_path, name):
    "Three pictures and an odd one"
    folder = fill(tmp_path/'f', 3)
    (folder/name).write_bytes(odd[name][0])
    return folder

@pytest.mark.parametrize('name', [n for n,(_,pixel) in odd.items() if pixel])
def test_an_odd_picture(name, tmp_path):
    pixel = odd[name][1]
    with warnings.catch_warnings(): # and says nothing about it
        warnings.simplefilter('error')
        images = load_folder(folder_with(tmp_path, name), 32)
    middles = {tuple(im[:, 16, 16].tolist()) for im in torch.cat([images.train, images.test])}
    assert any(np.abs(np.subtract(m, pixel)).max() <= 1 for m in middles), (pixel, middles)

@pytest.mark.parametrize('name', [n for n,(_,pixel) in odd.items() if not pixel])
def test_no_picture(name, tmp_path):
    folder = folder_with(tmp_path, name)
    with pytest.raises(ValueError, match='^1 of 4 images cannot be read, ') as e:
        load_folder(folder, 32)
    assert name.split('\n')[0] in str(e.value) and '\n' not in str(e.value)
    with pytest.warns(UserWarning, match='1 of 4 images cannot be read and are left out'):
        images = load_folder(folder, 32, skip_bad=True)
    assert len(images.train) + len(images.test) == 3

def test_a_photograph_taken_sideways(tmp_path):
    (tmp_path/'f').mkdir()
    (tmp_path/'f'/'a.jpg').write_bytes(saved(turned, 'JPEG', exif=exif))
    images = load_folder(tmp_path/'f')
    assert images.image_size == (3, 40, 20) # upright
    green = images.train[0, 1]
    assert green[5, 10] > 200 and green[35, 10] < 50 # turned to the right: green is above

def test_a_decompression_bomb(tmp_path, monkeypatch):
    folder = fill(tmp_path/'f', 2)
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 32*32)
    # Between once and twice the limit Pillow only warns
    (folder/'warned.png').write_bytes(saved(Image.new('L', (40, 40)), 'PNG'))
    (folder/'refused.png').write_bytes(saved(Image.new('L', (90, 90)), 'PNG'))
    with pytest.raises(ValueError, match='^2 of 4 images cannot be read.*decompression bomb') as e:
        load_folder(folder)
    assert '\n' not in str(e.value)

with_plugin = '''
import sys
from pathlib import Path
from convvae.data import load_images
try:
    print(load_images(sys.argv[1]))
except ValueError as e:
    print(e)
'''

plugin = '''
from PIL import Image, PngImagePlugin
class Telephone(PngImagePlugin.PngImageFile):
    format = 'HEIF'
def register_heif_opener():
    Image.register_open('HEIF', Telephone, lambda prefix: prefix.startswith(b'\\211PNG'))
    Image.register_extension('HEIF', '.heic')
'''

def test_photographs_of_telephones(tmp_path):
    "Read where pillow-heif is installed; elsewhere counted, and what to install is said"
    folder = fill(tmp_path/'f', 3)
    for i in (1, 2):
        (folder/f'000{i}.png').rename(folder/f'{i}.heic')
    def said(path):
        program = [sys.executable, '-c', with_plugin, folder]
        env = {**os.environ, 'PYTHONPATH': os.pathsep.join([str(ROOT), str(path)])}
        return subprocess.run(program, capture_output=True, text=True, env=env).stdout
    without = said(tmp_path)
    assert '1 images to train on, 0 to test' in without
    assert '2 .heic (which can be read after pip install pillow-heif)' in without
    (tmp_path/'more').mkdir()
    (tmp_path/'more'/'pillow_heif.py').write_text(plugin)
    assert '2 images to train on, 1 to test' in said(tmp_path/'more')
    (folder/'0000.png').unlink()
    assert 'no images in' in said(tmp_path) and '2 .heic' in said(tmp_path)

def test_pages_and_transparency_are_told(tmp_path):
    folder = tmp_path/'f'
    folder.mkdir()
    pages = saved(red, 'TIFF', save_all=True, append_images=[blue, red])
    (folder/'pages.tif').write_bytes(pages)
    clear = Image.new('RGBA', (40, 30), (255, 255, 255, 0))
    (folder/'clear.png').write_bytes(saved(clear, 'PNG'))
    told = ' '.join(load_folder(folder).notes)
    assert '2 further pages or frames of 1 files are left out' in told
    assert '1 have transparent places, which are laid on white' in told
    (folder/'pages.tif').unlink()
    for i in range(3):
        (folder/f'{i}.png').write_bytes(saved(clear, 'PNG'))
    assert 'all images look the same' in ' '.join(load_folder(folder).notes)
    dark = load_folder(folder, background='#102030')
    assert dark.train[0, :, 5, 5].tolist() == [16, 32, 48]

# Fuzz

def seeds():
    "Small files of many formats"
    im = Image.fromarray(noise(24, 31))
    grey = im.convert('L')
    deep = Image.fromarray(noise(9, 9).astype(np.uint16)[:, :, 0]*257)
    return [
        saved(im, 'PNG'), saved(im.convert('P'), 'PNG'), saved(deep, 'PNG'),
        saved(im, 'JPEG'), saved(im, 'JPEG', progressive=True), saved(turned, 'JPEG', exif=exif),
        saved(im.convert('CMYK'), 'JPEG'),
        saved(im, 'GIF'), saved(im, 'GIF', save_all=True, append_images=[im.rotate(90)]),
        saved(im, 'BMP'), saved(grey, 'BMP'),
        saved(im, 'TIFF'), saved(im, 'TIFF', compression='tiff_lzw'),
        saved(grey, 'TIFF', compression='tiff_deflate'),
        saved(im, 'WEBP'), saved(im, 'WEBP', lossless=True),
        saved(im, 'PPM'), saved(im, 'TGA'), saved(im, 'ICO')]

def some_place(b, rng):
    "A position, in the header more often"
    return int(rng.integers(len(b) if rng.random() < 0.5 else min(64, len(b))))

extremes = b'\xff\xff\xff\xff', b'\0\0\0\0', b'\x7f\xff\xff\xff', b'\0\1\0\0'

def mutate(content, other, rng):
    "Flip bits, overwrite, cut off, repeat, or splice with another file"
    b = bytearray(content)
    kind = rng.integers(6)
    for _ in range(rng.integers(1, 9)):
        i = some_place(b, rng)
        if kind < 2:
            b[i] ^= 1 << int(rng.integers(8))
        elif kind == 2:
            b[i:i+4] = rng.choice(extremes)
    if kind == 3:
        b = b[:rng.integers(len(b))]
    if kind == 4:
        b = b[:rng.integers(len(b))] + other[rng.integers(len(other)):]
    if kind == 5:
        i, j = sorted(rng.integers(len(b), size=2))
        b = b[:j] + b[i:]
    return bytes(b)

fuzz_program = '''
import sys, warnings
from convvae.data import load_folder
folder = sys.argv[1]
try:
    load_folder(folder, 16)
except ValueError as e:
    print(e)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter('always')
    images = load_folder(folder, 16, skip_bad=True)
print(len(images.train) + len(images.test), *(w.message for w in caught), sep='|')
'''

def test_fuzz(tmp_path):
    "2,500 mutated files: each is read or listed, and none holds up the reader for ever"
    rng, originals, folder = np.random.default_rng(0), seeds(), tmp_path/'f'
    endings = 'png', 'jpg', 'gif', 'tif', 'bmp', 'webp'
    folder.mkdir()
    for i in range(2500):
        a, b = (originals[int(rng.integers(len(originals)))] for _ in range(2))
        (folder/f'{i:04}.{endings[i%6]}').write_bytes(mutate(a, b, rng))
    r = subprocess.run([sys.executable, '-c', fuzz_program, folder],
                       capture_output=True, text=True, timeout=600)
    assert r.returncode == 0 and 'Traceback' not in r.stderr, r.stderr[-3000:]
    listed, left = r.stdout.splitlines()
    bad = int(listed.split()[0])
    assert listed.startswith(f'{bad} of 2500 images cannot be read, ')
    assert listed.endswith(f'; and {bad - 20:,} more')
    good, warned = left.split('|')
    assert int(good) == 2500 - bad
    assert warned.startswith(f'{bad} of 2500 images cannot be read and are left out')
    assert 300 < bad < 2200 # mutations that all fail, or none, would test little
