"""One family of exceptions: each message is one clear sentence on what is wrong and what to do about it."""


class UniECGError(Exception):
    """Anything UniECG-lite refuses to do; the command line prints the message without a traceback."""


class BadECG(UniECGError):
    """A recording, page or lead set that cannot be used as a 12-lead ECG."""


class BadArtifact(UniECGError):
    """A missing, stale or damaged artifact of an earlier notebook."""


class BadRequest(UniECGError):
    """A prompt, option or argument that cannot be honoured."""


def require(fine, sentence: str, error: type[UniECGError] = BadECG) -> None:
    """Raise `error` with this sentence unless `fine`."""
    if not fine:
        raise error(sentence)
