"Rows of a dataset: which are held out, by seed, and whose labels they have"
from types import SimpleNamespace

import torch

from convvae.sources.huggingface import labels_of, train_and_test_rows

class ClassLabel:
    "As the library has it: the function goes by the name of its class"
    names = ('cat', 'dog', 'eel')

class Table(list):
    "Rows of labels, 7 for the first of one part"
    def __init__(self, labels):
        super().__init__(labels)
        self.features = dict(picture=SimpleNamespace(), kind=ClassLabel())
    def __getitem__(self, key): return list(self) if key == 'kind' else super().__getitem__(key)

def test_another_seed_holds_out_other_rows():
    parts = dict(train=range(200))
    (a,n),(b,_),(c,_) = (train_and_test_rows(parts, 0.1, seed) for seed in (0, 0, 1))
    assert a == b != c and n == 180
    assert sorted(i for _,i in a) == list(range(200)) and {p for p,_ in a} == {'train'}
    held = [sorted(i for _,i in rows[n:]) for rows in (a, c)]
    assert held[0] != held[1] and held[0] != list(range(20))

def test_a_part_that_is_there_is_held_out():
    parts = dict(train=range(4), validation=range(3), test=range(2), other=range(9))
    rows,n = train_and_test_rows(parts, 0.5, 0)
    assert n == 4 and rows == [('train', i) for i in range(4)] + [('test', 0), ('test', 1)]
    del parts['test']
    rows,n = train_and_test_rows(parts, 0.5, 0)
    assert rows[n:] == [('validation', i) for i in range(3)]

def test_labels_are_those_of_their_rows():
    parts = dict(train=Table([0, 1, 2, 1]), test=Table([2, 0]))
    rows = [('train', 3), ('test', 0), ('train', 0), ('test', 1), ('train', 2)]
    labels,classes = labels_of(parts, rows)
    assert labels.tolist() == [1, 2, 0, 0, 2] and classes == ('cat', 'dog', 'eel')
    assert labels.dtype == torch.int64
