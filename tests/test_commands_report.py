"report.html in a browser: it asks nobody for anything, fits a phone, and its explorer moves"
import pytest
import torch
from test_views_page import drag, opened, picture

from convvae.commands.report import write_report
from convvae.data import load_digits_32
from convvae.evaluate import Finding
from convvae.model import ConvVAE, pretrained
from convvae.running.record import write_history

evil = '<img src="https://example.org/x.png" onerror="document.title=1"><script>alert(1)</script>'

@pytest.fixture(scope='module')
def report(tmp_path_factory):
    "The report of a shipped model, with names as no one should give them"
    run = tmp_path_factory.mktemp('run')
    images = load_digits_32()
    images.train, images.test = (x[:200, :, 2:30, 2:30] for x in (images.train, images.test))
    images.train_labels, images.test_labels = images.train_labels[:200], images.test_labels[:200]
    images.classes = tuple(f'{i} {evil}' for i in range(10))
    images.test_files = tuple(f'{evil}/{"long"*20}/{i}.png' for i in range(200))
    images.notes = (f'a note on {evil}', 'x'*300)
    row = dict(train_elbo=-200., train_rate=9., train_distortion=191., lr=1e-3, seconds=1.)
    row |= {name.replace('train', 'test'): v for name,v in row.items() if 'train' in name}
    write_history(run/'history.csv', [dict(row, epoch=i, test_elbo=-200. + i) for i in range(4)])
    metrics = dict(quantity='nats', elbo=-123.456, rate=9., distortion=114.456, psnr=20., k=4)
    findings = [Finding(f'A fault {evil}', f'9 of 10 {evil}', f'something else than {evil}')]
    model = ConvVAE.from_pretrained(pretrained('mnist_2d'))
    settings = dict(data=evil, lr=1e-3, machine=dict(torch=evil))
    return write_report(run, model, images, metrics, findings, settings).as_uri()

sizes = [(w, scheme) for w in (390, 1440) for scheme in ('light', 'dark')]

@pytest.mark.parametrize('width, scheme', sizes)
def test_report_fits(browser, report, width, scheme):
    "Nothing sticks out; the letters stand out from the ground; all pictures are there"
    form = dict(viewport=dict(width=width, height=900), color_scheme=scheme)
    with opened(browser, report, **form) as page:
        assert page.evaluate('document.documentElement.scrollWidth') <= width
        loaded = '[...document.images].every(i => i.complete && i.naturalWidth)'
        page.wait_for_function(loaded)
        colours = page.evaluate("""['h1', 'p', 'dt', 'article p', 'td', 'a', 'pre'].map(name => {
            let e = document.querySelector(name), ink = getComputedStyle(e).color;
            while (getComputedStyle(e).backgroundColor === 'rgba(0, 0, 0, 0)') e = e.parentElement;
            return [ink, getComputedStyle(e).backgroundColor];
        })""")
        for ink, ground in colours:
            assert contrast(ink, ground) > 4.5, (ink, ground)
        assert (brightness(colours[0][1]) < 0.1) == (scheme == 'dark')
        assert page.title() not in ('1', '') and page.locator('main script').count() == 1
        assert page.locator('main').inner_text().count(evil) > 20

def brightness(colour):
    "Relative luminance as WCAG defines it"
    shades = [int(v)/255 for v in colour[colour.index('(') + 1:-1].split(',')[:3]]
    linear = [v/12.92 if v <= 0.04045 else ((v + 0.055)/1.055)**2.4 for v in shades]
    return sum(w*v for w,v in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

def contrast(a, b):
    high, low = sorted(map(brightness, (a, b)), reverse=True)
    return (high + 0.05)/(low + 0.05)

@pytest.mark.parametrize('width', [390, 1440])
def test_report_explorer(browser, report, width):
    "The explorer decodes what lies under pointer and slider, and its frame is as high as it is"
    with opened(browser, report, viewport=dict(width=width, height=900)) as page:
        frame = page.frame_locator('#explorer')
        pad = frame.locator('.cv-pad')
        pad.scroll_into_view_if_needed()
        inside = page.frames[1]
        seen = {picture(inside)}
        box = pad.bounding_box()
        for share in (0.15, 0.85):
            page.mouse.move(box['x'] + share*box['width'], box['y'] + 0.3*box['height'])
            seen.add(picture(inside))
        slider = frame.locator('.cv-sliders input').first
        slider.scroll_into_view_if_needed()
        drag(page, slider.bounding_box(), [0.5, 0.6, 0.95])
        seen.add(picture(inside))
        assert len(seen) == 4
        heights = inside.evaluate("""[document.documentElement.scrollHeight, innerHeight,
            document.documentElement.scrollWidth - innerWidth]""")
        assert heights[0] <= heights[1] < heights[0] + 40 and heights[2] <= 0, heights

def test_report_on_paper(browser, report):
    "In print the explorer gives way to a sentence, and the ground is white"
    with opened(browser, report, viewport=dict(width=800, height=900)) as page:
        page.emulate_media(media='print')
        assert not page.locator('#explorer').is_visible()
        assert page.locator('.on-paper').is_visible()
        ground = page.evaluate('getComputedStyle(document.body).backgroundColor')
        assert ground == 'rgb(255, 255, 255)'

def test_report_is_seeded(tmp_path):
    "The same run, the same page, and the global generator is left alone"
    images = load_digits_32()
    torch.manual_seed(0)
    model = ConvVAE(images.image_size, 2, (4, 8))
    state = torch.get_rng_state()
    pages = [write_report(tmp_path, model, images).read_bytes() for _ in range(2)]
    assert pages[0] == pages[1]
    assert torch.equal(state, torch.get_rng_state())
