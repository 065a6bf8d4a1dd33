"""real: what was read is scored where it is known alone, apart for each origin, by the textbook's scores."""

import json
import math
import os
from pathlib import Path

import pandas as pd
import pytest
import tiny
import torch
from conftest import BESIDE, toy_ecg
from test_real_cohorts import write_cinc, write_folder, write_ptbxl
from torchmetrics.functional.classification import binary_auroc, binary_f1_score, binary_recall, binary_specificity

from uniecg_lite import cli
from uniecg_lite.errors import BadArtifact, BadECG, BadRequest
from uniecg_lite.findings import CODES, FACTS, Reading, report
from uniecg_lite.metrics import real_records
from uniecg_lite.metrics.real_records import (
    finding_table,
    label_table,
    load_records,
    rate_errors,
    reference_rates,
    report_tables,
    resampled,
    weighted_auroc,
)
from uniecg_lite.real_labels import ABSENT, THERE, UNKNOWN, group_label


class MadeUp:
    """A cohort of 60 records of 40 patients; AFIB is known of the first 50, LVH of all, and 12 have an infarct."""

    def __init__(self):
        generator = torch.Generator().manual_seed(0)
        self.found = torch.rand(60, len(CODES), generator=generator) < 0.4
        self.known = torch.zeros(60, len(FACTS), dtype=torch.bool)
        self.known[:50, CODES.index("AFIB")] = self.known[:, CODES.index("LVH")] = True
        self.columns = {
            "patient": [f"p{i % 40}" for i in range(60)],
            "labels_from": ["official"] * 40 + ["subclass"] * 20,
            "statements": ["IMI; SR"] * 12 + ["?ILMI"] * 3 + ["SR"] * 40 + [""] * 5,
        }

    def truth(self):
        return {"findings": self.found, "known": self.known}

    def column(self, name):
        return self.columns[name]


def drawn(seed: int) -> torch.Tensor:
    return torch.randn(60, len(CODES), generator=torch.Generator().manual_seed(seed)).round(decimals=1)


NO_RATE = torch.full((60,), math.nan)


@pytest.fixture(autouse=True)
def few(monkeypatch):
    monkeypatch.setattr(real_records, "FEWEST", 10)


def test_scores_are_torchmetrics_own_where_labels_are_known():
    made, logits = MadeUp(), drawn(1)
    table = finding_table(made, logits > 0, NO_RATE, logits, times=50)
    assert [*table.index] == ["AFIB", "LVH", "inferior infarct", "macro"], "what nobody states has no row"
    for code, rows in (("AFIB", slice(50)), ("LVH", slice(60))):
        stated, label = logits[rows, CODES.index(code)], made.found[rows, CODES.index(code)].int()
        one = table.loc[code]
        assert one.n == label.sum()
        for name, function in (("f1", binary_f1_score), ("sensitivity", binary_recall), ("auroc", binary_auroc)):
            assert one[name] == pytest.approx(function((stated > 0).int() if name != "auroc" else stated, label).item())
        assert one.specificity == pytest.approx(binary_specificity((stated > 0).int(), label).item())
        assert one.f1_low < one.f1 < one.f1_high
    assert table.f1["macro"] == pytest.approx(table.f1.iloc[:3].mean()) and table.n["macro"] == 3


def test_what_is_unknown_counts_nowhere():
    made, stated = MadeUp(), drawn(2) > 0
    before = finding_table(made, stated, NO_RATE, times=20)
    stated[50:, CODES.index("AFIB")] ^= True
    stated[:, CODES.index("HYPERK")] ^= True
    pd.testing.assert_frame_equal(before, finding_table(made, stated, NO_RATE, times=20))


def test_an_infarct_of_no_given_age_counts_for_its_wall():
    wall = ("STE_INF", "Q_INF")
    for stated in (["IMI"], ["SR", "ILMI"], ["IMI I"], ["IPLMI", "?IMI"]):
        assert group_label(stated, wall) == THERE
    assert group_label(["ASMI", "STE_"], wall) == ABSENT == group_label(["SR"], wall)
    assert group_label(["?IMI"], wall) == group_label([], wall) == group_label(["164865005"], wall) == UNKNOWN
    label, known = label_table(MadeUp(), NO_RATE)["inferior infarct"]
    assert label.sum() == 12 and known.tolist() == [True] * 12 + [False] * 3 + [True] * 40 + [False] * 5


def test_rhythms_of_a_rate_follow_the_measured_rate():
    made, columns = MadeUp(), [CODES.index(code) for code in real_records.BY_RATE]
    made.found[:, columns], made.known[:, columns] = False, True
    made.found[:5, columns[0]] = True  # SR, as a source has it that calls slow what is under 50 bpm
    rate = NO_RATE.clone()
    rate[:6] = torch.tensor([50.0, 75, 110, 59.5, math.nan, 50])
    table = label_table(made, rate)
    labels = {code: [there and sure for there, sure in zip(*(x[:6].tolist() for x in table[code]))] for code in table}
    assert labels["SBRAD"] == [True, False, False, False, False, False], "the last is no sinus rhythm at all"
    assert labels["SR"] == [False, True] + [False] * 4 and labels["STACH"] == [False, False, True] + [False] * 3
    assert table["SBRAD"][1][:6].tolist() == [True] * 3 + [False] * 2 + [True], "neither near the limit nor unmeasured"
    assert labels["SR as labelled"] == [True] * 5 + [False]


