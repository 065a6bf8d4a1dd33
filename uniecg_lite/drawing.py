"""What do people see? ECG paper, comparisons, pages to print and read back, small plots that notebooks share.

A page is an image file in colours that let the trace be told from everything else: only the trace is black; grid, lead
names and notes are coloured. So ink is what is dark in all three colour channels.
"""

import io
import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from PIL import Image, ImageChops, ImageDraw, ImageFont, ImageOps, UnidentifiedImageError

from .ecg_image import (
    COLUMN_S,
    HEIGHT,
    LAYOUT,
    MARGIN_MM,
    MM_PER_MV,
    MM_PER_S,
    PAGE_MM,
    PAGE_S,
    PAPER_MM,
    PX_PER_MM,
    RHYTHM_LEAD,
    STRIP_MM,
    WIDTH,
    segments,
)
from .ecg_io import saving
from .errors import BadECG, BadRequest
from .leads import LEADS

FINE, COARSE, TRACE, TEXT = "#fbdde2", "#f2a9b6", "#111111", "#4a5f94"
NOTICE = "Educational, not for diagnosis"
SCALE_NOTE = f"{NOTICE}   {MM_PER_S:g} mm/s, {MM_PER_MV:g} mm/mV"
MM_PER_INCH = 25.4
TITLE_LENGTH = 125  # letters of a title of size 10 that fit on the page
COMPARE_S = 3.0
PAGE_PX_PER_MM = 8
NAME_COLOUR = "#7890d8"  # its blue is brighter than DARK, so it is no ink
DARK = 160  # a pixel is ink as far as its brightest channel stays below this
MIN_PX_PER_MM = 2
MIN_COLOUR = 12  # at least one pixel differs this much between its channels
MAX_INK = 0.25  # share of the paper that may be ink
NAME_BLUE, NAME_MM, MIN_NAMES = 25, (12.0, 6.5), 0.9  # blue above red and green; width, height of a name; share there
MIN_COLUMNS = 0.5  # share of the image columns that must hold ink


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
    size = 10 * min(1, TITLE_LENGTH / len(title)) if title else 10  # a long one in smaller letters
    fig, ax = _sheet(*PAPER_MM, SCALE_NOTE, title, size, dpi)
    lines = []
    for lead, strip, start, seconds in segments():
        corner = np.array([MARGIN_MM + start * MM_PER_S, PAGE_MM[1] - MARGIN_MM - (strip + 0.5) * STRIP_MM])
        lines.append(corner + trace_mm(ecg, lead, start, seconds))
        ax.text(corner[0] + 1.5, corner[1] + 10, lead, color=TEXT, fontsize=9, weight="bold")
    lines.append(_calibration(MARGIN_MM - 7, MARGIN_MM + 0.5 * STRIP_MM))
    ax.add_collection(LineCollection(lines, colors=TRACE, linewidths=0.9))
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
    fig, ax = _sheet(width, height, NOTICE, title, 10, dpi)
    lines = []
    for row, (ecg, label) in enumerate(zip(ecgs, labels)):
        middle = MARGIN_MM + height - (row + 0.5) * STRIP_MM
        ax.text(MARGIN_MM - 2, middle, label, color=TEXT, fontsize=8, rotation=90, ha="right", va="center")
        for column, lead in enumerate(leads):
            corner = np.array([MARGIN_MM + column * cell, middle])
            lines.append(corner + trace_mm(ecg, lead, 0.0, COMPARE_S))
            ax.text(corner[0] + 1.5, middle + 10, lead, color=TEXT, fontsize=9, weight="bold")
    ax.add_collection(LineCollection(lines, colors=TRACE, linewidths=0.9))
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
    from IPython import get_ipython
    from IPython.display import Image, display

    if get_ipython() is None:
        return fig
    display(Image(data=png(fig), alt=alt))
    return None


def png(fig, colours: int = 64) -> bytes:
    """A figure as PNG bytes at its own size and dpi, with a palette of at most `colours`."""
    canvas = FigureCanvasAgg(fig)  # a figure that pyplot has closed may have lost its own
    canvas.draw()
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")  # (H, W, 3)
    out = io.BytesIO()
    picture.quantize(colours).save(out, format="PNG", optimize=True)
    return out.getvalue()


