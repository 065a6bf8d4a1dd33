"""Generators to compare with: a conditional VAE, and the nearest training record."""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from ..config import Training
from ..ecg import from_independent
from ..training import fit, rows_of
from .sketch import PLAN
from .vae import LATENT, VAE, press, release

TOLD = 8  # rows of a latent's length that the condition is spread over
KL_WEIGHT = 0.005  # so large that latents drawn from the prior are like those of ECGs


class ConditionalVAE(nn.Module):
    """A VAE whose decoder is told condition and plan, and whose prior is trained to be sampled from: the generator
    without diffusion. ECGs (B, 12, 1024) mV, conditions (B, D_c) and plans (B, PLAN, 128) in, ECGs out.
    """

    def __init__(self, width: int, condition: int):
        super().__init__()
        self.vae = VAE(width)
        self.told = nn.Linear(condition, TOLD * LATENT[1])
        first = self.vae.decoder[0]
        self.vae.decoder[0] = nn.Conv1d(LATENT[0] + TOLD + PLAN, first.out_channels, 3, padding=1)

    def decode(self, latent: torch.Tensor, condition: torch.Tensor, plan: torch.Tensor) -> torch.Tensor:
        """Latents (B, 8, 128), conditions and plans -> the eight independent leads (B, 8, 1024) in pressed mV."""
        told = self.told(condition).unflatten(1, (TOLD, LATENT[1]))  # (B, 8, 128)
        return self.vae.decoder(torch.cat([latent, told, plan], 1)) + self.vae.straight_out(latent)

    def loss(self, signal: torch.Tensor, condition: torch.Tensor, plan: torch.Tensor) -> dict[str, torch.Tensor]:
        """The error of `VAE.loss` plus a KL that is weighted to be sampled from."""
        mean, log_variance = self.vae.distribution(signal)
        latent = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        made, leads = self.decode(latent, condition, plan), signal[:, self.vae.rows]
        kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()
        loss = 80 * (F.mse_loss(made, press(leads)) + KL_WEIGHT * kl)
        return {"loss": loss, "mse": F.mse_loss(release(made), leads).detach(), "kl": kl.detach()}

    @torch.no_grad()
    def signals(self, condition: torch.Tensor, plan: torch.Tensor, seed: int = 0) -> torch.Tensor:
        """Conditions (B, D_c) and plans -> (B, 12, 1024) mV."""
        latent = torch.randn(len(condition), *LATENT, generator=torch.Generator().manual_seed(seed))
        leads = self.decode(latent.to(condition.device), condition, plan).float()
        return from_independent(release(leads))


def equal_width(parameters: int, condition: int) -> int:
    """The width, a multiple of 8, at which a `ConditionalVAE` has about this many parameters."""
    with torch.device("meta"):
        sizes = {w: sum(p.numel() for p in ConditionalVAE(w, condition).parameters()) for w in range(16, 513, 8)}
    return min(sizes, key=lambda width: abs(sizes[width] - parameters))


def train_conditional_vae(
    model: ConditionalVAE,
    ecgs: torch.Tensor,
    conditions: torch.Tensor,
    plans: torch.Tensor,
    training: Training,
    seed: int,
    folder: Path,
) -> dict:
    """Train on ECGs (N, 12, 1024) mV, their conditions (N, D_c) and plans (N, PLAN, 128)."""
    device = model.told.weight.device
    model.vae.start(ecgs[:2048].to(device))

    def loss(step, generator):
        rows = rows_of(step, seed, training.batch, len(ecgs))
        signal, condition, plan = (part[rows].to(device) for part in (ecgs, conditions, plans))
        return model.loss(signal, condition, plan)

    history = fit("conditional VAE", {"model": model}, loss, training, seed=seed, folder=folder)
    model.requires_grad_(False).eval()
    return history


def nearest(wanted: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """For each condition (B, D_c) the row of the most similar of the known ones (N, D_c): (B,)."""
    return (F.normalize(wanted, dim=1) @ F.normalize(known, dim=1).T).argmax(1)
