"""simreal: each arm learns from the records it names, never from those that are scored; it runs on a tiny folder."""

import math

import pandas as pd
import pytest
import tiny
import torch
from test_real_cohorts import write_ptbxl

from uniecg_lite.errors import BadRequest
from uniecg_lite.studies import simreal
from uniecg_lite.studies.grid import STUDIES, run_study


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tiny.unified_chain(tmp_path_factory.mktemp("simreal"))[0]


@pytest.fixture(scope="module")
def room(store, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNIECG_PTBXL", str(write_ptbxl(tmp_path_factory.mktemp("ptbxl"), 40)))
        return simreal.Records(store)


def test_each_arm_learns_from_the_records_it_names(room):
    assert list(simreal.SHARES) == list(STUDIES["simreal"].variants)
    drawn = {variant: room.drawn(variant, 0) for variant in simreal.SHARES}
    real = torch.from_numpy(room.is_real)
    assert not real[drawn["simulated"]].any() and real[drawn["real"]].all()
    assert torch.equal(drawn["real"].bincount().unique(), torch.tensor([0, simreal.REPEATS]))
    few, people = drawn["real10"].unique(), room.train.column("patient")
    assert len({people[row] for row in few.tolist()}) == math.ceil(0.1 * len({*room.real["train"].column("patient")}))
    assert torch.equal(drawn["mixed"], torch.cat([drawn["simulated"], drawn["real"]]))
    assert torch.equal(drawn["mixed10"], torch.cat([drawn["simulated"], drawn["real10"]]))
    held = {*room.real["test"].column("patient"), *room.real["validation"].column("patient")}
    assert held.isdisjoint(people) and len(room.real["test"]) > 4


@pytest.mark.parametrize("variant", ["mixed10", "real", "blind", "majority"])
def test_cells(room, tmp_path, variant, monkeypatch):
    monkeypatch.setattr("uniecg_lite.metrics.real_records.FEWEST", 1)
    found = simreal.measure(room, variant, 0, tmp_path)
    assert {"macro.f1", "official.macro.f1", "CLBBB.sensitivity", "rate_median_error_bpm"} <= found.keys()
    assert ("reader.macro.auroc" in found) == (variant in ("mixed10", "real"))
    assert 0 <= found["macro.f1"] <= 1 and found["macro.f1_low"] <= found["macro.f1_high"]


def test_zeros_in_place_of_an_ecg_give_everybody_one_report(room, tmp_path):
    assert len({*simreal.written(room, "blind", 0, tmp_path)}) == 1


def test_without_real_records_it_says_what_to_set(monkeypatch, tmp_path):
    for value in ("", str(tmp_path)):
        monkeypatch.setenv("UNIECG_PTBXL", value)
        with pytest.raises(BadRequest, match="set UNIECG_PTBXL"):
            run_study("simreal", "smoke", root=tmp_path)


def test_a_cell_depends_on_the_table_of_records(store, monkeypatch, tmp_path):
    monkeypatch.setenv("UNIECG_PTBXL", str(write_ptbxl(tmp_path)))
    before = simreal.settings(store, "mixed")
    assert before == simreal.settings(store, "mixed") != simreal.settings(store, "real")
    table = pd.read_csv(simreal.ptbxl_table())
    table.iloc[1:].to_csv(simreal.ptbxl_table(), index=False)
    assert before != simreal.settings(store, "mixed")
