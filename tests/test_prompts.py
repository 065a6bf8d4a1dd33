"""prompts: files of them are read line by line, known decisions score what they must, and the frozen file is whole."""

import json
import re
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from uniecg_lite.errors import BadRequest
from uniecg_lite.findings import CODES
from uniecg_lite.language.requests import PROMPTS as WORDINGS
from uniecg_lite.language.requests import Request
from uniecg_lite.metrics.prompt_scores import Prompt, by_kind, is_asked, load_prompts, prompt_metrics, prompt_scores
from uniecg_lite.paths import DATA

AFIB = {"prompt": "afib 140, old man", "kind": "fragment", "does": ["make"], "findings": ["AFIB"], "sex": "male"}
WISH = Prompt(**AFIB, numbers={"rate_bpm": 140, "age": 70})
PROMPTS = [
    WISH,
    Prompt(prompt="sinus brady", kind="fragment", does="make", findings=("SBRAD",)),
    Prompt(prompt="Interpret this.", kind="read", does="read", attached=True),
    Prompt(prompt="What is flutter?", kind="general", does="answer"),
    Prompt(prompt="Draw one at 900 bpm", kind="impossible", does=("decline", "make")),
]
MET = {"afib 140, old man": Request(71, "male", 139, ("AFIB", "PVC")), "sinus brady": Request(findings=("SBRAD",))}


# --- files


def written(folder, *lines) -> str:
    path = folder / "prompts.jsonl"
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines), encoding="utf-8")
    return path


def test_good_lines_are_read(tmp_path):
    lines = [
        {**AFIB, "numbers": {"rate_bpm": 140, "age": 70}, "note": "left out"},
        "",
        {"prompt": "two\u2028lines", "does": "read", "attached": True},
        {"prompt": "Machen Sie ein EKG", "does": ["decline", "answer"], "findings": ["Sinus rhythm", "lvh"]},
    ]
    path = written(tmp_path, *(line and json.dumps(line, ensure_ascii=False) for line in lines))
    first, second, third = load_prompts(path)
    assert first == WISH and first.wanted == {"rate": 140, "age": 70, "sex": "male"}
    assert second == Prompt(prompt="two\u2028lines", does=("read",), attached=True) and second.kind == "all"
    assert third.findings == ("SR", "LVH"), "names in place of codes"
    assert third.does == ("decline", "answer") and third.wanted == {}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "the line: Invalid JSON"),
        ("[1, 2]", "the line: Input should be an object"),
        ({"does": "make"}, "prompt: Field required"),
        ({"prompt": "an ECG"}, "does: Field required"),
        ({"prompt": 5, "does": "make"}, "prompt: Input should be a valid string"),
        ({"prompt": " ", "does": "make"}, "prompt: it has no words"),
        *(({"prompt": "an ECG", "does": does}, "does: 'does' is one or more of make, ecg, ") for does in (
            "dance", [], ["make", "dance"], None, 3, [["make"]], {"make": 1}
        )),
        ({**AFIB, "findings": ["AFIB", "WARP"]}, "findings: no finding is called WARP"),
        ({**AFIB, "findings": "AFIB"}, "findings: Input should be a valid array"),
        ({**AFIB, "numbers": {"rate_bpm": "fast"}}, "numbers.rate_bpm: Input should be a valid number"),
        ({**AFIB, "numbers": {"rr_ms": 800}}, "numbers: no number is called rr_ms"),
        ({**AFIB, "sex": "F"}, "sex: Input should be 'female' or 'male'"),
        ({**AFIB, "attached": "perhaps"}, "attached: Input should be a valid boolean"),
    ],
    ids=str,
)  # fmt: skip
def test_a_bad_line_is_one_sentence_with_its_number(tmp_path, line, reason):
    path = written(tmp_path, AFIB, "", line, AFIB)
    with pytest.raises(BadRequest) as refused:
        load_prompts(path)
    text = str(refused.value)
    assert text.startswith(f"Line 3 of {path} is no prompt: {reason}") and text.endswith(".") and "\n" not in text


