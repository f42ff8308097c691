"""Figures in prose are those of the files that hold them, and the files agree with themselves

A figure that is changed in one place alone is red here: in the README, in a chapter, on the card of
a shipped model, or in the file itself. One that is measured anew has to be written anew
"""
import json
import math
import re
from contextlib import redirect_stdout
from io import StringIO

import pytest
from conftest import ROOT

from convvae.model import ConvVAE

weights = ROOT/'convvae'/'weights'
shipped = sorted(p.parent.name for p in weights.glob('*/metrics.json'))

def held(path): return json.loads((ROOT/path).read_text(encoding='utf-8'))

minute = held('benchmarks/one_minute.json')['systems']
cpu = held('recipes/mnist_record/results/cpu.json')
ablation = {row['name']: row for row in held('recipes/mnist_record/results/ablation.json')}
odd = held('benchmarks/odd_ones_out.json')
growth = held('benchmarks/growth.json')

minute_page,record_page,odd_page = (f'nbs/jobs/{name}.ipynb' for name in
                                    ('one_minute', 'record_table', 'odd_ones_out'))
notes = 'benchmarks/NOTES.md'

def texts(path):
    "What people read of a file: of a notebook its prose and what its cells printed"
    if not path.endswith('.ipynb'):
        return [(ROOT/path).read_text(encoding='utf-8')]
    cells = held(path)['cells']
    printed = [''.join(out.get('text', '')) for c in cells for out in c.get('outputs', ())]
    return [''.join(c['source']) for c in cells if c['cell_type'] == 'markdown'] + printed

def found(path, pattern):
    "The number that stands in the brackets of a pattern, which occurs once in a file"
    hits = [hit for text in texts(path) for hit in re.findall(pattern, text)]
    assert len(hits) == 1, (path, pattern, hits)
    return hits[0].replace(',', '').replace('−', '-')

def as_written(value, like):
    "A value with as many digits after the point as a figure has"
    return f'{value:.{len(like.partition(".")[2])}f}'

def seconds(system): return minute[system]['to_100']

# file, pattern with the figure in brackets, and what the figure is
figures = [
    *((path, pattern, value) for path in ('README.md', 'nbs/index.ipynb') for pattern,value in (
        (r'On two CPU cores this ends at ([\d.]+) nats', minute['convvae']['after_60']),
        (r'and (\d+) seconds are enough for 100', seconds('convvae')),
        (r'A plain PyTorch loop has ([\d.]+) nats after a minute', minute['torch']['after_60']),
        (r"TensorFlow's tutorial in Keras ([\d.]+),", minute['keras']['after_60']),
        (r"Pythae's MNIST network ([\d.]+):", minute['pythae']['after_60']),
        (r'gives −log p\(x\) = ([\d.]+) nats on the whole test set', cpu['nats']),
        (r'with ([\d,]+) importance samples for each image', cpu['k']),
    )),
    *((minute_page, rf'\n{re.escape(s["title"])} +{pattern}', value)
      for s in minute.values() for pattern,value in (
          (r'([\d,]+) +[\d.]+ +\S', s['images_per_second']),
          (r'[\d,]+ +([\d.]+) +\S', s['after_60']))),
    (minute_page, r'convvae 0.1.0, .+ (\d+) s\n', seconds('convvae')),
    (minute_page, r'\nPyTorch .+ (\d+) s\n', seconds('torch')),
    (notes, r'\| convvae \|.+\| \*\*([\d.]+)\*\* \|', minute['convvae']['after_60']),
    (notes, r'\| convvae \|.+\| \*\*([\d.]+) s\*\* \|', seconds('convvae')),
    (notes, r'\| plain PyTorch loop \|.+\| ([\d.]+) \| \d+ s', minute['torch']['after_60']),
    (notes, r'\| plain PyTorch loop \|.+\| (\d+) s', seconds('torch')),
    (notes, r"TensorFlow's tutorial in Keras 3 \|.+\| ([\d.]+) \| not",
     minute['keras']['after_60']),
    (record_page, r'this package, cpu: .+ ([\d.]+) +5000', cpu['nats']),
    (record_page, r'this package, cpu: .+ ([\d]+) +± [\d.]+, ELBO', cpu['k']),
    (record_page, r'this package, cpu: .+± ([\d.]+), ELBO', cpu['stderr']),
    (record_page, r'this package, cpu: .+ELBO (-[\d.]+)', cpu['elbo']),
    (record_page, r'-log p\(x\) +([\d.]+) ±', cpu['nats']),
    *((record_page, rf'\n{name} .*? ([\d]+\.\d\d)\s.*{re.escape(row["what"])}\n',
       row['nats']) for name,row in ablation.items()),
    *((record_page, rf'\n{name} +{row["base"]} +\S+ +([-+][\d.]+) ', row['change'])
      for name,row in ablation.items() if row['base']),
    (odd_page, r'AUROC of pixels, elpv planted: ([\d.]+)',
     sum(r['pixel'] for r in odd if r['set'] == 'elpv planted')/2),
    (odd_page, r'13 epochs gave [\d.]+ in our trials and 120 gave ([\d.]+)\.',
     sum(r['auroc']['score'] for r in odd if r['set'] == 'elpv')/2),
    (odd_page, r'The model learned from ([\d,]+) cells',
     next(r['train'] for r in odd if r['set'] == 'elpv')),
    (minute_page, r'([\d.]+) GB foretold', growth['limits']['check']['predicted']/1e9),
    (minute_page, r'([\d.]+) GB measured', growth['limits']['check']['measured']/1e9),
    (minute_page, r'an epoch of a million: ([\d.]+) minutes',
     growth['limits']['epoch_of_a_million']/60),
    ('nbs/jobs/typefaces.ipynb', r'The card says ([\d.]+)\.',
     held('convvae/weights/glyphs/metrics.json')['rate']),
]

