"""Which of the things found are vertebrae below each other, and which level each is: one row, not many guesses."""

from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from cspine.core.typing import Floats

LEVELS: Final = 8
"""C1 to C7, and the thoracic ones, which follow each other."""

_GAPS_MM: Final = np.array([18.6, 17.6, 14.5, 14.5, 14.5, 15.0, 17.0, 19.0])
"""From each level's origin to that of the next, on average; over phantoms and the one real neck at hand."""

_GAP_SPREAD: Final = 0.12
"""Of the logarithm of a gap beside the same person's others: within 27 % either way are 95 of 100."""

_SIZES: Final = np.exp(np.linspace(-0.4, 0.4, 9))
"""How many times as large as the average a person's gaps may be."""

_SIZE_SPREAD: Final = 0.15
"""Of the logarithm of that."""

_ASIDE_DEG: Final = 10.0
"""By how much the way to the next vertebra leaves the last one's own way down."""

_TURN_DEG: Final = 15.0
"""By how much neighbours are turned against each other."""

_SKIPPED: Final = -4.0
"""Log-odds of a vertebra between two that was not found."""

_MOST_SKIPPED: Final = 2

_LEAST: Final = 0.05
"""No vertebra speaks for its level so loudly that neighbours cannot overrule it."""


def assign_levels(chances: Floats, frames: Floats, worth: Floats) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return which things form the most likely row of vertebrae, from the head down, and their levels.

    The best path through a graph (Viterbi's algorithm): each step goes from one thing to one farther down and from its
    level to the next, and is the likelier the better the way fits neighbours. How far these lie apart differs between
    people, so it is looked for at several sizes.

    Parameters
    ----------
    chances : (n, 8)
        Of C1 to C7 and thoracic, each thing by itself, from the head down.
    frames : (n, 4, 4)
        From their frames to LPS mm.
    worth : (n,)
        Log-odds of each to be a vertebra.

    Returns
    -------
    members : (m,) int
    levels : (m,) int
        0 for C1 to 7 for thoracic.
    """
    rows = [_best_row(chances, frames, worth, size) for size in _SIZES.tolist()]
    _, members, levels = max(rows, key=lambda row: row[0])
    return members, levels


def _best_row(
    chances: Floats, frames: Floats, worth: Floats, size: float
) -> tuple[float, npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return the log-odds, members and levels of the most likely row of a person of this size."""
    said = np.log(np.maximum(chances, _LEAST)) + worth[:, None]
    best, came = said.copy(), np.full((*said.shape, 2), -1)
    for below in range(len(said)):
        for above in range(below):
            total = best[above][:, None] + steps(frames[above], frames[below], size)
            through = total.max(axis=0)
            better = said[below] + through > best[below]
            best[below][better] = (said[below] + through)[better]
            came[below][better] = np.stack([np.full(LEVELS, above), total.argmax(axis=0)], axis=1)[better]
    row: list[tuple[int, int]] = []
    at, level = divmod(int(best.argmax()), LEVELS)
    while at >= 0:
        row.append((at, level))
        at, level = came[at, level].tolist()
    members, levels = np.array(row[::-1], dtype=np.intp).reshape(-1, 2).T
    return float(best.max()) + _of_size(size), members, levels


def confidence(chances: Floats, frames: Floats, levels: npt.NDArray[np.intp]) -> Floats:
    """Return how likely each vertebra of a row has its level, (n,), whatever the person's size.

    The forward-backward algorithm (Rabiner 1989) at each size.

    Parameters
    ----------
    chances : (n, 8)
    frames : (n, 4, 4)
    levels : (n,) int
        Of `assign_levels`, whose members alone are given here.
    """
    both = np.logaddexp.reduce([_together(chances, frames, size) + _of_size(size) for size in _SIZES.tolist()], axis=0)
    likely = np.exp(both - np.logaddexp.reduce(both, axis=1, keepdims=True))
    return np.asarray(likely[np.arange(len(levels)), levels])


def _together(chances: Floats, frames: Floats, size: float) -> Floats:
    """Return the logarithm, (n, 8), of how likely all is with each vertebra at each level."""
    said = np.log(np.maximum(chances, _LEAST))
    between = [steps(above, below, size) for above, below in pairwise(frames)]
    forward, backward = [said[0]], [np.zeros(LEVELS)]
    for own, step in zip(said[1:], between, strict=True):
        forward.append(np.logaddexp.reduce(forward[-1][:, None] + step, axis=0) + own)
    for own, step in zip(said[:0:-1], between[::-1], strict=True):
        backward.append(np.logaddexp.reduce(step + (own + backward[-1])[None, :], axis=1))
    return np.asarray(np.array(forward) + np.array(backward[::-1]))


def steps(above: Floats, below: Floats, size: float = 1.0) -> Floats:
    """Return the log-odds, (8, 8), of each level at one frame being followed by each other at another frame.

    Parameters
    ----------
    above, below : (4, 4)
        From their frames to LPS mm.
    size : float
        How many times as large as the average the person's gaps are.
    """
    way = below[:3, 3] - above[:3, 3]
    gap = max(float(np.linalg.norm(way)), 1e-3)
    cosines = [-(way @ frame[:3, 2]) / gap for frame in (above, below)]
    turn = (np.trace(above[:3, :3].T @ below[:3, :3]) - 1) / 2
    aside, turned = _degrees(float(np.mean(cosines))), _degrees(float(turn))
    fits = -0.5 * (aside / _ASIDE_DEG) ** 2 - 0.5 * (turned / _TURN_DEG) ** 2
    found = np.full((LEVELS, LEVELS), -np.inf)
    for level in range(LEVELS):
        following = min(level + 1, LEVELS - 1)
        found[level, following] = fits + _of_gap(gap, size * _GAPS_MM[level])
        for skipped in range(1, _MOST_SKIPPED + 1):
            if level + skipped + 1 < LEVELS:
                expected = size * _GAPS_MM[level : level + skipped + 1].sum()
                found[level, level + skipped + 1] = fits + skipped * _SKIPPED + _of_gap(gap, expected)
    return found


def _of_size(size: float) -> float:
    return -0.5 * float(np.log(size) / _SIZE_SPREAD) ** 2


def _of_gap(gap_mm: float, expected_mm: float) -> float:
    return -0.5 * float(np.log(gap_mm / expected_mm) / _GAP_SPREAD) ** 2


def _degrees(cosine: float) -> float:
    return float(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))
