"""Does a clean signal meet the textbook? One rule per finding, on measures alone: an independent check of the truth.

Unless its docstring says otherwise a function takes `Measured` and returns (B,) bool. Sources: rhythm from Surawicz and
Knilans, Chou's Electrocardiography, 2008, and the ACC/AHA/HRS bradycardia and conduction delay guideline (Kusumoto et
al., 2018); conduction, chambers, ST and T from the AHA/ACCF/HRS recommendations for the standardization and
interpretation of the electrocardiogram, parts III, V and VI, JACC 53:976, 53:992 and 53:1003 (2009); infarcts from the
Fourth Universal Definition of Myocardial Infarction, Circulation 138:e618 (2018); early repolarisation from Macfarlane
et al., JACC 66:470 (2015). Durations are given a sample's grace.
"""

from collections.abc import Callable

import torch

from ...findings import CODES, LOW_SWING, ST_LEVEL, column
from ...leads import CHEST, LEADS, NEIGHBOURS, any_pair, in_leads
from .measures import Measured, measure_signal

Rule = Callable[[Measured], torch.Tensor]
GRACE_MS, GRACE_DEG = 1.0, 5.0
GRACE_MV = 0.005  # half of the hundredth of a millivolt that a reader can tell apart
INFERIOR = ("II", "III", "aVF")
LATERAL = ("I", "aVL", "V5", "V6")
BROADER_THAN_FLUTTER = 160  # ms

# --- Which rhythm do the measured beats and P waves keep?


def rr_spread(m: Measured) -> torch.Tensor:
    """(B,) standard deviation over mean of the RR intervals between two beats of the dominant shape; 0 below two."""
    there = m.own[:, 1:] & m.own[:, :-1]
    gap, n = torch.where(there, m.onset_s.diff(dim=1), 0.0), there.sum(1).clamp(min=1)
    mean = gap.sum(1) / n
    square = torch.where(there, (gap - mean[:, None]) ** 2, 0.0).sum(1) / n
    return (square.sqrt() / mean.clamp(min=1e-6)).nan_to_num()


def regular(m: Measured) -> torch.Tensor:
    """RR intervals between own beats vary by less than 7%."""
    return rr_spread(m) < 0.07


def flutter(m: Measured) -> torch.Tensor:
    """A sawtooth without rest."""
    return ~m.flutter_hz.isnan()


def sinus_p(m: Measured) -> torch.Tensor:
    """One P of the usual shape 70 ms or more before nearly each own beat, upright in II and negative in aVR."""
    upright = (m.lead("p_top_mv", "II") > 0) & (m.lead("p_top_mv", "aVR") < 0)
    return (m.linked > 0.6) & (m.pr_ms >= 70) & upright & ~flutter(m) & ~paced(m)


def pp_s(m: Measured) -> torch.Tensor:
    """(B,) the usual PP interval in s, NaN without P waves."""
    return m.p_onset_s.diff(dim=1).nanmedian(1).values if m.p_onset_s.shape[1] > 1 else torch.full((len(m),), torch.nan)


def steady_p(m: Measured) -> torch.Tensor:
    """P waves come at one steady rate between 40 and 160 bpm; one may be hidden now and then."""
    if m.p_onset_s.shape[1] < 3:
        return torch.zeros(len(m), dtype=torch.bool)
    gap, usual = m.p_onset_s.diff(dim=1), pp_s(m)[:, None]
    steps = (gap / usual).round().clamp(min=1)
    off = (gap / steps / usual - 1).abs()
    share = ((off < 0.10) & ~off.isnan()).sum(1) / (~off.isnan()).sum(1).clamp(min=1)
    count = (~m.p_onset_s.isnan()).sum(1)
    return (share > 0.75) & (count >= 4) & (usual[:, 0] > 0.375) & (usual[:, 0] < 1.5)


def dropping(m: Measured) -> torch.Tensor:
    """Single P waves without QRS in an otherwise conducted, steady atrial rhythm: two P waves in a long RR interval."""
    gap, beats = m.onset_s.diff(dim=1), (~m.onset_s.isnan()).sum(1)
    long = gap > 1.25 * gap.nanquantile(0.25, dim=1, keepdim=True)
    alone = ((m.p_count[:, 1:] >= 2) & long).sum(1)
    return (alone >= 1) & steady_p(m) & (alone < 0.7 * beats) & ~flutter(m) & ~paced(m)


def growing(m: Measured) -> torch.Tensor:
    """PR gets longer from beat to beat."""
    steps = torch.where(m.p_count[:, 1:] == 1, m.pr_s.diff(dim=1), torch.nan)  # no lone P between two beats
    return (steps.nanmedian(1).values > 0.015) | ((steps > 0.015).sum(1) > 0.6 * (~steps.isnan()).sum(1))


