"""Study `mapping`: how do words reach the generator, and what does each way cost (U6 to U8, U11, U15)?

All cells start from the chain's language model, [ECG] rows, generator and reader, and train for the same number of
steps; the seeds vary the mapper's start, the order of the patients, the phrasings and the generator's noise. Whatever a
way was shown in training, it is scored on words alone: held-out patients' requests in phrasings that nobody has seen.
"""

import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from ..checkpoints import load_reading
from ..config import Training
from ..findings import table
from ..language.wording import worded
from ..metrics.generation import control, fidelity, requested, standard
from ..model import Mapper, UniECG
from ..stages import Collator
from ..store import Store
from ..training import TrainingLoop, device_and_why, inference
from .making import StudyContext
from .study import cell_basis, size


@dataclass(frozen=True)
class Way:
    """How many [ECG] tokens, how deep a mapper, which losses, and whether the patient's ECG is shown in training."""

    tokens: int | None = None  # None: as many as the profile has
    layers: int = 2  # of the mapper's encoder, and of its decoder; 0: one matrix
    mse: bool = True  # squared error to the condition encoder's vector
    denoising: bool = False  # the generator's own loss: needs ECGs
    attached: bool = False  # the patient's ECG beside the words, in every other step


WAYS = {name: Way(**about) for name, about in table("ways").items()}  # what differs from `Way()`
POINTS = (10, 25, 50, 100)  # percent of the training, at which its alignment loss is kept


def settings(store: Store, variant: str) -> dict:
    """What a cell depends on: patients, training, way, and the artifacts it starts from."""
    P = store.profile
    more = {"direct": (), "chain": ("unified",)}.get(variant, ("stage1", "tokens"))
    out = cell_basis(store, "cohort", "diffusets", "reader", *more)
    out |= {"sample_steps": P.sample_steps, "guidance": P.guidance}
    if variant not in WAYS:
        return out
    way = WAYS[variant]
    return out | {"mapper": asdict(P.study_mapper), "way": asdict(way), "ecg_tokens": way.tokens or P.ecg_tokens}


def model_with_tokens(store: Store, n: int) -> UniECG:
    """The model of notebook 07 with n [ECG] tokens: the trained rows as far as there are so many, then new ones.

    The row of [ECG_1], which decides, is the trained one whatever n is.
    """
    trained = load_reading(store, "tokens")
    if n == len(trained.ecg_ids):
        return trained
    model = load_reading(store, "stage1")
    model.add_ecg_tokens(n)
    with torch.no_grad():
        for mine, theirs in zip(model.token_rows().values(), trained.token_rows().values()):
            mine[: len(theirs)] = theirs[:n]
    return model.requires_grad_(False).eval()


def new_mapper(model: UniECG, way: Way, width: int, seed: int) -> nn.Module:
    """An untrained mapper of this way, (B, n, D_lm) hidden states -> (B, D_c) conditions; the least is one matrix."""
    torch.manual_seed(seed)
    lm, n = model.w_ts.weight.shape[0], len(model.ecg_ids)
    mapper = Mapper(lm, width, way.layers) if way.layers else nn.Sequential(nn.Flatten(), nn.Linear(n * lm, width))
    return mapper.to(device_and_why()[0])


