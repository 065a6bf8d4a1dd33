"""From a clean latent to noise and back: how a path is mixed, what is to be said on it, and how it is walked back.

All paths share one interface. `level` is in [0, 1], 0 clean and 1 noise; `say(x, level)` is the denoiser's word at
latents x (B, 8, 128) and one level for all; schedulers are diffusers'.
"""

import math
from collections.abc import Callable

import torch
from diffusers import DDPMScheduler, DPMSolverMultistepScheduler, FlowMatchEulerDiscreteScheduler

from .design import Design

LEVELS = 1000
BETAS = (0.00085, 0.012)  # linear, as published
Say = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class Flow:
    """Flow matching (Lipman et al., arXiv 2210.02747): x_s = (1 - s) x_0 + s noise; the net says noise - x_0."""

    def __init__(self, all_levels: bool = True):
        self.all_levels = all_levels

    def levels(self, n: int, generator: torch.Generator) -> torch.Tensor:
        """(n,) levels to train, most of them in the middle, where there is most to learn."""
        level = torch.sigmoid(torch.randn(n, generator=generator) * 1.2 + 0.3)
        return level if self.all_levels else (1 + level * (LEVELS - 3)) / (LEVELS - 1)

    def mix(self, clean: torch.Tensor, noise: torch.Tensor, level: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Clean and noise (B, ...) at levels (B,) -> the point on the path and what the net should say there."""
        s = level.reshape(-1, *[1] * (clean.dim() - 1))
        return (1 - s) * clean + s * noise, noise - clean

    def walk(self, say: Say, x: torch.Tensor, steps: int, generator: torch.Generator) -> torch.Tensor:
        """Noise (B, 8, 128) -> latents, in Euler steps."""
        scheduler = FlowMatchEulerDiscreteScheduler(num_train_timesteps=LEVELS)
        scheduler.set_timesteps(steps)
        for t, level in zip(scheduler.timesteps, scheduler.sigmas):
            x = scheduler.step(say(x, level), t, x).prev_sample
        return x


class Diffusion:
    """DDPM (Ho et al., arXiv 2006.11239) with 1000 levels and linear betas; the net says the noise or the velocity.

    Args:
        prediction: `epsilon`, or `v` (Salimans and Ho, arXiv 2202.00512).
        all_levels: False leaves out the first and the last level in training.
        ancestral: walk back by 1000 random steps, whatever is asked; else by DPM-Solver++ (arXiv 2211.01095).
        clip: keep guesses of the clean latent within -1 to 1, the default of diffusers that the original left on.
    """

    def __init__(
        self, prediction: str = "epsilon", all_levels: bool = True, ancestral: bool = False, clip: bool = False
    ):
        self.all_levels, self.ancestral = all_levels, ancestral
        self.how = {
            "num_train_timesteps": LEVELS,
            "beta_start": BETAS[0],
            "beta_end": BETAS[1],
            "beta_schedule": "linear",
            "prediction_type": {"epsilon": "epsilon", "v": "v_prediction"}[prediction],
        }
        self.ddpm = DDPMScheduler(**self.how, clip_sample=clip)

    def levels(self, n: int, generator: torch.Generator) -> torch.Tensor:
        """(n,) levels to train: the 1000 of DDPM over 1000."""
        low, high = (0, LEVELS) if self.all_levels else (1, LEVELS - 1)
        return torch.randint(low, high, (n,), generator=generator) / LEVELS

    def mix(self, clean: torch.Tensor, noise: torch.Tensor, level: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """As `Flow.mix`."""
        t = (level * LEVELS).round().long()
        noisy = self.ddpm.add_noise(clean, noise, t)
        epsilon = self.how["prediction_type"] == "epsilon"
        return noisy, noise if epsilon else self.ddpm.get_velocity(clean, noise, t)

    def walk(self, say: Say, x: torch.Tensor, steps: int, generator: torch.Generator) -> torch.Tensor:
        """As `Flow.walk`; the generator draws the noise of ancestral steps."""
        scheduler = self.ddpm if self.ancestral else DPMSolverMultistepScheduler(**self.how)
        scheduler.set_timesteps(LEVELS if self.ancestral else steps)
        noisy = {"generator": generator} if self.ancestral else {}
        for t in scheduler.timesteps:
            x = scheduler.step(say(x, t / LEVELS), t, x, **noisy).prev_sample
        return x


def level_waves(level: torch.Tensor, width: int) -> torch.Tensor:
    """Levels (B,) -> (B, width) sines and cosines of their thousandths (Vaswani et al., section 3.5)."""
    frequency = torch.exp(-math.log(10000) * torch.arange(width // 2, device=level.device) / (width // 2))
    angle = 1000 * level[:, None].float() * frequency
    return torch.cat([angle.sin(), angle.cos()], 1)


def path_of(design: Design) -> Flow | Diffusion:
    """The path that a design asks for."""
    if design.path == "flow":
        return Flow(design.all_levels)
    return Diffusion(design.path, design.all_levels, design.ancestral, clip=not design.unit_latents)
