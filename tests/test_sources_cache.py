"The decoded images: killed readers, two at once, a folder that changes, a damaged cache, no room"
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import warnings
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from convvae.data import Batches, load_images
from convvae.sources.cache import decode, decode_once
from convvae.sources.folder import held_out, image_files, load_folder
from convvae.sources.reading import Pictures
from pictures import fill, noise, own_cache, saved  # noqa: F401

# A reader that says so when it is about to decode the n-th picture; there it stands still until it
# gets a line to read. Where it has to wait for another one it says so at once
reader = '''
import sys, threading
from convvae.sources import cache, keeping
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
cache.to_pixels, keeping.patience = decode_or_stop, 0
images = load_folder(folder)
print(images.fingerprint, decoded[0], images.train_labels.sum().item(), flush=True)
'''

@contextmanager
def reading(folder, stop_at=0):
    "A process that reads a folder"
    with subprocess.Popen([sys.executable, '-c', reader, folder, str(stop_at)], text=True,
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, env={**os.environ, 'TQDM_DISABLE': '1'}) as p:
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
            said = second.stderr.readline()
            assert said.startswith(f'waiting for process {first.pid}, which is decoding 300 images '
                                   f'({folder}/class') and str(tmp_path/'root') in said
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

def as_same_time(path, content):
    "Other bytes in a file, as if it had not been written"
    before = os.stat(path)
    path.write_bytes(content)
    age(path, before)

def age(path, before):
    "Let a file be as old as another state says, when the clock has ticked since then"
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    while os.stat(path).st_ctime_ns == before.st_ctime_ns:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert os.stat(path).st_mtime_ns == before.st_mtime_ns

@pytest.mark.skipif(os.name == 'nt', reason='Windows has no time of change')
@pytest.mark.parametrize('how', ['written', 'moved'])
def test_another_picture_of_the_same_size_and_time(how, tmp_path):
    folder = tmp_path/'f'
    folder.mkdir()
    for i in range(5):
        Image.new('L', (12, 16), i).save(folder/f'{i}.bmp')
    assert load_folder(folder).train.max() < 5
    other = saved(Image.new('L', (12, 16), 200), 'BMP')
    if how == 'written':
        as_same_time(folder/'3.bmp', other)
    else:
        (tmp_path/'new.bmp').write_bytes(other)
        age(tmp_path/'new.bmp', os.stat(folder/'3.bmp'))
        os.replace(tmp_path/'new.bmp', folder/'3.bmp')
    images = load_folder(folder)
    assert torch.cat([images.train, images.test]).max() == 200

def test_a_damaged_cache_is_made_anew(tmp_path):
    folder = fill(tmp_path/'f', 20)
    images = load_folder(folder)
    want = images.train.clone()
    path, record = (next(images.cache.glob(f'*.{kind}')) for kind in ('bytes', 'json'))
    flipped = bytearray(path.read_bytes())
    flipped[7] ^= 1
    for damage in (lambda: path.write_bytes(path.read_bytes()[:1000]),
                   lambda: as_same_time(path, flipped), lambda: record.write_text('{"size"')):
        damage()
        with pytest.warns(UserWarning, match='is not as it was written'):
            again = load_folder(folder)
        assert torch.equal(again.train, want)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        os.utime(path) # written by somebody, and yet the same
        assert torch.equal(load_folder(folder).train, want)
        path.unlink() # to save room, say
        assert torch.equal(load_folder(folder).train, want)

changes = (dict(size='ab'), dict(size=[16, 12]), dict(size=[]), dict(channels='3'),
           dict(channels=None), dict(broken=[[99, 'x']]), dict(broken=[3]), dict(broken=[[0, 'x']]),
           dict(counts=dict(deep=3)), dict(counts=[]), dict(kinds=dict(PNG='x')), dict(kinds=None),
           dict(sizes=[1]), dict(shapes=dict(a=1)), dict(value_range='x'), dict(more=1))

@pytest.mark.parametrize('change', changes, ids=str)
def test_a_note_that_somebody_has_changed(change, tmp_path):
    folder = fill(tmp_path/'f', 6, (12, 16))
    images = load_folder(folder)
    want, notes = images.train.clone(), images.notes
    [record] = images.cache.glob('*.json')
    held = json.loads(record.read_text())
    record.write_text(json.dumps(held | dict(plan=held['plan'] | change)))
    with pytest.warns(UserWarning, match=f'{record.name} is not as it was written: .* anew'):
        images = load_folder(folder)
    assert torch.equal(images.train, want) and images.notes == notes

@pytest.mark.skipif(sys.platform != 'linux', reason='/proc is of Linux')
def test_bytes_are_on_the_disk_before_they_have_a_name(tmp_path, monkeypatch):
    happened = []
    def sync(f, real=os.fsync):
        happened.append(('sync', Path(os.readlink(f'/proc/self/fd/{f}')).name))
        real(f)
    def replace(old, new, real=os.replace):
        happened.append(('name', Path(new).suffix))
        real(old, new)
    monkeypatch.setattr(os, 'fsync', sync)
    monkeypatch.setattr(os, 'replace', replace)
    images = load_folder(fill(tmp_path/'f', 6))
    [record] = images.cache.glob('*.json')
    order = [('sync', 'pixels.bytes'), ('name', '.bytes'), ('sync', images.cache.name),
             ('sync', record.name), ('name', '.json'), ('sync', images.cache.name)]
    assert happened == order

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

