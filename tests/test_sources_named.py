"Other people's data sets, by name: from their files, never from the network by mistake"
import gzip
import hashlib
import io
import pickle
import socket
import zipfile

import numpy as np
import pytest
from PIL import Image
from torchvision import datasets

from convvae.data import load_images, torchvision_sets
from pictures import noise, own_cache  # noqa: F401

def md5(path):
    return hashlib.md5(path.read_bytes()).hexdigest()

def random_bytes(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)

@pytest.mark.parametrize('name', torchvision_sets)
def test_no_network_is_one_sentence(name):
    message = f'^{name} is not in .*by hand, or use digits, which needs no network$'
    with pytest.raises(ValueError, match=message) as e: load_images(name)
    assert '\n' not in str(e.value)

def test_a_tampered_download_is_not_unpacked(tmp_path):
    evil = io.BytesIO()
    with zipfile.ZipFile(evil, 'w') as z:
        z.writestr('../../escaped.txt', 'x')
        z.writestr('images_background/a/b/1.png', b'x')
    (tmp_path/'root'/'omniglot-py').mkdir(parents=True)
    (tmp_path/'root'/'omniglot-py'/'images_background.zip').write_bytes(evil.getvalue())
    raw = tmp_path/'root'/'MNIST'/'raw'
    raw.mkdir(parents=True)
    (raw/'train-images-idx3-ubyte.gz').write_bytes(gzip.compress(b'not the digits'))
    for name in ('omniglot', 'mnist'):
        with pytest.raises(ValueError, match=f'^{name} is not in'): load_images(name)
    assert not list(tmp_path.rglob('escaped.txt')) and not list(tmp_path.rglob('1.png'))
    assert not (raw/'train-images-idx3-ubyte').exists()

mistyped = ['mnits', './mnist', 'mnist/', 'MNIST', 'https://example.org/x.npz', 'a\0b', '',
            'celeba ', 'file.npz', 'x.png']

@pytest.mark.parametrize('name', mistyped)
def test_a_mistyped_name_never_reaches_the_network(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path/'x.png').touch()
    def refuse(*args, **kwargs): raise AssertionError('asked the network')
    monkeypatch.setattr(socket, 'getaddrinfo', refuse)
    monkeypatch.setattr(socket.socket, 'connect', refuse)
    message = 'choose one of digits|no images in|cannot be read'
    with pytest.raises(ValueError, match=message): load_images(name)

def write_idx(path, a):
    path.parent.mkdir(parents=True, exist_ok=True)
    header = np.array([0x800 + a.ndim, *a.shape], dtype='>i4')
    path.write_bytes(header.tobytes() + a.tobytes())

def test_emnist_is_turned_back(tmp_path):
    upright = np.stack([noise(28, 28, 1, seed=i) for i in range(20)])
    raw = tmp_path/'root'/'EMNIST'/'raw'
    for part in ('train', 'test'):
        name = f'emnist-balanced-{part}'
        write_idx(raw/f'{name}-images-idx3-ubyte', upright.transpose(0, 2, 1).copy())
        write_idx(raw/f'{name}-labels-idx1-ubyte', np.arange(20, dtype=np.uint8))
    images = load_images('emnist')
    assert (images.train[:, 0].numpy() == upright).all() and len(images.classes) == 47
    assert images.classes[10] == 'A' and images.test_labels.tolist() == list(range(20))
    assert load_images('emnist', 14).image_size == (1, 14, 14)

def test_svhn(tmp_path, monkeypatch):
    from scipy.io import savemat
    root = tmp_path/'root'
    root.mkdir()
    x, y = random_bytes(32, 32, 3, 7), np.array([[1, 2, 3, 4, 9, 10, 10]]).T
    known = {}
    for part in ('train', 'test'):
        savemat(root/f'{part}_32x32.mat', dict(X=x, y=y))
        known[part] = ['http://127.0.0.1:9/', f'{part}_32x32.mat', md5(root/f'{part}_32x32.mat')]
    monkeypatch.setattr(datasets.SVHN, 'split_list', known)
    images = load_images('svhn')
    assert (images.train.numpy() == x.transpose(3, 2, 0, 1)).all()
    assert images.test_labels.tolist() == [1, 2, 3, 4, 9, 0, 0]
    with open(root/'test_32x32.mat', 'ab') as f:
        f.write(b'!') # tampered with
    with pytest.raises(ValueError, match='svhn is not in'): load_images('svhn')

