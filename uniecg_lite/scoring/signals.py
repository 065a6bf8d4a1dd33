"""Heart rate, ST, T and Q waves measured on a signal, without any network."""

import csv
import math
from pathlib import Path

import torch
import torch.nn.functional as F

from ..ecg.beats import BEFORE, peak_times, r_peaks, usual_beat

AGREE = 0.10  # real records whose two reference detectors differ by more are disputed, and left out
HZ = 100.0  # of `measure_beat`
R_PEAK = round(BEFORE * HZ)  # where it is in a `usual_beat`, in samples


def heart_rate(signal: torch.Tensor, hz: float) -> torch.Tensor:
    """60 over the mean interval between the first and the last R peak: (B, 12, L) -> (B,) bpm, NaN under two peaks."""
    peaks = r_peaks(signal, hz)
    count = peaks.sum(1)
    place = torch.arange(peaks.shape[1], device=peaks.device).float()
    first = torch.where(peaks, place, torch.inf).amin(1)
    last = torch.where(peaks, place, -torch.inf).amax(1)
    return torch.where(count > 1, 60 * hz * (count - 1) / (last - first), torch.nan)


def beat_size_spread(signal: torch.Tensor, hz: float) -> torch.Tensor:
    """How much the QRS complexes of one record differ in size: (B, 12, L) -> (B,), NaN under four beats.

    A size is the peak to peak of 160 ms around the R peak, over all leads (root of the sum of squares); their standard
    deviation over their mean, the first and the last beat left out. A healthy heart's breathing makes some hundredths.
    """
    times, reach = peak_times(signal, hz), round(0.08 * hz)  # (B, K)
    inner = ~times.isnan()
    inner[:, 0] = False
    inner &= F.pad(inner[:, 1:], (0, 1))  # the last one has no beat after it
    start = (times.nan_to_num(0.0) * hz).long().sub(reach).clamp(0, signal.shape[-1] - 2 * reach - 1)
    row = torch.arange(len(signal), device=signal.device)[:, None]
    cut = signal.unfold(2, 2 * reach + 1, 1)[row, :, start]  # (B, K, 12, W)
    size = torch.where(inner, (cut.amax(-1) - cut.amin(-1)).norm(dim=-1), torch.nan)  # (B, K)
    mean = size.nanmean(1)
    spread = ((size - mean[:, None]).square().nansum(1) / (inner.sum(1) - 1).clamp(min=1)).sqrt() / mean
    return torch.where(inner.sum(1) > 1, spread, torch.nan)


def real_rates(folder: str | Path) -> dict[str, float]:
    """Reference heart rates of a folder of real records with a `manifest.csv`: record -> bpm.

    Disputed records are left out: those whose two reference detectors differ by over 10%, or that lack one of them.
    """
    rates = {}
    with open(Path(folder) / "manifest.csv", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            try:
                one, other = float(row["hr_bpm_nk"]), float(row["hr_bpm_nk_pantompkins"])
            except ValueError:
                continue
            if math.isfinite(one) and abs(one - other) <= AGREE * max(one, other):
                rates[row["record"]] = one
    return rates


def measure_beat(signal: torch.Tensor, qrs_ms: torch.Tensor, qt_ms: torch.Tensor) -> dict[str, torch.Tensor]:
    """ST, T and Q of the usual beat by simple rules: (B, 12, L) mV, (B,), (B,) -> (B, 12) each.

    The QRS is the stretch of its duration that holds most of the slope; the baseline is the mean of the 60 to 20 ms
    before it. ST is the level 20 ms after it, T the largest deflection from 80 ms after it to the end of QT, Q the
    first deflection, if it points down; a Q wave counts from 0.1 mV over 30 ms.
    """
    beat = usual_beat(signal, HZ)[0]  # (B, 12, W)
    width = beat.shape[-1]
    steep = beat.diff(dim=-1, prepend=beat[..., :1]).square().sum(1).sqrt().cumsum(-1)  # (B, W)
    long = (qrs_ms / 10).round().long().clamp(4, 24)[:, None]  # (B, 1) samples
    first = torch.arange(R_PEAK - 20, R_PEAK + 1).expand(len(beat), -1)  # where the QRS may begin
    held = steep.gather(1, (first + long).clamp(max=width - 1)) - steep.gather(1, first)
    onset = first.gather(1, held.argmax(1, keepdim=True))[..., None]  # (B, 1, 1)
    place, long = torch.arange(width), long[..., None]
    level = beat - _mean(beat, (place >= onset - 6) & (place < onset - 2))[..., None]  # (B, 12, W)
    end = onset + long
    st = level.gather(2, (end + 2).clamp(max=width - 1).expand(-1, level.shape[1], -1))[..., 0]
    late = (place >= end + 8) & (place < torch.maximum(onset + (qt_ms / 10).round().long()[:, None, None], end + 12))
    t = level.where(late, 0.0)
    t = t.gather(2, t.abs().argmax(2, keepdim=True))[..., 0]
    inside = (place >= onset) & (place < end)
    start = ((level.abs() > 0.05) & inside).int().argmax(2, keepdim=True)  # the first deflection: (B, 12, 1)
    run = inside & (((level > 0) & (place > start)).cumsum(2) == 0) & (level.gather(2, start) < 0)
    q = level.where(run, 0.0).amin(2).clamp(max=0)
    return {"st_mv": st, "t_mv": t, "q_mv": q, "q_wave": (q <= -0.1) & (((level < -0.03) & run).sum(2) >= 3)}


def _mean(x: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    """Mean of (B, 12, W) over the samples of a mask that broadcasts to it: (B, 12)."""
    where = where.expand_as(x)
    return (x * where).sum(2) / where.sum(2).clamp(min=1)
