"""beats: R peaks and the representative beat, against the truth of simulated hearts and against a loop."""

import math

import numpy as np
import pytest
import torch
from conftest import toy_ecg

from uniecg_lite.beats import (
    AFTER,
    BEFORE,
    LOUD,
    MOST_BEATS,
    QUANTILES,
    RHYTHM,
    _peaks,
    peak_times,
    r_peaks,
    representative_beat,
    rhythm_features,
    slopes,
)
from uniecg_lite.ecg import ECG
from uniecg_lite.errors import BadECG
from uniecg_lite.findings import CODES, RHYTHMS
from uniecg_lite.leads import lead_law_residual
from uniecg_lite.simulator.hearts import beat_signal
from uniecg_lite.simulator.sample import sample
from uniecg_lite.simulator.simulate import simulate

COLUMN = {code: i for i, code in enumerate(CODES)}
N = round((BEFORE + AFTER) * 100)


@pytest.fixture(scope="module")
def noisy():
    return simulate(12, torch.arange(1200))


def has(generated, *codes: str) -> torch.Tensor:
    return generated.truth["findings"][:, [COLUMN[code] for code in codes]].any(1)


def toy(rate: float, hz: float = 100.0, first: float = 0.4) -> tuple[torch.Tensor, np.ndarray]:
    """The toy ECG as (1, 12, L), and where its R peaks are in s."""
    ecg = toy_ecg(hz=hz, rate=rate)
    places = np.arange(first, 10.5, 60 / rate)
    return torch.from_numpy(ecg.signal)[None], places[places < 10]


# --- R peaks


@pytest.mark.parametrize("hz", [100.0, 250.0, 500.0])
@pytest.mark.parametrize("rate", [34, 61.7, 90, 143, 188])
def test_peaks_of_a_steady_heart_are_where_they_are(rate, hz):
    signal, places = toy(rate, hz)
    found = torch.nonzero(r_peaks(signal, hz)[0])[:, 0].numpy() / hz
    assert len(found) == len(places) and np.abs(found - places).max() <= 0.025
    times = peak_times(signal, hz)[0]
    assert times.shape == (MOST_BEATS,) and (times.isnan().sum() == MOST_BEATS - len(places)).all()
    offset = times[: len(places)].numpy() - places
    inner = offset[1:-1]
    assert np.abs(inner - inner.mean()).max() < 0.0035, "at 100 Hz nearer than the next sample"


def test_times_are_in_order_and_filled_up_with_nan(noisy):
    times = peak_times(noisy.signal, 100.0)
    there = ~times.isnan()
    assert torch.equal(there.sum(1), r_peaks(noisy.signal, 100.0).sum(1).clamp(max=MOST_BEATS))
    assert not (there[:, 1:] & ~there[:, :-1]).any()
    gap = times.diff(dim=1)
    assert gap[~gap.isnan()].min() > 0.2, "two peaks never share 220 ms"


@pytest.mark.parametrize(("code", "median_ms", "most_ms"), [("NORM", 1.5, 7), ("AFIB", 1.5, 8), ("VT", 1.5, 8)])
def test_peaks_keep_one_distance_from_the_true_onsets(noisy, code, median_ms, most_ms):
    """RR intervals are read from them, so that what matters is that this distance does not change."""
    rows = has(noisy, code) & ~has(noisy, "PVC", "BIGU", "HYPERK")
    times, onset = peak_times(noisy.signal[rows], 100.0), noisy.truth["onset_s"][rows]
    since = (times[:, :, None] - onset[:, None]).nan_to_num(99)
    since = torch.where(since > -0.03, since, 99.0).amin(2)  # (b, K) from the onset before
    since = torch.where((times > 0.4) & (times < 9.5), since, torch.nan)
    error = 1000 * (since - since.nanmedian(1, keepdim=True).values).abs()
    error = error[~error.isnan()]
    assert error.median() < median_ms and error.quantile(0.9) < most_ms


@pytest.mark.parametrize("code", [code for code in RHYTHMS if code != "VT"])
def test_as_many_peaks_as_complexes_in_every_rhythm(noisy, code):
    rows = has(noisy, code) & ~has(noisy, "PVC", "BIGU", "HYPERK")
    count = (~noisy.truth["onset_s"][rows].isnan()).sum(1)
    found = r_peaks(noisy.signal[rows], 100.0).sum(1)
    assert rows.sum() > 20 and ((found - count).abs() <= 1).float().mean() > 0.9


def test_size_sign_and_offset_of_a_record_do_not_matter(noisy):
    signal = noisy.signal[:200]
    peaks = r_peaks(signal, 100.0)
    for other in (-signal, 4 * signal, signal + torch.linspace(-2, 2, 12)[:, None]):
        assert (r_peaks(other, 100.0) == peaks).float().mean() > 0.9999


def test_bends_do_not_see_slow_waves():
    time = torch.arange(1000) / 100
    slow, fast = (torch.sin(2 * torch.pi * f * time).expand(1, 12, -1) for f in (0.3, 15.0))
    assert slopes(slow, 100.0).amax() < 0.005 * slopes(fast, 100.0).amax()


