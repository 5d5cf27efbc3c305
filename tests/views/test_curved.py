"""Sheets that follow the spine."""

import highdicom
import numpy as np
import numpy.typing as npt
import pytest
from scipy.spatial.transform import Rotation

from cspine.core.errors import NotAssessableError
from cspine.spine.centerline import SpineCenterline
from cspine.spine.spine_map import SpineMap, Vertebra
from cspine.views.curved import compile_curved, coronal_sheet
from cspine.views.sagittal import SagittalSettings

Floats = npt.NDArray[np.float64]

SETTINGS = SagittalSettings(count=3, width_mm=20.0, field_mm=144.0, pixels=96, slab_mm=0.0)
HEIGHTS = np.linspace(60.0, -60.0, 8)


def bend(z: npt.ArrayLike) -> Floats:
    """How far left the canal lies at a height: a scoliosis."""
    return np.asarray(12.0 * np.sin(np.asarray(z) / 30.0))


def turn_deg(z: npt.ArrayLike) -> Floats:
    """How far the neck is turned there: a turned head."""
    return np.asarray(0.25 * np.asarray(z))


def spine() -> SpineMap:
    found = []
    for number, z in enumerate(HEIGHTS.tolist()):
        frame = np.eye(4)
        frame[:3, :3] = Rotation.from_euler("z", float(turn_deg(z)), degrees=True).as_matrix()
        level = f"C{number + 1}" if number < 7 else "T1"
        behind = {"C1": 7.2, "C2": 14.8}.get(level, 14.4)
        frame[:3, 3] = np.array([float(bend(z)), 5.0, z]) - behind * frame[:3, 1]
        found.append(Vertebra(level, frame, frame[:3, 3], np.array([[-9, -9, -7], [9, 9, 7]]), 1.0, 1.0, 9000.0))
    return SpineMap(tuple(found))


def rods() -> highdicom.Volume:
    """A volume with three rods of bone: one along the canal, one 10 mm to its left and one 30 mm behind it."""
    affine = np.zeros((4, 4))
    affine[2, 0] = affine[1, 1] = affine[0, 2] = 1.0
    affine[:, 3] = [-60.0, -60.0, -70.0, 1.0]
    z, y, x = np.meshgrid(np.arange(140) - 70.0, np.arange(120) - 60.0, np.arange(120) - 60.0, indexing="ij")
    angle = np.radians(turn_deg(z))
    hu = np.full(z.shape, -1000, np.int16)
    for left, back, value in ((0.0, 0.0, 1400), (10.0, 0.0, 900), (0.0, 30.0, 600)):
        at_x = bend(z) + left * np.cos(angle) - back * np.sin(angle)
        at_y = 5.0 + left * np.sin(angle) + back * np.cos(angle)
        hu[np.hypot(x - at_x, y - at_y) < 3.0] = value
    return highdicom.Volume(hu, affine, "PATIENT")


def test_places_on_the_sheets_and_in_the_patient_are_each_others_inverse() -> None:
    course = SpineCenterline.of(spine())
    points = np.random.default_rng(0).normal(0.0, 25.0, (200, 3))

    np.testing.assert_allclose(course.lps(*course.place(points).T), points, atol=1e-3)


def test_what_follows_the_spine_stays_in_its_image_and_column() -> None:
    course = SpineCenterline.of(spine())

    found = compile_curved(rods(), course, SETTINGS)

    canal, left, behind = (found.pixels_of(_along(*place)) for place in ((0.0, 0.0), (10.0, 0.0), (0.0, 30.0)))
    for rod, image, grey in ((canal, 1, 1400), (left, 2, 900), (behind, 1, 600)):
        aside, rows, columns = rod.T
        np.testing.assert_allclose(aside, SETTINGS.offsets_mm[image], atol=0.8)
        at = found.images[image][np.rint(rows).astype(int), np.rint(columns).astype(int)]
        np.testing.assert_allclose(at, ((grey - 500) / 2000 + 0.5) * 255, atol=12)
    assert np.ptp(canal[:, 2]) < 0.6
    assert np.ptp(behind[:, 2]) < 0.8


def _along(left: float, back: float) -> Floats:
    z = np.linspace(-50.0, 50.0, 21)
    angle = np.radians(turn_deg(z))
    x = bend(z) + left * np.cos(angle) - back * np.sin(angle)
    return np.stack([x, 5.0 + left * np.sin(angle) + back * np.cos(angle), z], axis=1)


def test_a_lordosis_is_kept_as_it_is() -> None:
    bent = []
    for vertebra in spine().vertebrae:
        frame = np.eye(4)
        frame[:3, 3] = [0.0, 0.01 * vertebra.frame_lps[2, 3] ** 2, vertebra.frame_lps[2, 3]]
        bent.append(Vertebra(vertebra.level, frame, frame[:3, 3], vertebra.box_mm, 1.0, 1.0, 9000.0))
    course = SpineCenterline.of(SpineMap(tuple(bent)))

    behind = course.place([vertebra.frame_lps[:3, 3] for vertebra in bent])[:, 1]

    expected = np.array([vertebra.frame_lps[1, 3] for vertebra in bent])
    np.testing.assert_allclose(behind - behind[3], expected - expected[3], atol=1e-6)


def test_the_coronal_sheet_has_the_midline_in_its_middle_and_the_patients_right_first() -> None:
    volume, course = rods(), SpineCenterline.of(spine())
    bodies = volume.array.copy()
    index = np.argwhere(bodies > 1200)
    shifted = highdicom.Volume(np.full_like(bodies, -1000), volume.affine, "PATIENT")
    angle = np.radians(turn_deg(index[:, 0] - 70.0))
    j = np.rint(index[:, 1] - 14 * np.cos(angle)).astype(int)
    i = np.rint(index[:, 2] + 14 * np.sin(angle)).astype(int)
    shifted.array[index[:, 0], j, i] = 1400
    like = compile_curved(volume, course, SETTINGS)

    sheet = coronal_sheet(shifted, course, like, SETTINGS)

    rows, columns = np.nonzero(sheet > 35)
    assert columns.mean() == pytest.approx(47.5, abs=1.0)
    assert np.ptp([columns[rows == row].mean() for row in range(20, 76) if (rows == row).any()]) < 2.0


def test_one_vertebra_is_followed_straight_up_and_none_is_refused() -> None:
    alone = SpineCenterline.of(SpineMap(spine().vertebrae[2:3]))

    canal, left, back = alone.at([0.0, 100.0])

    np.testing.assert_allclose(canal[0, :2], canal[1, :2])
    np.testing.assert_allclose(np.einsum("nk,nk->n", left, back), 0.0, atol=1e-12)
    with pytest.raises(NotAssessableError, match="no vertebra was found"):
        SpineCenterline.of(SpineMap(()))
