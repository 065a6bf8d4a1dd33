"""How real are simulated ECGs? Statistics against recorded ones, and a network that tells their beats apart.

The network sees single beats, cut around the R peaks, of comparable records. An area under the ROC curve (AUROC) of 0.5
means that it cannot tell, 1.0 that it always can: the classifier two-sample test of Lopez-Paz and Oquab, "Revisiting
classifier two-sample tests", arXiv 1610.06545.
"""

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from scipy.stats import ks_2samp
from torch import Tensor, nn
from torchmetrics.functional.classification import binary_auroc

from ..beats import BEFORE_S, EDGE_S, centred, cut_beats, heart_rate, r_peaks
from ..errors import BadECG
from ..findings import CODES
from ..leads import ROWS

HZ = 100.0  # of all signals here
BANDS = {"drift": (0.0, 0.5), "slow": (0.5, 3.0), "wave": (3.0, 15.0), "sharp": (15.0, 35.0), "fine": (35.0, 49.0)}
QUANTILES = (0.01, 0.05, 0.5, 0.95, 0.99)
COMMON = ("SR", "SBRAD", "STACH", "SARRH", "NORM", "LAD", "LAFB", "LVH", "STD", "TINV", "LAE", "PAC", "PVC")  # in both
FOLDS, BEATS_EACH = 5, 8
EDGE, R_PEAK = round(EDGE_S * HZ), round(BEFORE_S * HZ)  # samples left out at the ends; where R is in a cut beat
QRS = slice(R_PEAK - 8, R_PEAK + 9)  # of a cut beat


def band_rms(signal: Tensor) -> dict[str, Tensor]:
    """RMS in mV of each band of `BANDS` (Hz), (B, 12) each, from one Hann-windowed spectrum without the ends."""
    x = signal[..., EDGE:-EDGE]
    window = torch.hann_window(x.shape[-1])
    power = torch.fft.rfft((x - x.mean(-1, keepdim=True)) * window).abs().square()
    power = 2 * power / (x.shape[-1] * window.square().sum())  # its sum over frequencies is the variance
    f = torch.fft.rfftfreq(x.shape[-1], 1 / HZ)
    return {name: power[..., (f >= low) & (f < high)].sum(-1).sqrt() for name, (low, high) in BANDS.items()}


def quiet_noise(signal: Tensor) -> Tensor:
    """RMS in mV above about 25 Hz in the quieter third of the record, where no QRS is: (B, 12, L) -> (B, 12)."""
    x = signal[..., EDGE:-EDGE]
    f = torch.fft.rfftfreq(x.shape[-1], 1 / HZ)
    rise = torch.sin(torch.pi / 2 * ((f - 15) / 20).clamp(0, 1)).square()  # a soft edge, so that a QRS does not ring on
    high = torch.fft.irfft(torch.fft.rfft(x) * rise, n=x.shape[-1])
    return F.avg_pool1d(high.square(), 10).quantile(0.3, -1).sqrt()  # of (B, 12, windows of 0.1 s)


