"""What can be true of an ECG, and how is it reported? The table of findings, what leads show, readings, reports.

All that is known of a finding stands in its row of `data/findings.json`, read once, here: codes, criteria, the leads
and waves that carry it, what it requires, expects and hides, and the words for it. A new finding needs that row, the
simulator's drawing of it and its criterion.
"""

import json
import math
from dataclasses import dataclass, field
from itertools import compress

import torch

from .errors import BadRequest, require
from .leads import CHEST, LEADS
from .paths import DATA


def table(name: str):
    """The JSON table `data/<name>.json`."""
    return json.loads((DATA / f"{name}.json").read_text(encoding="utf-8"))


FINDINGS = table("findings")
CODES = tuple(row["code"] for row in FINDINGS)
RANGES = table("normal_ranges")


def column(key: str) -> dict[str, object]:
    """What the findings table says under this heading: code -> value, of the findings that have one."""
    return {row["code"]: row[key] for row in FINDINGS if key in row}


def grouped(key: str) -> dict[str, tuple[str, ...]]:
    """Findings of which the table says the same under this heading, such as "token": value -> codes."""
    values = column(key)
    return {one: tuple(code for code in values if values[code] == one) for one in dict.fromkeys(values.values())}


NAMES, CRITERIA, LIMITS = column("name"), column("criteria"), column("limits")
EVIDENCE = column("evidence")  # one short phrase each, in the house style
GROUPED = grouped("group")  # group -> codes
RHYTHMS = GROUPED["rhythm"]  # a record has exactly one
SINUS = tuple(column("sinus"))  # the rhythms that need no evidence
WIDE = tuple(column("wide"))  # broad complexes, which hide voltage, ST, T and Q criteria
INJURY = tuple(column("injury"))  # of a wall, now: ST elevation or its mirror image
OLD = tuple(column("old"))  # old infarcts
OTHER_ST = tuple(column("other_st"))  # ST is raised, and by no wall
NO_SINUS_P = tuple(column("no_p"))  # rhythms without a P wave of the sinus node
EXPECTED = {  # finding -> number -> what may stand beside it in a text or request, the tolerance included
    code: {key: (-math.inf if a is None else a, math.inf if b is None else b) for key, (a, b) in wanted.items()}
    for code, wanted in column("expects").items()
}
HIDES = {  # code -> findings that it may hide: the row names them, or their group, or a heading they have
    code: frozenset(one for name in names for one in (GROUPED.get(name) or column(name) or (name,)))
    for code, names in column("hides").items()
}


# --- Which lead shows what? Thresholds of single leads, in mV. A limit is [number, grey zone to either side of it].

ST_DOWN, T_INVERTED = -LIMITS["STD"]["st_mv"][0], -LIMITS["TINV"]["t_mv"][0]
T_TALL = torch.tensor([LIMITS["HYPT"]["t_mv" if name in CHEST else "limb_t_mv"][0] for name in LEADS])
LOW_SWING = torch.tensor([LIMITS["LOWV"]["chest_mv" if name in CHEST else "limb_mv"][0] for name in LEADS])  # of QRS
Q_MS = torch.tensor([LIMITS["Q_ANT"]["q_v2_v3_ms" if name in ("V2", "V3") else "q_ms"][0] for name in LEADS])
T_LEADS = ("I", "II", "aVL", "aVF", "V2", "V3", "V4", "V5", "V6")  # leads where an adult's T wave is upright
Q_LEADS = tuple(name for name in LEADS if name not in ("aVR", "V1"))  # a QS is normal in these two
DRIFT_FROM_MV, STATIC_FROM_MV = 0.25, 0.025  # a lead from here on is called noisy: about one record in seven has one
LEAD_SIGNS = ("q_waves", "st_up", "st_down", "t_inverted", "t_tall")


def st_level(age: torch.Tensor, female: torch.Tensor) -> torch.Tensor:
    """From where ST is elevated in each lead, by age in years and sex, (B,): (B, 12) mV at J + 20 ms."""
    young, older, women, other = (LIMITS["STE_ANT"][k][0] for k in ("men_under_40_mv", "men_mv", "women_mv", "st_mv"))
    front = torch.where(female.bool(), women, torch.where(age < 40, young, older))[:, None]
    return torch.where(torch.tensor([name in ("V2", "V3") for name in LEADS]), front, other)


def lead_signs(truth: dict[str, torch.Tensor]) -> torch.Tensor:
    """Which lead shows what, by the thresholds above: (B, S, 12) bool in the order of LEAD_SIGNS."""
    st, t, level = truth["st_mv"], truth["t_mv"], st_level(truth["age"], truth["female"])
    upright, q = (torch.tensor([name in leads for name in LEADS]) for leads in (T_LEADS, Q_LEADS))
    q = q & (truth["q_wave"] > 0)
    return torch.stack([q, st >= level, st <= ST_DOWN, (t <= T_INVERTED) & upright, t >= T_TALL], 1)


# --- What is true about an ECG, in words: `report` writes the house style (`report_parser.parse_report` reads it back).

