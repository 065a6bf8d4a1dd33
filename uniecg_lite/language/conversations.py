"""What does the language model learn from? Notes, reports, requests and questions about a cohort.

Prompts and answers are drawn from the facts of training patients; no ECG is needed here. Notes are what a reader would
write down, fact by fact, before any question is asked: a language model learns to answer from them, and later the
tokens of an ECG take their place.
"""

import contextlib
import math
import random
from dataclasses import replace
from itertools import combinations, product

import torch

from ..errors import BadRequest
from ..findings import CODES, LEAD_SIGNS, NAMES, NUMBERS, Reading, grouped, on_paper, readings, report
from .question_facts import ALWAYS, NOISES, SIGNS
from .questions import Kind, Question, Template, ask, full_answer, listed, matching, words
from .requests import NO_ECG, Request, fill, phrasings, questions

GROUPS = grouped("token")  # findings that are noted together
IN_LEADS = (*LEAD_SIGNS, *(key for key, _ in NOISES.values()))  # facts that each lead has or has not
NOTED = (*NUMBERS, *GROUPS, *IN_LEADS)  # what is noted, in this order
TITLES = {  # what it is called
    "rate_bpm": "heart rate",
    "pr_ms": "PR interval",
    "qrs_ms": "QRS duration",
    "qt_ms": "QT",
    "qtc_ms": "QTc interval",
    "axis_deg": "axis",
    **{name: name for name in GROUPS},
    **{key: sign for sign, (key, _) in {**SIGNS, **NOISES}.items()},
}


def items(name: str, r: Reading) -> tuple[str, ...]:
    """What a reading says of one of `NOTED`: a number as on paper, findings or leads; none where there is none."""
    if name in NUMBERS:
        value = getattr(r, name)
        return () if math.isnan(value) else (str(on_paper(value, 1 if name == "rate_bpm" else 10)),)
    return tuple(NAMES[code] for code in GROUPS[name] if code in r.findings) if name in GROUPS else getattr(r, name)


def notes(r: Reading, which: str = "") -> str:
    """`heart rate 94; PR interval 160; ...; static noise none.`

    Args:
        r: one ECG.
        which: said before each fact where there are more ECGs than one: `first` or `second`.
    """
    stated = (f"{which} {TITLES[name]} {listed(items(name, r))}".strip() for name in NOTED)
    return f"{'; '.join(stated)}."


WANTED = "Wanted: "  # how a language model without [ECG] tokens begins its answer to a wish for an ECG
TEXT_MIX = {"generate": 0.40, "restate": 0.30, "report": 0.12, "question": 0.10, "no_ecg": 0.08}
TRIES = 60  # ECGs looked at for one that a question fits


