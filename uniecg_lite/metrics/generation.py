"""How good is what is generated? Control, fidelity as a distribution, CLIP score, sex and age.

Control: numbers and findings asked for against those read back, and the lead laws. Fidelity: distances between clouds
of features, without any pairing; the features are `Reader.features`, of a network that had no part in training the
generator, and the other side is held-out ECGs, never their reconstructions and never the training set. Every such score
depends on the number of points, so the clouds that are compared have the same size, and beside each score stands what
held-out ECGs reach among themselves.
"""

import math
import re

import torch
import torch.nn.functional as F
from torch import Tensor

from ..beats import beat_size_spread, heart_rate
from ..errors import BadRequest, require
from ..findings import CODES, GROUPED, table
from ..language.requests import Request
from ..leads import lead_law_residual
from .reader import Reader
from .reports import difference, finding_scores, macro_f1, table_of

# number: (its name in a request, name of its error, unit, the error where it cannot be measured)
ERRORS = table("measures")["errors"]
ALIKE = ("SR", "SBRAD", "STACH")  # rhythms whose beats are alike, but for extra ones
EXTRA = GROUPED["ectopy"]
NEIGHBOURS = 3  # k of the manifolds, as DiffuSETS takes it
SHARED = 32  # dimensions of the space of `clip_scores`
CLIP_SHRINK = 0.1  # of the variance of each feature is added to it: rare words would else be learned by heart
RIDGE = 30.0  # of the ridge: as many samples as features would otherwise be learned by heart


def number_errors(wanted: dict[str, Tensor], measured: dict[str, Tensor]) -> dict[str, float]:
    """Absolute errors of each number that was asked for: `hr_median_error_bpm`, `hr_mean_error_bpm`, ...

    Args:
        wanted: names as in `ERRORS` -> (B,); NaN where it was not asked for, which does not count.
        measured: the same names, or more -> (B,); NaN where nothing could be measured, which counts as in `ERRORS`.
            Errors of the axis go around the circle.
    """
    out = {}
    for key in (key for key in ERRORS if key in wanted and not wanted[key].isnan().all()):
        _, name, unit, missing = ERRORS[key]
        error = difference(key, measured[key], wanted[key])[~wanted[key].isnan()].nan_to_num(missing)
        out[f"{name}_median_error_{unit}"] = error.median().item()
        out[f"{name}_mean_error_{unit}"] = error.mean().item()
    return out


def requested(requests: list[Request]) -> tuple[dict[str, Tensor], Tensor]:
    """What B requests name: numbers as in `ERRORS`, (B,) with NaN where they are open, and findings (B, F) bool."""
    named = {key: [getattr(r, name) for r in requests] for key, (name, *_) in ERRORS.items()}
    numbers = {key: torch.tensor([math.nan if x is None else float(x) for x in each]) for key, each in named.items()}
    return numbers, table_of(requests)


def standard(signal: Tensor) -> Tensor:
    """Ten seconds at any rate, (B, 12, L) mV -> (B, 12, 1000) mV at 100 Hz, as the reader sees it."""
    return F.interpolate(signal, size=1000, mode="linear")


def control(
    reader: Reader, signal: Tensor, wanted: dict[str, Tensor], asked: Tensor, unsure: Tensor | None = None
) -> dict[str, float]:
    """What generated ECGs have of what was asked for, flat.

    The heart rate is measured on the signal (`heart_rate`) and, beside it, by the reader; PR, QRS, QT and axis by the
    reader, which also finds the findings.

    Args:
        reader: an independent one.
        signal: (B, 12, L) mV, ten seconds.
        wanted: any of {rate_bpm, pr_ms, qrs_ms, qt_ms, axis_deg: (B,)}, NaN where it was not asked for.
        asked: (B, F) bool, findings that were asked for, in the order of `CODES`.
        unsure: (B, F) bool, findings that do not count, made or not: borderline in the ECG that a request describes.

    Returns:
        `number_errors`; hr_median_error_reader_bpm; findings_macro_f1 and `f1.<code>`; beat_size_spread, the median of
        those asked for with a sinus rhythm and no extra beats; lead_law_residual_mv, of the ECG that breaks the lead
        laws most.
    """
    signal = signal.float()
    numbers, found = reader.read(standard(signal))
    out = number_errors(wanted, numbers | {"rate_bpm": heart_rate(signal, signal.shape[-1] / 10)})
    if "hr_median_error_bpm" in out:
        out["hr_median_error_reader_bpm"] = number_errors(wanted, numbers)["hr_median_error_bpm"]
    out["findings_macro_f1"] = macro_f1(found, asked, unsure)
    out |= {f"f1.{code}": value for code, value in finding_scores(found, asked, unsure).items()}
    alike, extra = (asked[:, [CODES.index(code) for code in codes]].any(1) for codes in (ALIKE, EXTRA))
    if (even := alike & ~extra).any():
        out["beat_size_spread"] = beat_size_spread(signal[even], signal.shape[-1] / 10).nanmedian().item()
    return out | {"lead_law_residual_mv": lead_law_residual(signal).max().item()}


