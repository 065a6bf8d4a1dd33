"""The textbook's rule of each of the 48 findings, asked of what was measured: Measured -> (B,) bool."""

from collections.abc import Callable

import torch

from .conduction import (
    hiding,
    left_atrium,
    left_block,
    left_fascicle,
    left_posterior,
    pre_excited,
    right_atrium,
    right_block,
    right_ventricle,
    sokolow,
    wide,
)
from .measure import Measured
from .repolarisation import (
    anterior,
    brugada,
    flat_p_or_wide,
    hypokalaemia,
    inferior,
    lateral,
    low_voltage,
    narrow_t,
    old_infarct,
    pericarditis,
    posterior,
    repolarises_early,
    septal,
    st_depressed,
    t_inverted,
    tall_t,
)
from .rhythm import (
    bigeminal,
    dissociated,
    dropping,
    flutter,
    growing,
    irregular_sinus,
    own_rr,
    paced,
    premature_atrial,
    regular,
    sinus,
    sinus_p,
    spread,
    ventricular,
)

BROADER_THAN_FLUTTER = 160  # ms


def _rate(low: float, high: float) -> Callable[[Measured], torch.Tensor]:
    def rule(m: Measured) -> torch.Tensor:
        return sinus(m) & ~irregular_sinus(m) & (m.rate_bpm >= low) & (m.rate_bpm <= high)

    return rule


def _no_p(m: Measured) -> torch.Tensor:
    return ~sinus_p(m) & ~flutter(m) & ~paced(m) & ~dropping(m) & ~dissociated(m)


def _broad_tachycardia(m: Measured) -> torch.Tensor:
    """Regular, fast and broad without a sinus P counts as ventricular. Something else that repeats itself twice a beat
    is flutter, whose f waves make a QRS look broad, unless the QRS is broader than they ever make it."""
    fast = regular(m) & (m.rate_bpm > 100) & wide(m) & (~flutter(m) | (m.qrs_ms >= BROADER_THAN_FLUTTER))
    return fast & ~sinus_p(m) & ~paced(m) & ~dropping(m) & ~dissociated(m)


RULES: dict[str, Callable[[Measured], torch.Tensor]] = {
    "SR": _rate(60, 100),
    "SBRAD": _rate(0, 59.999),
    "STACH": _rate(100.001, 300),
    "SARRH": irregular_sinus,
    "AFIB": lambda m: _no_p(m) & (spread(own_rr(m)) > 0.09),
    "AFLT": lambda m: flutter(m) & ~paced(m) & ~_broad_tachycardia(m),
    "JUNC": lambda m: _no_p(m) & regular(m) & (m.rate_bpm >= 35) & (m.rate_bpm <= 65),
    "SVTAC": lambda m: _no_p(m) & regular(m) & (m.rate_bpm > 140) & ~wide(m),
    "VT": _broad_tachycardia,
    "PACE": lambda m: paced(m) & wide(m),
    "WENCK": lambda m: dropping(m) & ~dissociated(m) & growing(m),
    "MOB2": lambda m: dropping(m) & ~dissociated(m) & ~growing(m),
    "3AVB": dissociated,
    "1AVB": lambda m: sinus(m) & (m.pr_ms > 200),
    "PAC": lambda m: sinus(m) & premature_atrial(m).any(1),
    "PVC": lambda m: ventricular(m).any(1) & ~bigeminal(m),
    "BIGU": bigeminal,
    "CLBBB": lambda m: left_block(m) & ~pre_excited(m),
    "CRBBB": right_block,
    "LAFB": left_fascicle,
    "LPFB": left_posterior,
    "IVCD": lambda m: wide(m) & ~left_block(m) & ~right_block(m) & ~pre_excited(m) & ~paced(m) & ~_broad_tachycardia(m),
    "WPW": pre_excited,
    "LAD": lambda m: ~hiding(m) & (m.axis_deg < -30) & (m.axis_deg > -90),
    "RAD": lambda m: ~hiding(m) & (m.axis_deg > 90) & (m.axis_deg <= 180),
    "LVH": lambda m: ~hiding(m) & (sokolow(m) >= 3.5),
    "RVH": right_ventricle,
    "LAE": left_atrium,
    "RAE": right_atrium,
    "STE_ANT": anterior,
    "STE_SEP": septal,
    "STE_LAT": lateral,
    "STE_INF": inferior,
    "STE_POST": posterior,
    "STD": st_depressed,
    "TINV": t_inverted,
    "Q_ANT": old_infarct(("V2", "V3"), ("V3", "V4")),
    "Q_INF": old_infarct(("II", "aVF"), ("III", "aVF")),
    "Q_LAT": old_infarct(("I", "aVL"), ("V5", "V6")),
    "HYPT": lambda m: tall_t(m) & ~narrow_t(m),
    "HYPERK": lambda m: tall_t(m) & narrow_t(m) & flat_p_or_wide(m),
    "HYPOK": hypokalaemia,
    "LQT": lambda m: sinus(m) & (m.qtc_ms >= 480) & (m.qrs_ms < 120),
    "PERI": pericarditis,
    "EREP": lambda m: repolarises_early(m),
    "LOWV": low_voltage,
    "BRUG": brugada,
}


def normal(m: Measured) -> torch.Tensor:
    """Sinus rhythm at 60 to 100 bpm with normal intervals and axis, and none of the other rules."""
    limits = (m.pr_ms >= 118) & (m.pr_ms <= 202) & (m.qrs_ms < 114) & (m.qtc_ms < 465)
    axis = (m.axis_deg >= -30) & (m.axis_deg <= 90)
    others = torch.stack([rule(m) for code, rule in RULES.items() if code not in ("SR", "NORM")]).any(0)
    return RULES["SR"](m) & limits & axis & ~others


RULES["NORM"] = normal
