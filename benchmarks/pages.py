"""Are ECG pages of other programs read, and other pictures refused? Counts by kind, with intervals.

Pages are drawn here by plain matplotlib, and by `ecg-plot` where it can be imported; no code of the reader draws them.
Signals are simulated hearts and, where `--records` names a folder of PTB-XL, real records. A page is read right when
its layout and order are found and every piece on it comes back under its own name with a correlation of .95 or more,
and with a standard deviation within 10 %; one shift in time, of 80 ms at most, is free for the page as a whole, since
no page says when it began. A page turned by 180 degrees or mirrored may be refused instead. Another picture is right
when it is refused.

    python benchmarks/pages.py --each 40 --records FOLDER

Writes `artifacts/pages.json`, and with `--keep FOLDER` the pictures themselves.
"""

import argparse
import itertools
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import wfdb
from drawn_pages import DISTORTIONS, Truth, draw, draw_outside
from other_pictures import OTHERS
from PIL import ImageOps
from scipy.stats import binomtest

from uniecg_lite.errors import UniECGError
from uniecg_lite.leads import LEADS
from uniecg_lite.page import digitise
from uniecg_lite.paths import ROOT
from uniecg_lite.simulator.simulate import simulate

MIN_CORRELATION, AMPLITUDE, MOST_SHIFT = 0.95, 0.10, 8  # samples of 10 ms


def signals(seed: int, records: Path | None) -> Iterator[np.ndarray]:
    """Simulated hearts and real records by turns, each (12, 1000) mV at 100 Hz."""
    files = sorted(records.rglob("*.hea")) if records else []
    rng = np.random.default_rng([seed, 1])
    for i in itertools.count():
        if files and i % 2:
            yield wfdb.rdrecord(str(files[rng.integers(len(files))].with_suffix(""))).p_signal.T
        else:
            yield simulate(seed, torch.tensor([i])).signal[0].numpy()


TURNS = {
    "quarter turn": lambda image, rng: image.rotate(90 * rng.choice([-1, 1]), expand=True),
    "upside down": lambda image, rng: image.rotate(180),
    "mirrored": lambda image, rng: ImageOps.mirror(image),
}
MAY_REFUSE = ("upside down", "mirrored")


def fault(page, truth: Truth) -> str:
    """What is wrong with a reading, or nothing."""
    if (page.layout, page.order) != (truth.layout, truth.order):
        return f"{page.layout} {page.order} instead of {truth.layout} {truth.order}"
    tries = []
    for shift in np.arange(-MOST_SHIFT, MOST_SHIFT + 0.1, 0.25):  # samples
        tries.append(
            max(_difference(page.signal[LEADS.index(lead)], *rest, lead, shift) for lead, *rest in truth.pieces)
        )
    ill, words = min(tries)
    return words if ill > 1 else ""


def _difference(read, first: int, values: np.ndarray, name: str, shift: float) -> tuple[float, str]:
    """How ill a piece is read, at most 1 where the rule holds, and its figures in words.

    A page shows straight lines between samples, so between them the truth is known, too.
    """
    read = read[first : first + len(values)]
    drawn = np.arange(len(values)) + shift
    known = ~np.isnan(read) & (drawn >= 0) & (drawn <= len(values) - 1)
    if known.mean() < 0.9 or np.ptp(read[known]) == 0:
        return 99.0, f"{name} from {first} is not shown"
    read, values = read[known], np.interp(drawn[known], np.arange(len(values)), values)
    r, size = np.corrcoef(read, values)[0, 1], read.std() / values.std()
    ill = max((1 - r) / (1 - MIN_CORRELATION), abs(size - 1) / AMPLITUDE)
    return ill, f"{name} from {first}: correlation {r:.3f}, amplitude {size:.2f}"


def outcome(path: Path, truth: Truth | None, kind: str) -> tuple[bool, str]:
    """Whether a picture is handled rightly, and what the reader says or does wrong."""
    try:
        page = digitise(path)
    except UniECGError as reason:
        return truth is None or kind in MAY_REFUSE, str(reason)
    words = "accepted" if truth is None else fault(page, truth)
    return not words, words


def pictures(each: int, seed: int, records: Path | None, folder: Path) -> Iterator[tuple[str, Path, Truth | None]]:
    """Write the pictures one by one: (kind, path, truth); `each` rendered, fewer of other kinds."""
    ecgs, number = signals(seed, records), itertools.count()
    try:
        import ecg_plot  # noqa: F401

        kinds = ("rendered", "rendered by ecg-plot")
    except ImportError:
        kinds = ("rendered",)
    for kind, n in [
        ("rendered", each),
        *((kind, each // 4) for kind in (*kinds[1:], "rows cross", *DISTORTIONS, *TURNS)),
    ]:
        for i in range(n):
            rng = np.random.default_rng([seed, *kind.encode(), i])
            path = folder / f"{next(number):04d}.png"
            if kind == "rendered by ecg-plot":
                yield kind, path, draw_outside(next(ecgs), rng, path)
                continue
            image, truth = draw(next(ecgs), rng, crossing=kind == "rows cross")
            (DISTORTIONS | TURNS).get(kind, lambda image, rng: image)(image, rng).save(path)
            yield kind, path, truth
    for i in range(5 * each):
        name, picture = OTHERS[i % len(OTHERS)]
        path = folder / f"{next(number):04d}.png"
        picture(np.random.default_rng([seed, *name.encode(), i])).save(path)
        yield f"other: {name}", path, None


def measure(each: int, seed: int, records: Path | None, folder: Path) -> dict:
    """Read all pictures: counts by kind with Wilson intervals, what went wrong, and seconds a picture."""
    rights, faults, seconds = {}, [], []
    for kind, path, truth in pictures(each, seed, records, folder):
        begin = time.perf_counter()
        right, words = outcome(path, truth, kind)
        seconds.append(time.perf_counter() - begin)
        if not right:
            faults.append({"kind": kind, "file": path.name, "why": words})
            print(f"{kind}: {path.name}: {words}", flush=True)
        for group in {kind.partition(":")[0], *(("distorted",) if kind in DISTORTIONS else ())}:
            rights.setdefault(group, []).append(right)
    table = {}
    for kind, found in rights.items():
        low, high = binomtest(sum(found), len(found)).proportion_ci(method="wilson")
        table[kind] = {"right": sum(found), "n": len(found), "low": round(low, 3), "high": round(high, 3)}
    spent = {"median": round(float(np.median(seconds)), 2), "most": round(max(seconds), 2)}
    return {"seed": seed, "kinds": table, "seconds": spent, "faults": faults}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--each", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--records", type=Path, help="folder of PTB-XL records of 100 Hz")
    parser.add_argument("--keep", type=Path, help="folder that the pictures stay in")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as room:
        place = given.keep or Path(room)
        place.mkdir(parents=True, exist_ok=True)
        found = measure(given.each, given.seed, given.records, place)
    for kind, count in found["kinds"].items():
        print(f"{kind:22} {count['right']:4} of {count['n']:4}  ({count['low']:.2f} to {count['high']:.2f})")
    out = ROOT / "artifacts" / "pages.json"
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(found, indent=1) + "\n")
    print(f"wrote {out}, {found['seconds']} s a picture")
