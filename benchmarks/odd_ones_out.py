"""AUROC of `convvae.measures.score` beside baselines and -ELBO, on sets with known odd ones

python benchmarks/odd_ones_out.py [--only elpv,eight,...] [--seeds 0,1] [--elpv FOLDER]
                                  [--latent 4,8,8]

Each set trains one model, for at most about three minutes on one core, calibrates on 200 held-out
good images and measures on others. MNIST is read from CONVVAE_DATA; the solar cells from the
package elpv-dataset (pip install elpv-dataset; CC BY-NC-SA, so neither they nor pictures of them
lie here), or from the folder with its labels.csv. The result goes to odd_ones_out.json; that of
latents that keep their place (--latent) to odd_ones_out_places.json, for the same epochs.
"""
import argparse
import json
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from convvae.data import Images, load_images
from convvae.loss import elbo
from convvae.measures.oddness import heat_maps
from convvae.measures.score import score
from convvae.measures.verdict import auroc
from convvae.model import ConvVAE
from convvae.randomness import generator, seeded
from convvae.train import fit

here = Path(__file__).resolve().parent
kept = 200  # held-out good images to calibrate on

def shuffled(x, *name):
    "The same images in an order that follows from a name"
    return x[torch.randperm(len(x), generator=generator(*name))]

def elpv(folder=None, side=64):
    "Solar cells: bytes (N,1,side,side), and the probability of a defect (N,)"
    if folder is None:
        if find_spec('elpv_dataset') is None:
            raise SystemExit('pip install elpv-dataset, or name its data with --elpv FOLDER')
        folder = Path(find_spec('elpv_dataset').origin).parent/'data'
    kinds = dict(dtype=['|S19', '<f8', '|S4'], names=['path', 'probability', 'type'])
    rows = np.genfromtxt(Path(folder)/'labels.csv', **kinds)
    def cell(name):
        im = Image.open(Path(folder)/name.decode()).convert('L')
        return np.asarray(im.resize((side, side), Image.Resampling.LANCZOS))
    x = np.stack([cell(name) for name in rows['path']])
    return torch.from_numpy(x)[:, None], torch.from_numpy(rows['probability'].copy())

def planted(x, seed, black=False):
    "Images with one defect each, a crack or a spot, dark or bright; bright where all is black"
    rng = np.random.default_rng(seed)
    h,w = x.shape[2:]
    i,j = np.mgrid[:h, :w]
    out,masks = x.float()/255,[]
    for k in range(len(x)):
        a,b = rng.uniform(0.15, 0.85, 2)*(h, w)
        if rng.random() < 0.5:      # a crack: a line, one or two pixels wide
            angle,length = rng.uniform(0, np.pi),rng.uniform(0.2, 0.5)*h
            along = (i - a)*np.sin(angle) + (j - b)*np.cos(angle)
            across = (i - a)*np.cos(angle) - (j - b)*np.sin(angle)
            mask = (abs(along) < length/2) & (abs(across) < rng.uniform(0.7, 1.2)*h/64)
        else:                       # a spot
            mask = (i - a)**2 + (j - b)**2 < (rng.uniform(0.03, 0.08)*h)**2
        strength = rng.uniform(0.25, 0.5)*rng.choice((-1, 1))
        if black and out[k][:, mask].max() < 0.1:
            strength = abs(strength)
        out[k] = (out[k] + strength*torch.from_numpy(mask)).clamp(0, 1)
        masks.append(mask)
    return (out*255).round().byte(), np.stack(masks)

def trained(train, test, seed, latent, **kwargs):
    "A model, of latents that keep their place where a shape is given, and how long it took"
    if latent is not None:
        kwargs = kwargs | dict(latent=latent, latent_dim=None)
    names = ('epochs', 'batch_size', 'lr')
    how = {name: kwargs.pop(name) for name in names if name in kwargs}
    with seeded(seed):
        model = ConvVAE(train.shape[1:], **kwargs)
    begin = time.perf_counter()
    fit(model, Images('good', train, test), seed=seed, device='cpu', **how)
    return model, round(time.perf_counter() - begin)

def measured(name, model, good, usual, strange, **more):
    "A row of the table: usual images and strange ones"
    new = torch.cat([usual, strange])
    odd = torch.arange(len(new)) >= len(usual)
    s = score(model, new, good, odd=odd)
    with torch.no_grad(), seeded(0):
        nats = torch.cat([elbo(model(x.float()/255), x.float()/255) for x in new.split(200)])
    aurocs = s.aurocs | {'-ELBO': auroc(-nats, odd)}
    row = dict(set=name, good=len(usual), odd=len(strange), auroc=aurocs,
               false_alarms=s.false_alarms, verdict=s.verdict, **more)
    print(json.dumps(row), flush=True)
    return row

def with_good(train, held_out):
    "The images that a model learned from, and those that calibrate"
    return Images('good', train, held_out)

