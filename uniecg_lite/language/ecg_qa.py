"""Questions as others publish them: ECG-QA (Oh et al. 2023, arXiv 2306.15681), read from JSON, checked row by row.

None of their data is part of this project. Rows keep the published field names; a row that is not as published is
refused, never mended.
"""

import json
from pathlib import Path

from ..errors import BadArtifact, BadRequest, require
from .questions import ATTRIBUTE_TYPES, QUESTION_TYPES, Question

_TYPES = {"question_type": QUESTION_TYPES, "attribute_type": ATTRIBUTE_TYPES}
_AS_IT_IS = "give the published file as it is."
_ITEMS = {"answer": (str,), "attribute": (str,), "ecg_id": (int, str)}  # lists, and what they hold
_FIELDS = {
    **dict.fromkeys(("template_id", "question_id", "sample_id"), (int, "a whole number")),
    **dict.fromkeys((*_TYPES, "question"), (str, "text")),
    **dict.fromkeys(_ITEMS, (list, "a list")),
}


def ecg_qa(path: str | Path) -> list[Question]:
    """Rows of ECG-QA, from one JSON file or from every JSON file under a folder, in the order of their names.

    Args:
        path: such as `ecgqa/ptbxl/paraphrased/test`.

    Raises:
        BadRequest: nothing is there.
        BadArtifact: a file is no JSON list of rows, a field is missing or of a wrong type, a question or attribute type
            is not one of ECG-QA's, or an answer was taken apart into its letters.
    """
    path = Path(path)
    files = sorted(path.rglob("*.json")) if path.is_dir() else [path] if path.is_file() else []
    require(files, f"There is no JSON file at {path}: give a file, or a folder that holds some.", BadRequest)
    return [_question(row, f"{file}, row {i}") for file in files for i, row in enumerate(_rows(file))]


def _rows(file: Path) -> list:
    try:
        rows = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as reason:
        raise BadArtifact(f"{file} is no JSON text ({reason}): get it again.") from None
    require(isinstance(rows, list), f"{file} holds no list of rows: {_AS_IT_IS}", BadArtifact)
    return rows


def _question(row: dict, where: str) -> Question:
    require(isinstance(row, dict), f"{where} is no object with fields: {_AS_IT_IS}", BadArtifact)
    for name, (kind, wanted) in _FIELDS.items():
        require(name in row, f"{where} has no '{name}': {_AS_IT_IS}", BadArtifact)
        value = [] if name == "attribute" and row[name] is None else row[name]  # comparisons have none
        items, types, stated = value if kind is list else (), _TYPES.get(name), f"{where}: '{name}' is {value!r:.60}"
        require(type(value) is kind, f"{stated}, not {wanted}: {_AS_IT_IS}", BadArtifact)
        fine = all(type(item) in _ITEMS[name] for item in items)
        require(fine, f"{stated}, which holds something else than it should.", BadArtifact)
        require(not types or value in types, f"{stated}, not one of {', '.join(types or ())}.", BadArtifact)
    answer, ecgs, question_type = row["answer"], row["ecg_id"], row["question_type"]
    whole = len(answer) < 2 or any(len(item) > 1 for item in answer)
    letters = f"{where}: the answer was taken apart into its letters ({', '.join(answer):.40})"
    require(whole, f"{letters}: join them, or get the file again.", BadArtifact)
    count = 1 if question_type.startswith("single") else 2
    needed = f"{where}: a {question_type} question needs {count} ecg_id, not {len(ecgs)}."
    require(len(ecgs) == count, needed, BadArtifact)
    return Question(**{name: tuple(row[name]) if isinstance(row[name], list) else row[name] for name in _FIELDS})
