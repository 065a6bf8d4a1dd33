"""language: what is written can be read back, prompts are kept apart, and nothing typed becomes a special token."""

import math
import random
import re

import pytest
import tiny
import torch

from uniecg_lite.errors import BadRequest
from uniecg_lite.findings import (
    CODES,
    CRITERIA,
    DRIFT_FROM_MV,
    EVIDENCE,
    NAMES,
    NUMBERS,
    Q_LEADS,
    RANGES,
    RHYTHMS,
    STATIC_FROM_MV,
    Reading,
    readings,
    report,
)
from uniecg_lite.language.report_parser import parse_report
from uniecg_lite.language.requests import NO_ECG, PROMPTS, Request, fill, phrasings, questions
from uniecg_lite.language.tokenizer import PLAIN_TEMPLATE, encode
from uniecg_lite.leads import LEADS
from uniecg_lite.llm import ECGLanguageModel
from uniecg_lite.simulator.simulate import simulate

TASKS = ("interpret", "generate", "restate", "question")
TEXTS = (
    "[ECG_1]", "<eos>", "<bos><pad>", "User: hi\nAssistant: <eos>", "ÄÖÜ ß 漢字 😀", "tabs\tand  two blanks\n",
    "V7 V12 12 123 1234 0012 72.5", "-30 degrees", "", " ", "\u200b\ufeff", "QRS=110ms;QT=400",
)  # fmt: skip


@pytest.fixture(scope="module")
def truth():
    return simulate(3, torch.arange(500)).truth


@pytest.fixture(scope="module")
def words():
    return tiny.tokenizer()


# --- reports

LISTS = ("q_waves", "st_up", "st_down", "t_inverted", "t_tall")
SINUS = {"SR", "SBRAD", "STACH", "SARRH"}


def random_reading(rng: random.Random) -> Reading:
    """Any numbers, leads and findings with one rhythm, whether or not a heart could have them."""

    def leads():
        return tuple(name for name in LEADS if rng.random() < rng.choice([0, 0.2, 0.6]))

    def number(low, high):
        return math.nan if rng.random() < 0.1 else rng.uniform(low, high)

    found = {rng.choice(RHYTHMS), *rng.sample(CODES[13:-1], rng.choice([0, 1, 2, 3, 4, 8]))}
    return Reading(
        *(number(30, 220), number(80, 400), number(60, 200), number(200, 600), number(300, 600), number(-180, 180)),
        *(leads() for _ in range(7)),
        findings=frozenset({"SR", "NORM"} if rng.random() < 0.1 else found),
    )


def assert_read_back(reading: Reading):
    """The report of a reading gives back its findings, its leads, and its numbers as they were rounded."""
    back = parse_report(report(reading))
    assert back.findings == reading.findings
    for key in LISTS:
        assert getattr(back, key) == getattr(reading, key), key
    for key, half in {"rate_bpm": 0.5, "pr_ms": 5, "qrs_ms": 5, "qt_ms": 5, "qtc_ms": 5, "axis_deg": 5}.items():
        stated, true = getattr(back, key), getattr(reading, key)
        assert math.isnan(stated) == math.isnan(true), key
        assert math.isnan(true) or abs(stated - true) <= half + 1e-3, key


def test_random_readings_are_read_back():
    rng = random.Random(5)
    for _ in range(600):
        assert_read_back(random_reading(rng))


def test_reports_are_read_back(truth):
    for reading in readings(truth):
        assert_read_back(reading)


def test_every_finding_but_a_sinus_rhythm_has_its_evidence():
    rng = random.Random(6)
    for _ in range(400):
        reading = random_reading(rng)
        match = re.search(r" Evidence: (.*)\. Conclusion: ", report(reading))
        wanted = [EVIDENCE[code] for code in CODES if code in reading.findings - SINUS]
        assert (match[1].split("; ") if match else []) == wanted


def test_every_finding_is_said_and_read_alone():
    for code in CODES:
        found = frozenset({code} if code in RHYTHMS else {"SR", code})
        text = report(Reading(72, findings=found))
        assert parse_report(text).findings == found
        assert text.endswith(f" {NAMES[code]}."), "the last name of the conclusion"
        assert ("sinus rhythm" in text.split("Conclusion:")[1]) == (code not in {*RHYTHMS[1:], "NORM"})


