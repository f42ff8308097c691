"Pixels, every one of them, at sizes that are not square: the whole road, from files to a model"
import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from convvae.data import Batches, Images, batch_for, load_folder, load_images
from convvae.model import ConvVAE
from convvae.sources.fitting import fitted
from convvae.train import fit
from pictures import own_cache, saved  # noqa: F401

sizes = ((12, 16), (17, 31), (31, 17), (1, 5), (9, 64))  # height, width

def pixels(n, h, w, c=3, high=256, dtype=np.uint8, seed=0):
    "(n,h,w,c) of noise: no row, column, channel or picture is like another"
    return np.random.default_rng(seed).integers(0, high, (n, h, w, c)).astype(dtype)

def write(folder, arrays, ending='png'):
    "A picture for each array"
    folder.mkdir(parents=True)
    for i,a in enumerate(arrays):
        if ending == 'npy':
            np.save(folder/f'{i:03}.npy', a)
        else:
            Image.fromarray(a[:, :, 0] if a.shape[2] == 1 else a).save(folder/f'{i:03}.{ending}')
    return folder

def places(images):
    "Which picture each image is of, as their files are called; then all images, (N,C,H,W)"
    names = [*images.train_files, *images.test_files]
    return [int(n[:3]) for n in names], torch.cat([images.train, images.test]).numpy()

def as_rows(x):
    "(N,C,H,W) as a set of bytes, for where the order of images does not count"
    return sorted(a.tobytes() for a in np.ascontiguousarray(x))

def channels_first(a):
    "(n,h,w,c) as torch wants it"
    return np.ascontiguousarray(a.transpose(0, 3, 1, 2))

# Files

kinds = (3, 'png'), (1, 'png'), (3, 'bmp'), (3, 'tif'), (3, 'npy'), (1, 'npy')
kinds_and_sizes = [(*kind, *size) for kind in kinds for size in sizes
                   if (*kind, *size) != (3, 'npy', 1, 5)] # (1,5,3) may as well be (C,H,W)

@pytest.mark.parametrize('c,ending,h,w', kinds_and_sizes)
def test_a_folder(c, ending, h, w, tmp_path):
    "Decoded, and read again from what is kept"
    arrays = pixels(11, h, w, c)
    folder = write(tmp_path/'f', arrays, ending)
    for _ in range(2):
        images = load_folder(folder)
        order, x = places(images)
        assert images.image_size == (c, h, w) and sorted(order) == [*range(11)]
        assert (x == channels_first(arrays)[order]).all()

@pytest.mark.parametrize('h,w', sizes)
@pytest.mark.parametrize('size', [(12, 16), (7, 23), (20, 5)])
def test_a_folder_brought_to_another_size(size, h, w, tmp_path):
    "Its own, and pictures of a second size among them; against Pillow"
    arrays = [*pixels(5, h, w), *pixels(5, 40, 25, seed=1)]
    order, x = places(load_folder(write(tmp_path/'f', arrays), size))
    for i,got in zip(order, x, strict=True):
        want = ImageOps.fit(Image.fromarray(arrays[i]), size[::-1], Image.Resampling.BILINEAR)
        assert want.size == size[::-1] and (np.asarray(want).transpose(2, 0, 1) == got).all()

@pytest.mark.parametrize('ending', ['png', 'tif', 'npy'])
def test_more_than_eight_bits(ending, tmp_path):
    "Each value is where it was"
    arrays = pixels(9, 17, 31, 1, 65536, np.uint16)
    arrays[0, 0, 0], arrays[0, 0, 1] = 0, 65535
    images = load_folder(write(tmp_path/'f', arrays, ending))
    order, x = places(images)
    want = np.round(arrays/257.).astype(np.uint8)
    assert images.value_range == (0, 65535) and (x == channels_first(want)[order]).all()

