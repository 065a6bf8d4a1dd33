"""people: hearts measure what is published for their sex and age, near each limit too, where nothing is scored.

The comparison with recorded normal ECGs reads a folder in PTB-XL's layout, `UNIECG_PTBXL` or ../shared/ptbxl_small
beside the repository; with `pytest -s` it prints its table.
"""

import ast
import csv
import os
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from criteria.measures import measure_signal
from criteria.rules import criteria_pass
from scipy.signal import butter, resample_poly, sosfiltfilt
from scipy.stats import ks_2samp

from uniecg_lite.ecg import ECG
from uniecg_lite.errors import BadECG
from uniecg_lite.findings import CODES, LIMITS, Reading, readings, report, st_level, table
from uniecg_lite.leads import CHEST, LEADS
from uniecg_lite.metrics.grounded import grounded_one
from uniecg_lite.metrics.reports import finding_scores, report_scores, table_of
from uniecg_lite.simulator.sample import sample
from uniecg_lite.simulator.simulate import simulate

COLUMN = {code: i for i, code in enumerate(CODES)}
LEAD = {name: i for i, name in enumerate(LEADS)}
PEOPLE = table("people")
BANDS = ((0, 40), (40, 60), (60, 200))
HARMLESS = ("SR", "SBRAD", "STACH", "SARRH", "NORM")
FOLDER = Path(os.environ.get("UNIECG_PTBXL") or Path(__file__).parents[2] / "shared" / "ptbxl_small")


def undrawn(seed: int, n: int) -> torch.Tensor:
    """Of the first n records those for whom nothing was drawn: their numbers."""
    plan = torch.cat([sample(seed, part).who.plan for part in torch.arange(n).split(2000)])
    return torch.nonzero(~plan[:, 1:].any(1) & plan[:, 0])[:, 0]


@pytest.fixture(scope="module")
def healthy():
    """The truth of about 2,000 people for whom nothing was drawn, some more measures among it."""
    truth = simulate(5, undrawn(5, 30000), 25.0, noise=False).truth
    r, s = truth["r_mv"], truth["s_mv"]
    steps = 1000 * truth["onset_s"].diff(dim=1).diff(dim=1)
    more = {"sokolow_mv": r[:, [LEAD["V5"], LEAD["V6"]]].amax(1) - s[:, LEAD["V1"]]}
    more |= {"cornell_mv": r[:, LEAD["aVL"]] - s[:, LEAD["V3"]], "rmssd_ms": steps.square().nanmean(1).sqrt()}
    return truth | more


@pytest.fixture(scope="module")
def everyone():
    """The truth of 4,000 records."""
    return simulate(6, torch.arange(4000), 25.0, noise=False).truth


def band(truth, female: bool, ages: tuple[int, int]) -> torch.Tensor:
    return (truth["female"] == female) & (truth["age"] >= ages[0]) & (truth["age"] < ages[1])


# --- what is published


@pytest.mark.parametrize("key", PEOPLE["published"])
def test_medians_by_sex_and_age_are_the_published_ones(healthy, key):
    *figures, within = PEOPLE["published"][key]
    for ages, pair in zip(BANDS, figures):
        for female, figure in zip((False, True), pair):
            values = healthy[key][band(healthy, female, ages)]
            assert len(values) > 100 and abs(values.nanmedian() - figure) <= within, (ages, female, values.nanmedian())


def test_every_figure_has_a_source_and_a_confidence():
    for name in set(PEOPLE) - {"notes", "published"}:
        row = PEOPLE[name]
        assert re.search(r"[( ][VML](/[VML])?\)", row["source"]), name
        assert row["ages"] == sorted(row["ages"])
        assert name == "by_lead" or len(row["ages"]) == len(row["men"]) == len(row["women"]), name


def test_spreads_are_those_of_people(healthy):
    """The second to the 98th percentile (Mason 2007) with room for the sexes; a quarter has a P of 120 ms or more."""
    for key, low, high in (("rate_bpm", 48, 98), ("pr_ms", 113, 212), ("qrs_ms", 69, 109), ("qtc_ms", 361, 457)):
        ends = healthy[key].nanquantile(torch.tensor([0.02, 0.98]))
        assert abs(ends[0] - low) < 0.1 * low and abs(ends[1] - high) < 0.12 * high, (key, ends)
    assert 0.15 < (healthy["p_ms"] >= 120).float().mean() < 0.4
    no_p = (healthy["p_ms"] >= 122) & ~healthy["findings"][:, COLUMN["LAE"]]
    assert no_p.float().mean() > 0.1, "a long P alone is no finding"


