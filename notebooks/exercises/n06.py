"""Exercises of notebook 06: signal-to-noise ratio, the straight path, guidance in a part of the path."""

import torch


def _path(answer) -> bool:
    generator = torch.Generator().manual_seed(6)
    clean, noise = torch.randn(2, 3, 4, 8, generator=generator)
    for s in (0.0, 0.3, 1.0):
        point, velocity = answer(clean, noise, s)
        if not torch.allclose(point, clean + s * (noise - clean), atol=1e-5):
            return False
        if not torch.allclose(velocity, noise - clean, atol=1e-5):
            return False
    return True


def _guide(answer) -> bool:
    generator = torch.Generator().manual_seed(7)
    words, plain = torch.randn(2, 2, 4, 8, generator=generator)
    high = [torch.allclose(answer(words, plain, g, 0.8, 0.3), plain + g * (words - plain)) for g in (0.0, 1.0, 2.5)]
    low = [torch.allclose(answer(words, plain, g, 0.2, 0.3), words) for g in (0.0, 2.5)]
    return all(high) and all(low)


EXERCISES = {
    "06.1": (
        lambda answer: abs(float(answer) - 25) < 0.01,
        "The SNR holds the square of the standard deviation; the level cancels in the ratio.",
        "Compare 1 squared with 0.2 squared.",
    ),
    "06.2": (
        _path,
        "Return two tensors: at s = 0 the point is `clean`, at s = 1 it is `noise`.",
        "The velocity is the derivative of the point by s: it points from `clean` to `noise`.",
    ),
    "06.3": (
        _guide,
        "Start at the velocity without words and go g times the difference; g = 0 must ignore the words.",
        "At or below `above`, return `with_words` as it is, whatever g.",
    ),
}
