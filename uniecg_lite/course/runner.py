"""The chain: every notebook in order, with progress, resumable, ending in a results file and a report."""

import json
import os
import shutil
import time
from pathlib import Path

import nbformat
import papermill
from nbconvert import HTMLExporter

from ..artifacts import ROOT, Store
from ..config import profile as find_profile
from ..errors import UniECGError
from . import results, stored
from .lesson import BUDGETS, sums

NOTEBOOKS = ROOT / "notebooks"
KEEP_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**36)}  # read by glibc, unknown elsewhere


def chain() -> list[Path]:
    """The notebooks, in order."""
    return sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))


def run(profile: str | None = None, seed: int = 0, fresh: bool = False, write_back: bool = False) -> Path:
    """Run the chain and write results and report.

    A notebook that finished is not run again unless it, or one before it, has changed; a training that was killed goes
    on from its checkpoint.

    Args:
        profile: which sizes.
        seed: of the whole chain.
        fresh: forget what was finished.
        write_back: also put the executed notebooks in place of the committed ones.

    Returns:
        The results file.
    """
    store = Store.open(find_profile(profile), seed)
    log = _Log(store.folder / f"chain-{seed}.json", fresh)
    done_folder = store.folder / "notebooks"
    done_folder.mkdir(parents=True, exist_ok=True)
    print(
        f"{len(chain())} notebooks, profile {store.profile.name}, seed {seed}; budget of 00 to 10 "
        f"{store.profile.seconds_budget} s"
    )
    for path in chain():
        number, out = path.name[:2], done_folder / path.name
        if log.finished(path) and out.exists():
            print(f"  {path.stem:32s} done before, {log.seconds[number]:.0f} s")
            continue
        log.start(path)
        begun = time.time()
        _execute(path, out, store)
        log.finish(path, time.time() - begun)
        stored.write(store.folder / "stored" / f"{number}.json", stored.record(out))
        print(f"  {path.stem:32s} {log.seconds[number]:.0f} s of {BUDGETS.get(number, 0)} s", flush=True)
        if write_back:
            _put_back(out, path)
            log.finish(path, log.seconds[number])
    if write_back:
        stored.gather(store, results.RESULTS)
    file = results.write(store, log.seconds, resumed=log.resumed)
    total, *later = sums(log.seconds).items()
    print(f"total of 00 to 10: {total[1]:.0f} s of {store.profile.seconds_budget} s")
    for name, seconds in later:
        print(f"{name}: {seconds:.0f} s")
    print(f"results {file}\nreport  {report(done_folder, store.folder / 'report')}")
    return file


class _Log:
    """Which notebooks are finished, and how long each took."""

    def __init__(self, path: Path, fresh: bool):
        self.path = path
        known = {} if fresh or not path.exists() else json.loads(path.read_text())
        self.seconds, self.hashes = known.get("seconds", {}), known.get("hashes", {})
        self.earlier, self.resumed = bool(known), known.get("resumed", False)
        self.stale = False

    def finished(self, path: Path) -> bool:
        if not self.stale and self.hashes.get(path.name) == _source_hash(path):
            return True
        self.stale = True  # everything after a changed notebook runs again
        return False

    def start(self, path: Path) -> None:
        self.resumed = self.resumed or self.earlier  # times from more than one call: their sum is no single run
        self.seconds.pop(path.name[:2], None)
        self.hashes.pop(path.name, None)
        self._write()

    def finish(self, path: Path, seconds: float) -> None:
        self.seconds[path.name[:2]], self.hashes[path.name] = seconds, _source_hash(path)
        self._write()

    def _write(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_suffix(".part")
        part.write_text(json.dumps({"seconds": self.seconds, "hashes": self.hashes, "resumed": self.resumed}, indent=1))
        os.replace(part, self.path)


def _source_hash(path: Path) -> str:
    """A hash of a notebook's cells without their outputs."""
    import hashlib

    cells = nbformat.read(path, as_version=4).cells
    return hashlib.blake2b("\0".join(c.source for c in cells).encode(), digest_size=8).hexdigest()


def _execute(path: Path, out: Path, store: Store) -> None:
    """Run one notebook. Its kernel keeps the memory of freed tensors for the next step, which saves page faults."""
    os.environ["UNIECG_PROFILE"] = store.profile.name
    for name, value in KEEP_MEMORY.items():
        os.environ.setdefault(name, value)
    part = out.with_suffix(".part.ipynb")
    try:
        papermill.execute_notebook(
            path,
            part,
            {"profile": store.profile.name, "seed": store.seed},
            kernel_name="python3",
            cwd=NOTEBOOKS,
            progress_bar={"desc": path.stem, "leave": False},
            log_output=False,
        )
    except papermill.PapermillExecutionError as reason:
        raise UniECGError(
            f"{path.name} stopped in cell {reason.exec_count}: {reason.ename}: {reason.evalue}. Mend it and "
            f"run again; finished notebooks and checkpoints are kept. See {part}."
        ) from None
    os.replace(part, out)


def _put_back(executed: Path, place: Path) -> None:
    """Write an executed notebook over the committed one, without the runner's own cell and marks."""
    notebook = nbformat.read(executed, as_version=4)
    notebook.cells = [c for c in notebook.cells if "injected-parameters" not in c.metadata.get("tags", [])]
    notebook.metadata = {k: notebook.metadata[k] for k in ("kernelspec", "language_info") if k in notebook.metadata}
    for number, cell in enumerate(c for c in notebook.cells if c.cell_type == "code"):
        cell.execution_count = number + 1
        for output in cell.outputs:
            if "execution_count" in output:
                output["execution_count"] = number + 1
    for cell in notebook.cells:
        cell.metadata = {k: v for k, v in cell.metadata.items() if k == "tags" and v}
        if cell.cell_type == "code":
            cell.outputs = [
                o
                for o in cell.outputs
                if not (o.output_type == "stream" and o.name == "stderr")
                and "application/vnd.jupyter.widget-view+json" not in o.get("data", {})
            ]
    nbformat.write(notebook, place)


def report(executed: Path, folder: Path) -> Path:
    """Executed notebooks as HTML pages with an index: the path of `index.html`."""
    room = folder.with_name(folder.name + ".part")
    shutil.rmtree(room, ignore_errors=True)
    room.mkdir(parents=True)
    links = []
    exporter = HTMLExporter(template_name="lab")
    for path in sorted(executed.glob("[0-9][0-9]_*.ipynb")):
        if path.name.endswith(".part.ipynb"):
            continue
        html, _ = exporter.from_filename(str(path))
        (room / f"{path.stem}.html").write_text(html, encoding="utf-8")
        links.append(f'<li><a href="{path.stem}.html">{path.stem.replace("_", " ")}</a></li>')
    (room / "index.html").write_text(
        "<!doctype html><html lang='en'><meta charset='utf-8'><title>UniECG-lite report</title><h1>UniECG-lite</h1>"
        f"<p>Educational, not for diagnosis.</p><ul>{''.join(links)}</ul></html>",
        encoding="utf-8",
    )
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(room, folder)
    return folder / "index.html"
