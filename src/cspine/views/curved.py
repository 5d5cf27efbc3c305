"""Sagittal images that follow the spine: the midline stays the midline in a turned or tilted neck."""

from concurrent.futures import ThreadPoolExecutor
from typing import Final

import highdicom
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from cspine.core.parallel import default_workers
from cspine.core.typing import Floats
from cspine.dicom.codec.pixels import AIR_HU
from cspine.spine.centerline import SpineCenterline
from cspine.views.sagittal import SagittalSet, SagittalSettings, scanned_heights, sub_samples
from cspine.views.window import to_grey

_BODIES_MM: Final = (10.0, 12.0, 14.0, 16.0, 18.0)
"""So far before the canal's middle lie the bodies."""


def compile_curved(volume: highdicom.Volume, course: SpineCenterline, settings: SagittalSettings) -> SagittalSet:
    """Reformat a volume into sheets along the spine.

    Each sheet lies a fixed way left or right of the canal's, along the vertebrae's own left; a pixel is the mean of the
    voxels that it covers.

    Parameters
    ----------
    volume : highdicom.Volume
        HU ``[k, j, i]`` with an affine to LPS mm.
    course : SpineCenterline
        Of the same volume.
    settings : SagittalSettings
        Number, spread, size and window.

    Returns
    -------
    SagittalSet
        What lies outside the scan is black.
    """
    low, high = scanned_heights(volume)
    side = max(settings.field_mm, high - low)
    pixel = side / settings.pixels
    top, front = (low + high) / 2 + (side - pixel) / 2, -(side - pixel) / 2
    steps = np.arange(settings.pixels) * pixel
    z = (top - steps[:, None] - sub_samples(pixel, volume, axis=2)).ravel()
    behind = (front + steps[:, None] + sub_samples(pixel, volume, axis=1)).ravel()
    across = sub_samples(settings.slab_mm, volume, axis=0)
    canal, left, back = (_to_index(volume, values) for values in course.at(z))
    depth = course.depth(course.at(z)[0])
    start = canal + volume.inverse_affine[:3, 3] - depth[:, None] * back

    def sheet(offset: float) -> Floats:
        total = np.zeros((len(z), len(behind)), np.float32)
        hu = np.empty_like(total)
        for more in across.tolist():
            row = start + (offset + more) * left
            index = [row[:, axis, None] + back[:, axis, None] * behind[None, :] for axis in range(3)]
            ndimage.map_coordinates(volume.array, index, output=hu, order=1, mode="constant", cval=AIR_HU)
            total += hu
        count = settings.pixels
        return np.asarray(total.reshape(count, -1, count, len(behind) // count).mean(axis=(1, 3)) / len(across))

    with ThreadPoolExecutor(default_workers()) as threads:
        hu = np.stack(list(threads.map(sheet, settings.offsets_mm.tolist())))
    middle = course.middle_lps_mm
    return SagittalSet(
        images=to_grey(hu, settings.window),
        x_lps_mm=middle[0] + settings.offsets_mm,
        offsets_mm=settings.offsets_mm,
        top_z_mm=float(top),
        front_y_mm=float(front + middle[1]),
        pixel_mm=float(pixel),
        course=course,
    )


def coronal_sheet(
    volume: highdicom.Volume, course: SpineCenterline, like: SagittalSet, settings: SagittalSettings
) -> npt.NDArray[np.uint8]:
    """Return the sheet through the bodies, seen from the front: rows as in a sagittal image, the patient's right first.

    Its columns are as many as the sagittal image's, of the same size, with the canal in the middle.
    """
    count = like.images.shape[1]
    steps = np.arange(count) * like.pixel_mm
    canal, left, back = (_to_index(volume, values) for values in course.at(like.top_z_mm - steps))
    aside = steps - like.pixel_mm * (count - 1) / 2
    total = np.zeros((count, count), np.float32)
    for before in _BODIES_MM:
        row = canal + volume.inverse_affine[:3, 3] - before * back
        index = [row[:, axis, None] + left[:, axis, None] * aside[None, :] for axis in range(3)]
        total += ndimage.map_coordinates(volume.array, index, np.float32, order=1, mode="constant", cval=AIR_HU)
    return to_grey(total / len(_BODIES_MM), settings.window)


def _to_index(volume: highdicom.Volume, vectors: Floats) -> Floats:
    """Turn ways in LPS mm, (n, 3), into ways in voxels."""
    return np.asarray(vectors @ volume.inverse_affine[:3, :3].T)
