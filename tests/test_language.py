"""language: what is written can be read back, prompts are kept apart, and nothing typed becomes a special token."""

import math
import random
import re
from dataclasses import replace

import pytest
import tiny
import torch

from uniecg_lite.errors import BadRequest
from uniecg_lite.findings import (
    CODES,
    DRIFT_FROM_MV,
    EVIDENCE,
    NAMES,
    NUMBERS,
    Q_LEADS,
    RHYTHMS,
    STATIC_FROM_MV,
    Reading,
    readings,
    report,
    table,
)
from uniecg_lite.language.conversations import TEXT_MIX, WANTED, WISHES
from uniecg_lite.language.report_parser import parse_report
from uniecg_lite.language.requests import (
    FORM,
    MARKS,
    MEASURES,
    MORE,
    NO_ECG,
    OTHER_NUMBERS,
    PROMPTS,
    ROUND,
    SLOTS,
    SYNONYMS,
    WISHED,
    Request,
    phrasings,
    questions,
)
from uniecg_lite.language.tokenizer import PLAIN_TEMPLATE, encode, spaced, uncased
from uniecg_lite.language.wording import USUAL, fill, in_words, number, typed, usual, worded
from uniecg_lite.leads import LEADS
from uniecg_lite.llm import ECGLanguageModel
from uniecg_lite.paths import DATA, ROOT
from uniecg_lite.simulator.simulate import simulate

FILLED = ("generate", "attached", "two", "restate")  # by a request; the others by a term, or by nothing
ASKED = ("interpret", "interpret_about", "denied", "upload", "question", "meaning")
TASKS = (*FILLED, *ASKED, "general", "about_making", "small_talk", "language")
FULL = Request(63, "female", 121, ("AFIB", "LVH"), 160, 120, 400, -30)
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
    return numbers | leads | {"female": torch.zeros(n) > 0, "findings": torch.zeros(n, 50) > 0}


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
    with pytest.raises(BadRequest, match="14 findings, not 50"):
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
        few = request.with_fewer_facts(rng)
        for r in (request, few, request.with_more(rng, 0.5), few.with_more(rng, 0.5), Request(), Request(rate=60)):
            assert Request.parse(r.text()) == r
            assert r.marks <= set(MARKS) and {("findings", code) for code in r.findings} <= r.marks


def test_more_is_asked_for_now_and_then():
    rng = random.Random(0)
    more = [FULL.with_more(rng) for _ in range(2000)]
    for key in ("st", "noise", "seconds", "lead", "start"):
        assert 60 < sum(bool(getattr(r, key)) for r in more) < 140, "one request in twenty"
        assert len({getattr(r, key) for r in more}) > 3
    assert all(replace(r, st=(), noise=(), seconds=None, lead=None, start=None) == FULL for r in more)


