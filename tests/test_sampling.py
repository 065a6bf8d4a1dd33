"""Study `sampling`: steps and guidance of the chain's generator, and the rule that chooses the number of steps."""

import torch

from uniecg_lite.config import SMOKE
from uniecg_lite.studies import making
from uniecg_lite.studies.grid import STUDIES, run_study
from uniecg_lite.studies.study import summary


def test_a_cell_differs_from_the_profile_in_steps_or_in_guidance(chain):
    usual = {"steps": SMOKE.sample_steps, "guidance": SMOKE.guidance}
    for variant in STUDIES["sampling"].variants:
        found = making.sampling_settings(chain, variant)
        assert {key for key in usual if found[key] != usual[key]} <= set(making.HOW[variant])
        assert found | making.HOW[variant] == found and "diffusets" in found["inputs"]
    assert {f"steps{n}" for n in making.STEPS} | {f"guidance{g:g}" for g in making.GUIDANCE} == set(making.HOW)
    assert list(making.HOW) == list(STUDIES["sampling"].variants)


def test_a_cell_measures_what_was_sampled_that_way(room, tmp_path, monkeypatch):
    generated = []
    monkeypatch.setattr(making, "crowd", lambda _, signal: generated.append(signal) or {"fid": 1.0, "f1.SR": 0.5})
    found = making.sampling_measure(room, "steps2", 5, tmp_path)
    assert set(found) == {"fid", "seconds_per_ecg"} and found["seconds_per_ecg"] > 0
    words = room.generator.conditions(room.requests[: room.n])
    torch.testing.assert_close(generated[0], room.generator.signals(words, 5, steps=2).cpu())
    making.sampling_measure(room, "guidance4", 5, tmp_path)
    torch.testing.assert_close(generated[1], room.generator.signals(words, 5, guidance=4.0).cpu())
    making.sampling_measure(room, "steps2", 6, tmp_path)
    assert not torch.allclose(generated[0], generated[2]), "the seed varies the noise"


def test_the_runner_knows_the_study(chain, tmp_path, monkeypatch):
    monkeypatch.setenv("UNIECG_ARTIFACTS", str(chain.folder.parent))
    run_study("sampling", "smoke", seeds=2, variant="guidance1.5", root=tmp_path)
    [found] = summary("sampling", "smoke", tmp_path).values()
    wanted = {"hr_median_error_bpm", "findings_macro_f1", "fid", "fid_ratio_to_floor", "precision", "recall"}
    assert wanted | {"density", "coverage", "seconds_per_ecg"} <= set(found)
    assert all(value[3] == 2 for value in found.values())
