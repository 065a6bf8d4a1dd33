"""What did the earlier notebook leave me, and is it the right one?"""

import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from .config import Profile
from .errors import BadArtifact, UniECGError, refused, require
from .findings import table
from .paths import CHECKOUT, ROOT

CHAIN = table("notebooks")  # number -> what it needs, after which it runs besides, what it makes, its budget
PRODUCERS = {name: number for number, row in CHAIN.items() for name in row["makes"]}
SIZES = {name: sizes for row in CHAIN.values() for name, sizes in row["makes"].items()}  # those it depends on, by name
NEEDS = {number: row["needs"] for number, row in CHAIN.items()}  # what those were made from is needed with them


def fingerprint(folder: Path) -> str:
    """A hash of every file of an artifact but its own `meta.json`, names included."""
    whole = hashlib.blake2b(digest_size=16)
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.name != "meta.json"):
        whole.update(path.relative_to(folder).as_posix().encode())
        with open(path, "rb") as file:
            whole.update(hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).digest())
    return whole.hexdigest()


def commit() -> str:
    """The commit of this checkout, or `unknown`."""
    if CHECKOUT is None or not shutil.which("git"):
        return "unknown"
    found = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=CHECKOUT, capture_output=True, text=True)
    return found.stdout.strip() or "unknown"


def machine() -> str:
    """A short name of this machine's kind: `cpu2` for two cores, or the GPU's name."""
    if torch.cuda.is_available():
        return re.sub(r"[^a-z0-9]+", "-", torch.cuda.get_device_name().lower()).strip("-")
    return f"cpu{len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()}"


@dataclass(frozen=True)
class Store:
    """The artifacts of one profile and seed: `artifacts/<profile>/<name>/`."""

    folder: Path
    profile: Profile
    seed: int = 0

    @staticmethod
    def open(profile: Profile, seed: int = 0, root: str | Path | None = None) -> "Store":
        """The store under `root`, `UNIECG_ARTIFACTS`, or `artifacts/` of the checkout (`paths.ROOT`)."""
        root = Path(root or os.environ.get("UNIECG_ARTIFACTS") or ROOT / "artifacts")
        return Store(root / profile.name, profile, seed)

    def scratch(self, name: str) -> Path:
        """Where a training that makes this artifact keeps its checkpoints."""
        return self.folder / "running" / name

    def meta(self, name: str) -> dict:
        """The `meta.json` of an artifact.

        Raises:
            BadArtifact: missing or unreadable; the message names the notebook to run.
        """
        path = self.folder / name / "meta.json"
        advice = f"run notebook {PRODUCERS.get(name, '?')} with profile '{self.profile.name}'"
        require(path.exists(), f"There is no '{name}' in {self.folder}: {advice} first.", BadArtifact)
        damaged = f"The description of '{name}' ({path}) is damaged: {advice} again."
        with refused(damaged, BadArtifact, (KeyError, TypeError, ValueError)):
            meta = json.loads(path.read_text())
            return {key: meta[key] for key in ("profile", "seed", "sizes", "inputs", "hash")} | meta

    def path(self, name: str) -> Path:
        """The folder of an artifact that fits this profile and seed and whose inputs have not changed since.

        Raises:
            BadArtifact: missing, foreign or stale; the message names the notebook to run.
        """
        meta = self.meta(name)
        advice = f"run notebook {PRODUCERS.get(name, '?')} again"
        whose, mine = (f"profile '{meta['profile']}' and seed {meta['seed']}", f"'{self.profile.name}' and {self.seed}")
        own = meta["profile"] == self.profile.name and meta["seed"] == self.seed
        require(own, f"'{name}' was made with {whose}, not {mine}: {advice}.", BadArtifact)
        now = json.loads(json.dumps(asdict(self.profile)))
        others = f"'{name}' was made when profile '{self.profile.name}' had other sizes: {advice}."
        fits = all(meta["sizes"].get(key) == now[key] for key in SIZES.get(name, now))
        require(fits, others, BadArtifact)
        for other, hashed in meta["inputs"].items():
            self.path(other)  # and what that one was made from
            older = f"'{name}' was made from an older '{other}': {advice}."
            require(self.meta(other)["hash"] == hashed, older, BadArtifact)
        return self.folder / name

    def tensors(self, name: str, file: str) -> dict[str, Tensor]:
        """The tensors of one safetensors file of an artifact."""
        damaged = f"'{name}' is damaged ({{reason}}): run notebook {PRODUCERS.get(name, '?')} again."
        with refused(damaged, BadArtifact, (OSError, SafetensorError)):
            return load_file(self.path(name) / f"{file}.safetensors")

    @contextmanager
    def writing(self, name: str, inputs: tuple[str, ...] = (), **about) -> Iterator[Path]:
        """Write an artifact: yields an empty folder that replaces the old one only when the block ends well.

        `about` goes into `meta.json` (metrics, seconds, losses). A full disk leaves the old artifact as it was.
        """
        place = self.folder / name
        meta = {
            "name": name,
            "producer": PRODUCERS.get(name, "?"),
            "profile": self.profile.name,
            "seed": self.seed,
            "commit": commit(),
            "sizes": asdict(self.profile),
            "inputs": {other: self.meta(other)["hash"] for other in inputs},
            **about,
        }
        sentence = f"'{name}' could not be written ({{reason}}): free some disk space and run again."
        with refused(sentence, UniECGError, OSError), replacing(place) as room:
            yield room
            meta["hash"] = fingerprint(room)
            (room / "meta.json").write_text(json.dumps(meta, indent=1))
            (place / "meta.json").unlink(missing_ok=True)  # killed from here on, nothing passes for whole


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """An empty folder, which takes the place of `folder` when the block ends well; else it goes."""
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        yield part
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(part, folder)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all, with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)


def save_tensors(tensors: dict[str, Tensor], path: Path) -> None:
    """Write tensors as `<path>.safetensors`."""
    save_file({key: value.detach().cpu().contiguous() for key, value in tensors.items()}, f"{path}.safetensors")
