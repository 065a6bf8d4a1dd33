"""How do people say it? A request in the words of a template, numbers in words, and what fingers make of it."""

import random
import re

from ..leads import CHEST
from .requests import MEASURES, PROMPTS, SYNONYMS, Request, phrasings

ONES, TENS = PROMPTS["ones"], PROMPTS["tens"]  # numbers in words
USUAL = 6  # names of a finding, a person or a number that come first since most people say these


def usual(names: list[str], rng: random.Random) -> str:
    """One of these wordings, half of the time one of the first."""
    return rng.choice(names[:USUAL] if rng.random() < 0.5 else names)


def _more(request: Request, rng: random.Random) -> list[str]:
    """How people say what `Request.with_more` adds."""
    out = [rng.choice(PROMPTS["noise"][kind]) for kind in request.noise]
    if request.st:
        names, height = [lead for lead, _ in request.st], request.st[0][1]
        row = names[0] in CHEST and len(names) > 2  # V1-V3
        leads = "-".join((names[0], names[-1])) if row else rng.choice((", ", " and ")).join(names)
        out.append(rng.choice(PROMPTS["st_up" if height > 0 else "st_down"]).format(mm=abs(height), leads=leads))
    if request.seconds:
        out.append(rng.choice(PROMPTS["seconds"]).format(value=request.seconds))
    if request.lead:
        out.append(rng.choice(PROMPTS["lead"]).format(lead=request.lead))
    return out + ([rng.choice(PROMPTS["start"][request.start])] if request.start else [])


def in_words(n: int) -> str:
    """A whole number under a million in words."""
    if n < 0:
        return f"minus {in_words(-n)}"
    if n >= 1000:
        return f"{in_words(n // 1000)} thousand" + (f" {in_words(n % 1000)}" if n % 1000 else "")
    if n < 100:
        return ONES[n] if n < 20 else TENS[n // 10 - 2] + (f"-{ONES[n % 10]}" if n % 10 else "")
    return f"{ONES[n // 100]} hundred" + (f" and {in_words(n % 100)}" if n % 100 else "")


def number(form: str, value: int) -> str:
    """A number in a form of the table: digits, words, seconds, squares; a rate as the time of a beat or in Hz."""
    seconds, beat = f"{value / 1000:.{3 if value % 10 else 2}f}", 60 / max(1, value)
    return form.format(
        value=value,
        words=in_words(value),
        seconds=f"{value / 1000:g}",
        bare=seconds.lstrip("0"),
        point=" ".join(["point", *(ONES[int(digit)] for digit in seconds.split(".")[1])]),
        squares=f"{value / 40:g}",
        hundredths=f"{value / 10:g}",
        boxes=f"{5 * beat:.2g}",
        rr=f"{beat:.2f}",
        rr_ms=round(beat * 100) * 10,
        hz=f"{value / 60:.3g}",
    )


def _jotted(pieces: list[str], other: str, rng: random.Random) -> str:
    """The parts of a request in any order, as people jot them down, at times with an aside that is no part of it."""
    if rng.random() < 0.25:
        large, middle, small = (rng.randrange(*ends) for ends in ((80, 220), (40, 99), (2, 30)))
        aside = rng.choice(PROMPTS["aside"])
        pieces = [*pieces, aside.format(n=large, m=middle, k=small, tenths=large / 20, other=other)]
    separator = rng.choice((", ", ", ", ", ", " ", " ", " - ", "; ", " / ", ". ", " | ", " + ", ","))
    return separator.join(rng.sample(pieces, len(pieces)))


def fill(template: str, request: Request, rng: random.Random, other: str = "") -> str:
    """Say a request in the words of a template, with one of the wordings of each part.

    Args:
        template: slots {who}, {what}, {rate}, {numbers}, {other} and {parts} (all of it), as far as it has them.
        request: what `Request.named_by` left of it.
        rng: the only source of chance.
        other: a second finding, of another ECG.
    """
    age, sex = request.age, request.sex
    known = (sex or "age_only") if age is not None else f"{sex}_only" if sex else "nobody"
    person = usual(PROMPTS["who"][known], rng).format(age=age, words=in_words(age or 0))
    values = {key: value for key in ("rate", *MEASURES) if (value := getattr(request, key)) is not None}
    forms = {key: number(usual(PROMPTS[key], rng), value) for key, value in values.items()}
    both = "{rate}" in template and "{numbers}" in template
    *first, last = names = [usual(SYNONYMS[code], rng) for code in request.findings] or [""]
    pieces = [*names * bool(request.findings), *[person] * (known != "nobody"), *forms.values()]
    rate = [forms.pop("rate")] if "rate" in forms else []
    slots = {
        "parts": _jotted(pieces, other, rng) if "{parts}" in template else "",
        "who": person,
        "what": rng.choice((" and ", " with ", ", ", " + ")).join([", ".join(first)] * bool(first) + [last]),
        "rate": ", ".join(rate if both else [*rate, *forms.values()]),
        "numbers": ", ".join(forms.values() if both else [*rate, *forms.values()]),
        "other": other,
    }
    text = template.format(**slots)
    for phrase in _more(request, rng):
        text = text.rstrip(" .!?") + rng.choice((", ", " ")) + phrase
    return text[0].upper() + text[1:]


def worded(request: Request, rng: random.Random, split: str = "unseen") -> str:
    """One way to ask for all of a request; in parts, where it has no finding, as of a real record."""
    fitting = [t for t in phrasings("generate", split) if request.named_by(t) == request]
    return fill(rng.choice(fitting or phrasings("parts", split)), request, rng)


def typed(text: str, rng: random.Random) -> str:
    """The same as people type it: greetings, numbers in words, small letters, no full stop, slips of the finger."""
    before, after = PROMPTS["finish"]["before"], PROMPTS["finish"]["after"]
    text = f"{rng.choice(before)} {text}" if rng.random() < 0.08 else text
    text = f"{text} {rng.choice(after)}" if rng.random() < 0.08 else text
    if rng.random() < 0.15:
        text = re.sub(r"(?<=[ ,(])\d{1,3}(?=[ ,.)]|$)", lambda digits: in_words(int(digits[0])), text)
    for pattern, shorter, share in PROMPTS["spoken"]:
        text = re.sub(pattern, shorter, text, flags=re.I) if rng.random() < share else text
    for _ in range(rng.choice((0, 0, 0, 0, 0, 0, 1, 1, 2))):
        words = [found.span() for found in re.finditer(r"[a-z]{4,}", text)]  # numbers and abbreviations stay
        if words:
            start, end = rng.choice(words)
            text = text[:start] + _slip(text[start:end], rng) + text[end:]
    text = text.rstrip(" .!" + "?" * (len(text.split()) > 3)) if rng.random() < 0.3 else text  # "flutter?" asks
    case = rng.random()
    return text.lower() if case < 0.35 else text.upper() if case < 0.38 else text


def _slip(word: str, rng: random.Random) -> str:
    """One letter doubled, left out, swapped with the next, or another in its place."""
    at = rng.randrange(1, len(word) - 1)
    first, here, following, rest = word[:at], word[at], word[at + 1], word[at + 2 :]
    other = rng.choice("abcdefghiklmnoprstuw")
    return first + rng.choice((2 * here + following, following, following + here, other + following)) + rest
