"""What is a study, what do its cells on disk say together, and of the papers' claims, and what do cells share?

`data/claims.json` has, for each group of studies, `metrics` and `claims`. A metric is a mean over seeds, as in
`table: gem stage2_change`, or a comparison seed by seed, as in `making: ours recall / ours held_out.recall` (or with
`-`). A claim holds if all its rules do, such as `diag.open.qa.low > 0`; on the right there may be a number, another
metric, or a sum of products of such. `needed` metrics are told in words; without a `wished` one a claim may fail, not
hold. The group `chain` is of single runs: `ours` tells them, and `testable_if` are rules without which nothing is said.
"""

import json
import math
import operator
from collections.abc import Callable, Collection
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import torch

from ..cohort import Cohort, load
from ..config import profile as find_profile
from ..errors import BadArtifact, refused
from ..findings import table
from ..metrics.grounded import ANCHORED
from ..paths import ROOT
from ..store import Store, write_text

ABOUT = table("studies")  # of each study: its question, its variants in words, and those that run once


@dataclass(frozen=True)
class Study:
    """A grid of variants and seeds that answers one question.

    `prepare(store)` makes, once, what all cells share; `measure(room, variant, seed, folder)` trains and scores one
    cell, with checkpoints in `folder`, and gives flat metrics; `settings(store, variant)` says what a cell depends on.
    A variant in `fixed` has nothing random in it and runs for seed 0 alone.
    """

    name: str
    prepare: Callable[[Store], object]
    measure: Callable[[object, str, int, Path], dict[str, float]]
    settings: Callable[[Store, str], dict]
    question: str
    variants: dict[str, str]
    fixed: Collection[str] = ()


# --- One cell of a study on disk: `<study>/<profile>.<variant>.seed<k>.json`, the run's own or a committed one.
#
# A study writes under `artifacts/<profile>/studies/` alone. `results/studies/` holds the committed cells; of a cell
# that is in both places, the run's own counts.

STUDIES_FOLDER = ROOT / "results" / "studies"


def places(profile: str, root: Path | None = None) -> list[Path]:
    """Where cells are looked for, the first place counts: another root alone, or the run's own, then the committed."""
    return [Path(root)] if root else [Store.open(find_profile(profile)).folder / "studies", STUDIES_FOLDER]


def cell_path(study: str, profile: str, variant: str, seed: int, root: Path | None = None) -> Path:
    """Where a study writes a cell: among the run's own, or under another root."""
    return places(profile, root)[0] / study / f"{profile}.{variant}.seed{seed}.json"


def write_cell(path: Path, cell: dict) -> None:
    """Write a cell whole or not at all; a metric that is not a finite number is kept as null."""
    metrics = {k: round(float(v), 6) if math.isfinite(v) else None for k, v in sorted(cell["metrics"].items())}
    write_text(path, json.dumps({**cell, "metrics": metrics}, indent=1) + "\n")


def read_cell(path: Path) -> dict | None:
    """A cell, or None when there is none.

    Raises:
        BadArtifact: the file is no cell.
    """
    if not path.exists():
        return None
    with refused(f"{path} is no cell of a study: remove it and run the study again.", BadArtifact):
        cell = json.loads(path.read_text(encoding="utf-8"))
        return {key: cell[key] for key in ("variant", "seed", "settings", "metrics")} | cell


def read_cells(study: str, profile: str, root: Path | None = None) -> list[dict]:
    """Every cell of a study that was run with this profile, by variant and seed; `committed` says where it lies."""
    found = {}
    for place in reversed(places(profile, root)):
        found |= {path.name: path for path in (place / study).glob(f"{profile}.*.seed*.json")}
    cells = [read_cell(path) | {"committed": path.parent.parent == STUDIES_FOLDER} for path in found.values()]
    return sorted(cells, key=lambda cell: (cell["variant"], cell["seed"]))


# --- The cells of a study together: means with their spread over seeds, comparisons by seed, tables.

Spread = tuple[float, float, float, int]  # mean, lowest, highest, number of seeds
Metric = tuple[str, str]  # variant, and the metric of it
SEEDS = 3  # fewer do not bear a verdict


def spread(values: list[float]) -> Spread:
    """(mean, lowest, highest, n) of some values."""
    return sum(values) / len(values), min(values), max(values), len(values)


def by_seed(name: str, profile: str, root: Path | None = None) -> dict[str, dict[str, dict[int, float]]]:
    """Variant -> metric -> seed -> value, of the seeds that have the metric."""
    values = {}
    for cell in read_cells(name, profile, root):
        for metric, value in cell["metrics"].items():
            if value is not None:
                values.setdefault(cell["variant"], {}).setdefault(metric, {})[cell["seed"]] = value
    return values


