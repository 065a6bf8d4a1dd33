"""How does noise become a latent? Flow matching and DDPM on schedulers of diffusers, and the switches of a design.

All paths share one interface. `level` is in [0, 1], 0 clean and 1 noise; `predict(x, level)` is what the denoiser
predicts at latents x (B, 24, 128) and one level for all.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler, DPMSolverMultistepScheduler, FlowMatchEulerDiscreteScheduler
from diffusers.models.embeddings import get_timestep_embedding
from torch import Tensor, nn

from ..errors import BadRequest, require
from ..findings import table
from ..training import inference

LEVELS = 1000
BETAS = (0.00085, 0.012)  # linear, as published
Predict = Callable[[Tensor, Tensor], Tensor]
SHRUNK = 0.171  # spread of the published latents after their constant 0.18215
LEFT = 0.14  # spread of what a sketch leaves of unit latents
SWITCHES = table("designs")  # what the switches of a design may be, and which ones `FAULTS` and others change


@dataclass(frozen=True)
class Design:
    """How a generator is built, trained and sampled; the defaults are ours, `PUBLISHED` is DiffuSETS at our size.

    Raises:
        BadRequest: a choice that does not exist, or two that exclude each other.
    """

    family: str = "unet"  # or a diffusion transformer on patched latents
    words: str = "film"  # `tiled`: attention to copies of one vector; `tokens`: attention to a vector per word
    numbers: str = "words"  # rate, age and sex in the text's vector; `scaled` or `raw`: three numbers beside it
    paced: bool = True  # a rhythm says where the beats fall and the denoiser is shown them; False: zeros instead
    sketched: bool = True  # templates are said and laid down first, the denoiser draws the rest; False: draws all
    path: str = "flow"  # flow matching; `epsilon`, `v`: DDPM with 1000 levels, saying the noise or the velocity
    unit_latents: bool = True  # False: spread `SHRUNK`
    free_leads: bool = False  # True: the VAE speaks in twelve leads, and nothing ties them
    guided: bool = True  # one condition in ten is dropped in training, and sampling is guided
    averaged: bool = True  # the moving average of the weights is kept
    all_levels: bool = True  # False: the first and the last of 1000 levels are never trained
    ancestral: bool = False  # True: 1000 random steps of DDPM; False: a few steps of a solver

    def __post_init__(self):
        for name, known in SWITCHES["choices"].items():
            one = getattr(self, name)
            require(one in known, f"There is no {name} '{one}': choose one of {', '.join(known)}.", BadRequest)
        film, tokens, apart = self.words == "film", self.words == "tokens", self.numbers != "words"
        flow, patches, sketched = self.path == "flow", self.family == "transformer", self.sketched and not self.paced
        vague = self.paced and (tokens or apart)
        excluded = {
            "Ancestral steps need the levels of DDPM: set path to 'epsilon' or 'v' as well.": self.ancestral and flow,
            "Attention to words needs the numbers among them: set numbers to 'words'.": tokens and apart,
            "The diffusion transformer takes one vector: set words to 'film'.": patches and not film,
            "The rhythm needs one vector that tells the rate: set paced to False as well.": vague,
            "A sketch lays its waves where the events are: set sketched to False as well.": sketched,
        }
        for sentence in filter(excluded.get, excluded):
            raise BadRequest(sentence)

    @property
    def spread(self) -> float:
        """What latents, less a sketch's, are multiplied by, so that the denoiser sees unit spread, or `SHRUNK`."""
        return (1.0 if self.unit_latents else SHRUNK) / (LEFT if self.sketched else 1.0)


# `ancestral` is to be compared with path="epsilon", `raw` with `unpaced`, the others with our defaults
FAULTS = SWITCHES["faults"]


def with_faults(*names: str) -> Design:
    """Our design with these `FAULTS`.

    Raises:
        BadRequest: no such fault.
    """
    for name in set(names) - set(FAULTS):
        raise BadRequest(f"There is no fault '{name}': choose one of {', '.join(FAULTS)}.")
    return Design(**{switch: value for name in names for switch, value in FAULTS[name].items()})


PUBLISHED = with_faults(*FAULTS)


