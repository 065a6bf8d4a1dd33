"""clip: ECGs are near the words that they follow, and no nearer to others than chance."""

import pytest
import torch

from uniecg_lite.language.requests import Request
from uniecg_lite.metrics.generation import _counted, clip_scores

FINDINGS = (("SR",), ("AFIB",), ("SR", "CLBBB"), ("SR", "LVH"))


def pairs(n: int, seed: int) -> tuple[torch.Tensor, list[str]]:
    """Features (n, 40) of which some hold the rate and the findings of a request, the others noise."""
    draw = torch.Generator().manual_seed(seed)
    rate, kind = torch.randint(50, 120, (n,), generator=draw), torch.randint(4, (n,), generator=draw)
    features = torch.randn(n, 40, generator=draw)
    features[:, 0] = (rate - 85) / 10.0
    features[:, 1:5] += 3 * torch.eye(4)[kind]
    return features, [Request(rate=r, findings=FINDINGS[k]).text() for r, k in zip(rate.tolist(), kind.tolist())]


KNOWN = pairs(800, 0)


def test_own_words_are_near_and_others_are_not():
    scores = clip_scores(*KNOWN, *pairs(100, 1))
    assert scores["clip_score"] > 0.6 > 0.3 > abs(scores["clip_stranger"]) and scores["clip_top1"] > 0.05


def test_ecgs_that_ignore_their_words_score_as_strangers():
    features, texts = pairs(400, 2)
    scores = clip_scores(*KNOWN, features.roll(7, 0), texts)
    assert abs(scores["clip_score"] - scores["clip_stranger"]) < 0.12 and scores["clip_top1"] < 0.03


def test_half_followed_words_score_between():
    features, texts = pairs(200, 3)
    half = features.clone()
    half[:, 0] = 0.0  # whatever rate is asked for
    assert (
        0.2 < clip_scores(*KNOWN, half, texts)["clip_score"] < clip_scores(*KNOWN, features, texts)["clip_score"] - 0.05
    )


def test_scales_of_features_do_not_matter_and_unknown_words_are_passed_over():
    (features, texts), (new, stated), scale = pairs(800, 0), pairs(50, 4), torch.linspace(0.1, 50, 40)
    one = clip_scores(features, texts, new, stated)
    other = clip_scores(features * scale + 3, texts, new * scale + 3, stated)
    assert other["clip_score"] == pytest.approx(one["clip_score"], abs=1e-4)
    assert clip_scores(features, texts, new, [f"{text} Something never read." for text in stated]) == one


def test_numbers_stand_with_their_names():
    counted = _counted("Age unknown. Sex male. Rate 72. Axis -30. Findings: sinus rhythm.")
    assert counted["rate #"] == 72 and counted["axis #"] == -30 and "age #" not in counted and counted["sinus"] == 1
