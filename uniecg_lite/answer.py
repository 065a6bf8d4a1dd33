"""What does the model answer, and where in the ECG does its evidence lie?"""

import math
from dataclasses import dataclass

import torch

from .beats import peak_times
from .ecg import ECG
from .findings import SINUS, column
from .language.conversations import WANTED
from .language.report_parser import parse_report
from .language.requests import Request
from .leads import LEADS

LEADS_OF, WAVES_OF = column("leads"), column("waves")  # that carry a finding


@dataclass(frozen=True)
class Answer:
    """What the model answers: words and, where it decided to generate one, an ECG and the request that it understood,
    which prints as words; `read` is the ECG or page that it looked at, for what is asked next."""

    text: str
    ecg: ECG | None = None
    understood: Request | None = None
    read: ECG | str | None = None

    @property
    def context(self) -> str:
        """What the model is shown of it later: an ECG that it made as the words for it."""
        return self.text if self.ecg is None else WANTED + self.understood.text()

    @property
    def marks(self) -> list[tuple[str, float, float]]:
        """Where the evidence of a report lies in the ECG that was read: (lead, from, to) in s, for `drawing.figure`.

        Waves stand around the R peaks as the report's own intervals say; leads are those that it names, and of a
        finding without any those of `data/findings.json`.
        """
        r, none = parse_report(self.text), (0.16, 0.09, 0.4)
        if not isinstance(self.read, ECG):
            return []
        pr, qrs, qt = (usual if math.isnan(v) else v / 1000 for v, usual in zip((r.pr_ms, r.qrs_ms, r.qt_ms), none))
        onset, end = -qrs / 2, qrs / 2  # from the R peak
        where = {"P": (onset - pr, onset), "QRS": (onset, end), "ST": (end, end + 0.08), "T": (end + 0.08, onset + qt)}
        shown = [("QRS", r.q_waves), ("ST", r.st_up + r.st_down), ("T", r.t_inverted + r.t_tall)]
        shown += [
            (wave, LEADS_OF.get(code, LEADS))
            for code in r.findings - {*SINUS, "NORM"}
            for wave in WAVES_OF.get(code, ())
        ]
        named = {(lead, wave) for wave, leads in shown for lead in leads}
        peaks = peak_times(torch.from_numpy(self.read.standard().signal)[None], 100.0)[0]
        beats = peaks[peaks.isfinite()].tolist()
        return [(lead, at + where[wave][0], at + where[wave][1]) for lead, wave in sorted(named) for at in beats]
