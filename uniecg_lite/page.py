"""What does a picture of an ECG page show? Grid, turn and layout are found, and the traces followed, by rules alone.

Grid: the strongest pair of perpendicular frequencies whose lines stand every 1 mm and, stronger, every 5 mm. Traces:
what is darker than the grid; along each row the cheapest path through the ink. Layout and turn: those in which the limb
leads obey the lead laws, so no letter is read.

Shapes: h, w pixels of the picture; H, W pixels of the straightened page, `PX` per mm; R rows of traces; L samples.
"""

from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps
from scipy import fft, ndimage

from .ecg_image import MM_PER_MV, MM_PER_S, PAGE_S
from .errors import BadECG, refused, require
from .leads import CHEST, LEADS, LIMB, LIMB_WEIGHTS

MOST_PX = 2000  # of the longer side; a larger picture is made smaller
PER_SIDE = (200, 620)  # mm that the longer side may show, margins and all
TILE, STEP, MIN_PEAK = 256, 192, 0.7  # px of a square whose spectrum is taken; log power of the grid above the floor
PX, HZ = 6, 100  # px per mm of the straightened page; samples per second that are returned
LENGTH = round(PAGE_S * MM_PER_S * PX)  # px of 10 s: 1500
LONGER = (-3 * PX, 24 * PX)  # px that a row may be longer than 10 s: a calibration pulse
REACH = 28 * PX  # px above and below its row's middle that a trace is looked for
ALONG = 0.002  # cost of a pixel of ink when a path climbs along it; a pixel of paper costs 1
AWAY, LEAP, BARRED = 0.0003, 0.2, 1e4  # cost of a px from the row's middle, of one climbed from one lead to the next,
# and of an end in another row
SPUR, TIE = 0.6, 0.02  # what a detour to the tip of a peak may cost, and how much more than to the path of another row
USUAL = 0.03  # likeness that lead II has before others: it is the usual rhythm strip
MAX_SHARE = 0.06  # of the limb leads' energy that may break the lead laws
MIN_MV = 0.1  # the limb leads' largest swing at least
ORDERS = {
    "standard": [(name, 1) for name in LIMB + CHEST],
    "Cabrera": [("aVL", 1), ("I", 1), ("aVR", -1), ("II", 1), ("aVF", 1), ("III", 1), *((name, 1) for name in CHEST)],
}
NO_GRID = "No ECG grid is found in the picture: give a sharp picture of a whole ECG page, with its grid."
NO_LAYOUT = "No layout is found in which the limb leads obey the lead laws: 3x4, 6x2 and 12x1 of 10 s are read."


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
    contrast = _contrast(np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX)))
    ink = _ink(contrast.min(2), _grid(contrast.max(2)))
    reasons = []
    for quarter in sorted((0, 1), key=lambda k: _unevenness(np.rot90(ink, -k))):
        turned = np.rot90(ink, -quarter)  # clockwise
        try:
            return _layout(_traces(turned, _rows(turned)), 90 * quarter)
        except BadECG as reason:
            reasons.append(reason)
    raise reasons[0]


