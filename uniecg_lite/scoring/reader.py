"""An independent reader: a network that had no part in training the model it scores, with hearts of its own."""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from ..config import Training
from ..ecg.beats import RHYTHM, rhythm_features, usual_beat
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
    """(B, 12, 1000) mV at 100 Hz -> numbers, finding logits and signs per lead.

    Built unlike phi_s: the representative beat is read whole, each of its moments by weights of its own; beside it go
    dilated convolutions over the whole record, their mean and maximum over time, and `rhythm_features`. No attention.
    """

    def __init__(self, width: int = 48):
        super().__init__()
        self.settings = {"width": width}
        self.stem = nn.Sequential(
            nn.Conv1d(24, width, 7, 2, 3), nn.ReLU(), nn.Conv1d(width, width, 5, 2, 2)
        )  # (B, W, 250)
        self.body = nn.Sequential(*(_Residual(width, spread) for spread in (1, 2, 4, 8, 16, 1)))
        self.beat = nn.Sequential(nn.Conv1d(24, width, 5, 1, 2), nn.ReLU(), _Residual(width, 1), nn.AvgPool1d(4))
        self.rhythm = nn.Sequential(nn.Linear(RHYTHM, 64), nn.ReLU())
        self.head = nn.Sequential(nn.Linear(28 * width + 64 + RHYTHM, 256), nn.ReLU(), nn.Linear(256, TOLD))

    def forward(self, signal: torch.Tensor) -> torch.Tensor:
        """(B, 12, 1000) mV -> (B, TOLD), see `facts`."""
        return self.head(self._seen(signal))

    def _seen(self, signal: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            beat, _, times = usual_beat(signal, 100.0)  # (B, 12, 104)
            rhythm = rhythm_features(times)  # (B, RHYTHM)
        x = self.body(self.stem(see_small_waves(signal)))  # (B, W, 250)
        moments = self.beat(see_small_waves(beat)).flatten(1)  # (B, W * 26)
        return torch.cat([x.mean(-1), x.amax(-1), moments, self.rhythm(rhythm), rhythm], 1)

    @torch.no_grad()
    def features(self, signal: torch.Tensor, batch: int = 128) -> torch.Tensor:
        """(B, 12, 1000) mV -> (B, 256): what the last layer tells all facts from; for `fidelity`."""
        self.eval()
        device = next(self.parameters()).device
        return torch.cat([self.head[:-1](self._seen(part.to(device))).cpu() for part in signal.split(batch)])

    @torch.no_grad()
    def tell(
        self, signal: torch.Tensor, batch: int = 128
    ) -> tuple[dict[str, torch.Tensor], torch.Tensor, torch.Tensor]:
        """(B, 12, 1000) mV -> {rate_bpm, qrs_ms, qt_ms, pr_ms, axis_deg: (B,)}, (B, F) and (B, S, 12) logits."""
        self.eval()
        device = next(self.parameters()).device
        return untell(torch.cat([self(part.to(device)).cpu() for part in signal.split(batch)]))

    def read(self, signal: torch.Tensor, batch: int = 128) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """(B, 12, 1000) mV -> {rate_bpm, qrs_ms, qt_ms, pr_ms, axis_deg: (B,)}, (B, F) bool findings."""
        numbers, logits, _ = self.tell(signal, batch)
        return numbers, logits > 0


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
