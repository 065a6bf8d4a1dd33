"""Models on disk: every part saved and loaded."""

import json
from pathlib import Path

from peft import PeftModel
from transformers import AutoTokenizer

from .config import PROFILES, Profile
from .diagecg.diagecg_model import DiagECG
from .diagecg.fsq_tokenizer import ECGTokenizer
from .encoders import ImageEncoder, SignalEncoder
from .errors import BadArtifact
from .generator.beat_plan import AverageBeat, RRModel
from .generator.denoiser import Denoiser
from .generator.generator import Generator
from .generator.text_encoder import TextEncoder
from .generator.vae import VAE
from .llm import load_llm
from .metrics.reader import Reader
from .model import Mapper, UniECG
from .store import Store, save_tensors, state
from .training import device_and_why

# --- The unified model on disk: from the artifacts of the chain to a model that answers, and back.


def new_encoders(profile: Profile) -> tuple[SignalEncoder, ImageEncoder]:
    """Untrained phi_s and phi_v of the profile's size."""
    sizes = profile.enc_width, profile.enc_layers
    return SignalEncoder(*sizes), ImageEncoder(*sizes)


def load_encoders(store: Store) -> tuple[SignalEncoder, ImageEncoder]:
    """phi_s and phi_v of notebook 02, frozen."""
    tensors = store.tensors("encoders", "encoders")
    encoders = new_encoders(store.profile)
    for name, part in zip(("phi_s", "phi_v"), encoders):
        part.load_state_dict(state(name, tensors))
        part.requires_grad_(False).eval()
    return encoders


def save_reading(model: UniECG, folder: Path) -> None:
    """Write LLM, tokenizer and projections (of alignment or stage 1)."""
    model.llm.save_pretrained(folder / "llm")
    model.tokenizer.save_pretrained(folder / "llm")
    save_projections(model, folder)


def save_projections(model: UniECG, folder: Path) -> None:
    """Write W_ts and W_tsi."""
    save_tensors(
        {f"{n}.{k}": v for n in ("w_ts", "w_tsi") for k, v in getattr(model, n).state_dict().items()},
        folder / "projections",
    )


def load_reading(store: Store, stage: str) -> UniECG:
    """A model that reads, as it was after `language`, `alignment` or `stage1`."""
    language = store.path("language" if stage != "stage1" else "stage1") / "llm"
    model = UniECG(*load_llm(language), *load_encoders(store), store.profile.enc_width)
    if stage != "language":
        tensors = store.tensors(stage, "projections")
        model.w_ts.load_state_dict(state("w_ts", tensors))
        model.w_tsi.load_state_dict(state("w_tsi", tensors))
    return model.requires_grad_(False).eval().to(device_and_why()[0])


def save_ecg_tokens(model: UniECG, folder: Path) -> None:
    """Write the [ECG] rows (a peft adapter) and, when there is one, the mapper."""
    model.llm.save_pretrained(folder / "adapter")
    about = {"ecg_tokens": len(model.ecg_ids), "ecg_ids": model.ecg_ids}
    if model.mapper is not None:
        save_tensors(model.mapper.state_dict(), folder / "mapper")
        about["mapper"] = model.mapper.settings
    (folder / "config.json").write_text(json.dumps(about, indent=1))


def load_ecg_tokens(store: Store, stage: str) -> UniECG:
    """A model with [ECG] tokens, as it was after `tokens` or, with the mapper, `unified`."""
    model = load_reading(store, "stage1")
    folder = store.path(stage)
    about = json.loads((folder / "config.json").read_text())
    names = [f"[ECG_{i + 1}]" for i in range(about["ecg_tokens"])]
    model.tokenizer.add_tokens(names, special_tokens=True)
    model.ecg_ids = about["ecg_ids"]
    if model.tokenizer.convert_tokens_to_ids(names) != model.ecg_ids:
        raise BadArtifact(f"The [ECG] rows of '{stage}' belong to another tokenizer: run notebook 07 again.")
    model.llm = PeftModel.from_pretrained(model.llm, folder / "adapter").requires_grad_(False)
    if "mapper" in about:
        model.mapper = Mapper(**about["mapper"])
        model.mapper.load_state_dict(store.tensors(stage, "mapper"))
    return model.requires_grad_(False).eval().to(device_and_why()[0])


