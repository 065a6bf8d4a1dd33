"""DiagECG: a language model whose vocabulary holds words and ECG codes. No vision tower, no projection."""

import math

import torch
import torch.nn.functional as F
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..language.tokenizer import encode
from ..llm import SPARE_ROWS, ECGLanguageModel, hash_of
from .fsq_tokenizer import WORDS, ECGTokenizer, fact_rows

ADAPTERS = ("lora_", "modules_to_save", "trainable_tokens")  # what of a peft model can train, by name


def code_names(codes: int, facts: int = 0) -> list[str]:
    """The new words: start and end of an ECG, then one word per code, then the fact words."""
    return ["[ecg]", "[/ecg]", *(f"[c{i}]" for i in range(codes)), *(f"[f{i}]" for i in range(facts))]


class DiagECG(ECGLanguageModel):
    """LLM + ECG tokenizer: begin, [ecg] codes [/ecg], User: words / Assistant: -> words; or codes -> more codes.

    Where the tokenizer has fact tokens, these are asked about, and codes are continued.

    Giving the language model its new words is part of the making: their rows start the same each time (`code_rows`).
    """

    max_prompt = 200

    def __init__(self, llm: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, codec: ECGTokenizer):
        super().__init__(llm, tokenizer)
        self.codec = codec
        llm.set_attn_implementation("sdpa")  # the same numbers as "eager" but for rounding, and faster
        self.bridge: nn.Module | None = None  # a projection of numbers in place of codes, in a study alone
        names = code_names(codec.codes, codec.words - codec.codes)
        if names[0] not in tokenizer.get_vocab():
            tokenizer.add_tokens(names, special_tokens=True)
            if len(tokenizer) > llm.get_input_embeddings().weight.shape[0]:
                llm.resize_token_embeddings(len(tokenizer), pad_to_multiple_of=SPARE_ROWS, mean_resizing=False)
            code_rows(llm, tokenizer, codec)
        self.start = tokenizer.convert_tokens_to_ids(names[0])
        self.end, self.first = self.start + 1, self.start + 2
        self.requires_grad_(False)

    # ---- adapters -----------------------------------------------------------------------------------------------
    def adapt(self, rank: int) -> None:
        """LoRA (Hu et al., arXiv 2106.09685) beside every matrix but the word table; norms and new rows train, too."""
        named, table = dict(self.llm.named_modules()), self.llm.get_input_embeddings()
        norms = {n.split(".")[-1] for n, m in named.items() if "norm" in type(m).__name__.lower()}
        words = next(n.split(".")[-1] for n, m in named.items() if m is table)
        rows = {words: list(range(self.start, self.first + self.codec.words))}
        parts = dict(target_modules="all-linear", modules_to_save=sorted(norms), trainable_token_indices=rows)
        self.llm = get_peft_model(self.llm, LoraConfig(r=rank, lora_alpha=2 * rank, **parts)).requires_grad_(False)

    def adapters(self) -> dict[str, nn.Parameter]:
        """What trains: LoRA matrices, norms, and the rows of the new words."""
        return {n: p for n, p in self.llm.named_parameters() if any(a in n for a in ADAPTERS) and "original" not in n}

    def fingerprint(self) -> dict[str, str]:
        """Hashes of the weights that must never change, by name: the language model's without adapters, the codec's."""
        frozen = super().fingerprint(tuple(self.adapters()) if hasattr(self.llm, "peft_config") else ())
        return frozen | {f"codec.{n}": hash_of(p) for n, p in self.codec.named_parameters()}

    # ---- what goes in -------------------------------------------------------------------------------------------
    def block(self, ecg: Tensor) -> Tensor:
        """Words (B, n, T) of n ECGs -> their embeddings (B, n * (T + 2), D), each between [ecg] and [/ecg].

        Numbers (B, n, T, D_codec) in place of codes pass `bridge`. Two ECGs are marked by their order (`add_segments`).
        """
        ecg = ecg.to(self.device)
        body = self.bridge(ecg.float()) if ecg.is_floating_point() else self.embed(self.first + ecg.long())
        body = self.add_segments(body)  # (B, n, T, D)
        ends = self.embed(torch.tensor([self.start, self.end], device=body.device))  # (2, D)
        ends = ends[:, None, None, None].expand(2, *body.shape[:2], 1, -1)  # (2, B, n, 1, D)
        return torch.cat([ends[0], body.to(ends.dtype), ends[1]], 2).flatten(1, 2)

    def logits(self, hidden: Tensor) -> Tensor:
        """States (N, D) -> logits (N, words) of the language's own words: an answer is never a code."""
        head = self.lm.get_output_embeddings()  # its rows of words never train
        bias = getattr(head, "bias", None)
        return F.linear(hidden, head.weight[: self.start], None if bias is None else bias[: self.start])

    # ---- learning -----------------------------------------------------------------------------------------------
    def code_logits(self, codes: Tensor) -> Tensor:
        """Windows of codes (B, T) -> logits (B, T, codes): place t is the forecast of code t from those before it."""
        ids = torch.cat([codes.new_tensor([self.tokenizer.bos_token_id, self.start]).expand(len(codes), 2), codes], 1)
        ids[:, 2:] += self.first
        hidden = self.lm.base_model(inputs_embeds=self.embed(ids.to(self.device))).last_hidden_state
        hidden = hidden[:, 1:-1]  # [ecg] forecasts the first code
        if not self.lm.config.tie_word_embeddings:
            return self.lm.get_output_embeddings()(hidden)[..., self.first : self.first + self.codec.codes]
        return hidden @ self.embed(torch.arange(self.codec.codes, device=self.device) + self.first).T

    def forecast_loss(self, codes: Tensor) -> Tensor:
        """Negative log-likelihood of every code of windows (B, T) given those before it."""
        return F.cross_entropy(self.code_logits(codes).float().flatten(0, 1), codes.to(self.device).flatten())

    # ---- answering ----------------------------------------------------------------------------------------------
    def write(self, prompts: list[str], ecg: Tensor | None = None, batch: int = 64) -> list[str]:
        """Greedy answers to B prompts about codes (B, n, T)."""
        codes = list(range(self.start, self.llm.get_input_embeddings().weight.shape[0]))
        ids = self.generate(prompts, self.block, (ecg,), [self.tokenizer.eos_token_id], codes, batch)
        return [self.tokenizer.decode(row, skip_special_tokens=True).strip() for row in ids]


