"""Does a clean signal meet the textbook? One rule per finding, on measures alone: an independent check of the truth.

Sources: rhythm from Surawicz and Knilans, Chou's Electrocardiography, 2008, and the ACC/AHA/HRS bradycardia and
conduction delay guideline (Kusumoto et al., 2018); conduction, chambers, ST and T from the AHA/ACCF/HRS
recommendations for the standardization and interpretation of the electrocardiogram, parts III, V and VI, JACC 53:976,
53:992 and 53:1003 (2009); infarcts from the Fourth Universal Definition of Myocardial Infarction, Circulation 138:e618
(2018); early repolarisation from Macfarlane et al., JACC 66:470 (2015). The numbers are the `limits` of
data/findings.json, where each has its source. Durations are given a sample's grace.
"""

import torch
from torch.nn.functional import pad

from uniecg_lite.findings import CODES, HIDES, LIMITS, LOW_SWING, Q_MS, ST_DOWN, T_INVERTED, column, st_level
from uniecg_lite.leads import CHEST, FLAT_T, LEADS, NEIGHBOURS, any_pair, in_leads

from .measures import Measured, measure_signal

GRACE_MS, GRACE_DEG = 1.0, 5.0
GRACE_MV = 0.005  # half of the hundredth of a millivolt that a reader can tell apart
INFERIOR = ("II", "III", "aVF")
FRONT = torch.tensor([name in ("V1", "V2", "V3") for name in LEADS])
LIMIT = {code: {key: number for key, (number, _) in row.items()} for code, row in LIMITS.items()}
Q_MV, Q_LEAST_MS = LIMIT["Q_ANT"]["q_mv"], Q_MS - 2  # less a sample
BROADER_THAN_FLUTTER = 160  # ms


def diagnose(m: Measured, age: torch.Tensor | None = None, female: torch.Tensor | None = None) -> dict:
    """Which findings these records have by the textbook: code -> (B,) bool, for all of `CODES`.

    Age in years and sex, (B,), decide on ST elevation, voltage and QTc; without them everybody is a man of 50.
    """
    age = torch.full_like(m.rate_bpm, 50.0) if age is None else age
    female = torch.zeros_like(m.rate_bpm).bool() if female is None else female.bool()
    found = _conduction(m, _rhythm(m), age, female)
    found |= _repolarisation(m, found, st_level(age, female))
    long_qt = m.qtc_ms > torch.where(female, LIMIT["NORM"]["qtc_women_ms"], LIMIT["NORM"]["qtc_men_ms"])
    limits = (m.pr_ms >= LIMIT["NORM"]["pr_ms"]) & (m.qrs_ms <= LIMIT["IVCD"]["qrs_ms"]) & ~long_qt
    others = torch.stack([found[code] for code in CODES if code not in ("SR", "NORM")]).any(0)
    found["NORM"] = found["SR"] & limits & (m.axis_deg > -90) & ~others
    return {code: found[code] for code in CODES}


