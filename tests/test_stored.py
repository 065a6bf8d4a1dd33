"""Stored outputs are those of the code beside them, and a number that is wrong turns a test red."""

import json
import shutil
from itertools import zip_longest
from pathlib import Path

import nbformat
import pytest
from typer.testing import CliRunner

from uniecg_lite.cli import app
from uniecg_lite.config import profile
from uniecg_lite.errors import BadArtifact
from uniecg_lite.paths import beside
from uniecg_lite.store import Store

ROOT = Path(__file__).parents[1]
kinds, stored = beside("notebooks/kinds.py"), beside("notebooks/stored.py")
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)


def output(text: str):
    return nbformat.v4.new_output("stream", name="stdout", text=text)


def changed(path: Path, folder: Path, change) -> Path:
    """A copy of a notebook after `change(code cells)`."""
    notebook = nbformat.read(path, as_version=4)
    change([cell for cell in notebook.cells if cell.cell_type == "code"])
    nbformat.write(notebook, folder / path.name)
    return folder / path.name


def one_more(text: str) -> str:
    """The text with its last digit changed."""
    place = max(i for i, letter in enumerate(text) if letter.isdigit())
    return text[:place] + str((int(text[place]) + 1) % 10) + text[place + 1 :]


def wrong(notebook: Path, known: dict) -> list[str]:
    """What of a notebook does not fit its record, as sentences.

    A record that says `older` is of outputs that an earlier version of the code has printed: its cells may then differ,
    and must; the next run's record says it no more.
    """
    now, cells, older = stored.printed(notebook), known["figures"], known.get("older", False)
    out = [f"{key} is {now[key]}, recorded {known[key]}" for key in ("profile", "code") if now[key] != known[key]]
    if older:
        out = [] if now["code"] != known["code"] else ["its code is that of the record, which says it is older"]
    pairs = enumerate(zip_longest(cells, now["figures"]))
    return out + [f"code cell {i} prints {new}, recorded {old}" for i, (old, new) in pairs if old != new]


# --- the committed notebooks


@every_notebook
def test_stored_outputs_are_those_of_the_recorded_run(path):
    known = stored.read("laptop")[path.name[:2]]
    assert known["profile"] == "laptop"
    assert not wrong(path, known)


def test_outputs_of_an_older_version_are_known_as_such():
    """Each of them is listed as stale; a record that calls outputs older although they are not turns red."""
    listed = {line.split("_")[0] for line in stored.stale("laptop")}
    for path in NOTEBOOKS:
        known = stored.read("laptop")[path.name[:2]]
        assert path.name[:2] in listed or not known.get("older")
        assert wrong(path, known | {"older": True, "code": stored.code_hash(stored.code_cells(path))})


@every_notebook
def test_kinds_are_of_the_code_that_is_here(path):
    known, cells = stored.read("smoke").get(path.name[:2]), stored.code_cells(path)
    if known is None:
        pytest.skip("its numbers have not been found yet: make figures")
    assert known["code"] == stored.code_hash(cells), "run: make figures"
    assert len(known["cells"]) == len(cells)


def test_one_digit_of_a_stored_output_turns_it_red(tmp_path):
    def change(cells):
        [signal] = [o for o in cells[2].outputs if "text" in o]
        signal.text = one_more(signal.text)

    known = stored.read("laptop")["01"]
    [stated] = wrong(changed(NOTEBOOKS[1], tmp_path, change), known)
    assert stated.startswith("code cell 2 prints")
    assert not wrong(changed(NOTEBOOKS[1], tmp_path, lambda cells: None), known)


def test_one_digit_of_a_table_turns_it_red(tmp_path):
    def change(cells):
        data = cells[3].outputs[0].data
        data["text/markdown"] = one_more(data["text/markdown"])

    [stated] = wrong(changed(NOTEBOOKS[10], tmp_path, change), stored.read("laptop")["10"])
    assert stated.startswith("code cell 3 prints")


