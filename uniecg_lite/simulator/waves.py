"""What does each wave look like in each lead? P, QRS, ST, T and U as Gaussians in time of a turning heart vector.

Dipoles say what the whole heart does, a lead field how the eight independent leads see them. What a finding changes is
told where its wave is drawn; amplitudes lead by lead are in data/findings.json (`st_mv`, `t_mv`) and data/hearts.json.
"""

import torch

from ..findings import INJURY, OLD, WIDE, column
from ..leads import derive_limb_leads
from .disease import HEARTS, Draws, Patients, put

# Frank's vector (X left, Y down, Z back) -> I, II, V1..V6: Dower et al., Clin Cardiol 3:87 (1980).
DOWER = torch.tensor(HEARTS["lead_field"], dtype=torch.float64)  # (8, 3)
I, II, V1, V2, V3, V4, V5, V6 = range(8)  # noqa: E741
SIZES = {name: torch.tensor(row, dtype=torch.float64) for name, row in HEARTS["leads"].items()}  # (8,) each
PLACES = {name: torch.tensor(row, dtype=torch.float64) for name, row in HEARTS["complexes"].items()}  # (2, W) each
BLOCKS = ("CLBBB", "CRBBB", "IRBBB", "IVCD", "WPW", "PACE")


def lead_field(jitter: torch.Tensor) -> torch.Tensor:
    """(B, 8, 3) standard normal -> (B, 8, 3) lead field: no two chests are alike."""
    return DOWER * (1 + 0.10 * jitter) + 0.03 * jitter.roll(1, dims=-1)


