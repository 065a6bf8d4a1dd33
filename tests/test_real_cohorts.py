"""real cohorts: what a source states is true or false, all else unknown; nobody is in two splits; memory stays flat.

The folders here are made up, in each data set's published layout; UNIECG_PTBXL names real records in PTB-XL's.
"""

import json
import os
import random
import shutil
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
import torch.nn.functional as F
from conftest import BESIDE

from uniecg_lite import cohort, real_cohorts
from uniecg_lite.config import SMOKE, profile
from uniecg_lite.ecg import ECG
from uniecg_lite.encoders import MEASURED, FactProbes, targets
from uniecg_lite.errors import BadArtifact, BadECG, BadRequest
from uniecg_lite.findings import CODES, FACTS, LEAD_SIGNS, NAMES, RHYTHMS, report
from uniecg_lite.generator.generator_stages import clean_hearts
from uniecg_lite.known import loss_of_known
from uniecg_lite.language.conversations import Corpus, notes
from uniecg_lite.leads import LEADS
from uniecg_lite.metrics.reader import facts, facts_loss
from uniecg_lite.metrics.reports import reading_scores
from uniecg_lite.real_cohorts import cohort_rows, parse_source, years
from uniecg_lite.real_labels import ABSENT, OPEN, TABLE, THERE, UNKNOWN, labels, report_statements, scp_statements
from uniecg_lite.simulator.simulate import simulate
from uniecg_lite.store import Store

MORE = {"IRBBB", "NST"}  # mapped already, findings once the table has them
SIGNALS = simulate(0, torch.arange(40)).signal.numpy()


def save(path: Path, i: int = 0, comments: str = "", **about) -> None:
    """A made-up WFDB record, with these lines at the end of its header."""
    ECG(SIGNALS[i % 40], 100.0, **about).save(path)
    with open(f"{path}.hea", "a") as file:
        file.write(comments)


def decided(*args, **statements) -> dict[str, int]:
    return dict(zip(CODES, labels(*args, **statements).tolist()))


def scp(folder: str = "scp", **percent) -> dict[str, int]:
    """Labels of a PTB-XL row; `__` stands for a slash, and an underscore goes before a figure."""
    codes = {key.replace("__", "/").removeprefix("n"): value for key, value in percent.items()}
    return decided({folder: scp_statements(str(codes))})


# --- labels


def test_every_map_names_findings_and_its_source():
    assert set(TABLE["sources"]) == set(TABLE["vocabularies"])
    for name, row in TABLE["vocabularies"].items():
        for codes in (*row.get("states", {}).values(), *row.get("opens", {}).values(), row["silence_rules_out"]):
            assert set(codes) <= {*CODES, *MORE}, name
    for name, gaps in TABLE["gaps"].items():
        stated = {code for codes in TABLE["vocabularies"][name]["states"].values() for code in codes}
        if name != "subclass":
            assert stated | set(gaps) >= set(CODES) - {"LAD", "RAD"}, f"{name}: gaps are named"
        assert set(gaps) <= {*CODES, *MORE} and all(gaps.values())


def test_scp_codes_and_their_likelihoods():
    row = scp(SR=0, n1AVB=100, CLBBB=35, PVC=0)
    assert [row[c] for c in ("SR", "1AVB", "PVC")] == [THERE] * 3, "0 is not given, for form and rhythm"
    assert row["CLBBB"] == OPEN, "under 50% it may be"
    assert [row[c] for c in ("AFIB", "VT", "CRBBB", "NORM", "STD")] == [ABSENT] * 5
    assert [row[c] for c in ("HYPERK", "PERI", "Q_INF", "LAD")] == [UNKNOWN] * 4, "never stated, never false"
    assert scp(SR=0, CRBBB=0)["CRBBB"] == OPEN, "a diagnosis of 0% was not said to be there"


def test_what_a_statement_leaves_open():
    assert [scp(SR=0, n2AVB=100)[c] for c in ("WENCK", "MOB2", "SR", "3AVB")] == [OPEN, OPEN, OPEN, ABSENT]
    assert [scp(SR=0, BIGU=0)[c] for c in ("BIGU", "PVC", "PAC", "SR")] == [OPEN, OPEN, OPEN, THERE]
    assert scp(SR=0, STE_=0)["STE_INF"] == OPEN and scp(SR=0)["STE_INF"] == ABSENT
    old = decided({"scp": scp_statements("{'IMI': 100.0, 'SR': 0.0}", {"Stadium III"})})
    new = decided({"scp": scp_statements("{'IMI': 100.0, 'SR': 0.0}", {"Stadium I"})})
    assert (old["STE_INF"], new["STE_INF"], new["Q_INF"]) == (OPEN, THERE, OPEN)


