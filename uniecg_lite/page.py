"""What does a picture of an ECG page hold? Grid, turn and layout are found, and the traces digitised, by rules alone.

Grid: the strongest pair of perpendicular frequencies; their change over the picture gives the homography that
straightens it, so a tilt or a photograph's perspective goes with it. Traces: what is dark in all colour channels; along
each row the cheapest path through the ink. Layout and turn: the one in which the limb leads obey the lead laws; that a
12x1 page is mirrored shows in the T wave, which follows the QRS complex.

Shapes: h, w pixels of the picture; H, W pixels of the straightened page; R rows of traces; L samples.
"""

from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from scipy import ndimage, optimize

from . import ecg_image as paper
from .errors import BadECG, require
from .leads import CHEST, LEADS, LIMB, LIMB_WEIGHTS

MOST_PX = 1700  # of the longer side; a larger picture is made smaller
PER_SIDE = (240, 500)  # mm that the longer side may show, margins and all
TILE, MIN_TILES, MIN_PEAK = 128, 8, 3.0  # px of a square whose spectrum is taken; tiles with a grid; log power
NEAR, FAR = 0.05, 0.14  # how much the grid may differ from the fit, and over the picture, in shares of its frequency
PX = 4  # per mm of the straightened page, so that one column is 10 ms
SAMPLES = round(paper.PAGE_S * paper.MM_PER_S * PX)  # 1000
LENGTH_MM = (243.0, 272.0)  # of a row: 10 s, with or without a calibration pulse
REACH = 25 * PX  # px above and below its row's middle that a trace is looked for
ALONG = 0.01  # cost of a pixel of ink when a path climbs along it; a pixel of paper costs 1
SPUR = 0.5  # what a detour to the tip of a peak may cost
MAX_SHARE = 0.15  # of the limb leads' energy that may break the lead laws
ORDERS = {
    "standard": [(name, 1) for name in LIMB + CHEST],
    "Cabrera": [("aVL", 1), ("I", 1), ("aVR", -1), ("II", 1), ("aVF", 1), ("III", 1), *((name, 1) for name in CHEST)],
}
NO_GRID = "No ECG grid is found in the picture: give a sharp picture of a whole ECG page, with its grid."


class Page(NamedTuple):
    """What was read: signal (12, 1000) mV at 100 Hz, NaN where the page shows nothing; rows x columns, order of leads."""

    signal: np.ndarray
    layout: str
    order: str
    degrees: int


def read(pixels: np.ndarray) -> Page:
    """Digitise a picture of an ECG page, (h, w, 3) uint8, at 25 mm/s and 10 mm/mV.

    Raises BadECG with the reason when it is no page of 10 s in a known layout, or mirrored.
    """
    scale = min(1, MOST_PX / max(pixels.shape[:2]))
    size = [round(side * scale) for side in pixels.shape[1::-1]]
    require(min(size) > TILE, NO_GRID)
    pixels = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX))
    contrast = _contrast(pixels)
    matrix, region = _grid(contrast.max(2))
    dark = contrast.min(2)
    full = np.quantile(dark[region], 0.993)
    require(full > 0.1, "The page shows no ECG trace: give a page with a dark trace on a light grid.")
    ink = np.where(region, np.clip(2 * dark / full - 0.5, 0, 1), 0)  # (h, w)
    ink, turned = _straight(ink, matrix)
    traces, ends = _traces(ink, _rows(ink))
    return _layout(traces, ends, turned)


def ink(signal: np.ndarray) -> torch.Tensor:
    """Draw a page's signal (12, 1000) as the raster that phi_v reads, (1, 256, 500) uint8, blank where it is unknown."""
    usual = np.nanmedian(signal, 1, keepdims=True)  # (12, 1)
    image = paper.raster(torch.from_numpy(np.where(np.isnan(signal), usual, signal))[None])[0]
    for lead, strip, start, seconds in paper.segments():
        unknown = np.isnan(signal[LEADS.index(lead)]).reshape(-1, 2).all(1)  # (W,)
        first = round(start * paper.MM_PER_S * paper.PX_PER_MM)
        part = slice(first, first + round(seconds * paper.MM_PER_S * paper.PX_PER_MM))
        rows = slice(strip * paper.STRIP_PX, (strip + 1) * paper.STRIP_PX)
        image[0, rows, part][:, torch.from_numpy(unknown[part])] = 0
    return image


