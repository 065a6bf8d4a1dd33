"""Studies `routing`, `capacity` and `broken`: what does stage 2 need, and what shows that it failed (U9, U12, U14)?"""

import random
from dataclasses import asdict, replace
from pathlib import Path

import torch

from ..checkpoints import load_reading
from ..findings import table
from ..language.conversations import TEXT_MIX, WISHES, Corpus
from ..language.requests import Request
from ..llm import pocket_llm
from ..metrics.chain import reports
from ..metrics.evidence import STRANGERS, reading_controls
from ..metrics.prompt_scores import NEAR, Prompt, by_kind, load_prompts, prompt_scores
from ..model import UniECG
from ..paths import DATA
from ..simulator.simulate import simulate
from ..stages import NOT_AN_ECG, Collator, pretraining_loss, text_loss, trainable
from ..store import Store
from ..training import TrainingLoop, inference
from .making import StudyContext
from .mapping import Way, align, nearness, new_mapper
from .study import cell_basis, is_met, open_split, size
from .systems import Patients, train_once, train_tokens

BASIS = {  # of each study: the artifacts that its cells start from, and its trainings
    "routing": ("cohort stage1", "tokens"),
    "capacity": ("cohort encoders language diffusets", "study_language study_stage1 tokens mapper"),
    "broken": ("cohort stage1 unified", "tokens study_mapper"),
}
SIZES = {f"width{w}_depth{d}": {"lm_width": w, "lm_layers": d, "lm_heads": 4} for w in (64, 160) for d in (1, 3)}
BIAS = {"eager": 30.0, "silent": -30.0}  # nats on the logit of [ECG_1]: more than any prompt gives or takes
SHOWN = ("attached", "interpret", "ask", "follow")  # kinds of prompts that come with an ECG
DIAGNOSES = table("diagnoses")  # signs in words; causes with their rules, in the order in which they are looked for


def settings(study: str, store: Store, variant: str) -> dict:
    """What a cell depends on: patients, trainings, sizes, and the artifacts it starts from."""
    (inputs, plans), P = BASIS[study], store.profile
    out = cell_basis(store, *inputs.split()) | {name: asdict(getattr(P, name)) for name in plans.split()}
    return out | {"ecg_tokens": P.ecg_tokens, "bias": BIAS.get(variant, 0.0)} | SIZES.get(variant, {})


def unseen_prompts(corpus: Corpus, n: int, seed: int, kinds=(*TEXT_MIX, *SHOWN)) -> list[Prompt]:
    """n prompts of each kind in phrasings that nothing learned from, some with a past, for `prompt_scores`."""
    rng, rows, does = random.Random(seed), range(len(corpus.reports)), dict.fromkeys(("wish", *WISHES), ("make",))
    about = {kind: {"attached": kind in SHOWN, "does": does.get(kind, ("answer",))} for kind in kinds}
    drawn = ((kind, corpus.sample(kind, rng.choice(rows), rng, "unseen")[0]) for kind in kinds for _ in range(n))
    return [Prompt.model_construct(prompt=words, kind=kind, **about[kind]) for kind, words in drawn]


def decisions(model: UniECG, prompts: list[Prompt]) -> dict[str, float]:
    """Right decisions by kind; `low`, the lower end of the interval of `all`; the share of prompts for words that
    `generates` an ECG, and of wishes for an ECG that the model `answers` in words."""
    scores = prompt_scores(model, prompts)
    kinds, (words, ecgs) = by_kind(scores), scores.groupby("wanted").generated.mean().reindex([False, True])
    return {**kinds.share, "low": kinds.low["all"], "generates": words, "answers": 1 - ecgs}