def test_a_record_has_one_rhythm_or_an_unknown_one():
    assert [scp(SR=0, SBRAD=0)[c] for c in ("SR", "SBRAD")] == [ABSENT, THERE]
    assert [scp(SR=0, PACE=0)[c] for c in ("SR", "PACE")] == [ABSENT, THERE]
    assert [scp(AFIB=0, AFLT=0)[c] for c in ("AFIB", "AFLT", "SR")] == [OPEN, OPEN, ABSENT], "one of the two"
    assert {scp(LVH=100)[c] for c in RHYTHMS} == {UNKNOWN}, "no rhythm is stated"
    assert scp(SVARR=0)["SR"] == ABSENT and scp(SVARR=0)["VT"] == UNKNOWN


def test_normal_is_normal_throughout():
    assert scp(NORM=100, SR=0)["NORM"] == THERE
    assert scp(NORM=80, SBRAD=0)["NORM"] == ABSENT == scp(SR=0, LVH=100)["NORM"]
    assert scp(NORM=80, SR=0, ABQRS=0)["NORM"] == OPEN == scp(NORM=100)["NORM"]


def test_subclasses_decide_only_what_they_decide():
    row = decided({"subclass": scp_statements("{'LAFB/LPFB': 100.0, 'CRBBB': 100.0, 'SR': 0.0}")})
    assert (row["LAFB"], row["LPFB"], row["CRBBB"], row["CLBBB"]) == (OPEN, OPEN, THERE, ABSENT)
    for name in ("_AVB", "AVB"):
        row = decided({"subclass": scp_statements(f"{{'{name}': 100.0, 'SR': 0.0}}")})
        assert [row[c] for c in ("1AVB", "3AVB", "WENCK", "SR")] == [OPEN] * 4
    row = decided({"subclass": scp_statements("{'STTC': 100.0, 'SR': 0.0}")})
    assert (row["LQT"], row["TINV"]) == (OPEN, OPEN)
    row = decided({"subclass": scp_statements("{'NORM': 100.0, 'SR': 0.0}")})
    assert row["NORM"] == THERE and {row[c] for c in ("PVC", "STD", "LOWV", "1AVB", "LVH")} == {UNKNOWN}, "form"


def test_snomed_codes():
    row = decided({"snomed": ["164889003", "59118001", "164931005"]})  # AF, RBBB, ST elevation
    assert (row["AFIB"], row["CRBBB"], row["SR"], row["CLBBB"], row["STE_ANT"]) == (1, 1, 0, 0, OPEN)
    assert row["NORM"] == UNKNOWN == row["HYPERK"] and decided({"snomed": []})["SR"] == UNKNOWN
    assert decided({"snomed": ["195042002", "426783006"]})["WENCK"] == OPEN


@pytest.mark.parametrize(
    "text, there, other",
    [
        ("sinusrhythmus ueberdrehter linkstyp linksanteriorer hemiblock", {"SR", "LAD", "LAFB"}, {}),
        ("sinusrhythmus linkstyp sonst normales ekg", {"SR"}, {"LAD": OPEN, "NORM": UNKNOWN}),
        ("ventrikulÄre extrasystole(n), bigeminus sinusrhythmus", {"BIGU", "SR"}, {}),
        ("supraventrikulÄre extrasystole(n) sinusrhythmus", {"PAC", "SR"}, {"PVC": UNKNOWN}),
        ("sinus rhythm. left axis deviation. possible left bundle branch block", {"SR", "LAD"}, {"CLBBB": OPEN}),
        ("sinus rhythm. no evidence to suggest pericarditis. normal ecg.", {"SR"}, {"PERI": OPEN, "NORM": OPEN}),
        ("vorhofflimmern unvollstÄndiger rechtsschenkelblock", {"AFIB"}, {"CRBBB": UNKNOWN}),
        ("vorhofflimmern/-flattern linksschenkelblock", {"CLBBB"}, {"AFIB": OPEN, "AFLT": OPEN}),
        ("av-knotenrhythmus", {"JUNC"}, {"SR": ABSENT}),
        ("abnormal ecg", set(), {"NORM": UNKNOWN}),
    ],
)
def test_reports_in_german_and_english(text, there, other):
    row = decided({"report": report_statements(text)})
    assert {code for code, value in row.items() if value == THERE} - MORE == there
    assert {code: row[code] for code in other} == other


