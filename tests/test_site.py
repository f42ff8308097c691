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

sys.path.insert(0, str(ROOT/'docs'))
import pages as docs # noqa: E402

def name_of(path):
    "A page's address, of the notebook that it is made of"
    return str(path.relative_to(ROOT/'nbs').with_suffix(''))

chapters = [name_of(path) for path in docs.notebooks]
sources = {'.'.join(p.relative_to(ROOT/'convvae').with_suffix('').parts): p
           for p in (ROOT/'convvae').rglob('[!_]*.py')}

def names_of(m, which='own'):
    "The public names of a module: those that it defines, or all"
    source = sources[m].read_text(encoding='utf-8')
    listed = re.search(r'^__all__ = \[(.*?)\]', source, re.S | re.M)[1]
    names = re.findall(r"'(\w+)'", listed)
    own = docs.defined(source)
    return [name for name in names if which == 'all' or name in own]

def by_chapter(m): return docs.notebooks.index(docs.chapter_of[f'convvae.{m}'])

modules = sorted((m for m in sources if names_of(m, 'all')), key=by_chapter)
reference = ['api', *(f'api/{m}' for m in modules), 'changelog', 'contributing']
order = ['index', 'chapters', *chapters, *reference]
shown = [m for m in modules if names_of(m)] # whose code the reference leads to
code = [f'_modules/convvae/{m.replace(".", "/")}' for m in shown]
pages = [*order, 'search', '_modules/index', *code]

def make_docs(clone, **kwargs):
    command = ['make', '-o', 'install-dev', f'VENV={sys.prefix}', 'docs']
    return subprocess.run(command, cwd=clone, text=True, capture_output=True, **kwargs)

def contents(root):
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob('*') if p.is_file()}

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
            left = {k for k in before.keys() | after.keys() if before.get(k) != after.get(k)}
            left = {k for k in left if not k.startswith('nbs/api/') and '__pycache__' not in k}
            tops = {k.split('/')[0] for k in left}
            assert tops == {'_docs', 'build'}, 'make docs leaves what git would see'
    assert (clone/'_docs').exists(), 'the build failed'
    return clone/'_docs'

@pytest.fixture(scope='session')
def url(site):
    with serve(site) as url: yield url

@contextmanager
def looking(browser, url):
    "A page that may not complain, miss anything or ask another host"
    said, under_way, root = [], set(), re.match(r'\w+://[^/]+/', url)[0]
    context = browser.new_context(viewport={'width': 1280, 'height': 800})
    page = context.new_page()
    page.on('console', lambda m: m.type in ('error', 'warning') and said.append(m.text))
    page.on('pageerror', lambda e: said.append(str(e)))
    page.on('requestfailed', lambda r: said.append(f'failed: {r.url}'))
    page.on('response', lambda r: r.status >= 400 and said.append(f'{r.status}: {r.url}'))
    ours = (root, f'blob:{root}', 'data:')
    page.on('request', lambda r: r.url.startswith(ours) or said.append(f'another host: {r.url}'))
    page.on('request', lambda r: under_way.add(r))
    for end in ('requestfinished', 'requestfailed'): page.on(end, lambda r: under_way.discard(r))
    page.goto(url, wait_until='networkidle')  # whoever leaves a page earlier aborts its requests
    yield page
    while under_way: page.wait_for_timeout(10)  # `networkidle` is past: it comes once for a page
    context.close()
    assert not said

def test_all_pages(site):
    found = [p.relative_to(site) for p in site.rglob('*.html')]
    shown = {str(p.with_suffix('')) for p in found if '_static' not in p.parts}
    assert shown == {*pages, '404'} # which stands alone

# What a reader sees that was meant for a program: maths and code are set apart first
prose = '''(() => { const article = document.querySelector('main').cloneNode(true)
article.querySelectorAll('pre, code, mjx-container, .docments, dt').forEach(e => e.remove())
return article.textContent })()'''
markup = r'.{0,20}(?:\$[^$\n]+\$|\\[(\[a-z]|\]\(|\*\*|:::|\{[a-z]+\}`).{0,20}'
brightness = ('(r => r[0] + r[1] + r[2])'
              '(getComputedStyle(document.%s).%s.match(/[0-9]+/g).map(Number))')

