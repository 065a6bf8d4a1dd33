"""benchmarks/criteria: waves are measured where they are, and what the truth calls a finding is one by the textbook."""

import numpy as np
import pytest
import torch
from criteria.measures import Measured, deflections, measure_signal
from criteria.rules import criteria_pass, diagnose

from uniecg_lite.errors import BadECG
from uniecg_lite.findings import CODES
from uniecg_lite.leads import LEADS, from_independent
from uniecg_lite.simulator.simulate import simulate

HZ, SEED, POOL, ENOUGH = 500.0, 23, 4000, 20
COLUMN = {code: i for i, code in enumerate(CODES)}
RHYTHMS = CODES[:13]
PRESENT, ABSENT = 0.98, 0.97  # and one record more may fail: 20 records of a finding are few


def chosen(findings: torch.Tensor) -> torch.Tensor:
    """The first records that together hold each finding `ENOUGH` times, or as often as there is: row numbers."""
    rows, count = [], torch.zeros(len(CODES))
    for code in torch.argsort(findings.sum(0)).tolist():  # the rare ones first
        for row in findings[:, code].nonzero()[:, 0].tolist():
            if count[code] >= ENOUGH:
                break
            if row not in rows:
                rows.append(row)
                count += findings[row]
    return torch.tensor(sorted(rows))


@pytest.fixture(scope="module")
def records():
    """Noise-free records at 500 Hz that hold each finding, not borderline, at least 20 times: truth and measures."""
    truth = simulate(SEED, torch.arange(POOL), 25.0, noise=False).truth  # cheap: the truth does not ask for the rate
    rows = chosen(truth["findings"] & ~truth["borderline"])
    measured, parts = [], rows.split(100)
    signals = [simulate(SEED, part, HZ, noise=False).signal for part in parts]
    signal = torch.cat(signals)
    measured = measure_signal(signal, HZ)
    return signal, {key: value[rows] for key, value in truth.items()}, measured


def has(truth, *codes: str) -> torch.Tensor:
    return truth["findings"][:, [COLUMN[code] for code in codes]].any(1)


def said(truth, measured) -> dict[str, torch.Tensor]:
    """What the criteria say, by age and sex."""
    return diagnose(measured, truth["age"], truth["female"])


# --- what is measured is there


def test_waves_of_one_lead_by_hand():
    """q of 0.2 mV for 20 ms, R of 1.0 mV for 40 ms, s of 0.3 mV for 30 ms: half sines with known ends."""
    wave = np.concatenate([
        -0.2 * np.sin(np.pi * np.arange(10) / 10),
        1.0 * np.sin(np.pi * np.arange(20) / 20),
        -0.3 * np.sin(np.pi * np.arange(15) / 15),
    ])  # fmt: skip
    out = deflections(wave, HZ)
    assert out["q_mv"] == pytest.approx(-0.2) and out["r_mv"] == pytest.approx(1.0)
    assert out["s_mv"] == pytest.approx(-0.3, abs=0.01)
    assert abs(out["q_ms"] - 20) <= 4 and abs(out["r_ms"] - 40) <= 4 and abs(out["s_ms"] - 30) <= 4
    assert out["r_at_ms"] == 40
    only = deflections(-np.abs(wave), HZ)
    assert only["r_mv"] == 0 and only["q_mv"] == pytest.approx(-1.0), "a QS is a Q"


def test_rate_and_beats(records):
    _, truth, measured = records
    rate = (measured.rate_bpm - truth["rate_bpm"]).abs()
    assert (rate < 1.5).float().mean() > 0.98
    count = (~measured.onset_s.isnan()).sum(1) - (~truth["onset_s"].isnan()).sum(1)
    assert (count.abs() <= 1).float().mean() > 0.98, "a beat may be cut by an end of the record"


