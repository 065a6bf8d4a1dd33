"""Small figures that notebooks share: a loss curve, bars, a grid of numbers, points against a line."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure


def _axes(title: str, size=(6.0, 2.6)) -> tuple[Figure, plt.Axes]:
    figure, axes = plt.subplots(figsize=size, dpi=72, layout="constrained")
    plt.close(figure)
    axes.set_title(title, fontsize=10)
    axes.grid(alpha=0.3)
    return figure, axes


def losses(history: dict, keys: tuple[str, ...] = ("loss",), title: str = "Training", every: int = 10) -> Figure:
    """Loss over steps, as `training.fit` returns it (one value per `every` steps)."""
    figure, axes = _axes(title)
    for key in keys:
        axes.plot(every * (1 + np.arange(len(history[key]))), history[key], label=key)
    if history.get("validation"):
        axes.plot(*zip(*history["validation"]), "o", label="validation")
    axes.set_xlabel("step")
    axes.legend(fontsize=8)
    return figure


def bars(values: dict[str, float], title: str = "", aim: float | None = None) -> Figure:
    """One bar per name, with an optional line at an aim."""
    figure, axes = _axes(title, (max(6.0, 0.21 * len(values)), 2.6))
    axes.bar(range(len(values)), list(values.values()), color="#4c78a8")
    axes.set_xticks(range(len(values)), list(values), rotation=45, ha="right", fontsize=8)
    if aim is not None:
        axes.axhline(aim, color="#c44", linestyle="--")
    return figure


def grid(table, title: str = "", rows: str = "", columns: str = "") -> Figure:
    """A matrix as colours."""
    figure, axes = _axes(title, (4.6, 3.4))
    axes.grid(False)
    figure.colorbar(axes.imshow(np.asarray(table), aspect="auto", cmap="viridis"))
    axes.set_xlabel(columns)
    axes.set_ylabel(rows)
    return figure


def against(x, y, title: str = "", wanted: str = "true", got: str = "read") -> Figure:
    """Points against the line where both agree."""
    figure, axes = _axes(title, (3.8, 3.4))
    axes.plot(x, y, ".", alpha=0.5)
    ends = [min(x), max(x)]
    axes.plot(ends, ends, color="#888", linestyle="--")
    axes.set_xlabel(wanted)
    axes.set_ylabel(got)
    return figure
