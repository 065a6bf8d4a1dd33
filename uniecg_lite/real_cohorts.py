"""Where do a cohort's patients come from? One setting: the simulator, a real data set, or a mix of them.

`simulated`, `ptbxl=FOLDER`, `mimic-iv-ecg=FOLDER`, `cinc2021=FOLDER`, `folder=FOLDER`, or a mix with shares of the
records, such as `0.7*simulated,0.3*ptbxl=FOLDER`. A source reads its tables first, part by part, so that patients are
split and what it never states becomes unknown; then record after record, so that memory stays flat.
"""

import os
import re
from collections import Counter
from collections.abc import Iterator
from itertools import chain, compress, islice
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from .cohort import CHUNK, NUMBERS, PER_LEAD, simulated, split_by_patient, split_of
from .ecg import ECG
from .errors import BadArtifact, BadECG, BadRequest, require
from .findings import CODES, FACTS
from .real_labels import ABSENT, TABLE, THERE, never_stated, report_statements, row_labels, scp_statements

MISSING = 29999  # what MIMIC-IV-ECG writes where the machine measured nothing
OVER_89, OLDEST = 300, 90.0  # PTB-XL gives every age over 89 as 300; here it is 90
_PART = 5000  # rows of a table that are in memory at a time
PTBXL_COLUMNS = ("ecg_id", "patient_id", "age", "sex", "report", "scp_codes", "heart_axis", "filename_lr",
                 "filename_hr", "infarction_stadium1", "infarction_stadium2")  # fmt: skip
_MIMIC = ("rr_interval", "p_onset", "qrs_onset", "qrs_end", "t_end", "qrs_axis")  # ms, degrees
_ABOUT = ("patient", "age", "sex", "report", "labels_from")


def cohort_rows(seed: int, records: int, source: str | None = None) -> Iterator[dict]:
    """Rows for `cohort.write`, up to so many, from a source as above, by default `UNIECG_COHORT` or the simulator.

    A real row has the columns of a simulated one, NaN where nothing is known; `known` (B, len(FACTS)), see
    `known`; `split`, by patient, stratified; `labels_from`, `report`. In a mix simulated rows have them, too.

    Raises:
        BadRequest: no such source or folder.
        BadArtifact: the folder lacks its tables.
    """
    parts = parse_source(source or os.environ.get("UNIECG_COHORT") or "simulated")
    kinds = {kind for _, kind, _ in parts}
    for share, kind, folder in parts:
        count = round(share * records)
        if kind == "simulated":
            rows = simulated(seed, count)
            yield from rows if len(parts) == 1 else map(_as_real, rows)
        else:
            yield from real_rows(kind, folder, count, seed, "ptbxl" in kinds and kind == "cinc2021")


def parse_source(text: str) -> list[tuple[float, str, Path]]:
    """`0.7*simulated,0.3*ptbxl=FOLDER` -> share, kind and folder of each; shares are equal unless given, and sum to 1.

    Raises:
        BadRequest: no such source or folder.
    """
    names = "|".join(("simulated", *SOURCES))
    found = [re.fullmatch(rf"(?:([\d.]+)\*)?({names})(?:=(.+))?", part.strip())
             for part in re.split(rf",(?=\s*(?:[\d.]+\*)?(?:{names})\b)", text)]  # fmt: skip
    forms = f"simulated, {', '.join(f'{name}=FOLDER' for name in SOURCES)}, or a mix such as 0.7*simulated,0.3*ptbxl=F"
    require(all(found), f"There are no patients called {text!r}: choose {forms}.", BadRequest)
    for one in found:
        fine = (one[2] == "simulated") == (one[3] is None) and (one[3] is None or Path(one[3]).is_dir())
        require(fine, f"{one[0]!r} names no folder that is there: choose {forms}.", BadRequest)
    weights = [float(one[1] or 1) for one in found]
    return [(w / sum(weights), one[2], Path(one[3] or "")) for w, one in zip(weights, found)]


