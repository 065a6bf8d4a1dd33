"""Pictures that are no ECG: charts, tables, texts, maps, noise, photograph-like, music, codes. `OTHERS` lists them.

Each takes a random generator and gives a picture. Several have grids, several have twelve wavy rows.
"""

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

WORDS = ("the", "heart", "of", "a", "page", "is", "read", "from", "left", "to", "right", "and", "no", "lead", "stands")


def _axes(rng, rows=1, columns=1, **options):
    fig = Figure(rng.uniform((7, 5), (12, 9)), dpi=int(rng.choice([72, 100, 150])))
    return fig, fig.subplots(rows, columns, squeeze=False, **options)


def _picture(fig):
    canvas = FigureCanvasAgg(fig)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def _sheet(rng, colour="white"):
    size = rng.integers((700, 500), (1800, 1400))
    image = Image.new("RGB", tuple(int(s) for s in size), colour)
    return image, ImageDraw.Draw(image)


def _paper(ax, width=250, height=180):
    """Millimetre paper in ECG colours behind an axis."""
    for step, colour in ((1, "#fbdde2"), (5, "#f2a9b6")):
        ax.hlines(np.arange(0, height + 1, step), 0, width, colour, linewidths=0.5)
        ax.vlines(np.arange(0, width + 1, step), 0, height, colour, linewidths=0.5)
    ax.set(xlim=(0, width), ylim=(0, height), aspect="equal")


def sales_chart(rng):
    fig, ((ax,),) = _axes(rng)
    ax.plot(rng.normal(0.2, 1, (60, int(rng.integers(1, 5)))).cumsum(0))
    ax.grid(True)
    ax.set_title("Sales by quarter")
    return _picture(fig)


def bar_chart(rng):
    fig, ((ax,),) = _axes(rng)
    ax.bar(range(12), rng.uniform(1, 9, 12), color=rng.choice(["#47a", "k", "#c44"]))
    ax.grid(True)
    return _picture(fig)


def stock_chart(rng):
    fig, axes = _axes(rng, 3, 1, sharex=True)
    for ax in axes.flat:
        ax.plot(100 + rng.normal(0, 1, 900).cumsum(), "k", linewidth=0.7)
        ax.minorticks_on()
        ax.grid(True, which="both", color="#f0b0b0", linewidth=0.4)
    return _picture(fig)


def scatter(rng):
    fig, ((ax,),) = _axes(rng)
    ax.scatter(*rng.normal(size=(2, 400)), s=4, c="k")
    ax.grid(True)
    return _picture(fig)


def seismogram(rng):
    fig, ((ax,),) = _axes(rng)
    time = np.linspace(0, 1, 2000)
    for k in range(12):
        quake = rng.normal(size=2000) * np.exp(-8 * np.abs(time - rng.uniform(0.2, 0.6)))
        ax.plot(time, k + 0.4 * ndimage.gaussian_filter1d(quake, 4), "k", linewidth=0.6)
    ax.grid(bool(rng.random() < 0.5))
    return _picture(fig)


def eeg_on_paper(rng):
    fig, ((ax,),) = _axes(rng)
    _paper(ax)
    for k in range(int(rng.choice([3, 4, 6, 7, 12]))):
        wave = ndimage.gaussian_filter1d(rng.normal(size=1000), rng.uniform(3, 9))
        ax.plot(np.arange(1000) * 0.25, 170 - 14 * k + 4 * wave / wave.std(), "k", linewidth=0.8)
    return _picture(fig)


def sines_on_paper(rng):
    fig, ((ax,),) = _axes(rng)
    _paper(ax)
    for k in range(int(rng.choice([3, 4, 6, 12]))):
        time = np.arange(1000) * 0.25
        ax.plot(time, 170 - 14 * k + rng.uniform(2, 5) * np.sin(time / rng.uniform(1, 9) + k), "k", linewidth=0.8)
    return _picture(fig)


def spikes_on_paper(rng):
    fig, ((ax,),) = _axes(rng)
    _paper(ax)
    for k in range(4):
        row = np.zeros(1000)
        row[rng.integers(0, 1000, 40)] = rng.uniform(-12, 25, 40)
        ax.plot(np.arange(1000) * 0.25, 150 - 36 * k + row, "k", linewidth=0.8)
    return _picture(fig)


def empty_paper(rng):
    fig, ((ax,),) = _axes(rng)
    _paper(ax)
    return _picture(fig)


def writing_on_paper(rng):
    fig, ((ax,),) = _axes(rng)
    _paper(ax)
    for k in range(14):
        ax.text(5, 165 - 11 * k, " ".join(rng.choice(WORDS, 12)), fontsize=9)
    return _picture(fig)


def one_lead_strip(rng):
    fig, ((ax,),) = _axes(rng)
    _paper(ax, 250, 40)
    time = np.arange(1000) * 0.01
    beat = np.exp(-(((time % 0.8 - 0.3) / 0.02) ** 2)) + 0.2 * np.exp(-(((time % 0.8 - 0.6) / 0.06) ** 2))
    ax.plot(time * 25, 15 + 12 * beat, "k")
    return _picture(fig)


