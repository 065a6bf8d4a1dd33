"""ecg: leads travel by name, the lead laws hold, and every kind of bad input gets one clear sentence."""

import errno
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import wfdb
from conftest import toy_ecg
from other_formats import aecg, dicom, edf, muse, scp

from uniecg_lite.ecg import ECG
from uniecg_lite.ecg_tables import patient
from uniecg_lite.errors import BadECG, UniECGError
from uniecg_lite.leads import INDEPENDENT, LEADS, derive_limb_leads, from_independent, lead_law_residual, lead_name

FLAT_RECORDS = {"ningbo_JS20004"}  # V2, V4 and V6 are dead in the official file


def by_name(ecg: ECG, names=LEADS) -> dict:
    return {name: ecg[name] for name in names}


def write_csv(path, leads: dict, notes=("hz=500",), time=None):
    columns = ([("time_s", time)] if time is not None else []) + list(leads.items())
    rows = zip(*(values for _, values in columns))
    lines = [f"# {note}" for note in notes] + [",".join(name for name, _ in columns)]
    lines += [",".join("" if np.isnan(cell) else f"{cell:.4f}" for cell in row) for row in rows]
    path.write_text("\n".join(lines))
    return path


def write_wfdb(folder, leads: dict, name="rec", units="mV", comments=(), hz=500, gain=1000.0):
    signal = np.column_stack([np.rint(values * 1000).astype(np.int16) for values in leads.values()])  # (L, C)
    many = len(leads)
    wfdb.wrsamp(
        name, fs=hz, units=[units] * many, sig_name=list(leads), d_signal=signal, fmt=["16"] * many,
        adc_gain=[gain] * many, baseline=[0] * many, comments=list(comments), write_dir=str(folder),
    )  # fmt: skip
    return folder / name


# --- leads and laws


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("AVR", "aVR"), ("avl", "aVL"), ("Lead I", "I"), ("lead_II", "II"), ("V1 ", "V1"), ("ecg_v6", "V6"),
        ("ECG III", "III"), ("MDC_ECG_LEAD_aVF", "aVF"), ("DII", "II"), ("ecg", None), ("V7", None), ("", None),
        ("MLII", None), ("-aVR", None), ("vx", None), ("lead", None), ("avg", None), ("None", None),
    ],
)  # fmt: skip
def test_lead_names(text, name):
    assert lead_name(text) == name


def test_leads_follow_einthoven_and_goldberger():
    lead_i, lead_ii = np.array([1.0, 0.2]), np.array([1.5, -0.4])
    three, avr, avl, avf = derive_limb_leads(lead_i, lead_ii)
    np.testing.assert_allclose(lead_i + three, lead_ii)
    np.testing.assert_allclose(avr + avl + avf, 0, atol=1e-12)
    np.testing.assert_allclose([avr[0], avl[0], avf[0]], [-1.25, 0.25, 1.0])


def test_numpy_and_torch_agree():
    eight = np.random.default_rng(0).normal(size=(3, 8, 400)).astype(np.float32)
    twelve = from_independent(eight)
    assert twelve.shape == (3, 12, 400)
    torch.testing.assert_close(from_independent(torch.from_numpy(eight)), torch.from_numpy(twelve))
    assert lead_law_residual(twelve).max() < 1e-6
    twelve[1, 2] += 0.3  # lead III of the middle record
    scores = lead_law_residual(torch.from_numpy(twelve))
    np.testing.assert_allclose(scores, lead_law_residual(twelve))
    np.testing.assert_allclose(scores, [0, 0.3, 0], atol=1e-5)
    assert isinstance(lead_law_residual(twelve[0]), float)


def test_a_single_glitch_does_not_decide_but_nan_does():
    signal = toy_ecg().signal.copy()
    signal[2, 100] += 3
    assert lead_law_residual(signal) < 1e-5
    assert lead_law_residual(signal, quantile=1) == pytest.approx(3, abs=1e-4)
    signal[2, 100] = np.nan
    assert np.isnan(lead_law_residual(signal)) and torch.isnan(lead_law_residual(torch.from_numpy(signal)[None]))[0]


def test_eight_leads_give_the_same_twelve():
    ecg = toy_ecg()
    eight = ECG.from_leads(by_name(ecg, INDEPENDENT), 500)
    np.testing.assert_allclose(eight.signal, ecg.signal, atol=1e-6)
    odd = ECG.from_leads(by_name(ecg, ("aVF", "III", *LEADS[6:])), 500)  # any two limb leads are enough
    np.testing.assert_allclose(odd.signal, ecg.signal, atol=1e-5)


def test_names_decide_not_order():
    ecg = toy_ecg()
    rng = np.random.default_rng(1)
    for _ in range(3):
        leads = by_name(ecg, rng.permutation(LEADS)) | {"vx": ecg["I"], "resp": ecg["V1"]}
        np.testing.assert_array_equal(ECG.from_leads(leads, 500).signal, ecg.signal)


@pytest.mark.parametrize(("unit", "factor"), [("mV", 1), ("V", 1e-3), ("uV", 1e3), ("µV", 1e3), ("nV", 1e6), (None, 1)])
def test_units_by_name(unit, factor):
    ecg = toy_ecg()
    leads = {name: values * factor for name, values in by_name(ecg).items()}
    np.testing.assert_allclose(ECG.from_leads(leads, 500, unit=unit).signal, ecg.signal, atol=1e-5)


# --- the record


