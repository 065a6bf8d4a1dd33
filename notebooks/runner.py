"""The chain: every notebook after those it needs, with progress, resumable, ending in a results file and a report."""

import json
import multiprocessing
import os
import time
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, ThreadPoolExecutor, wait
from graphlib import TopologicalSorter
from pathlib import Path

import nbformat
import papermill
import run_results as results
import stored
import torch
from nbconvert import HTMLExporter
from nbconvert.filters import markdown2html

from uniecg_lite.config import profile as find_profile
from uniecg_lite.errors import BadArtifact, BadRequest, UniECGError, require
from uniecg_lite.paths import ROOT
from uniecg_lite.store import CHAIN, NEEDS, PRODUCERS, Store, replacing, write_text

NOTEBOOKS = ROOT / "notebooks"
KEEP_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**36)}  # read by glibc, unknown elsewhere


def chain() -> list[Path]:
    """The notebooks, in order."""
    return sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))


def chosen(only: str | None = None, first: str | None = None, last: str | None = None) -> list[Path]:
    """The notebooks of a range of numbers (`6` or `06`), or one alone; all of them by default.

    Raises:
        BadRequest: no such notebook, an empty range, or both one alone and a range.
    """
    alone = "Ask for one notebook (--only) or for a range (--from, --to), not for both."
    require(not (only and (first or last)), alone, BadRequest)
    known = [path.name[:2] for path in chain()]
    low, high = (only or first or known[0]).zfill(2), (only or last or known[-1]).zfill(2)
    for one in (low, high):
        require(one in known, f"There is no notebook '{one}': choose one of {known[0]} to {known[-1]}.", BadRequest)
    require(low <= high, f"No notebook lies from {low} to {high}: give the smaller number to --from.", BadRequest)
    return [path for path in chain() if low <= path.name[:2] <= high]


def before(path: Path) -> set[str]:
    """The numbers of the notebooks that must have run before this one: they make what it needs, or it shows figures of
    theirs."""
    number = path.name[:2]
    return {PRODUCERS[name] for name in NEEDS.get(number, ())} | {*CHAIN[number].get("after", ())}


def usual_jobs() -> int:
    """How many notebooks run at a time unless somebody says it: two on a CPU of several cores, each with half of them.

    Small models gain little from a second core, so two notebooks side by side are ready sooner.
    """
    return 1 if torch.cuda.is_available() or torch.get_num_threads() < 2 else 2


def missing(store: Store, paths: list[Path]) -> list[str]:
    """Artifacts that these notebooks start from and that are not there, or no longer fit, in the chain's order.

    What one of the notebooks makes itself counts as there. Of what is missing, what it is made from is looked at, too.
    """
    numbers, found = {path.name[:2] for path in paths}, []
    wanted = {name for number in numbers for name in NEEDS.get(number, ())}
    for name, maker in reversed(PRODUCERS.items()):
        if name in wanted and maker not in numbers:
            try:
                store.path(name)
            except BadArtifact:
                found.insert(0, name)
                wanted |= {*NEEDS.get(maker, ())}
    return found


def finished(store: Store) -> dict[Path, dict]:
    """The notebooks that have run as they are now, with this seed, after those they need: path -> record."""
    out = {}
    for path in chain():
        file, executed = store.folder / "stored" / f"{path.name[:2]}.json", store.folder / "notebooks" / path.name
        known = json.loads(file.read_text()) if file.exists() and executed.exists() else {}
        own = (known.get("seed"), known.get("source")) == (store.seed, _source_hash(path)) and "started" in known
        earlier = [other for path_of, other in out.items() if path_of.name[:2] in before(path)]
        if own and len(earlier) == len(before(path)) and all(other["started"] <= known["started"] for other in earlier):
            out[path] = known
    return out


def run(
    profile: str | None = None,
    seed: int = 0,
    fresh: bool = False,
    only: str | None = None,
    first: str | None = None,
    last: str | None = None,
    jobs: int | None = None,
) -> Path | None:
    """Run the chain, or a part of it, and write results and report, all of it among the artifacts of the profile.

    A notebook that finished is not run again unless it, or one that it needs, has changed; a training that was killed
    goes on from its checkpoint.

    Args:
        profile: which sizes.
        seed: of the whole chain.
        fresh: forget what was finished of the notebooks asked for, and of all that need them.
        only: the number of one notebook, to run it alone.
        first: the number of the first notebook to run.
        last: that of the last one.
        jobs: how many run at the same time, see `usual_jobs`.

    Returns:
        The results file; None as long as some notebook is not finished.

    Raises:
        BadRequest: no such profile or notebooks.
        BadArtifact: what a part of the chain starts from is missing.
        UniECGError: a notebook failed.
    """
    store, paths, begun = Store.open(find_profile(profile), seed), chosen(only, first, last), time.time()
    done = {} if fresh else finished(store)
    todo = [path for path in paths if path not in done]
    lacking = {name: PRODUCERS[name] for name in (missing(store, todo) if len(paths) < len(chain()) else ())}
    if lacking:
        named = ", ".join(f"'{name}' (notebook {maker})" for name, maker in lacking.items())
        more = f" --seed {seed}" if seed else ""
        part = f"--profile {store.profile.name}{more} --from {min(lacking.values())} --to {max(lacking.values())}"
        before = f"Before notebook {todo[0].name[:2]} can run, this is missing or no longer fits: {named}"
        raise BadArtifact(f"{before}; first run {part}.")
    most = f"budget of all {len(chain())} {store.profile.seconds_all} s"
    print(f"{len(paths)} notebooks, profile {store.profile.name}, seed {seed}; {most}")
    for path in (path for path in paths if path in done):
        print(f"  {path.stem:32s} done before, {done[path]['seconds']:.0f} s")
    if todo:
        _run_all(todo, store, begun, jobs or usual_jobs())
    done = finished(store)
    if left := [path.name[:2] for path in chain() if path not in done]:
        print(f"No results yet, notebooks {', '.join(left)} remain: go on with run --from {left[0]}.")
        return None
    seconds, starts = ({path.name[:2]: k[key] for path, k in done.items()} for key in ("seconds", "started"))
    resumed = len({known["begun"] for known in done.values()}) > 1  # their time is that of no single run
    file = results.write(store, seconds, starts, resumed)
    print(results.against_budget(store.profile, seconds, starts))
    table = "## Figures\n\n" + results.beside_committed(json.loads(file.read_text(encoding="utf-8")))
    print(f"results {file}\nreport  {report(store.folder / 'notebooks', store.folder / 'report', table)}")
    return file


