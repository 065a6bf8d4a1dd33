"""Shared by the tests: the smallest corpus, tokenizer, models and store that still hang together."""

import ast
import random
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import nbformat
import torch

from uniecg_lite import cohort
from uniecg_lite.checkpoints import new_encoders, save_part, save_stage
from uniecg_lite.config import SMOKE, Training
from uniecg_lite.encoders import targets
from uniecg_lite.generator.denoiser import Denoiser
from uniecg_lite.generator.event_plan import HZ, LENGTH, EventModel, Events, TemplateModel, templates
from uniecg_lite.generator.generator import Generator
from uniecg_lite.generator.generator_stages import AVERAGED, DROP_CONDITION, simulated_events
from uniecg_lite.generator.text_encoder import TextEncoder
from uniecg_lite.generator.vae import VAE
from uniecg_lite.language.conversations import Corpus
from uniecg_lite.language.tokenizer import train_tokenizer
from uniecg_lite.llm import pocket_llm
from uniecg_lite.metrics.reader import Reader
from uniecg_lite.model import Mapper, UniECG
from uniecg_lite.paths import ROOT
from uniecg_lite.simulator.simulate import simulate
from uniecg_lite.stages import Collator, pretraining_loss, trainable
from uniecg_lite.store import Store, save_tensors
from uniecg_lite.studies import mapping
from uniecg_lite.training import TrainingLoop

PROFILE = replace(SMOKE, records=40)
PLAN = Training(steps=3, batch=4, lr=1e-2, warmup=1)


def code_cells(notebook: str) -> list[str]:
    """The source of a notebook's code cells."""
    pages = nbformat.read(ROOT / "notebooks" / f"{notebook}.ipynb", as_version=4)
    return [cell.source for cell in pages.cells if cell.cell_type == "code"]


@cache
def defined_in(notebook: str) -> SimpleNamespace:
    """The functions, classes and plain constants that a notebook defines, and what it imports from the package."""
    nodes = [node for source in code_cells(notebook) for node in ast.parse(source).body]
    kinds = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)
    plain = [n for n in nodes if isinstance(n, ast.Assign) and isinstance(n.value, ast.Constant)]
    kept = [n for n in nodes if isinstance(n, kinds) or (n in plain and n.targets[0].id.isupper())]
    names: dict = {}
    exec(compile(ast.Module(kept, []), notebook, "exec"), names)
    return SimpleNamespace(**names)


@cache
def patients(n: int = 300):
    """Simulated ECGs with noise, and what is true about them."""
    return simulate(0, torch.arange(n))


class Patients:
    """A cohort of the tests' patients, on the host."""

    def __len__(self):
        return len(patients().signal)

    def signal(self, rows):
        return patients().signal[torch.as_tensor(rows)]

    def truth(self):
        return patients().truth


@cache
def few_hearts() -> tuple[torch.Tensor, Events]:
    """Noise-free ECGs as the generator learns them, (40, 12, 1024) mV, and their events."""
    drawn = simulate(0, torch.arange(40), HZ, LENGTH / HZ, noise=False, first_beat=0.3)
    return drawn.signal, simulated_events(drawn.truth)


def clean_few() -> torch.Tensor:
    """(40, 12, 1024) mV, the ECGs of `few_hearts`."""
    return few_hearts()[0]


@cache
def corpus() -> Corpus:
    """Readings and requests of 300 patients."""
    return Corpus(patients().truth)


def tokenizer():
    """A fresh tokenizer, so that one test may add tokens without the others seeing them."""
    import copy

    return copy.deepcopy(_tokenizer())


@cache
def _tokenizer():
    return train_tokenizer(corpus().sentences(random.Random(0), 600))


def reading_model(seed: int = 0) -> UniECG:
    """A model of smoke size with random weights, as before stage 1."""
    torch.manual_seed(seed)
    words = tokenizer()
    model = UniECG(pocket_llm(PROFILE, words), words, *new_encoders(PROFILE))
    with torch.no_grad():  # larger weights than at the start of a training, so that answers differ from each other
        for p in model.parameters():
            p.add_(0.05 * torch.randn_like(p))
    return model.eval()


def generator(seed: int = 0) -> Generator:
    """A text-to-ECG generator of smoke size with random weights, on principal components of a few ECGs."""
    torch.manual_seed(seed)
    words = train_tokenizer([r.text() for r in corpus().requests], 400)
    condition = TextEncoder(words)
    width = condition.settings["width"]
    stated, denoiser = (EventModel(width), TemplateModel(width, 64)), Denoiser(PROFILE.unet_width, width)
    with torch.no_grad():
        for p in denoiser.parameters():
            p.add_(0.01 * torch.randn_like(p))
    clean, vae = clean_few(), VAE(PROFILE.vae_width)
    vae.start(clean)
    vae.measure_scale(clean)
    stated[1].start(templates(*few_hearts()))
    generated = Generator(vae, condition, *stated, denoiser, PROFILE.sample_steps, PROFILE.guidance)
    return generated.requires_grad_(False).eval()


def whole_model(seed: int = 0) -> UniECG:
    """The reading model with [ECG] tokens, mapper and generator."""
    model = reading_model(seed)
    model.add_ecg_tokens(PROFILE.ecg_tokens)
    model.generator = generator(seed)
    width = model.generator.condition.settings["width"]
    model.mapper = Mapper(model.w_ts.weight.shape[0], width, PROFILE.map_layers)
    return model.requires_grad_(False).eval()


