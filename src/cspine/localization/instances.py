"""Voxels that say which vertebra they belong to, to vertebrae."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from cspine.core.typing import Floats

_SPREAD_MM: Final = 3.0
"""Votes for one vertebra's origin scatter about so much."""

_NEAR_MM: Final = 10.0
"""Voxels farther from the origin than this vote worse: their word counts half, and less the farther they are."""

_PEAK_MM: Final = 2.0
"""By so much votes are blurred to find where they gather: neighbours' peaks stay apart."""

_REACH_MM: Final = 12.0
"""Votes farther from every origin than this belong to none."""

_SAME_MM: Final = 6.0
"""Two origins nearer to each other are one vertebra's: the lowest vertebrae's lie 9 apart."""

_TWO_MM: Final = 10.0
"""Votes of one vertebra, parted at their middle, have means nearer than this."""

_DOUBT: Final = 0.02
"""Chance at least that a voxel's class is another than its vertebra's."""

_ROUNDS: Final = 4
"""Of giving voxels to vertebrae and placing these anew; nothing moves after three."""

_MAX_EXTENT_MM: Final = (160.0, 160.0, 300.0)
"""A neck with the thoracic vertebrae beneath it does not wander farther aside, back and down."""

_LEAST_MM3: Final = 900.0
"""Less bone is no vertebra: a tenth of one."""


@dataclass(frozen=True)
class Instance:
    """One vertebra as its voxels tell it.

    Attributes
    ----------
    members : (n,) int
        Its voxels' numbers.
    frame : (4, 4)
        From its frame to LPS mm.
    misfit_mm : float
        By how much its voxels disagree about the frame (root mean square).
    """

    members: npt.NDArray[np.intp]
    frame: Floats
    misfit_mm: float


@dataclass(frozen=True)
class Voxels:
    """What a localiser says of the voxels that are a vertebra's.

    Attributes
    ----------
    places : (n, 3)
        LPS mm.
    ways : (n, 3)
        From there to the vertebra's origin, mm.
    own : (n, 3)
        The same places in the vertebra's frame, mm.
    chances : (n, classes)
        Of being each level's; rows sum to at most 1, which is how sure the voxel is to be of a vertebra at all.
    mm3 : float
        Volume of one.
    """

    places: Floats
    ways: Floats
    own: Floats
    chances: Floats
    mm3: float

    @property
    def votes(self) -> Floats:
        """Where each voxel takes its vertebra's origin to be, (n, 3), LPS mm."""
        return self.places + self.ways

    @property
    def weights(self) -> Floats:
        """How sure each voxel is to be of a vertebra, (n,)."""
        return np.asarray(self.chances.sum(axis=1))


def find_instances(voxels: Voxels) -> list[Instance]:
    """Gather voxels into vertebrae, from the head down.

    Each voxel votes for where its vertebra's origin is, and for its level. The votes of each level gather at peaks;
    peaks of different levels at one place are one vertebra. Then voxels are given to the vertebra that they fit best,
    by place and by level, and vertebrae are placed anew, in turns (Dempster's expectation and maximisation, 1977, with
    the hard choice). A vertebra's frame is the rigid motion that brings its voxels' places in the frame onto their
    places in the scan.
    """
    if not len(voxels.places):
        return []
    votes, weights = voxels.votes, voxels.weights
    least = _LEAST_MM3 / voxels.mm3
    near = 1.0 / (1.0 + (np.linalg.norm(voxels.ways, axis=1) / _NEAR_MM) ** 2)
    origins, profiles = _first(votes, voxels.chances * near[:, None], least)
    for _ in range(_ROUNDS):
        if not len(origins):
            return []
        given = _assign_voxels(votes, voxels.chances, origins, profiles)
        groups = [np.flatnonzero(given == number) for number in range(len(origins))]
        groups = [part for group in groups for part in _split_cluster(group, votes, weights * near, least)]
        groups = [group for group in groups if weights[group].sum() >= least]
        origins = np.array([np.median(votes[group], axis=0) for group in groups]).reshape(-1, 3)
        profiles = np.array([voxels.chances[group].sum(axis=0) for group in groups])
        profiles = profiles.reshape(len(groups), voxels.chances.shape[1])
        alone = _non_max_suppress(origins, profiles.sum(axis=1).tolist())
        origins, profiles = origins[alone], profiles[alone]
    if not len(origins):
        return []
    given = _assign_voxels(votes, voxels.chances, origins, profiles)
    found = []
    for number in range(len(origins)):
        members = np.flatnonzero(given == number)
        if weights[members].sum() < least:
            continue
        frame, misfit = rigid_frame(voxels.own[members], voxels.places[members], weights[members])
        found.append(Instance(members, frame, misfit))
    return sorted(found, key=lambda instance: -float(instance.frame[2, 3]))


