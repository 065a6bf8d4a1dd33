"""How well are recorded ECGs read? Labels of real records in our findings, and AUROC; intervals are in notebook 17.

The records lie outside the repository (see `chain.real_folder`). Cardiologists' statements are not our measured rules,
so only like is compared with like: each finding with its own SCP-ECG or SNOMED CT code (`data/findings.json`, plus
`ALSO`), and everything about infarction, ischaemia, ST and T as one group, "MI/ST-T", because an old infarct is a
statement there and a Q wave or an ST level here. A group is scored when at least `FEWEST` records carry it.
"""

import csv
import json
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..ecg import ECG
from ..errors import BadArtifact, BadECG, require
from ..findings import FINDINGS, table

FEWEST = 3
ISCHAEMIA = "MI/ST-T"
# Group -> statements beside those of data/findings.json that mean the same: high voltage is our criterion of LVH too;
# unspecific changes of ST and T (NST_, NDT, TAB_) count, a flat T (LOWT, NT_) does not, since we never call it.
ALSO = table("real_statements")


class RealRecords(NamedTuple):
    """Labelled real records: N records, G groups."""

    names: list[str]
    signal: Tensor  # (N, 12, 1000) mV at 100 Hz
    labels: Tensor  # (N, G) bool
    groups: list[str]
    codes: list[list[str]]  # of each group, our findings that stand for it
    patients: list[str]  # (N,) the record's own name where the patient is unknown
    left_out: dict[str, str]  # record -> why it is not scored
    flagged: dict[str, str]  # record -> flags of a record that is scored all the same


def groups_of_findings() -> dict[str, tuple[list[str], set[str]]]:
    """Group -> (our findings, statements that count for it), read from `data/findings.json`."""
    out: dict[str, tuple[list[str], set[str]]] = {}
    by_scp: dict[str, str] = {}
    for row in FINDINGS:
        scp, code = row["scp"], row["code"]
        name = ISCHAEMIA if row["group"] == "ischaemia" else by_scp.setdefault(scp or code, code)
        codes, stated = out.setdefault(name, ([], set(ALSO.get(name, ()))))
        codes.append(code)
        stated |= {scp, *row["snomed"]} - {None, ""}
    return out


def statements(row: dict[str, str]) -> set[str]:
    """The statements of one manifest row that count: SCP-ECG with a likelihood of 0 (none given) or from 50% on, SNOMED
    CT all."""
    scp = json.loads(row["scp_codes"] or "{}")
    likely = {code for code, percent in scp.items() if percent == 0 or percent >= 50}
    return likely | {*row["snomed_dx"].split(";")} - {""}


def _labels(row: dict[str, str], groups: dict[str, tuple[list[str], set[str]]]) -> dict[str, bool]:
    """Group -> whether this record carries it. As in our truth, a sinus rhythm has one rate, and a normal ECG is
    normal throughout: the manifest puts it into no other group, and its rhythm is SR."""
    stated = statements(row)
    out = {name: bool(stated & wanted) for name, (_, wanted) in groups.items()}
    out["SR"] &= not (out["SBRAD"] or out["STACH"] or out["SARRH"])
    return out | {"NORM": row["label_groups_all"] == "normal" and out["SR"]}


def manifest_rows(folder: str | Path) -> list[dict[str, str]]:
    """The rows of a folder's `manifest.csv`. Raises BadArtifact when there is none."""
    manifest = Path(folder) / "manifest.csv"
    if not manifest.exists():
        raise BadArtifact(f"There is no {manifest}: point UNIECG_REAL_ECG at a folder of real records with a manifest.")
    with open(manifest, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def real_rates(folder: str | Path) -> dict[str, float]:
    """Reference heart rates of a folder of real records with a `manifest.csv`: record -> bpm.

    Disputed records are left out: those whose two reference detectors differ by over 10%, or that lack one of them.
    """
    keys, rows = ("hr_bpm_nk", "hr_bpm_nk_pantompkins"), manifest_rows(folder)  # NaN below: no number
    pairs = {row["record"]: np.genfromtxt([row[key] or "nan" for key in keys]).tolist() for row in rows}
    return {name: one for name, (one, other) in pairs.items() if abs(one - other) <= 0.1 * max(one, other) < math.inf}


def load_signals(
    folder: str | Path, names: list[str] | None = None
) -> tuple[list[str], Tensor, list[str], dict[str, str]]:
    """The usable ones of these records, by default of all in the manifest, labelled or not: names, (N, 12, 1000) mV at
    100 Hz, patients (see `RealRecords`); and why each other record is refused.

    Raises:
        BadArtifact: no manifest.
        BadECG: not one of them can be used.
    """
    patients = {row["record"]: row.get("patient_id") or row["record"] for row in manifest_rows(folder)}
    names, signals, refused = list(patients) if names is None else names, {}, {}
    for name in names:
        try:
            signals[name] = torch.from_numpy(ECG.load(Path(folder) / name).standard().signal)
        except BadECG as reason:
            refused[name] = str(reason)
    if not signals:
        why = "".join(f" ({name}: {reason})" for name, reason in list(refused.items())[:1])
        raise BadECG(f"None of {len(names)} records in {folder} can be used{why}: choose a folder of readable records.")
    return list(signals), torch.stack(list(signals.values())), [patients[name] for name in signals], refused


def load_real_records(folder: str | Path, fewest: int = FEWEST) -> RealRecords:
    """Labelled records of a folder with a `manifest.csv`, and the groups that at least `fewest` of them carry.

    Raises:
        BadArtifact: no manifest, or no group has enough records.
        BadECG: no record can be used.
    """
    rows = {row["record"]: row for row in manifest_rows(folder) if row["label_group"] != "unlabelled"}
    left_out = {name: "no statements" for name, row in rows.items() if not statements(row)}
    left_out |= {name: "paediatric" for name, row in rows.items() if "paediatric" in row["flags"]}  # ours are adults
    names, signal, patients, refused = load_signals(folder, [name for name in rows if name not in left_out])
    groups = groups_of_findings()
    labels = [_labels(rows[name], groups) for name in names]
    scored = [g for g in groups if sum(one[g] for one in labels) >= fewest]
    require(scored, f"No finding has {fewest} labelled records in {folder}: give more records.", BadArtifact)
    carried, codes = torch.tensor([[one[g] for g in scored] for one in labels]), [groups[g][0] for g in scored]
    flagged = {name: rows[name]["flags"] for name in names if rows[name]["flags"]}
    return RealRecords(names, signal, carried, scored, codes, patients, left_out | refused, flagged)


def patient_index(patients: list) -> Tensor:
    """The patients of N records by name -> (N,) their numbers, in the order in which they first come."""
    place = {name: i for i, name in enumerate(dict.fromkeys(patients))}
    return torch.tensor([place[name] for name in patients])


def weighted_auroc(logit: Tensor, label: Tensor, weight: Tensor) -> Tensor:
    """Area under the ROC curve for each row of weights: (N,), (N,) bool, (R, N) -> (R,), NaN where a class is empty.

    The chance that a positive scores above a negative, ties half (Hanley and McNeil, Radiology 143:29, 1982).
    """
    above = (logit[label][:, None] > logit[~label]).float() + 0.5 * (logit[label][:, None] == logit[~label])  # (P, M)
    positive, negative = weight[:, label], weight[:, ~label]
    return ((positive @ above) * negative).sum(1) / (positive.sum(1) * negative.sum(1))
