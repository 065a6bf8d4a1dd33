"""Study `table`: PULSE-lite, GEM-lite and UniECG-lite beside trivial and classical reports (U1 to U4).

All three come from the same encoders, LLM, data and steps. The seeds vary the projections' start, the order of the
patients and the words they are asked in; encoders and language model are the chain's for all cells.
"""

from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn
from tqdm.auto import tqdm

from ..beats import measure_beat
from ..checkpoints import load_encoders, load_reader, load_reading, new_encoders
from ..cohort import Cohort
from ..errors import BadArtifact
from ..findings import CODES, RHYTHMS, Reading, readings, report
from ..language.conversations import Corpus
from ..leads import LEADS
from ..llm import load_llm
from ..metrics.chain import PROMPT
from ..metrics.conflict import conflict_metrics
from ..metrics.grounded import NO_PR, grounded
from ..metrics.reader import SCALES
from ..metrics.reports import report_scores
from ..metrics.saliency import evidence_ratio
from ..model import UniECG
from ..simulator.simulate import simulate
from ..stages import MODES, CachedTokens, train_reading, train_tokens
from ..store import Store, save_tensors
from ..training import device_and_why
from .study import ABOUT, hashes, open_split, train_once

VARIANTS, FIXED = ABOUT["table"]["variants"], ABOUT["table"]["fixed"]
STRANGERS = 5150  # seed of the simulated patients on whom evidence is looked for: nobody has learned from them

# --- What all cells share: patients, reports, and the encoders' tokens, which are computed once per profile.

VIEWS = "studies/views"
INPUTS = ("encoders", "cohort")


@dataclass
class Material:
    """The patients of a study. Models learn from `corpus` and `views`; scores come from the n test patients."""

    store: Store
    corpus: Corpus  # of the training split
    views: CachedTokens  # of the training split
    signal: torch.Tensor  # (n, 12, 1000) mV
    truth: dict[str, torch.Tensor]  # of the test patients
    readings: list[Reading]
    seen: CachedTokens  # of the test patients

    @staticmethod
    def load(store: Store) -> "Material":
        """Open the cohort, and the encoders' tokens of training split and test patients."""
        train, test = open_split(store, "train"), open_split(store, "test").first(store.profile.study_scored)
        truth, (views, seen) = test.truth(), load_views(store, train, test)
        signal = test.signal(range(len(test)))
        return Material(store, Corpus(train.truth()), views, signal, truth, Corpus(truth).readings, seen)


def load_views(store: Store, train: Cohort, test: Cohort) -> tuple[CachedTokens, CachedTokens]:
    """The encoders' tokens of both cohorts, float16; kept in `artifacts/<profile>/studies/views`.

    They are computed again when the encoders or the cohort have changed since, or the number of patients has.
    """
    sizes = {"train": len(train), "test": len(test)}
    if not _fresh(store, sizes):
        phi_s, phi_v = (part.to(device_and_why()[0]) for part in load_encoders(store))
        with store.writing(VIEWS, inputs=INPUTS, patients=sizes) as folder:
            for name, cohort in tqdm({"train": train, "test": test}.items(), desc="encoder tokens", leave=False):
                views = CachedTokens.encode(phi_s, phi_v, cohort)
                save_tensors({"signal": views.signal, "image": views.image}, folder / name)
    return tuple(CachedTokens(**load_file(store.folder / VIEWS / f"{name}.safetensors")) for name in sizes)


def _fresh(store: Store, sizes: dict[str, int]) -> bool:
    try:
        meta = store.meta(VIEWS)
    except BadArtifact:
        return False
    return meta.get("patients") == sizes and meta["inputs"] == hashes(store, *INPUTS)


# --- What a language model has to beat: one report for everybody, and measurements put into the house style.

FREQUENT = 0.01  # of the training reports; rarer than this, no report is "the usual one"


def trivial_report(corpus: Corpus) -> tuple[str, float]:
    """One report for everybody: (report, the share of training reports that are equal to it).

    It is the most frequent one of the training set. Where that one is as good as unique (under 1% of them), it is a
    medoid: of the patients with the most frequent conclusion, the report of the one whose numbers, on unit scales, have
    the least sum of absolute differences to those of all patients.
    """
    text, count = Counter(corpus.reports).most_common(1)[0]
    if count < FREQUENT * len(corpus.reports):
        text = corpus.reports[_medoid(corpus.readings)]
        count = corpus.reports.count(text)
    return text, count / len(corpus.reports)


