"""Phantoms of a tilted gantry keep their places when they are straightened."""

import numpy as np
from benchmarks.localization.straight import straight_volume
from scipy import ndimage


def test_a_point_of_a_tilted_scan_keeps_its_place() -> None:
    hu = np.full((12, 30, 20), -1000, np.int16)
    hu[:, 9:12, 7:10] = 400
    affine = np.array([[0.0, 0.0, 1.5, -10.0], [0.4, 1.5, 0.0, 5.0], [3.0, 0.0, 0.0, 40.0], [0.0, 0.0, 0.0, 1.0]])

    volume = straight_volume(hu, affine)

    assert volume.spatial_shape[0] == 12
    for k in (0, 5, 11):
        expected = affine @ [k, 10, 8, 1]
        row, column = ndimage.center_of_mass(np.maximum(volume.array[k] + 1000.0, 0.0))
        np.testing.assert_allclose(volume.affine @ [k, row, column, 1], expected, atol=0.01)


def test_a_straight_scan_is_not_resampled() -> None:
    hu = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    affine = np.diag([1.0, 1.0, 1.0, 1.0])[:, [2, 1, 0, 3]]

    np.testing.assert_array_equal(straight_volume(hu, affine).array, hu)
