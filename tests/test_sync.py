"Package, clean notebooks and README are what the notebooks make"
import subprocess
import sys
import sysconfig
from pathlib import Path

def contents(root):
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob('*') if p.is_file()}

def test_sync(clone):
    before = contents(clone)
    for module in (clone/'convvae').rglob('*.py'):
        module.unlink() # one whose notebook is gone must not stay unseen
    scripts = Path(sysconfig.get_path('scripts'))
    readme = [sys.executable, 'tools/readme.py']
    for command in ([scripts/'nbdev_export'], [scripts/'nbdev_clean'], readme):
        subprocess.run(command, cwd=clone, check=True)
    after = contents(clone)
    changed = sorted(p for p in before.keys() | after.keys() if before.get(p) != after.get(p))
    way_out = 'Run `make export readme`, look at the change and commit it'
    assert not changed, f'not in sync: {", ".join(changed)}. {way_out}'
