"""Studies `making` and `sampling`: what each fault of a generator costs (S1 to S4); steps and guidance.

VAE, words and reader are the chain's for all cells of `making`; the seeds vary the denoiser's start, batches and noise.
Four sets of ECGs are made: for held-out patients, for the first few of them (as many as a cell of 1000 steps can make),
for carriers of rare findings, and at rates swept from slow to fast. `sampling` trains nothing.
"""

import random
import time
from dataclasses import asdict
from functools import cached_property
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from ..beats import heart_rate
from ..checkpoints import load_reader
from ..findings import table
from ..generator.denoiser import new_denoiser
from ..generator.diffusion import FAULTS, PUBLISHED, Design, with_faults
from ..generator.event_plan import HZ, PLAN, Events
from ..generator.generator import Generator
from ..generator.generator_stages import clean_hearts, train_denoiser, train_vae
from ..generator.vae import LATENT, VAE, expand
from ..language.conversations import Corpus
from ..language.requests import Request
from ..leads import from_independent
from ..metrics.generation import clip_scores, control, fidelity, memorised, number_errors, requested, standard
from ..store import Store
from ..training import device_and_why, inference
from .study import ABOUT, cell_basis, open_split, size

# --- A generator to compare with: a conditional VAE.

SPREAD = 8  # rows of a latent's length that the condition is spread over
KL_WEIGHT = 0.005  # so large that latents drawn from the prior are like those of ECGs


class ConditionalVAE(VAE):
    """A VAE whose decoder is told condition (B, D_c) and plan (B, PLAN, 128), and whose prior is trained to be sampled
    from: the generator without diffusion. ECGs are (B, 12, 1024) mV.
    """

    def __init__(self, width: int, condition: int):
        super().__init__(width)
        self.kl_weight, first = KL_WEIGHT, self.decoder[0]
        self.predicted = nn.Linear(condition, SPREAD * LATENT[1])
        self.decoder[0] = nn.Conv1d(LATENT[0] + SPREAD + PLAN, first.out_channels, 3, padding=1)

    @torch.autocast("cpu", enabled=False)
    def leads(self, latent: torch.Tensor, condition: torch.Tensor, plan: torch.Tensor) -> torch.Tensor:
        """Latents (B, 24, 128), conditions and plans -> the eight independent leads (B, 8, 1024) in companded mV."""
        predicted = self.predicted(condition).unflatten(1, (SPREAD, LATENT[1]))  # (B, 8, 128)
        return self.decoder(torch.cat([latent, predicted, plan], 1)) + self.straight_out(latent)

    @inference()
    def signals(self, condition: torch.Tensor, plan: torch.Tensor, seed: int = 0) -> torch.Tensor:
        """Conditions (B, D_c) and plans -> (B, 12, 1024) mV."""
        latent = torch.randn(len(condition), *LATENT, generator=torch.Generator().manual_seed(seed))
        return from_independent(expand(self.leads(latent.to(condition.device), condition, plan).float()))


def equal_width(parameters: int, condition: int) -> int:
    """The width, a multiple of 8, at which a `ConditionalVAE` has about this many parameters."""
    with torch.device("meta"):
        sizes = {width: size(ConditionalVAE(width, condition)) for width in range(16, 513, 8)}
    return min(sizes, key=lambda width: abs(sizes[width] - parameters))


# --- What the cells of all studies of generated ECGs share.

DESIGNS = {
    "ours": Design(),
    **{name: with_faults(name) for name in FAULTS},
    "published": PUBLISHED,
    **{name: Design(**switches) for name, switches in table("designs")["others"].items()},
}
VARIANTS, FIXED = ABOUT["making"]["variants"], ABOUT["making"]["fixed"]
FEW = 20  # patients for whom 1000 steps are walked: two to three minutes on one core
RARE = 6  # findings, those with the fewest training examples
CARRIERS = 8  # held-out patients of each, at most
RATES = tuple(range(40, 151, 10))  # bpm, each asked for twice


