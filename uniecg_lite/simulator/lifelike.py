"""What a textbook heart lacks beside a recorded one: each change measured on real sinus beats, each drawn per heart.

`hearts.textbook` draws every wave as one dipole sees it. Real beats differ in three ways that a small classifier finds
at once (`scoring.realism`): P and T lie further to the left and vary far more from person to person, T peaks later and
falls steeper; the QRS is one sharp complex instead of three bumps; and each lead sees its own detail, because no heart
is a single dipole. Every function takes hearts and gives them back changed; the truth is measured afterwards.
"""

from dataclasses import replace

import torch

from . import random
from .hearts import Hearts
from .ventricles import BASAL, LATE, MAIN, NOTCH, SEPTAL

# what shapes a wave in its own way keeps it
OTHER_P = ("LAE", "RAE", "HYPERK", "LOWV", "PERI", "STACH", "WENCK", "MOB2", "3AVB")
OTHER_T = (
    *("CLBBB", "CRBBB", "IVCD", "WPW", "PACE", "VT", "LVH", "RVH", "TINV", "STD", "HYPT", "HYPERK", "HYPOK", "LOWV"),
    *("STE_ANT", "STE_SEP", "STE_LAT", "STE_INF", "STE_POST", "PERI", "EREP", "BRUG"),
    *("STACH", "WENCK", "LAE"),
)
OTHER_QRS = (
    *("CLBBB", "CRBBB", "LAFB", "LPFB", "IVCD", "WPW", "PACE", "VT", "RVH", "Q_ANT", "Q_INF", "Q_LAT", "EREP", "BRUG"),
    *("STE_ANT", "STE_SEP", "STE_LAT", "STE_INF", "STE_POST", "LOWV"),
)
# mV in I, II, V1..V6: medians of 47 real records called normal, or without a label
RIGHT_P = (0.042, 0.075, 0.045, 0.045, 0.045, 0.042, 0.040, 0.035)
LEFT_P = (0.050, 0.070, -0.030, 0.025, 0.040, 0.040, 0.040, 0.038)
T_MV = (0.21, 0.27, 0.05, 0.37, 0.44, 0.37, 0.30, 0.235)
T_TURN = (-0.06, -0.06, 0.11, 0.15, 0.07, -0.02, -0.09, -0.09)  # mV, how T changes as its axis turns
J_MV = (0.0, 0.0, 0.02, 0.04, 0.0, -0.02, -0.03, -0.015)  # ST rises a little in V1 and V2
J_TURN = (-0.01, 0.0, 0.015, 0.03, 0.03, 0.01, -0.005, -0.005)
GAIN = (1.1, 1.0, 0.98, 1.4, 1.35, 1.15, 1.0, 1.0)  # QRS of these leads, against one dipole's
GAIN_SPREAD = (0.0, 0.0, 0.05, 0.25, 0.25, 0.2, 0.05, 0.05)  # of its logarithm
SHARE = (0.12, 0.12, 0.18, 0.5, 0.5, 0.5, 0.18, 0.18)  # how far each part varies; less where axis and voltage are read
DETAIL = (1.0, 1.3, 0.35, 0.8, 1.1, 1.3, 1.1, 1.0)  # how splintered


def lifelike(hearts: Hearts) -> Hearts:
    """All three changes. Hearts of `hearts.textbook` in, in double or single precision."""
    return qrs(t_wave(p_wave(hearts)))


def _normal(hearts: Hearts, stream: int, n: int) -> torch.Tensor:
    """(B, n) of this chest, the same at every visit."""
    return random.normal(hearts.who.seed, hearts.who.index, stream, n).to(hearts.t_mv.dtype)


def _like(values: tuple, hearts: Hearts) -> torch.Tensor:
    return torch.tensor(values, dtype=hearts.t_mv.dtype)


def p_wave(hearts: Hearts) -> Hearts:
    """P as high in I as real ones, flatter in the chest leads, and of a size of its own."""
    n = _normal(hearts, 301, 18)
    size = torch.exp(0.3 * n[:, :1]).clamp(min=0.75)
    right = _like(RIGHT_P, hearts) * size * (1 + 0.25 * n[:, 1:9])
    left = _like(LEFT_P, hearts) * size * (1 + 0.25 * n[:, 9:17])
    left[:, 2] += 0.02 * n[:, 17]
    p = torch.stack([right, left, hearts.p_mv[..., 2]], -1)  # (B, 8, 3)
    return replace(hearts, p_mv=torch.where(hearts.has(*OTHER_P)[:, None, None], hearts.p_mv, p))


def t_wave(hearts: Hearts) -> Hearts:
    """T of a real size, axis and spread, later and narrower; ST a little up in V1 and V2, a little down in V5."""
    n = _normal(hearts, 302, 20)
    t = _like(T_MV, hearts) * torch.exp(0.35 * n[:, :1]) * (1 + 0.06 * n[:, 1:9])
    t = t + n[:, 9:10] * _like(T_TURN, hearts)
    st = hearts.st_mv + _like(J_MV, hearts) * torch.exp(0.4 * n[:, 10:11]) + n[:, 11:12] * _like(J_TURN, hearts)
    st = st + 0.008 * n[:, 12:20]
    keep = hearts.has(*OTHER_T)
    return replace(
        hearts,
        t_mv=torch.where(keep[:, None], hearts.t_mv, t),
        st_mv=torch.where(keep[:, None], hearts.st_mv, st),
        t_width=torch.where(keep, hearts.t_width, 0.86 * hearts.t_width),
    )


def qrs(hearts: Hearts) -> Hearts:
    """One sharp complex: its parts closer together, each of its own width, with fine detail in every lead."""
    n = _normal(hearts, 303, 96)
    keep, duration = hearts.has(*OTHER_QRS), hearts.qrs[:, None]
    parts = [SEPTAL, MAIN, BASAL]
    mv, centre, width = hearts.qrs_mv.clone(), hearts.centre.clone(), hearts.width.clone()
    centre[:, parts] = duration * _like((0.265, 0.44, 0.66), hearts)
    centre[:, parts] += 0.04 * duration * n[:, 80:83]
    width[:, parts] = duration * _like((0.095, 0.097, 0.089), hearts) * torch.exp(0.2 * n[:, :3].clamp(min=-0.8))
    mv[:, 3:5, SEPTAL] *= 1.5  # r in V2 and V3
    mv *= (_like(GAIN, hearts) * torch.exp(_like(GAIN_SPREAD, hearts) * n[:, 71:72]))[..., None]
    share = _like(SHARE, hearts)[:, None]
    mv[..., parts] *= 1 + share * n[:, 3:27].unflatten(1, (8, 3))
    peak = mv[..., parts].abs().amax(2)  # (B, 8)
    for part, at, k in ((NOTCH, 0.52, 27), (LATE, 0.36, 51)):
        fine = _like(DETAIL, hearts) * (0.08 * peak * n[:, k : k + 8] + 0.014 * n[:, k + 8 : k + 16])
        mv[..., part] = mv[..., part] + fine
        centre[:, part] = duration[:, 0] * (at + 0.05 * n[:, k + 16])
        width[:, part] = 0.077 * duration[:, 0]
    return replace(
        hearts,
        qrs_mv=torch.where(keep[:, None, None], hearts.qrs_mv, mv),
        centre=torch.where(keep[:, None], hearts.centre, centre),
        width=torch.where(keep[:, None], hearts.width, width),
    )
