"""How good is it? Scores of reports against the truth, and of signals by measurement and by an independent reader."""

from .reader import Reader, train_reader
from .signals import heart_rate, r_peaks, real_rates
from .texts import finding_scores, interval_errors, macro_f1, report_scores

__all__ = [
    "Reader",
    "finding_scores",
    "heart_rate",
    "interval_errors",
    "macro_f1",
    "r_peaks",
    "real_rates",
    "report_scores",
    "train_reader",
]
