"""An ordinary and an editable install work from any folder: data/ is inside, an ECG is read, a model makes one."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest
import tiny
import torch

from uniecg_lite.checkpoints import save_stage
from uniecg_lite.config import SMOKE
from uniecg_lite.paths import checkout_of

ROOT = Path(__file__).parents[1]
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "uniecg_lite", "data")
OFFLINE = ("--no-deps", "--no-index", "--no-build-isolation")
PROMPT = "Make an ECG: 63-year-old woman, atrial fibrillation, 120 bpm"

USE = f"""
import sys
from uniecg_lite import ECG, UniECG
from uniecg_lite.paths import DATA, PACKAGE, ROOT

ecg = ECG.load("record")
model = UniECG.from_pretrained(sys.argv[1])
assert isinstance(model.respond("Interpret this ECG.", ecg=ecg).text, str)
model.respond({PROMPT!r}).ecg.save("made")
print(ecg.signal.shape, *ECG.load("made").signal.shape, DATA, PACKAGE, ROOT, sep="|")
"""


def run(*words, where: Path) -> subprocess.CompletedProcess:
    """A command in another folder, with nothing of this process's Python in its environment."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "PIP_", "UNIECG_"))}
    return subprocess.run([*map(str, words)], cwd=where, env=clean, capture_output=True, text=True)


def ran(*words, where: Path) -> str:
    """What a command printed; it must end well."""
    done = run(*words, where=where)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def copy_of_the_sources(folder: Path) -> Path:
    """What a build needs of the repository, so that no build leaves anything in it."""
    folder.mkdir(exist_ok=True)
    for name in SOURCES:
        source, skip = ROOT / name, shutil.ignore_patterns("__pycache__")
        shutil.copytree(source, folder / name, ignore=skip) if source.is_dir() else shutil.copy(source, folder / name)
    return folder


def new_environment(folder: Path) -> Path:
    """The Python of an environment without the package, which sees the libraries of this one but not its .pth files."""
    ran(sys.executable, "-m", "venv", "--without-pip", folder, where=folder.parent)
    [site] = folder.glob("lib/python*/site-packages")
    (site / "lent.pth").write_text("".join(f"{p}\n" for p in sys.path if p.endswith("-packages")))
    return folder / "bin" / "python"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel built from the source distribution, and so from nothing that this leaves out."""
    sources = copy_of_the_sources(tmp_path_factory.mktemp("sources"))
    ran(sys.executable, "-c", "from setuptools import build_meta as b; b.build_sdist('.')", where=sources)
    [sdist] = sources.glob("*.tar.gz")
    ran(sys.executable, "-m", "pip", "wheel", *OFFLINE, "-w", sources, sdist, where=sources)
    [generated] = sources.glob("*.whl")
    return generated


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    """A model of random weights whose [ECG_1] row is what it says to `PROMPT`, so that it makes an ECG of it."""
    store, model = tiny.unified_chain(tmp_path_factory.mktemp("model"), SMOKE)
    ids = torch.tensor([model.prompt_ids(PROMPT)])
    with torch.no_grad():
        stated = model.llm(ids, output_hidden_states=True).hidden_states[-1][0, -1]
        for rows in model.token_rows().values():
            rows[0] = 100 * stated
        predict = model.generator.condition.predict  # it names nothing, so nothing is impossible
        predict.weight.zero_(), predict.bias.fill_(-1.0)
    save_stage(model, "unified", store.folder / "unified")
    return store.folder / "unified"


@pytest.fixture
def elsewhere(tmp_path):
    """A folder that holds one record and nothing of the repository."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    for ending in ("hea", "dat"):
        shutil.copy(ROOT / "data" / "samples" / f"atrial_fibrillation.{ending}", folder)
    header = folder / "atrial_fibrillation.hea"
    (folder / "record.hea").write_text(re.sub(r"^atrial_fibrillation ", "record ", header.read_text()))
    header.unlink()
    return folder


def test_the_wheel_holds_every_module_and_every_table(wheel):
    here = {path.relative_to(ROOT).as_posix(): path for path in (ROOT / "uniecg_lite").rglob("*.py")}
    tables = [path for path in (ROOT / "data").rglob("*") if path.is_file()]
    here |= {f"uniecg_lite/{path.relative_to(ROOT).as_posix()}": path for path in tables}
    with ZipFile(wheel) as file:
        inside = {name: file.read(name) for name in file.namelist() if ".dist-info/" not in name}
    assert set(inside) == set(here), "pyproject.toml names the packages one by one"
    assert [name for name, path in here.items() if inside[name] != path.read_bytes()] == []


@pytest.mark.parametrize("kind", ["wheel", "editable"])
def test_an_install_reads_and_makes_ecgs_from_another_folder(kind, wheel, model_folder, elsewhere, tmp_path):
    python = new_environment(tmp_path / "env")
    sources = tmp_path / "sources"
    what = [wheel] if kind == "wheel" else ["-e", copy_of_the_sources(sources)]
    ran(sys.executable, "-m", "pip", "--python", python, "install", *OFFLINE, *what, where=elsewhere)
    printed = ran(python, "-I", "-c", USE, model_folder, where=elsewhere).strip().split("|")
    assert printed[:3] == ["(12, 5000)", "12", "1024"]
    data, package, root = map(Path, printed[3:])
    if kind == "editable":
        assert (data, package, root) == (sources / "data", sources / "uniecg_lite", sources)
        return
    assert (data, root) == (package / "data", elsewhere) and python.parents[1] in package.parents
    refused = run(python.with_name("uniecg"), "run", where=elsewhere)
    assert refused.returncode == 1 and refused.stderr.count("\n") == 1 and "use `make run` there" in refused.stderr


def test_a_folder_is_a_checkout_only_by_its_name(tmp_path):
    package = tmp_path / "uniecg_lite"
    assert checkout_of(package) is None
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "another"\n# uniecg_lite\n')
    assert checkout_of(package) is None
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "uniecg_lite"\n')
    assert checkout_of(package) == tmp_path
    assert checkout_of(ROOT / "uniecg_lite") == ROOT
