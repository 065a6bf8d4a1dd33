"""DiffuSETS at its published size (arXiv 2501.05932): VAE, denoiser and sampler, to count and to time, untrained.

Shapes and widths are the published ones; parameter counts follow from them. Three things are not published and were
chosen so that the counts of the denoiser agree for both sizes of text vector and without a VAE: a strided convolution
of kernel 3 halves the length; an upward block sees the widened signal joined with the output of the downward block of
that length, and its attention is twice as wide as both; the condition is first widened to the width of the attention.
"""

import math

import torch
from diffusers import DDPMScheduler
from torch import nn

STEPS, BETAS = 1000, (0.00085, 0.012)
LATENT, LATENT_FACTOR = (4, 128), 0.18215
TEXT, PATIENT = 1536, 3  # widths of the pooled text vector, and of sex, age in years and rate in bpm
LEVELS, KERNEL, HEADS, TIME = 6, 7, 8, 64


def norm(width: int) -> nn.GroupNorm:
    """GroupNorm of 32 groups."""
    return nn.GroupNorm(32, width)


class ResBlock(nn.Module):
    """Twice GroupNorm, SiLU, convolution, around a skip: (B, in, L) -> (B, out, L)."""

    def __init__(self, inside: int, outside: int):
        super().__init__()
        first = [norm(inside), nn.SiLU(), nn.Conv1d(inside, outside, 3, padding=1)]
        self.body = nn.Sequential(*first, norm(outside), nn.SiLU(), nn.Conv1d(outside, outside, 3, padding=1))
        self.skip = nn.Conv1d(inside, outside, 1) if inside != outside else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.skip(x) + self.body(x)