def test_a_request_for_a_person_says_what_is_open_and_what_is_not_drawn_yet():
    assert str(replace(FULL, pr=None, lead="V3", seconds=12, st=(("II", 2), ("V1", -1)))) == (
        "63-year-old woman, atrial fibrillation, left ventricular hypertrophy, 121 bpm, QRS 120 ms, QT 400 ms, "
        "axis -30 degrees; left open: PR; not drawn yet: ST +0.2 mV in II, ST -0.1 mV in V1, 12 s long, lead V3 alone"
    )
    assert str(Request(50)) == "50-year-old adult; left open: sex, findings, rate, PR, QRS, QT, axis"
    assert str(Request(sex="male", findings=("SR",))) == "man, sinus rhythm; left open: age, rate, PR, QRS, QT, axis"
    assert str(Request()) == "left open: age, sex, findings, rate, PR, QRS, QT, axis"
    assert str(FULL).endswith("400 ms, axis -30 degrees"), "nothing is open"
    noisy = str(Request(noise=("mains",), start="QRS"))
    assert noisy.endswith(f"; not drawn yet: {PROMPTS['noise']['mains'][0]}, from QRS on")


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (Request(rate=900), "rate"),
        (Request(rate=0), "rate"),
        (Request(140), "age"),
        (Request(qrs=1000), "interval"),
        (Request(findings=("3AVB",), pr=200), "pr"),
        (Request(findings=("AFIB",), pr=160), "pr"),
        (Request(rate=120, findings=("SBRAD",)), "No ECG is made: sinus bradycardia does not go with 120 bpm."),
        (Request(rate=45, findings=("STACH",)), "No ECG is made: sinus tachycardia does not go with 45 bpm."),
        (Request(pr=140, findings=("1AVB",)), "No ECG is made: first degree AV block does not go with PR 140 ms."),
        (
            Request(qrs=80, findings=("CLBBB",)),
            "No ECG is made: complete left bundle branch block does not go with QRS 80 ms.",
        ),
        (Request(rate=150, qt=420), "beat"),
        (Request(rate=250, pr=240), "beat"),
        (Request(rate=140, qt=420), None),
        (Request(findings=("1AVB",), pr=290), None),
        (Request(findings=("CLBBB",), qrs=120), None),
        (Request(rate=38), None),
        (Request(rate=38, findings=("3AVB",)), None),
        (Request(rate=45, findings=("SBRAD",)), None),
        (Request(rate=140, findings=("STACH",)), None),
        (Request(), None),
    ],
    ids=str,
)
def test_what_no_heart_can_be_is_refused(request_, reason):
    assert request_.refusal == (reason and PROMPTS["impossible"].get(reason, reason))


def test_a_change_leaves_one_rhythm_and_nothing_beside_normal():
    assert FULL.changed_to("CLBBB") == replace(FULL, findings=("AFIB", "CLBBB", "LVH")), "in their order"
    assert FULL.changed_to("SBRAD") == replace(FULL, findings=("SBRAD", "LVH"))
    assert FULL.changed_to("LVH") == FULL and FULL.changed_to("NORM").findings == ("NORM",)
    assert Request(findings=("SR", "NORM")).changed_to("PVC").findings == ("SR", "PVC")


def test_what_a_template_has_no_slot_for_is_left_open():
    more = replace(FULL, noise=("mains",), lead="II")  # is said behind any template
    assert more.named_by("Draw {what}.") == Request(findings=FULL.findings, noise=("mains",), lead="II")
    assert more.named_by("{rate}, {who}") == replace(more, findings=())
    assert more.named_by("{what}: {numbers}, {who}") == more
    assert FULL.named_by("Any ECG.") == Request()
    for r, template in (
        (Request(rate=60), "Draw {what}."),
        (Request(findings=("SR",)), "{what}, {rate}"),
        (Request(rate=60, findings=("SR",)), "{what}, {numbers}"),
    ):
        assert r.named_by(template) is None, "a slot would stay empty"
    for template in (t for task in FILLED for t in PROMPTS[task]):
        slots, named = set(SLOTS.findall(template)), FULL.named_by(template)
        assert named.findings == (FULL.findings if "what" in slots else ())
        assert (named.age, named.sex) == ((63, "female") if "who" in slots else (None, None))
        numbers = (named.rate, named.pr, named.qrs, named.qt, named.axis)
        assert numbers == ((121, 160, 120, 400, -30) if slots & {"rate", "numbers"} else (None,) * 5)


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


def test_an_unusual_wish_has_other_numbers_and_a_finding_more_also_such_as_cannot_be():
    rng, asked = random.Random(0), Request(63, "female", 80, ("SR",), pr=160, qrs=90, qt=400, axis=30)
    drawn = [asked.unusual(rng) for _ in range(4000)]
    assert 0.1 < sum(bool(one.refusal) for one in drawn) / 4000 < 0.5, "what cannot be must be understood, too"
    more = sum(len({"LVH", "LAE", "PAC", "STD"}.intersection(one.findings)) for one in drawn) / 4
    assert abs(more * len(CODES) / 4000 - MORE) < 0.12
    for key, values in WISHED.items():
        others = [value for one in drawn if (value := getattr(one, key)) != getattr(asked, key)]
        tens = {round(value, -1) for value in values}
        assert abs(len(others) / 4000 - OTHER_NUMBERS) < 0.06 and set(others) <= set(values) | tens, key
        assert abs(sum(value in tens for value in others) / len(others) - 0.1 - 0.9 * ROUND) < 0.08, key
        assert len(set(others)) > len(values) * 0.7, key
    left = [Request(None, "male", None, ("AFIB",)).unusual(rng) for _ in range(300)]
    assert all(getattr(one, key) is None for one in left for key in WISHED), "what is left open stays open"