def test_a_file_without_prompts_is_one_sentence(tmp_path):
    for lines in ((), ("", "  ")):
        with pytest.raises(BadRequest, match=r"There is no prompt in .*prompts\.jsonl: give JSON lines"):
            load_prompts(written(tmp_path, *lines))
    for path in (tmp_path / "absent.jsonl", tmp_path):
        with pytest.raises(BadRequest, match="The prompts in .* cannot be read .*: give a file of JSON lines"):
            load_prompts(path)
    (tmp_path / "page.png").write_bytes(b"\x89PNG\r\n\xff\xfe")
    with pytest.raises(BadRequest, match="cannot be read"):
        load_prompts(tmp_path / "page.png")


def test_the_frozen_prompts_are_whole():
    prompts = load_prompts(DATA / "test_prompts.jsonl")
    kinds = Counter(one.kind for one in prompts)
    assert len(prompts) >= 240 and len(kinds) >= 12 and min(kinds.values()) >= 5
    assert {code for one in prompts for code in one.findings} <= set(CODES)
    assert len({one.prompt for one in prompts}) == len(prompts), "none stands twice"
    assert 100 < sum(set(one.does) <= {"make", "ecg", "generate"} for one in prompts) < len(prompts) - 100
    assert any(one.attached and "make" in one.does for one in prompts), "what is attached does not decide"


def plain(text: str) -> str:
    return re.sub(r"[^\w{}]+", " ", text.lower()).strip()


def test_no_frozen_prompt_is_a_phrasing_that_trains():
    frozen = {plain(one.prompt) for one in load_prompts(DATA / "test_prompts.jsonl")}
    wordings = [one for many in WORDINGS.values() if isinstance(many, list) for one in many]
    wordings += [one for many in WORDINGS["follow"].values() for one in many]
    trains = {plain(one if isinstance(one, str) else one[0]) for one in wordings}
    assert len(trains) > 1500 and not frozen & trains


# --- scores


class Condition:
    """A condition encoder whose vectors are the words themselves: of prompts it tells what it is given, of canonical
    words the truth."""

    def __init__(self, known):
        self.known = known

    def __call__(self, texts):
        return texts

    def requests(self, vectors):
        return [self.known.get(v, Request.parse(v)) for v in vectors]


class Decides:
    """A model of one rule: which prompts it answers with [ECG_1], and what it asks of its generator then."""

    ecg_ids = [900, 901]

    def __init__(self, rule, requests=None):
        self.rule, self.mapper, self.seen, self.shown = rule, requests is not None, [], []
        self.generator = SimpleNamespace(condition=Condition(requests or {}))
        self.encode_ecg = lambda *views: [x if x is None else torch.arange(len(x))[:, None, None] for x in views]

    def conditions(self, prompts, *views):
        self.shown += [(prompts, [None if view is None else view[:, 0, 0].tolist() for view in views])]
        return prompts

    def write(self, prompts, signal=None, image=None):
        self.seen += [(p, signal is not None, image is not None) for p in prompts]
        return [[900] if self.rule(p) else [5, 6] for p in prompts]


def perfect(prompt: str) -> bool:
    return prompt in MET or "900" in prompt


def test_a_model_that_knows_scores_one():
    model = Decides(perfect, MET | {"Draw one at 900 bpm": Request(rate=900)})
    scores = prompt_scores(model, PROMPTS).set_index("prompt")
    assert scores.right.all() and scores.wanted.to_dict() == {
        "afib 140, old man": True,
        "sinus brady": True,
        "Interpret this.": False,
        "What is flutter?": False,
        "Draw one at 900 bpm": None,
    }
    assert scores.asked.map({True: "yes", None: "-"}).to_list().count("yes") == 2
    assert not scores.generated["Draw one at 900 bpm"], "a wish that is refused makes no ECG"
    assert scores.understood["Draw one at 900 bpm"] == Request(rate=900)
    assert sorted(model.seen) == sorted((p.prompt, p.attached, p.attached) for p in PROMPTS), "each is asked once"
    found = prompt_metrics(model, PROMPTS)
    assert found["prompts.accuracy"] == found["prompts.asked"] == found["prompts.fragment"] == 1
    assert found["prompts.false_generate"] == found["prompts.false_interpret"] == 0 and found["prompts.count"] == 5
    assert found["prompts.asked_ceiling"] == 1 and found["prompts.added"] == 0.5, "a premature beat that nobody named"


