"""Conflict and evidence: known texts and known gradients give the shares and ratios that they must."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import tiny
import torch

from uniecg_lite.errors import BadRequest
from uniecg_lite.findings import CODES, NAMES, Reading, report
from uniecg_lite.metrics import saliency as room
from uniecg_lite.metrics.conflict import SIDES, conflict_metrics, conflict_scores
from uniecg_lite.metrics.saliency import (
    CARRIERS,
    GROUP,
    WAVES,
    evidence_ratio,
    finding_windows,
    name_span,
    named_findings,
    ratios,
    saliency,
    wave_windows,
)
from uniecg_lite.simulator.simulate import simulate

SLOW = Reading(48, 160, 90, 420, 400, 40, findings=frozenset({"SBRAD"}))
FAST = Reading(130, 130, 90, 300, 440, -50, findings=frozenset({"STACH", "LAD"}))
THIRD = Reading(90, 160, 90, 360, 420, 100, findings=frozenset({"AFIB", "CLBBB"}))


# --- conflict


def test_the_text_follows_whom_it_describes():
    truth = [SLOW, FAST, SLOW, FAST]
    other = [FAST, SLOW, FAST, SLOW]
    mixed = [report(SLOW), report(SLOW), report(THIRD), "no report at all"]
    found = conflict_scores(mixed, truth, other, [report(r) for r in truth])
    for what in ("rate", "axis", "findings"):
        assert [found[f"conflict.{what}.{side}"] for side in SIDES] == [0.25, 0.25, 0.5]
        assert found[f"conflict.{what}.pairs"] == 4 and found[f"conflict.{what}.consistent"] == 1
    assert found["conflict.neither"] == 0.5 and found["conflict.consistent"] == 1


def test_pairs_that_differ_too_little_do_not_count():
    near = replace(SLOW, rate_bpm=55.0, findings=FAST.findings)  # 7 bpm apart: one text may meet both
    found = conflict_scores([report(SLOW)] * 2, [SLOW, SLOW], [near, FAST], [report(SLOW)] * 2)
    assert found["conflict.rate.pairs"] == 1 and found["conflict.findings.pairs"] == 2
    assert found["conflict.axis.pairs"] == 1 and found["conflict.rate.signal"] == 1


def test_axes_are_compared_around_the_circle():
    left, right = replace(SLOW, axis_deg=175.0), replace(SLOW, axis_deg=-175.0)
    found = conflict_scores([report(right)] * 2, [left, SLOW], [SLOW, right], [report(left)] * 2)
    assert found["conflict.axis.signal"] == 0.5 and found["conflict.axis.image"] == 0.5
    wild = conflict_scores(["Axis 699 degrees."], [replace(SLOW, axis_deg=0.0)], [FAST], [report(SLOW)])
    assert wild["conflict.axis.neither"] == 1, "699 degrees are 21 off, and nobody's axis"


class _Believer:
    """Describes the patient of one view, whose tokens are the patient's number."""

    def __init__(self, view: int, patients: list[Reading]):
        self.view, self.patients = view, patients

    def write(self, prompts, *views):
        return views[self.view][:, 0, 0].long().tolist()

    def texts(self, answers):
        return [report(self.patients[i]) for i in answers]


@pytest.mark.parametrize("view", [0, 1])
def test_a_model_that_believes_one_view_is_found_out(view):
    patients = [SLOW, FAST, THIRD, SLOW, FAST, THIRD, FAST]
    tokens = torch.arange(len(patients)).float()[:, None, None]
    found = conflict_metrics(_Believer(view, patients), tokens, tokens, patients)
    assert found[f"conflict.{SIDES[view]}"] == 1 and found[f"conflict.{SIDES[1 - view]}"] == 0
    assert found["conflict.consistent"] == 1


# --- windows


def beats(**other) -> dict[str, torch.Tensor]:
    """Truth of one record: an own beat just before 1 s, a premature ventricular one before 2 s, one outside."""
    truth = {
        "onset_s": torch.tensor([[0.995, 1.995, torch.nan]]),
        "beat_kind": torch.tensor([[0, 1, 0]]),
        "p_onset_s": torch.tensor([[0.795, torch.nan]]),
        "qrs_ms": torch.tensor([90.0]),
        "qt_ms": torch.tensor([400.0]),
    }
    return truth | other


