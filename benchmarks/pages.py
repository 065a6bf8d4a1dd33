"""Are pictures of ECG pages read, and other pictures refused? `python benchmarks/pages.py [pages a kind] [others]`.

Pages are drawn here, by none of the package's own code: each layout, with and without a rhythm strip and a calibration
pulse, in several colours (grey too), widths and px/mm; then distorted as by a scanner or a camera. The ECGs are
simulated, or the WFDB records in the folder UNIECG_REAL_ECG when `--real` is given. Writes results/pages.json.

A page is read rightly when every lead that it shows correlates by .95 or more with the truth and spans its height
within 10 %, where and while the page shows it. All leads may be shifted together by up to 40 ms: at which moment a page
begins means nothing.
"""

import io
import json
import os
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from scipy import ndimage

from uniecg_lite import page
from uniecg_lite.errors import BadECG
from uniecg_lite.leads import LEADS

LAYOUTS = {"3x4": (3, False), "6x2": (6, False), "12x1": (12, False), "Cabrera": (6, True)}  # rows, Cabrera order
CABRERA = ["aVL", "I", "-aVR", "II", "aVF", "III", *LEADS[6:]]
SPACING = {3: (30, 42), 6: (22, 28), 12: (18, 24)}  # mm between rows
GRIDS = [("#ffd5d5", "#f59a9a"), ("#f7d9c4", "#e8a87c"), ("#dedede", "#b0b0b0"), ("#cfe8cf", "#8fc48f"),
         ("#cfe0f7", "#8db4e8")]  # fmt: skip
TRACES = ["black", "#101060", "#303030", "#202040", "#053005"]
LAG = 4  # samples
DISTORTIONS = ("turned", "tilted", "shadow", "fold", "noise", "scan in grey", "photograph")
OTHERS = ("sales chart", "bars", "graph paper", "curves on graph paper", "text", "noise", "photograph", "blank",
          "table", "staves")  # fmt: skip
MIN_R, HEIGHTS = 0.95, (0.9, 1.1)


