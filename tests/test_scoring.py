"""scoring: known answers score what they must, nothing is skipped, and peaks are found where they are."""

import math
import random
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import tiny
import torch

from uniecg_lite import cohort
from uniecg_lite.beats import beat_size_spread, heart_rate, r_peaks
from uniecg_lite.ecg import ECG
from uniecg_lite.errors import BadECG
from uniecg_lite.findings import CODES, LEAD_SIGNS, Reading, lead_signs, report
from uniecg_lite.language.conversations import Corpus
from uniecg_lite.language.report_parser import parse_report
from uniecg_lite.metrics import chain
from uniecg_lite.metrics.reader import FACT_WIDTH, NUMBERS, Reader, decode_facts, facts, facts_loss
from uniecg_lite.metrics.real_records import rated_records
from uniecg_lite.metrics.reports import UNREAD, finding_scores, interval_errors, macro_f1, report_scores, table_of
from uniecg_lite.simulator.simulate import simulate
from uniecg_lite.training import TrainingLoop

# --- heart rate on signals


def spikes(rate: float, hz: float, seconds: float = 10.0, first: float = 0.4) -> tuple[torch.Tensor, np.ndarray]:
    """(1, 12, L) of narrow triangles at a steady rate, and where they are in s."""
    time, places = np.arange(round(hz * seconds)) / hz, np.arange(first, seconds - 0.2, 60 / rate)
    shape = np.clip(1 - np.abs(time[:, None] - places) / 0.03, 0, None).sum(1)
    return torch.from_numpy(np.outer(np.linspace(-1, 1, 12), shape)).float()[None], places


@pytest.mark.parametrize("hz", [100.0, 102.4, 500.0])
@pytest.mark.parametrize("rate", [35, 60, 72, 110, 150, 190])
def test_the_rate_of_a_spike_train(rate, hz):
    signal, places = spikes(rate, hz)
    assert heart_rate(signal, hz).item() == pytest.approx(rate, rel=0.01)
    found = torch.nonzero(r_peaks(signal, hz)[0])[:, 0].numpy() / hz
    assert np.abs(found[:, None] - places).min(0).max() < 0.06, "every spike is found"


def test_polarity_offset_and_size_do_not_matter():
    signal = simulate(0, torch.arange(40), noise=False).signal
    rate = heart_rate(signal, 100.0)
    for other in (-signal, 0.3 * signal, signal + torch.linspace(-1, 1, 12)[:, None]):
        torch.testing.assert_close(heart_rate(other, 100.0), rate, atol=0.5, rtol=0.01)


def test_no_rate_is_nan_and_not_a_number_out_of_thin_air():
    single = torch.zeros(1, 12, 1000)
    single[..., 500:503] = 1.0
    assert heart_rate(single, 100.0).isnan().all()


def test_the_spread_of_beat_sizes():
    signal, places = spikes(60, 100.0)
    assert beat_size_spread(signal, 100.0).item() < 0.01, "all alike"
    louder = torch.ones(1000)
    for k, place in enumerate(places):
        louder[round(100 * place) - 30 : round(100 * place) + 30] = 1.2 if k % 2 else 0.8
    assert beat_size_spread(signal * louder, 100.0).item() == pytest.approx(0.2, abs=0.02)
    assert beat_size_spread(3 * signal * louder, 100.0).item() == pytest.approx(0.2, abs=0.02), "a share"
    assert beat_size_spread(torch.zeros(2, 12, 1000), 100.0).isnan().all()
    own = beat_size_spread(simulate(0, torch.arange(40), noise=False).signal, 100.0)
    assert own.nanmedian() < 0.06, "a heart's beats are alike"


def test_rates_of_noisy_records():
    generated = simulate(12, torch.arange(300))
    error = (heart_rate(generated.signal, 100.0) - generated.truth["rate_bpm"]).abs().nan_to_num(60)
    assert error.median() < 0.5 and (error < 3).float().mean() > 0.9


def test_rates_of_real_records(real_records):
    records, rate, refused = rated_records(real_records[0].parent)
    assert len(records) == len(rate) > 50 and refused < 5
    error = (heart_rate(records.signal(range(0, len(rate), 2)), 100.0) - rate[::2]).abs()
    assert error.median() < 3


