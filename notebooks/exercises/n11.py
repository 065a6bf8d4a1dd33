"""Exercises of notebook 11: bits, digits of a word, and how evenly a vocabulary is used."""

import torch


def _word(answer) -> bool:
    cases = (([3, 1], [5, 5], 8), ([0, 0, 2], [4, 3, 6], 24), ([5, 5, 5, 5], [6, 6, 6, 6], 1295), ([1], [2], 1))
    return all(answer(digits, levels) == wanted for digits, levels, wanted in cases)


def _used(answer) -> bool:
    even = answer(torch.arange(8).view(2, 4), 8)
    half = answer(torch.tensor([[0, 1, 0, 1]]), 4)
    one = answer(torch.full((3, 5), 2), 10)
    wanted = ((1.0, 8.0), (0.5, 2.0), (0.1, 1.0))
    return all(
        abs(float(a) - b) < 1e-4 for got, pair in zip((even, half, one), wanted) for a, b in zip(got, pair, strict=True)
    )


EXERCISES = {
    "11.1": (
        lambda answer: not isinstance(answer, bool) and abs(float(answer) - 1250) < 1e-6,
        "How many words are there? One of them is chosen for each token.",
        "4 levels are 2 bits. Five numbers make a token, 125 tokens a record.",
    ),
    "11.2": (
        _word,
        "The first digit counts 1, the second counts as many as the first has levels, and so on.",
        "Sum of digit times the product of the levels of all digits before it.",
    ),
    "11.3": (
        _used,
        "Count how often each word occurs; divide by the number of codes.",
        "Entropy is minus the sum of share times log share, over the words that occur; perplexity is exp of it.",
    ),
}
