"""Prevalence: which levels are fractured in a study, with the frequencies of the challenge."""

from functools import cache
from itertools import combinations
from typing import Final

import numpy as np

from cspine.core.anatomy import CHALLENGE_POSITIVES, VERTEBRAE, Level
from cspine.core.typing import Floats

LEVELS_PER_STUDY: Final = {1: 623, 2: 239, 3: 64, 4: 26, 5: 7, 6: 2}
"""Fractured levels per positive study in the challenge's train.csv."""

_ADJACENCY_FACTOR: Final = 3.0
"""Factor on the weight of a set of levels for each adjacent pair in it; most pairs in train.csv are adjacent."""


def draw_levels(rng: np.random.Generator, prevalence: float, p_additional_fracture: float = 0.0) -> tuple[Level, ...]:
    """Draw the fractured levels of one study, in cranio-caudal order.

    Parameters
    ----------
    rng : numpy Generator
        Random number generator; it is advanced.
    prevalence : float
        Probability that the study has a fracture.
    p_additional_fracture : float
        Probability that each other level of a study with a fracture is fractured too.
    """
    is_positive, quantile = rng.random() < prevalence, rng.random()
    if not is_positive:
        return ()
    sets, probabilities = _level_sets()
    index = min(int(np.searchsorted(np.cumsum(probabilities), quantile)), len(sets) - 1)
    if not p_additional_fracture:
        return sets[index]
    return tuple(level for level in VERTEBRAE if level in sets[index] or rng.random() < p_additional_fracture)


@cache
def _level_sets() -> tuple[tuple[tuple[Level, ...], ...], Floats]:
    """Return all sets of levels with their probabilities in a study with a fracture.

    Iterative proportional fitting (Deming and Stephan 1940): the initial weight of a set depends on its adjacent pairs;
    weights are then scaled until the number of levels and the frequency of each level are those of the challenge.
    """
    sets = tuple(chosen for size in LEVELS_PER_STUDY for chosen in combinations(VERTEBRAE, size))
    holds = np.array([[level in chosen for level in VERTEBRAE] for chosen in sets])
    sizes = holds.sum(axis=1)
    weights = _ADJACENCY_FACTOR ** (holds[:, 1:] & holds[:, :-1]).sum(axis=1)
    positives = CHALLENGE_POSITIVES["patient_overall"]
    for _ in range(500):
        for column, level in enumerate(VERTEBRAE):
            target = CHALLENGE_POSITIVES[level] / positives
            current = weights[holds[:, column]].sum() / weights.sum()
            weights = np.where(holds[:, column], weights * target / current, weights * (1 - target) / (1 - current))
        for size, count in LEVELS_PER_STUDY.items():
            weights = np.where(sizes == size, weights * count / positives / weights[sizes == size].sum(), weights)
    return sets, weights / weights.sum()
