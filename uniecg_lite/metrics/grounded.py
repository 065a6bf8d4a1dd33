"""How true is a report? Claims against truth and evidence by rule, nine scores (docs/scores.md).

The criteria are those of GEM (arXiv 2503.06073) and, for the ninth, of ECG-R1; there a language model gives the
points. Here each is a formula over claims, from 0 to 100. All of them keep three promises, whatever the text: taking
away a true statement never raises a score, adding a false one never raises a score, and a text that says nothing
scores 0.
"""

import math

from ..errors import BadRequest
from ..findings import LEAD_SIGNS, RHYTHMS, Reading, column, grouped
from ..language.report_parser import Statements, parse
from ..leads import LEADS
from .reports import angle_difference

TOLERANCE = {"rate_bpm": 5, "pr_ms": 20, "qrs_ms": 15, "qt_ms": 25, "qtc_ms": 30, "axis_deg": 15}
WAVES = {"ST": ("st_up", "st_down"), "T": ("t_inverted", "t_tall"), "Q": ("q_waves",)}


def f1(right: float, wrong: float, wanted: float) -> float:
    """F1 of `right` of `wanted` things, with `wrong` other ones said."""
    return 2 * right / (right + wrong + wanted) if wanted + wrong else 0.0


def _pairs(features: tuple[str, ...], leads: tuple[str, ...]) -> set[tuple[str, str]]:
    return {(feature, lead) for feature in features for lead in leads}


class Judged:
    """Said beside true: what is right and what is wrong, each claim by itself."""

    def __init__(self, stated: Statements, truth: Reading):
        self.stated, self.truth = stated, truth
        self.right_numbers = {key for key, values in stated.numbers.items() if all(self._near(key, v) for v in values)}
        self.wrong_numbers = set(stated.numbers) - self.right_numbers
        self.true_pairs = {(feature, lead) for feature in LEAD_SIGNS for lead in getattr(truth, feature)}
        pairs = {(feature, lead) for feature, leads in stated.leads.items() for lead in leads}
        denials = [_pairs(*denial) for denial in stated.leads_denied]
        self.false_denials = [denial for denial in denials if denial & self.true_pairs]
        self.level = set().union(*(denial for denial in denials if not denial & self.true_pairs))
        self.right_pairs = pairs & self.true_pairs - set().union(*self.false_denials)
        self.wrong_pairs = pairs - self.true_pairs
        self.facts_named = {wave for wave, features in WAVES.items() if any(f in features for f, _ in self.right_pairs)}
        self.right_signs = stated.evidence & truth.findings
        self.wrong_signs = stated.evidence - truth.findings

    def _near(self, key: str, value: float) -> bool:
        true = getattr(self.truth, key)
        if math.isnan(true) or math.isnan(value):
            return math.isnan(true) and math.isnan(value)
        error = angle_difference(value, true) if key == "axis_deg" else abs(value - true)
        return error <= TOLERANCE[key]

    # --- conclusions

    def contradicted(self, code: str) -> bool:
        """Does something false in the text speak against this true finding?"""
        false = Statements(
            numbers={k: tuple(v for v in self.stated.numbers[k] if not self._near(k, v)) for k in self.wrong_numbers},
            findings=self.stated.findings - self.truth.findings | {code},
            leads_denied=tuple(d for d in self.stated.leads_denied if _pairs(*d) & self.true_pairs),
        )
        return code in contradictions(false)

    def belief(self, code: str) -> float:
        """How firmly a true finding is said: 1, 0.5 if only as possible, 0 if not or if it is denied."""
        if code in self.stated.denied:
            return 0.0
        return 1.0 if code in self.stated.findings else 0.5 if code in self.stated.uncertain else 0.0

    def wrong_findings(self, weight=lambda code: 1) -> float:
        """False findings said, true ones denied, and false ones held possible (half)."""
        stated, truth = self.stated, self.truth.findings
        false = (stated.findings - truth) | (stated.denied & truth)
        return sum(map(weight, false)) + sum(weight(code) / 2 for code in stated.uncertain - truth - stated.findings)

    def points(self, code: str) -> int:
        """2 for a finding that is said and backed, 1 if it is said but not backed or only possible, 0 otherwise."""
        belief = self.belief(code)
        return 2 if belief == 1 and self.support(code) >= 0.5 else 1 if belief else 0

    def support(self, code: str) -> float:
        """The share of a true finding's required evidence that is told and true."""
        values = [value for value in map(self.score_of, required(code)) if value is not None]
        return sum(values) / len(values) if values else float("rate_bpm" in self.right_numbers)

    def score_of(self, item: tuple) -> float | None:
        """How far one piece of evidence is told, 0 to 1; None where the truth has nothing to tell."""
        if len(item) == 2:
            inside = {(item[0], lead) for lead in item[1]}
            true, right = self.true_pairs & inside, self.right_pairs & inside
            return len(right) / (len(true) + len(self.wrong_pairs & inside)) if true else None
        if item[0] in TOLERANCE:
            return float(item[0] in self.right_numbers)
        return float(item[0] in self.right_signs)

    # --- leads

    def _licensed(self, wave: str, lead: str) -> bool:
        """Is it told, and true, that this lead shows nothing, or is something right said of this wave elsewhere?"""
        features = WAVES[wave][:1] if wave == "T" else WAVES[wave]
        return wave in self.facts_named or all((f, lead) in self.level for f in features)

    def assessed(self, wave: str, lead: str) -> bool:
        """Does the text tell what this wave truly does in this lead?"""
        true = {(f, lead) for f in WAVES[wave]} & self.true_pairs
        return true <= self.right_pairs if true else wave == "Q" or self._licensed(wave, lead)

    def lead_points(self, lead: str) -> int:
        """2 if ST, T and Q of this lead are told right and nothing wrong, 1 if ST or T is, 0 otherwise."""
        right = {w: self.assessed(w, lead) and not {(f, lead) for f in WAVES[w]} & self.wrong_pairs for w in WAVES}
        return 2 if all(right.values()) else int(right["ST"] or right["T"])

    def wave(self, wave: str) -> float | None:
        """F1 of the (feature, lead) pairs of a wave; where the truth has none, the share of leads said to have none.

        None for a Q wave that nobody has and nobody claims.
        """
        own = {(f, lead) for f in WAVES[wave] for lead in LEADS}
        true = self.true_pairs & own
        wrong = len(self.wrong_pairs & own) + sum(bool(denial & own) for denial in self.false_denials)
        if true:
            return f1(len(self.right_pairs & own), wrong, len(true))
        if wave == "Q" and not wrong:
            return None
        return 0.0 if wrong or wave == "Q" else sum(self._licensed(wave, lead) for lead in LEADS) / 12

    def false_leads(self) -> int:
        """Wrong statements about leads."""
        return len(self.wrong_pairs) + len(self.false_denials)


