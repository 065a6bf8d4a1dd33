"""How do the ventricles conduct, which way does the axis point, how large are the chambers? Measured -> (B,) bool.

Source: AHA/ACCF/HRS recommendations for the standardization and interpretation of the electrocardiogram, parts III
(conduction) and V (chambers), JACC 53:976 and 53:992 (2009). Durations are given a sample's grace.
"""

import torch

from .measure import Measured
from .rhythm import paced, sinus_p

GRACE_MS, GRACE_DEG = 1.0, 5.0
INFERIOR = ("II", "III", "aVF")


def wide(m: Measured) -> torch.Tensor:
    """QRS of 120 ms."""
    return m.qrs_ms >= 120 - GRACE_MS


def right_block(m: Measured) -> torch.Tensor:
    """Late forces to the right and front: R' (or a late R) in V1 or V2, broad S in I and V6."""
    late = (m.lead("late_mv", "V1", "V2") > 0.05).any(1)
    s, r = m.lead("s_ms", "I", "V6"), m.lead("r_ms", "I", "V6")
    return wide(m) & late & ((s > r) | (s >= 40)).all(1) & ~paced(m)


def left_block(m: Measured) -> torch.Tensor:
    """Broad R without q in I and V6, which peaks after 60 ms in V5 and V6, and rS or QS in V1."""
    broad = (m.lead("r_ms", "I", "V6") >= 60).all(1)
    no_q = (m.lead("q_mv", "I", "V6") > -0.05).all(1) & (
        m.lead("s_mv", "I", "V6") > -0.3 * m.lead("r_mv", "I", "V6")
    ).all(1)
    down = -m.lead("low_mv", "V1") > 1.5 * m.lead("high_mv", "V1")
    late = (m.lead("r_at_ms", "V5", "V6") > 60 - 5).all(1)
    return wide(m) & broad & no_q & down & late & ~paced(m)


def pre_excited(m: Measured) -> torch.Tensor:
    """Short PR, broad QRS, and a slow start of 40 ms, the delta wave."""
    return sinus_p(m) & (m.pr_ms < 120) & (m.qrs_ms >= 110 - GRACE_MS) & (m.delta_ms >= 40)


def hiding(m: Measured) -> torch.Tensor:
    """Broad complexes that hide voltage, ST, T and Q criteria; a right bundle branch block does not."""
    return (wide(m) & ~right_block(m)) | paced(m) | pre_excited(m)


def unblocked_axis(m: Measured) -> torch.Tensor:
    """(B,) degrees; in a right bundle branch block that of the first 70 ms, before the late forces."""
    return torch.where(right_block(m), m.first_axis_deg, m.axis_deg)


def left_fascicle(m: Measured) -> torch.Tensor:
    """Axis from -45 to -90 degrees, qR in aVL, rS in II, III and aVF."""
    axis = (unblocked_axis(m) <= -45 + GRACE_DEG) & (unblocked_axis(m) >= -90 - GRACE_DEG)
    qr = (m.lead("q_mv", "aVL") <= -0.03) & (m.lead("r_mv", "aVL") > 0.1)
    rs = (m.lead("r_mv", *INFERIOR) >= 0.03).all(1) & (-m.lead("s_mv", *INFERIOR) > m.lead("r_mv", *INFERIOR)).all(1)
    return axis & qr & rs & ((m.qrs_ms < 120) | right_block(m))


def left_posterior(m: Measured) -> torch.Tensor:
    """Axis from 90 to 180 degrees, rS in I and aVL, qR in III and aVF, no tall R in V1."""
    axis = (unblocked_axis(m) > 90 - GRACE_DEG) & (unblocked_axis(m) <= 180)
    rs = (m.lead("r_mv", "I", "aVL") >= 0.03).all(1) & (-m.lead("s_mv", "I", "aVL") > m.lead("r_mv", "I", "aVL")).all(1)
    qr = (m.lead("q_mv", "III", "aVF") <= -0.03).all(1) & (m.lead("r_mv", "III", "aVF") > 0.1).all(1)
    return axis & rs & qr & ((m.qrs_ms < 120) | right_block(m)) & ~right_ventricle(m)


def sokolow(m: Measured) -> torch.Tensor:
    """S in V1 plus the taller R of V5 and V6, in mV."""
    return -m.lead("low_mv", "V1") + m.lead("high_mv", "V5", "V6").amax(1)


def right_ventricle(m: Measured) -> torch.Tensor:
    """R of 0.7 mV in V1, taller than S is deep, with an axis to the right."""
    r, s = m.lead("high_mv", "V1"), -m.lead("low_mv", "V1")
    return (r >= 0.7) & (r > s) & (m.axis_deg > 90) & (m.axis_deg <= 180) & ~wide(m)


def left_atrium(m: Measured) -> torch.Tensor:
    """P of 120 ms, or a terminal part in V1 of 0.1 mV and 40 ms."""
    terminal = (m.p_terminal_mv <= -0.1) & (m.p_terminal_ms >= 40)
    return sinus_p(m) & ((m.p_ms >= 120 + 2) | terminal)


def right_atrium(m: Measured) -> torch.Tensor:
    """P of 0.25 mV in II."""
    return sinus_p(m) & (m.lead("p_mv", "II") >= 0.25)
