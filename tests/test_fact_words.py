"""Fact words of DiagECG-lite: places, what they say, training, rows, talks about one ECG."""

import math
import random

import tiny
import torch
from test_diagecg import SIGNAL, codec, model
from tiny import PLAN, PROFILE, Patients, corpus, patients, train_facts

from uniecg_lite.diagecg.diagecg_model import code_names
from uniecg_lite.diagecg.diagecg_stages import tune
from uniecg_lite.diagecg.fsq_tokenizer import (
    NOISES,
    PLACES,
    STARTS,
    WORDS,
    FactWords,
    fact_rows,
    meanings,
    noisy,
    words_of,
)
from uniecg_lite.encoders import GRIDS, targets
from uniecg_lite.findings import DRIFT_FROM_MV, LEAD_SIGNS, STATIC_FROM_MV, readings
from uniecg_lite.language.conversations import NOTED, TITLES, items
from uniecg_lite.language.questions import NONE, QUESTION_TYPES
from uniecg_lite.leads import LEADS
from uniecg_lite.metrics.reports import reading_scores
from uniecg_lite.simulator.simulate import simulate
from uniecg_lite.stages import TURNS, Collator

readings_of = tiny.defined_in("11_ecg_as_words").readings_of
LEAST = {"drift": DRIFT_FROM_MV, "static": STATIC_FROM_MV}


def facts() -> FactWords:
    torch.manual_seed(0)
    return FactWords(PROFILE.diag_facts_width, PROFILE.diag_facts_layers).eval()


def truth_as_logits() -> dict[str, torch.Tensor]:
    """The truth as an encoder would tell it that errs never."""
    truth = patients().truth
    predicted = {k: (v - 0.5) * 1e4 if k not in GRIDS else v.clamp(min=1e-9).log() for k, v in targets(truth).items()}
    return predicted | {name: truth[f"{name}_mv"] - least for name, least in LEAST.items()}


def test_every_place_has_words_of_its_own():
    generated = facts().encode(SIGNAL)
    assert generated.shape == (6, len(PLACES)) and generated.dtype == torch.int64
    assert (generated >= STARTS[:-1]).all() and (generated < STARTS[1:]).all() and STARTS[-1] == WORDS
    assert {place.fact for place in PLACES} == {*targets(patients().truth), *NOISES}


def test_words_say_the_truth_when_the_encoder_does():
    stated, true = readings_of(words_of(truth_as_logits())), readings(patients().truth)
    for name in ("findings", *LEAD_SIGNS, *NOISES):
        assert [getattr(r, name) for r in stated] == [getattr(r, name) for r in true], name
    for name, (first, last, step) in GRIDS.items():
        wanted, predicted = (torch.tensor([getattr(r, name) for r in each]) for each in (true, stated))
        assert torch.equal(predicted.isnan(), wanted.isnan()), name
        far = (predicted - wanted.clamp(first, last)).abs()
        far = torch.minimum(far, 360 - far) if name == "axis_deg" else far
        assert far.nan_to_num().max() <= 1.01 * step, name  # half a step, at the ends of a grid a whole one


def test_fact_words_are_read_and_wave_words_where_there_are_none():
    ours = codec()
    stated = ours.read_tokens(SIGNAL)
    assert torch.equal(stated - ours.codes, ours.facts.encode(SIGNAL))
    assert ours.codes <= stated.min() <= stated.max() < ours.words
    alone = codec(facts=None)
    assert torch.equal(alone.read_tokens(SIGNAL), alone.encode(SIGNAL)) and alone.words == alone.codes
    names = code_names(ours.codes, ours.words - ours.codes)
    assert len(set(names)) == 2 + ours.words == len(names)


def test_training_repeats_itself_and_teaches(tmp_path):
    one, other = facts(), facts()
    wanted = targets(patients().truth)
    before = one.loss(patients().signal, wanted).item()
    runs = [train_facts(each, Patients(), PLAN, 0, tmp_path / name) for each, name in ((one, "a"), (other, "b"))]
    assert runs[0]["loss"] == runs[1]["loss"] and one.loss(patients().signal, wanted) < before
    assert not any(p.requires_grad for p in one.parameters())


def test_noise_is_seen_in_its_own_lead():
    generator = torch.Generator().manual_seed(0)
    quiet = simulate(5, torch.arange(6), noise=False).signal
    assert not noisy(quiet).any()
    quiet[:, 3] += 0.1 * torch.randn(6, 1000, generator=generator)
    quiet[:, 5] += 0.5 * torch.sin(torch.arange(1000) / 100 * 6.28 * 0.2)
    found = noisy(quiet)
    assert torch.equal(found[:, 1], (torch.arange(12) == 3).expand(6, -1)), "static"
    assert torch.equal(found[:, 0], (torch.arange(12) == 5).expand(6, -1)), "drift"


def test_noisy_leads_of_simulated_records_are_mostly_found():
    generated = simulate(7, torch.arange(256))
    found, truth = noisy(generated.signal), readings(generated.truth)  # (B, 2, 12)
    for i, (noise, least) in enumerate({"drift": 0.8, "static": 0.72}.items()):
        there = torch.tensor([[lead in getattr(reading, noise) for lead in LEADS] for reading in truth])  # (B, 12)
        assert 2 * (found[:, i] & there).sum() / (found[:, i].sum() + there.sum()) > least, "F1"


