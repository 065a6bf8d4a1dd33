"""When do beats come, and what does the average one look like? RR intervals and a template, from words.

DiffuSETS gives the rate as a number beside the words, and the denoiser has to count, to place each beat and to draw
it, all at once. Here a small network predicts the beats first (`RRModel`), another the representative beat from the
words: P wave, PR interval, QRS complex, ST segment and T wave, in eight leads (`AverageBeat`). It is laid down where
the beats fall. The denoiser is shown both and generates what they leave: beats unlike the others, atrial waves that
belong to no beat, and the little that differs each time. A latent place covers 78 ms, and the same QRS complex looks
different in it 20 ms later.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..beats import AFTER, BEFORE, MOST_BEATS, representative_beat
from ..leads import ROWS, from_independent
from ..training import inference
from .diffusion import Design, Flow, guided, level_waves, path_loss
from .vae import LATENT, PATCH, compand, expand, principal_axes

HZ = 102.4
LENGTH = LATENT[1] * PATCH  # 1024 samples
SECONDS = LENGTH / HZ  # 10
FIRST_BEAT = 0.30  # s: every ECG of the generator's training set begins alike, so that only the rhythm is left to say
FIRST_PEAK = FIRST_BEAT + 0.045  # s: its usual R peak
NEAR = (0.02, [0.02 * k for k in range(-5, 7)])  # s: width and places of bumps around each R peak: the QRS complex
FAR = (0.05, [-0.40, -0.35, -0.30, -0.25, -0.20, -0.15, 0.18, 0.24, 0.30, 0.36, 0.42, 0.50])  # P and T waves
SHOWN = len(NEAR[1]) + len(FAR[1]) + 6  # channels of `shown`
SHARES = (0.3, 3.5, 160)  # shortest and longest interval that an RR model can predict, over the mean; how many between
PLAN = SHOWN + LATENT[0]  # channels of a plan: where the beats are, and the latents of the sketch
SPAN = round((BEFORE + AFTER) * HZ)  # samples of a beat, from 0.40 s before its R peak to 0.64 s after
SHARE = 0.6  # of the way to the next R peak, after which a wave belongs to the next beat
FADE = 0.015  # s: how softly one beat gives way to the next
COMPONENTS = 64  # principal components of average beats
EVEN = 0.6  # how far large components are shrunk: 0 not at all, 1 until all are as large
STEPS = 20  # of the way from noise to a beat


def shown(times: Tensor) -> Tensor:
    """Beats (B, K) s, NaN after the last -> (B, SHOWN, 128): what the denoiser is shown of them, place by place.

    Bumps before and after each R peak; the phase from beat to beat, as cosines and sines; this interval and the last.
    """
    place = (torch.arange(LATENT[1], device=times.device) + 0.5) * PATCH / HZ  # (128,)
    times = F.pad(times, (0, 2), value=math.nan)
    away = (place - times[..., None, None]).nan_to_num(math.inf)  # (B, K, 1, 128), from each beat
    bumps = [
        torch.exp(-0.5 * ((away - torch.tensor(offsets, device=times.device)[:, None]) / width).square()).sum(1)
        for width, offsets in (NEAR, FAR)
    ]  # (B, bumps, 128)
    gap = times.diff(dim=1)  # (B, K - 1)
    usual = gap.nanmedian(1, keepdim=True).values.nan_to_num(0.8)
    count = (times[..., None] <= place).sum(1)  # (B, 128) beats until here
    last = (~times.isnan()).sum(1, keepdim=True)
    begun = times.gather(1, (count - 1).clamp(min=0)).where(count > 0, times[:, :1].nan_to_num(FIRST_BEAT) - usual)
    gaps = torch.cat([usual, gap, usual], 1).nan_to_num(0.0)  # before the first, between, after the last
    here = torch.where(count < last, gaps.gather(1, count.clamp(max=gaps.shape[1] - 1)), usual)
    before = gaps.gather(1, (count - 1).clamp(min=0))
    turn = 2 * torch.pi * (place - begun) / here.clamp(min=0.1)
    phase = [wave(k * turn) for k in (1, 2) for wave in (torch.cos, torch.sin)]
    return torch.cat([*bumps, torch.stack([*phase, (here - 0.8) / 0.4, (before - 0.8) / 0.4], 1)], 1)


class RRModel(nn.Module):
    """Words to beats: one RR interval after the other, each as a share of the mean one, from condition and past.

    As shares, bigeminy is short, long, short, long at any rate. The first R peak is where every training ECG has it.
    """

    def __init__(self, condition: int, width: int = 96):
        super().__init__()
        self.settings = {"condition": condition, "width": width}
        self.begin = nn.Sequential(nn.Linear(condition, 2 * width), nn.SiLU(), nn.Linear(2 * width, 2 * width))
        self.gap = nn.Embedding(SHARES[2] + 1, width)  # the last one: nothing yet
        self.cell = nn.GRU(2 * width, width, batch_first=True)
        self.head = nn.Linear(width, SHARES[2])

    def forward(self, gaps: Tensor, condition: Tensor) -> Tensor:
        """Gaps as places (B, K), conditions (B, D_c) -> (B, K, SHARES[2]) logits of each, given those before."""
        predicted, state = self.begin(condition).chunk(2, 1)  # (B, W) each
        past = torch.cat([torch.full_like(gaps[:, :1], SHARES[2]), gaps[:, :-1]], 1)
        x = torch.cat([self.gap(past), predicted[:, None].expand(-1, past.shape[1], -1)], 2)
        return self.head(self.cell(x, torch.tanh(state)[None].contiguous())[0])

    def loss(self, times: Tensor, condition: Tensor) -> Tensor:
        """Cross-entropy of the beats (B, K) s, NaN after the last, of ECGs with these conditions (B, D_c)."""
        gaps = times.diff(dim=1)  # (B, K - 1)
        places = _place((gaps / gaps.nanmean(1, keepdim=True)).nan_to_num(1.0))
        known = ~gaps.isnan().flatten()
        each = F.cross_entropy(self(places, condition).flatten(0, 1), places.flatten(), reduction="none")
        return (each * known).sum() / known.sum()

    @inference()
    def sample(self, condition: Tensor, rate: Tensor, generator: torch.Generator) -> Tensor:
        """Conditions (B, D_c) and the rates that they tell (B,) bpm -> beats (B, MOST_BEATS) s, NaN after 10 s.

        What is said is stretched until the mean rate of the beats within 10 s is the one told.
        """
        predicted, state = self.begin(condition).chunk(2, 1)
        state, gap = torch.tanh(state)[None].contiguous(), torch.full((len(condition),), SHARES[2])
        shares = []
        for _ in range(MOST_BEATS - 1):
            out, state = self.cell(torch.cat([self.gap(gap.to(condition.device)), predicted], 1)[:, None], state)
            gap = torch.multinomial(self.head(out[:, 0]).softmax(1).cpu(), 1, generator=generator)[:, 0]
            shares.append(_share(gap + torch.rand(len(gap), generator=generator)))
        usual = 60 / rate.cpu()[:, None]  # (B, 1) s
        since = F.pad(torch.stack(shares, 1) * usual, (1, 0)).cumsum(1)  # (B, K) s since the first beat
        for _ in range(3):  # a stretch can move a beat over the end
            held = (since < SECONDS - FIRST_PEAK).sum(1, keepdim=True).clamp(min=2) - 1
            since = since * usual * held / since.gather(1, held)
        return (FIRST_PEAK + since).masked_fill(FIRST_PEAK + since >= SECONDS, math.nan).to(condition.device)


def _place(share: Tensor) -> Tensor:
    """Intervals over their mean -> places among `SHARES`, evenly in their logarithm."""
    low, high, n = SHARES
    return (n * (share.clamp(low, high) / low).log() / math.log(high / low)).long().clamp(0, n - 1)


def _share(place: Tensor) -> Tensor:
    """Places among `SHARES`, with fractions -> intervals over their mean."""
    low, high, n = SHARES
    return low * torch.exp(place / n * math.log(high / low))


def average_beats(ecgs: Tensor) -> tuple[Tensor, Tensor]:
    """(N, 12, 1024) mV -> the average beat of each (N, 8, SPAN) in companded mV, without its neighbours' waves, and the
    R peaks (N, MOST_BEATS) s, NaN after the last."""
    parts = [representative_beat(part, HZ) for part in ecgs.split(256)]
    beats, times = torch.cat([beat[:, ROWS] for beat, _, _ in parts]), torch.cat([at for _, _, at in parts])
    since = torch.arange(SPAN, device=ecgs.device) / HZ - BEFORE  # (SPAN,) s from the R peak
    gap = times.diff(dim=1).nanmedian(1).values.nan_to_num(0.8)[:, None, None]
    mine = _fade(SHARE * gap + FADE - since) * _fade(since + (1 - SHARE) * gap + FADE)
    return compand(beats) * mine, times


def place_template(beat: Tensor, times: Tensor) -> Tensor:
    """Average beats (B, 8, SPAN) in companded mV and R peaks (B, K) s, NaN after the last -> sketches (B, 12, 1024) mV.

    A sample takes from the beat before it and from the beat after it; which of the two counts turns at `SHARE` of the
    way from one to the other.
    """
    t = (torch.arange(LENGTH, device=times.device) / HZ).expand(len(times), -1)  # (B, 1024) s
    times = F.pad(times, (0, 1), value=torch.nan)
    count = (times[..., None] <= t[:, None]).sum(1)  # (B, 1024) beats until here
    before = times.gather(1, (count - 1).clamp(min=0)).where(count > 0, torch.nan)
    after = times.gather(1, count)
    turn = _fade(SHARE * (after - before) - (t - before)).nan_to_num(0.0)  # 1: all from the beat before
    turn = turn.where(~after.isnan(), 1.0)[:, None]
    companded = turn * _at(beat, t - before) + (1 - turn) * _at(beat, t - after)
    return from_independent(expand(companded))


def _at(beat: Tensor, since: Tensor) -> Tensor:
    """Beats (B, 8, SPAN) at times from their R peak (B, L) s, 0 where there is none -> (B, 8, L)."""
    place = ((since + BEFORE) * HZ).nan_to_num(-1.0)
    inside = (place >= 0) & (place < SPAN - 1)
    first = place.clamp(0, SPAN - 2).long()
    share, index = (place - first)[:, None], first[:, None].expand(-1, beat.shape[1], -1)
    return (beat.gather(2, index) * (1 - share) + beat.gather(2, index + 1) * share) * inside[:, None]


def _fade(margin: Tensor) -> Tensor:
    return torch.sigmoid(margin / FADE)


class _Layer(nn.Module):
    """Residual layer, scaled and shifted by what steers it (FiLM): (B, W), (B, W) -> (B, W)."""

    def __init__(self, width: int):
        super().__init__()
        self.norm, self.film = nn.LayerNorm(width), nn.Linear(width, 2 * width)
        self.inward, self.outward = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        nn.init.zeros_(self.outward.weight)

    def forward(self, x: Tensor, steer: Tensor) -> Tensor:
        scale, shift = self.film(steer).chunk(2, 1)
        return x + self.outward(F.silu(self.inward(self.norm(x) * (1 + scale) + shift)))


class AverageBeat(nn.Module):
    """Words to the average beat, by flow matching in its principal components.

    Noisy components (B, COMPONENTS), level in [0, 1] (B,), condition (B, D_c) -> (B, COMPONENTS), their velocity.
    """

    def __init__(self, condition: int, width: int = 384, layers: int = 3):
        super().__init__()
        self.settings = {"condition": condition, "width": width, "layers": layers}
        self.register_buffer("mean", torch.zeros(len(ROWS) * SPAN))
        self.register_buffer("axes", torch.zeros(len(ROWS) * SPAN, COMPONENTS))
        self.register_buffer("scale", torch.ones(COMPONENTS))
        self.register_buffer("farthest", torch.tensor(torch.inf))  # of the beats it learned from, from their mean
        self.null = nn.Parameter(torch.zeros(condition))  # no condition: for guidance
        self.time = nn.Linear(64, width)
        self.words = nn.Sequential(nn.Linear(condition, width), nn.SiLU(), nn.Linear(width, width))
        self.inward = nn.Linear(COMPONENTS, width)
        self.layers = nn.ModuleList(_Layer(width) for _ in range(layers))
        self.outward = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, COMPONENTS))

    @torch.no_grad()
    def start(self, beats: Tensor) -> None:
        """Take the principal components of average beats (N, 8, SPAN) in companded mV."""
        mean, values, axes = principal_axes(beats.flatten(1), COMPONENTS)
        spread = values.clamp(min=1e-8).sqrt()
        self.mean.copy_(mean)
        self.axes.copy_(axes)
        self.scale.copy_(spread**EVEN * spread[-1] ** (1 - EVEN))
        self.farthest.copy_((beats.flatten(1) - mean).norm(dim=1).max())

    def components(self, beats: Tensor) -> Tensor:
        """Average beats (B, 8, SPAN) -> (B, COMPONENTS)."""
        return (beats.flatten(1) - self.mean) @ self.axes / self.scale

    def beats(self, components: Tensor) -> Tensor:
        """(B, COMPONENTS) -> average beats (B, 8, SPAN) in companded mV."""
        return ((components * self.scale) @ self.axes.T + self.mean).unflatten(1, (len(ROWS), SPAN))

    def forward(self, x: Tensor, level: Tensor, condition: Tensor) -> Tensor:
        steer = F.silu(self.time(level_waves(level)) + self.words(condition))  # (B, W)
        h = self.inward(x)
        for layer in self.layers:
            h = layer(h, steer)
        return self.outward(h)

    def loss(self, components: Tensor, condition: Tensor, generator: torch.Generator) -> Tensor:
        """Flow matching of components (B, COMPONENTS) under conditions (B, D_c), see `diffusion.Flow`."""
        return path_loss(Flow(Design()), lambda x, level: self(x, level, condition), components, generator)

    @torch.no_grad()
    def sample(self, condition: Tensor, guidance: float, generator: torch.Generator) -> Tensor:
        """Conditions (B, D_c) -> average beats (B, 8, SPAN) in companded mV, guided as `Generator.sample` is; none is
        farther from the mean than the farthest it learned from, where conditions unlike all others can lead."""
        x = torch.randn(len(condition), COMPONENTS, generator=generator).to(condition.device)
        x = Flow(Design()).sample_path(guided(self, condition, guidance), x, STEPS, generator)
        return self.beats(x * (self.farthest / (x * self.scale).norm(dim=1, keepdim=True)).clamp(max=1))
