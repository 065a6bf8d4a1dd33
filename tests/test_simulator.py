"""simulator: a record is the same whoever makes it, and what it calls true can be measured on its signal."""

import hashlib
import inspect
import subprocess
import sys

import numpy as np
import pytest
import torch

from uniecg_lite.beats import heart_rate
from uniecg_lite.ecg import ECG
from uniecg_lite.findings import CODES, LEAD_SIGNS, Q_LEADS, RHYTHMS, T_LEADS, lead_signs
from uniecg_lite.leads import LEADS, lead_law_residual
from uniecg_lite.simulator.sample import sample
from uniecg_lite.simulator.schedule import schedule
from uniecg_lite.simulator.simulate import Simulated, simulate

HZ = 500.0
AGAIN = 1200
COLUMN = {code: i for i, code in enumerate(CODES)}
LEAD = {name: i for i, name in enumerate(LEADS)}
WIDE = ("CLBBB", "IVCD", "WPW", "VT", "PACE")  # these hide voltage, ST, T and Q criteria
RESTLESS = ("PVC", "BIGU", "AFIB", "AFLT", "3AVB", "JUNC")  # beats unlike each other, or atria that move under them


@pytest.fixture(scope="module")
def population():
    """6,000 noise-free records at 100 Hz."""
    return simulate(5, torch.arange(6000), noise=False)


@pytest.fixture(scope="module")
def fine():
    """300 noise-free records at 500 Hz."""
    return simulate(3, torch.arange(300), HZ, noise=False)


def has(generated, *codes: str) -> torch.Tensor:
    """(B,) True where any of these is there."""
    return generated.truth["findings"][:, [COLUMN[code] for code in codes]].any(1)


def right_block(generated) -> torch.Tensor:
    """(B,) True where a right block was drawn, in `population`."""
    plan = sample(5, torch.arange(len(generated.signal))).who.plan
    return plan[:, [COLUMN["CRBBB"], COLUMN["IRBBB"]]].any(1)


def digest(generated) -> str:
    """A hash of the signal and of everything that is true about it."""
    whole = hashlib.blake2b(generated.signal.contiguous().numpy().tobytes(), digest_size=16)
    for key in sorted(generated.truth):
        whole.update(generated.truth[key].contiguous().numpy().tobytes())
    return whole.hexdigest()


def assert_same(generated, other, rows=slice(None)):
    """Bit by bit; NaN counts as equal to NaN."""
    assert torch.equal(generated.signal, other.signal[rows])
    for key, value in generated.truth.items():
        np.testing.assert_array_equal(value.numpy(), other.truth[key][rows].numpy(), err_msg=key)


def whole_beats(generated, row: int) -> np.ndarray:
    """QRS onsets of a record, in s, away from both ends."""
    onset = generated.truth["onset_s"][row].numpy()
    return onset[(onset > 0.3) & (onset < 9.4)]


def steady_rows(generated, *without: str) -> list[int]:
    """Rows whose beats are all alike, over atria that rest under them."""
    return torch.nonzero(~has(generated, *RESTLESS, *without))[:, 0].tolist()


