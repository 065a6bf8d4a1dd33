"""Study `table`: PULSE-lite, GEM-lite and UniECG-lite beside trivial and classical reports (U1 to U4).

All three come from the same encoders, LLM, data and steps. The seeds vary the projections' start, the order of the
patients and the words they are asked in; encoders and language model are the chain's for all cells.

Study `controls`: how much of what is read needs trained encoders, or an ECG at all?
"""

import os
from collections import Counter
from collections.abc import Callable
from copy import copy
from dataclasses import asdict
from functools import cached_property
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

from ..beats import measure_beat
from ..checkpoints import load_encoders, load_reader, load_reading, new_encoders
from ..config import Training
from ..findings import CODES, RHYTHMS, Reading, readings, report
from ..language.conversations import Corpus
from ..language.report_parser import parse_report
from ..leads import LEADS
from ..metrics.chain import PROMPT
from ..metrics.evidence import STRANGERS, conflict_metrics, occlusion
from ..metrics.grounded import NO_PR, grounded
from ..metrics.reader import SCALES
from ..metrics.reports import finding_scores, report_scores, table_of
from ..model import UniECG
from ..simulator.simulate import simulate
from ..stages import MODES, CachedTokens, Collator, projections, report_loss, stage1_loss, trainable
from ..store import Store, save_tensors
from ..training import TrainingLoop, device_and_why
from .study import cell_basis, open_split, size

SHOWN = {"pulse": ("image",), **dict.fromkeys(("gem", "shared", "encoder", "random", "blind"), MODES)}  # views


class Patients:
    """The patients of a study: models learn from the training split, the first ones of the test split are scored."""

    def __init__(self, store: Store):
        self.store, self.train = store, open_split(store, "train")
        self.test = open_split(store, "test").first(store.profile.study_scored)
        self.truth = self.test.truth()
        self.readings: list[Reading] = Corpus(self.truth).readings

    @cached_property
    def corpus(self) -> Corpus:
        """Of the training split."""
        return Corpus(self.train.truth())

    @cached_property
    def views(self) -> tuple[CachedTokens, CachedTokens]:
        """The encoders' tokens of training and test patients, float16."""
        return self.encoded(load_encoders(self.store))

    def encoded(self, encoders) -> tuple[CachedTokens, CachedTokens]:
        """What these encoders, phi_s and phi_v, make of training and test patients."""
        parts = [part.to(device_and_why()[0]) for part in encoders]
        return tuple(CachedTokens.encode(*parts, cohort) for cohort in (self.train, self.test))

    def seen(self, mode: str) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """Encoder tokens of the test patients: signal, image or both."""
        return self.views[1].get(range(len(self.test)), mode, device_and_why()[0])


# --- What a language model has to beat: one report for everybody, and measurements put into the house style.

FREQUENT = 0.01  # of the training reports; rarer than this, no report is "the usual one"


def trivial_report(corpus: Corpus) -> tuple[str, float]:
    """One report for everybody: (report, the share of training reports that are equal to it).

    It is the most frequent one of the training set. Where that one is as good as unique (under 1% of them), it is a
    medoid: of the patients with the most frequent conclusion, the report of the one whose numbers, on unit scales, have
    the least sum of absolute differences to those of all patients.
    """
    patients, reports = corpus.readings, corpus.reports
    text, count = Counter(reports).most_common(1)[0]
    if count >= FREQUENT * len(reports):
        return text, count / len(reports)
    stated = [tuple(sorted(r.findings)) for r in patients]
    usual = Counter(sorted(stated)).most_common(1)[0][0]
    rows = [i for i, findings in enumerate(stated) if findings == usual]
    numbers = [(torch.tensor([getattr(r, key) for r in patients]) - m) / scale for key, (m, scale) in SCALES.items()]
    axis = torch.deg2rad(torch.tensor([r.axis_deg for r in patients]))
    table = torch.stack([*numbers, axis.cos(), axis.sin()], 1)  # (N, 6)
    table = torch.where(table.isnan(), table.nanmedian(0).values, table)
    text = reports[rows[int(torch.cdist(table[rows], table, p=1).sum(1).argmin())]]
    return text, reports.count(text) / len(reports)


