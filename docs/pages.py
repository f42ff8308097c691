"From notebook to page: which notebooks there are, in which order, and what a reader sees of each"
import ast
import inspect
import json
import posixpath
import re
from configparser import ConfigParser
from importlib import import_module
from pathlib import Path

from nbformat.v4 import new_markdown_cell

root = Path(__file__).resolve().parent.parent
nbs = root/'nbs'
ini = ConfigParser(delimiters=['='])
ini.read(root/'settings.ini', encoding='utf-8')
cfg = ini['DEFAULT']
lib, on_git = cfg['lib_path'], f'{cfg["git_url"]}/blob/{cfg["branch"]}/'

# Which notebooks, in which order

wings = { # the rooms behind each door, in the order in which they are read
    '00_data': ['sources'], '01_model': ['layers', 'zoo', 'saving'],
    '02_loss': ['objectives'], '03_train': ['running'],
    '05_evaluate': ['measures'], '06_explore': ['views'], '07_cli': ['command', 'commands'],
}
doors = sorted(nbs.glob('package/[0-9]*.ipynb'))

def rooms(door):
    "The notebooks behind a door"
    found = []
    for name in wings.get(door.stem, []):
        alone = nbs/'package'/f'{name}.ipynb'
        found += [alone] if alone.exists() else sorted((nbs/'package'/name).glob('*.ipynb'))
    return found

behind = {door: rooms(door) for door in doors}
elsewhere = {room for found in behind.values() for room in found}
ground = sorted({*nbs.glob('package/[a-z]*.ipynb')} - elsewhere)
learn = sorted(nbs.glob('learn/*.ipynb'))
parts = {
    'Part I: meet it': [p for p in learn if p.name < '07'],
    'Part II: understand it': [p for p in learn if p.name >= '07'],
    'Part III: use it': sorted(nbs.glob('jobs/*.ipynb')),
    'Part IV: how it is built': [*doors, *ground],
}
notebooks = [room for found in parts.values() for p in found for room in (p, *behind.get(p, []))]

# What they say about themselves

def cells(path):
    "Pairs of a notebook: is it code? and the text"
    nb = json.loads(path.read_text(encoding='utf-8'))
    return [(c['cell_type'] == 'code', ''.join(c['source'])) for c in nb['cells']]

def title(path):
    "The first heading of a notebook"
    for code, text in cells(path):
        if not code and (m := re.search(r'^# (.+)', text, re.M)):
            return m[1]

def first_line(path):
    "What a notebook is about: the quotation below its title"
    for code, text in cells(path):
        if not code and (m := re.search(r'^> (.+)', text, re.M)):
            return m[1]
    return ''

def figures(path):
    "The pictures that a notebook shows, as base64"
    nb = json.loads(path.read_text(encoding='utf-8'))
    for cell in nb['cells']:
        shown = all(o not in ''.join(cell['source']).split('\n') for o in ('#| hide', '#| check'))
        for output in cell.get('outputs', []) if shown else []:
            if 'image/png' in output.get('data', {}):
                yield output['data']['image/png']

def module(path):
    "The module that a notebook is exported to, or None"
    for _, text in cells(path):
        if m := re.match(r'#\s*\|\s*default_exp (\S+)', text):
            return f'{lib}.{m[1]}'

chapter_of = {m: path for path in notebooks if (m := module(path))}

def defined(text):
    "The names that Python text gives to functions, classes and values, in order"
    found = []
    for node in ast.parse(text).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.append(node.name)
        for target in getattr(node, 'targets', []):
            found += [n.id for n in ast.walk(target) if isinstance(n, ast.Name)]
    return found

def public(name):
    "The public names that a module defines itself, in order; not what it passes on from its wing"
    m = import_module(name)
    return [o for o in defined(inspect.getsource(m)) if o in m.__all__]

def passed_on(name):
    "The public names that a module has from others"
    return sorted(set(import_module(name).__all__) - set(public(name)))

# The page

directive = re.compile(r'#\s*\|\s*([\w-]+)\s*:?[ \t]*(.*?)\s*$')
tags = {
    ('echo', 'false'): 'remove-input', ('hide_input', ''): 'remove-input',
    ('output', 'false'): 'remove-output', ('hide_output', ''): 'remove-output',
    ('code-fold', 'true'): 'hide-input', ('code-fold', 'show'): 'hide-input',
    ('check', ''): 'hide-cell',
}
explorer = r'<!-- explorer (\w+): (.*?) -->'
frame = ('<figure class="explorer"><figcaption>{caption}</figcaption>'
         '<iframe data-src="{up}/_static/explorer_{name}.html" title="{caption}"></iframe>'
         '<noscript><img src="{up}/_static/explorer_{name}.png" alt="{caption}"></noscript>'
         '</figure>')