@pytest.mark.parametrize('name', pages)
def test_page(site, url, browser, name):
    with looking(browser, f'{url}{name}.html') as page:
        if page.locator('.math').count():
            page.wait_for_function('window.MathJax?.startup?.promise')
            page.evaluate('MathJax.startup.promise')
            assert page.locator('mjx-container').count() == page.locator('.math').count()
            assert not page.locator('mjx-merror').count()
        assert not re.findall(markup, page.evaluate(prose)), 'markup or maths in the open'
        for text in page.locator('div.cell pre').all_text_contents():
            assert not re.search(r'^\s*#\s*\|', text, re.M)
        def count(css): return page.locator(css).count()
        if name in chapters:
            code = 'div.cell_input pre'
            assert count(f'{code} span.k, {code} span.kn'), 'code without colours'
            assert count('div.cell_input button.copybtn') == count(code)
            assert count('nav.page-toc a') == count('article :is(h2, h3)')

        assert page.evaluate(brightness % ('body', 'backgroundColor')) > 600
        page.emulate_media(color_scheme='dark')
        page.wait_for_function(brightness % ('body', 'backgroundColor') + '< 150')
        page.wait_for_function(brightness % ("querySelector('h1')", 'color') + '> 500')

        assert page.locator('main, [role=main]').count() == page.locator('h1').count() == 1
        assert not page.locator('th:empty').count()
        for width in 1440, 390:
            page.set_viewport_size({'width': width, 'height': 844})
            assert page.evaluate('document.documentElement.scrollWidth') <= width, 'too wide'
            assert not page.evaluate(cut_off), f'code is cut off at {width} pixels'

cut_off = '''[...document.querySelectorAll('article pre')]
.filter(e => !e.closest('.output') && e.scrollWidth > e.clientWidth + 1).map(e => e.textContent)'''

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
            lost = place and file.suffix == '.html' and unquote(place) not in links(file).ids
            if not file.is_file() or lost: broken.append((name, link))
    assert not broken

def test_figures_in_words(site):
    "No figure has the name of a file for its alternative text, and none is without words"
    for name in pages:
        text = (site/f'{name}.html').read_text(encoding='utf-8')
        for image in re.findall(r'<img[^>]*_images/[^>]*>', text):
            alt = re.search(r'alt="([^"]*)"', image)
            assert alt and len(alt[1]) > 8 and '_images/' not in alt[1], (name, image)

def test_reading_order(site):
    "Next leads through all chapters, and previous back; the sidebar of each page has them all"
    def towards(name, css): # the page that a button of page `name` leads to
        file = site/f'{name}.html'
        found = {urljoin(file.as_uri(), link) for link, attrs in links(file).links
                 if css in attrs.get('class', '').split()}
        paths = [Path(o.removeprefix('file://')).relative_to(site) for o in found]
        return [str(path.with_suffix('')) for path in paths]
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
        colab = 'https://colab.research.google.com/github/convvae/convvae/blob/main/nbs'
        assert f'{colab}/{name}.ipynb' in found
        download, = [o for o in found if '_downloads' in o]
        assert (file.parent/download).read_bytes() == notebook.read_bytes()
        text = html.unescape(re.sub('<[^>]*>', '', file.read_text(encoding='utf-8')))
        nb = json.loads(notebook.read_text(encoding='utf-8'))
        cells = [''.join(c['source']) for c in nb['cells'] if c['cell_type'] == 'code']
        hidden = [c for c in cells if re.match(r'#\| *(hide|default_exp)|.*\n_all_ =', c)]
        assert any('google.colab' in c for c in hidden)
        for cell in cells:
            code = re.sub(r'(#\|.*\n?)+', '', cell, count=1).strip()
            assert code == '' or (code in text) == (cell not in hidden), f'{name}: {cell}'

