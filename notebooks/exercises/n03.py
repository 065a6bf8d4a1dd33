"""Exercises of notebook 03: what counts in the loss, its formula, the size of a Llama."""

import torch
import torch.nn.functional as F
from transformers import AutoModelForCausalLM, LlamaConfig


def _nll(answer) -> bool:
    generator = torch.Generator().manual_seed(3)
    for words, rows in ((6, 11), (15, 4)):
        logits = torch.randn(words, rows, generator=generator)
        ids = torch.randint(rows, (words,), generator=generator)
        if abs(float(answer(logits, ids)) - F.cross_entropy(logits[:-1], ids[1:]).item()) > 1e-4:
            return False
    return True


def _parameters(answer) -> bool:
    for vocabulary, width, inner, layers in ((50, 16, 40, 1), (70, 24, 64, 3)):
        config = LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=width,
            intermediate_size=inner,
            num_hidden_layers=layers,
            num_attention_heads=2,
            num_key_value_heads=2,
            tie_word_embeddings=True,
        )
        counted = sum(p.numel() for p in AutoModelForCausalLM.from_config(config).parameters())
        if answer(vocabulary, width, inner, layers) != counted:
            return False
    return True


EXERCISES = {
    "03.1": (
        lambda answer: tuple(int(x) for x in answer) == (4, 12),
        "Each token of the answer is predicted once, the end token too.",
        "With the prompt, every token counts but the very first: nothing comes before it.",
    ),
    "03.2": (
        _nll,
        "logits[t] predicts ids[t + 1]: shift one against the other.",
        "Take log_softmax of logits[:-1], pick the columns ids[1:], and return minus their mean.",
    ),
    "03.3": (
        _parameters,
        "The word table has vocabulary x width entries; tied, it counts once.",
        "A layer has 4 width^2 + 3 width inner + 2 width; after all layers comes one norm of width.",
    ),
}
