"""The ways from words to a condition that study `mapping` compares, and the training of a mapper in any of them."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from ...artifacts import Store
from ...config import Training
from ...diffusets import Generator
from ...language import Corpus
from ...training import device_and_why, fit, rows_of
from ...unified import Mapper, UniECG, inject_ecg_tokens, rows_but_the_first, token_rows
from ...unified.files import load_ecg_tokens, load_reading


@dataclass(frozen=True)
class Way:
    """How many [ECG] tokens, how deep a mapper, which losses, and whether the patient's ECG is shown in training."""

    tokens: int | None = None  # None: as many as the profile has
    layers: int = 2  # of the mapper's encoder, and of its decoder; 0: one matrix
    mse: bool = True  # squared error to the condition encoder's vector
    denoising: bool = False  # the generator's own loss: needs ECGs
    attached: bool = False  # the patient's ECG beside the words, in every other step


class LinearMapper(nn.Module):
    """The least that a mapper can be, one matrix: (B, n, D_lm) hidden states, side by side, -> (B, D_c)."""

    def __init__(self, lm_width: int, condition_width: int, tokens: int):
        super().__init__()
        self.outward = nn.Linear(tokens * lm_width, condition_width)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        return self.outward(states.flatten(1))  # (B, D_c)


@dataclass(frozen=True)
class Lesson:
    """What a mapper learns from: words of N patients, and where their ECGs are to be had.

    Args:
        corpus: of the N training patients.
        generator: frozen; its condition encoder gives the targets.
        clean: () -> latents (N, 8, 128) and plans (N, PLAN, 128), for the denoising loss.
        ecgs: rows (B,) -> (B, 12, 1000) mV, to attach.
    """

    corpus: Corpus
    generator: Generator
    clean: Callable[[], tuple[torch.Tensor, torch.Tensor]]
    ecgs: Callable[[torch.Tensor], torch.Tensor]


def model_with_tokens(store: Store, n: int) -> UniECG:
    """The model of notebook 07 with n [ECG] tokens: the trained rows as far as there are so many, then new ones.

    The row of [ECG_1], which decides, is the trained one whatever n is.
    """
    trained = load_ecg_tokens(store, "tokens")
    if n == len(trained.ecg_ids):
        return trained
    model = load_reading(store, "stage1")
    inject_ecg_tokens(model, n)
    with torch.no_grad():
        for mine, theirs in zip(token_rows(model).values(), token_rows(trained).values()):
            known = min(n, len(theirs))
            mine[:known] = theirs[:known]
    return model.requires_grad_(False).eval()


def new_mapper(model: UniECG, way: Way, width: int, seed: int) -> nn.Module:
    """An untrained mapper of this way onto conditions of this width."""
    torch.manual_seed(seed)
    lm = model.w_ts.weight.shape[0]
    mapper = Mapper(lm, width, way.layers) if way.layers else LinearMapper(lm, width, len(model.ecg_ids))
    return mapper.to(device_and_why()[0])


def align(model: UniECG, lesson: Lesson, way: Way, plan: Training, seed: int, folder: Path) -> dict:
    """Train `model.mapper` and the [ECG] rows but the first, as `unified.align_mapper`, in this way.

    A row of the denoising loss costs as much as all else together, so every other row of a batch has it; without the
    squared error the rest of the batch is left out, and a step takes as long as one of the squared error alone.

    Returns:
        The history of `fit`; `mse` is there in every way, whether it is trained or only watched.
    """
    generator, device = lesson.generator, model.w_ts.weight.device
    model.mapper.requires_grad_(True).train()
    hooks = rows_but_the_first(model)
    latents, plans = (part.to(device) for part in lesson.clean()) if way.denoising else (None, None)

    def loss(step, g):
        rows, rng = rows_of(step, seed, plan.batch, len(lesson.corpus.requests)), random.Random(f"{seed}/{step}")
        rows, noised = (rows, slice(None, None, 2)) if way.mse else (rows[::2], slice(None))
        pairs = [lesson.corpus.say("generate", row, rng) for row in rows.tolist()]
        with torch.no_grad():
            target = generator.condition([words for _, words in pairs])  # (B, D_c)
            seen = way.attached and step % 2
            ecg = model.project(model.encode_signal(lesson.ecgs(rows)), None) if seen else None
        mapped = model.mapper(model.ecg_states([prompt for prompt, _ in pairs], ecg)).float()  # (B, D_c)
        mse = F.mse_loss(mapped, target.float())
        total = mse if way.mse else 0.0
        if way.denoising:
            who = rows[noised]
            total = total + generator.loss(latents[who], plans[who], mapped[noised], g)
        return {"loss": total, "mse": mse.detach()}

    parts = {"mapper": model.mapper, "llm": model.llm}
    history = fit("mapper", parts, loss, plan, seed=seed, folder=folder, weight_decay=0.0)
    for hook in hooks:
        hook.remove()
    model.requires_grad_(False).eval()
    return history
