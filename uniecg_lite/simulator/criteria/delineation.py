"""What do the waves of one clean beat measure? Onsets from the spatial velocity, amplitudes lead by lead."""

import numpy as np
from scipy.ndimage import uniform_filter1d
from scipy.signal import find_peaks

from .complexes import INDEPENDENT, speed

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


def qrs_bounds(beat: np.ndarray, velocity: np.ndarray, centre: int, hz: float, ground=np.inf) -> tuple[int, int]:
    """Onset and offset (samples) of the complex around `centre`, from a beat (12, N) and its spatial velocity (N,).

    A slurred start may rest for a moment above the base line: then, given the base line (12,) in mV, the onset lies
    before it.
    """
    first, last = centre - round(0.09 * hz), centre + round(0.09 * hz)
    near = velocity[first:last]
    top, hold = near.max(), round(0.008 * hz)
    bend = np.gradient(np.gradient(beat[:, first:last], axis=1), axis=1)
    bend = uniform_filter1d(np.sqrt((bend**2).sum(0)), round(0.012 * hz)) * hz**2 / 1e6
    fast = np.flatnonzero((near > 0.3 * top) | (near > QRS) & (bend > BEND))  # T is not bent like this
    begin = first + int(np.flatnonzero(near > 0.25 * top)[0])
    end = first + _run_end(fast, int(near.argmax()), round(0.036 * hz))
    onset = quiet(velocity, begin, -1, max(0.05 * top, ONSET), hold, max(begin - round(0.11 * hz), 0))
    slur = max(onset - round(0.065 * hz), 0)
    moving = np.flatnonzero(velocity[slur:onset] > max(0.05 * top, ONSET)) + slur
    short = len(moving) and moving[0] > slur + hold and moving[-1] > onset - round(0.03 * hz)
    above, below = (np.abs(beat[:, place] - ground).max() for place in (onset, slur))
    if short and above > 0.08 and below < 0.6 * above:  # something short goes before, and before that there is rest
        onset = int(moving[0])
    offset = quiet(velocity, end, 1, max(0.08 * top, min(OFFSET, 0.2 * top)), hold, end + round(0.07 * hz))
    return onset, offset


def _run_end(places: np.ndarray, start: int, gap: int) -> int:
    """How far `places`, in order, go on from `start` in steps of at most `gap`."""
    for place in places[places > start]:
        start = place if place - start <= gap else start
    return int(start)


def deflections(qrs: np.ndarray, hz: float) -> dict[str, float]:
    """Q, R and S of one lead's complex (n,) above its own onset level: mV and ms, 0 where there is none.

    A complex without R is a QS: its depth and duration are those of Q and of S.
    """
    there = np.flatnonzero(np.abs(qrs) > REAL)
    runs = np.split(there, np.flatnonzero(np.diff(qrs[there] > 0)) + 1)
    parts = [qrs[run[0] : run[-1] + 1] for run in runs if len(run)]  # of one sign each, in turn
    first = next((k for k, part in enumerate(parts) if part[0] > 0), None)  # the first R
    groups = {"q": parts[:first], "r": [], "s": parts}
    if first is not None:
        groups |= {"r": parts[first : first + 1], "s": parts[first + 1 :: 2]}
    out = {"r_at_ms": 0.0 if first is None else 1000 * float(qrs.argmax()) / hz}
    for name, group in groups.items():
        out[name + "_mv"] = float(max(np.concatenate([*group, [0.0]]), key=abs))
        out[name + "_ms"] = 1000 * sum(map(len, group)) / hz
    return out


def j_notch(beat: np.ndarray, onset: int, offset: int, hz: float) -> tuple[np.ndarray, int]:
    """A notch on the last part of R, entirely above the onset level (Macfarlane et al., JACC 66:470, 2015).

    Takes a beat (12, N) mV and the bounds of its complex. Returns the height of the notch in each lead, (12,) mV, 0
    where there is none, and where the tallest one begins (samples; -1 without any).
    """
    height, begin = np.zeros(12), -1
    if offset - onset > 0.14 * hz:
        return height, begin
    span = beat[:, onset : offset + round(0.02 * hz)] - beat[:, onset : onset + 1]
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

    Returns begin and peak (samples), and what `Measured` says of P and PR, its PR segment being that where II is
    lowest; None where no hump rises by what `least` (N,) asks for there in mV.
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
        "peak": earliest + int(main),
        "pr_ms": 1000 * (onset - begin) / hz,
        "p_ms": 1000 * (end - begin) / hz,
        "p_mv": peak,
        "p_top_mv": (beat - level)[:, earliest + main],
        "p_terminal_mv": min(0.0, float(v1[len(v1) // 3 :].min())),
        "p_terminal_ms": 1000 * late.sum() / hz,
        "pr_segment_mv": segment,
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
    the base line), the size over all leads (mV), and what `Measured` says of QT, T and U: the signed amplitude of T in
    each lead, the width at half height of the whole, and U, 0 without one.
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
        "qt_ms": 1000 * (end - onset) / hz,
        "t_mv": peak,
        "t_half_ms": 1000 * half.sum() / hz,
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
