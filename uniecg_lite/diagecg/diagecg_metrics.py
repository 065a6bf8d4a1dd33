"""How good are ECG words? Reconstruction, forecasts, answers, real records, and where attention lies (claim D6).

Attention is that of the end of a question to the codes of the ECG, wave by wave. Every figure of `diagecg.*` is
computed here, on held-out patients.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from ..beats import R_PEAK, heart_rate, measure_beat, real_rates, representative_beat
from ..cohort import Cohort
from ..ecg import ECG
from ..encoders import GROUPS
from ..findings import NAMES, Reading
from ..language.conversations import Corpus
from ..language.questions import Question
from ..language.report_parser import parse_report
from ..leads import LEADS, lead_law_residual
from ..metrics.chain import PROMPT
from ..metrics.grounded import f1, grounded
from ..metrics.qa import answer_each, draw_questions, qa_scores
from ..metrics.real_records import load_signals
from ..metrics.reports import reading_scores, report_scores
from ..metrics.saliency import WAVES, ratios, wave_windows
from ..training import inference
from .diagecg_model import DiagECG
from .diagecg_stages import HORIZON, SCALES, windows, with_background
from .fact_tokens import NOISES, PLACES, WORDS, FactWords, readings_of
from .fsq_tokenizer import ROWS, ECGTokenizer

ABOUT = {  # wave: findings that it carries
    "P": ("LAE", "RAE", "1AVB"),
    "QRS": ("Q_ANT", "Q_INF", "CLBBB"),
    "ST": ("STE_ANT", "STE_INF", "STD"),
    "T": ("TINV", "HYPERK", "HYPT"),
}
QUESTION = "Does this ECG show {}?"
FEW = 128  # reports whose overlap of words is counted, which is slow
FACTS = tuple(dict.fromkeys(place.fact for place in PLACES))


@inference()
def attention(model: DiagECG, prompts: list[str], codes: torch.Tensor, batch: int = 32) -> torch.Tensor:
    """Attention (B, T), mean over layers and heads, of the last word before the answer to each ECG word of (B, T)."""
    model.eval()
    out = []
    for i in range(0, len(prompts), batch):
        rows = [torch.tensor(model.prompt_ids(p)) for p in prompts[i : i + batch]]
        ids = nn.utils.rnn.pad_sequence(rows, True, model.tokenizer.pad_token_id).to(model.device)
        inputs = model.splice(ids, model.block(codes[i : i + batch, None].long()))  # padding is last: nothing sees it
        last = torch.tensor([len(r) for r in rows], device=model.device) - 1 + inputs.shape[1] - ids.shape[1]
        out.append(_looks(model, inputs, last)[:, 2 : 2 + codes.shape[1]])  # after begin and [ecg]
    return torch.cat(out)


@inference()
def look_back(model: DiagECG, codes: torch.Tensor) -> torch.Tensor:
    """Attention (B, T), mean over layers and heads, of the forecast that follows codes (B, T) to each of them."""
    model.eval()
    begin = torch.full((len(codes), 1), model.tokenizer.bos_token_id, device=model.device)
    inputs = model.splice(begin, model.block(codes[:, None].long()))[:, :-1]  # without [/ecg]: the ECG goes on
    last = torch.full((len(codes),), inputs.shape[1] - 1, device=model.device)
    return _looks(model, inputs, last)[:, 2:]


def _looks(model: DiagECG, inputs: torch.Tensor, last: torch.Tensor) -> torch.Tensor:
    """Embeddings (B, S, D), places (B,) -> attention of those places (B, S), mean over layers and heads."""
    whole, rows = model.lm, torch.arange(len(inputs))
    whole.set_attn_implementation("eager")  # the only one that hands out its attention
    layers = model.lm.base_model(inputs_embeds=inputs, output_attentions=True).attentions  # each (B, H, S, S)
    whole.set_attn_implementation("sdpa")
    return torch.stack([a[rows, :, last] for a in layers]).float().mean((0, 2)).cpu()


def token_waves(truth: dict[str, torch.Tensor], tokens: int, length: int, hz: float = 100.0) -> torch.Tensor:
    """(B, 4, T) share of each token's time that lies in P, QRS, ST and T."""
    return F.adaptive_avg_pool1d(wave_windows(truth, length, hz).float(), tokens)


