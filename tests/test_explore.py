"The explorers in a browser: the page of `to_html`, and the chapter in a real JupyterLab"
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from base64 import b64decode
from contextlib import contextmanager

import nbformat
import numpy as np
import pytest
import torch
from conftest import ROOT
from PIL import Image
from torch import nn
from torch.distributions import Bernoulli, Independent

from convvae.explore import to_html
from convvae.model import ConvVAE, blocks, likelihoods

chromium = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), None)
pytestmark = pytest.mark.skipif(chromium is None, reason='no Chromium found: apt-get install chromium')

@pytest.fixture(scope='module')
def browser():
    from playwright.sync_api import sync_playwright
    with sync_playwright() as p:
        found = p.chromium.launch(executable_path=chromium, args=['--no-sandbox'])
        yield found
        found.close()

@contextmanager
def opened(browser, url, **kwargs):
    "A page that may ask nobody for anything and has nothing to complain of"
    page, wrong = browser.new_page(**kwargs), []
    page.on('console', lambda m: m.type in ('error', 'warning') and wrong.append(m.text))
    page.on('pageerror', lambda e: wrong.append(str(e)))
    page.on('request', lambda r: r.url.split(':')[0] in ('file', 'data', 'blob') or wrong.append(r.url))
    page.goto(url)
    yield page
    page.close()
    assert not wrong, wrong

def lively(model):
    "A model whose images differ from place to place, without training"
    with torch.no_grad():
        for p in model.decoder.parameters(): p.copy_(torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel()))*0.3)
    return model

def picture(page):
    "What the page shows, as a PNG"
    page.evaluate('() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))')
    return b64decode(page.evaluate("document.querySelector('.cv-picture').toDataURL()").split(',')[1])

def drag(page, box, places, y=0.5):
    "Move the mouse with its button down over these shares of a box's width"
    at = lambda share: (box['x'] + share*box['width'], box['y'] + y*box['height'])
    page.mouse.move(*at(places[0]))
    page.mouse.down()
    for share in places[1:]: page.mouse.move(*at(share))
    page.mouse.up()

kinds = [dict(block=b, likelihood=l) for b in blocks for l in likelihoods]

@pytest.mark.parametrize('kind', kinds, ids=lambda k: '-'.join(k.values()))
def test_page_decodes(browser, tmp_path, kind):
    "Every operation of every decoder: the page's image is torch's, up to weights of 16 bits"
    torch.manual_seed(0)
    model = lively(ConvVAE((3, 20, 30), 3, (8, 16), n_classes=4, **kind))
    with opened(browser, to_html(model, tmp_path/'a.html').as_uri()) as page:
        assert page.evaluate('convvae.decode !== null'), 'by tiles, not by the decoder'
        for z, y in ((torch.randn(3), 0), (torch.randn(3), 3)):
            one_hot = [float(i == y) for i in range(4)]
            got = page.evaluate('v => [...convvae.decode(v)]', [z.tolist(), one_hot])
            with torch.no_grad(): wanted = model.half().float().decode(z[None], y).mean.flatten()
            assert wanted.std() > 0.02
            torch.testing.assert_close(torch.tensor(got), wanted, atol=2e-3, rtol=0)

class Striped(nn.Module):
    "A likelihood of somebody's own: each row and channel has a gain, which broadcasts"
    params = 1
    def __init__(self):
        super().__init__()
        self.register_buffer('gain', torch.linspace(-1, 1, 60).view(3, 20, 1))
    def forward(self, raw): return Independent(Bernoulli(logits=raw*self.gain, validate_args=False), 3)

def test_page_broadcasts(browser, tmp_path):
    model, z = lively(ConvVAE((3, 20, 30), 3, (8, 16), likelihood=Striped)), torch.ones(3)
    with opened(browser, to_html(model, tmp_path/'a.html').as_uri()) as page: got = page.evaluate('v => [...convvae.decode(v)]', [z.tolist()])
    with torch.no_grad(): torch.testing.assert_close(torch.tensor(got), model.decode(z[None]).mean.flatten(), atol=5e-3, rtol=0)

