"""Whether the frame network recognizes the vertebrae of a map, where their shape is faint, or few were scanned."""

from typing import Final

import numpy as np

from cspine.core.anatomy import VERTEBRAE
from cspine.localization.cascade.assembly import LocalizedScan, find_skull_base
from cspine.localization.cascade.crops import CROP_CLASSES

_MAX_NONE, _MIN_RECOGNIZED = 0.1, 0.75
"""Vertebrae are recognized if none of them is taken for a place without a vertebra with more than the first, and if the
mean probability of their levels is the second at least. In phantoms it is 0.78 and more, in rods, rings and beads, and
in necks that lie prone or are scaled by 0.6 or 1.7, it is 0.73 at most."""

_MIN_RECOGNIZED_VERTEBRAE: Final = 3
_MIN_RECOGNIZED_FRACTION: Final = 0.5
"""Vertebrae that have to be recognized: as many, of which as much was scanned; one is enough below the skull."""


def are_recognized(localized: LocalizedScan) -> bool:
    """Return whether the frame network recognizes all of several vertebrae, each as of the level that it is named."""
    vertebrae = localized.spine_map.scanned_vertebrae
    seen = [each for each in vertebrae if each.scanned_fraction >= _MIN_RECOGNIZED_FRACTION and each.level in VERTEBRAE]
    n_least = 1 if is_below_skull(localized) else _MIN_RECOGNIZED_VERTEBRAE
    if localized.candidates is None or len(seen) < n_least:
        return False
    refined = localized.candidates.refined
    ways = np.array([refined.frames[:, :3, 3] - each.frame_lps[:3, 3] for each in seen])
    nearest = np.linalg.norm(ways, axis=2).argmin(axis=1)
    levels = [CROP_CLASSES.index(each.level) for each in seen]
    is_vertebra = refined.probabilities[nearest, 0].max() <= _MAX_NONE
    return bool(is_vertebra and refined.probabilities[nearest, levels].mean() >= _MIN_RECOGNIZED)


def is_below_skull(localized: LocalizedScan) -> bool:
    """Return whether C1 is the uppermost vertebra, with the skull above it, from which levels count."""
    first = localized.spine_map.scanned_vertebrae[0]
    if first.level != VERTEBRAE[0] or localized.candidates is None:
        return False
    return find_skull_base(localized.candidates.voxels.head_lps_mm, first.frame_lps) is not None
