"""Who is this, what do healthy hearts of this sex and age measure (data/people.json), and what does this patient have?

Findings are drawn together as medicine puts them together; shares are for teaching. A drawn finding shapes the heart
(`hearts`); whether the record shows it by the textbook's rule is measured (`truth`).
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from ..findings import CODES, column, table
from . import hashing

HEARTS, PEOPLE = table("hearts"), table("people")
TRAITS = ("p_ms", "pr_ms", "qrs_ms", "qtc_ms", "axis_deg", "breath", "rate_bpm", "rmssd_ms")
LASTING = 6  # the first of them are a person's own, the others of one visit


class Draws:
    """Hands out the columns of a table of uniform numbers in order."""

    def __init__(self, table: torch.Tensor):
        self.columns = iter(table.T.contiguous())

    def next(self) -> torch.Tensor:
        """(B,) uniform on [0, 1)."""
        return next(self.columns)

    def between(self, low, high) -> torch.Tensor:
        """(B,) uniform on [low, high)."""
        return low + (high - low) * self.next()

    def vector(self, *ranges: tuple) -> torch.Tensor:
        """(B, n), each number uniform on its own range."""
        return torch.stack([self.between(low, high) for low, high in ranges], -1)


@dataclass
class Patients:
    """B patients: who they are, and what was drawn for them."""

    seed: int
    visit: int
    index: torch.Tensor  # (B,) record number
    age: torch.Tensor  # (B,) years
    female: torch.Tensor  # (B,) bool
    plan: torch.Tensor  # (B, F) bool, what shapes this heart
    place: torch.Tensor  # (B, T) standard normal, each of `TRAITS` among people of this sex and age

    @cached_property
    def drawn(self) -> dict[str, torch.Tensor]:
        """Each finding by its code: (B,) bool."""
        return dict(zip(CODES, self.plan.T.contiguous()))

    def usual(self, measure: str) -> torch.Tensor:
        """(B,) what this heart measures in health, in the unit of the row of data/people.json."""
        z = self.place[:, TRAITS.index(measure)] if measure in TRAITS else torch.zeros_like(self.age)
        row = PEOPLE[measure]
        middle, (low, high) = self._by_age(row, row["ages"]), row["spread"]
        away = torch.where(z < 0, low, high) * z
        return middle * away.exp() if row.get("log") else middle + away

    def by_lead(self, name: str) -> torch.Tensor:
        """(B, 8) medians of this sex and age in the leads I, II, V1 to V6."""
        return self._by_age(PEOPLE["by_lead"][name], PEOPLE["by_lead"]["ages"])

    def _by_age(self, row: dict, ages: list[float]) -> torch.Tensor:
        """On a straight line between the rows of "men" or "women" at these ages, level beyond: (B,) or (B, 8)."""
        known = torch.tensor([row["men"], row["women"]], dtype=torch.float64)[self.female.long()]  # (B, n) or (B, n, 8)
        share = torch.stack([torch.from_numpy(np.interp(self.age, ages, one)) for one in np.eye(len(ages))], 1)
        return (share.view(*share.shape, *[1] * (known.dim() - 2)) * known).sum(1)

    def has(self, *codes: str) -> torch.Tensor:
        """(B,) True where any of these was drawn."""
        return torch.stack([self.drawn[code] for code in codes]).any(0)

    def override(self, value: torch.Tensor, cases: dict) -> torch.Tensor:
        """`value` (B, ...), replaced where findings were drawn: codes in one string -> what is there instead, or a
        function of the value so far. Of two findings the later decides.
        """
        for codes, new in cases.items():
            value = put(self.has(*codes.split()), value, new(value) if callable(new) else new)
        return value


def put(rows: torch.Tensor, old: torch.Tensor, new) -> torch.Tensor:
    """`new` where rows (B,) are True, `old` (B, ...) elsewhere."""
    new = torch.as_tensor(new, dtype=old.dtype)
    return torch.where(rows.view(-1, *[1] * (old.dim() - 1)), new, old)


def draw(seed: int, index: torch.Tensor, visit: int = 0) -> Patients:
    """Draw age, sex and findings of the patients with these numbers, (B,) int64, by the draws of data/hearts.json.

    At a later visit half of the patients come back with what they had, the others with something else. What cannot be
    told together (`apart`) is never drawn together, mostly because one would hide a wave of the other.
    """
    who = Draws(hashing.uniform(seed, index, stream=1, n=3))
    age, female = (18 + 77 * who.next() ** 0.8).round(), who.next() < 0.5
    u = hashing.uniform(seed, index, stream=21, n=24)
    if visit:
        changed = who.next()[:, None] < 0.5
        u = torch.where(changed, hashing.uniform(seed, index, stream=21 + 100 * visit, n=24), u)
    old, young, woman = 0.5 + age / 100, 1.5 - age / 100, female.double()  # (B,) about 1 on average
    weights = {"old": old, "young": young, "very young": young**2, "man": 1.2 - 0.4 * woman, "woman": 0.8 + 0.4 * woman}
    draws = Draws(u)
    found = dict.fromkeys((*CODES, "plain"), torch.zeros_like(female)) | {"everyone": torch.ones_like(female)}
    for step in HEARTS["prevalence"]:
        there = _all(found, step)
        if "room" in step:
            found[step["room"]] = there
            continue
        u, low = draws.next(), 0.0
        for row in step["draw"]:  # at most one of these: their shares sum to at most 1
            high = low + row["share"] * weights.get(row.get("by"), 1.0)
            found[row["code"]] = found[row["code"]] | ((u >= low) & (u < high) & there & found[row["room"]])
            low = high
    for code, others in column("apart").items():
        found[code] = _all(found, {"all": [code], "none": others})
    own, now = (hashing.normal(seed, index, stream, len(TRAITS)) for stream in (311, 312 + 100 * visit))
    place = torch.cat([own[:, :LASTING], now[:, LASTING:]], 1)
    place[:, 1] = 0.5 * place[:, 0] + 0.75**0.5 * place[:, 1]  # a long P is a part of a long PR
    return Patients(seed, visit, index, age, female, torch.stack([found[code] for code in CODES], 1), place)


def _all(found: dict[str, torch.Tensor], asked: dict) -> torch.Tensor:
    """(B,) True where "all" of these were found, "any" of those and "none" of others."""
    there = [found["everyone"], *(found[code] for code in asked.get("all", ()))]
    if "any" in asked:
        there.append(torch.stack([found[code] for code in asked["any"]]).any(0))
    return torch.stack(there + [~found[code] for code in asked.get("none", ())]).all(0)
