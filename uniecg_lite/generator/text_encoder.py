"""The condition encoder: the words of a request -> one vector of unit scale, the target of stage 2."""

import torch
import torch.nn.functional as F
from torch import nn

from ..encoders import transformer
from ..findings import CODES
from ..language.requests import Request
from ..language.tokenizer import encode, number_rows
from ..training import inference

WAVES = (1.0, 2.0, 4.0)  # how finely a vector must tell a number, in cycles over its scale
RATES = (20, 260)  # bpm that can be told
NUMBER_WIDTH = 1 + 2 * len(WAVES)  # numbers that tell one number of a request
NUMBERS = {  # of a request: one cycle of its slowest wave, and its weight in the loss
    "rate": (200, 1.0),
    "age": (200, 0.5),
    "pr": (400, 0.5),
    "qrs": (200, 0.5),
    "qt": (800, 0.5),
    "axis": (360, 0.5),
}
FINDINGS_WEIGHT = 10.0  # each finding is one of many and rare: at 1, half of them are not told after 400 steps
USUAL = ((80.0, 30.0), (60.0, 18.0), (0.5, 0.5))  # what an open rate, age or sex counts as beside the words, and spread


class TextEncoder(nn.Module):
    """Texts -> (B, D_c), each vector of mean 0 and variance 1 over its numbers.

    DiffuSETS takes one pooled vector from a large embedding service, and heart rate, age and sex as raw numbers beside
    it, which at the start outweigh the words. Here one small encoder reads report and patient line together, so the
    vector carries all of them, on one scale. It learns by telling the facts back (`facts_loss`).
    """

    def __init__(self, tokenizer, width: int = 128, layers: int = 1, longest: int = 96):
        super().__init__()
        self.tokenizer, self.longest = tokenizer, longest
        self.settings = {"width": width, "layers": layers, "longest": longest}
        self.embed = nn.Embedding(len(tokenizer), width, padding_idx=tokenizer.pad_token_id)
        number_rows(self.embed.weight, tokenizer)
        self.place = nn.Parameter(0.02 * torch.randn(longest, width))
        self.body = transformer(width, layers)
        self.pool = nn.Linear(width, width)
        self.predict = nn.Linear(width, len(NUMBERS) * NUMBER_WIDTH + 1 + len(CODES))  # numbers, sex, findings

    def forward(self, texts: list[str], each: bool = False) -> torch.Tensor:
        """Texts -> (B, D_c); with `each` (B, longest, D_c), a vector for each word, the whole text's where there is
        none."""
        rows = [torch.tensor(encode(self.tokenizer, text)[: self.longest]) for text in texts]
        ids = nn.utils.rnn.pad_sequence(rows, True, self.tokenizer.pad_token_id).to(self.place.device)  # (B, T)
        blank = ids == self.tokenizer.pad_token_id
        x = self.body(self.embed(ids) + self.place[: ids.shape[1]], src_key_padding_mask=blank)
        out = x.masked_fill(blank[..., None], 0).sum(1) / (~blank).sum(1, keepdim=True)  # (B, D), the mean
        if each:
            x = torch.where(blank[..., None], out[:, None], x)  # (B, T, D)
            out = torch.cat([x, out[:, None].expand(-1, self.longest - x.shape[1], -1)], 1)  # (B, longest, D)
        return F.layer_norm(self.pool(out).float(), (out.shape[-1],))

    def facts_loss(self, requests: list[Request]) -> torch.Tensor:
        """How well the vectors of these requests tell their numbers, sex and findings; open parts do not count."""
        predicted = self.predict(self([r.text() for r in requests]))
        *numbers, sex, found = predicted.split([NUMBER_WIDTH] * len(NUMBERS) + [1, len(CODES)], -1)
        loss = sum(
            weight * _number_loss(each, [getattr(r, name) for r in requests], scale)
            for each, (name, (scale, weight)) in zip(numbers, NUMBERS.items())
        )
        known = torch.tensor([r.sex is not None for r in requests], device=predicted.device)
        female = torch.tensor([float(r.sex == "female") for r in requests], device=predicted.device)
        sexes = F.binary_cross_entropy_with_logits(sex[:, 0], female, reduction="none")
        truth = torch.tensor([[float(c in r.findings) for c in CODES] for r in requests], device=predicted.device)
        findings = F.binary_cross_entropy_with_logits(found, truth)
        return loss + 0.3 * (sexes * known).mean() + FINDINGS_WEIGHT * findings

    @inference()
    def requests(self, vectors: torch.Tensor) -> list[Request]:
        """(B, D_c) -> what the vectors tell of rate, sex and findings, as requests."""
        rates = self.rate(vectors).round().int().tolist()
        sexes, found = self.predict(vectors)[:, len(NUMBERS) * NUMBER_WIDTH :].split([1, len(CODES)], -1)
        findings = [tuple(code for code, there in zip(CODES, row) if there) for row in (found > 0).tolist()]
        sexes = ["female" if value > 0 else "male" for value in sexes[:, 0].tolist()]
        return [Request(None, sex, rate, codes) for sex, rate, codes in zip(sexes, rates, findings)]

    @inference()
    def rate(self, vectors: torch.Tensor) -> torch.Tensor:
        """(B, D_c) -> (B,) the rate in whole bpm that the vectors tell."""
        every = waves(torch.arange(*RATES, device=vectors.device).float() / NUMBERS["rate"][0])  # (R, NUMBER_WIDTH)
        return torch.cdist(self.predict(vectors)[:, :NUMBER_WIDTH].float(), every).argmin(1) + float(RATES[0])


def waves(share: torch.Tensor) -> torch.Tensor:
    """(B,) numbers over their scale -> (B, NUMBER_WIDTH): the number as it is, its sines and its cosines."""
    angle = 2 * torch.pi * share[:, None] * torch.tensor(WAVES, device=share.device)
    return torch.cat([share[:, None], angle.sin(), angle.cos()], 1)


def _number_loss(predicted: torch.Tensor, values: list[int | None], scale: float) -> torch.Tensor:
    """Squared error of a number over its scale and of its sines and cosines, over the rows where it is known."""
    known = torch.tensor([v is not None for v in values], device=predicted.device)
    target = waves(torch.tensor([float(v or 0) / scale for v in values], device=predicted.device))
    return ((predicted - target).square().mean(1) * known).sum() / known.sum().clamp(min=1)


def numbers_of(requests: list[Request], scaled: bool) -> torch.Tensor:
    """Rate, age and sex of requests as numbers beside the words: (B, 3); an open one counts as the usual one.

    As published bpm, years, and 1 for a man; or each with mean 0 and about unit spread.
    """
    rows = [(r.rate, r.age, {"male": 1, "female": 0}.get(r.sex)) for r in requests]
    table = torch.tensor([[m if x is None else float(x) for x, (m, _) in zip(row, USUAL)] for row in rows])
    middle, spread = torch.tensor(USUAL).T
    return (table - middle) / spread if scaled else table
