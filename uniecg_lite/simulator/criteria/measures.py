"""What does a clean record measure? Bounds, deflections and heights of its waves, beat by beat."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import uniform_filter1d
from scipy.signal import find_peaks

from ...errors import BadECG
from ...leads import LEADS
from ...simulator.criteria import complexes
from .complexes import INDEPENDENT, Beats, find_beats, sharpness, slopes, speed

# --- What do the waves of one clean beat measure? Onsets from the spatial velocity, amplitudes lead by lead.

REAL = 0.03  # mV; smaller deflections of a QRS complex are not named
II, V1 = 1, 6
ONSET, OFFSET, QRS = 0.008, 0.016, 0.022  # mV/ms of spatial velocity: rest before a complex, rest after it, part of it
BEND = 0.0012  # mV/ms2 of spatial acceleration


def quiet(velocity: np.ndarray, start: int, step: int, level: float, hold: int, stop: int) -> int:
    """From `start` in steps of 1 or -1, the first sample whose next `hold` samples lie below a level.

    Where the signal never rests before `stop`, its quietest sample.
    """
    track = velocity[start:stop:step] if step > 0 or stop >= 0 else velocity[start::step]
    if len(track) <= hold:
        return start
    calm = np.convolve(track < level, np.ones(hold), "valid") >= hold
    place = int(calm.argmax()) if calm.any() else int(track.argmin())
    return start + step * place


def qrs_bounds(beat: np.ndarray, velocity: np.ndarray, centre: int, hz: float, ground=None) -> tuple[int, int]:
    """Onset and offset (samples) of the complex around `centre`, from a beat (12, N) and its spatial velocity (N,).

    A slurred start may rest for a moment above the base line: then, given the base line (12,) in mV, the onset lies
    before it.
    """
    first, last = centre - round(0.09 * hz), centre + round(0.09 * hz)
    near = velocity[first:last]
    top, hold, reach = near.max(), round(0.008 * hz), round(0.11 * hz)
    bend = uniform_filter1d(np.sqrt((slopes(slopes(beat[:, first:last])) ** 2).sum(0)), round(0.012 * hz)) * hz**2 / 1e6
    fast = np.flatnonzero((near > 0.3 * top) | (near > QRS) & (bend > BEND))  # T is not bent like this
    begin = int(np.flatnonzero(near > 0.25 * top)[0])
    fast = np.array([begin, _run_end(fast, int(near.argmax()), round(0.036 * hz))]) + first
    onset = quiet(velocity, fast[0], -1, max(0.05 * top, ONSET), hold, max(fast[0] - reach, 0))
    dip = _first_dip(velocity, fast[0], 0.10 * top, reach, round(0.016 * hz))
    onset = dip if dip - onset > 0.03 * hz else onset  # a P wave that runs into the complex
    slur = round(0.065 * hz)
    first = max(onset - slur, 0)
    moving = np.flatnonzero(velocity[first:onset] > max(0.05 * top, ONSET)) + first
    short = len(moving) and moving[0] > first + hold and moving[-1] > onset - round(0.03 * hz)
    if ground is not None and short:  # something short goes before, and before that there is rest
        above, below = np.abs(beat[:, onset] - ground).max(), np.abs(beat[:, first] - ground).max()
        if above > 0.08 and below < 0.6 * above:
            onset = int(moving[0])
    offset = quiet(velocity, fast[-1], 1, max(0.08 * top, min(OFFSET, 0.2 * top)), hold, fast[-1] + round(0.07 * hz))
    dip = len(velocity) - 1 - _first_dip(velocity[::-1], len(velocity) - 1 - fast[-1], QRS, reach, round(0.02 * hz))
    offset = dip if offset - dip > 0.008 * hz and dip > fast[-1] else offset  # T begins before the complex has ended
    return onset, offset


def _run_end(places: np.ndarray, start: int, gap: int) -> int:
    """How far `places`, in order, go on from `start` in steps of at most `gap`."""
    for place in places[places > start]:
        start = place if place - start <= gap else start
    return int(start)


def _first_dip(velocity: np.ndarray, start: int, below: float, reach: int, wide: int) -> int:
    """To the left of `start`, the first sample that lies below a level and under the next `wide` ones; -1 without."""
    for k in range(start, max(start - reach, wide), -1):
        if velocity[k] < below and velocity[k] <= velocity[k - wide : k].min():
            return k
    return -1


def deflections(qrs: np.ndarray, hz: float) -> dict[str, float]:
    """Q, R, S and R' of one lead's complex (n,) above its own onset level: mV and ms, 0 where there is none.

    A complex without R is a QS: its depth and duration are those of Q and of S.
    """
    sign = np.where(qrs > REAL, 1, np.where(qrs < -REAL, -1, 0))
    change = np.flatnonzero(np.diff(sign)) + 1
    parts: list[list] = []  # [sign, first, last]
    for a, b in zip(np.r_[0, change], np.r_[change, len(sign)]):
        if sign[a] and parts and parts[-1][0] == sign[a]:
            parts[-1][2] = b
        elif sign[a]:
            parts.append([sign[a], a, b])
    out = dict.fromkeys(("q_mv", "q_ms", "r_mv", "r_ms", "s_mv", "s_ms", "r2_mv", "r2_ms", "r_at_ms"), 0.0)
    ups = [p for p in parts if p[0] > 0]

    def put(name, part):
        values = qrs[part[1] : part[2]]
        out[name + "_mv"] = float(values.max() if part[0] > 0 else values.min())
        out[name + "_ms"] = 1000 * (part[2] - part[1]) / hz

    if not ups:
        for part in parts[:1]:
            put("q", part)
            put("s", part)
        return out
    place = parts.index(ups[0])
    if place:
        put("q", parts[0])
    put("r", ups[0])
    after = [p for p in parts[place + 1 :] if p[0] < 0]
    if after:
        put("s", min(after, key=lambda p: qrs[p[1] : p[2]].min()))
        out["s_ms"] = 1000 * sum(p[2] - p[1] for p in after) / hz
    if len(ups) > 1:
        put("r2", max(ups[1:], key=lambda p: qrs[p[1] : p[2]].max()))
    out["r_at_ms"] = 1000 * float(qrs.argmax()) / hz
    return out


def j_notch(beat: np.ndarray, onset: int, offset: int, hz: float) -> tuple[np.ndarray, int]:
    """A notch on the last part of R, entirely above the onset level (Macfarlane et al., JACC 66:470, 2015).

    Takes a beat (12, N) mV and the bounds of its complex. Returns the height of the notch in each lead, (12,) mV, 0
    where there is none, and where the tallest one begins (samples; -1 without any).
    """
    height, begin = np.zeros(12), -1
    level = beat[:, onset : onset + 1]
    span = (beat - level)[:, onset : offset + round(0.02 * hz)]
    if offset - onset > 0.14 * hz:
        return height, begin
    for lead, wave in enumerate(span):
        r = int(wave.argmax())
        for place in find_peaks(wave[r:], prominence=0.01)[0] + r:
            valley = r + int(wave[r : place + 1].argmin())
            late = place > offset - onset - round(0.035 * hz)
            if late and wave[valley] > -0.03 and height[lead] < wave[place] < 0.6 * wave[r]:
                height[lead] = wave[place]
                if height[lead] >= height.max():
                    begin = onset + valley
    return height, begin


def p_wave(beat: np.ndarray, onset: int, earliest: int, hz: float, least: np.ndarray) -> dict | None:
    """The P wave before the complex: (12, N) mV without T, QRS onset and the first sample that may hold it.

    Returns begin and end (samples), the signed amplitude in each lead (12,), depth (mV) and duration (ms) of the
    terminal negative part in V1, and the PR segment (12,) where it is lowest in II; None where no hump rises by what
    `least` (N,) asks for there in mV.
    """
    gap = round(0.008 * hz)
    if onset - earliest < round(0.05 * hz):
        return None
    part = beat[:, earliest:onset]
    rest = np.median(part, axis=1) if onset - earliest > 0.26 * hz else part[:, -gap:].mean(1)  # most of it is level
    vectors = part - rest[:, None]  # (12, n)
    size = np.sqrt((vectors[INDEPENDENT] ** 2).mean(0))  # (n,)
    peaks, about = find_peaks(size, prominence=least[earliest:onset])
    if not len(peaks):
        return None
    strong = peaks[about["prominences"] > 0.35 * about["prominences"].max()]
    unit = vectors[:, peaks] / (np.linalg.norm(vectors[:, peaks], axis=0) + 1e-9)
    main = strong[-1]  # U goes before it
    sunk = len(strong) > 1 and vectors[II, main] < 0 < vectors[II, strong[-2]] and main - strong[-2] < 0.16 * hz
    main = strong[-2] if sunk else main  # the last hump is a depressed PR segment
    cosine = unit[:, int(np.flatnonzero(peaks == main)[0])] @ unit
    close = peaks[(np.abs(peaks - main) < 0.075 * hz) & (size[peaks] > 0.15 * size[main]) & (cosine > -0.7)]
    close = close[close <= main] if sunk else close
    velocity = speed(beat, hz)
    left, right = earliest + close[0], earliest + close[-1]
    reach = round(0.05 * hz)
    before, after = velocity[max(left - reach, 0) : left], velocity[right : min(right + reach, onset)]
    if not len(before) or not len(after):
        return None
    hold = round(0.014 * hz)
    begin = quiet(velocity, left - int(before[::-1].argmax()), -1, 0.25 * before.max(), hold, max(left - 2 * reach, 0))
    end = quiet(velocity, right + int(after.argmax()), 1, 0.25 * after.max(), 2, onset)
    along = vectors[:, right - earliest] @ (beat - beat[:, begin : begin + 1])[:, right:onset]
    turned = np.flatnonzero(along < 0.05 * along[0]) if len(along) else []
    end = min(end, right + int(turned[0])) if len(turned) else end
    level = beat[:, begin : begin + 1]
    wave = (beat - level)[:, begin : end + 1]
    peak = wave[np.arange(12), np.abs(wave).argmax(1)]  # (12,)
    if np.abs(peak).max() < 0.01:
        return None
    v1 = wave[V1]
    late = v1[len(v1) // 3 :] < -0.02
    segment = (beat - level)[:, onset - round(0.05 * hz) : onset - gap // 2]
    segment = segment[:, int(segment[II].argmin())]
    return {
        "begin": begin,
        "end": end,
        "peak": earliest + int(main),
        "mv": peak,
        "top_mv": (beat - level)[:, earliest + main],
        "terminal_mv": min(0.0, float(v1[len(v1) // 3 :].min())),
        "terminal_ms": 1000 * late.sum() / hz,
        "segment_mv": segment,
    }


def without_t(beat: np.ndarray, onset: int, t: dict, gap: int, hz: float) -> tuple[np.ndarray, int]:
    """The beat (12, N) without the falling limb of the T wave of the beat `gap` samples before, and where P may begin.

    A P wave often rides on that limb. Its upper half is carried on as half a Gaussian in each lead.
    """
    top, level = t["peak"], beat[:, onset : onset + 1]
    size = np.sqrt(((beat - level)[INDEPENDENT] ** 2).mean(0))
    fall = size[top : t["end"]] / size[top]
    upper = np.flatnonzero((fall < 0.95) & (fall > 0.65))
    if len(upper) < 3:
        return beat, max(t["rest"] - gap, 0)
    sigma = np.sqrt((upper**2 / (-2 * np.log(fall[upper]))).mean())
    past = np.arange(beat.shape[1]) - (top - gap)
    tail = np.where(past >= 0, np.exp(-0.5 * (past / sigma) ** 2), 0.0)
    tail[onset:] = 0
    first = max(top - gap + round(0.5 * sigma), t["rest"] - gap if t["rest"] > t["end"] else 0)
    return beat - (beat[:, top : top + 1] - level) * tail, max(first, 0)


def t_wave(beat: np.ndarray, onset: int, offset: int, latest: int, rr: float, hz: float) -> dict | None:
    """The T wave and what follows it: (12, N) mV, the bounds of the complex, the last sample that may hold it, RR in s.

    Returns peak, end and rest, the end of both (samples; T ends where the steepest tangent of its falling limb meets
    the base line), the size over all leads (mV), the signed amplitude in each lead (12,), the width at half height of
    the whole (ms), and the amplitudes of the U wave (12,), 0 without one.
    """
    level = beat[:, onset : onset + 1]
    size = np.sqrt(((beat - level)[INDEPENDENT] ** 2).mean(0))  # (N,)
    first = offset + round(0.01 * hz)
    if latest - first < 0.06 * hz:
        return None
    part = uniform_filter1d(size, 3)[first:latest]
    peaks = find_peaks(part, prominence=0.004)[0] + first
    if not len(peaks):
        peaks = np.array([first + int(part.argmax())])
    typical = 0.39 * rr**0.45 * hz  # samples from QRS onset to T end
    top = _t_among(peaks, size, onset, typical, hz)
    later = peaks[peaks > top + 0.06 * hz]
    stop = top + int(size[top : later[0]].argmin()) if len(later) else latest
    fall = -np.gradient(size[top : max(stop, top + 3)])
    steepest = top + int(fall.argmax())
    end = int(round(min(steepest + size[steepest] / max(fall.max(), 1e-6), latest)))
    window = (beat - level)[:, max(top - round(0.06 * hz), offset + (end - offset) // 4) : end]
    peak = window[np.arange(12), np.abs(window).argmax(1)]
    half = size[offset:end] > 0.5 * size[top]
    u, rest = np.zeros(12), end
    if len(later) and later[0] - onset < 1.45 * typical and later[0] - top < 0.24 * hz:
        u = (beat - level)[:, later[0]]
        rest = later[0] + round(0.07 * hz) if size[later[0]] > 0.7 * size[top] else end
    return {
        "peak": int(top),
        "end": end,
        "rest": int(rest),
        "size": float(size[top]),
        "mv": peak,
        "half_ms": 1000 * half.sum() / hz,
        "u_mv": u,
    }


def _t_among(peaks: np.ndarray, size: np.ndarray, onset: int, typical: float, hz: float) -> int:
    """Of several humps after a complex the T: large and timely; one that comes late, after another, is U."""
    z = ((peaks - onset) / typical - 0.78) / 0.25
    top = peaks[(size[peaks] * np.exp(-0.5 * z * z)).argmax()]
    before = peaks[(top - peaks > 0.09 * hz) & (top - peaks < 0.24 * hz)]
    if len(before) and top - onset > 0.95 * typical and before[-1] - onset > 0.5 * typical:
        return int(before[-1])  # what follows T and outgrows it is U
    return int(top)


# --- What does a clean signal measure, wave by wave? Without any truth about it.

FAINT = 0.003  # mV over all leads, the least that a hump before the QRS must rise
PR_LONGEST = 0.36  # s


@dataclass
class Measured:
    """What was measured on B records. NaN where there is nothing to measure; leads in the order of `LEADS`."""

    rate_bpm: torch.Tensor  # (B,) 60 over the mean RR interval
    qrs_ms: torch.Tensor  # (B,)
    qt_ms: torch.Tensor  # (B,)
    qtc_ms: torch.Tensor  # (B,) Bazett
    axis_deg: torch.Tensor  # (B,) -180 to 180, from net areas
    first_axis_deg: torch.Tensor  # (B,) of the first 70 ms
    onset_s: torch.Tensor  # (B, K) QRS onsets
    own: torch.Tensor  # (B, K) bool, of the dominant shape
    beat_ms: torch.Tensor  # (B, K) QRS duration of each beat of another shape, NaN for own ones
    p_onset_s: torch.Tensor  # (B, Kp) P onsets
    pr_s: torch.Tensor  # (B, K) from the last P onset after the QRS before, to each QRS onset
    usual_p: torch.Tensor  # (B, K) bool, the usual P at the usual distance goes before this beat
    p_count: torch.Tensor  # (B, K) P waves since the beat before
    linked: torch.Tensor  # (B,) share of own beats with the usual P
    pr_ms: torch.Tensor  # (B,) of the median beat, NaN without a P there
    p_ms: torch.Tensor  # (B,)
    p_mv: torch.Tensor  # (B, 12)
    p_top_mv: torch.Tensor  # (B, 12) at the largest hump
    p_terminal_mv: torch.Tensor  # (B,) in V1
    p_terminal_ms: torch.Tensor  # (B,) in V1
    pr_segment_mv: torch.Tensor  # (B, 12) against the P onset
    flutter_hz: torch.Tensor  # (B,)
    spike: torch.Tensor  # (B,) share of beats just after a spike
    q_mv: torch.Tensor  # (B, 12) also of a QS
    q_ms: torch.Tensor  # (B, 12)
    r_mv: torch.Tensor  # (B, 12)
    r_ms: torch.Tensor  # (B, 12)
    s_mv: torch.Tensor  # (B, 12)
    s_ms: torch.Tensor  # (B, 12)
    r2_mv: torch.Tensor  # (B, 12) R'
    r2_ms: torch.Tensor  # (B, 12)
    r_at_ms: torch.Tensor  # (B, 12) from QRS onset to the top of R
    late_mv: torch.Tensor  # (B, 12) mean of the last quarter of the complex
    high_mv: torch.Tensor  # (B, 12) top of the complex
    low_mv: torch.Tensor  # (B, 12) bottom of the complex
    delta_ms: torch.Tensor  # (B,) from QRS onset until the spatial velocity reaches 60% of its maximum
    notch_mv: torch.Tensor  # (B, 12) notch at the end of R
    j_mv: torch.Tensor  # (B, 12) at J, against the QRS onset
    st_mv: torch.Tensor  # (B, 12) at J + 20 ms
    st60_mv: torch.Tensor  # (B, 12) at J + 60 ms
    t_mv: torch.Tensor  # (B, 12)
    t_half_ms: torch.Tensor  # (B,) width of T at half height
    u_mv: torch.Tensor  # (B, 12)

    def __len__(self) -> int:
        return len(self.rate_bpm)

    def __getitem__(self, rows) -> "Measured":
        """The records at these rows."""
        return Measured(**{key: value[rows] for key, value in vars(self).items()})

    def lead(self, key: str, *names: str) -> torch.Tensor:
        """The columns of these leads: (B, len(names)), or (B,) for one."""
        columns = getattr(self, key)[:, [LEADS.index(name) for name in names]]
        return columns[:, 0] if len(names) == 1 else columns


def measure_signal(signal: torch.Tensor, hz: float = 500) -> Measured:
    """Delineate clean records: (B, 12, L) mV at 500 Hz or so -> Measured.

    Meant for noise-free signals: thresholds sit close above zero. Raises BadECG when the leads are not twelve or the
    sampling rate is under 250 Hz.
    """
    if signal.dim() != 3 or signal.shape[1] != 12:
        raise BadECG(f"Expected signals (B, 12, L), got {tuple(signal.shape)}: give all twelve leads.")
    if not signal.isfinite().all():
        raise BadECG("A signal holds NaN or infinity: give finite values in mV.")
    if hz < 250:
        raise BadECG(f"Waves are delineated at 250 Hz or more, not at {hz:g}: simulate at a higher rate.")
    rows = [_one(record.astype(np.float64), hz) for record in signal.detach().cpu().numpy()]
    return Measured(**{key: _stack([row[key] for row in rows]) for key in Measured.__dataclass_fields__})


def _stack(values: list) -> torch.Tensor:
    """Rows of one length stacked, of several lengths filled up with NaN (False for bools)."""
    arrays = [np.asarray(value) for value in values]
    if arrays[0].ndim == 0:
        return torch.tensor(np.array(arrays), dtype=torch.float32)
    longest = max(len(a) for a in arrays)
    if arrays[0].dtype == bool:
        return torch.tensor(np.stack([np.pad(a, (0, longest - len(a))) for a in arrays]))
    filled = [np.pad(a.astype(np.float32), (0, longest - len(a)), constant_values=np.nan) for a in arrays]
    return torch.tensor(np.stack(filled))


def _one(signal: np.ndarray, hz: float) -> dict:
    """All measures of one record (12, L)."""
    velocity = speed(signal, hz)
    beats = find_beats(signal, velocity, hz)
    spike, signal = _without_spikes(signal, velocity, beats, hz)
    if spike > 0.5:
        velocity = speed(signal, hz)
        beats = find_beats(signal, velocity, hz)
    fast = speed(beats.beat, hz)
    ground = np.median(signal, axis=1)
    onset, offset = qrs_bounds(beats.beat, fast, beats.centre, hz, ground)
    notch, begin = j_notch(beats.beat, onset, offset, hz)
    if (notch >= 0.08).sum() >= 2:
        offset = min(offset, begin)
    out = {"spike": spike, "notch_mv": notch} | _complex(beats.beat, fast, onset, offset, hz)
    out |= _intervals(signal, beats, onset, offset, hz)
    return out


def _without_spikes(signal: np.ndarray, velocity: np.ndarray, beats: Beats, hz: float) -> tuple[float, np.ndarray]:
    """Share of beats that follow a spike within 70 ms, and the signal (12, L) without spikes.

    A spike is over within 40 ms, quiet lies on both sides, and nothing of the heart is as sharp.
    """
    smooth = uniform_filter1d(velocity, round(0.01 * hz))
    aside = round(0.020 * hz)
    peaks = find_peaks(smooth, height=0.25 * smooth.max(), distance=round(0.03 * hz))[0]
    peaks = peaks[(peaks >= aside) & (peaks < len(smooth) - aside)]
    alone = (smooth[peaks - aside] < 0.15 * smooth[peaks]) & (smooth[peaks + aside] < 0.30 * smooth[peaks])
    spikes = peaks[alone & (sharpness(signal, velocity, hz)[peaks] > 170)]
    gap = beats.place[:, None] - spikes[None]  # (K, S)
    share = float(((gap > -0.03 * hz) & (gap < 0.11 * hz)).any(1).mean()) if len(spikes) else 0.0
    if share <= 0.5:
        return share, signal
    clean, reach = signal.copy(), round(0.016 * hz)
    for spike in spikes:
        a, b = spike - reach, spike + reach
        clean[:, a:b] = np.linspace(signal[:, a], signal[:, min(b, signal.shape[1] - 1)], b - a).T
    return share, clean


def _complex(beat: np.ndarray, velocity: np.ndarray, onset: int, offset: int, hz: float) -> dict:
    """Measures of the QRS complex and of ST on the median beat (12, N)."""
    level = beat[:, onset : onset + 1]
    qrs = (beat - level)[:, onset : offset + 1]  # (12, n)
    parts = [deflections(lead, hz) for lead in qrs]
    out = {key: np.array([part[key] for part in parts]) for key in parts[0]}
    fast = velocity[onset : offset + 1]

    def at(ms):
        return (beat - level)[:, min(offset + round(ms * hz / 1000), beat.shape[1] - 1)]

    return out | {
        "qrs_ms": 1000 * (offset - onset) / hz,
        "axis_deg": _axis(qrs),
        "first_axis_deg": _axis(qrs[:, : round(0.07 * hz)]),
        "late_mv": qrs[:, -max(len(fast) // 4, 1) :].mean(1),
        "high_mv": qrs.max(1),
        "low_mv": qrs.min(1),
        "delta_ms": 1000 * int((fast > 0.6 * fast.max()).argmax()) / hz,
        "j_mv": at(0),
        "st_mv": at(20),
        "st60_mv": at(60),
    }


def _axis(qrs: np.ndarray) -> float:
    """Frontal axis in degrees from the net areas of I and aVF: (12, n) -> -180 to 180."""
    one, foot = qrs[[LEADS.index("I"), LEADS.index("aVF")]].sum(1)
    return float(np.degrees(np.arctan2(foot * 2 / 3**0.5, one)))


def _intervals(signal: np.ndarray, beats: Beats, onset: int, offset: int, hz: float) -> dict:
    """RR, P, PR, T, U and what the atria do."""
    p, t, t_end = _p_and_t(beats, onset, offset, hz)
    rest, usable = complexes.between(signal, beats, onset, offset, t["peak"] if t else t_end, t_end, hz)
    starts = beats.place - beats.centre + onset
    linked = complexes.linked(signal, starts, beats.own, onset - p["begin"], hz) if p else np.zeros(len(starts), bool)
    share = linked[beats.own].mean() if beats.own.any() else 0.0
    steady = (onset, p) if p and share > 0.7 else None
    found = complexes.p_onsets(complexes.p_waves(rest, usable, hz), starts, linked, steady, t_end - onset, hz)
    found = found[(found >= 0) & (found < signal.shape[1])]
    inside = (starts >= 0) & (starts < signal.shape[1])
    rate = 60 * hz * (inside.sum() - 1) / max(np.ptp(starts[inside]), 1) if inside.sum() > 1 else np.nan
    out = {
        "rate_bpm": rate,
        "onset_s": starts / hz,
        "own": beats.own,
        "beat_ms": _ectopic_ms(signal, beats, hz),
        "p_onset_s": found / hz,
        "pr_s": complexes.pr(starts, found, hz),
        "p_count": np.array([((found < b) & (found > a)).sum() for a, b in zip(np.r_[-np.inf, starts[:-1]], starts)]),
        "usual_p": linked,
        "linked": share,
        "flutter_hz": complexes.flutter_rate(signal, usable, hz),
    }
    return out | _p_measures(p, onset, hz) | _t_measures(t, onset, rate, hz)


def _p_and_t(beats: Beats, onset: int, offset: int, hz: float) -> tuple[dict | None, dict | None, int]:
    """P and T of the median beat, None where there is none, and the sample where T ends or would end."""
    beat, gap = beats.beat, np.diff(beats.place).astype(float)
    after, before = gap[beats.own[:-1]], gap[beats.own[1:]]
    after = min(np.median(after) if len(after) else 0.8 * hz, 1.3 * hz)
    before = min(np.median(before) if len(before) else 0.8 * hz, 1.3 * hz)
    latest = min(int(onset + 0.93 * after), beat.shape[1] - 1)
    t = t_wave(beat, onset, offset, latest, after / hz, hz)
    bare, earliest, least = beat, 0, np.full(beat.shape[1], FAINT)
    if t and before - (t["rest"] - onset) < PR_LONGEST * hz:
        bare, earliest = without_t(beat, onset, t, int(before), hz)
        fast = before < 0.6 * hz
        least[:] = max(5 * FAINT, 0.05 * t["size"]) if fast else max(FAINT, 0.012 * t["size"])  # the fit's rest is no P
        if fast:
            least[: round(t["end"] - before + 0.06 * hz)] = max(FAINT, 0.08 * t["size"])
    p = p_wave(bare, onset, max(onset - round(PR_LONGEST * hz), earliest), hz, least)
    return p, t, t["end"] if t else min(offset + round(0.1 * hz), latest)


def _p_measures(p: dict | None, onset: int, hz: float) -> dict:
    none = np.full(12, np.nan)
    return {
        "pr_ms": 1000 * (onset - p["begin"]) / hz if p else np.nan,
        "p_ms": 1000 * (p["end"] - p["begin"]) / hz if p else np.nan,
        "p_mv": p["mv"] if p else none,
        "p_top_mv": p["top_mv"] if p else none,
        "p_terminal_mv": p["terminal_mv"] if p else np.nan,
        "p_terminal_ms": p["terminal_ms"] if p else np.nan,
        "pr_segment_mv": p["segment_mv"] if p else none,
    }


def _t_measures(t: dict | None, onset: int, rate: float, hz: float) -> dict:
    none, qt = np.full(12, np.nan), 1000 * (t["end"] - onset) / hz if t else np.nan
    return {
        "qt_ms": qt,
        "qtc_ms": qt / np.sqrt(60 / rate),
        "t_mv": t["mv"] if t else none,
        "t_half_ms": t["half_ms"] if t else np.nan,
        "u_mv": t["u_mv"] if t else none,
    }


def _ectopic_ms(signal: np.ndarray, beats: Beats, hz: float) -> np.ndarray:
    """QRS durations of the beats that are not of the dominant shape: (K,) ms, NaN elsewhere and at the ends."""
    out, reach = np.full(len(beats.place), np.nan), round(0.24 * hz)
    for k in np.flatnonzero(~beats.own):
        place = beats.place[k]
        if reach <= place < signal.shape[1] - reach:
            part = signal[:, place - reach : place + reach]
            onset, offset = qrs_bounds(part, speed(part, hz), reach, hz)
            out[k] = 1000 * (offset - onset) / hz
    return out