def test_an_ecg_knows_its_leads_and_length():
    ecg = toy_ecg(age=63, sex="female", source="toy")
    assert ecg.seconds == 10 and ecg["avf"].shape == (5000,) and ecg.signal.dtype == np.float32
    assert repr(ecg) == "ECG(10 s at 500 Hz, age=63.0, sex=female, source='toy')"
    with pytest.raises(BadECG, match="no lead 'V9'"):
        ecg["V9"]


@pytest.mark.parametrize("hz", [102.4, 257, 400, 1000, 100])
def test_resampling_matches_the_analytic_sine(hz):
    def sine(rate):
        time = np.arange(round(10 * rate)) / rate
        return from_independent(np.stack([np.sin(2 * np.pi * 7 * time + 0.3 * k) for k in range(8)]))

    new = ECG(sine(500), 500).resample(hz)
    assert new.signal.shape == (12, round(10 * hz))
    inner = slice(round(0.3 * hz), -round(0.3 * hz))
    np.testing.assert_allclose(new.signal[:, inner], sine(hz)[:, inner], atol=2e-3)


def test_resampling_removes_what_would_alias_and_does_not_ring_at_the_ends():
    ecg = toy_ecg()
    time = np.arange(5000) / 500
    hum = ECG(ecg.signal + from_independent(np.tile(np.sin(2 * np.pi * 90 * time), (8, 1))), 500)
    inner = slice(20, -20)
    np.testing.assert_allclose(hum.resample(100).signal[:, inner], ecg.resample(100).signal[:, inner], atol=5e-3)
    raised = ECG(ecg.signal + from_independent(np.full((8, 5000), 3.0)), 500).resample(100)
    shift = raised.signal - ecg.resample(100).signal
    np.testing.assert_allclose(shift, np.broadcast_to(shift.mean(1, keepdims=True), shift.shape), atol=1e-3)
    assert lead_law_residual(raised.signal) < 1e-5


def test_standard_form():
    for hz, seconds in ((500, 10), (257, 12.5), (102.4, 10), (1000, 40), (500, 9.95)):
        assert toy_ecg(hz, seconds).standard().signal.shape == (12, 1000)
    standard = toy_ecg().standard()
    assert standard.standard() is standard
    np.testing.assert_allclose(toy_ecg(1000, 40).standard().signal, toy_ecg(100).signal, atol=0.03)
    with pytest.raises(BadECG, match="lasts 9.80 s: the models read 10 s"):
        toy_ecg(seconds=9.8).standard()


# --- what is refused


def spoilt(change) -> np.ndarray:
    signal = toy_ecg().signal.copy()
    return signal if (new := change(signal)) is None else new


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x[:8], r"Expected 12 leads as \(12, L\)"),
        (lambda x: x[:, :400], "lasts 0.80 s: an ECG of at least 1 s"),
        (lambda x: x.__setitem__((7, 40), np.nan), "Missing values .* in V2"),
        (lambda x: x.__setitem__((7, 40), np.inf), "Missing values .* in V2"),
        (lambda x: x.__setitem__([6, 9], 0.7), "Flat over the whole record: V1, V4"),
        (lambda x: x * 0, "Flat over the whole record: I, II"),
        (lambda x: x * 1000, 'too large for an ECG: if the values are in microvolts, pass unit="uV"'),
        (lambda x: x / 1000, 'too small for an ECG: if the values are in volts, pass unit="V"'),
        (lambda x: x[[0, 1, 2, 3, 5, 4, *range(6, 12)]], "exchanging aVL and aVF would repair it"),
        (lambda x: x[[1, 0, *range(2, 12)]], "exchanging I and II would repair it"),
        (lambda x: x * ([[1]] * 3 + [[-1]] + [[1]] * 8), "inverting aVR would repair it"),
        (lambda x: np.random.default_rng(0).normal(size=x.shape), "not leads of one ECG"),
        (lambda x: [["a"] * 5000] * 12, "must be numbers"),
    ],
)
def test_bad_signals_are_refused(change, message):
    with pytest.raises(BadECG, match=message):
        ECG(spoilt(change), 500)


@pytest.mark.parametrize("hz", [0, 49, 2001, -500, float("nan"), float("inf"), None, "fast"])
def test_odd_rates_are_refused(hz):
    with pytest.raises(BadECG, match="sampling rate|must be numbers"):
        ECG(toy_ecg().signal, hz)


def test_bad_age_sex_and_unit_are_refused():
    signal = toy_ecg().signal
    with pytest.raises(BadECG, match="Age 300"):
        ECG(signal, 500, age=300)
    with pytest.raises(BadECG, match="Sex 'F'"):
        ECG(signal, 500, sex="F")
    with pytest.raises(BadECG, match="unit 'mmHg' is not known"):
        ECG.from_leads(by_name(toy_ecg()), 500, unit="mmHg")


def test_missing_uneven_and_double_leads_are_refused():
    leads = by_name(toy_ecg())
    with pytest.raises(BadECG, match="Leads are missing: V3, V5"):
        ECG.from_leads({k: v for k, v in leads.items() if k not in ("V3", "V5")}, 500)
    with pytest.raises(BadECG, match="missing: 1 more limb lead "):
        ECG.from_leads({k: v for k, v in leads.items() if k in ("II", *LEADS[6:])}, 500)
    with pytest.raises(BadECG, match="no ECG lead at all"):
        ECG.from_leads({"Fp1": leads["I"], "Fp2": leads["II"]}, 500)
    with pytest.raises(BadECG, match="differ in length"):
        ECG.from_leads(leads | {"V1": leads["V1"][:-1]}, 500)
    with pytest.raises(BadECG, match="Lead I is given twice"):
        ECG.from_leads(leads | {"Lead I": leads["I"]}, 500)
    with pytest.raises(BadECG, match="V1 holds something that is not a number"):
        ECG.from_leads(leads | {"V1": ["x"] * 5000}, 500)
    with pytest.raises(BadECG, match="one row of samples"):
        ECG.from_leads(leads | {"V1": np.zeros((2, 5000))}, 500)