def see(field: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
    """Dipoles in the leads: (B, 8, 3) and (B, 3) -> (B, 8), or (B, W, 3) -> (B, 8, W)."""
    return (field * vectors[:, None]).sum(-1) if vectors.dim() == 2 else torch.bmm(field, vectors.mT)


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
    p, large = own.vector((0.03, 0.08), (0.08, 0.15), (-0.02, 0.02)), who.has("LAE")
    right, left = 0.58 * p, 0.52 * p
    right[:, 2] = -0.5 * own.between(0.05, 0.10)
    right[:, 1] = who.override(right[:, 1], {"RAE": now.between(0.32, 0.40)})
    left[:, 2] = torch.where(large, now.between(0.17, 0.25), 0.03)
    left = who.override(left, {"LAE PERI": 1.25 * left})
    left[:, 1] = torch.where(large, left[:, 1].clamp(min=0.10), left[:, 1])
    low = who.override(torch.ones(len(p), 1), {"LOWV": 0.8, "HYPERK": 0.30})
    dip = who.has("PERI")[:, None] * (-0.055 * SIZES["PERI"])  # of the PR segment
    mv = torch.stack([see(field, low * right), see(field, low * left), dip], -1)  # (B, 8, 3)
    first, second = torch.where(large, 0.30, 0.36), torch.where(large, 0.70, 0.64)
    centre = torch.stack([first * duration, second * duration, (duration + pr) / 2], -1)
    width = torch.stack([0.155 * duration, 0.155 * duration, ((pr - duration) / 3.2).clamp(min=0.010)], -1)
    return {"p_mv": mv, "p_centre": centre, "p_width": width}


def early_p(who: Patients, u: Draws, field: torch.Tensor) -> torch.Tensor:
    """(B, 8) mV: P of an early atrial beat, of another shape; in a junctional rhythm, from below upwards."""
    other = u.vector((-0.07, 0.03), (-0.10, 0.08), (-0.06, 0.12)) + torch.tensor([0.0, -0.03, 0.0], dtype=field.dtype)
    upward = torch.stack([u.between(0.0, 0.03), -u.between(0.08, 0.14), 0 * u.next()], -1)
    return see(field, put(who.has("JUNC"), other, upward))


def flutter(who: Patients, u: Draws, field: torch.Tensor) -> torch.Tensor:
    """(B, 8) mV: saw teeth that point down in II, III and aVF and up in V1; or the fine unrest of fibrillation."""
    saw = torch.stack([u.between(0.0, 0.03), -u.between(0.17, 0.22), -u.between(0.08, 0.13)], -1)
    size = (torch.where(who.has("LOWV"), 0.6, 1.0) * (0.02 + 0.04 * u.next() ** 2))[:, None]
    fine = torch.stack([u.next() - 0.3, 0.4 + 0.6 * u.next(), -0.4 - 0.8 * u.next()], -1) * size
    return see(field, put(who.has("AFLT"), fine, saw))


# --- How do the ventricles recover? ST, T and U in each lead, in health and in what shows itself there.


def st_and_t(who: Patients, own: Draws, now: Draws, field, size, qt, qrs_mv) -> dict[str, torch.Tensor]:
    """ST plateau and T (B, 8) in mV, and the width of T in s (B,)."""
    st = see(field, own.vector((-0.01, 0.02), (-0.01, 0.02), (-0.02, 0.01)))
    st = st + 0.02 * (2 * now.vector(*[(0.0, 1.0)] * 8) - 1)
    t = see(field, own.vector((0.20, 0.36), (0.13, 0.28), (-0.24, -0.08)) * size[:, None])
    mean = qrs_mv.clone()
    mean[:, :, EXTRA] *= ~who.has("PACE", "EREP", "BRUG")[:, None]
    mean = mean.sum(2)  # (B, 8)
    t = who.override(t, {"CLBBB PACE WPW": -own.between(0.10, 0.15)[:, None] * mean})
    st = who.override(st, {"CLBBB PACE WPW": -own.between(0.015, 0.035)[:, None] * mean})
    t = t + own.between(0.2, 0.4)[:, None] * SIZES["away"] * who.has("CRBBB")[:, None]
    # strain and inversion: T turns over in the leads that look at the wall
    depth = now.between(0.20, 0.38)[:, None]
    strain = who.has("LVH") & (now.next() < 0.4) & ~who.has(*INJURY)  # together they would leave no T
    which = now.next()[:, None]
    turned = torch.where(which < 0.75, SIZES["front"], SIZES["below"])
    t = who.override(t, {"TINV": depth * torch.where(which < 0.4, SIZES["lateral"], turned)})
    t = put(strain, t, depth * SIZES["lateral"])
    st = st + strain[:, None] * 0.2 * depth * SIZES["lateral"]
    t = put(who.has("RVH") & (now.next() < 0.5), t, depth * SIZES["RVH"].float())
    # a diseased wall and the blood's salts
    much, small = now.between(0.7, 1.9)[:, None], now.between(1.0, 1.25)[:, None]
    for code, level in column("st_mv").items():  # at a mild injury; other leads follow, and with them the mirror image
        level = torch.tensor(level, dtype=st.dtype)
        st = st + who.has(code)[:, None] * (much if code in (*INJURY, "STD") else small) * level
        if code in INJURY and code != "STE_POST":
            t = t + who.has(code)[:, None] * 0.6 * much * level
    tall, flat = now.between(1.0, 1.45)[:, None], now.between(0.2, 0.42)[:, None]
    for code, (least, share, more) in HEARTS["upright_t_mv"].items():
        t = who.override(t, {code: share * t.clamp(min=least) + more})
    t = who.override(t, {"NST": lambda t: flat * t})
    t = who.override(t, {code: tall * torch.tensor(leads) for code, leads in column("t_mv").items()})
    coved = torch.cat([t[:, :2], -0.25 * tall, -0.22 * tall, t[:, 4:]], 1)
    t = who.override(t, {"BRUG": coved, "LOWV": lambda t: 0.55 * t})
    t_share = who.override(own.between(0.105, 0.145), {"HYPERK": 0.084, "HYPT": 0.138, "LQT": 0.115})
    return {"st_mv": st, "t_mv": t, "t_width": t_share * qt}


def u_wave(who: Patients, u: Draws, t: torch.Tensor) -> torch.Tensor:
    """(B, 8) mV: small as a rule, larger than T when potassium is low."""
    small = u.between(0.0, 0.06)[:, None] * t.clamp(min=0)
    return who.override(small, {"HYPOK": u.between(0.24, 0.32)[:, None] * SIZES["HYPOK"]})


# --- What does the QRS complex look like in each lead, of an own beat and of one that starts in a ventricle?

SEPTAL, MAIN, BASAL, LATE, NOTCH, EXTRA = range(6)  # parts of one QRS complex


def own_beat(who: Patients, own: Draws, now: Draws, field: torch.Tensor, size: torch.Tensor, duration: torch.Tensor):
    """Centres and widths in s (B, W), amplitudes (B, 8, W) of the parts of the complex."""
    vectors, angle = _forces(who, own, size)
    places = PLACES["normal"].repeat(len(size), 1, 1)  # (B, 2, W) shares of the duration
    centre, width = who.override(places, {code: PLACES[code] for code in BLOCKS}).unbind(1)
    vectors, centre, width = _infarcts(who, own, vectors, centre, width)
    mv = see(field, vectors)  # (B, 8, W)
    # turned so that the net area of the complex has the drawn axis, where one was drawn
    x, y = frontal((mv * width[:, None]).sum(2))  # net areas (B,)
    by = torch.remainder(torch.deg2rad(angle) - torch.atan2(y, x) + torch.pi, 2 * torch.pi) - torch.pi
    by = torch.where(who.has(*WIDE, "CRBBB", "Q_INF", "Q_LAT"), 0.0, by.clamp(-0.7, 0.7))[:, None]  # (B, 1)
    out = _voltage(who, own, turn_limbs(mv, by), centre, width)  # (B, 8, W)
    out[:, :, NOTCH] += 0.05 * size[:, None] * (2 * now.vector(*[(0.0, 1.0)] * 8) - 1)  # fine splintering
    centre, width = duration[:, None] * centre, duration[:, None] * width  # s
    # at the end of the complex: the notch of early repolarisation, the pseudo r' of Brugada type 1
    notch = now.between(0.20, 0.30)[:, None]
    cases = {"EREP": notch * SIZES["EREP"], "BRUG": notch * (1.3 * SIZES["BRUG"])}
    out[:, :, EXTRA] = who.override(out[:, :, EXTRA], cases)
    late = duration + torch.where(who.has("EREP"), 0.010, 0.004)
    centre[:, EXTRA] = who.override(centre[:, EXTRA], {"EREP BRUG": late})
    width[:, EXTRA] = who.override(width[:, EXTRA], {"EREP": 0.009, "BRUG": 0.030})
    return {"centre": centre, "width": width, "qrs_mv": out}


def _forces(who: Patients, u: Draws, size: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Dipoles (B, W, 3) of the parts of the complex in mV, and the axis drawn for it (B,) in degrees."""
    large = who.has("LVH")
    angle = who.override(who.usual("axis_deg"), {code: u.between(*span) for code, span in HEARTS["axis_deg"].items()})
    frontal = size * u.between(0.78, 1.25) * torch.where(large, u.between(1.3, 1.7), 1.0)
    back = size * u.between(0.30, 0.60) * torch.where(large, u.between(2.0, 2.8), 1.0)
    back = who.override(back, {"RVH": -size * u.between(0.55, 0.95), "STE_POST": -size * u.between(0.25, 0.45)})
    main = frontal_dipole(frontal, angle, back)
    septal = -0.14 * main * u.between(0.3, 1.0)[:, None]
    septal[:, 2] = -size * u.between(0.15, 0.40)
    small = size * u.between(0.22, 0.32)
    for code, (share, degrees) in HEARTS["septal"].items():
        turned = frontal_dipole(share * small, torch.full_like(size, degrees), -0.25 * size)
        septal = who.override(septal, {code: turned})
    first = frontal_dipole(small, torch.full_like(size, 65), -0.25 * size)
    level = (angle < 5) & ~who.has(*HEARTS["septal"], *OLD)
    septal = put(level, septal, first)  # r below where the axis is to the left
    basal = -u.between(0.05, 0.30)[:, None] * main
    back = size * u.between(0.30, 0.60) * torch.where(large, 1.6, 1.0)
    basal[:, 2] = who.override(back, {"RVH STE_POST": 0.1 * size})
    basal[:, 0] = who.override(basal[:, 0], {"RVH": -0.45 * size})  # deep S in V5 and V6
    basal = who.override(basal, {"EREP": 0.0})  # R falls straight into the notch
    none = torch.zeros_like(main)
    vectors = torch.stack([septal, main, basal, none, none, none], 1)  # (B, W, 3)
    return who.override(vectors, _blocks(u, septal, main, basal, none)), angle


def _blocks(u: Draws, septal, main, basal, none) -> dict[str, torch.Tensor]:
    """The dipoles of a block, a pre-excited or a paced beat from a normal beat's: code -> (B, W, 3)."""
    # left: no septal q, slow and notched, to the left and back throughout
    left = main * 0.8
    left[:, 2] = 0.35 + 0.6 * main[:, 2].abs()
    left[:, 0] = left[:, 0].clamp(min=0.50)
    left[:, 1] = torch.minimum(left[:, 1], 0.8 * left[:, 0])
    left = u.vector((0.35, 0.5), (0.7, 0.9), (0.85, 1.1), (0.25, 0.45), (0, 0), (0, 0))[..., None] * left[:, None]
    # right: a normal start, then late forces to the right and front
    late = torch.stack([-u.between(0.45, 0.70), u.between(-0.15, 0.15), -u.between(0.45, 0.80)], -1)
    # neither: the normal order, slowly, and splintered
    split = u.vector((-0.4, 0.4), (-0.4, 0.4), (0.0, 0.3)) * 0.8
    # pre-excitation: a slow slur before the rest
    way = torch.stack([u.between(0.25, 0.45), u.between(-0.15, 0.45), u.between(-0.45, 0.10)], -1)
    way = 0.8 * (0.5 * way + 0.35 * main)
    # paced from the right ventricle's apex: like a left block, upwards, after a spike
    up = torch.stack([u.between(0.40, 0.8), -u.between(0.7, 1.2), u.between(0.35, 0.8)], -1)
    paced = u.vector((0.35, 0.5), (0.7, 0.9), (0.7, 0.9), (0.2, 0.4), (0, 0), (0, 0))[..., None] * up[:, None]
    paced[:, EXTRA] = torch.stack([u.between(-0.5, 0.5), u.between(0.9, 1.6), u.between(-0.5, 0.5)], -1)
    return {
        "CLBBB": left,
        "CRBBB": torch.stack([septal, main, 0.6 * basal, late, none, none], 1),
        "IRBBB": torch.stack([septal, main, 0.5 * basal, 0.55 * late, none, none], 1),
        "IVCD": torch.stack([septal, 0.75 * main, basal, 0.35 * main + 0.15, split, none], 1),
        "WPW": torch.stack([way, main, 0.7 * basal, none, none, way], 1),
        "PACE": paced,
    }


def _infarcts(who: Patients, u: Draws, vectors, centre, width):
    """Old infarcts: the first forces turn away from the dead wall, for a third of the complex."""
    deep, old, block = u.between(0.40, 0.70)[:, None], who.has(*OLD), who.has("CRBBB")
    ways = {code: deep * deep.new_tensor(way) for code, way in HEARTS["infarcts"].items()}
    vectors[:, SEPTAL] = who.override(vectors[:, SEPTAL], ways)
    parts = [SEPTAL, MAIN]
    for values, plain, blocked in ((centre, [0.20, 0.60], (MAIN, 0.36)), (width, [0.110, 0.085], (SEPTAL, 0.075))):
        values[:, parts] = put(old & ~block, values[:, parts], plain)
        values[:, blocked[0]] = put(old & block, values[:, blocked[0]], blocked[1])
    for axis, code, least in ((1, "Q_INF", 0.45), (0, "Q_LAT", 0.55)):
        main = vectors[:, MAIN, axis]
        vectors[:, MAIN, axis] = who.override(main, {code: main.clamp(min=least)})
    vectors[:, MAIN, 2] = who.override(vectors[:, MAIN, 2], {"Q_ANT": lambda back: 0.35 + back.abs()})
    return vectors, centre, width


def _voltage(who: Patients, u: Draws, mv, centre, width) -> torch.Tensor:
    """Scale limb and chest leads as hypertrophy and low voltage need it; nobody else has limb leads as low."""
    wave = curve(mv, centre, width, torch.linspace(0, 1, 32, dtype=mv.dtype))  # (B, 8, 32)
    sokolow = -wave[:, V1].amin(-1) + wave[:, [V5, V6]].amax(-1).amax(-1)
    high = (u.between(3.2, 5.2) / sokolow).clamp(max=1.8)
    chest = who.override(torch.ones_like(sokolow), {"LVH": high})
    span = swing(six_limb_leads(wave[:, :V1]))
    limb = torch.where(who.has("LVH"), chest.clamp(max=1.25), 1.0) * (0.62 / span).clamp(min=1.0)
    limb = who.override(limb, {"LOWV": u.between(0.30, 0.54) / span})
    chest = who.override(chest, {"LOWV": u.between(0.55, 1.05) / swing(wave[:, V1:])})
    tall = u.between(0.55, 1.1) / wave[:, V1].amax(-1).clamp(min=0.05)
    out = mv * torch.cat([limb[:, None].expand(-1, 2), chest[:, None].expand(-1, 6)], 1)[..., None]
    out[:, V1] *= torch.where(who.has("RVH"), tall.clamp(1.0, 4.0), 1.0)[:, None]
    return out


def early_beat(who: Patients, u: Draws, field: torch.Tensor) -> torch.Tensor:
    """(B, 8, W) mV: a beat that starts in one ventricle and crosses to the other, slowly and with a bend in its way.

    Beside a left bundle branch block it starts on the left: from the right it would look like the block.
    """
    side = torch.where((u.next() < 0.5) | who.has("CLBBB"), -1.0, 1.0)
    main = torch.stack([side * u.between(0.7, 1.4), u.between(-0.6, 1.0), side * u.between(0.3, 1.1)], -1)
    bend = u.vector((-0.25, 0.25), (-0.25, 0.25), (-0.25, 0.25))
    parts = [0.55 * main + bend, 0.80 * main, 0.30 * main - bend]
    return see(field, torch.stack(parts + [0 * main] * 3, 1))
