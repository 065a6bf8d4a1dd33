"""Where do a cohort's patients come from? One setting: the simulator, a real data set, or a mix of them.

`simulated`, `ptbxl=FOLDER`, `mimic-iv-ecg=FOLDER`, `cinc2021=FOLDER`, `folder=FOLDER`, or a mix with shares of the
records, such as `0.7*simulated,0.3*ptbxl=FOLDER`. A source reads its table first (2 kB a row), so that patients are
split and what it never states becomes unknown; then record after record, so that memory stays flat.
"""

import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from .cohort import CHUNK, NUMBERS, PER_LEAD, simulated, split_by_patient, split_of
from .ecg import ECG
from .ecg_tables import patient
from .errors import BadArtifact, BadECG, BadRequest, refused, require
from .findings import CODES, FACTS
from .real_labels import ABSENT, TABLE, THERE, codes_of, labels, never_stated, report_statements, scp_statements

MISSING = 29999  # what MIMIC-IV-ECG writes where the machine measured nothing
OLDEST = 90.0  # of whom it is stated only that they are over 89
PTBXL_COLUMNS = ("ecg_id", "patient_id", "age", "sex", "report", "scp_codes", "heart_axis", "filename_lr",
                 "filename_hr", "infarction_stadium1", "infarction_stadium2")  # fmt: skip
_MIMIC = ("rr_interval", "p_onset", "qrs_onset", "qrs_end", "t_end", "qrs_axis")  # ms, degrees