def answer_loss(model, prompts: list[str], answers: list[list[int]], ecg: torch.Tensor | None = None) -> torch.Tensor:
    """The loss of B prompts, each with its answer as ids."""
    return model.loss(model.batch([[turn] for turn in zip(prompts, answers)]), ecg)


def pretrain(model: UniECG, corpus: Corpus, plan: Training, seed: int, folder: Path) -> dict:
    """The loop of notebook 03."""
    collator = Collator(model, corpus)
    loop = TrainingLoop(trainable({"llm": model.llm}), plan, seed, folder, "language", muon=model.pocket)
    for step in loop:
        step.learn(pretraining_loss(model, collator, step))
    return loop.history


def align_mapper(model: UniECG, corpus: Corpus, plan: Training, seed: int, folder: Path) -> dict:
    """The loop of study `mapping`: mapper and [ECG] rows together."""
    room = SimpleNamespace(generator=model.generator, corpus=corpus)
    return mapping.align(model, room, mapping.Way(), plan, seed, folder)


def train_text_encoder(encoder: TextEncoder, corpus: Corpus, plan: Training, seed: int, folder: Path) -> dict:
    """Notebook 06's loop of the text encoder."""
    loop = TrainingLoop({"condition": encoder}, plan, seed, folder)
    for step in loop:
        rows = step.rows(len(corpus.requests)).tolist()
        drawn = [corpus.requests[row].with_fewer_facts(step.rng) for row in rows]
        step.learn(encoder.facts_loss([request.with_more(step.rng) for request in drawn]))
    return loop.history


def train_rhythm(rhythm: EventModel, events: Events, words, plan: Training, seed: int, folder: Path) -> dict:
    """Notebook 06's loop of the event model, on events of N ECGs and conditions (N, D_c)."""
    events = Events(*(part.to(words.device) for part in events))
    loop = TrainingLoop({"rhythm": rhythm}, plan, seed, folder)
    for step in loop:
        rows = step.rows(len(words)).to(words.device)
        step.learn(rhythm.loss(events.rows(rows), words[rows]))
    return loop.history


def train_templates(net: TemplateModel, shapes, words, plan: Training, seed: int, folder: Path) -> dict:
    """Notebook 06's loop of the templates, on templates (N, 8, COLUMNS) and conditions (N, D_c)."""
    device = words.device
    net.start(shapes.to(device))
    components = net.components(shapes.to(device))
    loop = TrainingLoop({"templates": net}, plan, seed, folder, ema=AVERAGED)
    for step in loop:
        rows = step.rows(len(shapes)).to(device)
        drop = (torch.rand(len(rows), 1, generator=step.generator) < DROP_CONDITION).to(device)
        step.learn(net.loss(components[rows], torch.where(drop, net.null, words[rows]), step.generator))
    return loop.history


def train_facts(facts, cohort, plan: Training, seed: int, folder: Path) -> dict:
    """Notebook 11's loop of fact words."""
    device = next(facts.parameters()).device
    wanted = {name: value.to(device) for name, value in targets(cohort.truth()).items()}
    loop = TrainingLoop({"facts": facts.requires_grad_(True).train()}, plan, seed, folder, "fact words")
    for step in loop:
        rows = step.rows(len(cohort))
        step.learn(facts.loss(cohort.signal(rows).to(device), {name: value[rows] for name, value in wanted.items()}))
    return loop.history


def store(folder: Path, profile=PROFILE, seed: int = 0) -> Store:
    """A store under a temporary folder."""
    return Store(Path(folder) / profile.name, profile, seed)


def making_chain(folder: Path) -> Store:
    """What studies of generated ECGs start from, at smoke size: patients, generator and reader of random weights."""
    chain = store(folder, SMOKE)
    with chain.writing("cohort") as place:
        cohort.write(cohort.simulated(0, 300), place / "splits")
    with chain.writing("reader") as place:
        save_part(Reader(), place)
    with chain.writing("diffusets", inputs=("cohort",)) as place:
        generator().save_pretrained(place)
    return chain


def unified_chain(folder: Path, profile=PROFILE, records: int = 40) -> tuple[Store, UniECG]:
    """A store with every artifact that the finished model is made of, of random weights, and that model."""
    chain, model = store(folder, profile), reading_model(1)
    with chain.writing("cohort") as place:
        cohort.write(cohort.simulated(0, records), place / "splits")
    with chain.writing("encoders", ("cohort",)) as place:
        parts = (("phi_s", model.phi_s), ("phi_v", model.phi_v))
        save_tensors({f"{a}.{k}": v for a, m in parts for k, v in m.state_dict().items()}, place / "encoders")
    with chain.writing("language", ("cohort",)) as place:
        model.llm.save_pretrained(place / "llm")
        model.tokenizer.save_pretrained(place / "llm")
    for stage, inputs in (("alignment", ("encoders", "language")), ("stage1", ("alignment", "encoders", "cohort"))):
        with chain.writing(stage, inputs) as place:
            save_stage(model, stage, place)
    model.add_ecg_tokens(PROFILE.ecg_tokens)
    with torch.no_grad():
        for p in model.token_rows().values():
            p.add_(torch.randn_like(p))
    with chain.writing("tokens", ("stage1",)) as place:
        save_stage(model, "tokens", place)
    model.generator = generator()
    with chain.writing("diffusets", ("cohort",)) as place:
        model.generator.save_pretrained(place)
    torch.manual_seed(5)
    model.mapper = Mapper(PROFILE.lm_width, model.generator.condition.settings["width"], 1).eval()
    with chain.writing("unified", ("tokens", "diffusets")) as place:
        save_stage(model, "unified", place)
    return chain, model
