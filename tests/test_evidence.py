"""Conflict, occlusion and counterfactuals: models of known habits give the shares that they must."""

from dataclasses import replace

import pytest
import torch

from uniecg_lite.findings import CODES, Reading, readings, report
from uniecg_lite.language.requests import NO_ECG
from uniecg_lite.metrics.evidence import (
    CARRIERS,
    CHANGES,
    GROUP,
    SIDES,
    WAVES,
    conflict_metrics,
    conflict_scores,
    counterfactuals,
    occlusion,
    ratios,
    reading_controls,
    wave_windows,
)
from uniecg_lite.metrics.reports import report_scores
from uniecg_lite.simulator.simulate import simulate

SLOW = Reading(48, 160, 90, 420, 400, 40, findings=frozenset({"SBRAD"}))
FAST = Reading(130, 130, 90, 300, 440, -50, findings=frozenset({"STACH", "LAD"}))
THIRD = Reading(90, 160, 90, 360, 420, 100, findings=frozenset({"AFIB", "CLBBB"}))


# --- conflict


def test_the_text_follows_whom_it_describes():
    truth = [SLOW, FAST, SLOW, FAST]
    other = [FAST, SLOW, FAST, SLOW]
    mixed = [report(SLOW), report(SLOW), report(THIRD), "no report at all"]
    found = conflict_scores(mixed, truth, other, [report(r) for r in truth])
    for what in ("rate", "axis", "findings"):
        assert [found[f"conflict.{what}.{side}"] for side in SIDES] == [0.25, 0.25, 0.5]
        assert found[f"conflict.{what}.pairs"] == 4 and found[f"conflict.{what}.consistent"] == 1
    assert found["conflict.neither"] == 0.5 and found["conflict.consistent"] == 1


def test_pairs_that_differ_too_little_do_not_count():
    near = replace(SLOW, rate_bpm=55.0, findings=FAST.findings)  # 7 bpm apart: one text may meet both
    found = conflict_scores([report(SLOW)] * 2, [SLOW, SLOW], [near, FAST], [report(SLOW)] * 2)
    assert found["conflict.rate.pairs"] == 1 and found["conflict.findings.pairs"] == 2
    assert found["conflict.axis.pairs"] == 1 and found["conflict.rate.signal"] == 1


def test_axes_are_compared_around_the_circle():
    left, right = replace(SLOW, axis_deg=175.0), replace(SLOW, axis_deg=-175.0)
    found = conflict_scores([report(right)] * 2, [left, SLOW], [SLOW, right], [report(left)] * 2)
    assert found["conflict.axis.signal"] == 0.5 and found["conflict.axis.image"] == 0.5
    wild = conflict_scores(["Axis 699 degrees."], [replace(SLOW, axis_deg=0.0)], [FAST], [report(SLOW)])
    assert wild["conflict.axis.neither"] == 1, "699 degrees are 21 off, and nobody's axis"


class _Believer:
    """Describes the patient of one view, whose tokens are the patient's number."""

    def __init__(self, view: int, patients: list[Reading]):
        self.view, self.patients = view, patients

    def write(self, prompts, *views):
        return views[self.view][:, 0, 0].long().tolist()

    def texts(self, answers):
        return [report(self.patients[i]) for i in answers]


@pytest.mark.parametrize("view", [0, 1])
def test_a_model_that_believes_one_view_is_found_out(view):
    patients = [SLOW, FAST, THIRD, SLOW, FAST, THIRD, FAST]
    tokens = torch.arange(len(patients)).float()[:, None, None]
    found = conflict_metrics(_Believer(view, patients), tokens, tokens, patients)
    assert found[f"conflict.{SIDES[view]}"] == 1 and found[f"conflict.{SIDES[1 - view]}"] == 0
    assert found["conflict.consistent"] == 1


# --- windows


def beats(**other) -> dict[str, torch.Tensor]:
    """Truth of one record: an own beat just before 1 s, a premature ventricular one before 2 s, one outside."""
    truth = {
        "onset_s": torch.tensor([[0.995, 1.995, torch.nan]]),
        "beat_kind": torch.tensor([[0, 1, 0]]),
        "p_onset_s": torch.tensor([[0.795, torch.nan]]),
        "qrs_ms": torch.tensor([90.0]),
        "qt_ms": torch.tensor([400.0]),
    }
    return truth | other


def spans(mask: torch.Tensor) -> list[tuple[int, int]]:
    """Runs of True in (L,) as (first, last + 1)."""
    edges = torch.nn.functional.pad(mask.int(), (1, 1)).diff().nonzero()[:, 0].tolist()
    return list(zip(edges[::2], edges[1::2]))


def test_waves_lie_where_the_truth_says():
    p, qrs, st, t = wave_windows(beats(), 1000, 100.0)[0]
    assert spans(p) == [(80, 92)]
    assert spans(qrs) == [(100, 109), (200, 216)], "a premature ventricular QRS is wide"
    assert spans(st) == [(109, 117), (216, 224)]
    assert spans(t) == [(117, 140), (224, 240)]


def test_without_p_waves_their_place_is_before_the_qrs():
    none = beats(p_onset_s=torch.full((1, 2), torch.nan))
    assert spans(wave_windows(none, 1000, 100.0)[0, 0]) == [(80, 100), (180, 200)]