def _contrast(pixels: np.ndarray, block: int = 32) -> np.ndarray:
    """How much darker each channel is than the paper around it, so shadows do not matter: (h, w, 3), 0 to 1."""
    h, w = (side // block for side in pixels.shape[:2])
    blocks = pixels[: h * block : 2, : w * block : 2].reshape(h, block // 2, w, block // 2, 3)
    light = ndimage.gaussian_filter(np.percentile(blocks, 85, axis=(1, 3)).astype(np.float32), (1, 1, 0))
    whole = [
        Image.fromarray(c).resize(pixels.shape[1::-1], Image.Resampling.BILINEAR) for c in np.moveaxis(light, 2, 0)
    ]
    return np.clip(1 - pixels / np.maximum(np.stack(whole, 2), 1), 0, 1)


def _grid(grey: np.ndarray) -> np.ndarray:
    """The grid's two frequencies (2, 2) in cycles (mm) per px, each (x, y): across and down. Raises BadECG."""
    grey = np.minimum(grey, np.quantile(grey[::3, ::3], 0.95))
    places = [np.linspace(0, side - TILE, 1 + -(-(side - TILE) // STEP)).astype(int) for side in grey.shape]
    window = np.outer(*2 * [np.hanning(TILE).astype(np.float32)])
    middle = TILE // 2 - 1  # frequency 0; the axes are -middle..middle
    corners = np.array(list(product(*places)))  # (N, 2): y, x
    tiles = np.stack(
        [window * (tile - tile.mean()) for y, x in corners for tile in (grey[y : y + TILE, x : x + TILE],)]
    )
    power = np.log(np.abs(fft.fft2(tiles)) ** 2 + 1e-2).mean(0)
    power = fft.fftshift(power)[1:, 1:]
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
    first = np.array([fx.flat[best], fy.flat[best]])  # (2,) cycles per tile
    coarsely = [_peak(above, centre, middle) / TILE for centre in (first, (-first[1], first[0]))]
    return np.stack([_in_step(tiles, corners, frequency) for frequency in coarsely])


def _in_step(tiles: np.ndarray, corners: np.ndarray, frequency: np.ndarray, most: float = 0.0008) -> np.ndarray:
    """The frequency (x, y) in cycles per px within `most` of one at which the lines of all tiles are in step.

    Their phases are doubled, so that fields of grid that stand half a mm apart count as one.
    """
    place = np.arange(TILE)
    across, down = (np.exp(-2j * np.pi * one * place).astype(np.complex64) for one in frequency)
    waves = (tiles @ across @ down) * np.exp(-2j * np.pi * (corners[:, ::-1] @ frequency))  # (N,)
    doubled = waves**2 / np.maximum(np.abs(waves), 1e-9)
    steps = np.linspace(-most, most, 81)
    turns = [np.exp(-4j * np.pi * np.outer(steps, corners[:, k])) for k in (1, 0)]  # 2 of (81, N)
    x, y = np.unravel_index(np.abs((turns[0] * doubled) @ turns[1].T).argmax(), (81, 81))
    return frequency + (steps[x], steps[y])


def _peak(above: np.ndarray, centre, middle: int, near: int = 3) -> np.ndarray:
    """The strongest frequency (2,) near `centre`, between bins by a parabola each way. Raises BadECG for none."""
    x0, y0 = (int(np.clip(middle + c - near, 1, len(above) - 2 * near - 2)) for c in centre)
    part = above[y0 : y0 + 2 * near + 1, x0 : x0 + 2 * near + 1]
    y, x = np.unravel_index(part.argmax(), part.shape)
    require(part[y, x] >= MIN_PEAK, NO_GRID)
    x, y = x + x0, y + y0
    lines = above[y, x - 1 : x + 2], above[y - 1 : y + 2, x]
    offsets = [np.clip(0.5 * (a - c) / min(a - 2 * b + c, -1e-6), -0.5, 0.5) for a, b, c in lines]
    return np.array([x - middle, y - middle]) + offsets


def _ink(dark: np.ndarray, grid: np.ndarray, window: int = 60 * PX, cell: int = 5 * PX) -> np.ndarray:
    """How much of each pixel is ink of a trace or letter, 0 to 1 (H, W): what is darker than the grid at its place."""
    corners = np.array(list(product((0, dark.shape[1]), (0, dark.shape[0])))) @ grid.T  # (4, 2) mm
    low, high = corners.min(0), corners.max(0)
    size = tuple(int(side * PX) for side in high - low)
    back = np.linalg.inv(grid)  # px per mm
    start = back @ low
    how = (back[0, 0] / PX, back[0, 1] / PX, start[0], back[1, 0] / PX, back[1, 1] / PX, start[1])
    flat = Image.fromarray(dark).transform(size, Image.Transform.AFFINE, how, Image.Resampling.BILINEAR, fillcolor=-1)
    inside = np.asarray(flat) >= 0
    dark = ndimage.gaussian_filter(np.maximum(np.asarray(flat), 0), 0.8)

    def usual(part):  # the grid alone: the median of what lies at the same place of a 5 mm square
        h, w = (side // cell for side in part.shape)
        square = np.median(part[: h * cell, : w * cell].reshape(h, cell, w, cell), (0, 2))  # (cell, cell)
        return np.tile(square, (h + 1, w + 1))[: part.shape[0], : part.shape[1]]

    lines = np.zeros_like(dark)
    starts = [np.unique(np.minimum(range(0, side, window), max(0, side - window))) for side in dark.shape]
    for top, left in product(*starts):
        part = np.s_[top : top + window, left : left + window]
        lines[part] = usual(dark[part])
    above = dark - lines
    full = max(np.median(above.max(axis)[inside.any(axis)]) for axis in (0, 1))
    require(full > 0.1, "The page shows no ECG trace: give a page with a dark trace on a light grid.")
    ink = np.clip(1.25 * above / np.maximum(full - lines, 0.3 * full) - 0.15, 0, 1)
    for view in (ink, ink.T):
        _drop_crease(view)
    blobs, _ = ndimage.label(ndimage.binary_opening(ink > 0.2, np.ones((2 * PX, 2 * PX))))  # thicker than any trace
    for k, at in enumerate(ndimage.find_objects(blobs), 1):
        blobs[at][blobs[at] == k] *= max(side.stop - side.start for side in at) > 15 * PX  # a table's edge, no crossing
    return np.where(ndimage.binary_dilation(blobs > 0, iterations=PX), 0, ink).astype(np.float32)


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
    rows = np.flatnonzero((flat == ndimage.maximum_filter1d(flat, 14 * PX)) & (flat > 0.12 * flat.max()))
    covered = np.array([ink[max(0, row - 8 * PX) : row + 8 * PX].max(0) > 0.5 for row in rows])  # (R, W)
    return rows[covered.sum(1) > 0.8 * np.median(covered.sum(1))]


class Traces(NamedTuple):
    """Rows of traces in mV about their middles (R, L), one value a px; stretches of columns (N, 2) that hold pieces;
    how much ink that is no trace lies near the left and the right end (2,), as lead names do."""

    rows: np.ndarray
    pieces: np.ndarray
    names: np.ndarray


def _traces(ink: np.ndarray, rows: np.ndarray) -> Traces:
    """Follow each row's trace over the columns that most of them share.

    The cheapest path from left to right, through every row's band at once. Its ink is the trace under a round brush:
    the upper edge, filtered by the brush's width, gives it back but for narrow dips, the lower edge but for narrow
    peaks; of the two, the one farther from the row's usual height counts.
    """
    require(3 <= len(rows) <= 16, NO_LAYOUT)
    padded = np.pad(ink, ((REACH, REACH), (0, 0)))
    bands = np.stack([padded[row : row + 2 * REACH + 1] for row in rows]).transpose(2, 0, 1)  # (W, R, Y)
    place = np.arange(2 * REACH + 1, dtype=np.float32) - REACH
    gap = np.diff(rows).min(initial=REACH)  # px between neighbours
    pieces = _pieces((bands[..., np.abs(place) < 12 * PX] > 0.5).any(-1).mean(1) > 0.6)
    on = _on_path(bands, rows, place, gap, pieces)  # (W, R, Y)
    inked = ndimage.binary_dilation(on, np.ones((1, 1, 3))) * bands  # with its soft edges
    here = (inked > 0.5).any(-1)  # (W, R)
    edges = []
    for part, way in ((inked, 1), (inked[..., ::-1], -1)):  # from above, from below
        first = np.maximum((part > 0.5).argmax(-1), 1)[..., None]  # (W, R, 1)
        ends_in, beyond = (np.take_along_axis(part, first - k, -1)[..., 0] for k in (0, 1))
        edges.append(way * (first[..., 0] + 0.5 - ends_in - beyond - REACH))
    thick = max(1.0, np.quantile((edges[1] - edges[0])[here], 0.18))
    left, right = pieces[0, 0], pieces[-1, 1]
    columns = np.arange(left, right)
    brush = thick / 2 * np.linspace(-1, 1, 7)[:, None]  # px from its middle, across
    height = np.sqrt(np.maximum(thick**2 / 4 - brush**2, 0))  # of its edge there
    traces = []
    for row in range(len(rows)):
        known = np.flatnonzero(here[:, row])
        top, bottom = (np.interp(columns, known, edge[known, row]) for edge in edges)
        usual = ndimage.gaussian_filter1d((top + bottom) / 2, 5 * PX)
        upper = (np.interp(columns + brush, columns, top) + height).max(0)  # y grows downwards: narrow dips are filled
        lower = (np.interp(columns + brush, columns, bottom) - height).min(0)
        side = np.clip(0.5 + ((usual - upper) - (lower - usual)) / thick, 0, 1)  # 1: the upper one is farther away
        near = 2 * int(thick / 2) + 3
        turns = (top == ndimage.minimum_filter1d(top, near)) | (bottom == ndimage.maximum_filter1d(bottom, near))
        side = np.where(ndimage.maximum_filter1d(turns, near - 2), side, 0.5)
        traces.append(side * upper + (1 - side) * lower)
    others = ink[max(0, rows[0] - 10 * PX) : rows[-1] + 10 * PX].sum(0) - (on * bands).sum((1, 2))
    names = np.array([others[left : left + 12 * PX].sum(), others[max(0, right - 12 * PX) : right].sum()])
    return Traces(-np.stack(traces) / PX / MM_PER_MV, pieces - left, names)


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


def _on_path(bands: np.ndarray, rows: np.ndarray, place: np.ndarray, gap: float, pieces: np.ndarray) -> np.ndarray:
    """Which pixels of ink lie on each row's cheapest path, or a short detour from it, and not rather on another's."""
    node = np.clip(1.5 - 2 * bands, 0, 1) + AWAY * np.abs(place)  # (W, R, Y)
    wide = ndimage.convolve1d(bands, np.ones(3), axis=0, mode="constant")  # a thin steep line may lie between columns
    left, right = pieces[0, 0], pieces[-1, 1]
    seams = np.add.outer((left, right - LENGTH), np.arange(1, 4) * LENGTH // 4).ravel()  # where leads may meet
    seams = np.concatenate((seams, pieces[1:, 0], pieces[:-1, 1]))
    seam = np.abs(np.subtract.outer(np.arange(len(bands)), seams)).min(1) <= 2  # (W,)
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
    least = np.full((len(node), rows[-1] + place.size), np.inf, np.float32)  # of the row whose path is nearest
    for row, one in zip(rows, excess.transpose(1, 0, 2)):
        np.minimum(least[:, row : row + place.size], one, out=least[:, row : row + place.size])
    nearest = np.stack([least[:, row : row + place.size] for row in rows], 1)
    return (excess <= SPUR) & (excess <= nearest + TIE)


def _layout(traces: Traces, degrees: int) -> Page:
    """The reading of the rows in which the limb leads obey the lead laws best. Raises BadECG when none does."""
    rows, pieces, names = traces
    shown = np.ptp(pieces, 1).sum()  # px
    long = f"The traces are {shown / PX:.0f} mm long, but 10 s at 25 mm/s are 250 mm: give the whole page."
    require(LONGER[0] <= shown - LENGTH <= LONGER[1], long)
    spare = max(0, shown - LENGTH) if len(pieces) == 1 else 0
    found = []
    for mirrored, inverted, start in product((False, True), (False, True), {0, spare} if spare > PX else {0}):
        backwards = mirrored != inverted  # upside down, time runs to the left
        way = -1 if backwards else 1
        lines = (-rows[::-1] if inverted else rows)[:, ::way]
        parts = rows.shape[1] - pieces[::-1, ::-1] if backwards else pieces
        first, last = names[::way]  # names stand where leads begin
        for height, order in product((3, 6, 12), ORDERS):
            if 0 <= len(rows) - height <= 3 and len(parts) in (1, 12 // height):
                edges = parts if len(parts) > 1 else _shared(parts[0], start, spare, 12 // height)
                cut = [lines[:, round(a) : round(b)] for a, b in edges]
                share = _misfit(cut, height, order) + 0.04 * mirrored
                share += 0.02 * max(0, last - first) / max(1, last + first)
                found.append((share, mirrored, inverted, height, order, lines, edges))
    require(found, f"The page has {len(rows)} rows of traces: 3x4, 6x2 and 12x1 are read, and rhythm strips below.")
    share, mirrored, inverted, height, order, lines, edges = min(found, key=lambda one: one[0])
    require(share <= MAX_SHARE, NO_LAYOUT)
    require(not mirrored, "The page is mirrored: give the picture as the page is read.")
    columns = 12 // height
    count = round(PAGE_S * HZ) // columns
    values = np.full((12, count * columns), np.nan, np.float32)
    middles = np.median(
        lines[:, round(edges[0][0]) : round(edges[-1][1])], 1
    )  # the zero line that the pieces of a row share
    for place, (lead, sign) in enumerate(ORDERS[order]):
        k, row = divmod(place, height)
        piece = _samples(lines[row] - middles[row], edges[k], count)
        if height < 12:
            piece[:2], piece[-2:] = piece[2], piece[-3]  # where leads meet, their ink is mixed
        values[LEADS.index(lead), k * count : (k + 1) * count] = sign * piece
    shown = values.copy()
    for row in lines[height:]:
        strip = _samples(row, edges[0][0] + np.array((0, columns * np.ptp(edges[0]))), count * columns)
        r, i = max((_likeness(strip, lead) + USUAL * (i == 1), i) for i, lead in enumerate(shown))
        if r > 0.9:
            strip -= np.nanmean(strip - shown[i])  # at the height of the piece
            values[i] = np.where(np.isnan(values[i]), strip, values[i])
    return Page(values, f"{height}x{columns}", order, (degrees + 180 * inverted) % 360)


def _shared(whole: np.ndarray, start: int, spare: int, columns: int) -> np.ndarray:
    """One stretch of columns, less what is to spare, in equal pieces of 10 s in all: (columns, 2)."""
    middle = (whole.sum() - spare) / 2 + start
    ends = middle + LENGTH * np.linspace(-0.5, 0.5, columns + 1)
    return np.stack((ends[:-1], ends[1:]), 1).clip(0)


def _likeness(strip: np.ndarray, lead: np.ndarray) -> float:
    """How alike two traces are in form and size where the lead is shown: 1 for the same, up to an offset."""
    known = ~np.isnan(lead)
    a, b = strip[known] - strip[known].mean(), lead[known] - lead[known].mean()
    return float(2 * (a @ b) / max(a @ a + b @ b, 1e-9))


def _samples(row: np.ndarray, ends: np.ndarray, count: int) -> np.ndarray:
    """`count` samples at `HZ` about the middle of two columns, from one value a px."""
    places = np.mean(ends) - 0.5 + (np.arange(count) - 0.5 * count + 0.3) * PX * MM_PER_S / HZ  # a trace ends early
    return np.interp(places, np.arange(len(row)), row)


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
    require(max(np.ptp(x) for _, x, _ in columns) > MIN_MV, NO_LAYOUT)
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
        later = sum(sharp[:-lag] @ slow[lag:] for lag in range(4 * PX, 9 * PX, PX // 2))
        earlier = sum(sharp[lag:] @ slow[:-lag] for lag in range(4 * PX, 9 * PX, PX // 2))
        share += 0.2 * max(0, earlier - later) / max(later + earlier, 1e-9)
    return float(share)