def test_machine_statements_rule_out_what_they_leave_unsaid():
    said = ["Atrial fibrillation with rapid ventricular response", "Possible left anterior fascicular block"]
    row = decided({"machine": [s for text in said for s in report_statements(text)]})
    assert (row["AFIB"], row["LAFB"], row["CLBBB"], row["SR"], row["HYPT"]) == (THERE, OPEN, ABSENT, ABSENT, UNKNOWN)


def test_a_later_vocabulary_changes_nothing_that_is_decided():
    row = decided(
        {"scp": ["SR", "2AVB"], "report": report_statements("a-v block, wenckebach, left bundle branch block")}
    )
    assert (row["WENCK"], row["CLBBB"]) == (THERE, ABSENT)


@pytest.mark.parametrize("text, age", [("63", 63), ("300.0", 90), (">89", 90), ("0.5", 0.5), ("063Y", 63), ("91", 91)])
def test_ages(text, age):
    assert years(text) == age


@pytest.mark.parametrize("text", ["", "NaN", "Unknown", "-1", "140", "6 months", ">18", None, float("nan")])
def test_no_age_is_no_number(text):
    assert np.isnan(years(text))


# --- sources


def write_ptbxl(folder: Path, n: int = 24) -> Path:
    """A made-up PTB-XL with n records of n // 2 patients, in a folder below, as it unpacks."""
    root = folder / "ptb-xl-1.0.3"
    rows = []
    for i in range(1, n + 1):
        name = f"records100/00000/{i:05d}_lr"
        save(root / name, i)
        kinds = [{"SR": 0.0, "NORM": 100.0}, {"AFIB": 0.0, "CLBBB": 100.0}, {"SBRAD": 0.0, "PVC": 0.0, "IMI": 100.0}]
        row = dict.fromkeys(real_cohorts.PTBXL_COLUMNS, "") | {
            "ecg_id": i,
            "patient_id": f"{1 + i // 2}.0",
            "scp_codes": kinds[i % 3],
        }
        row |= {"age": 300.0 if i == 2 else 40.0 + i, "sex": i % 2, "report": "sinusrhythmus", "filename_lr": name}
        rows.append(row | {"heart_axis": "ALAD" if i % 4 else "MID"})
    pd.DataFrame(rows).to_csv(root / "ptbxl_database.csv", index=False)
    return folder


def write_mimic(folder: Path) -> Path:
    said = [("Sinus rhythm", "Left bundle branch block"), ("Atrial fibrillation",), ("Sinus rhythm", "Normal ECG")]
    rows = []
    for i in range(9):
        subject, study = 10000032 + i // 2, 40689238 + i
        save(folder / f"files/p1000/p{subject}/s{study}/{study}", i)
        row = {"subject_id": subject, "study_id": study, "cart_id": 1, "ecg_time": "2180-07-23 08:44:00"}
        row |= {f"report_{k}": dict(enumerate(said[i % 3])).get(k, "") for k in range(18)}
        numbers = {"rr_interval": 800, "p_onset": 40, "p_end": 128, "qrs_onset": 170, "qrs_end": 258, "t_end": 518}
        numbers |= {"p_axis": 81, "qrs_axis": 77, "t_axis": 79}
        rows.append(row | numbers | ({"p_onset": 29999, "p_axis": 29999} if i % 3 == 1 else {}))
    pd.DataFrame(rows).to_csv(folder / "machine_measurements.csv", index=False)
    who = {"subject_id": [10000032], "gender": ["F"], "anchor_age": [52], "anchor_year": [2180]}
    pd.DataFrame(who).to_csv(folder / "patients.csv", index=False)
    return folder


def write_cinc(folder: Path) -> Path:
    for i in range(12):
        name, dx = [("georgia/g1/E", "426783006,59118001"), ("chapman/g1/JS", "164889003")][i % 2]
        save(folder / f"training/{name}{i:05d}", i, f"# Age: {50 + i}\n# Sex: Female\n#Dx: {dx}\n# Rx: Unknown\n")
    save(folder / "training/ptb-xl/g1/HR00001", 3, "#Age: >89\n#Sex: Male\n#Dx: 426783006\n#Rx: Unknown\n")
    return folder


