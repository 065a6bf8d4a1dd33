"""Where the tables of `data/` lie and where results go: beside the package in a checkout, else inside it and here."""

import importlib
import re
import sys
from pathlib import Path

from .errors import BadArtifact, UniECGError, require


def checkout_of(package: Path) -> Path | None:
    """The checkout that holds a package folder (its `pyproject.toml` names uniecg_lite), or None: it is installed."""
    project = package.parent / "pyproject.toml"
    named = project.exists() and re.search(r'^name = "uniecg_lite"$', project.read_text(encoding="utf-8"), re.M)
    return package.parent if named else None


PACKAGE = Path(__file__).resolve().parent
CHECKOUT = checkout_of(PACKAGE)
ROOT = CHECKOUT or Path.cwd()  # holds artifacts/, results/ and, in a checkout, notebooks/
DATA = (CHECKOUT or PACKAGE) / "data"  # pyproject.toml puts the checkout's data/ into the wheel


def importable(file: Path) -> tuple[Path, str]:
    """The folder from which Python imports a file, and the file's name there: `criteria.rules` in the folder above."""
    folder, name = file.parent, file.stem
    while (folder / "__init__.py").exists():
        folder, name = folder.parent, f"{folder.name}.{name}"
    return folder, name


def beside(path: str, command: str = ""):
    """A Python file of the checkout that is no part of the package, as a module: `beside("benchmarks/bench.py")`.

    Raises:
        UniECGError: for a command that works on notebooks or README, and the package was installed on its own.
        BadArtifact: it is not there, since only the package is installed.
    """
    alone = f"`{command}` works on the notebooks and README of a checkout, and this package was installed on its own"
    require(CHECKOUT or not command, f"{alone}: get the repository and use `make {command}` there.", UniECGError)
    place = ROOT / path
    sentence = f"There is no {place}: it belongs to the repository, so run this in a checkout of it."
    require(place.exists(), sentence, BadArtifact)
    folder, name = importable(place)
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    return importlib.import_module(name)
