"""Level assignment: a hidden Markov model over the vertebrae of a scan, from the head down.

Levels are assigned to all vertebrae together. The network's level probabilities are the emissions; the transitions
require that levels follow each other and rate how well the distance and the direction from one vertebra to the next
agree with those of neighbors. Detections that do not fit into the column are left out.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import numpy as np

from cspine.core.anatomy import VERTEBRAE
from cspine.core.typing import Floats, Indices
from cspine.spine.spine_map import Vertebra

N_LEVELS: Final = 8
"""C1 to C7, and thoracic; thoracic vertebrae follow each other."""

_SPACING_MM: Final = np.array([18.6, 17.6, 14.5, 14.5, 14.5, 15.0, 17.0, 19.0])
"""Mean distance from the origin of each level to that of the next, over phantoms and one real neck."""

_LOG_SPACING_SD: Final = 0.12
"""Standard deviation of the logarithm of a distance, given the patient's size: 95 % lie within 27 % of the mean."""

_SIZES: Final = np.exp(np.linspace(-0.4, 0.4, 9))
"""Patient sizes that are tried, as factors of the mean distances."""

_LOG_SIZE_SD: Final = 0.15
"""Standard deviation of the logarithm of the patient's size."""

_DIRECTION_SD_DEG: Final = 10.0
"""Standard deviation of the angle between the way to the next vertebra and a vertebra's own downward axis."""

_ROTATION_SD_DEG: Final = 15.0
"""Standard deviation of the angle by which neighbors are rotated against each other."""

_SKIP_LOG_ODDS: Final = -4.0
"""Log-odds that a vertebra between two others was not detected."""

_MAX_SKIPPED: Final = 2
"""Successive vertebrae that may be missing."""

_MIN_LEVEL_PROBABILITY: Final = 0.05
"""Floor of the level probabilities of each vertebra before decoding. It limits the penalty of a level that the network
excludes to -ln 0.05, about 3.0 nats, so that transitions to neighboring vertebrae can override a confident but wrong
classification."""


def assign_levels(level_probabilities: Floats, frames: Floats, vertebra_log_odds: Floats) -> tuple[Indices, Indices]:
    """Return the most likely column of vertebrae and their levels, by Viterbi decoding.

    A path goes from each detection to one farther down, which need not be the next, and from its level to the next. The
    distances between vertebrae differ among patients, so the path is decoded at several patient sizes and the most
    likely one is returned.

    Parameters
    ----------
    level_probabilities : (n, 8)
        Probability of C1 to C7 and thoracic for each detection on its own, from the head down.
    frames : (n, 4, 4)
        Affines from the detections' frames to LPS mm.
    vertebra_log_odds : (n,)
        Log-odds of each detection to be a vertebra.

    Returns
    -------
    members : (m,) int
        Indices of the detections in the column, from the head down.
    levels : (m,) int
        0 for C1 to 6 for C7, and 7 for thoracic.
    """
    unary_log_odds = np.log(np.maximum(level_probabilities, _MIN_LEVEL_PROBABILITY)) + vertebra_log_odds[:, None]
    paths = [_viterbi_path(unary_log_odds, frames, size) for size in _SIZES.tolist()]
    _, members, levels = max(paths, key=lambda path: path[0])
    return members, levels


def _viterbi_path(unary_log_odds: Floats, frames: Floats, size: float) -> tuple[float, Indices, Indices]:
    """Return the log-odds, members and levels of the most likely column of a patient of a size."""
    best, previous = unary_log_odds.copy(), np.full((*unary_log_odds.shape, 2), -1)
    for below in range(len(unary_log_odds)):
        for above in range(below):
            total = best[above][:, None] + transition_log_odds(frames[above], frames[below], size)
            through = total.max(axis=0)
            better = unary_log_odds[below] + through > best[below]
            best[below][better] = (unary_log_odds[below] + through)[better]
            steps = np.stack([np.full(N_LEVELS, above), total.argmax(axis=0)], axis=1)
            previous[below][better] = steps[better]
    path: list[tuple[int, int]] = []
    at, level = divmod(int(best.argmax()), N_LEVELS)
    while at >= 0:
        path.append((at, level))
        at, level = previous[at, level].tolist()
    members, levels = np.array(path[::-1], dtype=np.intp).reshape(-1, 2).T
    return float(best.max()) + _log_prior_of_size(size), members, levels


