"""From letters to phrases: words made alike, and the tables in which runs of words are looked up."""

import itertools
import re
from functools import lru_cache

from ..ecg import LEADS
from . import grammar as g
from . import wordings as w
from .findings import EVIDENCE, NAMES

_DROPPED = set(g.DROPPED.split("|"))
_KEPT = ("rules", "lacks", "excludes")  # a plural would make another word of them
_SPELLING = (("aemi", "emi"), ("isation", "ization"), ("haem", "hem"))
_TOKEN = re.compile(r"(?<![\w.)])-\d+(?:\.\d+)?|\d+(?:\.\d+)?(?:(?:st|nd|rd)\b)?|[a-z]+\d*|[.,;:()/?!<>&-]")
_CLEAN = [
    (re.compile(pattern), instead)
    for pattern, instead in (
        (r"[\u2010-\u2015\u2212]", "-"),
        (r"[°º]", " degree "),
        (r"\((?:s|es)\)|(?<=rsr)['´’]", ""),
        (r"(?<=[a-z])-(?=[a-z1-9])", " "),  # st-t, but v1-v4
        (r"\bminus (?=\d)", "-"),
        (r"(\baxis:?) - ?(?=\d)", r"\1 -"),
        (r"(?<![a-z\d.])\d+ ?[:x] ?\d+(?![\d.])", " "),  # 2:1 block
        (r"(?<=\d)-(?=year|yr|day|month|lead)", " "),
    )
]
_NEW_LINE = re.compile(r"\n\s*(?=[-*•#\n]|\d+[.)]|[A-Z][a-z])")  # a list or a new sentence, not a wrapped line
_BEFORE_I, _AFTER_I, _NEXT_TO_I = (set(some.split()) for some in (g.BEFORE_I, g.AFTER_I, g.NEXT_TO_I))
_V = re.compile(r"v[1-6]")


@lru_cache(maxsize=20_000)
def _alike(word: str) -> str:
    """One word without plural and British spelling; "" if it says nothing here."""
    for british, american in _SPELLING:
        word = word.replace(british, american)
    if word.endswith(("xes", "axes")):
        word = "axis" if word == "axes" else word[:-2]
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")) and word not in _KEPT:
        word = word[:-1]
    return "" if word in _DROPPED else word


def words(text: str) -> list[str]:
    """Text to words that are alike for like meanings. Lead I is "lead_i", so that it is no pronoun and no "type I"."""
    text = _NEW_LINE.sub(". ", text).lower()
    for pattern, instead in _CLEAN:
        text = pattern.sub(instead, text)
    raw = _TOKEN.findall(text)
    for k in (k for k, word in enumerate(raw) if word == "i"):
        if _is_lead_i(raw[k - 1] if k else "", raw[k + 1] if k + 1 < len(raw) else "."):
            raw[k] = "lead_i"
    return [word for word in map(_alike, raw) if word]


def _is_lead_i(before: str, after: str) -> bool:
    if before in ("type", "mobitz", "grade") or not (after in _AFTER_I or _V.fullmatch(after)):
        return False
    begins = after == ":" and before in ("", ".", ";")  # "I: Q waves"
    return begins or before in _BEFORE_I or after in _NEXT_TO_I or bool(_V.fullmatch(after))


def expand(wording: str) -> list[tuple[str, ...]]:
    """Every wording of a table entry as words: `|` separates, {name} stands for each of its parts."""
    out = []
    for one in wording.split("|"):
        names = re.findall(r"\{(\w+)\}", one)
        for parts in itertools.product(*(w.PARTS[name].split("|") for name in names)):
            out.append(tuple(words(re.sub(r"\{\w+\}", "%s", one) % parts)))
    return out


def _number_in(phrase: tuple[str, ...]) -> tuple[str, ...]:
    """The number that a finding's wording names on the way: "PR prolonged" names the PR."""
    named = {"pr": "pr_ms", "pq": "pr_ms", "qtc": "qtc_ms", "corrected": "qtc_ms", "qt": "qt_ms", "axis": "axis_deg"}
    return next(((key,) for word, key in named.items() if word in phrase), ())


