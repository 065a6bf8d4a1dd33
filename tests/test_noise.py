"""noise: lawful in the leads, the same whatever the batch, and of the size and colour that real records have."""

import pytest
import torch

from uniecg_lite.findings import DRIFT_FROM_MV, STATIC_FROM_MV
from uniecg_lite.leads import from_independent, lead_law_residual
from uniecg_lite.metrics.realism import band_rms, ks_distance, quiet_noise
from uniecg_lite.simulator.noise import noise

T = torch.arange(1024) / 100


@pytest.fixture(scope="module")
def generated():
    """600 records' noise in twelve leads, and the RMS of its slow and its fast part."""
    signal, drift, static = noise(0, torch.arange(600), T, 100.0)
    return from_independent(signal), drift, static


def test_shapes_and_no_surprises(generated):
    signal, drift, static = generated
    assert signal.shape == (600, 12, 1024) and drift.shape == static.shape == (600, 12)
    assert signal.isfinite().all() and signal.dtype == torch.float32
    assert (drift > 0).all() and (static > 0).all()
    assert lead_law_residual(signal).max() < 1e-5


@pytest.mark.parametrize(("threads", "hz"), [(1, 100.0), (2, 100.0), (2, 500.0)])
def test_a_record_has_the_same_noise_in_any_batch(threads, hz):
    t = torch.arange(round(10.24 * hz)) / hz
    whole = noise(3, torch.arange(40), t, hz)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for rows in (torch.tensor([17]), torch.tensor([39, 3, 17]), torch.arange(5, 31)):
            for part, all_of_it in zip(noise(3, rows, t, hz), whole):
                assert torch.equal(part, all_of_it[rows])
    finally:
        torch.set_num_threads(before)


def test_seeds_and_records_differ():
    one, other = (noise(seed, torch.arange(8), T, 100.0)[0] for seed in (0, 1))
    flat = torch.cat([one, other]).flatten(1)
    alike = torch.corrcoef(flat) - torch.eye(16)
    assert alike.abs().max() < 0.9 and (one != other).any()


def test_the_figures_are_the_rms_of_what_was_added(generated):
    signal, drift, static = generated
    total = signal.std(-1, correction=0)
    parts = (drift.square() + static.square()).sqrt()
    error = (parts / total - 1).abs()
    assert error.median() < 0.03 and error.quantile(0.98) < 0.15
    rms = band_rms(signal)
    fast = torch.stack([rms[name] for name in ("wave", "sharp", "fine")]).square().sum(0).sqrt()
    ratio = (fast / static).flatten()
    assert 0.75 < ratio.median() < 1.0 and ratio.quantile(0.05) > 0.6, "muscle noise lies above 3 Hz for the most part"
    slow = torch.stack([rms["drift"], rms["slow"]]).square().sum(0).sqrt()
    assert 0.8 < (slow / drift).median() < 1.2


def test_about_one_record_in_seven_is_noisy_by_either_figure(generated):
    _, drift, static = generated
    for figure, level in ((drift, DRIFT_FROM_MV), (static, STATIC_FROM_MV)):
        assert 0.10 < (figure.amax(1) >= level).float().mean() < 0.21


def test_slow_noise_falls_with_frequency_and_arms_tremble_most(generated):
    signal, _, static = generated
    rms = band_rms(signal)
    assert (rms["drift"].median() > 2 * rms["slow"].median()) and (rms["wave"].median() > rms["sharp"].median())
    assert rms["sharp"].median() > rms["fine"].median()
    middle = static.median(0).values
    assert middle[0] > middle[5] and middle[0] > 1.2 * middle[6:].max(), "lead I lies between the arms"


def test_electrodes_are_not_alike(generated):
    _, drift, static = generated
    assert (static.amax(1) / static.median(1).values > 2.5).float().mean() > 0.02, "some records have one bad electrode"
    assert (drift[:, 6:].amax(1) / drift[:, 6:].amin(1)).median() > 3
    assert torch.corrcoef(torch.stack([drift.amax(1).log(), static.amax(1).log()]))[0, 1].abs() < 0.2


def test_a_fast_recorder_also_hears_the_mains():
    t = torch.arange(5120) / 500
    signal = from_independent(noise(0, torch.arange(200), t, 500.0)[0])
    power = torch.fft.rfft(signal).abs().square().mean((0, 1))
    f = torch.fft.rfftfreq(5120, 1 / 500)
    near = {
        hz: power[(f - hz).abs() < 0.3].max() / power[((f - hz).abs() > 1) & ((f - hz).abs() < 4)].mean()
        for hz in (50, 60)
    }
    assert min(near.values()) > 20 and power[f > 249].mean() < 0.5 * power[(f > 200) & (f < 220)].mean()


def test_close_to_real_records(real_records):
    from uniecg_lite.metrics.real_records import load_records
    from uniecg_lite.metrics.realism import sinus_like

    records = load_records(real_records[0].parent)
    real = records.signal(range(len(records)))
    real = real[sinus_like(real)]
    signal = from_independent(noise(0, torch.arange(300), T, 100.0)[0])[..., :1000]
    drift = ks_distance(band_rms(signal)["drift"].flatten(), band_rms(real)["drift"].flatten())
    quiet = ks_distance(quiet_noise(signal).flatten(), quiet_noise(real).flatten())
    assert drift < 0.12 and quiet < 0.20