def _sheet(width: float, height: float, note: str, title: str | None, size: float, dpi: int):
    """Paper of width x height mm within margins: a figure, and one bare axis in mm from its lower left corner.

    Lines every 1 mm and, stronger, every 5 mm are counted from the paper's upper left corner. The title has letters of
    `size` points.
    """
    whole = (width + 2 * MARGIN_MM, height + 2 * MARGIN_MM)
    fig = plt.figure(figsize=(whole[0] / MM_PER_INCH, whole[1] / MM_PER_INCH), dpi=dpi, facecolor="white")
    plt.close(fig)  # pyplot has made notebooks able to show it, and forgets it here
    FigureCanvasAgg(fig)
    ax = fig.add_axes((0, 0, 1, 1), xlim=(0, whole[0]), ylim=(0, whole[1]))
    ax.axis("off")
    left, right, bottom, top = MARGIN_MM, MARGIN_MM + width, MARGIN_MM, MARGIN_MM + height
    for step, colour, thick in ((1, FINE, 0.4), (5, COARSE, 0.6)):
        across = [((left, y), (right, y)) for y in top - np.arange(0, height + 0.5, step)]
        down = [((x, bottom), (x, top)) for x in left + np.arange(0, width + 0.5, step)]
        ax.add_collection(LineCollection(across + down, colors=colour, linewidths=thick))
    ax.text(MARGIN_MM, 3.5, note, color=TEXT, fontsize=7)
    ax.text(MARGIN_MM, whole[1] - 6.5, title or "", color=TEXT, fontsize=size)
    return fig, ax


def _calibration(x: float, y: float) -> np.ndarray:
    """The mark that shows 1 mV, 5 mm wide, as (6, 2) points in mm."""
    points = ((0, 0), (1, 0), (1, MM_PER_MV), (4, MM_PER_MV), (4, 0), (5, 0))
    return np.array(points) + (x, y - MM_PER_MV / 2)  # (6, 2)


def save_page(ecg, path: str | Path) -> Path:
    """Write the first 10 s of an ECG as a PNG page, 270 x 148 mm at 8 px/mm, for `read_page` or a printer.

    The trace is as thick as the raster's, 0.5 mm. Raises UniECGError when the file cannot be written.
    """
    scale = PAGE_PX_PER_MM
    page = Image.new("RGB", (round(PAGE_MM[0] * scale), round(PAGE_MM[1] * scale)), "white")
    draw = ImageDraw.Draw(page)
    left, right, bottom = (scale * x for x in (MARGIN_MM, MARGIN_MM + PAPER_MM[0], MARGIN_MM + PAPER_MM[1]))
    for step, colour, thick in ((1, FINE, 1), (5, COARSE, 2)):
        for x in np.arange(left, right + 1, step * scale):
            draw.line((x, left, x, bottom), fill=colour, width=thick)
        for y in np.arange(left, bottom + 1, step * scale):
            draw.line((left, y, right, y), fill=colour, width=thick)
    pieces = list(segments())
    font, small = ImageFont.load_default(3.2 * scale), ImageFont.load_default(2.6 * scale)
    for lead, strip, start, _ in pieces:
        x, y = MARGIN_MM + start * MM_PER_S + 1.5, MARGIN_MM + strip * STRIP_MM + 2
        draw.text((x * scale, y * scale), lead, fill=NAME_COLOUR, font=font)
    draw.text((MARGIN_MM * scale, (PAGE_MM[1] - 6) * scale), SCALE_NOTE, fill=NAME_COLOUR, font=small)
    for lead, strip, start, seconds in pieces:
        points = trace_mm(ecg, lead, start, seconds, STRIP_MM / 2 - 0.5 / PX_PER_MM)  # (N, 2) in mm
        corner = (MARGIN_MM + start * MM_PER_S, MARGIN_MM + (strip + 0.5) * STRIP_MM)
        dots = (np.array(corner) + points * (1, -1)) * scale - 0.5  # (N, 2) in px
        if len(dots) > 1:
            draw.line([tuple(dot) for dot in dots.tolist()], fill="black", width=scale // PX_PER_MM, joint="curve")
    path = Path(path)
    path = path if path.suffix.lower() == ".png" else path.with_name(path.name + ".png")
    with saving(path) as room:
        page.save(room / path.name, format="PNG", dpi=(PAGE_PX_PER_MM * 25.4,) * 2)
        os.replace(room / path.name, path)
    return path


def read_page(path: str | Path) -> torch.Tensor:
    """Read a page made by `save_page` as ink (1, 256, 500) uint8, the form of one image of `raster`.

    The page may have been scaled (540 px wide or more), converted or given an alpha channel, as long as it is whole,
    upright and in colour. Raises BadECG for anything else.
    """
    red, green, blue = _load(Path(path)).split()
    width, height = red.size
    if abs(width / height / (PAGE_MM[0] / PAGE_MM[1]) - 1) > 0.02:
        raise BadECG(
            f"The image is {width} x {height} pixels, but a page is {PAGE_MM[0]:g} x {PAGE_MM[1]:g} mm: "
            "give the whole page, not cropped or turned."
        )
    if width < MIN_PX_PER_MM * PAGE_MM[0]:
        least = round(MIN_PX_PER_MM * PAGE_MM[0])
        raise BadECG(f"The image is only {width} pixels wide: scan the page at {least} pixels or more.")
    brightest = ImageChops.lighter(ImageChops.lighter(red, green), blue)
    darkest = ImageChops.darker(ImageChops.darker(red, green), blue)
    ink = np.clip(1 - np.asarray(brightest, dtype=np.float32) / DARK, 0, 1)  # (h, w)
    x, y = width / PAGE_MM[0], height / PAGE_MM[1]  # px per mm
    box = (MARGIN_MM * x, MARGIN_MM * y, width - MARGIN_MM * x, height - MARGIN_MM * y)
    small = np.asarray(Image.fromarray(ink).resize((WIDTH, HEIGHT), Image.Resampling.BOX, box=box))  # (H, W)
    if (small.max(axis=0) > 0.2).mean() < MIN_COLUMNS:
        raise BadECG("The page shows no ECG trace: give a page with a black trace on coloured paper.")
    if small.mean() > MAX_INK:
        raise BadECG("The image is too dark for an ECG page: give a page with a black trace on light paper.")
    if ImageChops.subtract(brightest, darkest).getextrema()[1] < MIN_COLOUR:
        raise BadECG("The image has no colour, so the trace cannot be told from the grid: scan the page in colour.")
    _refuse_if_moved(red, green, blue)
    return torch.from_numpy(np.rint(small * 255).astype(np.uint8))[None]  # (1, H, W)


def _refuse_if_moved(red: Image.Image, green: Image.Image, blue: Image.Image) -> None:
    """The blue lead names stand in the upper left corners of their pieces, unless the page was turned or cropped."""
    across, down = red.width / PAGE_MM[0], red.height / PAGE_MM[1]  # px per mm
    y, x = np.nonzero(np.asarray(ImageChops.subtract(blue, ImageChops.lighter(red, green))) > NAME_BLUE)
    x, y = (x + 0.5) / across - MARGIN_MM, (y + 0.5) / down - MARGIN_MM  # (N,) mm from the paper's upper left corner
    inside = (x > -MARGIN_MM / 2) & (x < PAPER_MM[0]) & (y > -MARGIN_MM / 2) & (y < PAPER_MM[1])
    right = (x % (COLUMN_S * MM_PER_S) < NAME_MM[0]) & (y % STRIP_MM < NAME_MM[1])
    if right[inside].sum() < MIN_NAMES * inside.sum():
        raise BadECG(
            "The lead names are not where a page has them: give the whole page, upright, not tilted or cropped."
        )


def _load(path: Path) -> Image.Image:
    """The image in RGB, upright as its EXIF note says, laid on white where it is transparent."""
    if not path.is_file():
        raise BadECG(f"There is no file {path}: check the name.")
    try:
        with Image.open(path) as stored:
            image = ImageOps.exif_transpose(stored)
            if not image.has_transparency_data:
                return image.convert("RGB")
            white = Image.new("RGBA", image.size, "white")
            return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError, SyntaxError) as error:
        raise BadECG(f"{path.name} is not an image that can be read ({error}): give a PNG or JPEG page.") from None


