"""Is this machine ready for the course? A list of [OK] and [FAIL] lines; each [FAIL] says what to do."""

import os
import platform
import shutil
import sysconfig
import tempfile
from importlib import metadata
from pathlib import Path

import psutil
import torch
from packaging.requirements import Requirement
from transformers import AutoConfig

from ..config import HARDWARE, Profile
from ..config import profile as find_profile
from ..training import device_and_why

GB = 2**30
DISK_GB = 3
STAGE1_TOKENS, POCKET_ROWS = 192, 2240  # of the longest conversations with their ECG tokens; of the pocket vocabulary
Row = tuple[bool, str]


def check(profile: str | None = None, artifacts: Path = Path("artifacts")) -> bool:
    """Print the list and say whether every line is [OK]."""
    profile = profile or os.environ.get("UNIECG_PROFILE", "laptop")
    device = torch.cuda.mem_get_info()[0] if torch.cuda.is_available() else None
    rows = [(True, f"Python {platform.python_version()}"), *pin_rows(), conflict_row(), device_row(profile)]
    rows += memory_rows(profile, psutil.virtual_memory().available, device)
    disk = shutil.disk_usage(Path.cwd()).free
    disk_row = free_row(disk, DISK_GB, "disk free, needed are", "delete something, or make clean")
    rows += [disk_row, writable_row(artifacts)]
    print("\n".join(f"[{'OK' if ok else 'FAIL'}] {text}" for ok, text in rows))
    return all(ok for ok, _ in rows)


def pin_rows() -> list[Row]:
    """One row per direct dependency (no extras): the installed version against the pin of the installed package.

    Another torch is fine if it drives a CUDA device.
    """
    try:
        wanted = [Requirement(line) for line in metadata.requires("uniecg_lite") or []]
    except metadata.PackageNotFoundError:
        return [(False, "uniecg_lite is not installed in this Python; make env, and use the one in .venv or .conda")]
    rows = []
    for need in (need for need in wanted if not need.marker):
        ok, text = installed(need)
        if not ok and need.name == "torch" and torch.cuda.is_available():
            ok, text = True, f"{text}: not the pinned {need.specifier}, kept because it works with CUDA here"
        rows.append((ok, text if ok else f"{text}, the pin is {need.specifier}; python -m pip install {need}"))
    return rows


def installed(need: Requirement) -> Row:
    """Whether the installed version is one that is required. A build suffix such as +cpu does not count."""
    try:
        version = metadata.version(need.name)
    except metadata.PackageNotFoundError:
        return False, f"{need.name} is missing"
    return need.specifier.contains(version, prereleases=True), f"{need.name} {version}"


def conflict_row() -> Row:
    """What packages of this environment require of others (extras aside), but for our own pins, which are listed."""
    packages = metadata.distributions(path=[*{sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}])
    needs = [(p.name, Requirement(line)) for p in packages if p.name != "uniecg_lite" for line in p.requires or []]
    needs = [(name, need) for name, need in needs if need.marker is None or need.marker.evaluate({"extra": ""})]
    lines = [f"{name} requires {need}: {text}" for name, need in needs for ok, text in [installed(need)] if not ok]
    found = f"dependency conflicts: {'; '.join(lines)}; rm -rf .venv .conda, then make env"
    return not lines, found if lines else "no dependency conflicts"


def device_row(profile: str) -> Row:
    """Where the networks will run, and why there."""
    device, _, why = device_and_why()
    slow = "profile gpu would take hours here: take PROFILE=laptop"
    return row((profile, device) != ("gpu", "cpu"), f"device {device}: {why}", slow)


def row(ok: bool, text: str, remedy: str) -> Row:
    """A line, which ends with what to do unless all is well."""
    return ok, text if ok else f"{text}; {remedy}"


def free_row(free: int, needed: int, what: str, remedy: str) -> Row:
    """Free bytes against the GB that are needed."""
    return row(free >= needed * GB, f"{free / GB:.1f} GB {what} {needed}", remedy)


def memory_rows(profile: str, main: int, device: int | None) -> list[Row]:
    """Free main memory, and that of the GPU if there is one, in bytes, against what the profile needs."""
    if profile not in HARDWARE:
        return [(False, f"profile {profile!r} is unknown; set UNIECG_PROFILE to one of {', '.join(HARDWARE)}")]
    needed, words = HARDWARE[profile]["main_gb"], f"memory free, profile {profile} needs"
    rows = [free_row(main, needed, f"main {words}", "close programs or take PROFILE=smoke")]
    if device is not None:
        remedy = "end what else runs there, or take PROFILE=laptop"
        rows.append(free_row(device, HARDWARE[profile].get("device_gb", needed), f"device {words}", remedy))
    return [*rows, batch_row(profile, main if device is None else device)]


def batch_row(profile: str, free: int) -> Row:
    """Whether stage 1's batch fits into so many free bytes, and the largest that would; estimates, not measured."""
    P = find_profile(profile)
    try:
        most = largest_batch(P, free)
    except (OSError, ValueError, AttributeError):
        return False, f"there is no language model in {P.llm}; set UNIECG_LLM to a folder of one, or to nothing"
    text = f"stage 1 trains with batch {P.stage1.batch}; at most about {most} fit into the free memory (estimate)"
    return row(most >= P.stage1.batch, text, "close programs or take PROFILE=smoke")


def largest_batch(P: Profile, free: int) -> int:
    """Records of one step of stage 1 that fit into so many free bytes, estimated from the sizes of the language model.

    A parameter takes 16 bytes: itself, its gradient, two moments of AdamW. A record of T tokens keeps 68 T D + 10 A T^2
    bytes a layer for the backward pass (width D, A heads; twice the half precision of Korthikanti et al., "Reducing
    activation recomputation in large transformer models", arXiv 2205.05198, eq. 2) and three times its T V logits. A
    fifth of the memory is left for what this does not count.

    Raises:
        OSError, ValueError: `P.llm` names no folder of a language model.
    """
    D, layers, heads, V, T = P.lm_width, P.lm_layers, P.lm_heads, POCKET_ROWS, STAGE1_TOKENS
    if P.llm:
        guest = AutoConfig.from_pretrained(P.llm)
        D, layers, heads, V = guest.hidden_size, guest.num_hidden_layers, guest.num_attention_heads, guest.vocab_size
    fixed = 16 * (12 * layers * D * D + V * D)
    record = layers * (68 * T * D + 10 * heads * T * T) + 3 * 4 * T * V
    return max(0, int((0.8 * free - fixed) // record))


def writable_row(folder: Path) -> Row:
    """Can the notebooks leave their artifacts for each other?"""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True, f"{folder} is writable"
    except OSError as why:
        return False, f"{folder} is not writable ({why.strerror}); change its owner, or work in a folder of your own"
