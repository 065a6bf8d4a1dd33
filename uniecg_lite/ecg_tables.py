"""ECGs in tables, CSV and NumPy, as people and spreadsheets save them; and what notes say about a person.

`read_csv` and `read_numpy` give names and leads (signals in this order), hz, unit, age and sex. Nothing is unpickled.
"""

import codecs
import csv
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from .errors import refused, require
from .leads import LEADS, lead_name

SCALARS = ("hz", "unit", "age", "sex")  # beside signal and leads in an .npz
SECONDS = {"s": 1.0, "sec": 1.0, "seconds": 1.0, "ms": 1e-3, "msec": 1e-3, "milliseconds": 1e-3, "us": 1e-6}
TOP = 100  # the row of names is among so many lines

_TIME = re.compile(r"(?:time(?:stamps?)?|elapsed|seconds|ms)(?![a-z])|t$", re.I)  # a column of times
_UNIT = r"[\[(]?\s*([nuµμm]?V)\s*[\])]?"
_NAME_AND_UNIT = r"(.*?)(?:\s*[\[(]\s*([nuµμm]?V)\s*[\])]\s*)?$"  # such as "V1 (uV)"
_KEY = r"(?<![\d ])\b(?:hz|fs)\s*[:=]|\bsampl\w*[ _-]*(?:rate|freq\w*)\b[^:=,;\t\n\d]*[:=,;\t]|^rate:(?=.*hz$)"
_RATE = re.compile(rf"(?:{_KEY})[ \t]*([^\s,;]+?)[ \t]*(?:hz)?(?=[\s,;]|$)", re.I | re.M)
_STATED_UNIT = re.compile(r"(?<!time )\bunits?\s*[:=]\s*(\S+)", re.I)
_NO_OTHER_UNIT = r"(?!\d|[./-]\d|[ \t]*[(_-]?[ \t]*(?!y|j|an|añ|sex|gender)[^\W\d_])"  # such as months, or a date
_OWN = r"(?:(?<=patient )|(?<=male )|(?<![a-z]{2}[ _-]))"  # not a gestational age, nor a mother's
_AGE = re.compile(rf"{_OWN}\bage\b>?\s*[:=]\s*(-?\d+(?:\.\d+)?){_NO_OTHER_UNIT}", re.I)
_FEMALE = r"(f|fem\w*|w|woman|weiblich|frau|mujer|mulher|femme|donna)"
_MALE = r"(?:m|male|man|masc\w*|männlich|mann|hombre|homem|homme|uomo)"
_SEX = re.compile(rf"\b(?:sex|gender)\b>?\s*[:=]\s*(?:{_FEMALE}|{_MALE})\b(?![ \t]*(?:/|\||or\b))", re.I)


def patient(text: str) -> dict:
    """Age (years) and sex from header lines such as "Age: 63" or "<age>: 63 <sex>: F".

    None for what is not stated or stated in two ways, and for an age outside 0 to 110.
    """
    ages, women = {float(age[1]) for age in _AGE.finditer(text)}, {bool(sex[1]) for sex in _SEX.finditer(text)}
    years = ages.pop() if len(ages) == 1 else -1.0
    sex = None if len(women) != 1 else "female" if women.pop() else "male"
    return {"age": years if 0 <= years <= 110 else None, "sex": sex}


def read_text(path: Path) -> str:
    """The text of a file in UTF-8, UTF-16 or Windows-1252. Raises BadECG for what is no text."""
    data = path.read_bytes()
    marked = data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    with suppress(UnicodeDecodeError):
        return data.decode("utf-16" if marked else "utf-8-sig")
    require(not marked, f"{path.name} is not a text file: save it as text in UTF-8.")
    return data.decode("cp1252", "replace")


def stated_rate(text: str | None, sentence: str) -> float | None:
    """A rate in Hz as a file states it, None for None; raises BadECG with this sentence for what is no number."""
    with refused(sentence):
        return None if text is None else float(text)


def read_csv(path: Path) -> dict:
    """A table with a row of lead names, which may be a # comment, stand under a preamble and over a row of units.

    Other lines above it, and # lines, are notes such as hz=500, unit=uV, age=63, sex=F. Raises BadECG.
    """
    lines = [line.strip("\r\n ") for line in read_text(path).splitlines() if line.strip(",;\t\r\n ")]
    with refused(f"{path.name} is not a table of numbers ({{reason}}): give one row for each sample, numbers as 1.5."):
        top = _row_of_names(path, lines)
        names, *rows = _cells([lines[top].lstrip("# "), *(line for line in lines[top + 1 :] if line[0] != "#")])
        even = {len(row) for row in rows} <= {len(names)}
        require(even, "a row has another number of columns than the first", ValueError)
        if rows and all(re.fullmatch(_UNIT, unit, re.I) for name, unit in zip(names, rows[0]) if _split(name)[0]):
            names = [f"{name} ({unit.strip('[]()')})" for name, unit in zip(names, rows.pop(0))]
        require(rows, f"{path.name} holds no samples: give a row of lead names, then one row for each sample.")
        columns = list(zip(names, zip(*rows)))
        leads = [(*_split(name), cells) for name, cells in columns if _split(name)[0]]
        names, units, cells = zip(*leads)
        signals = _numbers(cells)  # (C, L)
    notes = "\n".join(line.lstrip("# ") for i, line in enumerate(lines) if i < top or line[0] == "#")
    notes = re.sub(r"[,;]\s*(?=[a-z]+\s*[:=])", "\n", notes, flags=re.I)
    unit = _STATED_UNIT.search(notes)
    odd = f"{path.name} states a rate that is no number: write, for example, # hz=500."
    rates = [stated_rate(rate[1], odd) for rate in _RATE.finditer(notes)]
    rates += [_rate_from_time(path, *column) for column in columns if _TIME.match(column[0])][:1]
    hz, *others = [rate for rate in rates if rate is not None] or [None]
    for rate in others:
        require(abs(rate - hz) <= 0.01 * abs(hz), f"{path.name} states {hz:g} Hz and {rate:g} Hz: leave the right one.")
    units = {name: one for name, one in zip(names, units) if one} or (unit and unit[1])
    return {"names": names, "leads": signals, "hz": hz, "unit": units, **patient(notes)}