def test_intervals_and_axis_against_the_truth(records):
    _, truth, measured = records
    narrow = ~has(truth, "CLBBB", "IVCD", "WPW", "VT", "PACE", "AFIB", "AFLT")
    calm = narrow & (truth["rate_bpm"] < 100)
    for key, rows, middle, most in (("qrs_ms", narrow, 5, 20), ("pr_ms", calm, 4, 20), ("qt_ms", calm, 6, 30)):
        error = (getattr(measured, key) - truth[key])[rows].abs()
        error = error[~error.isnan()]
        assert len(error) > 100 and error.median() <= middle and error.quantile(0.95) <= most, (key, error.median())
    wide = has(truth, "CLBBB", "WPW", "PACE")
    assert (measured.qrs_ms[wide] >= 120).float().mean() > 0.97
    turned = ((measured.axis_deg - truth["axis_deg"] + 180) % 360 - 180)[narrow].abs()
    assert turned.median() < 2 and turned.quantile(0.9) < 10, "degrees"


def test_levels_of_st_and_t_against_the_truth(records):
    _, truth, measured = records
    rows = ~has(truth, "CLBBB", "IVCD", "WPW", "VT", "PACE", "AFIB", "AFLT", "EREP", "BRUG") & (truth["rate_bpm"] < 100)
    for key in ("st_mv", "t_mv"):
        error = (getattr(measured, key) - truth[key])[rows].abs()
        assert error.nanmedian() < 0.02 and error[~error.isnan()].quantile(0.95) < 0.1, key


def test_p_waves_of_a_block_are_found_one_by_one(records):
    (_, truth, measured), missed = records, []
    for row in has(truth, "MOB2", "3AVB").nonzero()[:, 0].tolist():
        true, found = truth["p_onset_s"][row], measured.p_onset_s[row]
        true, found = true[(true > 0.6) & (true < 9.6)], found[~found.isnan()]
        beats = measured.onset_s[row]
        hidden = ((true[:, None] - beats[None]).nan_to_num(9) + 0.05).abs().amin(1) < 0.13  # in a complex
        missed.append((true[:, None] - found[None]).abs().amin(1)[~hidden] > 0.08)
    assert torch.cat(missed).float().mean() < 0.15


# --- what the truth says holds by the textbook


def test_each_finding_has_a_rule(records):
    assert tuple(diagnose(records[2])) == CODES


def test_the_records_hold_each_finding(records):
    _, truth, _ = records
    assert (truth["findings"] & ~truth["borderline"]).sum(0).min() >= ENOUGH


@pytest.mark.parametrize("code", CODES)
def test_the_textbook_agrees_with_the_truth(records, code):
    _, truth, measured = records
    stated, true = said(truth, measured)[code], truth["findings"][:, COLUMN[code]]
    sure = ~truth["borderline"][:, COLUMN[code]]
    present, absent = stated[true & sure].float().mean().item(), (~stated[~true & sure]).float().mean().item()
    missing = (~stated & true & sure).nonzero()[:, 0].tolist()
    assert present >= PRESENT - 1 / (true & sure).sum(), f"{code} {present:.3f} {missing[:9]}"
    assert absent >= ABSENT, f"{code} {absent:.3f}"


def test_no_record_has_two_rhythms_by_the_textbook(records):
    _, _, measured = records
    held = torch.stack(list(diagnose(measured).values())[: len(RHYTHMS)]).sum(0)
    assert (held > 1).float().mean() < 0.01 and (held == 0).float().mean() < 0.03


def test_an_axis_to_neither_side_is_not_normal(records):
    _, truth, measured = records
    turned = Measured(**vars(measured) | {"axis_deg": torch.full_like(measured.axis_deg, -120)})
    assert said(truth, measured)["NORM"].any() and not said(truth, turned)["NORM"].any()


# --- properties


@pytest.fixture(scope="module")
def healthy(records):
    """Twelve normal records."""
    signal, truth, _ = records
    return signal[has(truth, "NORM")][:12]


def test_smaller_voltage_is_low_voltage_and_larger_is_hypertrophy(healthy):
    assert not diagnose(measure_signal(healthy, HZ))["LOWV"].any()
    assert diagnose(measure_signal(0.15 * healthy, HZ))["LOWV"].all()
    assert diagnose(measure_signal(5.0 * healthy, HZ))["LVH"].all()


