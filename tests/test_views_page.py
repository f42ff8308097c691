"The page of `to_html` in a browser: it decodes as torch does, and follows pointer, finger and keys"
import io
import json
from base64 import b64decode
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.distributions import Bernoulli, Independent

from convvae.explore import to_html
from convvae.model import ConvVAE, blocks, likelihoods, pretrained

@contextmanager
def opened(browser, url, **kwargs):
    "A page that may ask nobody for anything and has nothing to complain of"
    page, wrong = browser.new_page(**kwargs), []
    page.on('console', lambda m: m.type in ('error', 'warning') and wrong.append(m.text))
    page.on('pageerror', lambda e: wrong.append(str(e)))
    def note(request):
        if request.url.split(':')[0] not in ('file', 'data', 'blob'):
            wrong.append(request.url)
    page.on('request', note)
    page.goto(url)
    yield page
    page.close()
    assert not wrong, wrong

def lively(model, std=0.3):
    "A model whose images differ from place to place, without training"
    with torch.no_grad():
        for p in model.decoder.parameters():
            noise = torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel()))
            p.copy_(noise*std)
    return model

def picture(page):
    "What the page shows, as a PNG"
    two_frames = 'done => requestAnimationFrame(() => requestAnimationFrame(done))'
    page.evaluate(f'() => new Promise({two_frames})')
    url = page.evaluate("document.querySelector('.cv-picture').toDataURL()")
    return b64decode(url.split(',')[1])

def shades(page):
    "The same, as grey shades from 0 to 1"
    return torch.from_numpy(np.array(Image.open(io.BytesIO(picture(page))))[..., 0]/255)

def drag(page, box, places, y=0.5):
    "Move the mouse with its button down over these shares of a box's width"
    def at(share): return box['x'] + share*box['width'], box['y'] + y*box['height']
    page.mouse.move(*at(places[0]))
    page.mouse.down()
    for share in places[1:]:
        page.mouse.move(*at(share))
    page.mouse.up()

def decoded(page, z, one_hot=()):
    "What the page makes of latents and a label"
    values = page.evaluate('v => [...convvae.decode(v)]', [*z.tolist(), *one_hot])
    return torch.tensor(values)

kinds = [dict(block=b, likelihood=l) for b in blocks for l in likelihoods]

@pytest.mark.parametrize('kind', kinds, ids=lambda k: '-'.join(k.values()))
def test_page_decodes(browser, tmp_path, kind):
    "Every layer of every decoder: the page's image is torch's, up to weights of 16 bits"
    torch.manual_seed(0)
    model = lively(ConvVAE((3, 20, 30), 3, (8, 16), n_classes=4, **kind))
    with opened(browser, to_html(model, tmp_path/'a.html').as_uri()) as page:
        assert page.evaluate('convvae.decode !== null'), 'by tiles, not by the decoder'
        for z, y in ((torch.randn(3), 0), (torch.randn(3), 3)):
            got = decoded(page, z, [float(i == y) for i in range(4)])
            with torch.no_grad():
                wanted = model.half().float().decode(z[None], y).mean.flatten()
            assert wanted.std() > 0.02
            torch.testing.assert_close(got, wanted, atol=2e-3, rtol=0)

def test_page_decodes_places(browser, tmp_path):
    "Latents that keep their place, with labels, at a size that the stages do not divide"
    model = lively(ConvVAE((3, 21, 30), latent=(2, 6, 8), n_classes=4), 0.12)
    with opened(browser, to_html(model, tmp_path/'a.html').as_uri()) as page:
        assert page.evaluate('convvae.decode !== null'), 'by tiles, not by the decoder'
        z = torch.randn(96, generator=torch.Generator().manual_seed(0))
        got = decoded(page, z, [0., 0., 1., 0.])
        with torch.no_grad():
            wanted = model.half().float().decode(z[None], 2).mean.flatten()
        assert wanted.std() > 0.02
        torch.testing.assert_close(got, wanted, atol=2e-3, rtol=0)

@pytest.mark.parametrize('norm', ['none', 'group'])
@pytest.mark.parametrize('stem', [2, 3])
def test_page_decodes_other_forms(browser, tmp_path, norm, stem):
    "Norms that are not the block's own, and sub-pixel convolutions of other factors"
    kind = dict(norm=norm, stem=stem, block='residual')
    model = lively(ConvVAE((1, 19, 23), 2, (4, 8, 8), **kind), 0.15)
    z = torch.tensor([0.5, -1.])
    with opened(browser, to_html(model, tmp_path/'a.html').as_uri()) as page:
        got = decoded(page, z)
        with torch.no_grad():
            wanted = model.half().float().decode(z[None]).mean.flatten()
        assert wanted.std() > 0.02
        torch.testing.assert_close(got, wanted, atol=2e-3, rtol=0)

class Striped(nn.Module):
    "A likelihood of somebody's own: each row and channel has a gain, which broadcasts"
    params = 1
    def __init__(self):
        super().__init__()
        self.register_buffer('gain', torch.linspace(-1, 1, 60).view(3, 20, 1))
    def forward(self, raw):
        return Independent(Bernoulli(logits=raw*self.gain, validate_args=False), 3)

