"Anyone's pictures: odd ones, broken ones, a great many, several readers at once; and other people's data sets"
import gzip
import io
import os
import pickle
import signal
import subprocess
import sys
import time
import urllib.request
import warnings
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from conftest import ROOT
from convvae import data
from convvae.data import Batches, decode, image_files, load_dataset, load_folder, load_images, mapped, torchvision_sets

@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    "No test writes to the user's folder, or reaches the network"
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path/'root'))
    monkeypatch.setenv('CONVVAE_DATA', str(tmp_path/'root'))
    monkeypatch.setenv('PYTHONPATH', str(ROOT)) # for the programs that tests start
    for v in ('http_proxy', 'https_proxy'): monkeypatch.setenv(v, 'http://127.0.0.1:9')
    monkeypatch.setattr(urllib.request, '_opener', None) # it would keep these proxies for the tests that follow

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

# What it holds, and the pixel that a 32 x 32 image of it has in its middle; None: it cannot be read

red = Image.new('RGB', (40, 30), (255, 0, 0))
palette = Image.new('P', (8, 8), 1); palette.putpalette([0, 0, 0, 10, 200, 30]); palette.info['transparency'] = 0
turned = Image.new('RGB', (40, 20)); turned.paste((0, 255, 0), (0, 0, 20, 20)); exif = Image.Exif(); exif[0x0112] = 6

odd = {
    'png named.jpg': (saved(red, 'PNG'), (255, 0, 0)),
    'text named.png': (b'this is no picture, whatever its name says\n'*9, None),
    'empty.png': (b'', None),
    'truncated.png': (saved(Image.fromarray(noise(90, 90)), 'PNG')[:900], None),
    'truncated.jpg': (saved(Image.fromarray(noise(90, 90)), 'JPEG')[:900], None),
    'animated.gif': (saved(red, 'GIF', save_all=True, append_images=[Image.new('RGB', (40, 30), (0, 0, 255))]), (255, 0, 0)),
    'animated.webp': (saved(red, 'WEBP', save_all=True, lossless=True, append_images=[Image.new('RGB', (40, 30), (0, 0, 255))]), (255, 0, 0)),
    'sixteen bits.png': (saved(Image.fromarray(np.full((9, 9), 32896, np.uint16)), 'PNG'), (128,)*3),
    'sixteen bits.tif': (saved(Image.fromarray(np.full((9, 9), 65535, np.uint16)), 'TIFF'), (255,)*3),
    'floats.tif': (saved(Image.fromarray(np.full((9, 9), 0.2, np.float32)), 'TIFF'), (51,)*3),
    'cmyk.jpg': (saved(Image.new('CMYK', (30, 30), (0, 255, 255, 0)), 'JPEG'), (254, 0, 0)),
    'palette.png': (saved(palette, 'PNG', transparency=0), (10, 200, 30)),
    'clear palette.gif': (saved(palette, 'GIF', transparency=1), (255, 255, 255)),
    'half clear.png': (saved(Image.new('RGBA', (9, 9), (0, 0, 0, 128)), 'PNG'), (127,)*3),
    'one bit.png': (saved(Image.new('1', (9, 9), 1), 'PNG'), (255,)*3),
    '1x1.png': (saved(Image.new('RGB', (1, 1), (9, 8, 7)), 'PNG'), (9, 8, 7)),
    'long.png': (saved(Image.new('RGB', (20000, 2), (9, 8, 7)), 'PNG'), (9, 8, 7)),
    'sideways.jpg': (saved(turned, 'JPEG', exif=exif), None),
    'ünïcode ☃.png': (saved(red, 'PNG'), (255, 0, 0)),
    "a 'quoted' \n name.png": (saved(red, 'PNG'), (255, 0, 0)),
    'BIG.PNG': (saved(red, 'PNG'), (255, 0, 0)),
    'damaged exif.jpg': (saved(Image.new('RGB', (40, 30), (0, 0, 0)), 'JPEG', exif=exif.tobytes()[:-6]), (0, 0, 0)),
    'script.png': (b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n(x) (w) file\nshowpage\n', None),
}
del odd['sideways.jpg'] # has a test of its own

@pytest.mark.parametrize('name', odd)
def test_an_odd_picture(name, tmp_path):
    content,pixel = odd[name]
    folder = fill(tmp_path/'f', 3)
    (folder/name).write_bytes(content)
    if pixel is None:
        with pytest.raises(ValueError, match='^1 of 4 images cannot be read, ') as e: load_folder(folder, 32)
        assert name.split('\n')[0] in str(e.value) and '\n' not in str(e.value)
        with pytest.warns(UserWarning, match='1 of 4 images cannot be read and are left out'): images = load_folder(folder, 32, skip_bad=True)
        assert len(images.train) + len(images.test) == 3
    else:
        with warnings.catch_warnings(): # and says nothing about it
            warnings.simplefilter('error')
            images = load_folder(folder, 32)
        every = {tuple(im[:, 16, 16].tolist()) for im in torch.cat([images.train, images.test])}
        assert any(np.abs(np.subtract(got, pixel)).max() <= 1 for got in every), (pixel, every)

def test_a_photograph_taken_sideways(tmp_path):
    (tmp_path/'f').mkdir(); (tmp_path/'f'/'a.jpg').write_bytes(saved(turned, 'JPEG', exif=exif))
    images = load_folder(tmp_path/'f')
    assert images.image_size == (3, 40, 20) # upright
    assert images.train[0, 1, 5, 10] > 200 and images.train[0, 1, 35, 10] < 50 # turned by 90 degrees to the right: green is above

def test_a_decompression_bomb(tmp_path, monkeypatch):
    folder = fill(tmp_path/'f', 2)
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 32*32)
    (folder/'warned.png').write_bytes(saved(Image.new('L', (40, 40)), 'PNG')) # between once and twice the limit Pillow only warns
    (folder/'refused.png').write_bytes(saved(Image.new('L', (90, 90)), 'PNG'))
    with pytest.raises(ValueError, match='^2 of 4 images cannot be read.*decompression bomb') as e: load_folder(folder)
    assert '\n' not in str(e.value)

