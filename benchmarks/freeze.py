"""What must stay as it is while the package is rearranged: record it once, compare after every change.

    python benchmarks/freeze.py record [parts...]     write benchmarks/frozen.json (only these parts of it)
    python benchmarks/freeze.py compare [parts...]    say what differs; exit code 1 if anything does

The names of keys stay as they were first recorded, whatever the package calls things by now. Everything runs on one
thread in float32 with fixed seeds. A tensor is kept as a hash of its bytes (`bits`) and a few figures (`about`), which
may differ by a relative 1e-5; `compare --near` passes over bits where the figures agree, as on another kind of
processor.
"""

# ruff: noqa: E402, I001 - threads are set before anything that starts them
import os

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS"):
    os.environ[_name] = "1"
for _name in ("UNIECG_PROFILE", "UNIECG_LLM", "UNIECG_ARTIFACTS", "UNIECG_STRICT"):
    os.environ.pop(_name, None)
os.environ.update(
    HF_HUB_OFFLINE="1",
    TOKENIZERS_PARALLELISM="false",
    MPLBACKEND="agg",
    COLUMNS="200",
    TERM="dumb",
    CUDA_VISIBLE_DEVICES="",
)
os.environ["UNIECG_REAL_ECG"] = "nowhere"  # real records are on some machines only

import argparse
import contextlib
import hashlib
import io
import json
import math
import random
import re
import shutil
import sys
import tempfile
import time
from dataclasses import asdict, fields, is_dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import nn

ROOT = Path(__file__).resolve().parents[1]
FROZEN = ROOT / "benchmarks" / "frozen.json"
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
torch.set_num_threads(1)
# fmt: off
import tiny
from diffusets_published import parameters, published_schedule, PublishedDenoiser, PublishedVAE
from llm_judge import chat_report, ChatModel, judged
from publish import results, studies_table, syllabus, update_readme
from verify import verify
from uniecg_lite import cli, cohort
from uniecg_lite.beats import (
    beat_size_spread, cut_beats, heart_rate, measure_beat, peak_times, r_peaks, representative_beat,
    rhythm_features, slopes
)
from uniecg_lite.checkpoints import (
    load_codec, load_diagecg, load_encoders, load_reader, load_reading, new_codec,
    new_encoders, save_part, save_stage
)
from uniecg_lite.config import BUDGETS, LAPTOP, profile as find_profile, PROFILES, SMOKE, Training
from uniecg_lite.course.lesson import check, confirm, shape
from uniecg_lite.diagecg import diagecg_metrics
from uniecg_lite.diagecg.diagecg_metrics import (
    attention, attention_metrics, codec_metrics, overlap, qa_named, report_metrics,
    token_waves, waves_kept
)
from uniecg_lite.diagecg.diagecg_model import code_names, DiagECG
from uniecg_lite.diagecg.diagecg_stages import (
    codes_of, forecast, train_tokenizer as train_codec, tune, windows
)
from uniecg_lite.diagecg.fsq_tokenizer import ECGTokenizer, fact_rows, meanings, noisy, words_of
from uniecg_lite.drawing import (
    alt_text, bars, compare, figure, losses as loss_figure, png, read_page, save_page
)
from uniecg_lite.ecg import ECG
from uniecg_lite.ecg_image import raster, segments
from uniecg_lite.encoders import (
    FactProbes, grid as grid_of, GRIDS, place_on_grid, amplify_small_waves, spread_on_grid, targets
)
from uniecg_lite.findings import CODES, FINDINGS, lead_signs, report, table
from uniecg_lite.generator.event_plan import (
    EventModel, HZ, lay_out, LENGTH, shown, TemplateModel, templates
)
from uniecg_lite.generator.denoiser import Denoiser, new_denoiser
from uniecg_lite.generator.diffusion import Design, path_of, with_faults
from uniecg_lite.generator.generator import Generator
from uniecg_lite.generator.generator_stages import (
    AVERAGED, clean_hearts, drawn_words, read_requests, simulated_events, train_denoiser, train_vae
)
from uniecg_lite.generator.text_encoder import numbers_of, TextEncoder, waves
from uniecg_lite.generator.vae import compand, expand, VAE
from uniecg_lite.language.conversations import Corpus, notes, TEXT_MIX
from uniecg_lite.language.question_facts import sides, TOPICS, undecided
from uniecg_lite.language.questions import (
    ask, full_answer, listed, parse_answer, TEMPLATES, words as question_words
)
from uniecg_lite.language.report_parser import parse, parse_report
from uniecg_lite.language.requests import NO_ECG, phrasings, questions as term_questions, Request
from uniecg_lite.language.tokenizer import encode, number_rows, PLAIN_TEMPLATE, train_tokenizer
from uniecg_lite.language.wording import fill
from uniecg_lite.leads import from_independent, lead_law_residual, lead_name, LEADS
from uniecg_lite.llm import IGNORED, load_llm, pocket_llm
from uniecg_lite.metrics import chain as chain_scores, qa, real_records as real
from uniecg_lite.metrics.chain import generated_metrics, generation_requests
from uniecg_lite.metrics.evidence import conflict_metrics, conflict_scores, occlusion, ratios, wave_windows, WAVES
from uniecg_lite.metrics.generation import (
    clip_scores, control, fid, fidelity, manifolds, memorised, number_errors, person_scores,
    requested, standard
)
from uniecg_lite.metrics.grounded import contradictions, grounded, grounded_one, Judged, REQUIRED
from uniecg_lite.metrics.prompt_scores import load_prompts, prompt_metrics
from uniecg_lite.metrics.qa import chance_scores, draw_questions, majority, qa_scores
from uniecg_lite.metrics.reader import decode_facts, facts, facts_loss, Reader
from uniecg_lite.metrics.real_records import finding_table, load_records, rated_records, resampled
from uniecg_lite.metrics.realism import (
    band_rms, comparable, compare as realism_of, quiet_noise, separability, sinus_like, statistics
)
from uniecg_lite.metrics.reports import (
    finding_scores, interval_errors, macro_f1, reading_scores, report_scores, table_of, weighted_f1
)
from uniecg_lite.model import Mapper, tokens_per_ecg, UniECG
from uniecg_lite.simulator import hashing
from criteria.rules import criteria_pass
from uniecg_lite.simulator.hearts import textbook
from uniecg_lite.simulator.noise import noise
from uniecg_lite.simulator.sample import sample
from uniecg_lite.simulator.schedule import schedule as beat_schedule
from uniecg_lite.simulator.simulate import simulate
from uniecg_lite.stages import CachedTokens, Collator
from uniecg_lite.studies.systems import train_reading, train_tokens
from uniecg_lite.store import fingerprint, PRODUCERS, save_tensors, SIZES, Store
from uniecg_lite.studies.diag import codec_of, CODES_VARIANTS, joint_width
from uniecg_lite.studies.grid import run_study, STUDIES, study_list
from uniecg_lite.studies.making import ConditionalVAE, DESIGNS, equal_width
from uniecg_lite.studies.real import best_threshold, means, STEPS as REALISM_STEPS
from uniecg_lite.studies.study import (
    claim_metrics, paired, provenance, read_cells, STUDIES_FOLDER, summary, summary_table, system_table, verdicts,
)
from uniecg_lite.studies.systems import settle, SharedProjection, trivial_report
from uniecg_lite.training import quiet_libraries, rows_of, schedule, step_seed, TrainingLoop
# fmt: on

torch.cpu.get_capabilities = dict  # float32 on every processor

coca = tiny.defined_in("02_encoders")  # text decoder and losses
STEPS = 50  # of each training
RECORDS = 300  # of the small cohort
RTOL, ATOL = 1e-5, 1e-8


# ---- how things are kept ----------------------------------------------------------------------------------------
def sha(data) -> str:
    """A short hash of bytes, text, or anything that `plain` can make into text."""
    if not isinstance(data, bytes):
        data = (data if isinstance(data, str) else json.dumps(plain(data), sort_keys=True)).encode()
    return hashlib.blake2b(data, digest_size=6).hexdigest()


def digits(value: float, n: int = 6):
    """A number rounded to n significant digits; text where it is none."""
    value = float(value)
    return float(f"{value:.{n}g}") if math.isfinite(value) else str(value)


def plain(value):
    """Anything as JSON: sets sorted, tensors and arrays as lists, floats to 6 digits, records by name of field."""
    if torch.is_tensor(value) or isinstance(value, np.ndarray):
        return plain(value.tolist())
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return sorted(plain(item) for item in value)
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return digits(value)
    return value if isinstance(value, bool | int | str) or value is None else str(value)


