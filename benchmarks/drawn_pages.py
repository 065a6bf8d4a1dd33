"""ECG pages as other programs draw them, and what happens to them on their way: for `pages`, which reads them.

Drawn by plain matplotlib and by `ecg-plot`; no code of the reader or of the project's own pages takes part.
"""

import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image, ImageFilter
from scipy.ndimage import maximum_filter1d

from uniecg_lite.leads import LEADS

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
        traces[row, first : first + count] = (lead - np.median(lead))[first : first + count] * (
            -1 if name[0] == "-" else 1
        )
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
