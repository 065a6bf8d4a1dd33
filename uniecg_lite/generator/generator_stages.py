"""What do the parts of the generator learn from, and how is each trained? Afterwards each is frozen."""

import random
from pathlib import Path

import torch
import torch.nn.functional as F
from scipy.signal import resample_poly
from torch import Tensor

from ..beats import peak_times
from ..cohort import SIMULATED, Cohort, population_of
from ..config import Training
from ..findings import CODES
from ..language.conversations import Corpus
from ..language.requests import Request
from ..simulator.schedule import EARLY_P, VENTRICULAR
from ..simulator.simulate import simulate
from ..training import TrainingLoop, inference
from .event_plan import ALONE, FIRST_BEAT, HZ, LENGTH, MOST_EVENTS, QRS, Events, P
from .generator import Generator
from .text_encoder import TextEncoder
from .vae import VAE

DROP_CONDITION = 0.1
AVERAGED = 0.995  # of the average of the weights, a step
WORDINGS = 4  # of each request, parts of it left open, that events and templates are learned from
MISSED = 0.25  # standard deviation of the noise on their conditions: no mapper will hit one exactly
PEAK_AFTER = 0.045  # s from the onset of a usual QRS complex to its R peak


def clean_hearts(cohort: Cohort, batch: int = 250) -> tuple[Tensor, Events]:
    """The cohort's simulated patients again, clean, at 102.4 Hz, first beats aligned; real ones as they were recorded.

    (N, 12, 1024) mV, and what begins when: of real ones the QRS complexes alone, where rules find them.
    """
    drawn = torch.tensor([bool(SIMULATED.fullmatch(name)) for name in cohort.column("record")])
    out = torch.empty(len(drawn), 12, LENGTH)
    events = Events(torch.empty(len(drawn), MOST_EVENTS), torch.full((len(drawn), MOST_EVENTS), QRS))
    for rows in () if drawn.all() else (~drawn).nonzero()[:, 0].split(batch):
        out[rows] = torch.from_numpy(resample_poly(cohort.signal(rows).numpy(), 128, 125, axis=-1, padtype="edge"))
        onset = peak_times(out[rows], HZ) - PEAK_AFTER
        events.time[rows] = F.pad(onset, (0, MOST_EVENTS - onset.shape[1]), value=torch.nan)
    if not drawn.any():
        return out, events
    seed, index, visit = population_of([name for name, own in zip(cohort.column("record"), drawn) if own])
    for number in visit.unique().tolist():
        for rows in (visit == number).nonzero()[:, 0].split(batch):
            how = dict(noise=False, first_beat=FIRST_BEAT, visit=number)
            fresh, place = simulate(seed, index[rows], HZ, LENGTH / HZ, **how), drawn.nonzero()[rows, 0]
            out[place] = fresh.signal
            events.time[place], events.kind[place] = simulated_events(fresh.truth)
    return out, events


def simulated_events(truth: dict[str, Tensor]) -> Events:
    """The events of simulated hearts, from their truth (see `truth.measure`): (B, MOST_EVENTS) each."""
    time = torch.cat([truth["onset_s"], truth["p_onset_s"]], 1).nan_to_num(torch.inf)
    ventricular, early = truth["beat_kind"] == VENTRICULAR, truth["p_kind"] == EARLY_P
    time, order = F.pad(time, (0, MOST_EVENTS), value=torch.inf).sort(1)
    kind = F.pad(torch.cat([QRS + ventricular.long(), early.long()], 1), (0, MOST_EVENTS)).gather(1, order)
    blocked = truth["findings"][:, CODES.index("3AVB")].bool()[:, None]
    blocked = blocked | F.pad((kind[:, 1:] < QRS) & time[:, 1:].isfinite(), (0, 1))  # a P wave follows a P wave
    kind = torch.where((kind == P) & blocked, ALONE, kind)
    return Events(time.nan_to_num(posinf=torch.nan)[:, :MOST_EVENTS], kind[:, :MOST_EVENTS])


@inference()
def read_requests(condition: TextEncoder, requests: list[Request], seed: int) -> Tensor:
    """Conditions of N requests in `WORDINGS` wordings each, read once, since that costs more than a step of a small
    network: (WORDINGS, N, D_c) float16."""
    rng = random.Random(seed)
    texts = [r.with_fewer_facts(rng).with_more(rng).text() for _ in range(WORDINGS) for r in requests]
    read = torch.cat([condition(texts[i : i + 256]) for i in range(0, len(texts), 256)])
    return read.half().unflatten(0, (WORDINGS, -1))


def drawn_words(read: Tensor, rows: Tensor, generator: torch.Generator, null: Tensor | None = None) -> Tensor:
    """Conditions (B, D_c) of these requests: a wording of each by chance, and noise; with `null`, for guidance, this in
    place of one in ten."""
    drawn = torch.randint(len(read), (len(rows),), generator=generator).to(read.device)
    words = read[drawn, rows].float()
    words = words + MISSED * torch.randn(words.shape, generator=generator).to(words)
    if null is None:
        return words
    return torch.where((torch.rand(len(rows), 1, generator=generator) < DROP_CONDITION).to(words.device), null, words)


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
    latents, plans = material  # (N, 24, 128), (N, PLAN, 128)
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
