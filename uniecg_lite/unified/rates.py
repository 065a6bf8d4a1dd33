"""The number after "Rate": one word among many of a report, so it counts more, and nearly right is not wrong."""

import torch
from transformers import PreTrainedTokenizerBase

from ..language import encode

RATES = (20, 301)  # bpm
WEIGHT = 3.0  # words that this one counts for
WIDTH = 0.01  # of the bell around a rate, as a share of it; at least half a beat per minute


class RateWords:
    """Numbers of a vocabulary that can follow "Rate"; none where a number is not one token."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase):
        words = {value: encode(tokenizer, f" {value}") for value in range(*RATES)}
        words = {value: ids[0] for value, ids in words.items() if len(ids) == 1}
        self.name = encode(tokenizer, " Rate")[-1]
        self.values, self.ids = torch.tensor(list(words), dtype=torch.float), torch.tensor(list(words.values()))

    def loss(self, logits: torch.Tensor, target: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
        """Cross-entropy of words, where a rate's target is a bell of neighbouring numbers and counts `WEIGHT` times.

        Without it a rate that is seldom seen is read as the most usual one of its rhythm: to a softmax over words 181
        is no nearer to 182 than to "upright".

        Args:
            logits: (N, V) of N words.
            target: (N,) their ids.
            before: (N,) the ids of the words before them.
        """
        chance = logits.float().log_softmax(-1)  # (N, V)
        losses = -chance.gather(1, target[:, None])[:, 0]
        ids, values = self.ids.to(target.device), self.values.to(target.device)
        rates = (before == self.name) & torch.isin(target, ids)
        if not rates.any():
            return losses.mean()
        value = values[(target[rates][:, None] == ids).int().argmax(1)][:, None]  # (R, 1) bpm
        bell = (-0.5 * ((values - value) / (WIDTH * value).clamp(min=0.5)).square()).softmax(1)  # (R, rates)
        bells = -(bell * chance[rates][:, ids]).sum(1)
        return (losses[~rates].sum() + WEIGHT * bells.sum()) / (len(losses) + (WEIGHT - 1) * len(bells))
