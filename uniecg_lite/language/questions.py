"""What is asked about an ECG, and what is the true answer? Questions of ECG-QA's kinds, answered by rule.

Fields, question types and attribute types are those of ECG-QA (Oh et al. 2023, arXiv 2306.15681); templates, in
`data/questions.json`, are our own, and so are most words. What can be asked, and what is true, is in `question_facts`.
"""

import json
import random
import re
import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from pydantic import TypeAdapter, ValidationError

from ..errors import BadRequest, refused, require
from ..findings import Reading, table
from . import question_facts as known
from .question_facts import ALWAYS, TOPICS, Fact, Facts

NONE = "none"
ANSWER = "Answer: "  # stands between what is seen and what follows from it
ATTRIBUTE_TYPES = ("scp_code", "noise", "stage_of_infarction", "extra_systole", "heart_axis", "numeric_feature")
Kind = str | int | Collection[str | int] | None


@dataclass(frozen=True)
class Question:
    """One question with its true answer; the fields of an ECG-QA row."""

    template_id: int
    question_id: int  # the same for every phrasing of one question
    sample_id: int
    question_type: str
    attribute_type: str
    question: str
    answer: tuple[str, ...]  # () for none
    attribute: tuple[str, ...] | None = None  # what is asked about; None in comparisons
    ecg_id: tuple[int | str, ...] = ()  # one ECG, or two
    evidence: str = ""  # what the ECGs show of what is asked about: "ST elevation: V1, V2"


@dataclass(frozen=True)
class Template:
    """One kind of question: its topic and its phrasings, `seen` in training or `unseen`."""

    template_id: int
    question_type: str
    attribute_type: str
    topic: str
    seen: list[str]
    unseen: list[str]
    relation: str = ""  # of two ECGs: new, gone or both

    @property
    def form(self) -> str:
        """verify, choose or query."""
        return self.question_type.rsplit("-", 1)[1]


TEMPLATES = tuple(Template(**row) for row in table("questions")["templates"])
QUESTION_TYPES = tuple(dict.fromkeys(template.question_type for template in TEMPLATES))


def listed(items: tuple[str, ...]) -> str:
    """Items joined by commas, or "none"."""
    return ", ".join(items) or NONE


def full_answer(question: Question) -> str:
    """The answer as the model learns to write it: what it sees, then what follows.

    "V2? ST elevation: V1, V2. Answer: yes". Words that lead to an answer help a language model to find it: Wei et al.,
    "Chain-of-thought prompting", arXiv 2201.11903. Where what is seen is what was asked for, nothing follows.
    """
    answer, evidence = listed(question.answer), question.evidence
    if question.question_type.endswith("query") and ";" not in evidence and evidence.endswith(f": {answer}"):
        return evidence
    return f"{evidence}. {ANSWER}{answer}" if evidence else answer


def parse_answer(text: str) -> frozenset[str]:
    """An answer in words, evidence before a colon or not -> its items, in small letters.

    {"none"} for none, and no item at all for an empty text.
    """
    items = (" ".join(part.split()).strip(" .").lower() for part in text.rpartition(": ")[2].split(","))
    return frozenset(item for item in items if item)


# ---- one question ---------------------------------------------------------------------------------------------------
Pool = tuple[Facts, Collection[Fact], Collection[Fact]]  # what is known; what is true and what is false, to ask for


def _fill(form: str, pool: Pool, wanted: bool, rng: random.Random) -> tuple[dict[str, str], tuple[str, ...]] | None:
    """What fills the braces of a template, and the answer; None when there is nothing to ask.

    What is said is drawn first, so that frequent words do not crowd out rare ones.
    """
    facts, there, foils = pool
    mentioned = {f[0] for f in facts.true} if form == "query" else ()
    candidates = there if wanted else [f for f in foils if f[0] not in mentioned]
    if not candidates:
        return None
    stated = rng.choice(list(dict.fromkeys(f[1] for f in candidates)))
    one = about, _ = rng.choice([f for f in candidates if f[1] == stated])
    alike = [f for f in facts.possible if f[0] == about]
    if form == "verify":
        return {"0": about, "1": stated}, ("yes" if wanted else "no",)
    if form == "query":
        every = ", ".join(f[1] for f in alike)
        return {"0": about, "1": "", "all": every}, tuple(f[1] for f in alike if f in facts.true)
    others = [f for f in alike if f != one and (wanted or f not in facts.true)]
    wrong = [f for f in others if f in foils]
    others = wrong if wrong and rng.random() < 0.85 else others  # now and then both are there
    if not others:
        return None
    pair = [one, rng.choice(others)]
    rng.shuffle(pair)
    return {"0": about, "1": "", "a": pair[0][1], "b": pair[1][1]}, tuple(f[1] for f in facts.true if f in pair)