def test_a_changed_cell_turns_it_red_and_stale(tmp_path):
    def change(cells):
        cells[4].source += "\n# another"

    known = {"01": stored.record(NOTEBOOKS[1])}
    [stated] = wrong(changed(NOTEBOOKS[1], tmp_path, change), known["01"])
    assert stated.startswith("code is")
    [stated] = stored.stale(notebooks=tmp_path, known={"01": {**known["01"], "modules": None}})
    assert stated == "01_one_ecg: its code, modules of its run are not known"


# --- what is stale


@pytest.fixture
def package(tmp_path):
    """A toy package, and a notebook that imports it."""
    texts = {
        "__init__.py": "",
        "a.py": '"""A."""\n\n\ndef late():\n    """Later."""\n    from .rooms import b\n\n    return b.TWO  # two\n',
        "rooms/__init__.py": "from ..c import THREE\n",
        "rooms/b.py": "TWO = 2\n",
        "c.py": 'THREE = table("sizes")\n',
        "rooms/../../data/sizes.json": "{}",
        "other.py": "FOUR = 4\n",
    }
    for name, text in texts.items():
        path = tmp_path / "uniecg_lite" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "uniecg_lite"


def test_modules_are_found_through_each_other_and_in_functions(package):
    cells = [nbformat.v4.new_code_cell("import json\nfrom uniecg_lite.a import late")]
    found = stored.modules(cells, package.parent)
    names = {"uniecg_lite", *(f"uniecg_lite.{name}" for name in ("a", "c", "rooms", "rooms.b"))}
    assert set(found) == {*names, "data/sizes.json"}
    path = package / "a.py"
    path.write_text(path.read_text().replace("Later.", "Another docstring.").replace("  # two", ""))
    assert stored.modules(cells, package.parent) == found
    (package / "rooms" / "b.py").write_text("TWO = 22\n")
    (package.parent / "data" / "sizes.json").write_text("[]")
    new = stored.modules(cells, package.parent)
    assert {name for name in found if found[name] != new[name]} == {"uniecg_lite.rooms.b", "data/sizes.json"}


def test_files_beside_the_package_are_modules_of_a_notebook_too(package):
    judge = package.parent / "benchmarks" / "judge"
    judge.mkdir(parents=True)
    for name, text in {
        "__init__": "",
        "rules": "from .measures import ONE",
        "measures": "from uniecg_lite.c import THREE",
    }.items():
        (judge / f"{name}.py").write_text(text)
    (judge.parent / "speeds.py").write_text("import judge\n")
    cells = [nbformat.v4.new_code_cell('rules = beside("benchmarks/judge/rules.py")')]
    found, names = stored.modules(cells, package.parent), ("__init__", "rules", "measures")
    paths = {f"benchmarks/judge/{name}.py" for name in names}
    assert set(found) == {*paths, "uniecg_lite", "uniecg_lite.c", "data/sizes.json"}
    (judge / "measures.py").write_text("from uniecg_lite.c import THREE as ONE\n")
    new = stored.modules(cells, package.parent)
    assert [name for name in found if found[name] != new[name]] == ["benchmarks/judge/measures.py"]


def test_a_changed_rule_makes_the_notebooks_that_judge_by_it_stale():
    for path in (NOTEBOOKS[15], NOTEBOOKS[18]):
        assert "benchmarks/criteria/rules.py" in stored.modules(stored.code_cells(path))


def test_stale_names_the_modules_that_have_changed(tmp_path, monkeypatch):
    path = Path(shutil.copy(NOTEBOOKS[1], tmp_path))
    known = stored.record(path)
    assert not stored.stale(notebooks=tmp_path, known={"01": known})
    known["modules"] = {**known["modules"], "uniecg_lite.leads": "0", "uniecg_lite.gone": "0"}
    stated = ["01_one_ecg: uniecg_lite.gone, uniecg_lite.leads"]
    assert stored.stale(notebooks=tmp_path, known={"01": known}) == stated
    for found, code in ((stated, 1), ([], 0)):
        monkeypatch.setattr(stored, "stale", lambda profile, found=found: found)
        result = CliRunner().invoke(app, ["stale"])
        assert result.exit_code == code and all(line in result.output for line in found)


