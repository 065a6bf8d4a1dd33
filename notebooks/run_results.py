"""What a run of the chain leaves: its results file, gathered from all notebooks, and how long these took."""

import json
import math
import platform
from datetime import date
from itertools import accumulate
from pathlib import Path

import torch

from uniecg_lite.config import Profile
from uniecg_lite.course import results
from uniecg_lite.store import Store, commit, machine, write_text
from uniecg_lite.studies.study import verdicts

# what the seconds of notebooks are summed up in: all that a user waits for, and from one system's first to its last
SUMS = {"total_all": ("00", "18"), "total": ("00", "10"), "total_11_14": ("11", "14"), "total_15_18": ("15", "18")}


def sums(seconds: dict[str, float], starts: dict[str, float] | None = None) -> dict[str, float]:
    """How long some notebook of each part of the course ran, see `SUMS`: two at the same time count once.

    Args:
        seconds: of notebooks, by number.
        starts: when each began, s; one after the other by default.
    """
    starts, out = starts or dict(zip(seconds, accumulate([0.0, *seconds.values()]))), {}
    for name, (low, high) in SUMS.items():
        spans = sorted((starts[k], starts[k] + s) for k, s in seconds.items() if low <= k <= high)
        ends = accumulate((end for _, end in spans), max, initial=-math.inf)  # of all that began before
        out |= {name: sum(max(0.0, end - max(start, last)) for (start, end), last in zip(spans, ends))} if spans else {}
    return out


def against_budget(profile: Profile, seconds: dict[str, float], starts: dict[str, float] | None = None) -> str:
    """One line: the time of notebooks by number, all and 00 to 10, within or over the profile's budget."""
    budgets = (("total_all", "all notebooks", profile.seconds_all), ("total", "00 to 10", profile.seconds_budget))
    spent = [(what, most, sums(seconds, starts).get(name, 0)) for name, what, most in budgets]
    return "; ".join(
        f"{what} {s:.0f} s, {'within' if s <= most else 'over'} the budget of {most} s by {abs(most - s):.0f} s"
        for what, most, s in spent
    )


def run_file(store: Store) -> Path:
    """Where a run keeps its results: `results.json` among its artifacts, with the seed when it is not 0."""
    return store.folder / f"results{_of_seed(store.seed)}.json"


def committed_file(profile: str, machine: str, seed: int) -> Path:
    """Where the results of such a run are committed: `results/<profile>.<machine>.json`, with the seed when not 0."""
    return results.RESULTS / f"{profile}.{machine}{_of_seed(seed)}.json"


def _of_seed(seed: int) -> str:
    return f".seed{seed}" if seed else ""


def write(store: Store, seconds: dict[str, float], starts: dict[str, float], resumed: bool) -> Path:
    """Gather every notebook's figures, and those of its studies, into the run's results file, see `run_file`.

    `starts`: when each notebook began, s.
    """
    files = sorted((store.folder / "metrics").glob("[0-9][0-9].json"))
    metrics = {name: value for file in files for name, value in json.loads(file.read_text())["metrics"].items()}
    metrics |= results.derived(metrics) | results.studied(store)
    about = {
        "profile": store.profile.name,
        "machine": machine(),
        "processor": torch.backends.cpu.get_cpu_capability(),
        "system": platform.system(),
        "torch": torch.__version__,
        "seed": store.seed,
        "commit": commit(),
        "date": date.today().isoformat(),
        "resumed": resumed,
        "starts": {key: round(begun - min(starts.values()), 1) for key, begun in sorted(starts.items())},
        "seconds": {k: round(s, 1) for k, s in [*sorted(seconds.items()), *sums(seconds, starts).items()]},
    }
    write_text(run_file(store), as_text(about, metrics))
    return run_file(store)


def as_text(about: dict, metrics: dict[str, float]) -> str:
    """A results file: what is known of the run, its figures, and the verdicts that follow from them."""
    rounded = {key: round(value, 4) for key, value in sorted(metrics.items())}
    return json.dumps({**about, "metrics": rounded, "claims": verdicts(metrics)}, indent=1) + "\n"
