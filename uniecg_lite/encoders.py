"""How do signal and image become tokens? phi_s, phi_v, and one probe head per fact.

The measured tokens: each of a few tokens of an encoder tells one fact, a number as a histogram on a grid. So a language
model finds PR where PR stands, by attention, and need not unpick it from a summary of everything.

Notebook 02 trains both together by contrast and captioning (Yu et al., "CoCa: Contrastive Captioners are Image-Text
Foundation Models", arXiv 2205.01917); text decoder and losses are in its cells, since nothing else needs them.
"""

import torch
import torch.nn.functional as F
from torch import nn

from .beats import RHYTHM, representative_beat, rhythm_features
from .findings import CODES, LEAD_SIGNS, grouped, lead_signs, table
from .known import loss_of_known, masked
from .training import unfused

GRIDS_WEIGHT, FINDINGS_WEIGHT, SIGNS_WEIGHT = 0.5, 6.0, 2.0  # in the loss of facts
GRIDS = table("measures")["grids"]  # first, last and step of the values that a measured token tells of
GROUPS = grouped("token")  # findings that share a token: few enough for one attention head to carry
MEASURED = (*GRIDS, *GROUPS, *LEAD_SIGNS)  # one token each
FRONT = 1 + len(MEASURED)  # the summary token, then one for each fact


def grid(name: str) -> torch.Tensor:
    """The values of this measurement's grid, (N,)."""
    first, last, step = GRIDS[name]
    return torch.arange(first, last + step, step).float()


def spread_on_grid(name: str, value: torch.Tensor) -> torch.Tensor:
    """(B,) values -> (B, N + 1) probabilities on the grid, a bell of one step's width; NaN is the last place, "none".

    A network that tells a number by such a histogram learns it better than by a regression: Imani and White, "Improving
    regression performance with distributional losses", arXiv 1806.04613. Axes go around.
    """
    first, last, step = GRIDS[name]
    far = _far(name, value.nan_to_num().clamp(first, 180.0 if name == "axis_deg" else last))  # (B, N)
    share = (-0.5 * (far / step).square()).softmax(1)
    none = value.isnan().float()[:, None]
    return torch.cat([share * (1 - none), none], 1)


def place_on_grid(name: str, share: torch.Tensor) -> torch.Tensor:
    """(B, N + 1) probabilities, see `spread_on_grid` -> (B,) the place nearest to their mean, N where "none" leads."""
    places = grid(name).to(share.device)
    if name == "axis_deg":
        angle = torch.deg2rad(places)
        mean = torch.rad2deg(torch.atan2(share[:, :-1] @ angle.sin(), share[:, :-1] @ angle.cos()))
    else:
        mean = share[:, :-1] @ places / share[:, :-1].sum(1).clamp(min=1e-9)
    return torch.where(share[:, -1] > 0.5, len(places), _far(name, mean).abs().argmin(1))


def _far(name: str, value: torch.Tensor) -> torch.Tensor:
    """(B,) values -> (B, N), how far each is from each place of the grid; axes go around."""
    far = value[:, None] - grid(name).to(value.device)
    return torch.remainder(far + 180, 360) - 180 if name == "axis_deg" else far


