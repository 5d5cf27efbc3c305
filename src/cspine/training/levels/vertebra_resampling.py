"""Necks put together out of many necks' vertebrae, so that each is learnt by itself before whole necks are."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from cspine.core.anatomy import VERTEBRAE
from cspine.training.levels.dataset import CaseFiles

_WHOLE_NECKS: Final = 0.2
"""Share of necks in which nothing is broken."""

_BROKEN: Final = 0.55
"""Chance of each vertebra of the others: with the whole necks' that makes 44 % of all."""

_ABSENT: Final = 0.05
"""Chance of each vertebra to be left out, as at the ends of a scan."""


def resample_vertebrae(cases: Sequence[CaseFiles], count: int, seed: int) -> list[CaseFiles]:
    """Return necks whose vertebrae are drawn independently, each from any neck that has one, nearly half broken.

    Fractured vertebrae are few, and neighbours tell about each other (a fractured C6 often comes with a fractured C7):
    both draw a network away from looking at the bone. Here neither helps.

    Parameters
    ----------
    cases : sequence of CaseFiles
        Whose vertebrae are taken.
    count : int
        Necks to make.
    seed : int
        Decides which vertebrae go together.

    Returns
    -------
    list of CaseFiles
        A level that no neck has stays absent; one that is broken in no neck, or in all, is so in these.
    """
    holders: dict[tuple[str, bool], list[CaseFiles]] = defaultdict(list)
    for case in cases:
        for level, broken in zip(VERTEBRAE, case.truth[1:], strict=True):
            if level in case.mosaics:
                holders[level, bool(broken)].append(case)
    rng = np.random.default_rng([seed, count])
    return [_mixed(holders, number, rng) for number in range(count)]


def _mixed(holders: dict[tuple[str, bool], list[CaseFiles]], number: int, rng: np.random.Generator) -> CaseFiles:
    chance = 0.0 if rng.random() < _WHOLE_NECKS else _BROKEN
    mosaics: dict[str, Path] = {}
    cells: dict[str, Path] = {}
    fracture_types: dict[str, tuple[str, ...]] = {}
    truth = []
    for place, level in enumerate(VERTEBRAE, start=1):
        wanted, absent, which = bool(rng.random() < chance), rng.random() < _ABSENT, rng.random()
        there = holders[level, wanted] or holders[level, not wanted]
        if absent or not there:
            truth.append(0)
            continue
        case = there[int(which * len(there))]
        mosaics[level] = case.mosaics[level]
        if level in case.cells:
            cells[level] = case.cells[level]
        if level in case.fracture_types:
            fracture_types[level] = case.fracture_types[level]
        truth.append(case.truth[place])
    name = f"mixed-{number}"
    return CaseFiles(name, name, mosaics, cells, fracture_types, (max(truth), *truth))
