"The page of `atlas` in a browser: the right image under the pointer, and decoded as torch does"
import io
import json
from base64 import b64decode

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.decomposition import PCA
from test_views_page import Striped, lively, opened

from convvae.data import Images
from convvae.model import ConvVAE
from convvae.views.atlas import atlas

def smooth(n, size, channels=3, seed=0):
    "Images that nobody would mistake for one another: uint8 (n,channels,size)"
    g = torch.Generator().manual_seed(seed)
    coarse = torch.rand(n, channels, 3, 3, generator=g)*255
    return torch.nn.functional.interpolate(coarse, size, mode='bicubic').clamp(0, 255).byte()

def folder_of(n, size=(24, 32), channels=3):
    "Images in two parts and three classes, with names as of files"
    x, y = smooth(n, size, channels), torch.arange(n)%3
    names = tuple(f'{"abC"[i%3]}/<{i:03}>.png' for i in range(n))
    k = n*3//4
    images = Images('some pictures', x[:k], x[k:], y[:k], y[k:], ('ant', 'bee', 'cat'))
    images.train_files, images.test_files = names[:k], names[k:]
    return images

def trained(size=(3, 24, 32), **kwargs):
    "A model whose latents and images differ, without training"
    torch.manual_seed(0)
    model = lively(ConvVAE(size, 5, (8, 16), **kwargs), 0.2)
    with torch.no_grad():
        model.encoder.head.weight[:5].mul_(60)  # the means, so that images lie apart
    return model.eval()

def all_of(images):
    return torch.cat([images.train, images.test]).float()/255

def settle(page):
    "Wait until what is due for the next frame is drawn"
    frames = 'done => requestAnimationFrame(() => requestAnimationFrame(done))'
    page.evaluate(f'() => new Promise({frames})')

def name(page):
    "The name that stands at the side"
    settle(page)
    return page.locator('.cv-name').text_content()

def canvas(page, label):
    "What one of the pictures at the side shows, (3,H,W) in [0,1]"
    settle(page)
    url = page.get_by_role('img', name=label).evaluate('e => e.toDataURL()')
    pixels = np.array(Image.open(io.BytesIO(b64decode(url.split(',')[1]))).convert('RGB'))
    return torch.from_numpy(pixels).permute(2, 0, 1)/255

def at(page, i):
    "Where the browser has an image, in pixels of the window"
    box = page.locator('.cv-pointer').bounding_box()
    x, y = page.evaluate(f'convvae.plot.screen({i})')
    return box['x'] + x, box['y'] + y

def decoded(page, label, wanted, limit):
    "Does a picture come to show this? Where decoding is slow, it waits until the pointer rests"
    for _ in range(50):
        if (canvas(page, label) - wanted).abs().max() < limit:
            return True
        page.wait_for_timeout(20)
    return False

def ready(page):
    "Wait for the thumbnails"
    page.wait_for_function(
        "document.querySelector('canvas[role=img]').getContext('2d').getImageData(0, 0, 9, 9)"
        '.data.some(v => v)')

def near(page): return page.evaluate('convvae.state.near')

@pytest.fixture(scope='module')
def model(): return trained()

@pytest.fixture(scope='module')
def images(): return folder_of(60)

@pytest.fixture(scope='module')
def url(model, images, tmp_path_factory):
    return atlas(model, images, tmp_path_factory.mktemp('atlas')/'atlas.html').as_uri()

def test_image_under_the_pointer(browser, model, images, url):
    "Its name, its class, its picture and its reconstruction"
    names = [*images.train_files, *images.test_files]
    x = all_of(images)
    with torch.no_grad():
        again = model.reconstruct(x)
    with opened(browser, url) as page:
        ready(page)
        for i in (0, 7, 31, 45, 59):
            page.mouse.move(*at(page, i))
            assert name(page) == names[i]
            assert page.locator('.cv-tags').text_content() == (
                ('ant', 'bee', 'cat')[i%3] + ('train' if i < 45 else 'test'))
            off = (canvas(page, 'image') - x).abs().mean((1, 2, 3))
            assert off.argmin() == i and off[i] < 0.02, (i, off[i])   # a JPEG
            assert decoded(page, 'reconstruction', again[i], 0.03)    # 16 bits
            off = (canvas(page, 'reconstruction') - again).abs().mean((1, 2, 3))
            assert off.argmin() == i, i

