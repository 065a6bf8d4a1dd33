"""What a network tells about an ECG directly: intervals, axis and findings as numbers on unit scales, and its loss."""

import torch
import torch.nn.functional as F

from .simulator import FINDINGS

SCALES = {"rate_bpm": (80.0, 30.0), "qrs_ms": (100.0, 25.0), "qt_ms": (380.0, 50.0), "pr_ms": (160.0, 40.0)}
TOLD = len(SCALES) + 2 + len(FINDINGS)  # intervals, axis as cosine and sine, findings
FINDINGS_WEIGHT = 3.0


def facts(truth: dict[str, torch.Tensor]) -> torch.Tensor:
    """The truth of B records as a table (B, TOLD): numbers on unit scales, NaN where there is none; findings 0 or 1."""
    numbers = [(truth[key] - middle) / scale for key, (middle, scale) in SCALES.items()]
    axis = torch.deg2rad(truth["axis_deg"])
    return torch.cat([torch.stack([*numbers, axis.cos(), axis.sin()], 1), truth["findings"].float()], 1).float()


def facts_loss(told: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
    """Told (B, TOLD) against `facts` (B, TOLD): smooth L1 of the numbers that are there, cross-entropy of findings."""
    n = TOLD - len(FINDINGS)
    known = ~table[:, :n].isnan()
    numbers = F.smooth_l1_loss(told[:, :n][known], table[:, :n][known])
    return numbers + FINDINGS_WEIGHT * F.binary_cross_entropy_with_logits(told[:, n:], table[:, n:])


def untell(told: torch.Tensor) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Told (B, TOLD) -> {rate_bpm, qrs_ms, qt_ms, pr_ms, axis_deg: (B,)} in their own units, findings (B, F) bool."""
    numbers = {key: told[:, i] * scale + middle for i, (key, (middle, scale)) in enumerate(SCALES.items())}
    n = TOLD - len(FINDINGS)
    numbers["axis_deg"] = torch.rad2deg(torch.atan2(told[:, n - 1], told[:, n - 2]))
    return numbers, told[:, n:] > 0
