"""Is this machine ready for the course? A list of [OK] and [FAIL] lines; each [FAIL] says what to do."""

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import psutil
import torch

GB = 2**30
MEMORY_GB = {"smoke": 4, "laptop": 8, "gpu": 8, "paper": 8}  # free main memory that a profile needs
DISK_GB = 3
Row = tuple[bool, str]
Lookup = Callable[[str], str]  # name -> installed version


def check(profile: str | None = None, artifacts: Path = Path("artifacts")) -> bool:
    """Print the list and say whether every line is [OK]."""
    profile = profile or os.environ.get("UNIECG_PROFILE", "laptop")
    rows = [python_row(), *pin_rows(), conflict_row(), device_row(profile)]
    rows += [memory_row(profile, psutil.virtual_memory().available), disk_row(Path.cwd()), writable_row(artifacts)]
    for ok, text in rows:
        print(f"[{'OK' if ok else 'FAIL'}] {text}")
    return all(ok for ok, _ in rows)


def python_row(version: tuple[int, ...] = sys.version_info[:3]) -> Row:
    """The package needs Python 3.11 or newer."""
    text = "Python " + ".".join(map(str, version))
    return (True, text) if version >= (3, 11) else (False, f"{text} is too old; make env PYTHON=python3.11")


def direct_pins() -> dict[str, str]:
    """{name: version} of the direct dependencies, as the installed package declares them (no extras)."""
    wanted = [r for r in metadata.requires("uniecg_lite") or [] if ";" not in r]
    return dict(r.split("==") for r in wanted)


def pin_rows(pins: dict[str, str] | None = None, installed: Lookup = metadata.version) -> list[Row]:
    """One row per direct dependency: installed version against the pin; `installed` looks a version up by name."""
    try:
        pins = direct_pins() if pins is None else pins
    except metadata.PackageNotFoundError:
        return [(False, "uniecg_lite is not installed in this Python; make env, and use the one in .venv or .conda")]
    return [pin_row(name, pin, installed) for name, pin in pins.items()]


def pin_row(name: str, pin: str, installed: Lookup) -> Row:
    """A build suffix such as +cpu does not count; another torch is fine if it drives a CUDA device."""
    try:
        found = installed(name)
    except metadata.PackageNotFoundError:
        return False, f"{name} is missing; python -m pip install {name}=={pin}"
    if found.split("+")[0] == pin:
        return True, f"{name} {found}"
    if name == "torch" and torch.cuda.is_available():
        return True, f"torch {found}: not the pinned {pin}, kept because it works with CUDA here"
    return False, f"{name} {found}, the pin is {pin}; python -m pip install {name}=={pin}"


def conflict_row() -> Row:
    """`pip check`, without complaints about our own pins (listed above) and packages outside this environment."""
    done = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True)
    if "No module named pip" in done.stderr:
        return False, "pip is missing, so conflicts cannot be looked for; python -m ensurepip"
    lines = [line for line in done.stdout.splitlines() if done.returncode and concerns_us(line)]
    if not lines:
        return True, "no dependency conflicts"
    return False, f"dependency conflicts: {'; '.join(lines)}; rm -rf .venv .conda, then make env"


def concerns_us(line: str) -> bool:
    """Does a line of `pip check` speak of a package installed in this environment, other than ours?"""
    name = line.split()[0] if line.strip() else ""
    try:
        home = Path(str(metadata.distribution(name).locate_file(""))).resolve()
    except (metadata.PackageNotFoundError, ValueError):
        return False
    return name.replace("_", "-") != "uniecg-lite" and home.is_relative_to(Path(sys.prefix).resolve())


def device_row(profile: str) -> Row:
    """Where the networks will run, and why there."""
    if torch.cuda.is_available():
        return True, f"device cuda, because PyTorch sees {torch.cuda.get_device_name(0)}"
    hint = "; profile gpu would take hours here: take PROFILE=laptop" if profile == "gpu" else ""
    threads = torch.get_num_threads()
    return not hint, f"device cpu, because PyTorch sees no CUDA device; {threads} threads; {amx()}{hint}"


def amx(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Does this processor have bf16 matrix units? Only Linux says so in a file."""
    try:
        words = cpuinfo.read_text(errors="replace").split()
    except OSError:
        return f"bf16 matrix units (AMX): unknown on {platform.system()}"
    return f"bf16 matrix units (AMX): {'yes' if 'amx_bf16' in words else 'no, so expect longer times'}"


def memory_row(profile: str, free: int) -> Row:
    """Free main memory against what the profile needs."""
    if profile not in MEMORY_GB:
        return False, f"profile {profile!r} is unknown; set UNIECG_PROFILE to one of {', '.join(MEMORY_GB)}"
    text = f"{free / GB:.1f} GB memory free, profile {profile} needs {MEMORY_GB[profile]}"
    return (True, text) if free >= MEMORY_GB[profile] * GB else (False, f"{text}; close programs or take PROFILE=smoke")


def disk_row(folder: Path) -> Row:
    """Free disk space where the course writes."""
    free = shutil.disk_usage(folder).free
    text = f"{free / GB:.1f} GB disk free, {DISK_GB} needed"
    return (True, text) if free >= DISK_GB * GB else (False, f"{text}; delete something, or make clean")


def writable_row(folder: Path) -> Row:
    """Can the notebooks leave their artifacts for each other?"""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True, f"{folder} is writable"
    except OSError as why:
        return False, f"{folder} is not writable ({why.strerror}); change its owner, or work in a folder of your own"
