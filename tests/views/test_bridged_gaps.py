"""Where a volume was interpolated across missing slices is known for the views of each vertebra."""

import highdicom
import numpy as np
import pytest

from cspine.spine.spine_map import Vertebra
from cspine.views.bridged_gaps import BridgedGaps, gaps_in_views, is_near_gap, show_part, view_planes
from cspine.views.level_views import LevelViews, LevelViewSettings, box_frame, compile_level

SETTINGS = LevelViewSettings(sagittal=1, coronal=1, axial=3, pixels=32, pixel_mm=1.0)

VOLUME = highdicom.Volume(
    np.full((60, 60, 60), 500, np.int16),
    np.array([[0.0, 0, 1, -30], [0, 1, 0, -30], [1, 0, 0, 0], [0, 0, 0, 1]]),
    "PATIENT",
)
"""60 planes of 1 mm along z, from z = 0 up."""


def vertebra(z: float) -> Vertebra:
    frame = np.eye(4)
    frame[:3, 3] = [0.0, -15.0, z]
    return Vertebra("C4", frame, frame[:3, 3], np.array([[-20.0, -9, -8], [20.0, 25, 8]]), 1.0, 1.0, 9000.0)


def views_with_gaps(z: float, *bridged_planes: int) -> LevelViews:
    c4 = vertebra(z)
    views = compile_level(VOLUME, "C4", box_frame(c4, "C4"), SETTINGS)
    gaps = gaps_in_views(VOLUME, bridged_planes, c4, views)
    return LevelViews(views.level, views.images, views.box_lps, views.settings, gaps)


def test_no_gap_and_gaps_beyond_the_views_are_none() -> None:
    assert views_with_gaps(30.0).gaps is None
    assert views_with_gaps(30.0, 2, 3).gaps is None


def test_gaps_divide_a_vertebra_into_measured_parts() -> None:
    gaps = views_with_gaps(30.0, 28, 29, 36).gaps

    assert gaps is not None
    assert gaps.zones == ((27.0, 30.0), (35.0, 37.0))
    assert gaps.measured_parts == ((-np.inf, 27.0), (30.0, 35.0))  # 1 mm of it above is too little
    assert gaps.bridged_mm == pytest.approx(3.0)
    np.testing.assert_allclose(gaps.distance_mm(np.array([[0, 0, 28.5], [0, 0, 33.0], [9, 9, 20.0]])), [0, 2, 7])


def test_a_gap_beside_the_vertebra_interpolates_none_of_it() -> None:
    gaps = views_with_gaps(30.0, 41, 42).gaps

    assert gaps is not None
    assert (gaps.bridged_mm, gaps.measured_parts) == (0.0, ((-np.inf, 40.0),))


def test_a_vertebra_with_many_gaps_has_its_highest_part() -> None:
    gaps = views_with_gaps(30.0, *(n for n in range(21, 40) if n % 2)).gaps

    assert gaps is not None
    assert len(gaps.measured_parts) == 1


@pytest.mark.parametrize("plane", [1, 4, 7])
def test_a_part_is_shown_as_if_the_scan_ended_at_the_gap(plane: int) -> None:
    views = views_with_gaps(30.0, 29)
    assert views.gaps is not None

    below, above = (show_part(views, part) for part in views.gaps.measured_parts)

    planes = view_planes(views, plane)
    np.testing.assert_array_equal(below.images[plane] > 0, (planes <= 28.0) & (views.images[plane] > 0))
    np.testing.assert_array_equal(above.images[plane] > 0, (planes >= 30.0) & (views.images[plane] > 0))


def test_cells_in_and_near_a_gap() -> None:
    views = views_with_gaps(30.0, 29)
    row = int(np.argmin(np.abs(view_planes(views, 1)[:, 0] - 29.0))) // 8

    within, near = (is_near_gap(views, 1, (4, 4), margin_mm) for margin_mm in (0.0, 8.0))

    assert within[row].all()
    assert within.sum() < near.sum() < near.size


def test_numbers_of_compiled_data_sets_give_the_same_gaps() -> None:
    gaps = views_with_gaps(30.0, 28, 29, 36).gaps

    assert gaps is not None
    assert BridgedGaps.from_list(gaps.to_list()) == gaps
    assert BridgedGaps.from_list([]) is None
