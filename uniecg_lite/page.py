"""What does a picture of an ECG page hold? Grid, turn and layout are found, and the traces digitised, by rules alone.

Grid: the strongest pair of perpendicular frequencies; their change over the picture gives the homography that
straightens it, and the phase of the lines what is left of bends. Traces: what is darker than the grid; along each row
the cheapest path through the ink. Layout and turn: the one in which the limb leads obey the lead laws; that a 12x1 page
is mirrored shows in the place of its lead names and in the T wave, which follows the QRS complex.

Shapes: h, w pixels of the picture; H, W pixels of the straightened page, `PX` per mm; R rows of traces; L samples.
"""

from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps
from scipy import ndimage, optimize

from . import ecg_image as paper
from .errors import BadECG, refused, require
from .leads import CHEST, LEADS, LIMB, LIMB_WEIGHTS

MOST_PX = 1800  # of the longer side; a larger picture is made smaller
PER_SIDE = (245, 400)  # mm that the longer side may show, margins and all
TILE, STEP, MIN_TILES, MIN_PEAK = 128, 96, 8, 3.0  # px of a square whose spectrum is taken; log power of its grid
NEAR, FAR = 0.05, 0.14  # how much the grid may differ from the fit, and over the picture, in shares of its frequency
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
    with refused(f"{path.name} is not an image that can be read ({{reason}}): give a PNG or JPEG."), Image.open(path) as stored:
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
    ink = _ink(*_straight(contrast, *_grid(contrast.max(2))))
    first = int(_unevenness(ink) > _unevenness(ink.T))  # 1: rows run from top to bottom
    reasons = []
    for quarter in (first, 1 - first):
        turned = np.rot90(ink, -quarter)  # clockwise
        try:
            return _layout(*_traces(turned, _rows(turned))[:2], 90 * quarter)
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


