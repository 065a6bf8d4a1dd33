"""One family of exceptions: each message is one clear sentence on what is wrong and what to do about it."""

from collections.abc import Iterator
from contextlib import contextmanager


class UniECGError(Exception):
    """Anything UniECG-lite refuses to do; the command line prints the message without a traceback."""


class BadECG(UniECGError):
    """A recording, page or lead set that cannot be used as a 12-lead ECG."""


class BadArtifact(UniECGError):
    """A missing, stale or damaged artifact of an earlier notebook."""


class BadRequest(UniECGError):
    """A prompt, option or argument that cannot be honoured."""


@contextmanager
def refused(
    sentence: str, error: type[UniECGError] = BadECG, kinds: type[Exception] | tuple = Exception
) -> Iterator[None]:
    """Raise `error` with this sentence where the block fails (`{reason}` in it becomes why); a UniECGError passes."""
    try:
        yield
    except UniECGError:
        raise
    except kinds as reason:
        raise error(sentence.replace("{reason}", str(reason))) from reason


def require(fine, sentence: str, error: type[Exception] = BadECG) -> None:
    """Raise `error` with this sentence unless `fine`."""
    if not fine:
        raise error(sentence)
