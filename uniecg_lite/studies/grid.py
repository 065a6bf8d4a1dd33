"""What a study is, and the loop that runs its cells: finished ones are skipped, killed ones go on."""

import json
import shutil
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from tqdm.auto import tqdm

from ..config import profile as find_profile
from ..errors import BadRequest, UniECGError
from ..store import Store, commit
from ..studies import augmentation, diag, making, mapping, realism_steps, systems
from .study import cell_path, finished_cell, write_cell


@dataclass(frozen=True)
class Study:
    """A grid of variants and seeds that answers one question.

    `prepare(store)` makes, once, what all cells share; `measure(room, variant, seed, folder)` trains and scores one
    cell, with checkpoints in `folder`, and gives flat metrics; `settings(store, variant)` says what a cell depends on.
    A variant in `fixed` has nothing random in it and runs for seed 0 alone.
    """

    name: str
    question: str
    variants: dict[str, str]
    prepare: Callable[[Store], object]
    measure: Callable[[object, str, int, Path], dict[str, float]]
    settings: Callable[[Store, str], dict]
    fixed: frozenset[str] = field(default_factory=frozenset)


STUDIES = {
    "table": Study(
        "table",
        "U1 to U4: do signal and image together read better than the image alone, does stage 2 cost anything, "
        "and does each view need its own projection?",
        systems.VARIANTS,
        systems.prepare,
        systems.measure,
        systems.settings,
        systems.FIXED,
    ),
    "diagcodes": Study(
        "diagcodes",
        "How many words does an ECG need, and is each lead better encoded alone (D1)?",
        diag.CODES_VARIANTS,
        diag.Patients.load,
        diag.codes_measure,
        diag.codes_settings,
    ),
    "diagecg": Study(
        "diagecg",
        "D1 to D7: what do lead-wise codes, fact words, discrete words, forecasting and background bring, on real "
        "records and beside UniECG-lite, too?",
        diag.VARIANTS,
        diag.prepare,
        diag.measure,
        diag.settings,
    ),
    "making": Study(
        "making",
        "S1 to S4: what does each fault of the original generator cost, which denoiser makes the best ECGs at equal "
        "compute, and what do other generators reach?",
        making.VARIANTS,
        making.prepare,
        making.measure,
        making.settings,
        making.FIXED,
    ),
    "sampling": Study(
        "sampling",
        "How many steps of the sampler are enough, and how hard should the words push?",
        making.SAMPLING_VARIANTS,
        making.prepare,
        making.sampling_measure,
        making.sampling_settings,
    ),
    "mapping": Study(
        "mapping",
        "U6 to U8, U11, U15: how deep a mapper, how many [ECG] tokens, which loss, are ECGs needed in stage 2, and "
        "what does the road through the language model cost?",
        mapping.VARIANTS,
        mapping.prepare,
        mapping.measure,
        mapping.settings,
    ),
    "augmentation": Study(
        "augmentation",
        "U13: do made ECGs help a classifier that has few examples of a finding? Its verdict wants `--seeds 5`.",
        augmentation.VARIANTS,
        augmentation.prepare,
        augmentation.measure,
        augmentation.settings,
    ),
    "realism": Study(
        "realism",
        "What is each step of the simulator's realism worth, by a network that tells its beats from real ones?",
        realism_steps.VARIANTS,
        realism_steps.prepare,
        realism_steps.measure,
        realism_steps.settings,
    ),
}


def find_study(name: str) -> Study:
    """The study of this name.

    Raises:
        BadRequest: no such study.
    """
    if name not in STUDIES:
        raise BadRequest(f"There is no study '{name}': choose one of {', '.join(STUDIES)}.")
    return STUDIES[name]


def study_list() -> str:
    """Every study with its question and its variants, as lines of text."""
    return "\n".join(
        line
        for study in STUDIES.values()
        for line in (f"{study.name}: {study.question}", *(f"  {v:10s} {what}" for v, what in study.variants.items()))
    )


def run_study(
    name: str,
    profile: str | None = None,
    seeds: int = 3,
    variant: str | None = None,
    root: Path | None = None,
) -> list[Path]:
    """Run the cells of a study that are not there yet, seed by seed, from the artifacts of the chain with seed 0.

    A cell counts as there when it is finished with the same settings, by this run or among the committed ones.
    `realism` alone starts from real records, and needs no artifacts.

    Args:
        name: one of `STUDIES`.
        profile: which sizes.
        seeds: seeds 0 to seeds - 1.
        variant: only this one; None for all.
        root: where cells are kept; by default `artifacts/<profile>/studies/`, beside the committed ones.

    Returns:
        The files of all cells asked for.

    Raises:
        BadRequest: no such study or variant, or no seeds.
        BadArtifact: the chain has not run so far with this profile, or there are no real records.
        UniECGError: some cells failed; the others are finished and kept.
    """
    study, store = find_study(name), Store.open(find_profile(profile))
    if variant is not None and variant not in study.variants:
        raise BadRequest(f"Study '{name}' has no variant '{variant}': choose one of {', '.join(study.variants)}.")
    if seeds < 1:
        raise BadRequest(f"A study needs at least one seed, not {seeds}: give --seeds 1 or more.")
    variants = [variant] if variant else list(study.variants)
    settings = {v: json.loads(json.dumps(study.settings(store, v))) for v in variants}
    wanted = [(v, seed) for seed in range(seeds) for v in variants if seed == 0 or v not in study.fixed]
    room, failed, files = None, [], []
    bar = tqdm(wanted, desc=f"study {name}", unit="cell")
    for v, seed in bar:
        bar.set_postfix_str(f"{v}, seed {seed}")
        path = cell_path(name, store.profile.name, v, seed, root)
        there = finished_cell(path, settings[v], root)
        files.append(there or path)
        if there:
            if there != path:
                path.unlink(missing_ok=True)  # of other settings: it would hide the committed one
            continue
        room = room if room is not None else study.prepare(store)
        try:
            _run_cell(study, store, room, v, seed, settings[v], path)
        except Exception as reason:  # whatever it is, the other cells go on
            traceback.print_exc()
            failed.append(f"{v} with seed {seed} ({type(reason).__name__}: {reason})")
    if failed:
        raise UniECGError(
            f"{len(failed)} of {len(wanted)} cells of study '{name}' failed: {'; '.join(failed)}. Mend that and run "
            "the study again; finished cells and checkpoints are kept."
        )
    return files


def _run_cell(study: Study, store: Store, room, variant: str, seed: int, settings: dict, path: Path) -> None:
    """Train, score and write one cell. Its folder holds checkpoints, and goes when it was made with other settings."""
    from ..course.results import machine

    folder = store.folder / "studies" / study.name / f"{variant}-{seed}"
    known = folder / "settings.json"
    resumed = known.exists() and json.loads(known.read_text()) == settings
    if not resumed:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        known.write_text(json.dumps(settings))
    begun = time.time()
    metrics = study.measure(room, variant, seed, folder)
    write_cell(
        path,
        {
            "study": study.name,
            "variant": variant,
            "profile": store.profile.name,
            "seed": seed,
            "machine": machine(),
            "commit": commit(),
            "date": date.today().isoformat(),
            "seconds": round(time.time() - begun, 1),
            "resumed": resumed,
            "settings": settings,
            "metrics": metrics,
        },
    )
