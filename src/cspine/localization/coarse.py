"""The localizer's input: a volume resampled to isotropic voxels of 3 mm along the patient's axes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
import scipy

from cspine.core.progress import Progress, silent
from cspine.core.typing import Bools, Floats, Floats32, HounsfieldUnits, Indices
from cspine.dicom.hounsfield import AIR_HU
from cspine.models.metadata import COARSE_MM
from cspine.spine.boxes import grid_extent_lps_mm, require_plausible_size

if TYPE_CHECKING:
    import highdicom

    from cspine.dicom.loading import LoadPlan
    from cspine.dicom.volume import Volume

MAX_THINNED_SPACING_MM: Final = COARSE_MM / 2
"""Slices are skipped up to this spacing; two slices per coarse voxel show it almost as well as all."""

REGION_MM: Final = 2 * COARSE_MM
"""Side of a voxel of the region network's input."""

OFFSET_UNIT_MM: Final = 10.0
"""The localizer predicts positions in cm, so that in training their loss is about as large as that of the classes."""

_CENTER_HU, _HALF_WIDTH_HU = 350.0, 750.0
"""The input window, -400 to 1,100 HU, distinguishes fat to dense bone."""


@dataclass(frozen=True)
class CoarseVolume:
    """A scan on cubic voxels, k towards the head, j to the back, i to the left.

    Attributes
    ----------
    hu : (k, j, i) int16
        Mean Hounsfield units; air outside the scan.
    origin_lps_mm : (3,)
        Center of the first voxel.
    scanned_mask : (k, j, i) bool
        Which voxels the scan covers; the box of an oblique scan has others, too.
    spacing_mm : float
        Side of a voxel.
    """

    hu: HounsfieldUnits
    origin_lps_mm: Floats
    scanned_mask: Bools
    spacing_mm: float = COARSE_MM

    @property
    def affine_lps(self) -> Floats:
        """Affine from ``[k, j, i, 1]`` to LPS mm, (4, 4)."""
        return coarse_affine(self.origin_lps_mm, self.spacing_mm)

    def covers(self, lps_mm: Floats) -> Bools:
        """Return which points, (n, 3) LPS mm, were scanned, (n,)."""
        index = np.rint((lps_mm - self.origin_lps_mm)[:, ::-1] / self.spacing_mm).astype(np.intp)
        within = np.all((index >= 0) & (index < self.hu.shape), axis=1)
        within[within] = self.scanned_mask[tuple(index[within].T)]
        return np.asarray(within)

    def sample(self, lps_mm: Floats) -> Floats:
        """Return the HU at points, (n, 3) LPS mm, by linear interpolation; nan outside the scanned voxels, (n,)."""
        index = ((lps_mm - self.origin_lps_mm)[:, ::-1] / self.spacing_mm).T
        hu = np.asarray(scipy.ndimage.map_coordinates(self.hu, index, np.float64, order=1, cval=np.nan))
        if not self._is_scanned_completely:
            hu[~self.covers(lps_mm)] = np.nan
        return hu

    @cached_property
    def _is_scanned_completely(self) -> bool:
        return bool(self.scanned_mask.all())


def coarse_affine(origin_lps_mm: npt.ArrayLike, spacing_mm: float = COARSE_MM) -> Floats:
    """Return the affine from ``[k, j, i, 1]`` of a coarse volume to LPS mm, (4, 4).

    >>> coarse_affine([0.0, 0.0, 90.0]) @ [1, 0, 0, 1]
    array([ 0.,  0., 93.,  1.])
    """
    affine = np.zeros((4, 4))
    affine[2, 0] = affine[1, 1] = affine[0, 2] = spacing_mm
    affine[:3, 3], affine[3, 3] = origin_lps_mm, 1.0
    return affine


def network_input(hu: npt.NDArray[np.floating] | HounsfieldUnits, scanned: Bools) -> Floats32:
    """Return the localizer's input: HU scaled to -1 to 1, and the mask of what was scanned.

    Parameters
    ----------
    hu : (k, j, i)
        Hounsfield units of a coarse volume.
    scanned : (k, j, i) bool
        Which voxels were scanned; the HU of others are replaced by -1.

    Returns
    -------
    (2, k, j, i) float32
    """
    scaled = np.clip((hu - np.float32(_CENTER_HU)) / np.float32(_HALF_WIDTH_HU), -1, 1)
    return np.stack([np.where(scanned, scaled, -1), scanned]).astype(np.float32)


