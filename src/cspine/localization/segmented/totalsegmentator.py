"""Values of TotalSegmentator's label maps: the two versions number vertebrae differently, and share most values."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Final, Literal

import numpy as np

from cspine.core.typing import Floats
from cspine.spine.level_settings import LEVELS, LevelAssignmentSettings, expected_distance_mm

VERSION_2: Final = {51 - number: level for number, level in enumerate(LEVELS, 1)}
"""TotalSegmentator 2, task ``total``: 50 is C1, 43 T1, 31 L1 and 26 S1."""

VERSION_1: Final = {42 - number: level for number, level in enumerate(LEVELS[:-1], 1)}
"""TotalSegmentator 1 (``class_map["total_v1"]`` of its ``map_to_binary.py``): 41 is C1, 34 T1, 22 L1 and 18 L5."""

_ONLY_2: Final = frozenset({41, 42})
"""Neighbors by version 2. By version 1 they are C1 and the esophagus, which does not lie above it."""

_ONLY_1: Final = frozenset({24, 25, 26})
"""Neighbors by version 1. By version 2 they are a kidney cyst, the sacrum and S1; no kidney lies below the sacrum."""

_MIN_LOG_ODDS: Final = 4.0
"""Log-odds from which the distances decide, 55 to 1. For the true version C1 to C7 of an average adult have 7.0, C3 to
T2 4.3, and T3 to T9 7.0. T3 to T9 at 0.8, 0.6 and 0.5 of an adult's size have 3.7, -0.5 and -3.2, and are refused."""


def find_version(centroids: Mapping[int, Floats]) -> Literal[1, 2] | None:
    """Return the version of a label map whose vertebrae are in order by both; None where both are possible.

    Values that are neighboring vertebrae by one version only decide. Otherwise the distances do: cervical vertebrae are
    nearer to each other than the thoracic and lumbar ones of the same values. Their likelihood is that of the level
    assignment, log-normal about an adult's distances with a common factor for the patient's size
    (`cspine.spine.level_settings.LevelAssignmentSettings`).

    Parameters
    ----------
    centroids : dict
        Value to the centroid of its voxels, (3,) LPS mm.

    Returns
    -------
    {1, 2} or None
    """
    if centroids.keys() >= _ONLY_2:
        return 2
    if centroids.keys() >= _ONLY_1:
        return 1
    log_odds = _log_likelihood(centroids, VERSION_2) - _log_likelihood(centroids, VERSION_1)
    if abs(log_odds) < _MIN_LOG_ODDS:
        return None
    return 2 if log_odds > 0 else 1


def _log_likelihood(centroids: Mapping[int, Floats], levels: Mapping[int, str]) -> float:
    """Return the log-likelihood of the distances between values that both versions have, up to a constant."""
    values = sorted((value for value in centroids if value in VERSION_1 and value in VERSION_2), reverse=True)
    ratios = [
        np.linalg.norm(centroids[above] - centroids[below]) / expected_distance_mm(levels[above], levels[below])
        for above, below in pairwise(values)
    ]
    logs, settings = np.log(ratios), LevelAssignmentSettings()
    covariance = settings.spacing_log_sd**2 * np.eye(len(logs)) + settings.size_log_sd**2
    return -0.5 * float(logs @ np.linalg.solve(covariance, logs))
