"""The book as sheets for a class: python tools/lab_sheet.py [FOLDER]

FOLDER/student has the chapters of nbs/learn with the stubs to fill in and without solutions,
FOLDER/teacher the same with solutions in the place of the stubs. Both are written from the
notebooks as they are; the outputs are left out
"""
import re
import sys
from pathlib import Path

import nbformat

root = Path(__file__).resolve().parent.parent
directive = re.compile(r'#\s*\|\s*(\w[\w-]*).*')
folded = re.compile(r'<details>\s*<summary>[^<]*[Ss]olution.*?</details>\n*', re.S)

def kinds(source):
    "The directives of a cell: stub, solution, hide, check, ..."
    return {m[1] for line in source.splitlines() if (m := directive.match(line))}

def plain(source):
    "Code without the directives that made it a stub or a solution"
    lines = [line for line in source.splitlines() if not directive.match(line)]
    return '\n'.join(lines)

def for_student(cell):
    "The cell on a student's sheet, or None"
    if cell.cell_type == 'markdown':
        cell.source = folded.sub('', cell.source).strip()
        return cell if cell.source else None
    given = kinds(cell.source)
    if 'solution' in given:
        return None
    if 'stub' in given:
        cell.source = plain(cell.source)
    return cell

def for_teacher(cell):
    "The cell on a teacher's sheet, or None"
    if cell.cell_type == 'markdown':
        return cell
    given = kinds(cell.source)
    if 'stub' in given:
        return None
    if 'solution' in given:
        cell.source = '# A solution\n' + plain(cell.source)
        cell.metadata.pop('jupyter', None)  # which folds it in a chapter
    return cell

def sheet(path, choose):
    "A notebook with the cells that `choose` gives, without outputs"
    nb = nbformat.read(path, as_version=4)
    nb.cells = [chosen for cell in nb.cells if (chosen := choose(cell))]
    for cell in nb.cells:
        if cell.cell_type == 'code':
            cell.outputs, cell.execution_count = [], None
    return nb

def write(folder):
    "Both sheets of every chapter"
    for name, choose in (('student', for_student), ('teacher', for_teacher)):
        (folder/name).mkdir(parents=True, exist_ok=True)
        for path in sorted((root/'nbs'/'learn').glob('*.ipynb')):
            nbformat.write(sheet(path, choose), folder/name/path.name)
    return folder

if __name__ == '__main__':
    print(write(Path(sys.argv[1] if len(sys.argv) > 1 else root/'build'/'lab')))
