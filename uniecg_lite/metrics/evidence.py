"""Does the model read the ECG at all, does it need the evidence, and whom does it follow where signal and image differ?

What it reports of no ECG, of another's, and of a heart with one thing changed; and what it no longer says when a wave
is taken out of the signal. Attention and gradients show where a network looks, not what it needs (Jain and Wallace,
arXiv 1902.10186). So each kind of wave in turn is laid on the baseline, and the findings that fall are counted. The
simulator knows where each wave lies.
"""

import math
from dataclasses import replace

import torch
from torch import Tensor

from ..findings import CODES, NUMBERS, Reading, column, readings
from ..language.report_parser import parse_report
from ..leads import INDEPENDENT
from ..simulator.simulate import simulate
from .chain import PROMPT, reports
from .reports import difference, reading_scores, report_scores

STRANGERS = 5150  # seed of simulated patients from whom nobody has learned
WAVES = ("P", "QRS", "ST", "T")
GROUP, CARRIERS = column("wave_group"), column("waves")  # code: its group; the waves that carry it, alike in a group
P_S, BEFORE_S, PREMATURE_S, ST_S = 0.12, 0.20, 0.16, 0.08  # see `wave_windows`
NEAR = {"rate_bpm": 5, "pr_ms": 20, "qrs_ms": 20, "qt_ms": 30, "qtc_ms": 30, "axis_deg": 20}  # still the same statement
SIDES = ("signal", "image", "neither")
# What is compared: up to which distance a text is taken to mean a patient; from above which distance on two patients
# are told apart.
VIEWS = {"rate": ("rate_bpm", 5.0, 10.0), "axis": ("axis_deg", 15.0, 30.0), "findings": ("findings", 0.5, 0.5)}


# --- a wave taken out


def wave_windows(truth: dict[str, torch.Tensor], length: int, hz: float) -> torch.Tensor:
    """Where the waves are: the simulator's truth of B records -> (B, 4, length) bool in the order of `WAVES`.

    P lasts 120 ms from its onset; in a record without P waves it is the 200 ms before each QRS, where one is missed.
    ST is 80 ms from the end of the QRS, T what follows until QT is over. A premature ventricular QRS is taken to last
    160 ms.
    """
    time = torch.arange(length) / hz  # (L,)
    onset, p = truth["onset_s"], truth["p_onset_s"]  # (B, K), (B, Kp)
    qrs = (truth["qrs_ms"] / 1000)[:, None].expand_as(onset)
    qrs = torch.where(truth["beat_kind"] == 1, qrs.clamp(min=PREMATURE_S), qrs)  # (B, K)
    end = onset + torch.maximum((truth["qt_ms"] / 1000)[:, None], qrs + ST_S)

    def within(first, last):  # (B, K) each, NaN where there is no wave -> (B, L)
        return ((time >= first[..., None]) & (time < last[..., None])).any(1)

    missed = torch.where(p.isfinite().any(1, keepdim=True), torch.nan, onset)
    p_wave = within(p, p + P_S) | within(missed - BEFORE_S, missed)
    edges = onset, onset + qrs, onset + qrs + ST_S, end
    return torch.stack([p_wave, *map(within, edges, edges[1:])], 1)


def ratios(mass: torch.Tensor, windows: torch.Tensor) -> torch.Tensor:
    """Share of a mass, such as attention, in windows over the share of time they cover: (N, L), (N, L) bool -> (N,).

    NaN where the windows cover nothing; 1 is what looking everywhere gives, and no mass at all counts as 0.
    """
    share = (mass * windows).sum(1) / mass.sum(1).clamp(min=torch.finfo(mass.dtype).tiny)
    cover = windows.float().mean(1)
    return torch.where(cover > 0, share / cover, torch.nan)