def level_confidence(level_probabilities: Floats, frames: Floats, levels: Indices) -> Floats:
    """Return the posterior probability of each vertebra's level, marginalized over the patient's size.

    The forward-backward algorithm (Rabiner 1989) at each size.

    Parameters
    ----------
    level_probabilities : (n, 8)
        Level probabilities of the members of the column alone.
    frames : (n, 4, 4)
        Frame of each vertebra, LPS in mm.
    levels : (n,) int
        The levels that `assign_levels` returned.

    Returns
    -------
    (n,)
        Between 0 and 1.
    """
    log_joint = np.logaddexp.reduce(
        [_forward_backward(level_probabilities, frames, size) + _log_prior_of_size(size) for size in _SIZES.tolist()],
        axis=0,
    )
    posterior = np.exp(log_joint - np.logaddexp.reduce(log_joint, axis=1, keepdims=True))
    return np.asarray(posterior[np.arange(len(levels)), levels])


def _forward_backward(level_probabilities: Floats, frames: Floats, size: float) -> Floats:
    """Return the log-likelihood of all observations with each vertebra at each level, (n, 8)."""
    unary = np.log(np.maximum(level_probabilities, _MIN_LEVEL_PROBABILITY))
    transitions = [transition_log_odds(above, below, size) for above, below in pairwise(frames)]
    forward, backward = [unary[0]], [np.zeros(N_LEVELS)]
    for emission, transition in zip(unary[1:], transitions, strict=True):
        forward.append(np.logaddexp.reduce(forward[-1][:, None] + transition, axis=0) + emission)
    for emission, transition in zip(unary[:0:-1], transitions[::-1], strict=True):
        backward.append(np.logaddexp.reduce(transition + (emission + backward[-1])[None, :], axis=1))
    return np.asarray(np.array(forward) + np.array(backward[::-1]))


def transition_log_odds(above: Floats, below: Floats, size: float = 1.0) -> Floats:
    """Return the log-odds of each pair of levels at two successive vertebrae.

    Parameters
    ----------
    above, below : (4, 4)
        Affines from the vertebrae's frames to LPS mm.
    size : float
        The patient's size as a factor of the mean distances.

    Returns
    -------
    (8, 8)
        Rows are the levels of `above`, columns those of `below`; -inf where levels cannot follow each other.
    """
    way = below[:3, 3] - above[:3, 3]
    distance_mm = max(float(np.linalg.norm(way)), 1e-3)
    cosines = [-(way @ frame[:3, 2]) / distance_mm for frame in (above, below)]
    rotation_cosine = (np.trace(above[:3, :3].T @ below[:3, :3]) - 1) / 2
    direction_deg, rotation_deg = _degrees(float(np.mean(cosines))), _degrees(float(rotation_cosine))
    pose = -0.5 * (direction_deg / _DIRECTION_SD_DEG) ** 2 - 0.5 * (rotation_deg / _ROTATION_SD_DEG) ** 2
    log_odds = np.full((N_LEVELS, N_LEVELS), -np.inf)
    for level in range(N_LEVELS):
        following = min(level + 1, N_LEVELS - 1)
        log_odds[level, following] = pose + _spacing_log_odds(distance_mm, size * _SPACING_MM[level])
        for skipped in range(1, _MAX_SKIPPED + 1):
            if level + skipped + 1 < N_LEVELS:
                expected_mm = size * _SPACING_MM[level : level + skipped + 1].sum()
                spacing = _spacing_log_odds(distance_mm, expected_mm)
                log_odds[level, level + skipped + 1] = pose + skipped * _SKIP_LOG_ODDS + spacing
    return log_odds


def expected_distance_mm(above: str, below: str) -> float:
    """Return the mean distance between the origins of two levels in adults, in mm.

    >>> round(expected_distance_mm("C3", "C5"), 1)
    29.0
    """
    numbers = range(_number(above), _number(below))
    return float(sum(_SPACING_MM[min(number, N_LEVELS - 1)] for number in numbers))


def relative_size(vertebrae: Sequence[Vertebra]) -> float | None:
    """Return the median distance between neighbors relative to an adult's; None of fewer than two vertebrae.

    Parameters
    ----------
    vertebrae : sequence of Vertebra
        From the head down.
    """
    ratios = [
        float(np.linalg.norm(above.frame_lps[:3, 3] - below.frame_lps[:3, 3]))
        / expected_distance_mm(above.level, below.level)
        for above, below in pairwise(vertebrae)
    ]
    return float(np.median(ratios)) if ratios else None


def _number(level: str) -> int:
    """Return the number of a level: 0 for C1, 7 for T1, and so on."""
    return VERTEBRAE.index(level) if level in VERTEBRAE else len(VERTEBRAE) + int(level[1:]) - 1


def _log_prior_of_size(size: float) -> float:
    return -0.5 * float(np.log(size) / _LOG_SIZE_SD) ** 2


def _spacing_log_odds(distance_mm: float, expected_mm: float) -> float:
    return -0.5 * float(np.log(distance_mm / expected_mm) / _LOG_SPACING_SD) ** 2


def _degrees(cosine: float) -> float:
    return float(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))
