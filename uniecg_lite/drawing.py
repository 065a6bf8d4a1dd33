"""What do people see? ECG paper, comparisons, pages to print and read back, small plots that notebooks share.

A page is an image file: the trace is black; grid, lead names and notes are coloured, so that the ink of a page of this
project can be taken as it is. `page` reads pictures of other pages.
"""

import io
import itertools
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from . import ecg_image as paper
from .ecg_io import saving
from .errors import BadRequest, require
from .leads import LEADS
from .page import HZ, digitise, open_picture

FINE, COARSE, TRACE = "#fbdde2", "#f2a9b6", "black"
MARK = "#7fb8e6"  # of evidence
TEXT = "#4a5fc4"  # its blue is brighter than DARK, so it is no ink
TRACE_MM = 0.5  # as thick as the raster's
NOTICE = "Educational, not for diagnosis"
MM_PER_INCH, POINTS_PER_INCH = 25.4, 72
TITLE_LENGTH = 125  # letters of a title of size 10 that fit on the page; a longer one is set smaller
COMPARE_S, COMPARE_LEADS = 3.0, ("II", "V1", "V5")
PAGE_PX_PER_MM, MIN_PX_PER_MM = 8, 2  # of a page as it is written, and as its ink is still taken as it is
DARK = 160  # a pixel is ink as far as its brightest channel stays below this
MAX_INK = 0.25  # share of the paper that is ink
NAME_BLUE, NAME_MM = 45, (12.0, 6.5)  # of a lead name: blue above red and green; width, height
MIN_NAMES, MIN_IN_PLACE = 10, 0.9  # names that are seen, and share of what is blue that is theirs


def figure(ecg, title: str | None = None, dpi: float = 72, marks=()) -> Figure:
    """The ECG on paper, true to scale, as a matplotlib Figure: four columns of 2.5 s above 10 s of lead II.

    Shows the first 10 s at the record's own rate; `marks` are shaded, each (lead, from, to) in s. The figure is not
    registered with pyplot, so nothing is left open, yet a notebook displays it when it is a cell's last expression.
    """
    pieces = [
        (ecg, lead, start, seconds, start * paper.MM_PER_S, paper.PAPER_MM[1] - (strip + 0.5) * paper.STRIP_MM)
        for lead, strip, start, seconds in paper.segments()
    ]
    note = f"{NOTICE}   {paper.MM_PER_S:g} mm/s, {paper.MM_PER_MV:g} mm/mV"
    fig, ax = _sheet(*paper.PAPER_MM, pieces, note, title, dpi)
    for (lead, first, last), (_, name, start, seconds, x, y) in itertools.product(marks, pieces):
        begin, end = max(first, start), min(last, start + seconds)
        if lead == name and begin < end:
            corner = paper.MARGIN_MM + x + (begin - start) * paper.MM_PER_S, paper.MARGIN_MM + y - paper.STRIP_MM / 2
            width = (end - begin) * paper.MM_PER_S
            ax.add_patch(Rectangle(corner, width, paper.STRIP_MM, color=MARK, alpha=0.35, lw=0))
    x = paper.MARGIN_MM - 7 + np.array((0, 1, 1, 4, 4, 5))  # left of the rhythm strip, 1 mV in 5 mm
    y = paper.MARGIN_MM + paper.STRIP_MM / 2 + paper.MM_PER_MV * np.array((-0.5, -0.5, 0.5, 0.5, -0.5, -0.5))
    ax.plot(x, y, color=TRACE, linewidth=0.9)
    return fig


def compare(ecgs, labels, title: str | None = None) -> Figure:
    """Several ECGs under one another, 3 s of leads II, V1 and V5 side by side on one scale, as a matplotlib Figure.

    `labels` names the rows, for example "real" and "generated". Raises BadRequest when their numbers differ.
    """
    sentence = f"compare got {len(ecgs)} ECGs and {len(labels)} labels: give one label for each ECG."
    require(0 < len(ecgs) == len(labels), sentence, BadRequest)
    cell, height = COMPARE_S * paper.MM_PER_S, paper.STRIP_MM * len(ecgs)
    middles = [height - (row + 0.5) * paper.STRIP_MM for row in range(len(ecgs))]  # mm from the paper's lower edge
    pieces = [
        (ecg, lead, 0.0, COMPARE_S, column * cell, middle)
        for ecg, middle in zip(ecgs, middles)
        for column, lead in enumerate(COMPARE_LEADS)
    ]
    fig, ax = _sheet(cell * len(COMPARE_LEADS), height, pieces, NOTICE, title)
    for label, middle in zip(labels, middles):
        x, y = paper.MARGIN_MM - 2, paper.MARGIN_MM + middle
        ax.text(x, y, label, color=TEXT, fontsize=8, rotation=90, ha="right", va="center")
    return fig


