"""What do cardiologists say about the real records, in our findings?

The records lie outside the repository (see `evaluate.real_folder`). Cardiologists' statements are not our measured
rules, so only like is compared with like: each finding with its own SCP-ECG or SNOMED CT code (`data/findings.json`,
plus `ALSO`), and everything about infarction, ischaemia, ST and T as one group, "MI/ST-T", because an old infarct is a
statement there and a Q wave or an ST level here. A group is scored when at least `FEWEST` records carry it.
"""

import csv
import json
from pathlib import Path
from typing import NamedTuple

import torch

from ..ecg import ECG
from ..errors import BadArtifact, BadECG
from ..language.findings import FINDINGS

FEWEST = 3
ISCHAEMIA = "MI/ST-T"
LIKELY = (0, 50)  # percent: PTB-XL statements of likelihood 0 (none given) or from 50 on count
LEFT_OUT = ("paediatric",)  # flags of records that are not scored: the simulated patients are adults
ALSO = {  # statements beside those of data/findings.json that mean the same
    "LVH": ("VCLVH", "HVOLT", "55827005"),  # high voltage is our criterion too
    ISCHAEMIA: (
        *(
            "AMI",
            "ASMI",
            "ALMI",
            "IMI",
            "ILMI",
            "IPMI",
            "IPLMI",
            "LMI",
            "PMI",
            "ANEUR",
            "QWAVE",
            "STD_",
            "STE_",
            "INVT",
        ),
        *("INJAS", "INJAL", "INJIN", "INJIL", "INJLA", "ISC_", "ISCAL", "ISCAS", "ISCIL", "ISCIN", "ISCLA", "ISCAN"),
        *("NST_", "NDT", "TAB_"),  # unspecific changes of ST and T; a flat T (LOWT, NT_) is not, and we never call it
        *("55930002", "164934002", "426434006", "164930006", "164865005", "54329005"),
    ),
}


class RealRecords(NamedTuple):
    """Labelled real records: N records, G groups."""

    names: list[str]
    signal: torch.Tensor  # (N, 12, 1000) mV at 100 Hz
    labels: torch.Tensor  # (N, G) bool
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
        own = {row.get("scp"), *row["snomed"]} - {None, ""}
        name = (
            ISCHAEMIA
            if row.get("group") == "ischaemia"
            else by_scp.setdefault(row.get("scp") or row["code"], row["code"])
        )
        codes, said = out.setdefault(name, ([], set()))
        codes.append(row["code"])
        said |= own
    for name, more in ALSO.items():
        if name in out:
            out[name][1].update(more)
    return out


def statements(row: dict[str, str]) -> set[str]:
    """The statements of one manifest row that count: SCP-ECG by `LIKELY`, SNOMED CT all."""
    scp = json.loads(row["scp_codes"] or "{}")
    likely = {code for code, percent in scp.items() if percent == LIKELY[0] or percent >= LIKELY[1]}
    return likely | set(filter(None, row["snomed_dx"].split(";")))


def _labels(row: dict[str, str], groups: dict[str, tuple[list[str], set[str]]]) -> dict[str, bool]:
    """Group -> whether this record carries it. As in our truth, a sinus rhythm has one rate, and a normal ECG is
    normal throughout: the manifest puts it into no other group, and its rhythm is SR."""
    said = statements(row)
    out = {name: bool(said & wanted) for name, (_, wanted) in groups.items()}
    if any(out.get(code) for code in ("SBRAD", "STACH", "SARRH")):
        out["SR"] = False
    out["NORM"] = row["label_groups_all"] == "normal" and out["SR"]
    return out


def manifest_rows(folder: str | Path) -> list[dict[str, str]]:
    """The rows of a folder's `manifest.csv`. Raises BadArtifact when there is none."""
    manifest = Path(folder) / "manifest.csv"
    if not manifest.exists():
        raise BadArtifact(f"There is no {manifest}: point UNIECG_REAL_ECG at a folder of real records with a manifest.")
    with open(manifest, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def real_records(folder: str | Path, fewest: int = FEWEST) -> RealRecords:
    """Labelled records of a folder with a `manifest.csv`, and the groups that at least `fewest` of them carry.

    Raises:
        BadArtifact: no manifest, or no group has enough records.
    """
    groups = groups_of_findings()
    names, signals, labels, patients, left_out, flagged = [], [], [], [], {}, {}
    for row in manifest_rows(folder):
        if row["label_group"] == "unlabelled":
            continue
        name, flags = row["record"], row["flags"]
        reason = next((flag for flag in LEFT_OUT if flag in flags), "" if statements(row) else "no statements")
        try:
            signal = ECG.load(Path(folder) / name).standard().signal
        except BadECG as refused:
            reason = reason or str(refused)
        if reason:
            left_out[name] = reason
            continue
        if flags:
            flagged[name] = flags
        names.append(name)
        signals.append(torch.from_numpy(signal))
        labels.append(_labels(row, groups))
        patients.append(row["patient_id"] or name)
    scored = [g for g in groups if sum(one[g] for one in labels) >= fewest]
    if not scored:
        raise BadArtifact(f"No finding has {fewest} labelled records in {folder}: give more records.")
    table = torch.tensor([[one[g] for g in scored] for one in labels])
    codes = [groups[g][0] for g in scored]
    return RealRecords(names, torch.stack(signals), table, scored, codes, patients, left_out, flagged)


def real_signals(folder: str | Path) -> tuple[list[str], torch.Tensor, list[str]]:
    """Every usable record, labelled or not: names, (N, 12, 1000) mV at 100 Hz, patients (see `RealRecords`)."""
    names, signals, patients = [], [], []
    for row in manifest_rows(folder):
        try:
            signals.append(torch.from_numpy(ECG.load(Path(folder) / row["record"]).standard().signal))
        except BadECG:
            continue
        names.append(row["record"])
        patients.append(row["patient_id"] or row["record"])
    return names, torch.stack(signals), patients