def test_a_resample_draws_patients_not_records():
    names = MadeUp().column("patient")
    weight = resampled(names, 200, seed=4)
    assert weight.shape == (201, 60) and (weight[0] == 1).all()
    assert torch.equal(weight[:, 0], weight[:, 40]), "records of one patient come and go together"
    assert weight[1:].mean().item() == pytest.approx(1.0, abs=0.05)
    assert torch.equal(weight, resampled(names, 200, seed=4))


def test_intervals_are_those_of_plain_resampling():
    made, value = MadeUp(), drawn(3)[:, CODES.index("LVH")]
    weight, label = resampled(made.column("patient"), 60, seed=7)[1:], made.found[:, CODES.index("LVH")]
    slow = []
    for row in weight.long():
        chosen = torch.repeat_interleave(torch.arange(60), row)
        slow.append(binary_auroc(value[chosen], label[chosen].int()).item())
    torch.testing.assert_close(weighted_auroc(value, label, weight), torch.tensor(slow), atol=1e-5, rtol=0)
    ties = weighted_auroc(torch.zeros(4), torch.tensor([True, False, True, False]), torch.ones(1, 4))
    assert ties.item() == 0.5


def test_reference_rates_need_two_detectors_that_agree():
    signal = torch.stack([torch.from_numpy(toy_ecg(100, rate=r).signal).float() for r in (60, 90)])
    rate = reference_rates(torch.cat([signal, torch.zeros(1, 12, 1000)]))
    assert rate[:2].tolist() == pytest.approx([60, 90], abs=1) and rate[2].isnan()
    errors = rate_errors(torch.tensor([61.0, math.nan, 70]), torch.tensor([60, 90, math.nan]))
    assert errors == {"rates": 2, "rate_median_error_bpm": pytest.approx(1), "rate_share_off_by_5_bpm": 0.5}


def test_any_folder_of_a_known_layout_is_read(tmp_path):
    sizes = {}
    for write in (write_ptbxl, write_cinc, write_folder):
        records = load_records(write(tmp_path / write.__name__))
        sizes[write.__name__] = len(records)
        assert records.signal([0]).shape == (1, 12, 1000)
    assert sizes == {"write_ptbxl": 24, "write_cinc": 13, "write_folder": 8}
    assert 0 < len(load_records(tmp_path / "write_ptbxl", "test")) < 12
    with pytest.raises(BadRequest, match="There is no split 'half'"):
        load_records(tmp_path / "write_ptbxl", "half")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadArtifact, match="no record"):
        load_records(tmp_path / "empty")
    (tmp_path / "empty" / "labels.csv").write_text("record\nlost\n")
    with pytest.raises(BadECG, match="None of these records"):
        load_records(tmp_path / "empty")


def test_reports_are_scored_apart_for_each_origin(tmp_path):
    table = write_ptbxl(tmp_path) / "ptb-xl-1.0.3" / "ptbxl_database.csv"
    rows = pd.read_csv(table)
    rows["labels_from"] = ["official"] * 12 + ["subclass"] * 12
    rows.to_csv(table, index=False)
    records = load_records(tmp_path)
    texts = [report(Reading(findings=frozenset({"AFIB", "CLBBB"}), rate_bpm=70.0))] * 24
    found = report_tables(records, texts, torch.full((24,), 70.0))
    assert [*found] == ["all", "official", "subclass"]
    assert [found[name][0].n["AFIB"] for name in found] == [8, 4, 4] and found["all"][1]["rate_median_error_bpm"] == 0
    assert found["all"][0].loc["AFIB", ["sensitivity", "specificity"]].tolist() == [1, 0]


def test_the_command_prints_and_writes_the_tables(tmp_path, monkeypatch, capsys):
    from typer.testing import CliRunner

    model = tiny.reading_model(1)
    monkeypatch.setattr(cli, "_model", lambda *about: model)
    folder, out = write_ptbxl(tmp_path / "data"), tmp_path / "scores" / "one.json"
    done = CliRunner().invoke(cli.app, ["score-records", str(folder), "--out", str(out)])
    assert done.exit_code == 0, done.output
    scores = json.loads(out.read_text())
    assert {"all", "official"} == scores.keys() and scores["all"]["findings"]["CLBBB"]["n"] == 8
    assert "CLBBB" in done.output and "rate_median_error_bpm" in done.output


# --- the real folders, when they are there


def test_labels_of_the_real_folder(real_records):
    records = load_records(real_records[0].parent)
    truth = records.truth()
    there = (truth["findings"] & truth["known"][:, : len(CODES)]).sum(0)
    assert len(records) > 100 and all(there[CODES.index(code)] >= 3 for code in ("AFIB", "CRBBB", "PAC", "LVH", "NORM"))


def test_walls_of_ptbxl():
    folder = Path(os.environ.get("UNIECG_PTBXL") or BESIDE.parent / "ptbxl_small")
    if not folder.is_dir():
        pytest.skip(f"no PTB-XL: UNIECG_PTBXL names a folder of it (looked in {folder})")
    codes = pd.read_csv(folder / "ptbxl_database.csv").scp_codes
    states = [[*json.loads(row.replace("'", '"'))] for row in codes]
    found = [group_label(one, ("STE_INF", "Q_INF")) == THERE for one in states]
    assert 100 < sum(found) < 400