def dissociated(m: Measured) -> torch.Tensor:
    """Steady P waves, more of them than QRS complexes, at no fixed distance from them."""
    pr = m.pr_s
    mean = pr.nanmean(1, keepdim=True)
    scatter = torch.where(pr.isnan(), 0.0, (pr - mean) ** 2).sum(1) / (~pr.isnan()).sum(1).clamp(min=1)
    faster = pp_s(m) * 1.15 < m.onset_s.diff(dim=1).nanmedian(1).values
    loose = (scatter.sqrt() > 0.02) & (m.linked < 0.7)
    return steady_p(m) & faster & loose & regular(m) & (m.rate_bpm < 60) & ~paced(m)


def sinus(m: Measured) -> torch.Tensor:
    """Each own beat follows a sinus P, and no P stands alone."""
    return sinus_p(m) & ~dropping(m) & ~dissociated(m)


def paced(m: Measured) -> torch.Tensor:
    """A spike before nearly every complex."""
    return m.spike > 0.8


def ventricular(m: Measured) -> torch.Tensor:
    """(B, K) early broad beats of another shape than the dominant one, without its P wave."""
    gap = m.onset_s.diff(dim=1)
    last = torch.full_like(gap[:, :1], torch.nan)
    before, after = torch.cat([last, gap], 1), torch.cat([gap, last], 1)
    return ~m.own & ~m.usual_p & (m.beat_ms >= 110) & ~(before > after)


def bigeminal(m: Measured) -> torch.Tensor:
    """Own and ventricular beats take turns throughout; one that an end of the record cuts is not judged."""
    v = ventricular(m)
    there = ~m.onset_s.isnan() & (m.own | ~m.beat_ms.isnan())
    both = there[:, 1:] & there[:, :-1]
    turns = (v[:, 1:] != v[:, :-1]) & both
    return (v.sum(1) >= 2) & (turns.sum(1) >= 0.85 * both.sum(1))


def premature_atrial(m: Measured) -> torch.Tensor:
    """(B, K) beats of the own shape, earlier than 0.88 of the usual RR, after another P wave than the usual one."""
    gap = m.onset_s.diff(dim=1)
    early = torch.nn.functional.pad(gap < 0.88 * gap.nanmedian(1, keepdim=True).values, (1, 0))
    return early & m.own & ~m.usual_p


def irregular_sinus(m: Measured) -> torch.Tensor:
    """Sinus rhythm whose longest and shortest RR differ by over 160 ms, without premature beats."""
    gap = m.onset_s.diff(dim=1)
    high, low = torch.where(gap.isnan(), -9, gap).amax(1), torch.where(gap.isnan(), 9, gap).amin(1)
    even = ~(ventricular(m).any(1) | premature_atrial(m).any(1))
    return sinus(m) & even & (high - low > 0.16)


# --- How do the ventricles conduct, which way does the axis point, how large are the chambers?


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
    s, r = m.lead("s_mv", "I", "V6"), m.lead("r_mv", "I", "V6")
    no_q = ((m.lead("q_mv", "I", "V6") > -0.05) & (s > -0.3 * r)).all(1)
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


def right_ventricle(m: Measured) -> torch.Tensor:
    """R of 0.7 mV in V1, taller than S is deep, with an axis to the right."""
    r, s = m.lead("high_mv", "V1"), -m.lead("low_mv", "V1")
    return (r >= 0.7) & (r > s) & (m.axis_deg > 90) & (m.axis_deg <= 180) & ~wide(m)


# --- What do ST, T, U, Q and voltage say? Broad complexes hide what they change themselves.


def pericarditis(m: Measured) -> torch.Tensor:
    """ST up in five or more leads of limb and chest, down in aVR, and PR depressed in II."""
    up = m.st_mv >= 0.05
    limb, chest = in_leads(up, "I", "II", "III", "aVL", "aVF").sum(1), in_leads(up, *CHEST).sum(1)
    reverse = (m.lead("st_mv", "aVR") < -0.03) & (m.lead("pr_segment_mv", "II") <= -0.03)
    return (limb >= 2) & (chest >= 2) & (limb + chest >= 5) & reverse & sinus_p(m) & ~hiding(m)