def test_permissions_and_links(tmp_path, monkeypatch):
    folder = fill(tmp_path/'f', 2)
    (folder/'nowhere.png').symlink_to(folder/'gone.png'); (folder/'itself.png').symlink_to(folder/'itself.png')
    (folder/'up').symlink_to(folder); (folder/'secret.png').write_bytes(saved(red, 'PNG'))
    real = data.open_file
    def refuse(path): # tests may run as root, who may read everything
        if path.endswith('secret.png'): raise PermissionError(13, 'Permission denied', path)
        return real(path)
    monkeypatch.setattr(decode, '__defaults__', (*decode.__defaults__[:-1], refuse))
    with pytest.raises(ValueError, match='^3 of 5 images') as e: load_folder(folder)
    for word in ('nowhere.png', 'itself.png', 'secret.png', 'Permission denied'): assert word in str(e.value)
    with pytest.warns(UserWarning, match='^3 of 5'): images = load_folder(folder, skip_bad=True)
    assert len(images.train) + len(images.test) == 2
    monkeypatch.setattr(decode, '__defaults__', (*decode.__defaults__[:-1], real)) # mended, though neither size nor time has changed
    with pytest.warns(UserWarning, match='^2 of 5'): images = load_folder(folder, skip_bad=True)
    assert len(images.train) + len(images.test) == 3
    with pytest.raises(ValueError, match='cannot look into'): load_folder(tmp_path/'none')
    closed = lambda path: (_ for _ in ()).throw(PermissionError(13, 'Permission denied', str(path)))
    monkeypatch.setattr(os, 'scandir', closed)
    with pytest.raises(ValueError, match='cannot look into .*Permission denied'): load_folder(folder)

def test_who_is_left_keeps_side_and_label(tmp_path):
    folder = fill(tmp_path/'f', 60, classes=3)
    names = [f[0] for f in image_files(folder)]
    held = dict(zip(names, data.held_out(names, 0.1).tolist(), strict=True))
    bad = [next(n for n in names[i:] if held[n] == side) for i in (0, 20, 35) for side in (False, True)]
    for n in bad: (folder/n).write_bytes((folder/n).read_bytes()[:60])
    with pytest.warns(UserWarning, match=f'^{len(set(bad))} of 60'): images = load_folder(folder, skip_bad=True)
    for side,x,y in ((False, images.train, images.train_labels), (True, images.test, images.test_labels)):
        left = [n for n in names if held[n] == side and n not in bad]
        assert len(left) == len(x) == len(y) and [images.classes[i] for i in y] == [n.split('/')[0] for n in left]
        for n,a in zip(left, x, strict=True): assert (np.asarray(Image.open(folder/n)).transpose(2, 0, 1) == a.numpy()).all()
    for n in names: # only images that were to be tested on are left: they are trained on
        if not held[n]: (folder/n).write_bytes(b'')
    with pytest.warns(UserWarning): rest = load_folder(folder, skip_bad=True)
    assert len(rest.train) == len(rest.train_labels) == sum(held.values()) - len({n for n in bad if held[n]}) and len(rest.test) == 0

def test_linked_folders_are_read_once(tmp_path):
    fill(tmp_path/'elsewhere', 3); fill(tmp_path/'f'/'a', 2)
    for d in ('b', 'c'): (tmp_path/'f'/d).symlink_to(tmp_path/'elsewhere')
    (tmp_path/'f'/'a'/'d').symlink_to(tmp_path/'f'/'b')
    assert [f[0] for f in image_files(tmp_path/'f')] == ['a/0000.png', 'a/0001.png', 'b/0000.png', 'b/0001.png', 'b/0002.png']

