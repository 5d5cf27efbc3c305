"""The record of a finding that mimics a fracture: its name, its vertebra, and where it lies."""

import re
from dataclasses import dataclass
from typing import Final

from cspine.phantom.anatomy.person import STACK
from cspine.phantom.geometry.points import Vector

_LEVELS: Final = re.compile(r"\s*\b(?:below |on |to )?([CT]\d)(?:-([CT]\d))?\b")
"""Levels or a range of levels in the name of a variant or a disorder, and the word before them."""


@dataclass(frozen=True)
class Mimic:
    """A finding that is no fracture but may be taken for one.

    Attributes
    ----------
    name : str
        Name of its kind, such as "Schmorl node"; the same for all levels.
    level : str
        Vertebra that it belongs to.
    points_mm : tuple of (3,)
        Where it lies, in the frame of the vertebra; none for what has no place of its own.
    """

    name: str
    level: str
    points_mm: tuple[Vector, ...] = ()


def named_levels(name: str) -> tuple[str, ...]:
    """Return the vertebrae that the name of a variant or a disorder speaks of; none where it is the whole neck.

    >>> named_levels("osteophytes C5"), named_levels("screws and rods C2-C4"), named_levels("kyphosis")
    (('C5',), ('C4', 'C3', 'C2'), ())
    """
    if "odontoideum" in name or "occipitocervical" in name:
        return ("C2", "C1")
    levels = {"C1"} if "atlas" in name else set()
    for first, last in _LEVELS.findall(name):
        start, end = sorted(STACK.index(level) for level in (first, last or first))
        levels.update(STACK[start : end + 1])
    return tuple(level for level in STACK if level in levels)


def name_without_levels(name: str) -> str:
    """Return the name of a variant or a disorder without its levels.

    >>> name_without_levels("listhesis C4 on C5"), name_without_levels("block vertebra below C4")
    ('listhesis', 'block vertebra')
    """
    return _LEVELS.sub("", name)
