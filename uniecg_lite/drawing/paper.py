"""Figures for people: the ECG on pink paper, several ECGs in rows, and the sentence that describes a figure."""

import io

import numpy as np
from matplotlib.collections import LineCollection

from uniecg_lite.drawing.geometry import (
    COLUMN_S,
    LAYOUT,
    MARGIN_MM,
    MM_PER_MV,
    MM_PER_S,
    PAGE_MM,
    PAGE_S,
    PAPER_MM,
    RHYTHM_LEAD,
    STRIP_MM,
    segments,
)
from uniecg_lite.ecg import LEADS
from uniecg_lite.errors import BadRequest

FINE, COARSE, TRACE, TEXT = "#fbdde2", "#f2a9b6", "#111111", "#4a5f94"
NOTICE = "Educational, not for diagnosis"
MM_PER_INCH = 25.4
TITLE_LENGTH = 125  # letters of a title of size 10 that fit on the page
COMPARE_S = 3.0


def trace_mm(ecg, lead: str, start: float, seconds: float, half_mm: float = STRIP_MM / 2) -> np.ndarray:
    """A piece of one lead as (N, 2) points in mm: x from the piece's start, y upwards from the strip's middle.

    The lead's median over the record is taken off, and y is held within `half_mm`, as in the raster. A record that
    ends early gives fewer points, possibly none.
    """
    first, last = round(start * ecg.hz), round((start + seconds) * ecg.hz)
    values = ecg[lead]
    y = (values[first:last] - np.median(values)) * MM_PER_MV  # (N,)
    x = np.arange(len(y)) / ecg.hz * MM_PER_S  # (N,)
    return np.column_stack((x, np.clip(y, -half_mm, half_mm)))  # (N, 2)


def figure(ecg, title: str | None = None, dpi: int = 72):
    """The ECG on paper, true to scale, as a matplotlib Figure: four columns of 2.5 s above 10 s of lead II.

    Shows the first 10 s at the record's own rate. The figure is not registered with pyplot, so nothing is left open,
    yet a notebook displays it when it is a cell's last expression.
    """
    fig, ax = _sheet(*PAGE_MM, dpi)
    _grid(ax, MARGIN_MM, MARGIN_MM, *PAPER_MM)
    lines = []
    for lead, strip, start, seconds in segments():
        corner = np.array([MARGIN_MM + start * MM_PER_S, MARGIN_MM + PAPER_MM[1] - (strip + 0.5) * STRIP_MM])
        lines.append(corner + trace_mm(ecg, lead, start, seconds))
        ax.text(corner[0] + 1.5, corner[1] + 10, lead, color=TEXT, fontsize=9, weight="bold")
    lines.append(_calibration(MARGIN_MM - 7, MARGIN_MM + 0.5 * STRIP_MM))
    ax.add_collection(LineCollection(lines, colors=TRACE, linewidths=0.9))
    ax.text(MARGIN_MM, 3.5, f"{NOTICE}   {MM_PER_S:g} mm/s, {MM_PER_MV:g} mm/mV", color=TEXT, fontsize=7)
    if title:
        size = 10 * min(1, TITLE_LENGTH / len(title))  # a long one in smaller letters
        ax.text(MARGIN_MM, PAGE_MM[1] - 6.5, title, color=TEXT, fontsize=size)
    return fig


def compare(ecgs, labels, leads=("II", "V1", "V5"), title: str | None = None, dpi: int = 72):
    """Several ECGs under one another, 3 s of each named lead side by side on one scale, as a matplotlib Figure.

    `labels` names the rows, for example "real" and "generated". Raises BadRequest when their numbers differ.
    """
    ecgs, labels = list(ecgs), list(labels)
    if not ecgs or len(ecgs) != len(labels):
        raise BadRequest(f"compare got {len(ecgs)} ECGs and {len(labels)} labels: give one label for each ECG.")
    cell = COMPARE_S * MM_PER_S
    width, height = cell * len(leads), STRIP_MM * len(ecgs)
    fig, ax = _sheet(width + 2 * MARGIN_MM, height + 2 * MARGIN_MM, dpi)
    _grid(ax, MARGIN_MM, MARGIN_MM, width, height)
    lines = []
    for row, (ecg, label) in enumerate(zip(ecgs, labels)):
        middle = MARGIN_MM + height - (row + 0.5) * STRIP_MM
        ax.text(MARGIN_MM - 2, middle, label, color=TEXT, fontsize=8, rotation=90, ha="right", va="center")
        for column, lead in enumerate(leads):
            corner = np.array([MARGIN_MM + column * cell, middle])
            lines.append(corner + trace_mm(ecg, lead, 0.0, COMPARE_S))
            ax.text(corner[0] + 1.5, middle + 10, lead, color=TEXT, fontsize=9, weight="bold")
    ax.add_collection(LineCollection(lines, colors=TRACE, linewidths=0.9))
    ax.text(MARGIN_MM, 3.5, NOTICE, color=TEXT, fontsize=7)
    if title:
        ax.text(MARGIN_MM, height + 2 * MARGIN_MM - 6.5, title, color=TEXT, fontsize=10)
    return fig


