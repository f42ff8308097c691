"What the commands here share: the sizes, the images, training by slices, the estimate of log p(x)"
import math
import signal
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from convvae.data import Images, load_images
from convvae.loss import distortion, linear_warmup, objective
from convvae.model import ConvVAE
from convvae.randomness import generator, seeded
from convvae.saving import replacing
from convvae.train import fit

here = Path(__file__).resolve().parent
runs = here.parent.parent/'runs'/'mnist_record'

warm_up = partial(linear_warmup, share=0.1)  # the weight on the rate: it rises over the first tenth
parts = dict(block='residual', prior='realnvp')
on_cpu = dict(batch_size=128, lr=2e-3, beta=warm_up, ema=0.999, device='cpu', save_minutes=1)

# For each size: the data, what `ConvVAE` is given, and what `fit` is given. Change them here.
# No `crop`: shifted digits are not distributed as the test images are; the likelihood pays for it
sizes = dict(
    # Fifteen minutes on one H100: wide, and with a stage at 14 x 14, which two cores can't pay for
    gpu=dict(data='mnist',
             model=dict(latent_dim=40, channels=(64, 128, 256), stem=2, **parts),
             fit=dict(max_seconds=900, batch_size=512, lr=2e-3, beta=warm_up, ema=0.9995,
                      precision='bf16', compile=True, save_minutes=1)),
    # One hour on two cores
    cpu=dict(data='mnist',
             model=dict(latent_dim=32, channels=(32, 64, 128), **parts),
             fit=dict(max_seconds=3600, **on_cpu)),
    # Minutes on one core: for comparisons
    small=dict(data='mnist',
               model=dict(latent_dim=32, channels=(16, 32, 64), **parts),
               fit=dict(max_seconds=600, **on_cpu)),
    # Seconds, on the digits that come with scikit-learn: for tests. Epochs do not depend on a clock
    tiny=dict(data='digits',
              model=dict(latent_dim=4, channels=(8, 16), **parts),
              fit=dict(epochs=3, batch_size=256, lr=4e-3, beta=warm_up, ema=0.9, device='cpu')),
)

def size_named(
    name:str, # one of `sizes`
)->dict:
    "The settings of a size"
    if name not in sizes:
        raise ValueError(f'unknown size {name!r}: choose one of {", ".join(sizes)}')
    return sizes[name]

def images_for(
    data:str,       # a data set's name
    hold_out:int=0, # measure on the last so many training images, and do not train on them
)->Images:          # whose `test` are those held out: the test set is for `evaluate.py` alone
    "Training images, split once more for choices"
    images = load_images(data)
    n = len(images.train)
    if not 0 <= hold_out < n:
        raise ValueError(f'hold_out must be from 0 to {n - 1}, the training images less one, '
                         f'got {hold_out}')
    return Images(images.name, images.train[:n - hold_out], images.train[n - hold_out:])

def new_model(
    size:dict,         # one of `sizes`
    image_size:tuple,  # (C,H,W)
    seed:int=0,        # of the weights
)->ConvVAE:
    "A model with fresh weights"
    with seeded(seed):
        return ConvVAE(image_size, **size['model'])

def time_is_up(
    minutes:float,        # how long, from now
    clock=time.monotonic, # the seconds that have gone by
):                        # a function without arguments: is the time up?
    "The end of a slice"
    end = clock() + 60*minutes
    def over(): return clock() >= end
    return over

def train_slice(
    size:dict,     # one of `sizes`
    images:Images,
    out:Path,      # the run's folder
    over,          # asked in each step: is it the last of this slice? As `time_is_up` gives it
    seed:int=0,    # of weights, order, binarisation and noise
    settings:dict=None, # more for run.json
    report=None,   # called with the history after each epoch
)->bool:           # is the training done?
    "Train for one slice, of a step at least, from where the last one ended"
    options = dict(size['fit'])
    minimised = options.pop('objective', objective)
    ended = False

    def watched(out, x, **kwargs):
        nonlocal ended
        if not ended and over():
            ended = True
            signal.raise_signal(signal.SIGINT)  # as Ctrl-C: `fit` takes the step, saves, and raises
        return minimised(out, x, **kwargs)

    model = new_model(size, images.image_size, seed)
    try:
        fit(model, images, out=out, resume=True, objective=watched, binarize=True, seed=seed,
            settings=settings, report=report, **options)
    except KeyboardInterrupt:
        if not ended: raise
        return False
    return True

def progress_of(
    run:Path, # a run's folder
)->dict:      # steps, images seen, seconds (0 where epochs were counted)
    "How far a training came"
    state = torch.load(run/'checkpoint.pt', map_location='cpu', weights_only=True)
    schedule = state['schedule']
    steps = schedule['taken']
    return dict(steps=steps, images_seen=steps*state['plan']['batch_size'],
                seconds=schedule['seconds'])

@torch.inference_mode()
def weigh(
    model,      # image batch -> `VAEOut`
    x:Tensor,   # (B,C,H,W) pixels
    eps:Tensor, # (k,B,Z) standard normal noise
)->tuple[Tensor,Tensor]: # (k,B) each: log p(x,z)/q(z|x), and the distortion, in nats
    "The importance weights of latents drawn from the posterior"
    out = model(x, k=len(eps), eps=eps)
    D = distortion(out, x)
    return out.prior.log_prob(out.z) - out.q.log_prob(out.z) - D, D

