"""True ECG files in each readable form; `fuzz_changes.py` changes them and `fuzz.py` reads them.

WFDB is packed here by hand (its header(5) and signal(5) pages), so that a fault of the library cannot hide itself.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from uniecg_lite.drawing import save_page
from uniecg_lite.ecg import ECG, PER_MV
from uniecg_lite.leads import LEADS
from uniecg_lite.paths import ROOT
from uniecg_lite.simulator.simulate import simulate

sys.path.append(str(ROOT / "tests"))
import other_formats  # noqa: E402

RATES = (100.0, 250.0, 500.0)
PATIENTS = 2  # at each rate
SUFFIXES = {
    "wfdb": ".dat", "mat": ".mat", "csv": ".csv", "npy": ".npy", "npz": ".npz", "page": ".png", "dicom": ".dcm",
    "edf": ".edf", "muse": ".xml", "aecg": ".xml", "scp": ".scp",
}  # fmt: skip
PACKED: dict[str, Callable[[np.ndarray], bytes]] = {  # digital values in file order -> bytes
    "16": lambda d: d.astype("<i2").tobytes(),
    "61": lambda d: d.astype(">i2").tobytes(),
    "160": lambda d: (d + 32768).astype("<u2").tobytes(),
    "24": lambda d: d.astype("<i4").view("u1").reshape(-1, 4)[:, :3].tobytes(),
    "32": lambda d: d.astype("<i4").tobytes(),
    "212": lambda d: _pairs(d),
}
BITS = {"212": 12, "24": 24, "32": 32}  # 16 otherwise


@dataclass
class File:
    """What is written in which form, and what may be read from it: `truth`, or nothing.

    signal: (C, L) in mV, one row for each of `names`; unit, hz, age and sex as stated, None where not stated;
    stored: the unit of the numbers; stamps: a column of times (L,) in s, or None; slack: how many of the 12 x 1000
    values of the standard form may differ; warned: whether a reading must come with a warning.
    """

    form: str
    folder: Path
    truth: ECG
    names: list[str] = field(default_factory=lambda: list(LEADS))
    signal: np.ndarray | None = None
    unit: str | None = "mV"
    stored: str = "mV"
    hz: object = None
    age: object = 63
    sex: object = "female"
    notes: list[str] = field(default_factory=list)
    stamps: np.ndarray | None = None
    dtype: str = "<f8"
    packing: tuple[str, int] | None = None  # format and baseline of WFDB
    options: dict = field(default_factory=dict)  # of `ECG.load`
    path: Path | None = None
    slack: int = 0
    warned: bool = False

    @property
    def numbers(self) -> np.ndarray:
        """The signals in the unit of the file, (C, L)."""
        return self.signal / PER_MV[self.stored.lower()]


@cache
def patient(number: int) -> ECG:
    """A simulated patient of 63 years, 10 s at one of `RATES`."""
    hz = RATES[number % len(RATES)]
    signal = simulate(0, number, hz=hz).signal[0]
    return ECG(signal.numpy(), hz, age=63, sex="female")


@cache
def page_of(number: int, folder: Path) -> Path:
    """The page of a patient at 4 px/mm, drawn once."""
    path = save_page(patient(number), folder / f"page{number}")
    Image.open(path).resize((1080, 592), Image.Resampling.LANCZOS).save(path)
    return path


def new_file(form: str, folder: Path, number: int) -> File:
    """A file that is not yet written, of one of the patients."""
    ecg = patient(number)
    return File(form, folder, ecg, signal=ecg.signal.astype(np.float64), hz=f"{ecg.hz:g}")


def write(file: File, rng: np.random.Generator) -> None:
    """Write it, with the accidental properties of its form drawn at random; sets `path`."""
    writers = {"wfdb": _wfdb, "mat": _wfdb, "csv": _csv, "npy": _npy, "npz": _npz}
    path = file.folder / f"rec{SUFFIXES[file.form]}"
    if file.form in writers:
        file.path = writers[file.form](file, path, rng)
    elif file.form != "page":
        file.path = getattr(other_formats, file.form)(path, file.truth)


def _pairs(d: np.ndarray) -> bytes:
    """Format 212: two values of 12 bits in three bytes."""
    one, two = np.append(d, [0] * (len(d) % 2)).astype(np.int32).reshape(-1, 2).T
    return np.stack([one & 255, (one >> 8 & 15) | (two >> 8 & 15) << 4, two & 255], 1).astype("u1").tobytes()


def _wfdb(file: File, path: Path, rng: np.random.Generator) -> Path:
    """A header and one signal file; a .mat has 24 bytes before its samples, and states no checksums."""
    mat = file.form == "mat"
    drawn = ("16", 0) if mat else (str(rng.choice(list(PACKED))), int(rng.integers(-50, 50)))
    file.packing = form, base = file.packing or drawn
    bits = BITS.get(form, 16)
    gain = (200 if bits == 12 else 1000) * PER_MV[file.stored.lower()]
    with np.errstate(invalid="ignore"):
        d = np.rint(file.numbers * gain + base)
        d = np.where(np.isfinite(d), d, -(2.0 ** (bits - 1))).astype(np.int64)  # (C, L)
    path.write_bytes(b"\0" * (24 if mat else 0) + PACKED[form](d.T.ravel()))
    lines = [f"rec {len(d)} {file.hz} {d.shape[1]}" if file.hz is not None else f"rec {len(d)}"]
    for name, row in zip(file.names, d):
        checks = "0 0" if mat else f"{row[0]} {row.sum() % 65536}"
        stated = "" if file.unit is None else f"/{file.unit}"
        lines.append(f"{path.name} {form}{'+24' if mat else ''} {gain:g}({base}){stated} {bits} 0 {checks} 0 {name}")
    lines += [f"#Age: {file.age}", f"#Sex: {file.sex}", *(f"#{note}" for note in file.notes)]
    path.with_suffix(".hea").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path.with_suffix(str(rng.choice([".hea", path.suffix, ""])))


def _csv(file: File, path: Path, rng: np.random.Generator) -> Path:
    """A table: the mark between cells, the decimal mark, the encoding, the place of unit and rate vary."""
    mark = str(rng.choice([",", ";", "\t"]))
    comma, encoding = mark != "," and rng.random() < 0.3, str(rng.choice(["utf-8", "utf-8-sig", "utf-16", "cp1252"]))
    place = str(rng.choice(["name", "row", "note"])) if file.unit else ""
    digits = {"mv": "{:.4f}", "v": "{:.7f}"}.get(file.stored.lower(), "{:.1f}")
    cells = [[digits.format(value) for value in row] for row in file.numbers.tolist()]
    names = [f"{name} ({file.unit})" if place == "name" else name for name in file.names]
    rows = [[file.unit] * len(names)] if place == "row" else []
    if file.stamps is not None:
        names, rows = ["time", *names], [["s", *row] for row in rows]
        cells = [[f"{stamp:.4f}" for stamp in file.stamps], *cells]
    rows = [*rows, *zip(*cells)]
    text = "\n".join([mark.join(names), *(mark.join(row) for row in rows)])
    text = text.replace(".", ",") if comma else text
    about = [f"# age: {file.age}", f"# sex: {file.sex}", *(f"# {note}" for note in file.notes)]
    about += [f"# unit={file.unit}"] if place == "note" else []
    about += [str(rng.choice(["# hz={}", "Sampling rate: {} Hz", "# fs = {}"])).format(file.hz)] if file.hz else []
    path.write_bytes("\n".join([*about, text]).encode(encoding, "replace"))
    return path


def _npy(file: File, path: Path, rng: np.random.Generator) -> Path:
    """An array alone: rate and unit are passed."""
    np.save(path, file.numbers.astype(file.dtype))
    file.options = {"hz": file.truth.hz, "unit": file.unit} | file.options
    return path


def _npz(file: File, path: Path, rng: np.random.Generator) -> Path:
    """An archive that states what it knows."""
    about = {"hz": file.hz, "unit": file.unit, "age": file.age, "sex": file.sex}
    about = {key: np.array(value) for key, value in about.items() if value is not None}
    np.savez(path, signal=file.numbers.astype(file.dtype), leads=np.array(file.names), **about)
    return path


def other_patient(file: File) -> ECG:
    """Another patient at the same rate."""
    numbers = [n for n in range(PATIENTS * len(RATES)) if patient(n) is not file.truth]
    return next(patient(n) for n in numbers if patient(n).hz == file.truth.hz)