def test_a_wish_that_is_met_is_mapped_beside_the_ecg_that_stands_before_it():
    words = ("Interpret this.", "afib 140, old man", "Read it.", "sinus brady")
    model = Decides(perfect, MET)
    prompt_scores(model, [Prompt(prompt=one, does=("make", "read"), attached=True) for one in words])
    assert model.shown == [([words[1], words[3]], [[1, 3], [1, 3]])]


def test_what_the_condition_encoder_cannot_tell_back_lowers_the_ceiling():
    model = Decides(perfect, MET)
    model.generator.condition.requests = lambda vectors: [replace(Request.parse(v), rate=60) for v in vectors]
    assert prompt_metrics(model, PROMPTS)["prompts.asked_ceiling"] == 0.5, "a rate is named by one of two"


def test_a_model_that_always_answers_alike_is_wrong_where_the_other_is_right():
    always, never = (prompt_metrics(Decides(lambda p, made=made: made, MET), PROMPTS) for made in (True, False))
    assert (always["prompts.false_generate"], always["prompts.false_interpret"]) == (1, 0)
    assert (never["prompts.false_generate"], never["prompts.false_interpret"]) == (0, 1)
    assert always["prompts.accuracy"] == never["prompts.accuracy"] == pytest.approx(3 / 5), (
        "either is right of the last"
    )
    assert always["prompts.fragment"] == never["prompts.read"] == 1 and always["prompts.read"] == 0
    assert always["prompts.asked"] == 1 and never["prompts.asked"] != never["prompts.asked"], "nothing was asked for"


def test_without_a_mapper_only_decisions_are_scored():
    scores = prompt_scores(Decides(perfect), PROMPTS)
    assert scores.generated.sum() == 3 and scores.right.all() and scores.asked.isna().all()
    silent = Decides(perfect)
    silent.ecg_ids = []
    with pytest.raises(BadRequest, match="run notebook 07"):
        prompt_scores(silent, PROMPTS)


@pytest.mark.parametrize(
    ("request_", "asked"),
    [
        (Request(70, "male", 140, ("AFIB",)), True),
        (Request(72, "male", 138, ("AFIB", "LVH")), True),
        (Request(70, "male", 143, ("AFIB",)), False),
        (Request(70, "male", None, ("AFIB",)), False),
        (Request(None, "male", 140, ("AFIB",)), False),
        (Request(70, "female", 140, ("AFIB",)), False),
        (Request(70, None, 140, ("AFIB",)), False),
        (Request(70, "male", 140, ("AFLT",)), False),
    ],
    ids=str,
)
def test_all_that_is_named_must_be_asked_of_the_generator(request_, asked):
    assert is_asked(WISH, request_) == asked
    [row] = prompt_scores(Decides(lambda p: True, {WISH.prompt: request_}), [WISH]).itertuples()
    assert row.asked == asked and row.right and row.understood == request_


def test_kinds_are_summed_with_the_interval_of_wilson():
    many = [Prompt(prompt=f"ECG {i}", kind="command", does="make") for i in range(10)]
    made = prompt_scores(Decides(lambda p: p not in ("ECG 3", "ECG 7"), {}), [*many, *PROMPTS[2:4]])
    summed = by_kind(made)
    assert list(summed.index) == ["command", "general", "read", "all"]
    row = summed.loc["command"]
    assert (row.n, row.right, row.share, row.requests, row.asked) == (10, 8, 0.8, 8, 8)
    assert (row.low, row.high) == pytest.approx(
        (0.4902, 0.9433), abs=1e-4
    )  # by hand: (0.8 + z²/20 ± ...) / (1 + z²/10)
    assert tuple(summed.loc["read", ["right", "low"]]) == pytest.approx((0, 0)) and summed.loc["all", "n"] == 12
    assert summed.loc["all", "right"] == 8 and summed.loc["read", "high"] == pytest.approx(0.7935, abs=1e-4)


def test_prompts_without_a_kind_count_once():
    scores = prompt_scores(Decides(lambda p: True, {}), [Prompt(prompt=p, does="make") for p in ("a", "b", "c")])
    summed = by_kind(scores)
    assert list(summed.index) == ["all"] and tuple(summed.loc["all", ["n", "right"]]) == (3, 3)