def wave_ratios(mass: torch.Tensor, waves: torch.Tensor) -> torch.Tensor:
    """Attention (B, T), `token_waves` (B, 4, T) -> (B, 4): share of attention over share of time; 1 is chance."""
    return torch.stack([ratios(mass, waves[:, i]) for i in range(len(WAVES))], 1)


def attention_metrics(
    model: DiagECG, simulated, codes: torch.Tensor, control: DiagECG | None = None
) -> dict[str, float]:
    """`diagecg.attention.<asked>.<wave>`: questions about the findings of one wave, attention in each kind of wave.

    Every question is asked about every record (codes (B, T)), so the model must be one that reads codes. Controls:
    `.shuffled.`, the same attention over the waves of another record, and with `control`, an untrained model,
    `.untrained.`.
    """
    waves = token_waves(simulated.truth, codes.shape[1], simulated.signal.shape[-1], simulated.hz)
    kinds = {"": (model, waves), "shuffled.": (model, waves.roll(1, 0))}
    if control is not None:
        kinds["untrained."] = (control, waves)
    out, seen = {}, {}
    for name, (who, where) in kinds.items():
        for asked, found in ABOUT.items():
            if (id(who), asked) not in seen:
                each = [attention(who, [QUESTION.format(NAMES[c])] * len(codes), codes) for c in found]
                seen[id(who), asked] = torch.stack(each).mean(0)  # (B, T)
            values = wave_ratios(seen[id(who), asked], where).nanmean(0).tolist()
            out |= {f"diagecg.attention.{name}{asked}.{wave}": value for wave, value in zip(WAVES, values)}
        own = [out[f"diagecg.attention.{name}{wave}.{wave}"] for wave in WAVES]
        out[f"diagecg.attention.{name}own"] = sum(own) / len(own)
    return out


def fact_attention(model: DiagECG, words: torch.Tensor) -> dict[str, torch.Tensor]:
    """Finding -> how often a question about it looks at the words of each fact, over an even share, (FACTS,).

    Words (B, PLACES) are fact words; the mean over the B records is taken, and over the words of one fact.
    """
    out = {}
    for code in (code for found in ABOUT.values() for code in found):
        mass = attention(model, [QUESTION.format(NAMES[code])] * len(words), words).mean(0)  # (PLACES,)
        each = [mass[[i for i, place in enumerate(PLACES) if place.fact == name]].mean() for name in FACTS]
        out[code] = torch.stack(each) / mass.mean()
    return out


def own_fact(looks: dict[str, torch.Tensor]) -> float:
    """From `fact_attention`: how often questions look at the words that tell of what is asked; 1 is chance."""
    own = {code: FACTS.index(name) for name, codes in GROUPS.items() for code in codes}
    return sum(each[own[code]].item() for code, each in looks.items()) / len(looks)


def fact_figure(looks: dict[str, torch.Tensor]):
    """`fact_attention` as a picture: a row for each wave that is asked about, a column for each fact."""
    import matplotlib.pyplot as plt

    table = torch.stack([torch.stack([looks[code] for code in found]).mean(0) for found in ABOUT.values()])
    figure, axis = plt.subplots(figsize=(8.0, 2.6), dpi=72, layout="constrained")
    plt.close(figure)
    drawn = axis.imshow(table, aspect="auto", cmap="Blues", vmin=0)
    axis.set_yticks(range(len(ABOUT)), ABOUT)
    axis.set_ylabel("asked about")
    axis.set_xticks(range(len(FACTS)), [name.replace("_", " ") for name in FACTS], rotation=60, ha="right", fontsize=8)
    figure.colorbar(drawn, label="attention over\nan even share")
    return figure


def attention_figure(mass: torch.Tensor, signal: torch.Tensor, waves: torch.Tensor, title: str, seconds: float = 4.0):
    """One lead (L,) in mV with the attention (T,) under it as bars, coloured by the wave that a token holds most of."""
    import matplotlib.pyplot as plt

    step, n = len(signal) // len(mass), round(seconds * 100)
    figure, (top, low) = plt.subplots(2, 1, figsize=(8.0, 3.0), dpi=72, layout="constrained", sharex=True)
    plt.close(figure)
    top.plot(torch.arange(n) / 100, signal[:n], color="#111111", linewidth=1)
    top.set_ylabel("mV")
    top.set_title(title, fontsize=10)
    colours = [*("#54a24b", "#4c78a8", "#e45756", "#f58518"), "#bbbbbb"]
    holds = torch.where(waves.amax(0) > 0.3, waves.argmax(0), len(WAVES))  # (T,)
    place = torch.arange(len(mass)) * step / 100
    for kind, name in enumerate([*WAVES, "between"]):
        chosen = (holds == kind) & (place < seconds)
        low.bar(place[chosen], mass[chosen], step / 100, align="edge", color=colours[kind], label=name)
    low.set_xlabel("s")
    low.set_ylabel("attention")
    low.legend(fontsize=7, ncols=5)
    return figure


