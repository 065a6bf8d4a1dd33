"""What a network tells about an ECG directly: intervals, axis and findings as numbers on unit scales, and its loss."""

import torch
import torch.nn.functional as F

from .simulator import FINDINGS
from .simulator.truth import LEAD_SIGNS, lead_signs

SCALES = {"rate_bpm": (80.0, 30.0), "qrs_ms": (100.0, 25.0), "qt_ms": (380.0, 50.0), "pr_ms": (160.0, 40.0)}
NUMBERS = len(SCALES) + 2  # intervals, axis as cosine and sine
TOLD = NUMBERS + len(FINDINGS) + 12 * len(LEAD_SIGNS)
FINDINGS_WEIGHT, SIGNS_WEIGHT = 6.0, 2.0


def facts(truth: dict[str, torch.Tensor]) -> torch.Tensor:
    """The truth of B records as a table (B, TOLD).

    Numbers on unit scales, NaN where there is none; then findings and signs per lead, each 0 or 1.
    """
    numbers = [(truth[key] - middle) / scale for key, (middle, scale) in SCALES.items()]
    axis = torch.deg2rad(truth["axis_deg"])
    numbers = torch.stack([*numbers, axis.cos(), axis.sin()], 1)
    return torch.cat([numbers, truth["findings"], lead_signs(truth).flatten(1)], 1).float()


def facts_loss(told: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
    """Told (B, TOLD) against `facts` (B, TOLD): smooth L1 of the numbers that are there, cross-entropy of the rest."""
    n, f = NUMBERS, NUMBERS + len(FINDINGS)
    known = ~table[:, :n].isnan()
    numbers = F.smooth_l1_loss(told[:, :n][known], table[:, :n][known])
    found = F.binary_cross_entropy_with_logits(told[:, n:f], table[:, n:f])
    signs = F.binary_cross_entropy_with_logits(told[:, f:], table[:, f:])
    return numbers + FINDINGS_WEIGHT * found + SIGNS_WEIGHT * signs


def untell(told: torch.Tensor) -> tuple[dict[str, torch.Tensor], torch.Tensor, torch.Tensor]:
    """Told (B, TOLD) back in its own units.

    Returns:
        {rate_bpm, qrs_ms, qt_ms, pr_ms, axis_deg: (B,)}, findings (B, F) as logits, signs (B, S, 12) as logits in the
        order of LEAD_SIGNS; a logit above 0 says that it is there.
    """
    numbers = {key: told[:, i] * scale + middle for i, (key, (middle, scale)) in enumerate(SCALES.items())}
    n, f = NUMBERS, NUMBERS + len(FINDINGS)
    numbers["axis_deg"] = torch.rad2deg(torch.atan2(told[:, n - 1], told[:, n - 2]))
    return numbers, told[:, n:f], told[:, f:].unflatten(1, (len(LEAD_SIGNS), 12))
