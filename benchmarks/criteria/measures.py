"""What does a clean record measure? Bounds, deflections and heights of its waves, without any truth about it."""

from types import SimpleNamespace

import numpy as np
import torch
from scipy.ndimage import uniform_filter1d
from scipy.signal import find_peaks
from torch.nn.utils.rnn import pad_sequence

from uniecg_lite.errors import BadECG, require
from uniecg_lite.leads import LEADS, in_leads

from . import complexes
from .complexes import Beats, find_beats, sharpness, speed
from .delineation import deflections, j_notch, p_wave, qrs_bounds, t_wave, without_t

FAINT = 0.003  # mV over all leads, the least that a hump before the QRS must rise
PR_LONGEST = 0.36  # s
NO_P = dict.fromkeys(("p_mv", "p_top_mv", "pr_segment_mv"), np.full(12, np.nan))
NO_P |= dict.fromkeys(("pr_ms", "p_ms", "p_terminal_mv", "p_terminal_ms"), np.nan)
NO_T = dict.fromkeys(("t_mv", "u_mv"), np.full(12, np.nan)) | dict.fromkeys(("qt_ms", "t_half_ms"), np.nan)


class Measured(SimpleNamespace):
    """What was measured on B records, tensors by name. NaN where there is nothing to measure; 12 leads as in `LEADS`.

    The record: rate_bpm (B,) 60 over the mean RR interval; onset_s (B, K) QRS onsets; own (B, K) bool, of the dominant
    shape; beat_ms (B, K) QRS duration of each beat of another shape, NaN for own ones; spike (B,) share of beats just
    after a spike; flutter_hz (B,); p_onset_s (B, Kp); pr_s (B, K) from the last P onset after the QRS before to each
    QRS onset; usual_p (B, K) bool, the usual P at the usual distance goes before this beat; p_count (B, K) P waves
    since the beat before; linked (B,) share of own beats with the usual P.

    Its median beat, (B,): qrs_ms, qt_ms, qtc_ms (Bazett), pr_ms (NaN without a P there), p_ms; axis_deg, -180 to 180
    from net areas, and first_axis_deg of the first 70 ms; delta_ms from QRS onset until the spatial velocity reaches
    60% of its maximum; t_half_ms, the width of T at half height; p_terminal_mv and p_terminal_ms in V1.

    Its median beat, (B, 12): p_mv, and p_top_mv at the largest hump; pr_segment_mv against the P onset; q_mv, q_ms
    (also of a QS), r_mv, r_ms, s_mv, s_ms; r_at_ms from QRS onset to the top of R; late_mv, mean of the last quarter
    of the complex; high_mv and low_mv, its top and bottom; notch_mv at the end of R; j_mv, st_mv and st60_mv at J and
    20 and 60 ms later, against the QRS onset; t_mv; u_mv.
    """

    def lead(self, key: str, *names: str) -> torch.Tensor:
        """The columns of these leads: (B, len(names)), or (B,) for one."""
        columns = in_leads(getattr(self, key), *names)
        return columns[:, 0] if len(names) == 1 else columns


def measure_signal(signal: torch.Tensor, hz: float = 500) -> Measured:
    """Delineate clean records: (B, 12, L) mV at 500 Hz or so -> Measured.

    Meant for noise-free signals: thresholds sit close above zero. Raises BadECG when the leads are not twelve or the
    sampling rate is under 250 Hz.
    """
    if signal.dim() != 3 or signal.shape[1] != 12:
        raise BadECG(f"Expected signals (B, 12, L), got {tuple(signal.shape)}: give all twelve leads.")
    require(signal.isfinite().all(), "A signal holds NaN or infinity: give finite values in mV.")
    require(hz >= 250, f"Waves are delineated at 250 Hz or more, not at {hz:g}: simulate at a higher rate.")
    rows = [_one(record.astype(np.float64), hz) for record in signal.detach().cpu().numpy()]
    return Measured(**{key: _stack([row[key] for row in rows]) for key in rows[0]})


