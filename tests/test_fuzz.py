"""Changed ECG files are read as they were, or refused: every kind of change once, and a reader that errs is caught."""

from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("ecgdatakit", reason="the extra `files` is not installed")
pytest.importorskip("pydicom", reason="the extra `files` is not installed")
import fuzz  # noqa: E402
import numpy as np  # noqa: E402

from uniecg_lite.ecg import ECG  # noqa: E402


@pytest.fixture(scope="module")
def found() -> dict:
    return fuzz.fuzz(len(fuzz.kinds()), seed=1)


def test_every_kind_is_tried_and_nothing_new_is_wrong(found):
    assert found["cases"] == len(fuzz.kinds()) == len(found["kinds"]) > 200
    assert not fuzz.unknown(found)


def test_unchanged_files_of_every_form_are_read(found):
    counts = {kind: count for kind, count in found["kinds"].items() if kind.endswith(": unchanged")}
    assert len(counts) == 11 and all(count["read"] == 1 for count in counts.values()), counts


def test_what_is_known_to_be_wrong_is_a_kind():
    assert fuzz.KNOWN.keys() <= {change for _, change in fuzz.kinds()}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda ecg: replace(ecg, signal=-ecg.signal), "values differ"),
        (lambda ecg: replace(ecg, age=3), "age 3 instead of 63"),
        (lambda ecg: replace(ecg, sex="male"), "sex male instead of female"),
        (lambda ecg: 1 / 0, "ZeroDivisionError"),
        (lambda ecg: replace(ecg, signal=ecg.signal[:, :10]), None),  # refused
    ],
)
def test_a_reader_that_errs_is_caught(monkeypatch, tmp_path, change, words):
    file = fuzz.new_case("npz", "unchanged", tmp_path, tmp_path, np.random.default_rng(0))
    load = ECG.load
    monkeypatch.setattr(ECG, "load", lambda path, **options: change(load(path, **options)))
    result, fault = fuzz.outcome(file)
    assert (result, words is None or words in fault) == ("wrong" if words else "refused", True)


def test_a_hang_is_caught(monkeypatch, tmp_path):
    def endless(path, **options):
        while True:
            pass

    monkeypatch.setattr(ECG, "load", endless)
    monkeypatch.setattr(fuzz, "LIMIT_S", 1)
    result, fault = fuzz.outcome(fuzz.File("npz", tmp_path, None, path=Path("rec.npz")))
    assert result == "wrong" and fault.startswith("Hang")
