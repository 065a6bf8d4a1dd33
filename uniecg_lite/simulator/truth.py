"""What is true about this heart? Measured on its own noise-free beat, by the textbook's rules (data/findings.json)."""

import torch

from ..ecg import LEADS, from_independent
from .beats import VENTRICULAR
from .hearts import FINDINGS, Hearts
from .waves import qrs_st_t, read_leads, st_t

ST_LEVEL = torch.tensor([0.2 if name in ("V2", "V3") else 0.1 for name in LEADS])  # mV, at J + 20 ms
T_INVERTED = -0.1  # mV
NEIGHBOURS = (("V2", "V3"), ("V3", "V4"), ("V4", "V5"), ("V5", "V6"), ("I", "aVL"), ("II", "aVF"))


def measure(hearts: Hearts, onset: torch.Tensor, kind: torch.Tensor, seconds: float) -> dict[str, torch.Tensor]:
    """The truth of each record.

    Returns:
        rate_bpm, pr_ms (NaN in atrial fibrillation), qrs_ms, qt_ms, qtc_ms (Bazett), axis_deg, age, all (B,);
        female (B,) bool; st_mv, t_mv, r_mv, s_mv (B, 12) in lead order; findings (B, len(FINDINGS)) bool;
        onset_s (B, K) QRS onsets, NaN outside the record; beat_kind (B, K).
    """
    inside = (onset >= 0) & (onset < seconds)
    rate = _rate(onset, inside)
    beat = _beat(hearts)
    qt_ms = 1000 * hearts.qt
    truth = {
        "rate_bpm": rate,
        "pr_ms": torch.where(hearts.afib, torch.nan, 1000 * hearts.pr),
        "qrs_ms": 1000 * hearts.qrs,
        "qt_ms": qt_ms,
        "qtc_ms": qt_ms / (60 / rate).sqrt(),  # Bazett, Heart 7:353 (1920)
        "age": hearts.age,
        "female": hearts.female,
        "onset_s": torch.where(inside, onset, torch.nan),
        "beat_kind": kind,
        **beat,
    }
    truth["findings"] = _findings(hearts, truth, (inside & (kind == VENTRICULAR)).any(1), (inside & (kind == 2)).any(1))
    return truth


def _rate(onset: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
    """60 over the mean RR interval between the first and the last QRS of the record: (B,)."""
    first = torch.where(inside, onset, torch.inf).amin(1)
    last = torch.where(inside, onset, -torch.inf).amax(1)
    return 60 * (inside.sum(1) - 1) / (last - first)


def _beat(hearts: Hearts) -> dict[str, torch.Tensor]:
    """Axis, ST, T, R and S of the normally conducted beat, measured lead by lead on the noise-free signal."""

    def leads(dipole):
        return from_independent(read_leads(hearts, dipole))  # (B, 12, n)

    share = torch.linspace(0, 1, 48)
    qrs = leads(qrs_st_t(hearts, hearts.qrs[:, None] * share))
    limb = qrs[:, [LEADS.index("I"), LEADS.index("aVF")]].sum(-1)  # net areas (B, 2)
    axis = torch.rad2deg(torch.atan2(limb[:, 1] * 2 / 3**0.5, limb[:, 0]))
    st = leads(qrs_st_t(hearts, hearts.qrs[:, None] + 0.02))[..., 0]
    late = hearts.qrs[:, None] + (hearts.qt - hearts.qrs)[:, None] * torch.linspace(0.25, 1, 32)
    t = leads(st_t(hearts, late))
    peak = t.gather(2, t.abs().argmax(2, keepdim=True))[..., 0]  # (B, 12)
    return {
        "axis_deg": axis,
        "st_mv": st,
        "t_mv": peak,
        "r_mv": qrs.amax(2).clamp(min=0),
        "s_mv": qrs.amin(2).clamp(max=0),
    }


def _findings(hearts: Hearts, truth: dict, has_pvc: torch.Tensor, has_pac: torch.Tensor) -> torch.Tensor:
    """(B, len(FINDINGS)) bool. A left bundle branch block hides voltage, ST and T criteria."""
    lead = {name: i for i, name in enumerate(LEADS)}
    rate, st, t = truth["rate_bpm"], truth["st_mv"], truth["t_mv"]
    sinus, plain = ~hearts.afib, ~hearts.lbbb
    raised = st >= ST_LEVEL
    front = raised[:, [lead[name] for name in ("V1", "V2", "V3", "V4")]]
    low = raised[:, [lead["II"], lead["III"], lead["aVF"]]]
    sokolow = -truth["s_mv"][:, lead["V1"]] + truth["r_mv"][:, [lead["V5"], lead["V6"]]].amax(1)
    inverted = t <= T_INVERTED
    pairs = torch.stack([inverted[:, lead[a]] & inverted[:, lead[b]] for a, b in NEIGHBOURS], 1)
    rules = {
        "SR": sinus & (rate >= 60) & (rate <= 100),
        "SBRAD": sinus & (rate < 60),
        "STACH": sinus & (rate > 100),
        "AFIB": hearts.afib,
        "PVC": has_pvc,
        "PAC": has_pac,
        "1AVB": sinus & (truth["pr_ms"] > 200),
        "CLBBB": hearts.lbbb,
        "CRBBB": hearts.rbbb,
        "LAD": (truth["axis_deg"] < -30) & (truth["axis_deg"] > -90),
        "LVH": plain & (sokolow >= 3.5),
        "STE_ANT": plain & (front[:, :-1] & front[:, 1:]).any(1),
        "STE_INF": plain & (low.sum(1) >= 2),
        "TINV": plain & pairs.any(1),
    }
    return torch.stack([rules[name] for name in FINDINGS], 1)
