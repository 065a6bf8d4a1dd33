"""Exercises of notebook 17: what an area under the curve means, how to count it, and how patients are drawn again."""

import torch

from uniecg_lite.metrics.real_records import weighted_auroc

DRAWN = (  # the patient of each record, patients drawn, how often each record then counts
    (["a", "a", "b"], ["a", "a"], [2, 2, 0]),
    (["a", "b", "c"], ["c", "a", "b"], [1, 1, 1]),
    (["a", "b", "a", "c"], ["c", "c", "a"], [1, 0, 1, 2]),
)


def _auroc(answer) -> bool:
    generator = torch.Generator().manual_seed(0)
    for positives, negatives in ((3, 4), (1, 9), (8, 5)):
        value = torch.randint(6, (positives + negatives,), generator=generator).float()  # with ties
        label = torch.arange(len(value)) < positives
        wanted = weighted_auroc(value, label, torch.ones(1, len(value))).item()
        if abs(float(answer(value[label].tolist(), value[~label].tolist())) - wanted) > 1e-5:
            return False
    return abs(float(answer([1.0, 2.0], [0.0])) - 1) < 1e-6


EXERCISES = {
    "17.1": (
        lambda answer: not isinstance(answer, bool) and answer == 0.5,
        "AUROC is the chance that a record with the finding scores above one without it; ties count half.",
        "All scores are equal, so every pair is a tie.",
    ),
    "17.2": (
        _auroc,
        "Compare every positive with every negative: 1 if it is larger, 0.5 if equal, 0 if smaller.",
        "Sum that up over all pairs and divide by the number of pairs.",
    ),
    "17.3": (
        lambda answer: all(list(answer(list(p), list(d))) == wanted for p, d, wanted in DRAWN),
        "Each record counts as often as its patient was drawn.",
        "[drawn.count(patient) for patient in patients]: records of one patient stay together.",
    ),
}