def test_names_that_are_not_text(tmp_path):
    folder = fill(tmp_path/'f', 2)
    try: (folder/os.fsdecode(b'caf\xe9.png')).write_bytes(b'bad')
    except OSError: pytest.skip('not on this file system')
    with pytest.raises(ValueError, match='1 of 3') as e: load_folder(folder)
    str(e.value).encode()

def test_at_most_twenty_are_named(tmp_path):
    folder = fill(tmp_path/'f', 2)
    for i in range(33): (folder/f'bad{i:02}.gif').write_bytes(b'x')
    with pytest.raises(ValueError, match='33 of 35.*bad19.*; and 13 more$') as e: load_folder(folder)
    assert 'bad20' not in str(e.value)
    for f in ('0000.png', '0001.png'): (folder/f).unlink()
    with pytest.raises(ValueError, match='33 of 33 images cannot be read, so none is left'): load_folder(folder, skip_bad=True)

def test_no_pictures(tmp_path):
    (tmp_path/'f').mkdir(); (tmp_path/'f'/'notes.txt').touch(); (tmp_path/'f'/'.hidden.png').touch()
    for e in ('h5', 'eps', 'mpg'): (tmp_path/'f'/f'x.{e}').touch() # what Pillow knows by name only, or gives to another program
    with pytest.raises(ValueError, match='no images in'): load_folder(tmp_path/'f')

def test_a_million_names(tmp_path, monkeypatch):
    "A tenth of them, in a time that would not do for a quadratic step, and the search alone"
    class Entry:
        def __init__(self, i): self.name = f'{i}.png'
        def is_symlink(self): return False
        def stat(self): return stat
    (tmp_path/'f').mkdir()
    stat = os.stat(__file__)
    monkeypatch.setattr(os, 'scandir', lambda path: [Entry(i) for i in range(100_000)])
    begin = time.process_time()
    names = [f'{f[0]}/x' for f in image_files(tmp_path/'f')]
    out = data.held_out(names, 0.1)
    y,classes = data.class_labels(names) # as many classes as names
    assert time.process_time() - begin < 10
    assert len(names) == len(classes) == 100_000 and 0.09 < out.float().mean() < 0.11

# Fuzz

def seeds():
    "Small files of many formats"
    im = Image.fromarray(noise(24, 31))
    grey = im.convert('L')
    return [saved(im, 'PNG'), saved(im.convert('P'), 'PNG'), saved(Image.fromarray(noise(9, 9).astype(np.uint16)[:, :, 0]*257), 'PNG'),
            saved(im, 'JPEG'), saved(im, 'JPEG', progressive=True), saved(turned, 'JPEG', exif=exif), saved(im.convert('CMYK'), 'JPEG'),
            saved(im, 'GIF'), saved(im, 'GIF', save_all=True, append_images=[im.rotate(90)]), saved(im, 'BMP'), saved(grey, 'BMP'),
            saved(im, 'TIFF'), saved(im, 'TIFF', compression='tiff_lzw'), saved(grey, 'TIFF', compression='tiff_deflate'),
            saved(im, 'WEBP'), saved(im, 'WEBP', lossless=True), saved(im, 'PPM'), saved(im, 'TGA'), saved(im, 'ICO')]

def mutate(content, other, rng):
    "Flip bits, overwrite, cut off, repeat, or splice with another file"
    b = bytearray(content)
    kind = rng.integers(6)
    for _ in range(rng.integers(1, 9)):
        i = int(rng.integers(len(b))) if rng.random() < 0.5 else int(rng.integers(min(64, len(b)))) # headers more often
        if kind < 2: b[i] ^= 1 << int(rng.integers(8))
        elif kind == 2: b[i:i+4] = rng.choice([b'\xff\xff\xff\xff', b'\0\0\0\0', b'\x7f\xff\xff\xff', b'\0\1\0\0'])
    if kind == 3: b = b[:rng.integers(len(b))]
    if kind == 4: i,j = rng.integers(len(b)),rng.integers(len(other)); b = b[:i] + other[j:]
    if kind == 5: i,j = sorted(rng.integers(len(b), size=2)); b = b[:j] + b[i:]
    return bytes(b)

