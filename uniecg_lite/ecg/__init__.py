"""What is an ECG? Twelve leads by name, in mV, at a stated rate: load, check, resample, save."""

from uniecg_lite.ecg.leads import (
    INDEPENDENT,
    LEADS,
    derive_limb_leads,
    from_independent,
    lead_law_residual,
    lead_name,
)
from uniecg_lite.ecg.record import ECG

__all__ = [
    "ECG",
    "INDEPENDENT",
    "LEADS",
    "derive_limb_leads",
    "from_independent",
    "lead_law_residual",
    "lead_name",
]
