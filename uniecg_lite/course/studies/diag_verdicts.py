"""From the cells of `diagcodes` and `diagecg` to the claims D1 to D7."""

from pathlib import Path

from .summary import Spread, flat, judge, paired, summary

QA, F1, RMSE = "diagecg.qa_exact_match", "diagecg.findings_macro_f1", "diagecg.reconstruction_rmse_mv"


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
        "diag.facts.f1": over("full", "waves", F1),
        "diag.discrete.qa": over("unforecast", "continuous", QA),
        "diag.discrete.f1": over("unforecast", "continuous", F1),
        "diag.forecasting.qa": over("full", "unforecast", QA),
        "diag.forecasting.f1": over("full", "unforecast", F1),
        "diag.background.qa": over("full", "unknown", QA),
        "diag.background.f1": over("full", "unknown", F1),
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
