"""grounded: the promises of the scores on random readings, their worked examples, and what each of them notices."""

import math
import random
import re
from dataclasses import replace
from pathlib import Path

import pytest

from uniecg_lite.errors import BadRequest
from uniecg_lite.findings import CODES, EVIDENCE, LEAD_SIGNS, NAMES, RHYTHMS, SINUS, Reading, column, report
from uniecg_lite.language.report_parser import ALONE, parse, parse_report
from uniecg_lite.leads import LEADS
from uniecg_lite.metrics.grounded import (
    ANCHORED,
    CRITICAL,
    NO_PR,
    REQUIRED,
    SCORES,
    TOLERANCE,
    contradictions,
    grounded,
    grounded_one,
)

PAGE = Path(__file__).resolve().parents[1] / "docs" / "scores.md"
T_LEADS = [lead for lead in LEADS if lead not in ("III", "aVR", "V1")]


def random_reading(rng: random.Random) -> Reading:
    """Any reading at all: the promises must not hang on which findings go together."""
    if rng.random() < 0.15:
        found, leads = {"SR", "NORM"}, {}
    else:
        others = [code for code in CODES if code not in (*RHYTHMS, "NORM")]
        found = {rng.choice(RHYTHMS), *rng.sample(others, rng.randrange(5))}
        leads = {f: some(T_LEADS if f == "t_inverted" else LEADS, rng) for f in LEAD_SIGNS if rng.random() < 0.5}
        found -= {
            code for f, codes in ALONE.items() if f not in leads for code in codes
        }  # "no ST depression" is one claim
    return Reading(
        rate_bpm=rng.uniform(35, 190),
        pr_ms=math.nan if found & set(NO_PR) else rng.uniform(100, 300),
        qrs_ms=rng.uniform(70, 180),
        qt_ms=rng.uniform(300, 520),
        qtc_ms=rng.uniform(360, 540),
        axis_deg=rng.uniform(-90, 180),
        findings=frozenset(found),
        **leads,
    )


def some(leads, rng: random.Random) -> tuple[str, ...]:
    chosen = rng.sample(list(leads), rng.randrange(1, 5))
    return tuple(lead for lead in LEADS if lead in chosen)


READINGS = [random_reading(random.Random(seed)) for seed in range(40)]


def sentences(text: str) -> list[str]:
    return [part + "." for part in text.rstrip(".").split(". ")]


# --- false statements, sentence by sentence

WORDS = {"q_waves": "Q waves", "st_up": "ST elevation", "st_down": "ST depression", "t_inverted": "T inverted"}
WORDS |= {"t_tall": "T tall"}
FIRST = {"rate_bpm": ("Rate", " bpm"), "pr_ms": ("PR", " ms"), "qrs_ms": ("QRS", " ms"), "qt_ms": ("QT", " ms")}
FIRST |= {"qtc_ms": ("QTc", " ms"), "axis_deg": ("Axis", " degrees")}


def false_sentences(truth: Reading, rng: random.Random) -> list[str]:
    """One false sentence of every kind that this reading allows."""
    key = rng.choice(list(TOLERANCE))
    name, unit = FIRST[key]
    true = getattr(truth, key)
    wrong = (
        160 if math.isnan(true) else round(true) + rng.choice((-1, 1)) * (round(TOLERANCE[key]) + rng.randrange(2, 40))
    )
    code, other = rng.sample([code for code in CODES if code not in truth.findings], 2)
    free = [(f, lead) for f in LEAD_SIGNS for lead in LEADS if lead not in getattr(truth, f)]
    feature, lead = rng.choice(free)
    out = [
        f"{name} {wrong}{unit}.",
        f"There is {NAMES[other]}.",
        f"Possible {NAMES[code]}.",
        f"Conclusion: {NAMES[code]}.",
        f"Evidence: {EVIDENCE[code]}.",
        f"{WORDS[feature]} in {lead}.",
    ]
    out += [f"No {NAMES[code]}." for code in sorted(truth.findings - {"NORM"})[:2]]
    out += ["PR none."] if not math.isnan(truth.pr_ms) else []
    out += ["ST level."] if truth.st_up or truth.st_down else []
    out += ["T upright."] if truth.t_inverted else []
    for f in LEAD_SIGNS:
        there = getattr(truth, f)
        if there and f != "t_tall":
            out += [f"No {WORDS[f].replace('T inverted', 'T wave inversion')}."]
        if there:
            out += [f"No {WORDS[f].replace('T inverted', 'T inversion')} in {there[0]}."]
    return out


