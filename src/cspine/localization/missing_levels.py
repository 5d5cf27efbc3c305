"""Missing levels: cervical vertebrae that lie within the scan, but were not found in it.

Not found is not outside. Where a level would lie follows from the vertebrae that were found: between two of them, or
beyond the outermost one along its own axis, at the mean distance of the levels times the patient's size.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import numpy as np

from cspine.core.anatomy import VERTEBRAE, Level
from cspine.core.typing import Floats
from cspine.localization.level_assignment import relative_size
from cspine.localization.level_evidence import HALF_BODY_MM
from cspine.spine.level_settings import LEVELS, expected_distance_mm
from cspine.spine.occupancy_template import IsInside
from cspine.spine.spine_map import SpineMap, Vertebra

_SIZE_RANGE: Final = (0.67, 1.5)
"""Patient sizes that are plausible, as factors of an adult's distances: a child of two years, and a giant."""


def find_missing_levels(vertebrae: Sequence[Vertebra], is_inside: IsInside) -> tuple[Level, ...]:
    """Return the cervical levels that lie within a scan and are not among the vertebrae found in it.

    Parameters
    ----------
    vertebrae : sequence of Vertebra
        The vertebrae that were found, from the head down.
    is_inside : callable
        Maps points, (n, 3) LPS mm, to whether each was scanned.

    Returns
    -------
    tuple of str
        Levels between two that were found, and levels above the first or below the last whose body, by the distances
        of the others, lies in the scan; none where no vertebra was found.
    """
    names = [vertebra.level for vertebra in vertebrae]
    cervical = [level for level in VERTEBRAE if level in names]
    if not cervical:
        return ()
    first, last = VERTEBRAE.index(cervical[0]), VERTEBRAE.index(cervical[-1])
    if any(name.startswith("T") for name in names):
        last = len(VERTEBRAE)
    size = _patient_size(vertebrae)
    missing: list[Level] = []
    for number, level in enumerate(VERTEBRAE):
        if level in names:
            continue
        if first < number < last:
            missing.append(level)
            continue
        nearest = vertebrae[0] if number < first else vertebrae[-1]
        if is_inside(_expected_body(nearest, level, size)).all():
            missing.append(level)
    return tuple(missing)


def is_incomplete(spine_map: SpineMap) -> bool:
    """Return whether a cervical spine was scanned that is not whole from C1 to T1, or lacks a level between others."""
    vertebrae = spine_map.scanned_vertebrae
    if not vertebrae or vertebrae[0].level not in VERTEBRAE:
        return False
    first, last = vertebrae[0], vertebrae[-1]
    numbers = [LEVELS.index(vertebra.level) for vertebra in vertebrae if vertebra.level in LEVELS]
    is_whole = first.level == VERTEBRAE[0] and first.coverage == "complete" and last.level not in VERTEBRAE
    return not is_whole or any(below - above > 1 for above, below in pairwise(numbers))


def _expected_body(nearest: Vertebra, level: Level, size: float) -> Floats:
    """Return the lower end, the center and the upper end of the body of a level beyond the outermost vertebra."""
    is_above = VERTEBRAE.index(level) < VERTEBRAE.index(nearest.level)
    pair = (level, nearest.level) if is_above else (nearest.level, level)
    distance_mm = size * expected_distance_mm(*pair) * (1.0 if is_above else -1.0)
    heights_mm = distance_mm + HALF_BODY_MM * np.array([-1.0, 0.0, 1.0])
    return np.asarray(nearest.frame_lps[:3, 3] + heights_mm[:, None] * nearest.frame_lps[:3, 2])


def _patient_size(vertebrae: Sequence[Vertebra]) -> float:
    """Return the median distance between vertebrae as a factor of the expected one; 1 of a single vertebra."""
    size = relative_size(vertebrae)
    return 1.0 if size is None else float(np.clip(size, *_SIZE_RANGE))
