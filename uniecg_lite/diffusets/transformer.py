"""A diffusion transformer on patched latents, and how its compute is made equal to the U-Net's."""

from bisect import bisect_left

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from .denoiser import Denoiser
from .design import Design
from .paths import level_waves
from .sketch import PLAN
from .vae import LATENT

HEADS = 4
NUMBERS = 3  # rate, age and sex, where they stand beside the words


class _Layer(nn.Module):
    """Attention and MLP, each scaled, shifted and gated by the steering vector, its gates closed at the start."""

    def __init__(self, width: int, steer: int):
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.attend = nn.MultiheadAttention(width, HEADS, batch_first=True)
        self.think = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.steer = nn.Linear(steer, 6 * width)
        nn.init.zeros_(self.steer.weight)
        nn.init.zeros_(self.steer.bias)

    def forward(self, x: torch.Tensor, steer: torch.Tensor) -> torch.Tensor:
        a, b, gate, c, d, other = self.steer(steer)[:, None].chunk(6, -1)  # each (B, 1, D)
        h = self.norm(x) * (1 + a) + b  # (B, T, D)
        x = x + gate * self.attend(h, h, h, need_weights=False)[0]
        return x + other * self.think(self.norm(x) * (1 + c) + d)


class PatchDenoiser(nn.Module):
    """DiT (Peebles and Xie, arXiv 2212.09748) in one dimension, with the interface of `Denoiser`.

    Noisy latents (B, 8, 128), level (B,), condition (B, D_c), plan (B, PLAN, 128) -> (B, 8, 128). A token is
    `patch` neighbours of a latent and of the plan.
    """

    def __init__(self, width: int, condition: int, layers: int = 4, patch: int = 4):
        super().__init__()
        self.settings = {"width": width, "condition": condition, "layers": layers, "patch": patch}
        self.patch, (channels, length) = patch, LATENT
        self.null = nn.Parameter(torch.zeros(condition))
        self.time = nn.Sequential(nn.Linear(64, width), nn.SiLU(), nn.Linear(width, width))
        self.words = nn.Sequential(nn.Linear(condition, width), nn.SiLU(), nn.Linear(width, width))
        self.inward = nn.Linear((channels + PLAN) * patch, width)
        self.place = nn.Parameter(0.02 * torch.randn(length // patch, width))
        self.layers = nn.ModuleList(_Layer(width, width) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.outward = nn.Linear(width, channels * patch)
        nn.init.zeros_(self.outward.weight)
        nn.init.zeros_(self.outward.bias)

    def forward(
        self, x: torch.Tensor, level: torch.Tensor, condition: torch.Tensor, plan: torch.Tensor
    ) -> torch.Tensor:
        steer = nn.functional.silu(self.time(level_waves(level, 64)) + self.words(condition))  # (B, D)
        tokens = torch.cat([x, plan], 1).unflatten(2, (-1, self.patch)).transpose(1, 2).flatten(2)  # (B, T, C patch)
        h = self.inward(tokens) + self.place  # (B, T, D)
        for layer in self.layers:
            h = layer(h, steer)
        out = self.outward(self.norm(h)).unflatten(2, (-1, self.patch))  # (B, T, 8, patch)
        return out.transpose(1, 2).flatten(2)  # (B, 8, 128)


def new_denoiser(design: Design, width: int, condition: int) -> nn.Module:
    """An untrained denoiser of a design. A transformer gets the width at which it computes as much as the U-Net.

    Args:
        width: of the U-Net.
        condition: D_c of the condition encoder.
    """
    condition += 0 if design.numbers == "words" else NUMBERS
    if design.family == "unet":
        return Denoiser(width, condition, words=design.words)
    with torch.device("meta"):
        target = flops(Denoiser(width, condition), condition)
    return PatchDenoiser(matched_width(target, condition), condition)


def flops(net: nn.Module, condition: int) -> int:
    """Floating-point operations of one call of a denoiser for one latent, counted by PyTorch without doing them.

    Layers that PyTorch does not count, such as norms, are left out. The net is on the `meta` device.
    """
    shapes = (LATENT, (), (condition,), (PLAN, LATENT[1]))
    inputs = [torch.zeros(1, *shape, device="meta") for shape in shapes]
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter, torch.no_grad():
        net.train()(*inputs)  # eval() and fused attention would hide layers
    return counter.get_total_flops()


def matched_width(target: int, condition: int, layers: int = 4, patch: int = 4) -> int:
    """The width, a multiple of 16, at which a `PatchDenoiser` needs about `target` operations."""

    def cost(width: int) -> int:
        with torch.device("meta"):
            return flops(PatchDenoiser(width, condition, layers, patch), condition)

    widths = range(32, 1025, 16)
    place = bisect_left(widths, target, key=cost)
    return min(widths[max(place - 1, 0) : place + 1], key=lambda width: abs(cost(width) - target))
