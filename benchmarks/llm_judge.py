"""A language model as judge, as in the papers, and a general chat model as a rival. Both are optional.

Any server that speaks the OpenAI chat protocol will do, also one on this machine. Set `UNIECG_JUDGE_URL` (such as
http://localhost:8000/v1), `UNIECG_JUDGE_MODEL` and, if the server asks for one, `UNIECG_JUDGE_KEY`. `grounded` gives
the same nine scores by rule. Unlike the published scripts: the answer follows a JSON schema, the temperature is 0, and
a failure is a counted 0 instead of a record left out.
"""

import base64
import json
import os
import time
from dataclasses import dataclass, field

import httpx
from pydantic import BaseModel, ConfigDict, Field, create_model

from uniecg_lite.errors import BadRequest, UniECGError
from uniecg_lite.findings import table
from uniecg_lite.metrics.grounded import ANCHORED, SCORES

CRITERIA = table("judge")["criteria"]
AGAIN = (408, 429, 500, 502, 503, 504)  # HTTP statuses after which another try may help
CONFIGURATION = (401, 403, 404, 405)  # and those that no other text would change
CLOSED = ConfigDict(json_schema_extra={"additionalProperties": False})


class NoAnswer(UniECGError):
    """The chat server gave no usable answer."""


class Points(BaseModel):
    """One criterion: points from 0 to 100, and why."""

    model_config = CLOSED
    points: float = Field(ge=0, le=100, allow_inf_nan=False)
    reason: str


Answer = create_model("Answer", __config__=CLOSED, **dict.fromkeys(SCORES, (Points, ...)))
SCHEMA = Answer.model_json_schema()


@dataclass(frozen=True)
class Verdict:
    """One judged text: points from 0 to 100, all 0 if there was a failure."""

    scores: dict[str, float] = field(default_factory=lambda: dict.fromkeys(SCORES, 0.0))
    reasons: dict[str, str] = field(default_factory=dict)
    failure: str = ""


@dataclass(frozen=True)
class ChatModel:
    """A chat model behind an OpenAI-compatible address (up to and with /v1); it answers at temperature 0."""

    url: str
    model: str
    key: str = field(default="", repr=False)
    timeout_s: float = 120.0
    tries: int = 4
    wait_s: float = 2.0  # before the second try; it doubles with each further one, up to a minute

    @classmethod
    def from_env(cls) -> "ChatModel":
        """The model that the environment names. Raises BadRequest when it names none, or no http address."""
        url, model, key = (os.environ.get(f"UNIECG_JUDGE_{name}", "").strip() for name in ("URL", "MODEL", "KEY"))
        if not url or not model:
            missing = "UNIECG_JUDGE_MODEL" if url else "UNIECG_JUDGE_URL"
            raise BadRequest(f"No chat model to ask: set {missing}, or use `grounded`, which needs none.")
        if not url.startswith(("http://", "https://")):
            raise BadRequest("UNIECG_JUDGE_URL must begin with http:// or https://, such as http://localhost:8000/v1.")
        return cls(url, model, key)

    def ask(self, messages: list[dict], schema: dict | None = None) -> str:
        """The answer to messages of the chat protocol, following a JSON schema if there is one.

        Raises:
            BadRequest: the server refuses the key, the address or the model.
            NoAnswer: no answer after all tries, or one without text.
        """
        body = {"model": self.model, "messages": messages, "temperature": 0}
        if schema:
            json_schema = {"name": "scores", "strict": True, "schema": schema}
            body["response_format"] = {"type": "json_schema", "json_schema": json_schema}
        try:
            text = self._post(body).json()["choices"][0]["message"]["content"]
        except (ValueError, LookupError, TypeError) as error:
            raise NoAnswer(f"The chat server's answer is not in the chat protocol ({type(error).__name__}).") from error
        if not isinstance(text, str) or not text.strip():
            raise NoAnswer("The chat model answered without a word.")
        return text

    def _post(self, body: dict) -> httpx.Response:
        """Send, and try again where that may help; a key is sent to the address that was named and to no other."""
        address = self.url.rstrip("/").removesuffix("/chat/completions") + "/chat/completions"
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        trouble = "it was never asked"
        for turn in range(self.tries):
            time.sleep(min(60.0, self.wait_s * 2 ** (turn - 1)) if turn else 0)
            try:
                answer = httpx.post(address, json=body, headers=headers, timeout=self.timeout_s)
            except httpx.HTTPError as error:  # no connection, or no answer in time
                trouble = str(error) or type(error).__name__
                continue
            if answer.is_success:
                return answer
            trouble = f"HTTP {answer.status_code}"
            if answer.status_code in CONFIGURATION:
                raise BadRequest(f"The chat server refuses ({trouble}): check address, model and key.")
            if answer.status_code not in AGAIN:
                break
        raise NoAnswer(f"The chat server gave no answer ({trouble}).")

    def verdict(self, text: str, reference: str) -> Verdict:
        """Judge one text beside a true report; a failure is a verdict of zeros that says why. Raises BadRequest."""
        task = table("judge")["task"] + "\n".join(f"- {name}: {CRITERIA[name]}" for name in SCORES)
        both = json.dumps({"reference report": reference, "report to judge": text}, ensure_ascii=False)
        messages = [{"role": "system", "content": task}, {"role": "user", "content": both}]
        try:
            found = Answer.model_validate_json(self.ask(messages, SCHEMA)).model_dump()
        except NoAnswer as error:
            return Verdict(failure=str(error))
        except ValueError as error:
            return Verdict(failure=f"The judge's answer does not follow the schema ({type(error).__name__}).")
        return Verdict(*({name: found[name][part] for name in SCORES} for part in ("points", "reason")))


def judged(texts: list[str], references: list[str], model: ChatModel | None = None) -> dict[str, float]:
    """The mean of every score over texts beside their true reports, their `Average` as in `grounded`, and `Failures`:
    how often no verdict came. The judge is by default the one that the environment names.

    Raises:
        BadRequest: no judge is set, it refuses, or there is another number of texts than of references, or none.
    """
    if len(texts) != len(references) or not texts:
        raise BadRequest(f"{len(texts)} texts for {len(references)} references: give one text for each, at least one.")
    model = model or ChatModel.from_env()
    verdicts = [model.verdict(text, reference) for text, reference in zip(texts, references)]
    means = {name: sum(one.scores[name] for one in verdicts) / len(verdicts) for name in SCORES}
    average = sum(means[name] for name in ANCHORED) / len(ANCHORED)
    return means | {"Average": average, "Failures": sum(bool(one.failure) for one in verdicts)}


def chat_report(image_png: bytes, prompt: str, model: ChatModel | None = None) -> str:
    """What a general chat model, by default that of the environment, writes about an image of an ECG.

    Raises:
        BadRequest: the image is no PNG, or the server refuses the key, the address or the model.
        NoAnswer: no answer came; score it as an empty text.
    """
    if not image_png.startswith(b"\x89PNG\r\n\x1a\n"):
        raise BadRequest("A chat model is shown PNG images: save the page as PNG first.")
    image = "data:image/png;base64," + base64.b64encode(image_png).decode()
    content = [{"type": "text", "text": prompt}, {"type": "image_url", "image_url": {"url": image}}]
    return (model or ChatModel.from_env()).ask([{"role": "user", "content": content}])
