"""A volume brought down to 3 mm along the patient's axes: what vertebrae are found in."""

from dataclasses import dataclass
from typing import Final

import highdicom
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from cspine.core.errors import NotAssessableError
from cspine.core.progress import Progress, silent
from cspine.dicom.codec.pixels import AIR_HU
from cspine.dicom.open_series import LoadPlan
from cspine.dicom.volume import Volume
from cspine.models.metadata import COARSE_MM

THIN_MM: Final = COARSE_MM / 2
"""Two slices to a coarse voxel show it almost as well as all."""

HALVED: Final = 16
"""A localizer halves its input four times: sides are multiples of this."""

UNIT_MM: Final = 10.0
"""A localizer tells places in cm, so that in training they weigh about as much as classes."""

_MIDDLE_HU, _REACH_HU = 350.0, 750.0
"""HU from -400 to 1,100 are told apart: fat to dense bone."""

MAX_VOXELS: Final = 8_000_000
"""0.5 x 0.5 x 0.86 m."""


@dataclass(frozen=True)
class CoarseVolume:
    """A scan on cubes of `COARSE_MM`, k towards the head, j to the back, i to the left.

    Attributes
    ----------
    hu : (k, j, i) int16
    origin_lps_mm : (3,)
        Where the first voxel's centre lies.
    scanned : (k, j, i) bool
        Which voxels the scan covers; beyond a tilted one there are others.
    """

    hu: npt.NDArray[np.int16]
    origin_lps_mm: npt.NDArray[np.float64]
    scanned: npt.NDArray[np.bool_]

    @property
    def affine_lps(self) -> npt.NDArray[np.float64]:
        """From ``[k, j, i, 1]`` to LPS mm."""
        return coarse_affine(self.origin_lps_mm)

    def covers(self, lps_mm: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        """Return which places, (n, 3) LPS mm, were scanned."""
        index = np.rint((lps_mm - self.origin_lps_mm)[:, ::-1] / COARSE_MM).astype(np.intp)
        within = np.all((index >= 0) & (index < self.hu.shape), axis=1)
        within[within] = self.scanned[tuple(index[within].T)]
        return np.asarray(within)


def coarse_affine(origin_lps_mm: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return the affine from ``[k, j, i, 1]`` of a coarse volume to LPS mm."""
    affine = np.zeros((4, 4))
    affine[2, 0] = affine[1, 1] = affine[0, 2] = COARSE_MM
    affine[:3, 3], affine[3, 3] = origin_lps_mm, 1.0
    return affine


def network_input(hu: npt.NDArray[np.floating], scanned: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """Return what a localiser looks at: HU brought to -1 to 1, and where anything was scanned.

    Parameters
    ----------
    hu : (k, j, i)
    scanned : (k, j, i) bool
        Elsewhere HU do not count.

    Returns
    -------
    (2, k, j, i) float32
    """
    grey = np.clip((hu - np.float32(_MIDDLE_HU)) / np.float32(_REACH_HU), -1, 1)
    return np.stack([np.where(scanned, grey, -1), scanned]).astype(np.float32)


def coarsen(volume: highdicom.Volume) -> CoarseVolume:
    """Bring a volume down to `COARSE_MM` along the patient's axes.

    Each coarse voxel is the mean over about its size, interpolated linearly; what lies outside the volume is air.

    Parameters
    ----------
    volume : highdicom.Volume
        HU in any orientation; between slices farther apart than `COARSE_MM` it is interpolated.

    Returns
    -------
    CoarseVolume
        It covers the box that holds the volume.

    Raises
    ------
    NotAssessableError
        ``implausible-size``: the box has more than `MAX_VOXELS`, which no neck has.
    """
    hu, affine = _averaged(volume)
    corners = np.array(np.meshgrid(*[(-0.5, n - 0.5) for n in volume.spatial_shape], indexing="ij")).reshape(3, -1)
    box = volume.affine[:3, :3] @ corners + volume.affine[:3, 3:]
    low, high = box.min(axis=1), box.max(axis=1)
    shape = np.maximum(np.round((high - low) / COARSE_MM).astype(int), 1)
    if np.prod(shape.astype(float)) > MAX_VOXELS:
        sides = " x ".join(f"{side / 1000:.1f}" for side in high - low)
        raise NotAssessableError("implausible-size", f"by its headers the scan is {sides} m large, which no neck is")
    origin = (low + high) / 2 - COARSE_MM * (shape - 1) / 2
    to_index = np.linalg.inv(affine) @ coarse_affine(origin)
    coarse = np.empty(tuple(shape[::-1]), np.float32)
    ndimage.affine_transform(
        hu, to_index[:3, :3], to_index[:3, 3], coarse.shape, output=coarse, order=1, mode="grid-constant", cval=AIR_HU
    )
    return CoarseVolume(np.rint(coarse).astype(np.int16), origin, _scanned(volume, origin, coarse.shape))


def _scanned(
    volume: highdicom.Volume, origin_lps_mm: npt.NDArray[np.float64], shape: tuple[int, ...]
) -> npt.NDArray[np.bool_]:
    """Return which coarse voxels have their middles in a volume."""
    to_index = np.linalg.inv(volume.affine) @ coarse_affine(origin_lps_mm)
    scanned = np.ones(shape, np.bool_)
    axes = np.ogrid[tuple(slice(count) for count in shape)]
    for row, count in zip(to_index, volume.spatial_shape, strict=False):
        at = row[3] + sum(along * step for along, step in zip(row[:3].tolist(), axes, strict=True))
        scanned &= (at >= -0.5) & (at <= count - 0.5)
    return scanned


def load_thinned(plan: LoadPlan, *, progress: Progress = silent) -> Volume:
    """Load as few of a series' slices as a coarse volume takes: one at least every `THIN_MM`.

    Parameters
    ----------
    plan : LoadPlan
        Of `cspine.dicom.open_series`.
    progress : Progress
        Told about decoding.

    Raises
    ------
    InputError
        As `cspine.dicom.load_volume` does.
    """
    step = max(int(THIN_MM / plan.series.stack.spacing_mm + 0.01), 1)
    return plan.load(slices=slice(None, None, step), progress=progress)


def _averaged(volume: highdicom.Volume) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]:
    """Return the means over blocks of whole voxels up to `COARSE_MM` large, and their affine."""
    hu, affine = volume.array, np.array(volume.affine, dtype=np.float64)
    factors = np.maximum((COARSE_MM / np.array(volume.spacing) + 0.01).astype(int), 1)
    factors = np.minimum(factors, hu.shape)
    thick = int(factors[0])
    starts = range(0, len(hu), thick)
    means = np.stack([_plane_means(_full(hu[k : k + thick], thick), factors[1:]) for k in starts])
    affine[:3, 3] += affine[:3, :3] @ ((factors - 1) / 2)
    affine[:3, :3] *= factors
    return means, affine


def _full(planes: npt.NDArray[np.int16], count: int) -> npt.NDArray[np.int16]:
    """Return so many planes or columns: the last are repeated where the volume ends amid a block."""
    missing = count - len(planes)
    return planes if missing <= 0 else np.concatenate([planes, np.repeat(planes[-1:], missing, axis=0)])


def _plane_means(planes: npt.NDArray[np.int16], factors: npt.NDArray[np.intp]) -> npt.NDArray[np.float32]:
    """Return the mean over some planes and over blocks within them; the last blocks go on as the slice ends."""
    rows, columns = (-(-count // factor) for count, factor in zip(planes.shape[1:], factors.tolist(), strict=True))
    summed = planes.sum(axis=0, dtype=np.int32)
    over = np.array([rows, columns]) * factors - summed.shape
    if over.any():
        summed = np.pad(summed, [(0, int(after)) for after in over], mode="edge")
    blocks = summed.reshape(rows, factors[0], columns, factors[1]).sum(axis=(1, 3))
    return np.asarray(blocks / (len(planes) * factors[0] * factors[1]), np.float32)