def test_channels_that_are_no_colours(tmp_path):
    "Arrays of five channels, the channels first or last"
    arrays = pixels(6, 17, 31, 5)
    for name,layout in (('last', arrays), ('first', channels_first(arrays))):
        order, x = places(load_folder(write(tmp_path/name, layout, 'npy')))
        assert (x == channels_first(arrays)[order]).all()

# Orientations

forms = {'JPEG': 'jpg', 'PNG': 'png', 'TIFF': 'tif', 'WEBP': 'webp'}

@pytest.mark.parametrize('form', forms)
@pytest.mark.parametrize('flag', range(10))
def test_orientations(flag, form, tmp_path):
    "All eight of EXIF, and two that are none, against Pillow's own"
    exif = Image.Exif()
    exif[0x0112] = flag
    how = dict(lossless=True) if form == 'WEBP' else {}
    folder = tmp_path/'f'
    folder.mkdir()
    path = folder/f'000.{forms[form]}'
    path.write_bytes(saved(Image.fromarray(pixels(1, 17, 31)[0]), form, exif=exif, **how))
    with Image.open(path) as im: want = np.asarray(ImageOps.exif_transpose(im).convert('RGB'))
    assert want.shape == ((31, 17, 3) if flag in (5, 6, 7, 8) else (17, 31, 3))
    images = load_folder(folder)
    assert images.image_size == (3, *want.shape[:2])
    assert (images.train[0].numpy() == want.transpose(2, 0, 1)).all()

def test_orientations_differ():
    "The eight of them give eight pictures, so that none can stand for another"
    seen = set()
    for flag in range(1, 9):
        im = Image.fromarray(pixels(1, 17, 31)[0])
        im.getexif()[0x0112] = flag
        turned = ImageOps.exif_transpose(im)
        seen.add((turned.size, turned.tobytes()))
    assert len(seen) == 8

def test_a_large_photograph_is_read_in_part(tmp_path):
    "A JPEG of which only every second pixel is decoded: still upright, and about as Pillow has it"
    exif = Image.Exif()
    exif[0x0112] = 6
    a = np.asarray(Image.fromarray(pixels(1, 30, 40)[0]).resize((400, 300)))
    (tmp_path/'f').mkdir()
    (tmp_path/'f'/'a.jpg').write_bytes(saved(Image.fromarray(a), 'JPEG', exif=exif, quality=95))
    got = load_folder(tmp_path/'f', (48, 32)).train[0].numpy().transpose(1, 2, 0)
    upright = Image.fromarray(np.rot90(a, -1).copy())
    want = np.asarray(ImageOps.fit(upright, (32, 48), Image.Resampling.BILINEAR))
    assert np.abs(want.astype(int) - got).max() < 6

# Arrays, tensors and lists

def layouts(arrays):
    "The same pictures in all ways in which people keep them"
    first = channels_first(arrays)
    ways = {'last': arrays, 'first': first, 'tensor': torch.from_numpy(first)}
    if arrays.shape[3] == 1:
        ways['without channels'] = arrays[..., 0]
    return ways

@pytest.mark.parametrize('h,w', [size for size in sizes if 1 not in size])
@pytest.mark.parametrize('c', [1, 3])
def test_arrays(c, h, w, tmp_path):
    arrays = pixels(11, h, w, c)
    want = as_rows(channels_first(arrays))
    for name,a in layouts(arrays).items():
        sources = [a]
        if name != 'tensor':
            np.savez(tmp_path/f'{name}.npz', x=a)
            np.save(tmp_path/f'{name}.npy', a)
            sources += [tmp_path/f'{name}.npz', tmp_path/f'{name}.npy']
        for source in sources:
            images = load_images(source)
            assert images.image_size == (c, h, w), name
            assert as_rows(torch.cat([images.train, images.test]).numpy()) == want, name

