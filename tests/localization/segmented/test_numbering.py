"""Which value or segment is which vertebra."""

import numpy as np
import pytest

from cspine.core.errors import LabelError
from cspine.core.typing import Floats
from cspine.dicom.seg_file import Concept, Segment
from cspine.localization.segmented.numbering import (
    ALL_LEVELS,
    Numbering,
    level_of_segment,
    level_of_text,
    number_levels,
)
from cspine.spine.level_settings import LEVELS, SPACING_MM

VERTEBRA = Concept("SCT", "51282000", "Vertebra")


def column(values: range | list[int], step_mm: float = 18.0) -> dict[int, Floats]:
    """Return centroids of values one below the other."""
    return {value: np.array([0.0, 0.0, -step_mm * number]) for number, value in enumerate(values)}


@pytest.mark.parametrize(
    ("values", "levels"),
    [
        (range(1, 8), "C1 C2 C3 C4 C5 C6 C7"),
        (range(5, 11), "C5 C6 C7 T1 T2 T3"),
        (range(50, 41, -1), "C1 C2 C3 C4 C5 C6 C7 T1 T2"),
        (range(44, 31, -1), "C7 T1 T2 T3 T4 T5 T6 T7 T8 T9 T10 T11 T12"),
        (
            [*range(5, 19), 19, 28, 20, 21, 22, 23, 24],
            "C5 C6 C7 T1 T2 T3 T4 T5 T6 T7 T8 T9 T10 T11 T12 T13 L1 L2 L3 L4 L5",
        ),
    ],
)
def test_the_numbering_is_recognized_by_the_order(values: range | list[int], levels: str) -> None:
    recognized, warnings = number_levels("file.nii", column(values), "auto")

    assert sorted(recognized.values(), key=ALL_LEVELS.index) == levels.split()
    assert [recognized[value] for value in values] == levels.split()
    assert not warnings


def test_other_organs_of_a_label_map_are_left_out() -> None:
    centroids = column(range(50, 42, -1)) | {90: np.array([0.0, 0, 90]), 16: np.array([0.0, -30, -100])}

    levels, warnings = number_levels("total.nii.gz", centroids, "auto")

    assert set(levels) == set(range(43, 51))
    assert warnings == ("total.nii.gz: the values 16, 90 are no vertebrae and were left out",)


def spine(top: str, bottom: str, first_value: int, size: float = 1.0) -> dict[int, Floats]:
    """Return centroids of vertebrae at an adult's distances times a size, with values that fall by one."""
    first, last = LEVELS.index(top), LEVELS.index(bottom)
    heights = -size * np.cumsum([0.0, *SPACING_MM[first:last]])
    return {first_value - number: np.array([0.0, 0.0, height]) for number, height in enumerate(heights)}


@pytest.mark.parametrize(
    ("centroids", "first_value", "first_level"),
    [
        (spine("C1", "C7", 41), 41, "C1"),
        (spine("C1", "T4", 41, 0.8), 41, "C1"),
        (spine("C3", "T2", 39), 39, "C3"),
        (spine("C1", "L5", 41), 41, "C1"),
        (spine("T9", "L5", 26), 26, "T9"),
        (spine("T3", "T9", 41), 41, "T3"),
        (spine("T3", "T9", 41, 0.85), 41, "T3"),
        (spine("T1", "T9", 43, 0.6), 43, "T1"),
        (spine("C1", "S1", 50), 50, "C1"),
        (spine("C1", "S1", 50) | {25: np.array([0.0, 0, -640])}, 50, "C1"),  # with the sacrum
        (spine("C1", "C7", 41) | {50: np.array([0.0, -20, 80])}, 41, "C1"),  # with the brain of version 1
        (
            spine("C1", "T3", 41) | {42: np.array([0.0, -30, -120]), 43: np.array([0.0, -35, -110])},
            41,
            "C1",
        ),  # esophagus
    ],
)
def test_versions_of_totalsegmentator_are_told(
    centroids: dict[int, Floats], first_value: int, first_level: str
) -> None:
    levels, _ = number_levels("total.nii", centroids, "auto")

    assert levels[first_value] == first_level
    assert all(levels[value] == LEVELS[LEVELS.index(first_level) + first_value - value] for value in levels)


