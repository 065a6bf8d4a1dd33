"""What is true about this heart? Measured on its own noise-free beat, by the textbook's rules (data/findings.json)."""

import torch
import torch.nn.functional as F

from ..leads import LEADS, from_independent
from .disease import FINDINGS, INJURY, RHYTHMS, WIDE
from .hearts import Hearts, beat_signal
from .schedule import ATRIAL, NO_P, VENTRICULAR, Beats

ST_LEVEL = torch.tensor([0.2 if name in ("V2", "V3") else 0.1 for name in LEADS])  # mV, at J + 20 ms
ST_DOWN = -0.1  # mV
T_INVERTED = -0.1  # mV
T_TALL = torch.tensor([1.0 if name.startswith("V") else 0.5 for name in LEADS])  # mV
NEIGHBOURS = (("V2", "V3"), ("V3", "V4"), ("V4", "V5"), ("V5", "V6"), ("I", "aVL"), ("II", "aVF"), ("III", "aVF"))
T_PAIRS = NEIGHBOURS[:6]  # III alone is often inverted in health
Q_TERRITORY = {
    "Q_ANT": (("V2", "V3"), ("V3", "V4")),
    "Q_INF": (("II", "aVF"), ("III", "aVF")),
    "Q_LAT": (("I", "aVL"), ("V5", "V6")),
}
QTC_LONG = 480.0  # ms
RR_RANGE = 0.16  # s, longest minus shortest in sinus arrhythmia
LEAD_SIGNS = ("q_waves", "st_up", "st_down", "t_inverted", "t_tall")
T_LEADS = ("I", "II", "aVL", "aVF", "V2", "V3", "V4", "V5", "V6")  # leads where an adult's T wave is upright
Q_LEADS = tuple(name for name in LEADS if name not in ("aVR", "V1"))  # a QS is normal in these two
_POINTS = 64
_LEAD = {name: i for i, name in enumerate(LEADS)}


def measure(hearts: Hearts, beats: Beats, seconds: float) -> dict[str, torch.Tensor]:
    """The truth of each record.

    Returns:
        rate_bpm, pr_ms (NaN where no P conducts at a constant interval), qrs_ms, qt_ms, qtc_ms (Bazett), axis_deg,
        age, all (B,); female (B,) bool; st_mv, t_mv, r_mv, s_mv, q_mv, p_mv (B, 12) in lead order; q_wave (B, 12)
        bool, pathological Q; findings (B, len(FINDINGS)) bool; onset_s (B, K) QRS onsets, NaN outside the record;
        beat_kind (B, K); p_onset_s (B, K) P onsets, NaN where there is none.
    """
    inside = (beats.onset >= 0) & (beats.onset < seconds)
    rate = _rate(beats.onset, inside)
    qt_ms = 1000 * hearts.qt
    p_inside = (beats.p_onset >= 0) & (beats.p_onset < seconds) & (beats.p_kind != NO_P)
    beat = _beat(hearts)
    q_s = beat.pop("q_s")
    truth = {
        "rate_bpm": rate,
        "pr_ms": torch.where(hearts.in_rhythm("SR", "SBRAD", "STACH", "SARRH", "MOB2"), 1000 * hearts.pr, torch.nan),
        "qrs_ms": 1000 * hearts.qrs,
        "qt_ms": qt_ms,
        "qtc_ms": qt_ms / (60 / rate).sqrt(),  # Bazett, Heart 7:353 (1920)
        "age": hearts.who.age.float(),
        "female": hearts.who.female,
        "onset_s": torch.where(inside, beats.onset, torch.nan),
        "beat_kind": beats.kind,
        "p_onset_s": torch.where(p_inside, beats.p_onset, torch.nan),
        **beat,
    }
    qs = (truth["r_mv"] < 0.06) & (truth["s_mv"] <= -0.08)  # with an r that is hardly one
    nearly = qs | ((truth["q_mv"] <= -0.08) & (q_s >= 0.018))
    truth["findings"] = _findings(hearts, beats, truth, inside, nearly)
    return truth


def lead_signs(truth: dict[str, torch.Tensor]) -> torch.Tensor:
    """(B, S, 12) bool in the order of LEAD_SIGNS: which lead shows what.

    A pathological Q in `Q_LEADS`; ST from 0.1 mV up (0.2 in V2 and V3) or down; T inverted from -0.1 mV in `T_LEADS`,
    tall from 1.0 mV (0.5 in limb leads).
    """
    st, t = truth["st_mv"], truth["t_mv"]
    upright, q = (torch.tensor([name in leads for name in LEADS]) for leads in (T_LEADS, Q_LEADS))
    q_wave = truth.get("q_wave", torch.zeros_like(st)) > 0
    return torch.stack([q_wave & q, st >= ST_LEVEL, st <= ST_DOWN, (t <= T_INVERTED) & upright, t >= T_TALL], 1)


