"""Study `making`: from the chain's artifacts to scored cells, and from cells to the claims S1 to S4."""

from pathlib import Path

import publish
import pytest
import torch

from uniecg_lite.config import SMOKE
from uniecg_lite.generator.diffusion import FAULTS
from uniecg_lite.metrics.generation import standard
from uniecg_lite.studies import making, study
from uniecg_lite.studies.grid import run_study
from uniecg_lite.studies.study import cell_path, summary, write_cell


def test_each_fault_is_a_cell_and_differs_in_it_alone(chain):
    assert set(making.DESIGNS) | set(making.FIXED) | {"conditional_vae"} == set(making.VARIANTS)
    assert set(FAULTS) < set(making.VARIANTS)
    found = {variant: making.settings(chain, variant) for variant in making.VARIANTS}
    for fault, changes in FAULTS.items():
        mine, ours = found[fault]["design"], found["ours"]["design"]
        assert {key for key in mine if mine[key] != ours[key]} == set(changes)
        assert found[fault]["denoiser"] == found["ours"]["denoiser"] == found["conditional_vae"]["denoiser"]
    assert "vae" in found["free_leads"] and "vae" not in found["ours"], "it alone trains one"
    assert "steps" not in found["ancestral"] and found["ancestral"]["scored"] == min(making.FEW, SMOKE.study_scored)


def test_who_is_asked_for_is_not_who_is_compared_with(room):
    assert len(room.theirs) == len(room.requests) >= room.n and len(room.real) == 2 * room.n
    theirs = room.reader.features(standard(room.theirs[: room.n]))
    assert torch.cdist(theirs, room.real).min() > 1e-3
    assert len(room.known) == len(room.hearts[0]), "memory is looked for in all training ECGs"


def test_rare_findings_are_those_with_the_fewest_examples(room):
    most = max(len(room.corpus.carriers[code]) for code in room.rare)
    assert all(len(rows) >= most for code, rows in room.corpus.carriers.items() if code not in room.rare)
    assert all(set(request.findings) & set(room.rare) for request in room.requests[room.n :])


def test_the_sweep_asks_for_every_rate_with_a_rhythm_that_has_it():
    for request in making.swept():
        rhythm = "SBRAD" if request.rate < 60 else "STACH" if request.rate > 100 else "SR"
        assert rhythm in request.findings and request.age is None
    assert sorted({request.rate for request in making.swept()}) == list(making.RATES)


@pytest.mark.parametrize("variant", ["ours", "conditional_vae", "retrieval", "simulator"])
def test_cells(room, tmp_path, variant):
    found = making.measure(room, variant, 0, tmp_path)
    assert {"hr_median_error_bpm", "findings_macro_f1", "fid_ratio_to_floor", "precision", "coverage"} <= set(found)
    assert {"qrs_median_error_ms", "memorised.share_closer", "few.findings_macro_f1"} <= set(found)
    assert found["lead_law_residual_mv"] < 1e-5
    assert ("parameters" in found) == (variant not in making.FIXED)
    assert ("sweep.hr_median_error_bpm" in found) == (variant != "simulator")
    if variant == "simulator":
        assert found["hr_median_error_bpm"] < 1.5
    if variant == "retrieval":
        assert found["memorised.share_closer"] == 1, "a copy of a training ECG"


def test_a_cell_of_few_patients_has_few_scores_alone(room, monkeypatch):
    monkeypatch.setattr(room, "few", 5)
    found = making.scores(room, room.theirs[:5])
    assert found and all(name.startswith("few.") for name in found)
    assert {name: v for name, v in making.scores(room, room.theirs).items() if name.startswith("few.")} == found


def test_the_runner_knows_the_study(chain, tmp_path, monkeypatch):
    monkeypatch.setenv("UNIECG_ARTIFACTS", str(chain.folder.parent))
    run_study("making", "smoke", seeds=2, variant="simulator", root=tmp_path)
    assert summary("making", "smoke", tmp_path)["simulator"]["findings_macro_f1"][3] == 1, "nothing random: one cell"
    rows = publish.studies_table(tmp_path / "none").splitlines()
    assert [row for row in rows if row.startswith("| `making`")][0].endswith("| 0 | not run yet |")


def test_a_quick_look_takes_the_first_training_patients_alone(chain, room):
    quick = making.StudyContext(chain, training=40)
    assert len(quick.known) == len(quick.hearts[0]) == 40 < len(room.known)
    assert torch.allclose(quick.known, room.known[:40], atol=1e-4)
    assert quick.requests[: quick.n] == room.requests[: room.n]


# --- claims


def cells(root: Path, seeds: int = 3, **ours: float) -> None:
    """Cells of `ours` and `simulator`: good ones, but for what is given."""
    good = {"precision": 0.7, "held_out.precision": 0.8, "recall": 0.75, "held_out.recall": 0.8}
    good |= {"fid_ratio_to_floor": 1.5, "findings_macro_f1": 0.6, "rare.findings_macro_f1": 0.55, "rare.examples": 90.0}
    good |= {"hr_median_error_bpm": 3.0, "sweep.hr_median_error_bpm": 4.0}
    for seed in range(seeds):
        cell = {"variant": "ours", "seed": seed, "settings": {}, "metrics": good | (ours if seed == seeds - 1 else {})}
        write_cell(cell_path("making", "laptop", "ours", seed, root), cell)
    true = {"findings_macro_f1": 0.7, "rare.findings_macro_f1": 0.65}
    cell = {"variant": "simulator", "seed": 0, "settings": {}, "metrics": true}
    write_cell(cell_path("making", "laptop", "simulator", 0, root), cell)


def verdicts(root: Path) -> dict[str, str]:
    """Claim -> verdict from the cells under a folder."""
    judged = study.verdicts(study.claim_metrics("making", root=root))
    return {claim: about["verdict"] for claim, about in judged.items()}


def test_claims_hold_only_where_every_seed_comes_near_true_ecgs(tmp_path):
    cells(tmp_path / "good")
    good = {"S1": "reproduced", "S2": "reproduced", "S3": "not testable here", "S4": "reproduced"}
    assert verdicts(tmp_path / "good") == good, "age has no measure, so S3 can fail but not hold"
    bad = {"recall": 0.4, "findings_macro_f1": 0.3, "sweep.hr_median_error_bpm": 9.0, "rare.findings_macro_f1": 0.2}
    for claim, (name, value) in zip(good, bad.items()):
        cells(tmp_path / name, **{name: value})
        assert verdicts(tmp_path / name) == good | {claim: "not reproduced"}, "one seed of three says otherwise"
    cells(tmp_path / "two", seeds=2)
    assert set(verdicts(tmp_path / "two").values()) == {"not testable here"}
    assert verdicts(tmp_path / "none") == {} == study.claim_metrics("making", root=tmp_path / "none")


def test_claims_stand_among_the_others_in_the_papers_order(tmp_path):
    cells(tmp_path)
    gains = {f"diag.open.{which}{end}": 0.1 for which in ("qa", "all") for end in ("", ".low", ".high", ".seeds")}
    routing = {"prompts.accuracy": 1.0, "prompts.accuracy_low": 0.99}
    found = study.verdicts(study.claim_metrics("making", root=tmp_path) | routing | gains)
    assert list(found) == ["U9", "S1", "S2", "S3", "S4", "D7"]
    assert all(any(letter.isdigit() for letter in about["ours"]) for about in found.values())
