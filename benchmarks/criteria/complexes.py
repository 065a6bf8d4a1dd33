"""Where are QRS complexes, P waves and flutter on a clean signal? Found without the simulator.

First the beats: where they are, which are alike, and what the usual one looks like. Then what the atria do between the
complexes: P waves wherever they lie, flutter, or nothing.
"""

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.ndimage import uniform_filter1d
from scipy.signal import find_peaks

from uniecg_lite.errors import require
from uniecg_lite.leads import ROWS as INDEPENDENT

BEFORE, AFTER = 0.50, 0.75  # s of the representative beat before and after its reference point
ALIKE = 0.83  # correlation of two complexes over all leads above which they have one shape
ALIKE_P = 0.85  # correlation with the usual P above which a beat has that P
STRETCHES = np.arange(0.82, 1.16, 0.01)  # of the ST-T of one beat against the median beat's
SHARP = 36.0  # 1/s; below it a deflection is a T wave: those have 5 to 30, ventricular complexes over 40
LARGE = 0.6  # mV in some lead; below it a second deflection in an RR interval is atrial


@dataclass
class Beats:
    """The beats of one record, in order. Positions are samples."""

    place: np.ndarray  # (K,) reference point, the same place of the complex in all beats of one shape
    own: np.ndarray  # (K,) bool, of the dominant shape
    beat: np.ndarray  # (12, N) mV, median of the dominant beats
    centre: int  # the reference point in `beat`


def speed(signal: np.ndarray, hz: float) -> np.ndarray:
    """Spatial velocity: the root sum of squares of all leads' slopes, (..., 12, L) mV -> (..., L) mV/ms."""
    slope = np.gradient(signal, axis=-1) * (hz / 1000)
    return np.sqrt(np.einsum("...cl,...cl->...l", slope, slope))


