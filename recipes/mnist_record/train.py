"""Train a residual ConvVAE with a RealNVP prior on MNIST, binarised afresh in each epoch

python recipes/mnist_record/train.py --size cpu

Run it again until it says that it is done.
"""
import time
from pathlib import Path

from record import images_for, runs, size_named, time_is_up, train_slice

from convvae.command import command

def train(
    size:str='cpu',            # gpu, cpu or tiny: see record.py
    out:str=None,              # the run's folder (default: runs/mnist_record/<size>)
    slice_minutes:float=9.5,   # a slice ends, saved, after so many minutes
    hold_out:int=0,            # for choices: measure on the last so many training images, unseen
    seconds:float=None,        # of training in all (default: the size's own)
    seed:int=0,                # of weights, order, binarisation and noise
):
    "Train the record model; run it again until it says that it is done"
    over = time_is_up(slice_minutes)
    begun = time.perf_counter()
    chosen = size_named(size)
    if seconds:
        chosen = chosen | dict(fit=chosen['fit'] | dict(max_seconds=seconds, epochs=None))
    out = Path(out or runs/(f'{size}-{hold_out}' if hold_out else size))
    images = images_for(chosen['data'], hold_out)
    print(f'{out}: {images}', flush=True)

    def report(history):
        h = history[-1]
        held_out = f", held out {h['test_elbo']:.2f}" if hold_out else ''
        minutes = (time.perf_counter() - begun)/60
        print(f"epoch {h['epoch']}: ELBO {h['train_elbo']:.2f}{held_out}, "
              f"{h['images_per_second']:.0f} images/s, {minutes:.1f} minutes of this command",
              flush=True)

    settings = dict(data=images.name, size=size, hold_out=hold_out, model=chosen['model'])
    if train_slice(chosen, images, out, over, seed, settings, report):
        print(f'{out}: done; next: python recipes/mnist_record/evaluate.py --run {out}')
    else:
        print(f'{out}: saved, not done: run the same command again')

if __name__ == '__main__': command(train)()
