"""Where do the traces of an ECG page run? Its picture is laid straight by the grid, and each row of ink is followed.

Grid: the strongest pair of perpendicular frequencies whose lines stand every 1 mm and, stronger, every 5 mm. Ink: what
is darker than the grid. Trace: along each row the cheapest path through the ink.

Shapes: h, w pixels of the picture; H, W pixels of the straightened page, `PX` per mm; R rows of traces, Y pixels above
and below a row's middle; N tiles of the picture, or pieces of traces.
"""

from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy import fft, ndimage

from .ecg_image import MM_PER_MV, MM_PER_S, PAGE_S
from .errors import require

PER_SIDE = (200, 620)  # mm that the longer side may show, margins and all
TILE, STEP, MIN_PEAK = 256, 192, 0.7  # px of a square whose spectrum is taken; log power of the grid above the floor
PX = 6  # px per mm of the straightened page
LENGTH = round(PAGE_S * MM_PER_S * PX)  # px of 10 s: 1500
REACH = 28 * PX  # px above and below its row's middle that a trace is looked for
ALONG = 0.002  # cost of a pixel of ink when a path climbs along it; a pixel of paper costs 1
AWAY, LEAP = 0.0003, 0.2  # cost of a px from the row's middle, of one climbed from one lead to the next
SPUR, TIE = 0.6, 0.02  # what a detour to the tip of a peak may cost, and how much more than to the path of another row
NO_GRID = "No ECG grid is found in the picture: give a sharp picture of a whole ECG page, with its grid."
NO_LAYOUT = "No layout is found in which the limb leads obey the lead laws: 3x4, 6x2 and 12x1 of 10 s are read."


class Traces(NamedTuple):
    """Rows of traces in mV about their middles (R, L), one value a px; stretches of columns (N, 2) that hold pieces;
    how much ink that is no trace lies near the left and the right end (2,), as lead names do."""

    rows: np.ndarray
    pieces: np.ndarray
    names: np.ndarray


def find_ink(pixels: np.ndarray) -> np.ndarray:
    """How much of each pixel of the straightened page is ink of a trace or a letter: (H, W) float32, 0 to 1.

    `pixels` (h, w, 3) uint8, each side of `TILE` at least. Raises BadECG where there is no grid or no ink.
    """
    contrast = _contrast(pixels)
    dark, inside = _straightened(contrast.min(2), _grid(contrast.max(2)))
    lines = _lines(dark)
    above = dark - lines
    full = max(np.median(above.max(axis)[inside.any(axis)]) for axis in (0, 1))
    require(full > 0.1, "The page shows no ECG trace: give a page with a dark trace on a light grid.")
    ink = np.clip(1.25 * above / np.maximum(full - lines, 0.3 * full) - 0.15, 0, 1)
    for view in (ink, ink.T):
        _drop_crease(view)
    blobs, _ = ndimage.label(ndimage.binary_opening(ink > 0.2, np.ones((2 * PX, 2 * PX))))  # thicker than any trace
    sides = np.array([max(side.stop - side.start for side in at) for at in ndimage.find_objects(blobs)])
    table = np.isin(blobs, 1 + np.flatnonzero(sides > 15 * PX))  # that the page lies on; no crossing is as long
    return np.where(ndimage.binary_dilation(table, iterations=PX), 0, ink).astype(np.float32)


