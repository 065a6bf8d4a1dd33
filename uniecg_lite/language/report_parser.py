"""What does free text claim? Numbers, findings and leads, stated, denied or left uncertain.

Words are made alike and phrases looked up (`phrases`); one pass along them makes claims. As in ConText (Harkema et al.
2009, J Biomed Inform 42:839) "no" or "possible" reach ahead to the end of their list.

- A statement is kept as it was said: true or not, right leads or wrong ones.
- ST depression and T inversion with leads are statements about leads; without leads, or in a conclusion, findings.
- "PR over 200 ms" is a bound and no measurement. Evidence gives neither numbers nor findings, only
  `Statements.evidence`.
- An infarct with no word of its age is an old one. An incomplete left bundle branch block is none of the findings.
"""

import math
import re
from dataclasses import dataclass, field

from ..findings import INJURY, OLD, RHYTHMS, Reading
from ..leads import LEADS
from .phrases import DENIED, PHRASES, SAID, UNCERTAIN, WORDINGS, evidence_in, in_order, lead_or_number, scan, words


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


_EVIDENCE = re.compile(WORDINGS["evidence_section"], re.IGNORECASE | re.DOTALL)


def parse(text: str) -> Statements:
    """What does this text say? Any text may come; of what is not understood nothing is kept."""
    plain = words(_EVIDENCE.sub("", text))
    evidence = evidence_in(plain, anywhere=True).union(*(evidence_in(words(e)) for e in _EVIDENCE.findall(text)))
    items = [item for _, item in scan(tuple(plain), PHRASES, lead_or_number)]
    parser = ContextParser([*items, ("break", None), ("break", None)])
    return _statements(parser.claims, parser.numbers, frozenset(evidence))


def parse_report(text: str) -> Reading:
    """A report as a `Reading`: what it asserts, the first of several numbers; NaN and empty where it says nothing.

    What it denies or doubts is not in it. A normal ECG without another rhythm has sinus rhythm.
    """
    stated = parse(text)
    implied = {"SR"} if "NORM" in stated.findings and not stated.findings & set(RHYTHMS) else set()
    numbers = {key: values[0] for key, values in stated.numbers.items()}
    return Reading(**numbers, **stated.leads, findings=stated.findings | implied)


# --- items -> claims

_KEEPS_REGION = {"region", "and", "or", "comma", "slash", "age", "state", "subject", "ahead", "either"}
_ENDS_LIST = {"break", "question", "ahead", "either", "behind", "with", "colon", "key", "section"}
_NO_SCOPE = (SAID, 0, False)
REGIONS, INFARCTS, ALONE = (WORDINGS[key] for key in ("regions", "infarcts", "alone"))
WHERE = {"st_up": INFARCTS["acute"], "q_waves": INFARCTS["old"]}  # feature, region -> findings
DROPPED = 3
WAYS = {  # how a claim counts when it is said, denied, or uncertain
    "": (SAID, DENIED, UNCERTAIN),
    "only denied": (DROPPED, DENIED, DROPPED),  # "bundle branch block": which one?
    "reversed": (DENIED, DROPPED, DROPPED),  # "T upright" denies an inversion; "T not upright" says too little
}


@dataclass
class Claim:
    """One thing said on the way: findings, or features with or without leads."""

    polarity: int
    codes: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    leads: tuple[str, ...] | None = None
    way: str = ""  # one of `WAYS`
    placed: bool = False  # "inferior ST elevation": the finding says where
    concluded: bool = False
    infarct: tuple[str, tuple[str, ...]] | None = None  # its age and regions; either may still be told


def _placed(codes: dict[str, list[str]], regions) -> tuple[str, ...]:
    """The findings of these regions."""
    return tuple(code for name in regions for code in codes.get(name, ()))


