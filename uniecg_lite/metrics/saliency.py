"""Does the model look where the evidence is? Gradients of a finding's words with respect to the signal, wave by wave.

A saliency map after Simonyan et al., "Deep Inside Convolutional Networks", arXiv 1312.6034: how much the
log-probability of the words changes with each sample. The simulator knows where each wave lies.
"""

import re
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import nn

from ..errors import BadRequest
from ..findings import CODES, FINDINGS, NAMES
from ..training import autocast
from .chain import PROMPT

WAVES = ("P", "QRS", "ST", "T")
_LOOKED_AT = ("rhythm", "block", "wide", "axis", "voltage", "q", "atrial", "st", "t", "qt")  # groups, in this order
_ROWS = sorted(FINDINGS, key=lambda row: row["group"] == "metabolic")  # in a group, what the blood's salts do is last
CARRIERS = {  # group: (the waves that carry its findings, the findings)
    group: (tuple(rows[0]["waves"]), tuple(row["code"] for row in rows))
    for group in _LOOKED_AT
    for rows in [[row for row in _ROWS if row.get("wave_group") == group]]
}
GROUP = {code: group for group, (_, codes) in CARRIERS.items() for code in codes}
BEATS = {"PVC": 1, "BIGU": 1, "PAC": 2}  # findings of some beats only: their `beat_kind`
P_S, BEFORE_S, PREMATURE_S, ST_S = 0.12, 0.20, 0.16, 0.08  # see `wave_windows`


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
    return torch.stack(
        [
            within(p, p + P_S, own) | within(onset - BEFORE_S, onset, missed),
            within(onset, onset + qrs, keep),
            within(onset + qrs, onset + qrs + ST_S, keep),
            within(onset + qrs + ST_S, end, keep),
        ],
        1,
    )


def finding_windows(truth: dict[str, torch.Tensor], code: str, length: int, hz: float) -> torch.Tensor:
    """(B, length) bool: the waves that carry a finding, by `CARRIERS` and `BEATS`."""
    waves = wave_windows(truth, length, hz, BEATS.get(code))
    return waves[:, [WAVES.index(w) for w in CARRIERS[GROUP[code]][0]]].any(1)


def name_span(tokenizer, text: str, name: str) -> tuple[list[int], int, int] | None:
    """A report's ids up to and with the first place where a finding is named: (ids, first, last + 1), or None."""
    match = re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", " " + text)
    if match is None:
        return None
    coded = tokenizer(" " + text, add_special_tokens=False, split_special_tokens=True, return_offsets_mapping=True)
    inside = [i for i, (a, b) in enumerate(coded["offset_mapping"]) if b > match.start() and a < match.end()]
    return coded["input_ids"][: inside[-1] + 1], inside[0], inside[-1] + 1


def saliency(model, signal: torch.Tensor, texts: list[str], names: list[str], prompt: str = PROMPT) -> torch.Tensor:
    """|d log p(name | ECG, prompt, report so far) / d signal|, through phi_s and W_ts; the image is left out.

    Args:
        model: a reading `UniECG`; its parameters stay as they are.
        signal: (B, 12, L) mV.
        texts: B reports.
        names: B words that the reports hold, each at its first place.
        prompt: the question.

    Returns:
        (B, 12, L) per mV; 0 at the sample that is the lead's median.

    Raises:
        BadRequest: a report does not hold its name.
    """
    head, rows, marks = model.prompt_ids(prompt), [], []
    for text, name in zip(texts, names):
        found = name_span(model.tokenizer, text, name)
        if found is None:
            raise BadRequest(f"The report does not say '{name}': ask for words that stand in it.")
        ids, first, _ = found
        rows.append(torch.tensor(head + ids))
        marks.append(torch.arange(len(rows[-1])) >= len(head) + first)  # the name stands at the end
    device = model.device
    ids = nn.utils.rnn.pad_sequence(rows, True, model.tokenizer.pad_token_id).to(device)  # (B, T)
    stated = nn.utils.rnn.pad_sequence(marks, True, False).to(device)  # (B, T)
    model.eval()
    with torch.enable_grad(), autocast():
        x = signal.to(device).requires_grad_()
        ecg = model.project(model.phi_s(x), None)  # (B, T_s, D)
        hidden = model.lm.base_model(inputs_embeds=model.splice(ids, ecg)).last_hidden_state
        before = hidden[:, ecg.shape[1] : -1][stated[:, 1:]]  # (words, D)
        loss = F.cross_entropy(
            model.llm.get_output_embeddings()(before).float(), ids[:, 1:][stated[:, 1:]], reduction="sum"
        )
        slope = torch.autograd.grad(loss, x)[0].abs().detach().cpu()
    # phi_s takes each lead's median off every sample; what that adds to the one sample in the middle is no evidence
    return slope.masked_fill(signal == signal[..., ::4].median(-1, keepdim=True).values, 0)


@dataclass
class Evidence:
    """Saliency of N findings that were said and are true."""

    codes: list[str]
    rows: torch.Tensor  # (N,) which record
    texts: list[str]
    saliency: torch.Tensor  # (N, 12, L)


