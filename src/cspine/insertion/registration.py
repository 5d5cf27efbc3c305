"""Registration: where exactly each vertebra lies, by matching the phantom's mean vertebra with the scan.

Frames of the localizer are a few millimeters off, which would place a fracture beside the bone that it should break.
From each frame, the pose and the sizes along the three axes are refined: the squared differences between the
attenuation about the frame and the occupancy of the phantom's mean vertebra are minimized by the Gauss-Newton method
with damping (Levenberg 1944, Marquardt 1963), from several starts; dynamic programming over the column chooses among
them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Final

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from cspine.core.typing import Floats, Floats32
from cspine.phantom.anatomy.head import skull
from cspine.phantom.anatomy.morphometry import MORPHOMETRY
from cspine.phantom.anatomy.neck import draw_neck, vertebra_parts
from cspine.phantom.anatomy.person import Person
from cspine.phantom.geometry.grid import Grid
from cspine.phantom.geometry.parts import Part, bounding_box_of, sample_distance
from cspine.spine.level_settings import expected_distance_mm
from cspine.spine.spine_map import SpineMap

REGISTERED_LEVELS: Final = ("C1", "C2", "C3", "C4", "C5", "C6", "C7", "T1", "T2")
"""Vertebrae that the phantom has."""

_STEP_MM: Final = 1.6
"""Distance of the points at which scan and phantom are compared."""

_MARGIN_MM: Final = 3.0
"""How far outside of the bone they are compared: over discs, canal and joints."""

_EDGE_MM: Final = 2.4
"""Width over which occupancy falls at the surface of the bone, as it does in a scan smoothed to the grid."""

_SCAN_MM: Final = 1.2
_BONE_WINDOW_HU: Final = (50.0, 550.0)
"""The scan is resampled to voxels of this side, and clipped to this range."""

_PLACE_SD_MM: Final = 1.5
_ROTATION_SD_RAD: Final = 0.2
_LOG_SIZE_SD: Final = 0.10
"""Standard deviations of the errors of the localizer, and of sizes of people. With a standard deviation of 5 mm, C3 and
C4 of a real neck whose C4 and C5 are fused moved by 6 mm, onto discs."""

_PRIOR_WEIGHT: Final = 3.0
"""Weight of a deviation by one standard deviation, as squared differences of points."""

_SHIFTS_MM: Final = (-10.0, -7.0, -3.5, 0.0, 3.5, 7.0, 10.0)
"""Shifts from the localizer's frame along its own axis at which registration starts."""

_N_SEARCH, _N_REFINE = 8, 20
_THINNING: Final = 4
"""Iterations from every start on one of so many points, and from the best start on all of them."""

_LOG_SPACING_SD: Final = 0.12
_SPACING_WEIGHT: Final = 6.0
"""Standard deviation of the logarithm of a distance between neighbors, and the weight of a deviation by it."""

_MIN_SPACING_MM: Final = 3.0
_DAMPING: Final = (1e-3, 1e5)


@cache
def mean_person() -> Person:
    """Return a person of mean measures, to whose vertebrae real ones are compared."""
    person = draw_neck(np.random.default_rng(0), morphometry_sd_factor=0.0, posture_sd_factor=0.0).person
    traits = {level: dict.fromkeys(traits, 0.5) for level, traits in person.traits.items()}
    measures = {
        level: {name: MORPHOMETRY[name][level].mean for name in values} for level, values in person.measures.items()
    }
    return replace(person, measures=measures, traits=traits, size=0.0)


@cache
def mean_parts(level: str) -> tuple[Part, ...]:
    """Return the parts of the mean vertebra of a level, in its frame."""
    spacing_mm = draw_neck(np.random.default_rng(0), morphometry_sd_factor=0.0, posture_sd_factor=0.0).pillar_spacing_mm
    return tuple(vertebra_parts(mean_person(), level, spacing_mm))


@cache
def skull_base_parts() -> tuple[Part, ...]:
    """Return the parts of the mean skull base with its condyles, in the frame of C1."""
    return next(iter(skull(mean_person()))).parts


@dataclass(frozen=True)
class RegisteredVertebra:
    """A vertebra with its exact pose and its size.

    Attributes
    ----------
    level : str
        C1 to T2.
    frame_lps : (4, 4)
        Rigid transform from its frame to LPS mm.
    size : (3,)
        Its size along x, y and z relative to the phantom's mean vertebra.
    agreement : float
        Pearson correlation of attenuation and expected occupancy, -1 to 1.
    """

    level: str
    frame_lps: Floats
    size: Floats
    agreement: float

    @property
    def scaled_frame_lps(self) -> Floats:
        """The frame with axes as long as the size, (4, 4): the mean vertebra laid there has the size of this one."""
        return np.asarray(self.frame_lps @ np.diag([*self.size.tolist(), 1.0]))

    def box_lps_mm(self, margin_mm: float) -> Floats:
        """Return the box along the patient's axes that contains the vertebra with a margin, (2, 3) LPS mm."""
        low, high = bounding_box_of(mean_parts(self.level))
        corners = np.array(np.meshgrid(*zip(low, high, strict=True))).reshape(3, -1)
        lps = self.scaled_frame_lps[:3, :3] @ corners + self.scaled_frame_lps[:3, 3:]
        return np.array([lps.min(axis=1) - margin_mm, lps.max(axis=1) + margin_mm])


