"Who imports whom, as data: no other edge, no circle, and nothing heavy with the parts that stand on the ground"
import ast
import subprocess
import sys
from graphlib import TopologicalSorter

import pytest
from conftest import ROOT

may_import = {
    '__init__': set(), '_modidx': set(),
    'data': set(), 'model': set(), 'loss': set(),
    'sample': {'loss'},
    'train': {'data', 'loss', 'sample'},
    'evaluate': {'data', 'loss', 'sample'},
    'explore': {'model', 'loss', 'sample'},
    'export': set(),
    'cli': {'data', 'model', 'loss', 'sample', 'train', 'evaluate', 'explore', 'export'},
}
modules = sorted(p.stem for p in (ROOT/'convvae').glob('*.py'))

def imported(source):
    "The modules of the package that `source` imports, wherever in it"
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import): names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = '.'.join(filter(None, ['convvae' if node.level else '', node.module]))
            names |= {f'{base}.{alias.name}' for alias in node.names}
    return {(name.split('.') + ['__init__'])[1] for name in names if name.split('.')[0] == 'convvae'}

def test_imported():
    "All ways to write an import are seen"
    for line in ('import convvae.data', 'import convvae.data as d', 'from convvae.data import load', 'from convvae import data',
                 'from .data import load', 'from . import data', 'def f(): from .data import load'):
        assert imported(line) == {'data'}, line
    assert imported('import torch, data; from torch.data import x') == set()
    assert imported('import convvae') == {'__init__'}

def test_table_has_no_circle(): TopologicalSorter(may_import).prepare()

def test_there_are_modules(): assert {'data', 'model', 'loss'} <= set(modules)

@pytest.mark.parametrize('module', modules)
def test_imports(module):
    assert module in may_import, f'convvae/{module}.py is not in the table of {__file__}'
    extra = imported((ROOT/'convvae'/f'{module}.py').read_text(encoding='utf-8')) - may_import[module]
    assert not extra, f'convvae.{module} must not import {", ".join(sorted(extra))}'

@pytest.mark.parametrize('module', ['data', 'model', 'loss'])
def test_light(module):
    "A practitioner who imports the model gets no widgets, figures or training engine with it"
    code = f'import sys, convvae.{module}; print(*{{"ipywidgets", "matplotlib", "sklearn", "accelerate"}} & set(sys.modules))'
    result = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True)
    assert (result.returncode, result.stdout.strip()) == (0, ''), result.stdout + result.stderr
