"What is random in batches is random: means over many draws, extremes that occur, seeds that differ"
import numpy as np
import pytest
import torch
from PIL import Image

from convvae.data import Batches, binarized, images_for, load_images
from convvae.model import ConvVAE
from convvae.sources.images import recoloured
from pictures import own_cache  # noqa: F401

shades = torch.tensor([0, 20, 64, 127, 128, 200, 255], dtype=torch.uint8)

def close_to(shares, wanted, n):
    "Within five standard errors of shares of n draws; exact where there is no chance"
    error = (wanted*(1 - wanted)/n).sqrt()
    assert ((shares - wanted).abs() <= 5*error).all(), (shares, wanted)

def passes(images, epochs=1, **how):
    "The images of so many epochs, (epochs,N,C,H,W)"
    batches = Batches(images, **how)
    return torch.stack([torch.cat([*batches]) for _ in range(epochs)])

def test_a_fixed_binarisation_draws_each_pixel_by_its_shade():
    "A threshold would have made 0 or 1 of every share; MNIST would be easier by 14 nats"
    images = shades.expand(1500, 1, 2, -1).contiguous()
    draws = binarized(images, 3)
    assert set(draws.unique().tolist()) == {0, 255}
    close_to((draws == 255).double().mean((0, 1, 2)), shades.double()/255, 3000)
    one = torch.full((1, 1, 1, 1), 128, dtype=torch.uint8)
    over_seeds = torch.cat([binarized(one, seed) for seed in range(400)])
    close_to((over_seeds == 255).double().mean(), torch.tensor(128/255), 400)

def test_pixels_of_a_fixed_binarisation_are_drawn_each_for_itself():
    images = torch.full((2000, 1, 1, 2), 128, dtype=torch.uint8)
    a,b = (binarized(images) == 255)[:, 0, 0].T
    for both in (a & b, a & ~b, ~a & b, ~a & ~b):
        close_to(both.double().mean(), torch.tensor(0.25), 2000)
    assert torch.equal(binarized(images, 1), binarized(images, 1))
    assert not torch.equal(binarized(images, 1), binarized(images, 2))

def test_binarisation_in_training_draws_each_pixel_by_its_shade_anew():
    images = shades.expand(8, 1, 1, -1).contiguous()
    x = passes(images, 400, batch_size=3, shuffle=False, binarize=True)
    assert set(x.unique().tolist()) == {0., 1.}
    close_to(x.double().mean((0, 1, 2, 3)), shades.double()/255, 3200)
    close_to(x.double().mean(0)[:, 0, 0, 3], torch.full((8,), 127/255).double(), 400)

def grey(n): return torch.full((n, 1, 6, 6), 128, dtype=torch.uint8)

@pytest.mark.parametrize('how', [dict(binarize=True), dict(crop=2), dict(flip=True)])
def test_chance_differs_between_epochs_steps_and_seeds(how):
    "Eight batches of images that are all alike, in two epochs and with two seeds"
    ramp = torch.arange(36, dtype=torch.uint8).view(1, 1, 6, 6).expand(64, -1, -1, -1).contiguous()
    images = grey(64) if 'binarize' in how else ramp
    drawn = [x for seed in (0, 1)
             for epoch in passes(images, 2, batch_size=16, shuffle=False, seed=seed, **how)
             for x in epoch.split(16)]
    for i,a in enumerate(drawn):
        for b in drawn[:i]: assert not torch.equal(a, b)
    again = passes(images, 2, batch_size=16, shuffle=False, seed=1, **how)
    assert torch.equal(torch.cat(drawn[8:]), again.flatten(0, 1))

def test_order_differs_between_epochs_and_seeds():
    images = torch.arange(60, dtype=torch.uint8).view(60, 1, 1, 1)
    orders = [epoch.flatten() for seed in (0, 1) for epoch in passes(images, 2, seed=seed)]
    for i,a in enumerate(orders):
        assert torch.equal(a.sort().values, images.flatten()/255)
        for b in orders[:i]: assert not torch.equal(a, b)