def _contrast(pixels: np.ndarray, block: int = 32) -> np.ndarray:
    """How much darker each channel is than the paper around it, so shadows do not matter: (h, w, 3), 0 to 1."""
    h, w = (side // block for side in pixels.shape[:2])
    blocks = pixels[: h * block : 2, : w * block : 2].reshape(h, block // 2, w, block // 2, 3)
    light = ndimage.gaussian_filter(np.percentile(blocks, 85, axis=(1, 3)).astype(np.float32), (1, 1, 0))
    scale = np.divide(pixels.shape, light.shape)
    light = ndimage.zoom(light, scale, order=1, mode="nearest", grid_mode=True)  # (h, w, 3)
    return np.clip(1 - pixels / np.maximum(light, 1), 0, 1)


def _grid(grey: np.ndarray) -> np.ndarray:
    """The grid's two frequencies (2, 2) in cycles (mm) per px, each (x, y): across and down. Raises BadECG."""
    grey = np.minimum(grey, np.quantile(grey[::3, ::3], 0.95))
    places = [np.linspace(0, side - TILE, 1 + -(-(side - TILE) // STEP)).astype(int) for side in grey.shape]
    corners = np.array(list(product(*places)))  # (N, 2): y, x
    tiles = sliding_window_view(grey, (TILE, TILE))[tuple(corners.T)]  # (N, TILE, TILE)
    window = np.hanning(TILE).astype(np.float32)
    tiles = (tiles - tiles.mean((1, 2), keepdims=True)) * np.outer(window, window)
    power = np.log(np.abs(fft.fft2(tiles)) ** 2 + 1e-2).mean(0)
    power = fft.fftshift(power)[1:, 1:]
    middle = TILE // 2 - 1  # frequency 0; the axes are -middle..middle
    fy, fx = np.mgrid[-middle : middle + 1, -middle : middle + 1]
    radius = np.hypot(fx, fy)
    ring = radius.astype(int)
    above = power - ndimage.median(power, ring, np.arange(ring.max() + 1))[ring]  # a frequency's usual power
    both = above + np.rot90(above)  # in both directions
    tenth = [ndimage.map_coordinates(both, (middle + k / 10 * fy, middle + k / 10 * fx), order=1) for k in range(6)]
    coarse = tenth[2] + tenth[4] - tenth[1] - tenth[3]  # lines every 5 mm have peaks at the former, not at the latter
    per_side = radius / TILE * max(grey.shape)
    possible = (fx > 0) & (np.abs(fy) <= 0.7 * fx) & (per_side > PER_SIDE[0]) & (per_side < PER_SIDE[1])
    best = np.where(possible, ndimage.maximum_filter(both, 3) + coarse / 2 - tenth[5] / 2, -np.inf).argmax()
    x, y = fx.flat[best], fy.flat[best]  # cycles per tile
    coarsely = [_peak(above, centre, middle) / TILE for centre in ((x, y), (-y, x))]
    return np.stack([_in_step(tiles, corners, frequency) for frequency in coarsely])


def _peak(above: np.ndarray, centre: tuple[int, int], middle: int, near: int = 3) -> np.ndarray:
    """The strongest frequency (2,) near `centre`, between bins by a parabola each way. Raises BadECG for none."""
    x0, y0 = (int(np.clip(middle + c - near, 1, len(above) - 2 * near - 2)) for c in centre)
    part = above[y0 : y0 + 2 * near + 1, x0 : x0 + 2 * near + 1]
    y, x = np.unravel_index(part.argmax(), part.shape)
    require(part[y, x] >= MIN_PEAK, NO_GRID)
    x, y = x + x0, y + y0
    lines = above[y, x - 1 : x + 2], above[y - 1 : y + 2, x]
    offsets = [np.clip(0.5 * (a - c) / min(a - 2 * b + c, -1e-6), -0.5, 0.5) for a, b, c in lines]
    return np.array([x - middle, y - middle]) + offsets


def _in_step(tiles: np.ndarray, corners: np.ndarray, frequency: np.ndarray, most: float = 0.0008) -> np.ndarray:
    """The frequency (x, y) in cycles per px within `most` of one at which the lines of all tiles are in step.

    Their phases are doubled, so that fields of grid that stand half a mm apart count as one.
    """
    place = np.arange(TILE)
    across, down = (np.exp(-2j * np.pi * one * place).astype(np.complex64) for one in frequency)
    waves = (tiles @ across @ down) * np.exp(-2j * np.pi * (corners[:, ::-1] @ frequency))  # (N,)
    doubled = waves**2 / np.maximum(np.abs(waves), 1e-9)
    steps = np.linspace(-most, most, 81)
    in_y, in_x = (np.exp(-4j * np.pi * np.outer(steps, corner)) for corner in corners.T)  # (81, N)
    x, y = np.unravel_index(np.abs((in_x * doubled) @ in_y.T).argmax(), (81, 81))
    return frequency + (steps[x], steps[y])


def _straightened(dark: np.ndarray, grid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Darkness (h, w) with the grid upright, `PX` per mm, and which of its pixels the picture holds: both (H, W)."""
    corners = np.array(list(product((0, dark.shape[1]), (0, dark.shape[0])))) @ grid.T  # (4, 2) mm
    low, high = corners.min(0), corners.max(0)
    size = tuple((PX * (high - low)[::-1]).astype(int))
    back = np.linalg.inv(PX * grid)[::-1, ::-1]  # px of the picture per px of the page, y before x
    start = back @ (PX * low[::-1] + 0.5) - 0.5  # pixels lie about their middles
    flat = ndimage.affine_transform(dark, back, start, size, order=1, cval=-1)
    return ndimage.gaussian_filter(np.maximum(flat, 0), 0.8), flat >= 0


def _lines(dark: np.ndarray, window: int = 60 * PX, cell: int = 5 * PX) -> np.ndarray:
    """The darkness (H, W) of the grid alone: in each window the median of all places alike in their 5 mm squares."""
    lines = np.zeros_like(dark)
    starts = [np.unique(np.minimum(range(0, side, window), max(0, side - window))) for side in dark.shape]
    for top, left in product(*starts):
        at = np.s_[top : top + window, left : left + window]
        h, w = (side // cell for side in dark[at].shape)
        squares = dark[at][: h * cell, : w * cell].reshape(h, cell, w, cell)
        repeated = np.tile(np.median(squares, (0, 2)), (h + 1, w + 1))
        lines[at] = repeated[: lines[at].shape[0], : lines[at].shape[1]]
    return lines


def _drop_crease(ink: np.ndarray, bands: int = 12, most: float = 0.06) -> None:
    """Take out, in place, a straight line of ink that runs nearly upright from the page's upper edge to its lower."""
    height, slopes = len(ink) // bands, np.linspace(-most, most, 25)
    wide = ndimage.maximum_filter1d(ink[: height * bands], 5, axis=1)
    wide = wide.reshape(bands, height, -1)
    full, dark = (wide > 0.15).mean(1), wide.mean(1)  # (bands, W)
    scores = []
    for slope in slopes:
        ways = np.rint(np.arange(ink.shape[1]) + slope * height * (np.arange(bands)[:, None] + 0.5)).astype(int)
        moved, shade = (np.take_along_axis(one, np.clip(ways, 0, ink.shape[1] - 1), 1) for one in (full, dark))
        through = np.minimum(moved[0], moved[-1]) > 0.9  # traces end before the edges
        scores.append(shade.mean(0) * (through & (np.sort(moved, 0)[1] > 0.6)))  # all but one band
    which, x = np.unravel_index(np.argmax(scores), (len(slopes), ink.shape[1]))
    if scores[which][x]:
        rows = np.arange(len(ink))
        columns = np.rint(x + slopes[which] * rows).astype(int) + np.arange(-5, 6)[:, None]
        ink[rows, np.clip(columns, 0, ink.shape[1] - 1)] = 0


def unevenness(ink: np.ndarray) -> float:
    """How much the number of lines met differs between columns of ink (H, W): little where traces run across them."""
    starts = ((ink[1:] > 0.5) & (ink[:-1] <= 0.5)).sum(0)
    here = np.flatnonzero(starts)
    if len(here) < 40 * PX:
        return np.inf
    starts = ndimage.uniform_filter1d(starts[here[0] : here[-1]].astype(float), 2 * PX)
    starts = starts[len(starts) // 10 : -len(starts) // 10]
    return float(starts.std() / starts.mean())


def follow(ink: np.ndarray) -> Traces:
    """Follow each row's trace through the ink (H, W), over the columns that most rows share. Raises BadECG for none.

    The cheapest path from left to right, through every row's band at once; its ink is the trace under a round brush.
    """
    rows = _rows(ink)
    require(3 <= len(rows) <= 16, NO_LAYOUT)
    padded = np.pad(ink, ((REACH, REACH), (0, 0)))
    bands = np.stack([padded[row : row + 2 * REACH + 1] for row in rows]).transpose(2, 0, 1)  # (W, R, Y)
    near = bands[..., REACH - 12 * PX + 1 : REACH + 12 * PX]
    pieces = _pieces((near > 0.5).any(-1).mean(1) > 0.6)
    on = _on_path(bands, rows, pieces)  # (W, R, Y)
    inked = ndimage.binary_dilation(on, np.ones((1, 1, 3))) * bands  # with its soft edges
    left, right = pieces[0, 0], pieces[-1, 1]
    others = ink[max(0, rows[0] - 10 * PX) : rows[-1] + 10 * PX].sum(0) - (on * bands).sum((1, 2))
    names = np.array([others[left : left + 12 * PX].sum(), others[max(0, right - 12 * PX) : right].sum()])
    return Traces(-_brushed(inked, left, right) / PX / MM_PER_MV, pieces - left, names)


def _rows(ink: np.ndarray) -> np.ndarray:
    """The middles (R,) px of the rows of traces: where much of the ink lies flat."""
    steep = ndimage.binary_opening(ink > 0.5, np.ones((2 * PX, 1)))
    flat = ((ink > 0.5) & ~steep).sum(1).astype(float)  # (H,)
    flat = ndimage.gaussian_filter1d(flat, 1.5 * PX)
    rows = np.flatnonzero((flat == ndimage.maximum_filter1d(flat, 14 * PX)) & (flat > 0.12 * flat.max()))
    covered = np.array([ink[max(0, row - 8 * PX) : row + 8 * PX].max(0) > 0.5 for row in rows])  # (R, W)
    return rows[covered.sum(1) > 0.8 * np.median(covered.sum(1))]


def _pieces(covered: np.ndarray) -> np.ndarray:
    """The columns (N, 2), from and to, that pieces of traces fill: 4 or 2 alike with gaps between, or one stretch."""
    label, _ = ndimage.label(ndimage.binary_closing(np.pad(covered, 20), np.ones(3 * PX // 2))[20:-20])
    ends = np.array([(at[0].start, at[0].stop) for at in ndimage.find_objects(label)]).reshape(-1, 2)
    ends = ends[np.ptp(ends, 1) > 15 * PX]
    require(len(ends), NO_LAYOUT)
    least, most = np.quantile(np.ptp(ends, 1), (0, 1))
    if len(ends) not in (2, 4) or most - least > 12 * PX:
        return np.array([[ends[0, 0], ends[-1, 1]]])
    ends[0, 0], ends[-1, 1] = max(ends[0, 0], ends[0, 1] - least), min(ends[-1, 1], ends[-1, 0] + least)  # no pulse
    return ends


def _on_path(bands: np.ndarray, rows: np.ndarray, pieces: np.ndarray) -> np.ndarray:
    """Which pixels of ink (W, R, Y) lie on each row's cheapest path, or a short detour from it, and on no other's."""
    place = np.abs(np.arange(2 * REACH + 1, dtype=np.float32) - REACH)  # px from the row's middle
    node = np.clip(1.5 - 2 * bands, 0, 1) + AWAY * place  # (W, R, Y)
    wide = ndimage.convolve1d(bands, np.ones(3), axis=0, mode="constant")  # a thin steep line may lie between columns
    left, right = pieces[0, 0], pieces[-1, 1]
    seams = np.add.outer((left, right - LENGTH), np.arange(1, 4) * LENGTH // 4).ravel()  # where leads may meet
    seams = np.concatenate((seams, pieces[1:, 0], pieces[:-1, 1]))
    seam = np.abs(np.subtract.outer(np.arange(len(bands)), seams)).min(1) <= 2  # (W,)
    climb = np.clip(1.5 - 2 * wide, 0, 1) * np.where(seam, LEAP, 1)[:, None, None] + ALONG
    climb = np.cumsum(climb, -1, dtype=np.float32)  # (W, R, Y)
    barred = np.where(place > np.diff(rows).min(initial=REACH) / 2, 1e4, 0)  # a path begins and ends in its own row

    def relaxed(cost, x):
        down = np.minimum.accumulate(cost - climb[x], -1) + climb[x]
        up = np.minimum.accumulate((cost + climb[x])[..., ::-1], -1)[..., ::-1] - climb[x]
        return np.minimum(down, up)

    before, after = np.zeros_like(node), np.zeros_like(node)
    for x in range(len(node)):
        before[x] = relaxed(before[x - 1] + node[x - 1] if x else barred, x)
    for x in reversed(range(len(node))):
        after[x] = relaxed(node[x] + (after[x + 1] if x + 1 < len(node) else barred), x)
    total = before + after
    excess = np.where(bands > 0.3, total - total.min(-1, keepdims=True), np.inf)  # (W, R, Y)
    least = np.full((len(node), rows[-1] + place.size), np.inf, np.float32)  # of the row whose path is nearest
    windows = sliding_window_view(least, place.size, 1, writeable=True)  # (W, first y, Y)
    for k, row in enumerate(rows):
        np.minimum(windows[:, row], excess[:, k], out=windows[:, row])
    return (excess <= SPUR) & (excess <= windows[:, rows] + TIE)


def _brushed(inked: np.ndarray, left: int, right: int) -> np.ndarray:
    """The heights (R, right - left), px below their rows' middles, of the lines that a round brush drew as this ink.

    The upper edge, filtered by the brush's width, gives a line back but for narrow dips, the lower edge but for narrow
    peaks; of the two, the one farther from the row's usual height counts.
    """
    here = (inked > 0.5).any(-1)  # (W, R)
    require(here.any(0).all(), NO_LAYOUT)
    edges = []
    for part, way in ((inked, 1), (inked[..., ::-1], -1)):  # from above, from below
        first = np.maximum((part > 0.5).argmax(-1), 1)[..., None]  # (W, R, 1)
        ends_in, beyond = (np.take_along_axis(part, first - k, -1)[..., 0] for k in (0, 1))
        edges.append(way * (first[..., 0] + 0.5 - ends_in - beyond - REACH))
    thick = max(1.0, np.quantile((edges[1] - edges[0])[here], 0.18))
    columns = np.arange(left, right)
    brush = thick / 2 * np.linspace(-1, 1, 7)[:, None]  # px from its middle, across
    height = np.sqrt(np.maximum(thick**2 / 4 - brush**2, 0))  # of its edge there
    near = 2 * int(thick / 2) + 3
    heights = []
    for row in range(inked.shape[1]):
        known = np.flatnonzero(here[:, row])
        top, bottom = (np.interp(columns, known, edge[known, row]) for edge in edges)
        usual = ndimage.gaussian_filter1d((top + bottom) / 2, 5 * PX)
        upper = (np.interp(columns + brush, columns, top) + height).max(0)  # y grows downwards: narrow dips are filled
        lower = (np.interp(columns + brush, columns, bottom) - height).min(0)
        side = np.clip(0.5 + ((usual - upper) - (lower - usual)) / thick, 0, 1)  # 1: the upper one is farther away
        turns = (top == ndimage.minimum_filter1d(top, near)) | (bottom == ndimage.maximum_filter1d(bottom, near))
        side = np.where(ndimage.maximum_filter1d(turns, near - 2), side, 0.5)
        heights.append(side * upper + (1 - side) * lower)
    return np.stack(heights)