class Tally:
    "What is known of each image's log p(x) so far: sums over the latents drawn, however many"
    # latents; log of the sums of w and of w*w; sums of log w and of D
    names = 'k', 'log_w', 'log_w2', 'sum_log_w', 'sum_D'

    def __init__(self,
        n:int, # how many images
    ):
        self.k = np.zeros(n, int)
        self.log_w,self.log_w2 = np.full((2, n), -np.inf)
        self.sum_log_w,self.sum_D = np.zeros((2, n))
        self.trace = []   # (latents, images, mean log p(x)), as they rose
        self.seconds = 0. # spent so far

    def add(self,
        i:slice,       # which images
        log_w:Tensor,  # (k,B) nats
        D:Tensor,      # (k,B) nats
    ):
        "More latents for some of the images"
        log_w,D = log_w.double(),D.double()
        self.k[i] += len(log_w)
        self.log_w[i] = np.logaddexp(self.log_w[i], log_w.logsumexp(0).cpu().numpy())
        self.log_w2[i] = np.logaddexp(self.log_w2[i], (2*log_w).logsumexp(0).cpu().numpy())
        self.sum_log_w[i] += log_w.sum(0).cpu().numpy()
        self.sum_D[i] += D.sum(0).cpu().numpy()

    def log_px(self, n:int)->np.ndarray: # (n,) nats
        "The estimates for the first n images: the log of the mean weight"
        return self.log_w[:n] - np.log(self.k[:n])

    def ess(self, n:int)->np.ndarray: # (n,), 1 to k
        "The effective sample sizes of the first n images: so many equal weights are worth as much"
        return np.exp(2*self.log_w[:n] - self.log_w2[:n])

    def note(self,
        n:int,     # the first so many images
        last:bool, # is this where it ends?
    ):
        "Remember the mean estimate, if all have as many latents: a round number, or the last"
        k = int(self.k[:n].max())
        known = [k, n] in [row[:2] for row in self.trace]
        round_number = str(k).rstrip('0') in ('1', '2', '5')
        if self.k[:n].min() == k and not known and (last or round_number):
            self.trace.append([k, n, float(self.log_px(n).mean())])

    def summary(self,
        n:int, # of the first so many images
    )->dict:   # nats per image; `nats` is -log p(x), lower is better
        "The numbers of the table"
        log_px,ess,k = self.log_px(n),self.ess(n),self.k[:n]
        elbo = (self.sum_log_w[:n]/k).mean()
        D = (self.sum_D[:n]/k).mean()
        noise = (1/ess - 1/k).clip(0)  # variances, to first order; half of it is missing on average
        return dict(nats=-log_px.mean(), stderr=log_px.std()/math.sqrt(n),
                    noise=math.sqrt(noise.sum())/n, shortfall=noise.mean()/2,
                    elbo=elbo, rate=-elbo - D, distortion=D,
                    ess_mean=ess.mean(), ess_median=np.median(ess), ess_min=ess.min(),
                    k=int(k.min()), images=n)

    def save(self,
        path:Path,
        about:str, # what it was measured on and with
    ):
        "Write all of it, or nothing"
        arrays = {name: getattr(self, name) for name in self.names}
        trace = np.array(self.trace, dtype=float).reshape(-1, 3)
        with replacing(path) as draft:
            np.savez(draft, about=about, trace=trace, seconds=self.seconds, **arrays)

    @classmethod
    def load(cls, path:Path, about:str):
        "Go on with what was saved"
        with np.load(path) as f:
            if str(f['about']) != about:
                raise ValueError(f'{path} was begun with {f["about"]}, now {about}: '
                                 'give the same, or overwrite')
            self = cls(len(f['k']))
            for name in cls.names:
                setattr(self, name, f[name])
            self.trace = [[int(k), int(n), v] for k,n,v in f['trace'].tolist()]
            self.seconds = float(f['seconds'])
        return self

def likelihood(
    model,             # a `ConvVAE` in eval mode
    pixels:Tensor,     # uint8 (N,C,H,W) of 0 and 255
    tally:Tally,       # of N images or more: what is known already, and what is added to
    k:int,             # latents for each image
    block:int=50,      # latents drawn at once for an image
    batch_size:int=20, # images at once
    seed:int=0,        # of the latents
    after=None,        # called after each batch; what it returns ends the work, if it is true
)->bool:               # is it done?
    "Bring all images to k latents, each block for all of them: whenever it ends, there is a bound"
    device,Z = next(model.parameters()).device,model.latent_dim
    n = len(pixels)
    for start in range(0, k, block):
        m = min(block, k - start)
        for i in range(0, n, batch_size):
            if tally.k[i] > start:
                continue
            some = slice(i, min(i + batch_size, n))
            begun = time.perf_counter()
            g = generator('importance', seed, i, start)
            eps = torch.randn(m, some.stop - i, Z, generator=g).to(device)
            tally.add(some, *weigh(model, pixels[some].to(device).float()/255, eps))
            tally.seconds += time.perf_counter() - begun
            if after and after():
                return False
        tally.note(n, last=start + m == k)
    return True
