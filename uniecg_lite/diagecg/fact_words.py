"""Fact words: what a reader of ECGs would note first, as words of the vocabulary, beside the wave words of `tokenizer`.

Wave words are made to give the same ECG back, and a small language model cannot learn to measure from them in an hour.
Speech models met the same: their tokenizers pair acoustic tokens with semantic ones (SpeechTokenizer, arXiv
2308.16692). DiagECG has wave words alone.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from ..encoders import FRONT, SignalEncoder
from ..measured import GRIDS, GROUPS, Teller, grid
from ..simulator import FINDINGS
from ..simulator.noise import DRIFT_FROM_MV, STATIC_FROM_MV
from ..simulator.truth import LEAD_SIGNS

NOISES = ("drift", "static")
IN_LEADS = (*LEAD_SIGNS, *NOISES)  # facts that each lead has or has not


@dataclass(frozen=True)
class Place:
    """One fact word of an ECG.

    A `number` is a place of its grid, the last one for "none"; `one` is which of a few; `digits` are yes or no for
    `choices` things from `first` on, the first of them the lowest digit.
    """

    fact: str
    kind: str
    choices: int
    first: int = 0

    @property
    def size(self) -> int:
        """How many words this place chooses from."""
        return 2**self.choices if self.kind == "digits" else self.choices


PLACES = (
    *(Place(name, "number", len(grid(name)) + 1) for name in GRIDS),
    *(Place(name, "one" if name == "rhythm" else "digits", len(codes)) for name, codes in GROUPS.items()),
    *(Place(name, "digits", 6, first) for name in IN_LEADS for first in (0, 6)),
)
STARTS = torch.tensor([0, *(place.size for place in PLACES)]).cumsum(0)  # first word of each place, and the end
WORDS = int(STARTS[-1])


class FactWords(nn.Module):
    """(B, 12, 1000) mV -> (B, PLACES) words; each place has words of its own, all in all `WORDS`.

    The encoder is built like phi_s (`encoders.SignalEncoder`), with weights and a training of its own: each of its
    measured tokens learns to tell its fact (`measured.Teller`). What they tell is rounded to words. Noise needs no
    learning (`noisy`).

    Args:
        width: of the encoder.
        layers: of its transformer.
    """

    def __init__(self, width: int, layers: int):
        super().__init__()
        self.settings = {"width": width, "layers": layers}
        self.eyes, self.teller = SignalEncoder(width, layers), Teller(width)

    def tell(self, signal: torch.Tensor) -> dict[str, torch.Tensor]:
        """(B, 12, 1000) mV -> the logits of each fact, as `measured.Teller`, and (B, 12) of -1 and 1 per noise."""
        noise = 2.0 * noisy(signal) - 1
        return self.teller(self.eyes(signal)[:, 1:FRONT]) | {name: noise[:, i] for i, name in enumerate(NOISES)}

    def loss(self, signal: torch.Tensor, wanted: dict[str, torch.Tensor]) -> torch.Tensor:
        """What (B, 12, 1000) mV tell, against `measured.targets`."""
        return self.teller.loss(self.eyes(signal)[:, 1:FRONT], wanted)

    @torch.no_grad()
    def encode(self, signal: torch.Tensor) -> torch.Tensor:
        """(B, 12, 1000) mV -> (B, PLACES), int64."""
        return words_of(self.tell(signal))

    def uncut(self, signal: torch.Tensor) -> torch.Tensor:
        """(B, 12, 1000) mV -> (B, M + 2, D): measured tokens and noise before they are words, for a study."""
        tokens, noise = self.eyes(signal)[:, 1:FRONT], noisy(signal).float()
        which = torch.eye(len(NOISES), device=signal.device).expand(len(signal), -1, -1)
        return torch.cat([tokens, F.pad(torch.cat([noise, which], 2), (0, tokens.shape[2] - 12 - len(NOISES)))], 1)


def words_of(told: dict[str, torch.Tensor]) -> torch.Tensor:
    """Logits of each fact -> (B, PLACES) words. A number is its histogram's mean, or "none" if that is likelier."""
    out = []
    for place, start in zip(PLACES, STARTS):
        said = told[place.fact]
        if place.kind == "number":
            share = said.softmax(1)
            far = _mean(place.fact, share[:, :-1])[:, None] - grid(place.fact).to(said.device)  # (B, N)
            far = torch.remainder(far + 180, 360) - 180 if place.fact == "axis_deg" else far
            word = torch.where(share[:, -1] > 0.5, place.choices - 1, far.abs().argmin(1))
        elif place.kind == "one":
            word = said.argmax(1)
        else:
            bits = said[:, place.first : place.first + place.choices] > 0
            word = (bits * 2 ** torch.arange(place.choices, device=said.device)).sum(1)
        out.append(word + start.to(said.device))
    return torch.stack(out, 1)


