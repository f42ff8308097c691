"What keeps the rooms small: lines, functions, modules, one statement a line. Ruff holds the rest"
import ast
import re

import pytest
from conftest import ROOT

package = sorted((ROOT/'convvae').rglob('[!_]*.py'))
doors = ('data', 'layers', 'model', 'loss', 'train', 'sample', 'evaluate')  # what a student reads
compound = (ast.For, ast.While, ast.With, ast.If, ast.Try, ast.ExceptHandler)

def bodies(node):
    "The blocks of a compound statement"
    return [b for name in ('body', 'orelse', 'finalbody') if (b := getattr(node, name, None))]

def packed(source):
    "Line numbers of statements that share a line with the head of their block; `if bad: raise` may"
    found = []
    lines = source.splitlines()
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, compound): continue
        for body in bodies(node):
            first, line = body[0], lines[body[0].lineno - 1]
            if isinstance(node, ast.If) and isinstance(first, ast.Raise): continue
            if line[:first.col_offset].strip() not in ('', 'el'): found.append(first.lineno)
    return sorted(found)

def length(function):
    "Lines of a function, without its signature and its docstring"
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0

def test_packed():
    "What this test finds, and what it lets pass"
    for fine in ('if a: raise b', 'if a:\n  b', 'for a in b:\n  c', 'def f(): return 1',
                 'if a:\n  b\nelif c:\n  d\nelse:\n  e', 'a = [b for b in c]',
                 'if a:\n  b\nelse:\n  if c:\n    d'):
        assert not packed(fine), fine
    for bad in ('if a: b', 'for a in b: c', 'with a: b', 'try: a\nexcept b:\n  c', 'while a: b',
                'try:\n  a\nexcept b: c', 'if a:\n  b\nelse: c', 'try:\n  a\nfinally: b'):
        assert packed(bad), bad

@pytest.mark.parametrize('path', package, ids=lambda p: str(p.relative_to(ROOT/'convvae')))
def test_module(path):
    source = path.read_text(encoding='utf-8')
    lines = source.splitlines()
    assert len(lines) <= 250
    listed = re.search(r'^__all__ = \[.*?\]', source, re.S | re.M)  # nbdev writes it 120 wide
    assert not [o for o in source.replace(listed[0], '').splitlines() if len(o) > 100]
    assert not [(n, lines[n - 1]) for n in packed(source)], 'one statement a line'
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef): assert length(node) <= 40, node.name

def test_doors():
    "What a student reads, together"
    assert sum(len((ROOT/'convvae'/f'{m}.py').read_text().splitlines()) for m in doors) < 1300
