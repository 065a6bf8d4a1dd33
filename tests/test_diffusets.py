"""diffusets: shapes and lead laws of the VAE, what the sampler does exactly, and what a condition depends on."""

import random

import pytest
import tiny
import torch
import torch.nn.functional as F
from torch import nn

from uniecg_lite import cohort
from uniecg_lite.checkpoints import new_codec
from uniecg_lite.config import LAPTOP
from uniecg_lite.generator.denoiser import Denoiser
from uniecg_lite.generator.event_plan import (
    FIRST_BEAT,
    HZ,
    KINDS,
    LENGTH,
    MOST_EVENTS,
    PLAN,
    QRS,
    SECONDS,
    EventModel,
    Events,
    _place,
    _share,
    shown,
)
from uniecg_lite.generator.generator import Generator
from uniecg_lite.generator.generator_stages import clean_hearts, train_denoiser, train_vae
from uniecg_lite.generator.text_encoder import NUMBER_WIDTH, NUMBERS, TextEncoder, waves
from uniecg_lite.generator.vae import KL_WEIGHT, LATENT, PATCH, SMALL, VAE, compand, expand
from uniecg_lite.language.requests import Request
from uniecg_lite.language.tokenizer import train_tokenizer
from uniecg_lite.leads import INDEPENDENT, LEADS, lead_law_residual
from uniecg_lite.simulator.simulate import simulate
from uniecg_lite.training import TrainingLoop

N = 40


@pytest.fixture(scope="module")
def clean():
    """Noise-free ECGs as the generator learns them: (N, 12, 1024)."""
    return simulate(0, torch.arange(N), HZ, LENGTH / HZ, noise=False, first_beat=0.3).signal


@pytest.fixture(scope="module")
def vae():
    torch.manual_seed(0)
    return VAE(16).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def generator():
    return tiny.generator()


@pytest.fixture(scope="module")
def condition(generator):
    """Conditions of three requests: (3, D_c)."""
    return generator.condition([r.text() for r in tiny.corpus().requests[:3]])


# --- VAE


@pytest.mark.parametrize("width", [16, 48])
def test_vae_shapes(clean, width):
    vae = VAE(width)
    latent = vae.encode(clean[:3])
    assert clean.shape == (N, 12, 1024) and latent.shape == (3, *LATENT)
    assert vae.decode(latent).shape == (3, 12, 1024)


@pytest.mark.parametrize("part", ["vae", "codec"])
def test_bfloat16_is_as_float32_on_every_processor(part, clean):
    """Some units multiply bfloat16 wrongly where a convolution has few channels; training must not meet them."""
    slopes = []
    for enabled in (False, True):
        torch.manual_seed(0)
        model = VAE(16) if part == "vae" else new_codec(LAPTOP)
        model.start(clean) if part == "vae" else None
        torch.manual_seed(1)
        with torch.autocast("cpu", torch.bfloat16, enabled):
            model.loss(clean[:8])["loss"].backward()
        slopes.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    assert F.cosine_similarity(*slopes, dim=0) > 0.98


def test_decoded_signals_obey_the_lead_laws(vae):
    latent = 3 * torch.randn(8, *LATENT, generator=torch.Generator().manual_seed(0))
    signal = vae.decode(latent)
    assert signal.std() > 0.01
    assert lead_law_residual(signal, quantile=1).max() <= 1e-5


def test_measured_scale_gives_latents_of_unit_variance(clean):
    vae = VAE(16).eval()
    first = vae.encode(clean)
    vae.measure_scale(clean)
    latent = vae.encode(clean)
    assert (first.std((0, 2)) - 1).abs().min() > 0.05, "they had another scale before"
    torch.testing.assert_close(latent.std((0, 2)), torch.ones(LATENT[0]), atol=1e-3, rtol=0)
    torch.testing.assert_close(latent.mean((0, 2)), torch.zeros(LATENT[0]), atol=1e-3, rtol=0)


def test_the_scale_does_not_change_what_is_decoded(clean):
    torch.manual_seed(1)
    vae = VAE(16).eval()
    before = vae.decode(vae.encode(clean[:3]))
    vae.measure_scale(clean)
    torch.testing.assert_close(vae.decode(vae.encode(clean[:3])), before, atol=1e-4, rtol=1e-4)