def _write(template: Template, stated: dict, answer: tuple[str, ...], rng, split: str, looked_at) -> Question:
    names = dict(zip(TOPICS[template.topic][0], (stated["0"], stated["1"])))
    text = rng.choice(getattr(template, split)).format(**stated, **names)
    asked = tuple(stated[key] for key in ("0", "1", "a", "b") if stated.get(key))
    same = "/".join((str(template.template_id), stated.get("all", ""), *sorted(asked)))
    return Question(
        template.template_id,
        zlib.crc32(same.encode()),
        0,
        template.question_type,
        template.attribute_type,
        text[0].upper() + text[1:],
        answer,
        asked if template.question_type.startswith("single") else None,
        evidence=_evidence(template, stated, looked_at),
    )


def _evidence(template: Template, stated: dict[str, str], looked_at: tuple[Reading, ...]) -> str:
    """`Q waves: V1, V2`, or of two ECGs `new findings: long QT`.

    What is to be verified or chosen is said first, so that what follows is compared with its neighbours: `V3? Q waves:
    V1, V2`. A finding is looked for among its own group: `long QT? repolarisation: none`.
    """
    topic, about, verify = template.topic, stated["0"], template.form == "verify"
    if verify and topic == "any_finding":
        topic, about = "among", known.GROUP_OF[stated["1"]]
    choices = tuple(stated[key] for key in "ab" if key in stated)
    if len(looked_at) == 2:
        seen = (known.side_by_side(topic, template.relation, about, stated["1"], *looked_at),)
        if any(r.unknown for r in looked_at) and not seen[0][1]:  # none is known: are all?
            seen = seen if about not in known.compared(topic, template.relation, *looked_at).partial else ()
    else:
        seen = known.shown(topic, about, choices, looked_at[0])
    if not seen:
        return ""
    asked = stated["1"] if verify else " or ".join(choices) if len(seen) == 1 else ""
    return (f"{asked}? " if asked else "") + "; ".join(f"{about}: {listed(items)}" for about, items in seen)


def matching(kind: Kind = None, start: str = "") -> list[Template]:
    """The templates of a kind whose question type begins so.

    Raises:
        BadRequest: there is none.
    """
    kinds = {kind} if isinstance(kind, str | int) else set(kind or ())
    found = [
        t
        for t in TEMPLATES
        if t.question_type.startswith(start)
        and (not kinds or kinds & {t.template_id, t.question_type, t.attribute_type, t.topic})
    ]
    refused = f"No question of kind {kind!r} is asked about such ECGs: data/questions.json has the kinds."
    require(found, refused, BadRequest)
    return found


def _pool(template: Template, looked_at: tuple[Reading, ...], other: Reading | None, wanted, loose: bool) -> Pool:
    topic = TOPICS[template.topic][1]
    if len(looked_at) == 1:
        own = topic(*looked_at)
        if other is None or loose:
            return own, own.true, own.false if own.true or loose or wanted is False else ()
        elsewhere = topic(other)
        ruled_out = [f for f in elsewhere.true if f in own.false]
        return own, [f for f in own.true if f in elsewhere.false], ruled_out
    facts = known.compared(template.topic, template.relation, *looked_at)
    either = {f for reading in looked_at for f in topic(reading).true}
    foils = [f for f in facts.false if f in either or template.topic in ALWAYS]
    if template.form == "query" or loose:
        foils = foils or facts.false
    elif wanted is None and not (facts.true and foils):
        return Facts(), (), ()  # either answer must be possible, or one of them would be the rule
    return facts, facts.true, foils