def test_page_of_another_likelihood(browser, tmp_path):
    "Where no table can say what a pixel's mean is, the page shows tiles: those that torch decodes"
    torch.manual_seed(2)  # of the encoder, which `lively` leaves as it is, and so of the plane
    model = lively(ConvVAE((3, 20, 30), 3, (8, 16), likelihood=Striped))
    with opened(browser, to_html(model, tmp_path/'a.html').as_uri()) as page:
        assert page.evaluate('convvae.decode === null')
        page.wait_for_function(f'{is_drawn}()')
        data = json.loads(page.locator('#convvae-data').text_content())
        plane, n = data['plane'], data['grid']
        z, centre = torch.tensor(page.evaluate('convvae.z')), torch.tensor(plane['centre'])
        axes = torch.tensor([plane['across'], plane['up']])
        tile = ((axes@(z - centre)/plane['half'] + 1)/2*n).floor().clamp(0, n - 1)
        seen = shades(page)

        @torch.no_grad()
        def distance(tile): # of what is seen from the picture of this tile
            middle = centre + ((2*tile + 1)/n - 1)*plane['half']@axes
            return (seen - model.decode(middle[None]).mean[0, 0]).abs().mean().item()

        others = [tile + torch.tensor(step) for step in ((9., 0.), (0., 9.), (-9., 0.), (0., -9.))]
        assert distance(tile) < 0.06              # a JPEG of something like noise
        assert distance(tile) < 0.8*min(distance(other) for other in others)

is_drawn = """(() => {
  const canvas = document.querySelector('.cv-picture');
  const {width, height} = canvas;
  return canvas.getContext('2d').getImageData(0, 0, width, height).data.some(v => v);
})"""

def make_page(kind, folder):
    if kind == 'tiles':
        return to_html(lively(ConvVAE((1, 28, 28), 4)), folder/'a.html', limit=600_000)
    if kind == 'colour':
        return to_html(lively(ConvVAE((3, 20, 30), 4, (8, 16), n_classes=3)), folder/'a.html')
    points = torch.randn(200, 2)
    labels = points[:, 0].gt(0).long()
    model = lively(ConvVAE((1, 28, 28), 2))
    return to_html(model, folder/'a.html', latents=points, labels=labels)

@pytest.mark.parametrize('kind', ['grey', 'colour', 'tiles'])
def test_page_follows(browser, tmp_path, kind):
    "Pointer, finger, keys, sliders, buttons and the label change the picture; no request, no error"
    size = dict(width=1000, height=800)
    url = make_page(kind, tmp_path).as_uri()
    with opened(browser, url, viewport=size, has_touch=True) as page:
        assert page.evaluate('convvae.decode === null') == (kind == 'tiles')
        seen = [picture(page)]
        def changes(what):
            now = picture(page)
            for _ in range(50):
                if now != seen[-1]:
                    break
                page.wait_for_timeout(20)
                now = picture(page)
            assert now != seen[-1], what
            seen.append(now)
        pad = page.locator('.cv-pad')
        box = pad.bounding_box()
        for share in (0.1, 0.9):
            page.mouse.move(box['x'] + share*box['width'], box['y'] + 0.3*box['height'])
            changes('pointer')
        page.touchscreen.tap(box['x'] + 0.2*box['width'], box['y'] + 0.8*box['height'])
        changes('finger')
        place = pad.get_attribute('aria-valuetext')
        pad.focus()
        for _ in range(5):
            page.keyboard.press('Shift+ArrowRight')
        changes('keys')
        assert pad.get_attribute('aria-valuetext') != place
        slider = page.locator('.cv-sliders input').first
        drag(page, slider.bounding_box(), [0.5, 0.6, 0.95])
        changes('slider')
        assert float(slider.input_value()) > 2
        page.get_by_role('button', name='Reset').click()
        changes('reset')
        assert seen[-1] == seen[0]
        if kind != 'tiles':
            page.get_by_role('button', name='Random').click()
            changes('random')
        if kind == 'colour':
            page.get_by_label('Label').select_option('2')
            changes('label')
        name = "e => e.labels?.[0]?.textContent || e.textContent || e.getAttribute('aria-label')"
        for control in page.locator('input, select, button, .cv-pad').all():
            assert control.evaluate(name).strip()

def test_map_is_held_by_a_click(browser, tmp_path):
    "A click holds the place, the next one lets go; what is ticked off is not drawn"
    with opened(browser, make_page('grey', tmp_path).as_uri()) as page:
        pad = page.locator('.cv-pad')
        box = pad.bounding_box()
        def move(share):
            page.mouse.move(box['x'] + share*box['width'], box['y'] + box['height']/2)
        def place(): return pad.get_attribute('aria-valuetext')
        move(0.3)
        page.mouse.down()
        page.mouse.up()
        held = place()
        move(0.7)
        assert place() == held
        page.mouse.down()
        page.mouse.up()
        move(0.6)
        assert place() != held
        drawn = "document.querySelector('.cv-pad canvas').toDataURL()"
        whole = page.evaluate(drawn)
        page.get_by_label('points', exact=True).uncheck()
        assert page.evaluate(drawn) != whole

