"""drawing: the raster's geometry, its agreement with the page, and figures that leave nothing behind."""

import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from conftest import toy_ecg
from matplotlib.figure import Figure
from PIL import Image, ImageOps

from uniecg_lite.drawing import alt_text, compare, figure, png, read_page, save_page, show
from uniecg_lite.ecg import ECG
from uniecg_lite.ecg_image import LAYOUT, PAPER_MM, STRIP_PX, raster, segments
from uniecg_lite.errors import BadECG, BadRequest, UniECGError
from uniecg_lite.leads import LEADS, from_independent
from uniecg_lite.simulator.simulate import simulate

MIN_IMAGES_PER_S = 100  # far below the usual thousands, so that a busy machine does not fail it


def standard(ecg) -> torch.Tensor:
    return torch.from_numpy(ecg.standard().signal)[None]  # (1, 12, 1000)


def overlap(a: torch.Tensor, b: torch.Tensor) -> float:
    """Share of the ink of two images (1, H, W) that lies within one pixel of ink of the other."""
    a, b = (a > 100).float(), (b > 100).float()
    near_a, near_b = (torch.nn.functional.max_pool2d(t, 3, 1, 1) for t in (a, b))
    return float(((a * near_b).sum() + (b * near_a).sum()) / (a.sum() + b.sum()))


