"""Every option of every command arrives where it is to have an effect, and nowhere else

The commands run in this process; what they call is replaced by functions that note what they are
given. An option that is set has to change what is written beside it here, and nothing more. Which
options there are is asked of the parsers: one without an entry is red
"""
import functools
import json
from inspect import signature
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import convvae.commands.curves
import convvae.commands.report
import convvae.data
import convvae.evaluate
import convvae.measures.embedding
import convvae.measures.score
import convvae.running.shards
import convvae.running.start
import convvae.sample
import convvae.train
import convvae.views.atlas
from convvae import cli
from convvae.command import parser_of
from convvae.commands.score import joined
from convvae.data import Images
from convvae.measures.metrics import Metrics
from convvae.model import ConvVAE

size = (1, 32, 32)
dark,light = 100,200  # every training pixel, and every test pixel: who got which is seen

def pictures(name, n=12):
    "Images of two classes; those to train on are dark, those to test on light"
    parts = [torch.full((n, *size), shade, dtype=torch.uint8) for shade in (dark, light)]
    y = torch.arange(n) % 2
    return Images(str(name), *parts, y, y, ('cat', 'dog'))

def plain(value):
    "What a value says, in a form that can be compared"
    if isinstance(value, functools.partial):
        return value.func.__name__, *map(plain, value.args), *sorted(value.keywords.items())
    if isinstance(value, Images):
        return value.name, len(value.train), len(value.test)
    if isinstance(value, (ConvVAE, SimpleNamespace)):
        return type(value).__name__
    if torch.is_tensor(value):
        return tuple(value.shape), [round(v, 3) for v in value.unique().tolist()[:8]]
    return getattr(value, '__name__', 'something') if callable(value) else value

class Notes(dict):
    "What was called with what: `fit.lr` -> 0.1"
    def of(self, name, given):
        "Note the arguments of a call, those of a dict one by one"
        for key,value in given.items():
            if isinstance(value, dict):
                self.of(f'{name}.{key}', value)
            elif key == 'beta' and callable(value):  # of the share of the training that is done
                self[f'{name}.{key}'] = [round(value(t), 4) for t in (0., 0.125, 1.)]
            else:
                self[f'{name}.{key}'] = plain(value)

def noting(notes, name, function, result=None):
    "A function that notes what it is given and does nothing; it takes what `function` takes"
    parameters = signature(function)
    def noted(*args, **kwargs):
        given = parameters.bind(*args, **kwargs)
        given.apply_defaults()
        notes.of(name, given.arguments)
        return result(**given.arguments) if callable(result) else result
    noted.__signature__ = parameters
    return noted

