"""The environment check must notice what is wrong and say what to do about it."""

from importlib import import_module, metadata
from types import SimpleNamespace

import pytest
import torch
from transformers import LlamaConfig

from uniecg_lite.config import LAPTOP, PAPER, PROFILES
from uniecg_lite.language.tokenizer import train_tokenizer
from uniecg_lite.llm import pocket_llm

ready = import_module("uniecg_lite.course.check")  # the module, whatever the package's own name `check` is


def lookup(versions):
    """A stand-in for importlib.metadata.version."""

    def version(name):
        if name not in versions:
            raise metadata.PackageNotFoundError(name)
        return versions[name]

    return version


@pytest.fixture
def rows(monkeypatch):
    """The rows of some pins, with these versions installed."""

    def ask(pins, versions):
        monkeypatch.setattr(metadata, "requires", lambda _: pins)
        monkeypatch.setattr(metadata, "version", lookup(versions))
        return ready.pin_rows()

    return ask


def test_right_pin_is_ok_and_build_suffix_does_not_count(rows):
    found = rows(["torch==2.13.0", 'pytest==9.2.0; extra == "dev"'], {"torch": "2.13.0+cpu"})
    assert found == [(True, "torch 2.13.0+cpu")]


def test_wrong_pin_fails_with_the_remedy(rows):
    [(ok, text)] = rows(["numpy==2.4.6"], {"numpy": "2.4.60"})
    assert not ok and "pip install numpy==2.4.6" in text


def test_missing_package_fails(rows):
    [(ok, text)] = rows(["wfdb==4.3.1"], {})
    assert not ok and "missing" in text


@pytest.mark.parametrize(
    "name, cuda, expected", [("torch", True, True), ("torch", False, False), ("peft", True, False)]
)
def test_only_a_torch_that_works_with_cuda_may_differ(monkeypatch, rows, name, cuda, expected):
    monkeypatch.setattr(ready.torch.cuda, "is_available", lambda: cuda)
    [(ok, text)] = rows([f"{name}==2.0"], {name: "1.9+cu128"})
    assert ok is expected and "2.0" in text


def test_package_that_is_not_installed_is_reported(monkeypatch):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", missing)
    [(ok, text)] = ready.pin_rows()
    assert not ok and "make env" in text


def test_profile_gpu_needs_a_gpu(monkeypatch):
    monkeypatch.setattr(ready.torch.cuda, "is_available", lambda: False)
    assert ready.device_row("laptop")[0]
    ok, text = ready.device_row("gpu")
    assert not ok and "PROFILE=laptop" in text


def test_memory_is_held_against_the_profile(monkeypatch):
    monkeypatch.setattr(ready, "batch_row", lambda profile, free: (True, f"batch of {free}"))
    assert ready.memory_rows("smoke", 5 * ready.GB, None) == [
        (True, "5.0 GB main memory free, profile smoke needs 4"),
        (True, f"batch of {5 * ready.GB}"),
    ]
    assert not ready.memory_rows("laptop", 5 * ready.GB, None)[0][0]
    [(ok, text)] = ready.memory_rows("huge", 500 * ready.GB, None)
    assert not ok and "'huge' is unknown" in text
    for free, fits in ((41, True), (39, False)):
        main, device, batch = ready.memory_rows("gpu", 9 * ready.GB, free * ready.GB)
        assert main[0] and device[0] is fits and "device memory" in device[1]
        assert batch[1] == f"batch of {free * ready.GB}", "it trains there"


@pytest.mark.parametrize("free", [2, 4])
def test_disk_needs_room(monkeypatch, capsys, tmp_path, free):
    monkeypatch.setattr(ready.shutil, "disk_usage", lambda folder: SimpleNamespace(free=free * ready.GB))
    monkeypatch.setattr(ready, "conflict_row", lambda: (True, "no dependency conflicts"))
    ready.check("smoke", tmp_path)
    good = f"[OK] {free}.0 GB disk free, needed are 3" if free > 3 else "[FAIL] 2.0 GB disk free, needed are 3; delete"
    assert good in capsys.readouterr().out