def _grid(grey: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The homography (3, 3) from pixels (x, y, 1) to mm, and the box (left, top, right, bottom) in mm that has a grid.

    Raises BadECG where none is found.
    """
    grey = np.minimum(grey, np.quantile(grey[::3, ::3], 0.95))
    corners = np.array([(x, y) for y in range(0, grey.shape[0] - TILE + 1, STEP)
                        for x in range(0, grey.shape[1] - TILE + 1, STEP)])  # fmt: skip
    window = np.outer(*2 * [np.hanning(TILE)]).astype(np.float32)
    tiles = np.stack([grey[y : y + TILE, x : x + TILE] for x, y in corners])
    tiles = window * (tiles - tiles.mean((1, 2), keepdims=True))
    middle = TILE // 2 - 1  # frequency 0; the axes are -middle..middle
    power = np.log(np.abs(np.fft.fftshift(np.fft.fft2(tiles), (1, 2))[:, 1:, 1:]) ** 2 + 1e-3).astype(np.float32)
    fy, fx = np.mgrid[-middle : middle + 1, -middle : middle + 1]
    radius = np.hypot(fx, fy)
    ring = radius.astype(int)
    floor = ndimage.median(power.mean(0), ring, np.arange(ring.max() + 1))[ring]  # of a frequency in any direction
    above = power.mean(0) - floor
    above = above + np.rot90(above)  # both directions

    def at(share):
        return ndimage.map_coordinates(above, (middle + share * fy, middle + share * fx), order=1)

    coarse = at(0.2) + at(0.4) - at(0.1) - at(0.3)  # lines every 5 mm have peaks at the former, not at the latter
    per_side = radius / TILE * max(grey.shape)
    possible = (fx > 0) & (np.abs(fy) <= fx) & (per_side > PER_SIDE[0]) & (per_side < PER_SIDE[1])
    best = np.where(possible, ndimage.maximum_filter(above, 3) + coarse / 2, -np.inf).argmax()
    first = np.array([fx.flat[best], fy.flat[best]])  # (2,) cycles per tile
    points, found = [], []
    for corner, spectrum in zip(corners, power):
        peaks = [_peak(spectrum, floor, centre) for centre in (first, (-first[1], first[0]))]
        if all(peak is not None for peak in peaks):
            points.append(corner + TILE / 2)
            found.append(np.concatenate(peaks) / TILE)
    require(len(found) >= MIN_TILES, NO_GRID)
    points, found = np.array(points), np.array(found)  # (N, 2), (N, 4)
    half = np.array(grey.shape[::-1]) / 2

    def off(p):
        return (_frequencies(p, (points - half) / half.max()) / half.max() - found) / np.hypot(*found[0, :2])

    start = np.concatenate((np.median(found, 0) * half.max(), (0, 0)))
    p = optimize.least_squares(lambda p: off(p).ravel(), start, loss="soft_l1", f_scale=0.01).x
    fine = np.abs(off(p)).max(1) < NEAR  # (N,)
    require(fine.sum() >= max(MIN_TILES, 0.15 * len(corners)), NO_GRID)
    centred = np.array([[1, 0, -half[0]], [0, 1, -half[1]], [0, 0, half.max()]]) / half.max()
    matrix = np.array([[p[0], p[1], 0], [p[2], p[3], 0], [p[4], p[5], 1]]) @ centred
    u, v, below = matrix @ np.vstack((points[fine].T, np.ones(fine.sum())))
    reach = (TILE / 2 + STEP) * np.hypot(*np.median(found[:, :2], 0))  # mm
    return matrix, np.array([(u / below).min() - reach, (v / below).min() - reach,
                             (u / below).max() + reach, (v / below).max() + reach])  # fmt: skip


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


def _frequencies(p: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Gradients of u = (a x + b y) / (g x + h y + 1) and v = (d x + e y) / (...) at points (N, 2): (N, 4)."""
    rows, vanishing = p[:4].reshape(2, 2), p[4:]
    below = 1 + points @ vanishing[:, None]  # (N, 1)
    places = points @ rows.T / below  # (N, 2): u, v
    return np.hstack([(rows[k] - places[:, k : k + 1] * vanishing) / below for k in (0, 1)])


def _straight(contrast: np.ndarray, matrix: np.ndarray, box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The page's darkness (H, W) with its grid lying flat, `PX` per mm, and where the picture shows it (H, W) bool.

    Bends that the homography leaves are taken off by a polynomial whose gradient is that of the grid lines' phase.
    """
    u, v = (np.arange(box[k], box[k + 2], 1 / PX) for k in (0, 1))  # (W,), (H,) mm
    inverse, size = np.linalg.inv(matrix), 8 * PX  # px of a block
    middle, scale = (box[:2] + box[2:]) / 2, np.ptp(box.reshape(2, 2), axis=0).max() / 2
    terms = np.isin(np.add.outer(range(4), range(4)), (1, 2, 3))  # powers of v and of u
    weights = np.zeros((2, 4, 4))  # of the shift along u and along v, in mm

    def powers(along, axis):
        return np.vander((along - middle[axis]) / scale, 4, increasing=True)

    def slopes(along, axis):
        return np.pad(powers(along, axis)[:, :3] * (1, 2, 3), ((0, 0), (1, 0))) / scale

    def places():
        x, y = (one - powers(v, 1) @ w @ powers(u, 0).T for one, w in zip((u, v[:, None]), weights))  # (H, W)
        x, y, below = (np.float32(row[0] * x + row[1] * y + row[2]) for row in inverse)
        return y / below, x / below

    h, w = len(v) // size, len(u) // size
    require(min(h, w) > 3, NO_GRID)
    for _ in range(2):
        lines = ndimage.map_coordinates(contrast.max(2), places(), order=1)
        lines = np.minimum(lines, np.quantile(lines[::3, ::3], 0.95))
        lines -= ndimage.uniform_filter(lines, 2 * PX)
        for k, along in enumerate((u, v[:, None])):
            wave = lines * np.exp(-2j * np.pi * along).astype(np.complex64)
            wave = wave[: h * size, : w * size].reshape(h, size, w, size).sum((1, 3))  # (h, w)
            blocks = [one[: n * size].reshape(n, size).mean(1) for one, n in ((u, w), (v, h))]
            between = [(one[1:] + one[:-1]) / 2 for one in blocks]
            designs = slopes(between[1], 1), powers(blocks[0], 0), powers(blocks[1], 1), slopes(between[0], 0)
            rows = np.vstack([np.einsum("yj,xi->yxji", *pair)[..., terms].reshape(-1, terms.sum())
                              for pair in (designs[:2], designs[2:])])  # fmt: skip
            turns = np.concatenate([(wave[1:] * wave[:-1].conj()).ravel(), (wave[:, 1:] * wave[:, :-1].conj()).ravel()])
            slope, sure = np.angle(turns) / (2 * np.pi) * PX / size, np.sqrt(np.abs(turns))
            sure = np.minimum(sure, np.median(sure))
            for _ in range(3):
                fit = np.linalg.lstsq(rows * sure[:, None], slope * sure, rcond=None)[0]
                wrong = np.abs(slope - rows @ fit)
                sure = sure / (1 + (wrong / (2 * np.median(wrong) + 1e-6)) ** 2)
            weights[k][terms] += fit
    at = places()
    inside = (at[0] >= 0) & (at[1] >= 0) & (at[0] < contrast.shape[0] - 1) & (at[1] < contrast.shape[1] - 1)
    return ndimage.map_coordinates(contrast.min(2), at, order=1), inside


def _ink(dark: np.ndarray, inside: np.ndarray, window: int = 60 * PX, cell: int = 5 * PX) -> np.ndarray:
    """How much of each pixel is ink of a trace or letter, 0 to 1 (H, W): what is darker than the grid at its place."""
    def usual(part):  # the grid alone: the median of what lies at the same place of a 5 mm square
        h, w = (side // cell for side in part.shape)
        square = np.median(part[: h * cell, : w * cell].reshape(h, cell, w, cell), (0, 2))  # (cell, cell)
        return np.tile(square, (h + 1, w + 1))[: part.shape[0], : part.shape[1]]

    grid = usual(dark)
    for top, left in product(range(0, dark.shape[0], window), range(0, dark.shape[1], window)):
        part = dark[top : top + window, left : left + window]
        if min(part.shape) >= 2 * cell:
            grid[top : top + window, left : left + window] = np.maximum(usual(part), grid[top : top + window, left : left + window])
    dark = np.where(inside, dark, 0)
    full = np.quantile(dark[inside], 0.99)
    require(full > 0.1, "The page shows no ECG trace: give a page with a dark trace on a light grid.")
    return np.clip(1.25 * (dark - grid) / np.maximum(full - grid, 0.3 * full) - 0.15, 0, 1)


def _unevenness(ink: np.ndarray) -> float:
    """How much the number of lines met differs between the columns: little where every trace runs across all of them."""
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

    The cheapest path from left to right, through every row's band at once. Its ink is the trace under a round brush: the
    upper edge filtered by the brush's width gives it back but for narrow dips, the lower edge but for narrow peaks.
    With it comes how much ink that is no trace lies near the left and the right end, as lead names do (2,).
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
        lines = []  # the line alone: exact where it rises or falls
        for edge, wide, narrow in ((top + thick / 2, ndimage.minimum_filter1d, ndimage.maximum_filter1d),
                                   (bottom - thick / 2, ndimage.maximum_filter1d, ndimage.minimum_filter1d)):  # fmt: skip
            lines.append(np.where(edge == wide(edge, 2 * brush + 1), edge, narrow(edge, brush)))  # and at its tips
        top, bottom = lines
        up, down = usual - top, bottom - usual
        side = np.clip(0.5 + (up - down) / thick, 0, 1)  # the tip that lies farther off
        traces.append(side * top + (1 - side) * bottom)
    others = ink.copy()
    for row, path in zip(rows, on.transpose(1, 2, 0)):
        inner = np.s_[max(0, row - REACH) : row + REACH + 1]
        wide = ndimage.binary_dilation(path, iterations=2)[REACH - min(REACH, row) :][: len(others[inner])]
        others[inner][wide] = 0
    others = others[max(0, rows[0] - 10 * PX) : rows[-1] + 10 * PX].sum(0)
    names = np.array([others[left : left + 12 * PX].sum(), others[max(0, right - 12 * PX) : right].sum()])
    return -np.stack(traces) / PX / paper.MM_PER_MV, names, left


def _layout(traces: np.ndarray, names: np.ndarray, degrees: int) -> Page:
    """The reading of the rows in which the limb leads obey the lead laws best. Raises BadECG when none does."""
    extra = traces.shape[1] - LENGTH
    long = f"The traces are {traces.shape[1] / PX:.0f} mm long, but 10 s at 25 mm/s are 250 mm: give the whole page."
    require(LONGER[0] <= extra <= LONGER[1], long)
    starts = (extra // 2,) if abs(extra) < 3 * PX else (0, extra)  # a pulse stands on one side
    found = []
    for mirrored, inverted, start in product((False, True), (False, True), starts):
        backwards = mirrored != inverted  # upside down, time runs to the left
        columns = np.clip(np.arange(LENGTH) + start, 0, traces.shape[1] - 1)
        rows = traces[:, columns][:, :: -1 if backwards else 1]
        rows = -rows[::-1] if inverted else rows
        for height, order in product((3, 6, 12), ORDERS):
            if 0 <= len(rows) - height <= 3:
                share = _misfit(rows, height, order) + 0.05 * mirrored
                share += 0.1 * names[1 - backwards] / max(1, names.sum())
                found.append((share, mirrored, inverted, height, order, rows))
    require(found, f"The page has {len(traces)} rows of traces: 3x4, 6x2 and 12x1, with or without rhythm strips, are read.")
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
        shown = [(np.corrcoef(strip[k], lead[k])[0, 1], i) for i, lead in enumerate(values) if (k := ~np.isnan(lead)).any()]
        r, i = max(shown)
        if r > 0.9:
            values[i] = np.where(np.isnan(values[i]), strip - np.median(strip), values[i])
    return Page(values, f"{height}x{12 // height}", order, (degrees + 180 * inverted) % 360)


def _samples(row: np.ndarray) -> np.ndarray:
    """A trace of one value a px as one at `HZ`, its tips kept."""
    step = PX * paper.MM_PER_S / HZ
    values = np.interp(np.arange(round(len(row) / step)) * step, np.arange(len(row)), row)
    inner = row[1:-1]
    for tips, further in (((inner >= row[:-2]) & (inner >= row[2:]), np.maximum), ((inner <= row[:-2]) & (inner <= row[2:]), np.minimum)):
        at = 1 + np.flatnonzero(tips)
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
        share += 0.1 * (1 - likeness.max() / max(np.linalg.norm(x) * np.linalg.norm(foretold), 1e-9))
    if height == 12:  # broad T waves follow narrow QRS complexes
        sharp = np.square(np.diff(smooth[:12], 2, axis=1)).sum(0)
        slow = np.square(np.diff(ndimage.gaussian_filter1d(rows[:12], PX, axis=1), axis=1)).sum(0)[:-1]
        later = sum(sharp[:-lag] @ slow[lag:] for lag in range(4 * PX, 9 * PX, PX // 2))
        earlier = sum(sharp[lag:] @ slow[:-lag] for lag in range(4 * PX, 9 * PX, PX // 2))
        share += 0.1 * earlier / max(later + earlier, 1e-9)
    return float(share)
