"""Study `augmentation`: who the examples are, thresholds, cells with and without real records, and the claim U13."""

from dataclasses import replace
from pathlib import Path

import publish
import pytest
import tiny
import torch

from uniecg_lite import cohort
from uniecg_lite.config import SMOKE, Training
from uniecg_lite.findings import CODES
from uniecg_lite.leads import lead_law_residual
from uniecg_lite.store import Store
from uniecg_lite.studies import real as augmentation
from uniecg_lite.studies.grid import STUDIES, run_study
from uniecg_lite.studies.study import cell_path, claim_metrics, summary, verdicts, write_cell

CODE = augmentation.RARE[0]


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    """The artifacts that the study starts from, at smoke size: real patients, random weights."""
    store = Store(tmp_path_factory.mktemp("chain") / "smoke", SMOKE, 0)
    with store.writing("cohort") as folder:
        cohort.write(cohort.simulated(0, 600), folder / "splits")
    with store.writing("diffusets", inputs=("cohort",)) as folder:
        tiny.generator().save_pretrained(folder)
    return store


@pytest.fixture
def no_real(monkeypatch, tmp_path):
    """A folder without real records."""
    monkeypatch.setenv("UNIECG_REAL_ECG", str(tmp_path / "none"))


@pytest.fixture(scope="module")
def room(chain):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNIECG_REAL_ECG", str(chain.folder / "none"))
        return augmentation.prepare(chain)


def test_variants_are_every_source_with_every_number_of_examples(chain, no_real):
    assert set(STUDIES["augmentation"].variants) == {
        f"{source}{k}" for k in (10, 30, 100) for source in augmentation.SOURCES
    }
    found = {variant: augmentation.settings(chain, variant) for variant in STUDIES["augmentation"].variants}
    assert len({str(s["classifier"]) for s in found.values()}) == 1, "equal budgets"
    assert "diffusets" in found["made10"]["inputs"] and "diffusets" not in found["plain10"]["inputs"]
    assert found["plain10"]["inputs"]["manifest"] is None


def test_the_sources_share_their_examples_and_differ_in_what_is_beside_them(room):
    beside, others = augmentation.SIZES["smoke"]
    found = {source: augmentation.examples(room, CODE, source, 4, seed=1) for source in augmentation.SOURCES}
    few, without = found["plain"]
    assert len(few) == 4 and len(without) == others
    for source in ("copies", "made", "more"):
        positive, negative = found[source]
        assert len(positive) == 4 + beside and torch.equal(positive[:4], few) and torch.equal(negative, without)
        assert lead_law_residual(positive).max() < 0.004
    noise = found["copies"][0][4:] - few[torch.arange(beside) % 4]
    assert 0.001 < noise.std() < 0.3 and not torch.equal(noise[0], noise[4]), "fresh noise on each copy"
    other = augmentation.examples(room, CODE, "plain", 4, seed=2)[0]
    assert not torch.equal(other, few), "another seed, other patients"


def test_positives_have_the_finding_and_negatives_have_not(room):
    train, column = room.train, CODES.index(CODE)
    has = train.truth()["findings"][:, column].bool()
    signal, size = train.signal(range(len(train))), augmentation.SIZES["smoke"][0]
    for source, expected in (("more", True), ("plain", False)):
        ecgs = augmentation.examples(room, CODE, source, 5, 0)[0 if expected else 1]
        row = torch.cdist(ecgs.flatten(1), signal.flatten(1)).argmin(1)
        assert (has[row] == expected).all()
        assert len(row.unique()) == len(row) == (5 + size if expected else augmentation.SIZES["smoke"][1])


def test_a_classifier_learns_what_can_be_told_apart(tmp_path):
    longer = replace(SMOKE, study_classifier=Training(40, 16, 5e-3, warmup=2))
    g = torch.Generator().manual_seed(0)
    flat, tall = (torch.randn(40, 12, 1000, generator=g) * 0.1 for _ in range(2))
    tall[:, :, ::100] += 1.0
    one, other = (augmentation.trained(longer, tall[:30], flat[:30], 3, tmp_path / str(i)) for i in range(2))
    stated = augmentation.logits(one, torch.cat([tall[30:], flat[30:]]))
    label = torch.arange(20) < 10
    threshold = augmentation.best_threshold(stated, label)
    assert augmentation.scores("x", stated, label, threshold) == {"x.f1": 1.0, "x.auroc": 1.0}
    assert torch.equal(stated, augmentation.logits(other, torch.cat([tall[30:], flat[30:]]))), "the same seed"


