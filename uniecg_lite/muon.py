"""How do matrices learn, with or without bfloat16 units? Muon, for all of one shape at once."""

import math

import torch
from torch import nn


class Muon(torch.optim.Muon):
    """torch's Muon, for all matrices of one shape at once; it is built with its RMS matched to AdamW's.

    torch turns them in bfloat16, one by one: many times slower where a processor has no bfloat16 of its own. So
    `precision` is bfloat16 only where the device multiplies it.
    """

    precision = torch.float32

    @torch.no_grad()
    def step(self) -> None:
        """One step of every matrix that has a gradient."""
        for group in self.param_groups:
            alike: dict[torch.Size, list[nn.Parameter]] = {}
            for p in (p for p in group["params"] if p.grad is not None):
                alike.setdefault(p.shape, []).append(p)
            for shape, same in alike.items():
                grads = [p.grad.float() for p in same]
                moments = [
                    self.state[p].setdefault("momentum_buffer", torch.zeros_like(g)) for p, g in zip(same, grads)
                ]
                torch._foreach_lerp_(moments, grads, 1 - group["momentum"])
                ahead = torch.stack(torch._foreach_lerp(grads, moments, group["momentum"]))  # Nesterov: (K, M, N)
                turned = _orthogonal(ahead.to(self.precision), group["ns_coefficients"], group["ns_steps"])
                torch._foreach_mul_(same, 1 - group["lr"] * group["weight_decay"])
                torch._foreach_add_(same, turned.float().unbind(), alpha=-0.2 * group["lr"] * math.sqrt(max(shape)))


def _orthogonal(x: torch.Tensor, coefficients: tuple[float, float, float], steps: int) -> torch.Tensor:
    """Newton and Schulz's iteration on matrices (K, M, N): singular values go to about one, directions stay."""
    a, b, c = coefficients
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(steps):
        gram = x @ x.mT  # (K, M, M)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x
