"""realism: statistics measure what they say, and the classifier finds a difference if there is one, and only then."""

import math

import pytest
import torch

from uniecg_lite import beats
from uniecg_lite.cohort import in_memory, simulated
from uniecg_lite.config import SMOKE
from uniecg_lite.errors import BadArtifact, BadECG
from uniecg_lite.findings import CODES
from uniecg_lite.leads import from_independent
from uniecg_lite.metrics import realism
from uniecg_lite.metrics.real_records import load_records
from uniecg_lite.metrics.realism import band_rms, compare, ks_distance, sinus_like, statistics
from uniecg_lite.simulator.hearts import as_recorded
from uniecg_lite.simulator.simulate import simulate
from uniecg_lite.store import Store
from uniecg_lite.studies import real as study
from uniecg_lite.studies.grid import STUDIES, run_study
from uniecg_lite.studies.study import STUDIES_FOLDER, read_cells


@pytest.fixture(scope="module")
def generated():
    """200 simulated records without noise."""
    return simulate(5, torch.arange(200), noise=False)


def beating(rr: torch.Tensor, width: float = 0.012) -> torch.Tensor:
    """(K,) RR intervals in s -> (1, 12, 1000): one narrow wave a beat, along one direction of the leads."""
    at = 0.4 + torch.cat([torch.zeros(1), rr.cumsum(0)])
    time = torch.arange(1000) / 100
    wave = torch.exp(-0.5 * ((time[:, None] - at) / width) ** 2).sum(1)
    return from_independent(torch.linspace(0.3, 1.2, 8)[:, None] * wave)[None]


def test_rhythm_statistics_of_known_intervals():
    steady = statistics(beating(torch.full((11,), 0.8)))
    assert steady["rate_bpm"].item() == pytest.approx(75, abs=0.5)
    assert steady["sdnn_ms"].item() < 1 and steady["rmssd_ms"].item() < 1
    swinging = statistics(beating(torch.tensor([0.7, 0.9] * 5)))
    assert swinging["sdnn_ms"].item() == pytest.approx(100, rel=0.05)
    assert swinging["rmssd_ms"].item() == pytest.approx(200, rel=0.05)


def test_band_power_of_a_sine_lies_in_its_band_with_its_rms():
    time = torch.arange(1000) / 100
    for name, hz in (("drift", 0.25), ("wave", 8.0), ("fine", 42.0)):
        rms = band_rms((0.2 * torch.sin(2 * torch.pi * hz * time)).expand(1, 12, -1))
        assert rms[name][0, 0].item() == pytest.approx(0.2 / 2**0.5, rel=0.1)
        assert all(value[0, 0] < 0.02 for other, value in rms.items() if other != name)


def test_the_quiet_part_is_free_of_the_heart(generated):
    level = 0.02
    noisy = generated.signal + level * torch.randn(generated.signal.shape, generator=torch.Generator().manual_seed(0))
    quiet, clean = (realism.quiet_noise(x).median() for x in (noisy, generated.signal))
    assert clean < 0.05 * level and 0.4 * level < quiet < level


def test_a_record_without_beats_gives_nan_and_is_not_sinus_like():
    flat = torch.zeros(1, 12, 1000)
    flat[..., 500:503] = 1.0
    found = statistics(flat)
    assert found["rate_bpm"].isnan().all() and found["sdnn_ms"].isnan().all()
    assert not sinus_like(flat).any()


def test_sinus_like_by_measurement(generated):
    like = sinus_like(generated.signal)
    rate, afib = generated.truth["rate_bpm"], generated.truth["findings"][:, CODES.index("AFIB")].bool()
    assert not (like & (rate > 115)).any() and not (like & (rate < 45)).any()
    assert like[afib].float().mean() < 0.2 and like.float().mean() > 0.15


def test_distance_of_distributions():
    a = torch.linspace(0, 1, 1000)
    assert ks_distance(a, a) == 0 and ks_distance(a, a + 2) == 1
    assert ks_distance(a, a + 0.25) == pytest.approx(0.25, abs=0.01)
    assert ks_distance(torch.cat([a, torch.tensor([math.nan])]), a) == 0


def test_compare_names_each_statistic(generated):
    found = compare(generated.signal[:100], 2 * generated.signal[100:])
    assert found["realism.ks.span_mv"] > 0.3 > found["realism.ks.rate_bpm"]
    assert {key.split(".")[2] for key in found} >= {"drift_mv", "quiet_mv", "sdnn_ms", "qrs_variation", "non_dipolar"}


def test_beats_keep_away_from_the_ends(generated):
    marked = generated.signal[:50].clone()
    marked[..., :20] = 99.0
    marked[..., -20:] = -99.0
    beat, owner = beats.cut_beats(marked, 100.0)
    assert beat.shape[1:] == (12, 80) and (owner.diff() >= 0).all() and owner.unique().numel() > 45
    assert beat.abs().max() < 50


def test_the_classifier_finds_a_difference_when_there_is_one_and_none_otherwise(generated):
    plain = generated.signal[sinus_like(generated.signal)][:44]
    other = plain[22:].clone()
    other[:, 8:] *= -1
    apart = realism.separability(plain[:22], other, epochs=6)
    alike = realism.separability(plain[:22], plain[22:], epochs=6)
    assert apart["realism.auc"] > 0.95 > 0.8 > alike["realism.auc"]
    assert apart["realism.records"] == 44 and apart["realism.auc_low"] <= apart["realism.auc_high"]
    again = realism.separability(plain[:22], plain[22:], epochs=6)
    assert again == alike, "the same seed gives the same figures"


