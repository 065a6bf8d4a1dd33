"""What is true about this heart? Measured on its own noise-free beat, by the textbook's rules (data/findings.json)."""

import torch
import torch.nn.functional as F

from ..findings import CODES, HIDES, INJURY, LIMITS, LOW_SWING, OTHER_ST, Q_MS, SINUS, column, st_level
from ..leads import FLAT_T, LEADS, NEIGHBOURS, any_pair, from_independent, in_leads
from .hearts import Hearts, beat_signal
from .schedule import ATRIAL, NO_P, VENTRICULAR, Beats
from .waves import V1, curve

_POINTS = 64
ZONE = torch.tensor([1.0, 0.0, -1.0])  # surely, by the number, at most: by how many grey zones a limit moves


def reaches(value: torch.Tensor, limit, grey, below: bool = False) -> torch.Tensor:
    """Is a value at or over a limit, or, with `below`, at or under it? (...,) -> (..., 3) bool.

    Three answers: beyond the grey zone, by the number, and with the grey zone counted in. A finding whose first and
    last answer differ is borderline: within the tolerance of measuring nobody can tell. Limits may be (...,) too.
    """
    by, limit = torch.as_tensor(grey)[..., None] * ZONE, torch.as_tensor(limit)[..., None]
    return value[..., None] <= limit - by if below else value[..., None] >= limit + by


def at(code: str, key: str, value: torch.Tensor, below: bool = False) -> torch.Tensor:
    """`reaches` for the limit that data/findings.json has for this finding under this key."""
    return reaches(value, *LIMITS[code][key], below)


def no(answers: torch.Tensor) -> torch.Tensor:
    """Not so: (..., 3) answers of `reaches`, of which the surest is now that of the grey zone."""
    return ~answers.flip(-1)


def measure(hearts: Hearts, beats: Beats, seconds: float) -> dict[str, torch.Tensor]:
    """The truth of each record.

    Returns:
        rate_bpm, pr_ms (NaN where no P conducts at a constant interval), p_ms (NaN in rhythms without a sinus P),
        qrs_ms, qt_ms, qtc_ms (Bazett), axis_deg, age, all (B,); female (B,) bool; st_mv, t_mv, r_mv, s_mv, q_mv, p_mv
        (B, 12) in lead order; q_wave (B, 12) bool, pathological Q; findings (B, len(CODES)) bool; borderline, as wide,
        what lies so close to a limit that nobody can measure on which side (grey zones of data/findings.json);
        onset_s (B, K) QRS onsets, NaN outside the record; beat_kind (B, K); p_onset_s, NaN where there is
        none, and p_kind (B, K).
    """
    inside = (beats.onset >= 0) & (beats.onset < seconds)
    first, last = (torch.where(inside, beats.onset, far) for far in (torch.inf, -torch.inf))
    rate = 60 * (inside.sum(1) - 1) / (last.amax(1) - first.amin(1))  # over the mean RR interval
    p_inside = (beats.p_onset >= 0) & (beats.p_onset < seconds) & (beats.p_kind != NO_P)
    truth = {
        "rate_bpm": rate,
        "pr_ms": torch.where(hearts.has(*SINUS, "MOB2"), 1000 * hearts.pr, torch.nan),
        "p_ms": torch.where(hearts.has(*column("no_p")), torch.nan, 1000 * hearts.p_duration),
        "qrs_ms": 1000 * hearts.qrs,
        "qt_ms": 1000 * hearts.qt,
        "qtc_ms": 1000 * hearts.qt / (60 / rate).sqrt(),  # Bazett, Heart 7:353 (1920)
        "age": hearts.who.age.float(),
        "female": hearts.who.female,
        "onset_s": torch.where(inside, beats.onset, torch.nan),
        "beat_kind": beats.kind,
        "p_onset_s": torch.where(p_inside, beats.p_onset, torch.nan),
        "p_kind": beats.p_kind,
        **_beat(hearts),
    }
    # by rule where a number decides, as drawn where a mechanism does: (B, 3), see `reaches`
    drawn = {code: hearts.has(code)[:, None].expand(-1, 3) for code in CODES}
    found = drawn | _rhythm(hearts, beats, truth, inside)
    found |= _shape(hearts, truth, found)
    for key in ("q_s", "p_end_mv", "p_end_ms"):
        del truth[key]
    answers = torch.stack([found[code] for code in CODES], 1)  # (B, F, 3)
    return truth | {"findings": answers[..., 1], "borderline": answers[..., 2] & ~answers[..., 0]}