def write_folder(folder: Path) -> Path:
    rows = []
    for i in range(8):
        path = folder / f"part{i % 2}" / f"r{i}"
        path.parent.mkdir(parents=True, exist_ok=True)
        if i % 2:
            table = pd.DataFrame(SIGNALS[i].T, columns=LEADS)
            path.with_suffix(".csv").write_text("# hz=100\n" + table.to_csv(index=False))
        else:
            save(path, i)
        row = {"record": f"r{i}", "patient": f"p{i // 2}", "age": 60, "sex": "F"}
        rows.append(row | {"AFIB": "01"[i % 2], "LVH": "1" if i > 5 else ""})
    pd.DataFrame(rows).to_csv(folder / "labels.csv", index=False)
    return folder


WRITERS = {"ptbxl": write_ptbxl, "mimic-iv-ecg": write_mimic, "cinc2021": write_cinc, "folder": write_folder}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {kind: write(tmp_path_factory.mktemp(kind)) for kind, write in WRITERS.items()}


def columns(source: str, n: int = 1000) -> dict:
    """All rows of a source, joined."""
    chunks = list(cohort_rows(0, n, source))
    joined = {key: [chunk[key] for chunk in chunks] for key in chunks[0]}
    return {key: sum(v, []) if isinstance(v[0], list) else np.concatenate(v) for key, v in joined.items()}


def of(rows: dict, code: str) -> list[int]:
    """There 1, absent 0, unknown -1."""
    i = CODES.index(code)
    return np.where(rows["known"][:, i], rows["findings"][:, i], -1).tolist()


def test_ptbxl(folders):
    rows = columns(f"ptbxl={folders['ptbxl']}")
    order = [int(name) for name in rows["record"]]
    assert order == list(range(1, 25)) and rows["patient"][0] == "ptbxl-1" == rows["patient"][0]
    assert of(rows, "AFIB") == [int(i % 3 == 1) for i in order] and of(rows, "NORM") == [int(i % 3 == 0) for i in order]
    assert of(rows, "LAD") == [int(i % 4 > 0) for i in order]
    assert set(of(rows, "STD")) == set(of(rows, "LQT")) == set(of(rows, "BRUG")) == {-1}, "nobody states them here"
    assert rows["age"][:3].tolist() == [41, 90, 43] and rows["female"][:2].tolist() == [1, 0]
    assert np.isnan(rows["rate_bpm"]).all() and not rows["known"][:, len(CODES) :].any()
    assert set(rows["labels_from"]) == {"official"} and set(rows["report"]) == {"sinusrhythmus"}
    assert np.abs(rows["signal"].reshape(-1, 12, 1000)[3] / 1000 - SIGNALS[4]).max() < 0.0011


def test_mimic_iv_ecg(folders):
    rows = columns(f"mimic-iv-ecg={folders['mimic-iv-ecg']}")
    assert [of(rows, code)[:3] for code in ("CLBBB", "AFIB", "NORM")] == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    assert rows["rate_bpm"].tolist() == [75] * 9 and rows["qrs_ms"][0] == 88 and rows["qt_ms"][0] == 348
    assert rows["qtc_ms"][0] == pytest.approx(348 / 0.8**0.5) and rows["axis_deg"][0] == 77
    assert rows["pr_ms"][0] == 130 and np.isnan(rows["pr_ms"][1])
    assert rows["known"][:2, FACTS.index("pr_ms")].tolist() == [True, False], "29999 is not measured"
    assert rows["female"][:2].tolist() == [1, 1] and rows["age"][0] == 52 and np.isnan(rows["age"][2])
    assert rows["patient"][:3] == ["mimic-iv-ecg-10000032"] * 2 + ["mimic-iv-ecg-10000033"]
    assert rows["report"][0] == "Sinus rhythm; Left bundle branch block" and set(rows["labels_from"]) == {"machine"}


def test_cinc2021(folders):
    rows = columns(f"cinc2021={folders['cinc2021']}")
    at = {name: i for i, name in enumerate(rows["record"])}
    assert set(rows["labels_from"]) == {"georgia", "chapman_ningbo", "ptb-xl"} and len(at) == 13
    assert (of(rows, "CRBBB")[at["E00000"]], of(rows, "CRBBB")[at["JS00001"]]) == (1, -1), "Georgia alone states it"
    assert of(rows, "AFIB")[at["JS00001"]] == 1 and of(rows, "AFIB")[at["E00000"]] == 0
    assert rows["age"][at["HR00001"]] == 90 and rows["female"][at["HR00001"]] == 0


