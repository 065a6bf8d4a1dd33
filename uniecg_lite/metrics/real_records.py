"""How well are recorded ECGs read? Labels of real records in our findings, AUROC and F1 with intervals, fine-tuning.

The records lie outside the repository (see `chain.real_folder`). Cardiologists' statements are not our measured rules,
so only like is compared with like: each finding with its own SCP-ECG or SNOMED CT code (`data/findings.json`, plus
`ALSO`), and everything about infarction, ischaemia, ST and T as one group, "MI/ST-T", because an old infarct is a
statement there and a Q wave or an ST level here. A group is scored when at least `FEWEST` records carry it.
"""

import copy
import csv
import json
import tempfile
from itertools import compress
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F

from ..config import Training
from ..ecg import ECG
from ..errors import BadArtifact, BadECG
from ..findings import CODES, FINDINGS, table
from ..simulator.simulate import simulate
from ..training import TrainingLoop
from .reader import decode_facts, facts, facts_loss
from .reports import weighted_f1

FEWEST = 3
ISCHAEMIA = "MI/ST-T"
LIKELY = (0, 50)  # percent: PTB-XL statements of likelihood 0 (none given) or from 50 on count
LEFT_OUT = ("paediatric",)  # flags of records that are not scored: the simulated patients are adults
# Group -> statements beside those of data/findings.json that mean the same: high voltage is our criterion of LVH too;
# unspecific changes of ST and T (NST_, NDT, TAB_) count, a flat T (LOWT, NT_) does not, since we never call it.
ALSO = table("real_statements")
REPLAYED, HELD = 5_000_011, 5_000_012  # populations of simulated patients, to replay and to see what is forgotten
TUNING = Training(steps=40, batch=16, lr=4e-4, warmup=4)


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
        scp, code = row["scp"], row["code"]
        name = ISCHAEMIA if row["group"] == "ischaemia" else by_scp.setdefault(scp or code, code)
        codes, stated = out.setdefault(name, ([], set(ALSO.get(name, ()))))
        codes.append(code)
        stated |= {scp, *row["snomed"]} - {None, ""}
    return out


def statements(row: dict[str, str]) -> set[str]:
    """The statements of one manifest row that count: SCP-ECG by `LIKELY`, SNOMED CT all."""
    scp = json.loads(row["scp_codes"] or "{}")
    likely = {code for code, percent in scp.items() if percent == LIKELY[0] or percent >= LIKELY[1]}
    return likely | set(filter(None, row["snomed_dx"].split(";")))


def _labels(row: dict[str, str], groups: dict[str, tuple[list[str], set[str]]]) -> dict[str, bool]:
    """Group -> whether this record carries it. As in our truth, a sinus rhythm has one rate, and a normal ECG is
    normal throughout: the manifest puts it into no other group, and its rhythm is SR."""
    stated = statements(row)
    out = {name: bool(stated & wanted) for name, (_, wanted) in groups.items()}
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


def load_signals(folder: str | Path, names: list[str]) -> tuple[list[str], torch.Tensor, dict[str, str]]:
    """The usable ones of these records: names, (N, 12, 1000) mV at 100 Hz; and why each other one is refused.

    Raises:
        BadECG: not one of them can be used.
    """
    signals, refused = {}, {}
    for name in names:
        try:
            signals[name] = torch.from_numpy(ECG.load(Path(folder) / name).standard().signal)
        except BadECG as reason:
            refused[name] = str(reason)
    if not signals:
        why = "".join(f" ({name}: {reason})" for name, reason in list(refused.items())[:1])
        raise BadECG(f"None of {len(names)} records in {folder} can be used{why}: choose a folder of readable records.")
    return list(signals), torch.stack(list(signals.values())), refused


def _patients(rows: dict[str, dict[str, str]], names: list[str]) -> list[str]:
    return [rows[name]["patient_id"] or name for name in names]


