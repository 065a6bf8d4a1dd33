"""How big is everything? One dial, the profile, sets every size; nothing else needs tuning on a first run."""

import os
from dataclasses import asdict, dataclass, replace

from .errors import BadRequest
from .findings import table

# seconds of each notebook in the profile laptop, on two cores without bf16 matrix units; see `Profile.notebook_budget`
BUDGETS = {number: row["seconds"] for number, row in table("notebooks").items()}


@dataclass(frozen=True)
class Training:
    """One training run."""

    steps: int
    batch: int  # records, or conversations, of a step
    lr: float  # learning rate after the warm-up
    warmup: int = 30  # steps


@dataclass(frozen=True)
class Profile:
    """Every size of the chain. Widths in channels, layers as they are counted, times in s."""

    name: str
    records: int  # simulated patients in the cohort, one record each
    scored: int  # held-out patients that a score is computed on
    enc_width: int
    enc_layers: int
    lm_width: int
    lm_layers: int
    lm_heads: int
    ecg_tokens: int  # n of [ECG_1]..[ECG_n]
    map_layers: int
    vae_width: int
    unet_width: int
    sample_steps: int
    guidance: float
    seconds_all: int  # budget of all notebooks together, with their kernels' starts
    seconds_budget: int  # budget of notebooks 00 to 10
    seconds_share: float  # of each of `BUDGETS`
    encoders: Training
    language: Training
    alignment: Training
    stage1: Training
    vae: Training
    condition: Training
    rhythm: Training
    average_beat: Training
    denoiser: Training
    tokens: Training
    mapper: Training
    reader: Training
    study_alignment: Training  # of each cell of a study
    study_stage1: Training
    study_denoiser: Training
    study_mapper: Training
    study_classifier: Training  # of a rare finding, with and without made ECGs
    study_scored: int  # held-out patients that a cell is scored on
    diag_strides: tuple[int, ...]  # of the ECG tokenizer's stages: samples of a stretch
    diag_width: int  # channels of one lead
    diag_wide: int  # channels of all leads
    diag_levels: tuple[int, ...]  # of each number of a word
    diag_books: int  # words of a stretch of time
    diag_facts_width: int  # of the fact words' encoder
    diag_facts_layers: int
    diag_rank: int  # of LoRA
    diag_tokenizer: Training
    diag_facts: Training
    diag_forecast: Training
    diag_tuning: Training
    llm: str | None = None  # a folder for AutoModelForCausalLM in place of the pocket language model

    def asdict(self) -> dict:
        """As plain numbers, for `meta.json`."""
        return asdict(self)

    def notebook_budget(self, number: str) -> float:
        """Seconds that a notebook may take, by its number; 20 at least."""
        return max(20.0, self.seconds_share * BUDGETS.get(number, 0))


def _read(name: str) -> Profile:
    """A profile of `data/profiles.json`; what it leaves out is as in laptop."""
    sizes = {}
    for key, value in (SIZES["laptop"] | SIZES[name]).items():
        value = tuple(value) if isinstance(value, list) else value
        sizes[key] = Training(**value) if isinstance(value, dict) else value
    return Profile(name, **sizes)


SIZES = table("profiles")
SMOKE, LAPTOP, GPU = (_read(name) for name in ("smoke", "laptop", "gpu"))
PAPER = _read("paper")  # what is published of the papers' sizes: to count on the `meta` device, never to run
PROFILES = {p.name: p for p in (SMOKE, LAPTOP, GPU)}


def profile(name: str | None = None) -> Profile:
    """The profile of this name, or of `UNIECG_PROFILE`, or `laptop`. `UNIECG_LLM` replaces the language model.

    Raises:
        BadRequest: no such profile.
    """
    name = name or os.environ.get("UNIECG_PROFILE") or "laptop"
    if name not in PROFILES:
        raise BadRequest(f"There is no profile '{name}': choose one of {', '.join(PROFILES)}.")
    return replace(PROFILES[name], llm=os.environ.get("UNIECG_LLM") or PROFILES[name].llm)
