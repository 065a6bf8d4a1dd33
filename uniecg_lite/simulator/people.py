"""Who is this, and what do healthy hearts of this sex and age measure? The published figures of data/people.json."""

import numpy as np
import torch

from ..findings import table

PEOPLE = table("people")
TRAITS = ("p_ms", "pr_ms", "qrs_ms", "qtc_ms", "axis_deg", "breath", "rate_bpm", "rmssd_ms")
LASTING = 6  # the first of them are a person's own, the others of one visit


def by_age(age: torch.Tensor, female: torch.Tensor, row: dict, ages: list[float]) -> torch.Tensor:
    """The value for each person's sex, on a straight line between these ages (n,) and level beyond them.

    Takes age in years and sex, (B,); `row` holds "men" and "women", (n,) or (n, 8) by lead. Returns (B,) or (B, 8).
    """
    known = torch.tensor([row["men"], row["women"]], dtype=torch.float64)[female.long()]  # (B, n) or (B, n, 8)
    share = torch.stack([torch.from_numpy(np.interp(age, ages, corner)) for corner in np.eye(len(ages))], 1)  # (B, n)
    return (share.view(*share.shape, *[1] * (known.dim() - 2)) * known).sum(1)


def usual(measure: str, age: torch.Tensor, female: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    """A measure of people whose places among others of their sex and age are z (B,), standard normal: (B,)."""
    row = PEOPLE[measure]
    middle, (low, high) = by_age(age, female, row, row["ages"]), row["spread"]
    away = torch.where(z < 0, low, high) * z
    return middle * away.exp() if row.get("log") else middle + away
