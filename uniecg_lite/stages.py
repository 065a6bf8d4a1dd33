"""What does each stage learn from, and what does it minimise? Pre-training, alignment, stage 1, [ECG] tokens, mapper.

The losses of the five steps; the notebooks hold their loops, and the functions below run the same loops for studies.
"""

import random
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from tqdm.auto import tqdm

from .cohort import Cohort
from .config import Training
from .ecg_image import raster
from .language.conversations import TEXT_MIX, WANTED, Corpus
from .language.questions import QUESTION_TYPES, full_answer
from .llm import Dialogue, ECGLanguageModel
from .model import UniECG
from .training import Step, TrainingLoop, inference

MODES = ("signal", "image", "both")
MODE_WEIGHTS = (0.35, 0.25, 0.40)  # how often each is shown
TURNS = {"single": 6, "comparison": 3}  # questions about the same ECG, or the same two, one after the other
ASK_NOTES = 0.6  # share of pre-training that asks about notes
COMPARE = 0.4  # share of questions that is about two ECGs
NOT_AN_ECG = 0.15  # share of text in stage 1, so that words are not forgotten
ASK = 0.40  # share of stage 1 that asks a question in place of wanting a report
STAGE1_MIX = {"generate": 0.42, "restate": 0.20, "report": 0.10, "question": 0.16, "no_ecg": 0.12}
STAGE2_MIX = {"generate": 0.40, "restate": 0.12, "report": 0.08, "question": 0.26, "no_ecg": 0.14}


@dataclass
class CachedTokens:
    """Encoder tokens of N ECGs, kept because phi_s and phi_v stay frozen from here on: float16."""

    signal: torch.Tensor  # (N, T_s, D_enc)
    image: torch.Tensor  # (N, T_v, D_enc)

    @staticmethod
    @inference()
    def encode(phi_s: torch.nn.Module, phi_v: torch.nn.Module, cohort: Cohort, batch: int = 128) -> "CachedTokens":
        """Run both encoders over a cohort once."""
        device, signal, image = next(phi_s.parameters()).device, [], []
        for i in tqdm(range(0, len(cohort), batch), desc="encode", leave=False):
            x = cohort.signal(range(i, min(i + batch, len(cohort)))).to(device)
            signal.append(phi_s.eval()(x).half().cpu())
            image.append(phi_v.eval()(raster(x)).half().cpu())
        return CachedTokens(torch.cat(signal), torch.cat(image))

    def get(self, rows, mode: str, device=None) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """(signal tokens or None, image tokens or None) of these rows in float32; mode: signal, image or both."""
        rows = torch.as_tensor(rows)
        return (
            self.signal[rows].float().to(device) if mode != "image" else None,
            self.image[rows].float().to(device) if mode != "signal" else None,
        )


class Collator:
    """Seeded conversations about a cohort, as dialogues for `ECGLanguageModel.batch`."""

    def __init__(self, model: ECGLanguageModel, corpus: Corpus):
        self.model, self.corpus, self.kept = model, corpus, {}

    def ids(self, answer: str) -> list[int]:
        """`model.answer_ids`; kept, since answers repeat."""
        if answer not in self.kept:
            self.kept[answer] = self.model.answer_ids(answer)
        return self.kept[answer]

    def reports(self, rows, rng: random.Random) -> list[Dialogue]:
        """Prompts to interpret an ECG, and the reports of these rows."""
        pairs = [self.corpus.sample("interpret", int(row), rng) for row in rows]
        return [[(prompt, self.ids(answer))] for prompt, answer in pairs]

    def text(
        self, rows, rng: random.Random, mix: dict[str, float] = TEXT_MIX, generate: list[int] | None = None
    ) -> list[Dialogue]:
        """Conversations in words alone.

        A request for an ECG is answered by `generate`, or, before stage 2, by saying what is wanted: the model learns
        to tell a request from a restatement by its first word, and which facts it holds by the others.
        """
        out = []
        for kind, prompt, answer in self.corpus.dialogue(rows, rng, mix):
            wanted = kind == "generate"
            out.append([(prompt, generate if generate and wanted else self.ids(WANTED * wanted + answer))])
        return out

    def questions(
        self, n: int, rng: random.Random, start: str, noted: bool = False
    ) -> tuple[torch.Tensor, list[Dialogue]]:
        """n dialogues of up to `TURNS` questions about the same ECG, or the same two: showing ECGs is what costs.

        Args:
            n: how many dialogues.
            rng: the only source of chance.
            start: how the type of every question begins, `single` or `comparison`.
            noted: the first question comes with notes of the ECGs (`conversations.notes`), which need not be shown.

        Returns:
            rows (n, 1 or 2) of ECGs, and the dialogues.
        """
        kinds = [name for name in QUESTION_TYPES if name.startswith(start)]
        first = [self.corpus.asked(rng, kind=kinds) for _ in range(n)]
        asked = [[q, *self.corpus.more(q, TURNS[start] - 1, rng)] for q in first]
        out = [[(q.question, self.ids(full_answer(q))) for q in dialogue] for dialogue in asked]
        if noted:
            heads = [f"{self.corpus.noted(q)} {q.question}" for q in first]
            out = [[(head, dialogue[0][1]), *dialogue[1:]] for head, dialogue in zip(heads, out)]
        return torch.tensor([q.ecg_id for q in first]), out


