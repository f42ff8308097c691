"""Test -ELBO on MNIST against seconds of training: the default of convvae beside its peers, on two cores

python benchmarks/one_minute.py [--only convvae,torch,keras,pythae] [--seconds 5,10,15,20,30,60] [--add] [--limit 420]

16 latents, one Bernoulli per pixel; in training binarised afresh for each batch; tested on all 10,000 test images, binarised once and for
all, with one latent for each. Start-up, compilation, the first step and the tests are not counted. Each point of convvae's curve is a
training of its own, since its schedule fits itself to the time it is given: --seconds, and with --add the points there are stay. Peers
train on until they have had 60 seconds and passed 100 nats, or the limit. The result goes to one_minute.json, system by system.
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
    while True: yield from batches

# A peer: its settings in words, `step()`, which learns from a batch and gives its size, and `nats(x)`, the mean of a batch of images

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
    import torch
    import torch.nn.functional as F
    from torch import nn
    from torch.utils.data import DataLoader
    from torchvision.datasets import MNIST
    from torchvision.transforms import ToTensor

    from convvae.data import data_root
    encoder = nn.Sequential(nn.Conv2d(1, 32, 3, 2, 1), nn.ReLU(), nn.Conv2d(32, 64, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(64*7*7, 2*Z))
    decoder = nn.Sequential(nn.Linear(Z, 64*7*7), nn.ReLU(), nn.Unflatten(1, (64, 7, 7)), nn.ConvTranspose2d(64, 32, 3, 2, 1, 1), nn.ReLU(),
                            nn.ConvTranspose2d(32, 1, 3, 2, 1, 1))
    def loss(x):
        mu,logvar = encoder(x).chunk(2, 1)
        logits = decoder(mu + (0.5*logvar).exp()*torch.randn_like(mu))
        return (F.binary_cross_entropy_with_logits(logits, x, reduction='sum') + 0.5*(mu**2 + logvar.exp() - logvar - 1).sum())/len(x)
    batches = forever(DataLoader(MNIST(data_root(), transform=ToTensor()), 128, shuffle=True))
    step = torch_step(batches, torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=1e-3), loss)
    words = 'MNIST, ToTensor and a DataLoader without workers; 3 x 3 convolutions of stride 2 to 32 and 64 channels, mirrored; Adam 1e-3, batch 128'
    return f'PyTorch {version("torch")}', words, step, torch.no_grad()(lambda x: loss(torch.from_numpy(x)[:, None]).item())

def keras_peer(train):
    "https://www.tensorflow.org/tutorials/generative/cvae, but for the number of latents and pixels binarised by chance"
    import tensorflow as tf
    from keras import Input, Sequential, layers, optimizers
    encoder = Sequential([Input((28, 28, 1)), layers.Conv2D(32, 3, strides=2, activation='relu'), layers.Conv2D(64, 3, strides=2, activation='relu'),
                          layers.Flatten(), layers.Dense(2*Z)])
    decoder = Sequential([Input((Z,)), layers.Dense(7*7*32, activation='relu'), layers.Reshape((7, 7, 32)),
                          layers.Conv2DTranspose(64, 3, strides=2, padding='same', activation='relu'),
                          layers.Conv2DTranspose(32, 3, strides=2, padding='same', activation='relu'), layers.Conv2DTranspose(1, 3, padding='same')])
    optimizer,weights = optimizers.Adam(1e-4),encoder.trainable_variables + decoder.trainable_variables
    log_normal = lambda z,mu,logvar: -0.5*tf.reduce_sum((z - mu)**2*tf.exp(-logvar) + logvar, 1)  # log 2 pi falls out
    @tf.function
    def loss(x):
        mu,logvar = tf.split(encoder(x), 2, 1)
        z = mu + tf.exp(0.5*logvar)*tf.random.normal(tf.shape(mu))
        D = tf.reduce_sum(tf.nn.sigmoid_cross_entropy_with_logits(logits=decoder(z), labels=x), [1, 2, 3])
        return tf.reduce_mean(D + log_normal(z, mu, logvar) - log_normal(z, 0., 0.))
    @tf.function
    def learn(x):
        with tf.GradientTape() as tape: value = loss(tf.cast(tf.random.uniform(tf.shape(x)) < x, tf.float32))
        optimizer.apply_gradients(zip(tape.gradient(value, weights), weights, strict=True))
    batches = iter(tf.data.Dataset.from_tensor_slices(train[..., None].astype('float32')/255).shuffle(60_000).batch(32).repeat())
    def step():
        x = next(batches)
        learn(x)
        return len(x)
    words = "the TensorFlow tutorial's network and settings, compiled (tf.function): Adam 1e-4, batch 32"
    return f'Keras {version("keras")}, TensorFlow {tf.__version__}', words, step, lambda x: float(loss(tf.constant(x[..., None])))

def pythae_peer(train):
    import torch
    from pythae.models import VAE, VAEConfig
    from pythae.models.nn.benchmarks.mnist import Decoder_Conv_AE_MNIST, Encoder_Conv_VAE_MNIST
    from pythae.trainers import BaseTrainerConfig
    from torch.utils.data import DataLoader, TensorDataset
    config,trainer = VAEConfig(input_dim=(1, 28, 28), latent_dim=Z, reconstruction_loss='bce'),BaseTrainerConfig()
    model = VAE(config, Encoder_Conv_VAE_MNIST(config), Decoder_Conv_AE_MNIST(config)).train()
    lr,batch_size = trainer.learning_rate,trainer.per_device_train_batch_size
    images = TensorDataset(torch.from_numpy(train)[:, None].float()/255)
    step = torch_step(forever(DataLoader(images, batch_size, shuffle=True)), getattr(torch.optim, trainer.optimizer_cls)(model.parameters(), lr=lr),
                      lambda x: model(dict(data=x)).loss)
    @torch.no_grad()
    def nats(x):
        value = model.eval()(dict(data=torch.from_numpy(x)[:, None])).loss.item()
        model.train()
        return value
    words = f'Encoder_Conv_VAE_MNIST and Decoder_Conv_AE_MNIST; {trainer.optimizer_cls} {lr:g}, batch {batch_size}, the defaults of its trainer'
    return f'Pythae {version("pythae")}, PyTorch {version("torch")}', words, step, nats

peers = dict(torch=torch_peer, keras=keras_peer, pythae=pythae_peer)
at = (5, 10, 15, 20, 30, 60, 90, 120, 180, 240, 300, 420)  # seconds at which a peer is tested

def summary(curve, **about):
    "What is kept of a system; its curve has rows [seconds, -ELBO, standard error, images seen]"
    seconds,nats,_,seen = (np.array(column) for column in zip(*curve, strict=True))
    passed = np.flatnonzero(nats < 100)
    i = passed[0] if len(passed) else None
    to_100 = None if i is None else float(np.interp(-100, -nats[[i - 1, i]], seconds[[i - 1, i]])) if i else float(seconds[0])
    after_60 = float(np.interp(60, seconds, nats)) if seconds[-1] >= 60 else None
    return dict(about, curve=curve, images_per_second=float(seen[-1]/seconds[-1]), after_60=after_60, to_100=to_100, measured=str(date.today()))

def run_peer(name, folder, limit):
    "Train one peer in this process, and print its summary"
    data = np.load(f'{folder}/mnist.npz')
    tests = np.split(data['test'].astype('float32'), 100)
    title,words,step,nats = peers[name](data['train'])
    step()
    clock,seen,curve = 0.,0,[]
    for t in [t for t in at if t < limit] + [limit]:
        while clock < t:
            begin = time.perf_counter()
            seen += step()
            clock += time.perf_counter() - begin
        values = np.array([nats(x) for x in tests])
        curve.append([round(clock, 2), values.mean(), values.std()/len(values)**0.5, seen])
        print(f'{name}: {clock:.1f} s, {values.mean():.2f} nats, {seen:,} images', file=sys.stderr)
        if t >= 60 and values.mean() < 100: break
    print(json.dumps(summary(curve, title=title, settings=words)))

def run_convvae(folder, seconds, curve):
    "Train the default of the package for each of these times; `curve` has the points that stay"
    curve,run = {row[0]: row for row in curve},Path(folder)/'run'
    for t in seconds:
        options = f'--data mnist --binarize --latent_dim {Z} --max_seconds {t:g} --overwrite --out'.split()
        for command,more in (('convvae_train', [*options, run]), ('convvae_evaluate', ['--run', run, '--k', '1'])):
            subprocess.run([Path(sys.executable).with_name(command), *more], check=True, stdout=subprocess.DEVNULL, env=os.environ | dict(TQDM_DISABLE='1'))
        with (run/'history.csv').open() as f: seen = sum(float(r['seconds'])*float(r['images_per_second']) for r in csv.DictReader(f))
        metrics,plan = (json.loads((run/name).read_text()) for name in ('metrics.json', 'run.json'))
        curve[t] = [t, -metrics['elbo'], metrics['stderr'], round(seen)]
        print(f'convvae: {t:g} s, {-metrics["elbo"]:.2f} nats, {seen:,.0f} images', file=sys.stderr)
    words = (f'convvae_train {" ".join(options[:-4])} and its defaults: channels {plan["channels"]}, one-cycle Adam up to {plan["lr"]:g}, '
             f'batch {plan["batch_size"]}; each point a training of so many seconds')
    return summary([curve[t] for t in sorted(curve)], title=f'convvae {version("convvae")}, PyTorch {version("torch")}', settings=words)

def cpu():
    "The processor's name"
    names = [o.split(': ')[1].strip() for o in Path('/proc/cpuinfo').read_text().splitlines() if 'model name' in o] if Path('/proc/cpuinfo').exists() else []
    return (names or [platform.processor()])[0]

def machine():
    return dict(cpu=cpu(), threads=2, python=platform.python_version(), system=platform.platform(), date=str(date.today()))

def table(systems):
    best = min((s['to_100'] for name,s in systems.items() if name != 'convvae' and s['to_100']), default=None)
    print(f'{"":<10}{"images/s":>10}{"nats, 60 s":>12}{"to 100 nats":>13}{"best peer":>11}')
    show = lambda v,unit='': '-' if v is None else f'{v:,.1f}{unit}'
    for name,s in systems.items():
        last = s['curve'][-1]
        to_100 = show(s['to_100'], ' s') if s['to_100'] else f'> {last[0]:.0f} s'
        print(f'{name:<10}{s["images_per_second"]:>10,.0f}{show(s["after_60"]):>12}{to_100:>13}{show(best and s["to_100"] and best/s["to_100"], " x"):>11}')
    print('The last column: how many times sooner than the best peer 100 nats are passed')

if __name__ == '__main__':
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--only', default='convvae,torch,keras,pythae', help='systems, separated by commas')
    p.add_argument('--seconds', default='5,10,15,20,30,60', help="the points of convvae's curve")
    p.add_argument('--add', action='store_true', help='keep the points of that curve that are there')
    p.add_argument('--limit', type=float, default=420, help='seconds after which a peer is stopped')
    p.add_argument('--peers', type=Path, default=here.parent/'.venv-peers', help='the environment with Keras and Pythae')
    p.add_argument('--out', type=Path, default=result)
    p.add_argument('--peer', nargs=2, help=argparse.SUPPRESS)  # its name and the folder with mnist.npz: in a process of its own
    a = p.parse_args()
    if a.peer:
        run_peer(*a.peer, a.limit)
        sys.exit()
    from convvae.data import binarized, load_images
    if hasattr(os, 'sched_setaffinity'): os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    os.environ |= dict(OMP_NUM_THREADS='2', TF_NUM_INTRAOP_THREADS='2', TF_NUM_INTEROP_THREADS='2', TF_CPP_MIN_LOG_LEVEL='2', CUDA_VISIBLE_DEVICES='')
    images = load_images('mnist')
    with tempfile.TemporaryDirectory() as folder:
        np.savez(f'{folder}/mnist.npz', train=images.train[:, 0].numpy(), test=(binarized(images.test)[:, 0] > 0).numpy())
        for name in a.only.split(','):
            old = json.loads(a.out.read_text()) if a.out.exists() else dict(systems={})
            if name == 'convvae': new = run_convvae(folder, [float(t) for t in a.seconds.split(',')], old['systems'].get(name, {}).get('curve', []) if a.add else [])
            else:
                python = sys.executable if name == 'torch' else a.peers/'bin/python'
                command = [python, __file__, '--peer', name, folder, '--limit', str(a.limit)]
                new = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1])
            a.out.write_text(json.dumps(dict(machine=machine(), systems=old['systems'] | {name: new}), indent=1) + '\n')
    table(json.loads(a.out.read_text())['systems'])
