"""What do the atria do between the complexes? P waves wherever they lie, flutter, or nothing."""

import numpy as np
from scipy.ndimage import uniform_filter1d
from scipy.signal import find_peaks

from .beats import INDEPENDENT, speed

ALIKE_P = 0.85  # correlation with the usual P above which a beat has that P
STRETCHES = np.arange(0.82, 1.16, 0.01)  # of the ST-T of one beat against the median beat's


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
    """The model (12, n) stretched in time to fit a signal (12, N): ST-T follows the rate. From QRS onset."""
    n, coarse, eight = model.shape[1], signal[INDEPENDENT, ::8], model[INDEPENDENT]
    best, cost = None, np.inf
    for stretch in STRETCHES:
        place = (np.arange(int((n + qrs) * stretch) - qrs) + qrs) / stretch - qrs
        take = np.clip(np.rint(place), 0, n - 1).astype(int)[: signal.shape[1]]
        error = np.abs(coarse[:, : len(take[::8])] - eight[:, take[::8]]).mean()
        if error < cost:
            best, cost = take, error
    return model[:, best]


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
    places = places[(heights > 0.55 * usual) & (heights < 2 * usual)]
    if len(places) < 3:
        return places
    reach = round(0.05 * hz)
    padded = np.pad(wave, ((0, 0), (reach, reach)))
    cut = np.stack([padded[:, p : p + 2 * reach] for p in places])  # (Kp, 8, n)
    usual = np.median(cut, axis=0)
    alike = (cut * usual).sum((1, 2)) / (np.linalg.norm(cut, axis=(1, 2)) * np.linalg.norm(usual) + 1e-9)
    return places[alike > 0.6]


def flutter_rate(signal: np.ndarray, usable: np.ndarray, hz: float) -> float:
    """Rate in Hz of a sawtooth that goes on without rest at 3.8 to 6.2 Hz, NaN without one.

    Takes the record (12, L) and the mask (L,) outside the complexes. Three things make it flutter: the leads never
    rest for 60 ms, each wave is like the one before, and one frequency holds most of the power between 3 and 8 Hz.
    """
    velocity = speed(signal, hz)
    if np.quantile(uniform_filter1d(velocity, round(0.06 * hz))[usable], 0.05) < 0.0043:
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
    leads, before = signal[INDEPENDENT], reach + round(0.01 * hz)
    rows = np.flatnonzero(own & (starts >= before) & (starts <= signal.shape[1]))
    out = np.zeros(len(starts), bool)
    if len(rows) < 2:
        out[rows] = True
        return out
    cut = np.stack([leads[:, starts[k] - before : starts[k] - 2] for k in rows])  # (k, 8, n)
    cut = cut - cut.mean(-1, keepdims=True)
    model = np.median(cut, axis=0)
    cross = (cut * model).sum((1, 2)) / (np.linalg.norm(cut, axis=(1, 2)) * np.linalg.norm(model) + 1e-12)
    out[rows] = cross > ALIKE_P
    edge = np.flatnonzero(own & ~((starts >= before) & (starts <= signal.shape[1])))
    out[edge] = out[rows].mean() > 0.5
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
    far = np.abs(found[:, None] - sure[None]).min(1) > 0.12 * hz
    last = np.searchsorted(starts, places, side="right") - 1
    far &= (last < 0) | (places - starts[last] > t_end)  # what is left of T is no P
    return np.sort(np.r_[sure, found[far]])


def pr(starts: np.ndarray, found: np.ndarray, hz: float) -> np.ndarray:
    """From the last P onset after the QRS before to each QRS onset: (K,) s, NaN without."""
    out = np.full(len(starts), np.nan)
    for k, start in enumerate(starts):
        low = starts[k - 1] if k else -np.inf
        near = found[(found < start - 0.03 * hz) & (found > low)]
        if len(near):
            out[k] = (start - near[-1]) / hz
    return out
