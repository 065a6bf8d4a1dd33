"""DiagECG on disk: tokenizer, adapters after forecasting, and the tuned model with its adapters merged."""

import json
from pathlib import Path

from peft import PeftModel

from ..artifacts import Store, save_tensors
from ..config import Profile
from ..training import device_and_why
from ..unified.llm import load_llm
from .model import DiagECG
from .tokenizer import ECGTokenizer

TOKENIZER, TUNED = "diag_tokenizer", "diagecg"


def new_codec(profile: Profile, **other) -> ECGTokenizer:
    """An untrained tokenizer of the profile's size, with fact words unless `facts` is None."""
    sizes = dict(strides=profile.diag_strides, width=profile.diag_width, wide=profile.diag_wide)
    facts = {"width": profile.diag_facts_width, "layers": profile.diag_facts_layers}
    words = {"levels": profile.diag_levels, "books": profile.diag_books}
    return ECGTokenizer(**{**sizes, **words, "facts": facts, **other})


def save_codec(codec: ECGTokenizer, folder: Path, **said) -> None:
    """Write the tokenizer, and what it says of the training split, by kind, see `codes_of`."""
    save_tensors(codec.state_dict(), folder / "codec")
    (folder / "config.json").write_text(json.dumps(codec.settings))
    save_tensors(said, folder / "codes")


def load_codec(store: Store) -> ECGTokenizer:
    """The tokenizer of notebook 11, frozen."""
    codec = ECGTokenizer(**json.loads((store.path(TOKENIZER) / "config.json").read_text()))
    codec.load_state_dict(store.tensors(TOKENIZER, "codec"))
    return codec.requires_grad_(False).eval()


def load_codes(store: Store, kind: str = "codes"):
    """The codes (N, T) int16 of the training split; kind `read`: its words to be read."""
    return store.tensors(TOKENIZER, "codes")[kind]


def new_diagecg(store: Store, codec: ECGTokenizer | None = None) -> DiagECG:
    """The language model of notebook 03 with the words of the ECG, before it has seen one."""
    model = DiagECG(*load_llm(store.path("language") / "llm"), codec or load_codec(store))
    return model.eval().to(device_and_why()[0])


def save_adapters(model: DiagECG, folder: Path) -> None:
    """Write LoRA matrices, norms and new rows."""
    model.llm.save_pretrained(folder / "adapter")


def load_adapters(model: DiagECG, folder: Path) -> DiagECG:
    """Put saved adapters onto a model without any."""
    model.llm = PeftModel.from_pretrained(model.llm, folder / "adapter").requires_grad_(False)
    return model.eval().to(device_and_why()[0])


def save_merged(model: DiagECG, folder: Path) -> None:
    """Write the language model with the adapters in it, and its tokenizer with the codes as words."""
    model.llm.save_pretrained(folder / "llm")
    model.tokenizer.save_pretrained(folder / "llm")


def load_diagecg(store: Store) -> DiagECG:
    """The tuned model of notebook 13: it reads ECGs, answers, and tells them on."""
    model = DiagECG(*load_llm(store.path(TUNED) / "llm"), load_codec(store))
    return model.eval().to(device_and_why()[0])
