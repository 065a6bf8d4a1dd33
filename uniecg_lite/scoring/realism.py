"""How real do simulated ECGs look? Statistics beside those of real records (`separability`: as a network sees it)."""

import torch
import torch.nn.functional as F

from ..simulator import FINDINGS
from .separability import BEFORE_S, EDGE_S, beats, centred, means
from .signals import heart_rate, r_peaks

BANDS = {"drift": (0.0, 0.5), "slow": (0.5, 3.0), "wave": (3.0, 15.0), "sharp": (15.0, 35.0), "fine": (35.0, 49.0)}
QUANTILES = (0.01, 0.05, 0.5, 0.95, 0.99)
INDEPENDENT = [0, 1, 6, 7, 8, 9, 10, 11]
COMMON = ("SR", "SBRAD", "STACH", "SARRH", "NORM", "LAD", "LAFB", "LVH", "STD", "TINV", "LAE", "PAC", "PVC")  # in both


def band_rms(signal: torch.Tensor, hz: float) -> dict[str, torch.Tensor]:
    """RMS in mV of each band of `BANDS` (Hz), (B, 12) each, from one Hann-windowed spectrum without the ends."""
    edge = round(EDGE_S * hz)
    x = signal[..., edge : signal.shape[-1] - edge]
    window = torch.hann_window(x.shape[-1])
    power = torch.fft.rfft((x - x.mean(-1, keepdim=True)) * window).abs().square()
    power = 2 * power / (x.shape[-1] * window.square().sum())  # its sum over frequencies is the variance
    f = torch.fft.rfftfreq(x.shape[-1], 1 / hz)
    return {name: power[..., (f >= low) & (f < high)].sum(-1).sqrt() for name, (low, high) in BANDS.items()}


def quiet_noise(signal: torch.Tensor, hz: float) -> torch.Tensor:
    """RMS in mV above about 25 Hz in the quieter third of the record, where no QRS is: (B, 12, L) -> (B, 12)."""
    edge, width = round(EDGE_S * hz), round(0.1 * hz)
    x = signal[..., edge : signal.shape[-1] - edge]
    f = torch.fft.rfftfreq(x.shape[-1], 1 / hz)
    rise = torch.sin(torch.pi / 2 * ((f - 15) / 20).clamp(0, 1)).square()  # a soft edge, so that a QRS does not ring on
    high = torch.fft.irfft(torch.fft.rfft(x) * rise, n=x.shape[-1])
    power = F.avg_pool1d(high.square(), width, width)  # (B, 12, windows of 0.1 s)
    return power.quantile(0.3, -1).sqrt()


def statistics(signal: torch.Tensor, hz: float = 100.0) -> dict[str, torch.Tensor]:
    """What can be measured on any record: (B, 12, L) mV -> tensors with a leading B.

    Returns:
        quantiles (B, 12, 5) of the centred amplitude at `QUANTILES`, mV; `<band>_mv` (B, 12) for each of `BANDS`;
        quiet_mv (B, 12), see `quiet_noise`; rate_bpm, sdnn_ms, rmssd_ms (B,) of the RR intervals;
        qrs_variation (B, 12), the spread of the QRS size from beat to beat as a share of its mean;
        qrs_ms (B,), how long the mean beat is steep; non_dipolar (B,), the share of the mean beat's QRS (as RMS) that
        no three fixed directions of the eight independent leads hold. NaN where a record has too few beats.
    """
    n, edge = len(signal), round(EDGE_S * hz)
    out = {"quantiles": torch.quantile(centred(signal)[..., edge:-edge], torch.tensor(QUANTILES), -1).movedim(0, -1)}
    out |= {f"{name}_mv": value for name, value in band_rms(signal, hz).items()}
    out["quiet_mv"] = quiet_noise(signal, hz)
    out["rate_bpm"] = heart_rate(signal, hz)
    out |= _rhythm(signal, hz)
    cut, owner = beats(signal, hz)
    mean = means(owner, n)
    first = round((BEFORE_S - 0.08) * hz)
    qrs = cut[..., first : first + round(0.16 * hz) + 1]  # (N, 12, 17 at 100 Hz)
    size = qrs.amax(-1) - qrs.amin(-1)  # (N, 12)
    usual = mean(size)
    out["qrs_variation"] = (mean(size.square()) - usual.square()).clamp(min=0).sqrt() / usual
    usual_beat = mean(cut)  # (B, 12, W)
    out["qrs_ms"] = _steep(usual_beat, hz)
    shape = usual_beat[:, INDEPENDENT, first : first + qrs.shape[-1]].nan_to_num()
    energy = torch.linalg.svdvals(shape - shape.mean(-1, keepdim=True)).square()  # (B, 8)
    out["non_dipolar"] = (energy[:, 3:].sum(1) / energy.sum(1)).sqrt()
    return out