# ---- codes ------------------------------------------------------------------------------------------------------
@torch.no_grad()
def again(codec: ECGTokenizer, signal: torch.Tensor, batch: int = 128) -> tuple[torch.Tensor, torch.Tensor]:
    """(B, 12, L) mV -> its codes (B, T), and what they say (B, 12, L) mV."""
    device = next(codec.parameters()).device
    parts = [codec.encode(x.to(device)) for x in signal.split(batch)]
    return torch.cat(parts).cpu(), torch.cat([codec.decode(c, signal.shape[-1]).cpu() for c in parts])


def codec_metrics(codec: ECGTokenizer, signal: torch.Tensor) -> dict[str, float]:
    """`diagecg.codes_used` (a share of all codes), `.reconstruction_rmse_mv` (mean over leads) and `.<lead>`, ..."""
    codes, back = again(codec, signal)
    rmse = (back - signal).square().mean((0, 2)).sqrt()  # (12,)
    rate, predicted = heart_rate(signal, 100.0), heart_rate(back, 100.0)
    return {
        "diagecg.codes_used": len(codes.unique()) / codec.codes,
        "diagecg.perplexity_of_codes": entropy(codes, codec.codes).exp().item(),
        "diagecg.tokens_per_ecg": codes.shape[1],
        "diagecg.reconstruction_rmse_mv": rmse.mean().item(),
        "diagecg.reconstruction_share": ((back - signal).square().sum() / signal.square().sum()).item(),
        "diagecg.reconstruction_hr_error_bpm": (rate - predicted).abs().nan_to_num(60.0).median().item(),
        "diagecg.reconstruction_lead_law_mv": lead_law_residual(back).max().item(),
        **{f"diagecg.reconstruction_rmse_mv.{lead}": value for lead, value in zip(LEADS, rmse.tolist())},
    }


def waves_kept(codec: ECGTokenizer, signal: torch.Tensor, truth: dict[str, torch.Tensor]) -> dict[str, float]:
    """QRS amplitude and ST level before and after, measured alike on the usual beat: mean absolute errors in mV."""
    back = again(codec, signal)[1]
    st = [measure_beat(x, truth["qrs_ms"], truth["qt_ms"])["st_mv"] for x in (signal, back)]
    tall = []
    for x in (signal, back):
        qrs = representative_beat(x, 100.0)[0][..., R_PEAK - 8 : R_PEAK + 9]  # (B, 12, 17)
        tall.append(qrs.amax(-1) - qrs.amin(-1))
    return {
        "diagecg.st_change_mv": (st[0] - st[1]).abs().mean().item(),
        "diagecg.qrs_change_mv": (tall[0] - tall[1]).abs().mean().item(),
        "diagecg.qrs_change_share": ((tall[0] - tall[1]).abs().mean() / tall[0].mean()).item(),
    }


def gaussian_rate(signal: torch.Tensor, errors, block: int = 100) -> torch.Tensor:
    """Bits per ECG of a code that knows no more of ECGs than how the samples of a block vary together.

    Reverse water-filling over principal components (Cover and Thomas, Elements of Information Theory, 2006, 10.3.3). Of
    all sources with these covariances a Gaussian one takes most bits, and it takes this many.

    Args:
        signal: (B, 12, L) mV; its eight independent leads count.
        errors: n root mean squared errors, mV.
        block: samples that are coded together.

    Returns:
        (n,) bits.
    """
    x = signal[:, list(ROWS)].unfold(2, block, block).transpose(1, 2).flatten(2).flatten(0, 1).double()
    variance = torch.linalg.eigvalsh(x.T @ x / len(x)).clamp(min=1e-12)  # (8 * block,)
    level = torch.logspace(-12, variance.max().log10().item(), 2000, dtype=torch.double)[:, None]  # of the water
    left = torch.minimum(variance, level).mean(1)  # (2000,) mV^2, growing
    bits = (variance / level).log2().clamp(min=0).sum(1) / 2 * signal.shape[-1] / block
    wanted = torch.as_tensor(errors, dtype=torch.double).square()
    return bits[torch.searchsorted(left, wanted).clamp(max=len(left) - 1)].float()


