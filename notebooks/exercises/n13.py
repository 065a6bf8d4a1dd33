"""Exercises of notebook 13: the length of a comparison, runs of words, and proof by hashes."""


def _chances(answer) -> bool:
    cases = (
        ("a b c d", "a b c d", 2, 1.0),
        ("a b a b", "a b c", 2, 1 / 3),
        ("the the the", "the cat", 1, 1 / 3),
        ("x y", "a b", 1, 0.0),
    )
    return all(abs(float(answer(text, reference, k)) - wanted) < 1e-6 for text, reference, k, wanted in cases)


def _unchanged(answer) -> bool:
    before = {"a": "1", "b": "2", "c": "3", "d": "4"}
    return (
        answer(before, dict(before)) == 1
        and answer(before, {**before, "b": "9", "e": "5"}) == 0.75
        and answer(before, {"a": "1"}) == 0.25
    )


EXERCISES = {
    "13.1": (
        lambda answer: not isinstance(answer, bool) and answer == 418,
        "Each ECG stands between a start and an end token.",
        "Twice 202, and the 14 of the question.",
    ),
    "13.2": (
        _chances,
        "Cut both texts into runs of k words and count each kind of run.",
        "A run counts at most as often as it occurs in the reference: Counter objects have `&` for that.",
    ),
    "13.3": (
        _unchanged,
        "Go through the names of `before`; look each one up in `after`.",
        "Use `after.get(name)`: what has gone is None, which equals no hash.",
    ),
}
