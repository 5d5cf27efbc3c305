"""Random geometry of training patches: rotation, scale, mirroring, elastic deformation and the border of the scan."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from scipy import ndimage
from scipy.spatial.transform import Rotation
from torch.nn import functional

from cspine.core.typing import Floats
from cspine.training.localizer.examples import LocalizerSample

_MAX_ROTATION_DEG: Final = (20.0, 12.0, 18.0)
"""Largest additional rotation about z, y and x."""

_MAX_LOG_SCALE: Final = 0.25

_KNOT_MM: Final = 45.0
"""Distance of the knots of elastic deformations."""

_MAX_ELASTIC_SD_MM: Final = 4.0
"""Largest standard deviation of the displacement of a knot along each axis."""

_RIGID_PROBABILITY: Final = 0.35
"""Probability that a patch is not deformed."""

_INVERSION_STEPS: Final = 4
"""Fixed-point iterations by which a deformation is inverted; displacements change slowly over their own length."""

_TRUNCATION_PROBABILITIES: Final = (0.5, 0.35, 0.15)
"""Probabilities that 0, 1 and 2 ends of the scan are cut off along k, in addition to where the scan ends."""

_NARROW_PROBABILITY: Final = 0.2
_NARROW_MM: Final = (100.0, 230.0)
"""Probability and width of a small field of view."""

MIN_SCANNED_MM: Final = 30.0
"""What remains at least of a truncated scan along k."""


@dataclass(frozen=True)
class PatchGeometry:
    """Which voxels of a sample a patch shows, and which part of it was scanned.

    Attributes
    ----------
    shape : (int, int, int)
        Voxels of the patch along k, j and i.
    spacing_mm : float
        Side of a voxel of the patch.
    matrix, shift : (3, 3), (3,)
        Affine map from indices ``[k, j, i]`` of the patch to those of the sample.
    scale : float
        Factor by which the patch shows things smaller.
    is_mirrored : bool
        Whether left and right are exchanged.
    knots : (3, a, b, c) float32 or None
        Displacement along k, j and i, in voxels of the sample, at the knots of a trilinear grid over the patch.
    scanned : (2, 3)
        First voxel, and one past the last voxel, of the patch's scanned box.
    """

    shape: tuple[int, int, int]
    spacing_mm: float
    matrix: Floats
    shift: Floats
    scale: float
    is_mirrored: bool
    knots: torch.Tensor | None
    scanned: Floats

    def source_index(self) -> torch.Tensor:
        """Return the position in the sample of each voxel of the patch, (3, k, j, i) float32."""
        axes = [torch.arange(count, dtype=torch.float32) for count in self.shape]
        rows = torch.from_numpy(self.matrix.astype(np.float32))
        k, j, i = axes[0][:, None, None], axes[1][None, :, None], axes[2][None, None, :]
        index = torch.stack(
            [row[0] * k + row[1] * j + row[2] * i + float(shift) for row, shift in zip(rows, self.shift, strict=True)]
        )
        if self.knots is None:
            return index
        field = functional.interpolate(self.knots[None], self.shape, mode="trilinear", align_corners=True)
        return index + field[0]

    def patch_index(self, source: Floats) -> Floats:
        """Return the positions in the patch, (n, 3), of positions in the sample, (n, 3)."""
        inverse = np.linalg.inv(self.matrix)
        index = (source - self.shift) @ inverse.T
        if self.knots is None:
            return np.asarray(index)
        knots = self.knots.numpy()
        steps = (np.array(self.shape) - 1) / (np.array(knots.shape[1:]) - 1)
        for _ in range(_INVERSION_STEPS):
            at = (index / steps).T
            moved = np.stack([ndimage.map_coordinates(axis, at, order=1, mode="nearest") for axis in knots], axis=1)
            index = (source - self.shift - moved) @ inverse.T
        return np.asarray(index)


def random_geometry(
    sample: LocalizerSample,
    center: Floats,
    shape: tuple[int, int, int],
    spacing_mm: float,
    rng: np.random.Generator,
) -> PatchGeometry:
    """Draw the geometry of a patch.

    Parameters
    ----------
    sample : LocalizerSample
        The volume that the patch is taken of.
    center : (3,)
        Index of the sample in the middle of the patch.
    shape : (int, int, int)
        Voxels of the patch along k, j and i.
    spacing_mm : float
        Side of a voxel of the patch.
    rng : Generator
        Random number generator; it is advanced.
    """
    scale = float(np.exp(rng.uniform(-_MAX_LOG_SCALE, _MAX_LOG_SCALE)))
    rotation = Rotation.from_euler("zyx", rng.triangular(-1, 0, 1, 3) * _MAX_ROTATION_DEG, degrees=True)
    is_mirrored = bool(rng.random() < 0.5)
    mirror = np.diag([1.0, 1.0, -1.0 if is_mirrored else 1.0])
    ratio = scale * spacing_mm / sample.spacing_mm
    matrix = ratio * rotation.as_matrix()[::-1, ::-1] @ mirror
    middle = (np.array(shape) - 1) / 2
    shift = center - matrix @ middle
    low, high = sample.scanned.astype(float) - 0.5
    scan_center = np.linalg.solve(matrix, (low + high) / 2 - shift)
    half = (high - low) / 2 / ratio
    box = _truncate(np.array([scan_center - half, scan_center + half]) + 0.5, shape, spacing_mm, rng)
    knots = _draw_knots(shape, spacing_mm, sample.spacing_mm, rng)
    return PatchGeometry(shape, spacing_mm, matrix, shift, scale, is_mirrored, knots, np.round(box))


def _truncate(box: Floats, shape: tuple[int, int, int], spacing_mm: float, rng: np.random.Generator) -> Floats:
    """Cut ends of a scan off along k, and sometimes reduce its field of view, within the patch."""
    minimum = MIN_SCANNED_MM / spacing_mm
    for _ in range(int(rng.choice(3, p=_TRUNCATION_PROBABILITIES))):
        low, high = max(box[0, 0], 0.0), min(box[1, 0], float(shape[0]))
        if high - low <= minimum:
            break
        if rng.random() < 0.5:
            box[0, 0] = rng.uniform(low, high - minimum)
        else:
            box[1, 0] = rng.uniform(low + minimum, high)
    if rng.random() < _NARROW_PROBABILITY:
        width = rng.uniform(*_NARROW_MM) / spacing_mm
        center = np.array(shape[1:]) / 2 + rng.uniform(-30.0, 30.0, 2) / spacing_mm
        box[0, 1:] = np.maximum(box[0, 1:], center - width / 2)
        box[1, 1:] = np.minimum(box[1, 1:], center + width / 2)
    return box


def _draw_knots(
    shape: tuple[int, int, int], spacing_mm: float, source_mm: float, rng: np.random.Generator
) -> torch.Tensor | None:
    if rng.random() < _RIGID_PROBABILITY:
        return None
    counts = [max(round(count * spacing_mm / _KNOT_MM), 1) + 1 for count in shape]
    sd = rng.uniform(0.0, _MAX_ELASTIC_SD_MM) / source_mm
    return torch.from_numpy((sd * rng.standard_normal((3, *counts))).astype(np.float32))
