"""ECG files: WFDB records in and out; CSV and NumPy in. Everything leaves here by lead name, with its unit.

`read` returns the arguments of `ECG.from_leads`; unit and rate checks are made there. Nothing is unpickled.
"""

import csv
import os
import re
import tempfile
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import wfdb

from .errors import BadECG, UniECGError, refused, require
from .leads import LEADS, lead_name

WFDB_SUFFIXES = (".hea", ".dat", ".mat")
UNITS_PER_MV = 1000  # what `write` stores: 1 uV per unit
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".tif", ".tiff", ".webp", ".pdf")
SCALARS = ("hz", "unit", "age", "sex")  # beside signal and leads in an .npz
TIME_SCALE = {"time": 1.0, "t": 1.0, "time_s": 1.0, "seconds": 1.0, "time_ms": 1e-3, "ms": 1e-3}

_NOT_YEARS = r"(?!\d|\.\d|[mwd]\b|\s*(?:month|week|day|hour))"
_AGE = re.compile(rf"(?<!gestational )\bage\b>?\s*[:=]\s*(-?\d+(?:\.\d+)?){_NOT_YEARS}", re.IGNORECASE)
_FEMALE, _MALE = r"(f|fem\w*|w|woman|weiblich)", r"(m|male|man|masc\w*|männlich)"
_SEX = re.compile(rf"\b(?:sex|gender)\b>?\s*[:=]\s*(?:{_FEMALE}|{_MALE})\b", re.IGNORECASE)
_SOURCE = re.compile(r"^\s*source\s*:\s*(.+)$", re.IGNORECASE | re.MULTILINE)
_MICRO = "[\xb5\xbc]V"  # µV as bytes end, in Latin-1 and in UTF-8 (the micro sign and the Greek letter)
READABLE = "give a WFDB record (its .hea beside it), a .csv, .npy or .npz"
_NAME_AND_UNIT = r"(.*?)(?:\s*[\[(]\s*([nuµμm]?V)\s*[\])]\s*)?$"


def read(path: Path, hz: float | None = None, unit: str | None = None) -> dict:
    """Read an ECG file into the arguments of `ECG.from_leads`; the suffix says which kind. Raises BadECG.

    `hz` and `unit` are for files that do not state them; a stated rate that differs from `hz` by over 1 % is refused.
    """
    suffix = path.suffix.lower()
    image = suffix in IMAGE_SUFFIXES
    require(not image, f"{path.name} is an image, not a signal file: read it with drawing.read_page.")
    require(not path.is_dir(), f"{path.name} is a folder: name one record in it.")
    readers = {".csv": _read_csv, ".tsv": _read_csv, ".txt": _read_csv, ".npy": _read_numpy, ".npz": _read_numpy}
    if suffix in readers:
        require(path.is_file(), f"There is no file {path}: check the name.")
        require(path.stat().st_size, f"{path.name} is empty: fetch or export it again.")
    found = readers.get(suffix, _read_wfdb)(path)
    names = found.pop("names")
    twins = [name for name in names if lead_name(name) and names.count(name) > 1]
    require(not twins, f"Lead {min(twins, default='')} is given twice: keep one signal for each lead.")
    rates = [rate for rate in (found["hz"], hz) if rate is not None]
    require(rates, f"{path.name} does not state its sampling rate: pass it, for example hz=500.")
    if len(rates) > 1 and not abs(rates[0] - hz) <= 0.01 * abs(hz):
        raise BadECG(f"{path.name} states {rates[0]:g} Hz, but hz={hz:g} was passed: leave hz out, or mend the file.")
    found |= {"hz": rates[0], "leads": dict(zip(names, found["leads"]))}
    return {"source": path.stem, **found} | ({} if unit is None else {"unit": unit})


def patient(text: str) -> dict:
    """Age (years, None outside 0 to 110) and sex from header lines such as "Age: 63" or "<age>: 63 <sex>: F"."""
    age, sex = _AGE.search(text), _SEX.search(text)
    years = float(age[1]) if age else -1.0
    return {"age": years if 0 <= years <= 110 else None, "sex": sex and ("female" if sex[1] else "male")}


def _rate(text: str | None, sentence: str) -> float | None:
    """A rate in Hz as a file states it; refuses what is no number with this sentence."""
    with refused(sentence):
        return None if text is None else float(text)


# --- Each reader gives names and leads (signals in this order), hz, unit, age and sex.


