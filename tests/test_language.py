"""language: what is written can be read back, prompts are kept apart, and nothing typed becomes a special token."""

import math
import random
import re

import pytest
import tiny
import torch

from uniecg_lite.language import (
    CODES,
    NAMES,
    Reading,
    Request,
    chat,
    encode,
    fill,
    parse_report,
    phrasings,
    questions,
    readings,
    report,
)
from uniecg_lite.language.prompts import PROMPTS
from uniecg_lite.simulator import simulate

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


def test_reports_are_read_back(truth):
    for reading in readings(truth):
        back = parse_report(report(reading))
        assert back.findings == reading.findings
        assert (back.st_up, back.st_down, back.t_inverted) == (reading.st_up, reading.st_down, reading.t_inverted)
        assert abs(back.rate_bpm - reading.rate_bpm) <= 0.5
        for key in ("qrs_ms", "qt_ms", "qtc_ms", "axis_deg"):
            assert abs(getattr(back, key) - getattr(reading, key)) <= 5 + 1e-3, key
        assert math.isnan(back.pr_ms) == math.isnan(reading.pr_ms)
        assert math.isnan(back.pr_ms) or abs(back.pr_ms - reading.pr_ms) <= 5 + 1e-3


def test_readings_follow_the_truth(truth):
    for row, reading in enumerate(readings(truth)):
        assert reading.findings == {code for i, code in enumerate(CODES) if truth["findings"][row, i]}
        assert ("AFIB" in reading.findings) == math.isnan(reading.pr_ms)
        if "STE_INF" in reading.findings:
            assert len({"II", "III", "aVF"} & set(reading.st_up)) >= 2


def test_an_empty_or_broken_text_is_read_as_nothing_known():
    for text in ("", "Rate bpm. Conclusion", "I cannot tell.", "Conclusion: something odd."):
        back = parse_report(text)
        assert math.isnan(back.rate_bpm) and math.isnan(back.axis_deg) and not back.findings and not back.st_up


def test_a_negative_axis_and_normal_ecg():
    reading = Reading(72.4, 160, 94, 380, 417, -47, findings=frozenset({"SR", "LAD"}))
    assert "Axis -50 degrees" in report(reading) and parse_report(report(reading)).axis_deg == -50
    normal = Reading(72.4, 160, 94, 380, 417, 40, findings=frozenset({"SR"}))
    assert "Conclusion: normal ECG." in report(normal) and parse_report(report(normal)).findings == {"SR"}


# --- requests and prompts


def test_requests_are_read_back():
    rng = random.Random(0)
    for request in tiny.corpus().requests:
        for r in (request, request.thinned(rng), Request(), Request(rate=60)):
            assert Request.parse(r.text()) == r


def test_every_code_has_synonyms_and_no_synonym_two_codes():
    synonyms = PROMPTS["synonyms"]
    assert set(synonyms) == set(CODES) and all(len(names) >= 2 for names in synonyms.values())
    every = [name.lower() for names in synonyms.values() for name in names]
    assert len(every) == len(set(every))
    assert all(NAMES[code] in synonyms[code] for code in CODES), "the canonical name is one of them"


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


def plain_words(text: str) -> set[str]:
    """Words in small letters, without the ending of plural and third person."""
    return {re.sub(r"(?<=[a-z]{3})s$", "", word) for word in re.findall(r"[a-z]+", re.sub(r"{\w+}", "", text).lower())}


@pytest.mark.parametrize("task", TASKS)
def test_every_word_of_the_unseen_phrasings_is_known_from_training(task):
    known = set().union(*map(plain_words, tiny.corpus().sentences(random.Random(0), 600)))
    for phrasing in phrasings(task, "unseen"):
        assert plain_words(phrasing) <= known, plain_words(phrasing) - known


def test_every_term_has_an_answer():
    pairs = dict(questions())
    assert len(pairs) == len(questions()), "no term is asked with two answers"
    assert set(NAMES.values()) <= set(pairs) and all(answer.endswith(".") for answer in pairs.values())


def test_conversations_are_the_same_for_the_same_seed():
    rows = list(range(60))
    first, again, other = (tiny.corpus().talk(rows, random.Random(seed)) for seed in (0, 0, 1))
    assert first == again != other


def test_an_ecg_is_never_interpreted_without_one():
    for prompt, answer in tiny.corpus().talk(list(range(300)), random.Random(2)):
        if prompt in phrasings("interpret", "seen"):
            assert answer == PROMPTS["no_ecg"]


# --- tokenizer


def test_what_is_encoded_comes_back(words):
    rng = random.Random(3)
    texts = [*TEXTS, *tiny.corpus().reports, *map(chat, phrasings("interpret", "unseen"))]
    texts += [part for pair in tiny.corpus().talk(list(range(200)), rng) for part in pair]
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
        assert not special & set(encode(words, chat(text))), text
        assert not special & set(encode(words, text)), text
        assert words.decode(encode(words, text)) == text


def test_the_same_texts_give_the_same_tokenizer(words):
    from uniecg_lite.language import train_tokenizer

    again = train_tokenizer(tiny.corpus().sentences(random.Random(0), 600))
    assert again.get_vocab() == words.get_vocab()


def test_a_report_is_short(words):
    longest = max(len(encode(words, f" {text}")) for text in tiny.corpus().reports)
    from uniecg_lite.unified.model import MAX_ANSWER, MAX_PROMPT

    assert longest + 1 <= MAX_ANSWER, "a report with its end token fits into an answer"
    assert all(len(encode(words, chat(p))) < MAX_PROMPT for p in phrasings("interpret", "unseen"))
