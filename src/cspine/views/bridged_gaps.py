"""Bridged gaps: where a volume was interpolated across missing slices, and which parts of a vertebra were measured.

A gap wider than the slices around it is bridged by linear interpolation. It blurs bone and makes steps at its edges,
both of which look like fractures: what lies in a gap is no evidence. Resampling of tilted or regular slices is no gap.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from cspine.core.typing import Bools, Floats
from cspine.spine.boxes import box_corners

if TYPE_CHECKING:
    import highdicom

    from cspine.spine.spine_map import Vertebra
    from cspine.views.level_views import LevelViews

Interval = tuple[float, float]
"""Two plane indices of a volume, the lower one first."""

_MIN_PART_FRACTION: Final = 0.15
"""A part of a vertebra with less of its height is not classified on its own."""


@dataclass(frozen=True)
class BridgedGaps:
    """The bridged gaps in the views of one vertebra.

    Attributes
    ----------
    to_plane : (4,)
        Row of the affine from ``[x, y, z, 1]``, LPS in mm, to the plane index of the volume.
    spacing_mm : float
        Distance between the volume's planes.
    extent : (float, float)
        The plane indices that the vertebra's bounding box lies between.
    zones : tuple of (float, float)
        For each gap, the last measured plane before it and the first after it, rising.
    """

    to_plane: tuple[float, float, float, float]
    spacing_mm: float
    extent: Interval
    zones: tuple[Interval, ...]

    @property
    def bridged_mm(self) -> float:
        """How much of the vertebra's height was interpolated where slices are missing."""
        return self.spacing_mm * sum(_overlap((low + 0.5, high - 0.5), self.extent) for low, high in self.zones)

    @property
    def measured_parts(self) -> tuple[Interval, ...]:
        """Between gaps, the measured intervals that hold a part of the vertebra; at least one."""
        edges = [-np.inf, *(edge for zone in self.zones for edge in zone), np.inf]
        parts = list(zip(edges[::2], edges[1::2], strict=True))
        heights = [_overlap(part, self.extent) for part in parts]
        min_height = _MIN_PART_FRACTION * (self.extent[1] - self.extent[0])
        chosen = tuple(part for part, height in zip(parts, heights, strict=True) if height >= min_height)
        return chosen or (parts[int(np.argmax(heights))],)

    def planes_at(self, lps_mm: Floats) -> Floats:
        """Return the fractional plane indices of points, (..., 3) LPS mm."""
        return np.asarray(lps_mm @ np.array(self.to_plane[:3]) + self.to_plane[3])

    def distance_mm(self, lps_mm: Floats) -> Floats:
        """Return how far points, (..., 3) LPS mm, lie from the nearest gap along the volume's normal; 0 within one."""
        planes = self.planes_at(lps_mm)
        distances = [np.maximum(np.maximum(low - planes, planes - high), 0.0) for low, high in self.zones]
        return np.asarray(self.spacing_mm * np.min(distances, axis=0))

    def to_list(self) -> list[float]:
        """Return all numbers in a row, as compiled data sets store them."""
        return [*self.to_plane, self.spacing_mm, *self.extent, *(edge for zone in self.zones for edge in zone)]

    @classmethod
    def from_list(cls, numbers: list[float]) -> BridgedGaps | None:
        """Return the gaps that `to_list` wrote; None of no numbers."""
        if not numbers:
            return None
        a, b, c, d, spacing_mm, low, high, *edges = numbers
        return cls((a, b, c, d), spacing_mm, (low, high), tuple(zip(edges[::2], edges[1::2], strict=True)))


def gaps_in_views(
    volume: highdicom.Volume, bridged_planes: tuple[int, ...], vertebra: Vertebra, views: LevelViews
) -> BridgedGaps | None:
    """Return the bridged gaps in the views of a vertebra; None where there are none.

    Parameters
    ----------
    volume : highdicom.Volume
        The volume that the views were made from.
    bridged_planes : tuple of int
        `cspine.dicom.volume.Provenance.bridged_planes` of the volume.
    vertebra : Vertebra
        The vertebra that the views show.
    views : LevelViews
        Its views.
    """
    if not bridged_planes:
        return None
    row = volume.inverse_affine[0]
    half_mm = views.settings.half_mm
    seen = _plane_interval(row, views.box_lps, np.full(3, -half_mm), np.full(3, half_mm))
    zones = tuple(zone for zone in _zones(bridged_planes) if _overlap(zone, seen) > 0)
    if not zones:
        return None
    a, b, c, d = row.tolist()
    extent = _plane_interval(row, vertebra.frame_lps, *vertebra.box_mm)
    return BridgedGaps((a, b, c, d), float(volume.spacing[0]), extent, zones)


def show_part(views: LevelViews, part: Interval) -> LevelViews:
    """Return views in which everything outside an interval of planes is black, as if the scan ended there.

    Parameters
    ----------
    views : LevelViews
        Views with bridged gaps.
    part : (float, float)
        One of `BridgedGaps.measured_parts`.
    """
    images = views.images.copy()
    for number, image in enumerate(images):
        if image.any():
            planes = view_planes(views, number)
            image[(planes < part[0]) | (planes > part[1])] = 0
    return replace(views, images=images)


def view_planes(views: LevelViews, plane: int) -> Floats:
    """Return the plane index of the volume at each pixel of a plane of views with bridged gaps, (rows, columns)."""
    if views.gaps is None:
        raise ValueError("the views have no bridged gaps")
    return views.gaps.planes_at(_pixel_positions(views, plane))


def is_near_gap(views: LevelViews, plane: int, cells: tuple[int, int], margin_mm: float) -> Bools:
    """Return which cells of a plane reach nearer to a bridged gap than a margin, (rows, columns of cells).

    Parameters
    ----------
    views : LevelViews
        Views with bridged gaps.
    plane : int
        Index of the plane in `LevelViews.images`.
    cells : (int, int)
        Rows and columns of cells of the plane.
    margin_mm : float
        The margin; 0 gives the cells that overlap a gap.
    """
    if views.gaps is None:
        raise ValueError("the views have no bridged gaps")
    distance_mm = views.gaps.distance_mm(_pixel_positions(views, plane))
    rows, columns = (count // cell for count, cell in zip(distance_mm.shape, cells, strict=True))
    nearest_mm = distance_mm.reshape(cells[0], rows, cells[1], columns).min(axis=(1, 3))
    return np.asarray(nearest_mm <= margin_mm)


def _pixel_positions(views: LevelViews, plane: int) -> Floats:
    row, column = np.indices((views.settings.pixels, views.settings.pixels))
    return views.lps(plane, row, column)


def _plane_interval(row: Floats, frame_lps: Floats, low_mm: Floats, high_mm: Floats) -> Interval:
    """Return the plane indices that a box in a frame lies between."""
    lps = frame_lps[:3, :3] @ box_corners(low_mm, high_mm) + frame_lps[:3, 3:]
    planes = row[:3] @ lps + row[3]
    return float(planes.min()), float(planes.max())


def _zones(bridged_planes: tuple[int, ...]) -> list[Interval]:
    """Return the measured planes before and after each run of bridged ones."""
    planes = np.array(bridged_planes)
    runs = np.split(planes, np.flatnonzero(np.diff(planes) > 1) + 1)
    return [(float(run[0]) - 1.0, float(run[-1]) + 1.0) for run in runs]


def _overlap(first: Interval, second: Interval) -> float:
    return max(min(first[1], second[1]) - max(first[0], second[0]), 0.0)