def load_real_records(folder: str | Path, fewest: int = FEWEST) -> RealRecords:
    """Labelled records of a folder with a `manifest.csv`, and the groups that at least `fewest` of them carry.

    Raises:
        BadArtifact: no manifest, or no group has enough records.
        BadECG: no record can be used.
    """
    rows = {row["record"]: row for row in manifest_rows(folder) if row["label_group"] != "unlabelled"}
    reasons = {
        name: next((flag for flag in LEFT_OUT if flag in row["flags"]), "" if statements(row) else "no statements")
        for name, row in rows.items()
    }
    names, signal, refused = load_signals(folder, [name for name in rows if not reasons[name]])
    left_out = {name: reason for name in rows if (reason := reasons[name] or refused.get(name))}
    groups = groups_of_findings()
    labels = [_labels(rows[name], groups) for name in names]
    scored = [g for g in groups if sum(one[g] for one in labels) >= fewest]
    if not scored:
        raise BadArtifact(f"No finding has {fewest} labelled records in {folder}: give more records.")
    return RealRecords(
        names=names,
        signal=signal,
        labels=torch.tensor([[one[g] for g in scored] for one in labels]),
        groups=scored,
        codes=[groups[g][0] for g in scored],
        patients=_patients(rows, names),
        left_out=left_out,
        flagged={name: rows[name]["flags"] for name in names if rows[name]["flags"]},
    )


def real_signals(folder: str | Path) -> tuple[list[str], torch.Tensor, list[str], dict[str, str]]:
    """Every usable record, labelled or not: names, (N, 12, 1000) mV at 100 Hz, patients (see `RealRecords`); and why
    each other record is refused.

    Raises:
        BadArtifact: no manifest.
        BadECG: no record can be used.
    """
    rows = {row["record"]: row for row in manifest_rows(folder)}
    names, signal, refused = load_signals(folder, list(rows))
    return names, signal, _patients(rows, names), refused


def grouped(values: torch.Tensor, codes: list[list[str]]) -> torch.Tensor:
    """Logits or booleans of our findings (N, F) -> of groups (N, G): a group is there when one of its findings is."""
    return torch.stack([values[:, [CODES.index(c) for c in part]].amax(1) for part in codes], 1)


def patient_index(patients: list) -> torch.Tensor:
    """The patients of N records by name -> (N,) their numbers, in the order in which they first come."""
    place = {name: i for i, name in enumerate(dict.fromkeys(patients))}
    return torch.tensor([place[name] for name in patients])


def resampled(patients: list[str], times: int, seed: int = 0) -> torch.Tensor:
    """Bootstrap over patients (Efron and Tibshirani 1993): how often each record counts, (times + 1, N) float.

    The first row counts every record once: the plain score.
    """
    of = patient_index(patients)
    n = int(of.max()) + 1
    drawn = torch.randint(n, (times, n), generator=torch.Generator().manual_seed(seed))
    count = torch.zeros(times, n).scatter_add_(1, drawn, torch.ones(times, n))
    return torch.cat([torch.ones(1, len(of)), count[:, of]])