def register_vertebrae(grid: Grid, hu: Floats32, spine: SpineMap) -> dict[str, RegisteredVertebra]:
    """Return the exact poses of the vertebrae of a scan, by level.

    Parameters
    ----------
    grid : Grid
        Voxels of the scan, in LPS mm.
    hu : (k, j, i)
        Hounsfield units on the grid.
    spine : SpineMap
        Frames of the localizer or of a segmentation.
    """
    vertebrae = [each for each in spine.scanned_vertebrae if each.level in REGISTERED_LEVELS]
    if not vertebrae:
        return {}
    scan = _Scan.of(grid, hu, np.array([each.frame_lps[:3, 3] for each in vertebrae]))
    registrations = [_Registration(each.level, each.frame_lps, scan) for each in vertebrae]
    chosen = _best_column(registrations, [each.candidates() for each in registrations])
    return {each.level: each.refine(pose) for each, pose in zip(registrations, chosen, strict=True)}


@dataclass(frozen=True)
class _Scan:
    """A scan on a grid along the patient's axes, clipped to the window of bone and smoothed, from 0 to 1."""

    values: tuple[Floats32, ...]
    origin_mm: Floats

    @classmethod
    def of(cls, grid: Grid, hu: Floats32, origins_mm: Floats) -> "_Scan":
        """Resample the part of a scan about the origins of the vertebrae; the values, and their gradient along LPS."""
        low = origins_mm.min(axis=0) - np.array([50.0, 40.0, 35.0])
        high = origins_mm.max(axis=0) + np.array([50.0, 70.0, 35.0])
        shape = np.ceil((high - low) / _SCAN_MM).astype(int)[::-1]
        target = Grid.aligned(low, _SCAN_MM, tuple(shape.tolist()))
        window = grid.window(np.array([low, high]), 5.0)
        if window is None:
            window = (slice(0, 1), slice(0, 1), slice(0, 1))
        part = grid.crop(window)
        least, most = _BONE_WINDOW_HU
        sigma = 0.45 * _SCAN_MM / part.spacing_mm
        smooth = ndimage.gaussian_filter(np.clip((hu[window] - least) / (most - least), 0, 1).astype(np.float32), sigma)
        to_part = np.linalg.inv(part.affine) @ target.affine
        values = ndimage.affine_transform(smooth, to_part[:3, :3], to_part[:3, 3], target.shape, order=1)
        dz, dy, dx = np.gradient(values, _SCAN_MM)
        return cls((values, dx, dy, dz), low)

    def sample(self, points: Floats) -> tuple[Floats, Floats]:
        """Return the values at points, (n, 3) LPS mm, and their gradients, (n, 3)."""
        index = ((points - self.origin_mm) / _SCAN_MM)[:, ::-1].T
        values, *gradient = (ndimage.map_coordinates(each, index, np.float64, order=1) for each in self.values)
        return values, np.stack(gradient, axis=1)


@dataclass(frozen=True)
class _Pose:
    frame_lps: Floats
    log_size: Floats

    def moved(self, step: Floats) -> "_Pose":
        """Return the pose after a step of translation and rotation in LPS, and of sizes, (9,)."""
        frame = self.frame_lps.copy()
        frame[:3, :3] = Rotation.from_rotvec(step[3:6]).as_matrix() @ frame[:3, :3]
        frame[:3, 3] += step[:3]
        return _Pose(frame, self.log_size + step[6:])


