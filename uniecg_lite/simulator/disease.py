"""What does this patient have? Findings are drawn together as medicine puts them together; shares are for teaching.

A drawn finding shapes the heart (`hearts`); whether the record shows it by the textbook's rule is measured (`truth`).
"""

from dataclasses import dataclass

import torch

from . import random

RHYTHMS = (
    "SR",
    "SBRAD",
    "STACH",
    "SARRH",
    "AFIB",
    "AFLT",
    "JUNC",
    "SVTAC",
    "VT",
    "PACE",
    "WENCK",
    "MOB2",
    "3AVB",
)
FINDINGS = (
    *RHYTHMS,
    *("1AVB", "PAC", "PVC", "BIGU"),
    *("CLBBB", "CRBBB", "LAFB", "LPFB", "IVCD", "WPW", "LAD", "RAD", "LVH", "RVH", "LAE", "RAE"),
    *("STE_ANT", "STE_SEP", "STE_LAT", "STE_INF", "STE_POST", "STD", "TINV", "Q_ANT", "Q_INF", "Q_LAT", "HYPT"),
    *("HYPERK", "HYPOK", "LQT", "PERI", "EREP", "LOWV", "BRUG", "NORM"),
)
PLACE = {code: i for i, code in enumerate(FINDINGS)}
SINUS = ("SR", "SBRAD", "STACH", "SARRH")
INJURY = ("STE_ANT", "STE_SEP", "STE_LAT", "STE_INF", "STE_POST")
OLD = ("Q_ANT", "Q_INF", "Q_LAT")


class Draws:
    """Hands out the columns of a table of uniform numbers in order."""

    def __init__(self, table: torch.Tensor):
        self.columns = iter(table.unbind(-1))

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

    def has(self, *codes: str) -> torch.Tensor:
        """(B,) True where any of these was drawn."""
        return self.plan[:, [PLACE[code] for code in codes]].any(1)


def draw(seed: int, index: torch.Tensor, visit: int = 0) -> Patients:
    """Draw age, sex and findings of the patients with these numbers, (B,) int64.

    At a later visit half of the patients come back with what they had, the others with something else.
    """
    who = Draws(random.uniform(seed, index, stream=1, n=3))
    age, female = (18 + 77 * who.next() ** 0.8).round(), who.chance(0.5)
    table = random.uniform(seed, index, stream=21, n=24)
    if visit:
        changed = who.next()[:, None] < 0.5
        table = torch.where(changed, random.uniform(seed, index, stream=21 + 100 * visit, n=24), table)
    found = _together(Draws(table), age, female)
    no = torch.zeros(len(index), dtype=torch.bool)
    return Patients(seed, visit, index, age, female, torch.stack([found.get(code, no) for code in FINDINGS], 1))