def occlusion(model, simulated, each: int = 4) -> dict[str, float]:
    """Which findings does the model name no more when a kind of wave lies on the baseline (the lead's median)?

    Args:
        model: a reading `UniECG`; it is shown the signal alone.
        simulated: `Simulated` records, which the model has not learned from.
        each: records per finding at most.

    Returns:
        `occlusion.<group>.<wave>`, the share of the true findings of a group, named before, that fall;
        `occlusion.own` and `occlusion.other`, means over the waves that carry a finding and over the others;
        `occlusion.findings`, how many were looked at.
    """
    true = simulated.truth["findings"]  # (B, F)
    pairs = [(code, row) for code in GROUP for row in true[:, CODES.index(code)].nonzero()[:each, 0].tolist()]
    rows = sorted({row for _, row in pairs})
    if not rows:
        return {"occlusion.findings": 0}

    def named(signal: torch.Tensor) -> dict[int, frozenset[str]]:
        return {row: parse_report(text).findings for row, text in zip(rows, reports(model, signal, "signal"))}

    signal = simulated.signal[rows]  # (N, 12, L)
    windows = wave_windows(simulated.truth, signal.shape[-1], simulated.hz)[rows]  # (N, 4, L)
    base, before, lost = signal.median(-1, keepdim=True).values, named(signal), {}
    pairs = [(code, row) for code, row in pairs if code in before[row]]
    for wave, there in zip(WAVES, windows.unbind(1)):
        after = named(torch.where(there[:, None], base, signal))
        for code, row in pairs:
            for key in (f"{GROUP[code]}.{wave}", "own" if wave in CARRIERS[code] else "other"):
                lost.setdefault(key, []).append(code not in after[row])
    shares = {f"occlusion.{key}": sum(values) / len(values) for key, values in lost.items()}
    return {"occlusion.findings": len(pairs), **shares}


# --- another ECG, or none


def reading_controls(model, signal: torch.Tensor, truth: list[Reading]) -> dict[str, float]:
    """`controls.<shown>.<score>` of `reports.report_scores`, where the model is shown the `own` ECG, `another`
    patient's, `noise` alone, `zeros`, or no ECG at all, the `text` alone, where the answer that nothing is attached
    reports nothing; and of the most usual report of all: `controls.majority.*`, the median of each number and the
    findings that half of the patients have. One view alone is in `chain.stage1_metrics`.

    Args:
        model: a reading `UniECG`.
        signal: (B, 12, 1000) mV.
        truth: their B readings.
    """
    noisy, clean = (simulate(0, torch.arange(len(signal)), noise=noise).signal for noise in (True, False))
    shown = {"own": signal, "another": signal.roll(1, 0), "noise": noisy - clean, "zeros": torch.zeros_like(signal)}
    texts = {what: reports(model, other) for what, other in shown.items()}
    texts["text"] = model.texts(model.write([PROMPT])) * len(truth)  # one answer for all
    scores = {what: report_scores(answers, truth) for what, answers in texts.items()}
    numbers = {key: torch.tensor([getattr(r, key) for r in truth]).nanmedian().item() for key in NUMBERS}
    usual = frozenset(c for c in CODES if sum(c in r.findings for r in truth) > len(truth) / 2)
    scores["majority"] = reading_scores([Reading(**numbers, findings=usual)] * len(truth), truth)
    return {f"controls.{what}.{name}": value for what, found in scores.items() for name, value in found.items()}


# --- one thing changed


def _only(name: str, names) -> torch.Tensor:
    """(len(names),) bool, True at this name."""
    return torch.tensor([one == name for one in names])


CHANGES = {  # what is changed -> the heart after it; what of its truth must then be told otherwise
    "rate": lambda h: replace(h, rr=h.rr * 0.8),
    "PR": lambda h: replace(h, pr=h.pr + 0.06),
    "ST in V2": lambda h: replace(h, st_mv=h.st_mv + 0.3 * _only("V2", INDEPENDENT)),
    "ST in V5": lambda h: replace(h, st_mv=h.st_mv - 0.25 * _only("V5", INDEPENDENT)),
    "PVC": lambda h: replace(h, who=replace(h.who, plan=h.who.plan ^ (_only("PVC", CODES) & ~h.has("PAC")[:, None]))),
    "AFIB": lambda h: replace(h, who=replace(h.who, plan=h.who.plan ^ _only("AFIB", CODES))),
}


def statements(r: Reading) -> dict[str, object]:
    """What a reading says, one by one: numbers, whether there is each finding, and leads of each sign."""
    found = {code: code in r.findings for code in CODES}
    return {key: getattr(r, key) for key in (*NUMBERS, "st_up", "st_down", "q_waves", "t_inverted")} | found


def _same(key: str, one, other) -> bool:
    if key not in NEAR:
        return one == other
    return difference(key, one, other) <= NEAR[key] or (math.isnan(one) and math.isnan(other))


