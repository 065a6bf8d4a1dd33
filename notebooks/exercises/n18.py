"""Exercises of notebook 18: guidance on two numbers, a Frechet distance by hand, the rule for the number of steps."""

import torch

from uniecg_lite.metrics.generation import fid

CROWDS = (([1.0, 2.0, 3.0, 4.0], [2.0, 4.0, 9.0]), ([0.0, 1.0], [5.0, 6.0]), ([3.0, 1.0, 7.0], [3.0, 1.0, 7.0]))
FIDS = (  # FID by number of steps, the share that may be lost, the answer
    ({50: 100.0, 20: 101.0, 10: 103.0, 2: 200.0}, 0.02, 20),
    ({2: 99.0, 10: 100.0, 50: 98.5}, 0.02, 2),
    ({4: 120.0, 10: 110.0, 50: 100.0}, 0.1, 10),
    ({4: 10.0, 10: 9.0}, 0.0, 10),
)


def _frechet(answer) -> bool:
    cloud = [[torch.tensor(points)[:, None] for points in pair] for pair in CROWDS]
    return all(abs(float(answer(*pair)) - fid(*clouds)) < 1e-4 for pair, clouds in zip(CROWDS, cloud))


EXERCISES = {
    "18.1": (
        lambda answer: not isinstance(answer, bool) and answer == -4,
        "v = v_0 + g (v_c - v_0): start at the answer without words.",
        "5 + 3 x (2 - 5).",
    ),
    "18.2": (
        _frechet,
        "With a single feature it is (m1 - m2)^2 + (s1 - s2)^2.",
        "m are the means, s the standard deviations with n - 1 below: statistics.mean and statistics.stdev.",
    ),
    "18.3": (
        lambda answer: all(answer(dict(fids), near) == steps for fids, near, steps in FIDS),
        "Find the smallest FID first; then ask of each number of steps whether it comes near enough.",
        "Near enough is fid <= (1 + near) * best; of those, the smallest number of steps.",
    ),
}
