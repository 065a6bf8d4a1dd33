"""VAE: (B, 12, 1024) mV -> (B, 4, 128) latents of unit scale, and back to twelve leads that obey the lead laws."""

import torch
import torch.nn.functional as F
from torch import nn

from ..ecg import INDEPENDENT, LEADS, from_independent

LATENT = (4, 128)
KL_WEIGHT = 1e-4


class ResBlock(nn.Module):
    """Two convolutions around a skip: (B, D, L) -> (B, D, L)."""

    def __init__(self, width: int):
        super().__init__()
        self.body = nn.Sequential(
            nn.GroupNorm(8, width),
            nn.SiLU(),
            nn.Conv1d(width, width, 3, padding=1),
            nn.GroupNorm(8, width),
            nn.SiLU(),
            nn.Conv1d(width, width, 3, padding=1),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.body(x)


class VAE(nn.Module):
    """Eight-fold shorter latents, as in DiffuSETS. The original multiplies its latents by 0.18215, which leaves their
    spread at about 0.17; here `scale` is measured after training, so that latents have unit variance. The decoder
    speaks in the eight independent leads; the other four follow by Einthoven and Goldberger."""

    def __init__(self, width: int):
        super().__init__()
        w = width
        self.encoder = nn.Sequential(
            nn.Conv1d(12, w, 8, 4, 2),
            ResBlock(w),  # (B, D, 256)
            nn.Conv1d(w, 2 * w, 4, 2, 1),
            ResBlock(2 * w),
            ResBlock(2 * w),  # (B, 2D, 128)
            nn.GroupNorm(8, 2 * w),
            nn.SiLU(),
            nn.Conv1d(2 * w, 2 * LATENT[0], 3, padding=1),
        )  # (B, 8, 128)
        self.decoder = nn.Sequential(
            nn.Conv1d(LATENT[0], 2 * w, 3, padding=1),
            ResBlock(2 * w),
            ResBlock(2 * w),
            nn.ConvTranspose1d(2 * w, w, 4, 2, 1),
            ResBlock(w),  # (B, D, 256)
            nn.GroupNorm(8, w),
            nn.SiLU(),
            nn.ConvTranspose1d(w, len(INDEPENDENT), 8, 4, 2),
        )  # (B, 8, 1024)
        self.register_buffer("scale", torch.ones(1, LATENT[0], 1))
        self.register_buffer("shift", torch.zeros(1, LATENT[0], 1))

    def distribution(self, signal: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, 12, 1024) mV -> mean and log-variance, each (B, 4, 128), before scaling."""
        mean, log_variance = self.encoder(signal).chunk(2, 1)
        return mean, log_variance.clamp(-30, 20)

    def encode(self, signal: torch.Tensor) -> torch.Tensor:
        """(B, 12, 1024) mV -> (B, 4, 128) unit-scale latents."""
        return (self.distribution(signal)[0] - self.shift) / self.scale

    def decode(self, latent: torch.Tensor) -> torch.Tensor:
        """(B, 4, 128) unit-scale latents -> (B, 12, 1024) mV."""
        return from_independent(self.decoder(latent * self.scale + self.shift))

    def loss(self, signal: torch.Tensor) -> dict[str, torch.Tensor]:
        """Squared error of the eight independent leads plus a small KL, both averaged over every number."""
        mean, log_variance = self.distribution(signal)
        sample = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        rows = [LEADS.index(name) for name in INDEPENDENT]
        error = F.mse_loss(self.decoder(sample), signal[:, rows])
        kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()
        return {"loss": 20 * error + 20 * KL_WEIGHT * kl, "mse": error.detach(), "kl": kl.detach()}

    @torch.no_grad()
    def measure_scale(self, signal: torch.Tensor) -> None:
        """Set shift and scale so that these signals' latents have mean 0 and standard deviation 1 per channel."""
        mean = self.distribution(signal)[0]
        self.shift.copy_(mean.mean((0, 2), keepdim=True))
        self.scale.copy_(mean.std((0, 2), keepdim=True))