def test_disputed_reference_rates_are_left_out(tmp_path):
    rows = [
        ("agree", "80", "82"), ("exactly", "100", "90"), ("apart", "80", "100"), ("one", "80", ""), ("none", "", ""),
        ("nan", "nan", "80"), ("other_nan", "80", "nan"), ("lost", "70", "70"),
    ]  # fmt: skip
    for name, *_ in rows[:-1]:
        ECG(simulate(0, torch.arange(1)).signal[0].numpy(), 100.0).save(tmp_path / name)
    table = pd.DataFrame(rows, columns=["record", "hr_bpm_nk", "hr_bpm_nk_pantompkins"])
    table.to_csv(tmp_path / "manifest.csv", index=False)
    records, rate, refused = rated_records(tmp_path)
    assert dict(zip(records.column("record"), rate.tolist())) == {"agree": 80.0, "exactly": 100.0} and refused == 1


# --- findings


def f1_by_hand(stated, truth) -> dict[str, float]:
    out = {}
    for i, code in enumerate(CODES):
        tp = fp = fn = 0
        for s, t in zip(stated[:, i].tolist(), truth[:, i].tolist()):
            tp, fp, fn = tp + (s and t), fp + (s and not t), fn + (t and not s)
        if tp + fp + fn:
            precision, recall = tp / (tp + fp) if tp + fp else 0, tp / (tp + fn) if tp + fn else 0
            out[code] = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return out


@pytest.mark.parametrize("share", [0.05, 0.3, 0.9])
def test_f1_equals_precision_and_recall_by_hand(share):
    generator = torch.Generator().manual_seed(0)
    stated, truth = (torch.rand(60, len(CODES), generator=generator) < share for _ in range(2))
    truth[:, 3] = stated[:, 3] = False  # nobody has it, nobody says it
    truth[:, 4] = False
    stated[:3, 4] = True  # said, never true
    expected = f1_by_hand(stated, truth)
    found = finding_scores(stated, truth)
    assert found == pytest.approx(expected) and CODES[3] not in found and found[CODES[4]] == 0
    assert macro_f1(stated, truth) == pytest.approx(sum(expected.values()) / len(expected))
    assert macro_f1(truth, truth) == 1


# --- reports


def test_perfect_reports_score_one_and_zero():
    readings = tiny.corpus().readings
    scores = report_scores(tiny.corpus().reports, readings)
    assert scores["findings_macro_f1"] == 1 and scores["readable"] == 1
    assert scores["hr_mae_bpm"] <= 0.5
    assert all(scores[f"{key}_mae_ms"] <= 5 for key in ("pr", "qrs", "qt", "qtc")) and scores["axis_mae_deg"] <= 5
    exact = [parse_report(text) for text in tiny.corpus().reports]
    assert set(interval_errors(exact, exact).values()) == {0.0}


def test_an_empty_report_is_scored_and_not_skipped():
    truth = [Reading(100.0, 160.0, 90.0, 400.0, 420.0, 60.0, findings=frozenset({"SR"}))] * 4
    good = report(truth[0])
    scores = report_scores([good, "", good, "no idea"], truth)
    assert scores["hr_mae_bpm"] == pytest.approx(2 * abs(UNREAD["rate_bpm"] - 100) / 4)
    assert scores["readable"] == 0.5 and scores["findings_macro_f1"] == pytest.approx(2 * 2 / (2 + 4))
    assert all(not math.isnan(value) for value in scores.values())


def test_every_missing_number_costs_something_on_a_population():
    """Saying nothing must not pay: on real spreads it is far worse than reading."""
    readings = tiny.corpus().readings
    silent = report_scores([""] * len(readings), readings)
    assert silent["readable"] == 0 and silent["findings_macro_f1"] == 0
    assert silent["hr_mae_bpm"] > 15 and silent["qt_mae_ms"] > 25 and silent["axis_mae_deg"] > 20


def test_axis_errors_go_around_the_circle():
    truth, stated = [Reading(axis_deg=175.0)] * 2, [Reading(axis_deg=-175.0), Reading(axis_deg=155.0)]
    assert interval_errors(stated, truth)["axis_mae_deg"] == pytest.approx((10 + 20) / 2)
    wild = parse_report("Axis 699 degrees.")
    assert wild.axis_deg == 699 and interval_errors([wild], [Reading(axis_deg=0.0)])["axis_mae_deg"] == 21


