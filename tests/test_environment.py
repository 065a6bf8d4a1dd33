"""pyproject.toml, environment.yml and requirements.lock name the same versions; `make env` builds one place, once."""

import ast
import os
import re
import select
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PYPROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
PROJECT = tomllib.loads(PYPROJECT)["project"]
EXTRAS = [pin for extra in PROJECT["optional-dependencies"].values() for pin in extra]
PINS = PROJECT["dependencies"] + EXTRAS
EXACT = re.compile(r"[a-z0-9-]+==[0-9][0-9a-z.]*")


def lock_lines():
    return (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()


def conda_dependencies():
    return yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]


@pytest.mark.parametrize("pin", PINS)
def test_each_direct_pin_is_exact_and_says_who_needs_it(pin):
    assert EXACT.fullmatch(pin)
    [line] = [line for line in PYPROJECT.splitlines() if f'"{pin}"' in line]
    comment = line.partition("#")[2].strip()
    assert len(comment) > 5, f"{pin} needs a comment: which part of the package uses it?"


@pytest.mark.parametrize("pin", PINS)
def test_each_direct_pin_is_in_the_lock(pin):
    assert pin in lock_lines()


def test_environment_yml_has_the_same_pins_and_the_package_itself():
    [pip] = [d["pip"] for d in conda_dependencies() if isinstance(d, dict)]
    assert sorted(pip) == sorted([*PINS, "-e ."])


def test_environment_yml_has_a_python_the_package_accepts():
    [python] = [d for d in conda_dependencies() if isinstance(d, str) and d.startswith("python=")]
    oldest = PROJECT["requires-python"].removeprefix(">=")
    assert tuple(map(int, python.split("=")[1].split("."))) >= tuple(map(int, oldest.split(".")))


def test_lock_is_sorted_exact_and_free_of_local_parts():
    lines = lock_lines()
    assert lines == sorted(lines)
    assert [line for line in lines if not EXACT.fullmatch(line)] == []
    names = [line.split("==")[0] for line in lines]
    assert len(names) == len(set(names))


def test_every_import_of_the_package_is_a_direct_pin():
    """So that nothing works here only because something else happened to bring it along."""
    here = {"uniecg_lite", *sys.stdlib_module_names}
    named = {"PIL": "pillow", "IPython": "ipykernel", "pyarrow": "datasets"}  # what brings it, always
    pins = {pin.split("==")[0].replace("-", "_") for pin in PINS}
    for path in (ROOT / "uniecg_lite").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            modules = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module] if isinstance(node, ast.ImportFrom) and not node.level else []
            for top in {module.split(".")[0] for module in modules} - here:
                assert named.get(top, top) in pins, f"{path.name} imports {top}"


# --- make env, with a Python and a pip that only tell what they are asked for, and locks that tell if they were free

TELL = "then echo free; else echo busy; fi > events"
STUB = """#!/bin/sh
case "$*" in
    *fcntl*)
        if {python} -c "$(echo "$2" | sed 's/LOCK_EX/LOCK_EX | fcntl.LOCK_NB/')" 2>/dev/null; {tell}
        exec {python} "$@" ;;
    "-m venv"*) echo venv > events; read go < go; mkdir -p .venv/bin; [ -e broken ] || cp "$0" .venv/bin/python ;;
    *torch.cuda*) exit 1 ;;
    "-c"*) exit 0 ;;
    *) echo "$0 $*" > events ;;
esac
"""


class Checkout:
    """Makefile and pins in a folder where `make env` fetches nothing; each step comes as a line of `events`."""

    def __init__(self, folder: Path, flock: str):
        self.folder, self.started = folder, []
        (folder / "bin").mkdir()
        for name in ("Makefile", "pyproject.toml", "requirements.lock"):
            shutil.copy(ROOT / name, folder)
        stub = STUB.format(python=sys.executable, tell=TELL)
        for name, text in (("python", stub), ("pip", stub), ("pip3", stub), ("flock", f"#!/bin/sh\n{flock}\n")):
            (folder / "bin" / name).write_text(text)
            (folder / "bin" / name).chmod(0o755)
        for name in ("events", "go"):
            os.mkfifo(folder / name)
        self.events, self.go = (os.open(folder / name, os.O_RDWR) for name in ("events", "go"))  # never blocks

    def make(self) -> None:
        """Start `make env`, as if no make ran around this test."""
        env = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
        env["PATH"] = f"{self.folder / 'bin'}:{env['PATH']}"
        words = ["make", "env", "CONDA=", "PYTHON=bin/python"]
        where = dict(cwd=self.folder, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.started.append(subprocess.Popen(words, **where))

    def predicted(self, seconds: float = 60) -> str:
        """What has been told since, at least one line; fails when nothing comes."""
        assert select.select([self.events], [], [], seconds)[0], "nothing more happens"
        return os.read(self.events, 65536).decode()

    def release(self) -> list[str]:
        """Let the environment be made, wait for every make, and return what they told."""
        os.write(self.go, b"go\n")
        self.codes = [process.wait(60) for process in self.started]
        os.write(self.events, b"end\n")
        return self.predicted().splitlines()[:-1]


@pytest.fixture
def checkout(tmp_path, request):
    if not shutil.which("make"):
        pytest.skip("no make here")
    generated = Checkout(tmp_path, request.param)
    yield generated
    for process in generated.started:
        process.kill()
        process.wait()
    os.close(generated.events), os.close(generated.go)


FLOCK = f'if {shutil.which("flock")} -n "$@"; {TELL}; exec {shutil.which("flock")} "$@"'
WITH_AND_WITHOUT = [
    pytest.param(FLOCK, id="flock", marks=pytest.mark.skipif(not shutil.which("flock"), reason="no flock here")),
    pytest.param("exit 127", id="no flock"),
]


@pytest.mark.parametrize("checkout", WITH_AND_WITHOUT, indirect=True)
def test_of_two_makes_at_once_one_builds_and_the_other_waits(checkout):
    checkout.make()
    first = checkout.predicted()
    while "venv" not in first:
        first += checkout.predicted()
    assert first == "free\nvenv\n"
    checkout.make()
    assert checkout.predicted() == "busy\n", "the second waits before it does anything"
    pips = checkout.release()
    assert checkout.codes == [0, 0] and (checkout.folder / ".venv" / ".ready").exists()
    assert len(pips) == 3, "one of them built, once"
    assert all(line.startswith(".venv/bin/python -m pip --require-virtualenv install") for line in pips)


@pytest.mark.parametrize("checkout", ["exit 127"], indirect=True)
def test_without_a_python_in_the_environment_no_pip_runs(checkout):
    (checkout.folder / "broken").touch()
    checkout.make()
    predicted = checkout.predicted()
    while "venv" not in predicted:
        predicted += checkout.predicted()
    assert checkout.release() == [] and checkout.codes != [0]
    assert not (checkout.folder / ".venv" / ".ready").exists()
