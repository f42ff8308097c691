"The explorers in a real JupyterLab"
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager

import nbformat
import pytest
from conftest import ROOT

@contextmanager
def jupyter(folder):
    "A JupyterLab on a free port; the address of its root, and the token"
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        port = s.getsockname()[1]
    token, log = os.urandom(16).hex(), folder/'server.log'
    own = {f'JUPYTER_{k}_DIR': str(folder/k.lower()) for k in ('CONFIG', 'DATA', 'RUNTIME')}
    env = {**os.environ, 'PYTHONPATH': str(ROOT), **own}
    command = [sys.executable, '-m', 'jupyterlab', '--no-browser', f'--port={port}', '--allow-root',
               '--ServerApp.port_retries=0', f'--IdentityProvider.token={token}',
               f'--ServerApp.root_dir={folder}']
    quiet = folder/'config'/'labconfig'/'page_config.json'  # no question about news or updates
    quiet.parent.mkdir(parents=True)
    announcements = '@jupyterlab/apputils-extension:announcements'
    quiet.write_text(json.dumps({'disabledExtensions': {announcements: True}}))
    with log.open('w') as f:
        server = subprocess.Popen(command, cwd=folder, env=env, stdout=f, stderr=f,
                                  start_new_session=True)
    url = f'http://127.0.0.1:{port}'
    try:
        wait_for(lambda: answers(server, f'{url}/api/status?token={token}', log), 'JupyterLab')
        yield url, token
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)

def answers(server, url, log):
    "Does somebody answer at this address?"
    assert server.poll() is None, log.read_text()
    try:
        urllib.request.urlopen(url, timeout=5).close()
    except OSError:
        return False
    return True

def wait_for(happened, what, seconds=120):
    "Come back when something has happened; a fault if it never does"
    for _ in range(10*seconds):
        if happened():
            return
        time.sleep(0.1)
    raise AssertionError(f'waited for {what}, {seconds} s')

@pytest.fixture(scope='module')
def lab(tmp_path_factory):
    "A JupyterLab on two notebooks: the chapter, and one whose decoders can be made to wait"
    folder = tmp_path_factory.mktemp('lab')
    shutil.copy(ROOT/'nbs'/'package'/'06_explore.ipynb', folder/'chapter.ipynb')
    cells = [nbformat.v4.new_code_cell(c) for c in waiting_cells]
    waiting = nbformat.v4.new_notebook(cells=cells)
    waiting.metadata.kernelspec = dict(name='python3', display_name='Python 3', language='python')
    nbformat.write(waiting, folder/'waiting.ipynb')
    with jupyter(folder) as (url, token):
        yield folder, url, token

waiting_cells = ["""
import time
from pathlib import Path
import ipywidgets as widgets
from convvae.explore import LatentExplorer, LatentMap
from convvae.model import ConvVAE
model = ConvVAE((1, 28, 28), 4)
def show(kind):
    count = widgets.Label('none')
    class Waiting(kind):
        frames = 0
        def draw(self):
            while Path('hold').exists():
                Path('held').touch()
                time.sleep(0.01)
            super().draw()
            self.frames += 1
            place = self.pad.at[0] if kind is LatentMap else self.sliders[0].value
            count.value = f'{self.frames} frames, at {place:.3f}'
    display(Waiting(model), count)
""", 'show(LatentExplorer)', 'show(LatentMap)']

@contextmanager
def running(browser, lab, name, **kwargs):
    "A notebook opened in JupyterLab, all its cells run"
    folder, url, token = lab
    page = browser.new_page(**dict(viewport=dict(width=1300, height=1000)) | kwargs)
    page.goto(f'{url}/lab/tree/{name}?token={token}&reset', timeout=120_000)
    idle = '.jp-Notebook-ExecutionIndicator[data-status=idle]'
    page.locator('.jp-Notebook .jp-Cell').first.wait_for(timeout=120_000)
    page.locator('.jp-Toolbar-kernelName', has_text='Python 3').wait_for(timeout=120_000)
    page.locator(idle).wait_for(timeout=120_000)
    page.get_by_role('menuitem', name='Run', exact=True).click()
    page.get_by_role('menuitem', name='Run All Cells', exact=True).click()
    yield page
    page.close()

