"""What would a reader of ECGs note first? Facts as words of the vocabulary, beside the wave words of `fsq_tokenizer`.

Wave words are made to give the same ECG back; what a report tells must be measured from them. Speech models met the
same: their tokenizers pair acoustic tokens with semantic ones (SpeechTokenizer, arXiv 2308.16692).
DiagECG has wave words alone.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..encoders import FRONT, GRIDS, GROUPS, FactProbes, SignalEncoder, grid, place_on_grid
from ..findings import DRIFT_FROM_MV, NAMES, STATIC_FROM_MV
from ..language.conversations import IN_LEADS, TITLES
from ..language.questions import NONE
from ..leads import LEADS
from ..training import inference

NOISES = ("drift", "static")
SMOOTH = 1.85  # median third difference of a record over its static noise, where that is just loud enough


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
    def contents(self) -> list:
        """What each of its words says: a number, NaN for none, or codes of findings, or leads."""
        if self.kind == "number":
            return [*grid(self.fact).tolist(), math.nan]
        names = GROUPS.get(self.fact, LEADS)[self.first : self.first + self.choices]
        if self.kind == "one":
            return [(name,) for name in names]
        return [tuple(name for i, name in enumerate(names) if word >> i & 1) for word in range(2**self.choices)]

    def word(self, stated: Tensor) -> Tensor:
        """Logits (B, D) of its fact -> which of its contents they say, (B,)."""
        if self.kind == "number":
            return place_on_grid(self.fact, stated.softmax(1))
        bits = stated[:, self.first : self.first + self.choices] > 0
        digits = 2 ** torch.arange(self.choices, device=stated.device)
        return stated.argmax(1) if self.kind == "one" else (bits * digits).sum(1)


PLACES = (
    *(Place(name, "number", len(grid(name)) + 1) for name in GRIDS),
    *(Place(name, "one" if name == "rhythm" else "digits", len(codes)) for name, codes in GROUPS.items()),
    *(Place(name, "digits", 6, first) for name in IN_LEADS for first in (0, 6)),
)
CONTENTS = [content for place in PLACES for content in place.contents]  # of each word
WORDS = len(CONTENTS)
STARTS = torch.tensor([0, *(len(place.contents) for place in PLACES)]).cumsum(0)  # first word of each, and the end


class FactWords(nn.Module):
    """(B, 12, 1000) mV -> (B, PLACES) words; each place has words of its own, all in all `WORDS`.

    The encoder is built like phi_s (`encoders.SignalEncoder`), with weights and a training of its own: each of its
    measured tokens learns to tell its fact (`encoders.FactProbes`). What they tell is rounded to words. Noise needs no
    learning (`noisy`).

    Args:
        width: of the encoder.
        layers: of its transformer.
    """

    def __init__(self, width: int, layers: int):
        super().__init__()
        self.eyes, self.teller = SignalEncoder(width, layers), FactProbes(width)

    def predict(self, signal: Tensor) -> dict[str, Tensor]:
        """(B, 12, 1000) mV -> the logits of each fact, as `encoders.FactProbes`, and (B, 12) of -1 and 1 per noise."""
        noise = 2.0 * noisy(signal) - 1
        return self.teller(self.eyes(signal)[:, 1:FRONT]) | {name: noise[:, i] for i, name in enumerate(NOISES)}

    def loss(self, signal: Tensor, wanted: dict[str, Tensor]) -> Tensor:
        """What (B, 12, 1000) mV tell, against `encoders.targets`."""
        return self.teller.loss(self.eyes(signal)[:, 1:FRONT], wanted)

    @inference()
    def encode(self, signal: Tensor) -> Tensor:
        """(B, 12, 1000) mV -> (B, PLACES), int64."""
        return words_of(self.predict(signal))

    def uncut(self, signal: Tensor) -> Tensor:
        """(B, 12, 1000) mV -> (B, M + 2, D): measured tokens and noise before they are words, for a study."""
        tokens, noise = self.eyes(signal)[:, 1:FRONT], noisy(signal).float()
        which = torch.eye(len(NOISES), device=signal.device).expand(len(signal), -1, -1)
        return torch.cat([tokens, F.pad(torch.cat([noise, which], 2), (0, tokens.shape[2] - 12 - len(NOISES)))], 1)


def words_of(predicted: dict[str, Tensor]) -> Tensor:
    """Logits of each fact -> (B, PLACES) words."""
    words = torch.stack([place.word(predicted[place.fact]) for place in PLACES], 1)
    return words + STARTS[:-1].to(words.device)


def noisy(signal: Tensor) -> Tensor:
    """(B, 12, 1000) mV -> (B, 2, 12): does each lead drift, and does it hum or tremble?

    Drift: how far medians of 0.4 s spread. Static: the median third difference, which waves of the heart hardly touch;
    for white noise of s mV it is 3.02 s, for the smoother noise of records less.
    """
    slow = signal.unflatten(2, (-1, 40)).median(-1).values.std(-1)  # (B, 12)
    fast = signal.diff(n=3).abs().median(-1).values
    return torch.stack([slow >= DRIFT_FROM_MV, fast >= SMOOTH * STATIC_FROM_MV], 1)


def meanings() -> list[tuple[str, ...]]:
    """What each fact word says, in words of the language: ("PR interval", "180"), ("ST elevation", "V1", "V2")."""

    def texts(content: float | tuple[str, ...]) -> list[str]:
        if isinstance(content, tuple):
            return [NAMES.get(name, name) for name in content] or [NONE]
        return [NONE if math.isnan(content) else f"{content:.0f}"]

    return [(TITLES[place.fact], *texts(content)) for place in PLACES for content in place.contents]


@torch.no_grad()
def fact_rows(row_of: Callable[[str], Tensor]) -> Tensor:
    """Rows (WORDS, D) to start from: the sum of the rows of what each word says (`meanings`), on one scale.

    So the language model reads what it can already say. New words that start as the mean of the words that describe
    them are learned sooner than words that start anywhere: Hewitt, "Initializing new word embeddings for pretrained
    language models" (2021). The language model has learned to answer from these very words (`conversations.notes`).

    Args:
        row_of: the row (D,) of some words of the language.
    """
    every = meanings()
    known = {text: row_of(text) for text in {part for stated in every for part in stated}}
    rows = torch.stack([sum(known[part] for part in stated) for stated in every])
    return rows / rows.std(1, keepdim=True)