def prose(text, path):
    "Markdown of a notebook as the site has it: buttons, explorers, and links that lead somewhere"
    def lead(m):
        target = (path.parent/m[1]).resolve()
        if target.is_relative_to(nbs):
            return m[0]
        page = nbs/target.with_suffix('.md').name.lower()
        if page.exists():
            return f']({posixpath.relpath(page, path.parent)})'
        return f']({on_git}{target.relative_to(root)})'
    def live(m):
        up = posixpath.relpath(nbs, path.parent)
        return frame.format(name=m[1], caption=m[2], up=up)
    text = re.sub(r'\]\((\.\./[^)#]+)\)', lead, text)
    download = f'[Download the notebook](path:{path.name})'
    buttons = rf'{{.buttons}}\n[Open in Colab](\1) {download}'
    text = re.sub(r'^\[Open in Colab\]\((.*)\)$', buttons, text, flags=re.M)
    return re.sub(explorer, live, text)

headings = ('suptitle', 'set_title', 'title', 'show')

def in_words(source, given):
    "What a figure shows, for who can't see it: `#| alt: ...`, or the titles that the code gives it"
    if 'alt' in given:
        return given['alt']
    found = {}
    for o in ast.walk(ast.parse(source)):
        if not isinstance(o, ast.Call):
            continue
        name = getattr(o.func, 'attr', getattr(o.func, 'id', ''))
        texts = [*o.args[:1]] if name in headings else []
        texts += [keyword.value for keyword in o.keywords if keyword.arg == 'title']
        said = [t.value for t in texts if isinstance(t, ast.Constant) and isinstance(t.value, str)]
        found.setdefault('suptitle' if name == 'suptitle' else 'titles', []).extend(said)
    return '; '.join(found.get('suptitle') or found.get('titles') or [])

def assertions(source):
    "How many things a cell checks: assert, and what fastcore.test and others call so"
    def is_check(o):
        name = getattr(o, 'func', None)
        name = getattr(name, 'attr', getattr(name, 'id', ''))
        return isinstance(o, ast.Assert) or re.match(r'test_|expect_fail|assert_', name)
    return sum(bool(is_check(o)) for o in ast.walk(ast.parse(source)))

def folded(source, given):
    "What stands on a cell that is folded; None for other cells"
    if 'check' in given:
        n = assertions(source)
        return f'Checked: {n} assertion{"s" if n != 1 else ""}' if n else 'Checked'
    if 'solution' in given:
        return 'Solution'
    if 'code-fold' in given and re.match(r'\s*(import|from) ', source):
        return 'Imports'
    return None

def as_shown(cell, path):
    "The cells of the page for one of the notebook"
    source = ''.join(cell['source'])
    if cell['cell_type'] != 'code':
        return [{**cell, 'source': prose(source, path)}]
    lines = source.splitlines()
    given = dict(m.groups() for o in lines if (m := directive.match(o)))
    if given.keys() & {'hide', 'default_exp'} or given.get('include') == 'false':
        return []
    hidden = re.compile(r'#\s*\|\s*hide_line\s*$')
    shown = [o for o in lines if not directive.match(o) and not hidden.search(o)]
    source = '\n'.join(shown)
    if re.match(r'_all_ *=', source):
        return []
    places = []
    if given.keys() & {'export', 'exporti'}:
        body = ast.parse(source).body
        if all(isinstance(o, (ast.Import, ast.ImportFrom)) for o in body):
            given['code-fold'] = 'true'
        home = module(path)
        names = [o for o in defined(source) if o in public(home)]
        places = [f'({home}.{o})=' for o in names] # the reference points here
    metadata = dict(tags=[tag for pair, tag in tags.items() if pair in given.items()])
    if prompt := folded(source, given):
        metadata['mystnb'] = dict(code_prompt_show=prompt, code_prompt_hide=prompt)
    if any('image/png' in o.get('data', {}) for o in cell['outputs']):
        alt = in_words(source, given)
        if not alt:
            raise ValueError(f'{path}: a figure without words; begin its cell with "#| alt: ..."\n'
                             + source)
        metadata.setdefault('mystnb', {})['image'] = dict(alt=alt)
    code = {**cell, 'source': source, 'metadata': metadata}
    return [new_markdown_cell('\n'.join(places)), code] if places else [code]

def tree(caption, pages):
    head = [f':caption: {caption}'] if caption else []
    return new_markdown_cell('\n'.join(['```{toctree}', ':hidden:', *head, '', *pages, '```']))

def entry_words(path):
    "The number and the title of a notebook, as far as a colon"
    number = re.match(r'\d\d', path.stem)
    words = f'{number[0]} {title(path)}' if number else title(path)
    return words.split(':')[0]

def entry(path, base=nbs):
    "A line of a table of contents: what a notebook is called, and where it lies"
    return f'{entry_words(path)} <{posixpath.relpath(path.with_suffix(""), base)}>'

def on_source_read(app, docname, source):
    path = Path(app.env.doc2path(docname))
    if path.suffix != '.ipynb':
        return
    nb = json.loads(source[0])
    nb['cells'] = [o for c in nb['cells'] for o in as_shown(c, path)]
    if docname == app.config.root_doc:
        nb['cells'].append(tree('', ['chapters']))
        for caption, found in parts.items():
            if found:
                nb['cells'].append(tree(caption, map(entry, found)))
        nb['cells'].append(tree('Reference', ['api', 'changelog', 'contributing']))
    elif behind.get(path):
        nb['cells'].append(tree('', [entry(room, path.parent) for room in behind[path]]))
    source[0] = json.dumps(nb)
