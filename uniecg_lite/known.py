"""What does the source of a record state at all? Real records leave much open; what is unknown is never false.

A simulator states all `FACTS` of its patients. A cohort of real records has a column `known` (B, len(FACTS)) besides,
and what it denies is NaN in all that is learned from, which losses leave out.
"""

import torch

from .findings import FACTS


def masked(facts: torch.Tensor, truth: dict[str, torch.Tensor], *names: str) -> torch.Tensor:
    """Facts (B, n) or (B, n, 12) of these names, or (B, N) of one, as float; NaN where they are unknown."""
    if "known" not in truth:
        return facts.float()
    known = truth["known"][:, [FACTS.index(name) for name in names]].bool()
    return facts.float().masked_fill(~known.view(*known.shape, *[1] * (facts.dim() - 2)), torch.nan)


def loss_of_known(loss, predicted: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """A mean loss over what is known of `wanted` (B, n), rows of a cross-entropy or numbers; 0 where nothing is."""
    each, known = loss(predicted, wanted.nan_to_num(), reduction="none"), ~wanted.isnan()  # (B, n), or (B,) and (B, n)
    known = known.all(1) if each.dim() < known.dim() else known
    return each.where(known, 0).sum() / known.sum().clamp(min=1)
