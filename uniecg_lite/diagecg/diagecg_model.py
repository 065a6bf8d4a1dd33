"""DiagECG: a language model whose vocabulary holds words and ECG codes. No vision tower, no projection."""

import hashlib
import math

import torch
import torch.nn.functional as F
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..ecg import ECG
from ..errors import BadRequest
from ..language.tokenizer import chat, encode
from ..llm import SPARE_ROWS, Dialogue, RateWords, add_segments, dialogue_ids, words_loss
from .fact_tokens import WORDS, fact_rows
from .fsq_tokenizer import ECGTokenizer

MAX_PROMPT, MAX_ANSWER = 200, 160  # tokens
ADAPTERS = ("lora_", "modules_to_save", "trainable_tokens")  # what of a peft model can train, by name


def code_names(codes: int, facts: int = 0) -> list[str]:
    """The new words: start and end of an ECG, then one word per code, then the fact words."""
    return ["[ecg]", "[/ecg]", *(f"[c{i}]" for i in range(codes)), *(f"[f{i}]" for i in range(facts))]


class DiagECG(nn.Module):
    """LLM + ECG tokenizer: begin, [ecg] codes [/ecg], User: words / Assistant: -> words; or codes -> more codes.

    Where the tokenizer has fact words, these are asked about, and codes are told on.

    Giving the language model its new words is part of the making: their rows start the same each time (`code_rows`).
    """

    def __init__(self, llm: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, codec: ECGTokenizer):
        super().__init__()
        self.llm, self.tokenizer, self.codec = llm, tokenizer, codec
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

    @property
    def device(self) -> torch.device:
        """Where the language model is."""
        return self.llm.get_input_embeddings().weight.device

    # ---- adapters -----------------------------------------------------------------------------------------------
    def adapt(self, rank: int) -> None:
        """LoRA (Hu et al., arXiv 2106.09685) beside every matrix but the word table; norms and new rows train, too."""
        named, table = dict(self.llm.named_modules()), self.llm.get_input_embeddings()
        norms = {n.split(".")[-1] for n, m in named.items() if "norm" in type(m).__name__.lower()}
        words = next(n.split(".")[-1] for n, m in named.items() if m is table)
        settings = LoraConfig(
            r=rank,
            lora_alpha=2 * rank,
            target_modules="all-linear",
            modules_to_save=sorted(norms),
            trainable_token_indices={words: list(range(self.start, self.first + self.codec.words))},
        )
        self.llm = get_peft_model(self.llm, settings).requires_grad_(False)

    def adapters(self) -> dict[str, nn.Parameter]:
        """What trains: LoRA matrices, norms, and the rows of the new words."""
        return {n: p for n, p in self.llm.named_parameters() if any(a in n for a in ADAPTERS) and "original" not in n}

    def merge(self) -> None:
        """Add the adapters into the language model: the same answers, and no second matrix beside the first."""
        self.llm = self.llm.merge_and_unload().requires_grad_(False)

    def fingerprint(self) -> dict[str, str]:
        """Hashes of the weights that must never change, by name: the language model's without adapters, the codec's."""
        trains = self.adapters() if hasattr(self.llm, "peft_config") else {}
        named = [(n, p) for n, p in self.llm.named_parameters() if n not in trains]
        named += [(f"codec.{n}", p) for n, p in self.codec.named_parameters()]
        return {
            name: hashlib.blake2b(p.detach().cpu().contiguous().numpy().tobytes(), digest_size=8).hexdigest()
            for name, p in named
        }

    # ---- what goes in -------------------------------------------------------------------------------------------
    def block(self, ecg: torch.Tensor) -> torch.Tensor:
        """Words (B, n, T) of n ECGs -> their embeddings (B, n * (T + 2), D), each between [ecg] and [/ecg].

        Numbers (B, n, T, D_codec) in place of codes pass `bridge`. Two ECGs are marked by their order (`in_order`).
        """
        words = self.llm.get_input_embeddings()
        body = self.bridge(ecg) if ecg.is_floating_point() else words(self.first + ecg)  # (B, n, T, D)
        body = add_segments(body, words, self.tokenizer)
        ends = words(torch.tensor([self.start, self.end], device=body.device))  # (2, D)
        ends = ends[:, None, None, None].expand(2, *body.shape[:2], 1, -1)  # (2, B, n, 1, D)
        return torch.cat([ends[0], body.to(ends.dtype), ends[1]], 2).flatten(1, 2)

    def splice(self, ids: torch.Tensor, ecg: torch.Tensor | None) -> torch.Tensor:
        """Put ECGs after the begin token: ids (B, T), codes (B, n, T_e) -> embeddings (B, T + n * (T_e + 2), D)."""
        words = self.llm.get_input_embeddings()(ids)
        return words if ecg is None else torch.cat([words[:, :1], self.block(ecg.to(ids.device)), words[:, 1:]], 1)

    def prompt_ids(self, prompt: str) -> list[int]:
        """A user's words as ids, begin token first. Nothing typed becomes a code."""
        ids = encode(self.tokenizer, chat(prompt))
        if not prompt.strip() or len(ids) > MAX_PROMPT:
            raise BadRequest(f"The prompt has {len(ids)} tokens: say something, in at most {MAX_PROMPT} tokens.")
        return [self.tokenizer.bos_token_id, *ids]

    def base(self) -> nn.Module:
        """The language model without its output layer, whether peft has wrapped it or not."""
        return self.whole().base_model

    def whole(self) -> nn.Module:
        """The language model, whether peft has wrapped it or not."""
        return self.llm.get_base_model() if hasattr(self.llm, "peft_config") else self.llm

    # ---- learning -----------------------------------------------------------------------------------------------
    def answer_loss(self, prompts: list[str], answers: list[list[int]], ecg: torch.Tensor | None) -> torch.Tensor:
        """Negative log-likelihood of answers (ids, end token included) given B prompts and words (B, n, T)."""
        return self.dialogue_loss([[turn] for turn in zip(prompts, answers)], ecg)

    def dialogue_loss(
        self, dialogues: list[Dialogue], ecg: torch.Tensor | None, rates: RateWords | None = None
    ) -> torch.Tensor:
        """`answer_loss` of B talks: prompts about the same ECG one after the other, each with its answer.

        `rates` lets heart rates count more than other words (`RateWords.loss`).
        """
        ids, stated = (x.to(self.device) for x in dialogue_ids(dialogues, self.prompt_ids, self.tokenizer.pad_token_id))
        inputs = self.splice(ids, ecg)
        hidden = self.base()(inputs_embeds=inputs).last_hidden_state[:, inputs.shape[1] - ids.shape[1] : -1]
        return words_loss(self.word_logits, hidden, ids, stated, rates)

    def word_logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """States (N, D) -> logits (N, words) of the language's own words: an answer is never a code."""
        head = self.whole().get_output_embeddings()  # its rows of words never train
        bias = getattr(head, "bias", None)
        return F.linear(hidden, head.weight[: self.start], None if bias is None else bias[: self.start])

    def code_logits(self, codes: torch.Tensor) -> torch.Tensor:
        """Windows of codes (B, T) -> logits (B, T, codes): place t is the forecast of code t from those before it."""
        ids = torch.cat([codes.new_tensor([self.tokenizer.bos_token_id, self.start]).expand(len(codes), 2), codes], 1)
        ids[:, 2:] += self.first
        hidden = self.base()(inputs_embeds=self.llm.get_input_embeddings()(ids.to(self.device))).last_hidden_state
        hidden = hidden[:, 1:-1]  # [ecg] forecasts the first code
        if not self.whole().config.tie_word_embeddings:
            return self.whole().get_output_embeddings()(hidden)[..., self.first : self.first + self.codec.codes]
        rows = self.llm.get_input_embeddings()(torch.arange(self.codec.codes, device=self.device) + self.first)
        return hidden @ rows.T

    def forecast_loss(self, codes: torch.Tensor) -> torch.Tensor:
        """Negative log-likelihood of every code of windows (B, T) given those before it."""
        return F.cross_entropy(self.code_logits(codes).float().flatten(0, 1), codes.to(self.device).flatten())

    # ---- answering ----------------------------------------------------------------------------------------------
    @torch.no_grad()
    def write(self, prompts: list[str], ecg: torch.Tensor | None = None, batch: int = 64) -> list[str]:
        """Greedy answers to B prompts about codes (B, n, T), batched with a key-value cache."""
        self.eval()
        out, pad = [], self.tokenizer.pad_token_id
        codes = list(range(self.start, self.llm.get_input_embeddings().weight.shape[0]))
        for i in range(0, len(prompts), batch):
            heads = [self.prompt_ids(p) for p in prompts[i : i + batch]]
            longest = max(map(len, heads))
            ids = torch.tensor([h[:1] + [pad] * (longest - len(h)) + h[1:] for h in heads], device=self.device)
            mask = torch.tensor([[1] + [0] * (longest - len(h)) + [1] * (len(h) - 1) for h in heads])
            inputs = self.splice(ids, None if ecg is None else ecg[i : i + batch])
            seen = torch.ones(len(heads), inputs.shape[1] - longest, dtype=mask.dtype)
            generated = self.llm.generate(
                inputs_embeds=inputs,
                attention_mask=torch.cat([mask[:, :1], seen, mask[:, 1:]], 1).to(self.device),
                max_new_tokens=MAX_ANSWER,
                do_sample=False,
                suppress_tokens=codes,
                eos_token_id=self.tokenizer.eos_token_id,
                pad_token_id=pad,
            )
            out += [self.tokenizer.decode(row, skip_special_tokens=True).strip() for row in generated.tolist()]
        return out

    @torch.no_grad()
    def continue_codes(self, codes: torch.Tensor, more: int, seed: int = 0, temperature: float = 0.8) -> torch.Tensor:
        """Codes (B, t) -> (B, t + more): the forecast is drawn, added, and forecast from again."""
        self.eval()
        torch.manual_seed(seed)
        head = codes.new_tensor([self.tokenizer.bos_token_id, self.start]).expand(len(codes), 2)
        ids = torch.cat([head, codes + self.first], 1).to(self.device)
        rows = self.llm.get_input_embeddings().weight.shape[0]
        generated = self.llm.generate(
            inputs=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=more,
            min_new_tokens=more,
            do_sample=temperature > 0,
            **({"temperature": temperature, "top_k": 0} if temperature > 0 else {}),
            suppress_tokens=[*range(self.first), *range(self.first + self.codec.codes, rows)],
            pad_token_id=self.tokenizer.pad_token_id,
        )
        return (generated[:, 2:] - self.first).cpu()

    def continued(self, ecg: ECG, seconds: float, total: float = 10.0, seed: int = 0) -> ECG:
        """The first `seconds` of an ECG, told on to `total` seconds. The result belongs to no patient."""
        signal = torch.from_numpy(ecg.standard().signal)[None, :, : round(100 * seconds)]
        codes = self.codec.encode(signal.to(self.device)).cpu()
        generated = self.continue_codes(codes, self.codec.many(round(100 * total)) - codes.shape[1], seed)
        wave = self.codec.decode(generated.to(self.device), round(100 * total))[0].cpu().numpy()
        return ECG(wave, 100.0, source=f"DiagECG-lite, told on from {seconds:g} s; made for teaching, no patient")


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
