"""The ECG as words: twelve leads to codes of a finite vocabulary, and back (DiagECG, arXiv 2508.15338).

Every lead passes the same encoder; then the leads meet, and each stretch of time becomes a few numbers of a few levels:
finite scalar quantisation (FSQ, Mentzer et al., arXiv 2309.15505). DiagECG has these wave words alone.

Wave words are made to give the same ECG back; what a report tells must be measured from them. So beside them stand fact
words: what would a reader of ECGs note first? Speech models met the same: their tokenizers pair acoustic tokens with
semantic ones (SpeechTokenizer, arXiv 2308.16692).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from vector_quantize_pytorch import FSQ

from ..encoders import FRONT, GRIDS, GROUPS, FactProbes, SignalEncoder, grid, place_on_grid
from ..findings import DRIFT_FROM_MV, NAMES, STATIC_FROM_MV
from ..language.conversations import IN_LEADS, TITLES
from ..language.questions import NONE
from ..leads import LEADS, ROWS, from_independent
from ..training import inference

LEVELS = (6, 6, 6, 6)  # 6^4 = 1296 codes, as published
SLOPE = 0.01  # of LeakyReLU
NOISES = ("drift", "static")
SMOOTH = 1.85  # median third difference of a record over its static noise, where that is just loud enough


class Inception(nn.Module):
    """Kernels of 3, 5 and 7 samples and the largest of 3, side by side around a skip: (B, D_in, L) -> (B, D, L)."""

    def __init__(self, inward: int, width: int, groups: int = 0):
        super().__init__()
        part = width // 4
        self.views = nn.ModuleList(nn.Conv1d(inward, part, k, padding=k // 2) for k in (3, 5, 7))
        self.largest = nn.Sequential(nn.MaxPool1d(3, 1, 1), nn.Conv1d(inward, part, 1))
        self.skip = nn.Conv1d(inward, width, 1) if inward != width else nn.Identity()
        self.norm = nn.GroupNorm(groups, width) if groups else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        seen = torch.cat([view(x) for view in self.views] + [self.largest(x)], 1)  # (B, D, L)
        return self.skip(x) + F.leaky_relu(self.norm(seen), SLOPE)


class ECGTokenizer(nn.Module):
    """Leads (B, 12, L) mV -> codes (B, T), and back to twelve leads that obey the lead laws.

    A stretch of time is told by `books` words, one after the other, each of its own numbers: a product code, as of
    Jegou et al. (2011), doi 10.1109/TPAMI.2010.57.

    Args:
        strides: of the encoder's stages; their product is how many samples a stretch has.
        width: channels of a lead.
        wide: channels of the decoder, which sees all leads at once.
        levels: of each number of a word; their product is the number of codes.
        books: words of a stretch; 1, as published.
        lead_wise: one encoder for every lead alone, shared; False: one encoder that sees all leads at once.
        leads: how many leads are coded: 8, the others follow by the lead laws, or 12, as published.
        groups: of GroupNorm in every block, as published; 0: none, which keeps amplitudes plain.
        facts: sizes of `FactWords`, which are then read in place of wave words; None: wave words alone, as published.
    """

    def __init__(
        self, strides=(5, 1), width=16, wide=64, levels=LEVELS, books=1, lead_wise=True, leads=8, groups=0, facts=None
    ):
        super().__init__()
        self.settings = dict(strides=list(strides), width=width, wide=wide, levels=list(levels), books=books)
        self.settings |= dict(lead_wise=lead_wise, leads=leads, groups=groups, facts=facts)
        self.stride, self.codes, self.books = math.prod(strides), math.prod(levels), books
        self.leads, self.lead_wise = leads, lead_wise
        self.rows = ROWS if leads == len(ROWS) else slice(None)  # of the leads that are coded
        inward, body = (1 if lead_wise else leads), []
        each = width if lead_wise else width * leads
        for stride in strides:
            body += [nn.Conv1d(inward, each, 2 * stride + 1, stride, stride), Inception(each, each, groups)]
            inward = each
        self.encoder = nn.Sequential(*body)
        self.fsq = FSQ(list(levels), width * leads, books, keep_num_codebooks_dim=True)
        body = [Inception(width * leads, wide, groups)]
        for stride, outward in zip(reversed(strides), [wide // 2] * (len(strides) - 1) + [leads]):
            kernel = 2 * stride + stride % 2
            body.append(Inception(wide, wide, groups))
            body.append(nn.ConvTranspose1d(wide, outward, kernel, stride, (kernel - stride) // 2))
            wide = outward
        self.decoder = nn.Sequential(*body)
        self.facts = FactWords(**facts) if facts else None

    @property
    def words(self) -> int:
        """How many words there are: `codes` for waves, and those for facts."""
        return self.codes + (WORDS if self.facts else 0)

    def numbers(self, signal: Tensor) -> Tensor:
        """(B, 12, L) mV -> (B, T, D), before they are cut to levels."""
        x = signal[:, self.rows]  # (B, C, L)
        b, c, _ = x.shape
        x = self.encoder(x.reshape(b * c, 1, -1) if self.lead_wise else x)  # (B * C, D/C, T)
        return x.reshape(b, -1, x.shape[-1]).transpose(1, 2)  # (B, T, D)

    def many(self, samples: int) -> int:
        """How many words tell so many samples."""
        return -(-samples // self.stride) * self.books

    def drawn(self, numbers: Tensor, length: int) -> Tensor:
        """(B, T, D) -> the coded leads (B, C, L)."""
        x = self.decoder[:-1](numbers.transpose(1, 2))
        with torch.autocast("cpu", enabled=False):  # as in `VAE`: bfloat16 convolutions of few leads
            x = self.decoder[-1](x.float())
        return F.pad(x, (0, max(0, length - x.shape[-1])), mode="replicate")[..., :length]

    def loss(self, signal: Tensor) -> dict[str, Tensor]:
        """Squared error of the coded leads, in mV^2; gradients pass FSQ straight through."""
        rough, _ = self.fsq(self.numbers(signal))
        error = F.mse_loss(self.drawn(rough, signal.shape[-1]).float(), signal[:, self.rows])
        return {"loss": error, "mse": error.detach()}

    @inference()
    def encode(self, signal: Tensor) -> Tensor:
        """(B, 12, L) mV -> codes (B, T), the wave words, int64."""
        return self.fsq(self.numbers(signal))[1].long().flatten(1, 2)

    @inference()
    def read_tokens(self, signal: Tensor) -> Tensor:
        """(B, 12, 1000) mV -> the words to be read (B, T), int64: fact words, or without any wave words."""
        return self.encode(signal) if self.facts is None else self.codes + self.facts.encode(signal)

    def uncut(self, signal: Tensor) -> Tensor:
        """(B, 12, 1000) mV -> (B, T, D), what `read_tokens` cuts to words."""
        return self.numbers(signal) if self.facts is None else self.facts.uncut(signal)

    @inference()
    def decode(self, codes: Tensor, length: int | None = None) -> Tensor:
        """Codes (B, T), whole stretches -> (B, 12, L) mV; L is what they last unless given."""
        numbers = self.fsq.indices_to_codes(codes.unflatten(1, (-1, self.books)))  # (B, T / books, D)
        x = self.drawn(numbers, length or numbers.shape[1] * self.stride).float()
        return from_independent(x) if self.leads == len(ROWS) else x


# ---- fact words -------------------------------------------------------------------------------------------------
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
