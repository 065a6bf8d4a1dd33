"""Which heart is this? Parameters of one heart per record, drawn so that co-occurrence follows medicine."""

from dataclasses import dataclass, fields

import torch

from . import random

FINDINGS = (
    "SR",
    "SBRAD",
    "STACH",
    "AFIB",
    "PVC",
    "PAC",
    "1AVB",
    "CLBBB",
    "CRBBB",
    "LAD",
    "LVH",
    "STE_ANT",
    "STE_INF",
    "TINV",
)

# Frank (X left, Y down, Z back) -> I, II, V1..V6: Dower, Machado, Osborne, "On deriving the electrocardiogram from
# vectorcardiographic leads", Clin Cardiol 3:87 (1980). The other four leads follow by Einthoven and Goldberger.
DOWER = torch.tensor(
    [
        [0.632, -0.235, 0.059],
        [0.235, 1.066, -0.132],
        [-0.515, 0.157, -0.917],
        [0.044, 0.164, -1.387],
        [0.882, 0.098, -1.277],
        [1.213, 0.127, -0.601],
        [1.125, 0.127, -0.086],
        [0.831, 0.076, 0.230],
    ],
    dtype=torch.float64,
)  # (8, 3)

WAVES = 4  # parts of one QRS complex: septal, main, basal, late


@dataclass
class Hearts:
    """B hearts. Times in s, amplitudes in mV, vectors in Frank axes (X left, Y down, Z back)."""

    seed: int
    index: torch.Tensor  # (B,) record number
    age: torch.Tensor  # (B,) years
    female: torch.Tensor  # (B,) bool
    rr: torch.Tensor  # (B,) mean RR interval
    pr: torch.Tensor  # (B,) P onset to QRS onset
    p_duration: torch.Tensor  # (B,)
    qrs: torch.Tensor  # (B,) QRS duration
    qt: torch.Tensor  # (B,) QRS onset to T end
    p_vector: torch.Tensor  # (B, 3)
    qrs_centre: torch.Tensor  # (B, WAVES) as a share of the QRS duration
    qrs_width: torch.Tensor  # (B, WAVES) standard deviation, as a share of the QRS duration
    qrs_vector: torch.Tensor  # (B, WAVES, 3)
    st_vector: torch.Tensor  # (B, 3)
    t_vector: torch.Tensor  # (B, 3)
    t_width: torch.Tensor  # (B,)
    leads: torch.Tensor  # (B, 8, 3) lead field of this chest
    afib: torch.Tensor  # (B,) bool
    pvc: torch.Tensor  # (B,) bool
    pac: torch.Tensor  # (B,) bool
    lbbb: torch.Tensor  # (B,) bool
    rbbb: torch.Tensor  # (B,) bool

    def __getitem__(self, rows: torch.Tensor) -> "Hearts":
        """The hearts at these rows (a boolean mask or indices)."""
        return self.map(lambda v: v[rows])

    def map(self, change) -> "Hearts":
        """These hearts with every tensor changed by a function."""
        return Hearts(self.seed, *(change(getattr(self, f.name)) for f in fields(self)[1:]))

    def float(self) -> "Hearts":
        """In single precision. Parameters are drawn in double, so that they round to the same floats in any batch."""
        return self.map(lambda v: v.float() if v.is_floating_point() else v)