def complexes(signal: np.ndarray, velocity: np.ndarray, hz: float) -> tuple[np.ndarray, np.ndarray]:
    """QRS complexes of one record, (12, L) and its spatial velocity (L,) -> (K,) samples of the fastest 20 ms of each,
    and the sharpness of each in 1/s.

    A wide premature complex may be as slow as a tall T wave is fast, or as sharp as a flutter wave. What tells it from
    both is that it is large, sharp, and followed by a T wave of its own.
    """
    smooth = uniform_filter1d(velocity, round(0.02 * hz))
    window = round(1.6 * hz)
    usual = np.median([smooth[i : i + window].max() for i in range(0, len(smooth) - window // 2, window)])
    place = find_peaks(np.pad(smooth, 1), height=0.08 * usual, distance=round(0.2 * hz))[0] - 1
    require(len(place), "No QRS complex found: give records of beating hearts, in mV.")
    sharp = sharpness(signal, velocity, hz)[place]
    main = smooth[place] > 0.5 * usual
    main &= sharp > 0.7 * np.median(sharp[main & (sharp >= np.median(sharp[main]))])
    large = np.abs(signal - np.median(signal, axis=1, keepdims=True)).max(0)
    since = place - np.maximum.accumulate(np.where(main, place, -len(large)))  # samples since the last main complex
    keep = main.copy()
    for k in np.flatnonzero(~main & (sharp > SHARP) & (since > 0.26 * hz)):
        own_t = _has_own_t(large, place[k], place[sharp > SHARP], hz)
        keep[k] = own_t and _follows_t(large, place[k] - since[k], place[k], hz)
    return place[keep], sharp[keep]


def sharpness(signal: np.ndarray, velocity: np.ndarray, hz: float) -> np.ndarray:
    """Acceleration over velocity within 80 ms: (L,) in 1/s; about 1 over the standard deviation of a wave."""
    acceleration = np.gradient(np.gradient(signal, axis=1), axis=1) * (hz**2 / 1000)  # (12, L)
    n = round(0.08 * hz)
    above, below = uniform_filter1d((acceleration**2).sum(0), n), uniform_filter1d(velocity**2, n)
    return np.sqrt(np.clip(above, 0, None) / np.clip(below, 1e-10, None))


def _has_own_t(size: np.ndarray, place: int, others: np.ndarray, hz: float) -> bool:
    """Is this deflection large, and is there a T wave between it and the next sharp one?"""
    here = size[max(0, place - round(0.06 * hz)) : place + round(0.08 * hz)].max()
    later = others[others > place]
    end = min(later[0] - round(0.09 * hz) if len(later) else len(size), place + round(0.45 * hz))
    after = size[place + round(0.16 * hz) : end]
    return here > LARGE and len(after) > 0 and after.max() > 0.18 * here


def _follows_t(size: np.ndarray, main: int, place: int, hz: float) -> bool:
    """Is there a T wave between the last complex and this deflection, which may be that T wave itself?"""
    part = size[max(main + round(0.12 * hz), 0) : place - round(0.10 * hz)]
    falls = len(part) > 2 and (len(find_peaks(part, prominence=0.02)[0]) > 0 or part[-1] < 0.5 * part.max())
    return main < 0 or falls


def _cut(signal: np.ndarray, places: np.ndarray, before: int, after: int, **fill) -> np.ndarray:
    """The samples about each place: (C, L), (K,) -> (K, C, before + after); `fill` says what lies beyond the ends."""
    padded = np.pad(signal, ((0, 0), (before, after)), **fill)
    return np.stack([padded[:, place : place + before + after] for place in places])


def _correlation(cut: np.ndarray, model: np.ndarray) -> np.ndarray:
    """(K, C, n) and (C, n) -> (K,), over all leads."""
    return (cut * model).sum((1, 2)) / (np.linalg.norm(cut, axis=(1, 2)) * np.linalg.norm(model) + 1e-9)


def find_beats(signal: np.ndarray, velocity: np.ndarray, hz: float) -> Beats:
    """The beats of one clean record (12, L), and the representative one: the median of those of the dominant shape.

    Beats that an end of the record cuts count for the median only where there are fewer than three others.
    """
    peaks, sharp = complexes(signal, velocity, hz)
    reach = round(0.10 * hz)
    for _ in range(2):  # to the centre of the energy within 100 ms to either side
        near = _cut(velocity[None] ** 2, peaks, reach, reach + 1)[:, 0]  # (K, 2 reach + 1)
        centre = (near * np.arange(-reach, reach + 1)).sum(1) / near.sum(1)
        peaks = np.clip(peaks + np.rint(centre).astype(int), 0, len(velocity) - 1)
    group, shift = _groups(signal[INDEPENDENT], peaks, hz)
    sizes = np.bincount(group)
    largest = np.flatnonzero(sizes >= 0.7 * sizes.max())
    dominant = max(largest, key=lambda g: np.median(sharp[group == g]))  # in bigeminy the narrow ones
    place, own = np.clip(peaks + shift, 0, signal.shape[1] - 1), group == dominant
    stack = _cut(signal, place[own], round(BEFORE * hz), round(AFTER * hz), constant_values=np.nan)  # (K, 12, N)
    inside = ~np.isnan(stack[:, 0]).any(1)
    beat = np.nanmedian(stack[inside] if inside.sum() >= 3 else stack, axis=0)
    return Beats(place, own, np.nan_to_num(beat), round(BEFORE * hz))


def _groups(signal: np.ndarray, peaks: np.ndarray, hz: float) -> tuple[np.ndarray, np.ndarray]:
    """Group complexes by shape: (8, L), (K,) -> group numbers (K,) and the shift (K,) that lays each on its group."""
    before, length, play = round(0.08 * hz), round(0.19 * hz), round(0.04 * hz)
    wide = _cut(signal, peaks, before + play, length + play - before, mode="edge")
    wide = wide - wide.mean(-1, keepdims=True)  # (K, 8, length + 2 play)
    windows = sliding_window_view(wide, length, axis=-1)  # (K, 8, lags, length)
    size = np.sqrt((windows**2).sum((1, 3)))  # (K, lags)
    group, shift = np.full(len(peaks), -1), np.zeros(len(peaks), dtype=int)
    while (group < 0).any():
        rest = np.flatnonzero(group < 0)
        model = windows[rest[len(rest) // 2], :, play]  # (8, length)
        norm = np.linalg.norm(model)
        cross = np.einsum("kclt,ct->kl", windows[rest], model) / (size[rest] * norm + 1e-9)
        best = cross.argmax(1)
        ratio = size[rest, best] / norm
        alike = (cross.max(1) > ALIKE) & (ratio > 0.6) & (ratio < 1.7)
        alike[len(rest) // 2] = True
        group[rest[alike]], shift[rest[alike]] = group.max() + 1, best[alike] - play
    return group, shift


def between(signal: np.ndarray, beats, onset: int, offset: int, t_top: int, t_end: int, hz: float):
    """The signal with each own beat's ST-T taken off: (12, L) -> (12, L) mV and a mask (L,) of what can be judged.

    Bounds are samples of the median beat; past its end T falls on as a Gaussian does. Complexes, all of an ectopic
    beat, and the T wave of a beat before the record are masked out.
    """
    rest, length = signal.copy(), signal.shape[1]
    usable, qrs, fade = np.ones(length, bool), offset - onset, round(0.05 * hz)
    model = (beats.beat - beats.beat[:, onset : onset + 1])[:, offset:t_end]
    model = np.pad(model, ((0, 0), (0, fade)), mode="edge")
    past = 2 + np.arange(1, fade + 1) / max((t_end - t_top) / 2, 0.01 * hz)  # in standard deviations from the top
    model[:, -fade:] *= np.exp(2 - 0.5 * past**2)
    starts = beats.place - beats.centre + onset
    gap = int(np.quantile(np.diff(starts), 0.25)) if len(starts) > 1 else length
    usable[: max(starts[0] - gap + t_end - onset + fade, 0)] = False
    for start, own in zip(starts, beats.own):
        before, after = (0.006, qrs / hz + 0.016) if own else (0.04, 0.46)
        usable[max(start - round(before * hz), 0) : max(start + round(after * hz), 0)] = False
        if own and start + qrs < 0:
            usable[: max(start + qrs + model.shape[1], 0)] = False
        elif own and start + qrs < length:
            part = _stretched(signal[:, start + qrs :] - signal[:, max(start, 0), None], model, qrs)
            rest[:, start + qrs : start + qrs + part.shape[1]] -= part
    return rest, usable


def _stretched(signal: np.ndarray, model: np.ndarray, qrs: int) -> np.ndarray:
    """The model (12, n) stretched in time, and a little in height, to fit a signal (12, N). From QRS onset.

    ST-T follows the rate in time; in height each lead follows breathing.
    """
    n, coarse, eight = model.shape[1], signal[INDEPENDENT, ::8], model[INDEPENDENT]
    places = [(np.arange(int((n + qrs) * stretch) - qrs) + qrs) / stretch - qrs for stretch in STRETCHES]
    takes = [np.clip(np.rint(place), 0, n - 1).astype(int)[: signal.shape[1]] for place in places]
    best = min(takes, key=lambda take: np.abs(coarse[:, : len(take[::8])] - eight[:, take[::8]]).mean())
    part = model[:, best]
    whole = signal[:, : part.shape[1]]
    size = (whole * part[:, : whole.shape[1]]).sum(1) / np.square(part[:, : whole.shape[1]]).sum(1).clip(min=1e-6)
    return part * size.clip(0.85, 1.15)[:, None]


def p_waves(rest: np.ndarray, usable: np.ndarray, hz: float, least: float = 0.03) -> np.ndarray:
    """Humps of the atria outside the complexes: (12, L), (L,) -> their places (Kp,) in samples."""
    level = np.median(rest[:, usable], axis=1, keepdims=True)
    wave = np.where(usable, rest - level, 0)[INDEPENDENT]
    size = uniform_filter1d(np.sqrt((wave**2).mean(0)), round(0.03 * hz))
    places, about = find_peaks(size, height=least / 3, distance=round(0.22 * hz), prominence=0.005)
    heights = about["peak_heights"]
    if len(places) < 3:
        return places[heights > least / 2]
    usual = np.quantile(heights, 0.7)
    places = places[(heights > 0.65 * usual) & (heights < 2 * usual)]
    if len(places) < 3:
        return places
    cut = _cut(wave, places, round(0.05 * hz), round(0.05 * hz))  # (Kp, 8, n)
    return places[_correlation(cut, np.median(cut, axis=0)) > 0.6]


def flutter_rate(signal: np.ndarray, usable: np.ndarray, hz: float) -> float:
    """Rate in Hz of a sawtooth that goes on without rest at 3.8 to 6.2 Hz, NaN without one.

    Takes the record (12, L) and the mask (L,) outside the complexes. Three things make it flutter: the leads never
    rest for 60 ms, each wave is like the one before, and one frequency holds most of the power between 3 and 8 Hz.
    """
    if np.quantile(uniform_filter1d(speed(signal, hz), round(0.06 * hz))[usable], 0.05) < 0.0043:
        return np.nan
    x = signal[[1, 5, 6]] - np.median(signal[[1, 5, 6]], axis=1, keepdims=True)  # II, aVF, V1
    time = np.arange(x.shape[1])
    x = np.stack([np.interp(time, time[usable], lead[usable]) for lead in x])
    power = (np.abs(np.fft.rfft(x * np.hanning(len(time)))) ** 2).sum(0)
    frequency = np.fft.rfftfreq(len(time), 1 / hz)
    band = np.flatnonzero((frequency > 3.8) & (frequency < 6.2))
    top = band[power[band].argmax()]
    share = power[top - 2 : top + 3].sum() / power[(frequency > 3) & (frequency < 8)].sum()
    lag = round(hz / frequency[top])
    both = usable[lag:] & usable[:-lag]
    now, then = x[:, lag:][:, both], x[:, :-lag][:, both]
    alike = (now * then).sum() / np.sqrt((now**2).sum() * (then**2).sum() + 1e-9)
    return float(frequency[top]) if share > 0.5 and share + alike > 0.77 else np.nan


def linked(signal: np.ndarray, starts: np.ndarray, own: np.ndarray, reach: int, hz: float) -> np.ndarray:
    """Which own beats have the usual P at the usual distance: (K,) bool. The usual P is the median of their windows.

    Takes the record (12, L), QRS onsets (K,) and the distance of the P onset in samples.
    """
    before = reach + round(0.01 * hz)
    inside = (starts >= before) & (starts <= signal.shape[1])
    out = own & inside
    if out.sum() < 2:
        return out
    cut = _cut(signal[INDEPENDENT], starts[out], before, 0)[..., :-2]  # (k, 8, n)
    cut = cut - cut.mean(-1, keepdims=True)
    out[out] = _correlation(cut, np.median(cut, axis=0)) > ALIKE_P
    out[own & ~inside] = out[own & inside].mean() > 0.5
    return out


def p_onsets(places: np.ndarray, starts: np.ndarray, linked: np.ndarray, steady, t_end: int, hz: float) -> np.ndarray:
    """P onsets (Kp,) in samples from the places of P waves found between the beats.

    `steady` is (QRS onset, P wave) of the median beat where nearly every beat has that P: then those P waves are where
    the median beat says, and others count when they lie after T, `t_end` samples after a QRS onset.
    """
    if steady is None:
        return places - round(0.055 * hz)
    onset, p = steady
    found, sure = places - (p["peak"] - p["begin"]), starts[linked] - (onset - p["begin"])
    since = places - np.r_[-np.inf, starts][np.searchsorted(starts, places, side="right")]
    far = (np.abs(found[:, None] - sure[None]).min(1) > 0.12 * hz) & (since > t_end)  # what is left of T is no P
    return np.sort(np.r_[sure, found[far]])
