"The site, straight from the notebooks in nbs/, with saved outputs: `make docs` writes it to _docs/"
import ast
import inspect
import json
import posixpath
import re
import sys
from collections import defaultdict
from configparser import ConfigParser
from functools import partial
from importlib import import_module
from pathlib import Path

from docutils import nodes
from fastcore.docments import docments
from nbformat.v4 import new_markdown_cell
from safetensors.torch import load_file
from sphinx import addnodes
from sphinx.ext.autodoc.preserve_defaults import DefaultValue
from torch.distributions import Distribution
from torch.nn import Module

root = Path(__file__).resolve().parent.parent
nbs = root/'nbs'
sys.path.insert(0, str(root)) # this tree's package, whatever is installed
from convvae.explore import to_html # noqa: E402
from convvae.model import ConvVAE # noqa: E402

ini = ConfigParser(delimiters=['='])
ini.read(root/'settings.ini', encoding='utf-8')
cfg = ini['DEFAULT']
lib, on_git = cfg['lib_path'], f'{cfg["git_url"]}/blob/{cfg["branch"]}/'

project, author, release = cfg['title'], cfg['author'], cfg['version']
extensions = ['myst_nb', 'sphinx.ext.autodoc', 'sphinx.ext.viewcode', 'sphinx.ext.mathjax', 'sphinx-mathjax-offline',
              'sphinx_copybutton']
exclude_patterns = ['**.ipynb_checkpoints']
nb_code_prompt_show, nb_code_prompt_hide = 'Show {type}', 'Hide {type}'
nb_execution_mode, nb_merge_streams, nb_ipywidgets_js = 'off', True, {} # what was saved, and no script from elsewhere
myst_enable_extensions = ['dollarmath', 'amsmath', 'attrs_block']
myst_heading_anchors, myst_heading_slug_func = 3, partial(re.sub, ' ', '-') # links to headings are written as JupyterLab has them
autodoc_preserve_defaults, autodoc_member_order, autodoc_typehints = True, 'bysource', 'none' # types stand in the table below each signature
autodoc_inherit_docstrings = False
add_module_names, toc_object_entries_show_parents = False, 'hide'
smartquotes = False # they would turn those of default values
html_theme, html_title, html_static_path = 'sphinx_book_theme', project, ['static']
copybutton_selector = 'div:not(.output) > div.highlight > pre' # code, not what it prints
html_css_files, html_js_files = ['site.css'], ['site.js']
html_use_index = html_copy_source = False # the reference is the index; each chapter has its notebook to download
html_favicon = 'static/icon.svg'
html_context = dict(default_mode='auto')
html_theme_options = dict(repository_url=cfg['git_url'], use_repository_button=True, use_download_button=False, use_fullscreen_button=False,
                          navbar_persistent=[], secondary_sidebar_items={'**': ['page-toc'], 'index': []})
html_sidebars = {'**': ['navbar-logo.html', 'search-button-field.html', 'sbt-sidebar-nav.html']}

# What the notebooks say about each other

def cells(path): # of a notebook: (is code?, text)
    return [(c['cell_type'] == 'code', ''.join(c['source'])) for c in json.loads(path.read_text(encoding='utf-8'))['cells']]

def title(path): # of a notebook
    return next(m[1] for code, text in cells(path) if not code and (m := re.search(r'^# (.+)', text, re.M)))

def module(path): # that a notebook is exported to, or None
    return next((f'{lib}.{m[1]}' for _, text in cells(path) if (m := re.match(r'#\s*\|\s*default_exp (\S+)', text))), None)

def defined(text): # the names that Python text gives to functions, classes and values, in order
    found = []
    for o in ast.parse(text).body:
        if isinstance(o, (ast.FunctionDef, ast.ClassDef)): found.append(o.name)
        found += [n.id for t in getattr(o, 'targets', []) for n in ast.walk(t) if isinstance(n, ast.Name)]
    return found

chapters = sorted(nbs.glob('[0-9]*.ipynb'))
tutorials = sorted(nbs.glob('tutorials/*.ipynb'))
chapter_of = {m: path for path in chapters if (m := module(path))} # of each module

def public(module): # names, in the order in which they are defined
    module = import_module(module)
    return sorted(module.__all__, key=defined(inspect.getsource(module)).index)

def members(cls): # the public methods and properties that a class defines itself
    return [k for k, v in vars(cls).items() if k[0] != '_' and (isinstance(v, (property, classmethod)) or inspect.isfunction(v))]

