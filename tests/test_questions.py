"""questions: what is asked has one true answer, answers are even, and a question is scored by its set of answers."""

import math
import random
import re
from collections import Counter, defaultdict
from dataclasses import replace

import pytest
import tiny
import torch

from uniecg_lite import stages
from uniecg_lite.ecg_image import raster
from uniecg_lite.errors import BadRequest
from uniecg_lite.findings import CODES, NAMES, Reading, report, table
from uniecg_lite.language.conversations import NOTED, TEXT_MIX, TITLES, Corpus, items, notes
from uniecg_lite.language.question_facts import TOPICS, undecided
from uniecg_lite.language.questions import (
    ATTRIBUTE_TYPES,
    QUESTION_TYPES,
    TEMPLATES,
    Question,
    ask,
    full_answer,
    listed,
    parse_answer,
)
from uniecg_lite.language.report_parser import parse_report
from uniecg_lite.language.requests import NO_ECG, phrasings
from uniecg_lite.llm import ECGLanguageModel
from uniecg_lite.metrics import qa as scored
from uniecg_lite.stages import TURNS, CachedTokens, Collator
from uniecg_lite.studies.systems import train_reading

HEALTHY = Reading(72.2, 161, 92, 381, 417, 41, findings=frozenset({"SR", "NORM"}), sex="male")
INFERIOR = Reading(
    52.3, 221, 94, 440, 411, 71, ("III",), ("II", "III", "aVF"), ("I", "aVL"), ("aVL",), ("V2",), ("I", "V1"), ("V1",),
    frozenset({"SBRAD", "1AVB", "STE_INF", "PVC"}), 63.0, "female",
)  # fmt: skip
SCAR = Reading(88, 148, 96, 370, 447, -62, ("V2", "V3"), findings=frozenset({"SR", "Q_ANT", "LAD", "PAC"}), sex="male")
BLOCKED = Reading(
    118, float("nan"), 152, 380, 533, 12, st_up=("V1", "V2"), st_down=("I", "V6"),
    findings=frozenset({"AFIB", "CLBBB"}), sex="female",
)  # fmt: skip
EVERY = (HEALTHY, INFERIOR, SCAR, BLOCKED)


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    """300 ECGs; each two are taken as of one patient."""
    return Corpus(tiny.patients().truth, [f"p{i // 2}" for i in range(300)])


@pytest.fixture(scope="module")
def drawn(corpus) -> list[Question]:
    rng = random.Random(0)
    return [corpus.asked(rng) for _ in range(3000)]


def all_of(kind, reading: Reading, other: Reading | None = None, same: bool = True, n: int = 400) -> dict:
    """Every question of a kind about an ECG, or about two, that comes up in n draws: text -> answer."""
    rng = random.Random(1)
    if other is None:
        generated = [ask((reading,), rng, kind=kind) for _ in range(n)]
    else:
        generated = [ask((reading, other), rng, kind=kind, same_patient=same) for _ in range(n)]
    out = {}
    for q in generated:
        assert out.setdefault(q.question, q.answer) == q.answer, "one question has one answer"
    return out


def about(stated: dict, *parts: str) -> set[tuple[str, ...]]:
    """The answers to those questions that hold these words."""
    patterns = [re.compile(rf"\b{re.escape(part)}(?!\w)", re.IGNORECASE) for part in parts]
    return {answer for text, answer in stated.items() if all(p.search(text) for p in patterns)}


# --- the templates


def test_the_table_is_whole():
    assert [t.template_id for t in TEMPLATES] == list(range(1, len(TEMPLATES) + 1))
    assert {t.question_type for t in TEMPLATES} == set(QUESTION_TYPES)
    assert {t.attribute_type for t in TEMPLATES} == set(ATTRIBUTE_TYPES)
    for t in TEMPLATES:
        assert len(t.seen) >= 3 and len(t.unseen) >= 2 and not set(t.seen) & set(t.unseen)
        braces = {frozenset(re.findall(r"{(\w+)}", text)) for text in t.seen + t.unseen}
        known = {"verify": set(TOPICS[t.topic][0]), "choose": {TOPICS[t.topic][0][0], "a", "b"}}
        known["query"] = {TOPICS[t.topic][0][0], "all"}
        assert len(braces) == 1 and next(iter(braces)) <= known[t.form], t.template_id
        assert bool(t.relation or t.topic == "rate_change") == t.question_type.startswith("comparison")