def _rhythm(signal: torch.Tensor, hz: float) -> dict[str, torch.Tensor]:
    """SDNN and RMSSD in ms (Task Force of the ESC and NASPE, Circulation 93:1043, 1996), of all intervals."""
    owner, place = r_peaks(signal, hz).nonzero().unbind(1)
    rr, same = 1000 / hz * place.diff().double(), owner.diff() == 0
    mean = means(owner[1:][same], len(signal))
    sdnn = (mean(rr[same].square()) - mean(rr[same]).square()).clamp(min=0).sqrt()
    follows = same[1:] & same[:-1]
    rmssd = means(owner[2:][follows], len(signal))(rr.diff()[follows].square()).sqrt()
    return {"sdnn_ms": sdnn.float(), "rmssd_ms": rmssd.float()}


def _steep(beat: torch.Tensor, hz: float) -> torch.Tensor:
    """For how long a mean beat (B, 12, W) is steeper than a quarter of its steepest, within 0.15 s of R: (B,) ms."""
    middle, reach = round(BEFORE_S * hz), round(0.15 * hz)
    slope = beat.diff(dim=-1).square().sum(1).sqrt()[:, middle - reach : middle + reach]
    over = slope > 0.25 * slope.amax(1, keepdim=True)
    place = torch.arange(slope.shape[1]).float()
    last = torch.where(over, place, -torch.inf).amax(1)
    return 1000 / hz * (last - torch.where(over, place, torch.inf).amin(1) + 1)


def sinus_like(signal: torch.Tensor, hz: float = 100.0) -> torch.Tensor:
    """Records (B, 12, L) with a regular rhythm at 50 to 110 bpm and a narrow QRS, by measurement alone: (B,) bool."""
    s = statistics(signal, hz)
    regular = s["sdnn_ms"] < 0.12 * 60000 / s["rate_bpm"]
    return regular & (s["rate_bpm"] >= 50) & (s["rate_bpm"] <= 110) & (s["qrs_ms"] <= 120)


def compare(simulated: torch.Tensor, real: torch.Tensor, hz: float = 100.0) -> dict[str, float]:
    """Kolmogorov-Smirnov distances (0 alike, 1 apart) of each statistic, and both medians, over records and leads.

    Both are (B, 12, L) mV. Keys: `realism.ks.<name>`, `realism.median.<name>.simulated` and `.real`.
    """
    one, other = statistics(simulated, hz), statistics(real, hz)
    for part in (one, other):
        quantiles = part.pop("quantiles")
        part["span_mv"] = quantiles[..., -1] - quantiles[..., 0]
    out = {}
    for name in one:
        out[f"realism.ks.{name}"] = ks_distance(one[name].flatten(), other[name].flatten())
        out[f"realism.median.{name}.simulated"] = one[name].nanmedian().item()
        out[f"realism.median.{name}.real"] = other[name].nanmedian().item()
    return out


def ks_distance(a: torch.Tensor, b: torch.Tensor) -> float:
    """The largest gap between two empirical distribution functions, of values (N,) and (M,); NaN are left out."""
    a, b = a[~a.isnan()].sort().values, b[~b.isnan()].sort().values
    at = torch.cat([a, b])
    below = [torch.searchsorted(x, at, right=True) / len(x) for x in (a, b)]
    return (below[0] - below[1]).abs().max().item()


def comparable(signal: torch.Tensor, findings: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """Rows of simulated records (B, 12, L) to set beside real ones: sinus-like, with findings that real records have
    too (`COMMON`), and for each real record (M, 12, L) one of about its heart rate. Returns (M,) rows, or fewer."""
    rare = torch.tensor([code not in COMMON for code in FINDINGS])
    free = (sinus_like(signal) & ~findings[:, rare].any(1)).nonzero()[:, 0]
    rate, rows = heart_rate(signal, 100.0), []
    for wanted in heart_rate(real, 100.0)[: len(free)]:
        k = (rate[free] - wanted).abs().argmin()
        rows.append(free[k])
        free = torch.cat([free[:k], free[k + 1 :]])
    return torch.stack(rows)
