"""What does the QRS complex look like in each lead, of an own beat and of one that starts in a ventricle?"""

import torch

from .disease import WIDE, Draws, Patients
from .shapes import II, V1, V5, V6, I, curve, frontal_dipole, put, see, turn_limbs

SEPTAL, MAIN, BASAL, LATE, NOTCH, EXTRA = range(6)  # parts of one QRS complex
PARTS = 6
VENTRICULAR_CENTRE = torch.tensor([0.28, 0.50, 0.74, 0.80, 0.5, 0.5], dtype=torch.float64)  # shares of the QRS duration
VENTRICULAR_WIDTH = torch.tensor([0.11, 0.12, 0.10, 0.10, 0.1, 0.1], dtype=torch.float64)


def own_beat(who: Patients, own: Draws, now: Draws, field: torch.Tensor, size: torch.Tensor, duration: torch.Tensor):
    """Centres and widths in s (B, W), amplitudes (B, 8, W) of the parts of the complex."""
    vectors, centre, width, angle = _normal(who, own, size)
    vectors, centre, width = _blocks(who, own, vectors, centre, width)
    vectors, centre, width = _infarcts(who, own, vectors, centre, width)
    out = see(field, vectors)  # (B, 8, W)
    out = _turn(who, out, width, angle)
    out = _voltage(who, own, out, centre, width)
    notch = 0.05 * size[:, None] * (2 * torch.stack([now.next() for _ in range(8)], -1) - 1)  # (B, 8) fine splintering
    out[:, :, NOTCH] += notch
    point, spread = duration[:, None] * centre, duration[:, None] * width
    return point, spread, _near_j(who, now, out, point, spread, duration)


def _normal(who: Patients, u: Draws, size: torch.Tensor):
    """Septal, main and basal forces: vectors (B, W, 3), centres and widths as shares of the duration."""
    angle = u.between(-8, 82)
    for code, low, high in (
        ("LAD", -44, -36),
        ("LAFB", -72, -54),
        ("RAD", 98, 122),
        ("LPFB", 106, 132),
        ("RVH", 110, 145),
    ):
        spread = u.next()
        angle = torch.where(who.has(code), low + (high - low) * spread, angle)
    frontal = size * u.between(0.75, 1.3) * torch.where(who.has("LVH"), u.between(1.3, 1.7), 1.0)
    back = size * u.between(0.25, 0.65) * torch.where(who.has("LVH"), u.between(2.0, 2.8), 1.0)
    back = torch.where(who.has("RVH"), -size * u.between(0.55, 0.95), back)
    back = torch.where(who.has("STE_POST"), -size * u.between(0.25, 0.45), back)
    main = frontal_dipole(frontal, angle, back)
    septal = -0.14 * main * u.between(0.3, 1.0)[:, None]
    septal[:, 2] = -size * u.between(0.15, 0.40)
    small, left, down = size * u.between(0.22, 0.32), torch.full_like(size, -35.0), torch.full_like(size, 100.0)
    first = {  # of the septum, where the axis is drawn aside
        "LPFB": frontal_dipole(1.1 * small, left, -0.25 * size),  # r in I and aVL, q in III and aVF
        "LAFB": frontal_dipole(1.0 * small, down + 15, -0.25 * size),  # q in I and aVL, r below
        "RAD": frontal_dipole(0.6 * small, down, -0.25 * size),
        "LAD": frontal_dipole(0.5 * small, left + 10, -0.25 * size),
    }
    for code, dipole in first.items():
        septal = put(who.has(code), septal, dipole)
    basal = -u.between(0.05, 0.30)[:, None] * main
    basal[:, 2] = size * u.between(0.25, 0.65) * torch.where(who.has("LVH"), 1.6, 1.0)
    basal[:, 2] = torch.where(who.has("RVH"), 0.1 * size, basal[:, 2])
    basal[:, 0] = torch.where(who.has("RVH"), -0.45 * size, basal[:, 0])  # deep S in V5 and V6
    basal[:, 2] = torch.where(who.has("STE_POST"), 0.1 * size, basal[:, 2])
    basal = torch.where(who.has("EREP")[:, None], 0.0, basal)  # R falls straight into the notch
    none = torch.zeros_like(main)
    vectors = torch.stack([septal, main, basal, none, none, none], 1)  # (B, W, 3)
    ones = torch.ones(len(size), 1, dtype=size.dtype)
    centre = ones * torch.tensor([0.20, 0.46, 0.78, 0.80, 0.62, 0.5], dtype=size.dtype)
    width = ones * torch.tensor([0.080, 0.095, 0.085, 0.080, 0.070, 0.1], dtype=size.dtype)
    return vectors, centre, width, angle


