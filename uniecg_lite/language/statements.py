"""What does a text say about an ECG? Rules that read free wording: what is said, denied or left uncertain.

Words are made alike and phrases looked up (`lexicon`, tables in `wordings`); one walk along the phrases makes claims of
numbers, findings and leads (`walk`). As in ConText (Harkema et al. 2009, J Biomed Inform 42:839) "no" or "possible"
reach ahead to the end of their list.

- A statement is kept as it was said: true or not, right leads or wrong ones.
- ST depression and T inversion with leads are statements about leads; without leads, or in a conclusion, findings.
- "PR over 200 ms" is a bound and no measurement. Evidence gives neither numbers nor findings, only `Said.evidence`.
- An infarct with no word of its age is an old one. An incomplete bundle branch block is none of the findings.
"""

import re
from dataclasses import dataclass, field

from ..ecg import LEADS
from . import grammar as g
from .findings import RHYTHMS
from .lexicon import PHRASES, SIGNS, SIGNS_ANYWHERE, Phrases, sign_words, words
from .reports import Reading
from .walk import DENIED, SAID, Claim, Walk

FEATURES = ("q_waves", "st_up", "st_down", "t_inverted", "t_tall")


@dataclass(frozen=True)
class Said:
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
        parts = (self.numbers, self.findings, self.denied, self.uncertain, self.leads, self.leads_denied)
        return any(parts) or bool(self.leads_uncertain or self.evidence)


_LEAD = {"lead_i": "I", **{lead.lower(): lead for lead in LEADS if lead != "I"}}
_JOINTS = {",", "and", "&", "/", "or", "plus", "lead", "-", "to", "through", "thru"}
_RANGE = {"-", "to", "through", "thru"}
_EVIDENCE = re.compile(
    r"\b(?:evidence|criteria|rationale)\b[^.:\n]{0,40}:(.*?)(?=\.(?:\s|$)|\n|$|\b(?:conclusion|impression|diagnosis)\s*:)",
    re.IGNORECASE | re.DOTALL,
)


def parse(text: str) -> Said:
    """What does this text say? Any text may come; of what is not understood nothing is kept."""
    told = [match.group(1) for match in _EVIDENCE.finditer(text)]
    plain = words(_EVIDENCE.sub("", text) if told else text)
    evidence = set(_told(plain, SIGNS_ANYWHERE))
    for part in told:
        evidence |= set(_told(words(part), SIGNS))
    walk = Walk(_items(plain))
    return _said(walk.claims, {key: tuple(values) for key, values in walk.numbers.items()}, frozenset(evidence))


def parse_report(text: str) -> Reading:
    """A report as a `Reading`: what it asserts, the first of several numbers; NaN and empty where it says nothing.

    What it denies or doubts is not in it. A normal ECG without another rhythm has sinus rhythm.
    """
    said = parse(text)
    found = said.findings
    if "NORM" in found and not found & set(RHYTHMS):
        found = found | {"SR"}
    return Reading(**{key: values[0] for key, values in said.numbers.items()}, **said.leads, findings=found)


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


class _Heap:
    """Claims put together: one set for each way of saying."""

    def __init__(self):
        self.codes = (set(), set(), set())  # said, denied, uncertain
        self.leads = ({}, {}, {})
        self.denials = []

    def add(self, claim: Claim) -> None:
        """Put one claim where it belongs."""
        way = claim.polarity
        if claim.reversed:  # "T upright" denies; "T not upright" says too little
            if way != SAID:
                return
            way = DENIED
        if claim.only_denied and way != DENIED:
            return
        if not claim.features:
            self.codes[way].update(claim.codes)
        elif claim.leads:
            self._add_leads(claim, way)
        elif not claim.placed:
            self._add_alone(claim, way)

    def _add_leads(self, claim: Claim, way: int) -> None:
        if way == DENIED:
            self.denials.append((claim.features, claim.leads))
            return
        for feature in claim.features:
            self.leads[way].setdefault(feature, set()).update(claim.leads)
            if claim.concluded:
                self.codes[way].update(g.ALONE.get(feature, ()))

    def _add_alone(self, claim: Claim, way: int) -> None:
        table = g.ALONE
        if way == DENIED:
            self.denials.append((claim.features, LEADS))
            table = {} if claim.reversed or claim.only_denied else g.DENIED_ALONE
        for feature in claim.features:
            self.codes[way].update(table.get(feature, ()))


def _said(claims: list[Claim], numbers: dict, evidence: frozenset[str]) -> Said:
    heap = _Heap()
    for claim in claims:
        heap.add(claim)
    said, denied, uncertain = (frozenset(codes) for codes in heap.codes)
    leads, _, doubted = ({f: tuple(x for x in LEADS if x in there) for f, there in d.items()} for d in heap.leads)
    return Said(numbers, said, denied, uncertain, leads, tuple(heap.denials), doubted, evidence)
