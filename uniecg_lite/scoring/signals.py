"""Heart rate measured on a signal, without any network."""

import csv
import math
from pathlib import Path

import torch

from ..ecg.beats import r_peaks

AGREE = 0.10  # real records whose two reference detectors differ by more are disputed, and left out


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
