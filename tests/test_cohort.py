"""cohort: who is in which split, and what comes back from disk."""

import datasets
import numpy as np
import pytest
import torch

from uniecg_lite import cohort
from uniecg_lite.errors import BadArtifact
from uniecg_lite.leads import lead_law_residual
from uniecg_lite.simulator.simulate import simulate

N = 320


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return cohort.write(cohort.simulated(7, N, first=40), tmp_path_factory.mktemp("cohort") / "splits")


@pytest.fixture(scope="module")
def splits(written):
    return {name: cohort.load(written, name) for name in cohort.SPLITS}


def made_again(part: cohort.Cohort) -> tuple[torch.Tensor, dict]:
    """Signal and truth of the records of a simulated split, from their names."""
    seed, numbers, visits = cohort.population_of(part.column("record"))
    one, two = (simulate(seed, numbers, visit=visit) for visit in (0, 1))

    def chosen(a, b):
        return torch.where(visits.view(-1, *[1] * (a.dim() - 1)) == 0, a, b)

    keys = ("female", "findings", "q_wave", *cohort.NUMBERS, *cohort.PER_LEAD)
    return chosen(one.signal, two.signal), {key: chosen(one.truth[key], two.truth[key]) for key in keys}


# --- splits


def test_every_record_is_in_exactly_one_split_and_no_patient_in_two(splits):
    assert sum(map(len, splits.values())) == N
    patients = {name: set(part.column("patient")) for name, part in splits.items()}
    assert not patients["train"] & patients["validation"] and not patients["train"] & patients["test"]
    assert not patients["validation"] & patients["test"]
    records = [name for part in splits.values() for name in part.column("record")]
    assert len(set(records)) == N
    everybody = {f"s7-{i:06d}" for i in range(40, 40 + N)}
    assert set().union(*patients.values()) <= everybody
    assert {name for name in records if name.count("-") == 1} == set().union(*patients.values())


def test_one_patient_in_six_comes_back(splits):
    first = {name for part in splits.values() for name in part.column("record") if name.count("-") == 1}
    later = {name for part in splits.values() for name in part.column("record") if name.count("-") == 2}
    assert len(first) + len(later) == N and all(name.endswith("-1") for name in later)
    assert len(later) == 42, "of the first 252 patients, six by six"
    assert {name[:-2] for name in later} == {name for name in first if int(name[3:]) % cohort.AGAIN == 0} - _last(first)
    for part in splits.values():
        for record, patient in zip(part.column("record"), part.column("patient")):
            assert record in (patient, f"{patient}-1"), "a later record is in the split of its patient"


def _last(first: set[str]) -> set[str]:
    """The patients after the first 252, whose later visits were not reached."""
    return {name for name in first if int(name[3:]) >= 40 + 252}


def test_as_many_records_as_asked():
    for n in (1, 13, 252, 253, 300):
        rows = [name for chunk in cohort.simulated(3, n) for name in chunk["record"]]
        assert len(rows) == len(set(rows)) == n


def test_names_tell_how_to_make_a_record_again():
    seed, numbers, visits = cohort.population_of(["s7-000012", "s7-000012-1", "s7-000101"])
    assert seed == 7 and numbers.tolist() == [12, 12, 101] and visits.tolist() == [0, 1, 0]


def test_the_later_record_is_of_the_same_patient(splits):
    train = splits["train"]
    names, truth = train.column("record"), train.truth()
    pairs = [(names.index(name[:-2]), row) for row, name in enumerate(names) if name.count("-") == 2]
    assert len(pairs) > 20
    for one, two in pairs:
        assert truth["age"][one] == truth["age"][two] and truth["female"][one] == truth["female"][two]
        assert truth["rate_bpm"][one] != truth["rate_bpm"][two]


def test_a_patient_keeps_the_split_for_ever():
    known = {"s0-000000": "train", "s0-000001": "train", "s0-000002": "train"}
    shares = {name: 0 for name in cohort.SPLITS}
    for i in range(4000):
        shares[cohort.split_of(f"s0-{i:06d}")] += 1
    assert {name: cohort.split_of(name) for name in known} == known
    assert shares["train"] / 4000 == pytest.approx(0.84, abs=0.02)
    assert shares["validation"] / 4000 == pytest.approx(0.08, abs=0.015)


def test_the_split_does_not_depend_on_which_records_are_there(splits, tmp_path):
    fewer = cohort.write(cohort.simulated(7, 60, first=100), tmp_path / "fewer")
    for name in cohort.SPLITS:
        here = set(cohort.load(fewer, name).column("record"))
        assert here <= set(splits[name].column("record"))


# --- to disk and back


def test_signals_come_back_within_half_a_microvolt(splits):
    for part in splits.values():
        generated, _ = made_again(part)
        back = part.signal(range(len(part)))
        assert back.dtype == torch.float32 and back.shape == (len(part), 12, 1000)
        assert (back - generated).abs().max() <= 0.0005 + 1e-6
        assert lead_law_residual(back, quantile=1).max() <= 0.0015 + 1e-6


def test_truth_comes_back_exactly(splits):
    for part in splits.values():
        (_, generated), back = made_again(part), part.truth()
        for key in generated:
            np.testing.assert_array_equal(back[key].numpy(), generated[key].numpy(), err_msg=key)


def test_rows_can_be_taken_in_any_order(splits):
    train = splits["train"]
    rows = torch.tensor([17, 3, 3, 40])
    assert torch.equal(train.signal(rows), train.signal(range(len(train)))[rows])
    whole, some = train.truth(), train.truth(rows)
    for key, value in some.items():
        np.testing.assert_array_equal(value.numpy(), whole[key][rows].numpy(), err_msg=key)


def test_the_same_seed_writes_the_same_table(written, splits, tmp_path):
    again = cohort.load(cohort.write(cohort.simulated(7, N, first=40), tmp_path / "again"), "train")
    assert again.column("record") == splits["train"].column("record")
    assert torch.equal(again.signal(range(50)), splits["train"].signal(range(50)))


# --- whole or not at all


def test_a_generator_that_fails_leaves_nothing_behind(tmp_path):
    def failing():
        yield from cohort.simulated(7, 30)
        raise RuntimeError("the source went away")

    with pytest.raises(RuntimeError, match="went away"):
        cohort.write(failing(), tmp_path / "splits")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(BadArtifact, match="notebook 01"):
        cohort.load(tmp_path / "splits", "train")


def test_a_disk_that_fails_midway_leaves_the_old_cohort(tmp_path, monkeypatch):
    folder = cohort.write(cohort.simulated(7, 60), tmp_path / "splits")
    before = cohort.load(folder, "train").column("record")
    save = datasets.Dataset.save_to_disk

    def full(self, path, *args, **kwargs):
        if str(path).endswith("validation"):
            raise OSError(28, "No space left on device")
        save(self, path, *args, **kwargs)

    monkeypatch.setattr(datasets.Dataset, "save_to_disk", full)
    with pytest.raises(OSError, match="No space left"):
        cohort.write(cohort.simulated(8, 60), folder)
    assert cohort.load(folder, "train").column("record") == before
    monkeypatch.setattr(datasets.Dataset, "save_to_disk", save)
    cohort.write(cohort.simulated(8, 60), folder)
    assert cohort.load(folder, "train").column("record")[0].startswith("s8-")
    assert [path.name for path in tmp_path.iterdir()] == ["splits"]