def _mean(name: str, share: torch.Tensor) -> torch.Tensor:
    """Shares (B, N) of the places of a grid -> (B,) their mean; an axis goes around."""
    places = grid(name).to(share.device)
    if name != "axis_deg":
        return (share @ places) / share.sum(1).clamp(min=1e-9)
    angle = torch.deg2rad(places)
    return torch.rad2deg(torch.atan2(share @ angle.sin(), share @ angle.cos()))


def facts_of(words: torch.Tensor) -> dict[str, torch.Tensor]:
    """Words (B, PLACES) -> what they say: numbers (B,), NaN for none; `findings` (B, F); (B, 12) per sign or noise."""
    words = words.cpu() - STARTS[:-1]
    out = {"findings": torch.zeros(len(words), len(FINDINGS), dtype=torch.bool)}
    for word, place in zip(words.T, PLACES):
        if place.kind == "number":
            out[place.fact] = torch.cat([grid(place.fact), torch.tensor([torch.nan])])[word]
            continue
        if place.kind == "one":
            there = F.one_hot(word, place.choices) > 0
        else:
            there = word[:, None] // 2 ** torch.arange(place.choices) % 2 > 0  # (B, choices)
        if place.fact in GROUPS:
            out["findings"][:, [FINDINGS.index(code) for code in GROUPS[place.fact]]] = there
        else:
            out[place.fact] = torch.cat([out[place.fact], there], 1) if place.first else there
    return out


def noisy(signal: torch.Tensor) -> torch.Tensor:
    """(B, 12, 1000) mV -> (B, 2, 12): does each lead drift, and does it hum or tremble?

    Drift: how far medians of 0.4 s spread. Static: the median second difference, which QRS complexes hardly touch; for
    as much white noise as makes a lead noisy it would be 0.041 mV, for the smoother noise of records it is less.
    """
    slow = signal.unflatten(2, (-1, 40)).median(-1).values.std(-1)  # (B, 12)
    fast = signal.diff(n=2).abs().median(-1).values
    return torch.stack([slow >= DRIFT_FROM_MV, fast >= 1.2 * STATIC_FROM_MV], 1)


@torch.no_grad()
def fact_rows(width: int) -> torch.Tensor:
    """Rows (WORDS, width) to start from: neighbouring numbers start alike, and so do words that share digits."""
    generator, out = torch.Generator().manual_seed(0), []
    for place in PLACES:
        own = torch.randn(width, generator=generator)
        if place.kind == "number":  # a slow random walk along the grid
            steps = torch.randn(place.choices, width, generator=generator).cumsum(0) / 3
            rows = own + steps - steps.mean(0)
        elif place.kind == "one":
            rows = torch.randn(place.choices, width, generator=generator)
        else:
            bits = torch.arange(place.size)[:, None] // 2 ** torch.arange(place.choices) % 2
            rows = own + bits.float() @ torch.randn(place.choices, width, generator=generator)
        out.append(rows / rows.std())
    return torch.cat(out)
