"""What does free text claim? Numbers, findings and leads, stated or denied."""

import math
import re
from dataclasses import dataclass, field

from ..findings import RHYTHMS, Reading
from ..language import phrases as g
from ..leads import LEADS
from .phrases import PHRASES, SIGN_PHRASES, SIGNS_ANYWHERE, Phrases, sign_words, words

# --- The numbers of a walk along a text: which one is it, and in which unit?


class Numbers:
    """What `walk.Walk` does with the names of numbers, numbers and units; it has the items and the place."""

    def _key(self, keys) -> None:
        taken = self.taken == self.at
        self.keys = [] if taken else [*self.keys, *keys] if self._kind(-1) == "slash" else list(keys)
        self.subject, self.state, self.named = "other", "", keys[-1]

    def _unit(self, unit: str) -> None:
        if unit == "s" and self._kind(-1) != "number":
            self._subject("other")  # the S wave

    def _unmeasured(self, key) -> None:
        key = key or (self.keys.pop(0) if self.keys else None)
        if key:
            self.numbers.setdefault(key, []).append(math.nan)

    def _number(self, value: float) -> None:
        unit = self.items[self.at + 1][1] if self._kind(1) == "unit" else ""
        ranged = "dash" in (self._kind(-1), self._kind(1)) and "number" in (self._kind(-2), self._kind(2))
        if self._kind(-1) == "bound" or ranged:
            self.keys = self.keys[1:]
        elif unit != "other":
            key = self._key_of(unit)
            value = _scaled(value, unit, key)
            if value is not None:
                self.numbers.setdefault(key, []).append(value)

    def _key_of(self, unit: str) -> str | None:
        """Which number is this? Its unit tells, or the name before it, or the name right after it."""
        by_unit = {"bpm": "rate_bpm", "degree": "axis_deg"}.get(unit)
        if by_unit:
            self.keys = [key for key in self.keys if key != by_unit]
            return by_unit
        if self.keys:
            return self.keys.pop(0)
        if unit and self._kind(2) == "key":
            self.taken = self.at + 2
            return self.items[self.taken][1][0]
        rhythm = any(code in RHYTHMS for claim in self.claims[self.segment :] for code in claim.codes)
        return "rate_bpm" if self._kind(-1) == "at" and rhythm else None


def _scaled(value: float, unit: str, key: str | None) -> float | None:
    """A number in ms, bpm or degrees; None if it is no such number."""
    if key is None or (unit and not key.endswith("_ms") and unit in ("ms", "s")):
        return None
    if unit == "s" or (key.endswith("_ms") and not unit and value < 3):
        return round(1000 * value, 3)
    return None if key.endswith("_ms") and not unit and value < 20 else value


# --- One pass over the phrases of a text that makes claims and numbers of them.

SAID, DENIED, UNCERTAIN = 0, 1, 2
_KEEPS_REGION = {"region", "and", "or", "comma", "slash", "age", "state", "subject", "ahead", "either"}
_ENDS_LIST = {"break", "question", "ahead", "either", "behind", "with", "colon", "key", "section"}


def _placed(codes: dict[str, str], regions: list[str]) -> tuple[str, ...]:
    """The findings of these regions."""
    return tuple(code for name in regions for code in codes.get(name, "").split())


class Claim:
    """One thing said on the way: findings, or features with or without leads."""

    def __init__(self, polarity: int, codes=(), features=(), leads=None, **about):
        self.polarity, self.codes, self.features, self.leads = polarity, codes, features, leads
        self.only_denied = about.get("only_denied", False)  # "bundle branch block": which one?
        self.reversed = about.get("reversed", False)  # "T upright" denies an inversion
        self.placed = about.get("placed", False)  # "inferior ST elevation": the finding says where
        self.concluded = about.get("concluded", False)
        self.infarct = about.get("infarct")  # (age, regions) of an infarct, either of which may still be told


