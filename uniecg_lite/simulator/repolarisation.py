"""How do the ventricles recover? ST, T and U in each lead, in health and in what shows itself there."""

import torch

from .disease import INJURY, Draws, Patients
from .shapes import put, see
from .ventricles import EXTRA

LEVEL = {  # mV of ST in I, II, V1..V6 at a mild injury; III, aVR, aVL, aVF follow, and with them the mirror image
    "STE_ANT": [0.04, 0.02, 0.05, 0.26, 0.32, 0.24, 0.11, 0.04],
    "STE_SEP": [-0.03, -0.02, 0.16, 0.28, 0.13, 0.02, -0.03, -0.05],
    "STE_LAT": [0.17, 0.03, -0.07, -0.10, -0.02, 0.08, 0.17, 0.18],
    "STE_INF": [-0.06, 0.17, 0.00, -0.07, -0.06, -0.02, 0.02, 0.04],
    "STE_POST": [0.00, 0.02, -0.11, -0.20, -0.16, -0.06, 0.02, 0.04],
    "STD": [-0.06, -0.11, 0.04, -0.02, -0.08, -0.17, -0.19, -0.15],
    "PERI": [0.13, 0.19, -0.02, 0.14, 0.19, 0.21, 0.18, 0.15],
    "EREP": [0.04, 0.09, 0.00, 0.08, 0.11, 0.12, 0.10, 0.07],
    "BRUG": [0.00, 0.00, 0.10, 0.10, 0.04, 0.02, 0.00, 0.00],
    "HYPOK": [-0.03, -0.04, 0.00, -0.04, -0.06, -0.06, -0.06, -0.05],
}


def st_and_t(who: Patients, own: Draws, now: Draws, field, size, qrs_mv):
    """ST plateau and T (B, 8) in mV, and the width of T as a share of QT (B,)."""
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
    return st, t, t_share


def _injuries(who: Patients, u: Draws, st, t, t_share):
    """What a diseased wall or the blood's salts do to ST and T."""
    much, small = u.between(1.0, 1.9)[:, None], u.between(1.0, 1.25)[:, None]
    for code, level in LEVEL.items():
        level = torch.tensor(level, dtype=st.dtype)
        st = st + who.has(code)[:, None] * (much if code in INJURY else small) * level
        if code in INJURY and code != "STE_POST":
            t = t + who.has(code)[:, None] * 0.6 * much * level
    t = put(who.has("STE_POST"), t, t.clamp(min=0.10) + 0.25)
    t = put(who.has("PERI"), t, t.clamp(min=0.12))
    t = put(who.has("EREP"), t, 1.25 * t.clamp(min=0.10))
    t = put(who.has("STD"), t, t.clamp(min=0.03) * 0.6)
    tall = u.between(1.0, 1.45)[:, None]
    t = put(who.has("HYPT"), t, tall * torch.tensor([0.25, 0.45, 0.5, 1.25, 1.45, 1.25, 0.8, 0.45]))
    t = put(who.has("HYPERK"), t, tall * torch.tensor([0.30, 0.50, 0.4, 1.2, 1.3, 1.15, 0.80, 0.5]))
    t = put(who.has("HYPOK"), t, torch.tensor([0.05, 0.07, 0.04, 0.11, 0.12, 0.11, 0.08, 0.06]) * tall)
    t = put(who.has("BRUG"), t, torch.cat([t[:, :2], -0.25 * tall, -0.22 * tall, t[:, 4:]], 1))
    t = put(who.has("LOWV"), t, 0.55 * t)
    t_share = torch.where(who.has("HYPT"), 0.138, torch.where(who.has("HYPERK"), 0.084, t_share))
    return st, t, torch.where(who.has("LQT"), 0.115, t_share)


def u_wave(who: Patients, u: Draws, t: torch.Tensor) -> torch.Tensor:
    """(B, 8) mV: small as a rule, larger than T when potassium is low."""
    small = u.between(0.0, 0.06)[:, None] * t.clamp(min=0)
    low = u.between(0.24, 0.32)[:, None] * torch.tensor([0.25, 0.6, 0.4, 1.0, 1.1, 0.9, 0.7, 0.5], dtype=t.dtype)
    return torch.where(who.has("HYPOK")[:, None], low, small)
