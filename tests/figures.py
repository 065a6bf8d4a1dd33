"""Write `results/notebooks.smoke.json`: which numbers the notebooks print at smoke size, and of what kind each is.

Kinds are found by running the chain four times, each in a copy of this checkout under `artifacts/figures/`:

    plain   as it is
    again   over what `plain` left, with an erratic clock, another number of processors, no committed results and a
            longer package: what differs is free
    faster  learning rates 5% higher, and other rounding: one thread, no vector instructions
    slower  learning rates 5% lower, the same other rounding: what differs in these two is trained, and has a range

`make figures` does all of it; a run that was stopped goes on where it was. Remove `artifacts/figures` to start over.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from uniecg_lite.metrics.chain import real_folder
from uniecg_lite.paths import ROOT, beside

RATES = {"faster": 1.05, "slower": 0.95}
RUNS = ("plain", "again", *RATES)
PLACE = ROOT / "artifacts" / "figures"
OTHER_ROUNDING = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "ATEN_CPU_CAPABILITY": "default"}
RATE = "\n\n_as_written = schedule\n\n\ndef schedule(step, plan):\n    return {rate} * _as_written(step, plan)\n"
MACHINE = '''

import os as _os
import random as _random
import sys as _sys
import time as _time


def _erratic(clock):
    """A clock that runs 3 to 30 times too fast, differently at each look."""
    chance, state = _random.Random(1), [clock(), clock()]  # when it was last looked at; what it shows

    def look():
        now = clock()
        state[1] += (now - state[0]) * chance.uniform(3, 30)
        state[0] = now
        return state[1]

    return look


if "ipykernel" in _sys.argv[0]:  # not in the runner, which waits for kernels
    _os.cpu_count, _os.sched_getaffinity = lambda: 3, lambda pid: {0, 1, 2}
    _time.time, _time.perf_counter = _erratic(_time.time), _erratic(_time.perf_counter)
'''


def source() -> Path:
    """A copy of the files that git knows or would add, made once, from which every run starts."""
    tree, part = PLACE / "source", PLACE / "source.part"
    if not tree.exists():
        shutil.rmtree(part, ignore_errors=True)
        listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        files = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
        for file in (f for f in files if f and (ROOT / f).is_file()):
            (part / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / file, part / file)
        os.replace(part, tree)
    return tree


def append(path: Path, text: str) -> None:
    """Add a text at the end of a module."""
    path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")


def changed(name: str) -> Path:
    """The tree of a run, made once, with the changes that its name stands for."""
    tree, part = PLACE / name, PLACE / f"{name}.part"
    if tree.exists():
        return tree
    shutil.rmtree(part, ignore_errors=True)
    shutil.copytree(source(), part)
    package = part / "uniecg_lite"
    if name in RATES:
        append(package / "training.py", RATE.format(rate=RATES[name]))
    if name == "again":
        left = shutil.ignore_patterns("notebooks", "running", "stored", "*.part")
        shutil.copytree(PLACE / "plain" / "artifacts" / "smoke", part / "artifacts" / "smoke", ignore=left)
        shutil.rmtree(part / "results", ignore_errors=True)
        for path in package.rglob("*.py"):
            append(path, "# one\n# and\n# another\n# line\n")
        for folder in {path.parent for path in package.rglob("*.py")} - {package}:
            (folder / "one_more.py").write_text('"""One more."""\n')
        append(package / "__init__.py", MACHINE)
    os.replace(part, tree)
    return tree


def run(name: str) -> Path:
    """Run the chain in the tree of a run; the folder of its executed notebooks."""
    tree = changed(name)
    env = os.environ | {"PYTHONPATH": str(tree)} | (OTHER_ROUNDING if name in RATES else {})
    for other in ("UNIECG_ARTIFACTS", "UNIECG_PROFILE", "UNIECG_STRICT"):
        env.pop(other, None)
    if real_folder():
        env["UNIECG_REAL_ECG"] = str(real_folder().resolve())
    print(f"run {name}", flush=True)
    subprocess.run([sys.executable, "-m", "uniecg_lite", "run", "--profile", "smoke"], cwd=tree, env=env, check=True)
    return tree / "artifacts" / "smoke" / "notebooks"


if __name__ == "__main__":
    folders = [run(name) for name in sys.argv[1:] or RUNS]
    if len(folders) == len(RUNS):
        print(beside("notebooks/kinds.py").write_kinds(folders))
