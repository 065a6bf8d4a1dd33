"""An independent reader: a network that had no part in training the model it scores, with hearts of its own."""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from ..config import Training
from ..encoders import see_small_waves
from ..facts import TOLD, facts, facts_loss, untell
from ..simulator import simulate
from ..training import fit

POPULATION = 977  # seed of the reader's own simulated patients, added to the run's seed


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
            nn.Conv1d(24, width, 7, 2, 3), nn.ReLU(), nn.Conv1d(width, width, 5, 2, 2)
        )  # (B, W, 250)
        self.body = nn.Sequential(*(_Residual(width, spread) for spread in (1, 2, 4, 8, 16, 1)))
        self.head = nn.Sequential(nn.Linear(2 * width, 96), nn.ReLU(), nn.Linear(96, TOLD))

    def forward(self, signal: torch.Tensor) -> torch.Tensor:
        """(B, 12, 1000) mV -> (B, TOLD), see `facts`."""
        x = self.body(self.stem(see_small_waves(signal)))  # (B, W, 250)
        return self.head(torch.cat([x.mean(-1), x.amax(-1)], 1))

    @torch.no_grad()
    def read(self, signal: torch.Tensor, batch: int = 128) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """(B, 12, 1000) mV -> {rate_bpm, qrs_ms, qt_ms, pr_ms, axis_deg: (B,)}, (B, F) bool findings."""
        self.eval()
        device = next(self.parameters()).device
        return untell(torch.cat([self(part.to(device)).cpu() for part in signal.split(batch)]))


def train_reader(reader: Reader, plan: Training, seed: int, folder: Path) -> dict:
    """Train on patients of its own, noisy and clean, sharp and smooth alike."""
    device = next(reader.parameters()).device

    def loss(step, generator):
        index = torch.arange(step * plan.batch, (step + 1) * plan.batch)
        made = simulate(POPULATION + seed, index, noise=step % 3 != 0, first_beat=0.3 if step % 3 == 0 else None)
        signal = made.signal
        if step % 2:  # a generated ECG is a little smoother than a recorded one
            signal = F.avg_pool1d(signal, 3, 1, 1, count_include_pad=False)
        return facts_loss(reader.train()(signal.to(device)), facts(made.truth).to(device))

    history = fit("reader", {"reader": reader}, loss, plan, seed=seed, folder=folder)
    reader.requires_grad_(False).eval()
    return history