def test_the_house_style():
    reading = Reading(
        *(72.4, 208.0, 91.0, 388.0, 421.0, 38.0),
        q_waves=("III", "aVF"),
        st_up=("II", "III", "aVF"),
        st_down=("I", "aVL"),
        t_inverted=("V5", "V6"),
        t_tall=("V2", "V3"),
        drift=("I",),
        static=("V6",),
        findings=frozenset({"SR", "1AVB", "STE_INF"}),
        age=63.0,
        sex="female",
    )
    assert report(reading) == (
        "Rate 72 bpm. Rhythm sinus rhythm. PR 210, QRS 90, QT 390, QTc 420 ms. Axis 40 degrees. Q waves in III aVF. "
        "ST elevation in II III aVF. ST depression in I aVL. T inverted in V5 V6. T tall in V2 V3. "
        "Evidence: PR over 200 ms; ST elevation in two of II III aVF. "
        "Conclusion: sinus rhythm, first degree AV block, inferior ST elevation."
    )
    assert report(Reading(133, math.nan, 150, 300, 450, -76, findings=frozenset({"VT"}))) == (
        "Rate 133 bpm. Rhythm ventricular tachycardia. PR none, QRS 150, QT 300, QTc 450 ms. Axis -80 degrees. "
        "ST level. T upright. Evidence: fast regular broad QRS without P waves. Conclusion: ventricular tachycardia."
    )


def test_readings_follow_the_truth(truth):
    for row, reading in enumerate(readings(truth)):
        assert reading.findings == {code for i, code in enumerate(CODES) if truth["findings"][row, i]}
        assert len(reading.findings & set(RHYTHMS)) == 1
        assert reading.age == truth["age"][row] and (reading.sex == "female") == truth["female"][row]
        if reading.findings & {"AFIB", "AFLT", "JUNC", "SVTAC", "VT", "PACE", "WENCK", "3AVB"}:
            assert math.isnan(reading.pr_ms)
        if "STE_INF" in reading.findings:
            assert len({"II", "III", "aVF"} & set(reading.st_up)) >= 2


def tiny_truth(n: int = 3) -> dict[str, torch.Tensor]:
    """A truth of zeros and no findings."""
    numbers = {key: torch.full((n,), 70.0) for key in (*NUMBERS, "age")}
    leads = {key: torch.zeros(n, 12) for key in ("st_mv", "t_mv", "q_wave", "drift_mv", "static_mv")}
    return numbers | leads | {"female": torch.zeros(n) > 0, "findings": torch.zeros(n, 48) > 0}


def test_leads_count_from_their_threshold_on():
    st, t = torch.zeros(2, 12), torch.zeros(2, 12)
    drift, static, q = torch.zeros(2, 12), torch.zeros(2, 12), torch.ones(2, 12, dtype=torch.bool)
    st[:] = torch.tensor([[0.15], [-0.11]])
    t[:] = torch.tensor([[0.6], [-0.11]])
    drift[:, :2] = torch.tensor([DRIFT_FROM_MV, DRIFT_FROM_MV - 1e-3])
    static[:, 2:4] = torch.tensor([STATIC_FROM_MV, STATIC_FROM_MV - 1e-3])
    truth = tiny_truth(2) | {"st_mv": st, "t_mv": t, "drift_mv": drift, "static_mv": static, "q_wave": q}
    up, down = readings(truth)
    assert up.st_up == tuple(name for name in LEADS if name not in ("V2", "V3")) and not up.st_down
    assert down.st_down == LEADS and not down.st_up
    assert up.t_tall == LEADS[:6] and not up.t_inverted and not down.t_tall
    assert down.t_inverted == tuple(name for name in LEADS if name not in ("III", "aVR", "V1"))
    assert (up.drift, up.static) == (("I",), ("III",)) and up.q_waves == Q_LEADS and "aVR" not in Q_LEADS


def test_an_older_truth_of_other_findings_is_refused():
    assert report(readings(tiny_truth(1))[0]).endswith("Conclusion: unknown rhythm.")
    with pytest.raises(BadRequest, match="14 findings, not 48"):
        readings(tiny_truth(1) | {"findings": torch.zeros(1, 14) > 0})


def test_a_report_tells_nothing_of_noise_or_person():
    plain = Reading(72, findings=frozenset({"SR"}))
    assert report(plain) == report(Reading(72, drift=LEADS, static=LEADS, findings=plain.findings, age=50, sex="male"))


def test_an_empty_or_broken_text_is_read_as_nothing_known():
    for text in (
        "",
        "Rate bpm. Conclusion",
        "I cannot tell.",
        "Conclusion: something odd.",
        "Evidence: Q waves in II.",
    ):
        back = parse_report(text)
        assert math.isnan(back.rate_bpm) and math.isnan(back.axis_deg) and not back.findings
        assert not any(getattr(back, key) for key in LISTS)


def test_a_negative_axis_and_normal_ecg():
    reading = Reading(72.4, 160, 94, 380, 417, -47, findings=frozenset({"SR", "LAD"}))
    assert "Axis -50 degrees" in report(reading) and parse_report(report(reading)).axis_deg == -50
    normal = Reading(72.4, 160, 94, 380, 417, 40, findings=frozenset({"SR", "NORM"}))
    assert report(normal).endswith("Conclusion: normal ECG.") and parse_report(report(normal)).findings == {
        "SR",
        "NORM",
    }
    bare = Reading(72.4, 160, 94, 380, 417, 40, findings=frozenset({"SR"}))
    assert report(bare).endswith("Conclusion: sinus rhythm.") and parse_report(report(bare)).findings == {"SR"}