def test_the_usual_wordings_are_said_most():
    rng, names = random.Random(0), [*"abcdefghijkl"]
    said = [usual(names, rng) for _ in range(4000)]
    first = sum(name in names[:USUAL] for name in said) / 4000
    assert abs(first - (0.5 + 0.5 * USUAL / len(names))) < 0.03 and set(said) == set(names)


def place(text: str, key: str, value: int) -> int:
    """Where a text says a number in one of its forms, of a measure within 4; -1: nowhere."""
    values = [value] if key == "rate" else range(value - 4, value + 5)
    said = {number(form, one).lower() for form in PROMPTS[key] for one in values}
    return max((text.lower().find(form) for form in sorted(said, key=len)), default=-1)


def test_measures_are_said_after_the_rate():
    for seed in range(30):
        request = Request(None, None, 70, ("SR",), qrs=120, axis=-30)
        text = fill("Draw {what}, {rate}, {who}.", request, random.Random(seed))
        places = [place(text, key, getattr(request, key)) for key in ("rate", "qrs", "axis")]
        assert -1 < places[0] < places[1] < places[2], text


def test_parts_are_jotted_down_in_any_order():
    rng, request, orders = random.Random(0), Request(63, "female", 121, ("AFIB",), qrs=90), set()
    for _ in range(200):
        text = fill("{parts}", request, rng, other="flutter")
        found = [place(text, key, getattr(request, key)) for key in ("rate", "qrs")]
        names = [text.lower().find(name.lower()) for name in SYNONYMS["AFIB"]]
        assert min(*found, max(names)) >= 0 and re.search("63|sixty-three", text, re.I), text
        orders.add(found[0] < found[1])
    assert orders == {True, False}
    assert Request().named_by("ECG: {parts}") is None and request.named_by("{parts}") == request


def test_numbers_are_said_in_other_units():
    assert number("RR {rr} s, {rr_ms} ms, {hz} Hz", 75) == "RR 0.80 s, 800 ms, 1.25 Hz"
    assert number("{seconds} {bare} {point} {squares} {hundredths}", 140) == "0.14 .14 point one four 3.5 14"
    assert number("{rr} {rr_ms} {boxes} {hz}", 75) == "0.80 800 4 1.25" and number("{boxes}", 120) == "2.5"


def test_every_code_has_synonyms_and_no_synonym_two_codes():
    assert tuple(SYNONYMS) == CODES and all(len(names) >= 20 for names in SYNONYMS.values())
    every = [name.lower() for names in SYNONYMS.values() for name in names]
    assert len(every) == len(set(every))
    assert not any(re.search(r"[{}]|^\s|\s$|  ", name) for name in every)
    assert all(NAMES[code] in SYNONYMS[code] for code in CODES), "the canonical name is one of them"


def test_there_are_enough_phrasings():
    counts = {task: (len(phrasings(task, "seen")), len(phrasings(task, "unseen"))) for task in TASKS}
    least = dict.fromkeys(TASKS, (45, 5)) | {"generate": (600, 60), "interpret": (250, 25), "question": (200, 20)}
    least |= {"restate": (12, 1), "meaning": (36, 4)}
    assert all(n >= wanted for task in TASKS for n, wanted in zip(counts[task], least[task])), counts
    with pytest.raises(KeyError):
        phrasings("generate", "dream")


FOLLOW_UPS = ("why", "leads", "number", "same_with", "same_number", "again")


