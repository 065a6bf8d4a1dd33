"""Does the model look where the evidence is? Gradients of a finding's words with respect to the signal, wave by wave.

A saliency map after Simonyan et al., "Deep Inside Convolutional Networks", arXiv 1312.6034: how much the
log-probability of the words changes with each sample. The simulator knows where each wave lies.
"""

import re

import torch
import torch.nn.functional as F
from torch import nn

from ..errors import BadRequest, require
from ..findings import CODES, NAMES, column
from ..training import autocast
from .chain import PROMPT, reports

WAVES = ("P", "QRS", "ST", "T")
GROUP, CARRIERS = column("wave_group"), column("waves")  # code: its group; the waves that carry it, alike in a group
BEATS = {"PVC": 1, "BIGU": 1, "PAC": 2}  # findings of some beats only: their `beat_kind`
P_S, BEFORE_S, PREMATURE_S, ST_S = 0.12, 0.20, 0.16, 0.08  # see `wave_windows`
TRUTH = ("onset_s", "beat_kind", "p_onset_s", "qrs_ms", "qt_ms")  # what `wave_windows` asks for
BATCH = 32


def wave_windows(truth: dict[str, torch.Tensor], length: int, hz: float, kind: int | None = None) -> torch.Tensor:
    """Where the waves are: the simulator's truth of B records -> (B, 4, length) bool in the order of `WAVES`.

    P lasts 120 ms from its onset; in a record without P waves it is the 200 ms before each QRS, where one is missed.
    ST is 80 ms from the end of the QRS, T what follows until QT is over. `kind` keeps the beats of this `beat_kind`
    only; a premature ventricular QRS is taken to last 160 ms.
    """
    time = torch.arange(length) / hz  # (L,)
    onset, kinds = truth["onset_s"], truth["beat_kind"]  # (B, K)
    keep = onset.isfinite() if kind is None else onset.isfinite() & (kinds == kind)
    qrs = (truth["qrs_ms"] / 1000)[:, None].expand_as(onset)
    qrs = torch.where(kinds == 1, qrs.clamp(min=PREMATURE_S), qrs)  # (B, K)
    end = onset + torch.maximum((truth["qt_ms"] / 1000)[:, None], qrs + ST_S)

    def within(first, last, there):  # (B, K) each -> (B, L)
        return ((time >= first[..., None]) & (time < last[..., None]) & there[..., None]).any(1)

    p = truth["p_onset_s"]  # (B, Kp)
    own = p.isfinite()
    if kind is not None:  # the P waves of these beats: those that begin within 300 ms before one of them
        gap = torch.where(keep, onset, torch.nan)[:, None] - p[..., None]  # (B, Kp, K)
        own = own & ((gap > 0) & (gap < 0.3)).any(-1)
    missed = keep & ~p.isfinite().any(1, keepdim=True)
    p_wave = within(p, p + P_S, own) | within(onset - BEFORE_S, onset, missed)
    edges = onset, onset + qrs, onset + qrs + ST_S, end
    return torch.stack([p_wave, *(within(first, last, keep) for first, last in zip(edges, edges[1:]))], 1)


def finding_windows(truth: dict[str, torch.Tensor], code: str, length: int, hz: float) -> torch.Tensor:
    """(B, length) bool: the waves that carry a finding, by `CARRIERS` and `BEATS`."""
    waves = wave_windows(truth, length, hz, BEATS.get(code))
    return waves[:, [WAVES.index(wave) for wave in CARRIERS[code]]].any(1)


def name_span(tokenizer, text: str, name: str) -> tuple[list[int], int, int] | None:
    """A report's ids up to and with the first place where a finding is named: (ids, first, last + 1), or None."""
    match = re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", " " + text)
    if match is None:
        return None
    coded = tokenizer(" " + text, add_special_tokens=False, split_special_tokens=True, return_offsets_mapping=True)
    inside = [i for i, (a, b) in enumerate(coded["offset_mapping"]) if b > match.start() and a < match.end()]
    return coded["input_ids"][: inside[-1] + 1], inside[0], inside[-1] + 1


