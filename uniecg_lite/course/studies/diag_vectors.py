"""Variant `vectors` of study `diagecg`: UniECG-lite from the same language model and patients (D7)."""

from pathlib import Path

import torch

from ...artifacts import Store
from ...cohort import Cohort
from ...config import Training
from ...diagecg.scores import qa_named, report_metrics
from ...language import Corpus
from ...scoring.evaluate import reports
from ...scoring.questions import answers, draw_questions, qa_scores
from ...unified import UniECG, projection_alignment, stage1
from ...unified.files import load_reading
from .material import load_views


def trained(store: Store, train: Cohort, test: Cohort, plans: dict[str, Training], seed: int, folder: Path) -> UniECG:
    """W_ts and W_tsi aligned, then the language model trained with them, on signal and image of the same patients.

    Args:
        store: of the chain, whose encoders and language model are the start.
        train: patients to learn from.
        test: patients whose encoder tokens are kept beside theirs (`load_views`).
        plans: of `alignment` and `stage1`.
        seed: of the projections' start, the order of the patients and the words they are asked in.
        folder: where checkpoints go.
    """
    torch.manual_seed(seed)
    model, views = load_reading(store, "language"), load_views(store, train, test)[0]
    corpus = Corpus(train.truth(), train.column("patient"))
    projection_alignment(model, corpus, views, plans["alignment"], seed, folder / "alignment")
    stage1(model, corpus, views, plans["stage1"], seed, folder / "stage1")
    return model.eval()


def measure(model: UniECG, test: Cohort, questions: int) -> dict[str, float]:
    """The very questions and reports of the other variants, under the same names."""
    corpus = Corpus(test.truth(), test.column("patient"))
    asked = draw_questions(corpus, questions, 0)
    found = qa_named(qa_scores(asked, answers(model, test, asked)))
    return found | report_metrics(reports(model, test.signal(range(len(test)))), corpus)
