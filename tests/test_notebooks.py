"""Notebooks, solutions and README: their form, their exercises, and that every name they point to is there."""

import ast
import base64
import json
import re
import shutil
from pathlib import Path

import nbformat
import publish
import pytest

from uniecg_lite.cli import app
from uniecg_lite.config import BUDGETS
from uniecg_lite.course.lesson import beside, check
from uniecg_lite.studies.study import STUDIES_FOLDER, paired, summary

results = beside("notebooks/run_results.py")
ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
SOLUTIONS = sorted((ROOT / "notebooks" / "solutions").glob("[0-9][0-9].ipynb"))
README = (ROOT / "README.md").read_text(encoding="utf-8")
NUMBERS = sorted(BUDGETS)
QUICK_CHECKS = {"04": (4, 5), "07": (4, 5), "08": (4, 5)}  # exercises answered by a letter, then measured

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
every_page = pytest.mark.parametrize("path", NOTEBOOKS + SOLUTIONS, ids=lambda p: f"{p.parent.name}-{p.stem}")


def read(path: Path):
    return nbformat.read(path, as_version=4)


def code_cells(path: Path) -> list:
    return [cell for cell in read(path).cells if cell.cell_type == "code"]


def lines_of(cell) -> list[str]:
    return [line for line in cell.source.splitlines() if line.strip()]


def tree_of(cell) -> ast.Module:
    return ast.parse(cell.source)


def calls(tree: ast.AST, name: str) -> list[ast.Call]:
    return [n for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name) and n.func.id == name]


def package_names() -> set[str]:
    """Every function and class that the package defines at the top of a module."""
    names = set()
    for path in (ROOT / "uniecg_lite").rglob("*.py"):
        body = ast.parse(path.read_text(encoding="utf-8")).body
        names |= {n.name for n in body if isinstance(n, (ast.FunctionDef, ast.ClassDef)) and n.name[0] != "_"}
    return names


# --- which there are


def test_every_numbered_notebook_is_there_with_its_solutions_and_exercises():
    assert [path.name[:2] for path in NOTEBOOKS] == NUMBERS
    assert [path.stem for path in SOLUTIONS] == NUMBERS
    for number in NUMBERS:
        assert (ROOT / "notebooks" / "exercises" / f"n{number}.py").exists(), number


# --- form


@every_page
def test_valid_and_small(path):
    nbformat.validate(read(path))
    assert path.stat().st_size <= 600_000, "600 KB at most"
    assert read(path).metadata.kernelspec.name == "python3" and read(path).metadata.kernelspec.language == "python"


@every_notebook
def test_no_longer_than_a_lesson(path):
    cells = read(path).cells
    words = sum(len(cell.source.split()) for cell in cells if cell.cell_type == "markdown")
    assert len(cells) <= 60 and words <= 1800
    lengths = [len(lines_of(cell)) for cell in code_cells(path)]
    assert max(lengths) <= 25 and sorted(lengths)[len(lengths) // 2] <= 9, "short cells"
    assert min(lengths) >= 1, "no empty cell"


@every_notebook
def test_every_prediction_is_answered_before_the_next_one(path):
    text = "\n".join(cell.source for cell in read(path).cells if cell.cell_type == "markdown")
    marks = re.findall(r"\*\*Predict\.\*\*|What we see", text.split("## Exercises")[0])
    waiting = [a for a, b in zip(marks, [*marks[1:], None]) if a == "**Predict.**" and b != "What we see"]
    assert marks and not waiting, "each Predict is followed by what we see"


@every_notebook
def test_begins_with_a_title_and_a_promise_in_one_sentence(path):
    first = read(path).cells[0]
    assert first.cell_type == "markdown"
    lines = [line for line in first.source.splitlines() if line.strip()]
    assert lines[0].startswith(f"# {path.name[:2]} ")
    assert lines[1].endswith(".") and len(lines[1]) < 250


@every_page
def test_one_parameters_cell_with_profile_and_seed(path):
    [cell] = [cell for cell in code_cells(path) if "parameters" in cell.metadata.get("tags", [])]
    assigned = {n.targets[0].id: ast.literal_eval(n.value) for n in tree_of(cell).body if isinstance(n, ast.Assign)}
    if path in NOTEBOOKS:
        assert assigned["profile"] is None and assigned["seed"] == 0
    else:
        assert assigned.get("profile") is None


@every_notebook
def test_starts_and_ends_as_a_lesson(path):
    source = "\n".join(cell.source for cell in code_cells(path))
    assert re.search(rf'Lesson\("{path.name[:2]}", profile, seed\)', source)
    assert code_cells(path)[-1].source.strip().endswith("lesson.done()")


@every_page
def test_no_machine_of_ones_own(path):
    """No absolute path, no shell command, no profile or seed typed into a call."""
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"(?<![\w.:/<])/(?:home|tmp|root|work|Users|mnt|usr|opt)/|[A-Z]:\\\\\\\\", text)
    for cell in code_cells(path):
        assert not re.search(r"^\s*[!%]", cell.source, re.M), "no shell line and no magic"
        for call in ast.walk(tree_of(cell)):
            if isinstance(call, ast.Call):
                for argument in call.keywords:
                    typed = isinstance(argument.value, ast.Constant)
                    assert not (argument.arg == "profile" and typed), ast.unparse(call)


