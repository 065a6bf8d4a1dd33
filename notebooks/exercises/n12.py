"""Exercises of notebook 12: the size of LoRA, merging it, and continuing a sequence."""

import torch


def _merge(answer) -> bool:
    draw = torch.Generator().manual_seed(5)
    w, a, b = (torch.randn(*size, generator=draw) for size in ((7, 5), (2, 5), (7, 2)))
    x = torch.randn(5, generator=draw)
    return torch.allclose(answer(w, a, b, 0.5) @ x, w @ x + 0.5 * (b @ (a @ x)), atol=1e-5)


def _go_further(answer) -> bool:
    start, seen = [1, 1], []

    def add_two(codes):
        seen.append(len(codes))
        return codes[-1] + codes[-2]

    predicted = list(answer(start, 4, add_two))
    return predicted == [1, 1, 2, 3, 5, 8] and seen == [2, 3, 4, 5] and list(answer([7], 0, add_two)) == [7]


EXERCISES = {
    "12.1": (
        lambda answer: not isinstance(answer, bool) and answer == 32 * (160 + 427),
        "Two matrices are added: one as long as the input, one as long as the output.",
        "The rank times the sum of both sides.",
    ),
    "12.2": (
        _merge,
        "What LoRA adds to W x is scale times B (A x).",
        "A product of matrices may be taken before x comes: W + scale * B A.",
    ),
    "12.3": (
        _go_further,
        "Each forecast is made from all codes so far, the added ones included.",
        "A loop of `more` rounds: append what `forecast` gives for the list as it is now. Zero rounds add nothing.",
    ),
}
