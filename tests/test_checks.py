"Where ranges end: their ends belong to them"
import numpy as np
import pytest

from convvae.checks import at_least_one, in_range

@pytest.mark.parametrize('value', [0, 1, 0.5, 0., 1., np.float32(1), np.int64(0)])
def test_ends_of_a_range_belong_to_it(value): in_range('x', value, 0, 1)

@pytest.mark.parametrize('value', [-1e-9, 1.001, float('nan'), float('inf'), True, '0.5', None])
def test_what_does_not(value):
    with pytest.raises(ValueError, match='x must be a number from 0 to 1, got'):
        in_range('x', value, 0, 1)

def test_whole_numbers():
    in_range('x', 3, 1, 3, whole=True)
    at_least_one('x', 1, np.int64(7))
    for value in (2.5, 2., True):
        with pytest.raises(ValueError, match='whole number'): in_range('x', value, 1, 3, whole=True)
    for value in (0, -1, 1.5, True, None):
        with pytest.raises(ValueError, match='at least 1'): at_least_one('x', 2, value)
