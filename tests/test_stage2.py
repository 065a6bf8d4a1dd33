"""Studies `routing`, `capacity` and `broken`: what each arm trains and breaks, and a check that names the fault."""

import random
import zlib
from pathlib import Path
from types import SimpleNamespace

import publish
import pytest
import tiny
import torch
from typer.testing import CliRunner

from uniecg_lite import cli
from uniecg_lite.checkpoints import load_reading, save_part
from uniecg_lite.config import SMOKE
from uniecg_lite.findings import table
from uniecg_lite.generator.text_encoder import TextEncoder
from uniecg_lite.language.conversations import TEXT_MIX, Corpus
from uniecg_lite.language.requests import Request
from uniecg_lite.metrics.evidence import STRANGERS
from uniecg_lite.metrics.prompt_scores import Prompt
from uniecg_lite.metrics.reader import Reader
from uniecg_lite.simulator.simulate import simulate
from uniecg_lite.studies import making, stage2, study, systems
from uniecg_lite.studies.grid import STUDIES, run_study
from uniecg_lite.studies.study import cell_path, summary, write_cell

OTHERS = [
    Prompt(prompt="afib 140, old man", kind="fragment", does="make"),
    Prompt(prompt="Interpret this.", kind="read", does="read", attached=True),
    Prompt(prompt="What is flutter?", kind="general", does="answer"),
]


@pytest.fixture(autouse=True)
def short_answers(monkeypatch):
    """Models of random weights never end, and what they understand may be a heart that cannot be."""
    monkeypatch.setattr("uniecg_lite.llm.ECGLanguageModel.max_answer", 4)
    monkeypatch.setattr(TextEncoder, "requests", lambda condition, vectors: [Request()] * len(vectors))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """The artifacts that the studies start from, at smoke size: simulated patients, random weights."""
    chain, _ = tiny.unified_chain(tmp_path_factory.mktemp("chain"), SMOKE, 300)
    with chain.writing("reader") as place:
        save_part(Reader(), place)
    return chain


@pytest.fixture(scope="module")
def context(store):
    return making.StudyContext(store)


# --- routing


def test_prompts_are_of_every_kind_and_of_unseen_phrasings_alone():
    corpus = Corpus(tiny.patients(60).truth)
    prompts = stage2.unseen_prompts(corpus, 5, 0)
    assert [p.kind for p in prompts[::5]] == [*TEXT_MIX, *stage2.SHOWN]
    assert prompts == stage2.unseen_prompts(corpus, 5, 0) != stage2.unseen_prompts(corpus, 5, 1)
    assert all(p.attached == (p.kind in stage2.SHOWN) for p in prompts)
    assert all((p.makes == {True}) == (p.kind in ("wish", "attached")) for p in prompts)
    assert all(isinstance(p.prompt, tuple) for p in prompts if p.kind == "follow"), "a question about what came before"
    splits = set()
    watched = SimpleNamespace(reports=[""], sample=lambda kind, row, rng, split: (splits.add(split), ""))
    stage2.unseen_prompts(watched, 1, 0)
    assert splits == {"unseen"}


@pytest.fixture
def trained(monkeypatch):
    """The [ECG] rows before and after the training of a cell: read ones, and emitted ones where there are others."""
    seen, train = {}, stage2.train_tokens

    def spy(model, *how):
        seen["model"], seen["before"] = model, [row.detach().clone() for row in model.token_rows().values()]
        frozen = model.fingerprint(("trainable_tokens",))
        history = train(model, *how)
        seen["after"] = list(model.token_rows().values())
        assert model.fingerprint(("trainable_tokens",)) == frozen, "the language model stays as it is"
        return history

    monkeypatch.setattr(stage2, "train_tokens", spy)
    return seen


MOVED = {"tied": [True], "both": [False, True], "input": [False, False]}  # what is read learns later, with the mapper


@pytest.mark.parametrize("arm", ["tied", "both", "input", "input_fresh"])
def test_each_arm_trains_its_rows_and_nothing_decides_by_rows_that_are_read(store, tmp_path, trained, arm):
    found = stage2.routing_measure(systems.Patients(store), arm, 0, tmp_path, OTHERS)
    moved = [not torch.equal(a, b) for a, b in zip(trained["before"], trained["after"])]
    assert moved == MOVED[arm.partition("_")[0]]
    assert {"unseen.wish", "unseen.follow", "unseen.all", "unseen.low", "others.read", "others.all"} <= found.keys()
    words = (found["others.read"] + found["others.general"]) / 2
    assert (
        found["others.generates"] == pytest.approx(1 - words)
        and found["others.answers"] == 1 - found["others.fragment"]
    )
    if arm.startswith("input"):
        untrained = stage2.decisions(trained["model"], OTHERS)
        assert all(found[f"others.{key}"] == value for key, value in untrained.items()), "decided before it trained"
    start = load_reading(store, "stage1").llm.get_input_embeddings().weight
    far = (torch.cdist(trained["before"][-1], start).min(1).values / start.std()).mean()
    assert (far > 5) == arm.endswith("fresh"), "others start near words that answered a wish before"