def test_search(url, browser):
    with looking(browser, url) as page:
        page.keyboard.press('Control+k')
        page.keyboard.type('posterior collapse')
        page.keyboard.press('Enter')
        results = page.locator('#search-results')
        results.get_by_role('link', name='What is wrong, and what to try').wait_for()
    with looking(browser, f'{url}search.html?q=rate') as page:
        found = page.locator('#search-results li')
        found.nth(9).locator('p.context').wait_for()
        first = [a.get_attribute('href') for a in found.locator('a').all()[:5]]
        assert not any(o.startswith(('api', '_modules')) for o in first), first
        assert not re.search(r'\\[a-z(\[]', ' '.join(found.all_text_contents()))

def test_a_line_fits(url, browser):
    "The column takes the hundred characters that a line of code may have"
    with looking(browser, f'{url}package/02_loss.html') as page:
        page.set_viewport_size(dict(width=1440, height=900))
        line, room = page.evaluate('''(() => {
          const pre = document.querySelector('div.cell_input pre')
          const style = getComputedStyle(pre)
          const line = document.createElement('span')
          line.textContent = 'x'.repeat(100)
          line.style.whiteSpace = 'pre'
          pre.append(line)
          const room = pre.clientWidth - parseFloat(style.paddingLeft)
            - parseFloat(style.paddingRight)
          return [line.getBoundingClientRect().width, room]})()''')
        assert line <= room, (line, room)

@pytest.mark.parametrize('size', [(1440, 900), (1024, 768), (390, 844)], ids=lambda s: str(s[0]))
def test_first_screen(url, browser, size):
    "What a VAE is, how to begin, and the map beside the word that it sets: without scrolling"
    with looking(browser, url) as page:
        page.set_viewport_size(dict(zip(('width', 'height'), size, strict=True)))
        page.wait_for_timeout(300)
        frame = page.locator('figure.explorer iframe').content_frame
        word = frame.locator('canvas.cv-word')
        word.wait_for()
        first = [page.get_by_text('A variational autoencoder'), page.get_by_text('git clone'),
                 page.get_by_role('link', name='Colab').first, word,
                 frame.get_by_label('Word'), frame.locator('.cv-pad')]
        for part in first:
            box = part.bounding_box()
            assert box['x'] >= 0 and box['y'] >= 0, box
            assert box['x'] + box['width'] <= size[0] and box['y'] + box['height'] <= size[1], box
        drawn = 'c => c.toDataURL()'
        before = word.evaluate(drawn)
        frame.get_by_label('Word').fill('VAE')
        page.wait_for_timeout(200)
        typed = word.evaluate(drawn)
        frame.locator('.cv-pad').click(position=dict(x=30, y=30))
        page.wait_for_timeout(200)
        assert len({before, typed, word.evaluate(drawn)}) == 3
        assert word.get_attribute('aria-label').startswith('VAE')

def weight(browser, site, url, name):
    "Bytes that a page asks for when it is opened"
    found = set()
    context = browser.new_context(viewport={'width': 1440, 'height': 900})
    page = context.new_page()
    page.on('request', lambda r: found.add(r.url.split('?')[0]))
    page.goto(f'{url}{name}.html', wait_until='networkidle')
    context.close()
    files = [site/unquote(o.removeprefix(url)) for o in found if o.startswith(url)]
    return sum(path.stat().st_size for path in files)

def test_weights(site, url, browser):
    "A chapter weighs under 1.5 MB, the first page with its decoder under 2"
    light = ['learn/08_blur', 'learn/12_factors', 'jobs/own_images', 'package/02_loss', 'api/model']
    for name in light: assert weight(browser, site, url, name) < 1.5e6, name
    assert weight(browser, site, url, 'index') < 2e6

def test_checks_are_folded(site):
    "What only checks stands behind its number of assertions, imports behind their name"
    text = (site/'package'/'02_loss.html').read_text(encoding='utf-8')
    assert re.search(r'Checked: \d+ assertions', text)
    assert 'Show source' not in text
    assert docs.assertions("assert x\ntest_eq(a, b)\nwith expect_fail(ValueError): f()\ng()") == 3

