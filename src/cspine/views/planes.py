"""Mean Hounsfield units over the pixels of sagittal planes.

Linear interpolation and the mean over a pixel's samples are both weighted sums. Where the volume's axes run along the
patient's, the weights of x, y and z are independent of each other, and a set of planes is three products of small
matrices with the volume: each voxel near the spine is looked at once, whatever the number of planes and samples.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import highdicom
import numpy as np
import numpy.typing as npt
from scipy import ndimage, sparse

from cspine.core.parallel import default_workers
from cspine.dicom.codec.pixels import AIR_HU

Floats = npt.NDArray[np.floating]

_ALIGNED_VOXELS: Final = 0.01
"""Axes count as parallel where none strays more than this fraction of a voxel over its whole length."""

_BLOCK: Final = 8
"""Planes of the volume that a thread weighs at a time: they fit its cache."""


@dataclass(frozen=True)
class PlaneSamples:
    """Where planes of constant LPS x are sampled, in mm; the second index counts the samples of one pixel.

    Attributes
    ----------
    x : (planes, samples)
    y : (columns, samples)
    z : (rows, samples)
    """

    x: Floats
    y: Floats
    z: Floats


def mean_planes(volume: highdicom.Volume, samples: PlaneSamples) -> npt.NDArray[np.float32]:
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
    return _sampled(volume, samples) if axes is None else _weighed(volume, samples, axes)


def _axes_along_patient(volume: highdicom.Volume) -> tuple[int, int, int] | None:
    """Return which of the array's axes run along LPS x, y and z; None where any runs askew."""
    steps = np.abs(volume.affine[:3, :3])
    axes = steps.argmax(axis=1)
    if len(set(axes.tolist())) < 3:
        return None
    along = steps[np.arange(3), axes]
    stray = steps * np.array(volume.spatial_shape)
    stray[np.arange(3), axes] = 0.0
    if np.any(stray.max(axis=1) > _ALIGNED_VOXELS * along):
        return None
    x, y, z = axes.tolist()
    return x, y, z


def _weighed(volume: highdicom.Volume, samples: PlaneSamples, axes: tuple[int, int, int]) -> npt.NDArray[np.float32]:
    """Weigh x, then y, then z."""
    x, y, z = (
        _Weights.of(at, volume, lps, axis)
        for lps, (at, axis) in enumerate(zip((samples.x, samples.y, samples.z), axes, strict=True))
    )
    hu = volume.array.transpose(axes[::-1])[z.used, y.used, x.used]
    if not hu.size:
        return np.full((len(samples.x), len(samples.z), len(samples.y)), AIR_HU, np.float32)
    over_x = _weigh_x(hu, x.weights)
    over_xy = (y.weights @ over_x.reshape(len(over_x), -1)).reshape(-1, len(hu), len(samples.x))
    over_all = (z.weights @ over_xy.swapaxes(0, 1).reshape(len(hu), -1)).reshape(-1, *over_xy.shape[::2])
    share = z.share[:, None, None] * y.share[None, :, None] * x.share[None, None, :]
    mean: npt.NDArray[np.float32] = np.ascontiguousarray((over_all + AIR_HU * (1.0 - share)).transpose(2, 0, 1))
    return mean


def _weigh_x(hu: npt.NDArray[np.int16], weights: sparse.csr_array) -> npt.NDArray[np.float32]:
    """Return ``[y, z, plane]`` of HU ``[z, y, x]``, weighed over the few voxels that each plane takes something of."""
    over_x = np.zeros((hu.shape[1], hu.shape[0], weights.shape[0]), np.float32)
    parts = []
    for plane in range(weights.shape[0]):
        start, stop = weights.indptr[plane : plane + 2]
        if stop > start:
            parts.append((plane, weights.indices[start], weights.indices[stop - 1] + 1, weights.data[start:stop]))

    def weigh(start: int) -> None:
        block = hu[start : start + _BLOCK]
        for plane, first, last, share in parts:
            over_x[:, start : start + _BLOCK, plane] = (block[:, :, first:last].astype(np.float32) @ share).T

    with ThreadPoolExecutor(default_workers()) as threads:
        list(threads.map(weigh, range(0, len(hu), _BLOCK)))
    return over_x


@dataclass(frozen=True)
class _Weights:
    """What each voxel along one axis adds to each pixel.

    Attributes
    ----------
    weights : (pixels, voxels used) sparse float32
        Each pixel's voxels lie beside each other.
    used : slice
        The voxels that any pixel takes something of.
    share : (pixels,) float32
        How much of each pixel lies inside the volume.
    """

    weights: sparse.csr_array
    used: slice
    share: npt.NDArray[np.float32]

    @classmethod
    def of(cls, at_mm: Floats, volume: highdicom.Volume, lps: int, axis: int) -> "_Weights":
        count = volume.spatial_shape[axis]
        index = (at_mm - volume.affine[lps, 3]) / volume.affine[lps, axis]
        inside = (index >= 0.0) & (index <= count - 1)
        low = np.clip(np.floor(index).astype(np.intp), 0, max(count - 2, 0))
        part = np.where(inside, index - low, 0.0)
        weights = np.zeros((len(index), count), np.float64)
        pixel = np.broadcast_to(np.arange(len(index))[:, None], index.shape)
        np.add.at(weights, (pixel, low), inside * (1.0 - part) / index.shape[1])
        np.add.at(weights, (pixel, np.minimum(low + 1, count - 1)), part / index.shape[1])
        places = np.flatnonzero(weights.any(axis=0))
        used = slice(int(places[0]), int(places[-1]) + 1) if len(places) else slice(0, 0)
        # A pixel's first to last voxel are kept, zeros between them too.
        kept = weights[:, used]
        run = (np.cumsum(kept, axis=1) > 0.0) & (np.cumsum(kept[:, ::-1], axis=1)[:, ::-1] > 0.0)
        ends = np.concatenate([[0], np.cumsum(run.sum(axis=1))])
        rows = sparse.csr_array((kept[run].astype(np.float32), np.nonzero(run)[1], ends), shape=kept.shape)
        return cls(rows, used, weights.sum(axis=1).astype(np.float32))


def _sampled(volume: highdicom.Volume, samples: PlaneSamples) -> npt.NDArray[np.float32]:
    """Sample a volume whose axes run askew, plane by plane."""
    ys, zs = samples.y.ravel(), samples.z.ravel()
    shape = (*samples.z.shape, *samples.y.shape)
    planes = np.empty((len(samples.x), len(samples.z), len(samples.y)), np.float32)
    for number, xs in enumerate(samples.x):
        hu = np.mean([_plane(volume, x, ys, zs) for x in xs], axis=0)
        planes[number] = hu.reshape(shape).mean(axis=(1, 3))
    return planes


def _plane(volume: highdicom.Volume, x: float, ys: Floats, zs: Floats) -> npt.NDArray[np.float32]:
    """Return HU ``[z, y]`` of the plane at LPS `x`, linearly interpolated; air outside."""
    to_index = volume.inverse_affine
    index = (
        to_index[:3, 0, None, None] * x
        + to_index[:3, 1, None, None] * ys[None, None, :]
        + to_index[:3, 2, None, None] * zs[None, :, None]
        + to_index[:3, 3, None, None]
    )
    plane = np.empty((len(zs), len(ys)), np.float32)
    ndimage.map_coordinates(volume.array, index, output=plane, order=1, mode="constant", cval=AIR_HU)
    return plane