# ---- the losses -----------------------------------------------------------------------------------------------------
def pretraining_loss(model: UniECG, collator: Collator, step: Step) -> torch.Tensor:
    """Answers to questions about notes of ECGs, which tokens of ECGs will stand for later, or text."""
    if step.rng.random() < ASK_NOTES:
        start = "comparison" if step.rng.random() < COMPARE else "single"
        n = max(1, step.batch // 2)  # as many words as the other steps have
        return model.loss(model.batch(collator.questions(n, step.rng, start, noted=True)[1]))
    dialogues = collator.text(step.rows(len(collator.corpus.reports)), step.rng)
    return model.loss(model.batch(dialogues), rates=True)


def report_loss(model: UniECG, collator: Collator, cached: CachedTokens, step: Step, modes=MODES) -> torch.Tensor:
    """Reports of ECGs that are shown as signal, image or both: alignment, and most of stage 1."""
    rows = step.rows(len(collator.corpus.reports))
    ecg = model.project(*cached.get(rows, draw_mode(modes, step.rng), model.device))
    return model.loss(model.batch(collator.reports(rows, step.rng)), ecg, rates=True)


def question_loss(model: UniECG, collator: Collator, cached: CachedTokens, step: Step, modes=MODES) -> torch.Tensor:
    """Questions about ECGs, or about the signals of two, one after the other: (B, 2 T_s, D_enc), no image."""
    n = max(1, step.batch // 2)
    if set(modes) != {"image"} and step.rng.random() < COMPARE:
        rows, dialogues = collator.questions(max(1, 3 * n // 4), step.rng, "comparison")  # two ECGs are longer
        shown = torch.cat([cached.get(column, "signal", model.device)[0] for column in rows.T], 1), None
    else:
        rows, dialogues = collator.questions(n, step.rng, "single")
        shown = cached.get(rows[:, 0], draw_mode(modes, step.rng), model.device)
    return model.loss(model.batch(dialogues), model.project(*shown))


def stage1_loss(model: UniECG, collator: Collator, cached: CachedTokens, step: Step, modes=MODES) -> torch.Tensor:
    """Reports, questions and words alone, drawn by `NOT_AN_ECG` and `ASK`; answers alone count."""
    share = step.rng.random()
    if share < NOT_AN_ECG:
        dialogues = collator.text(step.rows(len(collator.corpus.reports)), step.rng, STAGE1_MIX)
        return model.loss(model.batch(dialogues), rates=True)
    return (question_loss if share < NOT_AN_ECG + ASK else report_loss)(model, collator, cached, step, modes)


def tokens_loss(model: UniECG, collator: Collator, step: Step) -> torch.Tensor:
    """*When*: [ECG_1] answers a request for an ECG, words answer everything else. Text only."""
    rows = step.rows(len(collator.corpus.reports))
    return model.loss(model.batch(collator.text(rows, step.rng, STAGE2_MIX, model.generate_ids())))


def mapper_loss(model: UniECG, corpus: Corpus, text_encoder: torch.nn.Module, step: Step) -> torch.Tensor:
    """*What*: MSE of the mapped [ECG] states to the frozen text encoder's vector of the request. Text only."""
    pairs = [corpus.sample("generate", row, step.rng) for row in step.rows(len(corpus.reports)).tolist()]
    with torch.no_grad():
        target = text_encoder([answer for _, answer in pairs])  # (B, D_c)
    states = model.ecg_states([prompt for prompt, _ in pairs])  # (B, n, D_lm), through the frozen LLM
    return F.mse_loss(model.mapper(states).float(), target.float())


# ---- what trains ----------------------------------------------------------------------------------------------------
def draw_mode(modes: tuple[str, ...], rng: random.Random) -> str:
    """One of these, drawn by `MODE_WEIGHTS`."""
    return rng.choices(modes, [MODE_WEIGHTS[MODES.index(mode)] for mode in modes])[0]


def projections(model: UniECG, modes: tuple[str, ...] = MODES) -> dict[str, torch.nn.Module]:
    """W_ts and W_tsi, as far as these modes use them; one projection shared by both counts once."""
    used = {"w_ts": model.w_ts} if set(modes) != {"image"} else {}
    if set(modes) != {"signal"} and model.w_tsi is not used.get("w_ts"):
        used["w_tsi"] = model.w_tsi
    return used


def trainable(parts: dict[str, torch.nn.Module]) -> dict[str, torch.nn.Module]:
    """The same parts, all of whose weights now train."""
    for part in parts.values():
        part.requires_grad_(True).train()
    return parts


@contextmanager
def rows_but_the_first(model: UniECG):
    """Let the [ECG] rows train, all but that of [ECG_1], which decides."""

    def held(gradient: torch.Tensor) -> torch.Tensor:
        return torch.cat([torch.zeros_like(gradient[:1]), gradient[1:]])

    hooks = [row.requires_grad_(True).register_hook(held) for row in model.token_rows().values()]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


# ---- the loops, as the notebooks show them ------------------------------------------------------------------------
def pretrain(model: UniECG, corpus: Corpus, plan: Training, seed: int, folder: Path) -> dict:
    """Teach the LLM its language: it answers with reports, requests in order, definitions."""
    collator = Collator(model, corpus)
    loop = TrainingLoop(trainable({"llm": model.llm}), plan, seed, folder, "language", muon=model.muon)
    for step in loop:
        step.learn(pretraining_loss(model, collator, step))
    return loop.history


def projection_alignment(
    model: UniECG, corpus: Corpus, cached: CachedTokens, plan: Training, seed: int, folder: Path, modes=MODES
) -> dict:
    """Train W_ts and W_tsi alone; LLM and encoders are frozen. `modes` are those that are shown."""
    collator = Collator(model, corpus)
    loop = TrainingLoop(trainable(projections(model, modes)), plan, seed, folder, "alignment")
    for step in loop:
        step.learn(report_loss(model, collator, cached, step, modes))
    return loop.history


def stage1(
    model: UniECG, corpus: Corpus, cached: CachedTokens, plan: Training, seed: int, folder: Path, modes=MODES
) -> dict:
    """Train the whole LLM with W_ts and W_tsi on image-signal-text triplets; `modes` leaves some of the three out."""
    collator = Collator(model, corpus)
    parts = trainable({"llm": model.llm, **projections(model, modes)})
    loop = TrainingLoop(parts, plan, seed, folder, "stage 1", muon=model.muon)
    for step in loop:
        step.learn(stage1_loss(model, collator, cached, step, modes))
    return loop.history


def train_tokens(model: UniECG, corpus: Corpus, plan: Training, seed: int, folder: Path) -> dict:
    """Train the [ECG] rows alone to be emitted when, and only when, an ECG is asked for."""
    collator = Collator(model, corpus)
    for row in model.token_rows().values():
        row.requires_grad_(True)
    loop = TrainingLoop({"llm": model.llm}, plan, seed, folder, "[ECG] tokens", weight_decay=0.0)
    for step in loop:
        step.learn(tokens_loss(model, collator, step))
    return loop.history


def align_mapper(
    model: UniECG, corpus: Corpus, text_encoder, plan: Training, seed: int, folder: Path, loss: Callable | None = None
) -> dict:
    """Train mapper and rows. [ECG_1] has learned *when* and stays: with tied weights it would decide otherwise.

    `loss(step)` takes the place of `mapper_loss` in a study: a dict with `loss` and `mse`.
    """
    model.mapper.requires_grad_(True).train()
    with rows_but_the_first(model):
        parts = {"mapper": model.mapper, "llm": model.llm}
        loop = TrainingLoop(parts, plan, seed, folder, "mapper", weight_decay=0.0)
        for step in loop:
            mse = None if loss else mapper_loss(model, corpus, text_encoder, step)
            step.learn(**(loss(step) if loss else {"loss": mse, "mse": mse}))
    return loop.history
