"""How does a published data set get here? Fetched, resumed where it broke off, each file checked, and unpacked."""

import hashlib
import http.client
import shutil
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from tqdm.auto import tqdm

from .errors import BadArtifact, BadRequest, UniECGError, refused, require
from .findings import table
from .store import replacing

DATASETS = table("datasets")
TRIES, PATIENCE_S = 8, 30.0
_BLOCK = 2**18  # bytes


def get(name: str, folder: str | Path, mirror: str | None = None, patience_s: float = PATIENCE_S) -> Path:
    """Fetch a data set of `data/datasets.json` into a folder, from its publisher or a mirror; nothing if it is there.

    What was fetched of an archive stays in `<folder>.zip.part`, and the next call goes on there. All files that are
    kept are checked against the SHA256 sums in the archive; the folder is there whole or not at all.

    Raises:
        BadRequest: no such data set.
        UniECGError: the server or the disk refuses.
        BadArtifact: the archive, or a file in it, is not what was published.
    """
    require(name in DATASETS, f"There is no data set '{name}': choose one of {', '.join(DATASETS)}.", BadRequest)
    row, folder = DATASETS[name], Path(folder)
    if folder.exists():
        require((folder / row["sums"]).is_file(), f"{folder} is something else: choose another folder.", BadRequest)
        return folder
    part = folder.with_name(f"{folder.name}.zip.part")
    with refused(f"{part} could not be written ({{reason}}): make room.", UniECGError, OSError):
        folder.parent.mkdir(parents=True, exist_ok=True)
        fetch(f"{(mirror or row['url']).rstrip('/')}/{row['file']}", part, patience_s)
        try:
            unpack(part, folder, row["sums"], row["keep"])
        except BadArtifact:
            part.unlink()  # to go on with it would never end well
            raise
        part.unlink()
    return folder


def fetch(url: str, part: Path, patience_s: float = PATIENCE_S) -> None:
    """Fetch a URL into a file, from where the file ends, as often as it takes to get on.

    Raises:
        UniECGError: refused, or no byte more in `TRIES` tries.
    """
    idle, why = 0, ""
    while idle < TRIES:
        before = part.stat().st_size if part.exists() else 0
        try:
            if _go_on(url, part, before, patience_s):
                return
            why = "it broke off"
        except urllib.error.HTTPError as reason:
            passing = reason.code in (408, 429) or reason.code >= 500
            require(passing, f"{url} is refused ({reason}): try a mirror.", UniECGError)
            why = str(reason)
        except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as reason:
            why = str(reason)
        after = part.stat().st_size if part.exists() else 0
        idle = 0 if after > before else idle + 1
        time.sleep(min(idle, patience_s))
    raise UniECGError(f"{url} cannot be fetched ({why}): try again, or a mirror; what is here is kept.")


def _go_on(url: str, part: Path, start: int, patience_s: float) -> bool:
    """Append what the server gives from byte `start` on; is that all of it?"""
    asked = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        answer = urllib.request.urlopen(asked, timeout=patience_s)
    except urllib.error.HTTPError as reason:
        if reason.code == 416 and start:  # nothing lies beyond: the archive itself will tell whether it is whole
            return True
        raise
    with answer, open(part, "ab" if answer.status == 206 else "wb") as file:
        had = start if answer.status == 206 else 0
        length = answer.headers.get("Content-Length")
        whole = had + int(length) if length else None
        with tqdm(total=whole, initial=had, desc="fetch", unit="B", unit_scale=True, leave=False) as bar:
            while block := answer.read(_BLOCK):
                had += file.write(block)
                bar.update(len(block))
        return whole is None or had == whole


def unpack(archive: Path, folder: Path, sums: str, keep: list[str]) -> None:
    """Unpack what is kept of an archive, each file checked against its SHA256 sum; the folder is whole or not there.

    Raises:
        BadArtifact: no archive, a file is missing, or its sum is another.
    """
    damaged = "The archive is damaged ({reason}): fetch it again, from another mirror if this happens twice."
    kinds = (zipfile.BadZipFile, zlib.error, EOFError, KeyError, ValueError, NotImplementedError)
    with refused(damaged, BadArtifact, kinds), zipfile.ZipFile(archive) as file, replacing(folder) as room:
        inside = {str(PurePosixPath(name)): name for name in file.namelist() if not name.endswith("/")}
        at = min((name for name in inside if PurePosixPath(name).name == sums), key=len, default="")
        require(at, f"it has no {sums}", ValueError)
        top = str(PurePosixPath(at).parent / "_").removesuffix("_")
        lines = [line.split(maxsplit=1) for line in file.read(inside[at]).decode().splitlines() if line.strip()]
        wanted = {name.lstrip("*"): digest for digest, name in lines}
        kept = {name: digest for name, digest in wanted.items() if name.startswith(tuple(keep))}
        gone = [name for name in keep if not any(one.startswith(name) for one in kept)]
        require(not gone, f"its sums name no {', '.join(gone)}", ValueError)
        (room / sums).write_bytes(file.read(inside[at]))
        for name, digest in tqdm(kept.items(), desc="unpack", leave=False):
            place = (room / name).resolve()
            require(place.is_relative_to(room.resolve()), f"{name} leads out of the folder", ValueError)
            place.parent.mkdir(parents=True, exist_ok=True)
            with file.open(inside[f"{top}{name}"]) as source, open(place, "wb") as target:
                shutil.copyfileobj(source, target)
            with open(place, "rb") as target:
                same = hashlib.file_digest(target, "sha256").hexdigest() == digest.lower()
            require(same, f"{name} is not what its SHA256 sum says", ValueError)
