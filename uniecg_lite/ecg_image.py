"""What does the image encoder see? ECG paper in pixels: its layout, and a fast batched raster.

Paper: 25 mm/s, 10 mm/mV, four columns of 2.5 s above a rhythm strip of lead II. Rows are read from top to bottom,
columns from left to right: I, II, III | aVR, aVL, aVF | V1, V2, V3 | V4, V5, V6.

Raster: a batch of ECGs to images of bare ink, for phi_v. One image column is 20 ms, two samples at 100 Hz, so the trace
needs no interpolation: a column's ink runs from the lowest to the highest of its samples, the next column's first
included. Shapes: B batch, C lead, L sample, W column, H row.
"""

import torch

from .errors import require

MM_PER_S = 25.0
MM_PER_MV = 10.0
COLUMN_S = 2.5
PAGE_S = 10.0
STRIPS = 4
STRIP_MM = 32.0
PAPER_MM = (PAGE_S * MM_PER_S, STRIPS * STRIP_MM)  # width, height: 250 x 128
MARGIN_MM = 10.0
PAGE_MM = (PAPER_MM[0] + 2 * MARGIN_MM, PAPER_MM[1] + 2 * MARGIN_MM)  # width, height: 270 x 148
RHYTHM_LEAD = "II"
LAYOUT = (("I", "aVR", "V1", "V4"), ("II", "aVL", "V2", "V5"), ("III", "aVF", "V3", "V6"))

# The raster that the image encoder reads.
PX_PER_MM = 2
WIDTH = int(PAPER_MM[0] * PX_PER_MM)  # 500
HEIGHT = int(PAPER_MM[1] * PX_PER_MM)  # 256
STRIP_PX = int(STRIP_MM * PX_PER_MM)  # 64
PX_PER_MV = PX_PER_MM * MM_PER_MV
CPU_STRIPS = 1  # strips painted at a time: in cache, and small enough that threads need not wait for each other


def segments() -> list[tuple[str, int, float, float]]:
    """Every piece of trace on the page as (lead, strip 0..3, start in s, length in s): 12 short ones and the rhythm."""
    cells = [(lead, strip, column) for strip, row in enumerate(LAYOUT) for column, lead in enumerate(row)]
    short = [(lead, strip, column * COLUMN_S, COLUMN_S) for lead, strip, column in cells]
    return [*short, (RHYTHM_LEAD, STRIPS - 1, 0.0, PAGE_S)]


def raster(signal: torch.Tensor) -> torch.Tensor:
    """Draw ECGs (B, 12, 1000) in mV at 100 Hz as ink (B, 1, 256, 500) uint8: 255 is ink, 0 is paper, no grid.

    The layout is that of the paper; the trace is 1 px thick and anti-aliased. Each lead is drawn about the middle of
    its strip after its median over the record (of every fourth sample, for speed) is taken off, so that an offset does
    not push it off the paper; beyond 1.6 mV it runs along the strip's edge. Works on any device. Raises BadECG for
    another shape and, on the CPU only (elsewhere looking would wait for the device), for NaN.
    """
    shape = tuple(signal.shape)
    other = f"The raster needs (B, 12, {2 * WIDTH}) at 100 Hz, got {shape}: call ECG.standard() first."
    require(len(shape) == 3 and shape[1:] == (12, 2 * WIDTH), other)
    strips = _strips(signal.detach().float())
    missing = "The signal holds NaN or infinite values, which cannot be drawn: check it with ECG first."
    require(not strips.is_cpu or strips.isfinite().all(), missing)
    y = (STRIP_PX / 2 - PX_PER_MV * strips).clamp_(0.5, STRIP_PX - 0.5)  # (B, 4, L) px from the strip's top
    even, odd = y[..., ::2], y[..., 1::2]  # (B, 4, W)
    after = torch.cat((even[..., 1:], odd[..., -1:]), -1)  # (B, 4, W): the next column's first sample
    seam = slice(WIDTH // 4 - 1, None, WIDTH // 4)
    after[:, :-1, seam] = odd[:, :-1, seam]  # leads side by side are not joined
    top = torch.minimum(torch.minimum(even, odd), after) - 1  # half the trace and half a pixel
    bottom = torch.maximum(torch.maximum(even, odd), after) + 1
    low, high = ((255 * edge).round().to(torch.int16).view(-1, 1, WIDTH) for edge in (top, bottom))  # (4B, 1, W)
    rows = ((torch.arange(STRIP_PX, device=signal.device) + 0.5) * 255).to(torch.int16)[:, None]  # (h, 1)
    image = torch.empty(len(low), STRIP_PX, WIDTH, dtype=torch.uint8, device=signal.device)
    chunk = CPU_STRIPS if signal.device.type == "cpu" else max(1, len(low))
    for out, top, bottom in zip(image.split(chunk), low.split(chunk), high.split(chunk)):
        out.copy_(torch.minimum(rows - top, bottom - rows).clamp_(0, 255))  # (n, h, W)
    return image.view(-1, 1, HEIGHT, WIDTH)  # (B, 1, H, W)


def _strips(signal: torch.Tensor) -> torch.Tensor:
    """What each strip shows (B, 4, 1000): three rows of four leads, 2.5 s of each, then lead II throughout."""
    signal = signal - signal[..., ::4].median(-1, keepdim=True).values  # (B, 12, L)
    cells = signal.unflatten(1, (4, 3)).unflatten(-1, (4, -1))  # (B, column, row, quarter, L/4)
    rows = cells.diagonal(dim1=1, dim2=3).movedim(-1, 2).flatten(2)  # (B, 3, L)
    return torch.cat((rows, signal[:, 1:2]), 1)  # (B, 4, L)