def make_page(kind, folder):
    if kind == 'tiles': return to_html(lively(ConvVAE((1, 28, 28), 4)), folder/'a.html', limit=600_000)
    if kind == 'colour': return to_html(lively(ConvVAE((3, 20, 30), 4, (8, 16), n_classes=3)), folder/'a.html')
    points = torch.randn(200, 2)
    return to_html(lively(ConvVAE((1, 28, 28), 2)), folder/'a.html', latents=points, labels=points[:, 0] .gt(0).long())

@pytest.mark.parametrize('kind', ['grey', 'colour', 'tiles'])
def test_page_follows(browser, tmp_path, kind):
    "Pointer, finger, keys, sliders, buttons and the label change the picture; no request, no error"
    with opened(browser, make_page(kind, tmp_path).as_uri(), viewport=dict(width=1000, height=800), has_touch=True) as page:
        assert page.evaluate('convvae.decode === null') == (kind == 'tiles')
        seen = [picture(page)]
        def changes(what):
            now = picture(page)
            for _ in range(50):
                if now != seen[-1]: break
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
        for _ in range(5): page.keyboard.press('Shift+ArrowRight')
        changes('keys')
        assert pad.get_attribute('aria-valuetext') != place
        slider = page.locator('.cv-sliders input').first
        drag(page, slider.bounding_box(), [0.5, 0.6, 0.95])
        changes('slider')
        assert float(slider.input_value()) > 2
        page.get_by_role('button', name='Reset').click()
        changes('reset')
        assert seen[-1] == seen[0]
        if kind != 'tiles': page.get_by_role('button', name='Random').click(); changes('random')
        if kind == 'colour': page.get_by_label('Label').select_option('2'); changes('label')
        for control in page.locator('input, select, button, .cv-pad').all():
            assert control.evaluate("e => e.labels?.[0]?.textContent || e.textContent || e.getAttribute('aria-label')").strip()

def test_page_is_right(browser, tmp_path):
    "What the map shows is what torch decodes for the place it names; a tile is the image of its middle"
    model = lively(ConvVAE((1, 28, 28), 2))
    for limit in (2_000_000, 600_000):
        with opened(browser, to_html(model, tmp_path/'a.html', latents=torch.randn(50, 2), limit=limit).as_uri()) as page:
            box = page.locator('.cv-pad').bounding_box()
            data = json.loads(page.locator('#convvae-data').text_content())
            n = data['grid']
            page.mouse.move(box['x'] + 1 + (4.5/n)*(box['width'] - 2), box['y'] + 1 + (2.5/n)*(box['height'] - 2))
            page.wait_for_timeout(300)
            z = torch.tensor(page.evaluate('convvae.z'))
            half = data['plane']['half']
            torch.testing.assert_close(z, torch.tensor([(9/n - 1)*half, (1 - 5/n)*half]), atol=0.05, rtol=0)
            with torch.no_grad(): wanted = model.decode(z[None]).mean[0, 0]
            got = torch.from_numpy(np.array(Image.open(io.BytesIO(picture(page))))[..., 0]/255)
            assert (got - wanted).abs().mean() < (0.01 if limit > 1e6 else 0.06)
            assert (got - wanted.flip(0)).abs().mean() > 0.1

@pytest.mark.parametrize('width', [340, 1000])
def test_page_fits(browser, tmp_path, width):
    "Nothing sticks out at the width of a phone; the theme of the reader, and of ?theme=, which wins; a picture without JavaScript"
    url = make_page('grey', tmp_path).as_uri()
    for scheme, query, dark in (('light', '', False), ('dark', '', True), ('dark', '?theme=light', False), ('light', '?theme=dark', True)):
        with opened(browser, url + query, viewport=dict(width=width, height=700), color_scheme=scheme) as page:
            assert page.evaluate('document.documentElement.scrollWidth') <= width
            colour = page.evaluate('getComputedStyle(document.body).color')
            assert (colour == 'rgb(255, 255, 255)') == dark, colour
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(url)
    assert page.locator('noscript img').bounding_box()['width'] > 200
    context.close()