def alt_text(ecg) -> str:
    """One sentence that says what `figure(ecg)` shows, for people who cannot see it."""
    columns = ", then ".join(map(", ".join, zip(*paper.LAYOUT)))
    who = {"female": "woman", "male": "man", None: "person"}[ecg.sex]
    age = "" if ecg.age is None else f" aged {ecg.age:g}"
    swing = np.ptp(ecg.signal, axis=1)  # (12,)
    return (
        f"12-lead ECG of a {who}{age}, {min(ecg.seconds, paper.PAGE_S):g} s at {ecg.hz:g} Hz on paper at "
        f"{paper.MM_PER_S:g} mm/s and {paper.MM_PER_MV:g} mm/mV: leads {columns} in four columns of "
        f"{paper.COLUMN_S:g} s above a rhythm strip of lead {paper.RHYTHM_LEAD}; "
        f"the largest swing is {swing.max():.1f} mV in {LEADS[swing.argmax()]}."
    )


def show(fig: Figure, alt: str) -> None:
    """Display a figure in a notebook with `alt` as its alternative text; its small palette keeps notebooks light."""
    from IPython import display

    display.display(display.Image(data=png(fig), alt=alt))


def png(fig: Figure) -> bytes:
    """A figure as PNG bytes at its own size and dpi, with a palette of 64 colours."""
    out = io.BytesIO()
    _picture(fig).quantize(64).save(out, format="PNG", optimize=True)
    return out.getvalue()


def _picture(fig: Figure) -> Image.Image:
    canvas = FigureCanvasAgg(fig)  # a figure that pyplot has closed may have lost its own
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")  # (H, W, 3)


def _sheet(width: float, height: float, pieces, note: str, title: str | None, dpi: float = 72):
    """Pieces of leads on paper of width x height mm within margins: a figure, and one bare axis in mm.

    A piece is (ecg, lead, start, seconds, x, y): x, y is where it begins, in mm from the paper's lower left corner. The
    lead's median over the record is taken off; a record that ends early gives a shorter trace, possibly none. Lines
    every 1 mm and, stronger, every 5 mm are counted from the upper left corner.
    """
    whole = (width + 2 * paper.MARGIN_MM, height + 2 * paper.MARGIN_MM)
    fig = plt.figure(figsize=(whole[0] / MM_PER_INCH, whole[1] / MM_PER_INCH), dpi=dpi, facecolor="white")
    plt.close(fig)  # pyplot has made notebooks able to show it, and forgets it here
    ax = fig.add_axes((0, 0, 1, 1), xlim=(0, whole[0]), ylim=(0, whole[1]))
    ax.axis("off")
    left, right, bottom, top = paper.MARGIN_MM, paper.MARGIN_MM + width, paper.MARGIN_MM, paper.MARGIN_MM + height
    for step, colour, thick in ((1, FINE, 0.4), (5, COARSE, 0.6)):
        ax.hlines(top - np.arange(0, height + 0.5, step), left, right, colour, linewidths=thick)
        ax.vlines(left + np.arange(0, width + 0.5, step), bottom, top, colour, linewidths=thick)
    ax.text(left, 3.5, note, color=TEXT, fontsize=7)
    size = 10 * min(1, TITLE_LENGTH / len(title)) if title else 10
    ax.text(left, whole[1] - 6.5, title or "", color=TEXT, fontsize=size)
    lines, most = [], paper.STRIP_MM / 2 - 0.5 / paper.PX_PER_MM  # the trace is held within its strip, as in the raster
    for ecg, lead, start, seconds, x, y in pieces:
        millivolts = ecg[lead][round(start * ecg.hz) : round((start + seconds) * ecg.hz)] - np.median(ecg[lead])  # (N,)
        across = left + x + np.arange(len(millivolts)) / ecg.hz * paper.MM_PER_S  # (N,)
        up = bottom + y + np.clip(millivolts * paper.MM_PER_MV, -most, most)  # (N,)
        lines.append(np.column_stack((across, up)))  # (N, 2) mm
        ax.text(left + x + 1.5, bottom + y + 10, lead, color=TEXT, fontsize=9, weight="bold")
    ax.add_collection(LineCollection(lines, colors=TRACE, linewidths=TRACE_MM / MM_PER_INCH * POINTS_PER_INCH))
    return fig, ax


def save_page(ecg, path: str | Path) -> Path:
    """Write the first 10 s of an ECG as a PNG page, 270 x 148 mm at 8 px/mm, for `read_page` or a printer.

    It is what `figure` shows. Raises UniECGError when the file cannot be written.
    """
    path = Path(path if str(path).lower().endswith(".png") else f"{path}.png")
    with saving(path) as room:
        dpi = PAGE_PX_PER_MM * MM_PER_INCH
        _picture(figure(ecg, dpi=dpi)).save(room / path.name, format="PNG", dpi=(dpi, dpi))
    return path


