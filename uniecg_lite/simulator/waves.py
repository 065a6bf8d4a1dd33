"""The dipole of one beat in time: QRS, ST and T as moving vectors."""

import torch

from . import random
from .hearts import Hearts


def read_leads(hearts: Hearts, dipole: torch.Tensor) -> torch.Tensor:
    """What the eight independent leads see of a dipole: (B, 3, L) -> (B, 8, L) mV."""
    field = hearts.leads[..., None]  # (B, 8, 3, 1)
    out = field[:, :, 0] * dipole[:, None, 0]
    return out.addcmul_(field[:, :, 1], dipole[:, None, 1]).addcmul_(field[:, :, 2], dipole[:, None, 2])


def qrs_st_t(hearts: Hearts, since: torch.Tensor) -> torch.Tensor:
    """Dipole of QRS, ST and T at times since QRS onset: (B, L) s -> (B, 3, L) mV."""
    duration = hearts.qrs[:, None]
    out = st_t(hearts, since)
    for w in range(hearts.qrs_vector.shape[1]):
        z = (since - hearts.qrs_centre[:, w, None] * duration) / (hearts.qrs_width[:, w, None] * duration)
        out.addcmul_(hearts.qrs_vector[:, w, :, None], torch.exp(-0.5 * z * z)[:, None])
    return out


def st_t(hearts: Hearts, since: torch.Tensor) -> torch.Tensor:
    """ST: a plateau from J point to the top of T. T: a Gaussian that rises slower than it falls."""
    j, width = hearts.qrs[:, None], hearts.t_width[:, None]
    top = hearts.qt[:, None] - 2 * width
    plateau = torch.sigmoid((since - j + 0.008) / 0.006) * torch.sigmoid((top - since) / (0.35 * width))
    z = (since - top) / torch.where(since < top, 1.25 * width, width)
    t_wave = torch.exp(-0.5 * z * z)
    return hearts.st_vector[..., None] * plateau[:, None] + hearts.t_vector[..., None] * t_wave[:, None]  # (B, 3, L)


def ventricular(hearts: Hearts) -> Hearts:
    """The same chest with a beat that starts in a ventricle: wide, from one side to the other, T against QRS."""
    u = random.uniform(hearts.seed, hearts.index, stream=5, n=8).float()
    side = torch.where(u[:, 0] < 0.5, -1.0, 1.0)
    main = torch.stack([side * (0.6 + 0.8 * u[:, 1]), 1.6 * u[:, 2] - 0.6, side * (0.3 + 0.8 * u[:, 3])], -1)  # (B, 3)
    share = torch.stack([0.4 + 0.4 * u[:, 4], 0.7 + 0.2 * u[:, 5], 0.3 * u[:, 6], 0 * side], -1)
    ones = torch.ones(len(u), 1)
    changed = dict(
        qrs=0.135 + 0.045 * u[:, 7],
        qrs_vector=share[..., None] * main[:, None],
        qrs_centre=ones * torch.tensor([0.28, 0.50, 0.74, 0.80]),
        qrs_width=ones * torch.tensor([0.11, 0.12, 0.10, 0.1]),
        st_vector=-0.10 * main,
        t_vector=-0.35 * main,
    )
    return Hearts(**{**vars(hearts), **changed})
