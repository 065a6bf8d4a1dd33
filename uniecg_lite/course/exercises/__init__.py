"""Exercises check themselves: `check("03.2", answer)` says pass, a hint, or that nothing was tried.

Each notebook NN has a module `nNN` here with `EXERCISES`: number -> (test of the answer, first hint, second hint).
"""

import importlib
import os
from collections import Counter

_tries: Counter = Counter()


def check(number: str, answer) -> None:
    """Check an answer and print the outcome.

    Students never see an exception: a test that breaks on an answer counts as not passed. With `UNIECG_STRICT=1`, as
    for the solutions, anything but a pass raises AssertionError.
    """
    test, *hints = importlib.import_module(f".n{number[:2]}", __name__).EXERCISES[number]
    if answer is None:
        outcome = "not tried yet"
    else:
        try:
            passed = bool(test(answer))
        except Exception:  # noqa: BLE001 - a student's answer may be anything
            passed = False
        outcome = "pass" if passed else "not yet. Hint: " + hints[min(_tries[number], len(hints) - 1)]
        _tries[number] += not passed
    print(f"[exercise {number}] {outcome}")
    if os.environ.get("UNIECG_STRICT") == "1" and outcome != "pass":
        raise AssertionError(f"exercise {number}: {outcome}")