def _stated(model, simulated, each: int, prompt: str) -> Evidence:
    """True findings that the model's own reports name, up to `each` records per finding; no saliency yet."""
    true = simulated.truth["findings"]  # (B, F)
    pairs = [(code, row) for code in GROUP for row in true[:, CODES.index(code)].nonzero()[:each, 0].tolist()]
    written, shown = {}, sorted({row for _, row in pairs})
    if shown:
        tokens = torch.cat([model.encode_signal(x) for x in simulated.signal[shown].split(64)])
        written = dict(zip(shown, model.texts(model.write([prompt] * len(shown), tokens))))
    pairs = [(code, row) for code, row in pairs if name_span(model.tokenizer, written[row], NAMES[code])]
    codes, rows = [code for code, _ in pairs], [row for _, row in pairs]
    return Evidence(codes, torch.tensor(rows, dtype=torch.long), [written[row] for row in rows], torch.zeros(0))


def collect(model, simulated, each: int = 4, prompt: str = PROMPT, batch: int = 32, evidence=None) -> Evidence:
    """Saliency of findings in the model's own reports on simulated records, up to `each` records per finding.

    `evidence` of another model gives records, findings and reports to look at in place of the model's own.
    """
    found = _stated(model, simulated, each, prompt) if evidence is None else evidence
    signal, names = simulated.signal[found.rows], [NAMES[code] for code in found.codes]
    parts = [signal[:0]]
    for i in range(0, len(names), batch):
        parts.append(saliency(model, *(part[i : i + batch] for part in (signal, found.texts, names)), prompt))
    return replace(found, saliency=torch.cat(parts))


def ratios(mass: torch.Tensor, windows: torch.Tensor) -> torch.Tensor:
    """Share of the saliency in windows over the share of time they cover: (N, L), (N, L) bool -> (N,).

    NaN where the windows cover nothing; 1 is what looking everywhere gives, and no saliency at all counts as 0.
    """
    share = (mass * windows).sum(1) / mass.sum(1).clamp(min=torch.finfo(mass.dtype).tiny)
    cover = windows.float().mean(1)
    return torch.where(cover > 0, share / cover, torch.nan)


def evidence_ratio(model, simulated, each: int = 4, control=None, seed: int = 0, **options) -> dict[str, float]:
    """How much more than elsewhere the model looks at the waves that carry what it says.

    Args:
        model: a reading `UniECG`.
        simulated: `Simulated` records, which the model has not learned from.
        each: records per finding at most.
        control: an untrained model; without one, the same saliency in windows moved to another time.
        seed: of that move.
        options: of `collect`.

    Returns:
        `evidence.ratio.<group>` and `.map.<group>.<wave>` (ratio in each kind of wave); `evidence.ratio`, the mean
        over groups; `evidence.control` and `.control.<group>`, the same of the control, which a trained model must
        exceed; `evidence.findings`, how many were looked at.
    """
    found = collect(model, simulated, each, **options)
    if not found.codes:
        return {"evidence.findings": 0}
    own = _by_group(found, simulated)
    if control is None:
        other = _by_group(found, simulated, shift_seed=seed)
    else:
        other = _by_group(collect(control, simulated, evidence=found, **options), simulated)
    out = {f"evidence.map.{group}.{wave}": row[wave] for group, row in own.items() for wave in WAVES}
    for what, table in (("ratio", own), ("control", other)):
        out |= {f"evidence.{what}.{group}": row["own"] for group, row in table.items()}
        out[f"evidence.{what}"] = torch.tensor([row["own"] for row in table.values()]).nanmean().item()
    return out | {"evidence.findings": len(found.codes)}


def _by_group(found: Evidence, simulated, shift_seed: int | None = None) -> dict[str, dict[str, float]]:
    """Group -> mean ratio in the waves that carry it (`own`) and in each kind of wave."""
    length, mass = simulated.signal.shape[-1], found.saliency.sum(1)  # (N, L)
    truth = {key: simulated.truth[key][found.rows] for key in ("onset_s", "beat_kind", "p_onset_s", "qrs_ms", "qt_ms")}
    waves = wave_windows(truth, length, simulated.hz)  # (N, 4, L)
    one = [{key: value[i : i + 1] for key, value in truth.items()} for i in range(len(mass))]  # row by row
    own = torch.cat([finding_windows(row, code, length, simulated.hz) for row, code in zip(one, found.codes)])  # (N, L)
    if shift_seed is not None:  # the same windows, moved around the record by a time drawn for each row
        moved = torch.randint(length, (len(own), 1), generator=torch.Generator().manual_seed(shift_seed))
        own = own.gather(1, (torch.arange(length) + moved) % length)
    table = torch.stack([ratios(mass, own), *(ratios(mass, waves[:, i]) for i in range(len(WAVES)))])  # (1 + 4, N)
    groups = {group: [i for i, code in enumerate(found.codes) if GROUP[code] == group] for group in CARRIERS}
    return {
        group: dict(zip(("own", *WAVES), table[:, rows].nanmean(1).tolist())) for group, rows in groups.items() if rows
    }
