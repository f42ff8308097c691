"Sprites: every combination of factors is another image, and each factor does what it is called"
import torch

from convvae.sources.sprites import render_sprites, sprite_factors

sizes = [*sprite_factors.values()][:5]

def test_no_two_of_all_sprites_are_the_same():
    "Turned through half a turn, squares would come twice, 1,024 images apart"
    factors = torch.cartesian_prod(*(torch.arange(n) for n in sizes))
    seen = {im.numpy().tobytes() for im in render_sprites(factors, 32)}
    assert len(seen) == len(factors) == 36_864

def of(**kwargs):
    "Sprites with these factors, the others in the middle"
    middle = dict(shape=1, size=5, angle=0, x=8, y=8)
    n = max(len(v) for v in kwargs.values())
    columns = [torch.as_tensor(kwargs.get(f, [middle[f]]*n)) for f in middle]
    return render_sprites(torch.stack(columns, 1), 64)[:, 0].double()

def centre(x):
    "(n,2) rows and columns of the centres of mass"
    h,w = x.shape[1:]
    mass = x.sum((1, 2))
    return torch.stack([(x.sum(2)*torch.arange(h)).sum(1), (x.sum(1)*torch.arange(w)).sum(1)])/mass

def test_x_leads_to_the_right_and_y_down():
    rows,cols = centre(of(x=range(16)))
    assert (rows - rows[0]).abs().max() < 0.02 and (cols.diff() - 64/48).abs().max() < 0.05
    rows,cols = centre(of(y=range(16)))
    assert (cols - cols[0]).abs().max() < 0.02 and (rows.diff() - 64/48).abs().max() < 0.05

def test_size_is_of_equal_steps():
    "The square root of the area grows evenly, and all shapes have the same area"
    roots = of(size=range(6)).sum((1, 2)).sqrt()
    assert (roots.diff()/roots.diff().mean() - 1).abs().max() < 0.05
    assert (roots[0]/255**0.5/64/2.56**0.5 - 0.14).abs() < 0.003
    areas = of(shape=range(3)).sum((1, 2))
    assert (areas/areas[0] - 1).abs().max() < 0.03

def test_angle_turns_clockwise_by_eleven_degrees_and_a_quarter():
    "The long axis of an ellipse, from the second moments of its pixels"
    x = of(angle=range(8))
    rows = cols = torch.arange(64.).double() - 31.5 - 0.5*64/48
    mass = x.sum((1, 2))
    rr = (x.sum(2)*rows**2).sum(1)/mass
    cc = (x.sum(1)*cols**2).sum(1)/mass
    rc = (x*rows[:, None]*cols).sum((1, 2))/mass
    degrees = 0.5*torch.atan2(2*rc, cc - rr).rad2deg()  # rows grow downwards: clockwise
    assert (degrees - 11.25*torch.arange(8)).abs().max() < 1, degrees

def test_shapes_are_a_square_an_ellipse_and_a_heart():
    "Told apart by their outline: a square fills its box; a heart is wide at the top"
    square,ellipse,heart = of(shape=range(3))
    def box(x):
        r,c = (x > 127).any(1).nonzero()[:, 0],(x > 127).any(0).nonzero()[:, 0]
        return x[r[0]:r[-1] + 1, c[0]:c[-1] + 1]/255
    assert box(square).mean() > 0.97 and abs(box(ellipse).mean() - 3.1416/4) < 0.03
    h = box(heart)
    top,bottom = h[:len(h)//4].sum(),h[-(len(h)//4):].sum()
    assert top > 2*bottom and (h - h.flip(1)).abs().mean() < 0.05
    e = box(ellipse)
    assert abs(e.shape[1]/e.shape[0] - 1.2/0.68) < 0.12

def test_hues_lead_once_around_the_circle():
    "Against Python's own colours"
    from colorsys import hsv_to_rgb
    factors = torch.tensor([[0, 5, 0, 8, 8, hue] for hue in range(8)])
    middle = render_sprites(factors, 33)[:, :, 16, 16]
    wanted = torch.tensor([[round(255*v) for v in hsv_to_rgb(hue/8, 1, 1)] for hue in range(8)])
    assert (middle.int() - wanted).abs().max() <= 1

def test_edges_are_smooth():
    x = of(shape=range(3), angle=[3, 3, 3])
    for im in x: assert len(im.unique()) > 30