@dataclass(frozen=True)
class _Registration:
    """Least squares between a scan and the mean vertebra of a level."""

    level: str
    frame_lps: Floats
    scan: _Scan

    @cached_property
    def _points(self) -> tuple[Floats, Floats]:
        return _comparison_points(self.level)

    def candidates(self) -> "list[tuple[_Pose, float]]":
        """Return the pose that each start leads to, with its cost."""
        poses = []
        for up in _SHIFTS_MM:
            frame = self.frame_lps.copy()
            frame[:3, 3] += up * frame[:3, 2]
            poses.append(self._descend(_Pose(frame, np.zeros(3)), _N_SEARCH, _THINNING))
        return [(pose, self._cost(pose)) for pose in poses]

    def refine(self, pose: "_Pose") -> RegisteredVertebra:
        """Return the vertebra at the best pose near a candidate."""
        pose = self._descend(pose, _N_REFINE, 1)
        values, _ = self.scan.sample(self._placed(pose, 1))
        agreement = float(np.corrcoef(values, self._points[1])[0, 1])
        return RegisteredVertebra(self.level, pose.frame_lps, np.exp(pose.log_size), agreement)

    def _placed(self, pose: _Pose, thinning: int) -> Floats:
        local = self._points[0][::thinning] * np.exp(pose.log_size)
        return np.asarray(local @ pose.frame_lps[:3, :3].T + pose.frame_lps[:3, 3])

    def _cost(self, pose: _Pose) -> float:
        residual, _ = self._linearize(pose, 1)
        return float(residual @ residual)

    def _descend(self, pose: _Pose, n_iterations: int, thinning: int) -> _Pose:
        damping, (least, most) = 1e-2, _DAMPING
        residual, jacobian = self._linearize(pose, thinning)
        for _ in range(n_iterations):
            normal = jacobian.T @ jacobian
            normal += damping * np.diag(np.diag(normal) + 1e-9)
            moved = pose.moved(np.asarray(-np.linalg.solve(normal, jacobian.T @ residual), np.float64))
            new_residual, new_jacobian = self._linearize(moved, thinning)
            if new_residual @ new_residual < residual @ residual:
                pose, residual, jacobian, damping = moved, new_residual, new_jacobian, max(damping / 5, least)
            else:
                damping *= 8
                if damping > most:
                    break
        return pose

    def _linearize(self, pose: _Pose, thinning: int) -> tuple[Floats, Floats]:
        """Return the residuals at a pose, (m,), and their derivatives, (m, 9), at one of `thinning` points."""
        local, expected = (each[::thinning] for each in self._points)
        values, gradient = self.scan.sample(self._placed(pose, thinning))
        scaled, rotation = local * np.exp(pose.log_size), pose.frame_lps[:3, :3]
        jacobian = np.hstack([gradient, np.cross(scaled @ rotation.T, gradient), (gradient @ rotation) * scaled])
        place = (pose.frame_lps[:3, 3] - self.frame_lps[:3, 3]) / _PLACE_SD_MM
        turn = Rotation.from_matrix(rotation @ self.frame_lps[:3, :3].T).as_rotvec() / _ROTATION_SD_RAD
        prior = np.concatenate([place, turn, pose.log_size / _LOG_SIZE_SD])
        of_prior = np.diag(1 / np.repeat([_PLACE_SD_MM, _ROTATION_SD_RAD, _LOG_SIZE_SD], 3))
        weight = np.sqrt(thinning)
        return (
            np.concatenate([weight * (values - expected), _PRIOR_WEIGHT * prior]),
            np.concatenate([weight * jacobian, _PRIOR_WEIGHT * of_prior]),
        )


def _best_column(
    registrations: Sequence[_Registration], candidates: Sequence[Sequence[tuple[_Pose, float]]]
) -> list[_Pose]:
    """Return the candidates of least cost over the whole column, by dynamic programming from the head down."""
    costs = [np.array([cost for _, cost in of_level]) for of_level in candidates]
    origins = [np.array([pose.frame_lps[:3, 3] for pose, _ in of_level]) for of_level in candidates]
    best, back = costs[0], []
    for number in range(1, len(costs)):
        distance = np.linalg.norm(origins[number - 1][:, None] - origins[number][None], axis=2)
        deviation = _spacing_deviation(distance, registrations[number - 1].level, registrations[number].level)
        total = best[:, None] + _SPACING_WEIGHT * deviation**2 + costs[number][None]
        back.append(total.argmin(axis=0))
        best = total.min(axis=0)
    path = [int(best.argmin())]
    for choice in reversed(back):
        path.append(int(choice[path[-1]]))
    return [of_level[index][0] for of_level, index in zip(candidates, reversed(path), strict=True)]


def _spacing_deviation(distance_mm: Floats, above: str, below: str) -> Floats:
    """Return by how many standard deviations distances differ from the mean one between two levels.

    It is 0 where levels do not descend, as where vertebrae are taken for others: nothing is known of their distance.
    """
    expected = expected_distance_mm(above, below)
    if not expected:
        return np.zeros_like(distance_mm)
    return np.asarray(np.log(np.maximum(distance_mm, _MIN_SPACING_MM) / expected) / _LOG_SPACING_SD)


@cache
def _comparison_points(level: str) -> tuple[Floats, Floats]:
    """Return points in and about the mean vertebra of a level, (n, 3) mm, and the expected occupancy at each, (n,)."""
    parts: Sequence[Part] = mean_parts(level)
    box = bounding_box_of(parts) + np.array([[-_MARGIN_MM], [_MARGIN_MM]])
    shape = np.ceil((box[1] - box[0]) / _STEP_MM).astype(int)[::-1] + 1
    grid = Grid.aligned(box[0], _STEP_MM, tuple(shape.tolist()))
    distance = sample_distance(parts, grid, truncation_mm=_MARGIN_MM + 1.0)
    index = np.argwhere(distance < _MARGIN_MM)
    points = index @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    occupancy = np.clip(0.5 - distance[tuple(index.T)] / _EDGE_MM, 0, 1)
    return points, occupancy.astype(np.float64)