def classical_reports(room: Patients) -> list[str]:
    """Reports without a language model: numbers and findings of the independent reader, leads measured on the beat."""
    signal = room.test.signal(range(len(room.test)))  # (n, 12, 1000) mV
    numbers, logits, _ = load_reader(room.store).predict(signal)
    found = settle(logits)
    none = found[:, [CODES.index(code) for code in NO_PR]].any(1)
    measured = {
        **numbers,
        "pr_ms": torch.where(none, torch.nan, numbers["pr_ms"]),
        "qtc_ms": numbers["qt_ms"] / (60 / numbers["rate_bpm"].clamp(min=20)).sqrt(),  # Bazett
        "findings": found,
        **measure_beat(signal, numbers["qrs_ms"], numbers["qt_ms"]),
        **{key: torch.zeros(len(found), len(LEADS)) for key in ("drift_mv", "static_mv")},
        **{key: room.truth[key] for key in ("age", "female")},
    }
    return [report(reading) for reading in readings(measured)]


def settle(logits: torch.Tensor) -> torch.Tensor:
    """Finding logits (B, F) -> findings (B, F) that agree: one rhythm, the likeliest; NORM in SR without any other."""
    found, rhythms = logits > 0, [CODES.index(code) for code in RHYTHMS]
    norm, sinus = CODES.index("NORM"), CODES.index("SR")
    found[:, [*rhythms, norm]] = False
    found[torch.arange(len(found)), torch.tensor(rhythms)[logits[:, rhythms].argmax(1)]] = True
    found[:, norm] = found[:, sinus] & (found.sum(1) == 1)
    return found


# --- The cells.


def settings(store: Store, variant: str) -> dict:
    """What a cell depends on: trainings, patients, and the artifacts it starts from."""
    P = store.profile
    start = {"trivial": ("cohort",), "classical": ("cohort", "reader")}
    out = cell_basis(store, *start.get(variant, ("encoders", "cohort", "language")))
    if variant not in SHOWN:
        return out
    with torch.device("meta"):
        shared = size(SharedProjection(P.enc_width, P.lm_width))
    out |= {"alignment": asdict(P.study_alignment), "stage1": asdict(P.study_stage1), "modes": list(SHOWN[variant])}
    out["projection_parameters"] = shared if variant == "shared" else 2 * (P.enc_width + 1) * P.lm_width
    return out | ({"tokens": asdict(P.tokens), "ecg_tokens": P.ecg_tokens} if variant == "gem" else {})


