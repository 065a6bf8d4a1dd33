"""What does a user ask? Requests for an ECG and how people word them, questions about terms, and their answers."""

import random
import re
from dataclasses import dataclass, replace
from functools import cache

from ..findings import CODES, CRITERIA, EXPECTED, NAMES, RANGES, RHYTHMS, column, grouped, table
from ..leads import CHEST, LEADS

PROMPTS = table("prompts") | {"english": [(word, f"{text.capitalize()}.") for word, text in table("english")["words"]]}
SYNONYMS = column("synonyms")
NO_ECG, HELD_OUT, TERMS = PROMPTS["no_ecg"], 10, 4  # one phrasing in so many is `unseen`; names that are asked about


@cache
def phrasings(task: str, split: str) -> list:
    """Phrasings of a task or follow-up, `seen` in training or `unseen`; of `english`, words and what they mean."""
    kept, every = {"seen": False, "unseen": True}[split], PROMPTS["follow"].get(task) or PROMPTS[task]
    return [one for place, one in enumerate(every) if (place % HELD_OUT == HELD_OUT - 1) == kept]


MEASURES = {"pr": "PR", "qrs": "QRS", "qt": "QT", "axis": "Axis"}  # of a request: its field, and its canonical name
GROUPS = grouped("token")  # findings that are told together
FORM = ("Age", "Sex", "Rate", *MEASURES.values(), *GROUPS, "Else")  # what a request fills in, each blank by itself
SLOTS = re.compile(r"{(\w+)}")
NOISES, STARTS = tuple(PROMPTS["noise"]), tuple(PROMPTS["start"])
MARKS = tuple(  # what a request has or has not
    (name, value)
    for name, values in {"findings": CODES, "noise": NOISES, "lead": LEADS, "start": STARTS, "st": LEADS}.items()
    for value in values
)
NO_PR = (*column("no_p"), "3AVB")  # no P wave is conducted
POSSIBLE = {name: range(low, high + 1, step) for name, (low, high, step) in table("measures")["possible"].items()}
WISHED = {name: range(low, high + 1) for name, (low, high) in table("measures")["wished"].items()}
MORE, OTHER_NUMBERS, ROUND = 0.25, 0.4, 0.5  # share of wishes with a finding more, of their numbers that are another,
# and of these that are tens
FIXED = {"rate_bpm": "rate", "pr_ms": "pr", "qrs_ms": "qrs"}  # numbers that must go with the findings
UNITS = {"rate": "{} bpm", "pr": "PR {} ms", "qrs": "QRS {} ms", "qt": "QT {} ms", "axis": "axis {} degrees"}