class StudyContext:
    """Patients of both splits, the chain's generator and reader, and who is asked for; what takes long waits till used.

    Args:
        store: of the chain; its generator's VAE and condition encoder serve all cells.
        training: for a quick look, only so many of the training patients.
    """

    def __init__(self, store: Store, training: int | None = None):
        self.store, self.train, test = store, open_split(store, "train").first(training), open_split(store, "test")
        self.generator, self.reader = Generator.from_pretrained(store.path("diffusets")), load_reader(store)
        self.corpus, everyone = Corpus(self.train.truth()), Corpus(test.truth())
        self.n = n = min(store.profile.study_scored, len(test) // 3)
        self.few = min(FEW, n)  # of the n patients, for whom a cell of 1000 steps makes ECGs
        known = self.corpus.carriers
        self.rare = tuple(sorted(known, key=lambda code: len(known[code]))[:RARE])
        carriers = {row for code in self.rare for row in everyone.carriers[code][-CARRIERS:]}
        rows, held_out, rng = [*range(n), *sorted(carriers)], clean_hearts(test)[0], random.Random(1)
        self.requests = [everyone.requests[row].few_measures(rng) for row in rows]  # of n patients, then of m carriers
        self.theirs = held_out[rows]  # (n + m, 12, 1024) their own clean ECGs
        self.real = self.reader.features(standard(held_out[n : 3 * n]))  # (2 n, 256) of other held-out patients
        self.words = [request.few_measures(rng).text() for request in self.corpus.requests]  # of the training patients
        self.kept: dict[tuple[bool, bool], tuple[torch.Tensor, torch.Tensor]] = {}  # see `material`

    @cached_property
    def hearts(self) -> tuple[torch.Tensor, Events]:
        """The training patients' clean ECGs (N, 12, 1024) mV and their events."""
        return clean_hearts(self.train)

    @cached_property
    def known(self) -> torch.Tensor:
        """(N, 256) features of the training ECGs."""
        return self.reader.features(standard(self.hearts[0]))

    def material(self, generated: Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """`Generator.material` of the training ECGs, kept for designs that share it: with the chain's VAE, most do."""
        key = generated.design.paced, generated.design.sketched
        if generated.design.free_leads:
            return generated.material(*self.hearts)
        if key not in self.kept:
            self.kept[key] = generated.material(*self.hearts)
        return self.kept[key]


# --- Study `making`.


def settings(store: Store, variant: str) -> dict:
    """What a cell depends on: training, design, patients, and the artifacts it starts from."""
    P, out = store.profile, cell_basis(store, "cohort", *(["diffusets"] if variant != "simulator" else []), "reader")
    out |= {"few": FEW, "rare": [RARE, CARRIERS], "rates": list(RATES)}
    if variant in FIXED:
        return out
    out |= {"denoiser": asdict(P.study_denoiser), "width": P.unet_width}
    if variant == "conditional_vae":
        return out | {"kl_weight": KL_WEIGHT}
    design = DESIGNS[variant]
    few = {"scored": min(FEW, P.study_scored), "rare": [], "rates": []}  # 1000 steps for everybody would take too long
    out |= few if design.ancestral else {"steps": P.sample_steps}
    out |= {"guidance": P.guidance} if design.guided else {}
    out |= {"vae": asdict(P.vae), "vae_width": P.vae_width} if design.free_leads else {}
    return out | {"design": asdict(design)}


def swept() -> list[Request]:
    """Sinus rhythm at each of `RATES`, twice."""
    rhythms = {rate: ("SBRAD",) if rate < 60 else ("STACH",) if rate > 100 else ("SR", "NORM") for rate in RATES}
    return [Request(rate=rate, findings=rhythm) for rate, rhythm in rhythms.items() for _ in range(2)]


def measure(room: StudyContext, variant: str, seed: int, folder: Path) -> dict[str, float]:
    """Train and score one cell."""
    torch.manual_seed(seed)
    if variant == "simulator":
        return scores(room, room.theirs)
    requests, device = room.requests + swept(), device_and_why()[0]
    if variant in DESIGNS:
        generated = trained(room, DESIGNS[variant], seed, folder)
        asked = generated.conditions(requests[: room.few] if generated.design.ancestral else requests)
        return scores(room, generated.signals(asked, seed).cpu()) | {"parameters": size(generated.denoiser)}
    known, wanted = (  # conditions (N, D_c) and (B, D_c)
        torch.cat([room.generator.conditions(each[i : i + 256]).cpu() for i in range(0, len(each), 256)])
        for each in (room.corpus.requests, requests)
    )
    if variant == "retrieval":
        likeness = F.normalize(wanted, dim=1) @ F.normalize(known, dim=1).T  # (B, N)
        return scores(room, room.hearts[0][likeness.argmax(1)])
    width = known.shape[1]
    model = ConditionalVAE(equal_width(size(room.generator.denoiser), width), width).to(device)
    budget, plans = room.store.profile.study_denoiser, room.material(room.generator)[1]
    train_vae(model, room.hearts[0], budget, seed, folder / "conditional_vae", known, plans)
    plan = room.generator.plan(wanted.to(device), torch.Generator().manual_seed(seed))
    return scores(room, model.signals(wanted.to(device), plan, seed).cpu()) | {"parameters": size(model)}


def trained(room: StudyContext, design: Design, seed: int, folder: Path) -> Generator:
    """A generator of this design with the chain's VAE and words, its denoiser trained for the study's budget."""
    P, chain, vae, device = room.store.profile, room.generator, room.generator.vae, device_and_why()[0]
    if design.free_leads:
        vae = VAE(P.vae_width, free_leads=True).to(device)
        train_vae(vae, room.hearts[0], P.vae, seed, folder / "vae")
    torch.manual_seed(seed)
    net = new_denoiser(design, P.unet_width, chain.condition.settings["width"]).to(device)
    parts = vae, chain.condition, chain.rhythm, chain.templates, net
    generated = Generator(*parts, P.sample_steps, P.guidance, design)
    train_denoiser(generated, room.material(generated), room.corpus, P.study_denoiser, seed, folder / "denoiser")
    return generated


def scores(room: StudyContext, signal: torch.Tensor) -> dict[str, float]:
    """ECGs made for the wanted patients, for carriers of rare findings and for `swept` requests, scored one by one.

    Args:
        signal: (n + m + sweep, 12, 1024) mV in the order of the requests, or the first of them alone.

    Returns:
        `crowd` of the n patients; `few.*` of the first few; `rare.findings_macro_f1` and `rare.examples`, the most that
        one rare finding has in training; `sweep.hr_*`. What was not made is left out.
    """
    n, whole = room.n, len(room.theirs)
    out = crowd(room, signal[:n]) if len(signal) >= n else {}
    out |= {f"few.{name}": v for name, v in crowd(room, signal[: room.few]).items() if not name.startswith("f1.")}
    if whole > n and len(signal) >= whole:
        found = control(room.reader, signal[n:whole], *requested(room.requests[n:]))
        f1 = [found[f"f1.{code}"] for code in room.rare if f"f1.{code}" in found]
        out["rare.findings_macro_f1"], out["rare.patients"] = sum(f1) / len(f1), whole - n
        out["rare.examples"] = max(len(room.corpus.carriers[code]) for code in room.rare)
    if len(signal) > whole:
        found = number_errors(requested(swept())[0], {"rate_bpm": heart_rate(signal[whole:], HZ)})
        out |= {f"sweep.{name}": value for name, value in found.items()}
    return out


def crowd(room: StudyContext, signal: torch.Tensor) -> dict[str, float]:
    """Control, fidelity, CLIP score, memory and lead laws of ECGs (k, 12, 1024) made for the first k patients.

    Every request names a rate, some name PR, QRS, QT and axis.
    """
    requests, features = room.requests[: len(signal)], room.reader.features(standard(signal))
    out = control(room.reader, signal, *requested(requests)) | fidelity(room.real, features)
    out |= clip_scores(room.known, room.words, features, [request.text() for request in requests])
    return out | memorised(room.known, room.real, features)


# --- Study `sampling`: the chain's generator makes ECGs for held-out patients, directly from their words.
#
# The seeds vary the noise. Patients, reader and scores are those of study `making`.

STEPS = (2, 4, 6, 10, 20, 50)  # of the sampler, with the profile's guidance
GUIDANCE = (1, 1.5, 2, 3, 4)  # with the profile's steps
HOW = {f"steps{n}": {"steps": n} for n in STEPS} | {f"guidance{g:g}": {"guidance": float(g)} for g in GUIDANCE}


def sampling_settings(store: Store, variant: str) -> dict:
    """What a cell depends on: patients, steps and guidance, and the artifacts it starts from."""
    usual = {"steps": store.profile.sample_steps, "guidance": store.profile.guidance}
    return cell_basis(store, "cohort", "diffusets", "reader") | usual | HOW[variant]


def sampling_measure(room: StudyContext, variant: str, seed: int, folder: Path) -> dict[str, float]:
    """One cell: `making.crowd` of the n patients without its `f1.*`, and `seconds_per_ecg`, from words to mV."""
    begun = time.perf_counter()
    conditions = room.generator.conditions(room.requests[: room.n])
    signal = room.generator.signals(conditions, seed, **HOW[variant]).cpu()
    seconds = (time.perf_counter() - begun) / room.n
    found = {name: value for name, value in crowd(room, signal).items() if not name.startswith("f1.")}
    return found | {"seconds_per_ecg": seconds}
