"""Text to ECG, after DiffuSETS (arXiv 2501.05932): VAE, condition encoder, rhythm, denoiser and sampler."""

from .condition import ConditionEncoder
from .denoiser import Denoiser
from .design import FAULTS, PUBLISHED, Design, with_faults
from .generator import HZ, LENGTH, Generator, clean_ecgs, train_condition, train_denoiser, train_rhythm, train_vae
from .pacemaker import Rhythm
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
    "clean_ecgs",
    "new_denoiser",
    "train_condition",
    "train_denoiser",
    "train_rhythm",
    "train_vae",
    "with_faults",
]
