"""Voxels that say which vertebra they belong to, to vertebrae."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Floats = npt.NDArray[np.float64]

_SPREAD_MM: Final = 3.0
"""Votes for one vertebra's origin scatter about so much."""

_REACH_MM: Final = 9.0
"""A voxel belongs to the nearest vertebra that it votes for from within this."""

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


def find_instances(places: Floats, ways: Floats, own: Floats, weights: Floats, voxel_mm3: float) -> list[Instance]:
    """Gather voxels into vertebrae, from the head down.

    Each voxel votes for where its vertebra's origin is; the votes' peaks are the vertebrae. Its frame is the rigid
    motion that brings its voxels' places in the frame onto their places in the scan.

    Parameters
    ----------
    places : (n, 3)
        LPS mm.
    ways : (n, 3)
        From there to the vertebra's origin, mm.
    own : (n, 3)
        The same places in the vertebra's frame, mm.
    weights : (n,)
        How sure each voxel is to be of a vertebra.
    voxel_mm3 : float
        Of one voxel.
    """
    if not len(places):
        return []
    votes = places + ways
    peaks = _peaks(votes, weights, _LEAST_MM3 / voxel_mm3)
    if not len(peaks):
        return []
    distance = np.linalg.norm(votes[:, None] - peaks[None], axis=2)
    nearest = np.where(distance.min(axis=1) <= _REACH_MM, distance.argmin(axis=1), -1)
    found = []
    for number in range(len(peaks)):
        members = np.flatnonzero(nearest == number)
        if weights[members].sum() * voxel_mm3 < _LEAST_MM3:
            continue
        frame, misfit = rigid_frame(own[members], places[members], weights[members])
        found.append(Instance(members, frame, misfit))
    return sorted(found, key=lambda instance: -float(instance.frame[2, 3]))


def _peaks(votes: Floats, weights: Floats, least: float) -> Floats:
    """Return where votes gather, (m, 3), most first; nearer than a vertebra's height to a larger peak is none."""
    step = _SPREAD_MM / 2
    low = votes.min(axis=0) - 3 * _SPREAD_MM
    shape = np.ceil((votes.max(axis=0) - low + 3 * _SPREAD_MM) / step).astype(int) + 1
    count = np.zeros(shape)
    np.add.at(count, tuple(np.rint((votes - low) / step).astype(int).T), weights)
    density = ndimage.gaussian_filter(count, _SPREAD_MM / step, mode="constant")
    highest = ndimage.maximum_filter(density, size=int(_REACH_MM / step) | 1)
    # So many votes, scattered as far as they may be, still reach this density.
    floor = least / ((2 * np.pi) ** 1.5 * (2 * _SPREAD_MM / step) ** 3)
    at = np.argwhere((density == highest) & (density > floor))
    return np.asarray(low + step * at)


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
