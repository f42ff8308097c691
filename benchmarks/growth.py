"""Time and memory of training the default model against image size, batch size and size of the data set, and where each runs out

python benchmarks/growth.py [--seconds 2]

Images of one channel throughout, on the CPU. Every point is a process of its own, so that its peak (the largest resident set) is its own.
`step` is forward, backward and Adam on one batch in memory; `epoch` is what `Batches` takes to cut an epoch into batches of 128, from
memory or from a memory-mapped file. The result goes to growth.json.
"""
import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from datetime import date
from importlib.metadata import version
from pathlib import Path
from shutil import disk_usage

import numpy as np
from one_minute import cpu

here = Path(__file__).resolve().parent
sides,batches,numbers = (28, 32, 64, 128, 256),(1, 8, 32, 128, 512, 2048),(1_000, 10_000, 100_000, 1_000_000)

def peak():
    "The largest resident set of this process so far, in bytes"
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss*(1 if sys.platform == 'darwin' else 1024)

# Each of these runs in a process of its own

def step(side, batch, seconds):
    "Seconds per image of a training step: the median over some seconds, the first step left out, unless it takes longer than that"
    import torch

    from convvae.loss import objective
    from convvae.model import ConvVAE
    torch.manual_seed(0)
    model,x,times = ConvVAE((1, side, side)).train(),(torch.rand(batch, 1, side, side) < 0.2).float(),[]
    optimizer,end = torch.optim.Adam(model.parameters(), lr=1e-3, eps=1e-6, fused=True),time.perf_counter() + seconds
    while len(times) < 1 or time.perf_counter() < end:
        begin = time.perf_counter()
        objective(model(x), x).backward()
        optimizer.step()
        optimizer.zero_grad()
        times.append(time.perf_counter() - begin)
    return dict(side=side, batch=batch, seconds=float(np.median(times[1:] or times))/batch, steps=len(times), peak=peak())

def epoch(n, kind, seconds):
    "Seconds per image of a pass over `n` images of 28 x 28; a short pass is repeated"
    import torch

    from convvae.data import Batches, mapped
    some = torch.randint(256, (1000, 1, 28, 28), dtype=torch.uint8)
    with tempfile.NamedTemporaryFile(dir=here) as f:
        if kind == 'memory': images = some.repeat(n//1000, 1, 1, 1)
        else:
            for _ in range(n//1000): f.write(some.numpy().tobytes())
            f.flush()
            images = mapped(f.name, 1, 28, 28)
        data,passes,begin = Batches(images, 128, binarize=True),0,time.perf_counter()
        while not passes or time.perf_counter() < begin + seconds:
            passes += 1
            assert sum(len(x) for x in data) == n
        return dict(n=n, kind=kind, seconds=(time.perf_counter() - begin)/n/passes, peak=peak())

def point(what, **given):
    "One point, measured in a fresh process"
    row = json.loads(subprocess.run([sys.executable, __file__, '--point', json.dumps(dict(what=what, **given))], check=True, stdout=subprocess.PIPE).stdout)
    print(', '.join(f'{k} {v:.3g}' if isinstance(v, float) else f'{k} {v:,}' if isinstance(v, int) else f'{k} {v}' for k,v in row.items()), flush=True)
    return row

def limits(machine, size, batch, data):
    "Where memory, disk and time run out, by straight lines through what was measured"
    small,large = ({r['side']: r for r in size if r['batch'] == b} for b in (32, 128))
    each = {s: (large[s]['peak'] - small[s]['peak'])/96 for s in sides}                          # bytes per image of a batch
    fixed = {s: small[s]['peak'] - 32*each[s] for s in sides}                                    # bytes whatever the batch
    power,log_c = np.polyfit(np.log([s*s for s in sides]), np.log([large[s]['seconds'] for s in sides]), 1)
    memory,alone = machine['memory'],min(r['peak'] for r in data)
    told,check = fixed[256] + 512*each[256],point('step', side=256, batch=512, seconds=0.)['peak']
    per_image = large[28]['seconds'] + next(r['seconds'] for r in data if r['n'] == max(numbers) and r['kind'] == 'memory')
    return dict(bytes_per_image=each, fixed_bytes=fixed, seconds_power_of_pixels=power,
                largest_batch={s: int((memory - fixed[s])/each[s]) for s in sides},
                check=dict(side=256, batch=512, predicted=told, measured=check),
                largest_set_in_memory={s: int((memory - alone)/s**2) for s in sides},
                largest_set_on_disk={s: int(machine['disk_free']/s**2) for s in sides},
                epoch_of_a_million=per_image*1e6,
                side_of_an_hour=float(np.exp((np.log(0.06) - log_c)/power/2)))  # for an epoch of 60,000 images

if __name__ == '__main__':
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--seconds', type=float, default=2., help='how long to measure each point, at least')
    p.add_argument('--out', type=Path, default=here/'growth.json')
    p.add_argument('--point', type=json.loads, help=argparse.SUPPRESS)
    a = p.parse_args()
    if a.point:
        print(json.dumps(globals()[a.point.pop('what')](**a.point)))
        sys.exit()
    os.environ |= dict(OMP_NUM_THREADS='2', CUDA_VISIBLE_DEVICES='')
    machine = dict(cpu=cpu(), threads=2, memory=os.sysconf('SC_PHYS_PAGES')*os.sysconf('SC_PAGE_SIZE'),
                   disk_free=disk_usage(here).free, torch=version('torch'), date=str(date.today()))
    found = dict(size=[point('step', side=s, batch=b, seconds=a.seconds) for s in sides for b in (32, 128)],
                 batch=[point('step', side=28, batch=b, seconds=a.seconds) for b in batches],
                 data=[point('epoch', n=n, kind=kind, seconds=a.seconds) for kind in ('memory', 'map') for n in numbers])
    a.out.write_text(json.dumps(dict(machine=machine, **found, limits=limits(machine, **found)), indent=1) + '\n')
    print(f'{a.out} is written')
