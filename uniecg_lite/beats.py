"""Where are the beats, and what do they measure? R peaks, the representative beat, rhythm, ST, T and Q.

By rules alone, without any network, as every ECG machine does first.
"""

import torch
import torch.nn.functional as F

BEFORE, AFTER = 0.40, 0.64  # s around the R peak that one beat spans
MOST_BEATS = 36
RHYTHM = MOST_BEATS + 21  # features of a rhythm
LOUD = 3.0  # so that these few are heard among the many numbers of a beat
QUANTILES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
HZ = 100.0  # of `measure_beat`
R_PEAK = round(BEFORE * HZ)  # where it is in a representative beat, in samples
EDGE_S = 0.2  # left out at either end by `cut_beats`: PTB-XL holds its last 0.1 s constant
BEFORE_S, BEAT_S = 0.3, 0.8  # a cut beat begins 0.3 s before its R peak and lasts 0.8 s


def r_peaks(signal: torch.Tensor, hz: float) -> torch.Tensor:
    """Where the QRS complexes are: (B, 12, L) mV -> (B, L) bool.

    A peak of `slopes` is the largest value within 220 ms to either side, above a fifth of the usual peak, and not the
    T wave of one that is over three times as large 200 to 300 ms before it. All leads together find beats that lead II
    alone misses in a bundle branch block.
    """
    return _peaks(slopes(signal, hz), hz)