@pytest.fixture
def stage(tmp_path, monkeypatch):
    "A folder with runs, and a function: command line -> what was called with what"
    for name,n_classes,more in (('plain', None, {}), ('told', 2, {}),
                                ('coins', None, dict(binarize=True))):
        model = ConvVAE(size, 3, (8,), n_classes=n_classes, trained_on=dict(classes=('cat', 'dog')))
        model.save_pretrained(tmp_path/name)
        (tmp_path/name/'run.json').write_text(json.dumps(dict(data='digits', seed=4, **more)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli.os, 'urandom', lambda n: bytes([1]*n))
    return functools.partial(called, monkeypatch)

def called(monkeypatch, command, line):
    "What a command line calls with what"
    notes = Notes()
    engine = convvae.running.shards.pick_device('cpu')
    table = SimpleNamespace(to_csv=lambda path: (notes.of('to_csv', dict(path=path)),
                                                 Path(path).touch()))
    touched = lambda path, **_: (Path(path).touch(), path)[1]  # noqa: E731
    with monkeypatch.context() as m:
        def put(where, name, result=None, called=None):
            m.setattr(where, name, noting(notes, called or name, getattr(where, name), result))
        put(convvae.train, 'pick_device', engine)
        put(convvae.data, 'load_images', lambda data, **_: pictures(data))
        put(convvae.data, 'images_for', lambda data, **_: data if isinstance(data, Images) else
            pictures(data))
        put(torch, 'manual_seed')
        put(convvae.commands.curves, 'write_curves')
        put(cli, 'write_pictures')
        put(convvae.running.start, 'run_away', '')
        put(cli, 'write_named', ['a.png'])
        put(cli, 'write_samples')
        put(convvae.sample, 'save_gif')
        put(convvae.sample, 'walk', torch.zeros(7, *size))
        put(convvae.sample, 'fit_mixture', 'fitted')
        put(ConvVAE, 'sample', torch.full((2, *size), 0.5), 'sample')
        put(convvae.evaluate, 'evaluate', Metrics(elbo=-1.))
        put(convvae.evaluate, 'diagnose', ['what is wrong'])
        put(convvae.commands.report, 'write_report', 'report.html')
        put(convvae.measures.embedding, 'embed', table)
        put(convvae.views.atlas, 'atlas', touched)
        put(convvae.measures.score, 'score', SimpleNamespace(score=[1.]))
        put(convvae.measures.score, 'write_csv')
        drawn = SimpleNamespace(save=lambda path: Path(path).touch())
        put(convvae.measures.score, 'picture_of_oddest', drawn)
        def model_of(model, images, **_):
            notes.of('model', dict(model.config, trained_on=None))
            return [dict(epoch=1, train_elbo=-2., test_elbo=-1.)]
        put(convvae.train, 'fit', model_of)
        said = []
        m.setattr('builtins.print', lambda *args, **_: said.extend(args))
        command(line.split())
        notes['says what is wrong'] = 'what is wrong' in str(said)
    return notes

def changed(before, after):
    "What is called with another value, or not at all"
    gone = object()
    differ = {k for k in before.keys() | after.keys()
              if before.get(k, gone) != after.get(k, gone) and k != 'fit.settings.command'}
    return {k: after.get(k) for k in sorted(differ)}

def kept(**settings):
    "What goes into run.json"
    return {f'fit.settings.{name}': value for name,value in settings.items()}

# option -> value, what it changes, and the options beside it
of_train = dict(
    data=('sprites', {'load_images.data': 'sprites', 'fit.images': ('sprites', 12, 12),
                      'write_pictures.images': ('sprites', 12, 12),
                      'run_away.images': ('sprites', 12, 12), **kept(data='sprites')}),
    out=('b', {'fit.out': Path('b'), 'fit.started': ('point_latest', Path('b')),
               'write_pictures.out': Path('b'), 'write_curves.path': Path('b/curves.png')}),
    epochs=('7', {'fit.epochs': 7}),
    max_seconds=('9.5', {'fit.max_seconds': 9.5}),
    batch_size=('32', {'fit.batch_size': 32}),
    lr=('0.25', {'fit.lr': 0.25}),
    latent_dim=('5', {'model.latent_dim': 5, **kept(latent_dim=5)}),
    latent=('4,8,8', {'model.latent': (4, 8, 8), 'model.latent_dim': 256, 'model.channels': (64,),
                      **kept(latent='4,8,8', latent_dim=256, channels='64')}),
    channels=('8,16', {'model.channels': (8, 16), **kept(channels='8,16')}),
    stem=('2', {'model.stem': 2, **kept(stem=2)}),
    block=('residual', {'model.block': 'residual', **kept(block='residual')}),
    norm=('group', {'model.norm': 'group', **kept(norm='group')}),
    likelihood=('gaussian', {'model.likelihood': 'gaussian', **kept(likelihood='gaussian')}),
    prior=('mog', {'model.prior': 'mog', **kept(prior='mog')}),
    conditional=(None, {'model.n_classes': 2, **kept(conditional=True)}),
    objective=('tc', {'fit.objective': ('tc_objective', ('n', 12)), **kept(objective='tc')}),
    beta=('3', {'fit.beta': [3., 3., 3.], **kept(beta=3.)}),
    warm_up=('0.25', {'fit.beta': [0., 0.5, 1.], **kept(warm_up=0.25)}),
    free_bits=('0.5', {'fit.objective': ('objective', ('free_bits', 0.5)), **kept(free_bits=0.5)}),
    k=('3', {'fit.k': 3}),
    binarize=(None, {'fit.binarize': True, 'write_pictures.binarize': True}),
    image_size=('16,24', {'load_images.image_size': (16, 24), **kept(image_size='16,24')}),
    value_range=('0,99', {'load_images.value_range': (0., 99.), **kept(value_range='0,99')}),
    background=('black', {'load_images.background': 'black', **kept(background='black')}),
    skip_bad=(None, {'load_images.skip_bad': True, **kept(skip_bad=True)}),
    flip=(None, {'fit.flip': True}),
    crop=('2', {'fit.crop': 2}),
    ema=('0.9', {'fit.ema': 0.9}),
    patience=('4', {'fit.patience': 4}),
    pieces=('2', {'fit.pieces': 2}),
    precision=('no', {'fit.precision': 'no', 'pick_device.precision': 'no'}),
    compile=(None, {'fit.compile': True}),
    log_with=('wandb', {'fit.log_with': 'wandb', 'pick_device.log_with': 'wandb'}),
    seed=('6', {'fit.seed': 6, 'load_images.seed': 6, 'manual_seed.seed': 6,
                'write_pictures.seed': 6}),
    device=('cpu', {'fit.device': 'cpu', 'pick_device.device': 'cpu'}),
    num_samples=('5', {'write_pictures.num_samples': 5}),
    init=('plain', {'model.latent_dim': 3, 'model.channels': (8,), 'load_images.channels': 1,
                    'load_images.image_size': (32, 32), 'manual_seed.seed': None,
                    **kept(init='plain', latent_dim=3, channels='8', image_size='32,32')}),
    resume=(None, {'fit.resume': True}),
    overwrite=(None, {'fit.overwrite': True}),
)
other_images = {'images_for.data': 'sprites', 'images_for.seed': 4, 'load_images.data': None}
of_evaluate = dict(
    num_samples=('5', {'write_pictures.num_samples': 5}),
    k=('3', {'evaluate.k': 3}),
    binarize=(None, {f'{name}.binarize': True
                     for name in ('evaluate', 'diagnose', 'write_pictures')}),
    diagnose=(None, {'says what is wrong': True}),
    seed=('6', {f'{name}.seed': 6 for name in ('evaluate', 'diagnose', 'write_pictures')}),
    device=('cpu', {'pick_device.device': 'cpu'}),
)
of_sample = dict(
    num_samples=('5', {'sample.n': 5, 'sample.y': ((5,), [0, 1]),
                       'write_samples.title': '5 draws from told, seed 16843009'}),
    temperature=('0.5', {'sample.temperature': 0.5}),
    seed=('6', {'sample.seed': 6, 'write_samples.title': '64 draws from told, seed 6'}),
    label=('dog', {'sample.y': ((), [1]),
                   'write_samples.title': '64 draws from told, seed 16843009, class dog'}),
    mixture=('3', {'fit_mixture.components': 3, 'fit_mixture.seed': 0, 'sample.prior': 'fitted',
                   'fit_mixture.model': 'ConvVAE', 'fit_mixture.y': ((12,), [0, 1]),
                   'fit_mixture.x': ((12, *size), [round(dark/255, 3)])}),
    reconstruct=('a.png', {'write_named.reconstruct': 'a.png', 'write_named.morph': None,
                           'write_named.label': None, 'write_named.out': Path('told')}),
    morph=('a.png,b.png', {'write_named.reconstruct': None, 'write_named.morph': 'a.png,b.png',
                           'write_named.label': None, 'write_named.out': Path('told')}),
    out=('b', {'write_samples.out': Path('b')}),
    files=(None, {'write_samples.files': True}),
    gif=(None, {'walk.steps': 12, 'walk.y': ((), [0]), 'save_gif.seconds': 0.08*7,
                'save_gif.back': False, 'save_gif.path': Path('told/samples.gif')}, '--label 0'),
    device=('cpu', {'pick_device.device': 'cpu'}),
)
of_embed = dict(
    out=('b.csv', {'to_csv.path': Path('b.csv'), 'atlas.path': Path('atlas.html')}),
    plane=('tsne', {'atlas.plane': 'tsne'}),
    most=('7', {'atlas.most': 7}),
    k=('3', {'embed.k': 3}),
    binarize=(None, {'embed.binarize': True}),
    seed=('6', {'embed.seed': 6, 'atlas.seed': 6}),
    device=('cpu', {'pick_device.device': 'cpu'}),
)
of_score = dict(
    out=('b.csv', {'write_csv.path': Path('b.csv')}),
    alpha=('0.25', {'score.alpha': 0.25}),
    num_oddest=('3', {'picture_of_oddest.n': 3}),
    device=('cpu', {'pick_device.device': 'cpu'}),
)
# command -> its function, options that every line has, and the tables of its options. What `run`,
# `data` and `good` do is seen by the tests below
commands = dict(
    train=(cli.train_command, '--out a', of_train, ()),
    evaluate=(cli.evaluate_command, '--run plain', of_evaluate, ('run', 'data')),
    sample=(cli.sample_command, '--run told', of_sample, ('run', 'data')),
    embed=(cli.embed_command, '--run plain', of_embed, ('run', 'data')),
    score=(cli.score_command, '--run plain', of_score, ('run', 'data', 'good')),
)

def options_of(name):
    "The options of a command, as its parser has them"
    return {a.dest: a for a in parser_of(getattr(cli, name))._actions if a.dest != 'help'}

@pytest.mark.parametrize('name', commands)
def test_every_option_has_an_entry_that_is_not_its_default(name):
    _,_,table,elsewhere = commands[name]
    assert options_of(name).keys() == table.keys() | {*elsewhere}
    for option,(value,*_) in table.items():
        action = options_of(name)[option]
        assert action.nargs == 0 if value is None else action.type(value) != action.default, option

entries = [(name, option) for name,(_,_,table,_) in commands.items() for option in table]

@pytest.mark.parametrize('name, option', entries)
@pytest.mark.parametrize('between', '_-')
def test_option_arrives(stage, name, option, between):
    command,line,table,_ = commands[name]
    value,wanted,*beside = table[option]
    line = ' '.join([line, *beside])
    before = stage(command, line)
    after = stage(command, f'{line} --{option.replace("_", between)} {value or ""}')
    differs = changed(before, after)
    assert {k: v for k,v in differs.items() if k in wanted} == wanted
    called_now = {k.partition('.')[0] for k in wanted if k not in before}
    alien = {k for k in differs if k not in wanted and k.partition('.')[0] not in called_now}
    if option == 'mixture':                  # which is fitted to images that have to be read
        alien = {k for k in alien if not k.startswith(('load_images.', 'images_for.'))}
    if option in ('reconstruct', 'morph'):   # in place of drawing
        alien = {k for k in alien if k in after}
        assert not any(k.startswith(('sample.', 'write_samples.')) for k in after)
    assert not alien

def test_command_of_a_run_is_the_one_that_made_it(stage):
    "What run.json notes is what was asked for, and asks for the same again"
    for option,(value,*_) in of_train.items():
        if option in ('out', 'resume', 'overwrite'):
            continue
        first = stage(cli.train_command, f'--out a --{option} {value or ""}')
        made = first['fit.settings.command']
        assert f'--{option}' in made, option
        again = stage(cli.train_command, '--out a ' + made.removeprefix('convvae_train '))
        assert changed(first, again) == {} and again['fit.settings.command'] == made

def test_run_is_the_one_that_is_named(stage):
    "Its folder, its seed, and what it was trained on; a model of draws gets draws"
    for name in ('evaluate', 'sample', 'embed', 'score'):
        command = commands[name][0]
        notes = stage(command, '--run coins' + ' --mixture 2'*(name == 'sample'))
        assert (notes['load_images.data'], notes['load_images.seed']) == ('digits', 4), name
        if name in ('evaluate', 'embed'):
            assert notes[f'{name}.binarize'] is True
        if name == 'evaluate':
            assert notes['diagnose.binarize'] and notes['write_pictures.binarize']
            assert notes['write_pictures.out'] == notes['write_report.run'] == Path('coins')
        if name == 'sample':
            assert notes['fit_mixture.x'] == ((12, *size), [0., 1.])
            assert notes['write_samples.out'] == Path('coins')

def test_data_are_those_that_are_named(stage):
    for name in ('evaluate', 'sample', 'embed', 'score'):
        command = commands[name][0]
        notes = stage(command, '--run plain --data other' + ' --mixture 2'*(name == 'sample'))
        got = {k: v for k,v in notes.items() if k.startswith('images_for.')}
        assert got['images_for.data'] == 'other' and got['images_for.seed'] == 4, name
        if name in ('evaluate', 'embed'):
            assert notes[f'{name}.images'] == ('other', 12, 12)
        if name == 'score':
            assert notes['score.new'] == ('other', 12, 12)
            assert notes['score.good'] == ('digits', 12, 12)

def test_good_images_calibrate(stage):
    "What the model learned from stays; those of --good are held out"
    notes = stage(cli.score_command, '--run plain --good other')
    assert notes['score.good'] == ('other', 12, 12) and notes['score.new'] == ('digits', 12, 12)
    own,others = pictures('own'),pictures('others', 5)
    both = joined(own, others)
    assert both.name == 'others' and torch.equal(both.train, own.train)
    assert torch.equal(both.test, others.test)

def test_first_settings_are_those_of_the_help(stage):
    "Without any option, what is called gets what --help calls the default"
    for name,(command,line,table,_) in commands.items():
        notes = stage(command, line)
        for option,action in options_of(name).items():
            for key in (f'fit.{option}', f'{name}.{option}'):
                if key in notes and option in table and option not in ('objective', 'beta', 'out'):
                    got = notes[key]
                    assert got == action.default or (name, option) == ('sample', 'seed'), key

# What a run writes into run.json: --like takes it from there
settings = ('epochs', 'batch_size', 'lr', 'seed', 'binarize', 'flip', 'crop', 'ema', 'k',
            'patience', 'max_seconds', 'latent_dim', 'latent', 'channels', 'stem', 'block', 'norm',
            'likelihood', 'prior', 'conditional', 'objective', 'beta', 'warm_up', 'free_bits',
            'image_size', 'value_range', 'background', 'skip_bad')

def written(option, value):
    "A value as run.json has it"
    action = options_of('train')[option]
    return True if action.nargs == 0 else action.type(value)

@pytest.mark.parametrize('option', settings)
def test_like_is_the_same_as_the_option(stage, option):
    value,_,*_ = of_train[option]
    told = stage(cli.train_command, f'--out a --{option} {value or ""}')
    Path('like.json').write_text(json.dumps({option: written(option, value)}))
    assert changed(told, stage(cli.train_command, '--out a --like like.json')) == {}

def test_like_takes_all_at_once_and_what_is_given_counts_more(stage):
    together = [o for o in settings if o not in ('objective', 'k', 'latent')]
    values = {o: written(o, of_train[o][0]) for o in together}
    Path('like.json').write_text(json.dumps(values))
    line = ' '.join(f'--{o} {of_train[o][0] or ""}' for o in together)
    assert changed(stage(cli.train_command, f'--out a {line}'),
                   stage(cli.train_command, '--out a --like like.json')) == {}
    given = stage(cli.train_command, '--out a --like like.json --lr 0.5 --stem 4')
    assert given['fit.lr'] == 0.5 and given['model.stem'] == 4 and given['fit.crop'] == 2

@pytest.mark.parametrize('option, value, key', [
    ('beta', 0., 'fit.beta'), ('seed', 0, 'fit.seed'), ('crop', 0, 'fit.crop'),
    ('conditional', False, 'fit.settings.conditional'), ('flip', False, 'fit.flip')])
def test_like_keeps_what_is_nothing(stage, option, value, key):
    "0 and False are settings too, and not the same as none"
    Path('like.json').write_text(json.dumps({option: value}))
    notes = stage(cli.train_command, '--out a --like like.json')
    assert notes[key] == ([0., 0., 0.] if option == 'beta' else value)

def test_one_for_all_objectives(stage):
    "Names of objectives, and what goes with them"
    for name,k in (('iwae', 8), ('dreg', 8)):
        notes = stage(cli.train_command, f'--out a --objective {name}')
        assert (notes['fit.objective'], notes['fit.k']) == (f'{name}_objective', k)
        assert notes['fit.beta'] is None
        assert stage(cli.train_command, f'--out a --objective {name} --k 3')['fit.k'] == 3
    tc = stage(cli.train_command, '--out a --objective tc --beta 6 --warm_up 0.25')
    assert tc['fit.beta'] == [0., 3., 6.]