def test_vae_loss_is_squared_error_plus_kl(vae, clean):
    torch.manual_seed(2)
    parts = vae.loss(clean[:4])
    mean, log_variance = vae.distribution(clean[:4])
    kl = torch.distributions.kl_divergence(
        torch.distributions.Normal(mean, (log_variance / 2).exp()), torch.distributions.Normal(0.0, 1.0)
    ).mean()
    torch.manual_seed(2)
    latent = mean + torch.randn_like(mean) * (log_variance / 2).exp()
    decoded = vae.decode((latent - vae.shift) / vae.scale)
    rows = [LEADS.index(name) for name in INDEPENDENT]
    decoded, true = decoded[:, rows], clean[:4][:, rows]
    torch.testing.assert_close(parts["kl"], kl)
    torch.testing.assert_close(parts["mse"], (decoded - true).square().mean())
    error = (vae.leads(latent) - SMALL * torch.asinh(true / SMALL)).square().mean()  # before mV are bounded
    torch.testing.assert_close(parts["loss"], 80 * error + 80 * KL_WEIGHT * kl, rtol=1e-4, atol=1e-6)


def test_pressing_keeps_small_waves_and_is_undone():
    signal = torch.linspace(-10, 10, 4001)
    pressed = compand(signal)
    torch.testing.assert_close(expand(pressed), signal, atol=1e-4, rtol=1e-5)
    small = signal.abs() <= 0.1
    assert (pressed - signal)[small].abs().max() < 0.002 and pressed[-1] < 1.5 and (pressed.diff() > 0).all()
    assert expand(torch.tensor([1e9, -1e9])).abs().max() < 10.1, "no latent, however wild, decodes to more"


def test_the_vae_starts_from_principal_components(clean):
    """Before a step it errs as little as the best linear map of its size, and a map of random axes errs more."""
    torch.manual_seed(3)
    vae = VAE(16).eval()
    vae.start(clean)
    rows = [LEADS.index(name) for name in INDEPENDENT]
    true = compand(clean[:, rows])
    patches = true.unflatten(2, (-1, PATCH)).transpose(1, 2).flatten(2).flatten(0, 1)
    mean = patches.mean(0)
    best = torch.linalg.svd(patches - mean, full_matrices=False).Vh[: LATENT[0]]
    lost = (patches - mean - (patches - mean) @ best.T @ best).square().mean()
    with torch.no_grad():
        error = (compand(vae.decode(vae.encode(clean))[:, rows]) - true).square().mean()
        random = (compand(VAE(16).decode(vae.encode(clean))[:, rows]) - true).square().mean()
    assert lost < error < 1.1 * lost and random > 2 * lost


def test_vae_learns(clean, tmp_path):
    torch.manual_seed(0)
    vae = VAE(16)
    history = train_vae(vae, clean, tiny.replace(tiny.PLAN, steps=40, batch=8, lr=3e-3), 0, tmp_path)
    assert history["mse"][-1] < 0.85 * history["mse"][0], "better than the linear map it starts from"
    assert not any(p.requires_grad for p in vae.parameters())
    torch.testing.assert_close(vae.encode(clean).std((0, 2)), torch.ones(LATENT[0]), atol=1e-3, rtol=0)


def test_clean_ecgs_are_the_patients_of_the_cohort(tmp_path):
    table = cohort.load(cohort.write(cohort.simulated(4, 262), tmp_path / "splits"), "train")
    generated, events = clean_hearts(table, batch=17)
    assert generated.shape == (len(table), 12, 1024)
    seed, index, visits = cohort.population_of(table.column("record"))
    assert seed == 4 and 2 < visits.sum() < 11, "later visits among them"
    for visit in (0, 1):
        rows = torch.nonzero(visits == visit)[:, 0]
        again = simulate(4, index[rows], HZ, 10.0, noise=False, first_beat=FIRST_BEAT, visit=visit)
        assert torch.equal(generated[rows], again.signal) and _same_hearts(again.truth, table.truth(rows))
        held = again.truth["onset_s"].where(again.truth["onset_s"] < 9.9, torch.nan)
        assert (events.rows(rows).beats()[:, :8] - held.sort(1).values[:, :8]).abs().nan_to_num(0).max() == 0


def _same_hearts(mine: dict, theirs: dict) -> bool:
    """Ectopic beats may leave or enter the record when the first beat moves; the heart stays the same."""
    return all(torch.equal(mine[key], theirs[key]) for key in ("age", "female", "qrs_ms", "qt_ms", "axis_deg"))


