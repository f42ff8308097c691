"Who imports whom, as data: no other edge, no circle, and nothing heavy with the parts that stand on the ground"
import ast
import subprocess
import sys
from graphlib import TopologicalSorter

import pytest
from conftest import ROOT

# The ground, then the rooms in wings, then the doors. A door imports its wing, never a wing its door
may_import = {
    '__init__': set(), '_modidx': set(),
    'checks': set(), 'saving': set(), 'chunks': set(), 'randomness': set(),
    'layers': set(),
    'zoo.likelihoods': set(),
    'zoo.priors': {'layers'},
    'model': {'checks', 'layers', 'saving', 'randomness', 'zoo.likelihoods', 'zoo.priors'},
    'loss': set(),
    'sources.images': {'randomness'},
    'sources.pixels': {'checks'},
    'sources.cache': {'checks', 'saving', 'chunks', 'sources.pixels'},
    'data': {'checks', 'saving', 'chunks', 'randomness', 'sources.images', 'sources.pixels', 'sources.cache'},
    'sample': {'loss', 'saving', 'chunks', 'randomness', 'checks'},
    'train': {'data', 'loss', 'sample', 'saving', 'chunks', 'randomness', 'checks'},
    'evaluate': {'data', 'loss', 'sample', 'chunks', 'randomness', 'checks'},
    'views.explorer': {'sample', 'chunks'},
    'views.sliders': {'sample', 'checks', 'views.explorer'},
    'views.plane': {'views.explorer'},
    'views.map': {'views.explorer', 'views.plane'},
    'views.morph': {'sample', 'saving', 'checks', 'views.explorer'},
    'views.parts': {'model', 'loss', 'views.explorer'},
    'views.microscope': {'checks', 'views.explorer', 'views.parts'},
    'views.decoder': {'model', 'layers', 'sample', 'views.explorer'},
    'views.page': {'sample', 'saving', 'checks', 'views.explorer', 'views.plane', 'views.map',
                   'views.decoder'},
    'explore': {'views.explorer', 'views.sliders', 'views.plane', 'views.map', 'views.morph',
                'views.microscope', 'views.page'},
    'export': {'saving'},
    'cli': {'data', 'model', 'loss', 'sample', 'train', 'evaluate', 'explore', 'export', 'saving', 'checks'},
}

def name_of(path):
    "`zoo.priors` of convvae/zoo/priors.py; a wing's `__init__` is empty and has none"
    return '.'.join(path.relative_to(ROOT/'convvae').with_suffix('').parts)

files = {name_of(p): p for p in sorted((ROOT/'convvae').rglob('*.py'))}
modules = [m for m in files if not m.endswith('.__init__')]

def imported(source, module='x'):
    "The modules of the package that the source of `module` imports, wherever in it"
    names, package = set(), ['convvae', *module.split('.')[:-1]]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import): names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package[:len(package) + 1 - node.level] if node.level else []
            base = '.'.join([*above, *filter(None, [node.module])])
            names |= {f'{base}.{alias.name}' for alias in node.names}
    return {meant(name.split('.')[1:]) for name in names if name.split('.')[0] == 'convvae'}

def meant(parts):
    "The module that an imported name lies in: the longest one that there is"
    for n in range(len(parts), 0, -1):
        if '.'.join(parts[:n]) in may_import: return '.'.join(parts[:n])
    return '.'.join(parts) or '__init__'

def test_imported():
    "All ways to write an import are seen"
    for line in ('import convvae.data', 'import convvae.data as d', 'from convvae.data import load',
                 'from convvae import data', 'from .data import load', 'from . import data',
                 'def f(): from .data import load'):
        assert imported(line) == {'data'}, line
    for line in ('from .priors import mixture', 'from ..zoo.priors import mixture', 'from . import priors'):
        assert imported(line, 'zoo.x') == {'zoo.priors'}, line
    assert imported('from ..data import load', 'zoo.x') == {'data'}
    assert imported('import torch, data; from torch.data import x') == set()
    assert imported('import convvae') == {'__init__'}
    assert imported('from .cellar import wine') == {'cellar.wine'}

def test_table_has_no_circle(): TopologicalSorter(may_import).prepare()

def test_there_are_modules(): assert {'data', 'model', 'loss', 'zoo.priors'} <= set(modules)

def test_no_folder_hides_a_module():
    "`convvae/data/` would be imported in the place of `convvae/data.py`, and nobody would be told"
    for p in (ROOT/'convvae').rglob('*.py'): assert not p.with_suffix('').is_dir(), p

def test_wings_are_empty_at_the_door():
    "`import convvae.zoo` brings nothing with it"
    for name,p in files.items():
        if name.endswith('.__init__'): assert not p.read_text().strip(), p

@pytest.mark.parametrize('module', modules)
def test_imports(module):
    assert module in may_import, f'convvae.{module} is not in the table of {__file__}'
    extra = imported(files[module].read_text(encoding='utf-8'), module) - may_import[module]
    assert not extra, f'convvae.{module} must not import {", ".join(sorted(extra))}'

heavy = {'ipywidgets', 'matplotlib', 'sklearn', 'accelerate'}

@pytest.mark.parametrize('module, without', [
    ('data', heavy), ('loss', heavy | {'torchvision'}), ('model', heavy | {'torchvision'}),
    ('train', heavy - {'accelerate'} | {'torch._dynamo'}), ('cli', heavy | {'torch'}),
])
def test_light(module, without):
    "Who imports the model gets no widgets, figures or training engine with it; `--help` needs no torch"
    code = f'import sys, convvae.{module}; print(*{without!r} & set(sys.modules))'
    result = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True)
    assert (result.returncode, result.stdout.strip()) == (0, ''), result.stdout + result.stderr
