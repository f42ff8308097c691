"Letters of a font: the font's papers, the same bytes in every process, a cache that is shared"
import hashlib
import os
import subprocess
import sys

import pytest
import torch
from conftest import ROOT
from PIL import ImageFont

from convvae.data import cache_root, glyph_factors, load_glyphs, load_images, render_glyphs
from convvae.sources import glyphs
from pictures import own_cache  # noqa: F401

fonts = ROOT/'convvae'/'fonts'

def test_the_font_is_the_one_that_its_papers_describe():
    font, = fonts.glob('*.woff2')
    about = (fonts/'README.md').read_text(encoding='utf-8')
    assert font.name in about
    assert hashlib.sha256(font.read_bytes()).hexdigest() in about
    licence = (fonts/'OFL.txt').read_text(encoding='utf-8')
    assert licence.startswith('Copyright 2017 The Roboto Flex Project Authors')
    assert 'SIL OPEN FONT LICENSE Version 1.1' in licence

reader = '''
from convvae.data import load_images
images = load_images('glyphs', 8)
print(images.fingerprint, images.train.long().sum().item())
'''

def reading():
    "A process that reads the letters, at 8 x 8"
    return subprocess.Popen([sys.executable, '-c', reader], stdout=subprocess.PIPE, text=True)

def test_two_at_once_draw_once():
    both = [reading(), reading()]
    said = {p.communicate(timeout=300)[0] for p in both}
    assert [p.returncode for p in both] == [0, 0]
    kept, = (cache_root()/'glyphs').glob('*.bytes')
    written = kept.stat().st_mtime_ns
    images = load_images('glyphs', 8)
    said.add(f'{images.fingerprint} {images.train.long().sum()}\n')
    assert len(said) == 1, said
    assert kept.stat().st_mtime_ns == written
    assert {*os.listdir(kept.parent)} <= {kept.name, kept.with_suffix('.json').name, 'lock'}
    damaged = bytearray(kept.read_bytes())
    damaged[1000] ^= 1
    kept.write_bytes(damaged) # of the same size
    assert load_images('glyphs', 8).fingerprint == images.fingerprint
    assert kept.read_bytes() != damaged

def test_a_killed_drawing_leaves_nothing_that_is_taken_for_whole(monkeypatch):
    draw = glyphs.draw_letter
    left = iter(range(100))
    def interrupted(*args):
        if next(left, None) is None: raise KeyboardInterrupt
        return draw(*args)
    monkeypatch.setattr(glyphs, 'draw_letter', interrupted)
    with pytest.raises(KeyboardInterrupt): load_glyphs(image_size=8)
    assert not [*cache_root().rglob('*.bytes')]
    monkeypatch.undo()

def test_each_image_is_of_its_factors():
    images = load_glyphs(seed=3, image_size=(8, 12))
    some = torch.arange(0, len(images.train), 400)
    drawn = render_glyphs(images.train_factors[some], (8, 12))
    assert (drawn == images.train[some]).all()
    assert (images.train_labels == images.train_factors[:, 0]).all()
    every = torch.cat([images.train_factors, images.test_factors])
    assert len(every.unique(dim=0)) == len(every) == 26*8*6*4*4
    assert (every.amax(0) + 1).tolist() == [*glyph_factors.values()]

def test_writing_into_the_images_leaves_the_kept_ones_alone():
    before = load_glyphs(image_size=8)
    load_glyphs(image_size=8).train.zero_()
    assert (load_glyphs(image_size=8).train == before.train).all()

def test_no_place_to_keep_them(tmp_path, monkeypatch):
    (tmp_path/'file').write_text('in the way')
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path/'file'))
    with pytest.raises(ValueError, match='set XDG_CACHE_HOME to another folder'):
        load_glyphs(image_size=8)

def test_a_pillow_that_cannot_open_the_font(monkeypatch):
    def refuse(*args, **kwargs): raise OSError('unknown file format')
    monkeypatch.setattr(ImageFont, 'truetype', refuse)
    with pytest.raises(ValueError, match='unknown file format.*take the one that pip installs'):
        render_glyphs(torch.zeros(1, 5).long())

def test_the_seed_arrives():
    "Who asks for a set by its name gets its images in the order of the seed"
    first,again,other = (load_images('glyphs', 8, seed) for seed in (1, 1, 2))
    assert torch.equal(first.train_labels, again.train_labels)
    assert not torch.equal(first.train_labels, other.train_labels)