def _peaks(smooth: torch.Tensor, hz: float) -> torch.Tensor:
    reach = 2 * round(0.22 * hz) + 1
    highest = F.max_pool1d(smooth, reach, 1, reach // 2)
    again = F.pad(smooth[..., :-1] >= highest[..., 1:], (1, 0))  # of two equal neighbours the first is the peak
    usual = F.max_pool1d(smooth, round(1.6 * hz), round(1.6 * hz)).median(-1, keepdim=True).values  # (B, 1, 1)
    far, near = round(0.30 * hz), round(0.20 * hz)
    earlier = F.max_pool1d(F.pad(smooth, (far, 0)), far - near + 1, 1)[..., : smooth.shape[-1]]  # 200 to 300 ms before
    return ((smooth >= highest) & (smooth > 0.2 * usual) & ~(smooth < 0.3 * earlier) & ~again)[:, 0]


def slopes(signal: torch.Tensor, hz: float) -> torch.Tensor:
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

    Between samples by the parabola through the `slopes` of the peak and its neighbours.
    """
    smooth = slopes(signal, hz)
    peaks, smooth = _peaks(smooth, hz), smooth[:, 0]
    place = torch.arange(peaks.shape[1], device=signal.device)
    order = torch.where(peaks, place, peaks.shape[1]).sort(1).values[:, :MOST_BEATS]  # (B, K)
    middle = order.clamp(1, peaks.shape[1] - 2)
    a, b, c = (smooth.gather(1, middle + shift) for shift in (-1, 0, 1))
    between = (0.5 * (a - c) / (a - 2 * b + c).clamp(max=-1e-9)).clamp(-0.5, 0.5)
    return torch.where(order < peaks.shape[1], (middle + between) / hz, torch.nan)


def representative_beat(signal: torch.Tensor, hz: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
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
    n, start = round((BEFORE + AFTER) * hz), (times - BEFORE) * hz
    whole = (start >= 0) & (start + n < signal.shape[-1] - 1)  # (B, K)
    start = torch.where(whole, start, 0.0)
    first = start.long()
    share = (start - first)[:, None, :, None]
    row = torch.arange(len(signal), device=signal.device)[:, None]
    cut = signal.unfold(2, n + 1, 1)[row, :, first].transpose(1, 2)  # (B, 12, K, n + 1)
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
    rate, usual = torch.where(mean > 0, torch.stack([(60 / mean.clamp(min=0.2) - 80) / 30, (mean - 0.8) / 0.3]), 0.0)
    extent = mean * (share.amax(1, keepdim=True) - share.amin(1, keepdim=True))
    alike = [(share[:, k:] * share[:, :-k]).sum(1, keepdim=True) / count / (variance + 4e-4) for k in (1, 2, 3)]
    quantiles = share.masked_fill(~known, torch.nan).nanquantile(share.new_tensor(QUANTILES), 1).T.nan_to_num()
    step = (gap[:, 1:] / gap[:, :-1]).log().nan_to_num()  # (B, K - 2)
    numbers = [rate, usual, 3 * extent, 5 * variance.sqrt(), 5 * change, *alike, 4 * quantiles]
    numbers += [step.topk(3, 1).values, (-step).topk(3, 1).values, times[:, :1].nan_to_num(1.0), 4 * share]
    return LOUD * torch.cat(numbers, 1)


def heart_rate(signal: torch.Tensor, hz: float) -> torch.Tensor:
    """60 over the mean interval between the first and the last R peak: (B, 12, L) -> (B,) bpm, NaN under two peaks."""
    peaks = r_peaks(signal, hz)
    count, first = peaks.sum(1), peaks.int().argmax(1)
    last = peaks.shape[1] - 1 - peaks.flip(1).int().argmax(1)
    return torch.where(count > 1, 60 * hz * (count - 1) / (last - first), torch.nan)


def beat_size_spread(signal: torch.Tensor, hz: float) -> torch.Tensor:
    """How much the QRS complexes of one record differ in size: (B, 12, L) -> (B,), NaN under four beats.

    A size is the peak to peak of 160 ms around the R peak, over all leads (root of the sum of squares); their standard
    deviation over their mean, the first and the last beat left out. A healthy heart's breathing makes some hundredths.
    """
    times, reach = peak_times(signal, hz), round(0.08 * hz)  # (B, K)
    inner = F.pad(~times[:, 2:].isnan(), (1, 1))  # (B, K): a beat has one after it, too
    start = (times.nan_to_num(0.0) * hz).long().sub(reach).clamp(0, signal.shape[-1] - 2 * reach - 1)
    row = torch.arange(len(signal), device=signal.device)[:, None]
    cut = signal.unfold(2, 2 * reach + 1, 1)[row, :, start]  # (B, K, 12, W)
    size = torch.where(inner, (cut.amax(-1) - cut.amin(-1)).norm(dim=-1), torch.nan)  # (B, K)
    mean = size.nanmean(1)
    spread = ((size - mean[:, None]).square().nansum(1) / (inner.sum(1) - 1).clamp(min=1)).sqrt() / mean
    return torch.where(inner.sum(1) > 1, spread, torch.nan)


def measure_beat(signal: torch.Tensor, qrs_ms: torch.Tensor, qt_ms: torch.Tensor) -> dict[str, torch.Tensor]:
    """ST, T and Q of the representative beat by simple rules: (B, 12, L) mV, (B,), (B,) -> (B, 12) each.

    The QRS is the stretch of its duration that holds most of the slope; the baseline is the mean of the 60 to 20 ms
    before it. ST is the level 20 ms after it, T the largest deflection from 80 ms after it to the end of QT, Q the
    first deflection, if it points down; a Q wave counts from 0.1 mV over 30 ms.
    """
    beat = representative_beat(signal, HZ)[0]  # (B, 12, W)
    width = beat.shape[-1]
    steep = beat.diff(dim=-1, prepend=beat[..., :1]).square().sum(1).sqrt().cumsum(-1)  # (B, W)
    long = (qrs_ms / 10).round().long().clamp(4, 24)[:, None]  # (B, 1) samples
    first = torch.arange(R_PEAK - 20, R_PEAK + 1).expand(len(beat), -1)  # where the QRS may begin
    held = steep.gather(1, (first + long).clamp(max=width - 1)) - steep.gather(1, first)
    onset = first.gather(1, held.argmax(1, keepdim=True))[..., None]  # (B, 1, 1)
    place, long = torch.arange(width), long[..., None]
    base = (place >= onset - 6) & (place < onset - 2)  # (B, 1, W)
    level = beat - (beat * base).sum(2, keepdim=True) / base.sum(2, keepdim=True).clamp(min=1)  # (B, 12, W)
    end = onset + long
    st = level.gather(2, (end + 2).clamp(max=width - 1).expand(-1, level.shape[1], -1))[..., 0]
    late = (place >= end + 8) & (place < torch.maximum(onset + (qt_ms / 10).round().long()[:, None, None], end + 12))
    t = level.where(late, 0.0)
    t = t.gather(2, t.abs().argmax(2, keepdim=True))[..., 0]
    inside = (place >= onset) & (place < end)
    start = ((level.abs() > 0.05) & inside).int().argmax(2, keepdim=True)  # the first deflection: (B, 12, 1)
    run = inside & (((level > 0) & (place > start)).cumsum(2) == 0) & (level.gather(2, start) < 0)
    q = level.where(run, 0.0).amin(2).clamp(max=0)
    return {"st_mv": st, "t_mv": t, "q_mv": q, "q_wave": (q <= -0.1) & (((level < -0.03) & run).sum(2) >= 3)}


def centred(signal: torch.Tensor) -> torch.Tensor:
    """(B, 12, L) about each lead's median: the offset of a lead says nothing."""
    return signal - signal.median(-1, keepdim=True).values


def cut_beats(signal: torch.Tensor, hz: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Beats cut around the R peaks: (B, 12, L) mV -> (N, 12, 0.8 hz) and the record of each (N,), in order.

    Beats that reach into the first or last 0.2 s are left out. Each lead is taken about its median over the record.
    """
    before, width, edge = round(BEFORE_S * hz), round(BEAT_S * hz), round(EDGE_S * hz)
    owner, place = r_peaks(signal, hz).nonzero().unbind(1)
    start = place - before
    inside = (start >= edge) & (start + width <= signal.shape[-1] - edge)
    windows = centred(signal).unfold(-1, width, 1)  # (B, 12, L - width + 1, width)
    return windows[owner[inside], :, start[inside]], owner[inside]
