"""Scores of answers to questions, as in ECG-QA: the set of answers must be exactly right."""

import random
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import replace

import torch

from ..cohort import Cohort
from ..language.conversations import Corpus
from ..language.questions import NONE, QUESTION_TYPES, Question, listed, parse_answer
from .chain import views_of

COMPARED = 0.25  # share of questions about two ECGs


def gold(question: Question) -> frozenset[str]:
    """The true items in small letters; {"none"} when there is none."""
    return parse_answer(listed(question.answer))


def _scores(questions: list[Question], answers: list[frozenset[str]], prefix: str) -> dict[str, float]:
    """The share of right answers over all, over `open` ones, and by question type and attribute type, as they occur."""
    by_type: dict[str, list[bool]] = defaultdict(list)
    for question, answer in zip(questions, answers, strict=True):
        form = ["open"] if question.question_type.endswith("query") else []  # to be answered in one's own words
        for name in ("exact_match", *form, question.question_type, question.attribute_type):
            by_type[f"{prefix}.{name}"].append(answer == gold(question))
    return {name: sum(values) / len(values) for name, values in by_type.items()}


def qa_scores(questions: list[Question], texts: list[str]) -> dict[str, float]:
    """Exact match of the set of answers, as in ECG-QA: `qa.exact_match`, `qa.open`, `qa.single-verify`, ...

    Order and capitals do not count. No answer at all is the answer "none"; a text that cannot be read is wrong.

    Args:
        questions: N questions with true answers.
        texts: what was answered to each.
    """
    return _scores(questions, [parse_answer(text) for text in texts], "qa")


def majority(training: list[Question], by: str = "template_id") -> dict[int, frozenset[str]]:
    """The most frequent answer of each template, or of each question (`by="question_id"`), in the training data."""
    counts: dict[int, Counter] = defaultdict(Counter)
    for question in training:
        counts[getattr(question, by)][gold(question)] += 1
    return {key: count.most_common(1)[0][0] for key, count in counts.items()}


def chance_scores(training: list[Question], questions: list[Question]) -> dict[str, float]:
    """What can be had without looking at an ECG.

    `qa.majority.*`: the most frequent answer of the template. `qa.blind.*`: the most frequent answer of the very
    question, and where training never asked it, of its template; "none" where that is new, too.
    """
    usual, same = majority(training), majority(training, "question_id")
    stated = [usual.get(q.template_id, frozenset({NONE})) for q in questions]
    blind = [same.get(q.question_id, answer) for q, answer in zip(questions, stated)]
    return _scores(questions, stated, "qa.majority") | _scores(questions, blind, "qa.blind")


def draw_questions(corpus: Corpus, n: int, seed: int, split: str = "unseen") -> list[Question]:
    """n questions about a corpus, three quarters about one ECG and the others about two; ecg_id are rows."""
    rng = random.Random(f"{seed}/questions/{split}")
    two = round(COMPARED * n) if len(corpus.readings) > 1 else 0
    kinds = [[t for t in QUESTION_TYPES if t.startswith(start)] for start in ("single", "comparison")]
    return [replace(corpus.asked(rng, split, kinds[i >= n - two]), sample_id=i) for i in range(n)]


def answer_each(questions: list[Question], write: Callable[[list[str], torch.Tensor], list[str]]) -> list[str]:
    """Answers in the order of the questions.

    `write` is called once for the questions about one ECG and once for those about two, with their words and the
    ecg_id of each, (B, 1 or 2); it returns B answers.
    """
    out = {}
    for count in (1, 2):
        chosen = [i for i, q in enumerate(questions) if len(q.ecg_id) == count]
        if chosen:
            rows = torch.tensor([questions[i].ecg_id for i in chosen])
            out |= zip(chosen, write([questions[i].question for i in chosen], rows))
    return [out[i] for i in range(len(questions))]


def answers(model, cohort: Cohort, questions: list[Question]) -> list[str]:
    """What the model answers; ecg_id are rows of the cohort.

    About one ECG it sees signal and image, about two their signals, one after the other: (B, 2 T_s, D_enc).
    """
    known = sorted({row for q in questions for row in q.ecg_id})
    signal, image = views_of(model, cohort.signal(known))

    def write(prompts: list[str], rows: torch.Tensor) -> list[str]:
        where = torch.searchsorted(torch.tensor(known), rows)  # (B, count)
        tokens = signal[where].flatten(1, 2)  # (B, count * T_s, D_enc)
        return model.texts(model.write(prompts, tokens, image[where[:, 0]] if rows.shape[1] == 1 else None))

    return answer_each(questions, write)


def qa_metrics(model, cohort: Cohort, n: int, seed: int, training: Corpus | None = None) -> dict[str, float]:
    """Exact match of n questions about held-out ECGs in phrasings that training did not show (`qa.*`), and chance
    (`qa.majority.*`, `qa.blind.*`, see `chance_scores`).

    Args:
        model: a UniECG after stage 1.
        cohort: held-out patients.
        n: how many questions.
        seed: of the questions.
        training: training patients, whose answers make the baselines; without it other questions about this cohort.
    """
    corpus = Corpus(cohort.truth(), cohort.column("patient"))
    asked = draw_questions(corpus, n, seed)
    learned = draw_questions(training or corpus, max(4 * n, 1000), seed + 1, "seen")
    found = qa_scores(asked, answers(model, cohort, asked)) | chance_scores(learned, asked)
    return found | {"qa.questions": len(asked)}
