"""Instance segmentation by offset regression: voxels vote for the origins of vertebrae (a generalized Hough transform).

The network predicts for each voxel the offset to the origin of its vertebra, its canonical position in the vertebra's
frame, and a probability for each level. Voxels whose votes agree form a vertebra; a rigid (Procrustes) fit of canonical
to scan positions gives its frame, and the residual of the fit measures how well the voxels agree.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Final

import numpy as np
import scipy

from cspine.core.typing import Floats, Indices

_VOTE_SIGMA_MM: Final = 3.0
"""Standard deviation of the votes for one vertebra's origin."""

_HALF_WEIGHT_MM: Final = 10.0
"""A voxel's weight falls with its distance from the origin, because distant voxels predict it worse: to a half here."""

_DENSITY_SIGMA_MM: Final = 2.0
"""Standard deviation of the smoothing of the votes' density; small enough that neighbors keep their peaks."""

_MAX_VOTE_DISTANCE_MM: Final = 12.0
"""Votes farther from every origin than this belong to no vertebra."""

MIN_SEPARATION_MM: Final = 6.0
"""Origins nearer to each other are of one vertebra; the lowest vertebrae of small patients are 9 mm apart."""

_MIN_SPLIT_MM: Final = 10.0
"""A group of votes is split in two where the halves' means are at least this far apart; those of one vertebra are
nearer."""

_LEVEL_ERROR: Final = 0.02
"""Least probability that a voxel's level differs from its vertebra's."""

_N_ITERATIONS: Final = 4
"""Iterations of assigning voxels and moving origins; nothing moves after three."""

_WINDOW_MM: Final = (160.0, 160.0, 300.0)
"""Largest part along x, y and z in which votes are counted at a time; a neck with the thoracic vertebrae below it is
about as large."""

_WINDOW_OVERLAP_MM: Final = 30.0

_MAX_DISTANCES: Final = 2_000_000
"""Distances of votes from origins that are held at a time; a neck has 500,000, and one takes 50 bytes."""

_MIN_VERTEBRA_MM3: Final = 900.0
"""Least bone volume of a vertebra: a tenth of an average one."""


@dataclass(frozen=True)
class Instance:
    """One vertebra, as its voxels predict it.

    Attributes
    ----------
    members : (n,) int
        Indices of its voxels.
    frame : (4, 4)
        Affine from its frame to LPS mm.
    misfit_mm : float
        Root mean square residual of the rigid fit of the frame.
    """

    members: Indices
    frame: Floats
    misfit_mm: float


@dataclass(frozen=True)
class VoxelVotes:
    """The localizer's predictions for the voxels that belong to vertebrae.

    Attributes
    ----------
    points_lps_mm : (n, 3)
        Centers of the voxels.
    offsets_mm : (n, 3)
        Predicted offsets from there to the vertebra's origin, along LPS.
    canonical_mm : (n, 3)
        Predicted positions in the vertebra's own frame.
    level_probabilities : (n, classes)
        Probability of each level; a row sums to the probability that the voxel belongs to a vertebra at all.
    voxel_mm3 : float
        Volume of a voxel.
    """

    points_lps_mm: Floats
    offsets_mm: Floats
    canonical_mm: Floats
    level_probabilities: Floats
    voxel_mm3: float

    @cached_property
    def origins_lps_mm(self) -> Floats:
        """Where each voxel votes its vertebra's origin to be, (n, 3)."""
        return self.points_lps_mm + self.offsets_mm

    @cached_property
    def weights(self) -> Floats:
        """The probability that each voxel belongs to a vertebra, (n,)."""
        return np.asarray(self.level_probabilities.sum(axis=1))


