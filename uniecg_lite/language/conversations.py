"""What does the language model learn from? Notes, reports, requests and questions about a cohort.

Prompts and answers are drawn from the facts of training patients; no ECG is needed here. Notes are what a reader would
write down, fact by fact, before any question is asked: a language model learns to answer from them, and later the
tokens of an ECG take their place.
"""

import contextlib
import math
import random
import re
from dataclasses import replace
from itertools import combinations, product

import torch

from ..errors import BadRequest
from ..findings import CODES, EVIDENCE, LEAD_SIGNS, NAMES, NUMBERS, Reading, on_paper, readings, report
from .question_facts import ALWAYS, NOISES, SIGNS
from .questions import Kind, Question, Template, ask, full_answer, listed, matching, words
from .requests import FORM, GROUPS, NO_ECG, PROMPTS, SYNONYMS, Request, phrasings, questions
from .tokenizer import uncased
from .wording import fill, number, typed, usual

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
    """`heart rate 94; PR interval 160; ...; static noise none.`, but for what is unknown.

    Args:
        r: one ECG.
        which: said before each fact where there are more ECGs than one: `first` or `second`.
    """
    left_out = {name for name in NOTED if r.unknown.intersection((name, *GROUPS.get(name, ()))) and not items(name, r)}
    stated = (f"{which} {TITLES[name]} {listed(items(name, r))}".strip() for name in NOTED if name not in left_out)
    return f"{'; '.join(stated)}."


WANTED = "Wanted: "  # how an ECG that was made is told in a conversation
READING = {"interpret": 0.5, "interpret_about": 0.2, "denied": 0.2, "upload": 0.1}  # tasks that a report answers
WISHES = {"generate": 0.2, "parts": 0.5, "attached": 0.1, "two": 0.1, "remake": 0.1}  # how an ECG is wished for
OTHER = {"general": 0.5, "about_making": 0.25, "small_talk": 0.1, "language": 0.15}  # answered by their own sentence
TEXT_MIX = {"wish": 0.545, "restate": 0.04, "report": 0.02, "question": 0.1, "no_ecg": 0.09, "meaning": 0.03}
TEXT_MIX |= {"other": 0.15, "impossible": 0.025}
ABSURD = [{"rate": bpm} for bpm in (0, 350, 400, 500, 600, 700, 900, 1000, 2000)]  # what no heart has
ABSURD += [{"age": years} for years in (150, 180, 250, 340, 400, 900)]
ABSURD += [{key: ms} for key in ("pr", "qrs", "qt") for ms in (0, 1000, 1500, 3000)]
LEADS_SHOWN = re.compile(r"(?:Q waves|ST elevation|ST depression|T inverted|T tall) in [^.]*\.")
TRIES = 60  # ECGs looked at for one that a question fits


