"""bench: what is multiplied and divided, with a clock that is not the machine's."""

import random

import bench as room
import pytest
import tiny
import torch
from diffusets_published import STEPS


@pytest.fixture
def by_hand(monkeypatch):
    """Works are run once and take a second, in the order they come."""
    calls = []

    def second(work, repeats=5):
        calls.append(work())
        return 1.0

    monkeypatch.setattr(room, "seconds_of", second)
    return calls


def test_the_fastest_repeat_counts_and_the_warm_up_does_not(monkeypatch):
    clock = iter([0.0, 5.0, 10.0, 12.0, 20.0, 23.0])
    monkeypatch.setattr(room.time, "perf_counter", lambda: next(clock))
    calls = []
    assert room.seconds_of(lambda: calls.append(0), repeats=3) == 2.0
    assert len(calls) == 4


def test_steps_are_multiplied_and_seconds_divided(by_hand):
    found = room.generation_speeds(tiny.PROFILE, batches=(1, 2), steps=2)
    whole = STEPS / 2 + 1  # all steps, and the decoder
    for size in (1, 2):
        assert found[f"generation.seconds_per_ecg.batch{size}"] == 1 / size
        assert found[f"generation.seconds_per_ecg_1000_steps.batch{size}"] == whole / size
        assert found[f"generation.published_seconds_per_ecg.batch{size}"] == whole / size
        assert found[f"generation.speedup_vs_published.batch{size}"] == whole
    assert found["generation.speedup_vs_published"] == whole
    shapes = [tuple(generated.shape) for generated in by_hand]
    assert shapes[:5] == [(1, 24, 128), (1, 12, 1024), (1, 4, 128), (1, 12, 1024), (1, 12, 1024)]
    assert all(generated.isfinite().all() for generated in by_hand)


def test_the_sampler_that_is_timed_is_the_default_one(by_hand):
    generator, conditions = room.new_generator(tiny.PROFILE, 2)
    assert generator.steps == tiny.PROFILE.sample_steps and generator.guidance == tiny.PROFILE.guidance
    assert conditions.shape == (2, generator.condition.settings["width"])
    assert torch.equal(generator.sample(conditions), generator.sample(conditions, steps=tiny.PROFILE.sample_steps))


def test_operations_are_counted_as_by_hand():
    a, b = torch.randn(3, 5), torch.randn(5, 7)
    assert room.flops_of(lambda: a @ b) == 2 * 3 * 5 * 7
    layer = torch.nn.Conv1d(4, 6, 3, padding=1)
    assert room.flops_of(lambda: layer(torch.randn(2, 4, 10))) == 2 * (2 * 10) * 6 * 4 * 3


def test_the_ratio_to_a_matrix_product_is_operations_over_operations(by_hand):
    found = room.denoiser_efficiency(tiny.PROFILE, batch=2, side=64)
    assert found["machine.matrix_gflop_per_second"] == 2 * 64**3 / 1e9
    done = found["generation.denoiser_gflop_per_second"]
    assert found["generation.denoiser_speed_over_matrix_product"] == pytest.approx(done * 1e9 / (2 * 64**3))
    assert found["generation.denoiser_gflop_per_ecg_step"] == pytest.approx(done / 2), "two ECGs in one second"


def test_attention_is_counted_in_training_mode():
    width, length = 8, 10
    look, x = torch.nn.MultiheadAttention(width, 2, batch_first=True).train(), torch.randn(3, length, width)
    projections, products = 3 * length * 4 * width**2, 2 * 3 * length**2 * width
    with torch.no_grad():
        assert room.flops_of(lambda: look(x, x, x, need_weights=False)) == 2 * (projections + products)


def test_operations_grow_with_the_batch(by_hand):
    few, many = (room.denoiser_efficiency(tiny.PROFILE, batch=n, side=8) for n in (2, 8))
    name = "generation.denoiser_gflop_per_ecg_step"
    assert few[name] == pytest.approx(many[name], rel=0.05)


def test_a_step_of_stage1_is_timed_on_the_same_batches_as_under_trainer(by_hand, monkeypatch):
    asked, answered = [], []
    forward, loss = room.UniECG.forward, room.UniECG.loss
    monkeypatch.setattr(room, "STAGE1_PATIENTS", 24)

    def seen(model, input_ids, attention_mask=None, signal=None, image=None, labels=None):
        out = forward(model, input_ids, attention_mask, signal, image, labels)
        asked.append((input_ids.cpu(), out.loss.item(), signal is None and image is None))
        return out

    def told(model, batch, ecg=None, rates=False):
        answered.append((batch.ids.cpu(), loss(model, batch, ecg).item(), ecg is None))
        return loss(model, batch, ecg, rates)

    monkeypatch.setattr(room.UniECG, "forward", seen)
    monkeypatch.setattr(room.UniECG, "loss", told)
    found = room.stage1_speeds(tiny.PROFILE, steps=4)
    assert set(found) == {
        f"stage1.{name}" for name in ("steps_per_second", "trainer_steps_per_second", "ratio_to_trainer")
    }
    assert found["stage1.steps_per_second"] == found["stage1.trainer_steps_per_second"] == 4
    assert found["stage1.ratio_to_trainer"] == 1
    assert len(asked) == len(answered) == 4
    for (ids, _, words), (others, _, alone) in zip(asked, answered):
        assert torch.equal(ids, others) and words == alone


def test_what_trainer_is_given_has_the_loss_of_the_package():
    model, corpus = tiny.reading_model(), tiny.corpus()
    signal = tiny.patients().signal[:40]
    raw = room.CachedTokens(signal, room.raster(signal))
    collator = room.Collator(model, corpus)
    collator.report = collator.ids  # each word counts once, as labels do
    for dialogues, ecg in (
        (collator.reports(range(3), random.Random(0), {"interpret": 1}), raw.get(range(3), "both")),
        (
            collator.text(range(3), random.Random(0), {"question": 1, "restate": 1}),
            (None, None),
        ),  # no form: labels count once
    ):
        batch = model.batch(dialogues)
        given = room.Shown(model).loss(batch, ecg)
        views = room.views_of(model, signal[:3]) if ecg[0] is not None else (None, None)
        wanted = model.loss(batch, model.project(*views))
        torch.testing.assert_close(model(**given).loss, wanted, rtol=1e-3, atol=1e-3)