@every_page
def test_defines_nothing_that_the_package_has(path):
    known = package_names()
    for cell in code_cells(path):
        for node in ast.walk(tree_of(cell)):
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                assert node.name not in known, f"{node.name}: use the package's"


@every_page
def test_code_is_code(path):
    for cell in code_cells(path):
        for line in cell.source.splitlines():
            if line.lstrip().startswith("# ") and "=" in line and "NBVAL" not in line:
                with pytest.raises(SyntaxError):
                    ast.parse(line.lstrip("# ").strip())


# --- pictures and checks


@every_page
def test_every_picture_has_an_alternative_text(path):
    pictures = 0
    for cell in read(path).cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            for kind in (k for k in data if k.startswith("image/")):
                pictures += 1
                alt = output.get("metadata", {}).get(kind, {}).get("alt") or _alt_of(data.get("text/html", ""))
                assert alt and len(alt) > 20, "a sentence that says what there is to see"
                assert len(base64.b64decode(data[kind])) < 250_000
            for tag in re.findall(r"<img[^>]*>", str(data.get("text/html", ""))):
                assert _alt_of(tag)
        if cell.cell_type == "markdown":
            assert not re.search(r"!\[\s*\]\(", cell.source) and all(
                _alt_of(t) for t in re.findall(r"<img[^>]*>", cell.source)
            )
    assert pictures <= 5


def _alt_of(html: str) -> str:
    found = re.search(r'alt="([^"]+)"', str(html))
    return found[1] if found else ""


@every_notebook
def test_every_figure_is_shown_with_a_text(path):
    for cell in code_cells(path):
        for call in calls(tree_of(cell), "show"):
            assert len(call.args) + len(call.keywords) == 2, ast.unparse(call)
        assert "plt.show" not in cell.source


@every_notebook
def test_checks_are_marked_and_print_claims_only(path):
    marked = [cell for cell in code_cells(path) if "NBVAL_CHECK_OUTPUT" in cell.source]
    assert marked, "at least one check"
    for cell in marked:
        assert cell.source.startswith("# NBVAL_CHECK_OUTPUT")
        assert calls(tree_of(cell), "confirm") and not calls(tree_of(cell), "print")
        for output in cell.get("outputs", []):
            if output.output_type == "stream" and output.name == "stdout":
                assert all(line.startswith("[check] ") for line in output.text.split("\n") if line)


@every_page
def test_stored_outputs_hold_no_error(path):
    for cell in code_cells(path):
        assert not [o for o in cell.get("outputs", []) if o.output_type == "error"]
        assert cell.execution_count or not cell.outputs, "nbval takes a cell without a number as never run"


# --- exercises


def exercises_of(number: str) -> dict:
    return beside(f"notebooks/exercises/n{number}.py").EXERCISES


@every_notebook
def test_three_exercises_and_quick_checks_that_exist(path):
    number = path.name[:2]
    used = [c.args[0].value for cell in code_cells(path) for c in calls(tree_of(cell), "check")]
    assert sorted(used) == [f"{number}.{k}" for k in (1, 2, 3, *QUICK_CHECKS.get(number, ()))]
    assert set(used) == set(exercises_of(number))


@every_notebook
def test_exercises_are_left_to_the_student(path, capsys):
    """Each cell that checks an exercise sets the answer to None, or to a function whose result is None."""
    for cell in code_cells(path):
        for call in calls(tree_of(cell), "check"):
            name = call.args[1].id
            given = [n for n in tree_of(cell).body if isinstance(n, ast.Assign) and n.targets[0].id == name]
            assert given and isinstance(given[-1].value, ast.Constant) and given[-1].value.value is None, cell.source
            check(call.args[0].value, None)
            assert capsys.readouterr().out.strip().endswith("not tried yet")


