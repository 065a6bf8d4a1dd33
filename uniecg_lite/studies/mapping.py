"""Study `mapping`: how do words reach the generator, and what does each way cost (U6 to U8, U11, U15)?

All cells start from the chain's language model, [ECG] rows, generator and reader, and train for the same number of
steps; the seeds vary the mapper's start, the order of the patients, the phrasings and the generator's noise. Whatever a
way was shown in training, it is scored on words alone: held-out patients' requests in phrasings that nobody has seen.
"""

import random
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from ..checkpoints import load_generator, load_reader, load_reading
from ..cohort import Cohort
from ..config import Training
from ..generator.generator import Generator
from ..generator.generator_stages import clean_ecgs
from ..language.conversations import Corpus
from ..language.requests import Request, fill, phrasings
from ..metrics.chain import generation_requests
from ..metrics.generation import control, fidelity, requested, standard
from ..metrics.reader import Reader
from ..model import Mapper, UniECG
from ..stages import mapper_loss, rows_but_the_first
from ..store import Store
from ..training import TrainingLoop, device_and_why, inference
from .study import ABOUT, hashes, open_split, size


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
            known = min(n, len(theirs))
            mine[:known] = theirs[:known]
    return model.requires_grad_(False).eval()


def new_mapper(model: UniECG, way: Way, width: int, seed: int) -> nn.Module:
    """An untrained mapper of this way onto conditions of this width."""
    torch.manual_seed(seed)
    lm = model.w_ts.weight.shape[0]
    mapper = Mapper(lm, width, way.layers) if way.layers else LinearMapper(lm, width, len(model.ecg_ids))
    return mapper.to(device_and_why()[0])


WAYS = {
    "ours": Way(),
    "linear": Way(layers=0),
    "depth1": Way(layers=1),
    "depth4": Way(layers=4),
    "tokens1": Way(tokens=1),
    "tokens2": Way(tokens=2),
    "tokens4": Way(tokens=4),
    "tokens16": Way(tokens=16),
    "attached": Way(attached=True),
    "denoising": Way(mse=False, denoising=True),
    "both": Way(denoising=True),
}
VARIANTS = ABOUT["mapping"]["variants"]
POINTS = (10, 25, 50, 100)  # percent of the training, at which its alignment loss is kept


