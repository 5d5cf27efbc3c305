"""Parts of one vertebra that were taken for two, recognized by their corrected frames."""

from typing import Final

import numpy as np

from cspine.core.typing import Floats, Indices
from cspine.localization.cascade.frames import RefinedFrames
from cspine.localization.instances import MIN_SEPARATION_MM, Instance

_MIN_SEPARATION_OF_LEVEL_MM: Final = 10.0
_MIN_SEPARATION_OF_LEVELS_MM: Final = 4.0
"""Corrected frames nearer to each other are of one vertebra: the first if the frame network takes both for one level,
the second if both networks take them for two, and otherwise `cspine.localization.instances.MIN_SEPARATION_MM`, as for
origins. The corrected frames of neighbors 10 mm apart may each err by 3 mm toward the other."""

_MIN_CERTAIN: Final = 0.5


def merge_duplicates(
    instances: list[Instance], refined: RefinedFrames, weights: Floats, probabilities: Floats
) -> tuple[list[Instance], RefinedFrames]:
    """Merge instances whose corrected frames coincide, such as a body and an arch that voted for two origins.

    Parameters
    ----------
    instances : list of Instance
        At least one.
    refined : RefinedFrames
        The corrected frame of each.
    weights : (n,)
        Probability of each voxel to belong to a vertebra.
    probabilities : (n, classes)
        What the vertebra network takes each instance for.

    Returns
    -------
    instances : list of Instance
        From the head down; a merged one has the voxels of its parts.
    refined : RefinedFrames
        A merged one has the frame and the probabilities of its heaviest part.
    """
    mass = np.array([weights[instance.members].sum() for instance in instances])
    origins, levels = refined.frames[:, :3, 3], probabilities.argmax(axis=1)
    groups: list[list[int]] = []
    for number in np.argsort(-mass, kind="stable").tolist():
        group = next((group for group in groups if _is_one_vertebra(refined, levels, group[0], number)), None)
        if group is None:
            groups.append([number])
        else:
            group.append(number)
    groups.sort(key=lambda group: -float(origins[group[0], 2]))
    merged = [
        Instance(
            np.sort(np.concatenate([instances[number].members for number in group])),
            instances[group[0]].frame,
            instances[group[0]].misfit_mm,
        )
        for group in groups
    ]
    heaviest = [group[0] for group in groups]
    return merged, RefinedFrames(refined.frames[heaviest], refined.probabilities[heaviest])


def _is_one_vertebra(refined: RefinedFrames, levels: Indices, one: int, other: int) -> bool:
    distance_mm = float(np.linalg.norm(refined.frames[one, :3, 3] - refined.frames[other, :3, 3]))
    by_crop = refined.probabilities[[one, other], 1:]
    first, second = by_crop.argmax(axis=1).tolist()
    if float(by_crop.max(axis=1).min()) < _MIN_CERTAIN:
        return distance_mm < MIN_SEPARATION_MM
    if first == second:
        return distance_mm < _MIN_SEPARATION_OF_LEVEL_MM
    return distance_mm < (MIN_SEPARATION_MM if levels[one] == levels[other] else _MIN_SEPARATION_OF_LEVELS_MM)