def weighted_auroc(logit: torch.Tensor, label: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Area under the ROC curve for each row of weights: (N,), (N,) bool, (R, N) -> (R,), NaN where a class is empty.

    The chance that a positive scores above a negative, ties half (Hanley and McNeil, Radiology 143:29, 1982).
    """
    above = (logit[label][:, None] > logit[~label]).float() + 0.5 * (logit[label][:, None] == logit[~label])  # (P, M)
    positive, negative = weight[:, label], weight[:, ~label]
    return ((positive @ above) * negative).sum(1) / (positive.sum(1) * negative.sum(1))


def _with_intervals(score: str, function, value: torch.Tensor, records: RealRecords, times: int, seed: int) -> dict:
    """A score of each group from values (N, G), and their mean: plain figures and 95% intervals."""
    weight = resampled(records.patients, times, seed)  # (R + 1, N)
    scores = torch.stack([function(v, label, weight) for v, label in zip(value.T, records.labels.T)], 1)  # (R + 1, G)
    scores = torch.cat([scores, scores.nanmean(1, keepdim=True)], 1)
    low, high = scores[1:].nanquantile(torch.tensor([0.025, 0.975]), 0)
    out = {}
    for i, name in enumerate([*(f"real_{score}.{g}" for g in records.groups), f"real_macro_{score}"]):
        out |= {name: scores[0, i].item(), f"{name}_low": low[i].item(), f"{name}_high": high[i].item()}
    return out


def auroc_scores(
    logits: torch.Tensor, records: RealRecords, prefix: str = "reader", times: int = 1000, seed: int = 0
) -> dict[str, float]:
    """Logits of our findings (N, F) against the labels.

    Returns:
        `<prefix>.real_auroc.<group>`, `<prefix>.real_macro_auroc`, and each with `_low` and `_high`: 95% intervals of a
        bootstrap over patients.
    """
    value = grouped(logits.float(), records.codes)
    found = _with_intervals("auroc", weighted_auroc, value, records, times, seed)
    return {f"{prefix}.{name}": figure for name, figure in found.items()}


def f1_scores(
    stated: torch.Tensor, records: RealRecords, prefix: str = "uniecg", times: int = 1000, seed: int = 0
) -> dict[str, float]:
    """What is said of our findings (N, F) bool against the labels; keys as in `auroc_scores`, with `f1`."""
    found = _with_intervals("f1", weighted_f1, grouped(stated, records.codes), records, times, seed)
    return {f"{prefix}.{name}": figure for name, figure in found.items()}


def counts(records: RealRecords) -> dict[str, float]:
    """`real.labelled`, `real.patients`, `real.left_out`, `real.flagged`, `real.positives.<group>`."""
    return {
        "real.labelled": len(records.names),
        "real.patients": len(set(records.patients)),
        "real.left_out": len(records.left_out),
        "real.flagged": len(records.flagged),
        **{f"real.positives.{g}": n for g, n in zip(records.groups, records.labels.sum(0).tolist())},
    }


def gallery(stated: torch.Tensor, records: RealRecords, most: int = 6) -> list[dict]:
    """The worst failures, worst first: what is said of our findings (N, F) bool against the labels.

    A rare group missed or invented weighs more than a common one (one over its number of positives). Each is a dict:
    record, signal (12, 1000) mV, label, said, missed, invented (lists of groups).
    """
    value, label = grouped(stated, records.codes), records.labels
    wrong = value != label  # (N, G)
    badness = (wrong.float() / label.sum(0)).sum(1)
    kinds = {"label": label, "said": value, "missed": label & ~value, "invented": value & ~label}
    return [
        {"record": records.names[i], "signal": records.signal[i]}
        | {kind: list(compress(records.groups, there[i])) for kind, there in kinds.items()}
        for i in badness.argsort(descending=True, stable=True)[:most].tolist()
        if wrong[i].any()
    ]


def folds_of(records: RealRecords, folds: int, seed: int) -> torch.Tensor:
    """A fold for each record, (N,): patients stay together, and each group is spread over the folds."""
    patient = patient_index(records.patients)
    n = int(patient.max()) + 1
    rarity = records.labels.float() / records.labels.sum(0)  # (N, G)
    mixed = torch.rand(n, generator=torch.Generator().manual_seed(seed))
    kind = torch.zeros(n).scatter_reduce_(0, patient, 1 + rarity.argmax(1).float(), "amax")
    fold = torch.empty(n, dtype=torch.long)
    fold[(kind + 0.5 * mixed).argsort()] = torch.arange(n) % folds
    return fold[patient]


def tuned(reader, records: RealRecords, rows: torch.Tensor, plan: Training = TUNING, seed: int = 0, replay: int = 256):
    """A copy of the reader trained on these real records, half of each batch being simulated patients it knows.

    The loss of a real record is the cross-entropy of the groups; of a simulated one `facts_loss`.
    """
    reader = copy.deepcopy(reader).requires_grad_(True).train()
    device = next(reader.parameters()).device
    known = simulate(REPLAYED + seed, torch.arange(replay))
    table, labels = facts(known.truth), records.labels.float()
    share = labels[rows].mean(0).clamp(0.02, 0.98)
    rare = ((1 - share) / share).sqrt().to(device)  # a rare group weighs more, so that it gets said at all
    with tempfile.TemporaryDirectory() as folder:
        for step in TrainingLoop({"reader": reader}, plan, seed, folder, "fine-tuning"):
            real = rows[torch.randint(len(rows), (plan.batch,), generator=step.generator)]
            old = torch.randint(replay, (plan.batch,), generator=step.generator)
            predicted = reader(torch.cat([records.signal[real], known.signal[old]]).to(device)).float()
            group = grouped(decode_facts(predicted[: plan.batch])[1], records.codes)
            new = F.binary_cross_entropy_with_logits(group, labels[real].to(device), pos_weight=rare)
            step.learn(3 * new + facts_loss(predicted[plan.batch :], table[old].to(device)))
    return reader.eval()


def fine_tune(
    reader, folder, seeds=(0, 1, 2), folds: int = 2, plan: Training = TUNING, times: int = 1000, simulated: int = 256
) -> dict[str, float]:
    """What a few real records teach: the reader before and after, always scored on records it was not tuned on.

    With two folds each tuning sees about 45 records. Every seed splits the patients anew; so many `simulated` patients
    are replayed, and as many others show what is forgotten. `times`: of the bootstrap.

    Returns:
        `finetune.before.real_macro_auroc` and so on, as in `auroc_scores` and `f1_scores`, and the same for `after`
        (seed 0); `finetune.after.macro_auroc.seed<k>` and `.macro_f1.seed<k>` for every seed, their means
        `finetune.after.macro_auroc` and `.macro_f1`; `finetune.gain.macro_auroc`, `_lowest`, `_highest` over seeds;
        `finetune.before.simulated_f1` and `finetune.after.simulated_f1` on simulated patients, means over the same
        groups; `finetune.records`.
    """
    records = load_real_records(folder)
    held = simulate(HELD, torch.arange(simulated))
    groups = grouped(held.truth["findings"].bool(), records.codes)
    names = [str(i) for i in range(simulated)]
    known = records._replace(names=names, patients=names, signal=held.signal, labels=groups)

    def on_simulated(model) -> float:
        return f1_scores(model.read(held.signal)[1], known, times=1)["uniecg.real_macro_f1"]

    def scores(logits: torch.Tensor, when: str) -> dict[str, float]:
        prefix = f"finetune.{when}"
        return auroc_scores(logits, records, prefix, times) | f1_scores(logits > 0, records, prefix, times)

    before = reader.predict(records.signal)[1]
    out = {"finetune.records": round(len(records.names) * (1 - 1 / folds)), "finetune.folds": folds}
    out |= scores(before, "before")
    kept = []
    for seed in seeds:
        fold, logits = folds_of(records, folds, seed), torch.empty_like(before)
        for f in range(folds):
            model = tuned(reader, records, (fold != f).nonzero()[:, 0], plan, seed * folds + f, simulated)
            logits[fold == f] = model.predict(records.signal[fold == f])[1]
            kept.append(on_simulated(model))
        after = scores(logits, "after")
        out |= after if seed == seeds[0] else {}
        for kind in ("auroc", "f1"):
            out[f"finetune.after.macro_{kind}.seed{seed}"] = after[f"finetune.after.real_macro_{kind}"]
    for kind in ("auroc", "f1"):
        values = [out[f"finetune.after.macro_{kind}.seed{seed}"] for seed in seeds]
        gains = [value - out[f"finetune.before.real_macro_{kind}"] for value in values]
        out[f"finetune.after.macro_{kind}"] = sum(values) / len(values)
        out[f"finetune.gain.macro_{kind}"] = sum(gains) / len(gains)
        out |= {f"finetune.gain.macro_{kind}_lowest": min(gains), f"finetune.gain.macro_{kind}_highest": max(gains)}
    out["finetune.before.simulated_f1"] = on_simulated(reader)
    out["finetune.after.simulated_f1"] = sum(kept) / len(kept)
    return out