def not_above(after: dict, before: dict, why: str) -> None:
    for name in (*SCORES, "Average"):
        assert after[name] <= before[name] + 1e-9, (name, before[name], after[name], why)


def drafts(truth: Reading, rng: random.Random) -> list[str]:
    """Texts about a reading, from nothing to all of it, with and without what is false."""
    whole = sentences(report(truth))
    part = [s for s in whole if rng.random() < 0.5]
    false = rng.sample(false_sentences(truth, rng), 3)
    return [" ".join(x) for x in (whole, part, false, part + false, false + whole)]


@pytest.mark.parametrize("name", SCORES)
def test_a_perfect_report_scores_100(name):
    assert all(grounded_one(report(truth), truth)[name] == pytest.approx(100) for truth in READINGS)


def test_taking_away_a_true_sentence_never_raises_a_score():
    rng = random.Random(1)
    for truth in READINGS:
        true = set(sentences(report(truth)))
        for text in drafts(truth, rng):
            parts, before = sentences(text) if text else [], grounded_one(text, truth)
            for k in (k for k, part in enumerate(parts) if part in true):
                after = grounded_one(" ".join(parts[:k] + parts[k + 1 :]), truth)
                not_above(after, before, f"{parts[k]} | {text}")


def test_adding_a_false_sentence_never_raises_a_score():
    rng = random.Random(2)
    for truth in READINGS:
        for text in drafts(truth, rng):
            before = grounded_one(text, truth)
            for false in false_sentences(truth, rng):
                not_above(grounded_one(f"{text} {false}", truth), before, f"{false} | {text} | {report(truth)}")


def test_taking_one_true_finding_out_of_the_conclusion_never_raises_a_score():
    rng = random.Random(3)
    for truth in READINGS:
        body, found = report(truth).split(" Conclusion:")[0], sorted(truth.findings)
        false = rng.sample([code for code in CODES if code not in truth.findings], 2)
        for wrong in ([], false):
            before = conclude(body, found + wrong)
            for code in found:
                after = conclude(body, [c for c in found if c != code] + wrong)
                not_above(grounded_one(after, truth), grounded_one(before, truth), f"{code} | {before}")


def conclude(body: str, codes: list[str]) -> str:
    return f"{body} Conclusion: {', '.join(NAMES[code] for code in codes) or 'nothing'}."