def ran(page, path):
    "The cells of a notebook in which all have run, as they are on disk after saving"
    cells = []
    def finished():
        page.keyboard.press('Control+s')
        page.wait_for_timeout(1000)
        read = nbformat.read(path, as_version=4).cells
        cells[:] = [c for c in read if c.cell_type == 'code']
        failed = any(o.output_type == 'error' for c in cells for o in c.outputs)
        return failed or all(c.execution_count for c in cells)
    wait_for(finished, 'all cells')
    return cells

def test_chapter_in_jupyterlab(browser, lab):
    "The chapter runs from top to bottom, and a slider dragged by the mouse changes the image"
    with running(browser, lab, 'chapter.ipynb') as page:
        cells = ran(page, lab[0]/'chapter.ipynb')
        assert not [o for c in cells for o in c.outputs if o.output_type == 'error']
        cell = page.locator('.jp-CodeCell', has=page.locator('.jupyter-widgets')).first
        cell.scroll_into_view_if_needed()
        image = cell.locator('img.widget-image').first
        handle = cell.locator('.noUi-handle').first
        image.wait_for(timeout=30_000)
        for picture in page.locator('img.widget-image').all():
            assert picture.get_attribute('title')       # for readers who cannot see it
        before = image.get_attribute('src')
        handle.scroll_into_view_if_needed()
        box = handle.bounding_box()
        x, y = box['x'] + box['width']/2, box['y'] + box['height']/2
        page.mouse.move(x, y)
        page.mouse.down()
        for i in range(1, 15):
            page.mouse.move(x + 0.4*i*box['width'], y)
        page.mouse.up()
        changed = '([e, old]) => e.src != old'
        page.wait_for_function(changed, arg=[image.element_handle(), before], timeout=30_000)

explorers = dict(LatentExplorer='.noUi-target', LatentMap='.cv-pad')

def reading(cell, kind):
    "Where the control stands that the hand has moved"
    if kind == 'LatentExplorer':
        return float(cell.locator('.widget-readout').first.text_content())
    text = cell.locator('.cv-pad').get_attribute('aria-valuetext')
    return float(text.split('= ')[1].split(',')[0])

@pytest.mark.parametrize('kind', explorers)
def test_no_queue_of_old_frames(browser, lab, kind):
    """While one frame is drawn, the hand goes on: of all the places where it was meanwhile,
    only the last is drawn"""
    hold, held = lab[0]/'hold', lab[0]/'held'
    held.unlink(missing_ok=True)
    with running(browser, lab, 'waiting.ipynb') as page:
        has = page.locator(explorers[kind])
        cell = page.locator('.jp-CodeCell', has=has).first
        cell.locator('img.widget-image').first.wait_for(timeout=60_000)
        cell.scroll_into_view_if_needed()
        label = cell.locator('.widget-label', has_text='frames').last
        label.wait_for(timeout=60_000)
        first = int(label.text_content().split()[0])
        box = cell.locator(explorers[kind]).first.bounding_box()
        hold.touch()                               # the next frame is not drawn until this is gone
        page.mouse.move(box['x'] + box['width']/2, box['y'] + box['height']/2)
        page.mouse.down()
        if kind == 'LatentMap':                    # a click holds the place, a second lets go
            page.mouse.up()
            page.mouse.down()
            page.mouse.up()
        moves = 80
        for i in range(moves):
            page.mouse.move(box['x'] + box['width']*(0.55 + 0.005*i), box['y'] + box['height']/2)
            if i == 0:
                wait_for(held.exists, 'the first frame to begin')
        page.mouse.up()
        wanted = reading(cell, kind)
        hold.unlink()
        def arrived(): return abs(float(label.text_content().split()[-1]) - wanted) < 0.06
        wait_for(arrived, f'the image at {wanted}')
        frames = int(label.text_content().split()[0]) - first
        print(f'{kind}: {frames} frames for {moves} moves')
        assert 2 <= frames <= 5, f'{frames} frames for {moves} moves'
