"""published: files with the published fields are read, and what is not as published is refused with its place."""

import json

import pytest

from uniecg_lite.errors import BadArtifact, BadRequest
from uniecg_lite.language.ecg_qa import ecg_qa
from uniecg_lite.metrics.qa import qa_scores

ROW = {
    "template_id": 9,
    "question_id": 31,
    "sample_id": 0,
    "question_type": "single-query",
    "attribute_type": "scp_code",
    "question": "Leads with inverted T waves?",
    "answer": ["lead V5", "lead V6"],
    "ecg_id": [12],
    "attribute": ["inverted t-waves"],
}
PAIR = {
    **ROW,
    "sample_id": 1,
    "question_type": "comparison_irrelevant-query",
    "attribute_type": "numeric_feature",
    "question": "What changed?",
    "answer": [],
    "ecg_id": [12, "p10/s40"],
    "attribute": None,
}


def saved(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path


def without(row: dict, name: str) -> dict:
    return {key: value for key, value in row.items() if key != name}


def test_questions_are_read_as_published(tmp_path):
    first, second = ecg_qa(saved(tmp_path / "00000.json", [ROW, {**PAIR, "ecg_path": ["a", "b"]}]))
    for key, value in ROW.items():
        assert getattr(first, key) == (tuple(value) if isinstance(value, list) else value)
    assert second.answer == () and second.attribute is None and second.ecg_id == (12, "p10/s40")
    right = qa_scores([first, second], ["lead V6, lead V5", "none"])
    assert right["qa.exact_match"] == 1 and right["qa.numeric_feature"] == 1


def test_a_folder_of_files_is_read_in_order(tmp_path):
    for i in (2, 0, 1):
        saved(tmp_path / "test" / f"{i}0000.json", [{**ROW, "sample_id": 10 * i + k} for k in range(3)])
    (tmp_path / "test" / "readme.txt").write_text("not a row")
    assert [q.sample_id for q in ecg_qa(tmp_path)] == [0, 1, 2, 10, 11, 12, 20, 21, 22]


@pytest.mark.parametrize("name", ROW)
def test_a_missing_field_is_named_with_its_place(tmp_path, name):
    path = saved(tmp_path / "qa.json", [ROW, without(ROW, name)])
    with pytest.raises(BadArtifact, match=rf"qa.json, row 1 has no '{name}'"):
        ecg_qa(path)


@pytest.mark.parametrize(
    "change,words",
    [
        ({"answer": "yes"}, "'answer' is 'yes', not a list"),
        ({"answer": [1]}, "'answer'"),
        ({"ecg_id": 12}, "'ecg_id' is 12, not a list"),
        ({"ecg_id": [1, 2]}, "needs 1 ecg_id, not 2"),
        ({"ecg_id": [True]}, "'ecg_id'"),
        ({"template_id": "9"}, "'template_id' is '9', not a whole number"),
        ({"template_id": True}, "'template_id'"),
        ({"question": None}, "'question' is None, not text"),
        ({"attribute": "inverted"}, "'attribute' is 'inverted', not a list"),
        ({"question_type": "verify"}, "'question_type' is 'verify', not one of single-verify"),
        ({"attribute_type": "rhythm"}, "'attribute_type' is 'rhythm', not one of scp_code"),
        ({"answer": list("yes")}, r"taken apart into its letters \(y, e, s\)"),
        ({"answer": list("left axis")}, "taken apart into its letters"),
    ],
)
def test_a_wrong_field_is_refused(tmp_path, change, words):
    with pytest.raises(BadArtifact, match=words):
        ecg_qa(saved(tmp_path / "qa.json", [{**ROW, **change}]))


def test_one_lead_of_one_letter_is_no_broken_answer(tmp_path):
    [question] = ecg_qa(saved(tmp_path / "qa.json", [{**ROW, "answer": ["I"]}]))
    assert question.answer == ("I",)


def test_what_is_no_file_of_rows_is_refused(tmp_path):
    for path in (tmp_path / "absent.json", tmp_path):
        with pytest.raises(BadRequest, match="no JSON file"):
            ecg_qa(path)
    for text, words in (("[{", "no JSON text"), ('{"a": 1}', "no list of rows"), ("[[1]]", "row 0 is no object")):
        path = tmp_path / "rows.json"
        path.write_text(text)
        with pytest.raises(BadArtifact, match=words):
            ecg_qa(path)
    (tmp_path / "rows.json").write_bytes(b'["\xff"]')
    with pytest.raises(BadArtifact, match="no JSON text"):
        ecg_qa(tmp_path)