def find_instances(voxels: VoxelVotes) -> list[Instance]:
    """Group voxels to vertebrae.

    1. The votes of each level are smoothed to a density, whose peaks are candidate origins; peaks of different levels
       at one position are one vertebra (non-maximum suppression).
    2. Each voxel is assigned to the vertebra that it fits best, by position and level, and origins are moved to the
       median of their votes. The two steps alternate: expectation-maximization with hard assignment (Dempster 1977).
       A group whose votes have two modes is split.
    3. The frame of each vertebra is the rigid motion from canonical to scan positions (`rigid_frame`).

    Parameters
    ----------
    voxels : VoxelVotes
        The voxels that belong to vertebrae.

    Returns
    -------
    list of Instance
        From the head down.
    """
    if not len(voxels.points_lps_mm):
        return []
    votes, weights = voxels.origins_lps_mm, voxels.weights
    min_weight = _MIN_VERTEBRA_MM3 / voxels.voxel_mm3
    reliability = 1.0 / (1.0 + (np.linalg.norm(voxels.offsets_mm, axis=1) / _HALF_WEIGHT_MM) ** 2)
    level_weights = voxels.level_probabilities * reliability[:, None]
    origins, profiles = _initial_origins(votes, level_weights, min_weight)
    for _ in range(_N_ITERATIONS):
        if not len(origins):
            return []
        assigned = _assign_voxels(votes, voxels.level_probabilities, origins, profiles)
        groups = [np.flatnonzero(assigned == number) for number in range(len(origins))]
        groups = [part for group in groups for part in _split_cluster(group, votes, weights * reliability, min_weight)]
        groups = [group for group in groups if weights[group].sum() >= min_weight]
        origins = np.array([np.median(votes[group], axis=0) for group in groups]).reshape(-1, 3)
        profiles = np.array([voxels.level_probabilities[group].sum(axis=0) for group in groups])
        profiles = profiles.reshape(len(groups), voxels.level_probabilities.shape[1])
        kept = _non_max_suppress(origins, profiles.sum(axis=1).tolist())
        origins, profiles = origins[kept], profiles[kept]
    if not len(origins):
        return []
    assigned = _assign_voxels(votes, voxels.level_probabilities, origins, profiles)
    instances = []
    for number in range(len(origins)):
        members = np.flatnonzero(assigned == number)
        if weights[members].sum() < min_weight:
            continue
        frame, misfit = rigid_frame(voxels.canonical_mm[members], voxels.points_lps_mm[members], weights[members])
        instances.append(Instance(members, frame, misfit))
    return sorted(instances, key=lambda instance: -float(instance.frame[2, 3]))


def _initial_origins(votes: Floats, level_weights: Floats, min_weight: float) -> tuple[Floats, Floats]:
    """Return the peaks of the votes of each level, (m, 3), and a one-hot profile of each peak's level, (m, classes)."""
    peaks = [_density_peaks(votes, weights, min_weight) for weights in level_weights.T]
    level_of = np.repeat(np.arange(len(peaks)), [len(positions) for positions, _ in peaks])
    origins = np.concatenate([positions for positions, _ in peaks])
    kept = _non_max_suppress(origins, np.concatenate([heights for _, heights in peaks]).tolist())
    profiles = np.zeros((len(kept), level_weights.shape[1]))
    profiles[np.arange(len(kept)), level_of[kept]] = 1.0
    return origins[kept], profiles


def _density_peaks(votes: Floats, weights: Floats, min_weight: float) -> tuple[Floats, Floats]:
    """Return the local maxima of the density of weighted votes, (m, 3) LPS mm, and the density there, (m,).

    The histogram covers the central 98 % of the votes, because stray votes may lie anywhere.
    """
    counts = weights > _LEVEL_ERROR
    none = np.empty((0, 3)), np.empty(0)
    if weights[counts].sum() < min_weight / 8:
        return none
    votes, weights = votes[counts], weights[counts]
    low, high = np.percentile(votes, [1, 99], axis=0) + 3 * _VOTE_SIGMA_MM * np.array([[-1], [1]])
    windows = [_peaks_between(window, votes, weights, min_weight) for window in _windows(low, high)]
    return np.concatenate([peaks for peaks, _ in windows]), np.concatenate([heights for _, heights in windows])


def _windows(low: Floats, high: Floats) -> Iterator[tuple[Floats, Floats]]:
    """Yield the lower and the upper corner of overlapping windows of at most `_WINDOW_MM` that cover a box."""
    starts = [
        np.arange(start, max(stop - _WINDOW_OVERLAP_MM, start + 1e-6), size - _WINDOW_OVERLAP_MM)
        for start, stop, size in zip(low.tolist(), high.tolist(), _WINDOW_MM, strict=True)
    ]
    for corner in product(*starts):
        yield np.array(corner), np.minimum(high, np.array(corner) + _WINDOW_MM)


def _peaks_between(
    window: tuple[Floats, Floats], votes: Floats, weights: Floats, min_weight: float
) -> tuple[Floats, Floats]:
    """Return the peaks of the votes in a window from corner to corner, as `_density_peaks` does."""
    (low, high), step = window, _DENSITY_SIGMA_MM
    cells = np.rint((votes - low) / step).astype(int)
    shape = np.ceil((high - low) / step).astype(int) + 1
    within = np.all((cells >= 0) & (cells < shape), axis=1)
    if not within.any():
        return np.empty((0, 3)), np.empty(0)
    histogram = np.zeros(shape)
    np.add.at(histogram, tuple(cells[within].T), weights[within])
    density = scipy.ndimage.gaussian_filter(histogram, _DENSITY_SIGMA_MM / step, mode="constant")
    highest = scipy.ndimage.maximum_filter(density, size=int(2 * MIN_SEPARATION_MM / step) | 1)
    # A quarter of the peak density of the smallest vertebra, with votes scattered twice as far as usual.
    floor = min_weight / ((2 * np.pi) ** 1.5 * (2 * _VOTE_SIGMA_MM / step) ** 3) / 4
    peaks = np.argwhere((density == highest) & (density > floor))
    return low + step * peaks, density[tuple(peaks.T)]


