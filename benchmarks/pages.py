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
from typing import NamedTuple

import numpy as np
import torch
import wfdb
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from other_pictures import OTHERS
from outside import wilson
from PIL import Image, ImageFilter, ImageOps
from scipy.ndimage import maximum_filter1d

from uniecg_lite.errors import UniECGError
from uniecg_lite.leads import LEADS
from uniecg_lite.page import digitise
from uniecg_lite.paths import ROOT
from uniecg_lite.simulator.simulate import simulate

MIN_CORRELATION, AMPLITUDE, MOST_SHIFT = 0.95, 0.10, 8  # samples of 10 ms
CABRERA = ("aVL", "I", "-aVR", "II", "aVF", "III", "V1", "V2", "V3", "V4", "V5", "V6")
LAYOUTS = ((3, 0), (3, 1), (3, 3), (6, 0), (6, 1), (12, 0))  # rows of leads, rhythm strips below
PITCH = {3: (24, 36), 6: (20, 28), 12: (17, 24)}  # mm from row to row
GRIDS = (("#fbdde2", "#f2a9b6"), ("#f8c8c0", "#e88878"), ("#d8d8d8", "#a8a8a8"), ("#cfe3f7", "#8fb8e6"))
GRIDS += (("#f6e0c0", "#e0b070"), ("#d4ecd4", "#90c890"))  # fine, coarse
INKS, PAPERS = ("black", "#181818", "#101050"), ("white", "#fffaf2", "#f4f4f4")
RHYTHMS = ("II", "V1", "V5")


class Truth(NamedTuple):
    """What a page shows: rows x columns, the order of leads, and pieces (lead, first sample, values of 10 ms in mV)."""

    layout: str
    order: str
    pieces: list


def signals(seed: int, records: Path | None) -> Iterator[np.ndarray]:
    """Simulated hearts and real records by turns, each (12, 1000) mV at 100 Hz."""
    files = sorted(records.rglob("*.hea")) if records else []
    rng = np.random.default_rng([seed, 1])
    for i in itertools.count():
        if files and i % 2:
            yield wfdb.rdrecord(str(files[rng.integers(len(files))].with_suffix(""))).p_signal.T
        else:
            yield simulate(seed, torch.tensor([i])).signal[0].numpy()


