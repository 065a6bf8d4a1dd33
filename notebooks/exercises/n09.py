"""Exercises of notebook 09: what a typed token is, and whether the loop of making and reading closes."""

import math

from uniecg_lite.findings import Reading
from uniecg_lite.language.requests import Request

ASKED = (
    Request(63, "female", 120, ("AFIB",)),
    Request(40, "male", 75, ("SR", "CLBBB")),
    Request(None, None, None, ("SR", "CLBBB")),
    Request(70, None, 50, ("SBRAD",)),
)
HEARD = (
    Reading(rate_bpm=117.0, findings=frozenset({"AFIB", "LVH"})),
    Reading(rate_bpm=75.0, findings=frozenset({"SR"})),
    Reading(rate_bpm=90.0, findings=frozenset({"SR", "CLBBB"})),
    Reading(rate_bpm=math.nan, findings=frozenset({"SBRAD"})),
)


def _agree(answer) -> bool:
    if [bool(answer(a, h)) for a, h in zip(ASKED, HEARD)] != [True, False, True, False]:
        return False
    far = Reading(rate_bpm=126.0, findings=frozenset({"AFIB"}))
    near = Reading(rate_bpm=125.0, findings=frozenset({"AFIB"}))
    return not answer(ASKED[0], far) and bool(answer(ASKED[0], near))


def _lost(answer) -> bool:
    found = dict(answer(list(ASKED), list(HEARD)))
    wanted = {"AFIB": 0.0, "SR": 0.0, "CLBBB": 0.5, "SBRAD": 0.0}
    return found.keys() == wanted.keys() and all(abs(found[code] - wanted[code]) < 1e-6 for code in wanted)


EXERCISES = {
    "09.1": (
        lambda answer: not isinstance(answer, bool) and answer == 0,
        "A user's words are encoded with special tokens split: look at what `encode` returns.",
        "Letters, digits and brackets only. How many of their ids are in `model.ecg_ids`?",
    ),
    "09.2": (
        _agree,
        "Each asked finding must be read; more may be read. The rate must lie within 5 bpm, both ends included.",
        "An open rate (None) asks for nothing; a rate that was not read (NaN) does not agree.",
    ),
    "09.3": (
        _lost,
        "For each code that somebody asked for: how often asked, how often asked and not read.",
        "Leave out codes that nobody asked for. One of two asked bundle branch blocks lost is 0.5.",
    ),
}
