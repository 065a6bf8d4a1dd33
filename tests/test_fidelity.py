"""Fidelity: closed forms, other people's implementations, and what each way to fail does to each score."""

import math

import numpy as np
import pytest
import tiny
import torch
from torch import nn
from torchmetrics.image.fid import FrechetInceptionDistance

from uniecg_lite.errors import BadRequest
from uniecg_lite.metrics.generation import fid, fidelity, manifolds, memorised
from uniecg_lite.metrics.reader import Reader


def cloud(n: int, d: int = 6, seed: int = 0) -> torch.Tensor:
    """(n, d) of a Gaussian with unequal spreads."""
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed)) * torch.linspace(0.5, 2, d)


# --- Frechet distance


def test_a_cloud_is_at_no_distance_from_itself():
    x = cloud(200)
    assert fid(x, x) == pytest.approx(0, abs=1e-9)
    assert fid(x, x.flip(0)) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("shift", [0.1, 1.0, 10.0])
def test_a_shift_costs_its_square(shift):
    x, by = cloud(300), torch.tensor([shift, 0, 0, -2 * shift, 0, 0])
    assert fid(x, x + by) == pytest.approx(by.square().sum().item(), rel=1e-4)


def test_a_larger_spread_costs_the_difference_of_spreads():
    x = cloud(300)
    x = x - x.mean(0)
    assert fid(x, 3 * x) == pytest.approx(4 * torch.cov(x.T).trace().item(), rel=1e-5)


def test_commuting_covariances_have_a_closed_form():
    a, b = torch.tensor([0.5, 2.0, 3.0]), torch.tensor([1.0, 0.3, 3.0])
    x = torch.randn(500, 3, generator=torch.Generator().manual_seed(0)).double()
    x = (x - x.mean(0)) @ torch.linalg.inv(torch.linalg.cholesky(torch.cov(x.T))).T  # exactly white
    assert fid(x * a, x * b) == pytest.approx((a - b).square().sum().item(), rel=1e-6)


def test_it_is_symmetric_and_turns_with_the_clouds():
    x, y = cloud(100), 0.5 + cloud(80, seed=1)
    turn = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(2)))[0]
    assert fid(x, y) == pytest.approx(fid(y, x), rel=1e-9)
    assert fid(x @ turn, y @ turn) == pytest.approx(fid(x, y), rel=1e-4)


def test_fewer_points_than_dimensions_stay_finite_and_not_negative():
    x, y = cloud(5, 40), cloud(7, 40, seed=1)
    assert 0 < fid(x, y) < math.inf
    assert fid(x, x) == pytest.approx(0, abs=1e-9)


def test_one_feature_is_enough():
    assert fid(cloud(50, 1), cloud(50, 1) + 2) == pytest.approx(4, rel=1e-5)


class Flat(nn.Module):
    """Images (N, 3, 2, 2) as features (N, 12)."""

    num_features = 12

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1).float()


@pytest.mark.filterwarnings("ignore")
def test_it_is_what_torchmetrics_gives():
    generator = torch.Generator().manual_seed(0)
    one = torch.randint(0, 256, (90, 3, 2, 2), generator=generator, dtype=torch.uint8)
    other = torch.randint(40, 200, (70, 3, 2, 2), generator=generator, dtype=torch.uint8)
    peer = FrechetInceptionDistance(feature=Flat())
    peer.set_dtype(torch.float64)
    peer.update(one, real=True)
    peer.update(other, real=False)
    assert fid(one.flatten(1).float(), other.flatten(1).float()) == pytest.approx(peer.compute().item(), rel=1e-4)


# --- manifolds


def by_hand(real: np.ndarray, generated: np.ndarray, k: int) -> dict[str, float]:
    """Precision, recall, density and coverage, point by point."""

    def reach(points):
        return [sorted(np.linalg.norm(p - q) for q in points)[k] for p in points]

    around_real, around_made = reach(real), reach(generated)
    inside = [[np.linalg.norm(r - m) <= around_real[i] for m in generated] for i, r in enumerate(real)]
    covered = [[np.linalg.norm(r - m) <= around_made[j] for j, m in enumerate(generated)] for r in real]
    return {
        "precision": np.mean([any(row[j] for row in inside) for j in range(len(generated))]),
        "recall": np.mean([any(row) for row in covered]),
        "density": np.sum(inside) / (k * len(generated)),
        "coverage": np.mean([any(row) for row in inside]),
    }


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("shift", [0.0, 1.0, 3.0])
def test_manifolds_equal_loops_over_points(k, shift):
    real, generated = cloud(40, 3).double(), 0.7 * cloud(30, 3, seed=1).double() + shift
    assert manifolds(real, generated, k) == pytest.approx(by_hand(real.numpy(), generated.numpy(), k))


def test_a_perfect_copy_has_all_of_it():
    x = cloud(60)
    found = manifolds(x, x)
    assert found["precision"] == found["recall"] == found["coverage"] == 1


def test_strangers_have_none_of_it():
    assert set(manifolds(cloud(60), cloud(60, seed=1) + 100).values()) == {0.0}


def two_kinds(n: int, seed: int) -> torch.Tensor:
    x = cloud(2 * n, 2, seed)
    x[n:, 0] += 50
    return x


def test_a_lost_mode_costs_recall_and_coverage_but_no_precision():
    real, whole, half = two_kinds(150, 0), two_kinds(150, 1), cloud(300, 2, 1)
    good, poor = manifolds(real, whole), manifolds(real, half)
    assert poor["precision"] > 0.9 and good["precision"] > 0.9
    assert good["recall"] > 0.9 and poor["recall"] <= 0.5
    assert good["coverage"] == pytest.approx(1 - 0.5**3, abs=0.05), "of equal crowds, for k = 3"
    assert poor["coverage"] <= 0.5
    assert fid(real, half) > 100 * fid(real, whole)


