"""Crops of single vertebrae in their own frames, from which the frame network corrects the frames."""

from typing import Final

import numpy as np

from cspine.core.typing import Floats

CROP_MM: Final = 2.0
"""Side of a voxel of a crop: the endplates are distinct from the discs."""

CROP_SHAPE: Final = (32, 32, 40)
"""Voxels along k, j and i, which follow z, y and x of the frame: 64 x 64 x 80 mm hold body and arch, and neighbors."""

CROP_CENTER_MM: Final = np.array([0.0, 10.0, 0.0])
"""Middle of a crop in the frame, (x, y, z): behind the origin, because the arch reaches farther than the body."""

CROP_MARGIN_MM: Final = 30.0
"""How far beyond the region of the neck voxels are kept for crops of its outermost vertebrae."""

CROP_CLASSES: Final = ("none", "C1", "C2", "C3", "C4", "C5", "C6", "C7", "T1", "T2", "thoracic", "lumbar")
"""What a crop may show; none is a place without a vertebra."""


def crop_affine(frame_lps: Floats) -> Floats:
    """Return the affine from ``[k, j, i, 1]`` of a crop to LPS mm, (4, 4).

    Parameters
    ----------
    frame_lps : (4, 4)
        Affine from the vertebra's frame to LPS mm.

    >>> crop_affine(np.eye(4)) @ [15.5, 15.5, 19.5, 1]
    array([ 0., 10.,  0.,  1.])
    """
    to_frame = np.eye(4)
    to_frame[:3, :3] = CROP_MM * np.eye(3)[::-1]
    to_frame[:3, 3] = CROP_CENTER_MM - to_frame[:3, :3] @ ((np.array(CROP_SHAPE) - 1) / 2)
    return np.asarray(frame_lps @ to_frame)