def _read_wfdb(path: Path) -> dict:
    record = path.with_suffix("") if path.suffix.lower() in WFDB_SUFFIXES else path
    header = record.with_name(record.name + ".hea")
    if not header.is_file():
        require(path.is_file(), f"There is no ECG file {record}: {READABLE}.")
        require(record == path, f"The header {header.name} of {path.name} is missing: put it beside the signals.")
        raise BadECG(f"Files such as {path.name} are not read here: {READABLE}.")
    lines = _header_lines(header)
    line = " ".join(next(iter(lines), ()))
    unclear = f"The header {header.name} cannot be understood (its record line, {line[:60]!r}, should give name, "
    with refused(f"{unclear}signals, rate and samples): mend it, or fetch the record again."):
        files = {str(name) for name in getattr(wfdb.rdheader(str(record)), "file_name", None) or ()}
    hz = _stated_rate(header)
    there = {name for name in files if Path(name).name == name and (record.parent / name).is_file()}
    gone = min(files - there, default="")
    require(not gone, f"The signal file {gone} named in {header.name} is missing: put it beside the header.")
    unfit = f"The signals of {record.name} do not fit its header: a file is cut short or damaged, so fetch it again."
    with refused(unfit):
        data = wfdb.rdrecord(str(record))
        names, leads = [str(name) for name in data.sig_name], data.p_signal.T  # (C, L)
    units = dict(zip(names, data.units))
    if "/" not in lines[0][0]:  # the reader drops letters that are no ASCII, so that µV would become V
        units |= {name: "uV" for name, line in zip(names, lines[1:]) if re.search(_MICRO, "".join(line[2:3]))}
    comments = "\n".join(data.comments or ())
    about = {"source": source[1].strip()} if (source := _SOURCE.search(comments)) else {}
    return {"names": names, "leads": leads, "hz": hz, "unit": units, **patient(comments), **about}


def _header_lines(header: Path) -> list[list[str]]:
    """The record line and the signal or segment lines of a WFDB header, each as its fields."""
    lines = [line.split() for line in header.read_text(encoding="latin-1").splitlines()]
    return [line for line in lines if line and not line[0].startswith("#")]


def _stated_rate(header: Path) -> float | None:
    """The rate in a WFDB header, None if it states none; a reader would silently take 250 Hz, 200 for a gain of 0.

    Refuses (BadECG) what it would read wrongly: no gain, in any segment, several samples a frame, gaps.
    """
    name = header.name
    record, *rest = _header_lines(header)
    if "/" in record[0]:
        for segment in (header.with_name(f"{fields[0]}.hea") for fields in rest):
            gap = segment.stem == "~"
            require(not gap, f"The record {header.stem} has a gap between its segments: load one segment alone.")
            if segment.is_file():
                _stated_rate(segment)
    else:
        for _, *fields in rest:
            gain = re.match(r"0*\.?0*(?![\d.])", "".join(fields[1:2]))
            require(not gain, f"The header {name} states no gain, so its size is unknown: calibrate the record.")
            several = re.search(r"x0*([2-9]|1\d)", fields[0])
            require(not several, f"The header {name} states several samples a frame: resample the record to one.")
    stated = "".join(record[2:3])
    hz = re.split("[/(]", stated)[0] or None
    return _rate(hz, f"The header {name} states a rate of {stated!r}: fetch the record again.")


def _read_csv(path: Path) -> dict:
    """A table with lead names in its first row; "# hz=500", "# unit=uV", "# age=63", "# sex=F" lines are optional."""
    sentence = f"{path.name} is not a text file in UTF-8: save it so, with lead names in its first row."
    with refused(sentence, kinds=UnicodeDecodeError):
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    notes = "\n".join(line.lstrip("# ") for line in lines if line.startswith("#"))
    notes = re.sub(r"[,;]\s*(?=[a-z]+\s*[:=])", "\n", notes, flags=re.IGNORECASE)
    table = [line for line in lines if not line.startswith("#")]
    require(len(table) > 1, f"{path.name} holds no samples: give a row of lead names, then one row for each sample.")
    mark = max(",;\t", key=table[0].count)
    header, *rows = csv.reader(table, delimiter=mark)
    matches = [re.match(_NAME_AND_UNIT, name.strip(" '"), re.IGNORECASE) for name in header]  # such as "V1 (uV)"
    names = [match[1] for match in matches]
    unnamed = f"The first row of {path.name} that is no # comment, {table[0][:40]!r}, names no ECG lead"
    require(any(map(lead_name, names)), f"{unnamed}: it must hold names such as I, II, V1.")
    comma = "," if mark == ";" else "."
    with refused(f"{path.name} is not a table of numbers ({{reason}}): give one row for each sample, numbers as 1.5."):
        even = {len(row) for row in rows} == {len(names)}
        require(even, "a row has another number of columns than the first", ValueError)
        columns = np.array([[float(cell.strip().replace(comma, ".") or "nan") for cell in row] for row in rows]).T
    units = {match[1]: match[2] for match in matches if match[2]}
    stated = {key: match[1] for key in ("hz", "unit") if (match := re.search(rf"\b{key}\s*[:=]\s*(\S+)", notes, re.I))}
    hz = _rate(stated.get("hz"), f"{path.name} states a rate that is no number: write, for example, # hz=500.")
    hz = _rate_from_time(path, dict(zip(names, columns))) if hz is None else hz
    return {"names": names, "leads": columns, "hz": hz, "unit": units or stated.get("unit"), **patient(notes)}


