"""How big is everything? One dial, the profile, sets every size; nothing else needs tuning on a first run."""

import os
from dataclasses import asdict, dataclass, replace

from .errors import BadRequest

# seconds of each notebook in the profile laptop, on two cores without bf16 matrix units; see `Profile.notebook_budget`
BUDGETS = {
    "00": 20,
    "01": 25,
    "02": 290,
    "03": 525,
    "04": 35,
    "05": 445,
    "06": 215,
    "07": 40,
    "08": 165,
    "09": 20,
    "10": 20,
    "11": 230,
    "12": 175,
    "13": 465,
    "14": 20,
    "15": 100,
    "16": 60,
    "17": 90,
    "18": 60,
}


@dataclass(frozen=True)
class Training:
    """One training run."""

    steps: int
    batch: int
    lr: float
    warmup: int = 30


@dataclass(frozen=True)
class Profile:
    """Every size of the chain. Widths in channels, times in s."""

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


LAPTOP = Profile(
    name="laptop",
    records=14000,
    scored=512,
    enc_width=160,
    enc_layers=2,
    lm_width=160,
    lm_layers=3,
    lm_heads=4,
    ecg_tokens=8,
    map_layers=2,
    vae_width=48,
    unet_width=48,
    sample_steps=4,
    guidance=1.5,
    seconds_all=3000,
    seconds_budget=2100,
    seconds_share=1.0,
    encoders=Training(460, 32, 1.5e-3),
    language=Training(2500, 16, 3e-3),
    alignment=Training(60, 32, 3e-3),
    stage1=Training(2400, 16, 2e-3),
    vae=Training(320, 32, 2e-3),
    condition=Training(350, 64, 3e-3),
    rhythm=Training(600, 128, 8e-3),
    average_beat=Training(2000, 128, 4e-3),
    denoiser=Training(300, 64, 2e-3),
    tokens=Training(60, 48, 3e-4, warmup=5),
    mapper=Training(1150, 48, 2e-3),
    reader=Training(600, 32, 3e-3),
    study_alignment=Training(30, 32, 3e-3),
    study_stage1=Training(240, 32, 2e-3),
    study_denoiser=Training(150, 64, 2e-3),
    study_mapper=Training(240, 32, 3e-3),
    study_classifier=Training(150, 32, 3e-3, warmup=10),
    study_scored=128,
    diag_strides=(4, 2),
    diag_width=16,
    diag_wide=192,
    diag_levels=(6, 6, 6, 6),
    diag_books=6,
    diag_facts_width=96,
    diag_facts_layers=2,
    diag_rank=32,
    diag_tokenizer=Training(4000, 8, 5e-3),
    diag_facts=Training(800, 32, 2e-3),
    diag_forecast=Training(250, 8, 3e-3),
    diag_tuning=Training(2450, 8, 2e-3),
)

_TINY = Training(12, 8, 1e-3, warmup=2)
SMOKE = replace(
    LAPTOP,
    name="smoke",
    records=400,
    scored=16,
    enc_width=32,
    enc_layers=1,
    lm_width=32,
    lm_layers=2,
    lm_heads=2,
    ecg_tokens=4,
    map_layers=1,
    vae_width=16,
    unet_width=16,
    sample_steps=4,
    seconds_all=360,
    seconds_budget=240,
    seconds_share=0.2,
    encoders=_TINY,
    language=_TINY,
    alignment=_TINY,
    stage1=_TINY,
    vae=_TINY,
    condition=_TINY,
    rhythm=_TINY,
    average_beat=_TINY,
    denoiser=_TINY,
    tokens=_TINY,
    mapper=_TINY,
    reader=_TINY,
    study_alignment=Training(6, 8, 1e-3, warmup=2),
    study_stage1=Training(6, 8, 1e-3, warmup=2),
    study_denoiser=Training(6, 8, 1e-3, warmup=2),
    study_mapper=Training(6, 8, 1e-3, warmup=2),
    study_classifier=Training(4, 8, 1e-3, warmup=2),
    study_scored=8,
    diag_strides=(5, 4),
    diag_width=8,
    diag_wide=16,
    diag_levels=(5, 5, 5),
    diag_books=2,
    diag_facts_width=32,
    diag_facts_layers=1,
    diag_rank=4,
    diag_tokenizer=_TINY,
    diag_facts=_TINY,
    diag_forecast=_TINY,
    diag_tuning=_TINY,
)

GPU = replace(
    LAPTOP,
    name="gpu",
    records=60000,
    enc_width=256,
    enc_layers=4,
    lm_width=384,
    lm_layers=6,
    lm_heads=6,
    map_layers=4,
    vae_width=96,
    unet_width=128,
    sample_steps=50,
    seconds_all=1000,
    seconds_budget=600,
    seconds_share=1 / 3,
    encoders=Training(3000, 128, 1e-3),
    language=Training(2000, 128, 1e-3),
    alignment=Training(200, 128, 2e-3),
    stage1=Training(3000, 128, 6e-4),
    vae=Training(2000, 128, 1e-3),
    condition=Training(1000, 128, 1e-3),
    rhythm=Training(1500, 256, 4e-3),
    average_beat=Training(6000, 256, 2e-3),
    denoiser=Training(5000, 128, 6e-4),
    tokens=Training(200, 128, 3e-3),
    mapper=Training(1500, 128, 1e-3),
    reader=Training(1500, 128, 1e-3),
    study_alignment=Training(150, 128, 2e-3),
    study_stage1=Training(1500, 128, 6e-4),
    study_denoiser=Training(1500, 128, 6e-4),
    study_mapper=Training(600, 128, 1e-3),
    diag_width=32,
    diag_wide=256,
    diag_facts_width=256,
    diag_facts_layers=4,
    diag_rank=64,
    diag_tokenizer=Training(6000, 64, 2e-3),
    diag_facts=Training(3000, 128, 1e-3),
    diag_forecast=Training(1500, 128, 1e-3),
    diag_tuning=Training(3000, 128, 1e-3),
)

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
