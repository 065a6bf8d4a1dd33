"""The findings table and the normal ranges, read once from `data/`."""

import json

from ..paths import DATA


def table(name: str):
    """The JSON table `data/<name>.json`."""
    return json.loads((DATA / f"{name}.json").read_text(encoding="utf-8"))


FINDINGS = table("findings")
CODES = tuple(row["code"] for row in FINDINGS)
NAMES = {row["code"]: row["name"] for row in FINDINGS}
CRITERIA = {row["code"]: row["criteria"] for row in FINDINGS}
EVIDENCE = {row["code"]: row["evidence"] for row in FINDINGS}  # one short phrase each, in the house style
RHYTHMS = tuple(row["code"] for row in FINDINGS if row["group"] == "rhythm")  # a record has exactly one
SINUS = ("SR", "SBRAD", "STACH", "SARRH")  # the rhythms that need no evidence
RANGES = table("normal_ranges")