class Corpus:
    """Readings and requests of a cohort, and conversations about them.

    Args:
        truth: of B records; what is unknown of real ones (see `known`) is neither asked nor told.
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

    def sample(self, kind: str, row: int, rng: random.Random, split: str = "seen") -> tuple[str | tuple[str, ...], str]:
        """One (prompt, answer) about a row, as people type.

        kind: `interpret` (answer: the report), `wish` and `restate` (answer: the request in canonical words), `report`
        (a report that would fit a request), `question` (a definition), `meaning` (what a common word means), `no_ecg`
        (nothing was attached), `ask` (a question about the ECG), `impossible` (a wish that no heart meets), `other`
        (one of `OTHER`), `follow` (a question about the report before it); one of `WISHES` stands for itself. A prompt
        with a past is a tuple: prompt, answer, prompt.
        """
        if kind == "ask" or (kind == "no_ecg" and rng.random() < 0.3):
            asked = self.ask((row,), rng, split)
            return asked.question, full_answer(asked) if kind == "ask" else NO_ECG
        if not self.requests[row].findings and kind not in ("interpret", "no_ecg", "follow"):  # nothing to wish for
            row = rng.choice([other for other, request in enumerate(self.requests) if request.findings])
        prompt, answer = getattr(self, f"_{kind}", self._wish)(kind, row, rng, split)
        *past, last = (prompt,) if isinstance(prompt, str) else prompt
        return (*past, typed(last, rng)) if past else typed(last, rng), answer

    def _interpret(self, kind: str, row: int, rng: random.Random, split: str) -> tuple[str, str]:
        template = rng.choice(phrasings(rng.choices(*zip(*READING.items()))[0], split))
        return template.format(term=rng.choice(self.terms)[0]), NO_ECG if kind == "no_ecg" else self.reports[row]

    def _question(self, kind: str, row: int, rng: random.Random, split: str) -> tuple[str, str]:
        term, answer = rng.choice(self.terms if kind == "question" else phrasings("english", split))
        return rng.choice(phrasings(kind, split)).format(term=term), answer

    _no_ecg, _meaning = _interpret, _question

    def _other(self, kind: str, row: int, rng: random.Random, split: str) -> tuple[str, str]:
        task, answers = rng.choices(*zip(*OTHER.items()))[0], PROMPTS["answers"]
        phrasing = rng.choice(phrasings(task, split))
        prompt, answer = (phrasing, task) if isinstance(phrasing, str) else phrasing
        return prompt.replace("{term}", rng.choice(self.terms)[0]), answers.get(answer, answer)

    def _report(self, kind: str, row: int, rng: random.Random, split: str) -> tuple[str, str]:
        person = "Write the report of {who} with {what}"
        template, request = self._fitting([f"{person}, {{rate}}.", f"{person}."], row, rng)
        return fill(template, request, rng), self.reports[row]

    def _wish(self, kind: str, row: int, rng: random.Random, split: str) -> tuple[str, str]:
        task = rng.choices(*zip(*WISHES.items()))[0] if kind == "wish" else kind
        if task == "remake":
            return self._remake(kind, row, rng, split)
        task = "generate" if task == "restate" and not self.requests[row].rate else task  # restating needs a rate
        template, request = self._fitting(phrasings(task, split), row, rng)
        request = request.unusual(rng)
        other = rng.choice([code for code in CODES if code not in request.findings])
        return fill(template, request, rng, usual(SYNONYMS[other], rng)), request.text()

    def _remake(self, kind: str, row: int, rng: random.Random, split: str) -> tuple[tuple[str, ...], str]:
        template, request = self._fitting(phrasings("generate", split), row, rng)
        request = request.unusual(rng)
        how, code, rate = rng.choice(("same_with", "same_number", "again")), rng.choice(CODES), rng.randrange(35, 180)
        again = {"same_with": request.changed_to(code), "same_number": replace(request, rate=rate)}.get(how, request)
        wording = rng.choice(phrasings(how, split)).format(
            what=usual(SYNONYMS[code], rng), rate=number(usual(PROMPTS["rate"], rng), rate)
        )
        return (typed(fill(template, request, rng), rng), WANTED + request.text(), wording), again.text()

    def _follow(self, kind: str, row: int, rng: random.Random, split: str) -> tuple[tuple[str, ...], str]:
        first, text = self._interpret("interpret", row, rng, split)
        how, name = rng.choice(("why", "leads", "number")), rng.choice(NUMBERS)
        evidence = (re.findall(r"Evidence: .*?\.(?= Conclusion)", text) or [f"Evidence: {EVIDENCE['SR']}."])[0]
        answer = {
            "why": evidence,
            "leads": " ".join(LEADS_SHOWN.findall(text)) or evidence,
            "number": f"{TITLES[name][0].upper()}{TITLES[name][1:]} {listed(items(name, self.readings[row]))}.",
        }[how]
        return (typed(first, rng), text, rng.choice(phrasings(how, split)).format(name=TITLES[name])), answer

    def _impossible(self, kind: str, row: int, rng: random.Random, split: str) -> tuple[str, str]:
        wrong = rng.choice(ABSURD)
        template, request = self._fitting(phrasings(rng.choice(("generate", "parts")), split), row, rng, **wrong)
        return fill(template, request, rng), request.refusal

    def _fitting(self, templates: list[str], row: int, rng: random.Random, **wrong) -> tuple[str, Request]:
        """A template, and a request of this row, or one that is `wrong` on purpose, which fills all of its slots."""
        while True:
            template = rng.choice(templates)
            request = replace(self.requests[row].with_fewer_facts(rng).with_more(rng), **wrong).named_by(template)
            if request and all(getattr(request, key) == value for key, value in wrong.items()):
                return template, request

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
            *(part for _, asked, answer in self.dialogue(rows, rng) for part in (uncased("".join(asked)), answer)),
            *(f" {word}" for word in ("Wanted:", *FORM) * 10),
            *(uncased(t.format(term=term)) for term, _ in self.terms for t in phrasings("question", "seen")[:12]),
            *(uncased(name) for names in SYNONYMS.values() for name in names),
            *words(),
            *map(uncased, words()),
            *self.reports[:n],
            *(uncased(notes(r)) for r in self.readings[: n // 10]),
        ]


def _request(r: Reading) -> Request:
    """All that could be asked for of this ECG; intervals and axis in tens, as reports tell them."""
    measured = {"pr": r.pr_ms, "qrs": r.qrs_ms, "qt": r.qt_ms, "axis": r.axis_deg}
    predicted = {key: on_paper(value) for key, value in measured.items() if not math.isnan(value)}
    age, rate = (None if math.isnan(r.age) else int(r.age), None if math.isnan(r.rate_bpm) else round(r.rate_bpm))
    return Request(age, r.sex or None, rate, tuple(c for c in CODES if c in r.findings), **predicted)


def _pairs(patients: list) -> list[tuple[int, int]]:
    """Rows of one patient, two by two, the earlier first."""
    rows: dict = {}
    for row, name in enumerate(patients):
        rows.setdefault(name, []).append(row)
    return [pair for own in rows.values() for pair in combinations(own, 2)]
