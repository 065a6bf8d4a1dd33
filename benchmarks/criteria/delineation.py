"""What do the waves of one clean beat measure? Onsets from the spatial velocity, amplitudes lead by lead."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
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
    fast = fast[fast >= near.argmax()]
    end = first + int(fast[np.append(np.diff(fast) > round(0.036 * hz), True).argmax()])  # where it is slow for long
    onset = quiet(velocity, begin, -1, max(0.05 * top, ONSET), hold, max(begin - round(0.11 * hz), 0))
    slur = max(onset - round(0.065 * hz), 0)
    moving = np.flatnonzero(velocity[slur:onset] > max(0.05 * top, ONSET)) + slur
    short = len(moving) and moving[0] > slur + hold and moving[-1] > onset - round(0.03 * hz)
    above, below = (np.abs(beat[:, place] - ground).max() for place in (onset, slur))
    if short and above > 0.08 and below < 0.6 * above:  # something short goes before, and before that there is rest
        onset = int(moving[0])
    offset = quiet(velocity, end, 1, max(0.08 * top, min(OFFSET, 0.2 * top)), hold, end + round(0.07 * hz))
    ahead = sliding_window_view(velocity[end : end + round(0.13 * hz)], round(0.02 * hz) + 1)
    dip = end + int(((ahead[:, 0] < QRS) & (ahead[:, 0] <= ahead.min(1))).argmax())  # T begins before QRS has ended
    return onset, dip if end < dip < offset - 0.008 * hz else offset


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
    height, begin, narrow = np.zeros(12), -1, offset - onset <= 0.14 * hz
    span = beat[:, onset : offset + round(0.02 * hz)] - beat[:, onset : onset + 1]
    for lead, wave in enumerate(span if narrow else ()):
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
    gap, reach = round(0.008 * hz), round(0.05 * hz)
    if onset - earliest < reach:
        return None
    part = beat[:, earliest:onset]
    rest = np.median(part, axis=1) if onset - earliest > 0.26 * hz else part[:, -gap:].mean(1)  # most of it is level
    vectors = part - rest[:, None]  # (12, n)
    size = _size(vectors)  # (n,)
    peaks, about = find_peaks(size, prominence=least[earliest:onset])
    if not len(peaks):
        return None
    strong = peaks[about["prominences"] > 0.35 * about["prominences"].max()]
    main = strong[-1]  # U goes before it
    sunk = len(strong) > 1 and vectors[II, main] < 0 < vectors[II, strong[-2]] and main - strong[-2] < 0.16 * hz
    main = strong[-2] if sunk else main  # the last hump is a depressed PR segment
    unit = vectors / (np.linalg.norm(vectors, axis=0) + 1e-9)
    close = (np.abs(peaks - main) < 0.075 * hz) & (size[peaks] > 0.15 * size[main]) & ~(sunk & (peaks > main))
    close = peaks[close & (unit[:, main] @ unit[:, peaks] > -0.7)]
    velocity = speed(beat, hz)
    left, right = earliest + close[0], earliest + close[-1]
    before, after = velocity[max(left - reach, 0) : left], velocity[right : min(right + reach, onset)]
    begin = left - int(before[::-1].argmax())
    begin = quiet(velocity, begin, -1, 0.25 * before.max(), round(0.014 * hz), max(left - 2 * reach, 0))
    end = quiet(velocity, right + int(after.argmax()), 1, 0.25 * after.max(), 2, onset)
    above = beat - beat[:, begin : begin + 1]
    along = vectors[:, right - earliest] @ above[:, right:onset]
    end = min(end, right + int(np.append(along < 0.05 * along[0], True).argmax()))
    wave, segment = above[:, begin : end + 1], above[:, onset - reach : onset - gap // 2]
    if np.abs(wave).max() < 0.01:
        return None
    late = wave[V1, wave.shape[1] // 3 :]
    return {
        "begin": begin,
        "peak": earliest + int(main),
        "pr_ms": 1000 * (onset - begin) / hz,
        "p_ms": 1000 * (end - begin) / hz,
        "p_mv": _peak(wave),
        "p_top_mv": above[:, earliest + main],
        "p_terminal_mv": min(0.0, float(late.min())),
        "p_terminal_ms": 1000 * (late < -0.02).sum() / hz,
        "pr_segment_mv": segment[:, int(segment[II].argmin())],
    }


def _size(leads: np.ndarray) -> np.ndarray:
    """RMS over the independent ones of twelve leads: (12, n) -> (n,) mV."""
    return np.sqrt((leads[INDEPENDENT] ** 2).mean(0))


def _peak(wave: np.ndarray) -> np.ndarray:
    """The largest deflection of each lead with its sign: (12, n) -> (12,) mV."""
    return wave[np.arange(12), np.abs(wave).argmax(1)]


def without_t(beat: np.ndarray, onset: int, t: dict, gap: int, hz: float) -> tuple[np.ndarray, int]:
    """The beat (12, N) without the falling limb of the T wave of the beat `gap` samples before, and where P may begin.

    A P wave often rides on that limb. Its upper half is carried on as half a Gaussian in each lead.
    """
    top, level, time = t["peak"], beat[:, onset : onset + 1], np.arange(beat.shape[1])
    size = _size(beat - level)
    fall = size[top : t["end"]] / size[top]
    upper = np.flatnonzero((fall < 0.95) & (fall > 0.65))
    if len(upper) < 3:
        return beat, max(t["rest"] - gap, 0)
    sigma = np.sqrt((upper**2 / (-2 * np.log(fall[upper]))).mean())
    tail = np.exp(-0.5 * ((time - (top - gap)) / sigma) ** 2) * ((time >= top - gap) & (time < onset))
    first = max(top - gap + round(0.5 * sigma), t["rest"] - gap if t["rest"] > t["end"] else 0)
    return beat - (beat[:, top : top + 1] - level) * tail, max(first, 0)


def t_wave(beat: np.ndarray, onset: int, offset: int, latest: int, rr: float, hz: float) -> dict | None:
    """The T wave and what follows it: (12, N) mV, the bounds of the complex, the last sample that may hold it, RR in s.

    Returns peak, end and rest, the end of both (samples; T ends where the steepest tangent of its falling limb meets
    the base line), the size over all leads (mV), and what `Measured` says of QT, T and U: the signed amplitude of T in
    each lead, the width at half height of the whole, and U, 0 without one.
    """
    above = beat - beat[:, onset : onset + 1]
    size, first = _size(above), offset + round(0.01 * hz)  # (N,)
    if latest - first < 0.06 * hz:
        return None
    part = uniform_filter1d(size, 3)[first:latest]
    peaks = find_peaks(part, prominence=0.004)[0]
    peaks = first + (peaks if len(peaks) else np.array([part.argmax()]))
    typical = 0.39 * rr**0.45 * hz  # samples from QRS onset to T end
    z = ((peaks - onset) / typical - 0.78) / 0.25
    top = int(peaks[(size[peaks] * np.exp(-0.5 * z * z)).argmax()])  # of several humps a large and timely one
    before = peaks[(top - peaks > 0.09 * hz) & (top - peaks < 0.24 * hz)]
    if len(before) and top - onset > 0.95 * typical and before[-1] - onset > 0.5 * typical:
        top = int(before[-1])  # what follows T late and outgrows it is U
    later = peaks[peaks > top + 0.06 * hz]
    stop = top + int(size[top : later[0]].argmin()) if len(later) else latest
    fall = -np.gradient(size[top : max(stop, top + 3)])
    steepest = top + int(fall.argmax())
    end = int(round(min(steepest + size[steepest] / max(fall.max(), 1e-6), latest)))
    u, rest = np.zeros(12), end
    if len(later) and later[0] - onset < 1.45 * typical and later[0] - top < 0.24 * hz:
        u = above[:, later[0]]
        rest = later[0] + round(0.07 * hz) if size[later[0]] > 0.7 * size[top] else end
    return {
        "peak": top,
        "end": end,
        "rest": int(rest),
        "size": float(size[top]),
        "qt_ms": 1000 * (end - onset) / hz,
        "t_mv": _peak(above[:, max(top - round(0.06 * hz), offset + (end - offset) // 4) : end]),
        "t_half_ms": 1000 * (size[offset:end] > 0.5 * size[top]).sum() / hz,
        "u_mv": u,
    }
