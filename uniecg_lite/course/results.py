"""The results table: gathered by the chain, read by README and by notebook 10."""

import json

from ..config import LAPTOP
from ..findings import table
from ..paths import ROOT
from ..store import Store
from ..store import machine as machine  # the notebooks have it from here
from ..studies.study import claim_metrics, markdown

RESULTS = ROOT / "results"

# metric -> (aim, direction, what it is); an aim in words is a budget of the profile laptop
AIMS = {
    name: (getattr(LAPTOP, aim) if isinstance(aim, str) else aim, direction, what)
    for name, (aim, direction, what) in table("aims").items()
}
# metric -> its sum among the seconds of a results file
SECONDS = {"seconds.total_all": "total_all", "seconds.total": "total", "seconds.diagecg": "total_11_14"}
PARTS = ("vae", "condition", "reading", "rhythm", "templates", "denoiser")  # of DiffuSETS
TRAINED = {*(f"diffusets.{part}_seconds" for part in PARTS), "tokens.seconds", "mapper.seconds"}  # to make ECGs


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