def test_made_ones_beyond_the_real_cost_precision_but_no_recall():
    real, wide = cloud(300, 2), 3 * cloud(300, 2, seed=1)
    found = manifolds(real, wide)
    assert found["precision"] < 0.7 and found["recall"] > 0.9


def test_one_repeated_ecg_has_precision_without_recall():
    real = cloud(100)
    found = manifolds(real, real[:1].expand(100, -1))
    assert found["precision"] == 1 and found["recall"] <= 0.02


def test_density_tells_what_an_outlier_hides_from_precision():
    """A stray real point has a ball so wide that everything near it passes for precise (Naeem et al., figure 2)."""
    real = torch.cat([cloud(100, 2), torch.tensor([[30.0, 0.0]])])
    generated = 0.1 * cloud(100, 2, seed=1) + torch.tensor([20.0, 0.0])
    found = manifolds(real, generated)
    assert found["precision"] == 1 and found["density"] < 0.5 and found["coverage"] < 0.02


# --- all of it, against a floor


def test_a_perfect_generator_is_at_the_floor_and_a_shifted_one_is_not():
    held_out = cloud(1200)
    perfect, shifted = fidelity(held_out, cloud(600, seed=1)), fidelity(held_out, cloud(600, seed=1) + 1)
    assert 0.7 < perfect["fid_ratio_to_floor"] < 1.5
    assert shifted["fid_ratio_to_floor"] > 20
    assert perfect["points"] == 600
    assert perfect["precision"] == pytest.approx(perfect["held_out.precision"], abs=0.05)
    assert shifted["held_out.fid"] == perfect["held_out.fid"], "the floor knows nothing of the generated ones"


def test_sizes_are_equal_and_the_parting_is_by_seed():
    held_out, generated = cloud(100), cloud(500, seed=1)
    assert fidelity(held_out, generated)["points"] == 50
    assert fidelity(held_out, generated[:20])["points"] == 20
    assert fidelity(held_out, generated) == fidelity(held_out, generated)
    assert fidelity(held_out, generated)["fid"] != fidelity(held_out, generated, seed=1)["fid"]


def test_the_scores_are_means_over_partings():
    """One parting after the other from one generator, so that the mean can be taken by hand."""
    held_out, generated, generator = cloud(40), cloud(20, seed=1), torch.Generator().manual_seed(3)
    fids, recalls = [], []
    for _ in range(3):
        order, drawn = torch.randperm(40, generator=generator), torch.randperm(20, generator=generator)
        fids.append(fid(held_out[order[:20]], generated[drawn]))
        recalls.append(manifolds(held_out[order[:20]], held_out[order[20:]])["recall"])
    found = fidelity(held_out, generated, seed=3, partings=3)
    assert found["fid"] == pytest.approx(sum(fids) / 3) and found["held_out.recall"] == pytest.approx(sum(recalls) / 3)


def test_more_partings_make_the_ratio_steadier():
    held_out, generated = cloud(200) ** 3, cloud(100, seed=1) ** 3
    spreads = [
        torch.tensor([fidelity(held_out, generated, seed, n)["fid_ratio_to_floor"] for seed in range(8)]).std()
        for n in (1, 8)
    ]
    assert spreads[1] < 0.6 * spreads[0]


# --- memorised


def test_copies_are_told_from_new_ones():
    train, held_out = cloud(300), cloud(100, seed=1)
    copies, new = memorised(train, held_out, train[:100]), memorised(train, held_out, cloud(100, seed=2))
    assert copies == {"memorised.share_closer": 1.0, "memorised.distance_ratio": 0.0}
    assert new["memorised.share_closer"] == pytest.approx(0.5, abs=0.1)
    assert new["memorised.distance_ratio"] == pytest.approx(1, abs=0.15)


def test_half_copies_lie_between_and_strangers_are_farther():
    train, held_out = cloud(300), cloud(100, seed=1)
    mixed = torch.cat([train[:50], cloud(50, seed=2)])
    assert 0.6 < memorised(train, held_out, mixed)["memorised.share_closer"] < 0.9
    assert memorised(train, held_out, held_out + 50)["memorised.share_closer"] == 0


def test_equal_distances_count_half():
    train, held_out = torch.tensor([[0.0], [10.0]]), torch.tensor([[1.0], [11.0]])
    assert memorised(train, held_out, held_out)["memorised.share_closer"] == 0.5


# --- what is refused; where features come from


@pytest.mark.parametrize("shape", [(5,), (1, 4), (2, 3, 4)])
def test_something_else_than_a_cloud_is_refused(shape):
    with pytest.raises(BadRequest, match="cloud"):
        fid(torch.zeros(shape), cloud(10))


def test_features_that_are_no_numbers_and_too_few_points_are_refused():
    x = cloud(10)
    x[3, 2] = math.nan
    with pytest.raises(BadRequest, match="not finite"):
        fid(cloud(10), x)
    with pytest.raises(BadRequest, match="more than 3"):
        manifolds(cloud(10), cloud(3))


def test_features_are_what_the_head_of_the_reader_ends_on():
    torch.manual_seed(0)
    reader, signal = Reader(16), tiny.patients().signal[:10]
    seen = reader.features(signal, batch=4)
    assert seen.shape == (10, 256) and not seen.requires_grad
    predicted = reader(signal)
    torch.testing.assert_close(reader.head[-1](seen), predicted)
    assert fid(seen, reader.features(signal)) == pytest.approx(0, abs=1e-9)
