"""Exercises and their checks, time budgets, the chain runner and the results table."""

from .exercises import check
from .lesson import Lesson, say, shape

__all__ = ["Lesson", "check", "say", "shape"]
