"""What does a picture of an ECG page hold? Grid, turn and layout are found, and the traces digitised, by rules alone.

Grid: the strongest pair of perpendicular frequencies; their change over the picture, then the phase of the lines, give
the polynomials that straighten it. Traces: what is darker than the grid; along each row
the cheapest path through the ink. Layout and turn: the one in which the limb leads obey the lead laws; that a 12x1 page
is mirrored shows in the place of its lead names and in the T wave, which follows the QRS complex.

Shapes: h, w pixels of the picture; H, W pixels of the straightened page, `PX` per mm; R rows of traces; L samples.
"""

from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps
from scipy import ndimage

from . import ecg_image as paper
from .errors import BadECG, refused, require
from .leads import CHEST, LEADS, LIMB, LIMB_WEIGHTS

MOST_PX = 1800  # of the longer side; a larger picture is made smaller
PER_SIDE = (245, 400)  # mm that the longer side may show, margins and all
DEGREE = 5  # of the polynomials between page and picture
TERMS = np.add.outer(range(DEGREE + 1), range(DEGREE + 1)) <= DEGREE  # the powers of y and of x that they have
TILE, STEP, MIN_TILES, MIN_PEAK = 128, 96, 8, 3.0  # px of a square whose spectrum is taken; log power of its grid
NEAR, FAR = 0.05, 0.14  # how much the grid may differ from the fit, and over the picture, in shares of its frequency
SCALE = 100.0  # mm, and so the powers of mm stay small
PX, HZ = 6, 100  # px per mm of the straightened page; samples per second that are returned
LENGTH = round(paper.PAGE_S * paper.MM_PER_S * PX)  # px of 10 s: 1500
LONGER = (-4 * PX, 24 * PX)  # px that a row may be longer than 10 s: a calibration pulse
REACH = 25 * PX  # px above and below its row's middle that a trace is looked for
ALONG = 0.002  # cost of a pixel of ink when a path climbs along it; a pixel of paper costs 1
AWAY, LEAP, BARRED = 0.0003, 0.05, 1e4  # cost of a px from the row's middle, of one climbed from one lead to the next,
# and of an end in another row
SPUR, TIE = 0.6, 0.02  # what a detour to the tip of a peak may cost, and how much more than to the path of another row
MAX_SHARE = 0.15  # of the limb leads' energy that may break the lead laws
MIN_MV = 0.1  # the limb leads' largest swing at least
ORDERS = {
    "standard": [(name, 1) for name in LIMB + CHEST],
    "Cabrera": [("aVL", 1), ("I", 1), ("aVR", -1), ("II", 1), ("aVF", 1), ("III", 1), *((name, 1) for name in CHEST)],
}
NO_GRID = "No ECG grid is found in the picture: give a sharp picture of a whole ECG page, with its grid."
NO_LAYOUT = "No layout is found in which the limb leads obey the lead laws: 3x4, 6x2 and 12x1 of 10 s are read."


class Page(NamedTuple):
    """What was read: signal (12, 1000) mV at 100 Hz, NaN where the page shows nothing; rows x columns; order of leads;
    degrees clockwise that the picture is to be turned by."""

    signal: np.ndarray
    layout: str
    order: str
    degrees: int


def read_page(path: str | Path) -> Page:
    """Digitise a picture file of an ECG page, at 25 mm/s and 10 mm/mV. Raises BadECG with the reason for any other."""
    path = Path(path)
    require(path.is_file(), f"There is no file {path}: check the name.")
    sentence = f"{path.name} is not an image that can be read ({{reason}}): give a PNG or JPEG page."
    with refused(sentence), Image.open(path) as stored:
        image = ImageOps.exif_transpose(stored).convert("RGBA")  # upright as its EXIF note says
        pixels = np.asarray(Image.alpha_composite(Image.new("RGBA", image.size, "white"), image))[..., :3]  # (h, w, 3)
    return read(pixels)


