"""Which wave comes when, and what does each kind look like? Events and their templates, from words.

DiffuSETS gives the rate as a number beside the words, and the denoiser has to count, to place each beat and to draw
it, all at once. Here a small network predicts the events first (`EventModel`): P waves and QRS complexes in order of
time, each of one of four kinds, so that a P may stand alone, come early or keep its own time, and a beat may come from
a ventricle. Another predicts what each kind looks like in eight leads (`TemplateModel`). Templates laid down where the
events fall are the sketch of an ECG. The denoiser is shown both and generates what they leave: waves that belong to no
event, such as those of fibrillation, and the little that differs each time.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..leads import ROWS, from_independent
from ..training import inference
from .diffusion import Design, Flow, guided, level_waves, path_loss
from .vae import LATENT, PATCH, compand, expand, principal_axes

HZ = 102.4
LENGTH = LATENT[1] * PATCH  # 1024 samples
SECONDS = LENGTH / HZ  # 10
FIRST_BEAT = 0.30  # s: every ECG of the generator's training set begins alike, so that only the rhythm is left to say
KINDS = ("P", "other P", "P alone", "QRS", "ventricular QRS")
P, OTHER_P, ALONE, QRS = range(len(KINDS) - 1)  # from QRS on it is a beat
TEMPLATES = {  # s before and after the onset of an event that its template spans
    "P": (0.03, 0.17),
    "other P": (0.03, 0.17),
    "QRS": (0.05, 0.67),  # with ST, T and U
    "ventricular QRS": (0.05, 0.72),
}
TEMPLATE_OF = torch.tensor([0, 1, 0, 2, 3])  # kinds: a P wave that is not conducted looks like one that is
MOST_EVENTS = 64
SPANS = [torch.arange(-round(before * HZ), round(after * HZ) + 1) / HZ for before, after in TEMPLATES.values()]  # s
SIZES = torch.tensor([len(span) for span in SPANS])
COLUMNS = int(SIZES.sum())  # samples of all templates, one behind the other
SHOWN = len(KINDS) * PATCH + 6  # channels of `shown`
PLAN = SHOWN + LATENT[0]  # channels of a plan: the events, and the latents of the sketch
RIDGE = 0.3  # of the least squares: samples that few events show stay small
GAPS = (0.02, 3.5, 300)  # shortest and longest gap between events, in s or mean RR intervals; how many between
RATES = (20, 300, 140)  # lowest and highest mean rate in bpm; how many between
RARE = 0.05  # what is so much less likely than another is not drawn: in a row of 25 events it would come too often
COMPONENTS = 80  # principal components of templates
EVEN = 0.6  # how far large components are shrunk: 0 not at all, 1 until all are as large
STEPS = 20  # of the way from noise to templates


class Events(NamedTuple):
    """What begins when in B ECGs."""

    time: Tensor  # (B, E) s of the onsets, in order, NaN after the last
    kind: Tensor  # (B, E) places in KINDS

    def rows(self, rows) -> "Events":
        """Those of some of the B."""
        return Events(self.time[rows], self.kind[rows])

    def beats(self) -> Tensor:
        """(B, E) s of the QRS onsets, in order, NaN after the last."""
        there = (self.kind >= QRS) & ~self.time.isnan()
        return self.time.where(there, torch.inf).sort(1).values.nan_to_num(posinf=torch.nan)


# --- Templates: least squares finds them, and lays them down again.


def places(events: Events) -> Tensor:
    """Which samples of a template each sample of an ECG shows, and how much of each: (B, 1024, COLUMNS).

    An event begins between two samples: its template is read by cubic interpolation (Keys, IEEE Trans Acoust 29:1153,
    1981) from four, since a straight line between two would make R waves lower where they fall between.
    """
    time, kind, device = events.time, events.kind, events.time.device
    starts, firsts = SIZES.cumsum(0) - SIZES, torch.stack([span[0] for span in SPANS])
    size, start, first = (table[TEMPLATE_OF].to(device)[kind][..., None] for table in (SIZES, starts, firsts))
    begin = (time.nan_to_num(-99.0)[..., None] + first) * HZ  # of a template, in samples: (B, E, 1)
    step = torch.arange(int(SIZES.max()), device=device)
    sample, x = begin.ceil().long() + step, begin.ceil() - begin  # (B, E, N), (B, E, 1)
    inside = (sample >= 0) & (sample < LENGTH) & (step < size - 1)
    row = sample.clamp(0, LENGTH - 1) * COLUMNS + start
    shares = {-1: -x + 2 * x**2 - x**3, 0: 2 - 5 * x**2 + 3 * x**3, 1: x + 4 * x**2 - 3 * x**3, 2: x**3 - x**2}
    out = torch.zeros(len(time), LENGTH * COLUMNS, device=device)
    for shift, share in shares.items():
        column = torch.minimum((step + shift).clamp(min=0), size - 1)
        out.scatter_add_(1, (row + column).flatten(1), (share / 2 * inside).flatten(1))
    return out.unflatten(1, (LENGTH, COLUMNS))


def templates(ecgs: Tensor, events: Events, batch: int = 128) -> Tensor:
    """The templates that, laid down at the events, come nearest to these ECGs: ridge least squares.

    Waves that overlap are told apart where they do not always overlap alike.

    Args:
        ecgs: (N, 12, 1024) mV.
        events: of the N.

    Returns:
        (N, 8, COLUMNS) companded mV, one template behind the other; zeros for one that an ECG does not have.
    """
    out = []
    for rows in torch.arange(len(ecgs)).split(batch):
        shown_at = places(events.rows(rows))  # (B, 1024, T)
        gram = shown_at.mT @ shown_at + RIDGE * torch.eye(COLUMNS, device=shown_at.device)
        wanted = shown_at.mT @ ecgs[rows][:, ROWS].transpose(1, 2).to(shown_at)  # (B, T, 8)
        out.append(torch.cholesky_solve(wanted, torch.linalg.cholesky(gram)).transpose(1, 2))
    return compand(torch.cat(out))


def lay_out(template: Tensor, events: Events) -> Tensor:
    """Templates (B, 8, COLUMNS) in companded mV at the events -> sketches (B, 12, 1024) mV."""
    return from_independent(expand(template) @ places(events).mT)


def shown(events: Events) -> Tensor:
    """What the denoiser is shown of the events, place by place: (B, SHOWN, 128).

    The onsets of each kind at full rate, PATCH samples a place; the phase from beat to beat, as cosines and sines;
    this interval and the last.
    """
    time, device = events.time, events.time.device
    sample = (time.nan_to_num(-99.0) * HZ)[:, :, None]  # (B, E, 1)
    near = (1 - (torch.arange(LENGTH, device=device) - sample).abs()).clamp(min=0)  # (B, E, 1024)
    onsets = F.one_hot(events.kind, len(KINDS)).to(near).mT @ near  # (B, KINDS, 1024)
    onsets = onsets.unflatten(2, (-1, PATCH)).transpose(2, 3).flatten(1, 2)  # (B, KINDS PATCH, 128)
    place = (torch.arange(LATENT[1], device=device) + 0.5) * PATCH / HZ  # (128,)
    times = F.pad(events.beats(), (0, 2), value=math.nan)
    gap = times.diff(dim=1)  # (B, K - 1)
    usual = gap.nanmedian(1, keepdim=True).values.nan_to_num(0.8)
    count = (times[..., None] <= place).sum(1)  # (B, 128) beats until here
    last = (~times.isnan()).sum(1, keepdim=True)
    begun = times.gather(1, (count - 1).clamp(min=0)).where(count > 0, times[:, :1].nan_to_num(FIRST_BEAT) - usual)
    gaps = torch.cat([usual, gap, usual], 1).nan_to_num(0.0)  # before the first, between, after the last
    here = torch.where(count < last, gaps.gather(1, count.clamp(max=gaps.shape[1] - 1)), usual)
    before = gaps.gather(1, (count - 1).clamp(min=0))
    turn = 2 * torch.pi * (place - begun) / here.clamp(min=0.1)
    phase = [wave(k * turn) for k in (1, 2) for wave in (torch.cos, torch.sin)]
    return torch.cat([onsets, torch.stack([*phase, (here - 0.8) / 0.4, (before - 0.8) / 0.4], 1)], 1)


# --- From words.


class EventModel(nn.Module):
    """Words to events: one after the other, first its kind, then the gap since the event that it follows from.

    A conducted QRS follows from its P wave, by a gap in s, as words ask for it. All other gaps are shares of the mean
    RR interval, so bigeminy is short, long, short, long at any rate: of a P wave since the last one, of an other P
    since whatever came last, of any other beat since the last beat. So atria and ventricles can keep their own time.
    The first QRS is where every training ECG has it. A rate that words leave open is drawn, too, from those that such
    hearts have.
    """

    def __init__(self, condition: int, width: int = 128):
        super().__init__()
        self.settings = {"condition": condition, "width": width}
        self.begin = nn.Sequential(nn.Linear(condition, 2 * width), nn.SiLU(), nn.Linear(2 * width, 2 * width))
        self.gap = nn.Embedding(GAPS[2] + 1, width)  # the last one: nothing yet
        self.kind = nn.Embedding(len(KINDS) + 1, width)
        self.cell = nn.GRU(2 * width, width, batch_first=True)
        self.which = nn.Linear(width, len(KINDS))
        self.when = nn.Sequential(nn.Linear(2 * width, width), nn.SiLU(), nn.Linear(width, GAPS[2]))
        self.rate = nn.Sequential(nn.Linear(condition, width), nn.SiLU(), nn.Linear(width, RATES[2]))

    def forward(self, gaps: Tensor, kinds: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Gaps as places (B, E), kinds (B, E), conditions (B, D_c) -> logits of each kind, given the events before,
        (B, E, KINDS), and of each gap, given its event's kind as well, (B, E, GAPS)."""
        predicted, state = self.begin(condition).chunk(2, 1)  # (B, W) each
        past = [F.pad(x[:, :-1], (1, 0), value=n) for x, n in ((gaps, GAPS[2]), (kinds, len(KINDS)))]
        x = self.gap(past[0]) + self.kind(past[1])
        x = torch.cat([x, predicted[:, None].expand(-1, gaps.shape[1], -1)], 2)
        x = self.cell(x, torch.tanh(state)[None].contiguous())[0]  # (B, E, W)
        return self.which(x), self.when(torch.cat([x, self.kind(kinds)], 2))

    def loss(self, events: Events, condition: Tensor) -> Tensor:
        """Cross-entropy of the events of ECGs with these conditions (B, D_c): rate, kinds, all gaps but the first."""
        known, mean = ~events.time.isnan(), events.beats().diff(dim=1).nanmean(1, keepdim=True)
        low, high, n = RATES
        rates = ((60 / mean[:, 0] - low) / (high - low) * n).nan_to_num(-1).long().clamp(-1, n - 1)  # -1: one beat
        rate = F.cross_entropy(self.rate(condition), rates, ignore_index=-1)
        parent, conducted = parents(events.kind)
        since = events.time - events.time.gather(1, parent)
        gaps = _place((since / mean.where(~conducted, 1.0))[:, 1:].nan_to_num(1.0))  # (B, E - 1)
        which, when = self(F.pad(gaps, (1, 0)), events.kind, condition)
        kinds = F.cross_entropy(which.mT, events.kind, reduction="none")  # (B, E)
        whens = F.cross_entropy(when[:, 1:].mT, gaps, reduction="none")  # (B, E - 1)
        later = known[:, 1:]
        return (kinds * known).sum() / known.sum() + (whens * later).sum() / later.sum() + rate

    @inference()
    def sample(self, condition: Tensor, rate: Tensor, generator: torch.Generator) -> Events:
        """Conditions (B, D_c) and the rates that they name (B,) bpm, NaN for an open one -> their events within 10 s.

        What is said is stretched until the mean rate of the beats within 10 s is the one told.
        """
        predicted, state = self.begin(condition).chunk(2, 1)
        state, device = torch.tanh(state)[None].contiguous(), condition.device
        gap, kind = (torch.full((len(condition),), n, device=device) for n in (GAPS[2], len(KINDS)))
        low, high, n = RATES
        drawn = _drawn(self.rate(condition), generator).cpu() + torch.rand(len(rate), generator=generator)
        rate = rate.where(~rate.isnan(), low + (high - low) / n * drawn.to(rate))
        shares, kinds = [], []
        for _ in range(MOST_EVENTS):
            x = torch.cat([self.gap(gap) + self.kind(kind), predicted], 1)
            x, state = self.cell(x[:, None], state)
            kind = _drawn(self.which(x[:, 0]), generator)
            gap = _drawn(self.when(torch.cat([x[:, 0], self.kind(kind)], 1)), generator)
            shares.append(_share(gap.cpu() + torch.rand(len(gap), generator=generator)))
            kinds.append(kind)
        kind, usual = torch.stack(kinds, 1), 60 / rate  # (B, E), (B,) s
        line, stretch = _timed(torch.stack(shares, 1).to(device), kind), usual
        for _ in range(7):  # a stretch can move a beat over the end
            time = FIRST_BEAT + line[..., 0] + line[..., 1] * stretch[:, None]  # (B, E) s
            held = (kind >= QRS) & (time < SECONDS)
            wanted = usual * (held.sum(1).clamp(min=2) - 1)
            stretch = stretch * wanted / (time.where(held, 0.0).amax(1) - FIRST_BEAT).clamp(min=0.1)
        time, order = time.sort(1)
        return Events(time.masked_fill(time >= SECONDS, math.nan), kind.gather(1, order))


