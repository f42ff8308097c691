"""Train a residual ConvVAE with a RealNVP prior on MNIST, binarised afresh in each epoch; run it again until it says that it is done

python recipes/mnist_record/train.py --size cpu --slices 6
"""
import time
from pathlib import Path

from record import images_for, new_model, runs, size_named, time_slice, warm_up

from convvae.cli import command
from convvae.train import fit

def train_slice(
    size:dict,     # one of `sizes`
    images,        # `Images`
    out:Path,      # the run's folder
    minutes:float, # how long this slice may take
    seed:int=0,    # of weights, order, binarisation and noise
    settings:dict=None, # more for run.json
    report=None,   # called with the history after each epoch
)->bool:           # is the training done?
    "Train for one slice, from where the last one ended"
    # No `crop`: digits that are shifted are not distributed as the test images are, and the likelihood pays for them
    with time_slice(minutes):
        fit(new_model(size, images.image_size, seed), images, out=out, resume=True, beta=warm_up, binarize=True, seed=seed,
            settings=settings, report=report, **size['fit'])
        return True
    return False

def train(
    size:str='cpu',            # gpu, cpu or tiny: see record.py
    out:str=None,              # the run's folder (default: runs/mnist_record/<size>)
    slice_minutes:float=9.5,   # a slice ends, saved, after so many minutes
    slices:int=1,              # how many of them to run now, one after the other
    hold_out:int=0,            # for choices: do not train on the last so many training images, and measure on them
    seconds:float=None,        # of training in all (default: the size's own)
    seed:int=0,                # of weights, order, binarisation and noise
):
    "Train the record model; run it again until it says that it is done"
    begun,chosen = time.time(),size_named(size)
    if seconds: chosen = chosen | dict(fit=chosen['fit'] | dict(max_seconds=seconds, epochs=None))
    out = Path(out) if out else runs/(size + (f'-{hold_out}' if hold_out else ''))
    images = images_for(chosen['data'], hold_out)
    print(f'{out}: {images}', flush=True)

    def say(history):
        h = history[-1]
        print(f"epoch {h['epoch']}: ELBO {h['train_elbo']:.2f}" + (f", held out {h['test_elbo']:.2f}" if hold_out else '')
              + f", {h['images_per_second']:.0f} images/s, {(time.time() - begun)/60:.1f} minutes of this command", flush=True)

    settings = dict(data=images.name, size=size, hold_out=hold_out, model=chosen['model'])
    for i in range(slices):
        first = time.time() - begun if i == 0 else 0.  # loading belongs to the first slice
        if train_slice(chosen, images, out, slice_minutes - first/60, seed, settings, say):
            print(f'{out}: done; next: python recipes/mnist_record/evaluate.py --run {out}')
            return
    print(f'{out}: saved, not done: run the same command again')

if __name__ == '__main__': command(train)()
