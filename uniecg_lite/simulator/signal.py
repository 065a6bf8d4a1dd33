"""From a beating dipole to twelve leads with the noise of a real recording."""

from dataclasses import dataclass

import torch

from ..ecg import from_independent
from . import random
from .beats import VENTRICULAR, schedule
from .hearts import Hearts, sample
from .truth import measure
from .waves import qrs_st_t, read_leads, ventricular

LEAD_IN = 0.03  # s before QRS onset from which a beat owns the samples: the tail of its first Gaussian


@dataclass
class Simulated:
    """B recordings and what is true about them (see `truth.measure` for the keys)."""

    signal: torch.Tensor  # (B, 12, L) mV
    hz: float
    truth: dict[str, torch.Tensor]


def simulate(
    seed: int, index, hz: float = 100.0, seconds: float = 10.0, noise: bool = True, first_beat: float | None = None
) -> Simulated:
    """Simulate the records with these numbers.

    Args:
        seed: which population.
        index: record numbers, an int or (B,) integers; record i is the same whatever the batch.
        hz: sampling rate; the same heart is read at any rate.
        seconds: length.
        noise: add baseline wander, muscle noise and (where hz can carry it) mains hum.
        first_beat: where the first whole beat begins, in s; by default anywhere.

    Returns:
        Simulated with signal (B, 12, L) float32 in mV.
    """
    index = torch.atleast_1d(torch.as_tensor(index, dtype=torch.int64))
    hearts = sample(seed, index)
    onset, kind = schedule(hearts, seconds)
    if first_beat is not None:
        onset = onset - onset[:, 2:3] + first_beat
    length = round(seconds * hz)
    t = torch.arange(-(-length // 64) * 64) / hz  # whole vector registers: the same rounding in any batch
    dipole = _dipole(hearts, onset, kind, t)  # (B, 3, L)
    independent = read_leads(hearts, dipole)  # (B, 8, L)
    if noise:
        independent = independent + _noise(hearts, t, hz)
    return Simulated(from_independent(independent[..., :length]), hz, measure(hearts, onset, kind, seconds))


def _dipole(hearts: Hearts, onset: torch.Tensor, kind: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """The dipole in time (B, 3, L): each sample belongs to the last beat that began, and to the P of the next."""
    grid = t.expand(len(onset), -1).contiguous()  # (B, L)
    later = torch.searchsorted((onset - LEAD_IN).contiguous(), grid, right=True).clamp(1, onset.shape[1] - 1)
    since = grid - onset.gather(1, later - 1)
    until = onset.gather(1, later) - grid
    dipole = qrs_st_t(hearts, since)
    rows = hearts.pvc.nonzero()[:, 0]
    if len(rows):
        own = (kind.gather(1, later - 1)[rows] == VENTRICULAR)[:, None]  # (b, 1, L)
        dipole[rows] = torch.where(own, qrs_st_t(ventricular(hearts[rows]), since[rows]), dipole[rows])
    breath = random.uniform(hearts.seed, hearts.index, stream=6, n=4).float()
    swing = 1 + 0.06 * breath[:, :1] * torch.sin(2 * torch.pi * (breath[:, 1:2] + (0.18 + 0.15 * breath[:, 2:3]) * t))
    return (dipole + _atria(hearts, kind.gather(1, later), until, t)) * swing[:, None]


def _atria(hearts: Hearts, next_kind: torch.Tensor, until: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """P waves before sinus and atrial beats; in atrial fibrillation the fine unrest of f waves instead: (B, 3, L)."""
    u = random.uniform(hearts.seed, hearts.index, stream=7, n=16).float()
    z = (until - hearts.pr[:, None] + hearts.p_duration[:, None] / 2) / (hearts.p_duration[:, None] / 5)
    height = torch.where(hearts.afib[:, None] | (next_kind == VENTRICULAR), 0.0, 1.0)
    p = torch.exp(-0.5 * z * z) * height  # (B, L)
    early = torch.stack([0.3 - 0.9 * u[:, 0], 1.2 * u[:, 1] - 0.5, 1.5 * u[:, 2] - 0.5], -1) * 0.12
    ectopic = (next_kind == 2)[:, None]
    wave = torch.where(ectopic, early[..., None], hearts.p_vector[..., None]) * p[:, None]
    rows = hearts.afib.nonzero()[:, 0]
    if len(rows):
        f, time = u[rows], t[None]
        drift = 0.8 * torch.sin(2 * torch.pi * (0.3 + 0.5 * f[:, 3:4]) * time + 6 * f[:, 4:5])
        first = torch.sin(2 * torch.pi * (4.5 + 2.5 * f[:, 5:6]) * time + drift + 6.28 * f[:, 6:7])
        second = torch.sin(2 * torch.pi * (5.5 + 3.0 * f[:, 7:8]) * time - 1.7 * drift + 6.28 * f[:, 8:9])
        size = 0.015 + 0.06 * f[:, 9:10] ** 2
        direction = torch.stack([f[:, 10] - 0.3, 0.4 + 0.6 * f[:, 11], -0.4 - 0.8 * f[:, 12]], -1)  # (b, 3)
        wave[rows] = direction[..., None] * (size * (first + 0.6 * second))[:, None]
    return wave


def _noise(hearts: Hearts, t: torch.Tensor, hz: float) -> torch.Tensor:
    """Noise at the nine electrodes, read in the eight leads, so that the lead laws hold for it too: (B, 8, L)."""
    u = random.uniform(hearts.seed, hearts.index, stream=8, n=4 + 9 * 5).float()
    own = u[:, 4:].view(-1, 9, 5, 1)
    wander = (
        0.10
        * u[:, :1, None] ** 1.5
        * (
            torch.sin(2 * torch.pi * ((0.05 + 0.25 * own[:, :, 0]) * t + own[:, :, 1]))
            + 0.6 * torch.sin(2 * torch.pi * ((0.2 + 0.4 * own[:, :, 2]) * t + own[:, :, 3]))
        )
    )
    white = random.white(hearts.seed, hearts.index, 9, 9, len(t))  # (B, 9, L)
    level = (0.003 + 0.022 * u[:, 1:2, None] ** 2) * (0.5 + own[:, :, 4]) * (hz / 100) ** 0.5
    electrode = wander + level * white
    if hz > 2.2 * 50:  # below that, a recorder's own low-pass has removed it
        hum = torch.where(u[:, 2:3] < 0.5, 50.0, 60.0)
        electrode = electrode + (0.015 * u[:, 3:4] ** 3 * torch.sin(2 * torch.pi * hum * t))[:, None] * own[:, :, 4]
    arm_r, arm_l, leg = electrode[:, 0], electrode[:, 1], electrode[:, 2]
    limb = torch.stack([arm_l - arm_r, leg - arm_r], 1)
    return torch.cat([limb, electrode[:, 3:] - (arm_r + arm_l + leg)[:, None] / 3], 1)