def _stack(values: list) -> torch.Tensor:
    """Numbers or rows stacked; rows of several lengths filled up with NaN (False for bools)."""
    if np.ndim(values[0]) == 0:
        return torch.tensor(values, dtype=torch.float32)
    logical = values[0].dtype == bool
    rows = [torch.from_numpy(value if logical else value.astype(np.float32)) for value in values]
    return pad_sequence(rows, batch_first=True, padding_value=False if logical else torch.nan)


def _one(signal: np.ndarray, hz: float) -> dict:
    """All measures of one record (12, L)."""
    velocity = speed(signal, hz)
    beats = find_beats(signal, velocity, hz)
    spike, signal = _without_spikes(signal, velocity, beats, hz)
    if spike > 0.5:
        beats = find_beats(signal, speed(signal, hz), hz)
    fast = speed(beats.beat, hz)
    onset, offset = qrs_bounds(beats.beat, fast, beats.centre, hz, np.median(signal, axis=1))
    notch, begin = j_notch(beats.beat, onset, offset, hz)
    if (notch >= 0.08).sum() >= 2:
        offset = min(offset, begin)
    qrs = _complex(beats.beat, fast, onset, offset, hz)
    return {"spike": spike, "notch_mv": notch} | qrs | _intervals(signal, beats, onset, offset, hz)


def _without_spikes(signal: np.ndarray, velocity: np.ndarray, beats: Beats, hz: float) -> tuple[float, np.ndarray]:
    """Share of beats that follow a spike within 70 ms, and the signal (12, L) without spikes.

    A spike is over within 40 ms, quiet lies on both sides, and nothing of the heart is as sharp.
    """
    smooth, aside, reach = uniform_filter1d(velocity, round(0.01 * hz)), round(0.020 * hz), round(0.016 * hz)
    peaks = find_peaks(smooth, height=0.25 * smooth.max(), distance=round(0.03 * hz))[0]
    peaks = peaks[(peaks >= aside) & (peaks < len(smooth) - aside)]
    alone = (smooth[peaks - aside] < 0.15 * smooth[peaks]) & (smooth[peaks + aside] < 0.30 * smooth[peaks])
    spikes = peaks[alone & (sharpness(signal, velocity, hz)[peaks] > 170)]
    gap = beats.place[:, None] - spikes[None]  # (K, S)
    share, clean = float(((gap > -0.03 * hz) & (gap < 0.11 * hz)).any(1).mean()), signal.copy()
    for a, b in zip(spikes - reach, spikes + reach) if share > 0.5 else ():
        clean[:, a:b] = np.linspace(signal[:, a], signal[:, min(b, signal.shape[1] - 1)], b - a).T
    return share, clean


