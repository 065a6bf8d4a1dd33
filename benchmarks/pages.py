"""Are pictures of ECG pages read, and other pictures refused? `python benchmarks/pages.py [pages] [file.json]`.

Pages are drawn here with matplotlib, by none of the package's own code: four layouts, with and without a rhythm strip,
in many colours, fonts, widths and resolutions; then distorted as by a scanner or a camera. The ECGs are the records in
the folder UNIECG_REAL_ECG (WFDB, searched below it too), else simulated ones.

A page is read rightly when 10 of 12 leads correlate by 0.9 or more with the true ones (all leads shifted together by
up to 40 ms: where a picture begins means nothing), and the heart rate is within 2 bpm, or 5 where only 2.5 s are shown.
"""

import io
import json
import os
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFilter
from scipy import ndimage

from uniecg_lite import page
from uniecg_lite.beats import heart_rate
from uniecg_lite.ecg import ECG
from uniecg_lite.errors import BadECG
from uniecg_lite.leads import LEADS
from uniecg_lite.simulator.simulate import simulate

LAYOUTS = {"3x4": (3, False), "6x2": (6, False), "12x1": (12, False), "Cabrera": (6, True)}  # rows, Cabrera order
CABRERA = ["aVL", "I", "-aVR", "II", "aVF", "III", *LEADS[6:]]
GRIDS = [("#ffd5d5", "#f59a9a"), ("#f7d9c4", "#e8a87c"), ("#dedede", "#b0b0b0"), ("#cfe8cf", "#8fc48f"),
         ("#cfe0f7", "#8db4e8")]  # fmt: skip
TRACES = ["black", "#101060", "#303030", "#202040", "#053005"]
FONTS = ["DejaVu Sans", "DejaVu Serif", "DejaVu Sans Mono", "STIXGeneral"]
LAG = 4  # samples
DISTORTIONS = ("turn", "tilt", "shadow", "fold", "noise", "photograph", "scan in grey")
OTHERS = ("line chart", "bars", "graph paper", "curves on graph paper", "text", "noise", "photograph", "blank", "table",
          "shapes")  # fmt: skip