def _run_all(todo: list[Path], store: Store, run_begun: float, jobs: int) -> None:
    """Run notebooks, each as soon as those that it needs are ready, at most `jobs` at a time, the first ones first.

    They are no longer finished until then; results go, as they were those of a whole chain.
    """
    for file in (results.run_file(store), *(store.folder / "stored" / f"{path.name[:2]}.json" for path in todo)):
        file.unlink(missing_ok=True)
    os.environ["OMP_NUM_THREADS"] = str(max(1, torch.get_num_threads() // jobs))  # of each kernel
    spawned, running = multiprocessing.get_context("spawn"), {}
    order = TopologicalSorter({path: {other for other in todo if other.name[:2] in before(path)} for path in todo})
    order.prepare()
    with ProcessPoolExecutor(jobs, spawned) if jobs > 1 else ThreadPoolExecutor(1) as pool:
        while order.is_active():
            running |= {pool.submit(_run_one, path, store, run_begun): path for path in sorted(order.get_ready())}
            for ended in wait(running, return_when=FIRST_COMPLETED).done:
                if ended.exception():
                    pool.shutdown(cancel_futures=True)  # what runs is finished first
                order.done(running.pop(ended))
                ended.result()


def _run_one(path: Path, store: Store, run_begun: float) -> None:
    """Run one notebook of the chain and note it as finished."""
    number, out = path.name[:2], store.folder / "notebooks" / path.name
    out.parent.mkdir(parents=True, exist_ok=True)
    begun = time.time()
    _execute(path, out, store)
    seconds = time.time() - begun
    about = {"seed": store.seed, "source": _source_hash(path), "begun": run_begun, "started": begun, "seconds": seconds}
    stored.write(store.folder / "stored" / f"{number}.json", {**about, **stored.record(out)})
    print(f"  {path.stem:32s} {seconds:.0f} s of {store.profile.notebook_budget(number):.0f} s", flush=True)


def _source_hash(path: Path) -> str:
    """A hash of a notebook's cells, of text and of code, without their outputs."""
    return stored.code_hash(nbformat.read(path, as_version=4).cells)


def _execute(path: Path, out: Path, store: Store) -> None:
    """Run one notebook. Its kernel keeps the memory of freed tensors for the next step, which saves page faults."""
    os.environ["UNIECG_PROFILE"] = store.profile.name
    for name, value in KEEP_MEMORY.items():
        os.environ.setdefault(name, value)
    part, worker = out.with_suffix(".part.ipynb"), multiprocessing.current_process().name.rpartition("-")[2]
    line = int(worker) - 1 if worker.isdigit() else 0  # of its progress bar
    try:
        given, bar = (
            {"profile": store.profile.name, "seed": store.seed},
            {"desc": path.stem, "leave": False, "position": line},
        )
        papermill.execute_notebook(path, part, given, kernel_name="python3", cwd=NOTEBOOKS, progress_bar=bar)
    except papermill.PapermillExecutionError as reason:
        stopped = f"{path.name} stopped in cell {reason.exec_count}: {reason.ename}: {reason.evalue}"
        advice = f"Mend it and run again; finished notebooks and checkpoints are kept. See {part}."
        raise UniECGError(f"{stopped}. {advice}") from None
    os.replace(part, out)


def report(executed: Path, folder: Path, table: str = "") -> Path:
    """Executed notebooks as HTML pages with an index, which shows a Markdown table: the path of `index.html`."""
    exporter = HTMLExporter(template_name="lab")
    paths = sorted(path for path in executed.glob("[0-9][0-9]_*.ipynb") if ".part." not in path.name)
    links = [f'<li><a href="{path.stem}.html">{path.stem.replace("_", " ")}</a></li>' for path in paths]
    with replacing(folder) as room:
        for path in paths:
            write_text(room / f"{path.stem}.html", exporter.from_filename(str(path))[0])
        page = "<!doctype html><html lang='en'><meta charset='utf-8'><title>UniECG-lite report</title>"
        page += f"<h1>UniECG-lite</h1><p>Educational, not for diagnosis.</p><ul>{''.join(links)}</ul>"
        write_text(room / "index.html", f"{page}{markdown2html(table)}</html>")
    return folder / "index.html"