def statistics(signal: Tensor) -> dict[str, Tensor]:
    """What can be measured on any record: (B, 12, L) mV at 100 Hz -> tensors with a leading B.

    Returns:
        quantiles (B, 12, 5) of the centred amplitude at `QUANTILES`, mV; `<band>_mv` (B, 12) for each of `BANDS`;
        quiet_mv (B, 12), see `quiet_noise`; rate_bpm, sdnn_ms, rmssd_ms (B,) of the RR intervals;
        qrs_variation (B, 12), the spread of the QRS size from beat to beat as a share of its mean;
        qrs_ms (B,), for how long the mean beat is steeper than a quarter of its steepest, within 0.15 s of R;
        non_dipolar (B,), the share of the mean beat's QRS (as RMS) that no three fixed directions of the eight
        independent leads hold. NaN where a record has too few beats.
    """
    n, (cut, owner) = len(signal), cut_beats(signal, HZ)
    qrs = cut[..., QRS]  # (N, 12, 17)
    size, beat = qrs.amax(-1) - qrs.amin(-1), means(cut, owner, n)  # (N, 12), (B, 12, W)
    usual, squares = (means(values, owner, n) for values in (size, size.square()))  # (B, 12)
    shape = beat[:, ROWS, QRS].nan_to_num()
    energy = torch.linalg.svdvals(shape - shape.mean(-1, keepdim=True)).square()  # (B, 8)
    slope = beat.diff(dim=-1).square().sum(1).sqrt()[:, R_PEAK - 15 : R_PEAK + 15]
    over, place = slope > 0.25 * slope.amax(1, keepdim=True), torch.arange(slope.shape[1]).float()
    first, last = torch.where(over, place, torch.inf).amin(1), torch.where(over, place, -torch.inf).amax(1)
    # SDNN and RMSSD (Task Force of the ESC and NASPE, Circulation 93:1043, 1996), of all intervals
    whose, peak = r_peaks(signal, HZ).nonzero().unbind(1)
    rr, same = 1000 / HZ * peak.diff().double(), whose.diff() == 0
    mean, rr_squares = (means(values[same], whose[1:][same], n) for values in (rr, rr.square()))
    follows = same[1:] & same[:-1]
    changes = means(rr.diff()[follows].square(), whose[2:][follows], n)
    return {
        "quantiles": torch.quantile(centred(signal)[..., EDGE:-EDGE], torch.tensor(QUANTILES), -1).movedim(0, -1),
        **{f"{name}_mv": value for name, value in band_rms(signal).items()},
        "quiet_mv": quiet_noise(signal),
        "rate_bpm": heart_rate(signal, HZ),
        "sdnn_ms": (rr_squares - mean.square()).clamp(min=0).sqrt().float(),
        "rmssd_ms": changes.sqrt().float(),
        "qrs_variation": (squares - usual.square()).clamp(min=0).sqrt() / usual,
        "qrs_ms": 1000 / HZ * (last - first + 1),
        "non_dipolar": (energy[:, 3:].sum(1) / energy.sum(1)).sqrt(),
    }


def sinus_like(signal: Tensor) -> Tensor:
    """Records (B, 12, L) with a regular rhythm at 50 to 110 bpm and a narrow QRS, by measurement alone: (B,) bool."""
    s = statistics(signal)
    regular = s["sdnn_ms"] < 0.12 * 60000 / s["rate_bpm"]
    return regular & (s["rate_bpm"] >= 50) & (s["rate_bpm"] <= 110) & (s["qrs_ms"] <= 120)


def compare(simulated: Tensor, real: Tensor) -> dict[str, float]:
    """Kolmogorov-Smirnov distances (0 alike, 1 apart) of each statistic, over records and leads: `realism.ks.<name>`.

    Both are (B, 12, L) mV. `span_mv` is the range between the outermost `QUANTILES`.
    """
    one, other = statistics(simulated), statistics(real)
    for part in (one, other):
        quantiles = part.pop("quantiles")
        part["span_mv"] = quantiles[..., -1] - quantiles[..., 0]
    return {f"realism.ks.{name}": ks_distance(one[name].flatten(), other[name].flatten()) for name in one}


def ks_distance(a: Tensor, b: Tensor) -> float:
    """The largest gap between two empirical distribution functions, of values (N,) and (M,); NaN are left out."""
    return float(ks_2samp(a, b, method="asymp", nan_policy="omit").statistic)


def comparable(signal: Tensor, findings: Tensor, real: Tensor) -> Tensor:
    """Rows of simulated records (B, 12, L) to set beside real ones: sinus-like, with findings that real records have
    too (`COMMON`), and for each real record (M, 12, L) one of about its heart rate. Returns (M,) rows, or fewer."""
    rare = torch.tensor([code not in COMMON for code in CODES])
    free = (sinus_like(signal) & ~findings[:, rare].any(1)).nonzero()[:, 0].tolist()
    rate, wanted = heart_rate(signal, HZ), heart_rate(real, HZ)[: len(free)]
    return torch.tensor([free.pop((rate[free] - one).abs().argmin()) for one in wanted])


