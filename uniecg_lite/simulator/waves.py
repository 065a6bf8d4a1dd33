"""The waves of one beat in time: QRS, ST, T and U as sums of Gaussians and a plateau."""

import torch

from .hearts import Hearts
from .ventricles import VENTRICULAR_CENTRE, VENTRICULAR_WIDTH

VENTRICULAR_QRS = 0.155  # s, of a premature ventricular beat
VENTRICULAR_QT = 0.42
FAR = -80.0  # exponents below make numbers too small for a fast exp, and nothing to be seen


def gauss(time: torch.Tensor, centre: torch.Tensor, width: torch.Tensor, out: torch.Tensor) -> None:
    """exp(-((time - centre) / width)^2 / 2) into `out`; all broadcast to its shape."""
    scale = 0.5**0.5 / width
    torch.addcmul(-centre * scale, time, scale, out=out)
    torch.mul(out, out, out=out).neg_().clamp_(min=FAR).exp_()


def beat_signal(hearts: Hearts, since: torch.Tensor, late: torch.Tensor | None = None) -> torch.Tensor:
    """The own beat at times since QRS onset, (B, L) s -> (B, 8, L) mV; `late` is the time that ST, T and U see."""
    late = since if late is None else late
    parts = hearts.centre.shape[1]
    basis = since.new_empty(len(since), parts + 3, since.shape[1])
    gauss(since[:, None], hearts.centre[..., None], hearts.width[..., None], out=basis[:, :parts])
    j, width, qt = hearts.qrs[:, None], hearts.t_width[:, None], hearts.qt[:, None]
    top = qt - 2 * width
    falls = torch.sigmoid((top - late) / (0.35 * width))
    torch.mul(torch.sigmoid((since - (j - 0.008)) / 0.006), falls, out=basis[:, parts])
    gauss(late, top, torch.where(late < top, 1.25 * width, width), out=basis[:, parts + 1])
    gauss(late, qt + 0.055, torch.full_like(qt, 0.028), out=basis[:, parts + 2])
    mv = torch.cat([hearts.qrs_mv, hearts.st_mv[..., None], hearts.t_mv[..., None], hearts.u_mv[..., None]], 2)
    return torch.bmm(mv, basis)  # (B, 8, L)


def ventricular_beat(parts: torch.Tensor, since: torch.Tensor) -> torch.Tensor:
    """A premature beat from a ventricle: (B, 8, W) mV and (B, L) s -> (B, 8, L), wide, T against QRS."""
    n = 3
    centre = VENTRICULAR_CENTRE[:n, None].float() * VENTRICULAR_QRS
    width = VENTRICULAR_WIDTH[:n, None].float() * VENTRICULAR_QRS
    basis = since.new_empty(len(since), n + 1, since.shape[1])
    gauss(since[:, None], centre, width, out=basis[:, :n])
    top = torch.tensor(VENTRICULAR_QT - 0.10)
    gauss(since, top, torch.where(since < top, 0.065, 0.05), out=basis[:, n])
    return torch.bmm(torch.cat([parts[..., :n], -0.21 * parts.sum(2, keepdim=True)], 2), basis)
