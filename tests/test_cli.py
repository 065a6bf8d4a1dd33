"""The shell's way in, and the chain runner: honest exit codes, one sentence per error, no notebook run twice."""

import json
import os
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import numpy as np
import publish
import pytest
import tiny
import torch
import verify as verifying
from conftest import toy_ecg
from PIL import Image
from test_prompts import Decides
from typer.testing import CliRunner

from uniecg_lite import cli
from uniecg_lite.config import BUDGETS, LAPTOP, SMOKE
from uniecg_lite.course.lesson import Lesson, confirm, shape
from uniecg_lite.drawing import save_page
from uniecg_lite.ecg import ECG
from uniecg_lite.errors import UniECGError
from uniecg_lite.language.requests import Request
from uniecg_lite.leads import LEADS
from uniecg_lite.model import Answer
from uniecg_lite.paths import DATA, beside
from uniecg_lite.store import PRODUCERS, Store
from uniecg_lite.studies.grid import STUDIES
from uniecg_lite.studies.study import verdicts

runner, results = beside("notebooks/runner.py"), beside("notebooks/run_results.py")

COMMANDS = (
    "run",
    "data",
    "interpret",
    "generate",
    "check",
    "verify",
    "results",
    "stale",
    "prompts",
    "score-records",
    "diagnose",
    "bench",
    "study",
)


@pytest.fixture(autouse=True)
def own_environment(monkeypatch, tmp_path):
    """Nothing that these tests set or write stays."""
    for name in ("UNIECG_PROFILE", "UNIECG_LLM", "HF_HUB_OFFLINE"):
        monkeypatch.setenv(name, os.environ.get(name, ""))
        monkeypatch.delenv(name)
    monkeypatch.setenv("UNIECG_ARTIFACTS", str(tmp_path / "artifacts"))


