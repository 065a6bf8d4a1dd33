"""simulator: a record is the same whoever makes it, and what it calls true can be measured on its signal."""

import hashlib
import inspect
import subprocess
import sys

import numpy as np
import pytest
import torch

from uniecg_lite.ecg import ECG, LEADS, lead_law_residual
from uniecg_lite.scoring import heart_rate
from uniecg_lite.simulator import FINDINGS, simulate

HZ = 500.0
COLUMN = {code: i for i, code in enumerate(FINDINGS)}
LEAD = {name: i for i, name in enumerate(LEADS)}


@pytest.fixture(scope="module")
def population():
    """4,000 noise-free records at 100 Hz."""
    return simulate(5, torch.arange(4000), noise=False)


@pytest.fixture(scope="module")
def fine():
    """300 noise-free records at 500 Hz."""
    return simulate(3, torch.arange(300), HZ, noise=False)


def has(made, code: str) -> torch.Tensor:
    return made.truth["findings"][:, COLUMN[code]]


def digest(made) -> str:
    """A hash of the signal and of everything that is true about it."""
    whole = hashlib.blake2b(made.signal.contiguous().numpy().tobytes(), digest_size=16)
    for key in sorted(made.truth):
        whole.update(made.truth[key].contiguous().numpy().tobytes())
    return whole.hexdigest()


def assert_same(made, other, rows=slice(None)):
    """Bit by bit; NaN counts as equal to NaN."""
    assert torch.equal(made.signal, other.signal[rows])
    for key, value in made.truth.items():
        np.testing.assert_array_equal(value.numpy(), other.truth[key][rows].numpy(), err_msg=key)


def whole_beats(made, row: int) -> np.ndarray:
    """QRS onsets of a record, in s, away from both ends."""
    onset = made.truth["onset_s"][row].numpy()
    return onset[(onset > 0.3) & (onset < 9.4)]


def regular_rows(made) -> list[int]:
    """Rows whose beats are all alike: no ventricular beat."""
    return torch.nonzero(~has(made, "PVC"))[:, 0].tolist()


