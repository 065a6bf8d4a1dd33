"""Does a clean signal meet the textbook? One rule per finding, on measures alone."""

from collections.abc import Callable

import torch

from ...leads import CHEST, LEADS, LIMB
from ...simulator.disease import FINDINGS
from .measures import Measured, measure_signal

# --- Which rhythm do the measured beats and P waves keep? Measured -> (B,) bool, or what its docstring says.
#
# Sources: Surawicz and Knilans, Chou's Electrocardiography, 2008; ACC/AHA/HRS bradycardia and conduction delay
# guideline (Kusumoto et al., 2018).


def rr_s(m: Measured) -> torch.Tensor:
    """(B, K - 1) RR intervals in s, NaN outside the record."""
    return m.onset_s.diff(dim=1)


def own_rr(m: Measured) -> torch.Tensor:
    """(B, K - 1) RR intervals between two beats of the dominant shape, NaN elsewhere."""
    both = m.own[:, 1:] & m.own[:, :-1]
    return torch.where(both, rr_s(m), torch.nan)


def spread(values: torch.Tensor) -> torch.Tensor:
    """(B,) standard deviation over mean of the values (B, n) that are not NaN; 0 for fewer than two."""
    there = ~values.isnan()
    n = there.sum(1).clamp(min=1)
    mean = values.nan_to_num().sum(1) / n
    square = torch.where(there, (values - mean[:, None]) ** 2, 0.0).sum(1) / n
    return (square.sqrt() / mean.clamp(min=1e-6)).nan_to_num()


def regular(m: Measured) -> torch.Tensor:
    """RR intervals between own beats vary by less than 7%."""
    return spread(own_rr(m)) < 0.07


def flutter(m: Measured) -> torch.Tensor:
    """A sawtooth without rest."""
    return ~m.flutter_hz.isnan()


def sinus_p(m: Measured) -> torch.Tensor:
    """One P of the usual shape 70 ms or more before nearly each own beat, upright in II and negative in aVR."""
    upright = (m.lead("p_top_mv", "II") > 0) & (m.lead("p_top_mv", "aVR") < 0)
    return (m.linked > 0.6) & (m.pr_ms >= 70) & upright & ~flutter(m) & ~paced(m)


def lone_p(m: Measured) -> torch.Tensor:
    """(B,) how many RR intervals hold a P wave that no QRS follows: two P waves in an interval that is too long."""
    gap = rr_s(m)
    short = gap.nanquantile(0.25, dim=1, keepdim=True)
    return ((m.p_count[:, 1:] >= 2) & (gap > 1.25 * short)).sum(1)


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


def pr_steps(m: Measured) -> torch.Tensor:
    """(B, K - 1) growth of PR from one conducted beat to the next without a lone P between, in s, NaN elsewhere."""
    plain = m.p_count[:, 1:] == 1
    return torch.where(plain, m.pr_s.diff(dim=1), torch.nan)


def dropping(m: Measured) -> torch.Tensor:
    """Single P waves without QRS in an otherwise conducted, steady atrial rhythm."""
    beats = (~m.onset_s.isnan()).sum(1)
    return (lone_p(m) >= 1) & steady_p(m) & (lone_p(m) < 0.7 * beats) & ~flutter(m) & ~paced(m)


def growing(m: Measured) -> torch.Tensor:
    """PR gets longer from beat to beat."""
    steps = pr_steps(m)
    return (steps.nanmedian(1).values > 0.015) | ((steps > 0.015).sum(1) > 0.6 * (~steps.isnan()).sum(1))


def dissociated(m: Measured) -> torch.Tensor:
    """Steady P waves, more of them than QRS complexes, at no fixed distance from them."""
    pr = m.pr_s
    mean = pr.nanmean(1, keepdim=True)
    scatter = torch.where(pr.isnan(), 0.0, (pr - mean) ** 2).sum(1) / (~pr.isnan()).sum(1).clamp(min=1)
    faster = pp_s(m) * 1.15 < rr_s(m).nanmedian(1).values
    loose = (scatter.sqrt() > 0.02) & (m.linked < 0.7)
    return steady_p(m) & faster & loose & regular(m) & (m.rate_bpm < 60) & ~paced(m)


def sinus(m: Measured) -> torch.Tensor:
    """Each own beat follows a sinus P, and no P stands alone."""
    return sinus_p(m) & ~dropping(m) & ~dissociated(m)


def paced(m: Measured) -> torch.Tensor:
    """A spike before nearly every complex."""
    return m.spike > 0.8


def early(m: Measured) -> torch.Tensor:
    """(B, K) beats that end an RR interval of less than 0.88 of the usual one."""
    gap = rr_s(m)
    usual = gap.nanmedian(1, keepdim=True).values
    soon = torch.nn.functional.pad(gap < 0.88 * usual, (1, 0))
    return soon


def ventricular(m: Measured) -> torch.Tensor:
    """(B, K) early broad beats of another shape than the dominant one, without its P wave."""
    gap = rr_s(m)
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
    """(B, K) early beats of the own shape after another P wave than the usual one."""
    return early(m) & m.own & ~m.usual_p


def irregular_sinus(m: Measured) -> torch.Tensor:
    """Sinus rhythm whose longest and shortest RR differ by over 160 ms, without premature beats."""
    gap = rr_s(m)
    high, low = torch.where(gap.isnan(), -9, gap).amax(1), torch.where(gap.isnan(), 9, gap).amin(1)
    even = ~(ventricular(m).any(1) | premature_atrial(m).any(1))
    return sinus(m) & even & (high - low > 0.16)


# --- How do the ventricles conduct, which way does the axis point, how large are the chambers? Measured -> (B,) bool.
#
# Source: AHA/ACCF/HRS recommendations for the standardization and interpretation of the electrocardiogram, parts III
# (conduction) and V (chambers), JACC 53:976 and 53:992 (2009). Durations are given a sample's grace.

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


# --- What do ST, T, U, Q and voltage say? Measured -> (B,) bool, or what its docstring says.
#
# Sources: Fourth Universal Definition of Myocardial Infarction (Circulation 138:e618, 2018); AHA/ACCF/HRS
# recommendations, part VI (JACC 53:1003, 2009); Macfarlane et al., early repolarisation (JACC 66:470, 2015). Broad
# complexes hide what they change themselves.

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


# --- The textbook's rule of each of the 48 findings, asked of what was measured: Measured -> (B,) bool.

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


# --- An independent check: does a noise-free signal satisfy the textbook rule of each finding, measured on itself?


def criteria_pass(signal: torch.Tensor, findings: torch.Tensor, hz: float = 500) -> dict[str, tuple[float, float, int]]:
    """How often a finding's rule holds where the truth has it, and fails where it has not.

    Takes noise-free signals (B, 12, L) mV and their findings (B, F) bool. Returns per code the share that passes among
    those present, the share that fails among those absent (NaN for an empty group), and the number present.
    """
    measured = measure_signal(signal, hz)
    out = {}
    for k, code in enumerate(FINDINGS):
        stated, true = RULES[code](measured), findings[:, k].to(torch.bool)
        out[code] = (stated[true].float().mean().item(), (~stated[~true]).float().mean().item(), int(true.sum()))
    return out