def counterfactuals(model, n: int, seed: int) -> dict[str, float]:
    """The same hearts twice, the second time with one thing changed, which must change what is said of it and nothing
    else.

    Args:
        model: a reading `UniECG`.
        n: hearts for each of `CHANGES`.
        seed: of a population that the model has not learned from.

    Returns:
        for each change `counterfactual.<change>.right`, the share of statements whose truth changed and that were told
        rightly before and after; `.moved`, of those whose truth stayed, the share that is told otherwise; `.n`.
    """

    def both(change=None) -> zip:  # (true statements, those of the model's report) of each heart
        simulated = simulate(seed, torch.arange(n), change=change)
        heard = map(parse_report, reports(model, simulated.signal))
        return zip(map(statements, readings(simulated.truth)), map(statements, heard))

    before, out = list(both()), {}
    for name, change in CHANGES.items():
        right, moved = [], []
        for (t0, s0), (t1, s1) in zip(before, both(change)):
            for key in t0:
                if _same(key, t0[key], t1[key]):
                    moved.append(not _same(key, s0[key], s1[key]))
                else:
                    right.append(_same(key, s0[key], t0[key]) and _same(key, s1[key], t1[key]))
        shares = {"right": sum(right) / max(1, len(right)), "moved": sum(moved) / max(1, len(moved)), "n": len(right)}
        out |= {f"counterfactual.{name}.{key}": value for key, value in shares.items()}
    return out


# --- signal and image of two patients (claim U3)


def _apart(key: str, one: list[Reading], other: list[Reading]) -> Tensor:
    """(B,) distances: bpm, degrees around the circle, infinite where one is missing; of findings 1 - shared / all."""
    pairs = [(getattr(a, key), getattr(b, key)) for a, b in zip(one, other)]
    if key == "findings":  # Jaccard's distance
        return torch.tensor([1 - len(a & b) / max(1, len(a | b)) for a, b in pairs])
    return difference(key, *torch.tensor(pairs).T).nan_to_num(torch.inf)


def conflict_metrics(model, signal_tokens: Tensor, image_tokens: Tensor, readings: list[Reading]) -> dict[str, float]:
    """Show the signal of each patient with the image of another, and see whom the report describes.

    Args:
        model: a reading `UniECG`.
        signal_tokens: (B, T_s, D_enc) of phi_s, two patients or more.
        image_tokens: (B, T_v, D_enc) of phi_v, of the same patients.
        readings: their B readings.

    Returns:
        `conflict.<rate|axis|findings>.<signal|image|neither>`, shares of the pairs that differ enough to tell;
        `.pairs`, their number; `.consistent`, how often the patient is met when both views are the patient's own;
        `conflict.<signal|image|neither|consistent>`, means over the three.
    """
    prompts, shift = [PROMPT] * len(readings), max(1, len(readings) // 2)
    mixed = model.texts(model.write(prompts, signal_tokens, image_tokens.roll(-shift, 0)))
    own = model.texts(model.write(prompts, signal_tokens, image_tokens))
    return conflict_scores(mixed, readings, readings[shift:] + readings[:shift], own)


def conflict_scores(
    mixed: list[str], of_signal: list[Reading], of_image: list[Reading], own: list[str]
) -> dict[str, float]:
    """`conflict.*` of reports on mixed pairs, and on the same patients' own pairs, see `conflict_metrics`."""
    stated, plain = ([parse_report(text) for text in texts] for texts in (mixed, own))
    out = {}
    for what, (key, near, far) in VIEWS.items():
        signal, image = (_apart(key, stated, patients) for patients in (of_signal, of_image))  # (B,) each
        sides = {"signal": signal <= near, "image": image <= near}
        if what == "findings":  # both may share something with the text: the closer one counts
            sides = {"signal": sides["signal"] & (signal < image), "image": sides["image"] & (image < signal)}
        sides["neither"] = ~sides["signal"] & ~sides["image"]
        between = _apart(key, of_signal, of_image)
        apart = (between > far) & between.isfinite()  # so different that no text can meet both
        out |= {f"conflict.{what}.{side}": share[apart].float().mean().item() for side, share in sides.items()}
        out[f"conflict.{what}.pairs"] = apart.sum().item()
        out[f"conflict.{what}.consistent"] = (_apart(key, plain, of_signal) <= near).float().mean().item()
    kinds = (*SIDES, "consistent")
    return out | {f"conflict.{k}": sum(out[f"conflict.{what}.{k}"] for what in VIEWS) / 3 for k in kinds}
