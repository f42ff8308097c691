"Anyone's folders: odd names, links, permissions, broken files among good ones, a great many"
import math
import os
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from convvae.sources.folder import held_out, image_files, load_folder
from convvae.sources.layout import layout_of
from pictures import fill, own_cache, saved  # noqa: F401

red = saved(Image.new('RGB', (40, 30), (255, 0, 0)), 'PNG')

def refuse(path, *args, **kwargs):
    raise PermissionError(13, 'Permission denied', str(path))

def test_permissions_and_links(tmp_path, monkeypatch):
    folder = fill(tmp_path/'f', 2)
    (folder/'nowhere.png').symlink_to(folder/'gone.png')
    (folder/'itself.png').symlink_to(folder/'itself.png')
    (folder/'up').symlink_to(folder)
    (folder/'secret.png').write_bytes(red)
    real = Image.open
    def open_unless_secret(path, *args, **kwargs): # tests may run as root, who may read everything
        return (refuse if str(path).endswith('secret.png') else real)(path, *args, **kwargs)
    with monkeypatch.context() as m:
        m.setattr(Image, 'open', open_unless_secret)
        with pytest.raises(ValueError, match='^3 of 5 images') as e: load_folder(folder)
        for word in ('nowhere.png', 'itself.png', 'secret.png', 'Permission denied'):
            assert word in str(e.value)
        with pytest.warns(UserWarning, match='^3 of 5'): images = load_folder(folder, skip_bad=True)
        assert len(images.train) + len(images.test) == 2
    # Mended, though neither size nor time has changed
    with pytest.warns(UserWarning, match='^2 of 5'): images = load_folder(folder, skip_bad=True)
    assert len(images.train) + len(images.test) == 3
    with pytest.raises(ValueError, match='cannot look into'): load_folder(tmp_path/'none')
    monkeypatch.setattr(os, 'scandir', refuse)
    with pytest.raises(ValueError, match='cannot look into .*Permission denied'):
        load_folder(folder)

def test_who_is_left_keeps_side_and_label(tmp_path):
    folder = fill(tmp_path/'f', 60, classes=3)
    names = [f[0] for f in image_files(folder)]
    held = dict(zip(names, held_out(names, 0.1).tolist(), strict=True))
    bad = {next(n for n in names[i:] if held[n] == side)
           for i in (0, 20, 35) for side in (False, True)}
    for n in bad:
        (folder/n).write_bytes((folder/n).read_bytes()[:60])
    with pytest.warns(UserWarning, match=f'^{len(bad)} of 60'):
        images = load_folder(folder, skip_bad=True)
    for side,x,y in ((False, images.train, images.train_labels),
                     (True, images.test, images.test_labels)):
        left = [n for n in names if held[n] == side and n not in bad]
        assert len(left) == len(x) == len(y)
        assert [images.classes[i] for i in y] == [n.split('/')[0] for n in left]
        for n,a in zip(left, x, strict=True):
            assert (np.asarray(Image.open(folder/n)).transpose(2, 0, 1) == a.numpy()).all()

def test_where_only_test_images_are_left_they_are_trained_on(tmp_path):
    folder = fill(tmp_path/'f', 60, classes=3)
    names = [f[0] for f in image_files(folder)]
    held = held_out(names, 0.1).tolist()
    for n,is_held in zip(names, held, strict=True):
        if not is_held:
            (folder/n).write_bytes(b'')
    with pytest.warns(UserWarning): rest = load_folder(folder, skip_bad=True)
    assert len(rest.train) == len(rest.train_labels) == sum(held) > 1 and len(rest.test) == 0

def test_linked_folders_are_read_once(tmp_path):
    fill(tmp_path/'elsewhere', 3)
    fill(tmp_path/'f'/'a', 2)
    for d in ('b', 'c'):
        (tmp_path/'f'/d).symlink_to(tmp_path/'elsewhere')
    (tmp_path/'f'/'a'/'d').symlink_to(tmp_path/'f'/'b')
    assert [f[0] for f in image_files(tmp_path/'f')] == [
        'a/0000.png', 'a/0001.png', 'b/0000.png', 'b/0001.png', 'b/0002.png']

