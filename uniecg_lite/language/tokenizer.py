"""Text to numbers: a small byte-level BPE whose whole numbers and lead names are single tokens."""

import json
import math
import re

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

PLAIN_TEMPLATE = "User: {}\nAssistant:"  # a user's words, where a tokenizer has no chat template of its own
SPECIAL = ("<pad>", "<bos>", "<eos>")
_SPLIT = r" ?(?:V[1-6]|aV[RLF])(?![a-zA-Z0-9])| ?\p{L}+| ?\d{1,3}| ?[^\s\p{L}\d]+|\s+"
_GLUED = re.compile(r"(?<=[^\s\d.,vV-])(?=\d)|(?<=\d)(?=[^\W\d_])")
LARGEST_NUMBER = 699  # that is one token after a space; without one it is 99


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
