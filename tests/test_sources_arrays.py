"Arrays in files, and tables of Hugging Face: what will do, and one sentence about what will not"
import io
import os
import pickle
import tempfile
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from convvae.data import load_dataset, load_images, load_npz
from pictures import noise, own_cache  # noqa: F401

npz_good = {
    'train and test': (dict(train=(9, 8, 7), test=(3, 8, 7),
                            train_labels=[0]*8 + [4], test_labels=[1]*3), (1, 8, 7), 9, 3),
    'channels last': (dict(images=(20, 8, 7, 3), labels=list(range(20))), (3, 8, 7), 18, 2),
    'channels first': (dict(x=(20, 3, 8, 7), y=list(range(20))), (3, 8, 7), 18, 2),
    'eight channels': (dict(images=(20, 8, 17, 17)), (8, 17, 17), 18, 2),
    'eight channels last': (dict(images=(20, 17, 17, 8)), (8, 17, 17), 18, 2),
    'without a name': (dict(arr_0=(20, 8, 7)), (1, 8, 7), 18, 2),
    'train alone': (dict(train=(20, 8, 7)), (1, 8, 7), 18, 2),
}

def array(value):
    "Of a shape, or of labels"
    return np.full(value, 7, np.uint8) if isinstance(value, tuple) else np.array(value)

@pytest.mark.parametrize('name', npz_good)
def test_npz(name, tmp_path):
    arrays, size, n, m = npz_good[name]
    np.savez(tmp_path/'a.npz', **{k: array(v) for k,v in arrays.items()})
    images = load_images(str(tmp_path/'a.npz'))
    assert images.image_size == size and (len(images.train), len(images.test)) == (n, m)
    labelled = 'labels' in ' '.join(arrays) or 'y' in arrays
    assert (images.train_labels is not None) == labelled

images_9 = np.zeros((9, 8, 8), np.uint8)

npz_bad = {
    'no numbers': (dict(x=np.full((9, 8, 8), 'a')), 'must be numbers of shape'),
    'five axes': (dict(x=np.zeros((9, 8, 8, 4, 1), np.uint8)), 'must be numbers of shape'),
    'NaN': (dict(x=np.full((9, 8, 8), np.nan)), 'image 0 of x .* not numbers'),
    'objects': (dict(x=np.array([{}, 2], dtype=object)), 'not an .npz file of plain arrays'),
    'no images': (dict(z=np.zeros(3)), r"must hold arrays train and test.*\['z'\]"),
    'too few labels': (dict(x=images_9, y=np.zeros(8, int)), '9 whole numbers'),
    'labels that are no numbers': (dict(x=images_9, y=np.zeros(9)), '9 whole numbers'),
    'two sizes': (dict(train=images_9, test=np.zeros((9, 7, 7), np.uint8)), 'one shape'),
    'empty': (dict(x=np.zeros((0, 8, 8), np.uint8)), 'must be numbers'),
}

@pytest.mark.parametrize('name', npz_bad)
def test_npz_that_will_not_do(name, tmp_path):
    arrays, message = npz_bad[name]
    np.savez(tmp_path/'a.npz', **arrays)
    with pytest.raises(ValueError, match=message) as e: load_images(tmp_path/'a.npz')
    assert 'a.npz' in str(e.value) and '\n' not in str(e.value)

def test_npz_that_is_none(tmp_path):
    ran = tmp_path/'ran'
    class Evil:
        def __reduce__(self): return os.mkdir, (str(ran),)
    good = io.BytesIO()
    np.savez(good, x=np.zeros((99, 8, 8), np.uint8))
    hollow = io.BytesIO() # of an array that would fill any memory
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (9000000000000000, 8, 8), }"
    with zipfile.ZipFile(hollow, 'w') as z:
        z.writestr('x.npy', b"\x93NUMPY\x01\x00v\x00" + header.ljust(117) + b'\n')
    cut_off = good.getvalue()[:2000]
    for content in (b'', b'no zip', pickle.dumps(Evil()), cut_off, hollow.getvalue()):
        (tmp_path/'a.npz').write_bytes(content)
        with pytest.raises(ValueError, match='not an .npz file'): load_images(tmp_path/'a.npz')
    assert not ran.exists()

# Hugging Face

class Column:
    def __init__(self, names): self.names = names

class ClassLabel(Column): pass

class Picture: pass

Picture.__name__ = 'Image'

class Table:
    "What of Hugging Face's Dataset is used"
    column_names = ['text', 'img', 'kind']
    features = dict(text=object(), img=Picture(), kind=ClassLabel(['cat', 'dog']))
    def __init__(self, n, first_seed, broken=()):
        self.n, self.first_seed, self.broken = n, first_seed, broken
    def __len__(self): return self.n
    def __getitem__(self, i):
        if i == 'kind':
            return [j%2 for j in range(self.n)]
        if i in self.broken: raise OSError('cannot be decoded')
        im = Image.fromarray(noise(20, 30, seed=i + self.first_seed))
        return dict(text='', img=im, kind=i%2)

def test_hugging_face():
    images = load_images(dict(train=Table(30, 1000), test=Table(10, 2000)))
    assert images.image_size == (3, 20, 30) and (len(images.train), len(images.test)) == (30, 10)
    assert (images.train[7].permute(1, 2, 0).numpy() == noise(20, 30, seed=1007)).all()
    assert (images.test[7].permute(1, 2, 0).numpy() == noise(20, 30, seed=2007)).all()
    assert images.train_labels.tolist() == [0, 1]*15 and images.classes == ('cat', 'dog')
    broken = Table(30, 3000, broken=[4])
    with pytest.raises(ValueError, match='1 of 30.*cannot be decoded'): load_images(broken)
    with pytest.warns(UserWarning, match='1 of 30'): rest = load_images(broken, 16, skip_bad=True)
    assert len(rest.train) + len(rest.test) == 29
    assert torch.cat([rest.train_labels, rest.test_labels]).sum() == 15
    with pytest.raises(ValueError, match='a part called train'):
        load_dataset(dict(validation=Table(3, 1000)))

def test_what_cannot_be_kept_leaves_nothing_behind(tmp_path, monkeypatch):
    "Such a table has no key; its images are read from a file that is gone already"
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path))
    images = load_images(Table(30, 1000))
    assert images.cache is None and not list(tmp_path.iterdir())
    assert (torch.cat([images.train, images.test]) > 0).any()
    with pytest.raises(ValueError): load_images(Table(30, 1000, broken=[4]))
    assert not list(tmp_path.iterdir())

def test_another_seed_holds_out_other_images_with_their_labels(tmp_path):
    x = np.arange(60, dtype=np.uint8).repeat(16).reshape(60, 4, 4)
    np.savez(tmp_path/'a.npz', images=x, labels=np.arange(60))
    a,b,c = (load_npz(tmp_path/'a.npz', seed, 0.2) for seed in (0, 0, 1))
    assert a.test_labels.tolist() == b.test_labels.tolist() != c.test_labels.tolist()
    assert len(a.test) == 12
    for images in (a, c):
        for part in ('train', 'test'):
            pixels,labels = getattr(images, part),getattr(images, f'{part}_labels')
            assert pixels[:, 0, 0, 0].tolist() == labels.tolist()
