"""studies: cells are run once, kept whole and told honestly; the study `table` trains what it says, on equal terms."""

import json
import os
from dataclasses import asdict, replace
from pathlib import Path

import publish
import pytest
import tiny
import torch

from uniecg_lite import cohort
from uniecg_lite.beats import measure_beat
from uniecg_lite.checkpoints import save_part
from uniecg_lite.config import LAPTOP, SMOKE, Training
from uniecg_lite.errors import BadRequest, UniECGError
from uniecg_lite.findings import CODES, RHYTHMS, table
from uniecg_lite.language.conversations import Corpus
from uniecg_lite.metrics.reader import Reader
from uniecg_lite.model import tokens_per_ecg
from uniecg_lite.simulator.simulate import simulate
from uniecg_lite.store import Store, save_tensors
from uniecg_lite.studies import diag as study_diag
from uniecg_lite.studies import systems as study_table
from uniecg_lite.studies.grid import STUDIES, run_study, study_list
from uniecg_lite.studies.study import (
    Study,
    cell_path,
    claim_metrics,
    paired,
    provenance,
    read_cell,
    read_cells,
    size,
    summary,
    summary_table,
    system_table,
    verdicts,
    write_cell,
)
from uniecg_lite.studies.systems import Patients, SharedProjection, settle, train_reading, trivial_report

# --- the runner, with a study that trains nothing


class _Toy:
    """A study whose cells count themselves and fail on request."""

    def __init__(self):
        self.measured, self.broken, self.steps = [], {}, 3

    def study(self) -> Study:
        return Study(
            "toy",
            lambda store: "room",
            self.measure,
            lambda store, variant: {"steps": self.steps, "inputs": ("a", "b")},
            "Does anything happen?",
            {"plain": "random", "still": "nothing random"},
            ("still",),
        )

    def measure(self, room, variant, seed, folder):
        assert room == "room"
        if (variant, seed) in self.broken:
            (folder / "checkpoint").mkdir(exist_ok=True)
            raise self.broken[variant, seed]
        self.measured.append((variant, seed, (folder / "checkpoint").exists()))
        return {"score": 10.0 * seed + len(variant), "missing": float("nan")}


@pytest.fixture
def toy(monkeypatch, tmp_path):
    monkeypatch.setenv("UNIECG_ARTIFACTS", str(tmp_path / "artifacts"))
    generated = _Toy()
    monkeypatch.setitem(STUDIES, "toy", generated.study())
    return generated


def test_every_cell_runs_once_and_says_how(toy, tmp_path):
    files = run_study("toy", "smoke", seeds=2, root=tmp_path)
    assert [f.name for f in files] == [f"smoke.{v}.json" for v in ("plain.seed0", "still.seed0", "plain.seed1")]
    assert [(v, s) for v, s, _ in toy.measured] == [("plain", 0), ("still", 0), ("plain", 1)]
    cell = json.loads(files[2].read_text())
    assert {"study", "variant", "profile", "seed", "machine", "commit", "date", "seconds"} <= set(cell)
    assert cell["settings"] == {"steps": 3, "inputs": ["a", "b"]}
    assert cell["metrics"] == {"missing": None, "score": 15.0}, "strict JSON has no NaN"
    run_study("toy", "smoke", seeds=2, root=tmp_path)
    assert len(toy.measured) == 3, "finished cells stay"
    toy.steps = 4
    run_study("toy", "smoke", seeds=1, variant="plain", root=tmp_path)
    assert toy.measured[3:] == [("plain", 0, False)], "other settings, another cell"
    assert {p.suffix for p in (tmp_path / "toy").iterdir()} == {".json"}


