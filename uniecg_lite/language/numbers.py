"""The numbers of a walk along a text: which one is it, and in which unit?"""

import math

from .findings import RHYTHMS


class Numbers:
    """What `walk.Walk` does with the names of numbers, numbers and units; it has the items and the place."""

    def _key(self, keys) -> None:
        taken = self.taken == self.at
        self.keys = [] if taken else [*self.keys, *keys] if self._kind(-1) == "slash" else list(keys)
        self.subject, self.state, self.named = "other", "", keys[-1]

    def _unit(self, unit: str) -> None:
        if unit == "s" and self._kind(-1) != "number":
            self._subject("other")  # the S wave

    def _unmeasured(self, key) -> None:
        key = key or (self.keys.pop(0) if self.keys else None)
        if key:
            self.numbers.setdefault(key, []).append(math.nan)

    def _number(self, value: float) -> None:
        unit = self.items[self.at + 1][1] if self._kind(1) == "unit" else ""
        ranged = "dash" in (self._kind(-1), self._kind(1)) and "number" in (self._kind(-2), self._kind(2))
        if self._kind(-1) == "bound" or ranged:
            self.keys = self.keys[1:]
        elif unit != "other":
            key = self._key_of(unit)
            value = _scaled(value, unit, key)
            if value is not None:
                self.numbers.setdefault(key, []).append(value)

    def _key_of(self, unit: str) -> str | None:
        """Which number is this? Its unit tells, or the name before it, or the name right after it."""
        by_unit = {"bpm": "rate_bpm", "degree": "axis_deg"}.get(unit)
        if by_unit:
            self.keys = [key for key in self.keys if key != by_unit]
            return by_unit
        if self.keys:
            return self.keys.pop(0)
        if unit and self._kind(2) == "key":
            self.taken = self.at + 2
            return self.items[self.taken][1][0]
        rhythm = any(code in RHYTHMS for claim in self.claims[self.segment :] for code in claim.codes)
        return "rate_bpm" if self._kind(-1) == "at" and rhythm else None


def _scaled(value: float, unit: str, key: str | None) -> float | None:
    """A number in ms, bpm or degrees; None if it is no such number."""
    if key is None or (unit and not key.endswith("_ms") and unit in ("ms", "s")):
        return None
    if unit == "s" or (key.endswith("_ms") and not unit and value < 3):
        return round(1000 * value, 3)
    return None if key.endswith("_ms") and not unit and value < 20 else value
