"""Exercises of notebook 15: shares of a few records, what goes together, and how far two samples differ."""

import torch

from uniecg_lite.metrics.realism import ks_distance


def _lift(answer) -> bool:
    a = torch.tensor([True, True, False, False, False, False])
    b = torch.tensor([True, True, True, False, False, False])
    c = torch.tensor([True, False, False, False, True, True])
    wanted = ((a, b, 2.0), (b, a, 2.0), (a, c, 1.0), (a, ~a, 0.0), (a, a, 3.0))
    return all(abs(float(answer(x, y)) - value) < 1e-5 for x, y, value in wanted)


def _gap(answer) -> bool:
    samples = [torch.randn(n, generator=torch.Generator().manual_seed(n)) for n in (7, 20, 33)]
    pairs = [(samples[0], samples[1]), (samples[1], 2 * samples[2] + 1), (samples[0], samples[0] + 100)]
    pairs.append((torch.tensor([1.0, 1.0, 2.0]), torch.tensor([1.0, 2.0, 2.0])))  # equal values on both sides
    return all(abs(float(answer(a, b)) - ks_distance(a, b)) < 1e-5 for a, b in pairs)


EXERCISES = {
    "15.1": (
        lambda answer: not isinstance(answer, bool) and answer == 50,
        "With n records and one failure the share is (n - 1) / n.",
        "Solve (n - 1) / n = 0.98 for n.",
    ),
    "15.2": (
        _lift,
        "The share that has both, over the product of the two shares. Booleans become numbers with `.float()`.",
        "(a & b).float().mean() / (a.float().mean() * b.float().mean()): 1 when they are independent.",
    ),
    "15.3": (
        _gap,
        "At each value of either sample: which share of a is at most this value, which share of b?",
        "at = torch.cat([a, b]); compare (a[:, None] <= at).float().mean(0) with the same of b; take the largest gap.",
    ),
}
