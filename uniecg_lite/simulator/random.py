"""Random numbers that belong to a record, not to a batch.

Every number is a hash of (seed, record index, stream, position), so record 17 of seed 0 is the same heart whether it is
made alone, in a batch of 512, or by another process. The hash is the finaliser of SplitMix64 (Steele, Lea and Flood,
"Fast splittable pseudorandom number generators", OOPSLA 2014).
"""

from functools import cache

import torch

TABLE = 2**20  # samples of shared white noise
_M1, _M2 = -4658895280553007687, -7723592293110705685  # 0xBF58476D1CE4E5B9, 0x94D049BB133111EB as signed 64-bit
_GOLDEN = -7046029254386353131  # 0x9E3779B97F4A7C15


def _mix(z: torch.Tensor) -> torch.Tensor:
    """SplitMix64 finaliser on int64 tensors; shifts are made logical by masking the sign extension."""
    z = (z ^ ((z >> 30) & 0x3FFFFFFFF)) * _M1
    z = (z ^ ((z >> 27) & 0x1FFFFFFFFF)) * _M2
    return z ^ ((z >> 31) & 0x1FFFFFFFF)


def bits(seed: int, index: torch.Tensor, stream: int, n: int) -> torch.Tensor:
    """(B,) record indices -> (B, n) int64 of 64 random bits each."""
    record = _mix(_mix(_mix(index.long() * _GOLDEN) + seed) + stream)  # (B,)
    position = (torch.arange(n, device=index.device) + 1) * _GOLDEN  # (n,)
    return _mix(record[:, None] + position)  # (B, n)


def uniform(seed: int, index: torch.Tensor, stream: int, n: int) -> torch.Tensor:
    """(B,) -> (B, n) float64, uniform on [0, 1)."""
    return ((bits(seed, index, stream, n) >> 40) & 0xFFFFFF).double() / 2**24


def normal(seed: int, index: torch.Tensor, stream: int, n: int) -> torch.Tensor:
    """(B,) -> (B, n) float64, nearly standard normal.

    The sum of the four 16-bit parts of one hash (Irwin-Hall, n = 4): mean 0, variance 1, tails end at 3.46. Enough for
    jitter, and four times cheaper than Box-Muller.
    """
    z = bits(seed, index, stream, n)
    total = (z & 0xFFFF) + ((z >> 16) & 0xFFFF) + ((z >> 32) & 0xFFFF) + ((z >> 48) & 0xFFFF)
    return (total.double() / 65536 - 2.0) * 3.0**0.5


@cache
def _table(seed: int) -> torch.Tensor:
    return torch.randn(TABLE, generator=torch.Generator().manual_seed(seed % 2**63))


def white(seed: int, index: torch.Tensor, stream: int, rows: int, length: int) -> torch.Tensor:
    """(B,) -> (B, rows, length) float32 of white noise, standard normal.

    Each row is a window, at a hashed place, of one long table drawn for this seed: hashing every sample would cost more
    than the rest of the heart.
    """
    start = (uniform(seed, index, stream, rows) * (TABLE - length)).long()  # (B, rows)
    return _table(seed).unfold(0, length, 1)[start]  # (B, rows, length)
