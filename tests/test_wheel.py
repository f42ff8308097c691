"The wheel alone, in a new environment that holds nothing but what the wheel says it needs"
import os
import subprocess
import sys
import sysconfig
from importlib.metadata import Distribution, distribution, requires
from pathlib import Path

from packaging.requirements import Requirement

def needed(requirements, extras=frozenset([''])):
    "Names of the installed distributions that `requirements` lead to, each with the extras it is asked for"
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

def run(*command, cwd):
    env = {k: v for k, v in os.environ.items() if k != 'PYTHONPATH'}
    result = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout

def test_wheel(clone, tmp_path):
    run(sys.executable, '-m', 'build', '--wheel', '--no-isolation', '--outdir', tmp_path, cwd=clone)
    wheel, = tmp_path.glob('convvae-*.whl')
    env, away = tmp_path/'env', tmp_path/'away'
    away.mkdir()
    run(sys.executable, '-m', 'venv', '--without-pip', env, cwd=tmp_path)
    python = env/'bin'/'python'
    run(sys.executable, '-m', 'pip', '--python', python, 'install', '--no-deps', '--no-index', wheel, cwd=away)

    site = Path(sysconfig.get_path('purelib', vars={'base': env, 'platbase': env}))
    ours, = site.glob('convvae-*.dist-info')
    for name in needed(Distribution.at(ours).requires): borrow(name, site)

    modules = sorted('.'.join(p.relative_to(site).with_suffix('').parts)
                     for p in (site/'convvae').rglob('[!_]*.py'))
    assert modules
    where = run(python, '-c', f'import convvae, {", ".join(modules)}; print(convvae.__file__)', cwd=away)
    assert Path(where.strip()).is_relative_to(env), where
    run(python, '-c', 'from convvae.model import ConvVAE, pretrained\n'
        'for name in ("mnist_2d", "mnist_16"): ConvVAE.from_pretrained(pretrained(name)).sample(2)', cwd=away)
    for command in ('convvae_train', 'convvae_evaluate', 'convvae_sample'):
        assert 'usage' in run(env/'bin'/command, '--help', cwd=away)
