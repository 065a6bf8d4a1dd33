"""Study `making`: what each fault of the original costs, which denoiser wins, what other generators reach (S1 to S4).

VAE, words and reader are the chain's for all cells; the seeds vary the denoiser's start, batches and noise. Four
sets of ECGs are made: for held-out patients, for the first few of them (as many as a cell of 1000 steps can make), for
carriers of rare findings, and at rates swept from slow to fast.
"""

import random
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from ...artifacts import Store
from ...cohort import load
from ...diffusets import (
    FAULTS,
    HZ,
    PUBLISHED,
    VAE,
    Design,
    Generator,
    clean_ecgs,
    new_denoiser,
    train_denoiser,
    train_vae,
    with_faults,
)
from ...diffusets.others import KL_WEIGHT, ConditionalVAE, equal_width, nearest, train_conditional_vae
from ...language import Corpus, Request
from ...scoring import Reader, heart_rate
from ...scoring.clip import ClipPair, clip_scores
from ...scoring.control import control, number_errors, requested, standard
from ...scoring.fidelity import fidelity, memorised
from ...scoring.files import load_reader
from ...training import device_and_why
from ...unified.files import load_generator
from .summary import ONCE, Spread, paired

DESIGNS = {
    "ours": Design(),
    **{name: with_faults(name) for name in FAULTS},
    "published": PUBLISHED,
    "scaled": Design(numbers="scaled", paced=False, sketched=False),
    "tokens": Design(words="tokens", paced=False, sketched=False),
    "epsilon": Design(path="epsilon"),
    "velocity": Design(path="v"),
    "transformer": Design(family="transformer"),
    "transformer_epsilon": Design(family="transformer", path="epsilon"),
}
VARIANTS = {
    "ours": "U-Net, flow matching, every cure",
    "shrunk": "latents of spread 0.171 in place of 1",
    "unsketched": "the denoiser is shown where beats fall, but no sketch of them",
    "unpaced": "the denoiser is shown neither",
    "raw": "rate, age and sex as raw numbers beside the words' vector; against `unpaced`",
    "tiled": "cross-attention to copies of one vector in place of FiLM",
    "unguided": "no condition is dropped in training, no guidance",
    "last_weights": "the last weights in place of their moving average",
    "no_ends": "the first and the last of 1000 levels are never trained",
    "ancestral": "1000 random DDPM steps in place of a few of a solver; against `few.` of `epsilon`",
    "free_leads": "the VAE speaks in twelve free leads",
    "published": "all of these faults together, at our size",
    "scaled": "rate, age and sex as scaled numbers beside the words' vector; against `unpaced`",
    "tokens": "cross-attention to a vector per word; against `unpaced`",
    "epsilon": "DDPM, the net says the noise, a few solver steps",
    "velocity": "DDPM, the net says the velocity, a few solver steps",
    "transformer": "a diffusion transformer on patched latents, of equal compute, flow matching",
    "transformer_epsilon": "the same, DDPM, the net says the noise",
    "conditional_vae": "no diffusion: a VAE told condition and plan, of as many parameters",
    "retrieval": "no generator: the training ECG whose request is most like the wanted one",
    "simulator": "the simulator itself: what the patients who are asked for really look like",
}
FIXED = ONCE.intersection(VARIANTS)
AGAINST = {"unpaced": "unsketched", "raw": "unpaced", "ancestral": "epsilon"}  # who is compared; others with `ours`
FEW = 20  # patients for whom 1000 steps are walked: two to three minutes on one core
RARE = 6  # findings, those with the fewest training examples
CARRIERS = 8  # held-out patients of each, at most
RATES = tuple(range(40, 151, 10))  # bpm, each asked for twice


