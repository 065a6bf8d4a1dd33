"""How true is a report? Claims against truth and evidence by rule, nine scores (docs/scores.md).

The criteria are those of GEM (arXiv 2503.06073) and, for the ninth, of ECG-R1; there a language model gives the
points. Here each is a formula over claims, from 0 to 100. All of them keep three promises, whatever the text: taking
away a true statement never raises a score, adding a false one never raises a score, and a text that says nothing
scores 0.
"""

import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import product

from ..errors import BadRequest, require
from ..findings import CODES, EXPECTED, LEAD_SIGNS, RHYTHMS, Reading, column, grouped
from ..language.report_parser import Statements, parse
from ..leads import LEADS
from .reports import difference

TOLERANCE = {"rate_bpm": 5, "pr_ms": 20, "qrs_ms": 15, "qt_ms": 25, "qtc_ms": 30, "axis_deg": 15}
WAVES = {"ST": ("st_up", "st_down"), "T": ("t_inverted", "t_tall"), "Q": ("q_waves",)}
CRITICAL = column("critical")
ALIKE = dict.fromkeys(CODES, 1)
WEIGHTS = ALIKE | dict.fromkeys(CRITICAL, 3)


def f1(right: float, wrong: float, wanted: float) -> float:
    """F1 of `right` of `wanted` things, with `wrong` other ones said."""
    return 2 * right / (right + wrong + wanted) if wanted + wrong else 0.0


def _pairs(features: tuple[str, ...], leads: tuple[str, ...]) -> set[tuple[str, str]]:
    return set(product(features, leads))


# --- Does a text agree with itself? Conclusions beside the numbers, leads and other conclusions of the same text.


def _required(code: str, item: str) -> tuple:
    feature = item.removeprefix("@")
    if feature in LEAD_SIGNS:
        return feature, LEADS if item[0] == "@" else tuple(PLACES[code])
    return (code if item == "sign" else item,)


# What must be told for a conclusion to be backed; each counts alike: (number,), (feature, the leads it may stand in:
# the finding's, or with "@" any) or (code,) for "sign", the finding's evidence in words.
PLACES = column("leads")
REQUIRED = {code: [_required(code, item) for item in items] for code, items in column("requires").items()}
NO_PR, NEEDS_PR = (grouped("pr")[kind] for kind in ("none", "needed"))


def contradictions(code: str, stated: Statements) -> Iterator[str]:
    """What speaks against one of the findings in the rest of the same text. No truth is needed."""
    for key, (low, high) in EXPECTED.get(code, {}).items():
        for value in stated.numbers.get(key, ()):
            turned = (value + 165) % 360 - 165 if key == "axis_deg" else value  # an angle from -165 to 195 degrees
            if not math.isnan(value) and not low <= turned <= high:
                yield f"{key} {value:g}"
    for value in stated.numbers.get("pr_ms", ()):
        if code in (NEEDS_PR if math.isnan(value) else NO_PR):
            yield "no PR" if math.isnan(value) else f"a PR of {value:g} ms"
    for feature, places in (item for item in REQUIRED[code] if len(item) == 2):
        if any(feature in features and set(places) <= set(leads) for features, leads in stated.leads_denied):
            yield f"{feature} denied"
    if code in stated.denied:
        yield "denied as well"
    if code in RHYTHMS and len(stated.findings & set(RHYTHMS)) > 1:
        yield "more than one rhythm"
    if "NORM" in stated.findings and code != "SR" and (code != "NORM" or stated.findings - {"SR", "NORM"}):
        yield "normal ECG and findings"


def _without_borderline(stated: Statements, truth: Reading) -> tuple[Statements, Reading]:
    """Both without what is borderline, which is neither right nor wrong, called or not.

    An ECG always has one rhythm: of two on either side of a limit, the one that is said is taken for the true one.
    """
    grey, true, rhythms = truth.borderline, truth.findings, frozenset(RHYTHMS)
    named = stated.findings & grey & rhythms
    if len(named) == 1 and true & grey & rhythms:
        true = true - rhythms | named
    true = true - (grey - rhythms)
    parts = {key: getattr(stated, key) - (grey - true) for key in ("findings", "uncertain", "evidence")}
    return replace(stated, denied=stated.denied - grey, **parts), replace(truth, findings=true)