def test_phrasings_are_kept_apart_and_use_known_words():
    def words(texts):
        return set(re.findall(r"[a-z]+", " ".join(re.sub(r"{\w+}", "", t).lower() for t in texts)))

    every = [text for t in TEMPLATES for text in t.seen]
    assert words([text for t in TEMPLATES for text in t.unseen]) <= words(every)
    assert not {text for t in TEMPLATES for text in t.unseen} & set(every)
    assert len(every) == len(set(every)), "a phrasing belongs to one template"
    asked = {text.lower() for t in TEMPLATES for text in t.seen + t.unseen}
    for split in ("seen", "unseen"):
        assert not asked & {text.lower() for text in phrasings("interpret", split)}, "a wish for a report is none"


def test_published_paraphrases_are_named_and_none_is_of_the_published_test_split():
    published = table("questions")["published"]
    assert "CC BY 4.0" in published["licence"] and "ECG-QA" in published["source"] and published["changes"]
    taken = [text for t in TEMPLATES if t.template_id in published["templates"] for text in t.seen[-7:]]
    assert len(taken) == len(set(taken)) == 21 and all(re.search(r"this ECG|the ECG|first ECG", text) for text in taken)
    tests = (  # what that split has of the same templates in place of these
        "What are the numeric measurements in the second ECG that are newly considered abnormal",
        "Which numeric features in the second ECG are now considered abnormal in relation to",
        "Which numerical values of the second ECG are considered irregular values as opposed to",
    )
    assert not [text for t in TEMPLATES for text in (*t.seen, *t.unseen) if text.startswith(tests)]


def test_every_template_is_reachable_and_named_alike(drawn):
    assert {q.template_id for q in drawn} == {t.template_id for t in TEMPLATES}
    assert min(Counter(q.template_id for q in drawn).values()) > 0.5 * len(drawn) / len(TEMPLATES)
    for q in drawn:
        t = TEMPLATES[q.template_id - 1]
        assert (q.question_type, q.attribute_type) == (t.question_type, t.attribute_type)
        assert len(q.ecg_id) == (1 if q.attribute else 2) and "{" not in q.question and q.question[0] != " "
        assert set(q.answer) <= {"yes", "no"} if t.form == "verify" else "yes" not in q.answer


def test_paraphrases_share_their_question_id():
    rng, ids, texts = random.Random(2), defaultdict(set), defaultdict(set)
    for _ in range(800):
        q = ask((INFERIOR,), rng, rng.choice(("seen", "unseen")), kind=9)
        ids[q.attribute].add(q.question_id)
        texts[q.attribute].add(q.question)
    assert all(len(found) == 1 for found in ids.values()) and len(set.union(*ids.values())) == len(ids) > 3
    assert min(map(len, texts.values())) > 3


# --- what is said


def test_what_is_seen_is_said_before_what_follows():
    rng = random.Random(3)

    def shown_of(kind):
        return {full_answer(ask((INFERIOR,), rng, kind=kind)) for _ in range(200)}

    shown = {full_answer(ask((INFERIOR,), rng, kind=kind)) for kind in (7, 9, 10, 12, 16) for _ in range(60)}
    raised = {s.partition("?")[0]: s.endswith("yes") for s in shown if "? ST elevation: II, III, aVF. Answer" in s}
    assert {True, False} == set(raised.values()) and all(
        yes == (lead in ("II", "III", "aVF")) for lead, yes in raised.items()
    )
    assert "ST elevation: II, III, aVF" in shown, "a list is its own evidence"
    assert "PR interval: 220 ms, above. Answer: above" in shown and "axis: 70, normal. Answer: normal" in shown
    assert any(s.startswith("tall T waves: V2; ") and s.endswith("Answer: tall T waves") for s in shown_of(8))
    assert shown_of(21) == {"baseline drift: I, V1; static noise: V1. Answer: I, V1"}
    findings = "sinus bradycardia, first degree AV block, ventricular premature beats, inferior ST elevation"
    assert shown_of(2) == {f"normal? findings: {findings}. Answer: no"}
    two = {full_answer(ask((INFERIOR, SCAR), rng, kind=32)) for _ in range(5)}
    assert two == {"heart rate: 52 bpm to 88 bpm, faster. Answer: faster"}
    stated = {full_answer(ask((INFERIOR, SCAR), rng, kind=kind)) for kind in (28, 29) for _ in range(9)}
    assert len(stated) == 2 and any(s.startswith("gone findings: sinus bradycardia, ") for s in stated)
    stated = {full_answer(ask((INFERIOR, SCAR), rng, kind=33, same_patient=False)) for _ in range(200)}
    assert len(stated) > 1 and all("? shared " in s and s.endswith(("yes", "no")) for s in stated)
    assert any(s.startswith("sinus bradycardia? shared rhythm: ") for s in stated), "among its own group"
    stated = {full_answer(ask((INFERIOR, SCAR), rng, kind=30)) for _ in range(20)}
    assert all(" 52 below to 88 within" in s and "PR interval 220 above to" in s for s in stated)
    newly = {full_answer(ask((SCAR, INFERIOR), rng, kind=30)) for _ in range(20)}
    assert all("heart rate 88 within to 52 below new" in s for s in newly), "what is asked for is marked"
    assert full_answer(replace(ask((HEALTHY,), rng), evidence="", answer=("yes",))) == "yes", (
        "published questions have none"
    )