def test_place_is_decoded(browser, model, images, url):
    "Anywhere on the plane: the mean plus two principal components, decoded by torch"
    z = model.embed(all_of(images)).numpy()
    pca = PCA(2).fit(z)
    spots = pca.transform(z)
    with opened(browser, url) as page:
        data = json.loads(page.locator('#convvae-data').text_content())
        points = np.frombuffer(b64decode(data['points']), '<f4').reshape(-1, 2)
        signs = np.sign((points*spots).sum(0))
        np.testing.assert_allclose(points, signs*spots, atol=1e-3)
        box = page.locator('.cv-pointer').bounding_box()
        shown = []
        for share in ((0.2, 0.3), (0.7, 0.6), (0.5, 0.9)):
            pixels = [share[0]*box['width'], share[1]*box['height']]
            page.mouse.move(box['x'] + pixels[0], box['y'] + pixels[1])
            place = np.array(page.evaluate('convvae.state.place'))
            left, top = page.evaluate('convvae.plot.screen(0)')       # one point and the scale
            first, second = (page.evaluate(f'convvae.plot.screen({i})') for i in (0, 1))
            scale = (second[0] - first[0])/(points[1, 0] - points[0, 0])
            there = points[0] + np.array([pixels[0] - left, top - pixels[1]])/scale
            np.testing.assert_allclose(place, there, atol=2/scale)
            latent = pca.mean_ + (signs*place)@pca.components_
            with torch.no_grad():
                wanted = model.decode(torch.tensor(latent)[None].float()).mean[0]
            assert decoded(page, 'place, decoded', wanted, 0.02)
            shown.append(canvas(page, 'place, decoded'))
        assert (shown[0] - shown[1]).abs().mean() > 0.01

def test_search(browser, images, url):
    "Names that are found stand out, and Enter leads from one to the next"
    names = [*images.train_files, *images.test_files]
    wanted = [i for i,file in enumerate(names) if 'C/<0' in file]
    with opened(browser, url) as page:
        ready(page)
        def opacity(i):
            settle(page)
            return page.evaluate('''i => {
              const [x, y] = convvae.plot.screen(i).map(v => Math.round(v*devicePixelRatio));
              const context = new OffscreenCanvas(1, 1).getContext('2d');
              context.drawImage(document.querySelector('.cv-plane canvas'), -x, -y);
              return context.getImageData(0, 0, 1, 1).data[3]/255; }''', i)
        assert opacity(0) > 0.6 and opacity(2) > 0.6
        field = page.get_by_role('searchbox')
        field.fill('c/<0')
        assert page.locator('.cv-search output').text_content() == str(len(wanted)) == '20'
        assert opacity(0) < 0.4 < 0.9 < opacity(2)
        for i in wanted[:3]:
            field.press('Enter')
            assert name(page) == names[i]
        field.fill('nothing like that')
        assert page.locator('.cv-search output').text_content() == '0'
        field.fill('')
        assert page.locator('.cv-search output').text_content() == '' and opacity(0) > 0.6

def test_legend(browser, url):
    "Classes and parts that are switched off cannot be pointed at; colours along a number"
    with opened(browser, url) as page:
        page.get_by_role('button', name='ant').click()
        assert page.get_by_role('button', name='ant').get_attribute('aria-pressed') == 'false'
        for i in (0, 3, 30):
            page.mouse.move(*at(page, i))
            assert near(page)%3 != 0
        page.get_by_role('button', name='train').click()
        page.mouse.move(*at(page, 4))
        assert near(page) >= 45
        page.get_by_role('button', name='none').click()
        assert near(page) == -1
        page.get_by_role('button', name='all').click()
        assert near(page) >= 45
        before = page.evaluate("document.querySelector('.cv-plane canvas').toDataURL()")
        page.get_by_label('Colour by').select_option('rate')
        settle(page)
        assert page.locator('.cv-ramp').is_visible()
        assert page.evaluate("document.querySelector('.cv-plane canvas').toDataURL()") != before