def mapper_loss(
    model: UniECG, condition: torch.nn.Module, pairs: list[tuple[str, str]], ecg: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """*What*: MSE of the mapped [ECG] states to the frozen text encoder's vector of the request.

    `pairs` are B prompts, each with its request in canonical words; ECGs (B, S, D_lm) may stand before them.
    Returns the loss, and the mapped vectors (B, D_c).
    """
    with torch.no_grad():
        target = condition([words for _, words in pairs])  # (B, D_c)
    states = model.ecg_states([prompt for prompt, _ in pairs], ecg)  # (B, n, D_lm), through the frozen LLM
    mapped = model.mapper(states).float()  # (B, D_c)
    return F.mse_loss(mapped, target.float()), mapped


@contextmanager
def rows_but_the_first(model: UniECG) -> Iterator[None]:
    """Let the [ECG] rows train, all but that of [ECG_1], which decides."""
    with ExitStack() as hooks:
        for row in model.token_rows().values():  # (n, D_lm)
            hooks.enter_context(row.requires_grad_(True).register_hook(lambda slope: F.pad(slope[1:], (0, 0, 1, 0))))
        yield


def align(model: UniECG, room: StudyContext, way: Way, plan: Training, seed: int, folder: Path) -> dict:
    """Train `model.mapper` and the [ECG] rows but the first in this way, as GILL does; returns the history.

    A row of the denoising loss costs as much as all else together, so every other row of a batch has it; without the
    squared error, which is then only watched, the rest of the batch is left out.
    """
    generator, collator = room.generator, Collator(model, room.corpus)
    material = [part.to(model.device) for part in room.material(generator)] if way.denoising else []

    model.mapper.requires_grad_(True).train()
    with rows_but_the_first(model):
        parts = {"mapper": model.mapper, "llm": model.llm}
        loop = TrainingLoop(parts, plan, seed, folder, "mapper", weight_decay=0.0, muon=True)
        for step in loop:
            n, noised = (step.batch, slice(None, None, 2)) if way.mse else (step.batch // 2, slice(None))
            rows, *pairs = zip(*collator.draw_requests(step, max(1, n)))
            rows, pairs, ecg = torch.tensor(rows), [*zip(*pairs)], None
            if way.attached and step.number % 2:
                with torch.no_grad():
                    ecg = model.project(*model.encode_ecg(room.train.signal(rows.tolist())))
            mse, mapped = mapper_loss(model, generator.condition, pairs, ecg)
            total = mse if way.mse else 0.0
            if way.denoising:
                clean = (part[rows[noised]] for part in material)  # latents (B', 24, 128), plans (B', PLAN, 128)
                total = total + generator.loss(*clean, mapped[noised], step.generator)
            step.learn(total, mse=mse)
    return loop.history


def measure(room: StudyContext, variant: str, seed: int, folder: Path) -> dict[str, float]:
    """Train and score one cell: how its alignment loss fell, seconds of its training and how many numbers it trained;
    how near its conditions come to the wanted ones, the rate that they tell before any ECG is made, what ECGs made of
    them have of what was asked for, and how like held-out ones they are."""
    requests, generator, out = room.requests[: room.n], room.generator, {}
    with inference():
        wanted = generator.condition([request.text() for request in requests])  # (n, D_c)
    conditions, P = wanted, room.store.profile
    if variant == "chain":
        model = load_reading(room.store, "unified")
    elif variant != "direct":
        way = WAYS[variant]
        model = model_with_tokens(room.store, way.tokens or P.ecg_tokens)
        model.mapper = new_mapper(model, way, generator.condition.settings["width"], seed)
        history = align(model, room, way, P.study_mapper, seed, folder / "mapper")
        curve = history["mse"]
        out = {f"loss.at_{share}": curve[max(0, round(share / 100 * len(curve)) - 1)] for share in POINTS}
        out |= {"train_seconds": history["seconds"], "parameters": size(model.mapper)}
    if variant != "direct":
        rng = random.Random(seed)
        conditions = model.conditions([worded(r, rng) for r in requests])
    numbers, asked = requested(requests)
    with torch.no_grad():
        error = (generator.condition.rate(conditions).cpu() - numbers["rate_bpm"]).abs()
    rates = {"told_hr_median_error_bpm": error.nanmedian().item(), "told_hr_mean_error_bpm": error.nanmean().item()}
    signal = generator.signals(conditions, seed).cpu()  # (n, 12, 1024)
    found = control(room.reader, signal, numbers, asked) | fidelity(room.real, room.reader.features(standard(signal)))
    return out | nearness(conditions, wanted) | rates | found


def nearness(conditions: torch.Tensor, wanted: torch.Tensor) -> dict[str, float]:
    """How near mapped conditions (B, D_c) come to the wanted ones (B, D_c).

    Returns:
        mse; explained, its share that is gone beside the mean of all wanted ones, which knows nothing of the words;
        rank_mean and top1: where the own one stands among all by distance, and how often first; among: B.
    """
    mse, blind = F.mse_loss(conditions, wanted), F.mse_loss(wanted.mean(0).expand_as(wanted), wanted)
    distance = torch.cdist(conditions, wanted)  # (B, B)
    rank = 1 + (distance < distance.diagonal()[:, None]).sum(1)
    return {
        "mse": mse.item(),
        "explained": (1 - mse / blind).item(),
        "rank_mean": rank.float().mean().item(),
        "top1": (rank == 1).float().mean().item(),
        "among": len(wanted),
    }
