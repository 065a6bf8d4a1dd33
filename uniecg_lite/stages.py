"""The stages of training: projection alignment, stage 1, [ECG] token injection, mapper alignment."""

import random
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from peft import TrainableTokensConfig, get_peft_model

from .batches import CachedTokens, Collator
from .config import Training
from .language.conversations import WANTED, Corpus
from .language.tokenizer import encode
from .model import UniECG
from .training import fit, rows_of

MODES = ("signal", "image", "both")
MODE_WEIGHTS = (0.35, 0.25, 0.40)
FIRST_WORDS = (  # of the answer to a wish, before there are [ECG] tokens
    WANTED.strip(": "),
    "Rate",
    "Findings",
    "Age",
    "Sex",
    "Axis",
    "QRS",
    "PR",
    "QT",
)
NOT_AN_ECG = 0.15  # share of text in stage 1, so that words are not forgotten
STAGE1_MIX = {"generate": 0.42, "restate": 0.20, "report": 0.10, "question": 0.16, "no_ecg": 0.12}
ASK_NOTES = 0.6  # share of pre-training that asks about notes
ASK = 0.40  # share of stage 1 that asks a question in place of wanting a report
COMPARE = 0.4  # share of those questions that is about two ECGs


def _rng(seed: int, step: int) -> random.Random:
    return random.Random(f"{seed}/{step}")


