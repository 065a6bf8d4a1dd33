"""Can a network tell simulated beats from real ones?

It sees single beats, cut around the R peaks, of comparable records. An area under the ROC curve (AUROC) of 0.5 means
that it cannot tell, 1.0 that it always can: the classifier two-sample test of Lopez-Paz and Oquab, "Revisiting
classifier two-sample tests", arXiv 1610.06545.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn
from torchmetrics.functional.classification import binary_auroc

from ..errors import BadECG
from .signals import r_peaks

EDGE_S = 0.2  # left out at either end: PTB-XL holds its last 0.1 s constant
BEFORE_S, BEAT_S = 0.3, 0.8  # a beat begins 0.3 s before its R peak and lasts 0.8 s
FOLDS, BEATS_EACH = 5, 8


def centred(signal: torch.Tensor) -> torch.Tensor:
    """(B, 12, L) about each lead's median: the offset of a lead says nothing."""
    return signal - signal.median(-1, keepdim=True).values


def beats(signal: torch.Tensor, hz: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Beats cut around the R peaks: (B, 12, L) mV -> (N, 12, 0.8 hz) and the record of each (N,), in order.

    Beats that reach into the first or last 0.2 s are left out. Each lead is taken about its median over the record.
    """
    before, width, edge = round(BEFORE_S * hz), round(BEAT_S * hz), round(EDGE_S * hz)
    owner, place = r_peaks(signal, hz).nonzero().unbind(1)
    start = place - before
    inside = (start >= edge) & (start + width <= signal.shape[-1] - edge)
    windows = centred(signal).unfold(-1, width, 1)  # (B, 12, L - width + 1, width)
    return windows[owner[inside], :, start[inside]], owner[inside]


def means(owner: torch.Tensor, n: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """A function from values of beats (N, ...) to their means in each record (n, ...), NaN where there is none."""
    count = torch.bincount(owner, minlength=n)

    def mean(values: torch.Tensor) -> torch.Tensor:
        total = torch.zeros(n, *values.shape[1:], dtype=values.dtype).index_add_(0, owner, values)
        return total / count.view(-1, *[1] * (values.dim() - 1))

    return mean


class BeatNet(nn.Module):
    """Is this beat simulated? A small convolutional network: (N, 12, W) mV -> (N,) logits, positive for real."""

    def __init__(self, width: int = 32):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(12, width, 7, 1, 3),
            nn.ReLU(),
            nn.Conv1d(width, width, 5, 2, 2),
            nn.ReLU(),
            nn.Conv1d(width, width, 5, 2, 2),
            nn.ReLU(),
        )
        self.head = nn.Sequential(nn.Dropout(0.3), nn.Linear(2 * width, 1))

    def forward(self, beat: torch.Tensor) -> torch.Tensor:
        x = self.body(2 * beat.clamp(-4, 4))  # (N, W, 20)
        return self.head(torch.cat([x.mean(-1), x.amax(-1)], 1))[:, 0]


def _sample(signal: torch.Tensor, names: list, hz: float, seed: int, side: int):
    """At most `BEATS_EACH` beats of each record, evenly spread: beats, record, and a fold for each patient."""
    cut, owner = beats(signal, hz)
    first = torch.searchsorted(owner, owner)  # place of the record's first beat
    count = torch.bincount(owner, minlength=len(signal))[owner]
    turn = torch.arange(len(owner)) - first
    step = (count / BEATS_EACH).clamp(min=1)
    keep = (turn / step).floor() != ((turn - 1) / step).floor()
    patients = {name: i for i, name in enumerate(dict.fromkeys(names))}
    generator = torch.Generator().manual_seed(2 * seed + side)
    fold = torch.randperm(len(patients), generator=generator) % FOLDS
    return cut[keep], owner[keep], fold[torch.tensor([patients[n] for n in names])][owner[keep]]


def separability(
    simulated: torch.Tensor,
    real: torch.Tensor,
    seed: int = 0,
    patients: list[str] | None = None,
    epochs: int = 24,
    hz: float = 100.0,
) -> dict[str, float]:
    """How well a network tells simulated beats from real ones: five folds, split by patient.

    Args:
        simulated, real: (B, 12, L) mV, already comparable (see `sinus_like`); about as many of either.
        seed: of folds, weights and batches.
        patients: of the real records, (B,) names; by default each record is its own patient.
        epochs: passes over the training beats.

    Returns:
        realism.auc over single held-out beats, pooled over folds; realism.auc_record over records, the mean logit of
        each; realism.auc_low and realism.auc_high, the lowest and highest fold; realism.beats; realism.records.

    Raises:
        BadECG: fewer than ten records on one side.
    """
    if min(len(simulated), len(real)) < 10:
        raise BadECG(f"Ten records a side are needed, got {len(simulated)} and {len(real)}: give more.")
    mine = _sample(simulated, list(range(len(simulated))), hz, seed, 0)
    theirs = _sample(real, patients or list(range(len(real))), hz, seed, 1)
    beat = torch.cat([mine[0], theirs[0]])
    owner = torch.cat([mine[1], theirs[1] + len(simulated)])
    fold = torch.cat([mine[2], theirs[2]])
    label = (owner >= len(simulated)).float()
    said = torch.empty(len(beat))
    for f in range(FOLDS):
        out = fold == f
        said[out] = _tell(beat[~out], label[~out], beat[out], seed * FOLDS + f, epochs)
    folds = [binary_auroc(said[fold == f], label[fold == f].int()).item() for f in range(FOLDS)]
    records = means(owner, len(simulated) + len(real))(said)
    there = ~records.isnan()
    of_real = (torch.arange(len(records)) >= len(simulated)).int()
    return {
        "realism.auc": binary_auroc(said, label.int()).item(),
        "realism.auc_record": binary_auroc(records[there], of_real[there]).item(),
        "realism.auc_low": min(folds),
        "realism.auc_high": max(folds),
        "realism.beats": len(beat),
        "realism.records": int(there.sum()),
    }


def _tell(beat, label, held_out, seed: int, epochs: int, batch: int = 64) -> torch.Tensor:
    """Train a network on beats (N, 12, W), shifted by up to 20 ms; its logits of the held-out ones."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = BeatNet()
        weight = torch.where(
            label > 0, (label == 0).float().mean(), (label > 0).float().mean()
        )  # both sides count alike
        steps = epochs * -(-len(beat) // batch)
        optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=0.05)
        plan = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
        for _ in range(epochs):
            for rows in torch.randperm(len(beat)).split(batch):
                shown = beat[rows].roll(int(torch.randint(-2, 3, ())), dims=-1)
                loss = F.binary_cross_entropy_with_logits(net(shown), label[rows], weight[rows] * 2)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                plan.step()
        net.eval()
        with torch.no_grad():
            return net(held_out)
