"""The tests that belong to a notebook: python tools/tests_of.py nbs/package/02_loss.ipynb

Files of tests/ are named by the rooms that they guard: test_running_record.py belongs to
running/record. A room without a file of its own has the tests of style and of imports; a door has
those of its wing too
"""
import re
import sys
from pathlib import Path

root = Path(__file__).resolve().parent.parent
always = ['test_imports', 'test_style']
others = { # door -> tests that have another name
    'data': ['test_batches', 'test_sources_*'],
    'model': ['test_zoo_*', 'test_layers', 'test_pinned'],
    'layers': ['test_model', 'test_pinned'],
    'zoo': ['test_model'],
    'saving': ['test_model', 'test_pinned'],
    'loss': ['test_model'],
    'objectives': ['test_model'],
    'train': ['test_running_*'],
    'running': ['test_train'],
    'explore': ['test_views_*'],
    'views': ['test_views_page'],
    'command': ['test_command_options', 'test_cli'],
    'commands': ['test_command_options', 'test_commands_words', 'test_cli'],
    'cli': ['test_command_options'],
    'options': ['test_command_options'],
    'index': ['test_readme', 'test_sync'],
}

def tests_of(path):
    "The files of tests for the notebook at `path`"
    parts = [re.sub(r'^\d\d_', '', part) for part in Path(path).with_suffix('').parts]
    room = [part for part in parts if part not in ('nbs', 'package', 'learn', 'jobs')]
    names = [f'test_{"_".join(room)}', *others.get(room[-1], []), *others.get(room[0], []), *always]
    found = [p for name in dict.fromkeys(names) for p in sorted((root/'tests').glob(f'{name}.py'))]
    return [str(p.relative_to(root)) for p in found]

if __name__ == '__main__': print(*tests_of(sys.argv[1]))