def ask(
    looked_at: tuple[Reading, ...],
    rng: random.Random,
    split: str = "seen",
    kind: Kind = None,
    wanted: bool | None = None,
    other: Reading | None = None,
    same_patient: bool = True,
) -> Question:
    """One question about an ECG, or about two: of one patient, the second later than the first, or of two patients.

    What is asked about two and not so is true of one of them, if there is such a thing.

    Args:
        looked_at: what is true about the ECG, or about each of the two.
        rng: the only source of chance.
        split: phrasings `seen` in training or `unseen`.
        kind: a question type, an attribute type, a topic or a template_id, or several of them; None for all.
        wanted: True to ask for something that is there, False for something that is not; None for either.
        other: another patient. Asked about one ECG is then what is true of one of the two alone: over many pairs a
            question is answered yes as often as no, and how rare a finding is does not give the answer away.
        same_patient: are both ECGs of one patient?

    Raises:
        BadRequest: no such kind, or nothing of this kind can be asked about this ECG.
    """
    compared = "comparison_consecutive" if same_patient else "comparison_irrelevant"
    templates = matching(kind, "single" if len(looked_at) == 1 else compared)
    order = rng.sample(templates, len(templates))
    coin = rng.random() < 0.5  # decided first: is something asked for that is there?
    passes = [(coin, False), (True, False), (False, False), (False, True), (True, True)]  # (there, loose)
    passes = passes if wanted is None else [(wanted, False)]
    for i, (there, loose) in enumerate(passes):
        for template in order:
            some = wanted is None and i == 0 and template.form != "verify" and rng.random() < 0.5
            pool = _pool(template, looked_at, other, wanted, loose)
            filled = _fill(template.form, pool, there or some, rng)
            named = template.form != "query" or "{all}" in template.seen[0]
            if filled and (named or filled[0]["0"] not in pool[0].partial):
                return _write(template, *filled, rng, split, looked_at)
    raise BadRequest("Nothing of this kind can be asked about this ECG: choose another kind, or another ECG.")


def words() -> list[str]:
    """Texts that hold every word of questions and answers (findings are named in reports)."""
    lists = (known.SIGNS, known.NOISES, known.SIDES, known.AXES, known.CHANGES, dict.fromkeys(known.GROUP_OF.values()))
    about = ("findings", "features", "rhythm", "ECG", "axis", "noise")
    return [
        *(text for template in TEMPLATES for text in template.seen),
        *(one for some in lists for one in some),
        *("acute", "old", "yes", "no", NONE),
        *(f"yes? {r} {one}: 1 bpm to 1 ms; none. {ANSWER}" for r in known.RELATIONS.values() for one in about),
        *("heart rate", "PR interval", "QRS duration", "QTc interval (women)", "QTc interval (men)"),
    ]


# ---- published ones -------------------------------------------------------------------------------------------------
def _rows_of(path: str | Path) -> list[dict]:
    """The rows of a JSON file, a list, or of JSON lines; refuses (BadRequest) what is neither."""
    text = Path(path).read_text(encoding="utf-8")
    with refused(f"{path} is not a list in JSON, nor JSON lines ({{reason}}): fetch it again.", BadRequest, ValueError):
        return json.loads(text) if text.lstrip().startswith("[") else [json.loads(x) for x in text.splitlines() if x]


def ecg_qa(path: str | Path, rows: Mapping[str, int]) -> list[Question]:
    """Questions of an ECG-QA file, as published, whose ECGs are all here; `ecg_id` becomes their rows.

    Args:
        path: a file of `ecgqa/ptbxl/paraphrased/...`, or of the MIMIC-IV-ECG version; JSON, or JSON lines.
        rows: name of a record, PTB-XL's `ecg_id` or a `study_id`, -> its row.

    Raises:
        BadRequest: the file is another.
    """
    other = f"{path} holds no questions with the fields of ECG-QA: choose another file."
    with refused(other, BadRequest, ValidationError):
        found = TypeAdapter(list[Question]).validate_python(_rows_of(path))
    here = [(q, [rows.get(str(one)) for one in q.ecg_id]) for q in found]
    answers = [tuple(one for one in q.answer if one != NONE) for q, _ in here]
    return [replace(q, ecg_id=(*at,), answer=a) for (q, at), a in zip(here, answers) if at and None not in at]


def ecg_grounding(path: str | Path, rows: Mapping[str, int]) -> list[tuple[int, str | tuple[str, ...], str]]:
    """Conversations of an ECG-Grounding or ECGInstruct file about ECGs here, turn by turn: (row, prompt, answer).

    A prompt with a past is a tuple: prompt, answer, prompt. `rows` is as in `ecg_qa`.

    Raises:
        BadRequest: the file is another.
    """
    out: list = []
    sentence = f"{path} holds no conversations of ECG-Grounding (no {{reason}}): choose another file."
    with refused(sentence, BadRequest, (KeyError, TypeError, AttributeError)):
        for row in _rows_of(path):
            name = re.sub(r"_[hl]r$", "", PurePosixPath(row.get("ecg") or row["ecg_path"]).name)  # 00032_hr of PTB-XL
            turns = [re.sub(r"<(?:image|ecg)>\s*", "", turn["value"]).strip() for turn in row["conversations"]]
            at = rows.get(name, rows.get(name.lstrip("0")))
            pairs = range(0, len(turns) - 1, 2) if at is not None else ()
            out += [(at, turns[0] if k == 0 else (*turns[: k + 1],), turns[k + 1]) for k in pairs]
    return out
