"""real: statements become labels as they should, scores are the textbook's, tuning never sees what is scored."""

import csv
import json
import math
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torchmetrics.functional.classification import binary_auroc, binary_f1_score

from uniecg_lite.ecg import ECG
from uniecg_lite.errors import BadArtifact, BadECG
from uniecg_lite.findings import CODES
from uniecg_lite.metrics import real_records as room
from uniecg_lite.metrics.reader import Reader
from uniecg_lite.metrics.real_records import (
    ISCHAEMIA,
    RealRecords,
    groups_of_findings,
    load_real_records,
    load_signals,
    manifest_rows,
)
from uniecg_lite.simulator.simulate import simulate

NOTEBOOK = Path(__file__).parents[1] / "notebooks" / "17_simulated_to_real.ipynb"
COLUMNS = ("record", "patient_id", "label_group", "label_groups_all", "scp_codes", "snomed_dx", "flags")


def write_folder(folder, rows: list[dict]):
    """A folder of simulated records with a manifest of these rows."""
    signal = simulate(0, torch.arange(len(rows))).signal.numpy()
    filled = [
        dict.fromkeys(COLUMNS, "") | {"record": f"r{i}", "label_group": "rhythm"} | row for i, row in enumerate(rows)
    ]
    for i, row in enumerate(filled):
        if row["flags"] == "flat_leads":
            signal[i, 7] = 0
            (folder / f"{row['record']}.hea").write_text("nothing of use")
        else:
            ECG(signal[i], 100.0).save(folder / row["record"])
    with open(folder / "manifest.csv", "w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, COLUMNS)
        table.writeheader()
        table.writerows(filled)
    return folder


def scp(**percent: float) -> dict[str, str]:
    return {"scp_codes": json.dumps({code.replace("__", "/"): value for code, value in percent.items()})}


def labels_of(folder, fewest: int = 1) -> dict[str, set[str]]:
    records = load_real_records(folder, fewest)
    return {
        name: {g for g, there in zip(records.groups, row.tolist()) if there}
        for name, row in zip(records.names, records.labels)
    }


# --- labels


def test_every_finding_has_one_group_and_ischaemia_is_one():
    groups = groups_of_findings()
    assert sorted(code for codes, _ in groups.values() for code in codes) == sorted(CODES)
    assert {"STE_ANT", "STE_INF", "STD", "TINV", "Q_INF"} <= set(groups[ISCHAEMIA][0])
    assert {"IMI", "ASMI", "ISC_", "NST_"} <= groups[ISCHAEMIA][1]
    assert groups["WENCK"][0] == ["WENCK", "MOB2"], "one statement stands for both"
    counted = set().union(*(statements for _, statements in groups.values()))
    assert groups["IRBBB"] == (["IRBBB"], {"IRBBB", "713426002"}), "incomplete blocks are no complete ones"
    assert "ILBBB" not in counted


def test_statements_become_labels(tmp_path):
    rows = [
        scp(SR=0, CRBBB=100, IMI=50, ASMI=15),
        scp(STACH=0, SR=0, IRBBB=100, LVH=35),
        scp(AFIB=0, VCLVH=0, LAO__LAE=50),
        {"snomed_dx": "284470004;427084000;164909002"},
        scp(NORM=100, SR=0) | {"label_groups_all": "normal"},
        scp(NORM=80, SR=0, IRBBB=100) | {"label_groups_all": "conduction;normal"},
        scp(NORM=80, STACH=0) | {"label_groups_all": "normal;rhythm"},
    ]
    assert labels_of(write_folder(tmp_path, rows)) == {
        "r0": {"SR", "CRBBB", ISCHAEMIA},
        "r1": {"STACH", "IRBBB"},
        "r2": {"AFIB", "LVH", "LAE"},
        "r3": {"PAC", "STACH", "CLBBB"},
        "r4": {"SR", "NORM"},
        "r5": {"SR", "IRBBB"},
        "r6": {"STACH"},
    }


def test_what_is_left_out_is_counted(tmp_path):
    rows = [
        scp(SR=0),
        scp(SR=0) | {"flags": "paediatric"},
        scp(SR=0) | {"flags": "flat_leads"},
        scp(SR=0) | {"flags": "lone_large_artefact:V6(15.3mV)", "patient_id": "p1"},
        scp(SR=0) | {"label_group": "unlabelled"},
        scp(IMI=15),
        scp(AFIB=0) | {"patient_id": "p1"},
    ]
    records = load_real_records(write_folder(tmp_path, rows), fewest=2)
    assert records.names == ["r0", "r3", "r6"] and records.groups == ["SR"], "AFIB has one record only"
    assert records.patients == ["r0", "p1", "p1"]
    assert set(records.left_out) == {"r1", "r2", "r5"} and records.left_out["r1"] == "paediatric"
    assert list(records.flagged) == ["r3"]
    assert records.signal.shape == (3, 12, 1000)
    assert records.labels.sum(0).tolist() == [2]
    names, signal, _, refused = load_signals(tmp_path)
    assert len(names) == len(signal) == 6 and "r4" in names, "signals need no label"
    assert list(refused) == ["r2"], "what cannot be read is told"


def test_an_empty_folder_says_what_to_do(tmp_path):
    with pytest.raises(BadArtifact, match="UNIECG_REAL_ECG"):
        load_real_records(tmp_path)
    with pytest.raises(BadArtifact, match="No finding has 3"):
        load_real_records(write_folder(tmp_path, [scp(SR=0)]))
    (tmp_path / "r0.hea").write_text("nothing of use")
    for load in (load_real_records, load_signals):
        with pytest.raises(BadECG, match="None of 1 records"):
            load(tmp_path)


# --- scores, as notebook 17 has them


def notebook(**names) -> SimpleNamespace:
    """What the notebook's own functions are, with these names beside them."""
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    sources = {cell["id"]: "".join(cell["source"]) for cell in cells}
    names["Lesson"] = lambda *about: SimpleNamespace(store=None, profile=None)
    names |= {"profile": None, "seed": 0}
    for key in ("17c02a", "17c02", "17c02b", "17c02c", "17c16a", "17c18a", "17c18b", "17c18c", "17c18d"):
        source = sources[key].replace("import Lesson, ", "import ")
        exec(compile(source, key, "exec"), names)
    return SimpleNamespace(**names, cells=sources, names=names)


by_group, real_scores, resampled = (getattr(notebook(), name) for name in ("by_group", "real_scores", "resampled"))


def made_up(n: int = 60, patients: int = 40) -> RealRecords:
    """Records of two groups, SR and MI/ST-T, some of the same patient."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.rand(n, 2, generator=generator) < torch.tensor([0.6, 0.3])
    names = [f"r{i}" for i in range(n)]
    codes = [["SR"], ["STD", "TINV"]]
    who = [f"p{i % patients}" for i in range(n)]
    return RealRecords(names, torch.zeros(n, 12, 1000), labels, ["SR", ISCHAEMIA], codes, who, {}, {})


def test_auroc_is_torchmetrics_own_and_ties_count_half():
    records = made_up()
    logits = torch.randn(60, len(CODES), generator=torch.Generator().manual_seed(1)).round(decimals=1)
    found = real_scores(logits, records, "reader", times=50)
    group = logits[:, [CODES.index("STD"), CODES.index("TINV")]].amax(1)
    expected = [
        binary_auroc(logits[:, CODES.index("SR")], records.labels[:, 0].int()).item(),
        binary_auroc(group, records.labels[:, 1].int()).item(),
    ]
    assert found["reader.real_auroc.SR"] == pytest.approx(expected[0], abs=1e-5)
    assert found[f"reader.real_auroc.{ISCHAEMIA}"] == pytest.approx(expected[1], abs=1e-5)
    assert found["reader.real_macro_auroc"] == pytest.approx(sum(expected) / 2, abs=1e-5)
    label = torch.tensor([True, False, True, False])
    assert room.weighted_auroc(torch.zeros(4), label, torch.ones(1, 4)).item() == 0.5


def test_f1_is_torchmetrics_own():
    records = made_up()
    stated = torch.rand(60, len(CODES), generator=torch.Generator().manual_seed(2)) < 0.3
    found = real_scores(stated, records, "uniecg", times=50)
    group = stated[:, [CODES.index("STD"), CODES.index("TINV")]].any(1)
    expected = binary_f1_score(group.int(), records.labels[:, 1].int()).item()
    assert found[f"uniecg.real_f1.{ISCHAEMIA}"] == pytest.approx(expected, abs=1e-6)
    assert found["uniecg.real_macro_f1_low"] < found["uniecg.real_macro_f1"] < found["uniecg.real_macro_f1_high"]


def test_a_perfect_reader_scores_one_with_no_doubt():
    records = made_up()
    logits = torch.full((60, len(CODES)), -1.0)
    logits[:, CODES.index("SR")] = records.labels[:, 0].float() - 0.5
    logits[:, CODES.index("STD")] = records.labels[:, 1].float() - 0.5
    found = real_scores(logits, records, "reader") | real_scores(logits > 0, records, "reader")
    assert all(value == pytest.approx(1.0) for value in found.values())


def test_a_resample_draws_patients_not_records():
    records = made_up()
    weight = resampled(records.patients, 200, seed=4)
    assert weight.shape == (201, 60) and (weight[0] == 1).all()
    for first, second in ((0, 40), (19, 59)):
        assert records.patients[first] == records.patients[second]
        assert torch.equal(weight[:, first], weight[:, second]), "records of one patient come and go together"
    assert weight[1:].mean().item() == pytest.approx(1.0, abs=0.05)
    assert torch.equal(weight, resampled(records.patients, 200, seed=4))


def test_intervals_are_those_of_plain_resampling():
    records, logits = made_up(), torch.randn(60, len(CODES), generator=torch.Generator().manual_seed(3))
    found = real_scores(logits, records, "reader", times=300, seed=7)
    weight, value = resampled(records.patients, 300, seed=7)[1:], logits[:, CODES.index("SR")]
    slow = []
    for row in weight[:60].long():
        chosen = torch.repeat_interleave(torch.arange(60), row)
        slow.append(binary_auroc(value[chosen], records.labels[chosen, 0].int()).item())
    fast = room.weighted_auroc(value, records.labels[:, 0], weight[:60])
    torch.testing.assert_close(fast, torch.tensor(slow), atol=1e-5, rtol=0)
    assert found["reader.real_auroc.SR_low"] < found["reader.real_auroc.SR"] < found["reader.real_auroc.SR_high"]


def test_a_group_that_vanishes_from_a_resample_does_not_spoil_the_interval():
    records = made_up()._replace(labels=torch.arange(60)[:, None] == torch.tensor([[3, 5]]))
    found = real_scores(torch.randn(60, len(CODES)), records, "reader", times=200)
    assert all(math.isfinite(value) for value in found.values())


# --- what notebook 17 shows and tunes


def test_the_gallery_shows_the_worst_first():
    records, gallery = made_up(), notebook().gallery
    stated = torch.zeros(60, len(CODES), dtype=torch.bool)
    stated[:, CODES.index("SR")] = records.labels[:, 0]
    stated[:, CODES.index("STD")] = records.labels[:, 1]
    assert gallery(stated, records, 6) == []
    rare, common = records.labels[:, 1].nonzero()[0, 0], records.labels[:, 0].nonzero()[-1, 0]
    stated[rare, CODES.index("STD")] = False
    stated[common, CODES.index("SR")] = False
    shown = gallery(stated, records, 2)
    assert [one["record"] for one in shown] == [f"r{rare}", f"r{common}"]
    assert shown[0]["missed"] == [ISCHAEMIA] and shown[0]["invented"] == []
    assert shown[0]["signal"].shape == (12, 1000)


@pytest.mark.parametrize("seed", [0, 1])
def test_folds_keep_patients_together_and_spread_groups(seed):
    records, folds_of = made_up(), notebook().folds_of
    fold = folds_of(records, 2, seed)
    for patient in set(records.patients):
        assert len({fold[i].item() for i, p in enumerate(records.patients) if p == patient}) == 1
    for f in (0, 1):
        assert 24 <= (fold == f).sum() <= 36 and records.labels[fold == f].any(0).all()
    assert (fold != folds_of(records, 2, seed + 10)).any()


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A small folder and an untrained reader."""
    kinds = [scp(SR=0), scp(AFIB=0), scp(SR=0, CLBBB=100)]
    folder = write_folder(tmp_path_factory.mktemp("real"), [kinds[i % 3] for i in range(18)])
    torch.manual_seed(0)
    return load_real_records(folder), Reader(8).requires_grad_(False).eval()


def test_tuning_learns_the_real_records_it_sees_and_leaves_the_reader_alone(study):
    records, reader = study
    book = notebook()
    plan = book.replace(book.TUNING, steps=30, batch=8, lr=1e-2, warmup=2)
    model = book.tuned(reader, records, torch.arange(18), plan, 0, 32)

    def loss(net):
        value = by_group(net.predict(records.signal)[1], records.codes)
        return torch.nn.functional.binary_cross_entropy_with_logits(value, records.labels.float())

    assert loss(model) < 0.9 * loss(reader)
    assert not any(p.requires_grad for p in (*model.parameters(), *reader.parameters()))
    torch.manual_seed(0)
    assert all(torch.equal(one, other) for one, other in zip(reader.parameters(), Reader(8).parameters()))


def test_what_is_scored_was_never_trained_on(study):
    records, reader = study
    seen, scored, metrics = [], [], {}

    def tuned(reader, records, rows, *rest):
        seen.append(set(rows.tolist()))
        return reader

    def predict(signal):
        scored.append(len(signal))
        return reader.predict(signal)

    shown = SimpleNamespace(predict=predict, read=reader.read)
    book = notebook(records=records, reader=shown, lesson=None)
    sizes = SimpleNamespace(scored=16, reader=SimpleNamespace(steps=3))
    book.names |= {"tuned": tuned, "FOLDS": 3, "real_scores": partial(real_scores, times=10), "P": sizes}
    book.names |= {"reader": shown, "lesson": SimpleNamespace(metric=metrics.update), "seed": 3}
    for key in ("17c18e", "17c19"):
        exec(book.cells[key], book.names)
    assert len(seen) == 3 and all(len(rows) == 12 for rows in seen)
    assert set.intersection(*seen) == set(), "each record is held out once"
    assert scored == [18, 6, 6, 6]
    gain = metrics["finetune.after.macro_auroc.seed3"] - metrics["finetune.before.real_macro_auroc"]
    assert metrics["finetune.gain.macro_auroc"] == metrics["finetune.gain.macro_auroc_lowest"] == gain
    assert metrics["finetune.records"] == 12 and 0 <= metrics["finetune.after.simulated_f1"] <= 1


# --- the real folder, when it is there


def test_labels_of_the_real_folder(real_records):
    folder = real_records[0].parent
    rows = manifest_rows(folder)
    records = room.load_real_records(folder)
    labelled = [row["record"] for row in rows if row["label_group"] != "unlabelled"]
    assert sorted([*records.names, *records.left_out]) == sorted(labelled), "every labelled record is accounted for"
    assert {"AFIB", "CRBBB", "PAC", "LVH", ISCHAEMIA, "NORM"} <= set(records.groups)
    assert (records.labels.sum(0) >= 3).all() and len(records.names) > 80
    rhythms = [g for g in ("SR", "SBRAD", "STACH", "SARRH", "AFIB") if g in records.groups]
    together = records.labels[:, [records.groups.index(g) for g in rhythms]].sum(1)
    assert (together <= 1).all(), "one rhythm each"
