"""Where the cervical spine runs, found from the bone itself.

The spine is the one bone that is present at every height of a neck. Bone is counted in coarse cells; a path from the
bottom of the scan to its top is then sought that gathers the most bone without leaping (dynamic programming), so that
jaw, skull, shoulders and table, which are only there at some heights or far off, cannot hold it.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import highdicom
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from cspine.core.errors import NotAssessableError
from cspine.core.parallel import default_workers
from cspine.core.typing import Floats

BONE_HU: Final = 250
"""Above contrast in vessels at most tube voltages, below trabecular bone's mean of 200-400 HU only in the frail."""

CELL_MM: Final = 4.0
"""Side of a cell in which bone is counted."""

DEPTH_SIGMA_MM: Final = 9.0
"""Bone is gathered front to back over about half a vertebra: body AP 15 + canal AP 13 + arch."""

BREADTH_SIGMA_MM: Final = 14.0
"""And side to side over both articular pillars (20 mm off the midline), so that neither pillar wins alone."""

_FULL_BONE: Final = 0.2
"""Gathered bone counts up to this fraction: skull base and teeth must not outweigh length."""

_BEND: Final = 0.15
"""Price of moving one cell sideways per cell of height, where a cell full of bone is worth 1."""

_MIRROR_MM: Final = 36.0
"""Half the breadth that is compared with its mirror image: C1 is 72 mm wide."""

_MIRROR_SEARCH_MM: Final = 24.0
"""How far from the path the midline is sought."""

_MIRROR_DEPTH_MM: Final = 30.0
"""Bone this far in front of or behind the path is compared."""

_LEAST_CELLS: Final = 8
"""A path over fewer cells of height (32 mm) is no neck."""


_MOST_CELLS: Final = 20_000_000
"""A whole body, 0.6 x 0.6 x 2 m, has 11 million."""


@dataclass(frozen=True)
class SpineCurve:
    """The spine's course through the scan.

    Attributes
    ----------
    points_lps_mm : (n, 3)
        One point per cell of height, from the feet up.
    extent_z_mm : (float, float)
        Lowest and highest z that was scanned.
    support : float
        Mean bone along the path as a fraction of what counts as full; near 0 where there is no spine.
    """

    points_lps_mm: Floats
    extent_z_mm: tuple[float, float]
    support: float

    @property
    def centre_lps_mm(self) -> tuple[float, float, float]:
        """Lateral and anterior-posterior centre as medians over the path, and the middle of the scanned height."""
        x, y = np.median(self.points_lps_mm[:, :2], axis=0)
        return float(x), float(y), float(np.mean(self.extent_z_mm))


def trace_spine(volume: highdicom.Volume) -> SpineCurve:
    """Find the spine's course.

    Parameters
    ----------
    volume : highdicom.Volume
        HU ``[k, j, i]`` with an affine to LPS mm, in any orientation.

    Returns
    -------
    SpineCurve

    Raises
    ------
    NotAssessableError
        ``no-bone``: there is none. ``too-short``: the scan covers too little height to tell a spine.
        ``implausible-size``: the headers' lengths are those of no CT.
    """
    low, high = _extent(volume)
    shape = np.maximum(np.ceil((high - low) / CELL_MM).astype(int), 1)
    if shape[2] < _LEAST_CELLS:
        raise NotAssessableError(
            "too-short",
            f"the scan covers only {high[2] - low[2]:.0f} mm from foot to head; a cervical spine takes about 120",
        )
    if np.prod(shape.astype(float)) > _MOST_CELLS:
        sides = " x ".join(f"{side / 1000:.1f}" for side in high - low)
        raise NotAssessableError("implausible-size", f"by its headers the scan is {sides} m large, which no CT is")
    bone_lps, bone_mm3 = _bone_points(volume)
    if not len(bone_lps):
        raise NotAssessableError("no-bone", f"no voxel reaches {BONE_HU} HU, so the scan shows no bone")
    counts = _count_cells(bone_lps[:, ::-1], low[::-1], (CELL_MM, CELL_MM, CELL_MM), shape[::-1])
    score = _score(counts * bone_mm3 / CELL_MM**3)
    path = _best_path(score)
    cells = np.stack([path[:, 1], path[:, 0], np.arange(len(path))], axis=1)
    points = low + CELL_MM * (cells + 0.5)
    support = float(np.mean(score[np.arange(len(path)), path[:, 0], path[:, 1]]))
    points[:, 0] += _midline(bone_lps, points) - np.median(points[:, 0])
    half = 0.5 * float(np.abs(volume.affine[2, :3]).max())
    return SpineCurve(points, (float(low[2]) - half, float(high[2]) + half), support)


