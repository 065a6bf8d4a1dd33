"""What does a user ask? Requests for an ECG and their phrasings, questions about terms, and their answers."""

import random
import re
from dataclasses import dataclass, replace

from ..findings import CODES, CRITERIA, NAMES, RANGES, column, table

PROMPTS = table("prompts") | {key: column(key) for key in ("synonyms", "synonyms_unseen")}
NO_ECG = PROMPTS["no_ecg"]


def phrasings(task: str, split: str) -> list[str]:
    """The phrasings of a task (interpret, generate, restate, question), `seen` in training or `unseen`."""
    return PROMPTS[task][split]


MEASURES = {"pr": "PR", "qrs": "QRS", "qt": "QT", "axis": "Axis"}  # of a request: its field, and its canonical name


@dataclass(frozen=True)
class Request:
    """An ECG that somebody asks for; None means that it is left open. Rate in bpm, PR, QRS and QT in ms, axis in
    degrees."""

    age: int | None = None
    sex: str | None = None
    rate: int | None = None
    findings: tuple[str, ...] = ()
    pr: int | None = None
    qrs: int | None = None
    qt: int | None = None
    axis: int | None = None

    def text(self) -> str:
        """The canonical words: what the condition encoder reads, and what a restatement answers."""
        found = ", ".join(NAMES[code] for code in CODES if code in self.findings)
        return (
            f"Age {'unknown' if self.age is None else self.age}. Sex {self.sex or 'unknown'}. "
            f"Rate {'unknown' if self.rate is None else self.rate}. "
            + "".join(f"{name} {getattr(self, key)}. " for key, name in MEASURES.items() if key in self.measures)
            + f"Findings: {found or 'unknown'}."
        )

    @property
    def measures(self) -> tuple[str, ...]:
        """Which of `MEASURES` it names."""
        return tuple(key for key in MEASURES if getattr(self, key) is not None)

    @staticmethod
    def parse(text: str) -> "Request":
        """Read canonical words back."""
        patterns = {"age": r"Age (\d+)", "rate": r"Rate (\d+)"}
        patterns |= {key: rf"\b{name} (-?\d+)\." for key, name in MEASURES.items()}
        numbers = {key: int(found[1]) for key, pattern in patterns.items() if (found := re.search(pattern, text))}
        sex, stated = re.search(r"Sex (female|male)", text), re.search(r"Findings: ([^.]*)\.", text)
        names = {part.strip() for part in stated[1].split(",")} if stated else set()
        found = tuple(code for code in CODES if NAMES[code] in names)
        return Request(sex=sex[1] if sex else None, findings=found, **numbers)

    def with_fewer_facts(self, rng: random.Random) -> "Request":
        """The same request with some of its parts left open."""
        return replace(
            self.few_measures(rng),
            age=self.age if rng.random() < 0.8 else None,
            sex=self.sex if rng.random() < 0.8 else None,
            rate=self.rate if rng.random() < 0.85 else None,
        )

    def few_measures(self, rng: random.Random) -> "Request":
        """The same request with some of its `MEASURES`, as people ask: half of them name none."""
        share = 0.5 if rng.random() < 0.5 else 0.0
        return replace(self, **{key: None for key in self.measures if rng.random() >= share})


def fill(template: str, request: Request, rng: random.Random) -> str:
    """Say a request in the words of a template, with one of the wordings of each part."""
    age, sex = request.age, request.sex
    known = (sex or "age_only") if age is not None else f"{sex}_only" if sex else "nobody"
    person = rng.choice(PROMPTS["who"][known]).format(age=age)
    rate = rng.choice(PROMPTS["rate" if request.rate else "any_rate"]).format(rate=request.rate)
    rate = ", ".join([rate, *(rng.choice(PROMPTS[k]).format(value=getattr(request, k)) for k in request.measures)])
    names = [rng.choice(PROMPTS["synonyms"][code]) for code in request.findings]
    what = ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else names[0] if names else "anything"
    text = template.format(who=person, what=what, rate=rate)
    return text[0].upper() + text[1:]


def questions() -> list[tuple[str, str]]:
    """Terms and what they mean: (term, answer), from the findings table and the normal ranges."""
    terms = {(term, CRITERIA[code]) for code in CODES for term in (NAMES[code], *PROMPTS["synonyms"][code][-1:])}
    wording = "The normal {name} is {low} to {high} {unit}."
    return sorted(terms | {(f"the normal {row['name']}", wording.format(**row)) for row in RANGES.values()})
