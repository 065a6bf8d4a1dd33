"""pyproject.toml, environment.yml and requirements.lock name the same versions."""

import ast
import re
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
