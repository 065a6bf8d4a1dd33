"""From record numbers to hearts."""

import torch

from .clear import clear_of_limits
from .hearts import Hearts, textbook
from .lifelike import lifelike


def sample(seed: int, index: torch.Tensor, visit: int = 0) -> Hearts:
    """Draw the hearts with these record numbers, as lifelike as they are known: (B,) int64 -> Hearts.

    A textbook's hearts, with what real beats have beside it, a little away from the limits that decide a finding.
    """
    return clear_of_limits(lifelike(textbook(seed, index, visit))).float()
