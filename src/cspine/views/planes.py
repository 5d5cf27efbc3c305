"""Mean Hounsfield units over the pixels of parallel sagittal planes.

Linear interpolation and the mean over a pixel's samples are both weighted sums. Where the axes of a volume are parallel
to the patient's, the weights along x, y and z are separable. A set of planes is then the product of three small
matrices with the volume: each voxel near the spine is read once, whatever the number of planes and samples.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
import scipy

from cspine.core.processors import default_workers
from cspine.core.typing import Floats32, HounsfieldUnits
from cspine.dicom.hounsfield import AIR_HU

if TYPE_CHECKING:
    import highdicom

_Coordinates = npt.NDArray[np.floating]

_MAX_SKEW_VOXELS: Final = 0.01
"""Axes count as parallel where none deviates by more than this fraction of a voxel over its complete length."""

_PLANES_PER_BLOCK: Final = 8
"""Planes of the volume that a thread processes at a time; they fit its cache."""


@dataclass(frozen=True)
class PlaneSamples:
    """Sample positions of planes of constant LPS x, in mm; the second axis counts the samples of one pixel.

    Attributes
    ----------
    x : (planes, samples)
        LPS x across the thickness of each plane.
    y : (columns, samples)
        LPS y within each column.
    z : (rows, samples)
        LPS z within each row.
    """

    x: _Coordinates
    y: _Coordinates
    z: _Coordinates


def mean_planes(volume: "highdicom.Volume", samples: PlaneSamples) -> Floats32:
    """Return the mean HU of each pixel of each plane.

    Parameters
    ----------
    volume : highdicom.Volume
        HU in any orientation.
    samples : PlaneSamples
        What is averaged; each sample is interpolated linearly between voxels and is air outside the volume.

    Returns
    -------
    (planes, rows, columns) float32
    """
    axes = _axes_along_patient(volume)
    return _sample_planes(volume, samples) if axes is None else _multiply_planes(volume, samples, axes)


def _axes_along_patient(volume: "highdicom.Volume") -> tuple[int, int, int] | None:
    """Return which of the array's axes run along LPS x, y and z; None where any is oblique."""
    steps = np.abs(volume.affine[:3, :3])
    axes = steps.argmax(axis=1)
    if len(set(axes.tolist())) < 3:
        return None
    along = steps[np.arange(3), axes]
    deviation = steps * np.array(volume.spatial_shape)
    deviation[np.arange(3), axes] = 0.0
    if np.any(deviation.max(axis=1) > _MAX_SKEW_VOXELS * along):
        return None
    x, y, z = axes.tolist()
    return x, y, z


def _multiply_planes(volume: "highdicom.Volume", samples: PlaneSamples, axes: tuple[int, int, int]) -> Floats32:
    """Apply the weight matrices of x, then y, then z."""
    x, y, z = (
        _AxisWeights.of(at_mm, volume, lps_axis, axis)
        for lps_axis, (at_mm, axis) in enumerate(zip((samples.x, samples.y, samples.z), axes, strict=True))
    )
    hu = volume.array.transpose(axes[::-1])[z.used, y.used, x.used]
    if not hu.size:
        return np.full((len(samples.x), len(samples.z), len(samples.y)), AIR_HU, np.float32)
    over_x = _multiply_x(hu, x.weights)
    over_xy = (y.weights @ over_x.reshape(len(over_x), -1)).reshape(-1, len(hu), len(samples.x))
    over_all = (z.weights @ over_xy.swapaxes(0, 1).reshape(len(hu), -1)).reshape(-1, *over_xy.shape[::2])
    inside = z.inside_fraction[:, None, None] * y.inside_fraction[None, :, None] * x.inside_fraction[None, None, :]
    mean: Floats32 = np.ascontiguousarray((over_all + AIR_HU * (1.0 - inside)).transpose(2, 0, 1))
    return mean


