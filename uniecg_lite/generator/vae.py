"""VAE: (B, 12, 1024) mV -> (B, 24, 128) latents of unit scale, and back to twelve leads that obey the lead laws."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..leads import LEADS, ROWS, from_independent

LATENT = (24, 128)  # DiffuSETS has 4 channels; of true ECGs coded in 8, a reader finds far less than in these
PATCH = 8  # samples of a latent
SMALL = 0.3  # mV: smaller waves are coded as they are, larger ones pressed together, so that P waves count as well
KL_WEIGHT = 2.5e-5


def compand(signal: Tensor) -> Tensor:
    """mV -> companded mV: hardly changed below `SMALL`, the logarithm above it."""
    return SMALL * torch.asinh(signal / SMALL)


def expand(companded: Tensor) -> Tensor:
    """Pressed mV -> mV, at most 10: then no lead of an ECG is beyond what `ECG` takes."""
    return SMALL * torch.sinh((companded / SMALL).clamp(-4.2, 4.2))


def principal_axes(rows: Tensor, n: int) -> tuple[Tensor, Tensor, Tensor]:
    """(N, D) -> their mean (D,), and the n largest principal components: variances (n,), ascending, and axes (D, n)."""
    mean = rows.mean(0)
    values, axes = torch.linalg.eigh((rows - mean).T @ (rows - mean) / len(rows))
    return mean, values[-n:], axes[:, -n:]


class ResBlock(nn.Module):
    """Two convolutions around a skip: (B, D, L) -> (B, D, L)."""

    def __init__(self, width: int):
        super().__init__()
        parts = [[nn.GroupNorm(8, width), nn.SiLU(), nn.Conv1d(width, width, 3, padding=1)] for _ in range(2)]
        self.body = nn.Sequential(*parts[0], *parts[1])

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class VAE(nn.Module):
    """Eight-fold shorter latents, as in DiffuSETS. Both halves are a straight path, which starts from the principal
    components of the training ECGs (`start`), and a convolutional network that learns what no straight path can.
    Signals are coded as `press` leaves them: so an error of 0.05 mV costs more in a P wave than in an R wave.

    The original multiplies its latents by 0.18215, which leaves their spread at about 0.17; here `scale` is measured
    after training, so that latents have unit variance. The decoder speaks in the eight independent leads; the other
    four follow by Einthoven and Goldberger.

    Args:
        width: channels at a quarter of the length; twice as many at an eighth.
        free_leads: all twelve leads are coded and decoded, as in the original, and the lead laws are left to chance.
    """

    def __init__(self, width: int, free_leads: bool = False):
        super().__init__()
        self.settings, self.kl_weight = {"width": width, "free_leads": free_leads}, KL_WEIGHT
        self.free_leads, self.rows = free_leads, list(range(len(LEADS))) if free_leads else ROWS
        w, leads = width, len(self.rows)
        self.encoder = nn.Sequential(
            nn.Conv1d(12, w, 8, 4, 2),
            ResBlock(w),  # (B, D, 256)
            nn.Conv1d(w, 2 * w, 4, 2, 1),
            ResBlock(2 * w),
            ResBlock(2 * w),  # (B, 2D, 128)
            nn.GroupNorm(8, 2 * w),
            nn.SiLU(),
            nn.Conv1d(2 * w, 2 * LATENT[0], 3, padding=1),
        )  # (B, 48, 128)
        self.decoder = nn.Sequential(
            nn.Conv1d(LATENT[0], 2 * w, 3, padding=1),
            ResBlock(2 * w),
            ResBlock(2 * w),
            nn.ConvTranspose1d(2 * w, w, 4, 2, 1),
            ResBlock(w),  # (B, D, 256)
            nn.GroupNorm(8, w),
            nn.SiLU(),
            nn.ConvTranspose1d(w, leads, 8, 4, 2),
        )  # (B, leads, 1024)
        self.straight_in = nn.Conv1d(leads, LATENT[0], PATCH, PATCH)
        self.straight_out = nn.ConvTranspose1d(LATENT[0], leads, PATCH, PATCH)
        self.register_buffer("scale", torch.ones(1, LATENT[0], 1))
        self.register_buffer("shift", torch.zeros(1, LATENT[0], 1))

    @torch.autocast("cpu", enabled=False)  # oneDNN 3.12 gets bfloat16 convolutions of few leads wrong on AMX units
    def distribution(self, signal: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 12, 1024) mV -> mean and log-variance, each (B, 24, 128), before scaling."""
        companded = compand(signal)
        mean, log_variance = self.encoder(companded).chunk(2, 1)
        return mean + self.straight_in(companded[:, self.rows]), log_variance.clamp(-30, 20)

    def encode(self, signal: Tensor) -> Tensor:
        """(B, 12, 1024) mV -> (B, 24, 128) unit-scale latents."""
        return (self.distribution(signal)[0] - self.shift) / self.scale

    def decode(self, latent: Tensor) -> Tensor:
        """(B, 24, 128) unit-scale latents -> (B, 12, 1024) mV."""
        leads = expand(self.leads(latent * self.scale + self.shift).float())
        return leads if self.free_leads else from_independent(leads)

    @torch.autocast("cpu", enabled=False)
    def leads(self, latent: Tensor) -> Tensor:
        """(B, 24, 128) latents as they are -> (B, 8, 1024) companded mV, the independent leads, or all twelve."""
        return self.decoder(latent.float()) + self.straight_out(latent.float())

    def loss(self, signal: Tensor, *condition: Tensor) -> dict[str, Tensor]:
        """Squared error of the decoded leads, companded, plus a small KL; all are means. `mse` is in mV squared.

        `condition` is what `leads` gets beside the latents: nothing, or what a conditional VAE is told.
        """
        mean, log_variance = self.distribution(signal)
        sample = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        generated, leads = self.leads(sample, *condition), signal[:, self.rows]
        kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()
        loss = 80 * (F.mse_loss(generated, compand(leads)) + self.kl_weight * kl)
        return {"loss": loss, "mse": F.mse_loss(expand(generated), leads).detach(), "kl": kl.detach()}

    @torch.no_grad()
    def start(self, signal: Tensor) -> None:
        """Let the straight paths be the first principal components of patches of these signals (B, 12, 1024).

        What the networks say starts at 0, with little noise: training begins at the best linear map of this size.
        """
        channels, leads = LATENT[0], len(self.rows)
        patches = compand(signal[:, self.rows]).unflatten(2, (-1, PATCH)).transpose(1, 2)  # (B, 128, leads, 8)
        patches = patches.flatten(2).flatten(0, 1)  # (B * 128, 8 leads)
        mean, values, axes = principal_axes(patches, channels)
        spread = values.sqrt()
        self.straight_in.weight.copy_((axes / spread).T.reshape(channels, leads, PATCH))
        self.straight_in.bias.copy_(-(axes / spread).T @ mean)
        self.straight_out.weight.copy_((axes * spread).T.reshape(channels, leads, PATCH))
        self.straight_out.bias.copy_(mean.view(leads, PATCH).mean(1))
        for last in (self.encoder[-1], self.decoder[-1]):
            last.weight.zero_()
            last.bias.zero_()
        self.encoder[-1].bias[channels:] = -6.0

    @torch.no_grad()
    def measure_scale(self, signal: Tensor) -> None:
        """Set shift and scale so that these signals' latents have mean 0 and standard deviation 1 per channel."""
        mean = self.distribution(signal)[0]
        self.shift.copy_(mean.mean((0, 2), keepdim=True))
        self.scale.copy_(mean.std((0, 2), keepdim=True))