def test_rows_of_alike_words_start_alike():
    known = {text: torch.randn(96, generator=torch.Generator().manual_seed(i)) for i, text in enumerate(every_text())}
    rows = fact_rows(known.__getitem__)
    assert rows.shape == (WORDS, 96)
    torch.testing.assert_close(rows.std(1), torch.ones(WORDS))
    stated = meanings()
    word = stated.index(("ST elevation", "V1", "V3"))
    assert stated[word - 1] == ("ST elevation", "V3") and stated[word - 4] == ("ST elevation", "V1")
    whole = known["ST elevation"] + known["V1"] + known["V3"]
    torch.testing.assert_close(rows[word], whole / whole.std(), msg="a word is the sum of what it says")


def every_text() -> list[str]:
    return sorted({part for stated in meanings() for part in stated})


def test_each_word_says_what_its_reading_says():
    words = torch.stack([torch.randint(len(place.contents), (50,)) for place in PLACES], 1) + STARTS[:-1]
    stated = meanings()
    for row, reading in zip(words.tolist(), readings_of(words)):
        with_notes = {name: items(name, reading) for name in NOTED}
        for word, place in zip(row, PLACES):
            title, *what = stated[word]
            assert title == TITLES[place.fact]
            if place.kind == "number":
                value = getattr(reading, place.fact)
                assert what == ([NONE] if math.isnan(value) else [f"{value:.0f}"])
            else:
                assert set(what) - {NONE} <= set(with_notes[place.fact])
        for name in set(NOTED) - set(GRIDS):
            predicted = [part for word, place in zip(row, PLACES) if place.fact == name for part in stated[word][1:]]
            assert [part for part in predicted if part != NONE] == list(with_notes[name])


def test_perfect_words_score_perfectly():
    found = reading_scores(readings_of(words_of(truth_as_logits())), readings(patients().truth))
    assert found["findings_macro_f1"] == 1 and found["hr_mae_bpm"] < 1 and found["axis_mae_deg"] < 5


# --- talks


def test_more_questions_are_about_the_same_ecgs():
    for start in ("single", "comparison"):
        rng = random.Random(0)
        first = corpus().asked(rng, kind=[k for k in QUESTION_TYPES if k.startswith(start)])
        more = corpus().more(first, 5, random.Random(1))
        assert all(q.ecg_id == first.ecg_id for q in more) and len(more) <= 5
        assert more == corpus().more(first, 5, random.Random(1))


def test_a_talk_has_prompts_and_answers_in_turn():
    ours = model()
    shown = ours.codec.read_tokens(patients().signal)
    collator = Collator(ours, corpus())
    rows, dialogues = collator.questions(3, random.Random(0), "single")
    assert rows.shape == (3, 1) and all(1 <= len(dialogue) <= TURNS["single"] for dialogue in dialogues)
    prompts, answers = zip(*[dialogue[0] for dialogue in dialogues])
    first = tiny.answer_loss(ours, list(prompts), list(answers), ours.block(shown[rows]))
    torch.testing.assert_close(
        ours.loss(ours.batch([dialogue[:1] for dialogue in dialogues]), ours.block(shown[rows])), first
    )
    dialogue = dialogues[0]
    counts = torch.tensor([float(len(answer)) for _, answer in dialogue])
    losses = [
        ours.loss(ours.batch([dialogue[: i + 1]]), ours.block(shown[rows[:1]])) * counts[: i + 1].sum()
        for i in range(len(dialogue))
    ]
    alone = tiny.answer_loss(ours, [dialogue[0][0]], [dialogue[0][1]], ours.block(shown[rows[:1]])) * counts[0]
    torch.testing.assert_close(losses[0], alone)
    assert all(b > a for a, b in zip(losses, losses[1:])), "each answer adds its own loss"


def test_tuning_changes_neither_tokenizer_nor_language_model(tmp_path):
    ours = model()
    ours.adapt(PROFILE.diag_rank)
    hashes = ours.fingerprint()
    assert any("codec.facts" in name for name in hashes)
    shown = ours.codec.read_tokens(patients().signal).short()
    before = {name: p.clone() for name, p in ours.adapters().items()}
    tune(ours, corpus(), shown, PLAN, 0, tmp_path)
    assert ours.fingerprint() == hashes
    assert any(not torch.equal(p, before[name]) for name, p in ours.adapters().items())


def test_what_words_are_cut_from_can_stand_in_for_them():
    ours = model()
    numbers = ours.codec.uncut(SIGNAL).detach()
    assert numbers.shape[:2] == (6, len({place.fact for place in PLACES}))
    assert torch.equal(numbers[:, -2:, :12].bool(), noisy(SIGNAL)), "noise comes last"
    ours.bridge = torch.nn.Linear(numbers.shape[2], ours.llm.get_input_embeddings().weight.shape[1])
    assert tiny.answer_loss(ours, ["Read this."], [[9, 2]], ours.block(numbers[:1, None])).isfinite()
    assert torch.equal(codec(facts=None).uncut(SIGNAL), codec(facts=None).numbers(SIGNAL))
