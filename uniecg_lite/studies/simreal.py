"""Study `simreal`: what do simulated records buy when recorded ones are read, beside few real ones or many?

Encoders (by the facts of notebook 02 alone), independent reader, alignment and stage 1 learn from the same records, by
the profile's steps, from the run's language model; the split of the real data set that nothing learns from is scored.
A real record is drawn `REPEATS` times as often as a simulated one; SR, SBRAD and STACH follow its rate.
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
from ..encoders import FRONT, FactProbes, targets
from ..errors import BadRequest, require
from ..findings import CODES
from ..language.conversations import Corpus
from ..llm import load_llm
from ..metrics.chain import PROMPT
from ..metrics.reader import Reader, facts, facts_loss
from ..metrics.real_records import finding_table, labels_by_rate, reference_rates, report_tables
from ..model import UniECG
from ..real_cohorts import cohort_rows
from ..stages import CachedTokens, train_reading
from ..store import Store
from ..training import TrainingLoop, device_and_why
from .real import best_threshold
from .study import file_hash, hashes
from .systems import train_once, trivial_report

REPEATS = 10
SHARES = {  # variant: whether simulated records are learned from, and the share of the real training patients
    "simulated": (True, 0.0), "mixed10": (True, 0.1), "mixed": (True, 1.0), "real10": (False, 0.1),
    "real": (False, 1.0), "random": (True, 1.0), "blind": (True, 1.0), "majority": (False, 1.0),
}  # fmt: skip
WITH_READER = ("simulated", "mixed10", "mixed", "real10", "real")
ENOUGH = 5  # validation records with a finding, to choose a threshold from
SINGLE = ("LVH", "inferior infarct", "CLBBB", "CRBBB")  # findings whose scores are kept one by one


def ptbxl_table() -> Path:
    """`ptbxl_database.csv` of the folder in PTB-XL's layout that `UNIECG_PTBXL` names.

    Raises:
        BadRequest: it is not set, or names no such folder.
    """
    folder = os.environ.get("UNIECG_PTBXL")
    found = sorted(Path(folder).rglob("ptbxl_database.csv")) if folder else []
    advice = "Study 'simreal' needs real records: set UNIECG_PTBXL to a folder with PTB-XL's ptbxl_database.csv."
    require(found, advice, BadRequest)
    return found[0]


def settings(store: Store, variant: str) -> dict:
    """What a cell depends on: records and their shares, trainings, and the language model it starts from."""
    P, listed = store.profile, file_hash(ptbxl_table())
    plans = {name: asdict(getattr(P, name)) for name in ("encoders", "reader", "alignment", "stage1")}
    out = {"records": P.records, "shares": list(SHARES[variant]), "repeats": REPEATS, "plans": plans}
    return out | {"inputs": hashes(store, "language") | {"ptbxl": listed}}


class Records:
    """Simulated and real records in memory: what is learned from, and the real ones of each split."""

    def __init__(self, store: Store):
        self.store, source = store, f"simulated,ptbxl={ptbxl_table().parent}"
        both = in_memory(cohort_rows(0, 2 * store.profile.records, source))
        split, real = np.array(both.column("split")), np.array(both.column("labels_from")) != "simulator"
        self.train, self.is_real = Cohort(both.table.select(np.flatnonzero(split == "train"))), real[split == "train"]
        self.truth, own = self.train.truth(), torch.from_numpy(self.is_real)
        rate = heart_rate(self.train.signal(np.flatnonzero(self.is_real)), 100.0)  # as sources do not draw our lines
        self.truth["findings"][own] = labels_by_rate(self.truth["findings"][own], rate)
        self.real = {name: Cohort(both.table.select(np.flatnonzero(real & (split == name)))) for name in SPLITS}

    def drawn(self, variant: str, seed: int) -> torch.Tensor:
        """Rows of `train` that a variant learns from, (M,), real ones `REPEATS` times; few are drawn by patient."""
        simulated, share = SHARES[variant]
        people = np.array(self.train.column("patient"))
        everyone = sorted({*people[self.is_real]})
        few = random.Random(seed).sample(everyone, math.ceil(share * len(everyone)))
        own = np.flatnonzero(self.is_real & np.isin(people, few))
        return torch.from_numpy(np.concatenate([np.flatnonzero(~self.is_real & simulated), *[own] * REPEATS]))

    @cached_property
    def rates(self) -> torch.Tensor:
        """Reference rates of the real test records, (N,) bpm."""
        return reference_rates(self.real["test"].signal(range(len(self.real["test"]))))


def measure(room: Records, variant: str, seed: int, folder: Path) -> dict[str, float]:
    """Train one cell, and score its reports, and its reader, on the real test records."""
    out, test = {}, room.real["test"]
    if variant == "majority":
        texts = [trivial_report(Corpus(room.real["train"].truth()))[0]] * len(test)
    else:
        texts = written(room, variant, seed, folder)
    if variant in WITH_READER:
        out |= reader_metrics(room, variant, seed, folder)
    for name, (table, errors) in report_tables(test, texts, room.rates).items():
        out |= flat("" if name == "all" else f"{name}.", table) | (errors if name == "all" else {})
    return out


def flat(prefix: str, table: pd.DataFrame) -> dict[str, float]:
    """The mean over findings and the scores of `SINGLE` of a `finding_table`, as metrics."""
    kept = table.loc[table.index.isin(["macro", *SINGLE])].rename(lambda name: name.replace(" ", "_"))
    return {f"{prefix}{name}.{key}": row[key] for name, row in kept.iterrows() for key in row.index}


def written(room: Records, variant: str, seed: int, folder: Path) -> list[str]:
    """Encoders, alignment and stage 1 of a variant, then its reports of the real test records."""
    P, device, rows = room.store.profile, device_and_why()[0], room.drawn(variant, seed)
    torch.manual_seed(seed)
    phi = nn.ModuleList(new_encoders(P)).to(device)
    if variant not in ("random", "blind"):
        kept = folder / "encoders.safetensors"
        train_once(lambda: train_encoders(room, phi, rows, seed, folder), phi.state_dict(), kept)
    model = UniECG(*load_llm(room.store.path("language") / "llm"), *phi.requires_grad_(False).eval()).to(device)
    each, place = rows.unique(return_inverse=True)
    seen = CachedTokens.encode(*phi, Cohort(room.train.table.select(each.numpy())))
    test = CachedTokens.encode(*phi, room.real["test"])
    if variant == "blind":
        seen, test = (CachedTokens(*map(torch.zeros_like, vars(views).values())) for views in (seen, test))
    corpus = Corpus({key: values[rows] for key, values in room.truth.items()})
    learned = CachedTokens(seen.signal[place], seen.image[place])
    plans = {"alignment": P.alignment, "stage1": P.stage1}
    train_reading(model, corpus, learned, plans, seed, folder)
    return model.eval().texts(
        model.write([PROMPT] * len(test.signal), *test.get(range(len(test.signal)), "both", device))
    )


def train_encoders(room: Records, phi: nn.ModuleList, rows: torch.Tensor, seed: int, folder: Path) -> None:
    """phi_s and phi_v learn the facts of their records: the third loss of notebook 02."""
    P, device, wanted = room.store.profile, next(phi.parameters()).device, targets(room.truth)
    probes = nn.ModuleList(FactProbes(P.enc_width) for _ in phi).to(device)
    for step in TrainingLoop({"phi": phi, "probes": probes}, P.encoders, seed, folder / "encoders", "encoders"):
        drawn = rows[step.rows(len(rows))]
        signal = room.train.signal(drawn).to(device)
        facts_of = {name: values[drawn].to(device) for name, values in wanted.items()}
        tokens = phi[0](signal), phi[1](raster(signal))
        step.learn(sum(probe.loss(x[:, 1:FRONT], facts_of) for probe, x in zip(probes, tokens)))


def reader_metrics(room: Records, variant: str, seed: int, folder: Path) -> dict[str, float]:
    """An independent reader of the same records; thresholds of its logits are those of real validation records."""
    plan, device, rows = room.store.profile.reader, device_and_why()[0], room.drawn(variant, seed)
    torch.manual_seed(seed)
    reader, table = Reader().to(device), facts(room.truth)
    for step in TrainingLoop({"reader": reader}, plan, seed, folder / "reader", "reader"):
        drawn = rows[step.rows(len(rows))]
        step.learn(facts_loss(reader(room.train.signal(drawn).to(device)).float(), table[drawn].to(device)))
    chosen, test = (reader.predict(part.signal(range(len(part))))[1] for part in map(room.real.get, SPLITS[1:]))
    truth = room.real["validation"].truth()
    columns = zip(chosen.T, truth["findings"].bool().T, truth["known"][:, : len(CODES)].bool().T)
    limits = [best_threshold(z[k], y[k]) if (y & k).sum() >= ENOUGH else 0.0 for z, y, k in columns]
    found = finding_table(room.real["test"], test >= torch.tensor(limits), room.rates, test)
    return flat("reader.", found.loc[["macro"]])
