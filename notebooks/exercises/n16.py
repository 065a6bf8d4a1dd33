"""Exercises of notebook 16: an F1 by hand, numbers judged with a tolerance, and the test of a score's promise."""

import math

TOLERANCE = {"rate_bpm": 5, "pr_ms": 20, "qrs_ms": 15}
TRUE = {"rate_bpm": 72.0, "pr_ms": 160.0, "qrs_ms": 90.0}
NO_PR = {**TRUE, "pr_ms": math.nan}
NUMBERS = (  # said, true, F1
    (TRUE, TRUE, 1.0),
    ({"rate_bpm": 77.0, "pr_ms": 181.0, "qrs_ms": 90.0}, TRUE, 2 / 3),
    ({"rate_bpm": 72.0}, TRUE, 0.5),
    ({}, TRUE, 0.0),
    ({"rate_bpm": 72.0, "qrs_ms": 90.0}, NO_PR, 1.0),
    ({"rate_bpm": 72.0, "qrs_ms": 90.0, "pr_ms": 160.0}, NO_PR, 4 / 5),
)
SENTENCES = ["Rate 72 bpm.", "PR 160 ms.", "QRS 90 ms."]


def _f1(answer) -> bool:
    return all(abs(answer(dict(stated), dict(true), dict(TOLERANCE)) - value) < 1e-6 for stated, true, value in NUMBERS)


def _promise(answer) -> bool:
    def kept(text):
        return sum(part in text for part in SENTENCES)

    def brevity(text):  # a score that likes short texts breaks the promise
        return kept(text) / max(1, len(text))

    def no_qrs(text):
        return kept(text) - 2 * ("QRS" in text)

    def flat(text):
        return 1.0

    outcomes = [answer(score, list(SENTENCES)) for score in (kept, brevity, no_qrs, flat)]
    return all(isinstance(o, bool) for o in outcomes) and outcomes == [True, False, False, True]


EXERCISES = {
    "16.1": (
        lambda answer: not isinstance(answer, bool) and abs(answer - 5 / 6) < 0.005,
        "F1 = 2 right / (right + wrong + wanted).",
        "Five right, one wrong, six wanted: 10 / 12.",
    ),
    "16.2": (
        _f1,
        "Wanted are the numbers that are not NaN in the truth. Right is a wanted number said within its tolerance.",
        "A number said where the truth has NaN is wrong. A missing one is not. 2 * right / (right + wrong + wanted).",
    ),
    "16.3": (
        _promise,
        "Join all sentences with a space and score them; then leave each one out in turn.",
        "Return True when no text with one sentence left out scores above the whole text. Return a plain bool.",
    ),
}