def fid(one: Tensor, other: Tensor) -> float:
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


def manifolds(real: Tensor, generated: Tensor, k: int = NEIGHBOURS) -> dict[str, float]:
    """Precision, recall (Kynkaanniemi et al., arXiv 1904.06991), density, coverage (Naeem et al., arXiv 2002.09797).

    A ball around each point of (N, D) and (M, D) reaches to its k-th neighbour in its own cloud. Precision: the share
    of generated points in some real ball; recall: the share of real points in some generated ball. Density: in how
    many real balls a generated point lies, over k; coverage: the share of real balls that hold a generated point.

    Raises:
        BadRequest: as `fid`, or k points or fewer.
    """
    clouds = real, generated = _cloud(real), _cloud(generated)
    few = f"Balls that reach to the neighbour number {k} need more than {k} points: give more ECGs."
    require(min(map(len, clouds)) > k, few, BadRequest)
    # distances to the k-th neighbour, (N,) and (M,); a point is not its own neighbour
    reach, reached = (_apart(points, points).kthvalue(k + 1, dim=1).values for points in clouds)
    apart = _apart(real, generated)  # (N, M)
    in_real, in_generated = apart <= reach[:, None], apart <= reached
    return {
        "precision": in_real.any(0).double().mean().item(),
        "recall": in_generated.any(1).double().mean().item(),
        "density": in_real.sum(0).double().mean().item() / k,
        "coverage": in_real.any(1).double().mean().item(),
    }


