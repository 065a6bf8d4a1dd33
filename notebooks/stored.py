"""Are the outputs stored in the notebooks those of the code beside them, and are their numbers right?

A run keeps a record of each executed notebook; `results/notebooks.<profile>.json` gathers them. A test holds the
committed notebooks against the laptop records; at smoke size, `notebooks/conftest.py` holds fresh outputs against kinds
of numbers that `make figures` found: exact, within a range, or free.
"""

import ast
import hashlib
import json
import re
from functools import cache
from modulefinder import ModuleFinder
from pathlib import Path

import nbformat

from uniecg_lite.errors import BadArtifact, require
from uniecg_lite.paths import ROOT, importable
from uniecg_lite.store import Store, write_text

NOT_NUMBERS = re.compile(r"^(torch \d|\[OK\]|\[FAIL\]).*$|<[^<>]* at 0x[^>]*>|\b[0-9a-f]{16}\b", re.M)
VERSION_OR_NUMBER = re.compile(
    r"\d+(?:\.\d+){2,}\S*|((?:(?<![\w.])-)?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?(?:e[+-]?\d+)?)"
)

KEPT = ("profile", "code", "figures", "modules")  # of a record, in `results/`


def numbers_of(outputs: list) -> list[float]:
    """The numbers in what a code cell prints, then in its results; not versions, hashes or the machine."""
    stream = "".join(o.text for o in outputs if o.output_type == "stream" and o.name == "stdout")
    shown = [o.data for o in outputs if "data" in o and not any("widget" in kind for kind in o.data)]
    texts = [data.get("text/markdown") or data.get("text/plain", "") for data in shown]
    whole = "\n".join([stream, *(text for text in texts if not text.startswith("<"))])
    found = VERSION_OR_NUMBER.findall(NOT_NUMBERS.sub("", whole))
    return [float(n.replace(",", "")) for n in found if n]


def code_cells(notebook: Path) -> list:
    """The code cells of a notebook, without the runner's own."""
    cells = [cell for cell in nbformat.read(notebook, as_version=4).cells if cell.cell_type == "code"]
    return [cell for cell in cells if "injected-parameters" not in cell.metadata.get("tags", [])]


def hash_of(text: str) -> str:
    """A hash of a text, 16 digits."""
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def code_hash(cells: list) -> str:
    """A hash of the source of cells."""
    return hash_of("\0".join(cell.source for cell in cells))


@cache
def module_hash(source: str) -> str:
    """A hash of a module's code, to which docstrings and comments do not belong."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        documented = isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
        if documented and ast.get_docstring(node, clean=False) is not None:
            node.body.pop(0)
    return hash_of(ast.unparse(tree))


def modules(cells: list, root: Path = ROOT) -> dict[str, str]:
    """Every module of the package that code cells import, also through others and in functions -> a hash of it.

    So is every table, `table("x")` is `data/x.json`, and every file of the checkout that cells take by
    `beside("benchmarks/x.py")` or that such a file imports from its own folder: they are listed by their paths.
    """
    code = "\n".join(cell.source for cell in cells)
    taken = [importable(root / path) for path in re.findall(r'\bbeside\("([\w/]+\.py)"\)', code)]
    finder = ModuleFinder([str(root), *sorted({str(folder) for folder, _ in taken})])
    whole = "\n".join([code, *(f"import {name}" for _, name in taken)])
    finder.scan_code(compile(whole, "notebook", "exec"), finder.add_module("notebook"))
    files = {name: Path(module.__file__) for name, module in finder.modules.items() if module.__file__}
    ours = {
        name if name.split(".")[0] == "uniecg_lite" else file.relative_to(root).as_posix(): file
        for name, file in files.items()
    }
    sources = {name: file.read_text(encoding="utf-8") for name, file in sorted(ours.items())}
    tables = set(re.findall(r'\btable\("(\w+)"\)', "\n".join([code, *sources.values()])))
    files = {path.stem: path for path in (root / "data").glob("*.json") if path.stem in tables}
    hashes = {f"data/{name}.json": hash_of(path.read_text(encoding="utf-8")) for name, path in sorted(files.items())}
    return hashes | {name: module_hash(source) for name, source in sources.items()}


def printed(notebook: Path) -> dict:
    """Of an executed notebook: its profile, the hash of its code, and the numbers of each code cell."""
    cells = code_cells(notebook)
    stated = "".join(output.get("text", "") for cell in cells for output in cell.outputs)
    return {
        "profile": "".join(re.findall(r"^notebook \d\d, profile (\w+)", stated, re.M)[:1]) or "unknown",
        "code": code_hash(cells),
        "figures": [numbers_of(cell.outputs) for cell in cells],
    }


def record(executed: Path) -> dict:
    """What a notebook has printed, with the hashes of the modules that it imports."""
    return {**printed(executed), "modules": modules(code_cells(executed))}


def write(file: Path, entries: dict) -> Path:
    """Write JSON, one entry a line."""
    lines = ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in entries.items())
    write_text(file, f"{{\n{lines}\n}}\n")
    return file


def gather(store: Store, results_folder: Path) -> Path:
    """Put the records of a run into `notebooks.<profile>.json` of a folder of results."""
    files = sorted((store.folder / "stored").glob("[0-9][0-9].json"))
    records = {file.stem: {key: json.loads(file.read_text())[key] for key in KEPT} for file in files}
    return write(results_folder / f"notebooks.{store.profile.name}.json", records)


def read(profile: str, folder: Path = ROOT / "results") -> dict:
    """The committed records by notebook, or, for `smoke`, the kinds of numbers."""
    file = folder / f"notebooks.{profile}.json"
    sentence = f"There is no {file.name} in {folder.name}/: run the chain, then `uniecg results`."
    require(file.exists(), sentence, BadArtifact)
    return json.loads(file.read_text())


def stale(profile: str = "laptop", notebooks: Path = ROOT / "notebooks", known: dict | None = None) -> list[str]:
    """The notebooks whose stored outputs are of other code, each with what has changed."""
    known, out = read(profile) if known is None else known, []
    for path in sorted(notebooks.glob("[0-9][0-9]_*.ipynb")):
        old, cells = known.get(path.name[:2], {"code": None, "modules": None}), code_cells(path)
        changed = ["its code"] if old["code"] != code_hash(cells) else []
        if old["modules"]:
            changed += sorted({name for name, _ in old["modules"].items() ^ modules(cells).items()})
        else:
            changed.append("modules of its run are not known")
        out += [f"{path.stem}: {', '.join(changed)}"] if changed else []
    return out