# --- sampler


class Exact(nn.Module):
    """A denoiser that knows where it must go: velocity noise - x0, from x = (1 - s) x0 + s noise."""

    def __init__(self, target: torch.Tensor, unconditional: torch.Tensor | None = None):
        super().__init__()
        self.target, self.other = target, target if unconditional is None else unconditional
        self.null = nn.Parameter(torch.zeros(128))
        self.levels, self.conditions, self.plans = [], [], []

    def forward(self, x, level, condition, plan):
        self.levels.append(level[0].item())
        self.conditions.append(condition)
        self.plans.append(plan)
        goal = torch.cat([self.target, self.other])
        return (x - goal) / level[:, None, None]


def with_denoiser(generator, denoiser):
    stated = generator.condition, generator.rhythm, generator.templates
    return Generator(generator.vae, *stated, denoiser, generator.steps, generator.guidance)


def left(generator, latents):
    """What a sampler's latents are to the denoiser, where the sketch is empty."""
    return latents * generator.design.spread


EMPTY = torch.zeros(3, PLAN, LATENT[1])


@pytest.mark.parametrize("steps", [1, 4, 20])
@pytest.mark.parametrize("guidance", [0.0, 1.0, 3.0])
def test_with_the_exact_velocity_the_sampler_finds_the_target(generator, condition, steps, guidance):
    target = torch.randn(3, *LATENT, generator=torch.Generator().manual_seed(5))
    exact = Exact(target)
    found = with_denoiser(generator, exact).sample(condition, seed=1, steps=steps, guidance=guidance, plan=EMPTY)
    torch.testing.assert_close(left(generator, found), target, atol=1e-3, rtol=0)
    assert len(exact.levels) == steps and exact.levels[0] == 1 and exact.levels == sorted(exact.levels)[::-1]


def test_guidance_moves_between_the_two_targets(generator, condition):
    """With exact velocities guidance g ends at x_0 + g (x_c - x_0)."""
    one, two = (torch.randn(3, *LATENT, generator=torch.Generator().manual_seed(s)) for s in (5, 6))
    for g in (0.0, 0.5, 1.0, 2.0):
        found = with_denoiser(generator, Exact(one, two)).sample(condition, seed=1, steps=1, guidance=g, plan=EMPTY)
        torch.testing.assert_close(left(generator, found), two + g * (one - two), atol=1e-3, rtol=0)


def test_the_sampler_asks_with_and_without_words_but_always_with_the_plan(generator, condition):
    exact = Exact(torch.zeros(3, *LATENT))
    with torch.no_grad():
        exact.null.fill_(7.0)
    with_denoiser(generator, exact).sample(condition, steps=2)
    for asked in exact.conditions:
        assert torch.equal(asked[:3], condition) and (asked[3:] == 7).all()
    for seen in exact.plans:
        assert torch.equal(seen[:3], seen[3:]) and seen.any()


@torch.no_grad()
def test_guidance_one_is_the_condition_alone(generator, condition):
    """An Euler loop by hand, with the conditional velocity only."""
    drawn = torch.Generator().manual_seed(9)
    x, plan = torch.randn(3, *LATENT, generator=drawn), generator.plan(condition, drawn, 1.0)
    levels = torch.linspace(1, 1 / 1000, 5).tolist() + [0.0]
    for now, then in zip(levels, levels[1:]):
        x = x + (then - now) * generator.denoiser(x, torch.full((3,), now), condition, plan)
    found = generator.sample(condition, seed=9, steps=5, guidance=1.0)
    torch.testing.assert_close(left(generator, found - plan[:, -LATENT[0] :]), x, atol=1e-3, rtol=1e-4)


def test_a_plan_can_be_held_while_the_words_change(generator, condition):
    drawn = torch.Generator().manual_seed(4)
    torch.randn(3, *LATENT, generator=drawn)  # the sampler's noise comes first
    plan = generator.plan(condition, drawn)
    assert torch.equal(generator.sample(condition, 4), generator.sample(condition, 4, plan=plan))
    held, other = held_plan(), condition.roll(1, 0)
    unheard, heard = (
        [generator.signals(words, 4, batch=2, guidance=g, plan=held) for words in (condition, other)] for g in (0, 1)
    )
    assert torch.equal(*unheard) and not torch.allclose(*heard), "at guidance 0 only the plan is left"
    assert not torch.allclose(unheard[0], generator.signals(other, 4, batch=2, guidance=0.0, plan=held.flip(0)))


