"""Which words mean what? Words made alike, and tables in which runs of words are looked up, longest first.

The words of findings and of their evidence stand in `data/findings.json`, all others in `data/wordings.json`: plain
lower case, {name} for each of its `parts`. Texts and tables go through the same rules: articles, "wave", "segment",
"is" and the like are dropped, plurals and British and American spelling are made one.
"""

import itertools
import re
from collections.abc import Callable, Iterable, Iterator

from ..findings import EVIDENCE, NAMES, column, table
from ..leads import LEADS

WORDINGS = table("wordings")
SAID, DENIED, UNCERTAIN = 0, 1, 2
Phrase = tuple[str, ...]

_NUMBERS = {"pr": "pr_ms", "pq": "pr_ms", "qtc": "qtc_ms", "corrected": "qtc_ms", "qt": "qt_ms", "axis": "axis_deg"}

_DROPPED = set(WORDINGS["dropped"])
_PLURAL = re.compile(r"(?<=x)es$|(?<=..[^sui])s$")
_KEPT = ("rules", "lacks", "excludes")  # a plural would make another word of them
_TOKEN = re.compile(r"(?<![\w.)])-\d+(?:\.\d+)?|\d+(?:\.\d+)?(?:(?:st|nd|rd)\b)?|[a-z]+\d*|[.,;:()/?!<>&-]")
_CLEAN = [(re.compile(pattern), instead) for pattern, instead in WORDINGS["alike"].items()]
_NEW_LINE = re.compile(r"\n\s*(?=[-*•#\n]|\d+[.)]|[A-Z][a-z])")  # a list or a new sentence, not a wrapped line
_BEFORE_I, _AFTER_I, _NEXT_TO_I = (WORDINGS["lead_i"][key] for key in ("before", "after", "beside"))
_LEAD = {"lead_i": "I", **{lead.lower(): lead for lead in LEADS if lead != "I"}}
_RANGE = {"-", "to", "through", "thru"}
_JOINTS = {",", "and", "&", "/", "or", "plus", *_RANGE}


def words(text: str) -> list[str]:
    """Text to words that are alike for like meanings. Lead I is "lead_i", so that it is no pronoun and no "type I"."""
    text = _NEW_LINE.sub(". ", text).lower()
    for pattern, instead in _CLEAN:
        text = pattern.sub(instead, text)
    out, raw = [], [".", *_TOKEN.findall(text), "."]
    for before, word, after in zip(raw, raw[1:], raw[2:]):
        alike = "lead_i" if word == "i" and _is_lead_i(before, after) else word
        out.append(alike if alike in _KEPT else _PLURAL.sub("", alike))
    return [word for word in out if word not in _DROPPED]


def _is_lead_i(before: str, after: str) -> bool:
    begins = after == ":" and before in (".", ";")  # "I: Q waves"
    among = after in _NEXT_TO_I or (after in _AFTER_I and (begins or before in _BEFORE_I))
    return among and before not in ("type", "mobitz", "grade")


def expand(wordings: Iterable[str]) -> list[Phrase]:
    """Every wording as words; {name} stands for each of its parts."""
    return [
        tuple(words(re.sub(r"\{\w+\}", "%s", one) % parts))
        for one in wordings
        for parts in itertools.product(*(WORDINGS["parts"][name] for name in re.findall(r"\{(\w+)\}", one)))
    ]


def in_order(some: Iterable[str]) -> tuple[str, ...]:
    """Leads in their usual order, each once."""
    return tuple(sorted(set(some), key=LEADS.index))


def _named(phrase: Phrase, way: str) -> tuple[str, ...]:
    """The number that a finding's wording names on the way: "PR prolonged" names the PR, "axis deviation" none."""
    named = () if way == "only denied" else _NUMBERS.items()
    return next(((key,) for word, key in named if word in phrase), ())


def _lead_sets() -> dict[str, list[str]]:
    """Name -> leads: of regions, one or two joined, and of other sets."""
    regions = {name: leads for name, leads in WORDINGS["regions"].items() if leads}
    pairs = itertools.product(itertools.permutations(regions, 2), ("and", "or", "/"))
    return {**regions, **WORDINGS["lead_sets"], **{f"{a} {by} {b}": regions[a] + regions[b] for (a, b), by in pairs}}


