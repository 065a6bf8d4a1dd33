"""Tests of the answers to notebook 08: reading an MSE, ranks, and an MSE by parts; a quick check."""

import torch


def _ranks(answer) -> bool:
    targets = torch.tensor([[0.0, 0], [1, 0], [3, 0], [7, 0]])
    mapped = torch.tensor([[0.1, 0], [2.9, 0], [0.2, 0], [6, 0]])
    return [int(rank) for rank in answer(mapped, targets)] == [1, 2, 3, 1]


def _split_mse(answer) -> bool:
    draw = torch.Generator().manual_seed(8)
    a, b = torch.randn(5, 6, generator=draw), torch.randn(5, 6, generator=draw)
    part = torch.tensor([True, False, False, True, False, False])
    inside, outside = answer(a, b, part)
    squares = (a - b) ** 2
    right = squares[:, [0, 3]].mean(), squares[:, [1, 2, 4, 5]].mean()
    return abs(float(inside) - float(right[0])) < 1e-5 and abs(float(outside) - float(right[1])) < 1e-5


EXERCISES = {
    "08.1": (
        lambda answer: abs(float(answer) - 0.75) < 0.005,
        "For vectors of unit scale MSE = 2 (1 - correlation).",
        "Half of the MSE is what is missing from 1.",
    ),
    "08.2": (
        _ranks,
        "Take all distances at once with torch.cdist: (B, B); the own ones are on the diagonal.",
        "The rank is 1 plus the number of targets that are nearer than one's own.",
    ),
    "08.3": (
        _split_mse,
        "Square the differences first, then choose columns.",
        "`squares[:, part].mean()` and `squares[:, ~part].mean()`.",
    ),
    "08.4": (
        lambda answer: answer == "c",
        "A frozen part passes gradients: see notebook 04.",
        "Compare the slopes of two draws of noise.",
    ),
    "08.5": (
        lambda answer: answer == "a",
        "What does cross-entropy say of 73 where 72 is right, and what of 132?",
        "Its minimum is the right one; the question is what it says of all other answers.",
    ),
}