def alt_text(ecg) -> str:
    """One sentence that says what `figure(ecg)` shows, for people who cannot see it."""
    columns = ", then ".join(f"{a}, {b}, {c}" for a, b, c in zip(*LAYOUT))
    who = {"female": "woman", "male": "man", None: "person"}[ecg.sex]
    whose = f"a {who}" if ecg.age is None else f"a {who} aged {ecg.age:g}"
    swing = np.ptp(ecg.signal, axis=1)  # (12,)
    return (
        f"12-lead ECG of {whose}, {min(ecg.seconds, PAGE_S):g} s at {ecg.hz:g} Hz on paper at {MM_PER_S:g} mm/s and "
        f"{MM_PER_MV:g} mm/mV: leads {columns} in four columns of {COLUMN_S:g} s above a rhythm strip of lead "
        f"{RHYTHM_LEAD}; the largest swing is {swing.max():.1f} mV in {LEADS[swing.argmax()]}."
    )


def show(fig, alt: str):
    """Display a figure in a notebook with `alt` as its alternative text; outside IPython return the figure.

    The picture is stored with a small palette, which keeps notebooks light.
    """
    try:
        from IPython import get_ipython
        from IPython.display import Image, display
    except ImportError:
        return fig
    if get_ipython() is None:
        return fig
    display(Image(data=png(fig), alt=alt))
    return None


def png(fig, colours: int = 64) -> bytes:
    """A figure as PNG bytes at its own size and dpi, with a palette of at most `colours`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    canvas = FigureCanvasAgg(fig)  # a figure that pyplot has closed may have lost its own
    canvas.draw()
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")  # (H, W, 3)
    out = io.BytesIO()
    picture.quantize(colours).save(out, format="PNG", optimize=True)
    return out.getvalue()


def _sheet(width_mm: float, height_mm: float, dpi: int):
    """A figure of that size with one bare axis over it, measured in mm from its lower left corner."""
    import matplotlib.pyplot as plt
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    fig = plt.figure(figsize=(width_mm / MM_PER_INCH, height_mm / MM_PER_INCH), dpi=dpi, facecolor="white")
    plt.close(fig)  # pyplot has made notebooks able to show it, and forgets it here
    FigureCanvasAgg(fig)
    ax = fig.add_axes((0, 0, 1, 1), xlim=(0, width_mm), ylim=(0, height_mm))
    ax.axis("off")
    return fig, ax


def _grid(ax, left: float, bottom: float, width: float, height: float) -> None:
    """Lines every 1 mm and, stronger, every 5 mm, counted from the upper left corner of the paper."""
    for step, colour, thick in ((1, FINE, 0.4), (5, COARSE, 0.6)):
        across = [((left, y), (left + width, y)) for y in bottom + height - np.arange(0, height + 0.5, step)]
        down = [((x, bottom), (x, bottom + height)) for x in left + np.arange(0, width + 0.5, step)]
        ax.add_collection(LineCollection(across + down, colors=colour, linewidths=thick))


def _calibration(x: float, y: float) -> np.ndarray:
    """The mark that shows 1 mV, 5 mm wide, as (6, 2) points in mm."""
    points = ((0, 0), (1, 0), (1, MM_PER_MV), (4, MM_PER_MV), (4, 0), (5, 0))
    return np.array(points) + (x, y - MM_PER_MV / 2)  # (6, 2)