def test_a_seed_decides_the_ecg(generator, condition):
    first, again, other = (generator.make(condition, seed=s) for s in (3, 3, 4))
    for a, b, c in zip(first, again, other):
        assert (a.signal == b.signal).all() and not (a.signal == c.signal).all()
        assert a.hz == HZ and a.seconds == 10 and "no patient" in a.source
        assert lead_law_residual(a.signal) < 1e-5
    assert not (first[0].signal == first[1].signal).all(), "two in one batch differ"


def test_batches_of_different_seeds_share_no_noise(generator, condition):
    same = condition[:1].expand(4, -1)
    drawn = [generator.signals(same, seed, batch=1) for seed in (0, 1, 2)]
    every = torch.cat(drawn)  # (12, 12, 1024), each from its own noise
    assert len(every.unique(dim=0)) == len(every)
    for seed, signal in enumerate(drawn):
        assert torch.equal(signal[:1], generator.signals(same[:1], seed)), "the first batch draws from the seed itself"


def test_words_steer_the_denoiser(generator, condition):
    x, level = torch.randn(3, *LATENT, generator=torch.Generator().manual_seed(0)), torch.full((3,), 0.5)
    plan = held_plan()
    out = generator.denoiser(x, level, condition, plan)
    assert out.shape == x.shape
    assert (out - generator.denoiser(x, level, condition.flip(0), plan)).abs()[0].max() > 1e-3
    assert (out - generator.denoiser(x, level + 0.3, condition, plan)).abs().max() > 1e-3


def test_plans_steer_the_denoiser(generator, condition):
    x, level = torch.randn(3, *LATENT, generator=torch.Generator().manual_seed(0)), torch.full((3,), 0.5)
    plan = held_plan()
    with torch.no_grad():
        change = generator.denoiser(x, level, condition, plan) - generator.denoiser(x, level, condition, -plan)
    assert change.abs().max() > 1e-3


def beats_at(times) -> Events:
    """One ECG with QRS complexes at these times in s, NaN behind them, and nothing else."""
    time = torch.full((1, MOST_EVENTS), torch.nan)
    time[0, : len(times)] = torch.as_tensor(times)
    return Events(time, torch.full((1, MOST_EVENTS), QRS))


def regular(rate: float, first: float = 0.3) -> Events:
    """One ECG with the beats of a regular rhythm."""
    return beats_at(torch.arange(first, 10, 60 / rate))


def together(*each: Events) -> Events:
    return Events(*map(torch.cat, zip(*each)))


def held_plan() -> torch.Tensor:
    """Plans (3, PLAN, 128) with regular beats and any sketch."""
    template = torch.randn(3, *LATENT, generator=torch.Generator().manual_seed(3))
    return torch.cat([shown(together(regular(60), regular(75), regular(120))), template], 1)


@pytest.mark.parametrize("rate", [40, 75, 150])
def test_the_phase_goes_around_once_a_beat(rate):
    cosine = shown(regular(rate))[0, len(KINDS) * PATCH]  # (128,)
    seconds = (torch.arange(LATENT[1]) + 0.5) * PATCH / HZ
    torch.testing.assert_close(cosine, (2 * torch.pi * (seconds - 0.3) * rate / 60).cos(), atol=1e-3, rtol=0)


def test_an_onset_is_shown_at_its_sample_and_by_its_kind():
    one, other = beats_at([50 / HZ]), beats_at([51.5 / HZ])
    onsets = [shown(x)[0, : len(KINDS) * PATCH].unflatten(0, (len(KINDS), PATCH)) for x in (one, other)]
    flat = [x.transpose(1, 2).flatten(1) for x in onsets]  # (kinds, 1024)
    assert flat[0].nonzero().tolist() == [[QRS, 50]] and flat[0][QRS, 50] == pytest.approx(1, abs=1e-4)
    torch.testing.assert_close(flat[1][QRS, 50:54], torch.tensor([0.0, 0.5, 0.5, 0.0]), atol=1e-4, rtol=0)
    early = shown(Events(one.time, torch.ones_like(one.kind)))[0, : len(KINDS) * PATCH]
    assert early.nonzero()[0, 0] // PATCH == 1  # other P


