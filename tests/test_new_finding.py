"""new finding: its row in data/findings.json, its drawing and its criterion; everything else reads the table."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ROW = {
    "code": "UWAVE",
    "name": "large U waves",
    "group": "repolarisation",
    "leads": ["V2", "V3", "V4"],
    "criteria": "U of at least 0.1 mV in two of V2 to V4.",
    "evidence": "U over 0.1 mV in V2 V3 V4",
    "scp": None,
    "snomed": [],
    "source": "Surawicz & Knilans, Chou's Electrocardiography in Clinical Practice, 6th ed. 2008",
    "note": "No code is used here.",
    "by_shape": True,
    "waves": ["T"],
    "wave_group": "t",
    "token": "repolarisation",
    "requires": ["sign"],
    "wordings": ["giant u", "u unusually large"],
    "evidence_wordings": ["u after t in v2 v3 v4"],
    "synonyms": ["large U waves", "big U waves"],
}
DRAWN = [
    {"room": "sinus and clear", "all": ["SR", "clear"], "none": ["HYPOK", "BIGU"]},
    {"draw": [{"code": "UWAVE", "share": 0.9, "room": "sinus and clear"}]},
]
CODE = {  # file -> (what stands there, what is put before it)
    "uniecg_lite/simulator/waves.py": ('HYPOK": u.between', "UWAVE "),
    "benchmarks/criteria/rules.py": (
        '        "BRUG": brugada,\n',
        '        "UWAVE": clear & ((u >= 0.1).sum(1) >= 2),\n',
    ),
}
CHECK = """
import random
from dataclasses import replace
import torch
from criteria.rules import criteria_pass
from uniecg_lite.encoders import GROUPS, targets
from uniecg_lite.findings import CODES, NAMES, Reading, readings, report
from uniecg_lite.language.conversations import Corpus, notes
from uniecg_lite.language.question_facts import undecided
from uniecg_lite.language.report_parser import parse, parse_report
from uniecg_lite.language.requests import Request
from uniecg_lite.language.wording import fill
from uniecg_lite.metrics.grounded import grounded_one
from uniecg_lite.metrics.evidence import CARRIERS, GROUP
from uniecg_lite.simulator.simulate import simulate

new, name, rng = "UWAVE", NAMES["UWAVE"], random.Random(0)
drawn = simulate(3, torch.arange(96), hz=500, noise=False)
there = drawn.truth["findings"][:, CODES.index(new)]
assert len(CODES) == 51 and CODES[-1] == "NORM" and there.sum() >= 8, "it is drawn"
assert not drawn.truth["findings"][there, -1].any(), "an ECG that shows it is not called normal"
passed, failed, n = criteria_pass(drawn.signal, drawn.truth["findings"])[new]
assert n == there.sum() and passed >= 0.9 and failed >= 0.9, ("its criterion holds where it is drawn", passed, failed)

rows = readings(drawn.truth)
one = replace(next(r for r in rows if new in r.findings), findings=frozenset({"SR", new}))
text = report(one)
assert text.endswith(f"Evidence: U over 0.1 mV in V2 V3 V4. Conclusion: sinus rhythm, {name}."), text
assert parse_report(text).findings == one.findings and parse(text).evidence == {new}
assert parse("Sinus rhythm with giant U waves.").findings == {"SR", new}
assert parse("No big finding, no large U waves.").denied == {new} and parse("Possible giant U wave").uncertain == {new}
full, without = (grounded_one(t, one) for t in (text, report(replace(one, findings=frozenset({"SR"})))))
assert full["DiagnosisAccuracy"] == full["EvidenceBasedReasoning"] == 100 > 60 > without["DiagnosisAccuracy"], "scored"

corpus = Corpus(drawn.truth)
asked = [corpus.asked(rng, kind=("any_finding", "finding")) for _ in range(600)]
answers = {q.answer for q in asked if q.question_type == "single-verify" and q.attribute[-1] == name}
assert ("yes",) in answers, "it is asked for"
assert any(name in q.answer for q in asked if q.question_type == "single-query"), "it is listed"
assert new in undecided(Reading(findings=frozenset({"VT"}))), "a broad QRS hides it"
assert f"repolarisation {name}" in notes(one)
assert Request.parse(Request(findings=("SR", new)).text()).findings == ("SR", new)
asked = [fill("Draw {what}.", Request(findings=(new,)), rng) for _ in range(9)]
assert any("big U waves" in text for text in asked), "it is asked for in other words"
drawn_for = replace(corpus.requests[0], findings=("SR", new))
assert name in str(drawn_for) and ("findings", new) in drawn_for.marks and drawn_for.refusal is None
assert GROUPS["repolarisation"][-2:] == (new, "NORM") and targets(drawn.truth)["repolarisation"].shape == (96, 8)
assert GROUP[new] == "t" and CARRIERS[new] == ["T"]
print("all read the table")
"""


def put_before(path: Path, *pairs: tuple[str, str]) -> None:
    text = path.read_text(encoding="utf-8")
    for here, more in pairs:
        assert text.count(here) == 1, (path, here)
        text = text.replace(here, more + here)
    path.write_text(text, encoding="utf-8")


def test_a_new_finding_needs_four_files(tmp_path):
    parts = ("uniecg_lite", "data", "benchmarks/criteria")
    for part in parts:
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    tables = [tmp_path / "data" / name for name in ("findings.json", "hearts.json")]
    rows, hearts = (json.loads(table.read_text(encoding="utf-8")) for table in tables)
    tables[0].write_text(json.dumps([*rows[:-1], ROW, rows[-1]]), encoding="utf-8")
    tables[1].write_text(json.dumps(hearts | {"prevalence": hearts["prevalence"] + DRAWN}), encoding="utf-8")
    for name, pair in CODE.items():
        put_before(tmp_path / name, pair)
    old = {
        path.relative_to(ROOT): path.read_bytes()
        for part in parts
        for path in (ROOT / part).rglob("*.*")
        if path.suffix in (".py", ".json")
    }
    edited = [path for path, content in old.items() if (tmp_path / path).read_bytes() != content]
    assert len(edited) == len(tables) + len(CODE) == 4, edited
    ran = subprocess.run(
        [sys.executable, "-c", CHECK],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(tmp_path / "benchmarks")])},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0 and "all read the table" in ran.stdout, ran.stderr[-2000:]
