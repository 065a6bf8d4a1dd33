"""Text to numbers: a small byte-level BPE whose whole numbers and lead names are single tokens."""

import json
import math
import re
from collections.abc import Callable

import torch
import torch.nn.functional as F
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import nn
from transformers import PreTrainedTokenizerFast

from ..leads import LEADS

PLAIN_TEMPLATE = "User: {}\nAssistant:"  # a user's words, where a tokenizer has no chat template of its own
SPECIAL = ("<pad>", "<bos>", "<eos>")
_SPLIT = r" ?(?:V[1-6]|aV[RLF])(?![a-zA-Z0-9])| ?\p{L}+| ?\d{1,3}| ?[^\s\p{L}\d]+|\s+"
_GLUED = re.compile(r"(?<=[^\s\d.,vV-])(?=\d)|(?<=\d)(?=[^\W\d_])")
_LEAD, _NAMED = re.compile(r"\b(?:v[1-6]|av[rlf])\b"), {name.lower(): name for name in LEADS}
LARGEST_NUMBER = 699  # that is one token after a space; without one it is 99
RATES = (20, 301)  # bpm: numbers that can follow "Rate"
RATE_WEIGHT = 3.0  # words that a rate counts for
RATE_WIDTH = 0.01  # of the bell around a rate, as a share of it; at least half a beat per minute


def train_tokenizer(texts: list[str], size: int = 1400) -> PreTrainedTokenizerFast:
    """Learn a tokenizer from texts.

    A rate, an interval or an age is one token ("72", not "7" and "2"): one softmax over values, one step to read.
    Byte-level, so no text is unknown.

    Args:
        texts: the training texts.
        size: vocabulary size before numbers.
    """
    as_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    split = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(_SPLIT), "isolated"), as_bytes])
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = split
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=list(SPECIAL),
        min_frequency=2,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    learner.train_from_iterator((re.sub(r" ?(?<!V)\d+", "", text) for text in texts), trainer)
    learned = json.loads(learner.to_str())["model"]
    every = (*(f"Ġ{n}" for n in range(LARGEST_NUMBER + 1)), *(f"{n}" for n in range(10, 100)))  # Ġ is a space
    numbers = [(text[:-1], text[-1]) for text in every]  # merges that build each of them
    merges = numbers + [tuple(m) for m in learned["merges"] if tuple(m) not in set(numbers)]
    vocab = learned["vocab"]
    for left, right in numbers:
        vocab.setdefault(left + right, len(vocab))
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    tokenizer.pre_tokenizer, tokenizer.decoder = split, decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<bos>",
        eos_token="<eos>",
        clean_up_tokenization_spaces=False,
    )


def encode(tokenizer, text: str) -> list[int]:
    """Text to ids. Nothing typed becomes a special token: "[ECG_1]" or "<eos>" in a user's words are only letters."""
    return tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]


def spaced(text: str) -> str:
    """The same with a space between numbers and letters, so that "HR120" and "62F" hold the numbers 120 and 62."""
    return _GLUED.sub(" ", text)


def uncased(text: str) -> str:
    """The same in small letters, but for leads, which are single tokens: "LBBB" and "lbbb" are one word to learn."""
    return _LEAD.sub(lambda lead: _NAMED[lead[0]], text.lower())


@torch.no_grad()
def number_rows(rows: torch.Tensor, tokenizer) -> None:
    """Let the rows (V, D) of whole numbers start as sines and cosines of their value: neighbours start as neighbours.

    So what is learned of 72 bpm is nearly known of 73; otherwise every number is a word of its own.
    """
    spread = rows.std()
    wave = 2 * math.pi / torch.logspace(math.log10(6), math.log10(2800), rows.shape[1] // 2)  # periods in units
    for value in range(LARGEST_NUMBER + 1):
        ids = encode(tokenizer, f" {value}")
        if len(ids) == 1:
            angle = value * wave
            rows[ids[0]] = torch.cat([angle.sin(), angle.cos()]) * spread * 2**0.5


class RateWords(nn.Module):
    """The number after "Rate": one word among many of a report, so it counts more, and nearly right is not wrong.

    Where a number is not one token, nothing counts more.
    """

    def __init__(self, tokenizer):
        super().__init__()
        self.name = encode(tokenizer, " Rate")[-1]
        self.bpm = {ids[0]: value for value in range(*RATES) if len(ids := encode(tokenizer, f" {value}")) == 1}
        self.register_buffer("ids", torch.tensor(list(self.bpm)).long(), persistent=False)
        self.register_buffer("values", torch.tensor(list(self.bpm.values())).float(), persistent=False)

    def loss(self, head: Callable, before: torch.Tensor, batch) -> torch.Tensor:
        """Cross-entropy of the answers' words; a rate's target is a bell of neighbours, `RATE_WEIGHT` times.

        Without it a rate that is seldom seen is read as the most usual one of its rhythm: to a softmax over words 181
        is no nearer to 182 than to "upright".

        Args:
            head: states (N, D) -> logits (N, V).
            before: (B * (T - 1), D) the states that come before a word.
        """
        others, rates = before[batch.places[batch.others]], before[batch.places[batch.rates]]
        words = F.cross_entropy(head(others).float(), batch.target[batch.others], reduction="none")  # (N - R,)
        chance = head(rates).float().log_softmax(-1)  # (R, V)
        far = (self.values - batch.bpm[:, None]) / (RATE_WIDTH * batch.bpm[:, None]).clamp(min=0.5)  # (R, rates)
        bells = -((-0.5 * far.square()).softmax(1) * chance[:, self.ids]).sum(1)  # (R,)
        weights = batch.weight[batch.others], RATE_WEIGHT * batch.weight[batch.rates]
        return (words @ weights[0] + bells @ weights[1]) / (weights[0].sum() + weights[1].sum())
