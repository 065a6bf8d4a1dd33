"""Exercises of notebook 01: lead laws, the axis, exchanged electrodes."""

import math

import torch

from uniecg_lite.leads import from_independent


def _axis(answer) -> bool:
    angles = (0, 45, 90, 135, 180, -60, -30)
    found = [answer(math.cos(math.radians(a)), math.sin(math.radians(a)) * math.sqrt(3) / 2) for a in angles]
    return all(abs((float(f) - a + 180) % 360 - 180) < 0.1 for f, a in zip(found, angles))


def _arms(answer) -> bool:
    potentials = torch.randn(9, 50, generator=torch.Generator().manual_seed(1))

    def record(right, left):
        leg, chest = potentials[2], potentials[3:]
        return from_independent(torch.cat([torch.stack([left - right, leg - right]), chest]))

    before = record(potentials[0], potentials[1])
    found = torch.as_tensor(answer(before.clone()))
    return found.shape == before.shape and torch.allclose(found, record(potentials[1], potentials[0]), atol=1e-5)


EXERCISES = {
    "01.1": (
        lambda answer: abs(float(answer) - 0.5) < 1e-6,
        "Goldberger ties aVF to I and II.",
        "aVF = II - I/2: solve for II.",
    ),
    "01.2": (
        _axis,
        "The tangent of the axis is the scaled aVF over I.",
        "math.atan2(aVF * 2 / sqrt(3), I), in degrees, keeps the quadrant.",
    ),
    "01.3": (
        _arms,
        "Write each limb lead with RA and LA exchanged: I = LA - RA becomes RA - LA.",
        "I changes sign; II and III change places; so do aVR and aVL; aVF and the chest leads stay.",
    ),
}
