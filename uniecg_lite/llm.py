"""What is a prompt, what is an answer? Any causal language model of transformers with ECG tokens among its words."""

import hashlib
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, PreTrainedModel, PreTrainedTokenizerBase

from .config import Profile
from .errors import BadArtifact, BadRequest, refused, require
from .language.requests import FORM, Request
from .language.tokenizer import PLAIN_TEMPLATE, RateWords, encode, number_rows, spaced, uncased
from .training import device_and_why, inference

Dialogue = list[tuple[str, list[int]]]  # prompts, each with its answer as ids, end token included, or a `Form`
SPARE_ROWS = 64  # the vocabulary is padded to a multiple of this, so that new tokens need no new shape
ORDER = ("first", "second")  # ECGs that are looked at together
ATTENTION = {"cuda": "sdpa", "cpu": "eager"}  # fused, but a pocket model on a CPU is faster without
FILLED = 8.0  # what a blank of a form that is filled counts beside one that is left open
FOUND = 3.0  # what a word of a report's evidence and conclusion counts beside one before
IGNORED = -100  # the label of a place that the loss leaves out, as in transformers


def pocket_llm(profile: Profile, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """A Llama of the profile's size, untrained. Rows for the [ECG] tokens are there from the start, unused."""
    spare = max(profile.ecg_tokens, SPARE_ROWS // 2)  # as many as `load_llm` wants, so that it never resizes this one
    config = LlamaConfig(
        vocab_size=-(-(len(tokenizer) + spare) // SPARE_ROWS) * SPARE_ROWS,
        hidden_size=profile.lm_width,
        intermediate_size=round(profile.lm_width * 8 / 3 / 16) * 16,
        num_hidden_layers=profile.lm_layers,
        num_attention_heads=profile.lm_heads,
        num_key_value_heads=profile.lm_heads,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        pocket=True,  # trained from nothing, so Muon may turn its matrices
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    llm = AutoModelForCausalLM.from_config(config, attn_implementation=ATTENTION[device_and_why()[0]])
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
    sentence = f"{folder} holds no usable causal language model ({{reason}}): give another folder."
    with refused(sentence, BadArtifact):
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model = AutoModelForCausalLM.from_pretrained(
            folder, local_files_only=True, attn_implementation=ATTENTION[device_and_why()[0]], dtype=torch.float32
        )
    if tokenizer.eos_token is None:
        raise BadArtifact(f"The tokenizer in {folder} has no end token: set eos_token in its tokenizer_config.json.")
    tokenizer.bos_token = tokenizer.bos_token or tokenizer.eos_token
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    wanted = len(tokenizer) + SPARE_ROWS // 2
    if model.get_input_embeddings().weight.shape[0] < wanted:
        model.resize_token_embeddings(wanted, pad_to_multiple_of=SPARE_ROWS, mean_resizing=False)
    return model, tokenizer


class Form(list):
    """An answer as ids whose places foretell other words than the next one: none, or several in any order, and each
    place with a weight."""

    def __init__(self, ids: list[int], words: list[tuple[int, ...]], weights: list[float]):
        super().__init__(ids)
        self.words, self.weights = words, weights


class Batch(NamedTuple):
    """B rows of T words, and N of them that count, all known before the device is asked for anything."""

    ids: torch.Tensor  # (B, T)
    places: torch.Tensor  # (N,) in the B * (T - 1) states that come before a word
    target: torch.Tensor  # (N,) ids
    weight: torch.Tensor  # (N,) what each counts, 1 together
    others: torch.Tensor  # which of the N are no heart rates
    rates: torch.Tensor  # (R,) which are
    bpm: torch.Tensor  # (R,) and what they say
    heard: torch.Tensor  # (M,) places of the words of prompts
    words: torch.Tensor  # (M,) their ids


class ECGLanguageModel(nn.Module):
    """What every language model with ECGs shares: prompts, the splice, the loss on answers, greedy answers.

    A sequence is [begin] [ECG embeddings] words answer words answer ...; how an ECG becomes embeddings is the
    subclass's business (`UniECG` projects encoder tokens, `DiagECG` has codes among its words).
    """

    max_prompt, max_answer = 400, 160  # tokens

    def __init__(self, llm: PreTrainedModel, tokenizer: PreTrainedTokenizerBase):
        super().__init__()
        self.llm, self.tokenizer = llm, tokenizer
        self._head, self._tail = _template(tokenizer)
        self.rates = RateWords(tokenizer)

    @property
    def device(self) -> torch.device:
        """Where the language model is."""
        return self.llm.get_input_embeddings().weight.device

    @property
    def lm(self) -> PreTrainedModel:
        """The language model, whether peft has wrapped it or not."""
        return self.llm.get_base_model() if hasattr(self.llm, "peft_config") else self.llm

    @property
    def pocket(self) -> bool:
        """Whether it was trained here, from nothing: then its matrices may learn by Muon, and prompts are `uncased`."""
        return bool(getattr(self.lm.config, "pocket", False))

    def embed(self, ids: torch.Tensor) -> torch.Tensor:
        """ids (B, T) -> rows of the word table (B, T, D)."""
        return self.llm.get_input_embeddings()(ids)

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """States (N, D) -> logits (N, V) of the words that an answer may hold."""
        return self.lm.get_output_embeddings()(hidden)

    def prompt_ids(self, prompt: str | tuple[str, ...]) -> list[int]:
        """A user's words in the chat template as ids, begin token first. Nothing typed becomes a special token.

        A prompt with a past is a tuple: prompt, answer, prompt, ..., the last prompt last.
        """
        ids: list[int] = []
        for place, text in enumerate((prompt,) if isinstance(prompt, str) else prompt):
            words = self._head[1] + spaced(uncased(text) if self.pocket else text).strip() + self._tail[0]
            own = [*self._head[0], *encode(self.tokenizer, words), *self._tail[1]][bool(ids) :]
            ids += self.answer_ids(text) if place % 2 else own
        return ids

    def answer_ids(self, answer: str) -> list[int]:
        """An answer as ids: a space before its first word, the end token after its last."""
        return [*encode(self.tokenizer, " " + answer), self.tokenizer.eos_token_id]

    def report_ids(self, report: str) -> Form:
        """A report as ids: from its evidence on, each word counts `FOUND` times what those before do."""
        ids, start = self.answer_ids(report), len(encode(self.tokenizer, " " + report.partition(" Evidence: ")[0]))
        return Form(ids, [(i,) for i in ids], [FOUND if place >= start else 1.0 for place in range(len(ids))])

    def form_ids(self) -> list[int]:
        """The first token of "Wanted" and of each blank of `FORM`; some tokenizers begin every word by a space."""
        pieces = [encode(self.tokenizer, f" {word}") for word in ("Wanted", *FORM)]
        return [next(i for i in ids if self.tokenizer.decode([i]).strip()) for ids in pieces]

    def form(self, request: str) -> Form:
        """How a wish (in canonical words) is answered before there are [ECG] tokens: a form, each of whose blanks
        foretells the words of what fills it, all at once, as the [ECG] tokens will have to; see `FILLED`."""
        keys, fill = self.form_ids(), Request.parse(request).filled()
        ids = [tuple(encode(self.tokenizer, f" {value}")) for value in fill]
        weights = [1.0, 1.0, *(1.0 if value == "unknown" else FILLED for value in fill)]
        return Form([*keys, self.tokenizer.eos_token_id], [(keys[0],), (), *ids], weights)

    def splice(self, ids: torch.Tensor, ecg: torch.Tensor | None) -> torch.Tensor:
        """Put ECG embeddings after the begin token: ids (B, T), ecg (B, S, D) -> embeddings (B, T + S, D)."""
        words = self.embed(ids)  # (B, T, D)
        return words if ecg is None else torch.cat([words[:, :1], ecg.to(words.dtype), words[:, 1:]], 1)

    def add_segments(self, tokens: torch.Tensor) -> torch.Tensor:
        """Tokens (B, n, T, D) of n ECGs, each with the row of its place in `ORDER` added; one alone stays as it is.

        As BERT marks its sentences (Devlin et al., arXiv 1810.04805): what is seen tells which ECG it belongs to.

        Raises:
            BadRequest: more ECGs than two.
        """
        n = tokens.shape[1]
        require(n <= len(ORDER), f"{n} ECGs cannot be compared: give one, or two.", BadRequest)
        if n == 1:
            return tokens
        rows = torch.tensor([encode(self.tokenizer, f" {word}")[-1] for word in ORDER], device=tokens.device)
        return tokens + self.embed(rows)[:, None]  # (2, 1, D)

    def batch(self, dialogues: list[Dialogue]) -> Batch:
        """B dialogues as ids, padded behind; the answers' words count, and the begin token comes once."""
        turns = [[(self.prompt_ids(p)[t > 0 :], answer) for t, (p, answer) in enumerate(d)] for d in dialogues]
        rows = [[i for turn in dialogue for part in turn for i in part] for dialogue in turns]
        words = [[(None,) * len(p) + tuple(getattr(a, "words", [(i,) for i in a])) for p, a in d] for d in turns]
        counts = [[(1.0,) * len(p) + tuple(getattr(a, "weights", [1.0] * len(a))) for p, a in d] for d in turns]
        words, counts = ([list(chain(*parts)) for parts in each] for each in (words, counts))  # None in a prompt
        longest, rates, pad = max(map(len, rows)), self.rates, self.tokenizer.pad_token_id
        every = [(b, t) for b, row in enumerate(rows) for t in range(1, len(row))]
        heard = [(b, t) for b, t in every if words[b][t] is None]
        spots = [(b, t, word) for b, t in every for word in words[b][t] or ()]
        bpm = [rates.bpm.get(word) if rows[b][t - 1] == rates.name else None for b, t, word in spots]
        batch = Batch(
            torch.tensor([row + [pad] * (longest - len(row)) for row in rows]),
            torch.tensor([b * (longest - 1) + t - 1 for b, t, _ in spots]),
            torch.tensor([word for _, _, word in spots]),
            F.normalize(torch.tensor([counts[b][t] for b, t, _ in spots]), p=1, dim=0),
            torch.tensor([i for i, value in enumerate(bpm) if value is None]).long(),
            torch.tensor([i for i, value in enumerate(bpm) if value is not None]).long(),
            torch.tensor([value for value in bpm if value is not None]).float(),
            torch.tensor([b * (longest - 1) + t - 1 for b, t in heard]),
            torch.tensor([rows[b][t] for b, t in heard]),
        )
        return Batch(*(part.to(self.device, non_blocking=True) for part in batch))  # without waiting for it

    def loss(
        self, batch: Batch, ecg: torch.Tensor | None = None, rates: bool = False, prompts: float = 0.0
    ) -> torch.Tensor:
        """Negative log-likelihood of the answers' words, in nats; logits of other places are not computed for nothing.

        Args:
            batch: B rows of T words.
            ecg: (B, S, D) embeddings that come after the begin token, or None.
            rates: heart rates count more than other words, and nearly right is not wrong (`RateWords`).
            prompts: what the words of prompts count beside the answers.
        """
        hidden = self.lm.base_model(inputs_embeds=self.splice(batch.ids, ecg)).last_hidden_state  # (B, S + T, D)
        before = hidden[:, hidden.shape[1] - batch.ids.shape[1] : -1].flatten(0, 1)  # (B * (T - 1), D), from word 2 on

        def nll(places: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
            return F.cross_entropy(self.logits(before[places]).float(), words, reduction="none")  # (N,)

        loss = self.rates.loss(self.logits, before, batch) if rates else nll(batch.places, batch.target) @ batch.weight
        return loss + prompts * nll(batch.heard, batch.words).mean() if prompts else loss

    def prompt_batch(self, prompts: list[str], ecg: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        """B prompts for `generate`: embeddings (B, S + T, D) and mask; padding goes before the words and is masked.

        Raises:
            BadRequest: a prompt without words, or with too many.
        """
        heads = [self.prompt_ids(p) for p in prompts]
        longest, pad = max(map(len, heads)), self.tokenizer.pad_token_id
        words = longest - len(self._head[0]) - len(self._tail[1])
        if not all((p if isinstance(p, str) else p[-1]).strip() for p in prompts):
            raise BadRequest("The prompt is empty: ask a question, or describe the ECG to make.")
        if words > self.max_prompt:
            raise BadRequest(f"The prompt has {words} tokens, more than {self.max_prompt}: please shorten it.")
        ids = torch.tensor([h[:1] + [pad] * (longest - len(h)) + h[1:] for h in heads], device=self.device)
        mask = torch.tensor([[1] + [0] * (longest - len(h)) + [1] * (len(h) - 1) for h in heads], device=self.device)
        embeds = self.splice(ids, ecg)
        seen = mask.new_ones(len(mask), embeds.shape[1] - longest)
        return {"inputs_embeds": embeds, "attention_mask": torch.cat([mask[:, :1], seen, mask[:, 1:]], 1)}

    @inference()
    def generate(
        self, prompts: list[str], embed: Callable, views: tuple, stops: list[int], never: list[int], batch: int
    ) -> list[list[int]]:
        """Greedy answers to N prompts as ids, with a key-value cache.

        Args:
            prompts: N prompts.
            embed: turns views of B ECGs into embeddings (B, S, D).
            views: what there is of the N ECGs, each (N, ...) or None.
            stops: tokens that end an answer; it ends with one of them.
            never: tokens that no answer holds.
            batch: prompts at a time.
        """
        out, seen, pad = [], any(view is not None for view in views), self.tokenizer.pad_token_id
        how = dict(max_new_tokens=self.max_answer, do_sample=False, suppress_tokens=never or None)
        for part in (slice(i, i + batch) for i in range(0, len(prompts), batch)):
            ecg = embed(*(None if view is None else view[part] for view in views)) if seen else None
            inputs = self.prompt_batch(prompts[part], ecg)
            out += self.llm.eval().generate(**inputs, **how, eos_token_id=stops, pad_token_id=pad).tolist()
        return out

    def fingerprint(self, skip: tuple[str, ...] = ()) -> dict[str, str]:
        """A hash of every weight of the language model, by name, but of those whose name holds one of `skip`."""
        return {n: hash_of(p) for n, p in self.llm.named_parameters() if not any(part in n for part in skip)}


def hash_of(tensor: torch.Tensor) -> str:
    """A hash of a tensor's bytes."""
    return hashlib.blake2b(tensor.detach().cpu().contiguous().numpy().tobytes(), digest_size=8).hexdigest()


def _template(tokenizer: PreTrainedTokenizerBase) -> tuple[tuple[list[int], str], tuple[str, list[int]]]:
    """What stands before and after a user's words: ((ids, text), (text, ids)), the begin token first of all.

    Text and words are encoded together, as the model learned them; special tokens of a chat template stay ids.
    """
    if not tokenizer.chat_template:
        before, after = PLAIN_TEMPLATE.split("{}")
        return ([tokenizer.bos_token_id], before), (after, [])
    mark = "\u241f"
    turn = {"role": "user", "content": mark}
    text = tokenizer.apply_chat_template([turn], tokenize=False, add_generation_prompt=True)
    before, after = (tokenizer(part, add_special_tokens=False)["input_ids"] for part in text.split(mark))
    begin = [] if before[:1] == [tokenizer.bos_token_id] else [tokenizer.bos_token_id]
    return ([*begin, *before], ""), ("", after)