def sample(seed: int, index: torch.Tensor) -> Hearts:
    """Draw the hearts with these record numbers: (B,) int64 -> Hearts."""
    u = _Draws(random.uniform(seed, index, stream=1, n=64))
    plain = u.chance(0.18)  # a heart with nothing to report but its rate
    afib = u.chance(0.15) & ~plain
    bundle = u.next()
    lbbb, rbbb = (bundle < 0.12) & ~plain, (bundle > 0.87) & ~plain
    ectopy = u.next()
    pvc, pac = (ectopy < 0.14) & ~plain, (ectopy > 0.86) & ~plain & ~afib
    block = u.chance(0.17) & ~plain & ~afib
    lad = u.chance(0.22) & ~plain
    lvh = u.chance(0.20) & ~plain & ~lbbb
    ischaemia = u.next()
    anterior, inferior = (ischaemia < 0.13) & ~plain & ~lbbb, (ischaemia > 0.87) & ~plain & ~lbbb
    inverted = (ischaemia > 0.40) & (ischaemia < 0.53) & ~plain & ~lbbb

    age, female = 18 + 77 * u.next() ** 0.8, u.chance(0.5)
    rr = 60 / _rate(u, afib, block)
    pr, p_duration, qrs, qt = _intervals(u, rr, age, female, block, lbbb, rbbb)
    size = (1.0 - 0.12 * female.float()) * (1.12 - 0.003 * age)  # amplitudes fall with age and in women
    centre, width, vector = _qrs(u, size, lad, lvh, lbbb, rbbb)
    st, t = _repolarisation(u, vector, size, lbbb, rbbb, lvh, anterior, inferior, inverted)
    p = torch.stack([u.between(0.03, 0.08), u.between(0.07, 0.17), u.between(-0.03, 0.03)], -1)  # (B, 3)
    jitter = random.normal(seed, index, stream=2, n=24).view(-1, 8, 3)
    leads = DOWER * (1 + 0.10 * jitter) + 0.03 * jitter.roll(1, dims=-1)  # (B, 8, 3) no two chests are alike
    return Hearts(
        seed,
        index,
        age.round(),
        female,
        rr,
        pr,
        p_duration,
        qrs,
        qt,
        p,
        centre,
        width,
        vector,
        st,
        t,
        u.between(0.11, 0.15) * qt,
        leads,
        afib,
        pvc,
        pac,
        lbbb,
        rbbb,
    ).float()


class _Draws:
    """Hands out the columns of a table of uniforms in order."""

    def __init__(self, table: torch.Tensor):
        self.columns = iter(table.unbind(-1))

    def next(self) -> torch.Tensor:
        return next(self.columns)

    def between(self, low, high) -> torch.Tensor:
        return low + (high - low) * self.next()

    def chance(self, p: float) -> torch.Tensor:
        return self.next() < p


def _rate(u: _Draws, afib: torch.Tensor, block: torch.Tensor) -> torch.Tensor:
    """(B,) mean ventricular rate in bpm: slow, normal or fast sinus rhythm, or the range of atrial fibrillation."""
    kind, spread = u.next(), u.next()
    slow, fast = kind < 0.22, (kind > 0.74) & ~block
    sinus = torch.where(slow, 36 + 22 * spread, torch.where(fast, 102 + 58 * spread, 61 + 37 * spread))
    return torch.where(afib, 50 + 105 * spread, sinus)


def _intervals(u, rr, age, female, block, lbbb, rbbb):
    """PR, P, QRS and QT in s. QT follows the rate by Fridericia's cube root (Acta Med Scand 53:469, 1920)."""
    p_duration = u.between(0.085, 0.115)
    pr = torch.where(block, u.between(0.21, 0.32), u.between(0.125, 0.175) + 0.0002 * (age - 50))
    pr = torch.where(block, pr, pr - 0.02 * (0.8 - rr).clamp(0, 0.4) / 0.4)  # shorter when fast
    wide = lbbb | rbbb
    qrs = torch.where(wide, u.between(0.124, 0.168), u.between(0.074, 0.108))
    qtc = u.between(0.375, 0.450) + 0.010 * female.float() + 0.03 * wide.float()
    qt = torch.minimum(qtc * rr ** (1 / 3), 0.80 * rr)
    qt = torch.maximum(qt, qrs + 0.14)
    pr = torch.minimum(pr, (rr - qt + 0.06).clamp(min=0.11))  # P may meet the end of T, not its peak
    return pr, p_duration, qrs, qt


def _frontal(amplitude, angle, back, leads=DOWER):
    """The dipole whose I and aVF show this frontal amplitude (mV) and axis (degrees): (B,) -> (B, 3)."""
    lead_i, avf = leads[0], leads[1] - leads[0] / 2
    radians = torch.deg2rad(angle)
    target = torch.stack([amplitude * torch.cos(radians), amplitude * torch.sin(radians) * 3**0.5 / 2], -1)
    target = target - torch.stack([lead_i[2] * back, avf[2] * back], -1)  # (B, 2)
    inverse = torch.linalg.inv(torch.stack([lead_i[:2], avf[:2]]))  # (2, 2)
    return torch.cat([(target[:, None, :] * inverse).sum(-1), back[:, None]], -1)  # (B, 3)


