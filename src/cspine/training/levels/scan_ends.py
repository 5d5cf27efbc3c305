"""Scans that end within the neck, as an augmentation: beyond a plane views are black, and vertebrae are absent.

Real scans of the head often end within C4 or C5, and the vertebra at the end of a scan was taken for fractured: only
one phantom in twelve ends within the neck.
"""

import math
from dataclasses import replace
from typing import Final, NamedTuple

import torch

from cspine.training.levels.augmentation import Views, draw_number, draw_signed
from cspine.training.levels.view_positions import view_positions

_P_CAUDAL: Final = 0.65
"""Scans of the head end in the neck more often than those of the chest begin there."""

_HEIGHTS_MM: Final = (-11.0, 6.0)
"""Of the end above the center of the vertebra's box, toward the part that was scanned."""

_NEIGHBOR_MM: Final = 17.0
"""Distance of neighboring vertebrae."""

_MAX_HEIGHT_MM: Final = 9.0
"""Where the end lies higher above the center, too little of a vertebra is left to be named."""

_MIN_HEIGHT_MM: Final = -16.0
"""Where the end lies lower, all of a vertebra is left."""

_MAX_PITCH_RAD: Final = math.radians(30.0)
_MAX_ROLL_RAD: Final = math.radians(8.0)
"""Angle between the axial planes of the scan and those of the vertebra."""

_MIN_VISIBLE: Final = 0.5
_MAX_HIDDEN: Final = 0.1
"""A fracture of which this fraction is left stays one; one of which less than the other one is left labels nothing, as
in `cspine.phantom`. No scan ends between the two."""


class ScanEnd(NamedTuple):
    """Where a scan ends.

    Attributes
    ----------
    level : int
        Index of the vertebra at the end of the scan.
    direction : float
        1 where the scan goes on above the end, -1 where it goes on below.
    height_mm : float
        Height of the end above the center of the vertebra's box, toward the part that was scanned.
    normal : (3,)
        Unit normal of the plane in the frames of the vertebrae, toward the head.
    """

    level: int
    direction: float
    height_mm: float
    normal: torch.Tensor


class CutCase(NamedTuple):
    """A case whose scan ends within the neck.

    Attributes
    ----------
    views : Views
        Black beyond the end.
    present : (7,) bool
        Vertebrae that are left.
    hidden : (7,) bool
        Fractured vertebrae whose fracture is not left, though they are.
    """

    views: Views
    present: torch.Tensor
    hidden: torch.Tensor


def draw_scan_end(present: torch.Tensor, generator: torch.Generator) -> ScanEnd:
    """Draw where a scan ends, within one of the vertebrae that are present, (7,) bool."""
    direction = 1.0 if draw_number(generator) < _P_CAUDAL else -1.0
    levels = torch.nonzero(present)[:, 0]
    level = int(levels[min(int(draw_number(generator) * len(levels)), len(levels) - 1)])
    low, high = _HEIGHTS_MM
    height = low + (high - low) * draw_number(generator)
    pitch, roll = (draw_signed(generator, 2) * torch.tensor([_MAX_PITCH_RAD, _MAX_ROLL_RAD])).tolist()
    normal = torch.tensor([math.sin(roll), math.cos(roll) * math.sin(pitch), math.cos(roll) * math.cos(pitch)])
    return ScanEnd(level, direction, height, normal)


def cut_case(
    views: Views, present: torch.Tensor, fractured: torch.Tensor, half_mm: float, end: ScanEnd
) -> CutCase | None:
    """Cut a case off where its scan ends.

    Parameters
    ----------
    views : Views
        Of seven vertebrae; not changed.
    present, fractured : (7,) bool
        Which vertebrae were localized, and which are fractured.
    half_mm : float
        Half the side of a view, mm.
    end : ScanEnd
        Where the scan ends.

    Returns
    -------
    CutCase or None
        None where the end would leave a fracture in part, or its cells are not known, or no vertebra would be left.
    """
    n_levels, _, _, rows, columns = views.images.shape
    position = view_positions(views.planes[None], views.offsets_mm[None], half_mm, (rows, columns))[0]
    along = end.direction * (position @ end.normal)
    heights = end.height_mm + _NEIGHBOR_MM * end.direction * (torch.arange(n_levels) - end.level)
    left = present & (heights <= _MAX_HEIGHT_MM)
    is_scanned = (along[None] >= heights[:, None, None, None]) & left[:, None, None, None]
    cells = views.cells * _pooled(is_scanned, views.cells.shape[-1])[:, :, None]
    before, after = (each.flatten(1).sum(dim=1) for each in (views.cells, cells))
    visible = after / before.clamp(min=1.0)
    at_end = fractured & left & (heights > _MIN_HEIGHT_MM)
    is_unclear = at_end & ((before == 0) | ((visible >= _MAX_HIDDEN) & (visible < _MIN_VISIBLE)))
    if bool(is_unclear.any()) or not bool(left.any()):
        return None
    hidden = at_end & (visible < _MAX_HIDDEN)
    cells = cells * ~hidden[:, None, None, None, None]
    return CutCase(replace(views, images=views.images * is_scanned[:, :, None], cells=cells), left, hidden)


def _pooled(mask: torch.Tensor, size: int) -> torch.Tensor:
    """Return which cells are scanned for the most part, (7, v, size, size)."""
    return (
        torch.nn.functional.adaptive_avg_pool2d(mask.flatten(0, 1)[:, None].float(), size)[:, 0].view(
            *mask.shape[:2], size, size
        )
        > 0.5
    )
