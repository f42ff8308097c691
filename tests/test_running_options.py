"What words of a command line stand for, by themselves"
import pytest
import torch

from convvae import loss
from convvae.model import ConvVAE
from convvae.running.options import (as_trained, goal_of, options_of, range_of, settings_in,
                                     size_of, whole_numbers)

def test_sizes_and_ranges():
    assert (size_of('28'), size_of('28,32'), size_of(None)) == (28, (28, 32), None)
    assert (range_of('0,4095'), range_of('-1.5,2'), range_of(None)) == ((0, 4095), (-1.5, 2), None)
    assert whole_numbers('32,64', 'channels') == (32, 64)

def test_images_as_a_model_has_seen_them():
    x = torch.full((300, 1, 2, 2), 100, dtype=torch.uint8)
    assert (as_trained(x, False) == 100/255).all()
    drawn = [as_trained(x, True, seed) for seed in (0, 1)]
    for d in drawn:
        assert set(d.unique().tolist()) == {0., 1.} and abs(d.mean() - 100/255) < 0.08
    assert not torch.equal(*drawn)

def goal(name='elbo', n=50, k=None, beta=1., warm_up=0., free_bits=0.):
    return goal_of(name, n, k, beta, warm_up, free_bits)

@pytest.mark.parametrize('name', ['elbo', 'tc'])
def test_weight_on_the_rate(name):
    weight = goal(name, beta=4., warm_up=0.5)['beta']
    assert [weight(t) for t in (0, 0.25, 0.5, 1)] == [0, 2, 4, 4]
    assert goal(name, beta=3.)['beta'](0) == 3 and goal(name, beta=0.)['beta'](1) == 0

def test_objectives():
    assert goal(free_bits=0.5)['objective'].keywords == dict(free_bits=0.5)
    assert goal()['objective'].func is loss.objective and goal(k=3)['k'] == 3
    tc = goal('tc')
    assert tc['objective'].func is loss.tc_objective and tc['objective'].keywords == dict(n=50)
    for name in ('iwae', 'dreg'):
        assert goal(name) == dict(objective=getattr(loss, f'{name}_objective'), beta=None, k=8)
        assert goal(name, k=5)['k'] == 5
        for how in (dict(beta=2.), dict(warm_up=0.1), dict(free_bits=1.)):
            with pytest.raises(ValueError, match='no rate to weigh'): goal(name, **how)
    for how in (dict(k=2), dict(free_bits=1.)):
        with pytest.raises(ValueError, match='leave'): goal('tc', **how)

def test_what_would_build_a_model(tmp_path):
    "Every part of it, at a value that is not the default"
    config = dict(latent_dim=3, channels=(4, 8), stem=2, block='residual', likelihood='gaussian',
                  prior='mog', norm='none')
    ConvVAE((1, 12, 16), n_classes=2, **config).save_pretrained(tmp_path)
    wanted = config | dict(channels='4,8', latent=None, image_size='12,16', conditional=True)
    assert options_of(tmp_path) == wanted and settings_in(tmp_path) == {}