class Corpus:
    """Readings and requests of a cohort, and conversations about them.

    Args:
        truth: the simulator's truth of B records.
        patients: B names; records of one patient can then be compared with each other, in this order.
    """

    def __init__(self, truth: dict[str, torch.Tensor], patients: list[str] | None = None):
        self.readings = readings(truth)
        self.patients = list(patients or range(len(self.readings)))
        self.pairs = _pairs(self.patients)
        self.carriers = {c: [row for row, r in enumerate(self.readings) if c in r.findings] for c in CODES}
        self.requests = [_request(r) for r in self.readings]
        self.reports = [report(r) for r in self.readings]
        self.terms = questions()

    def sample(self, kind: str, row: int, rng: random.Random, split: str = "seen") -> tuple[str, str]:
        """One (prompt, answer) about a row.

        kind: `interpret` (answer: the report), `generate` and `restate` (answer: the request in canonical words),
        `report` (a report that would fit a request), `question` (a definition), `no_ecg` (nothing was attached), `ask`
        (a question about the ECG).
        """
        if kind == "ask" or (kind == "no_ecg" and rng.random() < 0.4):
            asked = self.ask((row,), rng, split)
            return asked.question, full_answer(asked) if kind == "ask" else NO_ECG
        if kind in ("interpret", "no_ecg"):
            return rng.choice(phrasings("interpret", split)), self.reports[row] if kind == "interpret" else NO_ECG
        if kind == "question":
            term, answer = rng.choice(self.terms)
            return rng.choice(phrasings("question", split)).format(term=term), answer
        request = self.requests[row].with_fewer_facts(rng)
        if kind == "report":
            return fill("Write the report of {who} with {what}, {rate}.", request, rng), self.reports[row]
        return fill(rng.choice(phrasings(kind, split)), request, rng), request.text()

    def ask(self, rows: tuple[int, ...], rng: random.Random, split: str = "seen", *how) -> Question:
        """A question about one ECG or two; ecg_id holds their rows. `how`: kind and wanted, as in `questions.ask`."""
        looked_at, same = tuple(self.readings[row] for row in rows), len({self.patients[row] for row in rows}) == 1
        other = self.readings[rng.randrange(len(self.readings))] if len(rows) == 1 else None
        return replace(ask(looked_at, rng, split, *how, other=other, same_patient=same), ecg_id=rows)

    def asked(self, rng: random.Random, split: str = "seen", kind: Kind = None) -> Question:
        """A question about one ECG or two of this corpus; ecg_id holds their rows.

        Template and answer (yes or no, something or none) are drawn first and then an ECG that fits, so that all
        templates are asked equally often and "yes" is as frequent as "no".

        Raises:
            BadRequest: no such kind, or no ECG fits.
        """
        fitting = [t for t in matching(kind) if self.pairs or "consecutive" not in t.question_type]
        for template in rng.sample(fitting, len(fitting)):
            some = rng.random() < (0.5 if template.form == "verify" else 0.75)
            first = some or (template.form == "query" and template.topic in ALWAYS)
            for wanted, _ in product((first, not some), range(TRIES)):
                with contextlib.suppress(BadRequest):
                    return self._try(template, rng, split, wanted)
        raise BadRequest(f"No ECG here fits a question of kind {kind!r}: give more ECGs, or another kind.")

    def more(self, asked: Question, n: int, rng: random.Random, split: str = "seen") -> list[Question]:
        """Up to n more questions about the ECGs of one; of two ECGs some may allow none."""
        out = []
        for _ in range(n):
            with contextlib.suppress(BadRequest):
                out.append(self.ask(asked.ecg_id, rng, split))
        return out

    def noted(self, asked: Question) -> str:
        """The notes of the ECGs that are asked about; the facts of two say to which one they belong."""
        order = ("first", "second") if len(asked.ecg_id) > 1 else ("",)
        return " ".join(notes(self.readings[row], which) for row, which in zip(asked.ecg_id, order))

    def _try(self, template: Template, rng: random.Random, split: str, wanted: bool) -> Question:
        """Such a question about an ECG or two drawn from all; BadRequest when they do not fit: two of one patient."""
        kind, first = template.template_id, rng.randrange(len(self.readings))
        if template.question_type.startswith("single"):
            return self.ask((first,), rng, split, kind, wanted)
        second = rng.randrange(len(self.readings))
        if "consecutive" in template.question_type:
            first, second = rng.choice(self.pairs)
        elif wanted and self.readings[first].findings:  # two that share something, be it rare
            second = rng.choice(self.carriers[rng.choice(sorted(self.readings[first].findings))])
        return self.ask((first, second), rng, split, kind, wanted)

    def dialogue(self, rows, rng: random.Random, mix: dict[str, float] = TEXT_MIX) -> list[tuple[str, str, str]]:
        """One conversation per row, of a kind drawn from a mix: (kind, prompt, answer)."""
        kinds = rng.choices(list(mix), list(mix.values()), k=len(rows))
        return [(kind, *self.sample(kind, int(row), rng)) for kind, row in zip(kinds, rows)]

    def sentences(self, rng: random.Random, n: int = 3000) -> list[str]:
        """Texts that show every word of the chain, for the tokenizer."""
        rows = [rng.randrange(len(self.reports)) for _ in range(n)]
        return [
            *(part for _, *pair in self.dialogue(rows, rng) for part in pair),
            *[WANTED] * 10,
            *(t.format(term=term) for term, _ in self.terms for t in phrasings("question", "seen")),
            *phrasings("interpret", "seen"),
            *words(),
            *self.reports[:n],
            *(notes(r) for r in self.readings[: n // 10]),
        ]


def _request(r: Reading) -> Request:
    """All that could be asked for of this ECG; intervals and axis in tens, as reports tell them."""
    measured = {"pr": r.pr_ms, "qrs": r.qrs_ms, "qt": r.qt_ms, "axis": r.axis_deg}
    predicted = {key: on_paper(value) for key, value in measured.items() if not math.isnan(value)}
    return Request(int(r.age), r.sex, round(r.rate_bpm), tuple(c for c in CODES if c in r.findings), **predicted)


def _pairs(patients: list) -> list[tuple[int, int]]:
    """Rows of one patient, two by two, the earlier first."""
    rows: dict = {}
    for row, name in enumerate(patients):
        rows.setdefault(name, []).append(row)
    return [pair for own in rows.values() for pair in combinations(own, 2)]