def test_the_threshold_is_the_best_there_is():
    g = torch.Generator().manual_seed(0)
    stated, label = torch.randn(60, generator=g).mul(3).round(), torch.rand(60, generator=g) < 0.3

    def f1(threshold):
        return augmentation.scores("x", stated, label, threshold)["x.f1"]

    assert f1(augmentation.best_threshold(stated, label)) == max(map(f1, stated.unique().tolist()))
    assert augmentation.best_threshold(stated, torch.zeros(60, dtype=torch.bool)) == float("inf")


@pytest.mark.parametrize("variant", ["plain10", "made30"])
def test_cells(room, tmp_path, variant):
    found = augmentation.measure(room, variant, 0, tmp_path)
    assert {"simulated.f1", "simulated.auroc"} <= set(found) and not any(name.startswith("real.") for name in found)
    mean = sum(found[f"simulated.{code}.auroc"] for code in augmentation.RARE) / len(augmentation.RARE)
    assert found["simulated.auroc"] == pytest.approx(mean) and 0 <= found["simulated.f1"] <= 1


def test_real_records_are_scored_where_they_carry_the_finding(room, tmp_path, monkeypatch):
    label = torch.zeros(12, len(CODES), dtype=torch.bool)
    label[:4, CODES.index(CODE)] = True
    monkeypatch.setattr(room, "real", (room.held[0][:12], label, torch.ones_like(label)))
    found = augmentation.measure(room, "plain10", 0, tmp_path)
    assert found["real.f1"] == found[f"real.{CODE}.f1"] and found["real.auroc"] == found[f"real.{CODE}.auroc"]


def test_without_real_records_it_says_so(chain, no_real, capsys):
    assert augmentation.prepare(chain).real is None
    assert "no real records" in "".join(capsys.readouterr())


def test_the_runner_knows_the_study(chain, no_real, tmp_path, monkeypatch):
    monkeypatch.setenv("UNIECG_ARTIFACTS", str(chain.folder.parent))
    run_study("augmentation", "smoke", seeds=1, variant="plain10", root=tmp_path)
    assert "simulated.f1" in summary("augmentation", "smoke", tmp_path)["plain10"]
    rows = publish.studies_table(tmp_path / "none").splitlines()
    assert [row for row in rows if row.startswith("| `augmentation`")][0].endswith("| 0 | not run yet |")


# --- the claim


def cells(root: Path, seeds: int = 5, real: float | None = 0.6, last: float = 0.8) -> None:
    """Cells with ten examples: F1 of 0.5 without generated ECGs, and with them 0.8, but for the `last` seed."""
    for variant, f1 in (("plain10", 0.5), ("made10", 0.8)):
        for seed in range(seeds):
            ours = variant == "made10"
            metrics = {"simulated.f1": last if ours and seed == seeds - 1 else f1}
            metrics |= {} if real is None else {"real.f1": real if ours else 0.5}
            cell = {"variant": variant, "seed": seed, "settings": {}, "metrics": metrics}
            write_cell(cell_path("augmentation", "laptop", variant, seed, root), cell)


@pytest.mark.parametrize(
    ("about", "verdict"),
    [
        ({}, "reproduced"),
        ({"last": 0.4}, "not reproduced"),
        ({"real": 0.4}, "not reproduced"),
        ({"seeds": 4}, "not testable here"),
        ({"real": None}, "not testable here"),
        ({"real": None, "last": 0.4}, "not reproduced"),
    ],
)
def test_made_ecgs_help_only_where_all_five_seeds_say_so(tmp_path, about, verdict):
    cells(tmp_path, **about)
    metrics = claim_metrics("augmentation", root=tmp_path)
    assert metrics["augmentation.rare_f1_gain.seeds"] == about.get("seeds", 5)
    assert metrics["augmentation.rare_f1_gain.low"] == pytest.approx(about.get("last", 0.8) - 0.5)
    assert verdicts(metrics)["U13"]["verdict"] == verdict


def test_without_cells_there_is_no_verdict(tmp_path):
    assert claim_metrics("augmentation", root=tmp_path) == verdicts({}) == {}