def _contrast(pixels: np.ndarray, block: int = 32) -> np.ndarray:
    """How much darker each channel is than the paper around it, so shadows do not matter: (h, w, 3), 0 to 1."""
    h, w = (side // block for side in pixels.shape[:2])
    blocks = pixels[: h * block : 2, : w * block : 2].reshape(h, block // 2, w, block // 2, 3)
    light = ndimage.gaussian_filter(np.percentile(blocks, 85, axis=(1, 3)), (1, 1, 0))  # (h / 32, w / 32, 3)
    whole = [Image.fromarray(c.astype(np.float32)).resize(pixels.shape[1::-1], Image.Resampling.BILINEAR)
             for c in np.moveaxis(light, 2, 0)]  # fmt: skip
    return np.clip(1 - pixels / np.maximum(np.stack(whole, 2), 1), 0, 1)


def _grid(grey: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The homography (3, 3) from pixels (x, y, 1) to grid periods, and where the grid is (h, w) bool. Raises BadECG."""
    grey = np.minimum(grey, np.quantile(grey, 0.95))
    corners = [(y, x) for y in range(0, grey.shape[0] - TILE + 1, TILE // 2)
               for x in range(0, grey.shape[1] - TILE + 1, TILE // 2)]  # fmt: skip
    window = np.outer(*2 * [np.hanning(TILE)])
    power = []
    for y, x in corners:
        tile = grey[y : y + TILE, x : x + TILE]
        power.append(np.log(np.abs(np.fft.fftshift(np.fft.fft2(window * (tile - tile.mean()))))[1:, 1:] ** 2 + 1e-3))
    power = np.stack(power)  # (N, T - 1, T - 1), frequency 0 in the middle
    middle = TILE // 2 - 1
    fy, fx = np.mgrid[-middle : middle + 1, -middle : middle + 1]
    radius = np.hypot(fx, fy)
    ring = radius.astype(int)
    floor = ndimage.median(power.mean(0), ring, np.arange(ring.max() + 1))  # of each frequency, whatever its direction
    above = ndimage.maximum_filter(power.mean(0) - floor[ring], 3)
    both = above + np.rot90(above)
    per_side = radius / TILE * max(grey.shape)
    both[(fx <= 0) | (np.abs(fy) > fx) | (per_side < PER_SIDE[0]) | (per_side > PER_SIDE[1])] = -np.inf
    first = np.array([fx.flat[both.argmax()], fy.flat[both.argmax()]])  # (2,) cycles per tile
    points, found = [], []
    for (y, x), spectrum in zip(corners, power):
        peaks = [_peak(spectrum - floor[ring], fx, fy, centre) for centre in (first, (-first[1], first[0]))]
        if all(peak is not None for peak in peaks):
            points.append((x + TILE / 2, y + TILE / 2))
            found.append(np.concatenate(peaks) / TILE)
    require(len(found) >= MIN_TILES, NO_GRID)
    points, found = np.array(points), np.array(found)  # (N, 2), (N, 4)
    half = np.array(grey.shape[::-1]) / 2

    def off(p):
        return (_frequencies(p, (points - half) / half.max()) / half.max() - found) / np.hypot(*found[0, :2])

    start = np.concatenate((np.median(found, 0) * half.max(), (0, 0)))
    best = optimize.least_squares(lambda p: off(p).ravel(), start, loss="soft_l1", f_scale=0.02)
    fine = np.abs(off(best.x)).max(1) < NEAR  # (N,)
    require(fine.sum() >= max(MIN_TILES, 0.15 * len(corners)), NO_GRID)
    region = np.zeros(grey.shape, bool)
    for x, y in (points[fine] - TILE / 2).astype(int):
        region[y : y + TILE, x : x + TILE] = True
    a, b, d, e, g, h = best.x
    centred = np.array([[1, 0, -half[0]], [0, 1, -half[1]], [0, 0, half.max()]]) / half.max()
    return np.array([[a, b, 0], [d, e, 0], [g, h, 1]]) @ centred, region


def _peak(spectrum: np.ndarray, fx: np.ndarray, fy: np.ndarray, centre) -> np.ndarray | None:
    """The strongest frequency (2,) near `centre`, between bins by a parabola each way; None where none stands out."""
    near = np.hypot(fx - centre[0], fy - centre[1]) < max(2, FAR * np.hypot(*centre))
    y, x = np.unravel_index(np.where(near, spectrum, -np.inf).argmax(), spectrum.shape)
    if spectrum[y, x] < MIN_PEAK or not (0 < y < len(spectrum) - 1 and 0 < x < len(spectrum) - 1):
        return None
    offsets = []
    for a, b, c in (spectrum[y, x - 1 : x + 2], spectrum[y - 1 : y + 2, x]):
        offsets.append(np.clip(0.5 * (a - c) / min(a - 2 * b + c, -1e-6), -0.5, 0.5))
    return np.array([fx[y, x], fy[y, x]]) + offsets


def _frequencies(p: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Gradients of u = (a x + b y) / (g x + h y + 1) and v = (d x + e y) / (...) at points (N, 2): (N, 4)."""
    rows, vanishing = p[:4].reshape(2, 2), p[4:]
    below = 1 + points @ vanishing[:, None]  # (N, 1)
    places = points @ rows.T / below  # (N, 2): u, v
    return np.hstack([(rows[k] - places[:, k : k + 1] * vanishing) / below for k in (0, 1)])


def _straight(ink: np.ndarray, matrix: np.ndarray) -> tuple[np.ndarray, bool]:
    """The ink at `PX` per mm with its rows lying flat (H, W), and whether it was turned by 90 degrees for that."""
    y, x = np.nonzero(ink > 0.5)
    spread = []
    for quarter in (np.eye(3), np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 1]])):
        u, v, below = quarter @ matrix @ np.stack((x, y, np.ones_like(x)))
        counts = np.histogram(v / below, 150)[0]
        spread.append((counts.std() / counts.mean(), quarter @ matrix, np.stack((u, v)) / below))
    turned = int(spread[1][0] > spread[0][0])
    _, matrix, places = spread[turned]
    (left, top), (right, bottom) = np.quantile(places, (0.001, 0.999), axis=1)
    long = f"The traces are {right - left:.0f} mm long, but 10 s at 25 mm/s are 250 mm: give the whole page."
    require(LENGTH_MM[0] <= right - left <= LENGTH_MM[1], long)
    pad = 5.0
    require((bottom - top) < 2 * (right - left), "The picture is too tall for an ECG page: give one page.")
    v, u = np.mgrid[top - pad : bottom + pad : 1 / PX, left - pad : right + pad : 1 / PX]  # (H, W)
    x, y, below = np.linalg.inv(matrix) @ np.stack((u.ravel(), v.ravel(), np.ones(u.size)))
    flat = ndimage.map_coordinates(ink, np.stack((y, x)) / below, order=1, mode="constant")
    return flat.reshape(u.shape), bool(turned)


