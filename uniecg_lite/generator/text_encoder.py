"""The condition encoder: the words of a request -> one vector of unit scale, the target of stage 2."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..encoders import transformer
from ..findings import table
from ..language.requests import MARKS, POSSIBLE, Request
from ..language.tokenizer import encode, number_rows
from ..leads import LEADS
from ..training import inference

WAVES = (1.0, 2.0, 4.0, 8.0)  # how finely a vector must tell a number, in cycles over its scale
NUMBER_WIDTH = 2 + 2 * len(WAVES)  # numbers that tell one number of a request, and whether it is named
NUMBERS = table("measures")["requests"]  # one cycle of its slowest wave, and its weight in the loss
OPEN_WEIGHT = 0.1  # of whether a part is named
MARKS_WEIGHT = 15.0  # each finding is one of many and rare: at 1, half of them are not told after 400 steps
BLUR = 0.5  # a mapped vector is never quite the true one: what is told must bear this much noise
HIGH = 5.0  # ST of this many tenths of a mV is one
PARTS = (*[NUMBER_WIDTH] * len(NUMBERS), 2, len(MARKS), len(LEADS))  # numbers, sex, marks, heights of ST
OPEN = ((80.0, 30.0), (60.0, 18.0), (0.5, 0.5))  # what an open rate, age or sex counts as beside the words, and spread


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
        self.predict = nn.Linear(width, sum(PARTS))

    def forward(self, texts: list[str], each: bool = False) -> Tensor:
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

    def facts_loss(self, requests: list[Request]) -> Tensor:
        """How well the vectors of these requests tell their numbers, sex and findings, and which of them are open.

        Numbers: squared errors over their scale and of their sines and cosines, where they are known.
        """
        vectors = self([r.text() for r in requests])  # (B, D_c)
        predicted = self.predict(vectors + BLUR * self.training * torch.randn_like(vectors))
        *numbers, sex, marks, st = predicted.split(PARTS, -1)
        loss = 0.0
        for each, (name, (scale, weight)) in zip(numbers, NUMBERS.items()):
            values = [getattr(r, name) for r in requests]
            known = torch.tensor([float(v is not None) for v in values], device=predicted.device)
            target = waves(torch.tensor([float(v or 0) / scale for v in values], device=predicted.device))
            error = ((each[:, :-1] - target).square().mean(1) * known).sum() / known.sum().clamp(min=1)
            loss = loss + weight * (error + OPEN_WEIGHT * F.binary_cross_entropy_with_logits(each[:, -1], known))
        known = torch.tensor([float(r.sex is not None) for r in requests], device=predicted.device)
        female = torch.tensor([float(r.sex == "female") for r in requests], device=predicted.device)
        sexes = F.binary_cross_entropy_with_logits(sex[:, 0], female, reduction="none")
        there = [r.marks for r in requests]
        truth = torch.tensor([[float(mark in own) for mark in MARKS] for own in there], device=predicted.device)
        marked = F.binary_cross_entropy_with_logits(marks, truth)
        heights = torch.tensor([[dict(r.st).get(lead, 0) / HIGH for lead in LEADS] for r in requests])
        raised = F.mse_loss(st, heights.to(st.device))
        opened = F.binary_cross_entropy_with_logits(sex[:, 1], known)
        return loss + 0.3 * (sexes * known).mean() + OPEN_WEIGHT * opened + MARKS_WEIGHT * marked + raised

    @inference()
    def requests(self, vectors: Tensor) -> list[Request]:
        """(B, D_c) -> what the vectors tell, as requests; what is open in them is None."""
        *numbers, sex, marks, st = self.predict(vectors).split(PARTS, -1)
        values = {
            name: [value if named else None for value, named in zip(_told(each, name).int().tolist(), each[:, -1] > 0)]
            for name, each in zip(NUMBERS, numbers)
        }
        values["sex"] = [("female" if f > 0 else "male") if named > 0 else None for f, named in sex.tolist()]
        there = [[mark for mark, logit in zip(MARKS, row) if logit > 0] for row in marks.tolist()]
        fields = {field for field, _ in MARKS}
        found = {name: [tuple(value for field, value in row if field == name) for row in there] for name in fields}
        values |= {name: found[name] for name in ("findings", "noise")}
        values |= {name: [next(iter(each), None) for each in found[name]] for name in ("lead", "start")}
        heights = [dict(zip(LEADS, row)) for row in (HIGH * st).round().int().tolist()]
        values["st"] = [tuple((v, high[v]) for v in leads if high[v]) for leads, high in zip(found["st"], heights)]
        return [Request(**dict(zip(values, row))) for row in zip(*values.values())]

    @inference()
    def rate(self, vectors: Tensor) -> Tensor:
        """(B, D_c) -> (B,) the rate in whole bpm that the vectors tell, also where it is open."""
        return _told(self.predict(vectors)[:, :NUMBER_WIDTH], "rate")

    @inference()
    def named_rate(self, vectors: Tensor) -> Tensor:
        """(B, D_c) -> (B,) the same, NaN where the rate is open."""
        predicted = self.predict(vectors)[:, :NUMBER_WIDTH]
        return _told(predicted, "rate").where(predicted[:, -1] > 0, torch.nan)


def waves(share: Tensor) -> Tensor:
    """(B,) numbers over their scale -> (B, NUMBER_WIDTH - 1): the number as it is, its sines and its cosines."""
    angle = 2 * torch.pi * share[:, None] * torch.tensor(WAVES, device=share.device)
    return torch.cat([share[:, None], angle.sin(), angle.cos()], 1)


def _told(predicted: Tensor, name: str) -> Tensor:
    """(B, NUMBER_WIDTH) -> (B,) the nearest number of those that are `POSSIBLE`."""
    scale, every = NUMBERS[name][0], torch.tensor(POSSIBLE[name], device=predicted.device).float()  # (R,)
    return every[torch.cdist(predicted[:, :-1].float(), waves(every / scale)).argmin(1)]


def numbers_of(requests: list[Request], scaled: bool) -> Tensor:
    """Rate, age and sex of requests as numbers beside the words: (B, 3); an open one counts as the usual one.

    As published bpm, years, and 1 for a man; or each with mean 0 and about unit spread.
    """
    rows = [(r.rate, r.age, {"male": 1, "female": 0}.get(r.sex)) for r in requests]
    table = torch.tensor([[m if x is None else float(x) for x, (m, _) in zip(row, OPEN)] for row in rows])
    middle, spread = torch.tensor(OPEN).T
    return (table - middle) / spread if scaled else table
