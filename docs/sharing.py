"What the site says about itself: to whoever gets an address, to search engines, to language models"
import html
import re
from pathlib import Path

from docutils import nodes
from pages import cfg, chapter_of, first_line, lib, nbs, parts, root, title
from PIL import Image, ImageDraw, ImageOps

from convvae.sources.glyphs import open_font

base = f'https://{cfg["user"]}.github.io/{cfg["repo"]}/'
first_title = 'convvae: convolutional variational autoencoders, a book that runs'

# Each page

def description(doctree):
    "The first paragraph of a page, at most as much as a search engine shows"
    found = (p.astext() for p in doctree.findall(nodes.paragraph)) if doctree else iter([])
    text = ' '.join(next(found, cfg['description']).split())
    return text if len(text) <= 200 else text[:200].rsplit(' ', 1)[0] + '…'

def source_of(name):
    "The file in the repository that a page is made of"
    if name in ('changelog', 'contributing'):
        return f'{name.upper()}.md'
    if name.startswith('api/'):
        chapter = chapter_of[f'{lib}.{name.removeprefix("api/")}']
        name = str(chapter.relative_to(nbs).with_suffix(''))
    if name.startswith('_modules/convvae/'):
        return name.removeprefix('_modules/') + '.py'
    found = [f'nbs/{name}{end}' for end in ('.ipynb', '.md')]
    return next((o for o in found if (root/o).exists()), '')

def on_page(app, page, template, context, doctree):
    source = source_of(page)
    kind = 'edit' if source.startswith('nbs') or source.endswith('.md') else 'blob'
    plain = html.unescape(re.sub('<[^>]*>', '', context.get('title', ''))) or cfg['title']
    context.update(
        full_title=first_title if page == 'index' else f'{plain} — {cfg["title"]}',
        description=description(doctree), html_baseurl=base,
        edit_url=f'{cfg["git_url"]}/{kind}/{cfg["branch"]}/{source}')

# Files of the whole site

def write_card(path):
    "The picture that is shown beside an address, 1200 x 630"
    card = Image.new('RGB', (1200, 630), '#ffffff')
    draw = ImageDraw.Draw(card)
    draw.text((60, 40), 'convvae', font=open_font(96), fill='#14233c')
    words = 'Variational autoencoders: a book that is also a library'
    draw.text((62, 156), words, font=open_font(36), fill='#3b4a63')
    with Image.open(nbs/'images'/'alphabets.png') as image:
        alphabets = ImageOps.contain(image.convert('L'), (1080, 380))
    left = (1200 - alphabets.width)//2
    card.paste(alphabets, (left, 630 - 50 - alphabets.height))
    card.save(path, optimize=True)

def write_touch_icon(path):
    "static/icon.svg, as large as a telephone wants it"
    side, each = 180*4, 180*4/32
    icon = Image.new('RGB', (side, side), '#ffffff')
    draw = ImageDraw.Draw(icon)
    inner = 0.76*each
    def place(x, y): return (side/2 + (x - 16)*inner, side/2 + (y - 16)*inner)
    draw.polygon([place(*p) for p in ((2, 3), (2, 29), (13, 21), (13, 11))], fill='#3b82f6')
    draw.polygon([place(*p) for p in ((30, 3), (30, 29), (19, 21), (19, 11))], fill='#3b82f6')
    draw.ellipse([*place(13.5, 13.5), *place(18.5, 18.5)], fill='#f59e0b')
    icon.resize((180, 180), Image.Resampling.LANCZOS).save(path, optimize=True)

def sitemap(names):
    entries = (f'<url><loc>{base}{name}.html</loc></url>' for name in names)
    return '\n'.join(['<?xml version="1.0" encoding="UTF-8"?>',
                      '<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">',
                      *entries, '</urlset>', ''])

def llms():
    "What there is to read, with addresses of the notebooks: https://llmstxt.org"
    raw = f'https://raw.githubusercontent.com/{cfg["user"]}/{cfg["repo"]}/{cfg["branch"]}'
    lines = [f'# {cfg["title"]}', '', f'> {cfg["description"]}', '',
             f'Start with the README: {raw}/README.md', '']
    for caption, found in parts.items():
        lines += [f'## {caption}', '']
        for path in found:
            address = f'{raw}/{path.relative_to(root)}'
            lines.append(f'- [{title(path)}]({address}): {first_line(path)}')
        lines.append('')
    return '\n'.join([*lines, '## Reference', '', f'- [All public names]({base}api.html)', ''])

def on_finished(app, failed):
    if failed:
        return
    out = Path(app.outdir)
    write_card(out/'_static'/'card.png')
    write_touch_icon(out/'_static'/'touch_icon.png')
    (out/'sitemap.xml').write_text(sitemap(sorted(app.env.all_docs)), encoding='utf-8')
    (out/'llms.txt').write_text(llms(), encoding='utf-8')
