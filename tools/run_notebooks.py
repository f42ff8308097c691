"Run notebooks in their folders, save their outputs, fold solutions: run_notebooks.py NOTEBOOK..."
import os
import re
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

os.environ['TQDM_DISABLE'] = '1' # a saved progress bar stays at 0 % for ever

unable = r'eval:\s*false' if os.environ.get('CONVVAE_DATA') else r'eval:\s*false|mnist'
left_alone = re.compile(rf'^#\s*\|\s*({unable})', re.M)
folded = re.compile(r'^#\s*\|\s*(solution|code-fold:\s*true)\b', re.M) # as on the site

class Client(NotebookClient):
    "Runs all cells but those that cannot run here: these keep the outputs they have"
    async def async_execute_cell(self, cell, *args, **kwargs):
        if left_alone.search(cell.source):
            return cell
        return await super().async_execute_cell(cell, *args, **kwargs)

for path in map(Path, sys.argv[1:]):
    print(path, flush=True)
    nb = nbformat.read(path, as_version=4)
    Client(nb, kernel_name='python3', store_widget_state=False, coalesce_streams=True,
           resources={'metadata': {'path': path.parent}}).execute()
    for cell in nb.cells:
        if cell.cell_type == 'code' and folded.search(cell.source):
            cell.metadata['jupyter'] = dict(source_hidden=True)
    for data in (o.get('data', {}) for cell in nb.cells for o in cell.get('outputs', [])):
        # without a kernel a widget is an error message, and its picture is not
        data.pop('application/vnd.jupyter.widget-view+json', None)
        if 'image/png' in data:
            data.pop('image/jpeg', None) # Pillow shows every picture twice
    nbformat.write(nb, path)