def test_a_folder_with_labels(folders):
    rows = columns(f"folder={folders['folder']}")
    assert of(rows, "AFIB") == [0, 1] * 4 and of(rows, "LVH") == [-1] * 6 + [1, 1] and set(of(rows, "SR")) == {-1}
    assert rows["patient"][:3] == ["folder-p0", "folder-p0", "folder-p1"]


def test_what_a_table_states_is_taken_as_it_stands(tmp_path):
    folder = write_folder(tmp_path)
    table = pd.read_csv(folder / "labels.csv", dtype=str, keep_default_na=False)
    table["LVH"], table["1AVB"] = "0", ["1.0"] + ["0.5"] * 7
    table["sex"] = ["F", "Missing", "Mujer", "male", "Unknown", "W", "M", ""]
    table["age"] = ["6 months", "63", "300", ">89", "-1", "0", "063Y", ""]
    table.to_csv(folder / "labels.csv", index=False)
    rows = columns(f"folder={folder}")
    assert of(rows, "LVH") == [0] * 8, "a 0 is a statement, also where no record has a 1"
    assert of(rows, "1AVB") == [1] + [-1] * 7
    np.testing.assert_array_equal(rows["female"], [1, np.nan, 1, 0, np.nan, 1, 0, np.nan])
    np.testing.assert_array_equal(rows["age"], [np.nan, 63, 90, 90, np.nan, 0, 63, np.nan])


def test_a_name_in_two_folders_is_refused_until_its_folder_is_named(tmp_path):
    folder = write_folder(tmp_path)
    save(folder / "part1" / "r0", 30)
    with pytest.raises(BadArtifact, match="several records r0: name it with its folder"):
        columns(f"folder={folder}")
    text = (folder / "labels.csv").read_text()
    (folder / "labels.csv").write_text(text.replace("r0,", "part1/r0,"))
    rows = columns(f"folder={folder}")
    assert rows["record"][0] == "part1/r0" and len(rows["record"]) == 8
    assert np.abs(rows["signal"].reshape(-1, 12, 1000)[0] / 1000 - SIGNALS[30]).max() < 0.0011


def test_silence_of_who_states_nothing_rules_nothing_out(tmp_path):
    assert {*labels({"machine": [], "scp": (), "snomed": [], "heart_axis": [""]})} == {UNKNOWN}
    folder = write_mimic(tmp_path)
    table = pd.read_csv(folder / "machine_measurements.csv", dtype=str, keep_default_na=False)
    table.loc[2, "report_0"] = table.loc[2, "report_1"] = ""
    table.to_csv(folder / "machine_measurements.csv", index=False)
    rows = columns(f"mimic-iv-ecg={folder}")
    assert of(rows, "CLBBB")[:4] == [1, 0, -1, 1] and rows["report"][2] == ""


def test_origins_with_several_records_of_a_patient_are_in_one_split(tmp_path):
    for i in range(24):
        name = f"{('ptb/g1/S', 'incart/g1/I', 'georgia/g1/E')[i % 3]}{i:04d}"
        save(tmp_path / name, i, f"#Age: 50\n#Sex: Male\n#Dx: {(426783006, 164889003)[i % 2]}\n")
    rows = columns(f"cinc2021={tmp_path}")
    splits = {(origin, split) for origin, split in zip(rows["labels_from"], rows["split"])}
    assert sorted(origin for origin, _ in splits if origin != "georgia") == ["ptb", "st_petersburg_incart"]
    assert len({split for origin, split in splits if origin == "georgia"}) > 1


def test_what_cannot_be_read_is_counted_and_said(tmp_path, capsys):
    folder = write_folder(tmp_path)
    (folder / "part0" / "r0.dat").unlink()
    (folder / "part1" / "r1.csv").write_text("nothing of use")
    (folder / "part1" / "r3.csv").write_text("neither")
    assert len(columns(f"folder={folder}")["record"]) == 5
    said = capsys.readouterr().out
    why = "2 left out: it names no ECG lead in its first N lines; 1 left out: The file"
    assert f"folder: 5 records read, of 8 there; {why}" in said


@pytest.mark.parametrize("text", ["ptb", "ptbxl", "ptbxl=/nowhere", "simulated=x", "0.5*simulated+ptbxl=."])
def test_a_setting_that_is_none(text):
    with pytest.raises(BadRequest, match="choose simulated"):
        parse_source(text)


