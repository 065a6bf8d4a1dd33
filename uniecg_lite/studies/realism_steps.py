"""Study `realism`: what is each step of realism worth, by a network that tells simulated beats from real ones?

All cells have the same simulated hearts, chosen for the same real records; the seeds vary folds, weights and batches.
"""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import torch

from ..errors import BadArtifact, require
from ..leads import from_independent
from ..metrics.chain import real_folder
from ..metrics.real_records import load_signals
from ..metrics.realism import comparable, compare, separability, sinus_like
from ..simulator import hashing
from ..simulator.hearts import Hearts, qrs, t_wave, textbook
from ..simulator.noise import TABLE, noise
from ..simulator.sample import with_signs
from ..simulator.schedule import schedule
from ..simulator.simulate import heart_signal, simulate
from ..store import Store
from .study import manifest_hash

SIZES = {"smoke": (300, 2)}  # simulated hearts to choose from, passes over the training beats
USUAL = (1500, 16)  # the same, for other profiles


def white_noise(index: torch.Tensor) -> torch.Tensor:
    """The simplest noise: white, alike at all electrodes, 3 to 25 uV by record: (B,) -> (B, 12, 1000) mV."""
    level = 0.003 + 0.022 * hashing.uniform(0, index, 8, 1).float()[..., None] ** 2
    start = (hashing.uniform(0, index, 9, 8) * (TABLE - 1000)).long()  # (B, 8) windows of one long table
    table = torch.randn(TABLE, generator=torch.Generator().manual_seed(0))
    return from_independent(level * table.unfold(0, 1000, 1)[start])


def recorded_noise(index: torch.Tensor) -> torch.Tensor:
    """The simulator's noise alone: (B,) -> (B, 12, 1000) mV."""
    return from_independent(noise(0, index, torch.arange(1024) / 100, 100.0)[0][..., :1000])


def drawn(index: torch.Tensor, change: Callable[[Hearts], Hearts] = lambda hearts: hearts) -> torch.Tensor:
    """Textbook hearts of population 0 without noise, changed before they beat: (B,) -> (B, 12, 1000) mV."""
    hearts, t = with_signs(change(textbook(0, index))).float(), torch.arange(1024) / 100
    return from_independent(heart_signal(hearts, schedule(hearts, 10.0), t)[..., :1000])


STEPS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {  # (B,) -> (B, 12, 1000) mV; each adds one improvement
    "textbook-white-noise": lambda index: drawn(index) + white_noise(index),
    "recorded-noise": lambda index: drawn(index) + recorded_noise(index),
    "sharp-qrs": lambda index: drawn(index, qrs) + recorded_noise(index),
    "real-t": lambda index: drawn(index, lambda hearts: qrs(t_wave(hearts))) + recorded_noise(index),
    "simulator": lambda index: simulate(0, index).signal,
}


def settings(store: Store, variant: str) -> dict:
    """What a cell depends on: its sizes, the real records, and how large the first simulated records of its step are.

    Raises:
        BadArtifact: no real records.
    """
    records, epochs = SIZES.get(store.profile.name, USUAL)
    folder, size = real_folder(), STEPS[variant](torch.arange(4)).std((1, 2))  # (4,) mV
    advice = "set UNIECG_REAL_ECG to a folder that has them and a manifest.csv."
    require(folder, f"Study 'realism' needs real records: {advice}", BadArtifact)
    found = {"records": records, "epochs": epochs, "simulated_mv": [round(mv, 3) for mv in size.tolist()]}
    return found | {"inputs": {"manifest": manifest_hash(folder)}}


def prepare(store: Store) -> SimpleNamespace:
    """Real records with a regular, narrow rhythm, and simulated ones of about their rates; nothing of the chain."""
    records, epochs = SIZES.get(store.profile.name, USUAL)
    _, real, patients, refused = load_signals(real_folder())
    keep = sinus_like(real)
    whole = simulate(0, torch.arange(records), noise=False)
    return SimpleNamespace(
        real=real[keep],  # (M, 12, 1000) mV
        patients=[p for p, there in zip(patients, keep.tolist()) if there],
        index=comparable(whole.signal, whole.truth["findings"].bool(), real[keep]),  # (M,) simulated records' numbers
        epochs=epochs,
        refused=len(refused),  # real records that could not be read
    )


def measure(room: SimpleNamespace, variant: str, seed: int, folder: Path) -> dict[str, float]:
    """One cell: the figures of `separability`, the distances `realism.ks.<statistic>` (see `compare`), and
    `realism.refused`, how many real records could not be read."""
    signal = STEPS[variant](room.index)
    found = separability(signal, room.real, seed, room.patients, epochs=room.epochs)
    return found | compare(signal, room.real) | {"realism.refused": room.refused}
