"""The cervical vertebrae: names in labels, codes and colors; facts about the challenge's labels."""

from typing import Final, Literal, get_args

Level = Literal["C1", "C2", "C3", "C4", "C5", "C6", "C7"]

VERTEBRAE: Final[tuple[Level, ...]] = get_args(Level)
"""C1 to C7, from the head down."""

OVERALL: Final = "patient_overall"
"""The challenge's name for 'any cervical vertebra is fractured'."""

TARGETS: Final[tuple[str, ...]] = (OVERALL, *VERTEBRAE)
"""The eight targets in the challenge's column order: overall, then C1 to C7."""

SEGMENT_NUMBERS: Final[dict[str, int]] = {level: number for number, level in enumerate(VERTEBRAE, start=1)} | {
    f"T{number}": 7 + number for number in range(1, 13)
}
"""Voxel values in the challenge's segmentations: 1-7 are C1-C7, 8-19 are T1-T12, 0 is background."""

VERTEBRA_NUMBERS: Final[dict[str, int]] = SEGMENT_NUMBERS | {
    **{f"L{number}": 19 + number for number in range(1, 6)},
    "S1": 25,
}
"""Voxel values of all vertebrae where more than the challenge's are drawn: 20-24 are L1-L5, 25 is the sacrum, as in
VerSe."""

FRACTURE_STEP: Final = 32
"""In masks of fractures, the value of a voxel is the vertebra's number plus a multiple of this: 5 is the first fracture
of C5, 37 the second; the remainder is the vertebra."""

SNOMED_CODES: Final[dict[Level, tuple[str, str]]] = {
    "C1": ("14806007", "C1 vertebra"),
    "C2": ("39976000", "C2 vertebra"),
    "C3": ("113205007", "C3 vertebra"),
    "C4": ("5329002", "C4 vertebra"),
    "C5": ("36978003", "C5 vertebra"),
    "C6": ("36054005", "C6 vertebra"),
    "C7": ("87391001", "C7 vertebra"),
}
"""SNOMED CT code and meaning of each cervical vertebra."""

COLORS: Final[dict[Level, str]] = {
    "C1": "#4477AA",
    "C2": "#66CCEE",
    "C3": "#228833",
    "C4": "#CCBB44",
    "C5": "#EE6677",
    "C6": "#AA3377",
    "C7": "#888888",
}
"""One color per level: Paul Tol's 'bright' scheme, which color-blind readers can distinguish."""

_OTHER_COLOR: Final = "#BBBBBB"


def color_of(level: str) -> str:
    """Return the color of a vertebra; thoracic ones share a gray.

    >>> color_of("C2"), color_of("T1")
    ('#66CCEE', '#BBBBBB')
    """
    return next((color for name, color in COLORS.items() if name == level), _OTHER_COLOR)


CHALLENGE_STUDIES: Final = 2019
"""Studies in the challenge's train.csv."""

CHALLENGE_POSITIVES: Final[dict[str, int]] = {
    "patient_overall": 961,
    "C1": 146,
    "C2": 285,
    "C3": 73,
    "C4": 108,
    "C5": 162,
    "C6": 277,
    "C7": 393,
}
"""Studies with a fracture, overall and per level, in the challenge's train.csv."""

RESEARCH_USE_ONLY: Final = "Research use only. Not a medical device. Not for diagnosis."
"""The statement that every output carries."""
