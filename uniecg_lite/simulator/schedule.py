"""When does each P wave and each QRS complex begin, and of what kind is it?"""

from dataclasses import dataclass

import torch

from ..findings import NO_SINUS_P
from . import hashing
from .hearts import Hearts

OWN, VENTRICULAR, ATRIAL = 0, 1, 2  # kinds of QRS complex
NO_P, SINUS_P, EARLY_P = 0, 1, 2  # kinds of P wave
FASTEST_BPM = 215.0
EVEN = "SVTAC VT PACE AFLT 3AVB MOB2 WENCK"  # rhythms that hardly breathe
AFTER_QRS = 0.09  # s from QRS onset to a retrograde P wave's onset, beyond the QRS duration


@dataclass
class Beats:
    """QRS and P onsets in s, in order, from before 0 to past the end; `inf` fills the rows up."""

    onset: torch.Tensor  # (B, K)
    kind: torch.Tensor  # (B, K) OWN, VENTRICULAR, ATRIAL
    stretch: torch.Tensor  # (B, K) QT of this beat over the mean QT: repolarisation adapts to the last RR
    p_onset: torch.Tensor  # (B, K)
    p_kind: torch.Tensor  # (B, K) NO_P, SINUS_P, EARLY_P


def schedule(hearts: Hearts, seconds: float) -> Beats:
    """Place the beats of B hearts over a number of seconds.

    Sinus rhythm breathes and jitters; fibrillation draws each RR on its own; flutter conducts one wave in a few; a
    ventricular beat comes early and is followed by a full pause, an atrial one resets the rhythm; a block of the second
    degree drops beats; in a complete block atria and ventricles keep their own time.
    """
    seed, index, visit = hearts.who.seed, hearts.who.index, 100 * hearts.who.visit
    k = int((seconds + 4) * FASTEST_BPM / 60) + 2
    u = hashing.uniform(seed, index, stream=3 + visit, n=16)  # (B, 16)
    n = hashing.normal(seed, index, stream=4 + visit, n=k)  # (B, K)
    gaps, kind = _gaps(hearts, u, n, seconds)
    onset = torch.cumsum(gaps, 1) - gaps - hearts.rr[:, None].double() * (1.5 + u[:, 7:8])  # (B, K)
    p_onset = onset - hearts.pr[:, None]
    p_kind = torch.tensor([SINUS_P, NO_P, EARLY_P])[kind]  # of OWN, VENTRICULAR, ATRIAL
    p_kind = hearts.who.override(p_kind, {" ".join(NO_SINUS_P): NO_P})
    back = hearts.has("JUNC") & (u[:, 8] < 0.5)  # a retrograde P after the QRS; else hidden in it
    p_kind = torch.where(back[:, None], EARLY_P, p_kind)
    p_onset = torch.where(back[:, None], onset + hearts.qrs[:, None] + AFTER_QRS, p_onset)
    # block of the second degree: one P wave in three to five is not conducted; before it PR grows (Wenckebach)
    cycle = 3 + (u[:, 10:11] * 3).floor()
    place = (torch.arange(k) + (u[:, 11:12] * cycle).floor()) % cycle
    grow = torch.minimum(0.05 + 0.03 * u[:, 12:13], 0.16 / (cycle - 2)) * (place + 0.6 * (place > 0))
    dropped = hearts.has("WENCK", "MOB2")[:, None] & (place == cycle - 1)
    moved = torch.where(dropped, torch.inf, onset + grow * hearts.has("WENCK")[:, None])
    onset = torch.where(dropped.any(1, keepdim=True), moved.sort(1).values, onset)
    # complete block: P waves at a rate of their own, faster than the ventricles
    share = 0.36 + 0.16 * u[:, 13:14] + 0.12 * (u[:, 13:14] >= 0.5)  # no P keeps its place in every second beat
    rr = hearts.rr[:, None]
    pp = rr / (torch.where(rr > 1.45, 2, 1) + share)  # never a multiple of RR
    atria = torch.cumsum(pp * (1 + 0.008 * n.roll(1, dims=1)), 1) - pp * (2 + u[:, 14:15]) - 1.0
    p_onset = hearts.who.override(p_onset, {"3AVB": atria})
    # QT is longer after a long RR, and over before the next beat begins
    gap = onset.diff(dim=1).nan_to_num(posinf=2.0)  # (B, K - 1)
    last, following = torch.cat([gap[:, :1], gap], 1), torch.cat([gap, gap[:, :1]], 1)
    adapted = (last / rr).clamp(0.5, 2.0) ** 0.15
    stretch = torch.minimum(adapted, (following - 0.01) / hearts.qt[:, None]).clamp(min=0.6)
    return Beats(onset.float(), kind, stretch.float(), p_onset.float(), p_kind)


