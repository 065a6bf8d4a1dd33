"""What do the parts of the generator learn from, and how is each trained? Afterwards each is frozen."""

from pathlib import Path

import torch
from scipy.signal import resample_poly
from torch import Tensor

from ..cohort import SIMULATED, Cohort, population_of
from ..config import Training
from ..language.conversations import Corpus
from ..simulator.simulate import simulate
from ..training import TrainingLoop
from .beat_plan import FIRST_BEAT, HZ, LENGTH
from .generator import Generator
from .vae import VAE

DROP_CONDITION = 0.1
AVERAGED = 0.995  # of the average of the weights, a step


def clean_ecgs(cohort: Cohort, batch: int = 250) -> Tensor:
    """The cohort's simulated patients again, clean, at 102.4 Hz, first beats aligned; real ones as they were recorded.

    (N, 12, 1024) mV.
    """
    drawn = torch.tensor([bool(SIMULATED.fullmatch(name)) for name in cohort.column("record")])
    out = torch.empty(len(drawn), 12, LENGTH)
    for rows in () if drawn.all() else (~drawn).nonzero()[:, 0].split(batch):
        out[rows] = torch.from_numpy(resample_poly(cohort.signal(rows).numpy(), 128, 125, axis=-1, padtype="edge"))
    if not drawn.any():
        return out
    seed, index, visit = population_of([name for name, own in zip(cohort.column("record"), drawn) if own])
    for number in visit.unique().tolist():
        for rows in (visit == number).nonzero()[:, 0].split(batch):
            how = dict(noise=False, first_beat=FIRST_BEAT, visit=number)
            out[drawn.nonzero()[rows, 0]] = simulate(seed, index[rows], HZ, LENGTH / HZ, **how).signal
    return out


def train_vae(vae: VAE, ecgs: Tensor, plan: Training, seed: int, folder: Path, *condition: Tensor) -> dict:
    """Train the VAE on (N, 12, 1024) mV under their conditions, if any, then measure the scale of its latents."""
    device = vae.scale.device
    vae.start(ecgs[:2048].to(device))
    loop = TrainingLoop({"vae": vae}, plan, seed, folder, "VAE")
    for step in loop:
        rows = step.rows(len(ecgs))
        step.learn(**vae.loss(*(part[rows].to(device) for part in (ecgs, *condition))))
    vae.eval().measure_scale(ecgs[:1024].to(device))
    return loop.history


def train_denoiser(
    generator: Generator, material: tuple[Tensor, ...], corpus: Corpus, plan: Training, seed: int, folder: Path
) -> dict:
    """Train the denoiser on `Generator.material` as the design says, see `Generator.loss`; plans are of true beats.

    By default all noise levels are trained; one condition in ten is dropped, for guidance; the average of the weights
    is kept.
    """
    net, design, device = generator.denoiser, generator.design, generator.vae.scale.device
    latents, plans = material  # (N, 8, 128), (N, PLAN, 128)
    loop = TrainingLoop({"denoiser": net}, plan, seed, folder, "denoiser", ema=AVERAGED if design.averaged else None)
    for step in loop:
        rows = step.rows(len(latents))
        with torch.no_grad():
            words = generator.conditions([corpus.requests[row].with_fewer_facts(step.rng) for row in rows.tolist()])
        drop = (torch.rand(len(rows), 1, generator=step.generator) < DROP_CONDITION).to(device)
        if design.guided:
            words = torch.where(drop if words.dim() == 2 else drop[..., None], net.null, words)
        step.learn(generator.loss(latents[rows], plans[rows].to(device), words, step.generator))
    net.eval()
    return loop.history