def at(signal: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """The values of (12, L) at these times, on a straight line between samples: (12, n)."""
    place = seconds * HZ
    before = np.floor(place).astype(int)
    share = place - before
    return signal[:, before] * (1 - share) + signal[:, before + 1] * share


# --- the same record, whoever makes it


@pytest.mark.parametrize("visit", [0, 1])
@pytest.mark.parametrize(("n", "size"), [(20, 1), (40, 3), (200, 17)])
def test_a_record_does_not_depend_on_its_batch(n, size, visit):
    whole = simulate(11, torch.arange(n), visit=visit)
    for rows in torch.arange(n).split(size):
        assert_same(simulate(11, rows, visit=visit), whole, rows)


@pytest.mark.parametrize("visit", [0, 1])
def test_a_record_does_not_depend_on_the_order(visit):
    n = 120
    whole, order = (
        simulate(11, torch.arange(n), visit=visit),
        torch.randperm(n, generator=torch.Generator().manual_seed(0)),
    )
    assert_same(simulate(11, order, visit=visit), whole, order)
    assert_same(simulate(11, [7, 7, 3], visit=visit), whole, torch.tensor([7, 7, 3]))


def test_a_record_does_not_depend_on_what_was_made_before():
    first = simulate(11, torch.arange(20))
    for seed in range(20, 27):  # more populations than tables of noise are kept
        simulate(seed, 0)
    assert_same(simulate(11, torch.arange(20)), first)


@pytest.mark.parametrize("hz", [100.0, 102.4])
def test_a_record_does_not_depend_on_threads(hz):
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = simulate(11, torch.arange(64), hz)
        torch.set_num_threads(4)
        assert_same(simulate(11, torch.arange(64), hz), alone)
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("threads", ["torch.set_num_threads(1)", ""])
def test_another_process_makes_the_same_record(threads):
    """At either visit, with one thread and with as many as there are."""
    script = (
        f"import hashlib, torch\nfrom uniecg_lite.simulator.simulate import simulate\n{threads}\n"
        f"{inspect.getsource(digest)}"
        "print(digest(simulate(11, torch.arange(24))), digest(simulate(11, torch.arange(24), visit=1)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split()[-2:] == [digest(simulate(11, torch.arange(24), visit=visit)) for visit in (0, 1)]


def test_seed_and_number_make_other_records():
    first, other = simulate(0, torch.arange(8)), simulate(1, torch.arange(8))
    flat = torch.cat([first.signal, other.signal]).flatten(1)
    correlation = torch.corrcoef(flat) - torch.eye(16)
    assert correlation.abs().max() < 0.9


def test_noise_only_adds_to_the_same_heart():
    quiet, noisy = simulate(4, torch.arange(50), noise=False), simulate(4, torch.arange(50))
    for key in set(quiet.truth) - {"drift_mv", "static_mv"}:
        np.testing.assert_array_equal(quiet.truth[key].numpy(), noisy.truth[key].numpy(), err_msg=key)
    assert not quiet.truth["drift_mv"].any() and not quiet.truth["static_mv"].any()
    noise = noisy.signal - quiet.signal
    assert noise.std((1, 2)).min() > 0.002, "every record has some noise"
    assert lead_law_residual(noise, quantile=1).max() < 1e-6, "noise enters at the electrodes, so it obeys the laws"


# --- a later visit


@pytest.fixture(scope="module")
def later():
    """The first patients of `population` at a later visit."""
    return simulate(5, torch.arange(AGAIN), noise=False, visit=1)


@pytest.fixture(scope="module")
def first(population):
    """The same patients at their first visit."""
    return Simulated(population.signal[:AGAIN], 100.0, {k: v[:AGAIN] for k, v in population.truth.items()})


def test_a_later_visit_is_of_the_same_person_at_another_rate(first, later):
    for key in ("age", "female"):
        assert torch.equal(first.truth[key], later.truth[key])
    rates = torch.stack([first.truth["rate_bpm"], later.truth["rate_bpm"]])
    assert (rates.diff(dim=0).abs() < 0.5).float().mean() < 0.05
    calm = has(first, "SR") & has(later, "SR")
    assert torch.corrcoef(rates[:, calm])[0, 1].abs() < 0.15
    plans = (sample(5, torch.arange(AGAIN), visit=visit).who.plan for visit in (0, 1))
    once = torch.eq(*plans).all(1).float().mean()
    assert 0.4 < once < 0.6, "about half come back with what they had; a rate near a limit may have another name"


def test_a_chest_stays_the_same(first, later):
    """The same findings: QRS voltages of one patient hardly differ, those of two patients do."""
    same = (first.truth["findings"] == later.truth["findings"]).all(1) & ~has(first, "VT", "PVC", "BIGU")
    before, after = (
        torch.cat([generated.truth["r_mv"], generated.truth["s_mv"]], 1)[same] for generated in (first, later)
    )
    own, other = ((before - x).abs().mean(1) for x in (after, after.roll(1, 0)))
    assert own.median() < 0.01 and own.quantile(0.95) < 0.05 < other.quantile(0.01)
    one, two = sample(5, torch.arange(100)), sample(5, torch.arange(100), visit=1)
    plain = torch.nonzero((one.who.plan == two.who.plan).all(1) & one.has("SR"))[:, 0]
    assert len(plain) > 10
    torch.testing.assert_close(one.qrs_mv[plain, :, :3], two.qrs_mv[plain, :, :3], atol=0.02, rtol=0.05)


def test_a_later_visit_has_noise_of_its_own():
    first, second = (simulate(4, torch.arange(20), visit=visit).truth["static_mv"] for visit in (0, 1))
    assert (first != second).all()


# --- the signal


@pytest.mark.parametrize("noise", [False, True])
def test_leads_obey_einthoven_and_goldberger(noise):
    signal = simulate(2, torch.arange(200), noise=noise).signal
    assert signal.shape == (200, 12, 1000)
    assert lead_law_residual(signal, quantile=1).max() < 1e-6


def test_every_record_is_finite_and_of_a_size_that_hearts_have(population):
    for signal in (population.signal, simulate(5, torch.arange(1200)).signal):
        assert signal.isfinite().all() and signal.abs().max() < 8, "mV"
        swing = signal.amax(2) - signal.amin(2)  # (B, 12)
        assert swing.amax(1).min() > 0.4, "no record is flat"
    for key, value in population.truth.items():
        if key not in ("pr_ms", "p_ms", "onset_s", "p_onset_s"):
            assert value.isfinite().all(), key


def test_every_record_is_an_ecg_that_can_be_loaded():
    for signal in simulate(6, torch.arange(100)).signal.numpy():
        assert ECG(signal, 100).standard().signal.shape == (12, 1000)


def test_the_same_heart_at_two_rates(fine):
    coarse = simulate(3, torch.arange(100), noise=False)
    torch.testing.assert_close(fine.signal[:100, :, ::5], coarse.signal, atol=1e-5, rtol=0)
    smooth = torch.nonzero(~has(coarse, "PACE", "EREP"))[:, 0]  # a spike and a notch are too sharp for 100 Hz
    resampled = np.stack([ECG(s, HZ).resample(100).signal for s in fine.signal[smooth].numpy()])
    error = np.abs(resampled - coarse.signal[smooth].numpy())
    assert np.sqrt((error**2).mean()) < 0.005 and np.quantile(error, 0.999) < 0.05, "mV"
    for key, value in coarse.truth.items():
        np.testing.assert_array_equal(value.numpy(), fine.truth[key][:100].numpy(), err_msg=key)


def test_first_beat_sets_where_the_first_whole_beat_begins():
    generated = simulate(5, torch.arange(1000), 102.4, noise=False, first_beat=0.3)
    assert generated.signal.shape == (1000, 12, 1024)
    torch.testing.assert_close(generated.truth["onset_s"][:, 2], torch.full((1000,), 0.3), atol=1e-5, rtol=0)
    earliest = generated.truth["onset_s"].nan_to_num(99).amin(1)
    assert (earliest >= 0.3 - 1e-5).float().mean() > 0.99, "an early ventricular beat may still precede it"
    free = simulate(5, torch.arange(1000), noise=False).truth["onset_s"].nan_to_num(99).amin(1)
    assert free.std() > 0.1, "by default a record begins anywhere"


# --- truth against signal


def test_the_rate_measured_on_the_signal_is_the_true_rate(population):
    error = (heart_rate(population.signal, 100.0) - population.truth["rate_bpm"]).abs()
    plain = ~has(population, "PVC", "BIGU", "HYPERK")
    assert (error[plain] <= 2).float().mean() >= 0.97
    assert (error <= 2).float().mean() >= 0.95, (
        "a tall ventricular beat can hide its neighbours, a tented T pass for one"
    )
    assert error.median() < 0.2


def test_qrs_onset_lies_before_the_peak_and_the_peak_within_the_qrs(fine):
    for row in steady_rows(fine, "PACE")[:150]:
        signal, duration = fine.signal[row].numpy(), fine.truth["qrs_ms"][row].item() / 1000
        for onset in whole_beats(fine, row):
            first, last = round((onset - 0.03) * HZ), round((onset + duration + 0.03) * HZ)
            peak = np.square(np.gradient(signal[:, first:last], axis=1)).sum(0).argmax() / HZ - 0.03
            assert 0 < peak < duration, f"record {row}: the steepest slope is {1000 * peak:.0f} ms after the onset"


def test_st_level_at_j_plus_20_ms_is_the_true_one(fine):
    for row in steady_rows(fine)[:200]:
        j20 = whole_beats(fine, row) + fine.truth["qrs_ms"][row].item() / 1000 + 0.02
        level, truth = np.median(at(fine.signal[row].numpy(), j20), 1), fine.truth["st_mv"][row].numpy()
        assert (np.abs(level - truth) <= 0.01 + 0.10 * np.abs(truth)).all(), "breathing moves amplitudes by 10%"


def test_axis_from_net_areas_is_the_true_one(fine):
    errors = []
    for row in steady_rows(fine):
        signal, duration = fine.signal[row].numpy(), fine.truth["qrs_ms"][row].item() / 1000
        areas = [signal[:, round(t * HZ) : round((t + duration) * HZ) + 1].sum(1) for t in whole_beats(fine, row)]
        net = np.mean(areas, 0)
        axis = np.degrees(np.arctan2(net[LEAD["aVF"]] * 2 / 3**0.5, net[LEAD["I"]]))
        errors.append(abs((axis - fine.truth["axis_deg"][row].item() + 180) % 360 - 180))
    assert len(errors) > 150
    assert np.median(errors) < 1 and np.quantile(errors, 0.95) < 5, "degrees; small net areas turn easily"


def test_voltages_are_those_of_the_signal(fine):
    """R and S of every lead, which hypertrophy and low voltage are called from."""
    plain = [row for row in steady_rows(fine, "WPW", "1AVB") if has(fine, "SBRAD", "SR")[row]]
    assert len(plain) > 50
    for row in plain:
        signal, duration = fine.signal[row].numpy(), fine.truth["qrs_ms"][row].item() / 1000
        beats = [signal[:, round(t * HZ) : round((t + duration) * HZ) + 1] for t in whole_beats(fine, row)]
        high, low = np.median([b.max(1) for b in beats], 0), np.median([b.min(1) for b in beats], 0)
        r, s = fine.truth["r_mv"][row].numpy(), fine.truth["s_mv"][row].numpy()
        assert (np.abs(high.clip(0) - r) <= 0.03 + 0.10 * r).all() and (
            np.abs(low.clip(max=0) - s) <= 0.03 - 0.10 * s
        ).all()


def test_noise_is_what_was_added():
    quiet, noisy = simulate(4, torch.arange(200), noise=False), simulate(4, torch.arange(200))
    noise = noisy.signal - quiet.signal
    slow, static = noisy.truth["drift_mv"], noisy.truth["static_mv"]
    total = (slow.square() + static.square()).sqrt()
    measured = (noise - noise.mean(-1, keepdim=True)).square().mean(-1).sqrt()
    share = measured / total
    assert share.median() == pytest.approx(1, abs=0.03) and ((share - 1).abs() < 0.25).float().mean() > 0.95
    fast = noise.diff(dim=-1).square().mean(-1).sqrt().log()
    assert torch.corrcoef(torch.stack([fast.flatten(), static.log().flatten()]))[0, 1] > 0.9


def test_ventricular_beats_are_wide_and_early(fine):
    rows = torch.nonzero(has(fine, "PVC", "BIGU") & ~has(fine, "AFIB"))[:, 0].tolist()
    assert len(rows) > 8
    for row in rows:
        onset, kind = fine.truth["onset_s"][row], fine.truth["beat_kind"][row]
        gap, mean = onset.diff(), 60 / fine.truth["rate_bpm"][row]
        early = gap[(kind[1:] == 1) & gap.isfinite()]
        assert (early < 0.92 * mean).all(), "earlier than the mean beat, which it lengthens itself"


# --- rhythm: P waves and QRS complexes in time


def conducted(generated, row: int) -> tuple[np.ndarray, np.ndarray]:
    """PR in s of each P wave of a record, NaN where no QRS comes before the next P; and those P onsets."""
    p, onset = (generated.truth[key][row].numpy() for key in ("p_onset_s", "onset_s"))
    p, onset = p[~np.isnan(p)], onset[~np.isnan(onset)]
    p = p[p < onset[-1] - 1e-3]
    if not len(p):
        return p, p
    after = np.searchsorted(onset, p)
    pr = onset[after] - p
    return np.where(onset[after] < np.append(p[1:], np.inf), pr, np.nan), p


def rows_of(generated, code: str) -> list[int]:
    return torch.nonzero(has(generated, code))[:, 0].tolist()


def test_every_p_wave_of_a_sinus_rhythm_is_conducted_after_pr(population):
    for code in ("SR", "SBRAD", "STACH", "SARRH"):
        quiet = [row for row in rows_of(population, code) if not has(population, "PVC", "BIGU", "PAC")[row]]
        for row in quiet[:60]:
            pr, p = conducted(population, row)
            assert len(p) > 4
            np.testing.assert_allclose(1000 * pr, population.truth["pr_ms"][row].item(), atol=0.1)


@pytest.mark.parametrize("code", ["AFIB", "AFLT", "SVTAC", "VT", "PACE"])
def test_no_p_wave_in_rhythms_without(population, code):
    assert population.truth["p_onset_s"][rows_of(population, code)].isnan().all()


def test_ventricular_beats_have_no_p_wave_of_their_own(population):
    onset, kind, p = (population.truth[key] for key in ("onset_s", "beat_kind", "p_onset_s"))
    rows = has(population, "SR", "SBRAD", "STACH")
    before = (onset[rows][:, :, None] - p[rows][:, None, :]).nan_to_num(9)  # (b, K, Kp)
    near = ((before > 0.05) & (before < 0.36)).any(2)
    ventricular = (kind[rows] == 1) & (onset[rows] > 0.5)
    own = (kind[rows] == 0) & (onset[rows] > 0.5)
    assert near[own].all() and ventricular.sum() > 300
    exact = ((before - population.truth["pr_ms"][rows][:, None, None] / 1000).abs() < 1e-4).any(2)
    assert not exact[ventricular].any()


def test_a_junctional_p_wave_is_hidden_or_follows_the_qrs(population):
    seen = 0
    for row in rows_of(population, "JUNC"):
        p, onset = (population.truth[key][row].numpy() for key in ("p_onset_s", "onset_s"))
        p = p[(p > 1) & (p < 9)]
        if len(p):
            seen += 1
            since = p - onset[np.searchsorted(np.nan_to_num(onset, nan=np.inf), p) - 1]
            assert (since > population.truth["qrs_ms"][row].item() / 1000).all() and since.max() < 0.25
    assert 0.3 < seen / len(rows_of(population, "JUNC")) < 0.7


def test_wenckebach_pr_grows_until_a_beat_drops(population):
    rows = rows_of(population, "WENCK")
    for row in rows:
        pr, _ = conducted(population, row)
        dropped = np.isnan(pr)
        assert dropped.any() and not (dropped[1:] & dropped[:-1]).any(), "one beat drops at a time"
        steps = np.diff(pr)
        assert (steps[~np.isnan(steps)] > 0.02).all(), "PR grows from beat to beat"
        after = np.nonzero(dropped)[0]
        after = after[(after > 0) & (after + 1 < len(pr))]
        assert (pr[after + 1] < pr[after - 1] - 0.02).all(), "after the pause PR is short again"
    assert len(rows) > 50


def test_mobitz_pr_is_constant_and_beats_drop(population):
    rows = rows_of(population, "MOB2")
    for row in rows:
        pr, p = conducted(population, row)
        dropped = np.isnan(pr)
        assert dropped.any() and not dropped.all() and not (dropped[1:] & dropped[:-1]).any()
        np.testing.assert_allclose(1000 * pr[~dropped], population.truth["pr_ms"][row].item(), atol=0.1)
        assert np.diff(p).std() < 0.02 * np.diff(p).mean(), "the atria keep time"
        gap = population.truth["onset_s"][row].diff()
        gap = gap[~gap.isnan()]
        assert gap.max() / gap.min() == pytest.approx(2, abs=0.05), "a pause is two intervals long"
    assert len(rows) > 50


def test_complete_block_atria_are_faster_and_know_nothing_of_the_ventricles(population):
    rows = rows_of(population, "3AVB")
    place = []
    for row in rows:
        p, onset = (population.truth[key][row].numpy() for key in ("p_onset_s", "onset_s"))
        p, onset = p[~np.isnan(p)], onset[~np.isnan(onset)]
        atria = 60 / np.diff(p).mean()
        assert atria > 1.25 * population.truth["rate_bpm"][row].item() and 55 < atria < 110
        for steady in (p, onset):
            assert np.diff(steady).std() < 0.03 * np.diff(steady).mean()
        before = np.searchsorted(p, onset[onset > 1.2]) - 1
        place += ((onset[onset > 1.2] - p[before]) * atria / 60).clip(0, 0.999).tolist()
    counts = np.histogram(place, 5, (0, 1))[0] / len(place)
    assert len(rows) > 50 and (counts > 0.12).all() and (counts < 0.28).all(), (
        "a QRS falls anywhere between two P waves"
    )
    assert (population.truth["rate_bpm"][rows] < 50).all()


def intervals(generated) -> torch.Tensor:
    """(B, K - 1) RR intervals in s, NaN outside the record."""
    return generated.truth["onset_s"].diff(dim=1)


def test_atrial_fibrillation_is_irregular_and_other_rhythms_are_not(population):
    gap = intervals(population)
    spread = (gap / gap.nanmedian(1, keepdim=True).values - 1).square().nanmean(1).sqrt()
    even = ~has(population, "PVC", "PAC", "BIGU", "SARRH", "AFLT", "WENCK", "MOB2")
    afib = has(population, "AFIB")
    assert spread[afib & even].quantile(0.05) > 2 * spread[~afib & even].quantile(0.95)
    for code in ("JUNC", "SVTAC", "VT", "PACE", "3AVB"):
        assert spread[has(population, code)].max() < 0.03, code


def test_flutter_conducts_one_wave_in_two_three_or_four(population):
    gap = intervals(population)[has(population, "AFLT")]
    longest = gap.nan_to_num(0).amax(1, keepdim=True)
    ratio = (longest / gap)[~gap.isnan()]
    whole = torch.tensor([1.0, 4 / 3, 3 / 2, 2.0])
    assert (ratio[:, None] - whole).abs().amin(1).max() < 0.06
    assert gap[~gap.isnan()].min() > 2 * 60 / 330 and gap[~gap.isnan()].max() < 4 * 60 / 245


def test_no_two_complexes_are_closer_than_a_heart_can(population):
    gap = intervals(population)
    assert gap[~gap.isnan()].min() > 0.27


def test_rr_differs_by_more_than_160_ms_exactly_in_sinus_arrhythmia(population):
    gap = intervals(population)
    span = gap.nan_to_num(0).amax(1) - gap.nan_to_num(99).amin(1)
    sinus = has(population, "SR", "SBRAD", "STACH", "SARRH") & ~has(population, "PVC", "PAC", "BIGU")
    assert torch.equal((span > 0.16)[sinus], has(population, "SARRH")[sinus])
    assert not (has(population, "SARRH") & ~sinus).any()


# --- intervals


def test_pr_is_there_exactly_where_p_conducts_at_a_constant_interval(population):
    pr = population.truth["pr_ms"]
    none = has(population, "AFIB", "AFLT", "JUNC", "SVTAC", "VT", "PACE", "WENCK", "3AVB")
    assert torch.equal(pr.isnan(), none)
    sinus = has(population, "SR", "SBRAD", "STACH", "SARRH")
    assert torch.equal((pr > 200) & sinus, has(population, "1AVB"))
    assert (pr[~none] > 80).all() and (pr[~none] < 330).all()
    assert (pr[has(population, "WPW")] < 120).all() and (pr[~none & ~has(population, "WPW")] > 90).all()


def test_a_wide_qrs_has_a_cause_and_the_causes_make_it_wide(population):
    qrs, partial = population.truth["qrs_ms"], has(population, "IRBBB")
    assert (qrs[has(population, "CRBBB", "CLBBB", "WPW", "VT", "PACE")] >= 120).all()
    assert ((qrs[partial] >= 100) & (qrs[partial] < 120)).all()
    rest = ~partial & ~has(population, "CRBBB", "CLBBB", "WPW", "VT", "PACE", "AFLT")
    assert torch.equal(rest & (qrs > 110), has(population, "IVCD")), "what has no other cause is a delay"


def test_qt_shortens_when_the_heart_is_fast(population):
    rate, qt, qtc = (population.truth[key] for key in ("rate_bpm", "qt_ms", "qtc_ms"))
    plain = has(population, "SR", "SBRAD", "STACH") & ~has(population, "LQT")
    assert torch.corrcoef(torch.stack([rate, qt])[:, plain])[0, 1] < -0.85
    torch.testing.assert_close(qtc, qt * (rate / 60).sqrt())
    assert (qt > population.truth["qrs_ms"] + 100).all()
    slope = torch.corrcoef(torch.stack([rate, qtc])[:, plain])[0, 1]
    assert 0 < slope < 0.6, "Bazett corrects a little too much"


def test_long_qt_is_a_long_corrected_qt(population):
    named = ~has(population, *WIDE, "CRBBB") & has(population, "SR", "SBRAD", "STACH", "SARRH")
    assert torch.equal(named & (population.truth["qtc_ms"] >= 480), has(population, "LQT"))


def test_qt_adapts_from_beat_to_beat_in_fibrillation():
    hearts = sample(5, torch.arange(1500))
    beats = schedule(hearts, 10.0)
    rows = hearts.has("AFIB") & ~hearts.has("PVC")
    gap, stretch = beats.onset.diff(dim=1)[rows], beats.stretch[rows]
    last, following, own = gap[:, :-1], gap[:, 1:], stretch[:, 1:-1]
    free = following > 1.3 * hearts.qt[rows, None]  # the next beat does not cut it short
    rank = torch.stack([(last / hearts.rr[rows, None])[free], own[free]]).argsort(1).argsort(1).double()
    assert free.sum() > 500 and torch.corrcoef(rank)[0, 1] > 0.8
    assert (own * hearts.qt[rows, None] < following).all(), "a T wave ends before the next beat"
    assert own.std() > 0.02 and beats.stretch[hearts.has("VT", "PACE")].sub(1).abs().max() < 0.01


def test_the_usual_beat_of_every_rhythm_has_the_true_qt():
    hearts = sample(5, torch.arange(3000))
    beats = schedule(hearts, 10.0)
    inside = (beats.onset > 0) & (beats.onset < 10)
    usual = torch.where(inside, beats.stretch, torch.nan).nanmedian(1).values
    plain = ~hearts.has("PVC", "BIGU", "PAC")
    for code in RHYTHMS:
        assert usual[hearts.has(code) & plain].median() == pytest.approx(1, abs=0.025), code
    conducted = ~hearts.has("WENCK", "MOB2", "AFLT", "AFIB")
    assert usual[conducted & plain].sub(1).abs().max() < 0.03
    assert usual[hearts.has("WENCK", "MOB2")].min() > 0.99, "only the beat after a pause is longer"


def test_schedules_are_in_order_and_whole():
    beats = schedule(sample(5, torch.arange(2000)), 10.0)
    for onset in (beats.onset, beats.p_onset):
        assert not onset.isnan().any() and (onset[:, 0] < 0).all()
        there = onset.isfinite()
        assert not (there[:, 1:] & ~there[:, :-1]).any(), "what fills a row up comes last"
        assert (torch.where(there, onset, -1.0).amax(1) > 10).all()
    both = beats.onset[:, 1:].isfinite()
    assert (beats.onset.diff(dim=1)[both] > 0).all() and (beats.p_onset.diff(dim=1) > 0).all()
    assert beats.stretch.isfinite().all() and beats.stretch.min() >= 0.6 and beats.stretch.max() < 1.15


# --- medicine


def test_every_finding_is_common_enough_to_learn(population):
    share = population.truth["findings"].float().mean(0)
    assert not {code: round(share[i].item(), 4) for code, i in COLUMN.items() if share[i] < 0.008}


def test_exactly_one_rhythm(population):
    assert CODES[: len(RHYTHMS)] == RHYTHMS and len(RHYTHMS) == 13 and len(CODES) == 50
    assert (population.truth["findings"][:, :13].sum(1) == 1).all()


def test_a_normal_ecg_has_sinus_rhythm_and_nothing_else(population):
    normal = has(population, "NORM")
    findings = population.truth["findings"][normal]
    assert (findings.sum(1) == 2).all() and findings[:, COLUMN["SR"]].all()
    truth = {key: value[normal] for key, value in population.truth.items()}
    assert ((truth["pr_ms"] >= 110) & (truth["pr_ms"] <= 200)).all() and (truth["qrs_ms"] < 110).all()
    assert (truth["axis_deg"] >= -30).all() and (truth["axis_deg"] <= 90).all() and (truth["qtc_ms"] < 480).all()


def test_the_rate_decides_the_name_of_a_sinus_rhythm(population):
    rate = population.truth["rate_bpm"]
    assert ((rate[has(population, "SR")] >= 60) & (rate[has(population, "SR")] <= 100)).all()
    assert (rate[has(population, "SBRAD")] < 60).all() and (rate[has(population, "STACH")] > 100).all()
    assert (rate[has(population, "SVTAC")] > 145).all() and (rate[has(population, "VT")] > 120).all()
    assert (rate[has(population, "JUNC", "3AVB")] < 62).all()
    assert rate.min() > 25 and rate.max() < 215


NEVER = {
    "AFIB": ("1AVB", "PAC", "BIGU", "LAE", "RAE", "WPW", "LQT", "NORM"),
    "VT": CODES[13:],
    "PACE": CODES[13:],
    "SVTAC": ("1AVB", "PVC", "BIGU", "PAC", "CLBBB", "WPW", "LAE", "NORM"),
    "CLBBB": (
        *("CRBBB", "LAFB", "LPFB", "IVCD", "WPW", "LAD", "RAD", "LVH", "RVH", "STD", "TINV", "LQT", "LOWV", "NORM"),
        *("STE_ANT", "STE_SEP", "STE_LAT", "STE_INF", "STE_POST", "Q_ANT", "Q_INF", "Q_LAT"),
    ),
    "IVCD": ("CRBBB", "WPW", "LVH", "RVH", "STE_ANT", "STE_INF", "STD", "TINV", "Q_ANT", "LQT", "LOWV"),
    "WPW": ("1AVB", "LAE", "RAE", "LVH", "STE_ANT", "STD", "TINV", "Q_INF", "LQT", "LOWV"),
    "LAFB": ("LPFB", "RVH", "Q_ANT", "Q_INF", "Q_LAT"),
    "LPFB": ("LAD", "LVH", "RVH", "Q_INF", "Q_LAT"),
    "LAD": ("RAD", "RVH"),
    "LVH": ("RVH", "LOWV"),
    "LAE": ("RAE",),
    "STD": ("STE_ANT", "STE_SEP", "STE_LAT", "STE_INF", "STE_POST", "PERI", "EREP", "BRUG"),
    "STE_LAT": ("STE_ANT",),
    "HYPERK": ("HYPOK",),
    "PERI": ("EREP", "BRUG", "STE_ANT", "STE_INF"),
    "PAC": ("PVC", "BIGU"),
    "PVC": ("BIGU",),
}


@pytest.mark.parametrize("code", NEVER)
def test_what_never_goes_together(population, code):
    both = {other for other in NEVER[code] if (has(population, code) & has(population, other)).any()}
    assert not both and has(population, code).any()


def test_age_and_sex_shift_what_is_found(population):
    age, female = population.truth["age"], population.truth["female"]
    old, young = age > 65, age < 40

    def share(*codes):
        return lambda rows: has(population, *codes)[rows].float().mean()

    for codes in (("AFIB", "PACE", "3AVB"), ("CLBBB",)):
        assert share(*codes)(old) > 1.2 * share(*codes)(young), codes
    for codes in (("SVTAC",), ("WPW",), ("SARRH",)):
        assert share(*codes)(young) > 1.2 * share(*codes)(old), codes
    assert share("LQT")(female) > 1.1 * share("LQT")(~female)
    for code in ("EREP", "BRUG"):
        assert share(code)(~female) > 1.2 * share(code)(female), code


def test_voltage_falls_with_age_and_in_women(population):
    swing = (population.truth["r_mv"] - population.truth["s_mv"]).mean(1)
    age, female = population.truth["age"], population.truth["female"]
    normal = has(population, "NORM")
    assert swing[normal & ~female].mean() > 1.05 * swing[normal & female].mean()
    assert swing[normal & (age < 45)].mean() > 1.04 * swing[normal & (age > 65)].mean()


def test_women_and_men_of_every_adult_age(population):
    age, female = population.truth["age"], population.truth["female"]
    assert age.min() >= 18 and age.max() <= 95 and (age == age.round()).all()
    assert 0.47 < female.float().mean() < 0.53
    plain = has(population, "NORM")
    qtc = population.truth["qt_ms"] * (population.truth["rate_bpm"] / 60) ** (1 / 3)
    assert qtc[female & plain].median() > qtc[~female & plain].median(), "QT is longer in women"


# --- findings that a number decides


def both(mask: torch.Tensor, *pairs: str) -> torch.Tensor:
    """(B, 12) -> (B,) True where both leads of some pair, such as "V2 V3", are True."""
    return torch.stack([mask[:, [LEAD[name] for name in pair.split()]].all(1) for pair in pairs]).any(0)


def clear(generated) -> torch.Tensor:
    return ~has(generated, *WIDE)


def test_axis_deviation_follows_the_axis(population):
    axis = population.truth["axis_deg"]
    assert torch.equal((axis < -30) & (axis > -90) & clear(population), has(population, "LAD"))
    assert torch.equal((axis > 90) & clear(population), has(population, "RAD"))
    assert (axis[has(population, "LAFB") & ~has(population, "CRBBB")] < -30).all()
    right = axis[has(population, "LPFB")] % 360
    assert ((right > 45) & (right < 270)).all() and (right > 90).float().mean() > 0.9


def test_st_elevation_shows_in_its_territory(population):
    st = population.truth["st_mv"]
    up = st >= levels(population)
    local = clear(population) & ~has(population, "PERI", "EREP", "BRUG", "AFLT")
    anterior = local & both(up, "V3 V4")
    assert torch.equal(anterior, has(population, "STE_ANT"))
    assert torch.equal(local & both(up, "V1 V2"), has(population, "STE_SEP"))
    assert torch.equal(local & both(up, "I aVL", "V5 V6") & ~anterior, has(population, "STE_LAT"))
    assert torch.equal(local & both(up, "II III", "II aVF", "III aVF"), has(population, "STE_INF"))
    injured = has(population, "STE_ANT", "STE_SEP", "STE_LAT", "STE_INF", "STE_POST")
    down = both(st <= -0.1, "V2 V3", "V3 V4", "V4 V5", "V5 V6", "I aVL", "II aVF", "III aVF")
    assert torch.equal(local & down & ~injured, has(population, "STD"))


def levels(generated) -> torch.Tensor:
    """(B, 12) mV from which ST is elevated (Universal Definition of Myocardial Infarction, 2018)."""
    age, female = generated.truth["age"], generated.truth["female"]
    front = torch.where(female, 0.15, torch.where(age < 40, 0.25, 0.2))
    return torch.stack([front if name in ("V2", "V3") else torch.full_like(front, 0.1) for name in LEADS], 1)


def test_reciprocal_depression_faces_an_inferior_infarct(population):
    st = population.truth["st_mv"][has(population, "STE_INF") & ~has(population, "STE_LAT", "LVH")]
    assert (st[:, LEAD["aVL"]] < 0).float().mean() > 0.8


def test_t_wave_inversion_shows_in_two_neighbours(population):
    inverted = population.truth["t_mv"] <= -0.1
    front = torch.tensor([name in ("V1", "V2", "V3") for name in LEADS])
    inverted = inverted & ~(right_block(population)[:, None] & front)
    pairs = both(inverted, "V2 V3", "V3 V4", "V4 V5", "V5 V6", "I aVL", "II aVF")
    assert torch.equal(clear(population) & ~has(population, "BRUG") & pairs, has(population, "TINV"))


def test_q_waves_show_in_their_territory(population):
    q = population.truth["q_wave"]
    assert (population.truth["q_mv"][q] <= -0.1).all()
    plan = sample(5, torch.arange(6000)).who.plan
    named = clear(population) & ~plan[:, [COLUMN[code] for code in ("LAFB", "LPFB", "RVH", "AFLT")]].any(1)
    for code, pairs in {
        "Q_ANT": ("V2 V3", "V3 V4"),
        "Q_INF": ("II aVF", "III aVF"),
        "Q_LAT": ("I aVL", "V5 V6"),
    }.items():
        assert torch.equal(named & both(q, *pairs), has(population, code)), code


def test_hypertrophy_and_low_voltage_follow_the_voltage(population):
    r, s = population.truth["r_mv"], population.truth["s_mv"]
    sokolow = -s[:, LEAD["V1"]] + r[:, [LEAD["V5"], LEAD["V6"]]].amax(1)
    cornell, t = r[:, LEAD["aVL"]] - s[:, LEAD["V3"]], population.truth["t_mv"]
    limit = torch.where(population.truth["female"], 2.0, 2.8)
    strain = (t[:, [LEAD["V5"], LEAD["V6"]]] <= -0.1).all(1)
    named = clear(population) & ((sokolow >= 3.5) | (cornell >= limit)) & (strain | (population.truth["age"] >= 35))
    assert torch.equal(named, has(population, "LVH"))
    low = ((r - s)[:, :6] < 0.5).all(1) & ((r - s)[:, 6:] < 1).all(1)
    assert torch.equal(clear(population) & low, has(population, "LOWV"))


def test_lead_signs_are_the_thresholds(population):
    truth = population.truth
    signs = lead_signs(truth)
    assert signs.shape == (6000, len(LEAD_SIGNS), 12) and signs.dtype == torch.bool
    for i, name in enumerate(LEADS):
        st, t, chest = truth["st_mv"][:, i], truth["t_mv"][:, i], name.startswith("V")
        expected = {
            "q_waves": truth["q_wave"][:, i] & (name in Q_LEADS),
            "st_up": st >= levels(population)[:, i],
            "st_down": st <= -0.1,
            "t_inverted": (t <= -0.1) & (name in T_LEADS),
            "t_tall": t >= (1.0 if chest else 0.5),
        }
        for k, sign in enumerate(LEAD_SIGNS):
            assert torch.equal(signs[:, k, i], expected[sign]), (sign, name)
    assert not {"aVR", "III", "V1"} & set(T_LEADS) and not {"aVR", "V1"} & set(Q_LEADS)