@torch.no_grad()
def code_rows(llm: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, codec: ECGTokenizer) -> None:
    """Let the rows of codes start as waves of their numbers: codes of nearly the same shape start as neighbours.

    Each of a code's numbers, on -1 .. 1, gives sines and cosines of growing frequency; together they fill the row.
    For fact words see `fact_rows`.
    """
    rows, start = llm.get_input_embeddings().weight, tokenizer.convert_tokens_to_ids("[ecg]")  # (V, D)
    level = codec.fsq.implicit_codebook.float().cpu()  # (K, numbers)
    each = -(-rows.shape[1] // (2 * level.shape[1]))
    angle = level[..., None] * math.pi / 2 * torch.arange(1, each + 1)  # (K, numbers, each)
    # low frequencies weigh most: codes that differ by one level stay neighbours
    wave = torch.cat([angle.sin(), angle.cos()], -1) / torch.arange(1, each + 1).repeat(2) ** 0.5
    wave = wave.flatten(1)[:, : rows.shape[1]]
    scale, first = rows[:start].std(), start + 2
    rows[first : first + len(level)] = (wave / wave.std() * scale).to(rows)
    if codec.facts is not None:
        first += len(level)
        facts = fact_rows(lambda text: rows[encode(tokenizer, f" {text}")].mean(0))
        rows[first : first + WORDS] = (facts * scale).to(rows)
    generator = torch.Generator().manual_seed(0)
    rows[start : start + 2] = (torch.randn(2, rows.shape[1], generator=generator) * scale.cpu()).to(rows)
