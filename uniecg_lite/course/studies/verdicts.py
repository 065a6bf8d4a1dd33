"""From the cells of `table` and `making` to the claims U1 to U4 and S1 to S4, and to the table of systems."""

from pathlib import Path

from ...language.findings import table
from .summary import SEEDS, Spread, flat, judge, paired, summary, told

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
JUDGED = ("grounding", "evidence", "average")  # the three scores that the paper publishes
SLIGHT = 1.0  # points of 100: what "slightly below" may be at most
ENOUGH = 0.8  # of what true ECGs of held-out patients reach in the same score
HEARD = 5.0  # bpm: what ANSI/AAMI EC13 allows a heart-rate meter


def study_metrics(profile: str = "laptop", root: Path | None = None) -> dict[str, float]:
    """`table.*` from the cells of study `table`: means, with `.low`, `.high` and `.seeds`; empty without cells."""
    pairs = {
        f"table.{score}_ratio_vs_pulse": (("gem", f"uniecg.{name}"), ("pulse", name), "ratio")
        for score, name in SCORES.items()
    }
    pairs |= {
        "table.separate_over_shared": (("gem", "Average"), ("shared", "Average"), "difference"),
        "table.both_over_signal": (("gem", "Average"), ("gem", "signal.Average"), "difference"),
        "table.both_over_image": (("gem", "Average"), ("gem", "image.Average"), "difference"),
    }
    found = {key: paired("table", *pair, profile=profile, root=root) for key, pair in pairs.items()}
    gem = summary("table", profile, root).get("gem", {})
    single = ("stage2_change", "stage2_identical", "conflict.signal", "conflict.image", "evidence.ratio")
    found |= {f"table.{name}": gem.get(name) for name in (*single, "conflict.consistent", "evidence.control")}
    return flat(found)


def table_claims(metrics: dict[str, float]) -> dict[str, dict]:
    """Verdicts on U1 to U4 from `study_metrics`; a claim whose metrics are missing is left out."""
    published = {row["id"]: row["ratio"] for row in table("published")["scores"]["rows"]}
    found = {
        "U1": judge(
            metrics,
            "UniECG over PULSE: " + ", ".join(f"{score} x{published[score]}" for score in JUDGED),
            {f"table.{score}_ratio_vs_pulse": f"{score} x" for score in JUDGED},
            lambda *ratios: all(reaches(value, published[score]) for score, value in zip(JUDGED, ratios)),
        ),
        "U2": judge(
            metrics,
            "understanding slightly below the model before stage 2",
            {"table.stage2_change": "average changes by", "table.stage2_identical": "share of reports identical"},
            lambda change, same: change[1] >= -SLIGHT and change[2] <= 0,
        ),
        "U3": judge(
            metrics,
            "signal and image complement each other",
            {
                "table.both_over_signal": "both over signal alone",
                "table.both_over_image": "both over image alone",
                "table.conflict.signal": "in conflict the text follows the signal in a share of",
                "table.conflict.image": "the image in",
            },
            lambda signal, image, *_: signal[1] > 0 and image[1] > 0,
        ),
        "U4": judge(
            metrics,
            "each view needs a projection of its own",
            {"table.separate_over_shared": "average of separate over shared projections, equal parameters"},
            lambda gain: gain[1] > 0,
        ),
    }
    return {claim: about for claim, about in found.items() if about}


def making_metrics(profile: str = "laptop", root: Path | None = None) -> dict[str, float]:
    """`making.*` of our design from the cells of study `making`, as `study_metrics`; empty without cells."""
    ours = {"precision": "held_out.precision", "recall": "held_out.recall"}
    true = ("findings_macro_f1", "rare.findings_macro_f1")
    pairs = {f"making.{name}_share": (("ours", name), ("ours", other), "ratio") for name, other in ours.items()}
    pairs |= {f"making.{name}_share": (("ours", name), ("simulator", name), "ratio") for name in true}
    found = {key: paired("making", *pair, profile=profile, root=root) for key, pair in pairs.items()}
    cells = summary("making", profile, root).get("ours", {})
    single = ("fid_ratio_to_floor", "hr_median_error_bpm", "sweep.hr_median_error_bpm", "rare.examples", *true)
    return flat(found | {f"making.{name}": cells.get(name) for name in single})