def _row_of_names(path: Path, lines: list[str]) -> int:
    """Which line names the most leads, the last of them."""
    found = [sum(_split(name)[0] is not None for name in _cells([line.lstrip("# ")])[0]) for line in lines[:TOP]]
    unnamed = f"{path.name} names no ECG lead in its first {TOP} lines (it begins with {''.join(lines[:1])[:40]!r})"
    require(any(found), f"{unnamed}: put a row of names such as I, II, V1 above the numbers.")
    return max(range(len(found)), key=lambda i: (found[i], i))


def _split(cell: str) -> tuple[str | None, str | None]:
    """ "V1 (uV)" -> V1, uV: a lead and its unit, either None."""
    match = re.match(_NAME_AND_UNIT, cell, re.I)
    return lead_name(match[1]), match[2]


def _cells(lines: list[str]) -> list[list[str]]:
    """Lines cut at the mark that the first one holds most of comma, semicolon and tab, else at blanks; no quotes."""
    mark = max(",;\t", key=lines[0].count)
    if mark not in lines[0]:
        lines, mark = ["\t".join(line.split()) for line in lines], "\t"
    return [[cell.strip(" '") for cell in row] for row in csv.reader(lines, delimiter=mark)]


def _numbers(columns: Sequence[Sequence[str]]) -> np.ndarray:
    """Cells (C, L) as numbers, NaN where empty; a comma is a decimal point. Raises ValueError where it need not be."""
    commas = [cell for cells in columns for cell in cells if "," in cell]
    clear = not commas or any(not re.fullmatch(r"[+-]?[1-9]\d{0,2}(,\d{3})+", cell) for cell in commas)
    require(clear, f"{commas[:1]} can be thousands or decimals", ValueError)
    return np.array([[float(cell.replace(",", ".") or "nan") for cell in cells] for cells in columns])


def _rate_from_time(path: Path, name: str, cells: Sequence[str]) -> float | None:
    """Hz from a column of times, in s unless named or plainly otherwise; None for dates and for numbers of samples."""
    try:
        parts = [reversed(cell.replace(",", ".").split(":")) for cell in cells]  # m:s, or h:m:s
        time = np.array([sum(60.0**i * float(part) for i, part in enumerate(one)) for one in parts])
    except ValueError:
        return None
    steps = np.diff(time)
    rises = len(steps) and np.isfinite(steps).all() and steps.min() > 0
    require(rises, f"The column {name} of {path.name} does not rise steadily: mend it, or leave it out and pass hz.")
    step = steps.mean()
    even = np.abs(steps / step - 1).max() <= 0.5
    require(even, f"The samples of {path.name} are not evenly spaced in time: resample it to one rate first.")
    unit = next((SECONDS[word] for word in re.findall("[a-z]+", name.lower()) if word in SECONDS), None)
    usual = 1.0 if step < 0.1 else 1e-3 if step < 100 else 1e-6  # no ECG has 10 samples a second, or 10000
    return None if step == 1 and unit is None else round(float(1 / (step * (unit or usual))), 3)


def read_numpy(path: Path) -> dict:
    """An array of twelve leads, or an archive of arrays named signal and hz; leads, unit, age and sex are optional."""
    with refused(f"{path.name} is not a NumPy file of numbers ({{reason}}): use np.save or np.savez."):
        found = np.load(path, allow_pickle=False)
    part = {"signal": found} if isinstance(found, np.ndarray) else {}
    with refused(f"{path.name} is damaged or holds objects ({{reason}}): save plain arrays."):
        part = part or {key: found[key] for key in found.files if key in ("signal", "leads", *SCALARS)}
    require("signal" in part, f"{path.name} holds no array named signal: save it with np.savez(signal=..., hz=...).")
    signal, names = part["signal"], [str(name) for name in part.get("leads", np.array(LEADS)).ravel()]
    signal = signal.T if signal.ndim == 2 and signal.shape[0] > signal.shape[1] else signal  # leads: the shorter side
    other = f"{path.name} has shape {signal.shape}, but {len(names)} leads are named"
    advice = "give (12, L) in the order I to V6, or an .npz with signal, hz and leads."
    require(signal.ndim == 2 and len(signal) == len(names), f"{other}: {advice}")
    text = {key: str(part[key].item()) for key in SCALARS if key in part and part[key].size == 1}
    hz = stated_rate(text.get("hz"), f"The hz in {path.name} is no number: save the samples per second.")
    notes = " ".join(f"{key}: {text[key]}" for key in ("age", "sex") if key in text)
    return {"names": names, "leads": signal, "hz": hz, "unit": text.get("unit"), **patient(notes)}
