"""The sketch: a usual beat laid out is the ECG again where every beat is usual, and words decide which beat it is."""

import pytest
import torch
import torch.nn.functional as F
from tiny import train_average_beat

from uniecg_lite.config import Training
from uniecg_lite.findings import CODES
from uniecg_lite.generator.beat_plan import COMPONENTS, HZ, LENGTH, SPAN, AverageBeat, average_beats, place_template
from uniecg_lite.leads import lead_law_residual
from uniecg_lite.simulator.simulate import simulate


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def hearts():
    """Clean ECGs (N, 12, 1024) and whether every beat of them is usual: a sinus rhythm without ectopic beats."""
    generated = simulate(0, torch.arange(300), HZ, LENGTH / HZ, noise=False, first_beat=0.3)
    has = dict(zip(CODES, generated.truth["findings"].bool().T))
    usual = (has["SR"] | has["SBRAD"] | has["STACH"]) & ~has["PVC"] & ~has["PAC"] & ~has["BIGU"]
    return generated.signal, usual


def test_where_every_beat_is_usual_the_sketch_is_the_ecg(hearts):
    signal, usual = hearts
    template = place_template(*average_beats(signal))
    flat = [x - x.median(-1, keepdim=True).values for x in (signal, template)]
    missed = (flat[0] - flat[1]).square().mean((1, 2)) / flat[0].square().mean((1, 2))  # (N,) share of the power
    assert usual.sum() > 60 and missed[usual].median() < 0.05 and missed[usual].quantile(0.9) < 0.12
    assert missed[~usual].mean() > 3 * missed[usual].mean(), "what no usual beat can tell is left to the denoiser"
    assert lead_law_residual(template, quantile=1).max() < 1e-5


def test_beats_of_the_sketch_fall_where_they_were_said(hearts):
    signal, usual = hearts
    beats, times = (part[usual][:40] for part in average_beats(signal))
    moved = times + 0.037  # s: to places that no training ECG had them
    found = average_beats(place_template(beats, moved.masked_fill(moved > 9.8, torch.nan)))[1]
    error = (found[:, 1:6] - moved[:, 1:6]).abs()
    assert error.nanmedian() < 0.006 and error.nan_to_num(1.0).quantile(0.95) < 0.02


def test_a_rhythm_without_beats_has_an_empty_sketch_and_changes_no_other(hearts):
    beats, times = (part[:2] for part in average_beats(hearts[0]))
    silent = torch.stack([torch.full_like(times[0], torch.nan), times[1]])
    template = place_template(beats, silent)
    assert not template[0].any() and torch.equal(template[1], place_template(beats, times)[1])
    alone = place_template(beats[:1], torch.tensor([[5.0]]))
    assert alone.isfinite().all() and not alone[..., : int(4.5 * HZ)].any() and alone[..., int(5.7 * HZ) :].sum() == 0


@pytest.mark.parametrize("shift", [0, 8, 100])
def test_a_sketch_moves_with_its_beats(hearts, shift):
    beats, _ = (part[:3] for part in average_beats(hearts[0]))
    times = torch.tensor([[2.0, 2.9, 3.6]]).expand(3, -1)
    here, there = place_template(beats, times), place_template(beats, times + shift / HZ)
    torch.testing.assert_close(there[..., shift:], here[..., : LENGTH - shift], atol=2e-3, rtol=0)


def test_components_keep_the_beats(hearts):
    beats = average_beats(hearts[0])[0]
    net = AverageBeat(8, 16)
    net.start(beats)
    parts = net.components(beats)
    assert parts.shape == (len(beats), COMPONENTS) and parts.mean(0).abs().max() < 1e-3
    missed = (net.beats(parts) - beats).square().mean() / beats.square().mean()
    assert missed < 0.02
    spread = parts.std(0)
    assert (spread[1:] >= 0.99 * spread[:-1]).all(), "large ones count more"
    assert spread[-1] == pytest.approx(1, rel=0.05)


def test_words_decide_the_beat(tmp_path):
    """Two kinds of words, one for upright and one for inverted beats of varying size."""
    shape = torch.randn(8, SPAN, generator=seeded())
    predicted = F.one_hot(torch.arange(256) % 2, 8).float()
    size = torch.where(torch.arange(256) % 2 == 0, 1.0, -1.0) * (1 + 0.1 * torch.randn(256, generator=seeded(1)))
    torch.manual_seed(0)
    net = AverageBeat(8, 128, layers=1)
    plan = Training(400, 64, 3e-3, warmup=5)
    history = train_average_beat(net, size[:, None, None] * shape, predicted, plan, 0, tmp_path)
    assert history["loss"][-1] < history["loss"][0] and not any(p.requires_grad for p in net.parameters())
    generated = net.sample(torch.eye(8)[:2].repeat_interleave(50, 0), 1.0, seeded(2))  # (100, 8, SPAN)
    found = (generated * shape).sum((1, 2)) / shape.square().sum()
    assert found[:50].median() == pytest.approx(1, abs=0.15) and found[50:].median() == pytest.approx(-1, abs=0.15)
    assert torch.equal(generated, net.sample(torch.eye(8)[:2].repeat_interleave(50, 0), 1.0, seeded(2)))
    blind = net.sample(torch.eye(8)[:2], 0.0, seeded(3))
    assert torch.equal(blind, net.sample(torch.eye(8)[[1, 0]], 0.0, seeded(3))), "at guidance 0 words are not heard"