def _as_real(rows: dict) -> dict:
    """Simulated rows with the columns of real ones: all is known."""
    n = len(rows["record"])
    own = {"known": np.ones((n, len(FACTS)), bool), "split": [split_of(p) for p in rows["patient"]]}
    own |= {"female": rows["female"].astype(np.float32), "labels_from": ["simulator"] * n, "report": [""] * n}
    return rows | own


def real_rows(kind: str, folder: Path, records: int, seed: int = 0, beside_ptbxl: bool = False) -> Iterator[dict]:
    """Rows of a real source, of up to so many records drawn by chance; says how many could be read, and why others not.

    `beside_ptbxl`: PTB-XL is in the same cohort, so its records in the challenge (HR*) are left out.
    """
    folder, people, decided, origins = Path(folder), [], [], []
    for table in SOURCES[kind](folder):
        people += [f"{kind}-{name}" for name in table["patient"]]
        decided.append(np.stack([row_labels(row) for row in table.to_dict("records")]))
        origins += table["labels_from"].tolist()
    require(people, f"There is no record in {folder}: choose a folder of records.", BadArtifact)
    decided, origins, people = np.concatenate(decided), np.array(origins), np.array(people)
    never_stated(decided, origins)
    split, left_out = split_by_patient(people, decided == THERE, origins), Counter()
    twice = beside_ptbxl & (origins == "ptb-xl")
    chosen = np.zeros(len(people), bool)
    chosen[np.random.default_rng(seed).permutation(len(people))[: max(0, records)]] = True
    read = tqdm(_read(SOURCES[kind](folder), chosen, twice, left_out), kind, int(chosen.sum()), leave=False)
    count, left = 0, iter(read)
    while part := list(islice(left, CHUNK)):
        places, rows, signals = zip(*part)
        about = {"patient": people[[*places]].tolist(), "split": split[[*places]].tolist()}
        yield _rows(rows, signals, decided[[*places]]) | about
        count += len(part)
    why = "".join(f"; {n} left out: {reason}" for reason, n in left_out.most_common())
    tqdm.write(f"{kind}: {count} records read, of {len(people)} there{why}")


def _read(tables, chosen: np.ndarray, twice: np.ndarray, left_out: Counter) -> Iterator[tuple]:
    """(place in the tables, row, (12, 1000) mV) of each chosen record that can be used; counts why others cannot."""
    rows = chain.from_iterable(table.to_dict("records") for table in tables)
    for place, row in compress(enumerate(rows), chosen):
        try:
            require(not twice[place], "It is in PTB-XL, too", BadECG)
            yield place, row, ECG.load(row["path"]).standard().signal
        except (BadECG, OSError) as reason:
            first = re.split("[:;(]", str(reason).replace(Path(row["path"]).name, "it"))[0]
            left_out[re.sub(r"-?\d[\d.e-]*", "N", first).strip()] += 1


def _rows(rows: tuple[dict, ...], signals: tuple[np.ndarray, ...], decided: np.ndarray) -> dict:
    """B rows of a table, their signals (12, 1000) mV and labels (B, F), as columns."""
    n = len(rows)
    numbers = {key: np.array([row.get(key, np.nan) for row in rows], np.float32) for key in NUMBERS}
    nothing = np.full(n, np.nan)  # of signs in leads, and of noise
    measured = ~np.isnan(np.stack([numbers.get(key, nothing) for key in FACTS[len(CODES) :]], 1))
    return {
        "record": [str(row["record"]) for row in rows],
        "signal": (np.stack(signals) * 1000).round().clip(-32768, 32767).astype(np.int16).reshape(n, -1),
        "female": np.array([{"female": 1, "male": 0}.get(row["sex"], np.nan) for row in rows], np.float32),
        "findings": decided == THERE,
        "borderline": np.zeros(decided.shape, bool),  # a label says nothing of how near it was
        "q_wave": np.zeros((n, 12), bool),
        **numbers,
        **{key: np.full((n, 12), np.nan, np.float32) for key in PER_LEAD},
        "known": np.concatenate([decided >= ABSENT, measured], 1),
        "labels_from": [row["labels_from"] for row in rows],
        "report": [row["report"] for row in rows],
    }


