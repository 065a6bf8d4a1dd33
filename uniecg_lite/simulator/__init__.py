"""How does a heart make twelve leads, and what is the truth about this one?

`disease.draw` decides what a patient has, `sample` gives that heart its shapes, `beats.schedule` places atrial
and ventricular beats in time, `signal.simulate` reads them in twelve leads, `noise` adds what a recorder adds, and
`truth.measure` says what is true. `criteria` checks it again on the signal alone. No function here learns anything.
"""

from .disease import FINDINGS, RHYTHMS
from .hearts import Hearts
from .sample import sample
from .signal import Simulated, simulate

__all__ = ["FINDINGS", "Hearts", "RHYTHMS", "Simulated", "sample", "simulate"]
