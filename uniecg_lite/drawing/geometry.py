"""Where things are on ECG paper: 25 mm/s, 10 mm/mV, four columns of 2.5 s above a rhythm strip of lead II.

Rows are read from top to bottom, columns from left to right: I, II, III | aVR, aVL, aVF | V1, V2, V3 | V4, V5, V6.
"""

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


def segments():
    """Every piece of trace on the page as (lead, strip 0..3, start in s, length in s): 12 short ones and the rhythm."""
    for strip, row in enumerate(LAYOUT):
        for column, lead in enumerate(row):
            yield lead, strip, column * COLUMN_S, COLUMN_S
    yield RHYTHM_LEAD, STRIPS - 1, 0.0, PAGE_S