def _rows(ink: np.ndarray) -> np.ndarray:
    """The middles (R,) px of the rows of traces: where much of the ink lies flat. Raises BadECG for another number."""
    steep = ndimage.binary_opening(ink > 0.5, np.ones((2 * PX, 1)))
    flat = ((ink > 0.5) & ~steep).sum(1).astype(float)  # (H,)
    flat = ndimage.gaussian_filter1d(flat, 1.5 * PX)
    return np.flatnonzero((flat == ndimage.maximum_filter1d(flat, 14 * PX)) & (flat > 0.25 * flat.max()))


def _traces(ink: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Follow each row's trace: mV about the row's middle (R, W), and its first and last column (R, 2).

    The cheapest path from left to right, through every row's band at once; a column's sample is the end of its ink that
    lies farther from the middle, so peaks keep their height.
    """
    padded = np.pad(1 - ink, ((REACH, REACH), (0, 0)), constant_values=1)
    bands = np.stack([padded[row : row + 2 * REACH + 1] for row in rows]).transpose(2, 0, 1)  # (W, R, Y)
    away = np.abs(np.arange(-REACH, REACH + 1))
    node, climb = bands + 0.001 * away / PX, np.cumsum(bands + ALONG, -1)  # (W, R, Y)

    def relaxed(cost, x):
        down = np.minimum.accumulate(cost - climb[x], -1) + climb[x]
        up = np.minimum.accumulate((cost + climb[x])[..., ::-1], -1)[..., ::-1] - climb[x]
        return np.minimum(down, up)

    before, after = np.zeros_like(node), np.zeros_like(node)
    for x in range(len(node)):
        before[x] = relaxed(before[x - 1] + node[x - 1] if x else before[x], x)
    for x in range(len(node) - 1, -1, -1):
        after[x] = relaxed(node[x] + (after[x + 1] if x + 1 < len(node) else 0), x)
    total = before + after
    on = (total <= total.min(-1, keepdims=True) + SPUR) & (bands < 0.5)  # (W, R, Y): ink on the path
    weight = on * (1 - bands)
    place = np.arange(2 * REACH + 1) - REACH
    thick = np.median(on.sum(-1)[on.any(-1)])
    centre = (weight * place).sum(-1) / np.maximum(weight.sum(-1), 1e-6)  # (W, R)
    top, bottom = on.argmax(-1) - REACH + thick / 2 - 0.5, REACH - on[..., ::-1].argmax(-1) - thick / 2 + 0.5
    extreme = np.where(np.abs(top) > np.abs(bottom), top, bottom)
    y = np.where(on.sum(-1) > 2 * thick, extreme, centre)
    traces, ends = [], []
    for trace, here in zip(y.T, on.any(-1).T):
        label, count = ndimage.label(ndimage.binary_closing(np.pad(here, 20), np.ones(5 * PX))[20:-20])
        longest = 1 + np.argmax(np.bincount(label)[1:]) if count else 0
        ends.append(np.flatnonzero(label == longest)[[0, -1]])
        traces.append(np.interp(np.arange(len(trace)), np.flatnonzero(here), trace[here]) if here.any() else trace)
    return -np.stack(traces) / PX / paper.MM_PER_MV, np.array(ends)


def _layout(traces: np.ndarray, ends: np.ndarray, turned: bool) -> Page:
    """The reading of the rows in which the limb leads obey the lead laws best."""
    left, right = np.median(ends, 0).astype(int)
    found = []
    for mirrored in (False, True):
        for inverted in (False, True):
            if mirrored == inverted:  # upright, or upside down and mirrored: time runs to the right
                rows = traces[:, max(0, right + 1 - SAMPLES) : right + 1]
            else:
                rows = traces[:, left : left + SAMPLES][:, ::-1]
            rows = -rows[::-1] if inverted else rows
            rows = np.pad(rows, ((0, 0), (SAMPLES - rows.shape[1], 0)), mode="edge")
            for height in (3, 6, 12):
                if len(rows) in (height, height + 1):
                    for order in ORDERS:
                        found.append((_misfit(rows, height, order), mirrored, inverted, height, order, rows))
    require(found, f"The page has {len(traces)} rows of traces: only 3x4, 6x2 and 12x1, with or without a rhythm strip, are read.")
    share, mirrored, inverted, height, order, rows = min(found, key=lambda one: one[0])
    require(share <= MAX_SHARE, "No layout is found in which the limb leads obey the lead laws: 3x4, 6x2 and 12x1 are read.")
    require(not mirrored, "The page is mirrored: give the picture as the page is read.")
    values = np.full((12, SAMPLES), np.nan, np.float32)
    width = SAMPLES * height // 12
    for place, (lead, sign) in enumerate(ORDERS[order]):
        part = slice(place // height * width, (place // height + 1) * width)
        values[LEADS.index(lead), part] = sign * rows[place % height, part]
    if len(rows) > height:
        ii = values[LEADS.index("II")]
        here = ~np.isnan(ii)
        if np.corrcoef(ii[here], rows[-1, here])[0, 1] > 0.8:
            ii[~here] = rows[-1, ~here]
    return Page(values, f"{height}x{12 // height}", order, 180 * inverted + 90 * turned)


def _misfit(rows: np.ndarray, height: int, order: str) -> float:
    """Share of the limb leads' energy that breaks the lead laws; more where waves point the wrong way, or time does."""
    width = SAMPLES * height // 12
    smooth = ndimage.uniform_filter1d(rows, 3, axis=1)
    broken, whole, skew = 0.0, 0.0, []
    for first in range(0, 6, min(height, 6)):
        names = ORDERS[order][first : first + min(height, 6)]
        weights = np.array([np.multiply(LIMB_WEIGHTS[name], sign) for name, sign in names])  # (k, 2)
        column = first // height
        x = smooth[first % height : first % height + len(names), column * width : (column + 1) * width]
        x = x - np.median(x, 1, keepdims=True)
        base = np.linalg.pinv(weights) @ x  # (2, L): I and II
        broken += np.square(x - weights @ base).sum()
        whole += np.square(x).sum()
        skew.append((base, x, weights))
    share = broken / max(whole, 1e-9)
    if height == 3:
        (base, _, _), (_, x, weights) = skew
        share += 0.5 * ((((weights @ base) ** 3).mean(1) @ (x**3).mean(1)) < 0)
    if height == 12:
        sharp = np.square(np.diff(smooth[:12], 2, axis=1)).sum(0)
        slow = np.square(np.diff(ndimage.gaussian_filter1d(rows[:12], 4, axis=1), axis=1)).sum(0)[:-1]
        later, earlier = (sum(sharp[:-lag] @ slow[lag:] for lag in range(18, 36)), sum(sharp[lag:] @ slow[:-lag] for lag in range(18, 36)))
        share += 0.5 * (later < earlier)
    return float(share)
