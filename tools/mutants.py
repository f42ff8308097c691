"""Faults planted one at a time, to see whether a check turns red: python tools/mutants.py loss zoo

tools/mutants.txt holds them, module by module, and grows: whoever mends a fault that no check saw
adds it there. Each fault is put into a copy of the project outside of it, into the notebook's cell
and the module together, since a notebook defines its own functions anew. The narrowest check runs
first: what is named beside the fault, the notebook, the files of tests/ that belong to it. The
first red one ends the trial; it counts only where it is green without the fault.
build/mutants.jsonl keeps what came of each, so that a run which was stopped goes on; faults that
survived are tried again
"""
import argparse
import hashlib
import importlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

from tests_of import always, root, tests_of

results_file = root/'build'/'mutants.jsonl'  # a line for each trial: the last one of a fault counts

@dataclass
class Fault:
    "A line, or a few, that is wrong"
    module: str     # as in zoo.priors
    what: str       # is wrong then, in words
    old: str = ''   # what stands in the module, once
    new: str = ''   # what is put in its place
    checks: list = field(default_factory=list) # files of tests/ to try before others
    reason: str = ''  # why no check sees it, where none does

    @property
    def id(self)->str:
        "Changes when the fault does"
        return hashlib.sha256(f'{self.module}\n{self.old}\n{self.new}'.encode()).hexdigest()[:12]

    def __str__(self): return f'{self.module}: {self.what}'

def read_faults(text:str)->list:
    "The list: `[module]`, then of each fault a sentence, - old, + new, ? check, ! reason"
    faults,module,comment = [],None,'#'
    for line in text.splitlines():
        sign,rest = line[:2],line[2:]
        if not line.strip() or line.startswith(comment):
            continue
        if line.startswith('['):
            module = line.strip('[]')
        elif sign in ('- ', '+ ') or line in '-+':
            side = 'old' if line[0] == '-' else 'new'
            before = getattr(faults[-1], side)
            setattr(faults[-1], side, f'{before}\n{rest}' if before else rest)
        elif sign == '? ':
            faults[-1].checks += rest.split()
        elif sign == '! ':
            faults[-1].reason = f'{faults[-1].reason} {rest}'.strip()
        else:
            faults.append(Fault(module, line.strip()))
    return faults

def known_faults()->list:
    "Those of tools/mutants.txt"
    return read_faults((root/'tools'/'mutants.txt').read_text(encoding='utf-8'))

def module_file(module:str)->Path:
    "Where a module lies within the project"
    return Path('convvae', *module.split('.')).with_suffix('.py')

def notebook_of(module:str)->Path:
    "The notebook that a module is written from"
    text = (root/module_file(module)).read_text(encoding='utf-8')
    return Path('nbs')/re.search(r'File to edit: (?:\.\./)+nbs/(\S+\.ipynb)\.', text)[1]

def is_exported(cell:dict)->bool:
    "Does the cell become a part of the module?"
    first = ''.join(cell['source']).lstrip().partition('\n')[0]
    return cell['cell_type'] == 'code' and re.match(r'#\|\s*exports?i?\b', first) is not None

def replaced(text:str, fault:Fault, where:Path)->str:
    "The text with the fault in it, or a ValueError unless it stood there once"
    n = text.count(fault.old)
    if n != 1 or not fault.old or fault.old == fault.new:
        raise ValueError(f'{fault}: stands {n} times in {where}, and not once: {fault.old!r}')
    return text.replace(fault.old, fault.new)

def with_fault(fault:Fault)->dict: # path within the project -> text
    "Module and notebook with the fault in them"
    module,notebook = module_file(fault.module),notebook_of(fault.module)
    nb = json.loads((root/notebook).read_text(encoding='utf-8'))
    cells = [cell for cell in nb['cells'] if is_exported(cell)]
    there = [cell for cell in cells if fault.old in ''.join(cell['source'])]
    for cell in there[:1] if len(there) == 1 else cells[:1]:
        cell['source'] = replaced(''.join(cell['source']), fault, notebook)
    text = replaced((root/module).read_text(encoding='utf-8'), fault, module)
    return {module: text, notebook: json.dumps(nb)}

def in_turn(faults:list)->list:
    "One of each module, then the next of each: the first few are of all modules"
    seen = Counter()
    places = [(seen.update([f.module]), seen[f.module])[1] for f in faults]
    return [f for _,f in sorted(zip(places, faults, strict=True), key=lambda pair: pair[0])]

def checks_for(fault:Fault)->list: # the narrowest first
    "The notebook and files of tests/ that a fault is shown to"
    notebook = str(notebook_of(fault.module))
    belonging = [t for t in tests_of(notebook) if Path(t).stem not in always]
    return [*dict.fromkeys([*fault.checks, notebook, *belonging])]