def test_evidence_leaves_the_answer_as_it_is(drawn):
    assert all(q.evidence and parse_answer(full_answer(q)) == scored.gold(q) for q in drawn)
    listed = [q for q in drawn if TEMPLATES[q.template_id - 1].topic in ("sign", "noise", "finding") and q.answer]
    listed = [q for q in listed if q.question_type == "single-query"]
    assert len(listed) > 100 and all(full_answer(q) == q.evidence for q in listed)


# --- what is true


def test_findings_are_verified_chosen_and_listed():
    stated = all_of(1, INFERIOR)
    assert about(stated, "inferior ST elevation") == about(stated, "sinus bradycardia") == {("yes",)}
    assert about(stated, "atrial fibrillation") == about(stated, "long QT") == {("no",)}
    chosen = all_of(3, INFERIOR)
    assert about(chosen, "inferior ST elevation", "anterior Q waves") == {("inferior ST elevation",)}
    assert about(chosen, "atrial premature beats", "ventricular bigeminy") == {()}
    listed = all_of(4, INFERIOR)
    assert about(listed, "conduction") == {("first degree AV block",)}
    assert about(listed, "ectopy") == {("ventricular premature beats",)}
    assert about(all_of(4, SCAR), "axis") == {("left axis deviation",)}
    assert set(all_of(2, HEALTHY).values()) == {("yes",)} and set(all_of(2, SCAR).values()) == {("no",)}


def test_the_rhythm_is_named_and_chosen():
    assert set(all_of("rhythm", BLOCKED).values()) == {("atrial fibrillation",), ()}
    assert set(all_of(6, BLOCKED).values()) == {("atrial fibrillation",)}
    chosen = all_of(5, BLOCKED)
    assert about(chosen, "atrial fibrillation") == {("atrial fibrillation",)}
    assert {a for text, a in chosen.items() if "atrial fibrillation" not in text.lower()} == {()}


def test_signs_in_leads():
    listed = all_of(9, INFERIOR)
    assert about(listed, "ST elevation") == {("II", "III", "aVF")} and about(listed, "ST depression") == {("I", "aVL")}
    assert about(listed, "tall T waves") == {("V2",)} and about(listed, "Q waves") == {("III",)}
    assert set(all_of(9, HEALTHY).values()) == {()}
    verified = all_of(7, INFERIOR, n=1500)
    assert about(verified, "ST elevation", "lead aVF") == {("yes",)}
    assert about(verified, "ST elevation", "lead V6") == about(verified, "Q waves", "lead II") == {("no",)}
    chosen = all_of(8, INFERIOR, n=1500)
    assert about(chosen, "ST elevation", "T wave inversion", "lead II") == {("ST elevation",)}
    assert about(chosen, "ST depression", "T wave inversion", "lead aVL") == {("ST depression", "T wave inversion")}
    for stated in (verified, chosen):  # where an inverted T or a Q wave means nothing it is not asked about
        assert not about(stated, "T wave inversion", "lead aVR") | about(stated, "Q waves", "lead aVR")


