"""A CLIP score for ECGs: do an ECG and the words it was made from belong together?

CLIP (Radford et al., arXiv 2103.00020) trains two encoders by contrast and takes the cosine of what they say. Its
linear form is canonical correlation (Hotelling, 1936), which is solved, not trained. The pair here stands on the
independent reader's features and on counted words: no generator was conditioned on either.
"""

import re

import torch
import torch.nn.functional as F

SHARED = 32  # dimensions
SHRINK = 0.1  # of the variance of each feature is added to it: rare words would else be learned by heart


class ClipPair:
    """Two linear maps into one space, fitted on true ECGs and their words.

    Args:
        features: (N, D) of true ECGs, `Reader.features`.
        texts: N requests as `Request.text` says them.
    """

    def __init__(self, features: torch.Tensor, texts: list[str]):
        counted = [_counted(text) for text in texts]
        self.words = sorted({word for words in counted for word in words})
        table = self._table(counted)  # (N, W)
        self.usual = table.nanmean(0)
        sides = features.double(), self._filled(table)
        self.scales = [_scale(side) for side in sides]
        x, y = map(_scaled, sides, self.scales)  # (N, D), (N, W)
        left, right = _inverse_root(x), _inverse_root(y)  # (D, D), (W, W)
        u, shared, v = torch.linalg.svd(left @ (x.T @ y / len(x)) @ right, full_matrices=False)
        strength = shared[:SHARED].sqrt()  # a dimension counts as far as both sides share it
        self.maps = left @ u[:, :SHARED] * strength, right @ v.T[:, :SHARED] * strength

    def ecgs(self, features: torch.Tensor) -> torch.Tensor:
        """(M, D) features -> (M, SHARED) of length 1."""
        return F.normalize(_scaled(features.double(), self.scales[0]) @ self.maps[0], dim=1)

    def texts(self, texts: list[str]) -> torch.Tensor:
        """M requests in words -> (M, SHARED) of length 1; unknown words are passed over."""
        table = self._filled(self._table([_counted(text) for text in texts]))
        return F.normalize(_scaled(table, self.scales[1]) @ self.maps[1], dim=1)

    def _table(self, counted: list[dict[str, float]]) -> torch.Tensor:
        """(N, W): what stands in each text; a number that is not named is NaN, a word that is not there 0."""
        missing = [float("nan") if word.endswith("#") else 0.0 for word in self.words]
        rows = [[words.get(word, none) for word, none in zip(self.words, missing)] for words in counted]
        return torch.tensor(rows, dtype=torch.float64)

    def _filled(self, table: torch.Tensor) -> torch.Tensor:
        return torch.where(table.isnan(), self.usual, table)


def clip_scores(pair: ClipPair, features: torch.Tensor, texts: list[str]) -> dict[str, float]:
    """Of ECGs (M, D) and the words that they were made from.

    Returns:
        clip_score, the mean cosine of an ECG and its own words; clip_stranger, the same with the next one's words;
        clip_top1, the share of ECGs whose own words are nearest among the M.
    """
    cosines = pair.ecgs(features) @ pair.texts(texts).T  # (M, M)
    own, place = cosines.diagonal(), torch.arange(len(cosines))
    return {
        "clip_score": own.mean().item(),
        "clip_stranger": cosines[place, place.roll(-1)].mean().item(),
        "clip_top1": (own >= cosines.amax(1)).double().mean().item(),
    }


def _counted(text: str) -> dict[str, float]:
    """A text as {word: 1} and {word before a number + " #": that number}."""
    found = re.findall(r"[a-z]+|-?\d+", text.lower())
    words = {word: 1.0 for word in found if word.isalpha()}
    return words | {f"{name} #": float(n) for name, n in zip(found, found[1:]) if name.isalpha() and not n.isalpha()}


def _scale(table: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return table.mean(0), table.std(0).clamp(min=1e-6)


def _scaled(table: torch.Tensor, scale: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    return (table - scale[0]) / scale[1]


def _inverse_root(table: torch.Tensor) -> torch.Tensor:
    """(N, D) of mean 0 -> (D, D), the inverse root of its shrunk covariance."""
    value, vector = torch.linalg.eigh(table.T @ table / len(table))
    return vector / (value.clamp(min=0) + SHRINK).sqrt() @ vector.T