class Judged:
    """Said beside true: what is right and what is wrong, each claim by itself."""

    def __init__(self, stated: Statements, truth: Reading):
        self.stated, self.truth = stated, truth = _without_borderline(stated, truth)
        wrong = {key: tuple(v for v in values if not self._near(key, v)) for key, values in stated.numbers.items()}
        self.true_pairs = {(feature, lead) for feature in LEAD_SIGNS for lead in getattr(truth, feature)}
        pairs = {(feature, lead) for feature, leads in stated.leads.items() for lead in leads}
        self.false = Statements(  # numbers, findings and denials
            numbers={key: values for key, values in wrong.items() if values},
            findings=stated.findings - truth.findings,
            leads_denied=tuple(denial for denial in stated.leads_denied if _pairs(*denial) & self.true_pairs),
        )
        self.right_numbers = stated.numbers.keys() - self.false.numbers.keys()
        self.false_denials = [_pairs(*denial) for denial in self.false.leads_denied]
        self.level = set().union(*(_pairs(*d) for d in stated.leads_denied if d not in self.false.leads_denied))
        self.right_pairs = pairs & self.true_pairs - set().union(*self.false_denials)
        self.wrong_pairs = pairs - self.true_pairs
        self.false_leads = len(self.wrong_pairs) + len(self.false_denials)  # wrong statements about leads

    def _near(self, key: str, value: float) -> bool:
        true = getattr(self.truth, key)
        return difference(key, value, true) <= TOLERANCE[key] or (math.isnan(value) and math.isnan(true))

    # --- conclusions

    def belief(self, code: str) -> float:
        """How firmly a true finding is said: 1, 0.5 if only as possible, 0 if not or if it is denied."""
        if code in self.stated.denied:
            return 0.0
        return 1.0 if code in self.stated.findings else 0.5 if code in self.stated.uncertain else 0.0

    def wrong_findings(self, weights: dict[str, int] = ALIKE) -> float:
        """False findings said, true ones denied, and false ones held possible (half)."""
        stated, truth = self.stated, self.truth.findings
        false = self.false.findings | (stated.denied & truth)
        possible = stated.uncertain - truth - stated.findings
        return sum(map(weights.get, false)) + sum(map(weights.get, possible)) / 2

    def points(self, code: str) -> int:
        """2 for a finding that is said and backed, 1 if it is said but not backed or only possible, 0 otherwise."""
        belief = self.belief(code)
        return 2 if belief == 1 and self.support(code) >= 0.5 else 1 if belief else 0

    def support(self, code: str) -> float:
        """The share of a true finding's required evidence that is told and true."""
        values = self.shares(REQUIRED[code])
        return sum(values) / len(values) if values else float("rate_bpm" in self.right_numbers)

    def shares(self, items) -> list[float]:
        """How far each piece of evidence is told, 0 to 1, of those where the truth has something to tell."""
        values = []
        for name, *leads in items:
            inside = _pairs((name,), *leads) if leads else set()
            true, right = self.true_pairs & inside, self.right_pairs & inside
            if true:
                values.append(len(right) / (len(true) + len(self.wrong_pairs & inside)))
            elif not leads:
                values.append(float(name in (self.right_numbers if name in TOLERANCE else self.stated.evidence)))
        return values

    # --- leads

    def _licensed(self, wave: str, lead: str) -> bool:
        """Is it told, and true, that this lead shows nothing, or is something right said of this wave elsewhere?"""
        features = WAVES[wave][:1] if wave == "T" else WAVES[wave]
        return bool(self.right_pairs & _pairs(WAVES[wave], LEADS)) or _pairs(features, (lead,)) <= self.level

    def assessed(self, wave: str, lead: str) -> bool:
        """Does the text tell what this wave truly does in this lead?"""
        true = _pairs(WAVES[wave], (lead,)) & self.true_pairs
        return true <= self.right_pairs if true else wave == "Q" or self._licensed(wave, lead)

    def lead_points(self, lead: str) -> int:
        """2 if ST, T and Q of this lead are told right and nothing wrong, 1 if ST or T is, 0 otherwise."""
        right = {w: self.assessed(w, lead) and not _pairs(WAVES[w], (lead,)) & self.wrong_pairs for w in WAVES}
        return 2 if all(right.values()) else int(right["ST"] or right["T"])

    def wave(self, wave: str) -> float | None:
        """F1 of the (feature, lead) pairs of a wave; where the truth has none, the share of leads said to have none.

        None for a Q wave that nobody has and nobody claims.
        """
        own = _pairs(WAVES[wave], LEADS)
        true = self.true_pairs & own
        wrong = len(self.wrong_pairs & own) + sum(bool(denial & own) for denial in self.false_denials)
        if true:
            return f1(len(self.right_pairs & own), wrong, len(true))
        if wave == "Q" and not wrong:
            return None
        return 0.0 if wrong or wave == "Q" else sum(self._licensed(wave, lead) for lead in LEADS) / 12

    def waves(self) -> list[float]:
        """`wave` of ST, T and Q, where there is one."""
        return [value for value in map(self.wave, WAVES) if value is not None]


# --- The nine scores, each from 0 to 100.


def _share(right: float, wanted: float, wrong: float) -> float:
    """right / (wanted + wrong) in %: rises with what is right, falls with what is wrong."""
    return 100 * right / (wanted + wrong) if wanted + wrong else 0.0


