"""What does this patient have? Findings are drawn together as medicine puts them together; shares are for teaching.

A drawn finding shapes the heart (`hearts`); whether the record shows it by the textbook's rule is measured (`truth`).
"""

from dataclasses import dataclass
from functools import cache

import torch

from ..findings import CODES, INJURY, OLD, SINUS, column
from . import hashing


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

    def chance(self, p) -> torch.Tensor:
        """(B,) True with probability p."""
        return self.next() < p

    def one_of(self, shares: dict[str, float | torch.Tensor]) -> dict[str, torch.Tensor]:
        """At most one of these: code -> (B,) bool. Shares are numbers or (B,) and sum to at most 1."""
        u, low, out = self.next(), 0.0, {}
        for code, share in shares.items():
            out[code] = (u >= low) & (u < low + share)
            low = low + share
        return out


@dataclass
class Patients:
    """B patients: who they are, and what was drawn for them."""

    seed: int
    visit: int
    index: torch.Tensor  # (B,) record number
    age: torch.Tensor  # (B,) years
    female: torch.Tensor  # (B,) bool
    plan: torch.Tensor  # (B, F) bool, what shapes this heart

    def __post_init__(self):
        self._one = dict(zip(CODES, self.plan.T.contiguous()))  # code -> (B,)
        self._bits = (self.plan.long() << torch.arange(len(CODES))).sum(1)  # (B,) one bit for each finding

    def has(self, *codes: str) -> torch.Tensor:
        """(B,) True where any of these was drawn."""
        return self._one[codes[0]] if len(codes) == 1 else (self._bits & _mask(codes)) != 0


@cache
def _mask(codes: tuple[str, ...]) -> int:
    """The bits of these findings."""
    return sum(1 << CODES.index(code) for code in set(codes))


def draw(seed: int, index: torch.Tensor, visit: int = 0) -> Patients:
    """Draw age, sex and findings of the patients with these numbers, (B,) int64.

    At a later visit half of the patients come back with what they had, the others with something else.
    """
    who = Draws(hashing.uniform(seed, index, stream=1, n=3))
    age, female = (18 + 77 * who.next() ** 0.8).round(), who.chance(0.5)
    table = hashing.uniform(seed, index, stream=21, n=24)
    if visit:
        changed = who.next()[:, None] < 0.5
        table = torch.where(changed, hashing.uniform(seed, index, stream=21 + 100 * visit, n=24), table)
    found = _together(Draws(table), age, female)
    no = torch.zeros(len(index), dtype=torch.bool)
    return Patients(seed, visit, index, age, female, torch.stack([found.get(code, no) for code in CODES], 1))


def _together(u: Draws, age: torch.Tensor, female: torch.Tensor) -> dict[str, torch.Tensor]:
    """Which findings a patient has: code -> (B,) bool. What cannot be told together (`apart`) is never drawn together,
    mostly because one would hide a wave of the other."""
    old, young = 0.5 + age / 100, 1.5 - age / 100  # (B,) about 1 on average
    man, woman = 1.2 - 0.4 * female.double(), 0.8 + 0.4 * female.double()
    plain = u.chance(0.10)
    found = _rhythms(u, plain, old, young)
    sinus = _any(found, *SINUS) & ~plain
    _ectopy(u, found, sinus)
    narrow = sinus | found["AFIB"]
    _conduction(u, found, narrow, old, young)
    clear = narrow & ~_any(found, "CLBBB", "IVCD", "WPW")  # nothing hides voltage, ST, T and Q
    _chambers_and_axis(u, found, sinus, narrow, clear, old)
    _walls_and_salts(u, found, sinus, clear, man, woman)
    for code, others in column("apart").items():
        found[code] = found[code] & ~_any(found, *others)
    return found


def _any(found: dict[str, torch.Tensor], *codes: str) -> torch.Tensor:
    """(B,) True where any of these was found."""
    return torch.stack([found[code] for code in codes]).any(0)


def _rhythms(u: Draws, plain: torch.Tensor, old: torch.Tensor, young: torch.Tensor) -> dict[str, torch.Tensor]:
    """The one rhythm of each patient; a plain heart may still be slow or fast."""
    shares = {"AFIB": 0.065 * old, "AFLT": 0.035, "JUNC": 0.035, "SVTAC": 0.035 * young, "VT": 0.035}
    shares |= {"PACE": 0.035 * old, "WENCK": 0.035, "MOB2": 0.035, "3AVB": 0.035 * old}
    shares |= {"SARRH": 0.05 * young, "SBRAD": 0.13, "STACH": 0.12}
    found = {code: there & ~plain for code, there in u.one_of(shares).items()}
    for code, there in u.one_of({"SBRAD": 0.15, "STACH": 0.15}).items():
        found[code] = found[code] | (plain & there)
    found["SR"] = ~_any(found, *found)
    return found


