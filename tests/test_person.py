"""person: sex and age are found where features hold them, and nowhere else."""

import pytest
import torch

from uniecg_lite.metrics.generation import PersonFit, person_scores


def people(n: int, predicted: float, seed: int = 0):
    """Features (n, 20) of which two hold sex and age, more or less clearly; sex and age (n,)."""
    draw = torch.Generator().manual_seed(seed)
    female, age = torch.rand(n, generator=draw) < 0.5, 20 + 60 * torch.rand(n, generator=draw)
    features = torch.randn(n, 20, generator=draw)
    features[:, 0] += predicted * (2 * female.float() - 1)
    features[:, 1] += predicted * (age - 50) / 17
    return features, female, age


def test_what_features_hold_is_read():
    scores = person_scores(PersonFit(*people(600, 3.0)), *people(300, 3.0, seed=1))
    assert scores["sex_accuracy"] > 0.97 and scores["age_correlation"] > 0.9


def test_what_they_do_not_hold_is_chance():
    scores = person_scores(PersonFit(*people(600, 0.0)), *people(2000, 0.0, seed=1), name="made.")
    assert scores["made.sex_accuracy"] == pytest.approx(0.5, abs=0.05)
    assert scores["made.age_correlation"] == pytest.approx(0.0, abs=0.08)


def test_shuffled_people_are_not_recognised():
    features, female, age = people(400, 3.0, seed=2)
    order = torch.arange(400).roll(1)
    scores = person_scores(PersonFit(*people(600, 3.0)), features[order], female, age)
    assert scores["sex_accuracy"] < 0.6 and abs(scores["age_correlation"]) < 0.15