def test_swapped_arms_turn_the_axis(healthy):
    """With the arm electrodes swapped I is mirrored and II and III change places."""
    one, two = -healthy[:, 0], healthy[:, 1] - healthy[:, 0]
    swapped = from_independent(torch.cat([torch.stack([one, two], 1), healthy[:, 6:]], 1))
    before, after = measure_signal(healthy, HZ).axis_deg, measure_signal(swapped, HZ).axis_deg
    mirrored = (180 - before + 180) % 360 - 180
    assert ((after - mirrored + 180) % 360 - 180).abs().max() < 3


def test_time_played_faster_is_a_faster_rhythm(healthy):
    """The same samples called 750 Hz: rate times 1.5, and intervals two thirds."""
    slow, fast = measure_signal(healthy, 500.0), measure_signal(healthy, 750.0)
    torch.testing.assert_close(fast.rate_bpm, 1.5 * slow.rate_bpm, rtol=0.01, atol=0)
    assert ((fast.qrs_ms - slow.qrs_ms / 1.5).abs() <= 8).float().mean() > 0.9


def test_lifted_st_is_elevation_where_it_was_lifted(healthy):
    """0.3 mV between the J point and T in II, III and aVF (lead laws kept through II): inferior, and no other wall."""
    measured, lifted = measure_signal(healthy, HZ), healthy.clone()
    for row, onsets in enumerate(measured.onset_s):
        for onset in onsets[~onsets.isnan()].tolist():
            first = round((onset + measured.qrs_ms[row].item() / 1000 - 0.006) * HZ)
            a, b = max(first, 0), max(first + 90, 0)
            lifted[row, 1, a:b] += 0.3 * torch.hann_window(90, periodic=False).sqrt()[: lifted[row, 1, a:b].shape[0]]
    lifted = from_independent(torch.cat([lifted[:, :2], lifted[:, 6:]], 1))
    again = measure_signal(lifted, HZ)
    assert diagnose(again)["STE_INF"].float().mean() >= 0.9
    assert not (diagnose(again)["STE_ANT"] | diagnose(again)["STE_SEP"]).any()


def test_a_record_is_measured_alike_alone_and_among_others(healthy):
    whole = measure_signal(healthy[:4], HZ)
    for row in range(4):
        alone = measure_signal(healthy[row : row + 1], HZ)
        for key in ("qrs_ms", "pr_ms", "qt_ms", "st_mv", "p_mv"):
            assert torch.equal(getattr(alone, key)[0], getattr(whole, key)[row]), key


def test_criteria_pass_counts_present_and_absent(healthy):
    wrong = torch.zeros(len(healthy), len(CODES), dtype=torch.bool)
    wrong[:, COLUMN["NORM"]] = wrong[:, COLUMN["VT"]] = True
    out = criteria_pass(healthy, wrong)
    assert out["VT"] == (0.0, pytest.approx(float("nan"), nan_ok=True), len(healthy))
    assert out["NORM"][0] >= 0.9 and out["AFIB"][1] == 1.0 and out["AFIB"][2] == 0
    assert out["SR"][1] <= 0.1, "all of them are sinus rhythms, which this truth denies"


def test_rows_and_leads_of_measures(records):
    _, _, measured = records
    few = Measured(r_mv=measured.r_mv[:5])
    assert torch.equal(few.lead("r_mv", "V5"), measured.r_mv[:5, LEADS.index("V5")])
    assert few.lead("r_mv", "V5", "V6").shape == (5, 2)


@pytest.mark.parametrize(
    ("signal", "hz"),
    [
        (torch.zeros(2, 8, 5000), 500),
        (torch.zeros(12, 5000), 500),
        (torch.zeros(1, 12, 5000), 500),
        (torch.zeros(1, 12, 1000), 100),
        (torch.full((1, 12, 5000), torch.nan), 500),
    ],
)
def test_what_cannot_be_measured_is_refused(signal, hz):
    with pytest.raises(BadECG):
        measure_signal(signal, hz)