def measure(room: Patients, variant: str, seed: int, folder: Path) -> dict[str, float]:
    """Train and score one cell; of `gem` once more after the [ECG] tokens were trained (U2)."""
    if variant == "trivial":
        text, share = trivial_report(room.corpus)
        return scores(room, [text] * len(room.readings)) | {"share_of_training_reports": share}
    if variant == "classical":
        return scores(room, classical_reports(room))
    model, P = trained(room, variant, seed, folder), room.store.profile
    if variant == "pulse":
        return scores(room, read(model, room, "image"))
    before = read(model, room, "both")
    out = scores(room, before)
    for mode in ("signal", "image"):
        out |= {f"{mode}.{name}": value for name, value in scores(room, read(model, room, mode)).items()}
    if variant == "gem":
        out |= conflict_metrics(model, *room.seen("both"), room.readings)
        out |= occlusion(model, simulate(STRANGERS, torch.arange(5 * P.study_scored // 2)))
        model.add_ecg_tokens(P.ecg_tokens)
        train_tokens(model, room.corpus, P.tokens, seed, folder / "tokens", room.views[0])
        after = read(model, room, "both")
        out |= {f"uniecg.{name}": value for name, value in scores(room, after).items()}
        out["stage2_change"] = out["uniecg.Average"] - out["Average"]
        out["stage2_identical"] = sum(a == b for a, b in zip(before, after)) / len(after)
    return out


def trained(room: Patients, variant: str, seed: int, folder: Path) -> UniECG:
    """The model of a cell after alignment and stage 1; its weights are kept in `folder`, so that it trains once."""
    torch.manual_seed(seed)
    model = load_reading(room.store, "language")
    if variant == "shared":
        lm, enc = model.w_ts.weight.shape
        model.w_ts = model.w_tsi = SharedProjection(enc, lm).to(model.device).requires_grad_(False)
    P, modes, kept = room.store.profile, SHOWN[variant], folder / "model.safetensors"
    plans = {"alignment": P.study_alignment, "stage1": P.study_stage1}
    weights = {name: p for name, p in model.named_parameters() if not name.startswith("phi_")}
    train_once(lambda: train_reading(model, room.corpus, room.views[0], plans, seed, folder, modes), weights, kept)
    return model.eval()


def train_reading(
    model: UniECG,
    corpus: Corpus,
    cached: CachedTokens,
    plans: dict[str, Training],
    seed: int,
    folder: Path,
    modes: tuple[str, ...] = MODES,
) -> dict[str, dict]:
    """Notebooks 04 and 05, as far as there are plans of `alignment` and `stage1`; returns the history of each.

    First W_ts and W_tsi alone learn, then the whole LLM with them; encoders are frozen, and `modes` are what is shown.
    """
    collator, parts, out = Collator(model, corpus), projections(model, modes), {}
    for name, plan in plans.items():
        whole, loss = name == "stage1", {"alignment": report_loss, "stage1": stage1_loss}[name]
        modules = trainable({"llm": model.llm, **parts} if whole else parts)
        loop = TrainingLoop(modules, plan, seed, folder / name, name, muon=whole and model.pocket)
        for step in loop:
            step.learn(loss(model, collator, cached, step, modes))
        out[name] = loop.history
    return out


def train_tokens(
    model: UniECG, corpus: Corpus, plan: Training, seed: int, folder: Path, cached: CachedTokens | None = None
) -> dict:
    """Notebook 07: the [ECG] rows alone learn to be emitted when, and only when, an ECG is asked for."""
    collator = Collator(model, corpus)
    for row in model.token_rows().values():
        row.requires_grad_(True)
    loop = TrainingLoop({"llm": model.llm}, plan, seed, folder, "[ECG] tokens", weight_decay=0.0)
    for step in loop:
        dialogues, ecg = collator.stage2(step, cached)
        step.learn(model.loss(model.batch(dialogues), ecg))
    return loop.history


def train_once(train: Callable[[], object], tensors: dict[str, torch.Tensor], kept: Path) -> None:
    """Train unless the weights are kept already, so that a cell that was killed while it was scored trains once.

    Args:
        train: changes the tensors.
        tensors: the live ones by name; kept values are put into them.
        kept: the `.safetensors` file.
    """
    if not kept.exists():
        train()
        part = kept.with_suffix(".part")
        save_tensors(tensors, part)
        os.replace(f"{part}.safetensors", kept)
    with torch.no_grad():
        for name, tensor in load_file(kept).items():
            tensors[name].copy_(tensor)


class SharedProjection(nn.Sequential):
    """One projection for both views: enc -> h -> lm with a GELU between (U4).

    h is the largest with which it has at most as many parameters as two linear projections enc -> lm.
    """

    def __init__(self, enc: int, lm: int):
        h = (2 * (enc + 1) * lm - lm) // (enc + lm + 1)
        super().__init__(nn.Linear(enc, h), nn.GELU(), nn.Linear(h, lm))


def read(model: UniECG, room: Patients, mode: str) -> list[str]:
    """The model's reports of the test patients, seen as signal, image or both."""
    return model.texts(model.write([PROMPT] * len(room.readings), *room.seen(mode)))


def scores(room: Patients, texts: list[str]) -> dict[str, float]:
    """Grounded scores, interval errors and macro F1 of reports of the test patients."""
    return {**report_scores(texts, room.readings), **grounded(texts, room.readings)}


# --- Study `controls`.


def controlled(room: Patients, variant: str, seed: int) -> Patients:
    """The same patients seen by the chain's encoders, by others that were never trained (`random`), or as zeros."""
    room = copy(room)
    if variant == "random":
        torch.manual_seed(seed)
        room.views = room.encoded(new_encoders(room.store.profile))
    elif variant == "blind":
        room.views = tuple(CachedTokens(*map(torch.zeros_like, vars(views).values())) for views in room.views)
    return room


def controls_measure(room: Patients, variant: str, seed: int, folder: Path) -> dict[str, float]:
    """Train projections and language model on what this arm shows, and score the reports: each number and finding."""
    room = controlled(room, variant, seed)
    texts = read(trained(room, variant, seed, folder), room, "both")
    f1 = finding_scores(
        table_of([parse_report(text) for text in texts]), table_of(room.readings), table_of(room.readings, "borderline")
    )
    return report_scores(texts, room.readings) | {f"f1.{code}": value for code, value in f1.items()}
