"""How good is it? Scores of reports against the truth, and of signals by measurement and by an independent reader."""
