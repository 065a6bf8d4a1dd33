"""UniECG-lite: one small model that reads a 12-lead ECG and, asked in words, generates one.

For teaching, not for diagnosis.
"""

from .ecg import ECG
from .errors import UniECGError

__version__ = "0.2.0"
__all__ = ["ECG", "UniECG", "UniECGError"]


def __getattr__(name: str):
    """`UniECG` is imported when it is asked for: it brings torch and transformers along."""
    if name != "UniECG":
        raise AttributeError(f"uniecg_lite has no {name}")
    from .model import UniECG

    return UniECG