@dataclass(frozen=True)
class Request:
    """An ECG that somebody asks for; None or nothing means that it is left open.

    Rate in bpm, PR, QRS and QT in ms, axis in degrees; `st` are leads with the height of their ST in tenths of a mV,
    `noise` some of `NOISES`, `seconds` how long it is, `lead` the one lead that is wanted alone, and `start` the wave
    of `STARTS` where it begins.
    """

    age: int | None = None
    sex: str | None = None
    rate: int | None = None
    findings: tuple[str, ...] = ()
    pr: int | None = None
    qrs: int | None = None
    qt: int | None = None
    axis: int | None = None
    st: tuple[tuple[str, int], ...] = ()
    noise: tuple[str, ...] = ()
    seconds: int | None = None
    lead: str | None = None
    start: str | None = None

    def text(self) -> str:
        """The canonical words: what the condition encoder reads, and what a restatement answers."""
        found = ", ".join(NAMES[code] for code in CODES if code in self.findings)
        return (
            f"Age {'unknown' if self.age is None else self.age}. Sex {self.sex or 'unknown'}. "
            f"Rate {'unknown' if self.rate is None else self.rate}. "
            + "".join(f"{name} {getattr(self, key)}. " for key, name in MEASURES.items() if key in self.measures)
            + f"{self._rest}Findings: {found or 'unknown'}."
        )

    def filled(self) -> tuple[str, ...]:
        """What stands in each blank of `FORM`."""
        found = (", ".join(NAMES[code] for code in codes if code in self.findings) for codes in GROUPS.values())
        values = (*(getattr(self, key) for key in ("age", "sex", "rate", *MEASURES)), *found, self._rest.strip())
        return tuple("unknown" if value in (None, "") else str(value) for value in values)

    @property
    def _rest(self) -> str:
        parts = [f"ST {lead} {height}. " for lead, height in self.st] + [f"Noise {kind}. " for kind in self.noise]
        return "".join(parts + [f"{name} {value}. " for name, value in self._single.items() if value is not None])

    @property
    def _single(self) -> dict[str, int | str | None]:
        return {"Seconds": self.seconds, "Lead": self.lead, "Start": self.start}

    @property
    def marks(self) -> set[tuple[str, str]]:
        """Which of `MARKS` it has."""
        single = {("lead", self.lead), ("start", self.start)}
        several = {"findings": self.findings, "noise": self.noise, "st": [lead for lead, _ in self.st]}
        found = single | {(name, value) for name, values in several.items() for value in values}
        return found & set(MARKS)

    @property
    def measures(self) -> tuple[str, ...]:
        """Which of `MEASURES` it names."""
        return tuple(key for key in MEASURES if getattr(self, key) is not None)

    def __str__(self) -> str:
        """In words for a person: `63-year-old woman, atrial fibrillation, 120 bpm; left open: PR, QRS, QT, axis`."""
        who = {"female": "woman", "male": "man"}.get(self.sex, "" if self.age is None else "adult")
        person = who if self.age is None else f"{self.age}-year-old {who}"
        numbers = [form.format(getattr(self, key)) for key, form in UNITS.items() if getattr(self, key) is not None]
        named = [person, *(NAMES[code] for code in self.findings), *numbers]
        fields = {"age": self.age, "sex": self.sex, "findings": self.findings or None}
        fields |= {key: getattr(self, key) for key in UNITS}
        left = [key.upper() if key in ("pr", "qrs", "qt") else key for key, value in fields.items() if value is None]
        single = zip(("{} s long", "lead {} alone", "from {} on"), self._single.values())
        more = [f"ST {height / 10:+g} mV in {lead}" for lead, height in self.st]
        more += [PROMPTS["noise"][kind][0] for kind in self.noise] + [form.format(v) for form, v in single if v]
        parts = {"": ", ".join(filter(None, named)), "left open: ": ", ".join(left), "not drawn yet: ": ", ".join(more)}
        return "; ".join(name + words for name, words in parts.items() if words)

    @property
    def refusal(self) -> str | None:
        """Why no heart can be like this, in a sentence; None where one can."""
        values = {key: getattr(self, key) for key in POSSIBLE}
        beyond = {k for k, v in values.items() if v is not None and not POSSIBLE[k][0] <= v <= POSSIBLE[k][-1]}
        clashes = [
            (NAMES[code], UNITS[key].format(value))
            for code in self.findings
            if code not in ("SR", "NORM")
            for name, (low, high) in EXPECTED.get(code, {}).items()
            if (value := values.get(key := FIXED.get(name))) is not None and not low <= value <= high
        ]
        reasons = {key: key in beyond for key in ("rate", "age")} | {
            "interval": beyond & {"pr", "qrs", "qt"},
            "pr": self.pr is not None and set(NO_PR) & set(self.findings),
            "beat": self.rate is not None and max(self.pr or 0, self.qt or 0) * self.rate >= 60_000,
            "clash": clashes,
        }
        sentence = next((PROMPTS["impossible"][reason] for reason, true in reasons.items() if true), None)
        return sentence and sentence.format(*next(iter(clashes), ()))

    @staticmethod
    def parse(text: str) -> "Request":
        """Read canonical words back."""
        patterns = {"age": r"Age (\d+)", "rate": r"Rate (\d+)", "seconds": r"Seconds (\d+)"}
        patterns |= {key: rf"\b{name} (-?\d+)\." for key, name in MEASURES.items()}
        numbers = {key: int(found[1]) for key, pattern in patterns.items() if (found := re.search(pattern, text))}
        sex, stated = re.search(r"Sex (female|male)", text), re.search(r"Findings: ([^.]*)\.", text)
        names = {part.strip() for part in stated[1].split(",")} if stated else set()
        found = tuple(code for code in CODES if NAMES[code] in names)
        st = tuple((lead, int(height)) for lead, height in re.findall(r"\bST (\w+) (-?\d+)\.", text))
        noise = tuple(re.findall(r"Noise (\w+)\.", text))
        single = {key: m[1] for key in ("lead", "start") if (m := re.search(rf"{key.title()} (\w+)\.", text))}
        return Request(sex=sex[1] if sex else None, findings=found, st=st, noise=noise, **numbers, **single)

    def with_fewer_facts(self, rng: random.Random) -> "Request":
        """The same request with some of its parts left open, as people ask: half name no measure, most one or two
        of the findings alone."""
        named = [code for code in self.findings if code != "SR" or rng.random() < 0.3] or self.findings
        kept = rng.sample(named, min(len(named), rng.choice((1, 1, 2, 9))))
        return replace(
            self.few_measures(rng),
            age=self.age if rng.random() < 0.6 else None,
            sex=self.sex if rng.random() < 0.6 else None,
            rate=self.rate if rng.random() < 0.65 else None,
            findings=tuple(code for code in self.findings if code in kept),
        )

    def few_measures(self, rng: random.Random) -> "Request":
        """The same request with some of its `MEASURES`, as people ask: half of them name none."""
        share = 0.5 if rng.random() < 0.5 else 0.0
        return replace(self, **{key: None for key in self.measures if rng.random() >= share})

    def unusual(self, rng: random.Random) -> "Request":
        """The same request, at times with other numbers, many of them round ones, and a finding more, as no patient
        has them: to refuse what cannot be, it must be understood first."""
        more = self.changed_to(rng.choice(CODES)) if self.findings and rng.random() < MORE else self
        named = [key for key in WISHED if getattr(self, key) is not None and rng.random() < OTHER_NUMBERS]
        drawn = {key: rng.choice(WISHED[key]) for key in named}
        return replace(more, **{key: round(n, -1) if rng.random() < ROUND else n for key, n in drawn.items()})

    def with_more(self, rng: random.Random, share: float = 0.05) -> "Request":
        """The same request that sometimes says, too, how high ST is in a lead or in some that look from one side, how
        noisy, how long, one lead alone, or where it begins."""
        side = rng.choice((("II", "III", "aVF"), ("I", "aVL"), ("V5", "V6"), CHEST[:3], CHEST[1:4]))
        leads, height = side if rng.random() < 0.6 else (rng.choice(LEADS),), rng.choice((1, 2, 3, 4, 5, -1, -2, -3))
        drawn = {
            "st": tuple((lead, height) for lead in leads),
            "noise": (rng.choice(NOISES),),
            "seconds": rng.choice((3, 4, 5, 6, 8, 10, 12, 15, 20, 30, 60)),
            "lead": rng.choice(LEADS),
            "start": rng.choice(STARTS),
        }
        return replace(self, **{key: value for key, value in drawn.items() if rng.random() < share})

    def changed_to(self, code: str) -> "Request":
        """The same request with a finding more; a rhythm takes the place of another, and nothing is beside normal."""
        gone = set(RHYTHMS) if code in RHYTHMS else set(CODES) if code == "NORM" else {"NORM"}
        return replace(self, findings=tuple(c for c in CODES if c == code or c in set(self.findings) - gone))

    def named_by(self, template: str) -> "Request | None":
        """What is left of it in a template that has no slot for the rest; None where a slot would stay empty."""
        slots = set(SLOTS.findall(template))
        left = {} if slots & {"who", "parts"} else {"age": None, "sex": None}
        left |= {} if slots & {"rate", "numbers", "parts"} else dict.fromkeys(("rate", *MEASURES))
        named = replace(self, **left, findings=self.findings if slots & {"what", "parts"} else ())
        empty = {"what": not named.findings, "rate": named.rate is None, "numbers": not named.measures}
        empty["parts"] = empty["what"] and empty["rate"] and not named.measures and named.age is None is named.sex
        return None if any(empty.get(slot) for slot in slots) else named


def questions() -> list[tuple[str, str]]:
    """Terms and what they mean: (term, answer), from the findings table and the normal ranges."""
    terms = {(term, CRITERIA[code]) for code in CODES for term in (NAMES[code], *SYNONYMS[code][:TERMS])}
    wording = "The normal {name} is {low} to {high} {unit}."
    return sorted(terms | {(f"the normal {row['name']}", wording.format(**row)) for row in RANGES.values()})