def cohort_rows(seed: int, records: int, source: str | None = None) -> Iterator[dict]:
    """Rows for `cohort.write`, up to so many, from a source as above, by default `UNIECG_COHORT` or the simulator.

    A real row has the columns of a simulated one, NaN where nothing is known; `known` (B, len(FACTS)), see
    `known`; `split`, by patient, stratified; `labels_from`, `report`, `statements`. In a mix simulated ones have them.

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
    forms = f"simulated, {', '.join(f'{name}=FOLDER' for name in SOURCES)}, or a mix such as 0.7*simulated,0.3*ptbxl=F"
    parts = []
    for part in text.split(","):
        share, _, source = part.strip().rpartition("*")
        kind, _, folder = source.partition("=")
        fine = kind in SOURCES and Path(folder).is_dir() if folder else source == "simulated"
        require(fine, f"{part!r} names no patients, or no folder that is there: choose {forms}.", BadRequest)
        with refused(f"{share!r} is no share of the records: choose {forms}.", BadRequest):
            parts.append((abs(float(share or 1)), kind, Path(folder)))
    whole = sum(share for share, _, _ in parts)
    return [(share / whole, kind, folder) for share, kind, folder in parts]


def _as_real(rows: dict) -> dict:
    """Simulated rows with the columns of real ones: all is known."""
    n = len(rows["record"])
    own = {"known": np.ones((n, len(FACTS)), bool), "split": [split_of(p) for p in rows["patient"]]}
    own |= {"female": rows["female"].astype(np.float32), "labels_from": ["simulator"] * n}
    own |= {"report": [""] * n, "statements": [""] * n}
    return rows | own


def real_rows(
    kind: str, folder: Path, records: int, seed: int = 0, beside_ptbxl: bool = False, only: str | None = None
) -> Iterator[dict]:
    """Rows of a real source, of up to so many records drawn by chance; says how many could be read, and why others not.

    `beside_ptbxl`: PTB-XL is in the same cohort, so its records in the challenge (HR*) are left out. `only` a split.
    """
    table = SOURCES[kind](Path(folder))
    require(len(table), f"There is no record in {folder}: choose a folder of records.", BadArtifact)
    twice = beside_ptbxl & (table.labels_from == "ptb-xl")
    left_out = Counter({"It is in PTB-XL, too": twice.sum()})
    table = table[~twice].reset_index(drop=True)
    decided = np.stack([labels(one) for one in table.statements])  # (N, F)
    never_stated(decided, table.labels_from.to_numpy())
    for code in set(CODES) & set(table):  # the columns of a `labels.csv`
        own, place = pd.to_numeric(table[code], errors="coerce"), CODES.index(code)
        decided[:, place] = np.where(own.isin((ABSENT, THERE)), own, decided[:, place])
    table["patient"] = f"{kind}-" + table.patient
    table["split"] = split_by_patient(table.patient.to_numpy(), decided == THERE, table.labels_from.to_numpy())
    chosen = np.sort(np.random.default_rng(seed).permutation(len(table))[: max(0, records)])
    chosen = chosen[(table.split[chosen] == only) | (only is None)]
    count = 0
    for part in tqdm(np.split(chosen, range(CHUNK, len(chosen), CHUNK)), kind, leave=False):
        signals = {i: one for i in part if (one := _signal(table.path[i], left_out)) is not None}
        if signals:
            yield _rows(table.loc[[*signals]], np.stack([*signals.values()]), decided[[*signals]])
        count += len(signals)
    why = "".join(f"; {n} left out: {reason}" for reason, n in left_out.most_common() if n)
    tqdm.write(f"{kind}: {count} records read, of {len(twice)} there{why}")


def _signal(path: Path, left_out: Counter) -> np.ndarray | None:
    """(12, 1000) mV of a record; None if it cannot be used, and its reason is counted."""
    try:
        return ECG.load(path).standard().signal
    except (BadECG, OSError) as reason:
        first = re.split("[:;(]", str(reason).replace(path.name, "it"))[0]
        left_out[re.sub(r"-?\d[\d.e-]*", "N", first).strip()] += 1


def _rows(table: pd.DataFrame, signal: np.ndarray, decided: np.ndarray) -> dict:
    """B rows of a table, their signals (B, 12, 1000) mV and labels (B, F), as columns."""
    n = len(table)
    numbers = table.reindex(columns=NUMBERS).astype(np.float32)
    measured = numbers.reindex(columns=FACTS[len(CODES) :]).notna()  # no source states signs in leads, or noise
    return {
        **{key: table[key].tolist() for key in ("record", "patient", "split", "labels_from", "report")},
        "signal": (signal * 1000).round().clip(-32768, 32767).astype(np.int16).reshape(n, -1),
        "female": table.sex.map({"female": 1, "male": 0}).to_numpy(np.float32),
        "findings": decided == THERE,
        "borderline": np.zeros(decided.shape, bool),  # a label says nothing of how near it was
        "q_wave": np.zeros((n, 12), bool),
        **{key: numbers[key].to_numpy() for key in NUMBERS},
        **{key: np.full((n, 12), np.nan, np.float32) for key in PER_LEAD},
        "known": np.concatenate([decided >= ABSENT, measured], 1),
        "statements": ["; ".join(codes_of(one)) for one in table.statements],
    }


# --- Each source is a table: record, patient, path, labels_from, report, age in years, sex, the numbers that it gives,
# and statements (vocabulary -> statements).


def _table(folder: Path, name: str, *needed: str) -> tuple[Path, pd.DataFrame]:
    """Where a CSV of this name lies, in the folder or below it, and its cells as text; it must have these columns."""
    path = folder / name if (folder / name).is_file() else next(iter(sorted(folder.rglob(name))), None)
    require(path, f"There is no {name} in {folder} or below: choose the folder of the data set.", BadArtifact)
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    gone = ", ".join(key for key in needed if key not in table)
    require(not gone, f"{path} has no column {gone}: fetch it again, or name its columns so.", BadArtifact)
    return path.parent, table


def years(text) -> float:
    """An age as data sets write it: 63, 063Y, >89 or 300 -> 90, NaN where there is none between 0 and 110."""
    if re.fullmatch(r"> ?89|300(\.0)?", str(text).strip()):  # nobody over 89 is to be known by it; PTB-XL writes 300
        return OLDEST
    age = patient(f"age: {text}")["age"]
    return np.nan if age is None else age


def _sex(text: str) -> str | None:
    """As data sets write it: F, Female, w, Mujer -> female; None where it is not stated."""
    return patient(f"sex: {text}")["sex"]


def _ptbxl(folder: Path) -> pd.DataFrame:
    """PTB-XL: `ptbxl_database.csv`, `records100/`, or `records500/` where a record is not there at 100 Hz."""
    root, d = _table(folder, "ptbxl_database.csv", *PTBXL_COLUMNS)
    files = zip(d.filename_lr, d.filename_hr)
    d["path"] = [root / (low if (root / f"{low}.hea").is_file() else high or low) for low, high in files]
    d["record"], d["patient"] = d.ecg_id, d.patient_id.str.removesuffix(".0")
    d["sex"], d["age"] = d.sex.str[:1].map({"0": "male", "1": "female"}), d.age.map(years)
    d["labels_from"] = d.get("labels_from", "official")
    stages = zip(d.infarction_stadium1, d.infarction_stadium2)
    scp = [scp_statements(codes, {*stage} - {""}) for codes, stage in zip(d.scp_codes, stages)]
    d["statements"] = [
        {"subclass" if how == "subclass" else "scp": stated, "heart_axis": [axis], "report": report_statements(report)}
        for how, stated, axis, report in zip(d.labels_from, scp, d.heart_axis, d.report)
    ]
    return d


def _mimic(folder: Path) -> pd.DataFrame:
    """MIMIC-IV-ECG: `machine_measurements.csv` and `files/`; age and sex where MIMIC-IV's `patients.csv` lies there."""
    root, d = _table(folder, "machine_measurements.csv", "subject_id", "study_id", "ecg_time", *_MIMIC)
    d["record"], d["patient"], d["labels_from"], d["sex"] = d.study_id, d.subject_id, "machine", None
    d["path"] = [root / f"files/p{p[:4]}/p{p}/s{s}/{s}" for p, s in zip(d.subject_id, d.study_id)]
    if any(folder.glob("patients.csv*")):
        who = pd.read_csv(next(folder.glob("patients.csv*")), dtype={"subject_id": str}).set_index("subject_id")
        d["sex"] = d.patient.map(who.gender).map(_sex)
        year = pd.to_numeric(d.ecg_time.str[:4], errors="coerce")
        d["age"] = (year - d.patient.map(who.anchor_year - who.anchor_age)).map(years)
    stated = d.filter(regex=r"^report_\d+$").to_numpy()
    d["report"] = ["; ".join(filter(None, row)) for row in stated]
    d["statements"] = [{"machine": [s for text in row for s in report_statements(text)]} for row in stated]
    m = d[[*_MIMIC]].apply(pd.to_numeric, errors="coerce")
    m = m.where(m.abs() < MISSING)
    rr = m.rr_interval.where(m.rr_interval > 0)
    d["rate_bpm"], d["axis_deg"] = 60000 / rr, m.qrs_axis.where(m.qrs_axis.abs() <= 180)
    spans = {"pr_ms": m.qrs_onset - m.p_onset, "qrs_ms": m.qrs_end - m.qrs_onset, "qt_ms": m.t_end - m.qrs_onset}
    d[[*spans]] = pd.DataFrame({key: value.where(value > 0) for key, value in spans.items()})
    d["qtc_ms"] = d.qt_ms / (rr / 1000) ** 0.5  # Bazett
    return d