@pytest.mark.parametrize('dtype,high', [(np.uint16, 65536), (np.float32, 1), (np.float64, 1)])
def test_arrays_of_other_numbers(dtype, high):
    rng = np.random.default_rng(0)
    a = (rng.random((11, 17, 31, 3))*(high - (high > 1))).astype(dtype)
    a[0, 0, 0, 0], a[0, 0, 0, 1] = 0, high - (high > 1)
    want = channels_first(np.round(a.astype(float)/a.max()*255).astype(np.uint8))
    images = load_images(a)
    assert as_rows(torch.cat([images.train, images.test]).numpy()) == as_rows(want)

def test_lists_of_pictures():
    arrays = pixels(11, 17, 31)
    want = channels_first(arrays)
    for items in ([Image.fromarray(a) for a in arrays], [*arrays], [*torch.from_numpy(want)],
                  [(a, i) for i,a in enumerate(arrays)]):
        images = load_images(items, (17, 31))
        assert as_rows(torch.cat([images.train, images.test]).numpy()) == as_rows(want)

# From there to a model

def test_batches_and_a_model(tmp_path, monkeypatch):
    "What comes out of files is what goes into a model, in training and afterwards"
    arrays = pixels(24, 12, 16)
    images = load_folder(write(tmp_path/'f', arrays))
    order, x = places(images)
    n = len(images.train)
    for part,rows in ((images.train, x[:n]), (images.test, x[n:])):
        batches = torch.cat([*Batches(part, 5, shuffle=False)])
        assert torch.equal(batches, torch.from_numpy(rows)/255)
    shuffled = torch.cat([*Batches(images.train, 5)])
    assert as_rows((shuffled*255).round().byte().numpy()) == as_rows(x[:n])
    model = ConvVAE(images.image_size, 2, (4, 8))
    seen = []
    real = model.encoder.forward
    def noted(x, *args, **kwargs):
        seen.append(x.detach().clone())
        return real(x, *args, **kwargs)
    monkeypatch.setattr(model.encoder, 'forward', noted)
    fit(model, images, epochs=1, batch_size=5, device='cpu')
    assert {tuple(s.shape[1:]) for s in seen} == {(3, 12, 16)}
    rows = {a.tobytes() for s in seen for a in (s*255).round().byte().numpy()}
    assert rows == {a.tobytes() for a in x}
    files = [tmp_path/'f'/f'{i:03}.png' for i in range(5)]
    for source in (arrays[:5], files, [Image.open(f) for f in files]):
        batch = batch_for(model, source)
        assert torch.equal(batch, torch.from_numpy(channels_first(arrays[:5]))/255)
    assert model(batch).p.mean.shape == (5, 3, 12, 16)

def test_a_preview_shows_them_as_they_are():
    arrays = pixels(10, 12, 16)
    x = torch.from_numpy(channels_first(arrays))
    shown = np.asarray(Images('some', x, x[:0]).preview())
    for i,a in enumerate(arrays):
        top, left = 2 + i//8*(12 + 2), 2 + i%8*(16 + 2)
        assert (shown[top:top + 12, left:left + 16] == a).all()

@pytest.mark.parametrize('size', [(24, 32), (6, 8), (12, 40), (30, 16)])
def test_images_brought_to_a_models_size(size):
    "About as Pillow does it, which rounds otherwise in between"
    smooth = [np.asarray(Image.fromarray(a).resize((16, 12), Image.Resampling.BICUBIC))
              for a in pixels(6, 3, 4)]
    x = torch.from_numpy(channels_first(np.stack(smooth)))
    got = fitted(Images('some', x, x[:0]), size).train
    assert got.shape == (6, 3, *size)
    for a,b in zip(smooth, got.numpy(), strict=True):
        want = ImageOps.fit(Image.fromarray(a), size[::-1], Image.Resampling.BILINEAR)
        off = np.abs(np.asarray(want).astype(int) - b.transpose(1, 2, 0))
        assert off.mean() < 6, off.mean()
    grey = fitted(Images('some', x, x[:0]), channels=1).train.numpy()
    for a,b in zip(smooth, grey, strict=True):
        want = np.asarray(Image.fromarray(a).convert('L')).astype(int)
        assert np.abs(want - b[0]).max() <= 1