def test_cifar10_unpickles_nothing_but_the_known_files(tmp_path, monkeypatch):
    base = tmp_path/'root'/'cifar-10-batches-py'
    base.mkdir(parents=True)
    x = random_bytes(6, 3, 32, 32)
    part = dict(data=x.reshape(6, -1), labels=[0, 1, 2, 3, 4, 5])
    contents = dict(train=part, test=part, meta=dict(label_names=list('abcdefghij')))
    for f,c in contents.items():
        (base/f).write_bytes(pickle.dumps(c))
    with pytest.raises(ValueError, match='cifar10 is not in'): # right names, wrong checksums
        load_images('cifar10')
    for attribute,f in (('train_list', 'train'), ('test_list', 'test')):
        monkeypatch.setattr(datasets.CIFAR10, attribute, [[f, md5(base/f)]])
    meta = dict(filename='meta', key='label_names', md5=md5(base/'meta'))
    monkeypatch.setattr(datasets.CIFAR10, 'meta', meta)
    images = load_images('cifar10')
    assert (images.train.numpy() == x).all()
    assert images.classes == tuple('abcdefghij')
    assert images.test_labels.tolist() == [0, 1, 2, 3, 4, 5]

def write_characters(folder):
    "Three drawings of each of two characters of an alphabet, black ink on white"
    im = Image.new('1', (105, 105), 1)
    im.paste(0, (40, 40, 65, 65))
    for c in ('character01', 'character02'):
        (folder/c).mkdir(parents=True)
        for i in range(3):
            im.save(folder/c/f'{i}.png')

def test_omniglot(tmp_path, monkeypatch):
    base = tmp_path/'root'/'omniglot-py'
    sums = {}
    for part,alphabets in (('images_background', 'ab'), ('images_evaluation', 'c')):
        for a in alphabets:
            write_characters(base/part/a)
        (base/f'{part}.zip').write_bytes(b'unpacked already')
        sums[part] = md5(base/f'{part}.zip')
    monkeypatch.setattr(datasets.Omniglot, 'zips_md5', sums)
    images = load_images('omniglot')
    assert images.image_size == (1, 28, 28) and (len(images.train), len(images.test)) == (12, 6)
    assert images.train[0, 0, 14, 14] == 255 and images.train[0, 0, 2, 2] == 0
    assert len(images.classes) == 6 and images.train_labels.tolist() == [i//3 for i in range(12)]
    assert images.test_labels.min() == 4
    assert load_images('omniglot', 105).image_size == (1, 105, 105)

def write_faces(base):
    "Seven pictures, red outside of the central 148 x 148, blue inside; and the five lists"
    (base/'img_align_celeba').mkdir(parents=True)
    names = [f'{i:06}.jpg' for i in range(1, 8)]
    im = Image.new('RGB', (178, 218), (255, 0, 0))
    im.paste((0, 0, 255), (15, 35, 163, 183))
    for n in names:
        im.save(base/'img_align_celeba'/n, quality=100, subsampling=0)
    def rows(values): return ''.join(f'{n} {v}\n' for n,v in zip(names, values, strict=True))
    attributes = ['1 -1', '-1 -1', '1 1', '1 1', '-1 1', '1 -1', '-1 1']
    lists = dict(
        list_eval_partition=rows([0, 0, 0, 1, 2, 2, 0]),
        identity_CelebA=rows(range(7)),
        list_bbox_celeba='7\nimage_id x y w h\n' + rows(['1 2 3 4']*7),
        list_landmarks_align_celeba='7\na b\n' + rows(['1 2']*7),
        list_attr_celeba='7\nSmiling Young \n' + rows(attributes))
    for name,text in lists.items():
        (base/f'{name}.txt').write_text(text)

def test_celeba(tmp_path, monkeypatch):
    base = tmp_path/'root'/'celeba'
    write_faces(base)
    known = [('', md5(base/f.name), f.name) for f in base.glob('*.txt')]
    monkeypatch.setattr(datasets.CelebA, 'file_list', known)
    images = load_images('celeba')
    assert images.image_size == (3, 64, 64) and (len(images.train), len(images.test)) == (4, 2)
    inner, red = images.train[..., 2:-2, 2:-2], images.train[:, 0].float()
    assert inner[:, 0].max() < 9 and inner[:, 2].min() > 246 # blue to the edge,
    for edge in (red[:, 0], red[:, -1], red[..., 0], red[..., -1]):
        assert 5 < edge.mean() < 70 # where the filter just feels the red
    assert images.factors == ('Smiling', 'Young') and images.train_labels is None
    assert images.train_factors.tolist() == [[1, 0], [0, 0], [1, 1], [0, 1]]
    assert images.test_factors.tolist() == [[0, 1], [1, 0]]
