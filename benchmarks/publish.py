"""What `uniecg results` does: a finished run goes to `results/` and `notebooks/`, and its tables into README."""

import json
import re
from pathlib import Path

import nbformat

from uniecg_lite.config import HARDWARE, PROFILES
from uniecg_lite.errors import BadRequest, UniECGError, require
from uniecg_lite.paths import beside
from uniecg_lite.store import Store, write_text
from uniecg_lite.studies.grid import STUDIES
from uniecg_lite.studies.study import markdown, read_cells, system_table

runner, results, stored = (beside(f"notebooks/{name}.py") for name in ("runner", "run_results", "stored"))
WIDGET = "application/vnd.jupyter.widget-view+json"


def publish(store: Store, tables_only: bool = False, notebooks: bool = False) -> list[str]:
    """Copy a finished run to `results/`, put its notebooks back if they are asked for, and write README's tables.

    Returns:
        What was done, as lines of text.

    Raises:
        BadRequest: notebooks are to be put back, but nothing is to be copied.
        UniECGError: see `put_back`.
    """
    both = "--tables-only copies nothing: leave it out to put notebooks back."
    require(not (notebooks and tables_only), both, BadRequest)
    lines = [f"put back {path}" for path in put_back(store)] if notebooks else []
    if not tables_only:
        there = "nothing is new" if results.run_file(store).exists() else f"no finished run in {store.folder}"
        lines += [f"copied to {path}" for path in copy_run(store)] or [f"{there}: nothing copied"]
    return [*lines, "README.md updated" if update_readme() else "README.md is up to date"]


def copy_run(store: Store) -> list[Path]:
    """Copy a finished run's results and the cells of its studies to `results/`: the files that are new or other there.

    Figures of studies are gathered anew, as a study may have run after the chain. Without a finished run, nothing is
    copied.
    """
    if not results.run_file(store).exists():
        return []
    result = json.loads(results.run_file(store).read_text(encoding="utf-8"))
    place = results.committed_file(result["profile"], result["machine"], result["seed"])
    texts = {place: results.as_text(result, result["metrics"] | results.studied(store))}
    if not store.seed:  # studies start from the chain with seed 0
        for path in sorted((store.folder / "studies").glob(f"*/{store.profile.name}.*.seed*.json")):
            texts[results.RESULTS / "studies" / path.parent.name / path.name] = path.read_text(encoding="utf-8")
    texts = {to: text for to, text in texts.items() if not to.exists() or to.read_text(encoding="utf-8") != text}
    for to, text in texts.items():
        write_text(to, text)
    return list(texts)


def put_back(store: Store) -> list[Path]:
    """Write the executed notebooks of a finished chain over the committed ones: their paths.

    Raises:
        UniECGError: some notebook has not run, or has changed since.
    """
    done = runner.finished(store)
    for path in runner.chain():
        now = f"has not run with profile '{store.profile.name}' and seed {store.seed} as it is now"
        advice = "run the chain first, then put its notebooks back."
        require(path in done, f"Notebook {path.stem} {now}: {advice}", UniECGError)
    for path in done:
        _put_back(store.folder / "notebooks" / path.name, path)
    return [*done, stored.gather(store, results.RESULTS)]


def _put_back(executed: Path, place: Path) -> None:
    """Write the outputs of an executed notebook into the committed one."""
    notebook = nbformat.read(place, as_version=4)
    own = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for number, (cell, ran) in enumerate(zip(own, stored.code_cells(executed), strict=True), start=1):
        shown = [o for o in ran.outputs if o.get("name") != "stderr" and WIDGET not in o.get("data", {})]
        for output in (o for o in shown if "execution_count" in o):
            output.execution_count = number
        cell.outputs = shown
        cell.execution_count = number
    write_text(place, nbformat.writes(notebook) + "\n")


def update_readme(readme: Path | None = None) -> bool:
    """Put the tables made from `results/` and from the notebooks into README, or another page; True when it changed."""
    page = readme or results.ROOT / "README.md"
    text = page.read_text(encoding="utf-8")
    tables = {
        "results": results.table_of_aims(results.load_all()),
        "syllabus": syllabus(),
        "studies": studies_table(results.RESULTS / "studies"),
        "table": system_table(root=results.RESULTS / "studies"),
        "hardware": hardware(),
    }
    place = re.compile(rf"(<!-- ({'|'.join(tables)}):begin -->\n).*?(<!-- \2:end -->)", re.S)
    new = place.sub(lambda found: f"{found[1]}{tables[found[2]]}\n{found[3]}", text)
    if new != text:
        write_text(page, new)
    return new != text


def syllabus() -> str:
    """The notebooks as a Markdown table: title, promise, seconds measured."""
    timed = next((r["seconds"] for r in results.load_all() if r["profile"] == "laptop"), {})
    rows = []
    for path in sorted((results.ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb")):
        number = path.name[:2]
        cell = "".join(json.loads(path.read_text(encoding="utf-8"))["cells"][0]["source"]).strip().splitlines()
        promise = next((line.strip() for line in cell[1:] if line.strip()), "")
        seconds = f"{timed[number]:.0f} s" if number in timed else ""
        solution = f"[{number}](notebooks/solutions/{number}.ipynb)"
        rows.append([f"[{path.stem}](notebooks/{path.name})", promise, seconds, solution])
    return markdown(["notebook", "what you learn", "laptop", "solutions"], rows)


def hardware() -> str:
    """The profiles as a Markdown table: how long a user waits for all notebooks, as measured, and at most."""
    rows = []
    for name, about in HARDWARE.items():
        runs = [run for run in results.load_all() if run["profile"] == name]
        waits = [f"{r['seconds']['total_all'] / 60:.0f} min on {r['machine']}, {r['processor']}" for r in runs]
        most = f"{PROFILES[name].seconds_all / 60:.0f} min on {about['on']}"
        rows.append([f"`{name}`", about["for"], ", ".join(waits) or "no results committed", most, about["memory"]])
    return markdown(["profile", "for", "all notebooks, measured", "at most", "memory"], rows)


def studies_table(root: Path | None = None) -> str:
    """The studies as a Markdown table: question, cells that are committed, and minutes that they took together."""
    rows = []
    for name, study in STUDIES.items():
        cells = read_cells(name, "laptop", root)
        machines, minutes = {cell["machine"] for cell in cells}, sum(cell["seconds"] for cell in cells) / 60
        took = f"{minutes:.0f} min on {', '.join(sorted(machines))}" if cells else "not run yet"
        rows.append([f"`{name}`", study.question, len(cells), took])
    return markdown(["study", "what it asks", "cells, laptop", "took"], rows)