def coarsen(volume: highdicom.Volume) -> CoarseVolume:
    """Resample a volume to `COARSE_MM` along the patient's axes.

    Means over blocks of voxels are interpolated linearly; outside the volume is air.

    Parameters
    ----------
    volume : highdicom.Volume
        HU in any orientation; slices farther apart than `COARSE_MM` are interpolated.

    Returns
    -------
    CoarseVolume
        It covers the bounding box of the volume.

    Raises
    ------
    NotAssessableError
        ``implausible-size``: as of `cspine.spine.boxes.require_plausible_size`.
    """
    low, high = grid_extent_lps_mm(volume, margin=0.5)
    require_plausible_size(high - low)
    hu, affine = _block_means(volume)
    shape = np.maximum(np.round((high - low) / COARSE_MM).astype(int), 1)
    origin = (low + high) / 2 - COARSE_MM * (shape - 1) / 2
    to_index = np.linalg.inv(affine) @ coarse_affine(origin)
    coarse = np.empty(tuple(shape[::-1]), np.float32)
    scipy.ndimage.affine_transform(
        hu, to_index[:3, :3], to_index[:3, 3], coarse.shape, output=coarse, order=1, mode="grid-constant", cval=AIR_HU
    )
    return CoarseVolume(np.rint(coarse).astype(np.int16), origin, _centers_in_volume(volume, origin, coarse.shape))


def _centers_in_volume(volume: highdicom.Volume, origin_lps_mm: Floats, shape: tuple[int, ...]) -> Bools:
    """Return which coarse voxels have their centers in a volume."""
    to_index = np.linalg.inv(volume.affine) @ coarse_affine(origin_lps_mm)
    scanned = np.ones(shape, np.bool_)
    axes = np.ogrid[tuple(slice(count) for count in shape)]
    for row, count in zip(to_index, volume.spatial_shape, strict=False):
        at = row[3] + sum(along * step for along, step in zip(row[:3].tolist(), axes, strict=True))
        scanned &= (at >= -0.5) & (at <= count - 0.5)
    return scanned


def load_thinned(plan: LoadPlan, *, progress: Progress = silent) -> Volume:
    """Load as few slices of a series as a coarse volume needs: one per `MAX_THINNED_SPACING_MM` at least.

    Parameters
    ----------
    plan : LoadPlan
        The series to load, of `cspine.dicom.open_series`.
    progress : Progress
        Called with the number of slices decoded.

    Raises
    ------
    InputError
        The series cannot be loaded, as in `LoadPlan.load`.
    """
    step = max(int(MAX_THINNED_SPACING_MM / plan.series.stack.spacing_mm + 0.01), 1)
    return plan.load(slices=slice(None, None, step), progress=progress)


def _block_means(volume: highdicom.Volume) -> tuple[Floats32, Floats]:
    """Return the means over blocks of voxels up to `COARSE_MM` large, and their affine."""
    hu, affine = volume.array, np.array(volume.affine, dtype=np.float64)
    factors = np.maximum((COARSE_MM / np.array(volume.spacing) + 0.01).astype(int), 1)
    factors = np.minimum(factors, hu.shape)
    n_planes = int(factors[0])
    starts = range(0, len(hu), n_planes)
    means = np.stack([_plane_means(_pad_planes(hu[k : k + n_planes], n_planes), factors[1:]) for k in starts])
    affine[:3, 3] += affine[:3, :3] @ ((factors - 1) / 2)
    affine[:3, :3] *= factors
    return means, affine


def _pad_planes(planes: HounsfieldUnits, count: int) -> HounsfieldUnits:
    """Return a number of planes; the last one is repeated where the volume ends within a block."""
    missing = count - len(planes)
    return planes if missing <= 0 else np.concatenate([planes, np.repeat(planes[-1:], missing, axis=0)])


def _plane_means(planes: HounsfieldUnits, factors: Indices) -> Floats32:
    """Return the means over all planes and over blocks within them; the last blocks are padded by the slice's edge."""
    rows, columns = (-(-count // factor) for count, factor in zip(planes.shape[1:], factors.tolist(), strict=True))
    summed = planes.sum(axis=0, dtype=np.int32)
    padding = np.array([rows, columns]) * factors - summed.shape
    if padding.any():
        summed = np.pad(summed, [(0, int(after)) for after in padding], mode="edge")
    blocks = summed.reshape(rows, factors[0], columns, factors[1]).sum(axis=(1, 3))
    return np.asarray(blocks / (len(planes) * factors[0] * factors[1]), np.float32)
