"""Questions as others publish them: ECG-QA (Oh et al. 2023, arXiv 2306.15681), read from JSON, checked row by row.

None of their data is part of this project. Rows keep the published field names; a row that is not as published is
refused, never mended.
"""

import json
from pathlib import Path

from ..errors import BadArtifact, BadRequest, refused, require
from .questions import ATTRIBUTE_TYPES, QUESTION_TYPES, Question

_TYPES = {"question_type": QUESTION_TYPES, "attribute_type": ATTRIBUTE_TYPES}
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
    with refused(f"{file} is no JSON text ({{reason}}): get it again.", BadArtifact):
        rows = json.loads(file.read_text(encoding="utf-8"))
    require(isinstance(rows, list), f"{file} holds no list of rows: give the published file as it is.", BadArtifact)
    return rows


def _question(row: dict, where: str) -> Question:
    fields = isinstance(row, dict)
    require(fields, f"{where} is no object with fields: give the published file as it is.", BadArtifact)
    for name, (kind, wanted) in _FIELDS.items():
        require(name in row, f"{where} has no '{name}': give the published file as it is.", BadArtifact)
        value = [] if name == "attribute" and row[name] is None else row[name]  # comparisons have none
        if type(value) is not kind:
            raise BadArtifact(f"{where}: '{name}' is {value!r:.60}, not {wanted}: give the published file as it is.")
        if any(type(item) not in _ITEMS[name] for item in (value if kind is list else ())):
            raise BadArtifact(f"{where}: '{name}' is {value!r:.60}, which holds something else than it should.")
        if value not in _TYPES.get(name, (value,)):
            raise BadArtifact(f"{where}: '{name}' is {value!r:.60}, not one of {', '.join(_TYPES[name])}.")
    answer, ecgs, asked = row["answer"], row["ecg_id"], row["question_type"]
    if len(answer) > 1 and all(len(item) <= 1 for item in answer):
        raise BadArtifact(
            f"{where}: the answer was taken apart into its letters ({', '.join(answer):.40}): join them, or get the "
            f"file again."
        )
    count = 1 if asked.startswith("single") else 2
    require(len(ecgs) == count, f"{where}: a {asked} question needs {count} ecg_id, not {len(ecgs)}.", BadArtifact)
    return Question(**{name: tuple(row[name]) if isinstance(row[name], list) else row[name] for name in _FIELDS})
