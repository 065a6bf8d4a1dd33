"""What all cells of a study share: patients, reports, and the encoders' tokens, which are computed once per profile."""

from dataclasses import dataclass

import torch
from safetensors.torch import load_file
from tqdm.auto import tqdm

from ...artifacts import Store, save_tensors
from ...cohort import Cohort, load
from ...errors import BadArtifact
from ...language import Corpus, Reading
from ...training import device_and_why
from ...unified import Views
from ...unified.files import load_encoders

VIEWS = "studies/views"
INPUTS = ("encoders", "cohort")


@dataclass
class Material:
    """The patients of a study. Models learn from `corpus` and `views`; scores come from the n test patients."""

    store: Store
    corpus: Corpus  # of the training split
    views: Views  # of the training split
    signal: torch.Tensor  # (n, 12, 1000) mV
    truth: dict[str, torch.Tensor]  # of the test patients
    readings: list[Reading]
    seen: Views  # of the test patients

    @staticmethod
    def load(store: Store) -> "Material":
        """Open the cohort, and the encoders' tokens of training split and test patients."""
        splits = store.path("cohort") / "splits"
        train, test = load(splits, "train"), load(splits, "test")
        rows = range(min(store.profile.study_scored, len(test)))
        truth = test.truth(rows)
        views, seen = load_views(store, train, Cohort(test.table.select(rows)))
        return Material(store, Corpus(train.truth()), views, test.signal(rows), truth, Corpus(truth).readings, seen)


def load_views(store: Store, train: Cohort, test: Cohort) -> tuple[Views, Views]:
    """The encoders' tokens of both cohorts, float16; kept in `artifacts/<profile>/studies/views`.

    They are computed again when the encoders or the cohort have changed since, or the number of patients has.
    """
    sizes = {"train": len(train), "test": len(test)}
    if not _fresh(store, sizes):
        phi_s, phi_v = (part.to(device_and_why()[0]) for part in load_encoders(store))
        with store.writing(VIEWS, inputs=INPUTS, patients=sizes) as folder:
            for name, cohort in tqdm({"train": train, "test": test}.items(), desc="encoder tokens", leave=False):
                views = Views.encode(phi_s, phi_v, cohort)
                save_tensors({"signal": views.signal, "image": views.image}, folder / name)
    parts = [load_file(store.folder / VIEWS / f"{name}.safetensors") for name in sizes]
    return tuple(Views(part["signal"], part["image"]) for part in parts)


def _fresh(store: Store, sizes: dict[str, int]) -> bool:
    try:
        meta = store.meta(VIEWS)
    except BadArtifact:
        return False
    return meta.get("patients") == sizes and meta["inputs"] == {name: store.meta(name)["hash"] for name in INPUTS}
