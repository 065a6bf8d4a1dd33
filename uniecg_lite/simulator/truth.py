"""What is true about this heart? Measured on its own noise-free beat, by the textbook's rules (data/findings.json)."""

import torch
import torch.nn.functional as F

from ..findings import CODES, INJURY, LOW_SWING, OTHER_ST, SINUS, ST_DOWN, ST_LEVEL, T_INVERTED, WIDE, column
from ..leads import LEADS, NEIGHBOURS, any_pair, from_independent, in_leads
from .hearts import Hearts, beat_signal
from .schedule import ATRIAL, NO_P, VENTRICULAR, Beats

QTC_LONG = 480.0  # ms
RR_RANGE = 0.16  # s, longest minus shortest in sinus arrhythmia
_POINTS = 64


def measure(hearts: Hearts, beats: Beats, seconds: float) -> dict[str, torch.Tensor]:
    """The truth of each record.

    Returns:
        rate_bpm, pr_ms (NaN where no P conducts at a constant interval), qrs_ms, qt_ms, qtc_ms (Bazett), axis_deg,
        age, all (B,); female (B,) bool; st_mv, t_mv, r_mv, s_mv, q_mv, p_mv (B, 12) in lead order; q_wave (B, 12)
        bool, pathological Q; findings (B, len(CODES)) bool; onset_s (B, K) QRS onsets, NaN outside the record;
        beat_kind (B, K); p_onset_s (B, K) P onsets, NaN where there is none.
    """
    inside = (beats.onset >= 0) & (beats.onset < seconds)
    first, last = (torch.where(inside, beats.onset, far) for far in (torch.inf, -torch.inf))
    rate = 60 * (inside.sum(1) - 1) / (last.amax(1) - first.amin(1))  # over the mean RR interval
    p_inside = (beats.p_onset >= 0) & (beats.p_onset < seconds) & (beats.p_kind != NO_P)
    truth = {
        "rate_bpm": rate,
        "pr_ms": torch.where(hearts.has(*SINUS, "MOB2"), 1000 * hearts.pr, torch.nan),
        "qrs_ms": 1000 * hearts.qrs,
        "qt_ms": 1000 * hearts.qt,
        "qtc_ms": 1000 * hearts.qt / (60 / rate).sqrt(),  # Bazett, Heart 7:353 (1920)
        "age": hearts.who.age.float(),
        "female": hearts.who.female,
        "onset_s": torch.where(inside, beats.onset, torch.nan),
        "beat_kind": beats.kind,
        "p_onset_s": torch.where(p_inside, beats.p_onset, torch.nan),
        **_beat(hearts),
    }
    q_s = truth.pop("q_s")
    qs = (truth["r_mv"] < 0.06) & (truth["s_mv"] <= -0.08)  # with an r that is hardly one
    nearly = qs | ((truth["q_mv"] <= -0.08) & (q_s >= 0.018))
    # by rule where a number decides, as drawn where a mechanism does
    found = {code: hearts.has(code) for code in CODES} | _rhythm(hearts, beats, truth, inside) | _shape(hearts, truth)
    others = torch.stack([there for code, there in found.items() if code not in ("SR", "NORM")]).any(0)
    doubtful = torch.stack([any_pair(nearly, pairs) for pairs in column("q_pairs").values()]).any(0)
    found["NORM"] = found["SR"] & ~others & ~doubtful & (truth["qrs_ms"] < 110)  # nearly pathological Q is not normal
    return truth | {"findings": torch.stack([found[code] for code in CODES], 1)}


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
    shortest = torch.tensor([0.022 if name in ("V2", "V3") else 0.032 for name in LEADS])  # seen as 20 and 30 ms
    # the larger of the two atrial waves, with its sign
    p = torch.where(hearts.p_mv[..., :2].sum(-1) >= 0, hearts.p_mv[..., :2].amax(-1), hearts.p_mv[..., :2].amin(-1))
    return {
        "axis_deg": torch.rad2deg(torch.atan2(down * 2 / 3**0.5, left)),
        "st_mv": st,
        "t_mv": t.gather(2, t.abs().argmax(2, keepdim=True))[..., 0],
        "r_mv": qrs.amax(2).clamp(min=0),
        "s_mv": qrs.amin(2).clamp(max=0),
        "q_mv": q.amin(2),
        "q_s": seconds,
        "q_wave": (q.amin(2) <= -0.1) & (seconds >= shortest),
        "p_mv": from_independent(p[..., None])[..., 0],
    }


