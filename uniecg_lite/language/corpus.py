"""Text to learn language from: prompts and answers drawn from the facts of training patients. No ECG is needed here."""

import random

import torch

from .findings import CODES
from .prompts import NO_ECG, Request, fill, phrasings, questions
from .reports import readings, report

WANTED = "Wanted: "  # how a language model without [ECG] tokens begins its answer to a wish for an ECG
TEXT_MIX = {"generate": 0.35, "restate": 0.2, "report": 0.2, "question": 0.15, "no_ecg": 0.1}


class Corpus:
    """Readings and requests of a cohort, and conversations about them."""

    def __init__(self, truth: dict[str, torch.Tensor]):
        self.readings = readings(truth)
        self.requests = [
            Request(
                int(age), "female" if female else "male", round(r.rate_bpm), tuple(c for c in CODES if c in r.findings)
            )
            for age, female, r in zip(truth["age"].tolist(), truth["female"].tolist(), self.readings)
        ]
        self.reports = [report(r) for r in self.readings]
        self.terms = questions()

    def say(self, kind: str, row: int, rng: random.Random, split: str = "seen") -> tuple[str, str]:
        """One (prompt, answer) about a row.

        kind: `interpret` (answer: the report), `generate` and `restate` (answer: the request in canonical words),
        `report` (a report that would fit a request), `question` (a definition), `no_ecg` (nothing was attached).
        """
        if kind in ("interpret", "no_ecg"):
            return rng.choice(phrasings("interpret", split)), self.reports[row] if kind == "interpret" else NO_ECG
        if kind == "question":
            term, answer = rng.choice(self.terms)
            return rng.choice(phrasings("question", split)).format(term=term), answer
        request = self.requests[row].thinned(rng)
        if kind == "report":
            return fill("Write the report of {who} with {what}, {rate}.", request, rng), self.reports[row]
        return fill(rng.choice(phrasings(kind, split)), request, rng), request.text()

    def kinds(self, n: int, rng: random.Random, mix: dict[str, float] = TEXT_MIX) -> list[str]:
        """n kinds of conversation drawn from a mix."""
        return rng.choices(list(mix), list(mix.values()), k=n)

    def talk(self, rows: list[int], rng: random.Random, mix: dict[str, float] = TEXT_MIX) -> list[tuple[str, str]]:
        """One conversation per row, of kinds drawn from a mix."""
        return [self.say(kind, row, rng) for kind, row in zip(self.kinds(len(rows), rng, mix), rows)]

    def sentences(self, rng: random.Random, n: int = 3000) -> list[str]:
        """Texts that show every word of the chain, for the tokenizer."""
        rows = [rng.randrange(len(self.reports)) for _ in range(n)]
        pairs = self.talk(rows, rng)
        fixed = [t.format(term=a) for a, _ in self.terms for t in phrasings("question", "seen")]
        return (
            [part for pair in pairs for part in pair]
            + [WANTED] * 10
            + fixed
            + phrasings("interpret", "seen")
            + self.reports[:n]
        )
