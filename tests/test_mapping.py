"""Study `mapping`: what each way trains, from the chain's artifacts to scored cells, and from cells to the claims."""

from dataclasses import replace
from pathlib import Path

import publish
import pytest
import tiny
import torch

from uniecg_lite import checkpoints
from uniecg_lite.checkpoints import save_stage
from uniecg_lite.config import SMOKE, Training
from uniecg_lite.store import save_tensors
from uniecg_lite.studies import making, mapping, study
from uniecg_lite.studies.grid import STUDIES, run_study
from uniecg_lite.studies.study import cell_path, summary, write_cell

PROMPTS = ["Make an ECG: a woman of 63, atrial fibrillation, 120 bpm", "Draw an ECG."]


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    """The artifacts that the study starts from, at smoke size: real patients, random weights."""
    store = tiny.making_chain(tmp_path_factory.mktemp("chain"))
    with store.writing("encoders", inputs=("cohort",)) as folder:
        model = tiny.reading_model()
        parts = {"phi_s": model.phi_s, "phi_v": model.phi_v}
        save_tensors({f"{n}.{k}": v for n, p in parts.items() for k, v in p.state_dict().items()}, folder / "encoders")
    with store.writing("stage1", inputs=("encoders",)) as folder:
        save_stage(model, "stage1", folder)
    model.add_ecg_tokens(SMOKE.ecg_tokens)
    for rows in model.token_rows().values():
        rows.data += 0.1 * torch.randn_like(rows)
    with store.writing("tokens", inputs=("stage1",)) as folder:
        save_stage(model, "tokens", folder)
    model.mapper = tiny.whole_model().mapper
    with store.writing("unified", inputs=("tokens", "diffusets")) as folder:
        save_stage(model, "unified", folder)
    return store


@pytest.fixture(scope="module")
def room(chain):
    return making.StudyContext(chain)


def test_each_way_differs_in_one_thing_alone(chain):
    assert set(STUDIES["mapping"].variants) == set(mapping.WAYS) | {"chain", "direct"}
    found = {variant: mapping.settings(chain, variant) for variant in STUDIES["mapping"].variants}
    ours = found["ours"]
    for variant in set(mapping.WAYS) - {"ours", "denoising"}:
        mine = found[variant]["way"]
        assert len([key for key in mine if mine[key] != ours["way"][key]]) == 1, variant
        assert found[variant]["mapper"] == ours["mapper"], "equal budgets"
    assert not found["denoising"]["way"]["mse"] and found["denoising"]["way"]["denoising"]
    assert found["tokens16"]["ecg_tokens"] == 16 and ours["ecg_tokens"] == SMOKE.ecg_tokens
    assert "mapper" not in found["chain"] | found["direct"], "they train nothing"
    assert "unified" in found["chain"]["inputs"] and "tokens" not in found["direct"]["inputs"]


@pytest.mark.parametrize("n", [1, 6])
def test_any_number_of_tokens_starts_from_the_trained_rows(chain, n, monkeypatch):
    monkeypatch.setattr("uniecg_lite.llm.ECGLanguageModel.max_answer", 6)
    trained, model = checkpoints.load_reading(chain, "tokens"), mapping.model_with_tokens(chain, n)
    assert len(model.ecg_ids) == n and model.ecg_ids[0] == trained.ecg_ids[0]
    for mine, theirs in zip(model.token_rows().values(), trained.token_rows().values()):
        known = min(n, len(theirs))
        assert torch.equal(mine[:known], theirs[:known])
    assert model.write(PROMPTS) == trained.write(PROMPTS), "what decides is the same row"


@pytest.mark.parametrize("variant", ["ours", "attached", "denoising", "both"])
def test_mapper_and_rows_learn_and_nothing_else_does(room, tmp_path, variant):
    way = replace(mapping.WAYS[variant], layers=1)
    model = mapping.model_with_tokens(room.store, 3)
    model.mapper = mapping.new_mapper(model, way, room.generator.condition.settings["width"], 0)
    frozen, first = model.fingerprint(("trainable_tokens",)), [p[:1].clone() for p in model.token_rows().values()]
    rest = [p[1:].clone() for p in model.token_rows().values()]
    generator = [p.clone() for p in room.generator.parameters()]
    mapper = [p.clone() for p in model.mapper.parameters()]
    history = mapping.align(model, room, way, Training(4, 4, 1e-2, warmup=1), 0, tmp_path)
    assert all(value == value for value in history["mse"])
    assert model.fingerprint(("trainable_tokens",)) == frozen, "the LLM"
    assert all(map(torch.equal, generator, room.generator.parameters())), "the generator"
    assert all(torch.equal(a, p[:1]) for a, p in zip(first, model.token_rows().values())), "[ECG_1] decides as before"
    assert not any(torch.equal(a, p[1:]) for a, p in zip(rest, model.token_rows().values()))
    assert not all(map(torch.equal, mapper, model.mapper.parameters()))


def test_squared_error_falls(room, tmp_path):
    model = mapping.model_with_tokens(room.store, 2)
    model.mapper = mapping.new_mapper(model, mapping.Way(layers=1), room.generator.condition.settings["width"], 0)
    curve = mapping.align(model, room, mapping.Way(), Training(20, 8, 5e-3, warmup=2), 0, tmp_path)["mse"]
    assert len(curve) == 2 and curve[-1] < 0.9 * curve[0]


