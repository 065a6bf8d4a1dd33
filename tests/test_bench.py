"""bench: what is multiplied and divided, with a clock that is not the machine's."""

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
    assert shapes[:5] == [(1, 8, 128), (1, 12, 1024), (1, 4, 128), (1, 12, 1024), (1, 12, 1024)]
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
