"""What skin, muscles and a moving chest add to a recording, made at the nine electrodes so that the lead laws hold.

Levels and spectra were set to 125 real records, measured between T and P, where no heart speaks: arm muscles tremble
most, the leg least; baseline wander is largest at the chest and differs from electrode to electrode by a factor of
ten; neither follows the other.
"""

from functools import lru_cache

import numpy as np
import torch

from ..leads import from_independent
from . import hashing
from .disease import HEARTS

ELECTRODES = {name: torch.tensor(row) for name, row in HEARTS["electrodes"].items()}  # (9,) each, arms first
ARMS = 2
IN_LEADS = torch.eye(9)[1:]  # (8, 9) electrodes to leads: I and II against the right arm, V1 .. V6 against all limbs
IN_LEADS[:2, 0], IN_LEADS[2:, :3] = -1, -1 / 3
TABLE = 2**20  # samples of each kind of noise in a table
BUMPS, LOOSE = 0.06, 0.10  # shares of records with a motion bump, and with one loose electrode


@lru_cache(maxsize=6)
def _table(seed: int, hz: float) -> torch.Tensor:
    """One long table for this population and rate: wander, skin noise and muscle noise, each of unit RMS."""
    white = torch.randn(3, TABLE, generator=torch.Generator().manual_seed((seed * 31 + 17) % 2**63)).double().numpy()
    f = np.fft.rfftfreq(TABLE, 1 / hz).clip(min=1e-3)  # NumPy, in double: the same whatever the number of threads
    fall = (1 - (f - 0.45 * hz) / (0.08 * hz)).clip(0, 1)  # the recorder's own low-pass, below half its rate
    wander = (f > 0.03) / (1 + (f / 0.28) ** 2)
    skin = fall / (1 + (f / 8) ** 2) ** 0.8 * (f / 3).clip(max=1)
    muscle = fall / np.sqrt(1 + (f / 18) ** 2.4) * (f / 3).clip(max=1)
    shaped = np.fft.irfft(np.fft.rfft(white) * np.stack([wander, skin, muscle]), n=TABLE)
    shaped /= np.sqrt(np.square(shaped).mean(-1, keepdims=True))
    return torch.from_numpy(shaped).float().flatten()


def noise(seed: int, index: torch.Tensor, t: torch.Tensor, hz: float) -> tuple[torch.Tensor, ...]:
    """The noise of these records.

    Args:
        seed: which population.
        index: (B,) record numbers; the noise of record i is the same whatever the batch.
        t: (L,) times in s.
        hz: sampling rate.

    Returns:
        signal (B, 8, L) mV in the leads I, II, V1..V6; drift_mv and static_mv (B, 12), the RMS of slow and of fast
        noise in each lead.
    """
    level, start, own = _electrodes(seed, index, len(t), hz)
    windows = _table(seed, float(hz)).unfold(0, len(t), 1)  # copies of rows, the fastest way there is
    windows = windows.index_select(0, start.flatten()).view(-1, 18, len(t))  # wander and static of nine electrodes
    slow, fast, breath = (IN_LEADS * level).unbind(0)  # (B, 8, 9) from electrodes to leads
    breath = breath.sum(2, keepdim=True)  # (B, 8, 1)
    turn = own[:, 5:6] + (0.15 + 0.25 * own[:, 6:7]) * t  # (B, L), 9 to 24 breaths a minute
    wave = torch.sin(2 * torch.pi * turn)[:, None]
    # in a few records one electrode is pushed and settles: rows (b,), electrodes (b,), what it adds (b, L) in mV
    rows = (own[:, 7] < BUMPS).nonzero()[:, 0]
    u = own[rows]
    electrode, since = 3 + (6 * u[:, 13]).long(), t - t[-1] * u[:, 8:9]
    width = torch.where(since < 0, 0.05 + 0.1 * u[:, 9:10], 0.1 + 0.5 * u[:, 10:11])
    size = torch.where(u[:, 12:13] < 0.5, -1.0, 1.0) * (0.2 + 0.8 * u[:, 11:12] ** 2)
    push = size * torch.exp(-0.5 * (since / width).square())

    def moved(leads: torch.Tensor, step: int) -> torch.Tensor:
        """Breathing and bumps added to leads (B, 8, L / step), in place."""
        leads.addcmul_(breath, wave[..., ::step])
        leads[rows] += IN_LEADS.T[electrode][..., None] * push[:, None, ::step]
        return leads

    drift_mv = _rms(moved(torch.bmm(slow, windows[:, :9, ::16].contiguous()), 16))
    static_mv = _rms(torch.bmm(fast, windows[:, 9:, ::4].contiguous()))
    out = moved(torch.bmm(torch.cat([slow, fast], 2), windows), 1)
    if hz > 2.2 * 50:  # below that, a recorder's own low-pass has removed it
        hum = torch.where(own[:, 0] < 0.5, 50.0, 60.0)[:, None] * t  # (B, L)
        hum = 0.015 * own[:, 1, None] ** 3 * torch.sin(2 * torch.pi * hum)
        out.addcmul_((own[:, None, 12:] * IN_LEADS).sum(2, keepdim=True), hum[:, None])
    return out, drift_mv, static_mv


def _electrodes(seed: int, index: torch.Tensor, length: int, hz: float):
    """Levels (3, B, 1, 9) mV of wander, static and breathing; starts (B, 18) in the table; uniforms (B, 21)."""
    u = hashing.uniform(seed, index, stream=8, n=60)
    n = hashing.normal(seed, index, stream=9, n=21)
    own = u[:, :21].float()
    wander = ELECTRODES["wander_mv"] * torch.exp(0.5 * n[:, :1] + torch.tensor([0.7] * 3 + [0.9] * 6) * n[:, 3:12])
    loose = (u[:, 3:4] < LOOSE) & (torch.arange(9) == (9 * u[:, 4:5]).long())  # rubs three times as much
    static = ELECTRODES["static_mv"] * torch.exp(0.42 * n[:, 1:2] + 0.52 * n[:, 12:21]) * (1 + 2 * loose)
    breath = ELECTRODES["breath"] * 0.03 * torch.exp(0.6 * n[:, 2:3])
    muscle = (torch.arange(9) < ARMS) | (u[:, 21:30] < 0.15)  # (B, 9): some chest electrodes lie on a working muscle
    start = u[:, 30:48] * (TABLE - length)
    start[:, 9:] += TABLE * (1 + muscle.double())
    return torch.stack([wander, static, breath]).float()[:, :, None], start.long(), own


def _rms(leads: torch.Tensor) -> torch.Tensor:
    """RMS about the mean in each of the twelve leads: (B, 8, L) -> (B, 12) mV."""
    lead = from_independent(leads)
    return (lead.square().mean(-1) - lead.mean(-1).square()).clamp(min=0).sqrt()
