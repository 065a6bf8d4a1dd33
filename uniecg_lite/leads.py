"""The twelve leads: their names, and the two laws that tie the six limb leads together.

Einthoven:  II = I + III.  Goldberger:  aVR = -(I + II)/2,  aVL = I - II/2,  aVF = II - I/2.
Eight leads are therefore independent (I, II, V1..V6); the other four follow. Functions here take NumPy arrays and
torch tensors alike. Shapes: C lead (12), L sample; leading dimensions are free.
"""

import math
import re
from collections.abc import Mapping
from itertools import combinations

import numpy as np
import torch

from .errors import require

CHEST = ("V1", "V2", "V3", "V4", "V5", "V6")
LIMB = ("I", "II", "III", "aVR", "aVL", "aVF")
LEADS = LIMB + CHEST
INDEPENDENT = ("I", "II") + CHEST
ROWS = [LEADS.index(name) for name in INDEPENDENT]  # where they stand among the twelve
LAW_TOLERANCE_MV = 0.05
NEIGHBOURS = (("V2", "V3"), ("V3", "V4"), ("V4", "V5"), ("V5", "V6"), ("I", "aVL"), ("II", "aVF"), ("III", "aVF"))
FLAT_T = (("I", "aVL"), ("V4", "V5"), ("V5", "V6"))  # neighbours in which T is never flat in health

# Each limb lead as a combination of (I, II).
LIMB_WEIGHTS = {"I": (1, 0), "II": (0, 1), "III": (-1, 1), "aVR": (-0.5, -0.5), "aVL": (1, -0.5), "aVF": (-0.5, 1)}

_PREFIX = re.compile(r"^(?:mdc[\s_-]+)?(?:(?:ecg|ekg|lead)[\s_:-]*)+(?=[ivad])", re.IGNORECASE)
_BY_NAME = {name.lower(): name for name in LEADS} | {"di": "I", "dii": "II", "diii": "III"}


def lead_name(text: str) -> str | None:
    """The standard name of a lead, or None when `text` names none of the twelve.

    Case, outer blanks and the words "lead" and "ECG" do not matter ("AVR", "Lead I", "ecg_v1 "). Modified leads such as
    MLII, and inverted ones such as -aVR, are other signals and get None.
    """
    text = str(text).strip()
    return _BY_NAME.get(_PREFIX.sub("", text).strip().lower())


def derive_limb_leads(lead_i, lead_ii):
    """III, aVR, aVL and aVF from I and II, in mV; each keeps the input's shape (..., L), type and library."""
    return lead_ii - lead_i, -(lead_i + lead_ii) / 2, lead_i - lead_ii / 2, lead_ii - lead_i / 2


def from_independent(signal):
    """Eight independent leads (..., 8, L) in the order of `INDEPENDENT` to all twelve (..., 12, L), in mV.

    The result obeys both lead laws exactly, up to rounding. Raises BadECG when the lead dimension is not 8.
    """
    other = f"Expected (..., 8, L), got {tuple(signal.shape)}: give the leads I, II and V1 to V6."
    require(signal.ndim > 1 and signal.shape[-2] == 8, other)
    join = torch.cat if torch.is_tensor(signal) else np.concatenate
    derived = derive_limb_leads(signal[..., :1, :], signal[..., 1:2, :])  # 4 of (..., 1, L)
    return join((signal[..., :2, :], *derived, signal[..., 2:, :]), -2)  # (..., 12, L)


def lead_law_residual(signal, quantile: float = 0.995):
    """How far twelve leads (..., 12, L) in mV break the lead laws: a float, or one figure per record (...,), in mV.

    At each sample the largest error of the four laws is taken, then its `quantile` over time, so that a single glitch
    does not decide; quantile=1 gives the maximum. Real records stay below 0.0035 mV (rounding). A record holding a
    NaN gets NaN. Also a score for generated ECGs. Raises BadECG when the lead dimension is not 12.
    """
    other = f"The lead laws need 12 leads as (..., 12, L), got {tuple(signal.shape)}."
    require(signal.ndim > 1 and signal.shape[-2] == 12 and signal.shape[-1], other)
    given = torch.is_tensor(signal)
    x = signal.detach().float() if given else torch.from_numpy(np.array(signal, dtype=np.float32, order="C"))
    derived = derive_limb_leads(x[..., 0, :], x[..., 1, :])
    worst = torch.stack([abs(x[..., 2 + k, :] - lead) for k, lead in enumerate(derived)]).amax(0)  # (..., L)
    figure = worst.kthvalue(max(1, math.ceil(quantile * x.shape[-1])), dim=-1).values  # (...,)
    figure = figure.masked_fill(worst.isnan().any(-1), math.nan)
    return float(figure) if figure.ndim == 0 else figure if given else figure.numpy()


def repair_hint(signal: np.ndarray) -> str:
    """Name the exchange of two limb leads, or the one inversion, that mends the lead laws, or say that none does.

    `signal` is (12, L) in mV. The best candidate counts only when it brings the residual within tolerance.
    """
    mended = {f"inverting {a}": signal * np.where(np.array(LEADS) == a, -1, 1)[:, None] for a in LIMB}
    for a, b in combinations(LIMB, 2):
        mended[f"exchanging {a} and {b}"] = signal[[LEADS.index({a: b, b: a}.get(c, c)) for c in LEADS]]
    residual, change = min(zip(lead_law_residual(np.stack(list(mended.values()))).tolist(), mended))
    none = "the names do not fit the signals, or these are not leads of one ECG"
    return f"{change} would repair it" if residual <= LAW_TOLERANCE_MV else none


def complete(leads: Mapping[str, np.ndarray]) -> np.ndarray:
    """Twelve leads (12, L) from a mapping of standard names to (L,) arrays in mV; absent limb leads are derived.

    V1..V6 and any two limb leads are enough. Given leads are kept as they are. Raises BadECG naming what is missing.
    """
    limb = [name for name in LIMB if name in leads]
    more = {0: ["2 more limb leads"], 1: ["1 more limb lead"]}.get(len(limb), [])
    missing = [*(name for name in CHEST if name not in leads), *more]
    found = ", ".join(name for name in LEADS if name in leads) or "no ECG lead at all"
    advice = "give all 12 leads by name, or at least I, II and V1 to V6."
    require(not missing, f"Leads are missing: {', '.join(missing)} (found: {found}); {advice}")
    used = ["I", "II"] if {"I", "II"} <= set(limb) else limb
    inverse = np.linalg.pinv(np.array([LIMB_WEIGHTS[name] for name in used], dtype=float))  # (2, limb)
    base = inverse @ np.stack([leads[name] for name in used])  # (2, L): I and II
    whole = {name: np.array(weights) @ base for name, weights in LIMB_WEIGHTS.items()} | {**leads}
    return np.stack([whole[name] for name in LEADS])  # (12, L)


def in_leads(values: torch.Tensor, *names: str) -> torch.Tensor:
    """The columns of these leads: (B, 12) -> (B, len(names))."""
    return values[:, [LEADS.index(name) for name in names]]


def any_pair(mask: torch.Tensor, pairs) -> torch.Tensor:
    """(B, 12) -> (B,) True where both leads of some pair are True."""
    return torch.stack([in_leads(mask, *pair).all(1) for pair in pairs]).any(0)
