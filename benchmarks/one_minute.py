"""Test -ELBO on MNIST against seconds of training: the default of convvae beside its peers

python benchmarks/one_minute.py [--only convvae,torch,keras,pythae] [--seconds 5,10,15,20,30,60]
                                [--add] [--limit 420]

On two cores. 16 latents, one Bernoulli per pixel; in training binarised afresh for each batch;
tested on all 10,000 test images, binarised once and for all, with one latent for each. Start-up,
compilation, the first step and the tests are not counted. Each point of convvae's curve is a
training of its own, since its schedule fits itself to the time it is given: --seconds, and with
--add the points there are stay. Peers train on until they have had 60 seconds and passed 100 nats,
or the limit. The result goes to one_minute.json, system by system.
"""
import argparse
import csv
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from datetime import date
from importlib.metadata import version
from pathlib import Path

import numpy as np

here = Path(__file__).resolve().parent
result = here/'one_minute.json'
Z = 16

def forever(batches):
    "Batch after batch, epoch after epoch"
    while True:
        yield from batches

# A peer: its name, its settings in words, `step()`, which learns from a batch and gives its size,
# and `nats(x)`, the mean of a batch of images

def torch_step(batches, optimizer, loss):
    "A training step as everyone writes it"
    def step():
        x = next(batches)[0].bernoulli()
        optimizer.zero_grad()
        loss(x).backward()
        optimizer.step()
        return len(x)
    return step

def torch_peer(train):
    "The loop that most people would write"
    import torch
    import torch.nn.functional as F
    from torch import nn
    from torch.utils.data import DataLoader
    from torchvision.datasets import MNIST
    from torchvision.transforms import ToTensor

    from convvae.data import data_root
    encoder = nn.Sequential(nn.Conv2d(1, 32, 3, 2, 1), nn.ReLU(),
                            nn.Conv2d(32, 64, 3, 2, 1), nn.ReLU(),
                            nn.Flatten(), nn.Linear(64*7*7, 2*Z))
    decoder = nn.Sequential(nn.Linear(Z, 64*7*7), nn.ReLU(), nn.Unflatten(1, (64, 7, 7)),
                            nn.ConvTranspose2d(64, 32, 3, 2, 1, 1), nn.ReLU(),
                            nn.ConvTranspose2d(32, 1, 3, 2, 1, 1))

    def loss(x):
        mu,logvar = encoder(x).chunk(2, 1)
        logits = decoder(mu + (0.5*logvar).exp()*torch.randn_like(mu))
        D = F.binary_cross_entropy_with_logits(logits, x, reduction='sum')
        return (D + 0.5*(mu**2 + logvar.exp() - logvar - 1).sum())/len(x)

    @torch.no_grad()
    def nats(x): return loss(torch.from_numpy(x)[:, None]).item()

    batches = forever(DataLoader(MNIST(data_root(), transform=ToTensor()), 128, shuffle=True))
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=1e-3)
    words = ('MNIST, ToTensor and a DataLoader without workers; 3 x 3 convolutions of stride 2 '
             'to 32 and 64 channels, mirrored; Adam 1e-3, batch 128')
    return f'PyTorch {version("torch")}', words, torch_step(batches, optimizer, loss), nats

def keras_networks():
    "Encoder and decoder of the tutorial"
    from keras import Input, Sequential, layers
    conv = dict(strides=2, activation='relu')
    encoder = Sequential([Input((28, 28, 1)),
                          layers.Conv2D(32, 3, **conv), layers.Conv2D(64, 3, **conv),
                          layers.Flatten(), layers.Dense(2*Z)])
    decoder = Sequential([Input((Z,)),
                          layers.Dense(7*7*32, activation='relu'), layers.Reshape((7, 7, 32)),
                          layers.Conv2DTranspose(64, 3, padding='same', **conv),
                          layers.Conv2DTranspose(32, 3, padding='same', **conv),
                          layers.Conv2DTranspose(1, 3, padding='same')])
    return encoder, decoder

def keras_peer(train):
    "https://www.tensorflow.org/tutorials/generative/cvae, but for latents and binarised pixels"
    import tensorflow as tf
    from keras import optimizers
    encoder,decoder = keras_networks()
    optimizer = optimizers.Adam(1e-4)
    weights = encoder.trainable_variables + decoder.trainable_variables

    def log_normal(z, mu, logvar):  # less log 2 pi, which falls out
        return -0.5*tf.reduce_sum((z - mu)**2*tf.exp(-logvar) + logvar, 1)

    @tf.function
    def loss(x):
        mu,logvar = tf.split(encoder(x), 2, 1)
        z = mu + tf.exp(0.5*logvar)*tf.random.normal(tf.shape(mu))
        D = tf.nn.sigmoid_cross_entropy_with_logits(logits=decoder(z), labels=x)
        D = tf.reduce_sum(D, [1, 2, 3])
        return tf.reduce_mean(D + log_normal(z, mu, logvar) - log_normal(z, 0., 0.))

    @tf.function
    def learn(x):
        x = tf.cast(tf.random.uniform(tf.shape(x)) < x, tf.float32)
        with tf.GradientTape() as tape:
            value = loss(x)
        optimizer.apply_gradients(zip(tape.gradient(value, weights), weights, strict=True))

    pixels = train[..., None].astype('float32')/255
    images = tf.data.Dataset.from_tensor_slices(pixels)
    batches = iter(images.shuffle(60_000).batch(32).repeat())

    def step():
        x = next(batches)
        learn(x)
        return len(x)

    def nats(x): return float(loss(tf.constant(x[..., None])))
    words = ("the TensorFlow tutorial's network and settings, compiled (tf.function): "
             'Adam 1e-4, batch 32')
    return f'Keras {version("keras")}, TensorFlow {tf.__version__}', words, step, nats

