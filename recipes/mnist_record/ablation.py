"""What each ingredient does: small trainings that differ in one thing; run it again until it says that it is done

python recipes/mnist_record/ablation.py
"""
import json
import math
from functools import partial
from pathlib import Path

from record import Tally, here, images_for, likelihood, progress_of, runs, size_named, time_is_up, train_slice, warm_up

from convvae.cli import command
from convvae.data import binarized
from convvae.loss import dreg_objective, iwae_objective, objective
from convvae.model import ConvVAE
from convvae.sample import replacing
from convvae.train import pick_device

# name -> (the variant it differs from, what is different, in what `ConvVAE` is given, in what `fit` is given)
variants = {
    'plain': (None, 'plain blocks, normal prior', dict(block='plain', prior='normal'), {}),
    'residual': ('plain', 'residual blocks', dict(block='residual'), {}),
    'vamp': ('plain', 'a VampPrior', dict(prior='vamp'), {}),
    'realnvp': ('plain', 'a RealNVP prior', dict(prior='realnvp'), {}),
    'both': ('realnvp', 'residual blocks too', dict(block='residual'), {}),
    'seed': ('both', 'nothing but the seed', {}, dict(seed=1)),
    'seed_2': ('both', 'nothing but the seed, again', {}, dict(seed=2)),
    'stem': ('both', 'half a stem: 14 x 14', dict(stem=2), {}),
    'warm_up': ('both', 'warm-up of the rate', {}, dict(beta=warm_up)),
    'free_bits': ('both', 'free bits, 0.25 a latent', {}, dict(objective=partial(objective, free_bits=0.25))),
    'ema': ('both', 'a moving average', {}, dict(ema=0.999)),
    'iwae': ('both', 'IWAE, k = 8', {}, dict(objective=iwae_objective, k=8)),
    'dreg': ('both', 'DReG, k = 8', {}, dict(objective=dreg_objective, k=8)),
    'crop': ('both', 'shifts by a pixel', {}, dict(crop=1)),
}

kept = 'epochs', 'max_seconds', 'batch_size', 'lr', 'device'  # of what a size gives `fit`: the rest is for the variants

def settings_of(
    name:str,  # of a variant
    size:dict, # one of `sizes`
)->dict:       # with model, fit and seed
    "A size, changed as the variant and those before it say"
    base,_,model,how = variants[name]
    start = settings_of(base, size) if base else dict(size, seed=0, fit={k: size['fit'][k] for k in kept if k in size['fit']})
    how = dict(how)
    return start | dict(seed=how.pop('seed', start['seed']), model=start['model'] | model, fit=start['fit'] | how)

def change(
    tally:Tally, base:Tally, # of two models, on the same images
    n:int,                   # how many images
)->tuple[float,float]: # nats, below 0 is better, and the standard error over images
    "By how much a model differs from its base, image by image: what is hard for both does not blur the comparison"
    d = base.log_px(n) - tally.log_px(n)
    return d.mean(), d.std()/math.sqrt(n)

def ablation(
    size:str='small',         # whose sizes and step size: small, cpu, gpu or tiny
    seconds:float=300.,       # of training for each variant; 0 for as much as the size has
    k:int=64,                 # latents for each image that is measured
    images:int=1000,          # how many of those held out are measured
    hold_out:int=5000,        # the last so many training images are not trained on; the test images have no part in this
    only:str=','.join(variants), # which variants, with commas between them; each needs the one it differs from
    slice_minutes:float=9.5,  # end, saved, after so many minutes
    out:str=str(runs/'ablation'),    # where the runs are
    results:str=str(here/'results'), # where ablation.json is
):
    "Train and measure the variants that ablation.json does not have; run it again until it says that it is done"
    ablation_slice(size, seconds, k, images, hold_out, only, time_is_up(slice_minutes), Path(out), Path(results))

def ablation_slice(size, seconds, k, images, hold_out, only, over, out, results):
    "What `ablation` does, in a slice that ends when `over` says so, which is asked in each step"
    chosen,path = size_named(size),results/'ablation.json'
    data,rows = images_for(chosen['data'], hold_out),json.loads(path.read_text()) if path.exists() else []
    n = min(images, len(data.test))
    same = dict(size=size, train_seconds=seconds or None, k=k, images=n, hold_out=hold_out)
    for row in rows:
        if differ := [f'{what} {row[what]}, now {v}' for what,v in same.items() if row[what] != v]:
            raise ValueError(f'{path} has rows with {"; ".join(differ)}: give the same, or move it away together with {out}')
    pixels = binarized(data.test, 0)[:n]
    for name in only.split(','):
        if name not in variants: raise ValueError(f'unknown variant {name!r}: choose from {", ".join(variants)}')
        there,base = [row['name'] for row in rows],variants[name][0]
        if name in there: continue
        if base and base not in there: raise ValueError(f'{name} is compared with {base}, which is not measured yet: name it in --only too')
        what,run = settings_of(name, chosen),out/name
        budget = dict(epochs=None, max_seconds=seconds) if seconds else {}
        what = what | dict(fit=what['fit'] | budget | dict(save_minutes=1))
        if over() or not train_slice(what, data, run, over, what['seed'], dict(data=data.name, variant=name, model=what['model'])):
            print(f'{path}: {len(rows)} rows; saved, not done: run the same command again')
            return
        tally = Tally(n)
        likelihood(ConvVAE.from_pretrained(run, pick_device(what['fit'].get('device'), 'no').device), pixels, tally, k, block=k)
        tally.save(run/'likelihood.npz', name)
        known = tally.summary(n)
        if base: known['change'],known['change_stderr'] = change(tally, Tally.load(out/base/'likelihood.npz', base), n)
        rows.append(dict(name=name, base=base, what=variants[name][1]) | known | same | progress_of(run))
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as tmp: tmp.write_text(json.dumps(rows, indent=2) + '\n')
        print(f"{name}: {known['nats']:.2f} nats, ELBO {known['elbo']:.2f}"
              + (f", {known['change']:+.2f} +- {known['change_stderr']:.2f} against {base}" if base else ''), flush=True)
    print(f'{path}: done')

if __name__ == '__main__': command(ablation)()
