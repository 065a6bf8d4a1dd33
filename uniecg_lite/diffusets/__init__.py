"""Text to ECG, after DiffuSETS (arXiv 2501.05932): VAE, condition encoder, rhythm, usual beat, denoiser and sampler."""

from .condition import ConditionEncoder
from .denoiser import Denoiser
from .design import FAULTS, PUBLISHED, Design, with_faults
from .generator import Generator
from .pacemaker import HZ, LENGTH, Rhythm
from .sketch import UsualBeat, usual_beats
from .stages import (
    clean_ecgs,
    read_once,
    train_condition,
    train_denoiser,
    train_rhythm,
    train_usual_beat,
    train_vae,
)
from .transformer import new_denoiser
from .vae import VAE

__all__ = [
    "FAULTS",
    "HZ",
    "LENGTH",
    "PUBLISHED",
    "VAE",
    "ConditionEncoder",
    "Denoiser",
    "Design",
    "Generator",
    "Rhythm",
    "UsualBeat",
    "clean_ecgs",
    "new_denoiser",
    "read_once",
    "train_condition",
    "train_denoiser",
    "train_rhythm",
    "train_usual_beat",
    "train_vae",
    "usual_beats",
    "with_faults",
]
