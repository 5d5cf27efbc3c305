"""Saliency maps: from the cells of a view to points in the patient and positions in DICOM slices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import scipy

from cspine.core.findings import SlicePosition, ViewEvidence
from cspine.core.typing import Floats, Floats32, Indices
from cspine.views.level_views import PLANES, LevelViews

if TYPE_CHECKING:
    from cspine.dicom.codec.header import SliceHeader
    from cspine.dicom.series import Series

_PEAK_SIGMA_CELLS: Final = 0.5
"""Standard deviation of the smoothing before the peak of a map is located."""


@dataclass(frozen=True)
class EvidenceField:
    """The saliency of every point around a vertebra, interpolated between its planes.

    Attributes
    ----------
    views : LevelViews
        Level views of the vertebra, with their planes.
    planes : (n,) int
        Indices of the planes that have a saliency map, in order.
    strength : (n, rows / 8, columns / 8) float32
        Saliency maps of those planes, 0 to 1.
    """

    views: LevelViews
    planes: Indices
    strength: Floats32

    def at(self, lps_mm: Floats) -> Floats32:
        """Return the saliency of points: the maximum over the three orientations.

        In each orientation it is interpolated linearly between planes and between cells; beyond the outermost it is 0.

        Parameters
        ----------
        lps_mm : (..., 3)
            Points in LPS mm.

        Returns
        -------
        (...) float32
            Between 0 and 1.
        """
        settings, saliency = self.views.settings, np.zeros(lps_mm.shape[:-1], np.float32)
        cell_pixels = settings.pixels / self.strength.shape[1]
        orientations = np.array([orientation for orientation, _ in settings.planes])
        for orientation in PLANES:
            chosen = orientations[self.planes] == orientation
            if not chosen.any():
                continue
            offsets = np.array([settings.planes[plane][1] for plane in self.planes[chosen]])
            points = self.views.plane_coordinates(orientation, lps_mm)
            number = np.interp(points[..., 0], offsets, np.arange(len(offsets)), left=-2.0, right=len(offsets) + 1.0)
            cells = ((points[..., 1:] + 0.5) / cell_pixels - 0.5).transpose(-1, *range(points.ndim - 1))
            index = np.stack([number, *cells])
            interpolated = scipy.ndimage.map_coordinates(self.strength[chosen], index, order=1, mode="grid-constant")
            np.maximum(saliency, interpolated, out=saliency)
        return np.clip(saliency, 0.0, 1.0)


def view_evidence(views: LevelViews, plane: int, saliency: Floats32, series: Series) -> ViewEvidence:
    """Return the evidence of a plane: the point with the greatest saliency, in the patient and in a slice.

    Parameters
    ----------
    views : LevelViews
        Level views of the vertebra, with their planes.
    plane : int
        Index of the plane.
    saliency : (rows / 8, columns / 8)
        Saliency map of that plane, 0 to 1.
    series : Series
        The series that the views were made from.
    """
    orientation, offset_mm = views.settings.planes[plane]
    row, column, point = strongest_point(views, plane, saliency)
    x, y, z = point.tolist()
    return ViewEvidence(
        plane=orientation,
        offset_mm=offset_mm,
        row=row,
        column=column,
        point_lps_mm=(x, y, z),
        slice=slice_position(series, point),
        strength=float(np.clip(saliency.max(), 0.0, 1.0)),
        saliency_map=tuple(tuple(row) for row in np.clip(saliency.astype(np.float64), 0.0, 1.0).round(2).tolist()),
        pixel_mm=views.settings.pixel_mm,
    )


def strongest_point(views: LevelViews, plane: int, saliency: Floats32) -> tuple[float, float, Floats]:
    """Return the point of a plane with the greatest saliency.

    Parameters
    ----------
    views, plane, saliency
        As in `view_evidence`.

    Returns
    -------
    row, column : float
        In pixels of the view.
    point : (3,)
        Position of the evidence, LPS in mm.
    """
    row, column = _peak(saliency, views.settings.pixels / saliency.shape[0])
    return row, column, views.lps(plane, np.asarray(row), np.asarray(column))


def _peak(saliency: Floats32, cell_pixels: float) -> tuple[float, float]:
    """Return row and column, in pixels, of a map's peak: the center of mass about its highest cell."""
    smooth = scipy.ndimage.gaussian_filter(saliency.astype(np.float64), _PEAK_SIGMA_CELLS)
    row, column = np.unravel_index(int(smooth.argmax()), smooth.shape)
    rows, columns = (
        slice(max(int(at) - 1, 0), min(int(at) + 2, count))
        for at, count in zip((row, column), smooth.shape, strict=True)
    )
    mass = smooth[rows, columns] ** 2
    r, c = np.mgrid[rows, columns]
    total = max(float(mass.sum()), 1e-12)
    center = (float((r * mass).sum()) / total, float((c * mass).sum()) / total)
    return (center[0] + 0.5) * cell_pixels - 0.5, (center[1] + 0.5) * cell_pixels - 0.5


def slice_position(series: Series, point_lps_mm: Floats) -> SlicePosition | None:
    """Return the position of a point in the nearest slice of a series; None where that slice does not show it.

    Parameters
    ----------
    series : Series
        A series with geometry.
    point_lps_mm : (3,)
        A point in LPS mm.
    """
    stack, header = series.stack, series.nearest_slice(point_lps_mm)
    if header.position_mm is None:
        return None
    offset_mm = point_lps_mm - np.array(header.position_mm)
    row_mm, column_mm = stack.pixel_spacing_mm
    row = float(offset_mm @ stack.column_direction) / row_mm
    column = float(offset_mm @ stack.row_direction) / column_mm
    max_distance_mm = max(stack.spacing_mm, 1e-6)
    if abs(float(offset_mm @ stack.normal)) > max_distance_mm or not _contains(header, row, column):
        return None
    return SlicePosition(
        sop_instance_uid="" if header.sop_instance_uid in series.ambiguous_uids else header.sop_instance_uid,
        instance_number=None if header.instance_number in series.ambiguous_numbers else header.instance_number,
        frame=header.frame + 1,
        row=row,
        column=column,
    )


def _contains(header: SliceHeader, row: float, column: float) -> bool:
    return -0.5 <= row < (header.rows or 0) - 0.5 and -0.5 <= column < (header.columns or 0) - 0.5
