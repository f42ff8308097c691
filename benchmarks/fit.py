"""Images per second of `fit`, beside the same model that takes steps on one batch in memory: no data, no checks, nothing measured

python benchmarks/fit.py [--steps 8] [--rounds 21] [--batch_size 128] [--side 28] [--device cpu] [--precision no]
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
    "`f`, but it gives what it took: seconds on the clock, and of processor time"
    wait = torch.cuda.synchronize if torch.cuda.is_available() else lambda: None
    def timed(*args, **kwargs):
        wait()
        clock,cpu = time.perf_counter(),time.process_time()
        result = f(*args, **kwargs)
        wait()
        timed.took = time.perf_counter() - clock,time.process_time() - cpu
        return result
    return timed

def by_fit(model, images, a):
    "One epoch of `fit`: its pass over the training images, without what comes before the first and after the last step"
    with patch('convvae.train.run_epoch', seconds(train.run_epoch)) as run_epoch:
        train.fit(model, images, epochs=1, batch_size=a.batch_size, device=a.device, precision=a.precision)
    return run_epoch.took

@seconds
def steps(model, x, n, precision):
    "As many bare steps on one batch"
    optimizer = torch.optim.Adam(model.train().parameters(), lr=1e-3, eps=1e-6)
    for _ in range(n):
        with torch.autocast(x.device.type, torch.bfloat16, enabled=precision == 'bf16'): loss = objective(model(x), x)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

if __name__ == '__main__':
    os.environ['TQDM_DISABLE'] = '1'
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name,default in dict(steps=8, rounds=21, batch_size=128, side=28).items(): p.add_argument(f'--{name}', type=int, default=default)
    for name in ('device', 'precision'): p.add_argument(f'--{name}')
    a = p.parse_args()
    n = a.steps*a.batch_size
    pixels = torch.randint(256, (n, 1, a.side, a.side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    images = Images('random bytes', pixels, pixels[:0])
    torch.manual_seed(0)
    ours,bare = (ConvVAE(images.image_size) for _ in range(2))
    accelerator = train.pick_device(a.device, a.precision)
    device,precision = accelerator.device,accelerator.mixed_precision  # `fit` makes an accelerator of its own
    bare.to(device)
    x = pixels[:a.batch_size].to(device).float()/255
    rounds = []
    for i in range(a.rounds + 1):  # taking turns, also in who begins; the first round warms up
        if i%2: steps(bare, x, a.steps, precision)
        took = by_fit(ours, images, a)
        if not i%2: steps(bare, x, a.steps, precision)
        rounds.append((took, steps.took))
    print(f'{a.steps} steps of {a.batch_size} images of 1 x {a.side} x {a.side} on {device} with {torch.get_num_threads()} threads, '
          f'precision {precision}; medians of {a.rounds} rounds')
    for unit,name in enumerate(('clock', 'processor time')):
        fit,bare = ([who[unit] for who in r] for r in zip(*rounds[1:], strict=True))
        ratios = sorted(b/f for f,b in zip(fit, bare, strict=True))
        print(f'{name:14}: fit {n/median(fit):9,.0f}, bare steps {n/median(bare):9,.0f} images per second, '
              f'ratio {median(ratios):.3f} (half of them from {ratios[len(ratios)//4]:.3f} to {ratios[-1 - len(ratios)//4]:.3f})')
    print('The ratio should be at least 0.95; where other work disturbs the clock, processor time is to be believed')
