"Labels as numbers, against torch; a label moves what its own column of weights says"
import pytest
import torch
from torch.nn.functional import one_hot as oracle

from convvae.layers import group_norm, one_hot, stages
from convvae.model import ConvVAE

@pytest.mark.parametrize('y, shape', [(2, (3,)), ([0, 3, 1], (3,)), ([[0], [2]], (2, 4))])
def test_one_hot_is_that_of_torch(y, shape):
    wanted = oracle(torch.as_tensor(y).expand(shape), 4).float()
    assert torch.equal(one_hot(y, 4, shape, 'cpu'), wanted)

@pytest.mark.parametrize('label', range(3))
def test_decoder_adds_the_column_of_the_label(label):
    model = ConvVAE((1, 8, 8), 2, (4,), n_classes=3).eval()
    z = torch.randn(2)
    root = model.decoder.root
    h = root.weight[:, :2]@z + root.bias + root.weight[:, 2 + label]
    told = model.decoder.root(torch.cat([z, model.one_hot(label, ())]))
    assert torch.allclose(told, h, atol=1e-6)

def test_stem_is_of_the_first_stage_alone():
    assert stages((30, 45), (8, 8, 8), 4) == ([4, 2, 2], [(30, 45), (8, 12), (4, 6), (2, 3)])
    assert stages((30, 45), (8, 8), 3) == ([3, 2], [(30, 45), (10, 15), (5, 8)])

def test_groups_are_eight_where_channels_allow_it():
    assert [group_norm(c).num_groups for c in (32, 8, 12, 6, 5)] == [8, 8, 4, 2, 1]
