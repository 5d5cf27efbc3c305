"""Frames from masks: the pose of a vertebra whose voxels are known, by registration with its occupancy template.

The mask, smoothed to the cells of the template, is compared with the template of the level at a pose: position,
rotation and size along the three axes. The squared differences are minimized by the Gauss-Newton method with damping
(Levenberg 1944, Marquardt 1963) from several starts. What lies outside the segmented region counts for nothing, so that
vertebrae cut off by the border of a scan are placed by what is left of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING, Final

import numpy as np
import scipy

from cspine.core.typing import Floats, Floats32, Indices
from cspine.spine.occupancy_template import CELL_MM, IsInside, OccupancyTemplate

if TYPE_CHECKING:
    from scipy.spatial.transform import Rotation

_GRID_MM: Final = 1.25
"""Voxels are averaged to about this side before registration."""

_MARGIN_MM: Final = 20.0
"""Space around the mask, over which poses may move."""

_LOG_SIZE_SD: Final = 0.12
"""Standard deviation of the logarithm of a vertebra's size along an axis, relative to the template."""

_RESIDUAL_SD: Final = 0.9
"""Weight of the deviation of one size by a standard deviation, as a difference of occupancies of cells."""

_ORIGIN_SD_MM: Final = 6.0
_ROTATION_SD_RAD: Final = 0.25
"""Standard deviations of a pose about one expected from neighbors, for vertebrae that are cut off."""

_YAWS_DEG: Final = (-30.0, 0.0, 30.0)
_PITCHES_DEG: Final = (-25.0, 0.0, 25.0)
"""Rotations about z and x from the patient's axes at which registration starts."""

_N_SEARCH, _N_REFINE = 6, 25
"""Iterations from every start, and from the best of them."""

_N_REFINED: Final = 2
_DAMPING: Final = (1e-3, 1e6)
_MAX_STEP_MM: Final = 0.01
"""Registration ends where no parameter, in mm at 10 mm from the origin, moves by more."""


def _rotations() -> "type[Rotation]":
    """Return SciPy's rotations, which are imported when they are first needed: few users have segmentations."""
    return scipy.spatial.transform.Rotation


@dataclass(frozen=True)
class VertebraMask:
    """The voxels of one vertebra on a grid of its own.

    Attributes
    ----------
    occupancy : (k, j, i) float32
        Fraction of each voxel that is bone of the vertebra.
    known : (k, j, i) float32
        Fraction of each voxel that was segmented at all: 0 outside the scan.
    affine_lps : (4, 4)
        From ``[k, j, i, 1]`` to LPS mm.
    """

    occupancy: Floats32
    known: Floats32
    affine_lps: Floats

    @cached_property
    def is_cut(self) -> bool:
        """Whether bone lies at the border of what was segmented."""
        unknown = scipy.ndimage.binary_dilation(self.known < 0.5, np.ones((3, 3, 3), np.bool_))
        return bool(np.any(unknown & (self.occupancy > 0.0)))

    @cached_property
    def centroid_lps_mm(self) -> Floats:
        """Centroid of the bone, (3,)."""
        index = np.argwhere(self.occupancy > 0.0)
        center = np.average(index, axis=0, weights=self.occupancy[tuple(index.T)])
        return np.asarray(self.affine_lps[:3, :3] @ center + self.affine_lps[:3, 3])

    @property
    def volume_mm3(self) -> float:
        """Volume of the bone."""
        return float(self.occupancy.sum(dtype=np.float64) * abs(np.linalg.det(self.affine_lps[:3, :3])))

    def restricted(self, is_inside: IsInside) -> "VertebraMask":
        """Return the mask with only what lies inside a region as known."""
        index = np.indices(self.known.shape).reshape(3, -1).T
        inside = is_inside(index @ self.affine_lps[:3, :3].T + self.affine_lps[:3, 3]).reshape(self.known.shape)
        return replace(self, known=np.where(inside, self.known, np.float32(0.0)))

    def points_lps_mm(self) -> tuple[Floats, Floats]:
        """Return the centers of voxels of bone, (n, 3) LPS mm, and their occupancy, (n,)."""
        index = np.argwhere(self.occupancy > 0.0)
        points = index @ self.affine_lps[:3, :3].T + self.affine_lps[:3, 3]
        return points, self.occupancy[tuple(index.T)].astype(np.float64)