def test_prompts_of_one_direction_leave_the_other_open():
    model = Oracle(0, 4)
    found = stage2.decisions(model, OTHERS[:1])
    assert found["answers"] == 0 and found["generates"] != found["generates"]


# --- capacity


def test_what_is_read_back_is_counted_part_by_part():
    wanted = [Request(60, "male", 80, ("AFIB", "LVH"), axis=0), Request(rate=120, findings=("AFIB",), st=(("V1", 2),))]
    read = [Request(62, "female", 83, ("AFIB",), axis=10), Request(30, None, 118, ("AFIB", "PVC"), st=(("V1", 2),))]
    found = stage2.read_back(wanted, read)
    assert found == {
        "age": 1, "sex": 0, "rate": 0.5, "axis": 1, "st": 1, "findings": pytest.approx(2 / 3),
        "findings.AFIB": 1, "findings.LVH": 0, "all": pytest.approx(6 / 9),
    }  # fmt: skip
    assert stage2.read_back(wanted, [Request(), Request()])["all"] == 0
    assert stage2.read_back(wanted, wanted)["all"] == 1


def test_a_language_model_of_another_size_goes_through_all_stages_and_is_kept(context, tmp_path, monkeypatch):
    found = stage2.capacity_measure(context, "width64_depth1", 0, tmp_path)
    assert {"mse", "top1", "read.all", "read.rate", "read.sex", "ceiling.all", "ceiling.findings"} <= found.keys()
    assert any(key.startswith("read.findings.") for key in found) and found["parameters"] > 64 * 700
    monkeypatch.setattr(stage2, "TrainingLoop", None)  # its weights are kept: a training would fail now
    assert stage2.capacity_measure(context, "width64_depth1", 0, tmp_path) == found


# --- broken


@pytest.mark.parametrize("variant", STUDIES["broken"].variants)
def test_each_variant_breaks_one_thing(context, tmp_path, monkeypatch, variant):
    broken = {}

    def spy(model, before, n, seed):
        broken.update(model=model, before=before)
        return dict.fromkeys(table("diagnoses")["signs"], 0.0) | {"read": 1.0}

    monkeypatch.setattr(stage2, "signs", spy)
    found = stage2.broken_measure(context, variant, 0, tmp_path)
    assert found["named"] == (variant == "intact"), "these signs are of a healthy model"
    model, whole = broken["model"], load_reading(context.store, "unified")
    mine, theirs = model.fingerprint(("trainable_tokens",)), whole.fingerprint(("trainable_tokens",))
    assert (mine != theirs) == (variant == "unfrozen")
    parts = {"mapper": model.mapper, "w_ts": model.w_ts, "w_tsi": model.w_tsi}
    changed = {
        name
        for name, part in parts.items()
        if not all(map(torch.equal, part.parameters(), getattr(whole, name).parameters()))
    }
    expected = {"unfrozen": {"mapper"}, "mapper": {"mapper"}}
    assert changed == (expected.get(variant) or ({"w_ts", "w_tsi"} if variant.startswith("projections") else set()))
    if variant == "projections_swapped":
        assert torch.equal(model.w_ts.weight, whole.w_tsi.weight)
    if variant in stage2.BIAS:
        decided = stage2.decisions(model, OTHERS)
        assert decided["generates"] == (variant == "eager"), "whatever the prompt"
        assert model.ecg_ids[0] not in model.write(["Draw an ECG."])[0] or variant == "eager"
    assert broken["before"].stage == "stage1"


# --- the check


