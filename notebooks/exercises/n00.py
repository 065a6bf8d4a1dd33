"""Exercises of notebook 00: the two directions, the profiles, the artifacts."""

from dataclasses import replace

from uniecg_lite.config import SMOKE, Training

_PATH = ("llm", "mapper", "denoiser", "vae decoder")
_CHAIN = {"a": (), "b": ("a",), "c": ("b",), "d": (), "e": ("c", "d")}


def _steps(answer) -> bool:
    base = answer(SMOKE)
    longer = answer(replace(SMOKE, encoders=Training(base + 5, 8, 1e-3)))
    return base > SMOKE.encoders.steps and longer == 2 * base + 5 - SMOKE.encoders.steps


def _stale(answer) -> bool:
    return (
        set(answer(_CHAIN, "b")) == {"c", "e"}
        and set(answer(_CHAIN, "d")) == {"e"}
        and set(answer(_CHAIN, "a")) == {"b", "c", "e"}
        and not set(answer(_CHAIN, "e"))
    )


EXERCISES = {
    "00.1": (
        lambda answer: tuple(str(name).lower() for name in answer) == _PATH,
        "There is no ECG in this prompt, so nothing encodes one. Where do the words go first?",
        "The LLM's hidden states take the place of a text encoding; the denoiser works on latents, not on mV.",
    ),
    "00.2": (
        _steps,
        "vars(profile) gives all fields by name.",
        "Keep the values for which isinstance(value, Training) holds, and add up their steps.",
    ),
    "00.3": (
        _stale,
        "Begin with the changed one. Which artifacts have it among their inputs? And which have those?",
        "Repeat until the set no longer grows, and leave the changed one itself out.",
    ),
}
