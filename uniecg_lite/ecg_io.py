"""ECG files: WFDB records in and out; tables and files of other systems in. All leave here by lead name, with units.

`read` returns the arguments of `ECG.from_leads`; unit and rate checks are made there. Nothing is unpickled.
"""

import os
import re
import shutil
import tempfile
import unicodedata
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import wfdb

from .ecg_tables import patient, read_csv, read_numpy, read_text, stated_rate
from .errors import BadECG, UniECGError, refused, require
from .leads import LEADS, lead_name

WFDB_SUFFIXES = (".hea", ".dat", ".mat")
UNITS_PER_MV = 1000  # what `write` stores: 1 uV per unit
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".tif", ".tiff", ".webp", ".pdf")
READABLE = "give a WFDB record (its .hea beside it), a .csv, .npy or .npz"
OTHERS = "DICOM, SCP-ECG, HL7 aECG, MUSE XML and EDF need the extra `files`: pip install 'uniecg_lite[files]'"
_GAIN = re.compile(r"[-+]?[\d.]*[1-9][\d.]*(e[-+]?\d+)?(\([-+]?\d+\))?(/.+)?", re.I | re.A)  # 200(0)/mV; not zero
_SOURCE = re.compile(r"^\s*source\s*:\s*(.+)$", re.IGNORECASE | re.MULTILINE)


def read(path: Path, hz: float | None = None, unit: str | None = None) -> dict:
    """Read an ECG file into the arguments of `ECG.from_leads`; the suffix says which kind. Raises BadECG.

    `hz` and `unit` are for files that do not state them; a stated rate that differs from `hz` by over 1 % is refused.
    """
    suffix = path.suffix.lower()
    image = suffix in IMAGE_SUFFIXES
    require(not image, f"{path.name} is an image, not a signal file: read it with drawing.read_page.")
    require(not path.is_dir(), f"{path.name} is a folder: name one record in it.")
    readers = {".csv": read_csv, ".tsv": read_csv, ".txt": read_csv, ".npy": read_numpy, ".npz": read_numpy}
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


# --- Each reader gives names and leads (signals in this order), hz, unit, age and sex.


def _read_wfdb(path: Path) -> dict:
    """A WFDB record; one that lies under another name or has no header is of another system."""
    record = path.with_suffix("") if path.suffix.lower() in WFDB_SUFFIXES else path
    header = record.with_name(record.name + ".hea")
    if not header.is_file():
        require(path.is_file(), f"There is no ECG file {record}: {READABLE}.")
        require(record == path, f"The header {header.name} of {path.name} is missing: put it beside the signals.")
        return _read_other(path)
    unfit = f"The signals of {record.name} do not fit its header: a file is cut short or damaged, so fetch it again."
    with refused(unfit), tempfile.TemporaryDirectory() as room:
        copy = f"{room}/_"
        frames = _copy_mended(header, Path(f"{copy}.hea"))  # a second
        parts = getattr(wfdb.rdheader(copy, rd_segments=True), "segments", ())
        data = wfdb.rdrecord(copy, smooth_frames=False, physical=bool(parts))
        whole = parts or _checksums_fit(data)
        if not parts:
            data.dac(expanded=True, inplace=True)
        names = [str(name) for name in data.sig_name]
        units = dict(zip(names, data.units))
        each = {count for name, count in zip(names, data.samps_per_frame) if lead_name(name)}  # samples in a frame
        alike = {(*part.sig_name, *part.units) for part in parts if part.sig_len}
    require(len(alike) < 2, f"The segments of {record.name} differ in leads or units: load one segment alone.")
    require(len(each) < 2, f"The leads of {record.name} differ in their rates: resample them to one.")
    require(whole, unfit)
    hz = frames and frames * max(each, default=1)
    comments = "\n".join(line.strip(" \t#") for line in read_text(header).splitlines() if line.lstrip()[:1] == "#")
    about = {"source": source[1].strip()} if (source := _SOURCE.search(comments)) else {}
    return {"names": names, "leads": data.e_p_signal, "hz": hz, "unit": units, **patient(comments), **about}


def _checksums_fit(data: wfdb.Record) -> bool:
    """Whether digital signals have the sums (modulo 65536) that their header states, if it states any."""
    stated = zip(data.e_d_signal, data.checksum)
    sums_fit = all(checksum is None or (int(x.sum()) - checksum) % 65536 == 0 for x, checksum in stated)
    return sums_fit or not any(data.checksum) or any(data.skew)