meant = defaultdict(set) # what a name in prose may mean: full names
for m in chapter_of:
    for name in public(m):
        o = getattr(import_module(m), name)
        meant[name].add(f'{m}.{name}')
        for k in members(o) if inspect.isclass(o) else []:
            alone = not any(hasattr(c, k) for c in (Distribution, Module)) # else it may well be theirs
            for short in (f'{name}.{k}', *[f'model.{k}', k][:1 + alone]*(name == 'ConvVAE')): meant[short].add(f'{m}.{name}.{k}')

def the_meaning(text, home): # of code in the prose of the chapter of module `home`: a full name, if it is one and no other
    name = re.fullmatch(r'([A-Za-z_][\w.]*)(\(.*\))?', text, re.S)
    found = meant[name[1]] if name else ()
    here = [o for o in found if home and o.startswith(home + '.')]
    rest = [o for o in found if not o.startswith(f'{lib}.cli.')] # these serve the commands: in other chapters `train` is another
    return next((c[0] for c in (here, rest) if len(c) == 1), None)

# From notebook to page

directive = re.compile(r'#\s*\|\s*([\w-]+)\s*:?[ \t]*(.*?)\s*$')
tags = {('echo', 'false'): 'remove-input', ('hide_input', ''): 'remove-input', ('output', 'false'): 'remove-output',
        ('hide_output', ''): 'remove-output', ('code-fold', 'true'): 'hide-input', ('code-fold', 'show'): 'hide-input'}

def prose(text, path):
    "Markdown of the notebook at `path` as the site has it: buttons, explorers, and links that lead somewhere"
    def lead(m):
        target = (path.parent/m[1]).resolve()
        page = nbs/target.with_suffix('.md').name.lower()
        return m[0] if target.is_relative_to(nbs) else f']({posixpath.relpath(page, path.parent) if page.exists() else on_git + str(target.relative_to(root))})'
    up = posixpath.relpath(nbs, path.parent)
    text = re.sub(r'\]\((\.\./[^)#]+)\)', lead, text)
    text = re.sub(r'^\[Open in Colab\]\((.*)\)$', rf'{{.buttons}}\n[Open in Colab](\1) [Download the notebook](path:{path.name})', text, flags=re.M)
    return re.sub(r'<!-- explorer (\w+): (.*?) -->',
                  rf'<figure class="explorer"><figcaption>\2</figcaption><iframe data-src="{up}/_static/explorer_\1.html" title="\2"></iframe></figure>', text)

def as_shown(cell, path):
    "The cells of the page for one of the notebook"
    source = ''.join(cell['source'])
    if cell['cell_type'] != 'code': return [{**cell, 'source': prose(source, path)}]
    lines = source.splitlines()
    said = dict(m.groups() for o in lines if (m := directive.match(o)))
    if said.keys() & {'hide', 'default_exp'} or said.get('include') == 'false': return []
    source = '\n'.join(o for o in lines if not directive.match(o) and not re.search(r'#\s*\|\s*hide_line\s*$', o))
    places = []
    if 'export' in said:
        if all(isinstance(o, (ast.Import, ast.ImportFrom)) for o in ast.parse(source).body): said['code-fold'] = 'true'
        places = [f'({module(path)}.{o})=' for o in defined(source) if o in public(module(path))] # what the reference points to
    shown = {**cell, 'source': source, 'metadata': dict(tags=[t for (k, v), t in tags.items() if said.get(k) == v])}
    return [new_markdown_cell('\n'.join(places)), shown] if places else [shown]

def tree(caption, pages):
    return f'```{{toctree}}\n:hidden:\n:caption: {caption}\n\n' + '\n'.join(pages) + '\n```'

def on_source_read(app, docname, source):
    path = Path(app.env.doc2path(docname))
    if docname == 'api': source[0] += api()
    if path.suffix != '.ipynb': return
    nb = json.loads(source[0])
    nb['cells'] = [o for c in nb['cells'] for o in as_shown(c, path)]
    if docname == app.config.root_doc:
        entry = lambda p: f'{title(p).split(":")[0]} <{p.relative_to(nbs).with_suffix("")}>'
        nb['cells'] += map(new_markdown_cell, [tree('Chapters', [f'{p.name[:2]} {entry(p)}' for p in chapters]),
                                      tree('Tutorials', map(entry, tutorials)), tree('Reference', ['api', 'changelog', 'contributing'])])
    source[0] = json.dumps(nb)

def parents(node):
    while node := node.parent: yield node

def link_names(app, doctree):
    "Names of the package in prose lead to the reference"
    here = app.env.docname
    home = module(nbs/f'{here}.ipynb') if (nbs/f'{here}.ipynb').exists() else None
    for node in list(doctree.findall(nodes.literal)):
        around = {type(o): o for o in parents(node)}
        full = the_meaning(node.astext(), around[addnodes.desc][0]['module'] if addnodes.desc in around else home)
        if full and not around.keys() & {nodes.reference, addnodes.pending_xref, nodes.title}:
            node.replace_self(addnodes.pending_xref('', node.deepcopy(), refdomain='py', reftype='obj', reftarget=full,
                                                    refexplicit=True, refwarn=True, refdoc=here))