def slow_raster(signal: np.ndarray) -> np.ndarray:
    """The raster of one record (12, 1000), written plainly: piece by piece, column by column, pixel by pixel."""
    image = np.zeros((256, 500))
    for lead, strip, start, seconds in segments():
        values = signal[LEADS.index(lead)]
        median = np.sort(values[::4])[124]
        piece = (values - median)[round(start * 100) : round((start + seconds) * 100)]
        y = np.clip(32 - 20 * piece, 0.5, 63.5)
        for column in range(len(y) // 2):
            touched = y[2 * column : 2 * column + 3]
            for row in range(64):
                away = max(touched.min() - row - 0.5, row + 0.5 - touched.max(), 0)
                image[strip * 64 + row, round(start * 50) + column] = np.clip(1 - away, 0, 1)
    return image * 255


def test_paper_geometry():
    assert PAPER_MM == (250, 128) and STRIP_PX == 64
    assert [row[0] for row in LAYOUT] == ["I", "II", "III"] and LAYOUT[2][3] == "V6"
    assert len(list(segments())) == 13


def test_raster_equals_the_plain_version():
    signal = standard(toy_ecg(rate=95))
    image = raster(signal)
    assert image.shape == (1, 1, 256, 500) and image.dtype == torch.uint8
    assert np.abs(image[0, 0].numpy() - slow_raster(signal[0].numpy())).max() <= 2


def test_raster_puts_each_lead_in_its_place():
    base = raster(standard(toy_ecg()))[0, 0].int()
    for lead, row, column in (("III", 2, 0), ("aVL", 1, 1), ("V1", 0, 2), ("V6", 2, 3)):
        changed = standard(toy_ecg())
        changed[0, LEADS.index(lead)] *= -1
        where = (raster(changed)[0, 0].int() != base).nonzero()
        assert where[:, 0].min() >= 64 * row and where[:, 0].max() < 64 * (row + 1)
        assert where[:, 1].min() >= 125 * column and where[:, 1].max() < 125 * (column + 1)


def test_raster_ignores_offsets_clips_at_the_strip_and_is_batched():
    signal = standard(toy_ecg())
    offset = signal + torch.linspace(-4, 4, 12)[:, None]
    assert (raster(offset).int() - raster(signal).int()).abs().max() <= 1
    tall = raster(signal * 4)[0, 0]
    assert tall[192].max() > 200  # lead II runs along the upper edge of the rhythm strip
    batch = torch.cat([signal, signal * 2, signal * 0.5])
    assert torch.equal(raster(batch)[1], raster(signal * 2)[0])
    assert raster(signal[:0]).shape == (0, 1, 256, 500)


def test_raster_refuses_other_shapes_and_nan():
    with pytest.raises(BadECG, match="standard"):
        raster(torch.zeros(2, 12, 5000))
    with pytest.raises(BadECG, match="NaN"):
        raster(torch.full((2, 12, 1000), torch.nan))


def test_raster_needs_no_numbers():
    """On another device than the CPU nothing waits to look for NaN."""
    image = raster(torch.zeros(2, 12, 1000, device="meta"))
    assert image.shape == (2, 1, 256, 500) and image.dtype == torch.uint8


def test_raster_is_fast():
    signal = standard(toy_ecg()).repeat(64, 1, 1)
    seconds, threads = [], torch.get_num_threads()
    torch.set_num_threads(1)  # waiting for a second thread would measure what else the machine does
    for _ in range(8):
        begin = time.perf_counter()
        raster(signal)
        seconds.append(time.perf_counter() - begin)
    torch.set_num_threads(threads)
    assert 64 / min(seconds) > MIN_IMAGES_PER_S


# --- the page


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return save_page(toy_ecg(), tmp_path_factory.mktemp("page") / "toy")


def test_a_page_reads_back_as_the_raster(page):
    ink = read_page(page)
    assert page.suffix == ".png" and ink.shape == (1, 256, 500) and ink.dtype == torch.uint8
    drawn = raster(standard(toy_ecg()))[0]
    assert np.corrcoef(ink.flatten(), drawn.flatten())[0, 1] > 0.85
    assert overlap(ink, drawn) > 0.97


@pytest.mark.parametrize(("name", "width"), [("a.png", 1080), ("b.jpg", 2160), ("c.png", 700), ("d.webp", 3000)])
def test_a_scaled_or_converted_page_reads_the_same(page, tmp_path, name, width):
    Image.open(page).resize((width, round(width * 148 / 270)), Image.Resampling.LANCZOS).save(tmp_path / name)
    assert overlap(read_page(tmp_path / name), read_page(page)) > 0.95


def test_transparent_and_palette_pages_are_read(page, tmp_path):
    picture = Image.open(page)
    clear = picture.convert("RGBA")
    pixels = np.array(clear)  # (h, w, 4)
    pixels[pixels[..., :3].min(-1) == 255] = 0  # white becomes transparent
    Image.fromarray(pixels).save(tmp_path / "clear.png")
    picture.quantize(32).save(tmp_path / "palette.png")
    for name in ("clear.png", "palette.png"):
        assert overlap(read_page(tmp_path / name), read_page(page)) > 0.98


def test_pages_that_cannot_be_read_are_refused(page, tmp_path):
    picture, path = Image.open(page), tmp_path / "bad.png"
    blank = Image.new("RGB", picture.size, "#fbdde2")
    dark = Image.new("RGB", picture.size, "black")
    for image, message in [
        (blank, "No ECG grid"),
        (dark, "No ECG grid"),
        (picture.crop((0, 0, 2160, 860)), "no 10 s of lead II"),
        (picture.resize((270, 148)), "No ECG grid"),
        (ImageOps.mirror(picture), "mirrored"),
    ]:
        image.save(path)
        with pytest.raises(BadECG, match=message):
            read_page(path)
    path.write_bytes(page.read_bytes()[:2000])
    with pytest.raises(BadECG, match="not an image that can be read"):
        read_page(path)
    path.write_text("no image")
    with pytest.raises(BadECG, match="not an image that can be read"):
        read_page(path)
    with pytest.raises(BadECG, match="There is no file"):
        read_page(tmp_path / "nothing.png")


def test_the_ink_of_our_own_page_is_taken_as_it_is(tmp_path):
    """Also where noise is strong or rows cross, which makes traces hard to follow."""
    for row, signal in enumerate(simulate(11, torch.arange(8)).signal):
        page = save_page(ECG(signal.numpy(), 100.0), tmp_path / f"{row}.png")
        assert overlap(read_page(page), raster(signal[None])[0]) > 0.97, row


@pytest.mark.parametrize("how", ["turned", "quarter", "cropped", "bordered", "tilted", "grey"])
def test_a_page_that_does_not_lie_right_is_read_the_same(page, tmp_path, how):
    picture = Image.open(page)
    width, height = picture.size
    bordered = Image.new("RGB", (round(1.1 * width), round(1.1 * height)), "white")
    bordered.paste(picture, (round(0.05 * width), round(0.05 * height)))
    moved = {
        "turned": picture.rotate(180),
        "quarter": picture.rotate(90, expand=True),
        "cropped": picture.crop((43, 24, 2117, 1160)),
        "bordered": bordered,
        "tilted": picture.rotate(2, Image.Resampling.BICUBIC, fillcolor="white"),
        "grey": picture.convert("L"),
    }
    moved[how].save(tmp_path / "moved.png")
    assert overlap(read_page(tmp_path / "moved.png"), read_page(page)) > 0.95


@pytest.mark.parametrize(("note", "degrees"), [(3, 180), (6, 90)])
def test_a_page_is_laid_as_its_exif_note_says(page, tmp_path, note, degrees):
    exif = Image.Exif()
    exif[0x0112] = note
    Image.open(page).rotate(degrees, expand=True).save(tmp_path / "noted.png", exif=exif)
    assert torch.equal(read_page(tmp_path / "noted.png"), read_page(page))


def test_awkward_pages(awkward, tmp_path):
    for file in map(Path, awkward.case_11(tmp_path)["files"]):
        if file.name == "mirrored.png":
            with pytest.raises(BadECG, match="mirrored"):
                read_page(file)
        else:
            assert overlap(read_page(file), read_page(tmp_path / "upright.png")) > 0.95, file.name


def test_a_page_that_cannot_be_written_says_so(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UniECGError, match="Could not write"):
        save_page(toy_ecg(), tmp_path / "file" / "page.png")


def test_real_pages_read_back(real_records, tmp_path):
    names = [record for record in real_records if record.name != "ningbo_JS20004"]
    for record in names[::25]:
        ecg = ECG.load(record)
        ink, drawn = read_page(save_page(ecg, tmp_path / "real.png")), raster(standard(ecg))[0]
        assert np.corrcoef(ink.flatten(), drawn.flatten())[0, 1] > 0.8
        assert overlap(ink, drawn) > 0.95


# --- figures


def test_figures_have_paper_size_and_leave_nothing_open():
    before = plt.get_fignums()
    fig = figure(toy_ecg(), title="Toy", dpi=72)
    assert isinstance(fig, Figure) and isinstance(toy_ecg().plot(title="Toy"), Figure)
    assert tuple(fig.get_size_inches() * 25.4) == pytest.approx((270, 148))
    words = {text.get_text() for text in fig.axes[0].texts}
    assert set(LEADS) <= words and "Toy" in words
    assert any("Educational, not for diagnosis" in word for word in words)
    assert isinstance(compare([toy_ecg(), toy_ecg(rate=100)], ["real", "generated"], title="Two"), Figure)
    assert plt.get_fignums() == before


def test_a_figure_is_light_and_short_records_are_drawn_as_far_as_they_go():
    picture = png(figure(toy_ecg(seconds=4)))
    assert picture.startswith(b"\x89PNG") and len(picture) < 60_000


def test_compare_needs_a_label_for_each_ecg():
    with pytest.raises(BadRequest, match="1 ECGs and 2 labels"):
        compare([toy_ecg()], ["a", "b"])


def test_alt_text_says_what_is_shown():
    text = alt_text(toy_ecg(age=63, sex="female"))
    assert "12-lead ECG of a woman aged 63, 10 s at 500 Hz" in text
    assert "V4, V5, V6" in text and "rhythm strip of lead II" in text and "mV in V4" in text
    eight = np.stack([toy_ecg()[name] for name in ("I", "II", *LEADS[6:])])
    assert "of a person" in alt_text(ECG(from_independent(eight), 500))


def test_show_stores_the_alternative_text(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    show(figure(toy_ecg()), "words")
    assert shown[0].alt == "words" and shown[0].data.startswith(b"\x89PNG")