@pytest.mark.parametrize(
    "reading,feature,side",
    [
        (HEALTHY, "heart rate", "within"), (INFERIOR, "heart rate", "below"), (BLOCKED, "heart rate", "above"),
        (INFERIOR, "PR interval", "above"), (HEALTHY, "PR interval", "within"), (SCAR, "QRS duration", "within"),
        (BLOCKED, "QRS duration", "above"), (replace(HEALTHY, pr_ms=104), "PR interval", "below"),
        (replace(HEALTHY, qtc_ms=453), "QTc interval (men)", "above"),
        (replace(HEALTHY, qtc_ms=453, sex="female"), "QTc interval (women)", "within"),
        (replace(HEALTHY, qtc_ms=461, sex="female"), "QTc interval (women)", "above"),
    ],
)  # fmt: skip
def test_numbers_lie_below_within_or_above(reading, feature, side):
    assert about(all_of(12, reading), feature) == {(side,)}
    verified = all_of(10, reading)
    for word in ("below", "within", "above"):
        assert about(verified, feature, word) == {("yes" if word == side else "no",)}
    for text, answer in all_of(11, reading).items():
        if feature in text:
            assert answer == ((side,) if re.search(side, text, re.I) else ())
    for text, answer in all_of(13, reading).items():
        assert feature.lower() in text.lower() and (feature in answer) == (side != "within")


def test_what_rounding_on_paper_would_turn_is_not_asked():
    for value in (196, 203):  # a report says 200
        border = replace(HEALTHY, pr_ms=value)
        asked = value < 200
        assert bool(about(all_of(12, border), "PR interval")) == asked
        assert bool(about(all_of(13, border), "PR interval")) == asked


def test_the_axis_points_somewhere():
    for degrees, word in (
        (41, "normal"),
        (-62, "deviated to the left"),
        (118, "deviated to the right"),
        (-131, "extreme"),
    ):
        reading = replace(HEALTHY, axis_deg=degrees)
        assert set(all_of(16, reading).values()) == {(word,)}
        verified = all_of(14, reading)
        assert about(verified, word) == {("yes",)} and set(verified.values()) == {("yes",), ("no",)}
        for text, answer in all_of(15, reading).items():
            assert answer == ((word,) if word in text.lower() else ())
    for degrees in (-32, float("nan")):
        with pytest.raises(BadRequest, match="another ECG"):
            ask((replace(HEALTHY, axis_deg=degrees),), random.Random(0), kind="heart_axis")


def test_noise_is_found_where_it_is():
    assert about(all_of(19, INFERIOR), "baseline drift") == {("I", "V1")}
    assert about(all_of(19, INFERIOR), "static noise") == {("V1",)}
    verified = all_of(17, INFERIOR, n=800)
    assert about(verified, "baseline drift", "lead I") == about(verified, "static noise", "lead V1") == {("yes",)}
    assert about(verified, "static noise", "lead I") == {("no",)}
    chosen = all_of(18, INFERIOR)
    assert about(chosen, "lead I") == {("baseline drift",)}
    assert {frozenset(a) for a in about(chosen, "lead V1")} == {frozenset({"baseline drift", "static noise"})}
    assert about(all_of(20, INFERIOR), "lead V1") == {("yes",)} and about(all_of(20, INFERIOR), "lead II") == {("no",)}
    assert set(all_of(21, INFERIOR).values()) == {("I", "V1")} and set(all_of(21, HEALTHY).values()) == {()}


def test_extra_beats_and_their_kind():
    assert set(all_of(22, SCAR).values()) == {("yes",)} and set(all_of(22, HEALTHY).values()) == {("no",)}
    assert set(all_of(24, SCAR).values()) == {("atrial premature beats",)} and set(all_of(24, HEALTHY).values()) == {()}
    for text, answer in all_of(23, INFERIOR).items():
        assert answer == (("ventricular premature beats",) if "ventricular premature" in text.lower() else ())


def test_the_stage_of_an_infarction():
    for reading, stage in ((INFERIOR, "acute"), (SCAR, "old"), (HEALTHY, None)):
        assert set(all_of(26, reading).values()) == {(stage,) if stage else ()}
        verified = all_of(25, reading)
        assert about(verified, "acute") == {("yes" if stage == "acute" else "no",)} or reading is HEALTHY
        assert {a for text, a in verified.items() if stage and stage in text} <= {("yes",)}
    both = replace(SCAR, findings=SCAR.findings | {"STE_ANT"})
    for reading in (BLOCKED, both, replace(HEALTHY, findings=frozenset({"SR", "LAFB"}))):
        with pytest.raises(BadRequest, match="another ECG"):
            ask((reading,), random.Random(0), kind="stage_of_infarction")


