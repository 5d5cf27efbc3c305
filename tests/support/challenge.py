"""A table of labels with the statistics of the challenge's train.csv."""

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from cspine.core.anatomy import CHALLENGE_POSITIVES, VERTEBRAE

LEVELS_PER_STUDY = {6: 2, 5: 7, 4: 26, 3: 64, 2: 239, 1: 623}
PAIRS = {("C6", "C7"): 130, ("C5", "C6"): 90, ("C1", "C2"): 56, ("C4", "C5"): 51}


@pytest.fixture(scope="session")
def challenge() -> pd.DataFrame:
    """Labels with the challenge's prevalences, levels per study and the four known pairs; the rest is random."""
    rng = np.random.default_rng(0)
    remaining = np.array([CHALLENGE_POSITIVES[level] for level in VERTEBRAE], float)
    levels = np.zeros((2019, 7), bool)
    for row, size in enumerate(size for size, count in LEVELS_PER_STUDY.items() for _ in range(count)):
        chosen = rng.choice(7, size, replace=False, p=remaining / remaining.sum())
        levels[row, chosen] = True
        remaining[chosen] -= 1
    _match_pairs(levels, rng)
    table = pd.DataFrame(levels.astype("int8"), columns=list(VERTEBRAE))
    table.insert(0, "patient_overall", table.max(axis=1))
    table.index = pd.Index([f"1.2.{n}" for n in range(2019)], name="StudyInstanceUID")
    assert table.sum().to_dict() == CHALLENGE_POSITIVES
    return table


def _match_pairs(levels: npt.NDArray[np.bool_], rng: np.random.Generator) -> None:
    """Exchange levels between studies, which keeps both margins, until the pairs have their frequencies."""
    target = {(VERTEBRAE.index(a), VERTEBRAE.index(b)): n for (a, b), n in PAIRS.items()}

    def error() -> int:
        return sum(abs(int((levels[:, a] & levels[:, b]).sum()) - n) for (a, b), n in target.items())

    current = error()
    for _ in range(50_000):
        i, j = rng.integers(0, 961, 2)
        only_i, only_j = np.flatnonzero(levels[i] & ~levels[j]), np.flatnonzero(levels[j] & ~levels[i])
        if not current or not len(only_i) or not len(only_j):
            continue
        a, b = rng.choice(only_i), rng.choice(only_j)
        levels[[i, j], [a, b]], levels[[i, j], [b, a]] = False, True
        if (changed := error()) > current:
            levels[[i, j], [a, b]], levels[[i, j], [b, a]] = True, False
        else:
            current = changed
    assert current == 0
