"""Class-balanced resampling: training cases composed of vertebrae of different patients.

It is the second stage of the curriculum, between patch pretraining and fine-tuning on complete cases.
"""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from cspine.core.anatomy import VERTEBRAE
from cspine.training.levels.dataset import CaseFiles

_NEGATIVE_CASE_FRACTION: Final = 0.2
"""Fraction of cases in which no vertebra is fractured."""

_P_FRACTURED: Final = 0.55
"""Probability that a vertebra of another case is fractured: 44 % of all vertebrae are."""

_P_ABSENT: Final = 0.05
"""Probability that a vertebra is left out, as at the ends of a scan."""

_Holders = dict[tuple[str, bool], list[CaseFiles]]
"""Level, and whether it is fractured, to the cases that have it."""


def resample_vertebrae(
    cases: Sequence[CaseFiles],
    count: int,
    seed: int,
    *,
    auxiliary: Sequence[CaseFiles] = (),
    auxiliary_fraction: float = 0.0,
) -> list[CaseFiles]:
    """Return cases whose vertebrae are drawn independently of each other, nearly half of them fractured.

    Among patients few vertebrae are fractured, and fractures of neighbors are correlated (a fractured C6 often comes
    with a fractured C7). Both let a network lower its loss without looking at the bone; in resampled cases neither
    does.

    Parameters
    ----------
    cases : sequence of CaseFiles
        Cases that vertebrae are drawn from; each level from all cases that have it.
    count : int
        Number of cases to compose.
    seed : int
        Seed of the draw.
    auxiliary : sequence of CaseFiles
        More cases that vertebrae are drawn from.
    auxiliary_fraction : float
        Probability that a vertebra is drawn from `auxiliary`; where 0, all cases are drawn alike.

    Returns
    -------
    list of CaseFiles
        A level that no case has is absent; one that is fractured in no case, or in all, is so in these.
    """
    rng = np.random.default_rng([seed, count])
    own, others = (cases, auxiliary) if auxiliary_fraction else ([*cases, *auxiliary], ())
    sources = _holders(own), _holders(others)
    return [_resampled_case(sources, auxiliary_fraction, number, rng) for number in range(count)]


def _holders(cases: Sequence[CaseFiles]) -> _Holders:
    """Return the cases that have each level, fractured or not."""
    holders: _Holders = defaultdict(list)
    for case in cases:
        for level, fractured in zip(VERTEBRAE, case.truth[1:], strict=True):
            if level in case.mosaics:
                holders[level, bool(fractured)].append(case)
    return holders


def _resampled_case(
    sources: tuple[_Holders, _Holders], auxiliary_fraction: float, number: int, rng: np.random.Generator
) -> CaseFiles:
    """Compose a case of vertebrae of the first source, or of the second one by its fraction."""
    p_fractured = 0.0 if rng.random() < _NEGATIVE_CASE_FRACTION else _P_FRACTURED
    mosaics: dict[str, Path] = {}
    cells: dict[str, Path] = {}
    fracture_types: dict[str, tuple[str, ...]] = {}
    truth = []
    for column, level in enumerate(VERTEBRAE, start=1):
        is_fractured, is_absent, draw = bool(rng.random() < p_fractured), rng.random() < _P_ABSENT, rng.random()
        holders = sources[auxiliary_fraction > 0 and bool(rng.random() < auxiliary_fraction)]
        candidates = holders[level, is_fractured] or holders[level, not is_fractured]
        if is_absent or not candidates:
            truth.append(0)
            continue
        case = candidates[int(draw * len(candidates))]
        mosaics[level] = case.mosaics[level]
        if level in case.cells:
            cells[level] = case.cells[level]
        if level in case.fracture_types:
            fracture_types[level] = case.fracture_types[level]
        truth.append(case.truth[column])
    name = f"resampled-{number}"
    return CaseFiles(name, name, mosaics, cells, fracture_types, (max(truth), *truth))
