"""Studies `making` and `sampling`: what each fault of a generator costs (S1 to S4); steps and guidance.

VAE, words and reader are the chain's for all cells of `making`; the seeds vary the denoiser's start, batches and noise.
Four sets of ECGs are made: for held-out patients, for the first few of them (as many as a cell of 1000 steps can make),
for carriers of rare findings, and at rates swept from slow to fast. `sampling` trains nothing.
"""

import random
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from ..beats import heart_rate
from ..checkpoints import load_generator, load_reader
from ..config import Training
from ..errors import BadRequest
from ..generator.beat_plan import HZ, PLAN
from ..generator.denoiser import new_denoiser
from ..generator.diffusion import FAULTS, PUBLISHED, Design, with_faults
from ..generator.generator import Generator
from ..generator.generator_stages import clean_ecgs, train_denoiser, train_vae
from ..generator.vae import LATENT, VAE, compand, expand
from ..language.conversations import Corpus
from ..language.requests import Request
from ..leads import from_independent
from ..metrics.generation import ClipPair, clip_scores, control, fidelity, memorised, number_errors, requested, standard
from ..metrics.reader import Reader
from ..store import Store
from ..training import device_and_why, fit, inference, rows_of
from .study import ABOUT, Spread, hashes, open_split, paired, size, summary

# --- Generators to compare with: a conditional VAE, and the nearest training record.

SPREAD = 8  # rows of a latent's length that the condition is spread over
KL_WEIGHT = 0.005  # so large that latents drawn from the prior are like those of ECGs


class ConditionalVAE(nn.Module):
    """A VAE whose decoder is told condition and plan, and whose prior is trained to be sampled from: the generator
    without diffusion. ECGs (B, 12, 1024) mV, conditions (B, D_c) and plans (B, PLAN, 128) in, ECGs out.
    """

    def __init__(self, width: int, condition: int):
        super().__init__()
        self.vae = VAE(width)
        self.predicted = nn.Linear(condition, SPREAD * LATENT[1])
        first = self.vae.decoder[0]
        self.vae.decoder[0] = nn.Conv1d(LATENT[0] + SPREAD + PLAN, first.out_channels, 3, padding=1)

    def decode(self, latent: torch.Tensor, condition: torch.Tensor, plan: torch.Tensor) -> torch.Tensor:
        """Latents (B, 8, 128), conditions and plans -> the eight independent leads (B, 8, 1024) in companded mV."""
        predicted = self.predicted(condition).unflatten(1, (SPREAD, LATENT[1]))  # (B, 8, 128)
        return self.vae.decoder(torch.cat([latent, predicted, plan], 1)) + self.vae.straight_out(latent)

    def loss(self, signal: torch.Tensor, condition: torch.Tensor, plan: torch.Tensor) -> dict[str, torch.Tensor]:
        """The error of `VAE.loss` plus a KL that is weighted to be sampled from."""
        mean, log_variance = self.vae.distribution(signal)
        latent = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        generated, leads = self.decode(latent, condition, plan), signal[:, self.vae.rows]
        kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()
        loss = 80 * (F.mse_loss(generated, compand(leads)) + KL_WEIGHT * kl)
        return {"loss": loss, "mse": F.mse_loss(expand(generated), leads).detach(), "kl": kl.detach()}

    @inference()
    def signals(self, condition: torch.Tensor, plan: torch.Tensor, seed: int = 0) -> torch.Tensor:
        """Conditions (B, D_c) and plans -> (B, 12, 1024) mV."""
        latent = torch.randn(len(condition), *LATENT, generator=torch.Generator().manual_seed(seed))
        leads = self.decode(latent.to(condition.device), condition, plan).float()
        return from_independent(expand(leads))


def equal_width(parameters: int, condition: int) -> int:
    """The width, a multiple of 8, at which a `ConditionalVAE` has about this many parameters."""
    with torch.device("meta"):
        sizes = {width: size(ConditionalVAE(width, condition)) for width in range(16, 513, 8)}
    return min(sizes, key=lambda width: abs(sizes[width] - parameters))


