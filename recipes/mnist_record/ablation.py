"""What each ingredient does: small trainings that differ in one thing

python recipes/mnist_record/ablation.py

Run it again until it says that it is done.
"""
import json
import math
from functools import partial
from pathlib import Path

from record import Tally, here, images_for, likelihood, progress_of, runs
from record import size_named, time_is_up, train_slice, warm_up

from convvae.command import command
from convvae.data import binarized
from convvae.loss import dreg_objective, iwae_objective, objective
from convvae.model import ConvVAE
from convvae.saving import replacing
from convvae.train import pick_device

# name -> (the variant it differs from, what is different, for `ConvVAE`, for `fit`)
free_bits = partial(objective, free_bits=0.25)
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
    'free_bits': ('both', 'free bits, 0.25 a latent', {}, dict(objective=free_bits)),
    'ema': ('both', 'a moving average', {}, dict(ema=0.999)),
    'iwae': ('both', 'IWAE, k = 8', {}, dict(objective=iwae_objective, k=8)),
    'dreg': ('both', 'DReG, k = 8', {}, dict(objective=dreg_objective, k=8)),
    'crop': ('both', 'shifts by a pixel', {}, dict(crop=1)),
}

# what a size gives `fit` in every variant: the rest is for the variants
kept = 'epochs', 'max_seconds', 'batch_size', 'lr', 'device'

def settings_of(
    name:str,  # of a variant
    size:dict, # one of `sizes`
)->dict:       # with model, fit and seed
    "A size, changed as the variant and those before it say"
    base,_,model,options = variants[name]
    if base:
        start = settings_of(base, size)
    else:
        start = dict(size, seed=0, fit={k: v for k,v in size['fit'].items() if k in kept})
    options = dict(options)
    seed = options.pop('seed', start['seed'])
    return start | dict(seed=seed, model=start['model'] | model, fit=start['fit'] | options)

def change(
    tally:Tally, base:Tally, # of two models, on the same images
    n:int,                   # how many images
)->tuple[float,float]: # nats, below 0 is better, and the standard error over images
    "By how much a model differs from its base, image by image: what is hard for both falls out"
    d = base.log_px(n) - tally.log_px(n)
    return d.mean(), d.std()/math.sqrt(n)

def ablation(
    size:str='small',         # whose sizes and step size: small, cpu, gpu or tiny
    seconds:float=300.,       # of training for each variant; 0 for as much as the size has
    k:int=64,                 # latents for each image that is measured
    images:int=1000,          # how many of those held out are measured
    hold_out:int=5000,        # the last so many training images are measured, and not trained on
    only:str=','.join(variants), # which variants, with commas; each needs the one it differs from
    slice_minutes:float=9.5,  # end, saved, after so many minutes
    out:str=str(runs/'ablation'),    # where the runs are
    results:str=str(here/'results'), # where ablation.json is
):
    "Train and measure the variants that ablation.json does not have; run it until it is done"
    over = time_is_up(slice_minutes)
    Ablation(size, seconds, k, images, hold_out, out, results).go_on(only.split(','), over)

def differences(
    rows:list, # of a table
    same:dict, # what all of them should have
)->list:       # texts
    "In what rows were made otherwise"
    pairs = [(what, row[what], now) for row in rows for what,now in same.items()]
    return list(dict.fromkeys(f'{what} {old}, now {now}' for what,old,now in pairs if old != now))

class Ablation:
    "Trainings that differ in one thing, and the file that has a row for each"
    def __init__(self,
        size:str, seconds:float, k:int, images:int, hold_out:int, # as for `ablation`,
        out:Path, results:Path,                                   # and so are these
    ):
        self.size,self.k,self.out = size_named(size),k,Path(out)
        self.budget = dict(epochs=None, max_seconds=seconds) if seconds else {}
        self.data = images_for(self.size['data'], hold_out)
        self.pixels = binarized(self.data.test, 0)[:images]
        self.path = Path(results)/'ablation.json'
        self.rows = json.loads(self.path.read_text()) if self.path.exists() else []
        self.same = dict(size=size, train_seconds=seconds or None, k=k, images=len(self.pixels),
                         hold_out=hold_out)
        if differ := differences(self.rows, self.same):
            raise ValueError(f'{self.path} has rows with {"; ".join(differ)}: give the same, '
                             f'or move it away together with {self.out}')

    def go_on(self,
        names:list, # which variants
        over,       # asked before each variant and in each step: has this slice ended?
    ):
        "Train and measure the variants that have no row, for a slice"
        for name in names:
            if name in [row['name'] for row in self.rows]:
                continue
            self.check_name(name)
            if over() or not self.train(name, over):
                print(f'{self.path}: {len(self.rows)} rows; saved, not done: '
                      'run the same command again')
                return
            self.measure(name)
        print(f'{self.path}: done')

    def check_name(self, name:str):
        "Refuse a variant that is none, or that has nothing to be compared with yet"
        if name not in variants:
            raise ValueError(f'unknown variant {name!r}: choose from {", ".join(variants)}')
        base = variants[name][0]
        if base and base not in [row['name'] for row in self.rows]:
            raise ValueError(f'{name} is compared with {base}, which is not measured yet: '
                             'name it in --only too')

    def train(self, name:str, over)->bool: # is it done?
        "Train a variant, for the rest of a slice"
        variant = settings_of(name, self.size)
        variant['fit'] = variant['fit'] | self.budget | dict(save_minutes=1)
        about = dict(data=self.data.name, variant=name, model=variant['model'])
        return train_slice(variant, self.data, self.out/name, over, variant['seed'], about)

    def measure(self, name:str):
        "Add the row of a variant that is trained"
        n = len(self.pixels)
        run,base = self.out/name,variants[name][0]
        device = pick_device(self.size['fit'].get('device'), 'no').device
        tally = Tally(n)
        model = ConvVAE.from_pretrained(run, device)
        likelihood(model, self.pixels, tally, self.k, block=self.k)
        tally.save(run/'likelihood.npz', name)
        row = dict(name=name, base=base, what=variants[name][1]) | tally.summary(n)
        text = f"{name}: {row['nats']:.2f} nats, ELBO {row['elbo']:.2f}"
        if base:
            known = Tally.load(self.out/base/'likelihood.npz', base)
            row['change'],row['change_stderr'] = change(tally, known, n)
            text += f", {row['change']:+.2f} +- {row['change_stderr']:.2f} against {base}"
        self.rows.append(row | self.same | progress_of(run))
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(self.path) as draft:
            draft.write_text(json.dumps(self.rows, indent=2) + '\n')
        print(text, flush=True)

if __name__ == '__main__': command(ablation)()
