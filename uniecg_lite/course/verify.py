"""Score the trained artifacts again, and hold the figures against the results file and the aims."""

import json
import math

from ..artifacts import Store
from ..cohort import load
from ..config import profile as find_profile
from ..errors import BadArtifact
from ..scoring.evaluate import (
    generation_metrics,
    real_folder,
    real_metrics,
    routing_metrics,
    stage1_metrics,
)
from ..scoring.files import load_reader
from ..unified.files import load_reading, load_unified
from .results import AIMS, RESULTS, machine, meets, value_of


def verify(profile: str | None = None, seed: int = 0) -> bool:
    """Print one [OK]/[FAIL] line per figure; True when every figure of the results file is found again.

    An aim that is missed is said, but is no failure: a figure is wrong when it cannot be found again.
    """
    store = Store.open(find_profile(profile), seed)
    name = f"{store.profile.name}.{machine()}" + (f".seed{seed}" if seed else "")
    file = RESULTS / f"{name}.json"
    if not file.exists():
        raise BadArtifact(
            f"There is no results file {file}: run the chain first (make run PROFILE={store.profile.name})."
        )
    result = json.loads(file.read_text())
    test, model, n = (
        load(store.path("cohort") / "splits", "test"),
        load_unified(store.folder, seed),
        store.profile.scored,
    )
    found = stage1_metrics(load_reading(store, "stage1"), test, n) | routing_metrics(model, test)
    found |= generation_metrics(model, load_reader(store), test, n)
    folder = real_folder()
    if folder:
        found |= real_metrics(model, folder)
    good = True
    for metric in sorted(found):
        recorded = result["metrics"].get(metric)
        if recorded is None:
            continue
        same = math.isclose(found[metric], recorded, rel_tol=1e-3, abs_tol=1e-3)
        good &= same
        remark = "" if metric not in AIMS or meets(metric, value_of(result, metric)) else "; the aim is missed"
        print(f"[{'OK' if same else 'FAIL'}] {metric} = {found[metric]:.4g}, recorded {recorded:.4g}{remark}")
    return good
