"""The waves of one beat in time: QRS, ST, T and U as sums of Gaussians and a plateau."""

import torch

from . import shapes
from .hearts import Hearts

VENTRICULAR_QRS = 0.155  # s, of a premature ventricular beat
VENTRICULAR_QT = 0.42
FAR = -80.0  # exponents below make numbers too small for a fast exp, and nothing to be seen


def gauss(z: torch.Tensor, out: torch.Tensor) -> None:
    """exp(-z^2 / 2) into `out`; z is used up."""
    torch.exp(z.square_().mul_(-0.5).clamp_(min=FAR), out=out)


def beat_signal(hearts: Hearts, since: torch.Tensor, late: torch.Tensor | None = None) -> torch.Tensor:
    """The own beat at times since QRS onset, (B, L) s -> (B, 8, L) mV; `late` is the time that ST, T and U see."""
    late = since if late is None else late
    parts = hearts.centre.shape[1]
    basis = since.new_empty(len(since), parts + 3, since.shape[1])
    for w in range(parts):
        gauss((since - hearts.centre[:, w, None]) / hearts.width[:, w, None], out=basis[:, w])
    j, width = hearts.qrs[:, None], hearts.t_width[:, None]
    top = hearts.qt[:, None] - 2 * width
    basis[:, parts] = torch.sigmoid((since - j + 0.008) / 0.006) * torch.sigmoid((top - late) / (0.35 * width))
    gauss((late - top) / torch.where(late < top, 1.25 * width, width), out=basis[:, parts + 1])
    gauss((late - hearts.qt[:, None] - 0.055) / 0.028, out=basis[:, parts + 2])
    mv = torch.cat([hearts.qrs_mv, hearts.st_mv[..., None], hearts.t_mv[..., None], hearts.u_mv[..., None]], 2)
    return torch.bmm(mv, basis)  # (B, 8, L)


def ventricular_beat(parts: torch.Tensor, since: torch.Tensor) -> torch.Tensor:
    """A premature beat from a ventricle: (B, 8, W) mV and (B, L) s -> (B, 8, L), wide, T against QRS."""
    n = 3
    centre = shapes.VENTRICULAR_CENTRE[:n].float() * VENTRICULAR_QRS
    width = shapes.VENTRICULAR_WIDTH[:n].float() * VENTRICULAR_QRS
    basis = since.new_empty(len(since), n + 1, since.shape[1])
    for w in range(n):
        gauss((since - centre[w]) / width[w], out=basis[:, w])
    top = VENTRICULAR_QT - 0.10
    gauss((since - top) / torch.where(since < top, 0.065, 0.05), out=basis[:, n])
    return torch.bmm(torch.cat([parts[..., :n], -0.21 * parts.sum(2, keepdim=True)], 2), basis)
