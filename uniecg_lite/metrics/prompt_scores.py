"""Does the model do what people ask for in their own words? Prompts from a file, scored kind by kind.

A file holds JSON lines, such as `data/test_prompts.jsonl`, which was frozen before anything learned from it:
`{"prompt": "afib 140, old man", "kind": "fragment", "does": ["make"], "findings": ["AFIB"], "numbers":
{"rate_bpm": 140}, "sex": "male", "attached": false}`.
"""

from math import nan
from pathlib import Path
from typing import Literal

import pandas as pd
import torch
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator
from scipy.stats import binomtest

from ..errors import BadRequest, refused, require
from ..findings import CODES, NAMES
from ..language.requests import Request
from ..paths import DATA
from ..simulator.simulate import simulate
from .chain import views_of

DOES = {"make": True, "ecg": True, "generate": True, "read": False, "answer": False, "decline": False, "text": False}
FIELDS = {"rate_bpm": "rate", "pr_ms": "pr", "qrs_ms": "qrs", "qt_ms": "qt", "axis_deg": "axis"}  # of a request
NEAR = {"rate": 2, "age": 2, "pr": 10, "qrs": 10, "qt": 10, "axis": 10}  # a number within this is the one asked for
ATTACHED = 2026  # seed of the simulated ECG that goes with prompts that have one attached
COLUMNS = ["prompt", "kind", "wanted", "generated", "right", "asked", "added", "understood"]
CODE_OF = {name.lower(): code for code in CODES for name in (code, NAMES[code])}


