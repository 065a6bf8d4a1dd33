"""What does it look like on paper? A fast raster for the image encoder, a figure for people, a page to print."""

from uniecg_lite.drawing.curves import against, bars, grid, losses
from uniecg_lite.drawing.ink import raster
from uniecg_lite.drawing.page import read_page, save_page
from uniecg_lite.drawing.paper import alt_text, compare, figure, png, show

__all__ = [
    "against",
    "alt_text",
    "bars",
    "compare",
    "figure",
    "grid",
    "losses",
    "png",
    "raster",
    "read_page",
    "save_page",
    "show",
]