def kept(tensor, few: int = 2) -> dict:
    """A tensor as shape, hash of its bytes, and figures: its mean, norm, product with a wave, and a few values."""
    x = torch.as_tensor(tensor).detach().cpu().contiguous()
    flat = x.flatten().double()
    flat, missing = flat.nan_to_num(0.0, 0.0, 0.0), int((~flat.isfinite()).sum())
    wave = torch.cos(torch.arange(len(flat), dtype=torch.double))
    figures = [flat.mean() if len(flat) else 0.0, flat.norm(), flat @ wave, *flat[:: max(1, len(flat) // few)][:few]]
    shape = "x".join(map(str, x.shape))
    note = f"{shape} {str(x.dtype).removeprefix('torch.')}" + (f" {missing} missing" if missing else "")
    return {"bits": sha(x.numpy().tobytes()), "shape": note, "about": [digits(v) for v in figures]}


def many(prefix: str, found: dict) -> dict:
    """A dict of tensors or numbers, each under a longer name."""
    out = {}
    for key, value in found.items():
        out[f"{prefix}.{key}"] = kept(value) if torch.is_tensor(value) and value.numel() > 1 else plain(value)
    return out


def weights(module) -> str:
    """What a network's weights are called and how large they are: old artifacts load only while this stays."""
    return sha({name: list(p.shape) for name, p in module.state_dict().items()})


def size(module) -> float:
    """The norm of all weights, which says what a training left in them."""
    return digits(math.sqrt(sum(p.detach().double().square().sum().item() for p in module.parameters())))


def shaken(module, by: float = 0.05):
    """Random numbers added to all weights, so that nothing that starts at zero stays there; frozen."""
    generator = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for p in module.parameters():
            p.add_(by * torch.randn(p.shape, generator=generator))
    return module.requires_grad_(False).eval()


@contextlib.contextmanager
def losses():
    """A list of the loss of every training step inside the block."""
    found, backward = [], torch.Tensor.backward

    def noted(self, *args, **options):
        found.append(digits(self.item(), 7))
        return backward(self, *args, **options)

    torch.Tensor.backward = noted
    try:
        yield found
    finally:
        torch.Tensor.backward = backward


@cache
def room() -> Path:
    """A temporary folder of this run."""
    import atexit

    folder = tempfile.mkdtemp(prefix="freeze-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def new(name: str) -> Path:
    """A fresh folder under `room`."""
    folder = room() / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def said(act) -> str:
    """What an act answers to bad input: the exception's type and sentence, without this run's folders."""
    try:
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            value = act()
    except Exception as error:  # noqa: BLE001
        return bare(f"{type(error).__name__}: {error}")
    return bare(f"accepted: {type(value).__name__}")


def bare(text: str) -> str:
    """A text without the folders of this machine and run."""
    for folder, name in ((room(), "<tmp>"), (room().resolve(), "<tmp>"), (ROOT, "<root>")):
        text = text.replace(str(folder), name)
    text = re.sub(r" *[\u2500-\u257f]+ *", "", text)  # boxes of the shell
    return re.sub(r"\bcpu\d+\b", "cpu", re.sub(r"0x[0-9a-f]{6,}", "0x", text))


# ---- what several parts start from ------------------------------------------------------------------------------
@cache
def patients(n: int = 300):
    """Simulated ECGs with noise, and what is true about them."""
    return simulate(0, torch.arange(n))


@cache
def few_hearts():
    """Noise-free ECGs as the generator learns them, (40, 12, 1024) mV, and their events."""
    drawn = simulate(0, torch.arange(40), HZ, LENGTH / HZ, noise=False, first_beat=0.3)
    return drawn.signal, simulated_events(drawn.truth)


def clean_few():
    """(40, 12, 1024) mV, the ECGs of `few_hearts`."""
    return few_hearts()[0]


@cache
def cohort_folder() -> Path:
    """The small cohort on disk."""
    return cohort.write(cohort.simulated(0, RECORDS), room() / "splits")


@cache
def corpus():
    """Text about the training patients of the small cohort."""
    train = cohort.load(cohort_folder(), "train")
    return Corpus(train.truth(), train.column("patient"))


def words():
    """The tokenizer of notebook 03, a fresh one each time, since models add tokens to theirs."""
    import copy

    return copy.deepcopy(_words())


@cache
def _words():

    return train_tokenizer(corpus().sentences(random.Random(0)))


def reading_model():
    """A UniECG of smoke size with random weights, as before stage 1."""
    torch.manual_seed(0)
    tokenizer = words()
    return shaken(UniECG(pocket_llm(SMOKE, tokenizer), tokenizer, *new_encoders(SMOKE)))


def whole_model():
    """The reading model with [ECG] tokens, mapper and generator."""
    model = reading_model()
    model.add_ecg_tokens(SMOKE.ecg_tokens)
    model.generator = generator()
    torch.manual_seed(1)
    model.mapper = Mapper(SMOKE.lm_width, model.generator.condition.settings["width"], SMOKE.map_layers)
    return model.requires_grad_(False).eval()


def generator(design=None):
    """A text-to-ECG generator of smoke size with random weights, on principal components of a few ECGs."""
    design = design or Design()
    torch.manual_seed(0)
    condition = TextEncoder(train_tokenizer([r.text() for r in corpus().requests], 400))
    width = condition.settings["width"]
    vae, rhythm, beat = VAE(SMOKE.vae_width, design.free_leads), EventModel(width), TemplateModel(width, 64)
    vae.start(clean_few())
    vae.measure_scale(clean_few())
    beat.start(templates(*few_hearts()))
    denoiser = shaken(new_denoiser(design, SMOKE.unet_width, width), 0.01)
    made = Generator(vae, condition, rhythm, beat, denoiser, SMOKE.sample_steps, SMOKE.guidance, design)
    return made.requires_grad_(False).eval()


def real_records_folder() -> Path:
    """A folder that stands for real records: simulated ones of another population with a manifest."""
    import csv

    folder = room() / "real"
    if (folder / "manifest.csv").exists():
        return folder
    folder.mkdir(parents=True)
    made, scp = simulate(6, torch.arange(60)), {row["code"]: row.get("scp") for row in FINDINGS}
    rows = []
    for i, (signal, found) in enumerate(zip(made.signal, made.truth["findings"].tolist())):
        codes = [c for c, there in zip(CODES, found) if there]
        ECG(signal.numpy(), 100.0, made.truth["age"][i].item(), "female" if i % 2 else "male").save(folder / f"r{i}")
        rate = made.truth["rate_bpm"][i].item()
        rows.append(
            {
                "record": f"r{i}",
                "patient_id": f"p{i // 2}" if i % 5 else "",
                "label_group": "unlabelled" if i % 17 == 16 else "rhythm",
                "label_groups_all": "normal" if "NORM" in codes else "rhythm",
                "scp_codes": json.dumps({scp[c]: 100 if i % 3 else 0 for c in codes if scp[c]}),
                "snomed_dx": "",
                "flags": {7: "paediatric", 9: "noisy"}.get(i, ""),
                "hr_bpm_nk": f"{rate:.2f}",
                "hr_bpm_nk_pantompkins": f"{rate * (1.3 if i % 11 == 10 else 1.01):.2f}" if i % 13 else "",
            }
        )
    (folder / "r3.hea").write_text("nothing of use")
    with open(folder / "manifest.csv", "w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    return folder


@cache
def chain() -> tuple:
    """Every training of the course in order, at smoke size with `STEPS` steps: (store, {name: losses and more}).

    The artifacts are in a store, which the studies start from.
    """
    trained = ("encoders", "language", "alignment", "stage1", "vae", "condition", "rhythm", "templates", "denoiser")
    trained += ("tokens", "mapper", "reader", "diag_tokenizer", "diag_facts", "diag_forecast", "diag_tuning")
    P = replace(SMOKE, records=RECORDS, **{name: replace(getattr(SMOKE, name), steps=STEPS) for name in trained})
    store, out, seed = Store(room() / "chain" / "smoke", P, 0), {}, 0

    def run(name, work, *modules):
        with losses() as found:
            history = work(store.scratch(name))
        out[f"{name}.losses"] = found
        out[f"{name}.history"] = {k: [digits(v) for v in vs] for k, vs in history.items() if k not in KEPT_OUT}
        out[f"{name}.weights"] = [size(m) for m in modules]

    with store.writing("cohort") as folder:
        cohort.write(cohort.simulated(seed, RECORDS), folder / "splits")
    train = cohort.load(store.path("cohort") / "splits", "train")
    texts = Corpus(train.truth(), train.column("patient"))

    torch.manual_seed(seed)
    tokenizer = train_tokenizer(texts.reports)
    ids, pad = coca.report_ids(tokenizer, texts.reports), tokenizer.pad_token_id
    phi_s, phi_v = new_encoders(P)
    captioner = coca.Captioner(len(tokenizer), P.enc_width)
    probes = nn.ModuleList(FactProbes(P.enc_width) for _ in range(2))
    parts, facts = nn.ModuleDict(), targets(train.truth())
    for name, part in (("phi_s", phi_s), ("phi_v", phi_v), ("captioner", captioner), ("probes", probes)):
        parts[name] = part

    def train_encoders(folder):
        loop = TrainingLoop(parts, P.encoders, seed, folder, "encoders")
        for step in loop:
            rows = step.rows(len(train))
            mine = {name: value[rows] for name, value in facts.items()}
            step.learn(**coca.encoder_loss(parts, train.signal(rows), ids[rows], mine, pad, step.number))
        parts.eval()
        return loop.history

    run("encoders", train_encoders, phi_s, phi_v, captioner)
    views = CachedTokens.encode(phi_s, phi_v, train)
    out["views"] = {"signal": kept(views.signal), "image": kept(views.image)}
    with store.writing("encoders", inputs=("cohort",)) as folder:
        named = (("phi_s", phi_s), ("phi_v", phi_v))
        save_tensors({f"{a}.{k}": v for a, m in named for k, v in m.state_dict().items()}, folder / "encoders")
        save_tensors({"signal": views.signal, "image": views.image}, folder / "views")

    torch.manual_seed(seed)
    tokenizer = train_tokenizer(texts.sentences(random.Random(seed)))
    model = UniECG(pocket_llm(P, tokenizer), tokenizer, *load_encoders(store))
    run("language", lambda f: tiny.pretrain(model, texts, P.language, seed, f), model.llm)
    with store.writing("language", inputs=("cohort",)) as folder:
        model.llm.save_pretrained(folder / "llm")
        tokenizer.save_pretrained(folder / "llm")
    torch.manual_seed(seed)
    model = load_reading(store, "language")
    run(
        "alignment",
        lambda f: train_reading(model, texts, views, {"alignment": P.alignment}, seed, f)["alignment"],
        *(model.w_ts, model.w_tsi),
    )
    with store.writing("alignment", inputs=("encoders", "language")) as folder:
        save_stage(model, "alignment", folder)
    model = load_reading(store, "alignment")
    plans = {"stage1": P.stage1}
    whole = (model.llm, model.w_ts, model.w_tsi)
    run("stage1", lambda f: train_reading(model, texts, views, plans, seed, f)["stage1"], *whole)
    with store.writing("stage1", inputs=("alignment", "encoders", "cohort")) as folder:
        save_stage(model, "stage1", folder)

    torch.manual_seed(seed)
    reader = Reader()

    def train_reader(folder):
        loop = TrainingLoop({"reader": reader}, P.reader, seed, folder, "reader")
        for step in loop:
            signal, table = tiny.defined_in("06_diffusets").fresh_patients(step.number, P.reader.batch, seed)
            step.learn(facts_loss(reader(signal), table))
        return loop.history

    run("reader", train_reader, reader)
    with store.writing("reader") as folder:
        save_part(reader, folder)
    plain_texts, (ecgs, events) = Corpus(train.truth()), clean_hearts(train)
    out["clean_hearts"] = {"ecgs": kept(ecgs), "time": kept(events.time), "kind": kept(events.kind)}
    torch.manual_seed(seed)
    vae = VAE(P.vae_width)
    run("vae", lambda f: train_vae(vae, ecgs, P.vae, seed, f), vae)
    rng = random.Random(seed)
    condition = TextEncoder(train_tokenizer([r.with_fewer_facts(rng).text() for r in plain_texts.requests], 400))
    asked, rng = plain_texts.requests, random.Random(seed)

    def train_loop(part, name, parts, loss, **how):  # the loops of notebook 06
        def train(folder):
            loop = TrainingLoop({part: parts}, getattr(P, part), seed, folder, name, **how)
            for step in loop:
                step.learn(loss(step))
            parts.eval()
            return loop.history

        return train

    def condition_loss(step):
        rows = step.rows(len(asked)).tolist()
        return condition.facts_loss([asked[row].with_fewer_facts(step.rng) for row in rows])

    run("condition", train_loop("condition", "condition encoder", condition, condition_loss), condition)
    usual, read = templates(ecgs, events), read_requests(condition, asked, seed)
    out["templates_of"] = {"templates": kept(usual), "read": kept(read.float())}
    rhythm, beat = EventModel(condition.settings["width"]), TemplateModel(condition.settings["width"])

    def rhythm_loss(step):
        rows = step.rows(len(ecgs))
        return rhythm.loss(events.rows(rows), drawn_words(read, rows, step.generator))

    run("rhythm", train_loop("rhythm", "rhythm", rhythm, rhythm_loss), rhythm)
    beat.start(usual)
    components = beat.components(usual)

    def beat_loss(step):
        rows = step.rows(len(usual))
        return beat.loss(components[rows], drawn_words(read, rows, step.generator, beat.null), step.generator)

    run("templates", train_loop("templates", "templates", beat, beat_loss, ema=AVERAGED), beat)
    denoiser = Denoiser(P.unet_width, condition.settings["width"])
    made = Generator(vae, condition, rhythm, beat, denoiser, P.sample_steps, P.guidance)
    material = made.material(ecgs, events, usual)
    out["material"] = {"latents": kept(material[0]), "plans": kept(material[1])}
    run("denoiser", lambda f: train_denoiser(made, material, plain_texts, P.denoiser, seed, f), denoiser)
    with store.writing("diffusets", inputs=("cohort",)) as folder:
        made.save_pretrained(folder)

    model = load_reading(store, "stage1")
    model.add_ecg_tokens(P.ecg_tokens)
    run("tokens", lambda f: train_tokens(model, plain_texts, P.tokens, seed, f), model.llm)
    with store.writing("tokens", inputs=("stage1",)) as folder:
        save_stage(model, "tokens", folder)
    model, made = load_reading(store, "tokens"), Generator.from_pretrained(store.path("diffusets"))
    torch.manual_seed(seed)
    model.mapper, model.generator = Mapper(P.lm_width, made.condition.settings["width"], P.map_layers), made
    run(
        "mapper",
        lambda f: tiny.align_mapper(model, plain_texts, P.mapper, seed, f),
        *(model.mapper, model.llm),
    )
    model.generator = None
    with store.writing("unified", inputs=("tokens", "diffusets")) as folder:
        save_stage(model, "unified", folder)

    torch.manual_seed(seed)
    codec = new_codec(P)
    run("diag_tokenizer", lambda f: train_codec(codec, train, P.diag_tokenizer, seed, f), codec)
    codec.facts.requires_grad_(True).train()

    def train_facts(folder):
        loop = TrainingLoop({"facts": codec.facts}, P.diag_facts, seed, folder, "fact words")
        for step in loop:
            rows = step.rows(len(train))
            step.learn(codec.facts.loss(train.signal(rows), {name: value[rows] for name, value in facts.items()}))
        codec.facts.eval()
        return loop.history

    run("diag_facts", train_facts, codec.facts)
    codes = {"codes": codes_of(codec, train), "read": codes_of(codec, train, kind="read")}
    out["codes"] = {name: kept(value) for name, value in codes.items()}
    with store.writing("diag_tokenizer", inputs=("cohort",)) as folder:
        save_part(codec, folder)
        save_tensors(codes, folder / "codes")
    diag = load_diagecg(store, "language")
    torch.manual_seed(seed)
    diag.adapt(P.diag_rank)
    codes = store.tensors("diag_tokenizer", "codes")
    run("diag_forecast", lambda f: forecast(diag, codes["codes"], P.diag_forecast, seed, f), diag.llm)
    with store.writing("diag_forecast", inputs=("diag_tokenizer", "language")) as folder:
        diag.llm.save_pretrained(folder / "adapter")
    run("diag_tuning", lambda f: tune(diag, texts, codes["read"], P.diag_tuning, seed, f), diag.llm)
    with store.writing("diagecg", inputs=("diag_forecast", "diag_tokenizer")) as folder:
        diag.llm.save_pretrained(folder / "adapter")
        diag.llm = diag.llm.merge_and_unload().requires_grad_(False)
        diag.llm.save_pretrained(folder / "llm")
        diag.tokenizer.save_pretrained(folder / "llm")
    return store, out


KEPT_OUT = ("seconds", "steps", "validation", "loss")


# ---- the parts --------------------------------------------------------------------------------------------------
def part_simulator() -> dict:
    """Records with their truth, what they are drawn from, the noise, and the check by textbook rules."""
    index, out = torch.arange(512), {"findings": sha(list(CODES))}
    ways = {
        "plain": dict(seed=0, index=index),
        "clean": dict(seed=0, index=index[:128], noise=False),
        "visit": dict(seed=0, index=index[:128], visit=1),
        "other": dict(seed=3, index=index[:128] + 10_000),
        "fast": dict(seed=0, index=index[:32], hz=500, noise=False),
        "generator": dict(seed=0, index=index[:64], hz=HZ, seconds=LENGTH / HZ, noise=False, first_beat=0.3),
        "short": dict(seed=1, index=index[:16], hz=250, seconds=4),
    }
    for name, how in ways.items():
        made = simulate(**how)
        out[f"{name}.signal"] = kept(made.signal)
        for key, value in made.truth.items():
            out[f"{name}.truth.{key}"] = kept(value) if name == "plain" else kept(value)["bits"]
        out[f"{name}.lead_signs"] = kept(lead_signs(made.truth))["bits"]
    alone = simulate(0, 17)
    out["alone"] = kept(alone.signal)["bits"]
    made = simulate(0, index[:96], hz=500, noise=False)
    found = criteria_pass(made.signal, made.truth["findings"])
    out |= {f"criteria.{code}": [digits(a), digits(b), n] for code, (a, b, n) in found.items()}
    for name, hearts in (("textbook", textbook(0, index[:64])), ("sample", sample(0, index[:64]))):
        tensors = {k: v for k, v in vars(hearts).items() if torch.is_tensor(v)}
        out |= {f"{name}.{key}": kept(value)["bits"] for key, value in tensors.items()}
    beats = beat_schedule(sample(0, index[:64]).float(), 10.0)
    out |= {f"beats.{key}": kept(value)["bits"] for key, value in vars(beats).items()}
    for i, part in enumerate(noise(5, index[:32], torch.arange(1000) / 100, 100.0)):
        out[f"noise.{i}"] = kept(part)
    out["random.uniform"] = kept(hashing.uniform(4, index[:9], 3, 5))
    out["random.normal"] = kept(hashing.normal(4, index[:9], 3, 5))
    names = [f"s0-{i:06d}" for i in range(300)]
    out["splits"] = sha([cohort.split_of(name) for name in names])
    for split in cohort.SPLITS:
        part = cohort.load(cohort_folder(), split)
        out[f"cohort.{split}"] = [len(part), sha(part.column("record")), kept(part.signal(range(len(part))))["bits"]]
        out |= {f"cohort.{split}.{key}": kept(value)["bits"] for key, value in part.truth().items()}
    found = cohort.population_of(["s0-000012", "s0-000012-1", "s0-000400"])
    out["population"] = plain(found)
    return out


TEXTS = (
    "Rate 72 bpm.",
    "QRS 110, QTc 410 ms.",
    "ST elevation in V1 aVL.",
    " 1234",
    "naïve ♥",
    "Interpret this ECG.",
    "Make an ECG: 63-year-old woman, atrial fibrillation, 120 bpm",
    "<eos> [ECG_1]",
    "[ecg] [c0] [f3]",
    "a woman of 63, atrial fibrillation, 120 bpm",
    "Age 63. Sex female. Rate 120 bpm. Findings atrial fibrillation.",
    "What is a U wave?",
    "II, III and aVF; V1-V4",
    "\n\nUser: hello\nAssistant:",
    "请生成一份心房颤动的心电图",
    "🫀🫀🫀",
    "",
    "  two  spaces ",
    "V7 V6 aVRx aVR",
    "-30 degrees, 0.12 s",
)


def part_tokenizer() -> dict:
    """Ids of fixed texts by the tokenizers of notebooks 02, 03 and 06, and what starts from them."""
    said = [text for text in TEXTS] + corpus().reports[:12] + [r.text() for r in corpus().requests[:10]]
    said += [corpus().sample(kind, 3, random.Random(2))[0] for kind in ("interpret", "generate", "restate", "question")]
    rng = random.Random(0)
    made = {
        "reports": train_tokenizer(corpus().reports),
        "language": words(),
        "requests": train_tokenizer([r.with_fewer_facts(rng).text() for r in corpus().requests], 400),
    }
    out = {"chat": PLAIN_TEMPLATE.format("Read this ECG."), "sentences": sha(corpus().sentences(random.Random(0)))}
    for name, tokenizer in made.items():
        out[f"{name}.vocabulary"] = [len(tokenizer), sha(sorted(tokenizer.get_vocab().items()))]
        special = tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id
        out[f"{name}.special"] = list(special)
        for i, text in enumerate(said):
            ids = encode(tokenizer, text)
            out[f"{name}.{i:02d}"] = " ".join(map(str, ids))
            out[f"{name}.{i:02d}.back"] = tokenizer.decode(ids) == text
        rows = torch.zeros(len(tokenizer), 32)
        torch.manual_seed(0)
        rows.normal_()
        number_rows(rows, tokenizer)
        out[f"{name}.number_rows"] = kept(rows)
        folder = new(f"tokenizer-{name}")
        tokenizer.save_pretrained(folder)
        out[f"{name}.files"] = {p.name: sha(p.read_bytes()) for p in sorted(folder.iterdir())}
    return out


def frozen_prompts() -> list:
    """The prompts that decisions are scored on."""
    return load_prompts(ROOT / "data" / "test_prompts.jsonl")


def part_parser() -> dict:
    """What is understood of every row of `data/paraphrases.json`, of reports, and of odd texts."""
    rows = json.loads((ROOT / "data" / "paraphrases.json").read_text(encoding="utf-8"))
    out = {f"{i:03d} {row['text'][:24]}": short(parse(row["text"])) for i, row in enumerate(rows)}
    against = [{c: [*contradictions(c, s)] for c in sorted(s.findings)} for s in (parse(row["text"]) for row in rows)]
    out["contradictions"] = sha([{c: why[0] for c, why in each.items() if why} for each in against])
    out["joined"] = sha([short(parse(a["text"] + " " + b["text"])) for a, b in zip(rows, rows[7:] + rows[:7])])
    texts = corpus().reports
    out["reports"] = sha([short(parse(text)) for text in texts])
    out["readings"] = sha([parse_report(text) for text in texts])
    out["back"] = [sum(report(parse_report(text)) == text for text in texts), len(texts)]
    out["odd"] = sha([short(parse(text)) for text in (*TEXTS, "\x00", "normal " * 500, "V" * 3000)])
    answers = ("none", "Acute, old", "Q waves: V1, V2; Answer: yes", "", "a: b: c", "YES.", "V1 , V2")
    out["answers"] = {text: sorted(parse_answer(text)) for text in answers}
    return out


def short(said) -> str:
    """What a text says, in one line: the fields that are not empty."""
    told = {key: value for key, value in plain(said).items() if value}
    return json.dumps(told, separators=(",", ":"), ensure_ascii=False).replace('"', "")


def part_questions() -> dict:
    """Reports, requests, notes, questions and conversations drawn from fixed patients."""
    text, out = corpus(), {"no_ecg": NO_ECG, "terms": sha(term_questions()), "words": sha(question_words())}
    out["readings"] = sha(text.readings)
    out["reports"], out["requests"] = sha(text.reports), sha([r.text() for r in text.requests])
    out["notes"] = sha([notes(r, which) for r in text.readings for which in ("", "first", "second")])
    out["sides"] = sha([[sides(r), undecided(r)] for r in text.readings])
    out["pairs"] = sha([text.pairs, text.carriers])
    for i in range(4):
        out[f"report.{i}"], out[f"request.{i}"] = text.reports[i], text.requests[i].text()
    out["note.0"] = notes(text.readings[0])
    rng = random.Random(3)
    out["thinned"] = sha([[r.with_fewer_facts(rng).text(), r.few_measures(rng).text()] for r in text.requests])
    out["parsed"] = all(Request.parse(r.text()) == r for r in text.requests)
    for topic, (_, told) in TOPICS.items():
        out[f"topic.{topic}"] = sha([told(r) for r in text.readings[:120]])
    for split in ("seen", "unseen"):
        for kind in ("interpret", "generate", "restate", "report", "question", "no_ecg", "ask"):
            rng = random.Random(f"{split}/{kind}")
            pairs = [text.sample(kind, row, rng, split) for row in range(120)]
            out[f"say.{split}.{kind}"] = [sha(pairs), " -> ".join(pairs[0])[:150]]
        for task in ("interpret", "generate", "restate", "question"):
            out[f"phrasings.{split}.{task}"] = sha(phrasings(task, split))
            filled = [fill(p, text.requests[5], random.Random(i)) for i, p in enumerate(phrasings("generate", split))]
            out[f"fill.{split}"] = sha(filled)
    for template in TEMPLATES:
        rng, drawn = random.Random(template.template_id), []
        for split in ("seen", "unseen") * 3:
            drawn.append(text.asked(rng, split, template.template_id))
        first = drawn[0]
        shown = f"{first.ecg_id} {first.question} -> {listed(first.answer)} | {first.evidence}"
        out[f"template.{template.template_id}"] = [sha(drawn), sha([full_answer(q) for q in drawn]), shown[:160]]
    rng, found = random.Random(8), []
    for row in range(100):
        asked = text.ask((row,), rng)
        found += [asked, *text.more(asked, 3, rng)]
    out["ask"] = [len(found), sha(found)]
    rng, found = random.Random(9), []
    for first, second in [*text.pairs[:20], *zip(range(40), range(40, 80))]:
        with contextlib.suppress(Exception):
            found.append(ask((text.readings[first], text.readings[second]), rng, same_patient=first % 2 == 0))
        with contextlib.suppress(Exception):
            found.append(ask((text.readings[first],), rng, "unseen", other=text.readings[second]))
    out["compare"] = [len(found), sha(found)]
    out["talk"] = sha([pair for _, *pair in text.dialogue(list(range(100)), random.Random(4))])
    out["kinds"] = sha([kind for kind, *_ in text.dialogue(list(range(200)), random.Random(5), TEXT_MIX)])
    drawn, learned = draw_questions(text, 200, 0), draw_questions(text, 300, 1, "seen")
    out["drawn"] = [sha(drawn), sha([text.noted(q) for q in drawn])]
    out["majority"] = sha([majority(learned), majority(learned, "question_id")])
    out |= many("chance", chance_scores(learned, drawn))
    mixed = [full_answer(q) if i % 3 else listed(drawn[i - 1].answer) for i, q in enumerate(drawn)]
    out |= many("scores", qa_scores(drawn, mixed))
    out["routing"] = sha([one.model_dump() for one in frozen_prompts()])
    out["wishes"] = sha([r.text() for r in generation_requests(cohort.load(cohort_folder(), "test"), 20)])
    chatter = Collator(reading_model(), text)
    for start in ("single", "comparison"):
        for noted in (False, True):
            rows, said_ = chatter.questions(12, random.Random(6), start, noted)
            out[f"talks.{start}.{noted}"] = [sha(rows), sha(said_)]
    rows = range(60)
    for name, rows_ in {
        "text": chatter.text(rows, random.Random(7)),
        "wish": chatter.text(rows, random.Random(7), generate=[1, 2]),
        "reports": chatter.reports(rows, random.Random(7)),
    }.items():
        out[f"chatter.{name}"] = sha([*zip(*(dialogue[0] for dialogue in rows_))])
    patient = Corpus(patients(60).truth)
    out["no_patients"] = [len(patient.pairs), sha(draw_questions(patient, 40, 2))]
    return out


@torch.no_grad()
def part_networks() -> dict:
    """What every network gives for fixed inputs with seeded random weights, and what its weights are called."""
    return _encoders() | _unified() | _generators() | _diag()


def _encoders() -> dict:

    x, truth = patients().signal[:6], {k: v[:6] for k, v in patients().truth.items()}
    out = {"see_small_waves": kept(amplify_small_waves(x)), "bends": kept(slopes(x, 100.0))}
    out |= {"r_peaks": kept(r_peaks(x, 100.0)), "peak_times": kept(peak_times(x, 100.0))}
    for i, part in enumerate(representative_beat(x, 100.0)):
        out[f"usual_beat.{i}"] = kept(part)
    out["rhythm_features"] = kept(rhythm_features(peak_times(x, 100.0)))
    for name in GRIDS:
        share = spread_on_grid(name, torch.tensor([97.3, 178.0, math.nan]))
        out[f"grid.{name}"] = [kept(grid_of(name))["bits"], kept(share), plain(place_on_grid(name, share))]
    wanted = targets(truth)
    out |= {f"targets.{name}": kept(value)["bits"] for name, value in wanted.items()}
    torch.manual_seed(0)
    phi_s, phi_v = (shaken(phi) for phi in new_encoders(SMOKE))
    captioner, teller, reader = coca.Captioner(150, SMOKE.enc_width), FactProbes(SMOKE.enc_width), shaken(Reader())
    signal, image = phi_s(x), phi_v(raster(x))
    out |= {"phi_s": kept(signal, 4), "phi_v": kept(image, 4), "phi.tokens": [phi_s.tokens, phi_v.tokens, phi_s.whole]}
    ids = coca.report_ids(words(), corpus().reports[:6]) % 150
    out["report_ids"] = kept(coca.report_ids(words(), corpus().reports[:6]))
    out["captioner"] = kept(captioner.predict(captioner.encode_text(ids), signal), 4)
    out |= many("coca", coca.coca_loss(captioner, [signal, image], ids, 0))
    out |= many("coca.few", coca.coca_loss(captioner, [signal, image], ids, 0, 1))
    out["retrieval"] = digits(coca.retrieval(signal, captioner, ids, 0))
    told = teller(signal[:, 1 : 1 + len(wanted)])
    out |= many("teller", told) | {"teller.loss": digits(teller.loss(signal[:, 1 : 1 + len(wanted)], wanted))}
    table, said_ = facts(truth), reader(x)
    out |= {"facts": kept(table), "reader": kept(said_, 4), "facts_loss": digits(facts_loss(said_, table))}
    numbers, findings, signs = decode_facts(said_)
    out |= many("untell", numbers) | {"untell.findings": kept(findings), "untell.signs": kept(signs)}
    out["reader.features"] = kept(reader.features(x))
    numbers, found = reader.read(x)
    out |= many("reader.read", numbers) | {"reader.read.findings": kept(found)}
    named = dict(phi_s=phi_s, phi_v=phi_v, captioner=captioner, teller=teller, reader=reader)
    out |= {f"weights.{name}": weights(module) for name, module in named.items()}
    out |= {f"weights.laptop.{i}": weights(module) for i, module in enumerate(new_encoders(LAPTOP))}
    return {f"encoders.{key}": value for key, value in out.items()}


def _unified() -> dict:

    model, text, x = reading_model(), corpus(), patients().signal[:6]
    chatter = Collator(model, text)
    signal, image = model.encode_ecg(x, raster(x))
    prompts, answers = ["Interpret this ECG.", "Read it."] * 3, [chatter.ids(r) for r in text.reports[:6]]
    out = {
        "seen": [tokens_per_ecg(model.phi_s), tokens_per_ecg(model.phi_v)],
        "prompt_ids": model.prompt_ids("Read this ECG."),
    }
    whole = [torch.tensor(model.prompt_ids(p) + a) for p, a in zip(prompts, answers)]
    ids, labels = (nn.utils.rnn.pad_sequence(whole, True, i) for i in (model.tokenizer.pad_token_id, IGNORED))
    turns = model.batch([[turn] for turn in zip(prompts, answers)])
    views = {"none": (None, None), "signal": (signal, None), "image": (None, image), "both": (signal, image)}
    for name, (s, v) in views.items():
        shown = model.project(s, v)
        out[f"project.{name}"] = None if shown is None else kept(shown)
        out[f"loss.{name}"] = digits(tiny.answer_loss(model, prompts, answers, shown))
        out[f"loss.{name}.whole"] = digits(
            model(ids, None, x if s is not None else None, raster(x) if v is not None else None, labels).loss
        )
        out[f"loss.{name}.rates"] = digits(model.loss(turns, shown, rates=True))
        out[f"write.{name}"] = sha(model.write(prompts, s, v))
    out["write.said"] = model.texts(model.write(prompts, signal, image))[0][:200]
    two = torch.cat([signal, signal.flip(0)], 1)
    out["project.two"] = kept(model.project(two, None))
    rng = random.Random(2)
    asked = [text.asked(rng) for _ in range(6)]
    talks = [[(q.question, chatter.ids(full_answer(q))), ("And?", chatter.ids("none"))] for q in asked]
    talks = model.batch(talks)
    out["talk_loss"] = digits(model.loss(talks, model.project(signal, None)))
    out["talk_loss.two"] = digits(model.loss(talks, model.project(two, None)))
    out["fingerprint"] = sha(model.fingerprint())
    out["weights.llm"] = weights(model.llm)
    out["weights.llm.laptop"] = weights(pocket_llm(LAPTOP, words()))
    out["weights.model"] = weights(model)
    model = whole_model()
    out |= {
        "ecg_ids": model.ecg_ids,
        "wish_ids": model.ecg_ids[:1],
        "fingerprint.rows": sha(model.fingerprint(("trainable_tokens",))),
    }
    out |= {f"rows.{name}": kept(rows) for name, rows in model.token_rows().items()}
    asks = ["Make an ECG of atrial fibrillation.", "an ECG, 63-year-old woman, 120 bpm", "What is a U wave?"]
    out["ecg_states"] = kept(model.ecg_states(asks), 4)
    out["ecg_states.attached"] = kept(model.ecg_states(asks, model.project(signal[:3], None)), 4)
    conditions = model.conditions(asks)
    out |= {"conditions": kept(conditions, 4), "made": kept(model.generator.signals(conditions, 3), 4)}
    out["write.after"] = sha(model.write(asks)), sha(model.write(prompts, signal, image))
    ecg = ECG(x[0].numpy(), 100.0)
    out["respond"] = [model.respond(p, ecg=ecg).text[:150] for p in ("Interpret this ECG.", "Rate?")]
    for layers in (1, 2):
        torch.manual_seed(0)
        mapper = Mapper(32, 128, layers)
        states = torch.randn(3, 4, 32, generator=torch.Generator().manual_seed(1))
        out |= {f"mapper.{layers}": kept(mapper(states), 4), f"weights.mapper.{layers}": weights(mapper)}
    torch.manual_seed(0)
    linear, shared = nn.Sequential(nn.Flatten(), nn.Linear(4 * 32, 128)), SharedProjection(32, 48)
    out |= {"linear": kept(linear(states), 4), "shared": kept(shared(states), 4)}
    out["shared.size"] = sum(p.numel() for p in shared.parameters())
    return {f"unified.{key}": value for key, value in out.items()}


def _generators() -> dict:

    made, ecgs, requests = generator(), clean_few(), corpus().requests[:4]
    vae, condition, texts = made.vae, made.condition, [r.text() for r in requests]
    out = {"press": kept(compand(ecgs)), "release": kept(expand(compand(ecgs)))}
    latent = vae.encode(ecgs[:4])
    out |= {"vae.latent": kept(latent, 4), "vae.back": kept(vae.decode(latent), 4)}
    out |= {"vae.mean": kept(vae.distribution(ecgs[:4])[0]), "vae.log": kept(vae.distribution(ecgs[:4])[1])}
    torch.manual_seed(0)
    out |= many("vae.loss", vae.loss(ecgs[:4]))
    told = condition(texts)
    out |= {"condition": kept(told, 4), "condition.tokens": kept(condition(texts, each=True), 4)}
    out |= {"condition.loss": digits(condition.facts_loss(requests)), "condition.rate": plain(condition.rate(told))}
    out |= {f"numbers_of.{scaled}": kept(numbers_of(requests, scaled)) for scaled in (False, True)}
    events = few_hearts()[1].rows(slice(4))
    beats = templates(ecgs[:4], events)
    out |= {"templates": kept(beats), "shown": kept(shown(events)), "lay_out": kept(lay_out(beats, events))}
    share = torch.linspace(0.1, 1.2, 4)
    out["waves"] = kept(waves(share))

    def drawn(seed=5):
        return torch.Generator().manual_seed(seed)

    rhythm, beat = made.rhythm, made.templates
    gaps = torch.randint(3, 100, (4, 12), generator=drawn())
    which, when = rhythm(gaps, gaps % 5, told)
    out |= {"rhythm.which": kept(which, 4), "rhythm.when": kept(when, 4)}
    out["rhythm.loss"] = digits(rhythm.loss(events, told))
    out["rhythm.sample"] = kept(rhythm.sample(told, condition.rate(told), drawn()).time, 4)
    parts = beat.components(beats)
    out |= {"templates.parts": kept(parts), "templates.back": kept(beat.templates(parts))}
    out["templates.forward"] = kept(beat(parts, torch.linspace(0.1, 0.9, 4), told), 4)
    out["templates.loss"] = digits(beat.loss(parts, told, drawn()))
    out["templates.sample"] = kept(beat.sample(told, 1.5, drawn()), 4)
    for name, design in DESIGNS.items():
        one = generator(design)
        asked = one.conditions(requests)
        material = one.material(ecgs[:4], events)
        level = torch.linspace(0.1, 0.9, 4)
        out[f"{name}.denoiser"] = kept(one.denoiser(material[0], level, asked, material[1]), 4)
        out[f"{name}.loss"] = digits(one.loss(*material, asked, drawn()))
        out[f"{name}.plan"] = kept(one.plan(asked, drawn()))
        out[f"{name}.path"] = plain([*path_of(design).levels(4, drawn())])
        if not design.ancestral:
            out[f"{name}.sample"] = kept(one.sample(asked, 3), 4)
            out[f"{name}.signals"] = kept(one.signals(asked, 3, batch=3), 4)
        out[f"{name}.weights"] = weights(one.denoiser)
    out["guidance"] = kept(made.signals(told, 1, guidance=3.0, steps=2))
    out["make"] = [plain(ecg) | {"signal": sha(ecg.signal.tobytes())} for ecg in made.make(told[:1], 2)]
    torch.manual_seed(0)
    other = ConditionalVAE(16, told.shape[1])
    plans = made.material(ecgs[:4], events)[1]
    torch.manual_seed(1)
    out |= many("conditional.loss", other.loss(ecgs[:4], told, plans))
    out |= {"conditional": kept(other.signals(told, plans, 4), 4), "conditional.weights": weights(other)}
    out["equal_width"] = equal_width(200_000, told.shape[1])
    laptop = dict(vae=VAE(LAPTOP.vae_width), denoiser=Denoiser(LAPTOP.unet_width, told.shape[1]))
    large = dict(vae=PublishedVAE(), denoiser=PublishedDenoiser())
    out |= {f"laptop.{name}.weights": weights(module) for name, module in laptop.items()}
    out |= {f"published.{name}": [parameters(m), parameters(m, True), weights(m)] for name, m in large.items()}
    out["published.schedule"] = kept(published_schedule().alphas_cumprod)
    for name in ("vae", "condition", "rhythm"):
        out[f"{name}.weights"] = weights(getattr(made, name))
    out["templates.weights"] = weights(made.templates)
    return {f"generator.{key}": value for key, value in out.items()}


def _diag() -> dict:

    made, x = patients(), patients().signal[:6]
    out = {"code_names": sha(code_names(125, 20)), "meanings": sha(meanings()), "joint_width": joint_width(SMOKE)}
    for name in CODES_VARIANTS:
        torch.manual_seed(0)
        codec = shaken(codec_of(SMOKE, name))
        codes = codec.encode(x)
        out |= {f"{name}.codes": kept(codes, 4), f"{name}.back": kept(codec.decode(codes, 1000), 4)}
        out |= many(f"{name}.loss", codec.loss(x)) | {f"{name}.many": [codec.many(1000), codec.codes, codec.words]}
        out |= {f"{name}.numbers": kept(codec.numbers(x)), f"{name}.weights": weights(codec)}
    torch.manual_seed(0)
    published = ECGTokenizer((2, 2, 2, 2), width=32, leads=12, groups=8)
    out |= {"published.codes": kept(published.encode(x[:2]), 4), "published.weights": weights(published)}
    torch.manual_seed(0)
    codec = shaken(new_codec(SMOKE))
    facts, wanted = codec.facts, targets({k: v[:6] for k, v in made.truth.items()})
    out |= many("facts.tell", facts.predict(x)) | {"facts.loss": digits(facts.loss(x, wanted))}
    said_ = facts.encode(x)
    out |= {"facts.words": kept(said_), "facts.uncut": kept(facts.uncut(x)), "facts.noisy": kept(noisy(x))}
    out["facts.words_of"] = kept(words_of(facts.predict(x)))
    out["facts.readings"] = sha(tiny.defined_in("11_ecg_as_words").readings_of(said_))
    out["facts.rows"] = kept(fact_rows(lambda text: torch.full((16,), float(len(text)))))
    out["weights.codec.laptop"] = weights(new_codec(LAPTOP))
    torch.manual_seed(0)
    tokenizer = words()
    model = DiagECG(shaken(pocket_llm(SMOKE, tokenizer)), tokenizer, codec)
    out |= {"start": [model.start, model.end, model.first], "table": kept(model.llm.get_input_embeddings().weight)}
    chatter, read, codes = Collator(model, corpus()), codec.read_tokens(x), codec.encode(x)
    prompts, answers = ["Interpret this ECG."] * 6, [chatter.ids(r) for r in corpus().reports[:6]]
    out["said"] = kept(read, 4)
    out["loss.none"] = digits(tiny.answer_loss(model, prompts, answers, None))
    out["loss"] = digits(tiny.answer_loss(model, prompts, answers, model.block(read[:, None])))
    out["loss.two"] = digits(
        tiny.answer_loss(model, prompts, answers, model.block(torch.stack([read, read.flip(0)], 1)))
    )
    turns = [[(p, a), ("And?", a)] for p, a in zip(prompts, answers)]
    out["loss.talk"] = digits(model.loss(model.batch(turns), model.block(read[:, None]), rates=True))
    for parts in (1, 4, 16):
        cut = windows(codes, parts, codec.books)
        out[f"windows.{parts}"] = [kept(cut)["bits"], digits(model.forecast_loss(cut))]
    out["code_logits"] = kept(model.code_logits(codes[:, :20]), 4)
    out["write"] = [sha(model.write(prompts, read[:, None])), model.write(prompts[:1], read[:1, None])[0][:150]]
    out["attention"] = kept(attention(model, prompts, read), 4)
    out["token_waves"] = kept(token_waves({k: v[:6] for k, v in made.truth.items()}, 50, 1000))
    torch.manual_seed(0)
    model.adapt(SMOKE.diag_rank)
    out |= {
        "adapters": sha({n: list(p.shape) for n, p in model.adapters().items()}),
        "frozen": sha(model.fingerprint()),
    }
    for p in model.adapters().values():
        p.add_(0.02)
    out["loss.adapted"] = digits(tiny.answer_loss(model, prompts, answers, model.block(read[:, None])))
    model.llm = model.llm.merge_and_unload()
    out["loss.merged"] = digits(tiny.answer_loss(model, prompts, answers, model.block(read[:, None])))
    return {f"diag.{key}": value for key, value in out.items()}


def part_trainings() -> dict:
    """The first losses of every training of the course, its other figures, and the norm of the weights it left."""
    from torch import nn

    out = dict(chain()[1])
    torch.manual_seed(0)
    x = torch.randn(64, 5)
    for name, how in {"plain": {}, "ema": {"ema": 0.9}, "muon": {"muon": True}}.items():
        torch.manual_seed(1)
        net = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 5))

        with losses() as found:
            loop = TrainingLoop({"net": net}, Training(30, 8, 1e-2, 3), 2, new("fit"), name, **how)
            for step in loop:
                rows = step.rows(len(x))
                step.learn((net(x[rows]) - x[rows]).square().mean(), noise=torch.rand(1, generator=step.generator)[0])
        out[f"fit.{name}"] = {"losses": found, "weights": size(net)}
        out[f"fit.{name}"]["history"] = [plain(loop.history[key]) for key in ("loss", "noise")]
    out["schedule"] = [digits(schedule(step, Training(50, 8, 1e-3, 5))) for step in range(0, 50, 7)]
    out["step_generator"] = plain(torch.rand(3, generator=torch.Generator().manual_seed(step_seed(1, 5))))
    out["rows_of"] = [sha(rows_of(step, 1, 8, 30)) for step in range(6)]
    return out


def part_studies() -> dict:
    """Every variant of every study trained for a few steps and scored, on the small cohort."""
    nowhere, os.environ["UNIECG_REAL_ECG"] = os.environ["UNIECG_REAL_ECG"], str(real_records_folder())
    store, out = chain()[0], {}
    for name, study in STUDIES.items():
        shared = study.prepare(store)
        for variant in study.variants:
            if variant in SLOW.get(name, ()):
                continue
            settings = study.settings(store, variant)
            with losses() as found:
                scores = study.measure(shared, variant, 0, new(f"studies/{name}/{variant}"))
            scores = {k: digits(v) for k, v in sorted(scores.items()) if "seconds" not in k}
            out[f"{name}.{variant}.losses"] = [len(found), *found[:8], *found[-2:]]
            out[f"{name}.{variant}.scores"] = [len(scores), sha(scores)]
            out[f"{name}.{variant}.names"] = sha(list(scores))
            out[f"{name}.{variant}.few"] = {k: v for i, (k, v) in enumerate(scores.items()) if i % 9 == 0}
            out[f"{name}.{variant}.settings"] = sha(sorted(settings))
    os.environ["UNIECG_REAL_ECG"] = nowhere
    few = torch.arange(4)
    return out | {f"step.{name}": kept(make(few)) for name, make in REALISM_STEPS.items()}


SLOW = {"making": ("ancestral",), "sampling": ("steps20", "steps50")}  # what these do, others do too


def part_scores() -> dict:
    """Every score on fixed inputs, and what the committed results and cells say."""
    return _texts_scored() | _signals_scored() | _real_scored() | _models_scored() | _committed()


def _texts_scored() -> dict:

    text = corpus()
    n, truth = 80, corpus().readings[:80]
    rows = [row["text"] for row in json.loads((ROOT / "data" / "paraphrases.json").read_text(encoding="utf-8"))]
    own = text.reports[:n]
    sets = {
        "own": own,
        "another": text.reports[1 : n + 1],
        "cut": [t[: len(t) * 2 // 3] for t in own],
        "mixed": [a[: len(a) // 2] + " " + b[len(b) // 2 :] for a, b in zip(own, text.reports[40 : n + 40])],
        "paraphrases": rows[:n],
        "empty": [""] * n,
    }
    out = {}
    for name, texts in sets.items():
        out |= many(f"{name}.grounded", grounded(texts, truth)) | many(f"{name}.report", report_scores(texts, truth))
        said_ = [parse_report(t) for t in texts]
        out |= many(f"{name}.reading", reading_scores(said_, truth)) | many(
            f"{name}.error", interval_errors(said_, truth)
        )
        out[f"{name}.findings"] = sha(finding_scores(table_of(said_), table_of(truth)))
        out[f"{name}.macro_f1"] = digits(macro_f1(table_of(said_), table_of(truth)))
        out[f"{name}.each"] = sha([grounded_one(t, r) for t, r in zip(texts, truth)])
        against = [{c: [*contradictions(c, s)] for c in sorted(s.findings)} for s in map(parse, texts)]
        out[f"{name}.contradictions"] = sha([{c: why[0] for c, why in each.items() if why} for each in against])
    judged = [Judged(parse(t), r) for t, r in zip(sets["mixed"], truth)]
    out["judged"] = sha([[j.points(c) for c in sorted(j.truth.findings)] + [j.false_leads] for j in judged])
    out["required"] = sha(REQUIRED)
    others = truth[40:] + truth[:40]
    out |= many("conflict", conflict_scores(sets["mixed"], truth, others, own))
    out |= many("overlap", overlap(sets["mixed"][:20], own[:20]))
    out |= many("diag", report_metrics(sets["mixed"], text))
    out["qa_named"] = sorted(qa_named({"qa.exact_match": 0.5, "qa.open": 0.25, "qa.single-verify": 1.0}))
    told = {name: {"points": 50} for name in ("DiagnosisAccuracy",)}
    out["judge"] = []
    for answer in ("no json", json.dumps(told), "[]"):
        judge = type("Judge", (ChatModel,), {"ask": lambda *_, answer=answer: answer})("http://x", "m")
        out["judge"].append(plain(judge.verdict("Rate 60 bpm.", "Rate 60 bpm.")))
    return {f"texts.{key}": value for key, value in out.items()}


def _signals_scored() -> dict:

    made = patients()
    signal, truth = made.signal, made.truth
    out = {"heart_rate": kept(heart_rate(signal, 100.0)), "spread": kept(beat_size_spread(signal[:60], 100.0))}
    out |= many("measure_beat", measure_beat(signal[:60], truth["qrs_ms"][:60], truth["qt_ms"][:60]))
    torch.manual_seed(0)
    reader = shaken(Reader())
    test = cohort.load(cohort_folder(), "test")
    requests = generation_requests(test, 12)
    shown = signal[:12]
    out |= many("control", control(reader, shown, *requested(requests)))
    out["standard"] = kept(standard(clean_few()[:4]))
    numbers = {"rate_bpm": torch.tensor([60.0, 90.0, math.nan]), "axis_deg": torch.tensor([170.0, -20.0, 5.0])}
    read = {"rate_bpm": torch.tensor([66.0, math.nan, 80.0]), "axis_deg": torch.tensor([-170.0, 10.0, 5.0])}
    out |= many("errors", number_errors(numbers, read))
    follows, crowd = generated_metrics(reader, clean_few()[: len(requests)], requests, test)
    out |= many("made.follows", follows) | many("made.crowd", crowd)
    features = reader.features(signal)
    one, other, third = features[:120], features[120:220], features[220:]
    out |= {"fid": digits(fid(one, other))} | many("manifolds", manifolds(one, other))
    out |= many("fidelity", fidelity(one, other)) | many("memorised", memorised(one, other, third))
    texts = [r.text() for r in corpus().requests]
    out |= many("clip", clip_scores(features[:150], texts[:150], features[150:180], texts[150:180]))
    female, age = truth["female"].bool(), truth["age"]
    order = [*range(200, 300), *range(200)]  # the first hundred are asked for, the others known
    found = person_scores(features[order], features[200:], female[order], age[order])
    out |= many("person", {key: value for key, value in found.items() if key.startswith("true_")})
    out |= many("statistics", statistics(signal[:80])) | many("bands", band_rms(signal[:80]))
    out |= {"quiet": kept(quiet_noise(signal[:80])), "sinus_like": kept(sinus_like(signal))}
    out |= many("compare", realism_of(signal[:80], signal[80:160]))
    like = signal[sinus_like(signal)]
    out["comparable"] = kept(comparable(signal, truth["findings"].bool(), like[:10]))
    cut, owner = cut_beats(like[:10], 100.0)
    out |= {"beats": kept(cut), "beats.owner": kept(owner)}
    with losses() as found:
        apart = separability(like[:15], like[15:30] * 1.05, 0, [f"p{i // 2}" for i in range(15)], epochs=2)
    out |= many("separability", apart) | {"separability.losses": [len(found), *found[:10]]}
    part = {k: v[:40] for k, v in truth.items()}
    windows = wave_windows(part, 1000, 100.0)
    out["windows"] = kept(windows)
    mass = signal[:40].abs().sum(1)
    out |= {f"ratios.{wave}": kept(ratios(mass, windows[:, i])) for i, wave in enumerate(WAVES)}
    torch.manual_seed(0)
    codec = shaken(new_codec(SMOKE))
    out |= many("codec", codec_metrics(codec, signal[:20]))
    out |= many("kept", waves_kept(codec, signal[:20], {k: v[:20] for k, v in truth.items()}))
    report, share = trivial_report(corpus())
    out["trivial"] = [report, digits(share)]
    logits = torch.randn(64, len(CODES), generator=torch.Generator().manual_seed(0))
    out["settle"] = kept(settle(logits))
    out["made.hz"] = HZ
    return {f"signals.{key}": value for key, value in out.items()}


def _real_scored() -> dict:

    folder = real_records_folder()
    records = load_records(folder)
    signal, (rated, rates, lost) = records.signal(range(len(records))), rated_records(folder)
    names = records.column("record"), records.column("patient"), records.column("statements")
    out = {"records": [len(records), *map(sha, names)], "signals": kept(signal)}
    out["rates"] = [len(rated), kept(rates), lost]
    torch.manual_seed(0)
    reader = shaken(Reader())
    logits = reader.predict(signal)[1]
    out["logits"] = kept(logits, 4)
    table = finding_table(records, logits > 0, torch.full((len(records),), 80.0), logits, times=50)
    out["table"] = [len(table), sha([*table.index]), sha(table.n.tolist()), *map(digits, table.loc["macro"].tolist())]
    weight, label = resampled(names[1], 20), torch.arange(len(records)) % 3 == 0
    out["resampled"] = kept(weight)
    out["weighted"] = [
        kept(real.weighted_auroc(logits[:, 0], label, weight)),
        kept(weighted_f1(logits[:, 0] > 0, label, weight)),
    ]
    out["threshold"] = digits(best_threshold(logits[:, 0], label))
    out["means"] = plain(means({"simulated.LVH.f1": 0.5, "simulated.PVC.f1": math.nan, "real.LVH.auroc": 0.7}))
    return {f"real.{key}": value for key, value in out.items()}


def _models_scored() -> dict:

    test, model = cohort.load(cohort_folder(), "test"), whole_model()
    out = many("stage1", chain_scores.stage1_metrics(model, test, 12)) | many(
        "prompts", prompt_metrics(model, frozen_prompts()[::8])
    )
    torch.manual_seed(0)
    reader = shaken(Reader())
    out |= many("generation", chain_scores.generation_metrics(model, reader, test, 8))
    out |= many("real", chain_scores.real_metrics(model, real_records_folder()))
    out |= many("qa", qa.qa_metrics(model, test, 20, 0, corpus()))
    readings = Corpus(test.truth(range(8))).readings
    signal = test.signal(range(8))
    tokens = model.encode_ecg(signal, raster(signal))
    out |= many("conflict", conflict_metrics(model, *tokens, readings))
    reports = corpus().reports
    told = dict(zip(range(300), reports))
    model.texts = lambda answers: [told[i % len(told)] for i in range(len(answers))]  # reports that name findings
    out |= many("evidence", occlusion(model, simulate(1, torch.arange(60)), 1))
    del model.texts
    torch.manual_seed(0)
    tokenizer, codec = words(), shaken(new_codec(SMOKE))
    diag = DiagECG(shaken(pocket_llm(SMOKE, tokenizer)), tokenizer, codec)
    read, waves = codes_of(codec, test, kind="read"), codes_of(codec, test)
    out |= {"codes.read": kept(read), "codes.numbers": kept(codes_of(codec, test, kind="numbers"))}
    out |= many("diag.forecast", diagecg_metrics.forecast_metrics(diag, waves[:6], waves))
    texts = Corpus(test.truth(), test.column("patient"))
    out |= many("diag.qa", diagecg_metrics.qa_metrics(diag, texts, read, 16, 0))
    out["diag.reports"] = sha(diagecg_metrics.reports(diag, texts, read[:8]))
    out |= many("diag.real", diagecg_metrics.real_metrics(diag, real_records_folder()))
    strangers = simulate(2, torch.arange(4))
    out |= many("diag.attention", attention_metrics(diag, strangers, codec.encode(strangers.signal)))
    return {f"models.{key}": value for key, value in out.items()}


def _committed() -> dict:
    """Tables, sums and verdicts from the committed results, and verdicts at the edges."""
    out = {"producers": sha(PRODUCERS), "sizes": sha(SIZES), "budgets": sha(BUDGETS), "study_list": sha(study_list())}
    out |= {f"profile.{name}": sha(asdict(profile)) for name, profile in PROFILES.items()}
    files = results.load_all()
    for file in files:
        name = f"{file['profile']}.{file['machine']}.{file['seed']}"
        out |= {f"claims.{name}.{key}": claim for key, claim in verdicts(file["metrics"]).items()}
        out[f"derived.{name}"] = plain(results.derived(file["metrics"]))
        out[f"sums.{name}"] = plain(results.sums(file["seconds"]))
    out["aims"], out["syllabus"] = results.table_of_aims(files).splitlines(), sha(syllabus())
    found = claim_metrics(root=STUDIES_FOLDER)
    out["study_metrics"] = [len(found), sha(dict(sorted(found.items())))]
    out |= {f"study_claims.{key}": sha(claim) for key, claim in verdicts(found).items()}
    out["studies"] = studies_table(STUDIES_FOLDER).splitlines()
    out["systems"] = system_table(root=STUDIES_FOLDER).splitlines()
    out["published"] = sha(table("published")["scores"]["rows"])
    readme = new("readme") / "README.md"
    readme.write_text((ROOT / "README.md").read_text(encoding="utf-8"), encoding="utf-8")
    out["readme"] = update_readme(readme)
    for name in STUDIES:
        cells = summary(name)
        out[f"summary.{name}"] = [len(read_cells(name, "laptop")), sha(cells), provenance(name)]
        metrics = sorted({metric for row in cells.values() for metric in row})
        out[f"summary_table.{name}"] = sha(summary_table(name, metrics[:12]))
        first = list(cells)[:2]
        if len(first) == 2:
            shared = sorted(set(cells[first[0]]) & set(cells[first[1]]))[:5]
            out[f"paired.{name}"] = [plain(paired(name, (first[0], m), (first[1], m))) for m in shared]
    worse = {key: (value * 0.5 if isinstance(value, float) else value) for key, value in found.items()}
    more = {key: (value * 1.5 if isinstance(value, float) else value) for key, value in found.items()}
    for name, changed in (("worse", worse), ("more", more), ("none", {})):
        out[f"claims.{name}"] = {key: claim["verdict"] for key, claim in verdicts(changed).items()}
    few = {k: 2 if k.endswith(".seeds") else v for k, v in found.items()}
    out["claims.few"] = {key: claim["verdict"] for key, claim in verdicts(few).items()}
    return {f"committed.{key}": value for key, value in out.items()}


def part_drawing() -> dict:
    """Rasters, pages and their way back, figures as PNG, and what they say to those who cannot see them."""
    import matplotlib

    matplotlib.rcParams["font.family"] = "DejaVu Sans"
    made = patients()
    out = {"raster": kept(raster(made.signal[:32]))}
    out["segments"] = plain(list(segments()))
    folder = new("pages")
    for i, (age, sex) in enumerate(((63, "female"), (None, None), (40, "male"))):
        ecg = ECG(made.signal[i].numpy(), 100.0, age, sex, "toy")
        page = save_page(ecg, folder / f"page{i}.png")
        ink = read_page(page)
        out[f"page.{i}"] = [
            kept(ink),
            digits((ink[0].float() - raster(made.signal[i : i + 1])[0].float()).abs().mean()),
        ]
        out |= {f"page.{i}.pixels": _pixels(page.read_bytes()), f"alt.{i}": alt_text(ecg)}
        out[f"figure.{i}"] = _pixels(png(figure(ecg, "A title " * (1 + 20 * i))))
    pair = [ECG(x.numpy(), 100.0) for x in made.signal[3:5]]
    history = {"loss": [3.0, 2.0, 1.5], "mse": [1.0, 0.5, 0.2]}
    figures = {
        "compare": compare(pair, ["one", "other"], title="Two"),
        "losses": loss_figure(history, ("loss", "mse"), "Training"),
        "bars": bars({"a": 0.5, "b": 0.8}, "Bars", 0.7),
    }
    return out | {f"figure.{name}": _pixels(png(each)) for name, each in figures.items()}


def _pixels(data: bytes) -> str:
    """A PNG as its size and a hash of its pixels."""
    from PIL import Image

    with Image.open(io.BytesIO(data)) as image:
        return f"{image.size} {image.mode} {sha(image.convert('RGB').tobytes())}"


def part_errors() -> dict:
    """What bad input is answered with: type and sentence."""
    parts = (_bad_signals, _bad_wfdb, _bad_tables, _bad_pages, _bad_artifacts, _bad_requests, _bad_words, _bad_shell)
    out = {}
    for part in parts:
        out |= {f"{part.__name__.removeprefix('_bad_')}.{key}": value for key, value in part().items()}
    return out | _awkward()


def _toy(hz: float = 500, seconds: float = 10, **about):
    """A regular, noiseless ECG of Gaussians."""
    time_s, signal = np.arange(round(hz * seconds)) / hz, 0.0
    beats = np.arange(0.4, seconds + 1, 60 / 72)
    waves = ((-0.16, 0.025, 0.1), (-0.03, 0.01, -0.1), (0.0, 0.012, 1.0), (0.03, 0.012, -0.3), (0.28, 0.05, 0.3))
    for k, (centre, width, height) in enumerate(waves):
        shape = np.exp(-0.5 * ((time_s[:, None] - beats - centre) / width) ** 2).sum(1)
        signal = signal + np.outer(height * (1 + 0.1 * np.cos(k + np.arange(8))), shape)
    return ECG(from_independent(signal), hz, **about)


def _bad_signals() -> dict:

    ecg, out = _toy(), {}
    leads = {name: ecg[name] for name in LEADS}
    rng = np.random.default_rng(0)

    def spoilt(place, value):
        x = ecg.signal.copy()
        x[place] = value
        return x

    signals = {
        "eight": ecg.signal[:8],
        "flat shape": ecg.signal[0],
        "three dimensions": ecg.signal[None],
        "short": ecg.signal[:, :400],
        "empty": ecg.signal[:, :0],
        "nan": spoilt((7, 40), np.nan),
        "inf": spoilt((7, 40), np.inf),
        "dead": spoilt([6, 9], 0.7),
        "zero": ecg.signal * 0,
        "uv": ecg.signal * 1000,
        "v": ecg.signal / 1000,
        "swapped": ecg.signal[[0, 1, 2, 3, 5, 4, *range(6, 12)]],
        "arms": ecg.signal[[1, 0, *range(2, 12)]],
        "inverted": ecg.signal * ([[1]] * 3 + [[-1]] + [[1]] * 8),
        "noise": rng.normal(size=(12, 5000)),
        "text": [["a"] * 5000] * 12,
        "none": None,
    }
    for name, signal in signals.items():
        out[f"ECG.{name}"] = said(lambda x=signal: ECG(x, 500))
    for hz in (0, 49, 2001, -500, float("nan"), float("inf"), None, "fast", "500", True):
        out[f"hz.{hz}"] = said(lambda h=hz: ECG(ecg.signal, h))
    for age in (300, -1, "old", float("nan"), "63", 110, 0):
        out[f"age.{age}"] = said(lambda a=age: ECG(ecg.signal, 500, age=a))
    for sex in ("F", "x", "", 1, None):
        out[f"sex.{sex}"] = said(lambda s=sex: ECG(ecg.signal, 500, sex=s))
    for unit in ("mmHg", "", "uv", 5, None, {"I": "kV"}):
        out[f"unit.{unit}"] = said(lambda u=unit: ECG.from_leads(leads, 500, unit=u))

    def less(*names):
        return {k: v for k, v in leads.items() if k not in names}

    gap = ecg["V4"].copy()
    gap[300:321] = np.nan
    bridged = gap.copy()
    bridged[300:321] = ecg["V4"][300:321]
    bridged[300:320] = np.nan
    end = ecg["V4"].copy()
    end[-2:] = np.nan
    sets = {
        "V3 V5": less("V3", "V5"),
        "one limb": less("I", "III", "aVR", "aVL", "aVF"),
        "no limb": less("I", "II", "III", "aVR", "aVL", "aVF"),
        "two limb": less("I", "III", "aVR", "aVL"),
        "foreign": {"Fp1": leads["I"], "Fp2": leads["II"]},
        "nothing": {},
        "uneven": leads | {"V1": leads["V1"][:-1]},
        "twice": leads | {"Lead I": leads["I"]},
        "words": leads | {"V1": ["x"] * 5000},
        "rows": leads | {"V1": np.zeros((2, 5000))},
        "no samples": {name: [] for name in leads},
        "gap": leads | {"V4": gap},
        "bridged": leads | {"V4": bridged},
        "end": leads | {"V4": end},
        "all gap": leads | {"V4": np.full(5000, np.nan)},
    }
    for name, some in sets.items():
        out[f"leads.{name}"] = said(lambda s=some: ECG.from_leads(s, 500))
    out["lead.V9"] = said(lambda: ecg["V9"])
    out |= {"resample": said(lambda: ecg.resample(20)), "standard": said(lambda: _toy(seconds=9.8).standard())}
    for name in ("a.b", "a b", "ä", ""):
        out[f"save.{name}"] = said(lambda n=name: ecg.save(new("save") / n if n else ""))
    high = ECG(ecg.signal + from_independent(np.full((8, 5000), 33.0)), 500)
    out["save.high"] = said(lambda: high.save(new("save") / "high"))
    (new("save") / "file").write_text("")
    out["save.on a file"] = said(lambda: ecg.save(room() / "save" / "file" / "rec"))
    out["page.on a file"] = said(lambda: save_page(ecg, room() / "save" / "file" / "page.png"))
    out["raster.nan"] = said(lambda: raster(torch.full((1, 12, 1000), math.nan)))
    for size_ in ((12, 1000), (1, 8, 1000), (1, 12, 999)):
        out[f"raster.{size_}"] = said(lambda s=size_: raster(torch.zeros(s)))
    out["compare"] = said(lambda: compare([ecg], ["a", "b"]))
    out["compare.none"] = said(lambda: compare([], []))
    names = ("AVR", "Lead I", "lead_II", "ecg_v6", "MDC_ECG_LEAD_aVF", "DII", "ecg", "V7", "", "MLII", "-aVR", "None")
    out["names"] = {name: lead_name(name) for name in names}
    out["residual"] = digits(lead_law_residual(signals["inverted"]))
    return out


def _bad_wfdb() -> dict:

    folder, out = new("wfdb"), {}
    record = _toy(age=63, sex="female", source="toy, Zürich\nline two").save(folder / "rec")
    dat, hea = record.with_suffix(".dat"), record.with_suffix(".hea")
    whole, header = dat.read_bytes(), hea.read_text()
    out["header"], out["dat"] = header.splitlines(), sha(whole)
    read = ECG.load(record)
    out["read"] = [repr(read), kept(read.signal)]
    for size in (0, 24, len(whole) // 2, len(whole) - 5):
        dat.write_bytes(whole[:size])
        out[f"dat.{size}"] = said(lambda: ECG.load(record))
    dat.unlink()
    out["dat.gone"] = said(lambda: ECG.load(record))
    dat.write_bytes(whole)
    first = header.splitlines()[0]
    headers = {
        "empty": "",
        "words": "no header at all",
        "bytes": "\x00\x01\x02",
        "five": header.replace("rec 12 500", "rec 12 five"),
        "no gain": header.replace("1000.0(0)/mV", "0/mV", 1),
        "alone": first + "\n",
        "longer": header.replace("5000", "9000", 1),
        "eleven": header.replace("rec 12", "rec 11", 1),
        "no rate": header.replace(first, "rec 12"),
        "elsewhere": header.replace("rec.dat", "../rec.dat"),
        "slow": header.replace("rec 12 500", "rec 12 20"),
        "twice": header.replace("V2", "V1"),
        "units": header.replace("/mV", "/mmHg"),
        "names": header.replace("V3", "X3"),
        "swapped": header.replace("aVL", "q").replace("aVF", "aVL").replace(" q", " aVF"),
        "dashes": header.replace(first, "rec 12 500 5000 05-May-2020 09:49:17"),
    }
    for name, text in headers.items():
        hea.write_text(text)
        out[f"hea.{name}"] = said(lambda: ECG.load(record))
    hea.write_text(header)
    out["hz"] = said(lambda: ECG.load(record, hz=250))
    out["unit"] = said(lambda: ECG.load(record, unit="uV"))
    people = ("Age: NaN", "Age: 300", "Age: 6 months", "<age>: 63 <sex>: F", "Sex: Unknown", "gender: M", "Age: -1")
    for about in people:
        hea.write_text("\n".join(line for line in header.splitlines() if not line.startswith("#")) + f"\n#{about}\n")
        ecg = ECG.load(record)
        out[f"about.{about}"] = [ecg.age, ecg.sex]
    for path in ("nothing", "nothing.csv", "", "page.png", "scan.pdf", "a.npy", "a.npz", "a.xml", "a.mat", "a.hea"):
        out[f"path.{path}"] = said(lambda p=path: ECG.load(folder / p))
    return out


def _bad_tables() -> dict:

    folder, ecg, out = new("tables"), _toy(seconds=2), {}
    path, times = folder / "a.csv", np.arange(1000) / 500

    def table(leads, notes=("hz=500",), time=None, sep=",", name="time_s"):
        columns = ([(name, time)] if time is not None else []) + list(leads.items())
        lines = [f"# {note}" for note in notes] + [sep.join(name for name, _ in columns)]
        rows = zip(*(values for _, values in columns))
        return "\n".join(lines + [sep.join(f"{cell:.4f}" for cell in row) for row in rows])

    leads = {name: ecg[name] for name in LEADS}
    micro = {name: values * 1000 for name, values in leads.items()}
    jumpy = times + (np.arange(1000) > 500)
    plain_table = table(leads)
    texts = {
        "good": plain_table,
        "about": table(leads, ("hz=500", "age: 40", "sex: M", "unit=mV")),
        "no rate": table(leads, ()),
        "uv": table(micro),
        "uv named": table({f"{name} (uV)": values for name, values in micro.items()}),
        "rate in words": table(leads, ("hz=fast",)),
        "time": table(leads, (), times),
        "ms": table(leads, (), times * 1000, name="time_ms"),
        "jumpy": table(leads, (), jumpy),
        "falling": table(leads, (), jumpy[::-1]),
        "semicolon": table(leads, sep=";").replace(".", ","),
        "empty": "",
        "header": "I,II\n",
        "foreign": "a,b\n1,2\n",
        "ragged": "I,II\n1,2\n1\n",
        "letters": "I,II\n1,x\n",
        "twice": "I,I\n1,2\n",
        "few": "# hz=500\nI,II\n1,2\n",
        "bom": "\ufeff" + plain_table,
        "decimal comma": table(leads, sep="\t").replace(".", ","),
        "two units": table({f"{n} (uV)" if n == "I" else n: v for n, v in leads.items()}),
        "age in words": table(leads, ("hz=500", "age: old", "sex: x")),
        "rates": table(leads, ("hz=250",), times),
    }
    for name, text in texts.items():
        path.write_text(text, encoding="utf-8")
        out[f"csv.{name}"] = said(lambda: ECG.load(path))
        if out[f"csv.{name}"].startswith("accepted"):
            read = ECG.load(path)
            out[f"csv.{name}"] = [repr(read), kept(read.signal)["about"]]
        out[f"csv.{name}.250"] = said(lambda: ECG.load(path, hz=250))
    path.write_bytes(b"\xff\xfe\x00\xd8")
    out["csv.bytes"] = said(lambda: ECG.load(path))
    whole, file, archive = _toy(), folder / "a.npy", folder / "a.npz"
    objects = np.array([{"a": 1}], dtype=object)
    for name, array in {
        "good": whole.signal,
        "turned": whole.signal.T,
        "eight": whole.signal[:8],
        "objects": objects,
        "line": whole.signal[0],
        "int": np.rint(whole.signal * 1000).astype(np.int16),
        "text": np.array(["a", "b"]),
    }.items():
        np.save(file, array)
        out[f"npy.{name}"] = [said(lambda: ECG.load(file, hz=500)), said(lambda: ECG.load(file))]
    file.write_bytes(b"not numpy")
    out["npy.bytes"] = said(lambda: ECG.load(file, hz=500))
    eight = ["I", "II", "V1", "V2", "V3", "V4", "V5", "V6"]
    for name, arrays in {
        "nothing": {"x": whole.signal},
        "rate in words": {"signal": whole.signal, "hz": "fast"},
        "no rate": {"signal": whole.signal},
        "objects": {"signal": objects, "hz": 500},
        "names": {"signal": whole.signal[:8], "hz": 500, "leads": eight},
        "few names": {"signal": whole.signal, "hz": 500, "leads": eight},
        "age": {"signal": whole.signal, "hz": 500, "age": "old"},
        "sex": {"signal": whole.signal, "hz": 500, "sex": "x"},
        "unit": {"signal": whole.signal, "hz": 500, "unit": "mmHg"},
        "all": {"signal": whole.signal * 1000, "hz": 500, "unit": "uV", "age": 71, "sex": "female", "leads": LEADS},
    }.items():
        np.savez(archive, **arrays)
        out[f"npz.{name}"] = said(lambda: ECG.load(archive))
    archive.write_bytes(b"PK no archive")
    out["npz.bytes"] = said(lambda: ECG.load(archive))
    return out


def _bad_pages() -> dict:
    from PIL import Image

    folder, out = new("bad-pages"), {}
    page = Image.open(save_page(_toy(), folder / "good.png")).convert("RGB")
    width, height = page.size
    images = {
        "good.png": page,
        "small.png": page.resize((400, round(400 * height / width))),
        "half.png": page.resize((width // 2, height // 2)),
        "square.png": page.crop((0, 0, height, height)),
        "turned.png": page.rotate(90, expand=True),
        "grey.png": page.convert("L"),
        "white.png": Image.new("RGB", (width, height), "white"),
        "black.png": Image.new("RGB", (width, height), "black"),
        "alpha.png": page.convert("RGBA"),
        "good.jpg": page,
    }
    for name, image in images.items():
        image.save(folder / name)
        out[name] = said(lambda n=name: read_page(folder / n))
    (folder / "words.png").write_text("no image")
    (folder / "cut.png").write_bytes((folder / "good.png").read_bytes()[:2000])
    for name in ("words.png", "cut.png", "nothing.png", "."):
        out[name] = said(lambda n=name: read_page(folder / n))
    return out


def _bad_artifacts() -> dict:

    folder, out = new("artifacts"), {}
    store = Store(folder / "smoke", SMOKE, 0)

    def write(name, inputs=(), value=1.0):
        with store.writing(name, inputs=inputs, metrics={"value": value}) as place:
            save_tensors({"x": torch.full((3,), value)}, place / "weights")

    for name in PRODUCERS:
        out[f"missing.{name}"] = said(lambda n=name: store.path(n))

    def load_generator(store):
        return Generator.from_pretrained(store.path("diffusets"))

    loaders = (load_encoders, load_generator, load_reader, load_codec, load_diagecg)
    for load in loaders:
        out[f"missing.{load.__name__}"] = said(lambda act=load: act(store))
    for stage in ("language", "alignment", "stage1"):
        out[f"missing.load_reading.{stage}"] = said(lambda s=stage: load_reading(store, s))
    for stage in ("tokens", "unified"):
        out[f"missing.load_ecg_tokens.{stage}"] = said(lambda s=stage: load_reading(store, s))
    inputs = {"cohort": (), "encoders": ("cohort",), "language": ("cohort",), "alignment": ("encoders", "language")}
    for name, before in inputs.items():
        write(name, before)
    out["hash"] = fingerprint(store.folder / "cohort")
    meta = {k: v for k, v in store.meta("alignment").items() if k not in ("commit", "sizes")}
    out["meta"], out["meta.keys"] = meta, sorted(store.meta("alignment"))
    out["profile"] = said(lambda: Store(store.folder, LAPTOP, 0).path("encoders"))
    out["seed"] = said(lambda: Store(store.folder, SMOKE, 5).path("language"))
    out["sizes"] = said(lambda: Store(store.folder, replace(SMOKE, enc_width=64), 0).path("encoders"))
    out["file"] = said(lambda: store.tensors("encoders", "views"))
    out["encoders"] = said(lambda: load_encoders(store))
    out["reading"] = said(lambda: load_reading(store, "language"))
    write("encoders", ("cohort",), 2.0)
    out["stale"] = said(lambda: store.path("alignment"))
    write("cohort", (), 3.0)
    out["stale.language"] = said(lambda: store.path("language"))
    write("language", ("cohort",))
    out["stale.of.stale"] = said(lambda: store.path("alignment"))
    for text in ("", "{", "{}", "[]", "null", '{"profile": "smoke"}'):
        (store.folder / "language" / "meta.json").write_text(text)
        out[f"meta.{text}"] = said(lambda: store.path("language"))
    write("encoders", ("cohort",))
    file = store.folder / "encoders" / "weights.safetensors"
    whole = file.read_bytes()
    for size in (0, 5, 60):
        file.write_bytes(whole[:size])
        out[f"tensors.{size}"] = said(lambda: store.tensors("encoders", "weights"))
    out["writing"] = said(lambda: store.writing("tokens", ("stage1",)).__enter__())
    out["unified.elsewhere"] = said(lambda: UniECG.from_pretrained(folder / "elsewhere"))
    out["unified.empty"] = said(lambda: UniECG.from_pretrained(store.folder))
    out["cohort"] = said(lambda: cohort.load(folder / "nowhere", "train"))
    for name in ("huge", "LAPTOP", " "):
        out[f"profile.{name}"] = said(lambda n=name: find_profile(n))
    llm = folder / "llm"
    llm.mkdir()
    out["llm.empty"] = said(lambda: load_llm(llm))
    (llm / "config.json").write_text("{}")
    out["llm.config"] = said(lambda: load_llm(llm)).split("(")[0]
    return out


def _bad_requests() -> dict:

    folder, out = new("requests"), {}
    os.environ["UNIECG_ARTIFACTS"] = str(folder / "artifacts")
    for words_ in (
        ("dream",),
        ("table", "smoke", 1, "wild"),
        ("table", "smoke", 0),
        ("table", "huge"),
        ("making", "smoke"),
    ):
        out[f"study.{words_}"] = said(lambda w=words_: run_study(*w, root=folder))
    for name in STUDIES:
        out[f"study.{name}.empty"] = said(lambda n=name: run_study(n, "smoke", 1, root=folder))
    os.environ.pop("UNIECG_ARTIFACTS")
    out["find_study"] = said(lambda: run_study(""))
    out["verify"] = said(lambda: verify("smoke", 77))
    out["meets"] = said(lambda: results.meets("nothing", 1.0))
    designs = (
        dict(family="gan"),
        dict(words="none"),
        dict(numbers="x"),
        dict(path="x"),
        dict(ancestral=True),
        dict(words="tokens", numbers="raw", paced=False, sketched=False),
        dict(family="transformer", words="tiled"),
        dict(numbers="raw"),
        dict(words="tokens"),
        dict(paced=False),
    )
    for how in designs:
        out[f"design.{how}"] = said(lambda h=how: Design(**h))
    out["fault"] = said(lambda: with_faults("rust"))
    text, model = corpus(), whole_model()
    for kind in ("dream", -1, 10_000, ("single-verify", "x"), [], 3.5):
        out[f"asked.{kind}"] = said(lambda k=kind: text.asked(random.Random(0), kind=k))
    out["say"] = said(lambda: text.sample("dream", 0, random.Random(0)))
    out["split"] = said(lambda: text.sample("interpret", 0, random.Random(0), "dream"))
    for asked in ("", "Age old.", "Findings dream.", "Rate 12.", "Age 63. Sex x."):
        out[f"request.{asked}"] = plain(Request.parse(asked))
    for prompt in ("", "  ", "\n", "\u200b", "atrial fibrillation " * 400):
        out[f"prompt.{prompt[:20]}"] = said(lambda p=prompt: model.respond(p))
    out["prompt.image"] = said(lambda: model.respond("Read it.", image=str(folder / "nothing.png")))
    out["prompt.short"] = said(lambda: model.respond("Read it.", ecg=_toy(seconds=5)))
    out["prompt.none"] = said(lambda: model.respond(None))
    reading = reading_model()
    out["conditions"] = said(lambda: reading.conditions(["an ECG"]))
    model.generator, model.write = None, lambda *_: [[model.ecg_ids[0]]]
    out["no generator"] = said(lambda: model.respond("an ECG"))
    out["grounded"] = said(lambda: grounded(["a"], []))
    out["grounded.none"] = said(lambda: grounded([], []))
    for name in ("URL", "MODEL", "KEY"):
        os.environ.pop(f"UNIECG_JUDGE_{name}", None)
    out["judge"] = said(ChatModel.from_env)
    out["judge.http"] = said(lambda: ChatModel("http://127.0.0.1:1", "m", tries=1).ask([]))
    os.environ.update(UNIECG_JUDGE_URL="ftp://x", UNIECG_JUDGE_MODEL="m")
    out["judge.ftp"] = said(ChatModel.from_env)
    out["judge.png"] = said(lambda: chat_report(b"GIF", "Read", ChatModel("http://x", "m")))
    os.environ.pop("UNIECG_JUDGE_MODEL")
    out["judge.model"] = said(ChatModel.from_env)
    os.environ.pop("UNIECG_JUDGE_URL")
    out["judged"] = said(lambda: judged(["a"], []))
    out["chat_report"] = said(lambda: chat_report(b"", "x"))
    out["manifest"] = said(lambda: rated_records(folder))
    (folder / "manifest.csv").write_text("record,label_group,flags,scp_codes,snomed_dx,patient_id,label_groups_all\n")
    out["real.none"] = said(lambda: load_records(folder))
    few = patients().signal
    out["separability"] = said(lambda: separability(few[:5], few[:20]))
    net = torch.nn.Linear(2, 2).requires_grad_(False)

    out["fit"] = said(lambda: TrainingLoop({"net": net}, Training(3, 2, 1e-3), 0, folder, "net"))
    out["ECG.repr"] = repr(ECG(few[0].numpy(), 100))
    return out


def _bad_words() -> dict:
    """Exercises: what they say to no answer and to wrong ones, first and second time."""
    cells = "".join(path.read_text(encoding="utf-8") for path in ROOT.glob("notebooks/*.ipynb"))
    numbers = re.findall(r'check\(\\?"([0-9.]+)\\?"', cells)
    out = {}
    for number in sorted(set(numbers)):
        told = io.StringIO()
        with contextlib.redirect_stdout(told):
            for answer in (None, -12345.678, "nonsense", 0):
                try:
                    check(number, answer)
                except Exception as error:  # noqa: BLE001
                    print(type(error).__name__, error)
        out[f"exercise.{number}"] = sha(told.getvalue())
    out["say"], out["say.not"] = said(lambda: confirm("one", True)), said(lambda: confirm("one", False))
    out["shape"] = said(lambda: shape("x", torch.zeros(2, 3), "B T", T=4))
    return out


def _bad_shell() -> dict:

    folder, out = new("shell"), {}
    os.environ["UNIECG_ARTIFACTS"] = str(folder / "artifacts")
    (folder / "notes.txt").write_text("nothing")
    commands = (
        [],
        ["--help"],
        *(
            [name, "--help"]
            for name in ("run", "interpret", "generate", "check", "verify", "results", "prompts", "bench", "study")
        ),
        ["run", "--profile", "huge"],
        ["interpret", "record", "--profile", "smoke"],
        ["interpret", "record", "--model", "elsewhere"],
        ["interpret", "record", "--model", str(folder / "smoke")],
        ["interpret", str(folder / "notes.txt"), "--profile", "smoke"],
        ["interpret"],
        ["interpret", "record", "--hz", "fast"],
        ["generate", "an ECG", "--profile", "smoke"],
        ["generate"],
        ["prompts", str(folder / "notes.txt"), "--profile", "smoke"],
        ["verify", "--profile", "huge"],
        ["verify", "--profile", "smoke", "--seed", "77"],
        ["study"],
        ["study", "--list"],
        ["study", "nothing", "--profile", "smoke"],
        ["study", "table", "--variant", "nothing", "--profile", "smoke"],
        ["study", "table", "--seeds", "0", "--profile", "smoke"],
        ["study", "table", "--profile", "huge"],
        ["dance"],
        ["run", "--sede", "1"],
    )
    kept_argv = sys.argv
    for line in commands:
        told, wrong, code = io.StringIO(), io.StringIO(), 0
        sys.argv = ["uniecg", *line]
        try:
            with contextlib.redirect_stdout(told), contextlib.redirect_stderr(wrong):
                cli.main()
        except SystemExit as end:
            code = end.code or 0
        except Exception as error:  # noqa: BLE001
            code = f"{type(error).__name__}: {error}"
        text = bare(told.getvalue())
        lines = text.splitlines() if len(text) < 400 else [sha(text)]
        out[bare(" ".join(line)) or "nothing"] = [code, lines, bare(wrong.getvalue()).splitlines()[-3:]]
    sys.argv = kept_argv
    os.environ.pop("UNIECG_ARTIFACTS")
    return out


def _awkward() -> dict:
    """Files as other people have them, if the cases are there: shared/awkward/cases.py beside the repository."""
    import importlib.util

    places = [parent / "shared" / "awkward" / "cases.py" for parent in ROOT.parents]
    places.append(Path(os.environ.get("FREEZE_CASES", "/nowhere")))
    place = next((p for p in places if p.exists()), None)
    if place is None:
        return {}
    spec = importlib.util.spec_from_file_location("cases", place)
    cases = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(cases)
    out, folder = {}, new("awkward")
    for make in cases.ALL:
        made = make(folder / make.__name__)
        for file in map(Path, made["files"]):
            if file.suffix == ".ipynb":
                continue
            read = read_page if file.suffix in (".png", ".jpg") else lambda f, h=made["hz"]: ECG.load(f, hz=h)
            answer = said(lambda act=read, f=file: act(f))
            if answer == "accepted: ECG":
                ecg = read(file)
                answer = f"{ecg!r} {kept(ecg.signal)['about']}"
            elif answer == "accepted: Tensor":
                answer = f"ink {kept(read(file))['about']}"
            out[f"awkward.{make.__name__}.{file.name}"] = answer
    return out


PARTS = {name.removeprefix("part_"): work for name, work in list(globals().items()) if name.startswith("part_")}


# ---- record and compare -----------------------------------------------------------------------------------------
def measured(names: list[str]) -> dict[str, dict]:
    """Each part as {key: value}; says how long it took."""
    import warnings

    warnings.filterwarnings("ignore")

    quiet_libraries()
    out = {}
    for name in names:
        begun, busy = time.time(), time.process_time()
        torch.manual_seed(0)
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            found = PARTS[name]()
        out[name] = json.loads(json.dumps(found, default=plain))
        print(timed(name, len(out[name]), begun, busy), flush=True)
    return out


def timed(name: str, keys: int, begun: float, busy: float) -> str:
    """A line on a part: how many keys, seconds by the clock and of the processor."""
    seconds = time.time() - begun, time.process_time() - busy
    return f"{name:10s} {keys:5d} keys {seconds[0]:6.1f} s, {seconds[1]:6.1f} s of the processor"


def header() -> dict:
    """What numbers may depend on beside the code."""
    capability = torch.backends.cpu.get_cpu_capability()
    return {"torch": torch.__version__.split("+")[0], "numpy": np.__version__, "processor": capability}


def save(file: Path, found: dict) -> None:
    """Write parts, one key a line, whole or not at all."""
    parts = []
    for name, part in found.items():
        rows = (f"{json.dumps(key)}: {json.dumps(value, separators=(',', ':'))}" for key, value in part.items())
        parts.append(f"{json.dumps(name)}: {{\n" + ",\n".join(rows) + "\n}")
    room_ = file.with_suffix(".part")
    room_.write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")
    os.replace(room_, file)


def leaves(value, path: str = "") -> dict:
    """A nested value as {path: leaf}; a list of numbers is one leaf."""
    if isinstance(value, dict):
        return {k: v for key, item in value.items() for k, v in leaves(item, f"{path}.{key}" if path else key).items()}
    if isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        return {k: v for i, item in enumerate(value) for k, v in leaves(item, f"{path}[{i}]").items()}
    return {path: value}


def alike(one, other) -> bool:
    """Equal; numbers up to `RTOL`."""
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, int | float) and isinstance(other, int | float):
        return math.isclose(one, other, rel_tol=RTOL, abs_tol=ATOL)
    return type(one) is type(other) and one == other


def brief(value, other) -> str:
    """A value for people: of a long list or text, where it first differs from the other."""
    if isinstance(value, list) and isinstance(other, list):
        place = next((i for i, (a, b) in enumerate(zip(value, other)) if not alike(a, b)), min(len(value), len(other)))
        return f"[{place} of {len(value)}] {json.dumps(value[place : place + 2], ensure_ascii=False)[:80]}"
    if isinstance(value, str) and isinstance(other, str) and len(value) > 60:
        place = next((i for i, (a, b) in enumerate(zip(value, other)) if a != b), min(len(value), len(other)))
        return ("..." if place > 20 else "") + value[max(0, place - 20) : place + 60]
    return json.dumps(value, ensure_ascii=False)[:90]


def differences(old: dict, now: dict, near: bool) -> list[str]:
    """One line for each key that differs. With `near`, bits are passed over where the figures beside them agree."""
    before, after, out = leaves(old), leaves(now), []
    for key in [*before, *(k for k in after if k not in before)]:
        if key.startswith("awkward.") and not any(k.startswith("awkward.") for k in after):
            continue  # the cases are not there
        if key not in after or key not in before:
            out.append(f"{key}: {'gone' if key not in after else 'new'}")
        elif not alike(before[key], after[key]):
            about = key.removesuffix(".bits") + ".about"
            if near and key.endswith(".bits") and about in before and alike(before[about], after.get(about)):
                continue
            out.append(f"{key}: {brief(before[key], after[key])} -> {brief(after[key], before[key])}")
    return out


def main() -> int:
    """The command line; 1 if anything differs."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("what", choices=("record", "compare"))
    options.add_argument("parts", nargs="*", choices=[*PARTS, []], help="by default all")
    options.add_argument("--out", type=Path, default=FROZEN, help="the file of what is kept")
    options.add_argument("--near", action="store_true", help="pass over bits where the figures agree")
    asked = options.parse_args()
    names = asked.parts or [*PARTS]
    frozen = json.loads(asked.out.read_text(encoding="utf-8")) if asked.out.exists() else {}
    if asked.what == "compare" and not frozen:
        options.error(f"there is no {asked.out} to compare with: record first")
    begun, busy = time.time(), time.process_time()
    found = measured(names)
    print(timed("together", sum(map(len, found.values())), begun, busy))
    if asked.what == "record":
        save(asked.out, {"made with": header(), **{k: v for k, v in frozen.items() if k != "made with"}, **found})
        print(f"{asked.out}: {asked.out.stat().st_size / 1024:.0f} KB")
        return 0
    if frozen["made with"] != header():
        print(f"recorded with {frozen['made with']}, now {header()}: --near passes over bits")
    lines = [f"{name}: {line}" for name in names for line in differences(frozen.get(name, {}), found[name], asked.near)]
    print("\n".join([*lines, f"{len(lines)} differences"]))
    return bool(lines)


if __name__ == "__main__":
    sys.exit(main())
