"""The pacemaker: where the beats of a wanted ECG fall, and what the denoiser is shown of them.

DiffuSETS gives the rate as a number beside the words, and the denoiser has to count, to place each beat and to draw it,
all at once. Here a small network says the beats first (`Rhythm`), and the denoiser is shown them: a latent place
covers 78 ms, and the same QRS complex looks different in it 20 ms later. What a beat looks like: see `sketch`.
"""

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import nn

from ..ecg.beats import MOST_BEATS
from .vae import LATENT, PATCH

HZ = 102.4
LENGTH = LATENT[1] * PATCH  # 1024 samples
SECONDS = LENGTH / HZ  # 10
FIRST_BEAT = 0.30  # s: every ECG of the generator's training set begins alike, so that only the rhythm is left to say
FIRST_PEAK = FIRST_BEAT + 0.045  # s: its usual R peak
WAVES = (1.0, 2.0, 4.0)  # how finely a vector must tell a number, in cycles over 200
RATES = (20, 260)  # bpm that can be told
NEAR = (0.02, [0.02 * k for k in range(-5, 7)])  # s: width and places of bumps around each R peak: the QRS complex
FAR = (0.05, [-0.40, -0.35, -0.30, -0.25, -0.20, -0.15, 0.18, 0.24, 0.30, 0.36, 0.42, 0.50])  # P and T waves
SHOWN = len(NEAR[1]) + len(FAR[1]) + 6  # channels of `shown`
SHARES = (0.3, 3.5, 160)  # shortest and longest interval that a rhythm can say, over the mean, and how many between


def waves(share: torch.Tensor) -> torch.Tensor:
    """(B,) numbers over 200 -> (B, 1 + 2 len(WAVES)): the number as it is, its sines and its cosines."""
    angle = 2 * torch.pi * share[:, None] * torch.tensor(WAVES, device=share.device)
    return torch.cat([share[:, None], angle.sin(), angle.cos()], 1)


def nearest_rate(told: torch.Tensor) -> torch.Tensor:
    """What a condition tells of the rate (B, 1 + 2 len(WAVES)), see `waves` -> (B,) the nearest of `RATES` in bpm."""
    return torch.cdist(told, _rates(told.device)).argmin(1) + float(RATES[0])


@lru_cache
def _rates(device: torch.device) -> torch.Tensor:
    """The `waves` of each rate: (R, 1 + 2 len(WAVES))."""
    return waves(torch.arange(*RATES, device=device).float() / 200)


def shown(times: torch.Tensor) -> torch.Tensor:
    """Beats (B, K) s, NaN after the last -> (B, SHOWN, 128): what the denoiser is shown of them, place by place.

    Bumps before and after each R peak; the phase from beat to beat, as cosines and sines; this interval and the last.
    """
    place = (torch.arange(LATENT[1], device=times.device) + 0.5) * PATCH / HZ  # (128,)
    times = F.pad(times, (0, 2), value=math.nan)
    away = (place - times[..., None]).nan_to_num(math.inf)  # (B, K, 128), from each beat
    out = []
    for width, offsets in (NEAR, FAR):
        bump = torch.tensor(offsets, device=times.device)[:, None]
        out.append(torch.exp(-0.5 * ((away[:, :, None] - bump) / width).square()).sum(1))  # (B, bumps, 128)
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
    out.append(torch.stack([*phase, (here - 0.8) / 0.4, (before - 0.8) / 0.4], 1))
    return torch.cat(out, 1)


class Rhythm(nn.Module):
    """Words to beats: one RR interval after the other, each as a share of the mean one, from condition and past.

    As shares, bigeminy is short, long, short, long at any rate. The first R peak is where every training ECG has it.
    """

    def __init__(self, condition: int, width: int = 96):
        super().__init__()
        self.settings = {"condition": condition, "width": width}
        self.begin = nn.Sequential(nn.Linear(condition, 2 * width), nn.SiLU(), nn.Linear(2 * width, 2 * width))
        self.gap = nn.Embedding(SHARES[2] + 1, width)  # the last one: nothing yet
        self.cell = nn.GRU(2 * width, width, batch_first=True)
        self.say = nn.Linear(width, SHARES[2])

    def forward(self, gaps: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """Gaps as places (B, K), conditions (B, D_c) -> (B, K, SHARES[2]) logits of each, given those before."""
        told, state = self.begin(condition).chunk(2, 1)  # (B, W) each
        past = torch.cat([torch.full_like(gaps[:, :1], SHARES[2]), gaps[:, :-1]], 1)
        x = torch.cat([self.gap(past), told[:, None].expand(-1, past.shape[1], -1)], 2)
        return self.say(self.cell(x, torch.tanh(state)[None].contiguous())[0])

    def loss(self, times: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """Cross-entropy of the beats (B, K) s, NaN after the last, of ECGs with these conditions (B, D_c)."""
        gaps = times.diff(dim=1)  # (B, K - 1)
        places = _place((gaps / gaps.nanmean(1, keepdim=True)).nan_to_num(1.0))
        return F.cross_entropy(self(places, condition)[~gaps.isnan()], places[~gaps.isnan()])

    @torch.no_grad()
    def sample(self, condition: torch.Tensor, rate: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Conditions (B, D_c) and the rates that they tell (B,) bpm -> beats (B, MOST_BEATS) s, NaN after 10 s.

        What is said is stretched until the mean rate of the beats within 10 s is the one told.
        """
        told, state = self.begin(condition).chunk(2, 1)
        state, gap = torch.tanh(state)[None].contiguous(), condition.new_full((len(condition),), SHARES[2]).long()
        shares = []
        for _ in range(MOST_BEATS - 1):
            out, state = self.cell(torch.cat([self.gap(gap), told], 1)[:, None], state)
            chance = self.say(out[:, 0]).softmax(1).cpu()
            gap = torch.multinomial(chance, 1, generator=generator)[:, 0]
            shares.append(_share(gap + torch.rand(len(gap), generator=generator)))
            gap = gap.to(condition.device)
        usual = 60 / rate.cpu()[:, None]  # (B, 1) s
        since = F.pad(torch.stack(shares, 1) * usual, (1, 0)).cumsum(1)  # (B, K) s since the first beat
        for _ in range(3):  # a stretch can move a beat over the end
            held = (since < SECONDS - FIRST_PEAK).sum(1, keepdim=True).clamp(min=2) - 1
            since = since * usual * held / since.gather(1, held)
        return (FIRST_PEAK + since).masked_fill(FIRST_PEAK + since >= SECONDS, math.nan).to(condition.device)


def _place(share: torch.Tensor) -> torch.Tensor:
    """Intervals over their mean -> places among `SHARES`, evenly in their logarithm."""
    low, high, n = SHARES
    return (n * (share.clamp(low, high) / low).log() / math.log(high / low)).long().clamp(0, n - 1)


def _share(place: torch.Tensor) -> torch.Tensor:
    """Places among `SHARES`, with fractions -> intervals over their mean."""
    low, high, n = SHARES
    return low * torch.exp(place / n * math.log(high / low))