@dataclass
class Room:
    """What the cells share: training ECGs and requests, the chain's generator, and who is asked for."""

    store: Store
    ecgs: torch.Tensor  # (N, 12, 1024) mV, clean, of the training split
    corpus: Corpus
    generator: Generator  # of the chain; its VAE and condition encoder serve all cells
    reader: Reader
    requests: list[Request]  # of n held-out patients, then of m carriers of rare findings
    theirs: torch.Tensor  # (n + m, 12, 1024) their own clean ECGs
    n: int
    rare: tuple[str, ...]  # codes
    real: torch.Tensor  # (2 n, 256) features of other held-out patients' clean ECGs
    known: torch.Tensor  # (N, 256) features of the training ECGs
    pair: ClipPair  # of those and their words
    kept: dict = field(default_factory=dict)  # see `material`

    def material(self, made: Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """`Generator.material` of the training ECGs, kept for designs that share it: with the chain's VAE, most do."""
        key = made.design.paced, made.design.sketched
        if made.design.free_leads:
            return made.material(self.ecgs)
        if key not in self.kept:
            self.kept[key] = made.material(self.ecgs)
        return self.kept[key]

    @property
    def few(self) -> int:
        """How many of the n patients a cell of 1000 steps makes ECGs for."""
        return min(FEW, self.n)


def settings(store: Store, variant: str) -> dict:
    """What a cell depends on: training, design, patients, and the artifacts it starts from."""
    P = store.profile
    inputs = ("cohort", "reader") if variant == "simulator" else ("cohort", "diffusets", "reader")
    out = {"records": P.records, "scored": P.study_scored, "few": FEW, "rare": [RARE, CARRIERS], "rates": list(RATES)}
    out["inputs"] = {name: store.meta(name)["hash"] for name in inputs}
    if variant in FIXED:
        return out
    out |= {"denoiser": asdict(P.study_denoiser), "width": P.unet_width}
    if variant == "conditional_vae":
        return out | {"kl_weight": KL_WEIGHT}
    design = DESIGNS[variant]
    if design.ancestral:  # 1000 steps for every patient would take too long
        out |= {"scored": min(FEW, P.study_scored), "rare": [], "rates": []}
    else:
        out["steps"] = P.sample_steps
    out |= {"guidance": P.guidance} if design.guided else {}
    out |= {"vae": asdict(P.vae), "vae_width": P.vae_width} if design.free_leads else {}
    return out | {"design": asdict(design)}


def prepare(store: Store, training: int | None = None) -> Room:
    """Clean ECGs of both splits, the chain's generator and reader, and the reader's features.

    Args:
        store: of the chain.
        training: for a quick look, only so many of the training patients.
    """
    splits = store.path("cohort") / "splits"
    train, test = load(splits, "train").first(training), load(splits, "test")
    corpus, everyone = Corpus(train.truth()), Corpus(test.truth())
    n = min(store.profile.study_scored, len(test) // 3)
    rare = tuple(sorted(corpus.carriers, key=lambda code: len(corpus.carriers[code]))[:RARE])
    carriers = {row for code in rare for row in everyone.carriers[code][-CARRIERS:]}
    rows = [*range(n), *sorted(carriers)]
    ecgs, held_out, reader = clean_ecgs(train), clean_ecgs(test), load_reader(store)
    rng = random.Random(1)
    known = reader.features(standard(ecgs))
    return Room(
        store=store,
        ecgs=ecgs,
        corpus=corpus,
        generator=load_generator(store),
        reader=reader,
        requests=[everyone.requests[row].few_measures(rng) for row in rows],
        theirs=held_out[rows],
        n=n,
        rare=rare,
        real=reader.features(standard(held_out[n : 3 * n])),
        known=known,
        pair=ClipPair(known, [request.few_measures(rng).text() for request in corpus.requests]),
    )


def swept() -> list[Request]:
    """Sinus rhythm at each of `RATES`, twice."""
    finding = {rate: ("SBRAD",) if rate < 60 else ("STACH",) if rate > 100 else ("SR", "NORM") for rate in RATES}
    return [Request(rate=rate, findings=finding[rate]) for rate in RATES for _ in range(2)]


def measure(room: Room, variant: str, seed: int, folder: Path) -> dict[str, float]:
    """Train and score one cell."""
    torch.manual_seed(seed)
    if variant == "simulator":
        return scores(room, room.theirs)
    requests = room.requests + swept()
    if variant in DESIGNS:
        made = trained(room, DESIGNS[variant], seed, folder)
        asked = made.conditions(requests[: room.few] if made.design.ancestral else requests)
        return scores(room, made.signals(asked, seed).cpu()) | {"parameters": _size(made.denoiser)}
    known, wanted = (said(room, each) for each in (room.corpus.requests, requests))  # (N, D_c), (B, D_c)
    if variant == "retrieval":
        return scores(room, room.ecgs[nearest(wanted, known)])
    model = trained_vae(room, known, seed, folder)
    device = model.told.weight.device
    drawn = torch.Generator().manual_seed(seed)
    made = model.signals(wanted.to(device), room.generator.plan(wanted.to(device), drawn), seed)
    return scores(room, made.cpu()) | {"parameters": _size(model)}


# ---- generators -------------------------------------------------------------------------------------------------
def trained(room: Room, design: Design, seed: int, folder: Path) -> Generator:
    """A generator of this design with the chain's VAE and words, its denoiser trained for the study's budget."""
    P, chain, device = room.store.profile, room.generator, device_and_why()[0]
    vae = chain.vae
    if design.free_leads:
        vae = VAE(P.vae_width, free_leads=True).to(device)
        train_vae(vae, room.ecgs, P.vae, seed, folder / "vae")
    torch.manual_seed(seed)
    net = new_denoiser(design, P.unet_width, chain.condition.settings["width"]).to(device)
    said = chain.condition, chain.rhythm, chain.usual_beat
    made = Generator(vae, *said, net, P.sample_steps, P.guidance, design)
    train_denoiser(made, room.material(made), room.corpus, P.study_denoiser, seed, folder / "denoiser")
    return made


def trained_vae(room: Room, known: torch.Tensor, seed: int, folder: Path) -> ConditionalVAE:
    """A conditional VAE with as many parameters as the chain's denoiser, trained on conditions (N, D_c)."""
    width = known.shape[1]
    model = ConditionalVAE(equal_width(_size(room.generator.denoiser), width), width).to(device_and_why()[0])
    budget = room.store.profile.study_denoiser
    plans = room.generator.plans(room.ecgs)
    train_conditional_vae(model, room.ecgs, known, plans, budget, seed, folder / "conditional_vae")
    return model


@torch.no_grad()
def said(room: Room, requests: list[Request]) -> torch.Tensor:
    """Conditions of requests in full words: (B, D_c)."""
    parts = [requests[i : i + 256] for i in range(0, len(requests), 256)]
    return torch.cat([room.generator.conditions(part).cpu() for part in parts])


def _size(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


# ---- scores -----------------------------------------------------------------------------------------------------
def scores(room: Room, signal: torch.Tensor) -> dict[str, float]:
    """ECGs made for the wanted patients, for carriers of rare findings and for `swept` requests, scored one by one.

    Args:
        signal: (n + m + sweep, 12, 1024) mV in the order of the requests, or the first of them alone.

    Returns:
        `crowd` of the n patients; `few.*` of the first few; `rare.findings_macro_f1` and `rare.examples`, the most that
        one rare finding has in training; `sweep.hr_*`. What was not made is left out.
    """
    n, m, out = room.n, len(room.theirs) - room.n, {}
    if len(signal) >= n:
        out |= crowd(room, signal[:n])
    out |= {f"few.{name}": v for name, v in crowd(room, signal[: room.few]).items() if not name.startswith("f1.")}
    if m and len(signal) >= n + m:
        out |= rare(room, signal[n : n + m])
    if len(signal) > n + m:
        wanted = requested(swept())[0]
        found = number_errors(wanted, {"rate_bpm": heart_rate(signal[n + m :], HZ)})
        out |= {f"sweep.{name}": value for name, value in found.items()}
    return out


def crowd(room: Room, signal: torch.Tensor) -> dict[str, float]:
    """Control, fidelity, CLIP score, memory and lead laws of ECGs (k, 12, 1024) made for the first k patients.

    Every request names a rate, some name PR, QRS, QT and axis.
    """
    k = len(signal)
    wanted, asked = requested(room.requests[:k])
    features = room.reader.features(standard(signal))
    out = control(room.reader, signal, wanted, asked) | fidelity(room.real, features)
    out |= clip_scores(room.pair, features, [request.text() for request in room.requests[:k]])
    return out | memorised(room.known, room.real, features)


def rare(room: Room, signal: torch.Tensor) -> dict[str, float]:
    """Macro F1 of the rare findings in ECGs (m, 12, 1024) made for their carriers."""
    wanted, asked = requested(room.requests[room.n :])
    found = control(room.reader, signal, wanted, asked)
    f1 = [found[f"f1.{code}"] for code in room.rare if f"f1.{code}" in found]
    return {
        "rare.findings_macro_f1": sum(f1) / len(f1),
        "rare.examples": max(len(room.corpus.carriers[code]) for code in room.rare),
        "rare.patients": len(signal),
    }


def costs(metric: str, how: str = "ratio", profile: str = "laptop", root: Path | None = None) -> dict[str, Spread]:
    """What each fault of the original, and then all together (`published`), does to a metric, seed by seed.

    A fault is compared with the same design without it. A cell of 1000 steps has the metric of the first few patients
    alone, as `few.<metric>`, and is compared in that.

    Args:
        metric: such as `fid_ratio_to_floor`.
        how: `ratio` or `difference`, see `paired`.
        profile: which cells.
        root: where they are kept.

    Returns:
        Fault -> (mean, lowest, highest, n); faults without cells are left out.
    """
    out = {}
    for fault in (*FAULTS, "published"):
        few = "few." if DESIGNS[fault].ancestral else ""
        pair = (fault, few + metric), (AGAINST.get(fault, "ours"), few + metric)
        out[fault] = paired("making", *pair, how, profile, root)
    return {fault: value for fault, value in out.items() if value is not None}