@contextmanager
def jupyter(folder):
    "A JupyterLab on a free port; the address of its root, and the token"
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        port = s.getsockname()[1]
    token, log = os.urandom(16).hex(), folder/'server.log'
    own = {f'JUPYTER_{k}_DIR': str(folder/k.lower()) for k in ('CONFIG', 'DATA', 'RUNTIME')}
    command = [sys.executable, '-m', 'jupyterlab', '--no-browser', f'--port={port}', '--ServerApp.port_retries=0', '--allow-root',
               f'--IdentityProvider.token={token}', f'--ServerApp.root_dir={folder}']
    quiet = folder/'config'/'labconfig'/'page_config.json'     # no question about news, no look for updates
    quiet.parent.mkdir(parents=True)
    quiet.write_text(json.dumps({'disabledExtensions': {'@jupyterlab/apputils-extension:announcements': True}}))
    with log.open('w') as f:
        server = subprocess.Popen(command, cwd=folder, env={**os.environ, 'PYTHONPATH': str(ROOT), **own}, stdout=f, stderr=f, start_new_session=True)
    try:
        for _ in range(600):
            assert server.poll() is None, log.read_text()
            try:
                urllib.request.urlopen(f'http://127.0.0.1:{port}/api/status?token={token}', timeout=5).close()
                break
            except OSError: time.sleep(0.1)
        else: raise AssertionError(f'JupyterLab does not answer:\n{log.read_text()}')
        yield f'http://127.0.0.1:{port}', token
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        try: server.wait(20)
        except subprocess.TimeoutExpired: os.killpg(server.pid, signal.SIGKILL)

@pytest.fixture(scope='module')
def lab(tmp_path_factory):
    "A JupyterLab on two notebooks: the chapter, and one with decoders that are slower than a hand"
    folder = tmp_path_factory.mktemp('lab')
    shutil.copy(ROOT/'nbs'/'06_explore.ipynb', folder/'chapter.ipynb')
    slow = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in slow_cells])
    slow.metadata.kernelspec = dict(name='python3', display_name='Python 3', language='python')
    nbformat.write(slow, folder/'slow.ipynb')
    with jupyter(folder) as (url, token): yield folder, url, token

slow_cells = ["""
import time
import ipywidgets as widgets
from convvae.explore import LatentExplorer, LatentMap
from convvae.model import ConvVAE
model = ConvVAE((1, 28, 28), 4)
def show(kind):
    count = widgets.Label('none')
    class Slow(kind):
        frames = 0
        def draw(self):
            time.sleep(0.3)
            super().draw()
            self.frames += 1
            count.value = f'{self.frames} frames, at {self.pad.at[0] if kind is LatentMap else self.sliders[0].value:.3f}'
    display(Slow(model), count)
""", 'show(LatentExplorer)', 'show(LatentMap)']

@contextmanager
def running(browser, lab, name, **kwargs):
    "A notebook opened in JupyterLab, all its cells run"
    folder, url, token = lab
    page = browser.new_page(**dict(viewport=dict(width=1300, height=1000)) | kwargs)
    page.goto(f'{url}/lab/tree/{name}?token={token}&reset', timeout=120_000)
    page.locator('.jp-Notebook .jp-Cell').first.wait_for(timeout=120_000)
    page.locator('.jp-Toolbar-kernelName', has_text='Python 3').wait_for(timeout=120_000)
    page.locator('.jp-Notebook-ExecutionIndicator[data-status=idle]').wait_for(timeout=120_000)
    page.get_by_role('menuitem', name='Run', exact=True).click()
    page.get_by_role('menuitem', name='Run All Cells', exact=True).click()
    yield page
    page.close()