def _rhythm(m: Measured) -> dict[str, torch.Tensor]:
    """Rhythms, blocks and ectopy, and in lower case the terms on which other rules build, too."""
    gap, lead = m.onset_s.diff(dim=1), m.lead  # (B, K - 1) s
    wide = m.qrs_ms >= LIMIT["CRBBB"]["qrs_ms"] - GRACE_MS
    slow, fast = LIMIT["SBRAD"]["rate_bpm"], LIMIT["STACH"]["rate_bpm"]
    flutter, paced = ~m.flutter_hz.isnan(), m.spike > 0.8  # a sawtooth without rest; a spike before nearly every QRS
    # sinus P: one of the usual shape 70 ms or more before nearly each own beat, upright in II and negative in aVR
    upright = (lead("p_top_mv", "II") > 0) & (lead("p_top_mv", "aVR") < 0)
    sinus_p = (m.linked > 0.6) & (m.pr_ms >= 70) & upright & ~flutter & ~paced

    # regular: RR intervals between own beats vary by less than 7% (standard deviation over mean; 0 below two)
    both = m.own[:, 1:] & m.own[:, :-1]
    even = torch.where(both, gap, torch.nan)
    mean = even.nanmean(1, keepdim=True)
    spread = ((even - mean).square().nanmean(1).sqrt() / mean[:, 0]).nan_to_num()
    regular = spread < 0.07

    dropping, growing, dissociated = _second_and_third_degree(m, gap, regular)
    dropping, dissociated = dropping & ~flutter & ~paced, dissociated & ~paced
    ventricular, bigeminal, atrial = _ectopy(m, gap)
    deep_end = (m.p_terminal_mv <= -LIMIT["LAE"]["terminal_mv"]) & (m.p_terminal_ms >= LIMIT["LAE"]["terminal_ms"])
    sinus = sinus_p & ~dropping & ~dissociated
    range_s = torch.where(gap.isnan(), -9, gap).amax(1) - torch.where(gap.isnan(), 9, gap).amin(1)
    irregular = sinus & ~(ventricular.any(1) | atrial.any(1)) & (1000 * range_s > LIMIT["SARRH"]["range_ms"])
    plain, conducted = sinus & ~irregular, ~paced & ~dropping & ~dissociated
    no_p = ~sinus_p & ~flutter & conducted
    # Regular, fast and broad without a sinus P counts as ventricular. Something else that repeats itself twice a beat
    # is flutter, whose f waves make a QRS look broad, unless the QRS is broader than they ever make it.
    tachycardia = regular & (m.rate_bpm > 100) & wide & ~sinus_p & conducted
    tachycardia &= ~flutter | (m.qrs_ms >= BROADER_THAN_FLUTTER)
    return {
        "SR": plain & (m.rate_bpm >= slow) & (m.rate_bpm <= fast),
        "SBRAD": plain & (m.rate_bpm < slow),
        "STACH": plain & (m.rate_bpm > fast),
        "SARRH": irregular,
        "AFIB": no_p & (spread > 0.09),
        "AFLT": flutter & ~paced & ~tachycardia,
        "JUNC": no_p & regular & (m.rate_bpm >= 35) & (m.rate_bpm <= 65),
        "SVTAC": no_p & regular & (m.rate_bpm > 140) & ~wide,
        "VT": tachycardia,
        "PACE": paced & wide,
        "WENCK": dropping & ~dissociated & growing,
        "MOB2": dropping & ~dissociated & ~growing,
        "3AVB": dissociated,
        "1AVB": sinus & (m.pr_ms > LIMIT["1AVB"]["pr_ms"]),
        "PAC": sinus & atrial.any(1),
        "PVC": ventricular.any(1) & ~bigeminal,
        "BIGU": bigeminal,
        "LAE": sinus_p & deep_end & (m.p_ms >= LIMIT["LAE"]["p_ms"] - 3 * GRACE_MS),  # where P sinks into the base line
        "RAE": sinus_p & (lead("p_mv", "II") >= LIMIT["RAE"]["p_mv"]),
        "LQT": sinus & (m.qtc_ms >= LIMIT["LQT"]["qtc_ms"]),  # but beside a broad QRS, see `_conduction`
        "sinus_p": sinus_p,
        "paced": paced,
        "wide": wide,
    }