def _qrs(u, size, lad, lvh, lbbb, rbbb):
    """Centres, widths (shares of the QRS duration) and vectors of the four parts of the complex."""
    angle = torch.where(lad, u.between(-75, -40), u.between(-5, 80))
    frontal = size * u.between(0.7, 1.3) * torch.where(lvh, u.between(1.5, 2.0), torch.ones_like(size))
    back = size * u.between(0.25, 0.65) * torch.where(lvh, u.between(2.2, 3.0), torch.ones_like(size))
    main = _frontal(frontal, angle, back)
    septal = -0.14 * main * u.between(0.3, 1.3)[:, None]
    septal[:, 2] = -size * u.between(0.15, 0.40)
    basal = -u.between(0.05, 0.30)[:, None] * main
    basal[:, 2] = size * u.between(0.25, 0.65) * torch.where(lvh, 1.6, 1.0)
    late = torch.zeros_like(main)
    normal = torch.stack([septal, main, basal, late], 1)  # (B, 4, 3)
    # left bundle branch block: no septal q, slow and notched, to the left and back throughout
    left = _frontal(0.8 * frontal, angle, 1.5 * back + 0.35)
    left[:, 0] = left[:, 0].clamp(min=0.45)
    share = torch.stack([u.between(0.3, 0.5), u.between(0.7, 0.9), u.between(0.7, 1.0), u.between(0.25, 0.5)], -1)
    block_left = share[:, :, None] * left[:, None]
    # right bundle branch block: a normal start, then late forces to the right and front
    forces = torch.stack([-u.between(0.35, 0.65), u.between(-0.15, 0.15), -u.between(0.4, 0.75)], -1) * size[:, None]
    block_right = torch.stack([septal, main, 0.6 * basal, forces], 1)

    def choose(right_block, left_block, neither):
        shape = (-1,) + (1,) * (neither.dim() - 1)
        return torch.where(lbbb.view(shape), left_block, torch.where(rbbb.view(shape), right_block, neither))

    ones = torch.ones(len(size), 1, dtype=size.dtype)
    c = choose(
        ones * torch.tensor([0.13, 0.33, 0.48, 0.76]),
        ones * torch.tensor([0.24, 0.42, 0.62, 0.78]),
        ones * torch.tensor([0.20, 0.46, 0.78, 0.80]),
    )
    w = choose(
        ones * torch.tensor([0.050, 0.070, 0.070, 0.100]),
        ones * torch.tensor([0.095, 0.095, 0.095, 0.090]),
        ones * torch.tensor([0.080, 0.095, 0.085, 0.080]),
    )
    return c, w, choose(block_right, block_left, normal)


def _repolarisation(u, qrs, size, lbbb, rbbb, lvh, anterior, inferior, inverted):
    """ST and T vectors (B, 3): concordant in a healthy heart, against the QRS in a block, shifted towards an injury."""
    st = torch.stack([u.between(-0.01, 0.03), u.between(-0.01, 0.02), u.between(-0.02, 0.01)], -1)
    t = torch.stack([u.between(0.20, 0.36), u.between(0.13, 0.28), u.between(-0.24, -0.08)], -1) * size[:, None]
    mean = qrs.sum(1)  # (B, 3)
    t = torch.where(lbbb[:, None], -u.between(0.09, 0.15)[:, None] * mean, t)
    st = torch.where(lbbb[:, None], -u.between(0.02, 0.05)[:, None] * mean, st)
    t[:, 2] += rbbb.float() * u.between(0.15, 0.30)
    strain = lvh & u.chance(0.45)
    flip = strain | inverted
    away = torch.stack([-u.between(0.20, 0.34), u.between(-0.04, 0.06), u.between(0.04, 0.16)], -1)
    t = torch.where(flip[:, None], away, t)
    st[:, 0] -= strain.float() * u.between(0.03, 0.07)
    level, share = u.between(0.22, 0.42), u.next()
    front = torch.stack([0.25 * level, -0.10 * level, -level], -1)
    down = torch.stack([-(0.3 + 0.2 * share) * level, level, 0.15 * level], -1)
    injury = front * anterior[:, None] + down * inferior[:, None]
    return st + injury, t + 0.6 * injury