def pythae_peer(train):
    "Pythae's VAE for MNIST, with the settings it comes with"
    import torch
    from pythae.models import VAE, VAEConfig
    from pythae.models.nn.benchmarks.mnist import Decoder_Conv_AE_MNIST, Encoder_Conv_VAE_MNIST
    from pythae.trainers import BaseTrainerConfig
    from torch.utils.data import DataLoader, TensorDataset
    config = VAEConfig(input_dim=(1, 28, 28), latent_dim=Z, reconstruction_loss='bce')
    trainer = BaseTrainerConfig()
    model = VAE(config, Encoder_Conv_VAE_MNIST(config), Decoder_Conv_AE_MNIST(config)).train()
    lr,batch_size = trainer.learning_rate,trainer.per_device_train_batch_size
    images = TensorDataset(torch.from_numpy(train)[:, None].float()/255)
    batches = forever(DataLoader(images, batch_size, shuffle=True))
    optimizer = getattr(torch.optim, trainer.optimizer_cls)(model.parameters(), lr=lr)

    def loss(x): return model(dict(data=x)).loss

    @torch.no_grad()
    def nats(x):
        model.eval()
        value = loss(torch.from_numpy(x)[:, None]).item()
        model.train()
        return value
    words = (f'Encoder_Conv_VAE_MNIST and Decoder_Conv_AE_MNIST; {trainer.optimizer_cls} {lr:g}, '
             f'batch {batch_size}, the defaults of its trainer')
    title = f'Pythae {version("pythae")}, PyTorch {version("torch")}'
    return title, words, torch_step(batches, optimizer, loss), nats

peers = dict(torch=torch_peer, keras=keras_peer, pythae=pythae_peer)
tested_at = (5, 10, 15, 20, 30, 60, 90, 120, 180, 240, 300, 420)  # seconds, for a peer

def seconds_to(nats, seconds, values):
    "When a curve falls below so many nats, between its points; None if it never does"
    below = np.flatnonzero(values < nats)
    if not len(below):
        return None
    i = below[0]
    if i == 0:
        return float(seconds[0])
    return float(np.interp(-nats, -values[[i - 1, i]], seconds[[i - 1, i]]))

def summary(curve, **about):
    "What is kept of a system; its curve has rows [seconds, -ELBO, standard error, images seen]"
    seconds,nats,_,seen = (np.array(column) for column in zip(*curve, strict=True))
    after_60 = float(np.interp(60, seconds, nats)) if seconds[-1] >= 60 else None
    return dict(about, curve=curve, images_per_second=float(seen[-1]/seconds[-1]),
                after_60=after_60, to_100=seconds_to(100, seconds, nats),
                measured=str(date.today()))

def run_peer(name, folder, limit):
    "Train one peer in this process, and print its summary"
    data = np.load(f'{folder}/mnist.npz')
    tests = np.split(data['test'].astype('float32'), 100)
    title,words,step,nats = peers[name](data['train'])
    step()
    clock,seen,curve = 0.,0,[]
    for t in [t for t in tested_at if t < limit] + [limit]:
        while clock < t:
            begin = time.perf_counter()
            seen += step()
            clock += time.perf_counter() - begin
        values = np.array([nats(x) for x in tests])
        curve.append([round(clock, 2), values.mean(), values.std()/len(values)**0.5, seen])
        print(f'{name}: {clock:.1f} s, {values.mean():.2f} nats, {seen:,} images', file=sys.stderr)
        if t >= 60 and values.mean() < 100:
            break
    print(json.dumps(summary(curve, title=title, settings=words)))

def convvae_point(run, options):
    "A training of its own and its evaluation: [-ELBO, standard error, images seen]"
    quiet = os.environ | dict(TQDM_DISABLE='1')
    evaluation = ['convvae_evaluate', '--run', run, '--k', '1']
    for command,*arguments in (['convvae_train', *options, '--out', run], evaluation):
        program = Path(sys.executable).with_name(command)
        subprocess.run([program, *arguments], check=True, stdout=subprocess.DEVNULL, env=quiet)
    with (run/'history.csv').open() as f:
        rows = list(csv.DictReader(f))
    seen = sum(float(r['seconds'])*float(r['images_per_second']) for r in rows)
    metrics = json.loads((run/'metrics.json').read_text())
    return [-metrics['elbo'], metrics['stderr'], round(seen)]