def test_fuzz(tmp_path):
    "2,500 mutated files: each is read or listed, within the time"
    rng,originals,folder = np.random.default_rng(0),seeds(),tmp_path/'f'
    folder.mkdir()
    for i in range(2500):
        a,b = (originals[int(rng.integers(len(originals)))] for _ in range(2))
        (folder/f'{i:04}.{("png", "jpg", "gif", "tif", "bmp", "webp")[i%6]}').write_bytes(mutate(a, b, rng))
    program = f'''
import sys, warnings
from convvae.data import load_folder
try: load_folder({str(folder)!r}, 16)
except ValueError as e: print(e)
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter('always')
    images = load_folder({str(folder)!r}, 16, skip_bad=True)
print(len(images.train) + len(images.test), *(w.message for w in said), sep='|')
'''
    r = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True, timeout=120)
    assert r.returncode == 0 and 'Traceback' not in r.stderr, r.stderr[-3000:]
    listed,left = r.stdout.splitlines()
    bad = int(listed.split()[0])
    assert listed.startswith(f'{bad} of 2500 images cannot be read, ') and listed.endswith(f'; and {bad - 20:,} more')
    good,said = left.split('|')
    assert int(good) == 2500 - bad and said.startswith(f'{bad} of 2500 images cannot be read and are left out')
    assert 300 < bad < 2200 # mutations that all fail, or none, would test little

# The cache

def test_a_killed_reader_leaves_nothing_behind(tmp_path):
    folder = fill(tmp_path/'f', 400, (200, 200))
    program = f'from convvae.data import load_folder; load_folder({str(folder)!r})'
    for moment in (0, 0.1):
        p = subprocess.Popen([sys.executable, '-c', program])
        end = time.time() + 60
        while not list((tmp_path/'root'/'convvae').glob('folders/*/*.part')) and p.poll() is None and time.time() < end: time.sleep(0.002)
        time.sleep(moment)
        p.send_signal(signal.SIGKILL)
        assert p.wait() == -signal.SIGKILL and not list((tmp_path/'root'/'convvae').glob('folders/*/*.bytes')) # it was in the middle
        for part in (tmp_path/'root'/'convvae').glob('folders/*/*.part'): part.write_bytes(b'left behind')
    images = load_folder(folder)
    assert len(images.train) + len(images.test) == 400
    assert sorted(f.name.rpartition('.')[2] for f in images.cache.iterdir()) == ['bytes', 'json', 'lock']
    names = [f[0] for f in image_files(folder)]
    test = data.held_out(names, 0.1)
    for part,x in ((~test, images.train), (test, images.test)):
        for name,got in zip([n for n,t in zip(names, part, strict=True) if t], x, strict=True):
            want = ImageOps.fit(Image.open(folder/name), (64, 64), Image.Resampling.BILINEAR)
            assert (np.asarray(want).transpose(2, 0, 1) == got.numpy()).all()

def test_two_readers_at_once(tmp_path):
    folder = fill(tmp_path/'f', 300, (100, 100), classes=3)
    program = f'''
from convvae import data
read,n = data.to_pixels,[0]
def count(*args): n[0] += 1; return read(*args)
data.to_pixels = count
images = data.load_folder({str(folder)!r})
print(images.fingerprint, n[0], images.train_labels.sum().item())'''
    two = [subprocess.Popen([sys.executable, '-c', program], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    a,b = sorted((p.communicate(timeout=120)[0].split() for p in two), key=lambda r: int(r[1]))
    assert (a[0], a[2]) == (b[0], b[2]) and (a[1], b[1]) == ('0', '300') # one decodes, the other waits

def test_the_cache_follows_the_folder(tmp_path):
    folder = fill(tmp_path/'f', 20)
    first = load_folder(folder)
    kept = first.train.clone()
    Image.fromarray(noise(32, 32, seed=99)).save(folder/'0003.png') # another picture under the same name
    os.utime(folder/'0003.png', ns=(1, 1))
    second = load_folder(folder)
    assert (second.train != kept).any() or (second.test != first.test).any()
    assert second.cache == first.cache and len(list(second.cache.glob('*.bytes'))) == 1 # the old one is gone
    assert torch.equal(torch.cat(list(Batches(first.train, 7, False))), kept/255) # and yet still read by who has it
    small = load_folder(folder, 16)
    assert small.image_size == (3, 16, 16) and len(list(small.cache.glob('*.bytes'))) == 2 # two sizes side by side
    assert load_folder(folder, seed=1).cache != first.cache

def test_a_damaged_cache_is_made_anew(tmp_path):
    folder = fill(tmp_path/'f', 20)
    images = load_folder(folder)
    want = images.train.clone()
    path = next(images.cache.glob('*.bytes'))
    path.write_bytes(path.read_bytes()[:1000])
    assert torch.equal(load_folder(folder).train, want)
    (images.cache/'about.json').write_text('{"key"')
    assert torch.equal(load_folder(folder).train, want)

def test_no_room_and_no_permission(tmp_path, monkeypatch):
    folder = fill(tmp_path/'f', 40, (64, 64))
    (tmp_path/'file').touch(); monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path/'file'))
    with pytest.raises(ValueError, match='cannot keep decoded images in .*XDG_CACHE_HOME'): load_folder(folder)
    program = f'''
import resource, signal
from convvae.data import load_folder
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)) # files may not grow beyond it, as on a full disk
try: load_folder({str(folder)!r})
except ValueError as e: print(e)'''
    r = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True, env={**os.environ, 'XDG_CACHE_HOME': str(tmp_path/'full')})
    assert r.stdout.startswith('cannot keep decoded images in') and not r.stderr, r.stderr
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path/'full'))
    assert len(load_folder(folder).train) > 30

