"""What do the cells say of the papers' claims U1 to U15, S1 to S4 and D1 to D7, and how do the systems compare?

`data/claims.json` has, for each group of studies, `metrics` and `claims`. A metric is a mean over seeds, as in
`table: gem stage2_change`, or a comparison seed by seed, as in `making: ours recall / ours held_out.recall` (or with
`-`). A claim holds if all its rules do, such as `diag.open.qa.low > 0`; on the right there may be a number, another
metric, or a sum of products of such. `needed` metrics are told in words; without a `wished` one a claim may fail, not
hold. The group `chain` is of single runs: `ours` tells them, and `testable_if` are rules without which nothing is said.
"""

import math
import operator
from pathlib import Path

from ..findings import table
from .study import SEEDS, Spread, markdown, paired, spread_text, summary

GROUPS = table("claims")
ENDS = ("", ".low", ".high", ".seeds")  # of a metric's name: mean, lowest, highest, number of seeds
RULES = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


def claim_metrics(group: str | None = None, profile: str = "laptop", root: Path | None = None) -> dict[str, float]:
    """The metrics of claims from the cells: means, with `.low`, `.high` and `.seeds`; empty without cells.

    Args:
        group: `table`, `making`, `mapping`, `augmentation` or `diag`; None for all.
        profile: which cells.
        root: where they are kept.
    """
    wanted = {key: what for each in ([group] if group else GROUPS) for key, what in GROUPS[each]["metrics"].items()}
    found = {key: _measured(what, profile, root) for key, what in wanted.items()}
    return {key + end: part for key, value in found.items() if value for end, part in zip(ENDS, value)}


def _measured(what: str, profile: str, root: Path | None) -> Spread | None:
    """`study: variant metric`, or two of them with `-` or `/` between, from the cells."""
    study, _, words = what.partition(": ")
    variant, metric, *other = words.split()
    if not other:
        return summary(study, profile, root).get(variant, {}).get(metric)
    return paired(study, (variant, metric), (other[1], other[2]), other[0] == "/", profile, root)


def verdicts(metrics: dict[str, float], group: str | None = None) -> dict[str, dict]:
    """Claim -> {paper, ours, verdict}, of one group or of all; a claim whose metrics are missing is left out.

    The verdict is: reproduced, not reproduced, or not testable here (too few seeds, or a wished metric is missing). A
    claim of the chain and of a study (U2) is judged by the study where there is one.

    Args:
        metrics: as `claim_metrics` makes them.
        group: as there.
    """
    claims = [item for each in ([group] if group else GROUPS) for item in GROUPS[each]["claims"].items()]
    found = {name: _judge(claim, metrics) for name, claim in claims if {*claim["needed"]} <= metrics.keys()}
    return dict(sorted(found.items(), key=lambda item: ("USD".index(item[0][0]), int(item[0][1:]))))


def _judge(claim: dict, metrics: dict[str, float]) -> dict:
    holds = all(_holds(rule, metrics) for rule in claim["holds_if"] if rule.split()[0] in metrics)
    if "ours" in claim:
        testable = all(_holds(rule, metrics) for rule in claim.get("testable_if", []))
        return {"paper": claim["paper"], "ours": claim["ours"].format(m=metrics), "verdict": _verdict(holds, testable)}
    wished = claim.get("wished", {})
    words = {key: text for key, text in (claim["needed"] | wished).items() if key in metrics}
    values = [tuple(metrics[key + end] for end in ENDS) for key in words]
    enough = min(value[3] for value in values) >= claim.get("seeds", SEEDS)
    return {
        "paper": claim["paper"],
        "ours": "; ".join(f"{text} {spread_text(value, '.3g')}" for text, value in zip(words.values(), values)),
        "verdict": _verdict(holds, enough and (not holds or wished.keys() <= metrics.keys())),
    }


def _holds(rule: str, metrics: dict[str, float]) -> bool:
    left, sign, right = rule.split(maxsplit=2)
    terms = [[metrics[x] if x in metrics else float(x) for x in term.split(" * ")] for term in right.split(" + ")]
    return RULES[sign](metrics[left], sum(math.prod(term) for term in terms))


def _verdict(holds: bool, testable: bool) -> str:
    return ("reproduced" if holds else "not reproduced") if testable else "not testable here"


# --- The table of systems: PULSE-lite, GEM-lite and UniECG-lite beside the paper's, a trivial and a classical one.

SCORES = {
    "grounding": "ECGFeatureGrounding",
    "evidence": "EvidenceBasedReasoning",
    "clinical_fidelity": "ClinicalDiagnosticFidelity",
    "average": "Average",
}
SYSTEMS = {  # name: (variant, prefix of its metrics, what the paper calls it)
    "PULSE-lite": ("pulse", "", "PULSE"),
    "GEM-lite": ("gem", "", "GEM"),
    "UniECG-lite": ("gem", "uniecg.", "UniECG"),
    "trivial": ("trivial", "", None),
    "classical": ("classical", "", None),
}


def system_table(profile: str = "laptop", root: Path | None = None) -> str:
    """Every system and score as a Markdown table: the paper's value, ours with spread, ratio to PULSE, verdict.

    The verdict is judged as U1: the paper's ratio or more on average, and above 1 for every seed.
    """
    cells, rows = summary("table", profile, root), []
    if not cells:
        return f"Not run yet: `python -m uniecg_lite study table --profile {profile}`."
    for row in table("published")["scores"]["rows"]:
        name, metric = row["name"] + (" (derived)" if row["derived"] else ""), SCORES[row["id"]]
        for system, (variant, prefix, paper) in SYSTEMS.items():
            value = cells.get(variant, {}).get(prefix + metric)
            ratio = paired("table", (variant, prefix + metric), ("pulse", metric), True, profile, root)
            wanted, verdict = row["ratio"] if paper == "UniECG" else "", ""
            if wanted and ratio:
                verdict = _verdict(ratio[0] >= wanted and ratio[1] > 1, ratio[3] >= SEEDS)
            shown = "1" if variant == "pulse" else spread_text(ratio, ".3g")
            rows.append([name, system, row.get(paper, ""), spread_text(value), wanted, shown, verdict])
    return markdown(["score", "system", "paper", "ours (seeds)", "ratio to PULSE, paper", "ours", "verdict"], rows)
