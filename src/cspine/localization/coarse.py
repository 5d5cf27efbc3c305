"""The networks' input: a volume resampled to cubic voxels along the patient's axes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
import scipy

from cspine.core.progress import Progress, silent
from cspine.core.typing import Bools, Floats, Floats32, HounsfieldUnits
from cspine.models.metadata import COARSE_MM

if TYPE_CHECKING:
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
        return self._scanned_near(self._to_index(lps_mm))

    def sample(self, lps_mm: Floats) -> Floats:
        """Return the HU at points, (n, 3) LPS mm, by linear interpolation; nan outside the scanned voxels, (n,)."""
        index = self._to_index(lps_mm)
        hu = np.asarray(scipy.ndimage.map_coordinates(self.hu, index, np.float64, order=1, cval=np.nan))
        if not self._is_scanned_completely:
            hu[~self._scanned_near(index)] = np.nan
        return hu

    def _to_index(self, lps_mm: Floats) -> Floats:
        """Return the points' positions along k, j and i, (3, n)."""
        return ((lps_mm - self.origin_lps_mm)[:, ::-1] / self.spacing_mm).T

    def _scanned_near(self, index: Floats) -> Bools:
        """Return whether the nearest voxel of each position, (3, n), was scanned, (n,)."""
        nearest = np.rint(index)
        low, high = self._scanned_box
        within: Bools = np.logical_and.reduce(
            [(low <= at) & (at < high) for at, low, high in zip(nearest, low, high, strict=True)]
        )
        if not self._is_scanned_box:
            within[within] = self.scanned_mask[tuple(nearest[:, within].astype(np.intp))]
        return within

    @cached_property
    def _scanned_box(self) -> tuple[list[int], list[int]]:
        """The first voxel of the box of all that was scanned, and the one after its last one, along k, j and i."""
        planes = [np.flatnonzero(self.scanned_mask.any(axis=others)) for others in ((1, 2), (0, 2), (0, 1))]
        return [int(each[0]) if len(each) else 0 for each in planes], [
            int(each[-1]) + 1 if len(each) else 0 for each in planes
        ]

    @cached_property
    def _is_scanned_box(self) -> bool:
        """Whether all of that box was scanned."""
        k, j, i = (slice(*ends) for ends in zip(*self._scanned_box, strict=True))
        return bool(self.scanned_mask[k, j, i].all())

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