def means(values: Tensor, owner: Tensor, n: int) -> Tensor:
    """Values of beats (N, ...), and the record of each (N,) -> means in each record (n, ...), NaN where none is."""
    total = torch.zeros(n, *values.shape[1:], dtype=values.dtype).index_add_(0, owner, values)
    return total / torch.bincount(owner, minlength=n).view(-1, *[1] * (values.dim() - 1))


class BeatNet(nn.Module):
    """Is this beat simulated? A small convolutional network: (N, 12, W) mV -> (N,) logits, positive for real."""

    def __init__(self, width: int = 32):
        super().__init__()
        convolutions = nn.Conv1d(12, width, 7, 1, 3), nn.Conv1d(width, width, 5, 2, 2), nn.Conv1d(width, width, 5, 2, 2)
        self.body = nn.Sequential(*(layer for one in convolutions for layer in (one, nn.ReLU())))
        self.head = nn.Sequential(nn.Dropout(0.3), nn.Linear(2 * width, 1))

    def forward(self, beat: Tensor) -> Tensor:
        x = self.body(2 * beat.clamp(-4, 4))  # (N, W, 20)
        return self.head(torch.cat([x.mean(-1), x.amax(-1)], 1))[:, 0]


def _sample(signal: Tensor, names: list, seed: int, side: int):
    """At most `BEATS_EACH` beats of each record, evenly spread: beats, record, and a fold for each patient."""
    cut, owner = cut_beats(signal, HZ)
    turn = torch.arange(len(owner)) - torch.searchsorted(owner, owner)  # within the record
    step = (torch.bincount(owner)[owner] / BEATS_EACH).clamp(min=1)
    keep = (turn / step).floor() != ((turn - 1) / step).floor()
    patient = torch.from_numpy(pd.factorize(np.array(names))[0])
    generator = torch.Generator().manual_seed(2 * seed + side)
    fold = torch.randperm(int(patient.max()) + 1, generator=generator) % FOLDS
    return cut[keep], owner[keep], fold[patient][owner[keep]]


def separability(
    simulated: Tensor, real: Tensor, seed: int = 0, patients: list[str] | None = None, epochs: int = 24
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
    mine = _sample(simulated, list(range(len(simulated))), seed, 0)
    theirs = _sample(real, patients or list(range(len(real))), seed, 1)
    beat, owner, fold = (torch.cat(pair) for pair in zip(mine, (theirs[0], theirs[1] + len(simulated), theirs[2])))
    label, stated = (owner >= len(simulated)).float(), torch.empty(len(beat))
    for f in range(FOLDS):
        out = fold == f
        stated[out] = _logits(beat[~out], label[~out], beat[out], seed * FOLDS + f, epochs)
    folds = [binary_auroc(stated[fold == f], label[fold == f].int()).item() for f in range(FOLDS)]
    records, real_one = (means(each, owner, len(simulated) + len(real)) for each in (stated, label))
    there = ~records.isnan()
    return {
        "realism.auc": binary_auroc(stated, label.int()).item(),
        "realism.auc_record": binary_auroc(records[there], real_one[there].int()).item(),
        "realism.auc_low": min(folds),
        "realism.auc_high": max(folds),
        "realism.beats": len(beat),
        "realism.records": int(there.sum()),
    }


def _logits(beat, label, held_out, seed: int, epochs: int, batch: int = 64) -> Tensor:
    """Train a network on beats (N, 12, W), shifted by up to 20 ms; its logits of the held-out ones."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = BeatNet()
        weight = torch.where(label > 0, (1 - label).mean(), label.mean())  # both sides count alike
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
        return net.eval()(held_out).detach()
