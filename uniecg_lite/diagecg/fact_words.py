"""Fact words: what a reader of ECGs would note first, as words of the vocabulary, beside the wave words of `tokenizer`.

Wave words are made to give the same ECG back, and a small language model cannot learn to measure from them in an hour.
Speech models met the same: their tokenizers pair acoustic tokens with semantic ones (SpeechTokenizer, arXiv
2308.16692). DiagECG has wave words alone.
"""

import torch
import torch.nn.functional as F
from torch import nn
from vector_quantize_pytorch import FSQ

from ..encoders import FRONT, SignalEncoder
from ..measured import MEASURED, Teller
from ..simulator.noise import DRIFT_FROM_MV, STATIC_FROM_MV

NOISES = ("drift", "static")
FACTS = (*MEASURED, *NOISES)
EACH, DIGITS = 2, 6  # words for a fact, and yes-or-no digits of a word
SIZE = 2**DIGITS  # words that one place chooses from


class FactWords(nn.Module):
    """(B, 12, 1000) mV -> (B, EACH * len(FACTS)) words; each place has SIZE words of its own.

    The encoder is built like phi_s (`encoders.SignalEncoder`), with weights and a training of its own. Each of its
    measured tokens is cut to digits by finite scalar quantisation with two levels; heads that tell the facts from the
    digits teach it, and are needed no more when it has learned. Noise needs no learning: a digit for each lead says
    whether it is noisy (`noisy`).

    Args:
        width: of the encoder.
        layers: of its transformer.
    """

    places = EACH * len(FACTS)  # fact words of one ECG

    def __init__(self, width: int, layers: int):
        super().__init__()
        self.settings = {"width": width, "layers": layers}
        self.eyes, facts, digits = SignalEncoder(width, layers), len(MEASURED), EACH * DIGITS
        self.cut = nn.Parameter(torch.randn(facts, width, digits) / width**0.5)
        self.fsq = FSQ([2] * digits, preserve_symmetry=True)
        self.back = nn.Parameter(torch.randn(facts, digits, width) / digits**0.5)
        self.teller = Teller(width)

    @property
    def words(self) -> int:
        """All fact words there are."""
        return self.places * SIZE

    def digits(self, signal: torch.Tensor, cut: bool = True) -> torch.Tensor:
        """(B, 12, 1000) mV -> (B, facts, EACH * DIGITS) of -1 and 1; gradients pass the cut straight through.

        Without the cut, numbers between -1 and 1.
        """
        measured = self.eyes(signal)[:, 1:FRONT]  # (B, M, D)
        numbers = torch.einsum("bfd,fdk->bfk", measured, self.cut)
        digits = self.fsq(numbers)[0] if cut else numbers.tanh()
        return torch.cat([digits, 2.0 * noisy(signal) - 1], 1)

    def tell(self, digits: torch.Tensor) -> dict[str, torch.Tensor]:
        """Digits (B, facts, EACH * DIGITS) -> the logits of each fact, as `measured.Teller`, and (B, 12) per noise."""
        seen = F.gelu(torch.einsum("bfk,fkd->bfd", digits[:, : len(MEASURED)], self.back))
        return self.teller(seen) | {name: digits[:, len(MEASURED) + i] for i, name in enumerate(NOISES)}

    def loss(self, signal: torch.Tensor, wanted: dict[str, torch.Tensor], cut: bool = True) -> torch.Tensor:
        """What the digits of (B, 12, 1000) mV tell, against `measured.targets`."""
        digits = self.digits(signal, cut)[:, : len(MEASURED)]
        return self.teller.loss(F.gelu(torch.einsum("bfk,fkd->bfd", digits, self.back)), wanted)

    @torch.no_grad()
    def encode(self, signal: torch.Tensor) -> torch.Tensor:
        """(B, 12, 1000) mV -> (B, places), int64, each word within `words`."""
        bits = self.digits(signal).flatten(1).unflatten(1, (self.places, DIGITS)) > 0  # (B, places, DIGITS)
        number = (bits * 2 ** torch.arange(DIGITS, device=bits.device)).sum(-1)
        return number + SIZE * torch.arange(self.places, device=bits.device)


class FactBridge(nn.Module):
    """In place of words, in a study alone: digits (..., facts, EACH * DIGITS), uncut, each fact by a matrix of its own
    -> (..., facts, width).
    """

    def __init__(self, width: int):
        super().__init__()
        digits = EACH * DIGITS
        self.weight = nn.Parameter(torch.randn(len(FACTS), digits, width) / digits**0.5)
        self.bias = nn.Parameter(torch.zeros(len(FACTS), width))

    def forward(self, digits: torch.Tensor) -> torch.Tensor:
        return torch.einsum("...fk,fkd->...fd", digits, self.weight) + self.bias


def digits_of(words: torch.Tensor) -> torch.Tensor:
    """Fact words (B, places) -> their digits (B, facts, EACH * DIGITS) of -1 and 1, as `FactWords.digits`."""
    bits = words[..., None] % SIZE // 2 ** torch.arange(DIGITS, device=words.device) % 2  # (B, places, DIGITS)
    return (2.0 * bits - 1).flatten(1).unflatten(1, (-1, EACH * DIGITS))


def noisy(signal: torch.Tensor) -> torch.Tensor:
    """(B, 12, 1000) mV -> (B, 2, 12): does each lead drift, and does it hum or tremble?

    Drift: how far medians of 0.4 s spread. Static: the median second difference, which QRS complexes hardly touch; for
    as much white noise as makes a lead noisy it would be 0.041 mV, for the smoother noise of records it is less.
    """
    slow = signal.unflatten(2, (-1, 40)).median(-1).values.std(-1)  # (B, 12)
    fast = signal.diff(n=2).abs().median(-1).values
    return torch.stack([slow >= DRIFT_FROM_MV, fast >= 1.2 * STATIC_FROM_MV], 1)


@torch.no_grad()
def fact_rows(words: int, width: int) -> torch.Tensor:
    """Rows (words, width) to start from: a word is the sum of its digits, each with a direction of its own."""
    generator = torch.Generator().manual_seed(0)
    one = torch.randn(words // SIZE, DIGITS, width, generator=generator)
    bits = torch.arange(SIZE)[:, None] // 2 ** torch.arange(DIGITS) % 2  # (SIZE, DIGITS)
    rows = torch.einsum("wk,pkd->pwd", 2.0 * bits - 1, one).flatten(0, 1)
    return rows / rows.std()