def test_records_of_a_run_are_gathered(tmp_path):
    store = Store.open(profile("smoke"), 0, tmp_path)
    for number in ("01", "00"):
        stored.write(store.folder / "stored" / f"{number}.json", {"seed": 0, **dict.fromkeys(stored.KEPT, number)})
    file = stored.gather(store, tmp_path / "results")
    assert file.name == "notebooks.smoke.json"
    assert json.loads(file.read_text()) == stored.read("smoke", tmp_path / "results")
    assert stored.read("smoke", tmp_path / "results") == {n: dict.fromkeys(stored.KEPT, n) for n in ("00", "01")}
    with pytest.raises(BadArtifact, match="run the chain"):
        stored.read("gpu", tmp_path)


# --- which numbers


def test_numbers_of_outputs():
    table = nbformat.v4.new_output("execute_result", {"text/markdown": "| a | 4.50 |", "text/plain": "<M 7>"})
    image = nbformat.v4.new_output(
        "display_data", {"image/png": "", "text/plain": "<IPython.core.display.Image object>"}
    )
    plain = nbformat.v4.new_output("execute_result", {"text/plain": "{'x': 1e-3}"})
    error = nbformat.v4.new_output("stream", name="stderr", text="99%")
    text = "-1.5 mV (1, 12, 1000) 25,760 x128 60-70 63-year-old\ntorch 2.13.0+cpu, 2 CPUs\n[OK] 23 GB\nwfdb 4.3.1, 8%\n"
    numbers = stored.numbers_of([output(text[:20]), table, output(text[20:]), image, plain, error])
    assert numbers == [-1.5, 1, 12, 1000, 25760, 128, 60, 70, 63, 8, 4.5, 0.001]
    assert stored.numbers_of([output("<Thing object at 0x7f12> <a.B at 0x7f12> 74c07f743e8f707d")]) == []


# --- kinds


def test_kinds_are_found_from_runs():
    plain, again = [12.0, 0.50, 3.0, 7.0], [12.0, 0.50, 4.0, 7.0]
    found = kinds.kinds([plain, again, [12.0, 0.60, 3.0, 7.0], [12.0, 0.40, 9.0, 7.0]])
    assert found == [12.0, [pytest.approx(0.05), pytest.approx(0.95)], None, 7.0]
    assert kinds.kind((1.7e-10, 1.7e-10), [1.9e-10]) == [pytest.approx(1.025e-10), pytest.approx(2.575e-10)]
    assert kinds.kinds([plain, again[:3], plain, plain]) is None, "free: the cell prints more or less"


def test_a_number_that_does_not_fit_its_kind_is_a_difference():
    cell = [12.0, [0.05, 0.95], 7.0]
    assert not kinds.differences(cell, [12.0, 0.9, 7.0])
    assert kinds.differences(cell, [12.0, 0.9, 7.1]) == ["number 2 is 7.1, not 7"]
    assert kinds.differences(cell, [12.0, 0.99, 7.0]) == ["number 1 is 0.99, not from 0.05 to 0.95"]
    assert kinds.differences(cell, [12.0, 0.9]) == ["2 numbers are printed, not 3"]
    assert not kinds.differences([12.0, None], [12.0, 5.0]) and not kinds.differences([12.0, None], [12.0])
    assert kinds.differences([12.0, None], [13.0, 5.0])
    assert not kinds.differences(None, [1.0])


@every_notebook
def test_one_number_of_the_file_turns_the_comparison_red(path):
    """Each exact number of each cell, and each range, refuses a number beside it."""
    for cell in stored.read("smoke").get(path.name[:2], {"cells": []})["cells"]:
        typical = [sum(k) / 2 if isinstance(k, list) else k or 0.0 for k in cell or []]
        assert not kinds.differences(cell, typical)
        for place, known in enumerate(cell or []):
            if known is None:
                continue
            beside = (known[1] if isinstance(known, list) else known) + 1
            assert len(kinds.differences(cell, [*typical[:place], beside, *typical[place + 1 :]])) == 1


def test_most_numbers_are_held():
    """Free are seconds, what this machine is, and what is read from committed results; the rest is compared."""
    found = [k for entry in stored.read("smoke").values() for cell in entry["cells"] for k in cell or []]
    if not found:
        pytest.skip("no numbers have been found yet: make figures")
    assert sum(k is not None for k in found) > 0.9 * len(found)