def ran(page, path, seconds=300):
    "The cells of a notebook in which all have run, as they are on disk after saving"
    last = time.time() + seconds
    while time.time() < last:
        page.keyboard.press('Control+s')
        page.wait_for_timeout(1000)
        cells = [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == 'code']
        if all(c.execution_count for c in cells) or any(o.output_type == 'error' for c in cells for o in c.outputs): return cells
    raise AssertionError(f'not all cells have run after {seconds} s')

timer = """box => {
  const img = box.querySelector('img');
  window.frames = []; let moved = null;
  box.addEventListener('pointermove', () => moved ??= performance.now(), true);
  new MutationObserver(() => { if (moved !== null) { window.frames.push(performance.now() - moved); moved = null; } }).observe(img, {attributes: true});
}"""

def test_chapter_in_jupyterlab(browser, lab, record_property):
    "The chapter runs from top to bottom, and dragging a slider with the mouse changes the decoded image"
    with running(browser, lab, 'chapter.ipynb') as page:
        cells = ran(page, lab[0]/'chapter.ipynb')
        assert not [o for c in cells for o in c.outputs if o.output_type == 'error']
        cell = page.locator('.jp-CodeCell', has=page.locator('.jupyter-widgets')).first
        cell.scroll_into_view_if_needed()
        image, handle = cell.locator('img.widget-image').first, cell.locator('.noUi-handle').first
        image.wait_for(timeout=30_000)
        cell.evaluate(timer)
        before = image.get_attribute('src')
        handle.scroll_into_view_if_needed()
        box = handle.bounding_box()
        drag(page, box, [0.5, *(0.5 + 0.4*i for i in range(1, 15))])
        page.wait_for_function('([e, old]) => e.src != old', arg=[image.element_handle(), before], timeout=30_000)
        page.wait_for_timeout(500)
        took = sorted(page.evaluate('window.frames'))
        record_property('milliseconds from drag to new picture', took)
        print(f'from the hand\'s move to the new picture: {took[len(took)//2]:.0f} ms (median of {len(took)})')

@pytest.mark.parametrize('kind', ['LatentExplorer', 'LatentMap'])
def test_no_queue_of_old_frames(browser, lab, kind):
    "A hand faster than the decoder: few frames are drawn, and the last one is of the place where the hand stopped"
    with running(browser, lab, 'slow.ipynb') as page:
        cell = page.locator('.jp-CodeCell', has=page.locator('.noUi-target' if kind == 'LatentExplorer' else '.cv-pad')).first
        cell.locator('img.widget-image').first.wait_for(timeout=60_000)
        cell.scroll_into_view_if_needed()
        label = cell.locator('.widget-label', has_text='frames').last
        label.wait_for(timeout=60_000)
        first = int(label.text_content().split()[0])
        target = cell.locator('.noUi-target' if kind == 'LatentExplorer' else '.cv-pad').first
        box, start = target.bounding_box(), time.time()
        if kind == 'LatentMap': page.mouse.move(box['x'] + 1, box['y'] + 50)
        for i in range(80):
            page.mouse.move(box['x'] + box['width']*(0.5 + 0.005*i), box['y'] + box['height']/2)
            if i == 0 and kind == 'LatentExplorer': page.mouse.down()
            page.wait_for_timeout(15)
        page.mouse.up()
        seconds = time.time() - start
        text = label.text_content()
        for _ in range(100):                                  # until nothing moves for a second
            page.wait_for_timeout(1000)
            text, old = label.text_content(), text
            if text == old: break
        frames, value = int(text.split()[0]) - first, float(text.split()[-1])
        wanted = float(cell.locator('.widget-readout').first.text_content()) if kind == 'LatentExplorer' else \
            float(cell.locator('.cv-pad').get_attribute('aria-valuetext').split('= ')[1].split(',')[0])
        print(f'{kind}: {frames} frames for 80 moves in {seconds:.1f} s')
        assert 2 <= frames <= seconds/0.3 + 3
        assert abs(value - wanted) < 0.06