def test_what_an_ecg_cannot_tell_is_not_asked():
    stated = all_of(None, BLOCKED, n=3000)
    for words in (
        "PR interval",
        "first degree AV block",
        "left ventricular hypertrophy",
        "inferior Q waves",
        "infarction",
    ):
        assert not about(stated, words), words
    assert about(stated, "left bundle branch block") and about(stated, "conduction") <= {
        ("complete left bundle branch block",)
    }
    unknown_sex = all_of(None, replace(HEALTHY, sex=""), n=2000)
    assert about(unknown_sex, "heart rate") and not about(unknown_sex, "QTc interval")
    assert not about(all_of(None, replace(HEALTHY, rate_bpm=float("nan")), n=2000), "QTc interval")
    assert "STD" in undecided(INFERIOR), "reciprocal depression is neither a finding nor its absence"
    with pytest.raises(BadRequest, match="another ECG"):
        ask((replace(HEALTHY, findings=frozenset({"VT"})),), random.Random(0), kind="extra_systole")


def test_two_ecgs_of_one_patient():
    later = replace(HEALTHY, rate_bpm=108, findings=frozenset({"STACH", "PAC", "LVH"}))
    early = replace(HEALTHY, pr_ms=222, findings=frozenset({"SR", "1AVB", "LVH"}))
    new = all_of(27, early, later)
    assert about(new, "sinus tachycardia") == about(new, "atrial premature beats") == {("yes",)}
    assert about(new, "left ventricular hypertrophy") == about(new, "first degree AV block") == {("no",)}
    assert set(all_of(28, early, later).values()) == {("sinus tachycardia", "atrial premature beats")}
    assert set(all_of(29, early, later).values()) == {("sinus rhythm", "first degree AV block")}
    assert set(all_of(30, early, later).values()) == {("heart rate",)}
    assert set(all_of(28, HEALTHY, HEALTHY).values()) == set(all_of(30, HEALTHY, HEALTHY).values()) == {()}
    for before, after, word in ((72.2, 108, "faster"), (108, 72.2, "slower"), (72.2, 76.4, "about the same")):
        pair = replace(HEALTHY, rate_bpm=before), replace(HEALTHY, rate_bpm=after)
        assert set(all_of(32, *pair).values()) == {(word,)}
        assert about(all_of(31, *pair), word) == {("yes",)} and set(all_of(31, *pair).values()) == {("yes",), ("no",)}


def test_two_ecgs_of_two_patients():
    one, two = replace(INFERIOR, sex="male"), replace(SCAR, rate_bpm=54, findings=frozenset({"SBRAD", "Q_ANT", "PVC"}))
    stated = all_of(33, one, two, same=False)
    assert about(stated, "sinus bradycardia") == about(stated, "ventricular premature beats") == {("yes",)}
    assert about(stated, "first degree AV block") == {("no",)}
    outside = all_of(35, one, two, same=False)
    assert about(outside, "heart rate") == {("yes",)} and about(outside, "PR interval") == {("no",)}
    shared = all_of(34, one, replace(two, findings=frozenset({"SBRAD", "1AVB", "STE_INF"})), same=False)
    assert set(shared.values()) == {("sinus bradycardia", "first degree AV block", "inferior ST elevation")}
    hidden = all_of(None, INFERIOR, BLOCKED, same=False)
    assert not about(hidden, "inferior ST elevation") and not about(hidden, "Which findings")


def test_reports_tell_the_same_answers():
    """What a question about a report asks can be read from the report, rounded as it is."""
    for reading in (*EVERY, *tiny.corpus().readings):
        predicted = replace(parse_report(report(reading)), sex=reading.sex)
        for template in TEMPLATES:
            if template.attribute_type != "noise":
                own, read = (TOPICS[template.topic][1](r) for r in (reading, predicted))
                assert set(own.possible) <= set(read.possible)
                assert set(own.true) == set(read.true) & set(own.possible), template.topic


# --- chance


def test_answers_are_even(drawn):
    yes = defaultdict(list)
    for q in drawn:
        if q.question_type.endswith("verify"):
            yes[q.question_type].append(q.answer == ("yes",))
            yes[q.template_id].append(q.answer == ("yes",))
    for kind, answers in yes.items():
        room = 0.08 if isinstance(kind, str) else 0.2
        assert abs(sum(answers) / len(answers) - 0.5) < room, kind
    listed = [not q.answer for q in drawn if q.question_type == "single-query"]
    assert 0.1 < sum(listed) / len(listed) < 0.4, "none is an answer, but not the rule"


