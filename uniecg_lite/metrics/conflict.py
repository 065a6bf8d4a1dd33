"""Whom does the text follow when the signal is one patient's and the image another's? (claim U3)"""

import torch
from torch import Tensor

from ..findings import Reading
from ..language.report_parser import parse_report
from .chain import PROMPT
from .reports import difference

SIDES = ("signal", "image", "neither")
# What is compared: up to which distance a text is taken to mean a patient; from above which distance on two patients
# are told apart.
VIEWS = {"rate": ("rate_bpm", 5.0, 10.0), "axis": ("axis_deg", 15.0, 30.0), "findings": ("findings", 0.5, 0.5)}


def _apart(key: str, one: list[Reading], other: list[Reading]) -> Tensor:
    """(B,) distances: bpm, degrees around the circle, infinite where one is missing; of findings 1 - shared / all."""
    pairs = [(getattr(a, key), getattr(b, key)) for a, b in zip(one, other)]
    if key == "findings":  # Jaccard's distance
        return torch.tensor([1 - len(a & b) / max(1, len(a | b)) for a, b in pairs])
    return difference(key, *torch.tensor(pairs).T).nan_to_num(torch.inf)


def conflict_metrics(model, signal_tokens: Tensor, image_tokens: Tensor, readings: list[Reading]) -> dict[str, float]:
    """Show the signal of each patient with the image of another, and see whom the report describes.

    Args:
        model: a reading `UniECG`.
        signal_tokens: (B, T_s, D_enc) of phi_s, two patients or more.
        image_tokens: (B, T_v, D_enc) of phi_v, of the same patients.
        readings: their B readings.

    Returns:
        `conflict.<rate|axis|findings>.<signal|image|neither>`, shares of the pairs that differ enough to tell;
        `.pairs`, their number; `.consistent`, how often the patient is met when both views are the patient's own;
        `conflict.<signal|image|neither|consistent>`, means over the three.
    """
    prompts, shift = [PROMPT] * len(readings), max(1, len(readings) // 2)
    mixed = model.texts(model.write(prompts, signal_tokens, image_tokens.roll(-shift, 0)))
    own = model.texts(model.write(prompts, signal_tokens, image_tokens))
    return conflict_scores(mixed, readings, readings[shift:] + readings[:shift], own)


def conflict_scores(
    mixed: list[str], of_signal: list[Reading], of_image: list[Reading], own: list[str]
) -> dict[str, float]:
    """`conflict.*` of reports on mixed pairs, and on the same patients' own pairs, see `conflict_metrics`."""
    stated, plain = ([parse_report(text) for text in texts] for texts in (mixed, own))
    out = {}
    for what, (key, near, far) in VIEWS.items():
        signal, image = (_apart(key, stated, patients) for patients in (of_signal, of_image))  # (B,) each
        sides = {"signal": signal <= near, "image": image <= near}
        if what == "findings":  # both may share something with the text: the closer one counts
            sides = {"signal": sides["signal"] & (signal < image), "image": sides["image"] & (image < signal)}
        sides["neither"] = ~sides["signal"] & ~sides["image"]
        between = _apart(key, of_signal, of_image)
        apart = (between > far) & between.isfinite()  # so different that no text can meet both
        out |= {f"conflict.{what}.{side}": share[apart].float().mean().item() for side, share in sides.items()}
        out[f"conflict.{what}.pairs"] = apart.sum().item()
        out[f"conflict.{what}.consistent"] = (_apart(key, plain, of_signal) <= near).float().mean().item()
    kinds = (*SIDES, "consistent")
    return out | {f"conflict.{k}": sum(out[f"conflict.{what}.{k}"] for what in VIEWS) / 3 for k in kinds}