# --- Does a text agree with itself? Conclusions beside the numbers, leads and other conclusions of the same text.

# What must be told for a conclusion to be backed: numbers, a feature in the finding's leads ("@": in any lead), or
# "sign", the finding's evidence in words. Each counts alike.
REQUIRED, PLACES = column("requires"), column("leads")
EXPECTED = {  # finding -> number -> what may stand beside it in the same text, the tolerance included
    code: {key: (-math.inf if a is None else a, math.inf if b is None else b) for key, (a, b) in wanted.items()}
    for code, wanted in column("expects").items()
}
NO_PR, NEEDS_PR = (grouped("pr")[kind] for kind in ("none", "needed"))


def required(code: str) -> list[tuple]:
    """What backs a finding: (number,), (feature, the leads it may stand in) or (code,) for its evidence in words."""
    out = []
    for item in REQUIRED[code]:
        feature = item.removeprefix("@")
        if feature in LEAD_SIGNS:
            out.append((feature, LEADS if item[0] == "@" else tuple(PLACES[code])))
        else:
            out.append((code,) if item == "sign" else (item,))
    return out


def contradictions(stated: Statements) -> dict[str, str]:
    """Findings that the rest of the same text speaks against, and why. No truth is needed."""
    out = {}
    for code in sorted(stated.findings):
        reasons = [*_against_numbers(code, stated), *_against_leads(code, stated), *_against_findings(code, stated)]
        if reasons:
            out[code] = reasons[0]
    return out


def _against_numbers(code: str, stated: Statements):
    for key, (low, high) in EXPECTED.get(code, {}).items():
        for value in stated.numbers.get(key, ()):
            if not math.isnan(value) and not low <= (_turned(value) if key == "axis_deg" else value) <= high:
                yield f"{key} {value:g}"
    for value in stated.numbers.get("pr_ms", ()):
        if code in (NEEDS_PR if math.isnan(value) else NO_PR):
            yield "no PR" if math.isnan(value) else f"a PR of {value:g} ms"


def _against_leads(code: str, stated: Statements):
    for feature, places in (item for item in required(code) if len(item) == 2):
        for features, leads in stated.leads_denied:
            if feature in features and set(places) <= set(leads):
                yield f"{feature} denied"


def _against_findings(code: str, stated: Statements):
    if code in stated.denied:
        yield "denied as well"
    if code in RHYTHMS and len(stated.findings & set(RHYTHMS)) > 1:
        yield "more than one rhythm"
    if "NORM" in stated.findings and code != "SR" and (code != "NORM" or stated.findings - {"SR", "NORM"}):
        yield "normal ECG and findings"


def _turned(axis: float) -> float:
    """An angle between -165 and 195 degrees."""
    return (axis + 165) % 360 - 165


ANCHORED = ("ECGFeatureGrounding", "EvidenceBasedReasoning", "ClinicalDiagnosticFidelity")  # their mean is the Average
SCORES = (
    *("DiagnosisAccuracy", "AnalysisCompleteness", "AnalysisRelevance", "LeadAssessmentCoverage"),
    *("LeadAssessmentAccuracy", *ANCHORED, "LeadEvidenceValidity"),
)
CRITICAL = tuple(column("critical"))
CRITICAL_WEIGHT = 3


