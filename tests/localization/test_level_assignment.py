"""Levels are assigned to a column of vertebrae together; detections beside the column are left out."""

import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from cspine.core.typing import Floats
from cspine.localization.level_assignment import LevelSequence, assign_levels
from cspine.localization.level_evidence import N_CLASSES, AnchorEvidence, Detections
from cspine.spine.level_settings import LEVELS, SPACING_MM, LevelAssignmentSettings

CLASSES = [*range(9), *[9] * 10, *[10] * 6]
"""Class of each level, C1 to S1."""


def plain(**changes: Any) -> LevelAssignmentSettings:
    """Return settings whose posterior is easily computed by hand: without temperature, and with a weak cap."""
    numbers = {"outlier_log_odds": -4.0, "skip_log_odds": -4.0, "temperature": 1.0, "crop_weight": 1.0}
    return LevelAssignmentSettings(**(numbers | changes))


def assign(scan: Detections, settings: LevelAssignmentSettings | None = None) -> LevelSequence:
    return assign_levels(scan, settings or plain())


def probabilities_of(*levels: int, probability: float = 0.9, classes: int = N_CLASSES) -> Floats:
    """Return class probabilities of vertebrae that each favor one class."""
    probabilities = np.full((len(levels), classes), (1 - probability) / (classes - 1))
    probabilities[np.arange(len(levels)), levels] = probability
    return probabilities


def column(*distances_mm: float) -> Floats:
    """Return frames straight below each other."""
    frames = np.tile(np.eye(4), (len(distances_mm) + 1, 1, 1))
    frames[1:, 2, 3] = -np.cumsum(distances_mm)
    return frames


def detections(probabilities: Floats, frames: Floats, log_odds: float = 5.0) -> Detections:
    return Detections(probabilities, frames, np.full(len(frames), log_odds))


def spine(first: str, last: str, probability: float = 0.9) -> Detections:
    """Return the detections of an adult from one level to another."""
    levels = range(LEVELS.index(first), LEVELS.index(last) + 1)
    classes = [CLASSES[level] for level in levels]
    frames = column(*SPACING_MM[levels.start : levels.stop - 1])
    return detections(probabilities_of(*classes, probability=probability), frames)


def ambiguous() -> Detections:
    """Return three vertebrae that are C3 to C5 or C4 to C6."""
    probabilities = np.zeros((3, N_CLASSES))
    probabilities[[0, 1, 2], [2, 3, 4]] = 0.5
    probabilities[[0, 1, 2], [3, 4, 5]] = 0.5
    return detections(probabilities, column(14.5, 14.5))


def test_consistent_vertebrae_keep_their_levels() -> None:
    probabilities, frames = probabilities_of(0, 1, 2, 3, 4, 5, 6, 7, 7), column(18, 17, 15, 15, 15, 15, 17, 19)

    sequence = assign(detections(probabilities, frames))

    assert sequence.members.tolist() == list(range(9))
    assert sequence.names == ("C1", "C2", "C3", "C4", "C5", "C6", "C7", "T1", "T2")
    assert sequence.confidence.min() > 0.99
    assert set(sequence.alternatives) == {()}
    assert not sequence.doubts


@pytest.mark.parametrize(("first", "last"), [("C1", "S1"), ("C1", "C4"), ("C6", "T5"), ("T1", "T8")])
def test_an_anchored_column_is_numbered(first: str, last: str) -> None:
    sequence = assign(spine(first, last))

    assert sequence.names == LEVELS[LEVELS.index(first) : LEVELS.index(last) + 1]
    assert sequence.confidence.min() > 0.9
    assert not sequence.doubts


@pytest.mark.parametrize(("first", "last", "region"), [("T3", "T9", "T"), ("L1", "L4", "L")])
def test_a_column_without_anchor_is_not_numbered(first: str, last: str, region: str) -> None:
    sequence = assign(spine(first, last))

    assert set(sequence.names) == {region}
    assert sequence.confidence.min() > 0.8


def test_a_lumbar_spine_that_a_single_vertebra_takes_for_a_neck_holds_no_cervical_level() -> None:
    scan = spine("T10", "L5", probability=0.6)
    probabilities = scan.class_probabilities.copy()
    probabilities[0] = probabilities_of(2, probability=0.6)

    sequence = assign(replace(scan, class_probabilities=probabilities))

    assert not any(name.startswith("C") for name in sequence.names)


