"Batches: what is drawn depends on seed, epoch and step, and on nothing else"
import numpy as np
import pytest
import torch

from convvae.data import Batches
from convvae.sources.maps import mapped
from pictures import noise

def pictures(n, h, w):
    "uint8 (n,3,h,w)"
    return torch.from_numpy(np.stack([noise(h, w, seed=i) for i in range(n)])).permute(0, 3, 1, 2)

def test_every_step_and_epoch_draws_anew():
    x = torch.full((40, 1, 8, 8), 128, dtype=torch.uint8)
    b = Batches(x, 20, binarize=True)
    seen = [a for _ in range(2) for a in b] + list(Batches(x, 20, binarize=True, seed=1))
    assert not any(torch.equal(a, c) for i,a in enumerate(seen) for c in seen[:i])
    b = Batches(torch.arange(40, dtype=torch.uint8).view(40, 1, 1, 1), 40)
    seen = [a.flatten().tolist() for _ in range(3) for a in b]
    assert len({tuple(a) for a in seen}) == 3 and sorted(seen[0]) == sorted(seen[2])

ways_to_move = [(dict(flip=True, crop=2), range(50)), (dict(crop=2), range(25)),
                (dict(flip=True), (12, 37))]

@pytest.mark.parametrize('kwargs, ways', ways_to_move)
def test_mirrored_and_shifted(kwargs, ways):
    x = pictures(50, 9, 7)
    wide = torch.nn.functional.pad(x.float(), (2,)*4, mode='replicate')
    possible = torch.stack([wide[..., i:i+9, j:j+7] for i in range(5) for j in range(5)])
    possible = torch.cat([possible, possible.flip(-1)])/255
    moved = next(iter(Batches(x, 50, False, **kwargs)))
    match = (possible == moved).flatten(2).all(2) # (50,50): way, image
    assert match[list(ways)].any(0).all()
    assert match[list(ways)].any(1).float().mean() > 0.5

@pytest.mark.parametrize('n,batch_size,count', [(10, 4, 3), (7, 7, 2), (5, 2, 4), (1, 8, 2)])
def test_shards_see_together_what_one_sees(n, batch_size, count):
    x = pictures(n, 12, 10)
    every = dict(batch_size=batch_size, seed=3, binarize=True, flip=True, crop=2,
                 labels=torch.arange(n))
    alone = Batches(x, **every)
    shards = [Batches(x, shard=(i, count), **every) for i in range(count)]
    for _ in range(2):
        for (a,y),*parts in zip(alone, *shards, strict=True):
            assert torch.equal(a, torch.cat([p[0] for p in parts]))
            assert torch.equal(y, torch.cat([p[1] for p in parts]))
            sizes = [len(p[0]) for p in parts]
            assert max(sizes) - min(sizes) <= 1

def test_any_step_can_be_the_first():
    x = pictures(23, 12, 10)
    def make(): return Batches(x, 4, binarize=True, flip=True, crop=1)
    b = make()
    whole = [list(b) for _ in range(3)]
    for epoch in range(3):
        for step in range(len(b)):
            late = make()
            late.epoch, late.step = epoch, step
            for a,c in zip(whole[epoch][step:], late, strict=True):
                assert torch.equal(a, c)
            assert (late.epoch, late.step) == (epoch + 1, 0)

def test_a_mapped_file_gives_the_same_batches(tmp_path):
    "From a slice of it too, as a training and a test set are"
    x = pictures(40, 16, 16).contiguous()
    (tmp_path/'x').write_bytes(x.numpy().tobytes())
    kept = mapped(tmp_path/'x', 3, 16, 16)
    for part in (slice(0, 30), slice(30, 40)):
        from_file, from_memory = (Batches(source[part], 7, binarize=True, flip=True, crop=2)
                                  for source in (kept, x))
        assert from_file.map is not None and from_memory.map is None
        for a,b in zip(from_file, from_memory, strict=True):
            assert torch.equal(a, b)

@pytest.mark.skipif(not torch.cuda.is_available(), reason='no GPU')
@pytest.mark.parametrize('fits', [True, False])
def test_on_a_gpu(fits, tmp_path, monkeypatch):
    x = torch.randint(0, 256, (300, 3, 16, 16), dtype=torch.uint8)
    (tmp_path/'x').write_bytes(x.numpy().tobytes())
    if not fits:
        monkeypatch.setattr(Batches, 'most_on_device', 1000)
    for source in (x, mapped(tmp_path/'x', 3, 16, 16)):
        there = Batches(source, 64, device='cuda', labels=torch.arange(300))
        assert there.images.is_cuda == fits
        here = Batches(x, 64, labels=torch.arange(300))
        for (a,y),(c,y2) in zip(there, here, strict=True):
            assert a.is_cuda and torch.equal(a.cpu(), c) and torch.equal(y.cpu(), y2)
    once, again = (Batches(x, 64, device='cuda', binarize=True, flip=True, crop=2)
                   for _ in range(2))
    for a,c in zip(once, again, strict=True):
        assert torch.equal(a, c)
