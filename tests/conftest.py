"""Shared by the tests: a toy ECG of Gaussians, where studies of generated ECGs start, what lies beside the repository.

That is real records and a collection of awkward inputs; tests that need them are skipped where they are not there.
"""

import importlib.util
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from uniecg_lite.ecg import ECG
from uniecg_lite.leads import from_independent

torch.cpu.get_capabilities = lambda: {}  # float32 on every processor; tests of bfloat16 say that they want it

ROOT = Path(__file__).parents[1]
sys.path += [str(ROOT / "benchmarks"), str(ROOT / "notebooks" / "exercises")]

# Wave: seconds from the R peak, width in s, then mV in I, II, V1..V6.
WAVES = (
    (-0.16, 0.025, (0.08, 0.12, 0.06, 0.06, 0.06, 0.06, 0.06, 0.06)),  # P
    (-0.03, 0.010, (-0.05, -0.08, 0.10, 0.15, 0.05, -0.10, -0.10, -0.08)),  # Q
    (0.00, 0.012, (0.70, 1.10, 0.25, 0.45, 0.80, 1.30, 1.20, 0.90)),  # R
    (0.03, 0.012, (-0.10, -0.15, -0.90, -1.10, -0.70, -0.35, -0.15, -0.05)),  # S
    (0.28, 0.050, (0.20, 0.30, -0.05, 0.35, 0.40, 0.35, 0.28, 0.22)),  # T
)


def toy_ecg(hz: float = 500, seconds: float = 10, rate: float = 72, **about) -> ECG:
    """A regular, noiseless 12-lead ECG (12, hz * seconds) in mV at `rate` bpm; `about` is age, sex and source."""
    time = np.arange(round(hz * seconds)) / hz  # (L,)
    beats = np.arange(0.4, seconds + 1, 60 / rate)  # (N,)
    signal = np.zeros((8, len(time)))
    for centre, width, heights in WAVES:
        shape = np.exp(-0.5 * ((time[:, None] - beats - centre) / width) ** 2).sum(1)  # (L,)
        signal += np.outer(heights, shape)  # (8, L)
    return ECG(from_independent(signal), hz, **about)


# As in the Makefile: the package knows UNIECG_REAL_ECG alone, and the tests look beside the repository as well.
BESIDE = Path(__file__).resolve().parents[2] / "shared" / "real_ecg"
if BESIDE.exists():
    os.environ["UNIECG_REAL_ECG"] = os.environ.get("UNIECG_REAL_ECG") or str(BESIDE)


def real_folder() -> Path:
    """Where real records lie: UNIECG_REAL_ECG, or shared/real_ecg beside the repository."""
    return Path(os.environ.get("UNIECG_REAL_ECG") or BESIDE)


@pytest.fixture(scope="session")
def awkward():
    """A module whose `case_NN(folder)` writes awkward files and says what is right, in the folder UNIECG_AWKWARD."""
    path = Path(os.environ.get("UNIECG_AWKWARD") or BESIDE.parent / "awkward")
    path = path / "cases.py" if path.is_dir() else path
    if not path.is_file():
        pytest.skip("no awkward inputs: set UNIECG_AWKWARD to the folder of their cases.py")
    spec = importlib.util.spec_from_file_location("awkward_cases", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def real_records() -> list[Path]:
    """Every real record, as a path without suffix; skips the test when the folder is absent."""
    records = sorted(path.with_suffix("") for path in real_folder().glob("*.hea"))
    if not records:
        pytest.skip(f"no real records: set UNIECG_REAL_ECG (looked in {real_folder().name})")
    return records


@pytest.fixture(scope="session")
def chain(tmp_path_factory):
    """The artifacts that studies of generated ECGs start from, at smoke size: simulated patients, random weights."""
    import tiny

    return tiny.making_chain(tmp_path_factory.mktemp("chain"))


@pytest.fixture(scope="session")
def room(chain):
    """What their cells share."""
    from uniecg_lite.studies import making

    return making.StudyContext(chain)
