"""What every notebook needs at its start and at its end."""

import json
import time

import torch
import transformers

from ..artifacts import Store, write_text
from ..config import BUDGETS, Profile
from ..config import profile as find_profile
from ..training import device_and_why, quiet_libraries

__all__ = ["BUDGETS", "SUMS", "Lesson", "against_budget", "say", "shape", "sums"]

# what the seconds of notebooks are summed up in: all that a user waits for, and from one system's first to its last
SUMS = {"total_all": ("00", "18"), "total": ("00", "10"), "total_11_14": ("11", "14"), "total_15_18": ("15", "18")}


def sums(seconds: dict[str, float]) -> dict[str, float]:
    """Seconds of notebooks by number -> those of each part of the course that has run, see `SUMS`."""
    parts = {name: [s for k, s in seconds.items() if low <= k <= high] for name, (low, high) in SUMS.items()}
    return {name: sum(values) for name, values in parts.items() if values}


def against_budget(profile: Profile, seconds: dict[str, float]) -> str:
    """One line: the seconds of notebooks by number, all and 00 to 10, within or over the profile's budget."""
    found, told = sums(seconds), []
    for name, what, most in (
        ("total_all", "all notebooks", profile.seconds_all),
        ("total", "00 to 10", profile.seconds_budget),
    ):
        spare = most - found.get(name, 0)
        how = "within" if spare >= 0 else "over"
        told.append(f"{what} {found.get(name, 0):.0f} s, {how} the budget of {most} s by {abs(spare):.0f} s")
    return "; ".join(told)


class Lesson:
    """One notebook: its profile, seed, artifacts, budget and figures.

    Args:
        number: of `BUDGETS`.
        profile: a profile's name; None for `UNIECG_PROFILE` or `laptop`.
        seed: of everything random here.
    """

    def __init__(self, number: str, profile: str | None = None, seed: int = 0):
        self.begun, self.number, self.seed = time.time(), number, int(seed)
        self.profile = find_profile(profile)
        self.store = Store.open(self.profile, self.seed)
        self.metrics: dict[str, float] = {}
        self.device, _, why = device_and_why()
        self.budget = self.profile.notebook_budget(number)
        quiet_libraries()
        torch.manual_seed(self.seed)
        print(f"notebook {number}, profile {self.profile.name}, seed {self.seed}; budget {self.budget:.0f} s")
        print(f"torch {torch.__version__}, transformers {transformers.__version__}; {why}")

    def metric(self, values: dict[str, float]) -> None:
        """Keep figures for the results file."""
        self.metrics |= {key: float(value) for key, value in values.items()}

    def done(self) -> None:
        """Print the time against the budget, and keep the figures in `artifacts/<profile>/metrics/`."""
        seconds = time.time() - self.begun
        kept = {"seed": self.seed, "seconds": seconds, "metrics": self.metrics}
        write_text(self.store.folder / "metrics" / f"{self.number}.json", json.dumps(kept, indent=1))
        print(f"{seconds:.0f} s of {self.budget:.0f} s" + (": over budget" if seconds > self.budget else ""))


def say(claim: str, holds: bool) -> None:
    """Print a `[check]` line; raise when the claim does not hold. These lines are equal in every profile."""
    if not holds:
        raise AssertionError(f"[check] {claim}: no")
    print(f"[check] {claim}: yes")


def shape(name: str, x: torch.Tensor, letters: str, **sizes: int) -> None:
    """Print a tensor's shape with the letters of its dimensions, and check the sizes that are given by letter."""
    print(f"{name:24s} ({', '.join(letters.split())}) = {tuple(x.shape)}")
    for letter, size in zip(letters.split(), x.shape):
        if letter in sizes and sizes[letter] != size:
            raise AssertionError(f"{name}: {letter} is {size}, not {sizes[letter]}")
