"""The committed tables: shape, codes, and numbers that have to agree with each other."""

import json
import re
from pathlib import Path

import pytest

DATA = Path(__file__).parents[1] / "data"
LEADS = ["I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6"]
CODES = ["SR", "SBRAD", "STACH", "AFIB", "PVC", "PAC", "1AVB"]
CODES += ["CLBBB", "CRBBB", "LAD", "LVH", "STE_ANT", "STE_INF", "TINV"]


def read(name):
    return json.loads((DATA / f"{name}.json").read_text(encoding="utf-8"))


FINDINGS = read("findings")
RANGES = read("normal_ranges")
PUBLISHED = read("published")
SCORES = {row["id"]: row for row in PUBLISHED["scores"]["rows"]}


def verhoeff(number):
    """The check digit of every SNOMED CT code (Verhoeff's dihedral scheme): 0 when the code is well formed."""
    permute = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4]
    check = 0
    for place, digit in enumerate(map(int, reversed(number))):
        for _ in range(place % 8):
            digit = permute[digit]
        check = dihedral(check, digit)
    return check


def dihedral(a, b):
    """Multiply two elements of the symmetry group of the pentagon, numbered 0-9."""
    if a < 5:
        return (a + b) % 5 if b < 5 else 5 + (a + b - 5) % 5
    return 5 + (a - 5 - b) % 5 if b < 5 else (a - b) % 5


def test_the_check_digit_notices_a_wrong_digit():
    assert verhoeff("426783006") == 0
    assert verhoeff("426783016") != 0 and verhoeff("462783006") != 0


def test_findings_are_these_in_this_order():
    assert [f["code"] for f in FINDINGS] == CODES
    assert len({f["name"] for f in FINDINGS}) == len(FINDINGS)


@pytest.mark.parametrize("finding", FINDINGS, ids=lambda f: f["code"])
def test_finding_is_complete(finding):
    assert set(finding) == {"code", "name", "scp", "snomed", "leads", "criteria", "source", "note"}
    assert finding["name"] and finding["snomed"]
    assert finding["scp"] or finding["note"], "a finding without SCP statement says why"
    assert all(verhoeff(code) == 0 for code in finding["snomed"])
    assert finding["leads"] == [lead for lead in finding["leads"] if lead in LEADS]
    assert finding["criteria"].endswith(".") and ". " not in finding["criteria"], "one sentence"
    assert re.search(r"\b(19|20)\d\d\b", finding["source"]), "a citation has a year"


def test_scp_statements_are_not_shared():
    scp = [f["scp"] for f in FINDINGS if f["scp"]]
    assert len(scp) == len(set(scp)) == len(FINDINGS) - 1


@pytest.mark.parametrize("key", ["rate", "P", "PR", "QRS", "QT", "QTc_male", "QTc_female", "axis"])
def test_range_is_complete_and_ordered(key):
    row = RANGES[key]
    assert set(row) == {"name", "low", "high", "unit", "sex", "source", "note"}
    assert row["low"] < row["high"]
    assert row["unit"] in {"bpm", "ms", "degrees"} and row["name"]
    assert re.search(r"\b(19|20)\d\d\b", row["source"])


def test_no_other_ranges_and_sex_only_where_it_matters():
    assert len(RANGES) == 8
    assert {key: row["sex"] for key, row in RANGES.items() if row["sex"]} == {
        "QTc_male": "male",
        "QTc_female": "female",
    }


def test_intervals_fit_inside_each_other():
    assert RANGES["P"]["high"] <= RANGES["PR"]["high"]
    assert RANGES["QRS"]["high"] < RANGES["QT"]["low"]


def test_bradycardia_and_tachycardia_begin_where_the_normal_rate_ends():
    criteria = {f["code"]: f["criteria"] for f in FINDINGS}
    assert f"{RANGES['rate']['low']} bpm" in criteria["SBRAD"]
    assert f"{RANGES['rate']['high']} bpm" in criteria["STACH"]
    assert f"{RANGES['PR']['high']} ms" in criteria["1AVB"]
    assert f"{RANGES['axis']['low']} " in criteria["LAD"]


@pytest.mark.parametrize("model", ["PULSE", "UniECG"])
def test_published_average_is_the_mean_of_the_three_scores(model):
    three = [SCORES[name][model] for name in ("grounding", "evidence", "clinical_fidelity")]
    assert SCORES["average"][model] == pytest.approx(sum(three) / 3, abs=0.02)


@pytest.mark.parametrize("row", SCORES.values(), ids=SCORES.keys())
def test_published_ratio_is_what_the_scores_give(row):
    assert row["ratio"] == pytest.approx(row["UniECG"] / row["PULSE"], abs=0.005)


def test_only_the_score_that_was_worked_out_is_marked_derived():
    assert [name for name, row in SCORES.items() if row["derived"]] == ["clinical_fidelity"]


def test_claims_are_numbered_without_gaps_and_name_their_paper():
    claims = PUBLISHED["claims"]
    counts = {"U": 15, "S": 4, "D": 7}
    assert [c["id"] for c in claims] == [f"{letter}{i}" for letter, n in counts.items() for i in range(1, n + 1)]
    assert {c["paper"] for c in claims} <= set(PUBLISHED["papers"])
    assert all(c["statement"].endswith(".") and len(c["statement"]) < 140 for c in claims)


def test_papers_have_an_arxiv_id():
    assert all(re.fullmatch(r"\d{4}\.\d{5}", p["arxiv"]) and p["title"] for p in PUBLISHED["papers"].values())
    assert PUBLISHED["papers"]["uniecg"]["arxiv"] == "2509.18588"


@pytest.mark.parametrize("path", sorted(DATA.glob("*.json")), ids=lambda p: p.name)
def test_tables_are_indented_utf8(path):
    text = path.read_bytes().decode("utf-8")
    assert text.startswith(("{\n  ", "[\n  ")) and text.endswith("\n") and "\t" not in text