def test_print(url, browser):
    "On paper: a heading, code that may go on overleaf, nothing to press, white where it was dark"
    with looking(browser, f'{url}learn/01_invent.html') as page:
        page.emulate_media(color_scheme='dark')
        page.wait_for_function(brightness % ('body', 'backgroundColor') + '< 150')
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        page.emulate_media(media='print', color_scheme='dark')
        assert page.locator('h1').is_visible()
        for name in ('.buttons', 'button.copybtn', '.prev-next-footer', '.bd-sidebar-primary'):
            assert not page.locator(name).first.is_visible(), name
        assert page.evaluate(brightness % ('body', 'backgroundColor')) > 700
        code = page.locator('div.cell_input pre').first
        style = 'e => [getComputedStyle(e).overflowX, getComputedStyle(e).whiteSpace]'
        assert code.evaluate(style) == ['visible', 'pre-wrap']
        page.set_viewport_size(dict(width=680, height=900))    # as wide as the text of an A4 page
        frame = page.locator('figure.explorer iframe').content_frame
        pad, image = (frame.locator(o).bounding_box() for o in ('.cv-pad', '.cv-picture'))
        assert pad['x'] + pad['width'] < image['x'] and abs(pad['y'] - image['y']) < 20
        page.evaluate("dispatchEvent(new Event('afterprint'))")

def test_without_javascript(url, browser):
    "A picture of each explorer, and no empty frame"
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    for name in ('index', 'package/06_explore'):
        page.goto(f'{url}{name}.html')
        assert not page.locator('figure.explorer iframe:visible').count()
        for image in page.locator('figure.explorer noscript img').all():
            assert image.bounding_box()['width'] > 200
    context.close()

explorables = ['learn/03_bound', 'learn/06_failures', 'learn/07_rate', 'learn/10_holes']

def test_frames(url, browser):
    "A slider of a chapter shows one picture after the other, without a kernel, also by keyboard"
    n = 0
    for name in explorables:
        with looking(browser, f'{url}{name}.html') as page:
            for figure in page.locator('figure.cv-frames').all():
                n += 1
                def seen(figure=figure):
                    shown = [i.get_attribute('alt') for i in figure.locator('img:visible').all()]
                    assert len(shown) == 1, shown
                    return shown[0]
                for slider in figure.locator('input').all():
                    before = seen()
                    slider.focus()
                    page.keyboard.press('ArrowRight')
                    now = seen()
                    assert now != before
                    assert figure.locator('output').all_text_contents() == [
                        part.split(' = ')[1] for part in now.split(', ')]
    assert n >= 5

def test_sharing(site):
    "Each page has words and a picture for whoever gets its address; the site has its lists"
    for name in pages:
        head = (site/f'{name}.html').read_text(encoding='utf-8').split('</head>')[0]
        about = re.search(r'<meta name="description" content="([^"]+)">', head)[1]
        assert 10 < len(html.unescape(about)) <= 201, (name, about)
        for o in ('og:title', 'og:image', 'og:url', 'apple-touch-icon'): assert o in head, (name, o)
        assert head.count('rel="canonical"') == 1
    for o in ('robots.txt', '404.html', '_static/card.png', '_static/touch_icon.png'):
        assert (site/o).stat().st_size > 50, o
    listed = (site/'sitemap.xml').read_text()
    for name in order: assert f'/{name}.html</loc>' in listed, name
    told = (site/'llms.txt').read_text()
    for name in (o for o in chapters if o.startswith(('learn', 'jobs'))): assert name in told, name
    cards = (site/'chapters.html').read_text(encoding='utf-8')
    for found in docs.parts.values():
        for path in found:
            assert f'href="{name_of(path)}.html"' in cards
    assert len(re.findall(r'minutes to read', cards)) == sum(map(len, docs.parts.values()))

