"""An independent check: does a noise-free signal satisfy the textbook rule of each finding, measured on itself?"""

import torch

from ..disease import FINDINGS
from .measure import Measured, measure_signal
from .rules import RULES

__all__ = ["RULES", "Measured", "criteria_pass", "measure_signal"]


def criteria_pass(signal: torch.Tensor, findings: torch.Tensor, hz: float = 500) -> dict[str, tuple[float, float, int]]:
    """How often a finding's rule holds where the truth has it, and fails where it has not.

    Takes noise-free signals (B, 12, L) mV and their findings (B, F) bool. Returns per code the share that passes among
    those present, the share that fails among those absent (NaN for an empty group), and the number present.
    """
    measured = measure_signal(signal, hz)
    out = {}
    for k, code in enumerate(FINDINGS):
        said, true = RULES[code](measured), findings[:, k].to(torch.bool)
        out[code] = (said[true].float().mean().item(), (~said[~true]).float().mean().item(), int(true.sum()))
    return out
