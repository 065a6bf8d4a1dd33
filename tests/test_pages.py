"""Pages of other programs come back as the leads they show; too little and other pictures are refused."""

import numpy as np
import pages
import pytest
import torch
from other_pictures import OTHERS
from PIL import ImageOps

from uniecg_lite.drawing import read_page
from uniecg_lite.errors import BadECG
from uniecg_lite.leads import lead_law_residual
from uniecg_lite.page import digitise
from uniecg_lite.simulator.simulate import simulate


@pytest.fixture(scope="module")
def signal() -> np.ndarray:
    return simulate(5, torch.tensor([0])).signal[0].numpy()


def drawn(signal, layout, number, tmp_path, change=None):
    image, truth = pages.draw(signal, np.random.default_rng(number), layout)
    (change(image) if change else image).save(tmp_path / "page.png")
    return tmp_path / "page.png", truth


@pytest.fixture(scope="module")
def twelve_rows(signal, tmp_path_factory):
    path, truth = drawn(signal, (12, 0), 2, tmp_path_factory.mktemp("twelve"))
    return digitise(path), truth


@pytest.mark.parametrize(("layout", "number"), [((3, 1), 0), ((6, 1), 1)])
def test_a_page_gives_back_every_piece_under_its_name(signal, tmp_path, layout, number):
    path, truth = drawn(signal, layout, number, tmp_path)
    assert pages.fault(digitise(path), truth) == ""


def test_the_judge_sees_leads_exchanged_and_small(twelve_rows):
    page, truth = twelve_rows
    assert pages.fault(page, truth) == ""
    assert pages.fault(page._replace(signal=page.signal[[1, 0, *range(2, 12)]]), truth)
    assert pages.fault(page._replace(signal=0.8 * page.signal), truth)


def test_twelve_whole_leads_obey_the_lead_laws(twelve_rows):
    signal = twelve_rows[0].signal
    centred, swing = signal - signal.mean(1, keepdims=True), np.ptp(signal[:6], axis=1).max()
    assert np.isfinite(signal).all() and lead_law_residual(centred, 0.9) < 0.1 * swing


def test_what_a_page_does_not_show_is_nan_and_the_model_says_so(signal, tmp_path):
    path, _ = drawn(signal, (3, 0), 3, tmp_path)
    assert (np.isfinite(digitise(path).signal).sum(1) == 250).all()
    with pytest.raises(BadECG, match="2.5 s of some leads and no 10 s of lead II"):
        read_page(path)


@pytest.mark.parametrize("degrees", [3, 90, 180])
def test_a_turned_page_is_put_right(signal, tmp_path, degrees):
    path, truth = drawn(signal, (6, 1), 1, tmp_path, lambda im: im.rotate(degrees, 3, True, fillcolor="grey"))
    assert pages.fault(digitise(path), truth) == ""


def test_a_mirrored_page_is_refused(signal, tmp_path):
    path, _ = drawn(signal, (3, 1), 0, tmp_path, ImageOps.mirror)
    with pytest.raises(BadECG, match="mirrored"):
        digitise(path)


@pytest.mark.parametrize("name", ["sines_on_paper", "sales_chart", "panels"])
def test_other_pictures_are_refused_in_one_sentence(tmp_path, name):
    dict(OTHERS)[name](np.random.default_rng(0)).save(tmp_path / "other.png")
    with pytest.raises(BadECG) as refusal:
        digitise(tmp_path / "other.png")
    assert str(refusal.value).endswith(".") and "\n" not in str(refusal.value)