class ContextParser:
    """One pass over the items of a text, which end with two breaks; each kind of item has its method."""

    def __init__(self, items: list[tuple]):
        self.items, self.claims, self.numbers, self.concluding, self.taken = items, [], {}, False, -1
        self._clear()
        for self.at, (kind, value) in enumerate(items):
            getattr(self, f"_{kind}")(value)
            self.regions = self.regions if kind in _KEEPS_REGION else []

    # --- where a sentence stands

    def _clear(self) -> None:
        self.start = self.segment = len(self.claims)  # where the sentence began, and what a word may reach back to
        self.scope = _NO_SCOPE  # (polarity, number of claims when it opened, may it reach back)
        self.open, self.closed = [], []  # features that wait for leads, and those that just got some
        self.subject, self.state, self.pending, self.likewise, self.age = "", "", None, None, ""
        self.keys, self.regions, self.named = [], [], ""
        self.foreign = False  # leads that come now belong to waves that are not looked for: flat T, tall R

    def _kind(self, ahead: int) -> str:
        return self.items[self.at + ahead][0]  # before the first item stand the breaks of the end

    def _list_goes_on(self, *joints: str) -> bool:
        """Does "or" (or "and") still come in this list?"""
        kinds = (kind for kind, _ in self.items[self.at + 1 : self.at + 41])
        return next((kind in joints for kind in kinds if kind in joints or kind in _ENDS_LIST), False)

    def _end_scope(self) -> None:
        if self.scope[2] and len(self.claims) == self.scope[1]:
            self._mark_behind(self.scope[0])
        self.scope, self.segment = _NO_SCOPE, len(self.claims)

    def _mark_behind(self, polarity: int) -> None:
        for claim in self.claims[self.segment :]:
            claim.polarity = claim.polarity or polarity

    def _break(self, section: str | None = None) -> None:
        self._end_scope()
        self._flush()
        ends = section or len(self.claims) > self.start  # a conclusion is one sentence
        self.concluding = section == "conclusion" if ends else self.concluding
        self._clear()

    _section = _break

    def _question(self, _) -> None:
        ends = len(self.claims) > self.segment
        self._behind(UNCERTAIN)
        if ends:
            self._break()

    def _comma(self, _) -> None:
        if not self._list_goes_on("or"):
            self._end_scope()
        waits = self._kind(1) == "leads" and self.pending is None
        if not waits and not self._list_goes_on("or", "and"):
            self._flush()
        self.keys, self.state, self.age, self.foreign, self.likewise, self.named = [], "", "", False, None, ""

    def _and(self, _) -> None:
        self.likewise = self.closed[0].leads if self.closed else self.likewise

    def _with(self, _) -> None:
        self._and(None)
        self._end_scope()

    def _colon(self, _) -> None:
        if len(self.claims) > self.scope[1]:
            self.scope = _NO_SCOPE

    def _ahead(self, polarity: int) -> None:
        if self._kind(-1) in ("and", "with", "or"):
            self.segment = len(self.claims)
        if self.scope[:2] != (DENIED, len(self.claims)):  # "no evidence to suggest"
            self.scope = (polarity, len(self.claims), self._kind(0) == "either" or self._kind(-1) == "colon")

    _either = _ahead

    def _behind(self, polarity: int) -> None:
        if len(self.claims) > self.segment:
            self._mark_behind(polarity)
            self.scope = _NO_SCOPE
        else:
            self._ahead(polarity)

    _or = _slash = _dash = _at = _bound = _nothing = lambda self, _: None  # only their neighbours look at these

    # --- findings

    def _claim(self, way: str = "", **about) -> Claim:
        denied_before = self.scope[0] == DENIED and len(self.claims) > self.scope[1]
        polarity = SAID if way == "reversed" and denied_before else self.scope[0]  # "no STE and upright T waves"
        self.claims.append(Claim(polarity, way=way, **about))
        return self.claims[-1]

    def _finding(self, value) -> None:
        codes, way, keys = value
        self._claim(way, codes=codes)
        self.keys = list(keys) or self.keys

    def _limits(self, _) -> None:
        if self.named or self.subject:
            self._state("plain")
        else:
            self._claim(codes=("NORM",))

    def _region(self, name: str) -> None:
        last = self._last_infarct()
        if last and not last.infarct[1] and self._kind(-1) == "infarct":
            self._place_infarct(last, last.infarct[0], (name,))
        else:
            self.regions.append(name)

    def _age(self, age: str) -> None:
        last = self._last_infarct()
        if last and last.infarct[1] and self.scope[0] == SAID:
            self._place_infarct(last, age, last.infarct[1])
        self.age = age

    def _infarct(self, age: str) -> None:
        self._place_infarct(self._claim(), self.age or age, tuple(self.regions))

    def _last_infarct(self) -> Claim | None:
        return next((claim for claim in self.claims[self.start :][-1:] if claim.infarct), None)

    def _place_infarct(self, claim: Claim, age: str, regions: tuple[str, ...]) -> None:
        codes = _placed(INFARCTS[age], regions)
        claim.codes, claim.way, claim.infarct = codes or (*INJURY, *OLD), "" if codes else "only denied", (age, regions)

    # --- features and leads

    def _subject(self, subject: str) -> None:
        self.subject, self.named = subject, ""
        if subject == "q":
            self._feature((("q_waves",), ""))
        elif subject == "other":
            self.open, self.closed, self.foreign = [], [], True
        elif self.state:
            self._joined(self.state)
        self.state = ""

    def _state(self, state: str) -> None:
        if state == "other":
            self.open, self.closed, self.foreign = [], [], True
        denied = WORDINGS["normal_number"].get(self.named)  # "axis: normal"
        if state == "plain" and denied and self._kind(1) != "number":
            self._claim("reversed", codes=tuple(denied))
        if "other" not in (state, self.subject) and not (self.subject and self._joined(state)):
            self.state = state

    def _joined(self, state: str) -> bool:
        """ST and elevation -> a feature; False if they do not belong together."""
        features = WORDINGS["features"].get(self.subject, {}).get(state, ())
        if features:
            self._feature((tuple(features), "reversed" if state == "plain" else ""))
        return state == "plain" or bool(features)

    def _feature(self, value) -> None:
        features, way = value
        self.open, self.closed = [] if self.closed else self.open, []
        codes = _placed(WHERE.get(features[0], {}), self.regions)
        if codes:
            self._claim(codes=codes)
        inside = () if codes or way else in_order(lead for name in self.regions for lead in REGIONS[name])
        about = {"placed": bool(codes), "concluded": self.concluding or bool(inside)}
        self.open.append(self._claim(way, features=features, leads=inside or None, **about))
        self.foreign, self.regions = False, []

    def _leads(self, leads) -> None:
        self.likewise, waiting = None, self.open or self.closed
        for claim in waiting:
            claim.leads = leads if self.open else in_order((*claim.leads, *leads))
        if waiting:
            self.open, self.closed = [], waiting
        elif not self.foreign:
            self.pending = leads

    def _flush(self) -> None:
        """Features that got no leads take those that stood before them; "with Q waves" those of what it goes with."""
        for claim in self.open:
            alike = claim.features != ("st_down",) and claim.way != "reversed"
            claim.leads = claim.leads or self.pending or (self.likewise if alike else None)
        if self.open:
            self.open, self.pending = [], None

    # --- numbers

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
        elif unit != "other" and (key := self._key_of(unit)) and (scaled := _scaled(value, unit, key)) is not None:
            self.numbers.setdefault(key, []).append(scaled)

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