def run_convvae(folder, seconds, curve):
    "Train the package's default for each of these times; `curve` has the points that stay"
    run = Path(folder)/'run'
    points = {row[0]: row for row in curve}
    defaults = f'--data mnist --binarize --latent_dim {Z} --max_seconds'
    for t in seconds:
        options = [*defaults.split(), f'{t:g}', '--overwrite']
        nats,error,seen = convvae_point(run, options)
        points[t] = [t, nats, error, seen]
        print(f'convvae: {t:g} s, {nats:.2f} nats, {seen:,} images', file=sys.stderr)
    plan = json.loads((run/'run.json').read_text())
    words = (f'convvae_train {defaults.removesuffix(" --max_seconds")} and its defaults: '
             f'channels {plan["channels"]}, one-cycle Adam up to {plan["lr"]:g}, '
             f'batch {plan["batch_size"]}; each point a training of so many seconds')
    title = f'convvae {version("convvae")}, PyTorch {version("torch")}'
    return summary([points[t] for t in sorted(points)], title=title, settings=words)

def cpu():
    "The processor's name"
    info = Path('/proc/cpuinfo')
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(': ')[1].strip() for line in lines if 'model name' in line]
    return (names or [platform.processor()])[0]

def machine():
    "On which it was measured, and when"
    return dict(cpu=cpu(), threads=2, python=platform.python_version(), system=platform.platform(),
                date=str(date.today()))

def text_of(value, unit=''):
    "A number in a table, or a dash where there is none"
    return '-' if value is None else f'{value:,.1f}{unit}'

def table(systems):
    "A line for each system"
    times = [s['to_100'] for name,s in systems.items() if name != 'convvae' and s['to_100']]
    best = min(times, default=None)
    print(f'{"":<10}{"images/s":>10}{"nats, 60 s":>12}{"to 100 nats":>13}{"best peer":>11}')
    for name,s in systems.items():
        to_100 = text_of(s['to_100'], ' s') if s['to_100'] else f'> {s["curve"][-1][0]:.0f} s'
        sooner = best/s['to_100'] if best and s['to_100'] else None
        print(f'{name:<10}{s["images_per_second"]:>10,.0f}{text_of(s["after_60"]):>12}'
              f'{to_100:>13}{text_of(sooner, " x"):>11}')
    print('The last column: how many times sooner than the best peer 100 nats are passed')

def measure(name, folder, options, old):
    "The summary of one system; `old` is the one there was, or None"
    if name == 'convvae':
        kept = old['curve'] if options.add and old else []
        return run_convvae(folder, [float(t) for t in options.seconds.split(',')], kept)
    python = sys.executable if name == 'torch' else options.peers/'bin/python'
    command = [python, __file__, '--peer', name, folder, '--limit', str(options.limit)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])

def main(options):
    "One system after the other, each written down when it is done"
    from convvae.data import binarized, load_images
    if hasattr(os, 'sched_setaffinity'):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    os.environ |= dict(OMP_NUM_THREADS='2', TF_NUM_INTRAOP_THREADS='2', CUDA_VISIBLE_DEVICES='',
                       TF_NUM_INTEROP_THREADS='2', TF_CPP_MIN_LOG_LEVEL='2')
    images = load_images('mnist')
    with tempfile.TemporaryDirectory() as folder:
        np.savez(f'{folder}/mnist.npz', train=images.train[:, 0].numpy(),
                 test=(binarized(images.test)[:, 0] > 0).numpy())
        for name in options.only.split(','):
            there = options.out.exists()
            systems = json.loads(options.out.read_text())['systems'] if there else {}
            systems[name] = measure(name, folder, options, systems.get(name))
            text = json.dumps(dict(machine=machine(), systems=systems), indent=1)
            options.out.write_text(text + '\n')
    table(json.loads(options.out.read_text())['systems'])

def parser():
    "The options of the command"
    raw = argparse.RawDescriptionHelpFormatter
    p = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    p.add_argument('--only', default='convvae,torch,keras,pythae', help='systems, with commas')
    p.add_argument('--seconds', default='5,10,15,20,30,60', help="the points of convvae's curve")
    p.add_argument('--add', action='store_true', help='keep the points of that curve')
    p.add_argument('--limit', type=float, default=420, help='seconds until a peer is stopped')
    p.add_argument('--peers', type=Path, default=here.parent/'.venv-peers',
                   help='the environment with Keras and Pythae')
    p.add_argument('--out', type=Path, default=result)
    p.add_argument('--peer', nargs=2, help=argparse.SUPPRESS)  # in a process of its own
    return p

if __name__ == '__main__':
    options = parser().parse_args()
    if options.peer:
        run_peer(*options.peer, options.limit)
    else:
        main(options)
