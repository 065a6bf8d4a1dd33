"""How good are ECG words? Reconstruction, forecasts, answers, real records, and where attention lies (claim D6).

Attention is that of the end of a question to the codes of the ECG, wave by wave. Every figure of `diagecg.*` is
computed here, on held-out patients.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from ..beats import R_PEAK, heart_rate, measure_beat, representative_beat
from ..findings import NAMES, readings
from ..language.conversations import Corpus
from ..language.questions import Question
from ..language.report_parser import parse_report
from ..leads import LEADS, lead_law_residual
from ..metrics.chain import PROMPT
from ..metrics.evidence import WAVES, ratios, wave_windows
from ..metrics.grounded import grounded
from ..metrics.qa import answer_each, draw_questions, qa_scores
from ..metrics.real_records import rated_records
from ..metrics.reports import report_scores
from ..training import inference
from .diagecg_model import DiagECG
from .diagecg_stages import HORIZON, SCALES, windows, with_background
from .fsq_tokenizer import ECGTokenizer

ABOUT = {  # wave: findings that it carries
    "P": ("LAE", "RAE", "1AVB"),
    "QRS": ("Q_ANT", "Q_INF", "CLBBB"),
    "ST": ("STE_ANT", "STE_INF", "STD"),
    "T": ("TINV", "HYPERK", "HYPT"),
}
QUESTION = "Does this ECG show {}?"
FEW = 128  # reports whose overlap of words is counted, which is slow


@inference()
def attention(model: DiagECG, prompts: list[str], codes: Tensor) -> Tensor:
    """Attention (B, T), mean over layers and heads, of the last word before the answer to each ECG word of (B, T)."""
    parts = (slice(i, i + 32) for i in range(0, len(prompts), 32))
    batches = (model.prompt_batch(prompts[part], model.block(codes[part, None])) for part in parts)
    places = slice(2, 2 + codes.shape[1])  # after begin and [ecg]
    return torch.cat([last_attention(model, **inputs)[:, places] for inputs in batches])


@inference()
def last_attention(model: DiagECG, inputs_embeds: Tensor, attention_mask: Tensor | None = None) -> Tensor:
    """Attention (B, S), mean over layers and heads, of the last place of sequences (B, S, D) to each of their places.

    Where `attention_mask` (B, S) is 0, a place is padding: nothing looks at it, and it is not counted.
    """
    llm, mask = model.eval().lm, attention_mask
    inputs = {} if mask is None else {"attention_mask": mask, "position_ids": (mask.cumsum(1) - 1).clamp(min=0)}
    llm.set_attn_implementation("eager")  # the only one that hands out its attention
    layers = llm.base_model(inputs_embeds=inputs_embeds, output_attentions=True, **inputs).attentions  # (B, H, S, S)
    llm.set_attn_implementation("sdpa")
    return torch.stack([layer[:, :, -1] for layer in layers]).float().mean((0, 2)).cpu()


def token_waves(truth: dict[str, Tensor], tokens: int, length: int, hz: float = 100.0) -> Tensor:
    """(B, 4, T) share of each token's time that lies in P, QRS, ST and T."""
    return F.adaptive_avg_pool1d(wave_windows(truth, length, hz).float(), tokens)


def attention_metrics(model: DiagECG, simulated, codes: Tensor, control: DiagECG | None = None) -> dict[str, float]:
    """`diagecg.attention.<asked>.<wave>`: questions about the findings of one wave, share of attention in each kind of
    wave over its share of time; 1 is chance.

    Every question is asked about every record (codes (B, T)), so the model must be one that reads codes. Controls:
    `.shuffled.`, the same attention over the waves of another record, and with `control`, an untrained model,
    `.untrained.`.
    """

    def looks(who: DiagECG) -> dict[str, Tensor]:  # (B, T) each, mean over the findings of a wave
        each = {code: [QUESTION.format(NAMES[code])] * len(codes) for found in ABOUT.values() for code in found}
        each = {code: attention(who, asked, codes) for code, asked in each.items()}
        return {asked: torch.stack([each[code] for code in found]).mean(0) for asked, found in ABOUT.items()}

    waves = token_waves(simulated.truth, codes.shape[1], simulated.signal.shape[-1], simulated.hz)
    own = looks(model)
    kinds = {"": (own, waves), "shuffled.": (own, waves.roll(1, 0))}
    kinds |= {"untrained.": (looks(control), waves)} if control is not None else {}
    out = {}
    for name, (seen, where) in kinds.items():
        for asked, mass in seen.items():
            values = {wave: ratios(mass, where[:, i]).nanmean().item() for i, wave in enumerate(WAVES)}
            out |= {f"diagecg.attention.{name}{asked}.{wave}": value for wave, value in values.items()}
        out[f"diagecg.attention.{name}own"] = sum(out[f"diagecg.attention.{name}{w}.{w}"] for w in WAVES) / len(WAVES)
    return out


# ---- codes ------------------------------------------------------------------------------------------------------
@torch.no_grad()
def again(codec: ECGTokenizer, signal: Tensor) -> tuple[Tensor, Tensor]:
    """(B, 12, L) mV -> its codes (B, T), and what they say (B, 12, L) mV."""
    device = next(codec.parameters()).device
    parts = [codec.encode(x.to(device)) for x in signal.split(128)]
    return torch.cat(parts).cpu(), torch.cat([codec.decode(c, signal.shape[-1]).cpu() for c in parts])


