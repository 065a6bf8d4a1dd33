"""Words to an ECG: the trained parts together, and how each is trained."""

import random
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import FlowMatchEulerDiscreteScheduler
from torch import nn

from ..cohort import Cohort, population_of
from ..config import Training
from ..ecg import ECG
from ..language import Corpus
from ..simulator import simulate
from ..training import fit, rows_of
from .condition import ConditionEncoder
from .denoiser import Denoiser
from .pacemaker import FIRST_BEAT, HZ
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
    """VAE + condition encoder + denoiser + few-step sampler."""

    def __init__(
        self, vae: VAE, condition: ConditionEncoder, denoiser: Denoiser, steps: int = 20, guidance: float = 2.0
    ):
        super().__init__()
        self.vae, self.condition, self.denoiser = vae, condition, denoiser
        self.steps, self.guidance = steps, guidance

    @torch.no_grad()
    def sample(
        self, condition: torch.Tensor, seed: int = 0, steps: int | None = None, guidance: float | None = None
    ) -> torch.Tensor:
        """Conditions (B, D_c) -> latents (B, 8, 128), by a diffusers Euler sampler over the learned velocity.

        Guidance g pushes from no condition towards the condition: v = v_0 + g (v_c - v_0) (Ho and Salimans, 2022).
        """
        self.eval()
        guidance = self.guidance if guidance is None else guidance
        noise = torch.randn(len(condition), *LATENT, generator=torch.Generator().manual_seed(seed))
        x = noise.to(condition.device)
        scheduler = FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000)
        scheduler.set_timesteps(steps or self.steps)
        condition = torch.cat([condition, self.denoiser.null.expand_as(condition)])  # (2B, D_c)
        beats = self.condition.beats(condition)  # (2B, 2 HARMONICS, 128)
        for t, level in zip(scheduler.timesteps, scheduler.sigmas):
            both = self.denoiser(torch.cat([x, x]), level.expand(2 * len(x)).to(x.device), condition, beats)
            with_words, without = both.chunk(2)
            x = scheduler.step(without + guidance * (with_words - without), t, x).prev_sample
        return x

    @torch.no_grad()
    def signals(self, condition: torch.Tensor, seed: int = 0, batch: int = 64, **how) -> torch.Tensor:
        """Conditions (B, D_c) -> (B, 12, 1024) mV at 102.4 Hz."""
        parts = condition.split(batch)
        return torch.cat([self.vae.decode(self.sample(c, seed + i, **how)).float() for i, c in enumerate(parts)])

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


def train_denoiser(
    generator: Generator, ecgs: torch.Tensor, corpus: Corpus, plan: Training, seed: int, folder: Path
) -> dict:
    """Flow matching (Lipman et al., arXiv 2210.02747): x_s = (1 - s) x_0 + s noise, learn noise - x_0.

    All noise levels are trained; one condition in ten is dropped, for guidance; the average of the weights is kept.
    """
    net, encoder, device = generator.denoiser, generator.condition, generator.vae.scale.device
    with torch.no_grad():
        latents = torch.cat([generator.vae.encode(part.to(device)) for part in ecgs.split(256)])  # (N, 8, 128)

    def loss(step, g):
        rng = random.Random(f"{seed}/{step}")
        rows = rows_of(step, seed, plan.batch, len(latents))
        clean = latents[rows]
        with torch.no_grad():
            words = encoder([corpus.requests[row].thinned(rng).text() for row in rows.tolist()])
        drop = (torch.rand(len(rows), 1, generator=g) < DROP_CONDITION).to(device)
        words = torch.where(drop, net.null, words)
        level = torch.sigmoid(torch.randn(len(rows), generator=g) * 1.2 + 0.3).to(device)
        noise = torch.randn(clean.shape, generator=g).to(device)
        s = level[:, None, None]
        beats = encoder.beats(words)
        return F.mse_loss(net((1 - s) * clean + s * noise, level, words, beats).float(), noise - clean)

    history = fit("denoiser", {"denoiser": net}, loss, plan, seed=seed, folder=folder, ema=0.995)
    net.requires_grad_(False).eval()
    return history
