"""A run's results: its results file, gathered from all notebooks, how long these took, and the table of aims.

README's tables and notebook 10 show them.
"""

import json
import math
import platform
from datetime import date
from itertools import accumulate
from pathlib import Path

import torch

from uniecg_lite.config import LAPTOP, Profile
from uniecg_lite.findings import table
from uniecg_lite.paths import ROOT
from uniecg_lite.store import Store, commit, machine, write_text
from uniecg_lite.studies.study import claim_metrics, markdown, verdicts

RESULTS = ROOT / "results"

# metric -> (aim, direction, what it is); an aim in words is a budget of the profile laptop
AIMS = {
    name: (getattr(LAPTOP, aim) if isinstance(aim, str) else aim, direction, what)
    for name, (aim, direction, what) in table("aims").items()
}
# metric -> its sum, see `SUMS`
SECONDS = {"seconds.total_all": "total_all", "seconds.total": "total", "seconds.diagecg": "total_11_14"}
PARTS = ("vae", "condition", "reading", "rhythm", "templates", "denoiser")  # of DiffuSETS
TRAINED = {*(f"diffusets.{part}_seconds" for part in PARTS), "tokens.seconds", "mapper.seconds"}  # to make ECGs
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
    return RESULTS / f"{profile}.{machine}{_of_seed(seed)}.json"


def _of_seed(seed: int) -> str:
    return f".seed{seed}" if seed else ""


def write(store: Store, seconds: dict[str, float], starts: dict[str, float], resumed: bool) -> Path:
    """Gather every notebook's figures, and those of its studies, into the run's results file, see `run_file`.

    `starts`: when each notebook began, s.
    """
    files = sorted((store.folder / "metrics").glob("[0-9][0-9].json"))
    metrics = {name: value for file in files for name, value in json.loads(file.read_text())["metrics"].items()}
    metrics |= derived(metrics) | studied(store)
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


# --- Figures of a run, and the table of aims.


def derived(metrics: dict[str, float]) -> dict[str, float]:
    """Figures that follow from those of several notebooks."""
    trained = sum(metrics[name] for name in sorted(TRAINED)) if metrics.keys() >= TRAINED else None
    direct, unified = metrics.get("generation.fid"), metrics.get("generation.unified_fid")
    ratio = unified / direct if direct and unified is not None else None
    out = {"generation.chain_seconds": trained, "generation.fid_ratio_unified_to_direct": ratio}
    return {name: value for name, value in out.items() if value is not None}


def studied(store: Store) -> dict[str, float]:
    """Figures of the studies that belong to a run: its own cells, else the committed ones; none for another seed."""
    return {} if store.seed else claim_metrics(profile=store.profile.name)


def load_all() -> list[dict]:
    """Every committed results file, laptop first; not that of smoke, whose figures say nothing."""
    paths = [path for path in sorted(RESULTS.glob("*.json")) if not path.name.startswith("notebooks.")]
    files = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    files = [file for file in files if file["profile"] != "smoke"]
    return sorted(files, key=lambda r: (r["profile"] != "laptop", r["profile"], r["machine"], r["seed"]))


def value_of(result: dict, name: str) -> float | None:
    """A metric of a results file, or one of its sums of seconds; None when it was not measured."""
    return result["seconds"].get(SECONDS[name]) if name in SECONDS else result["metrics"].get(name)


def meets(name: str, value: float | None) -> bool:
    """Whether a value reaches its aim."""
    aim, direction, _ = AIMS[name]
    return value is not None and {"<=": value <= aim, ">=": value >= aim, "==": value == aim}[direction]


def table_of_aims(results: list[dict]) -> str:
    """Metrics against aims as a Markdown table; several seeds of one profile and machine as mean and range."""
    names = [f"{result['profile']}, {result['machine']}" for result in results]
    groups = {name: [r for r, its in zip(results, names) if its == name] for name in names}
    rows = [
        [f"{what} (`{name}`)", f"{direction} {aim}", *(_measured(group, name) for group in groups.values())]
        for name, (aim, direction, what) in AIMS.items()
    ]
    return markdown(["metric", "aim", *(f"{name} (n = {len(group)})" for name, group in groups.items())], rows)


def _measured(group: list[dict], name: str) -> str:
    """The mean and range of a metric over results, and whether its aim is missed."""
    values = [v for v in (value_of(result, name) for result in group) if v is not None]
    if not values:
        return "not measured"
    mean = sum(values) / len(values)
    spread = f" ({min(values):.4g} to {max(values):.4g})" if len(values) > 1 else ""
    return f"{mean:.4g}{spread}" + ("" if meets(name, mean) else ", missed")


def beside_committed(result: dict) -> str:
    """The table of aims of one run, beside the committed runs."""
    others = [{**other, "profile": f"committed: {other['profile']}"} for other in load_all()]
    return table_of_aims([{**result, "profile": f"this run: {result['profile']}"}, *others])
