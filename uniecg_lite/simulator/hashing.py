"""Random numbers that belong to a record, not to a batch.

Every number is a hash of (seed, record index, stream, position), so record 17 of seed 0 is the same heart whether it is
made alone, in a batch of 512, or by another process. The hash is the finaliser of SplitMix64 (Steele, Lea and Flood,
"Fast splittable pseudorandom number generators", OOPSLA 2014).
"""

import numpy as np
import torch

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def _mix(z: np.ndarray) -> np.ndarray:
    """SplitMix64 finaliser on a uint64 array, in place."""
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        z ^= z >> np.uint64(shift)
        z *= np.uint64(factor)
    z ^= z >> np.uint64(31)
    return z


def _bits(seed: int, index: torch.Tensor, stream: int, n: int) -> np.ndarray:
    """(B,) record indices -> (B, n) uint64 of 64 random bits each. NumPy has logical shifts and a light touch."""
    record = _mix(index.long().cpu().numpy().astype(np.uint64) * _GOLDEN)  # (B,)
    for number in (seed, stream):
        record = _mix(record + np.uint64(number % 2**64))
    return _mix(record[:, None] + np.arange(1, n + 1, dtype=np.uint64) * _GOLDEN)  # (B, n)


def uniform(seed: int, index: torch.Tensor, stream: int, n: int) -> torch.Tensor:
    """(B,) -> (B, n) float64, uniform on [0, 1)."""
    return torch.from_numpy((_bits(seed, index, stream, n) >> np.uint64(40)) * 2.0**-24)


def normal(seed: int, index: torch.Tensor, stream: int, n: int) -> torch.Tensor:
    """(B,) -> (B, n) float64, nearly standard normal.

    The sum of the four 16-bit parts of one hash (Irwin-Hall, n = 4): mean 0, variance 1, tails end at 3.46. Enough for
    jitter, and four times cheaper than Box-Muller.
    """
    parts = _bits(seed, index, stream, n).view(np.uint16).reshape(len(index), n, 4)
    return torch.from_numpy((parts.sum(-1, dtype=np.uint64) * 2.0**-16 - 2.0) * 3.0**0.5)