def _entries():
    """(wording, kind, value) of every phrase; of two alike the later one holds."""
    yield from ((wording, "state", state) for wording, state in g.STATES.items())
    yield g.OTHER_SUBJECTS, "subject", "other"
    yield from ((wording, "subject", subject) for wording, subject in g.SUBJECTS.items())
    yield from ((wording, "feature", (feature,)) for wording, feature in g.SHORT.items())
    yield from ((wording, "change", tuple(features.split())) for wording, features in g.CHANGES.items())
    yield from ((wording, "key", (key,)) for key, wording in g.KEYS.items())
    yield g.AXES, "key", (None, "axis_deg", None)
    yield from ((wording, "unit", unit) for unit, wording in g.UNITS.items())
    yield from ((wording, kind, None) for wording, kind in g.MARKS.items())
    yield from ((g.BOUNDS, "bound", None), (g.UNMEASURED, "unmeasured", None), (g.NO_PR, "unmeasured", "pr_ms"))
    yield from ((g.NOT_AHEAD, "ahead", 1), (g.NOT_BEHIND, "behind", 1), (g.NOT_EITHER, "either", 1))
    yield from ((g.PERHAPS_AHEAD, "ahead", 2), (g.PERHAPS_BEHIND, "behind", 2), (g.PERHAPS_EITHER, "either", 2))
    yield from ((wording, "age", age) for wording, age in g.AGES.items())
    yield from ((g.INFARCT, "infarct", "old"), (g.STEMI, "infarct", "acute"))
    yield from ((name, "region", name) for name in g.REGIONS)
    yield from _lead_sets()
    yield from ((wording, "group", tuple(codes.split())) for wording, codes in w.GROUPS.items())
    yield from ((f"{one}:", "section", value) for key, value in g.SECTIONS.items() for one in key.split("|"))
    yield from ((w.NOTHING, "nothing", None), (g.LIMITS, "limits", None))


def _lead_sets():
    sets = {name: leads.split() for name, leads in g.LEAD_SETS.items()}
    pairs = itertools.permutations(g.REGIONS, 2)
    both = {f"{a} {joint} {b}": (a, b) for a, b in pairs if a in sets and b in sets for joint in ("and", "or", "/")}
    sets |= {name: sets[a] + sets[b] for name, (a, b) in both.items()}
    for name, leads in sets.items():
        yield f"{name} lead", "leads", tuple(lead for lead in LEADS if lead in leads)
    yield from ((f"{name} wall", "region", name) for name in g.REGIONS)
    yield from ((name, "leads", tuple(leads.split())) for name, leads in g.ADVERBS.items())


def _phrases() -> dict[tuple[str, ...], tuple]:
    """Phrase -> (kind, value)."""
    table = {phrase: (kind, value) for wording, kind, value in _entries() for phrase in expand(wording)}
    by_rule = {code for places in g.WHERE.values() for codes in places.values() for code in codes.split()}
    by_rule |= {code for codes in g.ALONE.values() for code in codes}
    for code, name in NAMES.items():
        for phrase in expand(f"{name}|{w.FINDINGS[code]}") if code not in by_rule else ():
            table[phrase] = ("finding", ((code,), _number_in(phrase)))
    for wording, codes in w.SEVERAL.items():
        table |= {phrase: ("finding", (tuple(codes.split()), ())) for phrase in expand(wording)}
    for wording, codes in g.NORMAL.items():
        table |= {phrase: ("normal", (tuple(codes.split()), _number_in(phrase))) for phrase in expand(wording)}
    return table


def sign_words(some: list[str] | tuple[str, ...]) -> tuple[str, ...]:
    """Evidence is compared without its commas and joints."""
    return tuple(word for word in some if word not in (",", "and", "with"))


def _signs(codes) -> dict[tuple[str, ...], str]:
    """Words of a finding's evidence -> its code."""
    more = {sign_words(phrase): code for code in codes for phrase in expand(w.SIGNS.get(code, EVIDENCE[code]))}
    return more | {sign_words(words(EVIDENCE[code])): code for code in codes}


class Phrases:
    """A table of phrases that is asked for the longest one at a place."""

    def __init__(self, table: dict[tuple[str, ...], object]):
        self.table, self.longest = table, {}
        for phrase in table:
            self.longest[phrase[0]] = max(self.longest.get(phrase[0], 0), len(phrase))

    def at(self, some: list[str] | tuple[str, ...], place: int):
        """The longest phrase that begins with this word: (its value, its length), or (None, 1)."""
        for size in range(self.longest.get(some[place], 0), 0, -1):
            hit = self.table.get(tuple(some[place : place + size]))
            if hit is not None:
                return hit, size
        return None, 1


PHRASES = Phrases(_phrases())
SIGNS = Phrases(_signs(EVIDENCE))  # for evidence sentences
SIGNS_ANYWHERE = Phrases(_signs(w.SIGNS))  # what cannot be a sentence about leads or numbers