def read(pixels: np.ndarray) -> Page:
    """Digitise a picture of an ECG page, (h, w, 3) uint8, at 25 mm/s and 10 mm/mV.

    Raises BadECG with the reason when it is no page of 10 s in a known layout, or mirrored.
    """
    scale = min(1, MOST_PX / max(pixels.shape[:2]))
    size = [round(side * scale) for side in pixels.shape[1::-1]]
    require(min(size) > 2 * TILE, NO_GRID)
    contrast = _contrast(np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX)))
    ink = _ink(contrast, _grid(contrast.max(2)))
    first = int(_unevenness(ink) > _unevenness(ink.T))  # 1: rows run from top to bottom
    reasons = []
    for quarter in (first, 1 - first):
        turned = np.rot90(ink, -quarter)  # clockwise
        try:
            return _layout(*_traces(turned, _rows(turned)), 90 * quarter)
        except BadECG as reason:
            reasons.append(reason)
    raise reasons[0]


def _contrast(pixels: np.ndarray, block: int = 32) -> np.ndarray:
    """How much darker each channel is than the paper around it, so shadows do not matter: (h, w, 3), 0 to 1."""
    h, w = (side // block for side in pixels.shape[:2])
    blocks = pixels[: h * block : 2, : w * block : 2].reshape(h, block // 2, w, block // 2, 3)
    light = ndimage.gaussian_filter(np.percentile(blocks, 85, axis=(1, 3)).astype(np.float32), (1, 1, 0))
    whole = [np.asarray(Image.fromarray(c).resize(pixels.shape[1::-1], Image.Resampling.BILINEAR))
             for c in np.moveaxis(light, 2, 0)]  # fmt: skip
    return np.clip(1 - pixels / np.maximum(np.stack(whole, 2), 1), 0, 1)


def _grid(grey: np.ndarray) -> list[np.ndarray]:
    """Where the page's points, `PX` per mm, lie in the picture: y and x, each (H, W). Raises BadECG without a grid."""
    grey = np.minimum(grey, np.quantile(grey[::3, ::3], 0.95))
    rows, columns = (np.linspace(0, side - TILE, 1 + -(-(side - TILE) // STEP)).astype(int) for side in grey.shape)
    corners = np.stack(np.meshgrid(columns, rows), -1).reshape(-1, 2)  # (x, y)
    tiles = np.stack([grey[y : y + TILE, x : x + TILE] for x, y in corners])
    tiles = np.outer(*2 * [np.hanning(TILE)]) * (tiles - tiles.mean((1, 2), keepdims=True))
    middle = TILE // 2 - 1  # frequency 0; the axes are -middle..middle
    power = np.log(np.abs(np.fft.fftshift(np.fft.fft2(tiles.astype(np.float32)), (1, 2))[:, 1:, 1:]) ** 2 + 1e-3)
    fy, fx = np.mgrid[-middle : middle + 1, -middle : middle + 1]
    radius = np.hypot(fx, fy)
    ring = radius.astype(int)
    floor = ndimage.median(power.mean(0), ring, np.arange(ring.max() + 1))[ring]  # of a frequency in any direction
    above = power.mean(0) - floor
    above = above + np.rot90(above)  # both directions
    tenth = [ndimage.map_coordinates(above, (middle + k / 10 * fy, middle + k / 10 * fx), order=1) for k in range(5)]
    coarse = tenth[2] + tenth[4] - tenth[1] - tenth[3]  # lines every 5 mm have peaks at the former, not at the latter
    per_side = radius / TILE * max(grey.shape)
    possible = (fx > 0) & (np.abs(fy) <= fx) & (per_side > PER_SIDE[0]) & (per_side < PER_SIDE[1])
    best = np.where(possible, ndimage.maximum_filter(above, 3) + coarse / 2, -np.inf).argmax()
    first = np.array([fx.flat[best], fy.flat[best]])  # (2,) cycles per tile
    which, found = [], []
    for k, spectrum in enumerate(power):
        peaks = [_peak(spectrum, floor, centre) for centre in (first, (-first[1], first[0]))]
        if all(peak is not None for peak in peaks):
            which.append(k)
            found.append(np.array(peaks) / TILE)
    require(len(found) >= MIN_TILES, NO_GRID)
    found, scale = np.array(found), max(grey.shape)  # (N, 2, 2) cycles per px
    points = (corners[which] + TILE / 2) / scale  # (N, 2)
    slopes = np.concatenate([_terms(*points.T, way) / scale for way in ((1, 0), (0, 1))])  # (2 N, terms)
    values = found.transpose(2, 0, 1).reshape(-1, 2)  # (2 N, 2): along u and v
    fits = np.stack([_robust(slopes, one) for one in values.T], 1)  # (terms, 2): from px to mm along u and v
    mean = np.linalg.norm(found, axis=2).mean()  # mm per px
    fine = np.abs(values - slopes @ fits).reshape(2, -1, 2).max((0, 2)) < NEAR * mean  # (N,)
    require(fine.sum() >= max(MIN_TILES, 0.15 * len(corners)), NO_GRID)
    points, which = points[fine], np.array(which)[fine]
    one, other = np.nonzero(np.triu(np.abs(points[:, None] - points).sum(2) < 1.1 * STEP / scale, 1))  # neighbours
    known = _terms(*points.T)
    down, across = (np.vander(np.arange(side) / scale, DEGREE + 1, increasing=True) for side in grey.shape)
    for k in (0, 1, 0, 1):  # what the phase of the grid's lines tells more finely
        whole = np.zeros((DEGREE + 1, DEGREE + 1))
        whole[TERMS] = fits[:, k]
        wave = np.exp(-2j * np.pi * (down @ whole @ across.T).astype(np.float32))  # (h, w)
        z = np.array([(tiles[i] * wave[y : y + TILE, x : x + TILE]).sum() for i, (x, y) in zip(which, corners[which])])
        turns = z[other] * z[one].conj()
        fits[:, k] += _robust(known[other] - known[one], np.angle(turns) / (2 * np.pi), np.sqrt(np.abs(turns)))
    places = known @ fits  # (n, 2) mm
    box = np.concatenate((places.min(0) - STEP / 2 * mean, places.max(0) + STEP / 2 * mean))
    u, v = (np.arange(box[k], box[k + 2], 1 / PX) for k in (0, 1))  # (W,), (H,) mm
    polynomials = np.zeros((2, DEGREE + 1, DEGREE + 1))
    polynomials[:, TERMS] = np.linalg.lstsq(_terms(*places.T / SCALE), points * scale, rcond=None)[0].T
    down, across = (np.vander(one / SCALE, DEGREE + 1, increasing=True) for one in (v, u))
    return [np.float32(down @ polynomials[k] @ across.T) for k in (1, 0)]


def _terms(x: np.ndarray, y: np.ndarray, slope: tuple[int, int] = (0, 0)) -> np.ndarray:
    """The terms x^i y^j of a polynomial at N points, or their slopes along x or y, (N, 21), the constant first."""
    x, y = (np.vander(values, DEGREE + 1, increasing=True) for values in (x, y))
    derived = [np.pad(one[:, :-1] * np.arange(1, DEGREE + 1), ((0, 0), (1, 0))) for one in (x, y)]
    x, y = (d if along else one for one, d, along in zip((x, y), derived, slope))
    return np.einsum("nj,ni->nji", y, x)[:, TERMS]


def _robust(rows: np.ndarray, values: np.ndarray, sure: float | np.ndarray = 1.0) -> np.ndarray:
    """Weighted least squares in which outliers lose their weight; a term that is the same everywhere gets 0."""
    weights = sure * np.ones(len(values))
    for _ in range(5):
        fit = np.linalg.lstsq(rows * weights[:, None], values * weights, rcond=None)[0]
        wrong = np.abs(values - rows @ fit)
        weights = sure / (1 + (wrong / (2 * np.median(wrong) + 1e-9)) ** 2)
    return fit


def _peak(spectrum: np.ndarray, floor: np.ndarray, centre) -> np.ndarray | None:
    """The strongest frequency (2,) near `centre`, between bins by a parabola each way; None where none stands out."""
    middle, far = len(spectrum) // 2, int(max(2, np.ceil(FAR * np.hypot(*centre))))
    x0, y0 = (max(1, middle + int(c) - far) for c in centre)
    part = np.s_[y0 : middle + int(centre[1]) + far + 1, x0 : middle + int(centre[0]) + far + 1]
    above = spectrum[part] - floor[part]
    y, x = np.unravel_index(above.argmax(), above.shape)
    strong, y, x = above[y, x] >= MIN_PEAK, y + y0, x + x0
    if not strong or max(x, y) >= len(spectrum) - 1:
        return None
    lines = spectrum[y, x - 1 : x + 2], spectrum[y - 1 : y + 2, x]
    offsets = [np.clip(0.5 * (a - c) / min(a - 2 * b + c, -1e-6), -0.5, 0.5) for a, b, c in lines]
    return np.array([x - middle, y - middle]) + offsets


def _ink(contrast: np.ndarray, at: list[np.ndarray], window: int = 60 * PX, cell: int = 5 * PX) -> np.ndarray:
    """How much of each pixel is ink of a trace or letter, 0 to 1 (H, W): what is darker than the grid at its place."""
    inside = (at[0] >= 0) & (at[1] >= 0) & (at[0] < contrast.shape[0] - 1) & (at[1] < contrast.shape[1] - 1)
    dark = ndimage.map_coordinates(contrast.min(2), at, order=1) * inside

    def usual(part):  # the grid alone: the median of what lies at the same place of a 5 mm square
        h, w = (side // cell for side in part.shape)
        square = np.median(part[: h * cell, : w * cell].reshape(h, cell, w, cell), (0, 2))  # (cell, cell)
        return np.tile(square, (h + 1, w + 1))[: part.shape[0], : part.shape[1]]

    grid = usual(dark)
    for top, left in product(range(0, dark.shape[0], window), range(0, dark.shape[1], window)):
        part = dark[top : top + window, left : left + window]
        if min(part.shape) >= 2 * cell:
            tile = grid[top : top + window, left : left + window]
            np.maximum(usual(part), tile, out=tile)
    full = np.quantile(dark[inside], 0.99)
    require(full > 0.1, "The page shows no ECG trace: give a page with a dark trace on a light grid.")
    ink = np.clip(1.25 * (dark - grid) / np.maximum(full - grid, 0.3 * full) - 0.15, 0, 1)
    blobs = ndimage.binary_opening(ink > 0.2, np.ones((2 * PX, 2 * PX)))  # thicker than any trace: a table's edge
    return np.where(ndimage.binary_dilation(blobs, iterations=PX), 0, ink)


def _unevenness(ink: np.ndarray) -> float:
    """How much the number of lines met differs between columns: little where each trace runs across all of them."""
    starts = ((ink[1:] > 0.5) & (ink[:-1] <= 0.5)).sum(0)
    here = np.flatnonzero(starts)
    if len(here) < 40 * PX:
        return np.inf
    starts = ndimage.uniform_filter1d(starts[here[0] : here[-1]].astype(float), 2 * PX)
    starts = starts[len(starts) // 10 : -len(starts) // 10]
    return float(starts.std() / starts.mean())


def _rows(ink: np.ndarray) -> np.ndarray:
    """The middles (R,) px of the rows of traces: where much of the ink lies flat."""
    steep = ndimage.binary_opening(ink > 0.5, np.ones((2 * PX, 1)))
    flat = ((ink > 0.5) & ~steep).sum(1).astype(float)  # (H,)
    flat = ndimage.gaussian_filter1d(flat, 1.5 * PX)
    rows = np.flatnonzero((flat == ndimage.maximum_filter1d(flat, 14 * PX)) & (flat > 0.25 * flat.max()))
    covered = np.array([ink[max(0, row - 5 * PX) : row + 5 * PX].max(0) > 0.5 for row in rows])  # (R, W)
    return rows[covered.sum(1) > 0.6 * np.median(covered.sum(1))]


def _traces(ink: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Follow each row's trace over the columns that all of them share: mV about the row's middle (R, L).

    The cheapest path from left to right, through every row's band at once. Its ink is the trace under a round brush:
    the upper edge, filtered by the brush's width, gives it back but for narrow dips, the lower edge but for narrow
    peaks. With it comes how much ink that is no trace lies near the left and the right end, as lead names do (2,).
    """
    require(3 <= len(rows) <= 16, NO_LAYOUT)
    padded = np.pad(ink, ((REACH, REACH), (0, 0)))
    bands = np.stack([padded[row : row + 2 * REACH + 1] for row in rows]).transpose(2, 0, 1)  # (W, R, Y)
    place = np.arange(2 * REACH + 1, dtype=np.float32) - REACH
    node = np.clip(1.5 - 2 * bands, 0, 1) + AWAY * np.abs(place)  # (W, R, Y)
    wide = ndimage.convolve1d(bands, np.ones(3), axis=0, mode="constant")  # a thin steep line may lie between columns
    gap = np.diff(rows).min(initial=REACH)  # px between neighbours
    covered = (bands[..., np.abs(place) < gap / 2] > 0.5).any(-1).mean(1) > 0.6  # (W,)
    label, count = ndimage.label(ndimage.binary_closing(np.pad(covered, 20), np.ones(5 * PX))[20:-20])
    require(count, NO_LAYOUT)
    left, right = np.flatnonzero(label == 1 + np.argmax(np.bincount(label)[1:]))[[0, -1]]
    seams = np.add.outer((left, right + 1 - LENGTH), np.arange(1, 4) * LENGTH // 4)  # where one lead may follow another
    seam = np.abs(np.subtract.outer(np.arange(len(bands)), seams.ravel())).min(1) <= 2  # (W,)
    climb = np.clip(1.5 - 2 * wide, 0, 1) * np.where(seam, LEAP, 1)[:, None, None] + ALONG
    climb = np.cumsum(climb, -1, dtype=np.float32)  # (W, R, Y)
    ends = np.where(np.abs(place) > gap / 2, BARRED, 0.0)  # a path begins and ends in its own row

    def relaxed(cost, x):
        down = np.minimum.accumulate(cost - climb[x], -1) + climb[x]
        up = np.minimum.accumulate((cost + climb[x])[..., ::-1], -1)[..., ::-1] - climb[x]
        return np.minimum(down, up)

    before, after = np.zeros_like(node), np.zeros_like(node)
    for x in range(len(node)):
        before[x] = relaxed(before[x - 1] + node[x - 1] if x else before[x] + ends, x)
    for x in range(len(node) - 1, -1, -1):
        after[x] = relaxed(node[x] + (after[x + 1] if x + 1 < len(node) else ends), x)
    total = before + after
    excess = np.where(bands > 0.3, total - total.min(-1, keepdims=True), np.inf)  # (W, R, Y)
    least = np.full(padded.shape, np.inf, np.float32).T  # (W, H + 2 REACH): of the row whose path is nearest
    for row, one in zip(rows, excess.transpose(1, 0, 2)):
        np.minimum(least[:, row : row + place.size], one, out=least[:, row : row + place.size])
    nearest = np.stack([least[:, row : row + place.size] for row in rows], 1)
    on = (excess <= SPUR) & (excess <= nearest + TIE)  # (W, R, Y): ink on the path, and not rather on another
    inked = ndimage.binary_dilation(on, np.ones((1, 1, 3))) * bands  # with its soft edges
    solid = inked > 0.5
    here = solid.any(-1)  # (W, R)
    edges = []
    for part, way in ((inked, 1), (inked[..., ::-1], -1)):  # from above, from below
        first = np.maximum((part > 0.5).argmax(-1), 1)[..., None]  # (W, R, 1)
        ends_in, beyond = (np.take_along_axis(part, first - k, -1)[..., 0] for k in (0, 1))
        edges.append(way * (first[..., 0] + 0.5 - ends_in - beyond - REACH))
    thick = max(1.0, np.median((edges[1] - edges[0])[here]))
    columns, brush = np.arange(left, right + 1), 2 * int(thick / 2) + 1
    traces = []
    for row in range(len(rows)):
        top, bottom = (np.interp(columns, np.flatnonzero(here[:, row]), edge[here[:, row], row]) for edge in edges)
        usual = ndimage.gaussian_filter1d((top + bottom) / 2, 5 * PX)
        lowest, highest = ndimage.minimum_filter1d, ndimage.maximum_filter1d
        lines, tips = [], []  # the line alone, exact where it rises or falls, and at its tips
        for edge, tip, inner in ((top + thick / 2, lowest, highest), (bottom - thick / 2, highest, lowest)):
            turns = edge == tip(edge, 2 * brush + 1)
            tips.append(highest(turns.astype(np.float32), brush))
            lines.append(np.where(turns, edge, inner(edge, brush)))
        (top, bottom), (peak, dip) = lines, tips
        farther = np.clip(0.5 + ((usual - top) - (bottom - usual)) / thick, 0, 1)
        side = np.where(peak == dip, np.where(peak > 0, farther, 0.5), peak)  # 1: the upper edge counts, 0: the lower
        traces.append(side * top + (1 - side) * bottom)
    others = ink[max(0, rows[0] - 10 * PX) : rows[-1] + 10 * PX].sum(0) - (on * bands).sum((1, 2))
    names = np.array([others[left : left + 12 * PX].sum(), others[max(0, right - 12 * PX) : right].sum()])
    return -np.stack(traces) / PX / paper.MM_PER_MV, names


def _layout(traces: np.ndarray, names: np.ndarray, degrees: int) -> Page:
    """The reading of the rows in which the limb leads obey the lead laws best. Raises BadECG when none does."""
    extra = traces.shape[1] - LENGTH
    long = f"The traces are {traces.shape[1] / PX:.0f} mm long, but 10 s at 25 mm/s are 250 mm: give the whole page."
    require(LONGER[0] <= extra <= LONGER[1], long)
    starts = (round((extra + 1) / 2),) if abs(extra) < 3 * PX else (0, extra + 1)  # a pulse stands on one side
    found = []
    for mirrored, inverted, start in product((False, True), (False, True), starts):
        backwards = mirrored != inverted  # upside down, time runs to the left
        columns = np.clip(np.arange(LENGTH) + start, 0, traces.shape[1] - 1)
        rows = traces[:, columns][:, :: -1 if backwards else 1]
        rows = -rows[::-1] if inverted else rows
        for height, order in product((3, 6, 12), ORDERS):
            if 0 <= len(rows) - height <= 3:
                share = _misfit(rows, height, order) + 0.02 * mirrored
                first, last = names[:: -1 if backwards else 1]  # names stand where leads begin
                share += 0.15 * max(0, last - first) / max(1, last + first)
                found.append((share, mirrored, inverted, height, order, rows))
    require(found, f"The page has {len(traces)} rows of traces: 3x4, 6x2 and 12x1 are read, and rhythm strips below.")
    share, mirrored, inverted, height, order, rows = min(found, key=lambda one: one[0])
    require(share <= MAX_SHARE, NO_LAYOUT)
    require(not mirrored, "The page is mirrored: give the picture as the page is read.")
    rows = np.stack([_samples(row) for row in rows])  # (R, L)
    values, width = np.full((12, rows.shape[1]), np.nan, np.float32), rows.shape[1] * height // 12
    for place, (lead, sign) in enumerate(ORDERS[order]):
        part = slice(place // height * width, (place // height + 1) * width)
        cell = rows[place % height, part].copy()
        if height < 12:
            cell[:2] = cell[-2:] = np.nan  # where leads meet, their ink is mixed
        values[LEADS.index(lead), part] = sign * (cell - np.nanmedian(cell))
    for strip in rows[height:]:
        known = ~np.isnan(values)
        r, i = max((np.corrcoef(strip[k], lead[k])[0, 1], i) for i, (lead, k) in enumerate(zip(values, known)))
        if r > 0.9:
            values[i] = np.where(np.isnan(values[i]), strip - np.median(strip), values[i])
    return Page(values, f"{height}x{12 // height}", order, (degrees + 180 * inverted) % 360)


def _samples(row: np.ndarray) -> np.ndarray:
    """A trace of one value a px as one at `HZ`, its tips kept."""
    step = PX * paper.MM_PER_S / HZ
    values = np.interp(np.arange(round(len(row) / step)) * step, np.arange(len(row)), row)
    inner = row[1:-1]
    for further in (np.maximum, np.minimum):
        at = 1 + np.flatnonzero((inner == further(inner, row[:-2])) & (inner == further(inner, row[2:])))
        further.at(values, np.minimum(np.round(at / step).astype(int), len(values) - 1), row[at])
    return values


def _misfit(rows: np.ndarray, height: int, order: str) -> float:
    """Share of the limb leads' energy that breaks the lead laws; more where waves point the wrong way, or time does."""
    smooth, width = ndimage.gaussian_filter1d(rows, 0.5 * PX, axis=1), LENGTH * height // 12
    broken = whole = 0.0
    columns = []
    for first in range(0, 6, min(height, 6)):
        limb = ORDERS[order][first : first + min(height, 6)]
        weights = np.array([np.multiply(LIMB_WEIGHTS[name], sign) for name, sign in limb])  # (k, 2)
        column = first // height
        x = smooth[first % height : first % height + len(limb), column * width : (column + 1) * width]
        x = x - np.median(x, 1, keepdims=True)
        base = np.linalg.pinv(weights) @ x  # (2, L): I and II
        broken += np.square(x - weights @ base).sum()
        whole += np.square(x).sum()
        columns.append((base, x, weights))
    require(np.ptp(smooth[: min(height, 6)], 1).max() > MIN_MV, NO_LAYOUT)
    share = broken / max(whole, 1e-9)
    if height == 3:  # the second column's beats look as the first one's laws foretell
        (base, _, _), (_, x, weights) = columns
        foretold = weights @ base
        likeness = sum(np.correlate(a, b, "same") for a, b in zip(x, foretold))
        against = max(0, -likeness.min() - likeness.max())
        share += 0.5 * against / max(np.linalg.norm(x) * np.linalg.norm(foretold), 1e-9)
    if height == 12:  # broad T waves follow narrow QRS complexes
        sharp = np.square(np.diff(smooth[:12], 2, axis=1)).sum(0)
        slow = np.square(np.diff(ndimage.gaussian_filter1d(rows[:12], PX, axis=1), axis=1)).sum(0)[:-1]
        later = sum(sharp[:-lag] @ slow[lag:] for lag in range(4 * PX, 9 * PX, PX // 2))
        earlier = sum(sharp[lag:] @ slow[:-lag] for lag in range(4 * PX, 9 * PX, PX // 2))
        share += 0.2 * max(0, earlier - later) / max(later + earlier, 1e-9)
    return float(share)