def read_page(path: str | Path) -> torch.Tensor:
    """Read a picture of an ECG page as ink (1, 256, 500) uint8, the form of one image of `raster`.

    Of a page of `save_page` that is whole, upright and in colour the ink is taken as it is. Any other page that
    `page.digitise` reads is drawn again in the raster's layout, as long as it shows what that holds: of each lead its
    2.5 s, and 10 s of lead II. Raises BadECG for anything else.
    """
    own = _own_ink(open_picture(path))
    if own is not None:
        return own
    signal = digitise(path).signal  # (12, 1000) mV
    cells = paper.segments()
    wanted = [
        signal[LEADS.index(lead)][round(first * HZ) : round((first + long) * HZ)] for lead, _, first, long in cells
    ]
    seconds = np.isfinite(signal).sum(1).min() / HZ
    short = f"The page shows {seconds:g} s of some leads and no 10 s of lead II, which the model reads as well"
    fine = all(np.isfinite(piece).all() for piece in wanted)
    require(fine, f"{short}: give a page with a rhythm strip of lead II, or the recording as a file.")
    return paper.raster(torch.from_numpy(np.nan_to_num(signal, nan=0.0))[None])[0]


def _own_ink(pixels: np.ndarray) -> torch.Tensor | None:
    """The ink (1, 256, 500) uint8 of a page of this project as it lies there, (h, w, 3); None for any other picture."""
    (height, width, _), (wide, high) = pixels.shape, paper.PAGE_MM
    if abs(width / height / (wide / high) - 1) > 0.02 or width < MIN_PX_PER_MM * wide or not _names_in_place(pixels):
        return None
    ink = np.clip(1 - pixels.max(2).astype(np.float32) / DARK, 0, 1)  # (h, w): dark in all three channels
    x, y = paper.MARGIN_MM * width / wide, paper.MARGIN_MM * height / high  # px of the margins
    size, box = (paper.WIDTH, paper.HEIGHT), (x, y, width - x, height - y)
    small = np.asarray(Image.fromarray(ink).resize(size, Image.Resampling.BOX, box=box))  # (H, W)
    return torch.from_numpy(np.rint(small * 255).astype(np.uint8))[None] if small.mean() < MAX_INK else None


def _names_in_place(pixels: np.ndarray) -> bool:
    """Whether blue lead names stand in the upper left corners of their pieces: not in a page turned or cropped."""
    blue = pixels[..., 2].astype(np.int16) - pixels[..., :2].max(2)  # (h, w) above red and green
    y, x = np.nonzero(blue > NAME_BLUE)
    x = (x + 0.5) * paper.PAGE_MM[0] / pixels.shape[1] - paper.MARGIN_MM  # (N,) mm from the paper's upper left corner
    y = (y + 0.5) * paper.PAGE_MM[1] / pixels.shape[0] - paper.MARGIN_MM
    inside = (x > -paper.MARGIN_MM / 2) & (x < paper.PAPER_MM[0]) & (y > -paper.MARGIN_MM / 2) & (y < paper.PAPER_MM[1])
    (column, right), (strip, below) = (
        np.divmod(x[inside], paper.COLUMN_S * paper.MM_PER_S),
        np.divmod(y[inside], paper.STRIP_MM),
    )
    named = (right < NAME_MM[0]) & (below < NAME_MM[1])
    seen = set(zip(column[named], strip[named]))
    return len(seen) >= MIN_NAMES and named.mean() >= MIN_IN_PLACE


def panel(title: str, size: tuple[float, float] = (6.0, 2.6)) -> tuple[Figure, plt.Axes]:
    """An empty figure of `size` inches with one axis, not registered with pyplot."""
    fig, ax = plt.subplots(figsize=size, dpi=72, layout="constrained")
    plt.close(fig)
    ax.set_title(title, fontsize=10)
    ax.grid(alpha=0.3)
    return fig, ax


def losses(history: dict, keys: tuple[str, ...] = ("loss",), title: str = "Training") -> Figure:
    """Loss over steps, as `TrainingLoop.history` has it (one value every 10 steps)."""
    fig, ax = panel(title)
    for key in keys:
        ax.plot(10 * (1 + np.arange(len(history[key]))), history[key], label=key)
    ax.set_xlabel("step")
    ax.legend(fontsize=8)
    return fig


def bars(values: dict[str, float], title: str = "", aim: float | None = None) -> Figure:
    """One bar per name, with an optional line at an aim."""
    fig, ax = panel(title, (max(6.0, 0.21 * len(values)), 2.6))
    ax.bar(range(len(values)), list(values.values()), color="#4c78a8")
    ax.set_xticks(range(len(values)), list(values), rotation=45, ha="right", fontsize=8)
    if aim is not None:
        ax.axhline(aim, color="#c44", linestyle="--")
    return fig