# --- the representative beat


def beat_by_hand(signal: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
    """The mean of the whole beats that look alike, on straight lines between samples: (12, L) -> (12, N)."""
    cut = []
    for time in times[~times.isnan()].tolist():
        place = (time - BEFORE) * 100 + np.arange(N)
        if place[0] >= 0 and place[0] + N < signal.shape[1] - 1:
            one = np.stack([np.interp(place, np.arange(signal.shape[1]), lead) for lead in signal.numpy()])
            cut.append(one - np.sort(one[:, ::4])[:, (one[:, ::4].shape[1] - 1) // 2, None])  # the lower median
    cut, alike = np.stack(cut), np.ones(len(cut), bool)
    for _ in range(2):
        far = ((cut - cut[alike].mean(0)) ** 2).mean((1, 2))
        alike = far <= 1.5 * np.sort(far)[(len(far) - 1) // 2]
    return torch.from_numpy(cut[alike].mean(0)).float()


@pytest.mark.parametrize("rate", [50, 73, 120])
def test_the_beat_of_a_steady_heart_is_the_mean_of_its_beats(rate):
    signal, _ = toy(rate)
    signal = signal + 0.05 * torch.randn(signal.shape, generator=torch.Generator().manual_seed(rate))
    beat, spread, times = representative_beat(signal, 100.0)
    assert beat.shape == spread.shape == (1, 12, N) and times.shape == (1, MOST_BEATS)
    torch.testing.assert_close(beat[0], beat_by_hand(signal[0], times[0]), atol=1e-4, rtol=0)
    assert 0.02 < spread.median() < 0.06


def test_averaging_takes_noise_away():
    quiet, noisy = simulate(4, torch.arange(300), noise=False), simulate(4, torch.arange(300))
    steady = has(quiet, "SR", "SBRAD", "STACH", "PACE") & ~has(quiet, "PVC", "BIGU", "PAC", "HYPERK")
    clean, _, _ = representative_beat(quiet.signal[steady], 100.0)
    beat, spread, _ = representative_beat(noisy.signal[steady], 100.0)
    error = (beat - clean).square().mean((1, 2)).sqrt()
    added = (noisy.signal - quiet.signal)[steady]
    added = (added - added.median(-1, keepdim=True).values).square().mean((1, 2)).sqrt()
    assert steady.sum() > 100 and (error / added).median() < 0.6, "less noise than the record"
    assert error.median() < 0.03, "mV"
    assert (spread.mean((1, 2)) > 0.5 * error).float().mean() > 0.9, "the spread tells how noisy it was"


def test_the_beat_is_the_one_the_heart_was_made_of():
    """QRS and T of the simulated beat, shifted to its own R peak, against what is found on the whole record."""
    generated, hearts = simulate(4, torch.arange(300), noise=False), sample(4, torch.arange(300))
    rows = torch.nonzero(has(generated, "NORM"))[:, 0]
    beat, _, times = representative_beat(generated.signal[rows], 100.0)
    since = torch.arange(N) / 100 - BEFORE
    errors = []
    for i, row in enumerate(rows.tolist()):
        onset = generated.truth["onset_s"][row]
        inner = times[i][(times[i] > 0.5) & (times[i] < 9)]
        delay = (inner[:, None] - onset).nan_to_num(99)
        delay = torch.where(delay > 0, delay, 99.0).amin(1).median()
        truth = beat_signal(_one(hearts, row), (since + delay)[None])[0]  # (8, N)
        late = (since > -delay) & (since < generated.truth["qt_ms"][row] / 1000 - delay)
        for lead, place in ((0, 0), (1, 1), *((k, k + 4) for k in range(2, 8))):
            difference = beat[i, place, late] - truth[lead, late]
            errors.append((difference - difference.median()).abs().quantile(0.9).item())
    assert len(rows) > 10 and np.median(errors) < 0.04 and np.quantile(errors, 0.95) < 0.15, "mV"


def _one(hearts, row: int):
    """The heart of one record out of a batch."""
    from dataclasses import fields, replace

    parts = {f.name: getattr(hearts, f.name)[row : row + 1] for f in fields(hearts) if f.name != "who"}
    return replace(hearts, **parts)


def test_beats_of_another_kind_are_left_out():
    """Every fourth beat turned over: the usual beat stays as it is."""
    signal, places = toy(72)
    other = signal.clone()
    for place in places[2:-1:4]:
        first = round((place - 0.1) * 100)
        other[..., first : first + 20] *= -1
    beat, _, _ = representative_beat(signal, 100.0)
    found, _, _ = representative_beat(other, 100.0)
    middle = slice(30, 60)
    torch.testing.assert_close(found[..., middle], beat[..., middle], atol=0.05, rtol=0)


def test_the_beat_obeys_the_lead_laws_and_does_not_feel_the_offset(noisy):
    signal = noisy.signal[:100]
    beat, _, _ = representative_beat(signal, 100.0)
    residual = lead_law_residual(beat - beat.mean(-1, keepdim=True), quantile=1)
    assert residual.max() < 1e-4
    moved, _, _ = representative_beat(signal + torch.linspace(-2, 2, 12)[:, None], 100.0)
    torch.testing.assert_close(moved, beat, atol=1e-3, rtol=0)


def test_a_record_does_not_depend_on_its_batch(noisy):
    signal = noisy.signal[:64]
    whole = representative_beat(signal, 100.0)
    for rows in torch.arange(64).split(5):
        for part, all_ in zip(representative_beat(signal[rows], 100.0), whole):
            torch.testing.assert_close(part, all_[rows], atol=1e-5, rtol=1e-5, equal_nan=True)


def test_gradients_reach_the_signal(noisy):
    signal = noisy.signal[:3].clone().requires_grad_()
    representative_beat(signal, 100.0)[0].square().sum().backward()
    assert signal.grad.isfinite().all() and (signal.grad.abs().sum((1, 2)) > 0).all()


def test_of_two_equal_neighbours_one_is_the_peak():
    smooth = torch.zeros(1, 1, 1000)
    smooth[..., 100::80] = smooth[..., 101::80] = 1.0  # as rounding can leave them
    assert _peaks(smooth, 100.0)[0].nonzero()[:, 0].tolist() == list(range(100, 1000, 80))


# --- the rhythm


def test_rhythm_features_of_known_beats():
    times = torch.full((4, MOST_BEATS), torch.nan)
    times[0, :6] = 0.4 + 0.75 * torch.arange(6)
    times[1, :4] = torch.tensor([0.5, 1.0, 2.5, 3.0])
    times[2, :1] = 0.7
    out = rhythm_features(times) / LOUD
    assert out.shape == (4, RHYTHM) and out.isfinite().all()
    numbers, first, shares = out.split([RHYTHM - MOST_BEATS, 1, MOST_BEATS - 1], 1)
    assert first[:, 0].tolist() == pytest.approx([0.4, 0.5, 0.7, 1.0])
    assert numbers[0, :2].tolist() == pytest.approx([0, -1 / 6], abs=1e-5) and numbers[0, 2:].abs().max() < 1e-4
    assert not numbers[2:].any() and not shares[2:].any(), "no two beats, no rhythm"
    share = torch.tensor([-0.4, 0.8, -0.4])  # 0.5, 1.5, 0.5 s about 0.833 s
    torch.testing.assert_close(shares[1, :3], 4 * share)
    variance = share.square().mean().item()
    wanted = [(72 - 80) / 30, (2.5 / 3 - 0.8) / 0.3, 3 * 1.0, 5 * variance**0.5, 5 * (1.2 + 1.2) / 3]
    assert numbers[1, :5].tolist() == pytest.approx(wanted, abs=1e-5)
    alike = [torch.sum(share[k:] * share[:-k]).item() / 3 / (variance + 4e-4) for k in (1, 2)]
    assert numbers[1, 5:8].tolist() == pytest.approx([*alike, 0.0], abs=1e-5), "unlike the one before, like the second"
    torch.testing.assert_close(numbers[1, 8:15], 4 * torch.quantile(share, torch.tensor(QUANTILES)))
    assert numbers[1, 15:].tolist() == pytest.approx([math.log(3), 0, 0, math.log(3), 0, 0], abs=1e-5)


# --- nothing there


def test_flat_records_have_no_beats():
    for level in (0.0, 0.37):
        flat = torch.full((2, 12, 1000), level)
        assert not r_peaks(flat, 100.0).any() and peak_times(flat, 100.0).isnan().all()
        beat, spread, times = representative_beat(flat, 100.0)
        assert not beat.any() and times.isnan().all() and spread.isfinite().all() and spread.max() < 1e-5


def test_no_records_are_no_beats():
    beat, spread, times = representative_beat(torch.zeros(0, 12, 1000), 100.0)
    assert beat.shape == spread.shape == (0, 12, N) and times.shape == (0, MOST_BEATS)


def test_a_single_complex_at_the_edge_is_no_whole_beat():
    signal = torch.zeros(1, 12, 1000)
    signal[..., 5:9] = torch.tensor([0.4, 1.0, 0.4, 0.1])
    beat, spread, times = representative_beat(signal, 100.0)
    assert (~times.isnan()).sum() == 1 and not beat.any() and spread.isfinite().all()


# --- real records


def test_real_records_have_a_usual_beat(real_records):
    signals = []
    for record in real_records[::6]:
        try:
            signals.append(torch.from_numpy(ECG.load(record).standard().signal))
        except BadECG:
            continue
    signal = torch.stack(signals)
    beat, spread, times = representative_beat(signal, 100.0)
    count = (~times.isnan()).sum(1)
    assert beat.isfinite().all() and spread.isfinite().all() and len(signal) > 8
    assert (count >= 4).all() and (count <= 30).all()
    swing = beat.amax(-1) - beat.amin(-1)
    assert swing.amax(1).min() > 0.2, "mV"
    place = beat.diff(dim=-1).abs().sum(1).argmax(1) / 100 - BEFORE
    assert (place.abs() < 0.12).float().mean() > 0.8, "the steepest slope lies at the R peak"
