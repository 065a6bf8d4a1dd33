"""From the cells of `mapping` and `augmentation` to the claims U6, U7, U8, U11, U13 and U15."""

from pathlib import Path

from .summary import Spread, flat, judge, paired, summary
from .verdicts import ENOUGH

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