def records(count: int) -> list[np.ndarray]:
    """ECGs (12, 1000) in mV at 100 Hz: from UNIECG_REAL_ECG, evenly over its records, or simulated."""
    folder = os.environ.get("UNIECG_REAL_ECG")
    if not folder:
        return list(simulate(0, torch.arange(count)).signal.numpy())
    names = sorted(path.with_suffix("") for path in Path(folder).rglob("*.hea"))
    found = []
    for name in names[:: max(1, len(names) // (2 * count))]:
        try:
            found.append(ECG.load(name).standard().signal)
        except BadECG:
            continue
    return found[:count]


def picture_of(figure: Figure) -> Image.Image:
    """A figure as an RGB picture."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def draw(signal: np.ndarray, layout: str, rhythm: bool, rng: np.random.Generator) -> tuple[Image.Image, np.ndarray]:
    """A page of (12, 1000) mV in a style of its own, and what it shows: (12, 1000), NaN elsewhere."""
    height, cabrera = LAYOUTS[layout]
    if cabrera:
        height = int(rng.choice((3, 6, 12)))
    names = CABRERA if cabrera else list(LEADS)
    rows = height + rhythm
    spacing = {3: rng.uniform(30, 42), 6: rng.uniform(22, 28), 12: rng.uniform(14, 18)}[height]  # mm
    wide, high = rng.uniform(268, 297), rows * spacing + rng.uniform(25, 40)
    left = rng.uniform(10, wide - 254)
    figure = Figure(figsize=(wide / 25.4, high / 25.4), dpi=int(rng.integers(110, 210)), facecolor="white")
    axis = figure.add_axes((0, 0, 1, 1), xlim=(0, wide), ylim=(0, high))
    axis.axis("off")
    fine, coarse = GRIDS[rng.integers(len(GRIDS))]
    edge = rng.choice((0.0, 4.0))
    for step, colour, thick in ((1, fine, rng.uniform(0.3, 0.5)), (5, coarse, rng.uniform(0.5, 0.9))):
        axis.vlines(np.arange(edge, wide - edge + 0.1, step), edge, high - edge, colour, linewidths=thick)
        axis.hlines(np.arange(edge, high - edge + 0.1, step), edge, wide - edge, colour, linewidths=thick)
    colour, font = TRACES[rng.integers(len(TRACES))], FONTS[rng.integers(len(FONTS))]
    thick, ink = rng.uniform(0.7, 1.5), rng.choice(("black", "#444444", "#2040a0"))
    top = high - rng.uniform(18, 24) - spacing / 2
    centred = signal - np.median(signal, 1, keepdims=True)
    seen = np.full_like(signal, np.nan)
    width = 1000 * height // 12
    pulse = rng.random() < 0.5 and left > 14
    pieces = [(k // height * width, width, k % height, name) for k, name in enumerate(names)]
    for start, length, row, name in pieces + rhythm * [(0, 1000, height, "II")]:
        lead = LEADS.index(name.lstrip("-"))
        y = top - row * spacing
        x = left + (start + np.arange(length)) / 4
        values = centred[lead, start : start + length]
        seen[lead, start : start + length] = signal[lead, start : start + length]
        axis.plot(x, y + 10 * values * (-1 if name[0] == "-" else 1), color=colour, linewidth=thick)
        axis.text(x[0] + 1, y + min(0.3 * spacing, 8), name, family=font, fontsize=rng.uniform(7, 11), color=ink)
        if pulse and start == 0:
            axis.plot(left - 7 + np.array((0, 1, 1, 6, 6, 7)), y + np.array((0, 0, 10, 10, 0, 0)), colour, linewidth=thick)
    axis.text(left, high - 9, "Name: ________   25 mm/s  10 mm/mV  0.05-150 Hz", family=font, fontsize=9, color=ink)
    return picture_of(figure), seen


def perspective(picture: Image.Image, corners: np.ndarray, background) -> Image.Image:
    """The picture with its corners moved by (4, 2) px: upper left, upper right, lower right, lower left."""
    w, h = picture.size
    source = np.array([(0, 0), (w, 0), (w, h), (0, h)], float)
    target = source + corners
    rows, values = [], []
    for (x, y), (u, v) in zip(target, source):
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
    if kind == "turn":
        return picture.rotate(int(rng.choice((90, 180, 270))), expand=True)
    if kind == "tilt":
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
    if kind == "fold":
        place = rng.uniform(-0.2, 0.2)
        shade = 1 - 0.35 * np.exp(-0.5 * ((along - place) / 0.0015) ** 2) - 0.12 * (along > place)
    if kind == "photograph":
        moved = rng.uniform(-0.04, 0.04, (4, 2)) * (w, h)
        table = tuple(int(c) for c in rng.integers(40, 140, 3))
        framed = Image.new("RGB", (round(1.12 * w), round(1.12 * h)), table)
        framed.paste(picture, (round(0.06 * w), round(0.06 * h)))
        framed = perspective(framed.rotate(rng.uniform(-4, 4), Image.Resampling.BICUBIC, fillcolor=table), moved, table)
        framed = framed.resize((w, h), Image.Resampling.LANCZOS).filter(ImageFilter.GaussianBlur(0.7))
        pixels = np.asarray(framed, np.float32) + rng.normal(0, 5, (h, w, 1))
    lit = Image.fromarray(np.clip(pixels * shade[..., None], 0, 255).astype(np.uint8))
    return jpeg(lit, int(rng.integers(60, 90)))


def other(kind: str, rng: np.random.Generator) -> Image.Image:
    """A picture that holds no ECG."""
    w, h = 1600, 1000
    if kind in ("line chart", "bars"):
        figure = Figure(figsize=(11, 7), dpi=130)
        n = int(rng.integers(1, 7))
        for axis in np.ravel(figure.subplots(int(rng.integers(1, 4)), int(rng.integers(1, 3)), squeeze=False)):
            if kind == "bars":
                axis.bar(np.arange(12), rng.uniform(1, 9, 12), color=rng.random(3))
            else:
                axis.plot(rng.normal(0, 1, (60, n)).cumsum(0), color=None if rng.random() < 0.5 else "black")
            axis.minorticks_on()
            axis.grid(True, which="both", color="#f0b0b0", linewidth=0.6)
            axis.set_title("Sales by quarter")
        return picture_of(figure)
    picture = Image.new("RGB", (w, h), "white")
    pen = ImageDraw.Draw(picture)
    if "graph paper" in kind:
        step = int(rng.integers(5, 9))
        for k in range(0, w, step):
            pen.line((k, 0, k, h), fill="#f2a9b6" if k % (5 * step) == 0 else "#fbdde2")
            pen.line((0, k, w, k), fill="#f2a9b6" if k % (5 * step) == 0 else "#fbdde2")
        if kind == "curves on graph paper":
            x, rows = np.arange(250 * step), int(rng.choice((3, 4, 6, 12)))
            for row in range(rows):
                wave = np.sin(x / rng.uniform(5, 60)) + 0.1 * ndimage.gaussian_filter1d(rng.normal(0, 9, x.size), 4)
                y = (row + 0.5) * h / rows + rng.uniform(0.05, 0.3) * h / rows * wave
                pen.line(list(zip(x + (w - x.size) / 2, y)), fill="black", width=2)
    if kind in ("text", "table"):
        for y in range(20, h - 20, 22):
            pen.text((40, y), " ".join("".join(rng.choice(list("aeinorstlV123"), rng.integers(2, 9))) for _ in range(26)),
                     fill="black", font_size=16)  # fmt: skip
    if kind == "table":
        for k in range(0, w, int(rng.integers(40, 90))):
            pen.line((k, 0, k, h), fill="grey")
            pen.line((0, k, w, k), fill="grey")
    if kind == "shapes":
        for _ in range(60):
            x, y, a, b = rng.uniform(0, 1, 4) * (w, h, 300, 300)
            pen.ellipse((x, y, x + a, y + b), fill=tuple(rng.integers(0, 255, 3).tolist()))
    if kind == "noise":
        return Image.fromarray(rng.integers(0, 255, (h, w, 3), dtype=np.uint8))
    if kind == "photograph":
        layers = [ndimage.gaussian_filter(rng.normal(0, 1, (h, w, 3)), (s, s, 0)) * s for s in (1, 4, 16, 48)]
        return jpeg(Image.fromarray(np.clip(128 + 90 * sum(layers), 0, 255).astype(np.uint8)), 85)
    if kind == "blank":
        return Image.new("RGB", (w, h), tuple(rng.integers(150, 255, 3).tolist()))
    return picture


def rate(signal: np.ndarray) -> float:
    """Heart rate of what a page shows, in bpm; its longest lead alone where one lasts longer than the others."""
    length = (~np.isnan(signal)).sum(1)
    shown = np.where((length == length.max())[:, None], signal, np.nan)
    filled = np.where(np.isnan(shown), np.nanmedian(np.where(np.isnan(shown), 0, shown), 1, keepdims=True), shown)
    return heart_rate(torch.from_numpy(filled.astype(np.float32))[None], 100.0).item()


def judge(read: np.ndarray, true: np.ndarray) -> dict:
    """Whether a page's signal is the true one: correlation of each lead at the best common lag, heart rates."""
    best = np.full(12, -1.0)
    for lag in range(-LAG, LAG + 1):
        moved = np.roll(read, lag, 1)
        both = ~np.isnan(moved) & ~np.isnan(true)
        r = np.array([np.corrcoef(a[k], b[k])[0, 1] if k.sum() > 200 else -1 for a, b, k in zip(moved, true, both)])
        best = max(best, np.nan_to_num(r, nan=-1), key=np.mean)
    rates = rate(read), rate(true)
    limit = 2 if (~np.isnan(true)).sum(1).max() >= 500 else 5
    right_rate = np.isnan(rates[1]) or abs(rates[0] - rates[1]) <= limit
    return {"right": bool((best >= 0.9).sum() >= 10 and right_rate), "leads": int((best >= 0.9).sum()), "rates": rates,
            "r": float(np.median(best))}  # fmt: skip


def outcome(picture: Image.Image, true: np.ndarray) -> tuple[str, dict]:
    """`right`, `wrong` or `refused`, and the details."""
    try:
        found = page.read(np.asarray(picture))
    except BadECG as reason:
        return "refused", {"reason": str(reason)}
    details = judge(found.signal, true) | {"layout": found.layout, "order": found.order, "degrees": found.degrees}
    return "right" if details["right"] else "wrong", details


def measure(count: int, others: int = 200, seed: int = 0, report=None) -> dict:
    """Counts over `count` pages, each as drawn, distorted and mirrored, and over other pictures."""
    rng = np.random.default_rng(seed)
    counts: dict[str, Counter] = {}
    signals = records(count)
    for k, (signal, i) in enumerate(zip(signals, range(count))):
        layout, rhythm = list(LAYOUTS)[i % 4], bool(i // 4 % 2)
        picture, true = draw(signal, layout, rhythm, rng)
        kind = DISTORTIONS[i % len(DISTORTIONS)]
        for name, shown in (("rendered", picture), (kind, distort(picture, kind, rng))):
            what, details = outcome(shown, true)
            group = f"{name} {layout}" if name == "rendered" else f"distorted: {name}"
            counts.setdefault(group, Counter())[what] += 1
            if report and what != "right":
                report(k, layout, rhythm, name, what, details, shown)
        what, _ = outcome(picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT), true)
        counts.setdefault("mirrored", Counter())["refused" if what == "refused" else "accepted"] += 1
    for i in range(others):
        kind = OTHERS[i % len(OTHERS)]
        picture = other(kind, rng)
        try:
            page.read(np.asarray(picture))
            what = "accepted"
        except BadECG:
            what = "refused"
        counts.setdefault(f"other: {kind}", Counter())[what] += 1
        if report and what == "accepted":
            report(i, "", False, kind, what, {}, picture)
    return {group: dict(found) for group, found in counts.items()}


if __name__ == "__main__":
    pages = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    table = json.dumps(measure(pages, report=None), indent=2, ensure_ascii=False) + "\n"
    if len(sys.argv) > 2:
        Path(sys.argv[2]).write_text(table, encoding="utf-8")
    print(table, end="")