def _beat(hearts: Hearts) -> dict[str, torch.Tensor]:
    """Axis, ST, T, P, Q, R and S of the own beat, measured lead by lead on the noise-free signal."""
    share = torch.linspace(0, 1, _POINTS)
    late = hearts.qt[:, None] - hearts.t_width[:, None] * torch.linspace(2.2, 0.5, 16)  # about the top of T
    times = torch.cat([hearts.qrs[:, None] * share, hearts.qrs[:, None] + 0.02, late], 1)  # (B, n)
    n = times.shape[1]
    times = F.pad(times, (0, -n % 64), mode="replicate")  # whole vector registers: the same rounding in any batch
    wave = from_independent(beat_signal(hearts, times)[..., :n])  # (B, 12, n)
    qrs, st, t = wave[..., :_POINTS], wave[..., _POINTS], wave[..., _POINTS + 1 :]
    left, down = in_leads(qrs, "I", "aVF").sum(-1).unbind(1)  # net areas (B,)
    # Q: the first deflection of a lead, if it points down; a QS, which nothing positive follows, is a Q to the end
    first = (qrs.abs() > 0.03).int().argmax(2, keepdim=True)  # (B, 12, 1)
    run = ((qrs > 0) & (torch.arange(_POINTS) > first)).cumsum(2) == 0
    q = torch.where(run & (qrs.gather(2, first) < 0), qrs, 0.0)
    seconds = (q < -0.03).sum(2) * (hearts.qrs / (_POINTS - 1))[:, None]  # (B, 12)
    during = hearts.p_duration[:, None] * share[::2]
    p = curve(hearts.p_mv[..., :2], hearts.p_centre[:, :2], hearts.p_width[:, :2], during)  # (B, 8, n)
    end = p[:, V1, p.shape[2] // 3 :]
    p = from_independent(p)  # (B, 12, n)
    return {
        "axis_deg": torch.rad2deg(torch.atan2(down * 2 / 3**0.5, left)),
        "st_mv": st,
        "t_mv": t.gather(2, t.abs().argmax(2, keepdim=True))[..., 0],
        "r_mv": qrs.amax(2).clamp(min=0),
        "s_mv": qrs.amin(2).clamp(max=0),
        "q_mv": q.amin(2),
        "q_s": seconds,
        "p_mv": p.gather(2, p.abs().argmax(2, keepdim=True))[..., 0],
        "p_end_mv": end.amin(1),
        "p_end_ms": 1000 * (end < -0.02).float().mean(1) * hearts.p_duration * 2 / 3,
    }


def _rhythm(hearts: Hearts, beats: Beats, truth: dict, inside: torch.Tensor) -> dict[str, torch.Tensor]:
    """Sinus rhythms, named by their rate, the block that PR shows, and ectopy: (B, 3) answers."""
    sinus, ectopic = (hearts.has(*codes)[:, None] for codes in (SINUS, ("PAC", "PVC", "BIGU")))
    gap, both = beats.onset.diff(dim=1), inside[:, 1:] & inside[:, :-1]
    longest, shortest = torch.where(both, gap, -torch.inf).amax(1), torch.where(both, gap, torch.inf).amin(1)
    irregular = sinus & ~ectopic & at("SARRH", "range_ms", 1000 * (longest - shortest))
    plain = sinus & no(irregular) & ~truth["rate_bpm"].isnan()[:, None]  # one beat alone has no rate
    slow = at("SBRAD", "rate_bpm", truth["rate_bpm"], below=True)
    fast = at("STACH", "rate_bpm", truth["rate_bpm"])
    ventricular = (inside & (beats.kind == VENTRICULAR)).sum(1)
    bigeminal = hearts.has("BIGU") & (ventricular >= 2)
    exact = {"BIGU": bigeminal, "PVC": (ventricular > 0) & ~bigeminal}
    exact |= {"PAC": (inside & (beats.kind == ATRIAL)).any(1)}
    return {
        "SARRH": irregular,
        "SR": plain & no(slow) & no(fast),
        "SBRAD": plain & slow,
        "STACH": plain & fast,
        "1AVB": sinus & at("1AVB", "pr_ms", truth["pr_ms"]),
        **{code: there[:, None].expand(-1, 3) for code, there in exact.items()},
    }


def _shape(hearts: Hearts, truth: dict, found: dict) -> dict[str, torch.Tensor]:
    """Intervals, axis, chambers, ischaemia, old infarcts, voltage and what is normal, from the beat's measures."""
    axis, st, t, r, s, qrs = (truth[key] for key in ("axis_deg", "st_mv", "t_mv", "r_mv", "s_mv", "qrs_ms"))

    def drawn(*codes: str) -> torch.Tensor:
        return hearts.has(*codes)[:, None]

    def lead(values: torch.Tensor, name: str) -> torch.Tensor:
        return values[:, LEADS.index(name)]

    def by_sex(code: str, key: str, value: torch.Tensor) -> torch.Tensor:
        """(B, 3) at or over the limit of men or that of women."""
        (men, grey), (women, _) = (LIMITS[code][key.format(sex)] for sex in ("men", "women"))
        return reaches(value, torch.where(truth["female"], women, men), grey)

    # conduction: a right block is complete or not by its duration; what is broad without a cause is a delay
    right, other = drawn("CRBBB", "IRBBB"), drawn("CLBBB", "WPW", "VT", "PACE")
    complete = right & at("CRBBB", "qrs_ms", qrs)
    partial = right & at("IRBBB", "qrs_ms", qrs) & no(complete)
    delay = ~right & ~other & ~drawn("AFLT") & at("IVCD", "qrs_ms", qrs)
    clear = ~other & no(delay)
    calm = clear & ~drawn("AFLT")  # flutter waves hide ST and Q
    local = calm & ~drawn(*OTHER_ST)
    axis_right = at("RAD", "axis_deg", axis)
    # voltage
    least, grey = LIMITS["RVH"]["r_v1_mv"]
    tall_r = reaches(lead(r, "V1"), least, grey) & reaches(lead(r + s, "V1"), 0, grey)
    sokolow = at("LVH", "sokolow_mv", in_leads(r, "V5", "V6").amax(1) - lead(s, "V1"))
    voltage = sokolow | by_sex("LVH", "cornell_{}_mv", lead(r, "aVL") - lead(s, "V3"))
    inverted = at("TINV", "t_mv", -t)  # (B, 12, 3)
    strain = in_leads(inverted, "V5", "V6").all(1)
    front = torch.tensor([name in ("V1", "V2", "V3") for name in LEADS])
    out_of_place = inverted & ~(right & front)[..., None]  # in a right block it is a part of the block
    up = reaches(st, st_level(truth["age"], truth["female"]), LIMITS["STE_ANT"]["st_mv"][1])  # (B, 12, 3)
    anterior = local & in_leads(up, "V3", "V4").all(1)
    deep_end = at("LAE", "terminal_mv", -truth["p_end_mv"]) & at("LAE", "terminal_ms", truth["p_end_ms"])  # of P in V1
    # Q: deep and long enough, or a QS, with an r that is hardly one
    long = reaches(1000 * truth["q_s"], 2 + Q_MS, LIMITS["Q_ANT"]["q_ms"][1])  # as it is seen
    deep = at("Q_ANT", "q_mv", -truth["q_mv"]) & long
    truth["q_wave"] = deep[..., 1].clone()
    deep[..., 2] |= (r < 0.06) & (s <= -0.08)
    scarred = calm & ~drawn("LAFB", "LPFB", "RVH")
    found = found | {
        "STE_ANT": anterior,
        "STE_SEP": local & in_leads(up, "V1", "V2").all(1),
        "STE_INF": local & (in_leads(up, "II", "III", "aVF").sum(1) >= 2),
        "STE_LAT": local & any_pair(up, (("I", "aVL"), ("V5", "V6"))) & no(anterior),
        "CRBBB": complete,
        "IRBBB": partial,
        "IVCD": delay,
        "LAFB": drawn("LAFB") & (drawn("CRBBB") | at("LAFB", "axis_deg", axis, below=True)),
        "LPFB": drawn("LPFB") & (drawn("CRBBB") | at("LPFB", "axis_deg", axis % 360)),
        "LAD": clear & at("LAD", "axis_deg", axis, below=True) & reaches(axis, -90, 5),
        "RAD": clear & axis_right,
        "LVH": clear & voltage & (at("LVH", "years", truth["age"]) | strain),
        "RVH": clear & ~right & ~drawn("STE_POST", "LPFB") & tall_r & axis_right,
        "LAE": drawn(*SINUS) & at("LAE", "p_ms", truth["p_ms"]) & deep_end,
        "RAE": drawn(*SINUS) & at("RAE", "p_mv", lead(truth["p_mv"], "II")),
        "TINV": clear & ~drawn("BRUG") & any_pair(out_of_place, NEIGHBOURS[:6]),  # III is often inverted in health
        "LQT": clear & no(complete) & at("LQT", "qtc_ms", truth["qtc_ms"]) & drawn(*SINUS),
        **{code: drawn(code) & no(delay) for code in ("STE_POST", "HYPT", "HYPERK", "HYPOK", *OTHER_ST)},
        "LOWV": clear & reaches(r - s, LOW_SWING, LIMITS["LOWV"]["limb_mv"][1], below=True).all(1),
        **{code: scarred & any_pair(deep, pairs) for code, pairs in column("q_pairs").items()},
    }
    injured = torch.stack([found[code] for code in INJURY]).any(0)
    found["STD"] = local & no(injured) & any_pair(at("STD", "st_mv", -st), NEIGHBOURS)
    flat = at("NST", "t_mv", t.abs(), below=True) & at("NST", "r_mv", r)
    change = any_pair(flat, FLAT_T) | any_pair(at("NST", "st_mv", -st), NEIGHBOURS)
    explained = torch.stack([found[code] for code in HIDES if "NST" in HIDES[code]]).any(0)
    found["NST"] = drawn(*SINUS) & local & no(explained) & change
    # normal: within every limit, and nothing else
    others = torch.stack([there for code, there in found.items() if code not in ("SR", "NORM")]).any(0)
    long_qt = by_sex("NORM", "qtc_{}_ms", truth["qtc_ms"])
    upwards = reaches(axis, -90, LIMITS["LAD"]["axis_deg"][1], below=True)  # neither to the left nor to the right
    unlike = no(others) & no(long_qt) & no(upwards)
    found["NORM"] = found["SR"] & unlike & at("NORM", "pr_ms", truth["pr_ms"])
    return found
