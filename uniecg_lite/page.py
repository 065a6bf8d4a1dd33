"""What does a picture of an ECG page show? Layout and turn are found, and the leads read, by rules alone.

`page_traces` lays the page straight and follows its rows. Layout and turn are those in which the limb leads obey the
lead laws, so no letter is read.

Shapes: h, w pixels of the picture; R rows of traces; L samples, or px along a row, `PX` per mm; k leads.
"""

from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps
from scipy import ndimage

from .ecg_image import MM_PER_S, PAGE_S
from .errors import BadECG, refused, require
from .leads import CHEST, LEADS, LIMB, LIMB_WEIGHTS
from .page_traces import LENGTH, NO_GRID, NO_LAYOUT, PX, TILE, Traces, find_ink, follow, unevenness

MOST_PX = 2000  # of the longer side; a larger picture is made smaller
HZ = 100  # samples per second that are returned
LONGER = (-3 * PX, 24 * PX)  # px that a row may be longer than 10 s: a calibration pulse
USUAL = 0.03  # likeness that lead II has before others: it is the usual rhythm strip
MAX_SHARE = 0.06  # of the limb leads' energy that may break the lead laws
MIN_MV = 0.1  # the limb leads' largest swing at least
ORDERS = {
    "standard": [(name, 1) for name in LIMB + CHEST],
    "Cabrera": [("aVL", 1), ("I", 1), ("aVR", -1), ("II", 1), ("aVF", 1), ("III", 1), *((name, 1) for name in CHEST)],
}


class Page(NamedTuple):
    """What a page shows: signal (12, 1000) mV at 100 Hz, NaN where it shows nothing; rows x columns; order of leads;
    degrees clockwise that the picture is to be turned by."""

    signal: np.ndarray
    layout: str
    order: str
    degrees: int


def open_picture(path: str | Path) -> np.ndarray:
    """The pixels of a picture file, (h, w, 3) uint8, upright as its EXIF note says, on white. Raises BadECG."""
    path = Path(path)
    require(path.is_file(), f"There is no file {path}: check the name.")
    sentence = f"{path.name} is not an image that can be read ({{reason}}): give a PNG or JPEG page."
    with refused(sentence), Image.open(path) as stored:
        image = ImageOps.exif_transpose(stored).convert("RGBA")
        return np.asarray(Image.alpha_composite(Image.new("RGBA", image.size, "white"), image))[..., :3]


def digitise(path: str | Path) -> Page:
    """Digitise a picture file of an ECG page at 25 mm/s and 10 mm/mV.

    Raises BadECG with the reason when it is no page of 10 s in a known layout, or mirrored.
    """
    pixels = open_picture(path)
    scale = min(1, MOST_PX / max(pixels.shape[:2]))
    size = [round(side * scale) for side in pixels.shape[1::-1]]
    require(min(size) >= TILE, NO_GRID)
    ink = find_ink(np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX)))
    reasons = []
    for quarter in sorted((0, 1), key=lambda k: unevenness(np.rot90(ink, -k))):
        try:
            return _page(follow(np.rot90(ink, -quarter)), 90 * quarter)  # clockwise
        except BadECG as reason:
            reasons.append(reason)
    raise reasons[0]


class _Fit(NamedTuple):
    """One way to read the rows: how ill the leads fit it, and the rows (R, L) and edges (columns, 2) px as they lie
    then, from left to right and from top to bottom."""

    share: float
    mirrored: bool
    inverted: bool
    height: int
    order: str
    lines: np.ndarray
    edges: np.ndarray


def _page(traces: Traces, degrees: int) -> Page:
    """The reading of the rows in which the limb leads obey the lead laws best. Raises BadECG when none does."""
    fits = _fits(traces)
    count = f"The page has {len(traces.rows)} rows of traces: 3x4, 6x2 and 12x1 are read, and rhythm strips below."
    require(fits, count)
    best = min(fits, key=lambda fit: fit.share)
    require(best.share <= MAX_SHARE, NO_LAYOUT)
    require(not best.mirrored, "The page is mirrored: give the picture as the page is read.")
    degrees = (degrees + 180 * best.inverted) % 360
    return Page(_signal(best), f"{best.height}x{12 // best.height}", best.order, degrees)


