"""What do the cells say of the papers' claims? U1 to U15, D1 to D7, S1 to S4."""

from pathlib import Path

from ..findings import table
from .study import SEEDS, Spread, flat, judge, paired, spread_text, summary

# --- From the cells of `table` and `making` to the claims U1 to U4 and S1 to S4, and to the table of systems.

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
                f"| {name} | {system} | {'' if published is None else published} | {spread_text(value)} | "
                f"{wanted or ''} | {'1' if variant == 'pulse' else spread_text(ratio, '.3g')} | {verdict} |"
            )
    return "\n".join(lines)


def _verdict(ratio: Spread, wanted: float) -> str:
    if ratio[3] < SEEDS:
        return "not testable here"
    return "reproduced" if reaches(ratio, wanted) else "not reproduced"


# --- From the cells of `mapping` and `augmentation` to the claims U6, U7, U8, U11, U13 and U15.

F1, HR, FID = "findings_macro_f1", "hr_median_error_bpm", "fid_ratio_to_floor"
NEAR = 0.9  # of the other's macro F1: what counts as no worse
SLOWER = 2.0  # bpm of median error more: the same
FARTHER = 1.25  # times its FID: the same, as in the chain's aims
RUNS = 5  # seeds that the verdict on made examples wants


def mapping_metrics(profile: str = "laptop", root: Path | None = None) -> dict[str, float]:
    """`mapping.*` from the cells of study `mapping`: means, with `.low`, `.high` and `.seeds`; empty without cells."""

    def over(one: str, other: str, metric: str, how: str = "difference") -> Spread | None:
        return paired("mapping", (one, metric), (other, metric), how, profile, root)

    found = {}
    for other in ("linear", "depth1", "depth4", "tokens1", "tokens2", "tokens4", "tokens16"):
        found |= {f"mapping.over_{other}.{name}": over("ours", other, m) for name, m in (("mse", "mse"), ("f1", F1))}
    for name, one, other in (
        ("attached", "ours", "attached"),
        ("denoising", "ours", "denoising"),
        ("both", "ours", "both"),
        ("direct", "chain", "direct"),
    ):
        found[f"mapping.{name}.f1_share"] = over(one, other, F1, "ratio")
        found[f"mapping.{name}.hr_error_more_bpm"] = over(one, other, HR)
        found[f"mapping.{name}.fid_ratio"] = over(one, other, FID, "ratio")
    cells = summary("mapping", profile, root)
    for variant in ("ours", "chain"):
        own = cells.get(variant, {})
        found |= {f"mapping.{variant}.{name}": own.get(name) for name in ("mse", "explained", "top1", HR, F1)}
    return flat(found)


def mapping_claims(metrics: dict[str, float]) -> dict[str, dict]:
    """Verdicts on U6, U7, U8, U11, U15 from `mapping_metrics`; a claim whose metrics are missing is left out."""
    found = {
        "U6": judge(
            metrics,
            "an encoder-decoder mapper with squared error reaches the text encoder's space",
            {
                "mapping.chain.top1": "the chain's mapper, trained once, asked in other words by each seed: "
                f"the wanted vector is the nearest in a share of, {ENOUGH} wanted:",
                "mapping.chain.explained": f"share of squared error gone, {ENOUGH} wanted:",
                "mapping.over_linear.mse": "at the study's budget its error beside one matrix's differs by",
            },
            lambda top1, explained, _: min(top1[1], explained[1]) >= ENOUGH,
        ),
        "U7": judge(
            metrics,
            "several [ECG] tokens beat one",
            {
                "mapping.over_tokens1.mse": "several over one: error of the mapped vector changes by",
                "mapping.over_tokens1.f1": "macro F1 of findings in made ECGs by",
            },
            lambda mse, f1: mse[2] < 0 and f1[1] > 0,
        ),
        "U8": judge(
            metrics,
            "stage 2 needs no ECG data",
            _no_worse("attached", "words alone over words with the patient's ECG"),
            lambda f1, hr: f1[1] >= NEAR and hr[2] <= SLOWER,
        ),
        "U11": judge(
            metrics,
            "squared error is enough, no training through the generator",
            _no_worse("both", "squared error over both losses") | _no_worse("denoising", "over the denoising loss"),
            lambda f1, hr, alone, slow: min(f1[1], alone[1]) >= NEAR and max(hr[2], slow[2]) <= SLOWER,
        ),
        "U15": judge(
            metrics,
            "one model stands up to a separate, specialised generator",
            {
                **_no_worse("direct", "the chain's model, trained once, over its generator alone"),
                "mapping.direct.fid_ratio": f"FID x, {FARTHER} allowed:",
            },
            lambda f1, hr, fid: f1[1] >= NEAR and hr[2] <= SLOWER and fid[2] <= FARTHER,
        ),
    }
    return {claim: about for claim, about in found.items() if about}