def test_map_is_dragged(browser, tmp_path):
    "Press, move, release: the place goes along, and stays where it was let go"
    with opened(browser, make_page('grey', tmp_path).as_uri()) as page:
        pad = page.locator('.cv-pad')
        box = pad.bounding_box()
        def move(share):
            page.mouse.move(box['x'] + share*box['width'], box['y'] + box['height']/2)
        seen = []
        def note(): seen.append(pad.get_attribute('aria-valuetext'))
        for held in (False, True):              # also when a click holds the place
            move(0.2)
            page.mouse.down()
            note()
            move(0.5)
            note()
            move(0.8)
            page.mouse.up()
            note()
            move(0.3)
            assert pad.get_attribute('aria-valuetext') == seen[-1], held
        assert len({*seen}) == 3 and seen[:3] == seen[3:], seen
        for check in page.locator('.cv-map input').all():
            assert min(check.bounding_box()[k] for k in ('width', 'height')) >= 24

def test_map_on_a_phone(browser, tmp_path):
    "The hint speaks of a finger where there is no mouse"
    phone = dict(viewport=dict(width=390, height=844), has_touch=True, is_mobile=True)
    with opened(browser, make_page('grey', tmp_path).as_uri(), **phone) as page:
        assert 'finger' in page.locator('.cv-hint').text_content()
    with opened(browser, make_page('grey', tmp_path).as_uri()) as page:
        assert 'click' in page.locator('.cv-hint').text_content()

def test_words_are_set(browser, tmp_path):
    "A model of letters: what is typed is set, each letter as torch decodes it, in under a megabyte"
    model = ConvVAE.from_pretrained(pretrained('glyphs'))
    path = to_html(model, tmp_path/'a.html')
    assert path.stat().st_size < 1e6
    with opened(browser, path.as_uri()) as page:
        z = torch.tensor(page.evaluate('convvae.z'))
        got = decoded(page, z, [float(i == 6) for i in range(26)])
        with torch.no_grad():
            wanted = model.decode(z[None], 6).mean.flatten()
        torch.testing.assert_close(got, wanted, atol=5e-3, rtol=0)
        word, field = page.locator('canvas.cv-word'), page.get_by_label('Word')
        width = "c => c.width/c.height"
        field.fill('iiiiii')
        page.wait_for_timeout(200)
        narrow = word.evaluate(width)
        field.fill('WWWWWW')
        page.wait_for_timeout(200)
        assert word.evaluate(width) > narrow
        seen = picture(page)
        field.fill('W?W1WWWW')                  # what the model cannot draw is left out
        page.wait_for_timeout(200)
        assert picture(page) == seen
        field.fill('')
        page.wait_for_timeout(100)
        assert not page.evaluate(f'{is_drawn}()')

@pytest.mark.parametrize('limit', [2_000_000, 600_000], ids=['decoder', 'tiles'])
def test_page_is_right(browser, tmp_path, limit):
    "What the map shows is what torch decodes for that place; a tile is the image of its middle"
    model = lively(ConvVAE((1, 28, 28), 2))
    path = to_html(model, tmp_path/'a.html', latents=torch.randn(50, 2), limit=limit)
    with opened(browser, path.as_uri()) as page:
        box = page.locator('.cv-pad').bounding_box()
        data = json.loads(page.locator('#convvae-data').text_content())
        n, half = data.get('grid', 16), data['plane']['half']
        x, y = (1 + share/n*(box['width'] - 2) for share in (4.5, 2.5))
        page.mouse.move(box['x'] + x, box['y'] + y)
        page.wait_for_timeout(300)
        z = torch.tensor(page.evaluate('convvae.z'))
        there = torch.tensor([(9/n - 1)*half, (1 - 5/n)*half])
        torch.testing.assert_close(z, there, atol=0.05, rtol=0)
        with torch.no_grad():
            wanted = model.decode(z[None]).mean[0, 0]
        got = shades(page)
        assert (got - wanted).abs().mean() < (0.01 if limit > 1e6 else 0.06)
        assert (got - wanted.flip(0)).abs().mean() > 0.1

@pytest.mark.parametrize('width', [340, 1000])
def test_page_fits(browser, tmp_path, width):
    "Nothing sticks out on a phone; the reader's theme, or ?theme=, which wins; no JavaScript"
    url = make_page('grey', tmp_path).as_uri()
    cases = [('light', '', False), ('dark', '', True),
             ('dark', '?theme=light', False), ('light', '?theme=dark', True)]
    for scheme, query, dark in cases:
        form = dict(viewport=dict(width=width, height=700), color_scheme=scheme)
        with opened(browser, url + query, **form) as page:
            assert page.evaluate('document.documentElement.scrollWidth') <= width
            colour = page.evaluate('getComputedStyle(document.body).color')
            assert (colour == 'rgb(255, 255, 255)') == dark, colour
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(url)
    assert page.locator('noscript img').bounding_box()['width'] > 200
    context.close()
