"""The measured tokens: each of a few tokens of an encoder tells one fact, a number as a histogram on a grid.

So a language model finds PR where PR stands, by attention, and need not unpick it from a summary of everything.
"""

import torch
import torch.nn.functional as F
from torch import nn

from .facts import FINDINGS_WEIGHT, SIGNS_WEIGHT
from .simulator import FINDINGS, RHYTHMS
from .simulator.truth import LEAD_SIGNS, lead_signs

GRIDS = {  # first, last and step of the values that a measured token tells of
    "rate_bpm": (30, 206, 2),
    "pr_ms": (80, 320, 10),
    "qrs_ms": (70, 170, 5),
    "qt_ms": (220, 680, 10),
    "qtc_ms": (310, 590, 10),
    "axis_deg": (-180, 170, 10),
}
GROUPS = {  # findings that share a token: few enough for one attention head to carry
    "rhythm": RHYTHMS,
    "extra beats": ("1AVB", "PAC", "PVC", "BIGU"),
    "conduction": ("CLBBB", "CRBBB", "LAFB", "LPFB", "IVCD", "WPW", "LAD", "RAD"),
    "chambers": ("LVH", "RVH", "LAE", "RAE", "LOWV"),
    "injury": ("STE_ANT", "STE_SEP", "STE_LAT", "STE_INF", "STE_POST", "STD"),
    "old injury": ("TINV", "Q_ANT", "Q_INF", "Q_LAT", "HYPT"),
    "repolarisation": ("HYPERK", "HYPOK", "LQT", "PERI", "EREP", "BRUG", "NORM"),
}
MEASURED = (*GRIDS, *GROUPS, *LEAD_SIGNS)  # one token each
GRIDS_WEIGHT = 0.5


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
        **{name: found[:, [FINDINGS.index(code) for code in codes]] for name, codes in GROUPS.items()},
        **{name: signs[:, i] for i, name in enumerate(LEAD_SIGNS)},
    }


class Teller(nn.Module):
    """Tells each fact of an ECG from a token of its own: (B, len(MEASURED), D) -> logits, in the order of MEASURED."""

    def __init__(self, width: int):
        super().__init__()
        sizes = (
            [len(grid(name)) + 1 for name in GRIDS] + [len(codes) for codes in GROUPS.values()] + [12] * len(LEAD_SIGNS)
        )
        self.heads = nn.ModuleDict({name: nn.Linear(width, size) for name, size in zip(MEASURED, sizes)})

    def forward(self, tokens: torch.Tensor) -> dict[str, torch.Tensor]:
        """(B, len(MEASURED), D) -> {name: (B, size)} logits."""
        return {name: head(tokens[:, i]) for i, (name, head) in enumerate(self.heads.items())}

    def loss(self, tokens: torch.Tensor, wanted: dict[str, torch.Tensor]) -> torch.Tensor:
        """Cross-entropy of what is told against `targets`."""
        told = self(tokens)
        numbers = sum(F.cross_entropy(told[name], wanted[name]) for name in GRIDS) / len(GRIDS)
        found, there = (torch.cat([of[name] for name in GROUPS], 1) for of in (told, wanted))  # (B, F)
        found = F.binary_cross_entropy_with_logits(found, there)
        signs = sum(F.binary_cross_entropy_with_logits(told[name], wanted[name]) for name in LEAD_SIGNS)
        return GRIDS_WEIGHT * numbers + FINDINGS_WEIGHT * found + SIGNS_WEIGHT * signs / len(LEAD_SIGNS)
