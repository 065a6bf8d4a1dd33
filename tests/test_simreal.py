"""simreal: each arm learns from the records it names, never from those that are scored; it runs on a tiny folder."""

import json
import math

import pandas as pd
import pytest
import tiny
import torch
from test_real_cohorts import write_ptbxl

from uniecg_lite.beats import heart_rate
from uniecg_lite.cohort import Cohort
from uniecg_lite.encoders import FRONT, FactProbes
from uniecg_lite.errors import BadRequest
from uniecg_lite.findings import CODES, FACTS, NAMES, NUMBERS
from uniecg_lite.language.conversations import Corpus
from uniecg_lite.metrics.chain import reports
from uniecg_lite.stages import CachedTokens
from uniecg_lite.studies import simreal
from uniecg_lite.studies.grid import STUDIES, run_study


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tiny.unified_chain(tmp_path_factory.mktemp("simreal"))[0]


@pytest.fixture(scope="module")
def room(store, tmp_path_factory):
    """Forty real records; a published question about each, and one about the first two."""
    about = {"template_id": 26, "question_id": 1, "question_type": "single-verify", "attribute_type": "noise"}
    about |= {"question": "Is static noise present in lead aVF based on the ECG?", "answer": ["no"]}
    rows = [about | {"sample_id": i, "ecg_id": [i], "attribute": ["static noise"]} for i in range(1, 41)]
    rows += [rows[0] | {"question_type": "comparison_irrelevant-query", "ecg_id": [1, 2], "answer": ["none"]}]
    path = tmp_path_factory.mktemp("ecg_qa") / "questions.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNIECG_PTBXL", str(write_ptbxl(tmp_path_factory.mktemp("ptbxl"), 40)))
        patch.setenv("UNIECG_ECG_QA", str(path))
        patch.setattr(simreal, "QUESTIONS", 60)
        records = simreal.Records(store)
        assert {*records.questions} == {"qa", "ecgqa"}
    return records


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


def test_a_recorded_ecg_is_told_with_its_measured_rate(room):
    """A report without a rate would teach that recorded ECGs have none."""
    own = torch.from_numpy(room.is_real).nonzero()[:, 0]
    measured = heart_rate(room.train.signal(own), 100.0)
    stated = room.truth["rate_bpm"][own]
    assert torch.equal(stated.isnan(), measured.isnan()) and (~stated.isnan()).float().mean() > 0.8
    torch.testing.assert_close(stated.float(), measured, equal_nan=True)
    reports = Corpus({key: values[own] for key, values in room.truth.items()}).reports
    assert [text.startswith("Rate ") for text in reports] == (~measured.isnan()).tolist()


def test_what_is_taught_of_records_is_what_they_are_scored_by(room, monkeypatch):
    """The truth, told as it is learned and scored as a model's reports are, loses nothing; the labels alone do."""
    monkeypatch.setattr("uniecg_lite.metrics.real_records.FEWEST", 1)
    records, f1 = room.train.table.select(room.is_real.nonzero()[0]), {}
    cohort = Cohort(records)
    rate = heart_rate(cohort.signal(range(len(cohort))), 100.0)
    for name, truth in {"taught": cohort.truth() | simreal.taught(cohort), "labels": cohort.truth()}.items():
        table, _ = simreal.report_tables(cohort, Corpus(truth).reports, rate)["all"]
        f1[name] = table.loc[[row for row in table.index if "labelled" not in row], "f1"]
    assert (f1["taught"] == 1).all() and "inferior infarct" in f1["taught"]
    assert f1["labels"]["inferior infarct"] == 0


@pytest.mark.parametrize(("variant", "open_"), [("mixed", set()), ("real", set(NUMBERS) - {"rate_bpm"})])
def test_what_a_source_leaves_open_is_filled_in_as_far_as_others_taught_it(room, variant, open_):
    rows = room.drawn(variant, 0).unique()
    truth = {key: x[rows] for key, x in room.truth.items()}
    torch.manual_seed(0)
    probes = torch.nn.ModuleList(FactProbes(16) for _ in range(2))
    seen = CachedTokens(*(torch.randn(len(rows), FRONT, 16) for _ in range(2)))
    told, known = simreal.filled(truth, seen, probes), truth["known"].bool()
    assert not known.all() and (told["known"].bool() | ~known).all()
    left = {name for name, column in zip(FACTS, told["known"].T) if not column.all()}
    assert left & set(NUMBERS) == open_
    found = told["findings"].bool()
    assert torch.equal(found[known[:, : len(CODES)]], truth["findings"].bool()[known[:, : len(CODES)]])
    normal = truth["findings"][:, CODES.index("NORM")].bool()
    assert torch.equal(found[normal], truth["findings"].bool()[normal]) and (found & ~truth["findings"].bool()).any()
    real = [r for r in Corpus(told).reports if " PR " in r]
    assert len(real) == (len(rows) if variant == "mixed" else 0)


