"""What is true about an ECG, in words, and back: `report` writes the house style, `parse_report` reads it."""

import math
import re
from dataclasses import dataclass, field

import torch

from ..ecg import LEADS
from ..simulator.truth import ST_LEVEL
from .findings import CODES, NAMES

T_LEADS = ("I", "II", "aVL", "aVF", "V2", "V3", "V4", "V5", "V6")  # leads where an adult's T wave is upright
RHYTHMS = ("SR", "SBRAD", "STACH", "AFIB")


@dataclass(frozen=True)
class Reading:
    """One ECG as numbers and findings; NaN where there is nothing to measure (no PR in atrial fibrillation)."""

    rate_bpm: float = math.nan
    pr_ms: float = math.nan
    qrs_ms: float = math.nan
    qt_ms: float = math.nan
    qtc_ms: float = math.nan
    axis_deg: float = math.nan
    st_up: tuple[str, ...] = ()
    st_down: tuple[str, ...] = ()
    t_inverted: tuple[str, ...] = ()
    findings: frozenset[str] = field(default_factory=frozenset)


def readings(truth: dict[str, torch.Tensor]) -> list[Reading]:
    """The simulator's truth of B records -> B readings.

    ST counts from 0.1 mV (0.2 in V2 and V3), an inverted T from -0.1 mV.
    """
    up, down = truth["st_mv"] >= ST_LEVEL, truth["st_mv"] <= -0.1
    flipped = (truth["t_mv"] <= -0.1) & torch.tensor([name in T_LEADS for name in LEADS])
    numbers = torch.stack(
        [truth[k] for k in ("rate_bpm", "pr_ms", "qrs_ms", "qt_ms", "qtc_ms", "axis_deg")], 1
    ).tolist()
    return [
        Reading(*row, _leads(a), _leads(b), _leads(c), frozenset(code for code, there in zip(CODES, f) if there))
        for row, a, b, c, f in zip(numbers, up.tolist(), down.tolist(), flipped.tolist(), truth["findings"].tolist())
    ]


def _leads(mask: list[bool]) -> tuple[str, ...]:
    return tuple(name for name, there in zip(LEADS, mask) if there)


def _tens(value: float) -> int:
    return int(10 * math.floor(value / 10 + 0.5))


def _where(what: str, leads: tuple[str, ...]) -> str:
    return f"{what} in {' '.join(leads)}." if leads else ""


def report(reading: Reading) -> str:
    """A reading in the house style. Intervals and axis are rounded to 10 ms and 10 degrees, as on ECG paper."""
    r = reading
    found = [code for code in CODES if code in r.findings]
    rhythm = next((NAMES[c] for c in RHYTHMS if c in found), "unknown rhythm")
    pr = "none" if math.isnan(r.pr_ms) else f"{_tens(r.pr_ms)}"
    lines = [
        f"Rate {round(r.rate_bpm)} bpm.",
        f"Rhythm {rhythm}.",
        f"PR {pr}, QRS {_tens(r.qrs_ms)}, QT {_tens(r.qt_ms)}, QTc {_tens(r.qtc_ms)} ms.",
        f"Axis {_tens(r.axis_deg)} degrees.",
        _where("ST elevation", r.st_up),
        _where("ST depression", r.st_down),
        "" if r.st_up or r.st_down else "ST level.",
        _where("T inverted", r.t_inverted) or "T upright.",
    ]
    others = [NAMES[c] for c in found if c not in ("SR", "SBRAD", "STACH", "AFIB")]
    conclusion = ", ".join([rhythm, *others]) if others or "SR" not in found else "normal ECG"
    return " ".join(filter(None, lines)) + f" Conclusion: {conclusion}."


_NUMBER = {
    "rate_bpm": r"Rate (\d+)",
    "pr_ms": r"PR (\d+)",
    "qrs_ms": r"QRS (\d+)",
    "qt_ms": r"QT (\d+)",
    "qtc_ms": r"QTc (\d+)",
    "axis_deg": r"Axis (-?\s?\d+)",
}
_LIST = {
    "st_up": r"ST elevation in ([^.]*)\.",
    "st_down": r"ST depression in ([^.]*)\.",
    "t_inverted": r"T inverted in ([^.]*)\.",
}


def parse_report(text: str) -> Reading:
    """Read a report in the house style. What cannot be read stays NaN or empty; findings come from the conclusion."""
    values = {}
    for key, pattern in _NUMBER.items():
        match = re.search(pattern, text)
        values[key] = float(match.group(1).replace(" ", "")) if match else math.nan
    for key, pattern in _LIST.items():
        match = re.search(pattern, text)
        said = set(match.group(1).split()) if match else set()
        values[key] = tuple(name for name in LEADS if name in said)
    match = re.search(r"Conclusion: ([^.]*)\.", text)
    said = {part.strip() for part in match.group(1).split(",")} if match else set()
    found = {code for code, name in NAMES.items() if name in said}
    if "normal ECG" in said:
        found.add("SR")
    return Reading(**values, findings=frozenset(found))
