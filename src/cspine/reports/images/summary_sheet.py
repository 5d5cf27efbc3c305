"""A gray sheet for one study: a sagittal image with all levels and marks, and what was found, where and by what."""

import textwrap
from collections.abc import Iterator
from typing import Final

import numpy as np
from PIL import Image, ImageDraw

from cspine.classification.result import CaseResult
from cspine.core.anatomy import RESEARCH_USE_ONLY
from cspine.core.findings import Findings, VertebraFinding, assessment_label
from cspine.core.typing import Grays
from cspine.reports.images.drawing import draw_ring, draw_text
from cspine.reports.images.level_sheet import NOT_FOR_DIAGNOSIS, name_slice
from cspine.reports.images.overlay import describe_offset, vertebra_outlines
from cspine.views.compiled import CompiledStudy

_PICTURE: Final = 576
"""Rows and columns of the sagittal image on the sheet."""

_TEXT_WIDTH: Final = 520
_BAND: Final = 32
_LINE: Final = 24
_FONT: Final = 16

_CHARACTERS: Final = 62
"""Longest line of text; later words go to the next one."""

_MAX_WARNINGS: Final = 4
"""Further warnings are counted: the report has them all."""

_RING_MM: Final = 6.0

_MAX_OFFSET_MM: Final = 4.0
"""Evidence further from the image than this is drawn darker, with its side and distance."""

_GRAY: Final = 170

_FINGERPRINT_LENGTH: Final = 12
"""Hexadecimal digits of a weights file's SHA-256 that the sheet shows."""


def draw_summary_sheet(case_result: CaseResult) -> Grays:
    """Return the sheet of an assessable study.

    Parameters
    ----------
    case_result : CaseResult
        Its findings and images.

    Returns
    -------
    (rows, columns) uint8
    """
    compiled, findings = case_result.compiled, case_result.findings
    sheet = Image.new("L", (_PICTURE + _TEXT_WIDTH, _PICTURE + 2 * _BAND))
    pen = ImageDraw.Draw(sheet)
    draw_text(pen, (sheet.width / 2, _BAND / 2), NOT_FOR_DIAGNOSIS, 20)
    if compiled is not None:
        sheet.paste(_draw_sagittal(compiled, findings), (0, _BAND))
    for number, line in enumerate(_lines(findings)):
        y = _BAND + (number + 0.5) * _LINE
        if y < sheet.height - _BAND:
            draw_text(pen, (_PICTURE + 12, y), line, _FONT, anchor="lm")
    draw_text(pen, (8, sheet.height - _BAND / 2), RESEARCH_USE_ONLY, _FONT, anchor="lm")
    return np.asarray(sheet)


def _draw_sagittal(compiled: CompiledStudy, findings: Findings) -> Image.Image:
    """Draw the sagittal image nearest to the evidence of the most suspicious vertebra, or else the middle one."""
    sagittal, spine = compiled.sagittal, compiled.images.spine
    suspicious = sorted(
        (vertebra for vertebra in findings.vertebrae if vertebra.is_suspicious and vertebra.strongest is not None),
        key=lambda vertebra: -(vertebra.probability or 0.0),
    )
    points = sagittal.pixels_of([v.strongest.point_lps_mm for v in suspicious if v.strongest is not None])
    index = len(sagittal.images) // 2
    if suspicious:
        index = int(np.argmin(np.abs(sagittal.offsets_mm - points[0, 0])))
    scale = _PICTURE / sagittal.images.shape[1]
    gray = Image.fromarray(sagittal.images[index])
    picture = gray.resize((_PICTURE, _PICTURE), Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(picture)
    for outline in vertebra_outlines(sagittal, spine)[index] if spine else []:
        pen.polygon([(x * scale, y * scale) for x, y in outline.corners], outline=_GRAY)
        draw_text(pen, (outline.x * scale, outline.y * scale), outline.label, _FONT, gray=220)
    for vertebra, (lateral_mm, row, column) in reversed(list(zip(suspicious, points.tolist(), strict=True))):
        x, y = (column + 0.5) * scale, (row + 0.5) * scale
        radius = _RING_MM / sagittal.pixel_mm * scale
        beside_mm = lateral_mm - float(sagittal.offsets_mm[index])
        is_near = abs(beside_mm) <= _MAX_OFFSET_MM
        draw_ring(pen, x, y, radius, gray=255 if is_near else _GRAY)
        side = "" if is_near else f", {abs(beside_mm):.0f} mm {'left' if beside_mm > 0 else 'right'} of this image"
        draw_text(pen, (x + 1.6 * radius, y), f"{vertebra.level}{side}", _FONT, anchor="lm")
    draw_text(pen, (6, 14), "A", 18, anchor="lm")
    draw_text(pen, (_PICTURE - 6, 14), "P", 18, anchor="rm")
    draw_text(pen, (_PICTURE / 2, 14), describe_offset(float(sagittal.offsets_mm[index])), _FONT)
    return picture


def _lines(findings: Findings) -> Iterator[str]:
    """Yield the lines of text."""
    patient = findings.patient_overall
    if patient is not None:
        label = assessment_label(patient.operating_points_reached)
        yield f"Any fracture of C1 to C7: {100 * patient.probability:.1f} %{f', {label}' if label else ''}"
    yield ""
    yield from (_level_line(vertebra) for vertebra in findings.vertebrae)
    yield ""
    yield from _wrap(f"Series: {'; '.join(findings.series_reasons)}") if findings.series_reasons else ()
    yield from _wrap(f"cspine {findings.software.version}; {', '.join(_weights(findings))}")
    yield ""
    for warning in findings.warnings[:_MAX_WARNINGS]:
        yield from _wrap(f"- {warning}")
    if len(findings.warnings) > _MAX_WARNINGS:
        yield f"- {len(findings.warnings) - _MAX_WARNINGS} more in the report"


def _weights(findings: Findings) -> Iterator[str]:
    """Yield the name and the fingerprint of each of the networks."""
    for kind, weights in (("weights", findings.weights), ("localizer", findings.localizer)):
        if weights is not None:
            yield f"{kind} {weights.name} (SHA-256 {weights.sha256[:_FINGERPRINT_LENGTH]})"


def _level_line(vertebra: VertebraFinding) -> str:
    if vertebra.probability is None:
        return f"{vertebra.level_label}: {vertebra.coverage_label}"
    parts = [f"{vertebra.level_label}: {100 * vertebra.probability:.0f} %"]
    label = assessment_label(vertebra.operating_points_reached)
    if label:
        parts.append(label)
    if vertebra.is_suspicious and vertebra.strongest is not None and vertebra.strongest.slice is not None:
        parts.append(name_slice(vertebra.strongest.slice))
    if vertebra.coverage == "partial":
        parts.append("partly scanned")
    return ", ".join(parts)


def _wrap(text: str) -> list[str]:
    return textwrap.wrap(text, _CHARACTERS, subsequent_indent="   ")