def copy_project(folder:Path):
    "All that git would take along"
    listed = subprocess.run(['git', 'ls-files', '-co', '--exclude-standard'], cwd=root, check=True,
                            capture_output=True, text=True).stdout.splitlines()
    for name in listed:
        if (root/name).is_file():
            (folder/name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(root/name, folder/name)

def preload():
    "What takes long to import, once: each check runs in a fork of this process"
    os.environ['OMP_NUM_THREADS'] = '1'
    for name in ('torch', 'torchvision.transforms', 'sklearn.mixture', 'matplotlib.figure',
                 'accelerate', 'anywidget', 'huggingface_hub', 'nbdev.test', 'pytest'):
        importlib.import_module(name)
    assert not any(name.partition('.')[0] == 'convvae' for name in sys.modules)

def run_check(check:str, copy:Path):
    "In a process of its own, which ends with status 0 where the check is green"
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    os.chdir(copy)
    os.environ.update(PYTHONPATH=str(copy), XDG_CACHE_HOME=str(copy.parent/'cache'))
    sys.path.insert(0, str(copy))
    for name in [name for name in sys.modules if name.partition('.')[0] == 'convvae']:
        del sys.modules[name]  # whoever has forked us may have the one without a fault
    if check.endswith('.ipynb'):
        from nbdev.test import test_nb
        data = ['mnist'] if os.environ.get('CONVVAE_DATA') else []
        green,_ = test_nb(copy/check, skip_flags=['slow', 'mnist'], force_flags=data, basepath=copy)
    else:
        import pytest
        green = pytest.main(['-q', '-x', '-p', 'no:cacheprovider', check]) == 0
    os._exit(0 if green else 1)

def is_green(check:str, copy:Path, limit:float)->bool:
    "Does a check pass in a copy of the project? One that does not end does not"
    child = get_context('fork').Process(target=run_check, args=(check, copy))
    child.start()
    child.join(limit)
    green = child.exitcode == 0
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)  # with whatever it has started
    child.join()
    return green

class Trials:
    "What came of each fault, kept from run to run"
    def __init__(self, limit:float):
        self.limit = limit
        lines = results_file.read_text().splitlines() if results_file.exists() else []
        self.results = {trial['id']: trial for trial in map(json.loads, lines)}
        results_file.parent.mkdir(exist_ok=True)
        self.clean = {}  # check -> is it green without a fault?

    def green(self, check:str, texts:dict)->bool:
        "Is it green with these texts in a copy of the project?"
        with tempfile.TemporaryDirectory(prefix='mutant-', ignore_cleanup_errors=True) as folder:
            copy = Path(folder)/'convvae'
            copy_project(copy)
            for path,text in texts.items():
                (copy/path).write_text(text, encoding='utf-8')
            return is_green(check, copy, self.limit)

    def is_sound(self, check:str)->bool:
        "Is it green without any fault?"
        if check not in self.clean:
            self.clean[check] = self.green(check, {})
        return self.clean[check]

    def judge(self, fault:Fault)->str:
        "The check that sees a fault; nothing where none does"
        texts = with_fault(fault)
        for check in checks_for(fault):
            if not self.green(check, texts) and self.is_sound(check):
                return check
        return ''

    def try_one(self, fault:Fault)->dict:
        "Plant a fault, and keep what came of it"
        begun = time.perf_counter()
        seen = self.judge(fault)
        seconds = time.perf_counter() - begun
        trial = dict(id=fault.id, module=fault.module, what=fault.what, seen=seen)
        with results_file.open('a') as f:
            f.write(json.dumps(trial) + '\n')
        print(f'{seconds:4.0f} s  {seen or "SURVIVED":40} {fault}', flush=True)
        return trial

def table(faults:list, results:dict)->str:
    "Faults by module: planted, seen, survived; and who survived, with the reason"
    tried = [f for f in faults if f.id in results]
    modules = Counter(f.module for f in tried)
    caught = Counter(f.module for f in tried if results[f.id]['seen'])
    rows = [f'{"module":26}{"planted":>8}{"seen":>6}{"survived":>10}']
    rows += [f'{m:26}{n:8}{caught[m]:6}{n - caught[m]:10}' for m,n in sorted(modules.items())]
    n,k = len(tried),caught.total()
    rows.append(f'{"all":26}{n:8}{k:6}{n - k:10}   {k/max(n, 1):.1%} seen')
    for f in tried:
        if not results[f.id]['seen']:
            rows.append(f'survived: {f} ({f.reason or "no reason is known"})')
    return '\n'.join(rows)

def main():
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('only', nargs='*', help='words: faults whose module or sentence has one')
    parser.add_argument('--n', type=int, help='at most so many faults that were not tried yet')
    parser.add_argument('--jobs', type=int, default=1, help='at a time')
    parser.add_argument('--limit', type=float, default=300, help='seconds that a check may take')
    parser.add_argument('--fresh', action='store_true', help='forget what was found before')
    parser.add_argument('--table', action='store_true', help='only say what was found before')
    args = parser.parse_args()
    faults = [f for f in known_faults()
              if not args.only or any(word in str(f) for word in args.only)]
    trials = Trials(args.limit)
    done = {} if args.fresh else trials.results
    due = in_turn([f for f in faults if not done.get(f.id, {}).get('seen')])[:args.n]
    for fault in due:
        with_fault(fault)  # whatever does not apply is said before anything is tried
    if due and not args.table:
        preload()
        with ProcessPoolExecutor(args.jobs, get_context('fork')) as pool:
            trials.results |= {trial['id']: trial for trial in pool.map(trials.try_one, due)}
    print(table(faults, trials.results))

if __name__ == '__main__': main()
