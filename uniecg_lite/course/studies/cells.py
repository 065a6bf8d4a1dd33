"""One cell of a study on disk: `results/studies/<study>/<profile>.<variant>.seed<k>.json`."""

import json
import math
import os
from pathlib import Path

from ...errors import BadArtifact
from ...paths import ROOT

STUDIES_FOLDER = ROOT / "results" / "studies"


def cell_path(study: str, profile: str, variant: str, seed: int, root: Path | None = None) -> Path:
    """Where a cell is kept, under `results/studies/` or another root."""
    return Path(root or STUDIES_FOLDER) / study / f"{profile}.{variant}.seed{seed}.json"


def write_cell(path: Path, cell: dict) -> None:
    """Write a cell whole or not at all; a metric that is not a finite number is kept as null."""
    metrics = {k: round(float(v), 6) if math.isfinite(v) else None for k, v in sorted(cell["metrics"].items())}
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps({**cell, "metrics": metrics}, indent=1) + "\n", encoding="utf-8")
    os.replace(part, path)


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


def read_cells(study: str, profile: str, root: Path | None = None) -> list[dict]:
    """Every cell of a study that was run with this profile, by variant and seed."""
    folder = Path(root or STUDIES_FOLDER) / study
    cells = [read_cell(path) for path in sorted(folder.glob(f"{profile}.*.seed*.json"))]
    return sorted(cells, key=lambda cell: (cell["variant"], cell["seed"]))