@dataclass
class StudyContext:
    """What the cells share: the chain's parts, training patients, and who is asked for."""

    store: Store
    train: Cohort
    corpus: Corpus  # of the training patients
    generator: Generator
    reader: Reader
    requests: list[Request]  # of n held-out patients
    real: torch.Tensor  # (2 n, 256) features of other held-out patients' clean ECGs

    @cached_property
    def clean(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Latents (N, 8, 128) and plans (N, PLAN, 128) of the training patients' clean ECGs, for the denoising loss."""
        return self.generator.material(clean_ecgs(self.train))


def align(model: UniECG, room: StudyContext, way: Way, plan: Training, seed: int, folder: Path) -> dict:
    """Train `model.mapper` and the [ECG] rows but the first in this way, as notebook 08 does; returns the history.

    A row of the denoising loss costs as much as all else together, so every other row of a batch has it; without the
    squared error, which is then only watched, the rest of the batch is left out.
    """
    generator, corpus = room.generator, room.corpus
    latents, plans = (part.to(model.device) for part in room.clean) if way.denoising else (None, None)

    model.mapper.requires_grad_(True).train()
    with rows_but_the_first(model):
        parts = {"mapper": model.mapper, "llm": model.llm}
        loop = TrainingLoop(parts, plan, seed, folder, "mapper", weight_decay=0.0)
        for step in loop:
            rows = step.rows(len(corpus.reports))
            rows, noised = (rows, slice(None, None, 2)) if way.mse else (rows[::2], slice(None))
            pairs = [corpus.sample("generate", row, step.rng) for row in rows.tolist()]
            ecg = None
            if way.attached and step.number % 2:
                with torch.no_grad():
                    ecg = model.project(model.encode_signal(room.train.signal(rows.tolist())), None)
            mse, mapped = mapper_loss(model, generator.condition, pairs, ecg)
            total = mse if way.mse else 0.0
            if way.denoising:
                chosen = rows[noised]
                total = total + generator.loss(latents[chosen], plans[chosen], mapped[noised], step.generator)
            step.learn(total, mse=mse)
    model.eval()
    return loop.history


def settings(store: Store, variant: str) -> dict:
    """What a cell depends on: patients, training, way, and the artifacts it starts from."""
    P = store.profile
    more = {"direct": (), "chain": ("unified",)}.get(variant, ("stage1", "tokens"))
    inputs = hashes(store, "cohort", "diffusets", "reader", *more)
    out = {"records": P.records, "scored": P.study_scored, "inputs": inputs}
    out |= {"sample_steps": P.sample_steps, "guidance": P.guidance}
    if variant not in WAYS:
        return out
    way = WAYS[variant]
    return out | {"mapper": asdict(P.study_mapper), "way": asdict(way), "ecg_tokens": way.tokens or P.ecg_tokens}


def prepare(store: Store) -> StudyContext:
    """Open the cohort, the chain's generator and reader; features of held-out ECGs."""
    train, test = open_split(store, "train"), open_split(store, "test")
    n, reader = min(store.profile.study_scored, len(test) // 3), load_reader(store)
    others = Cohort(test.table.select(range(n, 3 * n)))
    return StudyContext(
        store=store,
        train=train,
        corpus=Corpus(train.truth()),
        generator=load_generator(store),
        reader=reader,
        requests=generation_requests(test, n),
        real=reader.features(standard(clean_ecgs(others))),
    )


def measure(room: StudyContext, variant: str, seed: int, folder: Path) -> dict[str, float]:
    """Train and score one cell: how near its conditions come to the wanted ones, and what ECGs are made of them."""
    out = {}
    with inference():
        wanted = room.generator.condition([request.text() for request in room.requests])  # (n, D_c)
    conditions = wanted
    if variant != "direct":
        model, out = bridged(room, variant, seed, folder)
        rng = random.Random(seed)
        prompts = [fill(rng.choice(phrasings("generate", "unseen")), request, rng) for request in room.requests]
        conditions = model.conditions(prompts)
    return out | nearness(conditions, wanted) | predicted(room, conditions) | generated(room, conditions, seed)


def bridged(room: StudyContext, variant: str, seed: int, folder: Path) -> tuple[UniECG, dict[str, float]]:
    """The model of a cell; how its alignment loss fell, seconds of its training, and how many numbers it trained."""
    if variant == "chain":
        return load_reading(room.store, "unified"), {}
    P, way = room.store.profile, WAYS[variant]
    model = model_with_tokens(room.store, way.tokens or P.ecg_tokens)
    model.mapper = new_mapper(model, way, room.generator.condition.settings["width"], seed)
    history = align(model, room, way, P.study_mapper, seed, folder / "mapper")
    curve = history["mse"]
    out = {f"loss.at_{share}": curve[max(0, round(share / 100 * len(curve)) - 1)] for share in POINTS}
    return model, out | {"train_seconds": history["seconds"], "parameters": size(model.mapper)}


# ---- scores -----------------------------------------------------------------------------------------------------
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


@torch.no_grad()
def predicted(room: StudyContext, conditions: torch.Tensor) -> dict[str, float]:
    """The rate that conditions (n, D_c) tell, against the rate that was asked for, before any ECG is made."""
    error = (room.generator.condition.rate(conditions).cpu() - requested(room.requests)[0]["rate_bpm"]).abs()
    error = error[~error.isnan()]
    return {"told_hr_median_error_bpm": error.median().item(), "told_hr_mean_error_bpm": error.mean().item()}


def generated(room: StudyContext, conditions: torch.Tensor, seed: int) -> dict[str, float]:
    """ECGs made from conditions (n, D_c): what they have of what was asked for, and how like held-out ones they are."""
    signal = room.generator.signals(conditions, seed).cpu()  # (n, 12, 1024)
    features = room.reader.features(standard(signal))
    return control(room.reader, signal, *requested(room.requests)) | fidelity(room.real, features)
