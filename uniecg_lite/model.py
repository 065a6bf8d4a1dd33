"""The paper's model (arXiv 2509.18588): LLM, W_ts, W_tsi, [ECG] tokens and mapper; it reads and generates ECGs."""

import copy
import json
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from huggingface_hub import ModelHubMixin, snapshot_download
from peft import TrainableTokensConfig, get_peft_model
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.modeling_outputs import CausalLMOutput

from .answer import Answer
from .drawing import read_page
from .ecg import ECG
from .ecg_image import raster
from .encoders import ImageEncoder, SignalEncoder
from .errors import BadArtifact, BadRequest, refused, require
from .generator.generator import Generator
from .llm import IGNORED, ECGLanguageModel, load_llm
from .training import device_and_why, inference, unfused

FORMAT = 2  # of a model folder
POOL = 8  # encoder tokens in one token of the language model, where they only follow the record in time
PARTS = ("phi_s", "phi_v", "w_ts", "w_tsi", "mapper")  # with weights in `model.safetensors`


class Mapper(nn.Module):
    """Encoder-decoder transformer with learned queries: (B, n, D_lm) states of [ECG_1..n] -> (B, D_c) condition.

    The shape of GILL (Koh et al., arXiv 2305.17216): a linear layer in, an encoder over the token states, a decoder
    whose inputs are learned queries, a linear layer out. One pooled vector is wanted, so the queries are averaged.
    """

    def __init__(self, lm_width: int, condition_width: int, layers: int, width: int = 192, queries: int = 8):
        super().__init__()
        self.settings = dict(
            lm_width=lm_width, condition_width=condition_width, layers=layers, width=width, queries=queries
        )
        self.inward = nn.Linear(lm_width, width)
        self.queries = nn.Parameter(0.02 * torch.randn(1, queries, width))
        self.body = nn.Transformer(
            width, 4, layers, layers, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.outward = nn.Linear(width, condition_width)

    @unfused()
    def forward(self, states: torch.Tensor) -> torch.Tensor:
        x = self.inward(states)  # (B, n, W)
        x = self.body(x, self.queries.expand(len(x), -1, -1))  # (B, queries, W)
        return self.outward(x.mean(1))  # (B, D_c)


class UniECG(ECGLanguageModel, ModelHubMixin):
    """LLM + phi_s, W_ts + phi_v, W_tsi, and after stage 2 [ECG_1..n] + mapper + a text-to-ECG generator.

    Understanding: [begin] [signal tokens] [image tokens] User: words / Assistant: -> report.
    Generation: the LLM's answer begins with [ECG_1]; the others are forced after it; their hidden states go through the
    mapper into the generator's condition space. The LLM alone decides which of the two it does.

    Args:
        llm, tokenizer: any causal language model of transformers (`llm.load_llm`).
        phi_s, phi_v: the encoders; their sizes are the model's.
        stage: the last training that this model has seen; goes into its folder.
    """

    def __init__(
        self,
        llm: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        phi_s: SignalEncoder,
        phi_v: ImageEncoder,
        stage: str = "language",
    ):
        super().__init__(llm, tokenizer)
        self.phi_s, self.phi_v, self.stage = phi_s, phi_v, stage
        width = llm.get_input_embeddings().weight.shape[1]
        self.w_ts, self.w_tsi = nn.Linear(phi_s.width, width), nn.Linear(phi_v.width, width)
        self.ecg_ids, self.mapper, self.generator = [], None, None  # list[int], Mapper, Generator: after stage 2
        self.requires_grad_(False)

    @inference()
    def encode_ecg(self, signal=None, image=None, batch: int = 64) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """(B, 12, 1000) mV, (B, 1, 256, 500) uint8 ink -> (B, T_s, D_enc), (B, T_v, D_enc); either may be None."""
        views = ((self.phi_s.eval(), signal), (self.phi_v.eval(), image))
        return tuple(
            None if x is None else torch.cat([phi(y.to(self.device)) for y in x.split(batch)]).float()
            for phi, x in views
        )

    def project(self, signal_tokens: torch.Tensor | None, image_tokens: torch.Tensor | None) -> torch.Tensor | None:
        """Encoder tokens (B, T_s, D_enc), (B, T_v, D_enc) -> (B, S, D_lm), pooled; None when there is no ECG.

        Tokens of two ECGs, one after the other, are marked by their order (`add_segments`).
        """
        views = ((self.w_ts, self.phi_s, signal_tokens), (self.w_tsi, self.phi_v, image_tokens))
        parts = [
            self.add_segments(w(pooled(tokens, phi))).flatten(1, 2)  # (B, k, T, D) -> (B, k * T, D)
            for w, phi, tokens in views
            if tokens is not None
        ]
        return torch.cat(parts, 1) if parts else None

    def forward(self, input_ids, attention_mask=None, signal=None, image=None, labels=None) -> CausalLMOutput:
        """As models of transformers do; the ECG comes after the begin token.

        Args:
            input_ids: tensor (B, T).
            attention_mask: (B, T), 0 where padding stands; None for no padding.
            signal: (B, 12, 1000) mV, or None.
            image: (B, 1, 256, 500) uint8 ink, or None.
            labels: (B, T), `IGNORED` where a word does not count; None for no loss.

        Returns:
            logits (B, T, V), and the loss where there are labels.
        """
        embeds = self.splice(input_ids, self.project(*self.encode_ecg(signal, image)))
        extra = embeds.shape[1] - input_ids.shape[1]  # S
        if attention_mask is not None and extra:
            seen = attention_mask.new_ones(len(attention_mask), extra)
            attention_mask = torch.cat([attention_mask[:, :1], seen, attention_mask[:, 1:]], 1)
        hidden = self.lm.base_model(inputs_embeds=embeds, attention_mask=attention_mask).last_hidden_state
        logits = self.logits(hidden[:, extra:])  # (B, T, V): place t foretells word t + 1
        ahead = logits[:, :-1].flatten(0, 1)
        loss = None if labels is None else F.cross_entropy(ahead.float(), labels[:, 1:].flatten(), ignore_index=IGNORED)
        return CausalLMOutput(loss, logits)

    @torch.no_grad()
    def add_ecg_tokens(self, n: int) -> None:
        """Give the LLM n new tokens [ECG_1..n] whose rows alone can train (`peft` trainable tokens).

        The names join the tokenizer for printing; a user's words are encoded with special tokens split, so a typed
        "[ECG_1]" stays text. The rows start from the words that answered a request for an ECG before, a little apart:
        that of [ECG_1] from the token that began such an answer, as [ECG_1] begins it now.
        """
        names = [f"[ECG_{i + 1}]" for i in range(n)]
        self.tokenizer.add_tokens(names, special_tokens=True)
        self.ecg_ids, llm = self.tokenizer.convert_tokens_to_ids(names), self.llm
        torch.manual_seed(0)
        words = (self.form_ids() * n)[:n]
        for rows in {llm.get_input_embeddings().weight, llm.get_output_embeddings().weight}:
            spread = 0.05 * rows[: min(self.ecg_ids)].std()
            rows[self.ecg_ids] = rows[words] + spread * torch.randn_like(rows[words])
        self.wrap_rows()

    def wrap_rows(self) -> None:
        """Let the [ECG] rows be what can train of the LLM; with untied weights the output layer has its own."""
        llm, tables = self.llm, (self.llm.get_input_embeddings(), self.llm.get_output_embeddings())
        both = [name.split(".")[-1] for name, module in llm.named_modules() if module in tables]
        targets = None if llm.config.tie_word_embeddings else both
        settings = TrainableTokensConfig(token_indices=self.ecg_ids, target_modules=targets)
        self.llm = get_peft_model(llm, settings).requires_grad_(False)

    def token_rows(self) -> dict[str, nn.Parameter]:
        """The trainable [ECG] rows, by name."""
        return {name: p for name, p in self.llm.named_parameters() if "trainable_tokens_delta" in name}

    def ecg_states(self, prompts: list[str], ecg: torch.Tensor | None = None) -> torch.Tensor:
        """Hidden states (B, n, D_lm) of [ECG_1..n] placed after the prompts, with ECGs (B, S, D_lm) or without.

        The LLM is causal and what comes before its own answer does not train, so that is read once without gradient,
        and only the rows after it with one.
        """
        inputs, base = self.prompt_batch(prompts, ecg), self.lm.base_model
        rows = torch.tensor(self.ecg_ids, device=self.device).expand(len(prompts), -1)  # (B, n)
        mask = torch.cat([inputs["attention_mask"], torch.ones_like(rows)], 1)  # (B, S + T + n)
        before, after = (mask.cumsum(1) - 1).clamp(min=0).tensor_split([-rows.shape[1]], 1)  # places behind padding
        with torch.no_grad():
            read = base(**inputs, position_ids=before, use_cache=True).past_key_values
        how = dict(attention_mask=mask, position_ids=after, past_key_values=read, use_cache=True)
        return base(inputs_embeds=self.embed(rows), **how).last_hidden_state

    @inference()
    def conditions(self, prompts: list[str], signal_tokens=None, image_tokens=None, batch: int = 64) -> torch.Tensor:
        """Prompts that ask for an ECG, beside another or not -> (B, D_c) conditions, by [ECG_1..n] and the mapper."""
        require(self.mapper, "This model cannot generate ECGs yet: run notebooks 07 and 08.", BadArtifact)
        self.eval()
        parts, ecg = range(0, len(prompts), batch), self.project(signal_tokens, image_tokens)
        parts = ((prompts[i : i + batch], None if ecg is None else ecg[i : i + batch]) for i in parts)
        return torch.cat([self.mapper(self.ecg_states(*part)) for part in parts]).float()

    def write(self, prompts: list[str], signal_tokens=None, image_tokens=None, batch: int = 64) -> list[list[int]]:
        """Greedy answers as ids. An answer ends with the end token, with [ECG_1], or with what stands for it before."""
        begun = (self.ecg_ids or self.form_ids())[:1]
        stops, views = [self.tokenizer.eos_token_id, *begun], (signal_tokens, image_tokens)
        return self.generate(prompts, self.project, views, stops, self.ecg_ids[1:], batch)

    def texts(self, answers: list[list[int]]) -> list[str]:
        """Answers as words; an answer that asks for an ECG has none."""
        words = ([i for i in answer if i not in self.ecg_ids] for answer in answers)
        return [self.tokenizer.decode(ids, skip_special_tokens=True).strip() for ids in words]

    def respond(
        self,
        prompt: str,
        ecg: ECG | None = None,
        image: str | None = None,
        seed: int = 0,
        history: Sequence[tuple[str, Answer]] = (),
    ) -> Answer:
        """Answer a prompt: read the attached ECG, answer in words, or generate an ECG. The model itself decides.

        Args:
            prompt: the user's words.
            ecg: an ECG to read, as signal and as image.
            image: a picture of an ECG page that shows 10 s of lead II, to read on its own.
            seed: of the noise that an ECG is generated from.
            history: prompts and answers before this one, the oldest first; the ECG that was read last is still seen.

        Raises:
            BadRequest, BadECG, BadArtifact.
        """
        if ecg is not None and image is not None:
            raise BadRequest("An ECG and a page are attached: give one of them, an ECG is read as its page, too.")
        read = ecg or image or (history[-1][1].read if history else None)
        signal = torch.from_numpy(read.standard().signal)[None] if isinstance(read, ECG) else None
        page = None if read is None else read_page(read)[None] if signal is None else raster(signal)
        dialogue = (*(part for words, answer in history for part in (words, answer.context)), prompt)
        while len(dialogue) > 1 and len(self.prompt_ids(dialogue)) > self.max_prompt:
            dialogue = dialogue[2:]  # the oldest is forgotten
        views = self.encode_ecg(signal, page)
        ids = self.write([dialogue], *views)
        if not self.ecg_ids or self.ecg_ids[0] not in ids[0]:
            return Answer(self.texts(ids)[0], read=read)
        sentence = "The model wants to generate an ECG, but has no generator: run notebook 06."
        require(self.generator, sentence, BadArtifact)
        condition = self.conditions([dialogue], *views)
        understood = self.generator.condition.requests(condition)[0]
        if understood.refusal:
            return Answer(understood.refusal, read=read)
        text = "Here is an ECG, made for teaching; it belongs to no patient."
        return Answer(text, self.generator.make(condition, seed=seed)[0], understood, read)

    def _save_pretrained(self, save_directory: Path) -> None:
        """Write a folder that says all by itself: `config.json`, `model.safetensors`, `llm/` and `generator/`."""
        rows = bool(self.ecg_ids) and hasattr(self.llm, "peft_config")
        llm = copy.deepcopy(self.llm).merge_and_unload() if rows else self.llm  # the rows in their places
        llm.save_pretrained(save_directory / "llm")
        self.tokenizer.save_pretrained(save_directory / "llm")
        tensors = {name: value for name, value in self.state_dict().items() if name.split(".")[0] in PARTS}
        save_file({k: v.cpu().contiguous() for k, v in tensors.items()}, save_directory / "model.safetensors")
        if self.generator is not None:
            self.generator.save_pretrained(save_directory / "generator")
        about = {
            "format": FORMAT,
            "stage": self.stage,
            "encoders": {name: getattr(self, name).settings for name in ("phi_s", "phi_v")},
            "ecg_tokens": len(self.ecg_ids),
            "mapper": self.mapper.settings if self.mapper else None,
            "generator": self.generator is not None,
        }
        (save_directory / "config.json").write_text(json.dumps(about, indent=1))

    @classmethod
    def from_pretrained(cls, folder: str | Path, **hub) -> "UniECG":
        """The model of a folder, whatever its name, or of a hub's repository; frozen, on this machine's device.

        Args:
            folder: a folder, or a repository's id, which is fetched first.
            hub: of `huggingface_hub.snapshot_download`, such as `revision` and `token`.

        Raises:
            BadArtifact: no model there, one of version 0.1, or damaged; the message says what to run.
        """
        with refused(f"There is no model in {folder}: run notebook 08, or give another folder.", BadArtifact):
            folder = Path(folder if Path(folder).is_dir() else snapshot_download(str(folder), **hub))
        with refused(f"The model in {folder} is damaged ({{reason}}): run its notebook again.", BadArtifact):
            about = json.loads((folder / "config.json").read_text())
            sentence = f"{folder} was written by version 0.1: run notebooks 02 to 08 again (make run)."
            require(about.get("format") == FORMAT, sentence, BadArtifact)
            encoders = SignalEncoder(**about["encoders"]["phi_s"]), ImageEncoder(**about["encoders"]["phi_v"])
            model = cls(*load_llm(folder / "llm"), *encoders, about["stage"])
            model.mapper = Mapper(**about["mapper"]) if about["mapper"] else None
            parts = {name: part for name in PARTS if (part := getattr(model, name)) is not None}
            nn.ModuleDict(parts).load_state_dict(load_file(folder / "model.safetensors"))
            if n := about["ecg_tokens"]:
                model.ecg_ids = model.tokenizer.convert_tokens_to_ids([f"[ECG_{i + 1}]" for i in range(n)])
                model.wrap_rows()
            if about["generator"]:
                model.generator = Generator.from_pretrained(folder / "generator")
        return model.requires_grad_(False).eval().to(device_and_why()[0])


def pooled(tokens: torch.Tensor, phi: nn.Module) -> torch.Tensor:
    """An encoder's tokens as the language model gets them: the first `phi.whole` as they are, others in means.

    (B, k * phi.tokens, D) tokens of k ECGs one after the other -> (B, k, whole + rest / POOL, D).
    """
    each = tokens.unflatten(1, (-1, phi.tokens))  # (B, k, T, D)
    rest = each[:, :, phi.whole :].unflatten(2, (-1, POOL)).mean(3)
    return torch.cat([each[:, :, : phi.whole], rest], 2)


def tokens_per_ecg(phi: nn.Module) -> int:
    """How many tokens the language model gets of one ECG through this encoder."""
    return phi.whole + (phi.tokens - phi.whole) // POOL
