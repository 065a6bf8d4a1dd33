"""At smoke size, the numbers that a notebook prints are held against `results/notebooks.smoke.json`."""

import os
import re
from functools import cache
from pathlib import Path

import kinds
import pytest
import stored

from uniecg_lite.metrics.chain import real_folder

NEEDS_REAL = re.compile(r'real_folder\(|/ "metrics"')  # from such a cell on, numbers are of runs with the real records


@cache
def known() -> dict:
    return stored.read("smoke")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    result = yield
    path = Path(item.path)
    if os.environ.get("UNIECG_PROFILE") == "smoke" and path.parent == Path(__file__).parent and path.suffix == ".ipynb":
        compare(item, path)
    return result


def compare(item, path: Path) -> None:
    """Fail a cell whose fresh numbers do not fit."""
    cells = [cell for cell in item.parent.nb.cells if cell.cell_type == "code"]
    entry = known().get(path.name[:2])
    if entry is None:  # its numbers have not been found yet; a test says so
        return
    if entry["code"] != stored.code_hash(cells):
        item.raise_cell_error("this notebook has changed since its numbers were found: run `make figures`")
    before = "\n".join(cell.source for cell in cells[: item.cell_num + 1])
    if NEEDS_REAL.search(before) and real_folder() is None:
        return
    found = kinds.differences(entry["cells"][item.cell_num], stored.numbers_of(item.test_outputs))
    if found:
        item.raise_cell_error("its numbers are not those of results/notebooks.smoke.json", "\n".join(found))
