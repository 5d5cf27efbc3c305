"""Each way to make a scan worse does what it says, and no more."""

import highdicom
import numpy as np
import numpy.typing as npt
import pytest

from cspine.experiments import perturbations as worse

SPACING = (0.5, 0.4, 0.4)


def volume(array: npt.NDArray[np.int16]) -> highdicom.Volume:
    affine = np.array([[0.0, 0, SPACING[2], 5], [0, SPACING[1], 0, 6], [SPACING[0], 0, 0, 7], [0, 0, 0, 1]])
    return highdicom.Volume(array, affine, "PATIENT")


def textured(slices: int = 24) -> highdicom.Volume:
    rng = np.random.default_rng(0)
    return volume(rng.integers(-500, 1500, (slices, 48, 48)).astype(np.int16))


def rng() -> np.random.Generator:
    return np.random.default_rng(1)


def heights(found: highdicom.Volume) -> npt.NDArray[np.float64]:
    return np.array([(found.affine @ [k, 0, 0, 1])[2] for k in range(found.spatial_shape[0])])


@pytest.mark.parametrize("suite", worse.SUITES.values(), ids=list(worse.SUITES))
def test_every_suite_changes_more_with_severity_and_leaves_the_scan_as_it_was(suite: worse.Suite) -> None:
    scan = textured()
    before = np.asarray(scan.array).copy()

    changed = [suite.change(scan, severity, rng()) for severity in suite.severities]

    np.testing.assert_array_equal(scan.array, before)
    assert all(found.array.dtype == np.int16 for found in changed)
    if all(found.spatial_shape == scan.spatial_shape for found in changed):
        off = [float(np.abs(found.array.astype(float) - before).mean()) for found in changed]
        assert off == sorted(off)
        assert 0.0 < off[0] < off[-1]
    else:
        counts = [found.spatial_shape[0] for found in changed]
        assert counts == sorted(counts, reverse=True)
        assert counts[-1] < counts[0] < scan.spatial_shape[0]
    same = suite.change(scan, suite.severities[-1], rng())
    np.testing.assert_array_equal(same.array, changed[-1].array)


def test_noise_is_as_strong_as_it_says_and_has_a_grain() -> None:
    flat = volume(np.zeros((4, 64, 64), np.int16))

    noise = worse.noisier(flat, 40.0, rng()).array.astype(float)

    assert noise.std() == pytest.approx(40.0, rel=0.03)
    beside = np.corrcoef(noise[:, :, 1:].ravel(), noise[:, :, :-1].ravel())[0, 1]
    assert 0.1 < beside < 0.8
    assert abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 0.1


def test_a_point_is_spread_by_the_width_it_says() -> None:
    point = np.zeros((1, 65, 65), np.int16)
    point[0, 32, 32] = 20_000

    row = worse.softer(volume(point), 3.0, rng()).array[0, 32].astype(float)

    half = np.flatnonzero(row > row.max() / 2)
    assert (half[-1] - half[0] + 1) * SPACING[2] == pytest.approx(3.0, abs=0.5)


def test_thicker_slices_are_means_in_their_place() -> None:
    scan = textured(24)

    found = worse.thicker(scan, 2.0, rng())

    assert found.spatial_shape[0] == 6
    assert found.spacing[0] == pytest.approx(2.0)
    np.testing.assert_allclose(heights(found), heights(scan).reshape(6, 4).mean(axis=1))
    np.testing.assert_allclose(found.array[1], scan.array[4:8].mean(axis=0), atol=0.51)
    assert worse.thicker(scan, 0.5, rng()) is scan


@pytest.mark.parametrize("thickness", [0.7, 1.5, 1.8, 4.0])
def test_slices_are_as_thick_as_is_said_whatever_they_were(thickness: float) -> None:
    ramp = volume(np.tile(np.arange(0, 4000, 100, dtype=np.int16)[:, None, None], (1, 4, 4)))

    found = worse.thicker(ramp, thickness, rng())

    assert found.spacing[0] == pytest.approx(thickness)
    expected = (heights(found) - heights(ramp)[0]) / SPACING[0] * 100
    np.testing.assert_allclose(found.array[:, 0, 0], expected, atol=26)  # a share of a slice is all of its value
    short = volume(np.zeros((2, 4, 4), np.int16))
    assert worse.thicker(short, 4.0, rng()) is short


def test_turning_there_and_back_comes_home() -> None:
    y, x = np.mgrid[-1:1:65j, -1:1:65j]
    smooth = volume(np.tile((1000 * np.exp(-4 * (x**2 + 2 * y**2))).astype(np.int16), (2, 1, 1)))

    once = worse.turned(smooth, 30.0, rng())

    inner = slice(20, 45)
    assert np.abs(once.array[:, inner, inner] - smooth.array[:, inner, inner]).max() > 50
    back = worse.turned(once, -30.0, rng())
    np.testing.assert_allclose(back.array[:, inner, inner], smooth.array[:, inner, inner], atol=25)


def test_lost_slices_are_bridged_between_those_that_are_left() -> None:
    ramp = volume(np.tile(np.arange(0, 4000, 100, dtype=np.int16)[:, None, None], (1, 4, 4)))

    found = worse.sparser(ramp, 50.0, rng())

    np.testing.assert_array_equal(found.array, ramp.array)  # along a ramp nothing is lost
    rough = textured(40)
    changed = (worse.sparser(rough, 25.0, rng()).array != rough.array).any(axis=(1, 2))
    assert changed.sum() == round(0.25 * 38)
    assert not changed[[0, -1]].any()


def test_cropping_keeps_what_is_left_in_its_place() -> None:
    scan, ends = textured(40), set()
    for seed in range(8):
        found = worse.cropped(scan, 25.0, np.random.default_rng(seed))
        first = int(np.flatnonzero(np.isclose(heights(scan), heights(found)[0]))[0])
        assert found.spatial_shape[0] == 30
        np.testing.assert_array_equal(found.array, scan.array[first : first + 30])
        ends.add(first)
    assert ends == {0, 10}