class Oracle:
    """A model that reads patients of `signs` rightly and generates what is asked for, unless it is `broken`."""

    ecg_ids = [900, 901]

    def __init__(self, seed: int, n: int, broken: str | None = None):
        simulated, rng = simulate(STRANGERS + seed, torch.arange(n)), random.Random(seed)
        corpus = Corpus(simulated.truth)
        self.broken, self.reports = broken, {self.key(x): text for x, text in zip(simulated.signal, corpus.reports)}
        self.asked = dict(corpus.sample("generate", row, rng, "unseen") for row in range(n))
        self.written, self.mapper = ["Please attach an ECG.", corpus.reports[0]], object()
        self.generator = SimpleNamespace(condition=self)
        if broken == "unfrozen":
            self.reports = {key: text.replace("Rate 1", "Rate 2") for key, text in self.reports.items()}

    @staticmethod
    def key(signal: torch.Tensor) -> float:
        return round(signal.double().abs().sum().item(), 3)

    # as a condition encoder
    def __call__(self, texts):
        return torch.stack(
            [torch.randn(16, generator=torch.Generator().manual_seed(zlib.crc32(t.encode()))) for t in texts]
        )

    def requests(self, vectors):
        return [Request()] * len(vectors)

    # as a model
    def conditions(self, prompts, *ecg):
        wanted = self([self.asked.get(p, "unknown") for p in prompts])
        return wanted.mean(0) + 0.1 * wanted if self.broken == "mapper" else wanted + 0.1

    def encode_ecg(self, signal, image):
        return signal, image

    def write(self, prompts, signal=None, image=None):
        shown, out = [None] * len(prompts) if signal is None else signal, []
        for ecg in shown:
            wish = {"eager": True, "silent": False}.get(self.broken, ecg is None)
            blind = self.broken == "projections"
            known = None if ecg is None or blind else self.reports.get(self.key(ecg))
            self.written.append(known or self.written[ecg is not None])
            out.append([900] if wish else [1000 + len(self.written) - 1])
        return out

    def texts(self, answers):
        return ["" if ids == [900] else self.written[ids[0] - 1000] for ids in answers]


CAUSES = table("diagnoses")["causes"]


@pytest.mark.parametrize("broken", [None, *(cause for cause in CAUSES if cause != "intact")])
def test_each_fault_is_named_and_a_healthy_model_has_none(broken):
    found = stage2.signs(Oracle(0, 24, broken), Oracle(0, 24), 24)
    assert found.keys() >= set(table("diagnoses")["signs"]) - ({"changed"} if broken == "eager" else set())
    assert stage2.diagnosis(found) == (broken or "intact")
    if not broken:
        assert (found["generates"], found["answers"], found["changed"]) == (0, 0, 0)
        assert found["mapper_error"] < 0.1 and found["spread"] == pytest.approx(1) and found["read"] > 0.5
    if broken == "mapper":
        assert found["mapper_error"] > 0.7 and found["spread"] < 0.1, "all alike"
    if broken == "projections":
        assert found["own"] == found["another"] == found["zeros"]
    if broken == "unfrozen":
        alone = stage2.signs(Oracle(0, 24, broken), None, 24)
        assert "changed" not in alone and stage2.diagnosis(alone) == "intact", "without a model to compare with"


def test_a_mapper_that_diverged_is_named():
    model = Oracle(0, 8)
    model.conditions = lambda prompts, *ecg: torch.full((len(prompts), 16), torch.nan)
    assert stage2.diagnosis(stage2.signs(model, n=8)) == "mapper"


def test_every_sign_is_explained_and_every_cause_has_a_rule_a_sentence_and_a_reason():
    signs = table("diagnoses")["signs"]
    for name, row in CAUSES.items():
        sign, relation, limit = row["if"].split()
        assert sign in signs and relation in (">", "<", "<=") and float(limit) == float(limit)
        assert row["cause"].endswith(".") and row["reason"].endswith(".") and set(row) == {"if", "cause", "reason"}, (
            name
        )
    assert list(CAUSES)[-1] == "intact"
    variants = {variant.partition("_")[0] for variant in STUDIES["broken"].variants}
    assert variants == set(CAUSES), "each is broken on purpose"


@pytest.mark.parametrize("broken", [None, "silent"])
def test_the_command_prints_signs_and_the_likely_cause(broken, monkeypatch):
    monkeypatch.setattr(cli, "_model", lambda profile, folder: Oracle(0, 64, broken if folder == "mine" else None))
    shown = CliRunner().invoke(cli.app, ["diagnose", "mine", "--before", "earlier"])
    lines = shown.output.strip().splitlines()
    assert shown.exit_code == bool(broken) and len(lines) == 1 + len(table("diagnoses")["signs"])
    assert lines[-1] == CAUSES[broken or "intact"]["cause"]
    assert lines[1].split()[0] == ("1.000" if broken else "0.000")


def test_the_command_reads_model_folders(store):
    folders = [str(store.path("unified")), "--before", str(store.path("stage1"))]
    shown = CliRunner().invoke(cli.app, ["diagnose", *folders])
    assert shown.output.strip().splitlines()[-1] in {row["cause"] for row in CAUSES.values()}, shown.exception
    early = CliRunner().invoke(cli.app, ["diagnose", str(store.path("tokens"))])
    assert "This model cannot generate ECGs yet" in str(early.exception)


# --- the runner, and the claims


