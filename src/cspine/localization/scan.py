"""A scan, of which any box can be resampled to cubic voxels along the patient's axes."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np
import scipy

from cspine.core.typing import Bools, Floats, Floats32, HounsfieldUnits
from cspine.dicom.hounsfield import AIR_HU
from cspine.localization.block_means import block_means
from cspine.localization.coarse import CoarseVolume, coarse_affine
from cspine.spine.boxes import box_corners, require_plausible_size
from cspine.spine.interpolation import interpolate_axis
from cspine.spine.spine_map import SpineMap

if TYPE_CHECKING:
    import highdicom


_NEGLIGIBLE: Final = 1e-6
"""Smaller parts of a voxel are rounding errors."""


@dataclass(frozen=True)
class Scan:
    """Hounsfield units in any orientation.

    Attributes
    ----------
    hu : (k, j, i) int16
        Voxels as they were scanned.
    affine_lps : (4, 4)
        From ``[k, j, i, 1]`` to LPS mm; it may reverse axes.
    """

    hu: HounsfieldUnits
    affine_lps: Floats

    @classmethod
    def of(cls, volume: "highdicom.Volume") -> "Scan":
        """Return the scan of a volume.

        Raises
        ------
        NotAssessableError
            ``implausible-size``: as of `cspine.spine.boxes.require_plausible_size`.
        """
        scan = cls(volume.array, np.array(volume.affine, dtype=np.float64))
        low, high = scan.extent_lps_mm
        require_plausible_size(high - low)
        return scan

    @cached_property
    def extent_lps_mm(self) -> tuple[Floats, Floats]:
        """The smallest and the largest LPS x, y and z of the voxels' outer faces, (3,) each."""
        corners = box_corners(np.full(3, -0.5), np.array(self.hu.shape) - 0.5)
        lps = self.affine_lps[:3, :3] @ corners + self.affine_lps[:3, 3:]
        return lps.min(axis=1), lps.max(axis=1)

    @cached_property
    def _to_index(self) -> Floats:
        return np.asarray(np.linalg.inv(self.affine_lps))

    def covers(self, lps_mm: Floats) -> Bools:
        """Return which points, (n, 3) LPS mm, were scanned, (n,)."""
        index = lps_mm @ self._to_index[:3, :3].T + self._to_index[:3, 3]
        return np.asarray(np.all((index >= -0.5) & (index <= np.array(self.hu.shape) - 0.5), axis=1))

    def turned(self, matrix: Floats) -> "Scan":
        """Return the scan turned or mirrored about its center by a matrix, (3, 3), in LPS."""
        center = self.affine_lps @ [*((np.array(self.hu.shape) - 1) / 2), 1.0]
        motion = np.eye(4)
        motion[:3, :3], motion[:3, 3] = matrix, center[:3] - matrix @ center[:3]
        return Scan(self.hu, motion @ self.affine_lps)

    def scaled(self, factor: float) -> "Scan":
        """Return the scan enlarged by a factor about the origin of LPS."""
        return Scan(self.hu, np.diag([factor, factor, factor, 1.0]) @ self.affine_lps)

    def coarsen(
        self, spacing_mm: float, box_lps_mm: tuple[Floats, Floats] | None = None, *, means: "Scan | None" = None
    ) -> CoarseVolume:
        """Resample the scan, or a box, to cubic voxels along the patient's axes.

        Means over blocks of voxels are interpolated linearly; outside the scan is air.

        Parameters
        ----------
        spacing_mm : float
            Side of a voxel; a scan of larger voxels is interpolated.
        box_lps_mm : ((3,), (3,)), optional
            Lower and upper corner of the box, which may extend beyond the scan; the scan's own where omitted.
        means : Scan, optional
            This scan, or all of it in the box, on larger voxels (`shrink`), which are resampled in its place.
        """
        low, high = self.extent_lps_mm if box_lps_mm is None else box_lps_mm
        shape = np.maximum(np.round((high - low) / spacing_mm).astype(int), 1)
        origin = (low + high) / 2 - spacing_mm * (shape - 1) / 2
        k, j, i = shape[::-1].tolist()
        affine = coarse_affine(origin, spacing_mm)
        source = self if means is None else means
        if box_lps_mm is not None:
            source = source.crop(low - 2 * spacing_mm, high + 2 * spacing_mm)
        blocks, blocks_affine = block_means(source.hu, source.affine_lps, spacing_mm)
        hu = _resample(blocks, np.linalg.inv(blocks_affine) @ affine, (k, j, i))
        scanned = self.centers_scanned(affine, (k, j, i))
        hu[~scanned] = AIR_HU
        return CoarseVolume(np.rint(hu).astype(np.int16), origin, scanned, spacing_mm)

    def shrink(self, block_mm: float) -> "Scan":
        """Return the means over blocks of voxels up to a size, in the scan's own orientation."""
        means, affine = block_means(self.hu, self.affine_lps, block_mm)
        return Scan(np.rint(means).astype(np.int16), affine)

    def crop(self, low_lps_mm: Floats, high_lps_mm: Floats) -> "Scan":
        """Return the smallest part that contains a box, or one voxel where they do not meet."""
        index = self._to_index[:3, :3] @ box_corners(low_lps_mm, high_lps_mm) + self._to_index[:3, 3:]
        count = np.array(self.hu.shape)
        start = np.clip(np.floor(index.min(axis=1)).astype(int), 0, count - 1)
        stop = np.clip(np.ceil(index.max(axis=1)).astype(int) + 1, start + 1, count)
        affine = self.affine_lps.copy()
        affine[:3, 3] += affine[:3, :3] @ start
        k, j, i = (slice(*ends) for ends in zip(start.tolist(), stop.tolist(), strict=True))
        return Scan(self.hu[k, j, i], affine)

    def centers_scanned(self, affine: Floats, shape: tuple[int, int, int]) -> Bools:
        """Return which voxels of a grid have their centers in the scan.

        Parameters
        ----------
        affine : (4, 4)
            From ``[k, j, i, 1]`` of the grid to LPS mm.
        shape : (int, int, int)
            Shape of the grid.
        """
        scanned = np.ones(shape, np.bool_)
        axes = np.ogrid[tuple(slice(count) for count in shape)]
        for row, count in zip(self._to_index @ affine, self.hu.shape, strict=False):
            at = row[3] + sum(
                along * step for along, step in zip(row[:3].tolist(), axes, strict=True) if abs(along) > _NEGLIGIBLE
            )
            scanned &= (at >= -0.5 - _NEGLIGIBLE) & (at <= count - 0.5 + _NEGLIGIBLE)
        return scanned


