"""Study `simreal`: what do simulated records buy when recorded ones are read, beside few real ones or many?

Encoders (by the facts of notebook 02 alone), independent reader, alignment and stage 1 learn from the same records, by
the profile's steps, from the run's language model; the split of the real data set that nothing learns from is scored. A
real record is drawn `REPEATS` times as often as a simulated one, and learned as it is scored (`taught`); what its
source leaves open the encoders' probes fill in before a report is made of it (`filled`). Rates are scored by other
detectors. Questions are those of `Corpus` about one record (`qa.*`; aims of `mixed`: verify 0.75,
choose 0.57, query 0.41), and published ones (`ecgqa.*`).
"""

import math
import os
import random
from dataclasses import asdict
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from ..beats import heart_rate
from ..checkpoints import new_encoders
from ..cohort import SPLITS, Cohort, in_memory
from ..ecg_image import raster
from ..encoders import FRONT, GRIDS, GROUPS, MEASURED, FactProbes, grid, place_on_grid, targets
from ..errors import BadRequest, require
from ..findings import CODES, FACTS
from ..language.conversations import Corpus
from ..language.questions import QUESTION_TYPES, Question, ecg_qa
from ..llm import load_llm
from ..metrics.chain import reports
from ..metrics.qa import answers, qa_scores
from ..metrics.reader import Reader, facts, facts_loss
from ..metrics.real_records import WALLS, finding_table, label_table, labels_by_rate, reference_rates, report_tables
from ..model import UniECG
from ..real_cohorts import cohort_rows
from ..stages import CachedTokens
from ..store import Store
from ..training import TrainingLoop, device_and_why
from .real import best_threshold
from .study import file_hash, hashes
from .systems import train_once, train_reading, trivial_report

REPEATS = 10
SHARES = {  # variant: whether simulated records are learned from, and the share of the real training patients
    "simulated": (True, 0.0), "mixed10": (True, 0.1), "mixed": (True, 1.0), "real10": (False, 0.1),
    "real": (False, 1.0), "random": (True, 1.0), "blind": (True, 1.0), "majority": (False, 1.0),
}  # fmt: skip
QUESTIONS = 600
ENOUGH = 5  # validation records with a finding, to choose a threshold from
SINGLE = ("LVH", "inferior infarct", "CLBBB", "CRBBB")  # findings whose scores are kept one by one


def sources() -> dict[str, Path]:
    """`ptbxl`: the table of the folder in PTB-XL's layout that `UNIECG_PTBXL` names; `ecg_qa`: a file of published
    questions about its records, if `UNIECG_ECG_QA` names one.

    Raises:
        BadRequest: `UNIECG_PTBXL` is not set, or names no such folder.
    """
    folder, questions = os.environ.get("UNIECG_PTBXL"), os.environ.get("UNIECG_ECG_QA")
    found = sorted(Path(folder).rglob("ptbxl_database.csv")) if folder else []
    advice = "Study 'simreal' needs real records: set UNIECG_PTBXL to a folder with PTB-XL's ptbxl_database.csv."
    require(found, advice, BadRequest)
    return {"ptbxl": found[0]} | ({"ecg_qa": Path(questions)} if questions else {})


def settings(store: Store, variant: str) -> dict:
    """What a cell depends on: records and their shares, trainings, questions, and the language model it starts from."""
    P, files = store.profile, {name: file_hash(path) for name, path in sources().items()}
    plans = {name: asdict(getattr(P, name)) for name in ("encoders", "reader", "alignment", "stage1")}
    out = {"records": P.records, "shares": list(SHARES[variant]), "repeats": REPEATS, "questions": QUESTIONS}
    return out | {"plans": plans, "inputs": hashes(store, "language") | files}


