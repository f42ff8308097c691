"Who imports whom, as data: no other edge, no circle, nothing heavy with what stands on the ground"
import ast
import subprocess
import sys
from graphlib import TopologicalSorter

import pytest
from conftest import ROOT

# From the ground up. A door imports its wing, never a wing its door
may_import = {
    '__init__': set(), '_modidx': set(),
    # the ground
    'checks': set(),
    'chunks': set(),
    'randomness': set(),
    'saving': {'checks'},
    'command': {'checks'},
    'layers': set(),
    'places': {'checks', 'layers'},
    # a wing and its door
    'objectives.correlation': set(),
    'objectives.importance': set(),
    'loss': {'objectives.correlation', 'objectives.importance'},

    'zoo.likelihoods': set(),
    'zoo.priors': {'layers'},
    'model': {'checks', 'chunks', 'commands.card', 'data', 'layers', 'places', 'randomness',
              'saving', 'zoo.likelihoods', 'zoo.priors'},

    'sources.maps': set(),
    'sources.pixels': set(),
    'sources.images': {'checks', 'chunks', 'randomness', 'sources.pixels'},
    'sources.digits': {'sources.images'},
    'sources.sprites': {'sources.images'},
    'sources.arrays': {'checks', 'sources.images', 'sources.pixels'},
    'sources.reading': {'checks', 'chunks', 'sources.pixels'},
    'sources.plan': {'checks', 'sources.images', 'sources.pixels', 'sources.reading'},
    'sources.keeping': {'checks', 'randomness', 'saving'},
    'sources.cache': {'checks', 'randomness', 'sources.keeping', 'sources.maps', 'sources.pixels',
                      'sources.plan', 'sources.reading'},
    'sources.glyphs': {'randomness', 'saving', 'sources.cache', 'sources.images',
                       'sources.keeping', 'sources.maps'},
    'sources.layout': {'checks'},
    'sources.notes': {'sources.images', 'sources.plan'},
    'sources.folder': {'checks', 'randomness', 'sources.cache', 'sources.images',
                       'sources.keeping', 'sources.layout', 'sources.notes', 'sources.pixels',
                       'sources.reading'},
    'sources.named': {'checks', 'randomness', 'sources.cache', 'sources.digits',
                      'sources.folder', 'sources.glyphs', 'sources.images', 'sources.keeping',
                      'sources.reading', 'sources.sprites'},
    'sources.huggingface': {'randomness', 'sources.cache', 'sources.images', 'sources.keeping',
                            'sources.notes', 'sources.reading'},
    'sources.pairs': {'sources.cache', 'sources.images', 'sources.notes', 'sources.reading'},
    'sources.fitting': {'checks', 'sources.images'},
    'sources.objects': {'sources.arrays', 'sources.folder', 'sources.huggingface',
                        'sources.images', 'sources.pairs'},
    'data': {'checks', 'chunks', 'randomness', 'sources.arrays', 'sources.cache', 'sources.digits',
             'sources.fitting', 'sources.folder', 'sources.glyphs', 'sources.huggingface',
             'sources.images', 'sources.maps', 'sources.named', 'sources.objects',
             'sources.sprites'},

    'sample': {'chunks', 'loss', 'randomness', 'saving'},

    'running.steps': {'data', 'randomness'},
    'running.checkpoint': {'checks'},
    'running.record': {'running.checkpoint', 'running.folders', 'saving'},
    'running.shards': set(),
    'running.start': {'checks', 'data', 'randomness', 'running.checkpoint', 'running.record',
                      'running.steps', 'saving', 'zoo.likelihoods'},
    'running.live': {'sample'},
    'train': {'checks', 'chunks', 'data', 'loss', 'running.live', 'running.record',
              'running.shards', 'running.start', 'running.steps'},

    'measures.metrics': {'data'},
    'measures.closeness': set(),
    'measures.distances': {'randomness'},
    'measures.features': {'chunks', 'data', 'measures.distances', 'measures.metrics',
                          'randomness'},
    'measures.factors': {'chunks', 'data', 'measures.metrics', 'sources.sprites'},
    'measures.oddness': {'chunks', 'measures.metrics'},
    'measures.baselines': {'chunks', 'measures.oddness'},
    'measures.verdict': {'checks'},
    'measures.calibration': {'data', 'sources.images'},
    'measures.detector': {'checks', 'data', 'measures.oddness', 'measures.verdict', 'model',
                          'randomness', 'sources.images', 'train'},
    'measures.score': {'data', 'measures.baselines', 'measures.calibration', 'measures.detector',
                       'measures.oddness', 'measures.verdict', 'saving'},
    'measures.embedding': {'checks', 'chunks', 'data', 'loss', 'measures.metrics', 'randomness',
                           'saving'},
    'measures.diagnosis': {'data', 'loss', 'measures.metrics', 'randomness'},
    'evaluate': {'checks', 'chunks', 'data', 'loss', 'measures.closeness', 'measures.diagnosis',
                 'measures.distances', 'measures.factors', 'measures.features',
                 'measures.metrics', 'randomness'},

    'views.explorer': {'chunks', 'sample'},
    'views.sliders': {'checks', 'sample', 'views.explorer'},
    'views.plane': {'sample', 'views.explorer'},
    'views.map': {'sample', 'views.explorer', 'views.plane'},
    'views.morph': {'checks', 'sample', 'saving', 'views.explorer'},
    'views.parts': {'loss', 'model', 'views.explorer'},
    'views.places': {'checks', 'sample', 'views.explorer', 'views.parts'},
    'views.microscope': {'checks', 'sample', 'views.explorer', 'views.parts'},
    'views.decoder': {'layers', 'model', 'sample', 'views.explorer'},
    'views.page': {'checks', 'sample', 'saving', 'views.decoder', 'views.explorer', 'views.map',
                   'views.plane'},
    'views.frames': set(),
    'views.sheets': {'chunks', 'views.explorer'},
    'views.atlas': {'checks', 'data', 'measures.embedding', 'saving', 'views.decoder',
                    'views.explorer', 'views.page', 'views.plane', 'views.sheets'},
    'explore': {'views.explorer', 'views.map', 'views.microscope', 'views.morph', 'views.page',
                'views.places', 'views.plane', 'views.sliders'},

    'export': {'saving'},
    'running.folders': {'saving'},
    'running.options': {'checks', 'data', 'loss'},
    'commands.card': {'commands.words', 'running.options', 'sample', 'saving'},
    'commands.curves': {'saving'},
    'commands.tiles': {'chunks', 'data', 'running.options', 'sample'},
    'commands.words': {'data', 'measures.metrics'},
    'commands.report': {'commands.curves', 'commands.tiles', 'commands.words', 'data',
                        'randomness', 'saving', 'views.page'},
    'commands.compare': {'commands.curves', 'commands.words', 'running.folders', 'running.options',
                         'saving'},
    'commands.score': {'checks', 'measures.score', 'model', 'running.folders', 'running.options',
                       'saving', 'train'},
    'commands.pictures': {'commands.curves', 'commands.tiles', 'data', 'running.options', 'sample',
                          'saving'},
    'commands.starting': {'command', 'data', 'model', 'running.folders', 'running.options',
                          'running.start'},
    'commands.embed': {'checks', 'measures.embedding', 'model', 'running.folders',
                       'running.options', 'saving', 'train', 'views.atlas'},
    'cli': {'checks', 'command', 'commands.compare', 'commands.curves', 'commands.embed',
            'commands.pictures', 'commands.report', 'commands.score', 'commands.starting',
            'commands.words', 'data', 'evaluate', 'model', 'running.folders', 'running.options',
            'running.start', 'sample', 'saving', 'train'},
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
    for line in ('from .priors import mixture', 'from ..zoo.priors import mixture',
                 'from . import priors'):
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
    ('commands.score', heavy | {'torch'}),
])
def test_light(module, without):
    "With the model come no widgets, figures or training engine; `--help` needs no torch"
    code = f'import sys, convvae.{module}; print(*{without!r} & set(sys.modules))'
    result = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True)
    assert (result.returncode, result.stdout.strip()) == (0, ''), result.stdout + result.stderr