def routing_measure(room: Patients, arm: str, seed: int, folder: Path, others: list[Prompt] | None = None) -> dict:
    """Train and score one cell: `decisions` on `unseen` phrasings and on prompts of `others` (None: the frozen ones).
    Rows are `tied`, or read and emitted ones of which `both` train or the `input` ones alone; `_fresh` are random."""
    torch.manual_seed(seed)
    model, P, (which, _, fresh) = load_reading(room.store, "stage1"), room.store.profile, arm.partition("_")
    head = model.llm.get_output_embeddings()
    if which != "tied":
        head.weight = torch.nn.Parameter(head.weight.clone(), requires_grad=False)
        model.llm.config.tie_word_embeddings = False
    model.add_ecg_tokens(P.ecg_tokens)
    for row in model.token_rows().values() if fresh else ():  # (n, D_lm)
        torch.nn.init.normal_(row, std=head.weight.std().item())
    for row in list(model.token_rows().values())[1:] if which == "input" else ():  # those that are emitted
        row.requires_grad_(True).register_hook(torch.zeros_like)
    out = {"loss": train_tokens(model, room.corpus, P.tokens, seed, folder)["loss"][-1]}
    asked = {"unseen": unseen_prompts(Corpus(room.truth), P.study_scored // 4, seed)}
    for name, prompts in {**asked, "others": others or load_prompts(DATA / "test_prompts.jsonl")}.items():
        out |= {f"{name}.{key}": value for key, value in decisions(model, prompts).items()}
    return out


def read_back(wanted: list[Request], read: list[Request]) -> dict[str, float]:
    """The share of what requests name that others say, too (numbers within `NEAR`): of `all`, of a field, a finding."""
    hits: dict[str, list[bool]] = {}
    for (field, value), got in ((x, getattr(b, x[0])) for a, b in zip(wanted, read) for x in vars(a).items()):
        several = isinstance(value, tuple)
        for part in value if several else [value] * (value is not None):
            near = isinstance(part, int) and got is not None and abs(got - part) <= NEAR.get(field, 0)
            for key in ("all", field, *([f"{field}.{part}"] if field == "findings" else [])):
                hits.setdefault(key, []).append(part in got if several else near or part == got)
    return {key: sum(values) / len(values) for key, values in hits.items()}


@inference()
def mapped_and_wanted(model: UniECG, generator, corpus: Corpus, seed: int) -> tuple:
    """A wish for an ECG like each of N, in unseen phrasings: what it maps to and should (N, D_c), and its request."""
    rng, rows = random.Random(seed), range(len(corpus.reports))
    prompts, words = zip(*(corpus.sample("generate", row, rng, "unseen") for row in rows))
    return model.conditions([*prompts]), generator.condition([*words]), [Request.parse(text) for text in words]


def capacity_measure(room: StudyContext, variant: str, seed: int, folder: Path) -> dict[str, float]:
    """Train and score one cell, from a new language model on: notebook 03, the text of stage 1, stage 2. `nearness` of
    held-out mapped vectors, and what these (`read.*`) and the wanted ones (`ceiling.*`) say, by `read_back`."""
    torch.manual_seed(seed)
    P, base = replace(room.store.profile, **SIZES[variant]), load_reading(room.store, "language")
    model = UniECG(pocket_llm(P, base.tokenizer), base.tokenizer, base.phi_s, base.phi_v).to(base.device)
    first, text = P.study_language.steps, max(1, round(NOT_AN_ECG * P.study_stage1.steps))

    def train() -> None:
        plan, collator = replace(P.study_language, steps=first + text), Collator(model, room.corpus)
        for step in TrainingLoop(trainable({"llm": model.llm}), plan, seed, folder, "language", muon=model.pocket):
            step.learn((pretraining_loss if step.number < first else text_loss)(model, collator, step))

    train_once(train, dict(model.llm.named_parameters()), folder / "llm.safetensors")
    model.add_ecg_tokens(P.ecg_tokens)
    train_tokens(model, room.corpus, P.tokens, seed, folder / "tokens")
    model.mapper = new_mapper(model, Way(), room.generator.condition.settings["width"], seed)
    align(model, room, Way(), P.mapper, seed, folder / "mapper")
    test = Corpus(open_split(room.store, "test").truth())
    mapped, wanted, asked = mapped_and_wanted(model, room.generator, test, seed)
    stated = {name: room.generator.condition.requests(x) for name, x in {"read": mapped, "ceiling": wanted}.items()}
    shares = {f"{name}.{key}": share for name, got in stated.items() for key, share in read_back(asked, got).items()}
    return nearness(mapped, wanted) | shares | {"parameters": size(model.llm)}


def signs(model: UniECG, before: UniECG | None = None, n: int = 64, seed: int = 0) -> dict[str, float]:
    """What may show that stage 2 failed (`data/diagnoses.json`), on n simulated patients from whom nothing learned;
    `changed` only where the same model after stage 1 is given."""
    simulated = simulate(STRANGERS + seed, torch.arange(n))
    signal, corpus = simulated.signal, Corpus(simulated.truth)
    mapped, wanted, _ = mapped_and_wanted(model, model.generator, corpus, seed)
    out = decisions(model, unseen_prompts(corpus, n, seed, ("interpret", "generate")))
    out |= {"mapper_error": 1 - nearness(mapped.nan_to_num(1e3), wanted)["explained"]}
    out |= {"spread": (mapped.var(0).sum() / wanted.var(0).sum()).item()}
    controls = reading_controls(model, signal, corpus.readings)
    out |= {key: controls[f"controls.{key}.findings_macro_f1"] for key in ("own", "another", "zeros")}
    changed = [a != b for a, b in zip(reports(before, signal), reports(model, signal)) if b] if before else []
    return out | {"read": out["own"] - out["another"]} | ({"changed": sum(changed) / len(changed)} if changed else {})


def diagnosis(found: dict[str, float]) -> str:
    """The likely cause of such `signs`: the first of `DIAGNOSES` whose rule they meet; the last one is `intact`."""
    rules = {name: row["if"] for name, row in DIAGNOSES["causes"].items()}
    return next(name for name, rule in rules.items() if rule.split()[0] in found and is_met(rule, found))


def broken_measure(room: StudyContext, variant: str, seed: int, folder: Path) -> dict[str, float]:
    """Break the finished model in one way and score one cell: `signs`, and `named`, whether `diagnosis` finds it."""
    torch.manual_seed(seed)
    model, P, plan = load_reading(room.store, "unified"), room.store.profile, room.store.profile.study_mapper
    if variant == "unfrozen":
        model.llm.requires_grad_(True)
        train_tokens(model, room.corpus, P.tokens, seed, folder / "tokens")
    if variant == "mapper":
        model.mapper = new_mapper(model, Way(), room.generator.condition.settings["width"], seed)
        plan = replace(plan, steps=max(1, plan.steps // 20))
    if variant in ("unfrozen", "mapper"):  # where the language model moved, the mapper follows it
        align(model, room, Way(), plan, seed, folder / "mapper")
    if variant in BIAS:
        head = model.lm.get_output_embeddings()
        bias = BIAS[variant] * (torch.arange(len(head.weight), device=model.device) == model.ecg_ids[0])  # (V,)
        head.register_forward_hook(lambda layer, given, logits: logits + bias)
    for projection in (model.w_ts, model.w_tsi) if variant == "projections_skipped" else ():
        projection.reset_parameters()
    if variant == "projections_swapped":
        model.w_ts, model.w_tsi = model.w_tsi, model.w_ts
    found = signs(model.eval(), load_reading(room.store, "stage1"), max(2, P.study_scored // 2), seed)
    return found | {"named": float(diagnosis(found) == variant.partition("_")[0])}
