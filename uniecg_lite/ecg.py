"""The ECG itself: twelve named leads in mV at a stated sampling rate, checked whenever one is made."""

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
from scipy.signal import resample_poly

from . import drawing, ecg_io
from .errors import BadECG, refused, require
from .leads import LAW_TOLERANCE_MV, LEADS, complete, lead_law_residual, lead_name, repair_hint

PER_MV = {"nv": 1e-6, "uv": 1e-3, "µv": 1e-3, "μv": 1e-3, "mv": 1.0, "v": 1e3}
MIN_HZ, MAX_HZ = 50.0, 2000.0
MIN_SECONDS = 1.0
MAX_AGE = 110.0
MAX_GAP_S = 0.040  # interior runs of NaN up to here are bridged by a straight line
NO_SAMPLE = -32768  # what recorders of 16 bits write where they have none
MAX_MV = 20.0  # 99.5 % of a lead's samples lie within this of its median
MIN_MV = 0.05  # the largest lead spans at least this
FLAT_MV = 0.01  # a lead that spans less over the whole record is dead
STANDARD_HZ, STANDARD_SECONDS = 100.0, 10.0


@dataclass(frozen=True, eq=False, repr=False)
class ECG:
    """A 12-lead ECG; making one checks it, so an ECG at hand is always a usable one.

    signal: (12, L) float32 in mV, in the order of `LEADS`; hz: samples per second; age in years (0 to 110) or None;
    sex: "female", "male" or None; source: where it came from, in words. Raises BadECG when anything is amiss.
    """

    signal: np.ndarray
    hz: float
    age: float | None = None
    sex: str | None = None
    source: str = ""

    def __post_init__(self):
        """Refuse (BadECG) a wrong shape, rate, age or sex, missing values, dead leads, wrong units and broken laws."""
        with refused("Signal, hz and age must be numbers ({reason}): give mV, Hz and years."):
            x = np.ascontiguousarray(self.signal, dtype=np.float32)
            vars(self).update(signal=x, hz=float(self.hz), age=None if self.age is None else float(self.age))
        require(x.shape[:-1] == (12,), f"Expected 12 leads as (12, L), got {x.shape}: give the leads in rows, I to V6.")
        check_rate(self.hz)
        short = f"The record lasts {self.seconds:.2f} s: an ECG of at least {MIN_SECONDS:g} s is needed."
        require(self.seconds >= MIN_SECONDS, short)
        bad = ", ".join(LEADS[c] for c in np.flatnonzero(~np.isfinite(x).all(1)))
        require(not bad, f"Missing values (NaN or infinite) in {bad}: leave out that stretch, or the record.")
        span = np.ptp(x, axis=1)  # (12,)
        small = f"The largest lead spans only {span.max():.2g} mV, too small for an ECG"
        require(span.max() == 0 or span.max() >= MIN_MV, f'{small}: if the values are in volts, pass unit="V".')
        flat = ", ".join(LEADS[c] for c in np.flatnonzero(span < FLAT_MV))
        require(not flat, f"Flat over the whole record: {flat}; choose a record without dead leads.")
        k = math.ceil(0.995 * x.shape[1]) - 1
        large = np.partition(np.abs(x - np.median(x, axis=1, keepdims=True)), k, axis=1)[:, k]  # (12,)
        wide = f"Lead {LEADS[large.argmax()]} reaches {large.max():.3g} mV, too large for an ECG"
        require(large.max() <= MAX_MV, f'{wide}: if the values are in microvolts, pass unit="uV".')
        if (residual := lead_law_residual(x)) > LAW_TOLERANCE_MV:
            broken = f"The limb leads break Einthoven's and Goldberger's laws by {residual:.2f} mV"
            raise BadECG(f"{broken} (at most {LAW_TOLERANCE_MV:g} is allowed): {repair_hint(x)}.")
        age, known = self.age or 0.0, self.sex in ("female", "male", None)
        other = f"Age {age:g} is not between 0 and {MAX_AGE:g} years: use None when it is unknown."
        require(0 <= age <= MAX_AGE, other)
        require(known, f'Sex {self.sex!r} is not known here: use "female", "male" or None.')

    @classmethod
    def from_leads(
        cls, leads: Mapping[str, np.ndarray], hz: float, unit: str | Mapping[str, str] | None = "mV", **about
    ) -> "ECG":
        """An ECG from signals by name, each (L,), in any order; signals that are no ECG lead are ignored.

        Needs V1..V6 and at least two limb leads: absent ones follow from the lead laws. `unit` is one of nV, uV, mV, V,
        or a mapping from signal name to unit; None means mV, and is refused later if the size speaks against it.
        Interior runs of NaN up to 40 ms are bridged by a straight line, with a warning. `about`: age, sex and source.
        Raises BadECG.
        """
        check_rate(hz)
        named: dict[str, np.ndarray] = {}
        for key, values in leads.items():
            if name := lead_name(key):
                require(name not in named, f"Lead {name} is given twice: keep one signal for each lead.")
                one = unit.get(key) if isinstance(unit, Mapping) else unit
                scale = 1.0 if one is None else PER_MV.get(str(one).strip().lower())
                require(scale, f"The unit {one!r} is not known: use nV, uV, mV or V.")
                named[name] = scale * _samples(values, hz, name, about.get("source"))
        lengths = sorted({len(values) for values in named.values()})
        require(len(lengths) < 2, f"The leads differ in length ({lengths} samples): give 12 leads recorded together.")
        return cls(complete(named), hz, **about)

    @classmethod
    def load(cls, path: str | Path, hz: float | None = None, unit: str | None = None) -> "ECG":
        """Read a WFDB record (with or without .hea or .dat), a CSV, .npy or .npz file; leads are found by name.

        The extra `files` reads DICOM, SCP-ECG, HL7 aECG, MUSE XML and EDF, too. `hz` and `unit` are for files that do
        not state them. Raises BadECG with one sentence on what is wrong.
        """
        return cls.from_leads(**ecg_io.read(Path(path), hz, unit))

    def __getitem__(self, name: str) -> np.ndarray:
        """One lead by name, (L,) in mV; raises BadECG for a name that is no lead."""
        require(lead := lead_name(name), f"There is no lead {name!r}: use one of {', '.join(LEADS)}.")
        return self.signal[LEADS.index(lead)]

    def __repr__(self) -> str:
        return f"ECG({self.seconds:g} s at {self.hz:g} Hz, age={self.age}, sex={self.sex}, source={self.source!r})"

    @property
    def seconds(self) -> float:
        """Length of the record in seconds."""
        return self.signal.shape[1] / self.hz

    def resample(self, hz: float) -> "ECG":
        """The same ECG at another rate: polyphase, anti-aliased, round(L * hz / self.hz) samples.

        The ratio of the rates is approximated by a fraction with a denominator up to 1000, and the ends are held
        constant beyond the record so that they do not ring.
        """
        check_rate(hz)
        if hz == self.hz:
            return self
        ratio = Fraction(hz / self.hz).limit_denominator(1000)
        count = round(self.signal.shape[1] * hz / self.hz)
        signal = resample_poly(self.signal, ratio.numerator, ratio.denominator, axis=1, padtype="edge")
        return replace(self, signal=_held(signal, count), hz=hz)

    def standard(self) -> "ECG":
        """The form the models read: the first 10 s at 100 Hz, (12, 1000).

        A record up to 1 % short is filled by holding its last value; a shorter one raises BadECG.
        """
        short = f"The record lasts {self.seconds:.2f} s: the models read 10 s, so give 10 s or more."
        require(self.seconds >= 0.99 * STANDARD_SECONDS, short)
        most, count = round((STANDARD_SECONDS + 1) * self.hz), round(STANDARD_HZ * STANDARD_SECONDS)
        begun = self if self.signal.shape[1] <= most else replace(self, signal=self.signal[:, :most])
        ecg = begun.resample(STANDARD_HZ)
        return ecg if ecg.signal.shape[1] == count else replace(ecg, signal=_held(ecg.signal, count))

    def save(self, path: str | Path) -> Path:
        """Write a WFDB record (format 16, 1 uV per unit, so within 0.5 uV) and return its path without suffix.

        The signal file is put in place first and the header last, each in one step, so a killed run leaves no half
        record. Raises BadECG for a bad record name or amplitudes over 32 mV, UniECGError when the disk refuses.
        """
        return ecg_io.write(self, Path(path))

    def plot(self, **options):
        """Draw the ECG on paper; options go to `drawing.figure`, which returns a matplotlib Figure."""
        return drawing.figure(self, **options)


