"""How are hearts drawn for record numbers? A textbook's, with what recorded ones have beside it, clear of limits.

On a limit of the textbook nobody can tell on which side of it a heart lies. So the last step gives the fascicular
blocks the limb leads that define them, and moves axis, voltage, T and ST a little away from the numbers that decide, to
the side where they were drawn.
"""

from dataclasses import replace

import torch

from ..findings import INJURY, OLD, OTHER_ST, ST_DOWN, ST_LEVEL, WIDE
from . import hashing, waves
from .disease import put
from .hearts import Hearts, as_recorded, beat_signal, textbook
from .waves import BASAL, LATE, MAIN, NOTCH, SEPTAL, V1, curve, swing

AXIS_LIMITS = (-180.0, -90.0, -30.0, 90.0, 180.0)  # degrees
SOKOLOW = (3.15, 3.9, 5.5)  # mV: at most this much without left ventricular hypertrophy, and the range with it
TALLEST = 4.5  # mV, a QRS complex in a chest lead
T_TALLEST = 0.85  # mV in a chest lead, where T is not drawn tall
ELEVATED = tuple(code for code in INJURY if code != "STE_POST")  # whose mirror image lies in the chest leads


def sample(seed: int, index: torch.Tensor, visit: int = 0) -> Hearts:
    """Draw the hearts with these record numbers, as lifelike as they are known: (B,) int64 -> Hearts.

    A textbook's hearts, with what real beats have beside it, a little away from the limits that decide a finding.
    """
    return away_from_limits(as_recorded(textbook(seed, index, visit))).float()


def away_from_limits(hearts: Hearts) -> Hearts:
    """Hearts in, the same hearts out, a little further from each limit."""
    hearts = replace(hearts, **{key: value.clone() for key, value in vars(hearts).items() if key != "who"})
    parts = [SEPTAL, MAIN, BASAL, LATE]  # the complex lasts as long as its parts are seen
    hearts.qrs = torch.minimum(hearts.qrs, (hearts.centre[:, parts] + 2.3 * hearts.width[:, parts]).amax(1))
    for change in (_fascicles, _axis, _voltage, _st):
        change(hearts)
    return hearts


def _fascicles(hearts: Hearts) -> None:
    """A fascicular block starts towards the fascicle that conducts and goes on the other way: rS and qR."""
    u = hashing.uniform(hearts.who.seed, hearts.who.index, stream=305, n=4)
    left, block, plain = hearts.has("LAFB"), hearts.has("LAFB", "LPFB"), ~hearts.has("CRBBB")
    main = torch.where(left, -72 + 16 * u[:, 0], 108 + 24 * u[:, 0])
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
    """Turn the limb leads away from the limits of the axis, further where the net area is small or begins with a Q."""
    parts = [SEPTAL, MAIN, BASAL, LATE]  # the same at every visit
    wave = curve(hearts.qrs_mv[:, :2, parts], hearts.centre[:, parts], hearts.width[:, parts], _span(hearts))
    one, foot = waves.frontal(wave.mean(2))
    axis = torch.rad2deg(torch.atan2(foot, one))  # (B,)
    weak = torch.rad2deg(torch.atan(0.025 / torch.hypot(one, foot)))
    margin = (5 + 5 * hearts.has(*OLD, "CRBBB") + 6 * hearts.has(*INJURY) + weak).clamp(max=28)
    off = axis[:, None] - axis.new_tensor(AXIS_LIMITS)  # (B, limits)
    near = off.gather(1, off.abs().argmin(1, keepdim=True))[:, 0]
    by = torch.where(near < 0, -1.0, 1.0) * (margin - near.abs()).clamp(min=0)
    by = torch.where(hearts.has("RVH") & ~((axis > 100) & (axis < 165)), 125 - axis, by)
    by = torch.deg2rad(torch.where(hearts.has(*WIDE, "LAFB", "LPFB"), 0.0, by))[:, None]
    hearts.qrs_mv = waves.turn_limbs(hearts.qrs_mv, by)


def _voltage(hearts: Hearts) -> None:
    """QRS and T as high or as low as drawn: Sokolow's sum, R and S of V1 in right hypertrophy, low voltage, T."""
    none, low, high = SOKOLOW
    mv, right, faint = hearts.qrs_mv, hearts.has("RVH"), hearts.has("LOWV")[:, None]
    mv[:, V1] = put(right, mv[:, V1], mv[:, V1].clamp(min=-0.25))
    wave = curve(mv[:, V1:], hearts.centre, hearts.width, _span(hearts))  # (B, 6, n)
    total = wave[:, 4:].amax(-1).amax(-1) - wave[:, 0].amin(-1)
    target = torch.where(hearts.has("LVH"), total.clamp(low, high), total.clamp(max=none))
    scale = torch.where(hearts.has(*WIDE), 1.0, target / total)[:, None].repeat(1, 6)
    scale[:, 0] *= torch.where(right, (0.95 / wave[:, 0].amax(-1).clamp(min=0.05)).clamp(1, 4), 1.0)
    scale = torch.where(faint, scale * (0.85 / (swing(wave) * scale.amax(1)))[:, None].clamp(max=1), scale)
    highest = (wave.abs().amax(-1) * scale).amax(1, keepdim=True)
    scale = scale * torch.where(hearts.has(*WIDE)[:, None], 1.0, (TALLEST / highest).clamp(max=1))
    mv[:, V1:] *= scale[..., None]
    limb = curve(mv[:, :2], hearts.centre, hearts.width, _span(hearts))
    smaller = (0.42 / swing(waves.six_limb_leads(limb))).clamp(max=1)[:, None]
    mv[:, :2] *= torch.where(faint, smaller, 1.0)[..., None]
    t = hearts.t_mv[:, V1:]
    t[:] = put(hearts.has("HYPT", "HYPERK", *WIDE), t.clamp(max=T_TALLEST), t)


def _st(hearts: Hearts) -> None:
    """ST at J + 20 ms well over or well under what counts as elevated or depressed; elevated only where drawn so."""
    chosen = ~hearts.has(*WIDE, *OTHER_ST)[:, None]
    injured = hearts.has(*ELEVATED)[:, None]
    now = beat_signal(hearts, hearts.qrs[:, None] + 0.02)[..., 0]  # (B, 8)
    chest, up = now[:, V1:], ST_LEVEL[-6:].to(now.dtype)  # (B, 6), (6,)
    share = chest / up
    target = torch.where(injured & (share >= 1), up * share.clamp(min=1.4), up * share.clamp(max=0.75))
    share = chest / ST_DOWN
    target = torch.where((share > 0.7) & (share < 1), 0.7 * ST_DOWN, target)
    target = torch.where((share >= 1) & (share < 1.35), 1.35 * ST_DOWN, target)
    front = hearts.has("STE_POST")[:, None] & (torch.arange(6) < 3)  # V1 to V3 show the mirror image
    target = torch.where(front, target.clamp(max=0.7 * ST_DOWN), target)
    # the limb leads times the first factor that leaves none near 0.1 or -0.1 mV
    factors = now.new_tensor([1.0, 0.8, 1.25, 0.65, 1.5, 0.5, 1.8, 0.3])
    size = waves.six_limb_leads(now[:, :2])[:, None] * factors[:, None]  # (B, factors, 6)
    good = ((size.abs() < 0.08) | (size.abs() > 0.13)).all(2) & (injured | (size < 0.08).all(2))
    limb = now[:, :2] * factors[good.int().argmax(1)][:, None]  # the first of all, where none does
    hearts.st_mv += torch.where(chosen, torch.cat([limb, target], 1) - now, 0.0)
