"""What a language model has to beat: one report for everybody, and measurements put into the house style."""

from collections import Counter

import torch

from ...ecg import LEADS
from ...ecg.beats import BEFORE, usual_beat
from ...facts import SCALES, untell
from ...language import CODES, RHYTHMS, Corpus, Reading, readings, report
from ...scoring.files import load_reader
from .material import Material

FREQUENT = 0.01  # of the training reports; rarer than this, no report is "the usual one"
HZ = 100.0
R_PEAK = round(BEFORE * HZ)  # where it is in a `usual_beat`, in samples
WITHOUT_PR = ("AFIB", "AFLT", "JUNC", "SVTAC", "VT", "PACE", "WENCK", "3AVB")


def trivial_report(corpus: Corpus) -> tuple[str, float]:
    """One report for everybody: (report, the share of training reports that are equal to it).

    It is the most frequent one of the training set. Where that one is as good as unique (under 1% of them), it is a
    medoid: of the patients with the most frequent conclusion, the report of the one whose numbers, on unit scales, have
    the least sum of absolute differences to those of all patients.
    """
    text, count = Counter(corpus.reports).most_common(1)[0]
    if count < FREQUENT * len(corpus.reports):
        text = corpus.reports[_medoid(corpus.readings)]
        count = corpus.reports.count(text)
    return text, count / len(corpus.reports)


def _medoid(patients: list[Reading]) -> int:
    usual = Counter(sorted(tuple(sorted(r.findings)) for r in patients)).most_common(1)[0][0]
    rows = [i for i, r in enumerate(patients) if tuple(sorted(r.findings)) == usual]
    numbers = [
        (torch.tensor([getattr(r, key) for r in patients]) - middle) / scale for key, (middle, scale) in SCALES.items()
    ]
    axis = torch.deg2rad(torch.tensor([r.axis_deg for r in patients]))
    table = torch.stack([*numbers, axis.cos(), axis.sin()], 1)  # (N, 6)
    table = torch.where(table.isnan(), table.nanmedian(0).values, table)
    return rows[int(torch.cdist(table[rows], table, p=1).sum(1).argmin())]


def classical_reports(room: Material) -> list[str]:
    """Reports without a language model: numbers and findings of the independent reader, leads measured on the beat."""
    reader = load_reader(room.store)
    with torch.no_grad():
        told = torch.cat([reader(part) for part in room.signal.split(128)])  # (B, TOLD)
    numbers, logits, _ = untell(told)
    found = settle(logits)
    none = found[:, [CODES.index(code) for code in WITHOUT_PR if code in CODES]].any(1)
    measured = {
        **numbers,
        "pr_ms": torch.where(none, torch.nan, numbers["pr_ms"]),
        "qtc_ms": numbers["qt_ms"] / (60 / numbers["rate_bpm"].clamp(min=20)).sqrt(),  # Bazett
        "findings": found,
        **measure_beat(room.signal, numbers["qrs_ms"], numbers["qt_ms"]),
        **{key: torch.zeros(len(found), len(LEADS)) for key in ("drift_mv", "static_mv")},
        **{key: room.truth[key] for key in ("age", "female") if key in room.truth},
    }
    return [report(reading) for reading in readings(measured)]


def settle(logits: torch.Tensor) -> torch.Tensor:
    """Finding logits (B, F) -> findings (B, F) that agree: one rhythm, the likeliest; NORM in SR without any other."""
    found, rhythms = logits > 0, [CODES.index(code) for code in RHYTHMS]
    found[:, rhythms] = False
    found[torch.arange(len(found)), torch.tensor(rhythms)[logits[:, rhythms].argmax(1)]] = True
    norm, sinus = CODES.index("NORM"), CODES.index("SR")
    found[:, norm] = False
    found[:, norm] = found[:, sinus] & (found.sum(1) == 1)
    return found


def measure_beat(signal: torch.Tensor, qrs_ms: torch.Tensor, qt_ms: torch.Tensor) -> dict[str, torch.Tensor]:
    """ST, T and Q of the usual beat by simple rules: (B, 12, L) mV, (B,), (B,) -> (B, 12) each.

    The QRS is the stretch of its duration that holds most of the slope; the baseline is the mean of the 60 to 20 ms
    before it. ST is the level 20 ms after it, T the largest deflection from 80 ms after it to the end of QT, Q the
    first deflection, if it points down; a Q wave counts from 0.1 mV over 30 ms.
    """
    beat = usual_beat(signal, HZ)[0]  # (B, 12, W)
    width = beat.shape[-1]
    steep = beat.diff(dim=-1, prepend=beat[..., :1]).square().sum(1).sqrt().cumsum(-1)  # (B, W)
    long = (qrs_ms / 10).round().long().clamp(4, 24)[:, None]  # (B, 1) samples
    first = torch.arange(R_PEAK - 20, R_PEAK + 1).expand(len(beat), -1)  # where the QRS may begin
    held = steep.gather(1, (first + long).clamp(max=width - 1)) - steep.gather(1, first)
    onset = first.gather(1, held.argmax(1, keepdim=True))[..., None]  # (B, 1, 1)
    place, long = torch.arange(width), long[..., None]
    level = beat - _mean(beat, (place >= onset - 6) & (place < onset - 2))[..., None]  # (B, 12, W)
    end = onset + long
    st = level.gather(2, (end + 2).clamp(max=width - 1).expand(-1, level.shape[1], -1))[..., 0]
    late = (place >= end + 8) & (place < torch.maximum(onset + (qt_ms / 10).round().long()[:, None, None], end + 12))
    t = level.where(late, 0.0)
    t = t.gather(2, t.abs().argmax(2, keepdim=True))[..., 0]
    inside = (place >= onset) & (place < end)
    start = ((level.abs() > 0.05) & inside).int().argmax(2, keepdim=True)  # the first deflection: (B, 12, 1)
    run = inside & (((level > 0) & (place > start)).cumsum(2) == 0) & (level.gather(2, start) < 0)
    q = level.where(run, 0.0).amin(2).clamp(max=0)
    return {"st_mv": st, "t_mv": t, "q_mv": q, "q_wave": (q <= -0.1) & (((level < -0.03) & run).sum(2) >= 3)}


def _mean(x: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    """Mean of (B, 12, W) over the samples of a mask that broadcasts to it: (B, 12)."""
    where = where.expand_as(x)
    return (x * where).sum(2) / where.sum(2).clamp(min=1)