GENERATOR = ("vae", "condition", "rhythm", "average_beat", "denoiser")  # its parts


def save_generator(generator: Generator, folder: Path) -> None:
    """Write VAE, condition encoder with its tokenizer, rhythm, usual beat and denoiser."""
    for name in GENERATOR:
        save_tensors(getattr(generator, name).state_dict(), folder / name)
    generator.condition.tokenizer.save_pretrained(folder / "tokenizer")
    settings = {name: getattr(generator, name).settings for name in GENERATOR if name != "vae"}
    (folder / "config.json").write_text(json.dumps(settings, indent=1))


def load_generator(store: Store) -> Generator:
    """The generator of notebook 06, frozen."""
    folder, profile = store.path("diffusets"), store.profile
    about = json.loads((folder / "config.json").read_text())
    tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
    generator = Generator(
        VAE(profile.vae_width),
        TextEncoder(tokenizer, **about["condition"]),
        RRModel(**about["rhythm"]),
        AverageBeat(**about["average_beat"]),
        Denoiser(**about["denoiser"]),
        profile.sample_steps,
        profile.guidance,
    )
    for name in GENERATOR:
        getattr(generator, name).load_state_dict(store.tensors("diffusets", name))
    return generator.requires_grad_(False).eval().to(device_and_why()[0])


def load_unified(folder: str | Path, seed: int | None = None) -> UniECG:
    """The finished model from `artifacts/<profile>`: reads ECGs, answers, makes ECGs.

    Args:
        folder: such as `artifacts/laptop`.
        seed: the seed it was trained with; by default whatever the folder holds.

    Raises:
        BadArtifact: a part is missing, foreign or stale; the message names the notebook to run.
    """
    folder = Path(folder)
    if folder.name not in PROFILES:
        raise BadArtifact(f"{folder} is no artifacts folder: its name must be a profile, one of {', '.join(PROFILES)}.")
    store = Store(folder, PROFILES[folder.name], 0)
    if seed is None:
        seed = store.meta("unified")["seed"]
    store = Store(folder, store.profile, seed)
    model = load_ecg_tokens(store, "unified")
    model.generator = load_generator(store)
    return model


# --- DiagECG on disk: tokenizer, adapters after forecasting, and the tuned model with its adapters merged.

TOKENIZER, TUNED = "diag_tokenizer", "diagecg"


def new_codec(profile: Profile, **other) -> ECGTokenizer:
    """An untrained tokenizer of the profile's size, with fact words unless `facts` is None."""
    sizes = dict(strides=profile.diag_strides, width=profile.diag_width, wide=profile.diag_wide)
    facts = {"width": profile.diag_facts_width, "layers": profile.diag_facts_layers}
    words = {"levels": profile.diag_levels, "books": profile.diag_books}
    return ECGTokenizer(**{**sizes, **words, "facts": facts, **other})


def save_codec(codec: ECGTokenizer, folder: Path, **stated) -> None:
    """Write the tokenizer, and what it says of the training split, by kind, see `codes_of`."""
    save_tensors(codec.state_dict(), folder / "codec")
    (folder / "config.json").write_text(json.dumps(codec.settings))
    save_tensors(stated, folder / "codes")


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


# --- The independent reader on disk.


def save_reader(reader: Reader, folder: Path) -> None:
    """Write the reader's weights and settings."""
    save_tensors(reader.state_dict(), folder / "reader")
    (folder / "config.json").write_text(json.dumps(reader.settings))


def load_reader(store: Store) -> Reader:
    """The reader of notebook 06, frozen."""
    reader = Reader(**json.loads((store.path("reader") / "config.json").read_text()))
    reader.load_state_dict(store.tensors("reader", "reader"))
    return reader.requires_grad_(False).eval()