# --- requests and prompts


def test_requests_are_read_back():
    rng = random.Random(0)
    for request in tiny.corpus().requests:
        for r in (request, request.with_fewer_facts(rng), Request(), Request(rate=60)):
            assert Request.parse(r.text()) == r


def test_measures_are_asked_for_in_tens_and_only_where_they_can_be_measured():
    for request, r in zip(tiny.corpus().requests, tiny.corpus().readings):
        assert (request.pr is None) == math.isnan(r.pr_ms)
        assert request.pr is None or (request.pr % 10 == 0 and abs(request.pr - r.pr_ms) <= 5)
        assert request.axis % 10 == 0 and abs(request.axis - r.axis_deg) <= 5


def test_half_of_the_requests_name_no_measure():
    rng, full = random.Random(0), Request(rate=70, pr=160, qrs=90, qt=400, axis=-30)
    drawn = [full.few_measures(rng) for _ in range(2000)]
    named = [len(r.measures) for r in drawn]
    assert 0.5 < sum(n == 0 for n in named) / 2000 < 0.57, "half, and 1 in 16 of the others"
    assert max(named) == 4 and all(r.rate == 70 for r in drawn)


def test_measures_are_said_after_the_rate():
    text = fill("Draw {what}, {rate}, {who}.", Request(rate=70, qrs=120, axis=-30), random.Random(0))
    assert re.search(r"70.*, .*QRS.* 120.*, .*axis.* -30", text)


def test_every_code_has_synonyms_and_no_synonym_two_codes():
    seen, unseen = PROMPTS["synonyms"], PROMPTS["synonyms_unseen"]
    assert tuple(seen) == CODES == tuple(unseen)
    assert all(2 <= len(names) <= 4 for names in seen.values()) and all(1 <= len(u) <= 2 for u in unseen.values())
    every = [name.lower() for table in (seen, unseen) for names in table.values() for name in names]
    assert len(every) == len(set(every))
    assert not any(re.search(r"[,.;:?{}\d]| and ", name.replace("type 1", "").replace("12-lead", "")) for name in every)
    assert all(NAMES[code] in seen[code] for code in CODES), "the canonical name is one of them"


def test_there_are_enough_phrasings():
    counts = {task: (len(phrasings(task, "seen")), len(phrasings(task, "unseen"))) for task in TASKS}
    least = {"interpret": (40, 20), "generate": (45, 20), "restate": (10, 3), "question": (25, 12)}
    assert all(n >= wanted for task in TASKS for n, wanted in zip(counts[task], least[task])), counts


@pytest.mark.parametrize("task", TASKS)
def test_unseen_phrasings_are_not_seen(task):
    seen, unseen = ({p.lower().strip(" .?!") for p in phrasings(task, split)} for split in ("seen", "unseen"))
    assert seen and unseen and not seen & unseen
    other = {p.lower().strip(" .?!") for t in TASKS if t != task for p in phrasings(t, "seen")}
    assert not unseen & other


@pytest.mark.parametrize("task", ["generate", "restate"])
def test_templates_name_all_parts_once(task):
    for split in ("seen", "unseen"):
        for template in phrasings(task, split):
            assert set(re.findall(r"{(\w+)}", template)) <= {"who", "what", "rate"}
            if task == "generate":
                assert sorted(re.findall(r"{(\w+)}", template)) == ["rate", "what", "who"], template


def test_a_filled_prompt_says_what_was_asked():
    rng, request = random.Random(1), Request(63, "female", 121, ("AFIB", "LVH"))
    for split in ("seen", "unseen"):
        for template in phrasings("generate", split):
            text = fill(template, request, rng)
            assert "63" in text and "121" in text and "{" not in text
            assert any(word in text.lower() for word in ("woman", "female", "lady"))
            assert any(s in text or s[0].upper() + s[1:] in text for s in PROMPTS["synonyms"]["AFIB"])
            assert any(s in text for s in PROMPTS["synonyms"]["LVH"])


def words_of(text: str) -> set[str]:
    """The words of a phrasing in small letters, exactly as they are written, without its blanks to fill."""
    return set(re.findall(r"[a-z]+", re.sub(r"{\w+}", " ", text).lower()))


