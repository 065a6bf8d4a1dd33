"""The paper's model (arXiv 2509.18588): LLM, W_ts, W_tsi, [ECG] tokens and mapper; it reads and generates ECGs."""

import hashlib
from dataclasses import dataclass

import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from .drawing import read_page
from .ecg import ECG
from .ecg_image import raster
from .errors import BadArtifact, BadRequest
from .language.conversations import WANTED
from .language.tokenizer import chat, encode
from .llm import Dialogue, RateWords, add_segments, dialogue_ids, words_loss

# --- From the hidden states of [ECG_1..n] to the condition encoder's space.


class Mapper(nn.Module):
    """Encoder-decoder transformer with learned queries: (B, n, D_lm) hidden states -> (B, D_c) condition.

    The shape of GILL (Koh et al., arXiv 2305.17216): a linear layer in, an encoder over the token states, a decoder
    whose inputs are learned queries, a linear layer out. One pooled vector is wanted, so the queries are averaged.
    """

    def __init__(self, lm_width: int, condition_width: int, layers: int, width: int = 128, queries: int = 4):
        super().__init__()
        self.settings = {
            "lm_width": lm_width,
            "condition_width": condition_width,
            "layers": layers,
            "width": width,
            "queries": queries,
        }
        self.inward = nn.Linear(lm_width, width)
        self.queries = nn.Parameter(0.02 * torch.randn(1, queries, width))
        self.body = nn.Transformer(
            width, 4, layers, layers, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.outward = nn.Linear(width, condition_width)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        x = self.inward(states)  # (B, n, W)
        x = self.body(x, self.queries.expand(len(x), -1, -1))  # (B, queries, W)
        return self.outward(x.mean(1))  # (B, D_c)


# --- UniECG: one language model that reads an ECG and, asked in words, makes one.

MAX_PROMPT = 400  # tokens of a user's words
MAX_ANSWER = 160
POOL = 8  # encoder tokens in one token of the language model, where they only follow the record in time


def pooled(tokens: torch.Tensor, phi: nn.Module) -> torch.Tensor:
    """An encoder's tokens as the language model gets them: the first `phi.whole` as they are, others in means.

    (B, k * phi.tokens, D) tokens of k ECGs one after the other -> (B, k * (whole + rest / POOL), D).
    """
    each = tokens.unflatten(1, (-1, phi.tokens))  # (B, k, T, D)
    rest = each[:, :, phi.whole :].unflatten(2, (-1, POOL)).mean(3)
    return torch.cat([each[:, :, : phi.whole], rest], 2).flatten(1, 2)


def seen(phi: nn.Module) -> int:
    """How many tokens the language model gets of one ECG through this encoder."""
    return phi.whole + (phi.tokens - phi.whole) // POOL


def _places(mask: torch.Tensor) -> torch.Tensor:
    """Positions (B, T) of words behind their padding."""
    return (mask.cumsum(1) - 1).clamp(min=0)


@dataclass(frozen=True)
class Answer:
    """What the model answers: words, and an ECG when it decided to make one."""

    text: str
    ecg: ECG | None = None


class UniECG(nn.Module):
    """LLM + phi_s, W_ts + phi_v, W_tsi, and after stage 2 [ECG_1..n] + mapper + a text-to-ECG generator.

    Understanding: [begin] [signal tokens] [image tokens] User: words / Assistant: -> report.
    Generation: the LLM emits [ECG_1]; the others are forced after it; their hidden states go through the mapper into
    the generator's condition space. The LLM alone decides which of the two it does.
    """

    def __init__(
        self,
        llm: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        phi_s: nn.Module,
        phi_v: nn.Module,
        enc_width: int,
    ):
        super().__init__()
        self.llm, self.tokenizer, self.phi_s, self.phi_v = llm, tokenizer, phi_s, phi_v
        width = llm.get_input_embeddings().weight.shape[1]
        self.w_ts = nn.Linear(enc_width, width)
        self.w_tsi = nn.Linear(enc_width, width)
        self.ecg_ids: list[int] = []
        self.mapper: nn.Module | None = None
        self.generator = None
        self.requires_grad_(False)

    # ---- what goes in -------------------------------------------------------------------------------------------
    def project(self, signal_tokens: torch.Tensor | None, image_tokens: torch.Tensor | None) -> torch.Tensor | None:
        """Encoder tokens (B, T_s, D_enc), (B, T_v, D_enc) -> (B, S, D_lm), thinned; None when there is no ECG.

        Tokens of two ECGs, one after the other, are marked by their order (`in_order`).
        """
        views = ((self.w_ts, self.phi_s, signal_tokens), (self.w_tsi, self.phi_v, image_tokens))
        parts = []
        for w, phi, tokens in views:
            if tokens is not None:
                each = w(pooled(tokens, phi)).unflatten(1, (tokens.shape[1] // phi.tokens, -1))  # (B, k, T, D)
                parts.append(add_segments(each, self.llm.get_input_embeddings(), self.tokenizer).flatten(1, 2))
        return torch.cat(parts, 1) if parts else None

    def splice(self, ids: torch.Tensor, ecg: torch.Tensor | None) -> torch.Tensor:
        """Put ECG tokens after the begin token: ids (B, T), ecg (B, S, D) -> embeddings (B, T + S, D)."""
        words = self.llm.get_input_embeddings()(ids)  # (B, T, D)
        return words if ecg is None else torch.cat([words[:, :1], ecg.to(words.dtype), words[:, 1:]], 1)

    def prompt_ids(self, prompt: str) -> list[int]:
        """A user's words as ids, begin token first. Nothing typed becomes a special token."""
        ids = encode(self.tokenizer, chat(prompt))
        if not prompt.strip():
            raise BadRequest("The prompt is empty: ask a question, or describe the ECG to make.")
        if len(ids) > MAX_PROMPT:
            raise BadRequest(f"The prompt has {len(ids)} tokens, more than {MAX_PROMPT}: please shorten it.")
        return [self.tokenizer.bos_token_id, *ids]

    # ---- learning -----------------------------------------------------------------------------------------------
    def answer_loss(
        self,
        prompts: list[str],
        answers: list[list[int]],
        ecg: torch.Tensor | None,
        whole: bool = False,
        rates: RateWords | None = None,
    ) -> torch.Tensor:
        """Negative log-likelihood of the answers given prompts and ECGs: `talk_loss` of talks of one turn.

        Args:
            prompts: B prompts.
            answers: B answers as ids, end token included.
            ecg: (B, S, D_lm) projected tokens, or None.
            whole: the prompts' words count, too.
            rates: lets heart rates count more than other words (`RateWords.loss`).
        """
        return self.dialogue_loss([[turn] for turn in zip(prompts, answers)], ecg, whole, rates)

    def dialogue_loss(
        self,
        dialogues: list[Dialogue],
        ecg: torch.Tensor | None,
        whole: bool = False,
        rates: RateWords | None = None,
    ) -> torch.Tensor:
        """`answer_loss` of B talks: prompts about the same ECG one after the other, each with its answer."""
        pad, device = self.tokenizer.pad_token_id, self.w_ts.weight.device
        ids, stated = (x.to(device) for x in dialogue_ids(dialogues, self.prompt_ids, pad))  # (B, T)
        stated = stated | (ids != pad) if whole else stated
        hidden = self.llm_base()(inputs_embeds=self.splice(ids, ecg)).last_hidden_state  # (B, S + T, D)
        skip = 0 if ecg is None else ecg.shape[1]  # the ECG's last token, or begin, comes before the first word
        return words_loss(self.llm.get_output_embeddings(), hidden[:, skip:-1], ids, stated, rates)

    # ---- reading ------------------------------------------------------------------------------------------------
    def _batch(self, prompts: list[str], ecg: torch.Tensor | None) -> dict[str, torch.Tensor]:
        """Prompts of unequal length for generation: padding goes before the words and is masked."""
        heads = [self.prompt_ids(p) for p in prompts]
        longest, pad = max(map(len, heads)), self.tokenizer.pad_token_id
        ids = torch.tensor([h[:1] + [pad] * (longest - len(h)) + h[1:] for h in heads])
        mask = torch.tensor([[1] + [0] * (longest - len(h)) + [1] * (len(h) - 1) for h in heads])
        device = self.w_ts.weight.device
        embeds, mask = self.splice(ids.to(device), ecg), mask.to(device)
        if ecg is not None:
            mask = torch.cat([mask[:, :1], mask.new_ones(len(mask), ecg.shape[1]), mask[:, 1:]], 1)
        return {"inputs_embeds": embeds, "attention_mask": mask}

    @torch.no_grad()
    def write(self, prompts: list[str], signal_tokens=None, image_tokens=None, batch: int = 64) -> list[list[int]]:
        """Greedy answers as ids, batched with a key-value cache. An answer ends with the end token or with [ECG_1]."""
        self.eval()
        out = []
        stops = [self.tokenizer.eos_token_id, *self.ecg_ids[:1]]
        for i in range(0, len(prompts), batch):
            part = [None if t is None else t[i : i + batch] for t in (signal_tokens, image_tokens)]
            generated = self.llm.generate(
                **self._batch(prompts[i : i + batch], self.project(*part)),
                max_new_tokens=MAX_ANSWER,
                do_sample=False,
                eos_token_id=stops,
                pad_token_id=self.tokenizer.pad_token_id,
                suppress_tokens=self.ecg_ids[1:] or None,
            )
            out += generated.tolist()
        return out

    def texts(self, answers: list[list[int]]) -> list[str]:
        """Answers as words; an answer that asks for an ECG has none."""
        return [
            self.tokenizer.decode([i for i in a if i not in self.ecg_ids], skip_special_tokens=True).strip()
            for a in answers
        ]

    @torch.no_grad()
    def encode_signal(self, signal: torch.Tensor) -> torch.Tensor:
        """(B, 12, 1000) mV -> (B, T_s, D_enc)."""
        return self.phi_s.eval()(signal.to(self.w_ts.weight.device))

    @torch.no_grad()
    def encode_image(self, image: torch.Tensor) -> torch.Tensor:
        """(B, 1, 256, 500) uint8 ink -> (B, T_v, D_enc)."""
        return self.phi_v.eval()(image.to(self.w_ts.weight.device))

    # ---- making -------------------------------------------------------------------------------------------------
    def ecg_states(self, prompts: list[str], ecg: torch.Tensor | None = None) -> torch.Tensor:
        """Hidden states (B, n, D_lm) of [ECG_1..n] placed after the prompts, with ECGs (B, S, D_lm) or without.

        The LLM is causal and what comes before its own answer does not train, so that is read once without gradient,
        and only the rows after it with one.
        """
        inputs, llm = self._batch(prompts, ecg), self.llm_base()
        mask = inputs["attention_mask"]  # (B, S + T)
        rows = torch.tensor([*self.generate_ids()[:-1], *self.ecg_ids], device=mask.device).expand(len(prompts), -1)
        with torch.no_grad():
            read = llm(**inputs, position_ids=_places(mask), use_cache=True).past_key_values
        mask = torch.cat([mask, torch.ones_like(rows)], 1)
        stated = llm(
            inputs_embeds=self.llm.get_input_embeddings()(rows),
            attention_mask=mask,
            position_ids=_places(mask)[:, -rows.shape[1] :],
            past_key_values=read,
            use_cache=True,
        )
        return stated.last_hidden_state[:, -len(self.ecg_ids) :]

    def generate_ids(self) -> list[int]:
        """The answer to a wish for an ECG: what opens the word that answered it before stage 2, then [ECG_1] instead.

        The language model tells a wish from a question where it would have said that word; in most vocabularies it is
        one token and [ECG_1] comes first, in a small one a space comes before it.
        """
        return [*encode(self.tokenizer, " " + WANTED.strip(": "))[:-1], self.ecg_ids[0]]

    def llm_base(self) -> nn.Module:
        """The LLM without its output layer, whether peft has wrapped it or not."""
        return (self.llm.get_base_model() if hasattr(self.llm, "get_base_model") else self.llm).base_model

    @torch.no_grad()
    def conditions(self, prompts: list[str], batch: int = 64) -> torch.Tensor:
        """Prompts that ask for an ECG -> (B, D_c) conditions, through [ECG_1..n] and the mapper."""
        if self.mapper is None:
            raise BadArtifact("This model cannot make ECGs yet: run notebooks 07 and 08.")
        self.eval()
        return torch.cat([self.mapper(self.ecg_states(prompts[i : i + batch])) for i in range(0, len(prompts), batch)])

    # ---- the two directions -------------------------------------------------------------------------------------
    def respond(self, prompt: str, ecg: ECG | None = None, image: str | None = None, seed: int = 0) -> Answer:
        """Answer a prompt: read the attached ECG, answer in words, or make an ECG. The model itself decides.

        Args:
            prompt: the user's words.
            ecg: an ECG to read, as signal and as image.
            image: a PNG page drawn by this project, to read on its own.
            seed: of the noise that an ECG is made from.

        Raises:
            BadRequest, BadECG, BadArtifact.
        """
        signal_tokens = image_tokens = None
        if ecg is not None:
            signal = torch.from_numpy(ecg.standard().signal)[None]
            signal_tokens, image_tokens = self.encode_signal(signal), self.encode_image(raster(signal))
        if image is not None:
            image_tokens = self.encode_image(read_page(image)[None])
        ids = self.write([prompt], signal_tokens, image_tokens)
        text = self.texts(ids)[0]
        if not self.ecg_ids or self.ecg_ids[0] not in ids[0]:
            return Answer(text)
        if self.generator is None:
            raise BadArtifact("The model wants to make an ECG, but no generator is loaded: run notebook 06.")
        generated = self.generator.make(self.conditions([prompt]), seed=seed)[0]
        return Answer("Here is an ECG, made for teaching; it belongs to no patient.", generated)

    def fingerprint(self, skip_rows: bool = False) -> dict[str, str]:
        """A hash of every LLM weight, by name; `skip_rows` leaves out the rows that peft trains."""
        return {
            name: hashlib.blake2b(p.detach().cpu().contiguous().numpy().tobytes(), digest_size=8).hexdigest()
            for name, p in self.llm.named_parameters()
            if not (skip_rows and "trainable_tokens" in name)
        }