def _split_cluster(group: Indices, votes: Floats, weights: Floats, min_weight: float) -> tuple[Indices, ...]:
    """Return the two vertebrae that one group of voxels votes for, or the group where it is one vertebra.

    2-means along the first principal axis of the votes. The halves of one vertebra have means much nearer to each other
    than two vertebrae are.
    """
    if len(group) < 2:
        return (group,)
    fraction = weights[group] / weights[group].sum()
    centered = votes[group] - fraction @ votes[group]
    _, axes = np.linalg.eigh(centered.T @ (fraction[:, None] * centered))
    along = centered @ axes[:, -1]
    weighted, upper = fraction * along, along > 0
    means: tuple[float, ...] = (0.0, 0.0)
    for _ in range(_N_ITERATIONS):
        if not upper.any() or upper.all():
            return (group,)
        means = tuple(float(weighted[part].sum() / fraction[part].sum()) for part in (~upper, upper))
        upper = along > sum(means) / 2
    parts = group[upper], group[~upper]
    is_two = means[1] - means[0] >= _MIN_SPLIT_MM and all(weights[part].sum() >= min_weight / 4 for part in parts)
    return parts if is_two else (group,)


def _non_max_suppress(origins: Floats, weights: list[float]) -> list[int]:
    """Return the indices of the origins without a heavier one nearer than the minimum separation."""
    kept: list[int] = []
    for number in np.argsort(weights)[::-1].tolist():
        if all(np.linalg.norm(origins[number] - origins[other]) >= MIN_SEPARATION_MM for other in kept):
            kept.append(number)
    return kept


def _assign_voxels(votes: Floats, level_probabilities: Floats, origins: Floats, profiles: Floats) -> Indices:
    """Return the index of the vertebra with the greatest likelihood for each voxel, -1 where none is near, (n,).

    The likelihood is a Gaussian of the distance of the vote from the origin, times the agreement of the levels. Blocks
    of voxels bound the memory where a barely trained network votes for very many origins.
    """
    size = max(_MAX_DISTANCES // len(origins), 1)
    blocks = (slice(start, start + size) for start in range(0, len(votes), size))
    return np.concatenate([_assign_block(votes[part], level_probabilities[part], origins, profiles) for part in blocks])


def _assign_block(votes: Floats, level_probabilities: Floats, origins: Floats, profiles: Floats) -> Indices:
    profile = profiles / profiles.sum(axis=1, keepdims=True)
    normalized = level_probabilities / level_probabilities.sum(axis=1, keepdims=True)
    log_agreement = np.log(_LEVEL_ERROR + normalized @ profile.T)
    distance_sq = (votes**2).sum(axis=1)[:, None] - 2.0 * (votes @ origins.T) + (origins**2).sum(axis=1)
    log_likelihood = log_agreement - distance_sq / (2.0 * _VOTE_SIGMA_MM**2)
    log_likelihood[distance_sq > _MAX_VOTE_DISTANCE_MM**2] = -np.inf
    best = log_likelihood.argmax(axis=1)
    is_near = np.isfinite(log_likelihood[np.arange(len(best)), best])
    return np.where(is_near, best, -1)


def rigid_frame(canonical_mm: Floats, points_lps_mm: Floats, weights: Floats) -> tuple[Floats, float]:
    """Fit the rigid motion from a vertebra's frame to LPS (weighted orthogonal Procrustes problem).

    Parameters
    ----------
    canonical_mm : (n, 3)
        Points in the frame.
    points_lps_mm : (n, 3)
        The same points in LPS.
    weights : (n,)
        Weight of each point.

    Returns
    -------
    frame : (4, 4)
        The least-squares rotation and translation, without reflection, by the singular value decomposition of
        Kabsch (1976).
    misfit_mm : float
        Root mean square residual.
    """
    fraction = weights / weights.sum()
    canonical_center, center = fraction @ canonical_mm, fraction @ points_lps_mm
    u, _, vt = np.linalg.svd((canonical_mm - canonical_center).T @ ((points_lps_mm - center) * fraction[:, None]))
    no_reflection = np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = vt.T @ no_reflection @ u.T
    frame = np.eye(4)
    frame[:3, :3], frame[:3, 3] = rotation, center - rotation @ canonical_center
    residual = canonical_mm @ rotation.T + frame[:3, 3] - points_lps_mm
    return frame, float(np.sqrt(fraction @ (residual**2).sum(axis=1)))