def _rate(onset: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
    """60 over the mean RR interval between the first and the last QRS of the record: (B,)."""
    first = torch.where(inside, onset, torch.inf).amin(1)
    last = torch.where(inside, onset, -torch.inf).amax(1)
    return 60 * (inside.sum(1) - 1) / (last - first)


def _beat(hearts: Hearts) -> dict[str, torch.Tensor]:
    """Axis, ST, T, P, Q, R and S of the own beat, measured lead by lead on the noise-free signal."""
    share = torch.linspace(0, 1, _POINTS)
    late = hearts.qt[:, None] - hearts.t_width[:, None] * torch.linspace(2.2, 0.5, 16)  # about the top of T
    times = torch.cat([hearts.qrs[:, None] * share, hearts.qrs[:, None] + 0.02, late], 1)  # (B, n)
    n = times.shape[1]
    times = F.pad(times, (0, -n % 64), mode="replicate")  # whole vector registers: the same rounding in any batch
    wave = from_independent(beat_signal(hearts, times)[..., :n])  # (B, 12, n)
    qrs, st, t = wave[..., :_POINTS], wave[..., _POINTS], wave[..., _POINTS + 1 :]
    limb = qrs[:, [_LEAD["I"], _LEAD["aVF"]]].sum(-1)  # net areas (B, 2)
    q, seconds = _first_negative(qrs, hearts.qrs)
    shortest = torch.tensor([0.022 if name in ("V2", "V3") else 0.032 for name in LEADS])  # seen as 20 and 30 ms
    # the larger of the two atrial waves, with its sign
    p = torch.where(hearts.p_mv[..., :2].sum(-1) >= 0, hearts.p_mv[..., :2].amax(-1), hearts.p_mv[..., :2].amin(-1))
    return {
        "axis_deg": torch.rad2deg(torch.atan2(limb[:, 1] * 2 / 3**0.5, limb[:, 0])),
        "st_mv": st,
        "t_mv": t.gather(2, t.abs().argmax(2, keepdim=True))[..., 0],
        "r_mv": qrs.amax(2).clamp(min=0),
        "s_mv": qrs.amin(2).clamp(max=0),
        "q_mv": q,
        "q_s": seconds,
        "q_wave": (q <= -0.1) & (seconds >= shortest),
        "p_mv": from_independent(p[..., None])[..., 0],
    }


def _first_negative(qrs: torch.Tensor, duration: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Q: the first deflection of a lead, if it points down: (B, 12, n), (B,) s -> depth (B, 12) mV, duration in s.

    A QS, which nothing positive follows, is a Q as long as the complex.
    """
    place = torch.arange(qrs.shape[-1])
    first = (qrs.abs() > 0.03).int().argmax(2, keepdim=True)  # (B, 12, 1)
    down = qrs.gather(2, first) < 0
    run = ((qrs > 0) & (place > first)).cumsum(2) == 0
    q = torch.where(run & down, qrs, 0.0)
    return q.amin(2), (q < -0.03).sum(2) * (duration / (qrs.shape[-1] - 1))[:, None]


def _both(mask: torch.Tensor, pairs) -> torch.Tensor:
    """(B, 12) -> (B,) True where both leads of some pair are True."""
    return torch.stack([mask[:, _LEAD[a]] & mask[:, _LEAD[b]] for a, b in pairs]).any(0)


def _findings(hearts: Hearts, beats: Beats, truth: dict, inside: torch.Tensor, nearly: torch.Tensor) -> torch.Tensor:
    """(B, len(FINDINGS)) bool, by rule where a number decides and as drawn where a mechanism does.

    Where a Q wave is `nearly` (B, 12) pathological the ECG is not called normal.
    """
    found = _rhythm(hearts, beats, truth, inside) | _shape(hearts, truth)
    others = torch.stack([there for code, there in found.items() if code != "SR"]).any(0)
    doubtful = torch.stack([_both(nearly, pairs) for pairs in Q_TERRITORY.values()]).any(0)
    found["NORM"] = found["SR"] & ~others & ~doubtful & (truth["qrs_ms"] < 110)
    return torch.stack([found[code] for code in FINDINGS], 1)


def _rhythm(hearts: Hearts, beats: Beats, truth: dict, inside: torch.Tensor) -> dict[str, torch.Tensor]:
    """Rhythm, block and ectopy. The rate names a sinus rhythm."""
    rate = truth["rate_bpm"]
    found = {code: hearts.in_rhythm(code) for code in RHYTHMS[4:]}
    sinus = hearts.in_rhythm("SR", "SBRAD", "STACH", "SARRH")
    found["SARRH"] = hearts.in_rhythm("SARRH") & (_rr_range(beats.onset, inside) > RR_RANGE)
    plain = sinus & ~found["SARRH"]
    found |= {"SR": plain & (rate >= 60) & (rate <= 100), "SBRAD": plain & (rate < 60), "STACH": plain & (rate > 100)}
    kind, here = beats.kind, inside
    ventricular = (here & (kind == VENTRICULAR)).sum(1)
    found["1AVB"] = sinus & (truth["pr_ms"] > 200)
    found["PAC"] = (here & (kind == ATRIAL)).any(1)
    found["BIGU"] = hearts.has("BIGU") & (ventricular >= 2)
    found["PVC"] = (ventricular > 0) & ~found["BIGU"]
    return found


def _rr_range(onset: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
    """(B,) the longest minus the shortest RR interval of the record, in s."""
    gap = onset[:, 1:] - onset[:, :-1]
    both = inside[:, 1:] & inside[:, :-1]
    return torch.where(both, gap, -torch.inf).amax(1) - torch.where(both, gap, torch.inf).amin(1)


def _shape(hearts: Hearts, truth: dict) -> dict[str, torch.Tensor]:
    """Conduction, axis, chambers, ischaemia and the rest, from the beat's measures."""
    axis, st, t, r, s = (truth[key] for key in ("axis_deg", "st_mv", "t_mv", "r_mv", "s_mv"))
    clear = ~hearts.has(*WIDE)
    calm = clear & ~hearts.in_rhythm("AFLT")  # flutter waves hide ST and Q
    names = (
        "CLBBB",
        "CRBBB",
        "LAFB",
        "LPFB",
        "IVCD",
        "WPW",
        "RVH",
        "LAE",
        "RAE",
        "HYPT",
        "HYPERK",
        "HYPOK",
        "PERI",
        "EREP",
        "BRUG",
    )
    found = {code: hearts.has(code) for code in names}
    found["LAD"] = clear & (axis < -30) & (axis > -90)
    found["RAD"] = clear & ((axis > 90) & (axis <= 180))
    sokolow = -s[:, _LEAD["V1"]] + r[:, [_LEAD["V5"], _LEAD["V6"]]].amax(1)
    found["LVH"] = clear & (sokolow >= 3.5)
    local = calm & ~hearts.has("PERI", "EREP", "BRUG")
    up = st >= ST_LEVEL
    found["STE_ANT"] = local & up[:, _LEAD["V3"]] & up[:, _LEAD["V4"]]
    found["STE_SEP"] = local & up[:, _LEAD["V1"]] & up[:, _LEAD["V2"]]
    found["STE_LAT"] = local & _both(up, (("I", "aVL"), ("V5", "V6"))) & ~found["STE_ANT"]
    found["STE_INF"] = local & (up[:, [_LEAD["II"], _LEAD["III"], _LEAD["aVF"]]].sum(1) >= 2)
    found["STE_POST"] = hearts.has("STE_POST")
    injured = torch.stack([found[code] for code in INJURY]).any(0)
    found["STD"] = local & ~injured & _both(st <= ST_DOWN, NEIGHBOURS)
    inverted = t <= T_INVERTED
    front = torch.tensor([name in ("V1", "V2", "V3") for name in LEADS])
    own = inverted & ~(hearts.has("CRBBB")[:, None] & front)  # in a right block inversion there follows from the block
    found["TINV"] = clear & ~hearts.has("BRUG") & _both(own, T_PAIRS)
    for code, pairs in Q_TERRITORY.items():
        found[code] = calm & ~hearts.has("LAFB", "LPFB", "RVH") & _both(truth["q_wave"], pairs)
    found["LQT"] = clear & ~hearts.has("CRBBB") & (truth["qtc_ms"] >= QTC_LONG) & hearts.in_rhythm(*RHYTHMS[:4])
    swing = r - s
    low = torch.tensor([1.0 if name.startswith("V") else 0.5 for name in LEADS])
    found["LOWV"] = clear & (swing < low).all(1)
    return found