def test_an_interval_that_is_not_there_does_not_count():
    truth = [Reading(pr_ms=math.nan), Reading(pr_ms=200.0)]
    assert interval_errors([Reading(pr_ms=120.0), Reading(pr_ms=190.0)], truth)["pr_mae_ms"] == 10
    assert math.isnan(interval_errors(truth[:1], truth[:1])["pr_mae_ms"])


def test_without_any_finding_there_is_no_mean():
    none = torch.zeros(3, len(CODES), dtype=torch.bool)
    assert finding_scores(none, none) == {} and math.isnan(macro_f1(none, none))


def test_records_that_cannot_be_read_are_refused_in_one_sentence(tmp_path):
    (tmp_path / "manifest.csv").write_text("record,hr_bpm_nk,hr_bpm_nk_pantompkins\nlost,70,70\n")
    with pytest.raises(BadECG, match="None of these records can be used"):
        chain.real_metrics(None, tmp_path)


def test_one_wrong_finding_lowers_the_score_and_only_that_one():
    readings = tiny.corpus().readings
    table = table_of(readings)
    assert torch.equal(table, tiny.patients().truth["findings"])
    wrong = table.clone()
    wrong[0, 2] = ~wrong[0, 2]
    scores, perfect = finding_scores(wrong, table), finding_scores(table, table)
    assert {code for code in perfect if scores[code] != 1} == {CODES[2]} and scores[CODES[2]] < 1


# --- facts in numbers


def test_facts_are_told_back_in_their_own_units():
    truth = tiny.patients().truth
    table = facts(truth)
    assert table.shape == (300, FACT_WIDTH)
    numbers, found, signs = decode_facts(table)
    assert torch.equal(found, truth["findings"].float())
    assert torch.equal(signs, lead_signs(truth).float()) and signs.shape == (300, len(LEAD_SIGNS), 12)
    for key, value in numbers.items():
        torch.testing.assert_close(value, truth[key], atol=1e-2, rtol=1e-4, equal_nan=True)
    assert facts(truth).isnan().any(), "no PR in atrial fibrillation"
    assert not table[:, NUMBERS:].isnan().any()
    wrong = table.nan_to_num(0).clone()
    wrong[:, 0] += 1
    silent = torch.where(table > 0.5, 20.0, -20.0)
    silent[:, :NUMBERS] = table[:, :NUMBERS].nan_to_num(123.0)
    assert facts_loss(silent, table) < 1e-3 < facts_loss(wrong, table), "a missing PR costs nothing, whatever is told"


def test_a_wrong_finding_and_a_wrong_sign_cost():
    table = facts(tiny.patients().truth)
    predicted = torch.where(table > 0.5, 20.0, -20.0)
    predicted[:, :NUMBERS] = table[:, :NUMBERS].nan_to_num(0)
    for place in (NUMBERS, NUMBERS + len(CODES), FACT_WIDTH - 1):
        wrong = predicted.clone()
        wrong[:, place] *= -1
        assert facts_loss(wrong, table) > facts_loss(predicted, table) + 0.1, place


def test_the_reader_reads(tmp_path):
    torch.manual_seed(0)
    reader = Reader(16)
    predicted, logits, signs = reader.predict(simulate(1, torch.arange(5)).signal, batch=2)
    assert logits.shape == (5, len(CODES)) and signs.shape == (5, len(LEAD_SIGNS), 12)
    assert (
        set(predicted) == {"rate_bpm", "qrs_ms", "qt_ms", "pr_ms", "axis_deg"}
        and predicted["axis_deg"].abs().max() <= 180
    )
    assert torch.equal(reader.read(simulate(1, torch.arange(5)).signal, batch=2)[1], logits > 0)
    numbers, found = reader.read(simulate(1, torch.arange(5)).signal, batch=2)
    assert all(value.shape == (5,) for value in numbers.values()) and {"rate_bpm", "qrs_ms", "qt_ms"} <= set(numbers)
    assert found.shape == (5, len(CODES)) and found.dtype == torch.bool
    loop = TrainingLoop({"reader": reader}, tiny.replace(tiny.PLAN, steps=30, batch=16, lr=5e-3), 0, tmp_path)
    for step in loop:
        signal, table = tiny.defined_in("06_diffusets").fresh_patients(step.number, 16, 0)
        step.learn(facts_loss(reader(signal), table))
    assert loop.history["loss"][-1] < loop.history["loss"][0]
    generated = simulate(1, torch.arange(64))
    one, two = (
        reader.read(generated.signal, batch=64)[0]["rate_bpm"],
        reader.read(generated.signal, batch=7)[0]["rate_bpm"],
    )
    torch.testing.assert_close(one, two, atol=1e-3, rtol=1e-4)