def test_a_column_whose_cervical_levels_are_improbable_holds_none() -> None:
    probabilities = np.full((1, N_CLASSES), 0.001)
    probabilities[0, [3, 8, 9]] = 0.4, 0.3, 0.3  # C4 is the most likely level, but the vertebra is rather thoracic
    settings = plain(min_class_probability=1e-3)

    sequence = assign(detections(probabilities, column()), settings)

    assert sequence.names == ("T",)
    assert sequence.confidence == pytest.approx([0.6], abs=0.01)
    assert dict(sequence.alternatives[0]) == pytest.approx({"C4": 0.4}, abs=0.01)


def test_a_misclassified_vertebra_is_corrected_by_its_neighbors() -> None:
    sequence = assign(detections(probabilities_of(1, 2, 2, 4, 5), column(17, 15, 15, 15)))

    assert sequence.members.tolist() == [0, 1, 2, 3, 4]
    assert sequence.names == ("C2", "C3", "C4", "C5", "C6")


def test_an_ambiguous_column_names_its_alternatives() -> None:
    sequence = assign(ambiguous())

    first = {sequence.names[0]: float(sequence.confidence[0])} | dict(sequence.alternatives[0])
    assert first == pytest.approx({"C3": 0.5, "C4": 0.5}, abs=0.05)
    (doubt,) = sequence.doubts
    assert doubt.startswith("level-uncertain: ")
    assert " or ".join((sequence.names[0], sequence.alternatives[0][0][0])) in doubt


def test_without_an_anchor_more_certainty_is_needed() -> None:
    alone = assign(spine("C3", "C5", probability=0.45))
    strict = plain(min_certain_without_anchor=1.0)

    doubtful = assign(spine("C3", "C5", probability=0.45), strict)
    anchored = assign(spine("C2", "C5", probability=0.45), strict)

    assert alone.names == doubtful.names == ("C3", "C4", "C5")
    assert (len(doubtful.doubts), len(anchored.doubts)) == (1, 0)
    assert {len(others) for others in doubtful.alternatives} == {1}  # so that reports call each of them uncertain
    assert {len(others) for others in (*alone.alternatives, *anchored.alternatives)} == {0}


def test_a_vertebra_that_its_neighbors_alone_make_an_anchor_is_none() -> None:
    strict = plain(min_certain_without_anchor=1.0)
    scan = spine("C5", "T1", probability=0.9)
    probabilities = scan.class_probabilities.copy()
    probabilities[-1] = probabilities_of(LEVELS.index("C7"), probability=0.9)

    counted = assign(replace(scan, class_probabilities=probabilities), strict)

    assert counted.names == assign(scan, strict).names == ("C5", "C6", "C7", "T1")
    assert (len(counted.doubts), len(assign(scan, strict).doubts)) == (1, 0)


def test_a_skull_settles_which_level_is_the_first() -> None:
    scan, settings = ambiguous(), plain(skull_log_sd=0.05, skip_log_odds=-1.0)

    names = {}
    for level in ("C3", "C4"):
        above_mm = settings.skull_distance_mm + sum(SPACING_MM[: LEVELS.index(level)])
        anchors = AnchorEvidence(skull_base_lps_mm=np.array([0.0, 0.0, above_mm]))
        names[level] = assign(replace(scan, anchors=anchors), settings).names[0]

    assert names == {"C3": "C3", "C4": "C4"}


def test_a_column_begins_at_c1_where_the_scan_goes_on_above_it() -> None:
    probabilities = np.zeros((3, N_CLASSES))
    probabilities[[0, 1, 2], [0, 1, 2]] = 0.4
    probabilities[[0, 1, 2], [1, 2, 3]] = 0.6
    scan = detections(probabilities, column(17, 16))

    cut = assign(replace(scan, anchors=AnchorEvidence(scanned_above_mm=np.array([5.0, 22.0, 38.0]))))
    whole = assign(replace(scan, anchors=AnchorEvidence(scanned_above_mm=np.array([60.0, 77.0, 93.0]))))

    assert cut.names == ("C2", "C3", "C4")
    assert whole.names == ("C1", "C2", "C3")


def test_a_column_ends_at_the_last_level_where_the_scan_goes_on_below_it() -> None:
    probabilities = np.full((3, N_CLASSES), 0.01)
    probabilities[:, 10] = 0.9
    scan = detections(probabilities, column(36, 33))

    below = AnchorEvidence(scanned_below_mm=np.array([120.0, 85.0, 50.0]))
    sequence = assign(replace(scan, anchors=below), plain(skip_log_odds=-6.0))

    assert sequence.names == ("L4", "L5", "S1")


