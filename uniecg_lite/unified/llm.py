"""The language model: a pocket Llama trained here, or any AutoModelForCausalLM folder in its place."""

from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, PreTrainedModel, PreTrainedTokenizerBase

from ..config import Profile
from ..errors import BadArtifact, BadRequest
from ..language import encode
from ..language.corpus import ORDER
from ..language.tokenizer import number_rows
from .rates import RateWords

Talk = list[tuple[str, list[int]]]  # prompts, each with its answer as ids, end token included
SPARE_ROWS = 64  # the vocabulary is padded to a multiple of this, so that new tokens need no new shape


def pocket_llm(profile: Profile, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """A Llama of the profile's size, untrained. Rows for the [ECG] tokens are there from the start, unused."""
    spare = max(profile.ecg_tokens, SPARE_ROWS // 2)  # as many as `load_llm` wants, so that it never resizes this one
    rows = -(-(len(tokenizer) + spare) // SPARE_ROWS) * SPARE_ROWS
    width = profile.lm_width
    config = LlamaConfig(
        vocab_size=rows,
        hidden_size=width,
        intermediate_size=round(width * 8 / 3 / 16) * 16,
        num_hidden_layers=profile.lm_layers,
        num_attention_heads=profile.lm_heads,
        num_key_value_heads=profile.lm_heads,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    llm = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    number_rows(llm.get_input_embeddings().weight, tokenizer)
    return llm


def load_llm(folder: str | Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A causal language model and its tokenizer from a folder, with begin, end and padding tokens set.

    Raises:
        BadArtifact: no such folder, or not a language model.
    """
    folder = Path(folder)
    if not (folder / "config.json").exists():
        raise BadArtifact(f"There is no language model in {folder}: run notebook 03, or set llm to another folder.")
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, attn_implementation="eager")
    except (OSError, ValueError, SafetensorError) as reason:
        raise BadArtifact(f"{folder} holds no usable causal language model ({reason}): give another folder.") from None
    if tokenizer.eos_token is None:
        raise BadArtifact(f"The tokenizer in {folder} has no end token: set eos_token in its tokenizer_config.json.")
    tokenizer.bos_token = tokenizer.bos_token or tokenizer.eos_token
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    rows = model.get_input_embeddings().weight.shape[0]
    if rows < len(tokenizer) + SPARE_ROWS // 2:
        model.resize_token_embeddings(
            len(tokenizer) + SPARE_ROWS // 2, pad_to_multiple_of=SPARE_ROWS, mean_resizing=False
        )
    return model, tokenizer


def in_order(tokens: torch.Tensor, table: nn.Module, tokenizer: PreTrainedTokenizerBase) -> torch.Tensor:
    """Tokens (B, n, T, D) of n ECGs, each with the row of its place in `ORDER` added; one alone stays as it is.

    As BERT marks its sentences (Devlin et al., arXiv 1810.04805): what is seen tells which ECG it belongs to.

    Raises:
        BadRequest: more ECGs than two.
    """
    n = tokens.shape[1]
    if n > len(ORDER):
        raise BadRequest(f"{n} ECGs cannot be compared: give one, or two.")
    if n == 1:
        return tokens
    rows = table(torch.tensor([encode(tokenizer, f" {word}")[-1] for word in ORDER], device=tokens.device))
    return tokens + rows[:, None]  # (2, 1, D)


def talk_ids(talks: list[Talk], prompt_ids: Callable[[str], list[int]], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """B talks -> ids (B, T), padded behind, and which of them (B, T) belong to answers; the begin token comes once."""
    rows, marks = [], []
    for talk in talks:
        row, mark = [], []
        for prompt, answer in talk:
            head = prompt_ids(prompt)[bool(row) :]
            row, mark = row + head + answer, mark + [False] * len(head) + [True] * len(answer)
        rows.append(torch.tensor(row))
        marks.append(torch.tensor(mark))
    return nn.utils.rnn.pad_sequence(rows, True, pad), nn.utils.rnn.pad_sequence(marks, True, False)


def words_loss(
    head: Callable[[torch.Tensor], torch.Tensor],
    hidden: torch.Tensor,
    ids: torch.Tensor,
    said: torch.Tensor,
    rates: RateWords | None = None,
) -> torch.Tensor:
    """Negative log-likelihood of those of T words that were `said`; the other words' logits are never computed.

    Args:
        head: the output layer.
        hidden: (B, T - 1, D) states before the words from the second on.
        ids: (B, T) words.
        said: (B, T) which of them count; the first never does.
        rates: lets heart rates count more than other words (`RateWords.loss`).
    """
    said = said[:, 1:]
    logits, target = head(hidden[said]), ids[:, 1:][said]  # (words, V), (words,)
    return rates.loss(logits, target, ids[:, :-1][said]) if rates else F.cross_entropy(logits.float(), target)
