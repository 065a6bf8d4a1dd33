"""Which patients, which split, where on disk? One table of patients for each split, simulated or real."""

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import combinations
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from datasets.table import MemoryMappedTable
from tqdm.auto import tqdm

from .errors import BadArtifact, BadECG, BadRequest, require
from .simulator.simulate import simulate
from .store import Store, replacing

SPLITS = ("train", "validation", "test")
NUMBERS = ("rate_bpm", "pr_ms", "qrs_ms", "qt_ms", "qtc_ms", "axis_deg", "age")
PER_LEAD = ("st_mv", "t_mv", "r_mv", "s_mv", "q_mv", "p_mv", "drift_mv", "static_mv")
SHARES = (0.60, 0.75)  # where validation and test begin among real patients
AGAIN = 6  # one simulated patient in six comes back for a second ECG
TEXTS = ("record", "patient", "split", "labels_from", "report", "statements")  # three of real records alone
CHUNK = 252
SIMULATED = re.compile(r"s\d+-\d{6,}(-\d+)?")  # the name of a record that can be simulated again


def split_of(patient: str) -> str:
    """The split of a patient: 84% train, 8% validation, 8% test, by a hash of the name, the same for ever."""
    share = int.from_bytes(hashlib.blake2b(patient.encode(), digest_size=4).digest(), "big") / 2**32
    return "train" if share < 0.84 else "validation" if share < 0.92 else "test"


def split_by_patient(people: np.ndarray, found: np.ndarray, sources: np.ndarray) -> np.ndarray:
    """(N,) patients -> (N,) names of splits: 60% train, 15% validation, 25% test of each stratum, the same for ever.

    A patient's stratum is the rarest finding of his records, (N, F) bool, and their origin, (N,).
    """
    rarity = np.where(found.any(0), found.sum(0), len(found) + 1)
    first = np.where(found, rarity, len(found) + 1).argmin(1)  # (N,) rarest finding of a record, the first if none
    table = pd.DataFrame({"patient": people, "rarity": rarity[first], "finding": first, "source": sources})
    each = table.sort_values(["rarity", "finding", "source"]).drop_duplicates("patient").sort_values("patient")
    strata = each.sample(frac=1, random_state=0).groupby(["source", "finding"]).patient  # by chance, always the same
    place = (strata.cumcount() + 0.5) / strata.transform("size")
    names = np.array(SPLITS)[np.searchsorted(SHARES, place, side="right")]
    return pd.Series(names, index=each.patient.loc[place.index]).loc[people].to_numpy()


class Cohort:
    """A split on disk, read through a memory map.

    `signal(rows)` gives (B, 12, 1000) float32 mV at 100 Hz; `truth(rows)` the simulator's truth, NaN where unknown.
    Real records have a column `known` besides (see `known`), who labelled them (`labels_from`), a `report` and
    codes (`statements`).
    """

    def __init__(self, table: datasets.Dataset):
        self.table = table.with_format("numpy")

    def __len__(self) -> int:
        return len(self.table)

    def first(self, n: int | None) -> "Cohort":
        """The first n records alone; all of them where n is None."""
        return self if n is None else Cohort(self.table.select(range(min(n, len(self)))))

    def labelled(self, source: str) -> "Cohort":
        """The records whose labels come from this source alone, such as `official` or `simulator`."""
        real = "labels_from" in self.table.column_names
        origins = np.array(self.column("labels_from") if real else ["simulator"] * len(self))
        return Cohort(self.table.select(np.flatnonzero(origins == source)))

    def signal(self, rows) -> torch.Tensor:
        """(B,) row numbers -> (B, 12, 1000) float32 in mV."""
        raw = self.table.select_columns("signal")[np.asarray(rows)]["signal"]
        return torch.from_numpy(np.stack(raw).reshape(-1, 12, 1000).astype(np.float32)) / 1000

    def truth(self, rows=None) -> dict[str, torch.Tensor]:
        """What is true about these rows (all by default): tensors with a leading B."""
        columns = self.table.remove_columns(["signal", *(name for name in TEXTS if name in self.table.column_names)])
        part = (columns[:] if rows is None else columns[np.asarray(rows)]).items()
        return {key: torch.from_numpy(np.stack(x) if x.dtype == object else np.array(x)) for key, x in part}

    def column(self, name: str) -> list:
        """One column as a list: record, patient; of real records labels_from, report, statements."""
        return self.table[name][:].tolist()