def _ectopy(u: Draws, found: dict[str, torch.Tensor], sinus: torch.Tensor) -> None:
    """A long PR interval and early beats, where the rhythm is slow enough to tell."""
    slow = sinus & ~found["SARRH"] & ~found["STACH"]
    found["1AVB"] = slow & u.chance(0.09)
    early = u.one_of({"PAC": 0.12, "PVC": 0.10, "BIGU": 0.07})
    found |= {code: slow & early[code] for code in ("PAC", "BIGU")}
    found["PVC"] = (slow | found["AFIB"]) & early["PVC"]


def _conduction(u: Draws, found: dict[str, torch.Tensor], narrow: torch.Tensor, old, young) -> None:
    """Bundle branch and fascicular blocks, pre-excitation."""
    shares = {"CLBBB": 0.06 * old, "CRBBB": 0.065, "LAFB": 0.06, "LPFB": 0.055, "IVCD": 0.055}
    shares["WPW"] = 0.068 * young**2
    found |= {code: narrow & there for code, there in u.one_of(shares).items()}
    found["WPW"] = found["WPW"] & _any(found, "SR", "SBRAD") & ~found["1AVB"]
    found["LAFB"] = found["LAFB"] | (found["CRBBB"] & u.chance(0.15))


def _chambers_and_axis(u: Draws, found: dict[str, torch.Tensor], sinus, narrow, clear, old) -> None:
    """Large ventricles and atria, and an axis turned by nothing else."""
    chamber = u.one_of({"LVH": 0.085 * old, "RVH": 0.055})
    found["LVH"] = clear & chamber["LVH"] & ~found["LPFB"]
    found["RVH"] = clear & chamber["RVH"] & ~_any(found, "CRBBB", "LAFB", "LPFB")
    atria = u.one_of({"LAE": 0.075, "RAE": 0.072})
    apart = sinus & ~_any(found, "WPW", "STACH")  # P stays clear of T
    found |= {code: apart & there for code, there in atria.items()}
    found["RAE"] = found["RAE"] & ~found["CLBBB"]
    axis = u.one_of({"LAD": 0.07, "RAD": 0.05})
    free = narrow & ~_any(found, "LAFB", "LPFB", "RVH", "CLBBB")
    found |= {code: free & there for code, there in axis.items()}
    found["RAD"] = found["RAD"] & ~_any(found, "LVH", "WPW")


def _walls_and_salts(u: Draws, found: dict[str, torch.Tensor], sinus, clear, man, woman) -> None:
    """At most one of the diseases that ST, T, Q or voltage show, in a rhythm and beside blocks that let it be seen."""
    shares = {code: 0.025 for code in INJURY} | {"Q_ANT": 0.022, "Q_INF": 0.012, "Q_LAT": 0.028}
    shares |= {"STD": 0.033, "TINV": 0.01, "HYPT": 0.065, "HYPERK": 0.118, "HYPOK": 0.150, "LQT": 0.10 * woman}
    shares |= {"PERI": 0.10, "EREP": 0.10 * man, "LOWV": 0.038, "BRUG": 0.09 * man}
    # the shares add up to nearly 1: what is new goes here, into the second chance for what fits where the first did not
    again = {code: 0.06 for code in INJURY}
    again |= {"STD": 0.05, "LOWV": 0.06, "STE_POST": 0.085, "Q_ANT": 0.01, "Q_INF": 0.02, "Q_LAT": 0.02}
    calm = clear & sinus & ~_any(found, "LVH", "RVH", "CRBBB", "LAE", "RAE")
    room = dict.fromkeys(shares, calm) | dict.fromkeys(("TINV", "STD", "LOWV"), clear)
    room |= dict.fromkeys(INJURY, clear | found["JUNC"])
    room |= dict.fromkeys(("STE_INF", *OLD), clear | _any(found, "WENCK", "MOB2", "3AVB", "JUNC"))
    for code in ("STE_ANT", "STE_SEP", "STE_LAT", "STE_POST", "Q_ANT", "LOWV"):
        room[code] = room[code] & ~found["RVH"]
    found |= dict.fromkeys(shares, torch.zeros_like(clear))
    for table in (shares, again):
        free = ~_any(found, *shares)
        for code, there in u.one_of(table).items():
            found[code] = found[code] | (there & free & room[code])
