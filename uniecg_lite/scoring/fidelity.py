"""How like held-out ECGs are made ones, as a crowd? Distances between clouds of features, without any pairing.

Features are `Reader.features`, of a network that had no part in training the generator. The other side is held-out
ECGs, never their reconstructions and never the training set. Every score depends on the number of points, so the clouds
that are compared have the same size, and beside each score stands what held-out ECGs reach among themselves.
"""

import torch

from ..errors import BadRequest

NEIGHBOURS = 3  # k of the manifolds, as DiffuSETS takes it


def fid(one: torch.Tensor, other: torch.Tensor) -> float:
    """Frechet distance of the Gaussians through two clouds (N, D), (M, D) (Heusel et al., arXiv 1706.08500).

    |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)), in float64. The trace of the root is taken as that of
    (S1^(1/2) S2 S1^(1/2))^(1/2), which is symmetric: no imaginary part has to be thrown away.

    Raises:
        BadRequest: a cloud is not (N, D) with at least two points, all finite.
    """
    one, other = _cloud(one), _cloud(other)
    s1, s2 = torch.cov(one.T).reshape(one.shape[1], -1), torch.cov(other.T).reshape(other.shape[1], -1)  # (D, D)
    value, vector = torch.linalg.eigh(s1)
    root = vector * value.clamp(min=0).sqrt() @ vector.T
    cross = torch.linalg.eigvalsh(root @ s2 @ root).clamp(min=0).sqrt().sum()
    distance = (one.mean(0) - other.mean(0)).square().sum() + s1.trace() + s2.trace() - 2 * cross
    return max(distance.item(), 0.0)


def manifolds(real: torch.Tensor, made: torch.Tensor, k: int = NEIGHBOURS) -> dict[str, float]:
    """Precision, recall (Kynkaanniemi et al., arXiv 1904.06991), density, coverage (Naeem et al., arXiv 2002.09797).

    A ball around each point of (N, D) and (M, D) reaches to its k-th neighbour in its own cloud. Precision: the share
    of made points in some real ball; recall: the share of real points in some made ball. Density: in how many real
    balls a made point lies, over k; coverage: the share of real balls that hold a made point.

    Raises:
        BadRequest: as `fid`, or k points or fewer.
    """
    real, made = _cloud(real), _cloud(made)
    if min(len(real), len(made)) <= k:
        raise BadRequest(f"Balls that reach to the neighbour number {k} need more than {k} points: give more ECGs.")
    apart = _apart(real, made)  # (N, M)
    in_real = apart <= _reach(real, k)[:, None]
    in_made = apart <= _reach(made, k)[None]
    return {
        "precision": in_real.any(0).double().mean().item(),
        "recall": in_made.any(1).double().mean().item(),
        "density": in_real.sum(0).double().mean().item() / k,
        "coverage": in_real.any(1).double().mean().item(),
    }


def fidelity(held_out: torch.Tensor, made: torch.Tensor, seed: int = 0, partings: int = 8) -> dict[str, float]:
    """All of it for features (N, D) of held-out ECGs and (M, D) of made ones.

    The held-out ones are parted in two by chance. One half stands against the made ones, and against the other half,
    which is the floor (`held_out.*`): what a perfect generator could hope for at this number of points, which is the
    smaller of N / 2 and M. A few rare ECGs decide much of one FID, so all scores are means over several partings.

    Returns:
        fid, precision, recall, density, coverage; the same as `held_out.<name>`; fid_ratio_to_floor, the quotient of
        both mean FIDs (1 for a perfect generator); points.

    Raises:
        BadRequest: as `manifolds`.
    """
    held_out, made = _cloud(held_out), _cloud(made)
    n, generator = min(len(held_out) // 2, len(made)), torch.Generator().manual_seed(seed)
    runs = []
    for _ in range(partings):
        order = torch.randperm(len(held_out), generator=generator)
        drawn = torch.randperm(len(made), generator=generator)[:n]
        here, there = held_out[order[:n]], held_out[order[n : 2 * n]]
        for name, other in (("", made[drawn]), ("held_out.", there)):
            runs.append({name + k: v for k, v in ({"fid": fid(here, other)} | manifolds(here, other)).items()})
    out = {key: sum(run[key] for run in runs if key in run) / partings for key in runs[0] | runs[1]}
    return out | {"fid_ratio_to_floor": out["fid"] / max(out["held_out.fid"], 1e-12), "points": n}


def memorised(train: torch.Tensor, held_out: torch.Tensor, made: torch.Tensor) -> dict[str, float]:
    """Are made ECGs copies of training ones? Distances to the nearest training ECG, against those of held-out ECGs.

    Args:
        train, held_out, made: features (N, D), (K, D), (M, D); or signals, flattened.

    Returns:
        memorised.share_closer, the chance that a made one is nearer to the training set than a held-out one is: 0.5
        where nothing was memorised, 1 where all was. memorised.distance_ratio, the median distance of made ones over
        that of held-out ones: 1 and 0.
    """
    train = _cloud(train)
    near_made, near_held = (_apart(_cloud(points), train).amin(1) for points in (made, held_out))
    closer, equal = near_made[:, None] < near_held, near_made[:, None] == near_held  # (M, K)
    return {
        "memorised.share_closer": (closer.double() + 0.5 * equal.double()).mean().item(),
        "memorised.distance_ratio": (near_made.median() / near_held.median().clamp(min=1e-12)).item(),
    }


def _cloud(points: torch.Tensor) -> torch.Tensor:
    if points.dim() != 2 or len(points) < 2:
        raise BadRequest(f"A cloud of features is (N, D) with N of 2 or more, not {tuple(points.shape)}.")
    if not points.isfinite().all():
        raise BadRequest("Some features are not finite: leave out the ECGs that they come from, and count them.")
    return points.double()


def _apart(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """(N, D), (M, D) -> (N, M); not by products, which would give copies a distance above zero."""
    return torch.cdist(one, other, compute_mode="donot_use_mm_for_euclid_dist")


def _reach(points: torch.Tensor, k: int) -> torch.Tensor:
    """(N,) distance to the k-th neighbour; a point is not its own neighbour."""
    return _apart(points, points).kthvalue(k + 1, dim=1).values
