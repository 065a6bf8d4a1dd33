"""Is a changed ECG file ever read wrongly? `python benchmarks/fuzz.py 10000`; counts go to artifacts/fuzz.json.

Every case starts from a true file of a simulated patient (`fuzz_files.py`), which is changed (`fuzz_changes.py`) and
read as `uniecg interpret` reads it. What is read must equal the truth in the standard form; otherwise it is refused in
one sentence of the package's own family. Another value, another exception and a hang are wrong.
"""

import json
import signal
import tempfile
import warnings
from collections import Counter
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from shutil import copy
from typing import Annotated

import numpy as np
import typer
from fuzz_changes import BYTES, PICTURES, STATED
from fuzz_files import PATIENTS, RATES, File, new_file, page_of, write
from PIL import Image
from scipy.ndimage import maximum_filter

from uniecg_lite.drawing import read_page
from uniecg_lite.ecg import ECG
from uniecg_lite.ecg_io import IMAGE_SUFFIXES
from uniecg_lite.errors import UniECGError
from uniecg_lite.paths import ROOT

TOLERANCE_MV, TOLERANCE_YEARS = 0.012, 1.0  # format 212 keeps 5 uV
MIN_OVERLAP = 0.9  # of the ink of two readings of a page, within a pixel of 0.5 mm
LIMIT_S = 60
OUTCOMES = ("read", "repaired", "refused", "wrong")
KNOWN = {  # changes of which some are read wrongly today
    "bordered": "the lead names of a page may be up to 4 mm off",
    "cropped": "the lead names of a page may be up to 4 mm off",
    "moved": "the lead names of a page may be up to 4 mm off",
    "tilted": "the lead names of a page may be up to 4 mm off",
    "blurred": "a trace that is too faint is read as faint ink",
    "brighter_or_darker": "a trace that is too faint is read as faint ink",
    "turned_and_paler": "where the lead names are too pale to be seen, their places are not looked at",
}


class Hang(BaseException):
    """A reading that takes too long; no `except Exception` catches it."""


def kinds() -> list[tuple[str, str]]:
    """Every form with every change that applies to it."""
    found = [(form, name) for name, (forms, _) in {**STATED, **BYTES}.items() for form in forms]
    return sorted({*found, *(("page", name) for name in ("unchanged", *PICTURES))})


def new_case(form: str, change: str, folder: Path, pages: Path, rng: np.random.Generator) -> File:
    """A changed file in this folder."""
    number = int(rng.integers(PATIENTS * len(RATES)))
    file = new_file(form, folder, number)
    if form == "page":
        file.path = Path(copy(page_of(number % 2, pages), folder / "rec.png"))
        file.notes = [str(page_of(number % 2, pages))]
    if form == "page" and change in PICTURES:
        picture = PICTURES[change](Image.open(file.path).convert("RGB"), rng)
        file.path = folder / f"rec{rng.choice(['.png', '.png', '.webp', '.tif'])}"
        picture.save(file.path, **({"lossless": True} if file.path.suffix == ".webp" else {}))
        return file
    if change in STATED:
        STATED[change][1](file, rng)
    write(file, rng)
    if change in BYTES:
        BYTES[change][1](file, rng)
    return file


def outcome(file: File) -> tuple[str, str]:
    """One of `OUTCOMES`, and what was wrong."""
    with warnings.catch_warnings(record=True) as stated, _time_limit(LIMIT_S):
        warnings.simplefilter("always")
        try:
            if file.path.suffix.lower() in IMAGE_SUFFIXES:
                fault = _page_fault(read_page(file.path).numpy()[0], file)
            else:
                fault = _fault(ECG.load(file.path, **file.options).standard(), file)
        except UniECGError as reason:
            sentence = str(reason)
            good = sentence[-1:] == "." and len(sentence.splitlines()) == 1 and len(sentence) <= 400
            return ("refused", "") if good else ("wrong", f"no plain sentence: {sentence!r}")
        except (Exception, Hang) as reason:
            return "wrong", f"{type(reason).__name__}: {reason}"
    warned = any(issubclass(each.category, UserWarning) for each in stated)
    if not fault and file.warned and not warned:
        fault = "samples are lost and nothing says so"
    return ("wrong", fault) if fault else ("repaired" if warned else "read", "")