def test_variability_falls_with_age_and_levels_off(healthy):
    middle = [healthy["rmssd_ms"][(healthy["age"] >= a) & (healthy["age"] < b)].nanmedian() for a, b in BANDS]
    assert 28 < middle[0] < 48 and 15 < middle[1] < 30 and 9 < middle[2] < 19


def test_st_in_front_is_high_in_young_men_and_in_few_women(healthy):
    st = healthy["st_mv"][:, [LEAD[name] for name in ("V1", "V2", "V3", "V4")]].amax(1)
    share = [[(st[band(healthy, sex, ages)] >= 0.1).float().mean() for ages in BANDS] for sex in (False, True)]
    assert share[0][0] > 0.6 > share[0][2] and max(share[1]) < 0.45 and share[0][0] > share[1][0] + 0.2
    t = healthy["t_mv"][:, LEAD["V2"]]
    young = [t[band(healthy, sex, BANDS[0])].median() for sex in (False, True)]
    assert young[0] > 1.25 * young[1], "T is higher in men"


def test_r_rises_and_falls_with_breathing():
    index = undrawn(5, 3000)[:60]
    signal, truth = simulate(5, index, 250.0, seconds=20.0, noise=False).signal, simulate(5, index, 25.0).truth
    swings = []
    for row in range(len(index)):
        lead = signal[row, LEAD["V5"]]
        tops = lead.unfold(0, 500, 125).amax(1)  # the highest in each 2 s
        swings.append(float((tops.max() - tops.min()) / tops.mean()))
    assert 0.03 < np.median(swings) < 0.15 and np.quantile(swings, 0.9) < 0.25 and len(truth["age"]) == 60


# --- near the limits


@pytest.mark.parametrize(
    ("key", "low", "high", "least"),
    [
        ("rate_bpm", 50, 62, 0.2),
        ("pr_ms", 185, 220, 0.08),
        ("qrs_ms", 105, 130, 0.06),
        ("axis_deg", -40, -20, 0.02),
        ("axis_deg", 80, 100, 0.04),
        ("qtc_ms", 440, 490, 0.05),
        ("p_ms", 115, 135, 0.2),
    ],
)
def test_values_lie_on_either_side_of_each_limit(everyone, key, low, high, least):
    counts = torch.histc(everyone[key][~everyone[key].isnan()], 6, low, high)
    assert counts.min() > 0.1 * counts.max() and counts.sum() / len(everyone[key]) > least, counts


def test_voltages_lie_on_either_side_of_their_limits(healthy):
    for key, limit in (("sokolow_mv", 3.5), ("cornell_mv", 2.0)):
        near = (healthy[key] - limit).abs() < 0.4
        assert near.float().mean() > 0.03 and 0.05 < (healthy[key][near] > limit).float().mean() < 0.6, key


@pytest.mark.parametrize(
    ("code", "key", "name"),
    [("1AVB", "pr_ms", "pr_ms"), ("SBRAD", "rate_bpm", "rate_bpm"), ("LAD", "axis_deg", "axis_deg")],
)
def test_borderline_is_what_lies_within_the_grey_zone(everyone, code, key, name):
    limit, grey = LIMITS[code][name]
    unsure = everyone["borderline"][:, COLUMN[code]]
    alone = ~everyone["borderline"][:, [COLUMN["SARRH"], COLUMN["IVCD"]]].any(1) & (everyone["axis_deg"] > -80)
    unsure, off = unsure[alone], (everyone[key][alone] - limit).abs()
    assert unsure.any() and (off[unsure] <= grey).all()
    assert not unsure[(off > grey) | off.isnan()].any()


def test_what_is_not_borderline_is_sure(everyone):
    truth, grey = everyone["findings"], everyone["borderline"]
    assert 0 < grey.float().mean() < 0.03 and not grey[:, [COLUMN[code] for code in ("VT", "AFIB", "PACE")]].any()
    assert (truth & grey).any() and (~truth & grey).any(), "on both sides of a limit"


def test_young_people_have_hypertrophy_only_with_strain(everyone):
    young = (everyone["age"] < 35) & everyone["findings"][:, COLUMN["LVH"]]
    t = everyone["t_mv"][:, [LEAD["V5"], LEAD["V6"]]]
    assert (t[young] <= -0.1).all()


