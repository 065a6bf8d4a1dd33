"""The page as an image file: written in colours that let the trace be told from everything else, and read back as ink.

Only the trace is black; grid, lead names and notes are coloured. So ink is what is dark in all three colour channels.
"""

import os
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageChops, ImageDraw, ImageFont, UnidentifiedImageError

from uniecg_lite.drawing.geometry import (
    HEIGHT,
    MARGIN_MM,
    MM_PER_MV,
    MM_PER_S,
    PAGE_MM,
    PAPER_MM,
    PX_PER_MM,
    STRIP_MM,
    WIDTH,
    segments,
)
from uniecg_lite.drawing.paper import COARSE, FINE, NOTICE, trace_mm
from uniecg_lite.errors import BadECG, UniECGError

PAGE_PX_PER_MM = 8
NAME_COLOUR = "#7890d8"  # its blue is brighter than DARK, so it is no ink
DARK = 160  # a pixel is ink as far as its brightest channel stays below this
MIN_PX_PER_MM = 2
MIN_COLOUR = 12  # at least one pixel differs this much between its channels
MAX_INK = 0.25  # share of the paper that may be ink
MIN_COLUMNS = 0.5  # share of the image columns that must hold ink


def save_page(ecg, path: str | Path) -> Path:
    """Write the first 10 s of an ECG as a PNG page, 270 x 148 mm at 8 px/mm, for `read_page` or a printer.

    The trace is as thick as the raster's, 0.5 mm. Raises UniECGError when the file cannot be written.
    """
    scale = PAGE_PX_PER_MM
    page = Image.new("RGB", (round(PAGE_MM[0] * scale), round(PAGE_MM[1] * scale)), "white")
    draw = ImageDraw.Draw(page)
    _draw_grid(draw, scale)
    pieces = list(segments())
    font, small = ImageFont.load_default(3.2 * scale), ImageFont.load_default(2.6 * scale)
    for lead, strip, start, _ in pieces:
        x, y = MARGIN_MM + start * MM_PER_S + 1.5, MARGIN_MM + strip * STRIP_MM + 2
        draw.text((x * scale, y * scale), lead, fill=NAME_COLOUR, font=font)
    note = f"{NOTICE}   {MM_PER_S:g} mm/s, {MM_PER_MV:g} mm/mV"
    draw.text((MARGIN_MM * scale, (PAGE_MM[1] - 6) * scale), note, fill=NAME_COLOUR, font=small)
    for lead, strip, start, seconds in pieces:
        points = trace_mm(ecg, lead, start, seconds, STRIP_MM / 2 - 0.5 / PX_PER_MM)  # (N, 2) in mm
        corner = (MARGIN_MM + start * MM_PER_S, MARGIN_MM + (strip + 0.5) * STRIP_MM)
        dots = (np.array(corner) + points * (1, -1)) * scale - 0.5  # (N, 2) in px
        if len(dots) > 1:
            draw.line([tuple(dot) for dot in dots.tolist()], fill="black", width=scale // PX_PER_MM, joint="curve")
    return _write(page, Path(path))


def _draw_grid(draw: ImageDraw.ImageDraw, scale: int) -> None:
    left, top = MARGIN_MM * scale, MARGIN_MM * scale
    right, bottom = left + PAPER_MM[0] * scale, top + PAPER_MM[1] * scale
    for step, colour, thick in ((1, FINE, 1), (5, COARSE, 2)):
        for x in np.arange(left, right + 1, step * scale):
            draw.line((x, top, x, bottom), fill=colour, width=thick)
        for y in np.arange(top, bottom + 1, step * scale):
            draw.line((left, y, right, y), fill=colour, width=thick)


def _write(page: Image.Image, path: Path) -> Path:
    """Save as PNG in one step, so that a killed run leaves no half page."""
    path = path if path.suffix.lower() == ".png" else path.with_name(path.name + ".png")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".saving-", dir=path.parent) as room:
            page.save(Path(room) / path.name, format="PNG", dpi=(PAGE_PX_PER_MM * 25.4,) * 2)
            os.replace(Path(room) / path.name, path)
    except OSError as error:
        reason = error.strerror or error
        raise UniECGError(f"Could not write {path} ({reason}): make room or choose another folder.") from None
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
    _refuse_no_trace(small)
    if ImageChops.subtract(brightest, darkest).getextrema()[1] < MIN_COLOUR:
        raise BadECG("The image has no colour, so the trace cannot be told from the grid: scan the page in colour.")
    return torch.from_numpy(np.rint(small * 255).astype(np.uint8))[None]  # (1, H, W)


def _load(path: Path) -> Image.Image:
    """The image in RGB, laid on white where it is transparent."""
    if not path.is_file():
        raise BadECG(f"There is no file {path}: check the name.")
    try:
        with Image.open(path) as image:
            if not image.has_transparency_data:
                return image.convert("RGB")
            white = Image.new("RGBA", image.size, "white")
            return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError, SyntaxError) as error:
        raise BadECG(f"{path.name} is not an image that can be read ({error}): give a PNG or JPEG page.") from None


def _refuse_no_trace(ink: np.ndarray) -> None:
    if (ink.max(axis=0) > 0.2).mean() < MIN_COLUMNS:
        raise BadECG("The page shows no ECG trace: give a page with a black trace on coloured paper.")
    if ink.mean() > MAX_INK:
        raise BadECG("The image is too dark for an ECG page: give a page with a black trace on light paper.")
