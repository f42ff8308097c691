"Sheets for a class: the student's have stubs and no solutions, the teacher's run to the end"
import re
import sys

import nbformat
import pytest
from conftest import ROOT
from nbclient import NotebookClient

sys.path.insert(0, str(ROOT/'tools'))
import lab_sheet  # noqa: E402

def names(chapter, kind):
    "What the stubs or solutions of a chapter are called"
    cells = nbformat.read(chapter, as_version=4).cells
    return [m[1] for c in cells if (m := re.search(rf'^#\| {kind} (\w+)', c.source, re.M))]

chapters = sorted((ROOT/'nbs'/'learn').glob('*.ipynb'))
labs = [p for p in chapters if names(p, 'stub')]

@pytest.mark.parametrize('path', chapters, ids=lambda p: p.stem)
def test_student(path):
    "Each stub has its solution, none of which is shown, and what is left can be read"
    assert set(names(path, 'stub')) <= set(names(path, 'solution'))
    assert len({*names(path, 'solution')}) == len(names(path, 'solution'))
    text = [c.source for c in lab_sheet.sheet(path, lab_sheet.for_student).cells]
    for s in text: assert not re.search(r'<summary>.*olution', s)
    for s in text: assert not lab_sheet.kinds(s) & {'solution', 'stub'}
    whole = [c.source for c in nbformat.read(path, as_version=4).cells]
    for c in nbformat.read(path, as_version=4).cells: # Jupyter folds them too
        if 'solution' in lab_sheet.kinds(c.source): assert c.metadata.jupyter.source_hidden
    solutions = [lab_sheet.plain(s) for s in whole if 'solution' in lab_sheet.kinds(s)]
    assert not set(solutions) & set(text)
    stubs = [lab_sheet.plain(s) for s in whole if 'stub' in lab_sheet.kinds(s)]
    assert set(stubs) <= set(text)
    for stub in stubs: compile(stub, path.name, 'exec')

@pytest.mark.parametrize('path', labs, ids=lambda p: p.stem)
def test_teacher(path, tmp_path):
    nb = lab_sheet.sheet(path, lab_sheet.for_teacher)
    for cell in nb.cells: # long cells, and those that need others' data, run in the chapter itself
        if lab_sheet.kinds(cell.source) & {'slow', 'mnist'}: cell.source = ''
    where = dict(metadata=dict(path=tmp_path))
    NotebookClient(nb, kernel_name='python3', resources=where).execute()
    assert '# A solution' in '\n'.join(c.source for c in nb.cells)