def grounded(texts: list[str], readings: list[Reading]) -> dict[str, float]:
    """The mean of every score over records, and `Unreadable`: the share of texts (%) in which nothing was understood.

    No text is left out: what cannot be read scores 0.

    Raises:
        BadRequest: another number of texts than of readings, or none.
    """
    if len(texts) != len(readings) or not texts:
        raise BadRequest(
            f"{len(texts)} texts for {len(readings)} readings: give one text for each reading, at least one."
        )
    stated = [parse(text) for text in texts]
    rows = [score(one, truth) for one, truth in zip(stated, readings)]
    means = {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}
    return means | {"Unreadable": 100 * sum(not one for one in stated) / len(stated)}


def grounded_one(text: str, reading: Reading) -> dict[str, float]:
    """Every score of one text against one reading, and their `Average`; all from 0 to 100."""
    return score(parse(text), reading)


def score(stated: Statements, truth: Reading) -> dict[str, float]:
    """`grounded_one` of a text that was read already."""
    j = Judged(stated, truth)
    out = {
        "DiagnosisAccuracy": _share(
            sum(j.points(code) for code in truth.findings) / 2, len(truth.findings), j.wrong_findings()
        ),
        "AnalysisCompleteness": _completeness(j),
        "AnalysisRelevance": _relevance(j),
        "LeadAssessmentCoverage": 100 * sum(j.assessed("ST", x) and j.assessed("T", x) for x in LEADS) / 12,
        "LeadAssessmentAccuracy": 100 * sum(j.lead_points(lead) for lead in LEADS) / 24,
        "ECGFeatureGrounding": _feature_grounding(j),
        "EvidenceBasedReasoning": _share(
            sum(j.belief(code) * j.support(code) for code in truth.findings), len(truth.findings), j.wrong_findings()
        ),
        "ClinicalDiagnosticFidelity": _fidelity(j),
        "LeadEvidenceValidity": _lead_evidence(j),
    }
    return out | {"Average": sum(out[name] for name in ANCHORED) / 3}


def _share(right: float, wanted: float, wrong: float) -> float:
    """right / (wanted + wrong) in %: rises with what is right, falls with what is wrong."""
    return 100 * right / (wanted + wrong) if wanted + wrong else 0.0


def _completeness(j: Judged) -> float:
    """How many parts of a full report are told right: rate, rhythm, PR, QRS, QT or QTc, axis, ST, T and Q waves."""
    measurable = [key for key in ("rate_bpm", "pr_ms", "qrs_ms", "axis_deg") if not math.isnan(getattr(j.truth, key))]
    parts = [float(key in j.right_numbers) for key in measurable]
    parts.append(float(bool({"qt_ms", "qtc_ms"} & j.right_numbers)))
    parts.append(max((j.belief(code) for code in j.truth.findings & set(RHYTHMS)), default=0.0))
    parts += [value for value in map(j.wave, WAVES) if value is not None]
    return 100 * sum(parts) / len(parts)


def _relevance(j: Judged) -> float:
    """The required evidence that is told, over that and every false number, lead or sign."""
    items = dict.fromkeys(item for code in sorted(j.truth.findings) for item in required(code))
    values = [value for value in map(j.score_of, items) if value is not None]
    return _share(sum(values), len(values), len(j.wrong_numbers) + j.false_leads() + len(j.wrong_signs))


def _feature_grounding(j: Judged) -> float:
    """Half for the numbers (F1), half for the leads (mean over ST, T and Q)."""
    wanted = {key for key in TOLERANCE if not math.isnan(getattr(j.truth, key))}
    numbers = f1(len(j.right_numbers & wanted), len(j.wrong_numbers), len(wanted))
    waves = [value for value in map(j.wave, WAVES) if value is not None]
    return 100 * (numbers + sum(waves) / len(waves)) / 2


def _fidelity(j: Judged) -> float:
    """Conclusions, critical ones three times; nothing for a finding that a false part of the text speaks against.

    50 at most if a critical finding is missed.
    """

    def weight(code):
        return CRITICAL_WEIGHT if code in CRITICAL else 1

    true = j.truth.findings
    right = sum(weight(code) * j.belief(code) for code in true if not j.contradicted(code))
    value = _share(right, sum(map(weight, true)), j.wrong_findings(weight))
    return min(value, 50.0) if any(code in CRITICAL and not j.belief(code) for code in true) else value


def _lead_evidence(j: Judged) -> float:
    """Points (2, 1, 0) of the leads that carry a true finding; where none does, of ST and T."""
    finding = {}
    for code in j.truth.findings:
        for item in (item for item in required(code) if len(item) == 2):
            for pair in j.true_pairs & {(item[0], lead) for lead in item[1]}:
                finding.setdefault(pair, set()).add(code)
    if finding:
        points = sum((pair in j.right_pairs) * (1 + max(map(j.belief, codes))) for pair, codes in finding.items())
        return _share(points, 2 * len(finding), 2 * j.false_leads())
    return _share((j.wave("ST") or 0.0) + (j.wave("T") or 0.0), 2, j.false_leads())
