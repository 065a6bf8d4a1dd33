"""Grounded understanding by rule: the published judge's criteria, computed from what a text says and what is true.

The criteria are those of GEM (arXiv 2503.06073) and, for the ninth, of ECG-R1; there a language model gives the points.
Here each is a formula over claims, from 0 to 100, told on the page `docs/scores.md`. All of them keep three promises,
whatever the text: taking away a true statement never raises a score, adding a false one never raises a score, and a
text that says nothing scores 0.
"""

import math

from ..ecg import LEADS
from ..errors import BadRequest
from ..language import RHYTHMS, Reading
from ..language.statements import Said, parse
from .claims import TOLERANCE, WAVES, Judged, f1
from .contradictions import required

ANCHORED = ("ECGFeatureGrounding", "EvidenceBasedReasoning", "ClinicalDiagnosticFidelity")  # their mean is the Average
SCORES = (
    *("DiagnosisAccuracy", "AnalysisCompleteness", "AnalysisRelevance", "LeadAssessmentCoverage"),
    *("LeadAssessmentAccuracy", *ANCHORED, "LeadEvidenceValidity"),
)
CRITICAL = ("VT", "3AVB", "MOB2", "STE_ANT", "STE_SEP", "STE_LAT", "STE_INF", "STE_POST", "HYPERK", "BRUG")
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
    said = [parse(text) for text in texts]
    rows = [score(one, truth) for one, truth in zip(said, readings)]
    means = {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}
    return means | {"Unreadable": 100 * sum(not one for one in said) / len(said)}


def grounded_one(text: str, reading: Reading) -> dict[str, float]:
    """Every score of one text against one reading, and their `Average`; all from 0 to 100."""
    return score(parse(text), reading)


def score(said: Said, truth: Reading) -> dict[str, float]:
    """`grounded_one` of a text that was read already."""
    j = Judged(said, truth)
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
    values = [value for value in map(j.told, items) if value is not None]
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
