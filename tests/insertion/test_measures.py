"""Sharpness and noise are measured on the scan; resampling's loss of noise is predicted."""

import numpy as np
import pytest
from scipy import ndimage

from cspine.insertion.noise import SPLINE_ORDER, ScanNoise
from cspine.insertion.sharpness import measure_sharpness


@pytest.mark.parametrize("sd_mm", [0.4, 0.6, 0.9])
def test_the_blur_of_a_step_is_measured(sd_mm: float) -> None:
    spacing = np.array([1.0, 0.5, 0.5])
    fine = np.zeros((60, 60, 60))
    fine[20:45, 20:45, 20:45] = 800.0
    blurred = ndimage.gaussian_filter(fine, sd_mm / spacing) + np.random.default_rng(0).normal(0, 5, fine.shape)

    measured = measure_sharpness(blurred.astype(np.float32), spacing)

    assert measured[1:] == pytest.approx(np.full(2, sd_mm), abs=0.12)


def test_noise_is_measured_in_soft_tissue_and_drawn_alike() -> None:
    rng = np.random.default_rng(0)
    white = ndimage.gaussian_filter(rng.normal(0.0, 1.0, (20, 96, 96)), (0.5, 0.7, 0.7))
    hu = 50.0 + 18.0 * white / white.std()

    noise = ScanNoise.measure(hu.astype(np.float32))
    drawn = noise.draw((20, 64, 64), rng)

    assert noise.noise_hu == pytest.approx(18.0, rel=0.15)
    for axis in range(3):
        expected = (hu - 50.0)[:, :64, :64]
        lag = [float((each * np.roll(each, 1, axis)).mean() / each.var()) for each in (expected, drawn)]
        assert lag[1] == pytest.approx(lag[0], abs=0.12)


@pytest.mark.parametrize("fraction", [(0.0, 0.5, 0.5), (0.3, 0.2, 0.4)])
def test_the_variance_that_resampling_keeps_is_predicted(fraction: tuple[float, float, float]) -> None:
    noise = ScanNoise(20.0, np.ones((12, 7)), 0.3)
    drawn = noise.draw((40, 48, 48), np.random.default_rng(0))
    index = np.indices((30, 38, 38)).astype(np.float32) + 5 + np.reshape(fraction, (3, 1, 1, 1)).astype(np.float32)

    sampled = ndimage.map_coordinates(drawn, index, order=SPLINE_ORDER)

    assert sampled.var() == pytest.approx(float(noise.kept_variance(index).mean()), rel=0.04)


def test_a_scan_without_soft_tissue_has_default_noise() -> None:
    assert ScanNoise.measure(np.full((4, 20, 20), -1000, np.int16)).noise_hu == 20.0