NUMBERS = ("rate_bpm", "pr_ms", "qrs_ms", "qt_ms", "qtc_ms", "axis_deg")
FACTS = (*CODES, *NUMBERS, *LEAD_SIGNS, "drift", "static")  # what a source may state or not: columns of truth["known"]


@dataclass(frozen=True)
class Reading:
    """One ECG as numbers and findings; NaN where there is nothing to measure (no PR in atrial fibrillation).

    Leads stand in lead order. Baseline drift, noise, age and sex are known of a record but not told in its report.
    """

    rate_bpm: float = math.nan
    pr_ms: float = math.nan
    qrs_ms: float = math.nan
    qt_ms: float = math.nan
    qtc_ms: float = math.nan
    axis_deg: float = math.nan
    q_waves: tuple[str, ...] = ()
    st_up: tuple[str, ...] = ()
    st_down: tuple[str, ...] = ()
    t_inverted: tuple[str, ...] = ()
    t_tall: tuple[str, ...] = ()
    drift: tuple[str, ...] = ()
    static: tuple[str, ...] = ()
    findings: frozenset[str] = field(default_factory=frozenset)
    borderline: frozenset[str] = field(default_factory=frozenset)  # within the tolerance of measuring: not scored
    age: float = math.nan
    sex: str = ""
    unknown: frozenset[str] = frozenset()  # some of `FACTS`: neither true nor false


def readings(truth: dict[str, torch.Tensor]) -> list[Reading]:
    """The simulator's truth of B records -> B readings; which lead shows what by `lead_signs`.

    Raises:
        BadRequest: the truth has other findings than `data/findings.json`.
    """
    found = truth["findings"]  # (B, F)
    sentence = f"The truth has {found.shape[1]} findings, not {len(CODES)}: simulate these records again."
    require(found.shape[1] == len(CODES), sentence, BadRequest)
    masks = dict(zip(LEAD_SIGNS, lead_signs(truth).unbind(1)))  # (B, 12) each
    masks |= {"drift": truth["drift_mv"] >= DRIFT_FROM_MV, "static": truth["static_mv"] >= STATIC_FROM_MV}
    columns = {key: [tuple(compress(LEADS, row)) for row in mask.tolist()] for key, mask in masks.items()}
    columns |= {key: truth[key].tolist() for key in (*NUMBERS, "age")}
    columns["findings"] = [frozenset(compress(CODES, row)) for row in found.tolist()]
    columns["borderline"] = [frozenset(compress(CODES, row)) for row in truth.get("borderline", 0 * found).tolist()]
    columns["sex"] = [{1: "female", 0: "male"}.get(female, "") for female in truth["female"].tolist()]  # NaN: unknown
    columns["unknown"] = [frozenset(compress(FACTS, row)) for row in (~truth.get("known", found[:, :0])).tolist()]
    return [Reading(**dict(zip(columns, row))) for row in zip(*columns.values())]


def on_paper(value: float, step: int = 10) -> int:
    """A number as a report gives it: to 10 ms or degrees, or to another step (1 bpm). Halves go up."""
    return step * math.floor(value / step + 0.5)


def _tens(value: float) -> str:
    return "none" if math.isnan(value) else str(on_paper(value))


def _where(what: str, leads: tuple[str, ...]) -> str:
    return f"{what} in {' '.join(leads)}." if leads else ""


def report(r: Reading) -> str:
    """A reading in the house style, without what is unknown. Intervals and axis are in tens of ms and degrees."""
    found = [code for code in CODES if code in r.findings]  # rhythms come first
    names = ["unknown rhythm"] * set(RHYTHMS).isdisjoint(found) + [NAMES[code] for code in found]
    reasons = [EVIDENCE[code] for code in found if code not in SINUS]  # a sinus rhythm needs no more than its rate
    intervals = [(n, key) for n, key in zip(("PR", "QRS", "QT", "QTc"), NUMBERS[1:]) if key not in r.unknown]
    sentences = {  # what it tells -> how
        "rate_bpm": f"Rate {'none' if math.isnan(r.rate_bpm) else round(r.rate_bpm)} bpm.",
        "rhythm": f"Rhythm {names[0]}.",
        "intervals": f"{', '.join(f'{n} {_tens(getattr(r, key))}' for n, key in intervals)} ms." if intervals else "",
        "axis_deg": f"Axis {_tens(r.axis_deg)} degrees.",
        "q_waves": _where("Q waves", r.q_waves),
        "st_up": f"{_where('ST elevation', r.st_up)} {_where('ST depression', r.st_down)}".strip() or "ST level.",
        "t_inverted": _where("T inverted", r.t_inverted) or "T upright.",
        "t_tall": _where("T tall", r.t_tall),
        "evidence": f"Evidence: {'; '.join(reasons)}." if reasons else "",
        "conclusion": f"Conclusion: {NAMES['NORM'] if found == ['SR', 'NORM'] else ', '.join(names)}.",
    }
    return " ".join(text for fact, text in sentences.items() if text and fact not in r.unknown)
