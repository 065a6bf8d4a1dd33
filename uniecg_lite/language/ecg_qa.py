"""Questions and instructions as others publish them: ECG-QA and ECG-Grounding, read from JSON and checked row by row.

ECG-QA: Oh et al. 2023, arXiv 2306.15681. ECG-Grounding: Lan et al. 2025 (GEM), arXiv 2503.06073. None of their data is
part of this project. Rows keep the published field names; a row that is not as published is refused, never mended.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import BadArtifact, BadRequest
from .questions import ATTRIBUTE_TYPES, QUESTION_TYPES, Question

_NAMES = {str: "text", int: "a whole number", list: "a list", dict: "an object"}


@dataclass(frozen=True)
class GroundingRow:
    """One instruction of ECG-Grounding: what is asked about an ECG and the explanation that answers it."""

    id: str
    ecg: str  # path of a WFDB record, without an ending
    image: str  # path of the page as an image
    conversations: tuple[tuple[str, str], ...]  # (human or gpt, words) in turn
    machine_measurements: str | dict | list  # what was measured, as published: its layout differs by source
    report: str

    @property
    def prompt(self) -> str:
        """What is asked first, without the placeholder of the image."""
        return self.conversations[0][1].replace("<image>", "").strip()

    @property
    def answer(self) -> str:
        """The explanation."""
        return self.conversations[1][1].strip()


def ecg_qa(path: str | Path) -> list[Question]:
    """Rows of ECG-QA, from one JSON file or from every JSON file under a folder, in the order of their names.

    Args:
        path: such as `ecgqa/ptbxl/paraphrased/test`.

    Raises:
        BadRequest: nothing is there.
        BadArtifact: a file is no JSON list of rows, a field is missing or of a wrong type, a question or attribute type
            is not one of ECG-QA's, or an answer was taken apart into its letters.
    """
    return [_question(row, where) for row, where in _rows(path)]


def ecg_grounding(path: str | Path) -> list[GroundingRow]:
    """Rows of ECG-Grounding, from one JSON file or from every JSON file under a folder.

    Raises:
        BadRequest, BadArtifact: as `ecg_qa`.
    """
    return [_grounding(row, where) for row, where in _rows(path)]


def _rows(path: str | Path) -> Iterator[tuple[dict, str]]:
    """Each row with the words that say where it stands."""
    path = Path(path)
    files = sorted(path.rglob("*.json")) if path.is_dir() else [path] if path.is_file() else []
    if not files:
        raise BadRequest(f"There is no JSON file at {path}: give a file, or a folder that holds some.")
    for file in files:
        try:
            rows = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as reason:
            raise BadArtifact(f"{file} is no JSON text ({reason}): get it again.") from None
        if not isinstance(rows, list):
            raise BadArtifact(f"{file} holds no list of rows: give the published file as it is.")
        for i, row in enumerate(rows):
            where = f"{file}, row {i}"
            if not isinstance(row, dict):
                raise BadArtifact(f"{where} is no object with fields: give the published file as it is.")
            yield row, where


def _field(row: dict, name: str, kinds: type | tuple[type, ...], where: str):
    kinds = kinds if isinstance(kinds, tuple) else (kinds,)
    if name not in row:
        raise BadArtifact(f"{where} has no '{name}': give the published file as it is.")
    if not isinstance(row[name], kinds) or isinstance(row[name], bool):
        wanted = " or ".join(_NAMES[kind] for kind in kinds)
        raise BadArtifact(f"{where}: '{name}' is {row[name]!r:.60}, not {wanted}: give the published file as it is.")
    return row[name]


def _items(row: dict, name: str, kinds: type | tuple[type, ...], where: str) -> tuple:
    items = _field(row, name, list, where)
    if any(not isinstance(item, kinds) or isinstance(item, bool) for item in items):
        raise BadArtifact(f"{where}: '{name}' is {items!r:.60}, which holds something else than it should.")
    return tuple(items)


def _question(row: dict, where: str) -> Question:
    answer = _items(row, "answer", str, where)
    if len(answer) > 1 and all(len(item) <= 1 for item in answer):
        raise BadArtifact(
            f"{where}: the answer was taken apart into its letters ({', '.join(answer):.40}): join them, or get the "
            f"file again."
        )
    ecgs = _items(row, "ecg_id", (int, str), where)
    question_type, attribute_type = (_field(row, key, str, where) for key in ("question_type", "attribute_type"))
    for name, value, known in (
        ("question_type", question_type, QUESTION_TYPES),
        ("attribute_type", attribute_type, ATTRIBUTE_TYPES),
    ):
        if value not in known:
            raise BadArtifact(f"{where}: '{name}' is {value!r:.60}, not one of {', '.join(known)}.")
    wanted = 1 if question_type.startswith("single") else 2
    if len(ecgs) != wanted:
        raise BadArtifact(f"{where}: a {question_type} question needs {wanted} ecg_id, not {len(ecgs)}.")
    if "attribute" not in row:
        raise BadArtifact(f"{where} has no 'attribute': give the published file as it is.")
    return Question(
        *(_field(row, key, int, where) for key in ("template_id", "question_id", "sample_id")),
        question_type,
        attribute_type,
        _field(row, "question", str, where),
        answer,
        None if row["attribute"] is None else _items(row, "attribute", str, where),
        ecgs,
    )


def _grounding(row: dict, where: str) -> GroundingRow:
    turns = []
    for i, turn in enumerate(_items(row, "conversations", dict, where)):
        speaker, words = (_field(turn, key, str, f"{where}, turn {i}") for key in ("from", "value"))
        if speaker != ("human", "gpt")[i % 2]:
            raise BadArtifact(f"{where}, turn {i} is spoken by {speaker!r:.40}: human and gpt take turns.")
        turns.append((speaker, words))
    if len(turns) < 2:
        raise BadArtifact(f"{where}: the conversation has no answer: human asks, gpt answers.")
    return GroundingRow(
        str(_field(row, "id", (str, int), where)),
        *(_field(row, key, str, where) for key in ("ecg", "image")),
        tuple(turns),
        _field(row, "machine_measurements", (str, dict, list), where),
        _field(row, "report", str, where),
    )
