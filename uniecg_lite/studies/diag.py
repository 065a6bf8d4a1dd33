"""Studies `diagcodes` and `diagecg`: what each part of DiagECG-lite brings (D1 to D7)."""

import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from safetensors.torch import load_file

from ..checkpoints import load_codec, load_codes, load_reading, new_codec, new_diagecg
from ..cohort import Cohort, load
from ..config import Profile, Training
from ..diagecg.diagecg_metrics import (
    attention_metrics,
    codec_metrics,
    forecast_metrics,
    qa_metrics,
    qa_named,
    real_metrics,
    report_metrics,
    reports,
    waves_kept,
)
from ..diagecg.diagecg_model import DiagECG
from ..diagecg.diagecg_stages import codes_of, forecast, train_tokenizer, tune
from ..diagecg.fsq_tokenizer import ECGTokenizer
from ..language.conversations import Corpus
from ..metrics.chain import real_folder
from ..metrics.chain import reports as unified_reports
from ..metrics.qa import answers, draw_questions, qa_scores
from ..model import UniECG
from ..simulator.simulate import simulate
from ..stages import projection_alignment, stage1
from ..store import Store, save_tensors
from ..training import device_and_why
from .systems import load_views

# --- Studies of DiagECG-lite: `diagcodes`, tokenizers by rate and distortion, and `diagecg`, the claims D1 to D7.
#
# All cells of a study have the same patients, the same language model and the same number of steps.

CODES_VARIANTS = {
    "ours": "the profile's tokenizer: each lead alone, shared weights",
    "joint": "one encoder that sees all leads at once, of about as many parameters (D1)",
    "single": "one word for a stretch of time, as published",
    "coarse": "two levels fewer of each number",
    "fine": "two levels more of each number",
}
VARIANTS = {
    "full": "ours: forecasting, then tuning on the chain's fact words, with age and sex in the prompt",
    "continuous": "as `unforecast`, on what fact words are cut from, through a projection that starts anywhere (D2)",
    "unforecast": "tuning alone, by as many steps as forecasting and tuning (D3)",
    "unknown": "without age and sex in the prompt (D4)",
    "waves": "as `full`, but codes are read, one for a stretch of time, as published (D6)",
    "joint": "as `waves`, on codes of a joint encoder (D1)",
    "vectors": "UniECG-lite: projected vectors of signal and image, by as many steps (D7)",
}
WAVES = ("waves", "joint")  # a tokenizer of their own, without fact words
WITHOUT_FORECAST = ("unforecast", "continuous")  # numbers cannot be forecast as words
QUESTIONS = 4  # for each scored patient
SHARE = 8  # a cell trains this many times shorter than the chain
STRANGERS = 5151  # seed of simulated patients whose wave positions are known (D6)


