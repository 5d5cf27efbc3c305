"""Curved planar reformation along the spine."""

import highdicom
import numpy as np
import pytest
from tests.support.spines import beside_canal, canal_x_mm, rotation_deg, scoliotic_spine

from cspine.spine.centerline import SpineCenterline
from cspine.views.curved import compile_curved, coronal_image
from cspine.views.sagittal import SagittalSettings

SETTINGS = SagittalSettings(count=3, width_mm=20.0, field_mm=144.0, pixels=96, slab_mm=0.0)


def rods() -> highdicom.Volume:
    """Return a volume with three rods of bone: along the canal, 10 mm to its left, and 30 mm behind it."""
    affine = np.zeros((4, 4))
    affine[2, 0] = affine[1, 1] = affine[0, 2] = 1.0
    affine[:, 3] = [-60.0, -60.0, -70.0, 1.0]
    z, y, x = np.meshgrid(np.arange(140) - 70.0, np.arange(120) - 60.0, np.arange(120) - 60.0, indexing="ij")
    hu = np.full(z.shape, -1000, np.int16)
    for left_mm, back_mm, value in ((0.0, 0.0, 1400), (10.0, 0.0, 900), (0.0, 30.0, 600)):
        center = beside_canal(left_mm, back_mm, z)
        hu[np.hypot(x - center[..., 0], y - center[..., 1]) < 3.0] = value
    return highdicom.Volume(hu, affine, "PATIENT")


def test_structures_parallel_to_the_spine_stay_in_their_image_and_column() -> None:
    centerline = SpineCenterline.from_spine_map(scoliotic_spine())

    sagittal = compile_curved(rods(), centerline, SETTINGS)

    z = np.linspace(-50.0, 50.0, 21)
    canal, left, behind = (
        sagittal.pixels_of(beside_canal(*offsets, z)) for offsets in ((0.0, 0.0), (10.0, 0.0), (0.0, 30.0))
    )
    for rod, image, hu in ((canal, 1, 1400), (left, 2, 900), (behind, 1, 600)):
        lateral_mm, rows, columns = rod.T
        np.testing.assert_allclose(lateral_mm, SETTINGS.offsets_mm[image], atol=0.8)
        gray = sagittal.images[image][np.rint(rows).astype(int), np.rint(columns).astype(int)]
        np.testing.assert_allclose(gray, ((hu - 500) / 2000 + 0.5) * 255, atol=12)
    assert np.ptp(canal[:, 2]) < 0.6
    assert np.ptp(behind[:, 2]) < 0.8


def test_coronal_image_has_the_canal_in_its_middle_and_the_patients_right_first() -> None:
    volume, centerline = rods(), SpineCenterline.from_spine_map(scoliotic_spine())
    index = np.argwhere(volume.array > 1200)
    angle = np.radians(rotation_deg(index[:, 0] - 70.0))
    j = np.rint(index[:, 1] - 14 * np.cos(angle)).astype(int)
    i = np.rint(index[:, 2] + 14 * np.sin(angle)).astype(int)
    bodies = highdicom.Volume(np.full_like(volume.array, -1000), volume.affine, "PATIENT")
    bodies.array[index[:, 0], j, i] = 1400
    like = compile_curved(volume, centerline, SETTINGS)

    image = coronal_image(bodies, centerline, like, SETTINGS)

    rows, columns = np.nonzero(image > 35)
    assert columns.mean() == pytest.approx(47.5, abs=1.0)
    assert np.ptp([columns[rows == row].mean() for row in range(20, 76) if (rows == row).any()]) < 2.0


def test_scoliosis_of_the_test_spine_is_larger_than_the_tolerances() -> None:
    assert np.ptp(canal_x_mm(np.linspace(-50.0, 50.0, 21))) > 20.0
