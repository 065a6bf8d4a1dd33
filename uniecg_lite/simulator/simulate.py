"""From beats to twelve leads, with the noise of a real recording."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from ..leads import from_independent
from . import hashing
from .disease import put
from .hearts import Hearts, beat_signal, gauss, ventricular_beat
from .noise import noise as recorder_noise
from .sample import sample
from .schedule import EARLY_P, NO_P, VENTRICULAR, Beats, flutter_wave, schedule
from .truth import measure

LEAD_IN = 0.04  # s before QRS onset from which a beat owns the samples: the spike of a pacemaker, a first tail


@dataclass
class Simulated:
    """B recordings and what is true about them (see `truth.measure` for the keys)."""

    signal: torch.Tensor  # (B, 12, L) mV
    hz: float
    truth: dict[str, torch.Tensor]


@torch.autocast("cpu", enabled=False)  # in a training step, too, a heart is the same
def simulate(
    seed: int,
    index,
    hz: float = 100.0,
    seconds: float = 10.0,
    noise: bool = True,
    first_beat: float | None = None,
    visit: int = 0,
    change: Callable[[Hearts], Hearts] | None = None,
) -> Simulated:
    """Simulate the records with these numbers.

    Args:
        seed: which population.
        index: record numbers, an int or (B,) integers; record i is the same whatever the batch.
        hz: sampling rate; the same heart is read at any rate.
        seconds: length.
        noise: add baseline wander, muscle noise and (where hz can carry it) mains hum.
        first_beat: where the first whole beat begins, in s; by default anywhere.
        visit: 0, or a later ECG of the same patient: the same chest at another rate, perhaps with other findings.
        change: makes other hearts of those that were drawn, before they beat.

    Returns:
        Simulated with signal (B, 12, L) float32 in mV.
    """
    index = torch.atleast_1d(torch.as_tensor(index, dtype=torch.int64))
    hearts = sample(seed, index, visit)
    hearts = change(hearts) if change else hearts
    beats = schedule(hearts, seconds)
    if first_beat is not None:
        later = first_beat - beats.onset[:, 2:3]  # (B, 1) s
        beats = replace(beats, onset=beats.onset + later, p_onset=beats.p_onset + later)
    length = round(seconds * hz)
    t = torch.arange(-(-length // 64) * 64) / hz  # whole vector registers: the same rounding in any batch
    independent = heart_signal(hearts, beats, t)
    truth = measure(hearts, beats, seconds)
    truth["drift_mv"] = truth["static_mv"] = torch.zeros(len(index), 12)
    if noise:
        added, truth["drift_mv"], truth["static_mv"] = recorder_noise(seed + 7919 * visit, index, t, hz)
        independent.add_(added)
    return Simulated(from_independent(independent[..., :length]), hz, truth)


def heart_signal(hearts: Hearts, beats: Beats, t: torch.Tensor) -> torch.Tensor:
    """What the electrodes get from these hearts at times t (L,) s, without noise: (B, 8, L) mV."""
    signal = _atria(hearts, beats, t).add_(_ventricles(hearts, beats, t))  # (B, 8, L)
    who = hearts.who  # breathing turns and lifts the heart: amplitudes swing a little, in each lead by its own share
    u = hashing.uniform(who.seed, who.index, stream=6 + 100 * who.visit, n=11).float()
    wave = torch.sin(2 * torch.pi * (u[:, :1] + (0.18 + 0.15 * u[:, 1:2]) * t))[:, None]  # (B, 1, L)
    depth = who.usual("breath").float()[:, None] / 2 * torch.where(u[:, 3:] < 0.2, -1.0, 0.4 + 0.6 * u[:, 3:])  # (B, 8)
    return signal.mul_(torch.addcmul(torch.ones(()), depth[..., None], wave))


def _begun(onset: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """Which event began last at each time: onsets (B, K) in order, an even grid t (L,) -> (B, L) places in a row."""
    first = (onset.double() / (t[1] - t[0]).double()).ceil().clamp(0, len(t)).long()  # the first sample of each
    count = torch.zeros(len(onset), len(t) + 1, dtype=torch.long).scatter_add_(1, first, torch.ones_like(first))
    return count[:, :-1].cumsum(1).clamp_(min=1).sub_(1)


def _ventricles(hearts: Hearts, beats: Beats, t: torch.Tensor) -> torch.Tensor:
    """QRS, ST, T and U in time, (B, 8, L): each sample belongs to the last beat that began."""
    beat = _begun(beats.onset - LEAD_IN, t)  # (B, L)
    since = t - beats.onset.gather(1, beat)
    late = since / beats.stretch.gather(1, beat)
    signal = beat_signal(hearts, since, late)
    rows = hearts.has("PVC", "BIGU").nonzero()[:, 0]
    early = (beats.kind[rows].gather(1, beat[rows]) == VENTRICULAR)[:, None]  # (b, 1, L)
    signal[rows] = torch.where(early, ventricular_beat(hearts.ventricular_mv[rows], since[rows]), signal[rows])
    return signal


def _atria(hearts: Hearts, beats: Beats, t: torch.Tensor) -> torch.Tensor:
    """P waves; in flutter saw teeth, in fibrillation the fine unrest of f waves instead: (B, 8, L)."""
    wave = _begun(beats.p_onset - 0.02, t)  # (B, L)
    since = t - torch.where(beats.p_kind == NO_P, -1e3, beats.p_onset).gather(1, wave)  # so long ago: nothing is left
    basis = since.new_empty(len(since), 3, since.shape[1])
    gauss(since[:, None], hearts.p_centre[..., None], hearts.p_width[..., None], out=basis)
    out = torch.bmm(hearts.p_mv, basis)
    rows = hearts.has("PAC", "JUNC").nonzero()[:, 0]
    other = hearts.early_p_mv[rows][..., None] * (1.2 * (basis[rows, 0] + basis[rows, 1]))[:, None]
    early = beats.p_kind[rows].gather(1, wave[rows]) == EARLY_P  # (b, L)
    out[rows] = torch.where(early[:, None], other, out[rows])
    rows, who = hearts.has("AFIB", "AFLT").nonzero()[:, 0], hearts.who
    u = hashing.uniform(who.seed, who.index[rows], stream=7 + 100 * who.visit, n=8).float()[..., None]  # (b, 8, 1)
    drift = 0.8 * torch.sin(2 * torch.pi * (0.3 + 0.5 * u[:, 0]) * t + 6 * u[:, 1])
    first = torch.sin(2 * torch.pi * (4.5 + 2.5 * u[:, 2]) * t + drift + 6.28 * u[:, 3])
    second = torch.sin(2 * torch.pi * (5.5 + 3.0 * u[:, 4]) * t - 1.7 * drift + 6.28 * u[:, 5])
    since = (t - beats.onset[rows, 2:3]) / flutter_wave(hearts.rr[rows, None])
    turn = 2 * torch.pi * (since + 0.35 + 0.3 * u[:, 6])
    saw = torch.sin(turn) + 0.45 * torch.sin(2 * turn) + 0.22 * torch.sin(3 * turn)
    out[rows] = hearts.flutter_mv[rows][..., None] * put(who.has("AFLT")[rows], first + 0.6 * second, saw)[:, None]
    return out