def _multiply_x(hu: HounsfieldUnits, weights: "scipy.sparse.csr_array") -> Floats32:
    """Return the weighted sums ``[y, z, plane]`` of HU ``[z, y, x]`` over the few voxels that each plane covers."""
    over_x = np.zeros((hu.shape[1], hu.shape[0], weights.shape[0]), np.float32)
    runs = []
    for plane in range(weights.shape[0]):
        start, stop = weights.indptr[plane : plane + 2]
        if stop > start:
            runs.append((plane, weights.indices[start], weights.indices[stop - 1] + 1, weights.data[start:stop]))

    def multiply(start: int) -> None:
        block = hu[start : start + _PLANES_PER_BLOCK]
        for plane, first, last, plane_weights in runs:
            product = (block[:, :, first:last].astype(np.float32) @ plane_weights).T
            over_x[:, start : start + _PLANES_PER_BLOCK, plane] = product

    with ThreadPoolExecutor(default_workers()) as threads:
        list(threads.map(multiply, range(0, len(hu), _PLANES_PER_BLOCK)))
    return over_x


@dataclass(frozen=True)
class _AxisWeights:
    """The weight of each voxel along one axis in each pixel's mean.

    Attributes
    ----------
    weights : (pixels, voxels used) sparse float32
        Each pixel's voxels are contiguous.
    used : slice
        The voxels that have a weight in any pixel.
    inside_fraction : (pixels,) float32
        Which fraction of each pixel's samples lies inside the volume.
    """

    weights: "scipy.sparse.csr_array"
    used: slice
    inside_fraction: Floats32

    @classmethod
    def of(cls, at_mm: _Coordinates, volume: "highdicom.Volume", lps_axis: int, axis: int) -> "_AxisWeights":
        count = volume.spatial_shape[axis]
        index = (at_mm - volume.affine[lps_axis, 3]) / volume.affine[lps_axis, axis]
        inside = (index >= 0.0) & (index <= count - 1)
        low = np.clip(np.floor(index).astype(np.intp), 0, max(count - 2, 0))
        upper_weight = np.where(inside, index - low, 0.0)
        weights = np.zeros((len(index), count), np.float64)
        pixel = np.broadcast_to(np.arange(len(index))[:, None], index.shape)
        np.add.at(weights, (pixel, low), inside * (1.0 - upper_weight) / index.shape[1])
        np.add.at(weights, (pixel, np.minimum(low + 1, count - 1)), upper_weight / index.shape[1])
        voxels = np.flatnonzero(weights.any(axis=0))
        used = slice(int(voxels[0]), int(voxels[-1]) + 1) if len(voxels) else slice(0, 0)
        # A pixel's first to last voxel are kept, zeros between them too.
        kept = weights[:, used]
        run = (np.cumsum(kept, axis=1) > 0.0) & (np.cumsum(kept[:, ::-1], axis=1)[:, ::-1] > 0.0)
        ends = np.concatenate([[0], np.cumsum(run.sum(axis=1))])
        rows = scipy.sparse.csr_array((kept[run].astype(np.float32), np.nonzero(run)[1], ends), shape=kept.shape)
        return cls(rows, used, weights.sum(axis=1).astype(np.float32))


def _sample_planes(volume: "highdicom.Volume", samples: PlaneSamples) -> Floats32:
    """Sample an oblique volume, plane by plane."""
    ys, zs = samples.y.ravel(), samples.z.ravel()
    shape = (*samples.z.shape, *samples.y.shape)
    planes = np.empty((len(samples.x), len(samples.z), len(samples.y)), np.float32)
    for number, xs in enumerate(samples.x):
        hu = np.mean([_sample_plane(volume, x, ys, zs) for x in xs], axis=0)
        planes[number] = hu.reshape(shape).mean(axis=(1, 3))
    return planes


def _sample_plane(volume: "highdicom.Volume", x: float, ys: _Coordinates, zs: _Coordinates) -> Floats32:
    """Return HU ``[z, y]`` of the plane at LPS `x`, linearly interpolated; air outside."""
    to_index = volume.inverse_affine
    index = (
        to_index[:3, 0, None, None] * x
        + to_index[:3, 1, None, None] * ys[None, None, :]
        + to_index[:3, 2, None, None] * zs[None, :, None]
        + to_index[:3, 3, None, None]
    )
    plane = np.empty((len(zs), len(ys)), np.float32)
    scipy.ndimage.map_coordinates(volume.array, index, output=plane, order=1, mode="constant", cval=AIR_HU)
    return plane