def test_resident_memory_stays_small(tmp_path):
    program = f'''
from convvae.data import Batches, mapped
peak = lambda: __import__('resource').getrusage(__import__('resource').RUSAGE_SELF).ru_maxrss//1024 # MB
x = mapped({str(tmp_path/"big")!r}, 3, 64, 64)
before = peak()
print(sum(len(b) for b in Batches(x, 256)), peak() - before)'''
    with open(tmp_path/'big', 'wb') as f: f.truncate(60_000*3*64*64) # 740 MB of nothing
    r = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True)
    seen,more = map(int, r.stdout.split())
    assert seen == 60_000 and more < 200, more

# Sets of other people

class Column:
    def __init__(self, names): self.names = names
class ClassLabel(Column): pass
class Picture: pass
Picture.__name__ = 'Image'

class Table:
    "What of Hugging Face's Dataset is used"
    column_names = ['text', 'img', 'kind']
    features = dict(text=object(), img=Picture(), kind=ClassLabel(['cat', 'dog']))
    def __init__(self, n, fingerprint, broken=()): self.n,self._fingerprint,self.broken = n,fingerprint,broken
    def __len__(self): return self.n
    def __getitem__(self, i):
        if i == 'kind': return [j%2 for j in range(self.n)]
        if i in self.broken: raise OSError('cannot be decoded')
        return dict(text='', img=Image.fromarray(noise(20, 30, seed=i + 1000*len(self._fingerprint))), kind=i%2)

def test_hugging_face(tmp_path):
    images = load_images(dict(train=Table(30, 'a'), test=Table(10, 'bb')))
    assert images.image_size == (3, 20, 30) and (len(images.train), len(images.test)) == (30, 10)
    assert (images.train[7].permute(1, 2, 0).numpy() == noise(20, 30, seed=1007)).all()
    assert (images.test[7].permute(1, 2, 0).numpy() == noise(20, 30, seed=2007)).all()
    assert images.train_labels.tolist() == [0, 1]*15 and images.classes == ('cat', 'dog')
    with pytest.raises(ValueError, match='1 of 30.*cannot be decoded'): load_images(Table(30, 'ccc', broken=[4]))
    with pytest.warns(UserWarning, match='1 of 30'): rest = load_images(Table(30, 'ccc', broken=[4]), 16, skip_bad=True)
    assert len(rest.train) + len(rest.test) == 29 and torch.cat([rest.train_labels, rest.test_labels]).sum() == 15
    with pytest.raises(ValueError, match='a part called train'): load_dataset(dict(validation=Table(3, 'a')))

npz_good = {
    'train and test': (dict(train=(9, 8, 7), test=(3, 8, 7), train_labels=[0]*8 + [4], test_labels=[1]*3), (1, 8, 7), 9, 3),
    'channels last': (dict(images=(20, 8, 7, 3), labels=list(range(20))), (3, 8, 7), 18, 2),
    'channels first': (dict(x=(20, 3, 8, 7), y=list(range(20))), (3, 8, 7), 18, 2),
    'without a name': (dict(arr_0=(20, 8, 7)), (1, 8, 7), 18, 2),
    'train alone': (dict(train=(20, 8, 7)), (1, 8, 7), 18, 2),
}

@pytest.mark.parametrize('name', npz_good)
def test_npz(name, tmp_path):
    arrays,size,n,m = npz_good[name]
    np.savez(tmp_path/'a.npz', **{k: np.full(v, 7, np.uint8) if isinstance(v, tuple) else np.array(v) for k,v in arrays.items()})
    images = load_images(str(tmp_path/'a.npz'))
    assert images.image_size == size and (len(images.train), len(images.test)) == (n, m)
    assert (images.train_labels is None) == ('labels' not in ' '.join(arrays) and 'y' not in arrays)

npz_bad = {
    'floats': (dict(x=np.zeros((9, 8, 8))), 'must be bytes .uint8.*float64'),
    'four channels': (dict(x=np.zeros((9, 8, 8, 4), np.uint8)), 'C 1 or 3'),
    'objects': (dict(x=np.array([{}, 2], dtype=object)), 'not an .npz file of plain arrays'),
    'no images': (dict(z=np.zeros(3)), r"must hold arrays train and test.*\['z'\]"),
    'too few labels': (dict(x=np.zeros((9, 8, 8), np.uint8), y=np.zeros(8, int)), '9 whole numbers'),
    'labels that are no numbers': (dict(x=np.zeros((9, 8, 8), np.uint8), y=np.zeros(9)), '9 whole numbers'),
    'two sizes': (dict(train=np.zeros((9, 8, 8), np.uint8), test=np.zeros((9, 7, 7), np.uint8)), 'one shape'),
    'empty': (dict(x=np.zeros((0, 8, 8), np.uint8)), 'must be bytes'),
}

