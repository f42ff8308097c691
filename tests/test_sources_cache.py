"The decoded images: killed readers, two at once, a folder that changes, a damaged cache, no room"
import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from convvae.data import Batches
from convvae.sources.folder import held_out, image_files, load_folder
from pictures import fill, noise, own_cache  # noqa: F401

# A reader that says so when it has to wait for another one, and when it is about to decode the
# n-th picture; there it stands still until it gets a line to read
reader = '''
import sys, threading
from filelock import FileLock, Timeout
from convvae.sources import cache
from convvae.sources.folder import load_folder
folder, stop_at = sys.argv[1], int(sys.argv[2])
decode, decoded, lock = cache.to_pixels, [0], threading.Lock()
def decode_or_stop(*args):
    with lock:
        decoded[0] += 1
        here = decoded[0]
    if here == stop_at:
        print('in the middle', flush=True)
        sys.stdin.readline()
    return decode(*args)
class TellingLock(FileLock):
    def acquire(self, *args, **kwargs):
        try:
            return super().acquire(timeout=0)
        except Timeout:
            print('waits', flush=True)
            return super().acquire(*args, **kwargs)
cache.to_pixels, cache.FileLock = decode_or_stop, TellingLock
images = load_folder(folder)
print(images.fingerprint, decoded[0], images.train_labels.sum().item(), flush=True)
'''

@contextmanager
def reading(folder, stop_at=0):
    "A process that reads a folder"
    with subprocess.Popen([sys.executable, '-c', reader, folder, str(stop_at)], text=True,
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as p:
        try:
            yield p
        finally:
            p.kill()

def kept(tmp_path, pattern):
    return list((tmp_path/'root'/'convvae'/'folders').glob(f'*/{pattern}'))

@pytest.mark.parametrize('at', [1, 200])
def test_a_killed_reader_leaves_nothing_behind(at, tmp_path):
    folder = fill(tmp_path/'f', 400, (200, 200))
    with reading(folder, at) as p:
        assert p.stdout.readline() == 'in the middle\n'
        [draft] = kept(tmp_path, '.saving-*/*.bytes')
        assert draft.stat().st_size == 400*3*64*64 and not kept(tmp_path, '*.bytes')
        p.send_signal(signal.SIGKILL)
        assert p.wait() == -signal.SIGKILL
    draft.write_bytes(b'left behind')
    images = load_folder(folder)
    assert len(images.train) + len(images.test) == 400
    endings = sorted(f.name.rpartition('.')[2] for f in images.cache.iterdir())
    assert endings == ['bytes', 'json', 'lock']
    names = [f[0] for f in image_files(folder)]
    test = held_out(names, 0.1)
    for part,x in ((~test, images.train), (test, images.test)):
        chosen = [n for n,t in zip(names, part, strict=True) if t]
        for name,a in zip(chosen, x, strict=True):
            want = ImageOps.fit(Image.open(folder/name), (64, 64), Image.Resampling.BILINEAR)
            assert (np.asarray(want).transpose(2, 0, 1) == a.numpy()).all()

def test_two_readers_at_once(tmp_path):
    "One decodes, the other waits, and has nothing to decode then"
    folder = fill(tmp_path/'f', 300, (100, 100), classes=3)
    with reading(folder, stop_at=150) as first:
        assert first.stdout.readline() == 'in the middle\n'
        with reading(folder) as second:
            assert second.stdout.readline() == 'waits\n'
            first.stdin.write('go on\n')
            first.stdin.flush()
            a, b = (p.stdout.readline().split() for p in (first, second))
            assert (first.wait(), second.wait()) == (0, 0)
    assert (a[0], a[2]) == (b[0], b[2])
    assert (a[1], b[1]) == ('300', '0')

def test_the_cache_follows_the_folder(tmp_path):
    folder = fill(tmp_path/'f', 20)
    first = load_folder(folder)
    before = first.train.clone()
    Image.fromarray(noise(32, 32, seed=99)).save(folder/'0003.png') # another under the same name
    os.utime(folder/'0003.png', ns=(1, 1))
    second = load_folder(folder)
    assert (second.train != before).any() or (second.test != first.test).any()
    assert second.cache == first.cache
    assert len(list(second.cache.glob('*.bytes'))) == 1 # the old one is gone,
    still = torch.cat(list(Batches(first.train, 7, False)))
    assert torch.equal(still, before/255) # and yet still read by who has it
    small = load_folder(folder, 16)
    assert small.image_size == (3, 16, 16)
    assert len(list(small.cache.glob('*.bytes'))) == 2 # two sizes side by side
    assert load_folder(folder, seed=1).cache != first.cache

def test_a_damaged_cache_is_made_anew(tmp_path):
    folder = fill(tmp_path/'f', 20)
    images = load_folder(folder)
    want = images.train.clone()
    path = next(images.cache.glob('*.bytes'))
    path.write_bytes(path.read_bytes()[:1000])
    assert torch.equal(load_folder(folder).train, want)
    next(images.cache.glob('*.json')).write_text('{"size"')
    assert torch.equal(load_folder(folder).train, want)

def test_a_cache_of_an_earlier_version_is_not_used(tmp_path):
    folder = fill(tmp_path/'f', 20)
    images = load_folder(folder)
    want = images.train.clone()
    new, [record] = next(images.cache.glob('*.bytes')), images.cache.glob('*.json')
    record.unlink()
    old = new.rename(new.with_name(f'{record.stem}-3x32x32.bytes'))
    old.write_bytes(bytes(old.stat().st_size))
    about = dict(key='x', size=[32, 32], mode='RGB', bad=[])
    (images.cache/'about.json').write_text(json.dumps(about))
    assert torch.equal(load_folder(folder).train, want)
    assert not old.exists() and not (images.cache/'about.json').exists()

full_disk = '''
import resource, signal, sys
from convvae.data import load_folder
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)) # files may not grow beyond it
try:
    load_folder(sys.argv[1])
except ValueError as e:
    print(e)
'''

def test_no_room_and_no_permission(tmp_path, monkeypatch):
    folder = fill(tmp_path/'f', 40, (64, 64))
    (tmp_path/'file').touch()
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path/'file'))
    with pytest.raises(ValueError, match='cannot keep decoded images in .*XDG_CACHE_HOME'):
        load_folder(folder)
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path/'full'))
    r = subprocess.run([sys.executable, '-c', full_disk, folder], capture_output=True, text=True)
    assert r.stdout.startswith('cannot keep decoded images in') and not r.stderr, r.stderr
    assert len(load_folder(folder).train) > 30

walk_through_a_file = '''
import sys
from pathlib import Path
from convvae.data import Batches
from convvae.sources.maps import mapped
def peak(): # MB of this program alone, whoever started it
    rows = Path('/proc/self/status').read_text().splitlines()
    return int(next(row for row in rows if row.startswith('VmHWM')).split()[1])//1024
x = mapped(sys.argv[1], 3, 64, 64)
before = peak()
print(sum(len(b) for b in Batches(x[:30_000], 256)) + sum(len(b) for b in Batches(x[30_000:], 256)),
      peak() - before)
'''

@pytest.mark.skipif(sys.platform != 'linux', reason='/proc is of Linux')
def test_resident_memory_stays_small(tmp_path):
    "Of slices of the file too, as a training and a test set are"
    with open(tmp_path/'big', 'wb') as f:
        f.truncate(60_000*3*64*64) # 740 MB of nothing
    r = subprocess.run([sys.executable, '-c', walk_through_a_file, tmp_path/'big'],
                       capture_output=True, text=True)
    seen, more = map(int, r.stdout.split())
    assert seen == 60_000 and more < 200, more
