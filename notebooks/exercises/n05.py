"""Tests of the answers to notebook 05: the loss of a guess, the masked loss, and skill against a constant."""

import math

import torch
import torch.nn.functional as F


def _answer_loss(answer) -> bool:
    draw = torch.Generator().manual_seed(5)
    logits, ids = torch.randn(9, 7, generator=draw), torch.randint(7, (9,), generator=draw)
    return all(
        math.isclose(
            float(answer(logits, ids, start)), F.cross_entropy(logits[start - 1 : 8], ids[start:]), rel_tol=1e-4
        )
        for start in (2, 5, 8)
    )


def _skill(answer) -> bool:
    cases = [([1, -1, 4], [6, -6, 6], 2 / 3), ([0.0], [5.0], 1.0), ([-3, 3], [2, 4], 0.0), ([-8], [4, -4], -1.0)]
    return all(abs(answer(errors, constant) - right) < 1e-6 for errors, constant, right in cases)


EXERCISES = {
    "05.1": (
        lambda answer: abs(float(answer) - math.log(1000)) < 0.01,
        "The loss is minus the logarithm of the chance of the right token.",
        "The natural logarithm of 1,000.",
    ),
    "05.2": (
        _answer_loss,
        "The logits at place t predict the id at place t + 1.",
        "Take logits from start - 1 to the last but one, and ids from start on.",
    ),
    "05.3": (
        _skill,
        "Take absolute values before you average, and each list has its own length.",
        "1 - mean(|errors|) / mean(|constant_errors|).",
    ),
}
