"""An independent reader: a network that had no part in training the model it scores, with hearts of its own."""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from ..config import Training
from ..encoders import see_small_waves
from ..language import CODES
from ..simulator import simulate
from ..training import fit

POPULATION = 977  # seed of the reader's own simulated patients, added to the run's seed
SCALES = {"rate_bpm": (80.0, 30.0), "qrs_ms": (100.0, 25.0), "qt_ms": (380.0, 50.0)}


class _Residual(nn.Module):
    def __init__(self, width: int, spread: int):
        super().__init__()
        self.body = nn.Sequential(
            nn.GroupNorm(1, width), nn.ReLU(), nn.Conv1d(width, width, 5, padding=2 * spread, dilation=spread)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.body(x)


class Reader(nn.Module):
    """A dilated residual convolutional network: (B, 12, 1000) mV at 100 Hz -> numbers and finding logits.

    Built unlike phi_s: dilated residual convolutions, mean and maximum over time, no attention.
    """

    def __init__(self, width: int = 48):
        super().__init__()
        self.settings = {"width": width}
        self.stem = nn.Sequential(
            nn.Conv1d(24, width, 7, 2, 3), nn.GroupNorm(1, width), nn.ReLU(), nn.Conv1d(width, width, 5, 2, 2)
        )  # (B, W, 250)
        self.body = nn.Sequential(*(_Residual(width, spread) for spread in (1, 2, 4, 8, 16, 1)))
        self.head = nn.Sequential(nn.Linear(2 * width, 96), nn.ReLU(), nn.Linear(96, len(SCALES) + len(CODES)))

    def forward(self, signal: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, 12, 1000) -> numbers (B, 3) in units of `SCALES`, logits (B, F)."""
        x = self.body(self.stem(see_small_waves(signal)))  # (B, W, 250)
        out = self.head(torch.cat([x.mean(-1), x.amax(-1)], 1))
        return out[:, : len(SCALES)], out[:, len(SCALES) :]

    @torch.no_grad()
    def read(self, signal: torch.Tensor, batch: int = 128) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """(B, 12, 1000) mV -> {rate_bpm, qrs_ms, qt_ms: (B,)}, (B, F) bool findings."""
        self.eval()
        numbers, logits = zip(*(self(part.to(next(self.parameters()).device)) for part in signal.split(batch)))
        numbers, logits = torch.cat(numbers).cpu(), torch.cat(logits).cpu()
        return {
            key: numbers[:, i] * scale + middle for i, (key, (middle, scale)) in enumerate(SCALES.items())
        }, logits > 0


def train_reader(reader: Reader, plan: Training, seed: int, folder: Path) -> dict:
    """Train on patients of its own, noisy and clean, sharp and smooth alike."""
    device = next(reader.parameters()).device

    def loss(step, generator):
        index = torch.arange(step * plan.batch, (step + 1) * plan.batch)
        made = simulate(POPULATION + seed, index, noise=step % 3 != 0, first_beat=0.3 if step % 3 == 0 else None)
        signal = made.signal
        if step % 2:  # a generated ECG is a little smoother than a recorded one
            signal = F.avg_pool1d(signal, 3, 1, 1, count_include_pad=False)
        numbers, logits = reader.train()(signal.to(device))
        target = torch.stack([(made.truth[key] - middle) / scale for key, (middle, scale) in SCALES.items()], 1)
        return F.smooth_l1_loss(numbers, target.to(device)) + F.binary_cross_entropy_with_logits(
            logits, made.truth["findings"].float().to(device)
        )

    history = fit("reader", {"reader": reader}, loss, plan, seed=seed, folder=folder)
    reader.requires_grad_(False).eval()
    return history