class ContextParser(Numbers):
    """One pass over the items of a text; each kind of item has its method."""

    def __init__(self, items: list[tuple]):
        self.items, self.claims, self.numbers, self.concluding, self.taken = items, [], {}, False, -1
        self._clear()
        for self.at, (kind, value) in enumerate(items):
            getattr(self, "_" + kind)(value)
            if kind not in _KEEPS_REGION:
                self.regions = []

    # --- where a sentence stands

    def _clear(self) -> None:
        self.start = self.segment = len(self.claims)  # where the sentence began, and what a word may reach back to
        self.scope = None  # (polarity, number of claims when it opened, may it reach back)
        self.open, self.closed = [], []  # features that wait for leads, and those that just got some
        self.subject, self.state, self.pending, self.likewise, self.age = "", "", None, None, ""
        self.keys, self.regions, self.foreign, self.named = [], [], False, ""

    def _kind(self, ahead: int):
        return self.items[self.at + ahead][0] if 0 <= self.at + ahead < len(self.items) else "break"

    def _list_goes_on(self, joints: tuple[str, ...]) -> bool:
        """Does "or" (or "and") still come in this list?"""
        for kind, _ in self.items[self.at + 1 : self.at + 41]:
            if kind in joints:
                return True
            if kind in _ENDS_LIST:
                return False
        return False

    def _polarity(self) -> int:
        return self.scope[0] if self.scope else SAID

    def _end_scope(self) -> None:
        if self.scope and self.scope[2] and len(self.claims) == self.scope[1]:
            self._mark_behind(self.scope[0])
        self.scope = None

    def _mark_behind(self, polarity: int) -> None:
        for claim in self.claims[self.segment :]:
            claim.polarity = claim.polarity or polarity

    def _break(self, _=None) -> None:
        self._end_scope()
        self._flush()
        self.concluding = self.concluding and len(self.claims) == self.start  # a conclusion is one sentence
        self._clear()

    def _question(self, _) -> None:
        if len(self.claims) > self.segment:
            self._mark_behind(UNCERTAIN)
            self._break()
        else:
            self._ahead(UNCERTAIN)

    def _section(self, value: str) -> None:
        self._break()
        self.concluding = value == "conclusion"

    def _comma(self, _) -> None:
        if not self._list_goes_on(("or",)):
            self._end_scope()
            self.segment = len(self.claims)
        waits = self._kind(1) == "leads" and self.pending is None
        if self.open and not waits and not self._list_goes_on(("or", "and")):
            self._flush()
        self.keys, self.state, self.age, self.foreign, self.likewise, self.named = [], "", "", False, None, ""

    def _and(self, _) -> None:
        self.likewise = self.closed[0].leads if self.closed else self.likewise

    def _with(self, _) -> None:
        self._and(None)
        self._end_scope()
        self.segment = len(self.claims)

    def _colon(self, _) -> None:
        if self.scope and len(self.claims) > self.scope[1]:
            self.scope = None

    def _ahead(self, polarity: int, back: bool = False) -> None:
        if self._kind(-1) in ("and", "with", "or"):
            self.segment = len(self.claims)
        if self.scope and self.scope[0] == DENIED and len(self.claims) == self.scope[1]:
            return  # "no evidence to suggest"
        self.scope = (polarity, len(self.claims), back or self._kind(-1) == "colon")

    def _either(self, polarity: int) -> None:
        self._ahead(polarity, back=True)

    def _behind(self, polarity: int) -> None:
        if len(self.claims) > self.segment:
            self._mark_behind(polarity)
            self.scope = None
        else:
            self._ahead(polarity)

    def _pass(self, _) -> None:
        pass

    _or = _slash = _dash = _at = _bound = _nothing = _pass

    # --- findings

    def _claim(self, **about) -> None:
        polarity = self._polarity()
        if about.get("reversed") and polarity == DENIED and len(self.claims) > self.scope[1]:
            polarity = SAID  # "no ST elevation and upright T waves"
        self.claims.append(Claim(polarity, **about))

    def _finding(self, value) -> None:
        codes, keys = value
        self._claim(codes=codes)
        self.keys = list(keys) or self.keys

    def _group(self, codes) -> None:
        self._claim(codes=codes, only_denied=True)

    def _normal(self, value) -> None:
        codes, keys = value
        self._claim(codes=codes, reversed=True)
        self.keys = list(keys) or self.keys

    def _limits(self, _) -> None:
        if self.named or self.subject:
            self._state("plain")
        else:
            self._claim(codes=("NORM",))

    def _region(self, name: str) -> None:
        last = self._last_infarct()
        if last is not None and not last.infarct[1] and self._kind(-1) == "infarct":
            self._place_infarct(last, last.infarct[0], (name,))
        else:
            self.regions.append(name)

    def _age(self, age: str) -> None:
        last = self._last_infarct()
        if last is not None and last.infarct[1] and self._polarity() == SAID:
            self._place_infarct(last, age, last.infarct[1])
        self.age = age

    def _infarct(self, age: str) -> None:
        self._claim()
        self._place_infarct(self.claims[-1], self.age or age, tuple(self.regions))
        self.regions = []

    def _last_infarct(self) -> Claim | None:
        last = self.claims[-1] if len(self.claims) > self.start else None
        return last if last is not None and last.infarct else None

    def _place_infarct(self, claim: Claim, age: str, regions: tuple[str, ...]) -> None:
        codes = _placed(g.INFARCTS[age], regions)
        claim.codes, claim.only_denied, claim.infarct = codes or g.NO_INFARCT, not codes, (age, regions)

    # --- features and leads

    def _subject(self, subject: str) -> None:
        self.subject, self.named = subject, ""
        if subject == "q":
            self._feature(("q_waves",))
        elif subject == "other":
            self._speak_of_others()
        elif self.state:
            self._joined(self.state)
        self.state = ""

    def _speak_of_others(self) -> None:
        """Leads that come now belong to waves that are not looked for: flat T, tall R."""
        self.open, self.closed, self.foreign = [], [], True

    def _state(self, state: str) -> None:
        if state == "other":
            self._speak_of_others()
        if state == "plain" and self.named in g.NORMAL_NUMBER and self._kind(1) != "number":
            self._claim(codes=g.NORMAL_NUMBER[self.named], reversed=True)
        if "other" in (state, self.subject):
            return
        if not (self.subject and self._joined(state)):
            self.state = state

    def _joined(self, state: str) -> bool:
        """ST and elevation -> a feature; False if they do not belong together."""
        if state == "plain":
            if self.subject in g.PLAIN:
                self._feature(g.PLAIN[self.subject], reversed=True)
            return True
        feature = g.FEATURES.get((self.subject, state))
        if feature:
            self._feature((feature,))
        return feature is not None

    def _change(self, features) -> None:
        self._feature(features, only_denied=True)

    def _feature(self, features, **about) -> None:
        if self.closed:
            self.open, self.closed = [], []
        self.foreign = False
        codes = _placed(g.WHERE.get(features[0], {}), self.regions)
        if codes:
            self._claim(codes=codes)
        inside = {lead for name in self.regions for lead in g.REGIONS[name].split()} if not codes and not about else ()
        leads = tuple(lead for lead in LEADS if lead in inside) or None
        self._claim(
            features=features, leads=leads, placed=bool(codes), concluded=self.concluding or bool(leads), **about
        )
        self.open.append(self.claims[-1])
        self.regions = []

    def _leads(self, leads) -> None:
        self.likewise = None
        if self.open or self.closed:
            for claim in self.open:
                claim.leads = leads
            if not self.open:
                for claim in self.closed:
                    claim.leads = tuple(lead for lead in LEADS if lead in claim.leads or lead in leads)
            self.open, self.closed = [], self.open or self.closed
        elif not self.foreign:
            self.pending = leads

    def _flush(self) -> None:
        """Features that got no leads take those that stood before them; "with Q waves" those of what it goes with."""
        for claim in self.open:
            alike = claim.features != ("st_down",) and not claim.reversed
            claim.leads = claim.leads or self.pending or (self.likewise if alike else None)
        if self.open:
            self.open, self.pending = [], None