# --- the chain's own scores


@pytest.fixture(scope="module")
def few_patients(tmp_path_factory):
    folder = cohort.write(cohort.simulated(0, 60), tmp_path_factory.mktemp("cohort") / "splits")
    return cohort.load(folder, "train")


class Teller:
    """A model that reports the truth when the signal is shown, and nothing otherwise."""

    ecg_ids: list[int] = []

    def __init__(self, reports):
        self.reports = reports
        self.encode_ecg = lambda *views: [x if x is None else torch.ones(len(x), 1, 1) for x in views]

    def write(self, prompts, signal=None, image=None):
        return [[i] if signal is not None else [-1] for i in range(len(prompts))]

    def texts(self, answers):
        return [self.reports[i] if i >= 0 else "" for [i] in answers]


def test_stage1_metrics_of_a_model_that_knows(few_patients):
    found = chain.stage1_metrics(Teller(Corpus(few_patients.truth()).reports), few_patients, 20)
    assert found["stage1.findings_macro_f1"] == found["stage1.signal.findings_macro_f1"] == 1
    assert found["stage1.hr_mae_bpm"] <= 0.5 and found["stage1.image.findings_macro_f1"] == 0


def test_generation_metrics_of_a_generator_that_knows(few_patients):
    """Asked for the patients of the cohort, it gives back their own ECGs: the rate error is what is left."""
    first = [row for row, name in enumerate(few_patients.column("record")) if cohort.population_of([name])[2] == 0][:20]
    assert first == list(range(20)), "later visits come after all first ones"
    _, index, _ = cohort.population_of([few_patients.column("record")[row] for row in first])
    generated = simulate(0, index, 102.4, 10.0, noise=False, first_beat=0.3)
    model = SimpleNamespace(
        generator=SimpleNamespace(signals=lambda conditions: generated.signal), conditions=lambda prompts: prompts
    )
    truth = few_patients.truth(range(20))["findings"]
    reader = SimpleNamespace(
        read=lambda x: (generated.truth, truth), features=lambda x: x[:, 0].unflatten(1, (4, -1)).std(2)
    )
    found = chain.generation_metrics(model, reader, few_patients, 20)
    assert found["generation.hr_median_error_bpm"] < 1 and found["generation.findings_macro_f1"] == 1
    off = [found[f"generation.{name}"] for name in ("qrs_mean_error_ms", "axis_mean_error_deg")]
    assert 0 < max(off) <= 5, "they are asked for in tens"
    assert found["generation.sex_accuracy"] == found["generation.true_sex_accuracy"], "they are the true ones"
    assert found["generation.unified_fid_ratio_to_floor"] < 10 and found["generation.unified_precision"] > 0.5
    model.generator.signals = lambda conditions: torch.zeros(20, 12, 1024) + 1e-3 * torch.eye(12, 1024)
    flat = chain.generation_metrics(model, reader, few_patients, 20)
    assert flat["generation.hr_mean_error_bpm"] > 20, "an ECG without a rate is an error"
    assert flat["generation.unified_recall"] == 0
    assert flat["generation.unified_fid"] > 2 * found["generation.unified_fid"]


def test_shuffled_reports_score_badly():
    """A report of another patient must not pass for a good one."""
    readings, reports = tiny.corpus().readings, list(tiny.corpus().reports)
    random.Random(0).shuffle(reports)
    scores = report_scores(reports, readings)
    assert scores["findings_macro_f1"] < 0.35 and scores["hr_mae_bpm"] > 20
