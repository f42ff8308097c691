"""How fast a folder of JPEGs is read, beside torchvision's ImageFolder and a DataLoader

python benchmarks/folder.py [--n 20000] [--side 96] [--workers 2] [--images 200000]

And how much memory an epoch over a memory-mapped file takes.
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
    "`n` JPEGs of about `side` pixels, in ten subfolders; with some texture, as photographs have"
    rng = np.random.default_rng(0)
    for i in range(n):
        (folder/str(i%10)).mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(rng.integers(0, 256, (side//6, side//8, 3), dtype=np.uint8))
        fine = coarse.resize((side*5//4, side), Image.Resampling.BICUBIC)
        fine.save(folder/str(i%10)/f'{i:06}.jpg', quality=85)

def rate(batches, n):
    "Images per second of one pass"
    begin = time.perf_counter()
    assert sum(len(x) for x,_ in batches) >= n*0.85
    return n/(time.perf_counter() - begin)

def image_folder(folder, workers):
    "Batches as torchvision's users have them"
    from torch.utils.data import DataLoader
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import CenterCrop, Compose, Resize, ToTensor
    images = ImageFolder(folder, Compose([Resize(64), CenterCrop(64), ToTensor()]))
    return DataLoader(images, 128, shuffle=True, num_workers=workers)

def timed_folder(folder):
    "The images of a folder, and how many seconds it took to have them"
    from convvae.data import load_folder
    begin = time.perf_counter()
    images = load_folder(folder, 64)
    return images, time.perf_counter() - begin

def speed(folder, n, workers):
    "Both ways, in the first epoch, which has to decode, and in the second"
    from convvae.data import Batches
    def ours(images): return Batches(images.train, 128, labels=images.train_labels)

    usual = image_folder(folder, workers)
    slow = [rate(usual, n) for _ in range(2)]
    images,decoding = timed_folder(folder)
    m = len(images.train)
    first = m/(decoding + m/rate(ours(images), m))
    images,again = timed_folder(folder)
    batches = ours(images)
    _,*fast = [rate(batches, m) for _ in range(3)]
    print(f'{n:,} JPEGs, images per second on {torch.get_num_threads()} threads '
          f'and {workers} workers:')
    for epoch,how,a,b in (('first', 'ours, decoding first', slow[0], first),
                          ('second', 'ours', slow[1], max(fast))):
        print(f'{epoch + " epoch":<13}: ImageFolder + DataLoader {a:8,.0f}   '
              f'{how:<21}{b:9,.0f}   ratio {b/a:6.2f}')
    print(f'opening it again takes {again:.2f} s')

def memory(path, n):
    "An epoch over `n` images of 3 x 64 x 64 from a file of bytes, in this process"
    from convvae.data import Batches
    from convvae.sources.maps import mapped
    def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/1024

    with open(path, 'wb') as f:
        for i in range(0, n, 1000):
            f.write(np.random.default_rng(i).bytes(min(1000, n - i)*3*64*64))
    before = peak()
    batches = Batches(mapped(path, 3, 64, 64), 128)
    begin = time.perf_counter()
    seen = sum(len(x) for x in batches)
    speed = seen/(time.perf_counter() - begin)
    print(f'{seen:,} images of 3 x 64 x 64 ({seen*12288/1e6:,.0f} MB): '
          f'{speed:,.0f} images per second, peak {peak():,.0f} MB resident, '
          f'of these {before:,.0f} MB before')

def main(options):
    "Speed here, memory in a process of its own"
    with tempfile.TemporaryDirectory() as d:
        os.environ['XDG_CACHE_HOME'] = f'{d}/data'
        make(Path(d)/'jpegs', options.n, options.side)
        speed(f'{d}/jpegs', options.n, options.workers)
        of_memory = ['--memory', f'{d}/bytes', '--images', str(options.images)]
        subprocess.run([sys.executable, __file__, *of_memory], check=True)

if __name__ == '__main__':
    raw = argparse.RawDescriptionHelpFormatter
    p = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    for name,default in dict(n=20_000, side=96, workers=2, images=200_000).items():
        p.add_argument(f'--{name}', type=int, default=default)
    p.add_argument('--memory', metavar='FILE', help=argparse.SUPPRESS)
    options = p.parse_args()
    if options.memory:
        memory(options.memory, options.images)
    else:
        main(options)
