"""How does a heart make twelve leads, and what is the truth about this one?

`hearts.sample` draws parametrised hearts, `beats.schedule` places their beats in time, `signal.simulate` moves their
dipole and reads it in twelve leads, `truth.measure` says what is true about each. No function here learns anything.
"""

from .hearts import FINDINGS, Hearts, sample
from .signal import Simulated, simulate

__all__ = ["FINDINGS", "Hearts", "Simulated", "sample", "simulate"]