def short(plan: Training) -> Training:
    """The plan of a cell."""
    return replace(plan, steps=max(6, plan.steps // SHARE), warmup=min(plan.warmup, max(2, plan.steps // SHARE // 4)))


# ---- tokenizers -------------------------------------------------------------------------------------------------
def codec_of(profile: Profile, variant: str, **more) -> ECGTokenizer:
    """An untrained tokenizer of a variant of `diagcodes`; `more` of its sizes."""
    levels = profile.diag_levels
    other = {
        "joint": {"lead_wise": False, "width": joint_width(profile)},
        "single": {"books": 1},
        "coarse": {"levels": tuple(n - 2 for n in levels)},
        "fine": {"levels": tuple(n + 2 for n in levels)},
    }
    return new_codec(profile, facts=None, **other.get(variant, {}), **more)


def joint_width(profile: Profile) -> int:
    """Channels per lead of a joint encoder that makes the whole tokenizer as large as the lead-wise one, or nearly so.

    At the same width it would be larger: it has a matrix for every pair of leads.
    """
    wanted = _size(new_codec(profile, facts=None))
    widths = range(1, profile.diag_width + 1)
    return min(widths, key=lambda w: abs(_size(new_codec(profile, facts=None, lead_wise=False, width=w)) - wanted))


def _size(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def codes_settings(store: Store, variant: str) -> dict:
    """What a cell of `diagcodes` depends on."""
    P = store.profile
    codec = codec_of(P, variant)
    return {
        "records": P.records,
        "scored": P.study_scored,
        "tokenizer": asdict(short(P.diag_tokenizer)),
        "codec": codec.settings,
        "parameters": _size(codec),
        "inputs": {"cohort": store.meta("cohort")["hash"]},
    }


@dataclass
class Patients:
    """The patients of both studies."""

    store: Store
    train: Cohort
    test: Cohort  # the scored ones alone

    @staticmethod
    def load(store: Store) -> "Patients":
        """Open the cohort."""
        splits = store.path("cohort") / "splits"
        train, test = load(splits, "train"), load(splits, "test")
        return Patients(store, train, test.first(store.profile.study_scored))


def trained_codec(room: Patients, variant: str, seed: int, folder: Path, **more) -> ECGTokenizer:
    """The tokenizer of a cell; its weights are kept in `folder`, so that it trains once."""
    torch.manual_seed(seed)
    codec, kept = codec_of(room.store.profile, variant, **more).to(device_and_why()[0]), folder / "codec.safetensors"
    if not kept.exists():
        train_tokenizer(codec, room.train, short(room.store.profile.diag_tokenizer), seed, folder / "codec")
        save_tensors(codec.state_dict(), folder / "codec.part")
        (folder / "codec.part.safetensors").rename(kept)
    codec.load_state_dict(load_file(kept))
    return codec.requires_grad_(False).eval()


def codes_measure(room: Patients, variant: str, seed: int, folder: Path) -> dict[str, float]:
    """Train and score one tokenizer."""
    codec = trained_codec(room, variant, seed, folder)
    signal = room.test.signal(range(len(room.test)))
    return {
        **codec_metrics(codec, signal),
        **waves_kept(codec, signal, room.test.truth()),
        "diagecg.bits_per_ecg": codec.many(signal.shape[-1]) * math.log2(codec.codes),
    }


# ---- models -----------------------------------------------------------------------------------------------------
def settings(store: Store, variant: str) -> dict:
    """What a cell of `diagecg` depends on."""
    P = store.profile
    start = ["encoders"] if variant == "vectors" else [] if variant in WAVES else ["diag_tokenizer"]
    hashes = {name: store.meta(name)["hash"] for name in ("cohort", "language", *start)}
    trainings = {name: asdict(plan) for name, plan in plans(P, variant).items()}
    rank = {} if variant == "vectors" else {"rank": P.diag_rank}
    return {"records": P.records, "scored": P.study_scored, **trainings, **rank, "inputs": hashes}


def plans(profile: Profile, variant: str) -> dict[str, Training]:
    """The trainings of a cell; those of the language model have the same number of steps in every variant."""
    ahead, tuning = short(profile.diag_forecast), short(profile.diag_tuning)
    together = ahead.steps + tuning.steps
    if variant == "vectors":
        first = short(profile.alignment)
        return {"alignment": first, "stage1": replace(short(profile.stage1), steps=together - first.steps)}
    if variant in WITHOUT_FORECAST:
        return {"tuning": replace(tuning, steps=together)}
    own = {"tokenizer": short(profile.diag_tokenizer)} if variant in WAVES else {}
    return {**own, "forecast": ahead, "tuning": tuning}


def prepare(store: Store) -> Patients:
    """Patients; the language model must be there, too."""
    store.path("language")
    return Patients.load(store)


def measure(room: Patients, variant: str, seed: int, folder: Path) -> dict[str, float]:
    """Train and score one cell: questions by type, reports, real records, attention."""
    P = room.store.profile
    if variant == "vectors":
        model = train_vectors(room.store, room.train, room.test, plans(P, variant), seed, folder)
        return measure_vectors(model, room.test, QUESTIONS * P.study_scored)
    model, known = trained(room, variant, seed, folder)
    aware, numbers = variant != "unknown", variant == "continuous"
    corpus = Corpus(room.test.truth(), room.test.column("patient"))
    seen = codes_of(model.codec, room.test, kind="numbers" if numbers else "read")
    out = qa_metrics(model, room.test, seen, QUESTIONS * P.study_scored, 0, aware)
    out |= report_metrics(reports(model, corpus, seen, aware), corpus)
    if variant in WAVES:  # the chain's tokenizer is scored by notebook 11
        out |= codec_metrics(model.codec, room.test.signal(range(len(room.test))))
    if not numbers:
        out |= forecast_metrics(model, codes_of(model.codec, room.test), known)
    if variant == "waves":
        strangers = simulate(STRANGERS, torch.arange(P.study_scored))
        shown = model.codec.encode(strangers.signal.to(model.device)).cpu()
        out |= attention_metrics(model, strangers, shown, control=new_diagecg(room.store, model.codec))
    if variant == "full" and real_folder() is not None:
        out |= real_metrics(model, real_folder())
    return out


def trained(room: Patients, variant: str, seed: int, folder: Path) -> tuple[DiagECG, torch.Tensor]:
    """The model of a cell, and the codes of the training patients."""
    P, numbers = room.store.profile, variant == "continuous"
    if variant in WAVES:
        codec = trained_codec(room, "joint" if variant == "joint" else "ours", seed, folder, books=1)
        codes = read = codes_of(codec, room.train)
    else:
        codec = load_codec(room.store).to(device_and_why()[0])
        codes = load_codes(room.store)
        read = codes_of(codec, room.train, kind="numbers") if numbers else load_codes(room.store, "read")
    torch.manual_seed(seed)
    model, own = new_diagecg(room.store, codec), plans(P, variant)
    model.adapt(P.diag_rank)
    if numbers:
        width = model.llm.get_input_embeddings().weight.shape[1]
        model.bridge = torch.nn.Linear(read.shape[-1], width).to(model.device)
    if "forecast" in own:
        forecast(model, codes, own["forecast"], seed, folder / "forecast")
    corpus = Corpus(room.train.truth(), room.train.column("patient"))
    tune(model, corpus, read, own["tuning"], seed, folder / "tuning", aware=variant != "unknown")
    return model, codes


# --- Variant `vectors` of study `diagecg`: UniECG-lite from the same language model and patients (D7).


def train_vectors(
    store: Store, train: Cohort, test: Cohort, plans: dict[str, Training], seed: int, folder: Path
) -> UniECG:
    """W_ts and W_tsi aligned, then the language model trained with them, on signal and image of the same patients.

    Args:
        store: of the chain, whose encoders and language model are the start.
        train: patients to learn from.
        test: patients whose encoder tokens are kept beside theirs (`load_views`).
        plans: of `alignment` and `stage1`.
        seed: of the projections' start, the order of the patients and the words they are asked in.
        folder: where checkpoints go.
    """
    torch.manual_seed(seed)
    model, views = load_reading(store, "language"), load_views(store, train, test)[0]
    corpus = Corpus(train.truth(), train.column("patient"))
    projection_alignment(model, corpus, views, plans["alignment"], seed, folder / "alignment")
    stage1(model, corpus, views, plans["stage1"], seed, folder / "stage1")
    return model.eval()


def measure_vectors(model: UniECG, test: Cohort, questions: int) -> dict[str, float]:
    """The very questions and reports of the other variants, under the same names."""
    corpus = Corpus(test.truth(), test.column("patient"))
    asked = draw_questions(corpus, questions, 0)
    found = qa_named(qa_scores(asked, answers(model, test, asked)))
    return found | report_metrics(unified_reports(model, test.signal(range(len(test)))), corpus)
