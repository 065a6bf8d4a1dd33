"""Score the trained artifacts again, and hold the figures against the results file and the aims."""

import json
import math

from uniecg_lite.checkpoints import load_reader, load_reading
from uniecg_lite.cohort import load
from uniecg_lite.config import profile as find_profile
from uniecg_lite.errors import BadArtifact, require
from uniecg_lite.metrics.chain import generation_metrics, real_folder, real_metrics, stage1_metrics
from uniecg_lite.metrics.prompt_scores import prompt_metrics
from uniecg_lite.paths import beside
from uniecg_lite.store import Store, machine

results = beside("notebooks/run_results.py")


def verify(profile: str | None = None, seed: int = 0, committed: bool = False) -> bool:
    """Print one [OK]/[FAIL] line per figure; True when every figure that the results file has is found again.

    An aim that is missed is said, but is no failure: a figure is wrong when it cannot be found again.

    Args:
        profile: which sizes.
        seed: of the chain.
        committed: compare with the committed results of this kind of machine, not with the run's own.

    Raises:
        BadArtifact: no trained model, no results file, or one that has none of the figures.
    """
    store = Store.open(find_profile(profile), seed)
    own, other = results.run_file(store), results.committed_file(store.profile.name, machine(), seed)
    file = own if own.exists() and not committed else other
    advice = f"run the chain first (make run PROFILE={store.profile.name})."
    require(file.exists(), f"There is no results file {file}: {advice}", BadArtifact)
    result = json.loads(file.read_text(encoding="utf-8"))
    test, model, n = load(store.path("cohort") / "splits", "test"), load_reading(store, "unified"), store.profile.scored
    found = stage1_metrics(load_reading(store, "stage1"), test, n) | prompt_metrics(model)
    found |= generation_metrics(model, load_reader(store), test, n)
    if folder := real_folder():
        found |= real_metrics(model, folder)
    compared, good = sorted(found.keys() & result["metrics"].keys()), True
    nothing = f"Nothing was compared, {file} has none of these figures: run the chain to its end first."
    require(compared, nothing, BadArtifact)
    for metric in compared:
        recorded = result["metrics"][metric]
        same = math.isclose(found[metric], recorded, rel_tol=1e-3, abs_tol=1e-3)
        good &= same
        missed = metric in results.AIMS and not results.meets(metric, results.value_of(result, metric))
        remark = "; the aim is missed" if missed else ""
        print(f"[{'OK' if same else 'FAIL'}] {metric} = {found[metric]:.4g}, recorded {recorded:.4g}{remark}")
    print(f"{len(compared)} of {len(found)} figures compared with {file}")
    return good