def pretrain(model: UniECG, corpus: Corpus, plan: Training, seed: int, folder: Path) -> dict:
    """Teach the LLM its language: it answers with reports, requests in order, definitions; the answers' words count.

    A share `ASK_NOTES` of the steps asks questions about notes of ECGs, which tokens of ECGs will stand for later.
    """
    collator = Collator(model, corpus)
    model.llm.requires_grad_(True).train()

    def loss(step, generator):
        rng = _rng(seed, step)
        if rng.random() < ASK_NOTES:
            start = "comparison" if rng.random() < COMPARE else "single"
            n = max(1, plan.batch // 2)  # as many words as the other steps have
            return model.dialogue_loss(collator.dialogues(n, rng, start, with_notes=True)[1], None)
        rows = rows_of(step, seed, plan.batch, len(corpus.reports))
        return model.answer_loss(*collator.text(rows, rng), None, rates=collator.rates)

    history = fit("language", {"llm": model.llm}, loss, plan, seed=seed, folder=folder, muon=True)
    model.requires_grad_(False)
    return history


def _reading_loss(model: UniECG, collator: Collator, views: CachedTokens, rows, mode: str, rng) -> torch.Tensor:
    tokens = views.get(rows, mode, model.w_ts.weight.device)
    return model.answer_loss(*collator.reports(rows, rng), model.project(*tokens), rates=collator.rates)


def projections(model: UniECG, modes: tuple[str, ...] = MODES) -> dict[str, torch.nn.Module]:
    """W_ts and W_tsi, as far as these modes use them; one projection shared by both views counts once."""
    used = {"w_ts": model.w_ts} if set(modes) != {"image"} else {}
    if set(modes) != {"signal"} and model.w_tsi is not used.get("w_ts"):
        used["w_tsi"] = model.w_tsi
    return used


def _mode(modes: tuple[str, ...], rng: random.Random) -> str:
    """One of these modes, drawn by `MODE_WEIGHTS`."""
    return rng.choices(modes, [MODE_WEIGHTS[MODES.index(mode)] for mode in modes])[0]


def projection_alignment(
    model: UniECG,
    corpus: Corpus,
    views: CachedTokens,
    plan: Training,
    seed: int,
    folder: Path,
    modes: tuple[str, ...] = MODES,
) -> dict:
    """Train W_ts and W_tsi alone; LLM and encoders are frozen. `modes` are the views that are shown."""
    collator, parts = Collator(model, corpus), projections(model, modes)
    for part in parts.values():
        part.requires_grad_(True)

    def loss(step, generator):
        rows, rng = rows_of(step, seed, plan.batch, len(corpus.reports)), _rng(seed, step)
        return _reading_loss(model, collator, views, rows, _mode(modes, rng), rng)

    history = fit("alignment", parts, loss, plan, seed=seed, folder=folder)
    model.requires_grad_(False)
    return history


def _asking_loss(model: UniECG, collator: Collator, views: CachedTokens, n: int, modes, rng) -> torch.Tensor:
    """Questions about n ECGs, or about the signals of two, one after the other: (B, 2 T_s, D_enc), no image."""
    device = model.w_ts.weight.device
    if set(modes) != {"image"} and rng.random() < COMPARE:
        rows, dialogues = collator.dialogues(max(1, 3 * n // 4), rng, "comparison")  # two ECGs are longer
        shown = torch.cat([views.get(column, "signal", device)[0] for column in rows.T], 1), None
    else:
        rows, dialogues = collator.dialogues(n, rng, "single")
        shown = views.get(rows[:, 0], _mode(modes, rng), device)
    return model.dialogue_loss(dialogues, model.project(*shown))


def stage1(
    model: UniECG,
    corpus: Corpus,
    views: CachedTokens,
    plan: Training,
    seed: int,
    folder: Path,
    validate=None,
    validate_every: int = 0,
    modes: tuple[str, ...] = MODES,
) -> dict:
    """Train the whole LLM with W_ts and W_tsi on image-signal-text triplets; the loss counts answers only.

    Each step shows the signal, the image or both; some steps are words alone, so that words are not forgotten. A share
    `ASK` of the steps asks questions, the others want reports. `modes` leaves some of the three out.
    """
    collator = Collator(model, corpus)
    parts = {"llm": model.llm.train(), **projections(model, modes)}
    for part in parts.values():
        part.requires_grad_(True)

    def loss(step, generator):
        rows, rng = rows_of(step, seed, plan.batch, len(corpus.reports)), _rng(seed, step)
        share = rng.random()
        if share < NOT_AN_ECG:
            return model.answer_loss(*collator.text(rows, rng, STAGE1_MIX), None, rates=collator.rates)
        if share < NOT_AN_ECG + ASK:
            return _asking_loss(model, collator, views, max(1, len(rows) // 2), modes, rng)
        return _reading_loss(model, collator, views, rows, _mode(modes, rng), rng)

    history = fit(
        "stage 1",
        parts,
        loss,
        plan,
        seed=seed,
        folder=folder,
        muon=True,
        validate=validate,
        validate_every=validate_every,
    )
    model.requires_grad_(False)
    return history


def inject_ecg_tokens(model: UniECG, n: int) -> None:
    """Give the LLM n new tokens [ECG_1..n] whose rows alone can train (`peft` trainable tokens).

    The names join the tokenizer for printing; a user's words are encoded with special tokens split, so a typed
    "[ECG_1]" stays text. With tied weights the same row is read and emitted; else the output layer gets its own.
    """
    names = [f"[ECG_{i + 1}]" for i in range(n)]
    model.tokenizer.add_tokens(names, special_tokens=True)
    model.ecg_ids = model.tokenizer.convert_tokens_to_ids(names)
    llm = model.llm
    targets = None
    if not llm.config.tie_word_embeddings:
        named = {id(m): name.split(".")[-1] for name, m in llm.named_modules()}
        targets = [named[id(llm.get_input_embeddings())], named[id(llm.get_output_embeddings())]]
    torch.manual_seed(0)
    words = [encode(model.tokenizer, " " + word)[-1] for word in (FIRST_WORDS * n)[:n]]
    with torch.no_grad():  # start from the words that answer a wish, a little apart
        for rows in {llm.get_input_embeddings().weight, llm.get_output_embeddings().weight}:
            spread = 0.05 * rows[: min(model.ecg_ids)].std()
            rows[model.ecg_ids] = rows[words] + spread * torch.randn(n, rows.shape[1], device=rows.device)
    model.llm = get_peft_model(llm, TrainableTokensConfig(token_indices=model.ecg_ids, target_modules=targets))
    model.llm.requires_grad_(False)


def token_rows(model: UniECG) -> dict[str, torch.nn.Parameter]:
    """The trainable [ECG] rows, by name."""
    return {name: p for name, p in model.llm.named_parameters() if "trainable_tokens_delta" in name}


def rows_but_the_first(model: UniECG) -> list:
    """Let the [ECG] rows train, all but that of [ECG_1], which decides; returns the hooks, to be removed."""

    def held(gradient: torch.Tensor) -> torch.Tensor:
        return torch.cat([torch.zeros_like(gradient[:1]), gradient[1:]])

    return [row.requires_grad_(True).register_hook(held) for row in token_rows(model).values()]


STAGE2_MIX = {"generate": 0.40, "restate": 0.12, "report": 0.08, "question": 0.26, "no_ecg": 0.14}


def _when_loss(model: UniECG, collator: Collator, rows, rng) -> torch.Tensor:
    """Language-model loss that teaches *when*: [ECG_1] answers a wish for an ECG, words answer everything else."""
    return model.answer_loss(*collator.text(rows, rng, STAGE2_MIX, generate=model.generate_ids()), None)


def train_tokens(model: UniECG, corpus: Corpus, plan: Training, seed: int, folder: Path) -> dict:
    """Train the [ECG] rows alone to be emitted when, and only when, an ECG is asked for. Text only."""
    collator = Collator(model, corpus)
    for p in token_rows(model).values():
        p.requires_grad_(True)

    def loss(step, generator):
        return _when_loss(model, collator, rows_of(step, seed, plan.batch, len(corpus.reports)), _rng(seed, step))

    history = fit("[ECG] tokens", {"llm": model.llm}, loss, plan, seed=seed, folder=folder, weight_decay=0.0)
    model.requires_grad_(False)
    return history


def align_mapper(
    model: UniECG,
    corpus: Corpus,
    condition_encoder,
    plan: Training,
    seed: int,
    folder: Path,
    squared: bool = True,
    denoising: Callable | None = None,
    ecgs: Callable | None = None,
) -> dict:
    """Train mapper and rows by the MSE of the mapped [ECG] states to the frozen condition encoder. Text only.

    The target encodes the request's canonical words. The row of [ECG_1] stays as it is: it has learned *when*
    (`train_tokens`), and with tied weights a changed row would decide otherwise; the other rows learn *what*.

    Study `mapping` trains in other ways, too. A row of the denoising loss costs as much as all else together, so every
    other row of a batch has it; without the squared error the rest of the batch is left out.

    Args:
        model: with mapper and [ECG] tokens.
        corpus: of N patients.
        condition_encoder: texts -> (B, D_c).
        plan: steps, batch, learning rate.
        seed: of the order of the patients and the words they are asked in.
        folder: where checkpoints go.
        squared: whether the squared error is trained, or only watched.
        denoising: patients (B,), conditions (B, D_c), `torch.Generator` -> the generator's own loss, to be added.
        ecgs: patients (B,) -> their ECGs (B, 12, 1000) mV, shown beside the words in every other step.
    """
    model.mapper.requires_grad_(True).train()
    hooks = rows_but_the_first(model)

    def loss(step, generator):
        rows, rng = rows_of(step, seed, plan.batch, len(corpus.reports)), _rng(seed, step)
        rows, noised = (rows, slice(None, None, 2)) if squared else (rows[::2], slice(None))
        pairs = [corpus.sample("generate", int(row), rng) for row in rows]
        with torch.no_grad():
            target = condition_encoder([a for _, a in pairs])  # (B, D_c)
            shown = model.project(model.encode_signal(ecgs(rows)), None) if ecgs and step % 2 else None
        mapped = model.mapper(model.ecg_states([p for p, _ in pairs], shown)).float()
        mse = F.mse_loss(mapped, target.float())
        total = mse if squared else 0.0
        if denoising:
            total = total + denoising(rows[noised], mapped[noised], generator)
        return {"loss": total, "mse": mse.detach()}

    parts = {"mapper": model.mapper, "llm": model.llm}
    history = fit("mapper", parts, loss, plan, seed=seed, folder=folder, weight_decay=0.0)
    for hook in hooks:
        hook.remove()
    model.requires_grad_(False)
    return history
