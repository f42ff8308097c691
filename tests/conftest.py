"What several tests share"
import shutil
import subprocess
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

ROOT = Path(__file__).resolve().parent.parent

def files(root):
    "What git tracks or would track; in a source distribution, all but what tools leave behind"
    listed = ['git', 'ls-files', '-coz', '--exclude-standard']
    git = subprocess.run(listed, cwd=root, capture_output=True, text=True)
    found = [root/o for o in git.stdout.split('\0') if o] if git.returncode == 0 else []
    if not found:
        found = [p for p in root.rglob('*') if not left_behind & {*p.relative_to(root).parts}]
    return [p for p in found if p.is_file()]

left_behind = {'.git', '.venv', '__pycache__', '.ipynb_checkpoints', '.pytest_cache', '.ruff_cache',
               'runs', '_docs', 'build', 'dist', 'convvae.egg-info'}

def copy_to(folder):
    "The project, in a folder that may be written to"
    for p in files(ROOT):
        new = folder/p.relative_to(ROOT)
        new.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(p, new)
    return folder

@pytest.fixture
def clone(tmp_path):
    "A copy of the project in which a test may write"
    return copy_to(tmp_path/'clone')

@pytest.fixture(scope='session')
def chromium():
    "The path of a Chromium, by the name that Debian, Ubuntu or Google gives it"
    names = 'chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'
    found = next(filter(None, map(shutil.which, names)), None)
    return found or pytest.skip(f'none of {", ".join(names)} is installed')

@pytest.fixture(scope='session')
def browser(chromium):
    "A browser to open pages in"
    from playwright.sync_api import sync_playwright
    how = dict(executable_path=chromium, args=['--no-sandbox'])
    with sync_playwright() as p, p.chromium.launch(**how) as browser: yield browser

class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args): pass

@contextmanager
def serve(folder):
    "The address at which `folder` is served, on a free port of this machine"
    with ThreadingHTTPServer(('127.0.0.1', 0), partial(Quiet, directory=str(folder))) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f'http://127.0.0.1:{server.server_port}/'
        server.shutdown()
