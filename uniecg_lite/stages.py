"""What does each stage learn from, and what does it minimise? Pre-training, alignment, stage 1, [ECG] tokens, mapper.

The notebooks hold the loops; `studies.systems` runs those of notebooks 04, 05 and 07 again.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from tqdm.auto import tqdm

from .cohort import Cohort
from .ecg_image import raster
from .language.conversations import TEXT_MIX, Corpus
from .language.questions import QUESTION_TYPES, full_answer
from .llm import Dialogue, ECGLanguageModel
from .model import UniECG
from .training import Step, inference

MODE_WEIGHTS = {"signal": 0.35, "image": 0.25, "both": 0.40}  # how often each is shown
MODES = tuple(MODE_WEIGHTS)
TURNS = {"single": 6, "comparison": 3}  # questions about the same ECG, or the same two, one after the other
ASK_NOTES = 0.3  # share of pre-training that asks about notes
COMPARE = 0.4  # share of questions that is about two ECGs
PROMPTS = 0.3  # what words of a prompt count beside those of its answer, in conversations in words alone
ALIKE = 3  # times as many words are drawn as a step has, and those kept that are about as long as each other
TEXTS = 2  # as many conversations in words alone as a step has rows: they are short
SHOWN_MIX = {"interpret": 0.73, "follow": 0.12, "attached": 0.15}  # what is said beside an ECG
SHOWN_EVERY = 5  # steps, stage 2 shows ECGs, half as many as there are rows, since they are longer than words
STAGE2_MIX = {"interpret": 0.35, "ask": 0.1, "follow": 0.1, "attached": 0.25, "wish": 0.2}  # ... beside those
NOT_AN_ECG = 0.2  # share of text in stage 1, so that words are not forgotten
ASK = 0.40  # share of stage 1 that asks a question in place of wanting a report


@dataclass
class CachedTokens:
    """Encoder tokens of N ECGs, kept because phi_s and phi_v stay frozen from here on: float16."""

    signal: torch.Tensor  # (N, T_s, D_enc)
    image: torch.Tensor  # (N, T_v, D_enc)

    @staticmethod
    @inference()
    def encode(phi_s: torch.nn.Module, phi_v: torch.nn.Module, cohort: Cohort, batch: int = 128) -> "CachedTokens":
        """Run both encoders over a cohort once."""
        phi_s, phi_v, device = phi_s.eval(), phi_v.eval(), next(phi_s.parameters()).device
        starts = tqdm(range(0, len(cohort), batch), desc="encode", leave=False)
        signals = (cohort.signal(range(i, min(i + batch, len(cohort)))).to(device) for i in starts)
        parts = [(phi_s(x).float().cpu(), phi_v(raster(x)).float().cpu()) for x in signals]
        return CachedTokens(*(torch.cat(part).half() for part in zip(*parts)))

    def get(self, rows, mode: str, device=None) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """(signal tokens or None, image tokens or None) of these rows in float32; mode: signal, image or both."""
        rows = torch.as_tensor(rows)
        return (
            self.signal[rows].float().to(device) if mode != "image" else None,
            self.image[rows].float().to(device) if mode != "signal" else None,
        )


class Collator:
    """Seeded conversations about a cohort, as dialogues for `ECGLanguageModel.batch`."""

    def __init__(self, model: ECGLanguageModel, corpus: Corpus):
        self.model, self.corpus, self.ids = model, corpus, cache(model.answer_ids)
        self.form, self.report = cache(model.form), cache(model.report_ids)

    def reports(
        self, rows, rng: random.Random, mix: dict[str, float] = SHOWN_MIX, generate: list[int] | None = None
    ) -> list[Dialogue]:
        """What is said beside ECGs: their reports, questions about these, wishes for other ECGs, as in `text`."""
        out = []
        for row in rows:
            kind = rng.choices(*zip(*mix.items()))[0]
            wanted = kind in ("attached", "wish")  # what is asked for is no copy of what is shown
            row = rng.randrange(len(self.corpus.reports)) if wanted else int(row)
            prompt, answer = self.corpus.sample(kind, row, rng)
            reply = self.report(answer) if kind == "interpret" else self.reply(wanted, answer, generate)
            out.append([(prompt, reply)])
        return out

    def text(
        self, rows, rng: random.Random, mix: dict[str, float] = TEXT_MIX, generate: list[int] | None = None
    ) -> list[Dialogue]:
        """Conversations in words alone.

        A request for an ECG is answered by `generate`, or, before stage 2, by a form of what is wanted: the model
        learns to tell a request from a restatement by its first word, and which facts it holds by the others.
        """
        drawn = self.corpus.dialogue(rows, rng, mix)
        return [[(prompt, self.reply(kind == "wish", answer, generate))] for kind, prompt, answer in drawn]

    def reply(self, wanted: bool, answer: str, generate: list[int] | None = None) -> list[int]:
        """An answer as ids; where an ECG is wanted `generate`, or a form."""
        return (generate or self.form(answer)) if wanted else self.ids(answer)

    def stage2(self, step: Step, cached: CachedTokens | None = None) -> tuple[list[Dialogue], torch.Tensor | None]:
        """Conversations of a step of stage 2, and the ECGs (B, S, D_lm) before them, or None.

        [ECG_1] answers a request for an ECG, words all else, by `TEXT_MIX`, or beside cached ECGs by `STAGE2_MIX`.
        """
        (rows, ecg), generate = self._shown(step, cached), self.model.ecg_ids[:1]
        if ecg is None:
            return self.text(rows, step.rng, generate=generate), None
        return self.reports(rows, step.rng, STAGE2_MIX, generate), ecg

    def requests(self, step: Step, cached: CachedTokens | None = None) -> tuple[list[tuple], torch.Tensor | None]:
        """Prompts of a step that ask for an ECG, each with its request, and the ECGs before them, or None."""
        rows, ecg = self._shown(step, cached)
        kinds = ("wish",) if ecg is None else ("attached", "wish")
        return [pair for _, *pair in self.draw_requests(step, len(rows), kinds)], ecg

    def draw_requests(self, step: Step, n: int, kinds: tuple[str, ...] = ("wish",)) -> list[tuple]:
        """n prompts that ask for an ECG, about as long as each other: (row, prompt, request in canonical words)."""
        rows = step.rng.choices(range(len(self.corpus.reports)), k=ALIKE * n)
        drawn = [(row, *self.corpus.sample(step.rng.choice(kinds), row, step.rng)) for row in rows]
        return alike(drawn, step.rng, lambda one: len("".join(one[1])))

    def _shown(self, step: Step, cached: CachedTokens | None) -> tuple[list[int], torch.Tensor | None]:
        """Rows of a step of stage 2, and their ECGs as the LLM sees them, or None where it is one of words alone."""
        if cached is None or step.number % SHOWN_EVERY:
            return step.rows(len(self.corpus.reports)).tolist(), None
        rows = step.rng.choices(range(len(cached.signal)), k=max(1, step.batch // 2))
        return rows, self.model.project(*cached.get(rows, draw_mode(MODES, step.rng), self.model.device))

    def questions(
        self, n: int, rng: random.Random, start: str, noted: bool = False
    ) -> tuple[torch.Tensor, list[Dialogue]]:
        """n dialogues of up to `TURNS` questions about the same ECG, or the same two: showing ECGs is what costs.

        Args:
            n: how many dialogues.
            rng: the only source of chance.
            start: how the type of every question begins, `single` or `comparison`.
            noted: the first question comes with notes of the ECGs (`conversations.notes`), which need not be shown.

        Returns:
            rows (n, 1 or 2) of ECGs, and the dialogues.
        """
        kinds = [name for name in QUESTION_TYPES if name.startswith(start)]
        first = [self.corpus.asked(rng, kind=kinds) for _ in range(n)]
        asked = [[q, *self.corpus.more(q, TURNS[start] - 1, rng)] for q in first]
        out = [[(q.question, self.ids(full_answer(q))) for q in dialogue] for dialogue in asked]
        if noted:
            heads = [f"{self.corpus.noted(q)} {q.question}" for q in first]
            out = [[(head, dialogue[0][1]), *dialogue[1:]] for head, dialogue in zip(heads, out)]
        return torch.tensor([q.ecg_id for q in first]), out


def alike(drawn: list, rng: random.Random, length: Callable) -> list:
    """One part of `ALIKE` of these, in order of length: rows as long as each other need little padding."""
    size, part = len(drawn) // ALIKE, rng.randrange(ALIKE)
    return sorted(drawn, key=length)[size * part : size * (part + 1)]


def pretraining_loss(model: UniECG, collator: Collator, step: Step) -> torch.Tensor:
    """Answers to questions about notes of ECGs, which tokens of ECGs will stand for later, or text."""
    if step.rng.random() < ASK_NOTES:
        start = "comparison" if step.rng.random() < COMPARE else "single"
        n = max(1, step.batch // 2)  # as many words as the other steps have
        return model.loss(model.batch(collator.questions(n, step.rng, start, noted=True)[1]))
    return text_loss(model, collator, step)


def text_loss(model: UniECG, collator: Collator, step: Step) -> torch.Tensor:
    """Conversations in words alone, that are about as long as each other."""
    n = TEXTS * step.batch
    drawn = collator.text(step.rng.choices(range(len(collator.corpus.reports)), k=ALIKE * n), step.rng)
    drawn = alike(drawn, step.rng, lambda dialogue: len("".join(dialogue[0][0])) + 4 * len(dialogue[0][1]))
    return model.loss(model.batch(drawn), rates=True, prompts=PROMPTS)


def report_loss(model: UniECG, collator: Collator, cached: CachedTokens, step: Step, modes=MODES) -> torch.Tensor:
    """Reports of ECGs that are shown as signal, image or both: alignment, and most of stage 1."""
    rows = step.rows(len(collator.corpus.reports))
    ecg = model.project(*cached.get(rows, draw_mode(modes, step.rng), model.device))
    return model.loss(model.batch(collator.reports(rows, step.rng)), ecg, rates=True)


def question_loss(model: UniECG, collator: Collator, cached: CachedTokens, step: Step, modes=MODES) -> torch.Tensor:
    """Questions about ECGs, or about the signals of two, one after the other: (B, 2 T_s, D_enc), no image."""
    n = max(1, step.batch // 2)
    if set(modes) != {"image"} and step.rng.random() < COMPARE:
        rows, dialogues = collator.questions(max(1, 3 * n // 4), step.rng, "comparison")  # two ECGs are longer
        shown = torch.cat([cached.get(column, "signal", model.device)[0] for column in rows.T], 1), None
    else:
        rows, dialogues = collator.questions(n, step.rng, "single")
        shown = cached.get(rows[:, 0], draw_mode(modes, step.rng), model.device)
    return model.loss(model.batch(dialogues), model.project(*shown))


def stage1_loss(model: UniECG, collator: Collator, cached: CachedTokens, step: Step, modes=MODES) -> torch.Tensor:
    """Reports, questions and words alone, drawn by `NOT_AN_ECG` and `ASK`; answers alone count."""
    share = step.rng.random()
    if share < NOT_AN_ECG:
        return text_loss(model, collator, step)
    return (question_loss if share < NOT_AN_ECG + ASK else report_loss)(model, collator, cached, step, modes)


@inference()
def read_wishes(
    model: UniECG,
    condition: torch.nn.Module,
    collator: Collator,
    n: int,
    seed: int,
    cached: CachedTokens | None = None,
    batch: int = 128,
) -> tuple[torch.Tensor, torch.Tensor]:
    """What the frozen LLM makes of wishes for an ECG, each read once: all that a mapper learns from.

    Args:
        model, condition: whose states, and whose vectors.
        collator: draws the wishes, as in a step of `Collator.requests`.
        n: how many; of those with an ECG before them half as many.
        seed: what is drawn depends on it alone.
        cached: ECGs that may stand before the words.
        batch: wishes at a time.

    Returns:
        states (N, ecg_tokens, D_lm) of [ECG_1..] in float16, and the text encoder's vectors (N, D_c) of the requests.
    """
    kept, batch = [], min(n, batch)
    for number in tqdm(range(n // batch), desc="read wishes", leave=False):
        pairs, ecg = collator.requests(Step(number, seed, batch), cached)
        states = model.ecg_states([prompt for prompt, _ in pairs], ecg)  # (B, n, D_lm)
        kept.append((states.half().cpu(), condition([words for _, words in pairs]).float().cpu()))
    return tuple(torch.cat(part) for part in zip(*kept))


def draw_mode(modes: tuple[str, ...], rng: random.Random) -> str:
    """One of these, drawn by `MODE_WEIGHTS`."""
    return rng.choices(modes, [MODE_WEIGHTS[mode] for mode in modes])[0]


def projections(model: UniECG, modes: tuple[str, ...] = MODES) -> dict[str, torch.nn.Module]:
    """W_ts and W_tsi, as far as these modes use them; one projection shared by both counts once."""
    used = {"w_ts": model.w_ts} if set(modes) != {"image"} else {}
    if set(modes) != {"signal"} and model.w_tsi is not used.get("w_ts"):
        used["w_tsi"] = model.w_tsi
    return used


def trainable(parts: dict[str, torch.nn.Module]) -> torch.nn.ModuleDict:
    """The same parts, all of whose weights now train."""
    return torch.nn.ModuleDict(parts).requires_grad_(True).train()