def test_a_pause_is_shown_while_it_lasts_and_in_the_interval_after_it():
    here, before = shown(beats_at([0.3, 1.1, 3.1, 3.9, 4.7]))[0, -2:] * 0.4 + 0.8  # (128,) s
    seconds = (torch.arange(LATENT[1]) + 0.5) * PATCH / HZ
    for intervals, pause in ((here, 1.1), (before, 3.1)):
        lasting = (seconds > pause) & (seconds < pause + (2.0 if intervals is here else 0.8))
        torch.testing.assert_close(intervals, torch.where(lasting, 2.0, 0.8), atol=1e-5, rtol=0)


@pytest.mark.parametrize("times", [[], [0.3]])
def test_a_record_without_intervals_is_shown_as_finite_numbers_and_changes_no_other(times):
    both = shown(together(beats_at(times), regular(75)))
    assert both.isfinite().all() and torch.equal(both[1], shown(regular(75))[0])
    assert both[0, : len(KINDS) * PATCH].any() == bool(times), "no beat, no onset"


def test_gaps_are_said_finely():
    shares = torch.tensor([0.03, 0.2, 0.6, 1.0, 1.5, 3.4])
    torch.testing.assert_close(_share(_place(shares) + 0.5), shares, rtol=0.01, atol=0)


def test_beats_begin_where_they_begin_in_training_and_end_with_the_record(generator, condition):
    rates = torch.tensor([45.0, 80.0, 140.0])
    events = generator.rhythm.sample(condition, rates, torch.Generator().manual_seed(0))
    beats = events.beats()
    torch.testing.assert_close(beats[:, 0], torch.full((3,), FIRST_BEAT))
    assert all((row[~row.isnan()].diff() > 0).all() and (row.nan_to_num(0) < 10).all() for row in events.time)
    assert events.kind.min() >= 0 and events.kind.max() < len(KINDS)