def place_of(x):
    "Where the one white pixel of each image lies: rows, columns"
    return x.flatten(1).argmax(1)//x.shape[3], x.flatten(1).argmax(1) % x.shape[3]

def test_every_shift_occurs_in_both_directions_each_for_itself():
    "Up to the last pixel, and no further"
    image = torch.zeros(2000, 1, 9, 11, dtype=torch.uint8)
    image[:, 0, 4, 5] = 255
    x = passes(image, batch_size=500, shuffle=False, crop=2)[0]
    rows,cols = place_of(x)
    pairs = torch.stack([rows - 4, cols - 5], 1)
    counts = {tuple(p): int((pairs == torch.tensor(p)).all(1).sum())
              for p in pairs.unique(dim=0).tolist()}
    assert counts.keys() == {(i, j) for i in range(-2, 3) for j in range(-2, 3)}
    close_to(torch.tensor([*counts.values()])/2000, torch.full((25,), 1/25), 2000)

def test_half_of_the_images_are_mirrored_left_to_right():
    image = torch.zeros(2000, 1, 3, 5, dtype=torch.uint8)
    image[:, 0, 0, 1] = 255
    rows,cols = place_of(passes(image, batch_size=500, shuffle=False, flip=True)[0])
    assert set(rows.tolist()) == {0} and set(cols.tolist()) == {1, 3}
    close_to((cols == 3).double().mean(), torch.tensor(0.5), 2000)

def test_what_comes_in_repeats_the_edge():
    image = torch.arange(20, dtype=torch.uint8).view(1, 1, 4, 5).repeat(200, 1, 1, 1)
    padded = torch.nn.functional.pad(image[:1].float(), (1, 1, 1, 1), mode='replicate')
    wanted = {tuple((padded[0, 0, i:i + 4, j:j + 5]/255).flatten().tolist())
              for i in range(3) for j in range(3)}
    x = passes(image, shuffle=False, crop=1)[0]
    assert {tuple(im.flatten().tolist()) for im in x} == wanted

def test_labels_stay_with_their_images():
    images = torch.arange(30, dtype=torch.uint8).view(30, 1, 1, 1)
    for x,y in Batches(images, 7, labels=torch.arange(30), seed=2):
        assert torch.equal((x.flatten()*255).round().long(), y)

@pytest.mark.parametrize('name', ['digits', 'sprites'])
def test_size_and_channels_are_those_asked_for(name):
    assert load_images(name, channels=3).image_size[0] == 3
    assert load_images(name, (20, 24), channels=1).image_size == (1, 20, 24)

def test_new_images_are_shown_to_a_model_as_its_own_were(tmp_path):
    "On the background and in the range that it was trained with"
    Image.new('LA', (8, 8), (255, 0)).save(tmp_path/'clear.png')
    deep = torch.full((3, 8, 8), 500, dtype=torch.int32).numpy()
    for background,value_range in (('black', (0, 1000)), ('white', (400, 600))):
        about = dict(background=background, value_range=value_range)
        model = ConvVAE((1, 8, 8), 2, (4,), trained_on=about)
        shade = 0 if background == 'black' else 255
        assert (images_for(model, tmp_path).test == shade).all()
        middle = images_for(model, deep).test
        assert ((middle == 127) | (middle == 128)).all()

def test_grey_is_what_pillow_makes_of_colour():
    "All three channels, each by its weight"
    x = torch.randint(0, 256, (3, 3, 9, 14), dtype=torch.uint8,
                      generator=torch.Generator().manual_seed(0))
    for image,grey in zip(x, recoloured(x, 1), strict=True):
        wanted = Image.fromarray(image.permute(1, 2, 0).numpy()).convert('L')
        error = torch.from_numpy(np.array(wanted)).int() - grey[0].int()
        assert error.abs().max() <= 1
