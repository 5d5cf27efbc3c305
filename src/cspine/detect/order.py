"""The level of each vertebra in a row: one sequence for all, not one guess for each."""

from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

LEVELS: Final = 8
"""C1 to C7, and the thoracic ones, which follow each other."""

_SKIPPED: Final = -5.0
"""Log-odds of a vertebra between two that was not found, where the gap between them leaves room for it."""

_NO_ROOM: Final = -12.0
_ROOM_MM: Final = 24.0
"""From middle to middle, neighbours are 14 to 21 mm apart."""

_LEAST: Final = 1e-4


def order_levels(chances: Floats, gaps_mm: Floats) -> tuple[npt.NDArray[np.intp], Floats]:
    """Return the most likely levels of vertebrae that lie below each other, and how likely each is.

    A hidden Markov model: each vertebra speaks for its own level, and each is the one below the last; the best row is
    found by Viterbi's algorithm, the confidences by the forward-backward algorithm (Rabiner 1989).

    Parameters
    ----------
    chances : (n, 8)
        Of C1 to C7 and thoracic, each vertebra by itself, from the head down.
    gaps_mm : (n - 1,)
        Between neighbours.

    Returns
    -------
    levels : (n,) int
        0 for C1 to 7 for thoracic.
    confidence : (n,)
    """
    said = np.log(np.maximum(chances, _LEAST))
    steps = np.stack([_step(gap) for gap in gaps_mm.tolist()]) if len(gaps_mm) else np.empty((0, LEVELS, LEVELS))
    best, came = said[0], []
    forward, backward = [said[0]], [np.zeros(LEVELS)]
    for own, step in zip(said[1:], steps, strict=True):
        came.append((best[:, None] + step).argmax(axis=0))
        best = (best[:, None] + step).max(axis=0) + own
        forward.append(np.logaddexp.reduce(forward[-1][:, None] + step, axis=0) + own)
    for own, step in zip(said[:0:-1], steps[::-1], strict=True):
        backward.append(np.logaddexp.reduce(step + (own + backward[-1])[None, :], axis=1))
    row = [int(best.argmax())]
    for step_back in reversed(came):
        row.append(int(step_back[row[-1]]))
    levels = np.array(row[::-1], dtype=np.intp)
    both = np.array(forward) + np.array(backward[::-1])
    likely = np.exp(both - np.logaddexp.reduce(both, axis=1, keepdims=True))
    return levels, likely[np.arange(len(levels)), levels]


def _step(gap_mm: float) -> Floats:
    """Return the log-odds of each level being followed by each other."""
    step = np.full((LEVELS, LEVELS), -np.inf)
    for level in range(LEVELS):
        step[level, min(level + 1, LEVELS - 1)] = 0.0
        if level + 2 < LEVELS:
            step[level, level + 2] = _SKIPPED if gap_mm > _ROOM_MM else _NO_ROOM
    return step