# --- Each source yields tables of text: record, path, statements (vocabulary -> statements), and `_ABOUT`.


def _table(folder: Path, name: str, *needed: str) -> Iterator[tuple[Path, pd.DataFrame]]:
    """Where a CSV of this name lies, in the folder or below it, and its parts as text; it must have these columns."""
    path = folder / name if (folder / name).is_file() else next(iter(sorted(folder.rglob(name))), None)
    require(path, f"There is no {name} in {folder} or below: choose the folder of the data set.", BadArtifact)
    with pd.read_csv(path, dtype=str, keep_default_na=False, chunksize=_PART) as parts:
        for part in parts:
            gone = ", ".join(key for key in needed if key not in part)
            require(not gone, f"{path} has no column {gone}: fetch it again, or name its columns so.", BadArtifact)
            yield path.parent, part


def years(text) -> float:
    """An age as data sets write it: 63, 063Y, >89 or 300 -> 90, NaN where there is none between 0 and 110."""
    found = re.match(r"\s*(>?)\s*(\d+(?:\.\d+)?)\s*[Yy]?\s*$", str(text))
    age = float(found[2]) if found else np.nan
    return OLDEST if age == OVER_89 or (found and found[1]) else age if 0 <= age <= 110 else np.nan


def _sex(text: str) -> str:
    first = str(text).strip().lower()[:1]
    return {"f": "female", "w": "female", "m": "male"}.get(first, "")


def _ptbxl(folder: Path) -> Iterator[pd.DataFrame]:
    """PTB-XL: `ptbxl_database.csv`, `records100/`, or `records500/` where a record is not there at 100 Hz."""
    for root, d in _table(folder, "ptbxl_database.csv", *PTBXL_COLUMNS):
        d["record"], d["patient"] = d.ecg_id, d.patient_id.str.removesuffix(".0")
        files = zip(d.filename_lr, d.filename_hr)
        d["path"] = [root / (low if (root / f"{low}.hea").is_file() else high or low) for low, high in files]
        d["sex"], d["age"] = d.sex.str[:1].map({"0": "male", "1": "female"}).fillna(""), d.age.map(years)
        d["labels_from"] = d.get("labels_from", "official")
        stages = d[[*PTBXL_COLUMNS[-2:]]].to_numpy()
        d["statements"] = [
            {"subclass" if how == "subclass" else "scp": scp_statements(codes, set(stage) - {""})}
            | ({"heart_axis": [axis]} if axis else {})
            | ({"report": report_statements(report)} if report else {})
            for how, codes, stage, axis, report in zip(d.labels_from, d.scp_codes, stages, d.heart_axis, d.report)
        ]
        yield d[["record", "path", "statements", *_ABOUT]]


def _mimic(folder: Path) -> Iterator[pd.DataFrame]:
    """MIMIC-IV-ECG: `machine_measurements.csv` and `files/`; age and sex where MIMIC-IV's `patients.csv` lies there."""
    people = {}
    if any(folder.glob("patients.csv*")):
        who = pd.read_csv(next(folder.glob("patients.csv*")), dtype=str, keep_default_na=False)
        born = zip(who.gender, who.anchor_age.astype(float) - who.anchor_year.astype(float))
        people = dict(zip(who.subject_id, born))
    for root, d in _table(folder, "machine_measurements.csv", "subject_id", "study_id", "ecg_time", *_MIMIC):
        d["record"], d["patient"], d["labels_from"] = d.study_id, d.subject_id, "machine"
        d["path"] = [root / f"files/p{p[:4]}/p{p}/s{s}/{s}" for p, s in zip(d.subject_id, d.study_id)]
        who = [people.get(p, ("", np.nan)) for p in d.subject_id]
        d["sex"] = [_sex(sex) for sex, _ in who]
        year = pd.to_numeric(d.ecg_time.str[:4], errors="coerce")
        d["age"] = [years(shift + now) for (_, shift), now in zip(who, year)]
        stated = d[[key for key in d.columns if re.fullmatch(r"report_\d+", key)]].to_numpy()
        d["report"] = ["; ".join(filter(None, row)) for row in stated]
        d["statements"] = [{"machine": [s for text in row if text for s in report_statements(text)]} for row in stated]
        m = d[[*_MIMIC]].apply(pd.to_numeric, errors="coerce")
        m = m.where(m.abs() < MISSING)
        rr = m.rr_interval.where(m.rr_interval > 0)
        d["rate_bpm"], d["axis_deg"] = 60000 / rr, m.qrs_axis.where(m.qrs_axis.abs() <= 180)
        spans = {"pr_ms": m.qrs_onset - m.p_onset, "qrs_ms": m.qrs_end - m.qrs_onset, "qt_ms": m.t_end - m.qrs_onset}
        d[list(spans)] = pd.DataFrame({key: value.where(value > 0) for key, value in spans.items()})
        d["qtc_ms"] = d.qt_ms / (rr / 1000) ** 0.5  # Bazett
        yield d[["record", "path", "statements", *_ABOUT, *(key for key in NUMBERS if key != "age")]]


