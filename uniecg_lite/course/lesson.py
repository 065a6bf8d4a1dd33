"""What every notebook needs at its start and at its end."""

import json
import os
import time

import torch
import transformers

from ..artifacts import Store
from ..config import profile as find_profile
from ..training import device_and_why, quiet_libraries

# seconds of the laptop profile on two cores without bf16 matrix units; smoke has a fifth of each
BUDGETS = {
    "00": 20,
    "01": 25,
    "02": 290,
    "03": 525,
    "04": 35,
    "05": 445,
    "06": 215,
    "07": 40,
    "08": 165,
    "09": 20,
    "10": 20,
    "11": 240,
    "12": 175,
    "13": 465,
    "14": 20,
    "15": 100,
    "16": 60,
    "17": 90,
    "18": 60,
}
# what the seconds are summed up in; the profile's budget is for the first: from one system's first notebook to its last
SUMS = {"total": ("00", "10"), "total_11_14": ("11", "14"), "total_15_18": ("15", "18")}


def sums(seconds: dict[str, float]) -> dict[str, float]:
    """Seconds of notebooks by number -> those of each part of the course that has run, see `SUMS`."""
    parts = {name: [s for k, s in seconds.items() if low <= k <= high] for name, (low, high) in SUMS.items()}
    return {name: sum(values) for name, values in parts.items() if values or name == "total"}


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
        share = {"smoke": 0.2, "gpu": 1 / 3}.get(self.profile.name, 1.0)
        self.budget = max(20.0, share * BUDGETS[number])
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
        folder = self.store.folder / "metrics"
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / f"{self.number}.part"
        part.write_text(json.dumps({"seed": self.seed, "seconds": seconds, "metrics": self.metrics}, indent=1))
        os.replace(part, folder / f"{self.number}.json")
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
