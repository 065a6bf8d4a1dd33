"""Exercises of notebook 10: a ratio, a spread, and what a macro F1 hides."""

from uniecg_lite.findings import table

_ROWS = {row["id"]: row for row in table("published")["scores"]["rows"]}


def _spread(answer) -> bool:
    cases = {(0.5, 0.7, 0.6): (0.6, 0.5, 0.7, 3), (4.0,): (4.0, 4.0, 4.0, 1), (-1.0, 3.0): (1.0, -1.0, 3.0, 2)}
    return all(
        len(tuple(answer(list(values)))) == 4
        and all(abs(got - want) < 1e-9 for got, want in zip(answer(list(values)), wanted))
        for values, wanted in cases.items()
    )


def _hidden(answer) -> bool:
    one = answer({"SR": 1.0, "AFIB": 1.0, "PVC": 0.0, "LVH": 0.8})
    other = answer({"SR": 0.5, "TINV": 0.25})
    return (
        abs(one[0] - 0.7) < 1e-9
        and one[1] == "PVC"
        and abs(one[2] - 1.0) < 1e-9
        and abs(other[0] - 0.375) < 1e-9
        and other[1] == "TINV"
        and abs(other[2] - 0.25) < 1e-9
    )


EXERCISES = {
    "10.1": (
        lambda answer: abs(float(answer) - _ROWS["evidence"]["UniECG"] / _ROWS["evidence"]["PULSE"]) < 0.01,
        "Divide UniECG's score by PULSE's; two digits after the point are enough.",
        "The row is evidence-based reasoning: 61.76 over 38.53.",
    ),
    "10.2": (
        _spread,
        "Return four numbers in this order: mean, smallest, largest, how many.",
        "One value is its own mean, smallest and largest, with n = 1.",
    ),
    "10.3": (
        _hidden,
        "The macro F1 is the plain mean of the values; each finding counts alike, rare or not.",
        "The worst finding is the key of the smallest value; the gap is the largest value minus the smallest.",
    ),
}
