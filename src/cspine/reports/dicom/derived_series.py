"""The series that DICOM objects are written to: the rule of their numbers and descriptions.

SeriesNumber is 9700 and the kind's number, so that the series follow those of the scanner in every viewer and each kind
has the same place in every study. InstanceNumber is 1, except in the captures: 1 is the summary, and 2 to 8 are C1 to
C7, whichever of them are written.
"""

from dataclasses import dataclass
from typing import Final, Literal

from cspine.core.anatomy import SEGMENT_NUMBERS, Level

SegmentationType = Literal["labelmap", "binary"]
"""The encodings of the vertebrae's segmentation: the compact one, and the one that older viewers read."""

_FIRST_NUMBER: Final = 9700

SUMMARY_INSTANCE: Final = 1
"""InstanceNumber of the summary in the series of captures."""


@dataclass(frozen=True)
class DerivedSeries:
    """One kind of object; all of a study's objects of this kind form one series.

    Attributes
    ----------
    name : str
        A word that the UIDs of the series and of its objects are derived from.
    kind : int
        Number of the kind, 1 to 99.
    title : str
        SeriesDescription without the disclaimer.
    """

    name: str
    kind: int
    title: str

    @property
    def number(self) -> int:
        """SeriesNumber."""
        return _FIRST_NUMBER + self.kind

    @property
    def description(self) -> str:
        """SeriesDescription."""
        return f"{self.title} (RESEARCH USE ONLY)"


REPORT: Final = DerivedSeries("report", 1, "cspine fracture report")
VERTEBRAE: Final = DerivedSeries("vertebrae", 2, "cspine vertebrae")
EVIDENCE: Final = DerivedSeries("evidence", 3, "cspine fracture evidence")
CAPTURES: Final = DerivedSeries("captures", 4, "cspine captures")
KEY_IMAGES: Final = DerivedSeries("key-images", 5, "cspine suspicious slices")
SALIENCY: Final = DerivedSeries("saliency", 6, "cspine saliency map")
MARKS: Final = DerivedSeries("marks", 7, "cspine marks on suspicious slices")
REJECTION: Final = DerivedSeries("rejection", 8, "cspine rejection note")

SERIES: Final = (REPORT, VERTEBRAE, EVIDENCE, CAPTURES, KEY_IMAGES, SALIENCY, MARKS, REJECTION)


def capture_instance(level: Level) -> int:
    """Return the InstanceNumber of a level's capture.

    >>> capture_instance("C1"), capture_instance("C7")
    (2, 8)
    """
    return SUMMARY_INSTANCE + SEGMENT_NUMBERS[level]
