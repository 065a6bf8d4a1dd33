"""Where does an answer look? Attention from the end of a question to the codes of the ECG, wave by wave (claim D6)."""

import torch
import torch.nn.functional as F
from torch import nn

from ..language import NAMES
from ..measured import GROUPS
from ..scoring.evidence import WAVES, ratios, wave_windows
from .fact_words import PLACES
from .model import DiagECG

ABOUT = {  # wave: findings that it carries
    "P": ("LAE", "RAE", "1AVB"),
    "QRS": ("Q_ANT", "Q_INF", "CLBBB"),
    "ST": ("STE_ANT", "STE_INF", "STD"),
    "T": ("TINV", "HYPERK", "HYPT"),
}
QUESTION = "Does this ECG show {}?"
FACTS = tuple(dict.fromkeys(place.fact for place in PLACES))


@torch.no_grad()
def attention(model: DiagECG, prompts: list[str], codes: torch.Tensor, batch: int = 32) -> torch.Tensor:
    """Attention (B, T), mean over layers and heads, of the last word before the answer to each ECG word of (B, T)."""
    model.eval()
    out = []
    for i in range(0, len(prompts), batch):
        rows = [torch.tensor(model.prompt_ids(p)) for p in prompts[i : i + batch]]
        ids = nn.utils.rnn.pad_sequence(rows, True, model.tokenizer.pad_token_id).to(model.device)
        inputs = model.splice(ids, codes[i : i + batch, None].long())  # padding comes last: nothing before looks at it
        last = torch.tensor([len(r) for r in rows], device=model.device) - 1 + inputs.shape[1] - ids.shape[1]
        out.append(_looks(model, inputs, last)[:, 2 : 2 + codes.shape[1]])  # after begin and [ecg]
    return torch.cat(out)


@torch.no_grad()
def look_back(model: DiagECG, codes: torch.Tensor) -> torch.Tensor:
    """Attention (B, T), mean over layers and heads, of the forecast that follows codes (B, T) to each of them."""
    model.eval()
    begin = torch.full((len(codes), 1), model.tokenizer.bos_token_id, device=model.device)
    inputs = model.splice(begin, codes[:, None].long())[:, :-1]  # without [/ecg]: the ECG goes on
    last = torch.full((len(codes),), inputs.shape[1] - 1, device=model.device)
    return _looks(model, inputs, last)[:, 2:]


def _looks(model: DiagECG, inputs: torch.Tensor, last: torch.Tensor) -> torch.Tensor:
    """Embeddings (B, S, D), places (B,) -> attention of those places (B, S), mean over layers and heads."""
    whole, rows = model.whole(), torch.arange(len(inputs))
    whole.set_attn_implementation("eager")  # the only one that hands out its attention
    layers = model.base()(inputs_embeds=inputs, output_attentions=True).attentions  # each (B, H, S, S)
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
