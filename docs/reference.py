"The reference: a page for each module, from its docments, and links to it from names in prose"
import inspect
import re
from collections import defaultdict
from importlib import import_module

from docutils import nodes
from fastcore.docments import docments
from pages import behind, chapter_of, lib, module, nbs, parts, passed_on, public, title
from sphinx import addnodes
from sphinx.ext.autodoc.preserve_defaults import DefaultValue
from torch.distributions import Distribution
from torch.nn import Module

modules = [m for m in chapter_of if public(m) or passed_on(m)]

# One page a module

def entry(m, name):
    "The directive that describes one name"
    o = getattr(import_module(m), name)
    if inspect.isclass(o):
        lines = [f'.. autoclass:: {m}.{name}']
        if k := members(o):
            lines += [f'   :members: {", ".join(k)}', '   :undoc-members:']
        return '\n'.join(lines) + '\n'
    if callable(o):
        return f'.. autofunction:: {m}.{name}\n'
    return f'.. autodata:: {m}.{name}\n   :no-value:\n'

def summary(m, name):
    "The docstring of a name, or what the comment beside a value says"
    o = getattr(import_module(m), name)
    if inspect.isclass(o) or callable(o):
        return (inspect.getdoc(o) or '').partition('\n')[0]
    source = inspect.getsource(import_module(m))
    return re.search(rf'^{name} *=.*?(?:# *(.*))?$', source, re.M)[1] or 'a value'

def overview(m, names):
    "A table: what each name is for"
    rows = (f'| `{name}` | {summary(m, name).replace("|", chr(92) + "|")} |' for name in names)
    return ['| name | what it is |', '|---|---|', *rows]

def page(m):
    "The Markdown of a module's page"
    chapter = f'../{chapter_of[m].relative_to(nbs)}'
    about = import_module(m).__doc__
    text = [f'# {m}', f'{about}. The chapter: [{title(chapter_of[m])}]({chapter}).']
    if further := passed_on(m):
        quoted = ', '.join(f'`{name}`' for name in further)
        text.append(f'Also imported from here: {quoted}.')
    names = public(m)
    if len(names) > 1:
        text.append('\n'.join(overview(m, names)))
    if names:
        text.append('\n'.join(['```{eval-rst}', *(entry(m, name) for name in names), '```']))
    return '\n\n'.join(text) + '\n'

def write_pages():
    "Into nbs/api/, which git ignores; those of modules that are gone go too"
    folder = nbs/'api'
    folder.mkdir(exist_ok=True)
    pages = {folder/f'{m.removeprefix(lib + ".")}.md': page(m) for m in modules}
    for old in {*folder.glob('*.md')} - pages.keys():
        old.unlink()
    for path, text in pages.items():
        if not path.exists() or path.read_text(encoding='utf-8') != text:
            path.write_text(text, encoding='utf-8')

def line(m):
    "A module in the overview: what it is for, and its names"
    names = ', '.join(f'`{name}`' for name in public(m) or passed_on(m))
    return f'- [{m}](api/{m.removeprefix(lib + ".")}.md): {import_module(m).__doc__}. {names}'

def folded(found):
    "Modules behind a door, which most readers do not need"
    head = f'<details><summary>{len(found)} more behind it</summary>' # lines of HTML end with a gap
    return [head, '', *map(line, found), '', '</details>', '']

def on_source_read(app, docname, source):
    "The modules in the order of the chapters: those that people open, and the others folded"
    if docname != 'api':
        return
    text = []
    for door in parts['Part IV: how it is built']:
        own = [m for m in modules if chapter_of[m] == door]
        rooms = [m for m in modules if chapter_of[m] in behind.get(door, ())]
        text += [*map(line, own), '', *(folded(rooms) if rooms else [])]
    short = [m.removeprefix(lib + '.') for m in modules]
    names = [f'{name} <api/{name}>' for name in short]
    tree = ['```{toctree}', ':maxdepth: 1', ':hidden:', '', *names, '```', '']
    source[0] += '\n'.join(['', '## Modules', '', *text, *tree])

def rst(text):
    "Code in backticks; nothing else is marked up"
    pieces = text.split('`')
    def plain(o): return re.sub(r'([*_|\\])', r'\\\1', o)
    return ''.join(f'``{o}``' if i%2 else plain(o) for i, o in enumerate(pieces))

def kind(anno=None, default=inspect.Parameter.empty, **_):
    "The type of a parameter and its default"
    # the last two: what docments makes of a default, and the last wrapped by Sphinx
    known = anno not in (None, inspect.Parameter.empty, type(None), DefaultValue)
    text = re.sub(r'\b\w+\.(?=\w)', '', inspect.formatannotation(anno)) if known else ''
    return text if default is inspect.Parameter.empty else f'{text} = {default!r}'