def entropy(codes: torch.Tensor, size: int) -> torch.Tensor:
    """Entropy of how often each of `size` codes is used, in nats."""
    share = torch.bincount(codes.long().flatten(), minlength=size) / codes.numel()
    return -(share * share.clamp(min=1e-12).log()).sum()


def fact_metrics(facts: FactWords, signal: torch.Tensor, truth: list[Reading]) -> dict[str, float]:
    """What fact words tell of ECGs (B, 12, 1000) mV without a language model: `diagecg.facts.findings_macro_f1` and the
    other `reading_scores`, `.drift_f1`, `.static_f1`, and `.words_used`, a share of all fact words.
    """
    device = next(facts.parameters()).device
    words = torch.cat([facts.encode(x.to(device)).cpu() for x in signal.split(128)])  # (B, PLACES)
    stated, out = readings_of(words), {"words_used": len(words.unique()) / WORDS}
    for noise in NOISES:
        predicted, there = (
            {(i, lead) for i, r in enumerate(rs) for lead in getattr(r, noise)} for rs in (stated, truth)
        )
        out[f"{noise}_f1"] = f1(len(predicted & there), len(predicted - there), len(there))
    return {f"diagecg.facts.{name}": value for name, value in (out | reading_scores(stated, truth)).items()}


# ---- forecasts --------------------------------------------------------------------------------------------------
@inference()
def forecast_metrics(model: DiagECG, codes: torch.Tensor, training: torch.Tensor, batch: int = 64) -> dict[str, float]:
    """Nats per code of the last tenth of windows of each scale, `diagecg.forecast_nll.<codes seen>`, and top-1.

    `diagecg.forecast_nll.frequency` is what knowing how often each code occurs in `training` gives.
    """
    model.eval()
    out, every = {}, []
    for parts in SCALES:
        cut = windows(codes.long(), parts, model.codec.books)
        ahead = max(1, round(HORIZON * cut.shape[1]))
        logits = torch.cat([model.code_logits(x)[:, -ahead:].float().cpu() for x in cut.split(batch * parts)])
        nll = F.cross_entropy(logits.flatten(0, 1), cut[:, -ahead:].flatten()).item()
        out[f"diagecg.forecast_nll.{cut.shape[1] - ahead}"] = nll
        every.append((nll, (logits.argmax(-1) == cut[:, -ahead:]).float().mean().item()))
    often = torch.bincount(training.long().flatten(), minlength=model.codec.codes) + 1.0
    return {
        **out,
        "diagecg.forecast_nll": sum(n for n, _ in every) / len(every),
        "diagecg.forecast_top1": sum(t for _, t in every) / len(every),
        "diagecg.forecast_nll.frequency": F.cross_entropy(
            (often / often.sum()).log().expand(codes.numel(), -1), codes.long().flatten()
        ).item(),
    }


def continue_metrics(model: DiagECG, signal: torch.Tensor, seconds: float, seed: int = 0) -> dict[str, float]:
    """ECGs told on from their first seconds, measured where they are new: heart rate against what truly followed."""
    generated = forecasted(model, signal, seconds, seed)
    new, true = (x[..., round(100 * seconds) :] for x in (generated, signal))
    error = (heart_rate(new, 100.0) - heart_rate(true, 100.0)).abs().nan_to_num(60.0)
    return {
        "diagecg.continue_hr_median_error_bpm": error.median().item(),
        "diagecg.continue_hr_mean_error_bpm": error.mean().item(),
        "diagecg.continue_no_rate": heart_rate(new, 100.0).isnan().float().mean().item(),
        "diagecg.continue_lead_law_mv": lead_law_residual(generated).max().item(),
    }


def forecasted(model: DiagECG, signal: torch.Tensor, seconds: float, seed: int = 0) -> torch.Tensor:
    """(B, 12, L) mV -> (B, 12, L): the first seconds as codes say them, then the model's forecast of the rest."""
    return model.forecast_signal(signal[..., : round(100 * seconds)], signal.shape[-1], seed)


# ---- answers ----------------------------------------------------------------------------------------------------
def shown(codes: torch.Tensor) -> torch.Tensor:
    """Codes as int64; numbers, in a study without codes, as float32."""
    return codes.float() if codes.is_floating_point() else codes.long()