def main(monkeypatch, capsys, *words) -> tuple[int, str, str]:
    """Run the command line in this process: exit code, output, errors."""
    monkeypatch.setattr("sys.argv", ["uniecg", *map(str, words)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    out, err = capsys.readouterr()
    return end.value.code or 0, out, err


# --- help


@pytest.mark.parametrize("command", COMMANDS)
def test_help_explains_the_command_and_all_its_options(command):
    shown = CliRunner().invoke(cli.app, [command, "--help"], env={"COLUMNS": "200", "TERM": "dumb"})
    assert shown.exit_code == 0
    import typer

    about = typer.main.get_command(cli.app).commands[command]
    text = " ".join(shown.output.split())
    assert " ".join(about.help.split())[:60] in text
    for parameter in about.params:
        assert parameter.opts[0].strip("-") in text.lower() or parameter.name.upper() in text
        assert parameter.help, f"{command} {parameter.name} has no help"


def test_help_lists_every_command():
    shown = CliRunner().invoke(cli.app, ["--help"], env={"COLUMNS": "200"})
    import typer

    assert shown.exit_code == 0 and set(typer.main.get_command(cli.app).commands) == set(COMMANDS)
    assert all(command in shown.output for command in COMMANDS) and "not for diagnosis" in shown.output


@pytest.mark.parametrize("words", [["study"], ["study", "--list"]])
def test_study_lists_what_there_is(monkeypatch, capsys, words):
    code, out, err = main(monkeypatch, capsys, *words)
    assert code == 0 and not err
    for name, study in STUDIES.items():
        assert name in out and all(variant in out for variant in study.variants)


# --- errors


@pytest.mark.parametrize(
    ("words", "stated"),
    [
        (["run", "--profile", "huge"], "There is no profile 'huge'"),
        (["interpret", "record", "--profile", "smoke"], "run notebook 08"),
        (["generate", "an ECG", "--profile", "smoke"], "run notebook 08"),
        (["interpret", "record", "--model", "elsewhere"], "There is no model in elsewhere"),
        (["diagnose", "elsewhere"], "There is no model in elsewhere"),
        (["verify", "--profile", "huge"], "There is no profile 'huge'"),
        (["prompts", "absent.jsonl", "--profile", "smoke"], "The prompts in absent.jsonl cannot be read"),
        (["prompts", str(DATA / "test_prompts.jsonl"), "--profile", "smoke"], "run notebook 08"),
        (["study", "nothing", "--profile", "smoke"], "There is no study 'nothing'"),
        (["study", "table", "--variant", "nothing", "--profile", "smoke"], "has no variant 'nothing'"),
        (["study", "table", "--seeds", "0", "--profile", "smoke"], "at least one seed"),
        (["run", "--profile", "smoke", "--only", "42"], "There is no notebook '42': choose one of 00 to 18"),
        (["run", "--profile", "smoke", "--from", "8", "--to", "05"], "No notebook lies from 08 to 05"),
        (["run", "--profile", "smoke", "--only", "6", "--to", "8"], "not for both"),
        (
            ["run", "--profile", "smoke", "--only", "6"],
            "this is missing or no longer fits: 'cohort' (notebook 01); first",
        ),
        (
            ["results", "--profile", "smoke", "--notebooks"],
            "Notebook 00_tour has not run with profile 'smoke' and seed 0",
        ),
        (["results", "--notebooks", "--tables-only"], "--tables-only copies nothing"),
    ],
)
def test_an_error_is_one_sentence_and_exit_code_1(monkeypatch, capsys, words, stated):
    code, out, err = main(monkeypatch, capsys, *words)
    assert code == 1 and stated in err and not out
    assert len(err.strip().splitlines()) == 1 and "Traceback" not in err


def test_verify_without_results_says_what_to_run(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    code, _, err = main(monkeypatch, capsys, "verify", "--profile", "smoke")
    assert code == 1 and "run the chain first (make run PROFILE=smoke)" in err


@pytest.fixture
def measured(monkeypatch, tmp_path):
    """A trained model in words alone: what scoring it again gives, and where its results are kept."""
    monkeypatch.setattr(results, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(Store, "path", lambda self, name: self.folder / name)
    for name in ("load", "load_reading", "load_reader", "prompt_metrics", "generation_metrics"):
        monkeypatch.setattr(verifying, name, lambda *given, name=name: {} if name.endswith("metrics") else None)
    monkeypatch.setattr(verifying, "stage1_metrics", lambda *given: {"stage1.hr_mae_bpm": 3.0, "stage1.new": 1.0})
    monkeypatch.setattr(verifying, "real_folder", lambda: None)
    store = Store.open(SMOKE)

    def keep(file, **metrics):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"metrics": metrics, "seconds": {}}))

    return store, keep


def test_verify_compares_with_the_run_or_with_what_is_committed(measured, monkeypatch, capsys):
    store, keep = measured
    keep(results.committed_file("smoke", results.machine(), 0), **{"stage1.hr_mae_bpm": 4.0})
    code, out, _ = main(monkeypatch, capsys, "verify", "--profile", "smoke")
    assert code == 1 and "[FAIL] stage1.hr_mae_bpm = 3, recorded 4" in out, "there is no run yet"
    keep(results.run_file(store), **{"stage1.hr_mae_bpm": 3.0})
    code, out, _ = main(monkeypatch, capsys, "verify", "--profile", "smoke")
    assert code == 0 and "[OK] stage1.hr_mae_bpm = 3, recorded 3; the aim is missed" in out
    assert f"1 of 2 figures compared with {results.run_file(store)}" in out
    assert main(monkeypatch, capsys, "verify", "--profile", "smoke", "--committed")[0] == 1


def test_verify_fails_when_nothing_was_compared(measured, monkeypatch, capsys):
    store, keep = measured
    keep(results.run_file(store), **{"prompts.accuracy": 1.0})
    code, out, err = main(monkeypatch, capsys, "verify", "--profile", "smoke")
    assert code == 1 and not out and "Nothing was compared" in err and len(err.strip().splitlines()) == 1


def test_an_unknown_command_or_option_is_exit_code_2(monkeypatch, capsys):
    assert main(monkeypatch, capsys, "dance")[0] == 2
    assert main(monkeypatch, capsys, "run", "--sede", "1")[0] == 2


def test_check_says_by_its_exit_code_whether_all_is_well(monkeypatch, capsys):
    for good in (True, False):
        monkeypatch.setattr("uniecg_lite.course.check.check", lambda profile, good=good: good)
        assert main(monkeypatch, capsys, "check")[0] == (0 if good else 1)


# --- interpret and generate


class Model:
    """Answers with what it was given."""

    def __init__(self, answer: Answer):
        self.answer, self.asked = answer, []

    def respond(self, prompt, ecg=None, image=None, seed=0):
        self.asked.append((prompt, ecg, image, seed))
        return self.answer


@pytest.fixture
def loaded(monkeypatch):
    """Put a model in place of the one in the artifacts."""

    def load(answer):
        model = Model(answer)
        monkeypatch.setattr(cli, "_model", lambda profile, folder: model)
        return model

    return load


@pytest.mark.parametrize("kind", ["wfdb", "npy", "csv", "png", "jpg", "TIFF"])
def test_interpret_reads_what_it_is_given(monkeypatch, capsys, tmp_path, loaded, kind):
    ecg, model = toy_ecg(), loaded(Answer("Rate 72 bpm."))
    path = tmp_path / f"record.{kind}"
    if kind == "wfdb":
        path = ecg.save(tmp_path / "record")
    elif kind == "npy":
        np.save(path, ecg.signal)
    elif kind == "csv":
        rows = [",".join(LEADS), *(",".join(f"{v:.4f}" for v in row) for row in ecg.signal.T)]
        path.write_text("# hz=500\n" + "\n".join(rows))
    else:
        page = Image.open(save_page(ecg.standard(), tmp_path / "page.png"))
        page.convert("RGB").save(path)
    hz = ["--hz", "500"] if kind == "npy" else []
    code, out, _ = main(monkeypatch, capsys, "interpret", path, "--prompt", "Read it.", *hz)
    assert code == 0 and out.splitlines() == ["Rate 72 bpm.", "Educational, not for diagnosis."]
    [(prompt, given, image, _)] = model.asked
    assert prompt == "Read it."
    if kind in ("png", "jpg", "TIFF"):
        assert given is None and image == str(path)
    else:
        assert abs(given.signal - ecg.signal).max() < 0.002 and given.hz == 500


def test_interpret_is_told_the_unit_and_says_what_is_bridged(monkeypatch, capsys, tmp_path, loaded):
    ecg, model, path = toy_ecg(), loaded(Answer("Rate 72 bpm.")), tmp_path / "counts.npy"
    np.save(path, ecg.signal * 1000)
    code, _, err = main(monkeypatch, capsys, "interpret", path, "--hz", "500")
    assert code == 1 and 'pass unit="uV"' in err
    np.save(path, np.where(np.arange(5000) == 300, np.nan, ecg.signal * 1000))
    code, _, err = main(monkeypatch, capsys, "interpret", path, "--hz", "500", "--unit", "uV")
    assert code == 0 and abs(model.asked[0][1].signal - ecg.signal).max() < 0.1
    assert "Lead V2 of counts misses samples, for up to 2 ms: a line bridges them, so a wave there is lost.\n" in err
    assert "UserWarning" not in err


def test_interpret_of_a_bad_record_says_why(monkeypatch, capsys, tmp_path, loaded):
    loaded(Answer("never said"))
    code, out, err = main(monkeypatch, capsys, "interpret", tmp_path / "absent")
    assert code == 1 and not out and len(err.strip().splitlines()) == 1


def test_generate_saves_the_ecg_and_a_page(monkeypatch, capsys, tmp_path, loaded):
    model = loaded(Answer("Here is one.", toy_ecg(hz=100)))
    code, out, _ = main(
        monkeypatch, capsys, "generate", "AF, 120 bpm", "--out", tmp_path / "made" / "one", "--page", "--seed", 4
    )
    assert code == 0 and model.asked == [("AF, 120 bpm", None, None, 4)]
    assert abs(ECG.load(tmp_path / "made" / "one").signal - toy_ecg(hz=100).signal).max() <= 0.0006
    assert (tmp_path / "made" / "one.png").stat().st_size > 1000 and out.count("saved") == 2


def test_generate_without_an_ecg_is_an_error(monkeypatch, capsys, tmp_path, loaded):
    loaded(Answer("Sinus rhythm is normal."))
    code, _, err = main(monkeypatch, capsys, "generate", "What is SR?", "--out", tmp_path / "x")
    assert code == 1 and "answered in words" in err and "Sinus rhythm is normal." in err
    assert not list(tmp_path.glob("x*"))


# --- prompts


def test_prompts_are_scored_kind_by_kind_and_what_went_wrong_is_listed(monkeypatch, capsys, tmp_path):
    lines = [("sinus brady", "short", "make"), ("another", "short", "make"), ("What is LVH?", "general", "answer")]
    rows = [{"prompt": p, "kind": kind, "does": does, "findings": ["SBRAD"]} for p, kind, does in lines]
    (tmp_path / "mine.jsonl").write_text("\n".join(map(json.dumps, rows)))
    model = Decides(lambda p: p != "another", {"sinus brady": Request(rate=72, findings=("SR",))})
    monkeypatch.setattr(cli, "_model", lambda profile, folder: model)
    code, out, err = main(monkeypatch, capsys, "prompts", tmp_path / "mine.jsonl")
    table = {line.split()[0]: line.split()[1:] for line in out.splitlines()[2:]}
    assert code == 0 and not err and out.split()[:5] == ["n", "right", "share", "low", "high"]
    assert table["short"] == ["2", "1", "0.500", "0.095", "0.905", "1", "0"]
    assert table["general"][:3] == ["1", "0", "0.000"] and table["all"][:3] == ["3", "1", "0.333"]
    wrong = main(monkeypatch, capsys, "prompts", tmp_path / "mine.jsonl", "--wrong")[1].removeprefix(out)
    assert wrong.splitlines() == [
        "short: sinus brady",
        "  sinus rhythm, 72 bpm; left open: age, sex, PR, QRS, QT, axis",
        "short: another",
        "  words",
        "general: What is LVH?",
        f"  {Request()}",
    ]


# --- the chain


@pytest.fixture
def chain(tmp_path, monkeypatch):
    """Four tiny notebooks, and a runner that notes which of them it executes."""
    folder = tmp_path / "notebooks"
    folder.mkdir()
    for number in range(4):
        write(folder / f"0{number}_part.ipynb", f"x = {number}")
    monkeypatch.setattr(runner, "NOTEBOOKS", folder)
    monkeypatch.setattr(results, "RESULTS", tmp_path / "results")
    executed = []

    def execute(path, out, store):
        executed.append(path.name[:2])
        shutil.copy(path, out)

    monkeypatch.setattr(runner, "_execute", execute)
    monkeypatch.setattr(runner, "usual_jobs", lambda: 1)
    monkeypatch.setattr(runner, "NEEDS", {"02": ("cohort",), "03": ("cohort", "encoders")})
    return folder, executed


def write(path: Path, *sources: str, tags=("parameters",)) -> None:
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell("profile, seed = None, 0", metadata={"tags": list(tags)})]
        + [nbformat.v4.new_code_cell(source) for source in sources],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    )
    nbformat.write(notebook, path)