def test_short_gaps_are_bridged_and_long_ones_refused():
    ecg = toy_ecg()
    lead = ecg["V4"].copy()
    lead[300:320] = np.nan  # 40 ms
    with pytest.warns(UserWarning, match="V4"):
        bridged = ECG.from_leads(by_name(ecg) | {"V4": lead}, 500)["V4"]
    np.testing.assert_allclose(bridged[300:320], np.linspace(lead[299], lead[320], 22)[1:-1], atol=1e-6)
    for gap in (slice(300, 321), slice(0, 3), slice(-2, None), slice(None)):
        broken = ecg["V4"].copy()
        broken[gap] = np.nan
        with pytest.raises(BadECG, match="Lead V4 has missing values"):
            ECG.from_leads(by_name(ecg) | {"V4": broken}, 500)


# --- files


def test_save_and_load_round_trip(tmp_path):
    ecg = toy_ecg(hz=102.4, age=63, sex="female", source="toy, Zürich\nline two")
    path = ecg.save(tmp_path / "new folder" / "rec-1_a")
    for given in (path, path.with_suffix(".hea"), str(path.with_suffix(".dat"))):
        back = ECG.load(given)
        assert np.abs(back.signal - ecg.signal).max() <= 0.0005 + 1e-6
        assert (back.hz, back.age, back.sex, back.source) == (102.4, 63, "female", "toy, Zurich line two")
    assert sorted(file.name for file in path.parent.iterdir()) == ["rec-1_a.dat", "rec-1_a.hea"]


def test_saving_refuses_bad_names_large_offsets_and_a_full_disk(tmp_path, monkeypatch):
    ecg = toy_ecg()
    for name in ("a.b", "a b", "ä", ""):
        with pytest.raises(BadECG, match="letters, digits, _ and - only"):
            ecg.save(tmp_path / "x" / ".." / name if name else "")
    with pytest.raises(BadECG, match="exceeds 32.767 mV"):
        ECG(ecg.signal + from_independent(np.full((8, 5000), 33.0)), 500).save(tmp_path / "high")

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(wfdb, "wrsamp", full)
    with pytest.raises(UniECGError, match="No space left on device.*make room"):
        ecg.save(tmp_path / "full")
    assert list(tmp_path.iterdir()) == []


def test_order_of_signals_in_a_wfdb_file_does_not_matter(tmp_path):
    ecg = toy_ecg()
    plain = ECG.load(write_wfdb(tmp_path, by_name(ecg), "plain"))
    names = np.random.default_rng(2).permutation(LEADS)
    mixed = write_wfdb(tmp_path, {"vx": ecg["I"]} | by_name(ecg, names) | {"vz": ecg["II"]}, "mixed")
    np.testing.assert_array_equal(ECG.load(mixed).signal, plain.signal)
    eight = write_wfdb(tmp_path, by_name(ecg, names[np.isin(names, INDEPENDENT)]), "eight")
    np.testing.assert_allclose(ECG.load(eight).signal, plain.signal, atol=0.002)


def test_wfdb_units_go_by_name(tmp_path):
    ecg = toy_ecg()
    record = write_wfdb(tmp_path, by_name(ecg), units="uV", gain=1.0)
    np.testing.assert_allclose(ECG.load(record).signal, ecg.signal, atol=0.001)
    wrong = write_wfdb(tmp_path, by_name(ecg), "wrong", units="mV", gain=1.0)
    with pytest.raises(BadECG, match='pass unit="uV"'):
        ECG.load(wrong)
    np.testing.assert_allclose(ECG.load(wrong, unit="uV").signal, ecg.signal, atol=0.001)


@pytest.mark.parametrize(
    ("comments", "age", "sex"),
    [
        (["Age: 63", "Sex: Female"], 63, "female"),
        (["<age>: 63  <sex>: F  <diagnoses>: (none)"], 63, "female"),
        (["age: 0", "sex: male"], 0, "male"),
        (["Age: 300", "Sex: Unknown"], None, None),
        (["Age: -1", "gender: M"], None, "male"),
        (["Age: NaN", "Language: m"], None, None),
        ([], None, None),
    ],
)
def test_age_and_sex_from_the_header(tmp_path, comments, age, sex):
    ecg = ECG.load(write_wfdb(tmp_path, by_name(toy_ecg()), comments=comments))
    assert (ecg.age, ecg.sex) == (age, sex)