def _entries() -> list[tuple[str, object, list[str]]]:
    """(kind, value, wordings) of every phrase; of two alike the later one holds.

    Findings and features have their names and how they count (`report_parser.WAYS`).
    """
    w = WORDINGS
    return [
        *((kind, DENIED, wordings) for kind, wordings in w["denied"].items()),
        *((kind, UNCERTAIN, wordings) for kind, wordings in w["uncertain"].items()),
        *(("region", name, [name, f"{name} wall"]) for name in w["regions"]),
        *(("leads", in_order(leads), [f"{name} lead"]) for name, leads in _lead_sets().items()),
        *(("leads", tuple(leads), [f"{name}ly"]) for name, leads in w["regions"].items() if leads),
        *(("finding", ((code,), ""), [NAMES[code], *more]) for code, more in column("wordings").items()),
        *((kind, _fixed(row.get("value")), row["wordings"]) for kind, rows in w["phrases"].items() for row in rows),
    ]


def _fixed(value):
    """Lists of a table as tuples, which equal each other in statements."""
    return tuple(map(_fixed, value)) if isinstance(value, list) else value


def _unjoined(some: Iterable[str]) -> Phrase:
    """Evidence is compared without its commas and joints."""
    return tuple(word for word in some if word not in (",", "and", "with"))


def _signs(codes: Iterable[str]) -> dict[Phrase, str]:
    """Words of a finding's evidence -> its code."""
    more = column("evidence_wordings")
    return {_unjoined(one): code for code in codes for one in expand([EVIDENCE[code], *more.get(code, ())])}


PHRASES = {  # -> (kind, value); with a finding goes the number that its wording names
    phrase: (kind, (*value, _named(phrase, value[1])) if kind == "finding" else value)
    for kind, value, wordings in _entries()
    for phrase in expand(wordings)
}
_SIGNS = _signs(EVIDENCE)  # of evidence sentences
_SIGNS_ANYWHERE = _signs(column("evidence_wordings"))  # what cannot be a sentence about leads or numbers
_LONGEST = max(map(len, (*PHRASES, *_SIGNS)))


def scan(some: Phrase, table: dict[Phrase, object], other: Callable = lambda some, at: (None, 1)) -> Iterator[tuple]:
    """(place, value) of each run of words that a table has, the longest at its place.

    Args:
        some: words of a text.
        table: phrase -> value.
        other: words and a place where no phrase begins -> a value or None, and its length.
    """
    at = 0
    while at < len(some):
        runs = (some[at : at + size] for size in range(_LONGEST, 0, -1))
        value, size = next(((table[run], len(run)) for run in runs if run in table), None) or other(some, at)
        if value is not None:
            yield at, value
        at += size


def lead_or_number(some: tuple[str, ...], at: int) -> tuple[tuple | None, int]:
    """What no phrase is: (an item or None, its length in words)."""
    word = some[at]
    if word in _LEAD:
        return _leads(some, at)
    is_number = (word[0].isdigit() or word[0] == "-") and not word[-1].isalpha()
    return ("number", float(word)) if is_number else None, 1


def _leads(some: tuple[str, ...], at: int) -> tuple[tuple, int]:
    """A list such as "V1-V4", "II, III and aVF" or "V4,5,6" -> its leads in order, and its length in words."""
    found, joint, size = [_LEAD[some[at]]], "", 1
    for ahead, (word, after) in enumerate(zip(some[at + 1 :], (*some[at + 2 :], ".")), 2):
        lead = _LEAD.get(word)
        if joint and found[-1][0] == "V" and re.fullmatch("[1-6]", word) and PHRASES.get((after,), ("",))[0] != "unit":
            lead = f"V{word}"
        if lead:
            first, last = sorted((LEADS.index(found[-1]), LEADS.index(lead)))
            found += LEADS[first : last + 1] if joint in _RANGE else [lead]
            joint, size = "", ahead
        elif word not in ("lead", *_JOINTS):
            break
        elif word != "lead":
            joint = word
    return ("leads", in_order(found)), size


def evidence_in(some: list[str], anywhere: bool = False) -> set[str]:
    """The findings whose evidence is told in the words of an evidence sentence, or `anywhere` in a text."""
    plain, denial = _unjoined(some), ("no", "without", "not")
    signs = scan(plain, _SIGNS_ANYWHERE if anywhere else _SIGNS)
    return {code for at, code in signs if not (at and plain[at - 1] in denial)}
