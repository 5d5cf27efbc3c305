"""Geometry of stacks of slices: order, gaps, tilt, affine and duplicates."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cspine.core.errors import GeometryError
from cspine.dicom.geometry import check_orientation, stack_slices

AXIAL = (1, 0, 0, 0, 1, 0)


@settings(max_examples=50, deadline=None)
@given(st.permutations(range(8)))
def test_slices_in_any_order_are_sorted_along_the_normal(order: list[int]) -> None:
    positions = np.array([(5.0, 6.0, 1.5 * k) for k in order])

    stack = stack_slices(positions, AXIAL, (0.5, 0.5))

    assert [order[index] for index in stack.order] == list(range(8))
    np.testing.assert_allclose(stack.gaps_mm, 1.5)
    assert stack.is_even
    assert stack.is_straight


def test_affine_maps_pixels_to_the_positions_of_the_headers() -> None:
    positions = np.array([(-10.0, -20.0, 30.0 + 2.0 * k) for k in range(5)])

    affine = stack_slices(positions, AXIAL, (0.5, 0.25)).affine_lps()

    np.testing.assert_allclose(affine @ [0, 0, 0, 1], [-10, -20, 30, 1])
    np.testing.assert_allclose(affine @ [4, 8, 4, 1], [-9, -16, 38, 1])


def test_tilt_is_measured_from_positions() -> None:
    positions = np.array([(0.0, np.tan(np.radians(18.5)) * 3.0 * k, 3.0 * k) for k in range(10)])

    stack = stack_slices(positions, AXIAL, (0.5, 0.5))

    assert stack.tilt_deg == pytest.approx(18.5)
    assert not stack.is_straight


def test_widest_gap_is_found_with_its_index() -> None:
    z = [0.0, 1.0, 2.0, 5.0, 6.0]

    stack = stack_slices([(0, 0, value) for value in z], AXIAL, (1.0, 1.0))

    assert not stack.is_even
    assert stack.widest_gap() == (2, 3.0)


def test_rounded_positions_are_even() -> None:
    z = np.round(np.arange(50) * 0.6250001, 2)

    assert stack_slices([(0, 0, value) for value in z], AXIAL, (1.0, 1.0)).is_even


def test_slices_at_the_same_position_are_duplicates() -> None:
    stack = stack_slices([(0, 0, 0), (0, 0, 1), (0, 0, 1), (0, 0, 2)], AXIAL, (1.0, 1.0))

    assert stack.duplicates == ((2, 1),)
    assert stack.order.tolist() == [0, 1, 3]


@pytest.mark.parametrize("orientation", [(1, 0, 0, 1, 0, 0), (2, 0, 0, 0, 1, 0), (0, 0, 0, 0, 0, 0)])
def test_directions_that_are_not_perpendicular_unit_vectors_are_rejected(orientation: tuple[float, ...]) -> None:
    with pytest.raises(GeometryError, match="perpendicular unit vectors"):
        check_orientation(orientation)


@pytest.mark.parametrize("spacing", [(0.0, 1.0), (1.0, -1.0), (float("nan"), 1.0)])
def test_a_spacing_that_is_not_positive_is_rejected(spacing: tuple[float, float]) -> None:
    with pytest.raises(GeometryError, match="PixelSpacing"):
        stack_slices([(0, 0, 0), (0, 0, 1)], AXIAL, spacing)


def test_small_differences_that_add_up_are_not_even() -> None:
    gaps = np.concatenate([np.full(200, 0.5), np.full(199, 0.549)])
    z = np.concatenate([[0.0], np.cumsum(gaps)])
    positions = np.stack([np.zeros_like(z), np.zeros_like(z), z], axis=1)

    assert not stack_slices(positions, (1, 0, 0, 0, 1, 0), (0.4, 0.4)).is_even
