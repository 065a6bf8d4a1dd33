"""One pass over the phrases of a text that makes claims and numbers of them."""

from ..ecg import LEADS
from . import grammar as g
from .numbers import Numbers

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


class Walk(Numbers):
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