def making_claims(metrics: dict[str, float]) -> dict[str, dict]:
    """Verdicts on S1 to S4 from `making_metrics`; a claim whose metrics are missing is left out."""
    found = {
        "S1": judge(
            metrics,
            "made ECGs are realistic and diverse",
            {
                "making.precision_share": f"precision over that of held-out ECGs, {ENOUGH} wanted:",
                "making.recall_share": "recall over theirs:",
                "making.fid_ratio_to_floor": "FID over theirs:",
            },
            lambda precision, recall, _: min(precision[1], recall[1]) >= ENOUGH,
        ),
        "S2": judge(
            metrics,
            "made ECGs follow the report",
            {
                "making.findings_macro_f1": "macro F1 of findings, by an independent reader,",
                "making.findings_macro_f1_share": f"over that of the patients' own ECGs, {ENOUGH} wanted:",
            },
            lambda _, share: share[1] >= ENOUGH,
        ),
        "S3": judge(
            metrics,
            "made ECGs follow heart rate and age",
            {
                "making.hr_median_error_bpm": f"age is not measured; median error of rates in bpm, {HEARD:g} wanted:",
                "making.sweep.hr_median_error_bpm": "swept from 40 to 150:",
            },
            lambda *errors: max(error[2] for error in errors) <= HEARD,
        ),
        "S4": judge(
            metrics,
            "rare findings can be made from few examples",
            {
                "making.rare.findings_macro_f1": "macro F1 of the rarest findings",
                "making.rare.findings_macro_f1_share": f"over that of the patients' own ECGs, {ENOUGH} wanted:",
                "making.rare.examples": "training examples of one, at most",
            },
            lambda _, share, __: share[1] >= ENOUGH,
        ),
    }
    if found["S3"] and found["S3"]["verdict"] == "reproduced":  # of its two parts one has no measure
        found["S3"]["verdict"] = "not testable here"
    return {claim: about for claim, about in found.items() if about}


def reaches(value: Spread, ratio: float) -> bool:
    """Whether a ratio is the paper's or more on average, and above 1 for every seed."""
    return value[0] >= ratio and value[1] > 1


def system_table(profile: str = "laptop", root: Path | None = None) -> str:
    """Every system and score as a Markdown table: the paper's value, ours with spread, ratio to PULSE, verdict."""
    cells = summary("table", profile, root)
    if not cells:
        return f"Not run yet: `python -m uniecg_lite study table --profile {profile}`."
    lines = [
        "| score | system | paper | ours (seeds) | ratio to PULSE, paper | ours | verdict |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in table("published")["scores"]["rows"]:
        name, metric = row["name"] + (" (derived)" if row["derived"] else ""), SCORES[row["id"]]
        for system, (variant, prefix, paper) in SYSTEMS.items():
            value = cells.get(variant, {}).get(prefix + metric)
            ratio = paired("table", (variant, prefix + metric), ("pulse", metric), "ratio", profile, root)
            wanted = row["ratio"] if paper == "UniECG" else None
            verdict = "" if wanted is None or ratio is None else _verdict(ratio, wanted)
            published = row.get(paper) if paper else None
            lines.append(
                f"| {name} | {system} | {'' if published is None else published} | {told(value)} | "
                f"{wanted or ''} | {'1' if variant == 'pulse' else told(ratio, '.3g')} | {verdict} |"
            )
    return "\n".join(lines)


def _verdict(ratio: Spread, wanted: float) -> str:
    if ratio[3] < SEEDS:
        return "not testable here"
    return "reproduced" if reaches(ratio, wanted) else "not reproduced"