# The reference

def api():
    "The page that lists every public name, by module"
    return '\n\n'.join(f'## {m}\n\n{import_module(m).__doc__}. The chapter: [{title(path)}]({path.name}).\n\n```{{eval-rst}}\n'
                       + '\n'.join(entry(m, name) for name in public(m)) + '\n```' for m, path in chapter_of.items())

def entry(m, name):
    o = getattr(import_module(m), name)
    if inspect.isclass(o): return f'.. autoclass:: {m}.{name}\n' + ''.join(f'   :members: {", ".join(k)}\n   :undoc-members:\n' for k in [members(o)] if k)
    return f'.. autofunction:: {m}.{name}\n' if callable(o) else f'.. autodata:: {m}.{name}\n   :no-value:\n'

def rst(text): # code in backticks, nothing else is marked up
    return ''.join(f'``{o}``' if i%2 else re.sub(r'([*_|\\])', r'\\\1', o) for i, o in enumerate(text.split('`')))

def parameters(o):
    "Name, type with default, and docment of each parameter, field and result"
    empty = inspect.Parameter.empty
    if inspect.isclass(o) and ('__init__' not in vars(o) or hasattr(o, '__dataclass_fields__')):
        comment = dict(re.findall(r'^ +(\w+) *:[^#\n]*# *(.*)', inspect.getsource(o), re.M))
        found = {k: dict(anno=t, default=inspect.signature(o).parameters[k].default, docment=comment.get(k))
                 for k, t in inspect.get_annotations(o).items()}
    else: found = docments(o.__init__ if inspect.isclass(o) else getattr(o, 'fget', o), full=True)
    def kind(anno=None, default=empty, **_):
        known = anno not in (None, empty, type(None), DefaultValue) # the last two: what docments makes of a default, the last wrapped by Sphinx
        return re.sub(r'\b\w+\.(?=\w)', '', inspect.formatannotation(anno))*known + f' = {default!r}'*(default is not empty)
    rows = [('*returns*' if k == 'return' else k, kind(**v), v['docment'] or '') for k, v in found.items() if k not in ('self', 'cls')]
    return [row for row in rows if any(row[1:])]

def on_docstring(app, what, name, o, options, lines):
    "The docstring, a table of the docments, and the way to the chapter"
    lines[:] = map(rst, lines)
    m = name.rsplit('.', 2 if what in ('method', 'property', 'attribute') else 1)[0]
    if what == 'data':
        comment = re.search(rf'^{name.split(".")[-1]} *=.*?(?:# *(.*))?$', inspect.getsource(import_module(m)), re.M)[1]
        value = ', '.join(f'`{k}`' for k in (o if isinstance(o, dict) else sorted(o))) if isinstance(o, (dict, set)) else f'`{o!r}`'
        lines[:] = [rst(': '.join(filter(None, [comment, value if len(value) < 300 else ''])))]
    else:
        rows = parameters(o)
        if rows: lines += ['', '.. list-table::', '   :class: docments', '   :widths: auto', '']
        for k, t, doc in rows: lines += [f'   * - {k}', f'     - {rst(t)}', f'     - {rst(doc)}']
    if what in ('class', 'function', 'data'): lines += ['', f':ref:`Explained in {title(chapter_of[m])} <{name}>`']
    lines.append('')

def on_signature(app, what, name, o, options, signature, returned):
    "Only what has to be given, if there is much else: the table below has it all. Hidden by `__new__(*args, **kwargs)`: that of `__init__`"
    if signature == '(*args, **kwargs)' and '__init__' in vars(o) or len(signature or '') > 80:
        given = [*inspect.signature(o.__init__ if what == 'class' else o).parameters.values()][what == 'class':]
        return f'({", ".join([v.name for v in given if v.default is v.empty] + ["..."])})', returned

def explorers(app, failed):
    "The trained models that come with the package, to be played with in the page"
    for folder in () if failed else (root/lib/'weights').iterdir():
        points = load_file(folder/'latents.safetensors')
        to_html(ConvVAE.from_pretrained(folder), Path(app.outdir)/'_static'/f'explorer_{folder.name.removeprefix("mnist_")}.html',
                points['mu'].float(), points['y'])

def setup(app):
    app.connect('source-read', on_source_read)
    app.connect('doctree-read', link_names)
    app.connect('autodoc-process-docstring', on_docstring)
    app.connect('autodoc-process-signature', on_signature)
    app.connect('build-finished', explorers)