def test_the_chain_runs_in_order_and_only_once(chain, capsys):
    folder, executed = chain
    file = runner.run("smoke")
    assert executed == ["00", "01", "02", "03"]
    again = runner.run("smoke")
    assert executed == ["00", "01", "02", "03"] and again == file and "done before" in capsys.readouterr().out
    result = json.loads(file.read_text())
    assert set(result["seconds"]) == {"00", "01", "02", "03", "total", "total_all"} and result["resumed"] is False
    runner.run("smoke", fresh=True)
    assert executed == ["00", "01", "02", "03"] * 2


def test_notebooks_that_do_not_need_each_other_run_side_by_side(chain, monkeypatch):
    _, executed = chain
    good, both = runner._execute, threading.Barrier(2, timeout=20)

    def execute(path, out, store):
        if path.name[:2] in ("02", "03"):
            both.wait()  # broken unless the other one runs now
        good(path, out, store)

    monkeypatch.setattr(runner, "_execute", execute)
    monkeypatch.setattr(runner, "NEEDS", {"02": ("cohort",), "03": ("cohort",)})
    monkeypatch.setattr(runner, "ProcessPoolExecutor", lambda jobs, _: ThreadPoolExecutor(jobs))
    assert runner.run("smoke", jobs=2).exists()
    assert executed[:2] == ["00", "01"] and sorted(executed[2:]) == ["02", "03"]