def _together(u: Draws, age: torch.Tensor, female: torch.Tensor) -> dict[str, torch.Tensor]:
    """Which findings a patient has: code -> (B,) bool. What cannot be told together is never drawn together."""
    old, young = 0.5 + age / 100, 1.5 - age / 100  # (B,) about 1 on average
    man, woman = 1.2 - 0.4 * female.double(), 0.8 + 0.4 * female.double()
    plain = u.chance(0.10)
    rhythm = {
        "AFIB": 0.065 * old,
        "AFLT": 0.035,
        "JUNC": 0.035,
        "SVTAC": 0.035 * young,
        "VT": 0.035,
        "PACE": 0.035 * old,
    }
    rhythm |= {"WENCK": 0.035, "MOB2": 0.035, "3AVB": 0.035 * old, "SARRH": 0.05 * young, "SBRAD": 0.13, "STACH": 0.12}
    found = {code: there & ~plain for code, there in u.one_of(rhythm).items()}
    rate = u.one_of({"SBRAD": 0.15, "STACH": 0.15})  # a plain heart may still be slow or fast
    found = {code: there | (plain & rate.get(code, torch.zeros_like(plain))) for code, there in found.items()}
    found["SR"] = ~torch.stack(list(found.values())).any(0)

    def any_of(*codes):
        return torch.stack([found[code] for code in codes]).any(0)

    sinus = any_of(*SINUS) & ~plain
    steady = sinus & ~found["SARRH"]
    found["1AVB"] = steady & ~found["STACH"] & u.chance(0.09)
    ectopy = u.one_of({"PAC": 0.12, "PVC": 0.10, "BIGU": 0.07})
    slow = steady & ~found["STACH"]
    found |= {code: slow & ectopy[code] for code in ("PAC", "BIGU")}
    found["PVC"] = (slow | found["AFIB"]) & ectopy["PVC"]
    narrow = sinus | found["AFIB"]
    conduction = {
        "CLBBB": 0.06 * old,
        "CRBBB": 0.065,
        "LAFB": 0.06,
        "LPFB": 0.055,
        "IVCD": 0.055,
        "WPW": 0.068 * young**2,
    }
    found |= {code: narrow & there for code, there in u.one_of(conduction).items()}
    found["WPW"] = found["WPW"] & slow & ~found["1AVB"]
    found["LAFB"] = found["LAFB"] | (found["CRBBB"] & u.chance(0.15))
    clear = narrow & ~any_of("CLBBB", "IVCD", "WPW")  # nothing hides voltage, ST, T and Q
    chamber = u.one_of({"LVH": 0.085 * old, "RVH": 0.055})
    found["LVH"] = clear & chamber["LVH"] & ~found["LPFB"]
    found["RVH"] = clear & chamber["RVH"] & ~any_of("CRBBB", "LAFB", "LPFB")
    atria = u.one_of({"LAE": 0.075, "RAE": 0.072})
    found |= {code: sinus & there & ~any_of("WPW", "STACH") for code, there in atria.items()}  # P stays clear of T
    found["RAE"] = found["RAE"] & ~found["CLBBB"]
    axis = u.one_of({"LAD": 0.07, "RAD": 0.05})
    turned = any_of("LAFB", "LPFB", "RVH", "CLBBB")
    found |= {code: narrow & there & ~turned for code, there in axis.items()}
    found["RAD"] = found["RAD"] & ~any_of("LVH", "WPW")

    late = clear | any_of("WENCK", "MOB2", "3AVB", "JUNC")
    disease = {code: 0.025 for code in INJURY} | {"Q_ANT": 0.022, "Q_INF": 0.012, "Q_LAT": 0.028}
    disease |= {"STD": 0.033, "TINV": 0.01, "HYPT": 0.065, "HYPERK": 0.118, "HYPOK": 0.150, "LQT": 0.10 * woman}
    disease |= {"PERI": 0.10, "EREP": 0.10 * man, "LOWV": 0.038, "BRUG": 0.09 * man}
    again = {code: 0.06 for code in INJURY}  # a second chance for what fits where the first did not
    again |= {"STD": 0.05, "LOWV": 0.06, "STE_POST": 0.085, "Q_ANT": 0.01, "Q_INF": 0.02, "Q_LAT": 0.02}
    calm = clear & sinus & ~any_of("LVH", "RVH", "CRBBB", "LAE", "RAE")
    found |= {code: torch.zeros_like(plain) for code in disease}
    for table in (disease, again):
        free = ~any_of(*disease)
        for code, there in u.one_of(table).items():
            room = late if code in ("STE_INF", *OLD) else clear | found["JUNC"] if code in INJURY else calm
            if code in ("TINV", "STD", "LOWV"):
                room = clear
            beside = ("STE_ANT", "STE_SEP", "STE_LAT", "STE_POST", "Q_ANT", "LOWV")
            found[code] = found[code] | (there & free & room & ~(found["RVH"] & (code in beside)))
    found["STE_POST"] = found["STE_POST"] & ~any_of("CRBBB", "LVH")
    found["LOWV"] = found["LOWV"] & ~any_of("LVH", "LAFB", "LPFB", "RAE", "CRBBB")
    for code in ("HYPT", "HYPERK", "HYPOK", "LQT", "PERI", "EREP", "BRUG"):
        found[code] = found[code] & ~found["STACH"]
    for code in ("PERI", "EREP"):
        found[code] = found[code] & ~any_of("LAFB", "LPFB", "LAD", "RAD")
    for code in ("BRUG", "HYPERK"):
        found[code] = found[code] & ~found["LPFB"]
    for code in ("HYPERK", "HYPOK"):
        found[code] = found[code] & ~any_of("SARRH", "BIGU", "PVC")
    found["HYPOK"] = found["HYPOK"] & ~found["SBRAD"]
    found["STD"] = found["STD"] & ~found["LVH"]
    for code in ("HYPERK", "HYPOK", "LQT"):
        found[code] = found[code] & ~found["1AVB"]  # P would lie in T or U
    found["LQT"] = found["LQT"] & ~found["SARRH"]
    found["Q_INF"] = found["Q_INF"] & ~found["LAFB"]
    found["Q_LAT"] = found["Q_LAT"] & ~any_of("LPFB", "RAD", "LVH", "RVH", "CRBBB")
    return found