def _resample(values: Floats32, to_index: Floats, shape: tuple[int, int, int]) -> Floats32:
    """Interpolate linearly on a grid; axis by axis where the axes of both are parallel.

    Parameters
    ----------
    values : (k, j, i) float32
        What is interpolated.
    to_index : (4, 4)
        Affine from indices of the grid to those of the values.
    shape : (int, int, int)
        Shape of the grid.
    """
    linear = to_index[:3, :3]
    largest = np.abs(linear).max(axis=1)
    is_parallel = np.all((np.abs(linear) > _NEGLIGIBLE * largest[:, None]).sum(axis=1) == 1)
    sources = np.abs(linear).argmax(axis=0)
    if not is_parallel or len(set(sources.tolist())) < 3:
        resampled = np.empty(shape, np.float32)
        scipy.ndimage.affine_transform(
            values, linear, to_index[:3, 3], shape, output=resampled, order=1, mode="nearest"
        )
        return resampled
    for target in np.argsort([count / values.shape[source] for count, source in zip(shape, sources, strict=True)]):
        source = int(sources[target])
        positions = linear[source, target] * np.arange(shape[target]) + to_index[source, 3]
        values = interpolate_axis(values, source, positions)
    return np.ascontiguousarray(values.transpose(sources))


def crop_about(volume: "highdicom.Volume", spine: SpineMap, margin_mm: float) -> "highdicom.Volume":
    """Return the part of a volume about its vertebrae.

    Parameters
    ----------
    volume : highdicom.Volume
        HU, (k, j, i).
    spine : SpineMap
        Its vertebrae, at least one.
    margin_mm : float
        Distance that is kept beyond the box of the vertebrae's boxes along LPS x, y and z.

    Raises
    ------
    NotAssessableError
        As by `Scan.of`.
    """
    import highdicom  # noqa: PLC0415 - slow, and not needed where scans are localized

    corners = [each.frame_lps[:3, :3] @ box_corners(*each.box_mm) + each.frame_lps[:3, 3:] for each in spine.vertebrae]
    points = np.hstack(corners)
    part = Scan.of(volume).crop(points.min(axis=1) - margin_mm, points.max(axis=1) + margin_mm)
    return highdicom.Volume(np.ascontiguousarray(part.hu), part.affine_lps, "PATIENT")
