"""How good is what is said? Numbers and findings read from the model's words, against the truth."""

import math

import torch

from ..findings import CODES, Reading
from ..language.report_parser import parse_report

UNREAD = {"rate_bpm": 80.0, "pr_ms": 160.0, "qrs_ms": 90.0, "qt_ms": 400.0, "qtc_ms": 420.0, "axis_deg": 60.0}


def difference(key: str, one, other):
    """How far two values of a number are apart, floats or tensors of one shape; axes around the circle, 180 at most."""
    gap = abs(one - other)
    return abs(gap % 360 - 360 * (gap % 360 > 180)) if key == "axis_deg" else gap


def interval_errors(stated: list[Reading], truth: list[Reading]) -> dict[str, float]:
    """Mean absolute error (`hr_mae_bpm`, `pr_mae_ms`, ...) of each number, over the records where the truth has one.

    A number that the text lacks is scored as if a usual value (`UNREAD`) had been said: never skipped.
    Axis errors go around the circle.
    """
    out = {}
    for key, usual in UNREAD.items():
        pairs = [(getattr(s, key), getattr(t, key)) for s, t in zip(stated, truth)]
        errors = [difference(key, usual if math.isnan(v) else v, true) for v, true in pairs if not math.isnan(true)]
        name, unit = key.replace("rate", "hr").split("_")
        out[f"{name}_mae_{unit}"] = sum(errors) / len(errors) if errors else math.nan
    return out


def weighted_f1(stated: torch.Tensor, label: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """F1 = 2 TP / (2 TP + FP + FN) for each row of weights: (N,) bool, (N,) bool, (R, N) -> (R,).

    Tables (N, F) and weights (N,) are fine, too: (F,). NaN where nobody has it and nobody says it.
    """
    return 2 * (weight @ (stated & label).float()) / (weight @ (stated.float() + label.float()))


def finding_scores(
    stated: torch.Tensor, truth: torch.Tensor, borderline: torch.Tensor | None = None
) -> dict[str, float]:
    """F1 per finding of (B, F) boolean tables; a finding that nobody has and nobody says is left out.

    Where it is borderline, or unknown, it is neither right nor wrong, called or not: that ECG does not count for it.
    """
    if borderline is not None:
        stated, truth = stated & ~borderline, truth & ~borderline
    scores = weighted_f1(stated, truth, torch.ones(len(stated)))
    return {code: value for code, value in zip(CODES, scores.tolist()) if not math.isnan(value)}


def macro_f1(stated: torch.Tensor, truth: torch.Tensor, borderline: torch.Tensor | None = None) -> float:
    """The mean of `finding_scores`; NaN where nobody has a finding and none is said."""
    scores = finding_scores(stated, truth, borderline)
    return sum(scores.values()) / len(scores) if scores else math.nan


def table_of(readings: list, which: str = "findings") -> torch.Tensor:
    """(B, F) boolean table of the findings of B readings or requests, or of their "borderline" or "unknown" ones."""
    return torch.tensor([[code in getattr(r, which) for code in CODES] for r in readings])


def unsure(truth: list[Reading]) -> torch.Tensor:
    """(B, F) findings that are borderline or unknown in B readings: neither right nor wrong."""
    return table_of(truth, "borderline") | table_of(truth, "unknown")


def reading_scores(stated: list[Reading], truth: list[Reading]) -> dict[str, float]:
    """Readings against the truth: `hr_mae_bpm`, ..., `findings_macro_f1`."""
    found = macro_f1(table_of(stated), table_of(truth), unsure(truth))
    return {**interval_errors(stated, truth), "findings_macro_f1": found}


def report_scores(texts: list[str], truth: list[Reading]) -> dict[str, float]:
    """Reports against the truth: `hr_mae_bpm`, ..., `findings_macro_f1`; `readable` is the share with every number."""
    stated = [parse_report(text) for text in texts]
    complete = [not any(math.isnan(getattr(s, k)) for k in ("rate_bpm", "qrs_ms", "qt_ms")) for s in stated]
    return {**reading_scores(stated, truth), "readable": sum(complete) / len(complete)}
