"""What a stage learns from: encoder tokens kept of each ECG, and seeded conversations about a cohort."""

import random
from dataclasses import dataclass

import torch
from tqdm.auto import tqdm

from .cohort import Cohort
from .ecg_image import raster
from .language.conversations import TEXT_MIX, WANTED, Corpus
from .language.questions import QUESTION_TYPES, full_answer
from .language.tokenizer import encode
from .llm import Dialogue, RateWords
from .model import UniECG
from .training import accelerator

TURNS = {"single": 6, "comparison": 3}  # questions about the same ECG, or the same two, one after the other


@dataclass
class CachedTokens:
    """Encoder tokens of N ECGs, kept because phi_s and phi_v stay frozen from here on: float16."""

    signal: torch.Tensor  # (N, T_s, D_enc)
    image: torch.Tensor  # (N, T_v, D_enc)

    @staticmethod
    def encode(phi_s: torch.nn.Module, phi_v: torch.nn.Module, cohort: Cohort, batch: int = 128) -> "CachedTokens":
        """Run both encoders over a cohort once."""
        device = next(phi_s.parameters()).device
        signal, image = [], []
        with torch.no_grad(), accelerator().autocast():
            for i in tqdm(range(0, len(cohort), batch), desc="encode", leave=False):
                x = cohort.signal(range(i, min(i + batch, len(cohort)))).to(device)
                signal.append(phi_s.eval()(x).half().cpu())
                image.append(phi_v.eval()(raster(x)).half().cpu())
        return CachedTokens(torch.cat(signal), torch.cat(image))

    def get(self, rows, mode: str, device=None) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """(signal tokens or None, image tokens or None) of these rows in float32; mode: signal, image or both."""
        rows = torch.as_tensor(rows)
        return (
            self.signal[rows].float().to(device) if mode != "image" else None,
            self.image[rows].float().to(device) if mode != "signal" else None,
        )


class Collator:
    """Seeded batches of conversations about a cohort."""

    def __init__(self, model: UniECG, corpus: Corpus):
        self.model, self.corpus, self.kept = model, corpus, {}
        self.rates = RateWords(model.tokenizer)

    def ids(self, answer: str) -> list[int]:
        """An answer as ids with a leading space and the end token; kept, since answers repeat."""
        if answer not in self.kept:
            self.kept[answer] = [*encode(self.model.tokenizer, " " + answer), self.model.tokenizer.eos_token_id]
        return self.kept[answer]

    def reports(self, rows, rng: random.Random) -> tuple[list[str], list[list[int]]]:
        """Prompts to interpret an ECG, and the reports of these rows."""
        pairs = [self.corpus.sample("interpret", int(row), rng) for row in rows]
        return [p for p, _ in pairs], [self.ids(a) for _, a in pairs]

    def dialogues(
        self, n: int, rng: random.Random, start: str, with_notes: bool = False
    ) -> tuple[torch.Tensor, list[Dialogue]]:
        """n talks of up to `TURNS` questions about the same ECG, or the same two: showing ECGs is what costs.

        Args:
            n: how many talks.
            rng: the only source of chance.
            start: how the type of every question begins, `single` or `comparison`.
            noted: the first question comes with notes of the ECGs (`language.notes`), which then need not be shown.

        Returns:
            rows (n, 1 or 2) of ECGs, and n lists of (prompt, answer as ids).
        """
        kinds = [name for name in QUESTION_TYPES if name.startswith(start)]
        first = [self.corpus.asked(rng, kind=kinds) for _ in range(n)]
        dialogues = [[q, *self.corpus.more(q, TURNS[start] - 1, rng)] for q in first]
        stated = [[(q.question, self.ids(full_answer(q))) for q in dialogue] for dialogue in dialogues]
        if with_notes:
            heads = [f"{self.corpus.noted(q)} {q.question}" for q in first]
            stated = [[(head, dialogue[0][1]), *dialogue[1:]] for head, dialogue in zip(heads, stated)]
        return torch.tensor([q.ecg_id for q in first]), stated

    def text(self, rows, rng: random.Random, mix: dict[str, float] = TEXT_MIX, generate: list[int] | None = None):
        """Conversations in words alone: (prompts, answers as ids).

        A wish for an ECG is answered by `wish`, or, before stage 2, by saying what is wanted: the model learns to
        tell a wish from a restatement by its first word, and which facts it holds by the others.
        """
        prompts, answers = [], []
        for kind, row in zip(self.corpus.kinds(len(rows), rng, mix), rows):
            prompt, answer = self.corpus.sample(kind, int(row), rng)
            prompts.append(prompt)
            answers.append(
                generate if generate and kind == "generate" else self.ids(WANTED * (kind == "generate") + answer)
            )
        return prompts, answers
