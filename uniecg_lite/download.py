"""How does a published data set get here? Fetched, resumed where it broke off, each file checked, and unpacked."""

import hashlib
import http.client
import shutil
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from pathlib import Path

from tqdm.auto import tqdm

from .errors import BadArtifact, BadRequest, UniECGError, refused, require
from .findings import table
from .store import replacing

DATASETS = table("datasets")
TRIES, PATIENCE_S = 8, 30.0


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
    idle, had = 0, part.stat().st_size if part.exists() else 0
    while idle < TRIES:
        try:
            asked = urllib.request.Request(url, headers={"Range": f"bytes={had}-"} if had else {})
            with urllib.request.urlopen(asked, timeout=patience_s) as answer:
                start = had if answer.status == 206 else 0
                bar = {"desc": "fetch", "unit": "B", "unit_scale": True, "leave": False}
                bar |= {"total": start + (answer.length or 0), "initial": start}
                with open(part, "ab" if start else "wb") as file, tqdm.wrapattr(file, "write", **bar) as out:
                    shutil.copyfileobj(answer, out)
                if not answer.length:  # of what it promised nothing is left, or it promised nothing
                    return
            code, why = 500, "it broke off"
        except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as reason:
            code, why = getattr(reason, "code", 500), str(reason)
        if code == 416 and had:  # nothing lies beyond: the archive itself will tell whether it is whole
            return
        require(code in (408, 429) or code >= 500, f"{url} is refused ({why}): try a mirror.", UniECGError)
        before, had = had, part.stat().st_size if part.exists() else 0
        idle = 0 if had > before else idle + 1
        time.sleep(min(idle, patience_s))
    raise UniECGError(f"{url} cannot be fetched ({why}): try again, or a mirror; what is here is kept.")


def unpack(archive: Path, folder: Path, sums: str, keep: list[str]) -> None:
    """Unpack what is kept of an archive, each file checked against its SHA256 sum; the folder is whole or not there.

    Raises:
        BadArtifact: no archive, a file is missing, or its sum is another.
    """
    damaged = "The archive is damaged ({reason}): fetch it again, from another mirror if this happens twice."
    kinds = (zipfile.BadZipFile, zlib.error, EOFError, KeyError, ValueError, NotImplementedError)
    with refused(damaged, BadArtifact, kinds), zipfile.ZipFile(archive) as file, replacing(folder) as room:
        at = min((name for name in file.namelist() if Path(name).name == sums), key=len, default="")
        require(at, f"it has no {sums}", ValueError)
        lines = [line.split(maxsplit=1) for line in file.read(at).decode().splitlines() if line.strip()]
        kept = {name: digest.lower() for digest, name in lines if name.startswith(tuple(keep))}
        gone = [name for name in keep if not any(one.startswith(name) for one in kept)]
        require(not gone, f"its sums name no {', '.join(gone)}", ValueError)
        (room / sums).write_bytes(file.read(at))
        for name, digest in tqdm(kept.items(), desc="unpack", leave=False):
            place = (room / name).resolve()
            require(place.is_relative_to(room.resolve()), f"{name} leads out of the folder", ValueError)
            content = file.read(at.removesuffix(sums) + name)
            same = hashlib.sha256(content).hexdigest() == digest
            require(same, f"{name} is not what its SHA256 sum says", ValueError)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