def test_damaged_wfdb_records_are_refused(tmp_path):
    record = toy_ecg().save(tmp_path / "rec")
    dat, hea = record.with_suffix(".dat"), record.with_suffix(".hea")
    whole, header = dat.read_bytes(), hea.read_text()
    for size in (0, 24, len(whole) // 2, len(whole) - 5):
        dat.write_bytes(whole[:size])
        with pytest.raises(BadECG, match="cut short or damaged"):
            ECG.load(record)
    dat.unlink()
    with pytest.raises(BadECG, match="rec.dat named in rec.hea is missing"):
        ECG.load(record)
    dat.write_bytes(whole)
    for text, message in [
        ("", "header rec.hea cannot be understood"),
        ("no header at all", "cannot be understood"),
        ("\x00\x01\x02", "cannot be understood"),
        (header.replace("rec 12 500", "rec 12 five"), "states a rate of 'five'"),
        (header.replace("1000.0(0)/mV", "0/mV", 1), "states no gain"),
        ("rec 12 500 5000\n", "do not fit its header"),
        (header.replace("rec 12 500 5000", "rec 12 500 9000"), "do not fit its header"),
        (header.replace("rec 12 500 5000", "rec 11 500 5000"), "do not fit its header"),
        (header.replace("rec 12 500 5000", "rec 12"), "does not state its sampling rate"),
    ]:
        hea.write_text(text)
        with pytest.raises(BadECG, match=message):
            ECG.load(record)
    hea.write_text(header.replace("rec.dat", "../rec.dat"))
    with pytest.raises(BadECG, match="missing: put it beside|cannot be understood"):
        ECG.load(record)
    hea.write_text(header.replace("rec 12 500", "rec 12 20"))
    with pytest.raises(BadECG, match="sampling rate of 20"):
        ECG.load(record)
    hea.write_text(header.replace("V2", "V1"))
    with pytest.raises(BadECG, match="V1 is given twice|do not fit"):
        ECG.load(record)


def test_wrong_order_in_a_wfdb_file_is_refused(tmp_path):
    leads = by_name(toy_ecg())
    leads["aVL"], leads["aVF"] = leads["aVF"], leads["aVL"]
    with pytest.raises(BadECG, match="exchanging aVL and aVF would repair it"):
        ECG.load(write_wfdb(tmp_path, leads))


def test_csv(tmp_path):
    ecg = toy_ecg(seconds=2)
    leads = {f"{name} (uV)": values * 1000 for name, values in by_name(ecg).items()}
    back = ECG.load(write_csv(tmp_path / "a.csv", leads, notes=("hz=500", "age: 40", "sex: M")))
    np.testing.assert_allclose(back.signal, ecg.signal, atol=1e-5)
    assert (back.hz, back.age, back.sex, back.source) == (500, 40, "male", "a")
    timed = write_csv(tmp_path / "b.csv", by_name(ecg), notes=(), time=np.arange(1000) / 500)
    assert ECG.load(timed).hz == 500
    semicolon = tmp_path / "c.csv"
    semicolon.write_text(timed.read_text().replace(",", ";").replace(".", ","))
    np.testing.assert_allclose(ECG.load(semicolon).signal, ecg.signal, atol=1e-4)
    with pytest.raises(BadECG, match="states 500 Hz, but hz=250"):
        ECG.load(timed, hz=250)


def test_bad_csv_is_refused(tmp_path):
    path, leads = tmp_path / "a.csv", by_name(toy_ecg(seconds=2))
    with pytest.raises(BadECG, match="does not state its sampling rate: pass it"):
        ECG.load(write_csv(path, leads, notes=()))
    assert ECG.load(path, hz=500).hz == 500
    with pytest.raises(BadECG, match='pass unit="uV"'):
        ECG.load(write_csv(path, {name: values * 1000 for name, values in leads.items()}))
    with pytest.raises(BadECG, match="rate that is no number"):
        ECG.load(write_csv(path, leads, notes=("hz=fast",)))
    jumpy = np.arange(1000) / 500 + (np.arange(1000) > 500)
    with pytest.raises(BadECG, match="not evenly spaced"):
        ECG.load(write_csv(path, leads, notes=(), time=jumpy))
    with pytest.raises(BadECG, match="does not rise steadily"):
        ECG.load(write_csv(path, leads, notes=(), time=jumpy[::-1]))
    for text, message in [
        ("", "is empty"),
        ("I,II\n", "holds no samples"),
        ("a,b\n1,2\n", "names no ECG lead"),
        ("I,II\n1,2\n1\n", "another number of columns"),
        ("I,II\n1,x\n", "not a table of numbers"),
        ("I,I\n1,2\n", "Lead I is given twice"),
        ("# hz=500\nI,II\n1,2\n", "Leads are missing: V1, V2"),
    ]:
        path.write_text(text)
        with pytest.raises(BadECG, match=message):
            ECG.load(path)
    path.write_bytes(b"\xff\xfe\x00\xd8")
    with pytest.raises(BadECG, match="not a text file"):
        ECG.load(path)


def test_numpy_files(tmp_path):
    ecg = toy_ecg()
    np.save(tmp_path / "a.npy", ecg.signal)
    np.save(tmp_path / "b.npy", ecg.signal.T)
    for name in ("a.npy", "b.npy"):
        np.testing.assert_array_equal(ECG.load(tmp_path / name, hz=500).signal, ecg.signal)
        with pytest.raises(BadECG, match="does not state its sampling rate"):
            ECG.load(tmp_path / name)
    names = np.random.default_rng(3).permutation(INDEPENDENT)
    signal = np.stack([ecg[name] for name in names]) * 1000
    np.savez(tmp_path / "c.npz", signal=signal, hz=500, leads=names, unit="uV", age=71, sex="female")
    back = ECG.load(tmp_path / "c.npz")
    np.testing.assert_allclose(back.signal, ecg.signal, atol=1e-5)
    assert (back.hz, back.age, back.sex) == (500, 71, "female")


def test_bad_numpy_files_are_refused(tmp_path):
    ecg, path = toy_ecg(), tmp_path / "a.npy"
    np.save(path, ecg.signal[:8])
    with pytest.raises(BadECG, match=r"has shape \(8, 5000\), but 12 leads"):
        ECG.load(path, hz=500)
    np.save(path, np.array([{"a": 1}], dtype=object))
    with pytest.raises(BadECG, match="not a NumPy file of numbers"):
        ECG.load(path, hz=500)
    path.write_bytes(b"not numpy")
    with pytest.raises(BadECG, match="not a NumPy file of numbers"):
        ECG.load(path, hz=500)
    archive = tmp_path / "a.npz"
    for arrays, message in [
        ({"x": ecg.signal}, "no array named signal"),
        ({"signal": ecg.signal, "hz": "fast"}, "hz in a.npz is no number"),
        ({"signal": ecg.signal}, "does not state its sampling rate"),
        ({"signal": np.array([None], dtype=object), "hz": 500}, "holds objects"),
    ]:
        np.savez(archive, **arrays)
        with pytest.raises(BadECG, match=message):
            ECG.load(archive)


def test_other_paths_are_refused(tmp_path):
    with pytest.raises(BadECG, match="There is no ECG file"):
        ECG.load(tmp_path / "nothing")
    with pytest.raises(BadECG, match="There is no file"):
        ECG.load(tmp_path / "nothing.csv")
    with pytest.raises(BadECG, match="is a folder"):
        ECG.load(tmp_path)
    with pytest.raises(BadECG, match="is an image"):
        ECG.load(tmp_path / "page.png")


# --- files as they come


def changed(header, *pairs):
    """Write a header anew with the first of each pair replaced; each stands in it."""
    text = header.read_text()
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    header.write_text(text, encoding="utf-8")


def table(path, *above, leads=None, sep=",", time=None, number="{:.4f}", encoding="utf-8"):
    """Write a table of the toy, 2 s at 500 Hz: some lines, then a row for each sample."""
    leads = by_name(toy_ecg(seconds=2)) if leads is None else leads
    columns = [[number.format(v) for v in values] for values in leads.values()]
    columns = columns if time is None else [time, *columns]
    path.write_bytes("\n".join([*above, *map(sep.join, zip(*columns))]).encode(encoding))
    return path


@pytest.mark.parametrize(
    "line",
    [
        "rec.dat 12 500 5000 05-May-2020 09:49:17", "rec 12 500 5000 2014-05-08 05:05:15", "rec 12 500 5000 2006",
        "rec 12 500/1000(0) 5000 12:00:00 01/02/2020", "rec 12 500", "other 12 500.0 5000 yesterday",
    ],
)  # fmt: skip
def test_dates_and_names_in_a_record_line_do_not_matter(tmp_path, line):
    ecg = toy_ecg(age=71)
    header = ecg.save(tmp_path / "rec").with_suffix(".hea")
    changed(header, ("rec 12 500 5000", line))
    back = ECG.load(header)
    np.testing.assert_allclose(back.signal, ecg.signal, atol=0.0006)
    assert (back.hz, back.age, sorted(file.name for file in tmp_path.iterdir())) == (500, 71, ["rec.dat", "rec.hea"])


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8", "utf-16"])
@pytest.mark.parametrize("unit", ["µV", "uV"])
def test_microvolts_in_a_header(tmp_path, unit, encoding):
    ecg = toy_ecg()
    header = write_wfdb(tmp_path, by_name(ecg), units="uV", gain=1.0).with_suffix(".hea")
    header.write_bytes(header.read_text().replace("uV", unit).encode(encoding))
    np.testing.assert_allclose(ECG.load(header).signal, ecg.signal, atol=0.001)


def test_samples_of_a_frame_are_kept(tmp_path):
    ecg = toy_ecg(hz=200)
    header = ecg.save(tmp_path / "rec").with_suffix(".hea")
    frames = (tmp_path / "rec.dat").read_bytes()
    four = np.frombuffer(frames, "<i2").reshape(-1, 4, 12).transpose(0, 2, 1)  # frame, lead, sample
    (tmp_path / "rec.dat").write_bytes(four.tobytes())
    changed(header, ("12 200 2000", "12 50 500"), ("rec.dat 16 ", "rec.dat 16x4 "))
    back = ECG.load(header)
    assert back.hz == 200
    np.testing.assert_allclose(back.signal, ecg.signal, atol=0.0006)
    one, two = four[:, :, :3], four[:, :6].mean(2).astype("<i2")  # leads of two rates
    (tmp_path / "rec.dat").write_bytes(b"".join(o[:6].tobytes() + t.tobytes() for o, t in zip(one, two)))
    lines = header.read_text().replace("16x4", "16x3").splitlines()
    header.write_text("\n".join([*lines[:7], *(line.replace("16x3", "16") for line in lines[7:])]))
    with pytest.raises(BadECG, match="differ in their rates"):
        ECG.load(header)


def test_segments(tmp_path):
    ecg = toy_ecg()
    for k in (1, 2):
        part = ECG(ecg.signal[:, 2500 * (k - 1) : 2500 * k], 500)
        second = part.save(tmp_path / f"part{k}").with_suffix(".hea")
    whole = tmp_path / "whole.hea"
    whole.write_text("whole/2 12 500 5000 1/2/2020\npart1 2500\npart2 2500\n# Age: 50")
    back = ECG.load(whole)
    np.testing.assert_allclose(back.signal, ecg.signal, atol=0.0006)
    assert back.age == 50
    good = second.read_text()
    for old, new, message in [
        ("1000.0(0)/mV", "0/mV", "part2.hea states no gain"),
        ("/mV", "/uV", "segments of whole differ in leads or units"),
        ("V1", "X1", "segments of whole differ in leads or units"),
        ("12 500", "12 250", "part2 of whole has another rate"),
        ("part2.dat", "part9.dat", "part9.dat named in part2.hea is missing"),
    ]:
        second.write_text(good.replace(old, new))
        with pytest.raises(BadECG, match=message):
            ECG.load(whole)
    second.write_text(good)
    for lines, message in [
        ("whole/3 12 500 5500\npart1 2500\n~ 500\npart2 2500", "has a gap of 1 s between its segments"),
        ("whole/2 12 500 5000\npart1 2500\npart3 2500", "part3.hea named in whole.hea is missing"),
        ("whole/1 12 500 5000\nwhole 5000", "do not fit its header"),
        ("whole/3 12 500 5000\npart1 2500\npart2 2500", "do not fit its header"),
        ("whole/2 12 500 5200\npart1 2500\npart2 2700", "do not fit its header"),
        ("whole/2 12 500 5000\npart1 2500", "do not fit its header"),
        ("whole/2 12 500 5000\npart1 2400\npart2 2600", "do not fit its header"),
        ("whole/2 12 500 5000\npart1 x\n~ x", "do not fit its header"),
    ]:
        whole.write_text(lines)
        with pytest.raises(BadECG, match=message):
            ECG.load(whole)


def test_a_bridged_gap_is_said_and_a_part_of_a_lead_named(tmp_path):
    ecg = toy_ecg()
    lead = ecg["V2"].copy()
    lead[300:318] = np.nan
    with pytest.warns(UserWarning, match="Lead V2 misses samples, for up to 36 ms: .* a wave there is lost"):
        ECG.from_leads(by_name(ecg) | {"V2": lead}, 500)
    for filling in (np.nan, 0.0):
        columns = {name: np.full(5000, filling) for name in LEADS} | {"II": ecg["II"]}
        for k, name in enumerate(LEADS):
            where = slice(k // 3 * 1250, (k // 3 + 1) * 1250)
            columns[name][where] = ecg[name][where]
        with pytest.raises(
            BadECG, match=r"Lead I holds 2\.\d+ s of 10 s only, as on a page with its leads side by side"
        ):
            ECG.from_leads(columns, 500)


HEAD = ",".join(LEADS)
SECONDS_2 = np.arange(1000) / 500


@pytest.mark.parametrize(
    ("above", "how"),
    [
        ([";".join(f"{name} [µV]" for name in LEADS)], dict(sep=";", micro=1, number="{:.1f}", encoding="cp1252")),
        (["\t".join(f"{name} (µV)" for name in LEADS)], dict(sep="\t", micro=1, number="{:.1f}", encoding="utf-16")),
        (["\t".join(LEADS)], dict(sep="\t", comma=1)),
        ([";".join(LEADS)], dict(sep=";", comma=1)),
        ([HEAD], dict(number='"{:.4f}"', comma=1)),
        (["# " + HEAD], {}),
        (["# " + " ".join(LEADS)], dict(sep="  ", number="{:.6e}")),
        (["Device: toy", "Leads: I, II, III", "Heart rate: 72", "Filter, 0.05-150 Hz, AC on", "", HEAD], {}),
        (["sep=;", ";".join(LEADS)], dict(sep=";")),
        ([HEAD.lower(), ",".join(["'mV'"] * 12)], {}),
        ([HEAD, ",".join(["[uV]"] * 12)], dict(micro=1)),
    ],
)
def test_tables_as_people_save_them(tmp_path, above, how):
    ecg = toy_ecg(seconds=2)
    scale = 1000 if how.pop("micro", 0) else 1
    path = table(
        tmp_path / "a.csv",
        *above,
        leads={n: x * scale for n, x in by_name(ecg).items()},
        **{k: v for k, v in how.items() if k != "comma"},
    )
    if "comma" in how:
        path.write_text(path.read_text().replace(".", ","))
    back = ECG.load(path, hz=500)
    np.testing.assert_allclose(back.signal, ecg.signal, atol=1e-4)
    assert back.age is None and back.sex is None


@pytest.mark.parametrize(
    ("note", "hz", "age", "sex"),
    [
        ("# hz=500,unit=mV,age=63,sex=F", 500, 63, "female"),
        ("# hz=500 unit=mV", 500, None, None),
        ("Rate: 500 Hz", 500, None, None),
        ("Sampling rate;500;Hz", 500, None, None),
        ("SamplingRate: 500Hz", 500, None, None),
        ("Sample frequency (Hz) = 500", 500, None, None),
        ("fs: 500", 500, None, None),
        ("Rate: 72 bpm", None, None, None),
        ("Notch: 50 Hz", None, None, None),
        ("Samples: 1000", None, None, None),
    ],
)
def test_notes_over_a_table(tmp_path, note, hz, age, sex):
    path = table(tmp_path / "a.csv", note, HEAD)
    if hz is None:
        with pytest.raises(BadECG, match="does not state its sampling rate"):
            ECG.load(path)
    else:
        back = ECG.load(path)
        assert (back.hz, back.age, back.sex) == (hz, age, sex)


@pytest.mark.parametrize(
    ("names", "cell", "hz"),
    [
        (["time"], "{:.3f}", 500),
        (["Timestamp"], "{:.3f}", 500),
        (["time"], "ms", 500),
        (["Timestamp"], "ms", 500),
        (["Time (ms)"], "ms", 500),
        (["time_ms"], "ms", 500),
        (["t", "s"], "{:.3f}", 500),
        (["'Elapsed time'", "'mm:ss.mmm'"], "'0:{:06.3f}'", 500),
        (["Elapsed time", "hh:mm:ss.mmm"], "10:59:{:06.3f}", 500),
        (["time", "ms"], "ms", 500),
        (["time"], "number", None),
        (["time_ms"], "number", 1000),
        (["time"], "2020-01-01 10:00:{:06.3f}", None),
    ],
)
def test_rates_from_a_column_of_times(tmp_path, names, cell, hz):
    time = [cell.format(t) if "{" in cell else f"{round(t * (1000 if cell == 'ms' else 500))}" for t in SECONDS_2]
    units = [",".join([names[1], *["mV"] * 12])] if len(names) > 1 else []
    path = table(tmp_path / "a.csv", f"{names[0]},{HEAD}", *units, time=time)
    if hz is None:
        with pytest.raises(BadECG, match="does not state its sampling rate"):
            ECG.load(path)
    assert ECG.load(path, hz=hz or 500).hz == (hz or 500)


def test_tables_that_are_unclear_are_refused(tmp_path):
    path = tmp_path / "a.csv"
    with pytest.raises(
        BadECG, match=r"names no ECG lead in its first 100 lines \(it begins with '0.0[^']*'\): put a row"
    ):
        ECG.load(table(path), hz=500)
    micro = {name: values * 1000 + 2000 for name, values in by_name(toy_ecg(seconds=2)).items()}
    with pytest.raises(BadECG, match="'[123],[0-9]{3}'.* can be thousands or decimals"):
        ECG.load(table(path, "\t".join(LEADS), leads=micro, sep="\t", number="{:,.0f}"), hz=500)
    for start in (b"\x00\x81\xff" * 50, b"\n" * 9, b"#\n#\n"):
        path.write_bytes(start)
        with pytest.raises(BadECG, match="names no ECG lead"):
            ECG.load(path, hz=500)


@pytest.mark.parametrize(
    ("text", "age", "sex"),
    [
        ("Age: 6 months", None, None), ("Age: 6 meses", None, None), ("Age: 3 Tage", None, None),
        ("Age: 5mo", None, None),
        ("Age: 012W", None, None), ("Age: >89", None, None), ("Age: 300", None, None),
        ("Gestational age: 39", None, None),
        ("Maternal age: 31", None, None), ("Age: 063Y", 63, None), ("Age: 63 Jahre", 63, None),
        ("Age: 63 años", 63, None),
        ("Patient age: 63", 63, None), ("Sex: Female Age: 63", 63, "female"), ("Age: 63\nDx: 1", 63, None),
        ("Age: 63.5 years", 63.5, None), ("Age: 6.5 Monate", None, None), ("Sex: Mujer", None, "female"),
        ("Sex: Mulher", None, "female"), ("Sex: Hombre", None, "male"), ("Sex: Homem", None, "male"),
        ("Sex: Feminino", None, "female"), ("Sex: Missing", None, None), ("Sex: 1", None, None),
        ("Sex: Manly", None, None), ("Sex: masculino", None, "male"),
    ],
)  # fmt: skip
def test_ages_and_sexes_in_words(text, age, sex):
    assert patient(text) == {"age": age, "sex": sex}


# --- files of other systems


@pytest.fixture
def other_systems():
    pytest.importorskip("ecgdatakit", reason="the extra `files` is not installed")


@pytest.mark.parametrize(
    ("system", "name", "hz"),
    [(dicom, "a.dcm", 500), (dicom, "a", 102.4), (edf, "a.edf", 500), (muse, "a.xml", 500), (aecg, "a.xml", 500),
     (aecg, "a.xml", 102.4), (scp, "a.scp", 500)],
)  # fmt: skip
def test_files_of_other_systems(other_systems, recwarn, tmp_path, system, name, hz):
    ecg = toy_ecg(hz)
    back = ECG.load(system(tmp_path / name, ecg))
    np.testing.assert_allclose(back.signal, ecg.signal, atol=0.0025)
    known = (None, None) if system is edf else (63, "female")  # plain EDF says neither
    assert (back.hz, back.age, back.sex) == (hz, *known)


def test_files_of_other_systems_are_not_read_wrongly(other_systems, tmp_path):
    ecg, path = toy_ecg(), tmp_path / "a.edf"
    np.testing.assert_allclose(ECG.load(edf(path, ecg, onsets=range(10))).signal, ecg.signal, atol=0.0025)
    assert ECG.load(path).sex == "female" and ECG.load(path).age == 63
    with pytest.raises(BadECG, match="gaps between data records"):
        ECG.load(edf(path, ecg, onsets=[0, 1, 2, 3, 4, 6, 7, 8, 9, 10]))
    whole = edf(path, ecg).read_bytes()
    for size in (100, 3000, 60_000, len(whole) - 100):
        path.write_bytes(whole[:size])
        with pytest.raises(BadECG, match="a.edf cannot be read .*: export it again"):
            ECG.load(path)
    for file, message in [
        (edf(tmp_path / "b.edf", ecg, label="EEG {}9"), "holds no ECG with named leads"),
        (edf(tmp_path / "c.edf", ecg, unit=""), "states no unit of I, II"),
        (edf(tmp_path / "d.edf", ecg, unit="mmHg"), "unit 'mmHg' is not known"),
        (scp(tmp_path / "e.scp", ecg, late=("V1", "V2", "V3")), "begin at different times"),
        (muse(tmp_path / "f.xml", ecg, ("I", "II", "V1")), "Leads are missing: V2"),
        (muse(tmp_path / "g.xml", ecg, ("I", "II", "II", *LEADS[6:])), "Lead II is given twice"),
        (muse(tmp_path / "h.xml", ecg, unit="COUNTS"), "states no unit of I, II"),
        (dicom(tmp_path / "i.dcm", ecg, named=False), "holds no ECG with named leads"),
        (tmp_path / "j.xml", "No parser found"),
    ]:
        if not file.exists():
            file.write_text("<note>no ECG</note>")
        with pytest.raises(BadECG, match=message):
            ECG.load(file)


def test_without_the_extra_other_files_are_refused_by_name(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "ecgdatakit", None)  # as if it were not installed
    for name in ("a.xml", "a.edf", "a.dcm", "a.scp", "a"):
        (tmp_path / name).write_bytes(b"0")
        with pytest.raises(BadECG, match=f"Files such as {name} are not read here: .* MUSE XML and EDF need the extra"):
            ECG.load(tmp_path / name)


# --- awkward files, after public reports

READ = {  # file -> age and sex
    **{f"E9000{k}.hea": (71, "female") for k in (1, 2, 3, 4)}, "whole.hea": (50, "female"),
    "one_line.csv": (63, "female"),
    "p01.hea": (None, "female"), "p02.hea": (None, "male"), "p03.hea": (None, "female"), "p04.hea": (None, "male"),
    "p05.hea": (None, None), "p06.hea": (40, None), "p07.hea": (40, "female"), "p08.hea": (40, "female"),
    "p09.hea": (40, "male"), "p10.hea": (None, "female"), "p11.hea": (63, "female"),
    **dict.fromkeys(
        ("latin.hea", "utf8.hea", "plain.hea", "frames.hea", "bridged.hea", "windows.csv", "unicode.txt", "comma.txt",
         "quoted.csv", "savetxt.csv", "units_row.csv", "preamble.csv", "ms_timestamp.csv", "ms_time.csv"), (None, None),
    ),
}  # fmt: skip
REFUSED = {  # file -> words of the sentence
    "nogain.hea": "part2.hea states no gain", "gap.hea": "has a gap of 1 s", "clipped.hea": "V2 .* up to 60 ms",
    "columns.hea": "holds 2.5 s of 10 s only", "bare.csv": "names no ECG lead .*: put a row of names",
    "plain_uv.csv": "sampling rate", "adc.npy": "sampling rate", "cart.xml": "cart.xml (are not|cannot be) read",
    "cart.edf": "cart.edf (are not|cannot be) read", "cart.dcm": "cart.dcm (are not|cannot be) read",
    "A0099.mat": "header A0099.hea of A0099.mat is missing", "cart.hea.txt": "names no ECG lead",
}  # fmt: skip


@pytest.mark.parametrize("case", ["01", "03", "04", "06", "07", "08", "10", "13"])
def test_awkward_files_are_read_rightly_or_refused_for_what_they_are(awkward, recwarn, tmp_path, case):
    case = getattr(awkward, f"case_{case}")(tmp_path / case)
    for file in map(Path, case["files"]):
        if file.name in REFUSED:
            with pytest.raises(BadECG, match=REFUSED[file.name]):
                ECG.load(file, hz=case["hz"])
            continue
        ecg = ECG.load(file, hz=case["hz"])
        hz = 250 if file.name == "frames.hea" else 500
        assert (ecg.hz, ecg.seconds, ecg.age, ecg.sex) == (hz, 10, *READ[file.name]), file.name
        assert np.ptp(ecg["II"]) == pytest.approx(1.21, abs=0.01) and np.ptp(ecg["V4"]) == pytest.approx(1.59, abs=0.01)
        assert any("Lead V2 of bridged misses samples" in str(w.message) for w in recwarn) == (
            file.name == "bridged.hea"
        )
        recwarn.clear()


def test_plain_microvolts_are_read_when_they_are_named(awkward, tmp_path):
    case = awkward.case_08(tmp_path)
    for file in case["files"][:2]:
        with pytest.raises(BadECG, match='pass unit="uV"'):
            ECG.load(file, hz=500)
        assert np.ptp(ECG.load(file, hz=500, unit="uV")["II"]) == pytest.approx(1.21, abs=0.01)


# --- real records


def test_real_records_load_or_are_refused_for_a_true_reason(real_records):
    ecgs, refused = [], {}
    for record in real_records:
        try:
            ecgs.append(ECG.load(record))
        except BadECG as error:
            refused[record.name] = str(error)
    assert set(refused) <= FLAT_RECORDS
    assert all("Flat over the whole record: V2, V4, V6" in message for message in refused.values())
    signal = np.stack([ecg.signal for ecg in ecgs])  # (N, 12, 5000)
    assert lead_law_residual(signal).max() <= 0.0035 + 1e-6
    swapped = signal[:, [0, 1, 2, 3, 5, 4, *range(6, 12)]]
    residual = lead_law_residual(swapped)
    assert residual.min() > 0.2 and np.mean(residual >= 0.48) > 0.5
    for ecg, wrong in list(zip(ecgs, swapped))[::10]:
        assert ecg.standard().signal.shape == (12, 1000)
        with pytest.raises(BadECG, match="exchanging aVL and aVF would repair it"):
            ECG(wrong, ecg.hz)


def test_real_records_survive_saving(real_records, tmp_path):
    ecg = ECG.load(real_records[0])
    np.testing.assert_allclose(ECG.load(ecg.save(tmp_path / "again")).signal, ecg.signal, atol=1e-6)