class Records:
    """Simulated and real records in memory: what is learned from, and the real ones of each split."""

    def __init__(self, store: Store):
        self.store, source = store, f"simulated,ptbxl={sources()['ptbxl'].parent}"
        both = in_memory(cohort_rows(0, 2 * store.profile.records, source))
        split, real = np.array(both.column("split")), np.array(both.column("labels_from")) != "simulator"
        self.train, self.is_real = Cohort(both.table.select(np.flatnonzero(split == "train"))), real[split == "train"]
        self.truth, own = self.train.truth(), np.flatnonzero(self.is_real)
        for name, values in taught(Cohort(self.train.table.select(own))).items():
            self.truth[name][own] = values.to(self.truth[name].dtype)
        self.real = {name: Cohort(both.table.select(np.flatnonzero(real & (split == name)))) for name in SPLITS}
        test = self.real["test"]
        self.rates = reference_rates(test.signal(range(len(test))))  # (N,) bpm

    def drawn(self, variant: str, seed: int) -> torch.Tensor:
        """Rows of `train` that a variant learns from, (M,), real ones `REPEATS` times; few are drawn by patient."""
        simulated, share = SHARES[variant]
        people = np.array(self.train.column("patient"))
        everyone = sorted({*people[self.is_real]})
        few = random.Random(seed).sample(everyone, math.ceil(share * len(everyone)))
        own = np.flatnonzero(self.is_real & np.isin(people, few))
        return torch.from_numpy(np.concatenate([np.flatnonzero(~self.is_real & simulated), *[own] * REPEATS]))

    @cached_property
    def questions(self) -> dict[str, list[Question]]:
        """About real test records alone, ecg_id are rows: `qa`, by the known labels, and `ecgqa`, published ones."""
        test, labels, rng = self.real["test"], label_table(self.real["test"], self.rates), random.Random(0)
        truth, (label, known) = test.truth(), (torch.stack(x, 1) for x in zip(*(labels[code] for code in CODES)))
        truth["findings"], truth["known"][:, : len(CODES)] = label & known, known
        corpus, single = Corpus(truth), [name for name in QUESTION_TYPES if name.startswith("single")]
        path, rows = sources().get("ecg_qa"), {name: row for row, name in enumerate(test.column("record"))}
        drawn = [corpus.asked(rng, "unseen", single) for _ in range(QUESTIONS)]
        return {"qa": drawn, "ecgqa": ecg_qa(path, rows) if path else []}


def taught(cohort: Cohort) -> dict[str, torch.Tensor]:
    """What is learned about N real records, so that it is what is asked: findings (N, F), rate_bpm (N,), known.

    Rates are measured by rule, since else recorded ECGs are learned to have none, and SR, SBRAD and STACH follow them.
    An infarct of no given age, in which neither ST nor Q waves are known, is an old one of its wall.
    """
    truth, rate = cohort.truth(), heart_rate(cohort.signal(range(len(cohort))), 100.0)
    found, known = labels_by_rate(truth["findings"].bool(), rate), truth["known"].bool()
    known[:, FACTS.index("rate_bpm")] = ~rate.isnan()
    rows = label_table(cohort, rate)
    for name, codes in WALLS.items():
        (label, stated), (new, old) = rows[name], map(CODES.index, codes)
        acute = found[:, new] & known[:, new]
        found[:, old] = torch.where(acute, found[:, old], label)
        known[:, old] = torch.where(acute, known[:, old], stated)
    return {"findings": found, "rate_bpm": rate, "known": known}


def measure(room: Records, variant: str, seed: int, folder: Path) -> dict[str, float]:
    """Train one cell, and score its reports, its answers, and its reader, on the real test records."""
    out, test = {}, room.real["test"]
    if variant == "majority":
        own = torch.from_numpy(room.is_real)
        texts = [trivial_report(Corpus({key: x[own] for key, x in room.truth.items()}))[0]] * len(test)
    else:
        model = trained(room, variant, seed, folder)
        texts = reports(model, test.signal(range(len(test))))
        for name, asked in room.questions.items():
            scores = qa_scores(asked, answers(model, test, asked)) if asked else {}
            out |= {f"{name}{kind[2:].replace('single-', '')}": x for kind, x in scores.items() if "-" in kind}
            out[f"{name}.questions"] = len(asked)
    if variant not in ("random", "blind", "majority"):
        out |= reader_metrics(room, variant, seed, folder)
    for name, (table, errors) in report_tables(test, texts, room.rates).items():
        out |= flat("" if name == "all" else f"{name}.", table) | (errors if name == "all" else {})
    return out


def flat(prefix: str, table: pd.DataFrame) -> dict[str, float]:
    """The mean over findings and the scores of `SINGLE` of a `finding_table`, as metrics."""
    kept = table.loc[table.index.isin(["macro", *SINGLE])].rename(lambda name: name.replace(" ", "_"))
    return {f"{prefix}{name}.{key}": row[key] for name, row in kept.iterrows() for key in row.index}


