"""Classes of voxels that the localizer's networks distinguish, and the labels that belong to each."""

from typing import Final

import numpy as np

from cspine.core.typing import Labels
from cspine.localization.cascade.region import REGION_CLASSES
from cspine.localization.cascade.vertebrae import VERTEBRA_CLASSES
from cspine.phantom.scanner.render import SKULL_LABEL
from cspine.training.localizer.examples import FRAMED_LEVELS, UNKNOWN_LABEL

UNKNOWN: Final = 255
"""Class of voxels that are left out of the loss."""


def _table(classes: tuple[str, ...], class_of_level: dict[str, str]) -> Labels:
    table = np.zeros(256, np.uint8)
    for label, level in enumerate(FRAMED_LEVELS, start=1):
        table[label] = classes.index(class_of_level[level])
    table[28] = classes.index("thoracic")  # a thirteenth thoracic vertebra, as VerSe numbers it
    table[SKULL_LABEL] = classes.index("head")
    table[UNKNOWN_LABEL] = UNKNOWN
    return table


def _vertebra_class(level: str) -> str:
    if level in VERTEBRA_CLASSES:
        return level
    return "thoracic" if level.startswith("T") else "lumbar"


def _region_class(level: str) -> str:
    if level.startswith("C"):
        return "upper cervical" if level in {"C1", "C2"} else "lower cervical"
    return "thoracic" if level.startswith("T") else "lumbar"


VERTEBRA_TABLE: Final = _table(VERTEBRA_CLASSES, {level: _vertebra_class(level) for level in FRAMED_LEVELS})
"""Class of each label for the vertebra network, (256,)."""

REGION_TABLE: Final = _table(REGION_CLASSES, {level: _region_class(level) for level in FRAMED_LEVELS})
"""Class of each label for the region network, (256,)."""