def _completeness(j: Judged) -> float:
    """How many parts of a full report are told right: rate, rhythm, PR, QRS, QT or QTc, axis, ST, T and Q waves."""
    measurable = [key for key in ("rate_bpm", "pr_ms", "qrs_ms", "axis_deg") if not math.isnan(getattr(j.truth, key))]
    parts = [
        *(float(key in j.right_numbers) for key in measurable),
        float(bool({"qt_ms", "qtc_ms"} & j.right_numbers)),
        max((j.belief(code) for code in j.truth.findings & set(RHYTHMS)), default=0.0),
        *j.waves(),
    ]
    return 100 * sum(parts) / len(parts)


def _relevance(j: Judged) -> float:
    """The required evidence that is told, over that and every false number, lead or sign."""
    values = j.shares(dict.fromkeys(item for code in sorted(j.truth.findings) for item in REQUIRED[code]))
    wrong = len(j.false.numbers) + j.false_leads + len(j.stated.evidence - j.truth.findings)
    return _share(sum(values), len(values), wrong)


def _feature_grounding(j: Judged) -> float:
    """Half for the numbers (F1), half for the leads (mean over ST, T and Q)."""
    wanted = {key for key in TOLERANCE if not math.isnan(getattr(j.truth, key))}
    numbers = f1(len(j.right_numbers & wanted), len(j.false.numbers), len(wanted))
    return 100 * (numbers + sum(j.waves()) / len(j.waves())) / 2


def _fidelity(j: Judged) -> float:
    """Conclusions, critical ones three times; nothing for a finding that a false part of the text speaks against.

    50 at most if a critical finding is missed.
    """
    true, false = j.truth.findings, j.false
    clear = [code for code in true if not any(contradictions(code, replace(false, findings=false.findings | {code})))]
    right = sum(WEIGHTS[code] * j.belief(code) for code in clear)
    value = _share(right, sum(map(WEIGHTS.get, true)), j.wrong_findings(WEIGHTS))
    return min(value, 50.0) if any(code in CRITICAL and not j.belief(code) for code in true) else value


def _lead_evidence(j: Judged) -> float:
    """Points (2, 1, 0) of the leads that carry a true finding; where none does, of ST and T."""
    belief: dict[tuple[str, str], float] = {}  # (feature, lead) -> how firmly a finding that it carries is said
    for code in j.truth.findings:
        for item in (item for item in REQUIRED[code] if len(item) == 2):
            for pair in j.true_pairs & _pairs(item[:1], item[1]):
                belief[pair] = max(belief.get(pair, 0.0), j.belief(code))
    if belief:
        points = sum(1 + belief[pair] for pair in belief.keys() & j.right_pairs)
        return _share(points, 2 * len(belief), 2 * j.false_leads)
    return _share((j.wave("ST") or 0.0) + (j.wave("T") or 0.0), 2, j.false_leads)


def _of_findings(j: Judged, right: float) -> float:
    return _share(right, len(j.truth.findings), j.wrong_findings())


RULES = {
    "DiagnosisAccuracy": lambda j: _of_findings(j, sum(map(j.points, j.truth.findings)) / 2),
    "AnalysisCompleteness": _completeness,
    "AnalysisRelevance": _relevance,
    "LeadAssessmentCoverage": lambda j: 100 * sum(j.assessed("ST", x) and j.assessed("T", x) for x in LEADS) / 12,
    "LeadAssessmentAccuracy": lambda j: 100 * sum(map(j.lead_points, LEADS)) / 24,
    "ECGFeatureGrounding": _feature_grounding,
    "EvidenceBasedReasoning": lambda j: _of_findings(j, sum(j.belief(x) * j.support(x) for x in j.truth.findings)),
    "ClinicalDiagnosticFidelity": _fidelity,
    "LeadEvidenceValidity": _lead_evidence,
}
SCORES = tuple(RULES)
ANCHORED = ("ECGFeatureGrounding", "EvidenceBasedReasoning", "ClinicalDiagnosticFidelity")  # their mean is the Average


def grounded_one(text: str, reading: Reading) -> dict[str, float]:
    """Every score of one text against one reading, and their `Average`; all from 0 to 100."""
    return _scored(Judged(parse(text), reading))


def _scored(judged: Judged) -> dict[str, float]:
    out = {name: rule(judged) for name, rule in RULES.items()}
    return out | {"Average": sum(out[name] for name in ANCHORED) / 3}


def grounded(texts: list[str], readings: list[Reading]) -> dict[str, float]:
    """The mean of every score over records, and `Unreadable`: the share of texts (%) in which nothing was understood.

    No text is left out: what cannot be read scores 0.

    Raises:
        BadRequest: another number of texts than of readings, or none.
    """
    sentence = f"{len(texts)} texts for {len(readings)} readings: give one text for each reading, at least one."
    require(len(texts) == len(readings) > 0, sentence, BadRequest)
    stated = [parse(text) for text in texts]
    rows = [_scored(Judged(one, truth)) for one, truth in zip(stated, readings)]
    means = {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}
    return means | {"Unreadable": 100 * sum(not one for one in stated) / len(stated)}