def test_the_denoising_loss_reaches_the_condition(room):
    condition = room.generator.condition(["Rate 70.", "Rate 120."]).detach().requires_grad_(True)
    some = [part[:2] for part in room.material(room.generator)]
    losses = [room.generator.loss(*some, condition, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    assert losses[0] == losses[1] != losses[2], "noise by the generator alone"
    assert torch.autograd.grad(losses[0], condition)[0].abs().max() > 0


def test_nearness_knows_what_is_near():
    wanted = torch.nn.functional.layer_norm(torch.randn(20, 16), (16,))
    same = mapping.nearness(wanted, wanted)
    assert same["mse"] == 0 and same["explained"] == same["top1"] == same["rank_mean"] == 1 and same["among"] == 20
    assert mapping.nearness(wanted.mean(0).expand_as(wanted), wanted)["explained"] == pytest.approx(0, abs=1e-6)
    assert mapping.nearness(wanted.roll(1, 0), wanted)["top1"] < 0.2


@pytest.mark.parametrize("variant", ["linear", "chain", "direct"])
def test_cells(room, tmp_path, variant):
    found = mapping.measure(room, variant, 0, tmp_path)
    assert {"mse", "top1", "told_hr_median_error_bpm", "hr_median_error_bpm", "findings_macro_f1"} <= set(found)
    assert {"fid_ratio_to_floor", "precision"} <= set(found) and found["lead_law_residual_mv"] < 1e-5
    assert ({"loss.at_25", "loss.at_100", "train_seconds"} <= set(found)) == (variant in mapping.WAYS)
    if variant == "direct":
        assert found["mse"] == 0 and found["top1"] == 1
    if variant == "linear":
        again = mapping.measure(room, variant, 0, tmp_path / "again")
        assert all(again[name] == found[name] for name in ("mse", "hr_mean_error_bpm")), "the same seed, the same cell"


def test_the_runner_knows_the_study(chain, tmp_path, monkeypatch):
    monkeypatch.setenv("UNIECG_ARTIFACTS", str(chain.folder.parent))
    run_study("mapping", "smoke", seeds=1, variant="direct", root=tmp_path)
    assert summary("mapping", "smoke", tmp_path)["direct"]["top1"] == (1, 1, 1, 1)
    rows = publish.studies_table(tmp_path / "none").splitlines()
    assert [row for row in rows if row.startswith("| `mapping`")][0].endswith("| 0 | not run yet |")


# --- claims

F1, HR, FID = "findings_macro_f1", "hr_median_error_bpm", "fid_ratio_to_floor"


def cells(root: Path, seeds: int = 3, **worse: dict[str, float]) -> None:
    """Cells in which every claim holds, but for what is given for a variant's last seed."""
    good = {"mse": 0.1, "explained": 0.9, "top1": 0.9, F1: 0.6, HR: 3.0, FID: 2.0}
    less = good | {"mse": 0.3, F1: 0.5}
    known = {"ours": good, "chain": good, "linear": less, "tokens1": less, "attached": good, "both": good}
    for variant, metrics in (known | {"denoising": good, "direct": good}).items():
        for seed in range(seeds):
            found = metrics | (worse.get(variant, {}) if seed == seeds - 1 else {})
            cell = {"variant": variant, "seed": seed, "settings": {}, "metrics": found}
            write_cell(cell_path("mapping", "laptop", variant, seed, root), cell)


def verdicts(root: Path) -> dict[str, str]:
    """Claim -> verdict from the cells under a folder."""
    judged = study.verdicts(study.claim_metrics("mapping", root=root))
    return {claim: about["verdict"] for claim, about in judged.items()}


def test_a_claim_holds_only_where_every_seed_says_so(tmp_path):
    cells(tmp_path / "good")
    good = dict.fromkeys(("U6", "U7", "U8", "U11", "U15"), "reproduced")
    assert verdicts(tmp_path / "good") == good
    bad = {
        "U6": {"chain": {"top1": 0.5}},
        "U7": {"tokens1": {F1: 0.7}},
        "U8": {"attached": {F1: 0.8}},
        "U11": {"denoising": {HR: 0.5}},
        "U15": {"direct": {FID: 1.0}},
    }
    for claim, worse in bad.items():
        cells(tmp_path / claim, **worse)
        assert verdicts(tmp_path / claim) == good | {claim: "not reproduced"}, "one seed of three says otherwise"
    cells(tmp_path / "two", seeds=2)
    assert set(verdicts(tmp_path / "two").values()) == {"not testable here"}


def test_claims_stand_among_the_others_and_need_cells(tmp_path):
    cells(tmp_path)
    routing = {"prompts.accuracy": 1.0, "prompts.accuracy_low": 0.99}
    found = study.verdicts(study.claim_metrics("mapping", root=tmp_path) | routing)
    assert list(found) == ["U6", "U7", "U8", "U9", "U11", "U15"]
    assert all(any(letter.isdigit() for letter in about["ours"]) for about in found.values())
    assert study.claim_metrics("mapping", root=tmp_path / "none") == study.verdicts({}) == {}