def fidelity(held_out: Tensor, generated: Tensor, seed: int = 0, partings: int = 8) -> dict[str, float]:
    """All of it for features (N, D) of held-out ECGs and (M, D) of generated ones.

    The held-out ones are parted in two by chance. One half stands against the generated ones, and against the other
    half, which is the floor (`held_out.*`): what a perfect generator could hope for at this number of points, which is
    the smaller of N / 2 and M. A few rare ECGs decide much of one FID, so all scores are means over several partings.

    Returns:
        fid, precision, recall, density, coverage; the same as `held_out.<name>`; fid_ratio_to_floor, the quotient of
        both mean FIDs (1 for a perfect generator); points.

    Raises:
        BadRequest: as `manifolds`.
    """
    held_out, generated = _cloud(held_out), _cloud(generated)
    n, generator = min(len(held_out) // 2, len(generated)), torch.Generator().manual_seed(seed)
    runs = []
    for _ in range(partings):
        order = torch.randperm(len(held_out), generator=generator)
        drawn = torch.randperm(len(generated), generator=generator)[:n]
        here, there = held_out[order[:n]], held_out[order[n : 2 * n]]
        for name, other in (("", generated[drawn]), ("held_out.", there)):
            runs.append({name + k: v for k, v in ({"fid": fid(here, other)} | manifolds(here, other)).items()})
    out = {key: sum(run[key] for run in runs if key in run) / partings for key in runs[0] | runs[1]}
    return out | {"fid_ratio_to_floor": out["fid"] / max(out["held_out.fid"], 1e-12), "points": n}


def memorised(train: Tensor, held_out: Tensor, generated: Tensor) -> dict[str, float]:
    """Are generated ECGs copies of training ones? Distances to the nearest training ECG, and those of held-out ECGs.

    Args:
        train, held_out, generated: features (N, D), (K, D), (M, D); or signals, flattened.

    Returns:
        memorised.share_closer, the chance that a generated one is nearer to the training set than a held-out one is:
        0.5 where nothing was memorised, 1 where all was. memorised.distance_ratio, the median distance of generated
        ones over that of held-out ones: 1 and 0.
    """
    one, other = (_apart(_cloud(points), _cloud(train)).amin(1) for points in (generated, held_out))  # (M,), (K,)
    closer, equal = one[:, None] < other, one[:, None] == other  # (M, K)
    return {
        "memorised.share_closer": (closer.double() + 0.5 * equal.double()).mean().item(),
        "memorised.distance_ratio": (one.median() / other.median().clamp(min=1e-12)).item(),
    }


def _cloud(points: Tensor) -> Tensor:
    if points.dim() != 2 or len(points) < 2:
        raise BadRequest(f"A cloud of features is (N, D) with N of 2 or more, not {tuple(points.shape)}.")
    if not points.isfinite().all():
        raise BadRequest("Some features are not finite: leave out the ECGs that they come from, and count them.")
    return points.double()


def _apart(one: Tensor, other: Tensor) -> Tensor:
    """(N, D), (M, D) -> (N, M); not by products, which would give copies a distance above zero."""
    return torch.cdist(one, other, compute_mode="donot_use_mm_for_euclid_dist")


def clip_scores(known: Tensor, words: list[str], features: Tensor, texts: list[str]) -> dict[str, float]:
    """Do ECGs and the words that they were made from belong together?

    CLIP (Radford et al., arXiv 2103.00020) trains two encoders by contrast and takes the cosine of what they say. Its
    linear form is canonical correlation (Hotelling, 1936), which is solved, not trained: two linear maps into one
    space, fitted on true ECGs and their words. They stand on the independent reader's features and on counted words: no
    generator was conditioned on either.

    Args:
        known: (N, D) of true ECGs, `Reader.features`; words: N requests as `Request.text` says them.
        features: (M, D) of the ECGs that are scored; texts: M requests. Words that are not known are passed over.

    Returns:
        clip_score, the mean cosine of an ECG and its own words; clip_stranger, the same with the next one's words;
        clip_top1, the share of ECGs whose own words are nearest among the M.
    """
    seen = [_counted(text) for text in words]
    values = {word: [of[word] for of in seen if word in of] for word in sorted(set().union(*seen))}
    # What stands for a word that a text lacks: nothing, or for a number ("rate #") its mean.
    usual = {word: sum(v) / len(v) if word.endswith("#") else 0.0 for word, v in values.items()}

    def table(lines: list[str]) -> Tensor:  # (N, W)
        rows = [[counted.get(word, value) for word, value in usual.items()] for counted in map(_counted, lines)]
        return torch.tensor(rows, dtype=torch.float64)

    scales = _scaler(known.double()), _scaler(table(words))
    x, y = scales[0](known.double()), scales[1](table(words))
    left, right = _inverse_root(x), _inverse_root(y)  # (D, D), (W, W)
    u, shared, v = torch.linalg.svd(left @ (x.T @ y / len(x)) @ right, full_matrices=False)
    strength = shared[:SHARED].sqrt()  # a dimension counts as far as both sides share it
    one = F.normalize(scales[0](features.double()) @ left @ u[:, :SHARED] * strength, dim=1)  # (M, SHARED)
    other = F.normalize(scales[1](table(texts)) @ right @ v.T[:, :SHARED] * strength, dim=1)  # (M, SHARED)
    cosines = one @ other.T  # (M, M)
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


def _scaler(table: Tensor):
    """A function that puts columns on the scale of those of (N, D): mean 0, deviation 1."""
    mean, spread = table.mean(0), table.std(0).clamp(min=1e-6)
    return lambda other: (other - mean) / spread


def _inverse_root(table: Tensor) -> Tensor:
    """(N, D) of mean 0 -> (D, D), the inverse root of its shrunk covariance."""
    value, vector = torch.linalg.eigh(table.T @ table / len(table))
    return vector / (value.clamp(min=0) + CLIP_SHRINK).sqrt() @ vector.T


def person_scores(held_out: Tensor, generated: Tensor, female: Tensor, age: Tensor) -> dict[str, float]:
    """Are sex and age to be seen in ECGs generated for the first M of N patients, as in these patients' own ECGs?

    Ridge regressions from features to either are fitted on the other patients' true ECGs. The reader was never told
    either of them. An ECG shows both weakly, so a generated one is held against true ones.

    Args:
        held_out: (N, D) of true ECGs, `Reader.features`; generated: (M, D).
        female: (N,) 1 or 0; age: (N,) years. A patient of whom either is NaN does not count.

    Returns:
        sex_accuracy and age_correlation of the generated ones, true_sex_accuracy and true_age_correlation of their own.
    """
    there = ~(female + age).isnan()
    generated = generated[there[: len(generated)]]
    held_out, female, age, n = held_out[there], female[there].bool(), age[there], len(generated)
    known = held_out[n:].double()
    scale = _scaler(known)
    x = scale(known)  # (N - M, D)
    wanted = torch.stack([2 * female.double() - 1, age.double()], 1)  # (N, 2)
    mean = wanted[n:].mean(0)
    ridge = x.T @ x + RIDGE * torch.eye(x.shape[1], dtype=x.dtype)
    weight = torch.linalg.solve(ridge, x.T @ (wanted[n:] - mean))  # (D, 2)
    out = {}
    for name, features in (("", generated), ("true_", held_out[:n])):
        sex, years = (scale(features.double()) @ weight + mean).T  # (M,) each
        ages = torch.stack([years.float(), age[:n].float()])  # (2, M)
        out[f"{name}sex_accuracy"] = ((sex > 0) == female[:n]).float().mean().item()
        out[f"{name}age_correlation"] = torch.corrcoef(ages)[0, 1].nan_to_num().item()
    return out