@pytest.mark.parametrize("number", QUICK_CHECKS)
def test_quick_checks_have_one_right_letter_which_is_measured_and_stated(number):
    names = [f"{number}.{k}" for k in QUICK_CHECKS[number]]
    [right] = zip(*([letter for letter in "abc" if exercises_of(number)[name][0](letter)] for name in names))
    cells = read(next(path for path in NOTEBOOKS if path.name.startswith(number))).cells
    asked = next(i for i, cell in enumerate(cells) if f"**{names[0]} Choose.**" in cell.source)
    for part in cells[asked].source.split(" Choose.**")[1:]:
        assert re.findall(r"^- (\w): ", part, re.M) == ["a", "b", "c"]
    stated = next(i for i, cell in enumerate(cells) if cell.source.startswith("What we see: ") and i > asked)
    assert cells[stated].source.startswith(f"What we see: {right[0]}, then {right[1]}. ")
    measured = [cell for cell in cells[asked:stated] if cell.source.startswith("# NBVAL_CHECK_OUTPUT")]
    assert len(calls(tree_of(measured[0]), "confirm")) >= 4 and measured[0].outputs


def test_quick_checks_say_what_the_committed_studies_say():
    def beside_each_other(study, one, other, metric):
        return paired(study, (one, metric), (other, metric), root=STUDIES_FOLDER)

    two_minus_one = beside_each_other("table", "gem", "shared", "Average")
    assert two_minus_one[1] < 0 < two_minus_one[2], "04.4: on both sides of 0"
    assert summary("table", root=STUDIES_FOLDER)["gem"]["stage2_identical"][:2] == (1.0, 1.0), "07.5"
    for other in ("denoising", "both"):
        f1 = beside_each_other("mapping", "ours", other, "findings_macro_f1")
        rate = beside_each_other("mapping", "ours", other, "hr_median_error_bpm")
        assert f1[1] > 0 > rate[2], "08.4: the squared error alone is best for every seed"


@pytest.mark.parametrize("number", NUMBERS)
def test_neither_nothing_nor_nonsense_passes(number):
    for name, (test, *hints) in exercises_of(number).items():
        assert len(hints) == 2 and all(len(hint) > 10 for hint in hints), name
        for answer in (None, "", "nonsense", -12345.678, (), [], {}, object(), lambda *a, **k: None):
            try:
                passed = bool(test(answer))
            except Exception:  # noqa: BLE001 - `check` counts it as not passed
                passed = False
            assert not passed, f"{name} passes with {answer!r}"


def test_hints_follow_each_other_and_strictness_raises(capsys, monkeypatch):
    from uniecg_lite.course import lesson as exercises

    monkeypatch.setattr(exercises, "_tries", type(exercises._tries)())
    monkeypatch.delenv("UNIECG_STRICT", raising=False)
    name, (_, first, second) = next(iter(exercises_of("00").items()))
    for hint in (first, second, second):
        check(name, "nonsense")
        assert hint in capsys.readouterr().out
    monkeypatch.setenv("UNIECG_STRICT", "1")
    for answer in (None, "nonsense"):
        with pytest.raises(AssertionError, match=name):
            check(name, answer)


@pytest.mark.parametrize("path", SOLUTIONS, ids=lambda p: p.stem)
def test_solutions_check_every_exercise(path):
    used = [c.args[0].value for cell in code_cells(path) for c in calls(tree_of(cell), "check")]
    assert sorted(used) == sorted(exercises_of(path.stem))


# --- README and the other pages


def page_names() -> list[str]:
    return sorted(path.name for path in ROOT.glob("*.md"))


@pytest.mark.parametrize("page", page_names())
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)", (ROOT / page).read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (ROOT / target).exists(), target


def test_paths_of_readme_are_there():
    section = README.split("## Where things are")[1].split("\n## ")[0]
    named = re.findall(r"^\| `([^`]+)`", section, re.M)
    assert len(named) > 5
    for path in named:
        assert path == "artifacts/" or (ROOT / path).exists(), f"{path} is named in README"
    for path in re.findall(r"`((?:data|notebooks|tests|uniecg_lite)/[\w./-]*|[A-Z]+(?:\.md)?)`", README):
        assert (ROOT / path).exists() or not re.search(r"[./]|LICENSE", path), path


def shell_words(page: str) -> str:
    """What stands in code blocks and between backticks."""
    return "\n".join(re.findall(r"```.*?```|`[^`\n]+`", page, re.S))


@pytest.mark.parametrize("page", page_names())
def test_make_targets_exist(page):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.M))
    for target in re.findall(r"\bmake ([a-z]+)", shell_words((ROOT / page).read_text(encoding="utf-8"))):
        assert target in targets, f"make {target}"
    phony = set(re.search(r"\.PHONY: (.*)", makefile)[1].split())
    assert phony == targets


