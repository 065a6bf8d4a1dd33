"""Which printed numbers must be found again: exact ones as they are, trained ones within a range, free ones not.

`results/notebooks.smoke.json` holds, by notebook, the hash of its code and its code cells. A cell is a list of kinds,
or None when what it prints is free; a kind is a number, a range `[low, high]`, or None for a free number.
"""

from pathlib import Path

import stored

from uniecg_lite.errors import UniECGError
from uniecg_lite.paths import ROOT

WIDEN = 0.25  # of a trained number's size; its spread between runs is added


def kind(same: tuple[float, float], trained: list[float]) -> float | list[float] | None:
    """The kind of a number, from its values in two equal runs and in runs with other learning rates and rounding."""
    if same[0] != same[1]:
        return None
    low, high = min(same[0], *trained), max(same[0], *trained)
    if low == high:
        return same[0]
    wide = WIDEN * max(abs(low), abs(high)) + high - low
    return [float(f"{end:.6g}") for end in (low - wide, high + wide)]


def kinds(runs: list[list[float]]) -> list | None:
    """The kinds of a cell's numbers from its numbers in several runs, of which the first two are of the same code."""
    if len({len(run) for run in runs}) > 1:
        return None
    return [kind(values[:2], values[2:]) for values in zip(*runs)]


def differences(cell: list | None, numbers: list[float]) -> list[str]:
    """What of a cell's fresh numbers does not fit their kinds, as sentences."""
    if cell is None or (len(cell) != len(numbers) and None in cell):
        return []
    if len(cell) != len(numbers):
        return [f"{len(numbers)} numbers are printed, not {len(cell)}"]
    out = []
    for place, (known, new) in enumerate(zip(cell, numbers)):
        low, high = known if isinstance(known, list) else (known, known)
        if known is not None and not low <= new <= high:
            wanted = f"not from {low:g} to {high:g}" if isinstance(known, list) else f"not {known:g}"
            out.append(f"number {place} is {new:g}, {wanted}")
    return out


def write_kinds(runs: list[Path], folder: Path = ROOT / "results") -> Path:
    """Write `notebooks.smoke.json` from folders of executed notebooks, see `kinds` for their order."""
    entries = {}
    for path in sorted(runs[0].glob("[0-9][0-9]_*.ipynb")):
        records = [stored.printed(run / path.name) for run in runs]
        if len({record["code"] for record in records}) > 1:
            raise UniECGError(f"{path.name} is not the same notebook in all runs: remove their folder and start over.")
        cells = zip(*(record["figures"] for record in records))
        entries[path.name[:2]] = {"code": records[0]["code"], "cells": [kinds(cell) for cell in cells]}
    return stored.write(folder / "notebooks.smoke.json", entries)