def grid_mask(index: Indices, shape: Sequence[int] | None, affine_lps: Floats) -> VertebraMask:
    """Average the voxels of a vertebra to a grid of about 1.25 mm.

    Parameters
    ----------
    index : (n, 3) int
        Indices of its voxels in a label map.
    shape : (int, int, int) or None
        Shape of the label map, beyond which nothing is known; None where all is known.
    affine_lps : (4, 4)
        From the indices to LPS mm.
    """
    sides_mm = np.linalg.norm(affine_lps[:3, :3], axis=0)
    factors = np.maximum(np.rint(_GRID_MM / sides_mm), 1).astype(int)
    step_mm = factors * sides_mm
    margin = np.ceil(_MARGIN_MM / step_mm).astype(int)
    low = index.min(axis=0) // factors - margin
    counts = np.zeros(index.max(axis=0) // factors + margin + 1 - low, np.float32)
    np.add.at(counts, tuple((index // factors - low).T), np.float32(1.0))
    known = np.ones(counts.shape, np.float32)
    for axis, count in enumerate(shape or ()):
        first = (np.arange(counts.shape[axis]) + low[axis]) * factors[axis]
        inside = np.clip(np.minimum(first + factors[axis], count) - np.maximum(first, 0), 0, factors[axis])
        known *= np.expand_dims(inside / factors[axis], [other for other in range(3) if other != axis])
    affine = affine_lps.copy()
    affine[:3, :3] = affine_lps[:3, :3] * factors
    affine[:3, 3] += affine_lps[:3, :3] @ (low * factors + (factors - 1) / 2)
    return VertebraMask(np.asarray(counts / np.prod(factors), np.float32), known, affine)


@dataclass(frozen=True)
class Pose:
    """Pose and size of a vertebra.

    Attributes
    ----------
    frame_lps : (4, 4)
        Rigid transform from the vertebra's frame to LPS mm.
    log_size : (3,)
        Logarithm of its size along x, y and z relative to the template.
    """

    frame_lps: Floats
    log_size: Floats

    @property
    def scaled_frame_lps(self) -> Floats:
        """The frame with axes as long as the vertebra's size, (4, 4): a template laid there has its size."""
        return np.asarray(self.frame_lps @ np.diag([*np.exp(self.log_size).tolist(), 1.0]))

    def moved(self, step: Floats) -> "Pose":
        """Return the pose after a step of the nine parameters: translation, rotation vector in LPS, sizes."""
        frame = self.frame_lps.copy()
        frame[:3, :3] = _rotations().from_rotvec(step[3:6]).as_matrix() @ frame[:3, :3]
        frame[:3, 3] += step[:3]
        return Pose(frame, self.log_size + step[6:])


@dataclass(frozen=True)
class FrameFit:
    """The pose of a vertebra, and how well its mask agrees with the template there.

    Attributes
    ----------
    pose : Pose
        Pose and size.
    agreement : float
        Pearson correlation of the occupancies of mask and template over the cells that are known, -1 to 1.
    """

    pose: Pose
    agreement: float


@dataclass(frozen=True)
class PosePrior:
    """What is known of a vertebra's pose before its mask is looked at.

    Attributes
    ----------
    log_size : (3,)
        Expected logarithm of its size, from other vertebrae of the patient.
    axes_lps : (3, 3) or None
        Axes of a neighbor, from which rotations are searched; the patient's axes where None.
    frame_lps : (4, 4) or None
        Frame expected from its neighbors, to which that of a vertebra that is cut off is held.
    """

    log_size: Floats = field(default_factory=lambda: np.zeros(3))
    axes_lps: Floats | None = None
    frame_lps: Floats | None = None


def fit_frame(mask: VertebraMask, template: OccupancyTemplate, prior: PosePrior | None = None) -> FrameFit:
    """Fit the frame of a vertebra to its mask.

    Parameters
    ----------
    mask : VertebraMask
        Voxels of the vertebra.
    template : OccupancyTemplate
        Mean occupancy of vertebrae of its level.
    prior : PosePrior, optional
        What other vertebrae of the patient say.
    """
    registration = _Registration(mask, template, prior or PosePrior())
    poses = [registration.descend(pose, _N_SEARCH) for pose in registration.starts()]
    best = sorted(poses, key=registration.cost)[:_N_REFINED]
    pose = min((registration.descend(pose, _N_REFINE) for pose in best), key=registration.cost)
    return FrameFit(pose, registration.agreement(pose))


class _Registration:
    """Least squares between a smoothed mask and a template."""

    def __init__(self, mask: VertebraMask, template: OccupancyTemplate, prior: PosePrior) -> None:
        self._mask, self._prior = mask, prior
        self._centers_mm, self._template = template.grid
        sides_mm = np.linalg.norm(mask.affine_lps[:3, :3], axis=0)
        # The variance of a cell of the template, less that of a voxel and of linear interpolation between voxels.
        variance = np.maximum((CELL_MM**2 - sides_mm**2) / 12 - sides_mm**2 / 6, 0.0)
        sigma = np.sqrt(variance) / sides_mm
        smooth = scipy.ndimage.gaussian_filter(mask.occupancy, sigma)
        self._known = scipy.ndimage.gaussian_filter(mask.known, sigma, mode="nearest")
        self._volumes = (smooth, *np.gradient(smooth))
        self._inverse = np.linalg.inv(mask.affine_lps)
        self._mass = mask.volume_mm3 / CELL_MM**3

    def starts(self) -> list[Pose]:
        """Return the poses at which registration starts: about the axes of the patient or neighbor, and as expected."""
        prior = self._prior
        centroid_mm = self._template @ self._centers_mm / self._template.sum() * np.exp(prior.log_size)
        poses = [] if prior.frame_lps is None else [Pose(prior.frame_lps, prior.log_size)]
        axes = np.eye(3) if prior.axes_lps is None else prior.axes_lps
        for yaw, pitch in product(_YAWS_DEG, _PITCHES_DEG if prior.axes_lps is None else (0.0,)):
            frame = np.eye(4)
            frame[:3, :3] = axes @ _rotations().from_euler("zx", [yaw, pitch], degrees=True).as_matrix()
            frame[:3, 3] = self._mask.centroid_lps_mm - frame[:3, :3] @ centroid_mm
            poses.append(Pose(frame, prior.log_size))
        return poses

    def descend(self, pose: Pose, n_iterations: int) -> Pose:
        """Return the pose after at most so many steps of damped Gauss-Newton."""
        damping, (least, most) = 1e-2, _DAMPING
        residual, jacobian = self._linearize(pose)
        for _ in range(n_iterations):
            normal, gradient = jacobian.T @ jacobian, jacobian.T @ residual
            normal += damping * np.diag(np.diag(normal) + 1e-9)
            step = np.asarray(-np.linalg.solve(normal, gradient), np.float64)
            moved = pose.moved(step)
            new_residual, new_jacobian = self._linearize(moved)
            if new_residual @ new_residual < residual @ residual:
                pose, residual, jacobian, damping = moved, new_residual, new_jacobian, max(damping / 5, least)
                if np.abs(step * [1, 1, 1, 10, 10, 10, 10, 10, 10]).max() < _MAX_STEP_MM:
                    break
            else:
                damping *= 8
                if damping > most:
                    break
        return pose

    def cost(self, pose: Pose) -> float:
        """Return the sum of squares at a pose, and of the bone that the template does not reach there."""
        occupancy, known, _ = self._sample(pose)
        residual = np.concatenate([known * (occupancy - self._template), self._deviation(pose)[0]])
        reached = float(occupancy.sum() * np.exp(pose.log_size.sum()))
        return float(residual @ residual) + max(self._mass - reached, 0.0)

    def agreement(self, pose: Pose) -> float:
        """Return the weighted correlation of the two occupancies at a pose."""
        occupancy, known, _ = self._sample(pose)
        weight = known / known.sum()
        mask, template = occupancy - weight @ occupancy, self._template - weight @ self._template
        norm = np.sqrt((weight @ mask**2) * (weight @ template**2))
        return float(weight @ (mask * template) / norm) if norm > 0.0 else 0.0

    def _sample(self, pose: Pose) -> tuple[Floats, Floats, Floats]:
        """Return occupancy and known fraction at the template's cells, (n,), and the index of each cell, (3, n)."""
        points = self._centers_mm @ pose.scaled_frame_lps[:3, :3].T + pose.frame_lps[:3, 3]
        index = (points @ self._inverse[:3, :3].T + self._inverse[:3, 3]).T
        occupancy = _interpolate(self._volumes[0], index)
        known = scipy.ndimage.map_coordinates(self._known, index, np.float64, order=1, mode="nearest")
        return occupancy, known, index

    def _linearize(self, pose: Pose) -> tuple[Floats, Floats]:
        """Return the residuals at a pose, (m,), and their derivatives, (m, 9)."""
        occupancy, known, index = self._sample(pose)
        gradient = np.stack([_interpolate(volume, index) for volume in self._volumes[1:]], axis=1)
        gradient = known[:, None] * (gradient @ self._inverse[:3, :3])  # along LPS, per mm
        scaled = self._centers_mm * np.exp(pose.log_size)
        rotation = pose.frame_lps[:3, :3]
        turning = np.cross(scaled @ rotation.T, gradient)
        sizing = (gradient @ rotation) * scaled
        prior, of_prior = self._deviation(pose)
        residual = np.concatenate([known * (occupancy - self._template), prior])
        return residual, np.concatenate([np.hstack([gradient, turning, sizing]), of_prior])

    def _deviation(self, pose: Pose) -> tuple[Floats, Floats]:
        """Return the deviations from the expected size and pose as residuals, and their derivatives, (m, 9)."""
        size, of_size = (pose.log_size - self._prior.log_size) / _LOG_SIZE_SD, np.eye(9)[6:] / _LOG_SIZE_SD
        expected = self._prior.frame_lps
        if expected is None:
            return _RESIDUAL_SD * size, _RESIDUAL_SD * of_size
        place = (pose.frame_lps[:3, 3] - expected[:3, 3]) / _ORIGIN_SD_MM
        turn = _rotations().from_matrix(pose.frame_lps[:3, :3] @ expected[:3, :3].T).as_rotvec() / _ROTATION_SD_RAD
        of_pose = np.eye(9)[:6] / np.repeat([_ORIGIN_SD_MM, _ROTATION_SD_RAD], 3)[:, None]
        return (
            _RESIDUAL_SD * np.concatenate([place, turn, size]),
            _RESIDUAL_SD * np.concatenate([of_pose, of_size]),
        )


def _interpolate(volume: Floats32, index: Floats) -> Floats:
    """Return a volume's values at indices, (3, n), by linear interpolation; 0 outside."""
    return np.asarray(scipy.ndimage.map_coordinates(volume, index, np.float64, order=1))