def parameters(o):
    "Name, type with default, and docment of each parameter, field and result"
    if inspect.isclass(o) and ('__init__' not in vars(o) or hasattr(o, '__dataclass_fields__')):
        comment = dict(re.findall(r'^ +(\w+) *:[^#\n]*# *(.*)', inspect.getsource(o), re.M))
        fields = inspect.get_annotations(o)
        given = inspect.signature(o).parameters if fields else {}
        found = {k: dict(anno=t, default=given[k].default, docment=comment.get(k))
                 for k, t in fields.items()}
    else:
        function = o.__init__ if inspect.isclass(o) else getattr(o, 'fget', o)
        found = docments(function, full=True)
    rows = []
    for k, v in found.items():
        if k in ('self', 'cls'):
            continue
        row = ('*returns*' if k == 'return' else k, kind(**v), v['docment'] or '')
        if any(row[1:]):
            rows.append(row)
    return rows

def value_of(m, name, o):
    "What a value is: its comment, and itself if it is short"
    source = inspect.getsource(import_module(m))
    comment = re.search(rf'^{name} *=.*?(?:# *(.*))?$', source, re.M)[1]
    text = f'`{o!r}`'
    if isinstance(o, dict):
        text = ', '.join(f'`{k}`' for k in o)
    if isinstance(o, set):
        text = ', '.join(f'`{k}`' for k in sorted(o))
    return rst(': '.join(filter(None, [comment, text if len(text) < 300 else ''])))

def on_docstring(app, what, name, o, options, lines):
    "The docstring, a table of the docments, and the way to the chapter"
    lines[:] = map(rst, lines)
    m = name.rsplit('.', 2 if what in ('method', 'property', 'attribute') else 1)[0]
    if what == 'data':
        lines[:] = [value_of(m, name.split('.')[-1], o)]
    elif rows := parameters(o):
        lines += ['', '.. list-table::', '   :class: docments', '   :widths: auto', '']
        for k, t, doc in rows:
            lines += [f'   * - {k}', f'     - {rst(t)}', f'     - {rst(doc)}']
    if what in ('class', 'function', 'data'):
        lines += ['', f':ref:`Explained in {title(chapter_of[m])} <{name}>`']
    lines.append('')

def on_signature(app, what, name, o, options, signature, returned):
    "Only what has to be given, if there is much else: the table below has it all"
    hidden = signature == '(*args, **kwargs)' and '__init__' in vars(o) # by `__new__`
    if not hidden and len(signature or '') <= 80:
        return
    given = inspect.signature(o.__init__ if what == 'class' else o).parameters.values()
    given = [*given][what == 'class':]
    return f'({", ".join([v.name for v in given if v.default is v.empty] + ["..."])})', returned

# Names in prose

def members(cls):
    "The public methods and properties of a class: its own, and those of bases that are not listed"
    bases = [c for c in cls.__mro__ if c.__module__ in chapter_of]
    ours = [c for c in bases if c is cls or c.__name__ not in public(c.__module__)]
    found = {k: v for c in ours for k, v in vars(c).items() if k[0] != '_'}
    kinds = (property, classmethod)
    return [k for k, v in found.items() if isinstance(v, kinds) or inspect.isfunction(v)]

def shorts(name, cls, k):
    "How a member may be called in prose: `ConvVAE.sample`, `model.sample` or `sample`"
    yield f'{name}.{k}'
    if name != 'ConvVAE':
        return
    yield f'model.{k}'
    if not any(hasattr(c, k) for c in (Distribution, Module)):
        yield k # else it may well be theirs

meant = defaultdict(set) # what a name in prose may mean: full names
for m in modules:
    for name in public(m):
        o = getattr(import_module(m), name)
        meant[name].add(f'{m}.{name}')
        for k in members(o) if inspect.isclass(o) else []:
            for short in shorts(name, o, k):
                meant[short].add(f'{m}.{name}.{k}')

def the_meaning(text, home):
    "Of code in the prose of the chapter of module `home`: a full name, if it is one and no other"
    name = re.fullmatch(r'([A-Za-z_][\w.]*)(\(.*\))?', text, re.S)
    found = meant[name[1]] if name else ()
    here = [o for o in found if home and o.startswith(home + '.')]
    rest = [o for o in found if not o.startswith(f'{lib}.cli.')] # elsewhere `train` is another
    return next((c[0] for c in (here, rest) if len(c) == 1), None)

def parents(node):
    while node := node.parent:
        yield node

def link_names(app, doctree):
    "Names of the package in prose lead to the reference"
    here = app.env.docname
    notebook = nbs/f'{here}.ipynb'
    home = module(notebook) if notebook.exists() else None
    for node in list(doctree.findall(nodes.literal)):
        around = {type(o): o for o in parents(node)}
        inside = around[addnodes.desc][0]['module'] if addnodes.desc in around else home
        full = the_meaning(node.astext(), inside)
        if not full or around.keys() & {nodes.reference, addnodes.pending_xref, nodes.title}:
            continue
        node.replace_self(addnodes.pending_xref(
            '', node.deepcopy(), refdomain='py', reftype='obj', reftarget=full,
            refexplicit=True, refwarn=True, refdoc=here))
