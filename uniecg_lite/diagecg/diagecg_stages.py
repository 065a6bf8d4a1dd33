"""The stages of DiagECG: the tokenizer, forecasting on codes, instruction tuning."""

from pathlib import Path

import torch
from tqdm.auto import tqdm

from ..cohort import Cohort
from ..config import Training
from ..language.conversations import Corpus
from ..stages import COMPARE, Collator, trainable
from ..training import Step, TrainingLoop, inference
from .diagecg_model import DiagECG
from .fsq_tokenizer import ECGTokenizer

SCALES = (1, 2, 4, 8, 16)  # parts that a record is cut into; DiagECG's windows and horizons: 283+30, 142+15, 70+7, ...
HORIZON = 30 / 313  # share of a window that is forecast in DiagECG, and measured here
ASK = 0.7  # share of tuning steps that asks questions, the others want reports


def train_tokenizer(codec: ECGTokenizer, cohort: Cohort, plan: Training, seed: int, folder: Path) -> dict:
    """Train encoder, numbers and decoder together to give the same ECG back."""
    device = next(codec.parameters()).device
    loop = TrainingLoop(trainable({"codec": codec}), plan, seed, folder, "ECG tokenizer", weight_decay=0.0)
    for step in loop:
        step.learn(**codec.loss(cohort.signal(step.rows(len(cohort))).to(device)))
    codec.eval()
    return loop.history


@inference()
def codes_of(codec: ECGTokenizer, cohort: Cohort, rows=None, kind: str = "codes") -> torch.Tensor:
    """What the tokenizer says of these rows, all by default.

    Args:
        codec: trained.
        cohort: N ECGs.
        rows: which of them.
        kind: `codes` (N, T) int16, the wave words; `read`, the words to be read, see `ECGTokenizer.read_tokens`;
            `numbers` (N, T, D) float16, what these were cut from.
    """
    rows = list(range(len(cohort)) if rows is None else rows)
    read_tokens = {"codes": codec.encode, "read": codec.read_tokens, "numbers": codec.uncut}[kind]
    parts = tqdm([rows[i : i + 128] for i in range(0, len(rows), 128)], desc=kind, leave=False)
    device, dtype = next(codec.parameters()).device, torch.half if kind == "numbers" else torch.short
    return torch.cat([read_tokens(cohort.signal(part).to(device)).cpu().to(dtype) for part in parts])


def windows(codes: torch.Tensor, parts: int, books: int = 1) -> torch.Tensor:
    """Whole records (B, T) -> windows (B * parts, about T // parts), one after the other; what is left over goes.

    A window holds whole stretches, of `books` words each.
    """
    length = max(1, codes.shape[1] // parts // books) * books
    return codes[:, : length * parts].reshape(-1, length)


def forecast(model: DiagECG, codes: torch.Tensor, plan: Training, seed: int, folder: Path) -> dict:
    """Train the adapters to tell codes (N, T) on, at several horizons: each step takes windows of one of `SCALES`.

    DiagECG counts the last tenth of a window; here every code counts, which learns from the same windows and more.
    """
    model.train()
    for p in model.adapters().values():
        p.requires_grad_(True)
    loop = TrainingLoop({"llm": model.llm}, plan, seed, folder, "forecast", weight_decay=0.0, muon=model.pocket)
    for step in loop:
        parts = SCALES[step.number % len(SCALES)]
        step.learn(model.forecast_loss(windows(codes[step.rows(len(codes))].long(), parts, model.codec.books)))
    model.requires_grad_(False).eval()
    return loop.history


def background(corpus: Corpus, row: int) -> str:
    """What is known of a patient before the ECG: `Age 63. Sex female.`"""
    return "Age {0.age}. Sex {0.sex}.".format(corpus.requests[row])


def with_background(corpus: Corpus, rows, prompts: list[str], aware: bool = True) -> list[str]:
    """Prompts about one ECG each, the patient's background first."""
    return [f"{background(corpus, int(r))} {p}" if aware else p for r, p in zip(rows, prompts)]


def tuning_loss(model: DiagECG, collator: Collator, codes: torch.Tensor, step: Step, aware: bool = True):
    """Several questions about the same ECGs in a row, or reports; answers alone count.

    Args:
        model: with adapters.
        collator: of the training patients.
        codes: (N, T) their words to be read, or (N, T, D) numbers for a model with a bridge.
        step: of the loop.
        aware: age and sex stand in prompts about one ECG.
    """
    if step.rng.random() < ASK:
        start = "comparison" if step.rng.random() < COMPARE else "single"
        n = max(1, 3 * step.batch // 4) if start == "comparison" else step.batch  # two ECGs are longer
        rows, dialogues = collator.questions(n, step.rng, start)  # rows (n, 1 or 2)
    else:
        rows = step.rows(len(collator.corpus.reports))[:, None]
        dialogues = collator.reports(rows[:, 0], step.rng)
    if rows.shape[1] == 1:
        first = with_background(collator.corpus, rows[:, 0], [turns[0][0] for turns in dialogues], aware)
        dialogues = [[(prompt, turns[0][1]), *turns[1:]] for prompt, turns in zip(first, dialogues)]
    return model.loss(model.batch(dialogues), model.block(codes[rows]), rates=True)


def tune(
    model: DiagECG, corpus: Corpus, codes: torch.Tensor, plan: Training, seed: int, folder: Path, aware: bool = True
) -> dict:
    """Train the adapters on questions and reports, see `tuning_loss`."""
    collator, parts = Collator(model, corpus), {"llm": model.llm.train()}
    for p in model.adapters().values():
        p.requires_grad_(True)
    if model.bridge is not None:
        parts["bridge"] = model.bridge.requires_grad_(True)
    loop = TrainingLoop(parts, plan, seed, folder, "tuning", weight_decay=0.0, muon=model.pocket)
    for step in loop:
        step.learn(tuning_loss(model, collator, codes, step, aware))
    model.requires_grad_(False).eval()
    return loop.history