def _blocks(who: Patients, u: Draws, vectors, centre, width):
    """Left, right and unspecific bundle branch block, pre-excitation, a paced beat."""
    main, septal = vectors[:, MAIN], vectors[:, SEPTAL]
    # left: no septal q, slow and notched, to the left and back throughout
    left = main * 0.8
    left[:, 2] = 0.35 + 0.6 * main[:, 2].abs()
    left[:, 0] = left[:, 0].clamp(min=0.50)
    left[:, 1] = torch.minimum(left[:, 1], 0.8 * left[:, 0])
    share = u.vector((0.35, 0.5), (0.7, 0.9), (0.85, 1.1), (0.25, 0.45), (0, 0), (0, 0))
    lbbb = who.has("CLBBB")
    vectors = put(lbbb, vectors, share[..., None] * left[:, None])
    centre = put(lbbb, centre, [0.24, 0.42, 0.64, 0.80, 0.62, 0.5])
    width = put(lbbb, width, [0.095, 0.095, 0.095, 0.085, 0.07, 0.1])
    # right: a normal start, then late forces to the right and front
    rbbb = who.has("CRBBB")
    late = torch.stack([-u.between(0.45, 0.70), u.between(-0.15, 0.15), -u.between(0.45, 0.80)], -1)
    right = torch.stack([septal, main, 0.6 * vectors[:, BASAL], late, 0 * late, 0 * late], 1)
    vectors = put(rbbb, vectors, right)
    centre = put(rbbb, centre, [0.12, 0.30, 0.46, 0.76, 0.40, 0.5])
    width = put(rbbb, width, [0.050, 0.070, 0.070, 0.095, 0.05, 0.1])
    # neither: the normal order, slowly, and splintered
    slow = who.has("IVCD")
    split = u.vector((-0.4, 0.4), (-0.4, 0.4), (0.0, 0.3)) * 0.8
    uneven = torch.stack([septal, 0.75 * main, vectors[:, BASAL], 0.35 * main + 0.15, split, 0 * split], 1)
    vectors = put(slow, vectors, uneven)
    centre = put(slow, centre, [0.12, 0.32, 0.82, 0.63, 0.50, 0.5])
    width = put(slow, width, [0.055, 0.080, 0.075, 0.085, 0.05, 0.1])
    # pre-excitation: a slow slur before the rest
    early = who.has("WPW")
    way = torch.stack([u.between(0.25, 0.45), u.between(-0.15, 0.45), u.between(-0.45, 0.10)], -1)
    way = 0.5 * way + 0.35 * main
    delta = torch.stack([0.8 * way, 1.0 * main, 0.7 * vectors[:, BASAL], 0 * way, 0 * way, 0.8 * way], 1)
    vectors = put(early, vectors, delta)
    centre = put(early, centre, [0.20, 0.64, 0.84, 0.80, 0.62, 0.38])
    width = put(early, width, [0.090, 0.075, 0.075, 0.080, 0.05, 0.10])
    # paced from the right ventricle's apex: like a left block, upwards, after a spike
    paced = who.has("PACE")
    up = torch.stack([u.between(0.40, 0.8), -u.between(0.7, 1.2), u.between(0.35, 0.8)], -1)
    share = u.vector((0.35, 0.5), (0.7, 0.9), (0.7, 0.9), (0.2, 0.4), (0, 0), (0, 0))
    spike = torch.stack([u.between(-0.5, 0.5), u.between(0.9, 1.6), u.between(-0.5, 0.5)], -1)
    beat = share[..., None] * up[:, None]
    beat[:, EXTRA] = spike
    vectors = put(paced, vectors, beat)
    centre = put(paced, centre, [0.24, 0.42, 0.64, 0.80, 0.62, -0.13])
    width = put(paced, width, [0.095, 0.095, 0.095, 0.085, 0.07, 0.026])
    return vectors, centre, width


def _infarcts(who: Patients, u: Draws, vectors, centre, width):
    """Old infarcts: the first forces turn away from the dead wall, for a third of the complex."""
    deep, plain = u.between(0.40, 0.70)[:, None], ~who.has("CRBBB")
    ways = {"Q_INF": [0.10, -0.75, -0.05], "Q_LAT": [-0.85, 0.05, -0.15], "Q_ANT": [0.05, 0.05, 0.75]}
    for code, way in ways.items():
        there = who.has(code)
        vectors[:, SEPTAL] = put(there, vectors[:, SEPTAL], deep * torch.tensor(way, dtype=vectors.dtype))
        centre[:, SEPTAL] = put(there & plain, centre[:, SEPTAL], 0.20)
        width[:, SEPTAL] = put(there & plain, width[:, SEPTAL], 0.110)
        centre[:, MAIN] = put(there & plain, centre[:, MAIN], 0.60)
        width[:, MAIN] = put(there & plain, width[:, MAIN], 0.085)
        width[:, SEPTAL] = put(there & ~plain, width[:, SEPTAL], 0.075)
        centre[:, MAIN] = put(there & ~plain, centre[:, MAIN], 0.36)
    vectors[:, MAIN, 1] = torch.where(who.has("Q_INF"), vectors[:, MAIN, 1].clamp(min=0.45), vectors[:, MAIN, 1])
    vectors[:, MAIN, 0] = torch.where(who.has("Q_LAT"), vectors[:, MAIN, 0].clamp(min=0.55), vectors[:, MAIN, 0])
    vectors[:, MAIN, 2] = torch.where(who.has("Q_ANT"), 0.35 + vectors[:, MAIN, 2].abs(), vectors[:, MAIN, 2])
    return vectors, centre, width


