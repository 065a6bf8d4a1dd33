"""Studies `diagcodes` and `diagecg`: what each part of DiagECG-lite brings (D1 to D7).

`diagcodes` sets tokenizers side by side by rate and distortion. All cells of a study have the same patients, the same
language model and the same number of steps.
"""

import math
from dataclasses import asdict, replace
from pathlib import Path

import torch

from ..checkpoints import load_codec, load_diagecg, load_reading, new_codec
from ..config import Profile, Training
from ..diagecg import diagecg_metrics as scored
from ..diagecg.diagecg_model import DiagECG
from ..diagecg.diagecg_stages import codes_of, forecast, train_tokenizer, tune
from ..diagecg.fsq_tokenizer import ECGTokenizer
from ..language.conversations import Corpus
from ..metrics.chain import real_folder, reports
from ..metrics.qa import answers, draw_questions, qa_scores
from ..simulator.simulate import simulate
from ..store import Store
from ..training import device_and_why
from .study import ABOUT, cell_basis, size
from .systems import Patients, train_once, train_reading

CODES_VARIANTS, VARIANTS = ABOUT["diagcodes"]["variants"], ABOUT["diagecg"]["variants"]
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
    wanted, widths = size(new_codec(profile, facts=None)), range(1, profile.diag_width + 1)
    return min(widths, key=lambda w: abs(size(new_codec(profile, facts=None, lead_wise=False, width=w)) - wanted))


def codes_settings(store: Store, variant: str) -> dict:
    """What a cell of `diagcodes` depends on."""
    P, codec = store.profile, codec_of(store.profile, variant)
    about = {"tokenizer": asdict(short(P.diag_tokenizer)), "codec": codec.settings, "parameters": size(codec)}
    return cell_basis(store, "cohort") | about


def trained_codec(room: Patients, variant: str, seed: int, folder: Path, **more) -> ECGTokenizer:
    """The tokenizer of a cell; its weights are kept in `folder`, so that it trains once."""
    torch.manual_seed(seed)
    plan = short(room.store.profile.diag_tokenizer)
    codec = codec_of(room.store.profile, variant, **more).to(device_and_why()[0])
    kept, where = folder / "codec.safetensors", folder / "codec"
    train_once(lambda: train_tokenizer(codec, room.train, plan, seed, where), codec.state_dict(), kept)
    return codec.requires_grad_(False).eval()


def codes_measure(room: Patients, variant: str, seed: int, folder: Path) -> dict[str, float]:
    """Train and score one tokenizer."""
    codec = trained_codec(room, variant, seed, folder)
    signal = room.test.signal(range(len(room.test)))
    bits = {"diagecg.bits_per_ecg": codec.many(signal.shape[-1]) * math.log2(codec.codes)}
    return scored.codec_metrics(codec, signal) | scored.waves_kept(codec, signal, room.truth) | bits


# ---- models -----------------------------------------------------------------------------------------------------
def settings(store: Store, variant: str) -> dict:
    """What a cell of `diagecg` depends on."""
    P = store.profile
    start = ["encoders"] if variant == "vectors" else [] if variant in WAVES else ["diag_tokenizer"]
    out = cell_basis(store, "cohort", "language", *start)
    out |= {name: asdict(plan) for name, plan in plans(P, variant).items()}
    return out if variant == "vectors" else out | {"rank": P.diag_rank}


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


def measure(room: Patients, variant: str, seed: int, folder: Path) -> dict[str, float]:
    """Train and score one cell: questions by type, reports, real records, attention.

    `vectors` is UniECG-lite from the same language model and patients (D7): W_ts and W_tsi aligned, then trained with
    the LLM. It is asked the very questions of the other variants and writes the same reports, scored under the same
    names. The seed varies the projections' start, the order of the patients and the words they are asked in.
    """
    P, test = room.store.profile, room.test
    learned, corpus = (Corpus(part.truth(), part.column("patient")) for part in (room.train, test))
    if variant == "vectors":
        torch.manual_seed(seed)
        model, views = load_reading(room.store, "language"), room.views[0]  # in this order, as the first draws by seed
        train_reading(model, learned, views, plans(P, "vectors"), seed, folder)
        model.eval()
        asked = draw_questions(corpus, QUESTIONS * P.study_scored, 0)
        found = scored.qa_named(qa_scores(asked, answers(model, test, asked)))
        return found | scored.report_metrics(reports(model, test.signal(range(len(test)))), corpus)
    model, known = trained(room, learned, variant, seed, folder)
    aware, numbers = variant != "unknown", variant == "continuous"
    seen = codes_of(model.codec, test, kind="numbers" if numbers else "read")
    out = scored.qa_metrics(model, corpus, seen, QUESTIONS * P.study_scored, 0, aware)
    out |= scored.report_metrics(scored.reports(model, corpus, seen, aware), corpus)
    if variant in WAVES:  # the chain's tokenizer is scored by notebook 11
        out |= scored.codec_metrics(model.codec, test.signal(range(len(test))))
    if not numbers:
        out |= scored.forecast_metrics(model, codes_of(model.codec, test), known)
    if variant == "waves":
        strangers = simulate(STRANGERS, torch.arange(P.study_scored))
        shown = model.codec.encode(strangers.signal.to(model.device)).cpu()
        control = load_diagecg(room.store, "language", model.codec)
        out |= scored.attention_metrics(model, strangers, shown, control=control)
    if variant == "full" and real_folder() is not None:
        out |= scored.real_metrics(model, real_folder())
    return out


def trained(room: Patients, corpus: Corpus, variant: str, seed: int, folder: Path) -> tuple[DiagECG, torch.Tensor]:
    """The model of a cell, and the codes of the training patients."""
    P, numbers = room.store.profile, variant == "continuous"
    if variant in WAVES:
        codec = trained_codec(room, "joint" if variant == "joint" else "ours", seed, folder, books=1)
        codes = read = codes_of(codec, room.train)
    else:
        codec = load_codec(room.store).to(device_and_why()[0])
        kept = room.store.tensors("diag_tokenizer", "codes")
        codes = kept["codes"]
        read = codes_of(codec, room.train, kind="numbers") if numbers else kept["read"]
    torch.manual_seed(seed)
    model, own = load_diagecg(room.store, "language", codec), plans(P, variant)
    model.adapt(P.diag_rank)
    if numbers:
        width = model.llm.get_input_embeddings().weight.shape[1]
        model.bridge = torch.nn.Linear(read.shape[-1], width).to(model.device)
    if "forecast" in own:
        forecast(model, codes, own["forecast"], seed, folder / "forecast")
    tune(model, corpus, read, own["tuning"], seed, folder / "tuning", aware=variant != "unknown")
    return model, codes