def spans(mask: torch.Tensor) -> list[tuple[int, int]]:
    """Runs of True in (L,) as (first, last + 1)."""
    edges = torch.nn.functional.pad(mask.int(), (1, 1)).diff().nonzero()[:, 0].tolist()
    return list(zip(edges[::2], edges[1::2]))


def test_waves_lie_where_the_truth_says():
    p, qrs, st, t = wave_windows(beats(), 1000, 100.0)[0]
    assert spans(p) == [(80, 92)]
    assert spans(qrs) == [(100, 109), (200, 216)], "a premature ventricular QRS is wide"
    assert spans(st) == [(109, 117), (216, 224)]
    assert spans(t) == [(117, 140), (224, 240)]


def test_a_finding_of_some_beats_lies_on_those_beats():
    assert spans(finding_windows(beats(), "PVC", 1000, 100.0)[0]) == [(200, 216)]
    early = beats(beat_kind=torch.tensor([[0, 2, 0]]), p_onset_s=torch.tensor([[0.795, 1.845]]))
    assert spans(finding_windows(early, "PAC", 1000, 100.0)[0]) == [(185, 197), (200, 209)]
    assert not finding_windows(early, "PVC", 1000, 100.0).any()


def test_without_p_waves_their_place_is_before_the_qrs():
    none = beats(p_onset_s=torch.full((1, 2), torch.nan))
    assert spans(wave_windows(none, 1000, 100.0)[0, 0]) == [(80, 100), (180, 200)]


def test_every_finding_but_the_normal_ecg_has_waves_that_carry_it():
    assert set(GROUP) == set(CARRIERS) == set(CODES) - {"NORM"}
    assert all(set(waves) <= set(WAVES) for waves in CARRIERS.values())
    assert len({(GROUP[code], *waves) for code, waves in CARRIERS.items()}) == len(set(GROUP.values())), "alike in each"


# --- ratios


def test_looking_everywhere_is_one_and_looking_at_the_waves_alone_is_one_over_their_share():
    windows = torch.zeros(2, 1000, dtype=torch.bool)
    windows[:, :250] = True
    mass = torch.stack([torch.ones(1000), windows[0].float()])
    assert ratios(mass, windows).tolist() == pytest.approx([1.0, 4.0])
    assert ratios(mass, ~windows).tolist() == pytest.approx([1.0, 0.0])
    assert ratios(mass, torch.zeros_like(windows)).isnan().all()
    assert ratios(torch.zeros(2, 1000), windows).tolist() == [0, 0], "no saliency is no evidence"


# --- names in reports


def test_the_name_is_found_as_words():
    words = tiny.tokenizer()
    text = f"Rhythm {NAMES['SVTAC']}. Conclusion: {NAMES['SVTAC']}, {NAMES['LVH']}."
    assert name_span(words, text, NAMES["VT"]) is None, "ventricular is not supraventricular"
    ids, first, last = name_span(words, text, NAMES["LVH"])
    assert len(ids) == last and words.decode(ids[first:]).strip() == NAMES["LVH"]
    assert ids == words(" " + text, add_special_tokens=False)["input_ids"][:last]


# --- saliency


class _Patches(torch.nn.Module):
    """An encoder without medians or means over beats: (B, 12, 1000) -> (B, 10, D)."""

    tokens, whole = 10, 10

    def __init__(self, width: int):
        super().__init__()
        self.cut = torch.nn.Conv1d(12, width, 100, 100)

    def forward(self, signal: torch.Tensor) -> torch.Tensor:
        return self.cut(signal).tanh().transpose(1, 2)