def _complex(beat: np.ndarray, velocity: np.ndarray, onset: int, offset: int, hz: float) -> dict:
    """Measures of the QRS complex and of ST on the median beat (12, N)."""
    above, fast = beat - beat[:, onset : onset + 1], velocity[onset : offset + 1]
    qrs = above[:, onset : offset + 1]  # (12, n)
    parts = [deflections(lead, hz) for lead in qrs]
    after = {"j_mv": 0, "st_mv": 20, "st60_mv": 60}  # ms
    return {
        **{key: np.array([part[key] for part in parts]) for key in parts[0]},
        **{key: above[:, min(offset + round(ms * hz / 1000), beat.shape[1] - 1)] for key, ms in after.items()},
        "qrs_ms": 1000 * (offset - onset) / hz,
        "axis_deg": _axis(qrs),
        "first_axis_deg": _axis(qrs[:, : round(0.07 * hz)]),
        "late_mv": qrs[:, -max(len(fast) // 4, 1) :].mean(1),
        "high_mv": qrs.max(1),
        "low_mv": qrs.min(1),
        "delta_ms": 1000 * int((fast > 0.6 * fast.max()).argmax()) / hz,
    }


def _axis(qrs: np.ndarray) -> float:
    """Frontal axis in degrees from the net areas of I and aVF: (12, n) -> -180 to 180."""
    left, down = qrs[[LEADS.index("I"), LEADS.index("aVF")]].sum(1)
    return float(np.degrees(np.arctan2(down * 2 / 3**0.5, left)))


def _intervals(signal: np.ndarray, beats: Beats, onset: int, offset: int, hz: float) -> dict:
    """RR, P, PR, T, U and what the atria do."""
    p, t, t_end = _p_and_t(beats, onset, offset, hz)
    rest, usable = complexes.between(signal, beats, onset, offset, t["peak"] if t else t_end, t_end, hz)
    starts = beats.place - beats.centre + onset
    linked = complexes.linked(signal, starts, beats.own, onset - p["begin"], hz) if p else np.zeros(len(starts), bool)
    share = linked[beats.own].mean() if beats.own.any() else 0.0
    steady = (onset, p) if p and share > 0.7 else None
    found = complexes.p_onsets(complexes.p_waves(rest, usable, hz), starts, linked, steady, t_end - onset, hz)
    found, inside = (places[(places >= 0) & (places < signal.shape[1])] for places in (found, starts))
    rate = 60 * hz * (len(inside) - 1) / max(np.ptp(inside), 1) if len(inside) > 1 else np.nan
    last, p_before = np.r_[-np.inf, starts[:-1]], np.r_[-np.inf, found][np.searchsorted(found, starts - 0.03 * hz)]
    p, t = p or NO_P, t or NO_T
    return {
        "rate_bpm": rate,
        "onset_s": starts / hz,
        "own": beats.own,
        "beat_ms": _ectopic_ms(signal, beats, hz),
        "p_onset_s": found / hz,
        "pr_s": np.where(p_before > last, (starts - p_before) / hz, np.nan),
        "p_count": np.array([((found < b) & (found > a)).sum() for a, b in zip(last, starts)]),
        "usual_p": linked,
        "linked": share,
        "flutter_hz": complexes.flutter_rate(signal, usable, hz),
        "qtc_ms": t["qt_ms"] / np.sqrt(60 / rate),
        **{key: p[key] for key in NO_P},
        **{key: t[key] for key in NO_T},
    }


def _p_and_t(beats: Beats, onset: int, offset: int, hz: float) -> tuple[dict | None, dict | None, int]:
    """P and T of the median beat, None where there is none, and the sample where T ends or would end."""
    beat, gap = beats.beat, np.diff(beats.place).astype(float)
    sides = gap[beats.own[:-1]], gap[beats.own[1:]]  # RR after and before own beats
    after, before = (min(np.median(rr) if len(rr) else 0.8 * hz, 1.3 * hz) for rr in sides)
    latest = min(int(onset + 0.93 * after), beat.shape[1] - 1)
    t = t_wave(beat, onset, offset, latest, after / hz, hz)
    bare, earliest, least = beat, 0, np.full(beat.shape[1], FAINT)
    if t and before - (t["rest"] - onset) < PR_LONGEST * hz:
        bare, earliest = without_t(beat, onset, t, int(before), hz)
        fast = before < 0.6 * hz
        least[:] = max(5 * FAINT, 0.05 * t["size"]) if fast else max(FAINT, 0.012 * t["size"])  # the fit's rest is no P
        least[: round(t["end"] - before + 0.06 * hz) if fast else 0] = max(FAINT, 0.08 * t["size"])
    p = p_wave(bare, onset, max(onset - round(PR_LONGEST * hz), earliest), hz, least)
    return p, t, t["end"] if t else min(offset + round(0.1 * hz), latest)


def _ectopic_ms(signal: np.ndarray, beats: Beats, hz: float) -> np.ndarray:
    """QRS durations of the beats that are not of the dominant shape: (K,) ms, NaN elsewhere and at the ends."""
    out, reach = np.full(len(beats.place), np.nan), round(0.24 * hz)
    whole = (beats.place >= reach) & (beats.place < signal.shape[1] - reach)
    for k in np.flatnonzero(~beats.own & whole):
        part = signal[:, beats.place[k] - reach : beats.place[k] + reach]
        onset, offset = qrs_bounds(part, speed(part, hz), reach, hz)
        out[k] = 1000 * (offset - onset) / hz
    return out
