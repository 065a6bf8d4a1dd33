"""Which rhythm do the measured beats and P waves keep? Measured -> (B,) bool, or what its docstring says.

Sources: Surawicz and Knilans, Chou's Electrocardiography, 2008; ACC/AHA/HRS bradycardia and conduction delay guideline
(Kusumoto et al., 2018).
"""

import torch

from .measure import Measured


def rr_s(m: Measured) -> torch.Tensor:
    """(B, K - 1) RR intervals in s, NaN outside the record."""
    return m.onset_s.diff(dim=1)


def own_rr(m: Measured) -> torch.Tensor:
    """(B, K - 1) RR intervals between two beats of the dominant shape, NaN elsewhere."""
    both = m.own[:, 1:] & m.own[:, :-1]
    return torch.where(both, rr_s(m), torch.nan)


def spread(values: torch.Tensor) -> torch.Tensor:
    """(B,) standard deviation over mean of the values (B, n) that are not NaN; 0 for fewer than two."""
    there = ~values.isnan()
    n = there.sum(1).clamp(min=1)
    mean = values.nan_to_num().sum(1) / n
    square = torch.where(there, (values - mean[:, None]) ** 2, 0.0).sum(1) / n
    return (square.sqrt() / mean.clamp(min=1e-6)).nan_to_num()


def regular(m: Measured) -> torch.Tensor:
    """RR intervals between own beats vary by less than 7%."""
    return spread(own_rr(m)) < 0.07


def flutter(m: Measured) -> torch.Tensor:
    """A sawtooth without rest."""
    return ~m.flutter_hz.isnan()


def sinus_p(m: Measured) -> torch.Tensor:
    """One P of the usual shape 70 ms or more before nearly each own beat, upright in II and negative in aVR."""
    upright = (m.lead("p_top_mv", "II") > 0) & (m.lead("p_top_mv", "aVR") < 0)
    return (m.linked > 0.6) & (m.pr_ms >= 70) & upright & ~flutter(m) & ~paced(m)


def lone_p(m: Measured) -> torch.Tensor:
    """(B,) how many RR intervals hold a P wave that no QRS follows: two P waves in an interval that is too long."""
    gap = rr_s(m)
    short = gap.nanquantile(0.25, dim=1, keepdim=True)
    return ((m.p_count[:, 1:] >= 2) & (gap > 1.25 * short)).sum(1)


def pp_s(m: Measured) -> torch.Tensor:
    """(B,) the usual PP interval in s, NaN without P waves."""
    return m.p_onset_s.diff(dim=1).nanmedian(1).values if m.p_onset_s.shape[1] > 1 else torch.full((len(m),), torch.nan)


def steady_p(m: Measured) -> torch.Tensor:
    """P waves come at one steady rate between 40 and 160 bpm; one may be hidden now and then."""
    if m.p_onset_s.shape[1] < 3:
        return torch.zeros(len(m), dtype=torch.bool)
    gap, usual = m.p_onset_s.diff(dim=1), pp_s(m)[:, None]
    steps = (gap / usual).round().clamp(min=1)
    off = (gap / steps / usual - 1).abs()
    share = ((off < 0.10) & ~off.isnan()).sum(1) / (~off.isnan()).sum(1).clamp(min=1)
    count = (~m.p_onset_s.isnan()).sum(1)
    return (share > 0.75) & (count >= 4) & (usual[:, 0] > 0.375) & (usual[:, 0] < 1.5)


def pr_steps(m: Measured) -> torch.Tensor:
    """(B, K - 1) growth of PR from one conducted beat to the next without a lone P between, in s, NaN elsewhere."""
    plain = m.p_count[:, 1:] == 1
    return torch.where(plain, m.pr_s.diff(dim=1), torch.nan)


def dropping(m: Measured) -> torch.Tensor:
    """Single P waves without QRS in an otherwise conducted, steady atrial rhythm."""
    beats = (~m.onset_s.isnan()).sum(1)
    return (lone_p(m) >= 1) & steady_p(m) & (lone_p(m) < 0.7 * beats) & ~flutter(m) & ~paced(m)


def growing(m: Measured) -> torch.Tensor:
    """PR gets longer from beat to beat."""
    steps = pr_steps(m)
    return (steps.nanmedian(1).values > 0.015) | ((steps > 0.015).sum(1) > 0.6 * (~steps.isnan()).sum(1))


def dissociated(m: Measured) -> torch.Tensor:
    """Steady P waves, more of them than QRS complexes, at no fixed distance from them."""
    pr = m.pr_s
    mean = pr.nanmean(1, keepdim=True)
    scatter = torch.where(pr.isnan(), 0.0, (pr - mean) ** 2).sum(1) / (~pr.isnan()).sum(1).clamp(min=1)
    faster = pp_s(m) * 1.15 < rr_s(m).nanmedian(1).values
    loose = (scatter.sqrt() > 0.02) & (m.linked < 0.7)
    return steady_p(m) & faster & loose & regular(m) & (m.rate_bpm < 60) & ~paced(m)


def sinus(m: Measured) -> torch.Tensor:
    """Each own beat follows a sinus P, and no P stands alone."""
    return sinus_p(m) & ~dropping(m) & ~dissociated(m)


def paced(m: Measured) -> torch.Tensor:
    """A spike before nearly every complex."""
    return m.spike > 0.8


def early(m: Measured) -> torch.Tensor:
    """(B, K) beats that end an RR interval of less than 0.88 of the usual one."""
    gap = rr_s(m)
    usual = gap.nanmedian(1, keepdim=True).values
    soon = torch.nn.functional.pad(gap < 0.88 * usual, (1, 0))
    return soon


def ventricular(m: Measured) -> torch.Tensor:
    """(B, K) early broad beats of another shape than the dominant one, without its P wave."""
    gap = rr_s(m)
    last = torch.full_like(gap[:, :1], torch.nan)
    before, after = torch.cat([last, gap], 1), torch.cat([gap, last], 1)
    return ~m.own & ~m.usual_p & (m.beat_ms >= 110) & ~(before > after)


def bigeminal(m: Measured) -> torch.Tensor:
    """Own and ventricular beats take turns throughout; one that an end of the record cuts is not judged."""
    v = ventricular(m)
    there = ~m.onset_s.isnan() & (m.own | ~m.beat_ms.isnan())
    both = there[:, 1:] & there[:, :-1]
    turns = (v[:, 1:] != v[:, :-1]) & both
    return (v.sum(1) >= 2) & (turns.sum(1) >= 0.85 * both.sum(1))


def premature_atrial(m: Measured) -> torch.Tensor:
    """(B, K) early beats of the own shape after another P wave than the usual one."""
    return early(m) & m.own & ~m.usual_p


def irregular_sinus(m: Measured) -> torch.Tensor:
    """Sinus rhythm whose longest and shortest RR differ by over 160 ms, without premature beats."""
    gap = rr_s(m)
    high, low = torch.where(gap.isnan(), -9, gap).amax(1), torch.where(gap.isnan(), 9, gap).amin(1)
    even = ~(ventricular(m).any(1) | premature_atrial(m).any(1))
    return sinus(m) & even & (high - low > 0.16)