def test_a_true_sentence_is_worth_something():
    """The promises would hold for a constant: the scores must also rise from nothing to all."""
    rng, gains = random.Random(4), dict.fromkeys(SCORES, 0)
    for truth in READINGS:
        whole = sentences(report(truth))
        half = " ".join(rng.sample(whole, len(whole) // 2))
        some_score, all_score = grounded_one(half, truth), grounded_one(" ".join(whole), truth)
        for name in SCORES:
            gains[name] += some_score[name] < all_score[name]
    assert all(count > len(READINGS) / 3 for count in gains.values()), gains


def test_another_patients_report_is_worth_no_more_than_a_guess():
    """Chance is what the best report gets that is the same for everybody."""
    texts = [report(truth) for truth in READINGS]
    shuffled = grounded(texts[1:] + texts[:1], READINGS)
    same = [grounded([text] * len(READINGS), READINGS) for text in texts[::5]]
    for name in (*SCORES, "Average"):
        assert shuffled[name] <= max(one[name] for one in same) + 1, name
    assert shuffled["Average"] < 25
    assert shuffled["EvidenceBasedReasoning"] < 10


@pytest.mark.parametrize(
    "text", ["", " ", "???", "lorem ipsum dolor sit amet", "1 2 3 4 5", "<eos>", "I cannot help with that."]
)
def test_what_says_nothing_scores_0_and_is_counted(text):
    for truth in READINGS[:10]:
        assert set(grounded_one(text, truth).values()) == {0}
    means = grounded([text, report(READINGS[0])], [READINGS[1], READINGS[0]])
    assert means["Average"] == pytest.approx(50)
    assert means["Unreadable"] == 50


def test_texts_and_readings_come_in_pairs():
    with pytest.raises(BadRequest, match="2 texts for 1 readings"):
        grounded(["a", "b"], READINGS[:1])
    with pytest.raises(BadRequest, match="at least one"):
        grounded([], [])


# --- paraphrases


def listed(leads, joint: str) -> str:
    return joint.join(leads)


def one_way(r: Reading) -> str:
    """Sentences of a colleague who writes seconds and commas."""
    pr = "PR not measurable" if math.isnan(r.pr_ms) else f"PR {on_paper(r.pr_ms) / 1000:.2f} s"
    parts = [f"Ventricular rate {round(r.rate_bpm)}/min", pr, f"QRS {on_paper(r.qrs_ms) / 1000:.2f} s"]
    parts += [f"QT/QTc {on_paper(r.qt_ms)}/{on_paper(r.qtc_ms)} ms", f"QRS axis {on_paper(r.axis_deg)}°"]
    out = [", ".join(parts)]
    for feature, words in (("q_waves", "pathological Q waves"), ("st_up", "elevated ST segments")):
        out += [f"{words} in leads {listed(getattr(r, feature), ', ')}"] * bool(getattr(r, feature))
    for feature, words in (("st_down", "ST segments depressed"), ("t_inverted", "inverted T waves")):
        out += [f"{words} in {listed(getattr(r, feature), ' and ')}"] * bool(getattr(r, feature))
    out += [f"tall T waves in {listed(r.t_tall, ', ')}"] * bool(r.t_tall)
    out += [] if r.st_up or r.st_down else ["ST segments are isoelectric"]
    out += [] if r.t_inverted else ["T waves are upright"]
    stated = "; ".join(EVIDENCE[code] for code in CODES if code in r.findings - set(SINUS))
    return ". ".join(out) + f". Supporting evidence: {stated}. " + f"Impression: {synonyms(r, 1)}."


def other_way(r: Reading) -> str:
    """Another colleague: leads first, findings first, evidence in other words."""
    out = [f"Diagnosis: {synonyms(r, 2)}", f"HR={round(r.rate_bpm)}bpm", f"The axis is {on_paper(r.axis_deg)} degrees"]
    out += ["The PR interval cannot be measured" if math.isnan(r.pr_ms) else f"A {on_paper(r.pr_ms)} ms PR interval"]
    out += [
        f"QRS duration of {on_paper(r.qrs_ms)} msec "
        f"with a QT of {on_paper(r.qt_ms)} msec and a QTc of {on_paper(r.qtc_ms)} msec"
    ]
    for feature, words in WORDS.items():
        leads = getattr(r, feature)
        words = words.replace("T inverted", "T wave inversion").replace("T tall", "peaked T waves")
        out += [f"{listed(leads, '/')}: {words}"] * bool(leads)
    out += [] if r.st_up or r.st_down else ["The ST is level"]
    out += [] if r.t_inverted else ["Upright T waves"]
    signs = EVIDENCE | {code: wordings[0] for code, wordings in column("evidence_wordings").items()}
    stated = [signs[code] for code in CODES if code in r.findings - set(SINUS)]
    return ". ".join(out) + f". Evidence: {'; '.join(stated)}."


def synonyms(r: Reading, which: int) -> str:
    """The findings in other words, where the tables have some."""
    names = []
    for code in sorted(r.findings):
        plain = [
            one for one in column("wordings").get(code, [NAMES[code]]) if "{" not in one and one not in ("a f", "ves")
        ]
        names.append(plain[min(which, len(plain) - 1)] if plain else NAMES[code])
    return "; ".join(names)


def on_paper(value: float) -> int:
    return int(10 * math.floor(value / 10 + 0.5))


@pytest.mark.parametrize("rewrite", [one_way, other_way])
def test_other_words_score_the_same(rewrite):
    """Right reports and wrong ones: what is told counts, not how."""
    for truth, other in zip(READINGS, READINGS[1:]):
        mixed = replace(other, rate_bpm=truth.rate_bpm, qrs_ms=truth.qrs_ms, st_up=truth.st_up, t_tall=truth.t_tall)
        for predicted in (truth, mixed, other):
            want, got = grounded_one(report(predicted), truth), grounded_one(rewrite(predicted), truth)
            assert got == pytest.approx(want), (rewrite(predicted), report(predicted))


# --- what each score notices

BLOCK = Reading(72, 210, 90, 390, 427, 40, findings=frozenset({"SR", "1AVB"}))


def test_a_right_conclusion_without_its_evidence_is_not_reasoned():
    backed = grounded_one("Rate 72 bpm. PR 210 ms. Sinus rhythm, first degree AV block.", BLOCK)
    bare = grounded_one("Rate 72 bpm. Sinus rhythm, first degree AV block.", BLOCK)
    wrong = grounded_one("Rate 72 bpm. PR 250 ms. Sinus rhythm, first degree AV block.", BLOCK)
    assert backed["EvidenceBasedReasoning"] == 100
    assert bare["EvidenceBasedReasoning"] == wrong["EvidenceBasedReasoning"] == pytest.approx(25)
    assert bare["DiagnosisAccuracy"] == 75


def test_a_bound_is_no_evidence():
    text = "Rate 72 bpm. First degree AV block, as the PR is over 200 ms. Sinus rhythm."
    assert grounded_one(text, BLOCK)["EvidenceBasedReasoning"] == 25


def test_a_text_that_contradicts_itself_is_less_faithful():
    agreed = grounded_one("PR 210 ms. Sinus rhythm, first degree AV block.", BLOCK)
    at_odds = grounded_one("PR 170 ms. Sinus rhythm, first degree AV block.", BLOCK)
    assert agreed["ClinicalDiagnosticFidelity"] == 100 and at_odds["ClinicalDiagnosticFidelity"] == 50
    assert [*contradictions("1AVB", parse("PR 170 ms. First degree AV block."))] == ["pr_ms 170"]


@pytest.mark.parametrize(
    "text, code",
    [
        ("Rate 120 bpm. Sinus bradycardia.", "SBRAD"),
        ("Left bundle branch block, QRS 80 ms.", "CLBBB"),
        ("Axis 60 degrees. Left axis deviation.", "LAD"),
        ("Atrial fibrillation, PR 160 ms.", "AFIB"),
        ("PR none. Sinus rhythm.", "SR"),
        ("ST level. Inferior ST elevation.", "STE_INF"),
        ("Normal ECG. Left ventricular hypertrophy.", "LVH"),
        ("Sinus rhythm. Atrial flutter.", "AFLT"),
        ("QTc 400. Long QT.", "LQT"),
    ],
)
def test_what_counts_as_a_contradiction(text, code):
    assert code in parse(text).findings and any(contradictions(code, parse(text)))


def test_house_reports_do_not_contradict_themselves():
    text = "Rate 72 bpm. Axis -80 degrees. PR 210 ms. Sinus rhythm, left axis deviation, first degree AV block."
    assert not any(reason for code in parse(text).findings for reason in contradictions(code, parse(text)))


def test_a_missed_critical_finding_caps_the_fidelity():
    truth = replace(
        BLOCK, st_up=("II", "III", "aVF"), findings=frozenset({"SR", "1AVB", "LAE", "LVH", "RAE", "PAC", "STE_INF"})
    )
    missed = grounded_one(report(replace(truth, findings=truth.findings - {"STE_INF"})), truth)
    hedged = grounded_one(
        report(replace(truth, findings=truth.findings - {"STE_INF"})) + " Possible inferior STEMI.", truth
    )
    assert missed["ClinicalDiagnosticFidelity"] == 50 < hedged["ClinicalDiagnosticFidelity"] < 100


def test_listing_everything_does_not_pay():
    everything = " ".join(f"{NAMES[code]}." for code in CODES) + " ST elevation in all leads. T inverted in all leads."
    scores = grounded([everything] * len(READINGS), READINGS)
    assert scores["DiagnosisAccuracy"] < 10 and scores["ClinicalDiagnosticFidelity"] < 10
    assert scores["LeadAssessmentAccuracy"] < 20


def test_saying_perhaps_is_worth_half():
    truth = Reading(72, 160, 90, 390, 427, 40, findings=frozenset({"SR"}))
    assert grounded_one("Possible sinus rhythm.", truth)["ClinicalDiagnosticFidelity"] == 50
    assert grounded_one("Sinus rhythm, possible LVH.", truth)["ClinicalDiagnosticFidelity"] == pytest.approx(100 / 1.5)


@pytest.mark.parametrize(
    "key, unit", [("rate_bpm", "Rate {} bpm."), ("pr_ms", "PR {} ms."), ("axis_deg", "Axis {} degrees.")]
)
def test_numbers_count_within_their_tolerance(key, unit):
    true = getattr(BLOCK, key)
    inside, outside = (grounded_one(unit.format(true + TOLERANCE[key] + d), BLOCK) for d in (0, 1))
    assert inside["ECGFeatureGrounding"] > 0 == outside["ECGFeatureGrounding"]


def test_axis_goes_around_the_circle():
    truth = replace(BLOCK, axis_deg=175)
    assert grounded_one("Axis -178 degrees.", truth)["ECGFeatureGrounding"] > 0


def test_the_tables_cover_every_finding():
    assert set(REQUIRED) == set(CODES)
    assert set(CRITICAL) < set(CODES) and set(ANCHORED) < set(SCORES)
    assert len(SCORES) == 9


# --- the page


def blocks(name: str) -> list[str]:
    page = PAGE.read_text(encoding="utf-8")
    return [text.replace("\n", " ") for text in re.findall(rf"```{name}\n(.*?)\n```", page, re.DOTALL)]


def test_the_worked_examples_of_the_page_are_true():
    page, (truth,) = PAGE.read_text(encoding="utf-8"), blocks("truth")
    scores = dict(zip("ABCDEF", (grounded_one(answer, parse_report(truth)) for answer in blocks("answer"))))
    for name in (*SCORES, "Average"):
        (row,) = re.findall(rf"^\| {name} \| ([\d. |]+) \|$", page, re.MULTILINE)
        assert [float(x) for x in row.split(" | ")] == [round(scores[who][name], 1) for who in scores], name
        predicted = re.findall(r"\*\*([A-F]) ([\d.]+)\*\*", page.split(f"### {name}\n")[1].split("\n#")[0])
        assert all(float(points) == round(scores[who][name], 1) for who, points in predicted), name
        assert predicted or name == "Average", f"{name} has no example"


def test_the_page_tells_the_tolerances():
    page = PAGE.read_text(encoding="utf-8")
    predicted = re.search(
        r"within (\d+) bpm.*? (\d+) ms for PR, (\d+) for QRS, (\d+) for QT, (\d+) for\s+QTc, (\d+) degrees", page, re.S
    )
    assert [int(x) for x in predicted.groups()] == list(TOLERANCE.values())