def test_saliency_is_the_slope_of_the_words_chance():
    model = tiny.reading_model()
    torch.manual_seed(0)
    model.phi_s = _Patches(tiny.PROFILE.enc_width).requires_grad_(False)
    model = model.double()
    signal = tiny.patients().signal[:2].double()
    texts = [f"Rate 70 bpm. Conclusion: {NAMES['LVH']}.", f"Rate 70 bpm. Conclusion: {NAMES['SR']}, {NAMES['LVH']}."]
    found = saliency(model, signal, texts, [NAMES["LVH"]] * 2)
    assert found.shape == signal.shape and (found >= 0).all()

    def surprise(x, row):
        ids, first, last = name_span(model.tokenizer, texts[row], NAMES["LVH"])
        head = model.prompt_ids(room.PROMPT)
        with torch.no_grad():
            logits = model.llm(
                inputs_embeds=model.splice(torch.tensor([head + ids]), model.project(model.phi_s(x[None]), None))
            ).logits[0]
        chances = logits[model.phi_s.tokens :].log_softmax(-1)
        places = range(len(head) + first, len(head) + last)
        return -sum(chances[place - 1, ids[place - len(head)]].item() for place in places)

    step = 1e-3
    for row in range(2):
        for place in found[row].flatten().topk(3).indices.tolist() + [5003]:
            bump = torch.zeros(12 * 1000, dtype=torch.float64)
            bump[place] = step
            up, down = (signal[row] + side * bump.view(12, -1) for side in (1, -1))
            slope = (surprise(up, row) - surprise(down, row)) / (2 * step)
            assert abs(slope) == pytest.approx(found[row].flatten()[place].item(), rel=1e-2, abs=5e-4)
    assert all(p.grad is None and not p.requires_grad for p in model.parameters()), "the model stays as it is"


def test_words_that_are_not_there_are_refused():
    with pytest.raises(BadRequest, match="does not say 'left axis deviation'"):
        saliency(tiny.reading_model(), tiny.patients().signal[:1], [report(SLOW)], [NAMES["LAD"]])


class _Told:
    """A model that says what is true, to see where its gradients go."""

    def __init__(self, model, simulated):
        from uniecg_lite.findings import readings

        self.model, self.tokenizer = model, model.tokenizer
        self.reports = [report(r) for r in readings(simulated.truth)]
        self.place = {x.numpy().tobytes(): i for i, x in enumerate(simulated.signal)}

    def __getattr__(self, name):
        return getattr(self.model, name)

    def encode_ecg(self, signal, image):
        return torch.tensor([[[self.place[x.numpy().tobytes()]]] for x in signal]), None

    def write(self, prompts, tokens, image):
        return tokens[:, 0, 0].tolist()

    def texts(self, answers):
        return [self.reports[i] for i in answers]


def test_evidence_of_a_model_that_looks_at_one_wave_only(monkeypatch):
    generated = simulate(3, torch.arange(40))
    model = _Told(tiny.reading_model(), generated)
    place = {x.numpy().tobytes(): i for i, x in enumerate(generated.signal)}

    def at_waves(model, signal, texts, names):
        rows = torch.tensor([place[x.numpy().tobytes()] for x in signal])
        truth = {key: value[rows] for key, value in generated.truth.items()}
        wave = slice(3, 4) if model is None else slice(1, 2)  # the control looks at T
        return wave_windows(truth, 1000, 100.0)[:, wave].float().expand(-1, 12, -1)

    monkeypatch.setattr(room, "saliency", at_waves)
    found = evidence_ratio(model, generated, None, each=2)
    assert found["evidence.findings"] > 10
    for group, waves in ((GROUP[code], waves) for code, waves in CARRIERS.items()):
        if f"evidence.ratio.{group}" in found:
            assert (found[f"evidence.ratio.{group}"] > 1.5) == ("QRS" in waves), group
            assert (found[f"evidence.control.{group}"] > 1.2) == ("T" in waves), group
            assert found[f"evidence.map.{group}.QRS"] > 4 and found[f"evidence.map.{group}.T"] < 0.5
    assert found["evidence.control"] < 0.7 * found["evidence.map.rhythm.QRS"], "looking elsewhere misses the QRS"


def test_evidence_of_a_random_model_is_the_same_twice():
    generated = simulate(3, torch.arange(12))
    model = _Told(tiny.reading_model(), generated)
    found = named_findings(model, generated, each=1)
    assert all(NAMES[code] in text and generated.truth["findings"][row, CODES.index(code)] for code, row, text in found)
    again = evidence_ratio(model, generated, tiny.reading_model(1), each=1)
    assert again["evidence.findings"] == len(found) > 3
    assert again == evidence_ratio(model, generated, tiny.reading_model(1), each=1)
    assert again["evidence.ratio"] != again["evidence.control"]
    healthy = SimpleNamespace(**{**vars(generated), "truth": nobody(generated.truth)})
    assert evidence_ratio(model, healthy, model) == {"evidence.findings": 0}


def nobody(truth):
    """The same truth, but nobody has anything."""
    return {**truth, "findings": torch.zeros_like(truth["findings"])}