@pytest.mark.parametrize('name', npz_bad)
def test_npz_that_will_not_do(name, tmp_path):
    arrays,says = npz_bad[name]
    np.savez(tmp_path/'a.npz', **arrays)
    with pytest.raises(ValueError, match=says) as e: load_images(tmp_path/'a.npz')
    assert 'a.npz' in str(e.value) and '\n' not in str(e.value)

def test_npz_that_is_none(tmp_path):
    ran = tmp_path/'ran'
    class Evil:
        def __reduce__(self): return os.mkdir, (str(ran),)
    good = io.BytesIO(); np.savez(good, x=np.zeros((99, 8, 8), np.uint8))
    hollow = io.BytesIO()
    with zipfile.ZipFile(hollow, 'w') as z:
        z.writestr('x.npy', b"\x93NUMPY\x01\x00v\x00" + b"{'descr': '|u1', 'fortran_order': False, 'shape': (9000000000000000, 8, 8), }".ljust(117) + b'\n')
    for content in (b'', b'no zip', pickle.dumps(Evil()), good.getvalue()[:2000], hollow.getvalue()):
        (tmp_path/'a.npz').write_bytes(content)
        with pytest.raises(ValueError, match='not an .npz file'): load_images(tmp_path/'a.npz')
    assert not ran.exists()

@pytest.mark.parametrize('name', torchvision_sets)
def test_no_network_is_one_sentence(name, tmp_path):
    with pytest.raises(ValueError, match=f'^{name} is not in .*by hand, or use digits, which needs no network$') as e: load_images(name)
    assert '\n' not in str(e.value)

def test_a_tampered_download_is_not_unpacked(tmp_path):
    evil = io.BytesIO()
    with zipfile.ZipFile(evil, 'w') as z: z.writestr('../../escaped.txt', 'x'); z.writestr('images_background/a/b/1.png', b'x')
    (tmp_path/'root'/'omniglot-py').mkdir(parents=True); (tmp_path/'root'/'omniglot-py'/'images_background.zip').write_bytes(evil.getvalue())
    raw = tmp_path/'root'/'MNIST'/'raw'
    raw.mkdir(parents=True); (raw/'train-images-idx3-ubyte.gz').write_bytes(gzip.compress(b'not the digits'))
    for name in ('omniglot', 'mnist'):
        with pytest.raises(ValueError, match=f'^{name} is not in'): load_images(name)
    assert not list(tmp_path.rglob('escaped.txt')) and not list(tmp_path.rglob('1.png')) and not (raw/'train-images-idx3-ubyte').exists()

@pytest.mark.parametrize('name', ['mnits', './mnist', 'mnist/', 'MNIST', 'https://example.org/x.npz', 'a\0b', '', 'celeba ', 'file.npz', 'x.png'])
def test_a_mistyped_name_never_reaches_the_network(name, monkeypatch, tmp_path):
    import socket
    monkeypatch.chdir(tmp_path); (tmp_path/'x.png').touch()
    def refuse(*args, **kwargs): raise AssertionError('asked the network')
    monkeypatch.setattr(socket, 'getaddrinfo', refuse); monkeypatch.setattr(socket.socket, 'connect', refuse)
    with pytest.raises(ValueError, match='choose one of digits|no images in'): load_images(name)

def write_idx(path, a):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(np.array([0x800 + a.ndim, *a.shape], dtype='>i4').tobytes() + a.tobytes())

def test_emnist_is_turned_back(tmp_path):
    upright = np.stack([noise(28, 28, 1, seed=i) for i in range(20)])
    for part in ('train', 'test'):
        base = tmp_path/'root'/'EMNIST'/'raw'/f'emnist-balanced-{part}'
        write_idx(base.with_name(base.name + '-images-idx3-ubyte'), upright.transpose(0, 2, 1).copy())
        write_idx(base.with_name(base.name + '-labels-idx1-ubyte'), (np.arange(20)%47).astype(np.uint8))
    images = load_images('emnist')
    assert (images.train[:, 0].numpy() == upright).all() and len(images.classes) == 47
    assert images.classes[10] == 'A' and images.test_labels.tolist() == list(range(20))
    assert load_images('emnist', 14).image_size == (1, 14, 14)

