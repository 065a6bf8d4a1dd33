"""How are hearts drawn for record numbers? A textbook's, with what recorded ones have beside it, and their signs.

Values lie where people's do, on either side of each limit and near it: what they are called follows in `truth`. The
last step only gives what was drawn the leads that define it: a fascicular block its rS and qR, hypertrophy and low
voltage their size, a posterior infarct its mirror image.
"""

from dataclasses import replace

import torch

from ..findings import OLD, ST_DOWN, WIDE
from . import hashing, waves
from .disease import put
from .hearts import Hearts, as_recorded, beat_signal, textbook
from .waves import BASAL, EXTRA, LATE, MAIN, NOTCH, SEPTAL, V1, curve, swing

SEEN = 2.45  # standard deviations after its top for which a part of QRS is seen
HIGHEST = 5.5  # mV, Sokolow and Lyon's sum
TALLEST = 4.5  # mV, a QRS complex in a chest lead
T_BENDS, T_TALLEST = 0.6, 0.95  # mV in a chest lead, where T is not drawn tall


def sample(seed: int, index: torch.Tensor, visit: int = 0) -> Hearts:
    """Draw the hearts with these record numbers, as lifelike as they are known: (B,) int64 -> Hearts.

    A textbook's hearts, with what real beats have beside it, and with the signs of what was drawn.
    """
    return with_signs(as_recorded(textbook(seed, index, visit))).float()


def with_signs(hearts: Hearts) -> Hearts:
    """Hearts in, the same hearts out, with the leads that define what was drawn for them."""
    hearts = replace(hearts, **{key: value.clone() for key, value in vars(hearts).items() if key != "who"})
    parts = [SEPTAL, MAIN, BASAL, LATE]  # the complex lasts as long as its parts are seen
    seen = (hearts.centre[:, parts] + SEEN * hearts.width[:, parts]).amax(1) * (1 + 0.05 * hearts.has(*OLD))
    longer = (hearts.qrs / seen)[:, None]
    for values in (hearts.centre, hearts.width):
        values[:, :EXTRA] *= longer
    for change in (_fascicles, _axis, _voltage, _st):
        change(hearts)
    return hearts


def _fascicles(hearts: Hearts) -> None:
    """A fascicular block starts towards the fascicle that conducts and goes on the other way: rS and qR."""
    u = hashing.uniform(hearts.who.seed, hearts.who.index, stream=305, n=4)
    left, block, plain = hearts.has("LAFB"), hearts.has("LAFB", "LPFB"), ~hearts.has("CRBBB")
    main = torch.where(left, -74 + torch.where(plain, 32, 16) * u[:, 0], 96 + 36 * u[:, 0])
    first = torch.where(left, 108 + 10 * u[:, 1], -55 + 10 * u[:, 1])
    mv = hearts.qrs_mv.clone()
    mv[:, :2, [BASAL, NOTCH]] = 0
    mv[:, :2, LATE] *= ~plain[:, None]
    for wave, size, degrees in ((SEPTAL, 0.30 + 0.10 * u[:, 2], first), (MAIN, 0.85 + 0.45 * u[:, 3], main)):
        radians = torch.deg2rad(degrees)
        mv[:, :2, wave] = waves.limb_leads(size * radians.cos(), size * radians.sin())
    highest = curve(mv, hearts.centre, hearts.width, _span(hearts)).amax(2)[:, V1]
    mv[:, V1] *= torch.where(left, 1.0, (0.5 / highest.clamp(min=0.01)).clamp(max=1.0))[:, None]
    hearts.qrs_mv = put(block, hearts.qrs_mv, mv)
    for values, shares in ((hearts.centre, [0.19, 0.46]), (hearts.width, [0.08, 0.095])):
        new = hearts.qrs[:, None] * values.new_tensor(shares)
        values[:, [SEPTAL, MAIN]] = put(block & plain, values[:, [SEPTAL, MAIN]], new)


def _span(hearts: Hearts) -> torch.Tensor:
    """Times through the complex, (B, 32) s."""
    return hearts.qrs[:, None] * torch.linspace(0, 1, 32, dtype=hearts.qrs.dtype)


def _axis(hearts: Hearts) -> None:
    """Turn the limb leads to the axis that was drawn, the net area of all parts; right hypertrophy to the right."""
    parts = [SEPTAL, MAIN, BASAL, LATE]  # the same at every visit
    wave = curve(hearts.qrs_mv[:, :2, parts], hearts.centre[:, parts], hearts.width[:, parts], _span(hearts))
    one, foot = waves.frontal(wave.mean(2))
    axis = torch.rad2deg(torch.atan2(foot, one))  # (B,)
    by = torch.where(hearts.has("RVH") & ~((axis > 108) & (axis < 165)), 125 - axis, 0.0)
    hearts.qrs_mv = waves.turn_limbs(hearts.qrs_mv, torch.deg2rad(by)[:, None])


def _voltage(hearts: Hearts) -> None:
    """QRS and T as high or as low as drawn: Sokolow's sum, R and S of V1 in right hypertrophy, low voltage, T."""
    u = hashing.uniform(hearts.who.seed, hearts.who.index, stream=306, n=3)
    mv, right, faint = hearts.qrs_mv, hearts.has("RVH"), hearts.has("LOWV")[:, None]
    mv[:, V1] = put(right, mv[:, V1], mv[:, V1].clamp(min=-0.25))
    wave = curve(mv[:, V1:], hearts.centre, hearts.width, _span(hearts))  # (B, 6, n)
    total = wave[:, 4:].amax(-1).amax(-1) - wave[:, 0].amin(-1)
    target = torch.where(hearts.has("LVH"), total.clamp(3.2, HIGHEST), total.clamp(max=HIGHEST))
    scale = torch.where(hearts.has(*WIDE), 1.0, target / total)[:, None].repeat(1, 6)
    tall = (0.55 + 0.55 * u[:, 0]) / wave[:, 0].amax(-1).clamp(min=0.05)
    scale[:, 0] *= torch.where(right, tall.clamp(1, 4), 1.0)
    low = (0.72 + 0.34 * u[:, 1]) / (swing(wave) * scale.amax(1))
    scale = torch.where(faint, scale * low[:, None].clamp(max=1), scale)
    highest = (wave.abs().amax(-1) * scale).amax(1, keepdim=True)
    scale = scale * torch.where(hearts.has(*WIDE)[:, None], 1.0, (TALLEST / highest).clamp(max=1))
    mv[:, V1:] *= scale[..., None]
    limb = curve(mv[:, :2], hearts.centre, hearts.width, _span(hearts))
    smaller = ((0.36 + 0.17 * u[:, 2]) / swing(waves.six_limb_leads(limb))).clamp(max=1)[:, None]
    mv[:, :2] *= torch.where(faint, smaller, 1.0)[..., None]
    t, room = hearts.t_mv[:, V1:], T_TALLEST - T_BENDS
    bent = T_BENDS + room * torch.tanh((t - T_BENDS) / room)  # the tallest T of healthy hearts, drawn together
    t[:] = put(hearts.has("HYPT", "HYPERK", *WIDE), torch.where(t > T_BENDS, bent, t), t)


def _st(hearts: Hearts) -> None:
    """V1 to V3 show a posterior infarct's mirror image: ST at J + 20 ms well down."""
    now = beat_signal(hearts, hearts.qrs[:, None] + 0.02)[:, V1 : V1 + 3, 0]  # (B, 3)
    down = (now.clamp(max=0.7 * ST_DOWN) - now) * hearts.has("STE_POST")[:, None]
    hearts.st_mv[:, V1 : V1 + 3] += down