def _no_worse(name: str, what: str) -> dict[str, str]:
    return {
        f"mapping.{name}.f1_share": f"{what}: macro F1 of findings in made ECGs x, {NEAR} wanted:",
        f"mapping.{name}.hr_error_more_bpm": f"median error of rates more by bpm, {SLOWER:g} allowed:",
    }


def augmentation_metrics(profile: str = "laptop", root: Path | None = None) -> dict[str, float]:
    """`augmentation.*` from the cells of study `augmentation`, as `mapping_metrics`; empty without cells.

    Returns:
        augmentation.rare_f1_gain: F1 with made ECGs minus without, at 10 examples, on simulated patients;
        rare_f1_gain.real: on real records; rare_f1_gain_30, rare_f1_gain_100; rare_f1_gain.over_copies, against noisy
        copies of the examples; rare_f1_gain.of_more, what further simulated patients gain; rare_auroc_gain.
    """

    def gain(metric: str, one: str = "made10", other: str = "plain10") -> Spread | None:
        return paired("augmentation", (one, metric), (other, metric), "difference", profile, root)

    found = {
        "rare_f1_gain": gain("simulated.f1"),
        "rare_f1_gain.real": gain("real.f1"),
        "rare_f1_gain.over_copies": gain("simulated.f1", other="copies10"),
        "rare_f1_gain.of_more": gain("simulated.f1", "more10"),
        "rare_f1_gain_30": gain("simulated.f1", "made30", "plain30"),
        "rare_f1_gain_100": gain("simulated.f1", "made100", "plain100"),
        "rare_auroc_gain": gain("simulated.auroc"),
        "rare_auroc_gain.real": gain("real.auroc"),
    }
    return flat({f"augmentation.{name}": value for name, value in found.items()})


def augmentation_claims(metrics: dict[str, float]) -> dict[str, dict]:
    """The verdict on U13 from `augmentation_metrics`; left out without cells. Without real records it can only fail."""
    needed = {"augmentation.rare_f1_gain": "F1 of a finding with ten examples, made ECGs added, changes by"}
    real = "augmentation.rare_f1_gain.real"
    if real in metrics:
        needed |= {real: "on real records by"}
    paper = "made ECGs help a classifier when a finding is rare"
    found = judge(metrics, paper, needed, lambda gain, *real: gain[1] > 0 and all(g[0] > 0 for g in real), seeds=RUNS)
    if found and real not in metrics and found["verdict"] == "reproduced":
        found["verdict"] = "not testable here"
    return {"U13": found} if found else {}


# --- From the cells of `diagcodes` and `diagecg` to the claims D1 to D7.

QA, FINDINGS_F1, RMSE = "diagecg.qa_exact_match", "diagecg.findings_macro_f1", "diagecg.reconstruction_rmse_mv"