def heat_map(rng):
    fig, ((ax,),) = _axes(rng)
    ax.imshow(rng.normal(size=(20, 30)), cmap=rng.choice(["viridis", "gray", "Reds"]))
    return _picture(fig)


def panels(rng):
    fig, axes = _axes(rng, 3, 4)
    for ax in axes.flat:
        ax.plot(np.sin(np.linspace(0, rng.uniform(5, 40), 200)), "k")
        ax.grid(True)
    return _picture(fig)


def text_page(rng):
    image, pen = _sheet(rng)
    font = ImageFont.load_default(int(rng.integers(12, 22)))
    for y in range(30, image.height - 30, 26):
        pen.text((30, y), " ".join(rng.choice(WORDS, 14)), fill="black", font=font)
    return image


def table(rng):
    image, pen = _sheet(rng)
    step = int(rng.integers(24, 60))
    for y in range(20, image.height, step):
        pen.line((20, y, image.width - 20, y), fill="#888")
        for x in range(30, image.width - 60, 3 * step):
            pen.text((x, y + 4), f"{rng.uniform(0, 999):.1f}", fill="black", font_size=14)
    for x in range(20, image.width, 3 * step):
        pen.line((x, 20, x, image.height - 20), fill="#888")
    return image


def sheet_music(rng):
    image, pen = _sheet(rng, "#fffdf6")
    for top in range(40, image.height - 60, 90):
        for k in range(5):
            pen.line((30, top + 10 * k, image.width - 30, top + 10 * k), fill="black")
        for x in range(50, image.width - 50, 34):
            y = top + 5 * int(rng.integers(0, 9))
            pen.ellipse((x, y - 5, x + 12, y + 5), fill="black")
            pen.line((x + 12, y, x + 12, y - 32), fill="black", width=2)
    return image


def squares_code(rng):
    cells = rng.random((33, 33)) < 0.5
    side = int(rng.integers(12, 26))
    return (
        Image.fromarray(np.uint8(255 * cells)).resize((33 * side, 33 * side), Image.Resampling.NEAREST).convert("RGB")
    )


def bar_code(rng):
    row = ndimage.zoom(rng.random(150) < 0.5, int(rng.integers(5, 9)), order=0)
    return Image.fromarray(np.uint8(255 * np.tile(row, (600, 1)))).convert("RGB")


def street_map(rng):
    image, pen = _sheet(rng, "#eee8d8")
    for _ in range(60):
        x, y = rng.uniform(0, image.width), rng.uniform(0, image.height)
        turn, far = rng.choice([0.2, 1.77]) + rng.normal(0, 0.05), rng.uniform(200, 1500)
        pen.line((x, y, x + far * np.cos(turn), y + far * np.sin(turn)), fill="#c96", width=int(rng.integers(1, 8)))
    return image


def contours(rng):
    fig, ((ax,),) = _axes(rng)
    ax.contour(ndimage.gaussian_filter(rng.normal(size=(150, 200)), 12), 20, colors="k", linewidths=0.6)
    ax.grid(True)
    return _picture(fig)


def white_noise(rng):
    return Image.fromarray(rng.integers(0, 256, (*rng.integers(500, 1200, 2), 3), dtype=np.uint8))


def clouds(rng):
    """Like a photograph: soft shapes of every size, in colour."""
    shape, total = rng.integers(500, 1200, 2), 0
    for size in (3, 10, 30, 100):
        total = total + size * ndimage.gaussian_filter(rng.normal(size=(*shape, 3)), (size, size, 0)) * size
    low, high = total.min(), total.max()
    return Image.fromarray(np.uint8(255 * (total - low) / (high - low)))


def gradient(rng):
    x, y = np.meshgrid(np.linspace(0, 1, 1200), np.linspace(0, 1, 900))
    weights = rng.uniform(0, 120, (2, 3))
    return Image.fromarray(np.uint8(x[..., None] * weights[0] + y[..., None] * weights[1]))


def bricks(rng):
    y, x = np.mgrid[:900, :1300]
    w, h = rng.integers(40, 120), rng.integers(15, 40)
    mortar = (y % h < 3) | ((x + (y // h % 2) * w // 2) % w < 3)
    wall = np.where(mortar[..., None], (210, 205, 200), (170, 80, 60)) + rng.normal(0, 12, (900, 1300, 3))
    return Image.fromarray(np.uint8(np.clip(wall, 0, 255)))


def squared_paper(rng):
    image, pen = _sheet(rng)
    step = int(rng.integers(8, 40))
    for x in range(0, image.width, step):
        pen.line((x, 0, x, image.height), fill="#9bd")
    for y in range(0, image.height, step):
        pen.line((0, y, image.width, y), fill="#9bd")
        if rng.random() < 0.4:
            pen.text((step, y), " ".join(rng.choice(WORDS, 9)), fill="#114", font_size=16)
    return image


PICTURES = (
    sales_chart, bar_chart, stock_chart, scatter, seismogram, eeg_on_paper, sines_on_paper, spikes_on_paper,
    empty_paper,
    writing_on_paper, one_lead_strip, heat_map, panels, text_page, table, sheet_music, squares_code, bar_code,
    street_map, contours, white_noise, clouds, gradient, bricks, squared_paper,
)  # fmt: skip
OTHERS = [(picture.__name__, picture) for picture in PICTURES]
