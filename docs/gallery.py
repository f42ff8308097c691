"The page of all chapters: a picture of each, what it is about, how long it takes"
import html
import re
from base64 import b64decode
from io import BytesIO
from pathlib import Path

from pages import behind, cells, entry_words, figures, first_line, nbs, parts, title
from PIL import Image, ImageOps

numbers = {'ten': 10, 'fifteen': 15, 'twenty': 20, 'twenty-five': 25, 'thirty': 30}
reading = r'([\w-]+) minutes to read|[Rr]eading takes ([\w-]+) minutes'
length = r'(?:about |under |less than )?(?:half a|a|ten|fifteen) (?:minute|seconds?)'
running = rf'({length}) to run|running (?:\w+ )?takes ({length})'
words_a_minute, lines_a_minute = 180, 12

# How long a chapter takes

def minutes(path):
    "To read it: as it says itself, or from its length"
    found = cells(path)
    prose = ' '.join(text for code, text in found if not code)
    if said := re.search(reading, prose):
        number = (said[1] or said[2]).lower()
        return numbers.get(number) or int(number)
    shown = [text for code, text in found if code and not re.match(r'#\s*\| *(hide|check)', text)]
    lines = sum(text.count('\n') + 1 for text in shown)
    return max(1, round(len(prose.split())/words_a_minute + lines/lines_a_minute))

def run_time(path):
    "To run it, less its slow cells: as it says itself; all keep the rule of a minute"
    prose = ' '.join(text for code, text in cells(path) if not code)
    said = re.search(running, prose, re.I)
    return (said[1] or said[2]).lower() if said else 'under a minute'

# The pictures

def cover(path):
    "The picture of a chapter: the first that is not a strip, or else the first"
    pictures = [Image.open(BytesIO(b64decode(png))) for png in figures(path)]
    pictures.sort(key=lambda p: p.width > 3*p.height)        # stable: the order else stays
    return pictures[0] if pictures else None

def thumbnail(path):
    "The address of a chapter's picture in the site"
    return f'thumbs/{"_".join(path.relative_to(nbs).with_suffix("").parts)}.webp'

def write_thumbnails(app, failed):
    if failed:
        return
    folder = Path(app.outdir)/'_static'
    (folder/'thumbs').mkdir(exist_ok=True)
    for path in (p for found in parts.values() for p in found):
        if picture := cover(path):
            small = ImageOps.contain(picture.convert('RGB'), (480, 300))
            small.save(folder/thumbnail(path), quality=80)

# The page

card = '''<li><a href="{page}.html">{picture}
<span class="name">{name}</span></a><p>{about}</p><p class="time">{time}</p></li>'''

def card_of(path):
    picture = '<span class="none"></span>'
    if any(figures(path)):
        picture = f'<img src="_static/{thumbnail(path)}" alt="" loading="lazy">'
    about = re.sub(r'`([^`]*)`', r'<code>\1</code>', html.escape(first_line(path)))
    time = f'{minutes(path)} minutes to read, {run_time(path)} to run'
    page = path.relative_to(nbs).with_suffix('')
    name = html.escape(entry_words(path))
    return card.format(page=page, picture=picture, name=name, about=about, time=time)

def rooms_of(door):
    "A line with the rooms behind a door"
    links = [f'[{title(room).split(":")[0]}]({room.relative_to(nbs)})' for room in behind[door]]
    return f'- {entry_words(door)}: {", ".join(links)}'

def on_source_read(app, docname, source):
    if docname != 'chapters':
        return
    for caption, found in parts.items():
        cards = '\n'.join(map(card_of, found))
        source[0] += f'\n## {caption}\n\n<ul class="gallery">\n{cards}\n</ul>\n'
    rooms = '\n'.join(rooms_of(door) for door in behind if behind[door])
    source[0] += f'\n## The rooms behind the doors\n\n{rooms}\n'