def test_it_starts_again_at_the_first_changed_notebook(chain):
    folder, executed = chain
    runner.run("smoke")
    executed.clear()
    write(folder / "02_part.ipynb", "x = 22")
    runner.run("smoke")
    assert executed == ["02", "03"]


def test_outputs_and_marks_do_not_count_as_a_change(chain):
    folder, executed = chain
    runner.run("smoke")
    executed.clear()
    notebook = nbformat.read(folder / "01_part.ipynb", as_version=4)
    notebook.cells[1].outputs = [nbformat.v4.new_output("stream", text="hello")]
    notebook.cells[1].execution_count = 7
    nbformat.write(notebook, folder / "01_part.ipynb")
    runner.run("smoke")
    assert executed == []


def test_another_seed_or_profile_is_another_chain(chain):
    _, executed = chain
    first, other = runner.run("smoke"), runner.run("smoke", seed=1)
    assert executed == ["00", "01", "02", "03"] * 2
    assert first != other and ".seed1." in other.name and json.loads(other.read_text())["seed"] == 1
    assert first.name == "results.json" and first.exists(), "the figures of the first stay"
    runner.run("smoke")
    assert len(executed) == 12, "its artifacts do not"


def tree(folder: Path) -> dict[str, bytes]:
    """Every file of a folder with its content."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def checkout(chain, tmp_path, monkeypatch):
    """The chain in a folder of its own with results and README; beside it, `artifacts`."""
    folder, executed = chain
    root = tmp_path / "checkout"
    shutil.move(folder, root / "notebooks")
    (root / "results").mkdir()
    tables = [f"<!-- {name}:begin -->\n<!-- {name}:end -->\n" for name in ("results", "hardware")]
    (root / "README.md").write_text("".join(tables))
    monkeypatch.setattr(runner, "NOTEBOOKS", root / "notebooks")
    monkeypatch.setattr(results, "RESULTS", root / "results")
    monkeypatch.setattr(results, "ROOT", root)
    return root


def test_it_goes_on_after_the_last_finished_notebook(chain, monkeypatch):
    _, executed = chain
    good = runner._execute

    def failing(path, out, store):
        if path.name.startswith("02"):
            raise UniECGError("02_part.ipynb stopped")
        good(path, out, store)

    monkeypatch.setattr(runner, "_execute", failing)
    with pytest.raises(UniECGError):
        runner.run("smoke")
    assert executed == ["00", "01"]
    monkeypatch.setattr(runner, "_execute", good)
    file = runner.run("smoke")
    assert executed == ["00", "01", "02", "03"] and json.loads(file.read_text())["resumed"] is True


def test_a_run_changes_nothing_but_its_artifacts(checkout, tmp_path):
    before = tree(checkout)
    file = runner.run("smoke")
    assert tree(checkout) == before
    assert file == tmp_path / "artifacts" / "smoke" / "results.json" and file.exists()
    assert "this run: smoke" in (file.parent / "report" / "index.html").read_text()


def test_results_copies_a_finished_run_once_and_readme_follows(checkout, monkeypatch, capsys):
    def asked(*words):
        code, out, _ = main(monkeypatch, capsys, "results", "--profile", "laptop", *words)
        assert code == 0
        return out

    assert "no finished run" in asked()
    assert not list((checkout / "results").iterdir())
    store = Store.open(LAPTOP)
    runner.run("laptop")
    cell = store.folder / "studies" / "table" / "laptop.pulse.seed0.json"
    cell.parent.mkdir(parents=True)
    (cell.parent / "pulse-0").mkdir()
    (cell.parent / "pulse-0" / "settings.json").write_text("{}")
    about = {"variant": "pulse", "seed": 0, "settings": {}, "metrics": {}, "machine": "cpu2", "seconds": 1}
    cell.write_text(json.dumps(about))
    before = tree(checkout)
    assert "copied" not in asked("--tables-only") and {*tree(checkout)} == {*before}
    out, now = asked(), tree(checkout)
    copied = {f"results/laptop.{results.machine()}.json", "results/studies/table/laptop.pulse.seed0.json"}
    assert {*now} - {*before} == copied and out.count("copied to") == 2
    readme = now["README.md"].decode()
    where = f"{results.machine()}, {torch.backends.cpu.get_cpu_capability()}"
    assert f"laptop, {results.machine()} (n = 1)" in readme and f"0 min on {where} | 50 min" in readme
    assert "nothing is new" in asked() and tree(checkout) == now


def test_notebooks_are_put_back_only_when_asked_and_as_they_are_now(checkout, monkeypatch, capsys):
    runner.run("smoke")
    done = Store.open(SMOKE).folder / "notebooks" / "01_part.ipynb"
    notebook = nbformat.read(done, 4)
    result = nbformat.v4.new_output("execute_result", {"text/plain": "5"}, execution_count=71)
    notebook.cells[1].outputs = [nbformat.v4.new_output("stream", text="hello"), result]
    nbformat.write(notebook, done)
    here = checkout / "notebooks" / "01_part.ipynb"
    main(monkeypatch, capsys, "results", "--profile", "smoke")
    assert not nbformat.read(here, 4).cells[1].outputs
    code, out, _ = main(monkeypatch, capsys, "results", "--profile", "smoke", "--notebooks")
    hello, shown = nbformat.read(here, 4).cells[1].outputs
    assert code == 0 and out.count("put back") == 5 and hello.text == "hello"
    assert shown.data == {"text/plain": "5"} and shown.execution_count != 71, "counted anew"
    write(here, "x = 11")
    before = tree(checkout)
    code, _, err = main(monkeypatch, capsys, "results", "--profile", "smoke", "--notebooks")
    assert code == 1 and "01_part has not run" in err and tree(checkout) == before


def test_a_part_of_the_chain_runs_alone_and_says_what_remains(chain, monkeypatch, capsys):
    _, executed = chain
    monkeypatch.setattr(runner, "missing", lambda store, paths: [])
    assert runner.run("smoke", first="1", last="02") is None and executed == ["01", "02"]
    assert "notebooks 00, 01, 02, 03 remain: go on with run --from 00" in capsys.readouterr().out
    assert runner.run("smoke", last="2") is None and executed == ["01", "02", "00", "01", "02"]
    assert runner.run("smoke", only="01") is None and len(executed) == 5, "done before"
    assert "notebooks 03 remain" in capsys.readouterr().out
    assert runner.run("smoke", only="03").exists() and executed[5:] == ["03"]
    assert "all notebooks 0 s, within the budget of 360 s by 360 s" in capsys.readouterr().out
    assert runner.run("smoke", fresh=True, only="2") is None and executed[6:] == ["02"]
    assert not results.run_file(Store.open(SMOKE)).exists(), "what came after it was made from the older one"
    assert runner.run("smoke").exists() and executed[7:] == ["03"]


def test_what_is_missing_before_a_part_is_named_before_anything_runs(chain, tmp_path):
    _, executed = chain
    with pytest.raises(
        UniECGError, match="'cohort' .notebook 01., 'encoders' .notebook 02.; first run .* --from 01 --to 02"
    ):
        runner.run("smoke", only="3")
    assert executed == []
    store = Store.open(SMOKE)
    with store.writing("cohort") as folder:
        (folder / "patients.txt").write_text("one")
    assert runner.missing(store, runner.chosen("3")) == ["encoders"]
    assert runner.missing(store, runner.chosen(first="2")) == [], "notebook 02 makes it"
    with store.writing("encoders", inputs=("cohort",)) as folder:
        (folder / "weights.txt").write_text("two")
    assert runner.missing(store, runner.chosen("3")) == []
    with store.writing("cohort") as folder:
        (folder / "patients.txt").write_text("another")
    assert runner.missing(store, runner.chosen("3")) == ["encoders"], "made from an older cohort"


def test_every_notebook_starts_from_what_earlier_ones_make():
    assert set(runner.NEEDS) == set(BUDGETS)
    for number, names in runner.NEEDS.items():
        assert all(PRODUCERS[name] < number for name in names), number


def test_a_run_says_whether_it_kept_its_budget():
    seconds = {f"{k:02d}": 200.0 for k in range(11)}
    whole, part = results.against_budget(LAPTOP, seconds).split("; ")
    assert whole == "all notebooks 2200 s, within the budget of 3000 s by 800 s"
    assert part == "00 to 10 2200 s, over the budget of 2100 s by 100 s"
    assert "3100 s, over the budget of 3000 s by 100 s" in results.against_budget(LAPTOP, {**seconds, "18": 900.0})
    assert SMOKE.seconds_all == 360
    whole = results.sums(BUDGETS)
    assert whole["total_all"] <= LAPTOP.seconds_all and whole["total"] <= LAPTOP.seconds_budget


def test_a_real_notebook_runs_and_a_failing_one_is_named(tmp_path, monkeypatch):
    """One kernel for the good notebook, one for the bad one."""
    folder = tmp_path / "notebooks"
    folder.mkdir()
    write(folder / "00_good.ipynb", "print(profile, seed)")
    write(folder / "01_bad.ipynb", "1 / 0")
    monkeypatch.setattr(runner, "NOTEBOOKS", folder)
    monkeypatch.setattr(results, "RESULTS", tmp_path / "results")
    with pytest.raises(UniECGError, match="01_bad.ipynb stopped in cell .*ZeroDivisionError.*checkpoints are kept"):
        runner.run("smoke", seed=3)
    [done] = (tmp_path / "artifacts" / "smoke" / "notebooks").glob("00_good.ipynb")
    text = [o.text for c in nbformat.read(done, 4).cells if c.cell_type == "code" for o in c.outputs]
    assert text == ["smoke 3\n"]
    assert not (tmp_path / "results").exists(), "no results of half a chain"
    assert not (tmp_path / "artifacts" / "smoke" / "results.json").exists()
    publish._put_back(done, folder / "00_good.ipynb")
    back = nbformat.read(folder / "00_good.ipynb", 4)
    assert [c.source for c in back.cells] == ["profile, seed = None, 0", "print(profile, seed)"]
    assert [c.execution_count for c in back.cells] == [1, 2] and "papermill" not in back.metadata
    assert back.cells[1].outputs[0].text == "smoke 3\n"


def test_the_report_has_a_page_for_every_notebook(tmp_path):
    folder = tmp_path / "done"
    folder.mkdir()
    for name in ("00_a", "01_b"):
        write(folder / f"{name}.ipynb", "x = 1")
    write(folder / "02_c.part.ipynb", "x = 1")
    index = runner.report(folder, tmp_path / "report", "| metric | aim |\n|---|---|\n| speed | >= 3 |")
    assert {p.name for p in index.parent.iterdir()} == {"index.html", "00_a.html", "01_b.html"}
    assert index.read_text().count("<li>") == 2 and "not for diagnosis" in index.read_text()
    assert "<td>speed</td>" in index.read_text()


def test_results_gather_the_figures_of_all_notebooks(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "RESULTS", tmp_path / "results")
    store = tiny.store(tmp_path)
    (store.folder / "metrics").mkdir(parents=True)
    for number, metrics in (("05", {"stage1.hr_mae_bpm": 3.123456}), ("08", {"prompts.accuracy": 0.995})):
        metrics |= {"prompts.accuracy_low": 0.98} if number == "08" else {}
        (store.folder / "metrics" / f"{number}.json").write_text(json.dumps({"metrics": metrics}))
    seconds, starts = {"05": 10.04, "08": 20.0}, {"05": 50.0, "08": 55.0}
    result = json.loads(results.write(store, seconds, starts, resumed=False).read_text())
    assert result["metrics"] == {"prompts.accuracy": 0.995, "prompts.accuracy_low": 0.98, "stage1.hr_mae_bpm": 3.1235}
    assert result["seconds"] == {"05": 10.0, "08": 20.0, "total": 25.0, "total_all": 25.0}, "they ran side by side"
    assert result["starts"] == {"05": 0.0, "08": 5.0}
    assert result["claims"]["U9"]["verdict"] == "reproduced" and set(result["claims"]) == {"U9"}
    low = {"prompts.accuracy": 0.96, "prompts.accuracy_low": 0.89}
    assert verdicts(low)["U9"]["verdict"] == "not reproduced" and verdicts({"prompts.accuracy": 0.96}) == {}


@pytest.mark.parametrize(
    "sex, age, true, verdict",
    [
        (0.78, 0.58, (0.80, 0.60), "reproduced"),
        (0.60, 0.58, (0.80, 0.60), "not reproduced"),
        (0.80, 0.60, (0.52, 0.10), "not testable here"),
    ],
)
def test_sex_and_age_are_judged_only_where_true_ecgs_show_them(sex, age, true, verdict):
    generated = {"hr_median_error_bpm": 2.0, "sex_accuracy": sex, "age_correlation": age}
    generated |= {"true_sex_accuracy": true[0], "true_age_correlation": true[1]}
    claim = verdicts({f"generation.{name}": value for name, value in generated.items()})["U10"]
    assert claim["verdict"] == verdict


@pytest.mark.parametrize("command", ["run", "results"])
def test_what_needs_notebooks_says_so_where_there_are_none(command, monkeypatch, capsys):
    monkeypatch.setattr("uniecg_lite.paths.CHECKOUT", None)
    code, out, err = main(monkeypatch, capsys, command)
    assert code == 1 and out == "" and err.count("\n") == 1 and f"use `make {command}` there" in err


# --- what a notebook uses


def test_a_lesson_keeps_its_figures_and_tells_its_time(tmp_path, capsys):
    budget = f"{SMOKE.notebook_budget('05'):.0f} s"
    lesson = Lesson("05", "smoke", 2)
    lesson.metric({"stage1.hr_mae_bpm": torch.tensor(3.5)})
    lesson.done()
    kept = json.loads((tmp_path / "artifacts" / "smoke" / "metrics" / "05.json").read_text())
    assert kept["metrics"] == {"stage1.hr_mae_bpm": 3.5} and kept["seed"] == 2 and kept["seconds"] >= 0
    out = capsys.readouterr().out
    assert f"notebook 05, profile smoke, seed 2; budget {budget}" in out and f" s of {budget}" in out
    first = torch.rand(3)
    Lesson("05", "smoke", 2)
    assert torch.equal(torch.rand(3), first), "the seed is set"


def test_claims_and_shapes_raise_when_they_do_not_hold(capsys):
    confirm("one is one", True)
    assert capsys.readouterr().out == "[check] one is one: yes\n"
    with pytest.raises(AssertionError, match="one is two: no"):
        confirm("one is two", False)
    shape("tokens", torch.zeros(2, 26, 8), "B T D", T=26)
    assert "(B, T, D) = (2, 26, 8)" in capsys.readouterr().out
    with pytest.raises(AssertionError, match="T is 26, not 25"):
        shape("tokens", torch.zeros(2, 26, 8), "B T D", T=25)