def _fault(ecg: ECG, file: File) -> str:
    """How a reading in the standard form differs from the truth, "" if it does not."""
    true = file.truth.standard()
    off = np.abs(ecg.signal - true.signal)  # (12, 1000) mV
    if (count := int((off > TOLERANCE_MV).sum())) > file.slack:
        return f"{count} of {off.size} values differ, by up to {off.max():.2f} mV"
    if ecg.age is not None and not abs(ecg.age - (-9 if true.age is None else true.age)) <= TOLERANCE_YEARS:
        return f"age {ecg.age:g} instead of {true.age}"
    return f"sex {ecg.sex} instead of {true.sex}" if ecg.sex not in (None, true.sex) else ""


def _page_fault(ink: np.ndarray, file: File) -> str:
    """The same of a page (256, 500)."""
    if file.form != "page":
        return "read as a picture"
    one, two = ink > 100, _true_ink(file.notes[0]) > 100
    shared = [(a & maximum_filter(b, 3)).sum() / max(1, a.sum()) for a, b in ((one, two), (two, one))]
    return "" if min(shared) >= MIN_OVERLAP else f"only {min(shared):.0%} of the ink lies where it should"


@cache
def _true_ink(path: str) -> np.ndarray:
    return read_page(path).numpy()[0]


@contextmanager
def _time_limit(seconds: int):
    def stop(*_):
        raise Hang(f"not read within {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def fuzz(cases: int, seed: int = 0, only: str = "") -> dict:
    """Try so many cases, all kinds in turn; counts by kind, and an example of each kind that was wrong.

    Case i of a seed is the same whatever else is tried; `only` is a part of the kinds to try.
    """
    every = kinds()
    counts, examples = {f"{form}: {change}": Counter() for form, change in every}, {}
    with tempfile.TemporaryDirectory() as pages:
        for i in range(cases):
            kind = f"{every[i % len(every)][0]}: {every[i % len(every)][1]}"
            if only not in kind:
                continue
            with tempfile.TemporaryDirectory() as room:
                file = new_case(*every[i % len(every)], Path(room), Path(pages), np.random.default_rng([seed, i]))
                result, words = outcome(file)
            counts[kind][result] += 1
            if result == "wrong":
                example = {"case": i, "found": words.replace(room, ".")}
                examples[kind] = min(examples.get(kind, example), example, key=lambda each: len(each["found"]))
    tried = {kind: {name: count[name] for name in OUTCOMES} for kind, count in counts.items() if count}
    whole = {name: sum(count[name] for count in tried.values()) for name in OUTCOMES}
    return {"seed": seed, "cases": sum(whole.values()), "counts": whole, "kinds": tried, "wrong": examples}


def unknown(found: dict) -> dict:
    """Examples of what was wrong and is not known to be."""
    return {kind: example for kind, example in found["wrong"].items() if kind.split(": ")[1] not in KNOWN}


def main(
    cases: Annotated[int, typer.Argument(help="How many.")] = 10_000,
    seed: int = 0,
    only: Annotated[str, typer.Option(help='A part of the kinds, such as "csv:" or "gap".')] = "",
    out: Path = ROOT / "artifacts" / "fuzz.json",
):
    """Write the counts to artifacts/fuzz.json; exit code 1 when something was wrong that is not known to be."""
    found = fuzz(cases, seed, only)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    typer.echo(f"{found['cases']} cases: {found['counts']}")
    for kind, example in found["wrong"].items():
        typer.echo(
            f"{'NEW' if kind in unknown(found) else 'known'}  {kind} (case {example['case']}): {example['found']}"
        )
    raise typer.Exit(1 if unknown(found) else 0)


if __name__ == "__main__":
    typer.run(main)
