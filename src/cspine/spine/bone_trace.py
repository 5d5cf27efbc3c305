"""Spine tracing from bone alone, without a network: a minimum-cost path found by dynamic programming.

The spine is the one bone that is present at every height of a neck scan. Bone is counted in coarse cells. The path from
the lowest to the highest slice that gathers the most bone, with a penalty on sideways steps, follows the spine: jaw,
skull, shoulders and table are present at some heights only, or far to the side.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import scipy

from cspine.core.errors import NotAssessableError
from cspine.core.processors import default_workers
from cspine.core.typing import Floats, Indices
from cspine.spine.boxes import grid_extent_lps_mm, require_plausible_size, z_extent_lps_mm

if TYPE_CHECKING:
    import highdicom

BONE_HU: Final = 250
"""Bone threshold: above contrast in vessels at most tube voltages, and below the 200-400 HU of trabecular bone except
in osteoporosis."""

_SAMPLE_MM: Final = 1.2
"""Bone is sampled at about this spacing."""

CELL_MM: Final = 4.0
"""Side of a cell in which bone is counted."""

DEPTH_SIGMA_MM: Final = 9.0
"""Standard deviation of the smoothing from front to back, about half a vertebra: body 15 mm, canal 13 mm and arch."""

BREADTH_SIGMA_MM: Final = 14.0
"""Standard deviation from side to side; it covers both articular pillars (20 mm off the midline), so that the path does
not follow one of them."""

_SATURATION_FRACTION: Final = 0.2
"""Bone above this fraction of a cell does not count, so that skull base and teeth do not outweigh the path's length."""

_STEP_PENALTY: Final = 0.15
"""Cost of moving one cell sideways per cell of height, where a cell at saturation scores 1."""

_SYMMETRY_HALF_WIDTH_MM: Final = 36.0
"""Half the width that is compared with its mirror image; C1 is 72 mm wide."""

_SYMMETRY_SEARCH_MM: Final = 24.0
"""The symmetry plane is searched within this distance of the path."""

_SYMMETRY_DEPTH_MM: Final = 30.0
"""Bone within this distance in front of or behind the path is compared."""

_MIN_CELLS_HIGH: Final = 8
"""A path over fewer cells of height (32 mm) is too short for a neck."""


@dataclass(frozen=True)
class BoneTrace:
    """The traced course of the spine.

    Attributes
    ----------
    points_lps_mm : (n, 3)
        One point per cell of height, from the feet up.
    extent_z_mm : (float, float)
        Lowest and highest LPS z that was scanned.
    support : float
        Mean bone score along the path, 0 to 1; near 0 where there is no spine.
    """

    points_lps_mm: Floats
    extent_z_mm: tuple[float, float]
    support: float

    @property
    def center_lps_mm(self) -> tuple[float, float, float]:
        """Median x and y of the path, and the center of the scanned height."""
        x, y = np.median(self.points_lps_mm[:, :2], axis=0)
        return float(x), float(y), float(np.mean(self.extent_z_mm))


def trace_spine(volume: "highdicom.Volume") -> BoneTrace:
    """Trace the course of the spine.

    Parameters
    ----------
    volume : highdicom.Volume
        HU ``[k, j, i]`` with an affine to LPS mm, in any orientation.

    Returns
    -------
    BoneTrace

    Raises
    ------
    NotAssessableError
        ``no-bone``: no voxel reaches the bone threshold. ``too-short``: the scan covers too little height to tell a
        spine. ``implausible-size``: by its headers the scan is larger than any CT.
    """
    low, high = grid_extent_lps_mm(volume)
    shape = np.maximum(np.ceil((high - low) / CELL_MM).astype(int), 1)
    if shape[2] < _MIN_CELLS_HIGH:
        raise NotAssessableError(
            "too-short",
            f"the scan covers only {high[2] - low[2]:.0f} mm from foot to head; a cervical spine takes about 120",
        )
    require_plausible_size(high - low)
    bone_lps, bone_mm3 = _sample_bone(volume)
    if not len(bone_lps):
        raise NotAssessableError("no-bone", f"no voxel reaches {BONE_HU} HU, so the scan shows no bone")
    counts = _count_in_cells(bone_lps[:, ::-1], low[::-1], (CELL_MM, CELL_MM, CELL_MM), shape[::-1])
    score = _spine_score(counts * bone_mm3 / CELL_MM**3)
    path = _best_path(score)
    cells = np.stack([path[:, 1], path[:, 0], np.arange(len(path))], axis=1)
    points = low + CELL_MM * (cells + 0.5)
    support = float(np.mean(score[np.arange(len(path)), path[:, 0], path[:, 1]]))
    points[:, 0] += _symmetry_plane_x(bone_lps, points) - np.median(points[:, 0])
    return BoneTrace(points, z_extent_lps_mm(volume), support)


