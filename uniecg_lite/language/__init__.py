"""What is said and asked: tokenizer, requests, questions, conversations, and the parser of free text."""
