"""Whom does the text follow when the signal is one patient's and the image another's? (claim U3)"""

import torch

from ..findings import Reading
from ..language.report_parser import parse_report
from .chain import PROMPT
from .reports import angle_difference

NEAR = {"rate": 5.0, "axis": 15.0}  # bpm, degrees: a number this close to a patient's is taken to be that patient's
ALIKE = 0.5  # findings: a patient is followed when at least this share (Jaccard) agrees, and more than the other's
SIDES = ("signal", "image", "neither")


def conflict_metrics(
    model, signal_tokens: torch.Tensor, image_tokens: torch.Tensor, readings: list[Reading], prompt: str = PROMPT
) -> dict[str, float]:
    """Show the signal of each patient with the image of another, and see whom the report describes.

    Args:
        model: a reading `UniECG`.
        signal_tokens: (B, T_s, D_enc) of phi_s, two patients or more.
        image_tokens: (B, T_v, D_enc) of phi_v, of the same patients.
        readings: their B readings.
        prompt: the question.

    Returns:
        `conflict.<rate|axis|findings>.<signal|image|neither>`, shares of the pairs that differ enough to tell;
        `.pairs`, their number; `.consistent`, how often the patient is met when both views are the patient's own;
        `conflict.<signal|image|neither|consistent>`, means over the three.
    """
    prompts, shift = [prompt] * len(readings), max(1, len(readings) // 2)
    mixed = model.texts(model.write(prompts, signal_tokens, image_tokens.roll(-shift, 0)))
    own = model.texts(model.write(prompts, signal_tokens, image_tokens))
    return conflict_scores(mixed, readings, readings[shift:] + readings[:shift], own)


def conflict_scores(
    mixed: list[str], of_signal: list[Reading], of_image: list[Reading], own: list[str]
) -> dict[str, float]:
    """`conflict.*` of reports on mixed pairs, and on the same patients' own pairs, see `conflict_metrics`."""
    stated = [parse_report(text) for text in mixed]
    plain = [parse_report(text) for text in own]
    out = {}
    for what in ("rate", "axis", "findings"):
        signal, image = _meets(what, stated, of_signal), _meets(what, stated, of_image)
        apart = _apart(what, of_signal, of_image)  # (B,)
        if what == "findings":  # both may share something with the text: the closer one counts
            near, far = _agreement(stated, of_signal), _agreement(stated, of_image)
            signal, image = signal & (near > far), image & (far > near)
        shares = dict(zip(SIDES, (signal, image, ~signal & ~image)))
        out |= {f"conflict.{what}.{side}": share[apart].float().mean().item() for side, share in shares.items()}
        out[f"conflict.{what}.pairs"] = apart.sum().item()
        out[f"conflict.{what}.consistent"] = _meets(what, plain, of_signal).float().mean().item()
    for side in (*SIDES, "consistent"):
        out[f"conflict.{side}"] = sum(out[f"conflict.{what}.{side}"] for what in ("rate", "axis", "findings")) / 3
    return out


def _distance(what: str, one: list[Reading], other: list[Reading]) -> torch.Tensor:
    """(B,) how far two rates (bpm) or axes (degrees, around the circle) are apart; infinite where one is missing."""
    key = {"rate": "rate_bpm", "axis": "axis_deg"}[what]
    a, b = (torch.tensor([getattr(r, key) for r in rs]) for rs in (one, other))
    return (angle_difference(a, b) if what == "axis" else (a - b).abs()).nan_to_num(torch.inf)


def _agreement(one: list[Reading], other: list[Reading]) -> torch.Tensor:
    """(B,) Jaccard index of the findings: shared / all."""
    sets = [(a.findings, b.findings) for a, b in zip(one, other)]
    return torch.tensor([len(a & b) / max(1, len(a | b)) for a, b in sets])


def _meets(what: str, stated: list[Reading], patient: list[Reading]) -> torch.Tensor:
    if what == "findings":
        return _agreement(stated, patient) >= ALIKE
    return _distance(what, stated, patient) <= NEAR[what]


def _apart(what: str, one: list[Reading], other: list[Reading]) -> torch.Tensor:
    """(B,) whether two patients differ so much that no text can meet both."""
    if what == "findings":
        return _agreement(one, other) < ALIKE
    distance = _distance(what, one, other)
    return (distance > 2 * NEAR[what]) & distance.isfinite()


def conflict_figure(metrics: dict[str, float], title: str = "Signal of one patient, image of another"):
    """`conflict_metrics` as a matplotlib Figure: whom the text follows, beside how often it is right otherwise."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6.0, 2.2), dpi=72, layout="constrained")
    plt.close(figure)
    names = ("findings", "axis", "rate")
    left = [0.0] * len(names)
    for side, colour in zip(SIDES, ("#4c78a8", "#f58518", "#bbbbbb")):
        shares = [metrics[f"conflict.{name}.{side}"] for name in names]
        axes.barh(names, shares, left=left, color=colour, label=side)
        left = [a + b for a, b in zip(left, shares)]
    right = [metrics[f"conflict.{name}.consistent"] for name in names]
    axes.plot(right, names, "k|", markersize=22, label="both views the patient's own")
    axes.set_xlim(0, 1)
    axes.set_xlabel("share of reports")
    axes.set_title(title, fontsize=10)
    axes.legend(fontsize=7, ncols=4, loc="upper center", bbox_to_anchor=(0.5, -0.3))
    return figure