def saliency(model, signal: torch.Tensor, texts: list[str], names: list[str]) -> torch.Tensor:
    """|d log p(name | ECG, prompt, report so far) / d signal|, through phi_s and W_ts; the image is left out.

    Args:
        model: a reading `UniECG`; its parameters stay as they are.
        signal: (B, 12, L) mV.
        texts: B reports.
        names: B words that the reports hold, each at its first place.

    Returns:
        (B, 12, L) per mV; 0 at the sample that is the lead's median.

    Raises:
        BadRequest: a report does not hold its name.
    """
    head, rows, marks, out = model.prompt_ids(PROMPT), [], [], []
    for text, name in zip(texts, names):
        found = name_span(model.tokenizer, text, name)
        require(found, f"The report does not say '{name}': ask for words that stand in it.", BadRequest)
        ids, first, _ = found
        rows.append(torch.tensor(head + ids))
        marks.append(torch.arange(len(rows[-1])) >= len(head) + first)  # the name stands at the end
    device = model.device
    model.eval()
    for i in range(0, len(rows), BATCH):
        ids = nn.utils.rnn.pad_sequence(rows[i : i + BATCH], True, model.tokenizer.pad_token_id).to(device)  # (B, T)
        stated = nn.utils.rnn.pad_sequence(marks[i : i + BATCH], True, False).to(device)[:, 1:]  # (B, T - 1)
        with torch.enable_grad(), autocast():
            x = signal[i : i + BATCH].to(device).requires_grad_()
            ecg = model.project(model.phi_s(x), None)  # (B, T_s, D)
            hidden = model.lm.base_model(inputs_embeds=model.splice(ids, ecg)).last_hidden_state
            logits = model.llm.get_output_embeddings()(hidden[:, ecg.shape[1] : -1][stated])  # (words, V)
            loss = F.cross_entropy(logits.float(), ids[:, 1:][stated], reduction="sum")
            out.append(torch.autograd.grad(loss, x)[0].abs().detach().cpu())
    # phi_s takes each lead's median off every sample; what that adds to the one sample in the middle is no evidence
    return torch.cat(out).masked_fill(signal == signal[..., ::4].median(-1, keepdim=True).values, 0)


def named_findings(model, simulated, each: int = 4) -> list[tuple[str, int, str]]:
    """True findings that the model's own reports name, up to `each` records per finding: (code, record, report)."""
    true = simulated.truth["findings"]  # (B, F)
    pairs = [(code, row) for code in GROUP for row in true[:, CODES.index(code)].nonzero()[:each, 0].tolist()]
    shown = sorted({row for _, row in pairs})
    written = dict(zip(shown, reports(model, simulated.signal[shown], "signal"))) if shown else {}
    return [(c, row, written[row]) for c, row in pairs if name_span(model.tokenizer, written[row], NAMES[c])]


def ratios(mass: torch.Tensor, windows: torch.Tensor) -> torch.Tensor:
    """Share of the saliency in windows over the share of time they cover: (N, L), (N, L) bool -> (N,).

    NaN where the windows cover nothing; 1 is what looking everywhere gives, and no saliency at all counts as 0.
    """
    share = (mass * windows).sum(1) / mass.sum(1).clamp(min=torch.finfo(mass.dtype).tiny)
    cover = windows.float().mean(1)
    return torch.where(cover > 0, share / cover, torch.nan)


def evidence_ratio(model, simulated, control, each: int = 4) -> dict[str, float]:
    """How much more than elsewhere the model looks at the waves that carry what it says in its own reports.

    Args:
        model: a reading `UniECG`.
        simulated: `Simulated` records, which the model has not learned from.
        control: an untrained model, whose saliency of the same words is taken.
        each: records per finding at most.

    Returns:
        `evidence.ratio.<group>` and `.map.<group>.<wave>` (ratio in each kind of wave); `evidence.ratio`, the mean
        over groups; `evidence.control` and `.control.<group>`, the same of the control, which a trained model must
        exceed; `evidence.findings`, how many were looked at.
    """
    found = named_findings(model, simulated, each)
    if not found:
        return {"evidence.findings": 0}
    codes, rows, texts = map(list, zip(*found))
    signal, names = simulated.signal[rows], [NAMES[code] for code in codes]
    length, truth = signal.shape[-1], {key: simulated.truth[key][rows] for key in TRUTH}
    one = [{key: value[i : i + 1] for key, value in truth.items()} for i in range(len(rows))]  # row by row
    own = torch.cat([finding_windows(row, code, length, simulated.hz) for row, code in zip(one, codes)])  # (N, L)
    waves = [own, *wave_windows(truth, length, simulated.hz).unbind(1)]
    out, groups = {"evidence.findings": len(codes)}, dict.fromkeys(GROUP[code] for code in codes)
    for who, what in ((model, "ratio"), (control, "control")):
        mass = saliency(who, signal, texts, names).sum(1)  # (N, L)
        table = torch.stack([ratios(mass, windows) for windows in waves])  # (1 + 4, N)
        means = {g: table[:, [i for i, c in enumerate(codes) if GROUP[c] == g]].nanmean(1) for g in groups}
        out |= {f"evidence.{what}.{group}": mean[0].item() for group, mean in means.items()}
        out[f"evidence.{what}"] = torch.stack([mean[0] for mean in means.values()]).nanmean().item()
        if who is model:
            places = ((group, i, wave) for group in means for i, wave in enumerate(WAVES, 1))
            out |= {f"evidence.map.{group}.{wave}": means[group][i].item() for group, i, wave in places}
    return out
