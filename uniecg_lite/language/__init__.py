"""What is said? Findings, reports, requests, prompts, and the tokenizer that turns them into numbers."""

from .corpus import Corpus
from .findings import CODES, CRITERIA, EVIDENCE, NAMES, RANGES, RHYTHMS
from .prompts import NO_ECG, Request, fill, phrasings, questions
from .reports import Reading, readings, report
from .statements import parse_report
from .tokenizer import chat, encode, train_tokenizer

__all__ = [
    "CODES",
    "CRITERIA",
    "Corpus",
    "EVIDENCE",
    "NAMES",
    "NO_ECG",
    "RANGES",
    "RHYTHMS",
    "Reading",
    "Request",
    "chat",
    "encode",
    "fill",
    "parse_report",
    "phrasings",
    "questions",
    "readings",
    "report",
    "train_tokenizer",
]
