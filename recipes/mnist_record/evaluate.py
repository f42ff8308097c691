"""log p(x) of a run's test images by importance sampling

python recipes/mnist_record/evaluate.py --run runs/mnist_record/cpu

Run it again until it says that it is done.
"""
import hashlib
import json
from pathlib import Path

import torch
from record import Tally, here, images_for, likelihood, progress_of, runs, time_is_up

from convvae.checks import at_least_one
from convvae.command import command
from convvae.data import binarized, load_images
from convvae.model import ConvVAE
from convvae.running.folders import find_run
from convvae.sample import grid
from convvae.saving import replacing
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
    "log p(x) by importance sampling, of the test images or those held out; run it until it is done"
    over = time_is_up(slice_minutes)
    run = find_run(run)
    for what,n in dict(k=k, block=block, images=images, batch_size=batch_size).items():
        if n is not None:
            at_least_one(what, n)
    settings = json.loads((run/'run.json').read_text())
    model = ConvVAE.from_pretrained(run, pick_device(device, 'no').device)
    on_cpu = next(model.parameters()).is_cpu
    torch.backends.cudnn.allow_tf32 = False  # float32 means float32
    work = Evaluation(run, model, settings, k, seed, block, batch_size or (20 if on_cpu else 512))
    work.choose(images, overwrite)
    if not work.go_on(over):
        print(f'{work.path}: saved, not done: run the same command again')
        return
    write_row(work, name or run.name, Path(results))

class Evaluation:
    "An estimate of log p(x) for some images, and the file that keeps how far it has come"
    def __init__(self,
        run:Path,       # the run's folder
        model,          # its `ConvVAE`
        settings:dict,  # from its run.json
        k:int, seed:int, block:int, batch_size:int, # as for `evaluate`
    ):
        self.run,self.model,self.settings = run,model,settings
        self.k,self.seed,self.block,self.batch_size = k,seed,block,batch_size
        self.path = run/'likelihood.npz'
        hold_out = settings['hold_out']
        if hold_out:
            self.data = images_for(settings['data'], hold_out)
            self.measured_on = 'training images held out'
        else:
            self.data = load_images(settings['data'])
            self.measured_on = 'test images'

    def choose(self,
        images:int,     # only the first so many; None for all
        overwrite:bool, # forget what is known?
    ):
        "The pixels, and what is known of them"
        pixels = binarized(self.data.test, self.seed)  # before any is left out: the same for all
        self.pixels = pixels[:images]
        weights = hashlib.sha256((self.run/'model.safetensors').read_bytes()).hexdigest()[:16]
        self.about = json.dumps(dict(weights=weights, data=self.data.fingerprint, seed=self.seed,
                                     block=self.block, batch_size=self.batch_size))
        fresh = overwrite or not self.path.exists()
        self.tally = Tally(len(pixels)) if fresh else Tally.load(self.path, self.about)

    def go_on(self,
        over,    # asked after each batch: is it the last of this slice? As `time_is_up` gives it
    )->bool:     # is it done?
        "Draw latents for a slice; what is known is saved twice a minute, and at the end"
        unsaved_for_long = time_is_up(0.5)

        def after():
            nonlocal unsaved_for_long
            ended = over()
            if ended or unsaved_for_long():
                self.save()
                unsaved_for_long = time_is_up(0.5)
            return ended
        done = likelihood(self.model, self.pixels, self.tally, self.k, self.block,
                          self.batch_size, self.seed, after)
        if done:
            self.tally.save(self.path, self.about)
        return done

    def save(self):
        "Keep what is known, and say how much that is"
        n = len(self.pixels)
        tally = self.tally
        tally.save(self.path, self.about)
        drawn,least = tally.k[:n].sum(),tally.k[:n].min()
        text = f'{drawn/(n*self.k):.1%} of the latents, {drawn/tally.seconds:.0f} in a second'
        if least:
            text += f'; {-tally.log_px(n).mean():.3f} nats from {least} or more for each image'
        print(text, flush=True)

def write_row(
    work:Evaluation, # that is done
    name:str,        # of the row
    results:Path,    # the folder
):
    "The numbers as a file, and draws from the model as a picture"
    n = len(work.pixels)
    trace = [dict(k=k, nats=-nats) for k,of,nats in sorted(work.tally.trace) if of == n]
    row = dict(name=name, measured_on=work.measured_on, **work.tally.summary(n), trace=trace,
               eval_seed=work.seed, eval_seconds=work.tally.seconds,
               parameters=sum(p.numel() for p in work.model.parameters()),
               train=work.settings | progress_of(work.run))
    results.mkdir(parents=True, exist_ok=True)
    path = results/f'{name}.json'
    with replacing(path) as draft:
        draft.write_text(json.dumps(row, indent=2) + '\n')
    with replacing(results/f'{name}.png') as draft:
        grid(work.model.sample(64, seed=work.seed)).save(draft)
    print(f"{path}: done. -log p(x) = {row['nats']:.2f} +- {row['stderr']:.2f} nats "
          f"from {row['k']} latents for each of {n} images, ELBO {row['elbo']:.2f}, "
          f"effective sample size {row['ess_mean']:.0f} on average, "
          f"{row['ess_median']:.0f} median, {row['ess_min']:.1f} at least")

if __name__ == '__main__': command(evaluate)()
