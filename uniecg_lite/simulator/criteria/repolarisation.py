"""What do ST, T, U, Q and voltage say? Measured -> (B,) bool, or what its docstring says.

Sources: Fourth Universal Definition of Myocardial Infarction (Circulation 138:e618, 2018); AHA/ACCF/HRS
recommendations, part VI (JACC 53:1003, 2009); Macfarlane et al., early repolarisation (JACC 66:470, 2015). Broad
complexes hide what they change themselves.
"""

from collections.abc import Callable

import torch

from ...ecg.leads import CHEST, LEADS, LIMB
from .conduction import INFERIOR, hiding, right_block, right_ventricle
from .measure import Measured
from .rhythm import sinus_p

NEIGHBOURS = (("V2", "V3"), ("V3", "V4"), ("V4", "V5"), ("V5", "V6"), ("I", "aVL"), ("II", "aVF"), ("III", "aVF"))
LATERAL = ("I", "aVL", "V5", "V6")
GRACE_MV = 0.005  # half of the hundredth of a millivolt that a reader can tell apart


def raised(m: Measured) -> torch.Tensor:
    """(B, 12) ST at J + 20 ms of at least 0.1 mV, 0.2 mV in V2 and V3."""
    level = torch.full((12,), 0.1)
    level[[7, 8]] = 0.2
    return m.st_mv >= level - GRACE_MV


def _pick(mask: torch.Tensor, names) -> torch.Tensor:
    return mask[:, [LEADS.index(name) for name in names]]


def any_pair(mask: torch.Tensor, pairs) -> torch.Tensor:
    """(B, 12) -> (B,) True where both leads of some pair are True."""
    return torch.stack([_pick(mask, pair).all(1) for pair in pairs]).any(0)


def pericarditis(m: Measured) -> torch.Tensor:
    """ST up in five or more leads of limb and chest, down in aVR, and PR depressed in II."""
    up = m.st_mv >= 0.05
    limb, chest = _pick(up, ("I", "II", "III", "aVL", "aVF")).sum(1), _pick(up, CHEST).sum(1)
    reverse = (m.lead("st_mv", "aVR") < -0.03) & (m.lead("pr_segment_mv", "II") <= -0.03)
    return (limb >= 2) & (chest >= 2) & (limb + chest >= 5) & reverse & sinus_p(m) & ~hiding(m)


def brugada(m: Measured) -> torch.Tensor:
    """Coved: J at 0.2 mV or more in V1 or V2, falling all the way into an inverted T wave."""
    j, st60, t = m.lead("j_mv", "V1", "V2"), m.lead("st60_mv", "V1", "V2"), m.lead("t_mv", "V1", "V2")
    return ((j >= 0.2 - GRACE_MV) & (st60 < j) & (t < -0.05)).any(1) & ~right_block(m) & ~hiding(m)


def repolarises_early(m: Measured) -> torch.Tensor:
    """A notch of 0.1 mV at the end of R in two inferior or two lateral leads, with a QRS under 120 ms."""
    notch = m.notch_mv >= 0.1
    lateral = _pick(notch, LATERAL).sum(1) >= 2
    return ((_pick(notch, INFERIOR).sum(1) >= 2) | lateral) & (m.qrs_ms < 120) & ~hiding(m)


def local(m: Measured) -> torch.Tensor:
    """ST deviation may mean a wall here: nothing hides it and it is not that of another disease."""
    return ~hiding(m) & ~pericarditis(m) & ~brugada(m) & ~repolarises_early(m)


def posterior(m: Measured) -> torch.Tensor:
    """ST down in V1 to V3 with upright T and an R there that is taller than S is deep: the mirror of the back wall."""
    down = (m.lead("st_mv", "V1", "V2", "V3") <= -0.05).all(1)
    tall = (m.lead("high_mv", "V2") > -m.lead("low_mv", "V2")) | (m.lead("high_mv", "V3") > -m.lead("low_mv", "V3"))
    return local(m) & down & tall & (m.lead("t_mv", "V2", "V3") > 0.05).all(1) & ~right_block(m)