@pytest.mark.parametrize("how", FOLLOW_UPS)
def test_every_tenth_follow_up_is_kept_too(how):
    seen, unseen = plain(how, "seen"), plain(how, "unseen")
    assert len(seen) == 45 and len(unseen) == 5 and not seen & unseen
    assert phrasings(how, "unseen") == PROMPTS["follow"][how][9::10]


def test_follow_ups_are_drawn_from_their_split(monkeypatch):
    monkeypatch.setattr("uniecg_lite.language.conversations.typed", lambda text, rng: text)
    plain_ones = ("why", "leads", "again")  # without slots
    for split, other in (("seen", "unseen"), ("unseen", "seen")):
        rng, kinds = random.Random(0), ("follow", "remake")
        last = {tiny.corpus().sample(kind, row, rng, split)[0][-1] for row in range(300) for kind in kinds}
        assert all(last & {*phrasings(how, split)} and not last & {*phrasings(how, other)} for how in plain_ones)


def plain(task: str, split: str) -> set[str]:
    """The phrasings of a task in small letters and without what ends them."""
    return {(p if isinstance(p, str) else p[0]).lower().strip(" .?!") for p in phrasings(task, split)}


@pytest.mark.parametrize("task", TASKS)
def test_unseen_phrasings_are_not_seen(task):
    seen, unseen = plain(task, "seen"), plain(task, "unseen")
    assert seen and unseen and not seen & unseen
    assert len(seen) + len(unseen) == len(PROMPTS[task]), "every tenth is kept, and none stands twice"
    assert phrasings(task, "unseen") == PROMPTS[task][9::10]
    others = (other for other in TASKS if (other in FILLED) != (task in FILLED))
    assert not (seen | unseen) & {p for other in others for split in ("seen", "unseen") for p in plain(other, split)}


@pytest.mark.parametrize("task", TASKS)
def test_every_template_is_filled_and_no_brace_stays(task):
    rng, term = random.Random(0), "left bundle branch block"
    for template in PROMPTS[task]:
        template = template if isinstance(template, str) else template[0]
        slots = SLOTS.findall(template)
        assert len(slots) == len(set(slots)) or task == "denied", "no part is said twice"
        assert set(slots) <= ({"who", "what", "rate", "numbers", "other"} if task in FILLED else {"term"}), template
        assert ("other" in slots) == (task == "two")
        assert slots or task not in ("question", "meaning", "interpret_about")
        asked = FULL.named_by(template) if task in FILLED else None
        text = fill(template, asked, rng, term) if asked else template.format(term=term)
        assert text.strip() and not re.search("[{}]", text), text
        assert not set(slots) & {"term", "other"} or term in text.lower()


def test_the_parts_of_prompts_are_filled_and_no_brace_stays():
    asked = {"value": 10, "words": in_words(63), "age": 63, "mm": 2, "leads": "II", "lead": "II"}
    asked |= {"what": "flutter", "rate": "80 bpm", "name": "QT"}
    assert not any(re.search("[{}]", number(form, 120)) for key in ("rate", *MEASURES) for form in PROMPTS[key])
    keys = ("st_up", "st_down", "seconds", "lead", "noise", "start", "who", "finish", "follow")
    for key in keys:
        table = PROMPTS[key]
        for text in table if isinstance(table, list) else (one for several in table.values() for one in several):
            assert text.strip() and not re.search("[{}]", text.format(**asked)), (key, text)
    assert set(PROMPTS["impossible"]) == {"rate", "pr", "interval", "beat", "clash", "age"}


def test_a_filled_prompt_says_what_was_asked():
    rng = random.Random(1)
    for template in PROMPTS["generate"]:
        text, slots = fill(template, FULL.named_by(template), rng).lower(), SLOTS.findall(template)
        women = (w.format(age=63, words="sixty-three").lower() for w in PROMPTS["who"]["female"])
        assert "who" not in slots or any(w in text for w in women), text
        assert "what" not in slots or all(any(s.lower() in text for s in SYNONYMS[c]) for c in FULL.findings), text
        keys = ("rate", *MEASURES) if {"rate", "numbers"} & {*slots} else ()
        assert all(place(text, key, getattr(FULL, key)) >= 0 for key in keys), text