def _cinc(folder: Path) -> Iterator[pd.DataFrame]:
    """CinC Challenge 2021: headers with `Age`, `Sex` and `Dx` as SNOMED CT codes; who the patient is, is not told."""
    headers = sorted(folder.rglob("*.hea"))
    for start in range(0, len(headers), _PART):
        rows = []
        for path in headers[start : start + _PART]:
            text = path.read_text(encoding="latin-1")
            stated = dict(re.findall(r"^#\s*(\w+)\s*:\s*(.*?)\s*$", text, re.MULTILINE))
            codes = re.findall(r"\d+", stated.get("Dx", ""))
            origin = TABLE["cinc_prefix"].get(re.match("[A-Za-z]*", path.stem)[0], path.parent.name)
            about = {"patient": path.stem, "age": years(stated.get("Age")), "sex": _sex(stated.get("Sex", ""))}
            about |= {"report": "", "labels_from": origin, "statements": {"snomed": codes} if codes else {}}
            rows.append({"record": path.stem, "path": path.with_suffix(""), **about})
        yield pd.DataFrame(rows)


def _folder(folder: Path) -> Iterator[pd.DataFrame]:
    """Any folder of WFDB, CSV or NumPy records with a `labels.csv` (or `manifest.csv`): see README for its columns."""
    files = {p.stem: p for p in sorted(folder.rglob("*")) if p.suffix in (".hea", ".csv", ".npy", ".npz")}
    name = "labels.csv" if "labels" in files else "manifest.csv"
    for root, d in _table(folder, name, "record"):
        own = [(root / one, root / f"{one}.hea", root / f"{one}.csv") for one in d.record]
        d["path"] = [next((p for p in at if p.is_file()), files.get(at[0].stem, at[0])) for at in own]
        given = {key: d.get(key, pd.Series("", d.index)) for key in ("patient_id", *_ABOUT, "scp_codes", "snomed_dx")}
        patient = given["patient"].where(given["patient"] != "", given["patient_id"])
        d["patient"] = patient.where(patient != "", d.record)
        d["age"], d["sex"], d["report"] = given["age"].map(years), given["sex"].map(_sex), given["report"]
        d["labels_from"] = given["labels_from"].where(given["labels_from"] != "", d.get("source_dataset", "labels"))
        d["statements"] = [
            ({"scp": scp_statements(scp)} if scp else {})
            | ({"snomed": re.findall(r"\d+", snomed)} if snomed else {})
            | ({"report": report_statements(report)} if report else {})
            for scp, snomed, report in zip(given["scp_codes"], given["snomed_dx"], given["report"])
        ]
        yield d[["record", "path", "statements", *_ABOUT, *(code for code in CODES if code in d)]]


SOURCES = {"ptbxl": _ptbxl, "mimic-iv-ecg": _mimic, "cinc2021": _cinc, "folder": _folder}
