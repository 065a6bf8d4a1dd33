"""DiagECG-lite (arXiv 2508.15338): the ECG as words of the language model, forecast and then asked about."""

from .fact_words import FactWords
from .files import load_diagecg, new_codec, new_diagecg
from .model import DiagECG, code_names
from .stages import background, codes_of, forecast, train_facts, train_tokenizer, tune, windows
from .tokenizer import ECGTokenizer, Inception

__all__ = [
    "DiagECG",
    "ECGTokenizer",
    "FactWords",
    "Inception",
    "background",
    "code_names",
    "codes_of",
    "forecast",
    "load_diagecg",
    "new_codec",
    "new_diagecg",
    "train_facts",
    "train_tokenizer",
    "tune",
    "windows",
]
