"""Which value of a label map, or which segment, is which vertebra."""

import re
from collections.abc import Mapping
from functools import cache
from itertools import pairwise
from typing import Final, Literal, get_args

import numpy as np

from cspine.core.anatomy import SEGMENT_NUMBERS, VERTEBRAE
from cspine.core.errors import InputError, LabelError
from cspine.core.typing import Floats
from cspine.dicom.seg_file import Concept, Segment
from cspine.localization.segmented import totalsegmentator

Numbering = Literal["auto", "rsna", "verse", "ctspine1k", "totalsegmentator", "totalsegmentator-1"]
NUMBERINGS: Final[tuple[Numbering, ...]] = get_args(Numbering)

ALL_LEVELS: Final = (
    *VERTEBRAE,
    *(f"T{number}" for number in range(1, 14)),
    *(f"L{number}" for number in range(1, 7)),
    "S1",
)
"""Vertebrae that files number, from the head down."""

_VERSE: Final = {
    **{number: level for level, number in SEGMENT_NUMBERS.items()},
    **{19 + number: f"L{number}" for number in range(1, 7)},
    28: "T13",
}
"""VerSe and CTSpine1K; the challenge's numbers are the same down to T12."""

TRUTH_NUMBERS: Final = {level: number for number, level in _VERSE.items()}
"""Values of imported label maps, by level: the challenge's numbers, and VerSe's below them."""

_VALUES: Final[dict[Numbering, dict[int, str]]] = {
    "rsna": {number: level for number, level in _VERSE.items() if number <= SEGMENT_NUMBERS["T12"]},
    "verse": _VERSE,
    "ctspine1k": _VERSE,
    "totalsegmentator": totalsegmentator.VERSION_2,
    "totalsegmentator-1": totalsegmentator.VERSION_1,
}

_AUTOMATIC: Final[dict[Numbering, str]] = {
    "verse": "the numbering of RSNA, VerSe and CTSpine1K",
    "totalsegmentator": "the numbering of TotalSegmentator 2",
    "totalsegmentator-1": "the numbering of TotalSegmentator 1",
}
"""The numberings that differ in what a value means, and what they are called in messages."""

_OTHER_VERSION: Final[dict[int, Numbering]] = {1: "totalsegmentator", 2: "totalsegmentator-1"}
"""The numbering of TotalSegmentator that is not that of a version."""

_STEP_MM: Final = (4.0, 48.0)
"""Least and largest distance between the centroids of neighbors, of children and of adults; lumbar vertebrae of tall
people are 42 mm apart."""

_LEVEL: Final = re.compile(r"(?<![A-Za-z0-9])(C[1-7]|T(?:1[0-3]|[1-9])|L[1-6]|S1)(?![A-Za-z0-9])", re.IGNORECASE)

_OTHER_STRUCTURE: Final = re.compile(
    r"disc|disk|nerve|root|cord|canal|artery|rib|facet|muscle|endplate|fracture|lesion|tumou?r|screw|implant",
    re.IGNORECASE,
)
"""Parts of the body that are named after a vertebra, and are none."""

_GENERIC_NAMES: Final = frozenset({"vertebra", "bone", "bone structure"})
"""Types of segments that say which structure it is by their region only."""


def numbering_of(name: str) -> Numbering:
    """Return the numbering of a name that a user gave.

    Raises
    ------
    InputError
        There is none of this name.
    """
    for numbering in NUMBERINGS:
        if numbering == name:
            return numbering
    raise InputError(f"{name}: is no numbering of vertebrae; choose {', '.join(NUMBERINGS)}")


@cache
def _snomed_levels() -> dict[str, str]:
    """Return the levels by the SNOMED CT codes of context group 7603 of DICOM; pydicom takes 0.1 s to look them up."""
    from pydicom.sr.codedict import codes  # noqa: PLC0415 - it loads slowly

    names = {f"{level}Vertebra": level for level in ALL_LEVELS}
    return {getattr(codes.SCT, name).value: level for name, level in names.items() if name in codes.SCT.dir(name)}


@cache
def _snomed_generic() -> frozenset[str]:
    """Return the types of segments that say which structure it is by their region only."""
    from pydicom.sr.codedict import codes  # noqa: PLC0415 - it loads slowly

    return frozenset({codes.SCT.Vertebra.value, codes.SCT.Bone.value})


def level_of_text(text: str) -> str | None:
    """Return the vertebra that a text names, and None of other structures or of several vertebrae.

    >>> level_of_text("vertebrae_C1"), level_of_text("T12 vertebra"), level_of_text("C2/C3 disc")
    ('C1', 'T12', None)
    """
    levels = {match.upper() for match in _LEVEL.findall(text.replace("_", " "))}
    if len(levels) != 1 or _OTHER_STRUCTURE.search(text):
        return None
    return str(levels.pop())


def level_of_segment(segment: Segment) -> str | None:
    """Return the vertebra that a segment of a DICOM segmentation is, and None of other segments.

    The code of its type decides; of a segment that is a vertebra or bone by its type, the code of its region; otherwise
    its label, as TotalSegmentator and most converters write it.
    """
    for concept in segment.types:
        if level := _level_of_concept(concept):
            return level
    generic = _snomed_generic()
    if any(concept.value in generic or concept.meaning.lower() in _GENERIC_NAMES for concept in segment.types):
        for concept in segment.regions:
            if level := _level_of_concept(concept):
                return level
    return level_of_text(segment.label)


