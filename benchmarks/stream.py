"""Does memory stay flat while a real data set becomes a cohort? `python benchmarks/stream.py 100000`, with disk for it.

The data set is made up in PTB-XL's layout: a table of so many rows, and twenty records that they point to in turn.
"""

import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
import psutil
import torch

from uniecg_lite import cohort
from uniecg_lite.ecg import ECG
from uniecg_lite.real_cohorts import PTBXL_COLUMNS, cohort_rows
from uniecg_lite.simulator.simulate import simulate

FILES, PARTS = 20, 5


def made_up_ptbxl(folder: Path, records: int) -> Path:
    """A folder in PTB-XL's layout with so many rows, each of a patient of its own."""
    for i, signal in enumerate(simulate(0, torch.arange(FILES)).signal.numpy()):
        ECG(signal, 100.0).save(folder / f"records100/r{i}_lr")
    rows = pd.DataFrame({"ecg_id": range(records)})
    rows["patient_id"], rows["scp_codes"] = rows.ecg_id, "{'SR': 0.0}"
    rows["filename_lr"] = [f"records100/r{i % FILES}_lr" for i in rows.ecg_id]
    rows.reindex(columns=PTBXL_COLUMNS).to_csv(folder / "ptbxl_database.csv", index=False)
    return folder


def megabytes() -> float:
    """What this process holds in memory, without the files that it maps."""
    info = psutil.Process().memory_info()
    return (info.rss - getattr(info, "shared", 0)) / 1e6


def stream(records: int) -> list[float]:
    """Write so many; megabytes held after each fifth of them, and at the end."""
    held: list[float] = []
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as room:
        source = f"ptbxl={made_up_ptbxl(Path(room), records)}"

        def watched():
            read = 0
            for chunk in cohort_rows(0, records, source):
                read += len(chunk["record"])
                if read >= (len(held) + 1) * records / PARTS:
                    held.append(megabytes())
                yield chunk

        cohort.write(watched(), Path(room) / "splits")
        held.append(megabytes())
    return held


if __name__ == "__main__":
    n, begun = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000, time.perf_counter()
    held = stream(n)
    seconds = time.perf_counter() - begun
    print(f"{n} records, {n * 24 / 1e6:.1f} GB of signals in {seconds:.0f} s, {n / seconds:.0f} a second")
    print("MB held after each fifth, and written:", ", ".join(f"{mb:.0f}" for mb in held))