def at(signal: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """The values of (12, L) at these times, on a straight line between samples: (12, n)."""
    place = seconds * HZ
    before = np.floor(place).astype(int)
    share = place - before
    return signal[:, before] * (1 - share) + signal[:, before + 1] * share


# --- the same record, whoever makes it


@pytest.mark.parametrize("size", [1, 3, 17])
def test_a_record_does_not_depend_on_its_batch(size):
    whole = simulate(11, torch.arange(40))
    for rows in torch.arange(40).split(size):
        assert_same(simulate(11, rows), whole, rows)


def test_a_record_does_not_depend_on_the_order():
    whole, order = simulate(11, torch.arange(40)), torch.randperm(40, generator=torch.Generator().manual_seed(0))
    assert_same(simulate(11, order), whole, order)
    assert_same(simulate(11, [7, 7, 3]), whole, torch.tensor([7, 7, 3]))


def test_a_record_does_not_depend_on_threads():
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = simulate(11, torch.arange(64))
        torch.set_num_threads(4)
        assert_same(simulate(11, torch.arange(64)), alone)
    finally:
        torch.set_num_threads(threads)


def test_another_process_makes_the_same_record():
    script = (
        "import hashlib, torch\nfrom uniecg_lite.simulator import simulate\ntorch.set_num_threads(1)\n"
        f"{inspect.getsource(digest)}print(digest(simulate(11, torch.arange(24))))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == digest(simulate(11, torch.arange(24)))


def test_seed_and_number_make_other_records():
    first, other = simulate(0, torch.arange(8)), simulate(1, torch.arange(8))
    flat = torch.cat([first.signal, other.signal]).flatten(1)
    correlation = torch.corrcoef(flat) - torch.eye(16)
    assert correlation.abs().max() < 0.9


def test_noise_only_adds_to_the_same_heart():
    quiet, noisy = simulate(4, torch.arange(50), noise=False), simulate(4, torch.arange(50))
    for key, value in quiet.truth.items():
        np.testing.assert_array_equal(value.numpy(), noisy.truth[key].numpy())
    noise = noisy.signal - quiet.signal
    assert noise.std((1, 2)).min() > 0.002, "every record has some noise"
    assert lead_law_residual(noise, quantile=1).max() < 1e-6, "noise enters at the electrodes, so it obeys the laws"


# --- the signal


@pytest.mark.parametrize("noise", [False, True])
def test_leads_obey_einthoven_and_goldberger(noise):
    signal = simulate(2, torch.arange(200), noise=noise).signal
    assert signal.shape == (200, 12, 1000) and signal.isfinite().all()
    assert lead_law_residual(signal, quantile=1).max() < 1e-6


def test_every_record_is_an_ecg_that_can_be_loaded():
    for signal in simulate(6, torch.arange(100)).signal.numpy():
        assert ECG(signal, 100).standard().signal.shape == (12, 1000)


def test_the_same_heart_at_two_rates(fine):
    coarse = simulate(3, torch.arange(100), noise=False)
    torch.testing.assert_close(fine.signal[:100, :, ::5], coarse.signal, atol=1e-5, rtol=0)
    resampled = np.stack([ECG(s, HZ).resample(100).signal for s in fine.signal[:100].numpy()])
    error = np.abs(resampled - coarse.signal.numpy())
    assert np.sqrt((error**2).mean()) < 0.005 and np.quantile(error, 0.999) < 0.05, "mV"
    for key, value in coarse.truth.items():
        np.testing.assert_array_equal(value.numpy(), fine.truth[key][:100].numpy(), err_msg=key)


def test_first_beat_sets_where_the_first_whole_beat_begins():
    made = simulate(5, torch.arange(1000), 102.4, noise=False, first_beat=0.3)
    assert made.signal.shape == (1000, 12, 1024)
    torch.testing.assert_close(made.truth["onset_s"][:, 2], torch.full((1000,), 0.3), atol=1e-5, rtol=0)
    earliest = made.truth["onset_s"].nan_to_num(99).amin(1)
    assert (earliest >= 0.3 - 1e-5).float().mean() > 0.99, "an early ventricular beat may still precede it"
    free = simulate(5, torch.arange(1000), noise=False).truth["onset_s"].nan_to_num(99).amin(1)
    assert free.std() > 0.1, "by default a record begins anywhere"


# --- truth against signal


def test_the_rate_measured_on_the_signal_is_the_true_rate(population):
    error = (heart_rate(population.signal, 100.0) - population.truth["rate_bpm"]).abs()
    plain = ~has(population, "PVC")
    assert (error[plain] <= 2).float().mean() >= 0.98
    assert (error <= 2).float().mean() >= 0.95, "a tall ventricular beat can hide its neighbours"
    assert error.median() < 0.2


def test_qrs_onset_lies_before_the_peak_and_the_peak_within_the_qrs(fine):
    for row in regular_rows(fine)[:150]:
        signal, duration = fine.signal[row].numpy(), fine.truth["qrs_ms"][row].item() / 1000
        for onset in whole_beats(fine, row):
            first, last = round((onset - 0.05) * HZ), round((onset + duration + 0.05) * HZ)
            peak = np.square(signal[:, first:last]).sum(0).argmax() / HZ - 0.05
            assert 0 < peak < duration, f"record {row}: the largest deflection is {1000 * peak:.0f} ms after the onset"


def test_st_level_at_j_plus_20_ms_is_the_true_one(fine):
    sinus = [row for row in regular_rows(fine) if not has(fine, "AFIB")[row]]
    for row in sinus[:200]:
        j20 = whole_beats(fine, row) + fine.truth["qrs_ms"][row].item() / 1000 + 0.02
        level, truth = np.median(at(fine.signal[row].numpy(), j20), 1), fine.truth["st_mv"][row].numpy()
        assert (np.abs(level - truth) <= 0.01 + 0.06 * np.abs(truth)).all(), "breathing moves amplitudes by 6%"


def test_axis_from_net_areas_is_the_true_one(fine):
    errors = []
    for row in [row for row in regular_rows(fine) if not has(fine, "AFIB")[row]]:
        signal, duration = fine.signal[row].numpy(), fine.truth["qrs_ms"][row].item() / 1000
        areas = [signal[:, round(t * HZ) : round((t + duration) * HZ) + 1].sum(1) for t in whole_beats(fine, row)]
        net = np.mean(areas, 0)
        axis = np.degrees(np.arctan2(net[LEAD["aVF"]] * 2 / 3**0.5, net[LEAD["I"]]))
        errors.append(abs((axis - fine.truth["axis_deg"][row].item() + 180) % 360 - 180))
    assert np.median(errors) < 0.2 and np.quantile(errors, 0.99) < 2 and max(errors) < 5, "degrees"


def test_voltages_are_those_of_the_signal(fine):
    """R of V5 and S of V1, which left ventricular hypertrophy is called from."""
    plain = [r for r in regular_rows(fine) if not has(fine, "AFIB")[r] and has(fine, "SBRAD")[r]]
    assert len(plain) > 20
    for row in plain:
        signal, duration = fine.signal[row].numpy(), fine.truth["qrs_ms"][row].item() / 1000
        beats = [signal[:, round(t * HZ) : round((t + duration) * HZ) + 1] for t in whole_beats(fine, row)]
        high, low = np.median([b.max(1) for b in beats], 0), np.median([b.min(1) for b in beats], 0)
        for name in ("V1", "V5", "V6"):
            r, s = (fine.truth[key][row, LEAD[name]].item() for key in ("r_mv", "s_mv"))
            assert max(0, high[LEAD[name]]) == pytest.approx(r, abs=0.02 + 0.08 * r)
            assert min(0, low[LEAD[name]]) == pytest.approx(s, abs=0.02 + 0.08 * abs(s))


# --- medicine


def test_every_finding_is_common_enough_to_learn(population):
    share = population.truth["findings"].float().mean(0)
    rare = {code: round(share[i].item(), 3) for code, i in COLUMN.items() if share[i] < 0.03}
    assert not rare


def test_exactly_one_rhythm(population):
    rhythms = population.truth["findings"][:, [COLUMN[c] for c in ("SR", "SBRAD", "STACH", "AFIB")]]
    assert (rhythms.sum(1) == 1).all()


def test_the_rate_decides_the_name_of_a_sinus_rhythm(population):
    rate = population.truth["rate_bpm"]
    assert ((rate[has(population, "SR")] >= 60) & (rate[has(population, "SR")] <= 100)).all()
    assert (rate[has(population, "SBRAD")] < 60).all() and (rate[has(population, "STACH")] > 100).all()
    assert rate.min() > 25 and rate.max() < 200


@pytest.mark.parametrize(
    ("code", "other"),
    [
        ("1AVB", "AFIB"), ("PAC", "AFIB"), ("PAC", "PVC"), ("CLBBB", "CRBBB"),
        ("CLBBB", "LVH"), ("CLBBB", "STE_ANT"), ("CLBBB", "STE_INF"), ("CLBBB", "TINV"),
    ],
)  # fmt: skip
def test_what_never_goes_together(population, code, other):
    assert not (has(population, code) & has(population, other)).any()


def test_pr_is_nan_exactly_in_atrial_fibrillation(population):
    pr, afib = population.truth["pr_ms"], has(population, "AFIB")
    assert torch.equal(pr.isnan(), afib)
    assert torch.equal(pr > 200, has(population, "1AVB"))
    assert (pr[~afib] > 80).all() and (pr[~afib] < 340).all()


def test_atrial_fibrillation_is_irregular_and_sinus_rhythm_is_not(population):
    intervals = population.truth["onset_s"].diff(dim=1)
    middle = intervals.nanmedian(1, keepdim=True).values
    spread = (intervals / middle - 1).square().nanmean(1).sqrt()
    ectopic = has(population, "PVC") | has(population, "PAC")
    afib = has(population, "AFIB")
    assert spread[afib & ~ectopic].quantile(0.05) > spread[~afib & ~ectopic].quantile(0.95)


def test_bundle_branch_blocks_are_wide_and_nothing_else_is(population):
    wide = has(population, "CLBBB") | has(population, "CRBBB")
    qrs = population.truth["qrs_ms"]
    assert (qrs[wide] >= 120).all() and (qrs[~wide] < 120).all()


def test_qt_shortens_when_the_heart_is_fast(population):
    rate, qt, qtc = (population.truth[key] for key in ("rate_bpm", "qt_ms", "qtc_ms"))
    assert torch.corrcoef(torch.stack([rate, qt]))[0, 1] < -0.75
    torch.testing.assert_close(qtc, qt * (rate / 60).sqrt())
    assert (qt > population.truth["qrs_ms"] + 100).all()


def test_left_axis_deviation_follows_the_axis(population):
    axis = population.truth["axis_deg"]
    assert torch.equal((axis < -30) & (axis > -90), has(population, "LAD"))


def test_inferior_st_elevation_shows_in_the_inferior_leads(population):
    inferior = population.truth["st_mv"][:, [LEAD[name] for name in ("II", "III", "aVF")]]
    expected = ((inferior >= 0.1).sum(1) >= 2) & ~has(population, "CLBBB")
    assert torch.equal(expected, has(population, "STE_INF"))


def test_women_and_men_of_every_adult_age(population):
    age, female = population.truth["age"], population.truth["female"]
    assert age.min() >= 18 and age.max() <= 95 and (age == age.round()).all()
    assert 0.47 < female.float().mean() < 0.53
    qtc = population.truth["qt_ms"] * (population.truth["rate_bpm"] / 60) ** (1 / 3)
    assert qtc[female].median() > qtc[~female].median(), "QT is longer in women"
