"""Train a residual ConvVAE with a RealNVP prior on MNIST, binarised afresh in each epoch; run it again until it says that it is done

python recipes/mnist_record/train.py --size cpu
"""
import time
from pathlib import Path

from record import images_for, runs, size_named, time_is_up, train_slice

from convvae.cli import command

def train(
    size:str='cpu',            # gpu, cpu or tiny: see record.py
    out:str=None,              # the run's folder (default: runs/mnist_record/<size>)
    slice_minutes:float=9.5,   # a slice ends, saved, after so many minutes
    hold_out:int=0,            # for choices: do not train on the last so many training images, and measure on them
    seconds:float=None,        # of training in all (default: the size's own)
    seed:int=0,                # of weights, order, binarisation and noise
):
    "Train the record model; run it again until it says that it is done"
    begun,over,chosen = time.time(),time_is_up(slice_minutes),size_named(size)
    if seconds: chosen = chosen | dict(fit=chosen['fit'] | dict(max_seconds=seconds, epochs=None))
    out = Path(out) if out else runs/(size + (f'-{hold_out}' if hold_out else ''))
    images = images_for(chosen['data'], hold_out)
    print(f'{out}: {images}', flush=True)

    def say(history):
        h = history[-1]
        print(f"epoch {h['epoch']}: ELBO {h['train_elbo']:.2f}" + (f", held out {h['test_elbo']:.2f}" if hold_out else '')
              + f", {h['images_per_second']:.0f} images/s, {(time.time() - begun)/60:.1f} minutes of this command", flush=True)

    settings = dict(data=images.name, size=size, hold_out=hold_out, model=chosen['model'])
    done = train_slice(chosen, images, out, over, seed, settings, say)
    print(f'{out}: ' + (f'done; next: python recipes/mnist_record/evaluate.py --run {out}' if done else 'saved, not done: run the same command again'))

if __name__ == '__main__': command(train)()