def records(count: int, real: bool = False, first: int = 0) -> np.ndarray:
    """ECGs (count, 12, 1000) in mV at 100 Hz: simulated ones, or those of UNIECG_REAL_ECG, evenly over its records."""
    if not real:
        from uniecg_lite.simulator.simulate import simulate

        return simulate(7, first + torch.arange(count)).signal.numpy()
    from uniecg_lite.ecg import ECG

    names = sorted(path.with_suffix("") for path in Path(os.environ["UNIECG_REAL_ECG"]).rglob("*.hea"))
    found = []
    for name in names[:: max(1, len(names) // (2 * count))]:
        try:
            found.append(ECG.load(name).standard().signal)
        except BadECG:
            continue
    return np.stack(found[:count])


def draw(signal: np.ndarray, layout: str, rng: np.random.Generator, px: float | None = None, rhythm: bool = False):
    """A page of (12, 1000) mV in a style of its own, and what it shows: picture, (12, 1000) with NaN elsewhere."""
    height, cabrera = LAYOUTS[layout]
    height = int(rng.choice((3, 6, 12))) if cabrera else height
    names, rows, spacing = CABRERA if cabrera else LEADS, height + rhythm, rng.uniform(*SPACING[height])
    wide, high = rng.uniform(268, 297), rows * spacing + rng.uniform(25, 40)
    left, top = rng.uniform(10, wide - 254), rng.uniform(18, 24) + spacing / 2
    px = 2 * (px or rng.uniform(4.5, 9))  # drawn twice as large
    sheet = Image.new("RGB", (round(wide * px), round(high * px)), "white")
    pen, edge = ImageDraw.Draw(sheet), rng.choice((0.0, 4.0))
    for step, colour, thick in zip(
        (1, 5), GRIDS[rng.integers(len(GRIDS))], (rng.uniform(0.1, 0.18), rng.uniform(0.18, 0.3))
    ):
        for x in np.arange(edge, wide - edge + 0.1, step):
            pen.line([(x * px, edge * px), (x * px, (high - edge) * px)], colour, max(1, round(thick * px)))
        for y in np.arange(edge, high - edge + 0.1, step):
            pen.line([(edge * px, y * px), ((wide - edge) * px, y * px)], colour, max(1, round(thick * px)))
    colour, thick, ink = (
        TRACES[rng.integers(len(TRACES))],
        rng.uniform(0.25, 0.5),
        rng.choice(("black", "#444444", "#2040a0")),
    )
    font, small = (ImageFont.load_default(size * px) for size in (rng.uniform(2.5, 3.8), 3))
    seen, width, pulse = np.full_like(signal, np.nan), 1000 * height // 12, rng.random() < 0.5 and left > 14

    def line(x, y):
        pen.line([(a, b) for a, b in zip(x * px, y * px)], colour, max(1, round(thick * px)), joint="curve")

    pieces = [(k // height * width, width, k % height, name) for k, name in enumerate(names)]
    for start, length, row, name in pieces + rhythm * [(0, 1000, height, "II")]:
        lead, y, x = LEADS.index(name.lstrip("-")), top + row * spacing, left + (start + np.arange(length)) / 4
        values = signal[lead, start : start + length]
        seen[lead, start : start + length] = values
        line(x, y - 10 * (values - np.median(signal[lead])) * (-1 if name[0] == "-" else 1))
        pen.text(((x[0] + 1) * px, (y - min(0.45 * spacing, 10)) * px), name, ink, font)
        if pulse and start == 0:
            line(left - 7 + np.array((0, 1, 1, 6, 6, 7)), y - np.array((0, 0, 10, 10, 0, 0)))
    pen.text((left * px, 6 * px), "Name: ________   25 mm/s  10 mm/mV  0.05-150 Hz", ink, small)
    return sheet.reduce(2), seen


def perspective(picture: Image.Image, corners: np.ndarray, background) -> Image.Image:
    """The picture with its corners moved by (4, 2) px: upper left, upper right, lower right, lower left."""
    w, h = picture.size
    source = np.array([(0, 0), (w, 0), (w, h), (0, h)], float)
    rows, values = [], []
    for (x, y), (u, v) in zip(source + corners, source):
        rows += [(x, y, 1, 0, 0, 0, -u * x, -u * y), (0, 0, 0, x, y, 1, -v * x, -v * y)]
        values += [u, v]
    return picture.transform((w, h), Image.Transform.PERSPECTIVE, np.linalg.solve(rows, values),
                             Image.Resampling.BICUBIC, fillcolor=background)  # fmt: skip


def jpeg(picture: Image.Image, quality: int) -> Image.Image:
    """The picture after it was stored as a JPEG."""
    out = io.BytesIO()
    picture.save(out, format="JPEG", quality=quality)
    return Image.open(out).convert("RGB")


def distort(picture: Image.Image, kind: str, rng: np.random.Generator) -> Image.Image:
    """A page after one of `DISTORTIONS`."""
    w, h = picture.size
    if kind == "turned":
        return picture.rotate(int(rng.choice((90, 180, 270))), expand=True)
    if kind == "tilted":
        return picture.rotate(rng.uniform(-8, 8), Image.Resampling.BICUBIC, expand=True, fillcolor="white")
    if kind == "scan in grey":
        return jpeg(picture.convert("L").filter(ImageFilter.GaussianBlur(0.6)).convert("RGB"), 75)
    y, x = np.mgrid[0:h, 0:w].astype(np.float32) / max(w, h)
    angle = rng.uniform(0, 2 * np.pi)
    along = np.cos(angle) * (x - x.mean()) + np.sin(angle) * (y - y.mean())
    pixels = np.asarray(picture, np.float32)
    if kind == "noise":
        return jpeg(Image.fromarray(np.clip(pixels + rng.normal(0, 18, pixels.shape), 0, 255).astype(np.uint8)), 70)
    shade = 1 - rng.uniform(0.3, 0.55) / (1 + np.exp(-along / rng.uniform(0.02, 0.1)))  # (h, w)
    if kind == "fold":  # a dark crease, one side darker and shifted along it a little
        place = rng.uniform(-0.2, 0.2)
        shade = 1 - 0.35 * np.exp(-0.5 * ((along - place) / 0.0015) ** 2) - 0.12 * (along > place)
        bend = rng.uniform(-0.004, 0.004) * max(w, h) * np.abs(along - place)
        at = (y * max(w, h) + bend * np.sin(angle), x * max(w, h) + bend * np.cos(angle))
        pixels = np.stack(
            [ndimage.map_coordinates(c, at, order=1, mode="nearest") for c in np.moveaxis(pixels, 2, 0)], 2
        )
    if kind == "photograph":  # from aslant, on a table, lit from one side, a little curled and out of focus
        moved = rng.uniform(-0.04, 0.04, (4, 2)) * (w, h)
        table = tuple(int(c) for c in rng.integers(40, 140, 3))
        framed = Image.new("RGB", (round(1.12 * w), round(1.12 * h)), table)
        framed.paste(picture, (round(0.06 * w), round(0.06 * h)))
        framed = perspective(framed.rotate(rng.uniform(-4, 4), Image.Resampling.BICUBIC, fillcolor=table), moved, table)
        framed = framed.resize((w, h), Image.Resampling.LANCZOS).filter(ImageFilter.GaussianBlur(0.7))
        pixels = np.asarray(framed, np.float32) + rng.normal(0, 5, (h, w, 1))
    lit = Image.fromarray(np.clip(pixels * shade[..., None], 0, 255).astype(np.uint8))
    return jpeg(lit, int(rng.integers(60, 90)))


def judge(read: np.ndarray, true: np.ndarray) -> tuple[bool, str]:
    """Whether a page's signal (12, 1000) is the true one, NaN where it shows nothing, and the worst lead in words."""
    best, time = None, np.arange(read.shape[1])
    both = ~np.isnan(read) & ~np.isnan(true)
    heights = {name: np.ptp(a[k]) / np.ptp(b[k]) if k.any() else 0 for name, a, b, k in zip(LEADS, read, true, both)}
    for lag in np.arange(-LAG, LAG + 0.1, 0.25):
        moved = np.stack([np.interp(time - lag, time, one, left=np.nan, right=np.nan) for one in read])
        leads = []
        for name, a, b in zip(LEADS, moved, true):
            both = ~np.isnan(a) & ~np.isnan(b)
            if both.sum() < 0.9 * (~np.isnan(b)).sum():
                leads.append((-1.0, 0.0, name))
                continue
            leads.append((np.corrcoef(a[both], b[both])[0, 1], heights[name], name))
        right = all(r >= MIN_R and HEIGHTS[0] <= ratio <= HEIGHTS[1] for r, ratio, _ in leads)
        key = right, np.mean([r for r, _, _ in leads])
        if best is None or key > best[0]:
            best = key, lag, leads
    (right, mean), lag, leads = best
    bad = [f"{n} {r:.2f} {h:.2f}" for r, h, n in leads if not (r >= MIN_R and HEIGHTS[0] <= h <= HEIGHTS[1])]
    return bool(right), f"mean r {mean:.3f}, shift {lag}; {', '.join(bad)}"


def outcome(picture: Image.Image, true: np.ndarray) -> tuple[str, str]:
    """`right`, `wrong` or `refused`, and the details."""
    try:
        found = page.read(np.asarray(picture))
    except BadECG as reason:
        return "refused", str(reason)
    right, details = judge(found.signal, true)
    return "right" if right else "wrong", f"{found.layout} {found.order} {found.degrees}: {details}"


def chart(rng: np.random.Generator, w: int, h: int, bars: bool) -> Image.Image:
    """Sales by quarter: lines or bars in one to four panels, most of them on a fine coloured grid."""
    picture = Image.new("RGB", (w, h), "white")
    pen, panels, step = ImageDraw.Draw(picture), int(rng.integers(1, 5)), int(rng.integers(5, 40))
    for k in range(panels):
        top, bottom, left, right = (k + 0.15) * h / panels, (k + 0.9) * h / panels, 0.07 * w, 0.97 * w
        for x in np.arange(left, right, step):
            pen.line((x, top, x, bottom), "#f0b0b0")
        for y in np.arange(top, bottom, step):
            pen.line((left, y, right, y), "#f0b0b0")
        pen.text((left, top - 0.05 * h), "Sales by quarter", "black", font_size=18)
        for _ in range(int(rng.integers(1, 5))):
            values = rng.normal(0, 1, 60).cumsum()
            y = bottom - (values - values.min()) / np.ptp(values) * (bottom - top)
            x = np.linspace(left, right, 60)
            colour = "black" if rng.random() < 0.5 else tuple(rng.integers(0, 200, 3).tolist())
            if bars:
                for a, b in zip(x[::5], y[::5]):
                    pen.rectangle((a, b, a + 0.03 * w, bottom), colour)
            else:
                pen.line(list(zip(x, y)), colour, 3)
    return picture


def other(kind: str, rng: np.random.Generator) -> Image.Image:
    """A picture that holds no ECG."""
    w, h = 1200, 760
    if kind in ("sales chart", "bars"):
        return chart(rng, w, h, kind == "bars")
    if kind == "noise":
        return Image.fromarray(rng.integers(0, 255, (h, w, 3), dtype=np.uint8))
    if kind == "photograph":
        layers = [
            ndimage.zoom(rng.normal(0, 1, (-(-h // s), -(-w // s), 3)), (s, s, 1), order=1)[:h, :w]
            for s in (1, 4, 20, 100)
        ]
        return jpeg(Image.fromarray(np.clip(128 + 35 * sum(layers), 0, 255).astype(np.uint8)), 85)
    if kind == "blank":
        return Image.new("RGB", (w, h), tuple(rng.integers(150, 255, 3).tolist()))
    picture = Image.new("RGB", (w, h), "white")
    pen = ImageDraw.Draw(picture)
    if "graph paper" in kind:
        step = 4
        for k in range(0, w, step):
            colour = "#f2a9b6" if k % (5 * step) == 0 else "#fbdde2"
            pen.line((k, 0, k, h), colour)
            pen.line((0, k, w, k), colour)
    if kind == "curves on graph paper":  # as many as an ECG has, and as long
        x, rows = np.arange(250 * step), int(rng.choice((3, 4, 6, 12)))
        for row in range(rows):
            wave = np.sin(x / rng.uniform(5, 60) + rng.uniform(0, 6)) + ndimage.gaussian_filter1d(
                rng.normal(0, 4, x.size), 4
            )
            y = (row + 0.5) * h / rows + rng.uniform(0.05, 0.3) * h / rows * wave
            pen.line(list(zip(x + (w - x.size) / 2, y)), "black", 2)
    if kind in ("text", "table"):
        for y in range(20, h - 20, 22):
            words = ("".join(rng.choice(list("aeinorstlV123"), rng.integers(2, 9))) for _ in range(26))
            pen.text((40, y), " ".join(words), "black", font_size=16)
    if kind == "table":
        for k in range(0, w, int(rng.integers(40, 90))):
            pen.line((k, 0, k, h), "grey")
            pen.line((0, k, w, k), "grey")
    if kind == "staves":
        for top in range(60, h - 90, int(rng.integers(90, 130))):
            for k in range(5):
                pen.line((60, top + 10 * k, w - 60, top + 10 * k), "black", 2)
            for x in np.arange(120, w - 80, rng.uniform(25, 50)):
                y = top + 5 * int(rng.integers(-1, 9))
                pen.ellipse((x, y, x + 13, y + 10), fill="black")
                pen.line((x + 12, y + 5, x + 12, y - 30), "black", 2)
    return picture


def measure(pages: int, others: int = 200, real: bool = False, report=None) -> dict:
    """Counts by kind: `pages` of each layout as rendered, as many of each distortion (its layouts in turn), as many
    upside down and mirrored, and `others` pictures that are no ECG."""
    counts: dict[str, Counter] = {}

    def add(group, name, what, details):
        counts.setdefault(group, {}).setdefault(name, Counter())[what] += 1
        if report:
            report(group, name, what, details)

    groups = [("rendered", name) for name in LAYOUTS] + [("distorted", name) for name in DISTORTIONS]
    groups += [("flipped", name) for name in ("upside down", "mirrored")]
    signals = records(pages * len(groups), real)
    for i, signal in enumerate(signals):
        (group, kind), k = groups[i % len(groups)], i // len(groups)
        rng = np.random.default_rng(i)
        layout = kind if group == "rendered" else list(LAYOUTS)[(i + k) % len(LAYOUTS)]
        picture, true = draw(signal, layout, rng, rhythm=bool(k % 2))
        if group == "distorted":
            picture = distort(picture, kind, rng)
        elif group == "flipped":
            picture = (
                picture.rotate(180) if kind == "upside down" else picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            )
        what, details = outcome(picture, true)
        add(group, kind, {"right": "accepted", "wrong": "accepted"}.get(what, what) if kind == "mirrored" else what,
            f"{layout}: {details}")  # fmt: skip
    for i in range(others):
        kind, rng = OTHERS[i % len(OTHERS)], np.random.default_rng(10**6 + i)
        try:
            found = page.read(np.asarray(other(kind, rng)))
            add("no ECG", kind, "accepted", f"{found.layout} {found.order}")
        except BadECG as reason:
            add("no ECG", kind, "refused", str(reason))
    return counts


def shares(counts: dict) -> dict:
    """The figures: shares read rightly, wrongly and refused of a group; of pictures that are no ECG, accepted."""
    out = {}
    for group, kinds in counts.items():
        total = sum(kinds.values(), Counter())
        out[group] = {what: round(count / total.total(), 4) for what, count in sorted(total.items())} | {
            "n": total.total()
        }
    return out


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:] if word.isdigit()]
    counts = measure(
        *(numbers or [8]), real="--real" in sys.argv, report=lambda *row: print(*row, sep=" | ", flush=True)
    )
    table = {"records": "real" if "--real" in sys.argv else "simulated", "shares": shares(counts), "counts": counts}
    path = Path(__file__).parent.parent / "results" / ("pages.real.json" if "--real" in sys.argv else "pages.json")
    path.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(table["shares"], indent=1))
