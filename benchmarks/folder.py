"""How fast a folder of JPEGs is read, beside torchvision's ImageFolder and a DataLoader; how much memory an epoch takes

python benchmarks/folder.py [--n 20000] [--side 96] [--workers 2] [--images 200000]
"""
import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

def make(folder, n, side):
    "`n` JPEGs of about `side` pixels, in ten subfolders; each with some texture, as photographs have"
    rng = np.random.default_rng(0)
    for i in range(n):
        (folder/str(i%10)).mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(rng.integers(0, 256, (side//6, side//8, 3), dtype=np.uint8)).resize((side*5//4, side), Image.Resampling.BICUBIC)
        coarse.save(folder/str(i%10)/f'{i:06}.jpg', quality=85)

def rate(batches, n):
    "Images per second of one pass"
    begin = time.perf_counter()
    assert sum(len(x) for x,_ in batches) >= n*0.85
    return n/(time.perf_counter() - begin)

def speed(folder, n, workers):
    from torch.utils.data import DataLoader
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import CenterCrop, Compose, Resize, ToTensor

    from convvae.data import Batches, load_folder
    theirs = DataLoader(ImageFolder(folder, Compose([Resize(64), CenterCrop(64), ToTensor()])), 128, shuffle=True, num_workers=workers)
    ours = lambda images: Batches(images.train, 128, labels=images.train_labels)
    slow = [rate(theirs, n) for _ in range(2)]
    begin = time.perf_counter()
    images = load_folder(folder, 64)
    first = len(images.train)/(time.perf_counter() - begin + len(images.train)/rate(ours(images), len(images.train)))
    begin = time.perf_counter(); images = load_folder(folder, 64); again = time.perf_counter() - begin
    batches = ours(images)
    fast = [rate(batches, len(images.train)) for _ in range(3)][1:]
    print(f'{n:,} JPEGs, images per second on {torch.get_num_threads()} threads and {workers} workers:')
    print(f'first epoch  : ImageFolder + DataLoader {slow[0]:8,.0f}   ours, decoding first {first:9,.0f}   ratio {first/slow[0]:6.2f}')
    print(f'second epoch : ImageFolder + DataLoader {slow[1]:8,.0f}   ours                 {max(fast):9,.0f}   ratio {max(fast)/slow[1]:6.2f}')
    print(f'opening it again takes {again:.2f} s')

def memory(path, n):
    "An epoch over `n` images of 3 x 64 x 64 from a file of bytes, in this process"
    from convvae.data import Batches, mapped
    with open(path, 'wb') as f:
        for i in range(0, n, 1000): f.write(np.random.default_rng(i).bytes(min(1000, n - i)*3*64*64))
    peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/1024
    before,batches = peak(),Batches(mapped(path, 3, 64, 64), 128)
    begin = time.perf_counter()
    seen = sum(len(x) for x in batches)
    print(f'{seen:,} images of 3 x 64 x 64 ({seen*12288/1e6:,.0f} MB): {seen/(time.perf_counter() - begin):,.0f} images per second, '
          f'peak {peak():,.0f} MB resident, of these {before:,.0f} MB before')

if __name__ == '__main__':
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name,default in dict(n=20_000, side=96, workers=2, images=200_000).items(): p.add_argument(f'--{name}', type=int, default=default)
    p.add_argument('--memory', metavar='FILE', help=argparse.SUPPRESS)
    a = p.parse_args()
    if a.memory: memory(a.memory, a.images)
    else:
        with tempfile.TemporaryDirectory() as d:
            os.environ['XDG_CACHE_HOME'] = f'{d}/data'
            make(Path(d)/'jpegs', a.n, a.side)
            speed(f'{d}/jpegs', a.n, a.workers)
            subprocess.run([sys.executable, __file__, '--memory', f'{d}/bytes', '--images', str(a.images)], check=True)
