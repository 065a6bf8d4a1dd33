"""Where are the beats, and what does the usual one look like? Every ECG machine asks this first, without a network."""

import torch
import torch.nn.functional as F

BEFORE, AFTER = 0.40, 0.64  # s around the R peak that one beat spans
MOST_BEATS = 36
RHYTHM = MOST_BEATS + 21  # features of a rhythm
LOUD = 3.0  # so that these few are heard among the many numbers of a beat
QUANTILES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
SHARE = 0.20  # of the usual peak, below which a bend is no QRS complex
T_AFTER, T_SHARE = 0.30, 0.3  # s after a QRS complex in which a bend of less than this share of it is its T wave


def r_peaks(signal: torch.Tensor, hz: float) -> torch.Tensor:
    """Where the QRS complexes are: (B, 12, L) mV -> (B, L) bool.

    A peak of `bends` is the largest value within 220 ms to either side, above a fifth of the usual peak, and not the
    T wave of a larger one. All leads together find beats that lead II alone misses in a bundle branch block.
    """
    return _peaks(bends(signal, hz), hz)


def _peaks(smooth: torch.Tensor, hz: float) -> torch.Tensor:
    reach = 2 * round(0.22 * hz) + 1
    highest = F.max_pool1d(smooth, reach, 1, reach // 2)
    again = F.pad(smooth[..., :-1] >= highest[..., 1:], (1, 0))  # of two equal neighbours the first is the peak
    usual = F.max_pool1d(smooth, round(1.6 * hz), round(1.6 * hz)).median(-1, keepdim=True).values  # (B, 1, 1)
    far, near = round(T_AFTER * hz), round(0.20 * hz)
    earlier = F.max_pool1d(F.pad(smooth, (far, 0)), far - near + 1, 1)[..., : smooth.shape[-1]]  # 200 to 300 ms before
    t_wave = smooth < T_SHARE * earlier
    return ((smooth >= highest) & (smooth > SHARE * usual) & ~t_wave & ~again)[:, 0]


def bends(signal: torch.Tensor, hz: float) -> torch.Tensor:
    """(B, 12, L) mV -> (B, 1, L): how sharply all leads together bend, root mean square over 90 ms.

    The second difference over 20 ms answers to the 10 to 25 Hz of a QRS complex, hardly to a tall T wave or to hum.
    """
    lag = max(round(0.02 * hz), 1)
    middle = signal[..., 2 * lag :] - 2 * signal[..., lag:-lag] + signal[..., : -2 * lag]
    power = F.pad(middle.square().sum(1), (lag, lag))[:, None]  # (B, 1, L)
    width = 2 * round(0.045 * hz) + 1
    smooth = F.avg_pool1d(power, width, 1, width // 2, count_include_pad=False).sqrt()
    return smooth * (1 - 1e-6 * torch.arange(smooth.shape[-1], device=smooth.device))  # of equals the first counts


def peak_times(signal: torch.Tensor, hz: float) -> torch.Tensor:
    """R peaks as times: (B, 12, L) mV -> (B, MOST_BEATS) s, in order, NaN after the last.

    Between samples by the parabola through the `bends` of the peak and its neighbours.
    """
    smooth = bends(signal, hz)
    peaks, smooth = _peaks(smooth, hz), smooth[:, 0]
    place = torch.arange(peaks.shape[1], device=signal.device)
    order = torch.where(peaks, place, peaks.shape[1]).sort(1).values[:, :MOST_BEATS]  # (B, K)
    middle = order.clamp(1, peaks.shape[1] - 2)
    a, b, c = (smooth.gather(1, middle + shift) for shift in (-1, 0, 1))
    between = (0.5 * (a - c) / (a - 2 * b + c).clamp(max=-1e-9)).clamp(-0.5, 0.5)
    return torch.where(order < peaks.shape[1], (middle + between) / hz, torch.nan)


def usual_beat(signal: torch.Tensor, hz: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The representative beat: the mean over the beats that look alike, aligned at the R peak.

    Args:
        signal: (B, 12, L) mV.
        hz: sampling rate.

    Returns:
        beat (B, 12, N) mV and its spread over those beats (B, 12, N), N = 1.04 s * hz; R peaks (B, MOST_BEATS) in s,
        NaN after the last. A record without a whole beat has a beat of zeros.
    """
    with torch.no_grad():
        times = peak_times(signal, hz)  # (B, K)
    n = round((BEFORE + AFTER) * hz)
    length = signal.shape[-1]
    start = (times - BEFORE) * hz
    whole = (start >= 0) & (start + n < length - 1)  # (B, K)
    start = torch.where(whole, start, 0.0)
    first = start.long()
    share = (start - first)[:, None, :, None]
    window = signal.unfold(2, n + 1, 1)  # (B, 12, L - n, n + 1), a view
    row = torch.arange(len(signal), device=signal.device)[:, None]
    cut = window[row, :, first].transpose(1, 2)  # (B, 12, K, n + 1)
    beats = cut[..., :n] * (1 - share) + cut[..., 1:] * share
    beats = beats - beats[..., ::4].median(-1, keepdim=True).values.detach()
    weight = whole[:, None, :, None].float()
    for _ in range(2):  # leave out the beats that differ most from the others
        mean = (beats * weight).sum(2, keepdim=True) / weight.sum(2, keepdim=True).clamp(min=1)
        far = (beats - mean).square().mean((1, 3))  # (B, K)
        limit = torch.where(whole, far, torch.nan).nanmedian(1, keepdim=True).values
        weight = (whole & ~(far > 1.5 * limit))[:, None, :, None].float()
    total = weight.sum(2).clamp(min=1)
    mean = (beats * weight).sum(2) / total
    spread = ((beats - mean[:, :, None]).square() * weight).sum(2).div(total).clamp(min=1e-12).sqrt()
    return mean, spread, times


def rhythm_features(times: torch.Tensor) -> torch.Tensor:
    """R peaks (B, MOST_BEATS) in s, NaN after the last -> (B, RHYTHM).

    Rate, mean RR and its range. Of RR over the mean: spread, mean change from beat to beat, how alike an interval is
    to the first, second and third before it, and quantiles. The three largest steps up and down from an interval to
    the next. When the first beat comes, and each RR over the mean. All on unit scales, times `LOUD`; zeros where there
    are fewer than two beats.
    """
    gap = times.diff(dim=1)  # (B, K - 1)
    known = ~gap.isnan()
    count = known.sum(1, keepdim=True).clamp(min=1)
    mean = gap.nansum(1, keepdim=True) / count
    share = torch.where(known, gap / mean.clamp(min=0.2) - 1, 0.0)
    variance = share.square().sum(1, keepdim=True) / count
    change = (share.diff(dim=1).abs() * known[:, 1:]).sum(1, keepdim=True) / count
    rate = torch.where(mean > 0, (60 / mean.clamp(min=0.2) - 80) / 30, 0.0)
    usual = torch.where(mean > 0, (mean - 0.8) / 0.3, 0.0)
    extent = mean * (share.amax(1, keepdim=True) - share.amin(1, keepdim=True))
    alike = [(share[:, k:] * share[:, :-k]).sum(1, keepdim=True) / count / (variance + 4e-4) for k in (1, 2, 3)]
    quantiles = share.masked_fill(~known, torch.nan).nanquantile(share.new_tensor(QUANTILES), 1).T.nan_to_num()
    step = (gap[:, 1:] / gap[:, :-1]).log().nan_to_num()  # (B, K - 2)
    steps = [step.topk(3, 1).values, (-step).topk(3, 1).values]
    numbers = [rate, usual, 3 * extent, 5 * variance.sqrt(), 5 * change, *alike, 4 * quantiles, *steps]
    return LOUD * torch.cat([*numbers, times[:, :1].nan_to_num(1.0), 4 * share], 1)