def _rate_from_time(path: Path, columns: dict[str, np.ndarray]) -> float | None:
    name = next((name for name in columns if name.lower() in TIME_SCALE), None)
    if name is None:
        return None
    time = columns[name] * TIME_SCALE[name.lower()]  # (L,) in s
    steps = np.diff(time)
    rises = len(steps) and np.isfinite(steps).all() and steps.min() > 0
    require(rises, f"The column {name} of {path.name} does not rise steadily: mend it, or leave it out and pass hz.")
    hz = len(steps) / (time[-1] - time[0])
    plausible = hz > 2 or name.lower().endswith("ms")
    require(plausible, f"The column {name} of {path.name} seems to be in ms, not s: name it time_ms.")
    even = np.abs(steps * hz - 1).max() <= 0.5
    require(even, f"The samples of {path.name} are not evenly spaced in time: resample it to one rate first.")
    return round(float(hz), 3)


def _read_numpy(path: Path) -> dict:
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
    hz = _rate(text.get("hz"), f"The hz in {path.name} is no number: save the samples per second.")
    notes = " ".join(f"{key}: {text[key]}" for key in ("age", "sex") if key in text)
    return {"names": names, "leads": signal, "hz": hz, "unit": text.get("unit"), **patient(notes)}


def write(ecg, path: Path) -> Path:
    """Write an ECG as a WFDB record of format 16 at 1 uV per unit; see `ECG.save`."""
    path = path.with_suffix("") if path.suffix.lower() in WFDB_SUFFIXES else path
    plain = re.fullmatch(r"[A-Za-z0-9_-]+", path.name)
    require(plain, f"A WFDB record cannot be named {path.name!r}: use letters, digits, _ and - only.")
    fits = np.abs(ecg.signal).max() * UNITS_PER_MV <= 32767
    require(fits, "The signal exceeds 32.767 mV, which format 16 at 1 uV cannot hold: take off its offset first.")
    source = unicodedata.normalize("NFKD", ecg.source).encode("ascii", "ignore").decode()  # all that a header keeps
    age, sex = None if ecg.age is None else f"{ecg.age:g}", ecg.sex and ecg.sex.capitalize()
    about = {"Age": age, "Sex": sex, "Source": " ".join(source.split())}
    with saving(path) as room:
        wfdb.wrsamp(
            path.name, fs=ecg.hz, units=["mV"] * 12, sig_name=list(LEADS), fmt=["16"] * 12, write_dir=str(room),
            d_signal=np.rint(ecg.signal.T * UNITS_PER_MV).astype(np.int16),  # (L, 12)
            adc_gain=[float(UNITS_PER_MV)] * 12, baseline=[0] * 12,
            comments=[f"{key}: {value}" for key, value in about.items() if value],
        )  # fmt: skip
    return path


@contextmanager
def saving(path: Path) -> Iterator[Path]:
    """A folder to write into, whose files move beside `path` when the block ends well, in the order of their names.

    So a killed run leaves no half file, and no WFDB record, which begins to be one by its .hea.

    Raises:
        UniECGError: the disk refuses.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".saving-", dir=path.parent) as room:
            yield Path(room)
            for file in sorted(Path(room).iterdir()):
                os.replace(file, path.parent / file.name)
    except OSError as error:
        reason = error.strerror or error
        raise UniECGError(f"Could not write {path} ({reason}): make room or choose another folder.") from None
