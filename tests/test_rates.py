"""rates: a heart rate counts more than another word, and nearly right is better than wrong."""

import pytest
import tiny
import torch
import torch.nn.functional as F

from uniecg_lite.language.tokenizer import RATE_WEIGHT, RateWords, encode, train_tokenizer
from uniecg_lite.llm import Batch


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer([f" {report}" for report in tiny.corpus().reports], 400)


def words(tokenizer, text: str) -> tuple[torch.Tensor, torch.Tensor]:
    """The ids of a text's words but the first, and of the words before them."""
    ids = torch.tensor(encode(tokenizer, text))
    return ids[1:], ids[:-1]


def loss(rates: RateWords, logits: torch.Tensor, target: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
    """The loss of these words alone."""
    bpm = [rates.bpm.get(t) if b == rates.name else None for t, b in zip(target.tolist(), before.tolist())]
    there = torch.tensor([value is not None for value in bpm])
    values = torch.tensor([value for value in bpm if value is not None]).float()
    others, known = (~there).nonzero()[:, 0], there.nonzero()[:, 0]
    weight = torch.full((len(target),), 1 / len(target))
    batch = Batch(before[None], torch.arange(len(target)), target, weight, others, known, values, known, known)
    return rates.loss(lambda states: states, logits, batch)


def stated(tokenizer, target: torch.Tensor, value: int) -> torch.Tensor:
    """Logits of one who is sure of every word, and says this rate: (N, V)."""
    ids = target.clone()
    ids[0] = encode(tokenizer, f" {value}")[0]
    return 20.0 * F.one_hot(ids, len(tokenizer)).float()


def test_without_a_rate_it_is_cross_entropy(tokenizer):
    target, before = words(tokenizer, " Rhythm sinus rhythm. PR 160, QRS 90 ms.")
    logits = torch.randn(len(target), len(tokenizer), generator=torch.Generator().manual_seed(0))
    found = loss(RateWords(tokenizer), logits, target, before)
    torch.testing.assert_close(found, F.cross_entropy(logits, target))


def test_a_rate_counts_more_and_other_numbers_do_not(tokenizer):
    """At slow rates the bell is narrow: its target is nearly the number itself."""
    target, before = words(tokenizer, " Rate 30 bpm. PR 160 ms.")
    logits = torch.randn(len(target), len(tokenizer), generator=torch.Generator().manual_seed(1))
    each = F.cross_entropy(logits, target, reduction="none")
    near = torch.tensor([encode(tokenizer, f" {v}")[0] for v in range(20, 301)])
    bell = (-0.5 * ((torch.arange(20, 301) - 30) / 0.5).square()).softmax(0)
    bell = -(bell * logits[0].log_softmax(0)[near]).sum()
    expected = (RATE_WEIGHT * bell + each[1:].sum()) / (len(each) - 1 + RATE_WEIGHT)
    torch.testing.assert_close(loss(RateWords(tokenizer), logits, target, before), expected)


def test_nearly_right_is_better_than_wrong(tokenizer):
    rates, (target, before) = RateWords(tokenizer), words(tokenizer, " Rate 182 bpm.")
    losses = [loss(rates, stated(tokenizer, target, value), target, before).item() for value in (182, 183, 190)]
    assert losses[0] < losses[1] < losses[2]


def test_a_vocabulary_without_whole_numbers_is_served_as_before():
    letters = train_tokenizer(["Rate"], 300)
    rates = RateWords(letters)
    rates.ids, rates.values, rates.bpm = rates.ids[:0], rates.values[:0], {}
    target, before = words(letters, " Rate 72 bpm.")
    logits = torch.randn(len(target), len(letters), generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(loss(rates, logits, target, before), F.cross_entropy(logits, target))
