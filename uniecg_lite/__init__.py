"""UniECG-lite: one small model that reads a 12-lead ECG and, asked in words, makes one.

For teaching, not for diagnosis.
"""

from .ecg import ECG
from .errors import UniECGError

__version__ = "0.1.0"
__all__ = ["ECG", "UniECGError", "load_unified"]


def load_unified(folder, seed=None):
    """The finished model from an artifacts folder such as `artifacts/laptop` (see `checkpoints.load_unified`)."""
    from .checkpoints import load_unified as load

    return load(folder, seed)
