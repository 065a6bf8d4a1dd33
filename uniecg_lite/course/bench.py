"""Speeds, each beside a peer timed in the same run."""

import time

import torch

from ..drawing import raster
from ..simulator import simulate


def _rate(work, units: int, repeats: int = 5) -> float:
    """Units per second: the best of several repeats after a warm-up."""
    work()
    times = []
    for _ in range(repeats):
        begun = time.perf_counter()
        work()
        times.append(time.perf_counter() - begun)
    return units / min(times)


def bench() -> dict[str, float]:
    """Print and return ECGs and images per second, and the simulator's ratio to NeuroKit2's (extra `bench`)."""
    index = torch.arange(256)
    out = {"simulator.ecgs_per_second": _rate(lambda: simulate(0, index), 256)}
    signal = simulate(0, index[:64]).signal
    out["raster.images_per_second"] = _rate(lambda: raster(signal), 64)
    try:
        import neurokit2

        peer = _rate(
            lambda: neurokit2.ecg_simulate(duration=10, sampling_rate=100, method="multileads", random_state=0), 1, 3
        )
        out["simulator.ratio_to_neurokit2"] = out["simulator.ecgs_per_second"] / peer
    except ImportError:
        print("neurokit2 is not installed: pip install -e .[bench] for the comparison")
    for name, value in out.items():
        print(f"{name:32s} {value:,.0f}")
    return out
