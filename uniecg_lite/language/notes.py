"""Notes of an ECG: fact by fact, what a reader would write down before any question is asked.

A language model learns to answer from such notes; later the tokens of an ECG take their place.
"""

import math

from ..measured import GRIDS, GROUPS
from ..simulator.truth import LEAD_SIGNS
from .findings import NAMES
from .questions import listed
from .reports import Reading
from .topics import NOISES, SIGNS, on_paper

IN_LEADS = (*LEAD_SIGNS, *(key for key, _ in NOISES.values()))  # facts that each lead has or has not
NOTED = (*GRIDS, *GROUPS, *IN_LEADS)  # what is noted, in this order
TITLES = {  # what it is called
    "rate_bpm": "heart rate",
    "pr_ms": "PR interval",
    "qrs_ms": "QRS duration",
    "qt_ms": "QT",
    "qtc_ms": "QTc interval",
    "axis_deg": "axis",
    **{name: name for name in GROUPS},
    **{key: sign for sign, (key, _) in {**SIGNS, **NOISES}.items()},
}


def items(name: str, r: Reading) -> tuple[str, ...]:
    """What a reading says of one of `NOTED`: a number as on paper, findings or leads; none where there is none."""
    if name in GRIDS:
        value = getattr(r, name)
        return () if math.isnan(value) else (str(on_paper(value, 1 if name == "rate_bpm" else 10)),)
    return tuple(NAMES[code] for code in GROUPS[name] if code in r.findings) if name in GROUPS else getattr(r, name)


def notes(r: Reading, which: str = "") -> str:
    """`heart rate 94; PR interval 160; ...; static noise none.`

    Args:
        r: one ECG.
        which: said before each fact where there are more ECGs than one: `first` or `second`.
    """
    said = (f"{which} {TITLES[name]} {listed(items(name, r))}".strip() for name in NOTED)
    return f"{'; '.join(said)}."
