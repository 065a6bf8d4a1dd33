"""Does a text agree with itself? Conclusions beside the numbers, leads and other conclusions of the same text."""

import math

from ..ecg import LEADS
from ..language import RHYTHMS
from ..language.findings import FINDINGS
from ..language.statements import FEATURES, Said

# What must be told for a conclusion to be backed: numbers, a feature in the finding's leads ("@": in any lead), or
# "sign", the finding's evidence in words. Each counts alike.
REQUIRED = {
    **dict.fromkeys(("SR", "SARRH"), ("rate_bpm", "pr_ms")),
    **dict.fromkeys(("SBRAD", "STACH"), ("rate_bpm",)),
    **dict.fromkeys(("AFIB", "AFLT", "3AVB"), ("rate_bpm", "sign")),
    **dict.fromkeys(("JUNC", "SVTAC"), ("rate_bpm", "qrs_ms", "sign")),
    "VT": ("rate_bpm", "qrs_ms"),
    **dict.fromkeys(("PACE", "CLBBB", "CRBBB"), ("qrs_ms", "sign")),
    **dict.fromkeys(("WENCK", "MOB2", "PAC", "PVC", "BIGU", "LVH", "RVH", "LAE", "RAE", "HYPOK", "LOWV"), ("sign",)),
    "1AVB": ("pr_ms",),
    **dict.fromkeys(("LAFB", "LPFB", "LAD", "RAD"), ("axis_deg",)),
    "IVCD": ("qrs_ms",),
    "WPW": ("pr_ms", "qrs_ms", "sign"),
    **dict.fromkeys(("STE_ANT", "STE_SEP", "STE_LAT", "STE_INF"), ("st_up",)),
    "STE_POST": ("st_down",),
    "STD": ("@st_down",),
    "TINV": ("@t_inverted",),
    **dict.fromkeys(("Q_ANT", "Q_INF", "Q_LAT"), ("q_waves",)),
    **dict.fromkeys(("HYPT", "HYPERK"), ("@t_tall", "sign")),
    "LQT": ("qtc_ms",),
    **dict.fromkeys(("PERI", "EREP"), ("@st_up", "sign")),
    "BRUG": ("st_up", "sign"),
    "NORM": ("qrs_ms", "qtc_ms", "axis_deg"),
}
PLACES = {row["code"]: tuple(row["leads"]) for row in FINDINGS}

_ANY = math.inf
EXPECTED = {  # finding -> number -> what may stand beside it in the same text, the tolerance included
    "SR": {"rate_bpm": (55, 105)},
    "SBRAD": {"rate_bpm": (-_ANY, 65)},
    **dict.fromkeys(("STACH", "SVTAC"), {"rate_bpm": (95, _ANY)}),
    "VT": {"rate_bpm": (95, _ANY), "qrs_ms": (105, _ANY)},
    "1AVB": {"pr_ms": (180, _ANY)},
    "WPW": {"pr_ms": (-_ANY, 140)},
    **dict.fromkeys(("CLBBB", "CRBBB"), {"qrs_ms": (105, _ANY)}),
    "IVCD": {"qrs_ms": (95, _ANY)},
    "LAD": {"axis_deg": (-105, -15)},
    "LAFB": {"axis_deg": (-105, -15)},
    **dict.fromkeys(("RAD", "LPFB"), {"axis_deg": (75, 195)}),
    "LQT": {"qtc_ms": (450, _ANY)},
    "NORM": {"rate_bpm": (55, 105), "pr_ms": (100, 220), "qrs_ms": (-_ANY, 135), "qtc_ms": (-_ANY, 510)},
}
NO_PR = ("AFIB", "AFLT", "JUNC", "SVTAC", "VT", "PACE", "WENCK", "3AVB")
NEEDS_PR = ("SR", "SBRAD", "STACH", "SARRH", "1AVB", "WPW")


def required(code: str) -> list[tuple]:
    """What backs a finding: (number,), (feature, the leads it may stand in) or (code,) for its evidence in words."""
    out = []
    for item in REQUIRED[code]:
        feature = item.removeprefix("@")
        if feature in FEATURES:
            out.append((feature, LEADS if item[0] == "@" else PLACES[code]))
        else:
            out.append((code,) if item == "sign" else (item,))
    return out


def contradictions(said: Said) -> dict[str, str]:
    """Findings that the rest of the same text speaks against, and why. No truth is needed."""
    out = {}
    for code in sorted(said.findings):
        reasons = [*_against_numbers(code, said), *_against_leads(code, said), *_against_findings(code, said)]
        if reasons:
            out[code] = reasons[0]
    return out


def _against_numbers(code: str, said: Said):
    for key, (low, high) in EXPECTED.get(code, {}).items():
        for value in said.numbers.get(key, ()):
            if not math.isnan(value) and not low <= (_turned(value) if key == "axis_deg" else value) <= high:
                yield f"{key} {value:g}"
    for value in said.numbers.get("pr_ms", ()):
        if code in (NEEDS_PR if math.isnan(value) else NO_PR):
            yield "no PR" if math.isnan(value) else f"a PR of {value:g} ms"


def _against_leads(code: str, said: Said):
    for feature, places in (item for item in required(code) if len(item) == 2):
        for features, leads in said.leads_denied:
            if feature in features and set(places) <= set(leads):
                yield f"{feature} denied"


def _against_findings(code: str, said: Said):
    if code in said.denied:
        yield "denied as well"
    if code in RHYTHMS and len(said.findings & set(RHYTHMS)) > 1:
        yield "more than one rhythm"
    if "NORM" in said.findings and code != "SR" and (code != "NORM" or said.findings - {"SR", "NORM"}):
        yield "normal ECG and findings"


def _turned(axis: float) -> float:
    """An angle between -165 and 195 degrees."""
    return (axis + 165) % 360 - 165
