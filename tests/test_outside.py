"""The judge from outside: how its words are counted, on verdicts made up here; itself where it is installed."""

from types import SimpleNamespace

import outside
import pytest
import torch

from uniecg_lite.findings import CODES
from uniecg_lite.simulator.simulate import simulate


def says(label, *flags, pr=None):
    return lambda lead, fs: SimpleNamespace(rhythm={"label": label}, flags=list(flags), intervals_ms={"pr": pr})


def test_verdicts_hold_rhythm_flags_and_pr_of_lead_ii():
    heard = []

    def read(lead, fs):
        heard.append((lead, fs))
        return says("sinus", "ventricular_ectopy", pr=180.0)(lead, fs)

    signal = torch.zeros(2, 12, 1024)
    signal[:, 1] = torch.sin(torch.linspace(0, 60, 1024))
    found = outside.verdicts(signal, 102.4, read)
    assert found == [({"sinus", "ventricular_ectopy"}, 180.0)] * 2
    assert len(heard[0][0]) == 5000 and heard[0][1] == 500 and abs(heard[0][0]).max() > 0.9


def test_a_row_counts_what_was_wanted():
    found = [({"avb"}, 240.0), ({"sinus"}, 200.0), ({"avb"}, None), ({"afib"}, None)]
    row = outside.row(found, "avb")
    assert row["n"] == 4 and row["share"] == 0.5 and row["said"] == {"avb": 2, "sinus": 1, "afib": 1}
    assert row["pr_ms"] in (200.0, 240.0) and row["interval"][0] < 0.5 < row["interval"][1]


def test_intervals_are_wilsons():
    low, high = outside.row([({"avb"}, None)] * 8 + [({"sinus"}, None)] * 2, "avb")["interval"]
    assert low == pytest.approx(0.4902, abs=1e-3) and high == pytest.approx(0.9433, abs=1e-3)


def test_every_request_is_possible_and_its_hearts_are_drawn():
    for request, _ in outside.ROWS.values():
        assert not request.refusal
    hearts = outside.simulated("PACE", 2)
    assert hearts.shape == (2, 12, 5000) and hearts.isfinite().all()


def test_the_judge_tells_pacing_from_sinus_rhythm():
    openecg = pytest.importorskip("openecg", reason="openecg is not installed: pip install -e .[outside]")
    drawn = simulate(0, torch.arange(300), hz=500.0, noise=False)
    has = dict(zip(CODES, drawn.truth["findings"].bool().T))
    for code, wanted in (("PACE", "paced"), ("NORM", "sinus")):
        rows = has[code].nonzero()[:6, 0]
        assert outside.row(outside.verdicts(drawn.signal[rows], 500.0, openecg.report), wanted)["share"] >= 0.8
