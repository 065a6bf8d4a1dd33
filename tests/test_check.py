"""The environment check must notice what is wrong and say what to do about it."""

from importlib import import_module, metadata

import pytest

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


def test_amx_is_read_from_cpuinfo(tmp_path):
    (tmp_path / "with").write_text("flags : fpu amx_bf16 amx_tile")
    (tmp_path / "without").write_text("flags : fpu avx2")
    assert ": yes" in ready.amx(tmp_path / "with")
    assert ": no" in ready.amx(tmp_path / "without")
    assert "unknown" in ready.amx(tmp_path / "absent")


def test_conflicts_in_this_environment_are_reported(monkeypatch):
    stated = "numpy 1.0 requires nothing-at-all, which is not installed.\nuniecg-lite 0.1.0 has requirement torch==0\n"
    done = ready.subprocess.CompletedProcess([], 1, stdout=stated, stderr="")
    monkeypatch.setattr(ready.subprocess, "run", lambda *a, **k: done)
    monkeypatch.setattr(ready.sys, "prefix", str(metadata.distribution("numpy").locate_file("")))
    ok, text = ready.conflict_row()
    assert not ok and "numpy 1.0" in text and "torch==0" not in text


@pytest.mark.parametrize("wrong", [False, True])
def test_one_bad_line_makes_the_whole_check_fail(monkeypatch, capsys, tmp_path, wrong):
    monkeypatch.setattr(ready, "pin_rows", lambda: [(not wrong, "pins")])
    monkeypatch.setattr(ready, "conflict_row", lambda: (True, "no dependency conflicts"))
    monkeypatch.setattr(ready, "disk_row", lambda _: (True, "disk"))
    monkeypatch.setattr(ready, "memory_row", lambda *_: (True, "memory"))
    assert ready.check("smoke", tmp_path) is not wrong
    out = capsys.readouterr().out.splitlines()
    assert ("[FAIL] pins" in out) is wrong and all(line.startswith(("[OK] ", "[FAIL] ")) for line in out)
