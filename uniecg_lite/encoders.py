"""How do signal and image become tokens? phi_s, phi_v, the text decoder of CoCa, and one probe head per fact.

The measured tokens: each of a few tokens of an encoder tells one fact, a number as a histogram on a grid. So a language
model finds PR where PR stands, by attention, and need not unpick it from a summary of everything.

Both encoders are trained together by contrast and captioning: Yu et al., "CoCa: Contrastive Captioners are Image-Text
Foundation Models", arXiv 2205.01917. One text decoder, whose lower half reads text alone (its last state is contrasted
with the ECG) and whose upper half looks at the ECG's tokens (and must write the report).
"""

import torch
import torch.nn.functional as F
from torch import nn

from .beats import RHYTHM, representative_beat, rhythm_features
from .ecg_image import raster
from .findings import CODES, LEAD_SIGNS, grouped, lead_signs
from .language.tokenizer import encode
from .training import inference

FINDINGS_WEIGHT, SIGNS_WEIGHT = 6.0, 2.0  # in the loss of facts, beside the numbers
GRIDS = {  # first, last and step of the values that a measured token tells of
    "rate_bpm": (30, 206, 2),
    "pr_ms": (80, 320, 10),
    "qrs_ms": (70, 170, 5),
    "qt_ms": (220, 680, 10),
    "qtc_ms": (310, 590, 10),
    "axis_deg": (-180, 170, 10),
}
GROUPS = grouped("token")  # findings that share a token: few enough for one attention head to carry
MEASURED = (*GRIDS, *GROUPS, *LEAD_SIGNS)  # one token each
GRIDS_WEIGHT = 0.5
FACTS_WEIGHT = 2.0  # of all facts, beside contrast and captions
HEADS = 4
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
    """What the measured tokens of B records should tell: (B, N + 1) per number, (B, n) per group, (B, 12) per sign."""
    signs, found = lead_signs(truth).float(), truth["findings"].float()  # (B, S, 12), (B, F)
    return {
        **{name: spread_on_grid(name, truth[name].float()) for name in GRIDS},
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
        """Cross-entropy of what is told against `targets`."""
        predicted = self(tokens)
        numbers = sum(F.cross_entropy(predicted[name], wanted[name]) for name in GRIDS) / len(GRIDS)
        found, there = (torch.cat([of[name] for name in GROUPS], 1) for of in (predicted, wanted))  # (B, F)
        found = F.binary_cross_entropy_with_logits(found, there)
        signs = sum(F.binary_cross_entropy_with_logits(predicted[name], wanted[name]) for name in LEAD_SIGNS)
        return GRIDS_WEIGHT * numbers + FINDINGS_WEIGHT * found + SIGNS_WEIGHT * signs / len(LEAD_SIGNS)


def transformer(width: int, layers: int, heads: int = HEADS) -> nn.TransformerEncoder:
    """Pre-norm transformer encoder, GELU, no dropout: (B, T, D) -> (B, T, D)."""
    layer = nn.TransformerEncoderLayer(
        width, heads, 3 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    )
    return nn.TransformerEncoder(layer, layers, norm=nn.LayerNorm(width), enable_nested_tensor=False)


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
        b, s, d, length = x.shape
        pooled = torch.cat([x.mean(-1), x.amax(-1)], -1).flatten(1)  # (B, S * D)
        tokens = self.cut(x.reshape(b * s, d, length)).transpose(1, 2)  # (B * S, L / stride, D)
        tokens = tokens.reshape(b, -1, tokens.shape[-1])
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
        with torch.set_grad_enabled(signal.requires_grad):
            beat, spread, times = representative_beat(signal, 100.0)
            seen = torch.cat([amplify_small_waves(beat), 5 * spread.clamp(max=1)], 1)  # (B, 36, 104)
            rhythm = rhythm_features(times)
        wave, rhythm = self.stem(seen), self.rhythm(rhythm)  # (B, D/2, 104), (B, D/2)
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


class Captioner(nn.Module):
    """CoCa's text decoder: a causal layer on text alone, then a causal layer that looks at the ECG's tokens."""

    def __init__(self, vocabulary: int, width: int, longest: int = 192):
        super().__init__()
        self.embed = nn.Embedding(vocabulary, width)
        nn.init.normal_(self.embed.weight, std=0.02)
        self.place = nn.Parameter(0.02 * torch.randn(longest, width))
        options = dict(dropout=0.0, activation="gelu", batch_first=True, norm_first=True)
        self.alone = nn.TransformerEncoderLayer(width, HEADS, 3 * width, **options)
        self.looking = nn.TransformerDecoderLayer(width, HEADS, 3 * width, **options)
        self.norm = nn.LayerNorm(width)
        self.temperature = nn.Parameter(torch.tensor(2.3))  # log of the contrastive scale, 10 at the start

    def read(self, ids: torch.Tensor) -> torch.Tensor:
        """(B, T) ids -> (B, T, D), the text alone."""
        x = self.embed(ids) + self.place[: ids.shape[1]]
        return self.alone(x, src_mask=_causal(x), is_causal=True)

    def write(self, text: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """(B, T, D) text and (B, S, D) ECG tokens -> (B, T, D) states that predict the next word."""
        return self.norm(self.looking(text, tokens, tgt_mask=_causal(text), tgt_is_causal=True))


def _causal(x: torch.Tensor) -> torch.Tensor:
    return nn.Transformer.generate_square_subsequent_mask(x.shape[1], device=x.device, dtype=x.dtype)


def contrast_loss(captioner: Captioner, tokens: torch.Tensor, sentence: torch.Tensor) -> torch.Tensor:
    """Which of B reports (B, D) belongs to which ECG (B, S, D), by its summary, and the reverse (equation 3)."""
    summary = F.normalize(tokens[:, 0], dim=-1)
    logits = captioner.temperature.exp().clamp(max=100) * summary @ sentence.T  # (B, B)
    pairs = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, pairs) + F.cross_entropy(logits.T, pairs)) / 2


