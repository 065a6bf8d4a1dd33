"""What do the statements of a real record say about our findings? There, not there, or unknown; never guessed.

`data/real_labels.json` maps the statements of each vocabulary (SCP-ECG, PTB-XL's sub-classes, SNOMED CT, machine
statements, reports in words) to our findings, and says what silence rules out. Codes that are no finding are skipped.
"""

import ast
import re
from collections.abc import Collection, Mapping
from functools import cache, lru_cache

import numpy as np

from .findings import CODES, RHYTHMS, SINUS, table

TABLE = table("real_labels")
THERE, ABSENT, UNKNOWN, OPEN = 1, 0, -1, -2  # OPEN: unknown because a statement leaves it so
_PLACE = {code: i for i, code in enumerate(CODES)}
_RHYTHMS, _SINUS, _OVER_SINUS = set(RHYTHMS), set(SINUS), set(TABLE["over_sinus"])
_DOUBT, _DENIAL = re.compile(TABLE["doubt"]), re.compile(TABLE["denial"])


@cache
def vocabulary(name: str) -> tuple[dict, dict, set[str]]:
    """Statement -> findings that are there; -> findings left open; what silence rules out. All of our codes."""
    row = TABLE["vocabularies"][name]
    words = TABLE["vocabularies"]["report"] if name == "machine" else row
    known = [{key: _PLACE.keys() & set(codes) for key, codes in words[kind].items()} for kind in ("states", "opens")]
    return *known, _PLACE.keys() & set(row["silence_rules_out"])


def labels(statements: Mapping[str, Collection[str]]) -> np.ndarray:
    """Vocabulary -> what one record states in it -> (F,) int8: THERE, ABSENT, UNKNOWN or OPEN.

    A statement that begins with "?" is doubted. What one vocabulary decides, a later one does not change, and one in
    which nothing is stated decides nothing. As in our truth a record has one rhythm, and a normal ECG has sinus rhythm
    and nothing else.
    """
    out = np.full(len(CODES), UNKNOWN, np.int8)
    for name, stated in statements.items():
        one = _decided(name, tuple(stated)) if any(stated) else out
        out = np.where((out >= 0) | (one == UNKNOWN), out, one)
    return out


@lru_cache(2**16)
def _decided(name: str, stated: tuple[str, ...]) -> np.ndarray:
    states, opens, silence = vocabulary(name)
    there = set().union(*(states.get(one, ()) for one in stated))
    maybe = set().union(*(states.get(one[1:], set()) | opens.get(one[1:], set()) for one in stated if one[0] == "?"))
    maybe = (maybe | set().union(*(opens.get(one, ()) for one in stated))) - there
    rhythms = there & _RHYTHMS
    if rhythms & (_OVER_SINUS | _SINUS - {"SR"}):  # sinus rhythm gives way to its own forms, all of them to a block
        rhythms = rhythms - (_SINUS if rhythms & _OVER_SINUS else {"SR"})
    if len(rhythms) > 1 or (rhythms and maybe & _RHYTHMS):
        maybe, rhythms = maybe | rhythms, set()
    if "NORM" in there:
        plain = all(states.get(one) in ({"NORM"}, {"SR"}) for one in stated)
        rest = there - {"NORM", "SR"}
        maybe |= set() if rest or (plain and rhythms) else {"NORM"}
        there -= {"NORM"} if rest or "NORM" in maybe else set()
    there = there - _RHYTHMS | rhythms
    ruled_out = silence if rhythms or maybe & _RHYTHMS else silence - _RHYTHMS
    ruled_out = (ruled_out | _RHYTHMS if rhythms else ruled_out) - there - maybe
    out = np.full(len(CODES), UNKNOWN, np.int8)
    for value, codes in ((ABSENT, ruled_out), (OPEN, maybe), (THERE, there)):
        out[[_PLACE[code] for code in codes]] = value
    return out


def scp_statements(codes: str, stages: Collection[str] = ()) -> list[str]:
    """`scp_codes` of PTB-XL as it stands in the table -> statements; `stages` of an infarction mark an acute one.

    A diagnosis under 50% is doubted; a likelihood of 0 is none given, as form and rhythm statements have it.
    """
    acute = " I" if set(stages) == {"Stadium I"} else ""
    states = vocabulary("scp")[0]
    out = []
    for code, percent in ast.literal_eval(codes or "{}").items():
        doubted = percent < 50 and not (percent == 0 and code in TABLE["not_graded"])
        out.append("?" * doubted + code + (acute if f"{code}{acute}" in states else ""))
    return out


@lru_cache(2**16)
def report_statements(text: str) -> tuple[str, ...]:
    """What of `data/real_labels.json` a report in words states, in German or English; "?" before what it doubts."""
    states, opens, _ = vocabulary("report")
    out = []
    for clause in re.split(r"[.;]\s|\n", text.casefold()):
        doubt = "?" if _DOUBT.search(clause) else ""
        if doubt or not _DENIAL.search(clause):
            out += [doubt + pattern for pattern in (*states, *opens) if re.search(pattern, clause)]
    return tuple(dict.fromkeys(out))


def codes_of(statements: Mapping[str, Collection[str]]) -> list[str]:
    """What a record states in codes, as distinct from words."""
    coded = (stated for name, stated in statements.items() if name not in ("report", "machine"))
    return [one for stated in coded for one in stated if one]


def group_label(stated: Collection[str], codes: Collection[str]) -> int:
    """THERE, ABSENT or UNKNOWN: one of these findings, without saying which, as an infarct of no given age has it.

    A statement of SCP-ECG means the group when it states or leaves open all of its findings; without any it is unknown.
    """
    kinds = [kind for name in ("scp", "subclass") for kind in vocabulary(name)[:2]]
    stated = [one for one in stated if not one.isdigit()]  # SNOMED CT names no wall
    found = [one for one in stated if {*codes} <= set().union(*(kind.get(one.strip("?"), ()) for kind in kinds))]
    if not found:
        return ABSENT if stated else UNKNOWN
    return UNKNOWN if all(one[0] == "?" for one in found) else THERE


def never_stated(decided: np.ndarray, sources: np.ndarray) -> None:
    """Make unknown, in place, what no record of one origin states: its silence rules nothing out.

    (N, F) labels and (N,) origins. Rhythms stay: a record has one, so that another is ruled out by it.
    """
    other = np.array([code not in RHYTHMS for code in CODES])
    for source in np.unique(sources):
        own = np.flatnonzero(sources == source)
        silent = other & ~np.isin(decided[own], (THERE, OPEN)).any(0)
        decided[np.ix_(own, silent)] = UNKNOWN
