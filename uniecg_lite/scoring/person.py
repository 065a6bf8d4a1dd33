"""Are sex and age to be seen in a made ECG? The straightest answer: a linear fit on the reader's features.

The reader was never told either of them. An ECG shows both weakly, so a made one is held against true ones.
"""

import torch

SHRINK = 30.0  # of the ridge: as many samples as features would otherwise be learned by heart


class PersonFit:
    """Ridge regressions from features to sex and age, fitted on true ECGs.

    Args:
        features: (N, D) of true ECGs, `Reader.features`.
        female: (N,) bool.
        age: (N,) years.
    """

    def __init__(self, features: torch.Tensor, female: torch.Tensor, age: torch.Tensor):
        x = features.double()
        self.middle, self.spread = x.mean(0), x.std(0).clamp(min=1e-6)
        x = (x - self.middle) / self.spread  # (N, D)
        wanted = torch.stack([2 * female.double() - 1, age.double()], 1)  # (N, 2)
        self.mean = wanted.mean(0)
        ridge = x.T @ x + SHRINK * torch.eye(x.shape[1], dtype=x.dtype)
        self.weight = torch.linalg.solve(ridge, x.T @ (wanted - self.mean))  # (D, 2)

    def read(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(M, D) features -> (M,) bool female and (M,) years."""
        told = (features.double() - self.middle) / self.spread @ self.weight + self.mean
        return told[:, 0] > 0, told[:, 1].float()


def person_scores(
    fit: PersonFit, features: torch.Tensor, female: torch.Tensor, age: torch.Tensor, name: str = ""
) -> dict[str, float]:
    """`<name>sex_accuracy` and `<name>age_correlation` of ECGs (M, D) whose sex and age (M,) are known."""
    read_female, read_age = fit.read(features)
    return {
        f"{name}sex_accuracy": (read_female == female).float().mean().item(),
        f"{name}age_correlation": torch.corrcoef(torch.stack([read_age, age.float()]))[0, 1].nan_to_num().item(),
    }