def test_st_level_follows_sex_and_age():
    level = st_level(torch.tensor([30.0, 60.0, 30.0]), torch.tensor([False, False, True]))
    assert level[:, LEAD["V2"]].tolist() == pytest.approx([0.25, 0.2, 0.15]) and (level[:, LEAD["V4"]] == 0.1).all()


def test_a_rhythm_without_a_rate_has_no_name_of_one():
    truth = simulate(9, torch.arange(100), 100.0, seconds=1.0, noise=False).truth
    alone = truth["findings"][truth["rate_bpm"].isnan()]  # under two beats
    assert len(alone) > 20 and not alone[:, [COLUMN[code] for code in ("SR", "SBRAD", "STACH", "NORM")]].any()


def test_an_incomplete_right_block_leaves_qt_to_be_read(everyone):
    partial, long_qt = (everyone["findings"][:, COLUMN[code]] for code in ("IRBBB", "LQT"))
    assert long_qt[partial & (everyone["qtc_ms"] >= 480)].all()
    assert not long_qt[everyone["findings"][:, COLUMN["CRBBB"]]].any()


# --- two findings more


@pytest.mark.parametrize("code", ["IRBBB", "NST"])
def test_new_findings_are_drawn_and_meet_their_criterion(code):
    truth = simulate(23, torch.arange(3000), 25.0, noise=False).truth
    rows = torch.nonzero(truth["findings"][:, COLUMN[code]] & ~truth["borderline"][:, COLUMN[code]])[:30, 0]
    shown = simulate(23, rows, 500.0, noise=False)
    passed, _, n = criteria_pass(shown.signal, shown.truth["findings"], 500.0, shown.truth)[code]
    assert n == len(rows) == 30 and passed >= 0.95
    one = next(r for r in readings(shown.truth) if code in r.findings)
    assert grounded_one(report(one), one)["DiagnosisAccuracy"] > 90


# --- borderline findings are not scored

CLEAR = Reading(61, 160, 90, 400, 405, 20, findings=frozenset({"SR", "LVH"}))
EDGE = replace(CLEAR, borderline=frozenset({"LVH", "LAD"}))


def test_a_borderline_finding_is_neither_right_nor_wrong():
    texts = [report(replace(CLEAR, findings=frozenset(said))) for said in (("SR",), ("SR", "LVH"), ("SR", "LAD"))]
    scores = [grounded_one(text, EDGE) for text in texts]
    for name in ("DiagnosisAccuracy", "ClinicalDiagnosticFidelity"):
        assert scores[0][name] == scores[1][name] == scores[2][name] == 100, name
    assert grounded_one(texts[0], CLEAR)["DiagnosisAccuracy"] < 60, "it counts where it is sure"
    assert grounded_one(texts[2], CLEAR)["DiagnosisAccuracy"] < 60


def test_of_two_rhythms_on_either_side_of_a_limit_either_is_right():
    edge = replace(CLEAR, rate_bpm=60, findings=frozenset({"SR"}), borderline=frozenset({"SR", "SBRAD", "NORM"}))
    said = [report(replace(edge, findings=frozenset({code}))) for code in ("SR", "SBRAD", "STACH")]
    right, other, wrong = (grounded_one(text, edge)["DiagnosisAccuracy"] for text in said)
    assert right == other > wrong


def test_f1_leaves_borderline_ecgs_out():
    truth, both = [EDGE, CLEAR], frozenset({"SR", "LVH"})
    for first in (both, frozenset({"SR"}), both | {"LAD"}):
        stated = [replace(EDGE, findings=first), replace(CLEAR, findings=both)]
        scores = finding_scores(table_of(stated), table_of(truth), table_of(truth, "borderline"))
        assert scores == {"SR": 1.0, "LVH": 1.0}, first
        texts = [report(one) for one in stated]
        assert report_scores(texts, truth)["findings_macro_f1"] == 1
    assert finding_scores(table_of(stated), table_of(truth))["LAD"] == 0


def test_the_truth_tells_its_readings_what_is_borderline(everyone):
    few = readings({key: value[:300] for key, value in everyone.items()})
    assert torch.equal(table_of(few, "borderline"), everyone["borderline"][:300])


# --- beside recorded normal ECGs

CLOSE = {"rate_bpm": 0.2, "axis_deg": 0.15, "pr_ms": 0.2, "rmssd_ms": 0.2, "sokolow_mv": 0.15, "cornell_mv": 0.15}