def test_all_of_a_request_is_worded():
    rng = random.Random(0)
    for request in tiny.corpus().requests[:100]:
        for split in ("seen", "unseen"):
            text = worded(request, rng, split)
            assert str(request.age) in text or in_words(request.age) in text.lower(), text
            assert place(text, "rate", request.rate) >= 0, text


def test_what_more_is_asked_for_is_said_behind_the_rest():
    rng = random.Random(0)
    request = Request(None, None, None, ("SR",), st=(("V1", 3), ("V2", 3), ("V3", 3)), noise=("mains",), seconds=15)
    for _ in range(50):
        text = fill("Draw {what}.", replace(request, lead="aVF", start="T"), rng)
        said = [re.search(pattern, text, re.I) for pattern in ("V1-V3", r"\b15|\b15s", "aVF")]
        assert all(said) and [m.start() for m in said] == sorted(m.start() for m in said), text
        assert any(phrase in text for phrase in PROMPTS["noise"]["mains"]), text
        assert any(phrase in text for phrase in PROMPTS["start"]["T"]), text
    down = {fill("Draw {what}.", Request(findings=("SR",), st=(("I", -2), ("aVL", -2))), rng) for _ in range(50)}
    assert all("2" in text and re.search("I(, | and )aVL", text) for text in down)


@pytest.mark.parametrize(
    ("number", "stated"),
    [
        (0, "zero"),
        (13, "thirteen"),
        (40, "forty"),
        (72, "seventy-two"),
        (100, "one hundred"),
        (187, "one hundred and eighty-seven"),
        (2000, "two thousand"),
        (12345, "twelve thousand three hundred and forty-five"),
        (-30, "minus thirty"),
    ],
)
def test_numbers_in_words(number, stated):
    assert in_words(number) == stated


def test_what_is_typed_keeps_digits_and_abbreviations():
    text = "Please make a 12-lead ECG of a 63yo woman with AFIB, LBBB and QTc 480 ms at 121 bpm (V1-V4), PR 210."
    many = [typed(text, random.Random(seed)) for seed in range(400)]
    assert many == [typed(text, random.Random(seed)) for seed in range(400)] and len(set(many)) > 150
    in_digits = [one for one in many if "480" in one]
    for one in in_digits:
        assert re.findall(r"\d+", one) == re.findall(r"\d+", text), one
        assert all(
            name in one.lower() for name in ("ecg", "63yo", "afib", "lbbb", "qtc 480 ms", "bpm (v1-v4)", "pr 210")
        )
    spoken = [one.lower() for one in many if "480" not in one]
    assert 0.09 < len(spoken) / 400 < 0.22
    for one in spoken:
        assert re.findall(r"\d+", one) == ["12", "63", "1", "4"], one
    assert sum("qtc four hundred" in one and "pr two hundred" in one for one in spoken) > len(spoken) / 3
    assert text in many and text.lower() in many and text.upper() in many, (
        "often as it is, in small letters, in capitals"
    )
    assert any("woman" not in one.lower() for one in many), "a slip of the finger"
    assert any(one.lower().startswith(tuple(b.lower() for b in PROMPTS["finish"]["before"])) for one in many), (
        "a greeting"
    )


def test_every_term_has_an_answer():
    pairs = dict(questions())
    assert len(pairs) == len(questions()), "no term is asked with two answers"
    assert set(NAMES.values()) <= set(pairs) and all(answer.endswith(".") for answer in pairs.values())


def test_common_words_are_named_with_source_and_licence():
    english = table("english")
    assert english["source"].startswith("WordNet 3.0") and re.search(r"wordnet-base \S+3\.0", english["package"])
    licence = (DATA.parent / english["licence"]).read_text(encoding="utf-8")
    assert "WordNet 3.0 Copyright 2006 by Princeton University.  All rights reserved." in licence
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert re.search(rf'^license-files = .*"{english["licence"]}"', project, re.M), "it travels with a build"


