"""Exercises of notebook 14: an attention ratio, a verdict from seeds, and who is dominated by nobody."""


def _verdict(answer) -> bool:
    cases = (
        ([0.1, 0.2, 0.3], "reproduced"),
        ([0.5, 0.5], "not testable here"),
        ([0.4, -0.1, 0.9], "not reproduced"),
        ([0.0, 0.1, 0.2], "not reproduced"),
        ([], "not testable here"),
        ([0.1, 0.2, 0.3, 0.1], "reproduced"),
    )
    return all(answer(differences) == wanted for differences, wanted in cases)


def _best(answer) -> bool:
    cases = (
        ({"a": (0.8, 2.0), "b": (0.7, 1.0), "c": (0.6, 1.5)}, {"a", "b"}),
        ({"a": (0.8, 2.0), "b": (0.8, 1.0)}, {"b"}),
        ({"a": (0.5, 1.0), "b": (0.5, 1.0)}, {"a", "b"}),
        ({"a": (0.1, 9.0)}, {"a"}),
    )
    return all(set(answer(systems)) == wanted for systems, wanted in cases)


EXERCISES = {
    "14.1": (
        lambda answer: not isinstance(answer, bool) and abs(float(answer) - 0.75) < 1e-6,
        "The ratio is the share of attention over the share of time.",
        "0.3 over 0.4: less than looking everywhere would give.",
    ),
    "14.2": (
        _verdict,
        "Count the seeds first; then look at the smallest gain.",
        "A gain of exactly 0 is no gain. Fewer than three seeds bear no verdict, whatever they say.",
    ),
    "14.3": (
        _best,
        "For each system, ask whether another one is at least as good in both and not equal to it.",
        "At least as good: no lower score and no more seconds. Equal systems do not dominate each other.",
    ),
}
