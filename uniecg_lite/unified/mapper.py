"""From the hidden states of [ECG_1..n] to the condition encoder's space."""

import torch
from torch import nn


class Mapper(nn.Module):
    """Encoder-decoder transformer with learned queries: (B, n, D_lm) hidden states -> (B, D_c) condition.

    The shape of GILL (Koh et al., arXiv 2305.17216): a linear layer in, an encoder over the token states, a decoder
    whose inputs are learned queries, a linear layer out. One pooled vector is wanted, so the queries are averaged.
    """

    def __init__(self, lm_width: int, condition_width: int, layers: int, width: int = 128, queries: int = 4):
        super().__init__()
        self.settings = {
            "lm_width": lm_width,
            "condition_width": condition_width,
            "layers": layers,
            "width": width,
            "queries": queries,
        }
        self.inward = nn.Linear(lm_width, width)
        self.queries = nn.Parameter(0.02 * torch.randn(1, queries, width))
        self.body = nn.Transformer(
            width, 4, layers, layers, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.outward = nn.Linear(width, condition_width)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        x = self.inward(states)  # (B, n, W)
        x = self.body(x, self.queries.expand(len(x), -1, -1))  # (B, queries, W)
        return self.outward(x.mean(1))  # (B, D_c)