def _second_and_third_degree(m: Measured, gap: torch.Tensor, regular: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Beats dropped, PR growing before that, atria and ventricles apart: RR intervals (B, K - 1) s -> (B,) each."""
    # steady P: at one rate between 40 and 160 bpm; one may be hidden now and then
    p_gap = pad(m.p_onset_s, (0, 2), value=torch.nan).diff(dim=1)
    pp = p_gap.nanmedian(1, keepdim=True).values
    off = (p_gap / (p_gap / pp).round().clamp(min=1) / pp - 1).abs()
    share, pp = (off < 0.10).sum(1) / (~off.isnan()).sum(1).clamp(min=1), pp[:, 0]
    steady_p = (share > 0.75) & ((~m.p_onset_s.isnan()).sum(1) >= 4) & (pp > 0.375) & (pp < 1.5)
    # dropping: single P waves without QRS in an otherwise conducted rhythm, two P waves in a long RR interval
    long = gap > 1.25 * gap.nanquantile(0.25, dim=1, keepdim=True)
    alone = ((m.p_count[:, 1:] >= 2) & long).sum(1)
    dropping = (alone >= 1) & steady_p & (alone < 0.7 * (~m.onset_s.isnan()).sum(1))
    # growing: PR gets longer from beat to beat, where no lone P lies between two
    steps = torch.where(m.p_count[:, 1:] == 1, m.pr_s.diff(dim=1), torch.nan)
    growing = (steps.nanmedian(1).values > 0.015) | ((steps > 0.015).sum(1) > 0.6 * (~steps.isnan()).sum(1))
    # dissociated: steady P waves, more of them than QRS complexes, at no fixed distance from them
    scatter = ((m.pr_s - m.pr_s.nanmean(1, keepdim=True)) ** 2).nanmean(1).sqrt()
    faster, loose = pp * 1.15 < gap.nanmedian(1).values, (scatter > 0.02) & (m.linked < 0.7)
    dissociated = steady_p & faster & loose & regular & (m.rate_bpm < 60)
    return dropping, growing, dissociated


def _ectopy(m: Measured, gap: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Which beats come early from a ventricle (B, K), every second one (B,), early from the atria (B, K)."""
    # ventricular (B, K): early broad beats of another shape than the dominant one, without its P wave
    before, after = pad(gap, (1, 0), value=torch.nan), pad(gap, (0, 1), value=torch.nan)
    ventricular = ~m.own & ~m.usual_p & (m.beat_ms >= 110) & ~(before > after)
    # in bigeminy own and ventricular beats take turns throughout; one that an end of the record cuts is not judged
    there = ~m.onset_s.isnan() & (m.own | ~m.beat_ms.isnan())
    both = there[:, 1:] & there[:, :-1]
    turns = (ventricular[:, 1:] != ventricular[:, :-1]) & both
    bigeminal = (ventricular.sum(1) >= 2) & (turns.sum(1) >= 0.85 * both.sum(1))
    # atrial (B, K): own shape, earlier than 0.88 of the usual RR, after another P wave than the usual one
    atrial = (before < 0.88 * gap.nanmedian(1, keepdim=True).values) & m.own & ~m.usual_p
    return ventricular, bigeminal, atrial


def _conduction(m: Measured, found: dict[str, torch.Tensor], age, female) -> dict[str, torch.Tensor]:
    """Bundle branch and fascicular blocks, pre-excitation, axis and ventricles added to the findings of `_rhythm`."""
    lead, paced, wide = m.lead, found["paced"], found["wide"]
    r, s = lead("r_mv", "I", "V6"), lead("s_mv", "I", "V6")
    r_ms, s_ms = lead("r_ms", "I", "V6"), lead("s_ms", "I", "V6")
    high, low = lead("high_mv", "V1"), -lead("low_mv", "V1")
    # right: late forces to the right and front, R' (or a late R) in V1 or V2, broad S in I and V6
    late = lead("late_mv", "V1", "V2") > 0.05
    right_block = wide & late.any(1) & ((s_ms > r_ms) | (s_ms >= 40)).all(1) & ~paced
    # incomplete: the same late forces within 120 ms, a second R beside an S
    second = (late & (lead("low_mv", "V1", "V2") < -0.05)).any(1)
    partial = (m.qrs_ms >= LIMIT["IRBBB"]["qrs_ms"] - GRACE_MS) & ~wide & second & ~paced
    # left: broad R without q in I and V6, which peaks after 60 ms in V5 and V6, and rS or QS in V1
    no_q = ((lead("q_mv", "I", "V6") > -0.05) & (s > -0.3 * r)).all(1)
    late = (lead("r_at_ms", "V5", "V6") > 60 - 5).all(1)
    left_block = wide & (r_ms >= 60).all(1) & no_q & (low > 1.5 * high) & late & ~paced
    # short PR, broad QRS, and a slow start of 40 ms, the delta wave
    pre_excited = found["sinus_p"] & (m.pr_ms < LIMIT["WPW"]["pr_ms"]) & (m.delta_ms >= 40)
    pre_excited &= m.qrs_ms >= LIMIT["WPW"]["qrs_ms"] - GRACE_MS
    # broad complexes hide voltage, ST, T and Q criteria; a right bundle branch block does not
    delay = (m.qrs_ms > LIMIT["IVCD"]["qrs_ms"]) & ~(left_block | right_block | partial | found["AFLT"])
    delay &= ~(second & (m.qrs_ms < 126))  # nearly a right block, on its limit
    clear = ~(left_block | delay | (wide & found["AFLT"]) | paced | pre_excited)
    # R of 0.6 mV in V1, taller than S is deep, with an axis to the right
    right_axis = (m.axis_deg > LIMIT["RAD"]["axis_deg"]) & (m.axis_deg <= 180)
    right_ventricle = (high >= LIMIT["RVH"]["r_v1_mv"]) & (high > low) & right_axis & ~wide & ~partial
    # voltage by Sokolow and Lyon or by Cornell's sum; in the young only with strain
    sum_mv = lead("high_mv", "aVL") - lead("low_mv", "V3")
    voltage = lead("high_mv", "V5", "V6").amax(1) + low >= LIMIT["LVH"]["sokolow_mv"]
    voltage |= sum_mv >= torch.where(female, LIMIT["LVH"]["cornell_women_mv"], LIMIT["LVH"]["cornell_men_mv"])
    strain = (lead("t_mv", "V5", "V6") <= T_INVERTED).all(1)
    # fascicular blocks: in a right bundle branch block the axis of the first 70 ms counts, before the late forces
    axis = torch.where(right_block, m.first_axis_deg, m.axis_deg)

    def fascicle(begins_r: tuple[str, ...], begins_q: tuple[str, ...]) -> torch.Tensor:
        """rS in some leads, qR in others, and neither a broad QRS nor a left block."""
        r, s = lead("r_mv", *begins_r), -lead("s_mv", *begins_r)
        qr = (in_leads(m.q_mv, *begins_q) <= -0.03) & (in_leads(m.r_mv, *begins_q) > 0.1)
        return ((r >= 0.03) & (s > r)).all(1) & qr.all(1) & ((m.qrs_ms < 120) | right_block)

    anterior = (axis <= LIMIT["LAFB"]["axis_deg"] + GRACE_DEG) & (axis >= -90 - GRACE_DEG)
    posterior = (axis > LIMIT["LPFB"]["axis_deg"] - GRACE_DEG) & (axis <= 180) & ~right_ventricle
    return found | {
        "CLBBB": left_block & ~pre_excited,
        "CRBBB": right_block,
        "IRBBB": partial,
        "LAFB": anterior & fascicle(INFERIOR, ("aVL",)),
        "LPFB": posterior & fascicle(("I", "aVL"), ("III", "aVF")),
        "IVCD": delay & ~pre_excited & ~paced & ~found["VT"],
        "WPW": pre_excited,
        "LAD": clear & (m.axis_deg < LIMIT["LAD"]["axis_deg"]) & (m.axis_deg > -90),
        "RAD": clear & right_axis,
        "LQT": found["LQT"] & clear & ~wide,
        "LVH": clear & voltage & ((age >= LIMIT["LVH"]["years"]) | strain),
        "RVH": right_ventricle,
        "LOWV": clear & (m.high_mv - m.low_mv < LOW_SWING).all(1),
        "clear": clear,
    }


def _repolarisation(m: Measured, found: dict[str, torch.Tensor], level: torch.Tensor) -> dict[str, torch.Tensor]:
    """What ST, T, U and Q say where no broad complex hides what it changes itself; ST is up from `level` (B, 12) mV."""
    lead, clear, block = m.lead, found["clear"], found["CRBBB"] | found["IRBBB"]
    # pericarditis: ST up in five or more leads of limb and chest, down in aVR, and PR depressed in II
    up = m.st_mv >= 0.05
    limb, chest = in_leads(up, "I", "II", "III", "aVL", "aVF").sum(1), in_leads(up, *CHEST).sum(1)
    reverse = (lead("st_mv", "aVR") < -0.03) & (lead("pr_segment_mv", "II") <= -0.03)
    pericarditis = clear & (limb >= 2) & (chest >= 2) & (limb + chest >= 5) & reverse & found["sinus_p"]
    # Brugada, coved: J at 0.2 mV or more in V1 or V2, falling all the way into an inverted T wave
    j, st60, t = (lead(key, "V1", "V2") for key in ("j_mv", "st60_mv", "t_mv"))
    brugada = clear & ((j >= LIMIT["BRUG"]["j_mv"] - GRACE_MV) & (st60 < j) & (t < -0.05)).any(1) & ~found["CRBBB"]
    # early repolarisation: a notch of 0.1 mV at the end of R in two inferior or lateral leads, QRS under 120 ms
    notched = m.notch_mv >= LIMIT["EREP"]["notch_mv"]
    notch = (in_leads(notched, *INFERIOR).sum(1) >= 2) | (in_leads(notched, "I", "aVL", "V5", "V6").sum(1) >= 2)
    early = clear & notch & (m.qrs_ms < 120)
    local = clear & ~pericarditis & ~brugada & ~early  # ST deviation may mean a wall here

    up = m.st_mv >= level - GRACE_MV
    anterior = local & in_leads(up, "V3", "V4").all(1)
    # posterior is the mirror image of the back wall: ST down in V1 to V3, upright T, R taller than S is deep
    down = (lead("st_mv", "V1", "V2", "V3") <= -LIMIT["STE_POST"]["st_mv"]).all(1)
    mirrored = down & (lead("t_mv", "V2", "V3") > 0.05).all(1)
    mirrored &= (lead("high_mv", "V2", "V3") > -lead("low_mv", "V2", "V3")).any(1)
    walls = {
        "STE_ANT": anterior,
        "STE_SEP": local & in_leads(up, "V1", "V2").all(1),
        "STE_LAT": local & any_pair(up, (("I", "aVL"), ("V5", "V6"))) & ~anterior,
        "STE_INF": local & (in_leads(up, *INFERIOR).sum(1) >= 2),
        "STE_POST": local & mirrored & ~block,
    }
    injured = torch.stack(list(walls.values())).any(0)
    inverted = (m.t_mv <= T_INVERTED + GRACE_MV) & ~(block[:, None] & FRONT)
    # Q of 30 ms and 0.1 mV (20 ms in V2 and V3), or a QS
    q = ((m.q_mv <= -Q_MV + GRACE_MV) & (m.q_ms >= Q_LEAST_MS)) | ((m.q_mv < -Q_MV) & (m.r_mv < 0.03))
    old = {code: any_pair(q, pairs) & clear & ~found["RVH"] for code, pairs in column("q_pairs").items()}
    # T of 1.0 mV in two of V2 to V5; narrow where its half width is under a quarter of QT
    tall_t = clear & ((lead("t_mv", "V2", "V3", "V4", "V5") >= LIMIT["HYPT"]["t_mv"] - 0.03).sum(1) >= 2)
    narrow = m.t_half_ms < 0.24 * m.qt_ms
    flat_p = m.pr_ms.isnan() | (m.p_mv.nan_to_num().abs().amax(1) < 0.05)
    # U larger than T, or of 0.1 mV beside a flat T, in two of V2 to V4
    u, t = lead("u_mv", "V2", "V3", "V4"), lead("t_mv", "V2", "V3", "V4").abs()
    large_u = (((u > t) | ((u >= 0.1) & (t < 0.15))).sum(1) >= 2) & (u.amax(1) > 0.05)
    found |= walls | old
    found |= {
        "IRBBB": found["IRBBB"] & ~brugada,  # its r' is no block's
        "STD": local & ~injured & any_pair(m.st_mv <= ST_DOWN + GRACE_MV, NEIGHBOURS),
        "TINV": clear & ~brugada & any_pair(inverted, NEIGHBOURS[:6]),
        "HYPT": tall_t & ~narrow,
        "HYPERK": tall_t & narrow & (flat_p | (m.qrs_ms >= 110)),
        "HYPOK": clear & large_u,
        "PERI": pericarditis,
        "EREP": early,
        "BRUG": brugada,
    }
    # non-specific: ST a little down, or T flat beside an R, where nothing else explains it
    flat = (m.t_mv.abs() <= LIMIT["NST"]["t_mv"]) & (m.high_mv >= LIMIT["NST"]["r_mv"])
    low = any_pair(m.st_mv <= -LIMIT["NST"]["st_mv"], NEIGHBOURS)
    sinus = torch.stack([found[code] for code in column("sinus")]).any(0)
    explained = torch.stack([found[code] for code in HIDES if "NST" in HIDES[code]]).any(0)
    return found | {"NST": sinus & local & ~explained & (low | any_pair(flat, FLAT_T))}


def criteria_pass(
    signal: torch.Tensor, findings: torch.Tensor, hz: float = 500, truth: dict[str, torch.Tensor] | None = None
) -> dict[str, tuple[float, float, int]]:
    """How often a finding's rule holds where the truth has it, and fails where it has not.

    Takes noise-free signals (B, 12, L) mV and their findings (B, F) bool; with the rest of their truth, age and sex
    count, and a finding is not judged where it is borderline. Returns per code the share that passes among those
    present, the share that fails among those absent (NaN for an empty group), and the number present.
    """
    truth = truth or {}
    grey = truth.get("borderline", torch.zeros_like(findings)).bool()
    found, out = diagnose(measure_signal(signal, hz), truth.get("age"), truth.get("female")), {}
    for code, true, unsure in zip(CODES, findings.bool().T, grey.T):
        present, absent = found[code][true & ~unsure], ~found[code][~true & ~unsure]
        out[code] = (present.float().mean().item(), absent.float().mean().item(), len(present))
    return out