def _copy_mended(header: Path, copy: Path) -> float | None:
    """Copy a record so that the library reads it rightly: without date, u for µ. Returns its frames a second, or None.

    Refuses (BadECG) a header that is unclear, signals without a gain, and what `_copy_segment` refuses.
    """
    lines = [line.split() for line in re.sub("[µμ]", "u", read_text(header)).splitlines()]
    record, *rest = [line for line in lines if line and line[0][0] != "#"] or [[]]
    unclear = f"The header {header.name} cannot be understood: its record line, {' '.join(record)[:60]!r}, should give"
    require(record[1:] and record[1].isdigit(), f"{unclear} name, signals, rate and samples, so mend it.")
    stated = "".join(record[2:3])
    unclear = f"The header {header.name} states a rate of {stated!r}: write samples per second there."
    hz = stated_rate(re.split("[/(]", stated)[0] or None, unclear)
    _, *segments = record[0].split("/")
    for name, *fields in rest:
        if segments:
            _copy_segment(header, name, fields, hz, copy.parent)
            continue
        gain = _GAIN.fullmatch("".join(fields[1:2]))
        require(gain, f"The header {header.name} states no gain, so its size is unknown: calibrate the record.")
        if name != "~" and not (copy.parent / name).is_file():  # ~ stands for no signals, in a layout
            shutil.copy(_beside(header, name), copy.parent)
    copy.write_text("\n".join(" ".join(line) for line in [["/".join(["_", *segments]), *record[1:4]], *rest]), "utf-8")
    return hz


def _copy_segment(header: Path, name: str, fields: list[str], hz: float | None, room: Path) -> None:
    """Copy what a line of segments names; refuses (BadECG) gaps and segments of another rate."""
    gap = "a gap" if hz is None else f"a gap of {float(fields[0]) / hz:g} s"
    require(name != "~", f"The record {header.stem} has {gap} between its segments: load one segment alone.")
    segment = _beside(header, f"{name}.hea")
    rate = _copy_mended(segment, room / segment.name)
    require(rate in (None, hz), f"The segment {name} of {header.stem} has another rate: resample it.")


def _beside(header: Path, name: str) -> Path:
    """A file that a header names; refuses (BadECG) one that is not in its folder."""
    there = Path(name).name == name and (header.parent / name).is_file()
    require(there, f"The file {name} named in {header.name} is missing: put it beside the header.")
    return header.parent / name


def _read_other(path: Path) -> dict:
    """A file of another system, by `ecgdatakit`, whose warnings are passed on; refuses gaps and files cut short."""
    with refused(f"Files such as {path.name} are not read here: {READABLE}; {OTHERS}.", kinds=ImportError):
        from ecgdatakit import FileParser
    unread = f"{path.name} cannot be read ({{reason}}): export it again, or {READABLE}."
    with refused(unread), warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*(?:gaps|truncated|CRC mismatch)")
        record = FileParser.parse(path)
    leads = [(re.sub(r"_\d+$", "", lead.label), lead) for lead in record.leads]  # II_2 is a second II
    names, leads = zip(*[(name, lead) for name, lead in leads if lead_name(name)] or [("", None)])
    require(any(names), f"{path.name} holds no ECG with named leads: {READABLE}.")
    unscaled = ", ".join(lead.label for lead in leads if not lead.units)
    require(not unscaled, f"{path.name} states no unit of {unscaled}, so their size is unknown: export it again.")
    together = len({lead.annotations.get("start_sample") for lead in leads}) == 1
    require(together, f"The leads of {path.name} begin at different times: give twelve leads recorded together.")
    units, samples = {name: lead.units for name, lead in zip(names, leads)}, [lead.samples for lead in leads]
    person = patient(f"age: {record.patient.age} sex: {record.patient.sex}")
    return {"names": names, "leads": samples, "hz": _exact_rate(record, leads[0]), "unit": units, **person}


def _exact_rate(record, lead) -> float:
    """Hz of a lead of `ecgdatakit`, which rounds it to whole numbers."""
    seconds, rounded = record.recording.duration, lead.sampling_rate
    exact = record.raw_metadata.get("rhythm_time", {}).get("sampling_rate_exact")
    exact = exact or (len(lead.samples) / seconds.total_seconds() if seconds else rounded)
    return round(exact, 3) if abs(exact - rounded) <= 0.5 else rounded


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
    sentence = f"Could not write {path} ({{reason}}): make room or choose another folder."
    with refused(sentence, UniECGError, OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".saving-", dir=path.parent) as room:
            yield Path(room)
            for file in sorted(Path(room).iterdir()):
                os.replace(file, path.parent / file.name)