def _axes(title: str, size=(6.0, 2.6)) -> tuple[Figure, plt.Axes]:
    figure, axes = plt.subplots(figsize=size, dpi=72, layout="constrained")
    plt.close(figure)
    axes.set_title(title, fontsize=10)
    axes.grid(alpha=0.3)
    return figure, axes


def losses(history: dict, keys: tuple[str, ...] = ("loss",), title: str = "Training", every: int = 10) -> Figure:
    """Loss over steps, as `TrainingLoop.history` has it (one value per `every` steps)."""
    figure, axes = _axes(title)
    for key in keys:
        axes.plot(every * (1 + np.arange(len(history[key]))), history[key], label=key)
    if history.get("validation"):
        axes.plot(*zip(*history["validation"]), "o", label="validation")
    axes.set_xlabel("step")
    axes.legend(fontsize=8)
    return figure


def bars(values: dict[str, float], title: str = "", aim: float | None = None) -> Figure:
    """One bar per name, with an optional line at an aim."""
    figure, axes = _axes(title, (max(6.0, 0.21 * len(values)), 2.6))
    axes.bar(range(len(values)), list(values.values()), color="#4c78a8")
    axes.set_xticks(range(len(values)), list(values), rotation=45, ha="right", fontsize=8)
    if aim is not None:
        axes.axhline(aim, color="#c44", linestyle="--")
    return figure


def grid(table, title: str = "", rows: str = "", columns: str = "") -> Figure:
    """A matrix as colours."""
    figure, axes = _axes(title, (4.6, 3.4))
    axes.grid(False)
    figure.colorbar(axes.imshow(np.asarray(table), aspect="auto", cmap="viridis"))
    axes.set(xlabel=columns, ylabel=rows)
    return figure


def against(x, y, title: str = "", wanted: str = "true", got: str = "read") -> Figure:
    """Points against the line where both agree."""
    figure, axes = _axes(title, (3.8, 3.4))
    axes.plot(x, y, ".", alpha=0.5)
    axes.plot(*[[min(x), max(x)]] * 2, color="#888", linestyle="--")
    axes.set(xlabel=wanted, ylabel=got)
    return figure
