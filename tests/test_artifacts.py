"""artifacts: what is missing, foreign, stale or damaged is refused by name; writes are whole or not at all."""

import errno
import json
import os
import shutil
from dataclasses import replace

import pytest
import tiny
import torch

from uniecg_lite.checkpoints import load_reader, save_part
from uniecg_lite.config import LAPTOP, PROFILES, SMOKE, profile
from uniecg_lite.errors import BadArtifact, BadRequest, UniECGError
from uniecg_lite.metrics.reader import Reader
from uniecg_lite.store import PRODUCERS, Store, fingerprint, save_tensors

CHAIN = {"cohort": (), "encoders": ("cohort",), "language": ("cohort",), "alignment": ("encoders", "language")}


def write(store: Store, name: str, inputs=(), value: float = 1.0) -> None:
    with store.writing(name, inputs=inputs, metrics={"value": value}) as folder:
        save_tensors({"x": torch.full((3,), value)}, folder / "weights")


@pytest.fixture
def store(tmp_path) -> Store:
    """The first artifacts of a chain."""
    store = tiny.store(tmp_path)
    for name, inputs in CHAIN.items():
        write(store, name, inputs)
    return store


def value(store: Store, name: str) -> float:
    return store.tensors(name, "weights")["x"][0].item()


def test_what_was_written_is_read(store):
    assert value(store, "alignment") == 1.0 and store.path("alignment") == store.folder / "alignment"
    meta = store.meta("alignment")
    assert meta["producer"] == "04" and meta["profile"] == "smoke" and meta["seed"] == 0 and meta["metrics"]
    assert meta["inputs"] == {name: store.meta(name)["hash"] for name in ("encoders", "language")}
    assert not list(store.folder.glob("*.part"))


@pytest.mark.parametrize("name", PRODUCERS)
def test_missing(tmp_path, name):
    for read in (Store.path, Store.meta, lambda s, n: s.tensors(n, "weights")):
        with pytest.raises(BadArtifact, match=f"run notebook {PRODUCERS[name]} "):
            read(tiny.store(tmp_path), name)


def test_foreign_profile(store):
    other = Store(store.folder, LAPTOP, 0)
    with pytest.raises(BadArtifact, match="profile 'smoke' and seed 0, not 'laptop' and 0: run notebook 02 again"):
        other.path("encoders")


def test_foreign_seed(store):
    with pytest.raises(BadArtifact, match="seed 0, not 'smoke' and 5: run notebook 03 again"):
        Store(store.folder, store.profile, 5).path("language")


def test_other_sizes(store):
    bigger = Store(store.folder, replace(store.profile, enc_width=64), 0)
    with pytest.raises(BadArtifact, match="other sizes: run notebook 02 again"):
        bigger.path("encoders")


def test_stale_inputs(store):
    write(store, "encoders", ("cohort",), value=2.0)
    with pytest.raises(BadArtifact, match="'alignment' was made from an older 'encoders': run notebook 04 again"):
        store.path("alignment")
    assert value(store, "language") == 1.0, "what does not depend on it stays good"


def test_stale_inputs_of_inputs(store):
    write(store, "cohort", value=3.0)
    write(store, "language", ("cohort",))
    with pytest.raises(BadArtifact, match="run notebook 02 again"):
        store.path("alignment")


def test_an_input_that_is_gone(store):
    for path in (store.folder / "encoders").iterdir():
        path.unlink()
    with pytest.raises(BadArtifact, match="no 'encoders'.*run notebook 02"):
        store.path("alignment")


@pytest.mark.parametrize("text", ["", "{", '{"profile": "smo', "{}", "[]", "null", '{"profile": "smoke"}'])
def test_damaged_meta(store, text):
    (store.folder / "language" / "meta.json").write_text(text)
    with pytest.raises(BadArtifact, match="'language' .*damaged: run notebook 03 "):
        store.path("language")


@pytest.mark.parametrize("keep", [0, 5, 60])
def test_damaged_tensors(store, keep):
    file = store.folder / "encoders" / "weights.safetensors"
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(BadArtifact, match="'encoders' is damaged.*run notebook 02 again"):
        store.tensors("encoders", "weights")


def test_missing_file(store):
    with pytest.raises(BadArtifact, match="run notebook 02 again"):
        store.tensors("encoders", "views")


def test_an_artifact_that_needs_what_is_not_there_cannot_be_written(store):
    with pytest.raises(BadArtifact, match="no 'stage1'.*run notebook 05"), store.writing("tokens", ("stage1",)):
        raise AssertionError("the block must not run")
    assert not (store.folder / "tokens").exists()


