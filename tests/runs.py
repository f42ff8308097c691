"What tests of training share: a small data set, a small run, and what a run leaves behind"
import csv
import os
import sys
from pathlib import Path

import torch

from convvae.data import Images, load_digits_32
from convvae.model import ConvVAE
from convvae.train import fit

bin = Path(sys.executable).parent
small = '--latent_dim 4 --channels 8,16 --device cpu'
one_thread = {**os.environ, 'OMP_NUM_THREADS': '1'}

def digits(n=160):
    "A few of them"
    images = load_digits_32()
    return Images('digits', images.train[:n], images.test[:40])

def small_model(images, **kwargs):
    "Always the same weights"
    torch.manual_seed(0)
    return ConvVAE(images.image_size, 4, (8, 16), **kwargs)

def train(out, images, epochs=12, **kwargs):
    "A run of five steps an epoch, saved after each step, gone on with where there is one"
    how = dict(batch_size=32, resume=True, device='cpu', ema=0.9, save_minutes=0)
    fit(small_model(images, prior='vamp'), images, epochs=epochs, out=out, **how, **kwargs)

def rows_of(path):
    "The rows of history.csv: epochs, and what was measured, without how long it took"
    timing = ('seconds', 'images_per_second')
    rows = csv.DictReader(path.read_text().splitlines())
    return [{k: v for k,v in row.items() if k not in timing} for row in rows]
