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
        age, rate, sex = (re.search(p, text) for p in (r"Age (\d+)", r"Rate (\d+)", r"Sex (female|male)"))
        measured = {key: re.search(rf"\b{name} (-?\d+)\.", text) for key, name in MEASURES.items()}
        stated = re.search(r"Findings: ([^.]*)\.", text)
        names = {part.strip() for part in stated.group(1).split(",")} if stated else set()
        return Request(
            int(age[1]) if age else None,
            sex[1] if sex else None,
            int(rate[1]) if rate else None,
            tuple(code for code in CODES if NAMES[code] in names),
            **{key: int(found[1]) for key, found in measured.items() if found},
        )

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
    who, age, sex = PROMPTS["who"], request.age, request.sex
    if age is not None:
        person = rng.choice(who[sex] if sex else who["age_only"]).format(age=age)
    else:
        person = rng.choice(who[f"{sex}_only"] if sex else who["nobody"])
    rate = rng.choice(PROMPTS["rate"]).format(rate=request.rate) if request.rate else rng.choice(PROMPTS["any_rate"])
    rate = ", ".join([rate, *(rng.choice(PROMPTS[k]).format(value=getattr(request, k)) for k in request.measures)])
    names = [rng.choice(PROMPTS["synonyms"][code]) for code in request.findings]
    what = ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else names[0] if names else "anything"
    text = template.format(who=person, what=what, rate=rate)
    return text[0].upper() + text[1:]


def questions() -> list[tuple[str, str]]:
    """Terms and what they mean: (term, answer), from the findings table and the normal ranges."""
    pairs = [
        (rng_name, CRITERIA[code]) for code in CODES for rng_name in {NAMES[code], *PROMPTS["synonyms"][code][-1:]}
    ]
    for row in RANGES.values():
        pairs.append(
            (f"the normal {row['name']}", f"The normal {row['name']} is {row['low']} to {row['high']} {row['unit']}.")
        )
    return sorted(pairs)
