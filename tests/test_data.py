"""The committed tables: shape, codes, and numbers that have to agree with each other."""

import json
import re
from pathlib import Path

import pytest

DATA = Path(__file__).parents[1] / "data"
LEADS = ["I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6"]
RHYTHMS = ["SR", "SBRAD", "STACH", "SARRH", "AFIB", "AFLT", "JUNC", "SVTAC", "VT", "PACE", "WENCK", "MOB2", "3AVB"]
CODES = [*RHYTHMS, "1AVB", "PAC", "PVC", "BIGU", "CLBBB", "CRBBB", "IRBBB", "LAFB", "LPFB", "IVCD", "WPW", "LAD", "RAD"]
CODES += ["LVH", "RVH", "LAE", "RAE", "STE_ANT", "STE_SEP", "STE_LAT", "STE_INF", "STE_POST", "STD", "TINV", "NST"]
CODES += ["Q_ANT", "Q_INF", "Q_LAT", "HYPT", "HYPERK", "HYPOK", "LQT", "PERI", "EREP", "LOWV", "BRUG", "NORM"]
GROUPS = {"rhythm", "conduction block", "ectopy", "conduction", "axis", "chamber", "ischaemia", "metabolic"}
GROUPS |= {"repolarisation", "normal"}
KEYS = ["code", "name", "group", "leads", "criteria", "evidence", "scp", "snomed", "source", "note"]
NUMBERS = {"rate_bpm", "pr_ms", "qrs_ms", "qt_ms", "qtc_ms", "axis_deg"}
SIGNS = {"q_waves", "st_up", "st_down", "t_inverted", "t_tall"}


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
    assert [f["code"] for f in FINDINGS] == CODES and len(CODES) == len(set(CODES)) == 50
    for key in ("name", "criteria", "evidence"):
        assert len({f[key] for f in FINDINGS}) == len(FINDINGS), key


def test_rhythms_come_first_and_are_no_other_group():
    assert [f["code"] for f in FINDINGS if f["group"] == "rhythm"] == RHYTHMS == CODES[:13]
    assert {f["group"] for f in FINDINGS} == GROUPS


@pytest.mark.parametrize("finding", FINDINGS, ids=lambda f: f["code"])
def test_finding_is_complete(finding):
    assert list(finding)[: len(KEYS)] == KEYS, "what only some findings have comes after"
    assert finding["name"] and not re.search(r"[.,;]", finding["name"]), "a conclusion is a list of names"
    assert finding["scp"] and finding["snomed"] or finding["note"], "what has no code says why"
    assert all(verhoeff(code) == 0 for code in finding["snomed"])
    assert all(lead in LEADS for lead in finding["leads"]) and len(set(finding["leads"])) == len(finding["leads"])
    assert finding["criteria"].endswith(".") and len(re.findall(r"\.(?= |$)", finding["criteria"])) <= 2
    assert re.search(r"\b(19|20)\d\d\b", finding["source"]), "a citation has a year"


@pytest.mark.parametrize("finding", FINDINGS, ids=lambda f: f["code"])
def test_what_hangs_on_a_finding_is_known(finding):
    assert finding["token"] and len(finding["synonyms"]) >= 20
    assert bool(finding.get("waves")) == bool(finding.get("wave_group")) == (finding["code"] != "NORM")
    assert set(finding.get("waves", [])) <= {"P", "QRS", "ST", "T"}
    needed = {item.removeprefix("@") for item in finding["requires"]}
    assert needed and needed <= NUMBERS | SIGNS | {"sign"}, "a number, what a lead shows, or its evidence in words"
    for key, (low, high) in finding.get("expects", {}).items():
        assert key in NUMBERS and (low is None or high is None or low < high) and not low is high is None
    assert finding.get("pr", "none") in ("none", "needed")
    headings = {key for f in FINDINGS for key, value in f.items() if value is True}
    assert set(finding.get("hides", [])) <= {*CODES, *GROUPS, *headings}, "findings, a group, or a heading they have"