def test_svhn(tmp_path, monkeypatch):
    from scipy.io import savemat
    (tmp_path/'root').mkdir()
    x,y = np.random.default_rng(0).integers(0, 256, (32, 32, 3, 7), dtype=np.uint8),np.array([[1, 2, 3, 4, 9, 10, 10]]).T
    sums = {}
    for part in ('train', 'test'):
        savemat(tmp_path/'root'/f'{part}_32x32.mat', dict(X=x, y=y))
        sums[part] = md5(tmp_path/'root'/f'{part}_32x32.mat')
    monkeypatch.setattr(torchvision_sets['svhn'], 'split_list', {p: ['http://127.0.0.1:9/', f'{p}_32x32.mat', s] for p,s in sums.items()})
    images = load_images('svhn')
    assert (images.train.numpy() == x.transpose(3, 2, 0, 1)).all() and images.test_labels.tolist() == [1, 2, 3, 4, 9, 0, 0]
    with open(tmp_path/'root'/'test_32x32.mat', 'ab') as f: f.write(b'!') # tampered with
    with pytest.raises(ValueError, match='svhn is not in'): load_images('svhn')

def md5(path):
    import hashlib
    return hashlib.md5(path.read_bytes()).hexdigest()

def test_cifar10_unpickles_nothing_but_the_known_files(tmp_path, monkeypatch):
    base = tmp_path/'root'/'cifar-10-batches-py'
    base.mkdir(parents=True)
    x = np.random.default_rng(0).integers(0, 256, (6, 3, 32, 32), dtype=np.uint8)
    contents = {f: dict(data=x.reshape(6, -1), labels=[0, 1, 2, 3, 4, 5]) for f in ('train', 'test')}
    contents['meta'] = dict(label_names=list('abcdefghij'))
    for f,c in contents.items(): (base/f).write_bytes(pickle.dumps(c))
    make = torchvision_sets['cifar10']
    with pytest.raises(ValueError, match='cifar10 is not in'): load_images('cifar10') # right names, wrong checksums
    monkeypatch.setattr(make, 'train_list', [['train', md5(base/'train')]]); monkeypatch.setattr(make, 'test_list', [['test', md5(base/'test')]])
    monkeypatch.setattr(make, 'meta', dict(filename='meta', key='label_names', md5=md5(base/'meta')))
    images = load_images('cifar10')
    assert (images.train.numpy() == x).all() and images.classes == tuple('abcdefghij') and images.test_labels.tolist() == [0, 1, 2, 3, 4, 5]

