"The site, straight from the notebooks in nbs/, with saved outputs: `make docs` writes it to _docs/"
import re
import sys
from base64 import b64decode
from functools import partial
from pathlib import Path

here = Path(__file__).parent
sys.path[:0] = [str(here), str(here.parent)] # this tree's package, whatever is installed
import gallery  # noqa: E402
import pages  # noqa: E402
import reference  # noqa: E402
import sharing  # noqa: E402
import torch  # noqa: E402
import weight  # noqa: E402
from safetensors.torch import load_file  # noqa: E402

from convvae.data import Images, render_glyphs  # noqa: E402
from convvae.explore import to_html  # noqa: E402
from convvae.measures.embedding import Table, embed  # noqa: E402
from convvae.model import ConvVAE, pretrained  # noqa: E402
from convvae.sources.glyphs import every_glyph  # noqa: E402
from convvae.views.atlas import atlas  # noqa: E402
from convvae.views.plane import usual_plane  # noqa: E402

cfg = pages.cfg
project, author, release = cfg['title'], cfg['author'], cfg['version']
extensions = [
    'myst_nb', 'sphinx.ext.autodoc', 'sphinx.ext.viewcode', 'sphinx.ext.mathjax',
    'sphinx-mathjax-offline', 'sphinx_copybutton',
]
exclude_patterns = ['**.ipynb_checkpoints']

# Notebooks: what was saved, and no script from elsewhere
nb_code_prompt_show, nb_code_prompt_hide = 'Show {type}', 'Hide {type}'
nb_execution_mode, nb_merge_streams, nb_ipywidgets_js = 'off', True, {}
myst_enable_extensions = ['dollarmath', 'amsmath', 'attrs_block']
myst_heading_anchors = 3
# links to headings are written as JupyterLab has them
myst_heading_slug_func = partial(re.sub, ' ', '-')

# The reference: types stand in the table below each signature
autodoc_preserve_defaults, autodoc_member_order, autodoc_typehints = True, 'bysource', 'none'
autodoc_inherit_docstrings = False
add_module_names, toc_object_entries_show_parents = False, 'hide'
smartquotes = False # they would turn those of default values

html_theme, html_title, html_static_path = 'sphinx_book_theme', project, ['static']
copybutton_selector = 'div:not(.output) > div.highlight > pre' # code, not what it prints
html_css_files, html_js_files = ['site.css'], ['site.js']
html_search_scorer = str(here/'search.js')
html_use_index = html_copy_source = False # the reference is the index; notebooks can be downloaded
html_baseurl, html_extra_path, templates_path = sharing.base, ['extra'], ['templates']
mathjax3_config = weight.mathjax3_config
html_favicon = 'static/icon.svg'
html_context = dict(default_mode='auto')
html_theme_options = dict(
    repository_url=cfg['git_url'], use_repository_button=True,
    use_download_button=False, use_fullscreen_button=False,
    footer_content_items=['foot.html'], navbar_persistent=[],
    secondary_sidebar_items={'**': ['page-toc'], 'index': [], 'chapters': []},
)
html_sidebars = {'**': ['navbar-logo.html', 'search-button-field.html', 'sbt-sidebar-nav.html']}

def explorers(app, failed):
    "The trained models that come with the package, to be played with in the page"
    if failed:
        return
    titles = dict(mnist_2d='A map of handwritten digits', mnist_16='Digits of sixteen latents')
    static = Path(app.outdir)/'_static'
    for name, title in titles.items():
        to_html(ConvVAE.from_pretrained(pretrained(name)),
                static/f'explorer_{name.removeprefix("mnist_")}.html', title=title)
    points = load_file(pretrained('glyphs')/'latents.safetensors')['mu'].float()
    model = ConvVAE.from_pretrained(pretrained('glyphs'))
    first = usual_plane(points).spots(points).matmul(points.new_tensor([-1., .4])).argsort()[-60]
    latents = torch.cat([points[first, None], points]) # it begins where letters are bold
    to_html(model, static/'explorer_letters.html', latents, n=4, title='A map of typefaces')

def letters(app, failed):
    "The atlas of the chapter on it: every tenth glyph, in the colours of its weight"
    if failed:
        return
    f = every_glyph()[::10]
    x, y = render_glyphs(f), f[:, 0]
    images = Images('glyphs', x[:0], x, y[:0], y)
    model = ConvVAE.from_pretrained(pretrained('glyphs'))
    table = embed(model, images)
    weights = [f'weight {w + 1}' for w in f[:, 1].tolist()]
    by_weight = Table(table.data | dict(label=weights), table.quantity)
    path = Path(app.outdir)/'_static'/'explorer_atlas.html'
    atlas(model, images, path, by_weight, title='Letters by weight')

def stills(app, failed):
    "The picture that each explorer has for who has no JavaScript, beside it"
    for path in () if failed else (Path(app.outdir)/'_static').glob('explorer_*.html'):
        held = re.search(r'<img [^>]*src="data:image/png;base64,([^"]+)"', path.read_text())
        path.with_suffix('.png').write_bytes(b64decode(held[1]))

reference.write_pages()

def setup(app):
    app.connect('source-read', pages.on_source_read)
    app.config.mathjax_path = weight.mathjax_path
    app.connect('source-read', reference.on_source_read)
    app.connect('source-read', gallery.on_source_read)
    app.connect('doctree-read', reference.link_names)
    app.connect('autodoc-process-docstring', reference.on_docstring)
    app.connect('autodoc-process-signature', reference.on_signature)
    app.connect('html-page-context', sharing.on_page)
    app.connect('html-page-context', weight.lazy_pictures)
    for finish in (weight.on_finished, sharing.on_finished, gallery.write_thumbnails, explorers):
        app.connect('build-finished', finish)
    app.connect('build-finished', letters)
    app.connect('build-finished', stills)