class Attention(nn.Module):
    """Self-attention of one head over positions: (B, D, L) -> (B, D, L)."""

    def __init__(self, width: int):
        super().__init__()
        self.norm, self.attend = norm(width), nn.MultiheadAttention(width, 1, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.norm(x).transpose(1, 2)  # (B, L, D)
        return x + self.attend(tokens, tokens, tokens, need_weights=False)[0].transpose(1, 2)


def published_encoder() -> nn.Sequential:
    """(B, 12, 1024) mV -> (B, 8, 128), mean and log-variance of the latent: 12.22 M parameters."""
    parts = [nn.Conv1d(12, 128, 3, padding=1), ResBlock(128, 128), ResBlock(128, 128)]
    for inside, outside in ((128, 256), (256, 512), (512, 512)):
        parts += [nn.ConstantPad1d((0, 1), 0.0), nn.Conv1d(inside, inside, 3, 2)]  # half as long
        parts += [ResBlock(inside, outside), ResBlock(outside, outside)]
    parts += [ResBlock(512, 512), Attention(512), ResBlock(512, 512)]  # (B, 512, 128)
    return nn.Sequential(*parts, norm(512), nn.SiLU(), nn.Conv1d(512, 8, 3, padding=1), nn.Conv1d(8, 8, 1))


def published_decoder() -> nn.Sequential:
    """(B, 4, 128) -> (B, 12, 1024) mV: 17.33 M parameters."""
    parts = [nn.Conv1d(4, 4, 1), nn.Conv1d(4, 512, 3, padding=1)]
    parts += [ResBlock(512, 512), Attention(512), *(ResBlock(512, 512) for _ in range(4))]
    for inside, outside in ((512, 512), (512, 256), (256, 128)):
        parts += [nn.Upsample(scale_factor=2), nn.Conv1d(inside, inside, 3, padding=1)]  # twice as long
        parts += [ResBlock(inside, outside), ResBlock(outside, outside), ResBlock(outside, outside)]
    return nn.Sequential(*parts, norm(128), nn.SiLU(), nn.Conv1d(128, 12, 3, padding=1))


class PublishedVAE(nn.Module):
    """(B, 12, 1024) mV <-> (B, 4, 128) latents, which are shrunk by a constant made for images."""

    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = published_encoder(), published_decoder()

    def encode(self, signal: torch.Tensor) -> torch.Tensor:
        """(B, 12, 1024) mV -> (B, 4, 128), one draw per ECG."""
        mean, log_variance = self.encoder(signal).chunk(2, 1)
        return LATENT_FACTOR * (mean + torch.randn_like(mean) * (0.5 * log_variance.clamp(-30, 20)).exp())

    def decode(self, latent: torch.Tensor) -> torch.Tensor:
        """(B, 4, 128) -> (B, 12, 1024) mV; nothing makes the leads obey the lead laws."""
        return self.decoder(latent / LATENT_FACTOR)


def time_table() -> nn.Parameter:
    """(STEPS, 64) sines and cosines; a frozen parameter, of which each block keeps a copy."""
    angle = torch.arange(STEPS)[:, None] * torch.exp(-math.log(10000) * torch.arange(TIME // 2) / (TIME // 2))
    return nn.Parameter(torch.cat([angle.sin(), angle.cos()], 1), requires_grad=False)


class Block(nn.Module):
    """Convolution, self-attention, attention to copies of one condition, convolution: (B, in, L) -> (B, out, L)."""

    def __init__(self, inside: int, outside: int, condition: int, attention: int, steer: int, kernel: int, heads: int):
        super().__init__()
        middle = (inside + outside) // 2
        self.table = time_table()
        self.time = nn.Sequential(nn.Linear(TIME, 128), nn.Mish(), nn.Linear(128, inside))
        self.first = nn.Sequential(
            nn.Conv1d(inside, middle, kernel, padding="same"),
            nn.GroupNorm(1, middle),
            nn.Mish(),
            nn.Conv1d(middle, attention, 1),
        )
        self.look = nn.MultiheadAttention(attention, heads, batch_first=True)
        self.words, self.words_norm = nn.Linear(condition, steer), nn.LayerNorm(steer)
        self.widen = nn.Linear(steer, attention)
        self.listen = nn.MultiheadAttention(attention, heads, batch_first=True)
        self.norm = nn.LayerNorm(attention)
        self.second = nn.Sequential(
            nn.Conv1d(attention, outside, kernel, padding="same"), nn.GroupNorm(1, outside), nn.Mish()
        )
        self.skip = nn.Conv1d(inside, outside, 1)

    def forward(self, x: torch.Tensor, step: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        h = self.first(x + self.time(self.table[step])[..., None]).transpose(1, 2)  # (B, L, A)
        h = h + self.look(h, h, h, need_weights=False)[0]
        words = self.words_norm(self.words(condition)[:, None].expand(-1, h.shape[1], -1))  # (B, L, C), L copies
        words = self.widen(words)  # (B, L, A)
        h = self.norm(h + self.listen(h, words, words, need_weights=False)[0])
        return self.skip(x) + self.second(h.transpose(1, 2))


class PublishedDenoiser(nn.Module):
    """(B, 4, 128) noisy latents, (B,) step, (B, D + 3) condition -> (B, 4, 128) noise: 14.18 M parameters for D = 1536.

    The condition is the text vector beside sex (1: male), age in years and rate in bpm as raw numbers. `channels`
    is 12 for the published variant without a VAE, which reads (B, 12, 1024).
    """

    def __init__(self, text: int = TEXT, channels: int = 4):
        super().__init__()
        widths = [channels * 2**level for level in range(LEVELS + 1)]  # 4, 8, ... 256
        predicted = text + PATIENT
        self.down, self.narrow = nn.ModuleList(), nn.ModuleList()
        for inside, outside in zip(widths, widths[1:]):
            self.down.append(Block(inside, outside, predicted, 2 * inside, inside, KERNEL, HEADS))
            self.narrow.append(nn.Conv1d(outside, outside, 3, 2, 1))
        self.middle = Block(widths[-1], widths[-1], predicted, 8 * channels, 32 * channels, 3, 4)
        self.widen, self.up = nn.ModuleList(), nn.ModuleList()
        for outside, inside in reversed(list(zip(widths, widths[1:]))):
            both = inside + outside  # the kept signal and the widened one
            self.widen.append(nn.ConvTranspose1d(inside, outside, 4, 2, 1))
            self.up.append(Block(both, outside, predicted, 2 * both, both, KERNEL, HEADS))
        self.outward = nn.Sequential(
            nn.Conv1d(channels, channels, 3, padding=1), nn.Mish(), nn.Conv1d(channels, channels, 1)
        )

    def forward(self, x: torch.Tensor, step: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        kept = []
        for block, narrow in zip(self.down, self.narrow):
            x = block(x, step, condition)
            kept.append(x)
            x = narrow(x)  # (B, .., L/2), at last (B, 256, 2)
        x = self.middle(x, step, condition)
        for widen, block in zip(self.widen, self.up):
            x = block(torch.cat([kept.pop(), widen(x)], 1), step, condition)
        return self.outward(x)


def published_schedule() -> DDPMScheduler:
    """1000 steps of noise, linear, epsilon prediction (Ho et al., arXiv 2006.11239)."""
    return DDPMScheduler(num_train_timesteps=STEPS, beta_start=BETAS[0], beta_end=BETAS[1])


@torch.no_grad()
def ancestral(
    denoiser: PublishedDenoiser, condition: torch.Tensor, seed: int = 0, most: int | None = None
) -> torch.Tensor:
    """Conditions (B, D + 3) -> latents (B, 4, 128) by all of the 1000 steps, or by the first `most`, to time them."""
    generator, schedule = torch.Generator().manual_seed(seed), published_schedule()
    x = torch.randn(len(condition), 4, 128, generator=generator).to(condition.device)
    for step in schedule.timesteps[:most]:
        noise = denoiser(x, step.expand(len(x)).to(x.device), condition)
        x = schedule.step(noise, step, x, generator=generator).prev_sample
    return x


def parameters(part: nn.Module, trained: bool = False) -> int:
    """How many numbers a network holds; with `trained`, those that learn."""
    return sum(p.numel() for p in part.parameters() if p.requires_grad or not trained)