def test_a_level_is_skipped_only_where_the_distance_leaves_room() -> None:
    with_room = assign(detections(probabilities_of(1, 3, 4), column(32, 15)))
    without_room = assign(detections(probabilities_of(1, 3, 3, probability=0.6), column(16, 15)))

    assert with_room.names == ("C2", "C4", "C5")
    assert without_room.names == ("C2", "C3", "C4")


@pytest.mark.parametrize("offset_mm", [(0.0, -40.0), (35.0, 0.0), (-60.0, 10.0)])
def test_a_detection_beside_the_column_is_left_out(offset_mm: tuple[float, float]) -> None:
    frames = np.insert(column(15, 15, 15), 2, column(22)[1], axis=0)
    frames[2, :2, 3] = offset_mm

    sequence = assign(detections(probabilities_of(2, 3, 4, 4, 5), frames))

    assert sequence.members.tolist() == [0, 1, 3, 4]
    assert sequence.names == ("C3", "C4", "C5", "C6")


def test_a_clear_vertebra_far_off_the_usual_distance_is_kept() -> None:
    """C4 lies 8 mm too low and 6 mm to one side, as in a dislocation."""
    frames = column(15, 23, 7, 15)
    frames[2, 0, 3] = 6.0
    scan = detections(probabilities_of(1, 2, 3, 4, 5), frames, log_odds=12.0)

    kept = assign(scan)
    left_out = assign(scan, plain(outlier_log_odds=-100.0))

    assert kept.names == ("C2", "C3", "C4", "C5", "C6")
    assert "C4" not in left_out.names


def test_a_detection_above_c1_does_not_shift_the_column() -> None:
    probabilities, frames = probabilities_of(0, 0, 1, 2, 3), column(15, 18, 17, 15)

    sequence = assign(Detections(probabilities, frames, np.array([1.0, 5, 5, 5, 5])))

    assert sequence.members.tolist() == [1, 2, 3, 4]
    assert sequence.names == ("C1", "C2", "C3", "C4")


def test_confidence_can_sum_over_columns() -> None:
    """A detection that may be the dens or C1: leaving it out or not decides nothing about the level of the others."""
    probabilities, frames = probabilities_of(2, 3, 3, 4), column(8, 8, 14.5)
    scan = Detections(probabilities, frames, np.array([5.0, 5.0, 5.0, 5.0]))

    one = assign(scan)
    all_columns = assign(scan, plain(sums_over_columns=True))

    assert one.names == all_columns.names
    assert all_columns.confidence.min() <= one.confidence.min() + 1e-9
    assert ((all_columns.confidence > 0) & (all_columns.confidence <= 1 + 1e-9)).all()


def test_a_temperature_above_one_makes_levels_less_certain() -> None:
    warm = assign(ambiguous(), plain(temperature=2.0, min_class_probability=0.2))
    cold = assign(ambiguous(), plain(temperature=0.5, min_class_probability=0.2))

    assert warm.confidence.max() < cold.confidence.max()


def test_votes_raise_the_probabilities_of_voxels() -> None:
    probabilities, frames = probabilities_of(4, probability=0.3), column()
    few = Detections(probabilities, frames, np.array([5.0]), np.array([40]))
    many = Detections(probabilities, frames, np.array([5.0]), np.array([4000]))

    assert assign(few).names == assign(many).names == ("C5",)
    assert assign(few).confidence[0] < assign(many).confidence[0]


def test_a_single_vertebra_is_a_column() -> None:
    settings = plain(min_class_probability=1e-3)

    sequence = assign(detections(probabilities_of(4, probability=0.7), column()), settings)

    assert (sequence.members.tolist(), sequence.names) == ([0], ("C5",))
    assert sequence.confidence == pytest.approx([0.7], abs=0.05)


def test_a_whole_spine_is_assigned_in_milliseconds() -> None:
    scan = spine("C1", "S1")

    def seconds() -> float:
        start = time.thread_time()  # a busy machine gives it less of the time
        assign(scan)
        return time.thread_time() - start

    assert len(scan) == 25
    assert min(seconds() for _ in range(10)) < 0.02, "5 ms of processor time"
