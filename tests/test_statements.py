"""statements: hand-written sentences, house-style reports, real reports and nonsense, all read as they were meant."""

import csv
import json
import math
import random
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import real_folder

from uniecg_lite.findings import CODES, EVIDENCE, LEAD_SIGNS, NAMES, NUMBERS, RHYTHMS, SINUS, Reading, report
from uniecg_lite.language.phrases import PHRASES, words
from uniecg_lite.language.report_parser import Statements, parse, parse_report
from uniecg_lite.leads import LEADS

ROWS = json.loads((Path(__file__).resolve().parents[1] / "data" / "paraphrases.json").read_text(encoding="utf-8"))
SETS, LEADED = ("findings", "denied", "uncertain"), ("leads", "leads_denied", "leads_uncertain")


def flat(stated: Statements) -> dict:
    """What was read, in the form of the paraphrases."""
    denied = {}
    for features, leads in stated.leads_denied:
        for feature in features:
            denied.setdefault(feature, set()).update(leads)
    numbers = {
        key: [None if math.isnan(value) else value for value in values] for key, values in stated.numbers.items()
    }
    leads = {"leads": stated.leads, "leads_denied": denied, "leads_uncertain": stated.leads_uncertain}
    out = {"numbers": numbers} | {key: sorted(getattr(stated, key)) for key in SETS}
    return out | {key: {f: sorted(x) for f, x in predicted.items()} for key, predicted in leads.items()}


def wanted(row: dict) -> dict:
    out = {"numbers": {key: [value] for key, value in row.get("numbers", {}).items()}}
    out |= {key: sorted(row.get(key, [])) for key in SETS}
    return out | {key: {f: sorted(leads) for f, leads in row.get(key, {}).items()} for key in LEADED}


# --- the paraphrases


@pytest.mark.parametrize("row", ROWS, ids=[str(i) for i in range(len(ROWS))])
def test_every_paraphrase_is_read_as_it_was_meant(row):
    assert flat(parse(row["text"])) == wanted(row), row["text"]


def test_the_paraphrases_cover_what_they_should():
    assert len(ROWS) >= 220 and len({row["text"] for row in ROWS}) == len(ROWS)
    stated = Counter(code for row in ROWS for code in row.get("findings", []))
    assert set(stated) == set(CODES)
    assert all(set(row.get(key, [])) <= set(CODES) for row in ROWS for key in SETS)
    assert sum("denied" in row or "leads_denied" in row for row in ROWS) >= 40
    assert sum("uncertain" in row or "leads_uncertain" in row for row in ROWS) >= 30
    assert {key for row in ROWS for key in row.get("numbers", {})} == set(NUMBERS)
    assert {key for row in ROWS for key in row.get("leads", {})} == set(LEAD_SIGNS)


@pytest.mark.parametrize("code", CODES)
def test_the_name_of_every_finding_is_understood(code):
    assert parse(f"Conclusion: {NAMES[code]}.").findings == {code}
    assert parse(f"Possible {NAMES[code]}.").uncertain == {code}
    assert not parse(f"Possible {NAMES[code]}.").findings
    assert parse(f"There is no {NAMES[code]}.").denied >= {code}
    assert not parse(f"There is no {NAMES[code]}.").findings


@pytest.mark.parametrize("code", CODES)
def test_evidence_is_neither_a_finding_nor_a_number_nor_a_lead(code):
    assert parse(f"Evidence: {EVIDENCE[code]}.") == Statements(evidence=frozenset({code}))


def test_two_values_are_both_kept():
    stated = parse("PR 160 ms. The PR interval is 0.22 s.")
    assert stated.numbers == {"pr_ms": (160.0, 220.0)}
    assert parse_report("PR 160 ms. The PR interval is 0.22 s.").pr_ms == 160


def test_case_does_not_matter():
    for row in ROWS:
        if not re.search(r"\bI\b", row["text"]):
            assert parse(row["text"].upper()) == parse(row["text"].lower()), row["text"]


def test_line_breaks_in_a_sentence_do_not_matter():
    text = "Sinus rhythm with ST elevation in II,\nIII and aVF and a QRS of\n100 ms."
    assert parse(text) == parse(text.replace("\n", " "))
    listed = parse("Findings:\n- Rate: 72 bpm\n- No LVH\n- Left bundle branch block\n")
    assert listed.findings == {"CLBBB"} and listed.denied == {"LVH"} and listed.numbers == {"rate_bpm": (72.0,)}


# --- house style


