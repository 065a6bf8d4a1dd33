"""How well are recorded ECGs read? Labels of real records, AUROC and F1 with intervals, fine-tuning on a few."""

import copy
import csv
import json
import tempfile
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F

from ..config import Training
from ..ecg import ECG
from ..errors import BadArtifact, BadECG
from ..findings import CODES, FINDINGS
from ..language.report_parser import parse_report
from ..simulator.simulate import simulate
from ..training import fit
from .reader import decode_facts, facts, facts_loss
from .reports import macro_f1, table_of

# --- What do cardiologists say about the real records, in our findings?
#
# The records lie outside the repository (see `evaluate.real_folder`). Cardiologists' statements are not our measured
# rules, so only like is compared with like: each finding with its own SCP-ECG or SNOMED CT code
# (`data/findings.json`, plus `ALSO`), and everything about infarction, ischaemia, ST and T as one group, "MI/ST-T",
# because an old infarct is a statement there and a Q wave or an ST level here. A group is scored when at least
# `FEWEST` records carry it.

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
        codes, stated = out.setdefault(name, ([], set()))
        codes.append(row["code"])
        stated |= own
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


def load_real_records(folder: str | Path, fewest: int = FEWEST) -> RealRecords:
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


# --- Does it work on real ECGs? Scores of the reader and the model on labelled records, and what a few of them teach.

REPLAYED, HELD = 5_000_011, 5_000_012  # populations of simulated patients, to replay and to see what is forgotten
TUNING = Training(steps=40, batch=16, lr=4e-4, warmup=4)


def grouped(values: torch.Tensor, codes: list[list[str]]) -> torch.Tensor:
    """Logits or booleans of our findings (N, F) -> of groups (N, G): a group is there when one of its findings is."""
    return torch.stack([values[:, [CODES.index(c) for c in part]].amax(1) for part in codes], 1)


def resampled(patients: list[str], times: int, seed: int = 0) -> torch.Tensor:
    """Bootstrap over patients (Efron and Tibshirani 1993): how often each record counts, (times + 1, N) float.

    The first row counts every record once: the plain score.
    """
    place = {name: i for i, name in enumerate(dict.fromkeys(patients))}
    of = torch.tensor([place[name] for name in patients])
    drawn = torch.randint(len(place), (times, len(place)), generator=torch.Generator().manual_seed(seed))
    count = torch.zeros(times, len(place)).scatter_add_(1, drawn, torch.ones(times, len(place)))
    return torch.cat([torch.ones(1, len(of)), count[:, of]])


