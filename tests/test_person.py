"""person: sex and age are found where features hold them, and nowhere else."""

import pytest
import torch

from uniecg_lite.metrics.generation import person_scores


def people(n: int, predicted: float, seed: int = 0):
    """Features (n, 20) of which two hold sex and age, more or less clearly; sex and age (n,)."""
    draw = torch.Generator().manual_seed(seed)
    female, age = torch.rand(n, generator=draw) < 0.5, 20 + 60 * torch.rand(n, generator=draw)
    features = torch.randn(n, 20, generator=draw)
    features[:, 0] += predicted * (2 * female.float() - 1)
    features[:, 1] += predicted * (age - 50) / 17
    return features, female, age


def scored(known, shown, generated=None):
    """`person_scores` of people (features, sex, age) where others are known; their ECGs, or others, are generated."""
    features, female, age = (torch.cat(pair) for pair in zip(shown, known))
    return person_scores(features, shown[0] if generated is None else generated, female, age)


def test_what_features_hold_is_read():
    scores = scored(people(600, 3.0), people(300, 3.0, seed=1))
    assert scores["sex_accuracy"] == scores["true_sex_accuracy"] > 0.97
    assert scores["age_correlation"] == scores["true_age_correlation"] > 0.9


def test_what_they_do_not_hold_is_chance():
    scores = scored(people(600, 0.0), people(2000, 0.0, seed=1))
    assert scores["sex_accuracy"] == pytest.approx(0.5, abs=0.05)
    assert scores["age_correlation"] == pytest.approx(0.0, abs=0.08)


def test_shuffled_people_are_not_recognised():
    shown = people(400, 3.0, seed=2)
    scores = scored(people(600, 3.0), shown, shown[0].roll(-1, 0))
    assert scores["sex_accuracy"] < 0.6 and abs(scores["age_correlation"]) < 0.15
    assert scores["true_sex_accuracy"] > 0.97


def test_who_is_unknown_does_not_count():
    known, shown = people(600, 3.0), people(300, 3.0, seed=1)
    sex, age = known[1].float(), shown[2].clone()
    sex[::3], age[::2] = torch.nan, torch.nan
    some = [part[~torch.arange(600).remainder(3).eq(0)] for part in known], [part[1::2] for part in shown]
    assert scored((known[0], sex, known[2]), (shown[0], shown[1].float(), age)) == pytest.approx(scored(*some))