def _cinc(folder: Path) -> pd.DataFrame:
    """CinC Challenge 2021: headers with `Age`, `Sex` and `Dx` as SNOMED CT codes; who the patient is, is not stated.

    So the records of an origin that has several of a patient (`one_patient`) are never in two splits.
    """
    rows = []
    for path in sorted(folder.rglob("*.hea")):
        stated = dict(re.findall(r"^#\s*(\w+)\s*:\s*(.*?)\s*$", path.read_text(encoding="latin-1"), re.MULTILINE))
        origin = TABLE["cinc_prefix"].get(re.match("[A-Za-z]*", path.stem)[0], path.parent.name)
        who = origin if origin in TABLE["one_patient"] else path.stem
        about = {"patient": who, "age": years(stated.get("Age")), "sex": _sex(stated.get("Sex")), "report": ""}
        about |= {"labels_from": origin, "statements": {"snomed": re.findall(r"\d+", stated.get("Dx", ""))}}
        rows.append({"record": path.stem, "path": path.with_suffix(""), **about})
    return pd.DataFrame(rows)


def _folder(folder: Path) -> pd.DataFrame:
    """Any folder of WFDB, CSV or NumPy records with a `labels.csv` (or `manifest.csv`): see README for its columns."""
    files = {}
    for path in sorted(path for path in folder.rglob("*") if path.suffix in (".hea", ".csv", ".npy", ".npz")):
        files.setdefault(path.stem, []).append(path)
    root, d = _table(folder, "labels.csv" if "labels" in files else "manifest.csv", "record")

    def given(*names: str) -> pd.Series:
        """The first of these columns that has something in it, row by row."""
        return d.reindex(columns=names).replace("", np.nan).bfill(axis=1).iloc[:, 0].fillna("")

    def place(record: str) -> Path:
        """Where a record lies, named with its folder or alone."""
        own = [path for end in ("", ".hea", ".csv") if (path := root / f"{record}{end}").is_file()]
        found = own[:1] or files.get(Path(record).stem, [root / record])
        one = len({path.parent for path in found}) == 1
        require(one, f"{folder} has several records {record}: name it with its folder, as a/{record}.", BadArtifact)
        return found[-1]

    d["path"] = d.record.map(place)
    d["patient"], d["labels_from"] = given("patient", "patient_id", "record"), given("labels_from", "source_dataset")
    d["labels_from"] = d.labels_from.replace("", "labels")
    d["age"], d["sex"], d["report"] = given("age").map(years), given("sex").map(_sex), given("report")
    d["statements"] = [
        {"scp": scp_statements(scp), "snomed": re.findall(r"\d+", snomed), "report": report_statements(report)}
        for scp, snomed, report in zip(given("scp_codes"), given("snomed_dx"), d.report)
    ]
    return d


SOURCES = {"ptbxl": _ptbxl, "mimic-iv-ecg": _mimic, "cinc2021": _cinc, "folder": _folder}
