"""What does an independent network read from a signal? It judges generated ECGs and shares nothing with phi_s.

It had no part in training the model it scores, and it learns from simulated patients of its own. What it tells are
intervals, axis and findings: numbers on unit scales, findings and signs per lead as logits.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..beats import RHYTHM, representative_beat, rhythm_features
from ..encoders import FINDINGS_WEIGHT, SIGNS_WEIGHT, Residual, amplify_small_waves
from ..findings import CODES, LEAD_SIGNS, lead_signs
from ..known import loss_of_known, masked
from ..training import inference

SCALES = {"rate_bpm": (80.0, 30.0), "qrs_ms": (100.0, 25.0), "qt_ms": (380.0, 50.0), "pr_ms": (160.0, 40.0)}
NUMBERS = len(SCALES) + 2  # intervals, axis as cosine and sine
PARTS = (NUMBERS, len(CODES), 12 * len(LEAD_SIGNS))  # of the table of facts
FACT_WIDTH = sum(PARTS)


def facts(truth: dict[str, Tensor]) -> Tensor:
    """The truth of B records as a table (B, FACT_WIDTH).

    Numbers on unit scales, NaN where there is none; then findings and signs per lead, each 0 or 1, NaN if unknown.
    """
    numbers = [(truth[key] - middle) / scale for key, (middle, scale) in SCALES.items()]
    axis = torch.deg2rad(truth["axis_deg"])
    numbers = torch.stack([*numbers, axis.cos(), axis.sin()], 1)
    found, signs = masked(truth["findings"], truth, *CODES), masked(lead_signs(truth), truth, *LEAD_SIGNS)
    return torch.cat([numbers, found, signs.flatten(1)], 1).float()


def facts_loss(predicted: Tensor, table: Tensor) -> Tensor:
    """Predicted against true `facts` (B, FACT_WIDTH): smooth L1, of findings and signs cross-entropy."""
    (numbers, found, signs), (values, codes, leads) = predicted.split(PARTS, 1), table.split(PARTS, 1)
    numbers = loss_of_known(F.smooth_l1_loss, numbers, values)
    found = loss_of_known(F.binary_cross_entropy_with_logits, found, codes)
    signs = loss_of_known(F.binary_cross_entropy_with_logits, signs, leads)
    return numbers + FINDINGS_WEIGHT * found + SIGNS_WEIGHT * signs


def decode_facts(predicted: Tensor) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """Predicted facts (B, FACT_WIDTH) back in their own units.

    Returns:
        {rate_bpm, qrs_ms, qt_ms, pr_ms, axis_deg: (B,)}, findings (B, F) as logits, signs (B, S, 12) as logits in the
        order of LEAD_SIGNS; a logit above 0 says that it is there.
    """
    values, found, signs = predicted.split(PARTS, 1)
    *intervals, cosine, sine = values.unbind(1)
    numbers = {key: value * scale + middle for value, (key, (middle, scale)) in zip(intervals, SCALES.items())}
    numbers["axis_deg"] = torch.rad2deg(torch.atan2(sine, cosine))
    return numbers, found, signs.unflatten(1, (len(LEAD_SIGNS), 12))


class Reader(nn.Module):
    """(B, 12, 1000) mV at 100 Hz -> numbers, finding logits and signs per lead.

    Built unlike phi_s: the representative beat is read whole, each of its moments by weights of its own; beside it go
    dilated convolutions over the whole record, their mean and maximum over time, and `rhythm_features`. No attention.
    """

    def __init__(self, width: int = 48):
        super().__init__()
        self.settings = {"width": width}
        self.stem = nn.Sequential(nn.Conv1d(24, width, 7, 2, 3), nn.ReLU(), nn.Conv1d(width, width, 5, 2, 2))
        self.body = nn.Sequential(*(Residual(width, spread, nn.ReLU) for spread in (1, 2, 4, 8, 16, 1)))
        first = nn.Conv1d(24, width, 5, 1, 2)
        self.beat = nn.Sequential(first, nn.ReLU(), Residual(width, 1, nn.ReLU), nn.AvgPool1d(4))
        self.rhythm = nn.Sequential(nn.Linear(RHYTHM, 64), nn.ReLU())
        self.head = nn.Sequential(nn.Linear(28 * width + 64 + RHYTHM, 256), nn.ReLU(), nn.Linear(256, FACT_WIDTH))

    def forward(self, signal: Tensor) -> Tensor:
        """(B, 12, 1000) mV -> (B, FACT_WIDTH), see `facts`."""
        return self.head(self._embed(signal))

    def _embed(self, signal: Tensor) -> Tensor:
        with torch.no_grad():
            beat, _, times = representative_beat(signal, 100.0)  # (B, 12, 104)
            rhythm = rhythm_features(times)  # (B, RHYTHM)
        x = self.body(self.stem(amplify_small_waves(signal)))  # (B, W, 250)
        moments = self.beat(amplify_small_waves(beat)).flatten(1)  # (B, W * 26)
        return torch.cat([x.mean(-1), x.amax(-1), moments, self.rhythm(rhythm), rhythm], 1)

    @inference()
    def features(self, signal: Tensor, batch: int = 128, layers: slice = slice(-1)) -> Tensor:
        """(B, 12, 1000) mV -> (B, 256): what the last layer tells all facts from; for `fidelity`.

        `layers` are those of the head that are used: with all of them it is (B, FACT_WIDTH), see `facts`.
        """
        head, device = self.eval().head[layers], next(self.parameters()).device
        return torch.cat([head(self._embed(part.to(device))).float().cpu() for part in signal.split(batch)])

    def predict(self, signal: Tensor, batch: int = 128) -> tuple[dict, Tensor, Tensor]:
        """(B, 12, 1000) mV -> {rate_bpm, qrs_ms, qt_ms, pr_ms, axis_deg: (B,)}, (B, F) and (B, S, 12) logits."""
        return decode_facts(self.features(signal, batch, slice(None)))

    def read(self, signal: Tensor, batch: int = 128) -> tuple[dict[str, Tensor], Tensor]:
        """(B, 12, 1000) mV -> {rate_bpm, qrs_ms, qt_ms, pr_ms, axis_deg: (B,)}, (B, F) bool findings."""
        numbers, logits, _ = self.predict(signal, batch)
        return numbers, logits > 0
