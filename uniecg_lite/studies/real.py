"""Study `augmentation`: do generated ECGs help a classifier that has few examples of a finding (U13)?

One small classifier per finding and cell, of the same size and number of steps; the seeds vary which examples there
are, weights, batches and the generator's noise. The chain's generator has learned from all training patients, so it may
know a finding better than the few examples tell: the case of a generator that was trained elsewhere.

Study `realism`: what is each step of realism worth, by a network that tells simulated beats from real ones? All cells
have the same simulated hearts, chosen for the same real records; the seeds vary folds, weights and batches.
"""

import math
from collections.abc import Callable
from dataclasses import asdict
from itertools import pairwise, product
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn
from tqdm.auto import tqdm

from ..config import Profile
from ..errors import BadArtifact, require
from ..findings import CODES
from ..generator.generator import Generator
from ..language.conversations import Corpus
from ..leads import from_independent
from ..metrics.chain import real_folder
from ..metrics.generation import standard
from ..metrics.real_records import load_records, weighted_auroc
from ..metrics.realism import comparable, compare, separability, sinus_like
from ..metrics.reports import weighted_f1
from ..simulator import hashing
from ..simulator.hearts import Hearts, qrs, t_wave, textbook
from ..simulator.noise import TABLE, noise
from ..simulator.sample import with_signs
from ..simulator.schedule import schedule
from ..simulator.simulate import heart_signal, simulate
from ..store import Store
from ..training import TrainingLoop, device_and_why, inference
from .study import file_hash, hashes, open_split

RARE = ("CRBBB", "LVH", "PVC")  # a block, tall waves, early beats; cardiologists state them in real records, too
SOURCES = ("plain", "copies", "made", "more")  # what stands beside the examples
SIZES = {"smoke": (8, 40)}  # ECGs beside the examples, and training patients without the finding
USUAL = (60, 1000)  # the same, for other profiles
WIDTH = 16  # channels of the classifier
NOISES = 7301  # population of the noise on generated ECGs and on copies
HZ = 100.0


class Classifier(nn.Module):
    """(B, 12, 1000) mV -> (B,) logits of one finding: four convolutions, then mean and maximum over time."""

    def __init__(self, width: int = WIDTH):
        super().__init__()
        sizes = pairwise((12, width, width, 2 * width, 2 * width))
        layers = [(nn.Conv1d(a, b, 7, 2, 3), nn.GroupNorm(4, b), nn.ReLU()) for a, b in sizes]
        self.body = nn.Sequential(*(part for layer in layers for part in layer))  # (B, 2 W, 63)
        self.head = nn.Linear(4 * width, 1)

    def forward(self, signal: torch.Tensor) -> torch.Tensor:
        x = self.body(signal - signal.mean(-1, keepdim=True))
        return self.head(torch.cat([x.mean(-1), x.amax(-1)], 1))[:, 0]


def settings(store: Store, variant: str) -> dict:
    """What a cell depends on: patients, classifier, sizes, and the artifacts and real records it starts from."""
    P, folder, generated = store.profile, real_folder(), variant.startswith("made")
    beside, others = SIZES.get(P.name, USUAL)
    inputs = hashes(store, "cohort", *(["diffusets"] if generated else []))
    out = {"records": P.records, "rare": list(RARE), "others": others, "width": WIDTH}
    out |= {
        "classifier": asdict(P.study_classifier),
        "inputs": inputs | {"manifest": folder and file_hash(folder / "manifest.csv")},
    }
    out |= {} if variant.startswith("plain") else {"beside": beside}
    return out | ({"sample_steps": P.sample_steps, "guidance": P.guidance} if generated else {})


def prepare(store: Store) -> SimpleNamespace:
    """Open the cohort, the chain's generator, and the real records; without them, says so and goes on."""
    train, *others = (open_split(store, split) for split in ("train", "validation", "test"))
    chosen, held = ((part.signal(range(len(part))), part.truth()["findings"].bool()) for part in others)
    folder = real_folder()
    if folder is None:
        tqdm.write("There are no real records: `real.*` is left out. UNIECG_REAL_ECG names a folder that has them.")
    real = load_records(folder) if folder else None
    about = real.truth() if real else {}
    return SimpleNamespace(
        profile=store.profile,
        train=train,
        corpus=Corpus(train.truth()),
        generator=Generator.from_pretrained(store.path("diffusets")),
        chosen=chosen,  # who set the threshold: (n, 12, 1000) mV and (n, F) bool of the validation split
        held=held,  # the same of the test split
        real=real and (real.signal(range(len(real))), about["findings"].bool(), about["known"][:, : len(CODES)].bool()),
    )