@pytest.mark.parametrize('path, pattern, value', figures, ids=range(len(figures)))
def test_figure_is_that_of_its_file(path, pattern, value):
    figure = found(path, pattern)
    assert figure.lstrip('+') == as_written(value, figure)

def test_published_number_is_that_of_the_table():
    "The README quotes one of the numbers that the chapter lists"
    ours = found('README.md', r'a published ResNet ConvVAE has ([\d.]+)\.')
    listed = found(record_page, r'\nResNet ConvVAE  +([\d.]+)')
    assert ours == as_written(float(listed), ours)

def test_table_of_odd_ones_is_that_of_its_file():
    "Each AUROC x 100, averaged over seeds"
    keys = ('score', 'E alone', 'P alone', 'K alone', '-ELBO', 'PCA error', 'nearest neighbour',
            'mean grey', 'normal pixels')
    for name in dict.fromkeys(r['set'] for r in odd):
        rows = [r for r in odd if r['set'] == name]
        wanted = [f'{sum(100*r["auroc"][key] for r in rows)/len(rows):.0f}' for key in keys]
        row = found(odd_page, rf'\n{re.escape(name)} +((?:\d+ +)+)[\d.]+%')
        assert row.split() == wanted, name

def test_what_the_record_chapter_says_of_its_ingredients():
    "In words: three nats, two nats, more than half a nat each, nothing, more than a nat"
    change = {name: row.get('change') for name,row in ablation.items()}
    assert abs(-change['realnvp'] - 3) < 0.5 and abs(-change['stem'] - 2) < 0.5
    assert -change['warm_up'] > 0.5 < -change['free_bits'] and change['crop'] > 1
    assert abs(change['ema']) < 2*ablation['ema']['change_stderr']
    assert abs(-change['residual'] - 1) < 0.25 and abs(change['both'] - 2/3) < 0.1
    assert change['iwae'] > change['dreg'] > 0
    assert all(ablation[n]['rate'] > ablation['both']['rate'] for n in ('warm_up', 'free_bits'))

# cards of the shipped models

@pytest.mark.parametrize('name', shipped)
def test_card_says_what_was_measured(name):
    card,m = f'convvae/weights/{name}/README.md',held(f'convvae/weights/{name}/metrics.json')
    rows = (r'\| ELBO, one sample \| (-[\d.]+) ', m['elbo']), (
        r'standard error ([\d.]+)\)', m['stderr']), (r'\| rate \| ([\d.]+) \|', m['rate']), (
        r'\| distortion \| ([\d.]+) \|', m['distortion']), (
        r'bound, k = \d+ \| (-[\d.]+) \|', m['iwae_bound']), (r'bound, k = (\d+) \|', m['k']), (
        r'on the ([\d,]+) test images', m['images']), (r'with (\d+) latents, as', m['latent_dim'])
    for pattern,value in rows:
        figure = found(card, pattern)
        assert figure == as_written(value, figure), pattern
    command = found(card, r'(convvae_train --data .+)\n')
    assert f'--latent_dim {m["latent_dim"]} ' in command and f'--data {m["data"]} ' in command

@pytest.mark.parametrize('name', shipped)
def test_card_says_what_the_model_is(name):
    card,model = f'convvae/weights/{name}/README.md',ConvVAE.from_pretrained(weights/name)
    n = sum(p.numel() for p in model.parameters())
    assert int(found(card, r'; ([\d,]+) parameters;')) == n
    said = re.search(r'; channels (\S+);', texts(card)[0])[1]
    assert said == ','.join(map(str, model.config['channels']))
    assert model.latent_dim == held(f'convvae/weights/{name}/metrics.json')['latent_dim']