# --- whole or not at all


@pytest.mark.parametrize("mishap", [ValueError("a bug"), KeyboardInterrupt(), UniECGError("refused")])
def test_a_block_that_fails_leaves_the_old_artifact(store, mishap):
    before = fingerprint(store.folder / "encoders")
    with pytest.raises(type(mishap)), store.writing("encoders", ("cohort",)) as folder:
        save_tensors({"x": torch.zeros(3)}, folder / "weights")
        raise mishap
    assert value(store, "encoders") == 1.0 and fingerprint(store.folder / "encoders") == before
    assert store.path("alignment")
    write(store, "encoders", ("cohort",), 4.0)
    assert value(store, "encoders") == 4.0 and not list(store.folder.glob("*.part"))


def test_a_full_disk_leaves_the_old_artifact(store):
    stated = "No space left on device.*free some disk space"
    with pytest.raises(UniECGError, match=stated), store.writing("encoders", ("cohort",)) as folder:
        save_tensors({"x": torch.zeros(3)}, folder / "weights")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert value(store, "encoders") == 1.0 and not list(store.folder.glob("*.part"))


@pytest.mark.parametrize("where", ["in the removal", "before the renaming"])
def test_a_run_killed_while_it_replaces_the_old_artifact_leaves_no_half_one(store, monkeypatch, where):
    remove = shutil.rmtree

    def killed(path, *_, **__):
        if where == "in the removal" and path == store.folder / "encoders":
            (path / "weights.safetensors").unlink()
            raise KeyboardInterrupt
        if where == "before the renaming":
            raise KeyboardInterrupt
        remove(path, ignore_errors=True)

    monkeypatch.setattr(*((shutil, "rmtree") if where == "in the removal" else (os, "replace")), killed)
    with pytest.raises(KeyboardInterrupt):
        write(store, "encoders", ("cohort",), 2.0)
    with pytest.raises(BadArtifact, match="run notebook 02"):
        store.path("encoders")


def test_nothing_of_the_old_artifact_stays(store):
    (store.folder / "encoders" / "left_over.txt").write_text("old")
    write(store, "encoders", ("cohort",), 2.0)
    assert {path.name for path in (store.folder / "encoders").iterdir()} == {"meta.json", "weights.safetensors"}


# --- the hash


def test_fingerprint_follows_content_and_names(tmp_path):
    def generated(**files):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        for name, text in files.items():
            path = folder / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return fingerprint(folder)

    first = generated(a="one", sub__b="two")
    assert first == generated(sub__b="two", a="one")
    others = [
        generated(a="one", sub__b="too"),
        generated(a="one", b="two"),
        generated(a="two", sub__b="one"),
        generated(a="one"),
    ]
    assert len({first, *others}) == 5


def test_fingerprint_leaves_out_the_description(store):
    before = fingerprint(store.folder / "cohort")
    meta = store.folder / "cohort" / "meta.json"
    meta.write_text(json.dumps(json.loads(meta.read_text()) | {"metrics": {"value": 9}}))
    assert fingerprint(store.folder / "cohort") == before == store.meta("cohort")["hash"]


# --- tensors, profiles, whole models


def test_the_store_lies_where_it_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("UNIECG_ARTIFACTS", str(tmp_path))
    assert Store.open(SMOKE, 2).folder == tmp_path / "smoke"
    assert Store.open(SMOKE, 2, tmp_path / "other").folder == tmp_path / "other" / "smoke"


def test_profiles(monkeypatch):
    monkeypatch.setenv("UNIECG_PROFILE", "smoke")
    monkeypatch.delenv("UNIECG_LLM", raising=False)
    assert profile() == SMOKE and profile("laptop") == LAPTOP
    monkeypatch.setenv("UNIECG_LLM", "some/folder")
    assert profile().llm == "some/folder"
    with pytest.raises(BadRequest, match="no profile 'huge': choose one of smoke, laptop, gpu"):
        profile("huge")
    assert all(p.name == name and p.lm_width % p.lm_heads == 0 for name, p in PROFILES.items())


def test_a_reader_comes_back(tmp_path):
    store, reader = tiny.store(tmp_path), Reader(8)
    with store.writing("reader") as folder:
        save_part(reader, folder)
    signal = tiny.patients().signal[:5]
    for mine, back in zip(reader(signal), load_reader(store)(signal)):
        torch.testing.assert_close(mine, back, rtol=0, atol=0)
