"""The pacemaker: from what a condition tells of the rate to waves that rise with every beat."""

import math
from functools import lru_cache

import torch

from .vae import LATENT, PATCH

HZ = 102.4
FIRST_BEAT = 0.30  # s: every ECG of the generator's training set begins alike, so that only the rhythm is left to say
WAVES = (1.0, 2.0, 4.0)  # how finely a vector must tell a number, in cycles over 200
RATES = (20, 260)  # bpm that can be told
HARMONICS = 3
DOUBT = 2e-3  # squared distance at which another rate is e times less likely


def waves(share: torch.Tensor) -> torch.Tensor:
    """(B,) numbers over 200 -> (B, 1 + 2 len(WAVES)): the number as it is, its sines and its cosines."""
    angle = 2 * torch.pi * share[:, None] * torch.tensor(WAVES, device=share.device)
    return torch.cat([share[:, None], angle.sin(), angle.cos()], 1)


def likely_rates(told: torch.Tensor) -> torch.Tensor:
    """What a condition tells of the rate (B, 1 + 2 len(WAVES)), see `waves` -> (B, R) how likely each of `RATES` is."""
    return (-torch.cdist(told, _rates(told.device)[0]).square() / DOUBT).softmax(1)


def beat_train(told: torch.Tensor) -> torch.Tensor:
    """The same -> (B, 2 HARMONICS, 128): cosines and sines of the beat's phase along the latents' places.

    DiffuSETS gives the rate as a number beside the words, and the denoiser has to learn to count. Here it is shown
    where regular beats fall: the mean over all rates, by their likelihood.
    """
    return (likely_rates(told) @ _rates(told.device)[1]).unflatten(1, (-1, LATENT[1]))


@lru_cache
def _rates(device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Of each rate: its `waves` (R, 1 + 2 len(WAVES)), and its beat train (R, 2 HARMONICS * 128)."""
    rate = torch.arange(*RATES, device=device).float()
    seconds = (torch.arange(LATENT[1], device=device) + 0.5) * PATCH / HZ - FIRST_BEAT
    phase = 2 * math.pi * rate[:, None] / 60 * seconds  # (R, 128)
    train = [wave(k * phase) for k in range(1, HARMONICS + 1) for wave in (torch.cos, torch.sin)]
    return waves(rate / 200), torch.stack(train, 1).flatten(1)
