"""What does every notebook need? Profile, artifacts, budget and figures; claims and exercises that check themselves.

Notebook NN has `notebooks/exercises/nNN.py` with `EXERCISES`: number -> (test of the answer, first hint, second hint);
`check("03.2", answer)` says pass, a hint, or that nothing was tried.
"""

import inspect
import json
import os
import textwrap
import time
from collections import Counter
from contextlib import suppress

import torch
import transformers

from ..config import profile as find_profile
from ..paths import beside
from ..store import Store, write_text
from ..training import device_and_why, quiet_libraries


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
        kept = {"seed": self.seed, "begun": self.begun, "seconds": seconds, "metrics": self.metrics}
        write_text(self.store.folder / "metrics" / f"{self.number}.json", json.dumps(kept, indent=1))
        print(f"{seconds:.0f} s of {self.budget:.0f} s" + (": over budget" if seconds > self.budget else ""))


def confirm(claim: str, holds: bool) -> None:
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


def source(*objects) -> None:
    """Show the code of functions, methods or classes as the package has it."""
    from IPython.display import Markdown, display

    for each in objects:
        display(Markdown(f"```python\n{textwrap.dedent(inspect.getsource(each)).rstrip()}\n```"))


_tries: Counter = Counter()


def check(number: str, answer) -> None:
    """Check an answer and print the outcome.

    Students never see an exception: a test that breaks on an answer counts as not passed. With `UNIECG_STRICT=1`, as
    for the solutions, anything but a pass raises AssertionError.
    """
    test, *hints = beside(f"notebooks/exercises/n{number[:2]}.py").EXERCISES[number]
    outcome, passed = "not tried yet", False
    if answer is not None:
        with suppress(Exception):  # a student's answer may be anything
            passed = bool(test(answer))
        outcome = "pass" if passed else "not yet. Hint: " + hints[min(_tries[number], len(hints) - 1)]
        _tries[number] += not passed
    print(f"[exercise {number}] {outcome}")
    if os.environ.get("UNIECG_STRICT") == "1" and outcome != "pass":
        raise AssertionError(f"exercise {number}: {outcome}")