def test_a_folder_that_is_another(tmp_path, folders):
    for kind, name in {"ptbxl": "ptbxl_database.csv", "mimic-iv-ecg": "machine_meas", "folder": "manifest.csv"}.items():
        with pytest.raises(BadArtifact, match=name):
            list(cohort_rows(0, 10, f"{kind}={tmp_path}"))
    with pytest.raises(BadArtifact, match="no record"):
        list(cohort_rows(0, 10, f"cinc2021={tmp_path}"))
    (tmp_path / "ptbxl_database.csv").write_text("ecg_id,age\n1,2\n")
    with pytest.raises(BadArtifact, match="no column patient_id"):
        list(cohort_rows(0, 10, f"ptbxl={tmp_path}"))


def test_the_setting_of_the_environment(folders, monkeypatch):
    text = f"0.75*simulated,0.25*ptbxl={folders['ptbxl']}"
    assert profile("smoke").cohort is None
    monkeypatch.setenv("UNIECG_COHORT", text)
    assert profile("smoke").cohort == text
    rows = columns(None, 40)
    assert [name.partition("-")[0] for name in rows["patient"]] == ["s0"] * 30 + ["ptbxl"] * 10
    assert rows["known"][:30].all() and not rows["known"][30:].all(1).any()
    monkeypatch.delenv("UNIECG_COHORT")
    assert "known" not in next(cohort_rows(0, 5)), "by default all is as before"


def test_an_artifact_of_other_patients_is_refused(tmp_path):
    store = Store.open(SMOKE, root=tmp_path)
    with store.writing("cohort") as room:
        (room / "one").write_text("a table")
    assert store.path("cohort").is_dir()
    with pytest.raises(BadArtifact, match="had other sizes"):
        Store.open(replace(SMOKE, cohort="ptbxl=."), root=tmp_path).path("cohort")


def test_the_challenges_copies_of_ptbxl_are_left_out_beside_it(folders, capsys):
    rows = columns(f"ptbxl={folders['ptbxl']},cinc2021={folders['cinc2021']}", 200)
    assert "HR00001" not in rows["record"] and "1 left out: It is in PTB-XL, too" in capsys.readouterr().out


# --- splits


@pytest.fixture(scope="module")
def mixed(folders, tmp_path_factory):
    source = ",".join(f"{kind}={folder}" for kind, folder in folders.items()) + ",simulated"
    folder = cohort.write(cohort_rows(0, 500, source), tmp_path_factory.mktemp("cohort") / "splits")
    return {name: cohort.load(folder, name) for name in cohort.SPLITS}


def test_no_patient_is_in_two_splits(mixed):
    people = {name: part.column("patient") for name, part in mixed.items()}
    cohort.check_leakage(people)
    assert all(people.values()) and len({*people["train"]} & {*people["test"], *people["validation"]}) == 0
    shared = dict(people, test=people["train"][:1])
    with pytest.raises(BadECG, match="is in train and in test"):
        cohort.check_leakage(shared)


def test_writing_refuses_a_leak(tmp_path):
    rows = next(cohort.simulated(0, 6))
    with pytest.raises(BadECG, match="Patient s0-000000 is in train and in test"):
        cohort.write(iter([rows | {"patient": ["s0-000000"] * 6, "split": ["train", "test"] * 3}]), tmp_path / "splits")
    assert not list(tmp_path.iterdir())


def test_splits_are_stratified_and_the_same_for_ever():
    rng = np.random.default_rng(1)
    people = np.array([f"p{i // 2}" for i in range(2000)])
    found = rng.random((2000, 6)) < np.array([0.5, 0.2, 0.1, 0.05, 0.02, 0.01])
    origin = np.where(np.arange(2000) < 800, "official", "subclass")
    split = cohort.split_by_patient(people, found, origin)
    assert (split == cohort.split_by_patient(people, found, origin)).all()
    assert len({(a, b) for a, b in zip(people, split)}) == 1000
    for rows in (np.ones(2000, bool), origin == "official", *found[:, :5].T):
        share = [(split[rows] == name).mean() for name in cohort.SPLITS]
        assert share == pytest.approx([0.6, 0.15, 0.25], abs=0.1)
    assert all((split[found[:, 5]] == name).any() for name in cohort.SPLITS), "the rarest is in each"


def test_a_real_record_cannot_be_simulated_again():
    with pytest.raises(BadRequest, match="Record 17 was not simulated"):
        cohort.population_of(["s0-000001", "17"])


def test_each_origin_can_be_scored_apart(mixed):
    train = mixed["train"]
    parts = {name: train.labelled(name) for name in set(train.column("labels_from"))}
    assert sum(map(len, parts.values())) == len(train) and {"official", "machine", "georgia", "simulator"} <= set(parts)
    assert set(parts["machine"].column("labels_from")) == {"machine"}