def test_how_rare_a_finding_is_does_not_give_the_answer_away(corpus):
    rng, yes = random.Random(3), defaultdict(list)
    for _ in range(3000):
        q = corpus.asked(rng, kind=1)
        yes[q.attribute[1] in ("sinus rhythm", "sinus bradycardia", "sinus tachycardia")].append(q.answer == ("yes",))
    for frequent, answers in yes.items():
        assert len(answers) > 300 and abs(sum(answers) / len(answers) - 0.5) < 0.08, frequent


def test_questions_about_single_ecgs_are_even_too():
    rng = random.Random(4)
    readings = tiny.corpus().readings
    generated = [ask((rng.choice(readings),), rng, other=rng.choice(readings)) for _ in range(3000)]
    answers = [q.answer == ("yes",) for q in generated if q.question_type == "single-verify"]
    assert abs(sum(answers) / len(answers) - 0.5) < 0.08


def test_the_same_seed_asks_the_same(corpus):
    first, again, other = ([corpus.asked(r) for _ in range(50)] for r in map(random.Random, (5, 5, 6)))
    assert first == again != other
    for kind in ("ask", "no_ecg"):
        stated = [[corpus.sample(kind, row, random.Random(seed)) for row in range(20)] for seed in (0, 0, 1)]
        assert stated[0] == stated[1] != stated[2]


def test_kinds_that_do_not_exist_are_refused():
    with pytest.raises(BadRequest, match="kind 'rhythms'"):
        ask((HEALTHY,), random.Random(0), kind="rhythms")
    with pytest.raises(BadRequest, match="another ECG"):
        ask((Reading(),), random.Random(0), kind=("heart_axis", "numeric_feature", "stage_of_infarction"))


# --- conversations


def test_pairs_are_of_one_patient_and_others_are_not(corpus, drawn):
    assert len(corpus.pairs) == 150 and not tiny.corpus().pairs
    for q in drawn:
        if len(q.ecg_id) == 2:
            first, second = q.ecg_id
            assert (corpus.patients[first] == corpus.patients[second]) == ("consecutive" in q.question_type)
            assert first < second or "irrelevant" in q.question_type
    types = {tiny.corpus().asked(random.Random(s)).question_type for s in range(200)}
    assert types == {t for t in QUESTION_TYPES if "consecutive" not in t}, "without names nobody comes twice"


def test_a_drawn_question_is_true_of_its_ecg(corpus, drawn):
    for q in drawn:
        if q.template_id == 1:
            code = next(code for code in CODES if NAMES[code] == q.attribute[1])
            assert q.answer == ("yes" if code in corpus.readings[q.ecg_id[0]].findings else "no",)
        if q.template_id == 9:
            fields = {"ST elevation": "st_up", "ST depression": "st_down", "T wave inversion": "t_inverted"}
            key = {**fields, "tall T waves": "t_tall", "Q waves": "q_waves"}[q.attribute[0]]
            assert q.answer == getattr(corpus.readings[q.ecg_id[0]], key)


def test_notes_tell_what_is_true():
    stated = notes(INFERIOR)
    assert stated.startswith("heart rate 52; PR interval 220; QRS duration ") and stated.endswith("static noise V1.")
    assert "; ST elevation II, III, aVF; " in stated and "; old injury none; " in stated
    assert "; injury inferior ST elevation; " in stated
    facts = stated.rstrip(".").split("; ")
    assert [fact for fact, name in zip(facts, NOTED) if not fact.startswith(TITLES[name])] == []
    assert items("pr_ms", replace(INFERIOR, pr_ms=math.nan)) == ()
    both = notes(INFERIOR, "second").split("; ")
    assert [fact.removeprefix("second ") for fact in both] == stated.split("; ")


def test_questions_about_notes_fit_into_a_prompt(corpus):
    model, rng = tiny.reading_model(), random.Random(6)
    collator = Collator(model, corpus)
    for start in ("single", "comparison"):
        rows, dialogues = collator.questions(60, rng, start, noted=True)
        for ecgs, dialogue in zip(rows.tolist(), dialogues):
            head = dialogue[0][0]
            assert head.startswith("heart rate " if start == "single" else "first heart rate ")
            assert all(items("rhythm", corpus.readings[row])[0] in head for row in ecgs)
            assert len(model.prompt_ids(head)) <= ECGLanguageModel.max_prompt
            assert not any("; QRS duration " in prompt for prompt, _ in dialogue[1:]), "notes come once"
    assert sum(TEXT_MIX.values()) == pytest.approx(1)


