"""Time and memory of training the default model, and where each runs out

python benchmarks/growth.py [--seconds 2]

Against image size, batch size and size of the data set; images of one channel throughout, on the
CPU. Every point is a process of its own, so that its peak (the largest resident set) is its own.
`step` is forward, backward and Adam on one batch in memory; `epoch` is what `Batches` takes to cut
an epoch into batches of 128, from memory or from a memory-mapped file. The result goes to
growth.json.
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
sides = (28, 32, 64, 128, 256)
batch_sizes = (1, 8, 32, 128, 512, 2048)
numbers = (1_000, 10_000, 100_000, 1_000_000)

def peak():
    "The largest resident set of this process so far, in bytes"
    unit = 1 if sys.platform == 'darwin' else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss*unit

# Each of these runs in a process of its own

def step(side, batch, seconds):
    "Seconds per image of a training step: the median over some seconds, less the first step"
    import torch

    from convvae.loss import objective
    from convvae.model import ConvVAE
    torch.manual_seed(0)
    model = ConvVAE((1, side, side)).train()
    x = (torch.rand(batch, 1, side, side) < 0.2).float()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, eps=1e-6, fused=True)
    times = []
    end = time.perf_counter() + seconds
    while not times or time.perf_counter() < end:
        begin = time.perf_counter()
        objective(model(x), x).backward()
        optimizer.step()
        optimizer.zero_grad()
        times.append(time.perf_counter() - begin)
    per_image = float(np.median(times[1:] or times))/batch
    return dict(side=side, batch=batch, seconds=per_image, steps=len(times), peak=peak())

def epoch(n, kind, seconds):
    "Seconds per image of a pass over `n` images of 28 x 28; a short pass is repeated"
    import torch

    from convvae.data import Batches
    from convvae.sources.maps import mapped
    some = torch.randint(256, (1000, 1, 28, 28), dtype=torch.uint8)
    with tempfile.NamedTemporaryFile(dir=here) as f:
        if kind == 'memory':
            images = some.repeat(n//1000, 1, 1, 1)
        else:
            for _ in range(n//1000):
                f.write(some.numpy().tobytes())
            f.flush()
            images = mapped(f.name, 1, 28, 28)
        batches = Batches(images, 128, binarize=True)
        passes = 0
        begin = time.perf_counter()
        while not passes or time.perf_counter() < begin + seconds:
            passes += 1
            assert sum(len(x) for x in batches) == n
        per_image = (time.perf_counter() - begin)/n/passes
        return dict(n=n, kind=kind, seconds=per_image, peak=peak())

def point(what, **options):
    "One point, measured in a fresh process"
    command = [sys.executable, __file__, '--point', json.dumps(dict(what=what, **options))]
    row = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    forms = {float: '{:.3g}', int: '{:,}'}
    texts = [f'{k} ' + forms.get(type(v), '{}').format(v) for k,v in row.items()]
    print(', '.join(texts), flush=True)
    return row

def limits(machine, size, batch, data):
    "Where memory, disk and time run out, by straight lines through what was measured"
    small,large = ({r['side']: r for r in size if r['batch'] == b} for b in (32, 128))
    each = {s: (large[s]['peak'] - small[s]['peak'])/96 for s in sides}  # bytes per image
    fixed = {s: small[s]['peak'] - 32*each[s] for s in sides}            # bytes besides
    pixels,times = [s*s for s in sides],[large[s]['seconds'] for s in sides]
    power,log_c = np.polyfit(np.log(pixels), np.log(times), 1)
    memory,alone = machine['memory'],min(r['peak'] for r in data)
    foretold = fixed[256] + 512*each[256]
    measured = point('step', side=256, batch=512, seconds=0.)['peak']
    from_memory = {r['n']: r['seconds'] for r in data if r['kind'] == 'memory'}
    per_image = large[28]['seconds'] + from_memory[max(numbers)]
    of_an_hour = np.exp((np.log(0.06) - log_c)/power/2)                  # for 60,000 images
    return dict(bytes_per_image=each, fixed_bytes=fixed, seconds_power_of_pixels=power,
                largest_batch={s: int((memory - fixed[s])/each[s]) for s in sides},
                check=dict(side=256, batch=512, predicted=foretold, measured=measured),
                largest_set_in_memory={s: int((memory - alone)/s**2) for s in sides},
                largest_set_on_disk={s: int(machine['disk_free']/s**2) for s in sides},
                epoch_of_a_million=per_image*1e6, side_of_an_hour=float(of_an_hour))

def main(seconds, out):
    "All points, and what follows from them"
    os.environ |= dict(OMP_NUM_THREADS='2', CUDA_VISIBLE_DEVICES='')
    memory = os.sysconf('SC_PHYS_PAGES')*os.sysconf('SC_PAGE_SIZE')
    machine = dict(cpu=cpu(), threads=2, memory=memory, disk_free=disk_usage(here).free,
                   torch=version('torch'), date=str(date.today()))
    size = [point('step', side=s, batch=b, seconds=seconds) for s in sides for b in (32, 128)]
    batch = [point('step', side=28, batch=b, seconds=seconds) for b in batch_sizes]
    data = [point('epoch', n=n, kind=kind, seconds=seconds)
            for kind in ('memory', 'map') for n in numbers]
    points = dict(size=size, batch=batch, data=data)
    table = dict(machine=machine, **points, limits=limits(machine, **points))
    out.write_text(json.dumps(table, indent=1) + '\n')
    print(f'{out} is written')

if __name__ == '__main__':
    raw = argparse.RawDescriptionHelpFormatter
    p = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    p.add_argument('--seconds', type=float, default=2., help='to measure each point, at least')
    p.add_argument('--out', type=Path, default=here/'growth.json')
    p.add_argument('--point', type=json.loads, help=argparse.SUPPRESS)
    options = p.parse_args()
    if options.point:
        measured = dict(step=step, epoch=epoch)[options.point.pop('what')]
        print(json.dumps(measured(**options.point)))
    else:
        main(options.seconds, options.out)