def _rhythm(hearts: Hearts, beats: Beats, truth: dict, inside: torch.Tensor) -> dict[str, torch.Tensor]:
    """Sinus rhythms, named by their rate, the block that PR shows, and ectopy."""
    rate, sinus = truth["rate_bpm"], hearts.has(*SINUS)
    gap, both = beats.onset.diff(dim=1), inside[:, 1:] & inside[:, :-1]
    longest, shortest = torch.where(both, gap, -torch.inf).amax(1), torch.where(both, gap, torch.inf).amin(1)
    irregular = hearts.has("SARRH") & (longest - shortest > RR_RANGE)
    plain = sinus & ~irregular
    ventricular = (inside & (beats.kind == VENTRICULAR)).sum(1)
    bigeminal = hearts.has("BIGU") & (ventricular >= 2)
    return {
        "SARRH": irregular,
        "SR": plain & (rate >= 60) & (rate <= 100),
        "SBRAD": plain & (rate < 60),
        "STACH": plain & (rate > 100),
        "1AVB": sinus & (truth["pr_ms"] > 200),
        "PAC": (inside & (beats.kind == ATRIAL)).any(1),
        "BIGU": bigeminal,
        "PVC": (ventricular > 0) & ~bigeminal,
    }


def _shape(hearts: Hearts, truth: dict) -> dict[str, torch.Tensor]:
    """Axis, hypertrophy, ischaemia, old infarcts, QT and voltage, from the beat's measures."""
    axis, st, t, r, s = (truth[key] for key in ("axis_deg", "st_mv", "t_mv", "r_mv", "s_mv"))
    clear = ~hearts.has(*WIDE)
    calm = clear & ~hearts.has("AFLT")  # flutter waves hide ST and Q
    local = calm & ~hearts.has(*OTHER_ST)
    sokolow = -s[:, LEADS.index("V1")] + in_leads(r, "V5", "V6").amax(1)
    up = st >= ST_LEVEL
    front = torch.tensor([name in ("V1", "V2", "V3") for name in LEADS])
    inverted = (t <= T_INVERTED) & ~(hearts.has("CRBBB")[:, None] & front)  # in a right block it is a part of the block
    found = {
        "LAD": clear & (axis < -30) & (axis > -90),
        "RAD": clear & (axis > 90) & (axis <= 180),
        "LVH": clear & (sokolow >= 3.5),
        "STE_ANT": local & in_leads(up, "V3", "V4").all(1),
        "STE_SEP": local & in_leads(up, "V1", "V2").all(1),
        "STE_INF": local & (in_leads(up, "II", "III", "aVF").sum(1) >= 2),
        "STE_POST": hearts.has("STE_POST"),
        "TINV": clear & ~hearts.has("BRUG") & any_pair(inverted, NEIGHBOURS[:6]),  # III is often inverted in health
        "LQT": clear & ~hearts.has("CRBBB") & (truth["qtc_ms"] >= QTC_LONG) & hearts.has(*SINUS),
        "LOWV": clear & (r - s < LOW_SWING).all(1),
    }
    found["STE_LAT"] = local & any_pair(up, (("I", "aVL"), ("V5", "V6"))) & ~found["STE_ANT"]
    injured = torch.stack([found[code] for code in INJURY]).any(0)
    found["STD"] = local & ~injured & any_pair(st <= ST_DOWN, NEIGHBOURS)
    for code, pairs in column("q_pairs").items():
        found[code] = calm & ~hearts.has("LAFB", "LPFB", "RVH") & any_pair(truth["q_wave"], pairs)
    return found