def check_rate(hz: float) -> None:
    """Refuse (BadECG) a sampling rate outside 50 to 2000 Hz, or one that is no number."""
    sentence = f"A sampling rate of {hz} Hz is not usable: give samples per second, {MIN_HZ:g} to {MAX_HZ:g}."
    with refused(sentence, kinds=(TypeError, ValueError)):
        require(not isinstance(hz, str) and MIN_HZ <= float(hz) <= MAX_HZ, sentence)


def _held(signal: np.ndarray, count: int) -> np.ndarray:
    """The first `count` samples, (12, L) -> (12, count); a shorter signal holds its last value."""
    return np.pad(signal[:, :count], ((0, 0), (0, max(0, count - signal.shape[1]))), mode="edge")


def _samples(values, hz: float, name: str, source: str | None) -> np.ndarray:
    """One lead as (L,) float64, interior runs of NaN up to 40 ms filled by a straight line, with a warning.

    Refuses (BadECG) longer ones, and a lead that is recorded for less than half of the time.
    """
    with refused(f"Lead {name} holds something that is not a number: give plain numbers."):
        values = np.asarray(values, dtype=np.float64)
        values = np.where(values == NO_SAMPLE, np.nan, values)
    other = f"Lead {name} has shape {values.shape}: give each lead as one row of samples (L,)."
    require(values.ndim == 1 and values.size, other)
    missing = np.isnan(values)
    held = np.flatnonzero(~missing if missing.any() else np.diff(values, append=values[-1:]))  # where there is a signal
    part, whole = (np.ptp(held) + 1 if len(held) else len(values)) / hz, len(values) / hz  # s
    columns = f"Lead {name} holds {part:.3g} s of {whole:g} s only, as on a page with its leads side by side"
    require(part >= whole / 2, f"{columns}: give twelve leads recorded over the same time.")
    if not missing.any():
        return values
    known = np.flatnonzero(~missing)
    runs = np.diff(np.concatenate(([-1], known, [len(values)]))) - 1  # NaN before, between and after known samples
    longest = runs.max() / hz
    gaps = f"missing values (NaN) at an end or for up to {1000 * longest:.0f} ms, and holds {len(known) / hz:g} s"
    advice = f"only inner gaps up to {1000 * MAX_GAP_S:.0f} ms are bridged, so crop the record or choose another."
    require(longest <= MAX_GAP_S and not runs[0] and not runs[-1], f"Lead {name} has {gaps}: {advice}")
    where = f"Lead {name} of {source}" if source else f"Lead {name}"
    lost = f"misses samples, for up to {1000 * longest:.0f} ms: a line bridges them, so a wave there is lost."
    warnings.warn(f"{where} {lost}", stacklevel=3)
    return np.interp(np.arange(len(values)), known, values[known])  # (L,)