@pytest.mark.parametrize(
    ("centroids", "readings"),
    [
        (spine("C1", "C3", 41), r"2 \(T3 to T5\) and by the numbering of TotalSegmentator 1 \(C1 to C3\)"),
        (spine("T3", "T9", 41, 0.5), r"2 \(T3 to T9\) and by the numbering of TotalSegmentator 1 \(C1 to C7\)"),
        (spine("C7", "C7", 35), r"2 \(T9\) and by the numbering of TotalSegmentator 1 \(C7\)"),
    ],
)
def test_what_may_be_of_either_version_is_refused_unless_it_is_named(
    centroids: dict[int, Floats], readings: str
) -> None:
    message = f"total.nii: .* in order by .*{readings}; name one by --vertebrae-labels totalsegmentator or totalsegmen"

    with pytest.raises(LabelError, match=message):
        number_levels("total.nii", centroids, "auto")
    value = max(centroids)
    assert number_levels("total.nii", centroids, "totalsegmentator-1")[0][value] == LEVELS[41 - value]
    assert number_levels("total.nii", centroids, "totalsegmentator")[0][value] == LEVELS[50 - value]


@pytest.mark.parametrize(
    ("values", "numbering", "message"),
    [
        (range(7, 0, -1), "auto", "C2 lies above C1"),
        (range(42, 51), "auto", "C2 lies above C1"),
        ([2, 1, 3], "rsna", "C2 lies above C1"),
        ([20, 21], "rsna", "holds no vertebra by the numbering rsna"),
        ([100, 101], "auto", "no vertebra by any known numbering"),
    ],
)
def test_impossible_numbers_are_refused(values: list[int], numbering: Numbering, message: str) -> None:
    with pytest.raises(LabelError, match=message):
        number_levels("file.nii", column(values), numbering)


def test_vertebrae_in_order_by_two_numberings_are_refused() -> None:
    with pytest.raises(LabelError, match=r"in order by .* and by .*; name one by --vertebrae-labels"):
        number_levels("file.nii", column([3, 4, 50, 49]), "auto")
    assert number_levels("file.nii", column([3, 4, 50, 49]), "verse")[0] == {3: "C3", 4: "C4"}


def test_vertebrae_too_far_apart_are_refused() -> None:
    with pytest.raises(LabelError, match="90 mm from C1"):
        number_levels("file.nii", column([1, 2], 90.0), "auto")
    number_levels("file.nii", column([1, 4], 50.0), "auto")  # with two between


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("vertebrae_C1", "C1"),
        ("C7", "C7"),
        ("t12 vertebra", "T12"),
        ("L5-vertebra", "L5"),
        ("C2/C3 disc", None),
        ("C5 nerve root", None),
        ("Fracture of C5", None),
        ("C12", None),
        ("rib_left_1", None),
        ("vertebrae", None),
    ],
)
def test_texts_name_vertebrae(text: str, level: str | None) -> None:
    assert level_of_text(text) == level


@pytest.mark.parametrize(
    ("segment", "level"),
    [
        (Segment(1, "whatever", (Concept("SCT", "14806007", "Atlas"),), ()), "C1"),
        (Segment(1, "whatever", (Concept("SRT", "T-11620", "C2 vertebra"),), ()), "C2"),
        (Segment(1, "bone 3", (VERTEBRA,), (Concept("SCT", "113205007", "C3 vertebra"),)), "C3"),
        (Segment(1, "vertebrae_C4", (Concept("99X", "1", "Organ"),), ()), "C4"),
        (
            Segment(
                1, "Evidence", (Concept("SCT", "125605004", "Fracture of bone"),), (Concept("SCT", "5329002", "C4"),)
            ),
            None,
        ),
        (Segment(1, "Spleen", (Concept("SCT", "78961009", "Spleen"),), ()), None),
    ],
)
def test_segments_name_vertebrae(segment: Segment, level: str | None) -> None:
    assert level_of_segment(segment) == level