@pytest.mark.parametrize("page", page_names())
def test_commands_and_options_exist(page):
    import typer

    commands = typer.main.get_command(app).commands
    text = shell_words((ROOT / page).read_text(encoding="utf-8"))
    for line in re.findall(r"(?:python -m uniecg_lite|uniecg) ([a-z-][^\n`#]*)", text):
        name, *rest = line.split()
        if name == "--help":
            continue
        assert name in commands, name
        command = commands[name]
        while rest and rest[0] in getattr(command, "commands", ()):  # data get
            command = command.commands[rest.pop(0)]
        options = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in rest if word.startswith("--")} <= options | {"--help"}, line


def test_tables_of_readme_are_what_the_results_give(tmp_path):
    for name in ("results", "syllabus", "studies", "table", "hardware"):
        assert len(re.findall(rf"<!-- {name}:begin -->\n.*?<!-- {name}:end -->", README, re.S)) == 1
    copy = shutil.copy(ROOT / "README.md", tmp_path)
    assert not publish.update_readme(Path(copy)), "run: make results"
    assert Path(copy).read_text(encoding="utf-8") == README


def test_the_table_of_results_shows_every_aim_and_no_other_number():
    generated = {"profile": "laptop", "machine": "cpu2", "seed": 0, "seconds": {"total": 1700.0}, "metrics": {}}
    good = {**generated, "metrics": {"stage1.hr_mae_bpm": 1.5, "prompts.accuracy": 0.93}}
    other = {**good, "seed": 1, "metrics": {"stage1.hr_mae_bpm": 0.5, "prompts.accuracy": 0.95}}
    rows = {line.split("(`")[1].split("`")[0]: line for line in results.table_of_aims([good, other]).splitlines()[2:]}
    assert set(rows) == set(results.AIMS)
    assert rows["stage1.hr_mae_bpm"].endswith("| <= 2 | 1 (0.5 to 1.5) |")
    assert rows["prompts.accuracy"].endswith("0.94 (0.93 to 0.95), missed |")
    assert rows["seconds.total"].endswith("1700 (1700 to 1700) |")
    assert rows["stage1.qt_mae_ms"].endswith("not measured |")


def test_results_files_are_whole():
    for path in sorted((ROOT / "results").glob("*.json")):
        if path.name.startswith("notebooks."):
            continue  # see test_stored.py
        result = json.loads(path.read_text(encoding="utf-8"))
        assert path.name.startswith(f"{result['profile']}.{result['machine']}")
        parts = {key: value for key, value in result["seconds"].items() if key not in results.SUMS}
        kept = {key: value for key, value in result["seconds"].items() if key in results.SUMS}
        assert {key: results.sums(parts, result.get("starts"))[key] for key in kept} == pytest.approx(kept, abs=1)
        assert {n for n in NUMBERS if n <= "10"} <= set(parts) <= set(NUMBERS)
        assert not result["commit"].startswith("unknown")
        assert all(isinstance(value, (int, float)) for value in result["metrics"].values())


def test_parts_of_the_course_have_sums_of_their_own():
    first = {f"{k:02d}": 1.0 for k in range(11)}
    assert results.sums({}) == {} and results.sums(first) == {"total_all": 11.0, "total": 11.0}
    parts = {"total": 11.0, "total_11_14": 7.0, "total_15_18": 20.0}
    assert results.sums({**first, "11": 3.0, "14": 4.0, "15": 20.0}) == {"total_all": 38.0} | parts
    seconds, starts = {"03": 10.0, "06": 4.0, "11": 5.0, "12": 1.0}, {"03": 0.0, "06": 8.0, "11": 9.0, "12": 20.0}
    together = results.sums(seconds, starts)
    assert together == {"total": 12.0, "total_11_14": 6.0, "total_all": 15.0}, "two at the same time count once"
    covered = {name: [n for n in NUMBERS if low <= n <= high] for name, (low, high) in results.SUMS.items()}
    assert covered["total_all"] == NUMBERS == sorted(n for name in parts for n in covered[name])


def test_the_hardware_table_tells_what_a_user_waits_for(monkeypatch, tmp_path):
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    run = {
        "profile": "laptop",
        "machine": "cpu2",
        "processor": "AVX2",
        "seed": 0,
        "seconds": {"00": 600.0, "18": 1800.0, "total_all": 2400.0},
    }
    (tmp_path / "laptop.cpu2.json").write_text(json.dumps(run))
    rows = {line.split("`")[1]: line for line in publish.hardware().splitlines()[2:]}
    assert list(rows) == ["smoke", "laptop", "gpu"] and "no results committed" in rows["gpu"]
    assert "| 40 min on cpu2, AVX2 | 50 min on 2 CPU cores |" in rows["laptop"]
