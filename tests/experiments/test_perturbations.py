"""Each perturbation degrades a scan as documented, and in no other way."""

import highdicom
import numpy as np
import pytest

from cspine.core.typing import Floats, HounsfieldUnits
from cspine.experiments.perturbations import (
    PERTURBATIONS,
    Perturbation,
    add_noise,
    blur_in_plane,
    crop_z,
    drop_slices,
    rotate,
    thicken_slices,
)

SPACING = (0.5, 0.4, 0.4)


def volume(array: HounsfieldUnits) -> highdicom.Volume:
    affine = np.array([[0.0, 0, SPACING[2], 5], [0, SPACING[1], 0, 6], [SPACING[0], 0, 0, 7], [0, 0, 0, 1]])
    return highdicom.Volume(array, affine, "PATIENT")


def random_volume(slices: int = 24) -> highdicom.Volume:
    rng = np.random.default_rng(0)
    return volume(rng.integers(-500, 1500, (slices, 48, 48)).astype(np.int16))


def rng() -> np.random.Generator:
    return np.random.default_rng(1)


def slice_z_mm(volume: highdicom.Volume) -> Floats:
    return np.array([(volume.affine @ [k, 0, 0, 1])[2] for k in range(volume.spatial_shape[0])])


@pytest.mark.parametrize("perturbation", PERTURBATIONS.values(), ids=list(PERTURBATIONS))
def test_perturbation_increases_with_severity_and_leaves_the_scan_unchanged(perturbation: Perturbation) -> None:
    scan = random_volume()
    before = np.asarray(scan.array).copy()

    perturbed = [perturbation.apply(scan, severity, rng()) for severity in perturbation.severities]

    np.testing.assert_array_equal(scan.array, before)
    assert all(each.array.dtype == np.int16 for each in perturbed)
    if all(each.spatial_shape == scan.spatial_shape for each in perturbed):
        change = [float(np.abs(each.array.astype(float) - before).mean()) for each in perturbed]
        assert change == sorted(change)
        assert 0.0 < change[0] < change[-1]
    else:
        counts = [each.spatial_shape[0] for each in perturbed]
        assert counts == sorted(counts, reverse=True)
        assert counts[-1] < counts[0] < scan.spatial_shape[0]
    again = perturbation.apply(scan, perturbation.severities[-1], rng())
    np.testing.assert_array_equal(again.array, perturbed[-1].array)


def test_noise_has_the_given_deviation_and_a_grain() -> None:
    flat = volume(np.zeros((4, 64, 64), np.int16))

    noise = add_noise(flat, 40.0, rng()).array.astype(float)

    assert noise.std() == pytest.approx(40.0, rel=0.03)
    neighbors = np.corrcoef(noise[:, :, 1:].ravel(), noise[:, :, :-1].ravel())[0, 1]
    assert 0.1 < neighbors < 0.8
    assert abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 0.1


def test_blurred_point_has_the_given_width() -> None:
    point = np.zeros((1, 65, 65), np.int16)
    point[0, 32, 32] = 20_000

    row = blur_in_plane(volume(point), 3.0, rng()).array[0, 32].astype(float)

    above_half = np.flatnonzero(row > row.max() / 2)
    assert (above_half[-1] - above_half[0] + 1) * SPACING[2] == pytest.approx(3.0, abs=0.5)


def test_thick_slices_are_means_at_their_position() -> None:
    scan = random_volume(24)

    thick = thicken_slices(scan, 2.0, rng())

    assert thick.spatial_shape[0] == 6
    assert thick.spacing[0] == pytest.approx(2.0)
    np.testing.assert_allclose(slice_z_mm(thick), slice_z_mm(scan).reshape(6, 4).mean(axis=1))
    np.testing.assert_allclose(thick.array[1], scan.array[4:8].mean(axis=0), atol=0.51)
    assert thicken_slices(scan, 0.5, rng()) is scan


@pytest.mark.parametrize("thickness", [0.7, 1.5, 1.8, 4.0])
def test_thick_slices_have_the_given_thickness(thickness: float) -> None:
    ramp = volume(np.tile(np.arange(0, 4000, 100, dtype=np.int16)[:, None, None], (1, 4, 4)))

    thick = thicken_slices(ramp, thickness, rng())

    assert thick.spacing[0] == pytest.approx(thickness)
    expected = (slice_z_mm(thick) - slice_z_mm(ramp)[0]) / SPACING[0] * 100
    np.testing.assert_allclose(
        thick.array[:, 0, 0], expected, atol=26
    )  # part of a slice counts with the value of all of it
    short = volume(np.zeros((2, 4, 4), np.int16))
    assert thicken_slices(short, 4.0, rng()) is short


def test_rotating_back_restores_the_scan() -> None:
    y, x = np.mgrid[-1:1:65j, -1:1:65j]
    smooth = volume(np.tile((1000 * np.exp(-4 * (x**2 + 2 * y**2))).astype(np.int16), (2, 1, 1)))

    once = rotate(smooth, 30.0, rng())

    inner = slice(20, 45)
    assert np.abs(once.array[:, inner, inner] - smooth.array[:, inner, inner]).max() > 50
    back = rotate(once, -30.0, rng())
    np.testing.assert_allclose(back.array[:, inner, inner], smooth.array[:, inner, inner], atol=25)


def test_dropped_slices_are_interpolated() -> None:
    ramp = volume(np.tile(np.arange(0, 4000, 100, dtype=np.int16)[:, None, None], (1, 4, 4)))

    filled = drop_slices(ramp, 50.0, rng())

    np.testing.assert_array_equal(filled.array, ramp.array)  # a ramp is interpolated exactly
    textured = random_volume(40)
    changed = (drop_slices(textured, 25.0, rng()).array != textured.array).any(axis=(1, 2))
    assert changed.sum() == round(0.25 * 38)
    assert not changed[[0, -1]].any()


def test_cropped_scan_keeps_its_position() -> None:
    scan, ends = random_volume(40), set()
    for seed in range(8):
        cropped = crop_z(scan, 25.0, np.random.default_rng(seed))
        first = int(np.flatnonzero(np.isclose(slice_z_mm(scan), slice_z_mm(cropped)[0]))[0])
        assert cropped.spatial_shape[0] == 30
        np.testing.assert_array_equal(cropped.array, scan.array[first : first + 30])
        ends.add(first)
    assert ends == {0, 10}
