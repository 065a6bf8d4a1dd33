"""Do made ECGs do as they were told? Numbers and findings asked for against those read back, and the lead laws."""

import math

import torch
import torch.nn.functional as F

from ..ecg import lead_law_residual
from ..language import CODES, Request
from ..language.findings import FINDINGS
from .reader import Reader
from .signals import beat_size_spread, heart_rate
from .texts import finding_scores, macro_f1

ERRORS = {  # number: (name of its error, unit, the error of an ECG in which it cannot be measured)
    "rate_bpm": ("hr", "bpm", 60.0),
    "pr_ms": ("pr", "ms", 100.0),
    "qrs_ms": ("qrs", "ms", 60.0),
    "qt_ms": ("qt", "ms", 150.0),
    "axis_deg": ("axis", "deg", 90.0),
}
ALIKE = ("SR", "SBRAD", "STACH")  # rhythms whose beats are alike, but for extra ones
EXTRA = tuple(row["code"] for row in FINDINGS if row["group"] == "ectopy")


def number_errors(wanted: dict[str, torch.Tensor], measured: dict[str, torch.Tensor]) -> dict[str, float]:
    """Absolute errors of each number that was asked for: `hr_median_error_bpm`, `hr_mean_error_bpm`, ...

    Args:
        wanted: names as in `ERRORS` -> (B,); NaN where it was not asked for, which does not count.
        measured: the same names, or more -> (B,); NaN where nothing could be measured, which counts as in `ERRORS`.
            Errors of the axis go around the circle.
    """
    out = {}
    for key, (name, unit, missing) in ERRORS.items():
        asked = ~wanted[key].isnan() if key in wanted else torch.zeros(0, dtype=torch.bool)
        if not asked.any():
            continue
        error = (measured[key][asked] - wanted[key][asked]).abs()
        if key == "axis_deg":
            error = torch.minimum(error % 360, 360 - error % 360)
        error = error.nan_to_num(missing)
        out[f"{name}_median_error_{unit}"] = error.median().item()
        out[f"{name}_mean_error_{unit}"] = error.mean().item()
    return out


def requested(requests: list[Request]) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """What B requests name: numbers as in `ERRORS`, (B,) with NaN where they are open, and findings (B, F) bool."""
    fields = {"rate_bpm": "rate", "pr_ms": "pr", "qrs_ms": "qrs", "qt_ms": "qt", "axis_deg": "axis"}
    numbers = {
        name: torch.tensor([math.nan if getattr(r, key) is None else float(getattr(r, key)) for r in requests])
        for name, key in fields.items()
    }
    return numbers, torch.tensor([[code in r.findings for code in CODES] for r in requests])


def standard(signal: torch.Tensor) -> torch.Tensor:
    """Ten seconds at any rate, (B, 12, L) mV -> (B, 12, 1000) mV at 100 Hz, as the reader sees it."""
    return F.interpolate(signal, size=1000, mode="linear")


def control(
    reader: Reader, signal: torch.Tensor, wanted: dict[str, torch.Tensor], asked: torch.Tensor
) -> dict[str, float]:
    """What made ECGs have of what was asked for, flat.

    The heart rate is measured on the signal (`heart_rate`) and, beside it, by the reader; PR, QRS, QT and axis by the
    reader, which also finds the findings.

    Args:
        reader: an independent one.
        signal: (B, 12, L) mV, ten seconds.
        wanted: any of {rate_bpm, pr_ms, qrs_ms, qt_ms, axis_deg: (B,)}, NaN where it was not asked for.
        asked: (B, F) bool, findings that were asked for, in the order of `CODES`.

    Returns:
        `number_errors`; hr_median_error_reader_bpm; findings_macro_f1 and `f1.<code>`; beat_size_spread, the median of
        those asked for with a sinus rhythm and no extra beats; lead_law_residual_mv, of the ECG that breaks the lead
        laws most.
    """
    signal = signal.float()
    numbers, found = reader.read(standard(signal))
    measured = numbers | {"rate_bpm": heart_rate(signal, signal.shape[-1] / 10)}
    out = number_errors(wanted, measured)
    if "hr_median_error_bpm" in out:
        by_reader = number_errors({"rate_bpm": wanted["rate_bpm"]}, numbers)
        out["hr_median_error_reader_bpm"] = by_reader["hr_median_error_bpm"]
    out["findings_macro_f1"] = macro_f1(found, asked)
    out |= {f"f1.{code}": value for code, value in finding_scores(found, asked).items()}
    alike, extra = (asked[:, [CODES.index(code) for code in codes]].any(1) for codes in (ALIKE, EXTRA))
    if (even := alike & ~extra).any():
        out["beat_size_spread"] = beat_size_spread(signal[even], signal.shape[-1] / 10).nanmedian().item()
    return out | {"lead_law_residual_mv": lead_law_residual(signal).max().item()}