def caption_loss(
    captioner: Captioner, tokens: torch.Tensor, text: torch.Tensor, spots: torch.Tensor, target: torch.Tensor
) -> torch.Tensor:
    """Negative log-likelihood of each next word of B reports from ECG tokens (B, S, D) (equation 4).

    `text` (B, T, D) is the reports read so far; `spots` (words,) are the places out of B * (T - 1) that have a next
    word, `target` (words,) their ids.
    """
    states = captioner.write(text[:, :-1], tokens).flatten(0, 1)[spots]  # (words, D)
    return F.cross_entropy(states @ captioner.embed.weight.T, target)


def coca_loss(
    captioner: Captioner, views: list[torch.Tensor], ids: torch.Tensor, pad: int, captioned: int | None = None
) -> dict[str, torch.Tensor]:
    """Contrast and captions for each view of the same ECGs (arXiv 2205.01917, equations 3 and 4).

    Args:
        captioner: the text decoder.
        views: the tokens of signal and/or image, each (B, S, D) with the summary first.
        ids: (B, T) report, begin to end, padded with `pad`; on the host, so that no device is waited for.
        pad: the padding id.
        captioned: the one view whose caption counts, to save time; None for all.

    Returns:
        {"loss", "contrast", "caption"}: contrast + 2 caption, averaged over views, as in the paper's weights.
    """
    last, spots = (ids != pad).sum(1) - 1, (ids[:, 1:] != pad).flatten().nonzero()[:, 0]  # (B,), (words,)
    ids, last, spots = (x.to(views[0].device) for x in (ids, last, spots))
    text, target = captioner.read(ids), ids[:, 1:].flatten()[spots]  # (B, T, D), (words,)
    sentence = F.normalize(text[torch.arange(len(ids), device=ids.device), last], dim=-1)  # (B, D)
    contrast = sum(contrast_loss(captioner, tokens, sentence) for tokens in views) / len(views)
    written = views if captioned is None else [views[captioned]]
    caption = sum(caption_loss(captioner, tokens, text, spots, target) for tokens in written) / len(written)
    return {"loss": contrast + 2 * caption, "contrast": contrast.detach(), "caption": caption.detach()}


def encoder_loss(
    parts: nn.ModuleDict, signal: torch.Tensor, ids: torch.Tensor, facts: dict[str, torch.Tensor], pad: int, step: int
) -> dict[str, torch.Tensor]:
    """CoCa's losses of both views of B ECGs, one of them captioned, in turn; and facts from the measured tokens.

    CoCa's two losses alone need more steps than a laptop has until they see P waves; so a third one asks each measured
    token for its fact (`FactProbes`), which are the facts of the report.

    Args:
        parts: phi_s, phi_v, captioner, and probes: a `FactProbes` for each view.
        signal, ids, facts: (B, 12, 1000) mV, (B, T) reports, and `targets`.
        pad, step: the padding id, and the number of the step.
    """
    device = signal.device
    ids = ids[:, : int((ids != pad).sum(1).max())]
    views = [parts["phi_s"](signal), parts["phi_v"](raster(signal))]
    losses = coca_loss(parts["captioner"], views, ids, pad, captioned=step % 2)
    wanted = {name: value.to(device) for name, value in facts.items()}
    fact_loss = sum(probe.loss(x[:, 1:FRONT], wanted) for probe, x in zip(parts["probes"], views)) / len(views)
    return {**losses, "loss": losses["loss"] + FACTS_WEIGHT * fact_loss, "facts": fact_loss.detach()}


def report_ids(tokenizer, reports: list[str]) -> torch.Tensor:
    """Reports as ids with begin and end, padded: N texts -> (N, T)."""
    begin, end = tokenizer.bos_token_id, tokenizer.eos_token_id
    rows = [torch.tensor([begin, *encode(tokenizer, text), end]) for text in reports]
    return nn.utils.rnn.pad_sequence(rows, True, tokenizer.pad_token_id)


@torch.no_grad()
def retrieval(tokens: torch.Tensor, captioner: Captioner, ids: torch.Tensor, pad: int) -> float:
    """Top-1 share of ECGs (B, S, D) whose own report (B, T) is the nearest of the B: chance is 1 / B."""
    with inference():
        text = captioner.read(ids)[torch.arange(len(ids)), (ids != pad).sum(1) - 1]
    nearest = (F.normalize(tokens[:, 0], dim=-1) @ F.normalize(text, dim=-1).T).argmax(1)
    return (nearest == torch.arange(len(ids), device=nearest.device)).float().mean().item()
