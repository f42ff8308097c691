"Pixels that were bytes are the same bytes again"
import numpy as np
import pytest
import torch

from convvae.measures.detector import as_pixels

@pytest.mark.parametrize('kind', [np.float16, np.float32, np.float64])
def test_floats_are_rounded_to_the_nearest_shade(kind):
    shades = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    x = (shades/255).astype(kind)
    assert torch.equal(as_pixels(x), torch.from_numpy(shades)[None])
    assert as_pixels(np.full((1, 1, 1), 0.499/255, kind)).item() == 0
    assert as_pixels(np.full((1, 1, 1), 0.6/255, kind)).item() == 1

def test_bytes_stay_as_they_are():
    x = torch.randint(256, (3, 2, 4, 5), dtype=torch.uint8)
    assert torch.equal(as_pixels(x), x) and torch.equal(as_pixels(x.numpy()), x)
    assert as_pixels(x[:, 0]).shape == (3, 1, 4, 5)
