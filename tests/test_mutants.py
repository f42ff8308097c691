"The list of planted faults is true of the modules as they are; planting them takes hours"
import sys
from collections import Counter

import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT/'tools'))
import mutants  # noqa: E402

faults = mutants.known_faults()

def test_every_fault_applies_and_compiles():
    "Its old text stands once in the module and once in a cell; its new text is Python"
    assert len(faults) >= 150
    for fault in faults:
        texts = mutants.with_fault(fault)
        compile(texts[mutants.module_file(fault.module)], str(fault), 'exec')

def test_no_fault_is_there_twice():
    twice = [fault for fault,n in Counter(map(str, faults)).items() if n > 1]
    assert not twice and len({fault.id for fault in faults}) == len(faults)

def test_every_check_is_there():
    for fault in faults:
        for check in mutants.checks_for(fault): assert (ROOT/check).is_file(), check

modules_without_faults = {'explore'}

def test_every_module_has_a_fault():
    "But for those that only pass on what others do"
    planted = {fault.module for fault in faults}
    for path in (ROOT/'convvae').rglob('*.py'):
        module = '.'.join(path.relative_to(ROOT/'convvae').with_suffix('').parts)
        if not module.rpartition('.')[2].startswith('_'):
            assert module in planted | modules_without_faults, module

def test_a_fault_is_put_into_cell_and_module_together():
    fault = mutants.Fault('loss', 'the sign', 'return -out.p.log_prob(x)', 'return 7')
    texts = mutants.with_fault(fault)
    assert {str(p) for p in texts} == {'convvae/loss.py', 'nbs/package/02_loss.ipynb'}
    for path,text in texts.items():
        assert 'return 7' in text and (ROOT/path).read_text(encoding='utf-8') != text
        assert text.count('return -out.p.log_prob(x)') == 0 or path.suffix == '.ipynb'

@pytest.mark.parametrize('old', ['', 'no such line', 'return'])
def test_a_fault_that_does_not_apply_is_an_error(old):
    with pytest.raises(ValueError, match='loss: the sign: stands'):
        mutants.with_fault(mutants.Fault('loss', 'the sign', old, 'x'))

def test_the_list_is_read_as_it_is_written():
    lines = ('# a comment', '', '[a.b]', 'It is wrong', '- x = 1', '- ', '-     y', '+ z',
             '? tests/t.py', '! because', '! of it')
    fault, = mutants.read_faults('\n'.join(lines))
    assert (fault.module, fault.what) == ('a.b', 'It is wrong')
    assert (fault.old, fault.new) == ('x = 1\n\n    y', 'z')
    assert (fault.checks, fault.reason) == (['tests/t.py'], 'because of it')

def test_a_fault_that_a_check_sees(tmp_path, monkeypatch):
    "A file of tests that sees it is red, one that does not is green, and so is one without a fault"
    (tmp_path/'tests').mkdir()
    for name,line in dict(sees='assert loss.bits_per_dim(8, (1, 2, 2)) < 3', blind='pass').items():
        (tmp_path/'tests'/f'test_{name}.py').write_text(
            f'from convvae import loss\ndef test(): {line}\n')
    fault = next(f for f in faults if f.what == 'Bits per dimension in nats')
    fault = mutants.Fault('loss', '', fault.old, 'return 4*nats/math.prod(image_size)')
    monkeypatch.setattr(mutants, 'checks_for',
                        lambda _: ['tests/test_blind.py', 'tests/test_sees.py'])
    before = mutants.copy_project
    def copied(folder):
        before(folder)
        for path in (tmp_path/'tests').iterdir():
            (folder/'tests'/path.name).write_text(path.read_text())
    monkeypatch.setattr(mutants, 'copy_project', copied)
    trials = mutants.Trials(300)
    assert trials.judge(fault) == 'tests/test_sees.py'
    assert trials.clean == {'tests/test_sees.py': True}
