"""The environment check must notice what is wrong and say what to do about it."""

from importlib import import_module, metadata
from pathlib import Path

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


def rows(pins, versions):
    return ready.pin_rows(pins, lookup(versions))


def test_right_pin_is_ok_and_build_suffix_does_not_count():
    assert rows({"torch": "2.13.0"}, {"torch": "2.13.0+cpu"}) == [(True, "torch 2.13.0+cpu")]


def test_wrong_pin_fails_with_the_remedy():
    [(ok, text)] = rows({"numpy": "2.4.6"}, {"numpy": "2.4.60"})
    assert not ok and "pip install numpy==2.4.6" in text


def test_missing_package_fails():
    [(ok, text)] = rows({"wfdb": "4.3.1"}, {})
    assert not ok and "missing" in text


@pytest.mark.parametrize(
    "name, cuda, expected", [("torch", True, True), ("torch", False, False), ("peft", True, False)]
)
def test_only_a_torch_that_works_with_cuda_may_differ(monkeypatch, name, cuda, expected):
    monkeypatch.setattr(ready.torch.cuda, "is_available", lambda: cuda)
    [(ok, text)] = rows({name: "2.0"}, {name: "1.9+cu128"})
    assert ok is expected and "2.0" in text


def test_pins_come_from_the_installed_package(monkeypatch):
    monkeypatch.setattr(metadata, "requires", lambda _: ["numpy==2.4.6", 'pytest==9.2.0; extra == "dev"'])
    assert ready.direct_pins() == {"numpy": "2.4.6"}


def test_package_that_is_not_installed_is_reported(monkeypatch):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", missing)
    [(ok, text)] = ready.pin_rows()
    assert not ok and "make env" in text


def test_old_python_fails():
    assert ready.python_row((3, 11, 0))[0]
    assert not ready.python_row((3, 10, 14))[0]


def test_profile_gpu_needs_a_gpu(monkeypatch):
    monkeypatch.setattr(ready.torch.cuda, "is_available", lambda: False)
    assert ready.device_row("laptop")[0]
    ok, text = ready.device_row("gpu")
    assert not ok and "PROFILE=laptop" in text


def test_memory_is_held_against_the_profile():
    assert ready.memory_row("smoke", 5 * ready.GB)[0]
    assert not ready.memory_row("laptop", 5 * ready.GB)[0]
    assert not ready.memory_row("huge", 500 * ready.GB)[0]


def test_disk_needs_room(monkeypatch, tmp_path):
    assert ready.disk_row(tmp_path)[0] == (ready.shutil.disk_usage(tmp_path).free >= 3 * ready.GB)
    monkeypatch.setattr(ready, "DISK_GB", 10**9)
    assert not ready.disk_row(tmp_path)[0]


def test_artifacts_must_be_writable(tmp_path):
    assert ready.writable_row(tmp_path / "new" / "artifacts")[0]
    (tmp_path / "file").write_text("in the way")
    assert not ready.writable_row(tmp_path / "file")[0]


def test_device_memory_is_another_than_main_memory():
    assert ready.device_memory_row("gpu", 41 * ready.GB)[0]
    ok, text = ready.device_memory_row("gpu", 39 * ready.GB)
    assert not ok and "device memory" in text and "main memory" in ready.memory_row("gpu", 9 * ready.GB)[1]
    assert ready.memory_needed("gpu") == "8 GB main, 40 GB device" and ready.memory_needed("laptop") == "8 GB"


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
    """A stand-in for a distribution: name, version, what it requires, where it lies."""

    def __init__(self, name: str, requires: list[str], home: Path, version: str = "1.0"):
        self.name, self.requires, self.home, self.version = name, requires, home, version

    def locate_file(self, path) -> Path:
        return self.home / path


def test_conflicts_in_this_environment_are_reported(monkeypatch, tmp_path):
    here, outside = tmp_path / "env" / "lib", tmp_path / "elsewhere"
    packages = [
        Package("numpy", ["nothing-at-all", "Old_Thing<1", 'extra-thing; extra == "all"', "fine>=1"], here),
        Package("old.thing", [], outside, "1.2"),
        Package("fine", ["absent; python_version < '3'"], here, "1.0rc1+cpu"),
        Package("stranger", ["absent"], outside),
        Package("uniecg_lite", ["torch==0"], here),
    ]
    monkeypatch.setattr(metadata, "distributions", lambda: packages)
    monkeypatch.setattr(ready.sys, "prefix", str(tmp_path / "env"))
    ok, text = ready.conflict_row()
    assert not ok and "numpy 1.0 requires nothing-at-all, which is not installed." in text
    assert "numpy 1.0 has requirement Old_Thing<1, but you have Old_Thing 1.2." in text
    assert all(name not in text for name in ("extra-thing", "absent", "torch==0"))
    assert "fine>=1, but you have fine 1.0rc1" in text, "a release candidate is before its release"
    packages[0].requires = None
    assert ready.conflict_row() == (True, "no dependency conflicts")


@pytest.mark.parametrize("wrong", [False, True])
def test_one_bad_line_makes_the_whole_check_fail(monkeypatch, capsys, tmp_path, wrong):
    monkeypatch.setattr(ready, "pin_rows", lambda: [(not wrong, "pins")])
    monkeypatch.setattr(ready, "conflict_row", lambda: (True, "no dependency conflicts"))
    monkeypatch.setattr(ready, "disk_row", lambda _: (True, "disk"))
    monkeypatch.setattr(ready, "memory_row", lambda *_: (True, "memory"))
    assert ready.check("smoke", tmp_path) is not wrong
    out = capsys.readouterr().out.splitlines()
    assert ("[FAIL] pins" in out) is wrong and all(line.startswith(("[OK] ", "[FAIL] ")) for line in out)
