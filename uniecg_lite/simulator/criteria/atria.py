"""What do the atria do between the complexes? P waves wherever they lie, flutter, or nothing."""

import numpy as np
from scipy.ndimage import uniform_filter1d
from scipy.signal import find_peaks

from .beats import INDEPENDENT, speed

STRETCHES = np.arange(0.82, 1.16, 0.03)  # of the ST-T of one beat against the median beat's


def between(signal: np.ndarray, beats, onset: int, offset: int, t_end: int, hz: float):
    """The signal with each own beat's ST-T taken off: (12, L) -> (12, L) mV and a mask (L,) of what can be judged.

    Bounds are samples of the median beat. ST-T follows the rate, so that of each beat is stretched to fit best.
    Complexes, and all of an ectopic beat, are masked out.
    """
    rest, usable = signal.copy(), np.ones(signal.shape[1], bool)
    length = signal.shape[1]
    base = beats.beat[:, onset : onset + 1]
    model = (beats.beat - base)[:, offset:t_end]
    fade = np.ones(model.shape[1] + round(0.05 * hz))
    tail = round(0.05 * hz)
    model = np.pad(model, ((0, 0), (0, tail)), mode="edge")
    fade[-tail:] = 0.5 + 0.5 * np.cos(np.linspace(0, np.pi, tail))
    model = model * fade
    n, eight = model.shape[1], model[INDEPENDENT]
    shift = offset - onset
    starts = beats.place - beats.centre + onset
    gap = int(np.quantile(np.diff(starts), 0.25)) if len(starts) > 1 else length
    usable[: max(starts[0] - gap + t_end - onset + tail, 0)] = False  # the T wave of a beat before the record
    for place, own in zip(beats.place, beats.own):
        first = place - beats.centre + onset
        if not own:
            usable[max(first - round(0.04 * hz), 0) : max(first + round(0.46 * hz), 0)] = False
            continue
        usable[max(first - round(0.006 * hz), 0) : max(first + shift + round(0.016 * hz), 0)] = False
        a = first + shift
        if a < 0 or a >= length:
            usable[: max(min(a + n, length), 0)] &= a >= 0
            continue
        level = signal[:, max(first, 0) : max(first, 0) + 1]
        best, cost = None, np.inf
        coarse = signal[:, a : a + int(1.2 * (n + shift)) : 8][INDEPENDENT] - level[INDEPENDENT]
        for stretch in STRETCHES:
            take = np.clip(
                np.rint((np.arange(0, int((n + shift) * stretch) - shift) + shift) / stretch - shift), 0, n - 1
            )
            take = take[: length - a].astype(int)
            error = np.abs(coarse[:, : len(take[::8])] - eight[:, take[::8]]).mean()
            if error < cost:
                best, cost = take, error
        rest[:, a : a + len(best)] -= model[:, best]
    return rest, usable


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