def test_explorer(url, browser):
    "On the landing page the picture follows the pointer, in the page's colours, in one screen"
    with looking(browser, url) as page:
        for way in page.locator('#convvae > ul').first.locator('li').all():
            assert way.bounding_box()['y'] < 400
        frame = page.locator('figure.explorer iframe')
        map = frame.content_frame.locator('canvas').first
        map.wait_for()
        box = map.bounding_box()
        assert box['y'] + box['height'] < 800
        seen = set()
        for x, y in (0.2, 0.2), (0.5, 0.5), (0.8, 0.3):
            page.mouse.move(box['x'] + x*box['width'], box['y'] + y*box['height'])
            page.wait_for_timeout(300)
            canvas = frame.content_frame.locator('canvas').nth(1)
            seen.add(canvas.evaluate('c => c.toDataURL()'))
        assert len(seen) == 3
        page.emulate_media(color_scheme='dark')
        address = "document.querySelector('figure.explorer iframe').src"
        page.wait_for_function(f"{address}.endsWith('theme=dark')")
        frame.content_frame.locator('canvas').first.wait_for()
    with looking(browser, f'{url}package/06_explore.html') as page:
        for i in range(2):
            frame = page.locator('figure.explorer iframe').nth(i)
            frame.scroll_into_view_if_needed()     # it is loaded when it comes near
            frame.content_frame.locator('canvas').first.wait_for()

def test_reference(site):
    "Every public name, with its docments; prose leads there, not where a word means something else"
    def read(page): return (site/f'{page}.html').read_text(encoding='utf-8')
    for m in modules:
        for name in names_of(m): assert f'convvae.{m}.{name}' in links(site/'api'/f'{m}.html').ids
    assert sum(len(names_of(m)) for m in modules) < 130
    text = ' '.join(re.sub('<[^>]*>', '', read('api/loss')).split())
    assert 'x Tensor (B,C,H,W) pixels in [0,1] returns Tensor (B,), or (k,B) for k latents' in text
    text = ' '.join(re.sub('<[^>]*>', '', read('api/model')).split())
    assert 'latent_dim int = None Z, the number of latents; None: 64' in text
    assert 'href="../package/02_loss.html#convvae-loss-rate"' in read('api/loss')
    assert 'href="../_modules/convvae/loss.html#rate"' in read('api/loss')
    first = re.findall(r'`(\w+)`', (ROOT/'nbs'/'api.md').read_text())
    def leads(page, name):
        m = max((m for m in modules if name.startswith(f'{m}.')), key=len)
        up = '../'*page.count('/')
        address = f'{m}.html' if page.startswith('api/') else f'{up}api/{m}.html'
        return f'href="{address}#convvae.{name}"' in read(page)
    for page, name in [
        ('package/03_train', 'train.fit'), ('package/00_data', 'data.Batches'),
        ('package/01_model', 'model.ConvVAE'), ('changelog', 'model.ConvVAE.from_pretrained'),
        ('jobs/scaling_out', 'train.fit'), ('api', 'data.load_images'), ('api', 'train.fit'),
        ('api', 'measures.diagnosis.diagnose'), ('api', 'saving.pretrained'),
        ('api', 'views.page.to_html'),
    ]: assert leads(page, name), (page, name)
    for page, name in [('package/00_data', 'cli.train'), ('package/03_train', 'cli.train')]:
        assert not leads(page, name), (page, name)
    assert len({*first} & {name for m in modules for name in names_of(m)}) >= 10

def test_parts(site):
    "The table of contents has the four parts, as far as they are written"
    contents = (site/'index.html').read_text(encoding='utf-8')
    for part, found in docs.parts.items(): assert (part in contents) == bool(found), part

def test_warnings(tmp_path, site):
    "A broken link and a broken place are listed and fail the build, which leaves the old site"
    clone = copy_to(tmp_path/'clone')
    (clone/'_docs').mkdir()
    (clone/'_docs'/'index.html').write_text('old')
    path = clone/'nbs'/'package'/'03_train.ipynb'
    text = path.read_text(encoding='utf-8')
    for old, new in (('(04_sample.ipynb)', '(44_sample.ipynb)'), ('#A-weight', '#No-weight')):
        assert old in text
        text = text.replace(old, new)
    path.write_text(text, encoding='utf-8')
    built = make_docs(clone)
    assert built.returncode != 0
    for broken in ('44_sample', 'No-weight'): assert broken in built.stderr, built.stderr
    assert (clone/'_docs'/'index.html').read_text() == 'old'