def test_without_an_ecg_there_is_no_answer(corpus, monkeypatch):
    rng, asked = random.Random(7), []
    monkeypatch.setattr(corpus, "ask", lambda *how, ask=corpus.ask: asked.append(ask(*how)) or asked[-1])
    stated = [corpus.sample("no_ecg", row, rng) for row in range(200)]
    assert {answer for _, answer in stated} == {NO_ECG}
    assert 40 < len(asked) < 80, "three in ten are questions"
    assert {q.question for q in asked} <= {prompt for prompt, _ in stated}


def test_the_tokenizer_sees_every_word(corpus):
    def words(*texts: str) -> set[str]:
        return set(re.findall(r"\w+", " ".join(texts).lower()))

    known, rng = words(*corpus.sentences(random.Random(0), 300), *NAMES.values()), random.Random(8)
    asked = [corpus.asked(rng, "unseen") for _ in range(1000)]
    assert words(*(f"{q.question} {listed(q.answer)}" for q in asked)) <= known


# --- scores


def question(*answer: str, template: int = 1, kind: str = "single-query", about: str = "scp_code") -> Question:
    return Question(template, template, 0, kind, about, "?", answer)


@pytest.mark.parametrize(
    "answer,text,right",
    [
        ((), "none", True), ((), "None.", True), (("none",), "none", True), ((), "", False), ((), "V1", False),
        (("V1", "V2"), "V2, V1", True), (("V1", "V2"), "v1,  V2.", True), (("V1", "V2"), "V1", False),
        (("V1", "V2"), "V1, V2, V3", False), (("V1", "V2"), "V1 V2", False), (("V1",), "V1, V1", True),
        (("yes",), "Yes", True), (("yes",), "yes, no", False), (("yes",), ", ,", False), (("yes",), "none", False),
        (("left bundle branch block, complete",), "left bundle branch block, complete", True),
        (("sinus rhythm",), "Rate 72 bpm. Rhythm sinus rhythm. Conclusion: normal ECG.", False),
    ],
)  # fmt: skip
def test_the_set_of_answers_must_be_right(answer, text, right):
    assert scored.qa_scores([question(*answer)], [text])["qa.exact_match"] == right


def test_scores_by_type():
    asked = [
        question("yes", kind="single-verify"), question("no", kind="single-verify"), question("V1", about="noise"),
    ]  # fmt: skip
    found = scored.qa_scores(asked, ["yes", "yes", "v1"])
    assert found == {
        "qa.exact_match": pytest.approx(2 / 3), "qa.single-verify": 0.5, "qa.single-query": 1.0, "qa.scp_code": 0.5,
        "qa.noise": 1.0, "qa.open": 1.0,
    }  # fmt: skip
    with pytest.raises(ValueError):
        scored.qa_scores(asked, ["yes"])


def test_answers_are_read_back(drawn):
    assert all(parse_answer(listed(q.answer)) == {a.lower() for a in q.answer or ("none",)} for q in drawn)
    found = scored.qa_scores(drawn, [listed(q.answer) for q in drawn])
    assert set(found.values()) == {1.0} and {f"qa.{t}" for t in (*QUESTION_TYPES, *ATTRIBUTE_TYPES)} < set(found)


def test_chance_knows_no_ecg(drawn):
    training = [question("yes"), question("yes"), question("no"), question(template=2)]
    found = scored.chance_scores(
        training, [question("yes"), question("no"), question(template=2), question(template=3)]
    )
    assert found["qa.majority.exact_match"] == 0.75
    half = len(drawn) // 2
    chance = scored.chance_scores(drawn[:half], drawn[half:])
    for kind in ("single-verify", "comparison_consecutive-verify", "comparison_irrelevant-verify"):
        assert chance[f"qa.majority.{kind}"] < 0.6 and chance[f"qa.blind.{kind}"] < 0.65
    assert chance["qa.majority.exact_match"] < 0.5


class Knower:
    """Stands in for a model: answers as `tell` says, and keeps what it was shown."""

    def __init__(self, predict):
        self.predict, self.shown = predict, []

    def encode_ecg(self, signal, image=None):
        return signal[:, :, :10].flatten(1)[:, None], torch.zeros(len(signal), 1, 120)  # (B, 1, 120) each

    def write(self, prompts, signal_tokens=None, image_tokens=None):
        self.shown.append((prompts, signal_tokens, image_tokens))
        return prompts

    def texts(self, answers):
        return [self.predict(prompt) for prompt in answers]


