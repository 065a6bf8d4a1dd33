"""The sketch: the usual beat of a wanted ECG, laid down wherever the rhythm says that a beat falls.

What a patient's ECG looks like is said by a single beat: P wave, PR interval, QRS complex, ST segment and T wave, in
eight leads. A small network says that beat from the words (`UsualBeat`); the denoiser is shown the sketch and draws
what it leaves: beats unlike the others, atrial waves that belong to no beat, and the little that differs each time.
"""

import torch
import torch.nn.functional as F
from torch import nn

from ..ecg import from_independent
from ..ecg.beats import AFTER, BEFORE, usual_beat
from .pacemaker import HZ, LENGTH, SHOWN
from .paths import Flow, level_waves
from .vae import LATENT, ROWS, press, release

PLAN = SHOWN + LATENT[0]  # channels of a plan: where the beats are, and the latents of the sketch
SPAN = round((BEFORE + AFTER) * HZ)  # samples of a beat, from 0.40 s before its R peak to 0.64 s after
SHARE = 0.6  # of the way to the next R peak, after which a wave belongs to the next beat
FADE = 0.015  # s: how softly one beat gives way to the next
COMPONENTS = 64  # principal components of usual beats
EVEN = 0.6  # how far large components are shrunk: 0 not at all, 1 until all are as large
STEPS = 20  # of the way from noise to a beat


def usual_beats(ecgs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(N, 12, 1024) mV -> the usual beat of each (N, 8, SPAN) in pressed mV, without its neighbours' waves, and the R
    peaks (N, MOST_BEATS) s, NaN after the last."""
    beats, times = [], []
    since = torch.arange(SPAN, device=ecgs.device) / HZ - BEFORE  # (SPAN,) s from the R peak
    for part in ecgs.split(256):
        beat, _, at = usual_beat(part, HZ)
        gap = at.diff(dim=1).nanmedian(1).values.nan_to_num(0.8)[:, None, None]
        mine = _fade(SHARE * gap + FADE - since) * _fade(since + (1 - SHARE) * gap + FADE)
        beats.append(press(beat[:, ROWS]) * mine)
        times.append(at)
    return torch.cat(beats), torch.cat(times)


def laid_out(beat: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
    """Usual beats (B, 8, SPAN) in pressed mV and R peaks (B, K) s, NaN after the last -> sketches (B, 12, 1024) mV.

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
    pressed = turn * _at(beat, t - before) + (1 - turn) * _at(beat, t - after)
    return from_independent(release(pressed))


def _at(beat: torch.Tensor, since: torch.Tensor) -> torch.Tensor:
    """Beats (B, 8, SPAN) at times from their R peak (B, L) s, 0 where there is none -> (B, 8, L)."""
    place = ((since + BEFORE) * HZ).nan_to_num(-1.0)
    inside = (place >= 0) & (place < SPAN - 1)
    first = place.clamp(0, SPAN - 2).long()
    share, index = (place - first)[:, None], first[:, None].expand(-1, beat.shape[1], -1)
    return (beat.gather(2, index) * (1 - share) + beat.gather(2, index + 1) * share) * inside[:, None]


def _fade(margin: torch.Tensor) -> torch.Tensor:
    return torch.sigmoid(margin / FADE)


class _Layer(nn.Module):
    """Residual layer, scaled and shifted by what steers it (FiLM): (B, W), (B, W) -> (B, W)."""

    def __init__(self, width: int):
        super().__init__()
        self.norm, self.film = nn.LayerNorm(width), nn.Linear(width, 2 * width)
        self.inward, self.outward = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        nn.init.zeros_(self.outward.weight)

    def forward(self, x: torch.Tensor, steer: torch.Tensor) -> torch.Tensor:
        scale, shift = self.film(steer).chunk(2, 1)
        return x + self.outward(F.silu(self.inward(self.norm(x) * (1 + scale) + shift)))


class UsualBeat(nn.Module):
    """Words to the usual beat, by flow matching in its principal components.

    Noisy components (B, COMPONENTS), level in [0, 1] (B,), condition (B, D_c) -> (B, COMPONENTS), their velocity.
    """

    def __init__(self, condition: int, width: int = 384, layers: int = 3):
        super().__init__()
        self.settings = {"condition": condition, "width": width, "layers": layers}
        self.register_buffer("mean", torch.zeros(len(ROWS) * SPAN))
        self.register_buffer("axes", torch.zeros(len(ROWS) * SPAN, COMPONENTS))
        self.register_buffer("scale", torch.ones(COMPONENTS))
        self.null = nn.Parameter(torch.zeros(condition))  # no condition: for guidance
        self.time = nn.Linear(64, width)
        self.words = nn.Sequential(nn.Linear(condition, width), nn.SiLU(), nn.Linear(width, width))
        self.inward = nn.Linear(COMPONENTS, width)
        self.layers = nn.ModuleList(_Layer(width) for _ in range(layers))
        self.outward = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, COMPONENTS))

    @torch.no_grad()
    def start(self, beats: torch.Tensor) -> None:
        """Take the principal components of usual beats (N, 8, SPAN) in pressed mV."""
        flat = beats.flatten(1)
        self.mean.copy_(flat.mean(0))
        values, axes = torch.linalg.eigh((flat - self.mean).T @ (flat - self.mean) / len(flat))  # ascending
        spread = values[-COMPONENTS:].clamp(min=1e-8).sqrt()
        self.axes.copy_(axes[:, -COMPONENTS:])
        self.scale.copy_(spread**EVEN * spread[-1] ** (1 - EVEN))

    def components(self, beats: torch.Tensor) -> torch.Tensor:
        """Usual beats (B, 8, SPAN) -> (B, COMPONENTS)."""
        return (beats.flatten(1) - self.mean) @ self.axes / self.scale

    def beats(self, components: torch.Tensor) -> torch.Tensor:
        """(B, COMPONENTS) -> usual beats (B, 8, SPAN) in pressed mV."""
        return ((components * self.scale) @ self.axes.T + self.mean).unflatten(1, (len(ROWS), SPAN))

    def forward(self, x: torch.Tensor, level: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        steer = F.silu(self.time(level_waves(level, 64)) + self.words(condition))  # (B, W)
        h = self.inward(x)
        for layer in self.layers:
            h = layer(h, steer)
        return self.outward(h)

    def loss(self, components: torch.Tensor, condition: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Flow matching of components (B, COMPONENTS) under conditions (B, D_c), see `paths.Flow`."""
        flow, device = Flow(), components.device
        level = flow.levels(len(components), generator).to(device)
        noise = torch.randn(components.shape, generator=generator).to(device)
        noisy, target = flow.mix(components, noise, level)
        return F.mse_loss(self(noisy, level, condition), target)

    @torch.no_grad()
    def sample(self, condition: torch.Tensor, guidance: float, generator: torch.Generator) -> torch.Tensor:
        """Conditions (B, D_c) -> usual beats (B, 8, SPAN) in pressed mV, guided as `Generator.sample` is."""
        x = torch.randn(len(condition), COMPONENTS, generator=generator).to(condition.device)
        both = torch.cat([condition, self.null.expand_as(condition)])  # (2B, D_c)

        def say(x: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
            with_words, without = self(torch.cat([x, x]), level.to(x.device).expand(len(both)), both).chunk(2)
            return without + guidance * (with_words - without)

        return self.beats(Flow().walk(say, x, STEPS, generator))
