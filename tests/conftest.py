"What several tests share"
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

def files(root):
    "The files of the project: what git tracks or would track; in a source distribution, all but what tools leave behind"
    git = subprocess.run(['git', 'ls-files', '-coz', '--exclude-standard'], cwd=root, capture_output=True, text=True)
    found = [root/o for o in git.stdout.split('\0') if o] if git.returncode == 0 else []
    if not found: found = [p for p in root.rglob('*') if not left_behind & set(p.relative_to(root).parts)]
    return [p for p in found if p.is_file()]

left_behind = {'.git', '.venv', '__pycache__', '.ipynb_checkpoints', '.pytest_cache', '.ruff_cache',
               'runs', '_docs', 'build', 'dist', 'convvae.egg-info'}

@pytest.fixture
def clone(tmp_path):
    "A copy of the project in which a test may write"
    for p in files(ROOT):
        new = tmp_path/'clone'/p.relative_to(ROOT)
        new.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(p, new)
    return tmp_path/'clone'