class Shelf:
    """A cohort in memory."""

    def __init__(self, n: int):
        generated = tiny.patients()
        self.generated, self.n = generated, n
        self.names = [f"p{i // 2}" for i in range(n)]

    def signal(self, rows):
        return self.generated.signal[torch.as_tensor(rows)]

    def truth(self, rows=None):
        return {key: value[: self.n] for key, value in self.generated.truth.items()}

    def column(self, name):
        return self.names


def test_the_model_sees_one_ecg_or_two_in_their_order():
    shelf, model = Shelf(60), Knower(lambda prompt: "yes")
    asked = scored.draw_questions(Corpus(shelf.truth(), shelf.names), 40, 0)
    assert [q.sample_id for q in asked] == list(range(40))
    stated = scored.answers(model, shelf, asked)
    assert stated == ["yes"] * 40
    (alone, one, image), (compared, two, no_image) = model.shown
    assert len(alone) == 30 and len(compared) == 10 and image is not None and no_image is None
    assert one.shape == (30, 1, 120) and two.shape == (10, 2, 120)
    pairs = [q for q in asked if len(q.ecg_id) == 2]
    for q, tokens in zip(pairs, two):
        assert torch.equal(tokens, model.encode_ecg(shelf.signal(list(q.ecg_id)))[0][:, 0])


def test_metrics_of_a_model_that_knows():
    shelf = Shelf(60)
    right = {q.question: listed(q.answer) for q in scored.draw_questions(Corpus(shelf.truth(), shelf.names), 40, 3)}
    found = scored.qa_metrics(Knower(right.get), shelf, 40, 3)
    assert found["qa.exact_match"] > 0.8, "a text that is asked about two ECGs may have two answers"
    assert found["qa.questions"] == 40 and found["qa.majority.exact_match"] < 0.7
    silent = scored.qa_metrics(Knower(lambda prompt: ""), shelf, 40, 3)
    assert silent["qa.exact_match"] == 0 and silent["qa.majority.exact_match"] == found["qa.majority.exact_match"]


# --- training


@pytest.fixture(scope="module")
def views():
    model, signal = tiny.reading_model(), tiny.patients().signal
    return CachedTokens(*(tokens.half() for tokens in model.encode_ecg(signal, raster(signal))))


def test_a_batch_of_questions_is_true_of_its_rows(corpus):
    model = tiny.reading_model()
    collator = Collator(model, corpus)
    for start, width in (("single", 1), ("comparison", 2)):
        rows, dialogues = collator.questions(12, random.Random(9), start)
        assert rows.shape == (12, width) and max(len(dialogue) for dialogue in dialogues) == TURNS[start]
        types = [t for t in QUESTION_TYPES if t.startswith(start)]
        rng = random.Random(9)
        for row, [(prompt, answer), *_] in zip(rows.tolist(), dialogues):
            q = corpus.asked(rng, kind=types)
            assert (list(q.ecg_id), q.question) == (row, prompt)
            assert model.tokenizer.decode(answer[:-1]).strip() == full_answer(q)
            assert answer[-1] == model.tokenizer.eos_token_id


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_stage1_learns_from_questions(corpus, views, tmp_path, monkeypatch, share):
    monkeypatch.setattr(stages, "NOT_AN_ECG", 0.0)
    monkeypatch.setattr(stages, "ASK", 1.0)
    monkeypatch.setattr(stages, "COMPARE", share)
    model = tiny.reading_model()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    plans = {"stage1": tiny.replace(tiny.PLAN, steps=20, lr=5e-3)}
    history = train_reading(model, corpus, views, plans, 0, tmp_path)["stage1"]
    assert history["loss"][-1] < history["loss"][0]
    moved = {name for name, p in model.named_parameters() if not torch.equal(p.detach(), before[name])}
    assert {name.split(".")[0] for name in moved} == {"llm", "w_ts"} | ({"w_tsi"} if share == 0 else set())


def test_stage1_repeats_itself_and_does_without_the_signal(corpus, views, tmp_path):
    plan = tiny.replace(tiny.PLAN, steps=8)
    runs = [train_reading(tiny.reading_model(), corpus, views, {"stage1": plan}, 0, tmp_path / name) for name in "ab"]
    losses = [run["stage1"]["loss"] for run in runs]
    assert losses[0] == losses[1]
    model = tiny.reading_model()
    before = model.w_ts.weight.detach().clone()
    train_reading(model, corpus, views, {"stage1": plan}, 0, tmp_path / "c", ("image",))
    assert torch.equal(before, model.w_ts.weight), "without the signal nothing is compared"