def trained(room: Records, variant: str, seed: int, folder: Path) -> UniECG:
    """Encoders, then alignment and stage 1 of a variant; weights are kept in `folder`, so that they train once."""
    P, device, rows = room.store.profile, device_and_why()[0], room.drawn(variant, seed)
    torch.manual_seed(seed)
    phi = nn.ModuleList(new_encoders(P))
    probes = nn.ModuleList(FactProbes(P.enc_width) for _ in phi)
    if variant == "blind":  # all tokens are zeros
        phi.load_state_dict({name: torch.zeros_like(p) for name, p in phi.state_dict().items()})
    parts, kept = nn.ModuleDict({"phi": phi, "probes": probes}).to(device), folder / "encoders.safetensors"
    phi.requires_grad_(variant not in ("random", "blind"))  # there the probes alone learn
    train_once(lambda: train_encoders(room, parts, rows, seed, folder), parts.state_dict(), kept)
    torch.manual_seed(seed)  # projections start alike, whether encoders have just been trained or were kept
    model = UniECG(*load_llm(room.store.path("language") / "llm"), *phi.requires_grad_(False).eval()).to(device)
    each, place = rows.unique(return_inverse=True)
    seen = CachedTokens.encode(*phi, Cohort(room.train.table.select(each.numpy())))
    complete = filled({key: x[each] for key, x in room.truth.items()}, seen, probes)
    seen = CachedTokens(seen.signal[place], seen.image[place])
    corpus, plans = Corpus({k: x[place] for k, x in complete.items()}), {"alignment": P.alignment, "stage1": P.stage1}
    kept, weights = folder / "model.safetensors", dict(model.named_parameters())
    train_once(lambda: train_reading(model, corpus, seen, plans, seed, folder), weights, kept)
    return model.eval()


def train_encoders(room: Records, parts: nn.ModuleDict, rows: torch.Tensor, seed: int, folder: Path) -> None:
    """`phi`, phi_s and phi_v, and `probes` learn the facts of their records: the third loss of notebook 02."""
    P, (phi, probes), wanted = room.store.profile, parts.values(), targets(room.truth)
    device = next(probes.parameters()).device
    for step in TrainingLoop(parts, P.encoders, seed, folder / "encoders", "encoders"):
        drawn = rows[step.rows(len(rows))]
        signal = room.train.signal(drawn).to(device)
        facts_of = {name: values[drawn].to(device) for name, values in wanted.items()}
        tokens = phi[0](signal), phi[1](raster(signal))
        step.learn(sum(probe.loss(x[:, 1:FRONT], facts_of) for probe, x in zip(probes, tokens)))


@torch.no_grad()
def filled(truth: dict[str, torch.Tensor], seen: CachedTokens, probes: nn.ModuleList) -> dict[str, torch.Tensor]:
    """The truth of N records with what their sources leave open filled in by the probes, as far as other records taught
    them, so that a report is not silent about it: pseudo-labels (Lee, ICML workshop 2013).

    Args:
        truth: of N records.
        seen: their tokens.
        probes: of signal and of image tokens; the mean of both decides.
    """
    out, device = {key: x.clone() for key, x in truth.items()}, next(probes.parameters()).device
    views = (x[:, 1:FRONT].float().to(device) for x in (seen.signal, seen.image))
    both = [probe.eval()(x) for probe, x in zip(probes, views)]
    mean = {name: ((both[0][name] + both[1][name]) / 2).cpu() for name in MEASURED}
    known, normal = truth["known"].bool(), truth["findings"][:, CODES.index("NORM")].bool()
    guess = {name: places_of(name, mean[name].softmax(1)) for name in GRIDS}
    guess |= {code: (z > 0) & ~normal for name in GROUPS for code, z in zip(GROUPS[name], mean[name].T)}
    for name, values in guess.items():
        place, target = FACTS.index(name), out[name] if name in GRIDS else out["findings"].T[FACTS.index(name)]
        rows = ~known[:, place] & known[:, place].any()
        target[rows], out["known"][rows, place] = values[rows].to(target.dtype), True
    return out


def places_of(name: str, share: torch.Tensor) -> torch.Tensor:
    """(N, G + 1) probabilities on the grid of a number -> the number (N,), NaN for none."""
    return torch.cat([grid(name), torch.tensor([torch.nan])])[place_on_grid(name, share)]


def reader_metrics(room: Records, variant: str, seed: int, folder: Path) -> dict[str, float]:
    """An independent reader of the same records; thresholds of its logits are those of real validation records."""
    plan, device, rows = room.store.profile.reader, device_and_why()[0], room.drawn(variant, seed)
    torch.manual_seed(seed)
    reader, table = Reader().to(device), facts(room.truth)
    for step in TrainingLoop({"reader": reader}, plan, seed, folder / "reader", "reader"):
        drawn = rows[step.rows(len(rows))]
        step.learn(facts_loss(reader(room.train.signal(drawn).to(device)).float(), table[drawn].to(device)))
    signals = [part.signal(range(len(part))) for part in map(room.real.get, SPLITS[1:])]  # validation, test
    (chosen, test), truth = (reader.predict(signal)[1] for signal in signals), taught(room.real["validation"])
    columns = zip(chosen.T, truth["findings"].T, truth["known"][:, : len(CODES)].T)
    limits = [best_threshold(z[k], y[k]) if (y & k).sum() >= ENOUGH else 0.0 for z, y, k in columns]
    found = finding_table(room.real["test"], test >= torch.tensor(limits), room.rates, test)
    return flat("reader.", found.loc[["macro"]])