def test_a_patient_is_never_on_both_sides_of_a_fold(generated):
    signal = generated.signal[sinus_like(generated.signal)][:30]
    names = [f"p{i % 11}" for i in range(30)]
    _, owner, fold = realism._sample(signal, names, seed=3, side=1)
    for patient in set(names):
        mine = torch.tensor([names[i] == patient for i in owner.tolist()])
        assert fold[mine].unique().numel() == 1
    assert torch.bincount(owner).max() <= realism.BEATS_EACH


def test_too_few_records_are_refused(generated):
    with pytest.raises(BadECG, match="Ten records"):
        realism.separability(generated.signal[:5], generated.signal[:20])


def test_comparable_records_match_the_rates(generated):
    real = generated.signal[sinus_like(generated.signal)][:8] * 0.9
    rows = realism.comparable(generated.signal, generated.truth["findings"].bool(), real)
    assert len(rows) == len(rows.unique()) == 8
    gap = (beats.heart_rate(generated.signal[rows], 100.0) - beats.heart_rate(real, 100.0)).abs()
    assert gap.median() < 3


@pytest.fixture
def recorded(monkeypatch, tmp_path):
    """A folder that stands for real records: ninety simulated ones of another population."""
    other = in_memory(simulated(6, 90))
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "manifest.csv").write_text("record\n" + 91 * "r\n")
    monkeypatch.setenv("UNIECG_REAL_ECG", str(tmp_path / "real"))
    monkeypatch.setenv("UNIECG_ARTIFACTS", str(tmp_path / "artifacts"))
    monkeypatch.setattr(study, "load_records", lambda folder: other)
    return tmp_path / "real"


def test_the_study_runs_without_the_chain_and_finds_the_quieter_step(monkeypatch, tmp_path, recorded):
    monkeypatch.setitem(study.STEPS, "real-t", lambda index: simulate(0, index, noise=False).signal)
    for variant in ("real-t", "simulator"):
        run_study("realism", "smoke", 1, variant, tmp_path)
    cells = read_cells("realism", "smoke", tmp_path)
    assert [(c["variant"], c["seed"]) for c in cells] == [("real-t", 0), ("simulator", 0)]
    clean, noisy = (cell["metrics"] for cell in cells)
    assert clean["realism.refused"] == 1, "what cannot be read is counted"
    assert clean["realism.ks.quiet_mv"] > 0.5 > noisy["realism.ks.quiet_mv"]
    assert 0.3 < noisy["realism.auc"] <= clean["realism.auc"] + 0.1


def test_cells_depend_on_the_real_records_and_on_the_simulator(monkeypatch, recorded):
    store = Store.open(SMOKE)
    before = study.realism_settings(store, "simulator")
    assert before == study.realism_settings(store, "simulator") != study.realism_settings(store, "recorded-noise")
    monkeypatch.setitem(study.STEPS, "simulator", lambda index: 1.1 * simulate(0, index).signal)
    louder = study.realism_settings(store, "simulator")
    (recorded / "manifest.csv").write_text("record\nr1\n")
    assert before != louder != study.realism_settings(store, "simulator")


def test_without_real_records_the_study_says_what_to_set(monkeypatch, tmp_path):
    monkeypatch.setenv("UNIECG_REAL_ECG", str(tmp_path))
    with pytest.raises(BadArtifact, match="set UNIECG_REAL_ECG"):
        run_study("realism", "smoke", root=tmp_path)


def test_committed_cells_are_of_known_steps():
    assert list(study.STEPS) == list(STUDIES["realism"].variants)
    cells = read_cells("realism", "laptop", STUDIES_FOLDER)
    assert {cell["variant"] for cell in cells} == set(study.STEPS)
    assert all(0.5 < cell["metrics"]["realism.auc"] <= 1 for cell in cells)


def test_the_last_step_is_the_simulator():
    index = torch.arange(30, 40)
    noisy = study.drawn(index, as_recorded) + study.recorded_noise(index)
    torch.testing.assert_close(study.STEPS["simulator"](index), noisy, atol=1e-5, rtol=0)


def test_lifelike_hearts_come_closer_in_what_they_were_measured_for():
    index = torch.arange(150)
    plain, better = study.drawn(index), study.drawn(index, as_recorded)
    one, other = (statistics(signal)["non_dipolar"].nanmedian() for signal in (plain, better))
    assert other > 1.5 * one and other < 0.06
    assert torch.equal(better[7:9], study.drawn(index[7:9], as_recorded)), "whatever the batch"


def test_real_and_simulated_records_are_still_told_apart(real_records):
    real = separability_of_real(real_records, 40)
    generated = simulate(7, torch.arange(300))
    rows = realism.comparable(generated.signal, generated.truth["findings"].bool(), real)
    score = realism.separability(generated.signal[rows], real, epochs=5)
    assert 0.5 < score["realism.auc"] <= 1.0


def separability_of_real(records, most: int) -> torch.Tensor:
    """The first sinus-like real records."""
    records = load_records(records[0].parent)
    signal = records.signal(range(len(records)))
    return signal[sinus_like(signal)][:most]