def _extent(volume: highdicom.Volume) -> tuple[Floats, Floats]:
    """Return the lowest and highest LPS coordinate of any voxel's centre."""
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in volume.spatial_shape], indexing="ij")).reshape(3, -1)
    lps = volume.affine[:3, :3] @ corners + volume.affine[:3, 3:]
    return lps.min(axis=1), lps.max(axis=1)


def _bone_points(volume: highdicom.Volume) -> tuple[Floats, float]:
    """Return where bone is, (n, 3) LPS mm, looked at about every 1.2 mm, and the volume that a point stands for."""
    stride = np.maximum((1.2 / np.array(volume.spacing)).astype(int), 1)
    thin = volume.array[:: stride[0], :: stride[1], :: stride[2]]
    is_bone = np.empty(thin.shape, np.bool_)
    with ThreadPoolExecutor(default_workers()) as threads:  # waits for memory far more than it compares
        list(threads.map(lambda k: np.greater(thin[k], BONE_HU, out=is_bone[k]), range(len(thin))))
    place = np.flatnonzero(is_bone)
    index = np.stack(np.unravel_index(place, is_bone.shape), axis=1) * stride
    lps: Floats = index @ volume.affine[:3, :3].T + volume.affine[:3, 3]
    return lps, float(np.prod(volume.spacing) * np.prod(stride))


def _count_cells(points: Floats, low: Floats, sides: tuple[float, float, float], shape: npt.NDArray[np.intp]) -> Floats:
    """Return how many points, (n, 3), lie in each cell of a lattice; those on its rim count for its last cells."""
    place = np.zeros(len(points), np.intp)
    for axis in range(3):
        cell = ((points[:, axis] - low[axis]) / sides[axis]).astype(np.intp)
        place = place * shape[axis] + np.clip(cell, 0, shape[axis] - 1)
    return np.bincount(place, minlength=int(np.prod(shape))).reshape(shape).astype(np.float64)


def _score(counts: Floats) -> Floats:
    """Turn the fraction of bone per cell ``[z, y, x]`` into how much it looks like a vertebra's middle, 0 to 1."""
    sigmas_mm = np.array([CELL_MM, DEPTH_SIGMA_MM, BREADTH_SIGMA_MM])
    bone = ndimage.gaussian_filter(counts, sigmas_mm / CELL_MM, mode="constant")
    return np.minimum(bone, _FULL_BONE) / _FULL_BONE


def _midline(bone_lps: Floats, points: Floats) -> float:
    """Return the LPS x about which the bone near the path is most alike on both sides."""
    centre_x = float(np.median(points[:, 0]))
    path_y = np.interp(bone_lps[:, 2], points[:, 2], points[:, 1])
    reach = _MIRROR_MM + _MIRROR_SEARCH_MM
    near = (np.abs(bone_lps[:, 0] - centre_x) < reach) & (np.abs(bone_lps[:, 1] - path_y) < _MIRROR_DEPTH_MM)
    x, y, z = (bone_lps[near] - (centre_x, 0.0, 0.0)).T
    depth = y - path_y[near]
    low = np.array([z.min(initial=0.0), depth.min(initial=0.0), -reach])
    high = np.array([z.max(initial=0.0), depth.max(initial=0.0)])
    shape = np.array([*np.ceil((high - low[:2]) / CELL_MM).astype(int) + 1, 2 * int(reach)])
    count = _count_cells(np.stack([z, depth, x], axis=1), low, (CELL_MM, CELL_MM, 1.0), shape)
    bone = ndimage.gaussian_filter1d(count, 2.0, axis=2).reshape(-1, count.shape[2])
    # Column times column, summed over all rows; mirror images about a plane lie on one antidiagonal.
    products = bone.T @ bone
    middle, steps = bone.shape[1] / 2, np.arange(int(_MIRROR_MM))
    likeness = []
    for twice in range(-2 * int(_MIRROR_SEARCH_MM), 2 * int(_MIRROR_SEARCH_MM) + 1):
        right, left = int(np.floor(middle + twice / 2)), int(np.ceil(middle + twice / 2))
        likeness.append(float(products[right - 1 - steps, left + steps].sum()))
    return centre_x + (int(np.argmax(likeness)) / 2 - int(_MIRROR_SEARCH_MM))


def _best_path(score: Floats) -> npt.NDArray[np.intp]:
    """Return the cells (y, x) per height of the path with the most score, one cell sideways per step at most."""
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
            np.subtract(shifted, _BEND * np.hypot(dy, dx), out=option)
        came_from[z] = options.argmax(axis=0)
        total = options.max(axis=0) + score[z]
    y, x = np.unravel_index(int(total.argmax()), total.shape)
    path = [(int(y), int(x))]
    for z in range(len(score) - 1, 0, -1):
        dy, dx = moves[came_from[z, path[-1][0], path[-1][1]]]
        path.append((path[-1][0] + dy, path[-1][1] + dx))
    return np.array(path[::-1], dtype=np.intp)