def draw(signal: np.ndarray, rng: np.random.Generator, layout=None, crossing=False) -> tuple[Image.Image, Truth]:
    """A page by matplotlib: layout, order, colours, line widths, texts and dpi at random.

    Rows stand so far apart that their traces do not cross, unless `crossing`.
    """
    height, strips = layout or LAYOUTS[rng.integers(len(LAYOUTS))]
    order = "Cabrera" if rng.random() < 0.25 else "standard"
    names = CABRERA if order == "Cabrera" else LEADS
    columns, rows = 12 // height, height + strips
    show = [(name, k % height, k // height * (1000 // columns), 1000 // columns) for k, name in enumerate(names)]
    show += [(name, height + k, 0, 1000) for k, name in enumerate(RHYTHMS[:strips])]
    traces = np.full((rows, 1000), np.nan)  # mV about each lead's median
    for name, row, first, count in show:
        lead = signal[LEADS.index(name.lstrip("-"))]
        traces[row, first : first + count] = (lead - np.median(lead))[first : first + count] * (-1 if name[0] == "-" else 1)
    pitch = rng.uniform(*PITCH[height])
    if not crossing:
        pitch = max(pitch, 10 * np.max(maximum_filter1d(-traces[:-1], 9) + maximum_filter1d(traces[1:], 9)) + 2)
    pulse, dpi = rng.choice(["none", "every row", "last row"]), int(rng.choice([72, 100, 150, 200, 300]))
    left, top, width = rng.uniform(8, 14) + 10 * (pulse != "none"), rng.uniform(12, 24), 250.0
    size = left + width + rng.uniform(4, 12), top + rows * pitch + rng.uniform(8, 14)
    fig = Figure((size[0] / 25.4, size[1] / 25.4), dpi=dpi, facecolor=str(rng.choice(PAPERS)))
    ax = fig.add_axes((0, 0, 1, 1), xlim=(0, size[0]), ylim=(size[1], 0))
    ax.axis("off")
    whole = rng.random() < 0.5  # the grid covers the sheet, or the traces alone
    x0, x1, y0, y1 = (0, size[0], 0, size[1]) if whole else (left - 10, left + width, top, top + rows * pitch)
    for step, colour, thick in zip((1, 5), GRIDS[rng.integers(len(GRIDS))], (rng.uniform(0.2, 0.5), 0.8)):
        ax.hlines(np.arange(y0, y1, step), x0, x1, colour, linewidths=thick)
        ax.vlines(np.arange(x0, x1, step), y0, y1, colour, linewidths=thick)
    ink, thick = str(rng.choice(INKS)), rng.uniform(0.7, 1.5)  # points
    ticks, pieces = rng.random() < 0.4, []
    for name, row, first, count in show:
        y, x = top + (row + 0.55) * pitch, left + first * 0.25 + 0.25 * np.arange(count)
        ax.plot(x, y - 10 * traces[row, first : first + count], color=ink, linewidth=thick, solid_joinstyle="round")
        ax.text(x[0] + 1.5, y - 0.3 * pitch, name, color=ink, fontsize=8)
        if ticks and first:
            ax.plot([x[0], x[0]], [y - 4, y + 4], color=ink, linewidth=0.6)
        if pulse == "every row" and not first or pulse == "last row" and row == rows - 1 and not first:
            across = left - 8 + np.array((0, 1, 1, 6, 6, 7))
            ax.plot(across, y - 10 * np.array((0, 0, 1, 1, 0, 0)), color=ink, linewidth=thick)
        lead = name.lstrip("-")
        pieces.append((lead, first, signal[LEADS.index(lead), first : first + count]))
    ax.text(10, 5, f"Name: Patient {rng.integers(9999)}   63 y   12-lead ECG", color=ink, fontsize=10)
    ax.text(10, 10, f"HR {rng.integers(50, 120)} bpm  PR 160 ms  QRS 92 ms  QT 400 ms", color=ink, fontsize=7)
    ax.text(10, size[1] - 3, "25 mm/s   10 mm/mV   0.05-40 Hz", color=ink, fontsize=7)
    canvas = FigureCanvasAgg(fig)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB"), Truth(f"{height}x{columns}", order, pieces)


def draw_outside(signal: np.ndarray, rng: np.random.Generator, path: Path) -> Truth:
    """A page by `ecg-plot`, written to `path`."""
    import ecg_plot

    way = int(rng.integers(3))
    options = (
        {"layout": "stacked"},
        {"layout": "12lead", "time_mode": "sequential", "rhythm_lead": "II"},
        {"layout": "columns", "columns": 2, "time_mode": "sequential"},
    )[way]
    millivolts = signal - np.median(signal, 1, keepdims=True)
    style = None if rng.random() < 0.5 else "bw"
    names = list(LEADS)
    page = ecg_plot.plot(millivolts, sample_rate=100, lead_names=names, style=style, title="ECG", **options)
    page.to_matplotlib()[0].savefig(path, dpi=int(rng.choice([100, 150, 200])))
    height = (12, 3, 6)[way]
    count = 1000 * height // 12
    pieces = [(name, k // height * count, signal[k][k // height * count :][:count]) for k, name in enumerate(LEADS)]
    return Truth(f"{height}x{12 // height}", "standard", pieces)


def _shaded(image: Image.Image, light: np.ndarray) -> Image.Image:
    """A picture under light (h, w), 1 where it is full."""
    return Image.fromarray(np.clip(np.asarray(image) * light[..., None], 0, 255).astype(np.uint8))


def shadow(image, rng):
    """A soft shadow across the page."""
    y, x = np.mgrid[: image.height, : image.width] / max(image.size)
    angle = rng.uniform(0, 2 * np.pi)
    along = (x - 0.5) * np.cos(angle) + (y - 0.3) * np.sin(angle)
    return _shaded(image, 1 - rng.uniform(0.25, 0.55) / (1 + np.exp(-along / rng.uniform(0.02, 0.2))))


def fold(image, rng):
    """A crease from edge to edge: a dark line, and the light falls off beside it."""
    w, h = image.size
    upright, place = rng.random() < 0.5, rng.uniform(0.25, 0.75)
    y, x = np.mgrid[:h, :w]
    far = (x - place * w - 0.03 * y if upright else y - place * h - 0.03 * x) / max(w, h)
    return _shaded(image, 1 - 0.25 * np.exp(-np.abs(far) / 0.05) * (far > 0) - 0.4 * np.exp(-((far / 0.0012) ** 2)))


def noise(image, rng):
    """Grains in every pixel and channel."""
    grains = rng.normal(0, rng.uniform(8, 25), (*image.size[::-1], 3))
    return Image.fromarray(np.clip(np.asarray(image) + grains, 0, 255).astype(np.uint8))


def rotation(image, rng):
    """A tilt of 1 to 8 degrees, on a grey table."""
    turn = rng.uniform(1, 8) * rng.choice([-1, 1])
    return image.rotate(turn, Image.Resampling.BICUBIC, expand=True, fillcolor=(120, 118, 115))


def photograph(image, rng):
    """Blur, uneven warm light, a little tilt and noise, as a hand-held camera gives."""
    image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.1, 0.25) * image.width / 280))  # mm, about
    image = shadow(image, rng).rotate(rng.uniform(-2, 2), Image.Resampling.BICUBIC, expand=True, fillcolor=(90, 80, 70))
    return jpeg(Image.fromarray(np.uint8(np.asarray(image) * (1, 0.96, 0.88))), rng)


def jpeg(image, rng):
    """Compressed until blocks show."""
    path = Path(tempfile.mkstemp(suffix=".jpg")[1])
    image.save(path, quality=int(rng.integers(25, 60)))
    stored = Image.open(path).convert("RGB")
    path.unlink()
    return stored


DISTORTIONS = {f.__name__: f for f in (rotation, shadow, fold, noise, photograph, jpeg)}
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
        tries.append(max(_difference(page.signal[LEADS.index(lead)], *rest, lead, shift) for lead, *rest in truth.pieces))
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
    """Write the pictures one by one: (kind, path, truth); `each` rendered, a fourth of that of other kinds, and others."""
    ecgs, number = signals(seed, records), itertools.count()
    try:
        import ecg_plot  # noqa: F401

        kinds = ("rendered", "rendered by ecg-plot")
    except ImportError:
        kinds = ("rendered",)
    for kind, n in [("rendered", each), *((kind, each // 4) for kind in (*kinds[1:], "rows cross", *DISTORTIONS, *TURNS))]:
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
        low, high = wilson(sum(found), len(found))
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