def injured(m: Measured) -> torch.Tensor:
    """ST elevation of some wall, or its mirror image."""
    return anterior(m) | septal(m) | lateral(m) | inferior(m) | posterior(m)


def anterior(m: Measured) -> torch.Tensor:
    """ST up in V3 and V4."""
    return local(m) & _pick(raised(m), ("V3", "V4")).all(1)


def septal(m: Measured) -> torch.Tensor:
    """ST up in V1 and V2."""
    return local(m) & _pick(raised(m), ("V1", "V2")).all(1)


def lateral(m: Measured) -> torch.Tensor:
    """ST up in I and aVL or in V5 and V6."""
    return local(m) & any_pair(raised(m), (("I", "aVL"), ("V5", "V6"))) & ~anterior(m)


def inferior(m: Measured) -> torch.Tensor:
    """ST up in two of II, III and aVF."""
    return local(m) & (_pick(raised(m), INFERIOR).sum(1) >= 2)


def st_depressed(m: Measured) -> torch.Tensor:
    """ST down in two neighbour leads, and not as the mirror image of an elevation."""
    return local(m) & ~injured(m) & any_pair(m.st_mv <= -0.1 + GRACE_MV, NEIGHBOURS)


def t_inverted(m: Measured) -> torch.Tensor:
    """T of -0.1 mV or less in two neighbour leads; in a right bundle branch block V1 to V3 do not count."""
    down = m.t_mv <= -0.1 + GRACE_MV
    down = down & ~(right_block(m)[:, None] & torch.tensor([False] * 6 + [True] * 3 + [False] * 3))
    return ~hiding(m) & ~brugada(m) & any_pair(down, NEIGHBOURS[:6])


def q_waves(m: Measured) -> torch.Tensor:
    """(B, 12) Q of 30 ms and 0.1 mV (20 ms in V2 and V3), or a QS."""
    least = torch.full((12,), 30.0 - 2)
    least[[7, 8]] = 20.0 - 2
    qs = (m.q_mv < -0.1) & (m.r_mv < 0.03)
    return ((m.q_mv <= -0.1 + GRACE_MV) & (m.q_ms >= least)) | qs


def old_infarct(*pairs) -> Callable[[Measured], torch.Tensor]:
    """The rule of an old infarct: a pathological Q in both leads of one of these pairs, which nothing hides."""

    def rule(m: Measured) -> torch.Tensor:
        return any_pair(q_waves(m), pairs) & ~hiding(m) & ~right_ventricle(m)

    return rule


def tall_t(m: Measured) -> torch.Tensor:
    """T of 1.0 mV in two of V2 to V5."""
    return ~hiding(m) & (m.lead("t_mv", "V2", "V3", "V4", "V5") >= 1.0 - 0.03).sum(1).ge(2)


def flat_p_or_wide(m: Measured) -> torch.Tensor:
    """What else rising potassium does: P under 0.05 mV or none, or a QRS of 110 ms."""
    flat = m.pr_ms.isnan() | (m.p_mv.nan_to_num().abs().amax(1) < 0.05)
    return flat | (m.qrs_ms >= 110)


def narrow_t(m: Measured) -> torch.Tensor:
    """T whose half width is under a quarter of QT."""
    return m.t_half_ms < 0.24 * m.qt_ms


def hypokalaemia(m: Measured) -> torch.Tensor:
    """U larger than T, or of 0.1 mV beside a flat T, in two of V2 to V4."""
    u, t = m.lead("u_mv", "V2", "V3", "V4"), m.lead("t_mv", "V2", "V3", "V4").abs()
    return ((u > t) | ((u >= 0.1) & (t < 0.15))).sum(1).ge(2) & (u.amax(1) > 0.05) & ~hiding(m)


def low_voltage(m: Measured) -> torch.Tensor:
    """QRS from peak to peak under 0.5 mV in all limb leads and under 1.0 mV in all chest leads."""
    swing = m.high_mv - m.low_mv
    return ~hiding(m) & (_pick(swing, LIMB) < 0.5).all(1) & (_pick(swing, CHEST) < 1.0).all(1)
