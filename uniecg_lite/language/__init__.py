"""What is said? Findings, reports, requests, prompts, and the tokenizer that turns them into numbers."""

from .findings import CODES, CRITERIA, NAMES, RANGES
from .prompts import NO_ECG, Request, fill, phrasings, questions
from .reports import Reading, parse_report, readings, report
from .tokenizer import chat, train_tokenizer

__all__ = ["CODES", "CRITERIA", "NAMES", "NO_ECG", "RANGES", "Reading", "Request", "chat", "fill", "parse_report",
           "phrasings", "questions", "readings", "report", "train_tokenizer"]
