"""One cell of a study on disk: `<study>/<profile>.<variant>.seed<k>.json`, the run's own or a committed one.

A study writes under `artifacts/<profile>/studies/` alone. `results/studies/` holds the committed cells; of a cell that
is in both places, the run's own counts.
"""

import json
import math
from pathlib import Path

from ...artifacts import Store, write_text
from ...config import profile as find_profile
from ...errors import BadArtifact
from ...paths import ROOT

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
    try:
        cell = json.loads(path.read_text(encoding="utf-8"))
        return {key: cell[key] for key in ("variant", "seed", "settings", "metrics")} | cell
    except (KeyError, TypeError, ValueError):
        raise BadArtifact(f"{path} is no cell of a study: remove it and run the study again.") from None


def finished_cell(path: Path, settings: dict, root: Path | None = None) -> Path | None:
    """Where a cell is finished with these settings: at its own `path`, or among the committed ones; else None."""
    known = [path] if root else [path, STUDIES_FOLDER / path.parent.name / path.name]
    return next((p for p in known if (cell := read_cell(p)) and cell["settings"] == settings), None)


def read_cells(study: str, profile: str, root: Path | None = None) -> list[dict]:
    """Every cell of a study that was run with this profile, by variant and seed; `committed` says where it lies."""
    found = {
        path.name: path
        for place in reversed(places(profile, root))
        for path in (place / study).glob(f"{profile}.*.seed*.json")
    }
    cells = [read_cell(path) | {"committed": path.parent.parent == STUDIES_FOLDER} for path in found.values()]
    return sorted(cells, key=lambda cell: (cell["variant"], cell["seed"]))
