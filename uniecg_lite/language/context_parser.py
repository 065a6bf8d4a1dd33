"""What does each phrase of a text do? One pass that makes claims of numbers, findings and leads.

As in ConText (Harkema et al. 2009, J Biomed Inform 42:839) "no" or "possible" reach ahead to the end of their list.
"""

import math
from dataclasses import dataclass

from ..findings import RHYTHMS
from ..leads import LEADS
from .phrases import INFARCTS, NO_INFARCT, REGIONS, WHERE, WORDINGS

SAID, DENIED, UNCERTAIN = 0, 1, 2
_KEEPS_REGION = {"region", "and", "or", "comma", "slash", "age", "state", "subject", "ahead", "either"}
_ENDS_LIST = {"break", "question", "ahead", "either", "behind", "with", "colon", "key", "section"}


@dataclass
class Claim:
    """One thing said on the way: findings, or features with or without leads."""

    polarity: int
    codes: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    leads: tuple[str, ...] | None = None
    only_denied: bool = False  # "bundle branch block": which one?
    reversed: bool = False  # "T upright" denies an inversion
    placed: bool = False  # "inferior ST elevation": the finding says where
    concluded: bool = False
    infarct: tuple[str, tuple[str, ...]] | None = None  # its age and regions; either may still be told


def _placed(codes: dict[str, list[str]], regions) -> tuple[str, ...]:
    """The findings of these regions."""
    return tuple(code for name in regions for code in codes.get(name, ()))


class ContextParser:
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

    def _finding(self, value, **about) -> None:
        codes, keys = value
        self._claim(codes=codes, **about)
        self.keys = list(keys) or self.keys

    def _group(self, codes) -> None:
        self._claim(codes=codes, only_denied=True)

    def _normal(self, value) -> None:
        self._finding(value, reversed=True)

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
        codes = _placed(INFARCTS[age], regions)
        claim.codes, claim.only_denied, claim.infarct = codes or NO_INFARCT, not codes, (age, regions)

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
        denied = WORDINGS["normal_number"].get(self.named)  # "axis: normal"
        if state == "plain" and denied and self._kind(1) != "number":
            self._claim(codes=tuple(denied), reversed=True)
        if "other" in (state, self.subject):
            return
        if not (self.subject and self._joined(state)):
            self.state = state

    def _joined(self, state: str) -> bool:
        """ST and elevation -> a feature; False if they do not belong together."""
        features = WORDINGS["features"].get(self.subject, {}).get(state)
        if features:
            self._feature(tuple(features), **({"reversed": True} if state == "plain" else {}))
        return state == "plain" or features is not None

    def _change(self, features) -> None:
        self._feature(features, only_denied=True)

    def _feature(self, features, **about) -> None:
        if self.closed:
            self.open, self.closed = [], []
        self.foreign = False
        codes = _placed(WHERE.get(features[0], {}), self.regions)
        if codes:
            self._claim(codes=codes)
        inside = {lead for name in self.regions for lead in REGIONS[name]} if not codes and not about else ()
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