def _scaled(value: float, unit: str, key: str) -> float | None:
    """A number in ms, bpm or degrees; None if it is no such number."""
    in_ms = key.endswith("_ms")
    if unit in ("ms", "s") and not in_ms or (in_ms and not unit and 3 <= value < 20):
        return None
    return round(1000 * value, 3) if unit == "s" or (in_ms and not unit and value < 3) else value


# --- claims -> statements


def _statements(claims: list[Claim], numbers: dict, evidence: frozenset[str]) -> Statements:
    """Claims put together: one set for each way of saying."""
    codes, leads, denials = [set() for _ in range(4)], [{} for _ in range(4)], []  # said, denied, uncertain, dropped
    for claim in claims:
        way = WAYS[claim.way][claim.polarity]
        codes[way].update(_codes(claim, way))
        if way == DENIED and claim.features and (claim.leads or not claim.placed):
            denials.append((claim.features, claim.leads or LEADS))
        elif claim.leads:
            for feature in claim.features:
                leads[way].setdefault(feature, set()).update(claim.leads)
    stated, denied, uncertain, _ = map(frozenset, codes)
    shown, _, doubted, _ = ({feature: in_order(there) for feature, there in one.items()} for one in leads)
    numbers = {key: tuple(values) for key, values in numbers.items()}
    return Statements(numbers, stated, denied, uncertain, shown, tuple(denials), doubted, evidence)


def _codes(claim: Claim, way: int) -> set[str]:
    """The findings of a claim, or those that its features stand for without leads or in a conclusion."""
    if not claim.features:
        return set(claim.codes)
    denied = way == DENIED
    counts = claim.concluded and not denied if claim.leads else not (claim.placed or (denied and claim.way))
    table = {**ALONE, **(WORDINGS["denied_alone"] if denied else {})} if counts else {}
    return {code for feature in claim.features for code in table.get(feature, ())}
