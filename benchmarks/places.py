"""Latents that keep their place beside a vector of latents, trained for equal time

python benchmarks/places.py [--only glyphs,sprites,photographs] [--seeds 0,1] [--seconds 60]

Each model learns for so many seconds of processor time on one core. Frechet distances are those of
features of a small classifier of the set's labels: of reconstructions to the test images, of draws
to training images, and of training images to others, for comparison. The photographs are patches
of the two that scikit-learn brings; the middle fifth of both is held out. The result goes to
places.json, pictures of the first seed to nbs/images/places_SET.png.
"""
import argparse
import json
import math
import time
from pathlib import Path

import torch
from PIL import Image
from sklearn.datasets import load_sample_images
from torch import Tensor

from convvae.chunks import in_chunks
from convvae.data import Images, load_images
from convvae.evaluate import classifier_features, closeness, evaluate, generation_scores
from convvae.model import ConvVAE
from convvae.randomness import generator
from convvae.sample import fit_mixture, grid
from convvae.train import fit

here = Path(__file__).resolve().parent
kinds = dict(
    vector=(dict(), dict()),
    spatial=(dict(latent=(4, 8, 8), block='residual'), dict(lr=3e-3)),
)

def photographs(side=64, step=8)->Images:
    "Patches of two photographs, at 32 x 32; the middle fifth is the test part"
    parts,labels = dict(train=[], test=[]),dict(train=[], test=[])
    for label,pixels in enumerate(load_sample_images().images):
        pixels = torch.from_numpy(pixels.copy()).permute(2, 0, 1)
        width = pixels.shape[2]
        a,b = width*2//5,width*3//5
        for part,left,right in (('train', 0, a), ('test', a, b), ('train', b, width)):
            found = pixels[:, :, left:right].unfold(1, side, step).unfold(2, side, step)
            found = found.permute(1, 2, 0, 3, 4).flatten(0, 1).float()
            small = torch.nn.functional.avg_pool2d(found, 2).round().to(torch.uint8)
            parts[part].append(small)
            labels[part] += [label]*len(small)
    return Images('photographs', *(torch.cat(parts[part]) for part in parts),
                  *(torch.tensor(labels[part]) for part in labels))

sets = dict(glyphs=lambda: load_images('glyphs'), sprites=lambda: load_images('sprites'),
            photographs=photographs)

def some(x:Tensor, n:int, *name)->Tensor:
    "n of the images, or all, in an order that follows from a name"
    return x[torch.randperm(len(x), generator=generator(*name))[:n]]

def measured(model, images, features, mixture, seed)->dict:
    "How near reconstructions come to test images, and draws to training images"
    real,learned = some(images.test, 2000, seed),some(images.train, 2000, seed)
    again = in_chunks(model.reconstruct, real.float()/255)
    pairs = dict(reconstructions=(real, again), draws=(learned, model.sample(2000, seed=seed)),
                 mixture_draws=(learned, model.sample(2000, seed=seed, prior=mixture)))
    distances = {name: generation_scores(a, b.clamp(0, 1), features)['frechet']
                 for name,(a,b) in pairs.items()}
    numbers = evaluate(model, images, k=1, seed=seed)
    return dict(frechet=distances, psnr=closeness(real.float()/255, again)['psnr'].mean().item(),
                elbo=numbers['elbo'], rate=numbers['rate'], log_n=math.log(len(images.train)),
                images=len(real), parameters=sum(p.numel() for p in model.parameters()))

def picture(models, mixtures, images)->Image.Image:
    "Test images; then for each kind reconstructions, draws, and draws from the mixture"
    x = images.test[::len(images.test)//12][:12].float()/255
    rows = [x]
    for kind,model in models.items():
        rows += [model.reconstruct(x), model.sample(12, seed=0),
                 model.sample(12, seed=0, prior=mixtures[kind])]
    return grid(torch.cat(rows).clamp(0, 1), ncol=12)

def compared(name:str, seed:int, seconds:float)->list:
    "A row for each kind of model"
    images = sets[name]()
    features = classifier_features(images, seed=seed)
    floor = generation_scores(*some(images.train, 4000, seed).chunk(2), features)['frechet']
    rows,models,mixtures = [],{},{}
    for kind,(sizes,how) in kinds.items():
        torch.manual_seed(seed)
        model = ConvVAE(images.image_size, likelihood='optimal_gaussian', **sizes)
        start = time.process_time()
        history = fit(model, images, max_seconds=seconds, now=time.process_time, seed=seed,
                      monitor=0, **how)
        trained = time.process_time() - start
        x = some(images.train, 10_000, seed).float()/255
        mixtures[kind],models[kind] = fit_mixture(model, x, seed=seed),model
        row = dict(set=name, kind=kind, seed=seed, seconds=trained, epochs=len(history),
                   real=floor, **measured(model, images, features, mixtures[kind], seed))
        print(json.dumps(row), flush=True)
        rows.append(row)
    if seed == 0:
        picture(models, mixtures, images).save(here.parent/'nbs'/'images'/f'places_{name}.png')
    return rows

def main():
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--only', default=','.join(sets))
    parser.add_argument('--seeds', default='0,1')
    parser.add_argument('--seconds', type=float, default=60)
    args = parser.parse_args()
    torch.set_num_threads(1)
    path = here/'places.json'
    rows = json.loads(path.read_text()) if path.exists() else []
    for name in args.only.split(','):
        for seed in map(int, args.seeds.split(',')):
            new = compared(name, seed, args.seconds)
            rows = [row for row in rows if (row['set'], row['seed']) != (name, seed)] + new
            path.write_text(json.dumps(rows, indent=1) + '\n')

if __name__ == '__main__':
    main()
