"""The left-right flip is the same for NumPy arrays and PyTorch tensors, and its own inverse."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from cspine.core.typing import Floats32
from cspine.views.flip import flip_left_right, flip_offsets

IS_SAGITTAL = np.array([True, False, True, False])
IMAGES = np.random.default_rng(0).normal(size=(2, 4, 3, 5, 6)).astype(np.float32)


def test_flip_reverses_neighbors_of_sagittal_and_columns_of_other_views() -> None:
    flipped = flip_left_right(IMAGES, IS_SAGITTAL)

    np.testing.assert_array_equal(flipped[:, IS_SAGITTAL], IMAGES[:, IS_SAGITTAL, ::-1])
    np.testing.assert_array_equal(flipped[:, ~IS_SAGITTAL], IMAGES[:, ~IS_SAGITTAL][..., ::-1])


def test_flip_is_its_own_inverse() -> None:
    np.testing.assert_array_equal(flip_left_right(flip_left_right(IMAGES, IS_SAGITTAL), IS_SAGITTAL), IMAGES)


def test_flip_of_offsets_negates_those_of_sagittal_views() -> None:
    assert flip_offsets(np.array([1.0, 2.0, -3.0, 4.0]), IS_SAGITTAL).tolist() == [-1.0, 2.0, 3.0, 4.0]


@pytest.mark.parametrize(("flip", "values"), [(flip_left_right, IMAGES), (flip_offsets, IMAGES[0, :, 0, 0, 0])])
def test_flip_of_tensors_equals_that_of_arrays(flip: Callable[[Any, Any], Any], values: Floats32) -> None:
    tensor = torch.from_numpy(values.copy())

    flipped = flip(tensor, torch.from_numpy(IS_SAGITTAL))

    np.testing.assert_array_equal(flipped.numpy(), flip(values, IS_SAGITTAL))
    np.testing.assert_array_equal(tensor.numpy(), values)  # the input is not changed
