"""Text to ECG, after DiffuSETS (arXiv 2501.05932): VAE, condition encoder, denoiser and sampler."""

from .condition import ConditionEncoder
from .denoiser import Denoiser
from .generator import HZ, LENGTH, Generator, clean_ecgs, train_condition, train_denoiser, train_vae
from .vae import VAE

__all__ = [
    "HZ",
    "LENGTH",
    "VAE",
    "ConditionEncoder",
    "Denoiser",
    "Generator",
    "clean_ecgs",
    "train_condition",
    "train_denoiser",
    "train_vae",
]
