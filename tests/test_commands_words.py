"Words about a run: the command that repeats it, durations; tiles that are chosen; the last epoch"
import shlex
from types import SimpleNamespace

import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from convvae.cli import train
from convvae.commands.card import card_text
from convvae.commands.curves import draw_panel, headline
from convvae.commands.report import curves_of
from convvae.commands.tiles import Seen, evenly, pairs
from convvae.commands.words import again, command_line, in_time
from convvae.data import Images, load_images
from convvae.model import ConvVAE
from pictures import noise, own_cache  # noqa: F401

def test_command_repeats_what_is_not_usual():
    settings = dict(data='my cats', lr=4e-3, latent_dim=5, channels=(8, 16), conditional=True,
                    flip=False, out='runs/a', resume=True, value_range='-1,1', norm=None)
    words = shlex.split(command_line(settings, train))
    assert words == ['convvae_train', '--data', 'my cats', '--latent_dim', '5', '--channels',
                     '8,16', '--conditional', '--value_range=-1,1']
    assert command_line({}, train) == 'convvae_train'
    assert again({}, 'runs/a') == 'convvae_train --like runs/a/run.json'

@pytest.mark.parametrize('seconds, words', [(1, '1 seconds'), (119, '119 seconds'),
                                            (180, '3 minutes'), (7200, '120 minutes')])
def test_durations(seconds, words): assert in_time(seconds) == words

@pytest.mark.parametrize('n, most', [(1, 5), (4, 5), (5, 5), (23, 5), (1000, 12), (7, 1)])
def test_evenly_from_the_first_to_the_last(n, most):
    chosen = evenly(n, most).tolist()
    assert len(chosen) == min(n, most) and chosen == sorted(set(chosen))
    if most > 1:
        assert (chosen[0], chosen[-1]) == (0, n - 1)
        gaps = [b - a for a,b in zip(chosen, chosen[1:], strict=False)]
        assert not gaps or max(gaps) - min(gaps) <= 1

def test_the_worst_are_those_with_the_largest_error():
    n = 40
    x = torch.zeros(n, 1, 4, 4)
    error = torch.randperm(n, generator=torch.Generator().manual_seed(0))/n
    some = Seen('test', torch.arange(n), x, x + error.view(-1, 1, 1, 1), torch.zeros(n, 2), None,
                tuple(map(str, range(n))))
    even,worst = pairs(SimpleNamespace(classes=()), Images('a', x.byte(), x.byte()), some, 16)
    assert [int(p.file) for p in worst.pairs] == error.argsort(descending=True)[:8].tolist()
    assert [int(p.file) for p in even.pairs] == evenly(n, 16).tolist()

@pytest.mark.parametrize('n', [1, 9, 600, 601, 1300])
def test_curves_end_with_the_last_epoch(n):
    rows = [dict(train_elbo=-2.*n + i, test_elbo=-3.*n + i) for i in range(n)]
    ax = Figure().subplots()
    draw_panel(ax, rows, 'elbo')
    for line,part in zip(ax.lines, ('train', 'test'), strict=True):
        assert line.get_xdata()[-1] == n and line.get_ydata()[-1] == rows[-1][f'{part}_elbo']
        assert len(line.get_xdata()) <= 1200
    assert f'{rows[-1]["test_elbo"]:,.1f} nats per test image' in headline(rows)

def test_a_card_names_no_folder_of_this_machine():
    settings = dict(command='convvae_train --data /home/me/cats --init /tmp/runs/a --lr 0.1')
    text = card_text(ConvVAE((1, 8, 8), 2, (4,)), 'me/x', settings, {}, [])
    assert '--data cats --init a --lr 0.1' in text and '/home' not in text and '/tmp' not in text

def test_curves_say_where_the_test_images_begin_and_end():
    rows = [{f'{part}_{name}': value for part,value in (('train', 7.), ('test', value))
             for name in ('elbo', 'rate', 'distortion')} for value in (-3., -2.5, -2.)]
    for curve in curves_of(rows): assert curve['alt'].endswith('test from -3.0 to -2.0')

def test_what_is_cut_off_is_told(tmp_path):
    for i in range(4): Image.fromarray(noise(32, 40, 1, i)).save(tmp_path/f'{i}.png')
    assert any('cut to fit: 20%' in note for note in load_images(tmp_path, 32).notes)
    assert not any('cut to fit' in note for note in load_images(tmp_path, (32, 40)).notes)