def test_a_study_writes_among_artifacts_and_skips_what_is_committed(toy, tmp_path, monkeypatch):
    committed, own = tmp_path / "results", tmp_path / "artifacts" / "smoke" / "studies"
    monkeypatch.setattr("uniecg_lite.studies.study.STUDIES_FOLDER", committed)
    [there] = run_study("toy", "smoke", seeds=1, variant="plain", root=committed)
    before = there.read_text()
    files = run_study("toy", "smoke", seeds=2)
    assert [(v, s) for v, s, _ in toy.measured] == [("plain", 0), ("still", 0), ("plain", 1)]
    assert files[0] == there and all(path.parent == own / "toy" for path in files[1:])
    assert [cell["committed"] for cell in read_cells("toy", "smoke")] == [True, False, False]
    assert "3 cells (2 of this run, 1 committed), profile smoke" in provenance("toy", "smoke")
    assert [path for path in committed.rglob("*") if path.is_file()] == [there] and there.read_text() == before
    toy.steps = 4
    [mine] = run_study("toy", "smoke", seeds=1, variant="plain")
    assert len(toy.measured) == 4 and mine.parent == own / "toy" and there.read_text() == before
    assert [cell["settings"]["steps"] for cell in read_cells("toy", "smoke")] == [4, 3, 3], "one's own counts"
    toy.steps = 3
    assert run_study("toy", "smoke", seeds=1, variant="plain") == [there] and not mine.exists()
    assert len(toy.measured) == 4, "a committed cell that fits again is not hidden by another of one's own"


def test_a_cell_that_fails_does_not_stop_the_others(toy, tmp_path):
    toy.broken = {("plain", 0): ValueError("no such wave")}
    with pytest.raises(
        UniECGError, match=r"1 of 3 cells of study 'toy' failed: plain with seed 0 \(ValueError: no such"
    ):
        run_study("toy", "smoke", seeds=2, root=tmp_path)
    assert [(v, s) for v, s, _ in toy.measured] == [("still", 0), ("plain", 1)]
    toy.broken = {}
    run_study("toy", "smoke", seeds=2, root=tmp_path)
    assert toy.measured[2:] == [("plain", 0, True)], "it alone runs again, with what its folder held"


def test_a_killed_cell_keeps_its_checkpoint_unless_settings_change(toy, tmp_path):
    toy.broken = {("plain", 0): KeyboardInterrupt()}
    for steps, kept in ((3, True), (5, False)):
        with pytest.raises(KeyboardInterrupt):
            run_study("toy", "smoke", seeds=1, variant="plain", root=tmp_path)
        assert not (tmp_path / "toy").exists(), "no half cell"
        toy.steps, broken, toy.broken = steps, toy.broken, {}
        path = run_study("toy", "smoke", seeds=1, variant="plain", root=tmp_path)[0]
        assert toy.measured[-1][2] == kept and read_cell(path)["resumed"] == kept
        path.unlink()
        path.parent.rmdir()
        toy.broken = broken


def test_a_cell_that_goes_on_adds_up_the_seconds_of_all_its_runs(toy, tmp_path):
    toy.broken = {("plain", 0): KeyboardInterrupt()}
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            run_study("toy", "smoke", seeds=1, variant="plain", root=tmp_path)
        [clock] = (tmp_path / "artifacts").rglob("clock.json")
        begun = json.loads(clock.read_text())["begun"]
        os.utime(clock.parent / "checkpoint", (begun + 100, begun + 100))  # the last file before it was killed
    toy.broken = {}
    cell = read_cell(run_study("toy", "smoke", seeds=1, variant="plain", root=tmp_path)[0])
    assert cell["resumed"] and cell["seconds"] >= 200


@pytest.mark.parametrize(
    ("words", "stated"),
    [
        ({"name": "dream"}, "no study 'dream': choose one of"),
        ({"name": "toy", "variant": "wild"}, "no variant 'wild': choose one of plain, still"),
        ({"name": "toy", "seeds": 0}, "at least one seed"),
    ],
)
def test_what_cannot_be_run_is_refused(toy, tmp_path, words, stated):
    with pytest.raises(BadRequest, match=stated):
        run_study(**words, profile="smoke", root=tmp_path)


