"""Models on disk: every part saved and loaded."""

import json
from pathlib import Path

from peft import PeftModel
from torch import nn

from .config import Profile
from .diagecg.diagecg_model import DiagECG
from .diagecg.fsq_tokenizer import ECGTokenizer
from .encoders import ImageEncoder, SignalEncoder
from .llm import load_llm
from .metrics.reader import Reader
from .model import UniECG
from .store import Store, save_tensors
from .training import device_and_why


def new_encoders(profile: Profile) -> tuple[SignalEncoder, ImageEncoder]:
    """Untrained phi_s and phi_v of the profile's size."""
    sizes = profile.enc_width, profile.enc_layers
    return SignalEncoder(*sizes), ImageEncoder(*sizes)


def load_encoders(store: Store) -> tuple[SignalEncoder, ImageEncoder]:
    """phi_s and phi_v of notebook 02, frozen."""
    encoders = new_encoders(store.profile)
    both = nn.ModuleDict(zip(("phi_s", "phi_v"), encoders))
    both.load_state_dict(store.tensors("encoders", "encoders"))
    both.requires_grad_(False).eval()
    return encoders


def load_reading(store: Store, stage: str) -> UniECG:
    """The model as it was after `alignment`, `stage1`, `tokens` or `unified`; `language`: before any ECG.

    Raises:
        BadArtifact: missing, stale or damaged; the message names the notebook to run.
    """
    if stage == "language":
        model = UniECG(*load_llm(store.path("language") / "llm"), *load_encoders(store))
        return model.eval().to(device_and_why()[0])
    return UniECG.from_pretrained(store.path(stage))


def save_stage(model: UniECG, stage: str, folder: Path) -> None:
    """Write a model after a stage; the folder then says all by itself."""
    model.stage = stage
    model.save_pretrained(folder)


def new_codec(profile: Profile, **other) -> ECGTokenizer:
    """An untrained tokenizer of DiagECG of the profile's size, with fact words unless `facts` is None."""
    sizes = {key: getattr(profile, f"diag_{key}") for key in ("strides", "width", "wide", "levels", "books")}
    facts = {"width": profile.diag_facts_width, "layers": profile.diag_facts_layers}
    return ECGTokenizer(**{**sizes, "facts": facts, **other})


def save_part(part: nn.Module, folder: Path) -> None:
    """Write the weights and the settings of the tokenizer of DiagECG, or of the independent reader."""
    save_tensors(part.state_dict(), folder / "weights")
    (folder / "config.json").write_text(json.dumps(part.settings))


def load_codec(store: Store) -> ECGTokenizer:
    """The tokenizer of notebook 11, frozen."""
    return _load_part(ECGTokenizer, store, "diag_tokenizer")


def load_reader(store: Store) -> Reader:
    """The reader of notebook 06, frozen."""
    return _load_part(Reader, store, "reader").to(device_and_why()[0])


def _load_part(kind: type[nn.Module], store: Store, name: str) -> nn.Module:
    part = kind(**json.loads((store.path(name) / "config.json").read_text()))
    part.load_state_dict(store.tensors(name, "weights"))
    return part.requires_grad_(False).eval()


def load_diagecg(store: Store, name: str = "diagecg", codec: ECGTokenizer | None = None) -> DiagECG:
    """The tuned model of notebook 13, which reads ECGs, answers, and forecasts them.

    Args:
        store: with the tokenizer of notebook 11, unless there is a `codec`.
        name: `language` for the language model of notebook 03 with the words of the ECG, before it has seen one.
        codec: another tokenizer.
    """
    model = DiagECG(*load_llm(store.path(name) / "llm"), codec or load_codec(store))
    return model.eval().to(device_and_why()[0])


def load_adapters(model: DiagECG, folder: Path) -> DiagECG:
    """Put saved adapters (LoRA matrices, norms and new rows) onto a model without any."""
    model.llm = PeftModel.from_pretrained(model.llm, folder / "adapter").requires_grad_(False)
    return model.eval().to(device_and_why()[0])
