"Models of the Hugging Face hub, in the only spelling that reaches for the network"
import hashlib
import os
import subprocess
import sys
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
import torch

from conftest import ROOT
from convvae.model import ConvVAE

class Hub(BaseHTTPRequestHandler):
    "What of the hub is asked for: files of one model, each with its hash"
    def __init__(self, folder, asked, *args):
        self.folder, self.asked = folder, asked
        super().__init__(*args)
    def log_message(self, *args): pass
    def answer(self, send):
        self.asked.append(self.path)
        file = self.folder/self.path.rpartition('/')[2]
        found = self.path.startswith('/someone/vae/resolve/main/') and file.is_file()
        content = file.read_bytes() if found else b'{}'
        self.send_response(200 if found else 404)
        self.send_header('X-Repo-Commit', 'a'*40)
        self.send_header('ETag', f'"{hashlib.sha256(content).hexdigest()}"')
        if not found:
            self.send_header('X-Error-Code', 'RepoNotFound')
        self.send_header('Content-Length', str(len(content)))
        self.end_headers()
        if send:
            self.wfile.write(content)
    def do_HEAD(self): self.answer(False)
    def do_GET(self): self.answer(True)

@pytest.fixture
def hub(tmp_path):
    "The address of a hub with the model someone/vae, and what it was asked for"
    torch.manual_seed(0)
    ConvVAE((1, 16, 16), 4, (8,), trained_on=dict(classes=['a'])).save_pretrained(tmp_path/'model')
    asked = []
    with ThreadingHTTPServer(('127.0.0.1', 0), partial(Hub, tmp_path/'model', asked)) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f'http://127.0.0.1:{server.server_port}', asked
        server.shutdown()

program = '''
import sys
from convvae.model import ConvVAE
try:
    print(ConvVAE.from_pretrained(sys.argv[1]).sample(1, seed=0).sum().item())
except ValueError as e:
    print(e)
'''

def loaded(name, address, home):
    "What a program of its own says of a model"
    env = {**os.environ, 'HF_ENDPOINT': address, 'HF_HOME': str(home), 'PYTHONPATH': str(ROOT),
           'no_proxy': '*'}
    for offline in ('HF_HUB_OFFLINE', 'http_proxy', 'https_proxy'):
        env.pop(offline, None)
    how = dict(env=env, cwd=home, capture_output=True, text=True, timeout=120)
    r = subprocess.run([sys.executable, '-c', program, name], **how)
    assert r.returncode == 0, r.stderr
    return r.stdout.strip()

def test_only_hf_reaches_for_the_network(hub, tmp_path):
    address, asked = hub
    want = ConvVAE.from_pretrained(tmp_path/'model').sample(1, seed=0).sum().item()
    assert 'no model in someone/vae' in loaded('someone/vae', address, tmp_path) and not asked
    assert float(loaded('hf://someone/vae', address, tmp_path)) == pytest.approx(want, abs=1e-4)
    assert any(path.endswith('/model.safetensors') for path in asked)
    said = loaded('hf://someone/else', address, tmp_path)
    assert said.startswith('hf://someone/else could not be fetched') and '\n' not in said