def test_artifacts_must_be_writable(tmp_path):
    assert ready.writable_row(tmp_path / "new" / "artifacts")[0]
    (tmp_path / "file").write_text("in the way")
    assert not ready.writable_row(tmp_path / "file")[0]


def test_the_device_is_the_one_that_training_takes(monkeypatch):
    monkeypatch.setattr(ready, "device_and_why", lambda: ("cpu", torch.float32, "no CUDA device; no bf16 units"))
    assert ready.device_row("laptop") == (True, "device cpu: no CUDA device; no bf16 units")


def test_the_largest_batch_grows_with_memory_and_is_called_an_estimate(monkeypatch, tmp_path):
    monkeypatch.delenv("UNIECG_LLM", raising=False)
    small, large = (ready.largest_batch(LAPTOP, free * ready.GB) for free in (1, 8))
    assert LAPTOP.stage1.batch < small < large < 9 * small
    assert ready.largest_batch(PAPER, 8 * ready.GB) == 0, "the weights alone are more"
    ok, text = ready.batch_row("laptop", 8 * ready.GB)
    assert ok and f"about {large} fit" in text and "(estimate)" in text
    assert not ready.batch_row("laptop", 2**20)[0]
    tiny_llm = LlamaConfig(hidden_size=2048, num_hidden_layers=24, num_attention_heads=16, vocab_size=50000)
    tiny_llm.save_pretrained(tmp_path / "llm")
    monkeypatch.setenv("UNIECG_LLM", str(tmp_path / "llm"))
    assert not ready.batch_row("laptop", 8 * ready.GB)[0]
    monkeypatch.setenv("UNIECG_LLM", str(tmp_path / "none"))
    ok, text = ready.batch_row("laptop", 8 * ready.GB)
    assert not ok and "no language model" in text


def test_the_profile_of_the_paper_has_a_language_model_of_the_published_size():
    with torch.device("meta"):
        llm = pocket_llm(PAPER, train_tokenizer(["Rate 72 bpm."]))
    assert sum(p.numel() for p in llm.parameters()) == pytest.approx(6.4e9, rel=0.03), "7 B, less a large vocabulary"
    assert (PAPER.enc_width, PAPER.enc_layers) == (768, 12) and PAPER not in PROFILES.values()


class Package:
    """A stand-in for a distribution: its name and what it requires."""

    def __init__(self, name: str, *requires: str):
        self.name, self.requires = name, requires


def test_conflicts_in_this_environment_are_reported(monkeypatch):
    numpy = Package("numpy", "nothing-at-all", "Old_Thing<1", 'extra-thing; extra == "all"', "fine>=1")
    packages = [numpy, Package("fine", "absent; python_version < '3'"), Package("uniecg_lite", "torch==0")]
    here = [ready.sysconfig.get_path("purelib")]
    monkeypatch.setattr(metadata, "distributions", lambda path: packages if path == here else None)
    monkeypatch.setattr(metadata, "version", lookup({"Old_Thing": "1.2", "fine": "1.0rc1+cpu", "torch": "2"}))
    ok, text = ready.conflict_row()
    assert not ok and "numpy requires nothing-at-all: nothing-at-all is missing" in text
    assert "numpy requires Old_Thing<1: Old_Thing 1.2" in text
    assert all(name not in text for name in ("extra-thing", "absent", "torch==0"))
    assert "numpy requires fine>=1: fine 1.0rc1+cpu" in text, "a release candidate is before its release"
    numpy.requires = None
    assert ready.conflict_row() == (True, "no dependency conflicts")


@pytest.mark.parametrize("wrong", [False, True])
def test_one_bad_line_makes_the_whole_check_fail(monkeypatch, capsys, tmp_path, wrong):
    monkeypatch.setattr(ready, "pin_rows", lambda: [(not wrong, "pins")])
    monkeypatch.setattr(ready, "conflict_row", lambda: (True, "no dependency conflicts"))
    monkeypatch.setattr(ready, "DISK_GB", 0)
    monkeypatch.setattr(ready, "memory_rows", lambda *_: [(True, "memory")])
    assert ready.check("smoke", tmp_path) is not wrong
    out = capsys.readouterr().out.splitlines()
    assert ("[FAIL] pins" in out) is wrong and all(line.startswith(("[OK] ", "[FAIL] ")) for line in out)
