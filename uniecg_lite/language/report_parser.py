"""What does free text claim? Numbers, findings and leads, stated, denied or left uncertain.

Words are made alike and phrases looked up (`phrases`); one pass along them makes claims (`context_parser`).

- A statement is kept as it was said: true or not, right leads or wrong ones.
- ST depression and T inversion with leads are statements about leads; without leads, or in a conclusion, findings.
- "PR over 200 ms" is a bound and no measurement. Evidence gives neither numbers nor findings, only
  `Statements.evidence`.
- An infarct with no word of its age is an old one. An incomplete bundle branch block is none of the findings.
"""

import re
from dataclasses import dataclass, field

from ..findings import LEAD_SIGNS, RHYTHMS, Reading
from ..leads import LEADS
from .context_parser import DENIED, SAID, Claim, ContextParser
from .phrases import ALONE, PHRASES, SIGN_PHRASES, SIGNS_ANYWHERE, WORDINGS, Phrases, sign_words, words

FEATURES = LEAD_SIGNS


@dataclass(frozen=True)
class Statements:
    """What a text says. Nothing here is judged against a truth."""

    numbers: dict[str, tuple[float, ...]] = field(default_factory=dict)  # every value said; NaN: "not measurable"
    findings: frozenset[str] = frozenset()
    denied: frozenset[str] = frozenset()
    uncertain: frozenset[str] = frozenset()
    leads: dict[str, tuple[str, ...]] = field(default_factory=dict)  # feature -> leads, in lead order
    leads_denied: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = ()  # each: (features, leads) of one denial
    leads_uncertain: dict[str, tuple[str, ...]] = field(default_factory=dict)
    evidence: frozenset[str] = frozenset()  # findings whose evidence is told in words

    def __bool__(self) -> bool:
        """Was anything understood?"""
        return any(vars(self).values())


_LEAD = {"lead_i": "I", **{lead.lower(): lead for lead in LEADS if lead != "I"}}
_JOINTS = {",", "and", "&", "/", "or", "plus", "lead", "-", "to", "through", "thru"}
_RANGE = {"-", "to", "through", "thru"}
_EVIDENCE = re.compile(
    r"\b(?:evidence|criteria|rationale)\b[^.:\n]{0,40}:(.*?)(?=\.(?:\s|$)|\n|$|\b(?:conclusion|impression|diagnosis)\s*:)",
    re.IGNORECASE | re.DOTALL,
)


def parse(text: str) -> Statements:
    """What does this text say? Any text may come; of what is not understood nothing is kept."""
    plain = words(_EVIDENCE.sub("", text))
    evidence = _told(plain, SIGNS_ANYWHERE)
    for match in _EVIDENCE.finditer(text):
        evidence += _told(words(match[1]), SIGN_PHRASES)
    parser = ContextParser(_items(plain))
    numbers = {key: tuple(values) for key, values in parser.numbers.items()}
    return _statements(parser.claims, numbers, frozenset(evidence))


def parse_report(text: str) -> Reading:
    """A report as a `Reading`: what it asserts, the first of several numbers; NaN and empty where it says nothing.

    What it denies or doubts is not in it. A normal ECG without another rhythm has sinus rhythm.
    """
    stated = parse(text)
    found = stated.findings
    if "NORM" in found and not found & set(RHYTHMS):
        found = found | {"SR"}
    return Reading(**{key: values[0] for key, values in stated.numbers.items()}, **stated.leads, findings=found)


def _told(some: list[str], signs: Phrases) -> list[str]:
    """The findings whose evidence is told in these words."""
    out, at, some = [], 0, sign_words(some)
    while at < len(some):
        code, size = signs.at(some, at) if some[at] in signs.longest else (None, 1)
        if code and not (at and some[at - 1] in ("no", "without", "not")):
            out.append(code)
        at += size
    return out


def _items(some: list[str]) -> list[tuple]:
    """Words -> (kind, value): phrases, numbers and lists of leads; other words are passed over."""
    out, at = [], 0
    while at < len(some):
        word = some[at]
        item, size = PHRASES.at(some, at) if word in PHRASES.longest else (None, 1)
        if item is None and word in _LEAD:
            leads, size = _leads(some, at)
            item = ("leads", leads)
        elif item is None and (word[0].isdigit() or word[0] == "-") and not word[-1].isalpha():
            item = ("number", float(word))
        if item is not None:
            out.append(item)
        at += size
    return [*out, ("break", None)]


def _leads(some: list[str], at: int) -> tuple[tuple[str, ...], int]:
    """A list such as "V1-V4", "II, III and aVF" or "V4,5,6" -> its leads in order, and its length in words."""
    found, start, joint = [_LEAD[some[at]]], at, ""
    end = at = at + 1
    while at < len(some):
        lead = _LEAD.get(some[at])
        if lead is None and joint and found[-1][0] == "V" and some[at] in "123456":
            follows = some[at + 1] if at + 1 < len(some) else "."
            lead = None if PHRASES.table.get((follows,), ("",))[0] == "unit" else "V" + some[at]
        if lead:
            first, last = sorted((LEADS.index(found[-1]), LEADS.index(lead)))
            found += LEADS[first : last + 1] if joint in _RANGE else [lead]
            at, joint = at + 1, ""
            end = at
        elif some[at] in _JOINTS:
            joint, at = some[at] if some[at] != "lead" else joint, at + 1
        else:
            break
    return tuple(lead for lead in LEADS if lead in found), end - start


def _statements(claims: list[Claim], numbers: dict, evidence: frozenset[str]) -> Statements:
    """Claims put together: one set for each way of saying."""
    codes, leads, denials = (set(), set(), set()), ({}, {}, {}), []  # said, denied, uncertain
    for claim in claims:
        way = claim.polarity
        if claim.reversed:  # "T upright" denies; "T not upright" says too little
            if way != SAID:
                continue
            way = DENIED
        if claim.only_denied and way != DENIED:
            continue
        codes[way].update(_codes(claim, way))
        if way == DENIED and claim.features and (claim.leads or not claim.placed):
            denials.append((claim.features, claim.leads or LEADS))
        elif claim.leads:
            for feature in claim.features:
                leads[way].setdefault(feature, set()).update(claim.leads)
    stated, denied, uncertain = map(frozenset, codes)
    shown, _, doubted = ({f: tuple(x for x in LEADS if x in there) for f, there in d.items()} for d in leads)
    return Statements(numbers, stated, denied, uncertain, shown, tuple(denials), doubted, evidence)


def _codes(claim: Claim, way: int) -> set[str]:
    """The findings of a claim, or those that its features stand for without leads or in a conclusion."""
    if not claim.features:
        return set(claim.codes)
    if claim.leads:
        table = ALONE if claim.concluded and way != DENIED else {}
    elif claim.placed or (way == DENIED and (claim.reversed or claim.only_denied)):
        table = {}
    else:
        table = ALONE | WORDINGS["denied_alone"] if way == DENIED else ALONE
    return {code for feature in claim.features for code in table.get(feature, ())}
