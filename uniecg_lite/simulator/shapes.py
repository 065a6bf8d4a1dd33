"""What are waves made of? Dipoles for what the whole heart does, a lead field to see them, Gaussians in time."""

import torch

# Frank (X left, Y down, Z back) -> I, II, V1..V6: Dower, Machado, Osborne, "On deriving the electrocardiogram from
# vectorcardiographic leads", Clin Cardiol 3:87 (1980). The other four leads follow by Einthoven and Goldberger.
DOWER = torch.tensor(
    [
        [0.632, -0.235, 0.059],
        [0.235, 1.066, -0.132],
        [-0.515, 0.157, -0.917],
        [0.044, 0.164, -1.387],
        [0.882, 0.098, -1.277],
        [1.213, 0.127, -0.601],
        [1.125, 0.127, -0.086],
        [0.831, 0.076, 0.230],
    ],
    dtype=torch.float64,
)  # (8, 3)
I, II, V1, V2, V3, V4, V5, V6 = range(8)  # noqa: E741


def lead_field(jitter: torch.Tensor) -> torch.Tensor:
    """(B, 8, 3) standard normal -> (B, 8, 3) lead field: no two chests are alike."""
    return DOWER * (1 + 0.10 * jitter) + 0.03 * jitter.roll(1, dims=-1)


def see(field: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
    """Dipoles in the leads: (B, 8, 3) and (B, 3) -> (B, 8), or (B, W, 3) -> (B, 8, W)."""
    if vectors.dim() == 2:
        return (field * vectors[:, None]).sum(-1)
    return torch.bmm(field, vectors.mT)


def frontal_dipole(amplitude: torch.Tensor, angle: torch.Tensor, back: torch.Tensor) -> torch.Tensor:
    """The dipole whose I and aVF show this frontal amplitude (mV) and axis (degrees): (B,) -> (B, 3)."""
    lead_i, avf = DOWER[0], DOWER[1] - DOWER[0] / 2
    radians = torch.deg2rad(angle)
    target = torch.stack([amplitude * torch.cos(radians), amplitude * torch.sin(radians) * 3**0.5 / 2], -1)
    target = target - torch.stack([lead_i[2] * back, avf[2] * back], -1)  # (B, 2)
    inverse = torch.linalg.inv(torch.stack([lead_i[:2], avf[:2]]))  # (2, 2)
    return torch.cat([(target[:, None, :] * inverse).sum(-1), back[:, None]], -1)  # (B, 3)


def curve(amplitude: torch.Tensor, centre: torch.Tensor, width: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """Sum of Gaussians in each lead: (B, 8, W) mV, (B, W), (B, W), t (n,) or (B, n) -> (B, 8, n)."""
    z = (t.expand(len(centre), -1)[:, None] - centre[..., None]) / width[..., None]  # (B, W, n)
    return torch.bmm(amplitude, torch.exp(-0.5 * z * z))


def turn_limbs(mv: torch.Tensor, by: torch.Tensor) -> torch.Tensor:
    """Turn the frontal part of the waves, leads I and II of (B, 8, W) mV, by angles (B, 1) in radians."""
    one, foot = mv[:, I], (mv[:, II] - mv[:, I] / 2) * 2 / 3**0.5  # (B, W)
    turned = by.cos() * one - by.sin() * foot
    avf = (by.sin() * one + by.cos() * foot) * 3**0.5 / 2
    return torch.cat([torch.stack([turned, avf + turned / 2], 1), mv[:, V1:]], 1)


def put(rows: torch.Tensor, old: torch.Tensor, new) -> torch.Tensor:
    """`new` where rows (B,) are True, `old` (B, ...) elsewhere."""
    new = torch.as_tensor(new, dtype=old.dtype)
    return torch.where(rows.view(-1, *[1] * (old.dim() - 1)), new, old)