def house_reading(rng: random.Random) -> Reading:
    """A reading as a house-style report can tell it: intervals and axis in tens."""
    if rng.random() < 0.1:
        found = {"SR", "NORM"}
    else:
        others = [code for code in CODES if code not in (*RHYTHMS, "NORM")]
        found = {rng.choice(RHYTHMS), *rng.sample(others, rng.randrange(6))}
    leads = {f: tuple(x for x in LEADS if rng.random() < 0.3) for f in LEAD_SIGNS if rng.random() < 0.6}
    numbers = {key: 10.0 * rng.randrange(7, 50) for key in NUMBERS}
    numbers |= {"rate_bpm": float(rng.randrange(30, 220)), "axis_deg": 10.0 * rng.randrange(-17, 19)}
    numbers |= {"pr_ms": math.nan} if rng.random() < 0.3 else {}
    return Reading(**numbers, **leads, findings=frozenset(found))


def test_house_reports_are_read_back_exactly():
    rng = random.Random(0)
    for truth in (house_reading(rng) for _ in range(300)):
        text = report(truth)
        back = parse_report(text)
        if math.isnan(truth.pr_ms):
            assert math.isnan(back.pr_ms)
        assert replace(back, pr_ms=0, age=0) == replace(truth, pr_ms=0, age=0), text
        assert parse(text).evidence == truth.findings - set(SINUS), text


def test_a_report_that_breaks_off_keeps_what_it_told():
    text = report(Reading(72, 160, 90, 380, 410, 40, st_up=("V2", "V3"), findings=frozenset({"SR", "1AVB"})))
    for end in range(len(text)):
        back = parse_report(text[:end])
        assert math.isnan(back.rate_bpm) or "Rate 72".startswith(f"Rate {back.rate_bpm:.0f}")
        assert set(back.st_up) <= {"V2", "V3"} and not back.t_inverted
    assert parse_report("").findings == frozenset() and math.isnan(parse_report("").rate_bpm)


def test_a_reading_has_only_what_is_asserted():
    text = "No ST elevation in V2. Possible LVH. Possible Q waves in III. Not in atrial fibrillation. Sinus rhythm."
    assert parse_report(text).findings == {"SR"}
    assert not any(getattr(parse_report(text), feature) for feature in LEAD_SIGNS)


def test_a_normal_ecg_has_sinus_rhythm_unless_another_is_said():
    assert parse_report("Normal ECG.").findings == {"SR", "NORM"}
    assert parse_report("Sinus arrhythmia. Normal ECG.").findings == {"SARRH", "NORM"}
    assert parse("Normal ECG.").findings == {"NORM"}, "what is said is not added to"


# --- leads


@pytest.mark.parametrize(
    "text, leads",
    [
        ("V1-V4", "V1 V2 V3 V4"),
        ("V1 to V4", "V1 V2 V3 V4"),
        ("V1–4", "V1 V2 V3 V4"),
        ("v3-6", "V3 V4 V5 V6"),
        ("V1, V3 and V5-V6", "V1 V3 V5 V6"),
        ("v4,5,6", "V4 V5 V6"),
        ("V1, 12 mm apart", "V1"),
        ("I", "I"),
        ("I and aVL", "I aVL"),
        ("lead I", "I"),
        ("II/III/aVF", "II III aVF"),
        ("AVF, III & II", "II III aVF"),
        ("the inferior leads", "II III aVF"),
        ("lateral and inferior leads", "I II III aVL aVF V5 V6"),
        ("anteroseptal leads", "V1 V2 V3 V4"),
        ("the chest leads", "V1 V2 V3 V4 V5 V6"),
        ("all limb leads", "I II III aVR aVL aVF"),
        ("all leads", " ".join(LEADS)),
    ],
)
def test_lists_of_leads(text, leads):
    assert parse(f"ST elevation in {text}.").leads == {"st_up": tuple(leads.split())}


def test_the_letter_i_is_a_lead_only_among_leads():
    assert parse("I think there is Mobitz I with T inversion in V3, I believe.").leads == {"t_inverted": ("V3",)}
    assert parse("Type I block. Q waves in I, II.").leads == {"q_waves": ("I", "II")}


# --- robustness


def test_any_text_can_be_read():
    rng = random.Random(5)
    vocabulary = sorted({word for phrase in PHRASES for word in phrase}) + [*LEADS, "0.2", "72", "-45", "\n", "?"]
    for _ in range(400):
        text = " ".join(rng.choices(vocabulary, k=rng.randrange(40)))
        stated = parse(text)
        assert stated == parse(text)
        assert stated.findings | stated.denied | stated.uncertain | stated.evidence <= set(CODES)
        assert all(leads == tuple(x for x in LEADS if x in leads) for leads in stated.leads.values())
    for text in (
        "\x00\ufffd",
        "9" * 500,
        "PR " + "9" * 400,
        "," * 3000,
        "Evidence:" * 300,
        "?" * 50,
        "٣ V١",
        "a-" * 100,
    ):
        parse(text)


