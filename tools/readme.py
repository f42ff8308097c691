"Write README.md from nbs/index.ipynb: nbconvert, less what only notebooks and the site need"
import posixpath
import re
from pathlib import Path

import nbformat
from nbconvert import MarkdownExporter
from traitlets.config import Config

root = Path(__file__).resolve().parent.parent
note = '<!-- Written by `make readme` from nbs/index.ipynb: edit that -->\n\n'
directives = re.compile(r'(?:#\s*\|.*\n?)+') # the `#| ...` lines that open a cell
link = re.compile(r'(\]\(|\b(?:src|href)=")(?![a-z]+:|[/#])([^)"\s]+)')

def link_from_root(match):
    "A relative link of a notebook in nbs/"
    return match[1] + posixpath.normpath(posixpath.join('nbs', match[2]))

def from_root(cell):
    "`cell` without its directives, its links as seen from the root; None if it is hidden"
    if cell.cell_type == 'markdown':
        cell.source = link.sub(link_from_root, cell.source)
    elif m := directives.match(cell.source):
        if re.search(r'\|\s*hide\s*$', m[0], re.M):
            return
        cell.source = cell.source[m.end():]
    return cell

nb = nbformat.read(root/'nbs'/'index.ipynb', as_version=4)
nb.metadata.language_info = {'name': 'python'} # of code blocks; nbdev_clean drops it
nb.cells = [cell for o in nb.cells if (cell := from_root(o))]
template = 'nbs/images/readme_{cell_index}_{index}{extension}'
pictures = Config(ExtractOutputPreprocessor=dict(output_filename_template=template))
text, resources = MarkdownExporter(config=pictures).from_notebook_node(nb)

for old in root.glob('nbs/images/readme_*'):
    old.unlink()
for path, data in resources['outputs'].items():
    (root/path).parent.mkdir(exist_ok=True)
    (root/path).write_bytes(data)
text = re.sub(r'\n(?:[ \t]*\n){2,}', '\n\n', text) # nbconvert is generous with blank lines
(root/'README.md').write_text(f'{note}{text.strip()}\n', encoding='utf-8')
