"""Tests of the answers to notebook 04: positions, the splice, and a fair shared projection; a quick check."""

import torch


def _splice(answer) -> bool:
    words = torch.arange(24.0).view(2, 4, 3)
    ecg = -1 - torch.arange(12.0).view(2, 2, 3)
    out = answer(words, ecg)
    right = torch.cat([words[:, :1], ecg, words[:, 1:]], 1)
    return torch.equal(out, right) and torch.equal(answer(words, None), words)


def _hidden(answer) -> bool:
    def fits(enc, lm, h):
        return h * (enc + 1) + lm * (h + 1) <= 2 * lm * (enc + 1)

    sizes = [(160, 160), (32, 32), (768, 4096), (5, 7)]
    return all(fits(e, d, answer(e, d)) and not fits(e, d, answer(e, d) + 1) for e, d in sizes)


EXERCISES = {
    "04.1": (
        lambda answer: answer == 35,
        "No id is replaced: the ECG's tokens come in addition.",
        "Add the ids, the signal tokens and the image tokens.",
    ),
    "04.2": (
        _splice,
        "Concatenate along dimension 1, and let words pass when there is no ECG.",
        "Three pieces: words[:, :1], ecg, words[:, 1:].",
    ),
    "04.3": (
        _hidden,
        "Count both: 2 lm (enc + 1) on one side, h (enc + 1) + lm (h + 1) on the other.",
        "Solve for h, and divide with //.",
    ),
    "04.4": (
        lambda answer: answer == "b",
        "Look at the two widths, and at what the study says of the average.",
        "What does the loss do when each matrix gets the other view?",
    ),
    "04.5": (
        lambda answer: answer == "a",
        "Which parts does each of the two trainings hand to its optimizer?",
        "The encoders are frozen from notebook 02 on; stage 1 trains the projections, too.",
    ),
}