def test_moving(browser, url):
    "The wheel zooms at the pointer, dragging pans, keys do both, a click holds, all comes back"
    with opened(browser, url) as page:
        def there(i): return np.array(at(page, i))
        page.mouse.move(*there(7))
        start, other = there(7), there(20)
        page.mouse.wheel(0, -300)
        np.testing.assert_allclose(there(7), start, atol=0.5)         # it stays under the pointer
        ratio = np.linalg.norm(there(20) - start)/np.linalg.norm(other - start)
        assert ratio > 1.3
        before = there(7)
        page.mouse.down()
        page.mouse.move(*(start + [60, -40]), steps=4)
        page.mouse.up()
        np.testing.assert_allclose(there(7) - before, [60, -40], atol=1)
        page.get_by_role('button', name='Whole plane').click()
        np.testing.assert_allclose(there(20), other, atol=0.5)
        page.mouse.move(*there(7))
        page.mouse.down()
        page.mouse.up()                                               # a click holds the place
        page.mouse.move(*there(20))
        assert near(page) == 7
        page.mouse.down()
        page.mouse.up()
        assert near(page) == 20
        place = page.evaluate('convvae.state.place')
        page.keyboard.press('Shift+ArrowLeft')
        assert page.evaluate('convvae.state.place')[0] < place[0]
        page.keyboard.press('+')
        assert abs(np.linalg.norm(there(20) - there(7))/np.linalg.norm(other - start) - 1.4) < 0.01
        page.keyboard.press('0')
        np.testing.assert_allclose(there(20), other, atol=0.5)

def test_pictures(browser, images, url):
    "Pictures in place of points: the one that is pointed at is the one that is shown"
    names = [*images.train_files, *images.test_files]
    with opened(browser, url) as page:
        ready(page)
        page.get_by_role('button', name='Pictures').click()
        settle(page)
        placed = page.evaluate('convvae.plot.placed()')
        assert len(placed) > 10
        box = page.locator('.cv-pointer').bounding_box()
        for one in placed[:5]:
            (left, top), (width, height) = one['corner'], one['size']
            page.mouse.move(box['x'] + left + 0.8*width, box['y'] + top + 0.8*height)
            assert name(page) == names[one['i']]
        for a in placed:                                              # they hardly cover each other
            for b in placed:
                if a['i'] < b['i']:
                    apart = np.abs(np.subtract(a['corner'], b['corner']))/np.array(a['size'])
                    assert (apart > 0.9).any(), (a, b)

def test_fingers(browser, url):
    "A tap shows an image; two fingers zoom"
    size = dict(width=390, height=844)
    with opened(browser, url, viewport=size, has_touch=True) as page:
        page.touchscreen.tap(*at(page, 12))
        assert near(page) == 12
        box = page.locator('.cv-pointer').bounding_box()
        x, y = box['x'] + box['width']/2, box['y'] + box['height']/2
        fingers = page.context.new_cdp_session(page)
        def touch(kind, *apart):
            points = [dict(x=x + sign*a, y=y, id=sign) for a in apart for sign in (-1, 1)]
            how = dict(type=kind, touchPoints=[p | dict(id=p['id'] + 2) for p in points])
            fingers.send('Input.dispatchTouchEvent', how)
        before = np.subtract(at(page, 12), at(page, 3))
        touch('touchStart', 40)
        for apart in (50, 60, 70, 80):
            touch('touchMove', apart)
        touch('touchEnd')
        after = np.subtract(at(page, 12), at(page, 3))
        assert 1.7 < np.linalg.norm(after)/np.linalg.norm(before) < 2.3
        assert near(page) == 12                                       # no tap in between