def solar(seed, folder, latent):
    "Cells without a defect (probability 0) against those with one (1), and planted ones"
    x,p = elpv(folder)
    good = shuffled(x[p == 0], 'elpv', seed)
    train,held_out,usual = good[:1008],good[1008:1008 + kept],good[1008 + kept:]
    model,seconds = trained(train, held_out, seed, latent, latent_dim=32, likelihood='gaussian')
    how = dict(seed=seed, seconds=seconds, train=len(train))
    good = with_good(train, held_out)
    rows = [measured('elpv', model, good, usual, x[p == 1], **how)]
    half = len(usual)//2
    marked,masks = planted(usual[half:], seed)
    heat = heat_maps(model, marked).numpy()
    pixels = auroc(heat.flatten(), masks.flatten())
    return [*rows, measured('elpv planted', model, good, usual[:half], marked, pixel=pixels, **how)]

def digits(seed, keep, name, latent, step=1, **how):
    "A model of some classes of MNIST; the others are odd"
    mnist = load_images('mnist')
    known = torch.isin(mnist.train_labels, torch.tensor(keep))
    train = shuffled(mnist.train[known], name, seed)[::step]
    train,held_out = train[:-kept],train[-kept:]
    model,seconds = trained(train, held_out, seed, latent, latent_dim=16, **how)
    known = torch.isin(mnist.test_labels, torch.tensor(keep))
    usual,strange = (shuffled(mnist.test[mask], name, seed)[:1000] for mask in (known, ~known))
    told = dict(seed=seed, seconds=seconds, train=len(train))
    return model, with_good(train, held_out), usual, strange, told

def eight(seed, _, latent):
    "Eights against all other digits"
    model,good,usual,strange,told = digits(seed, [8], 'one class 8', latent)
    return [measured('one class 8', model, good, usual, strange, **told)]

def left_out(seed, digit, latent):
    "All digits but one against that one"
    keep = [d for d in range(10) if d != digit]
    model,good,usual,strange,told = digits(seed, keep, f'left out {digit}', latent, 2, epochs=12)
    return [measured(f'left out {digit}', model, good, usual, strange, **told)]

def unlike(seed, _, latent):
    "All digits against black images, noise, inverted digits, and digits at half contrast"
    model,good,usual,_,told = digits(seed, list(range(10)), 'MNIST', latent, 2, epochs=12)
    usual,rest = usual[:500],usual[500:]
    noise = torch.randint(0, 256, rest.shape, generator=generator('noise', seed)).byte()
    sets = {'black': torch.zeros_like(rest), 'noise': noise, 'inverted': 255 - rest,
            'half contrast': rest//2}
    return [measured(f'MNIST against {name}', model, good, usual, x, **told)
            for name,x in sets.items()]

def shapes(seed, _, latent):
    "Sprites: squares and ellipses against hearts, and against some with a planted defect"
    sprites = load_images('sprites')
    x,factors = sprites.train,sprites.train_factors
    heart = sprites.factors.index('shape')
    hearts = x[factors[:, heart] == 2]
    good = shuffled(x[factors[:, heart] != 2], 'sprites', seed)[:8000 + kept + 1000]
    train,held_out,usual = good[:8000],good[8000:8000 + kept],good[8000 + kept:]
    model,seconds = trained(train, held_out, seed, latent, latent_dim=16)
    how = dict(seed=seed, seconds=seconds, train=len(train))
    good = with_good(train, held_out)
    marked,masks = planted(usual[500:], seed, black=True)
    pixels = auroc(heat_maps(model, marked).numpy().flatten(), masks.flatten())
    return [measured('sprites against hearts', model, good, usual[:500], hearts[:500], **how),
            measured('sprites planted', model, good, usual[:500], marked, pixel=pixels, **how)]

sets = dict(elpv=solar, eight=eight, left_out_1=lambda seed, _, latent: left_out(seed, 1, latent),
            left_out_4=lambda seed, _, latent: left_out(seed, 4, latent), unlike=unlike,
            sprites=shapes)

def shape(text):
    "c,h,w as a tuple"
    return tuple(int(side) for side in text.split(','))

if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--only', default=','.join(sets))
    parser.add_argument('--seeds', default='0,1')
    parser.add_argument('--elpv', help='folder with labels.csv of elpv-dataset')
    parser.add_argument('--latent', type=shape, help='c,h,w: latents that keep their place')
    parser.add_argument('--out', type=Path, help='odd_ones_out.json, or odd_ones_out_places.json')
    args = parser.parse_args()
    if args.out is None:
        args.out = here/f'odd_ones_out{"" if args.latent is None else "_places"}.json'
    names,seeds = args.only.split(','),[int(s) for s in args.seeds.split(',')]
    rows = json.loads(args.out.read_text()) if args.out.exists() else []
    for name in names:
        for seed in seeds:
            new = sets[name](seed, args.elpv, args.latent)
            if args.latent is not None:
                new = [row | dict(latent=args.latent) for row in new]
            again = {(row['set'], row['seed']) for row in new}
            rows = [row for row in rows if (row['set'], row['seed']) not in again] + new
            args.out.write_text(json.dumps(rows, indent=1))
