"""What a text says beside what is true, claim by claim: what `grounded` counts."""

import math

from ..ecg import LEADS
from ..language import Reading
from ..language.statements import FEATURES, Said
from .contradictions import contradictions, required

TOLERANCE = {"rate_bpm": 5, "pr_ms": 20, "qrs_ms": 15, "qt_ms": 25, "qtc_ms": 30, "axis_deg": 15}
WAVES = {"ST": ("st_up", "st_down"), "T": ("t_inverted", "t_tall"), "Q": ("q_waves",)}


def f1(right: float, wrong: float, wanted: float) -> float:
    """F1 of `right` of `wanted` things, with `wrong` other ones said."""
    return 2 * right / (right + wrong + wanted) if wanted + wrong else 0.0


def _pairs(features: tuple[str, ...], leads: tuple[str, ...]) -> set[tuple[str, str]]:
    return {(feature, lead) for feature in features for lead in leads}


class Judged:
    """Said beside true: what is right and what is wrong, each claim by itself."""

    def __init__(self, said: Said, truth: Reading):
        self.said, self.truth = said, truth
        self.right_numbers = {key for key, values in said.numbers.items() if all(self._near(key, v) for v in values)}
        self.wrong_numbers = set(said.numbers) - self.right_numbers
        self.true_pairs = {(feature, lead) for feature in FEATURES for lead in getattr(truth, feature)}
        pairs = {(feature, lead) for feature, leads in said.leads.items() for lead in leads}
        denials = [_pairs(*denial) for denial in said.leads_denied]
        self.false_denials = [denial for denial in denials if denial & self.true_pairs]
        self.level = set().union(*(denial for denial in denials if not denial & self.true_pairs))
        self.right_pairs = pairs & self.true_pairs - set().union(*self.false_denials)
        self.wrong_pairs = pairs - self.true_pairs
        self.spoken_of = {wave for wave, features in WAVES.items() if any(f in features for f, _ in self.right_pairs)}
        self.right_signs = said.evidence & truth.findings
        self.wrong_signs = said.evidence - truth.findings

    def _near(self, key: str, value: float) -> bool:
        true = getattr(self.truth, key)
        if math.isnan(true) or math.isnan(value):
            return math.isnan(true) and math.isnan(value)
        error = abs(value - true)
        return (min(error % 360, -error % 360) if key == "axis_deg" else error) <= TOLERANCE[key]

    # --- conclusions

    def contradicted(self, code: str) -> bool:
        """Does something false in the text speak against this true finding?"""
        false = Said(
            numbers={k: tuple(v for v in self.said.numbers[k] if not self._near(k, v)) for k in self.wrong_numbers},
            findings=self.said.findings - self.truth.findings | {code},
            leads_denied=tuple(d for d in self.said.leads_denied if _pairs(*d) & self.true_pairs),
        )
        return code in contradictions(false)

    def belief(self, code: str) -> float:
        """How firmly a true finding is said: 1, 0.5 if only as possible, 0 if not or if it is denied."""
        if code in self.said.denied:
            return 0.0
        return 1.0 if code in self.said.findings else 0.5 if code in self.said.uncertain else 0.0

    def wrong_findings(self, weight=lambda code: 1) -> float:
        """False findings said, true ones denied, and false ones held possible (half)."""
        said, truth = self.said, self.truth.findings
        false = (said.findings - truth) | (said.denied & truth)
        return sum(map(weight, false)) + sum(weight(code) / 2 for code in said.uncertain - truth - said.findings)

    def points(self, code: str) -> int:
        """2 for a finding that is said and backed, 1 if it is said but not backed or only possible, 0 otherwise."""
        belief = self.belief(code)
        return 2 if belief == 1 and self.support(code) >= 0.5 else 1 if belief else 0

    def support(self, code: str) -> float:
        """The share of a true finding's required evidence that is told and true."""
        values = [value for value in map(self.told, required(code)) if value is not None]
        return sum(values) / len(values) if values else float("rate_bpm" in self.right_numbers)

    def told(self, item: tuple) -> float | None:
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
        return wave in self.spoken_of or all((f, lead) in self.level for f in features)

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
