"""Study `sampling`: how many sampler steps, and how hard should the words push? Nothing is trained.

The chain's generator makes ECGs for held-out patients, directly from their words; the seeds vary the noise. Patients,
reader and scores are those of study `making`.
"""

import time
from pathlib import Path

from ...artifacts import Store
from ...errors import BadRequest
from .making import Room, crowd, prepare
from .summary import summary

__all__ = ["VARIANTS", "default_steps", "fewest", "measure", "prepare", "settings"]

STEPS = (2, 4, 6, 10, 20, 50)  # of the sampler, with the profile's guidance
GUIDANCE = (1, 1.5, 2, 3, 4)  # with the profile's steps
HOW = {f"steps{n}": {"steps": n} for n in STEPS} | {f"guidance{g:g}": {"guidance": float(g)} for g in GUIDANCE}
VARIANTS = {
    **{f"steps{n}": f"{n} steps of the sampler, the profile's guidance" for n in STEPS},
    **{f"guidance{g:g}": f"guidance {g:g}, the profile's number of steps" for g in GUIDANCE},
}
NEAR = 0.02  # of the best FID: what fewer steps may lose


def settings(store: Store, variant: str) -> dict:
    """What a cell depends on: patients, steps and guidance, and the artifacts it starts from."""
    P, inputs = store.profile, ("cohort", "diffusets", "reader")
    out = {"records": P.records, "scored": P.study_scored, "steps": P.sample_steps, "guidance": P.guidance}
    return out | HOW[variant] | {"inputs": {name: store.meta(name)["hash"] for name in inputs}}


def measure(room: Room, variant: str, seed: int, folder: Path) -> dict[str, float]:
    """One cell: `making.crowd` of the n patients without its `f1.*`, and `seconds_per_ecg`, from words to mV."""
    requests = room.requests[: room.n]
    begun = time.perf_counter()
    signal = room.generator.signals(room.generator.conditions(requests), seed, **HOW[variant]).cpu()
    seconds = (time.perf_counter() - begun) / len(requests)
    found = {name: value for name, value in crowd(room, signal).items() if not name.startswith("f1.")}
    return found | {"seconds_per_ecg": seconds}


def fewest(fid: dict[int, float], near: float = NEAR) -> int:
    """The smallest number of steps whose FID exceeds the best one by no more than the share `near`.

    Args:
        fid: number of steps -> FID.
        near: 0.02 is 2%.

    Raises:
        BadRequest: nothing to choose from.
    """
    if not fid:
        raise BadRequest("No FID of any number of steps: run the study first, python -m uniecg_lite study sampling.")
    return min(steps for steps, value in fid.items() if value <= (1 + near) * min(fid.values()))


def default_steps(profile: str = "laptop", root: Path | None = None) -> int | None:
    """`fewest` by the FID of the cells, mean over seeds: what `sample_steps` should be; None unless all are there."""
    cells = summary("sampling", profile, root)
    fid = {n: cells[f"steps{n}"]["fid"][0] for n in STEPS if "fid" in cells.get(f"steps{n}", {})}
    return fewest(fid) if len(fid) == len(STEPS) else None