def test_cells_differ_in_what_they_say(store):
    for name in ("routing", "capacity", "broken"):
        found = {variant: stage2.settings(name, store, variant) for variant in STUDIES[name].variants}
        assert all(each["inputs"].keys() == set(stage2.BASIS[name][0].split()) for each in found.values())
    assert set(found) == {*CAUSES, "projections_skipped", "projections_swapped"} - {"projections"}
    assert set(STUDIES["capacity"].variants) == set(stage2.SIZES)
    assert set(STUDIES["routing"].variants) == {arm + fresh for arm in MOVED for fresh in ("", "_fresh")}


def test_the_runner_knows_the_studies(store, tmp_path, monkeypatch):
    monkeypatch.setenv("UNIECG_ARTIFACTS", str(store.folder.parent))
    monkeypatch.setattr(stage2, "load_prompts", lambda path: OTHERS)
    run_study("routing", "smoke", seeds=1, variant="tied", root=tmp_path)
    run_study("broken", "smoke", seeds=1, variant="eager", root=tmp_path)
    assert summary("routing", "smoke", tmp_path)["tied"]["others.low"][3] == 1
    eager = summary("broken", "smoke", tmp_path)["eager"]
    assert eager["generates"][0] == 1 and "changed" not in eager, "where all is an ECG no report is compared"
    rows = publish.studies_table(tmp_path / "none").splitlines()
    assert sum(row.startswith(("| `routing`", "| `capacity`", "| `broken`")) for row in rows) == 3


def cells(root: Path, seeds: int = 3, **worse: dict[str, float]) -> None:
    """Cells in which every claim holds, but for what is given for a variant's last seed."""
    healthy = {"generates": 0.0, "answers": 0.1, "mapper_error": 0.05, "spread": 0.9, "read": 0.7, "changed": 0.0}
    broken = {
        "intact": {}, "unfrozen": {"changed": 0.6}, "mapper": {"mapper_error": 0.9, "spread": 0.1},
        "eager": {"generates": 1.0}, "silent": {"answers": 1.0},
        "projections_skipped": {"read": 0.0}, "projections_swapped": {"read": 0.0},
    }  # fmt: skip
    known = {("broken", name): healthy | {"named": 1.0} | signs for name, signs in broken.items()}
    arms = {"tied": 0.96, "both": 0.96, "input": 0.6, "tied_fresh": 0.95, "both_fresh": 0.95, "input_fresh": 0.5}
    known |= {("routing", arm): {"others.all": v, "others.low": v - 0.03, "unseen.all": v} for arm, v in arms.items()}
    read = dict.fromkeys(("read.all", "read.rate", "read.age", "read.sex", "read.findings"), 0.9) | {"mse": 0.05}
    known |= {("capacity", variant): read for variant in stage2.SIZES}
    known["capacity", "width64_depth1"] = {key: 0.6 for key in read} | {"mse": 0.2}
    for (name, variant), metrics in known.items():
        for seed in range(seeds):
            found = metrics | (worse.get(variant, {}) if seed == seeds - 1 else {})
            cell = {"variant": variant, "seed": seed, "settings": {}, "metrics": found}
            write_cell(cell_path(name, "laptop", variant, seed, root), cell)


def verdicts(root: Path) -> dict[str, str]:
    """Claim -> verdict from the cells under a folder."""
    judged = study.verdicts(study.claim_metrics("stage2", root=root))
    assert all(any(letter.isdigit() for letter in about["ours"]) for about in judged.values())
    return {claim: about["verdict"] for claim, about in judged.items()}


def test_claims_hold_only_where_every_seed_says_so(tmp_path):
    cells(tmp_path / "good")
    good = dict.fromkeys(("U9", "U12", "U14"), "reproduced")
    assert verdicts(tmp_path / "good") == good
    bad = {
        "U9": {"tied": {"others.low": 0.89}},
        "U12": {"width64_depth1": {"read.all": 0.95}},
        "U14": {"projections_swapped": {"named": 0.0}},
    }
    for claim, worse in bad.items():
        cells(tmp_path / claim, **worse)
        assert verdicts(tmp_path / claim) == good | {claim: "not reproduced"}
    cells(tmp_path / "two", seeds=2)
    assert set(verdicts(tmp_path / "two").values()) == {"not testable here"}
    assert verdicts(tmp_path / "none") == {}


def test_the_study_of_routing_is_judged_before_the_chain(tmp_path):
    cells(tmp_path)
    chain = {"prompts.accuracy": 0.5, "prompts.accuracy_low": 0.4}
    assert study.verdicts(chain)["U9"]["verdict"] == "not reproduced"
    assert study.verdicts(chain | study.claim_metrics("stage2", root=tmp_path))["U9"]["verdict"] == "reproduced"