def _drawn(logits: Tensor, generator: torch.Generator) -> Tensor:
    """(B, N) logits -> (B,) places, none of those that are less than `RARE` as likely as the likeliest."""
    chances = logits.float().softmax(1).cpu()
    chances = chances.where(chances >= RARE * chances.amax(1, keepdim=True), 0.0)
    return torch.multinomial(chances, 1, generator=generator)[:, 0].to(logits.device)


def parents(kind: Tensor) -> tuple[Tensor, Tensor]:
    """Kinds (B, E) in order -> which event each one follows from, (B, E), and whether the gap is that of conduction."""
    place = torch.arange(kind.shape[1], device=kind.device)

    def latest(of: Tensor) -> Tensor:
        return F.pad(torch.where(of, place, -1).cummax(1).values[:, :-1], (1, 0), value=-1)

    conducted = F.pad((kind[:, 1:] == QRS) & (kind[:, :-1] < ALONE), (1, 0))
    own = torch.where(kind < QRS, latest(kind < QRS), latest(kind >= QRS))
    own = torch.where(conducted | (kind == OTHER_P) | (own < 0), place - 1, own)
    return own.clamp(min=0), conducted


def _timed(gaps: Tensor, kind: Tensor) -> Tensor:
    """Gaps (B, E), the first of no meaning, and kinds -> (B, E, 2): when each event begins after the first beat, in s
    of conduction and in mean RR intervals."""
    parent, conducted = parents(kind)
    steps = gaps[..., None] * torch.stack([conducted, ~conducted], 2)
    line, row = torch.zeros_like(steps), torch.arange(len(kind), device=kind.device)
    for e in range(1, kind.shape[1]):
        line[:, e] = line[row, parent[:, e]] + steps[:, e]
    return line - line[row, (kind >= QRS).int().argmax(1)][:, None]


