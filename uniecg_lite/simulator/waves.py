"""What does each wave look like in each lead? P, QRS, ST, T and U as Gaussians in time of a turning heart vector.

Dipoles say what the whole heart does, a lead field how the eight independent leads see them. What a finding changes is
told where its wave is drawn; amplitudes lead by lead (`st_mv`, `t_mv`) are in the findings table.
"""

import torch

from ..findings import INJURY, OLD, WIDE, column
from ..leads import derive_limb_leads
from .disease import HEARTS, Draws, Patients, put

# Frank's vector (X left, Y down, Z back) -> I, II, V1..V6: Dower et al., Clin Cardiol 3:87 (1980).
DOWER = torch.tensor(HEARTS["lead_field"]["matrix"], dtype=torch.float64)  # (8, 3)
I, II, V1, V2, V3, V4, V5, V6 = range(8)  # noqa: E741


def lead_field(jitter: torch.Tensor) -> torch.Tensor:
    """(B, 8, 3) standard normal -> (B, 8, 3) lead field: no two chests are alike."""
    return DOWER * (1 + 0.10 * jitter) + 0.03 * jitter.roll(1, dims=-1)


def see(field: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
    """Dipoles in the leads: (B, 8, 3) and (B, 3) -> (B, 8), or (B, W, 3) -> (B, 8, W)."""
    if vectors.dim() == 2:
        return (field * vectors[:, None]).sum(-1)
    return torch.bmm(field, vectors.mT)


def frontal_dipole(amplitude: torch.Tensor, angle: torch.Tensor, back: torch.Tensor) -> torch.Tensor:
    """The dipole whose I and aVF show this frontal amplitude (mV) and axis (degrees): (B,) -> (B, 3)."""
    lead_i, avf = DOWER[0], DOWER[1] - DOWER[0] / 2
    radians = torch.deg2rad(angle)
    target = torch.stack([amplitude * torch.cos(radians), amplitude * torch.sin(radians) * 3**0.5 / 2], -1)
    target = target - torch.stack([lead_i[2] * back, avf[2] * back], -1)  # (B, 2)
    inverse = torch.linalg.inv(torch.stack([lead_i[:2], avf[:2]]))  # (2, 2)
    return torch.cat([(target[:, None, :] * inverse).sum(-1), back[:, None]], -1)  # (B, 3)


def curve(amplitude: torch.Tensor, centre: torch.Tensor, width: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """Sum of Gaussians in each lead: (B, 8, W) mV, (B, W), (B, W), t (n,) or (B, n) -> (B, 8, n)."""
    z = (t.expand(len(centre), -1)[:, None] - centre[..., None]) / width[..., None]  # (B, W, n)
    return torch.bmm(amplitude, torch.exp(-0.5 * z * z))


def frontal(limbs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Leads I and II (B, 2, ...) -> the frontal vector, to the left and down: (B, ...) each."""
    return limbs[:, I], (limbs[:, II] - limbs[:, I] / 2) * 2 / 3**0.5


def limb_leads(left: torch.Tensor, down: torch.Tensor) -> torch.Tensor:
    """What I and II see of a frontal vector, the way back from `frontal`: (B, ...) each -> (B, 2, ...)."""
    return torch.stack([left, down * 3**0.5 / 2 + left / 2], 1)


def six_limb_leads(limbs: torch.Tensor) -> torch.Tensor:
    """I and II (B, 2, ...) -> the six limb leads (B, 6, ...)."""
    one, two = limbs.unbind(1)
    return torch.stack([one, two, *derive_limb_leads(one, two)], 1)


def swing(wave: torch.Tensor) -> torch.Tensor:
    """(B, leads, n) -> (B,) the largest difference of top and bottom in a lead."""
    return (wave.amax(-1) - wave.amin(-1)).amax(1)


def turn_limbs(mv: torch.Tensor, by: torch.Tensor) -> torch.Tensor:
    """Turn the frontal part of the waves, leads I and II of (B, 8, W) mV, by angles (B, 1) in radians."""
    left, down = frontal(mv)  # (B, W)
    turned = limb_leads(by.cos() * left - by.sin() * down, by.sin() * left + by.cos() * down)
    return torch.cat([turned, mv[:, V1:]], 1)


# --- What do the atria look like in each lead? P waves, those of early beats, flutter and fibrillation.


def p_wave(who: Patients, own: Draws, now: Draws, field, duration, pr):
    """P wave: right atrium first and to the front, left atrium after it and to the back, then the PR segment."""
    p = own.vector((0.03, 0.08), (0.08, 0.15), (-0.02, 0.02))
    right = 0.58 * p
    right[:, 2] = -0.5 * own.between(0.05, 0.10)
    tall = now.between(0.32, 0.40)
    right[:, 1] = torch.where(who.has("RAE"), tall, right[:, 1])
    left = 0.52 * p
    left[:, 2] = torch.where(who.has("LAE"), now.between(0.17, 0.25), 0.03)
    left = left * torch.where(who.has("LAE", "PERI"), 1.25, 1.0)[:, None]
    left[:, 1] = torch.where(who.has("LAE"), left[:, 1].clamp(min=0.10), left[:, 1])
    low = torch.where(who.has("HYPERK"), 0.30, torch.where(who.has("LOWV"), 0.8, 1.0))[:, None]
    dip = -0.055 * torch.tensor([0.7, 1.0, -0.3, 0.5, 0.8, 0.9, 0.9, 0.8], dtype=p.dtype)
    segment = who.has("PERI")[:, None] * dip
    mv = torch.stack([see(field, low * right), see(field, low * left), segment], -1)  # (B, 8, 3)
    first, second = torch.where(who.has("LAE"), 0.29, 0.36), torch.where(who.has("LAE"), 0.73, 0.64)
    centre = torch.stack([first * duration, second * duration, (duration + pr) / 2], -1)
    width = torch.stack([0.155 * duration, 0.155 * duration, ((pr - duration) / 3.2).clamp(min=0.010)], -1)
    return {"p_mv": mv, "p_centre": centre, "p_width": width}


def early_p(who: Patients, u: Draws, field: torch.Tensor) -> torch.Tensor:
    """(B, 8) mV: P of an early atrial beat, of another shape; in a junctional rhythm, from below upwards."""
    other = u.vector((-0.07, 0.03), (-0.10, 0.08), (-0.06, 0.12)) + torch.tensor([0.0, -0.03, 0.0], dtype=field.dtype)
    upward = torch.stack([u.between(0.0, 0.03), -u.between(0.08, 0.14), 0 * u.next()], -1)
    return see(field, torch.where(who.has("JUNC")[:, None], upward, other))


def flutter(who: Patients, u: Draws, field: torch.Tensor) -> torch.Tensor:
    """(B, 8) mV: saw teeth that point down in II, III and aVF and up in V1; or the fine unrest of fibrillation."""
    saw = torch.stack([u.between(0.0, 0.03), -u.between(0.17, 0.22), -u.between(0.08, 0.13)], -1)
    size = (torch.where(who.has("LOWV"), 0.6, 1.0) * (0.02 + 0.04 * u.next() ** 2))[:, None]
    fine = torch.stack([u.next() - 0.3, 0.4 + 0.6 * u.next(), -0.4 - 0.8 * u.next()], -1) * size
    return see(field, torch.where(who.has("AFLT")[:, None], saw, fine))


# --- How do the ventricles recover? ST, T and U in each lead, in health and in what shows itself there.


def st_and_t(who: Patients, own: Draws, now: Draws, field, size, qt, qrs_mv) -> dict[str, torch.Tensor]:
    """ST plateau and T (B, 8) in mV, and the width of T in s (B,)."""
    st = see(field, own.vector((-0.01, 0.02), (-0.01, 0.02), (-0.02, 0.01)))
    st = st + 0.02 * (2 * torch.stack([now.next() for _ in range(8)], -1) - 1)
    t = see(field, own.vector((0.20, 0.36), (0.13, 0.28), (-0.24, -0.08)) * size[:, None])
    mean = qrs_mv.clone()
    mean[:, :, EXTRA] = mean[:, :, EXTRA] * (~who.has("PACE", "EREP", "BRUG"))[:, None]
    mean = mean.sum(2)  # (B, 8)
    against = who.has("CLBBB", "PACE", "WPW")
    t = put(against, t, -own.between(0.10, 0.15)[:, None] * mean)
    st = put(against, st, -own.between(0.015, 0.035)[:, None] * mean)
    away = own.between(0.2, 0.4)[:, None] * torch.tensor([0, 0, -0.6, -0.3, 0, 0, 0, 0.0], dtype=t.dtype)
    t = t + away * who.has("CRBBB")[:, None]
    # strain and inversion: T turns over in the leads that look at the wall
    depth = now.between(0.20, 0.38)[:, None]
    strain = who.has("LVH") & now.chance(0.4) & ~who.has(*INJURY)  # together they would leave no T
    lateral = torch.tensor([-0.9, -0.5, 0.5, 0.8, 0.5, -0.4, -1.0, -0.9], dtype=t.dtype)
    front = torch.tensor([0.2, 0.6, -0.7, -1.0, -1.1, -1.0, -0.7, -0.4], dtype=t.dtype)
    below = torch.tensor([0.4, -0.8, 0.4, 0.9, 1.0, 0.8, 0.4, 0.2], dtype=t.dtype)
    which = now.next()[:, None]
    turned = torch.where(which < 0.4, lateral, torch.where(which < 0.75, front, below))
    t = put(who.has("TINV"), t, depth * turned)
    t = put(strain, t, depth * lateral)
    st = st + strain[:, None] * 0.2 * depth * lateral
    t = put(who.has("RVH") & now.chance(0.5), t, depth * torch.tensor([0.6, 0.6, -0.9, -0.9, -0.6, 0.1, 0.5, 0.6]))
    t_share = own.between(0.105, 0.145)
    st, t, t_share = _injuries(who, now, st, t, t_share)
    return {"st_mv": st, "t_mv": t, "t_width": t_share * qt}


def _injuries(who: Patients, u: Draws, st, t, t_share):
    """What a diseased wall or the blood's salts do to ST and T."""
    much, small = u.between(1.0, 1.9)[:, None], u.between(1.0, 1.25)[:, None]
    for code, level in column("st_mv").items():  # at a mild injury; other leads follow, and with them the mirror image
        level = torch.tensor(level, dtype=st.dtype)
        st = st + who.has(code)[:, None] * (much if code in INJURY else small) * level
        if code in INJURY and code != "STE_POST":
            t = t + who.has(code)[:, None] * 0.6 * much * level
    t = put(who.has("STE_POST"), t, t.clamp(min=0.10) + 0.25)
    t = put(who.has("PERI"), t, t.clamp(min=0.12))
    t = put(who.has("EREP"), t, 1.25 * t.clamp(min=0.10))
    t = put(who.has("STD"), t, t.clamp(min=0.03) * 0.6)
    tall = u.between(1.0, 1.45)[:, None]
    for code, leads in column("t_mv").items():
        t = put(who.has(code), t, tall * torch.tensor(leads))
    t = put(who.has("BRUG"), t, torch.cat([t[:, :2], -0.25 * tall, -0.22 * tall, t[:, 4:]], 1))
    t = put(who.has("LOWV"), t, 0.55 * t)
    t_share = torch.where(who.has("HYPT"), 0.138, torch.where(who.has("HYPERK"), 0.084, t_share))
    return st, t, torch.where(who.has("LQT"), 0.115, t_share)


def u_wave(who: Patients, u: Draws, t: torch.Tensor) -> torch.Tensor:
    """(B, 8) mV: small as a rule, larger than T when potassium is low."""
    small = u.between(0.0, 0.06)[:, None] * t.clamp(min=0)
    low = u.between(0.24, 0.32)[:, None] * torch.tensor([0.25, 0.6, 0.4, 1.0, 1.1, 0.9, 0.7, 0.5], dtype=t.dtype)
    return torch.where(who.has("HYPOK")[:, None], low, small)


# --- What does the QRS complex look like in each lead, of an own beat and of one that starts in a ventricle?

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
    point, spread = duration[:, None] * centre, duration[:, None] * width  # s
    return {"centre": point, "width": spread, "qrs_mv": _near_j(who, now, out, point, spread, duration)}


def _normal(who: Patients, u: Draws, size: torch.Tensor):
    """Septal, main and basal forces: vectors (B, W, 3), centres and widths as shares of the duration."""
    angle = u.between(-8, 82)
    ranges = {"LAD": (-44, -36), "LAFB": (-72, -54), "RAD": (98, 122), "LPFB": (106, 132), "RVH": (110, 145)}
    for code, (low, high) in ranges.items():
        angle = torch.where(who.has(code), u.between(low, high), angle)
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
    septal, main, basal = vectors[:, :3].unbind(1)
    none = torch.zeros_like(main)

    def put_all(code: str, forces: torch.Tensor, at: list[float], spread: list[float]) -> None:
        nonlocal vectors, centre, width
        there = who.has(code)
        vectors, centre, width = put(there, vectors, forces), put(there, centre, at), put(there, width, spread)

    # left: no septal q, slow and notched, to the left and back throughout
    left = main * 0.8
    left[:, 2] = 0.35 + 0.6 * main[:, 2].abs()
    left[:, 0] = left[:, 0].clamp(min=0.50)
    left[:, 1] = torch.minimum(left[:, 1], 0.8 * left[:, 0])
    share = u.vector((0.35, 0.5), (0.7, 0.9), (0.85, 1.1), (0.25, 0.45), (0, 0), (0, 0))
    forces = share[..., None] * left[:, None]
    put_all("CLBBB", forces, [0.24, 0.42, 0.64, 0.80, 0.62, 0.5], [0.095, 0.095, 0.095, 0.085, 0.07, 0.1])
    # right: a normal start, then late forces to the right and front
    late = torch.stack([-u.between(0.45, 0.70), u.between(-0.15, 0.15), -u.between(0.45, 0.80)], -1)
    forces = torch.stack([septal, main, 0.6 * basal, late, none, none], 1)
    put_all("CRBBB", forces, [0.12, 0.30, 0.46, 0.76, 0.40, 0.5], [0.050, 0.070, 0.070, 0.095, 0.05, 0.1])
    # neither: the normal order, slowly, and splintered
    split = u.vector((-0.4, 0.4), (-0.4, 0.4), (0.0, 0.3)) * 0.8
    forces = torch.stack([septal, 0.75 * main, basal, 0.35 * main + 0.15, split, none], 1)
    put_all("IVCD", forces, [0.12, 0.32, 0.82, 0.63, 0.50, 0.5], [0.055, 0.080, 0.075, 0.085, 0.05, 0.1])
    # pre-excitation: a slow slur before the rest
    way = torch.stack([u.between(0.25, 0.45), u.between(-0.15, 0.45), u.between(-0.45, 0.10)], -1)
    way = 0.5 * way + 0.35 * main
    forces = torch.stack([0.8 * way, main, 0.7 * basal, none, none, 0.8 * way], 1)
    put_all("WPW", forces, [0.20, 0.64, 0.84, 0.80, 0.62, 0.38], [0.090, 0.075, 0.075, 0.080, 0.05, 0.10])
    # paced from the right ventricle's apex: like a left block, upwards, after a spike
    up = torch.stack([u.between(0.40, 0.8), -u.between(0.7, 1.2), u.between(0.35, 0.8)], -1)
    share = u.vector((0.35, 0.5), (0.7, 0.9), (0.7, 0.9), (0.2, 0.4), (0, 0), (0, 0))
    spike = torch.stack([u.between(-0.5, 0.5), u.between(0.9, 1.6), u.between(-0.5, 0.5)], -1)
    forces = share[..., None] * up[:, None]
    forces[:, EXTRA] = spike
    put_all("PACE", forces, [0.24, 0.42, 0.64, 0.80, 0.62, -0.13], [0.095, 0.095, 0.095, 0.085, 0.07, 0.026])
    return vectors, centre, width


def _infarcts(who: Patients, u: Draws, vectors, centre, width):
    """Old infarcts: the first forces turn away from the dead wall, for a third of the complex."""
    deep, old, block = u.between(0.40, 0.70)[:, None], who.has(*OLD), who.has("CRBBB")
    ways = {"Q_INF": [0.10, -0.75, -0.05], "Q_LAT": [-0.85, 0.05, -0.15], "Q_ANT": [0.05, 0.05, 0.75]}
    for code, way in ways.items():
        vectors[:, SEPTAL] = put(who.has(code), vectors[:, SEPTAL], deep * torch.tensor(way, dtype=vectors.dtype))
    parts = [SEPTAL, MAIN]
    centre[:, parts] = put(old & ~block, centre[:, parts], [0.20, 0.60])
    width[:, parts] = put(old & ~block, width[:, parts], [0.110, 0.085])
    width[:, SEPTAL] = put(old & block, width[:, SEPTAL], 0.075)
    centre[:, MAIN] = put(old & block, centre[:, MAIN], 0.36)
    vectors[:, MAIN, 1] = torch.where(who.has("Q_INF"), vectors[:, MAIN, 1].clamp(min=0.45), vectors[:, MAIN, 1])
    vectors[:, MAIN, 0] = torch.where(who.has("Q_LAT"), vectors[:, MAIN, 0].clamp(min=0.55), vectors[:, MAIN, 0])
    vectors[:, MAIN, 2] = torch.where(who.has("Q_ANT"), 0.35 + vectors[:, MAIN, 2].abs(), vectors[:, MAIN, 2])
    return vectors, centre, width


def _turn(who: Patients, mv, width, angle) -> torch.Tensor:
    """Turn the limb leads so that the net area of the complex has the drawn axis (degrees), where one was drawn."""
    x, y = frontal((mv * width[:, None]).sum(2))  # net areas (B,)
    keep = who.has(*WIDE, "CRBBB", "Q_INF", "Q_LAT")
    by = torch.remainder(torch.deg2rad(angle) - torch.atan2(y, x) + torch.pi, 2 * torch.pi) - torch.pi
    by = torch.where(keep, 0.0, by.clamp(-0.7, 0.7))[:, None]  # (B, 1)
    return turn_limbs(mv, by)


def _voltage(who: Patients, u: Draws, mv, centre, width) -> torch.Tensor:
    """Scale limb and chest leads so that hypertrophy and low voltage are clear, and nothing else comes near them."""
    wave = curve(mv, centre, width, torch.linspace(0, 1, 32, dtype=mv.dtype))  # (B, 8, 32)
    sokolow = -wave[:, V1].amin(-1) + wave[:, [V5, V6]].amax(-1).amax(-1)
    high = (u.between(3.9, 5.2) / sokolow).clamp(max=1.8)
    chest = torch.where(who.has("LVH"), high, (2.9 / sokolow).clamp(max=1.0))
    chest = torch.where(who.has(*WIDE), 1.0, chest)
    limb = torch.where(who.has("LVH"), chest.clamp(max=1.25), 1.0)
    faint, span = who.has("LOWV"), swing(six_limb_leads(wave[:, :V1]))
    limb = torch.where(faint, u.between(0.28, 0.40) / span, limb * (0.80 / span).clamp(min=1.0))
    chest = torch.where(faint, u.between(0.55, 0.80) / swing(wave[:, V1:]), chest)
    tall = 0.9 / wave[:, V1].amax(-1).clamp(min=0.05)
    out = mv * torch.cat([limb[:, None].expand(-1, 2), chest[:, None].expand(-1, 6)], 1)[..., None]
    out[:, V1] *= torch.where(who.has("RVH"), tall.clamp(1.0, 4.0), 1.0)[:, None]
    return out


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
