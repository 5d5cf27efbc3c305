"""Planes by matrix products equal planes by sampling, whatever the orientation of the volume."""

import itertools

import highdicom
import numpy as np
import pytest

from cspine.views import planes
from cspine.views.planes import PlaneSamples, mean_planes

ORDERS = list(itertools.product(itertools.permutations(range(3)), itertools.product((1, -1), repeat=3)))


def volume_along(order: tuple[int, ...], signs: tuple[int, ...]) -> highdicom.Volume:
    """Return noise whose axes run along the patient's in the given order and directions."""
    hu = np.random.default_rng(1).integers(-1024, 2000, (11, 14, 17)).astype(np.int16)
    affine = np.eye(4)
    affine[:3, :3] = 0.0
    for axis, (lps, sign) in enumerate(zip(order, signs, strict=True)):
        affine[lps, axis] = sign * (0.7, 1.1, 1.6)[axis]
    affine[:3, 3] = (3.2, -7.5, 100.0)
    return highdicom.Volume(hu, affine, "PATIENT")


def samples_about(volume: highdicom.Volume) -> PlaneSamples:
    """Return samples that cover the volume and reach beyond it on all sides."""
    corners = np.stack([volume.affine[:3, 3], (volume.affine @ [*np.array(volume.spatial_shape) - 1, 1])[:3]])
    low, high = corners.min(axis=0) - 2.0, corners.max(axis=0) + 2.0
    x, y, z = (np.linspace(*ends, count) for ends, count in zip(zip(low, high, strict=True), (5, 21, 19), strict=True))
    return PlaneSamples(
        x=x[:, None] + [-0.4, 0.1, 0.6], y=y[:, None] + [-0.3, 0.3], z=z[::-1, None] + [-0.5, 0.0, 0.25, 0.5]
    )


@pytest.mark.parametrize(("order", "signs"), ORDERS)
def test_matrix_products_equal_sampling(order: tuple[int, ...], signs: tuple[int, ...]) -> None:
    volume = volume_along(order, signs)
    samples = samples_about(volume)

    multiplied = mean_planes(volume, samples)

    np.testing.assert_allclose(multiplied, planes._sample_planes(volume, samples), atol=0.02)


def test_planes_outside_the_volume_are_air() -> None:
    volume = volume_along((2, 1, 0), (1, 1, 1))
    far = PlaneSamples(x=np.full((2, 1), 500.0), y=np.zeros((3, 1)), z=np.zeros((4, 1)))

    assert (mean_planes(volume, far) == -1024).all()


def test_oblique_volume_is_sampled() -> None:
    volume = volume_along((2, 1, 0), (1, 1, 1))
    turned = volume.affine.copy()
    turned[:2, :3] = [[np.cos(0.1), -np.sin(0.1)], [np.sin(0.1), np.cos(0.1)]] @ turned[:2, :3]
    oblique = highdicom.Volume(volume.array, turned, "PATIENT")

    assert planes._axes_along_patient(oblique) is None
    np.testing.assert_array_equal(
        mean_planes(oblique, samples_about(oblique)), planes._sample_planes(oblique, samples_about(oblique))
    )
