"""Words to an ECG: the trained parts together, and how each is trained."""

import random
import time
from dataclasses import replace
from itertools import repeat
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from ..cohort import Cohort, population_of
from ..config import Training
from ..ecg import ECG
from ..language import Corpus, Request
from ..simulator import simulate
from ..training import fit, rows_of
from .condition import ConditionEncoder, numbers_of
from .design import Design
from .pacemaker import FIRST_BEAT, HZ, SHOWN, Rhythm, beats_of, shown
from .paths import Say, path_of
from .vae import LATENT, VAE

LENGTH = 1024  # samples: 10 s
DROP_CONDITION = 0.1


def clean_ecgs(cohort: Cohort, batch: int = 250) -> torch.Tensor:
    """The cohort's simulated patients again, clean, at 102.4 Hz, first beats aligned: (N, 12, 1024) mV."""
    seed, index, visit = population_of(cohort.column("record"))
    out = torch.empty(len(index), 12, LENGTH)
    for number in visit.unique().tolist():
        for rows in (visit == number).nonzero()[:, 0].split(batch):
            how = dict(noise=False, first_beat=FIRST_BEAT, visit=number)
            out[rows] = simulate(seed, index[rows], HZ, LENGTH / HZ, **how).signal
    return out


class Generator(nn.Module):
    """VAE + condition encoder + rhythm + denoiser + few-step sampler.

    Args:
        steps: of the sampler, where the design does not ask for ancestral ones.
        guidance: how hard the words push, where the design is guided.
        design: how it is trained and sampled; by default as ours is.
    """

    def __init__(
        self,
        vae: VAE,
        condition: ConditionEncoder,
        rhythm: Rhythm,
        denoiser: nn.Module,
        steps: int = 20,
        guidance: float = 2.0,
        design: Design | None = None,
    ):
        super().__init__()
        self.vae, self.condition, self.rhythm, self.denoiser = vae, condition, rhythm, denoiser
        self.steps, self.guidance, self.design = steps, guidance, design or Design()

    def conditions(self, requests: list[Request]) -> torch.Tensor:
        """Requests -> what the design tells the denoiser: (B, D_c), or (B, T, D_c) for `tokens`."""
        if self.design.numbers == "words":
            texts = [request.text() for request in requests]
            return self.condition.tokens(texts) if self.design.words == "tokens" else self.condition(texts)
        words = self.condition([replace(request, age=None, sex=None, rate=None).text() for request in requests])
        return torch.cat([words, numbers_of(requests, self.design.numbers == "scaled").to(words)], 1)  # (B, D_c + 3)

    @torch.no_grad()
    def beats(self, condition: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Conditions -> (B, SHOWN, 128): beats that the rhythm says, or zeros where the design is not paced."""
        if self.design.paced:
            return shown(self.rhythm.sample(condition, self.condition.rate(condition), generator))
        return condition.new_zeros(len(condition), SHOWN, LATENT[1])

    @torch.no_grad()
    def latents(self, ecgs: torch.Tensor) -> torch.Tensor:
        """(N, 12, 1024) mV -> (N, 8, 128) latents of the spread that the denoiser sees."""
        parts = [self.vae.encode(part.to(self.vae.scale.device)) for part in ecgs.split(256)]
        return torch.cat(parts) * self.design.spread

    @torch.no_grad()
    def sample(
        self,
        condition: torch.Tensor,
        seed: int = 0,
        steps: int | None = None,
        guidance: float | None = None,
        beats: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Conditions (B, D_c) -> latents (B, 8, 128), by a diffusers scheduler over what the denoiser says.

        By default Euler steps over the learned velocity. Guidance g pushes from no condition towards the condition:
        v = v_0 + g (v_c - v_0) (Ho and Salimans, 2022). Beats (B, SHOWN, 128) are those that the rhythm says from the
        condition, unless others are given.
        """
        self.eval()
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(len(condition), *LATENT, generator=generator).to(condition.device)
        beats = self.beats(condition, generator) if beats is None else beats  # (B, SHOWN, 128)
        say = self._say(condition, beats, self.guidance if guidance is None else guidance)
        return path_of(self.design).walk(say, x, steps or self.steps, generator) / self.design.spread

    def _say(self, condition: torch.Tensor, beats: torch.Tensor, guidance: float) -> Say:
        """What is said on the way from noise: with guidance by two calls of the denoiser in one batch, else by one.

        Both see the beats: guidance is about what the words say beyond them.
        """
        if self.design.guided:
            condition = torch.cat([condition, self.denoiser.null.expand_as(condition)])  # (2B, D_c)
            beats = torch.cat([beats, beats])

        def say(x: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
            both = torch.cat([x, x]) if self.design.guided else x
            said = self.denoiser(both, level.expand(len(both)).to(x.device), condition, beats)
            if not self.design.guided:
                return said
            with_words, without = said.chunk(2)
            return without + guidance * (with_words - without)

        return say

    @torch.no_grad()
    def signals(
        self, condition: torch.Tensor, seed: int = 0, batch: int = 64, beats: torch.Tensor | None = None, **how
    ) -> torch.Tensor:
        """Conditions (B, D_c) -> (B, 12, 1024) mV at 102.4 Hz; for beats and the rest see `sample`."""
        parts = zip(condition.split(batch), repeat(None) if beats is None else beats.split(batch))
        latents = [self.sample(c, seed + i, beats=b, **how) for i, (c, b) in enumerate(parts)]
        return torch.cat([self.vae.decode(latent).float() for latent in latents])

    def make(self, condition: torch.Tensor, seed: int = 0, **how) -> list[ECG]:
        """Conditions (B, D_c) -> B ECGs."""
        return [
            ECG(signal.cpu().numpy(), HZ, source="made by UniECG-lite, belongs to no patient")
            for signal in self.signals(condition, seed, **how)
        ]


def train_vae(vae: VAE, ecgs: torch.Tensor, plan: Training, seed: int, folder: Path) -> dict:
    """Train the VAE on (N, 12, 1024) mV, then measure the scale of its latents."""
    device = vae.scale.device
    vae.start(ecgs[:2048].to(device))
    history = fit(
        "VAE",
        {"vae": vae},
        lambda step, g: vae.loss(ecgs[rows_of(step, seed, plan.batch, len(ecgs))].to(device)),
        plan,
        seed=seed,
        folder=folder,
    )
    vae.requires_grad_(False).eval()
    vae.measure_scale(ecgs[:1024].to(device))
    return history


def train_condition(encoder: ConditionEncoder, corpus: Corpus, plan: Training, seed: int, folder: Path) -> dict:
    """Teach the condition encoder to tell the facts of a request, whichever of them are given; then freeze it."""

    def loss(step, generator):
        rng = random.Random(f"{seed}/{step}")
        rows = rows_of(step, seed, plan.batch, len(corpus.requests)).tolist()
        return encoder.facts_loss([corpus.requests[row].thinned(rng) for row in rows])

    history = fit("condition encoder", {"condition": encoder}, loss, plan, seed=seed, folder=folder)
    encoder.requires_grad_(False).eval()
    return history


def train_rhythm(
    rhythm: Rhythm,
    encoder: ConditionEncoder,
    ecgs: torch.Tensor,
    corpus: Corpus,
    plan: Training,
    seed: int,
    folder: Path,
) -> dict:
    """Teach the rhythm to say the beats of (N, 12, 1024) mV from the words of their requests; then freeze it.

    Each request is read once, with some of its parts left open: reading costs more than a step of the rhythm.
    """
    begun = time.time()
    device, times, rng = encoder.place.device, beats_of(ecgs), random.Random(seed)  # (N, K)
    texts = [request.thinned(rng).text() for request in corpus.requests]
    with torch.no_grad():
        words = torch.cat([encoder(texts[i : i + 256]) for i in range(0, len(texts), 256)])  # (N, D_c)

    def loss(step, generator):
        rows = rows_of(step, seed, plan.batch, len(times))
        return rhythm.loss(times[rows].to(device), words[rows.to(device)])

    ready = time.time() - begun
    history = fit("rhythm", {"rhythm": rhythm}, loss, plan, seed=seed, folder=folder)
    rhythm.requires_grad_(False).eval()
    return history | {"seconds": ready + history["seconds"]}


def train_denoiser(
    generator: Generator, ecgs: torch.Tensor, corpus: Corpus, plan: Training, seed: int, folder: Path
) -> dict:
    """Train the denoiser as the generator's design says; by default by flow matching, see `paths.Flow`.

    By default all noise levels are trained; one condition in ten is dropped, for guidance; the average of the weights
    is kept.
    """
    net, design, device = generator.denoiser, generator.design, generator.vae.scale.device
    path, latents = path_of(design), generator.latents(ecgs)  # (N, 8, 128)
    times = beats_of(ecgs).to(device)  # (N, K)

    def loss(step, g):
        rng = random.Random(f"{seed}/{step}")
        rows = rows_of(step, seed, plan.batch, len(latents))
        clean = latents[rows]
        with torch.no_grad():
            words = generator.conditions([corpus.requests[row].thinned(rng) for row in rows.tolist()])
        drop = (torch.rand(len(rows), 1, generator=g) < DROP_CONDITION).to(device)
        if design.guided:
            words = torch.where(drop if words.dim() == 2 else drop[..., None], net.null, words)
        level = path.levels(len(rows), g).to(device)
        noise = torch.randn(clean.shape, generator=g).to(device)
        beats = shown(times[rows]) if design.paced else clean.new_zeros(len(rows), SHOWN, LATENT[1])
        noisy, target = path.mix(clean, noise, level)
        return F.mse_loss(net(noisy, level, words, beats).float(), target)

    ema = 0.995 if design.averaged else None
    history = fit("denoiser", {"denoiser": net}, loss, plan, seed=seed, folder=folder, ema=ema)
    net.requires_grad_(False).eval()
    return history