def test_every_common_word_has_a_plain_meaning_of_its_own():
    pairs = table("english")["words"]
    words, glosses = zip(*pairs)
    assert len(pairs) == len(set(words)) == len(set(glosses)) == 3000
    assert all(re.fullmatch("[a-z]{2,}", word) for word in words)
    assert all(re.fullmatch(r"[a-z0-9][ -~]{6,88}[^ .,;:]", gloss) and '"' not in gloss for gloss in glosses)
    about_ecgs = re.compile(r"\b(ecg|heart|cardia\w*|atri\w*|ventric\w*|pulse)\b")
    assert not [one for pair in pairs for one in pair if about_ecgs.search(one)]
    named = {name.lower() for names in SYNONYMS.values() for name in names} | {term for term, _ in questions()}
    asked = {name for task in TASKS for split in ("seen", "unseen") for name in plain(task, split)}
    assert not set(words) & (named | asked), "what is said alone has one answer"
    assert {"draw", "make", "show", "trace", "generate"} <= set(words), "verbs of wishes are words, too"


@pytest.mark.parametrize(("split", "other"), [("seen", "unseen"), ("unseen", "seen")])
def test_words_kept_for_scoring_are_asked_about_in_no_other_sample(split, other, monkeypatch):
    monkeypatch.setattr("uniecg_lite.language.conversations.typed", lambda text, rng: text)
    corpus, rng, answers = tiny.corpus(), random.Random(9), {a: word for word, a in phrasings("english", split)}
    assert len(answers) == {"seen": 2700, "unseen": 300}[split]
    assert not answers.keys() & {answer for _, answer in phrasings("english", other)}
    for _ in range(3000):
        prompt, answer = corpus.sample("meaning", 0, rng, split)
        assert prompt in [t.format(term=answers[answer]) for t in phrasings("meaning", split)], prompt
        assert answer[0] == answer[0].upper() and answer.endswith(".")


def test_a_word_in_twenty_five_conversations_is_a_common_one():
    rng, corpus = random.Random(0), tiny.corpus()
    kinds = [kind for kind, *_ in corpus.dialogue([0] * 5000, rng)]
    assert TEXT_MIX["meaning"] == 0.03 and 0.024 < kinds.count("meaning") / 5000 < 0.036
    unseen, texts = {answer for _, answer in phrasings("english", "unseen")}, corpus.sentences(rng, 3000)
    known = {answer for _, answer in phrasings("english", "seen")} & set(texts)
    assert not unseen & set(texts) and 70 < len(known) < 150, "the tokenizer sees them as often"


def test_conversations_are_the_same_for_the_same_seed():
    rows = list(range(60))
    first, again, other = (tiny.corpus().dialogue(rows, random.Random(seed)) for seed in (0, 0, 1))
    assert first == again != other


def test_an_ecg_is_never_interpreted_without_one():
    kinds = set()
    for kind, _, answer in tiny.corpus().dialogue(list(range(300)) * 2, random.Random(2)):
        assert answer not in tiny.corpus().reports or kind == "report", "one that is written for a request"
        assert (kind == "no_ecg") == (answer == NO_ECG)
        kinds.add(kind)
    assert kinds == set(TEXT_MIX)


def test_what_is_said_is_of_its_kind():
    corpus, rng, past = tiny.corpus(), random.Random(4), 0
    for row in range(300):
        said = {kind: corpus.sample(kind, row, rng) for kind in (*TEXT_MIX, *WISHES, "interpret", "follow")}
        for kind, (prompt, answer) in said.items():
            parts = (prompt,) if isinstance(prompt, str) else prompt
            assert not re.search("[{}]", "".join(parts) + answer), (kind, prompt)
            assert len(parts) == 3 if kind in ("remake", "follow") else len(parts) == 1 or kind == "wish", kind
        for kind in ("wish", "restate", *WISHES):
            prompt, answer = said[kind]
            assert Request.parse(answer).text() == answer, answer
            if not isinstance(prompt, str):
                before, past = Request.parse(prompt[1]), past + 1
                assert prompt[1] == WANTED + before.text()
        assert said["interpret"][1] == said["follow"][0][1] == corpus.reports[row]
        assert said["impossible"][1] in PROMPTS["impossible"].values()
    assert past > 300, "some wishes are changed by what is said next"