def test_no_phrase_is_empty():
    assert all(phrase and all(phrase) for phrase in PHRASES)


def test_words_are_made_alike():
    assert words("The T-waves are inverted in I") == words("T wave inverted in lead I")[:2] + ["lead_i"]
    assert words("ischaemia, hyperkalaemia, repolarisation") == words("ischemia, hyperkalemia, repolarization")


# --- real reports

ENGLISH = re.compile(r"\b(?:sinus rhythm|sinus tachycardia|sinus arrhythmia|atrial fibrillation|is present)\b")
SAME = "SR SBRAD STACH SARRH AFIB AFLT SVTAC PACE PAC PVC 1AVB CLBBB CRBBB LAFB LPFB IVCD WPW LVH RVH NORM"
SCP = {code: code for code in SAME.split(" ")}
SCP |= {"LAO/LAE": "LAE", "RAO/RAE": "RAE", "LNGQT": "LQT", "LVOLT": "LOWV", "IMI": "Q_INF", "LMI": "Q_LAT"}
SCP |= dict.fromkeys(("ASMI", "AMI", "ALMI"), "Q_ANT")
UNTOLD = {  # statements of the data set that the report has no words for
    ("ptbxl_00257", "Q_ANT"): "QS in V2, and the text is cut off",
    ("ptbxl_00257", "Q_INF"): "the text is cut off",
    ("ptbxl_00260", "LAFB"): "left axis deviation, it says",
    ("ptbxl_00263", "Q_ANT"): "ischaemic heart disease, it says",
    ("ptbxl_00270", "Q_INF"): "an anteroseptal infarct only",
    ("ptbxl_00291", "NORM"): "a normal variant, it says",
    ("ptbxl_00305", "LAFB"): "no word of the axis",
    ("ptbxl_00316", "PVC"): "atrial premature beats only",
    ("ptbxl_00348", "LAFB"): "borderline left axis deviation, it says",
    ("ptbxl_00428", "LPFB"): "the left anterior one only",
}
UNLISTED = {  # what the report says and the data set does not list
    ("ptbxl_00257", "LAE"),
    ("ptbxl_00261", "LQT"),
    ("ptbxl_00263", "LAE"),
    ("ptbxl_00316", "LQT"),
}


def english_reports() -> list[dict]:
    manifest = real_folder() / "manifest.csv"
    if not manifest.exists():
        pytest.skip("no real reports: set UNIECG_REAL_ECG to a folder with manifest.csv")
    with open(manifest, encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["source_dataset"] == "PTB-XL"]
    return [row for row in rows if ENGLISH.search(row["report"])]


def test_english_reports_of_real_records(record_property):
    """Both ways, for the statements that have a finding of ours; a likelihood under 50 counts for nothing."""
    agreed, untold, unlisted = 0, set(), set()
    for row in english_reports():
        likely = {code: float(p) for code, p in json.loads(row["scp_codes"]).items()}
        listed = {SCP[code] for code, p in likely.items() if code in SCP and (p == 0 or p >= 50)}
        stated = parse(row["report"])
        predicted = (stated.findings | stated.uncertain) & set(SCP.values())
        agreed += len(predicted & listed)
        untold |= {(row["record"], code) for code in listed - predicted}
        unlisted |= {(row["record"], code) for code in (stated.findings & set(SCP.values())) - listed}
    share = agreed / (agreed + len(untold) + len(unlisted))
    record_property("agreement of words and labels", f"{share:.2f}")
    assert untold <= set(UNTOLD), untold - set(UNTOLD)
    assert unlisted <= UNLISTED, unlisted - UNLISTED
    assert agreed >= 45 and share >= 0.75


def test_leads_of_real_reports():
    predicted = {row["record"]: parse(row["report"]).leads for row in english_reports()}
    assert predicted["ptbxl_00257"]["st_up"] == ("V2", "V3") and predicted["ptbxl_00257"]["t_inverted"] == ("aVL",)
    assert predicted["ptbxl_00274"]["t_inverted"] == ("I", "aVL", "V3", "V4", "V5", "V6")
    assert predicted["ptbxl_00316"]["st_down"] == ("II", "III", "aVF", "V4", "V5", "V6")
    assert predicted["ptbxl_00468"] == {"t_inverted": ("V4", "V5", "V6")}
    assert predicted["ptbxl_00270"]["q_waves"] == ("V2",), "the r waves in V3 are no Q waves"
