"What a page weighs: only the icons that are used, only that part of MathJax, pictures when needed"
import re
import shutil
from pathlib import Path

from PIL import Image

# Icons

icons = {
    'solid': ['angle-left', 'angle-right', 'arrow-up', 'bars', 'chevron-down', 'download', 'list',
              'circle-half-stroke', 'magnifying-glass', 'moon', 'sun', 'xmark'],
    'brands': ['github'],
}
shape = r'(?<![\w-])"?{}"?:\[(\d+),(\d+),\[[^\]]*\],"\w+","([^"]+)"'
elsewhere = {'download': ', .buttons a.download::before'}
rule = ('.fa-{name}{more} {{ --icon: url("data:image/svg+xml,'
        '<svg xmlns=\'http://www.w3.org/2000/svg\' viewBox=\'0 0 {width} {height}\'>'
        '<path d=\'{path}\'/></svg>"); }}\n')

of_a_font = r'(?:\.fa-[\w-]+,?)+\{--fa:"[^"]*"\}|@font-face\{[^}]*fontawesome[^}]*\}'

def write_icons(static):
    "icons.css, cut out of the theme's script, which then goes"
    script = static/'scripts'/'fontawesome.js'
    text = script.read_text(encoding='utf-8')
    css = ''
    for name in (name for names in icons.values() for name in names):
        # the outlines come before the filled ones
        width, height, path = re.findall(shape.format(name), text)[-1]
        more = elsewhere.get(name, '')
        css += rule.format(name=name, more=more, width=width, height=height, path=path)
    (static/'icons.css').write_text(css, encoding='utf-8')
    for path in static.glob('scripts/fontawesome.js*'):
        path.unlink()
    for path in static.glob('styles/*.css'): # two thousand icons of a font that is not used
        css = path.read_text(encoding='utf-8')
        path.write_text(re.sub(of_a_font, '', css), encoding='utf-8')
    shutil.rmtree(static/'vendor', ignore_errors=True)

# Styles

def words_of(out):
    "All that may be the name of a class: in pages, and anywhere in scripts"
    named = re.compile(r'class="([^"]*)"')
    words = {o for page in out.rglob('*.html') if 'explorer_' not in page.name
             for found in named.findall(page.read_text(encoding='utf-8')) for o in found.split()}
    for script in (p for p in (out/'_static').rglob('*.js') if 'mathjax' not in p.parts):
        words |= {*re.findall(r'[\w-]+', script.read_text(encoding='utf-8'))}
    return words

def is_used(selector, words):
    "Whether something may match: the classes in `:not(...)` and the like do not count"
    plain = re.sub(r':[\w-]+\([^()]*\)', '', selector)
    return all(o in words for o in re.findall(r'\.([a-zA-Z_][\w-]*)', plain))

def purged(css, words):
    "The rules that something on the site may match"
    def keep(rule):
        head, inside = rule.groups()
        before, _, selectors = head.rpartition(';')      # an `@import` or `@charset`
        if selectors.lstrip().startswith('@'):
            return rule[0]
        used = [o for o in re.split(r',(?![^(]*\))', selectors) if is_used(o, words)]
        before += ';' if before else ''
        return f'{before}{",".join(used)}{{{inside}}}' if used else before
    return re.sub(r'([^{}]+)\{([^{}]*)\}', keep, css)

def purge_styles(out):
    "The theme's styles, less what is for things that this site has not"
    words = words_of(out)
    for path in (out/'_static'/'styles').glob('*.css'):
        css = purged(path.read_text(encoding='utf-8'), words)
        path.write_text(re.sub(r'/\*.*?\*/', '', css, flags=re.S), encoding='utf-8')

# Mathematics

mathjax_parts = ['input/tex-base', '[tex]/ams', 'output/chtml', 'a11y/assistive-mml']
mathjax_path = 'mathjax/startup.js'
mathjax3_config = {
    'loader': {'load': mathjax_parts},
    'tex': {'packages': ['base', 'ams']},
    'options': {'enableAssistiveMml': True},
}
mathjax_kept = ['startup.js', 'core.js', 'input/tex-base.js', 'input/tex/extensions/ams.js',
                'output/chtml.js', 'output/chtml', 'a11y/assistive-mml.js']

def prune_mathjax(static):
    "Delete what no page asks for: 24 MB become 1"
    folder = static/'mathjax'
    kept = [folder/name for name in mathjax_kept]
    for path in [p for p in folder.rglob('*') if p.is_file()]:
        if not any(path == k or k in path.parents for k in kept):
            path.unlink()
    for path in sorted(folder.rglob('*'), reverse=True):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()

# Pictures

def sized(tag, folder):
    "An <img>, with its size, which the browser loads when it comes near the screen"
    source = re.search(r'src="([^"]+)"', tag)[1]
    if source.startswith('data:'):
        return tag
    name = source.rsplit('/', 1)[-1]
    found = folder.get(name)
    size = ''
    if found and 'width' not in tag and found.suffix in ('.png', '.jpg'):
        with Image.open(found) as image:
            size = ' width="{}" height="{}"'.format(*image.size)
    return tag.replace('<img ', f'<img loading="lazy" decoding="async"{size} ', 1)

def lazy_pictures(app, page, template, context, doctree):
    "Pictures of a page are not loaded before they are needed, and leave room for themselves"
    if 'body' not in context:
        return
    root = Path(app.srcdir)
    folder = {name: root/path for path, name in app.builder.images.items()}
    tag = re.compile(r'<img [^>]*>')
    body = tag.sub(lambda m: sized(m[0], folder), context['body'])
    # what is folded is called what stands on it, not "Toggle hidden content"
    context['body'] = body.replace('<summary aria-label="Toggle hidden content">', '<summary>')

def on_finished(app, failed):
    if failed:
        return
    static = Path(app.outdir)/'_static'
    write_icons(static)
    prune_mathjax(static)
    purge_styles(Path(app.outdir))
    shutil.rmtree(static/'locales', ignore_errors=True) # the theme's, in 47 languages