def _level_of_concept(concept: Concept) -> str | None:
    level = _snomed_levels().get(concept.value) if concept.scheme == "SCT" else None
    return level or level_of_text(concept.meaning)


def number_levels(
    name: str, centroids: Mapping[int, Floats], numbering: Numbering
) -> tuple[dict[int, str], tuple[str, ...]]:
    """Return which vertebra each value of a label map is.

    Parameters
    ----------
    name : str
        Name of the file, for messages.
    centroids : dict
        Value to the centroid of its voxels, (3,) LPS mm.
    numbering : str
        One of `NUMBERINGS`. By ``auto`` the numbering is the one by which the vertebrae follow each other from the head
        down, which must be the only one; versions of TotalSegmentator are distinguished by
        `cspine.localization.segmented.totalsegmentator.find_version`.

    Returns
    -------
    levels : dict
        Value to level.
    warnings : tuple of str
        A sentence about values that are no vertebrae.

    Raises
    ------
    LabelError
        There are no vertebrae, none or several numberings fit, or levels do not follow each other from the head down.
    """
    if numbering != "auto":
        levels = {value: level for value, level in _VALUES[numbering].items() if value in centroids}
        if not levels:
            raise LabelError(
                f"{name}: holds no vertebra by the numbering {numbering}, its values are {_list(centroids)}; check "
                "--vertebrae-labels"
            )
        check_order(name, {level: centroids[value] for value, level in levels.items()})
    else:
        levels = _recognize(name, centroids)
    rest = sorted(set(centroids) - set(levels))
    warnings = (f"{name}: the values {_list(rest)} are no vertebrae and were left out",) if rest else ()
    return levels, warnings


def check_order(name: str, centroids: Mapping[str, Floats]) -> None:
    """Raise unless vertebrae follow each other from the head down at distances of vertebrae.

    Parameters
    ----------
    name : str
        Name of the file, for messages.
    centroids : dict
        Level to the centroid of its voxels, (3,) LPS mm.

    Raises
    ------
    LabelError
        Two levels are out of order, or as far from each other as no vertebrae are.
    """
    if fault := _order_fault(centroids):
        raise LabelError(f"{name}: {fault}; check its affine and the numbering, --vertebrae-labels")


def _recognize(name: str, centroids: Mapping[int, Floats]) -> dict[int, str]:
    """Return the levels by the only numbering by which they are in order."""
    fitting, faults = dict[Numbering, dict[int, str]](), list[str]()
    for numbering, title in _AUTOMATIC.items():
        levels = {value: level for value, level in _VALUES[numbering].items() if value in centroids}
        if not levels:
            continue
        fault = _order_fault({level: centroids[value] for value, level in levels.items()})
        if fault is None:
            fitting[numbering] = levels
        else:
            faults.append(f"by {title}, {fault}")
    most = max(map(len, fitting.values()), default=0)
    fitting = {numbering: levels for numbering, levels in fitting.items() if 2 * len(levels) > most}
    if fitting.keys() >= set(_OTHER_VERSION.values()) and (version := totalsegmentator.find_version(centroids)):
        del fitting[_OTHER_VERSION[version]]
    if len(fitting) == 1:
        return next(iter(fitting.values()))
    if fitting:
        readings = " and by ".join(f"{_AUTOMATIC[each]} ({_extent(levels)})" for each, levels in fitting.items())
        raise LabelError(
            f"{name}: its values are vertebrae in order by {readings}; name one by --vertebrae-labels "
            f"{' or '.join(fitting)}"
        )
    if faults:
        raise LabelError(f"{name}: {'; '.join(faults)}; check its affine, or name the numbering by --vertebrae-labels")
    raise LabelError(f"{name}: holds no vertebra by any known numbering, but {_list(centroids)}; renumber it")


def _extent(levels: Mapping[int, str]) -> str:
    """Return the highest and the lowest of levels as text."""
    ordered = sorted(levels.values(), key=ALL_LEVELS.index)
    return ordered[0] if len(ordered) == 1 else f"{ordered[0]} to {ordered[-1]}"


def _order_fault(centroids: Mapping[str, Floats]) -> str | None:
    """Return what is wrong with the order of levels, or None."""
    levels = [level for level in ALL_LEVELS if level in centroids]
    for above, below in pairwise(levels):
        if centroids[above][2] < centroids[below][2]:
            return f"{below} lies above {above}"
        distance_mm = float(np.linalg.norm(centroids[above] - centroids[below]))
        step_mm = distance_mm / _n_steps(above, below)
        if not _STEP_MM[0] <= step_mm <= _STEP_MM[1]:
            return f"{below} lies {distance_mm:.0f} mm from {above}, which is no distance of these vertebrae"
    return None


def _n_steps(above: str, below: str) -> int:
    """Return the number of vertebrae from one level to another; T13 and L6 are in few people."""
    between = ALL_LEVELS[ALL_LEVELS.index(above) + 1 : ALL_LEVELS.index(below)]
    return 1 + sum(level not in {"T13", "L6"} for level in between)


def _list(values: Mapping[int, object] | list[int]) -> str:
    """Return up to eight values as text."""
    numbers = sorted(values)
    return ", ".join(map(str, numbers[:8])) + (" and others" if len(numbers) > 8 else "")
