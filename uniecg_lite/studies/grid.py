"""Which studies are there, and how do their cells run: finished ones are skipped, killed ones go on."""

import json
import shutil
import time
import traceback
from datetime import date
from functools import partial
from pathlib import Path

from tqdm.auto import tqdm

from ..config import profile as find_profile
from ..errors import BadRequest, UniECGError, require
from ..store import Store, commit, machine, write_text
from . import diag, making, mapping, real, simreal, stage2, systems
from .study import ABOUT, Study, cell_path, places, read_cell, write_cell

PARTS = {  # of each study: prepare, measure, settings
    "table": (systems.Patients, systems.measure, systems.settings),
    "controls": (systems.Patients, systems.controls_measure, systems.settings),
    "diagcodes": (systems.Patients, diag.codes_measure, diag.codes_settings),
    "diagecg": (systems.Patients, diag.measure, diag.settings),
    "making": (making.StudyContext, making.measure, making.settings),
    "sampling": (making.StudyContext, making.sampling_measure, making.sampling_settings),
    "mapping": (making.StudyContext, mapping.measure, mapping.settings),
    "routing": (systems.Patients, stage2.routing_measure, partial(stage2.settings, "routing")),
    "capacity": (making.StudyContext, stage2.capacity_measure, partial(stage2.settings, "capacity")),
    "broken": (making.StudyContext, stage2.broken_measure, partial(stage2.settings, "broken")),
    "augmentation": (real.prepare, real.measure, real.settings),
    "realism": (real.realism_prepare, real.realism_measure, real.realism_settings),
    "simreal": (simreal.Records, simreal.measure, simreal.settings),
}
STUDIES = {name: Study(name, *PARTS[name], **about) for name, about in ABOUT.items()}


def study_list() -> str:
    """Every study with its question and its variants, as lines of text."""
    lines = []
    for study in STUDIES.values():
        lines += [f"{study.name}: {study.question}", *(f"  {v:10s} {what}" for v, what in study.variants.items())]
    return "\n".join(lines)


def run_study(
    name: str, profile: str | None = None, seeds: int = 3, variant: str | None = None, root: Path | None = None
) -> list[Path]:
    """Run the cells of a study that are not there yet, seed by seed, from the artifacts of the chain with seed 0.

    A cell counts as there when it is finished with the same settings, by this run or among the committed ones.
    `realism` starts from real records, and needs no artifacts.

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
    require(name in STUDIES, f"There is no study '{name}': choose one of {', '.join(STUDIES)}.", BadRequest)
    study, store = STUDIES[name], Store.open(find_profile(profile))
    variants, others = list(study.variants) if variant is None else [variant], ", ".join(study.variants)
    fine = set(variants) <= study.variants.keys()
    require(fine, f"Study '{name}' has no variant '{variant}': choose one of {others}.", BadRequest)
    require(seeds >= 1, f"A study needs at least one seed, not {seeds}: give --seeds 1 or more.", BadRequest)
    settings = {v: json.loads(json.dumps(study.settings(store, v))) for v in variants}
    wanted = [(v, seed) for seed in range(seeds) for v in variants if seed == 0 or v not in study.fixed]
    room, failed, files = None, [], []
    for v, seed in (bar := tqdm(wanted, desc=f"study {name}", unit="cell")):
        bar.set_postfix_str(f"{v}, seed {seed}")
        path = cell_path(name, store.profile.name, v, seed, root)
        known = [place / name / path.name for place in places(store.profile.name, root)]
        there = next((p for p in known if (cell := read_cell(p)) and cell["settings"] == settings[v]), None)
        files.append(there or path)
        if there:
            if there != path:
                path.unlink(missing_ok=True)  # of other settings: it would hide the committed one
            continue
        room = room or study.prepare(store)
        try:
            _run_cell(study, store, room, v, seed, settings[v], path)
        except Exception as reason:  # whatever it is, the other cells go on
            traceback.print_exc()
            failed.append(f"{v} with seed {seed} ({type(reason).__name__}: {reason})")
    advice = "Mend that and run the study again; finished cells and checkpoints are kept."
    lost = f"{len(failed)} of {len(wanted)} cells of study '{name}' failed: {'; '.join(failed)}. {advice}"
    require(not failed, lost, UniECGError)
    return files


def _run_cell(study: Study, store: Store, room, variant: str, seed: int, settings: dict, path: Path) -> None:
    """Train, score and write one cell. Its folder holds checkpoints, and goes when it was made with other settings.

    `clock.json` knows the seconds that earlier, unfinished runs took: each from its start to the last file it wrote.
    """
    folder = store.folder / "studies" / study.name / f"{variant}-{seed}"
    clock, spent, begun = folder / "clock.json", 0.0, time.time()
    last = json.loads(clock.read_text()) if clock.exists() else {}
    if resumed := last.get("settings") == settings:
        spent = last["spent"] + max(0.0, max(file.stat().st_mtime for file in folder.rglob("*")) - last["begun"])
    else:
        shutil.rmtree(folder, ignore_errors=True)
    write_text(clock, json.dumps({"settings": settings, "spent": spent, "begun": begun}))
    metrics = study.measure(room, variant, seed, folder)
    about = {"study": study.name, "variant": variant, "profile": store.profile.name, "seed": seed}
    about |= {"machine": machine(), "commit": commit(), "date": date.today().isoformat()}
    seconds = round(spent + time.time() - begun, 1)
    write_cell(path, {**about, "seconds": seconds, "resumed": resumed, "settings": settings, "metrics": metrics})
