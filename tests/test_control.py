"""Control: errors by hand, nothing skipped, and generated ECGs that obey or disobey on purpose."""

import math
from types import SimpleNamespace

import pytest
import torch

from uniecg_lite.findings import CODES
from uniecg_lite.language.requests import Request
from uniecg_lite.metrics.generation import control, number_errors, requested, standard
from uniecg_lite.metrics.reports import macro_f1
from uniecg_lite.simulator.simulate import simulate

NUMBERS = ("rate_bpm", "pr_ms", "qrs_ms", "qt_ms", "axis_deg")


@pytest.fixture(scope="module")
def generated():
    return simulate(0, torch.arange(40), 102.4, 10.0, noise=False)


def all_seeing(truth) -> SimpleNamespace:
    """A reader that knows the truth."""
    return SimpleNamespace(read=lambda x: ({k: truth[k] for k in NUMBERS}, truth["findings"].bool()))


def test_errors_by_hand():
    wanted = {"rate_bpm": torch.tensor([60.0, 80, 100]), "qrs_ms": torch.tensor([90.0, 100, 120])}
    measured = {"rate_bpm": torch.tensor([61.0, 84, 90]), "qrs_ms": torch.tensor([90.0, 110, 90]), "qt_ms": None}
    found = number_errors(wanted, measured)
    assert found == pytest.approx(
        {
            "hr_median_error_bpm": 4, "hr_mean_error_bpm": 5, "qrs_median_error_ms": 10, "qrs_mean_error_ms": 40 / 3,
        }
    )  # fmt: skip


def test_the_axis_goes_around_the_circle():
    wanted = {"axis_deg": torch.tensor([-175.0, 170.0, 10.0])}
    measured = {"axis_deg": torch.tensor([175.0, -170.0, 373.0])}
    found = number_errors(wanted, measured)
    assert found["axis_median_error_deg"] == pytest.approx(10)
    assert found["axis_mean_error_deg"] == pytest.approx(11)
    assert number_errors(measured, wanted) == found


def test_what_nobody_asked_for_does_not_count_and_what_cannot_be_measured_does():
    nan = math.nan
    found = number_errors(
        {"rate_bpm": torch.tensor([nan, 70.0]), "pr_ms": torch.tensor([nan, nan])},
        {"rate_bpm": torch.tensor([70.0, nan]), "pr_ms": torch.tensor([150.0, 150.0])},
    )
    assert found == {"hr_median_error_bpm": 60.0, "hr_mean_error_bpm": 60.0}


def test_requests_become_tables():
    numbers, asked = requested([Request(rate=72, findings=(CODES[2], CODES[5])), Request(age=40, qrs=120, axis=-60)])
    assert numbers["rate_bpm"][0] == 72 and numbers["rate_bpm"][1].isnan()
    assert numbers["qrs_ms"][1] == 120 and numbers["axis_deg"][1] == -60 and numbers["axis_deg"][0].isnan()
    assert numbers["pr_ms"].isnan().all() and set(numbers) == set(NUMBERS)
    assert asked.shape == (2, len(CODES)) and asked.sum() == 2 and asked[0, [2, 5]].all()


def test_an_obedient_generator_has_no_errors(generated):
    wanted = {k: generated.truth[k] for k in NUMBERS}
    found = control(all_seeing(generated.truth), generated.signal, wanted, generated.truth["findings"].bool())
    assert found["hr_median_error_bpm"] < 1, "the rate is measured on the signal"
    assert found["hr_median_error_reader_bpm"] == found["qrs_median_error_ms"] == found["axis_median_error_deg"] == 0
    assert found["pr_median_error_ms"] == found["qt_median_error_ms"] == 0
    assert found["findings_macro_f1"] == 1 and found["lead_law_residual_mv"] < 1e-5
    assert {v for k, v in found.items() if k.startswith("f1.")} == {1.0}
    assert all(isinstance(value, float) for value in found.values())


def test_the_spread_of_beats_is_that_of_sinus_rhythms_alone(generated):
    wanted, findings = {k: generated.truth[k] for k in NUMBERS}, generated.truth["findings"].bool()
    found = control(all_seeing(generated.truth), generated.signal, wanted, findings)
    assert 0.005 < found["beat_size_spread"] < 0.06
    extra = findings.clone()
    extra[:, CODES.index("PVC")] = True
    assert "beat_size_spread" not in control(all_seeing(generated.truth), generated.signal, wanted, extra)


def test_ecgs_of_other_patients_do_not_pass(generated):
    order = torch.arange(40).roll(1)
    wanted, asked = {k: generated.truth[k][order] for k in NUMBERS}, generated.truth["findings"].bool()[order]
    found = control(all_seeing(generated.truth), generated.signal, wanted, asked)
    assert found["hr_mean_error_bpm"] > 10 and found["qrs_mean_error_ms"] > 5 and found["axis_mean_error_deg"] > 15
    assert found["findings_macro_f1"] == pytest.approx(macro_f1(generated.truth["findings"].bool(), asked))
    assert found["findings_macro_f1"] < 0.4


def test_a_generator_at_half_speed_is_caught_by_the_signal_even_if_the_reader_is_fooled(generated):
    slow = torch.nn.functional.interpolate(generated.signal, size=2048, mode="linear")[..., :1024]
    found = control(
        all_seeing(generated.truth), slow, {"rate_bpm": generated.truth["rate_bpm"]}, generated.truth["findings"].bool()
    )
    assert found["hr_median_error_reader_bpm"] == 0
    assert found["hr_median_error_bpm"] == pytest.approx(generated.truth["rate_bpm"].median().item() / 2, rel=0.2)


def test_one_ecg_against_the_lead_laws_is_enough(generated):
    signal = generated.signal.clone()
    signal[7, [4, 5]] = signal[7, [5, 4]]  # aVL and aVF under each other's names
    wanted = {"rate_bpm": generated.truth["rate_bpm"]}
    found = control(all_seeing(generated.truth), signal, wanted, generated.truth["findings"].bool())
    assert found["lead_law_residual_mv"] > 0.1


def test_the_reader_sees_1000_samples_in_the_same_places():
    wave = torch.sin(2 * torch.pi * torch.arange(1024) / 102.4)[None, None].expand(1, 12, -1)
    seen = standard(wave)
    assert seen.shape == (1, 12, 1000)
    middle = (torch.arange(1000) + 0.5) / 100 - 0.5 / 102.4  # s, of samples that stand for equal stretches
    torch.testing.assert_close(seen[0, 0, 5:-5], torch.sin(2 * torch.pi * middle)[5:-5], atol=1e-3, rtol=0)
