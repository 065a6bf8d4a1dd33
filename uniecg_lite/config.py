"""How big is everything? One dial, the profile, sets every size; nothing else needs tuning on a first run."""

import os
from dataclasses import dataclass, make_dataclass, replace

from .errors import BadRequest, require
from .findings import table

# seconds of each notebook in the profile laptop, on two cores without bf16 matrix units; see `Profile.notebook_budget`
BUDGETS = {number: row["seconds"] for number, row in table("notebooks").items()}
SIZES = table("profiles")  # `meaning`: what each size is; then its value in each profile
HARDWARE = SIZES["hardware"]  # profile -> whom it is for, where its budget is meant for, and the free memory it needs


@dataclass(frozen=True)
class Training:
    """One training run."""

    steps: int
    batch: int  # records, or conversations, of a step
    lr: float  # learning rate after the warm-up
    warmup: int = 30  # steps


SETTINGS = [("llm", str | None, None), ("cohort", str | None, None)]


class Profile(make_dataclass("Sizes", ["name", *SIZES["meaning"], *SETTINGS], frozen=True)):
    """Every size of the chain, as `data/profiles.json` explains and sets them: whole numbers, shares or a `Training`.

    `llm` is a folder for AutoModelForCausalLM in place of the pocket language model, or None; `cohort` where patients
    come from, as `real_cohorts.cohort_rows` takes it, None for the simulator.
    """

    def notebook_budget(self, number: str) -> float:
        """Seconds that a notebook may take, by its number; 20 at least."""
        return max(20.0, self.seconds_share * BUDGETS.get(number, 0))


def _read(name: str) -> Profile:
    """A profile of `data/profiles.json`; what it leaves out is as in laptop."""
    kinds = {list: tuple, dict: lambda value: Training(**value)}
    sizes = (SIZES["laptop"] | SIZES[name]).items()
    return Profile(name, **{key: kinds[type(value)](value) if type(value) in kinds else value for key, value in sizes})


SMOKE, LAPTOP, GPU = (_read(name) for name in ("smoke", "laptop", "gpu"))
PAPER = _read("paper")  # what is published of the papers' sizes: to count on the `meta` device, never to run
PROFILES = {p.name: p for p in (SMOKE, LAPTOP, GPU)}


def profile(name: str | None = None) -> Profile:
    """The profile of this name, or of `UNIECG_PROFILE`, or `laptop`. `UNIECG_LLM` replaces the language model,
    `UNIECG_COHORT` the simulated patients.

    Raises:
        BadRequest: no such profile.
    """
    name = name or os.environ.get("UNIECG_PROFILE") or "laptop"
    require(name in PROFILES, f"There is no profile '{name}': choose one of {', '.join(PROFILES)}.", BadRequest)
    own = {key: os.environ.get(f"UNIECG_{key.upper()}") or getattr(PROFILES[name], key) for key, *_ in SETTINGS}
    return replace(PROFILES[name], **own)