class Prompt(BaseModel):
    """One line of a file: words, and what is right. `does`: one or more of `DOES`, any of them is right; findings (by
    code or name), numbers (rate_bpm, pr_ms, qrs_ms, qt_ms, axis_deg, age) and sex are of a wished ECG."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    prompt: str
    does: tuple[str, ...]
    kind: str = "all"
    attached: bool = False
    findings: tuple[str, ...] = ()
    numbers: dict[str, float] = {}
    sex: Literal["female", "male"] | None = None

    @field_validator("does", mode="before")
    @classmethod
    def _known(cls, value) -> tuple[str, ...]:
        names = [value] if isinstance(value, str) else value
        fine = isinstance(names, list | tuple) and names and all(name in [*DOES] for name in names)
        require(fine, f"'does' is one or more of {', '.join(DOES)}", ValueError)
        return tuple(names)

    @field_validator("findings")
    @classmethod
    def _codes(cls, value) -> tuple[str, ...]:
        unknown = [name for name in value if name.lower() not in CODE_OF]
        require(not unknown, f"no finding is called {', '.join(unknown)}", ValueError)
        return tuple(CODE_OF[name.lower()] for name in value)

    @field_validator("prompt")
    @classmethod
    def _words(cls, value) -> str:
        require(value.strip(), "it has no words", ValueError)
        return value

    @field_validator("numbers")
    @classmethod
    def _numbers(cls, value) -> dict[str, float]:
        unknown = [name for name in value if FIELDS.get(name, name) not in NEAR]
        require(not unknown, f"no number is called {', '.join(unknown)}", ValueError)
        return value

    @property
    def makes(self) -> set[bool]:
        """Whether an ECG is right, words, or both."""
        return {DOES[name] for name in self.does}

    @property
    def wanted(self) -> dict:
        """What a request for it must say: its fields, as far as they are named."""
        numbers = {FIELDS.get(name, name): round(value) for name, value in self.numbers.items()}
        return numbers | ({"sex": self.sex} if self.sex else {})


def load_prompts(path: str | Path) -> list[Prompt]:
    """The prompts of a file of JSON lines.

    Raises:
        BadRequest: no such file, no prompt in it, or a line that is none; the message says which.
    """
    sentence = f"The prompts in {path} cannot be read ({{reason}}): give a file of JSON lines."
    with refused(sentence, BadRequest, (OSError, UnicodeDecodeError)):
        lines = Path(path).read_text(encoding="utf-8").split("\n")
    out = []
    for number, line in enumerate(lines, 1):
        try:
            out += [Prompt.model_validate_json(line)] if line.strip() else []
        except ValidationError as reason:
            first = reason.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the line"
            why = first["msg"].removeprefix("Value error, ")
            raise BadRequest(f"Line {number} of {path} is no prompt: {where}: {why}.") from reason
    require(out, f"There is no prompt in {path}: give JSON lines with `prompt` and `does`.", BadRequest)
    return out


def is_asked(prompt: Prompt, request: Request) -> bool:
    """Whether a request holds all that a prompt names: findings, sex, and numbers within `NEAR`."""
    pairs = [(name, getattr(request, name), value) for name, value in prompt.wanted.items()]
    near = (a == b if name == "sex" else a is not None and abs(a - b) <= NEAR[name] for name, a, b in pairs)
    return set(prompt.findings) <= set(request.findings) and all(near)


def prompt_scores(model, prompts: list[Prompt]) -> pd.DataFrame:
    """What the model does with each prompt.

    Args:
        model: a `UniECG` after stage 2; one without a mapper is asked for its decisions alone.
        prompts: of `load_prompts`; those with an ECG attached get a simulated one.

    Returns:
        a row for each, `COLUMNS`: wanted is an ECG, None where both are right; asked, whether all that it names is
        asked of the generator, and added, whether more findings are; None where that is not the question.
    """
    require(model.ecg_ids, "This model cannot decide yet: run notebook 07.", BadRequest)
    rows = []
    for attached in (False, True):
        some = [one for one in prompts if one.attached == attached]
        shown = simulate(ATTACHED, torch.arange(len(some))).signal if attached and some else None
        views = (None, None) if shown is None else views_of(model, shown)
        generated = [model.ecg_ids[0] in ids for ids in model.write([one.prompt for one in some], *views)]
        met = [one.prompt for one, was in zip(some, generated) if was]
        views = (None if view is None else view[torch.tensor(generated)] for view in views)  # those before them
        read = model.generator.condition.requests(model.conditions(met, *views)) if met and model.mapper else []
        requests = iter([*read, *[None] * len(met)])
        for one, was in zip(some, generated):
            request = next(requests) if was else None
            was = was and not (request and request.refusal)
            wanted = None if len(one.makes) == 2 else True in one.makes
            judged = (None, None)
            if was and request and wanted:
                judged = is_asked(one, request), bool(set(request.findings) - set(one.findings))
            rows.append((one.prompt, one.kind, wanted, was, was in one.makes, *judged, request))
    return pd.DataFrame(rows, columns=COLUMNS)


def by_kind(scores: pd.DataFrame) -> pd.DataFrame:
    """`prompt_scores`, summed: kind -> n, right, share, low, high (Wilson, 95 %), wishes that were met, and asked."""
    every = pd.concat([scores[scores.kind != "all"], scores.assign(kind="all")]).groupby("kind", sort=False)
    out = every["right"].agg(n="size", right="sum")
    ends = [binomtest(int(k), int(n)).proportion_ci(method="wilson") for n, k in out.itertuples(index=False)]
    out["share"], out["low"], out["high"] = out.right / out.n, [end.low for end in ends], [end.high for end in ends]
    return out.assign(requests=every["asked"].count(), asked=every["asked"].sum().astype(int))


def prompt_metrics(model, prompts: list[Prompt] | None = None) -> dict[str, float]:
    """`prompts.*` of the frozen prompts: accuracy with its interval, both ways to be wrong, and of the wishes that are
    met the share whose findings and numbers are all `asked` of the generator, and the share with findings `added`.

    `prompts.asked_ceiling` is `asked` where the condition encoder reads the truth in canonical words: the vectors that
    the mapper aims at.
    """
    prompts = prompts or load_prompts(DATA / "test_prompts.jsonl")
    scores, wanted = prompt_scores(model, prompts), [one for one in prompts if one.makes == {True}]
    summed, condition = by_kind(scores), model.generator.condition
    truth = [Request(findings=one.findings, **one.wanted) for one in wanted]
    read, every = condition.requests(condition([request.text() for request in truth])), summed.loc["all"]
    return {
        "prompts.accuracy": every.share,
        "prompts.accuracy_low": every.low,
        "prompts.accuracy_high": every.high,
        "prompts.count": every.n,
        "prompts.false_generate": float(scores[scores.wanted.eq(False)].generated.mean()),
        "prompts.false_interpret": float(1 - scores[scores.wanted.eq(True)].generated.mean()),
        "prompts.asked": every.asked / every.requests if every.requests else nan,
        "prompts.asked_ceiling": sum(map(is_asked, wanted, read)) / max(1, len(wanted)),
        "prompts.added": float(scores.added.dropna().astype(float).mean()),
        **{f"prompts.{kind}": share for kind, share in summed.share.items() if kind != "all"},
    }