# the files by themselves

@pytest.mark.parametrize('name', shipped)
def test_metrics_agree_with_themselves(name):
    m = held(f'convvae/weights/{name}/metrics.json')
    adds_up(m)
    assert m['elbo'] < m['iwae_bound'] < m['elbo'] + m['rate'] and 1 <= m['ess'] <= m['k']
    assert m['active_units'] <= m['latent_dim']
    if 'bits_per_dim' in m:
        assert m['bits_per_dim'] == pytest.approx(-m['elbo']/(28*28*math.log(2)))

def adds_up(row):
    "The ELBO is minus the sum of its parts"
    assert row['elbo'] == pytest.approx(-(row['rate'] + row['distortion']), abs=1e-6)

def test_results_of_the_record_agree_with_themselves():
    adds_up(cpu)
    trace = cpu['trace']
    assert trace[-1] == dict(k=cpu['k'], nats=cpu['nats'])
    assert [t['k'] for t in trace] == sorted(t['k'] for t in trace)
    assert [t['nats'] for t in trace] == sorted((t['nats'] for t in trace), reverse=True)
    assert cpu['nats'] < -cpu['elbo'] and 1 <= cpu['ess_min'] <= cpu['ess_median'] <= cpu['k']

def test_results_of_the_ablation_agree_with_themselves():
    for row in ablation.values():
        adds_up(row)
        assert row['nats'] < -row['elbo']
        if row['base']:
            base = ablation[row['base']]
            assert row['change'] == pytest.approx(row['nats'] - base['nats'], abs=1e-5)

@pytest.mark.parametrize('name', minute)
def test_the_minute_agrees_with_itself(name):
    "The figure after 60 seconds is read off its curve, and so is the time that 100 nats take"
    s = minute[name]
    curve = [(t, nats) for t,nats,*_ in s['curve']]
    assert s['after_60'] == pytest.approx(between(curve, 60), abs=1e-6)
    crossed = [i for i,(_,nats) in enumerate(curve) if nats <= 100]
    assert bool(crossed) == (s['to_100'] is not None)
    if crossed:
        (t0, a),(t1, b) = curve[crossed[0] - 1:crossed[0] + 1]
        assert s['to_100'] == pytest.approx(t0 + (t1 - t0)*(a - 100)/(a - b))
    assert [n for *_,n in s['curve']] == sorted(n for *_,n in s['curve'])

def between(curve, t):
    "The value at a time, on a straight line between two points"
    for (t0, a),(t1, b) in zip(curve, curve[1:], strict=False):
        if t0 <= t <= t1: return a + (b - a)*(t - t0)/(t1 - t0)
    return curve[-1][1]

def test_images_per_second_are_those_of_the_curve():
    for s in minute.values():
        t,*_,n = s['curve'][-1]
        assert s['images_per_second'] == pytest.approx(n/t)

def test_table_of_the_readme_agrees_with_itself_and_the_notebook():
    table = dict(re.findall(r'^    (\w+) +(-?[\d.]+)$', texts('README.md')[0], re.M))
    numbers = {name: float(v) for name,v in table.items()}
    assert numbers['elbo'] == pytest.approx(-(numbers['rate'] + numbers['distortion']), abs=0.011)
    assert numbers['elbo'] < numbers['iwae_bound'] and numbers['ess'] <= numbers['k']
    printed = ''.join(texts('nbs/index.ipynb'))
    for name,value in table.items(): assert re.search(rf'^{name} +{value}$', printed, re.M), name

def test_table_of_the_readme_is_what_its_program_prints(tmp_path, monkeypatch):
    "Run again: another processor may round otherwise, and a training follows"
    block = re.search(r'```python\n(from convvae.data.+?)```', texts('README.md')[0], re.S)[1]
    monkeypatch.chdir(tmp_path)
    said = StringIO()
    with redirect_stdout(said): exec(compile(block, 'README.md', 'exec'), {})
    again = dict(re.findall(r'^(\w+) +(-?[\d.]+)$', said.getvalue(), re.M))
    table = dict(re.findall(r'^    (\w+) +(-?[\d.]+)$', texts('README.md')[0], re.M))
    assert again.keys() == table.keys() and len(table) >= 13
    for name,value in table.items():
        close = dict(ess=0.2, mse=0.1, rate=0.05, stderr=0.1, iwae_stderr=0.1).get(name, 0.02)
        assert float(again[name]) == pytest.approx(float(value), rel=close), name