def _first(votes: Floats, chances: Floats, least: float) -> tuple[Floats, Floats]:
    """Return where the votes of each level gather, (m, 3), and how much each level says so there, (m, classes)."""
    peaks = [_peaks(votes, chances[:, level], least) for level in range(chances.shape[1])]
    level_of = np.repeat(np.arange(len(peaks)), [len(at) for at, _ in peaks])
    origins = np.concatenate([at for at, _ in peaks])
    alone = _non_max_suppress(origins, np.concatenate([height for _, height in peaks]).tolist())
    profiles = np.zeros((len(alone), chances.shape[1]))
    profiles[np.arange(len(alone)), level_of[alone]] = 1.0
    return origins[alone], profiles


def _peaks(votes: Floats, words: Floats, least: float) -> tuple[Floats, Floats]:
    """Return where votes of some weights gather, (m, 3), and how densely, (m,).

    They are counted in cells about most of them: a few that lie far off may lie anywhere.
    """
    said = words > _DOUBT
    none = np.empty((0, 3)), np.empty(0)
    if words[said].sum() < least / 8:
        return none
    votes, words, step = votes[said], words[said], _PEAK_MM / 2
    low, high = np.percentile(votes, [1, 99], axis=0) + 3 * _SPREAD_MM * np.array([[-1], [1]])
    high = np.minimum(high, low + _MAX_EXTENT_MM)
    cells = np.rint((votes - low) / step).astype(int)
    shape = np.ceil((high - low) / step).astype(int) + 1
    within = np.all((cells >= 0) & (cells < shape), axis=1)
    count = np.zeros(shape)
    np.add.at(count, tuple(cells[within].T), words[within])
    density = ndimage.gaussian_filter(count, _PEAK_MM / step, mode="constant")
    highest = ndimage.maximum_filter(density, size=int(2 * _SAME_MM / step) | 1)
    # So many votes, scattered as far as they may be, still reach this density.
    floor = least / ((2 * np.pi) ** 1.5 * (2 * _SPREAD_MM / step) ** 3) / 4
    found = np.argwhere((density == highest) & (density > floor))
    return low + step * found, density[tuple(found.T)]


def _split_cluster(
    group: npt.NDArray[np.intp], votes: Floats, words: Floats, least: float
) -> tuple[npt.NDArray[np.intp], ...]:
    """Return the two vertebrae that one group of voxels votes for, or the group where it is one.

    Two means along the line on which the votes scatter most: those of one vertebra come out much nearer to each
    other than two vertebrae are.
    """
    if len(group) < 2:
        return (group,)
    word = words[group] / words[group].sum()
    middle = word @ votes[group]
    _, _, axes = np.linalg.svd((votes[group] - middle) * np.sqrt(word)[:, None], full_matrices=False)
    along = (votes[group] - middle) @ axes[0]
    upper = along > 0
    means: tuple[float, ...] = (0.0, 0.0)
    for _ in range(_ROUNDS):
        if not upper.any() or upper.all():
            return (group,)
        means = (
            float(np.average(along[~upper], weights=word[~upper])),
            float(np.average(along[upper], weights=word[upper])),
        )
        upper = along > sum(means) / 2
    parts = group[upper], group[~upper]
    apart = means[1] - means[0] >= _TWO_MM and all(words[part].sum() >= least / 4 for part in parts)
    return parts if apart else (group,)


def _non_max_suppress(origins: Floats, masses: list[float]) -> list[int]:
    """Return the numbers of the origins that no heavier one is near to."""
    kept: list[int] = []
    for number in np.argsort(masses)[::-1].tolist():
        if all(np.linalg.norm(origins[number] - origins[other]) >= _SAME_MM for other in kept):
            kept.append(number)
    return kept


def _assign_voxels(votes: Floats, chances: Floats, origins: Floats, profiles: Floats) -> npt.NDArray[np.intp]:
    """Return the vertebra that each voxel fits best, -1 where none is near, (n,)."""
    share = profiles / profiles.sum(axis=1, keepdims=True)
    agree = np.log(_DOUBT + (chances / chances.sum(axis=1, keepdims=True)) @ share.T)
    distance = np.linalg.norm(votes[:, None] - origins[None], axis=2)
    fit = np.where(distance <= _REACH_MM, agree - 0.5 * (distance / _SPREAD_MM) ** 2, -np.inf)
    return np.where(np.isfinite(fit).any(axis=1), fit.argmax(axis=1), -1)


def rigid_frame(own: Floats, places: Floats, weights: Floats) -> tuple[Floats, float]:
    """Return the rigid motion from a frame to LPS that brings points onto others, and what is left over.

    Parameters
    ----------
    own, places : (n, 3)
        The same points in the frame and in LPS, mm.
    weights : (n,)

    Returns
    -------
    frame : (4, 4)
        The least-squares motion of Kabsch (1976), by singular values, without reflection.
    misfit_mm : float
        Root mean square.
    """
    share = weights / weights.sum()
    here, there = share @ own, share @ places
    u, _, vt = np.linalg.svd((own - here).T @ ((places - there) * share[:, None]))
    flip = np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    turn = vt.T @ flip @ u.T
    frame = np.eye(4)
    frame[:3, :3], frame[:3, 3] = turn, there - turn @ here
    off = own @ turn.T + frame[:3, 3] - places
    return frame, float(np.sqrt(share @ (off**2).sum(axis=1)))
