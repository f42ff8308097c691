"""log p(x) of a run's test images by importance sampling; run it again until it says that it is done

python recipes/mnist_record/evaluate.py --run runs/mnist_record/cpu
"""
import hashlib
import json
from pathlib import Path

import torch
from record import Tally, here, images_for, likelihood, progress_of, runs, time_is_up

from convvae.cli import command, the_run
from convvae.data import binarized, load_images
from convvae.model import ConvVAE
from convvae.sample import grid, replacing
from convvae.train import pick_device

def evaluate(
    run:str=str(runs/'cpu'),   # the run's folder
    k:int=5000,                # latents for each image
    images:int=None,           # only the first so many (default: all)
    slice_minutes:float=9.5,   # end, saved, after so many minutes
    block:int=50,              # latents drawn at once for an image
    batch_size:int=None,       # images at once (default: 20 on a CPU, 512 elsewhere)
    seed:int=0,                # of the binarisation and of the latents
    device:str=None,           # cpu, cuda or mps (default: the fastest present)
    name:str=None,             # of the row in results/ (default: the run's folder)
    results:str=str(here/'results'), # where that folder is
    overwrite:bool=False,      # begin anew
):
    "log p(x) by importance sampling; run it again until it says that it is done. Runs that held images out are measured on these"
    measure_slice(run, k, images, time_is_up(slice_minutes), block, batch_size, seed, device, name, results, overwrite)

def measure_slice(run, k, images, over, block, batch_size, seed, device, name, results, overwrite):
    "What `evaluate` does, in a slice that ends when `over` says so, which is asked after each batch"
    run,results = the_run(run),Path(results)
    for what,v in dict(k=k, block=block, images=images, batch_size=batch_size).items():
        if v is not None and v < 1: raise ValueError(f'{what} must be at least 1, got {v}')
    settings = json.loads((run/'run.json').read_text())
    hold_out = settings['hold_out']
    model = ConvVAE.from_pretrained(run, pick_device(device, 'no').device)
    torch.backends.cudnn.allow_tf32 = False  # float32 means float32
    whole = images_for(settings['data'], hold_out) if hold_out else load_images(settings['data'])
    pixels = binarized(whole.test, seed)     # before any is left out: the same black and white for all
    n = min(images or len(pixels), len(pixels))
    batch_size = batch_size or (20 if str(model.decoder.bias.device) == 'cpu' else 512)
    weights = hashlib.sha256((run/'model.safetensors').read_bytes()).hexdigest()[:16]
    about = json.dumps(dict(weights=weights, data=whole.fingerprint, seed=seed, block=block, batch_size=batch_size))
    path = run/'likelihood.npz'
    tally = Tally.load(path, about) if path.exists() and not overwrite else Tally(len(pixels))
    long_saved = time_is_up(0.5)

    def after():
        nonlocal long_saved
        ended = over()
        if ended or long_saved():
            tally.save(path, about)
            drawn,least = tally.k[:n].sum(),tally.k[:n].min()
            print(f'{drawn/(n*k):.1%} of the latents, {drawn/tally.seconds:.0f} in a second'
                  + (f'; {-tally.log_px(n).mean():.3f} nats from {least} or more for each image' if least else ''), flush=True)
            long_saved = time_is_up(0.5)
        return ended

    if not likelihood(model, pixels[:n], tally, k, block, batch_size, seed, after):
        print(f'{path}: saved, not done: run the same command again')
        return
    tally.save(path, about)
    row = dict(name=name or run.name, measured_on='training images held out' if hold_out else 'test images', **tally.summary(n),
               trace=[dict(k=k, nats=-v) for k,of,v in sorted(tally.trace) if of == n], eval_seed=seed, eval_seconds=tally.seconds,
               parameters=sum(p.numel() for p in model.parameters()), train=settings | progress_of(run))
    results.mkdir(parents=True, exist_ok=True)
    with replacing(results/f'{row["name"]}.json') as tmp: tmp.write_text(json.dumps(row, indent=2) + '\n')
    with replacing(results/f'{row["name"]}.png') as tmp: grid(model.sample(64, seed=seed)).save(tmp, format='PNG')
    print(f"{results/row['name']}.json: done. -log p(x) = {row['nats']:.2f} +- {row['stderr']:.2f} nats from {row['k']} latents for each of {n} images, "
          f"ELBO {row['elbo']:.2f}, effective sample size {row['ess_mean']:.0f} on average, {row['ess_median']:.0f} median, {row['ess_min']:.1f} at least")

if __name__ == '__main__': command(evaluate)()