def weighted_auroc(logit: torch.Tensor, label: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Area under the ROC curve for each row of weights: (N,), (N,) bool, (R, N) -> (R,), NaN where a class is empty.

    The chance that a positive scores above a negative, ties half (Hanley and McNeil, Radiology 143:29, 1982).
    """
    above = (logit[label][:, None] > logit[~label]).float() + 0.5 * (logit[label][:, None] == logit[~label])  # (P, M)
    positive, negative = weight[:, label], weight[:, ~label]
    return ((positive @ above) * negative).sum(1) / (positive.sum(1) * negative.sum(1))


def weighted_f1(stated: torch.Tensor, label: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """F1 for each row of weights: (N,) bool, (N,) bool, (R, N) -> (R,); NaN where nobody has it and nobody says it."""
    both, either = weight @ (stated & label).float(), weight @ (stated.float() + label.float())
    return 2 * both / either


def _with_intervals(prefix: str, score: str, groups: list[str], scores: torch.Tensor) -> dict[str, float]:
    """Scores (R + 1, G) -> plain figures and 95% intervals, by group and as their mean."""
    table = torch.cat([scores, scores.nanmean(1, keepdim=True)], 1)  # (R + 1, G + 1)
    low, high = table[1:].nanquantile(torch.tensor([0.025, 0.975]), 0)
    names = [f"{prefix}.real_{score}.{g}" for g in groups] + [f"{prefix}.real_macro_{score}"]
    out = {}
    for i, name in enumerate(names):
        out |= {name: table[0, i].item(), f"{name}_low": low[i].item(), f"{name}_high": high[i].item()}
    return out


def auroc_scores(
    logits: torch.Tensor, records: RealRecords, prefix: str = "reader", times: int = 1000, seed: int = 0
) -> dict[str, float]:
    """Logits of our findings (N, F) against the labels.

    Returns:
        `<prefix>.real_auroc.<group>`, `<prefix>.real_macro_auroc`, and each with `_low` and `_high`: 95% intervals of a
        bootstrap over patients.
    """
    weight, value = resampled(records.patients, times, seed), grouped(logits.float(), records.codes)
    scores = [weighted_auroc(value[:, g], records.labels[:, g], weight) for g in range(len(records.groups))]
    return _with_intervals(prefix, "auroc", records.groups, torch.stack(scores, 1))


def f1_scores(
    stated: torch.Tensor, records: RealRecords, prefix: str = "uniecg", times: int = 1000, seed: int = 0
) -> dict[str, float]:
    """What is said of our findings (N, F) bool against the labels; keys as in `auroc_scores`, with `f1`."""
    weight, value = resampled(records.patients, times, seed), grouped(stated, records.codes)
    scores = [weighted_f1(value[:, g], records.labels[:, g], weight) for g in range(len(records.groups))]
    return _with_intervals(prefix, "f1", records.groups, torch.stack(scores, 1))


def counts(records: RealRecords) -> dict[str, float]:
    """`real.labelled`, `real.patients`, `real.left_out`, `real.flagged`, `real.positives.<group>`."""
    return {
        "real.labelled": len(records.names),
        "real.patients": len(set(records.patients)),
        "real.left_out": len(records.left_out),
        "real.flagged": len(records.flagged),
        **{f"real.positives.{g}": n for g, n in zip(records.groups, records.labels.sum(0).tolist())},
    }


@torch.no_grad()
def reader_logits(reader, signal: torch.Tensor, batch: int = 128) -> torch.Tensor:
    """The reader's finding logits (N, F) of (N, 12, 1000) mV."""
    device = next(reader.parameters()).device
    return decode_facts(torch.cat([reader.eval()(part.to(device)).float().cpu() for part in signal.split(batch)]))[1]


def statements_of(model, signal: torch.Tensor) -> torch.Tensor:
    """The findings in the model's reports of (N, 12, 1000) mV: (N, F) bool."""
    from .chain import reports

    return table_of([parse_report(text) for text in reports(model, signal)])


def gallery(stated: torch.Tensor, records: RealRecords, most: int = 6) -> list[dict]:
    """The worst failures, worst first: what is said of our findings (N, F) bool against the labels.

    A rare group missed or invented weighs more than a common one (one over its number of positives). Each is a dict:
    record, signal (12, 1000) mV, label, said, missed, invented (lists of groups).
    """
    value = grouped(stated, records.codes)
    wrong = value != records.labels  # (N, G)
    badness = (wrong.float() / records.labels.sum(0)).sum(1)
    worst = badness.argsort(descending=True, stable=True)[:most].tolist()

    def named(mask: torch.Tensor) -> list[str]:
        return [g for g, there in zip(records.groups, mask.tolist()) if there]

    return [
        {
            "record": records.names[i],
            "signal": records.signal[i],
            "label": named(records.labels[i]),
            "said": named(value[i]),
            "missed": named(records.labels[i] & ~value[i]),
            "invented": named(value[i] & ~records.labels[i]),
        }
        for i in worst
        if wrong[i].any()
    ]


def folds_of(records: RealRecords, folds: int, seed: int) -> torch.Tensor:
    """A fold for each record, (N,): patients stay together, and each group is spread over the folds."""
    names = list(dict.fromkeys(records.patients))
    patient = torch.tensor([names.index(p) for p in records.patients])
    rarity = records.labels.float() / records.labels.sum(0)  # (N, G)
    mixed = torch.rand(len(names), generator=torch.Generator().manual_seed(seed))
    kind = torch.zeros(len(names)).scatter_reduce_(0, patient, 1 + rarity.argmax(1).float(), "amax")
    order = (kind + 0.5 * mixed).argsort()
    fold = torch.empty(len(names), dtype=torch.long)
    fold[order] = torch.arange(len(names)) % folds
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

    def loss(step, generator):
        real = rows[torch.randint(len(rows), (plan.batch,), generator=generator)]
        old = torch.randint(replay, (plan.batch,), generator=generator)
        predicted = reader(torch.cat([records.signal[real], known.signal[old]]).to(device)).float()
        group = grouped(decode_facts(predicted[: plan.batch])[1], records.codes)
        new = F.binary_cross_entropy_with_logits(group, labels[real].to(device), pos_weight=rare)
        return 3 * new + facts_loss(predicted[plan.batch :], table[old].to(device))

    with tempfile.TemporaryDirectory() as folder:
        fit("fine-tuning", {"reader": reader}, loss, plan, seed=seed, folder=folder)
    return reader.requires_grad_(False).eval()


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
        `finetune.before.simulated_f1` and `finetune.after.simulated_f1` on simulated patients; `finetune.records`.
    """
    records = load_real_records(folder)
    held = simulate(HELD, torch.arange(simulated))
    truth = held.truth["findings"].bool()
    before = reader_logits(reader, records.signal)
    out = {"finetune.records": round(len(records.names) * (1 - 1 / folds)), "finetune.folds": folds}
    out |= auroc_scores(before, records, "finetune.before", times) | f1_scores(
        before > 0, records, "finetune.before", times
    )
    after, kept = {"auroc": [], "f1": []}, []
    for seed in seeds:
        fold, logits = folds_of(records, folds, seed), torch.empty_like(before)
        for f in range(folds):
            model = tuned(reader, records, (fold != f).nonzero()[:, 0], plan, seed * folds + f, simulated)
            logits[fold == f] = reader_logits(model, records.signal[fold == f])
            kept.append(macro_f1(reader_logits(model, held.signal) > 0, truth))
        scores = auroc_scores(logits, records, "finetune.after", times) | f1_scores(
            logits > 0, records, "finetune.after", times
        )
        out |= scores if seed == seeds[0] else {}
        for kind, values in after.items():
            values.append(scores[f"finetune.after.real_macro_{kind}"])
            out[f"finetune.after.macro_{kind}.seed{seed}"] = values[-1]
    for kind, values in after.items():
        gains = [v - out[f"finetune.before.real_macro_{kind}"] for v in values]
        out[f"finetune.after.macro_{kind}"] = sum(values) / len(values)
        out |= {f"finetune.gain.macro_{kind}": sum(gains) / len(gains)}
        out |= {f"finetune.gain.macro_{kind}_lowest": min(gains), f"finetune.gain.macro_{kind}_highest": max(gains)}
    out["finetune.before.simulated_f1"] = macro_f1(reader_logits(reader, held.signal) > 0, truth)
    out["finetune.after.simulated_f1"] = sum(kept) / len(kept)
    return out
