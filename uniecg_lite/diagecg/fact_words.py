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
from ..language.reports import DRIFT_FROM_MV, STATIC_FROM_MV
from ..measured import MEASURED, Teller, targets

NOISES = {"drift": ("drift_mv", DRIFT_FROM_MV), "static": ("static_mv", STATIC_FROM_MV)}  # fact: (truth, mV from which)
FACTS = (*MEASURED, *NOISES)
NOISE_WEIGHT = 4.0
EACH, DIGITS = 2, 6  # words for a fact, and yes-or-no digits of a word
SIZE = 2**DIGITS  # words that one place chooses from


class FactWords(nn.Module):
    """(B, 12, 1000) mV -> (B, EACH * len(FACTS)) words; each place has SIZE words of its own.

    The encoder is built like phi_s (`encoders.SignalEncoder`), with weights and a training of its own. Each of its
    measured tokens is cut to digits by finite scalar quantisation with two levels; heads that tell the facts from the
    digits teach it, and are needed no more when it has learned.

    Args:
        width: of the encoder.
        layers: of its transformer.
    """

    places = EACH * len(FACTS)  # fact words of one ECG

    def __init__(self, width: int, layers: int):
        super().__init__()
        self.settings = {"width": width, "layers": layers}
        self.eyes, facts, digits = SignalEncoder(width, layers), len(FACTS), EACH * DIGITS
        self.quality = nn.Sequential(nn.Linear(24, width), nn.GELU(), nn.Linear(width, len(NOISES) * width))
        self.cut = nn.Parameter(torch.randn(facts, width, digits) / width**0.5)
        self.fsq = FSQ([2] * digits, preserve_symmetry=True)
        self.back = nn.Parameter(torch.randn(facts, digits, width) / digits**0.5)
        self.teller = Teller(width)
        self.noise = nn.ModuleDict({name: nn.Linear(width, 12) for name in NOISES})

    @property
    def words(self) -> int:
        """All fact words there are."""
        return self.places * SIZE

    def digits(self, signal: torch.Tensor, cut: bool = True) -> torch.Tensor:
        """(B, 12, 1000) mV -> (B, facts, EACH * DIGITS) of -1 and 1; gradients pass the cut straight through.

        Without the cut, numbers between -1 and 1.
        """
        measured = self.eyes(signal)[:, 1:FRONT]  # (B, M, D)
        quality = self.quality(quality_of(signal)).unflatten(1, (len(NOISES), -1))
        numbers = torch.einsum("bfd,fdk->bfk", torch.cat([measured, quality], 1), self.cut)
        return self.fsq(numbers)[0] if cut else numbers.tanh()

    def tell(self, digits: torch.Tensor) -> dict[str, torch.Tensor]:
        """Digits (B, facts, EACH * DIGITS) -> the logits of each fact, as `measured.Teller`, and (B, 12) per noise."""
        seen = F.gelu(torch.einsum("bfk,fkd->bfd", digits, self.back))
        noise = {name: self.noise[name](seen[:, len(MEASURED) + i]) for i, name in enumerate(NOISES)}
        return {**self.teller(seen[:, : len(MEASURED)]), **noise}

    def loss(self, signal: torch.Tensor, wanted: dict[str, torch.Tensor], cut: bool = True) -> torch.Tensor:
        """What the digits of (B, 12, 1000) mV tell, against `fact_targets`."""
        seen = F.gelu(torch.einsum("bfk,fkd->bfd", self.digits(signal, cut), self.back))
        noise = [
            F.binary_cross_entropy_with_logits(self.noise[name](seen[:, len(MEASURED) + i]), wanted[name])
            for i, name in enumerate(NOISES)
        ]
        return self.teller.loss(seen[:, : len(MEASURED)], wanted) + NOISE_WEIGHT * sum(noise)

    @torch.no_grad()
    def encode(self, signal: torch.Tensor) -> torch.Tensor:
        """(B, 12, 1000) mV -> (B, places), int64, each word within `words`."""
        bits = self.digits(signal).flatten(1).unflatten(1, (self.places, DIGITS)) > 0  # (B, places, DIGITS)
        number = (bits * 2 ** torch.arange(DIGITS, device=bits.device)).sum(-1)
        return number + SIZE * torch.arange(self.places, device=bits.device)


def digits_of(words: torch.Tensor) -> torch.Tensor:
    """Fact words (B, places) -> their digits (B, facts, EACH * DIGITS) of -1 and 1, as `FactWords.digits`."""
    bits = words[..., None] % SIZE // 2 ** torch.arange(DIGITS, device=words.device) % 2  # (B, places, DIGITS)
    return (2.0 * bits - 1).flatten(1).unflatten(1, (-1, EACH * DIGITS))


def quality_of(signal: torch.Tensor) -> torch.Tensor:
    """How noisy is each lead? (B, 12, 1000) mV -> (B, 24): slow and fast changes of its quiet moments, on a log scale.

    Slow: spread of medians of 0.4 s; fast: median second difference, which QRS complexes hardly touch.
    """
    slow = signal.unflatten(2, (-1, 40)).median(-1).values.std(-1)  # (B, 12)
    fast = signal.diff(n=2).abs().median(-1).values
    return torch.cat([(slow / 0.04), (fast / 0.01)], 1).clamp(1e-2, 1e2).log()


def fact_targets(truth: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What fact words of B records should tell: `measured.targets` and, per noise, (B, 12) of 0 and 1."""
    noise = {name: (truth[key] >= least).float() for name, (key, least) in NOISES.items()}
    return targets(truth) | noise


@torch.no_grad()
def fact_rows(words: int, width: int) -> torch.Tensor:
    """Rows (words, width) to start from: a word is the sum of its digits, each with a direction of its own."""
    generator = torch.Generator().manual_seed(0)
    one = torch.randn(words // SIZE, DIGITS, width, generator=generator)
    bits = torch.arange(SIZE)[:, None] // 2 ** torch.arange(DIGITS) % 2  # (SIZE, DIGITS)
    rows = torch.einsum("wk,pkd->pwd", 2.0 * bits - 1, one).flatten(0, 1)
    return rows / rows.std()
