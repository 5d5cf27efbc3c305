"""From a network's map of a view to a place in the patient and in a DICOM slice."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from cspine.core.findings import SlicePlace, ViewEvidence
from cspine.core.typing import Floats
from cspine.dicom.codec.header import SliceHeader
from cspine.dicom.series import Series
from cspine.views.level_views import PLANES, LevelViews

_SMOOTH_CELLS: Final = 0.5


@dataclass(frozen=True)
class EvidenceField:
    """How broken each place about a vertebra is found.

    Attributes
    ----------
    views : LevelViews
        That were looked at.
    planes : (n,) int
        Which of their planes, in order.
    strength : (n, rows / 8, columns / 8) float32
        Of those planes, 0 to 1.
    """

    views: LevelViews
    planes: npt.NDArray[np.intp]
    strength: npt.NDArray[np.float32]

    def at(self, lps_mm: Floats) -> npt.NDArray[np.float32]:
        """Return how broken places, (..., 3) LPS mm, are found, (...): the strongest that a plane through them says.

        Between planes of a kind, and between cells, it is interpolated linearly; beyond the outermost it is 0.
        """
        settings, found = self.views.settings, np.zeros(lps_mm.shape[:-1], np.float32)
        cell = settings.pixels / self.strength.shape[1]
        kinds = np.array([kind for kind, _ in settings.planes])
        for kind in PLANES:
            own = kinds[self.planes] == kind
            if not own.any():
                continue
            offsets = np.array([settings.planes[plane][1] for plane in self.planes[own]])
            places = self.views.grid_places(kind, lps_mm)
            along = np.interp(places[..., 0], offsets, np.arange(len(offsets)), left=-2.0, right=len(offsets) + 1.0)
            index = np.stack([along, *((places[..., 1:] + 0.5) / cell - 0.5).transpose(-1, *range(places.ndim - 1))])
            told = ndimage.map_coordinates(self.strength[own], index, order=1, mode="grid-constant")
            np.maximum(found, told, out=found)
        return np.clip(found, 0.0, 1.0)


def strongest_place(views: LevelViews, plane: int, strength: npt.NDArray[np.float32], series: Series) -> ViewEvidence:
    """Return the place of a plane that speaks most for a fracture.

    Parameters
    ----------
    views : LevelViews
        Of the vertebra.
    plane : int
        Which of its planes.
    strength : (rows / 8, columns / 8)
        Of that plane, 0 to 1.
    series : Series
        What the views were made from.
    """
    kind, offset = views.settings.planes[plane]
    row, column, point = strongest_point(views, plane, strength)
    x, y, z = point.tolist()
    return ViewEvidence(
        plane=kind,
        offset_mm=offset,
        row=row,
        column=column,
        point_lps_mm=(x, y, z),
        slice=slice_place(series, point),
        strength=float(np.clip(strength.max(), 0.0, 1.0)),
        saliency_map=tuple(tuple(row) for row in np.clip(strength.astype(np.float64), 0.0, 1.0).round(2).tolist()),
        pixel_mm=views.settings.pixel_mm,
    )


def strongest_point(views: LevelViews, plane: int, strength: npt.NDArray[np.float32]) -> tuple[float, float, Floats]:
    """Return row and column, in pixels, and LPS mm of the place that `strongest_place` tells."""
    row, column = _peak(strength, views.settings.pixels / strength.shape[0])
    return row, column, views.lps(plane, np.asarray(row), np.asarray(column))


def _peak(strength: npt.NDArray[np.float32], cell: float) -> tuple[float, float]:
    """Return the row and column, in pixels, where a map is strongest: the middle of mass about its highest cell."""
    smooth = ndimage.gaussian_filter(strength.astype(np.float64), _SMOOTH_CELLS)
    row, column = np.unravel_index(int(smooth.argmax()), smooth.shape)
    rows, columns = (
        slice(max(int(at) - 1, 0), min(int(at) + 2, count))
        for at, count in zip((row, column), smooth.shape, strict=True)
    )
    about = smooth[rows, columns] ** 2
    r, c = np.mgrid[rows, columns]
    total = max(float(about.sum()), 1e-12)
    middle = (float((r * about).sum()) / total, float((c * about).sum()) / total)
    return (middle[0] + 0.5) * cell - 0.5, (middle[1] + 0.5) * cell - 0.5


def slice_place(series: Series, point_lps_mm: Floats) -> SlicePlace | None:
    """Return where a point lies in the nearest of a series' slices; None where that slice does not show it."""
    stack = series.stack
    headers = [series.headers[index] for index in stack.order]
    nearest = int(np.argmin(np.abs(stack.along_mm - (point_lps_mm - stack.origin_mm) @ stack.normal)))
    header = headers[nearest]
    if header.position_mm is None:
        return None
    way = point_lps_mm - np.array(header.position_mm)
    row_mm, column_mm = stack.pixel_spacing_mm
    row, column = float(way @ stack.column_direction) / row_mm, float(way @ stack.row_direction) / column_mm
    gap = max(stack.spacing_mm, 1e-6)
    if abs(float(way @ stack.normal)) > gap or not _shows(header, row, column):
        return None
    return SlicePlace(
        sop_instance_uid=header.sop_instance_uid,
        instance_number=header.instance_number,
        frame=header.frame + 1,
        row=row,
        column=column,
    )


def _shows(header: SliceHeader, row: float, column: float) -> bool:
    return -0.5 <= row < (header.rows or 0) - 0.5 and -0.5 <= column < (header.columns or 0) - 0.5
