"""Study `table`: PULSE-lite, GEM-lite and UniECG-lite from the same encoders, LLM, data and steps (claims U1 to U4).

The seeds vary the projections' start, the order of the patients and the words they are asked in; encoders and language
model are the chain's for all cells.
"""

from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

from ...artifacts import Store, save_tensors
from ...scoring.conflict import conflict_metrics
from ...scoring.evaluate import PROMPT
from ...scoring.evidence import evidence_ratio
from ...scoring.texts import report_scores
from ...simulator import simulate
from ...training import device_and_why
from ...unified import UniECG, inject_ecg_tokens, projection_alignment, stage1, train_tokens
from ...unified.files import load_reading, new_encoders
from ...unified.llm import load_llm
from ...unified.stages import MODES
from .baselines import classical_reports, trivial_report
from .material import INPUTS, Material
from .summary import ONCE

VARIANTS = {
    "pulse": "the image alone, in alignment and in stage 1 (PULSE-lite)",
    "gem": "signal, image or both (GEM-lite); then stage 2's [ECG] tokens are trained (UniECG-lite)",
    "shared": "as gem, with one projection shared by both views, of as many parameters as the two (U4)",
    "trivial": "no model: one and the same report for everybody",
    "classical": "no language model: an independent network's numbers and findings, put into the house style",
}
FIXED = ONCE.intersection(VARIANTS)
STRANGERS = 5150  # seed of the simulated patients on whom evidence is looked for: nobody has learned from them


def settings(store: Store, variant: str) -> dict:
    """What a cell depends on: trainings, patients, and the artifacts it starts from."""
    P = store.profile
    inputs = {"trivial": ("cohort",), "classical": ("cohort", "reader")}.get(variant, (*INPUTS, "language"))
    hashes = {name: store.meta(name)["hash"] for name in inputs}
    out = {"records": P.records, "scored": P.study_scored, "inputs": hashes}
    if variant in FIXED:
        return out
    out |= {"alignment": asdict(P.study_alignment), "stage1": asdict(P.study_stage1), "modes": list(modes_of(variant))}
    out["projection_parameters"] = (
        shared_size(P.enc_width, P.lm_width) if variant == "shared" else 2 * (P.enc_width + 1) * P.lm_width
    )
    return out | ({"tokens": asdict(P.tokens), "ecg_tokens": P.ecg_tokens} if variant == "gem" else {})


def prepare(store: Store) -> Material:
    """Patients, reports and encoder tokens for all cells."""
    return Material.load(store)


def measure(room: Material, variant: str, seed: int, folder: Path) -> dict[str, float]:
    """Train and score one cell."""
    if variant == "trivial":
        text, share = trivial_report(room.corpus)
        return scores([text] * len(room.readings), room.readings) | {"share_of_training_reports": share}
    if variant == "classical":
        return scores(classical_reports(room), room.readings)
    model = trained(room, variant, seed, folder)
    if variant == "pulse":
        return scores(read(model, room, "image"), room.readings)
    texts = read(model, room, "both")
    out = scores(texts, room.readings)
    for mode in ("signal", "image"):
        out |= {f"{mode}.{name}": value for name, value in scores(read(model, room, mode), room.readings).items()}
    if variant == "gem":
        out |= conflict_metrics(model, *seen(room, "both"), room.readings)
        strangers = simulate(STRANGERS, torch.arange(5 * room.store.profile.study_scored // 2))
        out |= evidence_ratio(model, strangers, control=untrained(room.store, seed))
        out |= after_stage2(model, room, seed, folder, texts, out["Average"])
    return out


# ---- models -----------------------------------------------------------------------------------------------------
def modes_of(variant: str) -> tuple[str, ...]:
    """The views that a variant learns from."""
    return ("image",) if variant == "pulse" else MODES


def trained(room: Material, variant: str, seed: int, folder: Path) -> UniECG:
    """The model of a cell after alignment and stage 1; its weights are kept in `folder`, so that it trains once."""
    torch.manual_seed(seed)
    model = load_reading(room.store, "language")
    if variant == "shared":
        share_projection(model)
    kept = folder / "model.safetensors"
    if not kept.exists():
        P, modes = room.store.profile, modes_of(variant)
        projection_alignment(model, room.corpus, room.views, P.study_alignment, seed, folder / "alignment", modes=modes)
        stage1(model, room.corpus, room.views, P.study_stage1, seed, folder / "stage1", modes=modes)
        save_tensors({n: p for n, p in model.named_parameters() if not n.startswith("phi_")}, folder / "model.part")
        (folder / "model.part.safetensors").rename(kept)
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name, tensor in load_file(kept).items():
            parameters[name].copy_(tensor)
    return model.eval()


def untrained(store: Store, seed: int) -> UniECG:
    """A model of the same shape that has never seen an ECG: the language model of notebook 03, all else random."""
    torch.manual_seed(seed)
    model = UniECG(*load_llm(store.path("language") / "llm"), *new_encoders(store.profile), store.profile.enc_width)
    return model.eval().to(device_and_why()[0])


def shared_width(enc: int, lm: int) -> int:
    """Hidden width of `SharedProjection` with at most as many parameters as two linear projections enc -> lm."""
    return (2 * (enc + 1) * lm - lm) // (enc + lm + 1)


def shared_size(enc: int, lm: int) -> int:
    """The number of parameters of `SharedProjection`."""
    h = shared_width(enc, lm)
    return h * (enc + 1) + lm * (h + 1)


class SharedProjection(nn.Sequential):
    """One projection for both views: enc -> h -> lm with a GELU between, h from `shared_width` (U4)."""

    def __init__(self, enc: int, lm: int):
        h = shared_width(enc, lm)
        super().__init__(nn.Linear(enc, h), nn.GELU(), nn.Linear(h, lm))

    @property
    def weight(self) -> torch.Tensor:
        """The first layer's weight, for whoever asks a projection for its device."""
        return self[0].weight


def share_projection(model: UniECG) -> None:
    """Put one `SharedProjection` in the place of W_ts and W_tsi."""
    lm, enc = model.w_ts.weight.shape
    model.w_ts = model.w_tsi = SharedProjection(enc, lm).requires_grad_(False).to(model.w_ts.weight.device)


# ---- scores -----------------------------------------------------------------------------------------------------
def seen(room: Material, mode: str) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """Encoder tokens of the test patients: signal, image or both."""
    return room.seen.get(range(len(room.readings)), mode, device_and_why()[0])


def read(model: UniECG, room: Material, mode: str) -> list[str]:
    """The model's reports of the test patients, seen as signal, image or both."""
    return model.texts(model.write([PROMPT] * len(room.readings), *seen(room, mode)))


def scores(texts: list[str], readings) -> dict[str, float]:
    """Grounded scores, interval errors and macro F1 of reports."""
    from ...scoring.grounded import grounded

    return {**report_scores(texts, readings), **grounded(texts, readings)}


def after_stage2(model: UniECG, room: Material, seed: int, folder: Path, before: list[str], average: float) -> dict:
    """The [ECG] tokens injected and trained on text; then the same reports again (U2)."""
    P = room.store.profile
    inject_ecg_tokens(model, P.ecg_tokens)
    train_tokens(model, room.corpus, P.tokens, seed, folder / "tokens")
    after = read(model, room, "both")
    found = scores(after, room.readings)
    return {
        **{f"uniecg.{name}": value for name, value in found.items()},
        "stage2_change": found["Average"] - average,
        "stage2_identical": sum(a == b for a, b in zip(before, after)) / len(after),
    }
