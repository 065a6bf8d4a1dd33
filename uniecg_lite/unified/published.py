"""GEM, the published stage 1 (arXiv 2503.06073), in numbers: how an ECG becomes 677 positions of its language model."""

from dataclasses import dataclass

from torch import nn

from ..errors import BadRequest


@dataclass(frozen=True)
class GEM:
    """Sizes of GEM's encoders and projections as published; both encoders are frozen there."""

    samples: int = 5000  # per lead: 10 s at 500 Hz
    signal_patch: int = 50  # samples, all 12 leads at once (ECG-CoCa)
    signal_width: int = 768
    image_side: int = 336  # pixels (CLIP ViT-L/14-336)
    image_patch: int = 14  # pixels
    image_width: int = 1024
    lm_width: int = 4096

    @property
    def signal_tokens(self) -> int:
        """Patches and one summary token, which is kept."""
        return _patches(self.samples, self.signal_patch) + 1

    @property
    def image_tokens(self) -> int:
        """Patches alone; CLIP's summary token is dropped."""
        return _patches(self.image_side, self.image_patch) ** 2

    @property
    def positions(self) -> int:
        """Positions of the language model that one ECG takes, signal before image."""
        return self.signal_tokens + self.image_tokens

    def projections(self) -> nn.ModuleDict:
        """W_ts, then the perceptron that signal and image share: (B, T, 768) or (B, T, 1024) -> (B, T, 4096)."""
        shared = [nn.Linear(self.image_width, self.lm_width), nn.GELU(), nn.Linear(self.lm_width, self.lm_width)]
        return nn.ModuleDict(
            {"signal": nn.Linear(self.signal_width, self.image_width), "shared": nn.Sequential(*shared)}
        )


def _patches(length: int, patch: int) -> int:
    if length % patch:
        raise BadRequest(f"Patches of {patch} do not fill a length of {length}: choose a divisor.")
    return length // patch
