"""Curved planar reformation: sagittal and coronal images that follow the spine.

The midline stays the midline in a rotated or tilted neck.
"""

from concurrent.futures import ThreadPoolExecutor
from itertools import product
from typing import TYPE_CHECKING, Final

import numpy as np
import scipy

from cspine.core.processors import default_workers
from cspine.core.typing import Floats, Grays, HounsfieldUnits
from cspine.dicom.hounsfield import AIR_HU
from cspine.spine.boxes import z_extent_lps_mm
from cspine.spine.centerline import SpineCenterline
from cspine.views.sagittal import PixelGrid, SagittalSet, SagittalSettings, subsample_offsets_mm
from cspine.views.window import to_gray

if TYPE_CHECKING:
    import highdicom

_BODIES_ANTERIOR_MM: Final = (10.0, 12.0, 14.0, 16.0, 18.0)
"""Distances in front of the canal's center at which the coronal plane averages the vertebral bodies."""

_SLICES_PER_COPY: Final = 8
"""Slices that a thread copies at a time."""


def compile_curved(volume: "highdicom.Volume", centerline: SpineCenterline, settings: SagittalSettings) -> SagittalSet:
    """Reformat a volume to curved sagittal images along the spine.

    Each curved plane lies at a fixed distance left or right of the canal, along the vertebrae's own left. As in
    `cspine.views.sagittal.compile_sagittal`, a pixel is the mean of the voxels that it covers, and black outside.

    Parameters
    ----------
    volume : highdicom.Volume
        HU ``[k, j, i]`` with an affine to LPS mm.
    centerline : SpineCenterline
        The centerline of the canal in the same volume.
    settings : SagittalSettings
        Number, extent, resolution and window of the images.
    """
    grid = PixelGrid.covering(z_extent_lps_mm(volume), settings)
    z, posterior = grid.row_samples(volume).ravel(), grid.column_samples(volume).ravel()
    slab = subsample_offsets_mm(settings.slab_mm, volume, axis=0)
    canal, left, back = (_to_voxels(volume, vectors) for vectors in centerline.at(z))
    shift_mm = centerline.posterior_offset_mm(centerline.at(z)[0])
    origin = canal + volume.inverse_affine[:3, 3] - shift_mm[:, None] * back

    reach_mm = np.abs(settings.offsets_mm).max() + np.abs(slab).max()
    columns = np.array([
        origin[:, 2] + side * reach_mm * left[:, 2] + back[:, 2] * posterior[end] for side in (-1, 1) for end in (0, -1)
    ])  # fmt: skip
    hu_kij, first_column = _sagittal_block(volume, columns.min(), columns.max())
    origin[:, 2] -= first_column

    def curved_rows(plane: tuple[float, slice]) -> Grays:
        offset_mm, rows = plane
        total = np.zeros((len(z[rows]), len(posterior)), np.float32)
        hu = np.empty_like(total)
        for slab_offset in slab.tolist():
            row = origin[rows] + (offset_mm + slab_offset) * left[rows]
            height = row[:, :1] + back[rows, :1] * posterior[[0, -1]]
            scanned = np.flatnonzero((height.max(axis=1) >= 0.0) & (height.min(axis=1) <= len(hu_kij) - 1))
            hu[:] = AIR_HU
            if len(scanned):
                inner = slice(int(scanned[0]), int(scanned[-1]) + 1)
                index = [
                    row[inner, axis, None] + back[rows][inner, axis, None] * posterior[None, :] for axis in (0, 2, 1)
                ]
                scipy.ndimage.map_coordinates(hu_kij, index, output=hu[inner], order=1, mode="constant", cval=AIR_HU)
            total += hu
        cells = total.reshape(-1, n_down, settings.pixels, len(posterior) // settings.pixels)
        return to_gray(cells.mean(axis=(1, 3)) / len(slab), settings.window)

    n_down = len(z) // settings.pixels
    middle = n_down * (settings.pixels // 2)
    halves = list(product(settings.offsets_mm.tolist(), (slice(middle), slice(middle, None))))
    with ThreadPoolExecutor(default_workers()) as threads:
        images = np.concatenate(list(threads.map(curved_rows, halves)))
    center = centerline.center_lps_mm
    return SagittalSet(
        images=images.reshape(len(settings.offsets_mm), settings.pixels, settings.pixels),
        x_lps_mm=center[0] + settings.offsets_mm,
        offsets_mm=settings.offsets_mm,
        top_z_mm=float(grid.top_z_mm),
        front_y_mm=float(grid.front_mm + center[1]),
        pixel_mm=float(grid.pixel_mm),
        centerline=centerline,
    )


def _sagittal_block(volume: "highdicom.Volume", low: float, high: float) -> tuple[HounsfieldUnits, int]:
    """Return the voxels between two columns, (k, i, j), and the first column.

    Curved planes extend backwards, along j. Where its voxels are neighbors in memory, they are read 3 times as fast.
    """
    n_columns = volume.array.shape[2]
    first = int(np.clip(low - 1, 0, n_columns - 1))
    stop = int(np.clip(high + 3, first + 1, n_columns))
    columns = volume.array[:, :, first:stop].transpose(0, 2, 1)
    block = np.empty(columns.shape, columns.dtype)

    def copy(start: int) -> None:
        block[start : start + _SLICES_PER_COPY] = columns[start : start + _SLICES_PER_COPY]

    with ThreadPoolExecutor(default_workers()) as threads:
        list(threads.map(copy, range(0, len(block), _SLICES_PER_COPY)))
    return block, first


def coronal_image(
    volume: "highdicom.Volume", centerline: SpineCenterline, like: SagittalSet, settings: SagittalSettings
) -> Grays:
    """Return a curved coronal image through the vertebral bodies.

    Parameters
    ----------
    volume, centerline
        As of `compile_curved`.
    like : SagittalSet
        Curved sagittal images of the same volume: the image has their rows, and pixels of their size and number.
    settings : SagittalSettings
        Settings of sagittal images, of which only the intensity window is used.

    Returns
    -------
    (pixels, pixels) uint8
        Row 0 at the head, column 0 on the patient's right; the canal runs through the middle column.
    """
    count = like.images.shape[1]
    steps_mm = np.arange(count) * like.pixel_mm
    canal, left, back = (_to_voxels(volume, vectors) for vectors in centerline.at(like.top_z_mm - steps_mm))
    lateral = steps_mm - like.pixel_mm * (count - 1) / 2
    total = np.zeros((count, count), np.float32)
    for anterior_mm in _BODIES_ANTERIOR_MM:
        row = canal + volume.inverse_affine[:3, 3] - anterior_mm * back
        index = [row[:, axis, None] + left[:, axis, None] * lateral[None, :] for axis in range(3)]
        total += scipy.ndimage.map_coordinates(volume.array, index, np.float32, order=1, mode="constant", cval=AIR_HU)
    return to_gray(total / len(_BODIES_ANTERIOR_MM), settings.window)


def _to_voxels(volume: "highdicom.Volume", vectors: Floats) -> Floats:
    """Rotate and scale vectors in LPS mm, (n, 3), to voxels; the origin is not added."""
    return np.asarray(vectors @ volume.inverse_affine[:3, :3].T)
