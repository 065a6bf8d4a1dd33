"""What do the atria look like in each lead? P waves, those of early beats, flutter and fibrillation."""

import torch

from .disease import Draws, Patients
from .shapes import see


def p_wave(who: Patients, own: Draws, now: Draws, field, duration, pr):
    """P wave: right atrium first and to the front, left atrium after it and to the back, then the PR segment."""
    p = own.vector((0.03, 0.08), (0.08, 0.15), (-0.02, 0.02))
    right = 0.58 * p
    right[:, 2] = -0.5 * own.between(0.05, 0.10)
    tall = now.between(0.32, 0.40)
    right[:, 1] = torch.where(who.has("RAE"), tall, right[:, 1])
    left = 0.52 * p
    left[:, 2] = torch.where(who.has("LAE"), now.between(0.17, 0.25), 0.03)
    left = left * torch.where(who.has("LAE", "PERI"), 1.25, 1.0)[:, None]
    left[:, 1] = torch.where(who.has("LAE"), left[:, 1].clamp(min=0.10), left[:, 1])
    low = torch.where(who.has("HYPERK"), 0.30, torch.where(who.has("LOWV"), 0.8, 1.0))[:, None]
    dip = -0.055 * torch.tensor([0.7, 1.0, -0.3, 0.5, 0.8, 0.9, 0.9, 0.8], dtype=p.dtype)
    segment = who.has("PERI")[:, None] * dip
    mv = torch.stack([see(field, low * right), see(field, low * left), segment], -1)  # (B, 8, 3)
    wide = who.has("LAE")
    centre = torch.stack(
        [torch.where(wide, 0.29, 0.36) * duration, torch.where(wide, 0.73, 0.64) * duration, (duration + pr) / 2], -1
    )
    width = torch.stack([0.155 * duration, 0.155 * duration, ((pr - duration) / 3.2).clamp(min=0.010)], -1)
    return mv, centre, width


def early_p(who: Patients, u: Draws, field: torch.Tensor) -> torch.Tensor:
    """(B, 8) mV: P of an early atrial beat, of another shape; in a junctional rhythm, from below upwards."""
    other = u.vector((-0.07, 0.03), (-0.10, 0.08), (-0.06, 0.12)) + torch.tensor([0.0, -0.03, 0.0], dtype=field.dtype)
    upward = torch.stack([u.between(0.0, 0.03), -u.between(0.08, 0.14), 0 * u.next()], -1)
    return see(field, torch.where(who.has("JUNC")[:, None], upward, other))


def flutter(who: Patients, u: Draws, field: torch.Tensor) -> torch.Tensor:
    """(B, 8) mV: saw teeth that point down in II, III and aVF and up in V1; or the fine unrest of fibrillation."""
    saw = torch.stack([u.between(0.0, 0.03), -u.between(0.17, 0.22), -u.between(0.08, 0.13)], -1)
    size = (torch.where(who.has("LOWV"), 0.6, 1.0) * (0.02 + 0.04 * u.next() ** 2))[:, None]
    fine = torch.stack([u.next() - 0.3, 0.4 + 0.6 * u.next(), -0.4 - 0.8 * u.next()], -1) * size
    return see(field, torch.where(who.has("AFLT")[:, None], saw, fine))
