"""The package stays small and one-way: imports form no circle, no file name stands twice, words are the field's."""

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "uniecg_lite"
FILES = {path: path.read_text(encoding="utf-8") for path in sorted(PACKAGE.rglob("*.py"))}
TREES = {path: ast.parse(text) for path, text in FILES.items()}
MODULES = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in FILES}
READING_ORDER = (  # the paper's own model
    "findings.py",
    "language/requests.py",
    "language/conversations.py",
    "encoders.py",
    "llm.py",
    "model.py",
    "stages.py",
    "training.py",
)
PRIVATE = re.compile(  # words of version 0.1 that no outsider would guess; the field's stand in their place
    "Chatter|chatter|Talk|talks?|talk_loss|talk_ids|wish(es)?|wish_ids|UsualBeat|usual_beat|laid_out|press|release|pressed"
    "|thinned|go_on|told_on|Views|Walk|walk|spoken|untell|Teller|TOLD|Room|tell|told|said|say|made|sketch|rustle"
    "|see_small_waves|rows_of_words|pacemaker|bends"
)
LIBRARY = {"walk"}  # `ast.walk`


def imported(module: str) -> set[str]:
    """The package's modules that a module imports, within functions, too."""
    path, found = MODULES[module], set()
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            found |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    return {name for name in found & MODULES.keys() if name != module and not module.startswith(f"{name}.")}


def circle(graph: dict[str, set[str]]) -> list[str]:
    """Modules that reach themselves by imports."""
    far = {}
    for start in graph:
        seen, todo = set(), [start]
        while todo:
            todo += [name for name in graph[todo.pop()] if name not in seen and not seen.add(name)]
        far[start] = seen
    return sorted(name for name in graph if name in far[name])


def test_imports_form_no_circle():
    graph = {module: imported(module) for module in MODULES}
    assert sum(map(len, graph.values())) > 200 and circle(graph) == []
    graph["uniecg_lite.leads"] = {"uniecg_lite.ecg"}
    assert {"uniecg_lite.leads", "uniecg_lite.ecg"} <= set(circle(graph)), "a circle would be found"


def test_the_simulator_could_be_lifted_out():
    allowed = {f"uniecg_lite.{name}" for name in ("leads", "findings", "errors")}
    for module in (m for m in MODULES if m.startswith("uniecg_lite.simulator")):
        others = {name for name in imported(module) if not name.startswith("uniecg_lite.simulator")}
        assert others <= allowed, module


def test_what_judges_the_simulator_knows_nothing_of_it():
    allowed = {f"uniecg_lite.{name}" for name in ("leads", "findings", "errors")}
    files = sorted((ROOT / "benchmarks" / "criteria").glob("*.py"))
    for path in files:
        assert set(re.findall(r"\buniecg_lite[\w.]*", path.read_text(encoding="utf-8"))) <= allowed, path
    assert len(files) == 5


def test_the_model_knows_no_simulator_cohort_or_profile():
    graph = {module: imported(module) for module in MODULES}
    for start in ("uniecg_lite.model", "uniecg_lite.generator.generator"):
        seen, todo = set(), [start]
        while todo:
            todo += [name for name in graph[todo.pop()] if name not in seen and not seen.add(name)]
        assert not {name for name in seen if re.search(r"\.(simulator|cohort|store|course|studies)\b", name)}


def test_no_file_name_stands_twice():
    names = Counter(path.name for path in FILES if path.name != "__init__.py")
    assert [name for name, n in names.items() if n > 1] == [] and len(FILES) <= 89


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_names_are_the_fields_words(path):
    found = set()
    for node in ast.walk(TREES[path]):
        found |= {value for key in ("name", "id", "attr", "arg") if isinstance(value := getattr(node, key, None), str)}
    assert {name for name in found if PRIVATE.fullmatch(name)} <= LIBRARY


def test_the_papers_model_is_read_in_few_files():
    paths = [PACKAGE / name for name in READING_ORDER]
    assert sum(FILES[path].count("\n") for path in paths) <= 2_000
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    places = [readme.index(f"`{name}`", readme.index("in reading order")) for name in READING_ORDER]
    assert places == sorted(places)


def test_the_package_is_thin():
    lines = sum(text.count("\n") for text in FILES.values())
    statements = sum(isinstance(node, ast.stmt) for tree in TREES.values() for node in ast.walk(tree))
    assert lines <= 13_830 and statements <= 9_000