def targets(truth: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What the measured tokens should tell: (B, N + 1) a number, (B, n) a group, (B, 12) a sign; NaN is unknown."""
    signs, found = masked(lead_signs(truth), truth, *LEAD_SIGNS), masked(truth["findings"], truth, *CODES)
    return {
        **{name: masked(spread_on_grid(name, truth[name].float()), truth, name) for name in GRIDS},
        **{name: found[:, [CODES.index(code) for code in codes]] for name, codes in GROUPS.items()},
        **{name: signs[:, i] for i, name in enumerate(LEAD_SIGNS)},
    }


class FactProbes(nn.Module):
    """Tells each fact of an ECG from a token of its own: (B, len(MEASURED), D) -> logits, in the order of MEASURED."""

    def __init__(self, width: int):
        super().__init__()
        sizes = [*(len(grid(name)) + 1 for name in GRIDS), *map(len, GROUPS.values()), *[12] * len(LEAD_SIGNS)]
        self.heads = nn.ModuleDict({name: nn.Linear(width, size) for name, size in zip(MEASURED, sizes)})

    def forward(self, tokens: torch.Tensor) -> dict[str, torch.Tensor]:
        """(B, len(MEASURED), D) -> {name: (B, size)} logits."""
        return {name: head(tokens[:, i]) for i, (name, head) in enumerate(self.heads.items())}

    def loss(self, tokens: torch.Tensor, wanted: dict[str, torch.Tensor]) -> torch.Tensor:
        """Cross-entropy of what is told against `targets`, as far as they are known."""
        predicted, binary = self(tokens), F.binary_cross_entropy_with_logits
        numbers = sum(loss_of_known(F.cross_entropy, predicted[name], wanted[name]) for name in GRIDS) / len(GRIDS)
        found = loss_of_known(binary, *(torch.cat([of[name] for name in GROUPS], 1) for of in (predicted, wanted)))
        signs = sum(loss_of_known(binary, predicted[name], wanted[name]) for name in LEAD_SIGNS)
        return GRIDS_WEIGHT * numbers + FINDINGS_WEIGHT * found + SIGNS_WEIGHT * signs / len(LEAD_SIGNS)


class Transformer(nn.TransformerEncoder):
    """As torch has it, faster while it trains on a CPU."""

    forward = unfused()(nn.TransformerEncoder.forward)


def transformer(width: int, layers: int) -> Transformer:
    """Pre-norm transformer encoder, four heads, GELU, no dropout: (B, T, D) -> (B, T, D)."""
    layer = nn.TransformerEncoderLayer(width, 4, 3 * width, 0.0, "gelu", batch_first=True, norm_first=True)
    return Transformer(layer, layers, norm=nn.LayerNorm(width), enable_nested_tensor=False)


def amplify_small_waves(signal: torch.Tensor) -> torch.Tensor:
    """(B, 12, L) mV -> (B, 24, L): leads about their median, as they are and compressed.

    So a P wave of 0.1 mV is not lost beside a QRS of 1 mV. The offset of a lead says nothing about a heart.
    """
    centred = (signal - signal[..., ::4].median(-1, keepdim=True).values.detach()).clamp(-5, 5)
    return torch.cat([centred, torch.tanh(6 * centred)], 1)


class Residual(nn.Module):
    """A dilated convolution over 5 positions around a skip: (B, D, L) -> (B, D, L)."""

    def __init__(self, width: int, spread: int, activation: type[nn.Module] = nn.GELU):
        super().__init__()
        convolution = nn.Conv1d(width, width, 5, padding=2 * spread, dilation=spread)
        self.body = nn.Sequential(nn.GroupNorm(1, width), activation(), convolution)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.body(x)


def _stem(first: nn.Conv1d, second: nn.Conv1d) -> nn.Sequential:
    return nn.Sequential(first, nn.GELU(), second, *(Residual(second.out_channels, s) for s in (1, 3, 9)))


class _Tokens(nn.Module):
    """Features along time -> tokens; before them a summary token and one for each of the M facts in `MEASURED`, which
    also see the features' mean and maximum.

    (B, S, D/2, L) features of S strips -> (B, 1 + M + E + S * L / stride, D), with E extra tokens after those.
    """

    def __init__(self, width: int, strips: int, length: int, stride: int, layers: int, extra: int = 0, seen: int = 0):
        super().__init__()
        self.cut = nn.Conv1d(width // 2, width, stride, stride)
        self.front = nn.Linear(strips * width + seen, FRONT * width)
        self.place = nn.Parameter(0.02 * torch.randn(FRONT + extra + strips * length // stride, width))
        self.body = transformer(width, layers)

    def forward(self, x: torch.Tensor, extra: torch.Tensor | None = None, seen: torch.Tensor | None = None):
        pooled = torch.cat([x.mean(-1), x.amax(-1)], -1).flatten(1)  # (B, S * D)
        tokens = self.cut(x.flatten(0, 1)).transpose(1, 2)  # (B * S, L / stride, D)
        tokens = tokens.unflatten(0, x.shape[:2]).flatten(1, 2)  # (B, S * L / stride, D)
        if extra is not None:
            pooled, tokens = torch.cat([pooled, seen], 1), torch.cat([extra, tokens], 1)
        front = self.front(pooled).unflatten(1, (FRONT, -1))  # (B, 1 + M, D)
        return self.body(torch.cat([front, tokens], 1) + self.place)


class BeatEncoder(nn.Module):
    """The representative beat and the RR intervals, as every ECG machine takes them: what averaging makes plain.

    (B, 12, 1000) mV -> tokens (B, 8, D) and their features in one row (B, F).
    """

    tokens, segments = 8, 13

    def __init__(self, width: int):
        super().__init__()
        half = width // 2
        self.stem = nn.Sequential(nn.Conv1d(36, half, 5, 1, 2), *(Residual(half, s) for s in (1, 2, 4)), nn.GELU())
        self.rhythm = nn.Sequential(nn.Linear(RHYTHM, half), nn.GELU(), nn.Linear(half, half))
        self.cut = nn.Conv1d(half, width, 16, 16, 4)
        self.lift = nn.Linear(half, width)
        self.features = self.segments * half + half

    def forward(self, signal: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, 12, 1000) mV -> (B, 8, D), (B, F)."""
        beat, spread, times = representative_beat(signal, 100.0)
        seen = torch.cat([amplify_small_waves(beat), 5 * spread.clamp(max=1)], 1)  # (B, 36, 104)
        wave, rhythm = self.stem(seen), self.rhythm(rhythm_features(times))  # (B, D/2, 104), (B, D/2)
        tokens = torch.cat([self.lift(rhythm)[:, None], self.cut(wave).transpose(1, 2)], 1)
        parts = F.avg_pool1d(wave, wave.shape[-1] // self.segments).flatten(1)  # (B, 13 * D/2)
        return tokens, torch.cat([parts, rhythm], 1)


class SignalEncoder(nn.Module):
    """phi_s: (B, 12, 1000) mV at 100 Hz -> (B, 52, D).

    One summary token, 18 measured ones, the rhythm, 7 tokens of 0.15 s along the representative beat, and 25 of 0.4 s
    along the record.
    """

    tokens, whole = FRONT + 33, FRONT + 1  # whole: those that the language model sees one by one

    def __init__(self, width: int, layers: int):
        super().__init__()
        self.width, self.settings = width, {"width": width, "layers": layers}
        half = width // 2
        self.stem = _stem(nn.Conv1d(24, half, 9, 2, 4), nn.Conv1d(half, half, 5, 2, 2))
        self.beat = BeatEncoder(width)
        self.head = _Tokens(width, 1, 250, 10, layers, self.beat.tokens, self.beat.features)

    def forward(self, signal: torch.Tensor) -> torch.Tensor:
        """(B, 12, 1000) mV -> (B, 52, D)."""
        return self.head(self.stem(amplify_small_waves(signal))[:, None], *self.beat(signal))  # stem: (B, D/2, 250)


class ImageEncoder(nn.Module):
    """phi_v: (B, 1, 256, 500) uint8 ink -> (B, 59, D): a summary, 18 measured tokens, 4 strips x 10 of 50 pixels."""

    tokens, whole = FRONT + 40, FRONT

    def __init__(self, width: int, layers: int):
        super().__init__()
        self.width, self.settings = width, {"width": width, "layers": layers}
        half = width // 2
        # a strip's 64 pixel rows are channels: patches 64 high, 10 wide, every 5 pixels
        self.stem = _stem(nn.Conv1d(64, half, 10, 5, 3), nn.Conv1d(half, half, 5, 1, 2))
        self.head = _Tokens(width, 4, 100, 10, layers)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """(B, 1, 256, 500) uint8 -> (B, 59, D)."""
        x = self.stem(image.view(-1, 64, 500).float() / 255)  # (B * 4, D/2, 100)
        return self.head(x.view(-1, 4, *x.shape[1:]))
