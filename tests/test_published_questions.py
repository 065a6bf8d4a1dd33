"""questions as published: ECG-QA and ECG-Grounding files are read, and only about ECGs that are here."""

import json
import os
from pathlib import Path

import pytest
from conftest import BESIDE

from uniecg_lite.errors import BadRequest
from uniecg_lite.language.questions import Question, ecg_grounding, ecg_qa, full_answer

ROW = {
    "template_id": 26,
    "question_id": 2471,
    "sample_id": 7,
    "question_type": "single-verify",
    "attribute_type": "noise",
    "question": "Is baseline drift seen in lead V2?",
    "answer": ["yes"],
    "ecg_id": [32],
    "attribute": ["baseline drift"],
    "split": "test",
}
PAIR = ROW | {"ecg_id": [32, 40], "answer": ["none"], "attribute": None, "question_type": "comparison_irrelevant-query"}
HERE = {"32": 5, "40": 6, "41932399": 7}


@pytest.mark.parametrize("lines", [True, False])
def test_ecg_qa(tmp_path, lines):
    rows = [ROW, PAIR, PAIR | {"ecg_id": [32, 41]}, ROW | {"ecg_id": [41932399]}]
    path = tmp_path / "questions.json"
    path.write_text("\n".join(map(json.dumps, rows)) + "\n" if lines else json.dumps(rows))
    one, two, three = ecg_qa(path, HERE)
    assert isinstance(one, Question) and one.ecg_id == (5,) and one.answer == ("yes",) == (full_answer(one),)
    assert two.ecg_id == (5, 6) and two.answer == () and full_answer(two) == "none" and two.attribute is None
    assert three.ecg_id == (7,)


@pytest.mark.parametrize("text", ["[{]", "{}", '[{"question": "what?"}]', "not json", '["a"]'])
def test_other_files_are_refused(tmp_path, text):
    path = tmp_path / "questions.json"
    path.write_text(text)
    with pytest.raises(BadRequest, match="questions.json"):
        ecg_qa(path, HERE)
    with pytest.raises(BadRequest, match="questions.json"):
        ecg_grounding(path, HERE)


def test_ecg_grounding(tmp_path):
    said = ["<image>\nInterpret this ECG.", "Atrial fibrillation.", "Why?", "No P waves."]
    turns = [{"from": ("human", "gpt")[i % 2], "value": text} for i, text in enumerate(said)]
    rows = [
        {"id": "a", "ecg": "records500/00000/00032_hr", "image": "a.png", "conversations": turns, "report": "afib"},
        {"id": "b", "ecg": "mimic-iv/files/p1638/p16387058/s41932399/41932399", "conversations": turns[:2]},
        {"id": "c", "ecg": "records500/00000/00033_hr", "conversations": turns},
    ]
    path = tmp_path / "ECG_Grounding_30k.json"
    path.write_text(json.dumps(rows))
    assert ecg_grounding(path, HERE) == [
        (5, "Interpret this ECG.", "Atrial fibrillation."),
        (5, ("Interpret this ECG.", "Atrial fibrillation.", "Why?"), "No P waves."),
        (7, "Interpret this ECG.", "Atrial fibrillation."),
    ]


def test_published_questions_of_ecg_qa():
    path = Path(os.environ.get("UNIECG_ECG_QA") or BESIDE.parent / "ecg_qa" / "ptbxl_small.jsonl")
    if not path.is_file():
        pytest.skip(f"no ECG-QA: UNIECG_ECG_QA names a file of it (looked for {path.name})")
    names = {str(i): i for i in range(30000)}
    found = ecg_qa(path, names)
    assert len(found) == len(path.read_text(encoding="utf-8").splitlines()) and all(q.ecg_id for q in found)
    assert len(ecg_qa(path, dict(list(names.items())[:500]))) < len(found)