# --- What does a text say about an ECG? Rules that read free wording: what is said, denied or left uncertain.
#
# Words are made alike and phrases looked up (`lexicon`, tables in `wordings`); one walk along the phrases makes
# claims of numbers, findings and leads (`walk`). As in ConText (Harkema et al. 2009, J Biomed Inform 42:839) "no" or
# "possible" reach ahead to the end of their list.
#
# - A statement is kept as it was said: true or not, right leads or wrong ones.
# - ST depression and T inversion with leads are statements about leads; without leads, or in a conclusion, findings.
# - "PR over 200 ms" is a bound and no measurement. Evidence gives neither numbers nor findings, only `Said.evidence`.
# - An infarct with no word of its age is an old one. An incomplete bundle branch block is none of the findings.

FEATURES = ("q_waves", "st_up", "st_down", "t_inverted", "t_tall")


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
        parts = (self.numbers, self.findings, self.denied, self.uncertain, self.leads, self.leads_denied)
        return any(parts) or bool(self.leads_uncertain or self.evidence)


_LEAD = {"lead_i": "I", **{lead.lower(): lead for lead in LEADS if lead != "I"}}
_JOINTS = {",", "and", "&", "/", "or", "plus", "lead", "-", "to", "through", "thru"}
_RANGE = {"-", "to", "through", "thru"}
_EVIDENCE = re.compile(
    r"\b(?:evidence|criteria|rationale)\b[^.:\n]{0,40}:(.*?)(?=\.(?:\s|$)|\n|$|\b(?:conclusion|impression|diagnosis)\s*:)",
    re.IGNORECASE | re.DOTALL,
)


def parse(text: str) -> Statements:
    """What does this text say? Any text may come; of what is not understood nothing is kept."""
    predicted = [match.group(1) for match in _EVIDENCE.finditer(text)]
    plain = words(_EVIDENCE.sub("", text) if predicted else text)
    evidence = set(_told(plain, SIGNS_ANYWHERE))
    for part in predicted:
        evidence |= set(_told(words(part), SIGN_PHRASES))
    parser = ContextParser(_items(plain))
    return _statements(
        parser.claims, {key: tuple(values) for key, values in parser.numbers.items()}, frozenset(evidence)
    )


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


def _statements(claims: list[Claim], numbers: dict, evidence: frozenset[str]) -> Statements:
    heap = _Heap()
    for claim in claims:
        heap.add(claim)
    stated, denied, uncertain = (frozenset(codes) for codes in heap.codes)
    leads, _, doubted = ({f: tuple(x for x in LEADS if x in there) for f, there in d.items()} for d in heap.leads)
    return Statements(numbers, stated, denied, uncertain, leads, tuple(heap.denials), doubted, evidence)