def _place(share: Tensor) -> Tensor:
    """Gaps -> places among `GAPS`, evenly in their logarithm."""
    low, high, n = GAPS
    return (n * (share.clamp(low, high) / low).log() / math.log(high / low)).long().clamp(0, n - 1)


def _share(place: Tensor) -> Tensor:
    """Places among `GAPS`, with fractions -> gaps."""
    low, high, n = GAPS
    return low * torch.exp(place / n * math.log(high / low))


class _Layer(nn.Module):
    """Residual layer, scaled and shifted by what steers it (FiLM): (B, W), (B, W) -> (B, W)."""

    def __init__(self, width: int):
        super().__init__()
        self.norm, self.film = nn.LayerNorm(width), nn.Linear(width, 2 * width)
        self.inward, self.outward = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        nn.init.zeros_(self.outward.weight)

    def forward(self, x: Tensor, steer: Tensor) -> Tensor:
        scale, shift = self.film(steer).chunk(2, 1)
        return x + self.outward(F.silu(self.inward(self.norm(x) * (1 + scale) + shift)))


class TemplateModel(nn.Module):
    """Words to templates of all kinds, by flow matching in their principal components.

    Noisy components (B, COMPONENTS), level in [0, 1] (B,), condition (B, D_c) -> (B, COMPONENTS), their velocity.
    """

    def __init__(self, condition: int, width: int = 384, layers: int = 3):
        super().__init__()
        self.settings = {"condition": condition, "width": width, "layers": layers}
        self.register_buffer("mean", torch.zeros(len(ROWS) * COLUMNS))
        self.register_buffer("axes", torch.zeros(len(ROWS) * COLUMNS, COMPONENTS))
        self.register_buffer("scale", torch.ones(COMPONENTS))
        self.register_buffer("farthest", torch.tensor(torch.inf))  # of the templates it learned from, from their mean
        self.null = nn.Parameter(torch.zeros(condition))  # no condition: for guidance
        self.time = nn.Linear(64, width)
        self.words = nn.Sequential(nn.Linear(condition, width), nn.SiLU(), nn.Linear(width, width))
        self.inward = nn.Linear(COMPONENTS, width)
        self.layers = nn.ModuleList(_Layer(width) for _ in range(layers))
        self.outward = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, COMPONENTS))

    @torch.no_grad()
    def start(self, template: Tensor) -> None:
        """Take the principal components of templates (N, 8, COLUMNS) in companded mV."""
        mean, values, axes = principal_axes(template.flatten(1), COMPONENTS)
        spread = values.clamp(min=1e-8).sqrt()
        self.mean.copy_(mean)
        self.axes.copy_(axes)
        self.scale.copy_(spread**EVEN * spread[-1] ** (1 - EVEN))
        self.farthest.copy_((template.flatten(1) - mean).norm(dim=1).max())

    def components(self, template: Tensor) -> Tensor:
        """Templates (B, 8, COLUMNS) -> (B, COMPONENTS)."""
        return (template.flatten(1) - self.mean) @ self.axes / self.scale

    def templates(self, components: Tensor) -> Tensor:
        """(B, COMPONENTS) -> templates (B, 8, COLUMNS) in companded mV."""
        return ((components * self.scale) @ self.axes.T + self.mean).unflatten(1, (len(ROWS), COLUMNS))

    def forward(self, x: Tensor, level: Tensor, condition: Tensor) -> Tensor:
        steer = F.silu(self.time(level_waves(level)) + self.words(condition))  # (B, W)
        h = self.inward(x)
        for layer in self.layers:
            h = layer(h, steer)
        return self.outward(h)

    def loss(self, components: Tensor, condition: Tensor, generator: torch.Generator) -> Tensor:
        """Flow matching of components (B, COMPONENTS) under conditions (B, D_c), see `diffusion.Flow`."""
        return path_loss(Flow(Design()), lambda x, level: self(x, level, condition), components, generator)

    @torch.no_grad()
    def sample(self, condition: Tensor, guidance: float, generator: torch.Generator) -> Tensor:
        """Conditions (B, D_c) -> templates (B, 8, COLUMNS) in companded mV, guided as `Generator.sample` is; none is
        farther from the mean than the farthest it learned from, where conditions unlike all others can lead."""
        x = torch.randn(len(condition), COMPONENTS, generator=generator).to(condition.device)
        x = Flow(Design()).sample_path(guided(self, condition, guidance), x, STEPS, generator)
        return self.templates(x * (self.farthest / (x * self.scale).norm(dim=1, keepdim=True)).clamp(max=1))
