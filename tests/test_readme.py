"The README's Python runs as it stands, in an empty folder"
import os
import re
import subprocess
import sys

from conftest import ROOT

def test_readme(tmp_path):
    readme = ROOT/'README.md'
    assert readme.exists(), 'There is no README.md: run `make readme`'
    blocks = re.findall(r'^```python\n(.*?)^```', readme.read_text(encoding='utf-8'), re.M | re.S)
    assert blocks, 'README.md shows no Python'
    program = [sys.executable, '-c', '\n'.join(blocks)]
    subprocess.run(program, cwd=tmp_path, env={**os.environ, 'MPLBACKEND': 'Agg'}, check=True)
