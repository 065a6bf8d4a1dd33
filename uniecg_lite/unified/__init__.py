"""The paper's model (arXiv 2509.18588): LLM, W_ts, W_tsi, [ECG] tokens and mapper; it reads and makes ECGs."""

from .chatter import Chatter, Views
from .llm import load_llm, pocket_llm
from .mapper import Mapper
from .model import Answer, UniECG, seen
from .stages import (
    align_mapper,
    inject_ecg_tokens,
    pretrain,
    projection_alignment,
    rows_but_the_first,
    stage1,
    token_rows,
    train_tokens,
)

__all__ = [
    "Answer",
    "Chatter",
    "Mapper",
    "UniECG",
    "Views",
    "align_mapper",
    "inject_ecg_tokens",
    "load_llm",
    "pocket_llm",
    "pretrain",
    "projection_alignment",
    "rows_but_the_first",
    "seen",
    "stage1",
    "token_rows",
    "train_tokens",
]
