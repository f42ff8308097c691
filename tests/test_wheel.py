"The wheel alone, in a new environment that holds nothing but what the wheel says it needs"
import os
import subprocess
import sys
import sysconfig
from importlib.metadata import Distribution, distribution, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement

def needed(requirements, extras=frozenset([''])):
    "Names of the installed distributions that `requirements` lead to, with their extras"
    todo, seen = [(o, extras) for o in requirements], set()
    while todo:
        line, extras = todo.pop()
        req = Requirement(line)
        wanted = not req.marker or any(req.marker.evaluate({'extra': e}) for e in extras)
        if not wanted or (req.name, *sorted(req.extras)) in seen: continue
        seen.add((req.name, *sorted(req.extras)))
        todo += [(o, {'', *req.extras}) for o in requires(req.name) or []]
    return {name for name, *_ in seen}

def borrow(name, site):
    "Link the files and folders of the installed distribution `name` into the folder `site`"
    dist = distribution(name)
    for top in {o.parts[0] for o in dist.files} - {'..', '__pycache__'}:
        if not (site/top).exists(): (site/top).symlink_to(dist.locate_file(top))

def run(*command, cwd, **first):
    env = {k: v for k, v in os.environ.items() if k != 'PYTHONPATH'} | first
    result = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout

@pytest.fixture
def installed(clone, tmp_path):
    "The wheel in an environment of its own: the environment's Python, and where its packages are"
    build = [sys.executable, '-m', 'build', '--wheel', '--no-isolation', '--outdir', tmp_path]
    run(*build, cwd=clone)
    wheel, = tmp_path.glob('convvae-*.whl')
    env = tmp_path/'env'
    run(sys.executable, '-m', 'venv', '--without-pip', env, cwd=tmp_path)
    python = env/'bin'/'python'
    pip = [sys.executable, '-m', 'pip', '--python', python, 'install', '--no-deps', '--no-index']
    run(*pip, wheel, cwd=tmp_path)
    site = Path(sysconfig.get_path('purelib', vars={'base': env, 'platbase': env}))
    ours, = site.glob('convvae-*.dist-info')
    for name in needed(Distribution.at(ours).requires): borrow(name, site)
    return python, site

def modules(site):
    "All of the package: doors, wings and what lies in them"
    found = [p for p in (site/'convvae').rglob('*.py') if p.name != '_modidx.py']
    return sorted('.'.join(p.relative_to(site).with_suffix('').parts) for p in found)

weights = '''
from convvae.data import render_glyphs
from convvae.model import ConvVAE, pretrained
import torch
for name in ("mnist_2d", "mnist_16"): ConvVAE.from_pretrained(pretrained(name)).sample(2)
ConvVAE.from_pretrained(pretrained("glyphs")).sample(26, y=range(26))
assert render_glyphs(torch.zeros(1, 5).long()).max() > 0
'''

def test_wheel(installed, tmp_path):
    python, site = installed
    away = tmp_path/'away'
    away.mkdir()
    assert {'convvae.data', 'convvae.zoo.priors', 'convvae.views.page'} <= set(modules(site))
    names = ', '.join(modules(site))
    where = run(python, '-c', f'import {names}; print(convvae.__file__)', cwd=away)
    assert Path(where.strip()).is_relative_to(site), where
    run(python, '-c', weights, cwd=away)
    newest = Path(sys.prefix)/'fastcore2' # from `make install-dev`
    versions = {run_commands(python, away, path) for path in ('', newest)}
    assert {v.split('.')[0] for v in versions} == {'1', '2'}, versions

def run_commands(python, away, path):
    "The version of fastcore that is found on `path`, with which the commands were run"
    out = away/f'run{path and 2}'
    first = {'PYTHONPATH': str(path)} if path else {}
    for command in ('convvae_train', 'convvae_evaluate', 'convvae_sample'):
        assert 'usage' in run(python.with_name(command), '--help', cwd=away, **first)
    train = '--latent_dim 2 --channels 8 --epochs 1 --batch-size 500 --device cpu'.split()
    run(python.with_name('convvae_train'), *train, '--out', out, cwd=away, **first)
    run(python.with_name('convvae_sample'), '--run', out, '--num_samples', '2', cwd=away, **first)
    version = 'import fastcore; print(fastcore.__version__)'
    return run(python, '-c', version, cwd=away, **first).strip()
