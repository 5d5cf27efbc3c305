"""Corners of boxes and of voxel grids."""

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from cspine.core.errors import NotAssessableError
from cspine.core.typing import Floats

if TYPE_CHECKING:
    import highdicom

MAX_SIDE_MM: Final = 2_500.0
"""Longest side of a scan that is plausible; a table moves by 2.2 m."""

MAX_LITERS: Final = 1_800.0
"""Largest scan that is plausible: a field of 0.85 m, extended reconstruction included, over 2.5 m."""


def box_corners(low: npt.ArrayLike, high: npt.ArrayLike) -> npt.NDArray[Any]:
    """Return the eight corners of an axis-aligned box.

    Parameters
    ----------
    low, high : (3,)
        The smallest and the largest coordinate along each axis.

    Returns
    -------
    (3, 8)
        One corner per column, so that an affine's linear part can be multiplied from the left.

    >>> box_corners((0, 0, 0), (1, 2, 3))[:, [0, -1]].T.tolist()
    [[0, 0, 0], [1, 2, 3]]
    """
    edges = np.stack([np.asarray(low), np.asarray(high)], axis=1)
    return np.array(np.meshgrid(*edges, indexing="ij")).reshape(3, -1)


def grid_extent_lps_mm(volume: "highdicom.Volume", *, margin: float = 0.0) -> tuple[Floats, Floats]:
    """Return the bounding box of a volume's voxel centers in LPS coordinates.

    Parameters
    ----------
    volume : highdicom.Volume
        A volume in any orientation.
    margin : float
        How far the box extends beyond the outermost voxel centers, in voxels; 0.5 reaches the voxels' outer faces.

    Returns
    -------
    low, high : (3,)
        The smallest and the largest LPS x, y and z, in mm.
    """
    corners = box_corners(np.full(3, -margin), np.array(volume.spatial_shape) - 1 + margin)
    lps = volume.affine[:3, :3] @ corners + volume.affine[:3, 3:]
    return lps.min(axis=1), lps.max(axis=1)


def require_plausible_size(extent_mm: Floats) -> None:
    """Raise an error where a scan is larger than any CT by its headers.

    Parameters
    ----------
    extent_mm : (3,)
        Extent of the scan along LPS x, y and z.

    Raises
    ------
    NotAssessableError
        ``implausible-size``: a side is longer than `MAX_SIDE_MM`, or the volume is larger than `MAX_LITERS`.
    """
    liters = float(np.prod(extent_mm)) / 1e6
    if float(np.max(extent_mm)) > MAX_SIDE_MM or liters > MAX_LITERS:
        sides = " x ".join(f"{side / 1000:.1f}" for side in extent_mm)
        raise NotAssessableError(
            "implausible-size", f"by its headers the scan is {sides} m large, which no CT is; check its pixel spacing"
        )


def z_extent_lps_mm(volume: "highdicom.Volume") -> tuple[float, float]:
    """Return the lowest and the highest LPS z that was scanned, in mm, half a slice beyond the outermost included.

    The half slice is half of the largest step in z between neighboring voxels.
    """
    low, high = grid_extent_lps_mm(volume)
    half_mm = 0.5 * float(np.abs(volume.affine[2, :3]).max())
    return float(low[2]) - half_mm, float(high[2]) + half_mm
