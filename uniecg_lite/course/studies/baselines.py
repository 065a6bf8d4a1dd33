"""What a language model has to beat: one report for everybody, and measurements put into the house style."""

from collections import Counter

import torch

from ...ecg import LEADS
from ...facts import SCALES, untell
from ...language import CODES, RHYTHMS, Corpus, Reading, readings, report
from ...scoring.files import load_reader
from ...scoring.signals import measure_beat
from .material import Material

FREQUENT = 0.01  # of the training reports; rarer than this, no report is "the usual one"
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