def brugada(m: Measured) -> torch.Tensor:
    """Coved: J at 0.2 mV or more in V1 or V2, falling all the way into an inverted T wave."""
    j, st60, t = m.lead("j_mv", "V1", "V2"), m.lead("st60_mv", "V1", "V2"), m.lead("t_mv", "V1", "V2")
    return ((j >= 0.2 - GRACE_MV) & (st60 < j) & (t < -0.05)).any(1) & ~right_block(m) & ~hiding(m)


def repolarises_early(m: Measured) -> torch.Tensor:
    """A notch of 0.1 mV at the end of R in two inferior or two lateral leads, with a QRS under 120 ms."""
    notch = m.notch_mv >= 0.1
    lateral = in_leads(notch, *LATERAL).sum(1) >= 2
    return ((in_leads(notch, *INFERIOR).sum(1) >= 2) | lateral) & (m.qrs_ms < 120) & ~hiding(m)


def local(m: Measured) -> torch.Tensor:
    """ST deviation may mean a wall here: nothing hides it and it is not that of another disease."""
    return ~hiding(m) & ~pericarditis(m) & ~brugada(m) & ~repolarises_early(m)


def walls(m: Measured) -> dict[str, torch.Tensor]:
    """Which wall is injured, by code. ST up in V3 and V4: anterior; in V1 and V2: septal; in I and aVL or in V5 and V6,
    but not anterior: lateral; in two of II, III and aVF: inferior. Posterior is the mirror image of the back wall: ST
    down in V1 to V3 with upright T and an R there that is taller than S is deep.
    """
    up, here = m.st_mv >= ST_LEVEL - GRACE_MV, local(m)
    anterior = here & in_leads(up, "V3", "V4").all(1)
    down = (m.lead("st_mv", "V1", "V2", "V3") <= -0.05).all(1)
    tall = (m.lead("high_mv", "V2", "V3") > -m.lead("low_mv", "V2", "V3")).any(1)
    return {
        "STE_ANT": anterior,
        "STE_SEP": here & in_leads(up, "V1", "V2").all(1),
        "STE_LAT": here & any_pair(up, (("I", "aVL"), ("V5", "V6"))) & ~anterior,
        "STE_INF": here & (in_leads(up, *INFERIOR).sum(1) >= 2),
        "STE_POST": here & down & tall & (m.lead("t_mv", "V2", "V3") > 0.05).all(1) & ~right_block(m),
    }


def wall(code: str) -> Rule:
    """The rule of an injured wall."""
    return lambda m: walls(m)[code]


def st_depressed(m: Measured) -> torch.Tensor:
    """ST down in two neighbour leads, and not as the mirror image of an elevation."""
    return local(m) & ~torch.stack(list(walls(m).values())).any(0) & any_pair(m.st_mv <= -0.1 + GRACE_MV, NEIGHBOURS)


def t_inverted(m: Measured) -> torch.Tensor:
    """T of -0.1 mV or less in two neighbour leads; in a right bundle branch block V1 to V3 do not count."""
    down = m.t_mv <= -0.1 + GRACE_MV
    down = down & ~(right_block(m)[:, None] & torch.tensor([name in ("V1", "V2", "V3") for name in LEADS]))
    return ~hiding(m) & ~brugada(m) & any_pair(down, NEIGHBOURS[:6])


def q_waves(m: Measured) -> torch.Tensor:
    """(B, 12) Q of 30 ms and 0.1 mV (20 ms in V2 and V3), or a QS."""
    least = torch.full((12,), 30.0 - 2)
    least[[7, 8]] = 20.0 - 2
    qs = (m.q_mv < -0.1) & (m.r_mv < 0.03)
    return ((m.q_mv <= -0.1 + GRACE_MV) & (m.q_ms >= least)) | qs


def old_infarct(code: str) -> Rule:
    """The rule of an old infarct: a pathological Q in both leads of one of its pairs, which nothing hides."""
    return lambda m: any_pair(q_waves(m), column("q_pairs")[code]) & ~hiding(m) & ~right_ventricle(m)


def tall_t(m: Measured) -> torch.Tensor:
    """T of 1.0 mV in two of V2 to V5."""
    return ~hiding(m) & (m.lead("t_mv", "V2", "V3", "V4", "V5") >= 1.0 - 0.03).sum(1).ge(2)


def narrow_t(m: Measured) -> torch.Tensor:
    """T whose half width is under a quarter of QT."""
    return m.t_half_ms < 0.24 * m.qt_ms


def hyperkalaemia(m: Measured) -> torch.Tensor:
    """Tall and narrow T, beside P under 0.05 mV or none, or a QRS of 110 ms."""
    flat = m.pr_ms.isnan() | (m.p_mv.nan_to_num().abs().amax(1) < 0.05)
    return tall_t(m) & narrow_t(m) & (flat | (m.qrs_ms >= 110))


