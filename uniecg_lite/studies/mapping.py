"""Study `mapping`: the mapper, the number of [ECG] tokens, the loss of stage 2 (U6 to U8, U11, U15)."""

import random
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from ..checkpoints import load_ecg_tokens, load_generator, load_reader, load_reading
from ..cohort import Cohort, load
from ..config import Profile, Training
from ..generator.generator import Generator
from ..generator.generator_stages import clean_ecgs
from ..language.conversations import Corpus
from ..language.requests import Request, fill, phrasings
from ..metrics.chain import generation_requests
from ..metrics.generation import control, fidelity, requested, standard
from ..metrics.reader import Reader
from ..model import Mapper, UniECG
from ..stages import inject_ecg_tokens, rows_but_the_first, token_rows
from ..store import Store
from ..training import device_and_why, fit, rows_of

# --- The ways from words to a condition that study `mapping` compares, and the training of a mapper in any of them.


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
        pairs = [lesson.corpus.sample("generate", row, rng) for row in rows.tolist()]
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


# --- Study `mapping`: how the words reach the generator, and what each way costs (U6, U7, U8, U11, U15).
#
# All cells start from the chain's language model, [ECG] rows, generator and reader, and train for the same number of
# steps; the seeds vary the mapper's start, the order of the patients, the phrasings and the generator's noise.
# Whatever a way was shown in training, it is scored on words alone: held-out patients' requests in phrasings that
# nobody has seen.

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
VARIANTS = {
    "ours": "the profile's [ECG] tokens, a mapper of 2 + 2 layers, squared error, words alone",
    "linear": "one matrix in place of the mapper (U6)",
    "depth1": "1 + 1 layers (U6)",
    "depth4": "4 + 4 layers (U6)",
    "tokens1": "one [ECG] token (U7)",
    "tokens2": "two (U7)",
    "tokens4": "four (U7)",
    "tokens16": "sixteen (U7)",
    "attached": "the patient's ECG beside the words in every other step (U8)",
    "denoising": "the generator's denoising loss, through it, in place of the squared error (U11)",
    "both": "both losses (U11)",
    "chain": "nothing trained: the mapper of notebook 08 as it is (U15)",
    "direct": "nothing trained, no language model: the condition encoder reads the request (U15)",
}
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
        ecgs = clean_ecgs(self.train)
        return self.generator.material(ecgs)

    @property
    def lesson(self) -> Lesson:
        """What a mapper learns from."""
        return Lesson(self.corpus, self.generator, lambda: self.clean, lambda rows: self.train.signal(rows.tolist()))


def settings(store: Store, variant: str) -> dict:
    """What a cell depends on: patients, training, way, and the artifacts it starts from."""
    P = store.profile
    more = {"direct": (), "chain": ("unified",)}.get(variant, ("stage1", "tokens"))
    hashes = {name: store.meta(name)["hash"] for name in ("cohort", "diffusets", "reader", *more)}
    out = {"records": P.records, "scored": P.study_scored, "inputs": hashes}
    out |= {"sample_steps": P.sample_steps, "guidance": P.guidance}
    if variant not in WAYS:
        return out
    return out | {"mapper": asdict(P.study_mapper), "way": asdict(WAYS[variant]), "ecg_tokens": tokens_of(P, variant)}


def tokens_of(profile: Profile, variant: str) -> int:
    """How many [ECG] tokens a variant has."""
    return WAYS[variant].tokens or profile.ecg_tokens


def prepare(store: Store) -> StudyContext:
    """Open the cohort, the chain's generator and reader; features of held-out ECGs."""
    splits = store.path("cohort") / "splits"
    train, test = load(splits, "train"), load(splits, "test")
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
    with torch.no_grad():
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
        return load_ecg_tokens(room.store, "unified"), {}
    P, way = room.store.profile, WAYS[variant]
    model = model_with_tokens(room.store, tokens_of(P, variant))
    model.mapper = new_mapper(model, way, room.generator.condition.settings["width"], seed)
    history = align(model, room.lesson, way, P.study_mapper, seed, folder / "mapper")
    curve = history["mse"]
    out = {f"loss.at_{share}": curve[max(0, round(share / 100 * len(curve)) - 1)] for share in POINTS}
    size = sum(p.numel() for p in model.mapper.parameters())
    return model, out | {"train_seconds": history["seconds"], "parameters": size}


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