def test_names_that_are_not_text(tmp_path):
    folder = fill(tmp_path/'f', 2)
    try:
        (folder/os.fsdecode(b'caf\xe9.png')).write_bytes(b'bad')
    except OSError:
        pytest.skip('not on this file system')
    with pytest.raises(ValueError, match='1 of 3') as e: load_folder(folder)
    str(e.value).encode()

def test_at_most_twenty_are_named(tmp_path):
    folder = fill(tmp_path/'f', 2)
    for i in range(33):
        (folder/f'bad{i:02}.gif').write_bytes(b'x')
    with pytest.raises(ValueError, match='33 of 35.*bad19.*; and 13 more$') as e:
        load_folder(folder)
    assert 'bad20' not in str(e.value)
    for f in ('0000.png', '0001.png'):
        (folder/f).unlink()
    with pytest.raises(ValueError, match='33 of 33 images cannot be read, so none is left'):
        load_folder(folder, skip_bad=True)

def test_no_pictures(tmp_path):
    (tmp_path/'f').mkdir()
    for name in ('notes.txt', '.hidden.png', 'x.h5', 'x.eps', 'x.mpg'):
        (tmp_path/'f'/name).touch() # the last three are other programs' work
    with pytest.raises(ValueError, match='no images in'): load_folder(tmp_path/'f')

# A great many

class Name(str):
    "A name that counts how often names are compared, and stays one when it is joined or split"
    compared = 0
    __hash__ = str.__hash__
    def __eq__(self, other):
        Name.compared += 1
        return str.__eq__(self, other)
    def __lt__(self, other):
        Name.compared += 1
        return str.__lt__(self, other)
    def __radd__(self, other): return Name(other + str(self))
    def split(self, *args): return [Name(part) for part in str.split(self, *args)]

def names_of(n, monkeypatch, tmp_path):
    "The names that are found in a folder of so many files, which are only pretended"
    state = os.stat(__file__)
    class Entry(SimpleNamespace):
        def is_symlink(self): return False
        def stat(self): return state
    with monkeypatch.context() as m:
        m.setattr(os, 'scandir', lambda path: [Entry(name=Name(f'{i}.png')) for i in range(n)])
        return [f[0] for f in image_files(tmp_path)]

def test_a_million_names(tmp_path, monkeypatch):
    "A tenth of them: all are there, about as many as asked for are held out"
    names = [f'{n}/x' for n in names_of(100_000, monkeypatch, tmp_path)]
    out = held_out(names, 0.1)
    layout = layout_of(names) # as many classes as names
    assert len(names) == len({*layout.classes}) == 100_000 and 0.09 < out.float().mean() < 0.11
    assert [layout.label[n] for n in names] == [n.split('/')[0] for n in names]

def test_no_step_is_quadratic(tmp_path, monkeypatch):
    "Sorting compares n log n times; looking each name up in a list would compare n n/2 times"
    n = 4000
    Name.compared = 0
    names = names_of(n, monkeypatch, tmp_path)
    assert all(type(name) is Name for name in names) and Name.compared > n # it does count
    in_classes = [Name(f'{name}/x') for name in names]
    held_out(in_classes, 0.1)
    layout = layout_of(in_classes)
    assert type(layout.classes[0]) is Name and len(layout.classes) == n
    assert Name.compared < 8*n*math.log2(n) < n*n/10

def test_another_seed_holds_out_other_files():
    "By their names, about as many as asked for; the same on every machine"
    names = [f'{i}.png' for i in range(1000)]
    a,b,c = (held_out(names, 0.2, seed) for seed in (0, 0, 1))
    assert torch.equal(a, b) and not torch.equal(a, c)
    for out in (a, c): assert abs(out.double().mean() - 0.2) < 5*(0.2*0.8/1000)**0.5
    assert abs((a & c).double().mean() - 0.04) < 5*(0.04*0.96/1000)**0.5