def train_conditional_vae(
    model: ConditionalVAE,
    ecgs: torch.Tensor,
    conditions: torch.Tensor,
    plans: torch.Tensor,
    training: Training,
    seed: int,
    folder: Path,
) -> dict:
    """Train on ECGs (N, 12, 1024) mV, their conditions (N, D_c) and plans (N, PLAN, 128)."""
    device = model.predicted.weight.device
    model.vae.start(ecgs[:2048].to(device))

    def loss(step, generator):
        rows = rows_of(step, seed, training.batch, len(ecgs))
        signal, condition, plan = (part[rows].to(device) for part in (ecgs, conditions, plans))
        return model.loss(signal, condition, plan)

    history = fit("conditional VAE", {"model": model}, loss, training, seed=seed, folder=folder)
    model.requires_grad_(False).eval()
    return history


def nearest(wanted: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """For each condition (B, D_c) the row of the most similar of the known ones (N, D_c): (B,)."""
    return (F.normalize(wanted, dim=1) @ F.normalize(known, dim=1).T).argmax(1)


# --- Study `making`.

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
VARIANTS, FIXED = ABOUT["making"]["variants"], ABOUT["making"]["fixed"]
AGAINST = {"unpaced": "unsketched", "raw": "unpaced", "ancestral": "epsilon"}  # who is compared; others with `ours`
FEW = 20  # patients for whom 1000 steps are walked: two to three minutes on one core
RARE = 6  # findings, those with the fewest training examples
CARRIERS = 8  # held-out patients of each, at most
RATES = tuple(range(40, 151, 10))  # bpm, each asked for twice


@dataclass
class StudyContext:
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

    def material(self, generated: Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """`Generator.material` of the training ECGs, kept for designs that share it: with the chain's VAE, most do."""
        key = generated.design.paced, generated.design.sketched
        if generated.design.free_leads:
            return generated.material(self.ecgs)
        if key not in self.kept:
            self.kept[key] = generated.material(self.ecgs)
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
    out["inputs"] = hashes(store, *inputs)
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


def prepare(store: Store, training: int | None = None) -> StudyContext:
    """Clean ECGs of both splits, the chain's generator and reader, and the reader's features.

    Args:
        store: of the chain.
        training: for a quick look, only so many of the training patients.
    """
    train, test = open_split(store, "train").first(training), open_split(store, "test")
    corpus, everyone = Corpus(train.truth()), Corpus(test.truth())
    n = min(store.profile.study_scored, len(test) // 3)
    rare = tuple(sorted(corpus.carriers, key=lambda code: len(corpus.carriers[code]))[:RARE])
    carriers = {row for code in rare for row in everyone.carriers[code][-CARRIERS:]}
    rows = [*range(n), *sorted(carriers)]
    ecgs, held_out, reader = clean_ecgs(train), clean_ecgs(test), load_reader(store)
    rng = random.Random(1)
    known = reader.features(standard(ecgs))
    return StudyContext(
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


def measure(room: StudyContext, variant: str, seed: int, folder: Path) -> dict[str, float]:
    """Train and score one cell."""
    torch.manual_seed(seed)
    if variant == "simulator":
        return scores(room, room.theirs)
    requests = room.requests + swept()
    if variant in DESIGNS:
        generated = trained(room, DESIGNS[variant], seed, folder)
        asked = generated.conditions(requests[: room.few] if generated.design.ancestral else requests)
        return scores(room, generated.signals(asked, seed).cpu()) | {"parameters": size(generated.denoiser)}
    known, wanted = (conditions_of(room, each) for each in (room.corpus.requests, requests))  # (N, D_c), (B, D_c)
    if variant == "retrieval":
        return scores(room, room.ecgs[nearest(wanted, known)])
    model = trained_vae(room, known, seed, folder)
    device = model.predicted.weight.device
    drawn = torch.Generator().manual_seed(seed)
    generated = model.signals(wanted.to(device), room.generator.plan(wanted.to(device), drawn), seed)
    return scores(room, generated.cpu()) | {"parameters": size(model)}


# ---- generators -------------------------------------------------------------------------------------------------
def trained(room: StudyContext, design: Design, seed: int, folder: Path) -> Generator:
    """A generator of this design with the chain's VAE and words, its denoiser trained for the study's budget."""
    P, chain, device = room.store.profile, room.generator, device_and_why()[0]
    vae = chain.vae
    if design.free_leads:
        vae = VAE(P.vae_width, free_leads=True).to(device)
        train_vae(vae, room.ecgs, P.vae, seed, folder / "vae")
    torch.manual_seed(seed)
    net = new_denoiser(design, P.unet_width, chain.condition.settings["width"]).to(device)
    conditions_of = chain.condition, chain.rhythm, chain.average_beat
    generated = Generator(vae, *conditions_of, net, P.sample_steps, P.guidance, design)
    train_denoiser(generated, room.material(generated), room.corpus, P.study_denoiser, seed, folder / "denoiser")
    return generated


def trained_vae(room: StudyContext, known: torch.Tensor, seed: int, folder: Path) -> ConditionalVAE:
    """A conditional VAE with as many parameters as the chain's denoiser, trained on conditions (N, D_c)."""
    width = known.shape[1]
    model = ConditionalVAE(equal_width(size(room.generator.denoiser), width), width).to(device_and_why()[0])
    budget = room.store.profile.study_denoiser
    plans = room.material(room.generator)[1]
    train_conditional_vae(model, room.ecgs, known, plans, budget, seed, folder / "conditional_vae")
    return model


@torch.no_grad()
def conditions_of(room: StudyContext, requests: list[Request]) -> torch.Tensor:
    """Conditions of requests in full words: (B, D_c)."""
    parts = [requests[i : i + 256] for i in range(0, len(requests), 256)]
    return torch.cat([room.generator.conditions(part).cpu() for part in parts])


# ---- scores -----------------------------------------------------------------------------------------------------
def scores(room: StudyContext, signal: torch.Tensor) -> dict[str, float]:
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


def crowd(room: StudyContext, signal: torch.Tensor) -> dict[str, float]:
    """Control, fidelity, CLIP score, memory and lead laws of ECGs (k, 12, 1024) made for the first k patients.

    Every request names a rate, some name PR, QRS, QT and axis.
    """
    k = len(signal)
    wanted, asked = requested(room.requests[:k])
    features = room.reader.features(standard(signal))
    out = control(room.reader, signal, wanted, asked) | fidelity(room.real, features)
    out |= clip_scores(room.pair, features, [request.text() for request in room.requests[:k]])
    return out | memorised(room.known, room.real, features)


def rare(room: StudyContext, signal: torch.Tensor) -> dict[str, float]:
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


# --- Study `sampling`: the chain's generator makes ECGs for held-out patients, directly from their words.
#
# The seeds vary the noise. Patients, reader and scores are those of study `making`.

STEPS = (2, 4, 6, 10, 20, 50)  # of the sampler, with the profile's guidance
GUIDANCE = (1, 1.5, 2, 3, 4)  # with the profile's steps
HOW = {f"steps{n}": {"steps": n} for n in STEPS} | {f"guidance{g:g}": {"guidance": float(g)} for g in GUIDANCE}
SAMPLING_VARIANTS = ABOUT["sampling"]["variants"]
NEAR = 0.02  # of the best FID: what fewer steps may lose


def sampling_settings(store: Store, variant: str) -> dict:
    """What a cell depends on: patients, steps and guidance, and the artifacts it starts from."""
    P = store.profile
    out = {"records": P.records, "scored": P.study_scored, "steps": P.sample_steps, "guidance": P.guidance}
    return out | HOW[variant] | {"inputs": hashes(store, "cohort", "diffusets", "reader")}


def sampling_measure(room: StudyContext, variant: str, seed: int, folder: Path) -> dict[str, float]:
    """One cell: `making.crowd` of the n patients without its `f1.*`, and `seconds_per_ecg`, from words to mV."""
    requests = room.requests[: room.n]
    begun = time.perf_counter()
    signal = room.generator.signals(room.generator.conditions(requests), seed, **HOW[variant]).cpu()
    seconds = (time.perf_counter() - begun) / len(requests)
    found = {name: value for name, value in crowd(room, signal).items() if not name.startswith("f1.")}
    return found | {"seconds_per_ecg": seconds}


def fewest(fid: dict[int, float], near: float = NEAR) -> int:
    """The smallest number of steps whose FID exceeds the best one by no more than the share `near`.

    Args:
        fid: number of steps -> FID.
        near: 0.02 is 2%.

    Raises:
        BadRequest: nothing to choose from.
    """
    if not fid:
        raise BadRequest("No FID of any number of steps: run the study first, python -m uniecg_lite study sampling.")
    return min(steps for steps, value in fid.items() if value <= (1 + near) * min(fid.values()))


def default_steps(profile: str = "laptop", root: Path | None = None) -> int | None:
    """`fewest` by the FID of the cells, mean over seeds: what `sample_steps` should be; None unless all are there."""
    cells = summary("sampling", profile, root)
    fid = {n: cells[f"steps{n}"]["fid"][0] for n in STEPS if "fid" in cells.get(f"steps{n}", {})}
    return fewest(fid) if len(fid) == len(STEPS) else None