def measure(room: SimpleNamespace, variant: str, seed: int, folder: Path) -> dict[str, float]:
    """F1 and AUROC of each rare finding's classifier on held-out simulated and on real records, and their means.

    The threshold is the one with the best F1 on the validation split's simulated patients, for both.
    """
    source, k = next((name, int(variant[len(name) :])) for name in SOURCES if variant.startswith(name))
    out = {}
    for code in RARE:
        model = trained(room.profile, *examples(room, code, source, k, seed), seed, folder / code)
        column = CODES.index(code)
        threshold = best_threshold(logits(model, room.chosen[0]), room.chosen[1][:, column])
        out |= scores(f"simulated.{code}", logits(model, room.held[0]), room.held[1][:, column], threshold)
        if room.real:
            signal, label, known = room.real[0], *(part[:, column] for part in room.real[1:])
            stated = logits(model, signal[known])
            out |= scores(f"real.{code}", stated, label[known], threshold) if (label & known).any() else {}
        out[f"examples.{code}"] = min(k, len(room.corpus.carriers[code]))
    return out | means(out)


def means(found: dict[str, float]) -> dict[str, float]:
    """`simulated.f1`, `simulated.auroc`, `real.f1`, `real.auroc`: means over the findings that have one."""
    each = {
        f"{where}.{score}": [x for code in RARE if not math.isnan(x := found.get(f"{where}.{code}.{score}", math.nan))]
        for where, score in product(("simulated", "real"), ("f1", "auroc"))
    }
    return {name: sum(values) / len(values) for name, values in each.items() if values}


