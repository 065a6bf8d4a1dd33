"""What does the denoiser compute? A 1-D U-Net and a 1-D diffusion transformer of equal compute.

Both work on latents and are steered by noise level and condition.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..training import unfused
from .diffusion import Design, level_waves
from .event_plan import PLAN
from .vae import LATENT

HEADS = 4
NUMBERS = 3  # rate, age and sex, where they stand beside the words
CYCLES = (0.5, 1, 2, 4, 8, 12, 16, 24)  # in the ten seconds, of waves that say where a position lies
LAYERS, NEIGHBOURS = 4, 4  # of the transformer: layers, and places of a latent in one token


class Block(nn.Module):
    """Residual block whose second half is scaled and shifted by the condition (FiLM): (B, in, L) -> (B, out, L).

    DiffuSETS attends to copies of one condition vector, which is the same as adding one bias; FiLM says so openly.
    With `keys`, the block looks at keys of that width as well.
    """

    def __init__(self, inside: int, outside: int, steer: int, keys: int | None = None):
        super().__init__()
        self.first = nn.Sequential(nn.GroupNorm(8, inside), nn.SiLU(), nn.Conv1d(inside, outside, 3, padding=1))
        self.film = nn.Linear(steer, 2 * outside)
        self.norm = nn.GroupNorm(8, outside)
        self.second = nn.Sequential(nn.SiLU(), nn.Conv1d(outside, outside, 3, padding=1))
        self.skip = nn.Conv1d(inside, outside, 1) if inside != outside else nn.Identity()
        self.look = Attention(outside, keys) if keys else None
        nn.init.zeros_(self.second[1].weight)

    def forward(self, x: Tensor, steer: Tensor, keys: Tensor | None = None) -> Tensor:
        scale, shift = self.film(steer)[..., None].chunk(2, 1)
        h = self.norm(self.first(x)) * (1 + scale) + shift
        if self.look is not None:
            h = self.look(h, keys)
        return self.skip(x) + self.second(h)


class Attention(nn.Module):
    """Attention of positions (B, D, L) -> (B, D, L): to each other, so that beats far apart agree, or to keys.

    With a width of keys (B, T, D_k), positions look at those. Where all keys are equal the weights are 1 / T whatever
    the position asks: every position gets the same vector.
    """

    def __init__(self, width: int, keys: int | None = None):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.bring = nn.Sequential(nn.Linear(keys, width), nn.LayerNorm(width)) if keys else None
        self.attend = nn.MultiheadAttention(width, HEADS, batch_first=True)

    @unfused()
    def forward(self, x: Tensor, keys: Tensor | None = None) -> Tensor:
        tokens = self.norm(x.transpose(1, 2))  # (B, L, D)
        seen = self.bring(keys) if self.bring else tokens  # (B, T, D)
        return x + self.attend(tokens, seen, seen, need_weights=False)[0].transpose(1, 2)


class Denoiser(nn.Module):
    """Noisy latents (B, 24, 128), level in [0, 1] (B,), condition (B, D_c), plan (B, PLAN, 128) -> (B, 24, 128),
    what the path asks for (`diffusion`): by default the velocity.

    Args:
        width: channels at the full length.
        condition: D_c, the width of a condition.
        words: how the condition enters: `film`; `tiled`, as keys that are copies of it, one per position, as DiffuSETS
            does; `tokens`, as keys (B, T, D_c), one per word.
    """

    def __init__(self, width: int, condition: int, words: str = "film"):
        super().__init__()
        channels, length = LATENT
        self.settings = {"width": width, "condition": condition, "words": words}
        widths = [width, 2 * width, 3 * width, 4 * width]
        steer, keys = 4 * width, None if words == "film" else condition
        self.null = nn.Parameter(torch.zeros(condition))  # no condition: for guidance
        self.time = nn.Sequential(nn.Linear(64, steer), nn.SiLU(), nn.Linear(steer, steer))
        self.words = None if keys else nn.Sequential(nn.Linear(condition, steer), nn.SiLU(), nn.Linear(steer, steer))
        angle = 2 * torch.pi * torch.tensor(CYCLES)[:, None] * (torch.arange(length) / length)
        self.register_buffer("place", torch.cat([angle.sin(), angle.cos()]), persistent=False)  # (16, 128)
        self.inward = nn.Conv1d(channels + len(self.place) + PLAN, width, 3, padding=1)
        self.down, self.narrow = nn.ModuleList(), nn.ModuleList()
        for w, following in zip(widths, [*widths[1:], None]):
            self.down.append(Block(w, w, steer, keys))
            self.narrow.append(nn.Conv1d(w, following, 4, 2, 1) if following else nn.Identity())
        self.middle = nn.ModuleList([Attention(widths[-1]), Block(widths[-1], widths[-1], steer, keys)])
        self.up, self.widen, self.look = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for w, following in zip(widths[::-1], [*widths[-2::-1], None]):
            self.up.append(Block(2 * w, w, steer, keys))
            self.look.append(Attention(w) if w == widths[2] else nn.Identity())
            self.widen.append(nn.ConvTranspose1d(w, following, 4, 2, 1) if following else nn.Identity())
        self.outward = nn.Sequential(nn.GroupNorm(8, width), nn.SiLU(), nn.Conv1d(width, channels, 3, padding=1))

    def forward(self, x: Tensor, level: Tensor, condition: Tensor, plan: Tensor) -> Tensor:
        steer, keys = self.time(level_waves(level)), None
        if self.words is not None:
            steer = steer + self.words(condition)
        else:  # (B, T, D_c)
            keys = condition if condition.dim() == 3 else condition[:, None].expand(-1, x.shape[-1], -1)
        steer = F.silu(steer)  # (B, 4W)
        h = self.inward(torch.cat([x, plan, self.place.expand(len(x), -1, -1)], 1))  # (B, W, 128)
        kept = []
        for block, narrow in zip(self.down, self.narrow):
            h = block(h, steer, keys)
            kept.append(h)
            h = narrow(h)  # (B, .., L/2)
        h = self.middle[1](self.middle[0](h), steer, keys)  # (B, 4W, 16)
        for block, look, widen in zip(self.up, self.look, self.widen):
            h = widen(look(block(torch.cat([h, kept.pop()], 1), steer, keys)))
        return self.outward(h)


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

    def forward(self, x: Tensor, steer: Tensor) -> Tensor:
        a, b, gate, c, d, other = self.steer(steer)[:, None].chunk(6, -1)  # each (B, 1, D)
        h = self.norm(x) * (1 + a) + b  # (B, T, D)
        x = x + gate * self.attend(h, h, h, need_weights=False)[0]
        return x + other * self.think(self.norm(x) * (1 + c) + d)


class PatchDenoiser(nn.Module):
    """DiT (Peebles and Xie, arXiv 2212.09748) in one dimension, with the interface of `Denoiser`.

    Noisy latents (B, 24, 128), level (B,), condition (B, D_c), plan (B, PLAN, 128) -> (B, 24, 128). A token is
    `NEIGHBOURS` places of a latent and of the plan.
    """

    def __init__(self, width: int, condition: int):
        super().__init__()
        self.settings, (channels, length) = {"width": width, "condition": condition}, LATENT
        self.null = nn.Parameter(torch.zeros(condition))
        self.time = nn.Sequential(nn.Linear(64, width), nn.SiLU(), nn.Linear(width, width))
        self.words = nn.Sequential(nn.Linear(condition, width), nn.SiLU(), nn.Linear(width, width))
        self.inward = nn.Linear((channels + PLAN) * NEIGHBOURS, width)
        self.place = nn.Parameter(0.02 * torch.randn(length // NEIGHBOURS, width))
        self.layers = nn.ModuleList(_Layer(width, width) for _ in range(LAYERS))
        self.norm = nn.LayerNorm(width)
        self.outward = nn.Linear(width, channels * NEIGHBOURS)
        nn.init.zeros_(self.outward.weight)
        nn.init.zeros_(self.outward.bias)

    def forward(self, x: Tensor, level: Tensor, condition: Tensor, plan: Tensor) -> Tensor:
        steer = F.silu(self.time(level_waves(level)) + self.words(condition))  # (B, D)
        tokens = torch.cat([x, plan], 1).unflatten(2, (-1, NEIGHBOURS)).transpose(1, 2).flatten(2)  # (B, T, 4 C)
        h = self.inward(tokens) + self.place  # (B, T, D)
        for layer in self.layers:
            h = layer(h, steer)
        out = self.outward(self.norm(h)).unflatten(2, (-1, NEIGHBOURS))  # (B, T, 24, 4)
        return out.transpose(1, 2).flatten(2)  # (B, 24, 128)


def new_denoiser(design: Design, width: int, condition: int) -> nn.Module:
    """An untrained denoiser of a design. A transformer four times as wide computes about as much as the U-Net.

    Args:
        width: of the U-Net.
        condition: D_c of the condition encoder.
    """
    condition += 0 if design.numbers == "words" else NUMBERS
    if design.family == "unet":
        return Denoiser(width, condition, words=design.words)
    return PatchDenoiser(4 * width, condition)