def summary(name: str, profile: str = "laptop", root: Path | None = None) -> dict[str, dict[str, Spread]]:
    """Variant -> metric -> (mean, lowest, highest, n) over the seeds that have the metric."""
    return {
        variant: {metric: spread([*seeds.values()]) for metric, seeds in sorted(metrics.items())}
        for variant, metrics in by_seed(name, profile, root).items()
    }


def paired(
    name: str, one: Metric, other: Metric, ratio: bool = False, profile: str = "laptop", root: Path | None = None
) -> Spread | None:
    """Two metrics compared seed by seed: (mean, lowest, highest, n); None when no seed has both.

    Args:
        name: the study.
        one: (variant, metric).
        other: (variant, metric); the one cell of a variant that is fixed in `name` is compared with every seed.
        ratio: one / other in place of one - other.
        profile: which cells.
        root: where they are kept.
    """
    cells, fixed = by_seed(name, profile, root), ABOUT.get(name, {}).get("fixed", ())
    ours, theirs = (cells.get(variant, {}).get(metric, {}) for variant, metric in (one, other))
    seeds = [[0 if variant in fixed else seed for variant, _ in (one, other)] for seed in sorted(ours | theirs)]
    pairs = [(ours[mine], theirs[its]) for mine, its in seeds if mine in ours and its in theirs]
    found = [a / b for a, b in pairs if b] if ratio else [a - b for a, b in pairs]
    return spread(found) if found else None


def spread_text(value: Spread | None, form: str = ".4g") -> str:
    """A mean with its spread in words: `61.2 (60.8 to 61.9, n = 3)`."""
    if value is None:
        return "not measured"
    mean, low, high, n = value
    return f"{mean:{form}}" + (f" ({low:{form}} to {high:{form}}, n = {n})" if n > 1 else " (n = 1)")


def markdown(header: list[str], rows: list[list]) -> str:
    """Rows as a Markdown table."""
    first, *others = ("| " + " | ".join(map(str, line)) + " |" for line in (header, *rows))
    return "\n".join([first, "|" + "---|" * len(header), *others])


def summary_table(name: str, metrics: list[str], profile: str = "laptop", root: Path | None = None) -> str:
    """Variants against metrics as a Markdown table: mean, and from the lowest to the highest seed."""
    cells = summary(name, profile, root)
    rows = [[variant, *(spread_text(found.get(m)) for m in metrics)] for variant, found in cells.items()]
    return markdown(["variant", *(f"`{m}`" for m in metrics)], rows)


def provenance(name: str, profile: str = "laptop", root: Path | None = None) -> str:
    """One sentence: how many cells, of this run or committed, with which profile, on which machine, and when."""
    cells = read_cells(name, profile, root)
    if not cells:
        command = f"python -m uniecg_lite study {name} --profile {profile}"
        return f"Study '{name}' has no cells of profile {profile} yet: {command}."
    where, commit, when = (
        ", ".join(sorted({str(cell.get(key, "?")) for cell in cells})) for key in ("machine", "commit", "date")
    )
    seconds, ours = sum(cell.get("seconds", 0) for cell in cells), sum(not cell["committed"] for cell in cells)
    whose = "" if root else f" ({ours} of this run, {len(cells) - ours} committed)"
    about = f"profile {profile}, {where}, commit {commit}, {when}, {seconds / 60:.0f} min."
    return f"Study '{name}': {len(cells)} cells{whose}, {about}"


# --- What the cells say of the papers' claims U1 to U15, S1 to S4 and D1 to D7, and how the systems compare.

GROUPS = table("claims")
ENDS = ("", ".low", ".high", ".seeds")  # of a metric's name: mean, lowest, highest, number of seeds
RULES = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


def claim_metrics(group: str | None = None, profile: str = "laptop", root: Path | None = None) -> dict[str, float]:
    """The metrics of claims from the cells: means, with `.low`, `.high` and `.seeds`; empty without cells.

    Args:
        group: `table`, `making`, `mapping`, `augmentation` or `diag`; None for all.
        profile: which cells.
        root: where they are kept.
    """
    wanted = {key: what for each in ([group] if group else GROUPS) for key, what in GROUPS[each]["metrics"].items()}
    found = {}
    for key, what in wanted.items():  # `study: variant metric`, or two of them with `-` or `/` between
        study, _, words = what.partition(": ")
        variant, metric, *other = words.split()
        if other:
            found[key] = paired(study, (variant, metric), (other[1], other[2]), other[0] == "/", profile, root)
        else:
            found[key] = summary(study, profile, root).get(variant, {}).get(metric)
    return {key + end: part for key, value in found.items() if value for end, part in zip(ENDS, value)}


