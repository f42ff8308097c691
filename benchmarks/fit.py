"""Images per second of `fit`, beside bare steps of the same model on one batch in memory

python benchmarks/fit.py [--steps 8] [--rounds 21] [--batch_size 128] [--side 28]
                         [--device cpu] [--precision no]

Bare steps have no data, no checks, and measure nothing.
"""
import argparse
import os
import time
from statistics import median
from unittest.mock import patch

import torch

from convvae import train
from convvae.data import Images
from convvae.loss import objective
from convvae.model import ConvVAE

def seconds(f):
    "`f`, but it keeps what it took: seconds on the clock, and of processor time"
    def wait():
        if torch.cuda.is_available():
            torch.cuda.synchronize()

    def timed(*args, **kwargs):
        wait()
        clock,cpu = time.perf_counter(),time.process_time()
        result = f(*args, **kwargs)
        wait()
        timed.took = time.perf_counter() - clock,time.process_time() - cpu
        return result
    return timed

def by_fit(model, images, options):
    "One epoch of `fit`: its pass over the training images, without what comes before and after"
    with patch('convvae.train.run_epoch', seconds(train.run_epoch)) as run_epoch:
        train.fit(model, images, epochs=1, batch_size=options.batch_size,
                  device=options.device, precision=options.precision)
    return run_epoch.took

@seconds
def steps(model, x, n, precision):
    "As many bare steps on one batch"
    optimizer = torch.optim.Adam(model.train().parameters(), lr=1e-3, eps=1e-6)
    for _ in range(n):
        with torch.autocast(x.device.type, torch.bfloat16, enabled=precision == 'bf16'):
            loss = objective(model(x), x)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

def race(images, options, device, precision):
    "[(seconds of `fit`, seconds of bare steps)], each on the clock and of processor time"
    torch.manual_seed(0)
    ours,bare = (ConvVAE(images.image_size) for _ in range(2))
    bare.to(device)
    x = images.train[:options.batch_size].to(device).float()/255
    rounds = []
    for i in range(options.rounds + 1):  # taking turns, also in who begins
        if i%2:
            steps(bare, x, options.steps, precision)
        took = by_fit(ours, images, options)
        if not i%2:
            steps(bare, x, options.steps, precision)
        rounds.append((took, steps.took))
    return rounds[1:]                    # the first warms up

def report(rounds, n):
    "Images per second and their ratio, by both ways to count time"
    for unit,name in enumerate(('clock', 'processor time')):
        fit = [of_fit[unit] for of_fit,_ in rounds]
        bare = [of_bare[unit] for _,of_bare in rounds]
        ratios = sorted(b/f for f,b in zip(fit, bare, strict=True))
        quarter = len(ratios)//4
        print(f'{name:14}: fit {n/median(fit):9,.0f}, bare steps {n/median(bare):9,.0f} '
              f'images per second, ratio {median(ratios):.3f} '
              f'(half of them from {ratios[quarter]:.3f} to {ratios[-1 - quarter]:.3f})')
    print('The ratio should be at least 0.95; where other work disturbs the clock, '
          'processor time is to be believed')

def main(options):
    "The race, told"
    n = options.steps*options.batch_size
    g = torch.Generator().manual_seed(0)
    shape = (n, 1, options.side, options.side)
    pixels = torch.randint(256, shape, dtype=torch.uint8, generator=g)
    accelerator = train.pick_device(options.device, options.precision)
    device,precision = accelerator.device,accelerator.precision  # `fit` makes its own
    rounds = race(Images('random bytes', pixels, pixels[:0]), options, device, precision)
    print(f'{options.steps} steps of {options.batch_size} images of '
          f'1 x {options.side} x {options.side} on {device}, {torch.get_num_threads()} threads, '
          f'precision {precision}; medians of {options.rounds} rounds')
    report(rounds, n)

if __name__ == '__main__':
    os.environ['TQDM_DISABLE'] = '1'
    raw = argparse.RawDescriptionHelpFormatter
    p = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    for name,default in dict(steps=8, rounds=21, batch_size=128, side=28).items():
        p.add_argument(f'--{name}', type=int, default=default)
    for name in ('device', 'precision'):
        p.add_argument(f'--{name}')
    main(p.parse_args())