def _sample_bone(volume: "highdicom.Volume") -> tuple[Floats, float]:
    """Return the positions of sampled bone voxels, (n, 3) LPS mm, and the volume in cubic mm that each stands for."""
    stride = np.maximum((_SAMPLE_MM / np.array(volume.spacing)).astype(int), 1)
    sampled = volume.array[:: stride[0], :: stride[1], :: stride[2]]
    is_bone = np.empty(sampled.shape, np.bool_)
    with ThreadPoolExecutor(default_workers()) as threads:  # waits for memory far more than it compares
        list(threads.map(lambda k: np.greater(sampled[k], BONE_HU, out=is_bone[k]), range(len(sampled))))
    index = np.stack(np.unravel_index(np.flatnonzero(is_bone), is_bone.shape), axis=1) * stride
    lps: Floats = index @ volume.affine[:3, :3].T + volume.affine[:3, 3]
    return lps, float(np.prod(volume.spacing) * np.prod(stride))


def _count_in_cells(points: Floats, low: Floats, sides: tuple[float, float, float], shape: Indices) -> Floats:
    """Return a 3-D histogram of points, (n, 3); points outside the lattice count for its outermost cells."""
    flat_index = np.zeros(len(points), np.intp)
    for axis in range(3):
        cell = ((points[:, axis] - low[axis]) / sides[axis]).astype(np.intp)
        flat_index = flat_index * shape[axis] + np.clip(cell, 0, shape[axis] - 1)
    return np.bincount(flat_index, minlength=int(np.prod(shape))).reshape(shape).astype(np.float64)


def _spine_score(bone_fraction: Floats) -> Floats:
    """Turn the fraction of bone per cell ``[z, y, x]`` into a score, 0 to 1, that peaks in the middle of vertebrae."""
    sigmas_mm = np.array([CELL_MM, DEPTH_SIGMA_MM, BREADTH_SIGMA_MM])
    smooth = scipy.ndimage.gaussian_filter(bone_fraction, sigmas_mm / CELL_MM, mode="constant")
    return np.minimum(smooth, _SATURATION_FRACTION) / _SATURATION_FRACTION


def _symmetry_plane_x(bone_lps: Floats, points: Floats) -> float:
    """Return the LPS x of the sagittal plane about which the bone near the path is most symmetric.

    Bone is counted in columns of 1 mm along x; the plane is the one with the greatest correlation between the columns
    to its right and those to its left.
    """
    path_x = float(np.median(points[:, 0]))
    path_y = np.interp(bone_lps[:, 2], points[:, 2], points[:, 1])
    reach = _SYMMETRY_HALF_WIDTH_MM + _SYMMETRY_SEARCH_MM
    near = (np.abs(bone_lps[:, 0] - path_x) < reach) & (np.abs(bone_lps[:, 1] - path_y) < _SYMMETRY_DEPTH_MM)
    x, y, z = (bone_lps[near] - (path_x, 0.0, 0.0)).T
    depth = y - path_y[near]
    low = np.array([z.min(initial=0.0), depth.min(initial=0.0), -reach])
    high = np.array([z.max(initial=0.0), depth.max(initial=0.0)])
    shape = np.array([*np.ceil((high - low[:2]) / CELL_MM).astype(int) + 1, 2 * int(reach)])
    count = _count_in_cells(np.stack([z, depth, x], axis=1), low, (CELL_MM, CELL_MM, 1.0), shape)
    bone = scipy.ndimage.gaussian_filter1d(count, 2.0, axis=2).reshape(-1, count.shape[2])
    # Column times column, summed over all rows; mirror images about a plane lie on one antidiagonal.
    products = bone.T @ bone
    center, steps = bone.shape[1] / 2, np.arange(int(_SYMMETRY_HALF_WIDTH_MM))
    search_mm = int(_SYMMETRY_SEARCH_MM)
    correlations = []
    for half_steps in range(-2 * search_mm, 2 * search_mm + 1):
        right, left = int(np.floor(center + half_steps / 2)), int(np.ceil(center + half_steps / 2))
        correlations.append(float(products[right - 1 - steps, left + steps].sum()))
    return path_x + (int(np.argmax(correlations)) / 2 - search_mm)


def _best_path(score: Floats) -> Indices:
    """Return the cell (y, x) per height of the path with the greatest score, by dynamic programming.

    From one height to the next the path moves by at most one cell along y and along x.
    """
    moves = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
    height, width = score.shape[1:]
    padded = np.full((height + 2, width + 2), -np.inf)
    options = np.empty((len(moves), height, width))
    came_from = np.zeros(score.shape, np.int8)
    total = score[0]
    for z in range(1, len(score)):
        padded[1:-1, 1:-1] = total
        for option, (dy, dx) in zip(options, moves, strict=True):
            shifted = padded[1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width]
            np.subtract(shifted, _STEP_PENALTY * np.hypot(dy, dx), out=option)
        came_from[z] = options.argmax(axis=0)
        total = options.max(axis=0) + score[z]
    y, x = np.unravel_index(int(total.argmax()), total.shape)
    path = [(int(y), int(x))]
    for z in range(len(score) - 1, 0, -1):
        dy, dx = moves[came_from[z, path[-1][0], path[-1][1]]]
        path.append((path[-1][0] + dy, path[-1][1] + dx))
    return np.array(path[::-1], dtype=np.intp)
