"""The ECG as words: twelve leads to codes of a finite vocabulary, and back (DiagECG, arXiv 2508.15338).

Every lead passes the same encoder; then the leads meet, and each stretch of time becomes a few numbers of a few levels:
finite scalar quantisation (FSQ, Mentzer et al., arXiv 2309.15505).
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from vector_quantize_pytorch import FSQ

from ..leads import ROWS, from_independent
from ..training import inference
from .fact_tokens import WORDS, FactWords

LEVELS = (6, 6, 6, 6)  # 6^4 = 1296 codes, as published
SLOPE = 0.01  # of LeakyReLU


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
