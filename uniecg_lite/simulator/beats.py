"""When does each beat begin, and of what kind is it?"""

import torch

from . import random
from .hearts import Hearts

SINUS, VENTRICULAR, ATRIAL = 0, 1, 2
FASTEST_BPM = 200.0


def schedule(hearts: Hearts, seconds: float) -> tuple[torch.Tensor, torch.Tensor]:
    """QRS onsets in s and beat kinds, both (B, K); onsets start before 0 and run past the end.

    Sinus rhythm breathes (respiratory sinus arrhythmia) and jitters; atrial fibrillation draws each RR on its own;
    a ventricular beat comes early and is followed by a full pause, an atrial one resets the rhythm.
    """
    k = int((seconds + 4) * FASTEST_BPM / 60) + 2
    u = random.uniform(hearts.seed, hearts.index, stream=3, n=12)  # (B, 12)
    n = random.normal(hearts.seed, hearts.index, stream=4, n=k)  # (B, K)
    rr = hearts.rr[:, None].double()
    breath = torch.sin(2 * torch.pi * (u[:, :1] + (0.18 + 0.12 * u[:, 1:2]) * rr * torch.arange(k)))
    sinus = rr * (1 + 0.045 * u[:, 2:3] ** 2 * breath + 0.008 * n)
    irregular = rr * torch.exp((0.15 + 0.13 * u[:, 3:4]) * n)
    gaps = torch.where(hearts.afib[:, None], irregular, sinus).clamp(min=60 / FASTEST_BPM)  # gap k ends at beat k + 1

    every = (3 + (u[:, 4:5] * 6).floor()).clamp(max=1 + (0.6 * seconds / rr).floor())  # one in 3 to 8 beats is ectopic
    beat = torch.arange(k)[None]
    ectopic = ((beat % every) == (u[:, 5:6] * every).floor()) & (beat > 0)  # (B, K)
    ventricular, atrial = ectopic & hearts.pvc[:, None], ectopic & hearts.pac[:, None] & ~hearts.pvc[:, None]
    early = torch.maximum(0.54 + 0.14 * u[:, 6:7], (hearts.qt[:, None] + 0.05) / rr).clamp(max=0.82)
    before = torch.where(ventricular | atrial, early, 1.0).roll(-1, dims=1)  # the gap that ends at an ectopic beat
    after = torch.where(ventricular, 2 - early, torch.where(atrial, 1.08, 1.0))
    gaps = gaps * before * after
    onset = torch.cumsum(gaps, 1) - gaps - rr * (1.5 + u[:, 7:8])  # (B, K)
    kind = ventricular * VENTRICULAR + atrial * ATRIAL
    return onset.float(), kind
