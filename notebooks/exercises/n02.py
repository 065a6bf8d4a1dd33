"""Exercises of notebook 02: contrast, tokens, retrieval."""

import math

import torch

_SIMILARITY = torch.tensor(
    [
        [0.9, 0.1, 0.3, 0.2],
        [0.2, 0.1, 0.4, 0.3],
        [0.8, 0.0, 0.6, 0.1],
        [0.5, 0.4, 0.3, 0.2],
    ]
)
_RANKS = torch.tensor([1, 4, 2, 4])  # of each row's own column


def _top(answer) -> bool:
    return all(abs(float(answer(_SIMILARITY, k)) - (k >= _RANKS).float().mean()) < 1e-6 for k in (1, 2, 3, 4))


EXERCISES = {
    "02.1": (
        lambda answer: abs(float(answer) - math.log(64)) < 0.01,
        "Equal similarities: the softmax gives every report the same probability.",
        "The loss is minus the natural logarithm of 1/64.",
    ),
    "02.2": (
        lambda answer: [answer(10, 100), answer(10, 500), answer(4, 100)] == [52, 152, 37],
        "How many samples does one piece of the record cover? Multiply the strides.",
        "One piece covers 2 x 2 x 10 samples; 27 more tokens do not depend on the length.",
    ),
    "02.3": (
        _top,
        "similarity.topk(k, dim=1).indices has the k nearest columns of each row.",
        "Compare them with torch.arange(B)[:, None]; a row counts when any of its k is its own number.",
    ),
}
