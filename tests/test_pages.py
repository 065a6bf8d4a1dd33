"""Pictures of ECG pages: each layout is read, whatever its turn; mirrored pages and other pictures are refused."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from conftest import toy_ecg
from PIL import Image

from uniecg_lite.errors import BadECG
from uniecg_lite.page import read, read_page

PX = 5.0  # per mm, small for speed


@pytest.fixture(scope="module")
def pages():
    """The benchmark's module, which draws pages and judges readings."""
    path = Path(__file__).parent.parent / "benchmarks" / "pages.py"
    spec = importlib.util.spec_from_file_location("pages_benchmark", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def signal():
    return toy_ecg().standard().signal  # (12, 1000) mV


@pytest.mark.parametrize("layout", ["3x4", "6x2", "12x1", "Cabrera"])
def test_each_layout_is_read(pages, signal, layout):
    picture, true = pages.draw(signal, layout, np.random.default_rng(3), px=PX, rhythm=layout == "3x4")
    found = read(np.asarray(picture))
    assert found.layout == layout or (layout, found.order) == ("Cabrera", "Cabrera")
    assert found.degrees == 0 and found.signal.shape == (12, 1000)
    right, details = pages.judge(found.signal, true)
    assert right, details
    hidden = np.isnan(true)
    assert np.isfinite(found.signal[hidden]).sum() <= 0.01 * hidden.size  # what it does not show is not invented


def test_an_upside_down_page_is_turned_and_a_mirrored_one_refused(pages, signal, tmp_path):
    picture, true = pages.draw(signal, "3x4", np.random.default_rng(4), px=PX)
    path = tmp_path / "page.png"
    picture.rotate(180).save(path)
    found = read_page(path)
    assert found.degrees == 180 and pages.judge(found.signal, true)[0]
    with pytest.raises(BadECG, match="mirrored"):
        read(np.asarray(picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)))


def test_other_pictures_are_refused(pages, tmp_path):
    for kind in ("sales chart", "blank"):
        with pytest.raises(BadECG):
            read(np.asarray(pages.other(kind, np.random.default_rng(0))))
    path = tmp_path / "page.png"
    with pytest.raises(BadECG, match="There is no file"):
        read_page(path)
    path.write_text("no image")
    with pytest.raises(BadECG, match="not an image that can be read"):
        read_page(path)