def _turn(who: Patients, mv, width, angle) -> torch.Tensor:
    """Turn the limb leads so that the net area of the complex has the drawn axis (degrees), where one was drawn."""
    area = (mv * width[:, None]).sum(2)  # (B, 8)
    x, y = area[:, I], (area[:, II] - area[:, I] / 2) * 2 / 3**0.5
    keep = who.has(*WIDE, "CRBBB", "Q_INF", "Q_LAT")
    by = torch.remainder(torch.deg2rad(angle) - torch.atan2(y, x) + torch.pi, 2 * torch.pi) - torch.pi
    by = torch.where(keep, 0.0, by.clamp(-0.7, 0.7))[:, None]  # (B, 1)
    return turn_limbs(mv, by)


def _voltage(who: Patients, u: Draws, mv, centre, width) -> torch.Tensor:
    """Scale limb and chest leads so that hypertrophy and low voltage are clear, and nothing else comes near them."""
    wave = curve(mv, centre, width, torch.linspace(0, 1, 32, dtype=mv.dtype))  # (B, 8, 32)
    sokolow = -wave[:, V1].amin(-1) + wave[:, [V5, V6]].amax(-1).amax(-1)
    high = u.between(3.9, 5.2)
    narrow = ~who.has(*WIDE)
    chest = torch.where(who.has("LVH"), (high / sokolow).clamp(max=1.8), (2.9 / sokolow).clamp(max=1.0))
    chest = torch.where(narrow, chest, 1.0)
    limb = torch.where(who.has("LVH"), chest.clamp(max=1.25), 1.0)
    i, ii = wave[:, I], wave[:, II]
    frontal = torch.stack([i, ii, ii - i, (i + ii) / 2, i - ii / 2, ii - i / 2], 1)  # (B, 6, 32)
    swing = (frontal.amax(-1) - frontal.amin(-1)).amax(1)
    limb = torch.where(who.has("LOWV"), u.between(0.28, 0.40) / swing, limb * (0.80 / swing).clamp(min=1.0))
    span = (wave[:, V1:].amax(-1) - wave[:, V1:].amin(-1)).amax(1)
    chest = torch.where(who.has("LOWV"), u.between(0.55, 0.80) / span, chest)
    tall = 0.9 / wave[:, V1].amax(-1).clamp(min=0.05)
    out = mv * torch.cat([limb[:, None].expand(-1, 2), chest[:, None].expand(-1, 6)], 1)[..., None]
    right = torch.ones_like(mv[:, :, 0])
    right[:, V1] = torch.where(who.has("RVH"), tall.clamp(1.0, 4.0), 1.0)
    return out * right[..., None]


def _near_j(who: Patients, u: Draws, mv, centre, width, duration):
    """What happens at the end of the complex: the notch of early repolarisation, the pseudo r' of Brugada type 1."""
    place = duration + torch.where(who.has("EREP"), 0.010, 0.004)
    notch = u.between(0.20, 0.30)
    early = torch.tensor([0.3, 1.0, 0.0, 0.1, 0.3, 0.8, 1.0, 0.9], dtype=mv.dtype)
    brugada = torch.tensor([0.0, 0.0, 0.9, 0.8, 0.15, 0.0, 0.0, 0.0], dtype=mv.dtype)
    for code, leads, spread in (("EREP", early, 0.009), ("BRUG", 1.3 * brugada, 0.030)):
        there = who.has(code)
        mv[:, :, EXTRA] = put(there, mv[:, :, EXTRA], notch[:, None] * leads)
        centre[:, EXTRA] = torch.where(there, place, centre[:, EXTRA])
        width[:, EXTRA] = torch.where(there, spread, width[:, EXTRA])
    return mv


def early_beat(who: Patients, u: Draws, field: torch.Tensor) -> torch.Tensor:
    """(B, 8, W) mV: a beat that starts in one ventricle and crosses to the other, slowly and with a bend in its way.

    Beside a left bundle branch block it starts on the left: from the right it would look like the block.
    """
    side = torch.where((u.next() < 0.5) | who.has("CLBBB"), -1.0, 1.0)
    main = torch.stack([side * u.between(0.7, 1.4), u.between(-0.6, 1.0), side * u.between(0.3, 1.1)], -1)
    bend = u.vector((-0.25, 0.25), (-0.25, 0.25), (-0.25, 0.25))
    parts = [0.55 * main + bend, 0.80 * main, 0.30 * main - bend]
    return see(field, torch.stack(parts + [0 * main] * (PARTS - len(parts)), 1))