def hypokalaemia(m: Measured) -> torch.Tensor:
    """U larger than T, or of 0.1 mV beside a flat T, in two of V2 to V4."""
    u, t = m.lead("u_mv", "V2", "V3", "V4"), m.lead("t_mv", "V2", "V3", "V4").abs()
    return ((u > t) | ((u >= 0.1) & (t < 0.15))).sum(1).ge(2) & (u.amax(1) > 0.05) & ~hiding(m)


# --- The textbook's rule of each finding.


def _rate(low: float, high: float) -> Rule:
    return lambda m: sinus(m) & ~irregular_sinus(m) & (m.rate_bpm >= low) & (m.rate_bpm <= high)


def _no_p(m: Measured) -> torch.Tensor:
    return ~sinus_p(m) & ~flutter(m) & ~paced(m) & ~dropping(m) & ~dissociated(m)


def _broad_tachycardia(m: Measured) -> torch.Tensor:
    """Regular, fast and broad without a sinus P counts as ventricular. Something else that repeats itself twice a beat
    is flutter, whose f waves make a QRS look broad, unless the QRS is broader than they ever make it."""
    fast = regular(m) & (m.rate_bpm > 100) & wide(m) & (~flutter(m) | (m.qrs_ms >= BROADER_THAN_FLUTTER))
    return fast & ~sinus_p(m) & ~paced(m) & ~dropping(m) & ~dissociated(m)


def normal(m: Measured) -> torch.Tensor:
    """Sinus rhythm at 60 to 100 bpm with normal intervals and axis, and none of the other rules."""
    limits = (m.pr_ms >= 118) & (m.pr_ms <= 202) & (m.qrs_ms < 114) & (m.qtc_ms < 465)
    axis = (m.axis_deg >= -30) & (m.axis_deg <= 90)
    others = torch.stack([rule(m) for code, rule in RULES.items() if code not in ("SR", "NORM")]).any(0)
    return RULES["SR"](m) & limits & axis & ~others


RULES: dict[str, Rule] = {
    "SR": _rate(60, 100),
    "SBRAD": _rate(0, 59.999),
    "STACH": _rate(100.001, 300),
    "SARRH": irregular_sinus,
    "AFIB": lambda m: _no_p(m) & (rr_spread(m) > 0.09),
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
    "LVH": lambda m: ~hiding(m) & (m.lead("high_mv", "V5", "V6").amax(1) - m.lead("low_mv", "V1") >= 3.5),
    "RVH": right_ventricle,
    "LAE": lambda m: sinus_p(m) & ((m.p_ms >= 120 + 2) | ((m.p_terminal_mv <= -0.1) & (m.p_terminal_ms >= 40))),
    "RAE": lambda m: sinus_p(m) & (m.lead("p_mv", "II") >= 0.25),
    "STE_ANT": wall("STE_ANT"),
    "STE_SEP": wall("STE_SEP"),
    "STE_LAT": wall("STE_LAT"),
    "STE_INF": wall("STE_INF"),
    "STE_POST": wall("STE_POST"),
    "STD": st_depressed,
    "TINV": t_inverted,
    "Q_ANT": old_infarct("Q_ANT"),
    "Q_INF": old_infarct("Q_INF"),
    "Q_LAT": old_infarct("Q_LAT"),
    "HYPT": lambda m: tall_t(m) & ~narrow_t(m),
    "HYPERK": hyperkalaemia,
    "HYPOK": hypokalaemia,
    "LQT": lambda m: sinus(m) & (m.qtc_ms >= 480) & (m.qrs_ms < 120),
    "PERI": pericarditis,
    "EREP": repolarises_early,
    "LOWV": lambda m: ~hiding(m) & (m.high_mv - m.low_mv < LOW_SWING).all(1),
    "BRUG": brugada,
    "NORM": normal,
}


def criteria_pass(signal: torch.Tensor, findings: torch.Tensor, hz: float = 500) -> dict[str, tuple[float, float, int]]:
    """How often a finding's rule holds where the truth has it, and fails where it has not.

    Takes noise-free signals (B, 12, L) mV and their findings (B, F) bool. Returns per code the share that passes among
    those present, the share that fails among those absent (NaN for an empty group), and the number present.
    """
    measured = measure_signal(signal, hz)
    out = {}
    for k, code in enumerate(CODES):
        stated, true = RULES[code](measured), findings[:, k].to(torch.bool)
        out[code] = (stated[true].float().mean().item(), (~stated[~true]).float().mean().item(), int(true.sum()))
    return out