def diag_metrics(profile: str = "laptop", root: Path | None = None) -> dict[str, float]:
    """`diag.*` from the cells: differences seed by seed, with `.low`, `.high` and `.seeds`; empty without cells."""

    def over(one: str, other: str, metric: str, study: str = "diagecg") -> Spread | None:
        return paired(study, (one, metric), (other, metric), "difference", profile, root)

    cells = summary("diagecg", profile, root)
    full, waves = cells.get("full", {}), cells.get("waves", {})
    found = {
        "diag.lead_wise.rmse_mv": over("ours", "joint", RMSE, "diagcodes"),
        "diag.lead_wise.qa": over("waves", "joint", QA),
        "diag.facts.qa": over("full", "waves", QA),
        "diag.facts.f1": over("full", "waves", FINDINGS_F1),
        "diag.discrete.qa": over("unforecast", "continuous", QA),
        "diag.discrete.f1": over("unforecast", "continuous", FINDINGS_F1),
        "diag.forecasting.qa": over("full", "unforecast", QA),
        "diag.forecasting.f1": over("full", "unforecast", FINDINGS_F1),
        "diag.background.qa": over("full", "unknown", QA),
        "diag.background.f1": over("full", "unknown", FINDINGS_F1),
        "diag.open.qa": over("full", "vectors", f"{QA}.open"),
        "diag.open.all": over("full", "vectors", QA),
        "diag.real.hr_mean_error_bpm": full.get("diagecg.real_hr_mean_error_bpm"),
        "diag.simulated.hr_mean_error_bpm": full.get("diagecg.hr_mae_bpm"),
        "diag.attention.t": waves.get("diagecg.attention.T.T"),
        "diag.attention.t_shuffled": waves.get("diagecg.attention.shuffled.T.T"),
        "diag.attention.t_untrained": waves.get("diagecg.attention.untrained.T.T"),
        "diag.attention.qrs": waves.get("diagecg.attention.QRS.QRS"),
        "diag.attention.p": waves.get("diagecg.attention.QRS.P"),
    }
    return flat(found)


def diag_claims(metrics: dict[str, float]) -> dict[str, dict]:
    """Verdicts on D1 to D7; a claim whose metrics are missing is left out. Fewer than three seeds bear no verdict."""
    gains = {
        "D2": ("discrete", "discrete ECG tokens beat continuous projected ones"),
        "D3": ("forecasting", "forecasting pre-training helps"),
        "D4": ("background", "age and sex in the prompt help"),
    }
    found = {
        "D1": judge(
            metrics,
            "a lead-wise encoder beats a joint one",
            {"diag.lead_wise.rmse_mv": "error in mV changes by", "diag.lead_wise.qa": "questions by"},
            lambda error, qa: error[2] < 0 and qa[1] > 0,
        )
    }
    for claim, (name, paper) in gains.items():
        needed = {f"diag.{name}.qa": "questions answered change by", f"diag.{name}.f1": "macro F1 of findings by"}
        found[claim] = judge(metrics, paper, needed, lambda qa, f1: qa[1] > 0 and f1[1] > 0)
    found["D5"] = judge(
        metrics,
        "generalises to another cohort",
        {
            "diag.real.hr_mean_error_bpm": "heart rate of real records, mean error in bpm,",
            "diag.simulated.hr_mean_error_bpm": "of simulated ones",
        },
        lambda real, simulated: real[0] <= 2 * simulated[0],
    )
    found["D6"] = judge(
        metrics,
        "attention goes to T waves for questions about T waves, to P and QRS for questions about infarction",
        {
            "diag.attention.t": "attention to T over its share of time, asked about T,",
            "diag.attention.t_shuffled": "with shuffled records",
            "diag.attention.t_untrained": "untrained",
            "diag.attention.qrs": "to QRS, asked about Q waves,",
            "diag.attention.p": "to P",
        },
        lambda t, shuffled, untrained, qrs, p: t[1] > max(shuffled[2], untrained[2], 1) and min(qrs[1], p[1]) > 1,
    )
    found["D7"] = judge(
        metrics,
        "best in open-ended questions",
        {
            "diag.open.qa": "against UniECG-lite, open questions answered change by",
            "diag.open.all": "all questions by",
        },
        lambda qa, every: qa[1] > 0,
    )
    return {claim: about for claim, about in found.items() if about}