def verdicts(metrics: dict[str, float], group: str | None = None) -> dict[str, dict]:
    """Claim -> {paper, ours, verdict}, of one group or of all; a claim whose metrics are missing is left out.

    The verdict is: reproduced, not reproduced, or not testable here (too few seeds, or a wished metric is missing). A
    claim of the chain and of a study (U2) is judged by the study where there is one.

    Args:
        metrics: as `claim_metrics` makes them.
        group: as there.
    """
    claims = [item for each in ([group] if group else GROUPS) for item in GROUPS[each]["claims"].items()]
    found = {name: _judge(claim, metrics) for name, claim in claims if {*claim["needed"]} <= metrics.keys()}
    return dict(sorted(found.items(), key=lambda item: ("USD".index(item[0][0]), int(item[0][1:]))))


def _judge(claim: dict, metrics: dict[str, float]) -> dict:
    holds = all(is_met(rule, metrics) for rule in claim["holds_if"] if rule.split()[0] in metrics)
    if "ours" in claim:
        ours = claim["ours"].format(m=metrics)
        testable = all(is_met(rule, metrics) for rule in claim.get("testable_if", []))
    else:
        wished = claim.get("wished", {})
        words = {key: text for key, text in (claim["needed"] | wished).items() if key in metrics}
        values = [tuple(metrics[key + end] for end in ENDS) for key in words]
        ours = "; ".join(f"{text} {spread_text(value, '.3g')}" for text, value in zip(words.values(), values))
        enough = min(value[3] for value in values) >= claim.get("seeds", SEEDS)
        testable = enough and (not holds or wished.keys() <= metrics.keys())
    return {"paper": claim["paper"], "ours": ours, "verdict": _verdict(holds, testable)}


def is_met(rule: str, metrics: dict[str, float]) -> bool:
    """Whether metrics meet a rule of `data/claims.json`: `name <= number`, or a sum of products of names."""
    left, sign, right = rule.split(maxsplit=2)
    terms = [[metrics[x] if x in metrics else float(x) for x in term.split(" * ")] for term in right.split(" + ")]
    return RULES[sign](metrics[left], sum(math.prod(term) for term in terms))


def _verdict(holds: bool, testable: bool) -> str:
    return ("reproduced" if holds else "not reproduced") if testable else "not testable here"


# The table of systems: PULSE-lite, GEM-lite and UniECG-lite beside the paper's, a trivial and a classical one.

SCORES = dict(zip(("grounding", "evidence", "clinical_fidelity", "average"), (*ANCHORED, "Average")))
PUBLISHED = table("published")["scores"]  # its `systems`: variant, prefix of its metrics, what the paper calls it


def system_table(profile: str = "laptop", root: Path | None = None) -> str:
    """Every system and score as a Markdown table: the paper's value, ours with spread, ratio to PULSE, verdict.

    The verdict is judged as U1: the paper's ratio or more on average, and above 1 for every seed.
    """
    cells, rows = summary("table", profile, root), []
    if not cells:
        return f"Not run yet: `python -m uniecg_lite study table --profile {profile}`."
    for row in PUBLISHED["rows"]:
        name, metric = row["name"] + (" (derived)" if row["derived"] else ""), SCORES[row["id"]]
        for system, (variant, prefix, paper) in PUBLISHED["systems"].items():
            value = cells.get(variant, {}).get(prefix + metric)
            ratio = paired("table", (variant, prefix + metric), ("pulse", metric), True, profile, root)
            wanted, shown = row["ratio"] if paper == "UniECG" else "", spread_text(ratio, ".3g")
            judged = wanted and ratio and _verdict(ratio[0] >= wanted and ratio[1] > 1, ratio[3] >= SEEDS)
            ours = [row.get(paper, ""), spread_text(value), wanted, "1" if variant == "pulse" else shown, judged or ""]
            rows.append([name, system, *ours])
    return markdown(["score", "system", "paper", "ours (seeds)", "ratio to PULSE, paper", "ours", "verdict"], rows)


# --- What cells of several studies share.


def open_split(store: Store, split: str) -> Cohort:
    """The train, validation or test patients of the chain's cohort.

    Raises:
        BadArtifact: no cohort, or a stale one.
    """
    return load(store.path("cohort") / "splits", split)


def hashes(store: Store, *names: str) -> dict[str, str]:
    """What the artifacts that a cell starts from held when it ran: name -> hash."""
    return {name: store.meta(name)["hash"] for name in names}


def cell_basis(store: Store, *names: str) -> dict:
    """What cells depend on: how many patients there are and are scored, and the artifacts that they start from."""
    return {"records": store.profile.records, "scored": store.profile.study_scored, "inputs": hashes(store, *names)}


def file_hash(path: Path) -> str:
    """What `hashes` says, of a folder of real records, by the file that lists them."""
    return blake2b(path.read_bytes(), digest_size=16).hexdigest()


def size(module: torch.nn.Module) -> int:
    """The number of a module's parameters."""
    return sum(p.numel() for p in module.parameters())