def test_the_shell_lists_studies_and_refuses_with_a_sentence(monkeypatch, capsys, toy):
    from uniecg_lite import cli

    monkeypatch.setattr("sys.argv", ["uniecg", "study", "--list"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    shown = capsys.readouterr().out
    assert not end.value.code and shown.strip() == study_list()
    assert all(study.question in shown for study in STUDIES.values())
    monkeypatch.setattr("sys.argv", ["uniecg", "study", "dream", "--profile", "smoke"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 1 and "There is no study 'dream'" in capsys.readouterr().err


# --- cells together


def cells(root: Path, name: str, values: dict[str, list[dict]], profile: str = "laptop") -> None:
    """Write cells: variant -> the metrics of each seed."""
    for variant, seeds in values.items():
        for seed, metrics in enumerate(seeds):
            cell = {"variant": variant, "seed": seed, "settings": {}, "metrics": metrics, "machine": "cpu2"}
            cell |= {"commit": "abc", "date": "2026-01-02", "seconds": 60}
            write_cell(cell_path(name, profile, variant, seed, root), cell)


def test_means_come_with_their_spread(tmp_path):
    cells(tmp_path, "s", {"a": [{"x": 1.0}, {"x": 2.0, "y": 5.0}, {"x": 6.0, "y": float("nan")}], "b": [{"x": 2.0}]})
    cells(tmp_path, "s", {"a": [{"x": 100.0}]}, profile="gpu")
    found = summary("s", root=tmp_path)
    assert found == {"a": {"x": (3.0, 1.0, 6.0, 3), "y": (5.0, 5.0, 5.0, 1)}, "b": {"x": (2.0, 2.0, 2.0, 1)}}
    rows = summary_table("s", ["x", "y"], root=tmp_path).splitlines()
    assert rows[2:] == ["| a | 3 (1 to 6, n = 3) | 5 (n = 1) |", "| b | 2 (n = 1) | not measured |"]
    assert provenance("s", root=tmp_path) == (
        "Study 's': 4 cells, profile laptop, cpu2, commit abc, 2026-01-02, 4 min."
    )


def test_comparisons_are_seed_by_seed(tmp_path):
    cells(tmp_path, "s", {"a": [{"x": 2.0}, {"x": 9.0}], "b": [{"x": 1.0}, {"x": 3.0}, {"x": 5.0}]})
    assert paired("s", ("a", "x"), ("b", "x"), root=tmp_path) == (3.5, 1.0, 6.0, 2), "seeds that both have"
    assert paired("s", ("a", "x"), ("b", "x"), True, root=tmp_path) == (2.5, 2.0, 3.0, 2)
    cells(tmp_path, "making", {"ours": [{"x": 1.0}, {"x": 3.0}, {"x": 5.0}]})
    cells(tmp_path, "making", {"simulator": [{"x": 4.0}], "begun": [{"x": 4.0}]})
    once = paired("making", ("ours", "x"), ("simulator", "x"), root=tmp_path)
    assert once == (-1.0, -3.0, 1.0, 3), "nothing random in it: one cell for every seed"
    begun = paired("making", ("ours", "x"), ("begun", "x"), root=tmp_path)
    assert begun == (-3.0, -3.0, -3.0, 1), "its other seeds are to come"
    assert paired("s", ("a", "x"), ("b", "y"), root=tmp_path) is None


# --- verdicts


def scored(value: float, prefix: str = "", **other) -> dict[str, float]:
    names = ("ECGFeatureGrounding", "EvidenceBasedReasoning", "ClinicalDiagnosticFidelity", "Average")
    return {prefix + name: value for name in names} | other


def a_table(root: Path, pulse: list[float], gem: list[float], change: float = 0.0, shared: float = 50.0) -> None:
    """A study `table`: scores of PULSE-lite and GEM-lite by seed."""
    more = {"stage2_change": change, "stage2_identical": 1.0, "conflict.signal": 0.5, "conflict.image": 0.3}
    rows = [
        scored(g, **scored(g + change, "uniecg."), **scored(g - 1, "signal."), **scored(g - 9, "image."), **more)
        for g in gem
    ]
    values = {"pulse": [scored(p) for p in pulse], "gem": rows, "shared": [scored(shared)] * len(gem)}
    cells(root, "table", values | {"trivial": [scored(10.0)], "classical": [scored(60.0)]})


def test_claims_hold_only_with_direction_and_ratio_over_three_seeds(tmp_path):
    a_table(tmp_path / "good", [40, 41, 42], [70, 71, 72], change=-0.5)
    found = claim_metrics("table", root=tmp_path / "good")
    assert found["table.average_ratio_vs_pulse"] == pytest.approx((69.5 / 40 + 70.5 / 41 + 71.5 / 42) / 3)
    assert (
        found["table.grounding_ratio_vs_pulse.low"] == pytest.approx(71.5 / 42)
        and found["table.grounding_ratio_vs_pulse.seeds"] == 3
    )
    assert found["table.stage2_change"] == -0.5
    claims = verdicts(found)
    assert {key: claim["verdict"] for key, claim in claims.items()} == dict.fromkeys(
        ("U1", "U2", "U3", "U4"), "reproduced"
    )
    assert "1.72" in claims["U1"]["ours"] and "n = 3" in claims["U1"]["ours"]

    a_table(tmp_path / "ratio", [60, 61, 62], [70, 71, 72], change=-5, shared=71.5)
    claims = verdicts(claim_metrics("table", root=tmp_path / "ratio"))
    assert claims["U1"]["verdict"] == "not reproduced", "better, but not by as much as in the paper"
    assert claims["U2"]["verdict"] == "not reproduced", "five points are not slight"
    assert claims["U4"]["verdict"] == "not reproduced", "one seed of three says otherwise"

    a_table(tmp_path / "few", [40, 41], [70, 71])
    judged = verdicts(claim_metrics("table", root=tmp_path / "few"))
    assert {claim["verdict"] for claim in judged.values()} == {"not testable here"}
    assert claim_metrics("table", root=tmp_path / "none") == {} and verdicts({}) == {}


def test_the_ratios_of_u1_are_those_that_the_paper_publishes():
    published = {row["id"]: row["ratio"] for row in table("published")["scores"]["rows"]}
    claim = table("claims")["table"]["claims"]["U1"]
    for score in ("grounding", "evidence", "average"):
        assert f"{score} x{published[score]}" in claim["paper"]
        assert f"table.{score}_ratio_vs_pulse >= {published[score]}" in claim["holds_if"]


def test_every_claim_needs_metrics_of_known_variants_and_has_rules_about_them():
    for name, group in table("claims").items():
        for what in group["metrics"].values():
            study, _, words = what.partition(": ")
            variant, _, *other = words.split()
            assert {variant, *other[1:2]} <= set(STUDIES[study].variants) and other[:1] in ([], ["-"], ["/"])
        for claim in group["claims"].values():
            told = {*claim["needed"], *claim.get("wished", {})}
            assert {*claim["needed"]} <= group["metrics"].keys() or name == "chain"
            assert all(any(rule.startswith(key) for key in told) for rule in claim["holds_if"])


def test_the_readme_table_shows_every_system_beside_the_paper(tmp_path, monkeypatch):
    monkeypatch.setattr(publish.results, "RESULTS", tmp_path)
    a_table(tmp_path / "studies", [40, 41, 42], [50, 51, 52])
    page = tmp_path / "README.md"
    page.write_text("before\n<!-- table:begin -->\nold\n<!-- table:end -->\nafter\n")
    assert publish.update_readme(page) and not publish.update_readme(page)
    text = page.read_text()
    assert "old" not in text and text.startswith("before\n") and text.endswith("after\n")
    rows = [[part.strip() for part in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + 4 * 5 and {len(row) for row in rows} == {7}
    grounding = {row[1]: row for row in rows[2:] if row[0] == "ECG feature grounding"}
    assert grounding["PULSE-lite"][2:5] == ["41.63", "41 (40 to 42, n = 3)", ""]
    assert grounding["UniECG-lite"][2] == "69.44" and grounding["UniECG-lite"][4] == "1.67"
    assert grounding["UniECG-lite"][5].startswith("1.24 (") and grounding["UniECG-lite"][6] == "not reproduced"
    assert grounding["GEM-lite"][2] == grounding["trivial"][2] == "", "the paper gives no number"
    assert "Not run yet" in system_table("gpu", tmp_path / "studies")


def test_readme_tells_how_long_each_study_took(tmp_path):
    cells(tmp_path, "realism", {"simulator": [{"x": 1.0}] * 3})
    cells(tmp_path, "realism", {"simulator": [{"x": 1.0}]}, profile="smoke")
    rows = {line.split("`")[1]: line for line in publish.studies_table(tmp_path).splitlines()[2:]}
    assert set(rows) == set(STUDIES) and all(study.question in rows[name] for name, study in STUDIES.items())
    assert rows["realism"].endswith("| 3 | 3 min on cpu2 |") and rows["table"].endswith("| 0 | not run yet |")


# --- baselines


def test_the_trivial_report_is_the_usual_one():
    corpus = Corpus(tiny.patients(60).truth)
    text, share = trivial_report(corpus)
    assert text in corpus.reports and share == corpus.reports.count(text) / 60
    corpus.reports = ["common"] * 3 + corpus.reports[3:]
    assert trivial_report(corpus) == ("common", 0.05)


def test_where_no_report_is_usual_the_patient_in_the_middle_gives_it():
    corpus = Corpus(tiny.patients(300).truth)
    middle = [replace(corpus.readings[0], rate_bpm=rate, findings=frozenset({"SR"})) for rate in range(30, 231)]
    corpus.readings, corpus.reports = middle, [f"rate {r.rate_bpm}" for r in middle]
    assert trivial_report(corpus)[0] == "rate 130"


def test_findings_of_the_reader_agree_with_each_other():
    torch.manual_seed(0)
    logits = torch.randn(64, len(CODES))
    logits[:8] = -1
    logits[:8, CODES.index("SR")] = torch.linspace(-0.9, 3, 8)
    found = settle(logits)
    rhythms = [CODES.index(code) for code in RHYTHMS]
    assert (found[:, rhythms].sum(1) == 1).all()
    assert found[:8, CODES.index("NORM")].all() and (found[:8].sum(1) == 2).all()
    assert not (found[8:, CODES.index("NORM")] & (found[8:].sum(1) > 2)).any()


def test_a_beat_is_measured_as_it_was_made():
    generated = simulate(7, torch.arange(150), noise=False)
    found = measure_beat(generated.signal, generated.truth["qrs_ms"], generated.truth["qt_ms"])
    for name, limit in (("st_mv", 0.02), ("t_mv", 0.02), ("q_mv", 0.03)):
        assert (found[name] - generated.truth[name]).abs().median() < limit, name
    large = generated.truth["t_mv"].abs() > 0.2
    assert (found["t_mv"].sign() == generated.truth["t_mv"].sign())[large].float().mean() > 0.95
    hit = (found["q_wave"] & generated.truth["q_wave"]).sum()
    assert 2 * hit / (found["q_wave"].sum() + generated.truth["q_wave"].sum()) > 0.75
    twice = measure_beat(2 * generated.signal, generated.truth["qrs_ms"], generated.truth["qt_ms"])
    torch.testing.assert_close(twice["st_mv"], 2 * found["st_mv"])


# --- the study `table`


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    """The artifacts a study starts from, at smoke size: real patients, random weights."""
    folder = tmp_path_factory.mktemp("chain")
    store, model = Store(folder / "smoke", SMOKE, 0), tiny.reading_model()
    with store.writing("cohort") as room:
        cohort.write(cohort.simulated(0, 160), room / "splits")
    with store.writing("encoders", inputs=("cohort",)) as room:
        parts = {"phi_s": model.phi_s, "phi_v": model.phi_v}
        tensors = {f"{n}.{k}": v for n, part in parts.items() for k, v in part.state_dict().items()}
        save_tensors(tensors, room / "encoders")
    with store.writing("language", inputs=("cohort",)) as room:
        model.llm.save_pretrained(room / "llm")
        model.tokenizer.save_pretrained(room / "llm")
    with store.writing("reader") as room:
        save_part(Reader(), room)
    return store


def test_encoder_tokens_are_made_once_for_all_cells(chain, monkeypatch):
    room = Patients(chain)
    learned, seen = room.views
    n, signal = len(room.readings), room.test.signal(range(len(room.test)))
    assert n == min(SMOKE.study_scored, n) and len(signal) == len(seen.signal) == n
    assert learned.signal.dtype == torch.float16 and len(learned.image) == len(room.corpus.reports)
    with torch.no_grad():
        from uniecg_lite.checkpoints import load_encoders

        fresh = load_encoders(chain)[0](signal)
    torch.testing.assert_close(seen.signal.float(), fresh, atol=0.02, rtol=0.02)
    fewer = replace(chain, profile=replace(SMOKE, study_scored=1))
    assert len(Patients(fewer).views[1].signal) == 1
    monkeypatch.setattr("uniecg_lite.studies.systems.CachedTokens.encode", None)
    assert room.views[0] is learned, "not encoded again"


def test_one_shared_projection_has_the_size_of_two():
    for enc, lm in ((160, 160), (32, 32), (768, 4096)):
        two = 2 * (enc + 1) * lm
        assert two - (enc + lm + 1) < size(SharedProjection(enc, lm)) <= two
    model = tiny.reading_model()
    model.w_ts = model.w_tsi = SharedProjection(SMOKE.enc_width, SMOKE.lm_width)
    signal, image = (torch.randn(2, phi.tokens, SMOKE.enc_width) for phi in (model.phi_s, model.phi_v))
    image[:, 0] = signal[:, 0]  # the same summary
    projected = model.project(signal, image)
    place = tokens_per_ecg(model.phi_s)
    assert projected.shape == (2, place + tokens_per_ecg(model.phi_v), SMOKE.lm_width)
    assert torch.equal(projected[:, 0], projected[:, place])


@pytest.mark.parametrize("variant", ["pulse", "shared", "gem"])
def test_each_variant_trains_what_it_says(chain, tmp_path, variant):
    room, plan = Patients(chain), Training(4, 4, 1e-2, warmup=1)
    torch.manual_seed(0)
    model = tiny.reading_model()
    if variant == "shared":
        model.w_ts = model.w_tsi = SharedProjection(SMOKE.enc_width, SMOKE.lm_width)
    before = {name: p.clone() for name, p in model.named_parameters()}
    modes = study_table.SHOWN[variant]
    train_reading(model, room.corpus, room.views[0], {"alignment": plan}, 0, tmp_path, modes)
    moved = {name.split(".")[0] for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert moved == {"pulse": {"w_tsi"}, "shared": {"w_ts"}, "gem": {"w_ts", "w_tsi"}}[variant]
    assert (model.w_ts is model.w_tsi) == (variant == "shared")
    train_reading(model, room.corpus, room.views[0], {"stage1": plan}, 0, tmp_path, modes)
    moved = {name.split(".")[0] for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert moved == {"pulse": {"llm", "w_tsi"}, "shared": {"llm", "w_ts"}, "gem": {"llm", "w_ts", "w_tsi"}}[variant]


def test_cells_differ_in_what_they_ask_and_in_nothing_else(chain):
    found = {variant: study_table.settings(chain, variant) for variant in STUDIES["table"].variants}
    alike = ("records", "scored", "alignment", "stage1")
    assert all(found[v][key] == found["gem"][key] for v in ("pulse", "shared") for key in alike)
    assert found["pulse"]["modes"] == ["image"] and found["shared"]["modes"] == found["gem"]["modes"]
    enough = found["shared"]["projection_parameters"] / found["gem"]["projection_parameters"]
    assert 0.95 < enough <= 1
    assert found["classical"]["inputs"]["reader"] == chain.meta("reader")["hash"]


@pytest.mark.parametrize("profile", [LAPTOP, SMOKE], ids=lambda p: p.name)
def test_language_models_of_both_designs_train_by_as_many_steps(profile):
    steps = {
        variant: sum(plan.steps for name, plan in study_diag.plans(profile, variant).items() if name != "tokenizer")
        for variant in study_diag.VARIANTS
    }
    assert len(set(steps.values())) == 1, steps


def test_the_other_design_answers_the_same_questions(chain, tmp_path, monkeypatch):
    monkeypatch.setenv("UNIECG_ARTIFACTS", str(chain.folder.parent))
    [path] = run_study("diagecg", "smoke", seeds=1, variant="vectors", root=tmp_path)
    found = json.loads(path.read_text())
    assert found["settings"]["inputs"] == {
        name: chain.meta(name)["hash"] for name in ("cohort", "language", "encoders")
    }
    assert {"diagecg.qa_exact_match", "diagecg.qa_exact_match.open", "diagecg.findings_macro_f1"} <= set(
        found["metrics"]
    )


def test_controls_differ_in_what_is_shown_and_in_nothing_else(chain, tmp_path, monkeypatch):
    room = Patients(chain)
    seen = {v: study_table.controlled(room, v, 0).views for v in STUDIES["controls"].variants}
    shapes = [[[part.shape for part in vars(x).values()] for x in views] for views in seen.values()]
    assert shapes[0] == shapes[1] == shapes[2]
    assert not any(part.any() for views in seen["blind"] for part in vars(views).values())
    assert not torch.equal(seen["random"][1].signal, seen["encoder"][1].signal) and seen["random"][1].image.std() > 0
    assert torch.equal(study_table.controlled(room, "random", 0).views[1].signal, seen["random"][1].signal)
    assert torch.equal(room.views[0].signal, seen["encoder"][0].signal), "the others see as before"
    found = [study_table.settings(chain, v) for v in seen]
    assert found[0] == found[1] == found[2] and found[0]["stage1"] == asdict(SMOKE.study_stage1)

    monkeypatch.setenv("UNIECG_ARTIFACTS", str(chain.folder.parent))
    assert len(run_study("controls", "smoke", seeds=1, root=tmp_path)) == 3
    cells = summary("controls", "smoke", tmp_path)
    assert all({"hr_mae_bpm", "axis_mae_deg", "findings_macro_f1"} <= set(found) for found in cells.values())
    assert any(name.startswith("f1.") for name in cells["encoder"])


def test_the_table_runs_from_the_chain_to_readme(chain, tmp_path, monkeypatch):
    monkeypatch.setenv("UNIECG_ARTIFACTS", str(chain.folder.parent))
    files = run_study("table", "smoke", seeds=1, root=tmp_path)
    assert len(files) == len(STUDIES["table"].variants)
    found = {variant: metrics for variant, metrics in summary("table", "smoke", tmp_path).items()}
    assert all("Average" in metrics and "findings_macro_f1" in metrics for metrics in found.values())
    gem = found["gem"]
    for part in ("signal.", "image.", "uniecg."):
        assert part + "Average" in gem and part + "hr_mae_bpm" in gem
    change = gem["uniecg.Average"][0] - gem["Average"][0]
    assert gem["stage2_change"][0] == pytest.approx(change, abs=1e-5)
    assert {"conflict.signal", "occlusion.findings", "stage2_identical"} <= set(gem)
    assert set(verdicts(claim_metrics("table", "smoke", tmp_path))) >= {"U2", "U4"}
    assert system_table("smoke", tmp_path).count("\n") == 1 + 4 * 5

    monkeypatch.setattr(study_table, "train_reading", None)  # its weights are kept: training would fail now
    for path in files:
        if ".pulse." in path.name:
            old = json.loads(path.read_text())
            path.unlink()
    run_study("table", "smoke", seeds=1, root=tmp_path)
    again = read_cell(cell_path("table", "smoke", "pulse", 0, tmp_path))
    assert again["metrics"] == old["metrics"] and again["resumed"] and not old["resumed"]
    assert set(STUDIES["table"].fixed) == {"trivial", "classical"}