def nothing_left(tmp_path):
    "Is there nothing but locks?"
    left = [p for p in (tmp_path/'root').rglob('*') if p.name != 'lock' and p.is_file()]
    return not left and not [*(tmp_path/'root').rglob('.saving-*')]

def test_free_space_is_looked_at_first(tmp_path, monkeypatch):
    "Asking a disk for what it has not fills it up"
    folder = fill(tmp_path/'f', 40, (64, 64))
    need = 40*3*64*64
    usage = shutil.disk_usage(tmp_path)
    def free(n): return lambda path: usage._replace(free=n)
    with monkeypatch.context() as m:
        m.setattr(shutil, 'disk_usage', free(need - 1))
        m.setattr(os, 'posix_fallocate', None)
        with pytest.raises(ValueError, match='0.5 MB are needed, and 0.5 MB are free.: make room'):
            load_folder(folder)
        with pytest.raises(ValueError, match='set TMPDIR to another folder'):
            load_images([Image.new('RGB', (64, 64))]*41)
    assert nothing_left(tmp_path)
    monkeypatch.setattr(shutil, 'disk_usage', free(need))
    assert len(load_folder(folder).train) > 30

def test_a_disk_that_turns_out_to_be_full(tmp_path, monkeypatch):
    "As ext4 does it: all blocks are taken, and then it fails"
    def take_all(f, start, size):
        os.pwrite(f, bytes(100_000), 0)
        raise OSError(errno.ENOSPC, 'No space left on device')
    monkeypatch.setattr(os, 'posix_fallocate', take_all)
    with pytest.raises(ValueError, match='No space left on device.*XDG_CACHE_HOME'):
        load_folder(fill(tmp_path/'f', 40, (64, 64)))
    assert nothing_left(tmp_path)

def test_what_killed_readers_of_other_folders_have_left(tmp_path):
    "Gone as soon as anybody decodes; but not what belongs to one that is alive"
    dead, alive = (fill(tmp_path/name, 20, classes=2) for name in ('dead', 'alive'))
    with reading(dead, 1) as a, reading(alive, 1) as b:
        assert [p.stdout.readline() for p in (a, b)] == ['in the middle\n']*2
        assert len(kept(tmp_path, '.saving-*/*.bytes')) == 2
        a.send_signal(signal.SIGKILL)
        a.wait()
        load_folder(fill(tmp_path/'third', 20))
        assert len(kept(tmp_path, '.saving-*/*.bytes')) == 1
        b.stdin.write('go on\n')
        b.stdin.flush()
        assert len(b.stdout.readline().split()) == 3 and b.wait() == 0

@pytest.mark.skipif(sys.platform != 'linux', reason='threads decode elsewhere')
@pytest.mark.parametrize('lasting', [True, False])
def test_a_decoding_process_that_dies(lasting, tmp_path, monkeypatch):
    "One sentence, and which picture it was at"
    monkeypatch.setenv('TMPDIR', str(tmp_path/'root'))
    monkeypatch.setattr(tempfile, 'tempdir', None)
    (tmp_path/'root').mkdir()
    def deadly(i):
        if i == 700: os.kill(os.getpid(), signal.SIGKILL)
        return nullcontext(Image.new('L', (8, 8), i%256))
    pictures = Pictures(range(1200), deadly)
    with pytest.raises(ValueError, match='^a process that decodes has died.* 700.*: remove that'):
        if lasting:
            decode(tmp_path/'root'/'convvae'/'folders'/'x', 'key', pictures)
        else:
            decode_once(pictures)
    assert nothing_left(tmp_path)

def test_names_that_steer_a_terminal(tmp_path):
    "Every sentence can be printed"
    folder = fill(tmp_path/'f\x1b[31m', 4)
    for name in ('a\x1b[2J\x07.png', 'b\u202egpj.png', 'c\x9b1m.png', 'd\x7f\x01.txt'):
        (folder/name).write_bytes(b'x')
    with pytest.raises(ValueError, match='^3 of 7') as e: load_folder(folder)
    assert str(e.value).isprintable() and r'a\x1b[2J\x07.png' in str(e.value)
    with pytest.warns(UserWarning, match='^3 of 7') as caught:
        images = load_folder(folder, skip_bad=True)
    told = [str(w.message) for w in caught] + [repr(images), *images.notes]
    assert all(text.isprintable() for text in told)
    for wrong in (lambda: load_folder(folder/'no\x1b'), lambda: load_images(folder/'no\x1b'),
                  lambda: load_images([folder/'no\x1b.png'])):
        with pytest.raises(ValueError) as e: wrong()
        assert str(e.value).isprintable()

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