def test_what_is_asked_about_a_report_is_answered_from_it():
    corpus, rng, numbers, reasons = tiny.corpus(), random.Random(5), {}, 0
    for row in [*range(300)] * 3:
        (_, text, asked), answer = corpus.sample("follow", row, rng)
        reason = re.search(r"Evidence: .* (?=Conclusion:)", text)
        if answer.startswith("Evidence: "):
            assert answer == (reason[0].strip() if reason else f"Evidence: {EVIDENCE['SR']}."), asked
            reasons += 1
        elif answer.split(" in ")[0] in ("Q waves", "ST elevation", "ST depression", "T inverted", "T tall"):
            assert all(f"{part.strip('. ')}." in text for part in re.findall(r"[^.]+\.", answer))
        else:
            title, value = answer.rstrip(".").rsplit(" ", 1)
            numbers[title] = numbers.get(title, 0) + 1
            assert value in re.split(r"[ ,.]+", text), answer
    assert set(numbers) == {"Heart rate", "PR interval", "QRS duration", "QT", "QTc interval", "Axis"} and reasons > 200


def test_a_form_holds_all_of_a_request_blank_by_blank():
    whole = Request(63, "female", 120, ("AFIB", "CLBBB", "LVH"), qrs=150, axis=-30, noise=("muscle",), lead="II")
    told = dict(zip(FORM, whole.filled(), strict=True))
    assert {name: told[name] for name in ("Age", "Sex", "Rate", "QRS", "Axis", "PR")} == {
        "Age": "63",
        "Sex": "female",
        "Rate": "120",
        "QRS": "150",
        "Axis": "-30",
        "PR": "unknown",
    }
    assert told["rhythm"] == "atrial fibrillation" and told["chambers"] == "left ventricular hypertrophy"
    assert told["Else"] == "Noise muscle. Lead II." and set(Request().filled()) == {"unknown"}
    for request in tiny.corpus().requests:
        words = ", ".join(request.filled())
        assert all(NAMES[code] in words for code in request.findings)


def test_capitals_are_left_to_the_leads():
    assert uncased("LBBB in V1-V3 and aVL, HR 120") == "lbbb in V1-V3 and aVL, hr 120"
    assert uncased("t inverted in v5, AVF") == "t inverted in V5, aVF" and uncased("PAVE V10") == "pave v10"


def test_every_synonym_is_among_what_the_tokenizer_learns_from():
    drawn = set(tiny.corpus().sentences(random.Random(0), 30))
    assert {uncased(name) for names in SYNONYMS.values() for name in names} <= drawn


# --- tokenizer


def test_what_is_encoded_comes_back(words):
    rng = random.Random(3)
    texts = [*TEXTS, *tiny.corpus().reports, *map(PLAIN_TEMPLATE.format, phrasings("interpret", "unseen"))]
    for _, prompt, answer in tiny.corpus().dialogue(list(range(200)), rng):
        texts += [prompt, answer] if isinstance(prompt, str) else [*prompt, answer]
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


@pytest.mark.parametrize(
    ("text", "apart"),
    [
        ("HR120", "HR 120"),
        ("62F, PR200ms", "62 F, PR 200 ms"),
        ("V1-V4", "V1-V4"),
        ("ST up in v2v3", "ST up in v2 v3"),
        ("axis=-30", "axis=-30"),
        ("rate:72", "rate: 72"),
        ("a 63-year-old, 0.16 s, 2,5 mm, 60/min", "a 63-year-old, 0.16 s, 2,5 mm, 60/min"),
        ("rate 72", "rate 72"),
        ("", ""),
    ],
)
def test_numbers_stand_apart_from_letters(words, text, apart):
    assert spaced(text) == apart and spaced(apart) == apart


def test_a_glued_number_is_the_same_token(words):
    [number] = encode(words, " 121")
    assert number not in encode(words, "HR121") and number in encode(words, spaced("HR121"))


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