def test_a_seed_decides_the_plan(generator, condition):
    first, again, other = (generator.plan(condition, torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_an_event_is_said_from_the_past_alone(generator, condition):
    gaps = torch.arange(3 * 12).reshape(3, 12) * 8  # (B, E) places
    kinds = gaps % len(KINDS)
    later = gaps.clone()
    later[:, 5:] = 0
    stated, other = generator.rhythm(gaps, kinds, condition), generator.rhythm(later, kinds, condition)
    for one, two in zip(stated, other):
        assert torch.equal(one[:, :6], two[:, :6]) and not torch.allclose(one[:, 6], two[:, 6])
    assert not torch.allclose(stated[0][0, 0], generator.rhythm(gaps, kinds, -condition)[0][0, 0]), "and from the words"


def test_a_rhythm_learns_who_is_regular_and_that_short_follows_long_at_any_rate():
    """Two kinds of words: P and QRS in turn, and beats alone, short and long intervals in turn."""
    torch.manual_seed(0)
    rhythm, predicted = EventModel(8, width=32), F.one_hot(torch.arange(64) % 2, 8).float()
    even = torch.stack([torch.arange(25) * 0.4, torch.arange(25) * 0.4 + 0.16], 1).flatten()  # P 160 ms before QRS
    odd = torch.tensor([0.12, 0.28] * 25).cumsum(0)
    some = (torch.arange(64) % 2 == 0)[:, None]
    kinds = torch.where(some, torch.tensor([0, QRS] * 25), torch.full((50,), QRS))
    events = Events(torch.where(some, even, odd), kinds)
    optimizer = torch.optim.Adam(rhythm.parameters(), 1e-2)
    for _ in range(80):
        optimizer.zero_grad()
        rhythm.loss(events, predicted).backward()
        optimizer.step()
    for rate in (45.0, 75.0, 140.0):
        said = rhythm.sample(predicted[:2], torch.full((2,), rate), torch.Generator().manual_seed(1))
        even, odd = (row[~row.isnan()].diff() for row in said.beats())
        assert 60 / even.mean() == pytest.approx(rate, rel=0.02) and 60 / odd.mean() == pytest.approx(rate, rel=0.02)
        near, far = ((row / row.mean() - 1).abs().median() for row in (even, odd))
        assert near < 0.08 < 0.25 < far
        assert ((odd[1:] > odd.mean()) != (odd[:-1] > odd.mean())).float().mean() > 0.8
        assert (said.kind[0][:12].diff().abs() == QRS).all(), "P and QRS in turn"
        assert not (said.kind[1] == 0)[~said.time[1].isnan()].any(), "and no P for the other words"


# --- condition encoder


def test_the_rate_is_the_one_told(generator):
    encoder = generator.condition
    with torch.no_grad():
        vectors = encoder([r.text() for r in tiny.corpus().requests[:20]])
        wanted = torch.arange(50.0, 70.0)
        weight, bias = encoder.predict.weight.clone(), encoder.predict.bias.clone()
        solved = torch.linalg.lstsq(vectors, waves(wanted / 200)).solution  # a head that tells these rates
        encoder.predict.weight[: NUMBER_WIDTH - 1], encoder.predict.bias[: NUMBER_WIDTH - 1] = solved.T, 0.0
        predicted = encoder.rate(vectors)
        encoder.predict.weight.copy_(weight), encoder.predict.bias.copy_(bias)
    assert torch.equal(predicted, wanted)


def test_condition_vectors_are_on_one_scale(generator):
    vectors = generator.condition([r.text() for r in tiny.corpus().requests[:50]])
    assert vectors.shape == (50, 128)
    torch.testing.assert_close(vectors.mean(1), torch.zeros(50), atol=1e-5, rtol=0)
    torch.testing.assert_close(vectors.var(1, unbiased=False), torch.ones(50), atol=1e-2, rtol=0)


def test_padding_does_not_change_a_condition(generator):
    texts = [Request().text(), Request(63, "female", 120, ("AFIB", "LVH", "LAD", "TINV")).text(), "Rate 60."]
    together = generator.condition(texts)
    for i, text in enumerate(texts):
        torch.testing.assert_close(generator.condition([text])[0], together[i], atol=1e-5, rtol=1e-5)
    assert (together[0] - together[1]).abs().max() > 0.05, "other words, another vector"


def test_open_parts_do_not_count_in_the_facts(generator):
    """Age and rate unknown: the loss is the same whatever the head says about them."""
    encoder, request = generator.condition, Request(None, None, None, ("AFIB",))
    before = encoder.facts_loss([request]).item()
    kept, named = encoder.predict.bias.clone(), NUMBER_WIDTH * torch.arange(1, len(NUMBERS) + 1) - 1
    values = torch.ones(NUMBER_WIDTH * len(NUMBERS) + 1, dtype=torch.bool)  # numbers and sex
    values[named] = False  # but not whether they are named
    with torch.no_grad():
        encoder.predict.bias[: len(values)] += 5.0 * values
        after = encoder.facts_loss([request]).item()
        known = encoder.facts_loss([Request(63, "female", 120, ("AFIB",))]).item()
        encoder.predict.bias.copy_(kept)
        encoder.predict.bias[named] += 5.0
        wrong = encoder.facts_loss([request]).item()
        encoder.predict.bias.copy_(kept)
    assert after == pytest.approx(before, abs=1e-5) and known > before + 1 and wrong > before + 1


def test_what_is_named_and_what_is_open_is_read_back(tmp_path):
    requests = [
        Request(63, "female", 121, ("AFIB", "LVH")),
        Request(findings=("SR",)),
        Request(None, "male", None, ("CLBBB",), axis=-30, st=(("V1", 3), ("V2", -2)), noise=("drift", "mains")),
        Request(40, None, 70, ("SR", "NORM"), 160, 90, 400, 60, seconds=15, lead="II", start="QRS"),
        Request(),
    ]
    torch.manual_seed(0)
    encoder = TextEncoder(train_tokenizer([r.text() for r in requests], 400), width=64)
    loop = TrainingLoop({"condition": encoder}, tiny.replace(tiny.PLAN, steps=200, lr=5e-3), 0, tmp_path)
    for step in loop:
        step.learn(encoder.facts_loss(requests))
    with torch.no_grad():
        vectors = encoder([r.text() for r in requests])
    assert encoder.requests(vectors) == requests
    assert encoder.rate(vectors)[[0, 3]].tolist() == [121, 70]
    assert encoder.named_rate(vectors)[[0, 3]].tolist() == [121, 70]
    assert encoder.named_rate(vectors)[[1, 2, 4]].isnan().all(), "left open"


def test_an_open_rate_is_drawn_from_those_that_such_hearts_have(tmp_path):
    """Two kinds of hearts, about 60 and about 150 bpm; a rate that is named is kept."""
    torch.manual_seed(0)
    rhythm, kind = EventModel(8, 16), torch.arange(64) % 2
    bpm = torch.where(kind == 0, 60.0, 150.0) + 8 * torch.rand(64)
    time = FIRST_BEAT + 60 / bpm[:, None] * torch.arange(MOST_EVENTS)
    events = Events(time.where(time < SECONDS, torch.nan), torch.full(time.shape, QRS))
    words = torch.nn.functional.one_hot(kind, 8).float()
    tiny.train_rhythm(rhythm, events, words, tiny.replace(tiny.PLAN, steps=150, batch=32, lr=1e-2), 0, tmp_path)
    asked = torch.where(torch.arange(64) < 32, torch.nan, 100.0)
    found = 60 / rhythm.sample(words, asked, torch.Generator().manual_seed(1)).beats().diff(dim=1).nanmean(1)
    for which, low, high in ((0, 55, 73), (1, 145, 163)):
        drawn = found[:32][kind[:32] == which]
        assert ((drawn > low) & (drawn < high)).all() and drawn.std() > 0.5, f"{which}: {drawn}"
    assert (found[32:] - 100).abs().max() < 1


def test_the_condition_encoder_learns_under_noise_and_tells_without(generator):
    encoder, asked = generator.condition, [Request(63, "female", 121, ("AFIB",))]
    still = [encoder.facts_loss(asked).item() for _ in range(2)]
    encoder.train()
    blurred = [encoder.facts_loss(asked).item() for _ in range(2)]
    encoder.eval()
    assert still[0] == still[1] and blurred[0] != blurred[1]


def test_the_condition_encoder_learns_the_facts(tmp_path):
    torch.manual_seed(0)
    encoder = TextEncoder(train_tokenizer([r.text() for r in tiny.corpus().requests], 400), width=32)
    plan = tiny.replace(tiny.PLAN, steps=60, batch=16, lr=5e-3)
    history = tiny.train_text_encoder(encoder, tiny.corpus(), plan, 0, tmp_path)
    assert history["loss"][-1] < 0.7 * history["loss"][0]
    assert not any(p.requires_grad for p in encoder.parameters())


# --- training the denoiser


class Spy(nn.Module):
    """Stands in for the denoiser and remembers what it was asked."""

    def __init__(self):
        super().__init__()
        self.null = nn.Parameter(torch.full((128,), 5.0))
        self.gain = nn.Parameter(torch.zeros(()))
        self.asked = []

    def forward(self, x, level, condition, plan):
        self.asked.append((x.detach().clone(), level.clone(), condition.detach().clone()))
        return self.gain * x


def test_one_condition_in_ten_is_dropped_and_all_levels_are_trained(generator, clean, tmp_path):
    spy = Spy()
    plan = tiny.replace(tiny.PLAN, steps=30, batch=32)
    train_denoiser(
        with_denoiser(generator, spy), generator.material(*tiny.few_hearts()), tiny.corpus(), plan, 0, tmp_path
    )
    words, level = torch.cat([c for _, _, c in spy.asked]), torch.cat([s for _, s, _ in spy.asked])
    dropped = (words.std(1) < 1e-3).float()
    assert len(words) == 960 and 0.05 < dropped.mean() < 0.16
    torch.testing.assert_close(words[dropped.bool()].mean(), torch.tensor(5.0), atol=0.5, rtol=0)
    assert level.min() < 0.1 and level.max() > 0.95 and (level > 0).all() and (level < 1).all()


def test_the_denoiser_learns_velocities(generator, clean, tmp_path):
    torch.manual_seed(0)
    generated = with_denoiser(generator, Denoiser(16, 128))
    plan = tiny.replace(tiny.PLAN, steps=80, batch=16, lr=3e-3)
    history = train_denoiser(generated, generated.material(*tiny.few_hearts()), tiny.corpus(), plan, 0, tmp_path)
    assert history["loss"][-1] < 0.9 * history["loss"][0]


def test_any_text_has_a_condition(generator):
    rng = random.Random(0)
    texts = ["".join(chr(rng.randrange(32, 0x2FF)) for _ in range(400)) for _ in range(3)] + ["x"]
    assert generator.condition(texts).isfinite().all(), "longer than the encoder's window, unknown letters"