def test_what_needs_the_simulator_gets_simulated_records(mixed, tmp_path):
    """Those of the cohort, or, where all of it are real, others."""
    store = Store.open(replace(SMOKE, records=60), root=tmp_path)
    own, real = ({name: part.labelled(origin) for name, part in mixed.items()} for origin in ("simulator", "official"))
    for parts, records in ((own, own["train"].column("record")), (real, ["s0-000000"])):
        for name, part in parts.items():
            part.table.with_format(None).save_to_disk(store.folder / "cohort" / "splits" / name)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Store, "path", lambda self, name: self.folder / name)
            assert cohort.simulated_split(store, "train").column("record")[: len(records)] == records
        shutil.rmtree(store.folder / "cohort")


def test_scores_leave_out_what_is_unknown(mixed):
    true = Corpus(mixed["train"].labelled("official").truth()).readings
    told = [replace(r, findings=r.findings | (r.unknown & {*CODES}), unknown=frozenset()) for r in true]
    assert any(a.findings != b.findings for a, b in zip(told, true))
    assert reading_scores(told, true)["findings_macro_f1"] == 1


# --- what is learned from it


def test_what_is_unknown_is_told_nowhere(mixed):
    real = Corpus(mixed["train"].labelled("official").truth())
    for r, text in zip(real.readings, real.reports):
        assert not {"rate_bpm", *LEAD_SIGNS, "drift"} - r.unknown
        told = f"{text} {notes(r)}"
        assert not any(word in told for word in ("nan", "bpm", "PR", "ms.", "ST ", "upright", "heart rate", "noise"))
    assert real.reports[0].startswith("Rhythm ") and all(request.rate is None for request in real.requests)
    machine = Corpus(mixed["train"].labelled("machine").truth())
    assert any("Rate 75 bpm." in text and "PR 130, QRS 90, QT 350" in text for text in machine.reports)
    assert not any("nan" in text or "PR none" in text for text in machine.reports)


def test_no_question_is_asked_about_what_is_unknown(mixed):
    part, rng = mixed["train"], random.Random(0)
    corpus = Corpus(part.truth(), part.column("patient"))
    names = {r: {code for code in r.unknown if code in CODES} for r in corpus.readings}
    asked = 0
    for row in [row for row, name in enumerate(part.column("labels_from")) if name != "simulator"] * 5:
        r, question = corpus.readings[row], corpus.ask((row,), rng)
        asked += 1
        hidden = {NAMES[code] for code in names[r]}
        assert not hidden & {*question.answer, *(question.attribute or ())}, question
        assert {"noise": "drift", "heart_axis": "axis_deg"}.get(question.attribute_type) not in r.unknown
    assert asked > 50
    for kind in ("interpret", "wish", "report", "restate", "follow", "no_ecg", "impossible", *["ask"] * 3):
        for row in range(len(part)):
            assert corpus.sample(kind, row, rng)[1]
    assert [corpus.asked(rng) for _ in range(40)]


def test_losses_leave_out_what_is_unknown(mixed):
    truth = mixed["train"].labelled("official").truth()
    torch.manual_seed(0)
    probes, tokens = FactProbes(16), torch.randn(len(truth["age"]), len(MEASURED), 16)
    predicted, loss = torch.randn(len(truth["age"]), facts(truth).shape[1]), probes.loss(tokens, targets(truth))
    other = facts_loss(predicted, facts(truth))
    assert loss.isfinite() and other.isfinite()
    known, found = truth["known"][:, : len(CODES)], truth["findings"]
    turned = dict(truth, findings=torch.where(known, found, ~found))
    assert torch.equal(probes.loss(tokens, targets(turned)), loss)
    assert torch.equal(facts_loss(predicted, facts(turned)), other)
    known = dict(truth, known=torch.ones_like(truth["known"]))
    assert not torch.equal(probes.loss(tokens, targets(known)), loss)


