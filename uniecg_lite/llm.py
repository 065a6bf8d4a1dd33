"""The language model: a pocket Llama trained here, or any causal one of transformers; its loss on answers."""

from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, PreTrainedModel, PreTrainedTokenizerBase

from .config import Profile
from .errors import BadArtifact, BadRequest
from .language.conversations import ORDER
from .language.tokenizer import encode, number_rows

# --- The number after "Rate": one word among many of a report, so it counts more, and nearly right is not wrong.

RATES = (20, 301)  # bpm
WEIGHT = 3.0  # words that this one counts for
WIDTH = 0.01  # of the bell around a rate, as a share of it; at least half a beat per minute


class RateWords:
    """Numbers of a vocabulary that can follow "Rate"; none where a number is not one token."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase):
        words = {value: encode(tokenizer, f" {value}") for value in range(*RATES)}
        words = {value: ids[0] for value, ids in words.items() if len(ids) == 1}
        self.name = encode(tokenizer, " Rate")[-1]
        self.values, self.ids = torch.tensor(list(words), dtype=torch.float), torch.tensor(list(words.values()))

    def loss(self, logits: torch.Tensor, target: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
        """Cross-entropy of words, where a rate's target is a bell of neighbouring numbers and counts `WEIGHT` times.

        Without it a rate that is seldom seen is read as the most usual one of its rhythm: to a softmax over words 181
        is no nearer to 182 than to "upright".

        Args:
            logits: (N, V) of N words.
            target: (N,) their ids.
            before: (N,) the ids of the words before them.
        """
        chance = logits.float().log_softmax(-1)  # (N, V)
        losses = -chance.gather(1, target[:, None])[:, 0]
        ids, values = self.ids.to(target.device), self.values.to(target.device)
        rates = (before == self.name) & torch.isin(target, ids)
        if not rates.any():
            return losses.mean()
        value = values[(target[rates][:, None] == ids).int().argmax(1)][:, None]  # (R, 1) bpm
        bell = (-0.5 * ((values - value) / (WIDTH * value).clamp(min=0.5)).square()).softmax(1)  # (R, rates)
        bells = -(bell * chance[rates][:, ids]).sum(1)
        return (losses[~rates].sum() + WEIGHT * bells.sum()) / (len(losses) + (WEIGHT - 1) * len(bells))


# --- The language model: a pocket Llama trained here, or any AutoModelForCausalLM folder in its place.

Dialogue = list[tuple[str, list[int]]]  # prompts, each with its answer as ids, end token included
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


def add_segments(tokens: torch.Tensor, table: nn.Module, tokenizer: PreTrainedTokenizerBase) -> torch.Tensor:
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


def dialogue_ids(
    dialogues: list[Dialogue], prompt_ids: Callable[[str], list[int]], pad: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """B talks -> ids (B, T), padded behind, and which of them (B, T) belong to answers; the begin token comes once."""
    rows, marks = [], []
    for dialogue in dialogues:
        row, mark = [], []
        for prompt, answer in dialogue:
            head = prompt_ids(prompt)[bool(row) :]
            row, mark = row + head + answer, mark + [False] * len(head) + [True] * len(answer)
        rows.append(torch.tensor(row))
        marks.append(torch.tensor(mark))
    return nn.utils.rnn.pad_sequence(rows, True, pad), nn.utils.rnn.pad_sequence(marks, True, False)


def words_loss(
    head: Callable[[torch.Tensor], torch.Tensor],
    hidden: torch.Tensor,
    ids: torch.Tensor,
    stated: torch.Tensor,
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
    stated = stated[:, 1:]
    logits, target = head(hidden[stated]), ids[:, 1:][stated]  # (words, V), (words,)
    return rates.loss(logits, target, ids[:, :-1][stated]) if rates else F.cross_entropy(logits.float(), target)