# ---- examples ---------------------------------------------------------------------------------------------------
def examples(room: SimpleNamespace, code: str, source: str, k: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Positive (P, 12, 1000) and negative (N, 12, 1000) ECGs in mV; the first k positives, and the negatives, are the
    same for every source. A small cohort may hold fewer than k, and none beside them."""
    n, others = SIZES.get(room.profile.name, USUAL)
    g, has = torch.Generator().manual_seed(seed), torch.tensor([code in r.findings for r in room.corpus.readings])
    parts = [rows.nonzero()[:, 0] for rows in (has, ~has)]
    carriers, without = (rows[torch.randperm(len(rows), generator=g)] for rows in parts)
    few, further = room.train.signal(carriers[:k].tolist()), carriers[k : k + n].tolist()
    again = torch.arange(n) % len(few)  # (n,) which example is repeated
    fresh = from_independent(noise(NOISES + seed, torch.arange(n), torch.arange(1000) / HZ, HZ)[0])  # (n, 12, 1000)
    requests = [room.corpus.requests[row] for row in carriers[:k][again].tolist()]
    beside = {
        "plain": lambda: few[:0],
        "copies": lambda: few[again] + fresh,
        "made": lambda: standard(room.generator.signals(room.generator.conditions(requests), seed).cpu()) + fresh,
        "more": lambda: room.train.signal(further) if further else few[:0],
    }
    return torch.cat([few, beside[source]()]), room.train.signal(without[:others].tolist())


# ---- the classifier ---------------------------------------------------------------------------------------------
def trained(profile: Profile, positive: torch.Tensor, negative: torch.Tensor, seed: int, folder: Path) -> Classifier:
    """A classifier of positives (P, 12, 1000) against negatives (N, 12, 1000), half of each batch from either."""
    device, plan = device_and_why()[0], profile.study_classifier
    torch.manual_seed(seed)
    model, half = Classifier().to(device), plan.batch // 2
    label = torch.cat([torch.ones(half), torch.zeros(half)]).to(device)
    for step in TrainingLoop({"classifier": model}, plan, seed, folder, "classifier"):
        drawn = [part[torch.randint(len(part), (half,), generator=step.generator)] for part in (positive, negative)]
        step.learn(F.binary_cross_entropy_with_logits(model(torch.cat(drawn).to(device)).float(), label))
    return model.eval()


@inference()
def logits(model: Classifier, signal: torch.Tensor, batch: int = 256) -> torch.Tensor:
    """(N, 12, 1000) mV -> (N,) logits."""
    device = next(model.parameters()).device
    return torch.cat([model(part.to(device)).float().cpu() for part in signal.split(batch)])


# ---- scores -----------------------------------------------------------------------------------------------------
def best_threshold(stated: torch.Tensor, label: torch.Tensor) -> float:
    """The logit of (N,) from which on saying yes gives the best F1 against (N,) bool; inf where nobody has it."""
    if not label.any():
        return math.inf
    levels = stated.unique().flip(0)  # (K,) from the highest on
    called = stated >= levels[:, None]  # (K, N)
    f1 = 2 * (called & label).sum(1) / (called.sum(1) + label.sum())
    return levels[f1.argmax()].item()


def scores(prefix: str, stated: torch.Tensor, label: torch.Tensor, threshold: float) -> dict[str, float]:
    """`<prefix>.f1` at this threshold, and `<prefix>.auroc`, of logits (N,) against (N,) bool."""
    once = torch.ones(1, len(stated))
    f1, auroc = weighted_f1(stated >= threshold, label, once), weighted_auroc(stated, label, once)
    return {f"{prefix}.f1": f1.item(), f"{prefix}.auroc": auroc.item()}


# ---- study `realism` --------------------------------------------------------------------------------------------
REALISM_SIZES = {"smoke": (300, 2)}  # simulated hearts to choose from, passes over the training beats
REALISM_USUAL = (1500, 16)  # the same, for other profiles


def white_noise(index: torch.Tensor) -> torch.Tensor:
    """The simplest noise: white, alike at all electrodes, 3 to 25 uV by record: (B,) -> (B, 12, 1000) mV."""
    level = 0.003 + 0.022 * hashing.uniform(0, index, 8, 1).float()[..., None] ** 2
    start = (hashing.uniform(0, index, 9, 8) * (TABLE - 1000)).long()  # (B, 8) windows of one long table
    table = torch.randn(TABLE, generator=torch.Generator().manual_seed(0))
    return from_independent(level * table.unfold(0, 1000, 1)[start])


def recorded_noise(index: torch.Tensor) -> torch.Tensor:
    """The simulator's noise alone: (B,) -> (B, 12, 1000) mV."""
    return from_independent(noise(0, index, torch.arange(1024) / 100, 100.0)[0][..., :1000])


def drawn(index: torch.Tensor, change: Callable[[Hearts], Hearts] = lambda hearts: hearts) -> torch.Tensor:
    """Textbook hearts of population 0 without noise, changed before they beat: (B,) -> (B, 12, 1000) mV."""
    hearts, t = with_signs(change(textbook(0, index))).float(), torch.arange(1024) / 100
    return from_independent(heart_signal(hearts, schedule(hearts, 10.0), t)[..., :1000])


STEPS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {  # (B,) -> (B, 12, 1000) mV; each adds one improvement
    "textbook-white-noise": lambda index: drawn(index) + white_noise(index),
    "recorded-noise": lambda index: drawn(index) + recorded_noise(index),
    "sharp-qrs": lambda index: drawn(index, qrs) + recorded_noise(index),
    "real-t": lambda index: drawn(index, lambda hearts: qrs(t_wave(hearts))) + recorded_noise(index),
    "simulator": lambda index: simulate(0, index).signal,
}


def realism_settings(store: Store, variant: str) -> dict:
    """What a cell depends on: its sizes, the real records, and how large the first simulated records of its step are.

    Raises:
        BadArtifact: no real records.
    """
    records, epochs = REALISM_SIZES.get(store.profile.name, REALISM_USUAL)
    folder, spread = real_folder(), STEPS[variant](torch.arange(4)).std((1, 2))  # (4,) mV
    advice = "set UNIECG_REAL_ECG to a folder that has them and a manifest.csv."
    require(folder, f"Study 'realism' needs real records: {advice}", BadArtifact)
    found = {"records": records, "epochs": epochs, "simulated_mv": [round(mv, 3) for mv in spread.tolist()]}
    return found | {"inputs": {"manifest": file_hash(folder / "manifest.csv")}}


def realism_prepare(store: Store) -> SimpleNamespace:
    """Real records with a regular, narrow rhythm, and simulated ones of about their rates; nothing of the chain."""
    records, epochs = REALISM_SIZES.get(store.profile.name, REALISM_USUAL)
    table, found = pd.read_csv(real_folder() / "manifest.csv"), load_records(real_folder())
    real, patients = found.signal(range(len(found))), found.column("patient")
    keep = sinus_like(real)
    whole = simulate(0, torch.arange(records), noise=False)
    return SimpleNamespace(
        real=real[keep],  # (M, 12, 1000) mV
        patients=[p for p, there in zip(patients, keep.tolist()) if there],
        index=comparable(whole.signal, whole.truth["findings"].bool(), real[keep]),  # (M,) simulated records' numbers
        epochs=epochs,
        refused=len(table) - len(found),  # real records that could not be read
    )


def realism_measure(room: SimpleNamespace, variant: str, seed: int, folder: Path) -> dict[str, float]:
    """One cell: the figures of `separability`, the distances `realism.ks.<statistic>` (see `compare`), and
    `realism.refused`, how many real records could not be read."""
    signal = STEPS[variant](room.index)
    found = separability(signal, room.real, seed, room.patients, epochs=room.epochs)
    return found | compare(signal, room.real) | {"realism.refused": room.refused}
