"""Heart rate measured on a signal, without any network."""

import csv
import math
from pathlib import Path

import torch
import torch.nn.functional as F

AGREE = 0.10  # real records whose two reference detectors differ by more are disputed, and left out


def r_peaks(signal: torch.Tensor, hz: float) -> torch.Tensor:
    """Where the QRS complexes are: (B, 12, L) mV -> (B, L) bool.

    The root sum of squares of all leads' slopes, smoothed over 90 ms; a peak is the largest value within 220 ms to
    either side and above 30% of the usual peak. All leads together find beats that lead II alone misses in a bundle
    branch block.
    """
    slope = signal.diff(dim=-1, prepend=signal[..., :1]).square().sum(1).sqrt()[:, None]  # (B, 1, L)
    width = 2 * round(0.045 * hz) + 1
    smooth = F.avg_pool1d(slope, width, 1, width // 2, count_include_pad=False)
    smooth = smooth * (1 - 1e-6 * torch.arange(smooth.shape[-1], device=smooth.device))  # of equals the first counts
    reach = 2 * round(0.22 * hz) + 1
    highest = F.max_pool1d(smooth, reach, 1, reach // 2)
    usual = F.max_pool1d(smooth, round(1.6 * hz), round(1.6 * hz)).median(-1, keepdim=True).values  # (B, 1, 1)
    return ((smooth >= highest) & (smooth > 0.30 * usual))[:, 0]


def heart_rate(signal: torch.Tensor, hz: float) -> torch.Tensor:
    """60 over the mean interval between the first and the last R peak: (B, 12, L) -> (B,) bpm, NaN under two peaks."""
    peaks = r_peaks(signal, hz)
    count = peaks.sum(1)
    place = torch.arange(peaks.shape[1], device=peaks.device).float()
    first = torch.where(peaks, place, torch.inf).amin(1)
    last = torch.where(peaks, place, -torch.inf).amax(1)
    return torch.where(count > 1, 60 * hz * (count - 1) / (last - first), torch.nan)


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
