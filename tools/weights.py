"""Put a run on MNIST or on glyphs into the package as a trained model, with its card

python tools/weights.py runs/mnist_2d

The name of the run's folder becomes the model's name. Beside the weights: metrics.json, what
`convvae_evaluate` measured, and latents.safetensors, the posterior means `mu` (N, Z) and labels
`y` (N,) of up to 2,000 test images, for maps without an image. With glyphs the picture that opens
README goes along: nbs/images/alphabets.png, six alphabets drawn from six points of the prior.
"""
import json
import shutil
import sys
from inspect import signature
from pathlib import Path

import torch
from safetensors.torch import save_file

from convvae.cli import train
from convvae.data import load_images
from convvae.model import ConvVAE
from convvae.sample import grid

root = Path(__file__).resolve().parent.parent

card = '''---
library_name: convvae
license: apache-2.0
datasets: [{dataset}]
---

# {name}

A {kind} of {what} with {latent_dim} latents, as it comes with the package
[convvae](https://github.com/convvae/convvae):

```python
from convvae.model import ConvVAE, pretrained

model = ConvVAE.from_pretrained(pretrained('{name}'))
{draw}
```

**Made by** `make weights`, that is, apart from folders:

```sh
{command}
```

{trained_on}; {parameters:,} parameters; \
channels {channels}; torch {torch}.

**Measured** by `convvae_evaluate` on {tested_on}, in nats per image:

| quantity | |
|---|---|
| ELBO, one sample | {elbo:.2f} (standard error {stderr:.2f}) |
| rate | {rate:.2f} |
| distortion | {distortion:.2f} |
| importance-weighted bound, k = {k} | {iwae_bound:.2f} |

The weights of the last epoch were taken; {chosen}.

**For** learning and demonstrations. It knows {knows}, \
and nothing else. `latents.safetensors` holds
the posterior means and labels of {latents:,} test images, \
so that a map of the latent space can be drawn without the images.
'''

about = dict(
    mnist=dict(
        dataset='ylecun/mnist',
        kind='convolutional VAE', what='handwritten digits',
        draw='images = model.sample(16)  # (16, 1, 28, 28), pixels in [0, 1]',
        trained_on='60,000 training images, binarised anew in each epoch',
        tested_on='the 10,000 test images, binarised once',
        chosen='nothing was chosen by looking at the test images',
        knows='upright digits of 28 x 28, white on black',
    ),
    glyphs=dict(
        dataset='glyphs',
        kind='conditional convolutional VAE', what='the letters of a variable font',
        draw='letters = model.sample(26, y=range(26))  # (26, 1, 32, 32), pixels in [0, 1]',
        trained_on='17,971 training images, grey at their edges',
        tested_on='the 1,997 test images, whose grey pixels make it a cross-entropy '
                  'and not -log p(x)',
        chosen='the settings were chosen on other runs, with an eye on the test images',
        knows='capitals of Roboto Flex at 32 x 32, white on black',
    ),
)

def command(settings, defaults):
    "How to train the like: only what differs from the defaults"
    differ = {k: v for k, v in settings.items() if k in defaults and v != defaults[k]}
    options = [f'--{k}' if v is True else f'--{k} {v}' for k, v in differ.items()]
    return ' '.join(['convvae_train', *options])

def alphabets(model, seed=2):
    "Six points of the prior, and from each of them the whole alphabet"
    torch.manual_seed(seed)
    z = model.prior().sample((6,))[:, None].expand(-1, 26, -1)
    with torch.no_grad():
        x = model.decode(z, torch.arange(26).expand(6, 26)).mean
    return grid(x.flatten(0, 1), ncol=26, scale=1, gap=0)

def main(run):
    "Model, latents, numbers and card of a run, into the package"
    settings, metrics = (json.loads((run/f).read_text()) for f in ('run.json', 'metrics.json'))
    model = ConvVAE.from_pretrained(run)
    folder = root/'convvae'/'weights'/run.name
    model.save_pretrained(folder)
    images = load_images(settings['data'])
    x, y = images.test[:2000].float()/255, images.test_labels[:2000]
    mu = model.embed(x, y if model.n_classes else None)
    save_file(dict(mu=mu.half(), y=y.to(torch.uint8)), folder/'latents.safetensors')
    shutil.copy(run/'metrics.json', folder)
    defaults = {k: p.default for k, p in signature(train).parameters.items()}
    text = card.format(name=run.name, command=command(settings, defaults), latents=len(x),
                       parameters=sum(p.numel() for p in model.parameters()),
                       channels=settings['channels'], torch=settings['machine']['torch'],
                       **about[settings['data']], **metrics)
    (folder/'README.md').write_text(text, encoding='utf-8')
    if settings['data'] == 'glyphs':
        alphabets(model).save(root/'nbs'/'images'/'alphabets.png')
    print(text)

if __name__ == '__main__': main(Path(sys.argv[1]))
