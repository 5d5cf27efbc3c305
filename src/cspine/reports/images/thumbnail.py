"""One small picture of a study: the sagittal image that passes nearest its most suspicious place, which is ringed."""

from io import BytesIO
from typing import Final

import numpy as np
from PIL import Image, ImageDraw

from cspine.classification.result import CaseResult

PIXELS: Final = 160
_RING: Final = 8
_RED: Final = "#FF3C00"
_QUALITY: Final = 80


def thumbnail(case_result: CaseResult) -> bytes | None:
    """Return the picture as JPEG, `PIXELS` wide and high; None of a study that is refused."""
    compiled, findings = case_result.compiled, case_result.findings
    if compiled is None:
        return None
    sagittal = compiled.sagittal
    likely = max(findings.vertebrae, key=lambda vertebra: vertebra.probability or 0.0)
    place = likely.strongest
    number = len(sagittal.images) // 2
    if place is not None:
        aside, row, column = sagittal.pixels_of([place.point_lps_mm])[0].tolist()
        number = int(np.argmin(np.abs(sagittal.offsets_mm - aside)))
    grey = Image.fromarray(sagittal.images[number])
    picture = grey.resize((PIXELS, PIXELS), Image.Resampling.LANCZOS).convert("RGB")
    if place is not None and likely.is_suspicious:
        scale = PIXELS / grey.width
        x, y = (column + 0.5) * scale, (row + 0.5) * scale
        ImageDraw.Draw(picture).ellipse((x - _RING, y - _RING, x + _RING, y + _RING), outline=_RED, width=2)
    buffer = BytesIO()
    picture.save(buffer, "JPEG", quality=_QUALITY, optimize=True)
    return buffer.getvalue()
