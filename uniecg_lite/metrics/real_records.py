"""How well are real records read? What was read against what their source states, and only where that is known.

Labels are those of `real_labels`, so a folder and a split of a cohort are scored alike. The rhythms that are a sinus
rhythm of some rate (`BY_RATE`) follow the measured rate, since sources draw that line elsewhere; what the label makes
of them stands beside. An infarct of no given age counts for its wall. Intervals are of a bootstrap over patients.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ..cohort import SPLITS, Cohort, in_memory
from ..errors import BadArtifact, BadECG, BadRequest, refused, require
from ..findings import CODES, LIMITS
from ..language.report_parser import parse_report
from ..leads import LEADS
from ..real_cohorts import real_rows
from ..real_labels import THERE, UNKNOWN, group_label
from .reports import UNREAD, table_of

FEWEST = 20  # records with a finding, for the means over findings
BY_RATE = ("SR", "SBRAD", "STACH")
WALLS = {"anterior infarct": ("STE_ANT", "Q_ANT"), "inferior infarct": ("STE_INF", "Q_INF")}
DETECTORS = ("neurokit", "pantompkins1985")  # of beats: by steepness; Pan and Tompkins, IEEE TBME 32:230, 1985
AGREE = 0.1  # of the faster rate, how far two detectors may be apart
TABLES = {"ptbxl_database": "ptbxl", "machine_measurements": "mimic-iv-ecg", "labels": "folder", "manifest": "folder"}


def load_records(folder: str | Path, split: str | None = None) -> Cohort:
    """All usable records of a folder of a real data set (see `real_cohorts`), or of one split of it, in memory.

    Raises:
        BadArtifact: no record is there.
        BadECG: none can be used.
        BadRequest: no such split.
    """
    require(split in (None, *SPLITS), f"There is no split '{split}': choose {', '.join(SPLITS)}.", BadRequest)
    kind = next((kind for name, kind in TABLES.items() if any(Path(folder).rglob(f"{name}.csv"))), "cinc2021")
    return in_memory(real_rows(kind, Path(folder), 10**9, only=split))


def reference_rates(signal: Tensor) -> Tensor:
    """(N, 12, 1000) mV at 100 Hz -> (N,) bpm by the first of neurokit2's `DETECTORS` in lead II, NaN where disputed.

    Raises:
        BadRequest: neurokit2 is not installed.
    """
    with refused("Reference rates need neurokit2: pip install 'uniecg-lite[bench]'.", BadRequest, ImportError):
        import neurokit2
    rates = np.full((2, len(signal)), np.nan)
    for row, method in enumerate(DETECTORS):
        for column, lead in enumerate(signal[:, LEADS.index("II")].numpy()):
            try:
                clean = neurokit2.ecg_clean(lead, 100, method=method)
                beats = neurokit2.ecg_peaks(clean, 100, method=method)[1]["ECG_R_Peaks"]
                rates[row, column] = 6000 / np.diff(beats).mean() if len(beats) > 1 else np.nan
            except (IndexError, ValueError, ZeroDivisionError):  # a lead without beats
                continue
    return torch.from_numpy(_undisputed(*rates)).float()


def _undisputed(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The first of two rates (N,), NaN where they disagree."""
    return np.where(abs(one - other) <= AGREE * np.maximum(one, other), one, np.nan)


def rated_records(folder: str | Path) -> tuple[Cohort, Tensor, int]:
    """The records of a folder whose `manifest.csv` gives an undisputed rate, labelled or not.

    Returns:
        The records, their rates (N,) in bpm, and how many others cannot be read.

    Raises:
        BadArtifact: no manifest.
        BadECG: not one of them can be used.
    """
    manifest = Path(folder) / "manifest.csv"
    missing = f"There is no {manifest}: point UNIECG_REAL_ECG at a folder of real records with a manifest."
    require(manifest.exists(), missing, BadArtifact)
    rows = pd.read_csv(manifest, dtype={"record": str}).set_index("record")
    both = [pd.to_numeric(rows[f"hr_bpm_nk{end}"], errors="coerce") for end in ("", "_pantompkins")]
    rates, cohort = pd.Series(_undisputed(*both), rows.index).dropna(), load_records(folder)
    names = pd.Index(cohort.column("record"))
    kept = np.flatnonzero(names.isin(rates.index))
    require(len(kept), f"No record in {folder} that can be read has an undisputed rate: choose another folder.", BadECG)
    rate = torch.tensor(rates[names[kept]].to_numpy()).float()
    return Cohort(cohort.table.select(kept)), rate, len(rates) - len(kept)


def resampled(patients: list[str], times: int = 1000, seed: int = 0) -> Tensor:
    """Bootstrap over patients (Efron and Tibshirani 1993): how often each of N records counts, (times + 1, N) float.

    The first row counts every record once: the plain score.
    """
    of, names = pd.factorize(np.array(patients))
    drawn = torch.randint(len(names), (times, len(names)), generator=torch.Generator().manual_seed(seed))
    count = torch.zeros(times, len(names)).scatter_add_(1, drawn, torch.ones(times, len(names)))
    return torch.cat([torch.ones(1, len(of)), count[:, of]])


def weighted_auroc(logit: Tensor, label: Tensor, weight: Tensor) -> Tensor:
    """Area under the ROC curve for each row of weights: (N,), (N,) bool, (R, N) -> (R,), NaN where a class is empty.

    The chance that a positive scores above a negative, ties half (Hanley and McNeil, Radiology 143:29, 1982).
    """
    above = (logit[label][:, None] > logit[~label]).float() + 0.5 * (logit[label][:, None] == logit[~label])  # (P, M)
    positive, negative = weight[:, label], weight[:, ~label]
    return ((positive @ above) * negative).sum(1) / (positive.sum(1) * negative.sum(1))