def codec_metrics(codec: ECGTokenizer, signal: Tensor) -> dict[str, float]:
    """`diagecg.codes_used` (a share of all codes), `.reconstruction_rmse_mv` (mean over leads) and `.<lead>`, ..."""
    codes, back = again(codec, signal)
    rmse = (back - signal).square().mean((0, 2)).sqrt()  # (12,)
    rate, predicted = heart_rate(signal, 100.0), heart_rate(back, 100.0)
    share = torch.bincount(codes.flatten(), minlength=codec.codes) / codes.numel()  # how often each code is used
    return {
        "diagecg.codes_used": len(codes.unique()) / codec.codes,
        "diagecg.perplexity_of_codes": torch.special.entr(share).sum().exp().item(),
        "diagecg.tokens_per_ecg": codes.shape[1],
        "diagecg.reconstruction_rmse_mv": rmse.mean().item(),
        "diagecg.reconstruction_share": ((back - signal).square().sum() / signal.square().sum()).item(),
        "diagecg.reconstruction_hr_error_bpm": (rate - predicted).abs().nan_to_num(60.0).median().item(),
        "diagecg.reconstruction_lead_law_mv": lead_law_residual(back).max().item(),
        **{f"diagecg.reconstruction_rmse_mv.{lead}": value for lead, value in zip(LEADS, rmse.tolist())},
    }


def waves_kept(codec: ECGTokenizer, signal: Tensor, truth: dict[str, Tensor]) -> dict[str, float]:
    """QRS amplitude and ST level before and after, measured alike on the usual beat: mean absolute errors in mV."""

    def measures(x: Tensor) -> tuple[Tensor, Tensor]:  # (B, 12) mV each
        qrs = representative_beat(x, 100.0)[0][..., R_PEAK - 8 : R_PEAK + 9]  # (B, 12, 17)
        return measure_beat(x, truth["qrs_ms"], truth["qt_ms"])["st_mv"], qrs.amax(-1) - qrs.amin(-1)

    (st, tall), (other_st, other_tall) = measures(signal), measures(again(codec, signal)[1])
    return {
        "diagecg.st_change_mv": (st - other_st).abs().mean().item(),
        "diagecg.qrs_change_mv": (tall - other_tall).abs().mean().item(),
        "diagecg.qrs_change_share": ((tall - other_tall).abs().mean() / tall.mean()).item(),
    }


# ---- forecasts --------------------------------------------------------------------------------------------------
@inference()
def forecast_metrics(model: DiagECG, codes: Tensor, training: Tensor) -> dict[str, float]:
    """Nats per code of the last tenth of windows of each scale, `diagecg.forecast_nll.<codes seen>`, and top-1.

    `diagecg.forecast_nll.frequency` is what knowing how often each code occurs in `training` gives.
    """
    model.eval()
    nll, top = {}, []
    for parts in SCALES:
        cut = windows(codes.long(), parts, model.codec.books)
        ahead = max(1, round(HORIZON * cut.shape[1]))
        logits = torch.cat([model.code_logits(x)[:, -ahead:].float().cpu() for x in cut.split(64 * parts)])
        right = F.cross_entropy(logits.flatten(0, 1), cut[:, -ahead:].flatten())
        nll[f"diagecg.forecast_nll.{cut.shape[1] - ahead}"] = right.item()
        top.append((logits.argmax(-1) == cut[:, -ahead:]).float().mean().item())
    often = torch.bincount(training.long().flatten(), minlength=model.codec.codes) + 1.0
    return {
        **nll,
        "diagecg.forecast_nll": sum(nll.values()) / len(nll),
        "diagecg.forecast_top1": sum(top) / len(top),
        "diagecg.forecast_nll.frequency": -(often / often.sum()).log()[codes.long()].mean().item(),
    }


# ---- answers ----------------------------------------------------------------------------------------------------
def reports(model: DiagECG, corpus: Corpus, codes: Tensor, predicted: bool = True) -> list[str]:
    """The model's reports of these patients: words (B, T), and age and sex unless `predicted` is False."""
    return model.write(with_background(corpus, range(len(codes)), [PROMPT] * len(codes), predicted), codes[:, None])


def answers(model: DiagECG, corpus: Corpus, codes: Tensor, asked: list[Question], predicted: bool = True) -> list[str]:
    """What the model answers to questions whose ecg_id are rows of codes (N, T)."""

    def write(prompts: list[str], rows: Tensor) -> list[str]:
        known = predicted and rows.shape[1] == 1
        return model.write(with_background(corpus, rows[:, 0], prompts, known), codes[rows])

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


def qa_metrics(model: DiagECG, corpus: Corpus, codes: Tensor, n: int, seed: int, predicted: bool = True) -> dict:
    """`diagecg.qa_exact_match` and, per type, `diagecg.qa_exact_match.<type>`, on the very questions of notebook 05."""
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
    records, rate, refused = rated_records(folder)
    signal, patients = records.signal(range(len(records))), readings(records.truth())
    prompts = [f"Age {r.age:.0f}. Sex {r.sex}. " if r.sex and r.age == r.age else "" for r in patients]
    words = torch.cat([model.codec.read_tokens(x.to(model.device)).cpu() for x in signal.split(128)])
    texts = model.write([f"{prompt}{PROMPT}" for prompt in prompts], words[:, None])
    stated = torch.tensor([parse_report(text).rate_bpm for text in texts]).nan_to_num(80.0)
    error = (stated - rate).abs()
    coded = codec_metrics(model.codec, signal)
    return {
        "diagecg.real_hr_median_error_bpm": error.median().item(),
        "diagecg.real_hr_mean_error_bpm": error.mean().item(),
        "diagecg.real_reconstruction_rmse_mv": coded["diagecg.reconstruction_rmse_mv"],
        "diagecg.real_reconstruction_share": coded["diagecg.reconstruction_share"],
        "diagecg.real_records": len(records),
        "diagecg.real_refused": refused,
    }
