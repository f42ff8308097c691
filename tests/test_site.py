"The site: built once, then read page by page in a browser"
import html
import json
import os
import re
import subprocess
import sys
from contextlib import contextmanager
from functools import lru_cache
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin

import pytest
from conftest import ROOT, copy_to, serve
from filelock import FileLock

chapters = sorted(p.stem for p in ROOT.glob('nbs/[0-9]*.ipynb')) + sorted(f'tutorials/{p.stem}' for p in ROOT.glob('nbs/tutorials/*.ipynb'))
modules = sorted(p.stem for p in ROOT.glob('convvae/[!_]*.py'))
order = ['index', *chapters, 'api', 'changelog', 'contributing']
pages = [*order, 'search', '_modules/index', *(f'_modules/convvae/{m}' for m in modules)]

def make_docs(clone, **kwargs):
    return subprocess.run(['make', '-o', 'install-dev', f'VENV={sys.prefix}', 'docs'], cwd=clone, text=True, capture_output=True, **kwargs)

def contents(root): return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob('*') if p.is_file()}

@pytest.fixture(scope='session')
def site(tmp_path_factory):
    "The folder of the site, built by whichever worker comes first"
    shared = tmp_path_factory.getbasetemp()
    if 'PYTEST_XDIST_WORKER' in os.environ: shared = shared.parent
    clone = shared/'site'
    with FileLock(f'{clone}.lock'):
        if not clone.exists():
            before = contents(copy_to(clone))
            built = make_docs(clone)
            assert built.returncode == 0, built.stdout + built.stderr
            after = contents(clone)
            left = {k for k in before.keys() | after.keys() if before.get(k) != after.get(k) and '__pycache__' not in k}
            assert {k.split('/')[0] for k in left} == {'_docs', 'build'}, 'make docs leaves what git would see'
    assert (clone/'_docs').exists(), 'the build failed'
    return clone/'_docs'

@pytest.fixture(scope='session')
def url(site):
    with serve(site) as url: yield url

@contextmanager
def looking(browser, url):
    "A page that may not complain, miss anything or ask another host"
    said, root = [], re.match(r'\w+://[^/]+/', url)[0]
    context = browser.new_context(viewport={'width': 1280, 'height': 800})
    page = context.new_page()
    page.on('console', lambda m: m.type in ('error', 'warning') and said.append(m.text))
    page.on('pageerror', lambda e: said.append(str(e)))
    page.on('requestfailed', lambda r: said.append(f'failed: {r.url}'))
    page.on('response', lambda r: r.status >= 400 and said.append(f'{r.status}: {r.url}'))
    page.on('request', lambda r: r.url.startswith((root, f'blob:{root}', 'data:')) or said.append(f'another host: {r.url}'))
    page.goto(url, wait_until='networkidle')  # whoever leaves a page earlier aborts its requests
    yield page
    page.wait_for_load_state('networkidle')
    context.close()
    assert not said

def test_all_pages(site):
    assert {str(p.relative_to(site).with_suffix('')) for p in site.rglob('*.html') if '_static' not in p.parts} == set(pages)

# What a reader sees that was meant for a program: maths and code are set apart first
prose = '''(() => { const article = document.querySelector('main').cloneNode(true)
article.querySelectorAll('pre, code, mjx-container, .docments, dt').forEach(e => e.remove()); return article.textContent })()'''
brightness = '(r => r[0] + r[1] + r[2])(getComputedStyle(document.%s).%s.match(/[0-9]+/g).map(Number))'

@pytest.mark.parametrize('name', pages)
def test_page(site, url, browser, name):
    with looking(browser, f'{url}{name}.html') as page:
        if page.locator('.math').count():
            page.wait_for_function('window.MathJax?.startup?.promise')
            page.evaluate('MathJax.startup.promise')
            assert page.locator('mjx-container').count() == page.locator('.math').count()
            assert not page.locator('mjx-merror').count()
        assert not re.findall(r'.{0,20}(?:\$[^$\n]+\$|\\[(\[a-z]|\]\(|\*\*|:::|\{[a-z]+\}`).{0,20}', page.evaluate(prose)), 'markup or maths in the open'
        for text in page.locator('div.cell pre').all_text_contents(): assert not re.search(r'^\s*#\s*\|', text, re.M)
        if name in chapters:
            assert page.locator('div.cell_input pre span.k, div.cell_input pre span.kn').count(), 'code without colours'
            assert page.locator('div.cell_input button.copybtn').count() == page.locator('div.cell_input pre').count()
            assert page.locator('nav.page-toc a').count() == page.locator('article :is(h2, h3)').count()

        assert page.evaluate(brightness % ('body', 'backgroundColor')) > 600
        page.emulate_media(color_scheme='dark')
        page.wait_for_function(brightness % ('body', 'backgroundColor') + '< 150')
        page.wait_for_function(brightness % ("querySelector('h1')", 'color') + '> 500')

        page.set_viewport_size({'width': 390, 'height': 844})
        assert page.evaluate('document.documentElement.scrollWidth') <= 390, 'wider than a phone'