def test_named_sets_are_these():
    sets = {key: [f["code"] for f in FINDINGS if f.get(key)] for key in ("sinus", "wide", "injury", "old", "atria")}
    assert sets == {
        "sinus": ["SR", "SBRAD", "STACH", "SARRH"],
        "wide": ["VT", "PACE", "CLBBB", "IVCD", "WPW"],
        "injury": ["STE_ANT", "STE_SEP", "STE_LAT", "STE_INF", "STE_POST"],
        "old": ["Q_ANT", "Q_INF", "Q_LAT"],
        "atria": ["LAE", "RAE"],
    }


def thresholds(text):
    """The numbers of a text; the one of a lead's name is none."""
    return {float(number) for number in re.findall(r"(?<![\w.])\d+(?:\.\d+)?", text)}


@pytest.mark.parametrize("finding", FINDINGS, ids=lambda f: f["code"])
def test_evidence_is_a_short_phrase_of_thresholds_and_leads(finding):
    evidence = finding["evidence"]
    assert 3 <= len(evidence.split()) <= 9 and not evidence.endswith(".") and ";" not in evidence
    numbers, known = (thresholds(text) for text in (evidence, finding["criteria"]))
    assert numbers <= known, "every number is a threshold of the criteria"
    stated = {word for word in re.findall(r"\w+", evidence) if word in LEADS}
    assert stated <= set(finding["leads"]), "the leads of the evidence are among the critical ones"


def test_evidence_shares_its_words():
    words = [word for f in FINDINGS for word in re.findall(r"[A-Za-z']+", f["evidence"])]
    assert len(set(words)) < len(words) / 3.5


def test_only_second_degree_block_shares_a_scp_statement():
    scp = [f["scp"] for f in FINDINGS if f["scp"]]
    assert len(scp) - len(set(scp)) == 1 and scp.count("2AVB") == 2


def test_only_territories_share_a_snomed_code():
    owners = {}
    for f in FINDINGS:
        for code in f["snomed"]:
            owners.setdefault(code, []).append(f["code"])
    shared = [names for names in owners.values() if len(names) > 1]
    assert shared == [["STE_ANT", "STE_SEP", "STE_LAT", "STE_INF"], ["Q_ANT", "Q_INF", "Q_LAT"]]


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


BORDERS = [
    ("SBRAD", "rate", "low", "bpm"),
    ("STACH", "rate", "high", "bpm"),
    ("1AVB", "PR", "high", "ms"),
    ("WPW", "PR", "low", "ms"),
    ("IVCD", "QRS", "high", "ms"),
    ("LAE", "P", "high", "ms"),
    ("LAD", "axis", "low", "degrees"),
    ("RAD", "axis", "high", "degrees"),
    ("LQT", "QTc_female", "high", "ms"),
]


@pytest.mark.parametrize("finding", [f for f in FINDINGS if "limits" in f], ids=lambda f: f["code"])
def test_limits_are_those_of_the_criteria(finding):
    known = thresholds(finding["criteria"])
    for name, (limit, grey) in finding["limits"].items():
        assert abs(limit) in known and 0 <= grey <= 0.3 * abs(limit), name


@pytest.mark.parametrize("code, key, end, unit", BORDERS, ids=lambda x: x)
def test_findings_begin_where_the_normal_range_ends(code, key, end, unit):
    row, normal = next(f for f in FINDINGS if f["code"] == code), RANGES[key]
    assert normal["unit"] == unit
    if code == "LQT":
        assert str(normal[end]) in row["note"] and "480 ms" in row["criteria"], "the gap between the lines is explained"
    else:
        assert re.search(rf"(?<![\d-]){normal[end]}\b", row["criteria"])


def test_a_normal_ecg_lies_within_the_normal_ranges():
    criteria = FINDINGS[CODES.index("NORM")]["criteria"]
    for key in ("rate", "PR", "axis"):
        assert f"{RANGES[key]['low']} to {RANGES[key]['high']}" in criteria
    for key in ("QRS", "QTc_male", "QTc_female"):
        assert f"{RANGES[key]['high']} ms" in criteria


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