@dataclass
class Flow:
    """Flow matching (Lipman et al., arXiv 2210.02747): x_s = (1 - s) x_0 + s noise; the net says noise - x_0."""

    design: Design

    def levels(self, n: int, generator: torch.Generator) -> Tensor:
        """(n,) levels to train, most of them in the middle, where there is most to learn."""
        level = torch.sigmoid(torch.randn(n, generator=generator) * 1.2 + 0.3)
        return level if self.design.all_levels else (1 + level * (LEVELS - 3)) / (LEVELS - 1)

    def mix(self, clean: Tensor, noise: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
        """Clean and noise (B, ...) at levels (B,) -> the point on the path and what the net should say there."""
        s = level.reshape(-1, *[1] * (clean.dim() - 1))
        return (1 - s) * clean + s * noise, noise - clean

    def sample_path(self, predict: Predict, x: Tensor, steps: int, generator: torch.Generator) -> Tensor:
        """Noise (B, 24, 128) -> latents, in Euler steps."""
        scheduler = FlowMatchEulerDiscreteScheduler(num_train_timesteps=LEVELS)
        scheduler.set_timesteps(steps)
        for t, level in zip(scheduler.timesteps, scheduler.sigmas):
            x = scheduler.step(predict(x, level), t, x).prev_sample
        return x


class Diffusion:
    """DDPM (Ho et al., arXiv 2006.11239) with 1000 levels and linear betas; the net says the noise or the velocity
    (Salimans and Ho, arXiv 2202.00512).

    An ancestral design walks back by 1000 random steps, whatever is asked; else by DPM-Solver++ (arXiv 2211.01095).
    Guesses of a clean latent that is not of unit scale are kept within -1 to 1, the default of diffusers that the
    original left on.
    """

    def __init__(self, design: Design):
        self.design, kind = design, {"epsilon": "epsilon", "v": "v_prediction"}[design.path]
        self.how = dict(num_train_timesteps=LEVELS, beta_start=BETAS[0], beta_end=BETAS[1], prediction_type=kind)
        self.ddpm = DDPMScheduler(**self.how, clip_sample=not design.unit_latents)

    def levels(self, n: int, generator: torch.Generator) -> Tensor:
        """(n,) levels to train: the 1000 of DDPM over 1000."""
        low, high = (0, LEVELS) if self.design.all_levels else (1, LEVELS - 1)
        return torch.randint(low, high, (n,), generator=generator) / LEVELS

    def mix(self, clean: Tensor, noise: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
        """As `Flow.mix`."""
        t = (level * LEVELS).round().long()
        noisy = self.ddpm.add_noise(clean, noise, t)
        return noisy, noise if self.design.path == "epsilon" else self.ddpm.get_velocity(clean, noise, t)

    def sample_path(self, predict: Predict, x: Tensor, steps: int, generator: torch.Generator) -> Tensor:
        """As `Flow.sample_path`; the generator draws the noise of ancestral steps."""
        ancestral = self.design.ancestral
        scheduler = self.ddpm if ancestral else DPMSolverMultistepScheduler(**self.how)
        scheduler.set_timesteps(LEVELS if ancestral else steps)
        for t in scheduler.timesteps:
            x = scheduler.step(predict(x, t / LEVELS), t, x, generator=generator).prev_sample
        return x


def level_waves(level: Tensor) -> Tensor:
    """Levels (B,) -> (B, 64) sines and cosines of their thousandths (Vaswani et al., section 3.5)."""
    return get_timestep_embedding(1000 * level.float(), 64, downscale_freq_shift=0)


def path_of(design: Design) -> Flow | Diffusion:
    """The path that a design asks for."""
    return Flow(design) if design.path == "flow" else Diffusion(design)


def path_loss(path: Flow | Diffusion, predict: Predict, clean: Tensor, generator: torch.Generator) -> Tensor:
    """Mean squared error of what is predicted on the path at random levels (B,), of clean points (B, ...)."""
    level = path.levels(len(clean), generator).to(clean.device)
    noise = torch.randn(clean.shape, generator=generator).to(clean.device)
    noisy, target = path.mix(clean, noise, level)
    return F.mse_loss(predict(noisy, level).float(), target)


def guided(net: nn.Module, condition: Tensor, guidance: float | None, *plan: Tensor) -> Predict:
    """What a net predicts on the way from noise, by two calls in one batch: v = v_0 + g (v_c - v_0).

    Guidance g pushes from no condition, `net.null`, towards the condition (Ho and Salimans, 2022); None: the condition
    alone, one call. Both calls see the plan: guidance is about what the words say beyond it.
    """

    @inference()
    def alone(x: Tensor, level: Tensor) -> Tensor:
        return net(x, level.expand(len(x)).to(x.device), condition, *plan).float()  # steps are small

    def against_none(x: Tensor, level: Tensor) -> Tensor:
        with_words, without = alone(torch.cat([x, x]), level).chunk(2)
        return without + guidance * (with_words - without)

    if guidance is None:
        return alone
    condition, plan = torch.cat([condition, net.null.expand_as(condition)]), [torch.cat([p, p]) for p in plan]
    return against_none
