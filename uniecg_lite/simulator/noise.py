"""What skin, muscles and a moving chest add to a recording, made at the nine electrodes so that the lead laws hold.

Levels and spectra were set to 125 real records, measured between T and P, where no heart speaks: arm muscles tremble
most, the leg least; baseline wander is largest at the chest and differs from electrode to electrode by a factor of
ten; neither follows the other.
"""

from functools import lru_cache

import torch

from ..ecg import from_independent
from . import random

# Electrodes: right arm, left arm, left leg, V1 .. V6.
WANDER_MV = (0.018, 0.018, 0.028, 0.032, 0.036, 0.038, 0.046, 0.044, 0.046)  # median RMS of each electrode's wander
STATIC_MV = (0.008, 0.008, 0.0045) + 6 * (0.0052,)  # median RMS of its muscle and skin noise
BREATH = (0.1, 0.1, 0.6, 0.3, 0.3, 0.4, 0.6, 0.6, 0.6)  # how much each moves with the chest
DRIFT_FROM_MV, STATIC_FROM_MV = 0.25, 0.025  # a lead from here on is called noisy: about one record in seven has one
ARMS = 2
BUMPS, LOOSE = 0.06, 0.10  # shares of records with a motion bump, and with one loose electrode


@lru_cache(maxsize=6)
def _tables(seed: int, hz: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Two long tables of unit RMS for this population and rate: wander; skin noise followed by muscle noise."""
    n = random.TABLE
    white = torch.randn(3, n, generator=torch.Generator().manual_seed((seed * 31 + 17) % 2**63))
    f = torch.fft.rfftfreq(n, 1 / hz).clamp(min=1e-3)
    fall = (1 - (f - 0.45 * hz) / (0.08 * hz)).clamp(0, 1)  # the recorder's own low-pass, below half its rate
    wander = (f > 0.03) / (1 + (f / 0.28).square())
    skin = fall / (1 + (f / 8).square()).pow(0.8) * (f / 3).clamp(max=1)
    muscle = fall / (1 + (f / 18).pow(2.4)).sqrt() * (f / 3).clamp(max=1)
    shaped = torch.fft.irfft(torch.fft.rfft(white) * torch.stack([wander, skin, muscle]), n=n)
    shaped /= shaped.square().mean(-1, keepdim=True).sqrt()
    return shaped[0], shaped[1:].flatten()


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
    drift, static = (_windows(table, at, len(t)) for table, at in zip(_tables(seed, float(hz)), start))  # (B, 9, L)
    drift.mul_(level[0]).addcmul_(_breathing(own, t), level[2])
    _bump(drift, own, t)
    drift_mv, static_mv = _rms(drift[..., ::16]), _rms(static[..., ::4] * level[1])
    drift.addcmul_(static, level[1])
    if hz > 2.2 * 50:  # below that, a recorder's own low-pass has removed it
        hum = torch.where(own[:, 0] < 0.5, 50.0, 60.0)[:, None] * t  # (B, L)
        drift.add_((0.015 * own[:, 1, None] ** 3 * torch.sin(2 * torch.pi * hum))[:, None] * own[:, 12:, None])
    return _leads(drift), drift_mv, static_mv


def _windows(table: torch.Tensor, start: torch.Tensor, length: int) -> torch.Tensor:
    """(B, 9) places in a long table -> (B, 9, L) samples from there on; a copy of rows, the fastest way there is."""
    return table.unfold(0, length, 1).index_select(0, start.flatten()).view(*start.shape, length)


def _electrodes(seed: int, index: torch.Tensor, length: int, hz: float):
    """Levels (3, B, 9, 1) mV of wander, static and breathing; starts (2, B, 9) in the tables; uniforms (B, 21)."""
    u = random.uniform(seed, index, stream=8, n=60)
    n = random.normal(seed, index, stream=9, n=21)
    own = u[:, :21].float()
    wander = torch.tensor(WANDER_MV) * torch.exp(0.5 * n[:, :1] + torch.tensor([0.7] * 3 + [0.9] * 6) * n[:, 3:12])
    static = torch.tensor(STATIC_MV) * torch.exp(0.42 * n[:, 1:2] + 0.52 * n[:, 12:21])
    loose = (u[:, 3:4] < LOOSE) & (torch.arange(9) == (9 * u[:, 4:5]).long())
    static = torch.where(loose, 3 * static, static)
    breath = torch.tensor(BREATH) * 0.03 * torch.exp(0.6 * n[:, 2:3])
    muscle = (torch.arange(9) < ARMS) | (u[:, 21:30] < 0.15)  # (B, 9): some chest electrodes lie on a working muscle
    half = random.TABLE
    start = torch.stack([u[:, 30:39] * (half - length), u[:, 39:48] * (half - length) + muscle * half]).long()
    return torch.stack([wander, static, breath]).float()[..., None], start, own


def _breathing(own: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """One breath after the other, 9 to 24 a minute: (B, 1, L) of amplitude 1."""
    return torch.sin(2 * torch.pi * (own[:, 5:6] + (0.15 + 0.25 * own[:, 6:7]) * t))[:, None]


def _bump(drift: torch.Tensor, own: torch.Tensor, t: torch.Tensor) -> None:
    """In a few records one electrode is pushed and settles: adds to drift (B, 9, L) in place."""
    rows = (own[:, 7] < BUMPS).nonzero()[:, 0]
    u = own[rows]
    since = t - t[-1] * u[:, 8:9]  # (b, L)
    width = torch.where(since < 0, 0.05 + 0.1 * u[:, 9:10], 0.1 + 0.5 * u[:, 10:11])
    push = (0.2 + 0.8 * u[:, 11:12] ** 2) * torch.exp(-0.5 * (since / width).square())
    side = torch.where(u[:, 12] < 0.5, -1.0, 1.0)
    drift[rows, 3 + (6 * u[:, 13]).long()] += side[:, None] * push


def _leads(electrode: torch.Tensor) -> torch.Tensor:
    """(B, 9, L) at the electrodes -> (B, 8, L) in the leads: chest leads are measured against the mean of the limbs."""
    arm_r, arm_l, leg = electrode[:, 0], electrode[:, 1], electrode[:, 2]
    out = torch.empty(len(electrode), 8, electrode.shape[-1])
    torch.sub(arm_l, arm_r, out=out[:, 0])
    torch.sub(leg, arm_r, out=out[:, 1])
    torch.sub(electrode[:, 3:], ((arm_r + arm_l + leg) / 3)[:, None], out=out[:, 2:])
    return out


def _rms(electrode: torch.Tensor) -> torch.Tensor:
    """RMS about the mean in each of the twelve leads: (B, 9, L) -> (B, 12) mV."""
    lead = from_independent(_leads(electrode))
    return (lead.square().mean(-1) - lead.mean(-1).square()).clamp(min=0).sqrt()