def reports(model: DiagECG, corpus: Corpus, codes: torch.Tensor, predicted: bool = True) -> list[str]:
    """The model's reports of these patients: words (B, T), and age and sex unless `predicted` is False."""
    prompts = with_background(corpus, range(len(codes)), [PROMPT] * len(codes), predicted)
    return model.write(prompts, shown(codes)[:, None])


def answers(
    model: DiagECG, corpus: Corpus, codes: torch.Tensor, asked: list[Question], predicted: bool = True
) -> list[str]:
    """What the model answers to questions whose ecg_id are rows of codes (N, T)."""

    def write(prompts: list[str], rows: torch.Tensor) -> list[str]:
        known = predicted and rows.shape[1] == 1
        return model.write(with_background(corpus, rows[:, 0], prompts, known), shown(codes[rows]))

    return answer_each(asked, write)


def report_metrics(texts: list[str], corpus: Corpus) -> dict[str, float]:
    """`diagecg.findings_macro_f1`, ..., the grounded scores, and, of the first `FEW`, the overlap of words."""
    truth = corpus.readings[: len(texts)]
    found = {**report_scores(texts, truth), **grounded(texts, truth), **overlap(texts[:FEW], corpus.reports)}
    return {f"diagecg.{name}": value for name, value in found.items()}


def overlap(texts: list[str], wanted: list[str]) -> dict[str, float]:
    """Overlap of words with the true reports: `bleu`, `rouge_l`, `chrf`, each from 0 to 1."""
    from torchmetrics.functional.text import bleu_score, chrf_score, rouge_score

    wanted = wanted[: len(texts)]
    return {
        "bleu": bleu_score(texts, [[w] for w in wanted]).item(),
        "rouge_l": rouge_score(texts, wanted, rouge_keys="rougeL")["rougeL_fmeasure"].item(),
        "chrf": chrf_score(texts, [[w] for w in wanted]).item(),
    }


def qa_metrics(model: DiagECG, cohort: Cohort, codes: torch.Tensor, n: int, seed: int, predicted: bool = True) -> dict:
    """`diagecg.qa_exact_match` and, per type, `diagecg.qa_exact_match.<type>`, on the very questions of notebook 05."""
    corpus = Corpus(cohort.truth(), cohort.column("patient"))
    asked = draw_questions(corpus, n, seed)
    return qa_named(qa_scores(asked, answers(model, corpus, codes, asked, predicted)))


def qa_named(found: dict[str, float]) -> dict[str, float]:
    """`qa.exact_match`, `qa.<type>` as `diagecg.qa_exact_match`, `diagecg.qa_exact_match.<type>`."""
    return {"diagecg.qa_exact_match" + k.removeprefix("qa").removesuffix(".exact_match"): v for k, v in found.items()}


def real_metrics(model: DiagECG, folder: Path) -> dict[str, float]:
    """Real records, which nothing here has learned from: `diagecg.real_hr_median_error_bpm` of the model's reports
    (no rate counts as 80 bpm), `diagecg.real_reconstruction_rmse_mv` of their codes; age and sex where known.

    A record that cannot be loaded is left out and counted (`diagecg.real_refused`).

    Raises:
        BadECG: no record with an undisputed rate can be loaded.
    """
    rates = real_rates(folder)
    names, signal, _, refused = load_signals(folder, list(rates))
    rate = torch.tensor([rates[name] for name in names])
    prompts = [f"{known_of(ECG.load(folder / name))}{PROMPT}" for name in names]
    back, device = again(model.codec, signal)[1], model.device
    words = torch.cat([model.codec.read_tokens(x.to(device)).cpu() for x in signal.split(128)])
    stated = [parse_report(text).rate_bpm for text in model.write(prompts, words[:, None])]
    error = (torch.tensor(stated).nan_to_num(80.0) - rate).abs()
    return {
        "diagecg.real_hr_median_error_bpm": error.median().item(),
        "diagecg.real_hr_mean_error_bpm": error.mean().item(),
        "diagecg.real_reconstruction_rmse_mv": (back - signal).square().mean((0, 2)).sqrt().mean().item(),
        "diagecg.real_reconstruction_share": ((back - signal).square().sum() / signal.square().sum()).item(),
        "diagecg.real_records": len(names),
        "diagecg.real_refused": len(refused),
    }


def known_of(ecg: ECG) -> str:
    """What is known of a recorded patient, as `background` says it; nothing unless both age and sex are."""
    return "" if ecg.age is None or ecg.sex is None else f"Age {ecg.age:.0f}. Sex {ecg.sex}. "
