"""The independent reader on disk."""

import json
from pathlib import Path

from ..artifacts import Store, save_tensors
from .reader import Reader


def save_reader(reader: Reader, folder: Path) -> None:
    """Write the reader's weights and settings."""
    save_tensors(reader.state_dict(), folder / "reader")
    (folder / "config.json").write_text(json.dumps(reader.settings))


def load_reader(store: Store) -> Reader:
    """The reader of notebook 06, frozen."""
    reader = Reader(**json.loads((store.path("reader") / "config.json").read_text()))
    reader.load_state_dict(store.tensors("reader", "reader"))
    return reader.requires_grad_(False).eval()
