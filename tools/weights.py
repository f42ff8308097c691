"""Put a run on MNIST into the package as a trained model, with its card

python tools/weights.py runs/mnist_2d

The name of the run's folder becomes the model's name. Beside the weights: metrics.json, what
`convvae_evaluate` measured, and latents.safetensors, the posterior means `mu` (2000, Z) and labels
`y` (2000,) of the first test images, for maps without an image.
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

card = '''---
library_name: convvae
license: apache-2.0
datasets: [ylecun/mnist]
---

# {name}

A convolutional VAE of handwritten digits with {latent_dim} latents, as it comes with the package
[convvae](https://github.com/convvae/convvae):

```python
from convvae.model import ConvVAE, pretrained

model = ConvVAE.from_pretrained(pretrained('{name}'))
images = model.sample(16)  # (16, 1, 28, 28), pixels in [0, 1]
```

**Made by** `make weights`, that is, apart from folders:

```sh
{command}
```

60,000 training images, binarised anew in each epoch; {parameters:,} parameters; \
channels {channels}; torch {torch}.

**Measured** by `convvae_evaluate` on the 10,000 test images, binarised once, in nats per image:

| quantity | |
|---|---|
| ELBO, one sample | {elbo:.2f} (standard error {stderr:.2f}) |
| rate | {rate:.2f} |
| distortion | {distortion:.2f} |
| importance-weighted bound, k = {k} | {iwae_bound:.2f} |

The weights of the last epoch were taken; nothing was chosen by looking at the test images.

**For** learning and demonstrations. It knows upright digits of 28 x 28, white on black, \
and nothing else. `latents.safetensors` holds
the posterior means and labels of 2,000 test images, \
so that a map of the latent space can be drawn without the images.
'''

def command(settings, defaults):
    "How to train the like: only what differs from the defaults"
    differ = {k: v for k, v in settings.items() if k in defaults and v != defaults[k]}
    options = [f'--{k}' if v is True else f'--{k} {v}' for k, v in differ.items()]
    return ' '.join(['convvae_train', *options])

def main(run):
    "Model, latents, numbers and card of a run, into the package"
    about, metrics = (json.loads((run/f).read_text()) for f in ('run.json', 'metrics.json'))
    model = ConvVAE.from_pretrained(run)
    folder = Path(__file__).resolve().parent.parent/'convvae'/'weights'/run.name
    model.save_pretrained(folder)
    images = load_images('mnist')
    with torch.no_grad():
        mu = model.embed(images.test[:2000].float()/255)
    latents = dict(mu=mu.half(), y=images.test_labels[:2000].to(torch.uint8))
    save_file(latents, folder/'latents.safetensors')
    shutil.copy(run/'metrics.json', folder)
    defaults = {k: p.default for k, p in signature(train).parameters.items()}
    text = card.format(name=run.name, command=command(about, defaults),
                       parameters=sum(p.numel() for p in model.parameters()),
                       channels=about['channels'], torch=about['machine']['torch'], **metrics)
    (folder/'README.md').write_text(text, encoding='utf-8')
    print(text)

if __name__ == '__main__': main(Path(sys.argv[1]))