class Links(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.links, self.ids = [], set()
        self.feed(text)
    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.ids |= {attrs[k] for k in ('id', 'name') if attrs.get(k)}
        self.links += [(attrs[k], attrs) for k in ('href', 'src', 'data-src') if attrs.get(k)]

@lru_cache(None)
def links(file): return Links(file.read_text(encoding='utf-8'))

def test_links(site):
    "Every link inside the site, and every place in a page that one points to"
    broken = []
    for name in pages:
        here = (site/f'{name}.html').as_uri()
        for link, _ in links(site/f'{name}.html').links:
            target, place = urldefrag(urljoin(here, link.split('?')[0]))
            if not target.startswith('file:'): continue
            file = Path(unquote(target.removeprefix('file://')))
            if not file.is_file() or place and file.suffix == '.html' and unquote(place) not in links(file).ids: broken.append((name, link))
    assert not broken

def test_reading_order(site):
    "Next leads through all chapters, and previous back; the sidebar of each page has them all"
    def towards(name, css): # the page that a button of page `name` leads to
        here = (site/f'{name}.html').as_uri()
        found = {urljoin(here, link) for link, attrs in links(site/f'{name}.html').links if css in attrs.get('class', '').split()}
        return [str(Path(o.removeprefix('file://')).relative_to(site).with_suffix('')) for o in found]
    for name, after in pairwise(order):
        assert towards(name, 'right-next') == [after]
        assert towards(after, 'left-prev') == [name]
        assert set(order[1:]) <= set(towards(name, 'internal')) | {name}

def test_notebooks(site):
    "Each chapter goes to Colab and can be downloaded; hidden cells do not show"
    for name in chapters:
        notebook = ROOT/'nbs'/f'{name}.ipynb'
        file = site/f'{name}.html'
        found = [link for link, _ in links(file).links]
        assert f'https://colab.research.google.com/github/convvae/convvae/blob/main/nbs/{name}.ipynb' in found
        download, = [o for o in found if '_downloads' in o]
        assert (file.parent/download).read_bytes() == notebook.read_bytes()
        shown = html.unescape(re.sub('<[^>]*>', '', file.read_text(encoding='utf-8')))
        cells = [''.join(c['source']) for c in json.loads(notebook.read_text(encoding='utf-8'))['cells'] if c['cell_type'] == 'code']
        hidden = [c for c in cells if re.match(r'#\| *(hide|default_exp)', c)]
        assert any('google.colab' in c for c in hidden)
        for cell in cells:
            code = re.sub(r'(#\|.*\n?)+', '', cell, count=1).strip()
            assert code == '' or (code in shown) == (cell not in hidden), f'{name}: {cell}'

def test_search(url, browser):
    with looking(browser, url) as page:
        page.keyboard.press('Control+k')
        page.keyboard.type('posterior collapse')
        page.keyboard.press('Enter')
        page.locator('#search-results').get_by_role('link', name='Evaluation').wait_for()

def test_explorer(url, browser):
    "On the landing page the picture follows the pointer, in the colours of the page; all this in one screen"
    with looking(browser, url) as page:
        for way in page.locator('#convvae > ul').first.locator('li').all(): assert way.bounding_box()['y'] < 400
        frame = page.locator('figure.explorer iframe')
        map = frame.content_frame.locator('canvas').first
        map.wait_for()
        box = map.bounding_box()
        assert box['y'] + box['height'] < 800
        seen = set()
        for x, y in (0.2, 0.2), (0.5, 0.5), (0.8, 0.3):
            page.mouse.move(box['x'] + x*box['width'], box['y'] + y*box['height'])
            page.wait_for_timeout(300)
            seen.add(frame.content_frame.locator('canvas').nth(1).evaluate('c => c.toDataURL()'))
        assert len(seen) == 3
        page.emulate_media(color_scheme='dark')
        page.wait_for_function("document.querySelector('figure.explorer iframe').src.endsWith('theme=dark')")
        frame.content_frame.locator('canvas').first.wait_for()
    with looking(browser, f'{url}06_explore.html') as page:
        for i in range(2): page.locator('figure.explorer iframe').nth(i).content_frame.locator('canvas').first.wait_for()

def test_reference(site):
    "Every public name, with its docments; prose leads there, but not where a word means something else"
    api = (site/'api.html').read_text(encoding='utf-8')
    text = ' '.join(re.sub('<[^>]*>', '', api).split())
    for m in modules:
        source = (ROOT/'convvae'/f'{m}.py').read_text(encoding='utf-8')
        for name in re.findall(r"'(\w+)'", re.search(r'__all__ = \[(.*?)\]', source, re.S)[1]):
            assert f'convvae.{m}.{name}' in links(site/'api.html').ids
    assert 'x Tensor (B,C,H,W) pixels in [0,1] returns Tensor (B,), or (k,B) for k latents per image; nats per image' in text
    assert 'latent_dim int = 64 Z, the number of latents' in text
    assert 'href="02_loss.html#convvae-loss-rate"' in api and 'href="_modules/convvae/loss.html#rate"' in api
    def leads(page, name): return f'href="{"../"*page.count("/")}api.html#convvae.{name}"' in (site/f'{page}.html').read_text(encoding='utf-8')
    for page, name in [('03_train', 'train.fit'), ('00_data', 'data.Batches'), ('01_model', 'model.ConvVAE'), ('changelog', 'model.ConvVAE.from_pretrained'), ('tutorials/scaling_out', 'train.fit')]: assert leads(page, name)
    for page, name in [('00_data', 'cli.train'), ('04_sample', 'data.decode'), ('01_model', 'model.ConvVAE.sample'), ('api', 'explore.Explorer.decode')]: assert not leads(page, name)

def test_warnings(tmp_path, site):
    "A broken link, a broken place, and maths or names that lead nowhere: each is listed and fails the build, which leaves the old site alone"
    clone = copy_to(tmp_path/'clone')
    (clone/'_docs').mkdir()
    (clone/'_docs'/'index.html').write_text('old')
    path = clone/'nbs'/'02_loss.ipynb'
    path.write_text(path.read_text(encoding='utf-8').replace('(03_train.ipynb)', '(33_train.ipynb)').replace('#Three-ways', '#Four-ways'), encoding='utf-8')
    built = make_docs(clone)
    assert built.returncode != 0
    for broken in ('33_train', 'Four-ways'): assert broken in built.stderr, built.stderr
    assert (clone/'_docs'/'index.html').read_text() == 'old'