def test_omniglot(tmp_path, monkeypatch):
    base = tmp_path/'root'/'omniglot-py'
    sums = {}
    for part,alphabets in (('images_background', 'ab'), ('images_evaluation', 'c')):
        for a in alphabets:
            for c in ('character01', 'character02'):
                (base/part/a/c).mkdir(parents=True)
                im = Image.new('1', (105, 105), 1); im.paste(0, (40, 40, 65, 65)) # black ink on white
                for i in range(3): im.save(base/part/a/c/f'{i}.png')
        (base/f'{part}.zip').write_bytes(b'unpacked already'); sums[part] = md5(base/f'{part}.zip')
    monkeypatch.setattr(torchvision_sets['omniglot'], 'zips_md5', sums)
    images = load_images('omniglot')
    assert images.image_size == (1, 28, 28) and (len(images.train), len(images.test)) == (12, 6)
    assert images.train[0, 0, 14, 14] == 255 and images.train[0, 0, 2, 2] == 0
    assert len(images.classes) == 6 and images.train_labels.tolist() == [i//3 for i in range(12)] and images.test_labels.min() == 4
    assert load_images('omniglot', 105).image_size == (1, 105, 105)

def test_celeba(tmp_path, monkeypatch):
    base = tmp_path/'root'/'celeba'
    (base/'img_align_celeba').mkdir(parents=True)
    names = [f'{i:06}.jpg' for i in range(1, 8)]
    for n in names: # red outside of the central 148 x 148, blue inside
        im = Image.new('RGB', (178, 218), (255, 0, 0)); im.paste((0, 0, 255), (15, 35, 163, 183)); im.save(base/'img_align_celeba'/n, quality=100, subsampling=0)
    rows = lambda values: ''.join(f'{n} {v}\n' for n,v in zip(names, values, strict=True))
    (base/'list_eval_partition.txt').write_text(rows([0, 0, 0, 1, 2, 2, 0])); (base/'identity_CelebA.txt').write_text(rows(range(7)))
    (base/'list_bbox_celeba.txt').write_text('7\nimage_id x y w h\n' + rows(['1 2 3 4']*7))
    (base/'list_landmarks_align_celeba.txt').write_text('7\na b\n' + rows(['1 2']*7))
    (base/'list_attr_celeba.txt').write_text('7\nSmiling Young \n' + rows(['1 -1', '-1 -1', '1 1', '1 1', '-1 1', '1 -1', '-1 1']))
    make = torchvision_sets['celeba']
    monkeypatch.setattr(make, 'file_list', [('', md5(base/f.name), f.name) for f in base.glob('*.txt')])
    images = load_images('celeba')
    assert images.image_size == (3, 64, 64) and (len(images.train), len(images.test)) == (4, 2)
    inner,edge = images.train[..., 2:-2, 2:-2],images.train[:, 0].float()
    assert inner[:, 0].max() < 9 and inner[:, 2].min() > 246 # blue to the edge,
    for side in (edge[:, 0], edge[:, -1], edge[..., 0], edge[..., -1]): assert 5 < side.mean() < 70 # where the filter just feels the red
    assert images.factors == ('Smiling', 'Young') and images.train_factors.tolist() == [[1, 0], [0, 0], [1, 1], [0, 1]]
    assert images.test_factors.tolist() == [[0, 1], [1, 0]] and images.train_labels is None

# Batches

def test_every_step_and_epoch_draws_anew():
    x = torch.full((40, 1, 8, 8), 128, dtype=torch.uint8)
    b = Batches(x, 20, binarize=True)
    seen = [a for _ in range(2) for a in b] + list(Batches(x, 20, binarize=True, seed=1))
    assert not any(torch.equal(a, c) for i,a in enumerate(seen) for c in seen[:i])
    b = Batches(torch.arange(40, dtype=torch.uint8).view(40, 1, 1, 1), 40)
    seen = [a.flatten().tolist() for _ in range(3) for a in b]
    assert len({tuple(a) for a in seen}) == 3 and sorted(seen[0]) == sorted(seen[2])

def test_mirrored_and_shifted():
    x = torch.from_numpy(np.stack([noise(9, 7, seed=i) for i in range(50)])).permute(0, 3, 1, 2)
    wide = torch.nn.functional.pad(x.float(), (2,)*4, mode='replicate')
    possible = torch.stack([wide[..., i:i+9, j:j+7] for i in range(5) for j in range(5)])
    possible = torch.cat([possible, possible.flip(-1)])/255
    for kwargs,ways in ((dict(flip=True, crop=2), range(50)), (dict(crop=2), range(25)), (dict(flip=True), (12, 37))):
        got = next(iter(Batches(x, 50, False, **kwargs)))
        match = (possible == got).flatten(2).all(2) # (50,50): way, image
        assert match[list(ways)].any(0).all() and match[list(ways)].any(1).float().mean() > 0.5

@pytest.mark.parametrize('n,batch_size,count', [(10, 4, 3), (7, 7, 2), (5, 2, 4), (1, 8, 2)])
def test_shards_see_together_what_one_sees(n, batch_size, count):
    x = torch.from_numpy(np.stack([noise(12, 10, seed=i) for i in range(n)])).permute(0, 3, 1, 2)
    every = dict(batch_size=batch_size, seed=3, binarize=True, flip=True, crop=2, labels=torch.arange(n))
    alone,shards = Batches(x, **every),[Batches(x, shard=(i, count), **every) for i in range(count)]
    for _ in range(2):
        for (a,y),*parts in zip(alone, *shards, strict=True):
            assert torch.equal(a, torch.cat([p[0] for p in parts])) and torch.equal(y, torch.cat([p[1] for p in parts]))
            assert max(len(p[0]) for p in parts) - min(len(p[0]) for p in parts) <= 1

def test_any_step_can_be_the_first():
    x = torch.from_numpy(np.stack([noise(12, 10, seed=i) for i in range(23)])).permute(0, 3, 1, 2)
    make = lambda: Batches(x, 4, binarize=True, flip=True, crop=1)
    b = make()
    whole = [list(b) for _ in range(3)]
    for epoch in range(3):
        for step in range(len(b)):
            late = make(); late.epoch,late.step = epoch,step
            assert all(torch.equal(a, c) for a,c in zip(whole[epoch][step:], late, strict=True))
            assert (late.epoch, late.step) == (epoch + 1, 0)

@pytest.mark.skipif(not torch.cuda.is_available(), reason='no GPU')
@pytest.mark.parametrize('fits', [True, False])
def test_on_a_gpu(fits, tmp_path, monkeypatch):
    x = torch.randint(0, 256, (300, 3, 16, 16), dtype=torch.uint8)
    (tmp_path/'x').write_bytes(x.numpy().tobytes())
    if not fits: monkeypatch.setattr(Batches, 'most_on_device', 1000)
    for source in (x, mapped(tmp_path/'x', 3, 16, 16)):
        b = Batches(source, 64, device='cuda', labels=torch.arange(300))
        assert b.images.is_cuda == fits
        for (a,y),(c,y2) in zip(b, Batches(x, 64, labels=torch.arange(300)), strict=True):
            assert a.is_cuda and torch.equal(a.cpu(), c) and torch.equal(y.cpu(), y2)
    b = Batches(x, 64, device='cuda', binarize=True, flip=True, crop=2)
    assert all(torch.equal(a, c) for a,c in zip(b, Batches(x, 64, device='cuda', binarize=True, flip=True, crop=2), strict=True))