def _fits(traces: Traces) -> list[_Fit]:
    """Every turn, layout and order that has as many rows and pieces. Raises BadECG where they are not of 10 s."""
    rows, pieces, names = traces
    shown = np.ptp(pieces, 1).sum()  # px
    long = f"The traces are {shown / PX:.0f} mm long, but 10 s at 25 mm/s are 250 mm: give the whole page."
    require(LONGER[0] <= shown - LENGTH <= LONGER[1], long)
    spare = max(0, shown - LENGTH) if len(pieces) == 1 else 0
    starts = {0, spare} if spare > PX else {0}
    layouts = [h for h in (3, 6, 12) if 0 <= len(rows) - h <= 3 and len(pieces) in (1, 12 // h)]
    fits = []
    for mirrored, inverted, start in product((False, True), (False, True), starts):
        backwards = mirrored != inverted  # upside down, time runs to the left
        way = -1 if backwards else 1
        lines = (-rows[::-1] if inverted else rows)[:, ::way]
        parts = rows.shape[1] - pieces[::-1, ::-1] if backwards else pieces
        first, last = names[::way]  # names stand where leads begin
        misnamed = 0.02 * max(0, last - first) / max(1, last + first)
        for height, order in product(layouts, ORDERS):
            edges = parts if len(parts) > 1 else _shared(parts[0], start, spare, 12 // height)
            cut = [lines[:, round(a) : round(b)] for a, b in edges]
            share = _misfit(cut, height, order) + 0.04 * mirrored + misnamed
            fits.append(_Fit(share, mirrored, inverted, height, order, lines, edges))
    return fits


def _shared(whole: np.ndarray, start: int, spare: int, columns: int) -> np.ndarray:
    """One stretch of columns, less what is to spare, in equal pieces of 10 s in all: (columns, 2)."""
    middle = (whole.sum() - spare) / 2 + start
    ends = middle + LENGTH * np.linspace(-0.5, 0.5, columns + 1)
    return np.stack((ends[:-1], ends[1:]), 1).clip(0)


def _misfit(pieces: list, height: int, order: str) -> float:
    """Share of the limb leads' energy that breaks the lead laws; more where waves point the wrong way, or time does."""
    broken = whole = 0.0
    columns = []
    smooth = [ndimage.gaussian_filter1d(piece, 0.5 * PX, axis=1) for piece in pieces]
    for first in range(0, 6, min(height, 6)):
        limb = ORDERS[order][first : first + min(height, 6)]
        weights = np.array([np.multiply(LIMB_WEIGHTS[name], sign) for name, sign in limb])  # (k, 2)
        x = smooth[first // height][first % height : first % height + len(limb)]
        x = x - x.mean(1, keepdims=True)
        base = np.linalg.pinv(weights) @ x  # (2, L): I and II
        broken += np.square(x - weights @ base).sum()
        whole += np.square(x).sum()
        columns.append((base, x, weights))
    if max(np.ptp(x) for _, x, _ in columns) <= MIN_MV:
        return np.inf  # nothing is drawn there
    share = broken / max(whole, 1e-9)
    if height == 3:  # the second column's beats look as the first one's laws foretell
        (base, _, _), (_, x, weights) = columns
        foretold = weights @ base
        likeness = sum(np.correlate(a, b, "same") for a, b in zip(x, foretold))
        against = max(0, -likeness.min() - likeness.max())
        share += 0.5 * against / max(np.linalg.norm(x) * np.linalg.norm(foretold), 1e-9)
    if height == 12:  # broad T waves follow narrow QRS complexes
        sharp = np.square(np.diff(smooth[0][:12], 2, axis=1)).sum(0)
        slow = np.square(np.diff(ndimage.gaussian_filter1d(pieces[0][:12], PX, axis=1), axis=1)).sum(0)[:-1]
        lags = range(4 * PX, 9 * PX, PX // 2)
        later = sum(sharp[:-lag] @ slow[lag:] for lag in lags)
        earlier = sum(sharp[lag:] @ slow[:-lag] for lag in lags)
        share += 0.2 * max(0, earlier - later) / max(later + earlier, 1e-9)
    return float(share)


def _signal(fit: _Fit) -> np.ndarray:
    """The leads (12, 1000) mV: each piece at its place, and rhythm strips in the leads that they look like."""
    _, _, _, height, order, lines, edges = fit
    columns = 12 // height
    count = round(PAGE_S * HZ) // columns
    values = np.full((12, count * columns), np.nan, np.float32)
    whole = edges[0][0], edges[-1][1]
    middles = np.median(lines[:, round(whole[0]) : round(whole[1])], 1)  # the zero line that a row's pieces share
    for place, (lead, sign) in enumerate(ORDERS[order]):
        k, row = divmod(place, height)
        piece = _samples(lines[row] - middles[row], edges[k], count)
        if height < 12:
            piece[:2], piece[-2:] = piece[2], piece[-3]  # where leads meet, their ink is mixed
        values[LEADS.index(lead), k * count : (k + 1) * count] = sign * piece
    shown = values.copy()
    for row in lines[height:]:
        strip = _samples(row, edges[0][0] + np.array((0, columns * np.ptp(edges[0]))), count * columns)
        likeness, i = max((_likeness(strip, lead) + USUAL * (i == 1), i) for i, lead in enumerate(shown))
        if likeness > 0.9:
            strip -= np.nanmean(strip - shown[i])  # at the height of the piece
            values[i] = np.where(np.isnan(values[i]), strip, values[i])
    return values


def _samples(row: np.ndarray, ends: np.ndarray, count: int) -> np.ndarray:
    """`count` samples at `HZ` about the middle of two columns, from one value a px."""
    places = np.mean(ends) - 0.5 + (np.arange(count) - 0.5 * count + 0.3) * PX * MM_PER_S / HZ  # a trace ends early
    return np.interp(places, np.arange(len(row)), row)


def _likeness(strip: np.ndarray, lead: np.ndarray) -> float:
    """How alike two traces are in form and size where the lead is shown: 1 for the same, up to an offset."""
    known = ~np.isnan(lead)
    a, b = strip[known] - strip[known].mean(), lead[known] - lead[known].mean()
    return float(2 * (a @ b) / max(a @ a + b @ b, 1e-9))