def labels_by_rate(label: Tensor, rate: Tensor) -> Tensor:
    """Labels (N, F) whose one of `BY_RATE`, if any, is that of the rate (N,) in bpm; as they are where that is NaN."""
    columns, (slow, fast) = [CODES.index(code) for code in BY_RATE], (LIMITS[c]["rate_bpm"][0] for c in BY_RATE[1:])
    of_rate = torch.stack([(rate >= slow) & (rate <= fast), rate < slow, rate > fast], 1)
    stated, out = label[:, columns], label.clone()
    out[:, columns] = torch.where(rate.isnan()[:, None], stated, stated.any(1, keepdim=True) & of_rate)
    return out


def label_table(cohort: Cohort, rate: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """Row of `finding_table` -> labels and whether they are known, (N,) bool each; rates (N,) are in bpm.

    One of `BY_RATE` is unknown where the rate is, or is within the tolerance of a limit.
    """
    truth, states = cohort.truth(), [text.split("; ") if text else [] for text in cohort.column("statements")]
    label, known = truth["findings"].bool(), truth["known"][:, : len(CODES)].bool()
    stated = {f"{code} as labelled": (label[:, i], known[:, i]) for i, code in enumerate(CODES) if code in BY_RATE}
    (slow, near), (fast, _) = (LIMITS[code]["rate_bpm"] for code in BY_RATE[1:])
    sure = torch.stack([(rate - limit).abs() > near for limit in (slow, fast)]).all(0)  # False where there is no rate
    sure |= ~torch.stack([there for there, _ in stated.values()]).any(0)
    out = {code: (one, known[:, i]) for i, (code, one) in enumerate(zip(CODES, labels_by_rate(label, rate).T))}
    out |= {code: (out[code][0], out[code][1] & sure) for code in BY_RATE}
    walls = {name: torch.tensor([group_label(one, codes) for one in states]) for name, codes in WALLS.items()}
    return out | {name: (values == THERE, values != UNKNOWN) for name, values in walls.items()} | stated


def finding_table(
    cohort: Cohort, stated: Tensor, rate: Tensor, logits: Tensor | None = None, times: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """What was read of N real records against their labels, finding by finding; an unknown label counts nowhere.

    Args:
        cohort: the records.
        stated: (N, F) bool, which findings were read.
        rate: (N,) bpm, see `reference_rates`.
        logits: (N, F) of the same, for a column `auroc`.
        times: how often patients are drawn again.
        seed: of that.

    Returns:
        A row for each finding that a record has, and "macro", the mean of those that `FEWEST` have, without "as
        labelled"; columns n (of "macro": findings), sensitivity, specificity, f1, each with `_low` and `_high`.
    """
    rows, weight = label_table(cohort, rate), resampled(cohort.column("patient"), times, seed)
    label, known = (torch.stack(part, 1) for part in zip(*rows.values()))  # (N, R)
    places = [[CODES.index(one) for one in WALLS.get(name, (name.split()[0],))] for name in rows]
    stated = torch.stack([stated[:, place].any(1) for place in places], 1)
    there, absent = label & known, ~label & known
    positive, negative = weight @ there.float(), weight @ absent.float()  # (times + 1, R)
    hits, passed = weight @ (there & stated).float(), weight @ (absent & ~stated).float()
    found = {"sensitivity": hits / positive, "specificity": passed / negative}
    found["f1"] = 2 * hits / (hits + positive + negative - passed)
    if logits is not None:
        columns = zip([logits[:, place].amax(1) for place in places], label.T, known.T)
        found["auroc"] = torch.stack([weighted_auroc(z[k], y[k], weight[:, k]) for z, y, k in columns], 1)
    enough = (there.sum(0) >= FEWEST) & torch.tensor(["labelled" not in name for name in rows])
    table = pd.DataFrame({"n": [*there.sum(0).tolist(), int(enough.sum())]}, index=[*rows, "macro"])
    for name, values in found.items():
        values = torch.cat([values, values[:, enough].nanmean(1, keepdim=True)], 1)
        low, high = values[1:].nanquantile(torch.tensor([0.025, 0.975]), 0)
        table[[name, f"{name}_low", f"{name}_high"]] = torch.stack([values[0], low, high], 1).numpy()
    return table[(table.n > 0) | (table.index == "macro")]


def rate_errors(stated: Tensor, rate: Tensor) -> dict[str, float]:
    """Rates that were read, (N,) bpm, against undisputed ones; no rate counts as 80 bpm."""
    error = (stated.nan_to_num(UNREAD["rate_bpm"]) - rate).abs()[~rate.isnan()]
    off = (error > 5).float().mean().item()
    return {"rates": len(error), "rate_median_error_bpm": error.median().item(), "rate_share_off_by_5_bpm": off}


def report_tables(cohort: Cohort, texts: list[str], rate: Tensor) -> dict[str, tuple[pd.DataFrame, dict[str, float]]]:
    """`finding_table` and `rate_errors` of N reports: of "all", and of those apart whose labels are of one origin."""
    stated, origins = [parse_report(text) for text in texts], np.array(cohort.column("labels_from"))
    found, rates = table_of(stated), torch.tensor([r.rate_bpm for r in stated])
    rows = {"all": np.arange(len(origins))} | {name: np.flatnonzero(origins == name) for name in sorted({*origins})}
    return {
        name: (finding_table(Cohort(cohort.table.select(at)), found[at], rate[at]), rate_errors(rates[at], rate[at]))
        for name, at in rows.items()
    }