def flutter_wave(rr: torch.Tensor) -> torch.Tensor:
    """The time of one flutter wave, of which one in two to four is conducted, for these RR intervals: s -> s."""
    return rr / (rr / 0.207).round().clamp(2, 4)


def _gaps(hearts: Hearts, u: torch.Tensor, n: torch.Tensor, seconds: float) -> tuple[torch.Tensor, torch.Tensor]:
    """RR intervals (B, K), gap k ends at beat k + 1, and the kinds of the beats."""
    who, rr, beat = hearts.who, hearts.rr[:, None].double(), torch.arange(n.shape[1])[None]
    hz = 0.18 + 0.12 * u[:, 1:2]  # breaths
    breath = torch.sin(2 * torch.pi * (u[:, :1] + hz * rr * beat))
    # RMSSD (B, 1) as a share of RR, less where it is fast, and little beside ectopic beats; most of it is breathing
    rmssd = who.usual("rmssd_ms")[:, None] / 1000 * (rr / 0.95).clamp(max=1.1) ** 2.5
    rmssd = who.override(rmssd, {"PAC PVC BIGU": rmssd.clamp(max=0.02)}) / rr
    share = 0.5 + 0.45 * u[:, 2:3]
    cases = {"SARRH": 0.08 + 0.13 * u[:, 2:3], EVEN: 0.0, "JUNC": 0.0}
    depth = who.override(share.sqrt() * rmssd / (2**0.5 * torch.sin(torch.pi * hz * rr)), cases)
    jitter = who.override((0.5 * (1 - share)).sqrt() * rmssd, {"SARRH": 0.02, f"{EVEN} JUNC": 0.003})
    gaps = rr * (1 + depth * breath + jitter * n)
    gaps = who.override(gaps, {"AFIB": rr * torch.exp((0.22 + 0.07 * u[:, 3:4]) * n)})
    unsteady = who.has("AFLT")[:, None] & (u[:, 9:10] < 0.3)  # conduction changes between one in two and one in four
    gaps = torch.where(unsteady, flutter_wave(rr) * (3 + n.clamp(-1.4, 1.4).round()), gaps).clamp(min=60 / FASTEST_BPM)

    every = (3 + (u[:, 4:5] * 6).floor()).clamp(max=1 + (0.6 * seconds / rr).floor())  # one in 3 to 8 beats is ectopic
    every = who.override(every, {"BIGU": 2.0})
    ectopic = ((beat % every) == (u[:, 5:6] * every).floor()) & (beat > 0)  # (B, K)
    ventricular, atrial = (ectopic & who.has(*codes)[:, None] for codes in (("PVC", "BIGU"), ("PAC",)))
    clear = torch.where(atrial, hearts.pr[:, None] - 0.03, 0.08)  # its P stands clear of the last T
    least = hearts.qt[:, None] + (clear + 0.08 * who.has("HYPOK")[:, None])  # and of U
    early = torch.maximum(0.54 + 0.14 * u[:, 6:7], least / rr).clamp(max=0.84)
    soon = (ventricular | atrial).roll(-1, dims=1)  # the gap ends at an ectopic beat
    before = torch.where(ventricular | atrial, early, 1.0).roll(-1, dims=1)
    after = torch.where(ventricular, 2 - early, torch.where(atrial, 1.05 + 0.25 * u[:, 12:13], 1.0))
    gaps = (gaps * before * after).clamp(min=60 / FASTEST_BPM)
    gaps = torch.where(soon, torch.maximum(gaps, least), gaps)  # also an early beat after a short RR comes after T
    gaps = torch.where(ventricular, torch.maximum(gaps, 1.1 * gaps.roll(1, dims=1)), gaps)
    return gaps, ventricular * VENTRICULAR + atrial * ATRIAL
