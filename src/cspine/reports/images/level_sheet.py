"""A gray sheet for one vertebra: three planes through its strongest evidence, which is marked in each."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image, ImageDraw

from cspine.core.errors import DecodeError
from cspine.core.findings import SlicePosition, VertebraFinding, ViewEvidence, assessment_label
from cspine.core.typing import Grays
from cspine.reports.images.axial import CROP_MM, CROP_PIXELS, axial_crop
from cspine.reports.images.drawing import draw_ring, draw_text
from cspine.reports.images.overlay import SIDES
from cspine.views.compiled import CompiledStudy
from cspine.views.level_views import LevelViews, Plane

NOT_FOR_DIAGNOSIS: Final = "NOT FOR DIAGNOSIS - RESEARCH USE ONLY"
"""What every capture has burned in."""

_PANEL: Final = CROP_PIXELS
"""Rows and columns of each plane on the sheet."""

_BAND: Final = 32
"""Height of a line of text above or below the planes."""

_RING_MM: Final = 6.0


@dataclass(frozen=True)
class _Panel:
    """One plane: its gray values, the mark in pixels from the left and upper edge, and what is written on it."""

    gray: Grays
    x: float
    y: float
    ring: float
    sides: tuple[str, str]
    caption: str


def draw_level_sheet(compiled: CompiledStudy, vertebra: VertebraFinding) -> Grays | None:
    """Return the sheet of a vertebra.

    Sagittal and coronal planes run along the vertebra's own axes. The axial one is the original slice; it is along the
    vertebra's axes, too, where that slice does not show the evidence or cannot be read.

    Parameters
    ----------
    compiled : CompiledStudy
        Images of the study.
    vertebra : VertebraFinding
        A finding of it.

    Returns
    -------
    (rows, columns) uint8 or None
        None where the vertebra has no evidence in a plane.
    """
    evidence = vertebra.strongest
    views = next((views for views in compiled.images.levels if views.level == vertebra.level), None)
    if evidence is None or views is None:
        return None
    axial = _axial_panel(compiled, evidence) or _view_panel(views, "axial", evidence)
    panels = [_view_panel(views, "sagittal", evidence), _view_panel(views, "coronal", evidence), axial]
    sheet = Image.new("L", (3 * _PANEL, _PANEL + 3 * _BAND))
    pen = ImageDraw.Draw(sheet)
    draw_text(pen, (sheet.width / 2, _BAND / 2), NOT_FOR_DIAGNOSIS, 20)
    draw_text(pen, (8, 1.5 * _BAND), describe_level(vertebra), 20, anchor="lm")
    for number, panel in enumerate(panels):
        _draw_panel(sheet, panel, number * _PANEL, 2 * _BAND)
    return np.asarray(sheet)


def describe_level(vertebra: VertebraFinding) -> str:
    """Return a vertebra's line: level, probability, assessment and the slice of its strongest evidence."""
    probability = f"{100 * vertebra.probability:.0f} %" if vertebra.probability is not None else "not assessed"
    label = assessment_label(vertebra.operating_points_reached)
    parts = [f"{vertebra.level_label}  {probability}", *([label] if label else [])]
    if vertebra.strongest is not None and vertebra.strongest.slice is not None:
        parts.append(name_slice(vertebra.strongest.slice))
    return ", ".join(parts)


def name_slice(position: SlicePosition) -> str:
    """Return what a slice is called.

    >>> name_slice(SlicePosition(sop_instance_uid="1.2", instance_number=7, frame=1, row=0.0, column=0.0))
    'slice 7'
    """
    number = position.instance_number
    name = f"slice {number}" if number is not None else "slice without a number of its own"
    return f"{name}, frame {position.frame}" if position.frame > 1 else name


def _axial_panel(compiled: CompiledStudy, evidence: ViewEvidence) -> _Panel | None:
    if evidence.slice is None:
        return None
    try:
        crop = axial_crop(compiled.series, evidence.point_lps_mm, evidence.slice)
    except DecodeError:  # the file was removed or overwritten after the study was evaluated
        return None
    ring = _RING_MM * CROP_PIXELS / CROP_MM
    return _Panel(crop.gray, crop.x, crop.y, ring, crop.sides, f"original {name_slice(evidence.slice)}")


def _view_panel(views: LevelViews, orientation: Plane, evidence: ViewEvidence) -> _Panel:
    """Return the plane of an orientation that lies nearest to the evidence, of those that were made."""
    settings = views.settings
    offset_mm, row, column = views.plane_coordinates(orientation, np.array(evidence.point_lps_mm)).tolist()
    distances = {
        number: abs(plane_mm - offset_mm)
        for number, (plane, plane_mm) in enumerate(settings.planes)
        if plane == orientation and views.images[number].any()
    }
    image = views.images[min(distances, key=distances.__getitem__)] if distances else np.zeros_like(views.images[0])
    gray = (image // ((settings.max_gray + 1) // 256)).astype(np.uint8)
    scale = _PANEL / settings.pixels
    resized = Image.fromarray(gray).resize((_PANEL, _PANEL), Image.Resampling.BICUBIC)
    x, y = (column + 0.5) * scale, (row + 0.5) * scale
    ring = _RING_MM / settings.pixel_mm * scale
    return _Panel(np.asarray(resized), x, y, ring, SIDES[orientation], orientation)


def _draw_panel(sheet: Image.Image, panel: _Panel, left: int, top: int) -> None:
    """Draw a plane with its mark, which is clipped where it leaves the plane."""
    image = Image.fromarray(panel.gray)
    pen = ImageDraw.Draw(image)
    draw_ring(pen, panel.x, panel.y, panel.ring)
    draw_text(pen, (6, _PANEL / 2), panel.sides[0], 18, anchor="lm")
    draw_text(pen, (_PANEL - 6, _PANEL / 2), panel.sides[1], 18, anchor="rm")
    sheet.paste(image, (left, top))
    draw_text(ImageDraw.Draw(sheet), (left + _PANEL / 2, top + _PANEL + _BAND / 2), panel.caption)