def _medoid(patients: list[Reading]) -> int:
    usual = Counter(sorted(tuple(sorted(r.findings)) for r in patients)).most_common(1)[0][0]
    rows = [i for i, r in enumerate(patients) if tuple(sorted(r.findings)) == usual]
    numbers = [
        (torch.tensor([getattr(r, key) for r in patients]) - middle) / scale for key, (middle, scale) in SCALES.items()
    ]
    axis = torch.deg2rad(torch.tensor([r.axis_deg for r in patients]))
    table = torch.stack([*numbers, axis.cos(), axis.sin()], 1)  # (N, 6)
    table = torch.where(table.isnan(), table.nanmedian(0).values, table)
    return rows[int(torch.cdist(table[rows], table, p=1).sum(1).argmin())]


def classical_reports(room: Material) -> list[str]:
    """Reports without a language model: numbers and findings of the independent reader, leads measured on the beat."""
    numbers, logits, _ = load_reader(room.store).predict(room.signal)
    found = settle(logits)
    none = found[:, [CODES.index(code) for code in NO_PR]].any(1)
    measured = {
        **numbers,
        "pr_ms": torch.where(none, torch.nan, numbers["pr_ms"]),
        "qtc_ms": numbers["qt_ms"] / (60 / numbers["rate_bpm"].clamp(min=20)).sqrt(),  # Bazett
        "findings": found,
        **measure_beat(room.signal, numbers["qrs_ms"], numbers["qt_ms"]),
        **{key: torch.zeros(len(found), len(LEADS)) for key in ("drift_mv", "static_mv")},
        **{key: room.truth[key] for key in ("age", "female") if key in room.truth},
    }
    return [report(reading) for reading in readings(measured)]


def settle(logits: torch.Tensor) -> torch.Tensor:
    """Finding logits (B, F) -> findings (B, F) that agree: one rhythm, the likeliest; NORM in SR without any other."""
    found, rhythms = logits > 0, [CODES.index(code) for code in RHYTHMS]
    found[:, rhythms] = False
    found[torch.arange(len(found)), torch.tensor(rhythms)[logits[:, rhythms].argmax(1)]] = True
    norm, sinus = CODES.index("NORM"), CODES.index("SR")
    found[:, norm] = False
    found[:, norm] = found[:, sinus] & (found.sum(1) == 1)
    return found


# --- The cells.


def settings(store: Store, variant: str) -> dict:
    """What a cell depends on: trainings, patients, and the artifacts it starts from."""
    P = store.profile
    inputs = {"trivial": ("cohort",), "classical": ("cohort", "reader")}.get(variant, (*INPUTS, "language"))
    out = {"records": P.records, "scored": P.study_scored, "inputs": hashes(store, *inputs)}
    if variant in FIXED:
        return out
    out |= {"alignment": asdict(P.study_alignment), "stage1": asdict(P.study_stage1), "modes": list(modes_of(variant))}
    out["projection_parameters"] = (
        shared_size(P.enc_width, P.lm_width) if variant == "shared" else 2 * (P.enc_width + 1) * P.lm_width
    )
    return out | ({"tokens": asdict(P.tokens), "ecg_tokens": P.ecg_tokens} if variant == "gem" else {})


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
    P, modes = room.store.profile, modes_of(variant)

    def train():
        plans = {"alignment": P.study_alignment, "stage1": P.study_stage1}
        train_reading(model, room.corpus, room.views, plans, seed, folder, modes)

    def weights():
        return {name: p for name, p in model.named_parameters() if not name.startswith("phi_")}

    train_once(train, weights, folder / "model.safetensors")
    return model.eval()


def untrained(store: Store, seed: int) -> UniECG:
    """A model of the same shape that has never seen an ECG: the language model of notebook 03, all else random."""
    torch.manual_seed(seed)
    model = UniECG(*load_llm(store.path("language") / "llm"), *new_encoders(store.profile))
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
    return {**report_scores(texts, readings), **grounded(texts, readings)}


def after_stage2(model: UniECG, room: Material, seed: int, folder: Path, before: list[str], average: float) -> dict:
    """The [ECG] tokens injected and trained on text; then the same reports again (U2)."""
    P = room.store.profile
    model.add_ecg_tokens(P.ecg_tokens)
    train_tokens(model, room.corpus, P.tokens, seed, folder / "tokens")
    after = read(model, room, "both")
    found = scores(after, room.readings)
    return {
        **{f"uniecg.{name}": value for name, value in found.items()},
        "stage2_change": found["Average"] - average,
        "stage2_identical": sum(a == b for a, b in zip(before, after)) / len(after),
    }
