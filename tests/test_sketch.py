"""The sketch: templates laid down at the events are the ECG again, and words decide what is laid down."""

import pytest
import tiny
import torch
import torch.nn.functional as F

from uniecg_lite.config import Training
from uniecg_lite.findings import CODES
from uniecg_lite.generator.event_plan import (
    COLUMNS,
    COMPONENTS,
    HZ,
    KINDS,
    LENGTH,
    QRS,
    SIZES,
    Events,
    TemplateModel,
    lay_out,
    templates,
)
from uniecg_lite.generator.generator_stages import simulated_events
from uniecg_lite.generator.vae import expand
from uniecg_lite.leads import lead_law_residual
from uniecg_lite.simulator.simulate import simulate


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def hearts():
    """Clean ECGs (N, 12, 1024), their events, and which finding each has."""
    generated = simulate(0, torch.arange(300), HZ, LENGTH / HZ, noise=False, first_beat=0.3)
    has = dict(zip(CODES, generated.truth["findings"].bool().T))
    return generated.signal, simulated_events(generated.truth), has


def missed(signal, sketch):
    """(N,) share of the power that a sketch leaves."""
    return (signal - sketch).square().mean((1, 2)) / signal.square().mean((1, 2))


def test_the_sketch_is_nearly_the_ecg_whatever_the_rhythm(hearts):
    signal, events, has = hearts
    sketch = lay_out(templates(signal, events), events)
    left = missed(signal, sketch)
    for code in ("SR", "PVC", "BIGU", "PAC", "3AVB", "PACE", "CLBBB"):
        assert left[has[code]].median() < 0.03, code
    assert left[has["AFIB"]].median() > 3 * left[has["SR"]].median(), "what belongs to no event is left"
    assert lead_law_residual(sketch, quantile=1).max() < 1e-5


def test_events_are_those_of_the_heart(hearts):
    _, events, has = hearts
    kinds = {name: events.kind == k for k, name in enumerate(KINDS)}
    there = ~events.time.isnan()
    assert (events.time.diff(dim=1).nan_to_num(1.0) >= 0).all(), "in order of time"
    counts = {name: (kind & there).sum(1) for name, kind in kinds.items()}
    assert (counts["ventricular QRS"][has["PVC"] | has["BIGU"]] > 0).all()
    assert not counts["ventricular QRS"][has["SR"] & ~has["PVC"] & ~has["BIGU"]].any()
    assert not (counts["P"] + counts["other P"])[has["AFIB"] | has["AFLT"] | has["VT"]].any()
    assert (counts["P alone"] > counts["QRS"])[has["3AVB"]].all() and counts["other P"][has["PAC"]].all()
    dropped = has["WENCK"] | has["MOB2"]
    assert counts["P alone"][dropped].all() and not counts["P alone"][has["SR"]].any()


def test_least_squares_finds_what_was_laid_down():
    """A P wave that keeps its own time is told apart from the QRS complexes that it falls on."""
    shape = 0.3 * torch.randn(1, 8, COLUMNS, generator=seeded())
    p, beats = torch.arange(0.3, 9.5, 0.61), torch.arange(0.5, 9.0, 1.37)
    time, order = torch.cat([p, beats]).sort()
    events = Events(time[None], torch.cat([0 * p, 0 * beats + QRS])[order].long()[None])
    found = templates(lay_out(shape, events), events)
    assert (expand(found) - expand(shape))[..., : SIZES[0]].abs().mean() < 0.03
    assert not found[..., -SIZES[3] :].any(), "what an ECG does not have is zero"


def test_a_record_without_events_has_an_empty_sketch_and_changes_no_other(hearts):
    signal, events, _ = hearts
    template = templates(signal[:2], events.rows(slice(2)))
    silent = Events(torch.stack([torch.full_like(events.time[0], torch.nan), events.time[1]]), events.kind[:2])
    sketch = lay_out(template, silent)
    assert not sketch[0].any() and torch.equal(sketch[1], lay_out(template, events.rows(slice(2)))[1])


@pytest.mark.parametrize("shift", [0, 8, 100])
def test_a_sketch_moves_with_its_events(hearts, shift):
    template = templates(hearts[0][:3], hearts[1].rows(slice(3)))
    time, kind = torch.tensor([[2.0, 2.9, 3.6]]).expand(3, -1), torch.full((3, 3), QRS)
    here, there = lay_out(template, Events(time, kind)), lay_out(template, Events(time + shift / HZ, kind))
    torch.testing.assert_close(there[..., shift:], here[..., : LENGTH - shift], atol=2e-3, rtol=0)


def test_components_keep_the_templates(hearts):
    template = templates(*hearts[:2])
    net = TemplateModel(8, 16)
    net.start(template)
    parts = net.components(template)
    assert parts.shape == (len(template), COMPONENTS) and parts.mean(0).abs().max() < 1e-3
    lost = (net.templates(parts) - template).square().mean() / template.square().mean()
    assert lost < 0.02
    spread = parts.std(0)
    assert (spread[1:] >= 0.99 * spread[:-1]).all(), "large ones count more"
    assert spread[-1] == pytest.approx(1, rel=0.05)


def test_words_decide_the_templates(tmp_path):
    """Two kinds of words, one for upright and one for inverted waves of varying size."""
    shape = torch.randn(8, COLUMNS, generator=seeded())
    predicted = F.one_hot(torch.arange(256) % 2, 8).float()
    size = torch.where(torch.arange(256) % 2 == 0, 1.0, -1.0) * (1 + 0.1 * torch.randn(256, generator=seeded(1)))
    torch.manual_seed(0)
    net = TemplateModel(8, 128, layers=1)
    plan = Training(400, 64, 3e-3, warmup=5)
    history = tiny.train_templates(net, size[:, None, None] * shape, predicted, plan, 0, tmp_path)
    assert history["loss"][-1] < history["loss"][0] and not any(p.requires_grad for p in net.parameters())
    generated = net.sample(torch.eye(8)[:2].repeat_interleave(50, 0), 1.0, seeded(2))  # (100, 8, COLUMNS)
    found = (generated * shape).sum((1, 2)) / shape.square().sum()
    assert found[:50].median() == pytest.approx(1, abs=0.15) and found[50:].median() == pytest.approx(-1, abs=0.15)
    assert torch.equal(generated, net.sample(torch.eye(8)[:2].repeat_interleave(50, 0), 1.0, seeded(2)))
    blind = net.sample(torch.eye(8)[:2], 0.0, seeded(3))
    assert torch.equal(blind, net.sample(torch.eye(8)[[1, 0]], 0.0, seeded(3))), "at guidance 0 words are not heard"