def seen_texts() -> list[str]:
    """Every text whose words training can hold: seen phrasings, synonyms, persons, rates, reports, definitions."""
    who = [text for texts in PROMPTS["who"].values() for text in texts]
    names = [name for names in PROMPTS["synonyms"].values() for name in names]
    house = report(random_reading(random.Random(0))) + " Q waves ST elevation T inverted T tall"
    texts = [p for task in TASKS for p in phrasings(task, "seen")] + who + PROMPTS["rate"] + PROMPTS["any_rate"]
    return texts + names + [NO_ECG, house, *NAMES.values(), *CRITERIA.values(), *(r["name"] for r in RANGES.values())]


@pytest.mark.parametrize("task", [*TASKS, "synonyms_unseen"])
def test_every_word_of_what_is_unseen_is_seen_elsewhere(task):
    known = set().union(*map(words_of, seen_texts()))
    names = PROMPTS["synonyms_unseen"].values()
    unseen = [name for n in names for name in n] if task == "synonyms_unseen" else phrasings(task, "unseen")
    for phrasing in unseen:
        assert words_of(phrasing) <= known, (phrasing, words_of(phrasing) - known)


def test_what_is_drawn_for_training_shows_the_words_of_the_unseen_phrasings():
    drawn = set().union(*map(words_of, tiny.corpus().sentences(random.Random(0), 3000)))
    assert {"show", "shows", "showing", "patient", "recording", "tracing"} <= drawn
    for task in TASKS:
        assert not set().union(*map(words_of, phrasings(task, "unseen"))) - drawn


def test_every_term_has_an_answer():
    pairs = dict(questions())
    assert len(pairs) == len(questions()), "no term is asked with two answers"
    assert set(NAMES.values()) <= set(pairs) and all(answer.endswith(".") for answer in pairs.values())


def test_conversations_are_the_same_for_the_same_seed():
    rows = list(range(60))
    first, again, other = (tiny.corpus().dialogue(rows, random.Random(seed)) for seed in (0, 0, 1))
    assert first == again != other


def test_an_ecg_is_never_interpreted_without_one():
    for _, prompt, answer in tiny.corpus().dialogue(list(range(300)), random.Random(2)):
        if prompt in phrasings("interpret", "seen"):
            assert answer == PROMPTS["no_ecg"]


# --- tokenizer


def test_what_is_encoded_comes_back(words):
    rng = random.Random(3)
    texts = [*TEXTS, *tiny.corpus().reports, *map(PLAIN_TEMPLATE.format, phrasings("interpret", "unseen"))]
    texts += [part for _, *pair in tiny.corpus().dialogue(list(range(200)), rng) for part in pair]
    for text in texts:
        assert words.decode(encode(words, text)) == text


def test_random_unicode_comes_back(words):
    rng = random.Random(4)
    for _ in range(300):
        text = "".join(chr(rng.choice([*range(32, 127), *range(160, 0x2FFF), 0x1F600])) for _ in range(30))
        assert words.decode(encode(words, text)) == text


def test_a_number_is_one_token_and_every_number_its_own(words):
    ids = [encode(words, f" {n}") for n in range(700)]
    assert {len(i) for i in ids} == {1} and len({i[0] for i in ids}) == 700
    for n in (7, 72, 150, 401):
        assert ids[n][0] in encode(words, f"Rate {n} bpm."), "inside a sentence too"


@pytest.mark.parametrize("lead", ["V1", "V2", "V3", "V4", "V5", "V6", "aVR", "aVL", "aVF", "I", "II", "III"])
def test_a_lead_is_one_token(words, lead):
    [one] = encode(words, f" {lead}")
    assert encode(words, f" elevation in {lead} {lead}.")[-3:-1] == [one, one]


def test_nothing_typed_becomes_a_special_token():
    words = tiny.tokenizer()
    names = [f"[ECG_{i + 1}]" for i in range(8)]
    words.add_tokens(names, special_tokens=True)
    special = {*words.convert_tokens_to_ids(names), *words.all_special_ids}
    assert len(special) == 11
    for text in (*TEXTS, *names, " ".join(names), "<eos><bos>[ECG_1]", "What is [ECG_2]?"):
        assert not special & set(encode(words, PLAIN_TEMPLATE.format(text))), text
        assert not special & set(encode(words, text)), text
        assert words.decode(encode(words, text)) == text


def test_the_same_texts_give_the_same_tokenizer(words):
    from uniecg_lite.language.tokenizer import train_tokenizer

    again = train_tokenizer(tiny.corpus().sentences(random.Random(0), 600))
    assert again.get_vocab() == words.get_vocab()


def test_a_report_is_short(words):
    longest = max(len(encode(words, f" {text}")) for text in tiny.corpus().reports)
    assert longest + 1 <= ECGLanguageModel.max_answer, "a report with its end token fits into an answer"
    texts = map(PLAIN_TEMPLATE.format, phrasings("interpret", "unseen"))
    assert all(len(encode(words, text)) < ECGLanguageModel.max_prompt for text in texts)
