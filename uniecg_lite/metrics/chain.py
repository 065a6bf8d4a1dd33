"""The chain's headline figures, each computed from held-out patients by one function."""

import os
import random
from pathlib import Path

import torch

from ..beats import heart_rate
from ..cohort import Cohort
from ..ecg_image import raster
from ..findings import readings
from ..generator.generator_stages import clean_hearts
from ..language.conversations import Corpus
from ..language.report_parser import parse_report
from ..language.requests import Request
from ..language.wording import worded
from .generation import control, fidelity, person_scores, requested, standard
from .reader import Reader
from .real_records import rated_records
from .reports import macro_f1, report_scores, unsure

PROMPT = "Interpret this ECG."


def views_of(model, signal: torch.Tensor, mode: str = "both"):
    """Encoder tokens of signals (B, 12, 1000): (signal tokens or None, image tokens or None)."""
    return model.encode_ecg(signal if mode != "image" else None, raster(signal) if mode != "signal" else None)


def reports(model, signal: torch.Tensor, mode: str = "both") -> list[str]:
    """The model's reports of (B, 12, 1000) mV signals, seen as signal, image or both."""
    return model.texts(model.write([PROMPT] * len(signal), *views_of(model, signal, mode)))


def stage1_metrics(model, cohort: Cohort, n: int) -> dict[str, float]:
    """`stage1.*` from signal and image together, `stage1.signal.*` and `stage1.image.*` from one of them."""
    n = min(n, len(cohort))
    corpus, signal = Corpus(cohort.truth(range(n))), cohort.signal(range(n))
    prefixes = {"both": "stage1", "signal": "stage1.signal", "image": "stage1.image"}
    scores = {p: report_scores(reports(model, signal, mode), corpus.readings) for mode, p in prefixes.items()}
    return {f"{prefix}.{name}": value for prefix, found in scores.items() for name, value in found.items()}


def generation_requests(cohort: Cohort, n: int) -> list[Request]:
    """What is asked for in the scores of generation: the first n patients' age, sex, rate and findings, and some of
    their PR, QRS, QT and axis."""
    rng = random.Random(1)
    return [request.few_measures(rng) for request in Corpus(cohort.truth(range(min(n, len(cohort))))).requests]


def generated_metrics(
    reader: Reader, signal: torch.Tensor, requests: list[Request], cohort: Cohort
) -> tuple[dict[str, float], dict[str, float]]:
    """ECGs (B, 12, L) generated for requests of the first B patients: how they follow (`control`, and sex and age by
    `person_scores`, beside `true_*` of the patients' own ECGs), and how they are distributed (`fidelity`).

    The distribution is compared with that of clean ECGs of this cohort's patients, held out from training.
    """
    held_out, generated = (reader.features(standard(x)) for x in (clean_hearts(cohort)[0], signal))
    grey = unsure(readings(cohort.truth(range(len(requests)))))
    follows = control(reader, signal, *requested(requests), grey)
    follows |= person_scores(held_out, generated, cohort.truth()["female"], cohort.truth()["age"])
    return follows, fidelity(held_out, generated)


def generation_metrics(model, reader: Reader, cohort: Cohort, n: int) -> dict[str, float]:
    """ECGs asked for in words, made by LLM, mapper and generator, then measured (`generated_metrics`).

    `generation.<name>` of `control`, `generation.unified_<name>` of `fidelity`, and `reader.findings_macro_f1`.
    """
    requests, rng = generation_requests(cohort, n), random.Random(1)
    prompts = [worded(request, rng) for request in requests]
    signal = model.generator.signals(model.conditions(prompts)).cpu()  # (n, 12, 1024)
    follows, spread = generated_metrics(reader, signal, requests, cohort)
    ceiling = reader.read(cohort.signal(range(len(requests))))[1]
    grey = unsure(readings(cohort.truth(range(len(requests)))))
    found = follows | {f"unified_{name}": value for name, value in spread.items()}
    out = {"reader.findings_macro_f1": macro_f1(ceiling, requested(requests)[1], grey)}
    return out | {f"generation.{name}": value for name, value in found.items()}


def real_folder() -> Path | None:
    """The folder of real records that `UNIECG_REAL_ECG` names, or None when it is not set or has no `manifest.csv`."""
    folder = os.environ.get("UNIECG_REAL_ECG")
    return Path(folder) if folder and (Path(folder) / "manifest.csv").exists() else None


def real_metrics(model, folder: Path) -> dict[str, float]:
    """Heart rates that the model reads from real records, against the undisputed reference rates (`rated_records`).

    A record that cannot be loaded is left out and counted; a report without a rate counts as 80 bpm.

    Raises:
        BadECG: no record with an undisputed rate can be loaded.
    """
    records, rate, refused = rated_records(folder)
    signal = records.signal(range(len(records)))
    stated = torch.tensor([parse_report(text).rate_bpm for text in reports(model, signal)]).nan_to_num(80.0)
    return {
        "real.hr_median_error_bpm": (stated - rate).abs().median().item(),
        "real.hr_mean_error_bpm": (stated - rate).abs().mean().item(),
        "real.records": len(records),
        "real.refused": refused,
        "real.peaks_hr_median_error_bpm": (heart_rate(signal, 100.0) - rate).abs().nanmedian().item(),
    }
