"What the commands beside this file share: the sizes, the images, and the end of a slice"
import _thread
import signal
import threading
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch

from convvae.data import Images, load_images
from convvae.loss import linear_warmup
from convvae.model import ConvVAE

here = Path(__file__).resolve().parent
runs = here.parent.parent/'runs'/'mnist_record'

# For each size: the data, what `ConvVAE` is given, and what `fit` is given. Change them here
sizes = dict(
    # Fifteen minutes on one H100: twice the width and depth of what two cores can pay for, at the full resolution of 14 x 14
    gpu=dict(data='mnist',
             model=dict(latent_dim=40, channels=(64, 128, 256), stem=2, block='residual', prior='realnvp'),
             fit=dict(max_seconds=900, batch_size=512, lr=2e-3, ema=0.9995, precision='bf16', compile=True, save_minutes=1)),
    # One hour on two cores
    cpu=dict(data='mnist',
             model=dict(latent_dim=32, channels=(64, 128), block='residual', prior='realnvp'),
             fit=dict(max_seconds=3600, batch_size=128, lr=2e-3, ema=0.999, device='cpu', save_minutes=1)),
    # Seconds, on the digits that come with scikit-learn: for tests. Epochs do not depend on the clock
    tiny=dict(data='digits',
              model=dict(latent_dim=4, channels=(8, 16), block='residual', prior='realnvp'),
              fit=dict(epochs=3, batch_size=256, lr=4e-3, ema=0.9, device='cpu')),
)
warm_up = partial(linear_warmup, share=0.1)  # the weight on the rate, over the first tenth of the training

def size_named(
    name:str, # one of `sizes`
)->dict:
    "The settings of a size"
    if name not in sizes: raise ValueError(f'unknown size {name!r}: choose one of {", ".join(sizes)}')
    return sizes[name]

def images_for(
    data:str,       # a data set's name
    hold_out:int=0, # measure on the last so many training images, and do not train on them
)->Images:          # whose `test` are the images held out, perhaps none: never the test set, which is for `evaluate.py` alone
    "Training images, split once more for choices"
    images = load_images(data)
    n = len(images.train)
    if not 0 <= hold_out < n: raise ValueError(f'hold_out must be from 0 to {n - 1}, the training images less one, got {hold_out}')
    return Images(images.name, images.train[:n - hold_out], images.train[n - hold_out:])

def new_model(
    size:dict,         # one of `sizes`
    image_size:tuple,  # (C,H,W)
    seed:int=0,        # of the weights
)->ConvVAE:
    "A model with fresh weights"
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return ConvVAE(image_size, **size['model'])

@contextmanager
def time_slice(
    minutes:float, # how long
):                 # gives an Event that is set when the time is over
    "Interrupt what runs within, as Ctrl-C would, when the time is over: `fit` then saves after the step it is at"
    over = threading.Event()
    def ring():
        over.set()
        _thread.interrupt_main()
    timer = threading.Timer(60*minutes, ring)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background may have been told to ignore it
    timer.start()
    try: yield over
    except KeyboardInterrupt:
        if not over.is_set(): raise
    finally:
        timer.cancel()
        signal.signal(signal.SIGINT, before)
