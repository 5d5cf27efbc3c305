"""Volumes of gantry-tilted scans, straightened as the loader of DICOM does."""

import highdicom
import numpy as np
import scipy

from cspine.core.typing import Floats, HounsfieldUnits
from cspine.dicom.hounsfield import AIR_HU


def straight_volume(hu: HounsfieldUnits, affine_lps: Floats) -> highdicom.Volume:
    """Return a volume whose slices lie above each other; those of a tilted gantry are shifted in their own plane.

    Parameters
    ----------
    hu : (k, j, i) int16
        Hounsfield units, in slices that may be shifted against each other.
    affine_lps : (4, 4)
        Affine from ``[k, j, i, 1]`` to LPS mm; rows and columns are orthogonal.
    """
    affine = affine_lps.copy()
    in_plane, step = affine[:3, 1:3], affine[:3, 0]
    shift = np.linalg.lstsq(in_plane, step, rcond=None)[0]  # voxels along j and i per slice
    if np.abs(shift).max() < 1e-6:
        return highdicom.Volume(hu, affine, "PATIENT")
    affine[:3, 0] = step - in_plane @ shift
    shifts = np.arange(len(hu))[:, None] * shift
    first = np.floor(shifts.min(axis=0))
    affine[:3, 3] += in_plane @ first
    rows, columns = (int(n) for n in np.array(hu.shape[1:]) + np.ceil(np.ptp(shifts, axis=0)))
    straight = np.full((len(hu), rows, columns), AIR_HU, np.int16)
    for index, image in enumerate(hu):
        canvas = np.full((rows, columns), AIR_HU, np.int16)
        canvas[: image.shape[0], : image.shape[1]] = image
        scipy.ndimage.shift(
            canvas, shifts[index] - first, output=straight[index], order=1, mode="constant", cval=AIR_HU
        )
    return highdicom.Volume(straight, affine, "PATIENT")