def test_other_models(browser, tmp_path):
    "Conditional; with a likelihood that no page knows; of five channels and one latent; t-SNE"
    few = folder_of(30)
    x = all_of(few)
    y = torch.cat([few.train_labels, few.test_labels])
    told = trained(n_classes=3)
    with opened(browser, atlas(told, few, tmp_path/'told.html').as_uri()) as page:
        ready(page)
        page.mouse.move(*at(page, 4))
        with torch.no_grad():
            wanted = told.reconstruct(x, y)[4]
            other = told.reconstruct(x, (y + 1)%3)[4]
        assert decoded(page, 'reconstruction', wanted, 0.03)
        assert (canvas(page, 'reconstruction') - other).abs().max() > 0.03
        assert page.evaluate('convvae.z.length') == 5
    striped = trained((3, 20, 30), likelihood=Striped)
    small = Images('a <b> name', smooth(30, (20, 30)), smooth(0, (20, 30)))
    with opened(browser, atlas(striped, small, tmp_path/'tiles.html').as_uri()) as page:
        ready(page)
        assert page.get_by_role('heading').text_content() == 'Atlas of a <b> name'
        assert page.evaluate('convvae.decode') is None
        page.mouse.move(*at(page, 4))
        page.wait_for_timeout(200)
        with torch.no_grad():
            z = torch.tensor(page.evaluate('convvae.z'))
            wanted = striped.decode(z[None]).mean[0]
        assert (canvas(page, 'place, decoded') - wanted).abs().mean() < 0.1
        assert name(page) == 'train 4'
        assert page.locator('.cv-legend').count() == 0
    layers = Images('layers', smooth(20, (16, 16), 5), smooth(8, (16, 16), 5))
    torch.manual_seed(0)
    deep = lively(ConvVAE((5, 16, 16), 1, (8,)))
    with opened(browser, atlas(deep, layers, tmp_path/'deep.html').as_uri()) as page:
        ready(page)
        page.mouse.move(*at(page, 25))
        off = (canvas(page, 'image') - all_of(layers)[25, :3]).abs().mean()
        assert off < 0.02 and near(page) == 25
        with torch.no_grad():
            wanted = deep.reconstruct(all_of(layers)[25:26])[0, :3]
        assert decoded(page, 'reconstruction', wanted, 0.02)
    grey = folder_of(30, channels=1)
    path = atlas(trained((1, 24, 32)), grey, tmp_path/'grey.html', plane='tsne')
    with opened(browser, path.as_uri()) as page:
        ready(page)
        page.mouse.move(*at(page, 9))
        assert near(page) == 9 and page.evaluate('convvae.z') is None
        assert page.get_by_role('img', name='place, decoded').count() == 0
        assert (canvas(page, 'image')[0] - all_of(grey)[9, 0]).abs().mean() < 0.02

@pytest.mark.parametrize('width', [390, 1440])
def test_fits(browser, url, width):
    "Nothing sticks out; the reader's theme or ?theme=; every control has a name; no JavaScript"
    cases = [('light', '', False), ('dark', '', True), ('light', '?theme=dark', True)]
    for scheme, query, dark in cases:
        form = dict(viewport=dict(width=width, height=844), color_scheme=scheme)
        with opened(browser, url + query, **form) as page:
            assert page.evaluate('document.documentElement.scrollWidth') <= width
            colour = page.evaluate("getComputedStyle(document.querySelector('.cv-plane')).color")
            assert (colour == 'rgb(255, 255, 255)') == dark, colour
            called = ("e => e.labels?.[0]?.textContent || e.textContent || "
                      "e.getAttribute('aria-label')")
            for control in page.locator('input, select, button, .cv-pointer').all():
                assert control.evaluate(called).strip()
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(url)
    assert page.locator('noscript img').bounding_box()['width'] > 200
    context.close()
