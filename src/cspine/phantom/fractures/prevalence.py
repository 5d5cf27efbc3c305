"""Which levels are fractured in a study, as often as in the challenge."""

from functools import cache
from itertools import combinations
from typing import Final

import numpy as np
import numpy.typing as npt

from cspine.core.anatomy import CHALLENGE_POSITIVES, VERTEBRAE, Level

LEVELS_PER_STUDY: Final = {1: 623, 2: 239, 3: 64, 4: 26, 5: 7, 6: 2}
"""Fractured levels per positive study in the challenge's train.csv."""

_NEIGHBOURS: Final = 3.0
"""How much likelier a set of levels is per neighbouring pair in it; pairs in train.csv are mostly neighbours."""


def draw_levels(rng: np.random.Generator, prevalence: float, further: float = 0.0) -> tuple[Level, ...]:
    """Draw the fractured levels of one study, from the head down.

    Parameters
    ----------
    rng : numpy Generator
        Chance.
    prevalence : float
        With a chance of one minus this there are none.
    further : float
        Chance of each other level of a fractured study to be fractured too.
    """
    positive, which = rng.random() < prevalence, rng.random()
    if not positive:
        return ()
    sets, chances = _sets_and_chances()
    index = min(int(np.searchsorted(np.cumsum(chances), which)), len(sets) - 1)
    if not further:
        return sets[index]
    return tuple(level for level in VERTEBRAE if level in sets[index] or rng.random() < further)


@cache
def _sets_and_chances() -> tuple[tuple[tuple[Level, ...], ...], npt.NDArray[np.float64]]:
    """Return all sets of levels with their chances in a positive study.

    Each set begins with a weight for its neighbouring pairs; the weights are then scaled in turn until both the number
    of levels and each level's frequency are the challenge's (iterative proportional fitting, Deming and Stephan 1940).
    """
    sets = tuple(chosen for size in LEVELS_PER_STUDY for chosen in combinations(VERTEBRAE, size))
    holds = np.array([[level in chosen for level in VERTEBRAE] for chosen in sets])
    sizes = holds.sum(axis=1)
    chances = _NEIGHBOURS ** (holds[:, 1:] & holds[:, :-1]).sum(axis=1)
    positives = CHALLENGE_POSITIVES["patient_overall"]
    for _ in range(500):
        for column, level in enumerate(VERTEBRAE):
            wanted = CHALLENGE_POSITIVES[level] / positives
            now = chances[holds[:, column]].sum() / chances.sum()
            chances = np.where(holds[:, column], chances * wanted / now, chances * (1 - wanted) / (1 - now))
        for size, count in LEVELS_PER_STUDY.items():
            chances = np.where(sizes == size, chances * count / positives / chances[sizes == size].sum(), chances)
    return sets, chances / chances.sum()