def test_every_finding_but_the_normal_ecg_has_waves_that_carry_it():
    assert set(GROUP) == set(CARRIERS) == set(CODES) - {"NORM"}
    assert all(set(waves) <= set(WAVES) for waves in CARRIERS.values())
    assert len({(GROUP[code], *waves) for code, waves in CARRIERS.items()}) == len(set(GROUP.values())), "alike in each"


# --- ratios


def test_looking_everywhere_is_one_and_looking_at_the_waves_alone_is_one_over_their_share():
    windows = torch.zeros(2, 1000, dtype=torch.bool)
    windows[:, :250] = True
    mass = torch.stack([torch.ones(1000), windows[0].float()])
    assert ratios(mass, windows).tolist() == pytest.approx([1.0, 4.0])
    assert ratios(mass, ~windows).tolist() == pytest.approx([1.0, 0.0])
    assert ratios(mass, torch.zeros_like(windows)).isnan().all()
    assert ratios(torch.zeros(2, 1000), windows).tolist() == [0, 0], "no mass is no evidence"


# --- does it read at all?


class Reader:
    """Says of each signal what a function of it says; an image alone is blank to it."""

    def __init__(self, say):
        self.say = say

    def encode_ecg(self, signal, image):
        return signal, image

    def write(self, prompts, signal=None, image=None):
        return list(range(len(prompts))) if signal is None else list(signal)

    def texts(self, answers):
        return [self.say(x) if isinstance(x, torch.Tensor) else "" for x in answers]


def oracle(*simulated):
    """Says the truth of the records that it knows."""
    known = {x.numpy().tobytes(): report(r) for one in simulated for x, r in zip(one.signal, readings(one.truth))}
    return Reader(lambda x: known.get(x.numpy().tobytes(), report(SLOW)))


def test_findings_fall_with_the_wave_that_a_model_looks_at():
    records = simulate(3, torch.arange(40))
    truth, qrs = [report(r) for r in readings(records.truth)], wave_windows(records.truth, 1000, 100.0)[:, 1:2]

    def say(x):  # the truth, as long as every QRS complex is there
        row = (records.signal - x).abs().mean((1, 2)).argmin()
        return truth[row] if ((records.signal[row] - x) * qrs[row]).abs().max() < 1e-6 else "Nothing."

    found = occlusion(Reader(say), records, each=2)
    assert found["occlusion.findings"] > 10
    shares = {wave: [v for key, v in found.items() if key.endswith(f".{wave}")] for wave in WAVES}
    assert min(shares["QRS"]) == 1 and sum(shares["P"]) / len(shares["P"]) < 0.2 > sum(shares["T"]) / len(shares["T"])
    assert found["occlusion.own"] > found["occlusion.other"]
    nobody = replace(records, truth=records.truth | {"findings": torch.zeros(40, len(CODES), dtype=torch.bool)})
    assert occlusion(Reader(say), nobody) == {"occlusion.findings": 0}


def test_who_reads_knows_the_own_ecg_from_another_and_from_none():
    records = simulate(5, torch.arange(24))
    found = reading_controls(oracle(records), records.signal, readings(records.truth))
    assert {key.split(".")[1] for key in found} == {"own", "another", "noise", "zeros", "text", "majority"}
    assert found["controls.own.findings_macro_f1"] == 1 and found["controls.own.pr_mae_ms"] < 5
    for what in ("another", "noise", "zeros", "text", "majority"):
        assert found[f"controls.{what}.findings_macro_f1"] < 0.6, what
        assert found[f"controls.{what}.hr_mae_bpm"] > 10, what


def test_an_answer_that_nothing_is_attached_reports_nothing():
    records = simulate(5, torch.arange(8))
    reader = oracle(records)
    reader.texts = lambda answers: [reader.say(x) if isinstance(x, torch.Tensor) else NO_ECG for x in answers]
    found, truth = reading_controls(reader, records.signal, readings(records.truth)), readings(records.truth)
    silent = report_scores([""] * len(truth), truth)
    assert {name: found[f"controls.text.{name}"] for name in silent} == silent
    assert silent["findings_macro_f1"] == silent["readable"] == 0


def test_one_thing_changed_changes_what_is_said_of_it_alone():
    changed = [simulate(7, torch.arange(6), change=change) for change in CHANGES.values()]
    true = counterfactuals(oracle(simulate(7, torch.arange(6)), *changed), 6, 7)
    stubborn = counterfactuals(Reader(lambda x: report(SLOW)), 6, 7)
    wild = counterfactuals(Reader(lambda x: report(SLOW if x.mean() > x[0].mean() else THIRD)), 6, 7)
    for name in CHANGES:
        assert true[f"counterfactual.{name}.right"] > 0.95 and true[f"counterfactual.{name}.moved"] < 0.02, name
        assert stubborn[f"counterfactual.{name}.right"] < 0.5 and stubborn[f"counterfactual.{name}.moved"] == 0, name
        assert true[f"counterfactual.{name}.n"] > 0, name
    assert sum(wild[f"counterfactual.{name}.right"] for name in CHANGES) < 0.5 * len(CHANGES)


def test_a_changed_heart_is_the_same_but_for_the_change():
    one, other = simulate(7, torch.arange(6)), simulate(7, torch.arange(6), change=CHANGES["ST in V2"])
    moved = other.truth["st_mv"] - one.truth["st_mv"]  # (B, 12)
    assert (moved[:, 7] > 0.25).all() and moved[:, [0, 1, 6, 8, 11]].abs().max() < 1e-5
    assert torch.equal(one.truth["rate_bpm"], other.truth["rate_bpm"])
