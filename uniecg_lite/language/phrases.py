"""Which words mean what? Words made alike, and tables in which runs of words are looked up, longest first.

The words of findings and of their evidence stand in `data/findings.json`, all others in `data/wordings.json`: plain
lower case, {name} for each of its `parts`. Texts and tables go through the same rules: articles, "wave", "segment",
"is" and the like are dropped, plurals and British and American spelling are made one.
"""

import itertools
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache

from ..findings import EVIDENCE, INJURY, NAMES, OLD, column, table
from ..leads import LEADS

WORDINGS = table("wordings")
REGIONS, ALONE, INFARCTS = (WORDINGS[key] for key in ("regions", "alone", "infarcts"))
WHERE = {"st_up": INFARCTS["acute"], "q_waves": INFARCTS["old"]}  # feature, region -> findings
NO_INFARCT = (*INJURY, *OLD)  # "no infarct" denies them

_DROPPED = set(WORDINGS["dropped"])
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
_BEFORE_I, _AFTER_I, _NEXT_TO_I = (set(WORDINGS["lead_i"][key]) for key in ("before", "after", "beside"))
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


def expand(wordings: Iterable[str]) -> list[tuple[str, ...]]:
    """Every wording as words; {name} stands for each of its parts."""
    out = []
    for one in wordings:
        names = re.findall(r"\{(\w+)\}", one)
        for parts in itertools.product(*(WORDINGS["parts"][name] for name in names)):
            out.append(tuple(words(re.sub(r"\{\w+\}", "%s", one) % parts)))
    return out


def _number_in(phrase: tuple[str, ...]) -> tuple[str, ...]:
    """The number that a finding's wording names on the way: "PR prolonged" names the PR."""
    named = {"pr": "pr_ms", "pq": "pr_ms", "qtc": "qtc_ms", "corrected": "qtc_ms", "qt": "qt_ms", "axis": "axis_deg"}
    return next(((key,) for word, key in named.items() if word in phrase), ())


def _entries() -> Iterator[tuple[list[str], str, object]]:
    """(wordings, kind, value) of every phrase; of two alike the later one holds."""
    w = WORDINGS
    for kind in ("state", "subject"):
        yield from ((wordings, kind, name) for name, wordings in w[f"{kind}s"].items())
    yield from ((wordings, "feature", (feature,)) for feature, wordings in w["short"].items())
    yield from ((row["wordings"], "change", tuple(row["features"])) for row in w["changes"])
    yield from ((wordings, "key", (key,)) for key, wordings in w["keys"].items())
    yield w["axes"], "key", (None, "axis_deg", None)  # three angles: the second is the QRS axis
    yield from ((wordings, "unit", unit) for unit, wordings in w["units"].items())
    yield from ((wordings, kind, None) for kind, wordings in w["marks"].items())
    yield from ((w["bounds"], "bound", None), (w["unmeasured"], "unmeasured", None))
    yield w["no_pr"], "unmeasured", "pr_ms"
    for polarity, reach in ((1, w["denied"]), (2, w["uncertain"])):
        yield from ((wordings, kind, polarity) for kind, wordings in reach.items())
    yield from ((wordings, "age", age) for age, wordings in w["ages"].items())
    yield from ((wordings, "infarct", age) for age, wordings in w["infarct"].items())
    yield from (([name], "region", name) for name in REGIONS)
    yield from _lead_sets()
    yield from ((row["wordings"], "group", tuple(row["findings"])) for row in w["only_denied"])
    yield from (([f"{one}:" for one in wordings], "section", name) for name, wordings in w["sections"].items())
    yield from ((w["nothing"], "nothing", None), (w["limits"], "limits", None))


def _lead_sets() -> Iterator[tuple[list[str], str, object]]:
    """Sets of leads, always with the word lead, one or two joined; walls; "inferiorly"."""
    regions = {name: leads for name, leads in REGIONS.items() if leads}
    sets = regions | WORDINGS["lead_sets"]
    for a, b in itertools.permutations(regions, 2):
        sets |= {f"{a} {joint} {b}": sets[a] + sets[b] for joint in ("and", "or", "/")}
    for name, leads in sets.items():
        yield [f"{name} lead"], "leads", tuple(lead for lead in LEADS if lead in leads)
    yield from (([f"{name} wall"], "region", name) for name in REGIONS)
    yield from (([f"{name}ly"], "leads", tuple(leads)) for name, leads in regions.items())


def _phrases() -> dict[tuple[str, ...], tuple]:
    """Phrase -> (kind, value)."""
    out = {phrase: (kind, value) for wordings, kind, value in _entries() for phrase in expand(wordings)}
    for code, wordings in column("wordings").items():  # what features and leads say has none
        for phrase in expand([NAMES[code], *wordings]):
            out[phrase] = ("finding", ((code,), _number_in(phrase)))
    for row in WORDINGS["several"]:
        out |= {phrase: ("finding", (tuple(row["findings"]), ())) for phrase in expand(row["wordings"])}
    for row in WORDINGS["normal"]:
        for phrase in expand(row["wordings"]):
            out[phrase] = ("normal", (tuple(row["findings"]), _number_in(phrase)))
    return out


def sign_words(some: list[str] | tuple[str, ...]) -> tuple[str, ...]:
    """Evidence is compared without its commas and joints."""
    return tuple(word for word in some if word not in (",", "and", "with"))


def _signs(codes: Iterable[str]) -> dict[tuple[str, ...], str]:
    """Words of a finding's evidence -> its code."""
    known = column("evidence_wordings")
    more = {sign_words(phrase): code for code in codes for phrase in expand(known.get(code, ()))}
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
SIGN_PHRASES = Phrases(_signs(EVIDENCE))  # for evidence sentences
SIGNS_ANYWHERE = Phrases(_signs(column("evidence_wordings")))  # what cannot be a sentence about leads or numbers