def write(rows: Iterator[dict], folder: str | Path) -> Path:
    """Write rows as one table per split under a folder, chunk by chunk; whole or not at all.

    Rows are dicts of equally long columns (see `simulated`); the split is their column `split`, or follows from the
    patient. Rows of real sources and mixes are shuffled, so that the first ones are of all sources.

    Raises:
        BadECG: no record for training, or a patient in two splits.
    """
    datasets.disable_progress_bars()
    with replacing(Path(folder)) as room:
        with ExitStack() as files:
            streams, places, schema = {}, {}, None
            for chunk in rows:
                table = _table(chunk)
                if schema is None:
                    schema = table.schema
                    places = {name: str(room / f"{name}.arrow") for name in SPLITS}
                    streams = {name: files.enter_context(pa.ipc.new_stream(at, schema)) for name, at in places.items()}
                splits = np.array(chunk.get("split") or [split_of(patient) for patient in chunk["patient"]])
                for name, stream in streams.items():
                    stream.write_table(table.select(schema.names).filter(pa.array(splits == name)))
        few = "No record of this cohort falls into the training split: draw more, or choose another source."
        tables = {name: MemoryMappedTable.from_file(at) for name, at in places.items()}
        require(tables and len(tables["train"]), few, BadECG)
        check_leakage({name: table.column("patient").to_pylist() for name, table in tables.items()})
        for name, table in tables.items():
            with open(places[name], "rb") as file:  # the same rows, the same fingerprint
                same = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=8)).hexdigest()
            whole = datasets.Dataset(table, fingerprint=same)
            (whole.shuffle(seed=0) if "known" in table.column_names else whole).save_to_disk(room / name)
            os.unlink(places[name])
    return Path(folder)


def in_memory(rows: Iterator[dict]) -> Cohort:
    """Rows as `write` takes them, of all splits, as a cohort that is on no disk.

    Raises:
        BadECG: there are none.
    """
    tables = [_table(chunk) for chunk in rows]
    require(tables, "None of these records can be used: choose a folder of readable records.", BadECG)
    return Cohort(datasets.Dataset(pa.concat_tables([table.select(tables[0].column_names) for table in tables])))


def check_leakage(patients: dict[str, list[str]]) -> None:
    """Split -> the patient of each record; refuses (BadECG) splits of which any two share a patient."""
    for one, other in combinations(patients, 2):
        shared = min({*patients[one]} & {*patients[other]}, default=None)
        require(shared is None, f"Patient {shared} is in {one} and in {other}: keep each patient in one split.", BadECG)


def _table(chunk: dict) -> pa.Table:
    return pa.table({key: _column(value) for key, value in chunk.items()})


def _column(value) -> pa.Array:
    """A list, or an array (B,) or (B, n), as an Arrow column, without a Python loop over its numbers."""
    if isinstance(value, list) or value.ndim == 1:
        return pa.array(value)
    return pa.FixedSizeListArray.from_arrays(pa.array(value.reshape(-1)), value.shape[1])


def load(folder: str | Path, split: str) -> Cohort:
    """Open one split of a written cohort.

    Raises:
        BadArtifact: nothing is there.
    """
    path = Path(folder) / split
    require(path.exists(), f"There is no cohort at {path}: run notebook 01 first.", BadArtifact)
    return Cohort(datasets.load_from_disk(str(path)))


def simulated_split(store: Store, split: str) -> Cohort:
    """The simulated records of a split of the chain's cohort; where all are real, a split of simulated ones alone."""
    found, own = load(store.path("cohort") / "splits", split).labelled("simulator"), store.scratch("simulated")
    if not len(found) and not own.exists():
        write(simulated(store.seed, store.profile.records), own)
    return found if len(found) else load(own, split)


def simulated(seed: int, records: int, first: int = 0) -> Iterator[dict]:
    """Rows of simulated patients of a population, from patient `first` on, until there are this many records.

    One patient in six has a second record, `s0-000012-1` beside `s0-000012`, from a later visit.
    """
    start, left = first, records
    with tqdm(total=records, desc="simulate", leave=False) as bar:
        while left > 0:
            index = torch.arange(start, start + CHUNK)
            for visit, part in enumerate((index, index[index % AGAIN == 0])):
                part = part[:left]
                if len(part):
                    yield _rows(seed, part, visit)
                left -= len(part)
                bar.update(len(part))
            start += CHUNK


def _rows(seed: int, index: torch.Tensor, visit: int) -> dict:
    """The rows of these patients (B,) at one visit."""
    fresh = simulate(seed, index, visit=visit)
    micro = (fresh.signal * 1000).round().clamp(-32768, 32767).short().flatten(1)  # (B, 12000)
    names = [f"s{seed}-{i:06d}" for i in index.tolist()]
    return {
        "record": [f"{name}-{visit}" if visit else name for name in names],
        "patient": names,
        "signal": micro.numpy(),
        **{
            key: fresh.truth[key].numpy() for key in ("female", "findings", "borderline", "q_wave", *NUMBERS, *PER_LEAD)
        },
    }


def population_of(records: list[str]) -> tuple[int, torch.Tensor, torch.Tensor]:
    """Names of simulated records -> (seed, patient numbers (B,), visits (B,)), to simulate the same hearts again.

    Raises:
        BadRequest: a real record is among them.
    """
    real = next((name for name in records if not SIMULATED.fullmatch(name)), None)
    require(real is None, f"Record {real} was not simulated: choose patients of the simulator.", BadRequest)
    parts = [name[1:].split("-") for name in records]
    visits = torch.tensor([int(p[2]) if len(p) > 2 else 0 for p in parts])
    return int(parts[0][0]), torch.tensor([int(p[1]) for p in parts]), visits
