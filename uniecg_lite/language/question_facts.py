"""What can be asked about an ECG? For each topic the statements that are true of a reading, and those that could be."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from .. import findings
from ..findings import CODES, NAMES, RANGES, RHYTHMS, Reading, on_paper
from ..leads import LEADS

Fact = tuple[str, str]  # (what is spoken of, what is said of it), such as ("ST elevation", "V2")


@dataclass(frozen=True)
class Facts:
    """Statements of one topic about one reading, or about two."""

    true: tuple[Fact, ...] = ()
    possible: tuple[Fact, ...] = ()  # all that the reading decides, true or false
    partial: frozenset[str] = frozenset()  # first parts of which something stays undecided: no list can be asked

    @cached_property
    def false(self) -> tuple[Fact, ...]:
        """What the reading rules out."""
        return tuple(f for f in self.possible if f not in self.true)


def _facts(truth: dict[Fact, bool], partial: frozenset[str] = frozenset()) -> Facts:
    """Statement -> is it true?"""
    return Facts(tuple(fact for fact, true in truth.items() if true), tuple(truth), partial)


# ---- findings -------------------------------------------------------------------------------------------------------
# a conduction block counts as conduction
_GROUP = {code: group.split()[0] for code, group in findings.column("group").items()}
GROUP_OF = {NAMES[code]: group for code, group in _GROUP.items()}
_BEATS = findings.GROUPED["ectopy"]
_ALL = tuple(c for c in CODES if c != "NORM")
_BUT_RHYTHMS = tuple(c for c in _ALL if c not in RHYTHMS)


def undecided(r: Reading) -> frozenset[str]:
    """Codes of findings that this ECG neither shows nor rules out: hidden by another one, not measurable, unknown."""
    hidden = frozenset({"1AVB"} if math.isnan(r.pr_ms) and "pr_ms" not in r.unknown else ())
    return hidden.union(r.unknown, *(findings.HIDES.get(code, ()) for code in r.findings)) - r.findings


def _statements(r: Reading, codes: tuple[str, ...], about: str = "") -> Facts:
    """Facts about these codes, without `about` each of its group.

    A reading without a rhythm, if that is not unknown, is not known well enough to say anything.
    """
    if not r.findings.intersection(RHYTHMS) and not r.unknown.intersection(RHYTHMS):
        return Facts()
    hidden = undecided(r)
    truth = {(about or _GROUP[c], NAMES[c]): c in r.findings for c in codes if c not in hidden}
    return _facts(truth, frozenset(about or _GROUP[c] for c in codes if c in hidden))


def _any_extra(r: Reading) -> Facts:
    kinds = _statements(r, _BEATS, "beats")
    return _facts({("ECG", "extra beats"): bool(kinds.true)} if kinds.possible and not kinds.partial else {})


def _stage(r: Reading) -> Facts:
    """ST elevation of a territory speaks for an acute infarction, Q waves without it for an old one."""
    acute, old = r.findings.intersection(findings.INJURY), r.findings.intersection(findings.OLD)
    hidden = not r.findings or r.findings.intersection(findings.WIDE) or undecided(r).intersection(findings.OLD)
    if (acute and old) or (hidden and not acute and not old) or r.unknown.intersection(findings.INJURY + findings.OLD):
        return Facts()
    return _facts({("infarction", "acute"): bool(acute), ("infarction", "old"): bool(old)})


# ---- signs and noise in leads ---------------------------------------------------------------------------------------
SIGNS = {  # words -> (field of a reading, leads in which it means something)
    "ST elevation": ("st_up", LEADS),
    "ST depression": ("st_down", LEADS),
    "T wave inversion": ("t_inverted", findings.T_LEADS),
    "tall T waves": ("t_tall", LEADS),
    "Q waves": ("q_waves", findings.Q_LEADS),
}
NOISES = {"baseline drift": ("drift", LEADS), "static noise": ("static", LEADS)}


def _in_leads(table: dict, turned: bool = False) -> Callable[[Reading], Facts]:
    """Signs and their leads; `turned`: leads and their signs."""
    step = -1 if turned else 1
    rows = [((sign, lead)[::step], key, lead) for sign, (key, leads) in table.items() for lead in leads]
    return lambda r: _facts({fact: lead in getattr(r, key) for fact, key, lead in rows if key not in r.unknown})


def _any_noise(r: Reading) -> Facts:
    known = not r.unknown.intersection(("drift", "static"))
    return _facts({("noise", lead): lead in (*r.drift, *r.static) for lead in LEADS} if known else {})


def _normal(r: Reading) -> Facts:
    known = r.findings and "NORM" not in r.unknown
    return _facts({("ECG", "normal"): "NORM" in r.findings} if known else {})


# ---- numbers --------------------------------------------------------------------------------------------------------
SIDES = ("below", "within", "above")
AXES = ("normal", "deviated to the left", "deviated to the right", "extreme")
_FEATURES = {"heart rate": ("rate_bpm", "rate"), "PR interval": ("pr_ms", "PR"), "QRS duration": ("qrs_ms", "QRS")}
_QTC = {sex: f"QTc interval ({who})" for sex, who in (("female", "women"), ("male", "men"))}
_NUMBERS = {  # all that is spoken of and is a number -> field of a reading, name of its normal range
    **_FEATURES,
    **{feature: ("qtc_ms", f"QTc_{sex}") for sex, feature in _QTC.items()},
    "axis": ("axis_deg", "axis"),
}


def _rounded(value: float, row: dict) -> int:
    return on_paper(value, 1 if row["unit"] == "bpm" else 10)


def _measured(about: str, r: Reading) -> tuple[float, dict]:
    """A number and its normal range."""
    key, name = _NUMBERS[about]
    return getattr(r, key), RANGES[name]


def side(value: float, row: dict) -> str:
    """Below, within or above a normal range; "" where rounding as on paper would change that.

    A QTc at its limit is outside already (Rautaharju et al. 2009).
    """
    low, high, closed = row["low"], row["high"], row["name"].startswith("QT interval corrected")
    exact, rounded = (
        "above" if v > high or (closed and v == high) else "below" if v < low or (closed and v == low) else "within"
        for v in (value, _rounded(value, row))
    )
    return exact if exact == rounded else ""


def sides(r: Reading) -> dict[str, str]:
    """Feature -> its `side`, for what can be measured and decided.

    No PR interval without one; QTc only with a rate, and for a known sex, which its limit depends on.
    """
    features = [*_FEATURES, _QTC[r.sex]] if r.sex in _QTC and not math.isnan(r.rate_bpm) else _FEATURES
    measured = {feature: _measured(feature, r) for feature in features}
    known = {feature: side(value, row) for feature, (value, row) in measured.items() if not math.isnan(value)}
    return {feature: one for feature, one in known.items() if one}


def _direction(degrees: float) -> str:
    low, high = RANGES["axis"]["low"], RANGES["axis"]["high"]
    return AXES[0] if low <= degrees <= high else AXES[2] if degrees > high else AXES[1] if degrees >= -90 else AXES[3]


def _axis(r: Reading) -> Facts:
    if math.isnan(r.axis_deg) or _direction(r.axis_deg) != _direction(on_paper(r.axis_deg)):
        return Facts()
    return _facts({("axis", one): one == _direction(r.axis_deg) for one in AXES})


# ---- the table ------------------------------------------------------------------------------------------------------
TOPICS: dict[str, tuple[tuple[str, str], Callable[[Reading], Facts]]] = {  # -> names of the two parts, facts
    "any_finding": (("list", "finding"), lambda r: _statements(r, _ALL, "findings")),
    "finding": (("group", "finding"), lambda r: _statements(r, _BUT_RHYTHMS)),
    "among": (("group", "finding"), lambda r: _statements(r, _ALL)),  # where one is looked for
    "rhythm": (("list", "rhythm"), lambda r: _statements(r, RHYTHMS, "rhythm")),
    "normal": (("list", "state"), _normal),
    "sign": (("sign", "lead"), _in_leads(SIGNS)),
    "lead_sign": (("lead", "sign"), _in_leads(SIGNS, turned=True)),
    "range": (("feature", "side"), lambda r: _facts({(f, s): s == x for f, x in sides(r).items() for s in SIDES})),
    "outside": (("list", "feature"), lambda r: _facts({("features", f): s != "within" for f, s in sides(r).items()})),
    "axis": (("list", "axis"), _axis),
    "noise": (("noise", "lead"), _in_leads(NOISES)),
    "lead_noise": (("lead", "noise"), _in_leads(NOISES, turned=True)),
    "any_noise": (("list", "lead"), _any_noise),
    "extra_beats": (("list", "beats"), lambda r: _statements(r, _BEATS, "beats")),
    "any_extra_beats": (("list", "beats"), _any_extra),
    "stage": (("list", "stage"), _stage),
    "rate_change": (("feature", "change"), lambda r: Facts()),  # nothing changes within one ECG
}

_SIGN_BY_SIGN = {"lead_sign": "sign", "lead_noise": "noise", "any_noise": "noise"}  # what leads show is found so
Shown = tuple[str, tuple[str, ...]]  # what is spoken of, and what is seen of it


def shown(topic: str, about: str, choices: tuple[str, ...], r: Reading) -> tuple[Shown, ...]:
    """What to look at before a question is answered.

    All that is true of what is spoken of, a number first; of signs in a lead, the leads of each sign to choose from; of
    numbers outside their range, all numbers and their sides; of noise of any kind, each kind; of a normal ECG, the
    findings. Nothing is shown where none is known and some are unknown.
    """
    if topic in _SIGN_BY_SIGN:
        return tuple((choice, _true(_SIGN_BY_SIGN[topic], choice, r)) for choice in choices or NOISES)
    if topic == "outside":
        return ((about, tuple(f"{name} {_sided(name, r)}" for name in sides(r))),)
    topic, about = ("any_finding", "findings") if topic == "normal" else (topic, about)
    number = (_number(about, r),) if topic in ("range", "axis") else ()
    items = (*number, *_true(topic, about, r))
    return () if not items and r.unknown and about in TOPICS[topic][1](r).partial else ((about, items),)


def _true(topic: str, about: str, r: Reading) -> tuple[str, ...]:
    return tuple(f[1] for f in TOPICS[topic][1](r).true if f[0] == about)


def _number(about: str, r: Reading) -> str:
    """A number as on paper, and its unit; an axis has none."""
    value, row = _measured(about, r)
    return str(_rounded(value, row)) if about == "axis" else f"{_rounded(value, row)} {row['unit']}"


def _sided(about: str, r: Reading) -> str:
    """A number and its side: `470 above`."""
    value, row = _measured(about, r)
    return f"{_rounded(value, row)} {side(value, row)}"


ALWAYS = ("rhythm", "range", "axis", "rate_change")  # topics of which something is true of every ECG


# ---- two ECGs -------------------------------------------------------------------------------------------------------
RELATIONS = {"new": "new", "gone": "gone", "both": "shared"}  # of findings in two ECGs, and what they are called
CHANGES = ("faster", "slower", "about the same")
SAME_BPM = 5  # heart rates less than this apart are about the same


def _rate_change(first: Reading, second: Reading) -> Facts:
    if math.isnan(first.rate_bpm) or math.isnan(second.rate_bpm):
        return Facts()
    step = on_paper(second.rate_bpm, 1) - on_paper(first.rate_bpm, 1)
    stated = CHANGES[2] if abs(step) < SAME_BPM else CHANGES[0] if step > 0 else CHANGES[1]
    return _facts({("heart rate", change): change == stated for change in CHANGES})


def compared(topic: str, relation: str, first: Reading, second: Reading) -> Facts:
    """What is `new` or `gone` in the second ECG, or what is in `both`: of that only which both ECGs decide."""
    if topic == "rate_change":
        return _rate_change(first, second)
    a, b = TOPICS[topic][1](first), TOPICS[topic][1](second)
    before, after, possible = set(a.true), set(b.true), tuple(f for f in a.possible if f in b.possible)
    true = {"new": after - before, "gone": before - after, "both": before & after}[relation]
    lost = frozenset(f[0] for f in before | after if f not in possible)
    lost |= a.partial | b.partial if first.unknown or second.unknown else lost
    return _facts({f: f in true for f in possible}, lost)


def side_by_side(topic: str, relation: str, about: str, asked: str, first: Reading, second: Reading) -> Shown:
    """What to look at before a question about two ECGs: what they share, or what is new or gone; numbers in each.

    A number that newly lies outside its normal range, or in both, is marked: `heart rate 81 within to 149 above new`.
    What is asked of `about` is `asked`, or "" where it is all.
    """
    known = compared(topic, relation, first, second)
    predicted = tuple(one for what, one in known.true if what == about)
    if topic == "rate_change":
        return about, (f"{_number(about, first)} to {_number(about, second)}", *predicted)
    if topic == "outside":
        names = (name for _, name in known.possible if asked in ("", name))
        mark = {name: f" {RELATIONS[relation]}" for name in predicted}
        return about, tuple(f"{n} {_sided(n, first)} to {_sided(n, second)}{mark.get(n, '')}" for n in names)
    return f"{RELATIONS[relation]} {about}", predicted