@pytest.mark.parametrize("loss", [F.binary_cross_entropy_with_logits, F.smooth_l1_loss, F.cross_entropy])
def test_a_loss_of_what_is_known_is_the_plain_mean_over_it(loss):
    torch.manual_seed(0)
    predicted, wanted = torch.randn(50, 7, requires_grad=True), torch.rand(50, 7).softmax(1)
    torch.testing.assert_close(loss_of_known(loss, predicted, wanted), loss(predicted, wanted), rtol=1e-6, atol=0)
    rows = torch.arange(50) % 3 > 0
    part = torch.where(rows[:, None], wanted, torch.nan)
    mean = loss_of_known(loss, predicted, part)
    torch.testing.assert_close(mean, loss(predicted[rows], wanted[rows]), rtol=1e-6, atol=0)
    gradient = torch.autograd.grad(mean, predicted)[0]
    assert gradient.isfinite().all() and not gradient[~rows].any() and gradient[rows].all()
    assert loss_of_known(loss, predicted, torch.full_like(wanted, torch.nan)).item() == 0


def test_a_simulated_truth_is_known_throughout():
    truth = simulate(0, torch.arange(20)).truth
    assert not any(r.unknown for r in Corpus(truth).readings) and not facts(truth)[:, 6:].isnan().any()
    assert "Rate" in report(Corpus(truth).readings[0])


def test_the_generator_learns_real_records_as_they_were_recorded(mixed):
    train = mixed["train"]
    out, real = clean_hearts(train)[0], np.array(train.column("labels_from")) != "simulator"
    assert out.shape == (len(train), 12, 1024) and out.isfinite().all()
    kept = train.signal(np.flatnonzero(real))
    assert (out[real][..., ::128] - kept[..., ::125]).abs().max() < 0.05, "the same curve at another rate"
    simulated = train.labelled("simulator")
    assert torch.equal(out[~real], clean_hearts(simulated)[0])


# --- memory


def test_many_records_stream_with_flat_memory(tmp_path, monkeypatch):
    """What is allocated at most while a source is read and written does not grow with the number of its records."""

    def peak(n: int) -> int:
        folder = tmp_path / f"ptbxl{n}"
        folder.mkdir()
        row = dict.fromkeys(real_cohorts.PTBXL_COLUMNS, "") | {"scp_codes": {"SR": 0.0}, "filename_lr": "one"}
        pd.DataFrame([row | {"ecg_id": i, "patient_id": i} for i in range(n)]).to_csv(folder / "ptbxl_database.csv")
        signal = SIGNALS[0].copy()
        loaded = ECG(signal, 100.0)
        monkeypatch.setattr(ECG, "load", lambda path: loaded)
        before = pa.total_allocated_bytes()
        tracemalloc.start()
        most = []

        def watched():
            for chunk in cohort_rows(0, n, f"ptbxl={folder}"):
                most.append(pa.total_allocated_bytes() - before)
                yield chunk

        cohort.write(watched(), tmp_path / "splits")
        python = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        shutil.rmtree(tmp_path / "splits")
        return python + max(most)

    few, many = peak(1000), peak(4000)
    assert 24_000 * 4000 > 90e6 and many < few + 15e6 and many < 70e6, (few, many)


# --- the real folder, when it is there

PTBXL = Path(os.environ.get("UNIECG_PTBXL") or BESIDE.parent / "ptbxl_small")


@pytest.fixture(scope="module")
def ptbxl(tmp_path_factory):
    if not PTBXL.is_dir():
        pytest.skip(f"no PTB-XL: UNIECG_PTBXL names a folder of it (looked in {PTBXL})")
    folder = cohort.write(cohort_rows(0, 10**6, f"ptbxl={PTBXL}"), tmp_path_factory.mktemp("real") / "splits")
    return {name: cohort.load(folder, name) for name in cohort.SPLITS}


def test_real_ptbxl(ptbxl):
    sizes = {name: len(part) for name, part in ptbxl.items()}
    there = len(pd.read_csv(PTBXL / "ptbxl_database.csv"))
    assert sum(sizes.values()) >= 0.99 * there
    assert [n / sum(sizes.values()) for n in sizes.values()] == pytest.approx([0.6, 0.15, 0.25], abs=0.02)
    cohort.check_leakage({name: part.column("patient") for name, part in ptbxl.items()})
    for part in ptbxl.values():
        truth = part.truth()
        rhythms = (truth["findings"] & truth["known"][:, : len(CODES)])[:, : len(RHYTHMS)].sum(1)
        assert (rhythms <= 1).all() and rhythms.float().mean() > 0.9
        assert part.signal(range(8)).abs().max() < 20
    corpus = Corpus(ptbxl["test"].truth(), ptbxl["test"].column("patient"))
    rng = random.Random(0)
    assert all(corpus.ask((row,), rng).question for row in range(len(corpus.readings)))
    assert json.dumps(corpus.reports).count("nan") == 0
