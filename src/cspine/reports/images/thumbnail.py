"""A thumbnail of a study: the sagittal image nearest to the most suspicious location, which is circled."""

from io import BytesIO
from typing import Final

import numpy as np
from PIL import Image, ImageDraw

from cspine.classification.result import CaseResult

THUMBNAIL_PIXELS: Final = 160
"""Rows and columns of a thumbnail."""

_CIRCLE_RADIUS: Final = 8
_RED: Final = "#FF3C00"
_JPEG_QUALITY: Final = 80


def draw_thumbnail(case_result: CaseResult) -> bytes | None:
    """Return the thumbnail as JPEG, `THUMBNAIL_PIXELS` wide and high; None for a study that is not assessable."""
    compiled, findings = case_result.compiled, case_result.findings
    if compiled is None:
        return None
    sagittal = compiled.sagittal
    most_suspicious = max(findings.vertebrae, key=lambda vertebra: vertebra.probability or 0.0)
    evidence = most_suspicious.strongest
    index = len(sagittal.images) // 2
    if evidence is not None:
        lateral_mm, row, column = sagittal.pixels_of([evidence.point_lps_mm])[0].tolist()
        index = int(np.argmin(np.abs(sagittal.offsets_mm - lateral_mm)))
    gray = Image.fromarray(sagittal.images[index])
    picture = gray.resize((THUMBNAIL_PIXELS, THUMBNAIL_PIXELS), Image.Resampling.LANCZOS).convert("RGB")
    if evidence is not None and most_suspicious.is_suspicious:
        scale = THUMBNAIL_PIXELS / gray.width
        x, y = (column + 0.5) * scale, (row + 0.5) * scale
        box = (x - _CIRCLE_RADIUS, y - _CIRCLE_RADIUS, x + _CIRCLE_RADIUS, y + _CIRCLE_RADIUS)
        ImageDraw.Draw(picture).ellipse(box, outline=_RED, width=2)
    buffer = BytesIO()
    picture.save(buffer, "JPEG", quality=_JPEG_QUALITY, optimize=True)
    return buffer.getvalue()
