"""Necks put together out of many necks' vertebrae, so that each is learnt by itself before whole necks are."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from cspine.anatomy import VERTEBRAE
from cspine.learn.level_data import NeckFiles

_WHOLE_NECKS: Final = 0.2
"""Share of necks in which nothing is broken."""

_BROKEN: Final = 0.55
"""Chance of each vertebra of the others: with the whole necks' that makes 44 % of all."""

_ABSENT: Final = 0.05
"""Chance of each vertebra to be left out, as at the ends of a scan."""


def mix_necks(necks: Sequence[NeckFiles], count: int, seed: int) -> list[NeckFiles]:
    """Return necks whose vertebrae are drawn independently, each from any neck that has one, nearly half broken.

    Fractured vertebrae are few, and neighbours tell about each other (a fractured C6 often comes with a fractured C7):
    both draw a network away from looking at the bone. Here neither helps.

    Parameters
    ----------
    necks : sequence of NeckFiles
        Whose vertebrae are taken.
    count : int
        Necks to make.
    seed : int
        Decides which vertebrae go together.

    Returns
    -------
    list of NeckFiles
        A level that no neck has stays absent; one that is broken in no neck, or in all, is so in these.
    """
    holders: dict[tuple[str, bool], list[NeckFiles]] = defaultdict(list)
    for neck in necks:
        for level, broken in zip(VERTEBRAE, neck.truth[1:], strict=True):
            if level in neck.mosaics:
                holders[level, bool(broken)].append(neck)
    rng = np.random.default_rng([seed, count])
    return [_mixed(holders, number, rng) for number in range(count)]


def _mixed(holders: dict[tuple[str, bool], list[NeckFiles]], number: int, rng: np.random.Generator) -> NeckFiles:
    chance = 0.0 if rng.random() < _WHOLE_NECKS else _BROKEN
    mosaics: dict[str, Path] = {}
    cells: dict[str, Path] = {}
    kinds: dict[str, tuple[str, ...]] = {}
    truth = []
    for place, level in enumerate(VERTEBRAE, start=1):
        wanted, absent, which = bool(rng.random() < chance), rng.random() < _ABSENT, rng.random()
        there = holders[level, wanted] or holders[level, not wanted]
        if absent or not there:
            truth.append(0)
            continue
        neck = there[int(which * len(there))]
        mosaics[level] = neck.mosaics[level]
        if level in neck.cells:
            cells[level] = neck.cells[level]
        if level in neck.kinds:
            kinds[level] = neck.kinds[level]
        truth.append(neck.truth[place])
    name = f"mixed-{number}"
    return NeckFiles(name, name, mosaics, cells, kinds, (max(truth), *truth))