def measured(signal: np.ndarray) -> dict[str, np.ndarray] | None:
    """Rate, intervals, axis and heights of one noisy record, (12, 1000) mV at 100 Hz, by the criteria's rulers."""
    x = signal[:, 10:-20] - np.median(signal, axis=1, keepdims=True)  # PTB-XL holds its last 0.1 s constant
    x = resample_poly(sosfiltfilt(butter(2, 0.4, "highpass", fs=100, output="sos"), x), 5, 1, axis=1)
    x = sosfiltfilt(butter(4, 35, fs=500, output="sos"), x)
    try:
        m = measure_signal(torch.from_numpy(np.ascontiguousarray(x))[None].float(), 500)
    except BadECG:
        return None
    out = {key: getattr(m, key).item() for key in ("rate_bpm", "p_ms", "pr_ms", "qrs_ms", "qtc_ms", "axis_deg")}
    steps = 1000 * m.onset_s[0][~m.onset_s[0].isnan()].diff().diff()
    out |= {"rmssd_ms": steps.square().mean().sqrt().item()}
    high, low = (dict(zip(LEADS, getattr(m, key)[0].tolist())) for key in ("high_mv", "low_mv"))
    out |= {"sokolow_mv": max(high["V5"], high["V6"]) - low["V1"], "cornell_mv": high["aVL"] - low["V3"]}
    for name in ("I", "II", *CHEST):
        out |= {f"R {name}": high[name], f"S {name}": low[name]}
        out |= {f"T {name}": m.lead("t_mv", name).item(), f"ST {name}": m.lead("st_mv", name).item()}
    return out


def recorded_normals() -> list[tuple[bool, float, np.ndarray]]:
    """Sex, age and signal of the adults whose ECG readers called normal, and nothing else."""
    with open(FOLDER / "ptbxl_database.csv", encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["age"] and row["sex"] in ("0", "1")]
    found = []
    for row in rows:
        codes = ast.literal_eval(row["scp_codes"])
        if codes.get("NORM", 0) >= 80 and set(codes) <= set(HARMLESS) and 18 <= float(row["age"]) <= 95:
            signal = ECG.load(FOLDER / row["filename_lr"]).standard().signal
            found.append((row["sex"] == "1", float(row["age"]), signal))
    return found


def interval(values: np.ndarray) -> tuple[float, float, float]:
    """The median and its 95% interval, by 400 resamples."""
    rng = np.random.default_rng(0)
    values = values[~np.isnan(values)]
    again = np.median(rng.choice(values, (400, len(values))), axis=1)
    return np.median(values), *np.quantile(again, [0.025, 0.975])


def test_simulated_normals_beside_recorded_ones():
    if not (FOLDER / "ptbxl_database.csv").exists():
        pytest.skip(f"no recorded normals: set UNIECG_PTBXL (looked in {FOLDER})")
    real = recorded_normals()
    index = undrawn(77, 16000)
    drawn = simulate(77, index)
    harmless = ~drawn.truth["findings"][:, [COLUMN[code] for code in CODES if code not in HARMLESS]].any(1)
    free, chosen = set(torch.nonzero(harmless)[:, 0].tolist()), []
    age, female = drawn.truth["age"].tolist(), drawn.truth["female"].tolist()
    for sex, years, _ in real:  # one of the same sex and about the same age for each
        chosen.append(min((i for i in free if female[i] == sex), key=lambda i: abs(age[i] - years)))
        free.remove(chosen[-1])
    signals = [one for *_, one in real], drawn.signal[chosen].numpy()
    sides = [list(filter(None, map(measured, side))) for side in signals]
    distance = {}
    print(f"\n{len(sides[0])} recorded, {len(sides[1])} simulated: medians with 95% intervals, KS distance")
    for key in sides[0][0]:
        a, b = (np.array([one[key] for one in side]) for side in sides)
        distance[key] = ks_2samp(a[~np.isnan(a)], b[~np.isnan(b)]).statistic
        texts = ["{:.3g} ({:.3g} to {:.3g})".format(*interval(values)) for values in (a, b)]
        print(f"{key:12s} {texts[0]:28s} {texts[1]:28s} {distance[key]:.2f}")
    print(f"mean {np.mean(list(distance.values())):.3f}")
    assert np.mean(list(distance.values())) < 0.15
    assert not {key: distance[key] for key, most in CLOSE.items() if distance[key] > most}