def test_questions_ask_what_is_known_of_test_records(room):
    code, test = {name: code for code, name in NAMES.items()}, room.real["test"]
    known, kinds = test.truth()["known"], set()
    assert len(room.questions["qa"]) == 60
    for question in room.questions["qa"]:
        (row,) = question.ecg_id
        named = [code[name] for name in (*(question.attribute or ()), *question.answer) if name in code]
        assert all(known[row, CODES.index(one)] for one in named), question
        kinds |= {question.question_type, question.attribute_type}
    assert "single-verify" in kinds and not kinds & {"noise", "numeric_feature"}, "of which nothing is known"
    asked = [question.ecg_id for question in room.questions["ecgqa"]]
    assert [(row,) for row in range(len(test))] == sorted(rows for rows in asked if len(rows) == 1)


def test_the_report_for_everybody_tells_a_rate_as_those_that_are_learned_from_do(room, tmp_path, monkeypatch):
    seen, tables = [], simreal.report_tables
    monkeypatch.setattr(
        simreal, "report_tables", lambda test, texts, rates: seen.extend(texts) or tables(test, texts, rates)
    )
    monkeypatch.setattr("uniecg_lite.metrics.real_records.FEWEST", 1)
    simreal.measure(room, "majority", 0, tmp_path)
    assert len(seen) == len(room.real["test"]) and len({*seen}) == 1 and seen[0].startswith("Rate ")


@pytest.mark.parametrize("variant", ["mixed10", "real", "blind", "majority"])
def test_cells(room, tmp_path, variant, monkeypatch):
    monkeypatch.setattr("uniecg_lite.metrics.real_records.FEWEST", 1)
    found = simreal.measure(room, variant, 0, tmp_path)
    assert {"macro.f1", "official.macro.f1", "CLBBB.sensitivity", "rate_median_error_bpm"} <= found.keys()
    assert ("reader.macro.auroc" in found) == (variant in ("mixed10", "real"))
    answered = {"qa.verify", "qa.questions", "ecgqa.verify", "ecgqa.questions"}
    assert answered & found.keys() == (set() if variant == "majority" else answered)
    assert 0 <= found["macro.f1"] <= 1 and found["macro.f1_low"] <= found["macro.f1_high"]


def test_zeros_in_place_of_an_ecg_give_everybody_one_report_and_train_once(room, tmp_path, monkeypatch):
    test = room.real["test"].signal(range(len(room.real["test"])))
    found = reports(simreal.trained(room, "blind", 0, tmp_path), test)
    assert len({*found}) == 1
    monkeypatch.setattr(simreal, "train_reading", None)
    assert reports(simreal.trained(room, "blind", 0, tmp_path), test) == found, "as after a kill while it was scored"


def test_without_real_records_it_says_what_to_set(monkeypatch, tmp_path):
    for value in ("", str(tmp_path)):
        monkeypatch.setenv("UNIECG_PTBXL", value)
        with pytest.raises(BadRequest, match="set UNIECG_PTBXL"):
            run_study("simreal", "smoke", root=tmp_path)


def test_a_cell_depends_on_the_table_of_records(store, monkeypatch, tmp_path):
    monkeypatch.setenv("UNIECG_PTBXL", str(write_ptbxl(tmp_path)))
    before = simreal.settings(store, "mixed")
    assert before == simreal.settings(store, "mixed") != simreal.settings(store, "real")
    path = simreal.sources()["ptbxl"]
    pd.read_csv(path).iloc[1:].to_csv(path, index=False)
    after = simreal.settings(store, "mixed")
    assert before != after
    monkeypatch.setenv("UNIECG_ECG_QA", str(path))
    assert after != simreal.settings(store, "mixed")
