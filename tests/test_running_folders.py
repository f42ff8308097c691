"Folders of runs: named by data and time, none twice; runs/latest leads to the last"
import pytest

from convvae.running.folders import find_run, folder_for, latest, new_run, point_latest

@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch): monkeypatch.chdir(tmp_path)

def test_a_new_run_bears_the_name_of_its_data(tmp_path):
    run = new_run('photos/cats')
    assert run.parent.name == 'runs' and run.name.startswith('cats-2')
    assert new_run('.').name.startswith(f'{tmp_path.name}-')

def test_no_two_runs_share_a_folder():
    seen = set()
    for _ in range(4):
        run = new_run('digits')
        assert run not in seen
        run.mkdir(parents=True)
        seen.add(run)

def test_a_run_that_is_resumed_is_the_last_or_the_named_one(tmp_path):
    for name in ('runs/a', 'runs/b'): (tmp_path/name).mkdir(parents=True)
    assert folder_for('digits', None, True).name.startswith('digits-')  # there is none yet
    for name in ('a', 'b', 'a'):
        point_latest(tmp_path/'runs'/name)
        assert latest.resolve() == tmp_path/'runs'/name
        assert folder_for('digits', None, True) == tmp_path/'runs'/name
    assert folder_for('digits', 'c', True).name == folder_for('digits', 'c', False).name == 'c'
    assert folder_for('digits', None, False) != latest.resolve()

def test_a_folder_without_a_model_is_no_run(tmp_path):
    with pytest.raises(ValueError, match='no run in'): find_run(tmp_path)
    (tmp_path/'config.json').touch()
    assert find_run(tmp_path) == tmp_path
